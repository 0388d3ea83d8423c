"""The elevator: one number of a network on each of the seven floors, drawn below the seven floors."""

from __future__ import annotations

import html
import math

import ipywidgets
import numpy as np

from minidl.instruments.drawing import box, canvas, label, matrix, number, shades
from minidl.instruments.elevator import ride
from minidl.instruments.style import INK, LAYERS, MUTED, RULE, SHADE, describe, drawing
from minidl.instruments.widgets import frames, picture
from minidl.layers import Conv2d, ConvTranspose2d, Dense

WIDTH, HEIGHT = 11.2, 9.6
FLOORS = tuple(LAYERS)  # 7 … 1
TOP = 4.05  # where the picture of a floor begins
MOST = 400  # numbers of one array that are drawn
ROW = 0.42  # height of a floor in the stack


@drawing
def draw(ride, floor: int):
    """Return one floor of a ride.

    Parameters
    ----------
    ride : minidl.instruments.elevator.Ride
    floor : int
        From 7, the sample, to 1, the addresses.

    Raises
    ------
    ValueError
        If there is no such floor.
    """
    if floor not in LAYERS:
        raise ValueError(f"floor must be from 7 to 1, got {floor!r}")
    figure, axes = canvas(WIDTH, HEIGHT, unit=0.5)
    for row, at in enumerate(FLOORS):
        _floor(axes, ride, at, 0.15 + row * (ROW + 0.06), lit=at == floor)
    says = _PICTURES[floor](figure, axes, ride, LAYERS[floor][1])
    name = LAYERS[floor][0]
    return describe(figure, f"Floor {floor}, {name}, of the number at {place(ride)}: {says}")


def place(ride) -> str:
    """Return where the number stands, in words: "pixel (3, 4)", or "class 7"."""
    index = ride.pixel[1:]
    if len(index) == 1:
        return f"class {index[0]}"
    index = index[1:] if ride.path[-1].output.shape[1] == 1 else index
    return f"pixel ({', '.join(map(str, index))})"


def _floor(axes, ride, floor, y, lit):
    """One row of the stack, as `figures.stack` has it: its colour, its name, and its number."""
    name, color = LAYERS[floor]
    box(axes, 0.2, y, 10.8, ROW, fill=SHADE, strength=1.0, edge=color if lit else RULE)
    if lit:
        box(axes, 0.2, y, 10.8, ROW, fill=color, strength=0.16)
        _mark(axes, 0.2, y, 10.8, ROW, color)
    box(axes, 0.2, y, 0.2, ROW, fill=color, strength=1.0, edge=color)
    middle = y + ROW / 2
    label(axes, 0.62, middle, floor, size=8.5, align="left", bold=True)
    label(axes, 0.98, middle, name, size=8.5, align="left", bold=lit)
    label(axes, 2.75, middle, _subject(ride, floor), size=8, align="left", color=INK if lit else MUTED)
    agrees = all(check.agrees for check in ride.checks if check.floors[1] == floor)
    value = f"{ride.numbers[floor]:.6f}".replace("-", "−")
    sign = "" if floor == 7 else " =" if agrees else " ≠"
    label(axes, 10.85, middle, value + sign, size=8.5, align="right", bold=lit)


def _mark(axes, x, y, width, height, color):
    """Draw a strong outline."""
    xs, ys = (x, x + width, x + width, x, x), (y, y, y + height, y + height, y)
    axes.plot(xs, ys, color=color, linewidth=1.6, solid_joinstyle="miter")


def _count(number, noun):
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _subject(ride, floor):
    dot, work = len(ride.op.row), ride.kernel
    activations = " and ".join(type(layer).__name__ for layer, _ in ride.layer.after)
    scaled = ride.task.kind in ("gan", "began")
    return {
        7: f"brightness of {place(ride)}" if scaled else f"score of {place(ride)}",
        6: "the network's output: twice that, less 1" if scaled else "the network's output",
        5: f"before the {activations}" if activations else f"of the layer {type(ride.layer.layer).__name__}",
        4: f"made by the node {next(node.op for node in ride.nodes if node.makes_it)}",
        3: f"a sum of {dot} products" + " and a bias" * (ride.op.bias != 0),
        2: f"thread {work.lane + 32 * work.warp} of block {_block(work)}",
        1: f"the bytes at {len(work.reads)} addresses",
    }[floor]


