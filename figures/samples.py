"""Pictures side by side, as a generator draws them at one moment of its training."""

from __future__ import annotations

import numpy as np

from figures.distributions import evenly
from minidl.instruments.drawing import canvas, label, shades
from minidl.instruments.style import describe, drawing
from minidl.instruments.widgets import frames as behind_a_slider


@drawing
def draw(pictures, title: str, columns: int = 8):
    """Return all pictures in rows.

    Parameters
    ----------
    pictures : array_like of shape (N, side, side) or (N, 1, side, side), from 0 to 1
    title : str
    columns : int
        Pictures in one row.
    """
    pictures = np.asarray(pictures, float)
    pictures = pictures[:, 0] if pictures.ndim == 4 and pictures.shape[1] == 1 else pictures
    if pictures.ndim != 3 or not len(pictures):
        raise ValueError(
            f"pictures must have shape (N, side, side) or (N, 1, side, side), got {pictures.shape}"
        )
    columns = min(columns, len(pictures))
    rows, side, pitch = -(-len(pictures) // columns), max(pictures.shape[1:]), 2.2
    width = max(columns, 4) * pitch + 0.2
    figure, axes = canvas(width, rows * pitch + 1.1, unit=5.4 / width)
    label(axes, 0.2, 0.5, title, align="left", size=10.5, bold=True)
    for i, picture in enumerate(np.clip(pictures, 0, 1)):
        row, column = divmod(i, columns)
        shades(axes, 0.2 + pitch * column, 1.0 + pitch * row, picture, size=2 / side, limit=1)
    ink = pictures.mean()
    return describe(
        figure, f"{title}: {len(pictures)} pictures of {side} by {side} pixels, {ink:.0%} inked on average."
    )


def frames(watch, columns: int = 8, count: int = 20):
    """Return the pictures that a `Watch(samples=…)` kept, behind a slider, the last moment first."""
    moments = evenly([moment for moment in watch.moments if moment.samples is not None], count)
    if not moments:
        raise ValueError("watch has kept no pictures: give it samples=")
    pictures = [draw(m.samples, f"drawn after epoch {m.epoch}", columns) for m in moments]
    return behind_a_slider(pictures, "epoch", names=[str(m.epoch) for m in moments], start=len(pictures) - 1)


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(np.random.default_rng(0).uniform(size=(16, 8, 8)), "drawn after epoch 0"))
