"""Threads numbered inside blocks, blocks numbered inside the grid, and the output that one thread owns."""

from __future__ import annotations

from minidl.instruments.drawing import arrow, canvas, cells, frame, label
from minidl.instruments.style import HARDWARE, KERNEL, describe, drawing


@drawing
def draw(outputs: int, threads: int, block: int, thread: int):
    """Return the grid that covers `outputs` values in blocks of `threads`, one thread picked out."""
    blocks = -(-outputs // threads)
    figure, axes = canvas(blocks * (threads + 0.6) + 1.8, 5.6, unit=0.44)
    index = block * threads + thread
    busy = index < outputs
    for b in range(blocks):
        x = 1.6 + b * (threads + 0.6)
        frame(axes, x - 0.15, 0.9, threads + 0.3, 1.3, color=KERNEL, text=f"block {b}")
        chosen = [HARDWARE if (b, t) == (block, thread) else None for t in range(threads)]
        cells(axes, x, 1.05, range(threads), fills=chosen, strength=0.45)
        owned = [i if i < outputs else "–" for i in range(b * threads, (b + 1) * threads)]
        cells(axes, x, 3.2, owned, fills=chosen if busy else None, strength=0.45)
    label(axes, 1.3, 1.55, "thread", align="right", size=10)
    label(axes, 1.3, 3.7, "output", align="right", size=10)
    x = 1.6 + block * (threads + 0.6) + thread + 0.5
    arrow(axes, (x, 2.1), (x, 3.15), color=HARDWARE)
    verdict = f"output {index}" if busy else f"{index} ≥ {outputs}: nothing to do"
    label(axes, 1.6, 5.0, f"i = {block} · {threads} + {thread} = {index}   →   {verdict}", align="left")
    return describe(
        figure,
        f"{blocks} blocks of {threads} threads cover {outputs} outputs. Thread {thread} of block {block} "
        f"computes i = {block}·{threads} + {thread} = {index}: {verdict}.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(10, 4, 1, 2))
