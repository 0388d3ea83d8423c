"""The packed matrix product: panels copied to where they are read best, and a tile of c kept in registers.

The design is that of Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34,
2008. That it rests on one small piece, the only one that must know the processor, is the point of Van Zee
& van de Geijn, "BLIS: a framework for rapidly instantiating BLAS functionality", ACM TOMS 41, 2015.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding, ir
from numba import get_num_threads, njit, prange, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from minidl.kernels.compiling import PARALLEL, SERIAL
from minidl.kernels.matmul.cpu import each_pair


def _registers():
    """Return what this processor's vector registers hold, in bytes, and how many rows of c fit into them.

    A tile of c is two registers wide. With 32 registers it can be 14 rows high, with 16 only 6: the rest is
    for two vectors of b and the value of a that multiplies them.
    """
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 14
    return (32, 6) if features.get("avx") else (16, 6)


VECTOR, ROWS = _registers()  # bytes; rows of a tile of c
DEPTH = 320  # products that a tile makes before it goes back to memory: the panels of b they read fit into L1
HEIGHT = 24 * ROWS  # rows of a that are packed at once, to stay in L2
SLAB = 32 * 2**20  # bytes of b, packed, that are held at once


def matmul_packed(a, b, out=None):
    """Rung 6: panels of a and b copied so that they are read in order, and a tile of c held in registers."""
    return each_pair(_packed, a, b, out)


def _packed(a, b, c):
    (m, k), n, threads = a.shape, b.shape[1], get_num_threads()
    blocks = threads * -(-m // (HEIGHT * threads))  # the same number for each thread, all equally high
    height = -(-m // (blocks * ROWS)) * ROWS
    width = 2 * VECTOR // c.itemsize
    columns = max(1, SLAB // (k * width * c.itemsize)) * width
    a_panels = aligned_empty((threads, height // ROWS, min(DEPTH, k), ROWS), c.dtype)
    b_panels = aligned_empty((-(-min(columns, n) // width), k, width), c.dtype)
    edges = aligned_empty((threads, ROWS, width), c.dtype)
    for left in range(0, n, columns):
        right = min(left + columns, n)
        _pack_columns(b, left, right, b_panels)
        _multiply(a, b_panels, a_panels, edges, c, left, right)


def aligned_empty(shape, dtype):
    """Return an array that begins at a multiple of 64 bytes, the length of a cache line.

    A vector of 64 bytes that straddles two lines takes two accesses; without them a rung is a quarter faster.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


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
def _multiply(a, b_panels, a_panels, edges, c, start, stop):
    """c = a·b for some columns: in each thread a block of rows after the other."""
    threads, panels = a_panels.shape[:2]
    height = panels * ROWS
    for thread in prange(threads):
        for top in range(thread * height, len(a), threads * height):
            bottom = min(top + height, len(a))
            _multiply_rows(a, b_panels, a_panels[thread], edges[thread], c, top, bottom, start, stop)


@njit(**SERIAL)
def _multiply_rows(a, b_panels, a_panels, edge, c, top, bottom, start, stop):
    """c[top:bottom, start:stop] = a·b: `DEPTH` products after the other, and in them tile after tile."""
    depth, step, width = a.shape[1], a_panels.shape[1], b_panels.shape[2]
    for first in range(0, depth, step):
        last = min(first + step, depth)
        _pack_rows(a[top:bottom, first:last], a_panels)
        for left in range(start, stop, width):
            right = min(left + width, stop)
            b_panel = b_panels[(left - start) // width, first:last]
            for i in range(top, bottom, ROWS):
                tile = c[i : min(i + ROWS, bottom), left:right]
                whole = tile.shape == edge.shape
                target = tile if whole else edge[:, :width]
                a_panel = a_panels[(i - top) // ROWS]
                add_products(a_panel, b_panel, target, last - first, whole and first > 0)
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


@intrinsic
def add_products(typing, a, b, c, depth, add):
    """c = a·b, or c += a·b, for a tile of c: ROWS values of a and two vectors of b make each product.

    This piece is written in the compiler's own language, LLVM's. A compiler left alone with three loops keeps
    c in memory, and fetches and stores each value of it for each product. Here it is told what to hold in
    registers; it still chooses which, and the instructions, and that they multiply and add at once.

    Parameters
    ----------
    a : array of shape (depth or more, ROWS)
    b : array of shape (depth or more, two vectors)
        Both without gaps.
    c : array of shape (ROWS, two vectors)
        Its rows are without gaps, and lie anywhere.
    depth : int
    add : bool
    """
    for name, array, layouts in (("a", a, "C"), ("b", b, "C"), ("c", c, "AC")):
        if not isinstance(array, types.Array) or array.ndim != 2 or array.layout not in layouts:
            raise TypingError(f"{name} must be a matrix with rows of its own, got {array}")
    if not a.dtype == b.dtype == c.dtype or a.dtype not in (types.float32, types.float64):
        raise TypingError(f"a, b and c must have the same floating type, got {a.dtype}, {b.dtype}, {c.dtype}")

    def generate(context, builder, signature, arguments):
        a, b, c = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], arguments, strict=False)
        )
        depth, add = arguments[3:]
        scalar, size = context.get_value_type(signature.args[0].dtype), signature.args[0].dtype.bitwidth // 8
        vector, lanes = ir.VectorType(scalar, VECTOR // size), VECTOR // size
        number, row_bytes = context.get_constant, cgutils.unpack_tuple(builder, c.strides)[0]

        def vector_at(pointer, value=None):
            pointer = builder.bitcast(pointer, vector.as_pointer())
            access = builder.load(pointer) if value is None else builder.store(value, pointer)
            access.align = size  # c's rows begin anywhere
            return access

        def at(pointer, index):
            return builder.gep(pointer, [index])

        def spread(value):  # the same value in each lane
            undefined = ir.Constant(vector, ir.Undefined)
            lane = ir.Constant(ir.IntType(32), 0)
            lanes_of_first = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            return builder.shuffle_vector(
                builder.insert_element(undefined, value, lane), undefined, lanes_of_first
            )

        # Each is a variable on the stack at first, and the compiler turns it into a register.
        tile = [[cgutils.alloca_once(builder, vector) for _ in range(2)] for _ in range(ROWS)]
        places = []
        for i in range(ROWS):
            row = cgutils.pointer_add(builder, c.data, builder.mul(row_bytes, number(types.intp, i)))
            places.append([at(row, number(types.intp, j * lanes)) for j in range(2)])
        with builder.if_else(add) as (added, begun):
            with added:
                for i, j in np.ndindex(ROWS, 2):
                    builder.store(vector_at(places[i][j]), tile[i][j])
            with begun:
                for i, j in np.ndindex(ROWS, 2):
                    builder.store(ir.Constant(vector, [0.0] * lanes), tile[i][j])
        with cgutils.for_range(builder, depth) as loop:
            column = at(a.data, builder.mul(loop.index, number(types.intp, ROWS)))
            row = at(b.data, builder.mul(loop.index, number(types.intp, 2 * lanes)))
            y = [vector_at(at(row, number(types.intp, j * lanes))) for j in range(2)]
            for i in range(ROWS):
                x = spread(builder.load(at(column, number(types.intp, i))))
                for j in range(2):
                    product = builder.fmul(x, y[j], flags=("contract",))
                    builder.store(
                        builder.fadd(builder.load(tile[i][j]), product, flags=("contract",)), tile[i][j]
                    )
        for i, j in np.ndindex(ROWS, 2):
            vector_at(places[i][j], builder.load(tile[i][j]))
        return context.get_dummy_value()

    return types.void(a, b, c, depth, add), generate
