"""What both graphs share: values that know, when one computes with them, what was done to what."""

from __future__ import annotations

import numpy as np

from minidl import ops


class GradientError(RuntimeError, ValueError):
    """Raised when a backward pass is asked for what it cannot give; the message says why."""


class NotANumber(FloatingPointError):
    """Raised inside `detect_nan` by the first operation that makes a NaN out of numbers; names it."""


class Value:
    """A value in a graph: a `Tensor`, which has its numbers, or a `static.Node`, which will.

    The operators are defined here, once, over the operations of `minidl.ops`. What doing an operation means
    is left to the two kinds: a tensor computes at once, a node only makes the next node. Both say it in
    `_apply`.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that array * value asks the value

    @staticmethod
    def _apply(op, *inputs, **params):
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------ arithmetic

    def __add__(self, other):
        return self._apply(ops.add, self, alike(other, self))

    def __radd__(self, other):
        return self._apply(ops.add, alike(other, self), self)

    def __sub__(self, other):
        return self._apply(ops.subtract, self, alike(other, self))

    def __rsub__(self, other):
        return self._apply(ops.subtract, alike(other, self), self)

    def __mul__(self, other):
        return self._apply(ops.multiply, self, alike(other, self))

    def __rmul__(self, other):
        return self._apply(ops.multiply, alike(other, self), self)

    def __truediv__(self, other):
        return self._apply(ops.divide, self, alike(other, self))

    def __rtruediv__(self, other):
        return self._apply(ops.divide, alike(other, self), self)

    def __pow__(self, other):
        if isinstance(other, (int, float)) and not isinstance(other, bool):
            if other == 2:
                return self._apply(ops.square, self)
            exponent = int(other) if other == int(other) else other
            return self._apply(ops.power, self, exponent=exponent)
        return self._apply(ops.power_of, self, alike(other, self))

    def __rpow__(self, other):
        return self._apply(ops.power_of, alike(other, self), self)

    def __matmul__(self, other):
        return self._apply(ops.matmul, self, alike(other, self))

    def __rmatmul__(self, other):
        return self._apply(ops.matmul, alike(other, self), self)

    def __neg__(self):
        return self._apply(ops.negative, self)

    def __abs__(self):
        return self._apply(ops.absolute, self)

    # ------------------------------------------------------------------------------------------ comparison

    def __lt__(self, other):
        return self._apply(ops.less, self, alike(other, self))

    def __le__(self, other):
        return self._apply(ops.less_equal, self, alike(other, self))

    def __gt__(self, other):
        return self._apply(ops.greater, self, alike(other, self))

    def __ge__(self, other):
        return self._apply(ops.greater_equal, self, alike(other, self))

    # ------------------------------------------------------------------------------- functions of one value

    def exp(self):
        """e to the power of every element."""
        return self._apply(ops.exp, self)

    def log(self):
        """The natural logarithm of every element."""
        return self._apply(ops.log, self)

    def sqrt(self):
        """The square root of every element."""
        return self._apply(ops.sqrt, self)

    def tanh(self):
        """The hyperbolic tangent of every element."""
        return self._apply(ops.tanh, self)

    def sigmoid(self):
        """1 / (1 + exp(-x)) of every element."""
        return self._apply(ops.sigmoid, self)

    def relu(self):
        """Every element, or 0 where it is negative."""
        return self._apply(ops.relu, self)

    def abs(self):
        """Every element without its sign."""
        return self._apply(ops.absolute, self)

    # ------------------------------------------------------------------------------------------ reductions

    def sum(self, axis=None, keepdims=False):
        """Add up all elements, or those along one axis or several."""
        return self._apply(ops.reduce_sum, self, axis=axis, keepdims=keepdims)

    def mean(self, axis=None, keepdims=False):
        """Average all elements, or those along one axis or several."""
        return self._apply(ops.reduce_mean, self, axis=axis, keepdims=keepdims)

    def max(self, axis=None, keepdims=False):
        """Find the largest element; several equal ones share the gradient."""
        return self._apply(ops.reduce_max, self, axis=axis, keepdims=keepdims)

    def min(self, axis=None, keepdims=False):
        """Find the smallest element; several equal ones share the gradient."""
        return self._apply(ops.reduce_min, self, axis=axis, keepdims=keepdims)

    # ---------------------------------------------------------------------------------------------- shapes

    def reshape(self, *shape):
        """Put the same numbers into another shape; one dimension may be -1, which is worked out."""
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return self._apply(ops.reshape, self, shape=tuple(shape))

    def transpose(self, *axes):
        """Put the axes in another order, as in NumPy: by default, in reverse."""
        axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        return self._apply(ops.transpose, self, axes=tuple(axes) or None)

    @property
    def T(self):
        """The axes in reverse order: a matrix's transpose."""
        return self.transpose()

    def broadcast_to(self, *shape):
        """Repeat along axes of length 1, and along new ones in front, up to a shape."""
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return self._apply(ops.broadcast_to, self, shape=tuple(shape))

    def __getitem__(self, index):
        return self._apply(ops.getitem, self, index=plain_index(index))

    @property
    def ndim(self):
        """How many dimensions there are."""
        return len(self.shape)

    def __len__(self):
        if not self.shape:
            raise TypeError("a value without dimensions has no length")
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))


def alike(other, value):
    """Return what stands beside `value` in an operator; what is no array of floats takes its dtype.

    So 2 * x has the dtype of x, whichever that is, and so has x times a list, or an array of integers.
    """
    if isinstance(other, Value):
        if other is value:
            return other
        takes = other.dtype.kind != "f" and value.dtype.kind == "f"
        return other.astype(value.dtype) if takes else other
    dtype = value.dtype
    if isinstance(other, (int, float)) and dtype.kind == "f":
        return np.array(other, dtype)
    if other is None or isinstance(other, (str, bytes)):
        raise TypeError(f"cannot compute with {other!r}")
    array = other if isinstance(other, np.ndarray) else np.asarray(other)
    weak = array.dtype.kind in "biu" or not isinstance(other, np.ndarray)
    return array.astype(dtype) if weak and dtype.kind == "f" else array


def plain_index(index):
    """Return an index with the values of tensors in it taken out, as NumPy wants it."""
    if isinstance(index, tuple):
        return tuple(plain_index(part) for part in index)
    if isinstance(index, list):
        return np.asarray(index)
    return index.numpy() if isinstance(index, Value) else index
