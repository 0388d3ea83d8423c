"""A drawn picture beside the training picture that is most like it: is it new, or a copy?"""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import canvas, label, shades
from minidl.instruments.style import GRAPH, INK, MUTED, TASK, describe, drawing

WIDTH = 20.0


@drawing
def draw(drawn, closest, distance: float, usual: float, says: str):
    """Return both pictures, their difference, and how far apart they are.

    Parameters
    ----------
    drawn, closest : (H, W) arrays from 0 to 1
    distance : float
        Between them, Euclidean over all pixels.
    usual : float
        The same for a real picture that was kept aside, in the median.
    says : str
        What an independent judge sees in the drawn one.
    """
    drawn, closest = np.asarray(drawn, np.float64), np.asarray(closest, np.float64)
    figure, axes = canvas(WIDTH, 8.6, unit=5.4 / WIDTH)
    size = 5.6 / len(drawn)
    panels = (("drawn", drawn, INK), ("most like it", closest, INK), ("difference", drawn - closest, TASK))
    for place, (name, values, color) in enumerate(panels):
        left = 0.5 + place * 6.7
        label(axes, left, 0.8, name, align="left", bold=True, size=10)
        shades(axes, left, 1.6, values, size=size, limit=1, positive=color, negative=GRAPH)
    label(
        axes,
        0.5,
        7.9,
        f"{says}; {distance:.2f} apart (a real one: {usual:.2f})",
        align="left",
        size=9.5,
        color=MUTED,
    )
    return describe(
        figure,
        f"{says}: {distance:.2f} away from the most similar training picture; "
        f"for real pictures that were kept aside {usual:.2f} is usual.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(np.eye(8), np.eye(8)[::-1], 2.0, 1.5, "a one"))
