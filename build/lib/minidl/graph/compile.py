"""Compilation: a function written for tensors is called with nodes once, and what it did is kept as a
program.

    fast = compile(loss)       # def loss(x, labels): return cross_entropy(model(x), labels)
    fast(x, labels).backward()

The function runs as Python only the first time it sees inputs of some shapes. After that the program runs, in
which operations are shared, fused and given memory ahead of time. So Python's own `if` on a value cannot be
captured (it raises), prints and side effects happen once, and the way back is known as soon as the way
forward.
"""

from __future__ import annotations

import functools

import numpy as np

from minidl.graph.building import Graph, Node, as_node, constant, current, placeholder
from minidl.graph.dynamic import Tensor, apply, mode
from minidl.graph.node import GradientError
from minidl.graph.passes import PASSES
from minidl.graph.static import build
from minidl.graph.symbolic import gradients
from minidl.ops import Op


def compile(function, passes=(*PASSES, "plan")):
    """Return a function that does the same with a compiled static graph; also usable as a decorator.

    Parameters
    ----------
    function : callable
        Takes tensors or arrays, and other arguments that can be compared, such as strings and booleans (a new
        value of one of these is captured anew). Returns a tensor, or a tuple or list of them. Tensors it uses
        without being given them, such as a model's parameters, keep their gradients.
    passes : sequence of str
        As for `static.Session`.

    Raises
    ------
    TypeError
        When called, if the function needs the value of a tensor to go on: in an `if`, in `float(x)`, in
        NumPy.
    """
    if not callable(function):
        raise TypeError(f"function must be callable, got {function!r}")
    return Compiled(function, passes)


class Compiled:
    """What `compile` returns: call it like the function. `captures` are the graphs, for each kind of call."""

    def __init__(self, function, passes):
        self.function, self.passes, self.captures = function, tuple(passes), {}
        functools.update_wrapper(self, function)

    def __call__(self, *inputs):
        """Run the program for inputs of these shapes, captured now if there is none yet."""
        inputs = [Tensor(x) if isinstance(x, (np.ndarray, list)) else x for x in inputs]
        key = tuple([(x.shape, x.dtype) if type(x) is Tensor else x for x in inputs])
        captures = self.captures.setdefault(key, [])
        for capture in captures:
            if capture.still_holds():
                break
        else:
            capture = Capture(self.function, inputs, self.passes)
            captures.append(capture)
        return capture.call([x for x in inputs if type(x) is Tensor])


class Capture(Op):
    """One captured call, as an operation: its inputs are the tensors that were given and those that were
    used.

    A function of one result without dimensions, a loss, computes its gradients along with it. For any other,
    the program stops half way, with all it needs at hand, and goes on when the gradient of its results
    arrives.
    """

    pure = False

    def __init__(self, function, inputs, passes):
        self.name, self.passes = getattr(function, "__name__", "compiled"), passes
        self._programs = {}
        current.settings = []
        try:
            with Graph(self.name) as self.graph:
                stand_ins = [
                    placeholder(x.shape, x.dtype, f"input{i}") if type(x) is Tensor else x
                    for i, x in enumerate(inputs)
                ]
                returned = function(*stand_ins)
                self.single = not isinstance(returned, (tuple, list))
                self.outputs = [as_node(v, self.graph) for v in ([returned] if self.single else returned)]
            self._settings = current.settings
        finally:
            current.settings = None
        given = [x for x in stand_ins if isinstance(x, Node)]
        self.used, variables = self.graph.tensors()
        self.inputs = [*given, *variables]
        self.is_loss = self.single and self.outputs[0].shape == () and self.outputs[0].dtype.kind == "f"

    def still_holds(self):
        """Whether all that decided how the function ran, such as a layer's `training`, is as it was then."""
        return all(getattr(thing, name) == value for thing, name, value in self._settings)

    def call(self, given):
        """Do it: one step of the dynamic graph, or as many more as it takes to part several results."""
        inputs = [*given, *self.used]
        wanted = tuple([mode.recording and t.requires_grad for t in inputs])
        result = apply(self, *inputs, wanted=wanted)
        if self.single:
            return result
        ends = np.cumsum([int(np.prod(node.shape)) for node in self.outputs]).tolist()
        return tuple(
            result[start:end].reshape(node.shape)
            for start, end, node in zip([0, *ends], ends, self.outputs, strict=False)
        )

    def forward(self, *arrays, wanted):
        """Keep the gradients of a loss; or the program, stopped half way, and what it will still read."""
        if self.is_loss and any(wanted):
            result, *found = self._run("loss", wanted, arrays)
            return result, (found,)
        if any(wanted):
            results, rest = self._run("both", wanted, arrays)
        else:
            results, rest = self._run("forward", wanted, arrays), None
        result = results[0] if self.single else np.concatenate([np.ravel(value) for value in results])
        return result, ([rest], *arrays)

    def vjp(self, g, saved, needs, wanted):
        """Hand out the gradients that are there already, or let the program go on."""
        there, *_ = saved
        if not there:
            raise GradientError(f"the way back of the compiled {self.name} can be gone once: call it again")
        if self.is_loss:
            found = there if g == 1 else [g * gradient for gradient in there]
        else:
            ends = np.cumsum([int(np.prod(node.shape)) for node in self.outputs])[:-1]
            parts = zip(np.split(g.ravel(), ends), self.outputs, strict=True)
            found = there[0](*[part.reshape(output.shape) for part, output in parts])
        found = iter(tuple(found))
        there.clear()  # they are somebody else's from now on
        return tuple([next(found) if w else None for w in wanted])

    def _run(self, kind, wanted, arrays):
        """Run a program: "loss", with its gradients; "forward", without; or "both", but only half of it."""
        if (kind, wanted) not in self._programs:
            self._programs[kind, wanted] = self._make(kind, wanted, arrays)
        program, positions = self._programs[kind, wanted]
        values = [np.ascontiguousarray(arrays[i]).reshape(arrays[i].shape) for i in positions]
        return program.start(*values) if kind == "both" else program.run(*values)

    def _make(self, kind, wanted, arrays):
        """Return the program, and the positions of the arrays it takes."""
        fetches, starts = list(self.outputs), []
        with self.graph:
            if kind == "both":
                starts = [placeholder(node.shape, node.dtype, "g") for node in self.outputs]
            if kind != "forward":
                xs = [node for node, w in zip(self.inputs, wanted, strict=True) if w]
                found = gradients(self.outputs, xs, starts or None)
                zeros = (constant(np.zeros(x.shape, x.dtype)) for x in xs)
                fetches += [zero if g is None else g for g, zero in zip(found, zeros, strict=True)]
        feeds = dict(zip(self.inputs, arrays, strict=True))
        program, order = build(fetches, feeds, self.passes, later=starts)
        return program, [self.inputs.index(node) for node in order]

    def shape(self, *shapes, wanted):
        """That of the result."""
        return self.outputs[0].shape if self.single else (sum(int(np.prod(o.shape)) for o in self.outputs),)

    def dtype(self, *dtypes, wanted):
        """That of the result."""
        return self.outputs[0].dtype
