"""The OSI model of computer networks beside the OSI model of neural networks, floor by floor."""

from __future__ import annotations

from minidl.instruments.drawing import arrow, box, canvas, label
from minidl.instruments.style import LAYERS, MUTED, describe, drawing

# Names from ISO/IEC 7498-1, examples the usual ones (TLS never fitted a single floor well).
NETWORKS = {
    7: ("Application", "HTTP"),
    6: ("Presentation", "encodings, TLS"),
    5: ("Session", "dialogues"),
    4: ("Transport", "TCP"),
    3: ("Network", "IP"),
    2: ("Data link", "Ethernet"),
    1: ("Physical", "cables, radio"),
}

EXAMPLES = {
    7: "draw a digit",
    6: "a GAN",
    5: "dense, convolution",
    4: "nodes and edges",
    3: "im2col, softmax",
    2: "a CUDA function",
    1: "an H200, your laptop",
}


@drawing
def draw():
    """Return the two stacks side by side."""
    figure, axes = canvas(14, 9.4, unit=0.46)
    label(axes, 3, 0.5, "Computer networks", bold=True)
    label(axes, 10.2, 0.5, "Neural networks", bold=True)
    for row, floor in enumerate(range(7, 0, -1)):
        y = 1.0 + row * 1.1
        name, example = NETWORKS[floor]
        box(axes, 0.4, y, 5.2, 1, edge=MUTED)
        label(axes, 0.6, y + 0.5, f"{floor}  {name}", align="left")
        label(axes, 5.4, y + 0.5, example, align="right", size=9.5, color=MUTED)
        title, color = LAYERS[floor]
        box(axes, 6.8, y, 6.8, 1, fill=color, strength=0.22, edge=color)
        label(axes, 7.0, y + 0.5, f"{floor}  {title}", align="left", bold=True)
        label(axes, 13.4, y + 0.5, EXAMPLES[floor], align="right", size=9.5)
    arrow(axes, (6.2, 1.2), (6.2, 8.5))
    label(axes, 7, 9.1, "each floor uses only the one below it", size=10, color=MUTED)
    floors = "; ".join(
        f"{n}: {NETWORKS[n][0]} beside {LAYERS[n][0]} ({EXAMPLES[n]})" for n in range(7, 0, -1)
    )
    return describe(figure, f"Two stacks of seven floors, computer networks and neural networks. {floors}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw())
