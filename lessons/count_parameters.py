"""The tasks of the lesson `6_count_parameters`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import numpy as np

from lessons.checks import Lesson, call, check_choice, check_function, check_is_function, check_value
from lessons.comparison import Case, Slip, failure

lesson = Lesson("6_count_parameters")


def conv(channels, filters, kernel, stride=1, padding=0, bias=True):
    """Describe a convolution with square windows."""
    return {
        "kind": "conv",
        "in": channels,
        "out": filters,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "bias": bias,
    }


def pool(kernel, stride):
    """Describe a pooling layer."""
    return {"kind": "pool", "kernel": kernel, "stride": stride}


def dense(inputs, outputs, bias=True):
    """Describe a dense layer."""
    return {"kind": "dense", "in": inputs, "out": outputs, "bias": bias}


def norm(channels):
    """Describe a batch normalisation."""
    return {"kind": "norm", "channels": channels}


RELU, FLATTEN = {"kind": "relu"}, {"kind": "flatten"}

NETWORKS = {
    "two dense layers": ((784,), [dense(784, 256), RELU, dense(256, 10)]),
    "a small network for pictures": (
        (1, 28, 28),
        [
            conv(1, 8, 5),
            RELU,
            pool(2, 2),
            conv(8, 16, 3, 2, 1, bias=False),
            norm(16),
            RELU,
            FLATTEN,
            dense(576, 10),
        ],
    ),
    "a network for wide pictures": (
        (3, 20, 33),
        [conv(3, 6, 3, 2), norm(6), RELU, pool(3, 2), conv(6, 4, 1), RELU, FLATTEN, dense(84, 7, bias=False)],
    ),
    "normalisation after a dense layer": ((5,), [dense(5, 12, bias=False), norm(12), RELU, dense(12, 1)]),
    "one convolution without a bias": ((2, 9, 7), [conv(2, 3, 4, 3, 2, bias=False)]),
}


def _parameters(layer):
    if layer["kind"] == "conv":
        return layer["in"] * layer["out"] * layer["kernel"] ** 2 + layer["bias"] * layer["out"]
    if layer["kind"] == "dense":
        return layer["in"] * layer["out"] + layer["bias"] * layer["out"]
    return 2 * layer["channels"] if layer["kind"] == "norm" else 0


def _after(shape, layer):
    if layer["kind"] == "flatten":
        return (int(np.prod(shape)),)
    if layer["kind"] == "dense":
        return (layer["out"],)
    if layer["kind"] not in ("conv", "pool"):
        return tuple(shape)
    padding = layer.get("padding", 0)
    sides = [(n + 2 * padding - layer["kernel"]) // layer["stride"] + 1 for n in shape[1:]]
    return (layer.get("out", shape[0]), *sides)


def _shapes(shape, layers):
    shapes = []
    for layer in layers:
        shape = _after(shape, layer)
        shapes.append(shape)
    return shapes


def _multiply_adds(shape, layer):
    """Return the multiply-adds of a layer whose result has this shape, for one picture."""
    if layer["kind"] == "conv":
        return int(np.prod(shape)) * layer["in"] * layer["kernel"] ** 2
    return layer["in"] * layer["out"] if layer["kind"] == "dense" else 0


def _described(layer):
    if layer["kind"] == "conv":
        bias = "" if layer["bias"] else ", no bias"
        window = f"{layer['kernel']} × {layer['kernel']}"
        return f"a convolution from {layer['in']} to {layer['out']} channels, {window}{bias}"
    if layer["kind"] == "dense":
        return f"a dense layer from {layer['in']} to {layer['out']}{'' if layer['bias'] else ', no bias'}"
    return (
        f"a normalisation of {layer['channels']} channels"
        if layer["kind"] == "norm"
        else f"a {layer['kind']} layer"
    )


@lesson.task("Task 1, by hand", points=1)
def by_hand(convolution, fully_connected, normalisation):
    """Check the parameters of three layers."""
    check_value(
        "convolution",
        convolution,
        3 * 64 * 9 + 64,
        {
            3 * 64 * 9: "Each of the 64 filters has a bias too.",
            64 * 9 + 64: "A filter looks at all 3 channels, through 9 pixels in each.",
            3 * 64 * 9 + 3: "There is a bias for each filter, not for each input channel.",
        },
    )
    check_value(
        "fully_connected",
        fully_connected,
        784 * 256 + 256,
        {784 * 256: "Each output has a bias too.", 784 * 256 + 784: "There is a bias for each *output*."},
    )
    check_value(
        "normalisation",
        normalisation,
        128,
        {
            64: "Each channel has a weight and a bias.",
            256: "The running mean and variance are remembered, not learned.",
            2: "Each channel has its own.",
        },
    )


@lesson.task("Task 2, parameters", points=1)
def parameters(function):
    """Check a function of a layer's description that returns its learnable numbers."""
    layers = [layer for _, layers in NETWORKS.values() for layer in layers]
    layers += [conv(3, 64, 7, 2, 3), conv(64, 64, 1, bias=False), dense(25088, 4096), pool(3, 2)]

    def without_bias(layer):
        return _parameters(layer | {"bias": False}) if "bias" in layer else np.nan

    check_function(
        function,
        _parameters,
        [Case(_described(layer), (layer,)) for layer in layers],
        [
            Slip("Its biases are missing.", without_bias),
            Slip(
                "This one has no bias.",
                lambda layer: _parameters(layer | {"bias": True}) if "bias" in layer else np.nan,
            ),
            Slip(
                "The running mean and variance are remembered, not learned.",
                lambda layer: 4 * layer["channels"] if layer["kind"] == "norm" else np.nan,
            ),
            Slip("Each channel has a weight and a bias.", lambda layer: layer.get("channels", np.nan)),
            Slip(
                "A window of k × k has k² weights for each channel.",
                lambda layer: (
                    layer["in"] * layer["out"] * layer["kernel"] + layer["bias"] * layer["out"]
                    if layer["kind"] == "conv"
                    else np.nan
                ),
            ),
            Slip(
                "Each filter looks at all channels that come in.",
                lambda layer: (
                    layer["out"] * layer["kernel"] ** 2 + layer["bias"] * layer["out"]
                    if layer["kind"] == "conv"
                    else np.nan
                ),
            ),
        ],
    )


