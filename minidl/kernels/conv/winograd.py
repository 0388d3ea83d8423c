"""Winograd's convolution F(2×2, 3×3): 16 multiplications for four outputs, where the definition takes 36.

A 3×3 kernel makes 2×2 outputs from 4×4 pixels d. Transform both by fixed small matrices, multiply element by
element, and transform back:

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A

The element-by-element products, summed over channels, are 16 matrix products, one for each place in the 4×4
tile (A. Lavin & S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1 and
equations 8 and 9). Only 3×3 kernels with stride 1 have this form. The sums and differences cost a little
accuracy, and a NaN or an infinity spreads to all four outputs of a tile.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from minidl.kernels.compiling import PARALLEL
from minidl.kernels.conv.lowering import COLUMN_BYTES
from minidl.kernels.conv.reference import checked_forward
from minidl.kernels.matmul import matmul

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def conv2d_winograd(x, w, bias=None, stride=1, padding=0, out=None):
    """Rung 7: fewer multiplications.

    Parameters, result and errors are those of `conv2d_reference`, and:

    Raises
    ------
    ValueError
        If the kernel is not 3×3 or the stride is not 1.
    """
    x, w, bias, geometry, out = checked_forward(x, w, bias, stride, padding, out)
    if geometry.kernel != (3, 3) or geometry.stride != (1, 1):
        raise ValueError(
            f"Winograd F(2×2, 3×3) takes a 3×3 kernel with stride 1, got w {w.shape} with stride "
            f"{geometry.stride}; use another rung"
        )
    g = G.astype(w.dtype)
    weights = np.einsum("ij,ocjk,lk->iloc", g, w, g).reshape(16, *w.shape[:2])  # (16, O, C)
    bias = np.zeros(geometry.filters, x.dtype) if bias is None else bias
    down, across = (-(-size // 2) for size in geometry.out)  # tiles
    (above, before) = geometry.padding
    extra = 2 * down - geometry.out[0], 2 * across - geometry.out[1]  # 1 where the output's size is odd
    per_image = 16 * (geometry.channels + geometry.filters) * down * across * x.itemsize
    step = max(1, COLUMN_BYTES // per_image)
    for first in range(0, geometry.images, step):
        images = slice(first, min(first + step, geometry.images))
        d = np.pad(x[images], ((0, 0), (0, 0), (above, above + extra[0]), (before, before + extra[1])))
        tiles = np.empty((16, geometry.channels, len(d), down, across), x.dtype)
        _transform_input(d, tiles)
        with np.errstate(all="ignore"):
            products = matmul(weights, tiles.reshape(16, geometry.channels, -1))  # (16, O, tiles)
        _transform_output(products.reshape(16, geometry.filters, *tiles.shape[2:]), bias, out[images])
    return out


@njit(**PARALLEL)
def _transform_input(d, tiles):
    """Bᵀ d B for every 4×4 tile; neighbouring tiles overlap by two rows and columns."""
    _, channels, images, down, across = tiles.shape
    for pair in prange(images * channels):
        n, c = pair // channels, pair % channels
        for i in range(down):
            for j in range(across):
                rows = _combine_four(
                    _row(d, n, c, 2 * i, 2 * j),
                    _row(d, n, c, 2 * i + 1, 2 * j),
                    _row(d, n, c, 2 * i + 2, 2 * j),
                    _row(d, n, c, 2 * i + 3, 2 * j),
                )
                for a in range(4):
                    r = rows[a]
                    tiles[4 * a, c, n, i, j] = r[0] - r[2]
                    tiles[4 * a + 1, c, n, i, j] = r[1] + r[2]
                    tiles[4 * a + 2, c, n, i, j] = r[2] - r[1]
                    tiles[4 * a + 3, c, n, i, j] = r[1] - r[3]


@njit(inline="always")
def _row(d, n, c, i, j):
    return d[n, c, i, j], d[n, c, i, j + 1], d[n, c, i, j + 2], d[n, c, i, j + 3]


@njit(inline="always")
def _combine_four(p, q, r, s):
    """The rows of Bᵀ d: p - r, q + r, r - q, q - s."""
    return (
        (p[0] - r[0], p[1] - r[1], p[2] - r[2], p[3] - r[3]),
        (q[0] + r[0], q[1] + r[1], q[2] + r[2], q[3] + r[3]),
        (r[0] - q[0], r[1] - q[1], r[2] - q[2], r[3] - q[3]),
        (q[0] - s[0], q[1] - s[1], q[2] - s[2], q[3] - s[3]),
    )


@njit(**PARALLEL)
def _transform_output(products, bias, out):
    """Aᵀ m A + bias for every tile; where the output's size is odd, the last row or column is left out."""
    _, filters, images, down, across = products.shape
    height, width = out.shape[2:]
    for pair in prange(images * filters):
        n, o = pair // filters, pair % filters
        m = products[:, o, n]  # (16, down, across)
        for i in range(down):
            for j in range(across):
                top, bottom = bias[o], bias[o]
                top_right, bottom_right = bias[o], bias[o]
                for a in range(4):
                    left = m[4 * a, i, j] + m[4 * a + 1, i, j] + m[4 * a + 2, i, j]
                    right = m[4 * a + 1, i, j] - m[4 * a + 2, i, j] - m[4 * a + 3, i, j]
                    if a < 3:
                        top += left
                        top_right += right
                    if a == 1:
                        bottom += left
                        bottom_right += right
                    elif a > 1:
                        bottom -= left
                        bottom_right -= right
                out[n, o, 2 * i, 2 * j] = top
                if 2 * j + 1 < width:
                    out[n, o, 2 * i, 2 * j + 1] = top_right
                if 2 * i + 1 < height:
                    out[n, o, 2 * i + 1, 2 * j] = bottom
                    if 2 * j + 1 < width:
                        out[n, o, 2 * i + 1, 2 * j + 1] = bottom_right
