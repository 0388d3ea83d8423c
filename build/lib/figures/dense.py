"""A dense layer as a drawing of its connections, and the same numbers as a matrix product."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Circle

from minidl.instruments.drawing import bracketed, canvas, cells, frame, label, matrix, number
from minidl.instruments.style import KERNEL, LAYER, MODEL, PAPER, RULE, describe, drawing


@drawing
def draw(x, w, b, example: int, output: int):
    """Return one output of the layer being computed: as a node with its connections, as a row times a column.

    Parameters
    ----------
    x : (n, 3) array
        One example a row.
    w : (3, m) array
        One output a column.
    b : (m,) array
        One bias for each output.
    example, output : int
        The row and the column of the output that is picked out.
    """
    x, w, b = (np.asarray(a, dtype=np.float64) for a in (x, w, b))
    y = x @ w + b
    inputs, outputs = w.shape
    figure, axes = canvas(10.8, 11.8, unit=0.48)

    label(axes, 0.3, 0.45, f"example {example}", align="left", bold=True)
    middle = 2.75
    left = [(2.2, middle + 1.45 * (i - (inputs - 1) / 2)) for i in range(inputs)]
    right = [(8.6, middle + 1.9 * (j - (outputs - 1) / 2)) for j in range(outputs)]
    for j in sorted(range(outputs), key=lambda j: j == output):  # the one picked out is drawn on top
        for i in range(inputs):
            lit = j == output
            (x0, y0), (x1, y1) = left[i], right[j]
            axes.plot([x0, x1], [y0, y1], color=LAYER if lit else RULE, linewidth=2 if lit else 1, zorder=0)
            if lit:
                at = 0.42
                axes.text(
                    x0 + at * (x1 - x0), y0 + at * (y1 - y0), number(w[i, j]), fontsize=10, ha="center",
                    va="center", bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2},
                )  # fmt: skip
    for i in range(inputs):
        _node(axes, *left[i], number(x[example, i]), KERNEL)
    for j in range(outputs):
        _node(axes, *right[j], number(y[example, j]) if j == output else "", MODEL if j == output else None)
    label(axes, right[output][0], right[output][1] - 0.85, f"bias {number(b[output])}", size=9.5)

    top = 6.1
    columns = (0.3, 4.3, 7.9)
    for at, name in zip(columns, ("X, examples", "W, weights", "Y, outputs"), strict=True):
        label(axes, at, top - 0.45, name, align="left", size=10, bold=True)
    matrix(axes, columns[0], top, x, fills=_lit(x.shape, KERNEL, row=example))
    label(axes, 3.8, top + 1.5, "×", size=14)
    matrix(axes, columns[1], top, w, fills=_lit(w.shape, LAYER, column=output), strength=0.45)
    label(axes, columns[1] - 0.2, top + inputs + 0.8, "+ b", bold=True, align="right")
    bias = [LAYER if j == output else None for j in range(outputs)]
    cells(axes, columns[1], top + inputs + 0.3, [number(v) for v in b], fills=bias, strength=0.45)
    label(axes, 7.1, top + 1.5, "=", size=14)
    done = [["" if (i, j) > (example, output) else y[i, j] for j in range(outputs)] for i in range(len(x))]
    matrix(axes, columns[2], top, done, fills=_lit(y.shape, MODEL, row=example, column=output))
    frame(axes, columns[2] + output, top + example, 1, 1, color=MODEL)

    products = " + ".join(f"{number(x[example, i])}·{bracketed(w[i, output])}" for i in range(inputs))
    sum_ = f"{products} + {bracketed(b[output])} = {number(y[example, output])}"
    label(axes, 0.3, 11.3, sum_, align="left", size=11)
    return describe(
        figure, f"Example {example}, output {output}: {sum_}. Row {example} of X times column {output} of W."
    )


def _node(axes, x, y, text, color):
    axes.add_patch(Circle((x, y), 0.52, facecolor=PAPER, edgecolor=RULE, zorder=1))
    if color:
        axes.add_patch(Circle((x, y), 0.52, facecolor=color, alpha=0.35, edgecolor="none", zorder=1))
    label(axes, x, y, text, size=10.5)


def _lit(shape, color, row=None, column=None):
    hit = lambda i, j: (row is None or i == row) and (column is None or j == column)  # noqa: E731
    return [[color if hit(i, j) else None for j in range(shape[1])] for i in range(shape[0])]


if __name__ == "__main__":
    from figures.write import write

    image = [[0.4, 0.9, 0.1], [0.7, 0.2, 0.6], [0.8, 0.3, 0.5]]
    write(__file__, draw(image, [[1, -2], [0.5, 1.5], [-1, 0.5]], [0.1, -0.2], 0, 0))
