"""The tasks of the lesson `4_all_reduce`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import inspect
from types import GeneratorType

import numpy as np

from lessons.checks import Lesson, check_function, check_is_function, check_value, running
from lessons.comparison import Case, CheckFailed, Slip, compare, count, failure

MOST_STEPS = 1000  # around a ring; a right program takes 12

lesson = Lesson("4_all_reduce")


class RingError(Exception):
    """Raised when ranks around a ring do not fit together; the message says how."""


class Traffic:
    """What a run around the ring moved: the steps, and the numbers that each rank sent."""

    def __init__(self, ranks):
        self.steps, self.sent = 0, [0] * ranks


def run_ring(program, numbers):
    """Run one program on every rank of a ring, all in this process, step by step.

    Parameters
    ----------
    program : generator function
        Takes (rank, ranks, mine). With `arrived = yield block` it sends a block to the rank on its right and
        gets the one that its left neighbour sent in the same step. What it returns is the rank's result.
    numbers : list of arrays
        What each rank begins with; each gets a copy.

    Returns
    -------
    results : list
        What each rank returned.
    traffic : Traffic

    Raises
    ------
    RingError
        If some ranks finish while others wait for them, if none does, or if something other than an array is
        sent.
    """
    ranks = len(numbers)
    started_ranks = [program(rank, ranks, np.array(mine)) for rank, mine in enumerate(numbers)]
    if not all(isinstance(started, GeneratorType) for started in started_ranks):
        raise RingError("the program has no `yield`, so it neither sends nor receives")
    results, traffic, arriving = [None] * ranks, Traffic(ranks), [None] * ranks
    while True:
        sent = [None] * ranks
        finished = []
        for rank, started in enumerate(started_ranks):
            try:
                sent[rank] = started.send(arriving[rank])
            except StopIteration as end:
                results[rank] = end.value
                finished.append(rank)
        if len(finished) == ranks:
            return results, traffic
        if finished:
            waits = next(rank for rank in range(ranks) if rank not in finished)
            raise RingError(
                f"rank {finished[0]} has finished after {count(traffic.steps, 'step')}, "
                f"but rank {waits} wants to send and receive once more"
            )
        for rank, block in enumerate(sent):
            if not isinstance(block, (np.ndarray, np.generic)):
                raise RingError(f"rank {rank} sent {type(block).__name__} {block!r:.40}; send an array")
            traffic.sent[rank] += np.size(block)
        # a copy, as through a wire: what the sender does with its array later changes nothing here
        arriving = [np.array(sent[rank - 1]) for rank in range(ranks)]
        traffic.steps += 1
        if traffic.steps > MOST_STEPS:
            raise RingError(f"it went on for {MOST_STEPS} steps, and nobody has finished")


def bounds(block, ranks, n):
    """Return where block number `block` of n numbers begins and ends, when `ranks` blocks share them out."""
    return block * n // ranks, (block + 1) * n // ranks


@lesson.task("Task 1, by hand", points=1)
def by_hand(busiest, ring, steps):
    """Check the bytes and steps for four ranks with gradients of 100 MB."""
    check_value(
        "busiest",
        busiest,
        600,
        {
            300: "That is what comes in. The sum has to go out to three others as well.",
            800: "Rank 0 need not send anything to itself.",
            400: "Rank 0 need not send anything to itself, and what it receives counts as well.",
            200: "Three ranks send, and three get the sum back.",
        },
    )
    check_value(
        "ring",
        ring,
        150,
        {
            75: "That is the first half, in which sums are formed; they still have to go around.",
            25: "That is one step; there are 2 · 3 of them.",
            200: "In each half a rank sends 3 blocks of 25 MB, not 4.",
            300: "That counts what is received too, which goes over another wire at the same time.",
            600: "A rank sends blocks of a quarter, not everything.",
        },
    )
    check_value(
        "steps",
        steps,
        6,
        {
            3: "That is the first half, in which sums are formed; they still have to go around.",
            8: "A block that has gone three steps has seen all four ranks.",
            4: "A block that has gone three steps has seen all four ranks, and there are two halves.",
        },
    )


@lesson.task("Task 2, share out", points=1)
def share_out(function):
    """Check a function of (block, ranks, n) that returns (begin, end)."""
    check_is_function(function)
    for n, ranks in ((12, 4), (10, 4), (7, 3), (100, 7), (3, 5), (0, 3), (5, 1)):
        ends, lengths = [], []
        for block in range(ranks):
            case = Case(f"block {block} of {ranks}, {n} numbers", (block, ranks, n))
            with running(function, case):
                got = function(block, ranks, n)
            if not isinstance(got, (tuple, list)) or len(got) != 2:
                raise failure(case, f"the function returned {got!r:.60}, expected (begin, end).")
            try:
                begin, end = (int(x) for x in got)
                whole = (begin, end) == tuple(got)
            except (TypeError, ValueError):
                whole = False
            if not whole:
                raise failure(case, f"the function returned {got!r:.60}, expected two whole numbers; use //.")
            expected = ends[-1] if ends else 0
            if begin != expected:
                where = "the block before it ends" if ends else "the numbers begin"
                raise failure(case, f"it begins at {begin}, but {where} at {expected}.")
            if end < begin:
                raise failure(case, f"it ends at {end}, before it begins at {begin}.")
            ends.append(end)
            lengths.append(end - begin)
        if ends[-1] != n:
            words = "Some numbers belong to nobody." if ends[-1] < n else "That is beyond the end."
            raise failure(case, f"the last block ends at {ends[-1]}, expected {n}. {words}")
        if max(lengths) - min(lengths) > 1:
            raise failure(
                case,
                f"the blocks have {', '.join(map(str, lengths))} numbers. The longest sets the pace, "
                "so they may differ by one at most.",
            )


# ---- Programs around the ring

RINGS = [(4, 12), (4, 10), (3, 7), (5, 23), (2, 5), (7, 3), (1, 6), (6, 1)]


def _numbers(ranks, n):
    return [
        np.random.default_rng([rank, n]).integers(-50, 51, n).astype(np.float64) / 4 for rank in range(ranks)
    ]


def _run(program, numbers, case):
    """Run a student's program; say in words what does not fit together."""
    check_is_function(program)
    if not inspect.isgeneratorfunction(program):
        with running(program, case):  # the stub ends here
            program(0, 1, np.array(numbers[0]))
        raise CheckFailed("the program has no `yield`, so it neither sends nor receives.")
    error = None
    with running(program, case):
        try:
            return run_ring(program, numbers)
        except RingError as raised:
            error = raised
    raise failure(case, f"{error}. All ranks take the same number of steps.")


