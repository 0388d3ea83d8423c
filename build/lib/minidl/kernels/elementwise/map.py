"""Map: one function done to every element, climbed as a ladder for the sigmoid, 1 / (1 + e⁻ˣ).

Indexing turns an output's position into an index, and the index into a position in the input. A division
and a remainder per axis is more work than most functions of one number. When can it be skipped? When input
and output lie in the same order in memory: then position i simply goes to position i, however many axes
there are.
"""

import math
from functools import partial

import numpy as np
from numba import njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels.compiling import ONE, PARALLEL, SERIAL, ZERO, on_one_thread
from minidl.kernels.elementwise.flat import (
    THREADS,
    blocks_for,
    check_inputs,
    fill,
    launch_flat,
    or_new,
    run_flat,
)
from minidl.kernels.elementwise.indexing import storage
from minidl.kernels.elementwise.scalar import sigmoid_of
from minidl.kernels.ladder import Ladder, Rung


def sigmoid_reference(x, out=None):
    """The specification, in float64, rounded once at the end."""
    x, out = check_inputs(out, x=x)
    e = np.exp(-np.abs(x.astype(np.float64)))
    out = or_new(out, x.shape, x.dtype)
    out[...] = np.where(x < 0, e, 1) / (1 + e)
    return out


def sigmoid_python(x, out=None):
    """One element after another, each found by its index."""
    x, out = check_inputs(out, x=x)
    out = or_new(out, x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        out[index] = sigmoid_of.py_func(x[index])
    return out


def sigmoid_numpy(x, out=None):
    """Whole-array steps in the array's own dtype: each passes over memory, and most make a new array."""
    x, out = check_inputs(out, x=x)
    e = np.exp(-np.abs(x))
    return np.divide(np.where(x < 0, e, ONE), ONE + e, out=out)


@njit(**SERIAL)
def _sigmoid_indexing(store, strides, shape, out):
    for position in range(out.size):
        rest, source = position, 0
        for axis in range(len(shape) - 1, -1, -1):
            source += rest % shape[axis] * strides[axis]
            rest //= shape[axis]
        out[position] = ONE / (ONE + math.exp(-store[source]))


def sigmoid_indexing(x, out=None):
    """Compiled, for `x` of any layout, with a division and a remainder per axis and element."""
    x, out = check_inputs(out, x=x)
    shape = x.shape or (1,)
    store, strides = storage(x, shape)
    return fill(out, x.shape, x.dtype, lambda flat: _sigmoid_indexing(store, strides, shape, flat))


@njit(**SERIAL)
def _sigmoid_flat(x, out):
    for i in range(x.size):
        out[i] = ONE / (ONE + math.exp(-x[i]))


def sigmoid_flat(x, out=None):
    """Input and output in one order, so that nothing is indexed."""
    return run_flat(_sigmoid_flat, out, x=x)


@njit(**PARALLEL)
def _sigmoid_vector(x, out):
    for i in prange(x.size):
        out[i] = sigmoid_of(x[i])


def sigmoid_vector(x, out=None):
    """The exponential is a polynomial: with no call left in it, the loop computes whole vector registers."""
    return run_flat(on_one_thread(_sigmoid_vector), out, x=x)


def sigmoid(x, out=None):
    """1 / (1 + e⁻ˣ) of every element, on all cores: the best CPU rung.

    Parameters
    ----------
    x : array_like, float32 or float64, any shape
    out : ndarray, optional
        Where to put the result, of x's shape and dtype; it may be `x` itself.

    Returns
    -------
    ndarray of x's shape and dtype, within 4 units in the last place of the exact value

    Raises
    ------
    TypeError
        If `x` does not hold float32 or float64, or `out` has another dtype.
    ValueError
        If `x` is empty, or `out` has another shape or shares only a part of its memory with `x`.
    """
    return run_flat(_sigmoid_vector, out, few=400_000, x=x)


@cuda.jit
def sigmoid_indexing_kernel(x, strides, shape, out):
    """One thread per element; `strides` and `shape` are tuples of ints."""
    position = cuda.grid(1)
    if position < out.size:
        rest, source = position, 0
        for axis in range(len(shape) - 1, -1, -1):
            source += rest % shape[axis] * strides[axis]
            rest //= shape[axis]
        v = x[source]
        e = math.exp(-abs(v))
        out[position] = (e if v < ZERO else ONE) / (ONE + e)


@cuda.jit
def sigmoid_flat_kernel(x, out):
    """One thread per element; neighbouring threads read neighbouring elements."""
    i = cuda.grid(1)
    if i < out.size:
        v = x[i]
        e = math.exp(-abs(v))
        out[i] = (e if v < ZERO else ONE) / (ONE + e)


def sigmoid_cuda(x, out=None, machine=GPU, rung="flat"):
    """1 / (1 + e⁻ˣ) of every element, computed on the GPU.

    Parameters, result and errors are those of `sigmoid`, and:

    Parameters
    ----------
    x, out : arrays
        In host or in GPU memory. The result stays on the GPU if `x` was there and no `out` says otherwise.
    machine : Gpu
        What runs the kernel; `minidl.instruments.tracer.TracedGpu()` runs it on the CPU, thread by thread.
    rung : {"indexing", "flat"}
        Whether `x` is uploaded as it lies, or in the order of the result.

    Raises
    ------
    DeviceUnavailable
        If the machine has no GPU.
    """
    if rung not in ("indexing", "flat"):
        raise ValueError(f"rung must be one of indexing, flat, got {rung!r}")
    if rung == "flat":
        return launch_flat(sigmoid_flat_kernel, out, machine, x=x)
    x, out = check_inputs(out, on_gpu=True, x=x)
    if is_on_gpu(x):
        store, strides, shape = x.reshape(x.size), (1,), (x.size,)
    else:
        shape = x.shape or (1,)
        store, strides = storage(x, shape)
    result = out if is_on_gpu(out) else machine.empty(x.shape, x.dtype)
    grid = blocks_for(x.size)
    store = machine.upload(store)
    machine.launch(sigmoid_indexing_kernel, grid, THREADS, store, strides, shape, result.reshape(x.size))
    if result is out or (out is None and is_on_gpu(x)):
        return result
    return machine.download(result, out)


def _one_pass(n, itemsize=4):
    return 2 * n * itemsize


def _three_each(n):
    return 3 * n  # exp, add, divide


MAP_LADDER = Ladder(
    "sigmoid",
    (
        Rung(
            "reference", "cpu", sigmoid_reference,
            "The specification: NumPy, in float64.",
            lambda n, itemsize=4: n * (2 * itemsize + 7 * 16), _three_each,
        ),
        Rung(
            "python loops", "cpu", sigmoid_python,
            "An index for every element, and an interpreter for every index.",
            _one_pass, _three_each,
        ),
        Rung(
            "numpy", "cpu", sigmoid_numpy,
            "Each whole-array step is fast, but there are seven, and each passes over memory.",
            lambda n, itemsize=4: n * (14 * itemsize + 2), _three_each,
        ),
        Rung(
            "numba indexing", "cpu", sigmoid_indexing,
            "One pass, over any layout, but each element costs a division and a remainder per axis.",
            _one_pass, _three_each, pure_numba=True,
        ),
        Rung(
            "numba flat", "cpu", sigmoid_flat,
            "Same order in memory on both sides: skip the indexing, position i goes to position i.",
            _one_pass, _three_each, pure_numba=True,
        ),
        Rung(
            "numba vector", "cpu", sigmoid_vector,
            "A call keeps a loop scalar: with the exponential as a polynomial it fills whole registers.",
            _one_pass, _three_each, pure_numba=True,
        ),
        Rung(
            "numba threads", "cpu", sigmoid,
            "Elements do not depend on each other, so every core takes a share.",
            _one_pass, _three_each, pure_numba=True,
        ),
        Rung(
            "cuda indexing", "cuda", partial(sigmoid_cuda, rung="indexing"),
            "A thread per element; neighbours read far apart when the input lies in another order.",
            _one_pass, _three_each, kernel=sigmoid_indexing_kernel,
        ),
        Rung(
            "cuda flat", "cuda", sigmoid_cuda,
            "Neighbouring threads read neighbouring elements; only the sigmoid is left to compute.",
            _one_pass, _three_each, kernel=sigmoid_flat_kernel,
        ),
    ),
    shape=lambda x, out=None: (np.size(x),),
    example=lambda size: (np.random.default_rng(0).normal(size=(max(1, size // 256),
    256)).astype("float32"),),
)  # fmt: skip
