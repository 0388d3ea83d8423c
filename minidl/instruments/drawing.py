"""Boxes with numbers in them, arrows and labels: what most of the book's drawings are made of."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from minidl.instruments.style import INK, KERNEL, MUTED, PAPER, RULE, drawing


@drawing
def canvas(width: float, height: float, unit: float = 0.5) -> tuple[Figure, Axes]:
    """Return an empty sheet `width` × `height` units wide, a unit being `unit` inches; y grows downwards."""
    figure = Figure(figsize=(width * unit, height * unit))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.axis("off")
    return figure, axes


@drawing
def box(axes, x, y, width=1.0, height=1.0, text="", *, fill=None, strength=0.28, edge=MUTED, **text_style):
    """Draw a rectangle with its upper left corner at (x, y) and `text` in the middle.

    `fill` is a palette colour, laid on at `strength` (0 to 1) so that text stays readable in light and dark.
    """
    if fill is not None:
        axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, alpha=strength, linewidth=0))
    axes.add_patch(Rectangle((x, y), width, height, facecolor="none", edgecolor=edge, linewidth=0.9))
    if text != "":
        label(axes, x + width / 2, y + height / 2, text, **text_style)


def outline(axes, x, y, width, height, color):
    """Draw a strong outline around a rectangle, to say: this one."""
    xs, ys = (x, x + width, x + width, x, x), (y, y, y + height, y + height, y)
    axes.plot(xs, ys, color=color, linewidth=1.6, solid_joinstyle="miter")


def cells(axes, x, y, values, *, size=1.0, fills=None, strength=0.28, edge=MUTED, text_size=11, **text_style):
    """Draw a row of boxes from (x, y) to the right, one value each; `fills` has a colour or None for each."""
    style = {"strength": strength, "edge": edge, "size": text_size, **text_style}
    for i, value in enumerate(values):
        box(axes, x + i * size, y, size, size, value, fill=fills[i] if fills is not None else None, **style)


def matrix(axes, x, y, rows, *, size=1.0, fills=None, **style):
    """Draw rows of boxes, numbers or texts, from (x, y); `fills` has one colour or None for each box."""
    for i, row in enumerate(rows):
        texts = [value if isinstance(value, str) else number(value) for value in row]
        cells(axes, x, y + i * size, texts, size=size, fills=fills[i] if fills is not None else None, **style)


@drawing
def shades(axes, x, y, values, *, size=1.0, limit=None, strength=1.0, positive=INK, negative=KERNEL):
    """Draw a matrix as a picture with its upper left corner at (x, y): larger values are stronger cells.

    Values above zero take the colour `positive`, values below it `negative`; `limit` (by default the largest
    size of a value) is drawn at `strength`. There are eight steps, and each is one path: pictures stay small.
    """
    values = np.asarray(values, dtype=np.float64)
    limit = limit or np.abs(values).max() or 1.0
    steps = np.rint(np.clip(values / limit, -1, 1) * 8).astype(int)
    unit = Path.unit_rectangle()
    for step in np.unique(steps[steps != 0]):
        corners = [(x + j * size, y + i * size) for i, j in np.argwhere(steps == step)]
        area = Path.make_compound_path(
            *(Path(unit.vertices * size + corner, unit.codes) for corner in corners)
        )
        color = positive if step > 0 else negative
        axes.add_patch(PathPatch(area, facecolor=color, alpha=strength * abs(step) / 8, linewidth=0))
    box(axes, x, y, values.shape[1] * size, values.shape[0] * size, edge=RULE)


@drawing
def label(axes, x, y, text, *, size=11, color=INK, align="center", valign="center", bold=False):
    """Write `text` at (x, y)."""
    axes.text(
        x, y, str(text), fontsize=size, color=color, ha=align, va=valign, weight="bold" if bold else "normal"
    )


@drawing
def arrow(axes, start, end, *, color=MUTED, width=1.2, bend=0.0, dashed=False):
    """Draw an arrow from `start` to `end`, bent sideways by `bend`."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=9,
            color=color,
            linewidth=width,
            linestyle=(0, (3, 2)) if dashed else "-",
            connectionstyle=f"arc3,rad={bend}",
            shrinkA=1,
            shrinkB=1,
        )
    )


@drawing
def frame(axes, x, y, width, height, *, color=INK, text="", dashed=False, fill=PAPER, strength=0.0):
    """Draw a rounded frame around something, with `text` above its left corner."""
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.15",
            facecolor=(fill, strength),
            edgecolor=color,
            linewidth=1.4,
            linestyle=(0, (4, 2)) if dashed else "-",
        )
    )
    if text:
        label(axes, x + 0.05, y - 0.12, text, size=10, color=color, align="left", valign="bottom", bold=True)


def number(value, digits=3) -> str:
    """Write a number as short as a box needs it: at most `digits` significant digits, no trailing zeros."""
    return f"{value:.{digits}g}".replace("-", "−")


def bracketed(value) -> str:
    """Write a number that follows an operator: in brackets if it is negative."""
    return f"({number(value)})" if value < 0 else number(value)
