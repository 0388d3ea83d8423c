"""What an operation is: what it does to arrays, what it keeps, and how a gradient passes back through it."""

from __future__ import annotations

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels.reduce import reduce_sum_cuda


class Op:
    """One operation on arrays. Both graphs drive every operation through these few methods.

    An operation holds no data: it is made once, and what a call needs is passed in. Parameters such as a
    stride are keyword arguments; arrays are positional. A dimension of None in a shape is one that is not
    known yet.

    Attributes
    ----------
    name : str
        What it is called in pictures and messages.
    pure : bool
        Whether the same arguments always give the same result, so that a call may be shared, folded or
        dropped.
    writes_out : bool
        Whether `forward` can write its result to an array given as `out`.
    runs_on_gpu : bool
        Whether it takes arrays in GPU memory.
    overwrites_gradient : bool
        Whether `vjp` can write the gradient it returns over the one it is given, as `out=g`.
    """

    name = "op"
    pure = True
    writes_out = False
    runs_on_gpu = False
    overwrites_gradient = False

    def forward(self, *arrays, **params):
        """Compute.

        Returns
        -------
        result : array
        saved : tuple
            What `vjp` will need, and nothing else: whatever is in it stays in memory until then.
        """
        raise NotImplementedError(f"{self.name} has no forward pass")

    def vjp(self, g, saved, needs, **params):
        """Carry a gradient back: the vector-Jacobian product.

        Parameters
        ----------
        g : array
            The gradient of the loss with respect to the result; it must not be written to.
        saved : tuple
            What `forward` kept.
        needs : sequence
            For each input, something true if its gradient is wanted.

        Returns
        -------
        gradients : tuple
            One per input, None where it is not wanted. Each is an array of its own, or `g`, or a view of `g`.
            Where an input was broadcast, it may have the result's shape: the graph sums it (see
            `unbroadcast`).
        """
        raise TypeError(f"{self.name} has no gradient")

    def shape(self, *shapes, **params):
        """Return the result's shape; raise ValueError, with the shapes, where `forward` would refuse them."""
        return shapes[0]

    def dtype(self, *dtypes, **params):
        """Return the result's dtype."""
        return np.result_type(*dtypes)

    def flops(self, *shapes, **params):
        """Floating-point operations of one forward pass, a multiply-add counted as two."""
        return 0

    def __call__(self, *arrays, **params):
        """Array in, array out: the result alone, without what is kept for the gradient."""
        return self.forward(*map(np.asarray, arrays), **params)[0]

    def __repr__(self):
        return f"<op {self.name}>"


def by_device(cpu, gpu):
    """Return a function that calls `gpu` if its first argument is in GPU memory, and else `cpu`."""

    def run(array, *arguments, **options):
        return (gpu if is_on_gpu(array) else cpu)(array, *arguments, **options)

    return run


def size(shape):
    """Return the number of elements of an array of this shape; an unknown dimension counts as one."""
    count = 1
    for n in shape:
        count *= 1 if n is None else n
    return count


def broadcast(*shapes):
    """Return the shape that NumPy's broadcasting gives, with None for what is not known.

    An unknown dimension beside a known one other than 1 is taken to be equal to it: `forward` will see.
    """
    result = []
    for dims in zip(*(((1,) * (max(map(len, shapes)) - len(s)) + tuple(s)) for s in shapes), strict=True):
        known = {n for n in dims if n not in (1, None)}
        if len(known) > 1:
            raise ValueError(f"shapes {' and '.join(map(str, shapes))} do not broadcast together")
        result.append(known.pop() if known else (None if None in dims else 1))
    return tuple(result)


def unbroadcast(g, shape):
    """Sum a gradient over the axes along which an input of this shape was repeated."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    repeated = tuple(range(lead)) + tuple(
        lead + i for i, n in enumerate(shape) if n == 1 and g.shape[lead + i] != 1
    )
    return _summed(g, repeated).reshape(shape)


_summed = by_device(np.add.reduce, reduce_sum_cuda)


def normalise_axis(axis, ndim):
    """Return the axes as a tuple of non-negative ints; None means all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    result = []
    for a in axes:
        if isinstance(a, (bool, np.bool_)) or not isinstance(a, (int, np.integer)):
            raise TypeError(f"axis must be an integer or a tuple of them, got {axis!r}")
        if not -ndim <= a < ndim:
            raise ValueError(f"axis {a} is out of range for {ndim} dimensions")
        result.append(int(a) % ndim)
    if len(set(result)) != len(result):
        raise ValueError(f"axis {axis!r} names one axis twice")
    return tuple(result)
