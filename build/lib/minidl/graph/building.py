"""Building a static graph: nothing is computed yet, but every operation's shapes are checked."""

from __future__ import annotations

import threading

import numpy as np

from minidl.graph.dynamic import Tensor
from minidl.graph.node import Value
from minidl.ops import Op


class Source(Op):
    """Where a static graph begins: its values come from outside."""

    pure = False

    def __init__(self, name):
        self.name = name


PLACEHOLDER, VARIABLE, CONSTANT = Source("placeholder"), Source("variable"), Source("constant")


class _Current(threading.local):
    """The graph that new nodes go to, in each thread."""

    def __init__(self):
        self.graphs = [Graph("default")]
        self.settings = None  # while a function is captured: what it has read, see `setting`


class Graph:
    """A static graph: the nodes that were made inside `with Graph() as g:`, in the order they were made.

    Attributes
    ----------
    nodes : list of Node
    outer : Graph or None
        The graph that this one is a branch or a loop's body of.
    """

    def __init__(self, name="graph", outer=None):
        self.name, self.outer = name, outer
        self.nodes, self._names, self._tensors = [], {}, {}

    def __enter__(self):
        current.graphs.append(self)
        return self

    def __exit__(self, *exception):
        current.graphs.remove(self)

    def __repr__(self):
        return f"<graph {self.name!r} of {len(self.nodes)} nodes>"

    def free_name(self, name):
        """Return `name`, or `name_1`, `name_2`, … if it is taken."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name

    def reaches(self, other):
        """Whether the nodes of another graph can be used in this one."""
        return other is self or (self.outer is not None and self.outer.reaches(other))

    def tensors(self):
        """Return the tensors that nodes of this graph read, and their nodes."""
        nodes = list(self._tensors.values())
        return [node.params["tensor"] for node in nodes], nodes

    def variable_of(self, tensor):
        """Return the node that stands for a tensor, whose values it reads whenever it runs."""
        if self.outer is not None:
            return self.outer.variable_of(tensor)
        if id(tensor) not in self._tensors:
            node = Node(self, VARIABLE, (), {"tensor": tensor}, tensor.shape, tensor.dtype, "variable")
            self._tensors[id(tensor)] = node
        return self._tensors[id(tensor)]


current = _Current()


def setting(thing, name):
    """Return an attribute that decides what is computed: if it changes, a function is captured anew."""
    value = getattr(thing, name)
    if current.settings is not None:
        current.settings.append((thing, name, value))
    return value


def default_graph():
    """Return the graph that new nodes go to."""
    return current.graphs[-1]


def graph_for(values):
    """Return the graph that a node of these values goes to: outside its `with`, one can be added to."""
    graph = default_graph()
    used = [value.graph for value in values if isinstance(value, Node)]
    return used[0] if used and not any(graph.reaches(g) for g in used) else graph


class Node(Value):
    """A value that a static graph will compute: an operation, what it is done to, and its shape.

    Attributes
    ----------
    op, inputs, params : the operation, a tuple of nodes, a dict of keyword arguments
    shape : tuple of int or None
        None for a dimension that is known only when the graph runs.
    dtype : numpy.dtype
    name : str
        Unique in its graph.
    graph : Graph
    """

    __slots__ = ("__weakref__", "dtype", "graph", "inputs", "name", "number", "op", "params", "shape")
    __hash__ = object.__hash__  # nodes are the keys of a feed, so == means the same node

    def __init__(self, graph, op, inputs, params, shape, dtype, name=None):
        self.graph, self.op, self.inputs, self.params = graph, op, tuple(inputs), params
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.name = graph.free_name(name or op.name)
        self.number = len(graph.nodes)
        graph.nodes.append(self)

    @staticmethod
    def _apply(op, *inputs, **params):
        return add_node(op, inputs, params)

    @property
    def value(self):
        """The current value of a variable, an array."""
        if self.op is not VARIABLE:
            raise ValueError(
                f"only a variable has a value outside a session, {self.name!r} is a {self.op.name}"
            )
        return self.params["tensor"].data

    @value.setter
    def value(self, array):
        self.value[...] = array

    def astype(self, dtype):
        """Return it in another dtype."""
        from minidl.graph.dynamic import cast

        return add_node(cast, (self,), {"dtype": np.dtype(dtype)})

    def __bool__(self):
        raise TypeError(
            f"{self.name!r} has no value yet: Python's own if and while cannot wait for it; "
            "use static.cond and static.while_loop"
        )

    def __array__(self, *args, **kwargs):
        raise TypeError(f"{self.name!r} has no value yet: it is computed by Session.run")

    def __float__(self):
        raise TypeError(f"{self.name!r} has no value yet: it is computed by Session.run")

    def __repr__(self):
        inputs = ", ".join(node.name for node in self.inputs)
        return f"<{self.name}: {self.op.name}({inputs}) {describe(self)}>"


def describe(node):
    """Return a node's dtype and shape as text: float32 (None, 10)."""
    return f"{node.dtype} {node.shape}"


