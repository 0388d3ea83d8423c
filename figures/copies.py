"""Pictures above, what an autoencoder gives back of them below."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import canvas, label, shades
from minidl.instruments.style import MUTED, describe, drawing


@drawing
def draw(pictures, copies, code: int):
    """Return both rows.

    Parameters
    ----------
    pictures, copies : array_like of shape (N, side, side), from 0 to 1
    code : int
        How many numbers each picture passed through.
    """
    pictures, copies = np.asarray(pictures, float), np.clip(np.asarray(copies, float), 0, 1)
    count, side = pictures.shape[:2]
    figure, axes = canvas(count * 2.3 + 0.2, 6.6, unit=5.6 / (count * 2.3 + 0.2))
    error = ((pictures - copies) ** 2).mean()
    title = f"{side * side} pixels through {code} number{'s' * (code > 1)}: mean squared error {error:.3f}"
    label(axes, 0.2, 0.5, title, align="left", size=11, bold=True)
    for y, name, row in ((1.6, "in", pictures), (4.5, "out", copies)):
        label(axes, 0.2, y - 0.3, name, align="left", size=9, color=MUTED)
        for i, picture in enumerate(row):
            shades(axes, 0.2 + 2.3 * i, y, picture, size=2 / side, limit=1)
    return describe(figure, f"{count} pictures and their copies: {title}.")


if __name__ == "__main__":
    from figures.write import write

    eye = np.eye(8)[None].repeat(6, 0)
    write(__file__, draw(eye, eye * 0.7, 4))