def _judge_traffic(traffic, ranks, most, steps, case):
    if max(traffic.sent) > most:
        rank = int(np.argmax(traffic.sent))
        raise failure(
            case,
            f"rank {rank} sent {traffic.sent[rank]} numbers, {most} are enough. Send one block in each step.",
        )
    if traffic.steps > steps:
        raise failure(case, f"it took {count(traffic.steps, 'step')}, and {steps} would do.")


def _as_array(got, shape, rank, case):
    if got is None:
        raise failure(case, f"rank {rank} returned nothing: is there a `return` at its end?")
    try:
        values = np.asarray(got, dtype=np.float64)
    except (TypeError, ValueError):
        raise failure(
            case, f"rank {rank} returned {type(got).__name__} {got!r:.40}, expected an array."
        ) from None
    if values.shape != shape:
        raise failure(case, f"rank {rank} returned an array of shape {values.shape}, expected {shape}.")
    return values


def _longest(ranks, n):
    return -(-n // ranks)


@lesson.task("Task 3, form the sums", points=2)
def reduce_scatter(program):
    """Check a program after which rank r has the sum of block r + 1, around the ring."""
    for ranks, n in RINGS:
        case = Case(f"{count(ranks, 'rank')} and {count(n, 'number')}", ())
        numbers = _numbers(ranks, n)
        results, traffic = _run(program, numbers, case)
        total = np.sum(numbers, axis=0)
        for rank, got in enumerate(results):
            values = _as_array(got, (n,), rank, case)
            begin, end = bounds((rank + 1) % ranks, ranks, n)
            if np.allclose(values[begin:end], total[begin:end]):
                continue
            block = (rank + 1) % ranks
            for other in range(ranks):
                a, b = bounds(other, ranks, n)
                if ranks > 2 and b > a and np.allclose(values[a:b], total[a:b]):
                    raise failure(case, f"rank {rank} has the sum of block {other}, expected block {block}.")
            if np.allclose(values[begin:end], numbers[rank][begin:end]):
                why = "Nothing has been added to it: are there ranks − 1 steps?"
            elif any(np.allclose(values[begin:end], other[begin:end]) for other in numbers):
                why = "It was replaced, not added to."
            else:
                why = "Some rank's share is missing or there twice."
            where = f"rank {rank}, block {block}: number {begin}"
            raise failure(case, f"{where} is {values[begin]:.6g}, expected {total[begin]:.6g}. {why}")
        _judge_traffic(traffic, ranks, (ranks - 1) * _longest(ranks, n), ranks - 1, case)


@lesson.task("Task 4, hand them around", points=2)
def all_gather(program):
    """Check a program that begins where task 3 ends, and after which everybody has every block."""
    for ranks, n in RINGS:
        case = Case(f"{count(ranks, 'rank')} and {count(n, 'number')}", ())
        total = np.sum(_numbers(ranks, n), axis=0)
        begins = []
        for rank in range(ranks):
            mine = np.full(n, -1000.0 - rank)  # what the other blocks hold is worth nothing
            begin, end = bounds((rank + 1) % ranks, ranks, n)
            mine[begin:end] = total[begin:end]
            begins.append(mine)
        results, traffic = _run(program, begins, case)
        for rank, got in enumerate(results):
            values = _as_array(got, (n,), rank, case)
            if not np.allclose(values, total):
                first = int(np.argmax(~np.isclose(values, total)))
                block = next(b for b in range(ranks) if bounds(b, ranks, n)[1] > first)
                why = ""
                if values[first] <= -1000:
                    why = "That is no sum yet: which block does a rank have complete, and which one arrives?"
                elif abs(values[first] + 1000) < 500 or abs(values[first] - 2 * total[first]) < 1e-6:
                    why = "The blocks are complete by now: replace, do not add."
                where = f"rank {rank}, block {block}: number {first}"
                raise failure(case, f"{where} is {values[first]:.6g}, expected {total[first]:.6g}. {why}")
        _judge_traffic(traffic, ranks, (ranks - 1) * _longest(ranks, n), ranks - 1, case)


@lesson.task("Task 5, all of it", points=1)
def all_reduce(program):
    """Check a program after which every rank has the mean of what all of them began with."""
    for ranks, n in RINGS:
        case = Case(f"{count(ranks, 'rank')} and {count(n, 'number')}", ())
        numbers = _numbers(ranks, n)
        results, traffic = _run(program, numbers, case)
        right = np.mean(numbers, axis=0)
        slips = [
            Slip("That is the sum; divide by the number of ranks.", lambda right=right, p=ranks: right * p),
            Slip("It has been divided twice.", lambda right=right, p=ranks: right / p),
        ]
        for rank, got in enumerate(results):
            values = _as_array(got, (n,), rank, case)
            compare(f"on rank {rank}, result", values, right, case, slips)
        _judge_traffic(traffic, ranks, 2 * (ranks - 1) * _longest(ranks, n), 2 * (ranks - 1), case)


@lesson.task("Task 6, what it costs", points=1)
def seconds(function):
    """Check a function of (moved, ranks, latency, bandwidth) that returns a ring's seconds."""
    check_function(
        function,
        lambda moved, ranks, latency, bandwidth: 2 * (ranks - 1) * (latency + moved / ranks / bandwidth),
        [
            Case("100 MB and 4 ranks", (100e6, 4, 10e-6, 10e9)),
            Case("1 KB and 64 ranks", (1e3, 64, 10e-6, 10e9)),
            Case("no latency, 8 ranks", (1e9, 8, 0, 25e9)),
            Case("a single rank", (1e9, 1, 1e-3, 1e9)),
        ],
        [
            Slip(
                "There are two halves, each of ranks − 1 steps.", lambda m, p, a, b: (p - 1) * (a + m / p / b)
            ),
            Slip("In a step goes one block, not everything.", lambda m, p, a, b: 2 * (p - 1) * (a + m / b)),
            Slip(
                "Each step waits for the latency once more.", lambda m, p, a, b: a + 2 * (p - 1) * m / p / b
            ),
            Slip("Each half has ranks − 1 steps.", lambda m, p, a, b: 2 * p * (a + m / p / b)),
            Slip(
                "The ranks send at the same time, not one after the other.",
                lambda m, p, a, b: p * 2 * (p - 1) * (a + m / p / b),
            ),
        ],
    )


@lesson.task("Extra task, shards that are not equal", points=2, extra=True)
def uneven(function):
    """Check a function of (gradients, examples): the gradient of the loss over all examples."""
    cases = []
    for sizes in ((8, 8, 8), (8, 8, 5), (1, 100), (4, 0, 4), (7,)):
        made = [np.random.default_rng([7, i]).integers(-20, 21, 5) / 4 for i in range(len(sizes))]
        made = [
            np.full(5, np.nan) if size == 0 else gradient for gradient, size in zip(made, sizes, strict=True)
        ]
        cases.append(Case(f"shards of {', '.join(map(str, sizes))} examples", (made, list(sizes))))

    def right(gradients, examples):
        pairs = [(g, n) for g, n in zip(gradients, examples, strict=True) if n]
        return sum(g * n for g, n in pairs) / sum(examples)

    def plain(gradients, examples):
        return np.mean(gradients, axis=0)

    check_function(
        function,
        right,
        cases,
        [
            Slip("Every *example* counts the same, not every rank: weight by the number of examples.", plain),
            Slip("Divide by the number of all examples.", lambda g, n: right(g, n) * sum(n)),
            Slip(
                "Divide by the number of all examples, not of ranks.",
                lambda g, n: right(g, n) * sum(n) / len(n),
            ),
        ],
    )
