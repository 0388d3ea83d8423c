"""The packed matrix product: a and b copied to panels that are read in order, and tiles of c in registers.

The design is that of Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34,
2008. The innermost piece is in `minidl.kernels.registers`.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from minidl.kernels.compiling import PARALLEL, SERIAL
from minidl.kernels.matmul.cpu import each_pair
from minidl.kernels.registers import ROWS, add_products, aligned_empty, tile_width

DEPTH = 320  # products that a tile makes before it goes back to memory; the panels they need fit into L1
HEIGHT = 42 * ROWS  # rows of a that are packed at once, to stay in L2
SLAB = 32 * 2**20  # bytes of b, packed, that are held at once


def matmul_packed(a, b, out=None):
    """Rung 6: panels of a and b copied so that they are read in order, and a tile of c held in registers."""
    return each_pair(_packed, a, b, out)


def _packed(a, b, c):
    (m, k), n, threads = a.shape, b.shape[1], get_num_threads()
    blocks = threads * -(-m // (HEIGHT * threads))  # the same number for each thread, all equally high
    height = -(-m // (blocks * ROWS)) * ROWS
    width = tile_width(c.itemsize)
    columns = max(1, SLAB // (k * width * c.itemsize)) * width
    a_panels = aligned_empty((threads, height // ROWS, min(DEPTH, k), ROWS), c.dtype)
    b_panels = aligned_empty((-(-min(columns, n) // width), k, width), c.dtype)
    edges = aligned_empty((threads, ROWS, width), c.dtype)
    offsets = np.arange(min(DEPTH, k)) * width  # where the rows of a panel of b begin
    for left in range(0, n, columns):
        right = min(left + columns, n)
        _pack_columns(b, left, right, b_panels)
        _multiply(a, b_panels.reshape(len(b_panels), -1), a_panels, edges, offsets, c, left, right)


@njit(**PARALLEL)
def _pack_columns(b, left, right, panels):
    """Copy b's columns to panels, each as wide as a tile of c; what is missing in the last one is zero."""
    width = panels.shape[2]
    for p in prange(-(-(right - left) // width)):
        first = left + p * width
        last = min(first + width, right)
        for k in range(b.shape[0]):
            row, panel = b[k, first:last], panels[p, k]
            for j in range(np.uint64(last - first)):
                panel[j] = row[j]
            panel[last - first :] = 0


@njit(**PARALLEL)
def _multiply(a, b_panels, a_panels, edges, offsets, c, start, stop):
    """c = a·b for some columns: in each thread a block of rows after the other."""
    threads, panels = a_panels.shape[:2]
    height = panels * ROWS
    for thread in prange(threads):
        for top in range(thread * height, len(a), threads * height):
            bottom = min(top + height, len(a))
            columns = start, stop
            _multiply_rows(a, b_panels, a_panels[thread], edges[thread], offsets, c, (top, bottom), columns)


@njit(**SERIAL)
def _multiply_rows(a, b_panels, a_panels, edge, offsets, c, rows, columns):
    """c = a·b for some rows and columns: `DEPTH` products after the other, and in them tile after tile."""
    (top, bottom), (start, stop) = rows, columns
    depth, step, width = a.shape[1], a_panels.shape[1], edge.shape[1]
    for first in range(0, depth, step):
        last = min(first + step, depth)
        _pack_rows(a[top:bottom, first:last], a_panels)
        for left in range(start, stop, width):
            right = min(left + width, stop)
            b_panel = b_panels[(left - start) // width, first * width :]
            for i in range(top, bottom, ROWS):
                tile = c[i : min(i + ROWS, bottom), left:right]
                whole = tile.shape == edge.shape
                target = tile if whole else edge[:, :width]
                a_panel = a_panels[(i - top) // ROWS]
                add_products(a_panel, b_panel, offsets[: last - first], target, whole and first > 0)
                if not whole:
                    for x in range(tile.shape[0]):
                        for y in range(tile.shape[1]):
                            if first > 0:
                                tile[x, y] += edge[x, y]
                            else:
                                tile[x, y] = edge[x, y]


@njit(**SERIAL)
def _pack_rows(a, panels):
    """Copy a block of a so that the values of a column lie side by side; rows that are missing are zero."""
    rows, height = len(a), panels.shape[2]
    for i in range(-(-rows // height) * height):
        panel, side = panels[i // height], i % height
        for k in range(a.shape[1]):
            panel[k, side] = a[i, k] if i < rows else 0
