"""Choice and repetition inside a static graph, which Python's own `if` and `while` cannot decide.

A branch or a loop's body is a graph of its own. It may use the nodes around it; those become inputs of the
one node that stands for the whole choice or the whole loop.
"""

from __future__ import annotations

import numpy as np

from minidl.graph.building import Graph, add_node, as_node, graph_for, nodes_below, placeholder
from minidl.graph.symbolic import Part, gradients
from minidl.ops import Op


class Body:
    """A graph made by calling a function on placeholders, with what it takes from the graph around it.

    Attributes
    ----------
    inputs, outputs, captured : lists of Node
        `captured` belong to the graph around this one.
    single : bool
        Whether the function returned one node rather than several.
    """

    def __init__(self, what, function, outer, like=()):
        if not callable(function):
            raise TypeError(f"{what} must be a function that returns nodes, got {function!r}")
        with Graph(what, outer=outer) as self.graph:
            self.inputs = [placeholder(node.shape, node.dtype, node.name) for node in like]
            returned = function(*self.inputs)
            self.single = not isinstance(returned, (tuple, list))
            self.outputs = [as_node(v, self.graph) for v in ([returned] if self.single else returned)]
        self.captured = [n for n in self._nodes() if n.graph is not self.graph]
        self._session, self._ways_back = None, {}

    def _nodes(self):
        class Outside:
            def __contains__(_, node):
                return node.graph is not self.graph

        return nodes_below(self.outputs, stop=Outside())

    def run(self, nodes, feeds):
        """Compute nodes of this graph from arrays for its inputs and for what it captured."""
        if self._session is None:
            from minidl.graph.static import Session  # which offers this module's functions

            self._session = Session()
        return self._session.run(nodes, feeds)

    def way_back(self, parts, wanted):
        """Return (gradients, starts): nodes for the gradients of some outputs to `wanted` nodes."""
        key = (parts, tuple(wanted))
        if key not in self._ways_back:
            with self.graph:
                outputs = [self.outputs[i] for i in parts]
                starts = [placeholder(node.shape, node.dtype, "g") for node in outputs]
                found = gradients(outputs, wanted, starts, stop=self.captured)
            self._ways_back[key] = found, starts
        return self._ways_back[key]

    def gradients(self, parts, gs, wanted, feeds):
        """Compute the gradients with respect to `wanted`, zero where there is none."""
        found, starts = self.way_back(parts, wanted)
        feeds = {**feeds, **dict(zip(starts, gs, strict=True))}
        present = [node for node in found if node is not None]
        values = iter(self.run(present, feeds))
        return [
            np.zeros_like(feeds[x]) if node is None else np.asarray(next(values))
            for node, x in zip(found, wanted, strict=True)
        ]


class _Several(Op):
    """An operation with several results, each taken by a `Part`."""

    pure = False

    def shape(self, *shapes, **params):
        """Each part has its own."""
        return ()

    def dtype(self, *dtypes, **params):
        """Each part has its own."""
        return np.dtype(np.float32)


def _parts(node, shapes, dtypes, single):
    parts = [
        add_node(Part(shape, dtype), (node,), {"index": i})
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
    ]
    return parts[0] if single else parts


def _as_tuple(gs, parts):
    return gs if len(parts) > 1 else (gs,)


class Cond(_Several):
    """One of two bodies. The way back computes the branch that was taken again, and goes through it."""

    name = "cond"

    def __init__(self, branches, captured):
        self.branches, self.captured = branches, captured

    def _feeds(self, body, values):
        feeds = dict(zip(self.captured, values, strict=True))
        return {node: feeds[node] for node in body.captured}

    def forward(self, predicate, *values):
        """Run one branch; keep which, and what went in."""
        body = self.branches[not bool(predicate)]
        return tuple(body.run(body.outputs, self._feeds(body, values))), (body, values)

    def vjp(self, gs, saved, needs, parts):
        """To each captured node, zero if the branch that was taken does not use it."""
        body, values = saved
        wanted = [n for n, w in zip(self.captured, needs[1:], strict=True) if w and n in body.captured]
        found = body.gradients(parts, _as_tuple(gs, parts), wanted, self._feeds(body, values))
        found = dict(zip(wanted, found, strict=True))
        zeros = (np.zeros_like(value) if w else None for value, w in zip(values, needs[1:], strict=True))
        return (None, *(found.get(node, zero) for node, zero in zip(self.captured, zeros, strict=True)))


def cond(pred, true_fn, false_fn):
    """Choose, when the graph runs, which of two functions' results to compute.

    Parameters
    ----------
    pred : Node
        One number or boolean.
    true_fn, false_fn : callable
        Without arguments; each returns a node, or as many nodes as the other, of the same shapes and dtypes.

    Returns
    -------
    Node, or list of Node
        As the functions return.

    Raises
    ------
    ValueError
        If `pred` is not a single value, or the two do not return the same.
    """
    outer = graph_for([pred])
    pred = as_node(pred, outer)
    _check_single("pred", pred)
    branches = Body("true_fn", true_fn, outer), Body("false_fn", false_fn, outer)
    true, false = branches
    if len(true.outputs) != len(false.outputs):
        raise ValueError(
            f"true_fn returns {len(true.outputs)} nodes and false_fn {len(false.outputs)}: they must agree"
        )
    for i, (a, b) in enumerate(zip(true.outputs, false.outputs, strict=True)):
        _check_same(f"result {i} of true_fn and of false_fn", a, b)
    captured = list(dict.fromkeys([*true.captured, *false.captured]))
    node = add_node(Cond(branches, captured), (pred, *captured), {})
    shapes = [_common(a, b) for a, b in zip(true.outputs, false.outputs, strict=True)]
    return _parts(node, shapes, [output.dtype for output in true.outputs], true.single)


