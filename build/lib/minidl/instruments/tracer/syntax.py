"""The requests that a rewritten kernel makes, and the pieces of Python syntax that rewriting needs."""

from __future__ import annotations

import ast

import numpy as np

#: What a thread can ask of the scheduler.
READ, WRITE, ATOMIC, ALLOCATE, STEP, BARRIER, WARP = range(7)
#: A loop reports to the scheduler now and then, so that one without accesses can be stopped.
TRIPS_PER_STEP = 1024

SYMBOLS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
REFUSED = {
    ast.ListComp: "a list comprehension",
    ast.SetComp: "a set comprehension",
    ast.DictComp: "a dictionary comprehension",
    ast.GeneratorExp: "a generator expression",
    ast.Dict: "a dictionary",
    ast.Set: "a set",
    ast.List: "a list (use a tuple or cuda.local.array)",
    ast.Try: "try/except",
    ast.With: "a with statement",
    ast.AsyncFor: "async for",
    ast.AsyncWith: "async with",
    ast.AsyncFunctionDef: "an async function",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.YieldFrom: "yield from",
    ast.Global: "a global statement",
    ast.Nonlocal: "a nonlocal statement",
    ast.ClassDef: "a class",
    ast.Import: "an import",
    ast.ImportFrom: "an import",
    ast.Delete: "del",
    ast.Starred: "a starred expression",
    ast.NamedExpr: "an assignment expression (:=)",
    ast.Match: "a match statement",
    ast.Lambda: "a lambda that is not assigned to a name",
}


def is_exact(node) -> bool:
    """Whether this is a number that float32 holds exactly.

    The compiler computes `out[i] = a[i] * 2.0` in float32, because rounding at the end gives the same.
    """
    if not isinstance(node, ast.Constant) or not isinstance(node.value, (int, float)):
        return False
    return abs(node.value) < 2.0**100 and float(np.float32(node.value)) == node.value


def load(name) -> ast.Name:
    """`name`, read."""
    return ast.Name(name, ast.Load())


def store(name) -> ast.Name:
    """`name`, assigned."""
    return ast.Name(name, ast.Store())


def call(name, *arguments) -> ast.Call:
    """`name(*arguments)`."""
    return ast.Call(load(name), list(arguments), [])


def function(name, arguments, body) -> ast.FunctionDef:
    """`def name(arguments): body`."""
    made = ast.FunctionDef(name=name, args=arguments, body=body, decorator_list=[])
    if "type_params" in made._fields:  # Python 3.12 and later
        made.type_params = []
    return made
