"""Compares an answer's values with the right ones, and says in words how they differ and probably why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-5  # relative to the largest value: some roundings of float32
UNTOUCHED = np.float32(-99999.5)  # what an output holds before a kernel writes it


class CheckFailed(AssertionError):
    """Raised when an answer is not right yet; the message says what is wrong, and where."""

    def _render_traceback_(self):
        # Jupyter shows these lines and leaves out the stack, which is that of the checks. Where a line of the
        # student's own code matters, the message quotes it.
        return str(self).splitlines()


@dataclass(frozen=True)
class Case:
    """One set of inputs: in words, which complete "With …", and as arguments."""

    words: str
    inputs: tuple


@dataclass(frozen=True)
class Slip:
    """A well-known wrong answer: words for it, and a function of a case's inputs that makes it.

    The function returns an array of the right shape, or a number, with NaN where it cannot know.
    """

    words: str
    values: Callable


def failure(case: Case, words: str, kind: str = "") -> CheckFailed:
    """Return an error to be raised that says with which inputs something went wrong."""
    label = f" {kind.replace('-', ' ').replace('non ', 'non-')}:" if kind else ""
    return CheckFailed(f"with {case.words},{label} {words.strip()}")


def count(number: int, what: str) -> str:
    """Return "1 point" or "2 points"."""
    return f"{number} {what}{'s' * (number != 1)}"


def in_digits(number) -> str:
    """Return a number as messages show it: whole ones with all of their digits, others with six."""
    return f"{number:.0f}" if abs(number) < 1e15 and number == round(number) else f"{number:.6g}"


def compare(name, got, expected, case, slips, threads=None):
    """Raise `CheckFailed` if values are wrong: where, what was expected, what the likely misunderstanding is.

    Parameters
    ----------
    name : str
        What the message calls the values.
    got, expected : arrays of one shape
    slips : sequence of Slip
    threads : int, optional
        Threads in a block, if a kernel wrote them into an array of `UNTOUCHED`.
    """
    finite = np.abs(expected[np.isfinite(expected)])
    size = finite.max() if finite.size else 1.0

    def same(left, right):
        return np.isclose(left, right, rtol=TOLERANCE, atol=TOLERANCE * size, equal_nan=True)

    wrong = ~same(got, expected)
    if not wrong.any():
        return
    unwritten = np.flatnonzero(got == UNTOUCHED)
    if unwritten.size == got.size:
        raise failure(
            case, f"{name} was never written: {count(got.size, 'output')}, and no thread wrote one."
        )
    if unwritten.size:
        raise failure(case, _unwritten(name, unwritten, got.shape, threads))
    first = np.unravel_index(np.argmax(wrong), wrong.shape)
    index = ", ".join(str(int(i)) for i in first)
    where = f"{name}[{index}]" if index else name
    words = f"{where} is {in_digits(got[first])}, expected {in_digits(expected[first])}"
    if wrong.sum() > 1:
        words += f"; {wrong.sum()} of {wrong.size} values are wrong"
    raise failure(case, f"{words}. {_misunderstanding(got, expected, wrong, case, slips, same, threads)}")


def _unwritten(name, cells, shape, threads):
    first, last, size = cells[0], cells[-1], math.prod(shape)
    if len(shape) > 1:
        where = ", ".join(str(int(i)) for i in np.unravel_index(first, shape))
        return f"{cells.size} of {size} outputs were never written, {name}[{where}] is the first of them."
    if cells.size == 1:
        which = f"{name}[{first}]{', the last output,' if first == size - 1 else ''} was never written."
    elif last - first + 1 == cells.size:
        which = f"{name}[{first}] to {name}[{last}] were never written."
    else:
        which = f"{cells.size} of {size} outputs were never written, {name}[{first}] is the first of them."
    if first == threads:
        return f"{which} Only block 0 has written: is the number of the block part of the index?"
    if last == size - 1:
        return f"{which} Does the guard stop a thread that has an output?"
    return which


def _misunderstanding(got, expected, wrong, case, slips, same, threads) -> str:
    """Return a sentence on what probably led to these values, or nothing."""
    for slip in slips:
        values = np.asarray(slip.values(*case.inputs), dtype=np.float64)
        known = ~np.isnan(values) | np.isnan(expected)
        if 2 * known.sum() >= known.size and same(got, values)[known].all() and (known & wrong).any():
            return slip.words
    there = np.flatnonzero(wrong)
    if np.isnan(got[wrong]).any():
        if any(_has_nan(x) for x in case.inputs):
            return "A NaN may touch only those outputs that are computed from it."
        return "NaN comes of 0 / 0, ∞ / ∞, ∞ − ∞ and 0 · ∞: which of them can happen here?"
    if np.isinf(got[wrong]).any():
        return (
            "Infinity comes of an exponential that is too large, a division by 0 and the logarithm of 0: "
            "which of them can happen here?"
        )
    if threads and np.abs(got[wrong] - expected[wrong]).max() > abs(UNTOUCHED) / 1000:
        return (
            "What `out` held before has got into the result. Nobody promises zeros there: "
            "add up in a local variable, and write to `out` once."
        )
    if got.ndim == 1 and got.size > 3:
        if same(got[:-1], expected[1:]).all():
            return "Every value is one place too far to the left: out[i] holds what belongs into out[i + 1]."
        if same(got[1:], expected[:-1]).all():
            return "Every value is one place too far to the right: out[i] holds what belongs into out[i - 1]."
        if there.size == 1 and there[0] == got.size - 1:
            return "Only the last value is wrong: how does the last output differ from the others?"
    if threads and got.size > threads:
        if not wrong[:threads].any():
            return "Block 0 is right, the blocks after it are not: what does the code know about its block?"
        if (there % threads).min() > 0:
            return (
                "In every block the first outputs are right and later ones are not: "
                "is everything there that the last threads of a block need?"
            )
    return _in_proportion(got, expected, same)


def _has_nan(x):
    try:
        return bool(np.isnan(x).any())
    except (TypeError, ValueError):  # words, dictionaries, lists of different lengths
        return False


def _in_proportion(got, expected, same) -> str:
    """Return a sentence if all values are wrong in one and the same way, or nothing."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if not np.isfinite(expected).all() or not got.any():
        return ""
    if same(got, -expected).all():
        return "The sign is wrong." if got.size == 1 else "All signs are the wrong way round."
    if got.size < 3 or same(expected, expected.flat[0]).all():
        return ""  # of so few values, any relation may be chance
    if same(got, np.trunc(expected)).all() or same(got, np.floor(expected)).all():
        return "What comes after the point is cut off: does a dtype or a // make whole numbers here?"
    largest = np.argmax(np.abs(expected))
    factor = got.flat[largest] / expected.flat[largest]
    if abs(factor) > 1e-3 and same(got, factor * expected).all():
        return f"Every value is {factor:.4g} times what it should be."
    return ""
