"""The memory that a traced kernel reads and writes: arrays with names, bounds, and a record of every access.

An access is one row of `Accesses`: who (thread), when (barrier epoch), from where (source site, loop trip), what
(array, byte offset) and the value. Everything the tracer says later (counts, races, sectors, bank conflicts) is
computed from these rows.
"""

from __future__ import annotations

import math
import operator
from array import array as column
from dataclasses import dataclass, field

import numpy as np

from minidl.instruments.tracer.values import cast, number, poison

GLOBAL, SHARED, LOCAL, CONSTANT = "global", "shared", "local", "constant"

_UNSUPPORTED_METHODS = (
    "a kernel in the tracer can use .shape, .strides, .size, .ndim, .dtype, .itemsize, .nbytes, .T, "
    "len() and indexing of an array"
)


class UnsupportedKernel(NotImplementedError):
    """Raised when a kernel uses something that the tracer (or CUDA) cannot run; the message names it."""


class Array:
    """An array as a kernel sees it: a view of NumPy values that knows its name, its space and its place.

    Attributes
    ----------
    values : ndarray
        The values themselves.
    name : str
        Parameter name, or the variable that a shared or local array was assigned to.
    space : {"global", "shared", "local", "constant"}
    number : int
        Row in the trace's table of arrays; views share it with the array they were cut from.
    start : int
        Bytes from the beginning of the memory to element 0.
    """

    __slots__ = (
        "base",
        "dtype",
        "ndim",
        "number",
        "plain",
        "shape",
        "space",
        "start",
        "strides",
        "values",
        "name",
    )
    __slots__ += ("written",)

    def __init__(self, values, name, space, number, base=None):
        self.values = values
        self.name = name
        self.space = space
        self.number = number
        self.shape = values.shape
        self.strides = values.strides
        self.ndim = values.ndim
        self.dtype = values.dtype
        self.base = address(values) if base is None else base
        self.start = values.__array_interface__["data"][0] - self.base
        self.plain = values.dtype.kind in "fc"  # what NumPy hands out is a number as the kernel knows it
        self.written = set() if space == LOCAL else None

    size = property(lambda self: self.values.size)
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.values.nbytes)
    T = property(lambda self: self.view(self.values.T))

    def __len__(self):
        return self.shape[0]

    def __iter__(self):
        raise UnsupportedKernel(f"iterating over the array {self.name} outside a plain for loop")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnsupportedKernel(f"{self.name}.{name}: {_UNSUPPORTED_METHODS}")

    def view(self, values) -> Array:
        """Return another view of the same memory."""
        view = Array(values, self.name, self.space, self.number, self.base)
        view.written = self.written
        return view


def address(values) -> int:
    """Return the address of the lowest byte of an array (element 0, unless a stride is negative)."""
    return np.lib.array_utils.byte_bounds(values)[0]


@dataclass(frozen=True)
class ArrayRow:
    """What is remembered of an array after the launch."""

    name: str
    space: str
    shape: tuple
    strides: tuple
    dtype: str
    start: int  # bytes from the lowest byte to element 0
    region: int  # arrays that share memory share a region
    address: int  # of the lowest byte, to compare arrays of one region
    block: int  # the block that a shared array belongs to; -1 for global memory

    @property
    def itemsize(self):
        """Bytes per element."""
        return np.dtype(self.dtype).itemsize

    @property
    def size(self):
        """Number of elements."""
        return math.prod(self.shape)

    def index(self, cell: int):
        """Return the index of the element at a byte offset: an int for one dimension, else a tuple of ints."""
        left, index = cell - self.start, [0] * len(self.shape)
        for axis in sorted(range(len(self.shape)), key=lambda axis: -abs(self.strides[axis])):
            if self.strides[axis]:
                index[axis] = left // self.strides[axis]
                if self.strides[axis] > 0:
                    index[axis] = max(0, min(index[axis], self.shape[axis] - 1))
                left -= index[axis] * self.strides[axis]
        return index[0] if len(index) == 1 else tuple(index)


@dataclass
class Accesses:
    """One row per access, barrier and atomic, in the order in which they happened."""

    thread: column = field(default_factory=lambda: column("q"))
    epoch: column = field(default_factory=lambda: column("q"))
    site: column = field(default_factory=lambda: column("q"))
    trip: column = field(default_factory=lambda: column("q"))
    array: column = field(default_factory=lambda: column("q"))
    cell: column = field(default_factory=lambda: column("q"))  # byte offset; -1 where there is none
    value: column = field(default_factory=lambda: column("d"))

    def columns(self) -> dict[str, np.ndarray]:
        """Return the rows as NumPy columns."""
        return {name: np.array(values) for name, values in vars(self).items()}


