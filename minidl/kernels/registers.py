"""The innermost piece of the fastest products on the CPU: a tile of sums that stays in vector registers.

A compiler left alone with the loops of a matrix product keeps the sums in memory, and fetches and stores one
for each product. Here it is told what to hold in registers. For that the piece is written in the compiler's
own language, LLVM's; which registers, which instructions, and that they multiply and add at once, is still
its choice. That a fast product rests on one small piece, the only one that must know the processor, is the
point of Van Zee & van de Geijn, "BLIS: a framework for rapidly instantiating BLAS functionality", ACM TOMS
41, 2015.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

VECTORS = 3  # side by side in a tile


def _registers():
    """Return what a vector register of this processor holds, in bytes, and how many rows a tile can have.

    With 32 registers, 8 rows of 3 vectors leave some for 3 vectors of b and the value of a that multiplies
    them; with 16 registers, 4 rows do.
    """
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 8
    if features.get("neon"):
        return 16, 8
    return (32, 4) if features.get("avx") else (16, 4)


VECTOR, ROWS = _registers()


def tile_width(dtype) -> int:
    """Return the number of columns of a tile: those of three vectors."""
    return VECTORS * VECTOR // np.dtype(dtype).itemsize


def aligned_empty(shape, dtype):
    """Return an array that begins at a multiple of 64 bytes, the length of a cache line.

    A vector of 64 bytes that straddles two lines takes two accesses; without them a rung is a quarter faster.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


@intrinsic
def add_products(typing, a, b, offsets, c, add):
    """c[i, j] = Σₖ a[k, i]·b[offsets[k] + j], or c[i, j] += that, for a tile of c.

    For each k it multiplies ROWS values of a by three vectors of b, wherever they begin.

    Parameters
    ----------
    a : array of shape (products or more, ROWS)
    b : array of one dimension
    offsets : array of shape (products,), an integer type
        All without gaps.
    c : array of shape (ROWS, tile_width(dtype))
        Its rows are without gaps, and lie anywhere.
    add : bool
    """
    _check(
        a, b, c, shapes={"a": (a, 2, "C"), "b": (b, 1, "C"), "offsets": (offsets, 1, "C"), "c": (c, 2, "AC")}
    )

    def generate(context, builder, signature, arguments):
        a, b, offsets, c, add = _arrays(context, builder, signature, arguments)
        vectors = _Vectors(context, builder, signature.args[0].dtype)
        tile = vectors.variables(ROWS, VECTORS)
        row_bytes = cgutils.unpack_tuple(builder, c.strides)[0]
        with builder.if_else(add) as (added, begun):
            with added:
                for i in range(ROWS):
                    for variable, place in zip(tile[i], vectors.row(c.data, row_bytes, i), strict=True):
                        builder.store(vectors.load(place), variable)
            with begun:
                vectors.clear(tile)
        products = cgutils.unpack_tuple(builder, offsets.shape)[0]
        with cgutils.for_range(builder, products) as loop:
            values = builder.gep(a.data, [builder.mul(loop.index, vectors.number(ROWS))])
            offset = builder.load(builder.gep(offsets.data, [loop.index]))
            row = builder.gep(b.data, [offset])
            y = [vectors.load(vectors.at(row, j)) for j in range(VECTORS)]
            for i in range(ROWS):
                x = vectors.spread(builder.load(builder.gep(values, [vectors.number(i)])))
                for j in range(VECTORS):
                    vectors.multiply_add(tile[i][j], x, y[j])
        for i in range(ROWS):
            for variable, place in zip(tile[i], vectors.row(c.data, row_bytes, i), strict=True):
                vectors.store(builder.load(variable), place)
        return context.get_dummy_value()

    return types.void(a, b, offsets, c, add), generate


