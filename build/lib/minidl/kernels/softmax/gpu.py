"""Softmax on the GPU, rung by rung, and its gradient."""

import math

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU
from minidl.kernels.softmax.rows import on_rows_of_gpu

THREADS = 128  # per block; each block has a row


@cuda.jit
def softmax_row_per_thread_kernel(x, y):
    """One thread per row: neighbouring threads read a whole row apart, and few rows keep few threads busy."""
    i = cuda.grid(1)
    if i < x.shape[0]:
        top = x[i, 0]
        for j in range(1, x.shape[1]):
            top = max(top, x[i, j])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += math.exp(x[i, j] - top)
        for j in range(x.shape[1]):
            y[i, j] = math.exp(x[i, j] - top) / total


@cuda.jit
def softmax_row_per_block_kernel(x, y):
    """A block per row: threads stride through it side by side, and a tree joins what they found."""
    shared = cuda.shared.array(THREADS, x.dtype)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    n = x.shape[1]
    top = x[i, 0]
    for j in range(t, n, THREADS):
        top = max(top, x[i, j])
    shared[t] = top
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            shared[t] = max(shared[t], shared[t + step])
        cuda.syncthreads()
        step //= 2
    top = shared[0]
    cuda.syncthreads()  # everyone has read the maximum before its place is used again
    total = x.dtype.type(0)
    for j in range(t, n, THREADS):
        total += math.exp(x[i, j] - top)
    shared[t] = total
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            shared[t] += shared[t + step]
        cuda.syncthreads()
        step //= 2
    total = shared[0]
    for j in range(t, n, THREADS):
        y[i, j] = math.exp(x[i, j] - top) / total


@cuda.jit
def softmax_online_kernel(x, y):
    """A block per row; maximum and sum travel as a pair, through one pass and one tree."""
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
    total = totals[0] + (top - top)  # NaN, where the largest is infinite
    for j in range(t, n, THREADS):
        y[i, j] = math.exp(x[i, j] - top) / total


CUDA_RUNGS = {
    "row per thread": softmax_row_per_thread_kernel,
    "row per block": softmax_row_per_block_kernel,
    "online": softmax_online_kernel,
}


def softmax_cuda(x, axis=-1, out=None, machine=GPU, rung="online"):
    """Return exp(x) / Σ exp(x) along `axis`, computed on the GPU.

    Parameters, result and errors are those of `softmax_reference`, and:

    Parameters
    ----------
    x, out : arrays
        In host or in GPU memory. The result stays on the GPU if `x` was there and no `out` says otherwise. An
        array that is in GPU memory already must have `axis` last.
    machine : Gpu
        What runs the kernel; `minidl.instruments.tracer.TracedGpu()` runs it on the CPU, thread by thread.
    rung : {"row per thread", "row per block", "online"}

    Raises
    ------
    DeviceUnavailable
        If the machine has no GPU.
    """
    if rung not in CUDA_RUNGS:
        raise ValueError(f"rung must be one of {', '.join(CUDA_RUNGS)}, got {rung!r}")
    kernel = CUDA_RUNGS[rung]

    def run(values, result):
        per_block = THREADS if rung == "row per thread" else 1
        machine.launch(kernel, -(-values.shape[0] // per_block), THREADS, values, result)

    return on_rows_of_gpu(run, axis, out, machine, x=x)


@cuda.jit
def softmax_backward_kernel(gradient, y, result):
    """A block per row: y·(gradient - Σ gradient·y)."""
    sums = cuda.shared.array(THREADS, y.dtype)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    n = y.shape[1]
    total = y.dtype.type(0)
    for j in range(t, n, THREADS):
        total += gradient[i, j] * y[i, j]
    sums[t] = total
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            sums[t] += sums[t + step]
        cuda.syncthreads()
        step //= 2
    for j in range(t, n, THREADS):
        result[i, j] = y[i, j] * (gradient[i, j] - sums[0])


def softmax_backward_cuda(gradient, y, axis=-1, out=None, machine=GPU):
    """`softmax_backward` on the GPU."""

    def run(gradient, y, result):
        machine.launch(softmax_backward_kernel, y.shape[0], THREADS, gradient, y, result)

    return on_rows_of_gpu(run, axis, out, machine, gradient=gradient, y=y)
