"""What famous trainings took, in chip-hours on a logarithmic scale."""

from __future__ import annotations

from minidl.instruments.style import HARDWARE, INK, RULE, describe, drawing, new_figure


@drawing
def draw(hours):
    """Return one dot for each training: on a logarithmic scale the length of a bar would mean nothing.

    Parameters
    ----------
    hours : dict of str to float
        Training → chips times hours.
    """
    figure, axes = new_figure(5.4, 0.62 * len(hours) + 0.5)
    for row, (name, value) in enumerate(hours.items()):
        axes.plot((min(hours.values()) / 10, value), (row, row), color=RULE, linewidth=1)
        axes.plot(value, row, "o", color=HARDWARE, markersize=8)
        axes.text(min(hours.values()) / 8, row - 0.18, f"{name}: {value:,.0f}", color=INK, va="bottom")
    axes.set(xscale="log", xlim=(min(hours.values()) / 10, max(hours.values()) * 2), yticks=[])
    axes.set(ylim=(len(hours) - 0.6, -0.75), xlabel="chips × hours")
    axes.tick_params(which="minor", length=0)
    return describe(
        figure, "Chip-hours: " + "; ".join(f"{name} {value:,.0f}" for name, value in hours.items()) + "."
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw({"one": 1.0, "another": 1000.0}))
