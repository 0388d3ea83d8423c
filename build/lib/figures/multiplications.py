"""Multiplications for one output against the size of the kernel, for several algorithms."""

from __future__ import annotations

import numpy as np

from minidl.instruments.style import INK, SERIES, describe, drawing, new_figure


@drawing
def draw(sizes, counts, chosen: int):
    """Return two panels: all curves, and the bars at the chosen kernel size.

    Parameters
    ----------
    sizes : sequence of int
        Sides of the kernel.
    counts : dict of str to sequence of float
        Algorithm → multiplications for one output, one for each size.
    chosen : int
        Position in `sizes`.
    """
    figure, (left, right) = new_figure(5.6, 2.9, ncols=2, width_ratios=(1, 1.25))
    colors = dict(zip(counts, SERIES, strict=False))
    for (name, values), style in zip(counts.items(), ("-", "--", "-.", ":"), strict=False):
        left.plot(sizes, values, style, color=colors[name])
    left.axvline(sizes[chosen], color=INK, linewidth=0.8)
    left.set(xlabel="kernel size", title="for each output", yscale="log", xticks=sizes)
    left.set_yticks([2, 10, 100], ["2", "10", "100"])
    left.minorticks_off()

    now = {name: values[chosen] for name, values in counts.items()}
    rows = np.arange(len(now))
    right.barh(rows, list(now.values()), color=[colors[name] for name in now], height=0.45)
    for row, (name, value) in zip(rows, now.items(), strict=True):
        right.text(0, row - 0.31, f"{name}: {value:.3g}", color=INK, fontsize=9.5, va="bottom")
    right.set(
        yticks=[], xticks=[], ylim=(len(now) - 0.6, -0.8), title=f"kernel {sizes[chosen]} × {sizes[chosen]}"
    )
    right.spines["bottom"].set_visible(False)
    says = ", ".join(f"{name} {value:.3g}" for name, value in now.items())
    return describe(
        figure, f"Kernel {sizes[chosen]} by {sizes[chosen]}, multiplications for each output: {says}."
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([3, 5, 7], {"direct": [9, 25, 49], "other": [4, 6, 8]}, 1))