@intrinsic
def add_dot_products(typing, a, b, offsets, first, columns, c):
    """c[i, k] += Σₙⱼ a[n, i, j]·b[n, offsets[k] + j] for ROWS values of i and three of k, from `first` on.

    Each sum is a vector until the end, and then the sum of the vector, added up in another order than a loop
    would. So it reads `columns`, rounded up to whole vectors.

    Parameters
    ----------
    a : array of shape (N, ROWS, columns or more)
    b : array of shape (N, values)
    offsets : array of shape (first + 3 or more,), an integer type
    first, columns : int
    c : array of shape (ROWS, first + 3 or more)
        All arrays are without gaps.
    """
    _check(
        a, b, c, shapes={"a": (a, 3, "C"), "b": (b, 2, "C"), "offsets": (offsets, 1, "C"), "c": (c, 2, "C")}
    )

    def generate(context, builder, signature, arguments):
        a, b, offsets, first, columns, c = _arrays(context, builder, signature, arguments)
        vectors = _Vectors(context, builder, signature.args[0].dtype)
        sums = vectors.variables(ROWS, VECTORS)
        vectors.clear(sums)
        lanes = vectors.number(vectors.lanes)
        images, _, width = cgutils.unpack_tuple(builder, a.shape)
        values = cgutils.unpack_tuple(builder, b.shape)[1]
        steps = builder.sdiv(builder.add(columns, vectors.number(vectors.lanes - 1)), lanes)
        begins = [
            builder.load(builder.gep(offsets.data, [builder.add(first, vectors.number(k))]))
            for k in range(VECTORS)
        ]
        with cgutils.for_range(builder, images) as image:
            rows = [
                builder.gep(
                    a.data,
                    [
                        builder.mul(
                            width,
                            builder.add(builder.mul(image.index, vectors.number(ROWS)), vectors.number(i)),
                        )
                    ],
                )
                for i in range(ROWS)
            ]
            plane = builder.gep(b.data, [builder.mul(image.index, values)])
            shifted = [builder.gep(plane, [begin]) for begin in begins]
            with cgutils.for_range(builder, steps) as step:
                place = builder.mul(step.index, lanes)
                y = [vectors.load(builder.gep(row, [place])) for row in shifted]
                for i in range(ROWS):
                    x = vectors.load(builder.gep(rows[i], [place]))
                    for k in range(VECTORS):
                        vectors.multiply_add(sums[i][k], x, y[k])
        taps = cgutils.unpack_tuple(builder, c.shape)[1]
        for i in range(ROWS):
            for k in range(VECTORS):
                index = builder.add(
                    builder.mul(taps, vectors.number(i)), builder.add(first, vectors.number(k))
                )
                place = builder.gep(c.data, [index])
                total = vectors.total(builder.load(sums[i][k]))
                builder.store(builder.fadd(builder.load(place), total), place)
        return context.get_dummy_value()

    return types.void(a, b, offsets, first, columns, c), generate


def _check(*floats, shapes):
    for name, (array, ndim, layouts) in shapes.items():
        if not isinstance(array, types.Array) or array.ndim != ndim or array.layout not in layouts:
            gaps = " without gaps" if layouts == "C" else ""
            raise TypingError(f"{name} must be an array of {ndim} dimensions{gaps}, got {array}")
    dtypes = [array.dtype for array in floats]
    if len(set(dtypes)) > 1 or dtypes[0] not in (types.float32, types.float64):
        raise TypingError(f"a, b and c must have the same floating type, got {', '.join(map(str, dtypes))}")


def _arrays(context, builder, signature, arguments):
    """Give the arrays among the arguments as structures with data, shape and strides; others as they are."""
    return [
        context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


class _Vectors:
    """Instructions on vectors of one element type."""

    def __init__(self, context, builder, dtype):
        self.builder = builder
        self.size = dtype.bitwidth // 8
        self.lanes = VECTOR // self.size
        self.type = ir.VectorType(context.get_value_type(dtype), self.lanes)
        self.undefined = ir.Constant(self.type, ir.Undefined)

    def number(self, value):
        return ir.Constant(ir.IntType(64), value)

    def variables(self, rows, columns):
        """Variables on the stack at first, which the compiler turns into registers."""
        return [[cgutils.alloca_once(self.builder, self.type) for _ in range(columns)] for _ in range(rows)]

    def clear(self, variables):
        for variable in (variable for row in variables for variable in row):
            self.builder.store(ir.Constant(self.type, [0.0] * self.lanes), variable)

    def at(self, pointer, vector):
        """The place of a vector in a row of them."""
        return self.builder.gep(pointer, [self.number(vector * self.lanes)])

    def row(self, data, row_bytes, i):
        """The places of the vectors in row i of a tile."""
        start = cgutils.pointer_add(self.builder, data, self.builder.mul(row_bytes, self.number(i)))
        return [self.at(start, j) for j in range(VECTORS)]

    def load(self, place):
        vector = self.builder.load(self.builder.bitcast(place, self.type.as_pointer()))
        vector.align = self.size  # it begins anywhere
        return vector

    def store(self, vector, place):
        self.builder.store(vector, self.builder.bitcast(place, self.type.as_pointer())).align = self.size

    def spread(self, value):
        """A vector with the same value in each lane."""
        one = self.builder.insert_element(self.undefined, value, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, self.undefined, _lanes([0] * self.lanes))

    def multiply_add(self, variable, x, y):
        product = self.builder.fmul(x, y, flags=("contract",))
        total = self.builder.fadd(self.builder.load(variable), product, flags=("contract",))
        self.builder.store(total, variable)

    def total(self, vector):
        """The sum of the lanes: one half added to the other, until one is left."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            halves = [_lanes(range(lanes)), _lanes(range(lanes, 2 * lanes))]
            low, high = (self.builder.shuffle_vector(vector, vector, half) for half in halves)
            vector = self.builder.fadd(low, high)
        return self.builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _lanes(which):
    which = list(which)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(which)), which)
