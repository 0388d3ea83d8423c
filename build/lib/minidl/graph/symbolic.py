"""Gradients in a static graph: the way back is made of nodes too, and treated like all others."""

from __future__ import annotations

import numpy as np

from minidl.graph.building import Node, add_node, constant, nodes_below
from minidl.ops import Elementwise, Op, unbroadcast


class Backward(Op):
    """The way back through an operation: its vector-Jacobian product, on a node (for what that kept) and a
    gradient.

    Several gradients come out, one for each input in `wanted`; `Part` takes one of them.
    """

    def __init__(self, op, needs):
        self.op, self.needs, self.name, self.pure = op, tuple(needs), f"{op.name}_backward", op.pure

    def shape(self, *shapes, **params):
        """That of the first gradient, for want of one for all."""
        return ()

    def dtype(self, *dtypes, **params):
        """That of the gradient."""
        return dtypes[-1]


class Part(Op):
    """One of several results of a node."""

    name = "part"

    def __init__(self, shape, dtype):
        self._shape, self._dtype = shape, dtype

    def shape(self, whole, index):
        """Known from the start."""
        return self._shape

    def dtype(self, whole, index):
        """Known from the start."""
        return self._dtype


class SumTo(Op):
    """A gradient summed to the shape of what was broadcast; that is looked at for its shape alone."""

    name = "sum_to"

    def forward(self, g, like):
        """Nothing at all where the shapes agree."""
        return unbroadcast(g, like.shape), ()

    def shape(self, g, like):
        """That of the other."""
        return like

    def dtype(self, g, like):
        """That of the gradient."""
        return g


class OnesLike(Op):
    """Ones, as many as there are elements."""

    name = "ones_like"

    def forward(self, x):
        """Look at the shape alone."""
        return np.ones_like(x), ()


SUM_TO, ONES_LIKE = SumTo(), OnesLike()


def gradients(ys, xs, grad_ys=None, stop=()):
    """Make the nodes that compute the gradient of a sum of nodes with respect to others.

    Parameters
    ----------
    ys : Node or list of Node
        Usually the loss. What is not a single number is summed.
    xs : list of Node, or one
    grad_ys : Node or list, optional
        Gradients to start from instead of ones, one for each of `ys`.
    stop : collection of Node
        Nodes to go no further back from, as if they did not depend on anything.

    Returns
    -------
    list of Node or None, one for each of `xs` (or just one, if one was given)
        None where `ys` does not depend on it.
    """
    if isinstance(xs, Node):
        return gradients(ys, [xs], grad_ys, stop)[0]
    ys = [ys] if isinstance(ys, Node) else list(ys)
    starts = (
        [None] * len(ys) if grad_ys is None else [grad_ys] if isinstance(grad_ys, Node) else list(grad_ys)
    )
    for node in (*ys, *xs):
        if not isinstance(node, Node):
            raise TypeError(f"gradients are of nodes with respect to nodes, got {node!r}")
        if node.dtype.kind != "f":
            raise TypeError(f"only floats have gradients, {node.name!r} is {node.dtype}")
    if len(starts) != len(ys):
        raise ValueError(f"grad_ys must be as many as ys, {len(ys)}, got {len(starts)}")

    below = nodes_below(ys, stop={*xs, *stop})
    depends = set(xs)  # nodes through which a change of an x reaches a y
    for node in below:
        if any(parent in depends for parent in node.inputs):
            depends.add(node)
    pending = {}  # node → its gradient so far; for a node of several results, a dict by index
    for y, start in zip(ys, starts, strict=True):
        _add(pending, y, _start(y) if start is None else start)
    for node in reversed(below):
        g = pending.get(node)
        if g is None or node in xs or node in stop or node not in depends:
            continue
        if isinstance(node.op, Part):
            whole, index = node.inputs[0], node.params["index"]
            _add(pending.setdefault(whole, {}), index, g)
            continue
        for parent, gradient in zip(node.inputs, _back(node, g, depends), strict=False):
            if gradient is not None:
                _add(pending, parent, _fitted(gradient, parent))
    return [pending.get(x) for x in xs]


def _start(y):
    if None in y.shape:
        return add_node(ONES_LIKE, (y,), {})
    return constant(np.ones(y.shape, y.dtype))


def _add(pending, key, gradient):
    known = pending.get(key)
    pending[key] = gradient if known is None else known + gradient


def _fitted(gradient, node):
    """Return a gradient in the shape and dtype of the node it is for."""
    if gradient.shape != node.shape or None in node.shape:
        gradient = add_node(SUM_TO, (gradient, node), {})
    return gradient if gradient.dtype == node.dtype else gradient.astype(node.dtype)


def _back(node, g, depends):
    """Return the gradients to a node's inputs, as nodes; None for inputs on which nothing depends."""
    needs = tuple(parent in depends and parent.dtype.kind == "f" for parent in node.inputs)
    if isinstance(node.op, Elementwise):
        return [_slope(node, g, i) if wanted else None for i, wanted in enumerate(needs)]
    many = isinstance(g, dict)
    whole = add_node(Backward(node.op, needs), (node, *g.values()) if many else (node, g), dict(node.params))
    if many:
        whole.params["parts"] = tuple(g)
    return [
        add_node(Part(parent.shape, parent.dtype), (whole,), {"index": i}) if wanted else None
        for i, (parent, wanted) in enumerate(zip(node.inputs, needs, strict=True))
    ]


def _slope(node, g, i):
    """Return an elementwise derivative as an elementwise node, which can be fused with others."""
    op = node.op.derivative(i)
    if op is None:
        return None
    if op.formula == "g":
        return g
    letters = {"g": g, "y": node, **dict(zip(node.op.inputs, node.inputs, strict=True))}
    params = {name: node.params[name] for name in op.params}
    return add_node(op, [letters[letter] for letter in op.inputs], params)
