"""The tasks of the lesson `6_build_a_gan`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import functools
import math

import numpy as np

from lessons.checks import Lesson, check_function, check_is_function, check_value, running
from lessons.comparison import Case, Slip, compare, failure
from minidl import graph
from minidl.graph import Tensor
from minidl.layers import Dense, Layer, LeakyReLU, ReLU, Sequential, Tanh, seed
from minidl.tasks import SGD

LR = 0.1
STALE = 1e3  # a gradient that an earlier step has left behind

lesson = Lesson("6_build_a_gan")


@lesson.task("Task 1, by hand", points=1)
def by_hand(judge, forger, undecided):
    """Check the losses for D(real) = 0.8, D(fake) = 0.3, and of a discriminator that cannot tell."""
    check_value(
        "judge",
        judge,
        -math.log(0.8) - math.log(0.7),
        {
            -math.log(0.8) - math.log(0.3): "For a drawing, *no* is right: its probability is 1 − 0.3.",
            math.log(0.8) + math.log(0.7): "A loss is *minus* the logarithm.",
            -math.log(0.8): "The drawing has to be judged as well.",
            -math.log(0.7): "The photograph has to be judged as well.",
            (-math.log(0.8) - math.log(0.7)) / 2: "Add the two, here they are not averaged.",
        },
    )
    check_value(
        "forger",
        forger,
        -math.log(0.3),
        {
            -math.log(0.7): "That is small when the forgery is found out. The forger wants *yes*.",
            math.log(
                0.7
            ): "That is the loss of the first sentences of the paper; the lesson uses the other one.",
            -math.log(0.8): "The forger has nothing to do with real pictures.",
        },
    )
    check_value(
        "undecided",
        undecided,
        2 * math.log(2),
        {
            math.log(2): "There are two pictures to judge.",
            0.5: "That is the probability; take minus its logarithm, twice.",
        },
    )


# ---- The two networks


@functools.cache
def _warm_up():
    """Compile what a step needs, so that an answer's seconds are its own."""
    images, z = _batch(3, 3)
    _after(1, lambda forger, judge: _judge_loss(forger, judge, images, z))
    _after(0, lambda forger, judge: _forger_loss(forger, judge, z))


def _network(function, case):
    with running(function, case):
        made = function(*case.inputs)
    if made is None:
        raise failure(case, "the function returned nothing: is there a `return` at its end?")
    if not isinstance(made, Layer):
        raise failure(
            case, f"the function returned {type(made).__name__}, expected a network such as Sequential(…)."
        )
    return made


def _outputs(function, model, x, case, size):
    with running(function, case, times=3):
        out = model(Tensor(x)).numpy().astype(np.float64)
    if out.shape != (len(x), size):
        raise failure(case, f"of {x.shape} it makes {out.shape}, expected {(len(x), size)}.")
    return out


def _count(model, expected, case, why):
    got = sum(p.data.size for p in model.parameters())
    if got != expected:
        raise failure(case, f"it has {got:,} parameters, expected {expected:,}. {why}")


def _is_affine(f, width):
    """Whether f(a + b) + f(0) = f(a) + f(b), as for layers that nothing bends."""
    random = np.random.default_rng(11)
    a, b = (random.standard_normal((5, width)).astype(np.float32) for _ in range(2))
    zero = np.zeros_like(a)
    return np.allclose(f(a + b) + f(zero), f(a) + f(b), rtol=1e-3, atol=1e-3)


SIZES = [(20, 64, 36), (5, 7, 12), (3, 40, 1)]


@lesson.task("Task 2, the generator", points=1)
def generator(function):
    """Check a function of (noise, hidden, pixels) that makes a generator."""
    check_is_function(function)
    _warm_up()
    for noise, hidden, pixels in SIZES:
        case = Case(f"{noise} random numbers, {hidden} hidden, {pixels} pixels", (noise, hidden, pixels))
        seed(1)
        model = _network(function, case)
        z = np.random.default_rng(1).standard_normal((9, noise)).astype(np.float32)
        out = _outputs(function, model, z, case, pixels)
        expected = noise * hidden + hidden + hidden * pixels + pixels
        _count(model, expected, case, "Two dense layers, with biases.")
        far = _outputs(function, model, 50 * z, case, pixels)
        if np.abs(far).max() > 1:
            raise failure(
                case,
                f"it makes pixels of {np.abs(far).max():.3g}, and they go from −1 to 1. What ends there?",
            )
        if far.min() > -0.5:
            raise failure(
                case,
                f"its pixels go from {far.min():.3g} to {far.max():.3g}, expected −1 to 1: "
                "a tanh, not a sigmoid and not a ReLU.",
            )
        with running(function, case, times=3):
            bent = not _is_affine(
                lambda x, m=model: np.arctanh(np.clip(m(Tensor(0.2 * x)).numpy(), -0.999999, 0.999999)), noise
            )
        if not bent:
            raise failure(
                case,
                "between the two dense layers nothing bends, so they are no more than one. "
                "Put an activation between them.",
            )
        if np.allclose(out[0], out[1]):
            raise failure(case, "it draws the same picture, whatever the noise.")


