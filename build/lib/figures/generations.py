"""How arithmetic and memory bandwidth grew over generations of one maker's chips."""

from __future__ import annotations

from minidl.instruments.style import GRAPH, HARDWARE, INK, KERNEL, describe, drawing, new_figure


@drawing
def draw(chips, chosen: int):
    """Return two panels: growth since the first chip, and operations for each byte on the chosen one.

    Parameters
    ----------
    chips : sequence of figures.chips.Chip
        In order of time, with all their figures.
    chosen : int
        Position in `chips`.
    """
    curves = (
        ("16-bit rate", [chip.low for chip in chips], KERNEL, "-"),
        ("bandwidth", [chip.bandwidth for chip in chips], GRAPH, "--"),
        ("float32 rate", [chip.float32 for chip in chips], HARDWARE, "-."),
    )
    figure, (left, right) = new_figure(5.6, 3.1, ncols=2, width_ratios=(1.45, 1))
    years = [chip.year for chip in chips]
    chip = chips[chosen]
    grown = []
    for name, values, color, style in curves:
        ratios = [value / values[0] for value in values]
        left.plot(years, ratios, style, color=color, label=name)
        left.plot(years[chosen], ratios[chosen], "o", color=color, markersize=6)
        grown.append(f"{name} {ratios[chosen]:.3g} times")
    left.axvline(chip.year, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    left.set(yscale="log", title=f"times the {chips[0].name}", xticks=range(2016, 2026, 3))
    left.set_yticks([1, 10, 100], ["1", "10", "100"])
    left.legend(loc="upper left")

    ridges = {
        "float32": (chip.float32 * 1e3 / chip.bandwidth, HARDWARE),
        "16-bit": (chip.low * 1e3 / chip.bandwidth, KERNEL),
    }
    for row, (name, (value, color)) in enumerate(ridges.items()):
        right.barh(row, value, color=color, height=0.4)
        right.text(0, row - 0.27, f"{name}: {value:.0f}", color=INK, va="bottom")
    most = max(c.low * 1e3 / c.bandwidth for c in chips)
    right.set(xlim=(0, most), ylim=(1.5, -0.8), xticks=[], yticks=[], title=f"{chip.name}: ops per byte")
    right.spines[["bottom", "left"]].set_visible(False)
    needs = " and ".join(f"{value:.0f} in {name}" for name, (value, _) in ridges.items())
    return describe(
        figure,
        f"{chip.name}, {chip.year}, against the {chips[0].name}: {', '.join(grown)}. "
        f"To keep it busy a kernel needs {needs} operations for each byte.",
    )


if __name__ == "__main__":
    from figures.chips import GPUS
    from figures.write import write

    write(__file__, draw(GPUS[1:], 3))
