"""The ride down, floors 7 to 4, and its front door: which number, through which layers and nodes it came."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from minidl.graph import Tensor, no_grad
from minidl.graph.dynamic import Leaf, Step, steps_back
from minidl.hardware.limits import limits
from minidl.instruments.elevator.checks import Check
from minidl.instruments.elevator.last import KINDS, DotProduct, last
from minidl.instruments.elevator.thread import Memory, Work, follow
from minidl.instruments.elevator.up import WayUp, way_up
from minidl.kernels.arguments import check_integer
from minidl.layers import (
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    ReLU,
    ReLU6,
    Reshape,
    Sigmoid,
    SiLU,
    Tanh,
    observe,
)
from minidl.ops import avg_pool2d

#: What one number becomes in an activation, in float64, without the network.
ACTIVATIONS = {
    Tanh: lambda layer, x: np.tanh(x),
    Sigmoid: lambda layer, x: 1 / (1 + np.exp(-x)),
    ReLU: lambda layer, x: max(x, 0.0),
    ReLU6: lambda layer, x: min(max(x, 0.0), 6.0),
    SiLU: lambda layer, x: x / (1 + np.exp(-x)),
    LeakyReLU: lambda layer, x: x if x > 0 else layer.slope * x,
}
SAME_NUMBER = (Reshape, Flatten, Dropout)  # which leave every number as it is, in its order (after training)
REPEAT = 5  # times that each node is timed


@dataclass(frozen=True, eq=False)
class Verdict:
    """Floor 7, Task: what was asked for, and what is said of it.

    Attributes
    ----------
    kind : {"gan", "began", "classes", "image"}
        A drawing and a judge; a drawing and a copyist; scores of classes; a picture that nobody judges.
    shown : array of shape (H, W) or (C, H, W)
        The picture: the sample, from 0 to 1, or what a classifier was given.
    number : float
        The pixel's brightness in the sample from 0 to 1, or the class's score.
    said : dict of str to float
        "gan": `logit`, and the `probability` of being real; "began": the `error` of copying the picture, and
        the pixel's own, `here`; "classes": the `probability` of this class, and the `answer`.
    scores : array of shape (K,) or None
        Of all classes.
    """

    kind: str
    shown: np.ndarray = field(repr=False)
    number: float
    said: dict[str, float]
    scores: np.ndarray | None = field(repr=False)


@dataclass(frozen=True, eq=False)
class Stage:
    """Floor 6, Model: one layer of the path from the input to the number.

    Attributes
    ----------
    name : str
        Of the layer, as in `state_dict`.
    layer : Layer
    output : array
        What it made.
    reached : array of bool, in the output's shape
        What of it the number depends on.
    """

    name: str
    layer: Layer
    output: np.ndarray = field(repr=False)
    reached: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class Field:
    """Floor 5, Layer: the last layer with weights, what the number sees of its input, and what follows.

    Attributes
    ----------
    name : str
    layer : Layer
    input : array
        Of the layer.
    sees : array of bool, in the input's shape
        The receptive field.
    index : tuple of int
        Where the number stands in the layer's output.
    number : float
        There: before the activation.
    after : list of (Layer, float)
        The activations that follow, and what the number becomes in each, computed apart in float64.
    """

    name: str
    layer: Layer
    input: np.ndarray = field(repr=False)
    sees: np.ndarray = field(repr=False)
    index: tuple[int, ...]
    number: float
    after: list


@dataclass(frozen=True)
class Node:
    """Floor 4, Graph: one node that the number came through.

    Attributes
    ----------
    op, layer : str
        The operation, and the name of the layer that asked for it.
    inputs : tuple of shapes
    shape : tuple of int
    nbytes : int
        Of all inputs and of the result.
    flops : int
    seconds : float
        The least of some runs, on this machine.
    makes_it : bool
        Whether this is the node of the last layer with weights.
    """

    op: str
    layer: str
    inputs: tuple
    shape: tuple
    nbytes: int
    flops: int
    seconds: float
    makes_it: bool


@dataclass(frozen=True, eq=False)
class Ride:
    """One number on all seven floors.

    Attributes
    ----------
    model : Layer
    z : array
        What the network was given, with its batch axis.
    reached : array of bool, in z's shape
        What of it the number depends on.
    pixel : tuple of int
        Where the number stands in the network's output, batch included: (0, channel, row, column), or
        (0, class).
    task : Verdict
    path : list of Stage
    layer : Field
    nodes : list of Node
    graph_number : float
        What the node of the last layer with weights made, when every node was run again by itself.
    op : DotProduct
    kernel : Work
    hardware : Memory
    checks : list of Check
        Every floor's number against that of the floor above.
    seconds : float
        How long the ride took.
    """

    model: Layer
    z: np.ndarray = field(repr=False)
    reached: np.ndarray = field(repr=False)
    pixel: tuple[int, ...]
    task: Verdict
    path: list[Stage] = field(repr=False)
    layer: Field
    nodes: list[Node] = field(repr=False)
    graph_number: float
    op: DotProduct = field(repr=False)
    kernel: Work = field(repr=False)
    hardware: Memory = field(repr=False)
    checks: list[Check] = field(repr=False)
    seconds: float

    @property
    def output(self) -> float:
        """The number as the network gives it."""
        return float(self.path[-1].output[self.pixel])

    @property
    def numbers(self) -> dict[int, float]:
        """Floor → the number there. Between 7 and 6 a sample is scaled, between 6 and 5 is the activation."""
        return {
            7: self.task.number,
            6: self.output,
            5: self.layer.number,
            4: self.graph_number,
            3: self.op.total,
            2: self.kernel.total,
            1: self.hardware.total,
        }

    @property
    def agrees(self) -> bool:
        """Whether every floor agrees with the one above."""
        return all(check.agrees for check in self.checks)

    def up(self, weight=None, rate=0.1) -> WayUp:
        """Go back up with one weight: its gradient, its update, and what that changes.

        Parameters
        ----------
        weight : tuple of int, optional
            Its index in the last layer's weight; by default that of the largest product on floor 3.
        rate : float
            The weight loses `rate` times its gradient. Afterwards it is put back.

        Raises
        ------
        TypeError, ValueError
            If there is no such weight, or the rate is not above 0.
        """
        return way_up(self, weight, rate)

    def __str__(self):
        where = ", ".join(map(str, self.pixel[1:]))
        lines = [f"the number at ({where}), floor by floor; {self.seconds:.2f} s", *map(str, self.checks)]
        return "\n".join(lines)


def ride(model, z, pixel, bandwidth=None) -> Ride:
    """Follow one number that a network makes through all seven floors.

    The network runs as it is, in `eval()`; then every node of its graph is run again, the block of the CUDA
    kernel that makes the number is run by the tracer, and the bytes that its thread touched are read.

    Parameters
    ----------
    model : Layer
        A GAN or BEGAN, whose generator is followed, or a network such as LeNet. It must end in a dense layer,
        a convolution or a transposed convolution, with only activations and changes of shape behind. Nothing
        of it is changed.
    z : array_like
        For a GAN, noise of shape (latent,) or (1, latent); otherwise one input, with or without a batch axis.
    pixel : tuple of int, or int
        (row, column) of the drawing, (channel, row, column) if it has several; of a classifier, the class.
    bandwidth : float, optional
        Bytes per second, for floor 1; by default what this machine's CPU is measured to copy, which takes a
        second, once.

    Returns
    -------
    Ride

    Raises
    ------
    TypeError
        If the model is no layer, ends in something else, or z holds no numbers.
    ValueError
        If z or pixel do not fit the model, or z is not finite.
    """
    start = perf_counter()
    network = _network(model)
    with evaluating(model):
        z = _check_z(model, network, z)
        x = Tensor(z, requires_grad=True)
        calls = []
        with observe(lambda layer, inputs, output: calls.append((layer, inputs, output))):
            try:
                out = network(x)
            except (ValueError, TypeError) as error:
                raise type(error)(f"z, of shape {z.shape}, does not fit the model: {error}") from None
        index = _check_pixel(pixel, out.shape)
        calls = [call for call in calls if not call[0].parts()]
        names = {id(layer): name for name, layer in network.layers()}
        position = _last_weighted(calls, out)
        nodes, values, marks = _nodes(x, out, calls, names, position, index)
        verdict = _verdict(model, network, out, z, index)
    path = [
        Stage(names[id(layer)], layer, made.data, marks[id(made.step)])
        for layer, _, made in calls
        if id(made.step) in marks
    ]
    layer, (given, *_), made = calls[position]
    flat = np.ravel_multi_index(index, out.shape)
    inside = tuple(int(i) for i in np.unravel_index(flat, made.shape))
    product = last(layer, given.data, made.shape)
    op = product.dot_product(inside)
    number = float(made.data[inside])
    sees = np.zeros(given.shape, bool)
    sees[tuple(op.inputs[op.inside].T)] = True
    after = _after(calls[position + 1 :], number)
    here = Field(names[id(layer)], layer, given.data, sees, inside, number, after)
    if bandwidth is None:
        bandwidth = limits("cpu").copy_bandwidth
    work, memory = follow(product, inside, bandwidth)
    graph_number = float(values[id(made.step)][inside])
    checks = _checks(verdict, float(out.data[index]), here, graph_number, op, work, memory)
    return Ride(
        model,
        z,
        marks[id(x.step)],
        index,
        verdict,
        path,
        here,
        nodes,
        graph_number,
        op,
        work,
        memory,
        checks,
        perf_counter() - start,
    )


# ---------------------------------------------------------------------------------------------- what is asked


def _network(model):
    """Return the network that makes the number: a GAN's generator, or the model itself."""
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a Layer, got {type(model).__name__}")
    network = getattr(model, "generator", model)
    parameters = network.parameters()
    if not parameters:
        raise TypeError(f"model must have weights, got {model!r}")
    if any(parameter.device != "cpu" for parameter in model.parameters()):
        raise ValueError('model must be on the CPU for a ride, got one on the GPU: model.to("cpu")')
    if any(not parameter.requires_grad for parameter in parameters):
        raise ValueError("model must have parameters that can be learned: set requires_grad of each to True")
    return network