def _as_shapes(got, case, layers):
    if not isinstance(got, (list, tuple)) or len(got) != len(layers):
        raise failure(case, f"the function returned {got!r:.80}, expected a list of {len(layers)} shapes.")
    try:
        sides = [(layer, n) for layer, shape in enumerate(got) for n in shape if n != int(n)]
        if sides:
            layer, n = sides[0]
            words = f"layer {layer}, {layers[layer]['kind']}, makes a side of {n:g}."
            raise failure(case, f"{words} A window stops at whole places only: divide with //.")
        return [tuple(int(n) for n in shape) for shape in got]
    except (TypeError, ValueError, OverflowError):  # the last one is infinity's
        raise failure(case, f"a shape is a tuple of whole numbers, got {got!r:.80}.") from None


@lesson.task("Task 3, shapes", points=2)
def shapes(function):
    """Check a function of (shape, layers) that returns the shape after each layer."""
    check_is_function(function)
    for words, (shape, layers) in NETWORKS.items():
        case = Case(words, (shape, layers))
        got, right = _as_shapes(call(function, case), case, layers), _shapes(shape, layers)
        for i, (mine, expected) in enumerate(zip(got, right, strict=True)):
            if mine == expected:
                continue
            before = right[i - 1] if i else shape
            kind, why = layers[i]["kind"], ""
            if kind in ("conv", "pool") and len(mine) == 3:
                if mine[0] != expected[0]:
                    why = "A convolution makes a channel of each filter; pooling keeps the channels."
                elif mine == before[:1] + mine[1:] and mine[1:] == tuple(n - 1 for n in expected[1:]):
                    why = "Count the first position as well."
                elif mine[1:] == expected[:0:-1]:
                    why = "Height comes before width."
                else:
                    why = "In each direction there are (n + 2 · padding − kernel) // stride + 1 positions."
            elif kind == "flatten":
                why = "Flattened, all numbers stand in one row: channels · height · width."
            elif kind in ("relu", "norm"):
                why = "This kind of layer changes no shape."
            raise failure(case, f"layer {i}, {kind}, makes {mine} of {before}, expected {expected}. {why}")


@lesson.task("Task 4, multiply-adds", points=2)
def multiply_adds(function):
    """Check a function of (shape, layers) that returns the multiply-adds of each layer, for one picture."""

    def right(shape, layers, count=_multiply_adds):
        return [count(after, layer) for after, layer in zip(_shapes(shape, layers), layers, strict=True)]

    def positions_missing(shape, layers):
        return right(
            shape,
            layers,
            lambda after, layer: (
                _parameters(layer | {"bias": False}) if layer["kind"] in ("conv", "dense") else 0
            ),
        )

    def with_biases(shape, layers):
        return right(
            shape,
            layers,
            lambda after, layer: _multiply_adds(after, layer) + layer.get("bias", 0) * int(np.prod(after)),
        )

    def channels_missing(shape, layers):
        return right(
            shape,
            layers,
            lambda after, layer: (
                _multiply_adds(after, layer) / (layer["in"] if layer["kind"] == "conv" else 1)
            ),
        )

    def at_the_input(shape, layers):
        befores = [shape, *_shapes(shape, layers)[:-1]]
        return [
            _multiply_adds((layer["out"], *before[1:]), layer)
            if layer["kind"] == "conv"
            else _multiply_adds(after, layer)
            for before, after, layer in zip(befores, _shapes(shape, layers), layers, strict=True)
        ]

    check_function(
        function,
        right,
        [Case(words, inputs) for words, inputs in NETWORKS.items()],
        [
            Slip("A multiply-add counts as one here, not as two.", lambda *case: 2 * np.array(right(*case))),
            Slip("A filter is used at *every* position of the result.", positions_missing),
            Slip("Adding the biases does not count here.", with_biases),
            Slip("At each position a filter looks at all channels that come in.", channels_missing),
            Slip("It is the positions of the *result* that count, not those of what comes in.", at_the_input),
        ],
        "There is one number for each layer, also for those that multiply nothing: 0.",
    )


