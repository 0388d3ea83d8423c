"""A batch and the layers it goes through as a grid, cut among devices by rows, by columns, or both."""

from __future__ import annotations

import itertools

from minidl.instruments.drawing import box, canvas, label
from minidl.instruments.style import MUTED, SERIES, describe, drawing

CUTS = ("one device", "data parallel", "model parallel", "both")


@drawing
def draw(sizes, batch: int, cut: str):
    """Return the grid: a row for each quarter of the batch, a column for each layer, a color per device.

    Parameters
    ----------
    sizes : sequence of int
        Values before, between and after dense layers, which have no other weights than their matrices.
    batch : int
        Examples, a multiple of 4.
    cut : {"one device", "data parallel", "model parallel", "both"}
        "both" halves the batch, and gives every layer of each half a device.
    """
    layers = len(sizes) - 1
    copies, stages = counts(layers, cut)
    figure, axes = canvas(13.0, 8.3, unit=0.48)
    left, top, width, height = 3.1, 1.7, 3.0, 0.95
    for j in range(layers):
        label(axes, left + (j + 0.5) * width, 0.6, f"layer {j + 1}", size=10.5, bold=True)
        label(axes, left + (j + 0.5) * width, 1.25, f"{sizes[j]} × {sizes[j + 1]}", size=10, color=MUTED)
    for i in range(4):
        first = i * batch // 4
        label(
            axes,
            left - 0.2,
            top + (i + 0.5) * height,
            f"{first} to {first + batch // 4 - 1}",
            align="right",
            size=10,
        )
        for j in range(layers):
            device = (i * copies // 4) * stages + (j if stages > 1 else 0)
            box(axes, left + j * width, top + i * height, width, height, f"device {device}",
                fill=SERIES[device], strength=0.3, size=10)  # fmt: skip
    label(axes, 0.2, 1.25, "examples", align="left", size=10, color=MUTED)
    weights, gradients, activations = traffic(sizes, batch, cut)
    lines = [
        f"{cut}: {copies * stages} device{'s' * (copies * stages > 1)}",
        f"weights on the fullest device: {weights:,}",
        f"weight gradients to be summed, in a step: {gradients:,}",
        f"values passed between layers, there and back: {activations:,}",
    ]
    for i, line in enumerate(lines):
        label(axes, 0.2, top + 4 * height + 0.7 + 0.62 * i, line, align="left", size=10.5, bold=i == 0)
    return describe(figure, f"A grid of 4 quarters of a batch by {layers} layers. {'; '.join(lines)}.")


def counts(layers: int, cut: str) -> tuple[int, int]:
    """Return how many copies of the network there are, and on how many devices each is spread."""
    return {
        "one device": (1, 1),
        "data parallel": (4, 1),
        "model parallel": (1, layers),
        "both": (2, layers),
    }[cut]


def traffic(sizes, batch, cut):
    """Return weights on the fullest device, gradients that go into sums, and values that cross devices."""
    matrices = [a * b for a, b in itertools.pairwise(sizes)]
    copies, stages = counts(len(matrices), cut)
    weights = max(matrices) if stages > 1 else sum(matrices)
    gradients = copies * sum(matrices) if copies > 1 else 0
    activations = 2 * batch * sum(sizes[1:-1]) if stages > 1 else 0
    return weights, gradients, activations


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([100, 256, 512, 784], 64, "both"))
