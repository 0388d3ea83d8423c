"""Tuning: choosing what training does not learn, such as the learning rate, by trying.

    best = grid(score, {"lr": [1e-4, 1e-3, 1e-2], "width": [32, 64]})

`score` trains with some settings and says how good the result is on *validation* examples, the larger the
better: whoever chooses by the test has no test left. A best setting at the end of its range means that the
range was too small: all three searches say so.
"""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass, field
from html import escape
from numbers import Real

import numpy as np
from tqdm.auto import tqdm

from minidl.kernels.arguments import check_integer
from minidl.tasks.interruption import interruptions


class BoundaryWarning(UserWarning):
    """The best setting lies at the end of what was tried: something better may lie beyond."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, to be drawn from evenly; with `log`, evenly in their logarithm."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self):
        for value in (self.low, self.high):
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise TypeError(f"a range must go from number to number, got {self.low!r} to {self.high!r}")
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"a range must go up{', from above 0' * self.log}, got {self.low} to {self.high}"
            )

    def at(self, share):
        """Return the number that lies this share of the way, from 0 to 1."""
        share = min(max(share, 0.0), 1.0)
        if self.log:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + share * (self.high - self.low)
        value = min(max(value, self.low), self.high)
        return min(max(round(value), math.ceil(self.low)), math.floor(self.high)) if self.integer else value

    def share(self, value):
        """Return how far along the way a number lies."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass
class Search:
    """What was tried, and what was best.

    Attributes
    ----------
    trials : list of (dict, float)
        Settings and their scores in the order they were tried; -inf where training came to no number.
    boundary : list of str
        The settings whose best value lies at the end of what could be tried.
    interrupted : bool
        Whether Ctrl-C cut it short.
    """

    space: dict
    trials: list = field(default_factory=list)
    interrupted: bool = False

    @property
    def best(self):
        """The settings with the best score; of several, the first."""
        return max(self.trials, key=lambda trial: trial[1])[0] if self.trials else None

    @property
    def score(self):
        """The best score."""
        return max((score for _, score in self.trials), default=-math.inf)

    @property
    def boundary(self):
        """See above."""
        return [] if self.best is None else [n for n, v in self.best.items() if _at_the_end(self.space[n], v)]

    def __repr__(self):
        return f"Search({len(self.trials)} trials, best {self.best} with {self.score:.4g})"

    def _repr_html_(self):
        names = list(self.space)
        head = "".join(f"<th>{escape(name)}</th>" for name in [*names, "score"])
        lines = (
            "".join(f"<td>{escape(_text(value))}</td>" for value in [*(s[n] for n in names), score])
            for s, score in sorted(self.trials, key=lambda trial: -trial[1])
        )
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def grid(score, space, *, progress=True):
    """Try everything.

    Parameters
    ----------
    score : callable
        score(**settings) → float, the larger the better. A `FloatingPointError`, which `fit` raises when the
        loss is no longer a number, counts as -inf.
    space : dict of str to list
        What to try for each setting. Lists of numbers have ends, and the best at an end is warned of; lists
        of anything else have none.
    progress : bool

    Returns
    -------
    Search

    Raises
    ------
    TypeError, ValueError
        If the space is empty or holds something else, or a score is NaN.
    """
    choices = _checked(space)
    for name, values in choices.items():
        if isinstance(values, Range):
            raise TypeError(
                f"{name} is a Range, which has no end of values: give a list, or search at random"
            )
    settings = (dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values()))
    return _search(score, choices, settings, math.prod(map(len, choices.values())), progress)


def random(score, space, trials, *, seed=0, progress=True):
    """Try `trials` settings drawn at random: better than a grid if only some settings matter (J. Bergstra &
    Y. Bengio, JMLR 13, 2012).

    Parameters
    ----------
    space : dict of str to list or Range
    trials, seed : int
    score, progress : as for `grid`
    """
    choices, trials = _checked(space), check_integer("trials", trials, 1)
    generator = np.random.default_rng(check_integer("seed", seed, 0))
    settings = ({name: _draw(values, generator) for name, values in choices.items()} for _ in range(trials))
    return _search(score, choices, settings, trials, progress)


