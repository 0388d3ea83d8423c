"""One small graph, forward value by value and backward gradient by gradient, in the right order or not."""

from __future__ import annotations

from minidl.graph import Tensor
from minidl.graph.drawing import moments
from minidl.instruments.drawing import arrow, box, bracketed, canvas, label, number
from minidl.instruments.style import GRAPH, INK, MODEL, MUTED, OP, SHADE, describe, drawing

FORWARD = ("h", "z", "y", "e", "loss")
ORDERS = {"right": ("loss", "e", "y", "z", "h"), "h too early": ("loss", "e", "y", "h", "z")}
STOPS = [f"forward {i}" for i in range(1, 6)] + [f"backward {i}" for i in range(1, 6)]

_MADE_FROM = {"h": "wx", "z": "hv", "y": "hz", "e": "y", "loss": "e"}
_FORMULAS = {"h": "h = w·x", "z": "z = h·v", "y": "y = h + z", "e": "e = y − 1", "loss": "loss = e²"}
_PLACES = {"w": (0.3, 1.6), "x": (0.3, 4.4), "h": (2.7, 2.0), "v": (2.7, 5.0), "z": (5.1, 3.9),
           "y": (7.2, 2.0), "e": (9.3, 2.0), "loss": (11.4, 2.0)}  # fmt: skip
_WIDTH, _HEIGHT = 1.6, 0.95


@drawing
def draw(w: float, x: float, v: float, stop: int, order: str = "right"):
    """Return the graph of h = w·x, z = h·v, y = h + z, e = y − 1, loss = e² at one of the ten `STOPS`.

    Parameters
    ----------
    w, x, v : float
        The leaves, all of which want a gradient.
    stop : int
        0 to 4: one more value is known; 5 to 9: one more step has passed its gradient on.
    order : {"right", "h too early"}
        In which order the steps go back.
    """
    values, gradients, step = _at(w, x, v, stop, order)
    figure, axes = canvas(13.3, 8.1, unit=0.48)
    label(axes, 0.3, 0.5, "value in the box, gradient below it", align="left", size=10, color=MUTED)
    back = stop >= len(FORWARD)
    for name, parents in _MADE_FROM.items():
        for parent in parents:
            busy = name == step
            start, end = _edge(parent, right=True), _edge(name, right=False)
            color = (MODEL if back else OP) if busy else MUTED
            arrow(
                axes,
                *((end, start) if back and busy else (start, end)),
                color=color,
                width=2.0 if busy else 0.9,
            )
    for name, (left, top) in _PLACES.items():
        fill = GRAPH if name == step else SHADE
        text = number(values[name]) if name in values else ""
        box(axes, left, top, _WIDTH, _HEIGHT, text, fill=fill, strength=0.5 if name == step else 1,
            edge=INK if name == step else MUTED)  # fmt: skip
        label(axes, left + _WIDTH / 2, top - 0.32, _FORMULAS.get(name, name), size=10)
        if name in gradients:
            label(axes, left + _WIDTH / 2, top + _HEIGHT + 0.36, f"∂ = {number(gradients[name])}", size=10,
                  color=MODEL, bold=True)  # fmt: skip
    says = _forward_words(step, values) if not back else _backward_words(step, values, gradients[step], order)
    for i, line in enumerate(says):
        label(axes, 0.3, 7.0 + 0.65 * i, line, align="left", size=10.5)
    known = ", ".join(f"{name} {number(value)}" for name, value in gradients.items())
    return describe(
        figure, f"{STOPS[stop]}, order {order}: {' '.join(says)} Gradients so far: {known or 'none'}."
    )


def gradients(w, x, v, order="right"):
    """Return the gradients of the leaves w, x and v that the way back delivers in this order."""
    _, found, _ = _at(w, x, v, len(STOPS) - 1, order)
    return {name: found[name] for name in "wxv"}


def _at(w, x, v, stop, order):
    """Return the values and gradients known at a stop, and the name of the step that is busy."""
    made = {
        name: Tensor(float(value), requires_grad=True) for name, value in zip("wxv", (w, x, v), strict=True)
    }
    made["h"] = made["w"] * made["x"]
    made["z"] = made["h"] * made["v"]
    made["y"] = made["h"] + made["z"]
    made["e"] = made["y"] - 1.0
    made["loss"] = made["e"] ** 2
    values = {name: tensor.item() for name, tensor in made.items()}
    if stop < len(FORWARD):
        known = (*"wxv", *FORWARD[: stop + 1])
        return {name: values[name] for name in known}, {}, FORWARD[stop]
    names, turn = {tensor.step: name for name, tensor in made.items()}, stop - len(FORWARD)
    stops = moments(made["loss"], [made[name].step for name in ORDERS[order]])[: turn + 1]
    found = {names[moment.step]: moment.gradient.item() for moment in stops}  # what each passed on
    for step, gradient in stops[-1].waiting.items():
        found.setdefault(names[step], gradient.item())
    return values, found, ORDERS[order][turn]


def _edge(name, right):
    left, top = _PLACES[name]
    return (left + _WIDTH if right else left), top + _HEIGHT / 2


def _forward_words(step, values):
    formula = {"h": "{w} · {x}", "z": "{h} · {v}", "y": "{h} + {z}", "e": "{y} − 1", "loss": "{e}²"}[step]
    first, *rest = _MADE_FROM[step]
    shown = {first: number(values[first])} | {name: bracketed(values[name]) for name in rest}
    return [f"{step} = {formula.format(**shown)} = {number(values[step])}."]


def _backward_words(step, values, gradient, order):
    slopes = {
        "loss": {"e": 2 * values["e"]},
        "e": {"y": 1},
        "y": {"h": 1, "z": 1},
        "z": {"h": values["v"], "v": values["h"]},
        "h": {"w": values["x"], "x": values["w"]},
    }[step]
    parts = [
        f"to {p}: {number(gradient)} · {bracketed(s)} = {number(gradient * s)}" for p, s in slopes.items()
    ]
    lines = [f"{step} passes on {number(gradient)}, times its slope: {'; '.join(parts)}."]
    if step == "z" and order == "right":
        late = bracketed(gradient * values["v"])
        lines.append(
            f"h has now {number(gradient)} + {late} = {number(gradient * (1 + values['v']))}, complete."
        )
    elif step == "z":
        lines.append(f"The {number(gradient * values['v'])} comes too late: h has had its turn.")
    return lines


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(2, 3, -0.5, 8))
