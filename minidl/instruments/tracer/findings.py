"""Judges the record of a launch: races, uninitialised reads and unwritten outputs, in whatever order it ran.

Two accesses are *ordered* if one thread makes both, or if a barrier of their block stands between them (a warp
barrier, for two threads of one warp). Nothing orders two blocks. Two unordered accesses to one cell race if one of
them is a write, unless both are atomic.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minidl.instruments.tracer.memory import GLOBAL, SHARED

WARP_EPOCH_BITS = 20  # an epoch counts the barriers of the block; its low bits those of the warp alone

#: Findings of these kinds say that a kernel is slower than it could be; all others say that it is wrong.
ADVICE = ("uncoalesced", "bank-conflict", "float64")


class ThreadId(NamedTuple):
    """A thread: the number of its block in the grid, and its own number in the block (x fastest)."""

    block: int
    thread: int


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a kernel, or slow about it.

    Attributes
    ----------
    kind : str
        "race", "uninitialised-read", "out-of-bounds", "divergent-barrier", "unwritten-output", "writes-input",
        "dynamic-shape", "exception", "endless-loop"; as advice "uncoalesced", "bank-conflict", "float64".
    array : str
        Name of the array, "" where there is none.
    index : int, tuple of int or None
        The first element it was seen at.
    threads : tuple of ThreadId
        The threads that did it: for a race the two that race, for a barrier those that are missing.
    line : int
        The line in the source file.
    message : str
        What happened, in a sentence.
    lines : tuple of int
        All lines that take part; a race has two.
    count : int
        How often it happened.
    """

    kind: str
    array: str
    index: int | tuple | None
    threads: tuple[ThreadId, ...]
    line: int
    message: str
    lines: tuple[int, ...] = ()
    count: int = 1

    @property
    def is_error(self) -> bool:
        """Whether the kernel's answer cannot be trusted because of it."""
        return self.kind not in ADVICE

    def to_dict(self) -> dict:
        """Return it as plain values for JSON."""
        return dataclasses.asdict(self)


