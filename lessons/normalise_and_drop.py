"""The tasks of the lesson `5_normalise_and_drop`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import numpy as np

from lessons.checks import Lesson, check_function, check_value
from lessons.comparison import Case, Slip

EPS = 1e-5

lesson = Lesson("5_normalise_and_drop")


def _numbers(seed, *shape):
    """Return numbers whose channels differ in mean and spread."""
    random = np.random.default_rng([seed, *shape])
    channel = (1, -1) + (1,) * (len(shape) - 2)
    spread = random.uniform(0.5, 4, shape[1]).reshape(channel)
    return random.standard_normal(shape) * spread + random.uniform(-5, 5, shape[1]).reshape(channel)


def _over(x):
    """The axes that a channel's numbers lie along: all but axis 1."""
    return tuple(axis for axis in range(x.ndim) if axis != 1)


def _channels(v, x):
    return np.asarray(v).reshape((1, -1) + (1,) * (x.ndim - 2))


@lesson.task("Task 1, by hand", points=1)
def by_hand(first, kept, mean_after):
    """Check 1 3 5 7 normalised, and a number that dropout has kept."""
    check_value(
        "first",
        first,
        -3 / 5**0.5,
        {
            3 / 5**0.5: "1 lies *below* the mean of 4.",
            -3 / 5: "Divide by the root of the variance, not by the variance.",
            -3: "The mean has been taken off, and now divide by the root of the variance.",
            -3
            / (20 / 3) ** 0.5: "That divides the squares by 3. A batch is normalised with its own n, here 4.",
        },
    )
    check_value(
        "kept",
        kept,
        8,
        {
            6: "In training, what is kept is made larger, so that the mean stays what it was.",
            4.5: "What is kept is made larger, not smaller: divided by the share that is kept.",
            24: "Divide by the share that is *kept*, 3/4.",
            7.5: "Divide by 3/4; that is not the same as a quarter more.",
        },
    )
    check_value(
        "mean_after",
        mean_after,
        6,
        {
            4.5: "A quarter of them is 0, but the others have grown.",
            8: "That is what is kept; a quarter of the numbers is 0.",
            0: "Only a quarter of the numbers is 0.",
        },
    )


def _drop(x, p, drawn, training):
    if not training or p == 0:
        return x
    return np.zeros_like(x) if p == 1 else np.where(drawn >= p, x / (1 - p), 0)


@lesson.task("Task 2, drop", points=1)
def dropout(function):
    """Check a function of (x, p, drawn, training)."""
    cases = []
    for shape, p, training in (
        ((5, 7), 0.5, True),
        ((40,), 0.2, True),
        ((3, 4, 5), 0.9, True),
        ((6, 2), 0.5, False),
        ((9,), 0.0, True),
        ((9,), 1.0, True),
        ((9,), 1.0, False),
    ):
        random = np.random.default_rng([2, *shape])
        x, drawn = random.standard_normal(shape), random.random(shape)
        words = f"{'training' if training else 'evaluation'}, p = {p:g} and an array of shape {shape}"
        cases.append(Case(words, (x, p, drawn, training)))
    holes = np.array([1.0, np.nan, np.inf, 2.0])
    cases.append(
        Case("training, p = 0.5, and holes in x", (holes, 0.5, np.array([0.7, 0.1, 0.2, 0.3]), True))
    )
    exactly = np.array([1.0, 2.0, 3.0, 4.0]), 0.25, np.array([0.1, 0.25, 0.5, 0.9]), True
    cases.append(Case("training, p = 0.25, of which 0.25 is drawn once", exactly))
    check_function(
        function,
        _drop,
        cases,
        [
            Slip(
                "A number is dropped where *less* than p was drawn; where exactly p was drawn, it is kept.",
                lambda x, p, d, t: np.where(d > p, x / max(1 - p, 1e-9), 0) if t else x,
            ),
            Slip(
                "What is kept must be divided by 1 − p, so that the mean stays.",
                lambda x, p, d, t: np.where(d >= p, x, 0) if t else x,
            ),
            Slip(
                "p is the share that is dropped, so the share 1 − p is kept.",
                lambda x, p, d, t: np.where(d < p, x / max(p, 1e-9), 0) if t else x,
            ),
            Slip(
                "What is kept is divided by the share that is kept, 1 − p, not by p.",
                lambda x, p, d, t: np.where(d >= p, x / max(p, 1e-9), 0) if t else x,
            ),
            Slip("Outside training nothing is dropped.", lambda x, p, d, t: _drop(x, p, d, True)),
            Slip(
                "Outside training nothing is scaled either.",
                lambda x, p, d, t: _drop(x, p, d, True) if t else x * (1 - p),
            ),
        ],
    )