@lesson.task("Task 3, the discriminator", points=1)
def discriminator(function):
    """Check a function of (pixels, hidden) that makes a discriminator, which returns a score."""
    check_is_function(function)
    _warm_up()
    for _, hidden, pixels in SIZES:
        case = Case(f"{pixels} pixels and {hidden} hidden", (pixels, hidden))
        seed(2)
        model = _network(function, case)
        x = np.random.default_rng(2).standard_normal((30, pixels)).astype(np.float32)
        _outputs(function, model, x, case, 1)
        _count(
            model,
            pixels * hidden + hidden + hidden + 1,
            case,
            "Two dense layers, with biases, and one score.",
        )
        far = _outputs(function, model, 1e4 * x, case, 1)
        if far.min() >= 0 and far.max() <= 1:
            raise failure(
                case,
                "it returns a probability; a *score* is wanted, any number. "
                "The loss makes a probability of it, without rounding to 0 or 1.",
            )
        if far.min() >= -1 and far.max() <= 1:
            raise failure(
                case, "its scores stay between −1 and 1, but a score may be any number: no tanh at the end."
            )
        if far.min() >= 0:
            raise failure(case, "its scores are never negative, so it can never say no: no ReLU at the end.")
        with running(function, case, times=3):
            bent = not _is_affine(lambda x, m=model: m(Tensor(x)).numpy(), pixels)
        if not bent:
            raise failure(
                case,
                "between the two dense layers nothing bends, so they are no more than one. "
                "Put an activation between them.",
            )


# ---- Losses


def _softplus(x):
    return np.logaddexp(0, np.asarray(x, np.float64))


@lesson.task("Task 4, the losses", points=2)
def losses(function):
    """Check a function of (real, fake), arrays of scores, that returns (judge, forger)."""
    cases = []
    for n, m, scale in ((5, 5, 2), (3, 8, 1), (1, 1, 4), (6, 4, 900)):
        random = np.random.default_rng([n, m])
        real, fake = random.standard_normal((n, 1)) * scale, random.standard_normal((m, 1)) * scale
        words = f"{n} real and {m} drawn pictures" + f", and scores up to {scale}" * (scale > 100)
        cases.append(Case(words, (real, fake)))

    def right(real, fake):
        return _softplus(-real).mean() + _softplus(fake).mean(), _softplus(-fake).mean()

    check_function(
        function,
        right,
        cases,
        {
            "judge": [
                Slip("Real and drawn are swapped.", lambda r, f: _softplus(r).mean() + _softplus(-f).mean()),
                Slip("Add the two means, do not average them.", lambda r, f: right(r, f)[0] / 2),
                Slip(
                    "Take the mean over the pictures, not the sum.",
                    lambda r, f: _softplus(-r).sum() + _softplus(f).sum(),
                ),
                Slip(
                    "For a drawing, *no* is right.", lambda r, f: _softplus(-r).mean() + _softplus(-f).mean()
                ),
                Slip("The real pictures are missing.", lambda r, f: _softplus(f).mean()),
                Slip("The drawn pictures are missing.", lambda r, f: _softplus(-r).mean()),
            ],
            "forger": [
                Slip(
                    "That is small when the forgery is found out. The forger wants *yes*.",
                    lambda r, f: _softplus(f).mean(),
                ),
                Slip(
                    "That hardly slopes where the forger is bad, when it needs a slope most. "
                    "Take −log of the probability of *yes* instead.",
                    lambda r, f: -_softplus(f).mean(),
                ),
                Slip(
                    "The forger is judged by its own drawings alone.",
                    lambda r, f: _softplus(-f).mean() + _softplus(r).mean(),
                ),
            ],
        },
        "Each loss is one number.",
        results=("judge", "forger"),
    )