@contextlib.contextmanager
def evaluating(model):
    """Set a model to `eval()`, and afterwards each layer to what it was."""
    modes = [(layer, layer.training) for _, layer in model.layers()]
    model.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


def _check_z(model, network, z):
    dtype = network.parameters()[0].dtype
    try:
        array = np.array(z, dtype)
    except (TypeError, ValueError):
        raise TypeError(f"z must hold numbers, got {type(z).__name__}") from None
    if not np.isfinite(array).all():
        raise ValueError("z must be finite, got NaN or infinity in it")
    if hasattr(model, "latent"):
        if array.shape not in ((model.latent,), (1, model.latent)):
            raise ValueError(f"z must have shape ({model.latent},) or (1, {model.latent}), got {array.shape}")
        return array.reshape(1, -1)
    wants_images = any(isinstance(layer, (Conv2d, Flatten)) for _, layer in network.layers())
    wanted = 4 if wants_images else 2
    if not 1 <= array.ndim <= wanted:
        raise ValueError(f"z must have at most {wanted} dimensions, got shape {array.shape}")
    array = array.reshape((1,) * (wanted - array.ndim) + array.shape)
    if array.shape[0] != 1:
        raise ValueError(f"z must be one input, got {array.shape[0]} of them, shape {array.shape}")
    return array