def _normalised(x, eps, axis):
    mean = x.mean(axis=axis, keepdims=True)
    return (x - mean) / np.sqrt(x.var(axis=axis, keepdims=True) + eps)


SHAPES = [(6, 3), (5, 4, 3, 2), (7, 1), (2, 5, 4), (8, 8), (1, 3, 6, 5), (4, 4, 4, 4)]


@lesson.task("Task 3, batch normalisation", points=2)
def batch_norm(function):
    """Check a function of (x, weight, bias, eps), with channels along axis 1."""
    cases = []
    for shape in SHAPES:
        random = np.random.default_rng([3, *shape])
        weight, bias = random.uniform(0.5, 2, shape[1]), random.uniform(-1, 1, shape[1])
        cases.append(Case(f"x of shape {shape}", (_numbers(3, *shape), weight, bias, EPS)))
    alike = np.full((4, 2), 3.0)
    cases.append(Case("a batch in which all numbers are alike", (alike, np.ones(2), np.zeros(2), 1e-3)))
    cases.append(Case("a large eps of 0.5", (_numbers(4, 5, 3), np.ones(3), np.zeros(3), 0.5)))

    def by(axes, ddof=0, add=None):
        def values(x, weight, bias, eps):
            axis = axes(x)
            if np.prod([x.shape[a] for a in axis]) <= ddof:
                return np.full(x.shape, np.nan)
            mean, var = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True, ddof=ddof)
            spread = np.sqrt(var + eps) if add is None else add(var, eps)
            return _channels(weight, x) * (x - mean) / spread + _channels(bias, x)

        return values

    check_function(
        function,
        by(_over),
        cases,
        [
            Slip(
                "Each channel has a mean of its own, over pictures, rows and columns.",
                by(lambda x: tuple(range(x.ndim))),
            ),
            Slip(
                "The mean goes over rows and columns as well, not over the pictures alone.",
                by(lambda x: (0,)),
            ),
            Slip(
                "That normalises each picture by itself; the mean goes over the whole batch.",
                by(lambda x: tuple(range(1, x.ndim))),
            ),
            Slip(
                "That normalises each picture's channel by itself; the mean goes over the whole batch.",
                by(lambda x: tuple(range(2, x.ndim))),
            ),
            Slip("Divide the squares by n, not by n − 1.", by(_over, 1)),
            Slip("Divide by the root of the variance.", by(_over, add=lambda var, eps: var + eps)),
            Slip(
                "`eps` is added to the variance, under the root.",
                by(_over, add=lambda var, eps: np.sqrt(var) + eps),
            ),
            Slip("`eps` is missing.", by(_over, add=lambda var, eps: np.sqrt(var))),
            Slip("The bias is missing.", lambda x, w, b, eps: by(_over)(x, w, 0 * b, eps)),
            Slip("The weight is missing.", lambda x, w, b, eps: by(_over)(x, w / w, b, eps)),
            Slip("Weight and bias are missing.", lambda x, w, b, eps: _normalised(x, eps, _over(x))),
        ],
        "The result has the shape of x.",
    )


