"""The elevator's floors 7 to 5: the picture, the way through the network, and what the last layer sees."""

from __future__ import annotations

import math

import numpy as np

from minidl.instruments.drawing import box, label, matrix, number, outline, shades
from minidl.instruments.style import MUTED
from minidl.layers import Conv2d, ConvTranspose2d, Dense

HEIGHT = 5.75  # of the sheet, which is as wide as `figures.elevator` says
TOP = 0.3  # where its first line of words stands
MOST = 400  # numbers of one array that are drawn


def place(ride) -> str:
    """Return where the number stands, in words: "pixel (3, 4)", or "class 7"."""
    index = ride.pixel[1:]
    if len(index) == 1:
        return f"class {index[0]}"
    index = index[1:] if ride.path[-1].output.shape[1] == 1 else index
    return f"pixel ({', '.join(map(str, index))})"


def task(axes, ride, color):
    """Draw floor 7: the picture, the pixel or the scores, and what is said of it; return it in words."""
    task = ride.task
    shown = task.shown if task.shown.ndim == 2 else task.shown[ride.pixel[1] if len(ride.pixel) == 4 else 0]
    side = 4.7
    size = side / max(shown.shape)
    shades(axes, 0.4, TOP + 0.3, shown, size=size, limit=1)
    where = place(ride)
    x = 6.0
    if task.kind == "classes":
        label(axes, 0.4, TOP, "the picture that was shown", size=8.5, align="left", bold=True)
        label(axes, x, TOP, "the scores of all classes", size=8.5, align="left", bold=True)
        most = np.abs(task.scores).max() or 1.0
        step = side / len(task.scores)
        for k, score in enumerate(task.scores):
            y = TOP + 0.3 + k * step
            lit = k == ride.pixel[1]
            label(axes, x + 0.1, y + step / 2, k, size=8.5, bold=lit)
            width = 1.4 * score / most
            box(
                axes, x + 2.0 + min(width, 0), y + 0.06, abs(width), step - 0.12, fill=color if lit else MUTED
            )
            label(
                axes,
                x + 5.0,
                y + step / 2,
                f"{score:.2f}".replace("-", "−"),
                size=8.5,
                align="right",
                bold=lit,
            )
        says = f"score {task.number:.3f}, probability {task.said['probability']:.1%}; the answer is "
        says += f"{task.said['answer']}"
        label(axes, 0.4, HEIGHT - 0.25, says, size=9, align="left")
        return says + "."
    row, column = ride.pixel[-2:]
    outline(axes, 0.4 + column * size, TOP + 0.3 + row * size, size, size, color)
    label(axes, 0.4, TOP, "the sample", size=8.5, align="left", bold=True)
    lines = [f"row {row}, column {column}", f"brightness {task.number:.4f}", "from 0, paper, to 1, ink"]
    if task.kind == "gan":
        real = task.said["probability"]
        lines += ["", "the discriminator says:", f"{real:.1%} likely to be real"]
    elif task.kind == "began":
        lines += ["", "the discriminator copies it with", f"a mean error of {task.said['error']:.3f}"]
    for i, line in enumerate(lines):
        label(axes, x, TOP + 0.8 + 0.5 * i, line, size=9.5, align="left", bold=i == 1)
    return f"{where} of the sample has brightness {task.number:.4f}; " + " ".join(lines[4:]) + "."


def model(axes, ride, color):
    """Draw floor 6: what every layer made, and what of it the number depends on; return it in words."""
    groups = _groups(ride)
    width = 10.6 / len(groups)
    for i, (title, array, reached) in enumerate(groups):
        x = 0.4 + i * width
        for j, word in enumerate(title):
            label(axes, x, TOP + 0.38 * j, word, size=8, align="left", bold=j == 0)
        _mosaic(axes, x, TOP + 1.65, array, width - 0.55, color, reached)
        label(axes, x, HEIGHT - 0.55, _shape(array), size=8, align="left", color=MUTED)
        count = int(reached.sum())
        words = "the number" if i == len(groups) - 1 else f"{count:,} of {reached.size:,}"
        label(axes, x, HEIGHT - 0.2, words, size=8, align="left", color=color, bold=True)
    seen = ", ".join(f"{int(r.sum())} of {r.size}" for _, _, r in groups[:-1])
    return f"on the way the number depends on {seen} values of the input and of what each layer made."


