"""What a kernel may call: the names of `numba.cuda`, mathematical functions, casts and a few builtins."""

from __future__ import annotations

import ast
import builtins
import inspect
import math
from functools import cache

import numpy as np
from numba.core import types
from numba.np.numpy_support import as_dtype

from minidl.hardware.cuda import cuda
from minidl.instruments.tracer.values import cast, caster, float32, float64, number

FULL_MASK = 0xFFFFFFFF

#: Names that stand for a value, and the source that gives it in a rewritten kernel.
VALUES = {
    **{
        f"{name}{axis}": f"_thread_.{name}{axis}"
        for name in ("threadIdx", "blockIdx", "blockDim", "gridDim")
        for axis in ("", ".x", ".y", ".z")
    },
    "laneid": "_thread_.laneid",
    "warpsize": "32",
}

#: Names that are called: how the tracer treats them, and their parameters.
CALLS = {
    "grid": ("thread", "ndim"),
    "gridsize": ("thread", "ndim"),
    "lanemask_lt": ("thread", ""),
    "syncthreads": ("barrier", ""),
    "syncthreads_count": ("barrier", "predicate"),
    "syncthreads_and": ("barrier", "predicate"),
    "syncthreads_or": ("barrier", "predicate"),
    "syncwarp": ("warp", f"mask={FULL_MASK}"),
    "shfl_sync": ("warp", "mask, value, src_lane"),
    "shfl_up_sync": ("warp", "mask, value, delta"),
    "shfl_down_sync": ("warp", "mask, value, delta"),
    "shfl_xor_sync": ("warp", "mask, value, lane_mask"),
    "all_sync": ("warp", "mask, predicate"),
    "any_sync": ("warp", "mask, predicate"),
    "eq_sync": ("warp", "mask, predicate"),
    "ballot_sync": ("warp", "mask, predicate"),
    "match_any_sync": ("warp", "mask, value"),
    "match_all_sync": ("warp", "mask, value"),
    "activemask": ("warp", ""),
    **{
        f"atomic.{name}": ("atomic", "ary, idx, val")
        for name in "add sub max min nanmax nanmin and_ or_ xor exch inc dec".split()  # noqa: SIM905
    },
    "atomic.cas": ("atomic", "ary, idx, old, val"),
    "atomic.compare_and_swap": ("atomic", "ary, old, val"),
    "shared.array": ("allocate", "shape, dtype, alignment=None"),
    "local.array": ("allocate", "shape, dtype, alignment=None"),
    "const.array_like": ("constant", "ndarray"),
    "threadfence": ("pure", ""),
    "threadfence_block": ("pure", ""),
    "threadfence_system": ("pure", ""),
    "nanosleep": ("pure", "ns"),
    "popc": ("pure", "x"),
    "brev": ("pure", "x"),
    "clz": ("pure", "x"),
    "ffs": ("pure", "x"),
    "fma": ("pure", "a, b, c"),
    "selp": ("pure", "a, b, c"),
    "cbrt": ("pure", "a"),
}


class CudaName:
    """A name under `numba.cuda`, such as "atomic.add", however the kernel spells it."""

    def __init__(self, path: str):
        self.path = path

    def __str__(self):
        return f"cuda.{self.path}" if self.path else "cuda"

    def attribute(self, name):
        """Return the name one level down; a number type such as `cuda.float32` as it is."""
        value = getattr(cuda, name, None) if not self.path else None
        if isinstance(value, types.Type):
            return value
        return CudaName(f"{self.path}.{name}" if self.path else name)

    @property
    def kind(self) -> str | None:
        """How a call of it is treated; None if the tracer does not know it."""
        if self.path.startswith("libdevice."):
            return "pure" if _libdevice(self.path) else None
        return CALLS.get(self.path, (None,))[0]

    @property
    def signature(self) -> inspect.Signature:
        """The parameters of a call."""
        if self.path.startswith("libdevice."):
            return inspect.signature(lambda *args: None)
        scope: dict = {}
        exec(f"def call({CALLS[self.path][1]}): pass", scope)
        return inspect.signature(scope["call"])

    @property
    def expression(self) -> ast.expr | None:
        """The syntax that gives its value; None if it has none."""
        source = VALUES.get(self.path)
        return ast.parse(source, mode="eval").body if source else None


def name_of(value):
    """Return the `CudaName` of an object of numba.cuda, and any other object as it is."""
    if inspect.ismodule(value) and (value is cuda or value.__name__ == "numba.cuda"):
        return CudaName("")
    path = _BY_IDENTITY.get(id(value))
    return CudaName(path) if path else value


def _objects():
    for path in [*VALUES, *CALLS, "shared", "local", "const", "atomic", "libdevice"]:
        value = cuda
        for part in path.split("."):
            value = getattr(value, part, None)
        if value is not None and not isinstance(value, (int, property)):
            yield id(value), path


