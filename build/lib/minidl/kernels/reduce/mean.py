"""Mean: the sum, divided by how many numbers went into it."""

import numpy as np

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels.arguments import check_floats
from minidl.kernels.reduce.axes import THREADS
from minidl.kernels.reduce.sum import reduce_sum, reduce_sum_reference
from minidl.kernels.reduce.sum_cuda import reduce_sum_cuda


def reduce_mean(x, axis=None, keepdims=False, out=None):
    """The mean: `reduce_sum` divided by how many numbers went into each sum."""
    return _divide(reduce_sum(x, axis, keepdims, out), x)


def reduce_mean_reference(x, axis=None, keepdims=False, out=None):
    """The specification of `reduce_mean`."""
    return _divide(reduce_sum_reference(x, axis, keepdims, out), x)


def _divide(total, x):
    return np.divide(total, total.dtype.type(np.size(x) // total.size), out=total)


@cuda.jit
def scale_kernel(x, factor):
    """Multiply in place."""
    i = cuda.grid(1)
    if i < x.size:
        x[i] *= factor


def reduce_mean_cuda(x, axis=None, keepdims=False, out=None, machine=GPU):
    """`reduce_mean` on the GPU."""
    x = check_floats("x", x)
    total = reduce_sum_cuda(x, axis, keepdims, out, machine)
    count = x.size // total.size
    if not is_on_gpu(total):
        return np.divide(total, total.dtype.type(count), out=total)
    machine.launch(
        scale_kernel,
        -(-total.size // THREADS),
        THREADS,
        total.reshape(total.size),
        total.dtype.type(1 / count),
    )
    return total
