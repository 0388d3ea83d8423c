"""Where a kernel can stand: the image with its border of zeros, the places of the kernel, the outputs."""

from __future__ import annotations

from matplotlib.patches import Rectangle

from minidl.instruments.drawing import box, canvas, frame, label, number
from minidl.instruments.style import LAYER, MODEL, MUTED, RULE, SHADE, describe, drawing


@drawing
def draw(size: int, kernel: int, stride: int, padding: int, most: int | None = None):
    """Return the padded image with the kernel at its first and last place, and the size of the output.

    Parameters
    ----------
    size, kernel, stride, padding : int
        In pixels: side of the image, side of the kernel, step, zeros added on every side.
    most : int, optional
        The largest padding in the same series of drawings, so that the image stays where it is.
    """
    most = padding if most is None else most
    outputs = (size + 2 * padding - kernel) // stride + 1
    left_over = (size + 2 * padding - kernel) % stride
    full = size + 2 * most
    figure, axes = canvas(full + 8.4, full + 3.4, unit=0.26)
    x = y = 0.6
    outer = x + most - padding, size + 2 * padding
    axes.add_patch(Rectangle((outer[0], outer[0]), outer[1], outer[1], facecolor=SHADE, linewidth=0))
    for i in range(outer[1] + 1):
        for ends in (
            ([outer[0] + i] * 2, [outer[0], sum(outer)]),
            ([outer[0], sum(outer)], [outer[0] + i] * 2),
        ):
            axes.plot(*ends, color=RULE, linewidth=0.8)
    box(axes, x + most, y + most, size, size)
    for i in range(padding):
        for j in range(size + 2 * padding):
            label(axes, outer[0] + j + 0.5, outer[0] + i + 0.5, 0, size=8, color=MUTED)
            label(axes, outer[0] + j + 0.5, sum(outer) - i - 0.5, 0, size=8, color=MUTED)
    for i in range(padding, size + padding):
        for j in range(padding):
            label(axes, outer[0] + j + 0.5, outer[0] + i + 0.5, 0, size=8, color=MUTED)
            label(axes, sum(outer) - j - 0.5, outer[0] + i + 0.5, 0, size=8, color=MUTED)
    middles = [outer[0] + kernel / 2 + stride * i for i in range(outputs)]
    axes.plot(
        [m for m in middles for _ in middles],
        middles * outputs,
        "o",
        color=LAYER,
        markersize=4.5,
        linestyle="",
    )
    first, last = outer[0], outer[0] + stride * (outputs - 1)
    frame(axes, first, first, kernel, kernel, color=LAYER)
    frame(axes, last, last, kernel, kernel, color=LAYER, dashed=True)

    right = x + full + 0.9
    label(axes, right, y + 0.3, f"output {outputs} × {outputs}", align="left", bold=True, size=10.5)
    for i in range(outputs):
        for j in range(outputs):
            box(axes, right + 0.8 * j, y + 1.1 + 0.8 * i, 0.8, 0.8, fill=MODEL, strength=0.35)
    exact = (size + 2 * padding - kernel) / stride + 1
    sum_ = f"({size} + 2·{padding} − {kernel}) / {stride} + 1 = {number(exact)}"
    sum_ += f", rounded down {outputs}" if left_over else ""
    label(axes, x, full + 1.7, sum_, align="left", size=11)
    note = f"left over on the right and below: {left_over}" if left_over else "it fits exactly"
    label(axes, x, full + 2.8, note, align="left", size=10, color=MUTED)
    return describe(
        figure,
        f"Image {size} by {size}, kernel {kernel} by {kernel}, stride {stride}, padding {padding}: "
        f"the output is {outputs} by {outputs}. {sum_}; {note}.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(8, 5, 2, 2))
