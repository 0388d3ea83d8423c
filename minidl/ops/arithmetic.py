"""The elementwise family: each operation is one formula for one element, with its derivatives beside it.

A row of the table below reads like a table of derivatives in a calculus book. `a`, `b` and `c` are the
inputs, `y` the result, `g` the gradient that arrives from above; any other name is a parameter:

    tanh = Elementwise("tanh", "tanh(a)", "g - g * y * y")

Three things are read off the formulas. Evaluated on whole arrays, they are the operation and its gradient.
The letters of the derivatives say what must be kept until the way back (for tanh y alone, for a sum nothing).
And a graph that knows a whole expression can compile the formulas into one loop (`minidl.graph.fusion`).
"""

from __future__ import annotations

import ast

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels import elementwise as kernels
from minidl.ops import gpu
from minidl.ops.op import Op, broadcast, size

# From this many elements on, a compiled loop over all cores beats NumPy's whole-array steps.
MANY = 1 << 13


def _sigmoid(a):
    e = np.exp(-np.abs(a))  # at most 1, so it never overflows
    return np.where(a < 0, e, 1) / (1 + e)


def _where(condition, x, y):
    # A bare 0 takes the dtype of what stands beside it; np.where would make float64 of float32 and 0.
    if type(x) in (int, float):
        x = y.dtype.type(x)
    elif type(y) in (int, float):
        y = x.dtype.type(y)
    return np.where(condition, x, y)


def _on_gpu(*values):
    return any(map(is_on_gpu, values))


def _put(value, out):
    if out is None:
        return value
    out[...] = value
    return out


# What a formula may call, and what that is for arrays.
FUNCTIONS = {
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "put": _put,
    "sigmoid": _sigmoid,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "where": _where,
}


def letters(formula):
    """Return the set of names in a formula, other than those of functions."""
    return {n.id for n in ast.walk(ast.parse(formula)) if isinstance(n, ast.Name)} - set(FUNCTIONS)


