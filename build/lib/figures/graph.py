"""A computational graph: a box for every operation, its shape, bytes and time, and arrows between them."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from minidl.graph.drawing import diagram
from minidl.instruments.drawing import arrow, box
from minidl.instruments.style import GRAPH, INK, MODEL, MUTED, OP, PAPER, SHADE, describe, drawing

BEHIND = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
COLORS = {"input": SHADE, "forward": OP, "backward": MODEL}


@drawing
def draw(picture, lit=(), notes=None):
    """Return a drawing of a `minidl.graph.drawing.Diagram`.

    Parameters
    ----------
    lit : collection of keys
        The boxes to be set off.
    notes : dict of key: str, optional
        What to write beside some boxes.
    """
    margin, right = 0.25, 0.25 + (1.0 if notes else 0.0)
    figure = Figure(figsize=(picture.width + margin + right, picture.height + 2 * margin))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-margin, picture.width + right), ylim=(picture.height + margin, -margin), aspect="equal")
    axes.axis("off")
    for points in picture.arrows.values():
        curve = Path(points[:-1], [Path.MOVETO] + [Path.CURVE4] * (len(points) - 2))
        axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=MUTED, linewidth=1.0))
        arrow(axes, points[-2], points[-1], width=1.0)
    for key, item in picture.boxes.items():
        bright = key in lit
        fill, strength = (GRAPH, 0.75) if bright else (COLORS[item.kind], 0.25 if item.kind != "input" else 1)
        left, top = item.x - item.width / 2, item.y - item.height / 2
        box(
            axes,
            left,
            top,
            item.width,
            item.height,
            fill=fill,
            strength=strength,
            edge=INK if bright else MUTED,
        )
        for i, line in enumerate(item.lines):
            y = top + (5 + 12 * (i + 0.5)) / 72
            axes.text(item.x, y, line, size=9 if i == 0 else 8, color=INK, ha="center", va="center",
                      weight="bold" if i == 0 else "normal")  # fmt: skip
        if notes and key in notes:
            beside = item.x + item.width / 2 + 0.05
            axes.text(beside, item.y, notes[key], size=9, color=INK, va="center", bbox=BEHIND)
    lines = "; ".join(", ".join(item.lines) for item in picture.boxes.values())
    return describe(figure, f"A graph of {len(picture.boxes)} boxes: {lines}.")


if __name__ == "__main__":
    import numpy as np

    from figures.write import write
    from minidl.graph import Tensor

    x = Tensor(np.ones((64, 1000)), requires_grad=True)
    w1, w2 = Tensor(np.ones((1000, 100)), requires_grad=True), Tensor(np.ones((100, 10)), requires_grad=True)
    loss = (((x @ w1).relu() @ w2) ** 2).mean()
    write(__file__, draw(diagram(loss, names={"x": x, "w1": w1, "w2": w2})))
