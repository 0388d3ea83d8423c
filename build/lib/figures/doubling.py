"""Sums of 2, 4, 8 values from sums of half as many: a window of any size in about log2(window) passes."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import arrow, canvas, cells, label, number
from minidl.instruments.style import KERNEL, MODEL, MUTED, describe, drawing


@drawing
def draw(a, level: int, position: int = 0, levels: int | None = None):
    """Return the rows of sums up to `level`, and how one sum of 2**level values is made from two halves.

    `levels` reserves room for so many rows, so that frames of one series are equally high.
    """
    levels = level if levels is None else levels
    rows = [np.asarray(a, dtype=np.float64)]
    for k in range(level):
        rows.append(rows[k][: -(2**k)] + rows[k][2**k :])
    figure, axes = canvas(len(rows[0]) + 3.2, 2.1 * (levels + 1) + 1.2, unit=0.5)
    for k, row in enumerate(rows):
        y = 0.8 + 2.1 * k
        label(axes, 2.8, y + 0.5, f"sums of {2**k}", align="right", size=10)
        half = 2 ** (level - 1) if level else 0
        fills = [None] * len(row)
        if k == level:
            fills[position] = MODEL
        elif k == level - 1:
            fills[position] = fills[position + half] = KERNEL
        cells(axes, 3, y, [number(v) for v in row], fills=fills, strength=0.4)
        if k == level and level:
            for start in (position, position + half):
                arrow(axes, (3.5 + start, y - 1.05), (3.5 + position, y - 0.04), color=KERNEL)
    adds = f"{level} addition{'s' * (level != 1)} instead of {2**level - 1}"
    label(
        axes,
        3,
        2.1 * (level + 1) + 0.8,
        f"window {2**level}: {adds} for each output",
        align="left",
        color=MUTED,
    )
    return describe(
        figure, f"Sums of {2**level} values, each made of two sums of half as many: {adds} per output."
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([4, 2, 5, 6, 2, 4, 7, 1, 3, 5], 2, 1))
