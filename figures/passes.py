"""What the passes of a static graph gain: nodes, memory and time, after each of them."""

from __future__ import annotations

from minidl.instruments.style import GRAPH, INK, KERNEL, MODEL, describe, drawing, new_figure

#: Name of a pass → what it does, in two words.
SAYS = {
    "none": "as written",
    "fold": "fold constants",
    "share": "share common",
    "fuse": "fuse loops",
    "plan": "plan memory",
}


@drawing
def draw(gains):
    """Return three panels of bars, one bar for each `minidl.graph.gains.Gain`."""
    figure, panels = new_figure(6.4, 0.6 + 0.36 * len(gains), ncols=3, sharey=True)
    labels = [SAYS.get(gain.name, gain.name) for gain in gains]
    columns = [
        ("nodes", [gain.nodes for gain in gains], "{:.0f}", MODEL),
        ("KiB between", [gain.bytes / 1024 for gain in gains], "{:.0f}", GRAPH),
        ("µs for a run", [gain.seconds * 1e6 for gain in gains], "{:.0f}", KERNEL),
    ]
    for axes, (title, values, form, color) in zip(panels, columns, strict=True):
        bars = axes.barh(labels, values, color=color, height=0.6)
        axes.bar_label(bars, [form.format(value) for value in values], padding=4, color=INK, fontsize=9)
        axes.set(title=title, xlim=(0, max(values) * 1.25), xticks=[])
        axes.tick_params(axis="y", length=0)
    panels[0].invert_yaxis()
    says = "; ".join(
        f"{label}: {gain.nodes} nodes, {gain.bytes / 1024:.0f} KiB, {gain.seconds * 1e6:.0f} µs"
        for label, gain in zip(labels, gains, strict=True)
    )
    return describe(figure, f"What each pass gains. {says}.")


if __name__ == "__main__":
    from figures.write import write
    from minidl.graph.gains import Gain

    shown = [("none", 30, 900, 5e-4), ("fold", 28, 900, 4.8e-4), ("share", 24, 900, 4.4e-4),
             ("fuse", 17, 900, 3e-4), ("plan", 17, 400, 2.9e-4)]  # fmt: skip
    write(__file__, draw([Gain(name, n, kib * 1024, s, s / 5e-4) for name, n, kib, s in shown]))
