"""Zip: one function done to every pair of elements, climbed as a ladder for relu(a + b), with broadcasting.

Two inputs, two answers to when indexing can be skipped. Axes that follow one another in memory, in both
inputs, count as one long axis; two arrays of one shape are a single row, and there is nothing to index. And
a zip is a fast map where one side stands still along the row: it is a constant there, read once.
"""

import math
from functools import partial

import numpy as np
from numba import njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels.compiling import PARALLEL, SERIAL, ZERO, on_one_thread, sized
from minidl.kernels.elementwise.flat import (
    THREADS,
    blocks_for,
    check_inputs,
    fill,
    launch_flat,
    or_new,
    upload_flat,
)
from minidl.kernels.elementwise.indexing import dense_strides, merge_axes, storage
from minidl.kernels.elementwise.scalar import relu_of
from minidl.kernels.ladder import Ladder, Rung

PIECE = 16_384  # elements of a row that one CPU thread takes at a time


def add_relu_reference(a, b, out=None):
    """The specification: NumPy and its broadcasting."""
    a, b, out = check_inputs(out, broadcast=True, a=a, b=b)
    total = np.maximum(a + b, 0)
    out = or_new(out, total.shape, total.dtype)
    out[...] = total
    return out


def add_relu_python(a, b, out=None):
    """One index after another, the same for both inputs once they are broadcast."""
    a, b, out = check_inputs(out, broadcast=True, a=a, b=b)
    a, b = np.broadcast_arrays(a, b)
    out = or_new(out, a.shape, a.dtype)
    for index in np.ndindex(a.shape):
        out[index] = relu_of.py_func(a[index] + b[index])
    return out


def add_relu_numpy(a, b, out=None):
    """Two passes, the second in place: the sum is written, read again and written again."""
    a, b, out = check_inputs(out, broadcast=True, a=a, b=b)
    out = or_new(out, np.broadcast_shapes(a.shape, b.shape), a.dtype)
    np.add(a, b, out=out)
    return np.maximum(out, 0, out=out)


@njit(**SERIAL)
def _add_relu_indexing(a, a_strides, b, b_strides, shape, out):
    for position in range(out.size):
        rest, at_a, at_b = position, 0, 0
        for axis in range(len(shape) - 1, -1, -1):
            index = rest % shape[axis]
            at_a += index * a_strides[axis]
            at_b += index * b_strides[axis]
            rest //= shape[axis]
        out[position] = relu_of(a[at_a] + b[at_b])


def add_relu_indexing(a, b, out=None):
    """Compiled and fused into one pass; every element pays for its index."""
    a, b, out = check_inputs(out, broadcast=True, a=a, b=b)
    result_shape = np.broadcast_shapes(a.shape, b.shape)
    shape = result_shape or (1,)
    (a, a_strides), (b, b_strides) = storage(a, shape), storage(b, shape)
    return fill(
        out, result_shape, a.dtype, lambda flat: _add_relu_indexing(a, a_strides, b, b_strides, shape, flat)
    )