@lesson.task("Task 4, what is remembered", points=1)
def running(function):
    """Check a function of (mean, var, x, momentum) that returns the new running mean and variance."""
    cases = []
    for shape, momentum in (
        ((6, 3), 0.1),
        ((5, 4, 3, 2), 0.1),
        ((2, 2), 0.25),
        ((4, 1, 2, 3), 1.0),
        ((3, 2, 2), 0.0),
    ):
        random = np.random.default_rng([4, *shape])
        old = random.uniform(-1, 1, shape[1]), random.uniform(0.5, 2, shape[1])
        cases.append(
            Case(f"x of shape {shape} and momentum {momentum:g}", (*old, _numbers(5, *shape), momentum))
        )

    def right(mean, var, x, momentum, ddof=1):
        new = x.mean(axis=_over(x)), x.var(axis=_over(x), ddof=ddof)
        return tuple(
            (1 - momentum) * old + momentum * batch for old, batch in zip((mean, var), new, strict=True)
        )

    check_function(
        function,
        right,
        cases,
        {
            "mean": [
                Slip(
                    "The momentum is the share of the *new* batch.",
                    lambda m, v, x, k: right(m, v, x, 1 - k)[0],
                ),
                Slip("That forgets what was there before.", lambda m, v, x, k: right(m, v, x, 1)[0]),
            ],
            "var": [
                Slip(
                    "What is remembered is an estimate for all pictures: divide by n − 1 here.",
                    lambda m, v, x, k: right(m, v, x, k, 0)[1],
                ),
                Slip(
                    "The momentum is the share of the *new* batch.",
                    lambda m, v, x, k: right(m, v, x, 1 - k)[1],
                ),
                Slip("Here n is all numbers of a channel, not the pictures alone.", _counting_pictures),
                Slip(
                    "That is the spread; the variance is its square.",
                    lambda m, v, x, k: (1 - k) * v + k * x.std(axis=_over(x), ddof=1),
                ),
            ],
        },
        "There is one number for each channel.",
        results=("mean", "var"),
    )


def _counting_pictures(mean, var, x, momentum):
    n = len(x)
    return (1 - momentum) * var + momentum * x.var(axis=_over(x)) * n / (n - 1)


def _backward(x, weight, dy, eps):
    axis = _over(x)
    y = _normalised(x, eps, axis)
    scale = _channels(weight, x) / np.sqrt(x.var(axis=axis, keepdims=True) + eps)
    dx = scale * (dy - dy.mean(axis=axis, keepdims=True) - y * (dy * y).mean(axis=axis, keepdims=True))
    return dx, (dy * y).sum(axis=axis), dy.sum(axis=axis)


def _undivided(x, weight, dy, eps):
    return _backward(x, weight, dy, eps)[0] * np.sqrt(x.var(axis=_over(x), keepdims=True) + eps)


@lesson.task("Task 5, the way back", points=3)
def backward(function):
    """Check a function of (x, weight, dy, eps) that returns (dx, dweight, dbias)."""
    cases = []
    for shape in ((6, 3), (5, 4, 3, 2), (2, 5, 4), (8, 8)):
        random = np.random.default_rng([5, *shape])
        weight = random.uniform(0.5, 2, shape[1])
        cases.append(
            Case(
                f"x of shape {shape}", (_numbers(6, *shape), weight, random.standard_normal(shape) + 0.5, EPS)
            )
        )

    def parts(mean, spread, weighted=True):
        def values(x, weight, dy, eps):
            axis = _over(x)
            y = _normalised(x, eps, axis)
            scale = _channels(weight if weighted else np.ones_like(weight), x)
            inner = (
                dy
                - mean * dy.mean(axis=axis, keepdims=True)
                - spread * y * (dy * y).mean(axis=axis, keepdims=True)
            )
            return scale / np.sqrt(x.var(axis=axis, keepdims=True) + eps) * inner

        return values

    check_function(
        function,
        _backward,
        cases,
        {
            "dx": [
                Slip("The mean and the spread depend on x as well: two more terms.", parts(0, 0)),
                Slip("The mean is accounted for; the spread depends on x as well.", parts(1, 0)),
                Slip("The spread is accounted for; the mean depends on x as well.", parts(0, 1)),
                Slip("The weight is missing.", parts(1, 1, False)),
                Slip("The division by the root of the variance is missing.", _undivided),
            ],
            "dweight": [
                Slip("That is dbias: the two are swapped.", lambda x, w, dy, eps: dy.sum(axis=_over(x))),
                Slip(
                    "The weight multiplies the *normalised* numbers.",
                    lambda x, w, dy, eps: (dy * x).sum(axis=_over(x)),
                ),
                Slip(
                    "Add up, do not average.",
                    lambda x, w, dy, eps: _backward(x, w, dy, eps)[1] * x.shape[1] / x.size,
                ),
            ],
            "dbias": [
                Slip("Add up, do not average.", lambda x, w, dy, eps: dy.mean(axis=_over(x))),
                Slip(
                    "Add up over rows and columns as well.",
                    lambda x, w, dy, eps: dy.sum(axis=0) if dy.ndim == 2 else np.full(x.shape[1], np.nan),
                ),
            ],
        },
        "dx has the shape of x; dweight and dbias have one number for each channel.",
        results=("dx", "dweight", "dbias"),
    )


