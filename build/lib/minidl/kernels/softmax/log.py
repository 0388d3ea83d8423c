"""The logarithm of softmax, computed without leaving the logarithm: x[i] - m - log Σ exp(x[j] - m).

It stays finite where a probability is too small for a float, which is where a loss needs it most: log 0
is -inf, and its gradient is lost. `x`, `axis` and `out`, and the errors, are those of
`softmax_reference`.
"""

import math

import numpy as np
from numba import njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU
from minidl.kernels.compiling import PARALLEL, REORDER, ZERO
from minidl.kernels.exponential import exp
from minidl.kernels.reduce import largest
from minidl.kernels.softmax.gpu import THREADS
from minidl.kernels.softmax.rows import on_rows, on_rows_of_gpu


@njit(**REORDER)
def _sum_of_exponentials(x, top):
    total = ZERO
    for j in range(x.size):
        total += exp(x[j] - top)
    return total


@njit(**PARALLEL)
def _log_rows(x, y):
    for i in prange(x.shape[0]):
        top = largest(x[i])
        log_total = math.log(_sum_of_exponentials(x[i], top))
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] - top - log_total


def log_softmax(x, axis=-1, out=None):
    """Return log(softmax(x)) along `axis`: the best rung on the CPU."""
    return on_rows(_log_rows, axis, out, few=300_000, x=x)


def log_softmax_reference(x, axis=-1, out=None):
    """`log_softmax` in float64, rounded once at the end."""

    def run(x, y):
        with np.errstate(invalid="ignore"):
            wide = x.astype(np.float64)
            wide -= wide.max(axis=1, keepdims=True)
            y[...] = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))

    return on_rows(run, axis, out, x=x)


@njit(**REORDER)
def _total(row):
    total = ZERO
    for j in range(row.size):
        total += row[j]
    return total


@njit(**PARALLEL)
def _log_rows_backward(gradient, y, result):
    for i in prange(y.shape[0]):
        total = _total(gradient[i])
        for j in range(y.shape[1]):
            result[i, j] = gradient[i, j] - exp(y[i, j]) * total


def log_softmax_backward(gradient, y, axis=-1, out=None):
    """Return the gradient to the input of y = log_softmax(x): gradient - exp(y)·Σ gradient."""
    return on_rows(_log_rows_backward, axis, out, few=400_000, gradient=gradient, y=y)


def log_softmax_backward_reference(gradient, y, axis=-1, out=None):
    """`log_softmax_backward` in float64, rounded once at the end."""

    def run(gradient, y, result):
        wide = gradient.astype(np.float64)
        result[...] = wide - np.exp(y.astype(np.float64)) * wide.sum(axis=1, keepdims=True)

    return on_rows(run, axis, out, gradient=gradient, y=y)


# ------------------------------------------------------------------------------------------ on the GPU


@cuda.jit
def log_softmax_kernel(x, y):
    """A block per row; maximum and sum in one pass, as in `softmax_online_kernel`."""
    tops = cuda.shared.array(THREADS, x.dtype)
    totals = cuda.shared.array(THREADS, x.dtype)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    n = x.shape[1]
    one = x.dtype.type(1)
    top, total = x[i, 0], x.dtype.type(0)
    for j in range(t, n, THREADS):
        v = x[i, j]
        if v > top:
            total = total * math.exp(top - v) + one
            top = v
        elif v == top:
            total += one
        else:
            total += math.exp(v - top)
    tops[t], totals[t] = top, total
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            other, more = tops[t + step], totals[t + step]
            if other > top:
                total = total * math.exp(top - other) + more
                top = other
            elif other == top:
                total += more
            else:
                total += more * math.exp(other - top)
            tops[t], totals[t] = top, total
        cuda.syncthreads()
        step //= 2
    top = tops[0]
    log_total = math.log(totals[0]) + (top - top)  # NaN, where the largest is infinite
    for j in range(t, n, THREADS):
        y[i, j] = x[i, j] - top - log_total


@cuda.jit
def log_softmax_backward_kernel(gradient, y, result):
    """A block per row: gradient - exp(y)·Σ gradient."""
    sums = cuda.shared.array(THREADS, y.dtype)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    n = y.shape[1]
    total = y.dtype.type(0)
    for j in range(t, n, THREADS):
        total += gradient[i, j]
    sums[t] = total
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            sums[t] += sums[t + step]
        cuda.syncthreads()
        step //= 2
    for j in range(t, n, THREADS):
        result[i, j] = gradient[i, j] - math.exp(y[i, j]) * sums[0]


def log_softmax_cuda(x, axis=-1, out=None, machine=GPU):
    """`log_softmax` on the GPU."""
    return on_rows_of_gpu(
        lambda values, result: machine.launch(log_softmax_kernel, values.shape[0], THREADS, values, result),
        axis,
        out,
        machine,
        x=x,
    )


def log_softmax_backward_cuda(gradient, y, axis=-1, out=None, machine=GPU):
    """`log_softmax_backward` on the GPU."""
    return on_rows_of_gpu(
        lambda *rows: machine.launch(log_softmax_backward_kernel, rows[0].shape[0], THREADS, *rows),
        axis,
        out,
        machine,
        gradient=gradient,
        y=y,
    )