def _block(work):
    return work.block.x + work.grid.x * (work.block.y + work.grid.y * work.block.z)


# ------------------------------------------------------------------------------------------------- the floors


def _task(figure, axes, ride, color):
    task = ride.task
    shown = task.shown if task.shown.ndim == 2 else task.shown[ride.pixel[1] if len(ride.pixel) == 4 else 0]
    side = 4.7
    size = side / max(shown.shape)
    shades(axes, 0.4, TOP + 0.4, shown, size=size, limit=1)
    where = place(ride)
    x = 6.0
    if task.kind == "classes":
        label(axes, 0.4, TOP + 0.1, "the picture that was shown", size=8.5, align="left", bold=True)
        label(axes, x, TOP + 0.1, "the scores of all classes", size=8.5, align="left", bold=True)
        most = np.abs(task.scores).max() or 1.0
        step = side / len(task.scores)
        for k, score in enumerate(task.scores):
            y = TOP + 0.4 + k * step
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
    _mark(axes, 0.4 + column * size, TOP + 0.4 + row * size, size, size, color)
    label(axes, 0.4, TOP + 0.1, "the sample", size=8.5, align="left", bold=True)
    lines = [f"row {row}, column {column}", f"brightness {task.number:.4f}", "from 0, paper, to 1, ink"]
    if task.kind == "gan":
        real = task.said["probability"]
        lines += ["", "the discriminator says:", f"{real:.1%} likely to be real"]
    elif task.kind == "began":
        lines += ["", "the discriminator copies it with", f"a mean error of {task.said['error']:.3f}"]
    for i, line in enumerate(lines):
        label(axes, x, TOP + 0.9 + 0.5 * i, line, size=9.5, align="left", bold=i == 1)
    return f"{where} of the sample has brightness {task.number:.4f}; " + " ".join(lines[4:]) + "."


