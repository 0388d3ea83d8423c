"""The tasks of the lesson `2_find_the_race`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import numpy as np

from lessons.checks import Lesson, check_kernel
from lessons.comparison import Case, CheckFailed, Slip
from minidl.hardware.cuda import cuda
from minidl.instruments.tracer import trace

THREADS = 32  # in a block, as the notebook says

lesson = Lesson("2_find_the_race")


def quarters(n: int) -> np.ndarray:
    """Return `n` uneven numbers from -8 to 8, quarters, so that sums of them are exact in any order."""
    return (np.random.default_rng(n).integers(-32, 33, n) / 4).astype(np.float32)


def _cases(*lengths):
    return [Case(f"{n} numbers", (quarters(n),)) for n in lengths]


LENGTHS = (THREADS, 2 * THREADS, 70, 7)


def _blocks(a, missing=0.0):
    """Return an array's numbers, a row for each block; what is beyond its end is `missing`."""
    rows = np.full(-(-a.size // THREADS) * THREADS, missing)
    rows[: a.size] = a
    return rows.reshape(-1, THREADS)


@lesson.task("Task 1, turned round", points=1)
def turned(kernel):
    """Check a kernel that takes (out, a)."""
    check_kernel(
        kernel,
        lambda a: _blocks(a)[:, ::-1].ravel()[: a.size],
        _cases(*LENGTHS),
        THREADS,
        "out, a",
        slips=[Slip("Nothing was turned round.", lambda a: a)],
        limits=lambda a: {"global_reads": 1, "global_writes": 1},
        advice={
            "race": "A thread reads a cell that another one fills: between the two stands a barrier, "
            "cuda.syncthreads().",
            "global_reads": "Each number is fetched once, into the tile; keep this idea.",
        },
    )


@lesson.task("Task 2, counting votes", points=1)
def count_votes(kernel):
    """Check a kernel that takes (out, votes)."""
    cases = []
    for n in (50, 64, 100):
        votes = np.random.default_rng(n).integers(0, 10, n).astype(np.int32)
        cases.append(Case(f"{n} votes", (votes,)))
    cases.append(Case("40 votes, all for class 3", (np.full(40, 3, np.int32),)))
    check_kernel(
        kernel,
        lambda votes: np.bincount(votes, minlength=10),
        cases,
        THREADS,
        "out, votes",
        limits=lambda votes: {"atomics": 10},
        advice=dict.fromkeys(
            ("race", "race between blocks"),
            "Two threads vote for one class. `+=` reads and then writes, and a vote is lost in between; "
            "cuda.atomic.add does both as one.",
        ),
        blocks=lambda votes: -(-votes.size // THREADS),
        start=lambda votes: np.zeros(10, np.int32),
    )


@lesson.task("Task 3, running totals", points=2)
def running_totals(kernel):
    """Check a kernel that takes (out, a)."""
    check_kernel(
        kernel,
        lambda a: _blocks(a).cumsum(axis=1).ravel()[: a.size],
        _cases(*LENGTHS),
        THREADS,
        "out, a",
        slips=[
            Slip(
                "The totals go on from one block to the next; each block begins anew.",
                lambda a: a.cumsum(dtype=np.float64),
            ),
            Slip(
                "The number itself is missing: up to *and including* a[i].",
                lambda a: (_blocks(a).cumsum(axis=1) - _blocks(a)).ravel()[: a.size],
            ),
        ],
        limits=lambda a: {"global_reads": 1, "global_writes": 1, "shared_reads": 16},
        advice={
            "race": "In one step, a thread reads a cell that another one writes. Read, wait, write, wait.",
            "shared_reads": "Five steps are enough: 1, 2, 4, 8 and 16 to the left.",
        },
    )


@lesson.task("Task 4, the edge of a picture", points=1)
def edges(kernel):
    """Check a kernel that takes (out, a)."""
    check_kernel(
        kernel,
        lambda a: np.diff(a, prepend=np.float32(0)),
        _cases(*LENGTHS, 65),
        THREADS,
        "out, a",
        slips=[
            Slip("That is the difference to the right neighbour.", lambda a: np.append(np.diff(a), np.nan)),
            Slip("The sign is wrong: a[i] - a[i - 1].", lambda a: -np.diff(a, prepend=np.float32(0))),
            Slip(
                "The first pixel of a block has a left neighbour too, in the block before.",
                lambda a: np.where(np.arange(a.size) % THREADS, np.diff(a, prepend=np.float32(0)), a),
            ),
        ],
        limits=lambda a: {"global_reads": 2, "global_writes": 1, "barriers": 2},
        advice={"barriers": "One is enough: between filling the tile and reading from it."},
    )


@lesson.task("Task 5, the brightest of each block", points=2)
def brightest(kernel):
    """Check a kernel that takes (out, a) and writes a number for each block."""
    cases = [*_cases(THREADS, 70, 7, 4 * THREADS), Case("40 negative numbers", (quarters(40) - 9,))]
    check_kernel(
        kernel,
        lambda a: _blocks(a, -np.inf).max(axis=1),
        cases,
        THREADS,
        "out, a",
        limits=lambda a: {"global_reads": 1, "global_writes": 1, "shared_reads": 16},
        advice={
            "race between blocks": "All blocks write to one cell. There is a cell for each: out[block].",
            "shared_reads": "Keep the tree: 16 threads compare, then 8, 4, 2, 1.",
        },
        blocks=lambda a: -(-a.size // THREADS),
    )


@lesson.task("Task 6, smoothing, several times", points=2)
def smoothed(kernel):
    """Check a kernel that takes (out, a, rounds)."""

    def spec(a, rounds):
        rows = _blocks(a)
        for _ in range(rounds):
            rows[:, :-1] = (rows[:, :-1] + rows[:, 1:]) / 2
        return rows.ravel()[: a.size]

    check_kernel(
        kernel,
        spec,
        [
            Case(f"{n} numbers and {rounds} rounds", (quarters(n), rounds))
            for n, rounds in ((THREADS, 1), (70, 2), (2 * THREADS, 3), (7, 0), (40, 6))
        ],
        THREADS,
        "out, a, rounds",
        slips=[
            Slip("Only one round was made.", lambda a, rounds: spec(a, 1)),
            Slip("One round is missing.", lambda a, rounds: spec(a, max(rounds - 1, 0))),
            Slip("That is one round too many.", lambda a, rounds: spec(a, rounds + 1)),
        ],
        limits=lambda a, rounds: {"global_reads": 1, "global_writes": 1},
        advice={
            "race": "A thread reads its neighbour's cell while the neighbour writes it, in the same round. "
            "Either all read, wait, write and wait; or they read from one tile and write to another.",
            "global_reads": "Each number is fetched once, into the tile; keep this idea.",
        },
    )


@cuda.jit
def _place_of_largest(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    thread = cuda.threadIdx.x
    tile[thread] = a[thread]
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if thread < step:
            tile[thread] = max(tile[thread], tile[thread + step])
        cuda.syncthreads()
        step //= 2
    if a[thread] == tile[0]:
        out[0] = thread


@lesson.task("Task 7, find the input", points=2)
def find_the_input(breaking):
    """Check 32 numbers with which two threads of `place_of_largest` race."""
    if breaking is ... or breaking is None:
        raise CheckFailed("still open: breaking wants an array of 32 numbers in place of the dots.")
    try:
        a = np.asarray(breaking, dtype=np.float32)
    except (TypeError, ValueError):
        raise CheckFailed(f"breaking must be an array of 32 numbers, got {breaking!r:.60}.") from None
    if a.shape != (THREADS,):
        raise CheckFailed(f"breaking must hold 32 numbers, its shape is {a.shape}.")
    out = np.full(1, -1, np.int32)
    seen = trace(_place_of_largest, 1, THREADS, out, a.copy())
    if any(finding.kind == "race" for finding in seen.errors):
        return
    if np.isnan(a).any():
        words = "With NaN in it nobody, or one thread, finds its number to be the largest; that is no race."
    else:
        words = f"Only thread {out[0]} writes to out[0]. When would two threads?"
    raise CheckFailed(f"with these numbers there is no race. {words}")


def left_after(order, threads: int, times: int) -> int:
    """Run `out[0] += 1` of several threads, `times` times each, in an order; return what is left in out[0].

    Raises
    ------
    CheckFailed
        If `order` is no order of their steps.
    """
    if order is ... or order is None:
        steps = 2 * threads * times
        raise CheckFailed(f"still open: the order wants a list of {steps} thread numbers.")
    try:
        given = [int(turn) for turn in order]
        whole = [turn == number for turn, number in zip(order, given, strict=True)]
    except (TypeError, ValueError, OverflowError):
        raise CheckFailed(f"an order is a list of thread numbers, got {order!r:.60}.") from None
    if not all(whole) or not all(0 <= turn < threads for turn in given):
        raise CheckFailed(f"threads have the numbers 0 to {threads - 1}; this order has {order!r:.60}.")
    for thread in range(threads):
        if given.count(thread) != 2 * times:
            raise CheckFailed(
                f"thread {thread} has {2 * times} steps, {times} reads and {times} writes; "
                f"in this order it gets {given.count(thread)} turns."
            )
    cell, registers = 0, [None] * threads
    for thread in given:
        if registers[thread] is None:
            registers[thread] = cell
        else:
            cell, registers[thread] = registers[thread] + 1, None
    return cell


@lesson.task("Task 8, find the order", points=1)
def find_the_order(order):
    """Check an order of two threads' steps that leaves 1."""
    left = left_after(order, threads=2, times=1)
    if left != 1:
        raise CheckFailed(
            f"this order leaves {left}: each thread reads what the other one has written. "
            "Let both of them read first."
        )


@lesson.task("Extra task, the worst order", points=2, extra=True)
def find_the_worst_order(worst_order):
    """Check an order of three threads' steps, three times each, that leaves 2."""
    left = left_after(worst_order, threads=3, times=3)
    if left != 2:
        raise CheckFailed(
            f"this order leaves {left}, and 2 is possible. The last write is 1 more than what its thread "
            "has read: whose 1 can it have been?"
        )
