"""Average pooling on the CPU, rung by rung: the mean of each window, with padding as zeros."""

import numpy as np
from numba import njit, prange

from minidl.kernels.arguments import check_out
from minidl.kernels.compiling import PARALLEL, SERIAL, on_one_thread, sized
from minidl.kernels.pool.windows import (
    cells_of,
    check_backward_avg,
    check_windows,
    deliver,
    inside,
    planes,
    result_like,
)


def avg_pool2d_reference(x, size, stride=None, padding=0, out=None):
    """Return the mean of every window, summed in float64; padding counts as zeros.

    Parameters, result and errors are those of `max_pool2d_reference`, without the indices.
    """

    def run(x, windows, y):
        rim = ((0, 0), (windows.top, windows.top), (windows.left, windows.left))
        y[...] = cells_of(np.pad(x, rim), windows).mean(axis=-1, dtype=np.float64)

    return _pool(run, x, size, stride, padding, out)


def avg_pool2d_python(x, size, stride=None, padding=0, out=None):
    """Rung 2: each window by itself, in Python."""
    return _pool(_direct.py_func, x, size, stride, padding, out)


def avg_pool2d_numpy(x, size, stride=None, padding=0, out=None):
    """Rung 3: all windows at once, one cell of theirs after another."""

    def run(x, windows, y):
        rows, columns, down, right, top, left = windows
        y[...] = 0
        for r in range(rows):
            for c in range(columns):
                i, h = inside(r - top, down, x.shape[1], y.shape[1])
                j, w = inside(c - left, right, x.shape[2], y.shape[2])
                y[:, i, j] += x[:, h, w]
        y /= rows * columns

    return _pool(run, x, size, stride, padding, out)


@njit(**PARALLEL)
def _direct(x, windows, y):
    rows, columns, down, right, top, left = windows
    count, height, width = x.shape
    for p in prange(count):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                total = 0.0
                for h in range(max(i * down - top, 0), min(i * down - top + rows, height)):
                    for w in range(max(j * right - left, 0), min(j * right - left + columns, width)):
                        total += x[p, h, w]
                y[p, i, j] = total / (rows * columns)


def avg_pool2d_direct(x, size, stride=None, padding=0, out=None):
    """Rung 4: each window by itself, compiled."""
    return _pool(on_one_thread(_direct), x, size, stride, padding, out)


@njit(**SERIAL)
def _add(row, step, share, y):
    """Add its share of every `step`-th element of a row."""
    for j in range(y.size):
        y[j] += share * row[np.uint64(j * step)]


@njit(**PARALLEL)
def _rows(x, windows, y):
    rows, columns, down, right, top, left = windows
    count, height, width = x.shape
    share = x.dtype.type(1 / (rows * columns))
    for p in prange(count):
        for i in range(y.shape[1]):
            y[p, i] = 0
            for h in range(max(i * down - top, 0), min(i * down - top + rows, height)):
                for c in range(columns):
                    # The outputs whose column c lies inside the image, and the column of the first of them.
                    first = max(0, (left - c + right - 1) // right)
                    stop = max(first, min(y.shape[2], (width - 1 + left - c) // right + 1))
                    row, result = x[p, h, first * right - left + c :], y[p, i, first:stop]
                    if right == 1:  # a step that the compiler knows is one that it can vectorise
                        _add(row, 1, share, result)
                    elif right == 2:
                        _add(row, 2, share, result)
                    else:
                        _add(row, right, share, result)


def avg_pool2d_rows(x, size, stride=None, padding=0, out=None):
    """Rung 5: a row of windows at once, one cell of theirs after another, in vector registers."""
    return _pool(on_one_thread(_rows), x, size, stride, padding, out)


@njit(**PARALLEL)
def _quads(x, windows, y):
    quarter = x.dtype.type(0.25)
    for p in prange(x.shape[0]):
        for i in range(y.shape[1]):
            above, below, result = x[p, 2 * i], x[p, 2 * i + 1], y[p, i]
            for j in range(result.size):
                result[j] = quarter * (above[2 * j] + above[2 * j + 1] + below[2 * j] + below[2 * j + 1])


def avg_pool2d(x, size, stride=None, padding=0, out=None):
    """Return the mean of every window: the best rung on the CPU, images shared by all cores.

    Parameters, result and errors are those of `max_pool2d_reference`, without the indices. Padding counts as
    zeros (PyTorch's `count_include_pad=True`, its default).
    """

    def run(x, windows, y):
        long_rows = windows.right <= 2 and y.shape[2] >= 16
        kernel = _quads if windows == (2, 2, 2, 2, 0, 0) else _rows if long_rows else _direct
        sized(kernel, x.size, few=400_000)(x, windows, y)

    return _pool(run, x, size, stride, padding, out)


def _pool(run, x, size, stride, padding, out):
    x, windows, shape = check_windows(x, size, stride, padding)
    y = result_like(out, shape, x.dtype, x=x)
    run(planes(x), windows, y.reshape(-1, *shape[2:]))
    return deliver(y, out)


# ------------------------------------------------------------------------------------------ the way back


def avg_pool2d_backward_reference(gradient, shape, size, stride=None, padding=0, out=None):
    """Return the gradient to an input of `shape`: all of a window get the same share.

    Parameters
    ----------
    gradient : array_like of shape (N, C, P, Q), float32 or float64
    shape : tuple (N, C, H, W)
        The input's.
    size, stride, padding
        As for `avg_pool2d`.
    out : array of the input's shape, optional
    """
    gradient, windows, shape = check_backward_avg(gradient, shape, size, stride, padding)
    check_out("out", out, shape, gradient.dtype, gradient=gradient)
    rows, columns, down, right, top, left = windows
    result = np.zeros(shape)
    for r in range(rows):
        for c in range(columns):
            i, h = inside(r - top, down, shape[2], gradient.shape[2])
            j, w = inside(c - left, right, shape[3], gradient.shape[3])
            result[:, :, h, w] += gradient[:, :, i, j] / (rows * columns)
    return deliver(result.astype(gradient.dtype), out)


@njit(**PARALLEL)
def _spread(gradient, windows, result):
    rows, columns, down, right, top, left = windows
    count, height, width = result.shape
    share = gradient.dtype.type(1 / (rows * columns))
    for p in prange(count):
        result[p] = 0
        for i in range(gradient.shape[1]):
            for h in range(max(i * down - top, 0), min(i * down - top + rows, height)):
                row = result[p, h]
                for j in range(gradient.shape[2]):
                    g = share * gradient[p, i, j]
                    for w in range(max(j * right - left, 0), min(j * right - left + columns, width)):
                        row[w] += g


def avg_pool2d_backward(gradient, shape, size, stride=None, padding=0, out=None):
    """Return the gradient to the input; arguments and errors as for `avg_pool2d_backward_reference`."""
    gradient, windows, shape = check_backward_avg(gradient, shape, size, stride, padding)
    result = result_like(out, shape, gradient.dtype, gradient=gradient)
    sized(_spread, result.size, few=400_000)(planes(gradient), windows, result.reshape(-1, *shape[2:]))
    return deliver(result, out)