@dataclass
class Problem:
    """Something wrong that was seen while running: the first occurrence, and how often."""

    kind: str
    array: str
    index: tuple | int | None
    site: int
    threads: list[int]
    detail: str = ""
    count: int = 1


class Memory:
    """Performs every access of a launch: checks its bounds, does it, and records it.

    Parameters
    ----------
    arithmetic : Arithmetic
        Counts the additions that atomics do.
    """

    def __init__(self, arithmetic):
        self.arithmetic = arithmetic
        self.arrays: list[ArrayRow] = []
        self.problems: dict[tuple, Problem] = {}
        self.accesses = Accesses()
        rows = self.accesses
        self._columns = (
            rows.thread.append,
            rows.epoch.append,
            rows.site.append,
            rows.trip.append,
            rows.array.append,
            rows.cell.append,
            rows.value.append,
        )

    # -- arrays --------------------------------------------------------------------------------------------

    def add(self, values, name, space, region=None, block=-1) -> Array:
        """Give an array a row in the table, and return it as the kernel sees it.

        `region` is what tells memory apart: arrays that overlap share one, and their offsets are comparable.
        """
        row = len(self.arrays)
        region = row if region is None else region
        low = address(values)
        start = values.__array_interface__["data"][0] - low
        self.arrays.append(
            ArrayRow(name, space, values.shape, values.strides, values.dtype.str, start, region, low, block)
        )
        return Array(values, name, space, row)

    def local(self, shape, dtype, name) -> Array:
        """Return an array of one thread's own: its accesses are checked, but neither counted nor recorded."""
        values = np.full(shape, poison(dtype), dtype)
        return Array(values, name, LOCAL, -1)

    # -- accesses ------------------------------------------------------------------------------------------

    def read(self, thread, site, trip, array, index):
        """Return `array[index]`; a view where `index` leaves axes open."""
        if type(array) is not Array:
            return number(array[index])
        if type(index) is int and array.ndim == 1:
            if 0 <= index < array.shape[0]:
                cell = array.start + index * array.strides[0]
            else:
                return self._outside(thread, site, trip, array, index, "reads")
        else:
            index, inside, whole = _normalise(array, index)
            if not inside:
                if whole:
                    return self._outside(thread, site, trip, array, index, "reads")
                self._report_outside(thread, site, array, index, "takes a row of")
                return _nowhere(array, index)
            if not whole:
                return array.view(array.values[index])
            cell = array.start + sum(map(operator.mul, index, array.strides))
        value = array.values[index]
        if not array.plain:
            value = number(value)
        if array.number >= 0:
            self._record(thread, site, trip, array.number, cell, value)
        elif array.written is not None and cell not in array.written:
            self.problem("uninitialised-read", array.name, index, site, thread)
        return value

    def write(self, thread, site, trip, value, array, index):
        """Do `array[index] = value`."""
        if type(array) is not Array:
            raise TypeError(f"{type(array).__name__} cannot be written to by index")
        if not (type(index) is int and array.ndim == 1):
            index, inside, whole = _normalise(array, index)
            if not inside:
                self._report_outside(thread, site, array, index, "writes")
                if whole:
                    self._record_lost(thread, site, trip, array, value)
                return
            if not whole:
                self._fill(thread, site, trip, value, array.view(array.values[index]))
                return
            cell = array.start + sum(map(operator.mul, index, array.strides))
        elif 0 <= index < array.shape[0]:
            cell = array.start + index * array.strides[0]
        else:
            self._report_outside(thread, site, array, index, "writes")
            self._record_lost(thread, site, trip, array, value)
            return
        if type(value) is not array.dtype.type:
            if isinstance(value, (Array, tuple)):
                raise TypeError(f"{array.name}[{index}] takes one number, got {type(value).__name__}")
            value = cast(value, array.dtype)
        if array.values.flags.writeable:
            array.values[index] = value
        else:
            self.problem("writes-input", array.name, index, site, thread, "it is read-only")
        if array.number >= 0:
            self._record(thread, site, trip, array.number, cell, value)
        elif array.written is not None:
            array.written.add(cell)

    def atomic(self, thread, site, trip, name, array, index, *operands):
        """Do an atomic operation and return the old value."""
        if type(array) is not Array:
            raise TypeError(f"cuda.atomic.{name} needs an array, got {type(array).__name__}")
        index, inside, whole = _normalise(array, index)
        if not inside or not whole:
            if not whole:
                raise TypeError(f"cuda.atomic.{name} needs one element of {array.name}, got index {index}")
            self._report_outside(thread, site, array, index, f"does an atomic {name} on")
            self._record_lost(thread, site, trip, array, 0)
            return poison(array.dtype)
        cell = array.start + sum(map(operator.mul, index, array.strides))
        old = number(array.values[index])
        new = ATOMICS[name](old, *(cast(operand, array.dtype) for operand in operands))
        if name in ("add", "sub") and array.dtype.kind == "f":
            self.arithmetic.flops += 1
        if not array.values.flags.writeable:
            self.problem("writes-input", array.name, index, site, thread, "it is read-only")
        else:
            array.values[index] = cast(new, array.dtype)
        if array.number >= 0:
            self._record(thread, site, trip, array.number, cell, new)
        elif array.written is not None:
            if cell not in array.written:
                self.problem("uninitialised-read", array.name, _plain(index), site, thread)
            array.written.add(cell)
        return old

    def _fill(self, thread, site, trip, value, view):
        """`a[1:3] = value`: one write per cell."""
        source = value.values if isinstance(value, Array) else None
        if source is not None and source.shape != view.shape:
            raise TypeError(f"shape {source.shape} cannot be written into {view.name} of shape {view.shape}")
        for index in np.ndindex(view.shape):
            item = value if source is None else self.read(thread, site, trip, value, index)
            self.write(thread, site, trip, item, view, index)

    # -- records -------------------------------------------------------------------------------------------

    def _record(self, thread, site, trip, array, cell, value):
        who, when, where, lap, what, place, how_much = self._columns
        who(thread.number)
        when(thread.epoch)
        where(site)
        lap(trip)
        what(array)
        place(cell)
        how_much(value.real if isinstance(value, np.complexfloating) else value)

    def record_barrier(self, thread, site, trip):
        """Record that a thread has reached a barrier."""
        self._record(thread, site, trip, -1, -1, 0.0)

    def _record_lost(self, thread, site, trip, array, value):
        if array.number >= 0:
            self._record(thread, site, trip, array.number, -1, value)

    def _outside(self, thread, site, trip, array, index, verb):
        value = poison(array.dtype)
        self._report_outside(thread, site, array, index, verb)
        self._record_lost(thread, site, trip, array, value)
        return value

    def _report_outside(self, thread, site, array, index, verb):
        shape = array.shape[0] if array.ndim == 1 else array.shape
        self.problem("out-of-bounds", array.name, _plain(index), site, thread, f"{verb}|{shape}")

    def problem(self, kind, array, index, site, thread, detail=""):
        """Note something wrong; the same at the same place is counted, not listed again."""
        key = (kind, array, site & 0xFFFF)
        seen = self.problems.get(key)
        if seen is None:
            self.problems[key] = Problem(kind, array, _plain(index), site, [thread.number], detail)
        else:
            seen.count += 1
            if len(seen.threads) < 64 and thread.number not in seen.threads:
                seen.threads.append(thread.number)


