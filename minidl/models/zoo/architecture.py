"""What is known of a published network: how to build it, what it costs, and what its authors reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from minidl.graph.static import Graph, placeholder
from minidl.layers import observe, shapes_only
from minidl.layers.summary import Summary
from minidl.ops.op import size


@dataclass(frozen=True)
class Published:
    """Figures that someone published; None for what they do not say.

    Attributes
    ----------
    source : str
        Where they stand: an address.
    parameters, flops : int
        As printed, so rounded where the source rounds; multiply-adds.
    top1, top5 : float
        Per cent of ImageNet's validation images whose label is the network's first guess, or among its first
        five, on one central crop where `note` says nothing else.
    note : str
    """

    source: str
    parameters: int | None = None
    flops: int | None = None
    top1: float | None = None
    top5: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Step:
    """One layer's call: its name, the layer, the shape of its result without the batch, and what it costs.

    Its `kind` is "dense", "convolution", "1×1" or "depthwise", and "" if it has no matrix of weights.
    """

    name: str
    layer: str
    kind: str
    shape: tuple
    parameters: int
    flops: int


@dataclass(frozen=True)
class Architecture:
    """A published network.

    Everything that is counted is found on a copy whose weights take no memory, once, when it is first asked
    for.

    Attributes
    ----------
    key, name : str
    year : int
    paper : str
        Its address.
    variant : str
        Which of the networks that go by this name this is.
    idea : str
        What was new, in one sentence.
    make : callable
        `make(classes=1000)` → the network.
    published : tuple of Published
    input_shape : tuple of int
        One example, (C, H, W).
    """

    key: str
    name: str
    year: int
    paper: str
    variant: str
    idea: str
    make: Callable
    published: tuple = ()
    input_shape: tuple = (3, 224, 224)

    def build(self, **options):
        """Return the network, with weights drawn anew; `classes=10` gives it ten outputs."""
        return self.make(**options)

    def summary(self):
        """Return the `Summary` of all layers at this input shape; it counts operations of every kind."""
        with shapes_only():
            network = self.make()
        return Summary(network, (1, *self.input_shape))

    @cached_property
    def _counted(self):
        """Return (steps, parameters, depth)."""
        with shapes_only():
            network = self.make()
        names = {id(part): name for name, part in network.layers()}
        steps, weighted = [], set()

        def note(part, inputs, output):
            if part.parts():
                return
            weight = getattr(part, "weight", None)
            flops = 0
            if weight is not None and len(weight.shape) > 1:
                flops = size(output.shape[1:]) * size(weight.shape[1:])
                weighted.add(id(output))
            own = sum(parameter.size for parameter in part.parameters())
            shape, name = tuple(output.shape[1:]), names.get(id(part), "")
            steps.append(Step(name, repr(part), _kind(part, weight), shape, own, flops))

        with Graph(self.key) as graph, observe(note):
            network(placeholder((1, *self.input_shape), name="input"))
        depths = {}  # layers with weights, on the longest way from the input to each node
        for node in graph.nodes:
            before = max((depths.get(id(i), 0) for i in node.inputs), default=0)
            depths[id(node)] = before + (id(node) in weighted)
        return tuple(steps), sum(p.size for p in network.parameters()), max(depths.values())

    @property
    def steps(self):
        """The layers that are not made of others, in the order in which they are called."""
        return self._counted[0]

    @property
    def parameters(self):
        """How many numbers are learned; running means and fixed codes are not."""
        return self._counted[1]

    @property
    def depth(self):
        """How many convolutions and dense layers lie on the longest way through the network."""
        return self._counted[2]

    @property
    def flops(self):
        """Multiply-adds for one example: those of the convolutions and dense layers, and nothing else.

        One multiplication with its addition counts as one. Biases, normalisation, activations and pooling are
        left out, as in the papers' own counts.
        """
        return sum(step.flops for step in self.steps)

    @property
    def shapes(self):
        """The shape of each layer's result, without the batch, by name; first the input's."""
        return {"input": self.input_shape, **{step.name: step.shape for step in self.steps}}

    def _first(self, field):
        return next((p for p in self.published if getattr(p, field) is not None), None)

    @property
    def top1(self):
        """Published accuracy in per cent, first guess, or None; `top1_source` says where."""
        found = self._first("top1")
        return found and found.top1

    @property
    def top1_source(self):
        """The address that `top1` is from."""
        found = self._first("top1")
        return found and found.source

    @property
    def top5(self):
        """Published accuracy in per cent, first five guesses, or None; `top5_source` says where."""
        found = self._first("top5")
        return found and found.top5

    @property
    def top5_source(self):
        """The address that `top5` is from."""
        found = self._first("top5")
        return found and found.source

    def __str__(self):
        return (
            f"{self.name} ({self.year}): {self.parameters:,} parameters, {self.flops:,} multiply-adds"
            f" on {'×'.join(map(str, self.input_shape))}, {self.depth} layers deep"
        )


def _kind(layer, weight):
    if weight is None or len(weight.shape) < 2:
        return ""
    if len(weight.shape) == 2:
        return "dense"
    if weight.shape[1] == 1 and layer.groups > 1:
        return "depthwise"
    return "1×1" if tuple(weight.shape[2:]) == (1, 1) else "convolution"
