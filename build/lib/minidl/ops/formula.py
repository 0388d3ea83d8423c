"""A formula of the elementwise family as Python for one number, and where each input's numbers lie."""

from __future__ import annotations

import ast
import functools

from minidl.kernels.elementwise.indexing import dense_strides, merge_axes


class _ForOneNumber(ast.NodeTransformer):
    """Rewrite a formula for one number: letters renamed or filled in, constants in the right dtype."""

    def __init__(self, names, numbers):
        self.names, self.numbers = names, numbers

    def visit_Name(self, node):
        if node.id in self.numbers:
            return self.visit_Constant(ast.Constant(self.numbers[node.id]))
        return ast.Name(self.names.get(node.id, node.id))

    def visit_Constant(self, node):
        return ast.Call(ast.Name("real"), [ast.Constant(node.value)], [])  # a bare number would be float64

    def visit_Call(self, node):
        arguments = [self.visit(argument) for argument in node.args]
        if node.func.id == "where":
            return ast.IfExp(*arguments)
        return ast.Call(node.func, arguments, [])

    def visit_BinOp(self, node):
        if isinstance(node.op, ast.Pow):
            exponent = self._number(node.right)
            if exponent is not None and float(exponent).is_integer() and 0 < abs(exponent) < 64:
                power = ast.BinOp(self.visit(node.left), node.op, ast.Constant(int(abs(exponent))))
                one = self.visit_Constant(ast.Constant(1))
                return power if exponent > 0 else ast.BinOp(one, ast.Div(), power)
        return self.generic_visit(node)

    def _number(self, node):
        """Return the value of an expression in numbers and parameters only, or None."""
        if {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - set(self.numbers):
            return None
        return eval(compile(ast.Expression(ast.fix_missing_locations(node)), "", "eval"), dict(self.numbers))


def for_one_number(formula, names, numbers):
    """Return a formula as Python for one number, with its letters renamed and its parameters filled in.

    >>> for_one_number("where(a > 0, g, slope * g)", {"a": "x0", "g": "t1"}, {"slope": 0.2})
    't1 if x0 > real(0) else real(0.2) * t1'
    """
    tree = _ForOneNumber(names, numbers).visit(ast.parse(formula, mode="eval").body)
    return ast.unparse(ast.fix_missing_locations(tree))


@functools.lru_cache(maxsize=4096)
def layout(shape, shapes):
    """Return how arrays of these shapes, without gaps, broadcast to `shape`, axes merged where possible.

    Returns
    -------
    axes : int
        How many are left.
    pattern : tuple of tuple of bool
        For each array, whether it has each axis, or is repeated along it.
    lengths : tuple of int
    """
    strides = [dense_strides(shape, shape), *(dense_strides(own, shape) for own in shapes)]
    lengths, *merged = merge_axes(shape, *strides)
    return len(lengths), tuple(tuple(step > 0 for step in steps) for steps in merged[1:]), lengths
