"""Max pooling on the CPU, rung by rung: the largest element of each window, and where it was.

Where is an index into the image, h·W + w, as in PyTorch: the gradient goes there and nowhere else. Among
equals the first wins; NaN is larger than any number, and of several the last wins. Padding is -inf, and
never wins.
"""

import numpy as np
from numba import njit, prange

from minidl.kernels.arguments import check_out
from minidl.kernels.compiling import ARITHMETIC, PARALLEL, SERIAL, on_one_thread, sized
from minidl.kernels.pool.windows import (
    cells_of,
    check_backward_max,
    check_windows,
    deliver,
    inside,
    planes,
    result_like,
)


def max_pool2d_reference(x, size, stride=None, padding=0, return_indices=False, out=None):
    """Return the largest element of every window.

    Every rung below takes these arguments and raises these errors, before it writes anything.

    Parameters
    ----------
    x : array_like of shape (N, C, H, W), float32 or float64
    size : int or pair of int
        Rows and columns of the window.
    stride : int or pair of int, optional
        How far the window moves; by default its size. Less, and windows overlap.
    padding : int or pair of int
        Rows and columns of -inf on each side, at most half the size.
    return_indices : bool
        Whether to return, beside the values, where in its image each was.
    out : array of shape (N, C, P, Q) and x's dtype, optional
        Receives the values. P = (H + 2·padding - size) // stride + 1, and Q likewise.

    Returns
    -------
    array of shape (N, C, P, Q), or that and an array of int64 with h·W + w for each

    Raises
    ------
    TypeError
        If `x` does not hold float32 or float64, a size is no integer, or `out` has another dtype.
    ValueError
        If `x` is empty or not 4-dimensional, no window fits into it, a size or stride is less than 1,
        padding is negative or more than half the size, or `out` has another shape or shares memory with
        `x`.
    """

    def run(x, windows, y, indices):
        rim = ((0, 0), (windows.top, windows.top), (windows.left, windows.left))
        places = np.arange(x[0].size).reshape(1, *x.shape[1:])
        cells = cells_of(np.pad(x, rim, constant_values=-np.inf), windows)  # (N·C, P, Q, rows·columns)
        places = cells_of(np.pad(places, rim, constant_values=-1), windows)
        is_nan = np.isnan(cells)
        largest = np.where(is_nan, -np.inf, cells).max(axis=-1, keepdims=True)
        first = np.argmax((cells == largest) & (places >= 0), axis=-1)
        last_nan = cells.shape[-1] - 1 - np.argmax(is_nan[..., ::-1], axis=-1)
        winner = np.where(is_nan.any(axis=-1), last_nan, first)[..., None]
        y[...] = np.take_along_axis(cells, winner, axis=-1)[..., 0]
        indices[...] = np.take_along_axis(np.broadcast_to(places, cells.shape), winner, axis=-1)[..., 0]

    return _pool(run, x, size, stride, padding, return_indices, out)


def max_pool2d_python(x, size, stride=None, padding=0, return_indices=False, out=None):
    """Rung 2: each window by itself, in Python."""

    def run(x, windows, y, indices):
        for image, result, where in zip(x, y, indices, strict=True):
            _one_image.py_func(image, windows, result, where)

    return _pool(run, x, size, stride, padding, return_indices, out)


def max_pool2d_numpy(x, size, stride=None, padding=0, return_indices=False, out=None):
    """Rung 3: all windows at once, one cell of theirs after another."""

    def run(x, windows, y, indices):
        rows, columns, down, right, top, left = windows
        _, height, width = x.shape
        y[...] = -np.inf
        i, j = np.arange(y.shape[1])[:, None], np.arange(y.shape[2])
        indices[...] = np.maximum(i * down - top, 0) * width + np.maximum(j * right - left, 0)
        for r in range(rows):
            for c in range(columns):
                i, h = inside(r - top, down, height, y.shape[1])
                j, w = inside(c - left, right, width, y.shape[2])
                cells, best, where = x[:, h, w], y[:, i, j], indices[:, i, j]
                better = (cells > best) | (cells != cells)
                np.copyto(best, cells, where=better)
                at = np.arange(height)[h, None] * width + np.arange(width)[w]
                np.copyto(where, at, where=better)

    return _pool(run, x, size, stride, padding, return_indices, out)


@njit(**ARITHMETIC)
def _one_image(image, windows, y, indices):
    rows, columns, down, right, top, left = windows
    height, width = image.shape
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            h0, w0 = max(i * down - top, 0), max(j * right - left, 0)
            best, at = image[h0, w0], h0 * width + w0
            for h in range(h0, min(i * down - top + rows, height)):
                for w in range(w0, min(j * right - left + columns, width)):
                    v = image[h, w]
                    if v > best or v != v:
                        best, at = v, h * width + w
            y[i, j], indices[i, j] = best, at


@njit(**PARALLEL)
def _direct(x, windows, y, indices):
    for p in prange(x.shape[0]):
        _one_image(x[p], windows, y[p], indices[p])


def max_pool2d_direct(x, size, stride=None, padding=0, return_indices=False, out=None):
    """Rung 4: each window by itself, compiled."""
    return _pool(on_one_thread(_direct), x, size, stride, padding, return_indices, out)


# The test for NaN in every comparison keeps a loop from being vectorised well. So the rungs below look for
# NaN first, which is quick, and leave an image that has one to `_one_image`.


@njit(**ARITHMETIC)
def _has_nan(image):
    found = False
    values = image.reshape(-1)
    for i in range(values.size):
        found |= values[i] != values[i]
    return found


@njit(**ARITHMETIC)
def _larger(best, at, v, at_v):
    """The larger of two values, with its place, without a branch."""
    better = v > best
    return v if better else best, at_v if better else at


