"""Reductions: many elements become one, along some axes or all; the way back hands its gradient to each."""

from __future__ import annotations

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels import reduce as kernels
from minidl.kernels.arguments import FLOATS
from minidl.ops import gpu
from minidl.ops.arithmetic import multiply
from minidl.ops.op import Op, by_device, normalise_axis, size


class Reduction(Op):
    """What all reductions share: `axis` (None for all, an int, or several) and `keepdims`."""

    writes_out = True

    def shape(self, x, axis=None, keepdims=False):
        """Each reduced axis becomes 1, or goes."""
        axes = normalise_axis(axis, len(x))
        return tuple(1 if i in axes else n for i, n in enumerate(x) if keepdims or i not in axes)

    def flops(self, x, axis=None, keepdims=False):
        """One per element."""
        return size(x)


def _repeated(g, shape, axis):
    """Repeat a gradient along the axes that a reduction removed."""
    axes = normalise_axis(axis, len(shape))
    g = g.reshape([1 if i in axes else n for i, n in enumerate(shape)])
    if is_on_gpu(g):
        return gpu.repeat(g, shape)
    gradient = np.empty(shape, g.dtype)
    gradient[...] = g
    return gradient


# From this many elements on, all cores together beat NumPy.
MANY = 1 << 17


def _sum_on_cpu(x, axis, keepdims, out):
    if x.size >= MANY and x.dtype in FLOATS:
        return kernels.reduce_sum(x, axis, keepdims, out)
    return np.add.reduce(x, axis=axis, keepdims=keepdims, out=out)


def _mean_on_cpu(x, axis, keepdims, out):
    if x.size >= MANY and x.dtype in FLOATS:
        return kernels.reduce_mean(x, axis, keepdims, out)
    return np.mean(x, axis=axis, keepdims=keepdims, out=out)


_sum = by_device(_sum_on_cpu, kernels.reduce_sum_cuda)
_mean = by_device(_mean_on_cpu, kernels.reduce_mean_cuda)


class Sum(Reduction):
    """y = Σ x, so that every element's derivative is 1: the gradient is copied to each."""

    name = "sum"
    runs_on_gpu = True

    def forward(self, x, out=None, axis=None, keepdims=False):
        """Keep nothing but the shape."""
        return _sum(x, axis, keepdims, out), (x.shape,)

    def vjp(self, g, saved, needs, axis=None, keepdims=False):
        """Repeat the gradient along the axes that were summed."""
        return (_repeated(g, saved[0], axis),)


class Mean(Reduction):
    """y = Σ x / n: the gradient is shared out."""

    name = "mean"
    runs_on_gpu = True

    def forward(self, x, out=None, axis=None, keepdims=False):
        """Keep nothing but the shape."""
        if x.size == 0:
            raise ValueError(f"mean of no elements: shape {x.shape}")
        return _mean(x, axis, keepdims, out), (x.shape,)

    def vjp(self, g, saved, needs, axis=None, keepdims=False):
        """Repeat the gradient, divided by how many were averaged."""
        (shape,) = saved
        share = g.dtype.type(g.size / size(shape))
        g, _ = multiply.forward(g, share)
        return (_repeated(np.asarray(g) if np.isscalar(g) else g, shape, axis),)


class Extreme(Reduction):
    """The largest or smallest element. Where several are equal, they share the gradient (PyTorch: amax)."""

    def __init__(self, name, ufunc):
        self.name, self.ufunc = name, ufunc

    def forward(self, x, out=None, axis=None, keepdims=False):
        """Keep the input and the result: where they are equal, the gradient goes."""
        if x.size == 0:
            raise ValueError(f"{self.name} of no elements: shape {x.shape}")
        y = self.ufunc.reduce(x, axis=axis, keepdims=keepdims, out=out)
        return y, (x, y)

    def vjp(self, g, saved, needs, axis=None, keepdims=False):
        """Give each gradient to the winners, in equal parts."""
        x, y = saved
        kept = self.shape(x.shape, axis, keepdims=True)
        winners = x == y.reshape(kept)
        count = np.add.reduce(winners, axis=normalise_axis(axis, x.ndim), keepdims=True, dtype=x.dtype)
        return (np.where(winners, g.reshape(kept) / np.maximum(count, 1), 0),)


reduce_sum = Sum()
reduce_mean = Mean()
reduce_max = Extreme("max", np.maximum)
reduce_min = Extreme("min", np.minimum)
