"""The tasks of the lesson `7_train_a_classifier`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import functools
import math
from collections import Counter

import numpy as np

from lessons.checks import Lesson, check_function, check_is_function, check_value, running
from lessons.comparison import Case, Slip, failure
from minidl import graph
from minidl.graph import Tensor
from minidl.layers import Dense, ReLU, Sequential, seed

lesson = Lesson("7_train_a_classifier")


@lesson.task("Task 1, by hand", points=1)
def by_hand(clueless, steps, weight):
    """Check the loss of a guess, the steps of an epoch, and one step of descent."""
    check_value(
        "clueless",
        clueless,
        math.log(10),
        {
            0.1: "That is the probability; the loss is minus its logarithm.",
            -math.log(10): "The loss is *minus* the logarithm.",
            1.0: "That is the logarithm to base 10; the loss takes the natural one.",
            math.log2(10): "That is the logarithm to base 2; the loss takes the natural one.",
        },
    )
    check_value(
        "steps",
        steps,
        23,
        {
            22: "The last 29 examples make a batch as well.",
            1437 / 64: "The last batch is smaller, but it is a step.",
            1437: "One step for each batch, not for each example.",
        },
    )
    check_value(
        "weight",
        weight,
        1.95,
        {
            2.05: "Go *down*: against the slope.",
            1.5: "The learning rate is missing.",
            1.9: "The slope is missing.",
        },
    )


# ---- Indices


def _indices(got, case, n, what):
    try:
        array = np.asarray(got)
        whole = array.astype(np.int64)
        fits = array.ndim == 1 and (array.size == 0 or (array.dtype != bool and np.array_equal(array, whole)))
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise failure(case, f"{what} must be a list of whole numbers, got {got!r:.60}.")
    if whole.size and not 0 <= whole.min() <= whole.max() < n:
        raise failure(
            case,
            f"{what} holds {whole.max() if whole.max() >= n else whole.min()}; examples are 0 to {n - 1}.",
        )
    return whole


@lesson.task("Task 2, hold some out", points=1)
def split(function):
    """Check a function of (n, share, random) that returns (training, test) indices."""
    check_is_function(function)
    for n, share in ((10, 0.3), (101, 0.2), (50, 0.5), (7, 0.1), (23, 0.99)):
        seen = []
        for start in (1, 2):
            case = Case(f"{n} examples, of which the share {share:g} is held out", (n, share))
            with running(function, case):
                got = function(n, share, np.random.default_rng(start))
            if not isinstance(got, (tuple, list)) or len(got) != 2:
                raise failure(case, f"the function returned {got!r:.60}, expected (training, test).")
            training, test = (
                _indices(part, case, n, name) for part, name in zip(got, ("training", "test"), strict=True)
            )
            both = set(training.tolist()) & set(test.tolist())
            if both:
                raise failure(
                    case,
                    f"example {min(both)} is in both. A network must not be tested with what it has seen.",
                )
            together = Counter([*training.tolist(), *test.tolist()])
            twice = [i for i, times in together.items() if times > 1]
            if twice:
                raise failure(case, f"example {twice[0]} comes twice.")
            missing = [i for i in range(n) if i not in together]
            if missing:
                raise failure(case, f"example {missing[0]} is in neither.")
            if test.size != int(n * share):
                why = "Are the two swapped?" if training.size == int(n * share) else ""
                if not int(n * share) and test.size == n:
                    why = "Is there a slice from -0? It begins at 0, and takes everything."
                raise failure(
                    case,
                    f"{test.size} are held out, expected int({n} · {share:g}) = {int(n * share)}. {why}",
                )
            seen.append(test)
            ordered = n > 20 and n - 1 > test.size > 4 and test.max() - test.min() == test.size - 1
            if ordered:
                raise failure(
                    case, "what is held out lies side by side. Data is often sorted: shuffle first."
                )
        if n > 20 and n - 1 > test.size > 4 and set(seen[0].tolist()) == set(seen[1].tolist()):
            raise failure(case, "two different random generators hold out the same examples. Use `random`.")


@lesson.task("Task 3, batches", points=1)
def batches(function):
    """Check a function of (n, size, random) that returns a list of index arrays."""
    check_is_function(function)
    for n, size in ((10, 3), (12, 4), (5, 8), (29, 7), (1, 1), (30, 1)):
        case, orders = Case(f"{n} examples and batches of {size}", (n, size)), []
        random = np.random.default_rng(3)
        for _ in range(2):  # two epochs with one generator
            with running(function, case):
                got = function(n, size, random)
                got = None if got is None else list(got)
            if got is None:
                raise failure(case, "the function returned nothing: is there a `return` at its end?")
            made = [_indices(batch, case, n, f"batch {i}") for i, batch in enumerate(got)]
            sizes = [batch.size for batch in made]
            often = Counter(np.concatenate(made).tolist() if made else [])
            if max(often.values(), default=0) > 1:
                raise failure(
                    case,
                    f"example {often.most_common(1)[0][0]} comes {max(often.values())} times in one epoch. "
                    "Shuffle once, then cut; do not draw anew for each batch.",
                )
            missing = [i for i in range(n) if i not in often]
            if missing:
                words = (
                    "The last batch may be smaller, but it must not be left out."
                    if len(missing) < size
                    else ""
                )
                raise failure(case, f"{len(missing)} of {n} examples are in no batch. {words}")
            expected = [size] * (n // size) + [n % size] * (n % size > 0)
            if sizes != expected:
                raise failure(case, f"the batches have {sizes} examples, expected {expected}.")
            orders.append(np.concatenate(made))
        if n > 8 and np.array_equal(orders[0], np.arange(n)):
            raise failure(case, "the examples come in their old order: shuffle them.")
        if n > 8 and np.array_equal(orders[0], orders[1]):
            raise failure(
                case,
                "the second epoch has the same order as the first. Use `random`, and draw anew each time.",
            )


# ---- Loss and optimiser


def _loss(logits, labels):
    z = logits.astype(np.float64)
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    gradient = p.copy()
    gradient[rows, labels] -= 1
    return -(z[rows, labels] - np.log(np.exp(z).sum(axis=1))).mean(), gradient / len(labels)


@lesson.task("Task 4, the loss", points=2)
def cross_entropy(function):
    """Check a function of (logits, labels) that returns (loss, gradient)."""
    cases = []
    for n, k, scale in ((4, 3, 1), (1, 5, 2), (7, 2, 3), (5, 10, 1), (6, 4, 1000), (3, 3, 100)):
        random = np.random.default_rng([n, k])
        logits = (random.standard_normal((n, k)) * scale).astype(np.float32)
        words = f"{n} example{'s' * (n > 1)}, {k} classes" + f" and scores up to {scale:,}" * (scale > 3)
        cases.append(Case(words, (logits, random.integers(0, k, n))))

    def softmax(logits):
        return _loss(logits, np.zeros(len(logits), int))[1] * len(logits) + np.eye(logits.shape[1])[0]

    check_function(
        function,
        _loss,
        cases,
        {
            "loss": [
                Slip("Take the mean over the examples, not the sum.", lambda z, t: _loss(z, t)[0] * len(t)),
                Slip("The loss is *minus* the logarithm.", lambda z, t: -_loss(z, t)[0]),
                Slip(
                    "Take one number from each row, its own label's: `[rows, labels]`, not `[:, labels]`.",
                    lambda z, t: np.mean([_loss(z, np.full(len(t), k))[0] for k in t]),
                ),
                Slip("That is the mean over examples and classes.", lambda z, t: _loss(z, t)[0] / z.shape[1]),
            ],
            "gradient": [
                Slip(
                    "The loss is a mean, so the gradient is divided by the number of examples too.",
                    lambda z, t: _loss(z, t)[1] * len(t),
                ),
                Slip(
                    "Those are the probabilities; take 1 off that of the right class.",
                    lambda z, t: softmax(z) / len(t),
                ),
                Slip("It has the wrong sign.", lambda z, t: -_loss(z, t)[1]),
            ],
        },
        "The loss is one number, the gradient has the shape of the logits.",
        results=("loss", "gradient"),
    )


def _adam(
    w, g, mean, square, step, lr, betas, eps, correct=(True, True), inside=False, swap=False, root=True
):
    one, two = betas[::-1] if swap else betas
    mean, square = one * mean + (1 - one) * g, two * square + (1 - two) * g**2
    m = mean / (1 - one**step) if correct[0] else mean
    s = square / (1 - two**step) if correct[1] else square
    spread = np.sqrt(s + eps) if inside else (np.sqrt(s) if root else s) + eps
    return w - lr * m / spread, mean, square


@lesson.task("Task 5, Adam", points=2)
def adam(function):
    """Check a function of (w, g, mean, square, step, lr, betas, eps) that returns (w, mean, square)."""
    cases = []
    for n, step, betas, eps in (
        (4, 1, (0.9, 0.999), 1e-8),
        (5, 2, (0.9, 0.999), 1e-3),
        (3, 10, (0.5, 0.9), 1e-8),
        (6, 3, (0.0, 0.99), 0.1),
    ):
        random = np.random.default_rng([n, step])
        w, g = random.standard_normal(n), random.standard_normal(n)
        mean, square = (
            (np.zeros(n), np.zeros(n)) if step == 1 else (random.standard_normal(n), random.random(n))
        )
        cases.append(Case(f"step {step} and betas {betas}", (w, g, mean, square, step, 0.01, betas, eps)))

    def w_of(**changes):
        return lambda *case: _adam(*case, **changes)[0]

    check_function(
        function,
        _adam,
        cases,
        {
            "w": [
                Slip(
                    "Both running means are too small at first: divide by 1 − beta ** step.",
                    w_of(correct=(False, False)),
                ),
                Slip("The mean of the squares has to be corrected as well.", w_of(correct=(True, False))),
                Slip("The mean of the gradients has to be corrected as well.", w_of(correct=(False, True))),
                Slip("eps is added after the root, not under it.", w_of(inside=True)),
                Slip(
                    "Steps are counted from 1: at the first one, 1 − beta ** 1.",
                    lambda w, g, m, s, step, *rest: _adam(w, g, m, s, step + 1, *rest)[0],
                ),
                Slip("Go *down*: take the step off.", lambda w, *rest: 2 * w - _adam(w, *rest)[0]),
                Slip("The two betas are swapped.", w_of(swap=True)),
                Slip("Divide by the *root* of the mean of the squares.", w_of(root=False)),
                Slip(
                    "The learning rate is missing.",
                    lambda w, g, m, s, step, lr, *rest: _adam(w, g, m, s, step, 1, *rest)[0],
                ),
            ],
            "mean": [
                Slip(
                    "What is returned is the running mean itself; the correction is for the step only.",
                    lambda w, g, m, s, step, lr, betas, eps: (
                        _adam(w, g, m, s, step, lr, betas, eps)[1] / (1 - betas[0] ** step)
                    ),
                ),
            ],
            "square": [
                Slip(
                    "It is the mean of the *squared* gradients.",
                    lambda w, g, m, s, step, lr, betas, eps: betas[1] * s + (1 - betas[1]) * g,
                ),
                Slip(
                    "What is returned is the running mean itself; the correction is for the step only.",
                    lambda w, g, m, s, step, lr, betas, eps: (
                        _adam(w, g, m, s, step, lr, betas, eps)[2] / (1 - betas[1] ** step)
                    ),
                ),
            ],
        },
        results=("w", "mean", "square"),
    )


# ---- The whole training

MARK = 1e6  # a gradient that nobody has computed


class Optimiser:
    """Gradient descent with momentum, which also notices what a training loop forgets."""

    def __init__(self, params, lr=0.05):
        self.params, self.lr, self.steps, self.faults = list(params), lr, 0, []
        self._velocity = [np.zeros_like(p.data) for p in self.params]

    def zero_grad(self):
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def step(self):
        """Go down one step."""
        self.steps += 1
        for p, velocity in zip(self.params, self._velocity, strict=True):
            if p.grad is None:
                self.faults.append(
                    "step() was called before there were gradients: call backward() on the loss first"
                )
                continue
            if np.abs(p.grad).max() > MARK / 2:
                self.faults.append(
                    "the gradients of the step before are still there: call zero_grad() in every step"
                )
                continue
            velocity *= 0.9
            velocity += p.grad
            p.data[...] -= self.lr * velocity
            p.grad = np.full_like(p.data, MARK)  # whoever adds to it will be noticed


@functools.cache
def digits():
    """Return 500 handwritten digits and their labels to learn from, and 300 others."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))[:800]
    images, labels = (data.data[order] / 16).astype(np.float32), data.target[order].astype(np.int64)
    return images[:500], labels[:500], images[500:], labels[500:]


