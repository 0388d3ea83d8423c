"""What a kernel may call: the names of `numba.cuda`, the mathematical functions, the casts and a few builtins."""

from __future__ import annotations

import ast
import builtins
import inspect
import math

import numpy as np

from minidl.hardware.cuda import cuda
from minidl.instruments.tracer.values import SmallInt, caster, float32, float64, number

FULL_MASK = 0xFFFFFFFF

#: Names that stand for a value, and the source that gives it in a rewritten kernel.
VALUES = {
    **{
        f"{name}{axis}": f"_t.{name}{axis}"
        for name in ("threadIdx", "blockIdx", "blockDim", "gridDim")
        for axis in ("", ".x", ".y", ".z")
    },
    "laneid": "_t.laneid",
    "warpsize": "32",
}

#: Names that are called: their kind and their parameters.
CALLS = {
    "grid": ("grid", "ndim"),
    "gridsize": ("grid", "ndim"),
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
    "lanemask_lt": ("pure", ""),
    **{
        f"atomic.{name}": ("atomic", "ary, idx, val")
        for name in (
            "add",
            "sub",
            "max",
            "min",
            "nanmax",
            "nanmin",
            "and_",
            "or_",
            "xor",
            "exch",
            "inc",
            "dec",
        )
    },
    "atomic.cas": ("atomic", "ary, idx, old, val"),
    "atomic.compare_and_swap": ("atomic", "ary, old, val"),
    "shared.array": ("allocate", "shape, dtype, alignment=None"),
    "local.array": ("allocate", "shape, dtype, alignment=None"),
    "const.array_like": ("allocate", "ndarray"),
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

    def __init__(self, path):
        self.path = path

    def __str__(self):
        return f"cuda.{self.path}" if self.path else "cuda"

    def attribute(self, name) -> CudaName:
        """Return the name one level down."""
        return CudaName(f"{self.path}.{name}" if self.path else name)

    @property
    def kind(self):
        """What sort of call it is; None if the tracer does not know it."""
        if self.path.startswith("libdevice."):
            return "pure" if _libdevice(self.path) else None
        return CALLS.get(self.path, (None,))[0]

    @property
    def signature(self):
        """Its parameters."""
        if self.path.startswith("libdevice."):
            return inspect.signature(lambda *args: None)
        scope: dict = {}
        exec(f"def call({CALLS[self.path][1]}): pass", scope)
        return inspect.signature(scope["call"])

    def expression(self, node):
        """Return the syntax that gives its value; None if it has none."""
        source = VALUES.get(self.path)
        return ast.parse(source, mode="eval").body if source else None


def name_of(value):
    """Return the `CudaName` of an object of numba.cuda; any other object as it is."""
    if inspect.ismodule(value) and (
        value is cuda or value.__name__ in ("numba.cuda", "numba_cuda.numba.cuda")
    ):
        return CudaName("")
    try:
        path = _BY_IDENTITY.get(id(value))
    except TypeError:
        return value
    return CudaName(path) if path else value


def _objects():
    for path in [*VALUES, *CALLS, "shared", "local", "const", "atomic", "libdevice"]:
        value = cuda
        for part in path.split("."):
            value = getattr(value, part, None)
        if value is not None and not isinstance(value, (int, property)):
            yield id(value), path


_BY_IDENTITY = dict(_objects())


# -- functions that need nobody else -------------------------------------------------------------------------


def _bits(x) -> int:
    """The bits of an integer as CUDA sees them: 32, or 64 where it needs them."""
    x = int(x)
    return x & (0xFFFFFFFF if -(2**31) <= x < 2**32 else 0xFFFFFFFFFFFFFFFF)


def _clz(x):
    return (32 if -(2**31) <= int(x) < 2**32 else 64) - _bits(x).bit_length()


def _ffs(x):
    x = _bits(x)
    return (x & -x).bit_length()


def pure_function(path, arithmetic):
    """Return the stand-in for a function of numba.cuda that touches neither memory nor other threads."""
    if path.startswith("libdevice."):
        return _libdevice_function(path, arithmetic)

    def fma(a, b, c):
        arithmetic.flops += 2
        exact = float64(a) * float64(b) + float64(c)
        return float32(exact) if type(a) is type(b) is type(c) is float32 else exact

    return {
        "popc": lambda x: _bits(x).bit_count(),
        "brev": lambda x: int(f"{_bits(x):032b}"[::-1], 2),
        "clz": _clz,
        "ffs": _ffs,
        "fma": fma,
        "selp": lambda a, b, c: b if a else c,
        "cbrt": arithmetic.function("cbrt", np.cbrt),
    }.get(path, lambda *args: None)


def _libdevice(path):
    """The NumPy function that a libdevice function stands for: `fast_expf` → exp."""
    name = path.rpartition(".")[2].removeprefix("fast_")
    for candidate in (name, name.removesuffix("f"), {"rsqrtf": "rsqrt"}.get(name, "")):
        if candidate in _LIBDEVICE:
            return _LIBDEVICE[candidate]
    return None


_LIBDEVICE = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "pow": np.power,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "fabs": np.fabs,
    "floor": np.floor,
    "ceil": np.ceil,
    "fdivide": np.divide,
}