@lesson.task("Task 5, memory", points=1)
def training_bytes(function):
    """Check a function of (parameters, numbers, batch, copies, itemsize) that returns bytes."""
    cases = [
        Case(
            f"{p:,} parameters, {a:,} numbers a picture, a batch of {n}, {m} copies, {size} bytes",
            (p, a, n, m, size),
        )
        for p, a, n, m, size in (
            (1000, 500, 1, 0, 4),
            (60_000, 9_118, 64, 2, 4),
            (138_357_544, 15_000_000, 32, 1, 4),
            (7, 11, 13, 2, 2),
        )
    ]

    def bytes_of(weights=1, gradients=1, moments=1, batched=1):
        def values(p, a, n, m, size):
            return size * (p * (weights + gradients + moments * m) + a * (n if batched else 1))

        return values

    check_function(
        function,
        bytes_of(),
        cases,
        [
            Slip("Every parameter has a gradient as well.", bytes_of(gradients=0)),
            Slip("What the optimiser remembers is missing.", bytes_of(moments=0)),
            Slip(
                "The results of *every* picture of the batch are kept for the way back.",
                bytes_of(batched=0),
            ),
            Slip("The weights themselves are missing.", bytes_of(weights=0)),
            Slip(
                "There is one set of parameters, however large the batch.",
                lambda p, a, n, m, size: size * n * (p * (2 + m) + a),
            ),
            Slip(
                "That is a number of numbers; each has `itemsize` bytes.",
                lambda p, a, n, m, size: p * (2 + m) + a * n,
            ),
        ],
    )


@lesson.task("Task 6, where are they", points=1)
def where(most_parameters, most_arithmetic, share):
    """Check where VGG-16 has its parameters and its arithmetic."""
    kinds = ("conv", "dense")
    check_choice(
        "most_parameters",
        most_parameters,
        "dense",
        kinds,
        {"conv": "The filters are small and are used everywhere. Look at the first dense layer."},
    )
    check_choice(
        "most_arithmetic",
        most_arithmetic,
        "conv",
        kinds,
        {"dense": "A dense weight is used once for each picture, a filter's weight at every position."},
    )
    check_value(
        "share",
        share,
        (25088 * 4096 + 4096) / 138_357_544,
        {
            100 * (25088 * 4096 + 4096) / 138_357_544: "That is in per cent; give a share from 0 to 1.",
            25088 * 4096 + 4096: "That is how many; divide by all of them.",
            (512 * 4096 + 4096) / 138_357_544: "What is flattened has 512 channels of 7 × 7.",
        },
    )


@lesson.task("Extra task, as wide as possible", points=2, extra=True)
def widest(function):
    """Check a function of (inputs, outputs, budget) that returns the largest width of two hidden layers."""

    def total(inputs, outputs, width):
        return (inputs + 1) * width + (width + 1) * width + (width + 1) * outputs

    def right(inputs, outputs, budget):
        b = inputs + 2 + outputs
        width = int((-b + (b * b + 4 * (budget - outputs)) ** 0.5) / 2) if budget >= outputs else 0
        while total(inputs, outputs, width + 1) <= budget:
            width += 1
        while width and total(inputs, outputs, width) > budget:
            width -= 1
        return width

    cases = [
        Case(f"{i} inputs, {o} outputs and {budget:,} parameters", (i, o, budget))
        for i, o, budget in (
            (784, 10, 100_000),
            (784, 10, total(784, 10, 40)),
            (784, 10, total(784, 10, 40) - 1),
            (2, 1, 1000),
            (1, 1, 4),
            (100, 784, 50_000_000),
            (50, 5, 60),
        )
    ]
    check_function(
        function,
        right,
        cases,
        [
            Slip(
                "That is one too many: it needs more parameters than there are.",
                lambda *case: right(*case) + 1,
            ),
            Slip("There is room for one more.", lambda *case: right(*case) - 1),
            Slip(
                "The biases count as well.",
                lambda i, o, budget: right(i - 1, o, budget + right(i - 1, o, budget)),
            ),
        ],
    )
