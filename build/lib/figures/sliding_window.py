"""A window slides over an array; each stop gives one average."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import arrow, canvas, cells, frame, label, number
from minidl.instruments.style import KERNEL, MUTED, describe, drawing


@drawing
def draw(a, window: int, position: int):
    """Return the window at one stop: the values it covers, the arithmetic, the outputs written so far.

    Parameters
    ----------
    a : sequence of n floats
    window : int
        Values per average.
    position : int
        0 to n - window.
    """
    a = np.asarray(a, dtype=np.float64)
    outputs = len(a) - window + 1
    figure, axes = canvas(len(a) + 2.6, 5.4, unit=0.62)
    inside = range(position, position + window)
    label(axes, 0.9, 1.5, "a", bold=True, align="right")
    cells(
        axes,
        1.2,
        1,
        [number(v) for v in a],
        fills=[KERNEL if i in inside else None for i in range(len(a))],
        size=1,
    )
    for i in range(len(a)):
        label(axes, 1.7 + i, 0.72, i, size=7.5, color=MUTED)
    frame(axes, 1.2 + position, 0.94, window, 1.12, color=KERNEL)
    mean = a[position : position + window].mean()
    arrow(axes, (1.2 + position + window / 2, 2.1), (1.7 + position, 3.38), color=KERNEL)
    label(axes, 0.9, 3.9, "out", bold=True, align="right")
    done = [number(a[i : i + window].mean()) if i <= position else "" for i in range(outputs)]
    cells(axes, 1.2, 3.4, done, fills=[KERNEL if i == position else None for i in range(outputs)])
    total = " + ".join(number(v) for v in a[position : position + window])
    label(axes, 1.2, 5.0, f"({total}) / {window} = {number(mean)}", align="left")
    return describe(
        figure, f"Window over a[{position}] to a[{position + window - 1}]: ({total}) / {window} = {mean:.3g}."
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([4, 2, 5, 6, 2, 4], 2, 1))
