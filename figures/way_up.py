"""The way back up: one weight's gradient as a sum over positions, where it comes from, what it changes."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import box, bracketed, canvas, label, number, shades
from minidl.instruments.style import GRAPH, LAYER, MODEL, MUTED, OP, TASK, describe, drawing

MOST = 9  # rows of a table


@drawing
def draw(up):
    """Return the way of one weight: floors 4, 3, 5, and 7, from left to right.

    Parameters
    ----------
    up : minidl.instruments.elevator.WayUp
    """
    figure, axes = canvas(11.2, 7.6, unit=0.5)
    # Floor 4: what arrives at each node, from the loss on.
    _title(axes, 0.3, "4 Graph: the way back", GRAPH)
    chain = up.chain if len(up.chain) <= MOST + 2 else [*up.chain[: MOST // 2], None, *up.chain[-MOST // 2 :]]
    for i, entry in enumerate(chain):
        y = 1.15 + 0.4 * i
        if entry is None:
            label(
                axes,
                0.3,
                y,
                f"… {len(up.chain) - len(chain) + 1} more nodes",
                size=8,
                align="left",
                color=MUTED,
            )
            continue
        label(axes, 0.3, y, entry[0], size=8.5, align="left", bold=i == len(chain) - 1)
        label(axes, 3.6, y, number(entry[1], 2), size=8.5, align="right")
    # Floor 3: the sum over positions.
    _title(axes, 4.1, "3 Op: the sum", OP)
    products = up.met.astype(np.float64) * up.arrived
    order = np.argsort(-np.abs(products))[: MOST - 1]
    label(axes, 5.15, 1.15, "input", size=8, align="right", color=MUTED)
    label(axes, 5.35, 1.15, "× gradient", size=8, align="left", color=MUTED)
    for i, k in enumerate(order):
        y = 1.55 + 0.4 * i
        label(axes, 5.15, y, number(float(up.met[k]), 2), size=8.5, align="right")
        label(axes, 5.35, y, f"× {number(float(up.arrived[k]), 2)}", size=8.5, align="left")
    y = 1.55 + 0.4 * len(order)
    if len(products) > len(order):
        label(axes, 4.1, y, f"+ {len(products) - len(order)} more", size=8.5, align="left")
        y += 0.4
    label(axes, 4.1, y, f"= {number(up.gradient)}", size=9, align="left", bold=True)
    # Floor 6: what the update changes.
    _title(axes, 7.6, "6 Model: what changes", MODEL)
    change = up.change[0] if up.change.ndim == 4 else up.change.reshape(1, -1, 1)
    plane = change[int(np.abs(change).sum(axis=(1, 2)).argmax())]
    size = 3.3 / max(plane.shape)
    shades(axes, 7.6, 1.2, plane, size=size)
    count, most = int(np.count_nonzero(up.change)), np.abs(up.change).max()
    label(axes, 7.6, 4.85, f"{count} of {up.change.size} numbers", size=8.5, align="left")
    label(axes, 7.6, 5.25, f"by {number(float(most), 2)} at most", size=8.5, align="left")
    # Floors 5 and 7: the weight, the loss.
    box(axes, 0.3, 5.75, 10.6, 1.6, fill=None)
    where = ", ".join(map(str, up.weight))
    step = f"{number(up.value, 5)} − {number(up.rate)} · {bracketed(up.gradient)} = {number(up.new_value, 5)}"
    _line(axes, 6.1, f"5 Layer: weight [{where}] becomes {step}", LAYER)
    fell = "falls" if up.new_loss < up.loss else "rises" if up.new_loss > up.loss else "stays"
    fell = f"stays at {up.loss:.6f}" if fell == "stays" else f"{fell} from {up.loss:.6f} to {up.new_loss:.6f}"
    loss = f"the loss {fell}"
    _line(axes, 6.55, f"7 Task: {loss}", TASK)
    change = up.new_loss - up.loss
    foretold = f"by {number(change, 3)}; gradient times step foretold {number(up.expected, 3)}"
    label(axes, 0.65, 7.0, foretold, size=8.5, align="left", color=MUTED)
    return describe(
        figure,
        f"Weight [{where}] is used {len(products)} times; its gradient, the sum of as many products, is "
        f"{number(up.gradient)}. Updated, it changes {count} of {up.change.size} numbers, and {loss}.",
    )


def _title(axes, x, text, color):
    box(axes, x, 0.32, 0.14, 0.45, fill=color, strength=1.0, edge=color)
    label(axes, x + 0.28, 0.55, text, size=8.5, align="left", bold=True)


def _line(axes, y, text, color):
    box(axes, 0.42, y - 0.18, 0.14, 0.36, fill=color, strength=1.0, edge=color)
    label(axes, 0.65, y, text, size=8.5, align="left")


def example():
    """Return the way up of a weight of a small network of convolutions."""
    from minidl import layers
    from minidl.instruments.elevator import ride
    from minidl.models import gan

    layers.seed(0)
    model = gan.conv_gan(side=8)
    return ride(model, model.noise(1, np.random.default_rng(0)), (3, 4), bandwidth=1e10).up()


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(example()))
