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
from numba.extending import intrinsic, register_jitable

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


@register_jitable
def tile_width(itemsize):
    """Return the number of columns of a tile of numbers of so many bytes: those of three vectors."""
    return VECTORS * VECTOR // itemsize


def aligned_empty(shape, dtype):
    """Return an array that begins at a multiple of 64 bytes, the length of a cache line.

    A vector of 64 bytes that straddles two lines takes two accesses.
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
    c : array of shape (ROWS, tile_width(itemsize))
        Its rows are without gaps, and lie anywhere.
    add : bool
    """
    _check(a=(a, 2, "C"), b=(b, 1, "C"), offsets=(offsets, 1, "C"), c=(c, 2, "AC"))

    def generate(context, builder, signature, arguments):
        a, b, offsets, c = _elements(context, builder, signature, arguments)
        vectors = _Vectors(context, builder, signature.args[0].dtype)
        tile = vectors.variables(ROWS, VECTORS)
        places = [[c(i, 0, ahead=j * vectors.lanes) for j in range(VECTORS)] for i in range(ROWS)]
        with builder.if_else(arguments[4]) as (added, begun):
            with added:
                for i, j in np.ndindex(ROWS, VECTORS):
                    builder.store(vectors.load(places[i][j]), tile[i][j])
            with begun:
                vectors.clear(tile)
        with cgutils.for_range(builder, offsets.shape[0]) as loop:
            begin = builder.load(offsets(loop.index))
            y = [vectors.load(b(begin, ahead=j * vectors.lanes)) for j in range(VECTORS)]
            for i in range(ROWS):
                x = vectors.spread(builder.load(a(loop.index, i)))
                for j in range(VECTORS):
                    vectors.multiply_add(tile[i][j], x, y[j])
        for i, j in np.ndindex(ROWS, VECTORS):
            vectors.store(builder.load(tile[i][j]), places[i][j])
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
    _check(a=(a, 3, "C"), b=(b, 2, "C"), offsets=(offsets, 1, "C"), c=(c, 2, "C"))

    def generate(context, builder, signature, arguments):
        a, b, offsets, c = _elements(context, builder, signature, arguments)
        first, columns = arguments[3:5]
        vectors = _Vectors(context, builder, signature.args[0].dtype)
        sums = vectors.variables(ROWS, VECTORS)
        vectors.clear(sums)
        lanes = _number(vectors.lanes)
        steps = builder.sdiv(builder.add(columns, _number(vectors.lanes - 1)), lanes)
        begins = [builder.load(offsets(first, ahead=k)) for k in range(VECTORS)]
        with cgutils.for_range(builder, a.shape[0]) as image, cgutils.for_range(builder, steps) as step:
            place = builder.mul(step.index, lanes)
            y = [vectors.load(b(image.index, builder.add(begin, place))) for begin in begins]
            for i in range(ROWS):
                x = vectors.load(a(image.index, i, place))
                for k in range(VECTORS):
                    vectors.multiply_add(sums[i][k], x, y[k])
        for i, k in np.ndindex(ROWS, VECTORS):
            place = c(i, first, ahead=k)
            builder.store(builder.fadd(builder.load(place), vectors.total(builder.load(sums[i][k]))), place)
        return context.get_dummy_value()

    return types.void(a, b, offsets, first, columns, c), generate


def _check(**arrays):
    """Check arguments, each given as (type, dimensions, layouts); all but the offsets must have one dtype."""
    for name, (array, ndim, layouts) in arrays.items():
        if not isinstance(array, types.Array) or array.ndim != ndim or array.layout not in layouts:
            gaps = " without gaps" if layouts == "C" else ""
            raise TypingError(f"{name} must be an array of {ndim} dimensions{gaps}, got {array}")
    dtypes = [array.dtype for name, (array, *_) in arrays.items() if name != "offsets"]
    if len(set(dtypes)) > 1 or dtypes[0] not in (types.float32, types.float64):
        raise TypingError(f"a, b and c must have the same floating type, got {', '.join(map(str, dtypes))}")


def _number(value):
    return ir.Constant(ir.IntType(64), value)


class _Elements:
    """The places of an array's elements."""

    def __init__(self, context, builder, kind, value):
        self.context, self.builder, self.kind = context, builder, kind
        self.array = context.make_array(kind)(context, builder, value)
        self.shape = cgutils.unpack_tuple(builder, self.array.shape)

    def __call__(self, *index, ahead=0):
        """The place of one element, or of the one that lies so many numbers ahead of it."""
        index = [_number(i) if isinstance(i, int) else i for i in index]
        place = cgutils.get_item_pointer(self.context, self.builder, self.kind, self.array, index)
        return self.builder.gep(place, [_number(ahead)])


def _elements(context, builder, signature, arguments):
    return [
        _Elements(context, builder, kind, value)
        for kind, value in zip(signature.args, arguments, strict=True)
        if isinstance(kind, types.Array)
    ]


class _Vectors:
    """Instructions on vectors of one element type."""

    def __init__(self, context, builder, dtype):
        self.builder = builder
        self.size = dtype.bitwidth // 8
        self.lanes = VECTOR // self.size
        self.type = ir.VectorType(context.get_value_type(dtype), self.lanes)
        self.undefined = ir.Constant(self.type, ir.Undefined)

    def variables(self, rows, columns):
        """Variables on the stack at first, which the compiler turns into registers."""
        return [[cgutils.alloca_once(self.builder, self.type) for _ in range(columns)] for _ in range(rows)]

    def clear(self, variables):
        for variable in (variable for row in variables for variable in row):
            self.builder.store(ir.Constant(self.type, [0.0] * self.lanes), variable)

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
