"""Arithmetic as numba types it on the GPU: what `x + y` gives for the numbers inside a kernel.

Python and CUDA disagree about numbers in four ways that matter to a kernel:

- `2.0` is float64 in a kernel, and float32 · float64 is float64. So is float32 · int. Here floats are therefore
  NumPy scalars, never Python floats, and `promote` widens where an integer meets a float32.
- Integers are Python ints here (exact); they wrap to their width where they are stored or cast.
- 1.0 / 0.0 is infinity, not an exception.
- `math.exp(float32)` is float32.

`Arithmetic` is the table of operators that the rewritten kernel calls. It also counts floating-point operations,
and notes the source sites where a float32 was widened to float64 without anyone asking.
"""

from __future__ import annotations

import math
import operator

import numpy as np

float32, float64, float16 = np.float32, np.float64, np.float16

#: Stands in for what was never written or lies outside its array: recognisable, and no loop bound.
POISON_INTEGER = -559038737  # 0xDEADBEEF as int32


class SmallInt(int):
    """An integer read from an 8- or 16-bit array: times a float32 it stays float32, as in numba."""


def poison(dtype: np.dtype):
    """Return the value that a read of nothing gives: NaN, or 0xDEADBEEF cut to the integer's width."""
    if dtype.kind in "fc":
        return dtype.type(np.nan)
    return cast(POISON_INTEGER, dtype)


def number(value):
    """Return `value` as the tracer keeps it: bool, int, NumPy float or complex; anything else as it is."""
    kind = type(value)
    if kind is int or kind is float32 or kind is float64 or kind is bool:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return SmallInt(value) if value.dtype.itemsize < 4 else int(value)
    if kind is float:
        return float64(value)
    if kind is complex:
        return np.complex128(value)
    if kind is tuple:
        return tuple(number(item) for item in value)
    return value


def cast(value, dtype: np.dtype):
    """Return `value` converted to `dtype` as a GPU does: floats round, integers wrap, float → int truncates."""
    kind = dtype.kind
    if kind == "f":
        if isinstance(value, (complex, np.complexfloating)):
            value = value.real
        return dtype.type(value)
    if kind in "iu":
        if not isinstance(value, int):
            if value != value or value in (math.inf, -math.inf):  # NaN and infinity have no integer
                return 0 if value != value else cast(2**62 if value > 0 else -(2**62), dtype)
            value = int(value)
        bits = 8 * dtype.itemsize
        value = int(value) & ((1 << bits) - 1)
        if kind == "i" and value >> (bits - 1):
            value -= 1 << bits
        return value
    if kind == "b":
        return bool(value)
    return dtype.type(value)


def caster(dtype):
    """Return the function that a kernel calls when it writes `float32(x)` or `np.int8(x)`."""
    dtype = np.dtype(dtype)
    small = dtype.kind in "iu" and dtype.itemsize < 4
    return lambda value=0: SmallInt(cast(value, dtype)) if small else cast(value, dtype)


class Arithmetic:
    """The operators of one trace: the results numba would give, with a count of the work.

    Attributes
    ----------
    flops : int
        Floating-point additions, subtractions, multiplications, divisions, powers and calls of mathematical
        functions so far; a fused multiply-add is two. Comparisons, negation and conversions are free.
    widened : dict
        site → operator, for the sites where a float32 met a float64 or an integer and became float64.
    """

    def __init__(self):
        self.flops = 0
        self.widened: dict[int, str] = {}

    def binary(self, symbol: str):
        """Return `function(x, y, site)` for a Python operator such as "+"."""
        apply = OPERATORS[symbol]
        settle = self._settle
        if symbol in ("/", "//", "%", "**", "*", "<<"):

            def risky(x, y, site):
                try:
                    result = apply(x, y)
                except ZeroDivisionError:
                    if symbol != "/" and isinstance(x, int) and isinstance(y, int):
                        raise ZeroDivisionError("integer division or modulo by zero") from None
                    result = apply(float64(x), float64(y))
                except OverflowError:
                    result = float64(math.inf)
                if type(result) is int:
                    return result if -(2**63) <= result < 2**64 else wrap64(result)
                return settle(result, apply, symbol, x, y, site)

            return risky

        def plain(x, y, site):
            result = apply(x, y)
            if type(result) is int:
                return result
            return settle(result, apply, symbol, x, y, site)

        return plain

    def _settle(self, result, apply, symbol, x, y, site):
        kind = type(result)
        if kind is float32:
            if type(x) is int or type(y) is int:  # NumPy keeps float32 · int at float32, numba does not
                self.widened.setdefault(site, symbol)
                result = apply(float64(x), float64(y))
            self.flops += 1
        elif kind is float64:
            if type(x) is float32 or type(y) is float32:
                self.widened.setdefault(site, symbol)
            self.flops += 1
        elif kind is float:
            self.flops += 1
            return float64(result)
        elif isinstance(result, (np.floating, np.complexfloating)):
            self.flops += 1
        elif isinstance(result, (np.integer, np.bool_)):
            return number(result)
        return result

    def function(self, name: str, apply, fallback=None):
        """Return a mathematical function that keeps float32 and never raises on a domain error."""

        def traced(*args):
            try:
                result = apply(*args)
            except (ValueError, OverflowError, ZeroDivisionError):
                if fallback is None:
                    result = math.nan
                else:
                    result = fallback(*(float64(arg) for arg in args))
            if type(result) is float or isinstance(result, np.floating):
                self.flops += 1
                narrow = all(type(arg) in (float32, float16, SmallInt) for arg in args)
                wide = any(type(arg) is float32 for arg in args)
                return float32(result) if narrow and wide else float64(result)
            return number(result)

        traced.__name__ = name
        return traced


def wrap64(value: int) -> int:
    """Wrap an integer that has outgrown 64 bits, as int64."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}
