"""Convolution and its gradients as plain loops, compiled: the definition, and nothing done for speed."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from minidl.kernels.compiling import PARALLEL
from minidl.kernels.conv.reference import (
    checked_backward_input,
    checked_backward_weight,
    checked_forward,
    padded,
    without_padding,
)


def conv2d_numba_loops(x, w, bias=None, stride=1, padding=0, out=None):
    """Rung 3: the loops of the definition, compiled, images and filters shared by all cores."""
    x, w, bias, geometry, out = checked_forward(x, w, bias, stride, padding, out)
    bias = np.zeros(geometry.filters, x.dtype) if bias is None else bias
    _forward(padded(x, geometry), w, bias, *geometry.stride, out)
    return out


@njit(**PARALLEL)
def _forward(x, w, bias, down, across, out):
    images, filters, height, width = out.shape
    for pair in prange(images * filters):
        n, o = pair // filters, pair % filters
        for i in range(height):
            for j in range(width):
                total = bias[o]
                for c in range(w.shape[1]):
                    for kh in range(w.shape[2]):
                        for kw in range(w.shape[3]):
                            total += w[o, c, kh, kw] * x[n, c, i * down + kh, j * across + kw]
                out[n, o, i, j] = total


def conv2d_backward_input_numba_loops(gradient, w, shape, stride=1, padding=0, out=None):
    """Every output hands its gradient back to the pixels it came from; images are shared by all cores."""
    gradient, w, geometry, out = checked_backward_input(gradient, w, shape, stride, padding, out)
    total = padded(np.zeros(out.shape, out.dtype), geometry)
    _backward_input(gradient, w, *geometry.stride, total)
    out[...] = without_padding(total, geometry)
    return out


@njit(**PARALLEL)
def _backward_input(gradient, w, down, across, x):
    images, filters, height, width = gradient.shape
    for n in prange(images):  # two outputs may share a pixel, two images share none
        for o in range(filters):
            for i in range(height):
                for j in range(width):
                    g = gradient[n, o, i, j]
                    for c in range(w.shape[1]):
                        for kh in range(w.shape[2]):
                            for kw in range(w.shape[3]):
                                x[n, c, i * down + kh, j * across + kw] += g * w[o, c, kh, kw]


def conv2d_backward_weight_numba_loops(gradient, x, shape, stride=1, padding=0, out=None):
    """Every weight collects the gradients of all outputs, times the pixel it met there."""
    gradient, x, geometry, out = checked_backward_weight(gradient, x, shape, stride, padding, out)
    _backward_weight(gradient, padded(x, geometry), *geometry.stride, out)
    return out


@njit(**PARALLEL)
def _backward_weight(gradient, x, down, across, w):
    filters, channels = w.shape[:2]
    images, _, height, width = gradient.shape
    for pair in prange(filters * channels):
        o, c = pair // channels, pair % channels
        for kh in range(w.shape[2]):
            for kw in range(w.shape[3]):
                total = w.dtype.type(0)
                for n in range(images):
                    for i in range(height):
                        for j in range(width):
                            total += gradient[n, o, i, j] * x[n, c, i * down + kh, j * across + kw]
                w[o, c, kh, kw] = total