def _model(figure, axes, ride, color):
    groups = _groups(ride)
    width = 10.6 / len(groups)
    for i, (title, array, reached) in enumerate(groups):
        x = 0.4 + i * width
        for j, word in enumerate(title):
            label(axes, x, TOP + 0.1 + 0.38 * j, word, size=8, align="left", bold=j == 0)
        _mosaic(axes, x, TOP + 1.75, array, width - 0.55, color, reached)
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
                _mark(axes, x + k % across * size, y + k // across * size, size, size, color)
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
            _mark(axes, *corner, breadth * size, height * size, color)
    return size


def _layer(figure, axes, ride, color):
    here = ride.layer
    kind = type(here.layer).__name__
    label(axes, 0.4, TOP + 0.1, f"input of {kind}", size=8.5, align="left", bold=True)
    _mosaic(axes, 0.4, TOP + 0.5, here.input, 4.6, color, here.sees, tall=3.7)
    count, alive = int(here.sees.sum()), int(np.count_nonzero(here.input[here.sees]))
    said = f"it sees {count} of {here.input.size} numbers, {alive} of them not 0"
    label(axes, 0.4, HEIGHT - 0.7, said, size=8.5, align="left")
    x = 5.6
    if here.input.ndim == 4 and count:
        channel = int(ride.op.inputs[np.abs(ride.op.products).argmax()][1])
        lines, columns = np.nonzero(here.sees[0, channel])
        patch = here.input[0, channel, lines.min() : lines.max() + 1, columns.min() : columns.max() + 1]
        label(axes, x, TOP + 0.1, f"channel {channel}, what is seen", size=8.5, align="left", bold=True)
        size = min(1.0, 5.0 / max(patch.shape))
        rows = [[number(v, 2) for v in row] for row in patch]
        fills = [[color] * patch.shape[1]] * len(patch)
        matrix(axes, x, TOP + 0.5, rows, size=size, fills=fills, text_size=8)
    else:
        label(axes, x, TOP + 0.1, "the first of them", size=8.5, align="left", bold=True)
        rows = here.input.reshape(-1)[:20]
        rows = [[number(v, 2) for v in row] for row in rows[: len(rows) // 4 * 4].reshape(-1, 4)]
        matrix(axes, x, TOP + 0.5, rows, size=0.72, fills=[[color] * 4] * len(rows), text_size=8)
    chain = number(here.number, 5)
    for layer, value in here.after:
        chain += f"  →  {type(layer).__name__}  →  {number(value, 5)}"
    label(axes, 0.4, HEIGHT - 0.25, f"they become {chain}", size=9, align="left", bold=True)
    return f"a {kind} layer: {said}; they become {chain}."


def _graph(figure, axes, ride, color):
    columns = (
        (0.45, "node", "left"),
        (6.1, "result", "right"),
        (8.0, "bytes", "right"),
        (9.6, "µs", "right"),
    )
    for x, text, align in columns:
        label(axes, x, TOP + 0.1, text, size=8.5, align=align, bold=True)
    longest = max(node.seconds for node in ride.nodes)
    step = min(0.46, 4.7 / len(ride.nodes))
    for i, node in enumerate(ride.nodes):
        y = TOP + 0.4 + i * step
        if node.makes_it:
            box(axes, 0.3, y, 10.6, step, fill=color, edge=color)
        middle, bold = y + step / 2, node.makes_it
        texts = (node.op, str(node.shape), f"{node.nbytes:,}", f"{node.seconds * 1e6:.1f}")
        for (x, _, align), text in zip(columns, texts, strict=True):
            label(axes, x, middle, text, size=8.5, align=align, bold=bold)
        box(axes, 9.8, y + 0.1, node.seconds / longest, step - 0.2, fill=color, strength=0.8, edge=color)
    total = sum(node.seconds for node in ride.nodes)
    nbytes = sum(node.nbytes for node in ride.nodes)
    says = f"{len(ride.nodes)} nodes, {nbytes:,} bytes read and written, {total * 1e6:.1f} µs in all"
    label(axes, 0.4, HEIGHT - 0.25, says, size=9, align="left")
    return says + "."


def _op(figure, axes, ride, color):
    dot = ride.op
    products = dot.products
    order = np.argsort(-np.abs(products))[:8]
    label(axes, 0.4, TOP + 0.1, "input", size=8.5, align="left", bold=True)
    label(axes, 2.9, TOP + 0.1, "× weight", size=8.5, align="left", bold=True)
    label(axes, 5.9, TOP + 0.1, "product", size=8.5, align="right", bold=True)
    for i, k in enumerate(order):
        y = TOP + 0.55 + 0.44 * i
        where = "[" + ", ".join(map(str, dot.inputs[k][1:])) + "]" if dot.inputs[k][0] >= 0 else "padding"
        label(axes, 0.4, y, where, size=8, align="left", color=MUTED)
        label(axes, 2.65, y, number(float(dot.row[k])), size=8.5, align="right")
        label(axes, 2.9, y, f"× {number(float(dot.column[k]))}", size=8.5, align="left")
        label(axes, 5.9, y, number(float(products[k])), size=8.5, align="right", bold=True)
    y = TOP + 0.55 + 0.44 * len(order)
    rest = products.sum() - products[order].sum()
    label(axes, 0.4, y, f"{len(products) - len(order)} more", size=8.5, align="left")
    label(axes, 5.9, y, number(float(rest)), size=8.5, align="right", bold=True)
    label(axes, 0.4, y + 0.44, "bias", size=8.5, align="left")
    label(axes, 5.9, y + 0.44, number(dot.bias), size=8.5, align="right", bold=True)
    # The sum as it grows, product after product.
    left, top, width, height = 6.6, TOP + 0.4, 4.2, 4.0
    running = np.concatenate([[0.0], np.cumsum(products), [dot.total]])
    low, high = min(running.min(), 0.0), max(running.max(), 0.0)
    span = (high - low) or 1.0
    xs = left + width * np.linspace(0, 1, len(running))
    ys = top + height * (high - running) / span
    axes.plot((left, left + width), (top + height * high / span,) * 2, color=RULE, linewidth=0.9)
    axes.plot(xs, ys, color=color, linewidth=1.2, drawstyle="steps-post")
    axes.plot(xs[-1], ys[-1], "o", color=color, markersize=5)
    label(axes, left, TOP + 0.1, "the sum as it grows", size=8.5, align="left", bold=True)
    label(axes, left, top + height + 0.3, f"from 0 to {number(dot.total, 6)}", size=8.5, align="left")
    words = f"{len(products)} products" + " and a bias" * (dot.bias != 0)
    says = f"{words} add up to {number(dot.total, 6)}"
    label(axes, 0.4, HEIGHT - 0.25, says, size=9, align="left", bold=True)
    return says + "."


def _kernel(figure, axes, ride, color):
    work = ride.kernel
    warps = -(-work.threads.size // 32)
    step = 0.29
    label(
        axes,
        0.4,
        TOP + 0.1,
        f"block {_block(work)}: {warps} warps of 32 threads",
        size=8.5,
        align="left",
        bold=True,
    )
    box(axes, 0.4, TOP + 0.4 + work.warp * step, 32 * step, step, fill=color, strength=0.16)
    _mark(axes, 0.4, TOP + 0.4 + work.warp * step, 32 * step, step, color)
    for w in range(1, warps):
        axes.plot((0.4, 0.4 + 32 * step), (TOP + 0.4 + w * step,) * 2, color=RULE, linewidth=0.6)
    for lane in range(1, 32):
        axes.plot((0.4 + lane * step,) * 2, (TOP + 0.4, TOP + 0.4 + warps * step), color=RULE, linewidth=0.6)
    box(axes, 0.4, TOP + 0.4, 32 * step, warps * step, edge=MUTED)
    box(axes, 0.4 + work.lane * step, TOP + 0.4 + work.warp * step, step, step, fill=color, strength=0.9)
    y = TOP + 0.72 + warps * step
    who = f"thread ({work.thread.x}, {work.thread.y}) of block ({work.block.x}, {work.block.y})"
    label(axes, 0.4, y, f"{who} of {work.kernel}", size=8.5, align="left", bold=True)
    shown = [("reads", access) for access in work.reads[:3]]
    shown += [(f"… {len(work.reads) - 4} more reads …", None)] * (len(work.reads) > 4)
    shown += [("reads", access) for access in work.reads[3:][-1:]] + [("writes", work.write)]
    for i, (verb, access) in enumerate(shown):
        at = y + 0.38 + 0.36 * i
        label(axes, 0.4, at, verb, size=8, align="left", color=MUTED)
        if access:
            name, index, value, line = access
            index = index if isinstance(index, tuple) else (index,)
            label(axes, 1.9, at, f"{name}[{', '.join(map(str, index))}]", size=8.5, align="left")
            label(axes, 7.0, at, number(value, 5), size=8.5, align="right", bold=True)
            label(axes, 7.5, at, f"line {line}", size=8, align="left", color=MUTED)
    later = f"; another kernel adds the bias, {number(work.bias, 4)}" if work.bias else ""
    return (
        f"{who} of {work.kernel} makes {len(work.reads)} reads and writes {number(work.write[2], 5)}{later}."
    )


def _hardware(figure, axes, ride, color):
    memory = ride.hardware
    by_name: dict[str, list] = {}
    for name, _, offset, address in memory.places:
        by_name.setdefault(name, []).append((offset, address))
    names = sorted((n for n in by_name if n != "bias"), key=lambda n: -len(by_name[n]))
    item = ride.op.row.itemsize
    cell, y = 0.265 * item / 4, TOP + 0.1
    for name in names:
        places = by_name[name]
        lines = list(dict.fromkeys(offset // 128 for offset, _ in places))
        touched = {offset for offset, _ in places}
        start = places[0][1] - places[0][0]
        words = f"{name}, from address {start:#x}: {_count(len(touched), 'number')} in "
        words += f"{_count(len(lines), 'line')} of 128 bytes"
        label(axes, 0.4, y, words, size=8.5, align="left", bold=True)
        for i, line in enumerate(lines[:2]):
            top = y + 0.28 + 0.42 * i
            label(axes, 1.95, top + 0.15, f"+{line * 128:,}", size=8, align="right", color=MUTED)
            used = [[line * 128 + k * item in touched for k in range(128 // item)]]
            shades(axes, 2.15, top, used, size=cell, strength=0.85, positive=color)
            for sector in range(4):
                box(axes, 2.15 + sector * 8 * 4 / item * cell, top, 8 * 4 / item * cell, cell)
        more = len(lines) - 2
        y += 0.42 * min(len(lines), 2) + 0.42
        if more > 0:
            label(axes, 2.15, y - 0.02, f"… {_count(more, 'more line')}", size=8, align="left", color=MUTED)
            y += 0.3
        y += 0.08
    moved = f"{memory.asked:,} bytes wanted, {memory.moved:,} moved: {memory.sectors} sectors of 32 bytes"
    time = f"{memory.seconds * 1e9:.0f} ns at the {memory.bandwidth / 1e9:.0f} GB/s that this machine copies"
    share = memory.warp_asked / memory.warp_moved
    warp = f"its warp together: {memory.warp_moved:,} bytes moved, {share:.0%} of them wanted"
    for i, line in enumerate((moved, time, warp)):
        label(axes, 0.4, HEIGHT - 1.0 + 0.38 * i, line, size=8.5, align="left", bold=i == 0)
    return f"{moved}; {time}; {warp}."


_PICTURES = {7: _task, 6: _model, 5: _layer, 4: _graph, 3: _op, 2: _kernel, 1: _hardware}


def elevator(rides, start: int = 0):
    """Return the floors of some rides behind two sliders: which number, and which floor.

    Parameters
    ----------
    rides : list of Ride
    start : int
        The ride shown first, on floor 7.
    """
    rides = list(rides)
    figures = [[draw(ride, floor) for floor in FLOORS] for ride in rides]
    names = ([place(ride) for ride in rides], [f"{floor} {LAYERS[floor][0]}" for floor in FLOORS])
    return frames(figures, ("number", "floor"), names=names, start=start * len(FLOORS))


def live(model, z):
    """Choose any pixel of a drawing (or any class) and a floor, and ride: for a running kernel.

    On a static page it shows the first ride, and its controls rest.

    Parameters
    ----------
    model : Layer
    z : array_like
        As for `minidl.instruments.elevator.ride`.

    Returns
    -------
    ipywidgets.VBox
    """
    first = _first(model, z)
    sizes = first.path[-1].output.shape[1:]
    names = {1: ("class",), 3: ("channel", "row", "column")}[len(sizes)]
    if len(sizes) == 3 and sizes[0] == 1:
        names, sizes = names[1:], sizes[1:]
    places = [
        ipywidgets.Dropdown(description=name, options=range(size), value=0)
        for name, size in zip(names, sizes, strict=True)
    ]
    floor = ipywidgets.Dropdown(description="floor", options=range(7, 0, -1), value=7)
    says, shown = ipywidgets.HTML(), ipywidgets.HTML()
    rides = {(0,) * len(places): first}

    def show(_=None):
        key = tuple(place.value for place in places)
        try:
            if key not in rides:
                rides[key] = ride(model, z, key)
            shown.value = picture(draw(rides[key], floor.value))._repr_html_()
            worst = max(check.error for check in rides[key].checks)
            says.value = (
                f"The ride took {rides[key].seconds:.2f} s; the floors differ by {worst:.0e} at most."
            )
        except Exception as problem:
            says.value = f"It went wrong: {html.escape(str(problem))}"

    for control in (*places, floor):
        control.observe(show, "value")
    show()
    hint = ipywidgets.HTML(
        "<em>These controls run the network and the tracer on the machine that runs this page: they work in "
        "Colab and Jupyter, and rest on the static page.</em>"
    )
    hint.add_class("osi-screen")  # left out on paper
    return ipywidgets.VBox([hint, *places, floor, says, shown])


def _first(model, z):
    """Ride with the first number, whatever the output's shape."""
    for pixel in ((0, 0), 0):
        try:
            return ride(model, z, pixel)
        except ValueError as error:
            if not str(error).startswith("pixel must be"):
                raise
    return ride(model, z, (0, 0, 0))


def example():
    """Return a ride with a pixel of the GAN that has learned to draw digits."""
    from minidl.models import gan

    model = gan.pretrained()
    return ride(model, model.noise(1, np.random.default_rng(0)), (3, 4))


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(example(), 3))
