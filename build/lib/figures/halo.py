"""One block fills its shared memory in two reads per thread, waits, and sums from there."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import arrow, canvas, cells, frame, label, number
from minidl.instruments.style import GRAPH, HARDWARE, KERNEL, MODEL, MUTED, describe, drawing

STEPS = ("read own value", "read halo", "barrier", "average", "write")

_SAYS = (
    "every thread reads one value of its own",
    "the first threads read one more: the halo",
    "all wait until all have written",
    "each sums its window, from shared memory only",
    "one write each",
)


@drawing
def draw(a, window: int, threads: int, block: int, step: int):
    """Return one block at one of the five `STEPS`.

    Parameters
    ----------
    a : sequence of n floats
        What global memory holds.
    window, threads, block : int
        Values per average; threads per block (at least window - 1); which block.
    step : int
        0 to 4.
    """
    a = np.asarray(a, dtype=np.float64)
    outputs, first, halo = len(a) - window + 1, block * threads, window - 1
    figure, axes = canvas(max(len(a), 4 + threads + 2 * halo) + 3.4, 8.9, unit=0.5)
    left = 2.9
    label(axes, left - 0.3, 1.5, "global a", align="right", size=10)
    own, extra = range(first, first + threads), range(first + threads, first + threads + halo)
    busy = min(threads, outputs - first)  # threads of this block that have an output
    fills = [
        KERNEL if i in own and step >= 0 else MODEL if i in extra and step >= 1 else None
        for i in range(len(a))
    ]
    cells(axes, left, 1, [number(v) for v in a], fills=fills)

    x = left + first
    label(axes, left - 0.3, 3.9, "shared", align="right", size=10)
    frame(axes, x - 0.1, 3.3, threads + halo + 0.2, 1.2, color=KERNEL)
    filled = threads + (halo if step >= 1 else 0)
    tile = [number(a[first + i]) if i < filled and first + i < len(a) else "?" for i in range(threads + halo)]
    cells(axes, x, 3.4, tile, fills=[KERNEL if i < threads else MODEL for i in range(threads + halo)])
    if step == 0:
        for t in range(min(threads, len(a) - first)):
            arrow(axes, (x + t + 0.5, 2.05), (x + t + 0.5, 3.35), color=KERNEL)
    if step == 1:
        for t in range(min(halo, len(a) - first - threads)):
            arrow(axes, (x + threads + t + 0.5, 2.05), (x + threads + t + 0.5, 3.35), color=MODEL)

    label(axes, left - 0.3, 5.9, "threads", align="right", size=10)
    working = (threads, min(halo, len(a) - first - threads), threads, busy, busy)[step]
    cells(axes, x, 5.4, range(threads), fills=[HARDWARE if t < working else None for t in range(threads)])
    if step == 2:
        axes.plot([x - 0.2, x + threads + 0.2], [5.2, 5.2], color=HARDWARE, linewidth=3)
    if step == 3:
        for t in range(busy):
            for j in range(window):
                arrow(axes, (x + t + j + 0.5, 4.45), (x + t + 0.5, 5.35), color=GRAPH, width=0.9)

    label(axes, left - 0.3, 7.5, "global out", align="right", size=10)
    means = [number(a[i : i + window].mean()) if step == 4 and i in own else "" for i in range(outputs)]
    cells(axes, left, 7, means, fills=[GRAPH if i in own and step == 4 else None for i in range(outputs)])
    if step == 4:
        for t in range(busy):
            arrow(axes, (x + t + 0.5, 6.45), (x + t + 0.5, 6.95), color=GRAPH)
    label(axes, left, 8.5, f"{STEPS[step]}: {_SAYS[step]}", align="left", size=10.5)
    label(axes, 0.1, 0.4, f"block {block}; {threads} threads in a block, window {window}",
          align="left", size=10, color=MUTED)  # fmt: skip
    return describe(
        figure,
        f"Step {step + 1} of 5, {STEPS[step]}: {_SAYS[step]}. "
        f"Shared memory holds {', '.join(tile)}; the halo is its last {halo}.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([4, 2, 5, 6, 2, 4, 7, 1, 3, 5], 3, 4, 1, 3))
