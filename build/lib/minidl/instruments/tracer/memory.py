"""Performs every access of a launch: checks its bounds, does it, and writes it down.

An access is one row of `Accesses`: who (thread), when (barrier epoch), from where (source site, loop trip),
what (array, byte offset) and the value. Whatever the tracer says later (counts, races, sectors, bank
conflicts) is computed from these rows.
"""

from __future__ import annotations

from array import array as column
from dataclasses import dataclass, field

import numpy as np

from minidl.instruments.tracer.arrays import LOCAL, Array, ArrayRow, first_byte, lowest_byte
from minidl.instruments.tracer.values import Undefined, cast, number, poison

SITE = 0xFFFF  # the bits of a site's code that name the source position; those above name the call path


def _integers():
    return column("q")


@dataclass
class Accesses:
    """One row per access to global or shared memory and per barrier, in the order in which they happened."""

    thread: column = field(default_factory=_integers)  # number in the launch
    epoch: column = field(default_factory=_integers)  # barriers passed
    site: column = field(default_factory=_integers)
    trip: column = field(default_factory=_integers)
    array: column = field(default_factory=_integers)  # row in the table of arrays; -1 for a barrier
    cell: column = field(default_factory=_integers)  # byte offset in the array; -1 for none, or outside
    value: column = field(default_factory=lambda: column("d"))

    def columns(self) -> dict[str, np.ndarray]:
        """Return the rows as NumPy columns."""
        return {name: np.array(values) for name, values in vars(self).items()}


@dataclass
class Problem:
    """Something wrong that was seen while running: where it was seen first, by whom, and how often."""

    kind: str
    array: str
    index: tuple | int | None
    site: int  # a negative one is a line
    threads: list[int]
    detail: tuple
    count: int = 1


