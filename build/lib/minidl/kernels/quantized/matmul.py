"""The product of two matrices of bytes, rung by rung, in integers from beginning to end.

With a = sₐ·(qₐ - zₐ) and b = s_b·(q_b - z_b), an element of their product is

    Σ a·b = sₐ·s_b · Σ (qₐ - zₐ)·(q_b - z_b)
          = sₐ·s_b · (Σ qₐ·q_b - z_b·Σ qₐ - zₐ·Σ q_b + K·zₐ·z_b)

The second line needs the sums of rows of qₐ and columns of q_b, once each, and leaves a product of plain
bytes for the inner loop (gemmlowp's doc/low-precision.md). Sums take 32 bits, and `requantize` turns them
into bytes again.
"""

import math
from functools import partial

import numpy as np
from numba import njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels.arguments import check_out
from minidl.kernels.compiling import on_one_thread, sized
from minidl.kernels.ladder import Ladder, Rung
from minidl.kernels.quantized.affine import (
    check_bytes,
    check_quantization,
    fixed_point,
    requantize,
    requantize_one,
)

PARALLEL = {"parallel": True, "cache": True}


def quantized_matmul_reference(a, b, a_quantization, b_quantization, quantization, bias=None, out=None):
    """Return the product of two matrices of bytes, as bytes.

    Every rung below takes these arguments and raises these errors, before it writes anything.

    Parameters
    ----------
    a : array of shape (M, K), uint8
    b : array of shape (K, N), uint8
    a_quantization, b_quantization, quantization : Quantization, or pairs (scale, zero_point)
        What the bytes of `a`, of `b` and of the result stand for.
    bias : array of shape (N,), int32, optional
        Added to every row, in units of a's scale times b's.
    out : array of shape (M, N), uint8, optional

    Returns
    -------
    array of shape (M, N), uint8
        What is out of the range of `quantization` becomes 0 or 255.

    Raises
    ------
    TypeError
        If `a`, `b` or `out` is not uint8, `bias` not int32, or a quantization no pair of numbers.
    ValueError
        If shapes do not fit together, a sum could exceed 32 bits (K of 33,026 or more), or the scales are
        so far apart that their quotient is not from 2⁻³² to 2³¹.
    """

    def run(a, b, bias, numbers, y):
        za, zb, z, mantissa, shift = numbers
        total = (a.astype(np.int64) - za) @ (b.astype(np.int64) - zb) + bias  # (M, N)
        y[...] = np.clip(requantize(total, mantissa, shift) + z, 0, 255)

    return _multiply(run, a, b, a_quantization, b_quantization, quantization, bias, out)


# ------------------------------------------------------------------------------------------ on the CPU


@njit(**PARALLEL)
def _direct(a, b, bias, numbers, y):
    za, zb, z, mantissa, shift = numbers
    for i in prange(a.shape[0]):
        for j in range(b.shape[1]):
            total = np.int64(bias[j])
            for k in range(a.shape[1]):
                total += (np.int64(a[i, k]) - za) * (np.int64(b[k, j]) - zb)
            y[i, j] = min(max(requantize_one(total, mantissa, shift) + z, 0), 255)


def quantized_matmul_python(a, b, a_quantization, b_quantization, quantization, bias=None, out=None):
    """Rung 2: three loops, in Python."""

    def run(a, b, bias, numbers, y):
        za, zb, z, mantissa, shift = numbers
        a, b, bias = a.tolist(), b.tolist(), bias.tolist()
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                total = bias[j]
                for k in range(len(b)):
                    total += (a[i][k] - za) * (b[k][j] - zb)
                y[i, j] = min(max(requantize_one.py_func(total, mantissa, shift) + z, 0), 255)

    return _multiply(run, a, b, a_quantization, b_quantization, quantization, bias, out)


def quantized_matmul_direct(a, b, a_quantization, b_quantization, quantization, bias=None, out=None):
    """Rung 3: the same loops, compiled."""
    run = on_one_thread(_direct)
    return _multiply(run, a, b, a_quantization, b_quantization, quantization, bias, out)


