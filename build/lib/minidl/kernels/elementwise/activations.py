"""The activation functions, forward and backward: each is a map or a zip over flat arrays.

Their derivatives cost no exponential, because sigmoid and tanh are differentiated in terms of their own
output: `sigmoid_backward(gradient, y)` and `tanh_backward(gradient, y)` take y, the others x.
"""

import math

import numpy as np
from numba import njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU
from minidl.kernels.compiling import ONE, PARALLEL, ZERO
from minidl.kernels.elementwise.flat import check_inputs, launch_flat, run_flat
from minidl.kernels.elementwise.scalar import (
    leaky_relu_of,
    leaky_relu_slope,
    relu_of,
    relu_slope,
    sigmoid_slope,
    tanh_of,
    tanh_slope,
)

# ------------------------------------------------------------------------------------------ CPU kernels


@njit(**PARALLEL)
def _relu(x, out):
    for i in prange(x.size):
        out[i] = relu_of(x[i])


@njit(**PARALLEL)
def _relu_backward(gradient, x, out):
    for i in prange(x.size):
        out[i] = relu_slope(gradient[i], x[i])


@njit(**PARALLEL)
def _leaky_relu(x, slope, out):
    for i in prange(x.size):
        out[i] = leaky_relu_of(x[i], slope)


@njit(**PARALLEL)
def _leaky_relu_backward(gradient, x, slope, out):
    for i in prange(x.size):
        out[i] = leaky_relu_slope(gradient[i], x[i], slope)


@njit(**PARALLEL)
def _sigmoid_backward(gradient, y, out):
    for i in prange(y.size):
        out[i] = sigmoid_slope(gradient[i], y[i])


@njit(**PARALLEL)
def _tanh(x, out):
    for i in prange(x.size):
        out[i] = tanh_of(x[i])


@njit(**PARALLEL)
def _tanh_backward(gradient, y, out):
    for i in prange(y.size):
        out[i] = tanh_slope(gradient[i], y[i])


# ------------------------------------------------------------------------------------------ CUDA kernels


@cuda.jit
def relu_flat_kernel(x, out):
    """One thread per element, as in all that follow."""
    i = cuda.grid(1)
    if i < out.size:
        out[i] = ZERO if x[i] < ZERO else x[i]


@cuda.jit
def relu_backward_flat_kernel(gradient, x, out):
    """The gradient passes where x > 0."""
    i = cuda.grid(1)
    if i < out.size:
        out[i] = ZERO if x[i] <= ZERO else gradient[i]


@cuda.jit
def leaky_relu_flat_kernel(x, slope, out):
    """x, or a little of it where it is negative."""
    i = cuda.grid(1)
    if i < out.size:
        out[i] = x[i] * slope if x[i] < ZERO else x[i]


@cuda.jit
def leaky_relu_backward_flat_kernel(gradient, x, slope, out):
    """The gradient, or a little of it where x ≤ 0."""
    i = cuda.grid(1)
    if i < out.size:
        out[i] = gradient[i] if x[i] > ZERO else gradient[i] * slope


@cuda.jit
def sigmoid_backward_flat_kernel(gradient, y, out):
    """The gradient times y·(1 - y)."""
    i = cuda.grid(1)
    if i < out.size:
        out[i] = gradient[i] * (y[i] * (ONE - y[i]))


@cuda.jit
def tanh_flat_kernel(x, out):
    """The GPU's own tanh."""
    i = cuda.grid(1)
    if i < out.size:
        out[i] = math.tanh(x[i])


@cuda.jit
def tanh_backward_flat_kernel(gradient, y, out):
    """The gradient times 1 - y²."""
    i = cuda.grid(1)
    if i < out.size:
        out[i] = gradient[i] * (ONE - y[i] * y[i])


# ------------------------------------------------------------------------------------------ what one calls
# Arrays are float32 or float64, any shape, both of one shape and dtype, and the result has these too. `out`
# may be an input itself. TypeError and ValueError name the argument, as for `sigmoid`.


def relu(x, out=None):
    """max(x, 0) of every element; NaN stays NaN."""
    return run_flat(_relu, out, x=x)


def relu_backward(gradient, x, out=None):
    """The gradient where x > 0, and 0 elsewhere, also at 0 itself, as the frameworks have it."""
    return run_flat(_relu_backward, out, gradient=gradient, x=x)