# ---- Steps


def _pair():
    """Make a small generator and discriminator, always with the same weights."""
    seed(7)
    return (
        Sequential(Dense(4, 9), ReLU(), Dense(9, 6), Tanh()),
        Sequential(Dense(6, 8), LeakyReLU(0.2), Dense(8, 1)),
    )


def _weights(model):
    return {name: np.array(value, np.float64) for name, value in model.state_dict().items()}


def _judge_loss(forger, judge, images, z, real=1.0, fake=0.0):
    one, two = judge(Tensor(images)), judge(forger(Tensor(z)).detach())
    loss = None
    for logits, target in ((one, real), (two, fake)):
        if target is not None:
            part = graph.bce_with_logits(logits, np.full(logits.shape, target, np.float32))
            loss = part if loss is None else loss + part
    return loss


def _forger_loss(forger, judge, z, target=1.0):
    logits = judge(forger(Tensor(z)))
    return graph.bce_with_logits(logits, np.full(logits.shape, target, np.float32))


def _after(which, loss_of):
    """Return the weights of one network (0: forger, 1: judge) after a step down `loss_of(forger, judge)`."""
    pair = _pair()
    optimiser = SGD(pair[which].parameters(), lr=LR)
    loss = loss_of(*pair)
    loss.backward()
    optimiser.step()
    return _weights(pair[which]), loss.item()


def _number(got, case):
    if got is None:
        raise failure(case, "the function returned nothing: return the loss as a number.")
    try:
        return float(got.item() if isinstance(got, Tensor) else got)
    except (TypeError, ValueError):
        raise failure(case, f"the function returned {got!r:.60}, expected the loss, a number.") from None


def _same(one, two):
    return all(np.allclose(one[name], two[name], rtol=1e-4, atol=1e-6) for name in one)


def _judge_weights(model, expected, likely, case):
    """Compare a network's weights with those after the right step; say which wrong step was made."""
    got = _weights(model)
    if _same(got, expected):
        return
    for words, weights in likely:
        if _same(got, weights):
            raise failure(case, words)
    if max(np.abs(value).max() for value in got.values()) > STALE * LR / 2:
        raise failure(case, "the gradients of an earlier step are still there: begin with zero_grad().")
    for name, value in got.items():
        compare(name, value, expected[name], case, ())


def _batch(n, m):
    random = np.random.default_rng([8, n, m])
    images = np.tanh(random.standard_normal((n, 6))).astype(np.float32)
    return images, random.standard_normal((m, 4)).astype(np.float32)


@lesson.task("Task 5, the judge learns", points=2)
def judge_step(function):
    """Check a function of (forger, judge, optimiser, images, z) that makes one step of the judge."""
    check_is_function(function)
    _warm_up()
    for n, m in ((5, 5), (8, 3)):
        images, z = _batch(n, m)
        case = Case(f"{n} real pictures and {m} drawn ones", ())
        forger, judge = _pair()
        first = _weights(judge)
        for p in judge.parameters():
            p.grad = np.full_like(p.data, STALE)
        optimiser = SGD(judge.parameters(), lr=LR)
        before = _weights(forger)
        with running(function, case, times=5):
            got = function(forger, judge, optimiser, images.copy(), z.copy())
        if not _same(_weights(forger), before):
            raise failure(case, "the forger has changed. In this step only the judge learns.")
        expected, loss = _after(1, lambda f, j, x=images, z=z: _judge_loss(f, j, x, z))
        _judge_weights(
            judge,
            expected,
            [
                ("the judge has not changed: backward() on the loss, then step().", first),
                (
                    "the judge calls drawings real and real pictures drawn: the targets are swapped.",
                    _after(1, lambda f, j, x=images, z=z: _judge_loss(f, j, x, z, 0.0, 1.0))[0],
                ),
                (
                    "the judge has seen real pictures only.",
                    _after(1, lambda f, j, x=images, z=z: _judge_loss(f, j, x, z, 1.0, None))[0],
                ),
                (
                    "the judge has seen drawn pictures only.",
                    _after(1, lambda f, j, x=images, z=z: _judge_loss(f, j, x, z, None, 0.0))[0],
                ),
                (
                    "the judge has learned to call everything real.",
                    _after(1, lambda f, j, x=images, z=z: _judge_loss(f, j, x, z, 1.0, 1.0))[0],
                ),
                (
                    "the two means are added, not averaged.",
                    _after(1, lambda f, j, x=images, z=z: 0.5 * _judge_loss(f, j, x, z))[0],
                ),
            ],
            case,
        )
        if any(p.grad is not None and np.any(p.grad) for p in forger.parameters()):
            raise failure(
                case,
                "the forger has got gradients. Cut the drawings off with .detach(): "
                "in this step they are pictures like any other.",
            )
        compare("the loss", np.array(_number(got, case)), np.array(loss), case, ())


