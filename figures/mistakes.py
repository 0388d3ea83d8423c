"""The pictures that a network was surest of and wrong about."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import canvas, label, shades
from minidl.instruments.style import GRAPH, TASK, describe, drawing


@drawing
def draw(images, said, truth, sure, columns: int = 5, title: str = "surest mistakes"):
    """Return each picture with what the network said, how sure it was, and what it is.

    Parameters
    ----------
    images : array_like of shape (N, side, side) or (N, 1, side, side), from 0 to 1
    said, truth : sequences of N names or numbers
    sure : sequence of float
        The share that it gave to what it said.
    columns : int
    title : str
    """
    images = np.asarray(images, float)
    images = images[:, 0] if images.ndim == 4 else images
    if images.ndim != 3 or not len(images) == len(said) == len(truth) == len(sure):
        raise ValueError(
            f"images (N, side, side), said, truth and sure must go together, got {images.shape}, "
            f"{len(said)}, {len(truth)} and {len(sure)}"
        )
    if not len(images):
        figure, axes = canvas(10, 2, unit=0.54)
        label(axes, 0.2, 1, "no mistakes", align="left", size=10.5, bold=True)
        return describe(figure, f"{title}: none.")
    rows, pitch, high = -(-len(images) // columns), 2.5, 3.7
    width = columns * pitch + 0.2
    figure, axes = canvas(width, rows * high + 1.1, unit=5.4 / width)
    label(axes, 0.2, 0.5, title, align="left", size=10.5, bold=True)
    for i, image in enumerate(np.clip(images, 0, 1)):
        row, column = divmod(i, columns)
        x, y = 0.2 + pitch * column, 1.1 + high * row
        shades(axes, x, y, image, size=2 / max(image.shape), limit=1)
        label(axes, x, y + 2.4, f"said {said[i]}, {sure[i]:.0%}", align="left", size=8.5, color=TASK)
        label(axes, x, y + 2.95, f"is {truth[i]}", align="left", size=8.5, color=GRAPH)
    told = "; ".join(
        f"a {t} taken for a {s}, {p:.0%} sure" for s, t, p in zip(said, truth, sure, strict=True)
    )
    return describe(figure, f"{title}: {told}.")


if __name__ == "__main__":
    from figures.write import write

    write(
        __file__,
        draw(np.eye(8)[None].repeat(5, 0), [1, 2, 3, 4, 5], [7, 7, 8, 9, 6], [0.99, 0.9, 0.8, 0.7, 0.6]),
    )