class Memory:
    """The memory of one launch.

    Attributes
    ----------
    arrays : list of ArrayRow
    accesses : Accesses
    problems : list of Problem
    """

    def __init__(self, arithmetic):
        self.arithmetic = arithmetic
        self.arrays: list[ArrayRow] = []
        self.accesses = Accesses()
        self._append = tuple(values.append for values in vars(self.accesses).values())
        self._problems: dict[tuple, Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """What went wrong, in the order in which it was first seen."""
        return list(self._problems.values())

    # -- arrays ----------------------------------------------------------------------------------------------

    def add(self, values, name, space, region=None, block=-1) -> Array:
        """Give an array a row in the table, and return it as the kernel sees it."""
        row, low = len(self.arrays), lowest_byte(values)
        start, region = first_byte(values) - low, row if region is None else region
        kept = (name, space, values.shape, values.strides, values.dtype.str, start, region, low, block)
        self.arrays.append(ArrayRow(*kept))
        return Array(values, name, space, row)

    def local(self, shape, dtype, name) -> Array:
        """Return an array of one thread's own: its accesses are checked, but neither counted nor kept."""
        return Array(np.full(shape, poison(dtype), dtype), name, LOCAL)

    # -- accesses --------------------------------------------------------------------------------------------

    def read(self, thread, site, trip, array, index):
        """Return `array[index]`; a view where the index leaves axes open."""
        if type(array) is not Array:
            return number(array[index])
        if type(index) is int and array.ndim == 1:
            cell = array.start + index * array.strides[0] if 0 <= index < array.shape[0] else None
        else:
            place, cell = array.place(index)
            if not isinstance(place, tuple):
                if place is None:
                    self._outside(thread, site, array, index, "takes the row")
                    return array.nowhere(index)
                return place
            index = place
        if cell is None:
            self._outside(thread, site, array, index, "reads")
            value = poison(array.dtype)
            if array.row >= 0:
                self.record(thread, site, trip, array.row, -1, value)
            return value
        value = array.values[index]
        if not array.plain:
            value = number(value)
        if array.row >= 0:
            self.record(thread, site, trip, array.row, cell, value)
        elif array.written is not None and cell not in array.written:
            self.problem("uninitialised-read", array.name, index, site, [thread.number])
        return value

    def write(self, thread, site, trip, value, array, index):
        """Do `array[index] = value`."""
        if type(array) is not Array:
            raise TypeError(f"{type(array).__name__} cannot be written to by index")
        if type(index) is int and array.ndim == 1:
            cell = array.start + index * array.strides[0] if 0 <= index < array.shape[0] else None
        else:
            place, cell = array.place(index)
            if not isinstance(place, tuple):
                if place is None:
                    self._outside(thread, site, array, index, "writes")
                else:
                    self._fill(thread, site, trip, value, place)
                return
            index = place
        if type(value) is not array.dtype.type:
            if isinstance(value, Undefined):
                value.used()
            elif isinstance(value, (Array, tuple, str)) or value is None:
                raise TypeError(f"{array.name}[{index}] takes a number, got {type(value).__name__}")
            value = cast(value, array.dtype)
        if cell is None:
            self._outside(thread, site, array, index, "writes")
            cell = -1
        else:
            self._store(thread, site, array, index, cell, value)
        if array.row >= 0:
            self.record(thread, site, trip, array.row, cell, value)

    def atomic(self, thread, site, trip, name, array, index, *operands):
        """Do an atomic operation and return the old value."""
        if type(array) is not Array:
            raise TypeError(f"cuda.atomic.{name} needs an array, got {type(array).__name__}")
        if name == "compare_and_swap":  # the spelling without an index
            name, operands, index = "cas", (index, *operands), 0
        place, cell = array.place(index)
        if not isinstance(place, tuple):
            raise TypeError(f"cuda.atomic.{name} needs one element of {array.name}, got the index {index}")
        if cell is None:
            self._outside(thread, site, array, place, "atomically changes")
            old = new = poison(array.dtype)
            cell = -1
        else:
            old = number(array.values[place])
            for operand in operands:
                if isinstance(operand, Undefined):
                    operand.used()
            new = cast(ATOMICS[name](old, *(cast(item, array.dtype) for item in operands)), array.dtype)
            if array.written is not None and cell not in array.written:
                self.problem("uninitialised-read", array.name, index, site, [thread.number])
            self._store(thread, site, array, place, cell, new)
        if name in ("add", "sub") and array.dtype.kind == "f":
            self.arithmetic.flops += 1
        if array.row >= 0:
            self.record(thread, site, trip, array.row, cell, new)
        return old

    def _store(self, thread, site, array, index, cell, value):
        if array.values.flags.writeable:
            array.values[index] = value
        else:
            self.problem("writes-input", array.name, index, site, [thread.number])
        if array.written is not None:
            array.written.add(cell)

    def _fill(self, thread, site, trip, value, view):
        """`a[1:3] = value`: one write per element, and one read if `value` is an array.

        Every write has a read's site behind its own, for this.
        """
        several = isinstance(value, Array)
        if several and value.shape != view.shape:
            raise TypeError(f"shape {value.shape} cannot be written into {view.name} of shape {view.shape}")
        for index in np.ndindex(view.shape):
            item = self.read(thread, site + 1, trip, value, index) if several else value
            self.write(thread, site, trip, item, view, index)

    def record(self, thread, site, trip, row, cell, value):
        """Write down one row; a barrier has row -1."""
        who, when, where, lap, what, place, content = self._append
        who(thread.number)
        when(thread.epoch)
        where(site)
        lap(trip)
        what(row)
        place(cell)
        content(value.real if isinstance(value, np.complexfloating) else value)

    # -- problems --------------------------------------------------------------------------------------------

    def _outside(self, thread, site, array, index, verb):
        shape = array.shape[0] if array.ndim == 1 else array.shape
        self.problem("out-of-bounds", array.name, index, site, [thread.number], (verb, shape))

    def problem(self, kind, array, index, site, threads, detail=()):
        """Note something wrong; the same thing at the same place is counted, not listed again."""
        if isinstance(index, tuple) and len(index) == 1:
            index = index[0]
        key = (kind, array, site & SITE if site >= 0 else site)
        seen = self._problems.get(key)
        if seen is None:
            self._problems[key] = Problem(kind, array, index, site, list(threads), detail)
            return
        seen.count += 1
        if len(seen.threads) < 1024:
            seen.threads += [thread for thread in threads if thread not in seen.threads]


def _larger(old, value):
    return max(old, value) if value == value and old == old else old if old == old else value


def _smaller(old, value):
    return min(old, value) if value == value and old == old else old if old == old else value


#: What an atomic leaves behind. Comparisons with NaN keep the number, as CUDA's fmax and fmin do.
ATOMICS = {
    "add": lambda old, value: old + value,
    "sub": lambda old, value: old - value,
    "max": _larger,
    "min": _smaller,
    "nanmax": _larger,
    "nanmin": _smaller,
    "and_": lambda old, value: old & value,
    "or_": lambda old, value: old | value,
    "xor": lambda old, value: old ^ value,
    "exch": lambda old, value: value,
    "cas": lambda old, expected, value: value if old == expected else old,
    "inc": lambda old, top: 0 if old >= top else old + 1,
    "dec": lambda old, top: top if old == 0 or old > top else old - 1,
}
