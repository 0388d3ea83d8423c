"""What the 32 threads of a warp ask for at once: sectors of global memory, banks of shared memory.

A warp executes one instruction for all its lanes. Global memory answers in sectors of 32 bytes, so a request
costs as many sectors as it touches. Shared memory has 32 banks, each 4 bytes wide: lanes that want different
words of one bank wait for each other, lanes that want the same word share it. (CUDA C++ Best Practices Guide,
sections "Coalesced Access to Global Memory" and "Shared Memory and Memory Banks".)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.instruments.tracer.arrays import GLOBAL
from minidl.instruments.tracer.findings import Finding
from minidl.instruments.tracer.judge import Groups
from minidl.instruments.tracer.memory import SITE

SECTOR, BANKS, WORD, LANES = 32, 32, 4, 32


class WarpRequest(NamedTuple):
    """One instruction of one warp that goes to memory.

    Attributes
    ----------
    block, warp : int
        Number of the block in the grid, and of the warp in the block.
    line : int
    array : str
    space : {"global", "shared"}
    op : {"read", "write", "atomic"}
    lanes : int
        Lanes that take part, at most 32.
    sectors : int
        32-byte sectors touched; 0 for shared memory.
    ways : int
        Times that the busiest bank is asked for a different word; 1 means no conflict, and so does global
        memory.
    wanted : int
        Bytes that the lanes ask for, the same byte counted once.
    """

    block: int
    warp: int
    line: int
    array: str
    space: str
    op: str
    lanes: int
    sectors: int
    ways: int
    wanted: int

    @property
    def efficiency(self) -> float:
        """Share of the moved bytes that somebody asked for; 1 for shared memory."""
        return self.wanted / (self.sectors * SECTOR) if self.sectors else 1.0


def group_by_request(columns, block_size):
    """Return the rows that go to memory, and for each the number of the request it belongs to.

    Lanes are in one request if they come from the same place in the source, along the same path of calls, in
    the same trip of the loops around it. Requests are numbered by the time of their first lane.
    """
    rows = np.flatnonzero((columns["array"] >= 0) & (columns["cell"] >= 0))
    thread, site, trip, array = (columns[name][rows] for name in ("thread", "site", "trip", "array"))
    same = Groups((thread, site, trip, array))  # rows that differ in nothing are requests one after the other
    again = np.empty(len(rows), np.int64)
    again[same.order] = np.arange(len(rows)) - same.starts[same.number]
    groups = Groups((thread // block_size, thread % block_size // LANES, site, trip, array, again))
    first = groups.reduce(np.minimum, np.arange(len(rows))) if len(rows) else rows
    return rows, groups.spread(np.argsort(np.argsort(first)))


def warp_requests(columns, arrays, sites, block_size) -> list[WarpRequest]:
    """Return every request of every warp to global or shared memory, in order of time."""
    rows, number = group_by_request(columns, block_size)
    if not len(rows):
        return []
    thread, site, array, cell = (columns[name][rows] for name in ("thread", "site", "array", "cell"))
    item = np.array([row.itemsize for row in arrays])[array]
    is_global = np.array([row.space == GLOBAL for row in arrays])[array]
    first = np.unique(number, return_index=True)[1]  # request → its first row
    count = len(first)
    lanes = np.bincount(number)
    sectors = _distinct(number, count, is_global, cell // SECTOR, (cell + item - 1) // SECTOR)
    wanted = _distinct(number, count, np.ones(len(rows), bool), cell) * item[first]
    ways = _ways(number, count, ~is_global, cell, item, thread % block_size % LANES)
    block, lane = np.divmod(thread, block_size)
    return [
        WarpRequest(
            block=int(block[at]),
            warp=int(lane[at]) // LANES,
            line=sites[site[at] & SITE].line,
            array=arrays[array[at]].name,
            space=arrays[array[at]].space,
            op=sites[site[at] & SITE].what,
            lanes=int(lanes[i]),
            sectors=int(sectors[i]),
            ways=int(ways[i]),
            wanted=int(wanted[i]),
        )
        for i, at in enumerate(first.tolist())
    ]


def _distinct(number, count, keep, *values):
    """Count the distinct values of each request; `values` are several columns of the same kind."""
    pairs = _pairs(np.tile(number[keep], len(values)), np.concatenate([value[keep] for value in values]))
    return np.bincount(pairs[0], minlength=count)


def _pairs(first, second):
    """Return the distinct pairs of two columns of integers that are not negative."""
    span = int(second.max(initial=0)) + 1
    return np.divmod(np.unique(first * span + second), span)


def _ways(number, count, keep, cell, item, lane):
    """The most different words that one bank is asked for in each request.

    8-byte elements go in two halves of 16 lanes, 16-byte ones in quarters of 8; each part counts by itself.
    """
    ways = np.ones(count, np.int64)
    if not keep.any():
        return ways
    number, cell, item, lane = number[keep], cell[keep], item[keep], lane[keep]
    parts = number * 4 + lane * np.maximum(item, WORD) // (LANES * WORD)
    words = [
        (parts[item > start], (cell + start)[item > start] // WORD) for start in range(0, item.max(), WORD)
    ]
    part, word = _pairs(*(np.concatenate(column) for column in zip(*words, strict=True)))
    groups = Groups((part, word % BANKS))
    per_bank = np.diff(np.append(groups.starts, len(part)))
    np.maximum.at(ways, part[groups.order][groups.starts] // 4, per_bank)
    return ways


def advice(requests) -> list[Finding]:
    """Find the lines whose requests touch 32 sectors, or wait for a bank."""
    worst: dict[tuple, list] = {}
    for request in requests:
        for kind, amount in (("uncoalesced", request.sectors), ("bank-conflict", request.ways)):
            if amount >= (LANES if kind == "uncoalesced" else 2):
                seen = worst.setdefault((kind, request.array, request.line, request.op), [request, amount, 0])
                seen[2] += 1
                if amount > seen[1]:
                    seen[:2] = request, amount
    findings = []
    for (kind, array, line, op), (request, amount, count) in worst.items():
        verb = {"read": "reads", "write": "writes", "atomic": "atomically changes"}[op]
        if kind == "uncoalesced":
            message = (
                f"line {line} {verb} {array} with {request.lanes} lanes in {amount} different sectors: "
                f"{amount * SECTOR} bytes move for the {request.wanted} that are wanted"
            )
        else:
            message = (
                f"line {line} {verb} {array} with a {amount}-way bank conflict: "
                f"{amount} different words of one bank, one after the other"
            )
        findings.append(Finding(kind, array, None, (), line, message, (line,), count))
    return findings
