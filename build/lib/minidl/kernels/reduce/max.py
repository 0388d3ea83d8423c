"""Maximum, of a whole array or along axes: a reduction that no compiler reorders by itself, because of NaN.

A maximum is NaN as soon as one number is, and NaN is neither larger nor smaller than anything. Compared as
floats, one number after another, that costs all the speed. As integers, the bits of floats are in order
already, but for two things: the negative ones run backwards, and NaN lies at both ends. See
`_make_largest`.
"""

from functools import partial

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU
from minidl.kernels.compiling import PARALLEL, SERIAL, on_one_thread
from minidl.kernels.ladder import Ladder, Rung
from minidl.kernels.reduce.axes import (
    EACH,
    THREADS,
    TILE,
    example,
    launch_columns,
    launch_tree,
    reduce_on_cpu,
    reduce_on_gpu,
    sizes,
    tree,
)


def reduce_max_reference(x, axis=None, keepdims=False, out=None):
    """The specification: NumPy, which gives NaN where there is one."""
    return reduce_on_cpu(lambda x, *sizes: x.reshape(sizes).max(axis=1).reshape(-1), x, axis, keepdims, out)


@njit(**SERIAL)
def larger(a, b):
    """The larger of two numbers; NaN where either is NaN."""
    return a if a >= b or a != a else b


@njit(**SERIAL)
def _max_loop(x, outer, n, inner):
    y = np.empty(outer * inner, x.dtype)
    for o in range(outer):
        for i in range(inner):
            top = x[o * n * inner + i]
            for k in range(1, n):
                top = larger(top, x[(o * n + k) * inner + i])
            y[o * inner + i] = top
    return y


def reduce_max_python(x, axis=None, keepdims=False, out=None):
    """The loops below, left to the interpreter."""

    def run(x, outer, n, inner):
        y = np.empty(outer * inner, x.dtype)
        for o in range(outer):
            for i in range(inner):
                top = x[o * n * inner + i]
                for k in range(1, n):
                    top = larger.py_func(top, x[(o * n + k) * inner + i])
                y[o * inner + i] = top
        return y

    return reduce_on_cpu(run, x, axis, keepdims, out)


def reduce_max_loop(x, axis=None, keepdims=False, out=None):
    """Compiled; every comparison waits for the one before it."""
    return reduce_on_cpu(_max_loop, x, axis, keepdims, out)


def _make_largest(real, integer):
    """Return a function for the maximum of a row, found among integers, which compilers know how to reorder.

    A float is sign, exponent and mantissa, in this order, so that two positive ones compare like the integers
    with the same bits. Of a negative one, all bits but the sign are flipped, to turn the order round. NaN is
    whatever lies above infinity; without its sign it is above everything else.
    """
    bits_in_all = np.finfo(real).bits
    sign = integer(bits_in_all - 1)
    magnitude = integer(2 ** (bits_in_all - 1) - 1)
    infinity = real(np.inf).view(integer)
    lowest = integer(-(2 ** (bits_in_all - 1)))

    def largest(row):
        top = lowest
        bits = row.view(integer)
        for j in range(bits.size):
            size = bits[j] & magnitude
            key = bits[j] ^ ((bits[j] >> sign) & magnitude)  # bits >> sign is -1, all ones, where negative
            top = max(top, size if size > infinity else key)
        return integer(top ^ ((top >> sign) & magnitude)).view(real)

    return largest


_largest32, _largest64 = _make_largest(np.float32, np.int32), _make_largest(np.float64, np.int64)


def largest(row):
    """The maximum of a contiguous row, NaN where it holds one, for use inside numba functions."""
    return np.max(row)


@overload(largest, jit_options={"error_model": "numpy"})
def _choose_largest(row):
    return {types.float32: _largest32, types.float64: _largest64}.get(row.dtype)


@njit(**SERIAL)
def _max_rows(x, start, rows, inner, y):
    y[:] = x[start : start + y.size]
    for k in range(1, rows):
        row = x[start + k * inner : start + k * inner + y.size]
        for j in range(y.size):
            y[j] = larger(y[j], row[j])


