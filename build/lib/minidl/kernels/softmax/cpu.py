"""Softmax on the CPU, rung by rung, and its gradient."""

import math

import numpy as np
from numba import njit, prange

from minidl.kernels.compiling import ONE, PARALLEL, REORDER, SERIAL, ZERO, on_one_thread
from minidl.kernels.exponential import exp
from minidl.kernels.reduce import largest
from minidl.kernels.softmax.rows import on_rows


def softmax_reference(x, axis=-1, out=None):
    """Return exp(x) / Σ exp(x) along `axis`, computed in float64 and rounded once at the end.

    Every rung below takes these arguments and raises these errors, before it writes anything.

    Parameters
    ----------
    x : array_like, float32 or float64, with at least one dimension
    axis : int
        The axis along which the result sums to 1. Any other than the last is moved there, at the cost of
        a copy.
    out : array of x's shape and dtype, optional
        Receives the result; it may be `x` itself.

    Returns
    -------
    array of x's shape and dtype
        A row that holds NaN, +inf, or nothing but -inf becomes NaN; -inf among other numbers becomes 0.

    Raises
    ------
    TypeError
        If `x` does not hold float32 or float64, `axis` is no integer, or `out` has another dtype.
    ValueError
        If `x` is empty or has no dimension, `axis` is not one of its axes, or `out` has another shape or
        shares only a part of its memory with `x`.
    """

    def run(x, y):
        with np.errstate(invalid="ignore"):  # inf - inf is NaN, and that is the right answer
            wide = x.astype(np.float64)
            e = np.exp(wide - wide.max(axis=1, keepdims=True))
            y[...] = e / e.sum(axis=1, keepdims=True)

    return on_rows(run, axis, out, x=x)


def softmax_python(x, axis=-1, out=None):
    """Rung 2: three loops over each row."""

    def run(x, y):
        for row, result in zip(x.tolist(), y, strict=True):
            top = row[0]
            for value in row:
                top = value if value > top else top
            total = 0.0
            for value in row:
                total += math.exp(value - top)
            for j, value in enumerate(row):
                result[j] = math.exp(value - top) / total

    return on_rows(run, axis, out, x=x)


def softmax_numpy(x, axis=-1, out=None):
    """Rung 3: whole-array steps in x's own dtype, the last ones in place."""

    def run(x, y):
        with np.errstate(invalid="ignore"):
            np.subtract(x, x.max(axis=1, keepdims=True), out=y)
            np.exp(y, out=y)
            y /= y.sum(axis=1, keepdims=True)

    return on_rows(run, axis, out, x=x)


@njit(**SERIAL)
def _three_passes(x, y):
    for i in range(x.shape[0]):
        top = x[i, 0]
        for j in range(x.shape[1]):
            top = max(top, x[i, j])
        total = ZERO
        for j in range(x.shape[1]):
            total += math.exp(x[i, j] - top)
        for j in range(x.shape[1]):
            y[i, j] = math.exp(x[i, j] - top) / total


def softmax_three_passes(x, axis=-1, out=None):
    """Rung 4: maximum, sum, division, compiled."""
    return on_rows(_three_passes, axis, out, x=x)


@njit(**SERIAL)
def _online(x, y):
    for i in range(x.shape[0]):
        top, total = x[i, 0], ONE
        for j in range(1, x.shape[1]):
            v = x[i, j]
            if v > top:
                total = total * math.exp(top - v) + ONE
                top = v
            elif v == top:
                total += ONE  # exp(v - top), also where both are -inf
            else:
                total += math.exp(v - top)
        total += top - top  # NaN, where the largest is infinite
        for j in range(x.shape[1]):
            y[i, j] = math.exp(x[i, j] - top) / total


def softmax_online(x, axis=-1, out=None):
    """Rung 5: maximum and sum in one pass, the sum corrected whenever the maximum grows."""
    return on_rows(_online, axis, out, x=x)


@njit(**REORDER)
def _exponentials(x, top, y):
    total = ZERO
    for j in range(x.size):
        y[j] = exp(x[j] - top)
        total += y[j]
    return total


@njit(**PARALLEL)
def _rows(x, y):
    for i in prange(x.shape[0]):
        total = _exponentials(x[i], largest(x[i]), y[i])
        scale = ONE / total
        for j in range(x.shape[1]):
            y[i, j] *= scale


def softmax_vector(x, axis=-1, out=None):
    """Rung 6: the exponentials are kept, and computed a vector register at a time, while the row is in L1."""
    return on_rows(on_one_thread(_rows), axis, out, x=x)


def softmax(x, axis=-1, out=None):
    """Return exp(x) / Σ exp(x) along `axis`: the best rung on the CPU, rows shared by all cores.

    Parameters, result and errors are those of `softmax_reference`.

    Example
    -------
    >>> softmax(np.float32([[0, 0], [1000, 0]]))
    array([[0.5, 0.5],
           [1. , 0. ]], dtype=float32)
    """
    return on_rows(_rows, axis, out, few=300_000, x=x)


@njit(**REORDER)
def _dot(a, b):
    total = ZERO
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@njit(**PARALLEL)
def _rows_backward(gradient, y, result):
    for i in prange(y.shape[0]):
        mean = _dot(gradient[i], y[i])
        for j in range(y.shape[1]):
            result[i, j] = y[i, j] * (gradient[i, j] - mean)


def softmax_backward(gradient, y, axis=-1, out=None):
    """Return the gradient to the input of y = softmax(x): y·(gradient - Σ gradient·y)."""
    return on_rows(_rows_backward, axis, out, few=1_000_000, gradient=gradient, y=y)


def softmax_backward_reference(gradient, y, axis=-1, out=None):
    """`softmax_backward` in float64, rounded once at the end."""

    def run(gradient, y, result):
        wide = y.astype(np.float64)
        result[...] = wide * (gradient - (gradient * wide).sum(axis=1, keepdims=True))

    return on_rows(run, axis, out, gradient=gradient, y=y)