def add_node(op, inputs, params, name=None):
    """Make the node of an operation on nodes, tensors and arrays; if they do not fit, say which."""
    graph = graph_for(inputs)
    nodes = [as_node(value, graph) for value in inputs]
    for node in nodes:
        if not graph.reaches(node.graph):
            raise ValueError(f"{node.name!r} belongs to {node.graph}, it cannot be used in {graph}")
    try:
        shape = op.shape(*[node.shape for node in nodes], **params)
        dtype = op.dtype(*[node.dtype for node in nodes], **params)
    except (ValueError, TypeError) as error:
        arguments = ", ".join(f"{node.name} {node.shape}" for node in nodes)
        raise type(error)(
            f"node {graph.free_name(name or op.name)!r}, {op.name} of {arguments}: {error}"
        ) from None
    return Node(graph, op, nodes, params, shape, dtype, name)


def as_node(value, graph):
    """Return a node for a value: a tensor is read when the graph runs, anything else is a constant."""
    if isinstance(value, Node):
        return value
    if isinstance(value, Tensor):
        return graph.variable_of(value)
    return _constant(value, None, None, graph)


def _constant(value, dtype, name, graph):
    if isinstance(value, Value):
        raise TypeError(f"a constant is made of numbers, got {value!r}")
    array = np.array(value, dtype)
    if array.dtype == np.float64 and dtype is None and not isinstance(value, (np.ndarray, np.generic)):
        array = array.astype(np.float32)  # bare Python numbers are float32, as in the frameworks
    if array.dtype.kind not in "biuf":
        raise TypeError(f"a constant must hold numbers, got {array.dtype}")
    array.flags.writeable = False
    return Node(graph, CONSTANT, (), {"value": array}, array.shape, array.dtype, name)


def placeholder(shape, dtype="float32", name=None):
    """Make a node whose value is given when the graph runs.

    Parameters
    ----------
    shape : tuple of int or None
        None for a dimension that may be any size.
    dtype : str or dtype
        What is fed is converted to it.
    name : str, optional
    """
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"shape must be a tuple of ints and None, got {shape!r}")
    for n in shape:
        if n is not None and (isinstance(n, bool) or not hasattr(n, "__index__")):
            raise TypeError(f"shape must be a tuple of ints and None, got {tuple(shape)!r}")
        if n is not None and n < 0:
            raise ValueError(f"shape must not hold negative sizes, got {tuple(shape)!r}")
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf":
        raise TypeError(f"dtype must be of booleans, integers or floats, got {dtype}")
    return Node(default_graph(), PLACEHOLDER, (), {}, shape, dtype, name)


def variable(value, dtype=None, name=None):
    """Make a node that keeps its value from one run to the next; `assign` changes it, `.value` shows it.

    Parameters
    ----------
    value : array_like or Tensor
        Its first value, copied; or a tensor, which is then read and written itself.
    """
    if not isinstance(value, Tensor):
        value = Tensor(_constant_array(value, dtype), requires_grad=False)
    return Node(default_graph(), VARIABLE, (), {"tensor": value}, value.shape, value.dtype, name)


def _constant_array(value, dtype):
    array = np.array(value, dtype)
    plain = dtype is None and not isinstance(value, (np.ndarray, np.generic))
    return array.astype(np.float32) if plain and array.dtype == np.float64 else array


def constant(value, dtype=None, name=None):
    """Make a node whose value never changes."""
    return _constant(value, dtype, name, default_graph())


class Assign(Op):
    """Give a variable a new value. It takes effect when everything else in the run has been computed."""

    name = "assign"
    pure = False

    def forward(self, old, new):
        """The new value; the session stores it at the end."""
        return new, ()

    def shape(self, old, new):
        """Of one shape."""
        if len(old) != len(new) or any(m is not None and n != m for n, m in zip(old, new, strict=True)):
            raise ValueError(f"a variable of shape {old} cannot take a value of shape {new}")
        return old

    def dtype(self, old, new):
        """That of the variable."""
        return old


ASSIGN = Assign()


def assign(variable, value):
    """Make a node that, when it runs, gives a variable a new value, after all else has been computed."""
    if not isinstance(variable, Node) or variable.op is not VARIABLE:
        raise TypeError(f"only a variable can be assigned to, got {variable!r}")
    return add_node(ASSIGN, (variable, value), {})


def nodes_below(fetches, stop=()):
    """Return the nodes that `fetches` are computed from, inputs first; not those below a node in `stop`."""
    found, done = [], set()
    waiting = [(node, False) for node in reversed(list(fetches))]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            found.append(node)
        elif node not in done:
            done.add(node)
            waiting.append((node, True))
            if node not in stop:
                waiting.extend((parent, False) for parent in reversed(node.inputs) if parent not in done)
    return found