@njit(**PARALLEL)
def _max_floor(x, outer, n, inner, length):
    """One floor of the tree: (outer, n, inner) to (outer, blocks, inner), in blocks of `length` numbers."""
    blocks, tiles = -(-n // length), -(-inner // TILE)
    y = np.empty(outer * blocks * inner, x.dtype)
    if inner * blocks == 1:  # many short rows: the divisions below would take longer than the rows
        for o in prange(outer):
            y[o] = largest(x[o * n : (o + 1) * n])
        return y
    for task in prange(outer * blocks * tiles):
        block, tile = task // tiles, task % tiles * TILE  # the block, counted through all of outer
        o, first = block // blocks, block % blocks * length
        rows = min(length, n - first)
        start = (o * n + first) * inner + tile
        if inner == 1:
            y[block] = largest(x[start : start + rows])
        else:
            _max_rows(
                x, start, rows, inner, y[block * inner + tile : block * inner + min(tile + TILE, inner)]
            )
    return y


def reduce_max_integers(x, axis=None, keepdims=False, out=None):
    """Compared as integers, a register full at a time."""
    return reduce_on_cpu(tree(on_one_thread(_max_floor)), x, axis, keepdims, out)


def reduce_max(x, axis=None, keepdims=False, out=None):
    """The largest element of all, or along one axis or several, NaN where there is one: the best CPU rung.

    Parameters, result and errors are those of `reduce_sum`.
    """
    return reduce_on_cpu(tree(_max_floor), x, axis, keepdims, out)


@cuda.jit
def reduce_max_strided_kernel(x, n, inner, blocks, out):
    """Each thread takes `EACH` numbers, a block's width apart, then a tree in shared memory."""
    tops = cuda.shared.array(THREADS, x.dtype)
    t = cuda.threadIdx.x
    row, first = cuda.blockIdx.x // blocks, cuda.blockIdx.x % blocks * THREADS * EACH
    start = row // inner * n * inner + row % inner
    top = x[start + first * inner]  # where a thread has no number of its own, the block's first does no harm
    for k in range(first + t, min(n, first + THREADS * EACH), THREADS):
        v = x[start + k * inner]
        top = top if top >= v or top != top else v
    tops[t] = top
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            v = tops[t + step]
            tops[t] = tops[t] if tops[t] >= v or tops[t] != tops[t] else v
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = tops[0]


@cuda.jit
def reduce_max_columns_kernel(x, n, inner, out):
    """One thread per result: neighbouring threads walk down neighbouring columns."""
    i = cuda.grid(1)
    if i < out.size:
        start = i // inner * n * inner + i % inner
        top = x[start]
        for k in range(1, n):
            v = x[start + k * inner]
            top = top if top >= v or top != top else v
        out[i] = top


CUDA_RUNGS = {
    "strided": launch_tree(reduce_max_strided_kernel, THREADS * EACH),
    "columns": launch_columns(reduce_max_columns_kernel),
}


def reduce_max_cuda(x, axis=None, keepdims=False, out=None, machine=GPU, rung=None):
    """`reduce_max` on the GPU; `rung` is "strided" or "columns", by default what suits the axis."""
    if rung is not None and rung not in CUDA_RUNGS:
        raise ValueError(f"rung must be one of {', '.join(CUDA_RUNGS)}, got {rung!r}")

    def run(x, outer, n, inner, machine):
        return CUDA_RUNGS[rung or ("strided" if inner == 1 else "columns")](x, outer, n, inner, machine)

    return reduce_on_gpu(run, x, axis, keepdims, out, machine)


def _once(n, m, itemsize=4):
    return (n + m) * itemsize


def _none(n, m):
    return 0  # comparisons, but not one operation


def _tree_bytes(n, m, itemsize=4):
    """Each thread starts from its block's first number; what a block leaves is written and read again."""
    values, each = n, n // m
    while True:
        each = -(-each // (THREADS * EACH))
        values += m * each * THREADS
        if each == 1:
            return (values + m) * itemsize
        values += 2 * m * each


MAX_LADDER = Ladder(
    name="maximum",
    shape=sizes,
    example=example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=reduce_max_reference,
            lesson="The specification: NumPy, whose own C code is vectorised by hand.",
            bytes=_once,
            flops=_none,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=reduce_max_python,
            lesson="One comparison after another.",
            bytes=_once,
            flops=_none,
        ),
        Rung(
            name="numba loop",
            device="cpu",
            callable=reduce_max_loop,
            lesson="Compiled; because of NaN the order of comparisons matters, and the compiler keeps to it.",
            bytes=_once,
            flops=_none,
            pure_numba=True,
        ),
        Rung(
            name="numba integers",
            device="cpu",
            callable=reduce_max_integers,
            lesson="The bits of floats, read as integers, are in order; and integers may be compared in "
            "any order.",
            bytes=_once,
            flops=_none,
            pure_numba=True,
        ),
        Rung(
            name="numba tree",
            device="cpu",
            callable=reduce_max,
            lesson="The maximum of blocks on all cores, then the maximum of those.",
            bytes=_once,
            flops=_none,
            pure_numba=True,
        ),
        Rung(
            name="cuda columns",
            device="cuda",
            callable=partial(reduce_max_cuda, rung="columns"),
            lesson="A thread per result: good for many short columns, hopeless for one long row.",
            bytes=_once,
            flops=_none,
            kernel=reduce_max_columns_kernel,
        ),
        Rung(
            name="cuda strided",
            device="cuda",
            callable=partial(reduce_max_cuda, rung="strided"),
            lesson="Several numbers per thread, then a tree in shared memory.",
            bytes=_tree_bytes,
            flops=_none,
            kernel=reduce_max_strided_kernel,
        ),
    ),
)