def network():
    """Make a small network for 8 × 8 pixels, always with the same first weights."""
    seed(1)
    return Sequential(Dense(64, 24), ReLU(), Dense(24, 10))


@functools.cache
def _warm_up():
    """Compile what a training step needs, so that an answer's seconds are its own."""
    images, labels, _, _ = digits()
    model = network()
    graph.cross_entropy(model(Tensor(images[:9])), labels[:9]).backward()


@lesson.task("Task 6, train", points=3)
def train(function):
    """Check a function that trains a model and returns the losses of its epochs."""
    check_is_function(function)
    _warm_up()
    images, labels, others, answers = digits()
    size, epochs = 50, 6
    model = network()
    optimiser, case = (
        Optimiser(model.parameters()),
        Case(f"500 digits, batches of {size}, {epochs} epochs", ()),
    )
    given = images.copy(), labels.copy()
    with running(function, case, times=10):
        losses = function(model, optimiser, *given, size, epochs, np.random.default_rng(5))
    if optimiser.faults:
        raise failure(case, f"{optimiser.faults[0]}.")
    if not (np.array_equal(given[0], images) and np.array_equal(given[1], labels)):
        raise failure(case, "the function changed the images or the labels, which it must only read.")
    expected = epochs * -(-len(images) // size)
    if optimiser.steps != expected:
        raise failure(
            case,
            f"the optimiser made {optimiser.steps} steps, expected {expected}: one for each batch.",
        )
    if losses is None:
        raise failure(case, "the function returned nothing: is there a `return` at its end?")
    try:
        losses = np.array([float(loss) for loss in losses])
    except (TypeError, ValueError):
        raise failure(case, f"the losses must be a list of numbers, got {losses!r:.60}.") from None
    if len(losses) != epochs:
        raise failure(case, f"there are {len(losses)} losses, expected one for each of {epochs} epochs.")
    right = np.mean(np.argmax(model(Tensor(others)).numpy(), axis=1) == answers)
    if right < 0.8:
        why = "Do images and labels still belong together after the shuffle?" if losses[-1] > 1.5 else ""
        raise failure(
            case, f"after the training {right:.0%} of other digits are right, expected 80 % at least. {why}"
        )
    if not 0.02 < losses[-1] < losses[0] < 2.6:
        raise failure(
            case,
            f"the first loss is {losses[0]:.3g} and the last {losses[-1]:.3g}. Each should be the mean "
            "over one epoch, which falls from about 1.8.",
        )
    _judge_the_mean(function, images, labels, size)


def _judge_the_mean(function, images, labels, size):
    """Train once more at a learning rate of 0: then the mean of an epoch is known, whatever the order."""
    model = network()
    whole = graph.cross_entropy(model(Tensor(images)), labels).item()
    case = Case("500 digits and a learning rate of 0, with which no weight changes", ())
    still, random = Optimiser(model.parameters(), lr=0), np.random.default_rng(6)
    with running(function, case, times=10):
        losses = [
            float(loss) for loss in function(model, still, images.copy(), labels.copy(), size, 2, random)
        ]
    wrong = [loss for loss in losses if not math.isclose(loss, whole, rel_tol=1e-3)]
    if wrong:
        raise failure(
            case,
            f"the loss of an epoch is {wrong[0]:.5g}, expected {whole:.5g}, that of all digits together. "
            "Is it the mean over *all* batches of the epoch?",
        )


@lesson.task("Extra task, when to stop", points=2, extra=True)
def stop(function):
    """Check a function of (losses, patience) that returns (best, last) epochs."""

    def right(losses, patience):
        best = 0
        for epoch, loss in enumerate(losses):
            if loss < losses[best] or math.isnan(losses[best]):
                best = epoch
            elif epoch - best >= patience:
                return best, epoch
        return best, len(losses) - 1

    cases = [
        Case(f"losses {', '.join(f'{x:g}' for x in losses)} and a patience of {patience}", (losses, patience))
        for losses, patience in (
            ([3, 2, 1, 2, 3, 4], 2),
            ([3, 2, 1], 2),
            ([1, 2, 3], 5),
            ([5, 4, 4, 4, 3], 3),
            ([5, 4, 6, 3, 7, 7, 2], 2),
            ([2.0], 1),
            ([3, 2, 2, 2, 1], 2),
            ([4, 3, math.nan, 2, 5], 2),
            ([9, 8, 9, 7, 9, 9, 9, 1], 3),
        )
    ]
    check_function(
        function,
        right,
        cases,
        {
            "best": [
                Slip(
                    "That is the last epoch; the best is the one with the lowest loss so far.",
                    lambda x, p: right(x, p)[1],
                ),
                Slip("Nobody sees what would have come after the stop.", lambda x, p: int(np.nanargmin(x))),
                Slip("Epochs are counted from 0.", lambda x, p: right(x, p)[0] + 1),
            ],
            "last": [
                Slip(
                    "Stop when `patience` epochs have gone by without a better one.",
                    lambda x, p: min(right(x, p)[1] + 1, len(x) - 1),
                ),
                Slip("There is patience for one more.", lambda x, p: right(x, p)[1] - 1),
                Slip("It never stops.", lambda x, p: len(x) - 1),
                Slip("Epochs are counted from 0.", lambda x, p: right(x, p)[1] + 1),
            ],
        },
        results=("best", "last"),
    )
