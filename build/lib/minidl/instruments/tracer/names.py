"""Tells what a name in a kernel means: a local variable, or something that numba freezes when it compiles."""

from __future__ import annotations

import ast
import builtins

import numpy as np

from minidl.instruments.tracer.intrinsics import VALUES, CudaName, name_of

UNKNOWN = object()
_OWN = {"_len_": len, "_min_": min, "_range_": range}  # for loops that the rewriter makes itself


class Names:
    """The names of one function.

    Parameters
    ----------
    function : function
    node : ast.FunctionDef
        Its syntax.

    Attributes
    ----------
    local : set of str
        What it, or a function inside it, assigns or takes as a parameter.
    aliases : dict
        Local names that only ever mean one function: `sync = cuda.syncthreads`.
    """

    def __init__(self, function, node):
        self.node = node
        self.scopes = (_OWN, _closure(function), function.__globals__, vars(builtins))
        self.parameters = {item.arg for item in ast.walk(node) if isinstance(item, ast.arg)}
        stored = [item.id for item in ast.walk(node) if isinstance(item, ast.Name) and is_stored(item)]
        inner = {item.name for item in ast.walk(node) if isinstance(item, ast.FunctionDef)} - {node.name}
        self.local = self.parameters | set(stored) | inner
        self.aliases: dict = {}
        self.once = {}  # local names that are assigned once, by a plain assignment: their value's syntax
        for item in ast.walk(node):
            if isinstance(item, ast.Assign) and len(item.targets) == 1:
                name = getattr(item.targets[0], "id", None)
                if name and stored.count(name) == 1 and name not in self.parameters:
                    self.once[name] = item.value
        for name, value in self.once.items():
            meaning = self.resolve(value)
            if callable(meaning) or (isinstance(meaning, CudaName) and meaning.path not in VALUES):
                self.aliases[name] = meaning

    def resolve(self, node):
        """Return what a name or a dotted name stands for in every thread; `UNKNOWN` if that depends."""
        if isinstance(node, ast.Name):
            if node.id in self.aliases:
                return self.aliases[node.id]
            if node.id not in self.local:
                for scope in self.scopes:
                    if node.id in scope:
                        return name_of(scope[node.id])
        elif isinstance(node, ast.Attribute):
            owner = self.resolve(node.value)
            if isinstance(owner, CudaName):
                return owner.attribute(node.attr)
            if owner is not UNKNOWN and not isinstance(owner, np.ndarray) and hasattr(owner, node.attr):
                return name_of(getattr(owner, node.attr))
        return UNKNOWN

    def is_constant(self, node) -> bool:
        """Whether numba takes this as an array's shape.

        Numbers, names of constants, elements of constant tuples, local names for one of those, and tuples
        of all that. Not `TPB + 1`: Python folds `8 + 1` by itself, but nobody computes with names before
        types are known.
        """
        if isinstance(node, ast.Tuple):
            return all(map(self.is_constant, node.elts))
        if isinstance(node, ast.Constant):
            return type(node.value) is int
        if isinstance(node, (ast.BinOp, ast.UnaryOp)):
            return not any(isinstance(item, (ast.Name, ast.Call, ast.Subscript)) for item in ast.walk(node))
        if isinstance(node, ast.Subscript):
            return isinstance(self.resolve(node.value), tuple) and self.is_constant(node.slice)
        if isinstance(node, ast.Name) and node.id in self.once:
            return self.is_constant(self.once[node.id])
        value = self.resolve(node)
        many = value if isinstance(value, tuple) else (value,)
        return all(isinstance(item, (int, np.integer)) and not isinstance(item, bool) for item in many)


def is_stored(node: ast.Name) -> bool:
    """Whether this is where a name is assigned."""
    return isinstance(node.ctx, ast.Store)


def _closure(function):
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found
