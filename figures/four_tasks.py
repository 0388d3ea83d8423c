"""One example of a task: what the network is given, and what is wanted of it."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import arrow, canvas, cells, frame, label, number, shades
from minidl.instruments.style import MODEL, MUTED, RULE, TASK, describe, drawing

WIDTH, HEIGHT = 19.0, 8.4


@drawing
def draw(task: str, given, wanted, says: str, curves: bool = False):
    """Return the example: given on the left, wanted on the right.

    Parameters
    ----------
    task : str
        Its name.
    given, wanted : str, (n,) array or (H, W) array
        A text, a row of numbers (at most nine are written), or a picture from 0 to 1.
    says : str
        What kind of thing is wanted, in a few words.
    curves : bool
        Whether rows of numbers are drawn as curves, all to one scale, instead of being written.
    """
    figure, axes = canvas(WIDTH, HEIGHT, unit=5.4 / WIDTH)
    label(axes, 0.4, 0.8, task, align="left", bold=True, size=10.5, color=TASK)
    scale = max(np.abs(given).max(), np.abs(wanted).max()) if curves else None
    told = [_thing(axes, thing, middle, scale) for thing, middle in ((given, 3.8), (wanted, WIDTH - 3.6))]
    frame(axes, 8.4, 3.2, 2.2, 2.2, color=MODEL)
    label(axes, 9.5, 4.3, "f", size=15, color=MODEL)
    arrow(axes, (7.2, 4.3), (8.3, 4.3))
    arrow(axes, (10.7, 4.3), (11.8, 4.3))
    label(axes, WIDTH / 2, 7.7, says, size=9.5, color=MUTED)
    return describe(figure, f"{task}: given {told[0]}, wanted {told[1]}: {says}.")


def _thing(axes, thing, middle, scale):
    """Draw one side; return what it is in words."""
    if isinstance(thing, str):
        lines = thing.split("\n")
        for row, line in enumerate(lines):
            label(axes, middle, 4.3 + 0.95 * (row - (len(lines) - 1) / 2), line, size=9.5)
        return f"“{' '.join(lines)}”"
    values = np.asarray(thing, dtype=np.float64)
    if values.ndim == 2:
        size = 4.8 / len(values)
        shades(axes, middle - 2.4, 1.9, values, size=size, limit=1)
        return f"a picture of {len(values)} by {values.shape[1]} pixels"
    if scale:
        places = middle - 3 + 6 * np.arange(len(values)) / (len(values) - 1)
        axes.plot((middle - 3, middle + 3), (4.3, 4.3), color=RULE, linewidth=0.8)
        axes.plot(places, 4.3 - 2.4 * values / scale, ".-", color=TASK, linewidth=1.2, markersize=3.5)
        return f"a curve of {len(values)} numbers between {values.min():.1f} and {values.max():.1f}"
    shown = values[:9]
    for row in range(0, len(shown), 3):
        texts = [number(value, 2) for value in shown[row : row + 3]]
        cells(axes, middle - 2.7, 1.9 + 1.6 * row / 3, texts, size=1.6, text_size=8)
    return f"{len(values)} numbers beginning {', '.join(number(value, 2) for value in shown[:3])}"


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw("classification", np.eye(8), "a four", "one of ten names"))
