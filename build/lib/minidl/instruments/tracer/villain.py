"""Looks for an interleaving of the threads that makes a racy kernel give a wrong answer.

A kernel without races gives the same answer in any order. For one with races the villain needs to know what
the right answer would be, and guesses: if threads only read what others write without waiting (a barrier is
missing), it is the answer of threads in lockstep, where everybody has written before anybody reads; if
several threads, or several blocks, write one cell (a lost update), it is the answer of threads that run one
after the other. Then it tries orders, each drawn from a seed, until one gives another answer.
"""

from __future__ import annotations

import numpy as np

from minidl.instruments.tracer.schedule import InOrder, LimitReached, Lockstep, Villain

TRIES, MOST_STEPS = 24, 2_000_000


def find_bad_order(run, writers_collide, seed, limit) -> tuple[int, str]:
    """Return (seed, what went wrong); the seed that was given and "" if no order tried does harm.

    Parameters
    ----------
    run : callable
        `run(policy)` → (arrays by name after a launch in that order, number of steps).
    writers_collide : bool
        Whether several threads write one cell, or only one writes what others read.
    seed : int
        The first to try. The seed returned is the first from there on that does harm, so trying it again does
        the same harm at once.
    limit : int
        Steps after which the search ends, if `MOST_STEPS` have not ended it before.
    """
    right, steps = run(InOrder() if writers_collide else Lockstep())
    for attempt in range(seed, seed + TRIES):
        try:
            arrays, more = run(Villain(attempt))
        except LimitReached:
            break
        wrong = _difference(right, arrays)
        if wrong:
            return attempt, f"with seed {attempt} {wrong}"
        steps += more
        if steps > min(limit, MOST_STEPS):
            break
    return seed, ""


def _difference(right, arrays) -> str:
    """Say where two answers differ; "" if they do not."""
    for name, expected in right.items():
        got = arrays[name]
        differs = np.flatnonzero(~((got == expected) | ((got != got) & (expected != expected))).ravel())
        if len(differs):
            index = tuple(map(int, np.unravel_index(differs[0], got.shape)))
            place = f"{name}[{', '.join(map(str, index))}]"
            return f"{place} is {got[index]}, where a kinder order gives {expected[index]}"
    return ""
