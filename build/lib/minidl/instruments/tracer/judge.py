"""Judges the record of a launch: races, uninitialised reads and unwritten outputs, whatever the order it ran
in.

Two accesses are *ordered* if one thread makes both, or if a barrier of their block stands between them (for
two threads of one warp, a barrier of the warp does too). Nothing orders two blocks. Unordered accesses to one
cell race if one of them is a write, unless both are atomic.
"""

from __future__ import annotations

import numpy as np

from minidl.instruments.tracer.arrays import GLOBAL, SHARED
from minidl.instruments.tracer.barriers import WARP_EPOCH_BITS
from minidl.instruments.tracer.findings import Finding, Words
from minidl.instruments.tracer.memory import SITE

READ, WRITE, ATOMIC, OTHER = range(4)
OPERATION = {"read": READ, "write": WRITE, "atomic": ATOMIC}
VERBS = ("reads", "writes", "atomically changes")
MOST_CELLS = 20_000  # that are looked at one by one


class Judge:
    """Looks through the rows of a launch.

    Parameters
    ----------
    columns : dict of ndarray
        The rows of `memory.Accesses`.
    arrays : list of ArrayRow
    sites : list of Site
    grid, block : Dim3
    """

    def __init__(self, columns, arrays, sites, grid, block):
        self.arrays, self.sites, self.block = arrays, sites, block
        self.words = Words(grid, block)
        self.thread, self.epoch, self.array, self.cell = (
            columns[name] for name in ("thread", "epoch", "array", "cell")
        )
        self.site = columns["site"] & SITE
        self.operation = np.array([OPERATION.get(site.what, OTHER) for site in sites])[self.site]
        self.rows, self.cells = self._cells()
        self.writers_collide = False  # whether a race was between two writers of a cell, or between blocks

    def _cells(self):
        """Return the rows that touch memory and a number for the cell that each touches.

        Arrays that share memory share cells. A cell is as wide as the narrowest element its region is used
        with, and a wider element is several cells, each with a row of its own.
        """
        rows = np.flatnonzero((self.array >= 0) & (self.cell >= 0) & (self.operation != OTHER))
        if not len(rows):
            return rows, rows
        regions = np.array([row.region for row in self.arrays])
        size = np.array([row.itemsize for row in self.arrays])
        lowest = np.array([row.address if row.space == GLOBAL else 0 for row in self.arrays])
        grain = np.full(len(regions), 16)
        np.minimum.at(grain, regions, size)
        mine = self.array[rows]
        position = self.cell[rows] + lowest[mine]
        parts = size[mine] // grain[regions[mine]]
        if (parts > 1).any():
            part = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
            rows, position, mine = (np.repeat(column, parts) for column in (rows, position, mine))
            position += part * grain[regions[mine]]
        order = np.lexsort((position, regions[mine]))
        position, region = position[order], regions[mine][order]
        new = np.ones(len(order), bool)
        new[1:] = (position[1:] != position[:-1]) | (region[1:] != region[:-1])
        cells = np.empty(len(order), np.int64)
        cells[order] = np.cumsum(new) - 1
        return rows, cells

    # -- races -----------------------------------------------------------------------------------------------

    def races(self) -> list[Finding]:
        """Find the pairs of accesses that nothing orders, one finding for each pair of source lines."""
        found: dict[tuple, Finding] = {}
        thread, epoch, operation = (column[self.rows] for column in (self.thread, self.epoch, self.operation))
        block, warp = thread // self.block.size, thread % self.block.size // 32
        # Which rows could race, and who must differ: lanes of one warp between two barriers of the warp,
        # warps of one block between two barriers of the block, blocks at any time.
        for keys, who in (
            ((self.cells, block, warp, epoch), thread),
            ((self.cells, block, epoch >> WARP_EPOCH_BITS), warp),
            ((self.cells,), block),
        ):
            groups = Groups(keys)
            several = groups.reduce(np.minimum, who) != groups.reduce(np.maximum, who)
            wrote = groups.reduce(np.logical_or, operation == WRITE)
            mixed = groups.reduce(np.logical_or, operation == ATOMIC)
            mixed &= groups.reduce(np.logical_or, operation == READ)
            known = set()
            for members in groups.members(several & (wrote | mixed), MOST_CELLS):
                rows = self.rows[members]
                places = (int(self.array[rows[0]]), *np.unique(self.site[rows]))
                if places not in known:
                    known.add(places)
                    self._races_among(rows, who[members], found)
        return sorted(found.values(), key=lambda race: race.lines)

    def _races_among(self, rows, who, found):
        """Add the races among the rows of one cell, any two of which are unordered if `who` differs."""
        picks = []
        for site in np.unique(self.site[rows]):
            here = np.flatnonzero(self.site[rows] == site)
            _, first = np.unique(who[here], return_index=True)  # a few rows of different threads are enough
            first = here[np.sort(first)]
            picks += [*first[:3], first[-1]]
        picks = sorted(set(picks))
        for i, one in enumerate(picks):
            for two in picks[i + 1 :]:
                kinds = frozenset(self.operation[rows[[one, two]]].tolist())
                if who[one] != who[two] and kinds not in ({READ}, {ATOMIC}):
                    race = self._describe(rows[one], rows[two])
                    self.writers_collide |= (
                        READ not in kinds or race.threads[0].block != race.threads[1].block
                    )
                    found.setdefault((race.array, race.lines, kinds), race)

    def _describe(self, one, two) -> Finding:
        row = self.arrays[self.array[two]]
        index = row.index(int(self.cell[two]))
        lines = [self.sites[self.site[i]].line for i in (one, two)]
        who = [self.words.thread(self.thread[i]) for i in (one, two)]
        verbs = [VERBS[self.operation[i]] for i in (one, two)]
        ids = self.words.ids(self.thread[[one, two]])
        why = (
            "with no barrier in between" if ids[0].block == ids[1].block else "and nothing orders two blocks"
        )
        where = [f"on line {line}" for line in lines]
        if lines[0] == lines[1]:
            where = ["", f"on line {lines[0]}"]
        first = f"{who[0]} {verbs[0]} {row.element(index)} {where[0]}".rstrip()
        message = f"{first} and {who[1]} {verbs[1]} it {where[1]}, {why}"
        return Finding("race", row.name, index, ids, lines[1], message, tuple(sorted(set(lines))))

    # -- uninitialised shared memory -------------------------------------------------------------------------

    def uninitialised(self) -> list[Finding]:
        """Find reads of shared memory that no write comes before.

        If another thread writes the cell in the same epoch, it is a race, and reported as one. An atomic
        reads what was there, too.
        """
        shared = np.array([row.space == SHARED for row in self.arrays] or [False])
        keep = shared[self.array[self.rows]] if len(self.rows) else []
        rows, cells = self.rows[keep], self.cells[keep]
        if not len(rows):
            return []
        never = np.iinfo(np.int64).max
        epoch, operation = self.epoch[rows] >> WARP_EPOCH_BITS, self.operation[rows]
        written = np.full(cells.max() + 1, never)  # cell → the first epoch in which it is written …
        np.minimum.at(written, cells[operation == WRITE], epoch[operation == WRITE])
        changed = written.copy()  # … or atomically changed, which is good enough for a plain read
        np.minimum.at(changed, cells[operation == ATOMIC], epoch[operation == ATOMIC])
        since = np.where(operation == READ, changed[cells], written[cells])
        suspects = np.flatnonzero((operation != WRITE) & (since > epoch))
        # A thread that reads its cell and only then writes it, with nobody else there, has read nothing too.
        suspects = np.union1d(suspects, self._read_first(rows, cells, epoch, operation))
        found: dict[tuple, list] = {}
        for i in suspects.tolist():
            row, site = self.arrays[self.array[rows[i]]], self.sites[self.site[rows[i]]]
            seen = found.setdefault((row.name, site.line), [row.index(int(self.cell[rows[i]])), {}, 0])
            seen[1].setdefault(int(self.thread[rows[i]]))
            seen[2] += 1
        findings = []
        for (name, line), (index, threads, count) in found.items():
            element = f"{name}[{', '.join(map(str, np.atleast_1d(index)))}]"
            message = (
                f"{self.words.threads(threads)} read{'s' * (len(threads) == 1)} {element} on line {line}, "
                "but no thread has written it: shared memory starts with whatever was left there"
            )
            ids = self.words.ids(threads)
            findings.append(Finding("uninitialised-read", name, index, ids, line, message, (line,), count))
        return findings

    def _read_first(self, rows, cells, epoch, operation):
        """Positions of reads in a cell's first epoch that come before any write, by the only thread there."""
        groups = Groups((cells, epoch))
        thread = self.thread[rows]
        alone = groups.reduce(np.minimum, thread) == groups.reduce(np.maximum, thread)
        first = groups.reduce(np.minimum, np.where(operation == WRITE, np.arange(len(rows)), len(rows)))
        earlier = groups.starts > 0  # the same cell in an earlier epoch, where somebody may have written it
        earlier[earlier] = (
            cells[groups.order][groups.starts[earlier]] == cells[groups.order][groups.starts[earlier] - 1]
        )
        reads = groups.spread(alone & ~earlier & (first < len(rows))) & (operation != WRITE)
        return np.flatnonzero(reads & (np.arange(len(rows)) < groups.spread(first)))

    # -- outputs ---------------------------------------------------------------------------------------------

    def unwritten(self) -> list[Finding]:
        """Find arguments that some thread writes and that have elements which nobody wrote."""
        findings = []
        for number, row in enumerate(self.arrays):
            mine = (self.array == number) & (self.cell >= 0)
            writes = np.flatnonzero(mine & (self.operation == WRITE))
            if row.space != GLOBAL or not len(writes):
                continue
            offsets = row.offsets()
            missing = np.flatnonzero(~np.isin(offsets, self.cell[mine & (self.operation != READ)]))
            if not len(missing):
                continue
            index = np.unravel_index(missing[0], row.shape)
            index = int(index[0]) if len(index) == 1 else tuple(map(int, index))
            line = self.sites[self.site[writes[0]]].line
            message = (
                f"{len(missing)} of the {row.size} elements of {row.name}, which line {line} writes, got no "
                f"value; the first is {row.element(index)}"
            )
            findings.append(
                Finding("unwritten-output", row.name, index, (), line, message, (line,), len(missing))
            )
        return findings

    def overwritten_inputs(self) -> list[Finding]:
        """Find arguments that are read as they came and then written, beside another array for the output.

        A kernel that only works in place, such as a sort, is left alone.
        """
        rows, cells = self.rows, self.cells
        inputs, outputs = {}, []
        for number, row in enumerate(self.arrays):
            mine = self.array[rows] == number
            writes = rows[mine & (self.operation[rows] == WRITE)]
            if row.space != GLOBAL or not len(writes):
                continue
            first = np.full(cells.max() + 1, -1)
            first[cells[mine][::-1]] = rows[mine][::-1]  # cell → its first access
            kept = cells[mine & (self.operation[rows] == WRITE)]
            overwritten = rows[mine & (self.operation[rows] == WRITE)][self.operation[first[kept]] == READ]
            if len(overwritten):
                inputs[number] = overwritten
            else:
                outputs.append(number)
        if not outputs:
            return []
        findings = []
        for number, writes in inputs.items():
            row, line = self.arrays[number], self.sites[self.site[writes[0]]].line
            index = row.index(int(self.cell[writes[0]]))
            threads = dict.fromkeys(self.thread[writes].tolist())
            message = (
                f"{self.words.threads(threads)} write{'s' * (len(threads) == 1)} {row.element(index)} on "
                f"line {line} after its old value was read: {row.name} is an input, and is changed"
            )
            ids = self.words.ids(threads)
            findings.append(
                Finding("overwritten-input", row.name, index, ids, line, message, (line,), len(writes))
            )
        return findings


class Groups:
    """Rows grouped by equal keys, the first key being the slowest to change."""

    def __init__(self, keys):
        self.order = np.lexsort(keys[::-1])
        new = np.zeros(len(self.order), bool)
        new[:1] = True
        for key in keys:
            new[1:] |= key[self.order][1:] != key[self.order][:-1]
        self.starts = np.flatnonzero(new)
        self.number = np.cumsum(new) - 1  # group of each row, in sorted order

    def reduce(self, ufunc, values):
        """Return one value per group."""
        return ufunc.reduceat(values[self.order], self.starts)

    def spread(self, per_group):
        """Return each row's value of its group."""
        rows = np.empty(len(self.order), per_group.dtype)
        rows[self.order] = per_group[self.number]
        return rows

    def members(self, chosen, most):
        """Yield the positions of the rows of each chosen group, in order of time; at most `most` groups."""
        ends = np.append(self.starts[1:], len(self.order))
        for group in np.flatnonzero(chosen)[:most]:
            yield np.sort(self.order[self.starts[group] : ends[group]])