class Elementwise(Op):
    """An operation given by a formula; `source` is the Python that is made of it.

    Parameters
    ----------
    name, formula : str
        The formula is a Python expression in `a`, `b`, `c`, parameters, and `FUNCTIONS`.
    derivatives : str or None
        One per input: the gradient to it. None for an input that has no gradient.
    params : tuple of str
        The names of the parameters.
    ufunc : callable, optional
        NumPy's own function for the formula, which can write to `out`.
    kernel, backward : callable, optional
        Compiled rungs for many elements: `kernel(a, *params, out=)`, and `backward(g, saved, *params, out=)`.
    inputs : tuple of str, optional
        The order of the inputs; by default that of the alphabet.
    """

    writes_out = True
    runs_on_gpu = True

    def __init__(
        self, name, formula, *derivatives, params=(), ufunc=None, kernel=None, backward=None, inputs=None
    ):
        self.name, self.formula, self.derivatives, self.params = name, formula, derivatives, params
        self.inputs = inputs or tuple(sorted(letters(formula) - set(params)))
        self.backward, self.overwrites_gradient = backward, backward is not None
        mentioned = set().union(*(letters(d) for d in derivatives if d))
        self.kept = tuple(letter for letter in (*self.inputs, "y") if letter in mentioned)
        self._derivatives = {}
        self.source = self._write(ufunc, kernel, backward)
        namespace = {"ufunc": ufunc, "kernel": kernel, "backward": backward, "MANY": MANY, "op": self}
        namespace |= {**FUNCTIONS, "ndarray": np.ndarray, "on_gpu": _on_gpu, "is_on_gpu": is_on_gpu}
        exec(self.source, namespace)  # the formulas are constants of this file
        self.forward, self.vjp = namespace["forward"], namespace["vjp"]

    def _write(self, ufunc, kernel, backward):
        """Write the two methods out, as one would by hand."""
        inputs, params = ", ".join(self.inputs), "".join(f", {p}" for p in self.params)
        kept = "".join(f"{letter}, " for letter in self.kept)
        value = f"ufunc({inputs}, out=out)" if ufunc else f"put({self.formula}, out)"
        gradients = "".join(
            f"{d} if needs[{i}] else None, " if d else "None, " for i, d in enumerate(self.derivatives)
        )
        given = "dict(" + ", ".join(f"{p}={p}" for p in self.params) + ")"
        classes = " is ".join(f"{letter}.__class__" for letter in self.inputs)
        rest = kept + params[2:] + ", " * bool(params)
        lines = [
            f"def forward({inputs}{params}, out=None):",
            f"    if not {classes} is ndarray and on_gpu({inputs}): return op.on_gpu(({inputs},), {given})",
            kernel and f"    if {self.inputs[0]}.size >= MANY: y = kernel({inputs}{params}, out=out)",
            f"    {'else: ' if kernel else ''}y = {value}",
            f"    return y, ({kept})",
            "",
            f"def vjp(g, saved, needs{params}{', out=None' if backward else ''}):",
            "    if g.__class__ is not ndarray and is_on_gpu(g): "
            f"return op.gpu_vjp(g, saved, needs, {given})",
            kept and f"    {kept}= saved",
            backward and f"    if g.size >= MANY: return (backward(g, {rest}out=out),)",
            f"    return ({gradients})",
        ]
        return "\n".join(line for line in lines if line is not None)

    def derivative(self, i):
        """Return the derivative to input i as an operation, on `g` and what was kept, or None."""
        formula = self.derivatives[i] if i < len(self.derivatives) else None
        if formula is None:
            return None
        if formula not in self._derivatives:
            used = letters(formula)
            self._derivatives[formula] = Elementwise(
                f"{self.name}_backward",
                formula,
                params=tuple(p for p in self.params if p in used),
                kernel=self.backward,
                inputs=("g", *(letter for letter in self.kept if letter in used)),
            )
        return self._derivatives[formula]

    def on_gpu(self, arrays, params):
        """Do the same for arrays in GPU memory, with a kernel made of the formula."""
        dtype = self.dtype(*[a.dtype for a in arrays])
        y = gpu.elementwise(self.name, self.formula, self.inputs, arrays, params, dtype=dtype)
        values = dict(zip((*self.inputs, "y"), (*arrays, y), strict=True))
        return y, tuple([values[letter] for letter in self.kept])

    def gpu_vjp(self, g, saved, needs, params):
        """And the way back."""
        values = {"g": g, **dict(zip(self.kept, saved, strict=True))}
        found = []
        for i, wanted in enumerate(needs):
            op = self.derivative(i) if wanted else None
            if op is not None:
                arrays = [values[letter] for letter in op.inputs]
                found.append(op.on_gpu(arrays, {name: params[name] for name in op.params})[0])
            else:
                found.append(None)
        return tuple(found)

    def shape(self, *shapes, **params):
        """Shapes broadcast, as in NumPy."""
        return broadcast(*shapes)

    def flops(self, *shapes, **params):
        """One for each operator or function in the formula, for each element."""
        steps = sum(
            isinstance(n, (ast.BinOp, ast.UnaryOp, ast.Call)) for n in ast.walk(ast.parse(self.formula))
        )
        return steps * size(broadcast(*shapes))


class Comparison(Elementwise):
    """A formula whose result is true or false; it has no gradient."""

    def dtype(self, *dtypes, **params):
        """Boolean."""
        return np.dtype(bool)


class Where(Elementwise):
    """A choice between two arrays, made by a boolean one."""

    def dtype(self, *dtypes, **params):
        """The dtype of what is chosen from."""
        return np.result_type(*dtypes[1:])


# --------------------------------------------------------------------------------------------- arithmetic
# fmt: off

