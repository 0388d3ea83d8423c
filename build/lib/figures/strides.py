"""Two kernels of one size cross the same image, one a pixel at a time, one in steps of two."""

from __future__ import annotations

from minidl.instruments.drawing import box, canvas, frame, label, shades
from minidl.instruments.style import INK, KERNEL, LAYER, MODEL, RULE, describe, drawing


@drawing
def draw(size: int, kernel: int, step: int):
    """Return an image of `size` × `size` pixels twice, with stride 1 and stride 2, after `step` + 1 stops."""
    figure, axes = canvas(2 * size + 2.6, size + 8.2, unit=0.265)
    says = []
    for stride, x, color in ((1, 0.5, LAYER), (2, size + 2.1, KERNEL)):
        side = (size - kernel) // stride + 1
        stop = min(step, side * side - 1)
        row, column = divmod(stop, side)
        label(axes, x, 0.7, f"stride {stride}", align="left", bold=True, color=INK)
        _grid(axes, x, 1.6, size)
        shades(
            axes,
            x + stride * column,
            1.6 + stride * row,
            [[1] * kernel] * kernel,
            strength=0.35,
            positive=color,
        )
        frame(axes, x + stride * column, 1.6 + stride * row, kernel, kernel, color=color)
        below = size + 2.5
        shades(
            axes, x, below, [[float(i * side + j <= stop) for j in range(side)] for i in range(side)],
            strength=0.45, positive=MODEL,
        )  # fmt: skip
        _grid(axes, x, below, side)
        done = "all done" if step >= side * side - 1 else f"output {stop + 1}"
        at = (x + side + 0.5, below + side / 2 - 0.6)
        label(axes, *at, done, align="left", size=10)
        label(axes, at[0], at[1] + 1.3, f"of {side}·{side} = {side * side}", align="left", size=10)
        says.append(f"stride {stride}: {stop + 1} of {side * side} outputs")
    return describe(figure, f"A {kernel} by {kernel} kernel on a {size} by {size} image. {'; '.join(says)}.")


def _grid(axes, x, y, size):
    for i in range(1, size):
        axes.plot([x + i, x + i], [y, y + size], color=RULE, linewidth=0.8)
        axes.plot([x, x + size], [y + i, y + i], color=RULE, linewidth=0.8)
    box(axes, x, y, size, size)


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(9, 5, 3))
