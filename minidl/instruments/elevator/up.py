"""The way back up: one weight, its gradient as a sum over positions, its update, and what that changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minidl.graph import Tensor, no_grad
from minidl.graph.dynamic import Step, walk_back
from minidl.instruments.elevator.checks import Check
from minidl.instruments.elevator.last import last
from minidl.kernels.arguments import check_integer
from minidl.kernels.optimiser.buffers import check_number
from minidl.tasks.losses import bce_with_logits, cross_entropy


@dataclass(frozen=True, eq=False)
class WayUp:
    """One weight on its way back up.

    Attributes
    ----------
    weight : tuple of int
        Its index in the last layer's weight.
    value : float
    inputs, outputs : int arrays of shape (P, ndim)
        The positions where it is used: which input it meets, for which output. One for a dense layer, many
        for a convolution.
    met : array of shape (P,)
        Those inputs.
    arrived : array of shape (P,)
        The gradients of the loss with respect to those outputs.
    gradient : float
        The sum of the products, in float64.
    chain : list of (str, float)
        The nodes from the loss down to the last layer with weights: the name of each, and the largest
        absolute value of the gradient that arrives there.
    what : str
        The loss in words.
    loss, new_loss : float
        Before the update, and after it.
    rate : float
    new_value : float
        value - rate · gradient, as float32 has it.
    before, after : arrays
        The network's output before and after.
    checks : list of Check
    """

    weight: tuple[int, ...]
    value: float
    inputs: np.ndarray = field(repr=False)
    outputs: np.ndarray = field(repr=False)
    met: np.ndarray = field(repr=False)
    arrived: np.ndarray = field(repr=False)
    gradient: float
    chain: list = field(repr=False)
    what: str
    loss: float
    new_loss: float
    rate: float
    new_value: float
    before: np.ndarray = field(repr=False)
    after: np.ndarray = field(repr=False)
    checks: list[Check] = field(repr=False)

    @property
    def expected(self) -> float:
        """What the loss should change by, if it were a straight line: gradient · change of the weight."""
        return self.gradient * (self.new_value - self.value)

    @property
    def change(self) -> np.ndarray:
        """What the update changes in the output."""
        return self.after - self.before

    @property
    def agrees(self) -> bool:
        """Whether the sum over positions is what the graph found."""
        return all(check.agrees for check in self.checks)


def way_up(ride, weight, rate) -> WayUp:
    """See `Ride.up`."""
    from minidl.instruments.elevator.ride import evaluating  # which needs this module

    parameter = ride.layer.layer.weight
    weight = _check_weight(weight, parameter.shape, ride)
    if not check_number("rate", rate) > 0:
        raise ValueError(f"rate must be above 0, got {rate}")
    network = getattr(ride.model, "generator", ride.model)
    grads = [(p, p.grad) for p in ride.model.parameters()]
    with evaluating(ride.model):
        try:
            for p, _ in grads:
                p.grad = None
            out = network(Tensor(ride.z))
            loss, what = _loss(ride, out)
            chain, arrived = _walk(loss, out, parameter)
            from_graph = float(parameter.grad[weight])
        finally:
            for p, grad in grads:
                p.grad = grad
        inputs, outputs = last(ride.layer.layer, ride.layer.input, arrived.shape).uses(weight)
        met, g = ride.layer.input[tuple(inputs.T)], arrived[tuple(outputs.T)]
        products = met.astype(np.float64) * g
        gradient = float(products.sum())
        value, old = float(parameter.data[weight]), parameter.data[weight]
        try:
            with no_grad():
                parameter.data[weight] = value - rate * gradient
                new_value = float(parameter.data[weight])
                changed = network(Tensor(ride.z))
                new_loss = float(_loss(ride, changed)[0].item())
        finally:
            parameter.data[weight] = old
    check = Check(
        (3, 4), f"{len(met)} products", from_graph, gradient, float(np.abs(products).sum()) or abs(from_graph)
    )
    return WayUp(
        weight,
        value,
        inputs,
        outputs,
        met,
        g,
        gradient,
        chain,
        what,
        float(loss.item()),
        new_loss,
        float(rate),
        new_value,
        out.data,
        changed.data,
        [check],
    )


def _check_weight(weight, shape, ride):
    if weight is None and not len(ride.op.row):
        raise ValueError("weight must be given for this number: no product is in it, only the bias, if any")
    if weight is None:
        return tuple(int(i) for i in ride.op.weights[np.abs(ride.op.products).argmax()])
    if not isinstance(weight, (tuple, list)) or len(weight) != len(shape):
        raise ValueError(f"weight must be an index into the shape {shape}, got {weight!r}")
    return tuple(
        check_integer(f"weight[{axis}]", i, 0, n - 1)
        for axis, (i, n) in enumerate(zip(weight, shape, strict=True))
    )


def _loss(ride, out):
    """Return what the network is trained for, of this one output, and its name."""
    kind = ride.task.kind
    if kind == "gan":
        said = ride.model.discriminator(out)
        return bce_with_logits(said, np.ones(said.shape, said.dtype)), "the drawing is not taken for real"
    if kind == "began":
        return (out - ride.model.discriminator(out)).abs().mean(), "the drawing is not copied well"
    if kind == "classes":
        return cross_entropy(out, np.array([ride.pixel[1]])), f"the answer is not class {ride.pixel[1]}"
    return (out * out).mean(), "the mean square of the picture"


def _walk(loss, out, parameter):
    """Go the way back; return the gradients' sizes down to the node that has the parameter, and what arrives
    there."""
    chain, found = [], []

    def note(step, gradient, gradients):
        if found:
            return
        chain.append((step.op.name, float(np.abs(gradient).max())))
        if any(not isinstance(p, Step) and p is not None and p.tensor() is parameter for p in step.parents):
            found.append(gradient)

    walk_back(loss.step, np.ones(loss.shape, loss.dtype), on_step=note)
    return chain, found[0]
