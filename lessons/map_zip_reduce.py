"""The tasks of the lesson `2_map_zip_reduce`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import numpy as np

from lessons.checks import Lesson, check_kernel, check_value
from lessons.comparison import Case, Slip

THREADS = 32  # in a block of one dimension, as the notebook says
SIDE = 8  # of a block of two dimensions
BLOCKS = 4  # of the reduces over a whole array

lesson = Lesson("2_map_zip_reduce")


def eighths(n: int, seed: int = 0) -> np.ndarray:
    """Return `n` uneven numbers from -4 to 4, eighths, so that sums of them are exact in any order."""
    numbers = np.random.default_rng([n, seed]).integers(-32, 33, n) / 8
    return numbers.astype(np.float32)


LENGTHS = (7, THREADS, 70, 3 * THREADS, 101)
# Fewer than there are threads; as many; one more than a multiple of that; several for each.
LONG = (5, 100, 128, 129, 500)


@lesson.task("Task 1, a tree by hand", points=1)
def by_hand(after_first, after_second, after_third, steps_for_1024):
    """Check the sums in cell 0 of 3 1 4 1 5 9 2 6, and the number of steps."""
    check_value("after_first", after_first, 8, {4: "Cell 0 gets cell 4, four places further on, not cell 1."})
    check_value(
        "after_second",
        after_second,
        14,
        {
            18: "Cell 0 gets cell 2 in this step; you took cell 1.",
            12: "Cell 2 is no longer 4: in the first step it got 2 more.",
            9: "Those are the first four numbers; after two steps cell 0 has cells 0, 4, 2 and 6.",
        },
    )
    check_value(
        "after_third",
        after_third,
        31,
        {
            24: "Cell 1 is no longer what it was: it got cells 5, 3 and 7 meanwhile.",
            15: "Cell 1 is not 1 any more.",
        },
    )
    check_value(
        "steps_for_1024",
        steps_for_1024,
        10,
        {
            1023: "That is a loop's way, one number after the other. Here each step halves what is left.",
            512: "That is how many threads work in the first step.",
            9: "Nine steps leave two numbers.",
            11: "Eleven halvings are for 2,048 numbers.",
            32: "That is the square root. Each step halves what is left.",
        },
    )


ONCE = {
    "global_reads": "Read the number into a local variable, once, and use that.",
    "global_writes": "Work it out in a local variable, and write once.",
}


@lesson.task("Task 2, a map", points=1)
def leaky(kernel):
    """Check a kernel that takes (out, a)."""
    cases = [Case(f"{n} numbers", (eighths(n),)) for n in LENGTHS]
    holes = eighths(40)
    holes[[3, 35, 20]] = np.nan, -np.inf, 0
    cases.append(Case("40 numbers, among them 0, NaN and -inf", (holes,)))
    check_kernel(
        kernel,
        lambda a: np.where(a > 0, a, np.float32(0.2) * a),
        cases,
        THREADS,
        "out, a",
        slips=[
            Slip("That is the plain ReLU: it makes negative numbers 0.", lambda a: np.maximum(a, 0)),
            Slip("All numbers were multiplied; the positive ones should stay.", lambda a: 0.2 * a),
            Slip("The wrong ones were multiplied.", lambda a: np.where(a > 0, 0.2 * a, a)),
            Slip("Negative numbers stay negative.", lambda a: np.where(a > 0, a, -0.2 * a)),
        ],
        limits=lambda a: {"global_reads": 1, "global_writes": 1},
        advice=ONCE,
    )


@lesson.task("Task 3, a zip", points=1)
def blend(kernel):
    """Check a kernel that takes (out, a, b, t)."""
    cases = [
        Case(f"{n} numbers and t = {t}", (eighths(n), eighths(n, 1), np.float32(t)))
        for n, t in zip(LENGTHS, (0.25, 0.5, 0, 1, 0.75), strict=True)
    ]
    check_kernel(
        kernel,
        lambda a, b, t: a + t * (b - a),
        cases,
        THREADS,
        "out, a, b, t",
        slips=[
            Slip("a and b are exchanged.", lambda a, b, t: b + t * (a - b)),
            Slip("That is a + t b: the distance from a to b is b - a.", lambda a, b, t: a + t * b),
            Slip("That is t (b - a), the way from a; a itself is missing.", lambda a, b, t: t * (b - a)),
            Slip("The way leads from a to b, that is b - a.", lambda a, b, t: a + t * (a - b)),
        ],
        limits=lambda a, b, t: {"global_reads": 2, "global_writes": 1},
        advice=ONCE,
    )


def _grid_of(table):
    """Return the blocks of a grid whose x runs along the columns."""
    rows, columns = table.shape
    return -(-columns // SIDE), -(-rows // SIDE)


def _bias_of_the_rows(a, bias):
    made = np.full(a.shape, np.nan)
    made[: bias.size] = a[: bias.size] + bias[: a.shape[0], None]
    return made


@lesson.task("Task 4, a zip with a table", points=1)
def add_bias(kernel):
    """Check a kernel that takes (out, a, bias)."""
    cases = [
        Case(f"a {m} × {n} table", (eighths(m * n).reshape(m, n), eighths(n, 1)))
        for m, n in ((9, 13), (8, 16), (3, 20), (17, 5))
    ]
    words = "x runs along the columns: `column, row = cuda.grid(2)`."
    check_kernel(
        kernel,
        lambda a, bias: a + bias,
        cases,
        (SIDE, SIDE),
        "out, a, bias",
        slips=[
            Slip("The bias belongs to the columns: bias[column].", _bias_of_the_rows),
            Slip("The bias is missing.", lambda a, bias: a),
        ],
        limits=lambda a, bias: {"global_reads": 2, "global_writes": 1},
        advice=ONCE | {"out-of-bounds": f"The guard has two parts, one for each axis, and {words}"},
        blocks=lambda a, bias: _grid_of(a),
    )


def _in_blocks(a):
    """Return the sums of 32 numbers each; what is missing in the last block is 0."""
    padded = np.zeros(-(-a.size // THREADS) * THREADS)
    padded[: a.size] = a
    return padded.reshape(-1, THREADS).sum(axis=1)


TREE = {
    "shared_reads": "Two in each level of the tree, and one for the result: 16 threads add, then 8, 4, 2, 1.",
    "global_reads": "Each number is read once, by one thread, and then handed on in shared memory.",
    "global_writes": "Only one thread of a block writes, when everything has been added up.",
    "atomics_in_all": "Only thread 0 of each block makes one, when the block's sum is complete.",
    "atomics": "The tree needs none: in each level every cell is written by one thread.",
}


@lesson.task("Task 5, a reduce in each block", points=2)
def block_sums(kernel):
    """Check a kernel that takes (out, a) and writes a sum for each block."""
    check_kernel(
        kernel,
        _in_blocks,
        [Case(f"{n} numbers", (eighths(n),)) for n in (THREADS, 2 * THREADS, 70, 7, 97)],
        THREADS,
        "out, a",
        slips=[
            Slip(
                "The last level of the tree is missing: cell 1 was not added to cell 0.",
                lambda a: _levels(a, THREADS // 2, 1),
            ),
            Slip(
                "The first level of the tree is missing: it begins with a step of 16.",
                lambda a: _levels(a, THREADS // 4, 0),
            ),
            Slip("That is a mean, not a sum.", lambda a: _in_blocks(a) / THREADS),
        ],
        limits=lambda a: {"global_reads": 1, "global_writes": 1, "shared_reads": 11, "atomics": 0},
        advice=TREE,
        blocks=lambda a: -(-a.size // THREADS),
    )


def _levels(a, first, last):
    """Return the sums of a tree whose steps go from `first` down to above `last`."""
    padded = np.zeros(-(-a.size // THREADS) * THREADS)
    padded[: a.size] = a
    cells, step = padded.reshape(-1, THREADS), first
    while step > last:
        cells = cells.copy()
        cells[:, :step] += cells[:, step : 2 * step]
        step //= 2
    return cells[:, 0]


def _check_reduce(kernel, spec, cases, parameters, slips):
    check_kernel(
        kernel,
        spec,
        cases,
        THREADS,
        parameters,
        slips,
        limits=lambda a, *b: {
            "global_reads": (1 + len(b)) * -(-a.size // (BLOCKS * THREADS)),
            "shared_reads": 12,
            "atomics_in_all": BLOCKS,
        },
        advice=TREE
        | {
            "race between blocks": "All four blocks add to out[0], and no barrier orders blocks: "
            "cuda.atomic.add(out, 0, value) reads, adds and writes as one.",
            "global_reads": f"The {BLOCKS * THREADS} threads share the numbers out evenly: "
            "each takes every 128th.",
        },
        blocks=lambda *_: BLOCKS,
        start=lambda *_: np.zeros(1, np.float32),
    )


@lesson.task("Task 6, a reduce of any length", points=2)
def total(kernel):
    """Check a kernel that takes (out, a) and adds all to out[0], in four blocks."""
    _check_reduce(
        kernel,
        lambda a: a.sum(dtype=np.float64, keepdims=True),
        [Case(f"{n} numbers", (eighths(n),)) for n in LONG],
        "out, a",
        [
            Slip(
                "Only the first 128 numbers were added: a thread has more than one, if there are more.",
                lambda a: a[: BLOCKS * THREADS].sum(keepdims=True) if a.size > 128 else np.full(1, np.nan),
            ),
            Slip(
                "That is the sum of block 0 alone.",
                lambda a: _strided(a)[:1],
            ),
        ],
    )


def _strided(a):
    """Return what each block adds up."""
    padded = np.zeros(-(-a.size // 128) * 128)
    padded[: a.size] = a
    return padded.reshape(-1, BLOCKS, THREADS).sum(axis=(0, 2))


@lesson.task("Extra task, zip and reduce in one", points=2, extra=True)
def squared_error(kernel):
    """Check a kernel that takes (out, a, b) and adds all squares to out[0], in four blocks."""
    cases = [Case(f"{n} numbers", (eighths(n), eighths(n, 1))) for n in LONG]
    holes = eighths(300, 1)
    holes[[0, 31, 32, 299]] = np.nan
    cases.append(Case("300 numbers, four of them missing in b", (eighths(300), holes)))
    _check_reduce(
        kernel,
        lambda a, b: np.nansum((a.astype(np.float64) - b) ** 2, keepdims=True),
        cases,
        "out, a, b",
        [
            Slip(
                "The differences were not squared.",
                lambda a, b: np.nansum(a.astype(np.float64) - b, keepdims=True),
            ),
            Slip(
                "That is the square of the sum; each difference is squared by itself.",
                lambda a, b: np.nansum(a.astype(np.float64) - b, keepdims=True) ** 2,
            ),
            Slip("That is the mean, not the sum.", lambda a, b: np.nanmean((a - b) ** 2, keepdims=True)),
        ],
    )
