"""Arguments of pooling: images and the windows that slide over them, checked."""

from typing import NamedTuple

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels.arguments import check_floats, check_integer, check_out


class Windows(NamedTuple):
    """The size of a window, the steps it takes, and the rim it may stand on; each as rows and columns."""

    rows: int
    columns: int
    down: int
    right: int
    top: int
    left: int


def check_windows(x, size, stride, padding, on_gpu=False):
    """Return x, its `Windows`, and the shape of the result."""
    x = _check_images("x", x, on_gpu)
    windows, shape = place_windows(x.shape, size, stride, padding)
    return x, windows, shape


def _check_images(name, value, on_gpu):
    value = check_floats(name, value, ndim=4)
    if is_on_gpu(value) and not on_gpu:
        raise TypeError(
            f"{name} is in GPU memory: use the function ending in _cuda, or copy it to the host first"
        )
    return value


def place_windows(image, size, stride, padding):
    """Return the `Windows` on images of shape (N, C, H, W), and the shape of the result."""
    rows, columns = _pair("size", size, 1)
    down, right = (rows, columns) if stride is None else _pair("stride", stride, 1)
    top, left = _pair("padding", padding, 0)
    if 2 * top > rows or 2 * left > columns:
        raise ValueError(f"padding must be at most half of size = {size}, got {padding}")
    height, width = image[2:]
    if height + 2 * top < rows or width + 2 * left < columns:
        raise ValueError(f"size must fit into x with its padding, got size {size} for shape {tuple(image)}")
    shape = (*image[:2], (height + 2 * top - rows) // down + 1, (width + 2 * left - columns) // right + 1)
    return Windows(rows, columns, down, right, top, left), shape


def _pair(name, value, low):
    """Rows and columns, from one integer or two."""
    if not isinstance(value, (tuple, list)):
        value = check_integer(name, value, low)
        return value, value
    if len(value) != 2:
        raise ValueError(f"{name} must be an integer or a pair of them, got {value!r}")
    return tuple(check_integer(name, part, low) for part in value)


def _check_gradient(gradient, shape, on_gpu):
    gradient = _check_images("gradient", gradient, on_gpu)
    if tuple(gradient.shape) != tuple(shape):
        raise ValueError(f"gradient must have shape {tuple(shape)}, got {tuple(gradient.shape)}")
    return gradient


def _check_image_shape(shape):
    if not isinstance(shape, (tuple, list)) or len(shape) != 4:
        raise ValueError(f"shape must be four integers (N, C, H, W), got {shape!r}")
    return tuple(check_integer("shape", n, 1) for n in shape)


def check_backward_max(gradient, indices, shape, on_gpu=False):
    """Return the arguments of `max_pool2d_backward`, checked."""
    shape = _check_image_shape(shape)
    if not hasattr(indices, "dtype") or indices.dtype != np.int64:
        raise TypeError(f"indices must hold int64, got {getattr(indices, 'dtype', type(indices).__name__)}")
    gradient = _check_gradient(gradient, indices.shape, on_gpu)
    if gradient.shape[:2] != shape[:2]:
        raise ValueError(f"shape must begin with {gradient.shape[:2]} like the gradient's, got {shape}")
    if is_on_gpu(indices):
        return gradient, indices, shape
    if indices.min() < 0 or indices.max() >= shape[2] * shape[3]:
        raise ValueError(
            f"indices must point into images of {shape[2:]}, got {indices.min()} to {indices.max()}"
        )
    return gradient, indices, shape


def check_backward_avg(gradient, shape, size, stride, padding, on_gpu=False):
    """Return the arguments of `avg_pool2d_backward`, checked."""
    shape = _check_image_shape(shape)
    windows, pooled = place_windows(shape, size, stride, padding)
    return _check_gradient(gradient, pooled, on_gpu), windows, shape


def planes(x):
    """The images of all channels, one after another: (N, C, H, W) to (N·C, H, W), without gaps."""
    return np.ascontiguousarray(x).reshape(-1, *x.shape[2:])


def result_like(out, shape, dtype, **inputs):
    """A contiguous array to compute into: `out`, if it can be that, or a new one."""
    check_out("out", out, shape, dtype, **inputs)
    return out if out is not None and out.flags.c_contiguous else np.empty(shape, dtype)


def deliver(result, out):
    """Copy the result into `out`, where it is another array, and return what the caller asked for."""
    if out is None or out is result:
        return result
    out[...] = result
    return out


def cells_of(x, windows):
    """The elements of each window, side by side, in a copy."""
    rows, columns, down, right, *_ = windows
    view = np.lib.stride_tricks.sliding_window_view(x, (rows, columns), axis=(1, 2))[:, ::down, ::right]
    return view.reshape(*view.shape[:3], rows * columns)


def inside(offset, step, n, count):
    """Of the places i·step + offset, i < count, those inside an axis of n: slices of i, and of the axis."""
    first = max(0, -(offset // step))
    stop = max(first, min(count, (n - 1 - offset) // step + 1))
    start = first * step + offset
    return slice(first, stop), slice(start, start + (stop - first) * step, step)
