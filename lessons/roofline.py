"""The tasks of the lesson `1_roofline`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import math

import numpy as np

from lessons.checks import Lesson, check_choice, check_function, check_value
from lessons.comparison import Case, Slip

BANDWIDTH, PEAK = 20e9, 500e9  # the machine of tasks 1 and 5, as the notebook says
ROOFS = ("memory", "arithmetic")

lesson = Lesson("1_roofline")


def _least(flops, moved, bandwidth, peak):
    return max(moved / bandwidth, flops / peak)


@lesson.task("Task 1, by hand", points=1)
def by_hand(ridge, intensity, rate):
    """Check the corner of a roofline, and where the sum of two arrays stands under it."""
    check_value(
        "ridge",
        ridge,
        PEAK / BANDWIDTH,
        {
            BANDWIDTH / PEAK: "That is bytes per operation; the corner is in operations per byte.",
            PEAK / BANDWIDTH / 4: "That is per number of 4 bytes; count per byte.",
            PEAK / BANDWIDTH * 4: "That is per number of 4 bytes; count per byte.",
        },
    )
    check_value(
        "intensity",
        intensity,
        1 / 12,
        {
            1 / 8: "Two numbers are read, and one is written: writing moves bytes too.",
            1 / 4: "That counts the write alone, or one number; each sum moves three numbers.",
            1 / 3: "That is per number; each of the three numbers has 4 bytes.",
            12: "That is bytes per operation, upside down.",
            1: "That is the operations alone; how many bytes does one sum move?",
        },
    )
    check_value(
        "rate",
        rate,
        BANDWIDTH / 12,
        {
            BANDWIDTH / 12 / 1e9: "The right digits, but in GFLOP/s; give operations per second.",
            PEAK: "That is the ceiling. At 1/12 operation per byte the memory cannot keep up with it.",
            PEAK / 12: "It is the bandwidth that is multiplied by the intensity, not the peak.",
            BANDWIDTH: "That is bytes per second; how many operations come with each byte?",
            BANDWIDTH
            * 12: "12 bytes for one operation, so the rate is smaller than the bandwidth, not larger.",
        },
    )


@lesson.task("Task 2, what a product costs", points=1)
def product_costs(function):
    """Check a function of (n, k, m, itemsize) that returns (operations, bytes) of a matrix product."""
    sizes = [(3, 5, 7, 4), (1, 256, 512, 4), (64, 100, 256, 8), (2, 1, 1, 2), (17, 33, 1, 4)]
    check_function(
        function,
        lambda n, k, m, itemsize: (2 * n * k * m, itemsize * (n * k + k * m + n * m)),
        [
            Case(f"n, k, m = {n}, {k}, {m} and {size} bytes a number", (n, k, m, size))
            for n, k, m, size in sizes
        ],
        {
            "operations": [
                Slip(
                    "Each step multiplies *and* adds: two operations.",
                    lambda n, k, m, s: n * k * m,
                ),
                Slip(
                    "Each of the n · m results is a sum over k products.",
                    lambda n, k, m, s: 2 * n * m,
                ),
            ],
            "bytes": [
                Slip(
                    "That counts numbers; each has `itemsize` bytes.",
                    lambda n, k, m, s: n * k + k * m + n * m,
                ),
                Slip(
                    "The result has to be written as well.",
                    lambda n, k, m, s: s * (n * k + k * m),
                ),
                Slip(
                    "That has 4 bytes for every number, whatever `itemsize` says.",
                    lambda n, k, m, s: 4 * (n * k + k * m + n * m),
                ),
                Slip(
                    "That fetches every factor anew. At best it is fetched once, then used from close by.",
                    lambda n, k, m, s: s * (2 * n * k * m + n * m),
                ),
            ],
        },
        results=("operations", "bytes"),
    )


@lesson.task("Task 3, the roof", points=1)
def roof(function):
    """Check a function of (intensity, bandwidth, peak), with an array of intensities."""
    cases = [
        Case("seven intensities", (np.array([0.01, 0.5, 4, 24.9, 25, 25.1, 3000]), 20e9, 500e9)),
        Case("intensities in no order", (np.array([90.0, 0.25, 7, 1e-4, 19, 21]), 3.35e12, 67e12)),
        Case("one intensity", (np.array([2.5]), 1e9, 1e9)),
        Case("intensities in two rows", (np.array([[1.0, 30], [300, 3]]), 0.9e12, 14e12)),
    ]
    check_function(
        function,
        lambda intensity, bandwidth, peak: np.minimum(intensity * bandwidth, peak),
        cases,
        [
            Slip(
                "The larger of the two is more than the machine can do; take the smaller.",
                lambda i, b, p: np.maximum(i * b, p),
            ),
            Slip("The slope is right, but it must end at the ceiling.", lambda i, b, p: i * b),
            Slip("That is the ceiling everywhere.", lambda i, b, p: np.full(i.shape, p)),
            Slip(
                "Bytes per second times operations per *byte*: multiply by the intensity.",
                lambda i, b, p: np.minimum(b / i, p),
            ),
            Slip(
                "One answer for all: compare each intensity by itself, with np.minimum.",
                lambda i, b, p: np.full(i.shape, min(i.max() * b, p)),
            ),
        ],
        shape_hint="There is one rate for each intensity; np.minimum compares number by number.",
    )


@lesson.task("Task 4, the least time", points=1)
def least_time(function):
    """Check a function of (flops, moved, bandwidth, peak) that returns seconds."""
    cases = [
        Case("1 GFLOP and 1 GB", (1e9, 1e9, 20e9, 500e9)),
        Case("100 GFLOP and 1 MB", (1e11, 1e6, 20e9, 500e9)),
        Case("no operation at all, a copy of 64 MB", (0, 128e6, 20e9, 500e9)),
        Case("all numbers in registers, no byte to move", (3e9, 0, 20e9, 500e9)),
        Case("nothing to do", (0, 0, 20e9, 500e9)),
        Case("1 MFLOP and 3 MB on a large GPU", (1e6, 3e6, 3.35e12, 67e12)),
    ]

    check_function(
        function,
        _least,
        cases,
        [
            Slip(
                "Arithmetic and traffic run at the same time, so the longer of the two counts, not the sum.",
                lambda f, m, b, p: m / b + f / p,
            ),
            Slip(
                "That is the shorter of the two times; the machine is done when both are.",
                lambda f, m, b, p: min(m / b, f / p),
            ),
            Slip("The arithmetic is missing.", lambda f, m, b, p: m / b),
            Slip("The traffic is missing.", lambda f, m, b, p: f / p),
            Slip(
                "Bytes go with the bandwidth, operations with the peak: they are swapped.",
                lambda f, m, b, p: max(m / p, f / b),
            ),
        ],
    )


BATCHES = [
    (256, 512, 20e9, 500e9, 4),
    (100, 256, 3.35e12, 67e12, 4),
    (512, 784, 3.35e12, 67e12, 4),
    (4096, 4096, 3.35e12, 989e12, 2),
    (1000, 1, 20e9, 500e9, 4),  # a layer with one output never reaches the corner
    (100, 256, 3.35e12, 989e12, 2),
    (64, 64, 1e9, 1e9, 4),  # already with few
]


def _intensity(n, k, m, itemsize):
    return 2 * n * k * m / (itemsize * (n * k + k * m + n * m))


def _smallest(k, m, bandwidth, peak, itemsize):
    ridge = peak / bandwidth
    if 2 * k * m <= ridge * itemsize * (k + m):
        return math.inf
    return math.ceil(ridge * itemsize * k * m / (2 * k * m - ridge * itemsize * (k + m)) - 1e-9)


@lesson.task("Task 5, memory or arithmetic", points=1)
def which_roof(addition, one_picture, many_pictures):
    """Check which of the two roofs three kernels stand under, on the machine of task 1."""
    right = {
        "addition": 1 / 12,
        "one_picture": _intensity(1, 256, 512, 4),
        "many_pictures": _intensity(256, 256, 512, 4),
    }
    for (name, intensity), got in zip(right.items(), (addition, one_picture, many_pictures), strict=True):
        expected = ROOFS[intensity > PEAK / BANDWIDTH]
        other = ROOFS[intensity <= PEAK / BANDWIDTH]
        side = "left" if expected == "memory" else "right"
        words = f"It does {intensity:.3g} operations per byte; the corner is at {PEAK / BANDWIDTH:g}. "
        check_choice(name, got, expected, ROOFS, {other: f"{words}So it stands {side} of the corner."})


@lesson.task("Task 6, how many pictures at once", points=2)
def smallest_batch(function):
    """Check a function of (k, m, bandwidth, peak, itemsize): the smallest batch that arithmetic limits."""
    cases = [
        Case(
            f"a layer from {k} to {m}, {bandwidth / 1e9:g} GB/s, {peak / 1e9:g} GFLOP/s, {size}-byte numbers",
            (k, m, bandwidth, peak, size),
        )
        for k, m, bandwidth, peak, size in BATCHES
    ]

    def near(step):
        return lambda *case: _smallest(*case) + step if _smallest(*case) < math.inf else np.nan

    def no_activations(k, m, bandwidth, peak, itemsize):
        return math.ceil(peak / bandwidth * itemsize / 2)

    check_function(
        function,
        _smallest,
        cases,
        [
            Slip("That one is still limited by memory; the next batch is the first that is not.", near(-1)),
            Slip("A batch with one picture less is limited by arithmetic already.", near(1)),
            Slip(
                "That counts the weights' bytes alone. Each picture brings k numbers along and takes m away.",
                no_activations,
            ),
        ],
    )


@lesson.task("Task 7, predict", points=1)
def prediction(function):
    """Check a function of (n, bandwidth, peak): the least seconds for y = 3·x + y, in float32."""
    cases = [
        Case("a million numbers", (1_000_000, 20e9, 500e9)),
        Case("10,000,001 numbers and a slow processor", (10_000_001, 20e9, 1e9)),
        Case("12,345 numbers on a large GPU", (12_345, 3.35e12, 67e12)),
    ]

    def of(values, flops=2):
        return lambda n, b, p: _least(flops * n, 4 * values * n, b, p)

    check_function(
        function,
        of(3),
        cases,
        [
            Slip("x and y are read and y is written: three numbers for each i, not two.", of(2)),
            Slip("x and y are read and y is written: three numbers for each i, not four.", of(4)),
            Slip("That has one byte for each number; a float32 has four.", of(3 / 4)),
            Slip("A float32 has 4 bytes, not 8.", of(6)),
            Slip("Two operations for each i: one multiplication, one addition.", of(3, 1)),
            Slip("With few operations a second, arithmetic can be what takes longest.", of(3, 0)),
        ],
    )


@lesson.task("Extra task, what fusing gains", points=2, extra=True)
def fusing(function):
    """Check a function of (passes, bandwidth, peak): how many times faster one fused loop can be."""

    def gain(passes, bandwidth, peak):
        return passes * _least(1, 8, bandwidth, peak) / _least(passes, 8, bandwidth, peak)

    check_function(
        function,
        gain,
        [
            Case("one pass", (1, 20e9, 500e9)),
            Case("5 passes", (5, 20e9, 500e9)),
            Case("1,000 passes, which reach the ceiling", (1000, 20e9, 500e9)),
            Case("7 passes on a machine that computes slowly", (7, 20e9, 10e9)),
            Case("3 passes on a machine that computes very slowly", (3, 20e9, 1e9)),
        ],
        [
            Slip(
                "Not without end: at some number of passes the fused loop reaches the ceiling.",
                lambda k, b, p: k,
            ),
            Slip(
                "That is the gain upside down: the time of the separate passes goes on top.",
                lambda k, b, p: 1 / gain(k, b, p),
            ),
            Slip(
                "A single pass, too, may be limited by arithmetic.",
                lambda k, b, p: k * 8 / b / _least(k, 8, b, p),
            ),
            Slip(
                "A pass reads a number and writes one: 8 bytes.",
                lambda k, b, p: k * _least(1, 4, b, p) / _least(k, 4, b, p),
            ),
        ],
    )
