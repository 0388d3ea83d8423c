"""Convolution as a matrix product: im2col lays out, for every output, the pixels it is computed from.

    columns = im2col(x, 3, padding=1)       # (N, C·3·3, OH·OW)
    y = w.reshape(O, C·3·3) @ columns       # (N, O, OH·OW)

Every pixel is copied once for each tap of the kernel, nine times for 3×3; in return the arithmetic is a
BLAS's (K. Chellapilla, S. Puri & P. Simard, "High performance convolutional neural networks for document
processing", 2006). The columns of a whole batch can take gigabytes, so they are made and used in slices of
`COLUMN_BYTES`.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from minidl.kernels.arguments import check_floats
from minidl.kernels.compiling import PARALLEL, SERIAL
from minidl.kernels.conv.geometry import Geometry, check_on_cpu, check_pair, check_shape, geometry_of
from minidl.kernels.conv.reference import (
    checked_backward_input,
    checked_backward_weight,
    checked_forward,
    padded,
    taps,
)
from minidl.kernels.matmul import matmul

COLUMN_BYTES = 8 << 20  # most memory for columns, unless one row of one output needs more

# ----------------------------------------------------------------------------------- im2col and col2im


def im2col(x, kernel, stride=1, padding=0):
    """Return, for every output of a convolution, the pixels it is computed from, as a column.

    Parameters
    ----------
    x : array_like of shape (N, C, H, W), float32 or float64
    kernel : int or pair of int
        Its height and width.
    stride, padding : int or pair of int
        As in `conv2d`.

    Returns
    -------
    array of shape (N, C·KH·KW, OH·OW) and x's dtype
        Row (c·KH + kh)·KW + kw has what the tap (kh, kw) meets in channel c.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.
    """
    check_on_cpu("the CUDA rungs of conv2d", x=x)
    x = check_floats("x", x, ndim=4)
    geometry = geometry_of(x.shape, (1, x.shape[1], *check_pair("kernel", kernel, 1)), stride, padding)
    x = np.require(x, requirements="CA")
    columns = np.empty((len(x), x.shape[1], *geometry.kernel, 1, *geometry.out), x.dtype)
    for n in range(len(x)):
        _im2col(x[n : n + 1], *geometry.stride, *geometry.padding, 0, columns[n])
    return columns.reshape(len(x), -1, geometry.out[0] * geometry.out[1])


def col2im(columns, shape, kernel, stride=1, padding=0):
    """Add every column up to the pixels it came from: the transpose of `im2col`.

    Parameters
    ----------
    columns : array_like of shape (N, C·KH·KW, OH·OW), float32 or float64
    shape : tuple of int
        Shape (N, C, H, W) of the result.
    kernel, stride, padding : int or pair of int
        As in `im2col`.

    Returns
    -------
    array of shape `shape` and columns' dtype

    Raises
    ------
    TypeError, ValueError
        As `conv2d`, and ValueError if the columns have another shape.
    """
    check_on_cpu("conv2d_backward_input_cuda", columns=columns)
    columns, shape = check_floats("columns", columns, ndim=3), check_shape(shape)
    kernel = check_pair("kernel", kernel, 1)
    geometry = geometry_of(shape, (1, shape[1], *kernel), stride, padding)
    expected = (shape[0], shape[1] * kernel[0] * kernel[1], geometry.out[0] * geometry.out[1])
    if columns.shape != expected:
        raise ValueError(f"columns must have shape {expected}, got {columns.shape}")
    out = np.zeros(shape, columns.dtype)
    columns = np.require(columns, requirements="CA").reshape(*shape[:2], *kernel, 1, *geometry.out)
    for n in range(len(out)):
        _col2im(columns[n], *geometry.stride, *geometry.padding, out[n : n + 1])
    return out


# Below the images come fourth: columns (C, KH, KW, N, OH, OW) are one matrix (C·KH·KW, N·OH·OW) for all.


@njit(**PARALLEL)
def _im2col(x, down, across, above, before, top, columns):
    """Fill columns for the output's rows from `top` on."""
    images, channels, height, width = x.shape
    _, kernel_height, kernel_width, _, rows, places = columns.shape
    for pair in prange(images * channels):
        n, c = pair // channels, pair % channels
        for kh in range(kernel_height):
            for kw in range(kernel_width):
                y, shift = top * down + kh - above, kw - before
                target = columns[c, kh, kw, n]
                if down == across == 1 and places == width:  # as large as the image: the whole of it, shifted
                    fetch(x[n, c].reshape(-1), y * width + shift, 1, target.reshape(-1))
                    for i in range(rows):  # where the end of one row has come before the next
                        for j in range(min(-shift, width)):
                            target[i, j] = 0
                        for j in range(max(width - shift, 0), width):
                            target[i, j] = 0
                else:
                    for i in range(rows):
                        if 0 <= y + i * down < height:
                            fetch(x[n, c, y + i * down], shift, across, target[i])
                        else:
                            target[i] = 0


@njit(**PARALLEL)
def _col2im(columns, down, across, above, before, x):
    images, channels, height, _ = x.shape
    _, kernel_height, kernel_width, _, rows, _ = columns.shape
    for pair in prange(images * channels):
        n, c = pair // channels, pair % channels
        for kh in range(kernel_height):
            for kw in range(kernel_width):
                for i in range(rows):
                    y = i * down + kh - above
                    if 0 <= y < height:
                        _add_back(columns[c, kh, kw, n, i], kw - before, across, x[n, c, y])


