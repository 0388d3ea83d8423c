"""The memories of a GPU: a thread's own, its block's, the cache, and everybody's."""

from __future__ import annotations

from minidl.instruments.drawing import box, canvas, label
from minidl.instruments.style import HARDWARE, KERNEL, MUTED, TASK, describe, drawing

#: name, who sees it, size on an H100, cycles until a value arrives. Sizes: NVIDIA Hopper Tuning Guide, 1.4;
#: cycles: table 3 of pmc.ncbi.nlm.nih.gov/articles/PMC10448217, in round numbers.
LEVELS = (
    ("registers", "one thread", "255 numbers of 4 bytes", "none", TASK),
    ("shared memory", "one block", "up to 227 KB", "about 20", KERNEL),
    ("cache (L2)", "automatic", "50 MB", "about 200", MUTED),
    ("global memory", "all threads", "80 GB", "about 400", HARDWARE),
)


@drawing
def draw():
    """Return the levels, fastest and smallest at the top."""
    figure, axes = canvas(14, 8.4, unit=0.46)
    for x, text in ((4.9, "seen by"), (8.4, "size"), (12.2, "cycles to wait")):
        label(axes, x, 0.5, text, size=10, color=MUTED)
    for row, (name, seen, size, cycles, color) in enumerate(LEVELS):
        y = 1.0 + row * 1.8
        box(axes, 0.2, y, 13.6, 1.5, fill=color, strength=0.16, edge=color)
        label(axes, 0.5, y + 0.75, name, align="left", bold=True)
        label(axes, 4.9, y + 0.75, seen, size=10.5)
        label(axes, 8.4, y + 0.75, size, size=10.5)
        label(axes, 12.2, y + 0.75, cycles, size=10.5)
    rows = "; ".join(f"{n}: seen by {s}, {z}, {c} cycles" for n, s, z, c, _ in LEVELS)
    return describe(figure, f"Four levels of GPU memory. {rows}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw())