def _check_pixel(pixel, shape):
    """Return the index into an output (1, C, H, W) or (1, K)."""
    if len(shape) == 4:
        wanted = ("row", "column") if shape[1] == 1 else ("channel", "row", "column")
    elif len(shape) == 2:
        wanted = ("class",)
        pixel = (pixel,) if not isinstance(pixel, (tuple, list, np.ndarray)) else pixel
    else:
        raise TypeError(f"model must make images (N, C, H, W) or scores (N, K), got shape {shape}")
    words = f"({', '.join(wanted)})" if len(wanted) > 1 else "the number of a class"
    if not isinstance(pixel, (tuple, list, np.ndarray)) or len(pixel) != len(wanted):
        raise ValueError(f"pixel must be {words}, got {pixel!r}")
    sizes = shape[-len(wanted) :]
    checked = [
        check_integer(f"pixel's {name}", value, 0, size - 1)
        for name, value, size in zip(wanted, pixel, sizes, strict=True)
    ]
    return (0,) * (len(shape) - len(wanted)) + tuple(checked)


def _last_weighted(calls, out):
    """Return the position of the last call with weights, after which only single numbers are changed."""
    previous = out
    for position in reversed(range(len(calls))):
        layer, inputs, made = calls[position]
        if made is not previous:
            raise TypeError(f"model must end in layers one after the other; {layer!r} is not followed alone")
        if type(layer) in KINDS and getattr(layer, "groups", 1) == 1:
            return position
        if type(layer) not in (*ACTIVATIONS, *SAME_NUMBER):
            raise TypeError(
                f"model must end in Dense, Conv2d or ConvTranspose2d and activations, it ends in {layer!r}"
            )
        previous = inputs[0]
    raise TypeError("model must have a Dense, Conv2d or ConvTranspose2d")


