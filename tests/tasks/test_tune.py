"""Tuning: the searches find what is there, the same way every time, and warn at the end of a range."""

import os
import signal
import warnings

import numpy as np
import pytest

from minidl.tasks import Adam, fit, tune
from minidl.tasks.tune import BoundaryWarning, Range
from tests.tasks.conftest import small_network

QUIET = {"progress": False}


def hill(x, y, kind="a"):
    return -((x - 3) ** 2) - np.log2((y + 1) / 1.5) ** 2 * 10 - (kind != "b")


def test_a_grid_tries_everything_once():
    tried = []
    space = {"x": [1, 2, 3, 4], "y": (0.0, 0.5, 1.0), "kind": ["a", "b"]}
    found = tune.grid(lambda **s: tried.append(s) or hill(**s), space, **QUIET)
    assert len(tried) == 24 == len({repr(s) for s in tried}) == len(found.trials)
    assert found.best == {"x": 3, "y": 0.5, "kind": "b"} and found.score == 0
    assert found.boundary == [] and not found.interrupted
    assert found._repr_html_().count("<tr>") == 25 and "24 trials" in repr(found)


@pytest.mark.parametrize("xs, end", [([3, 4, 5], True), ([1, 3], True), ([2, 3, 4], False), ([3], False)])
def test_the_best_at_the_end_of_the_grid_is_warned_of(xs, end):
    space = {"x": xs, "y": [0.0, 0.5, 1.0]}
    if end:
        with pytest.warns(
            BoundaryWarning, match=f"the best x, 3, lies at the end .* {xs[0]} to {xs[-1]}: widen"
        ):
            found = tune.grid(hill, space, **QUIET)
        assert found.boundary == ["x"]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert tune.grid(hill, space, **QUIET).boundary == []


def test_names_have_no_end():
    space = {"kind": ["a", "b"], "on": [True, False]}
    found = tune.grid(lambda kind, on: float(kind == "b" and on), space, **QUIET)
    assert found.best == {"kind": "b", "on": True} and found.boundary == []


@pytest.mark.parametrize("search", [
    lambda space, seed: tune.random(hill, space, 300, seed=seed, **QUIET),
    lambda space, seed: tune.genetic(hill, space, generations=20, population=15, seed=seed, **QUIET),
])  # fmt: skip
def test_random_and_genetic_search_climb_the_hill(search):
    space = {"x": Range(0, 10), "y": Range(0.01, 10, log=True), "kind": ["a", "b", "c"]}
    found, again, other = search(space, 1), search(space, 1), search(space, 2)
    assert found.trials == again.trials != other.trials
    assert found.score > -0.5 and found.best["kind"] == "b"
    assert all(0 <= s["x"] <= 10 and 0.01 <= s["y"] <= 10 for s, _ in found.trials)


def test_children_are_better_than_chance():
    space = {f"x{i}": Range(-5, 5) for i in range(6)}

    def score(**s):
        return -sum(v * v for v in s.values())

    ours = [tune.genetic(score, space, generations=15, population=20, seed=s, **QUIET) for s in range(5)]
    chance = [tune.random(score, space, len(o.trials), seed=s, **QUIET) for s, o in enumerate(ours)]
    assert np.median([o.score for o in ours]) > 0.5 * np.median([c.score for c in chance])
    for o in ours:
        assert len({repr(s) for s, _ in o.trials}) == len(o.trials)  # nothing is tried twice


def test_ranges():
    steps = Range(1, 100, log=True)
    assert steps.at(0.5) == pytest.approx(10) and steps.share(10) == pytest.approx(0.5)
    whole = Range(0.5, 3.5, integer=True)
    assert [whole.at(s) for s in (-1, 0, 0.5, 1, 2)] == [1, 1, 2, 3, 3]
    drawn = tune.random(lambda n: -abs(n - 2), {"n": whole}, 60, **QUIET)
    assert {s["n"] for s, _ in drawn.trials} == {1, 2, 3}
    with pytest.warns(BoundaryWarning, match=r"the best x, 9\.\d+, lies at the end"):
        tune.random(lambda x: x, {"x": Range(0, 10)}, 100, **QUIET)


def test_a_training_that_blows_up_counts_as_the_worst():
    def score(lr):
        if lr > 2:
            raise FloatingPointError("loss became nan")
        return -abs(lr - 1)

    found = tune.grid(score, {"lr": [0, 1, 10]}, **QUIET)
    assert found.best == {"lr": 1} and found.trials[-1][1] == -np.inf


def test_it_tunes_a_real_training(examples):
    def score(lr):
        model = small_network(dropout=0.0)
        history = fit(model, examples, 5, validation=0.3, optimiser=lambda p: Adam(p, lr), **QUIET)
        return history["validation_accuracy"][-1]

    found = tune.grid(score, {"lr": [1e-6, 0.02, 1e3]}, **QUIET)
    assert found.best == {"lr": 0.02}


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_the_training_and_the_search(examples):
    calls = []

    class Press:
        def on_batch(self, training):
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGINT)

    def score(lr):
        calls.append(lr)
        return float(len(fit(small_network(), examples, 3, callbacks=[Press()], **QUIET)))

    before = signal.getsignal(signal.SIGINT)
    found = tune.grid(score, {"lr": [1, 2, 3, 4]}, **QUIET)
    assert found.interrupted and len(found.trials) == 1 and calls == [1, 2]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("space", "error", "says"),
    [
        ({}, TypeError, "space must be a dict"),
        ([1], TypeError, "space must be a dict"),
        ({"x": []}, ValueError, "x has no values to try"),
        ({"x": 3}, TypeError, "x must have a list of values"),
        ({"x": "abc"}, TypeError, "x must have a list of values"),
        ({"x": Range(0, 1)}, TypeError, "x is a Range"),
    ],
)
def test_spaces_that_are_none(space, error, says):
    with pytest.raises(error, match=says):
        tune.grid(hill, space, **QUIET)


def test_other_nonsense():
    for make in (lambda: Range(2, 1), lambda: Range(0, 1, log=True)):
        with pytest.raises(ValueError, match="a range must go up"):
            make()
    with pytest.raises(TypeError, match="from number to number"):
        Range("a", 2)
    with pytest.raises(ValueError, match="score must be a number, got nan"):
        tune.grid(lambda x: float("nan"), {"x": [1, 2]}, **QUIET)
    with pytest.raises(ValueError, match="trials must be at least 1"):
        tune.random(hill, {"x": [1]}, 0, **QUIET)
    with pytest.raises(ValueError, match="mutation must be from 0 to 1"):
        tune.genetic(hill, {"x": [1]}, mutation=2, **QUIET)