def leaky_relu(x, slope=0.01, out=None):
    """x where x ≥ 0, slope·x elsewhere (Maas, Hannun & Ng 2013, eq. 3)."""
    return run_flat(_leaky_relu, out, slope, x=x)


def leaky_relu_backward(gradient, x, slope=0.01, out=None):
    """The gradient where x > 0, slope times it elsewhere."""
    return run_flat(_leaky_relu_backward, out, slope, gradient=gradient, x=x)


def sigmoid_backward(gradient, y, out=None):
    """Gradient to the input of y = sigmoid(x): gradient·y·(1 - y)."""
    return run_flat(_sigmoid_backward, out, gradient=gradient, y=y)


def tanh(x, out=None):
    """(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ) of every element, within 4 units in the last place."""
    return run_flat(_tanh, out, few=400_000, x=x)


def tanh_backward(gradient, y, out=None):
    """Gradient to the input of y = tanh(x): gradient·(1 - y²)."""
    return run_flat(_tanh_backward, out, gradient=gradient, y=y)


def relu_cuda(x, out=None, machine=GPU):
    """`relu` on the GPU."""
    return launch_flat(relu_flat_kernel, out, machine, x=x)


def relu_backward_cuda(gradient, x, out=None, machine=GPU):
    """`relu_backward` on the GPU."""
    return launch_flat(relu_backward_flat_kernel, out, machine, gradient=gradient, x=x)


def leaky_relu_cuda(x, slope=0.01, out=None, machine=GPU):
    """`leaky_relu` on the GPU."""
    return launch_flat(leaky_relu_flat_kernel, out, machine, slope, x=x)


def leaky_relu_backward_cuda(gradient, x, slope=0.01, out=None, machine=GPU):
    """`leaky_relu_backward` on the GPU."""
    return launch_flat(leaky_relu_backward_flat_kernel, out, machine, slope, gradient=gradient, x=x)


def sigmoid_backward_cuda(gradient, y, out=None, machine=GPU):
    """`sigmoid_backward` on the GPU."""
    return launch_flat(sigmoid_backward_flat_kernel, out, machine, gradient=gradient, y=y)


def tanh_cuda(x, out=None, machine=GPU):
    """`tanh` on the GPU."""
    return launch_flat(tanh_flat_kernel, out, machine, x=x)


def tanh_backward_cuda(gradient, y, out=None, machine=GPU):
    """`tanh_backward` on the GPU."""
    return launch_flat(tanh_backward_flat_kernel, out, machine, gradient=gradient, y=y)


# --------------------------------------------------------------------------------------- the specifications


def relu_reference(x, out=None):
    """`relu` in NumPy."""
    x, out = check_inputs(out, x=x)
    return np.maximum(x, 0, out=out)


def relu_backward_reference(gradient, x, out=None):
    """`relu_backward` in NumPy."""
    gradient, x, out = check_inputs(out, gradient=gradient, x=x)
    return _put(np.where(x <= 0, 0, gradient), x, out)


def leaky_relu_reference(x, slope=0.01, out=None):
    """`leaky_relu` in NumPy."""
    x, out = check_inputs(out, x=x)
    return _put(np.where(x < 0, x * x.dtype.type(slope), x), x, out)


def leaky_relu_backward_reference(gradient, x, slope=0.01, out=None):
    """`leaky_relu_backward` in NumPy."""
    gradient, x, out = check_inputs(out, gradient=gradient, x=x)
    return _put(np.where(x > 0, gradient, gradient * x.dtype.type(slope)), x, out)


def sigmoid_backward_reference(gradient, y, out=None):
    """`sigmoid_backward` in float64, rounded once at the end."""
    gradient, y, out = check_inputs(out, gradient=gradient, y=y)
    wide = y.astype(np.float64)
    return _put(gradient * (wide * (1 - wide)), y, out)


def tanh_reference(x, out=None):
    """`tanh` in float64, rounded once at the end."""
    x, out = check_inputs(out, x=x)
    return _put(np.tanh(x.astype(np.float64)), x, out)


def tanh_backward_reference(gradient, y, out=None):
    """`tanh_backward` in float64, rounded once at the end."""
    gradient, y, out = check_inputs(out, gradient=gradient, y=y)
    wide = y.astype(np.float64)
    return _put(gradient * (1 - wide * wide), y, out)


def _put(values, like, out):
    if out is None:
        return np.asarray(values, like.dtype)
    out[...] = values
    return out
