"""Pooling on the GPU: forward rung by rung, and the way back."""

import math

import numpy as np

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels.arguments import check_out
from minidl.kernels.pool.windows import (
    check_backward_avg,
    check_backward_max,
    check_windows,
)

THREADS = 128  # per block
SEGMENT = 1024  # columns of the image that a block holds in shared memory


@cuda.jit
def max_pool2d_direct_kernel(x, rows, columns, down, right, top, left, y, indices):
    """One thread per output; it reads its whole window from global memory."""
    t = cuda.grid(1)
    if t < y.size:
        j, i, p = t % y.shape[2], t // y.shape[2] % y.shape[1], t // y.shape[2] // y.shape[1]
        height, width = x.shape[1], x.shape[2]
        h0, w0 = max(i * down - top, 0), max(j * right - left, 0)
        best = x.dtype.type(-math.inf)
        at = h0 * width + w0
        for h in range(h0, min(i * down - top + rows, height)):
            for w in range(w0, min(j * right - left + columns, width)):
                v = x[p, h, w]
                if v > best or v != v:
                    best = v
                    at = h * width + w
        y[p, i, j] = best
        indices[p, i, j] = at


@cuda.jit
def max_pool2d_shared_kernel(x, rows, columns, down, right, top, left, y, indices):
    """A block has a piece of a row of outputs; row by row it fetches the columns under it, once, together."""
    line = cuda.shared.array(SEGMENT, x.dtype)
    t = cuda.threadIdx.x
    pieces = (y.shape[2] + THREADS - 1) // THREADS
    i, p = cuda.blockIdx.x // pieces % y.shape[1], cuda.blockIdx.x // pieces // y.shape[1]
    j = cuda.blockIdx.x % pieces * THREADS + t
    height, width = x.shape[1], x.shape[2]
    start = (j - t) * right - left  # the column under the block's first
    stop = min((min(j - t + THREADS, y.shape[2]) - 1) * right - left + columns, width)
    h0, w0 = max(i * down - top, 0), max(j * right - left, 0)
    best = x.dtype.type(-math.inf)
    at = h0 * width + w0
    for h in range(h0, min(i * down - top + rows, height)):
        for w in range(max(start, 0) + t, stop, THREADS):
            line[w - start] = x[p, h, w]
        cuda.syncthreads()
        if j < y.shape[2]:
            for w in range(w0, min(j * right - left + columns, width)):
                v = line[w - start]
                if v > best or v != v:
                    best = v
                    at = h * width + w
        cuda.syncthreads()
    if j < y.shape[2]:
        y[p, i, j] = best
        indices[p, i, j] = at


@cuda.jit
def max_pool2d_backward_kernel(gradient, indices, result):
    """One thread per output; where windows overlap, several add to one place. `result` starts at 0."""
    t = cuda.grid(1)
    if t < gradient.size:
        p, k = t // gradient.shape[1], t % gradient.shape[1]
        cuda.atomic.add(result, (p, indices[p, k]), gradient[p, k])


@cuda.jit
def avg_pool2d_direct_kernel(x, rows, columns, down, right, top, left, share, y):
    """One thread per output; it reads its whole window from global memory."""
    t = cuda.grid(1)
    if t < y.size:
        j, i, p = t % y.shape[2], t // y.shape[2] % y.shape[1], t // y.shape[2] // y.shape[1]
        total = x.dtype.type(0)
        for h in range(max(i * down - top, 0), min(i * down - top + rows, x.shape[1])):
            for w in range(max(j * right - left, 0), min(j * right - left + columns, x.shape[2])):
                total += x[p, h, w]
        y[p, i, j] = total * share


@cuda.jit
def avg_pool2d_shared_kernel(x, rows, columns, down, right, top, left, share, y):
    """A block has a piece of a row of outputs; row by row it fetches the columns under it, once, together."""
    line = cuda.shared.array(SEGMENT, x.dtype)
    t = cuda.threadIdx.x
    pieces = (y.shape[2] + THREADS - 1) // THREADS
    i, p = cuda.blockIdx.x // pieces % y.shape[1], cuda.blockIdx.x // pieces // y.shape[1]
    j = cuda.blockIdx.x % pieces * THREADS + t
    start = (j - t) * right - left
    stop = min((min(j - t + THREADS, y.shape[2]) - 1) * right - left + columns, x.shape[2])
    total = x.dtype.type(0)
    for h in range(max(i * down - top, 0), min(i * down - top + rows, x.shape[1])):
        for w in range(max(start, 0) + t, stop, THREADS):
            line[w - start] = x[p, h, w]
        cuda.syncthreads()
        if j < y.shape[2]:
            for w in range(max(j * right - left, 0), min(j * right - left + columns, x.shape[2])):
                total += line[w - start]
        cuda.syncthreads()
    if j < y.shape[2]:
        y[p, i, j] = total * share


