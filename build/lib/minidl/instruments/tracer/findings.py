"""What the tracer finds in a kernel, and the words it says it in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

#: Findings of these kinds say that a kernel could be faster or is unusual; all others that it is wrong.
ADVICE = ("uncoalesced", "bank-conflict", "float64", "overwritten-input")
MOST_THREADS = 64  # that a finding names


class ThreadId(NamedTuple):
    """A thread: the number of its block in the grid and its own number in the block, counted x first."""

    block: int
    thread: int


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a kernel, or slow about it.

    Attributes
    ----------
    kind : str
        Wrong: "race", "uninitialised-read", "out-of-bounds", "divergent-barrier", "unwritten-output",
        "writes-input", "non-constant-shape", "exception", "endless-loop".
        Slow, or unusual: "uncoalesced", "bank-conflict", "float64", "overwritten-input".
    array : str
        Name of the array, "" where there is none.
    index : int, tuple of int or None
        The element where it was seen first.
    threads : tuple of ThreadId
        Who did it: for a race the two that race, for a barrier those that are missing.
    line : int
        Line in the source file; of a race the line of the later access.
    message : str
        What happened, in a sentence.
    lines : tuple of int
        All lines that take part: a race has two.
    count : int
        How often it was seen.
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
        """Whether the kernel is wrong, not just slow."""
        return self.kind not in ADVICE

    def __str__(self):
        return f"line {self.line}: {self.kind}: {self.message}"


class Words:
    """Names threads the way a reader counts them.

    Parameters
    ----------
    grid, block : Dim3
        The launch.
    """

    def __init__(self, grid, block):
        self.grid, self.block = grid, block

    def thread_id(self, number) -> ThreadId:
        """Return the thread with a number in the launch."""
        return ThreadId(*divmod(int(number), self.block.size))

    def ids(self, numbers) -> tuple[ThreadId, ...]:
        """Return the first few of several threads."""
        return tuple(self.thread_id(number) for number in list(numbers)[:MOST_THREADS])

    def thread(self, number) -> str:
        """Return "thread 3 of block 1", with coordinates where there is more than one dimension."""
        return self.threads([number])

    def threads(self, numbers) -> str:
        """Return "threads 0, 1, 2 of block 0" for several threads, leaving some out where they are many."""
        by_block: dict[int, list[str]] = {}
        for block, thread in map(self.thread_id, numbers):
            by_block.setdefault(block, []).append(place(self.block, thread))
        block, threads = next(iter(by_block.items()))
        left_out = f" and {len(threads) - 4} more" if len(threads) > 4 else ""
        text = f"thread{'s' * (len(threads) > 1)} {', '.join(threads[:4])}{left_out}"
        if self.grid.size > 1:
            others = len(by_block) - 1
            text += f" of block {place(self.grid, block)}"
            text += f" (and threads of {others} other block{'s' * (others > 1)})" if others else ""
        return text


def place(dim, index) -> str:
    """Return "5" in one dimension, "(1, 2)" or "(1, 2, 0)" in more."""
    at = dim.unravel(index)
    if dim.y == dim.z == 1:
        return str(at.x)
    return f"({at.x}, {at.y})" if dim.z == 1 else f"({at.x}, {at.y}, {at.z})"


def seen_while_running(problems, program, words) -> list[Finding]:
    """Put into words what the memory and the scheduler noticed while the kernel ran."""
    findings = []
    for problem in problems:
        line = -problem.site if problem.site < 0 else program.site(problem.site).line
        lines = tuple(sorted({line, *problem.detail[2]})) if problem.kind == "endless-loop" else (line,)
        index = problem.index if isinstance(problem.index, tuple) else (problem.index,)
        index = tuple(":" if isinstance(item, slice) else item for item in index)
        element = f"{problem.array}[{', '.join(map(str, index))}]"
        who, several = words.threads(problem.threads), len(problem.threads) > 1
        message = _SENTENCES[problem.kind](who, several, element, line, *problem.detail)
        index = index[0] if len(index) == 1 else index
        ids = words.ids(problem.threads)
        findings.append(Finding(problem.kind, problem.array, index, ids, line, message, lines, problem.count))
    return findings


def _outside(who, several, element, line, verb, shape):
    verb = re.sub(r"s\b", "", verb, count=1) if several else verb
    return f"{who} {verb} {element} on line {line}, outside the array's shape {shape}"


def _uninitialised(who, several, element, line, lane="", operation=""):
    if lane:
        return (
            f"{who} use{'s' * (not several)} what cuda.{operation}() on line {line} brings from {lane}, "
            "which takes no part in it: the value is undefined"
        )
    return f"{who} read{'s' * (not several)} {element} on line {line} before writing it"


def _missing(who, several, element, line, here, gone, elsewhere, lines, name):
    reasons = []
    if gone:
        reasons.append("returned before it")
    if elsewhere:
        reasons.append(f"wait on line {', '.join(map(str, lines))}" if lines else "wait elsewhere")
    return (
        f"{here} thread{'s' * (here > 1)} wait{'s' * (here == 1)} at {name} on line {line}, but {who} "
        f"{'are' if several else 'is'} missing there ({' or '.join(reasons)})"
    )


def _endless(who, several, element, line, steps, barriers, lines):
    loop = f"the loop on line {lines[1]}" if lines[1] != line else "the loop"
    return (
        f"{who} {'are' if several else 'is'} on line {line}, still in {loop} after {steps:,} steps and "
        f"{barriers:,} barriers: it does not seem to end (if it does, pass a higher limit=)"
    )


_SENTENCES = {
    "out-of-bounds": _outside,
    "uninitialised-read": _uninitialised,
    "divergent-barrier": _missing,
    "endless-loop": _endless,
    "exception": lambda who, several, element, line, said: f"{who} raised {said} on line {line}",
    "writes-input": lambda who, several, element, line: (
        f"{who} write{'s' * (not several)} {element} on line {line}, but the array is read-only"
    ),
}