@lesson.task("Task 6, layer normalisation", points=1)
def layer_norm(function):
    """Check a function of (x, eps) that normalises each example by itself."""
    shapes = [(6, 5), (1, 7), (3, 4, 2), (5, 5), (2, 3, 4, 5)]
    cases = [Case(f"x of shape {shape}", (_numbers(7, *shape), EPS)) for shape in shapes]

    def by(axes):
        return lambda x, eps: _normalised(x, eps, axes(x))

    check_function(
        function,
        by(lambda x: tuple(range(1, x.ndim))),
        cases,
        [
            Slip("That is over the batch; here each example has its own mean.", by(lambda x: (0,))),
            Slip(
                "That has one mean for the whole batch; here each example has its own.",
                by(lambda x: tuple(range(x.ndim))),
            ),
            Slip(
                "The mean goes over *all* axes but the first, not over the last alone.", by(lambda x: (-1,))
            ),
            Slip(
                "That is batch normalisation, channel by channel; here each example has its own mean.",
                by(_over),
            ),
        ],
        "The result has the shape of x.",
    )


@lesson.task("Extra task, fold it away", points=2, extra=True)
def fold(function):
    """Check a function of (w, b, weight, bias, mean, var, eps) that returns the folded (w, b)."""
    cases = []
    for inputs, outputs in ((4, 3), (1, 5), (6, 6), (7, 1)):
        random = np.random.default_rng([8, inputs, outputs])
        w, b, bias, mean = (random.standard_normal(n) for n in ((inputs, outputs), outputs, outputs, outputs))
        weight, var = random.uniform(0.5, 2, outputs), random.uniform(0.2, 3, outputs)
        words = f"a dense layer from {inputs} to {outputs}"
        cases.append(Case(words, (w, b, weight, bias, mean, var, 1e-3)))

    def right(w, b, weight, bias, mean, var, eps):
        scale = weight / np.sqrt(var + eps)
        return w * scale, (b - mean) * scale + bias

    def scale_of(weight, var, eps):
        return weight / np.sqrt(var + eps)

    check_function(
        function,
        right,
        cases,
        {
            "w": [
                Slip(
                    "A channel is an *output*, a column of w.",
                    lambda w, b, g, beta, m, v, eps: (
                        w * scale_of(g, v, eps)[:, None]
                        if w.shape[0] == w.shape[1]
                        else np.full(w.shape, np.nan)
                    ),
                ),
                Slip(
                    "Divide by the root of the variance.", lambda w, b, g, beta, m, v, eps: w * g / (v + eps)
                ),
                Slip(
                    "The normalisation's own weight is missing.",
                    lambda w, b, g, beta, m, v, eps: w / np.sqrt(v + eps),
                ),
            ],
            "b": [
                Slip(
                    "The bias is scaled as well: it is there before the mean is taken off.",
                    lambda w, b, g, beta, m, v, eps: b - m * scale_of(g, v, eps) + beta,
                ),
                Slip(
                    "The mean has to be scaled too.",
                    lambda w, b, g, beta, m, v, eps: b * scale_of(g, v, eps) - m + beta,
                ),
                Slip("The mean is missing.", lambda w, b, g, beta, m, v, eps: b * scale_of(g, v, eps) + beta),
                Slip(
                    "The normalisation's own bias comes last and is not scaled.",
                    lambda w, b, g, beta, m, v, eps: (b - m + beta) * scale_of(g, v, eps),
                ),
            ],
        },
        results=("w", "b"),
    )
