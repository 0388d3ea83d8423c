"""The tasks of the lesson `2_sliding_average`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lessons.checks import Lesson, check_function, check_kernel, check_value
from lessons.comparison import Case, Slip
from minidl.instruments.tracer import trace
from minidl.kernels.sliding_average import sliding_average_naive_kernel, sliding_average_reference

THREADS = 32  # in a block, as the notebook says

lesson = Lesson("2_sliding_average")


def quarters(n: int, window: int, holes: dict | None = None, lift: float = 0) -> Case:
    """Make `n` uneven numbers, quarters from -8 to 8 with exact sums, raised by `lift`, and a window."""
    a = (np.random.default_rng(n).integers(-32, 33, n) / 4 + lift).astype(np.float32)
    words = f"{n} {'negative ' if lift < -8 else ''}numbers and a window of {window}"
    for i, value in (holes or {}).items():
        a[i] = value
        words += f", a[{i}] = {value}"
    return Case(words, (a, window))


UP_TO_A_BLOCK = [
    quarters(7, 3),
    quarters(70, 5),  # three blocks, the last one not full
    quarters(34, 3),  # fills one block
    quarters(65, 1),
    quarters(100, THREADS),  # the longest halo
    quarters(3 * THREADS - 1, THREADS),  # the longest halo, and two full blocks
    quarters(THREADS, THREADS),  # one output
]
HOLES = [quarters(90, 5, {40: np.nan, 77: np.inf})]
LONGER = [quarters(60, 40), quarters(200, 100), quarters(300, 128), quarters(33, 33), quarters(200, 65)]


def _wrong_window(words: str, late: int, longer: int, divisor: int | None) -> Slip:
    """Make the slip of a window that begins `late`, is `longer`, or is divided by window + `divisor`."""

    def values(a, window):
        made = np.full(a.size - window + 1, np.nan)
        length, share = window + longer, 1 if divisor is None else window + divisor
        for i in range(made.size):
            piece = a[i + late : i + late + length].astype(np.float64)
            if piece.size == length > 0 and share > 0:
                made[i] = piece.sum() / share
        return made

    return Slip(words, values)


STEPS = "a loop over the window takes `window` steps"
SLIPS = [
    _wrong_window("This is the sum of the window, not its average.", 0, 0, None),
    _wrong_window(f"The last number of each window is missing: {STEPS}.", 0, -1, 0),
    _wrong_window(f"This is the average of one number too few: {STEPS}.", 0, -1, -1),
    _wrong_window(f"Each window holds one number too many: {STEPS}.", 0, 1, 0),
    _wrong_window(f"This is the average of one number too many: {STEPS}.", 0, 1, 1),
    _wrong_window(
        "The first number of each window is missing: the window of out[i] begins at a[i].", 1, -1, 0
    ),
    _wrong_window("The window begins one place too late: the window of out[i] begins at a[i].", 1, 0, 0),
    _wrong_window("The sum is right, but what it is divided by is one too small.", 0, 0, -1),
    _wrong_window("The sum is right, but what it is divided by is one too large.", 0, 0, 1),
    Slip("These are the numbers themselves: where is the sum?", lambda a, window: a[: a.size - window + 1]),
]
NOT_SHARED = (
    "Each thread fetches its own number, some fetch one more for the halo, "
    "and everything else is read from shared memory."
)


@lesson.task("Task 1, by hand", points=1)
def by_hand(how_many, first, last):
    """Check the averages of 7 1 4 2 6 1 8 6 over three."""
    right = sliding_average_reference(np.array([7, 1, 4, 2, 6, 1, 8, 6], np.float32), 3)
    check_value(
        "how_many",
        how_many,
        right.size,
        {
            8: "A window that begins at the 1st number fits, but one that begins at the 8th does not.",
            7: "A window that begins at the 7th number would hang over the end.",
            5: "That is 8 − 3. Count the first place and the last: 8 − 3 + 1.",
        },
    )
    check_value(
        "first", first, right[0], {12: "That is the sum, not the average.", 4.5: "Three numbers, not four."}
    )
    check_value(
        "last",
        last,
        right[-1],
        {
            15: "That is the sum, not the average.",
            7: "That window holds two numbers only; the last one with three begins at 1.",
            14 / 3: "That window hangs over the end; the last one that fits begins at 1.",
            6: "That window holds one number only; the last one with three begins at 1.",
        },
    )


@lesson.task("Task 2, the specification", points=1)
def specification(function):
    """Check a Python function that takes (a, window)."""
    check_function(
        function,
        sliding_average_reference,
        [*UP_TO_A_BLOCK, *HOLES, *LONGER],
        SLIPS,
        shape_hint="There are n - window + 1 averages: the window stops only where it fits as a whole.",
    )


@lesson.task("Task 3, one thread for each output", points=1)
def grey(kernel):
    """Check a kernel that takes (out, a)."""
    cases = []
    for n in (7, THREADS, 70, 3 * THREADS, 100):
        a = (np.random.default_rng(n).integers(-16, 17, n) / 16).astype(np.float32)
        cases.append(Case(f"{n} numbers", (a,)))
    check_kernel(
        kernel,
        lambda a: (a + 1) / 2,
        cases,
        THREADS,
        "out, a",
        slips=[
            Slip(
                "Only the 1 was divided: a product or quotient comes before a sum; use brackets.",
                lambda a: a + 0.5,
            ),
            Slip("The 1 is missing.", lambda a: a / 2),
            Slip("The division by 2 is missing.", lambda a: a + 1),
        ],
        limits=lambda a: {"global_reads": 1, "global_writes": 1},
    )


@lesson.task("Task 4, the obvious way", points=1)
def obvious(kernel):
    """Check a kernel that takes (out, a, window), for any window."""
    check_kernel(
        kernel,
        sliding_average_reference,
        [*UP_TO_A_BLOCK, *HOLES, *LONGER[:2]],
        THREADS,
        "out, a, window",
        SLIPS,
        limits=lambda a, window: {"global_reads": window, "global_writes": 1},
        advice={
            "global_writes": "Add up in a local variable, and write the average once, after the loop.",
            "global_reads": "A thread reads each number of its window once. `out` is global memory too.",
        },
    )


@lesson.task("Task 5, predict", points=1)
def prediction(reads_of_a_thread, reads_together, different_numbers):
    """Check predictions for 104 numbers, a window of 5 and blocks of 32 threads: the tracer counts."""
    a, window = np.zeros(104, np.float32), 5
    out = np.zeros(a.size - window + 1, np.float32)
    seen = trace(
        sliding_average_naive_kernel, -(-out.size // THREADS), THREADS, a, window, np.float32(0.2), out
    )
    reads = seen.counts()["global_reads"]
    check_value(
        "reads_of_a_thread",
        reads_of_a_thread,
        reads.max_per_thread,
        {
            6: "The write of the average is not a read.",
            4: "The window begins at a[i] and ends at a[i + 4]: that is one more.",
            1: "It reads each of the numbers of its window.",
        },
    )
    check_value(
        "reads_together",
        reads_together,
        reads.total,
        {
            640: "128 threads are started, but those without an output stop at the guard and read nothing.",
            520: "104 numbers were given; count the threads that have an output.",
            104: "That would be each number read once. Every thread reads its whole window.",
            160: "That is one block of four.",
        },
    )
    check_value(
        "different_numbers",
        different_numbers,
        THREADS + window - 1,
        {
            32: "The windows of the last outputs reach beyond the block's own 32 numbers.",
            37: "Thread 31 needs a[31] to a[35]. With a[0], how many is that?",
            35: "Thread 31 needs a[31] to a[35]. With a[0], how many is that?",
            160: "That counts a number as often as it is read. Count it once.",
            100: "That is for all blocks; block 0 has the first 32 outputs.",
            104: "That is for all blocks; block 0 has the first 32 outputs.",
        },
    )


@lesson.task("Task 6, fetch once, share", points=3)
def fetched_once(kernel):
    """Check a kernel that takes (out, a, window), for windows of up to a block."""
    check_kernel(
        kernel,
        sliding_average_reference,
        [*UP_TO_A_BLOCK, *HOLES],
        THREADS,
        "out, a, window",
        SLIPS,
        limits=lambda a, window: {"global_reads": 2, "global_writes": 1},
        advice={"global_reads": NOT_SHARED},
    )


@lesson.task("Task 7, repair", points=2)
def largest(kernel):
    """Check the repaired kernel, which takes (out, a, window), for windows of up to a block."""
    check_kernel(
        kernel,
        lambda a, window: sliding_window_view(a, window).max(axis=1),
        [*UP_TO_A_BLOCK, quarters(80, 4, lift=-9)],
        THREADS,
        "out, a, window",
        slips=[
            Slip(
                "The search for the largest begins at 0, and that is larger than any negative number.",
                lambda a, window: np.maximum(sliding_window_view(a, window).max(axis=1), 0),
            ),
            Slip(
                "This is the smallest of the window.",
                lambda a, window: sliding_window_view(a, window).min(axis=1),
            ),
        ],
        limits=lambda a, window: {"global_reads": 2, "global_writes": 1},
        advice={"global_reads": NOT_SHARED},
    )


@lesson.task("Extra task, a long window", points=2, extra=True)
def long_window(kernel):
    """Check a kernel that takes (out, a, window), for windows of up to 128."""
    check_kernel(
        kernel,
        sliding_average_reference,
        [*LONGER, *UP_TO_A_BLOCK, *HOLES],
        THREADS,
        "out, a, window",
        SLIPS,
        limits=lambda a, window: {"global_reads": -(-(THREADS + window - 1) // THREADS), "global_writes": 1},
        advice={"global_reads": "Deal the numbers out evenly, and read from shared memory in the loop."},
    )
