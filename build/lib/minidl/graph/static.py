"""The static graph: first say what is to be computed, then compute it, as often as you like.

    with Graph() as g:
        x = placeholder((None, 3), name="x")
        w = variable(np.zeros((3, 1)), name="w")
        loss = reduce_mean((matmul(x, w) - 1) ** 2)
        slope, = gradients(loss, [w])
    with Session() as session:
        session.run([loss, slope], {x: data})

Because the whole computation is known before any of it is done, its shapes can be checked, what is not needed
can be left out, and what belongs together can be compiled together. TensorFlow 1 worked like this, and so do
compilers for networks today.
"""

from __future__ import annotations

import numpy as np

from minidl import ops
from minidl.graph.building import (
    PLACEHOLDER,
    Graph,
    Node,
    add_node,
    as_node,
    assign,
    constant,
    default_graph,
    nodes_below,
    placeholder,
    variable,
)
from minidl.graph.control import cond, while_loop
from minidl.graph.dynamic import mode
from minidl.graph.functions import (
    avg_pool2d,
    bce_with_logits,
    concatenate,
    conv2d,
    conv_transpose2d,
    cross_entropy,
    dense,
    embedding,
    exp,
    leaky_relu,
    log,
    log_softmax,
    matmul,
    max_pool2d,
    maximum,
    minimum,
    mse,
    relu,
    sigmoid,
    softmax,
    sqrt,
    stack,
    tanh,
    upsample,
    where,
)
from minidl.graph.passes import PASSES, specialise
from minidl.graph.program import Program
from minidl.graph.symbolic import gradients

__all__ = [
    "Graph",
    "Node",
    "Session",
    "assign",
    "avg_pool2d",
    "bce_with_logits",
    "concatenate",
    "cond",
    "constant",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "default_graph",
    "dense",
    "embedding",
    "equal",
    "exp",
    "gradients",
    "leaky_relu",
    "log",
    "log_softmax",
    "matmul",
    "max_pool2d",
    "maximum",
    "minimum",
    "mse",
    "not_equal",
    "placeholder",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_sum",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "square",
    "stack",
    "tanh",
    "transpose",
    "upsample",
    "variable",
    "where",
    "while_loop",
]


def _node(x):
    return as_node(x, default_graph())


def reduce_sum(x, axis=None, keepdims=False):
    """Add up all elements, or those along one axis or several."""
    return _node(x).sum(axis, keepdims)


def reduce_mean(x, axis=None, keepdims=False):
    """Average all elements, or those along one axis or several."""
    return _node(x).mean(axis, keepdims)


def reduce_max(x, axis=None, keepdims=False):
    """Find the largest element."""
    return _node(x).max(axis, keepdims)


def reduce_min(x, axis=None, keepdims=False):
    """Find the smallest element."""
    return _node(x).min(axis, keepdims)


def reshape(x, shape):
    """Put the same numbers into another shape; one dimension may be -1."""
    return _node(x).reshape(tuple(shape))


def transpose(x, axes=None):
    """Put the axes in another order; by default, in reverse."""
    return _node(x).transpose(*(axes or ()))


def square(x):
    """Multiply every element by itself."""
    return _node(x) ** 2


def equal(a, b):
    """Whether each two elements are equal (`==` asks whether two nodes are the same node)."""
    return add_node(ops.equal, (a, b), {})


def not_equal(a, b):
    """Whether each two elements differ."""
    return add_node(ops.not_equal, (a, b), {})


