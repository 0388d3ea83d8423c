"""The tasks of the lesson `5_dense_and_conv`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lessons.checks import Lesson, check_function, check_value
from lessons.comparison import Case, Slip

lesson = Lesson("5_dense_and_conv")


def _quarters(seed, *shape):
    """Return uneven numbers, quarters from -4 to 4, with exact sums."""
    return np.random.default_rng([seed, *shape]).integers(-16, 17, shape).astype(np.float32) / 4


@lesson.task("Task 1, by hand", points=1)
def by_hand(side, dense_weights, conv_weights):
    """Check sizes of a layer on a 28 × 28 picture."""
    check_value(
        "side",
        side,
        13,
        {
            26: "The window moves two pixels at a time.",
            14: "The last position, at the 26th pixel, would hang over the edge.",
            12: "Count the first position as well: (28 − 3) // 2 + 1.",
            12.5: "A window stops at whole pixels only, and the first position counts as well.",
        },
    )
    check_value(
        "dense_weights",
        dense_weights,
        28 * 28 * 16 + 16,
        {
            28 * 28 * 16: "Each output has a bias too.",
            28 * 16 + 16: "A picture has 28 · 28 numbers.",
            28 * 28 + 16: "Every output has its own 784 weights.",
        },
    )
    check_value(
        "conv_weights",
        conv_weights,
        3 * 3 * 16 + 16,
        {
            3 * 3 * 16: "Each filter has a bias too.",
            3 * 3: "That is one filter; there are 16, each with a bias.",
            13 * 13 * (3 * 3 * 16 + 16): "The filters are the same at every position, and are stored once.",
            28 * 28 * 16 + 16: "A filter sees 3 × 3 pixels, not the whole picture.",
        },
    )


@lesson.task("Task 2, how large is the result", points=1)
def output_size(function):
    """Check a function of (n, kernel, stride, padding) that returns a number of positions."""
    settings = [
        (28, 3, 1, 0),
        (28, 3, 2, 0),
        (28, 5, 1, 2),
        (7, 7, 1, 0),
        (7, 2, 3, 1),
        (28, 4, 2, 1),
        (11, 3, 4, 0),
        (5, 1, 5, 0),
        (9, 4, 3, 2),
    ]
    check_function(
        function,
        lambda n, k, s, p: (n + 2 * p - k) // s + 1,
        [
            Case(f"{n} pixels, a window of {k}, a stride of {s}, a padding of {p}", (n, k, s, p))
            for n, k, s, p in settings
        ],
        [
            Slip("Count the first position as well.", lambda n, k, s, p: (n + 2 * p - k) // s),
            Slip("Padding is added on both sides.", lambda n, k, s, p: (n + p - k) // s + 1),
            Slip("The padding is missing.", lambda n, k, s, p: (n - k) // s + 1),
            Slip(
                "The last window must not hang over the edge: round down.",
                lambda n, k, s, p: -(-(n + 2 * p - k) // s) + 1,
            ),
            Slip("There are whole positions only: use //.", lambda n, k, s, p: (n + 2 * p - k) / s + 1),
            Slip(
                "The 1 belongs outside: the first position is there whatever the stride.",
                lambda n, k, s, p: (n + 2 * p - k + 1) // s,
            ),
        ],
    )


@lesson.task("Task 3, dense", points=1)
def dense(function):
    """Check a function of (x, w, b): x (pictures, in), w (in, out), b (out,)."""
    shapes = [(4, 3, 5), (1, 7, 2), (6, 6, 6), (5, 1, 3), (3, 9, 1)]
    check_function(
        function,
        lambda x, w, b: x @ w + b,
        [
            Case(
                f"{n} pictures, {k} inputs and {m} outputs",
                (_quarters(1, n, k), _quarters(2, k, m), _quarters(3, m)),
            )
            for n, k, m in shapes
        ],
        [
            Slip("The bias is missing.", lambda x, w, b: x @ w),
            Slip(
                "The weights are turned over: rows are inputs, columns are outputs.",
                lambda x, w, b: (
                    x @ w.T + b if w.shape[0] == w.shape[1] else np.full((len(x), w.shape[1]), np.nan)
                ),
            ),
            Slip(
                "Every picture gets the same bias: one number for each *output*, not for each picture.",
                lambda x, w, b: (
                    x @ w + b[:, None] if len(x) == len(b) else np.full((len(x), w.shape[1]), np.nan)
                ),
            ),
            Slip("Adding the bias once is enough.", lambda x, w, b: x @ w + 2 * b),
        ],
        "There is a row for each picture, and a column for each output.",
    )


def _dense_backward(x, w, dy):
    return dy @ w.T, x.T @ dy, dy.sum(axis=0)


@lesson.task("Task 4, the way back through dense", points=2)
def dense_backward(function):
    """Check a function of (x, w, dy) that returns (dx, dw, db)."""
    shapes = [(4, 3, 5), (1, 7, 2), (6, 6, 6), (5, 1, 3)]

    def only_square(values):
        """Where shapes allow it, what a transposition that is missing or too many makes."""
        return lambda x, w, dy: (
            values(x, w, dy) if x.shape[0] == x.shape[1] == w.shape[1] else np.full(1, np.nan)
        )

    check_function(
        function,
        _dense_backward,
        [
            Case(
                f"{n} pictures, {k} inputs and {m} outputs",
                (_quarters(1, n, k), _quarters(2, k, m), _quarters(4, n, m)),
            )
            for n, k, m in shapes
        ],
        {
            "dx": [
                Slip(
                    "The weights have to be turned over on the way back.",
                    only_square(lambda x, w, dy: dy @ w),
                )
            ],
            "dw": [
                Slip(
                    "All pictures add to the gradient of a weight: a sum, not a mean.",
                    lambda x, w, dy: x.T @ dy / len(x),
                ),
                Slip("It is x that is turned over.", only_square(lambda x, w, dy: x @ dy)),
                Slip("The two factors are swapped.", only_square(lambda x, w, dy: dy.T @ x)),
            ],
            "db": [
                Slip(
                    "All pictures add to the gradient of a bias: a sum, not a mean.",
                    lambda x, w, dy: dy.mean(axis=0),
                ),
                Slip(
                    "Add up over the pictures, axis 0.",
                    lambda x, w, dy: (
                        dy.sum(axis=1) if len(set(dy.shape)) == 1 else np.full(dy.shape[1], np.nan)
                    ),
                ),
            ],
        },
        "A gradient has the shape of what it belongs to.",
        results=("dx", "dw", "db"),
    )


def _convolve(x, w, b, stride=1, padding=0):
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]


CONVOLUTIONS = [  # pictures, channels in and out, height, width, kernel height and width, stride, padding
    (1, 1, 1, 5, 6, 3, 3, 1, 0),
    (2, 3, 4, 7, 5, 3, 2, 1, 0),
    (1, 2, 3, 6, 6, 3, 3, 1, 1),
    (3, 1, 2, 8, 7, 2, 3, 2, 0),
    (2, 2, 2, 9, 8, 4, 3, 3, 2),
    (1, 4, 5, 4, 4, 4, 4, 1, 0),
    (1, 3, 1, 5, 5, 1, 1, 2, 0),
]


def _convolution_case(n, c, o, h, w, i, j, stride, padding):
    words = f"{n} pictures of {c} × {h} × {w}, {o} filters of {i} × {j}, stride {stride}, padding {padding}"
    return Case(words, (_quarters(5, n, c, h, w), _quarters(6, o, c, i, j), _quarters(7, o), stride, padding))


@lesson.task("Task 5, convolution", points=2)
def conv2d(function):
    """Check a function of (x, w, b, stride, padding) in NCHW and OIHW."""
    cases = [_convolution_case(*numbers) for numbers in CONVOLUTIONS]
    holes = _convolution_case(1, 2, 2, 7, 7, 3, 3, 1, 0)
    holes.inputs[0][0, 1, 2, 3] = np.nan
    cases.append(Case(f"{holes.words}, one pixel NaN", holes.inputs))

    def first_channel(x, w, b, stride, padding):
        return _convolve(x[:, :1], w[:, :1], b, stride, padding)

    check_function(
        function,
        _convolve,
        cases,
        [
            Slip("The bias is missing.", lambda x, w, b, s, p: _convolve(x, w, 0 * b, s, p)),
            Slip(
                "The filter is turned around, as in mathematics; networks do not do that.",
                lambda x, w, b, s, p: _convolve(x, w[:, :, ::-1, ::-1], b, s, p),
            ),
            Slip("Only the first channel has been used: add up over all channels.", first_channel),
            Slip(
                "The bias has been added once for each channel.",
                lambda x, w, b, s, p: _convolve(x, w, b * x.shape[1], s, p),
            ),
            Slip(
                "The bias has been added once for each weight.",
                lambda x, w, b, s, p: _convolve(x, w, b * w[0].size, s, p),
            ),
            Slip(
                "The last row and column of each filter are missing.",
                lambda x, w, b, s, p: _without_last(x, w, b, s, p),
            ),
        ],
        "In each direction there are (n + 2 · padding − kernel) // stride + 1 positions.",
    )


def _without_last(x, w, b, stride, padding):
    shorter = np.array(w)
    shorter[:, :, -1], shorter[:, :, :, -1] = 0, 0
    return _convolve(x, shorter, b, stride, padding)


@lesson.task("Task 6, what a pixel sees", points=2)
def receptive_field(function):
    """Check a function of a list of (kernel, stride) that returns the pixels one output depends on."""
    stacks = [
        [(3, 1)],
        [(3, 2)],
        [(3, 1), (3, 1)],
        [(3, 2), (3, 1)],
        [(5, 1), (2, 2), (5, 1), (2, 2)],
        [(7, 2), (3, 2), (3, 1), (3, 1)],
        [(1, 1), (1, 3), (2, 1)],
        [],
    ]

    def right(layers):
        seen, step = 1, 1
        for kernel, stride in layers:
            seen, step = seen + (kernel - 1) * step, step * stride
        return seen

    def early_step(layers):
        seen, step = 1, 1
        for kernel, stride in layers:
            step *= stride
            seen += (kernel - 1) * step
        return seen

    check_function(
        function,
        right,
        [
            Case(
                "no layer" if not layers else ", then ".join(f"{k} wide with stride {s}" for k, s in layers),
                (layers,),
            )
            for layers in stacks
        ],
        [
            Slip(
                "Windows overlap: a second window of 3 adds two pixels, not three.",
                lambda layers: sum(k for k, s in layers),
            ),
            Slip(
                "That is the product; windows side by side overlap.",
                lambda layers: np.prod([k for k, s in layers]),
            ),
            Slip(
                "A step of a later layer is as wide as all the strides before it together.",
                lambda layers: 1 + sum(k - 1 for k, s in layers),
            ),
            Slip("A layer's own stride does not widen its own window, only those after it.", early_step),
        ],
    )


@lesson.task("Extra task, dense is a convolution", points=2, extra=True)
def as_convolution(function):
    """Check a function of (w, shape) that turns a dense layer's weights into filters."""
    cases = []
    for c, h, wide, m in ((1, 3, 3, 2), (2, 3, 4, 5), (3, 2, 5, 1), (4, 1, 1, 3)):
        cases.append(
            Case(
                f"a dense layer from {c} × {h} × {wide} to {m}", (_quarters(8, c * h * wide, m), (c, h, wide))
            )
        )

    def right(w, shape):
        return w.T.reshape(-1, *shape)

    def unturned(w, shape):
        return w.reshape(-1, *shape)

    def channels_last(w, shape):
        c, h, wide = shape
        return w.T.reshape(-1, h, wide, c).transpose(0, 3, 1, 2)

    check_function(
        function,
        right,
        cases,
        [
            Slip("A filter is a *column* of the weights: turn them over first.", unturned),
            Slip(
                "The numbers of a picture come channel by channel, and each channel row by row.",
                channels_last,
            ),
        ],
        "One filter for each output, and each has the picture's shape: (outputs, channels, height, width).",
    )