class While(_Several):
    """A body repeated while a condition holds, from the first state on; it may use captured nodes.

    The way back needs every state the loop went through. It goes the way forward once more to find them, and
    then through the body backwards, as often as the loop ran.
    """

    name = "while_loop"

    def __init__(self, condition, body, captured):
        self.condition, self.body, self.captured = condition, body, captured

    def _feeds(self, graph, state, values):
        feeds = dict(zip(self.captured, values, strict=True))
        return {**dict(zip(graph.inputs, state, strict=True)), **{n: feeds[n] for n in graph.captured}}

    def _states(self, inputs):
        """Yield each state, the first and the last included."""
        n = len(self.body.inputs)
        state, values = inputs[:n], inputs[n:]
        yield state
        while bool(self.condition.run(self.condition.outputs[0], self._feeds(self.condition, state, values))):
            state = tuple(self.body.run(self.body.outputs, self._feeds(self.body, state, values)))
            yield state

    def forward(self, *inputs):
        """Repeat; keep what went in."""
        *_, last = self._states(inputs)
        return tuple(last), (inputs,)

    def vjp(self, gs, saved, needs, parts):
        """From the last state to the first; what is captured collects from every round."""
        (inputs,) = saved
        n = len(self.body.inputs)
        *states, last = self._states(inputs)
        values = inputs[n:]
        g = {i: np.zeros_like(np.asarray(v)) for i, v in enumerate(last) if np.asarray(v).dtype.kind == "f"}
        g.update(zip(parts, _as_tuple(gs, parts), strict=True))
        moving = [self.body.inputs[i] for i in g]
        used = [
            node for node, w in zip(self.captured, needs[n:], strict=True) if w and node in self.body.captured
        ]
        sums = {
            node: np.zeros_like(value)
            for node, value, w in zip(self.captured, values, needs[n:], strict=True) if w
        }  # fmt: skip
        for state in reversed(states):
            found = self.body.gradients(
                tuple(g), tuple(g.values()), [*moving, *used], self._feeds(self.body, state, values)
            )
            g = dict(zip(g, found, strict=False))
            for node, gradient in zip(used, found[len(moving) :], strict=True):
                sums[node] = sums[node] + gradient
        return (*(g.get(i) for i in range(n)), *(sums.get(node) for node in self.captured))


def while_loop(cond, body, loop_vars):
    """Repeat a function on its own results for as long as a condition on them holds.

    Parameters
    ----------
    cond : callable
        Takes the loop variables as nodes, returns a node: one number or boolean.
    body : callable
        Takes the loop variables, returns as many nodes, of the same shapes and dtypes.
    loop_vars : list of Node or array_like, or one
        Their first values.

    Returns
    -------
    list of Node, or Node if there is one loop variable, not in a list
        Their last values.

    Raises
    ------
    ValueError
        If `body` returns other shapes or dtypes than it took; the message names the loop variable and both.
    """
    single = not isinstance(loop_vars, (tuple, list))
    start = [loop_vars] if single else loop_vars
    outer = graph_for(start)
    start = [as_node(value, outer) for value in start]
    condition, repeated = Body("cond", cond, outer, start), Body("body", body, outer, start)
    if len(condition.outputs) != 1:
        raise ValueError(f"cond must return one node, got {len(condition.outputs)}")
    _check_single("what cond returns", condition.outputs[0])
    if len(repeated.outputs) != len(start):
        raise ValueError(
            f"body must return {len(start)} nodes, one for each loop variable, got {len(repeated.outputs)}"
        )
    for i, (before, after) in enumerate(zip(start, repeated.outputs, strict=True)):
        _check_same(f"loop variable {i} before and after body", before, after)
    captured = list(dict.fromkeys([*condition.captured, *repeated.captured]))
    node = add_node(While(condition, repeated, captured), (*start, *captured), {})
    return _parts(node, [v.shape for v in start], [v.dtype for v in start], single)


def _check_single(what, node):
    if node.shape != ():
        raise ValueError(f"{what} must be a single value, {node.name!r} has shape {node.shape}")


def _check_same(what, a, b):
    fits = len(a.shape) == len(b.shape) and all(
        None in (n, m) or n == m for n, m in zip(a.shape, b.shape, strict=True)
    )
    if not fits or a.dtype != b.dtype:
        raise ValueError(
            f"{what} must be the same, got {a.name!r} {a.dtype} {a.shape} and {b.name!r} {b.dtype} {b.shape}"
        )


def _common(a, b):
    """Return the shape that both have, unknown where either is."""
    return tuple(n if n == m else None for n, m in zip(a.shape, b.shape, strict=True))