@cuda.jit
def avg_pool2d_backward_kernel(gradient, rows, columns, down, right, top, left, share, result):
    """One thread per input element, which collects from every window that covers it."""
    t = cuda.grid(1)
    if t < result.size:
        w, h = t % result.shape[2], t // result.shape[2] % result.shape[1]
        p = t // result.shape[2] // result.shape[1]
        total = gradient.dtype.type(0)
        for i in range(max((h + top - rows) // down + 1, 0), min((h + top) // down + 1, gradient.shape[1])):
            for j in range(
                max((w + left - columns) // right + 1, 0), min((w + left) // right + 1, gradient.shape[2])
            ):
                total += gradient[p, i, j]
        result[p, h, w] = total * share


def max_pool2d_cuda(
    x, size, stride=None, padding=0, return_indices=False, out=None, machine=GPU, rung="shared"
):
    """Return the largest element of every window, computed on the GPU.

    Parameters, result and errors are those of `max_pool2d_reference`, and:

    Parameters
    ----------
    x, out : arrays
        In host or in GPU memory. The result stays on the GPU if `x` was there and no `out` says otherwise;
        the indices are where `x` was.
    machine : Gpu
        What runs the kernel; `minidl.instruments.tracer.TracedGpu()` runs it on the CPU, thread by thread.
    rung : {"direct", "shared"}
        "shared" holds 1,024 columns; "direct" takes over where windows lie too far apart for that.

    Raises
    ------
    DeviceUnavailable
        If the machine has no GPU.
    """
    kernels = {"direct": max_pool2d_direct_kernel, "shared": max_pool2d_shared_kernel}
    x, windows, shape = check_windows(x, size, stride, padding, on_gpu=True)
    kernel, blocks = _choose(kernels, rung, x, windows, shape, out)
    images = machine.upload(x).reshape((-1, *x.shape[2:]))
    result = out if is_on_gpu(out) else machine.empty(shape, x.dtype)
    indices = machine.empty(shape, np.int64)
    y, at = (array.reshape((-1, *shape[2:])) for array in (result, indices))
    machine.launch(kernel, blocks, THREADS, images, *windows, y, at)
    if result is not out and not (out is None and is_on_gpu(x)):
        result = machine.download(result, out)
    if not return_indices:
        return result
    return result, indices if is_on_gpu(x) else machine.download(indices)


def avg_pool2d_cuda(x, size, stride=None, padding=0, out=None, machine=GPU, rung="shared"):
    """Return the mean of every window, computed on the GPU; arguments and errors as for `max_pool2d_cuda`."""
    kernels = {"direct": avg_pool2d_direct_kernel, "shared": avg_pool2d_shared_kernel}
    x, windows, shape = check_windows(x, size, stride, padding, on_gpu=True)
    kernel, blocks = _choose(kernels, rung, x, windows, shape, out)
    images = machine.upload(x).reshape((-1, *x.shape[2:]))
    result = out if is_on_gpu(out) else machine.empty(shape, x.dtype)
    share = np.dtype(x.dtype).type(1 / (windows.rows * windows.columns))
    machine.launch(kernel, blocks, THREADS, images, *windows, share, result.reshape((-1, *shape[2:])))
    if result is out or (out is None and is_on_gpu(x)):
        return result
    return machine.download(result, out)


def _choose(kernels, rung, x, windows, shape, out):
    """The kernel to launch, and in how many blocks, once everything is checked."""
    if rung not in kernels:
        raise ValueError(f"rung must be one of {', '.join(kernels)}, got {rung!r}")
    check_out("out", out, shape, x.dtype, x=x)
    if rung == "direct" or (THREADS - 1) * windows.right + windows.columns > SEGMENT:
        return kernels["direct"], -(-math.prod(shape) // THREADS)
    return kernels["shared"], math.prod(shape[:3]) * -(-shape[3] // THREADS)


def max_pool2d_backward_cuda(gradient, indices, shape, out=None, machine=GPU):
    """`max_pool2d_backward` on the GPU."""
    gradient, indices, shape = check_backward_max(gradient, indices, shape, on_gpu=True)
    check_out("out", out, shape, gradient.dtype, gradient=gradient)
    images = (shape[0] * shape[1], -1)
    result = machine.upload(np.zeros(shape, gradient.dtype))
    machine.launch(
        max_pool2d_backward_kernel,
        -(-math.prod(gradient.shape) // THREADS),
        THREADS,
        machine.upload(gradient).reshape(images),
        machine.upload(indices).reshape(images),
        result.reshape(images),
    )
    return result if out is None and is_on_gpu(gradient) else machine.download(result, out)


def avg_pool2d_backward_cuda(gradient, shape, size, stride=None, padding=0, out=None, machine=GPU):
    """`avg_pool2d_backward` on the GPU."""
    gradient, windows, shape = check_backward_avg(gradient, shape, size, stride, padding, on_gpu=True)
    check_out("out", out, shape, gradient.dtype, gradient=gradient)
    result = out if is_on_gpu(out) else machine.empty(shape, gradient.dtype)
    machine.launch(
        avg_pool2d_backward_kernel,
        -(-math.prod(shape) // THREADS),
        THREADS,
        machine.upload(gradient).reshape((-1, *gradient.shape[2:])),
        *windows,
        np.dtype(gradient.dtype).type(1 / (windows.rows * windows.columns)),
        result.reshape((-1, *shape[2:])),
    )
    if result is out or (out is None and is_on_gpu(gradient)):
        return result
    return machine.download(result, out)