@njit(**SERIAL)
def fetch(row, first, step, target):
    """target[j] = row[first + j·step], or 0 where that is outside of the row."""
    start, stop = inside(row.size, first, step, target.size)
    target[:start] = 0
    target[stop:] = 0
    if start < stop:
        row, target = row[first + start * step :], target[start:stop]
        if step == 1:
            for j in range(np.uint64(target.size)):
                target[j] = row[j]
        else:
            for j in range(np.uint64(target.size)):
                target[j] = row[j * np.uint64(step)]


@njit(**SERIAL)
def _add_back(source, first, step, row):
    """row[first + j·step] += source[j], where that is inside of the row."""
    start, stop = inside(row.size, first, step, source.size)
    if start < stop:
        row, source = row[first + start * step :], source[start:stop]
        if step == 1:
            for j in range(np.uint64(source.size)):
                row[j] += source[j]
        else:
            for j in range(np.uint64(source.size)):
                row[j * np.uint64(step)] += source[j]


@njit(**SERIAL)
def inside(size, first, step, count):
    """Return the range of j < count for which 0 <= first + j·step < size."""
    if step == 1:
        start, stop = -first, size - first
    else:
        start, stop = (step - 1 - first) // step, (size - first + step - 1) // step
    start = min(max(0, start), count)
    return start, max(start, min(stop, count))


# ------------------------------------------------------------------------------------------- the rungs


def conv2d_im2col_numpy(x, w, bias=None, stride=1, padding=0, out=None):
    """Rung 4: columns copied by NumPy, one tap of the kernel at a time, and a BLAS."""
    return forward(*checked_forward(x, w, bias, stride, padding, out), fill=_fill_with_numpy)


def conv2d_im2col_numba(x, w, bias=None, stride=1, padding=0, out=None):
    """Rung 5: columns copied by a compiled loop, on all cores."""
    return forward(*checked_forward(x, w, bias, stride, padding, out))


def conv2d_backward_input_im2col(gradient, w, shape, stride=1, padding=0, out=None):
    """The gradient to the columns is a matrix product; col2im adds it up to the gradient to x."""
    return backward_input(*checked_backward_input(gradient, w, shape, stride, padding, out))


def conv2d_backward_weight_im2col(gradient, x, shape, stride=1, padding=0, out=None):
    """The gradient to the weights is a matrix product with the columns, which are made again for it."""
    return backward_weight(*checked_backward_weight(gradient, x, shape, stride, padding, out))


def _fill_with_numpy(columns, x, geometry, rows):
    for kh, kw, pixels in taps(padded(x, geometry), geometry):
        columns[:, kh, kw] = pixels[:, :, rows].transpose(1, 0, 2, 3)


def _fill_with_numba(columns, x, geometry, rows):
    _im2col(x, *geometry.stride, *geometry.padding, rows.start, columns)


def forward(x, w, bias, geometry, out, fill=_fill_with_numba):
    """`conv2d_im2col_numba` of arguments that have been checked."""
    x, weights = np.require(x, requirements="CA"), w.reshape(len(w), -1)
    bias = np.zeros(len(w), w.dtype) if bias is None else bias
    for images, rows, columns in _slices(geometry, x.dtype):
        fill(columns, x[images], geometry, rows)
        y = matmul(weights, _flat(columns)).reshape(len(w), *columns.shape[3:])  # (O, N, OH, OW)
        with np.errstate(all="ignore"):
            np.add(y.transpose(1, 0, 2, 3), bias[:, None, None], out=out[images, :, rows])
    return out


def backward_input(gradient, w, geometry, out):
    """`conv2d_backward_input_im2col` of arguments that have been checked."""
    result = out if out.flags.c_contiguous else np.empty_like(out, order="C")
    result[...] = 0
    (down, across), (above, before) = geometry.stride, geometry.padding
    weights = w.reshape(len(w), -1).T  # (C·KH·KW, O)
    for images, rows, columns in _slices(geometry, w.dtype):
        matmul(weights, _by_filter(gradient[images, :, rows]), out=_flat(columns))
        _col2im(columns, down, across, above - rows.start * down, before, result[images])
    if result is not out:
        out[...] = result
    return out


def backward_weight(gradient, x, geometry, out):
    """`conv2d_backward_weight_im2col` of arguments that have been checked."""
    x, total = np.require(x, requirements="CA"), 0
    with np.errstate(all="ignore"):
        for images, rows, columns in _slices(geometry, x.dtype):
            _fill_with_numba(columns, x[images], geometry, rows)
            total = total + matmul(_by_filter(gradient[images, :, rows]), _flat(columns).T)
    out[...] = total.reshape(out.shape)
    return out


def _slices(geometry: Geometry, dtype):
    """Yield parts of the work: a slice of the images, one of the output's rows, memory for their columns."""
    height, width = geometry.out
    per_row = geometry.channels * geometry.kernel[0] * geometry.kernel[1] * width
    most = max(1, COLUMN_BYTES // (per_row * np.dtype(dtype).itemsize))  # rows
    most_rows, most_images = min(height, most), min(geometry.images, max(1, most // height))
    memory = np.empty(most_images * most_rows * per_row, dtype)
    for n in range(0, geometry.images, most_images):
        for top in range(0, height, most_rows):
            images, rows = min(most_images, geometry.images - n), min(most_rows, height - top)
            shape = geometry.channels, *geometry.kernel, images, rows, width
            columns = memory[: images * rows * per_row].reshape(shape)
            yield slice(n, n + images), slice(top, top + rows), columns


def _flat(columns):
    """(C, KH, KW, N, OH, OW) → (C·KH·KW, N·OH·OW)."""
    channels, kh, kw = columns.shape[:3]
    return columns.reshape(channels * kh * kw, -1)


def _by_filter(gradient):
    """(N, O, OH, OW) → (O, N·OH·OW)."""
    return gradient.transpose(1, 0, 2, 3).reshape(gradient.shape[1], -1)
