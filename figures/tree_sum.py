"""A block adds up its numbers: one thread after all of them, or in a tree, round by round."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import arrow, canvas, cells, label, number
from minidl.instruments.style import KERNEL, MODEL, MUTED, describe, drawing


@drawing
def draw(a, done: int):
    """Return the numbers after so many rounds: in each, thread i adds what lies half of the rest further on.

    Parameters
    ----------
    a : array_like
        Numbers, 2**n of them.
    done : int
        Rounds, from 0 to n.
    """
    row = np.asarray(a, dtype=np.float64)
    rounds = int(np.log2(len(row)))
    if len(row) != 2**rounds or not 0 <= done <= rounds:
        raise ValueError(f"a must have 2**n numbers and done be from 0 to n, not {len(row)} and {done}")
    figure, axes = canvas(len(row) + 3.4, 2.1 * (rounds + 1) + 1.2, unit=0.55)
    for k in range(done + 1):
        y = 0.8 + 2.1 * k
        label(axes, 3, y + 0.5, f"round {k}" if k else "numbers", align="right", size=10)
        cells(axes, 3.2, y, [number(v) for v in row], fills=[MODEL if k else KERNEL] * len(row), strength=0.4)
        if k < done:
            half = len(row) // 2
            for i in range(half):
                for start in (i, i + half):
                    arrow(axes, (3.7 + start, y + 1.05), (3.7 + i, y + 2.06), color=KERNEL)
            row = row[:half] + row[half:]
    busy = len(a) >> done if done else 0
    work = f"{busy} thread{'s' * (busy != 1)} added in round {done}" if done else "nothing is added yet"
    says = f"{work}; one thread alone: {len(a) - 1} additions in a row"
    label(axes, 0.4, 2.1 * (done + 1) + 0.8, says, align="left", size=10, color=MUTED)
    left = ", ".join(number(v) for v in row)
    return describe(
        figure, f"The sum of {len(a)} numbers as a tree. After {done} of {rounds} rounds: {left}. {says}."
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([4, 2, 5, 6, 2, 4, 7, 1], 2))
