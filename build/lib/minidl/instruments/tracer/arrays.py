"""Arrays as a kernel sees them: NumPy views that know their name, their memory and their place in it."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import numpy as np

from minidl.instruments.tracer.values import poison

GLOBAL, SHARED, LOCAL, CONSTANT = "global", "shared", "local", "constant"


class UnsupportedKernel(NotImplementedError):
    """Raised when a kernel uses something that the tracer (or CUDA) does not have; the message names it."""


@dataclass(frozen=True)
class ArrayRow:
    """What a trace remembers of an argument or of one block's shared array."""

    name: str
    space: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # bytes
    dtype: str
    start: int  # bytes from the array's lowest byte to its element 0
    region: int  # arrays that share memory share a region
    address: int  # of the lowest byte, to compare the arrays of one region
    block: int  # that a shared array belongs to; -1 for global memory

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return np.dtype(self.dtype).itemsize

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def offsets(self) -> np.ndarray:
        """Byte offset of every element from the lowest byte of the array, in the order of their indices."""
        offsets = np.array([self.start], np.int64)
        for length, stride in zip(self.shape, self.strides, strict=True):
            offsets = (offsets[:, None] + np.arange(length) * stride).ravel()
        return offsets

    def index(self, cell: int) -> int | tuple[int, ...]:
        """Return the index of the element at a byte offset: an int in one dimension, else a tuple of ints."""
        left, index = cell - self.start, [0] * len(self.shape)
        for axis in sorted(range(len(self.shape)), key=lambda axis: -abs(self.strides[axis])):
            if self.strides[axis]:
                index[axis] = left // self.strides[axis]
                left -= index[axis] * self.strides[axis]
        return index[0] if len(index) == 1 else tuple(index)

    def element(self, index) -> str:
        """Return "a[3]" or "a[3, 4]"."""
        return f"{self.name}[{', '.join(map(str, index)) if isinstance(index, tuple) else index}]"


class Array:
    """An array inside a kernel.

    Attributes
    ----------
    values : ndarray
        The values themselves; a view of the caller's array for an argument.
    name : str
        Parameter name, or the variable that a shared or local array was assigned to.
    row : int
        Number of its `ArrayRow`, shared by the views of one array; -1 for a local array, which is not
        recorded.
    base : int
        Address of the lowest byte of the array that this is a view of.
    start : int
        Bytes from there to this view's element 0.
    written : set of int or None
        Local arrays: the cells that have been written.
    """

    __slots__ = ("base", "dtype", "name", "ndim", "plain", "row", "shape", "space", "start", "strides")
    __slots__ += ("values", "written")

    def __init__(self, values, name, space, row=-1, base=None, written=None):
        self.values = values
        self.name, self.space, self.row = name, space, row
        self.shape, self.strides, self.ndim, self.dtype = (
            values.shape,
            values.strides,
            values.ndim,
            values.dtype,
        )
        self.base = lowest_byte(values) if base is None else base
        self.start = first_byte(values) - self.base
        self.plain = (
            values.dtype.kind in "fc"
        )  # NumPy's scalars of this type are numbers as a kernel holds them
        self.written = set() if space == LOCAL and written is None else written

    size = property(lambda self: self.values.size)
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.values.nbytes)
    T = property(lambda self: self.view(self.values.T))

    def __len__(self):
        return self.shape[0]

    def __iter__(self):
        raise UnsupportedKernel(f"unpacking the array {self.name}")

    def __bool__(self):
        raise UnsupportedKernel(f"the array {self.name} as a condition")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnsupportedKernel(
            f"{self.name}.{name} (of an array there are shape, strides, size, ndim, dtype, T)"
        )

    def view(self, values) -> Array:
        """Return another view of the same memory."""
        return Array(values, self.name, self.space, self.row, self.base, self.written)

    def place(self, index):
        """Return (index as a tuple, byte offset) of one element, (index, None) of one that is outside.

        Returns (view, None) where the index leaves axes open, as in the first half of `a[i][j]`, and
        (None, None) for a row outside the array.
        """
        if type(index) is tuple and len(index) == self.ndim:
            cell, inside = self.start, True
            for item, length, stride in zip(index, self.shape, self.strides, strict=True):
                if type(item) is not int:
                    break
                cell += item * stride
                if not 0 <= item < length:
                    inside = False
            else:
                return index, cell if inside else None
        return self._place_slowly(index)

    def _place_slowly(self, index):
        if not isinstance(index, tuple):
            index = (index,)
        if len(index) > self.ndim:
            raise IndexError(f"{self.name} has {self.ndim} dimensions, got the index {index}")
        whole, inside, cell, checked = len(index) == self.ndim, True, self.start, []
        for axis, item in enumerate(index):
            if isinstance(item, slice):
                whole = False
            elif item is Ellipsis:
                return self.view(self.values[index]), None
            else:
                if isinstance(item, (float, np.floating)):
                    raise TypeError(f"an index into {self.name} must be an integer, got {item}")
                item = operator.index(item)
                inside &= 0 <= item < self.shape[axis]
                cell += item * self.strides[axis]
            checked.append(item)
        checked = tuple(checked)
        if whole:
            return checked, cell if inside else None
        return (self.view(self.values[checked]) if inside else None), None

    def nowhere(self, index) -> Array:
        """Return what stands for a row outside the array: poison to read, and writes to it are lost."""
        index = index if isinstance(index, tuple) else (index,)
        values = np.full(self.shape[len(index) :], poison(self.dtype), self.dtype)
        return Array(values, self.name, CONSTANT)


def first_byte(values) -> int:
    """Address of element 0."""
    return values.__array_interface__["data"][0]


def lowest_byte(values) -> int:
    """Address of the lowest byte: that of element 0, unless a stride is negative."""
    return np.lib.array_utils.byte_bounds(values)[0]
