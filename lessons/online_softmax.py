"""The tasks of the lesson `3_online_softmax`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import math

import numpy as np

from lessons.checks import Lesson, check_function, check_kernel, check_value
from lessons.comparison import Case, Slip

THREADS = 32  # in a block, as the notebook says

lesson = Lesson("3_online_softmax")


def scores(rows: int, columns: int, lift: float = 0, masked: float = 0) -> np.ndarray:
    """Return uneven scores around `lift`; a share of them is -inf, but never the last of a row."""
    random = np.random.default_rng([rows, columns, int(lift) % 97])
    x = (random.normal(0, 3, (rows, columns)) + lift).astype(np.float32)
    mask = random.random(x.shape) < masked
    mask[:, -1] = False
    x[mask] = -np.inf
    return x


def _softmax(x):
    powers = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


TABLES = [
    Case("3 rows of 5 scores", (scores(3, 5),)),
    Case("2 rows of 70 scores", (scores(2, 70),)),
    Case("2 rows of 4 scores near 10,000", (scores(2, 4, 10_000),)),
    Case("2 rows of 33 scores near -10,000", (scores(2, 33, -10_000),)),
    Case("4 rows of 40 scores, half of them -inf", (scores(4, 40, 0, 0.5),)),
    Case("a row of scores near 0 and one near -1,000", (np.vstack([scores(1, 6), scores(1, 6, -1000)]),)),
    Case("one row of one score", (scores(1, 1),)),
]


def _other_axis(x):
    with np.errstate(invalid="ignore"):
        return _softmax(x.T).T if len(x) > 1 else np.full(x.shape, np.nan)


def _whole_table(x):
    powers = np.exp(x.astype(np.float64) - x.max())
    return powers / powers.sum() if len(x) > 1 else np.full(x.shape, np.nan)


SLIPS = [
    Slip("That is the softmax of the columns: each *row* adds up to 1.", _other_axis),
    Slip("The whole table adds up to 1; each row should.", _whole_table),
    Slip(
        "These are the exponentials; they are still to be divided by their sum.",
        lambda x: np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True)),
    ),
]


@lesson.task("Task 1, by hand", points=1)
def by_hand(d_after_second, d_after_third):
    """Check the sums after 1, 3 and after 1, 3, 2."""
    second = math.exp(-2) + 1
    check_value(
        "d_after_second",
        d_after_second,
        second,
        {
            2: "The old sum was for the maximum 1; it has to be brought to 3 first.",
            math.exp(2) + 1: "The exponent is the old maximum minus the new one, 1 − 3.",
            math.exp(-2): "That is the old sum, brought to the new maximum. The new score adds exp(3 − 3).",
            math.exp(1) + math.exp(3): "The largest score is taken off first.",
        },
    )
    check_value(
        "d_after_third",
        d_after_third,
        second + math.exp(-1),
        {
            second + 1: "The new score is 2 and the maximum 3: it adds exp(2 − 3).",
            second: "The third score adds something too.",
            second + math.exp(1): "It adds exp(2 − 3): the score minus the maximum.",
            second * math.exp(-1) + 1: "The maximum stays 3, so the sum stays as it is.",
        },
    )


@lesson.task("Task 2, the safe softmax", points=1)
def softmax(function):
    """Check a function that takes x."""
    check_function(function, _softmax, TABLES, SLIPS, shape_hint="There is a share for each score.")


SEQUENCES = [
    [2.0, 5.0, 3.0],
    [1.0],
    [3.0, 1.0, 0.5, -2.0],
    [-4.0, -3.0, -2.5, 10.0],
    [10_000.0, 10_001.0],
    [-10_000.0, -10_002.0, -9_999.5],
    [-math.inf, -math.inf, 1.0, -math.inf, 2.0],
    [],
    [-math.inf],
]


def _m_and_d(numbers):
    m = max(numbers, default=-math.inf)
    return m, sum(math.exp(x - m) for x in numbers if x > -math.inf)


def pass_once(answer, numbers):
    """Give the answer an iterator over the numbers: a probe."""
    return answer(iter(numbers))


def _sum_of(make):
    """Make a slip of the second result; it does not know what happens without scores."""

    def values(numbers):
        finite = [x for x in numbers if x > -math.inf]
        if not finite:
            return np.array(np.nan)
        try:
            return np.array(make(finite, max(finite)))
        except OverflowError:
            return np.array(np.inf)

    return values


@lesson.task("Task 3, one pass", points=2)
def one_pass(function):
    """Check a function that takes an iterator and returns (m, d)."""
    check_function(
        function,
        _m_and_d,
        [Case(f"the scores {numbers}", (numbers,)) for numbers in SEQUENCES],
        slips={
            "d": [
                Slip(
                    "The sum is not brought to the new maximum when that moves.",
                    _sum_of(_never_brought),
                ),
                Slip("The largest score itself is missing; it adds exp(0).", _sum_of(_without_largest)),
                Slip(
                    "An iterator gives each score once, there is no second time.",
                    _sum_of(lambda finite, m: 0.0),
                ),
                Slip(
                    "The maximum was not taken off.",
                    _sum_of(lambda finite, m: sum(math.exp(x) for x in finite)),
                ),
            ]
        },
        results=("m", "d"),
        probe=pass_once,
    )


def _never_brought(finite, _):
    m, d = -math.inf, 0.0
    for x in finite:
        m = max(m, x)
        d += math.exp(x - m)
    return d


def _without_largest(finite, m):
    return sum(math.exp(x - m) for x in finite) - 1


@lesson.task("Task 4, merge", points=1)
def merge(function):
    """Check a function that takes (m1, d1, m2, d2) and returns (m, d)."""
    pairs = [(3.0, 1.5, 1.0, 2.0), (1.0, 2.0, 3.0, 1.5), (10_000.0, 4.0, 9_999.0, 2.0), (2.0, 1.0, 2.0, 3.0)]
    pairs += [(-math.inf, 0.0, 5.0, 1.25), (5.0, 1.25, -math.inf, 0.0), (-math.inf, 0.0, -math.inf, 0.0)]

    def right(m1, d1, m2, d2):
        m = max(m1, m2)
        return m, sum(d * math.exp(part - m) for part, d in ((m1, d1), (m2, d2)) if part > -math.inf)

    def late(make):
        def values(*parts):
            try:
                return np.array(make(*parts))
            except OverflowError:
                return np.array(np.inf)

        return values

    check_function(
        function,
        right,
        [
            Case(f"m1, d1 = {m1:g}, {d1:g} and m2, d2 = {m2:g}, {d2:g}", (m1, d1, m2, d2))
            for m1, d1, m2, d2 in pairs
        ],
        slips={
            "d": [
                Slip(
                    "The sums belong to different maxima; bring both to the larger one before you add.",
                    late(lambda m1, d1, m2, d2: d1 + d2),
                ),
                Slip(
                    "The sign of an exponent is wrong: its own maximum minus the new one.",
                    late(
                        lambda m1, d1, m2, d2: (
                            d1 * math.exp(max(m1, m2) - m1) + d2 * math.exp(max(m1, m2) - m2)
                        )
                    ),
                ),
                Slip(
                    "The exponents are exchanged: each sum goes with its own maximum.",
                    late(
                        lambda m1, d1, m2, d2: (
                            d1 * math.exp(m2 - max(m1, m2)) + d2 * math.exp(m1 - max(m1, m2))
                        )
                    ),
                ),
            ]
        },
        results=("m", "d"),
    )


@lesson.task("Task 5, backward", points=1)
def backward(function):
    """Check a function that takes (s, g)."""
    cases = []
    for rows, columns in ((3, 5), (2, 40), (4, 4), (1, 1)):
        g = np.random.default_rng([columns, rows]).normal(size=(rows, columns)).astype(np.float32)
        s = _softmax(scores(rows, columns)).astype(np.float32)
        cases.append(Case(f"{rows} rows of {columns}", (s, g)))

    check_function(
        function,
        lambda s, g: s * (g - (g * s).sum(axis=1, keepdims=True, dtype=np.float64)),
        cases,
        slips=[
            Slip(
                "That treats each share as if it depended on its own score alone.",
                lambda s, g: g * s * (1 - s),
            ),
            Slip("The sum is to go over each row; this one goes over columns.", _over_columns),
            Slip("The sum is to go over each row; this one goes over the whole table.", _over_all),
            Slip("The sum is missing.", lambda s, g: s * g),
            Slip("The sum is that of g s, not of g.", lambda s, g: s * (g - g.sum(axis=1, keepdims=True))),
            Slip(
                "It is the sum over a row, not the mean.",
                lambda s, g: s * (g - (g * s).mean(axis=1, keepdims=True)),
            ),
            Slip("The factor s in front is missing.", lambda s, g: g - (g * s).sum(axis=1, keepdims=True)),
        ],
        shape_hint="There is a gradient for each score.",
    )


def _over_columns(s, g):
    return s * (g - (g * s).sum(axis=0)) if len(s) > 1 else np.full(s.shape, np.nan)


def _over_all(s, g):
    return s * (g - (g * s).sum()) if len(s) > 1 else np.full(s.shape, np.nan)


@lesson.task("Task 6, the kernel", points=3)
def softmax_kernel(kernel):
    """Check a kernel that takes (out, x), with a block for each row."""
    check_kernel(
        kernel,
        _softmax,
        TABLES,
        THREADS,
        "out, x",
        SLIPS,
        limits=lambda x: {
            "global_reads": 2 * -(-x.shape[1] // THREADS),
            "global_writes": -(-x.shape[1] // THREADS),
        },
        advice={
            "global_reads": "The maximum and the sum come from one pass, and the shares from a second; "
            "read a score into a local variable, and use that.",
            "global_writes": "Write each share once, when it is known.",
            "race": "In the tree, a barrier stands after every level; and one before the first.",
        },
        blocks=lambda x: len(x),
    )


def pairs_once(answer, numbers, values):
    """Give the answer an iterator over pairs: a probe."""
    return answer(zip(numbers, values, strict=True))


@lesson.task("Extra task, a weighted mean", points=2, extra=True)
def weighted_mean(function):
    """Check a function that takes an iterator over pairs."""
    cases = []
    for numbers in SEQUENCES[:-2]:
        values = np.random.default_rng(len(numbers)).normal(size=(len(numbers), 3))
        cases.append(Case(f"the scores {numbers}", (numbers, values)))

    def right(numbers, values):
        return (_softmax(np.array([numbers])) @ values)[0]

    check_function(
        function,
        right,
        cases,
        slips=[
            Slip("That is the plain mean.", lambda numbers, values: values.mean(axis=0)),
            Slip(
                "The sum a is still to be divided by d.",
                lambda numbers, values: right(numbers, values) * _m_and_d(numbers)[1],
            ),
            Slip("When the maximum moves, a has to be brought to the new one as d is.", _a_never_brought),
        ],
        shape_hint="The mean has the shape of a value.",
        probe=pairs_once,
    )


def _a_never_brought(numbers, values):
    m, a = -math.inf, np.zeros(values.shape[1])
    for x, value in zip(numbers, values, strict=True):
        if x > -math.inf:
            m = max(m, x)
            a = a + math.exp(x - m) * value
    return a / _m_and_d(numbers)[1]