@njit(**SERIAL)
def _compare(row, step, at, best, where):
    """Put every `step`-th element of a row up against the best so far; `at` is the first one's index."""
    for j in range(best.size):
        best[j], where[j] = _larger(best[j], where[j], row[np.uint64(j * step)], at + j * step)


@njit(**ARITHMETIC)
def _rows_of_image(image, windows, y, indices):
    rows, columns, down, right, top, left = windows
    height, width = image.shape
    for i in range(y.shape[0]):
        above = max(i * down - top, 0)
        y[i] = -np.inf
        for j in range(y.shape[1]):
            indices[i, j] = above * width + max(j * right - left, 0)
        for h in range(above, min(i * down - top + rows, height)):
            for c in range(columns):
                # The outputs whose column c lies inside the image, and the column of the first of them.
                first = max(0, (left - c + right - 1) // right)
                stop = max(first, min(y.shape[1], (width - 1 + left - c) // right + 1))
                start = first * right - left + c
                row, at = image[h, start:], h * width + start
                best, where = y[i, first:stop], indices[i, first:stop]
                if right == 1:  # a step that the compiler knows is one that it can vectorise
                    _compare(row, 1, at, best, where)
                elif right == 2:
                    _compare(row, 2, at, best, where)
                else:
                    _compare(row, right, at, best, where)


@njit(**PARALLEL)
def _rows(x, windows, y, indices):
    for p in prange(x.shape[0]):
        if _has_nan(x[p]):
            _one_image(x[p], windows, y[p], indices[p])
        else:
            _rows_of_image(x[p], windows, y[p], indices[p])


def max_pool2d_rows(x, size, stride=None, padding=0, return_indices=False, out=None):
    """Rung 5: a row of windows at once, one cell of theirs after another, in vector registers."""
    return _pool(on_one_thread(_rows), x, size, stride, padding, return_indices, out)


@njit(**PARALLEL)
def _quads(x, windows, y, indices):
    for p in prange(x.shape[0]):
        if _has_nan(x[p]):
            _one_image(x[p], windows, y[p], indices[p])
        else:
            for i in range(y.shape[1]):
                above, below = x[p, 2 * i], x[p, 2 * i + 1]
                best, where = y[p, i], indices[p, i]
                at = 2 * i * above.size
                under = at + above.size
                for j in range(best.size):
                    v, place = _larger(above[2 * j], at + 2 * j, above[2 * j + 1], at + 2 * j + 1)
                    v, place = _larger(v, place, below[2 * j], under + 2 * j)
                    best[j], where[j] = _larger(v, place, below[2 * j + 1], under + 2 * j + 1)


def max_pool2d(x, size, stride=None, padding=0, return_indices=False, out=None):
    """Return the largest element of every window: the best rung on the CPU, images shared by all cores.

    Parameters, result and errors are those of `max_pool2d_reference`.

    Example
    -------
    >>> max_pool2d(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]], dtype=float32)
    """

    def run(x, windows, y, indices):
        long_rows = windows.right <= 2 and y.shape[2] >= 16
        kernel = _quads if windows == (2, 2, 2, 2, 0, 0) else _rows if long_rows else _direct
        sized(kernel, x.size, few=400_000)(x, windows, y, indices)

    return _pool(run, x, size, stride, padding, return_indices, out)


def _pool(run, x, size, stride, padding, return_indices, out):
    x, windows, shape = check_windows(x, size, stride, padding)
    y = result_like(out, shape, x.dtype, x=x)
    indices = np.empty(shape, np.int64)
    run(planes(x), windows, y.reshape(-1, *shape[2:]), indices.reshape(-1, *shape[2:]))
    y = deliver(y, out)
    return (y, indices) if return_indices else y


# ------------------------------------------------------------------------------------------ the way back


def max_pool2d_backward_reference(gradient, indices, shape, out=None):
    """Return the gradient to an input of `shape`: what each maximum is given goes where it was.

    Parameters
    ----------
    gradient : array_like of shape (N, C, P, Q), float32 or float64
    indices : array of the same shape, int64
        What `max_pool2d` returned.
    shape : tuple (N, C, H, W)
        The input's.
    out : array of that shape, optional

    Raises
    ------
    TypeError
        If `indices` does not hold int64, and as `max_pool2d` does.
    ValueError
        If `indices` has another shape than `gradient`, or points outside the image.
    """
    gradient, indices, shape = check_backward_max(gradient, indices, shape)
    check_out("out", out, shape, gradient.dtype, gradient=gradient)
    result = np.zeros((shape[0] * shape[1], shape[2] * shape[3]), gradient.dtype)
    np.add.at(
        result,
        (np.arange(len(result))[:, None], indices.reshape(len(result), -1)),
        planes(gradient).reshape(len(result), -1),
    )
    return deliver(result.reshape(shape), out)


@njit(**PARALLEL)
def _scatter(gradient, indices, result):
    for p in prange(gradient.shape[0]):
        image = result[p]
        image[:] = 0
        for j in range(gradient.shape[1]):
            image[np.uint64(indices[p, j])] += gradient[p, j]


def max_pool2d_backward(gradient, indices, shape, out=None):
    """Return the gradient to the input; arguments and errors as for `max_pool2d_backward_reference`."""
    gradient, indices, shape = check_backward_max(gradient, indices, shape)
    result = result_like(out, shape, gradient.dtype, gradient=gradient)
    count = shape[0] * shape[1]
    flat = [np.ascontiguousarray(array).reshape(count, -1) for array in (gradient, indices)]
    sized(_scatter, result.size, few=400_000)(*flat, result.reshape(count, -1))
    return deliver(result, out)
