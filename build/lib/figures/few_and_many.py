"""Few quick workers against many slow ones: the same tasks on two invented machines."""

from __future__ import annotations

from minidl.instruments.drawing import box, canvas, label
from minidl.instruments.style import HARDWARE, KERNEL, MUTED, describe, drawing

#: name, workers, workers in a row of the drawing, their side, ticks for one task, colour.
MACHINES = (("few, quick", 4, 2, 2.0, 1, KERNEL), ("many, slow", 64, 8, 0.5, 8, HARDWARE))


def ticks(tasks: int, workers: int, each: int) -> int:
    """Return how long `tasks` independent tasks take: whole rounds of `each` ticks."""
    return -(-tasks // workers) * each


@drawing
def draw(tasks: int):
    """Return both machines with the workers that have something to do in the first round, and the times."""
    figure, axes = canvas(11, 6.9, unit=0.5)
    says = []
    times = [ticks(tasks, machine[1], machine[4]) for machine in MACHINES]
    for (name, workers, row, side, each, color), x, time in zip(MACHINES, (0.6, 6.2), times, strict=True):
        label(axes, x, 0.5, name, align="left", bold=True)
        label(
            axes,
            x,
            1.1,
            f"{each} tick{'s' if each > 1 else ''} for a task",
            align="left",
            size=10,
            color=MUTED,
        )
        for worker in range(workers):
            i, j = divmod(worker, row)
            fill = color if worker < tasks else None
            box(axes, x + j * side, 1.6 + i * side, side * 0.9, side * 0.9, fill=fill, strength=0.55)
        label(
            axes,
            x,
            6.2,
            f"{time} tick{'s' if time > 1 else ''}",
            align="left",
            size=13,
            bold=time == min(times),
        )
        says.append(
            f"{workers} workers at {each} ticks a task: {time} ticks, {min(tasks, workers)} of them busy"
        )
    return describe(figure, f"{tasks} independent tasks. {'; '.join(says)}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(16))
