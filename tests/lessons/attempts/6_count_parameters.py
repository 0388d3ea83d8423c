"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import math

# %% by_hand wrong: has a bias too
convolution, fully_connected, normalisation = 1728, 200704, 128

# %% by_hand wrong: A filter looks at all 3 channels
convolution, fully_connected, normalisation = 640, 200960, 128

# %% by_hand wrong: for each *output*
convolution, fully_connected, normalisation = 1792, 201488, 128

# %% by_hand wrong: remembered, not learned
convolution, fully_connected, normalisation = 1792, 200960, 256

# %% by_hand right
convolution, fully_connected, normalisation = 28 * 64, 785 * 256, 128.0

# %% parameters wrong: Its biases are missing


def parameters(layer):
    if layer["kind"] == "conv":
        return layer["in"] * layer["out"] * layer["kernel"] ** 2
    if layer["kind"] == "dense":
        return layer["in"] * layer["out"]
    return 2 * layer["channels"] if layer["kind"] == "norm" else 0


# %% parameters wrong: This one has no bias


def parameters(layer):
    if layer["kind"] == "conv":
        return (layer["in"] * layer["kernel"] ** 2 + 1) * layer["out"]
    if layer["kind"] == "dense":
        return (layer["in"] + 1) * layer["out"]
    return 2 * layer["channels"] if layer["kind"] == "norm" else 0


# %% parameters wrong: remembered, not learned


def parameters(layer):
    if layer["kind"] == "conv":
        return (layer["in"] * layer["kernel"] ** 2 + layer["bias"]) * layer["out"]
    if layer["kind"] == "dense":
        return (layer["in"] + layer["bias"]) * layer["out"]
    return 4 * layer["channels"] if layer["kind"] == "norm" else 0


# %% parameters wrong: has k² weights


def parameters(layer):
    if layer["kind"] == "conv":
        return (layer["in"] * layer["kernel"] + layer["bias"]) * layer["out"]
    if layer["kind"] == "dense":
        return (layer["in"] + layer["bias"]) * layer["out"]
    return 2 * layer["channels"] if layer["kind"] == "norm" else 0


# %% parameters wrong: looks at all channels that come in


def parameters(layer):
    if layer["kind"] == "conv":
        return (layer["kernel"] ** 2 + layer["bias"]) * layer["out"]
    if layer["kind"] == "dense":
        return (layer["in"] + layer["bias"]) * layer["out"]
    return 2 * layer["channels"] if layer["kind"] == "norm" else 0


# %% parameters wrong: it stopped with KeyError: 'in'


def parameters(layer):
    return layer["in"] * layer["out"] * layer.get("kernel", 1) ** 2 + layer["bias"] * layer["out"]


# %% parameters right


def parameters(layer):
    weights = layer.get("in", 0) * layer.get("out", 0) * layer.get("kernel", 1) ** 2
    biases = layer["out"] if layer.get("bias") else 0
    return weights + biases + 2 * layer.get("channels", 0)


# %% shapes wrong: // stride + 1 positions


