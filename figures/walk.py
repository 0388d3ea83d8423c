"""One drawing of a GAN, large, and beside it the training picture that is most like it."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import canvas, label, shades
from minidl.instruments.style import MUTED, describe, drawing


@drawing
def draw(drawn, nearest, step: int, steps: int):
    """Return both pictures, and where on the way the drawing stands.

    Parameters
    ----------
    drawn, nearest : array_like of shape (side, side), from 0 to 1
    step, steps : int
        The drawing is number `step` of `steps`, counted from 0.
    """
    drawn, nearest = np.asarray(drawn, float), np.asarray(nearest, float)
    figure, axes = canvas(11.0, 6.4, unit=0.44)
    shades(axes, 0.3, 1.1, drawn, size=4.4 / len(drawn), limit=1)
    shades(axes, 5.9, 1.1, nearest, size=4.4 / len(nearest), limit=1)
    label(axes, 0.3, 0.6, "drawn", align="left", size=10.5, bold=True)
    label(axes, 5.9, 0.6, "nearest in the training data", align="left", size=10.5, color=MUTED)
    axes.plot((0.3, 4.7), (5.95, 5.95), color=MUTED, linewidth=1)
    axes.plot(0.3 + 4.4 * step / (steps - 1), 5.95, "o", color=MUTED, markersize=7)
    apart = np.abs(drawn - nearest).mean()
    label(axes, 5.9, 5.95, f"{apart:.2f} apart, on average per pixel", align="left", size=9.5, color=MUTED)
    return describe(
        figure, f"Drawing {step + 1} of {steps}; the training picture most like it is {apart:.2f} away."
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(np.eye(8), np.eye(8)[::-1], 3, 9))