def _after(calls, number):
    values = []
    for layer, _, _ in calls:
        if type(layer) in ACTIVATIONS:
            number = float(ACTIVATIONS[type(layer)](layer, number))
            values.append((layer, number))
    return values


# -------------------------------------------------------------------------------------------- floors 7 and 4


def _verdict(model, network, out, z, index):
    """Ask for the number as any caller would, and for what is said of it."""
    with no_grad():
        if hasattr(model, "discriminator"):
            picture = model.draw(z) if hasattr(model, "draw") else (network(z).numpy() + 1) / 2
            said = model.discriminator(out.detach())
            if said.shape == out.shape:
                apart = np.abs(out.data - said.numpy())
                kind, words = "began", {"error": float(apart.mean()), "here": float(apart[index])}
            else:
                logit = float(said.numpy().ravel()[0])
                kind, words = "gan", {"logit": logit, "probability": float(1 / (1 + np.exp(-logit)))}
            return Verdict(kind, _plane(picture), float(picture[index]), words, None)
        answer = network(z).numpy()
    if answer.ndim == 4:
        return Verdict("image", _plane(answer), float(answer[index]), {}, None)
    scores = answer[0].astype(np.float64)
    likely = np.exp(scores - scores.max())
    likely /= likely.sum()
    words = {"probability": float(likely[index[1]]), "answer": int(scores.argmax())}
    return Verdict("classes", _plane(z), float(answer[index]), words, scores)


def _plane(images):
    """Return one picture of a batch of one: (H, W), or (C, H, W) if it has several channels."""
    picture = images[0]
    return picture[0] if picture.ndim == 3 and len(picture) == 1 else picture


def _nodes(x, out, calls, names, position, index):
    """Run every node of the graph again by itself; return what is known of each, its value, and what of it
    the number depends on (by the id of the step)."""
    steps, _ = steps_back(out.step)
    made_by = {id(made.step): names[id(layer)] for layer, _, made in reversed(calls)}
    chosen, values, nodes = calls[position][2].step, {}, []
    for step in reversed(steps):
        if any(parent is None for parent in step.parents):
            raise TypeError(f"model has a node, {step.describe()}, with an input that is no result of layers")
        arrays = [
            parent.tensor().data if type(parent) is Leaf else values[id(parent)] for parent in step.parents
        ]
        seconds = []
        for _ in range(REPEAT):
            start = perf_counter()
            result, _ = step.op.forward(*arrays, **step.params)
            seconds.append(perf_counter() - start)
        values[id(step)] = np.asarray(result)
        shapes = tuple(array.shape for array in arrays)
        nodes.append(
            Node(
                step.op.name,
                made_by.get(id(step), ""),
                shapes,
                step.shape,
                sum(array.nbytes for array in arrays) + values[id(step)].nbytes,
                step.op.flops(*shapes, **step.params),
                min(seconds),
                step is chosen,
            )
        )
    return nodes, values, _marks(steps, out, x, index)


