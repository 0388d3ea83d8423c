"""Pooling and its opposite: a window of an image becomes one element, or one element a window."""

from __future__ import annotations

import numpy as np

from minidl.ops.op import Op
from minidl.ops.op import size as count
from minidl.ops.windows import check_images, pair, slid_image


class Pool2d(Op):
    """What both poolings share: `size`, `stride` (by default the size) and `padding` of the window."""

    def shape(self, x, size, stride=None, padding=0):
        """(N, C, H, W) → (N, C, P, Q)."""
        check_images("input", x)
        window, stride, padding = _geometry(size, stride, padding)
        return x[:2] + slid_image(x, window, stride, padding)

    def flops(self, x, size, stride=None, padding=0):
        """One per element of each window."""
        window, *_ = _geometry(size, stride, padding)
        return count(self.shape(x, size, stride, padding)) * count(window)


def _geometry(size, stride, padding):
    window = pair("size", size, 1)
    stride = window if stride is None else pair("stride", stride, 1)
    padding = pair("padding", padding, 0)
    if any(2 * p > k for p, k in zip(padding, window, strict=True)):
        raise ValueError(f"padding {padding} must be at most half of the window {window}")
    return window, stride, padding


def _taps(size, stride, padding, padded, out):
    """Each offset within the window, with the slices of the padded image that it sees."""
    window, stride, padding = _geometry(size, stride, padding)
    for i in range(window[0]):
        for j in range(window[1]):
            yield (
                i * window[1] + j,
                (
                    Ellipsis,
                    slice(i, i + stride[0] * out[0], stride[0]),
                    slice(j, j + stride[1] * out[1], stride[1]),
                ),
            )


class MaxPool2d(Pool2d):
    """The largest element of each window. The way back goes to that element alone."""

    name = "max_pool2d"

    def forward(self, x, size, stride=None, padding=0):
        """Keep where in its window each maximum was."""
        shape = self.shape(x.shape, size, stride, padding)
        p = pair("padding", padding, 0)
        padded = np.pad(x, ((0, 0), (0, 0), (p[0],) * 2, (p[1],) * 2), constant_values=-np.inf)
        best = np.full(shape, -np.inf, x.dtype)
        where = np.zeros(shape, np.int32)
        for k, tap in _taps(size, stride, padding, padded.shape, shape[2:]):
            better = (padded[tap] > best) | np.isnan(padded[tap])
            best[better], where[better] = padded[tap][better], k
        return best, (where, x.shape)

    def vjp(self, g, saved, needs, size, stride=None, padding=0):
        """Windows may overlap: an element that won several of them collects all their gradients."""
        where, shape = saved
        p = pair("padding", padding, 0)
        gx = np.zeros((*shape[:2], shape[2] + 2 * p[0], shape[3] + 2 * p[1]), g.dtype)
        for k, tap in _taps(size, stride, padding, gx.shape, g.shape[2:]):
            gx[tap] += np.where(where == k, g, 0)
        return (np.ascontiguousarray(gx[:, :, p[0] : p[0] + shape[2], p[1] : p[1] + shape[3]]),)


class AvgPool2d(Pool2d):
    """The mean of each window, padding counted as zeros, as in PyTorch. The way back is shared out."""

    name = "avg_pool2d"

    def forward(self, x, size, stride=None, padding=0):
        """Keep nothing but the shape."""
        shape = self.shape(x.shape, size, stride, padding)
        p = pair("padding", padding, 0)
        padded = np.pad(x, ((0, 0), (0, 0), (p[0],) * 2, (p[1],) * 2))
        y = np.zeros(shape, x.dtype)
        for _, tap in _taps(size, stride, padding, padded.shape, shape[2:]):
            y += padded[tap]
        return y / count(pair("size", size, 1)), (x.shape,)

    def vjp(self, g, saved, needs, size, stride=None, padding=0):
        """Every element of a window gets the same share."""
        (shape,) = saved
        p = pair("padding", padding, 0)
        gx = np.zeros((*shape[:2], shape[2] + 2 * p[0], shape[3] + 2 * p[1]), g.dtype)
        share = g / count(pair("size", size, 1))
        for _, tap in _taps(size, stride, padding, gx.shape, g.shape[2:]):
            gx[tap] += share
        return (np.ascontiguousarray(gx[:, :, p[0] : p[0] + shape[2], p[1] : p[1] + shape[3]]),)


class Upsample(Op):
    """Each element of an image becomes a block of `scale` by `scale` of them (nearest neighbour)."""

    name = "upsample"

    def forward(self, x, scale):
        """Keep nothing."""
        rows, columns = pair("scale", scale, 1)
        n, c, h, w = x.shape
        y = np.empty((n, c, h, rows, w, columns), x.dtype)
        y[...] = x[:, :, :, None, :, None]
        return y.reshape(n, c, h * rows, w * columns), ()

    def vjp(self, g, saved, needs, scale):
        """The sum over each block."""
        rows, columns = pair("scale", scale, 1)
        n, c, h, w = g.shape
        return (g.reshape(n, c, h // rows, rows, w // columns, columns).sum(axis=(3, 5)),)

    def shape(self, x, scale):
        """(N, C, H, W) → (N, C, scale·H, scale·W)."""
        check_images("input", x)
        return x[:2] + tuple(n and n * s for n, s in zip(x[2:], pair("scale", scale, 1), strict=True))


max_pool2d = MaxPool2d()
avg_pool2d = AvgPool2d()
upsample = Upsample()
