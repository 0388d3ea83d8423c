"""Sum, of a whole array or along axes: a ladder from one running sum to a tree.

Two things make this harder than it looks. An addition waits for the one before it, unless there are
several running sums. And a long running sum in float32 forgets: 16,777,216 + 1 is 16,777,216. A tree
answers both: sum blocks, then sum the sums. Its branches run in parallel, and its error grows with the
logarithm of n, where that of the running sum grows with n (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 4.2).

Every rung is given its array flat, as (outer, n, inner), and sums over the middle one.
"""

from functools import partial

import numpy as np
from numba import njit, prange

from minidl.kernels.compiling import PARALLEL, REORDER, SERIAL
from minidl.kernels.ladder import Ladder, Rung
from minidl.kernels.reduce.axes import EACH, THREADS, TILE, WARPS, example, reduce_on_cpu, sizes, tree
from minidl.kernels.reduce.sum_cuda import (
    reduce_sum_atomic_kernel,
    reduce_sum_cuda,
    reduce_sum_interleaved_kernel,
    reduce_sum_sequential_kernel,
    reduce_sum_strided_kernel,
    reduce_sum_warp_kernel,
)


def reduce_sum_reference(x, axis=None, keepdims=False, out=None):
    """The specification: NumPy's sum in float64, rounded once at the end."""

    def run(x, outer, n, inner):
        return x.reshape(outer, n, inner).sum(axis=1, dtype=np.float64).astype(x.dtype)

    return reduce_on_cpu(run, x, axis, keepdims, out)


def reduce_sum_python(x, axis=None, keepdims=False, out=None):
    """One running sum for each result."""

    def run(x, outer, n, inner):
        y = np.empty(outer * inner, x.dtype)
        for o in range(outer):
            for i in range(inner):
                total = x[o * n * inner + i]
                for k in range(1, n):
                    total += x[(o * n + k) * inner + i]
                y[o * inner + i] = total
        return y

    return reduce_on_cpu(run, x, axis, keepdims, out)


def reduce_sum_numpy(x, axis=None, keepdims=False, out=None):
    """NumPy in the array's own dtype: pairwise along the last axis, running sums along the others."""
    return reduce_on_cpu(lambda x, *sizes: x.reshape(sizes).sum(axis=1).reshape(-1), x, axis, keepdims, out)


@njit(**SERIAL)
def _sum_loop(x, outer, n, inner):
    y = np.empty(outer * inner, x.dtype)
    for o in range(outer):
        for i in range(inner):
            total = x[o * n * inner + i]
            for k in range(1, n):
                total += x[(o * n + k) * inner + i]
            y[o * inner + i] = total
    return y


def reduce_sum_loop(x, axis=None, keepdims=False, out=None):
    """The same running sums, compiled: each addition still waits for the one before it."""
    return reduce_on_cpu(_sum_loop, x, axis, keepdims, out)


@njit(**REORDER)
def _sum_of(row):
    total = row[0]
    for j in range(1, row.size):
        total += row[j]
    return total


@njit(**REORDER)
def _sum_rows(x, start, rows, inner, y):
    y[:] = x[start : start + y.size]
    for k in range(1, rows):
        row = x[start + k * inner : start + k * inner + y.size]
        for j in range(y.size):
            y[j] += row[j]


@njit(**SERIAL)
def _sum_lanes(x, outer, n, inner):
    y = np.empty(outer * inner, x.dtype)
    for o in range(outer):
        if inner == 1:
            y[o] = _sum_of(x[o * n : (o + 1) * n])
        else:
            _sum_rows(x, o * n * inner, n, inner, y[o * inner : (o + 1) * inner])
    return y


def reduce_sum_lanes(x, axis=None, keepdims=False, out=None):
    """Additions may be reordered: a running sum in every lane of the vector registers."""
    return reduce_on_cpu(_sum_lanes, x, axis, keepdims, out)