def _libdevice_function(path, arithmetic):
    apply = _libdevice(path)
    single = path.endswith("f")

    def traced(*args):
        arithmetic.flops += 1
        result = apply(*(float64(arg) for arg in args))
        return float32(result) if single else float64(result)

    return traced


# -- functions of Python, math and NumPy ---------------------------------------------------------------------


def _to_int(value=0):
    return int(value) if value == value and abs(value) != math.inf else 0


BUILTINS = {
    range: range,
    len: len,
    min: lambda *args: number(min(*args)),
    max: lambda *args: number(max(*args)),
    abs: lambda x: number(abs(x)),
    int: _to_int,
    float: lambda x=0.0: float64(x),
    bool: bool,
    complex: lambda *args: np.complex128(complex(*args)),
    round: lambda x, digits=None: (
        number(round(x, digits)) if digits is not None else _to_int(round(float(x)))
    ),
    divmod: lambda x, y: tuple(number(item) for item in divmod(x, y)),
    tuple: tuple,
    print: print,
    slice: slice,
    np.ndindex: np.ndindex,
}
_MATH_FALLBACK = {
    "exp": np.exp,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "pow": np.power,
    "expm1": np.expm1,
    "cosh": np.cosh,
    "sinh": np.sinh,
}


def host_function(function, arithmetic):
    """Return what stands for a function of Python, `math`, NumPy or numba's types; None if kernels cannot call it."""
    try:
        if function in BUILTINS:
            return BUILTINS[function]
    except TypeError:
        return None
    if function is builtins.pow:
        return arithmetic.function("pow", pow, np.power)
    if inspect.isbuiltin(function) and getattr(math, function.__name__, None) is function:
        return arithmetic.function(function.__name__, function, _MATH_FALLBACK.get(function.__name__))
    if isinstance(function, np.ufunc):
        return arithmetic.function(function.__name__, function)
    if inspect.isclass(function) and issubclass(function, np.generic):
        return caster(function)
    if inspect.isclass(function) and issubclass(function, BaseException):
        return function
    if getattr(function, "__name__", "") == "literal_unroll":
        return lambda values: values
    dtype = numba_dtype(function)
    return caster(dtype) if dtype is not None else None


def numba_dtype(value):
    """Return the NumPy dtype of numba's `float32` and the like; None for anything else."""
    from numba.core import types
    from numba.np.numpy_support import as_dtype

    if isinstance(value, types.Type) or type(value).__module__.startswith("numba"):
        try:
            return as_dtype(value)
        except (NotImplementedError, AttributeError, TypeError):
            name = getattr(value, "name", "")
            return np.dtype(name) if name in np.sctypeDict else None
    return None


def dtype_of(value):
    """Return the dtype that a kernel gave to `cuda.shared.array`: a NumPy or numba type, or its name."""
    made = numba_dtype(value)
    if made is not None:
        return made
    try:
        return np.dtype(value)
    except TypeError:
        raise TypeError(f"dtype must be a NumPy or numba type, got {value!r}") from None


__all__ = ["CALLS", "VALUES", "CudaName", "SmallInt", "dtype_of", "host_function", "name_of", "pure_function"]