_BY_IDENTITY = dict(_objects())


# -- functions of numba.cuda that touch neither memory nor other threads -------------------------------------


def pure_function(path, arithmetic):
    """Return the stand-in for `cuda.popc` and the like."""
    if path.startswith("libdevice."):
        apply, single = _libdevice(path), path.endswith("f")
        traced = arithmetic.function(path, lambda *args: apply(*map(float64, args)))
        return (lambda *args: float32(traced(*args))) if single else traced
    if path == "cbrt":
        return arithmetic.function("cbrt", np.cbrt)
    if path == "fma":
        exact = arithmetic.function("fma", lambda a, b, c: float64(a) * float64(b) + float64(c), flops=2)
        return lambda a, b, c: exact(
            *((a, b, c) if type(a) is type(b) is type(c) else map(float64, (a, b, c)))
        )
    return {
        "popc": lambda x: _bits(x).bit_count(),
        "brev": lambda x: cast(int(f"{_bits(x):0{_width(x)}b}"[::-1], 2), np.dtype(f"u{_width(x) // 8}")),
        "clz": lambda x: _width(x) - _bits(x).bit_length(),
        "ffs": lambda x: (_bits(x) & -_bits(x)).bit_length(),
        "selp": lambda a, b, c: b if a else c,
    }.get(path, lambda *args: None)


def _width(x) -> int:
    """32, or 64 for an integer that needs it."""
    return 32 if -(2**31) <= int(x) < 2**32 else 64


def _bits(x) -> int:
    return int(x) & ((1 << _width(x)) - 1)


def _libdevice(path):
    """The NumPy function that a function of libdevice stands for: `fast_expf` → exp."""
    name = path.rpartition(".")[2].removeprefix("fast_")
    return _LIBDEVICE.get(name) or _LIBDEVICE.get(name.removesuffix("f"))


_LIKE_NUMPY = (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p"),
    *("sin", "cos", "tan", "tanh", "sqrt"),
)
_LIBDEVICE = {
    **{
        name: getattr(np, name)
        for name in [
            "exp",
            "exp2",
            "expm1",
            "log",
            "log2",
            "log10",
            "log1p",
            "sin",
            "cos",
            "tan",
            "tanh",
            "sqrt",
        ]
    },
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "pow": np.power,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "fabs": np.fabs,
    "floor": np.floor,
    "ceil": np.ceil,
    "fdivide": np.divide,
}


# -- functions of Python, math and NumPy ---------------------------------------------------------------------


def _to_int(value=0):
    return int(value) if value == value and abs(value) != math.inf else 0


_BUILTINS = {
    range: range,
    len: len,
    min: lambda *args: number(min(*args)),
    max: lambda *args: number(max(*args)),
    abs: lambda x: number(abs(x)),
    int: _to_int,
    float: lambda x=0.0: float64(x),
    bool: bool,
    complex: lambda *args: np.complex128(complex(*args)),
    round: lambda x, digits=None: _to_int(round(float(x))) if digits is None else number(round(x, digits)),
    divmod: lambda x, y: tuple(number(item) for item in divmod(x, y)),
    tuple: tuple,
    print: print,
    slice: slice,
    np.ndindex: np.ndindex,
}
_WHERE_MATH_RAISES = {
    **{name: getattr(np, name) for name in _LIKE_NUMPY},
    "pow": np.power,
}


def host_function(function, arithmetic):
    """Return the stand-in for a function of Python, `math`, NumPy or numba's types; None if there is none."""
    try:
        known = _BUILTINS.get(function)
    except TypeError:  # not hashable
        return None
    if known is not None:
        return known
    name = getattr(function, "__name__", "")
    if function is builtins.pow:
        return arithmetic.function("pow", pow, np.power)
    if inspect.isbuiltin(function) and getattr(math, name, None) is function:
        return arithmetic.function(name, function, _WHERE_MATH_RAISES.get(name))
    if isinstance(function, np.ufunc):
        return arithmetic.function(name, function)
    if inspect.isclass(function) and issubclass(function, BaseException):
        return function
    if name == "literal_unroll":
        return lambda values: values
    if inspect.isclass(function) and issubclass(function, np.generic):
        return caster(function)
    return caster(as_dtype(function)) if isinstance(function, types.Number | types.Boolean) else None


@cache
def dtype_of(value) -> np.dtype:
    """Return the dtype that a kernel gave to `cuda.shared.array`: a NumPy or numba type, or a type's name."""
    try:
        return as_dtype(value) if isinstance(value, types.Type) else np.dtype(value)
    except (NotImplementedError, TypeError):
        raise TypeError(f"dtype must be a NumPy or numba type, got {value!r}") from None
