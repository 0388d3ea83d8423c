"""Floors 2 and 1: the thread that computes the number, as the tracer saw it, and the bytes it touched."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minidl.instruments.tracer import Trace, TracedGpu
from minidl.instruments.tracer.memory import SITE
from minidl.instruments.tracer.schedule import Dim3
from minidl.instruments.tracer.warps import LANES, SECTOR

LINE = 128  # bytes of a cache line on a GPU: four sectors


@dataclass(frozen=True, eq=False)
class Work:
    """What one thread did.

    Attributes
    ----------
    kernel : str
    source : dict of int to str
        Its lines.
    grid, threads : Dim3
        Blocks of the launch, and threads of a block.
    block, thread : Dim3
        Where this thread is.
    warp, lane : int
        Of the block, and of the warp.
    reads : list of (array, index, value, line)
        In order of time; the arrays have the kernel's names.
    write : (array, index, value, line)
    bias : float
        What another kernel adds afterwards; 0 if this one does.
    trace : Trace
        Of the thread's warp; the other threads were not run.
    """

    kernel: str
    source: dict[int, str] = field(repr=False)
    grid: Dim3
    threads: Dim3
    block: Dim3
    thread: Dim3
    warp: int
    lane: int
    reads: list = field(repr=False)
    write: tuple
    bias: float
    trace: Trace = field(repr=False)

    @property
    def total(self) -> float:
        """The number it leaves: what it wrote, and the bias if that is added later."""
        return float(self.write[2]) + self.bias


@dataclass(frozen=True, eq=False)
class Memory:
    """The bytes behind a thread's accesses.

    Offsets count from the start of each array, which on a GPU is the start of a sector and of a line.
    Addresses are those that the arrays had in this machine's memory.

    Attributes
    ----------
    places : list of (array, index, offset, address)
        Of every read, then of the write.
    total : float
        The number once more, from the bytes at the addresses that were read.
    stored : float
        The number in the bytes at the address that was written, with the bias if that is added later.
    asked : int
        Bytes that the thread asked for and wrote.
    sectors, lines : int
        Different sectors of 32 bytes and lines of 128 bytes that it touched.
    requests, request_sectors : int
        What its warp of 32 threads asked for at once: how many times, and how many sectors that came to.
    warp_asked, warp_sectors : int
        Bytes that the warp's threads asked for, the same byte counted once, and the different sectors.
    bandwidth : float
        Bytes per second that this machine copies.
    """

    places: list = field(repr=False)
    total: float
    stored: float
    asked: int
    sectors: int
    lines: int
    requests: int
    request_sectors: int
    warp_asked: int
    warp_sectors: int
    bandwidth: float

    @property
    def moved(self) -> int:
        """Bytes that travel for this thread alone: memory is moved by the sector."""
        return self.sectors * SECTOR

    @property
    def seconds(self) -> float:
        """How long that takes at the bandwidth."""
        return self.moved / self.bandwidth

    @property
    def warp_moved(self) -> int:
        """Bytes that travel for the whole warp, each sector once."""
        return self.warp_sectors * SECTOR

    @property
    def warp_seconds(self) -> float:
        """How long that takes at the bandwidth."""
        return self.warp_moved / self.bandwidth


class _Watched(TracedGpu):
    """Traces one warp of one block of a launch, and keeps the arrays that it was given."""

    def __init__(self, block, warp):
        super().__init__(blocks=[block], warps=[warp])

    def launch(self, kernel, grid, block, *args, shared=0):
        trace = super().launch(kernel, grid, block, *args, shared=shared)
        self.arrays = dict(zip([row.name for row in trace.arrays], _arrays(args), strict=False))
        return trace


def _arrays(args):
    return [value for value in args if isinstance(value, np.ndarray)]


def follow(last, index, bandwidth):
    """Return (`Work`, `Memory`) of the thread that computes the output at `index` of a layer.

    Parameters
    ----------
    last : see `elevator.last`
    index : tuple of int
    bandwidth : float
        Bytes per second.

    Raises
    ------
    RuntimeError
        If no thread of the warp where it should be writes this number.
    """
    machine = _Watched(*last.warp_of(index))
    last.launch(machine)
    (trace,) = machine.traces
    numbers = {row.name: number for number, row in enumerate(trace.arrays)}
    result_name = last.names[2]
    columns, what = trace.columns, np.array([site.what for site in trace.sites])
    what = what[columns["site"] & SITE]
    cell = np.ravel_multi_index(index, last.shape) * last.x.dtype.itemsize
    wrote = (columns["array"] == numbers[result_name]) & (columns["cell"] == cell) & (what == "write")
    if wrote.sum() != 1:
        raise RuntimeError(f"{trace.kernel} has {wrote.sum()} writes of the output at {index}, expected one")
    number = int(columns["thread"][wrote][0])
    mine = np.flatnonzero((columns["thread"] == number) & (columns["array"] >= 0))

    def access(i):
        row = trace.arrays[columns["array"][i]]
        line = trace.sites[columns["site"][i] & SITE].line
        return row.name, row.index(int(columns["cell"][i])), float(columns["value"][i]), line

    reads = [i for i in mine if what[i] == "read"]
    block, thread = divmod(number, trace.block.size)
    later = 0.0 if last.adds_bias or last.b is None else float(last.b[index[-1]])
    work = Work(
        trace.kernel,
        trace.source,
        trace.grid,
        trace.block,
        trace.grid.unravel(block),
        trace.block.unravel(thread),
        *divmod(thread, LANES),
        [access(i) for i in reads],
        access(np.flatnonzero(wrote)[0]),
        later,
        trace,
    )
    return work, _memory(machine.arrays, trace, mine, what, last.names, later, bandwidth)


def _memory(arrays, trace, mine, what, names, later, bandwidth):
    columns = trace.columns
    number, cell = columns["array"], columns["cell"]
    of = [trace.arrays[number[i]] for i in mine]
    order = [k for k, i in enumerate(mine) if what[i] == "read"]
    order += [k for k, i in enumerate(mine) if what[i] == "write"]
    places, found = [], {name: [] for name in (*names, "bias")}
    for k in order:
        row, offset = of[k], int(cell[mine[k]])
        places.append((row.name, row.index(offset), offset, row.address + offset))
        found[row.name].append(_value(arrays[row.name], offset))
    row_values, column_values = (np.array(found[name], np.float64) for name in names[:2])
    size = of[0].itemsize
    block = trace.block.size
    warp = (number >= 0) & (cell >= 0)
    warp &= columns["thread"] // block == columns["thread"][mine[0]] // block
    warp &= columns["thread"] % block // LANES == columns["thread"][mine[0]] % block // LANES
    at = columns["thread"][mine[0]]
    requests = [
        request
        for request in trace.warps()
        if (request.block, request.warp) == (at // block, at % block // LANES)
    ]
    return Memory(
        places,
        float((row_values * column_values).sum() + sum(found["bias"]) + later),
        float(found[names[2]][-1] + later),
        len(mine) * size,
        _distinct(number[mine], cell[mine] // SECTOR),
        _distinct(number[mine], cell[mine] // LINE),
        len(requests),
        sum(request.sectors for request in requests),
        _distinct(number[warp], cell[warp]) * size,
        _distinct(number[warp], cell[warp] // SECTOR),
        bandwidth,
    )


def _value(array, offset):
    """Return the number in the bytes from `offset` on of an array without gaps."""
    return array.reshape(-1).view(np.uint8)[offset : offset + array.itemsize].view(array.dtype)[0]


def _distinct(arrays, parts):
    return len(np.unique(np.stack([arrays, parts]), axis=1).T)
