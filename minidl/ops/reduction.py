"""Reductions: many elements become one, along some axes or all; the way back hands its gradient to each."""

from __future__ import annotations

import numpy as np

from minidl.ops.op import Op, normalise_axis, size


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


def _expanded(reduced, shape, axis):
    """View `reduced` with the axes that a reduction removed put back, each of length 1."""
    axes = normalise_axis(axis, len(shape))
    return reduced.reshape([1 if i in axes else n for i, n in enumerate(shape)])


class Sum(Reduction):
    """y = Σ x, so that every element's derivative is 1: the gradient is copied to each."""

    name = "sum"

    def forward(self, x, out=None, axis=None, keepdims=False):
        """Keep nothing but the shape."""
        return np.add.reduce(x, axis=axis, keepdims=keepdims, out=out), (x.shape,)

    def vjp(self, g, saved, needs, axis=None, keepdims=False):
        """Repeat the gradient along the axes that were summed."""
        (shape,) = saved
        gradient = np.empty(shape, g.dtype)
        gradient[...] = _expanded(g, shape, axis)
        return (gradient,)


class Mean(Reduction):
    """y = Σ x / n: the gradient is shared out."""

    name = "mean"

    def forward(self, x, out=None, axis=None, keepdims=False):
        """Keep nothing but the shape."""
        if x.size == 0:
            raise ValueError(f"mean of no elements: shape {x.shape}")
        return np.mean(x, axis=axis, keepdims=keepdims, out=out), (x.shape,)

    def vjp(self, g, saved, needs, axis=None, keepdims=False):
        """Repeat the gradient, divided by how many were averaged."""
        (shape,) = saved
        gradient = np.empty(shape, g.dtype)
        gradient[...] = _expanded(g / (size(shape) // g.size), shape, axis)
        return (gradient,)


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
        winners = x == _expanded(y, x.shape, axis)
        count = np.add.reduce(winners, axis=normalise_axis(axis, x.ndim), keepdims=True, dtype=x.dtype)
        return (np.where(winners, _expanded(g, x.shape, axis) / np.maximum(count, 1), 0),)


reduce_sum = Sum()
reduce_mean = Mean()
reduce_max = Extreme("max", np.maximum)
reduce_min = Extreme("min", np.minimum)