def _plain(index):
    """A one-dimensional index as an int, any other as a tuple of ints."""
    if isinstance(index, tuple):
        return index[0] if len(index) == 1 else index
    return index


def _normalise(array, index):
    """Return (index as a tuple, whether it is inside on every axis, whether it names one element)."""
    if not isinstance(index, tuple):
        index = (index,)
    if len(index) > array.ndim:
        raise IndexError(f"{array.name} has {array.ndim} dimensions, got the index {index}")
    whole = len(index) == array.ndim
    inside = True
    checked = []
    for axis, item in enumerate(index):
        if isinstance(item, slice):
            whole = False
        elif item is Ellipsis:
            return index, True, False
        else:
            if isinstance(item, (float, np.floating)):
                raise TypeError(f"an index into {array.name} must be an integer, got the float {item}")
            item = operator.index(item)
            inside &= 0 <= item < array.shape[axis]
        checked.append(item)
    return tuple(checked), inside, whole


def _nowhere(array, index) -> Array:
    """A view that stands for a row outside its array: poison to read, and writes to it are lost."""
    left = array.shape[sum(not isinstance(item, slice) for item in index) :]
    values = np.full(left, poison(array.dtype), array.dtype)
    lost = Array(values, array.name, CONSTANT, -1)
    return lost


ATOMICS = {
    "add": lambda old, value: old + value,
    "sub": lambda old, value: old - value,
    "max": lambda old, value: max(old, value) if value == value else value,
    "min": lambda old, value: min(old, value) if value == value else value,
    "nanmax": lambda old, value: old if value != value else value if old != old else max(old, value),
    "nanmin": lambda old, value: old if value != value else value if old != old else min(old, value),
    "and_": lambda old, value: old & value,
    "or_": lambda old, value: old | value,
    "xor": lambda old, value: old ^ value,
    "exch": lambda old, value: value,
    "cas": lambda old, expected, value: value if old == expected else old,
    "inc": lambda old, top: 0 if old >= top else old + 1,
    "dec": lambda old, top: top if old == 0 or old > top else old - 1,
}
