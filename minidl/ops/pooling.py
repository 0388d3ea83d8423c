"""Pooling and its opposite: a window of an image becomes one element, or one element a window."""

from __future__ import annotations

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels import pool as kernels
from minidl.ops import gpu
from minidl.ops.op import Op, by_device
from minidl.ops.op import size as count
from minidl.ops.reduction import reduce_sum
from minidl.ops.windows import check_images, pair, slid_image

_max_pool = by_device(kernels.max_pool2d, kernels.max_pool2d_cuda)
_max_pool_backward = by_device(kernels.max_pool2d_backward, kernels.max_pool2d_backward_cuda)
_avg_pool = by_device(kernels.avg_pool2d, kernels.avg_pool2d_cuda)
_avg_pool_backward = by_device(kernels.avg_pool2d_backward, kernels.avg_pool2d_backward_cuda)


class Pool2d(Op):
    """What both poolings share: `size`, `stride` (by default the size) and `padding` of the window."""

    writes_out = True
    runs_on_gpu = True

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


class MaxPool2d(Pool2d):
    """The largest element of each window. The way back goes to that element alone."""

    name = "max_pool2d"

    def forward(self, x, size, stride=None, padding=0, out=None):
        """Keep where each maximum was."""
        y, indices = _max_pool(x, size, stride, padding, return_indices=True, out=out)
        return y, (indices, x.shape)

    def vjp(self, g, saved, needs, size, stride=None, padding=0):
        """Windows may overlap: an element that won several of them collects all their gradients."""
        indices, shape = saved
        return (_max_pool_backward(g, indices, shape),)


class AvgPool2d(Pool2d):
    """The mean of each window, padding counted as zeros, as in PyTorch. The way back is shared out."""

    name = "avg_pool2d"

    def forward(self, x, size, stride=None, padding=0, out=None):
        """Keep nothing but the shape."""
        return _avg_pool(x, size, stride, padding, out=out), (x.shape,)

    def vjp(self, g, saved, needs, size, stride=None, padding=0):
        """Every element of a window gets the same share."""
        return (_avg_pool_backward(g, saved[0], size, stride, padding),)


class Upsample(Op):
    """Each element of an image becomes a block of `scale` by `scale` of them (nearest neighbour)."""

    name = "upsample"
    runs_on_gpu = True

    def forward(self, x, scale):
        """Keep nothing."""
        rows, columns = pair("scale", scale, 1)
        n, c, h, w = x.shape
        if is_on_gpu(x):
            y = gpu.repeat(x.reshape((n, c, h, 1, w, 1)), (n, c, h, rows, w, columns))
            return y.reshape((n, c, h * rows, w * columns)), ()
        y = np.empty((n, c, h, rows, w, columns), x.dtype)
        y[...] = x[:, :, :, None, :, None]
        return y.reshape(n, c, h * rows, w * columns), ()

    def vjp(self, g, saved, needs, scale):
        """The sum over each block."""
        rows, columns = pair("scale", scale, 1)
        n, c, h, w = g.shape
        blocks = g.reshape((n, c, h // rows, rows, w // columns, columns))
        return (reduce_sum.forward(blocks, axis=(3, 5))[0],)

    def shape(self, x, scale):
        """(N, C, H, W) → (N, C, scale·H, scale·W)."""
        check_images("input", x)
        return x[:2] + tuple(n and n * s for n, s in zip(x[2:], pair("scale", scale, 1), strict=True))


max_pool2d = MaxPool2d()
avg_pool2d = AvgPool2d()
upsample = Upsample()
