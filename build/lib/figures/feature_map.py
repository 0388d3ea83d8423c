"""A picture, a small kernel, and the map of where the kernel found what it looks for."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import canvas, frame, label, matrix, number, shades
from minidl.instruments.style import KERNEL, LAYER, MODEL, describe, drawing


@drawing
def draw(image, kernel, name: str):
    """Return the kernel and the picture on the left, the output on the right, the strongest match framed.

    Parameters
    ----------
    image : (H, W) array
        Dark where it is large.
    kernel : (K, K) array
    name : str
        What the kernel looks for.
    """
    image, kernel = np.asarray(image, dtype=np.float64), np.asarray(kernel, dtype=np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    output = (windows * kernel).sum(axis=(2, 3))
    height, (rows, columns) = len(image), output.shape

    cell, right = 0.6, 6.1
    figure, axes = canvas(right + columns + 0.3, max(0.6 * height + 4.5, rows + 1.9), unit=0.44)
    label(axes, 0.3, 0.45, f"kernel: {name}", align="left", bold=True, size=10.5)
    fills = [[LAYER if v else None for v in row] for row in kernel]
    matrix(axes, 0.3, 0.9, kernel, fills=fills, strength=0.4, size=0.9)
    below = 0.9 * len(kernel) + 1.7
    shades(axes, 0.3, below, image, size=cell, strength=0.75)
    shades(axes, right, 0.9, output, strength=0.6, positive=MODEL, negative=KERNEL)
    for i, j in np.ndindex(output.shape):
        label(axes, right + j + 0.5, i + 1.4, number(output[i, j]), size=9.5)
    i, j = np.unravel_index(output.argmax(), output.shape)
    frame(axes, 0.3 + cell * j, below + cell * i, cell * len(kernel), cell * len(kernel), color=MODEL)
    frame(axes, right + j, 0.9 + i, 1, 1, color=MODEL)
    label(axes, right, 0.45, "output", align="left", bold=True, size=10.5)
    label(axes, right, rows + 1.45, "positive", align="left", size=9.5, color=MODEL)
    label(axes, right + columns, rows + 1.45, "negative", align="right", size=9.5, color=KERNEL)
    return describe(
        figure,
        f"Kernel for {name}: its {rows} by {columns} output is largest, {number(output[i, j])}, at row {i}, "
        f"column {j}, and smallest {number(output.min())}.",
    )


if __name__ == "__main__":
    from figures.write import write

    cross = np.zeros((8, 8))
    cross[:, 3] = cross[4] = 9
    write(__file__, draw(cross, [[0, 1, 0]] * 3, "vertical strokes"))
