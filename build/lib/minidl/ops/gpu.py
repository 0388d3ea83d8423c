"""Operations on arrays in GPU memory without a kernel of their own: each formula is made into one."""

from __future__ import annotations

import ast
import functools
import linecache
import math

import numpy as np

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.ops.formula import for_one_number, layout

THREADS = 256  # per block

# The functions of formulas that CUDA does not have under that name, written out.
SPELLED_OUT = {
    "exp": "math.exp({0})",
    "log": "math.log({0})",
    "maximum": "({0} if {0} > {1} or {0} != {0} else {1})",
    "minimum": "({0} if {0} < {1} or {0} != {0} else {1})",
    "sigmoid": "(real(1) / (real(1) + math.exp(-({0}))))",
    "sign": "(real(1) if {0} > real(0) else real(-1) if {0} < real(0) else {0})",
    "sqrt": "math.sqrt({0})",
    "tanh": "math.tanh({0})",
}


class _SpellOut(ast.NodeTransformer):
    def visit_Call(self, node):
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in SPELLED_OUT:
            arguments = [f"({ast.unparse(argument)})" for argument in node.args]
            return ast.parse(SPELLED_OUT[node.func.id].format(*arguments), mode="eval").body
        return node


def elementwise(name, formula, letters, values, params=None, shape=None, dtype=None):
    """Evaluate a formula for every element, on the GPU.

    Parameters
    ----------
    letters : sequence of str
        What the formula calls each of `values`.
    values : sequence of arrays
        On the GPU; or numbers, or host arrays, which are brought there.
    params : dict, optional
        Numbers to be filled in.
    shape, dtype : optional
        Those of the result; by default what the values broadcast to, and the dtype of the floats among them.

    Returns
    -------
    array in GPU memory
    """
    shapes = tuple(tuple(np.shape(value)) for value in values)
    shape = np.broadcast_shapes(*shapes) if shape is None else tuple(shape)
    floats = [np.dtype(v.dtype) for v in values if np.dtype(v.dtype).kind == "f"]
    real = np.result_type(*floats) if floats else np.dtype(np.float32)
    axes, pattern, lengths = layout(shape, shapes)
    kernel = _kernel(name, formula, tuple(letters), tuple((params or {}).items()), axes, pattern, real)
    result = GPU.empty(shape, real if dtype is None else dtype)
    arrays = [_flat(value) for value in values]
    count = int(np.prod(shape))
    GPU.launch(kernel, -(-count // THREADS), THREADS, *arrays, *lengths[1:], result.reshape(count))
    return result


def _flat(value):
    array = value if is_on_gpu(value) else GPU.upload(np.asarray(value))
    return array.reshape(array.size)


@functools.lru_cache(maxsize=4096)
def _kernel(name, formula, letters, params, axes, pattern, real):
    """Compile the kernel; its source can be read with `inspect`, as if it stood in a file."""
    source = kernel_source(name, formula, letters, params, axes, pattern)
    filename = f"<{name} {hash((source, real)) & 0xFFFFFFFF:08x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace = {"cuda": cuda, "math": math, "real": real.type, "__name__": __name__}
    exec(compile(source, filename, "exec"), namespace)
    return cuda.jit(namespace[f"{name}_kernel"])


def kernel_source(name, formula, letters, params, axes, pattern):
    """Write a kernel with one thread per element, which works out where its inputs are from its number."""
    lengths = [f"n{k}" for k in range(1, axes)]
    text = [f"def {name}_kernel({', '.join([*letters, *lengths, 'out'])}):"]
    text += ["    i = cuda.grid(1)", "    if i < out.size:"]
    rest = "i"
    for k in range(axes - 1, 0, -1):
        text += [f"        k{k} = {rest} % n{k}", f"        r{k} = {rest} // n{k}"]
        rest = f"r{k}"
    text.append(f"        k0 = {rest}")
    names = {}
    for letter, has in zip(letters, pattern, strict=True):
        names[letter] = f"{letter}_value"
        text.append(f"        {letter}_value = {letter}[{_position(has)}]")
    body = for_one_number(formula, names, dict(params))
    body = ast.unparse(ast.fix_missing_locations(_SpellOut().visit(ast.parse(body, mode="eval"))))
    return "\n".join([*text, f"        out[i] = {body}"]) + "\n"


def _position(has):
    """Return the index of an input that has these axes."""
    if all(has):
        return "i"
    position = "0"
    for k, present in enumerate(has):
        if present:
            position = f"k{k}" if position == "0" else f"({position}) * n{k} + k{k}"
    return position


def repeat(array, shape):
    """Return an array repeated along new axes, and those of length 1, up to a shape."""
    return elementwise("repeat", "a", ("a",), (array,), shape=shape)


@cuda.jit
def transpose_kernel(x, rows, columns, out):
    """Swap the two middle axes of what has been laid out as (…, rows, columns); one thread per element."""
    i = cuda.grid(1)
    if i < out.size:
        row = i % rows
        column = i // rows % columns
        out[i] = x[(i // (rows * columns) * rows + row) * columns + column]


def transpose(array):
    """Return a matrix, or each of a stack of them, with rows and columns swapped."""
    *stack, rows, columns = array.shape
    result = GPU.empty((*stack, columns, rows), array.dtype)
    blocks = -(-array.size // THREADS)
    GPU.launch(
        transpose_kernel,
        blocks,
        THREADS,
        array.reshape(array.size),
        rows,
        columns,
        result.reshape(array.size),
    )
    return result
