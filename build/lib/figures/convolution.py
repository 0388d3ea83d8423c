"""A kernel slides over an image; at each stop it gives one output: the sum of the products under it."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import box, canvas, frame, label, matrix, number
from minidl.instruments.style import LAYER, MODEL, describe, drawing


@drawing
def draw(image, kernel, position: int):
    """Return one stop of the kernel: the products in the image, and the outputs so far.

    Parameters
    ----------
    image : (H, W) array
    kernel : (K, K) array
    position : int
        Stops are counted along the rows, from 0.
    """
    image, kernel = np.asarray(image, dtype=np.float64), np.asarray(kernel, dtype=np.float64)
    (height, width), size = image.shape, len(kernel)
    rows, columns = height - size + 1, width - size + 1
    top, left = divmod(position, columns)
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    outputs = (windows * kernel).sum(axis=(2, 3))

    cell, right = 1.75, 0.3 + 1.75 * width + 1.2
    figure, axes = canvas(right + 1.3 * max(size, columns) + 0.3, max(cell * height, 7) + 1.1, unit=0.52)
    label(axes, 0.3, 0.4, "image", align="left", bold=True)
    for i in range(height):
        for j in range(width):
            inside = top <= i < top + size and left <= j < left + size
            weight = number(kernel[i - top, j - left]) + "·" if inside else ""
            fill = LAYER if inside else None
            text = weight + number(image[i, j])
            box(axes, 0.3 + cell * j, 0.8 + cell * i, cell, cell, text, fill=fill, strength=0.4)
    frame(axes, 0.3 + cell * left, 0.8 + cell * top, cell * size, cell * size, color=LAYER)

    label(axes, right, 0.4, "kernel", align="left", bold=True)
    fills = [[LAYER] * size] * size
    matrix(axes, right, 0.8, kernel, size=1.3, fills=fills, strength=0.4)
    below = 0.8 + 1.3 * size + 1.3
    label(axes, right, below - 0.4, "output", align="left", bold=True)
    done = [
        [t if i * columns + j <= position else "" for j, t in enumerate(r)] for i, r in enumerate(outputs)
    ]
    fills = [[MODEL if (i, j) == (top, left) else None for j in range(columns)] for i in range(rows)]
    matrix(axes, right, below, done, size=1.3, fills=fills)

    pairs = zip(kernel.flat, windows[top, left].flat, strict=True)
    sum_ = " + ".join(f"{number(k)}·{number(v)}" for k, v in pairs) + f" = {number(outputs[top, left])}"
    label(axes, 0.3, max(cell * height, 7) + 0.7, sum_, align="left", size=10.5)
    return describe(figure, f"Kernel at row {top}, column {left}: {sum_}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([[0.4, 0.9, 0.1], [0.7, 0.2, 0.6], [0.8, 0.3, 0.5]], [[5.7, 2.4], [3.1, 0.9]], 1))