class Session:
    """Runs nodes of static graphs.

    Parameters
    ----------
    passes : sequence of str
        What to do to a graph before it runs: "fold" constants, "share" common subexpressions, "fuse"
        elementwise operations, "plan" memory. Nodes that are not needed never run.
    """

    def __init__(self, passes=(*PASSES, "plan")):
        unknown = set(passes) - {*PASSES, "plan"}
        if unknown:
            raise ValueError(f"passes are {', '.join((*PASSES, 'plan'))}, got {', '.join(sorted(unknown))}")
        self.passes, self._programs, self._needed = tuple(passes), {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Forget the programs and the memory they hold."""
        self._programs.clear()
        self._needed.clear()

    def run(self, fetches, feed_dict=None):
        """Compute nodes.

        Parameters
        ----------
        fetches : Node, or a list, tuple or dict of them
        feed_dict : dict of Node: array_like, optional
            The values of the placeholders, converted to their dtypes.

        Returns
        -------
        array, or a list, tuple or dict of arrays
            Of the same structure as `fetches`. A result without dimensions is a NumPy number.

        Raises
        ------
        TypeError
            If something that is no node is fetched or fed, or a value cannot be converted.
        ValueError
            If a placeholder is not fed, or a shape does not fit; the message names the node.
        NotANumber
            Within `detect_nan`, if a node makes a NaN.
        """
        if isinstance(fetches, Node):
            return self._run((fetches,), feed_dict or {})[0]
        if isinstance(fetches, dict):
            return dict(zip(fetches, self._run(tuple(fetches.values()), feed_dict or {}), strict=True))
        if not isinstance(fetches, (list, tuple)):
            raise TypeError(f"fetches must be nodes, got {fetches!r}")
        return type(fetches)(self._run(tuple(fetches), feed_dict or {}))

    @np.errstate(all="ignore")
    def _run(self, nodes, feeds):
        program, values = self._prepared(nodes, feeds)
        results = program.watch(*values) if mode.watching else program.run(*values)
        return [value if getattr(value, "shape", None) else np.asarray(value)[()] for value in results]

    def program(self, fetches, feed_dict=None):
        """Return the `Program` that would be run: its nodes, its source, its memory."""
        nodes = (fetches,) if isinstance(fetches, Node) else tuple(fetches)
        return self._prepared(nodes, feed_dict or {})[0]

    def time(self, fetches, feed_dict=None, repeat=20):
        """Return the median time in seconds of each node of the program."""
        nodes = (fetches,) if isinstance(fetches, Node) else tuple(fetches)
        program, values = self._prepared(nodes, feed_dict or {})
        return program.time(*values, repeat=repeat)

    def _prepared(self, nodes, feeds):
        """Return the program for these nodes and shapes, made the first time, and what to feed it."""
        for node in nodes:
            if not isinstance(node, Node):
                raise TypeError(f"fetches must be nodes, got {node!r}")
        arrays = {node: _checked(node, value) for node, value in feeds.items()}
        passes = [p for p in self.passes if p != "fuse"] if mode.watching else self.passes
        key = (nodes, mode.watching, tuple((node, array.shape) for node, array in arrays.items()))
        if key not in self._programs:
            self._programs[key] = build(nodes, arrays, passes)
        program, order = self._programs[key]
        return program, [arrays[node] for node in order]


def build(fetches, arrays, passes, later=()):
    """Return the `Program` that computes nodes, and the nodes in `arrays` whose values it takes.

    Parameters
    ----------
    arrays : dict of Node: array
        What is fed; the program is for arrays of these shapes.
    later : list of Node
        Placeholders whose values arrive only after the first results, as many as these, have been handed out.
    """
    below = nodes_below(fetches, stop=arrays)
    for node in below:
        if node.op is PLACEHOLDER and node not in arrays and node not in later:
            raise ValueError(f"placeholder {node.name!r} {node.shape} needs a value: add it to feed_dict")
    order = [node for node in below if node in arrays]
    with Graph("feeds"):  # what is fed is a placeholder from here on, whatever it was before
        stand_ins = {node: placeholder(arrays[node].shape, node.dtype, node.name) for node in order}
        stand_ins |= {node: placeholder(node.shape, node.dtype, node.name) for node in later}
    fetches = specialise(fetches, stand_ins)
    for name in PASSES:
        if name in passes:
            fetches = PASSES[name](fetches)
    feeds, later = [stand_ins[node] for node in order], [stand_ins[node] for node in later]
    return Program(fetches, feeds, "plan" in passes, later), order


def _checked(node, value):
    """Return what is fed as an array of the node's dtype, or say why it cannot be."""
    if not isinstance(node, Node):
        raise TypeError(f"feed_dict maps nodes to values, got the key {node!r}")
    if isinstance(value, Node):
        raise TypeError(f"what is fed to {node.name!r} must have a value already, got {value!r}")
    array = value.numpy() if hasattr(value, "numpy") else np.asarray(value)
    if array.dtype != node.dtype:
        if not np.can_cast(array.dtype, node.dtype, "same_kind") and not (
            node.dtype.kind == "f" and array.dtype.kind in "biu"
        ):
            raise TypeError(f"{node.name!r} takes {node.dtype}, got {array.dtype}")
        array = array.astype(node.dtype)
    if len(array.shape) != len(node.shape) or any(
        n is not None and n != m for n, m in zip(node.shape, array.shape, strict=True)
    ):
        raise ValueError(f"{node.name!r} must have shape {node.shape}, got {array.shape}")
    return np.ascontiguousarray(array).reshape(array.shape)
