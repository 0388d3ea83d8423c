"""One drawing on the way from one point of noise to another, and how far the way has been walked."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import box, canvas, label, shades
from minidl.instruments.style import MODEL, MUTED, describe, drawing


@drawing
def draw(start, here, end, share: float, target: str):
    """Return both ends, small, and the drawing between them, large.

    Parameters
    ----------
    start, here, end : (H, W) arrays from 0 to 1
    share : float
        Of the way, from 0 to 1.
    target : str
        Where it leads.
    """
    figure, axes = canvas(16, 8, unit=0.34)
    side = len(here)
    shades(axes, 0.4, 2.0, np.asarray(start, np.float64), size=3.2 / side, limit=1)
    shades(axes, 4.8, 0.3, np.asarray(here, np.float64), size=6.4 / side, limit=1)
    shades(axes, 12.4, 2.0, np.asarray(end, np.float64), size=3.2 / side, limit=1)
    label(axes, 2.0, 5.7, "start", size=10, color=MUTED)
    label(axes, 14.0, 5.7, target, size=10, color=MUTED)
    box(axes, 4.8, 7.2, 6.4, 0.3)
    if share:
        box(axes, 4.8, 7.2, 6.4 * share, 0.3, fill=MODEL, strength=0.8)
    return describe(figure, f"On the way to {target}: {share:.0%} of the way.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(np.eye(8), (np.eye(8) + np.eye(8)[::-1]) / 2, np.eye(8)[::-1], 0.5, "goal 1"))
