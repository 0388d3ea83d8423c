"""What a convolution is asked to do: the checks of its arguments, and the sizes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels.arguments import check_floats, check_integer, check_out


@dataclass(frozen=True)
class Geometry:
    """The sizes of one convolution; every pair is (vertical, horizontal).

    Attributes
    ----------
    images, channels, height, width : int
        x has shape (images, channels, height, width).
    filters : int
        w has shape (filters, channels, *kernel).
    kernel, stride, padding : pair of int
    """

    images: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output: (size + 2·padding - kernel) // stride + 1."""
        sizes = zip((self.height, self.width), self.kernel, self.stride, self.padding, strict=True)
        return tuple((size + 2 * padding - kernel) // stride + 1 for size, kernel, stride, padding in sizes)

    @property
    def x_shape(self):
        """(N, C, H, W)."""
        return self.images, self.channels, self.height, self.width

    @property
    def w_shape(self):
        """(O, C, KH, KW)."""
        return self.filters, self.channels, *self.kernel

    @property
    def y_shape(self):
        """(N, O, OH, OW)."""
        return self.images, self.filters, *self.out


def check_pair(name, value, low):
    """Return `value`, an integer or a pair (vertical, horizontal) of them, as a pair."""
    if isinstance(value, (tuple, list, np.ndarray)):
        if np.shape(value) != (2,):
            raise ValueError(f"{name} must be an integer or a pair of them, got {value!r}")
        return check_integer(f"{name}[0]", value[0], low), check_integer(f"{name}[1]", value[1], low)
    return (check_integer(name, value, low),) * 2


def geometry_of(x_shape, w_shape, stride, padding) -> Geometry:
    """Return the geometry of convolving an array of one shape with a kernel of another.

    Raises
    ------
    TypeError, ValueError
        As `conv2d_reference` says.
    """
    shapes = f"got x {tuple(x_shape)} and w {tuple(w_shape)}"
    stride, padding = check_pair("stride", stride, 1), check_pair("padding", padding, 0)
    if x_shape[1] != w_shape[1]:
        raise ValueError(f"x and w must have the same number of channels (dimension 1), {shapes}")
    for axis, name in ((2, "high"), (3, "wide")):
        if w_shape[axis] > x_shape[axis] + 2 * padding[axis - 2]:
            raise ValueError(f"w is more {name} than x with its padding of {padding}, {shapes}")
    return Geometry(*x_shape, w_shape[0], tuple(w_shape[2:]), stride, padding)


def check_forward(x, w, bias, stride, padding, out):
    """Check the arguments of a forward rung on any device; return (x, w, bias, geometry, out)."""
    x, w = check_floats("x", x, ndim=4), check_floats("w", w, ndim=4)
    _check_same_dtype(x=x, w=w)
    geometry = geometry_of(x.shape, w.shape, stride, padding)
    if bias is not None:
        bias = check_floats("bias", bias, ndim=1)
        _check_same_dtype(x=x, bias=bias)
        if bias.shape != (geometry.filters,):
            raise ValueError(
                f"bias must have shape {(geometry.filters,)}, one value per filter of w {tuple(w.shape)}, "
                f"got {tuple(bias.shape)}"
            )
    inputs = {"x": x, "w": w} | ({} if bias is None else {"bias": bias})
    return x, w, bias, geometry, check_out("out", out, geometry.y_shape, x.dtype, **inputs)


def check_backward_input(gradient, w, shape, stride, padding, out):
    """Check the arguments of a rung for the input's gradient; return (gradient, w, geometry, out)."""
    gradient, w = check_floats("gradient", gradient, ndim=4), check_floats("w", w, ndim=4)
    _check_same_dtype(gradient=gradient, w=w)
    geometry = geometry_of(check_shape(shape), w.shape, stride, padding)
    _check_gradient_shape(gradient, geometry)
    return gradient, w, geometry, check_out("out", out, geometry.x_shape, w.dtype, gradient=gradient, w=w)


def check_backward_weight(gradient, x, shape, stride, padding, out):
    """Check the arguments of a rung for the weights' gradient; return (gradient, x, geometry, out)."""
    gradient, x = check_floats("gradient", gradient, ndim=4), check_floats("x", x, ndim=4)
    _check_same_dtype(gradient=gradient, x=x)
    geometry = geometry_of(x.shape, check_shape(shape), stride, padding)
    _check_gradient_shape(gradient, geometry)
    return gradient, x, geometry, check_out("out", out, geometry.w_shape, x.dtype, gradient=gradient, x=x)


def check_on_cpu(use, **arrays):
    """Raise TypeError if one of the arrays is in GPU memory."""
    for name, array in arrays.items():
        if is_on_gpu(array):
            raise TypeError(f"{name} is in GPU memory: use {use}, or copy it to the host first")


def check_shape(shape):
    """Return `shape`, which must be four positive integers, as a tuple."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 4:
        raise ValueError(f"shape must be four integers, got {shape!r}")
    return tuple(check_integer(f"shape[{axis}]", size, 1) for axis, size in enumerate(shape))


def _check_gradient_shape(gradient, geometry):
    if tuple(gradient.shape) != geometry.y_shape:
        raise ValueError(
            f"gradient must have the output's shape {geometry.y_shape}, which follows from "
            f"x {geometry.x_shape} and w {geometry.w_shape}, got {tuple(gradient.shape)}"
        )


def _check_same_dtype(**arrays):
    (first, a), (second, b) = arrays.items()
    if np.dtype(a.dtype) != np.dtype(b.dtype):
        raise TypeError(f"{first} and {second} must have the same dtype, got {a.dtype} and {b.dtype}")
