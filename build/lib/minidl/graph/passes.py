"""Passes: each takes the nodes to be fetched and returns others that give the same values with less work.

They can be looked at one by one: `print(listing(fetches))`, then `print(listing(fold_constants(fetches)))`.
"""

from __future__ import annotations

import numpy as np

from minidl.graph.building import CONSTANT, Graph, Node, Source, nodes_below
from minidl.graph.fusion import Fused
from minidl.graph.symbolic import ONES_LIKE, Backward, Part, SumTo
from minidl.ops import Elementwise, divide, multiply, subtract
from minidl.ops.formula import for_one_number


def listing(fetches):
    """Return the nodes that will be computed as text, one a line, in order."""
    return "\n".join(
        f"{node.name:24} {node.op.name}({', '.join(p.name for p in node.inputs)}) {node.dtype} {node.shape}"
        for node in nodes_below(fetches)
    )


def dead_code(nodes, fetches):
    """Split nodes into those that the fetches need, in order, and those that nobody asked for."""
    alive = nodes_below(fetches)
    needed = set(alive)
    return alive, [node for node in nodes if node not in needed]


def rewrite(fetches, rule, given=()):
    """Rebuild the nodes below `fetches`, inputs first, each by `rule(node, inputs, graph)` with its new
    inputs.

    Nodes in the dict `given` are replaced as it says, and what is below them is left out.
    """
    graph, new = Graph("rewritten"), dict(given)
    for node in nodes_below(fetches, stop=given):
        if node in new:
            continue
        new[node] = rule(node, tuple([new[parent] for parent in node.inputs]), graph)
    return [new[node] for node in fetches]


def keep(node, inputs, graph):
    """The rule that changes nothing: the node itself, or if its inputs are new, one like it."""
    if inputs == node.inputs:
        return node
    return Node(graph, node.op, inputs, node.params, node.shape, node.dtype, node.name)


def specialise(fetches, stand_ins):
    """Fill in the dimensions that were unknown, from the shapes of what is fed, and check them all again.

    Parameters
    ----------
    stand_ins : dict of Node: Node
        What is fed, and a placeholder of known shape to put in its place.

    Raises
    ------
    ValueError
        If the shapes do not fit together; the message names the node.
    """

    def rule(node, inputs, graph):
        if isinstance(node.op, Source):
            return node
        if isinstance(node.op, Part) and isinstance(inputs[0].op, Backward):
            shape = inputs[0].inputs[0].inputs[node.params["index"]].shape
        elif isinstance(node.op, (Part, Backward)):
            shape = node.shape
        else:
            try:
                shape = node.op.shape(*[parent.shape for parent in inputs], **node.params)
            except ValueError as error:
                raise ValueError(f"node {node.name!r}: {error}") from None
        if isinstance(node.op, SumTo) and inputs[0].shape == shape and None not in shape:
            return inputs[0]
        if inputs == node.inputs and shape == node.shape:
            return node
        return Node(graph, node.op, inputs, node.params, shape, node.dtype, node.name)

    return rewrite(fetches, rule, stand_ins)


def fold_constants(fetches):
    """Compute now what does not depend on anything that is fed or varies, and drop steps such as x · 1."""
    back = {node.inputs[0] for node in nodes_below(fetches) if isinstance(node.op, Backward)}

    def rule(node, inputs, graph):
        if node.op is ONES_LIKE and None not in node.shape:
            return _constant(np.ones(node.shape, node.dtype), node, graph)
        if (
            isinstance(node.op, Source)
            or not node.op.pure
            or node in back
            or isinstance(node.op, (Backward, Part))
        ):
            return keep(node, inputs, graph)
        if all(parent.op is CONSTANT for parent in inputs):
            with np.errstate(all="ignore"):
                value, _ = node.op.forward(*[parent.params["value"] for parent in inputs], **node.params)
            return _constant(value, node, graph)
        same = _neutral(node, inputs)
        return keep(node, inputs, graph) if same is None else same

    return rewrite(fetches, rule)


def _constant(value, node, graph):
    value = np.array(value, node.dtype)
    value.flags.writeable = False
    return Node(graph, CONSTANT, (), {"value": value}, value.shape, value.dtype, node.name)


