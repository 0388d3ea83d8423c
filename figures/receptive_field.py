"""What one number sees: a stack of 3×3 convolutions in cross-section, down to the pixels."""

from __future__ import annotations

from matplotlib.patches import Polygon

from minidl.instruments.drawing import box, canvas, label
from minidl.instruments.style import LAYER, MODEL, MUTED, OP, describe, drawing


@drawing
def draw(layers: int, most: int, channels: int = 64):
    """Return `layers` 3×3 convolutions on a row of pixels, and below them the weights of one with their view.

    Parameters
    ----------
    layers : int
        How many are drawn.
    most : int
        How many will be, in the widest drawing: all have one size.
    channels : int
        C, before and after every convolution.
    """
    pixels, step = 2 * most + 3, 1.75
    figure, axes = canvas(pixels + 1.0, 3.5 + step * most + 2.6, unit=0.42)
    middle = pixels / 2 + 0.5
    view = 2 * layers + 1
    bottom = 1.2 + step * most
    for depth in range(layers + 1):  # from the pixels up
        seen, y = 2 * (layers - depth) + 1, bottom - step * depth
        if depth < layers:
            axes.add_patch(
                Polygon(
                    [(middle - seen / 2, y), (middle + seen / 2, y),
                     (middle + seen / 2 - 1, y + 1 - step), (middle - seen / 2 + 1, y + 1 - step)],
                    facecolor=LAYER, alpha=0.18, linewidth=0,
                )
            )  # fmt: skip
        shown = pixels if depth == 0 else pixels - 2 * depth
        for i in range(shown):
            x = middle - shown / 2 + i
            lit = abs(x + 0.5 - middle) < seen / 2
            fill = (LAYER if depth == 0 else MODEL if depth == layers else OP) if lit else None
            box(axes, x, y, fill=fill, strength=0.55 if lit else 0.28)
        name = "pixels" if depth == 0 else f"layer {depth}"
        label(axes, 0.3, y - 0.3, name, align="left", size=9.5, color=MUTED)
    stacked, single = layers * 9 * channels**2, view**2 * channels**2
    lines = (
        f"{layers} layer{'s' * (layers > 1)} of 3 × 3: one number sees {view} × {view} pixels",
        f"weights: {layers} · 9C² = {9 * layers}C², with C = {channels}: {stacked:,}",
        f"one layer of {view} × {view}: {view**2}C² = {single:,}",
    )
    for i, line in enumerate(lines):
        label(axes, 0.3, bottom + 1.9 + 0.95 * i, line, align="left", size=10.5, bold=i == 0)
    return describe(figure, f"{lines[0]}; {lines[1]}; {lines[2]}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(3, 4))