@njit(**PARALLEL)
def _factored(a, columns, bias, numbers, y):
    _, zb, z, mantissa, shift = numbers
    count = columns.shape[1]
    for i in prange(a.shape[0]):
        row = a[i]
        row_sum = 0
        for k in range(count):
            row_sum += row[k]
        for j in range(columns.shape[0]):
            total = (
                _dot(row, columns[j]) - zb * row_sum + bias[j]
            )  # bias holds the terms of column j, and its own
            y[i, j] = min(max(requantize_one(total, mantissa, shift) + z, 0), 255)


@njit(cache=True)
def _dot(row, column):
    """Σ row·column in 32 bits, which the compiler turns into instructions that multiply and add in one."""
    total = np.int32(0)
    for k in range(row.size):
        total += np.int32(row[k]) * np.int32(column[k])
    return np.int64(total)


def _run_factored(kernel):
    def run(a, b, bias, numbers, y):
        za, zb, *_ = numbers
        columns = np.ascontiguousarray(b.T)  # (N, K): both sides of a dot product lie in a row
        of_column = bias + za * (len(b) * zb - columns.sum(axis=1, dtype=np.int64))
        sized(kernel, a.size * columns.shape[0], few=2_000_000)(a, columns, of_column, numbers, y)

    return run


def quantized_matmul_factored(a, b, a_quantization, b_quantization, quantization, bias=None, out=None):
    """Rung 4: zero points out of the inner loop, and `b` transposed."""
    run = _run_factored(on_one_thread(_factored))
    return _multiply(run, a, b, a_quantization, b_quantization, quantization, bias, out)


def quantized_matmul(a, b, a_quantization, b_quantization, quantization, bias=None, out=None):
    """Return the product of two matrices of bytes, as bytes: the best rung on the CPU.

    Parameters, result and errors are those of `quantized_matmul_reference`.

    Example
    -------
    >>> a, b = np.array([[1, 2], [3, 4]], np.uint8), np.array([[10, 0], [0, 10]], np.uint8)
    >>> quantized_matmul(a, b, (1.0, 0), (0.1, 0), (1.0, 128))
    array([[129, 130],
           [131, 132]], dtype=uint8)
    """
    run = _run_factored(_factored)
    return _multiply(run, a, b, a_quantization, b_quantization, quantization, bias, out)


# ------------------------------------------------------------------------------------------ on the GPU

TILE = 16


@cuda.jit
def quantized_matmul_naive_kernel(a, b, bias, za, zb, z, mantissa, shift, y):
    """One thread per output; it reads a row of `a` and a column of `b`."""
    j, i = cuda.grid(2)
    if i < y.shape[0] and j < y.shape[1]:
        total = np.int32(bias[j])
        for k in range(a.shape[1]):
            product = np.int32(np.int32(a[i, k]) - za) * np.int32(np.int32(b[k, j]) - zb)
            total = np.int32(total + product)  # numba's integers widen to 64 bits, which are slow on a GPU
        if shift < 0:
            total = np.int32(min(max(np.int64(total) << -shift, -2147483648), 2147483647))
        product = np.int64(total) * mantissa
        high = (product + 1073741824) >> 31
        if product < 0:
            high = -((-product + 1073741823) >> 31)
        right = max(shift, 0)
        mask = (1 << right) - 1
        threshold = mask >> 1
        if high < 0:
            threshold += 1
        byte = (high >> right) + z
        if (high & mask) > threshold:
            byte += 1
        y[i, j] = min(max(byte, 0), 255)


