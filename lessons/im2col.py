"""The tasks of the lesson `3_im2col`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lessons.checks import Lesson, call, check_function, check_is_function, check_value, compare_result
from lessons.comparison import Case, Slip, failure

lesson = Lesson("3_im2col")


def quarters(*shape: int) -> np.ndarray:
    """Return uneven quarters from -2 to 2, so that sums of products are exact in any order."""
    return (np.random.default_rng(shape).integers(-8, 9, shape) / 4).astype(np.float32)


# Pictures, window, stride, padding. No two of C, H, W are alike, so that no axis can stand for another.
SIZES = [
    ((2, 3, 5, 6), 3, 1, 0),
    ((1, 2, 5, 7), 3, 2, 1),
    ((2, 1, 6, 4), 2, 2, 0),
    ((3, 2, 4, 5), 1, 1, 0),
    ((1, 3, 7, 8), 3, 3, 2),
    ((1, 1, 6, 9), 4, 3, 1),  # the window does not reach the last column
]


def _words(shape, size, stride, padding):
    n, c, h, w = shape
    return f"x of {n} × {c} × {h} × {w}, a window of {size}, stride {stride} and padding {padding}"


# ---- the specifications, patch by patch


def count(n, size, stride, padding):
    """Return how often a window fits."""
    return len(range(0, n + 2 * padding - size + 1, stride))


def _patches(x, size, stride, padding):
    """Return all patches, as (N, OH, OW, C, size, size)."""
    framed = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    seen = sliding_window_view(framed, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    return seen.transpose(0, 2, 3, 1, 4, 5)


def _table(x, size, stride, padding):
    seen = _patches(x, size, stride, padding)
    return seen.reshape(-1, int(np.prod(seen.shape[3:])))


def _convolution(x, weights, stride, padding):
    seen = _patches(x.astype(np.float64), weights.shape[-1], stride, padding)
    return np.einsum("nijcab,fcab->nfij", seen, weights)


def _col2im(table, shape, size, stride, padding):
    n, c, h, w = shape
    oh, ow = count(h, size, stride, padding), count(w, size, stride, padding)
    patches = table.reshape(n, oh, ow, c, size, size)
    framed = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for i in range(oh):
        for j in range(ow):
            framed[:, :, i * stride : i * stride + size, j * stride : j * stride + size] += patches[:, i, j]
    return framed[:, :, padding : padding + h, padding : padding + w]


def _backward(gradient, x, weights, stride, padding):
    size = weights.shape[-1]
    seen = _patches(x.astype(np.float64), size, stride, padding)
    by_patch = np.einsum("nfij,fcab->nijcab", gradient.astype(np.float64), weights)
    return _col2im(by_patch, x.shape, size, stride, padding), np.einsum("nfij,nijcab->fcab", gradient, seen)


# ---- the tasks


@lesson.task("Task 1, by hand", points=1)
def by_hand(places, middle_pixel, second_pixel):
    """Check the numbers for 5 × 5 pixels, a window of 3, stride 2 and padding 1."""
    check_value(
        "places",
        places,
        9,
        {
            3: "That is one direction.",
            25: "That is with stride 1.",
            4: "That is without the frame: with it the picture is 7 pixels wide.",
            16: "Two pixels at a time: the window's left column is pixel 0, 2 or 4.",
        },
    )
    check_value(
        "middle_pixel",
        middle_pixel,
        1,
        {9: "That is with stride 1.", 4: "Number 3 is between the edges 2 and 4: one window has it."},
    )
    check_value(
        "second_pixel",
        second_pixel,
        4,
        {
            2: "That is one direction; in two directions, multiply.",
            1: "With the frame it is number 2, and the first two windows have that.",
            9: "That is with stride 1.",
        },
    )


@lesson.task("Task 2, how many places", points=1)
def places(function):
    """Check a function that takes (n, size, stride, padding)."""
    numbers = [
        (7, 3, 1, 2),
        (5, 3, 2, 1),
        (7, 7, 1, 0),
        (28, 5, 2, 2),
        (6, 4, 3, 1),
        (5, 2, 4, 0),
        (8, 3, 1, 1),
        (1, 1, 5, 0),
    ]
    check_function(
        function,
        count,
        [
            Case(
                f"{n} pixels, a window of {size}, stride {stride} and padding {padding}",
                (n, size, stride, padding),
            )
            for n, size, stride, padding in numbers
        ],
        slips=[
            Slip("Round down: a place where the window hangs over the edge is none.", _rounded_up),
            Slip("The first place is missing: it is at 0.", lambda *numbers: np.array(count(*numbers) - 1)),
            Slip(
                "The padding is on both sides.",
                lambda n, size, stride, padding: np.array((n + padding - size) // stride + 1),
            ),
            Slip("The padding is missing.", lambda n, size, stride, _: np.array((n - size) // stride + 1)),
        ],
        shape_hint="One number is wanted.",
    )


def _rounded_up(n, size, stride, padding):
    return np.array(-(-(n + 2 * padding - size) // stride) + 1)


@lesson.task("Task 3, im2col", points=2)
def im2col(function):
    """Check a function that takes (x, size, stride, padding)."""

    def turned(x, size, stride, padding):
        seen = _patches(x, size, stride, padding)
        return seen.transpose(0, 1, 2, 4, 5, 3).reshape(-1, int(np.prod(seen.shape[3:])))

    def columns_first(x, size, stride, padding):
        return _patches(x.transpose(0, 1, 3, 2), size, stride, padding).transpose(0, 1, 2, 3, 5, 4)

    def table_columns_first(x, size, stride, padding):
        seen = columns_first(x, size, stride, padding)
        return seen.reshape(-1, int(np.prod(seen.shape[3:])))

    check_function(
        function,
        _table,
        [Case(_words(*sizes), (quarters(*sizes[0]), *sizes[1:])) for sizes in SIZES],
        slips=[
            Slip("In a row, the channels come one after the other: all of channel 0 first.", turned),
            Slip("The places go row by row: the column changes first.", table_columns_first),
            Slip(
                "Each patch is written column by column; go along its rows.",
                lambda *x: (
                    (seen := _patches(*x))
                    .transpose(0, 1, 2, 3, 5, 4)
                    .reshape(-1, int(np.prod(seen.shape[3:])))
                ),
            ),
            Slip("The stride is missing.", _without_stride),
        ],
        shape_hint="There is a row for each place of each picture, and a column for each pixel of a patch.",
    )


def _without_stride(x, size, stride, padding):
    wanted = _table(x, size, stride, padding)
    _, oh, ow = _patches(x, size, stride, padding).shape[:3]
    made = _patches(x, size, 1, padding)[:, :oh, :ow]
    return made.reshape(wanted.shape) if stride > 1 else np.full(wanted.shape, np.nan)


CONVOLUTIONS = [
    Case(
        f"{_words(shape, size, stride, padding)}, and {f} kernels",
        (quarters(*shape), quarters(f, shape[1], size, size), stride, padding),
    )
    for f, (shape, size, stride, padding) in zip((4, 5, 3, 1, 2, 4), SIZES, strict=True)
]


@lesson.task("Task 4, the convolution", points=1)
def convolution(function):
    """Check a function that takes (x, weights, stride, padding)."""

    def reshaped(x, weights, stride, padding):
        right = _convolution(x, weights, stride, padding)
        return right.transpose(0, 2, 3, 1).reshape(right.shape)

    check_function(
        function,
        _convolution,
        CONVOLUTIONS,
        slips=[
            Slip("The axes were only relabelled, with reshape; the kernels' axis must be moved.", reshaped),
            Slip(
                "The kernels were turned round; weight (0, 0) meets the upper left pixel.",
                lambda x, weights, *how: _convolution(x, weights[:, :, ::-1, ::-1], *how),
            ),
            Slip(
                "Rows and columns of the kernels are exchanged.",
                lambda x, weights, *how: _convolution(x, weights.transpose(0, 1, 3, 2), *how),
            ),
        ],
        shape_hint="Wanted are (pictures, kernels, rows, columns).",
    )


@lesson.task("Task 5, col2im", points=2)
def col2im(function):
    """Check a function that takes (table, shape, size, stride, padding)."""
    cases = []
    for shape, size, stride, padding in SIZES:
        n, c, h, w = shape
        rows = n * count(h, size, stride, padding) * count(w, size, stride, padding)
        table = quarters(rows, c * size * size)
        cases.append(Case(_words(shape, size, stride, padding), (table, shape, size, stride, padding)))

    def overwritten(table, shape, size, stride, padding):
        n, c, h, w = shape
        oh, ow = count(h, size, stride, padding), count(w, size, stride, padding)
        patches = table.reshape(n, oh, ow, c, size, size)
        framed = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
        for i in range(oh):
            for j in range(ow):
                framed[:, :, i * stride : i * stride + size, j * stride : j * stride + size] = patches[
                    :, i, j
                ]
        return framed[:, :, padding : padding + h, padding : padding + w]

    def mean(table, shape, size, stride, padding):
        ones = _col2im(np.ones_like(table), shape, size, stride, padding)
        return _col2im(table, shape, size, stride, padding) / np.maximum(ones, 1)

    check_function(
        function,
        _col2im,
        cases,
        slips=[
            Slip(
                "Patches that overlap have to add up; the last one has overwritten the others.", overwritten
            ),
            Slip("That is the mean of the patches; wanted is their sum.", mean),
        ],
        shape_hint="Wanted is the picture's shape, without its frame.",
    )


@lesson.task("Task 6, backward", points=2)
def backward(function):
    """Check a function that takes (gradient, x, weights, stride, padding)."""
    cases = []
    for case in CONVOLUTIONS:
        shape = _convolution(*case.inputs).shape
        cases.append(Case(case.words, (quarters(*shape), *case.inputs)))
    check_function(
        function,
        _backward,
        cases,
        slips={
            "the gradient by x": [
                Slip(
                    "The kernels were turned round; going back, the patch keeps its place.",
                    lambda g, x, weights, *how: _backward(g, x, weights[:, :, ::-1, ::-1], *how)[0],
                ),
                Slip(
                    "The gradient was only relabelled, with reshape; the kernels' axis must be moved.",
                    lambda g, *how: _backward(_relabelled(g), *how)[0],
                ),
            ],
            "the gradient by the weights": [
                Slip(
                    "That is the mean over the pictures; wanted is the sum.",
                    lambda g, x, *how: (
                        _backward(g, x, *how)[1] / len(x) if len(x) > 1 else np.full(how[0].shape, np.nan)
                    ),
                ),
                Slip(
                    "The gradient was only relabelled, with reshape; the kernels' axis must be moved.",
                    lambda g, *how: _backward(_relabelled(g), *how)[1],
                ),
            ],
        },
        shape_hint="Each gradient has the shape of what it belongs to.",
        results=("the gradient by x", "the gradient by the weights"),
    )


def _relabelled(gradient):
    n, f, h, w = gradient.shape
    return gradient.reshape(n, h, w, f).transpose(0, 3, 1, 2)


def view_and_values(answer, x, size, stride):
    """Return what the answer gives, and whether it lies in the memory of x: a probe."""
    made = answer(x, size, stride)
    return made, isinstance(made, np.ndarray) and bool(np.shares_memory(made, x, max_work=10**6))


@lesson.task("Extra task, patches without a copy", points=2, extra=True)
def patches(function):
    """Check a function that takes (x, size, stride) and returns a view."""
    check_is_function(function)
    for shape, size, stride, _ in SIZES:
        words = _words(shape, size, stride, 0)
        case = Case(words, (quarters(*shape), size, stride))
        made, shared = call(function, case, view_and_values)
        hint = "The places come before the channels: (N, OH, OW, C, size, size)."
        expected = _patches(*case.inputs, 0)
        compare_result("result", made, expected, case, shape_hint=hint)
        if not shared:
            raise failure(case, "the numbers were copied: the result does not lie in the memory of x.")
