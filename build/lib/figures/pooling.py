"""Pooling: every window is replaced by one number, its largest or its mean."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import arrow, canvas, frame, label, matrix, number
from minidl.instruments.style import LAYER, MODEL, describe, drawing

KINDS = {"max": np.max, "mean": np.mean}


@drawing
def draw(values, kind: str, position: int, size: int = 2):
    """Return one stop of a `size` × `size` window that moves by its own width; `kind` is "max" or "mean"."""
    values = np.asarray(values, dtype=np.float64)
    rows, columns = (n // size for n in values.shape)
    row, column = divmod(position, columns)
    window = values[row * size : (row + 1) * size, column * size : (column + 1) * size]
    blocks = values[: rows * size, : columns * size].reshape(rows, size, columns, size)
    outputs = KINDS[kind](blocks, axis=(1, 3))

    height, width = values.shape
    figure, axes = canvas(width + columns * 1.2 + 3.1, height + 2.5, unit=0.56)
    label(axes, 0.3, 0.4, "input", align="left", bold=True)
    inside = [[i // size == row and j // size == column for j in range(width)] for i in range(height)]
    fills = [[LAYER if hit else None for hit in line] for line in inside]
    matrix(axes, 0.3, 0.8, values, fills=fills, strength=0.4)
    frame(axes, 0.3 + size * column, 0.8 + size * row, size, size, color=LAYER)
    right, top = width + 2.4, 0.8 + (height - 1.2 * rows) / 2
    label(axes, right, top - 0.4, kind, align="left", bold=True)
    done = [
        [outputs[i, j] if i * columns + j <= position else "" for j in range(columns)] for i in range(rows)
    ]
    fills = [[MODEL if (i, j) == (row, column) else None for j in range(columns)] for i in range(rows)]
    matrix(axes, right, top, done, size=1.2, fills=fills)
    arrow(axes, (width + 0.6, 0.8 + height / 2), (right - 0.3, 0.8 + height / 2))
    inner = ", ".join(number(v) for v in window.flat)
    sum_ = f"{kind} of {inner} = {number(outputs[row, column])}"
    label(axes, 0.3, height + 1.7, sum_, align="left")
    return describe(figure, f"Window at row {row}, column {column}: {sum_}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([[1, 3, 0, 2], [4, 8, 1, 1], [0, 2, 5, 5], [6, 0, 5, 9]], "max", 1))
