"""What one calls: the best rung on the CPU for the sizes at hand."""

from __future__ import annotations

from minidl.kernels.conv import direct, lowering
from minidl.kernels.conv.reference import (
    checked_backward_input,
    checked_backward_weight,
    checked_forward,
)

FEW = 32  # pixels of output: with fewer, the direct rung's loops over them are too short to be fast


def conv2d(x, w, bias=None, stride=1, padding=0, out=None):
    """Return the convolution of images with filters: cross-correlation, as the frameworks have it.

    Parameters, result and errors are those of `conv2d_reference`: x is (N, C, H, W), w (O, C, KH, KW), the
    result (N, O, OH, OW) with OH = (H + 2·padding - KH) // stride + 1. Stride and padding are integers or
    pairs (vertical, horizontal).

    Example
    -------
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    arguments = checked_forward(x, w, bias, stride, padding, out)
    return _choose(arguments[3]).forward(*arguments)


def conv2d_backward_input(gradient, w, shape, stride=1, padding=0, out=None):
    """Return the gradient to x, of shape `shape`, given the gradient to the output.

    Parameters, result and errors are those of `conv2d_backward_input_reference`. It is also the forward
    direction of a transposed convolution.
    """
    arguments = checked_backward_input(gradient, w, shape, stride, padding, out)
    return _choose(arguments[2]).backward_input(*arguments)


def conv2d_backward_weight(gradient, x, shape, stride=1, padding=0, out=None):
    """Return the gradient to w, of shape `shape`, given the gradient to the output.

    Parameters, result and errors are those of `conv2d_backward_weight_reference`.
    """
    arguments = checked_backward_weight(gradient, x, shape, stride, padding, out)
    return _choose(arguments[2]).backward_weight(*arguments)


def _choose(geometry):
    height, width = geometry.out
    return lowering if height * width < FEW else direct