def genetic(score, space, *, generations=5, population=8, mutation=0.3, seed=0, progress=True):
    """Try some settings at random, then again and again children of the better ones, with small changes.

    The best two of a generation live on. The others are children: each has two parents, the best of three
    drawn at random, takes each setting from either, and changes it with probability `mutation`: to a
    neighbour in a list of numbers, to any other value of other lists, by a tenth of the way in a range.

    Parameters
    ----------
    generations, population, seed : int
    mutation : float
    space : as for `random`
    score, progress : as for `grid`
    """
    choices = _checked(space)
    generations = check_integer("generations", generations, 1)
    population = check_integer("population", population, 2)
    if not 0 <= mutation <= 1:
        raise ValueError(f"mutation must be from 0 to 1, got {mutation}")
    generator = np.random.default_rng(check_integer("seed", seed, 0))
    found = {}  # what was tried: nothing is tried twice

    def settings():
        alive = [{name: _draw(v, generator) for name, v in choices.items()} for _ in range(population)]
        for generation in range(generations):
            for candidate in alive:
                if _key(candidate) not in found:
                    found[_key(candidate)] = -math.inf
                    yield candidate
            if generation + 1 < generations:
                alive.sort(key=lambda candidate: -found[_key(candidate)])
                alive = alive[:2] + [child(alive) for _ in range(population - 2)]

    def child(alive):
        parents = [
            max((alive[i] for i in generator.integers(len(alive), size=3)), key=lambda c: found[_key(c)])
            for _ in range(2)
        ]
        mixed = {name: parents[generator.integers(2)][name] for name in choices}
        return {
            name: _change(choices[name], value, generator) if generator.random() < mutation else value
            for name, value in mixed.items()
        }

    def noted(**candidate):
        result = score(**candidate)
        found[_key(candidate)] = float(result)
        return result

    return _search(noted, choices, settings(), generations * population, progress)


def _search(score, space, settings, total, progress):
    search = Search(space)
    with interruptions() as pressed, tqdm(total=total, unit="trial", disable=not progress) as bar:
        for chosen in settings:
            try:
                value = score(**chosen)
            except FloatingPointError:
                value = -math.inf
            if pressed:  # what was under way has been cut short, and would be judged too soon
                search.interrupted = True
                break
            if isinstance(value, bool) or not isinstance(value, (Real, np.floating)) or math.isnan(value):
                raise ValueError(f"score must be a number, got {value!r} for {chosen}")
            search.trials.append((chosen, float(value)))
            bar.set_postfix(best=_text(search.score), refresh=False)
            bar.update()
    if not search.interrupted and search.score > -math.inf:
        for name in search.boundary:
            values = space[name]
            span = (values.low, values.high) if isinstance(values, Range) else (min(values), max(values))
            warnings.warn(
                f"the best {name}, {_text(search.best[name])}, lies at the end of what was tried, "
                f"{_text(span[0])} to {_text(span[1])}: widen it and search again",
                BoundaryWarning,
                stacklevel=3,
            )
    return search


def _checked(space):
    if not isinstance(space, dict) or not space:
        raise TypeError(f"space must be a dict with a list of values for each setting, got {space!r}")
    choices = {}
    for name, values in space.items():
        if not isinstance(values, Range):
            if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
                raise TypeError(f"{name} must have a list of values or a Range, got {values!r}")
            values = list(values)
            if not values:
                raise ValueError(f"{name} has no values to try")
        choices[name] = values
    return choices


def _ordered(values):
    """Whether these are numbers, which have a smallest and a largest."""
    return len(set(map(repr, values))) > 1 and all(
        isinstance(value, Real) and not isinstance(value, bool) for value in values
    )


def _at_the_end(values, best):
    if isinstance(values, Range):
        return not 0.05 < values.share(best) < 0.95
    return _ordered(values) and best in (min(values), max(values))


def _draw(values, generator):
    if isinstance(values, Range):
        return values.at(generator.random())
    return values[generator.integers(len(values))]


def _change(values, value, generator):
    if isinstance(values, Range):
        return values.at(values.share(value) + generator.normal(0, 0.1))
    if len(values) == 1:
        return value
    if _ordered(values):
        values = sorted(values)
        place = values.index(value) + (1 if generator.random() < 0.5 else -1)
        return values[min(max(place, 0), len(values) - 1)]
    others = [other for other in values if other != value]
    return others[generator.integers(len(others))] if others else value


def _key(settings):
    return repr(sorted(settings.items()))
