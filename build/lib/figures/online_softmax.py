"""Softmax in one pass: the largest value so far, and the sum of powers measured from it."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import bracketed, canvas, cells, label, number
from minidl.instruments.style import GRAPH, KERNEL, MODEL, describe, drawing


@drawing
def draw(values, step: int):
    """Return the two running numbers after values[0] to values[step] have been read."""
    values = np.asarray(values, dtype=np.float64)
    largest, total, rows = -np.inf, 0.0, []
    for value in values[: step + 1]:
        before = largest, total
        largest = max(largest, value)
        total = total * np.exp(before[0] - largest) + np.exp(value - largest)
        rows.append((largest, total))

    width = 1.35
    figure, axes = canvas(3.7 + width * len(values), 8.6, unit=0.5)
    left = 3.3
    shown = range(len(values))
    for y, name in ((0.8, "x"), (2.7, "largest m"), (4.6, "sum d")):
        label(axes, left - 0.3, y + width / 2, name, align="right", size=10.5, bold=True)
    fills = [KERNEL if i == step else None for i in shown]
    cells(axes, left, 0.8, [number(v) for v in values], size=width, fills=fills)
    new = len(rows) == 1 or rows[-1][0] > rows[-2][0]
    largest_row = [number(rows[i][0]) if i <= step else "" for i in shown]
    cells(
        axes, left, 2.7, largest_row, size=width, fills=[MODEL if i == step and new else None for i in shown]
    )
    sums = [number(rows[i][1]) if i <= step else "" for i in shown]
    cells(axes, left, 4.6, sums, size=width, fills=[GRAPH if i == step else None for i in shown])

    (m, d), x = rows[-1], values[step]
    if step == 0:
        says = f"d = e^({number(x)} − {bracketed(m)}) = {number(d)}"
        note = "the first value is the largest so far"
    else:
        m_before, d_before = rows[-2]
        correction = f" · e^({number(m_before)} − {bracketed(m)})" if new else ""
        says = f"d = {number(d_before)}{correction} + e^({number(x)} − {bracketed(m)}) = {number(d)}"
        note = (
            f"new largest: the old sum counts only {number(np.exp(m_before - m))} times"
            if new
            else "not larger: just one more term"
        )
    label(axes, 0.4, 7.0, says, align="left", size=11)
    label(axes, 0.4, 7.9, note, align="left", size=10.5)
    return describe(figure, f"After {number(x)}: largest {number(m)}, sum {number(d)}. {says}; {note}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([2, 1, 4, 3, 5], 2))
