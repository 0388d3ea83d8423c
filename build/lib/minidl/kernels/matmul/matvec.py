"""A batch of matrices, each times its own vector: out[b, i] = Σₖ a[b, i, k]·x[b, k].

The special case in which there is nothing to reuse: every element of a matrix takes part in one product. No
tile helps then, and the roof is the speed of memory. (One matrix times many vectors is a matrix product,
where the vectors are columns; that is why frameworks want their inputs in batches.)
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels.arguments import check_floats, check_out
from minidl.kernels.compiling import PARALLEL, REORDER
from minidl.kernels.ladder import Ladder, Rung


def batch_matvec_reference(a, x, out=None):
    """Return the product of each matrix with its vector, summed in float64.

    Every rung takes these arguments and raises these errors, before it writes anything.

    Parameters
    ----------
    a : array_like of shape (batch, m, k), float32 or float64
    x : array_like of shape (batch, k) and a's dtype
    out : array of shape (batch, m) and the same dtype, optional
        Receives the result. It must not share memory with `a` or `x`.

    Returns
    -------
    array of shape (batch, m) and the same dtype
        `out` if it was given.

    Raises
    ------
    TypeError
        If `a`, `x` or `out` holds anything but float32 or float64, or their dtypes differ.
    ValueError
        If an input is empty or has another number of dimensions, if their shapes do not fit together, or if
        `out` has another shape, is read-only, or shares memory with an input.
    """
    a, x, out = _checked(a, x, out)
    with np.errstate(all="ignore"):
        out[...] = np.einsum("bik,bk->bi", a, x, dtype=np.float64, casting="same_kind")
    return out


def batch_matvec_blas(a, x, out=None):
    """Rung 2: a vector is a matrix of one column; the BLAS is called for one matrix after the other."""
    a, x, out = _checked(a, x, out)
    with np.errstate(all="ignore"):
        out[...] = np.matmul(a, x[:, :, None])[:, :, 0]
    return out


def batch_matvec(a, x, out=None):
    """Return the product of each matrix with its vector: the best rung on the CPU.

    Parameters, result and errors are those of `batch_matvec_reference`.

    Example
    -------
    >>> batch_matvec([[[1.0, 2.0], [3.0, 4.0]]], [[1.0, 10.0]])
    array([[21., 43.]])
    """
    a, x, out = _checked(a, x, out)
    result = out if out.flags.c_contiguous else np.empty_like(out, order="C")
    _rows(np.require(a, requirements="CA"), np.require(x, requirements="CA"), result)
    if result is not out:
        out[...] = result
    return out


@njit(**PARALLEL)
def _rows(a, x, out):
    batch, m = out.shape
    for row in prange(batch * m):
        b, i = row // m, row % m
        out[b, i] = _dot(a[b, i], x[b])


@njit(**REORDER)
def _dot(row, x):
    total = row.dtype.type(0)  # adding in another order is allowed here: 16 partial sums in a vector register
    for k in range(np.uint64(row.size)):
        total += row[k] * x[k]
    return total


@cuda.jit
def batch_matvec_naive_kernel(a, x, out):
    """One thread per row: at each moment the threads of a warp read from 32 rows, far apart."""
    row = cuda.grid(1)
    if row < out.size:
        b, i = row // out.shape[1], row % out.shape[1]
        total = out.dtype.type(0)
        for k in range(x.shape[1]):
            total += a[b, i, k] * x[b, k]
        out[b, i] = total


@cuda.jit
def batch_matvec_warp_kernel(a, x, out):
    """One warp per row: its 32 threads read neighbours, and add their sums up through their registers."""
    thread = cuda.grid(1)
    row, lane = thread // 32, thread % 32
    if row < out.size:
        b, i = row // out.shape[1], row % out.shape[1]
        total = out.dtype.type(0)
        for k in range(lane, x.shape[1], 32):
            total += a[b, i, k] * x[b, k]
        distance = 16
        while distance > 0:
            total += cuda.shfl_down_sync(0xFFFFFFFF, total, distance)
            distance //= 2
        if lane == 0:
            out[b, i] = total


THREADS = 256
KERNELS = {
    "naive": (batch_matvec_naive_kernel, 1),
    "warp": (batch_matvec_warp_kernel, 32),
}  # and threads per row


def batch_matvec_cuda(a, x, out=None, machine=GPU, rung="warp"):
    """Return the product of each matrix with its vector, computed on the GPU.

    Parameters, result and errors are those of `batch_matvec_reference`, with `machine` and `rung` ("naive" or
    "warp") as in `matmul_cuda`; arrays may be in GPU memory.
    """
    if rung not in KERNELS:
        raise ValueError(f"rung must be one of {', '.join(KERNELS)}, got {rung!r}")
    a, x, out = _checked_arguments(a, x, out)
    kernel, threads_per_row = KERNELS[rung]
    matrix, vector = machine.upload(a), machine.upload(x)
    result = out if is_on_gpu(out) else machine.empty(a.shape[:2], a.dtype)
    blocks = -(-a.shape[0] * a.shape[1] * threads_per_row // THREADS)
    machine.launch(kernel, blocks, THREADS, matrix, vector, result)
    if result is out or (out is None and is_on_gpu(a)):
        return result
    return machine.download(result, out)


def _checked_arguments(a, x, out):
    a, x = check_floats("a", a, ndim=3), check_floats("x", x, ndim=2)
    if np.dtype(a.dtype) != np.dtype(x.dtype):
        raise TypeError(f"a and x must have the same dtype, got {a.dtype} and {x.dtype}")
    if (a.shape[0], a.shape[2]) != tuple(x.shape):
        raise ValueError(
            f"a must have shape (batch, m, k) and x (batch, k), got {tuple(a.shape)} and {tuple(x.shape)}"
        )
    return a, x, check_out("out", out, a.shape[:2], a.dtype, a=a, x=x)


def _checked(a, x, out):
    for name, array in (("a", a), ("x", x), ("out", out)):
        if is_on_gpu(array):
            raise TypeError(f"{name} is in GPU memory: use batch_matvec_cuda, or copy it to the host first")
    a, x, out = _checked_arguments(a, x, out)
    return a, x, np.empty(a.shape[:2], a.dtype) if out is None else out


def _once(batch, m, k, itemsize=4):
    return batch * (m * k + k + m) * itemsize


def _flops(batch, m, k):
    return 2 * batch * m * k


def _example(size):
    rng = np.random.default_rng(0)
    k = min(256, max(1, int(size**0.5)))
    batch, m = max(1, size // k**2), k
    return rng.random((batch, m, k), dtype=np.float32), rng.random((batch, k), dtype=np.float32)


MATVEC_LADDER = Ladder(
    name="batch matrix-vector product",
    shape=lambda a, x, *_: np.shape(a),
    example=_example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=batch_matvec_reference,
            lesson="The specification: each row times its vector, summed in float64.",
            bytes=_once,
            flops=_flops,
        ),
        Rung(
            name="blas",
            device="cpu",
            callable=batch_matvec_blas,
            lesson="A vector is a matrix of one column; the BLAS gets one small matrix after the other.",
            bytes=_once,
            flops=_flops,
        ),
        Rung(
            name="numba rows",
            device="cpu",
            callable=batch_matvec,
            lesson="Every element of a matrix is used once, so nothing is left but to read them all, on "
            "all cores, at the speed of memory.",
            bytes=_once,
            flops=_flops,
            pure_numba=True,
        ),
        Rung(
            name="cuda naive",
            device="cuda",
            callable=partial(batch_matvec_cuda, rung="naive"),
            lesson="One thread per row: a warp's reads lie a row apart, each in another sector of memory.",
            bytes=lambda batch, m, k, itemsize=4: batch * (2 * m * k + m) * itemsize,
            flops=_flops,
            kernel=batch_matvec_naive_kernel,
        ),
        Rung(
            name="cuda warp",
            device="cuda",
            callable=partial(batch_matvec_cuda, rung="warp"),
            lesson="One warp per row: its threads read neighbours, whole sectors, and add up by shuffles.",
            bytes=lambda batch, m, k, itemsize=4: batch * (2 * m * k + m) * itemsize,
            flops=lambda batch, m, k: batch * m * (2 * k + 32 * 5),
            kernel=batch_matvec_warp_kernel,
        ),
    ),
)