@lesson.task("Task 6, the forger learns", points=2)
def forger_step(function):
    """Check a function of (forger, judge, optimiser, z) that makes one step of the forger."""
    check_is_function(function)
    _warm_up()
    for m in (5, 2):
        _, z = _batch(1, m)
        case = Case(f"{m} drawings", ())
        forger, judge = _pair()
        first = _weights(forger)
        for p in forger.parameters():
            p.grad = np.full_like(p.data, STALE)
        optimiser, before = SGD(forger.parameters(), lr=LR), _weights(judge)
        with running(function, case, times=5):
            got = function(forger, judge, optimiser, z.copy())
        if not _same(_weights(judge), before):
            raise failure(case, "the judge has changed. In this step only the forger learns.")
        expected, loss = _after(0, lambda f, j, z=z: _forger_loss(f, j, z))
        _judge_weights(
            forger,
            expected,
            [
                (
                    "the forger has not changed: does the way back reach it? No .detach() here.",
                    first,
                ),
                (
                    "the forger has learned to be found out: the target of its drawings is 1, *real*.",
                    _after(0, lambda f, j, z=z: _forger_loss(f, j, z, 0.0))[0],
                ),
                (
                    "that loss hardly slopes where the forger is bad. Take the target 1, and go down.",
                    _after(0, lambda f, j, z=z: -1.0 * _forger_loss(f, j, z, 0.0))[0],
                ),
            ],
            case,
        )
        compare("the loss", np.array(_number(got, case)), np.array(loss), case, ())


@lesson.task("Extra task, from one drawing to another", points=2, extra=True)
def walk(function):
    """Check a function of (a, b, steps) that returns points on the arc between two points."""
    cases = []
    for k, steps in ((2, 5), (20, 3), (100, 9), (7, 2)):
        random = np.random.default_rng([9, k])
        a, b = random.standard_normal((2, k))
        cases.append(Case(f"{k} numbers and {steps} steps", (a, b, steps)))
    turned = np.array([3.0, 0.0]), np.array([0.0, 1.0])
    cases.append(Case("a of length 3, b of length 1, at a right angle", (*turned, 3)))
    cases.append(Case("two equal points", (np.array([1.0, 2.0]), np.array([1.0, 2.0]), 4)))

    def right(a, b, steps):
        t = np.linspace(0, 1, steps)[:, None]
        lengths = np.linalg.norm(a), np.linalg.norm(b)
        one, two = a / lengths[0], b / lengths[1]
        angle = math.acos(min(1.0, max(-1.0, float(one @ two))))
        if angle < 1e-7:
            directions = np.tile(one, (steps, 1))
        else:
            directions = (np.sin((1 - t) * angle) * one + np.sin(t * angle) * two) / math.sin(angle)
        return directions * ((1 - t) * lengths[0] + t * lengths[1])

    def straight(a, b, steps):
        t = np.linspace(0, 1, steps)[:, None]
        return (1 - t) * a + t * b

    def without_lengths(a, b, steps):
        path = right(a, b, steps)
        return path / np.linalg.norm(path, axis=1, keepdims=True)

    def of_the_chord(a, b, steps):
        line = straight(a / np.linalg.norm(a), b / np.linalg.norm(b), steps)
        t = np.linspace(0, 1, steps)[:, None]
        lengths = (1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)
        return line / np.linalg.norm(line, axis=1, keepdims=True) * lengths

    check_function(
        function,
        right,
        cases,
        [
            Slip("That is the straight line: in its middle the points are too short.", straight),
            Slip("The lengths are missing: they go evenly from that of a to that of b.", without_lengths),
            Slip("The angles are not even: the chord has been divided, not the arc.", of_the_chord),
        ],
        "There is one row for each step, the first is a and the last is b.",
    )
