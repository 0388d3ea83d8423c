"""Numbers as numba types them on the GPU: what `x + y`, `float32(x)` and `math.exp(x)` give inside a kernel.

Python and CUDA disagree about numbers in four ways that matter to a kernel:

- `2.0` is float64, and float32 · float64 is float64. So is float32 · int. Floats are therefore NumPy scalars
  here, never Python floats, and an integer that meets a float32 widens it.
- Integers wrap to their width where they are stored or cast; in between they are Python ints.
- 1.0 / 0.0 is infinity, not an exception.
- `math.exp(float32)` is float32.

`Arithmetic` holds the operators that a rewritten kernel calls. It also counts floating-point operations, and
notes where a float32 became float64 without anyone asking.
"""

from __future__ import annotations

import math
import operator

import numpy as np

float16, float32, float64 = np.float16, np.float32, np.float64

#: What stands for an integer that was never written: recognisable, and as a loop's bound it ends the loop.
POISON = -559038737  # 0xDEADBEEF as int32


class SmallInt(int):
    """An integer of 8 or 16 bits: times a float32 it stays float32, as in numba."""


def poison(dtype: np.dtype):
    """Return the value that a read of nothing gives: NaN, or 0xDEADBEEF cut to the integer's width."""
    return dtype.type(np.nan) if dtype.kind in "fc" else cast(POISON, dtype)


def number(value):
    """Return `value` as a kernel holds it: bool, int, a NumPy float or complex; anything else as it is."""
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
    """Return `value` converted as a GPU does: floats round, integers wrap, floats lose their fraction."""
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind not in "iu":
        return dtype.type(value.real if dtype.kind == "f" and isinstance(value, complex) else value)
    if not isinstance(value, int):
        if value != value:
            return 0
        if abs(value) >= 2.0**63:  # the GPU saturates
            value = 2**63 - 1 if value > 0 else -(2**63)
    bits = 8 * dtype.itemsize
    value = int(value) & ((1 << bits) - 1)
    return value - (1 << bits) if dtype.kind == "i" and value >> (bits - 1) else value


def caster(dtype):
    """Return the function that stands for a cast in a kernel: `float32(x)`, `np.int8(x)`."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu" and dtype.itemsize < 4:
        return lambda value=0: SmallInt(cast(value, dtype))
    return lambda value=0: cast(value, dtype)


# -- values that nobody defined ------------------------------------------------------------------------------


class Undefined:
    """A value that depends on what a register happens to hold; `used` is called when a kernel uses it."""

    used = staticmethod(lambda: None)


def undefined(like, used):
    """Return an undefined value of the type of `like`."""
    kinds = {float32: UndefinedFloat32, float16: UndefinedFloat32}
    kind = kinds.get(type(like), UndefinedInt if isinstance(like, int) else UndefinedFloat64)
    value = kind(POISON if kind is UndefinedInt else math.nan)
    value.used = used
    return value


def _relies(name, base):
    operation = getattr(base, name)

    def method(self, *others):
        self.used()
        return operation(self, *others)

    return method


def _undefined_type(base):
    names = (
        "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow and rand or ror "
    )
    names += "xor rxor lt le gt ge"
    methods = [f"__{name}__" for name in names.split() if hasattr(base, f"__{name}__")]
    return type("Undefined", (Undefined, base), {name: _relies(name, base) for name in methods})


UndefinedInt = _undefined_type(int)
UndefinedFloat32 = _undefined_type(float32)
UndefinedFloat64 = _undefined_type(float64)


# -- arithmetic ----------------------------------------------------------------------------------------------

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


class Arithmetic:
    """The operators of one launch: the results that numba would give, and a count of the work.

    Attributes
    ----------
    flops : int
        Additions, subtractions, multiplications, divisions, powers and mathematical functions of floats so
        far. A fused multiply-add is two; comparisons, negation, rounding and conversions are free.
    widened : dict of int to str
        Site → operator, where a float32 met a float64 or an integer and became float64.
    """

    def __init__(self):
        self.flops = 0
        self.widened: dict[int, str] = {}

    def operator(self, symbol: str):
        """Return the function `(x, y, site)` that stands for a Python operator such as "+"."""
        apply, settle = OPERATORS[symbol], self._settle

        def safe(x, y, site):
            result = apply(x, y)
            return result if type(result) is int else settle(result, apply, symbol, x, y, site)

        def risky(x, y, site):
            try:
                result = apply(x, y)
            except ZeroDivisionError:
                if symbol != "/":
                    raise
                result = float64(x) / float64(y)
            except OverflowError:
                result = float64(math.inf)
            if type(result) is int:
                return result if -(2**63) <= result < 2**64 else cast(result, np.dtype(np.int64))
            return settle(result, apply, symbol, x, y, site)

        return safe if symbol in ["+", "-", ">>", "&", "|", "^"] else risky

    def _settle(self, result, apply, symbol, x, y, site):
        """Give a result that is no integer the type it has in numba."""
        kind = type(result)
        if kind is float32:
            if type(x) is int or type(y) is int:  # float32 to NumPy, float64 to numba
                self.widened.setdefault(site, symbol)
                result = apply(float64(x), float64(y))
            self.flops += 1
        elif kind is float64:
            kinds = {type(x), type(y)}
            if kinds == {float32, SmallInt}:  # float64 to NumPy, float32 to numba
                result = apply(float32(x), float32(y))
            elif float32 in kinds:
                self.widened.setdefault(site, symbol)
            self.flops += 1
        elif kind is float:
            self.flops += 1
            return float64(result)
        elif isinstance(result, (np.floating, np.complexfloating)):
            self.flops += 1
        else:
            return number(result)
        return result

    def function(self, name: str, apply, fallback=None, flops=1):
        """Return the stand-in for a mathematical function: float32 stays, and no domain error is raised."""

        def traced(*args):
            try:
                result = apply(*args)
            except (ValueError, OverflowError, ZeroDivisionError):
                result = fallback(*map(float64, args)) if fallback else float64(math.nan)
            if not isinstance(result, (float, np.floating)):
                return number(result)
            self.flops += flops
            kinds = {type(arg) for arg in args}
            if float32 in kinds and kinds <= {float32, float16, SmallInt}:
                return float32(result)
            return result if isinstance(result, np.floating) else float64(result)

        traced.__name__ = name
        return traced
