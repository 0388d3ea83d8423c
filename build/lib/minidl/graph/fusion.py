"""Elementwise fusion: several formulas, each a pass over memory, compiled into one loop that passes once."""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit, prange

from minidl.kernels.compiling import ARITHMETIC
from minidl.kernels.elementwise.scalar import sigmoid_of, tanh_of
from minidl.kernels.exponential import exp
from minidl.ops import Op, broadcast
from minidl.ops.formula import layout
from minidl.ops.op import size

# From this many elements on, waking the other threads is worth it.
PARALLEL_FROM = 1 << 17


@njit(**ARITHMETIC)
def _maximum(a, b):
    return a if a > b or a != a else b  # a NaN wins, as in NumPy


@njit(**ARITHMETIC)
def _minimum(a, b):
    return a if a < b or a != a else b


@njit(**ARITHMETIC)
def _sign(a):
    return a if a != a else (a > 0) - (a < 0)


# What the functions of formulas are, for one number.
SCALAR_FUNCTIONS = {
    "abs": abs,
    "exp": exp,
    "log": math.log,
    "maximum": _maximum,
    "minimum": _minimum,
    "sigmoid": sigmoid_of,
    "sign": _sign,
    "sqrt": math.sqrt,
    "tanh": tanh_of,
}


class Fused(Op):
    """Several elementwise operations as one, compiled for the shapes of its inputs when it first runs.

    Parameters
    ----------
    lines : tuple of (str, str)
        Name and formula (for one number) of each step, in order; the inputs are called x0, x1, ….
    names : tuple of str
        What was fused.
    flops : int
        For one element.
    """

    writes_out = True

    def __init__(self, lines, names, flops):
        self.lines, self.names, self._flops = tuple(lines), names, flops
        self.name = "fused(" + ", ".join(names) + ")"
        self._shapes = None  # of the inputs it is ready for

    def forward(self, *arrays, out=None):
        """Run the loop; nothing is kept, because its derivatives are nodes themselves."""
        shapes = [a.shape for a in arrays]
        if shapes != self._shapes:
            self._shapes, self._shape = shapes, np.broadcast_shapes(*shapes)
            self._dtype = self.dtype(*[a.dtype for a in arrays])
            self._loop, self._lengths = _loop(self.lines, self._shape, tuple(shapes), self._dtype)
        if out is None:
            out = np.empty(self._shape, self._dtype)
        self._loop(out.reshape(-1), *self._lengths, *[a.reshape(-1) for a in arrays])
        return out, ()

    def shape(self, *shapes):
        """Shapes broadcast."""
        return broadcast(*shapes)

    def dtype(self, *dtypes):
        """That of the floats among the inputs."""
        return np.result_type(*[d for d in dtypes if d.kind == "f"])

    def flops(self, *shapes):
        """All steps, for each element."""
        return self._flops * size(broadcast(*shapes))

    def source(self, *shapes):
        """Return the Python of the loop for inputs of these shapes."""
        return _write(self.lines, *layout(np.broadcast_shapes(*shapes), shapes)[:2])


@functools.lru_cache(maxsize=4096)
def _loop(lines, shape, shapes, dtype):
    axes, pattern, lengths = layout(shape, shapes)
    compiled = _compile(_write(lines, axes, pattern), dtype, size(shape) >= PARALLEL_FROM)
    return compiled, lengths


def _write(lines, axes, pattern):
    """Write the loop: rows in parallel, and along each row one number after the other.

    Where an input lacks an axis, the same numbers are used again: its row starts at the same place, or, if it
    lacks the last axis, it is one number for the whole row.
    """
    outer = [f"n{k}" for k in range(axes - 1)]
    inputs = [f"x{i}" for i in range(len(pattern))]
    text = [f"def loop({', '.join(['out', *outer, 'n', *inputs])}):"]
    indent = "    "
    if outer:
        text.append(f"{indent}for row in prange({' * '.join(outer)}):")
        indent += "    "
        rest = "row"
        for k in reversed(range(len(outer))):
            text.append(f"{indent}i{k} = {rest} % n{k}" if k else f"{indent}i0 = {rest}")
            text.append(f"{indent}rest{k} = {rest} // n{k}" if k else "")
            rest = f"rest{k}"
    for x, has in zip(inputs, pattern, strict=True):
        start = _start(has)
        if has[-1]:
            text.append(
                f"{indent}r{x} = {x}[{start} * n : ({start} + 1) * n]" if outer else f"{indent}r{x} = {x}"
            )
        else:
            text.append(f"{indent}v{x} = {x}[{start}]")
    text.append(f"{indent}rout = out[row * n : (row + 1) * n]" if outer else f"{indent}rout = out")
    text.append(f"{indent}for k in {'range' if outer else 'prange'}(n):")
    indent += "    "
    for x, has in zip(inputs, pattern, strict=True):
        if has[-1]:
            text.append(f"{indent}v{x} = r{x}[k]")
    for name, formula in lines:
        text.append(f"{indent}{name} = {formula}")
    text.append(f"{indent}rout[k] = {lines[-1][0]}")
    return "\n".join(line for line in text if line) + "\n"


def _start(has):
    """Return the number of the row that an input is at, from the axes it has, all but the last."""
    start = "0"
    for k, present in enumerate(has[:-1]):
        if present:
            start = f"i{k}" if start == "0" else f"({start} * n{k} + i{k})"
    return start


@functools.lru_cache(maxsize=4096)
def _compile(source, dtype, parallel):
    namespace = {"prange": prange, "real": dtype.type, **SCALAR_FUNCTIONS}
    exec(source, namespace)
    return njit(parallel=parallel, **ARITHMETIC)(namespace["loop"])
