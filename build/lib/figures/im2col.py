"""A convolution becomes a matrix product: every patch a row, every kernel a column."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import canvas, frame, label, matrix, number
from minidl.instruments.style import GRAPH, HARDWARE, KERNEL, MODEL, MUTED, describe, drawing

#: One colour for each of the three channels.
CHANNELS = (MODEL, GRAPH, KERNEL)


def stops(patches: int, kernels: int) -> list[str]:
    """Return the names of all stops: first the rows are filled, then the columns, then the product."""
    rows = [f"patch {p}" for p in range(patches)]
    columns = [f"kernel {k}" for k in range(kernels)]
    return rows + columns + [f"p{p} × k{k}" for p in range(patches) for k in range(kernels)]


@drawing
def draw(image, kernels, stop: int):
    """Return one stop of the way from the image to the product.

    Parameters
    ----------
    image : (3, H, W) array
    kernels : (n, 3, K, K) array
    stop : int
        Position in `stops(patches, n)`.
    """
    image, kernels = np.asarray(image), np.asarray(kernels)
    size = kernels.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
    down, across = windows.shape[1:3]
    rows = windows.transpose(1, 2, 0, 3, 4).reshape(down * across, -1)  # (patches, 3*K*K)
    columns = kernels.reshape(len(kernels), -1).T  # (3*K*K, n)
    product = rows @ columns
    patches, count = product.shape
    length = len(columns)

    patch = stop if stop < patches else None
    kernel = stop - patches if patches <= stop < patches + count else None
    entry = divmod(stop - patches - count, count) if stop >= patches + count else None
    at = patch if patch is not None else entry[0] if entry else None

    figure, axes = canvas(16.4, 16.2, unit=0.335)
    for channel, color in enumerate(CHANNELS):
        x, cell = 0.5 + 5.3 * channel, 1.05
        if kernel is None:
            top, left = divmod(at, across)
            inside = np.zeros(image.shape[1:], dtype=bool)
            inside[top : top + size, left : left + size] = True
            title, values, hit = f"image, channel {channel}", image[channel], inside
        else:
            title, values = f"kernel {kernel}, slice {channel}", kernels[kernel, channel]
            hit = np.ones((size, size), dtype=bool)
        label(axes, x, 0.5, title, align="left", size=9.5, bold=True)
        fills = [[color if h else None for h in line] for line in hit]
        matrix(axes, x, 1.0, values, size=cell, fills=fills, strength=0.32, text_size=10)
        if kernel is None:
            frame(axes, x + cell * left, 1.0 + cell * top, cell * size, cell * size, color=color)

    shown = [0, 1, 2, None, length - 3, length - 2, length - 1]  # None stands for the columns left out
    channel_of = [None if i is None else CHANNELS[i * 3 // length] for i in shown]
    y, x_rows, x_kernels, x_product = 8.3, 0.5, 8.9, 13.1
    label(axes, x_rows, y - 1.25, "patches", align="left", size=9.5, bold=True)
    label(axes, x_kernels, y - 1.25, "kernels", align="left", size=9.5, bold=True)
    label(axes, x_product, y - 1.25, "outputs", align="left", size=9.5, bold=True)
    names = ["…" if i is None else i for i in shown]
    for j, name in enumerate(names):
        x, k = (name, name) if name == "…" else (f"x{name}", f"k{name}")
        label(axes, x_rows + j + 0.5, y - 0.4, x, size=9, color=MUTED)
        label(axes, x_kernels - 0.2, y + j + 0.5, k, size=9, color=MUTED, align="right")
    for p in range(patches):
        known = patch is None or p <= patch
        lit = p == at
        texts = ["…" if i is None else rows[p, i] if known else "" for i in shown]
        fills = [[c if lit else None for c in channel_of]]
        matrix(axes, x_rows, y + p, [texts], fills=fills, strength=0.32, text_size=9.5)
    for k in range(count):
        known = entry is not None or (kernel is not None and k <= kernel)
        lit = k == (kernel if kernel is not None else entry[1] if entry else None)
        texts = [["…" if i is None else columns[i, k] if known else ""] for i in shown]
        fills = [[c if lit else None] for c in channel_of]
        matrix(axes, x_kernels + k, y, texts, fills=fills, strength=0.32, text_size=9.5)
    done = [
        [product[p, k] if entry and (p, k) <= entry else "" for k in range(count)] for p in range(patches)
    ]
    fills = [[HARDWARE if (p, k) == entry else None for k in range(count)] for p in range(patches)]
    matrix(axes, x_product, y, done, fills=fills, text_size=9.5)
    label(axes, 12.5, y + 1.5, "=", size=12)

    if patch is not None:
        says = f"patch {patch}: {size} × {size} pixels of 3 channels, laid out as a row of {length}"
    elif kernel is not None:
        says = f"kernel {kernel}: its 3 slices, laid out as a column of {length}"
    else:
        p, k = entry
        value, pixel = number(product[p, k]), divmod(p, across)
        says = f"{length} products added up: {value}, pixel {pixel} of output channel {k}"
    label(axes, 0.5, 15.8, says, align="left", size=10)
    prefix = f"patch {entry[0]} × kernel {entry[1]}: " if entry else ""
    return describe(figure, f"{prefix}{says}.")


def example():
    """Return a small image (3, 4, 4) and three kernels (3, 3, 3, 3) of small whole numbers."""
    random = np.random.default_rng(5)
    return random.integers(0, 10, (3, 4, 4)), random.integers(-1, 2, (3, 3, 3, 3))


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(*example(), 12))