def _marks(steps, out, x, index):
    """Return what of every result, and of x, the number at `index` depends on: masks by the step's id."""
    marks = {id(step): np.zeros(step.shape, np.float32) for step in steps}
    marks[id(x.step)] = np.zeros(x.shape, np.float32)
    marks[id(out.step)][index] = 1
    for step in steps:  # the newest first: each after all that used its result
        for parent, mask in zip(step.parents, _seen_by(step, marks[id(step)]), strict=False):
            if id(parent) in marks and mask is not None:
                marks[id(parent)] += mask
    return {key: mask > 0 for key, mask in marks.items()}


def _seen_by(step, mask):
    """Return what a step looks at in each input, to make the marked part of its result."""
    name, needs = step.op.name, [True] + [False] * (len(step.parents) - 1)
    shapes = [p.shape if isinstance(p, Step) else p.tensor().shape for p in step.parents]
    if name in ("dense", "conv2d", "conv_transpose2d"):  # as the gradient travels, were all weights 1
        ones = tuple(np.ones(saved.shape, np.float32) for saved in step.saved)
        return step.op.vjp(mask, ones, needs, **step.params)
    if name in ("max_pool2d", "avg_pool2d"):
        _, saved = avg_pool2d.forward(np.ones(shapes[0], np.float32), **step.params)
        return avg_pool2d.vjp(mask, saved, needs, **step.params)
    if name == "reshape":
        return [mask.reshape(shapes[0])]
    if shapes[0] == step.shape:  # number by number
        return [mask if shape == step.shape else None for shape in shapes]
    return [np.ones(shape, np.float32) for shape in shapes]  # it may look at anything


# ------------------------------------------------------------------------------------------------ the checks


def _checks(verdict, output, here, graph_number, op, work, memory):
    activated = here.after[-1][1] if here.after else here.number
    drawn = (output + 1) / 2 if verdict.kind in ("gan", "began") else output
    scaled = "the brightness is (1 + output) / 2" if drawn != output else "the output, layer by layer"
    activations = ", ".join(type(layer).__name__ for layer, _ in here.after)
    terms, rest = len(op.row), "and the bias" if op.bias else ""
    return [
        Check((7, 6), scaled, verdict.number, drawn, abs(verdict.number)),
        Check((6, 5), activations or "no activation", output, activated, abs(output)),
        Check((5, 4), "the node by itself", here.number, graph_number, op.size),
        Check((4, 3), f"{terms} products {rest}".strip(), graph_number, op.total, op.size),
        Check((3, 2), "what the thread wrote", op.total, work.total, op.size),
        Check((2, 1), "the bytes that it read", work.total, memory.total, op.size),
        Check((2, 1), "the bytes that it wrote", work.total, memory.stored, op.size),
        _same_terms(op, work),
    ]


def _same_terms(op, work):
    """The thread read the very numbers of the row and the column, in their order."""
    read = np.array([value for name, _, value, _ in work.reads if name != "bias"])
    pairs = np.sort(read.reshape(-1, 2), axis=1) if read.size == 2 * op.inside.sum() else np.zeros((0, 2))
    expected = np.sort(np.stack([op.row, op.column], axis=1)[op.inside], axis=1)
    same = pairs.shape == expected.shape and np.array_equal(pairs, expected.astype(np.float64))
    count = float(2 * op.inside.sum())
    return Check((3, 2), "numbers read", count, count if same else float(read.size) + 0.5, count)
