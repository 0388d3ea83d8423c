"""Which part of two matrices a tile of their product needs, and how often a fetched number is used."""

from __future__ import annotations

from minidl.instruments.drawing import box, canvas, label
from minidl.instruments.style import GRAPH, INK, KERNEL, MODEL, MUTED, describe, drawing

SIDE = 8  # of all three matrices


@drawing
def draw(tile: int):
    """Return a times b = c, 8×8 each, with one tile of c and all that it is made of.

    Parameters
    ----------
    tile : int
        Its side: 1, 2, 4 or 8.
    """
    figure, axes = canvas(31, 12.4, unit=5.4 / 31)
    row, column = (SIDE - tile) // 2 // tile * tile, SIDE - tile
    places = {"a": (0.6, GRAPH), "b": (11.2, MODEL), "c": (21.8, KERNEL)}
    for name, (left, color) in places.items():
        label(axes, left + 4, 0.9, name, bold=True, size=10.5)
        for i in range(SIDE):
            for j in range(SIDE):
                used = {
                    "a": row <= i < row + tile,
                    "b": column <= j < column + tile,
                    "c": row <= i < row + tile and column <= j < column + tile,
                }[name]
                box(axes, left + j, 1.8 + i, fill=color if used else None, edge=MUTED, strength=0.6)
    label(axes, 9.9, 5.8, "×", size=14)
    label(axes, 20.5, 5.8, "=", size=14)
    products, fetched = tile * tile * SIDE, 2 * tile * SIDE
    says = f"{fetched} numbers fetched, {products} products: {products / fetched:g} for each"
    label(axes, 15.5, 11.3, says, size=10, color=INK)
    return describe(figure, f"A tile of {tile} by {tile} of the product: {says} number.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(4))
