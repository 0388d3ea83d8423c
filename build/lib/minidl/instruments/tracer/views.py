"""Draws traces: each step of a block, the use of every cell, what warps ask for, and what is wrong."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from minidl.instruments.tracer.arrays import GLOBAL
from minidl.instruments.tracer.findings import Words, place
from minidl.instruments.tracer.memory import SITE
from minidl.instruments.tracer.sheet import LOOKS, Sheet, short
from minidl.instruments.tracer.warps import SECTOR, WORD, group_by_request
from minidl.instruments.widgets import Frames, frames

MOST_FRAMES = 240
MOST_BYTES = 1_200_000  # of a page
MOST_CELLS = 64  # of one array that are drawn
VERBS = {"read": "reads", "write": "writes", "atomic": "atomically changes"}


# -- step by step --------------------------------------------------------------------------------------------


def replay(trace, block=0, by_thread=None) -> Frames:
    """Draw what happens in one block, one frame per access or barrier.

    Parameters
    ----------
    trace : Trace
    block : int
        Its number in the grid.
    by_thread : bool, optional
        Choose the thread on a second slider, and step through what that thread does. By default this is done
        where the frames are few enough.

    Raises
    ------
    ValueError
        If there is no such block, or nothing was recorded in it.
    """
    rows, thread = _rows_of(trace, block)
    movie = _Movie(trace, rows, block)
    counts = np.bincount(thread, minlength=trace.block.size)
    if by_thread is None:
        by_thread = trace.block.size * counts.max() <= MOST_FRAMES
    if not by_thread:
        return _sampled(rows, lambda chosen, note: _one_slider(movie, chosen, note))
    return _sampled(np.arange(counts.max()), lambda chosen, note: _two_sliders(movie, thread, chosen, note))


def _one_slider(movie, positions, note):
    drawn = [movie.frame(position, note) for position in positions]
    names = [f"step {position + 1}" for position in positions]
    return frames([svg for svg, _ in drawn], "time", names=names, alts=[alt for _, alt in drawn])


def _two_sliders(movie, thread, steps, note):
    figures, alts, size = [], [], movie.trace.block.size
    for number in range(size):
        mine = np.flatnonzero(thread == number)
        drawn = [movie.frame(mine[step] if step < len(mine) else None, note, number) for step in steps]
        figures.append([svg for svg, _ in drawn])
        alts.append([alt for _, alt in drawn])
    names = ([place(movie.trace.block, i) for i in range(size)], [f"step {step + 1}" for step in steps])
    return frames(figures, ("thread", "time"), names=names, alts=alts)


class _Movie:
    """The rows of one block, and what its memory holds after each of them."""

    def __init__(self, trace, rows, block):
        self.trace, self.rows, self.block = trace, rows, block
        self.words = Words(trace.grid, trace.block)
        columns = {name: column[rows] for name, column in trace.columns.items()}
        self.thread, self.array, self.cell = columns["thread"], columns["array"], columns["cell"]
        self.value, self.site = columns["value"], columns["site"] & SITE
        self.shown = {}  # array → its cells that somebody in this block touches
        for array in dict.fromkeys(self.array[self.array >= 0].tolist()):
            touched = np.unique(self.cell[(self.array == array) & (self.cell >= 0)])
            self.shown[array] = touched[:MOST_CELLS].tolist()
        self.history = {array: self._history(array) for array in self.shown}
        self.height = 0

    def frame(self, position, note, thread=None) -> tuple[str, str]:
        """Return the drawing after the access at `position`, and what it shows in words."""
        sheet = Sheet()
        if position is None:
            said, line = (
                f"thread {place(self.trace.block, thread)} of block {self._block()} has finished",
                None,
            )
        else:
            said, line = self._say(position), self.trace.sites[self.site[position]].line
        sheet.paragraph(said[0].upper() + said[1:] + ".", bold=True)
        for number in () if line is None else range(line - 1, line + 2):
            if number in self.trace.source:
                sheet.code(number, self.trace.source[number], marked=number == line)
        sheet.y = max(sheet.y, 4 + 17 * 5)
        for array, cells in self.shown.items():
            row = self.trace.arrays[array]
            now = len(self.rows) if position is None else position
            boxes = []
            for cell in cells:
                here = position is not None and self.array[position] == array and self.cell[position] == cell
                look, letter = LOOKS[self.trace.sites[self.site[position]].what] if here else (None, "")
                boxes.append((_label(row, cell), self._value(array, cell, now), look, 0.35, letter))
            sheet.row(row.name, boxes)
        sheet.paragraph(note + self._left_out(), name="muted", size=11)
        self.height = max(self.height, sheet.y)
        return sheet.svg(self.height), said

    def _say(self, position) -> str:
        site = self.trace.sites[self.site[position]]
        who = self.words.thread(self.thread[position])
        if self.array[position] < 0:
            return f"{who} waits at {site.text}() on line {site.line}"
        row = self.trace.arrays[self.array[position]]
        if self.cell[position] < 0:
            return f"{who} {VERBS[site.what]} {row.name} outside its bounds on line {site.line}"
        element, value = row.element(row.index(int(self.cell[position]))), short(self.value[position])
        how = "reads {1} from {0}" if site.what == "read" else f"{VERBS[site.what]} {{0}}, now {{1}},"
        return f"{who} {how.format(element, value)} on line {site.line}"

    def _history(self, array):
        """Cell → (positions of its accesses, what it holds after each and, at first, before any)."""
        history: dict[int, tuple[list, list]] = {}
        in_global = self.trace.arrays[array].space == GLOBAL
        for i in np.flatnonzero((self.array == array) & (self.cell >= 0)).tolist():
            value = short(self.value[i])
            if int(self.cell[i]) not in history:
                was_there = in_global and self.trace.sites[self.site[i]].what == "read"
                history[int(self.cell[i])] = [-1], [value if was_there else "?"]
            positions, values = history[int(self.cell[i])]
            positions.append(i)
            values.append(value)
        return history

    def _value(self, array, cell, position) -> str:
        positions, values = self.history[array][cell]
        return values[bisect_right(positions, position) - 1]

    def _block(self):
        return place(self.trace.grid, self.block)

    def _left_out(self) -> str:
        many = [
            self.trace.arrays[array].name for array, cells in self.shown.items() if len(cells) == MOST_CELLS
        ]
        return (
            f" Of {', '.join(many)} the first {MOST_CELLS} cells that this block uses are drawn."
            if many
            else ""
        )


# -- how often -----------------------------------------------------------------------------------------------


def heatmap(trace) -> Frames:
    """Draw how often every cell is read, written and atomically changed: one frame per array and operation.

    The shared arrays of all blocks are laid on top of each other.

    Raises
    ------
    ValueError
        If nothing was recorded.
    """
    columns, what = trace.columns, np.array([site.what for site in trace.sites])
    operation = what[columns["site"] & SITE]
    arrays: dict[tuple, list[int]] = {}
    for number, row in enumerate(trace.arrays):
        arrays.setdefault((row.name, row.space, row.shape), []).append(number)
    drawn, names, alts = [], [], []
    for (name, space, _), numbers in arrays.items():
        row = trace.arrays[numbers[0]]
        for verb in LOOKS:
            mine = np.isin(columns["array"], numbers) & (columns["cell"] >= 0) & (operation == verb)
            if not mine.any():
                continue
            cells, counts = np.unique(columns["cell"][mine], return_counts=True)
            count_of = dict(zip(cells.tolist(), counts.tolist(), strict=True))
            offsets = row.offsets().tolist()
            sheet = Sheet()
            low, high = counts.min(), counts.max()
            times = f"{low} to {high} times" if low < high else "once" if low == 1 else f"{low} times"
            done = {"read": "reads", "write": "writes", "atomic": "atomic operations"}[verb]
            said = f"{done} of {space} {name}: {counts.sum()} in all, "
            said += f"{len(counts)} of {row.size} elements, {times} each"
            sheet.paragraph(said[0].upper() + said[1:] + ".", bold=True)
            boxes = []
            for offset in offsets[: 4 * MOST_CELLS]:
                count = count_of.get(offset, 0)
                boxes.append((_label(row, offset), count, LOOKS[verb][0], 0.75 * count / high, ""))
            sheet.row(name, boxes)
            if len(offsets) > 4 * MOST_CELLS:
                sheet.paragraph(
                    f"The first {4 * MOST_CELLS} of {row.size} elements are drawn.", name="muted", size=11
                )
            drawn.append(sheet)
            names.append(f"{name}, {done}")
            alts.append(said)
    if not drawn:
        raise ValueError(
            f"{trace.kernel} made no access to global or shared memory: there is nothing to draw"
        )
    height = max(sheet.y for sheet in drawn)
    return frames([sheet.svg(height) for sheet in drawn], "array", names=names, alts=alts)


# -- what a warp asks for ------------------------------------------------------------------------------------


def warp_view(trace, block=0, warp=0) -> Frames:
    """Draw the requests of one warp: its lanes above, the sectors or banks they ask for below.

    Raises
    ------
    ValueError
        If this warp asked for nothing.
    """
    rows, number = group_by_request(trace.columns, trace.block.size)
    requests = trace.warps()
    mine = [i for i, request in enumerate(requests) if (request.block, request.warp) == (block, warp)]
    if not mine:
        raise ValueError(f"warp {warp} of block {block} made no request to memory: there is nothing to draw")
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(requests) + 1))

    def draw(chosen, note):
        drawn = []
        for i in chosen:
            members = rows[order[bounds[mine[i]] : bounds[mine[i] + 1]]]
            drawn.append(_draw_request(trace, requests[mine[i]], members, note))
        height = max(sheet.y for sheet, _ in drawn)
        names = [f"request {i + 1}, line {requests[mine[i]].line}" for i in chosen]
        alts = [said for _, said in drawn]
        return frames([sheet.svg(height) for sheet, _ in drawn], "request", names=names, alts=alts)

    return _sampled(np.arange(len(mine)), draw)


def _draw_request(trace, request, members, note):
    columns = trace.columns
    row = trace.arrays[columns["array"][members[0]]]
    lane_of = columns["thread"][members] % trace.block.size % 32
    cell_of = dict(zip(lane_of.tolist(), columns["cell"][members].tolist(), strict=True))
    look = LOOKS[request.op][0]
    shared = request.space != GLOBAL
    cost = f"{request.sectors} sectors of 32 bytes, {request.efficiency:.0%} of them wanted"
    if shared:
        cost = "no bank conflict" if request.ways == 1 else f"a {request.ways}-way bank conflict"
    said = f"{request.lanes} lanes {request.op} {request.array} on line {request.line}: {cost}"
    sheet = Sheet()
    sheet.paragraph(said + ".", bold=True)
    if request.line in trace.source:
        sheet.code(request.line, trace.source[request.line], marked=True)
    boxes = []
    for lane in range(32):
        cell = cell_of.get(lane)
        text = "" if cell is None else _label(row, cell)
        boxes.append((f"lane {lane}" if lane % 8 == 0 else lane, text, look if text else None, 0.25, ""))
    sheet.row("lanes", boxes)
    parts = _banks(cell_of, row) if shared else _sectors(cell_of, row)
    sheet.row("banks" if shared else "sectors", parts[: 2 * MOST_CELLS])
    unit = (
        "number of different words wanted of each of the 32 banks"
        if shared
        else "lanes in each sector touched"
    )
    sheet.paragraph(f"Below: {unit}. {note}", name="muted", size=11)
    return sheet, said


def _sectors(cell_of, row):
    touched: dict[int, int] = {}
    for cell in cell_of.values():
        for sector in range(cell // SECTOR, (cell + row.itemsize - 1) // SECTOR + 1):
            touched[sector] = touched.get(sector, 0) + 1
    return [(sector, lanes, "kernel", 0.12 + 0.02 * lanes, "") for sector, lanes in sorted(touched.items())]


def _banks(cell_of, row):
    words = {
        word
        for cell in cell_of.values()
        for word in range(cell // WORD, (cell + row.itemsize - 1) // WORD + 1)
    }
    wanted = [sum(word % 32 == bank for word in words) for bank in range(32)]
    boxes = []
    for bank, count in enumerate(wanted):
        boxes.append(
            (bank, count, "task" if count > 1 else "kernel" if count else None, min(0.8, 0.2 * count), "")
        )
    return boxes


# -- what is wrong -------------------------------------------------------------------------------------------


def findings_view(trace) -> Frames:
    """Draw the findings: one frame each, with the source around it and the element it is about."""
    drawn, names = [], []
    for finding in trace.findings:
        sheet = Sheet()
        sheet.paragraph(f"{finding.kind}{' (advice)' if not finding.is_error else ''}", bold=True)
        sheet.paragraph(finding.message + ".")
        sheet.y += 6
        for line in _around(trace.source, finding.lines or (finding.line,)):
            sheet.code(line, trace.source[line], marked=line in (finding.lines or (finding.line,)))
        _draw_place(trace, finding, sheet)
        drawn.append((sheet, f"{finding.kind}: {finding.message}"))
        names.append(f"{len(drawn)} of {len(trace.findings)}")
    if not drawn:
        sheet = Sheet()
        sheet.paragraph(f"The tracer has nothing against {trace.kernel}.", bold=True)
        drawn, names = [(sheet, f"The tracer has nothing against {trace.kernel}.")], ["none"]
    height = max(sheet.y for sheet, _ in drawn)
    svgs, alts = [sheet.svg(height) for sheet, _ in drawn], [said for _, said in drawn]
    return frames(svgs, "finding", names=names, alts=alts)


def _around(source, lines):
    wanted = {line + near for line in lines for near in (-1, 0, 1)}
    return sorted(wanted & set(source))


def _draw_place(trace, finding, sheet):
    """Draw the elements around the one that a finding is about; a cross is outside the array."""
    row = next((row for row in trace.arrays if row.name == finding.array), None)
    if row is None or finding.index is None or isinstance(finding.index, tuple) != (len(row.shape) > 1):
        return
    index = finding.index if isinstance(finding.index, tuple) else (finding.index,)
    if len(index) != len(row.shape) or not all(isinstance(item, int) for item in index):
        return
    last = index[-1]
    boxes = []
    for i in range(last - 7, last + 9):
        inside = 0 <= i < row.shape[-1] and all(
            0 <= k < n for k, n in zip(index[:-1], row.shape, strict=False)
        )
        here = i == last
        boxes.append((i, "" if inside else "✕", "task" if here else None, 0.35, "!" if here else ""))
    name = finding.array if len(index) == 1 else f"{finding.array}[{', '.join(map(str, index[:-1]))}]"
    sheet.row(name[:9], boxes)
    sheet.paragraph("✕ is outside the array.", name="muted", size=11)


# -- what they share -----------------------------------------------------------------------------------------


def _rows_of(trace, block):
    if not 0 <= block < trace.grid.size:
        raise ValueError(f"block must be from 0 to {trace.grid.size - 1}, got {block}")
    rows = np.flatnonzero(trace.columns["thread"] // trace.block.size == block)
    if not len(rows):
        raise ValueError(f"block {block} of {trace.kernel} made no access: there is nothing to draw")
    return rows, trace.columns["thread"][rows] % trace.block.size


def _label(row, cell) -> str:
    index = row.index(cell)
    return ",".join(map(str, index)) if isinstance(index, tuple) else str(index)


def _sampled(positions, draw) -> Frames:
    """Draw all positions, or every second, third, … where that would be too much for a page, and say so."""
    every = -(-len(positions) // MOST_FRAMES)
    while True:
        chosen = np.arange(0, len(positions), every)
        note = f"One of every {every} steps is drawn, {len(chosen)} of {len(positions)}." if every > 1 else ""
        made = draw(chosen.tolist(), note)
        if len(made._repr_html_()) <= MOST_BYTES or len(chosen) == 1:
            return made
        every *= 2
