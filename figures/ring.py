"""The ring all-reduce, step by step with its numbers: who sends which part to whom, and what comes of it."""

from __future__ import annotations

import numpy as np

from minidl.graph.distributed.allreduce import ring_steps
from minidl.instruments.drawing import arrow, box, canvas, label, number
from minidl.instruments.style import GRAPH, KERNEL, MODEL, MUTED, describe, drawing

NUMBERS = ((1, 2, 3, 4), (10, 20, 30, 40), (100, 200, 300, 400), (1000, 2000, 3000, 4000))


def states(values):
    """Return what every rank holds before the first round and after each, and what it was sent in it.

    Parameters
    ----------
    values : sequence of sequences of numbers, shape (ranks, ranks)
        One number for each part of each rank's array.

    Returns
    -------
    list of (held, received)
        held : float64 array, shape (ranks, ranks); received : for each rank (part, whether it was added), or
        None before the first round.
    """
    held = np.array(values, np.float64)
    ranks = len(held)
    if held.shape != (ranks, ranks) or ranks < 2:
        raise ValueError(f"values must be as many numbers for each rank as there are ranks, got {held.shape}")
    found = [(held.copy(), None)]
    for moves in zip(*(ring_steps(rank, ranks) for rank in range(ranks)), strict=True):
        before = held.copy()
        for rank, (_, part, add) in enumerate(moves):
            came = before[(rank - 1) % ranks, part]
            held[rank, part] = held[rank, part] + came if add else came
        found.append((held.copy(), [(part, add) for _, part, add in moves]))
    return found


@drawing
def draw(step: int, values=NUMBERS):
    """Return the ranks after `step` rounds; what has just come is marked, and sums that are complete.

    Parameters
    ----------
    step : int
        From 0 to 2 (ranks - 1).
    values : as for `states`
    """
    every = states(values)
    held, received = every[step]
    ranks, total = len(held), np.sum(values, axis=0)
    figure, axes = canvas(2.6 + 2.1 * ranks, 2.2 + 1.5 * ranks, unit=0.52)
    turn = ranks - 1
    title = (
        "before the first round"
        if not step
        else f"round {step} of {2 * turn}: "
        + ("what comes is added" if step <= turn else "what comes replaces")
    )
    label(axes, 0.2, 0.5, title, align="left", bold=True)
    for part in range(ranks):
        label(axes, 2.6 + 2.1 * part + 0.9, 1.2, f"part {part}", size=10, color=MUTED)
    for rank in range(ranks):
        y = 1.6 + 1.5 * rank
        label(axes, 0.2, y + 0.5, f"rank {rank}", align="left")
        for part in range(ranks):
            whole = held[rank, part] == total[part]
            new = received is not None and received[rank][0] == part
            box(axes, 2.6 + 2.1 * part, y, 1.8, 1.0, number(held[rank, part], 5),
                fill=GRAPH if whole else MODEL if new else None, strength=0.35,
                edge=KERNEL if new else MUTED, bold=whole)  # fmt: skip
        if received is not None:
            part = received[rank][0]
            x = 2.6 + 2.1 * part + 0.9
            if rank:
                arrow(axes, (x, y - 0.5), (x, y - 0.02), color=KERNEL)
            else:
                arrow(axes, (x, y - 0.3), (x, y - 0.02), color=KERNEL, dashed=True)
    bottom = 1.6 + 1.5 * ranks
    done = int((held == total).sum())
    label(axes, 0.2, bottom + 0.15, f"complete sums: {done} of {ranks * ranks}", align="left", size=10,
          color=MUTED)  # fmt: skip
    rows = "; ".join(f"rank {r}: {', '.join(number(v, 5) for v in row)}" for r, row in enumerate(held))
    return describe(figure, f"{ranks} ranks, {title}. {rows}. Complete sums: {done} of {ranks * ranks}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(3))
