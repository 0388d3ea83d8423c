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


def warp_requests(columns, arrays, sites, block_size) -> list[WarpRequest]:
    """Return every request of every warp to global or shared memory, in order of time.

    Lanes are in one request if they come from the same place in the source, along the same path of calls, in
    the
    same trip of the loops around it.
    """
    rows = np.flatnonzero((columns["array"] >= 0) & (columns["cell"] >= 0))
    if not len(rows):
        return []
    thread, site, trip, array, cell = (
        columns[name][rows] for name in ("thread", "site", "trip", "array", "cell")
    )
    block, warp, lane = thread // block_size, thread % block_size // LANES, thread % block_size % LANES
    again = _times_before((thread, site, trip, array))
    groups = Groups((block, warp, site, trip, array, again))
    number = groups.spread(np.arange(len(groups.starts)))  # row → request
    item = np.array([row.itemsize for row in arrays])[array]
    is_global = np.array([row.space == GLOBAL for row in arrays])[array]

    count = len(groups.starts)
    first = groups.reduce(np.minimum, np.arange(len(rows)))
    lanes = np.bincount(number, minlength=count)
    sectors = _distinct(number, count, is_global, cell // SECTOR, (cell + item - 1) // SECTOR)
    wanted = _distinct(number, count, np.ones(len(rows), bool), cell) * item[first]
    ways = _ways(number, count, ~is_global, cell, item, lane)

    requests = []
    for i in np.argsort(first, kind="stable").tolist():
        at = first[i]
        row, place = arrays[array[at]], sites[site[at] & SITE]
        requests.append(
            WarpRequest(
                int(block[at]),
                int(warp[at]),
                place.line,
                row.name,
                row.space,
                place.what,
                int(lanes[i]),
                int(sectors[i]),
                int(ways[i]),
                int(wanted[i]),
            )
        )
    return requests


def _times_before(keys):
    """How many rows with the same keys come before each row."""
    groups = Groups(keys)
    counted = np.empty(len(groups.order), np.int64)
    counted[groups.order] = np.arange(len(groups.order)) - groups.starts[groups.number]
    return counted  # lexsort is stable, so equal keys stay in order of time


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