def _groups(ride):
    """Return the input, and each layer with weights and what follows it: words, values, what is reached."""
    groups = [(["input"], ride.z, ride.reached)]
    for stage in ride.path:
        word = type(stage.layer).__name__
        word = {"ConvTranspose2d": "Transposed"}.get(word, word)
        if isinstance(stage.layer, (Dense, Conv2d, ConvTranspose2d)) or len(groups) == 1:
            groups.append(([word], stage.output, stage.reached))
        else:
            groups[-1] = (groups[-1][0] + [word] * (word != "Dropout"), stage.output, stage.reached)
    return [(words[:4], array, reached) for words, array, reached in groups]


def _shape(array):
    return "×".join(map(str, array.shape[1:]))


def _mosaic(axes, x, y, array, width, color, reached=None, tall=2.9):
    """Draw a vector as a block of cells, images as tiles; return (places of tiles, size of a cell)."""
    values = array[0]
    if values.ndim == 1:
        values, marks = values[:MOST], None if reached is None else reached[0][:MOST]
        across = math.ceil(math.sqrt(len(values) * width / tall))
        rows = -(-len(values) // across)
        size = min(width / across, tall / rows, 0.55)
        padded = np.zeros(rows * across)
        padded[: len(values)] = values
        shades(axes, x, y, padded.reshape(rows, across), size=size)
        if marks is not None and not marks.all():
            for k in np.flatnonzero(marks)[:64]:
                outline(axes, x + k % across * size, y + k // across * size, size, size, color)
        return size
    tiles = values[: max(1, MOST // values[0].size)]
    across = math.ceil(math.sqrt(len(tiles)))
    rows = -(-len(tiles) // across)
    gap = 0.08
    size = min(
        (width - gap * (across - 1)) / (across * values.shape[2]),
        (tall - gap * (rows - 1)) / (rows * values.shape[1]),
    )
    limit = np.abs(tiles).max() or 1.0
    for k, tile in enumerate(tiles):
        left = x + k % across * (size * values.shape[2] + gap)
        top = y + k // across * (size * values.shape[1] + gap)
        shades(axes, left, top, tile, size=size, limit=limit)
        if reached is not None and reached[0, k].any() and not reached[0, k].all():
            lines, columns = np.nonzero(reached[0, k])
            height, breadth = np.ptp(lines) + 1, np.ptp(columns) + 1
            corner = left + columns.min() * size, top + lines.min() * size
            outline(axes, *corner, breadth * size, height * size, color)
    return size


def layer(axes, ride, color):
    """Draw floor 5: what the last layer sees, and what it makes of it; return it in words."""
    here = ride.layer
    kind = type(here.layer).__name__
    label(axes, 0.4, TOP, f"input of {kind}", size=8.5, align="left", bold=True)
    _mosaic(axes, 0.4, TOP + 0.4, here.input, 4.6, color, here.sees, tall=3.7)
    count, alive = int(here.sees.sum()), int(np.count_nonzero(here.input[here.sees]))
    said = f"it sees {count} of {here.input.size} numbers, {alive} of them not 0"
    label(axes, 0.4, HEIGHT - 0.7, said, size=8.5, align="left")
    x = 5.6
    if here.input.ndim == 4 and count:
        channel = int(ride.op.inputs[np.abs(ride.op.products).argmax()][1])
        lines, columns = np.nonzero(here.sees[0, channel])
        patch = here.input[0, channel, lines.min() : lines.max() + 1, columns.min() : columns.max() + 1]
        label(axes, x, TOP, f"channel {channel}, what is seen", size=8.5, align="left", bold=True)
        size = min(1.0, 5.0 / max(patch.shape))
        rows = [[number(v, 2) for v in row] for row in patch]
        fills = [[color] * patch.shape[1]] * len(patch)
        matrix(axes, x, TOP + 0.4, rows, size=size, fills=fills, text_size=8)
    else:
        label(axes, x, TOP, "the first of them", size=8.5, align="left", bold=True)
        rows = here.input.reshape(-1)[:20]
        rows = [[number(v, 2) for v in row] for row in rows[: len(rows) // 4 * 4].reshape(-1, 4)]
        matrix(axes, x, TOP + 0.4, rows, size=0.72, fills=[[color] * 4] * len(rows), text_size=8)
    chain = number(here.number, 5)
    for layer, value in here.after:
        chain += f"  →  {type(layer).__name__}  →  {number(value, 5)}"
    label(axes, 0.4, HEIGHT - 0.25, f"they become {chain}", size=9, align="left", bold=True)
    return f"a {kind} layer: {said}; they become {chain}."
