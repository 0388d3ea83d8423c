"""Matrix multiplication on the CPU: c[i, j] = Σₖ a[i, k]·b[k, j], from three loops to the speed of a BLAS.

An m×k matrix times a k×n matrix is m·k·n multiplications and additions on only m·k + k·n numbers. So each
number can be used many times once it has been fetched, and the whole ladder is about that: from main memory
into a cache, from the cache into a register, and there into as many multiplications as possible.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from minidl.hardware.machine import is_on_gpu
from minidl.kernels.arguments import check_floats, check_out
from minidl.kernels.compiling import PARALLEL, SERIAL

# ------------------------------------------------------------------------------------ the specification


def matmul_reference(a, b, out=None):
    """Return the matrix product of `a` and `b`, summed in float64.

    Every rung takes these arguments and raises these errors, before it writes anything.

    Parameters
    ----------
    a : array_like of shape (..., m, k), float32 or float64
    b : array_like of shape (..., k, n) and a's dtype
        Leading dimensions are a batch of matrices; those of `a` and `b` are broadcast, as in NumPy.
    out : array of shape (..., m, n) and the same dtype, optional
        Receives the result. It must not share memory with `a` or `b`.

    Returns
    -------
    array of shape (..., m, n) and the same dtype
        `out` if it was given.

    Raises
    ------
    TypeError
        If `a`, `b` or `out` holds anything but float32 or float64, or their dtypes differ.
    ValueError
        If `a` or `b` is empty or has fewer than two dimensions, if their shapes do not fit together, or if
        `out` has another shape, is read-only, or shares memory with an input.
    """
    a, b, out = _checked(a, b, out)
    with np.errstate(all="ignore"):  # inf - inf is NaN, 1e300 is infinity in float32: right answers, both
        out[...] = np.matmul(a.astype(np.float64), b.astype(np.float64))
    return out


# ------------------------------------------------------------------------------------------- the loops


def matmul_loops(a, b, out=None):
    """Rung 2: the definition, in Python."""
    with np.errstate(over="ignore"):
        return each_pair(_loops, a, b, out)


def _loops(a, b, c):
    rows, columns = (
        a.tolist(),
        b.T.tolist(),
    )  # Python's own floats are float64
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            total = 0.0
            for x, y in zip(row, column, strict=True):
                total += x * y
            c[i, j] = total


def matmul_ijk(a, b, out=None):
    """Rung 3: the same three loops, compiled; the innermost walks down a column of b."""
    return each_pair(_ijk, a, b, out)


@njit(**PARALLEL)
def _ijk(a, b, c):
    for i in prange(c.shape[0]):
        for j in range(c.shape[1]):
            total = c.dtype.type(0)
            for k in range(a.shape[1]):
                total += a[i, k] * b[k, j]
            c[i, j] = total


def matmul_ikj(a, b, out=None):
    """Rung 4: the inner loops exchanged; the innermost walks along a row of b and a row of c."""
    return each_pair(_ikj, a, b, out)


@njit(**PARALLEL)
def _ikj(a, b, c):
    for i in prange(c.shape[0]):
        c[i, :] = 0
        for k in range(a.shape[1]):
            _add_scaled(a[i, k], b[k], c[i])


@njit(**SERIAL)
def _add_scaled(scale, source, target):
    # Unsigned: a signed index could be negative and count from the end, and the test for that in every trip
    # keeps the compiler from using vector instructions.
    for j in range(np.uint64(source.size)):
        target[j] += scale * source[j]


# ------------------------------------------------------------------------------------- tiles in the cache


def matmul_blocked(a, b, out=None):
    """Rung 5: one tile of b after the other, used for all rows of a while it is in the L2 cache."""
    return each_pair(lambda a, b, c: _blocked(a, b, c, get_num_threads()), a, b, out)


TILE_DEPTH, TILE_WIDTH = 128, 512  # of a tile of b: 256 KiB of float32


@njit(**PARALLEL)
def _blocked(a, b, c, bands):
    m, n = c.shape
    depth = a.shape[1]
    for band in prange(bands):  # of rows, one for each core
        top, bottom = band * m // bands, (band + 1) * m // bands
        c[top:bottom] = 0
        for left in range(0, n, TILE_WIDTH):
            right = min(left + TILE_WIDTH, n)
            for first in range(0, depth, TILE_DEPTH):
                last = min(first + TILE_DEPTH, depth)
                for i in range(top, bottom):
                    for k in range(first, last - 3, 4):
                        r0, r1 = b[k, left:right], b[k + 1, left:right]
                        r2, r3 = b[k + 2, left:right], b[k + 3, left:right]
                        _add_four_scaled(a[i, k : k + 4], r0, r1, r2, r3, c[i, left:right])
                    for k in range(last - (last - first) % 4, last):
                        _add_scaled(a[i, k], b[k, left:right], c[i, left:right])


@njit(**SERIAL)
def _add_four_scaled(scales, r0, r1, r2, r3, target):
    """The same for four rows at once: each value of c is fetched and stored once for four products."""
    s0, s1, s2, s3 = scales[0], scales[1], scales[2], scales[3]
    for j in range(np.uint64(target.size)):
        target[j] += s0 * r0[j] + s1 * r1[j] + s2 * r2[j] + s3 * r3[j]


# ------------------------------------------------------------------------------------------------ BLAS


def matmul(a, b, out=None):
    """Return the matrix product of `a` and `b`: the best rung on the CPU, which is the BLAS that NumPy calls.

    Parameters, result and errors are those of `matmul_reference`. Transposed inputs cost no copy. NaN and
    infinity give what IEEE 754 says, without a warning.

    Example
    -------
    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]])
    """
    a, b, out = _checked(a, b, out)
    rows, result = a, out
    if b.ndim == 2 and a.flags.c_contiguous and out.flags.c_contiguous:
        rows, result = (
            a.reshape(-1, a.shape[-1]),
            out.reshape(-1, b.shape[-1]),
        )  # one call for the whole batch
    with np.errstate(all="ignore"):
        np.matmul(rows, b, out=result)
    return out


# ------------------------------------------------------------------------------------ shared by all rungs


def check_matrices(a, b, out):
    """Check the arguments of any rung; return them with the shape of the result."""
    a, b = check_floats("a", a), check_floats("b", b)
    for name, array in (("a", a), ("b", b)):
        if array.ndim < 2:
            raise ValueError(f"{name} must have at least 2 dimensions, got shape {tuple(array.shape)}")
    if np.dtype(a.dtype) != np.dtype(b.dtype):
        raise TypeError(f"a and b must have the same dtype, got {a.dtype} and {b.dtype}")
    shapes = f"got shapes {tuple(a.shape)} and {tuple(b.shape)}"
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"a must have as many columns as b has rows, {shapes}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"the leading dimensions of a and b must be broadcastable, {shapes}") from None
    shape = (*batch, a.shape[-2], b.shape[-1])
    return a, b, check_out("out", out, shape, a.dtype, a=a, b=b), shape


def matrices(stack, batch):
    """Yield the matrix of a stack, broadcast to `batch`, that belongs to each position of the batch."""
    sizes = stack.shape[:-2]
    for position in np.ndindex(*batch):
        position = position[len(batch) - len(sizes) :]
        yield stack[tuple(0 if size == 1 else i for i, size in zip(position, sizes, strict=True))]


def _checked(a, b, out):
    """Check the arguments of a CPU rung, and allocate `out` if there is none."""
    for name, array in (("a", a), ("b", b), ("out", out)):
        if is_on_gpu(array):
            raise TypeError(f"{name} is in GPU memory: use matmul_cuda, or copy it to the host first")
    a, b, out, shape = check_matrices(a, b, out)
    return a, b, np.empty(shape, a.dtype) if out is None else out


def each_pair(multiply, a, b, out):
    """Call multiply(a, b, c) for each pair of matrices, all of them without gaps: others are copied first."""
    a, b, out = _checked(a, b, out)
    result = out if out.flags.c_contiguous else np.empty_like(out, order="C")
    batch = out.shape[:-2]
    a, b = np.require(a, requirements="CA"), np.require(b, requirements="CA")
    for pair in zip(matrices(a, batch), matrices(b, batch), matrices(result, batch), strict=True):
        multiply(*pair)
    if result is not out:
        out[...] = result
    return out