def shapes(shape, layers):
    found = []
    for layer in layers:
        if layer["kind"] in ("conv", "pool"):
            sides = [(n - layer["kernel"]) // layer["stride"] + 1 for n in shape[1:]]
            shape = (layer.get("out", shape[0]), *sides)
        elif layer["kind"] == "flatten":
            shape = (math.prod(shape),)
        elif layer["kind"] == "dense":
            shape = (layer["out"],)
        found.append(shape)
    return found


# %% shapes wrong: makes a channel of each filter


def shapes(shape, layers):
    found = []
    for layer in layers:
        if layer["kind"] in ("conv", "pool"):
            sides = [
                (n + 2 * layer.get("padding", 0) - layer["kernel"]) // layer["stride"] + 1 for n in shape[1:]
            ]
            shape = (shape[0], *sides)
        elif layer["kind"] == "flatten":
            shape = (math.prod(shape),)
        elif layer["kind"] == "dense":
            shape = (layer["out"],)
        found.append(shape)
    return found


# %% shapes wrong: all numbers stand in one row


def shapes(shape, layers):
    found = []
    for layer in layers:
        if layer["kind"] in ("conv", "pool"):
            sides = [
                (n + 2 * layer.get("padding", 0) - layer["kernel"]) // layer["stride"] + 1 for n in shape[1:]
            ]
            shape = (layer.get("out", shape[0]), *sides)
        elif layer["kind"] == "dense":
            shape = (layer["out"],)
        found.append(shape)
    return found


# %% shapes wrong: with a network for wide pictures


def shapes(shape, layers):
    """Square pictures only."""
    found = []
    for layer in layers:
        if layer["kind"] in ("conv", "pool"):
            n = (shape[1] + 2 * layer.get("padding", 0) - layer["kernel"]) // layer["stride"] + 1
            shape = (layer.get("out", shape[0]), n, n)
        elif layer["kind"] == "flatten":
            shape = (math.prod(shape),)
        elif layer["kind"] == "dense":
            shape = (layer["out"],)
        found.append(shape)
    return found


# %% shapes wrong: expected a list of 3 shapes


def shapes(shape, layers):
    return (layers[-1]["out"],)


# %% shapes wrong: layer 3, conv, makes a side of 6.5. A window stops at whole places


def shapes(shape, layers):
    found = []
    for layer in layers:
        if layer["kind"] in ("conv", "pool"):
            padding = layer.get("padding", 0)
            sides = [(n + 2 * padding - layer["kernel"]) / layer["stride"] + 1 for n in shape[1:]]
            shape = (layer.get("out", shape[0]), *sides)
        elif layer["kind"] == "flatten":
            shape = (math.prod(shape),)
        elif layer["kind"] == "dense":
            shape = (layer["out"],)
        found.append(shape)
    return found


# %% shapes wrong: a shape is a tuple of whole numbers


def shapes(shape, layers):
    return [(float("inf"),) for _ in layers]


# %% shapes right


def shapes(shape, layers):
    """One layer, and then the rest."""
    if not layers:
        return []
    layer, rest = layers[0], layers[1:]
    kind = layer["kind"]
    if kind == "flatten":
        shape = [math.prod(shape)]
    elif kind == "dense":
        shape = [layer["out"]]
    elif kind in ("conv", "pool"):
        padding, kernel = layer.get("padding", 0), layer["kernel"]
        sides = [len(range(0, n + 2 * padding - kernel + 1, layer["stride"])) for n in shape[1:]]
        shape = [layer["out"] if kind == "conv" else shape[0], *sides]
    return [shape] + shapes(shape, rest)


# %% multiply_adds wrong: not as two


def multiply_adds(shape, layers):
    return [2 * n for n in counted(shape, layers)]


def counted(shape, layers, positions="result", channels=True, biases=False):
    counts = []
    for layer in layers:
        count, before = 0, shape
        if layer["kind"] in ("conv", "pool"):
            padding = layer.get("padding", 0)
            sides = [(n + 2 * padding - layer["kernel"]) // layer["stride"] + 1 for n in shape[1:]]
            shape = (layer.get("out", shape[0]), *sides)
            if layer["kind"] == "conv":
                places = {"result": sides, "one": [1], "input": before[1:]}[positions]
                count = (
                    layer["out"] * math.prod(places) * layer["kernel"] ** 2 * (layer["in"] if channels else 1)
                )
        elif layer["kind"] == "flatten":
            shape = (math.prod(shape),)
        elif layer["kind"] == "dense":
            shape, count = (layer["out"],), layer["in"] * layer["out"]
        if biases and layer.get("bias"):
            count += math.prod(shape)
        counts.append(count)
    return counts


# %% multiply_adds wrong: used at *every* position


def counted(shape, layers, positions="result", channels=True, biases=False):
    counts = []
    for layer in layers:
        count = 0
        if layer["kind"] == "conv":
            count = layer["out"] * layer["in"] * layer["kernel"] ** 2
        elif layer["kind"] == "dense":
            count = layer["in"] * layer["out"]
        counts.append(count)
    return counts


def multiply_adds(shape, layers):
    return counted(shape, layers)


# %% multiply_adds wrong: positions of the *result*


def multiply_adds(shape, layers):
    counts = []
    for layer in layers:
        count, before = 0, shape
        if layer["kind"] in ("conv", "pool"):
            padding = layer.get("padding", 0)
            sides = [(n + 2 * padding - layer["kernel"]) // layer["stride"] + 1 for n in shape[1:]]
            shape = (layer.get("out", shape[0]), *sides)
            if layer["kind"] == "conv":
                count = layer["out"] * layer["in"] * layer["kernel"] ** 2 * before[1] * before[2]
        elif layer["kind"] == "dense":
            count = layer["in"] * layer["out"]
        counts.append(count)
    return counts


# %% multiply_adds wrong: the result has shape (), expected (3,)


def multiply_adds(shape, layers):
    return sum(layer["in"] * layer["out"] for layer in layers if layer["kind"] == "dense")


# %% multiply_adds right


def multiply_adds(shape, layers):
    """Weights times positions."""
    counts, sides = [], list(shape[1:])
    for layer in layers:
        weights = layer.get("in", 0) * layer.get("out", 0) * layer.get("kernel", 1) ** 2
        if layer["kind"] in ("conv", "pool"):
            for i, n in enumerate(sides):
                sides[i] = (n + 2 * layer.get("padding", 0) - layer["kernel"]) // layer["stride"] + 1
        counts.append(weights * (math.prod(sides) if layer["kind"] == "conv" else 1))
    return counts


# %% training_bytes wrong: has a gradient as well


def training_bytes(parameters, numbers, batch, copies, itemsize):
    return itemsize * (parameters * (1 + copies) + numbers * batch)


# %% training_bytes wrong: What the optimiser remembers is missing


def training_bytes(parameters, numbers, batch, copies, itemsize):
    return itemsize * (parameters * 2 + numbers * batch)


# %% training_bytes wrong: of *every* picture of the batch


def training_bytes(parameters, numbers, batch, copies, itemsize):
    return itemsize * (parameters * (2 + copies) + numbers)


# %% training_bytes wrong: however large the batch


def training_bytes(parameters, numbers, batch, copies, itemsize):
    return itemsize * batch * (parameters * (2 + copies) + numbers)


# %% training_bytes wrong: with 7 parameters, 11 numbers a picture


def training_bytes(parameters, numbers, batch, copies, itemsize):
    return 4 * (parameters * (2 + copies) + numbers * batch)


# %% training_bytes right


def training_bytes(parameters, numbers, batch, copies, itemsize):
    weights = parameters * itemsize
    return weights + weights + copies * weights + batch * numbers * itemsize


# %% where wrong: Look at the first dense layer
most_parameters, most_arithmetic, share = "conv", "conv", 0.743

# %% where wrong: a filter's weight at every position
most_parameters, most_arithmetic, share = "dense", "dense", 0.743

# %% where wrong: give a share from 0 to 1
most_parameters, most_arithmetic, share = "dense", "conv", 74.28

# %% where wrong: 512 channels of 7 × 7
most_parameters, most_arithmetic, share = "dense", "conv", (512 * 4096 + 4096) / 138_357_544

# %% where right
most_parameters, most_arithmetic, share = "Dense", "conv", 102_764_544 / 138_357_544

# %% widest wrong: one too many


def widest(inputs, outputs, budget):
    width = 0
    while (inputs + 1) * width + (width + 1) * width + (width + 1) * outputs <= budget:
        width += 1
    return width


# %% widest wrong: There is room for one more


def widest(inputs, outputs, budget):
    width = 0
    while (inputs + 1) * (width + 1) + (width + 2) * (width + 1) + (width + 2) * outputs < budget:
        width += 1
    return width


# %% widest wrong: needs more parameters than there are


def widest(inputs, outputs, budget):
    """Without the biases."""
    width = 0
    while inputs * (width + 1) + (width + 1) ** 2 + (width + 1) * outputs <= budget:
        width += 1
    return width


# %% widest wrong: still running after


def widest(inputs, outputs, budget):
    width = 1
    while (inputs + 1) * width + (width + 1) * width + (width + 1) * outputs != budget:
        width += 1
    return width


# %% widest right


def widest(inputs, outputs, budget):
    """Double, then halve."""

    def fits(width):
        return (inputs + 1) * width + (width + 1) * width + (width + 1) * outputs <= budget

    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
