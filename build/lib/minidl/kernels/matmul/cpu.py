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
        return _each(_loops, a, b, out)


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
    return _each(_ijk, a, b, out)


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
    return _each(_ikj, a, b, out)


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
    return _each(lambda a, b, c: _blocked(a, b, c, get_num_threads()), a, b, out)


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


# ---------------------------------------------------------------------------- and rows of a in registers


def matmul_packed(a, b, out=None):
    """Rung 6: tiles copied to where they are read best, and multiplied 3 rows and 8 products at a time.

    Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008, is where
    the packing comes from; the innermost loop is left to the compiler here, as in the BLIS authors' advice
    to look for the smallest piece that has to be fast.
    """
    return _each(_packed_with_scratch, a, b, out)


HEIGHT, DEPTH, WIDTH = 192, 64, 256  # tiles: a's is 192×64, b's 64×256, c's 192×256, and all fit into L2


def _packed_with_scratch(a, b, c):
    threads = get_num_threads()
    blocks = threads * -(-len(a) // (HEIGHT * threads))  # the same number for each thread, all equally high
    height = -(-len(a) // blocks)
    size = HEIGHT * DEPTH + DEPTH * WIDTH + HEIGHT * WIDTH
    _packed(a, b, c, height, aligned_empty((threads, size), c.dtype))


def aligned_empty(shape, dtype):
    """Return an array that begins at a multiple of 64 bytes, the length of a cache line.

    A vector of 64 bytes that straddles two lines takes two accesses; with them this rung is a quarter slower.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


@njit(**PARALLEL)
def _packed(a, b, c, height, scratch):
    m, n = c.shape
    depth = a.shape[1]
    threads = scratch.shape[0]
    for thread in prange(threads):
        a_tile = scratch[thread, : HEIGHT * DEPTH]
        b_tile = scratch[thread, HEIGHT * DEPTH : (HEIGHT + WIDTH) * DEPTH]
        c_tile = scratch[thread, (HEIGHT + WIDTH) * DEPTH :]
        for top in range(thread * height, m, threads * height):
            rows = min(height, m - top)
            for left in range(0, n, WIDTH):
                columns = min(WIDTH, n - left)
                c_tile[: (rows + 2) * WIDTH] = 0
                for first in range(0, depth, DEPTH):
                    products = min(DEPTH, depth - first)
                    for i in range(rows):
                        _copy(a[top + i, first : first + products], a_tile[i * DEPTH :])
                        a_tile[i * DEPTH + products : (i + 1) * DEPTH] = 0  # 8 products at a time: the
                    for k in range(products):
                        _copy(b[first + k, left : left + columns], b_tile[k * WIDTH :])
                    b_tile[products * WIDTH :] = 0  # last ones may be 0·0
                    multiply_tiles(a_tile, b_tile, c_tile, rows, products, columns)
                for i in range(rows):
                    _copy(c_tile[i * WIDTH : i * WIDTH + columns], c[top + i, left:])


@njit(**SERIAL)
def _copy(source, target):
    for j in range(np.uint64(source.size)):
        target[j] = source[j]


U0, U1, U2, U3, U4, U8 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 8))
A_ROW, B_ROW = np.uint64(DEPTH), np.uint64(WIDTH)


@njit(**SERIAL)
def multiply_tiles(a, b, c, rows, products, columns):
    """c += a·b for flat tiles: a has rows of DEPTH values, b and c have rows of WIDTH.

    24 values of a are held in registers for a whole trip of the innermost loop. There each vector of b is
    fetched once for three rows of c, and each vector of c once for eight products. The compiler turns that
    loop into vector instructions only if it can prove, or test cheaply before the loop, that nothing read in
    it is written in it: which is why the distance between two rows is a constant, and every index unsigned.
    """
    for k in range(U0, np.uint64(products), U8):
        for i in range(U0, np.uint64(rows), U3):
            x = _eight(a, i * A_ROW + k, U1)
            y = _eight(a, (i + U1) * A_ROW + k, U1)
            z = _eight(a, (i + U2) * A_ROW + k, U1)
            for j in range(U0, np.uint64(columns)):
                column = _eight(b, k * B_ROW + j, B_ROW)
                c[i * B_ROW + j] = _dot(c[i * B_ROW + j], x, column)
                c[(i + U1) * B_ROW + j] = _dot(c[(i + U1) * B_ROW + j], y, column)
                c[(i + U2) * B_ROW + j] = _dot(c[(i + U2) * B_ROW + j], z, column)


@njit(**SERIAL)
def _eight(x, p, step):
    return _four(x, p, step) + _four(x, p + U4 * step, step)


@njit(**SERIAL)
def _four(x, p, step):
    return x[p], x[p + step], x[p + U2 * step], x[p + U3 * step]


@njit(**SERIAL)
def _dot(total, x, y):
    for i in range(8):
        total += x[i] * y[i]
    return total


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


def _each(multiply, a, b, out):
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