def _neutral(node, inputs):
    """Return the input that x · 1, 1 · x, x / 1 or x - 0 is, or None if the node is something else."""
    neutral = {multiply: 1, divide: 1, subtract: 0}.get(node.op)
    for x, other in (inputs, inputs[::-1]) if neutral is not None else ():
        if (
            other.op is CONSTANT
            and (other is inputs[1] or node.op is multiply)
            and np.all(other.params["value"] == neutral)
            and x.shape == node.shape
            and x.dtype == node.dtype
        ):
            return x
    return None


def share_common(fetches):
    """Compute once what would be computed twice: the same operation on the same inputs."""
    seen = {}

    def rule(node, inputs, graph):
        node = keep(node, inputs, graph)
        if isinstance(node.op, Source):
            key = _constant_key(node)
        elif not node.op.pure:
            key = None
        else:
            op = (
                (id(node.op.op), node.op.needs) if isinstance(node.op, Backward)
                else Part if isinstance(node.op, Part)
                else id(node.op)
            )  # fmt: skip
            key = (op, node.inputs, tuple((name, _frozen(value)) for name, value in node.params.items()))
        return node if key is None else seen.setdefault(key, node)

    return rewrite(fetches, rule)


def _constant_key(node):
    if node.op is not CONSTANT or node.params["value"].size > 64:
        return None
    return ("constant", node.params["value"].tobytes(), node.shape, node.dtype)


def _frozen(value):
    try:
        hash(value)
    except TypeError:
        return (
            repr(value)
            if isinstance(value, (slice, tuple, list)) and "array" not in repr(value)
            else id(value)
        )
    return value


def fuse(fetches):
    """Compile neighbouring elementwise operations into one loop, so that what is between them never sees
    memory.

    A node joins the node that uses it if nothing else does and if both have one shape and dtype.
    """
    nodes = nodes_below(fetches)
    users = {node: [] for node in nodes}
    for node in nodes:
        for parent in dict.fromkeys(node.inputs):
            users[parent].append(node)
    fetched = set(fetches)

    def fusable(node):
        known = None not in node.shape and node.shape != ()
        return isinstance(node.op, Elementwise) and node.dtype.kind == "f" and known

    joins = {}  # node → the node it is computed together with
    for node in reversed(nodes):
        if not fusable(node) or node in fetched or len(users[node]) != 1:
            continue
        (user,) = users[node]
        same = fusable(user) and user.shape == node.shape and user.dtype == node.dtype != bool
        if same and all(parent.dtype in (node.dtype, bool) for parent in (*user.inputs, *node.inputs)):
            joins[node] = joins.get(user, user)
    groups = {}
    for node in nodes:  # inputs first
        if node in joins:
            groups.setdefault(joins[node], []).append(node)
    inside = set(joins)

    def rule(node, inputs, graph):
        if node in inside or node not in groups:
            return keep(node, inputs, graph)
        return _fused([*groups[node], node], rebuilt, graph)

    # As `rewrite`, but a fused node's inputs are those of its whole group.
    graph, rebuilt = Graph("fused"), {}
    for node in nodes:
        rebuilt[node] = rule(node, tuple([rebuilt[parent] for parent in node.inputs]), graph)
    return [rebuilt[node] for node in fetches]


def _fused(group, rebuilt, graph):
    names, inputs, lines, flops = {}, [], [], 0
    for step, node in enumerate(group):
        for parent in node.inputs:
            if parent not in names:
                names[parent] = f"vx{len(inputs)}"
                inputs.append(rebuilt[parent])
        letters = {letter: names[parent] for letter, parent in zip(node.op.inputs, node.inputs, strict=True)}
        names[node] = f"t{step}"
        lines.append((f"t{step}", for_one_number(node.op.formula, letters, node.params)))
        flops += node.op.flops(()) or 0
    op = Fused(lines, tuple(node.op.name for node in group), flops)
    last = group[-1]
    return Node(graph, op, inputs, {}, last.shape, last.dtype, last.name)


PASSES = {"fold": fold_constants, "share": share_common, "fuse": fuse}
