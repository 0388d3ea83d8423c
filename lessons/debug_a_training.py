"""The tasks of the lesson `7_debug_a_training`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import numpy as np

from lessons.checks import Lesson, check_choice, check_function, check_is_function, running
from lessons.comparison import Case, Slip, compare, failure
from minidl.graph import Tensor
from minidl.layers import BatchNorm1d, Dense, Dropout, ReLU, Sequential, seed

CAUSES = ("overfitting", "no gradient", "rate too high", "leak", "training mode")

lesson = Lesson("7_debug_a_training")


@lesson.task("Task 1, read the symptoms", points=1)
def symptoms(first, second, third, fourth, fifth):
    """Check which cause goes with which symptom."""
    check_choice(
        "first",
        first,
        "rate too high",
        CAUSES,
        {
            "no gradient": "Without a gradient nothing would change; here it explodes.",
            "overfitting": "That would show in the test, not as NaN.",
        },
    )
    check_choice(
        "second",
        second,
        "no gradient",
        CAUSES,
        {"rate too high": "Then the loss would jump about. Here it does not move at all."},
    )
    check_choice(
        "third",
        third,
        "overfitting",
        CAUSES,
        {
            "leak": "With a leak the test would look good as well.",
            "rate too high": "The training loss falls nicely, so the rate is fine.",
        },
    )
    check_choice(
        "fourth",
        fourth,
        "leak",
        CAUSES,
        {"overfitting": "Then the test would have shown it. Why did the test not show it?"},
    )
    check_choice(
        "fifth",
        fifth,
        "training mode",
        CAUSES,
        {"leak": "A leak would not make the same picture get two answers."},
    )


# ---- Fault 1: gradients that pile up


def _descend(w, x, y, size, lr, pile_up=False, plus=False, whole=1):
    w, gradient = w.copy(), np.zeros_like(w)
    for start in range(0, len(x), size):
        xs, ys = x[start : start + size], y[start : start + size]
        now = 2 * xs.T @ (xs @ w - ys) / len(xs)
        gradient = gradient + now if pile_up else now
        w = w + lr * gradient if plus else w - lr * gradient
    return w


@lesson.task("Task 2, the first fault", points=2)
def descend(function):
    """Check a function of (w, x, y, size, lr): one epoch of descent on a mean squared error."""
    cases = []
    for n, k, size in ((12, 3, 4), (10, 2, 4), (5, 4, 5), (9, 1, 2), (3, 2, 8)):
        random = np.random.default_rng([n, k])
        x, y, w = random.standard_normal((n, k)), random.standard_normal(n), random.standard_normal(k)
        cases.append(Case(f"{n} examples of {k} numbers in batches of {size}", (w, x, y, size, 0.05)))

    def one_step(w, x, y, size, lr):
        return _descend(w, x, y, len(x), lr)

    check_function(
        function,
        _descend,
        cases,
        [
            Slip(
                "From the second batch on, the gradients of earlier batches are still in the sum.",
                lambda *case: _descend(*case, pile_up=True),
            ),
            Slip("The step goes up instead of down.", lambda *case: _descend(*case, plus=True)),
            Slip("That is one step for all examples; there is a step for each batch.", one_step),
            Slip(
                "That is the last batch alone.",
                lambda w, x, y, size, lr: _descend(w, *_last(x, y, size), size, lr),
            ),
            Slip("The weights have not changed.", lambda w, *rest: w),
        ],
    )


def _last(x, y, size):
    start = (len(x) - 1) // size * size
    return x[start:], y[start:]


# ---- Fault 2: softmax twice


def _log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@lesson.task("Task 3, the second fault", points=2)
def loss(function):
    """Check a function of (logits, labels) that returns the mean cross-entropy."""
    cases = []
    for n, k, scale in ((4, 3, 2), (1, 5, 1), (7, 10, 4), (6, 4, 500)):
        random = np.random.default_rng([n, k])
        logits = random.standard_normal((n, k)) * scale
        cases.append(
            Case(f"{n} × {k} scores up to {np.abs(logits).max():.3g}", (logits, random.integers(0, k, n)))
        )

    def right(logits, labels):
        return -_log_softmax(logits)[np.arange(len(labels)), labels].mean()

    check_function(
        function,
        right,
        cases,
        [
            Slip(
                "Softmax is applied twice: its logarithm takes the *scores*, not the probabilities.",
                lambda z, t: right(np.exp(_log_softmax(z)), t),
            ),
            Slip("The loss is a mean over the examples, not a sum.", lambda z, t: right(z, t) * len(t)),
            Slip("The loss is *minus* the logarithm.", lambda z, t: -right(z, t)),
            Slip(
                "No softmax is left: the scores are no logarithms yet.",
                lambda z, t: -z[np.arange(len(t)), t].mean(),
            ),
            Slip(
                "That is over all classes; take the score of the right one.",
                lambda z, t: -_log_softmax(z).mean(),
            ),
        ],
    )


# ---- Fault 3: a leak


@lesson.task("Task 4, the third fault", points=2)
def prepare(function):
    """Check a function of (training, test) that standardises both with what the training part knows."""
    cases = []
    for n, m, k in ((8, 4, 3), (5, 9, 1), (20, 1, 4), (6, 6, 2)):
        random = np.random.default_rng([n, m, k])
        spread, centre = random.uniform(0.5, 5, k), random.uniform(-3, 3, k)
        training, test = (
            random.standard_normal((n, k)) * spread + centre,
            random.standard_normal((m, k)) * spread + 1,
        )
        cases.append(Case(f"{n} examples to learn from, {m} to test with, {k} columns", (training, test)))

    def by(source):
        def values(training, test):
            known = source(training, test)
            return tuple((part - known.mean(axis=0)) / known.std(axis=0) for part in (training, test))

        return values

    right, everything = by(lambda a, b: a), by(lambda a, b: np.concatenate([a, b]))
    leak = (
        "The test examples have gone into the mean and spread. Nobody has them yet when the network learns."
    )
    check_function(
        function,
        right,
        cases,
        {
            "training": [
                Slip(leak, lambda a, b: everything(a, b)[0]),
                Slip("Each column has its own mean and spread.", lambda a, b: (a - a.mean()) / a.std()),
                Slip(
                    "The mean has been taken off; divide by the spread too.", lambda a, b: a - a.mean(axis=0)
                ),
            ],
            "test": [
                Slip(
                    "Measure the test with the *training's* mean and spread, or equals are no longer equal.",
                    lambda a, b: (b - b.mean(axis=0)) / np.where(b.std(axis=0) == 0, np.nan, b.std(axis=0)),
                ),
                Slip(leak, lambda a, b: everything(a, b)[1]),
                Slip(
                    "The test has not been touched: the network would see numbers of another kind.",
                    lambda a, b: b,
                ),
            ],
        },
        results=("training", "test"),
    )


# ---- Fault 4: labels that no longer belong


@lesson.task("Task 5, the fourth fault", points=2)
def shuffled(function):
    """Check a function of (images, labels, random) that shuffles both alike."""
    check_is_function(function)
    for n in (30, 7, 1, 200):
        labels = np.arange(n) % 5
        images = np.arange(n)[:, None] * 10.0 + np.arange(3)  # image i begins with 10 · i
        case = Case(f"{n} pictures", (n,))
        given = images.copy(), labels.copy()
        with running(function, case):
            got = function(*given, np.random.default_rng(n))
        if not (np.array_equal(given[0], images) and np.array_equal(given[1], labels)):
            raise failure(case, "the function changed its input, which it must only read.")
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise failure(case, f"the function returned {type(got).__name__}, expected images and labels.")
        mixed, names = np.asarray(got[0]), np.asarray(got[1])
        if mixed.shape != images.shape or names.shape != labels.shape:
            raise failure(
                case,
                f"the shapes are {mixed.shape} and {names.shape}, "
                f"expected {images.shape} and {labels.shape}.",
            )
        which = np.rint(mixed[:, 0] / 10).astype(int)
        if sorted(which.tolist()) != list(range(n)):
            raise failure(case, "some pictures are missing, and others come twice.")
        if not np.array_equal(mixed, images[which]):
            raise failure(case, "the pictures' own numbers have been mixed: shuffle whole rows.")
        wrong = np.flatnonzero(names != labels[which])
        if wrong.size:
            i = wrong[0]
            raise failure(
                case,
                f"labels[{i}] is {names[i]}, expected {labels[which[i]]}; {wrong.size} of {n} labels belong "
                "to another picture. Shuffle both in the *same* order.",
            )
        if n > 5 and np.array_equal(which, np.arange(n)):
            raise failure(case, "the order is the old one.")


# ---- Fault 5: judged in training mode


def _network():
    seed(3)
    model = Sequential(Dense(6, 16), BatchNorm1d(16), ReLU(), Dropout(0.5), Dense(16, 3))
    random = np.random.default_rng(0)
    for _ in range(5):  # so that the running mean is worth something
        model(Tensor(random.standard_normal((40, 6)).astype(np.float32)))
    return model


@lesson.task("Task 6, the fifth fault", points=2)
def accuracy(function):
    """Check a function of (model, images, labels, size) that returns the share of right answers."""
    check_is_function(function)
    for n, size, mode in ((60, 20, True), (50, 16, True), (23, 50, False), (9, 1, True)):
        model, random = _network(), np.random.default_rng([6, n])
        images = random.standard_normal((n, 6)).astype(np.float32)
        model.eval()
        chosen = np.argmax(model(Tensor(images)).numpy(), axis=1)
        labels = np.where(random.random(n) < 0.7, chosen, (chosen + 1) % 3)
        model.train(mode)
        before = {name: np.copy(value) for name, value in model.state_dict().items()}
        case = Case(f"{n} pictures in batches of {size}", ())
        with running(function, case, times=3):
            got = function(model, images.copy(), labels.copy(), size)
        if got is None:
            raise failure(case, "the function returned nothing: is there a `return` at its end?")
        after = model.state_dict()
        changed = [name for name in before if not np.array_equal(before[name], after[name])]
        if changed:
            raise failure(
                case,
                f"{changed[0]} has changed: a normalisation in training mode follows what it sees. "
                "Call model.eval() before you judge.",
            )
        try:
            share = np.array(float(got))
        except (TypeError, ValueError):
            raise failure(case, f"the function returned {got!r:.60}, expected a number.") from None
        right = np.array(np.mean(chosen == labels))
        full = n // size * size
        slips = [
            Slip("That is in per cent, expected a share from 0 to 1.", lambda right=right: 100 * right),
            Slip(
                "That is a number of pictures, expected a share from 0 to 1.",
                lambda right=right, n=n: n * right,
            ),
            Slip(
                "The last batch has been left out, or counts as a full one.",
                lambda c=chosen, t=labels, f=full, n=n: np.mean(c[:f] == t[:f]) if f and f < n else np.nan,
            ),
            Slip(
                "Batches of different sizes do not count the same: add up, then divide once.",
                lambda c=chosen, t=labels, s=size: np.mean(
                    [np.mean(c[i : i + s] == t[i : i + s]) for i in range(0, len(c), s)]
                ),
            ),
        ]
        compare("the share", share, right, case, slips)
        if model.training != mode:
            was = "training" if mode else "evaluation"
            raise failure(case, f"the model was in {was} mode, and no longer is. Put it back as it was.")


@lesson.task("Extra task, weights to begin with", points=2, extra=True)
def first_weights(function):
    """Check a function of (inputs, outputs, random) that returns weights of variance 2 / inputs."""
    check_is_function(function)
    for inputs, outputs in ((400, 300), (50, 800), (900, 40)):
        case, made = Case(f"{inputs} inputs and {outputs} outputs", (inputs, outputs)), []
        for start in (1, 2):
            with running(function, case):
                w = function(inputs, outputs, np.random.default_rng(start))
            try:
                w = np.asarray(w, dtype=np.float64)
            except (TypeError, ValueError):
                raise failure(case, f"the function returned {type(w).__name__}, expected an array.") from None
            if w.shape != (inputs, outputs):
                raise failure(case, f"the weights have shape {w.shape}, expected {(inputs, outputs)}.")
            made.append(w)
        w, right = made[0], np.sqrt(2 / inputs)
        if w.std() == 0:
            raise failure(case, "all weights are alike, so all outputs would be, and would stay so for ever.")
        if np.array_equal(*made):
            raise failure(case, "two different random generators give the same weights. Use `random`.")
        if abs(w.mean()) > 0.1 * right:
            raise failure(case, f"their mean is {w.mean():.3g}, expected 0: half of them should be negative.")
        if not 0.9 * right < w.std() < 1.1 * right:
            likely = {
                2 / inputs: "That is the variance; its root is the spread.",
                np.sqrt(1 / inputs): "A ReLU lets half of what comes through pass, so it takes 2 / inputs.",
                np.sqrt(2 / outputs): "It is the number of *inputs* that are added up which counts.",
                np.sqrt(2 / inputs / 3): "Uniform numbers from −a to a have a spread of a / √3.",
                1.0: "With a spread of 1 the sum of many inputs is far too large.",
            }
            why = next(
                (words for value, words in likely.items() if 0.95 * value < w.std() < 1.05 * value), ""
            )
            raise failure(case, f"their spread is {w.std():.3g}, expected {right:.3g}. {why}")