class Judge:
    """Reads the columns of a launch and returns findings.

    Parameters
    ----------
    columns : dict of ndarray
        The rows of `Accesses`.
    arrays : list of ArrayRow
    program : Program
        For the sites.
    block_dim : Dim3
    grid_dim : Dim3
    """

    def __init__(self, columns, arrays, sites, block_dim, grid_dim):
        self.columns = columns
        self.arrays = arrays
        self.sites = sites
        self.block_dim = block_dim
        self.grid_dim = grid_dim
        kinds = np.array([OPERATION.get(site.what, 3) for site in sites])
        self.operation = kinds[columns["site"] & 0xFFFF]  # 0 read, 1 write, 2 atomic, 3 neither

    # -- words ---------------------------------------------------------------------------------------------

    def site(self, code):
        """Return the site of a row."""
        return self.sites[int(code) & 0xFFFF]

    def thread(self, number) -> ThreadId:
        """Return the (block, thread) of a thread's number in the launch."""
        return ThreadId(*divmod(int(number), self.block_dim.size))

    def name(self, number) -> str:
        """Return "thread 3", with coordinates where the block has more than one dimension."""
        _, thread = self.thread(number)
        return f"thread {coordinates(self.block_dim, thread)}"

    def names(self, numbers) -> str:
        """Return "threads 0, 1, 2 of block 0" for some threads, the first few of them."""
        by_block: dict[int, list[int]] = {}
        for number in numbers:
            block, thread = self.thread(number)
            by_block.setdefault(block, []).append(thread)
        block, threads = next(iter(by_block.items()))
        shown = ", ".join(coordinates(self.block_dim, thread) for thread in threads[:4])
        more = f" and {len(threads) - 4} more" if len(threads) > 4 else ""
        text = f"thread{'s' * (len(threads) > 1)} {shown}{more}"
        if self.grid_dim.size > 1:
            text += f" of block {coordinates(self.grid_dim, block)}"
            if len(by_block) > 1:
                text += f" (and of {len(by_block) - 1} other block{'s' * (len(by_block) > 2)})"
        return text

    # -- what was seen while running -----------------------------------------------------------------------

    def seen(self, problems) -> list[Finding]:
        """Put into words what the scheduler and the memory noticed."""
        findings = []
        for problem in problems.values():
            line = -problem.site if problem.site < 0 else self.site(problem.site).line
            who = self.names(problem.threads)
            element = (
                f"{problem.array}[{', '.join(map(str, np.atleast_1d(problem.index)))}]"
                if problem.array
                else ""
            )
            one = len(problem.threads) == 1
            if problem.kind == "out-of-bounds":
                verb, shape = problem.detail.split("|")
                verb = verb if one else verb.replace("does", "do").replace("takes", "take").removesuffix("s")
                message = f"{who} {verb} {element} on line {line}, outside its shape {shape}"
            elif problem.kind == "uninitialised-read":
                message = f"{who} read{'s' * one} {element} on line {line} before writing it"
            elif problem.kind == "divergent-barrier":
                message = f"{who} {'is' if one else 'are'} missing at the barrier on line {line}"
            elif problem.kind == "exception":
                message = f"{who} raised {problem.detail} on line {line}"
            else:
                message = f"{who} write{'s' * one} {element} on line {line}: {problem.detail}"
            findings.append(
                Finding(
                    problem.kind,
                    problem.array,
                    problem.index,
                    tuple(self.thread(number) for number in problem.threads),
                    line,
                    message,
                    (line,),
                    problem.count,
                )
            )
        return findings

    # -- races ---------------------------------------------------------------------------------------------

    def races(self) -> list[Finding]:
        """Find the pairs of accesses that nothing orders."""
        rows, cells = self._cells()
        if not len(rows):
            return []
        block_size = self.block_dim.size
        thread = self.columns["thread"][rows]
        block = thread // block_size
        epoch = self.columns["epoch"][rows] >> WARP_EPOCH_BITS
        operation = self.operation[rows]
        found: dict = {}
        # In one block: the rows of one cell, block and epoch. Between blocks: all rows of one cell.
        for keys, who in (((cells, block, epoch), thread), ((cells,), block)):
            groups = _groups(*keys)
            several = groups.minimum(who) != groups.maximum(who)
            wrote = groups.any(operation == 1)
            mixed = groups.any(operation == 2) & groups.any(operation == 0)
            for members in groups.members(several & (wrote | mixed), 20_000):
                self._races_among(rows[members], who[members], found)
        return sorted(found.values(), key=lambda finding: finding.lines)

    def _races_among(self, rows, who, found):
        """Add the races among the rows of one cell; `who` tells apart those that may race."""
        columns, sites = self.columns, self.columns["site"][rows] & 0xFFFF
        places = np.unique(sites)
        if all((min(a, b), max(a, b)) in found.get("seen", ()) for a in places for b in places):
            return
        picks = []  # of every site, the rows of up to four different threads
        for place in places:
            here = rows[sites == place]
            _, first = np.unique(columns["thread"][here], return_index=True)
            first = np.sort(first)
            picks += [*here[first[:3]], *here[first[-1:]]]
        picks = list(dict.fromkeys(int(pick) for pick in picks))
        for i, one in enumerate(picks):
            for two in picks[i + 1 :]:
                self._race(min(one, two), max(one, two), found)

    def _race(self, one, two, found):
        columns = self.columns
        first, second = columns["thread"][one], columns["thread"][two]
        kinds = {int(self.operation[one]), int(self.operation[two])}
        if first == second or kinds == {0} or kinds == {2} or self._ordered(one, two):
            return
        row = self.arrays[columns["array"][two]]
        sites = self.site(columns["site"][one]), self.site(columns["site"][two])
        lines = tuple(sorted({site.line for site in sites}))
        key = (row.name, lines, frozenset(kinds))
        if key in found:
            return
        where = _element(row, row.index(int(columns["cell"][two])))
        same_block = self.thread(first).block == self.thread(second).block
        if same_block:
            between = "with no barrier in between"
            if self.grid_dim.size > 1:
                between += f", in block {coordinates(self.grid_dim, self.thread(first).block)}"
            who = [self.name(number) for number in (first, second)]
        else:
            between = "and nothing orders two blocks"
            who = [
                f"{self.name(n)} of block {coordinates(self.grid_dim, self.thread(n).block)}"
                for n in (first, second)
            ]
        verbs = [VERBS[int(self.operation[row_])] for row_ in (one, two)]
        message = (
            f"{who[0]} {verbs[0]} {where} on line {sites[0].line} and {who[1]} {verbs[1]} it "
            f"on line {sites[1].line}, {between}"
        )
        found[key] = Finding(
            "race",
            row.name,
            row.index(int(columns["cell"][two])),
            (self.thread(first), self.thread(second)),
            sites[1].line,
            message,
            lines,
        )

    def _ordered(self, one, two) -> bool:
        """Whether a barrier stands between two rows of different threads."""
        size, columns = self.block_dim.size, self.columns
        threads = columns["thread"][[one, two]]
        if threads[0] // size != threads[1] // size:
            return False
        epochs = columns["epoch"][[one, two]]
        if epochs[0] >> WARP_EPOCH_BITS != epochs[1] >> WARP_EPOCH_BITS:
            return True
        warps = threads % size // 32
        return bool(warps[0] == warps[1] and epochs[0] != epochs[1])

    def _cells(self):
        """Return the rows that touch memory, and a number for the cell that each touches.

        Arrays that share memory share cells. A cell is as wide as the narrowest element that its region is
        read by, and a wider element is several cells.
        """
        array = self.columns["array"]
        rows = np.flatnonzero((array >= 0) & (self.columns["cell"] >= 0) & (self.operation < 3))
        if not len(rows):
            return rows, rows
        regions = np.array([row.region for row in self.arrays])
        size = np.array([row.itemsize for row in self.arrays])
        lowest = np.array([row.address if row.space == GLOBAL else 0 for row in self.arrays])
        grain = np.full(len(regions), np.iinfo(np.int64).max)
        np.minimum.at(grain, regions, size)
        position = self.columns["cell"][rows] + lowest[array[rows]]
        mine = array[rows]
        parts = size[mine] // grain[regions[mine]]
        if (parts > 1).any():
            repeat = np.maximum(parts, 1)
            offset = np.arange(repeat.sum()) - np.repeat(np.cumsum(repeat) - repeat, repeat)
            rows, position, mine = (np.repeat(part, repeat) for part in (rows, position, mine))
            position = position + offset * grain[regions[mine]]
        _, cells = np.unique(np.stack([regions[mine], position]), axis=1, return_inverse=True)
        return rows, cells.ravel()

    # -- uninitialised shared memory -----------------------------------------------------------------------

    def uninitialised(self) -> list[Finding]:
        """Find reads of shared memory that no write comes before.

        A read whose cell is written by another thread in the same epoch is a race, and reported as one.
        """
        rows, cells = self._cells()
        shared = np.array([row.space == SHARED for row in self.arrays], bool)
        keep = shared[self.columns["array"][rows]] if len(rows) else np.zeros(0, bool)
        rows, cells = rows[keep], cells[keep]
        if not len(rows):
            return []
        never = np.iinfo(np.int64).max
        epoch = self.columns["epoch"][rows] >> WARP_EPOCH_BITS
        operation, thread = self.operation[rows], self.columns["thread"][rows]
        written_in = np.full(cells.max() + 1, never)  # the first epoch in which the cell is written …
        np.minimum.at(written_in, cells[operation == 1], epoch[operation == 1])
        atomic_in = written_in.copy()  # … or changed by an atomic, which a plain read may rely on
        np.minimum.at(atomic_in, cells[operation == 2], epoch[operation == 2])
        since = np.where(operation == 0, atomic_in[cells], written_in[cells])
        suspects = np.flatnonzero((operation != 1) & (since > epoch))
        same = np.flatnonzero((operation != 1) & (since == epoch) & (written_in[cells] != epoch))
        # An atomic in the epoch of other atomics only: nothing was there before. Reads beside atomics race.
        suspects = np.union1d(suspects, same[operation[same] == 2])
        found: dict = {}
        for i in suspects:
            row = self.arrays[self.columns["array"][rows[i]]]
            site = self.site(self.columns["site"][rows[i]])
            key = (row.name, site.line)
            seen = found.setdefault(key, [row, site, int(self.columns["cell"][rows[i]]), {}, 0])
            seen[3].setdefault(int(thread[i]))
            seen[4] += 1
        return [
            Finding(
                "uninitialised-read",
                row.name,
                row.index(cell),
                tuple(self.thread(number) for number in list(threads)[:64]),
                site.line,
                f"{self.names(threads)} read{'s' * (len(threads) == 1)} {_element(row, row.index(cell))} on line "
                f"{site.line} before any thread has written it: shared memory starts with whatever was left there",
                (site.line,),
                count,
            )
            for row, site, cell, threads, count in found.values()
        ]

    # -- outputs -------------------------------------------------------------------------------------------

    def unwritten(self) -> list[Finding]:
        """Find arguments that some thread writes and that have cells nobody wrote."""
        findings = []
        array, cell = self.columns["array"], self.columns["cell"]
        for number, row in enumerate(self.arrays):
            if row.space != GLOBAL:
                continue
            touched = (array == number) & (cell >= 0)
            writes = np.flatnonzero(touched & (self.operation == 1))
            if not len(writes):
                continue
            written = np.unique(cell[touched & ((self.operation == 1) | (self.operation == 2))])
            every = _offsets(row)
            missing = np.setdiff1d(every, written, assume_unique=True)
            if len(missing):
                line = self.site(self.columns["site"][writes[0]]).line
                first = row.index(int(missing[0]))
                findings.append(
                    Finding(
                        "unwritten-output",
                        row.name,
                        first,
                        (),
                        line,
                        f"{len(missing)} of the {len(every)} elements of {row.name} were never written, "
                        f"the first is {_element(row, first)}",
                        (line,),
                        len(missing),
                    )
                )
        return findings


