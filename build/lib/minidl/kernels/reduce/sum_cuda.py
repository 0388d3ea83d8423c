"""Sum on the GPU, rung by rung: from atomic additions to trees that need hardly a barrier.

After M. Harris, Optimizing Parallel Reduction in CUDA (NVIDIA, 2007), whose steps these are.
"""

import numpy as np

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU
from minidl.kernels.reduce.axes import EACH, THREADS, WARPS, launch_columns, launch_tree, reduce_on_gpu


@cuda.jit
def reduce_sum_atomic_kernel(x, n, inner, out):
    """One thread per number, all of which add to the same few results; `out` starts at 0."""
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.add(out, i // (n * inner) * inner + i % inner, x[i])


@cuda.jit
def reduce_sum_interleaved_kernel(x, n, inner, blocks, out):
    """One thread per number; in the tree every second thread rests, then three of four, and so on."""
    sums = cuda.shared.array(THREADS, x.dtype)
    t = cuda.threadIdx.x
    row, k = cuda.blockIdx.x // blocks, cuda.blockIdx.x % blocks * THREADS + t
    sums[t] = x[row // inner * n * inner + k * inner + row % inner] if k < n else x.dtype.type(0)
    cuda.syncthreads()
    step = 1
    while step < THREADS:
        if t % (2 * step) == 0:
            sums[t] += sums[t + step]
        cuda.syncthreads()
        step *= 2
    if t == 0:
        out[cuda.blockIdx.x] = sums[0]


@cuda.jit
def reduce_sum_sequential_kernel(x, n, inner, blocks, out):
    """The same tree, folded from the far end: the threads at work are neighbours."""
    sums = cuda.shared.array(THREADS, x.dtype)
    t = cuda.threadIdx.x
    row, k = cuda.blockIdx.x // blocks, cuda.blockIdx.x % blocks * THREADS + t
    sums[t] = x[row // inner * n * inner + k * inner + row % inner] if k < n else x.dtype.type(0)
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            sums[t] += sums[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = sums[0]


@cuda.jit
def reduce_sum_strided_kernel(x, n, inner, blocks, out):
    """Each thread first adds up `EACH` numbers, a block's width apart, and only then comes the tree."""
    sums = cuda.shared.array(THREADS, x.dtype)
    t = cuda.threadIdx.x
    row, first = cuda.blockIdx.x // blocks, cuda.blockIdx.x % blocks * THREADS * EACH + t
    start = row // inner * n * inner + row % inner
    total = x.dtype.type(0)
    for k in range(first, min(n, first + THREADS * EACH), THREADS):
        total += x[start + k * inner]
    sums[t] = total
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            sums[t] += sums[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = sums[0]


@cuda.jit
def reduce_sum_warp_kernel(x, n, inner, blocks, out):
    """As before, but the 32 threads of a warp hand their sums to each other directly, without a barrier."""
    sums = cuda.shared.array(WARPS, x.dtype)
    t = cuda.threadIdx.x
    row, first = cuda.blockIdx.x // blocks, cuda.blockIdx.x % blocks * THREADS * EACH + t
    start = row // inner * n * inner + row % inner
    total = x.dtype.type(0)
    for k in range(first, min(n, first + THREADS * EACH), THREADS):
        total += x[start + k * inner]
    step = 16
    while step > 0:
        total += cuda.shfl_down_sync(0xFFFFFFFF, total, step)  # what the thread `step` further on holds
        step //= 2
    if t % 32 == 0:
        sums[t // 32] = total
    cuda.syncthreads()
    if t == 0:
        for warp in range(1, WARPS):
            total += sums[warp]
        out[cuda.blockIdx.x] = total


@cuda.jit
def reduce_sum_columns_kernel(x, n, inner, out):
    """One thread per result: neighbouring threads walk down neighbouring columns."""
    i = cuda.grid(1)
    if i < out.size:
        start = i // inner * n * inner + i % inner
        total = x[start]
        for k in range(1, n):
            total += x[start + k * inner]
        out[i] = total


def _launch_atomic(x, outer, n, inner, machine):
    result = machine.upload(np.zeros(outer * inner, x.dtype))
    machine.launch(reduce_sum_atomic_kernel, -(-x.size // THREADS), THREADS, x, n, inner, result)
    return result


CUDA_RUNGS = {
    "atomic": _launch_atomic,
    "interleaved": launch_tree(reduce_sum_interleaved_kernel, THREADS),
    "sequential": launch_tree(reduce_sum_sequential_kernel, THREADS),
    "strided": launch_tree(reduce_sum_strided_kernel, THREADS * EACH),
    "warp": launch_tree(reduce_sum_warp_kernel, THREADS * EACH),
    "columns": launch_columns(reduce_sum_columns_kernel),
}


def reduce_sum_cuda(x, axis=None, keepdims=False, out=None, machine=GPU, rung=None):
    """`reduce_sum` on the GPU.

    Parameters
    ----------
    rung : {"atomic", "interleaved", "sequential", "strided", "warp", "columns"}, optional
        By default "warp", and "columns" for an axis that is not the last.
    """
    if rung is not None and rung not in CUDA_RUNGS:
        raise ValueError(f"rung must be one of {', '.join(CUDA_RUNGS)}, got {rung!r}")

    def run(x, outer, n, inner, machine):
        return CUDA_RUNGS[rung or ("warp" if inner == 1 else "columns")](x, outer, n, inner, machine)

    return reduce_on_gpu(run, x, axis, keepdims, out, machine)