@njit(**PARALLEL)
def _sum_blocks(x, outer, n, inner, length):
    """One floor of the tree: (outer, n, inner) to (outer, blocks, inner), in blocks of `length` numbers."""
    blocks, tiles = -(-n // length), -(-inner // TILE)
    y = np.empty(outer * blocks * inner, x.dtype)
    if inner * blocks == 1:  # many short rows: the divisions below would take longer than the rows
        for o in prange(outer):
            y[o] = _sum_of(x[o * n : (o + 1) * n])
        return y
    for task in prange(outer * blocks * tiles):
        block, tile = task // tiles, task % tiles * TILE  # the block, counted through all of outer
        o, first = block // blocks, block % blocks * length
        rows = min(length, n - first)
        start = (o * n + first) * inner + tile
        if inner == 1:
            y[block] = _sum_of(x[start : start + rows])
        else:
            _sum_rows(
                x, start, rows, inner, y[block * inner + tile : block * inner + min(tile + TILE, inner)]
            )
    return y


def reduce_sum(x, axis=None, keepdims=False, out=None):
    """The sum of all elements, or along one axis or several: the best CPU rung, a tree on all cores.

    Parameters
    ----------
    x : array_like, float32 or float64, any shape
    axis : int or tuple of int, optional
        What to sum over; everything, where it is None. Axes that are no neighbours are summed one after
        another.
    keepdims : bool
        Whether a reduced axis stays, with length 1.
    out : ndarray, optional
        Where to put the result.

    Returns
    -------
    ndarray of x's dtype; 0-dimensional where nothing is left

    Raises
    ------
    TypeError
        If `x` does not hold float32 or float64, `axis` is no integer, or `out` has another dtype.
    ValueError
        If `x` is empty, `axis` is not one of its axes or names one twice, or `out` has another shape or
        shares memory with `x`.
    """
    return reduce_on_cpu(tree(_sum_blocks), x, axis, keepdims, out)


# ------------------------------------------------------------------------------------------ the ladder


def _once(n, m, itemsize=4):
    """Every number read once, every result written once."""
    return (n + m) * itemsize


def _additions(n, m):
    return n - m


def _tree_flops(per_block, per_number, per_thread_block):
    """Additions on every floor: for the numbers that come in, and for each block of threads."""

    def count(n, m):
        additions, each = 0, n // m
        while True:
            blocks = -(-each // per_block)
            additions += m * (each * per_number + blocks * per_thread_block)
            if blocks == 1:
                return additions
            each = blocks

    return count


def _tree_bytes(per_block):
    """What one thread block leaves is written, and read again by the next floor."""

    def count(n, m, itemsize=4):
        values, each = n, n // m
        while True:
            each = -(-each // per_block)
            if each == 1:
                return (values + m) * itemsize
            values += 2 * m * each

    return count


SUM_LADDER = Ladder(
    name="sum",
    shape=sizes,
    example=example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=reduce_sum_reference,
            lesson="The specification: NumPy, adding in float64.",
            bytes=_once,
            flops=_additions,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=reduce_sum_python,
            lesson="One running sum in float32. It is slow, and it forgets small numbers once it is large.",
            bytes=_once,
            flops=_additions,
        ),
        Rung(
            name="numba loop",
            device="cpu",
            callable=reduce_sum_loop,
            lesson="Compiled, but each addition waits for the one before it: the processor could do dozens "
            "meanwhile.",
            bytes=_once,
            flops=_additions,
            pure_numba=True,
        ),
        Rung(
            name="numpy",
            device="cpu",
            callable=reduce_sum_numpy,
            lesson="NumPy adds pairwise, in blocks of 128 with eight running sums: faster and more exact "
            "at once.",
            bytes=_once,
            flops=_additions,
        ),
        Rung(
            name="numba lanes",
            device="cpu",
            callable=reduce_sum_lanes,
            lesson="Allow the compiler to reorder additions, and it keeps a running sum in every lane of "
            "its registers.",
            bytes=_once,
            flops=_additions,
            pure_numba=True,
        ),
        Rung(
            name="numba tree",
            device="cpu",
            callable=reduce_sum,
            lesson="Sum blocks on all cores, then sum the sums: short running sums are exact ones.",
            bytes=_once,
            flops=_additions,
            pure_numba=True,
        ),
        Rung(
            name="cuda atomic",
            device="cuda",
            callable=partial(reduce_sum_cuda, rung="atomic"),
            lesson="Every thread adds its number to one place, and all of them queue for it.",
            bytes=lambda n, m, itemsize=4: 3 * n * itemsize,
            flops=lambda n, m: n,
            kernel=reduce_sum_atomic_kernel,
        ),
        Rung(
            name="cuda interleaved",
            device="cuda",
            callable=partial(reduce_sum_cuda, rung="interleaved"),
            lesson="A tree in shared memory. The threads at work are spread out, so that no warp is ever "
            "free to go.",
            bytes=_tree_bytes(THREADS),
            flops=_tree_flops(THREADS, 0, THREADS - 1),
            kernel=reduce_sum_interleaved_kernel,
        ),
        Rung(
            name="cuda sequential",
            device="cuda",
            callable=partial(reduce_sum_cuda, rung="sequential"),
            lesson="The same tree, folded from the far end: whole warps finish early and are gone.",
            bytes=_tree_bytes(THREADS),
            flops=_tree_flops(THREADS, 0, THREADS - 1),
            kernel=reduce_sum_sequential_kernel,
        ),
        Rung(
            name="cuda strided",
            device="cuda",
            callable=partial(reduce_sum_cuda, rung="strided"),
            lesson="Each thread adds up several numbers before the tree: most additions need no barrier at "
            "all.",
            bytes=_tree_bytes(THREADS * EACH),
            flops=_tree_flops(THREADS * EACH, 1, THREADS - 1),
            kernel=reduce_sum_strided_kernel,
        ),
        Rung(
            name="cuda warp",
            device="cuda",
            callable=partial(reduce_sum_cuda, rung="warp"),
            lesson="A warp needs no shared memory for its part of the tree: registers are handed on.",
            bytes=_tree_bytes(THREADS * EACH),
            flops=_tree_flops(THREADS * EACH, 1, 5 * THREADS + WARPS - 1),
            kernel=reduce_sum_warp_kernel,
        ),
    ),
)