@cuda.jit
def quantized_matmul_tiled_kernel(a, b, bias, za, zb, z, mantissa, shift, y):
    """A block of threads fetches a tile of each matrix together; a byte is read once for 16 products."""
    rows = cuda.shared.array((TILE, TILE), np.uint8)
    columns = cuda.shared.array((TILE, TILE), np.uint8)
    j, i = cuda.grid(2)
    s, r = cuda.threadIdx.x, cuda.threadIdx.y
    total = np.int32(0)
    for first in range(0, a.shape[1], TILE):
        rows[r, s] = a[i, first + s] if i < a.shape[0] and first + s < a.shape[1] else za
        columns[r, s] = b[first + r, j] if first + r < b.shape[0] and j < b.shape[1] else zb
        cuda.syncthreads()
        for k in range(TILE):
            product = np.int32(np.int32(rows[r, k]) - za) * np.int32(np.int32(columns[k, s]) - zb)
            total = np.int32(total + product)
        cuda.syncthreads()
    if i < y.shape[0] and j < y.shape[1]:
        total = np.int32(total + bias[j])
        if shift < 0:
            total = np.int32(min(max(np.int64(total) << -shift, -2147483648), 2147483647))
        product = np.int64(total) * mantissa
        high = (product + 1073741824) >> 31
        if product < 0:
            high = -((-product + 1073741823) >> 31)
        right = max(shift, 0)
        mask = (1 << right) - 1
        threshold = mask >> 1
        if high < 0:
            threshold += 1
        byte = (high >> right) + z
        if (high & mask) > threshold:
            byte += 1
        y[i, j] = min(max(byte, 0), 255)


CUDA_RUNGS = {"naive": quantized_matmul_naive_kernel, "tiled": quantized_matmul_tiled_kernel}