@njit(**PARALLEL)
def _add_relu_rows(a, a_strides, b, b_strides, shape, out):
    columns, a_step, b_step = shape[-1], a_strides[-1], b_strides[-1]
    pieces = (columns + PIECE - 1) // PIECE  # a long row is shared by several threads
    for task in prange(out.size // columns * pieces):
        row, first = task // pieces, task % pieces * PIECE
        rest, at_a, at_b = row, first * a_step, first * b_step
        for axis in range(len(shape) - 2, -1, -1):
            index = rest % shape[axis]
            at_a += index * a_strides[axis]
            at_b += index * b_strides[axis]
            rest //= shape[axis]
        y = out[row * columns + first : row * columns + min(first + PIECE, columns)]
        if a_step == 1 and b_step == 1:
            u, v = a[at_a : at_a + y.size], b[at_b : at_b + y.size]
            for j in range(y.size):
                y[j] = relu_of(u[j] + v[j])
        elif a_step == 1 and b_step == 0:  # b stands still: the zip is a map
            u, constant = a[at_a : at_a + y.size], b[at_b]
            for j in range(y.size):
                y[j] = relu_of(u[j] + constant)
        else:
            for j in range(y.size):
                y[j] = relu_of(a[at_a + j * a_step] + b[at_b + j * b_step])


def add_relu_rows(a, b, out=None):
    """Merge the axes that can be merged, and index only what is left outside of them, once per row."""
    return _run_rows(on_one_thread(_add_relu_rows), a, b, out)


def _run_rows(kernel, a, b, out):
    a, b, out = check_inputs(out, broadcast=True, a=a, b=b)
    result_shape = np.broadcast_shapes(a.shape, b.shape)
    if a.shape == b.shape and a.flags.c_contiguous and b.flags.c_contiguous:  # the common case, known at once
        a, b, shape, a_strides, b_strides = a.reshape(-1), b.reshape(-1), (a.size,), (1,), (1,)
    else:
        (a, a_strides), (b, b_strides) = storage(a, result_shape), storage(b, result_shape)
        shape, a_strides, b_strides = merge_axes(result_shape, a_strides, b_strides)
    if a_strides[-1] == 0:  # adding goes either way, and the kernel knows a b that stands still
        a, a_strides, b, b_strides = b, b_strides, a, a_strides
    kernel = sized(kernel, math.prod(result_shape))
    return fill(out, result_shape, a.dtype, lambda flat: kernel(a, a_strides, b, b_strides, shape, flat))


def add_relu(a, b, out=None):
    """relu(a + b) in one pass, with broadcasting, on all cores: the best CPU rung.

    Parameters
    ----------
    a, b : array_like, float32 or float64, both the same; shapes that broadcast
    out : ndarray, optional
        Where to put the result; it may be `a` or `b` itself, where that has the result's shape.

    Returns
    -------
    ndarray of the broadcast shape

    Raises
    ------
    TypeError
        If a dtype is neither float32 nor float64, or they differ, or `out` has another.
    ValueError
        If an input is empty, the shapes do not broadcast, or `out` has another shape or shares only a part of
        its memory with an input.
    """
    return _run_rows(_add_relu_rows, a, b, out)


@cuda.jit
def add_relu_indexing_kernel(a, a_strides, b, b_strides, shape, out):
    """One thread per element; strides and shape are tuples of ints."""
    position = cuda.grid(1)
    if position < out.size:
        rest, at_a, at_b = position, 0, 0
        for axis in range(len(shape) - 1, -1, -1):
            index = rest % shape[axis]
            at_a += index * a_strides[axis]
            at_b += index * b_strides[axis]
            rest //= shape[axis]
        total = a[at_a] + b[at_b]
        out[position] = ZERO if total < ZERO else total


@cuda.jit
def add_relu_flat_kernel(a, b, out):
    """One thread per element, the same position in all three."""
    i = cuda.grid(1)
    if i < out.size:
        total = a[i] + b[i]
        out[i] = ZERO if total < ZERO else total


def add_relu_cuda(a, b, out=None, machine=GPU, rung="flat"):
    """relu(a + b) with broadcasting, computed on the GPU.

    Parameters, result and errors are those of `add_relu`, and:

    Parameters
    ----------
    a, b, out : arrays
        In host or in GPU memory. The result stays on the GPU if `a` or `b` was there and no `out` says
        otherwise.
    machine : Gpu
        What runs the kernel; `minidl.instruments.tracer.TracedGpu()` runs it on the CPU, thread by thread.
    rung : {"indexing", "flat"}
        "flat" is for equal shapes; where they differ, "indexing" takes over.

    Raises
    ------
    DeviceUnavailable
        If the machine has no GPU.
    """
    if rung not in ("indexing", "flat"):
        raise ValueError(f"rung must be one of indexing, flat, got {rung!r}")
    if rung == "flat" and np.shape(a) == np.shape(b):
        return launch_flat(add_relu_flat_kernel, out, machine, a=a, b=b)
    a, b, out = check_inputs(out, on_gpu=True, broadcast=True, a=a, b=b)
    shape = np.broadcast_shapes(a.shape, b.shape)
    strides = [dense_strides(array.shape, shape) for array in (a, b)]
    merged, a_strides, b_strides = merge_axes(shape, *strides)
    result = out if is_on_gpu(out) else machine.empty(shape, a.dtype)
    size = int(np.prod(shape))
    x, y = upload_flat(a, machine), upload_flat(b, machine)
    grid = blocks_for(size)
    machine.launch(
        add_relu_indexing_kernel, grid, THREADS, x, a_strides, y, b_strides, merged, result.reshape(size)
    )
    if result is out or (out is None and (is_on_gpu(a) or is_on_gpu(b))):
        return result
    return machine.download(result, out)


def _one_pass(n, n_a, n_b, itemsize=4):
    return (n + n_a + n_b) * itemsize


def _one_each(n, n_a, n_b):
    return n  # one addition; a comparison does not count


def _example(size):
    random = np.random.default_rng(0)
    rows = max(1, size // 1024)
    return tuple(random.normal(size=(rows, 1024)).astype("float32") for _ in range(2))


def _shape(a, b, out=None):
    return int(np.prod(np.broadcast_shapes(np.shape(a), np.shape(b)))), int(np.size(a)), int(np.size(b))


ZIP_LADDER = Ladder(
    "relu(a + b)",
    (
        Rung(
            "reference", "cpu", add_relu_reference,
            "The specification: NumPy, with a new array for the sum and one for the result.",
            lambda n, n_a, n_b, itemsize=4: (n_a + n_b + 5 * n) * itemsize, _one_each,
        ),
        Rung(
            "python loops", "cpu", add_relu_python,
            "Broadcasting is an axis whose stride is 0: its index moves, its position does not.",
            _one_pass, _one_each,
        ),
        Rung(
            "numpy", "cpu", add_relu_numpy,
            "Working in place saves the arrays in between, but the sum still passes through memory.",
            lambda n, n_a, n_b, itemsize=4: (n_a + n_b + 3 * n) * itemsize, _one_each,
        ),
        Rung(
            "numba indexing", "cpu", add_relu_indexing,
            "Fused into one pass; slower than NumPy's two, because every element is divided into an index.",
            _one_pass, _one_each, pure_numba=True,
        ),
        Rung(
            "numba rows", "cpu", add_relu_rows,
            "Merge the axes that follow one another in memory, index once per row: equal shapes are one row.",
            _one_pass, _one_each, pure_numba=True,
        ),
        Rung(
            "numba threads", "cpu", add_relu,
            "Rows do not depend on each other, so every core takes a share, until memory is what limits.",
            _one_pass, _one_each, pure_numba=True,
        ),
        Rung(
            "cuda indexing", "cuda", partial(add_relu_cuda, rung="indexing"),
            "A thread per element; strides of 0 broadcast without copying.",
            _one_pass, _one_each, kernel=add_relu_indexing_kernel,
        ),
        Rung(
            "cuda flat", "cuda", add_relu_cuda,
            "Equal shapes need no index: one position serves all three arrays.",
            _one_pass, _one_each, kernel=add_relu_flat_kernel,
        ),
    ),
    shape=_shape,
    example=_example,
)  # fmt: skip