#                      name        y =         dL/da        dL/db
add = Elementwise(     "add",      "a + b",    "g",         "g",           ufunc=np.add)
subtract = Elementwise("subtract", "a - b",    "g",         "-g",          ufunc=np.subtract)
multiply = Elementwise("multiply", "a * b",    "g * b",     "g * a",       ufunc=np.multiply)
divide = Elementwise(  "divide",   "a / b",    "g / b",     "-g * y / b",  ufunc=np.divide)
negative = Elementwise("negative", "-a",       "-g",                       ufunc=np.negative)
absolute = Elementwise("absolute", "abs(a)",   "g * sign(a)",              ufunc=np.abs)
exp = Elementwise(     "exp",      "exp(a)",   "g * y",                    ufunc=np.exp)
log = Elementwise(     "log",      "log(a)",   "g / a",                    ufunc=np.log)
sqrt = Elementwise(    "sqrt",     "sqrt(a)",  "g / (2 * y)",              ufunc=np.sqrt)
square = Elementwise(  "square",   "a * a",    "2 * g * a",                ufunc=np.square)
# fmt: on

# x to a fixed power, and to one that is itself an array (whose derivative is taken to be 0 where x is).
power = Elementwise(
    "power",
    "a ** exponent",
    "g * exponent * a ** (exponent - 1) if exponent != 0 else 0 * g",
    params=("exponent",),
)
power_of = Elementwise(
    "power_of", "a ** b", "g * b * a ** (b - 1)", "where(a == 0, 0, g * y * log(a))", ufunc=np.power
)

# Where both are equal, each of them gets half of the gradient, as in PyTorch.
_HALVES = "where({0} > {1}, g, where({0} == {1}, 0.5 * g, 0))"
maximum = Elementwise(
    "maximum", "maximum(a, b)", _HALVES.format("a", "b"), _HALVES.format("b", "a"), ufunc=np.maximum
)
minimum = Elementwise(
    "minimum", "minimum(a, b)", _HALVES.format("b", "a"), _HALVES.format("a", "b"), ufunc=np.minimum
)

# ------------------------------------------------------------------------------------- activation functions
# fmt: off

relu = Elementwise(
    "relu", "maximum(a, 0)", "where(y > 0, g, 0)",
    kernel=kernels.relu, backward=kernels.relu_backward,
)
relu6 = Elementwise(
    "relu6", "minimum(maximum(a, 0), 6)", "where(y > 0, where(y < 6, g, 0), 0)",
)
leaky_relu = Elementwise(
    "leaky_relu", "where(a < 0, slope * a, a)", "where(a > 0, g, slope * g)", params=("slope",),
    kernel=kernels.leaky_relu, backward=kernels.leaky_relu_backward,
)
sigmoid = Elementwise(
    "sigmoid", "sigmoid(a)", "g * (y * (1 - y))",
    kernel=kernels.sigmoid, backward=kernels.sigmoid_backward,
)
silu = Elementwise(
    "silu", "a * sigmoid(a)", "g * (sigmoid(a) * (1 + a * (1 - sigmoid(a))))",
)
tanh = Elementwise(
    "tanh", "tanh(a)", "g - g * y * y",
    ufunc=np.tanh, backward=kernels.tanh_backward,
)
# fmt: on

# ------------------------------------------------------------------------------------ choices and comparisons

where = Where("where", "where(a, b, c)", None, "where(a, g, 0)", "where(a, 0, g)")
less = Comparison("less", "a < b", None, None, ufunc=np.less)
less_equal = Comparison("less_equal", "a <= b", None, None, ufunc=np.less_equal)
greater = Comparison("greater", "a > b", None, None, ufunc=np.greater)
greater_equal = Comparison("greater_equal", "a >= b", None, None, ufunc=np.greater_equal)
equal = Comparison("equal", "a == b", None, None, ufunc=np.equal)
not_equal = Comparison("not_equal", "a != b", None, None, ufunc=np.not_equal)