def quantized_matmul_cuda(
    a, b, a_quantization, b_quantization, quantization, bias=None, out=None, machine=GPU, rung="tiled"
):
    """Return the product of two matrices of bytes, as bytes, computed on the GPU.

    Parameters, result and errors are those of `quantized_matmul_reference`; `a`, `b`, `bias` and `out`
    may be in GPU memory, and the result stays there if `a` was there and no `out` says otherwise. `rung`
    is "naive" or "tiled". Raises `DeviceUnavailable` if the machine has no GPU.
    """
    if rung not in CUDA_RUNGS:
        raise ValueError(f"rung must be one of {', '.join(CUDA_RUNGS)}, got {rung!r}")
    a, b, bias, numbers, out = _check(
        a, b, a_quantization, b_quantization, quantization, bias, out, on_gpu=True
    )
    shape = (a.shape[0], b.shape[1])
    result = out if is_on_gpu(out) else machine.empty(shape, np.uint8)
    grid = (-(-shape[1] // TILE), -(-shape[0] // TILE))
    arrays = [machine.upload(array) for array in (a, b, bias)]
    machine.launch(
        CUDA_RUNGS[rung], grid, (TILE, TILE), *arrays, *map(np.int32, numbers[:2]), *numbers[2:], result
    )
    if result is out or (out is None and is_on_gpu(a)):
        return result
    return machine.download(result, out)


# ------------------------------------------------------------------------------------ shared by all rungs


def _multiply(run, a, b, a_quantization, b_quantization, quantization, bias, out):
    a, b, bias, numbers, out = _check(a, b, a_quantization, b_quantization, quantization, bias, out)
    result = out if out is not None and out.flags.c_contiguous else np.empty((len(a), b.shape[1]), np.uint8)
    run(np.ascontiguousarray(a), np.ascontiguousarray(b), bias, numbers, result)
    if out is None or out is result:
        return result
    out[...] = result
    return out


def _check(a, b, a_quantization, b_quantization, quantization, bias, out, on_gpu=False):
    """The matrices, the bias as int64, and (zₐ, z_b, z, mantissa, shift)."""
    a, b = check_bytes("a", a, 2, on_gpu), check_bytes("b", b, 2, on_gpu)
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"a and b must be (M, K) and (K, N), got {a.shape} and {b.shape}")
    (sa, za), (sb, zb), (s, z) = (
        check_quantization(name, value)
        for name, value in (
            ("a_quantization", a_quantization),
            ("b_quantization", b_quantization),
            ("quantization", quantization),
        )
    )
    bias = _check_bias(bias, b.shape[1], on_gpu)
    largest = a.shape[1] * 255 * 255 + (0 if is_on_gpu(bias) else int(np.abs(bias).max()))
    if largest >= 2**31:
        raise ValueError(f"a.shape[1] = {a.shape[1]} products of bytes and the bias could exceed 32 bits")
    check_out("out", out, (a.shape[0], b.shape[1]), np.uint8, a=a, b=b)
    return a, b, bias, (za, zb, z, *fixed_point(sa / s * sb)), out


def _check_bias(bias, n, on_gpu):
    if bias is None:
        return np.zeros(n, np.int64)
    if not on_gpu and is_on_gpu(bias):
        raise TypeError("bias is in GPU memory: use quantized_matmul_cuda, or copy it to the host first")
    if getattr(bias, "dtype", None) != np.int32:
        raise TypeError(f"bias must hold int32, got {getattr(bias, 'dtype', type(bias).__name__)}")
    if tuple(bias.shape) != (n,):
        raise ValueError(f"bias must have shape ({n},), got {tuple(bias.shape)}")
    return bias if is_on_gpu(bias) else bias.astype(np.int64)


# -------------------------------------------------------------------------------------------- the ladder


def _once(m, k, n, itemsize=1):
    """Each byte of both matrices read once, each of the result written; the bias is 8 bytes per column."""
    return m * k + k * n + m * n + 8 * n


def _none(m, k, n):
    return 0  # not one operation on floating-point numbers


def _example(size):
    side = max(1, round(math.sqrt(size)))
    random = np.random.default_rng(0)
    a, b = random.integers(0, 256, size=(2, side, side), dtype=np.uint8)
    return a, b, (0.02, 128), (0.01, 120), (0.2 * math.sqrt(side), 128)


LADDER = Ladder(
    name="quantized matmul",
    shape=lambda a, b, *_: (*np.shape(a), np.shape(b)[1]),
    example=_example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=quantized_matmul_reference,
            lesson="The specification, in 64-bit integers. BLAS has none, so NumPy multiplies them in "
            "plain loops.",
            bytes=lambda m, k, n, itemsize=1: m * k * 33 + k * n * 33 + m * n * 81,
            flops=_none,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=quantized_matmul_python,
            lesson="Three loops; the sum is turned into a byte with a product, two roundings and a shift.",
            bytes=_once,
            flops=_none,
        ),
        Rung(
            name="numba direct",
            device="cpu",
            callable=quantized_matmul_direct,
            lesson="The same, compiled: two subtractions for every product, and columns read against their "
            "grain.",
            bytes=_once,
            flops=_none,
            pure_numba=True,
        ),
        Rung(
            name="numba factored",
            device="cpu",
            callable=quantized_matmul_factored,
            lesson="Zero points leave the inner loop as sums of rows and columns. What stays is a dot "
            "product of bytes, which processors have an instruction for.",
            bytes=_once,
            flops=_none,
            pure_numba=True,
        ),
        Rung(
            name="numba threads",
            device="cpu",
            callable=quantized_matmul,
            lesson="Rows do not depend on each other, so every core takes a share.",
            bytes=_once,
            flops=_none,
            pure_numba=True,
        ),
        Rung(
            name="cuda naive",
            device="cuda",
            callable=partial(quantized_matmul_cuda, rung="naive"),
            lesson="A thread per output, two bytes fetched for each product.",
            bytes=lambda m, k, n, itemsize=1: m * n * (2 * k + 1 + 8),
            flops=_none,
            kernel=quantized_matmul_naive_kernel,
        ),
        Rung(
            name="cuda tiled",
            device="cuda",
            callable=partial(quantized_matmul_cuda, rung="tiled"),
            lesson="Tiles in shared memory: each byte fetched serves 16 products.",
            bytes=lambda m, k, n, itemsize=1: m * k * -(-n // TILE) + k * n * -(-m // TILE) + m * n * 9,
            flops=_none,
            kernel=quantized_matmul_tiled_kernel,
        ),
    ),
)