OPERATION = {"read": 0, "write": 1, "atomic": 2}
VERBS = ("reads", "writes", "atomically changes")


def coordinates(dim, index) -> str:
    """Return "5" in one dimension, "(1, 2)" or "(1, 2, 0)" in more."""
    place = dim.unravel(index)
    if dim.y == dim.z == 1:
        return str(place.x)
    return f"({place.x}, {place.y})" if dim.z == 1 else f"({place.x}, {place.y}, {place.z})"


def _element(row, index) -> str:
    text = ", ".join(map(str, index)) if isinstance(index, tuple) else str(index)
    return f"{row.name}[{text}]"


def _offsets(row):
    """Byte offsets of all elements of an array, in the order of their addresses."""
    offsets = np.zeros(1, np.int64) + row.start
    for length, stride in zip(row.shape, row.strides, strict=True):
        offsets = (offsets[:, None] + np.arange(length) * stride).ravel()
    return np.unique(offsets)


class _groups:
    """Rows grouped by equal keys; what NumPy has no name for."""

    def __init__(self, *keys):
        self.order = np.lexsort(keys[::-1])
        keys = [key[self.order] for key in keys]
        change = np.zeros(len(self.order), bool)
        change[:1] = True
        for key in keys:
            change[1:] |= key[1:] != key[:-1]
        self.starts = np.flatnonzero(change)
        self.ends = np.append(self.starts[1:], len(self.order))

    def minimum(self, values):
        return np.minimum.reduceat(values[self.order], self.starts)

    def maximum(self, values):
        return np.maximum.reduceat(values[self.order], self.starts)

    def any(self, flags):
        return np.logical_or.reduceat(flags[self.order], self.starts)

    def members(self, chosen, most):
        """Yield the row positions of each chosen group, in order of time, `most` groups at most."""
        for group in np.flatnonzero(chosen)[:most]:
            yield np.sort(self.order[self.starts[group] : self.ends[group]])
