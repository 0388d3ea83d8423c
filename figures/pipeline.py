"""A network spread over devices, one stage each: who works when, as the batch is cut into micro-batches."""

from __future__ import annotations

from matplotlib.patches import Rectangle

from minidl.instruments.style import MODEL, OP, PAPER, describe, drawing, new_figure

BACK = 2  # a stage's way back takes twice as long as its way forward


def schedule(stages: int, parts: int):
    """Return (stage, start, length, forward?) of all the work: every part forward, then every part back.

    A stage's way forward through the whole batch takes 1.
    """
    ahead, back = 1 / parts, BACK / parts
    turn = (stages + parts - 1) * ahead
    return [(s, (s + p) * ahead, ahead, True) for s in range(stages) for p in range(parts)] + [
        (s, turn + (stages - 1 - s + p) * back, back, False) for s in range(stages) for p in range(parts)
    ]


def length(stages: int, parts: int) -> float:
    """Return when the last stage has finished."""
    return max(start + takes for _, start, takes, _ in schedule(stages, parts))


@drawing
def draw(stages: int, parts: int):
    """Return the timetable of `stages` devices for one batch in `parts` equal micro-batches."""
    figure, axes = new_figure(6.2, 2.9)
    for stage, start, takes, forward in schedule(stages, parts):
        axes.add_patch(
            Rectangle(
                (start, stage - 0.38),
                takes,
                0.76,
                facecolor=OP if forward else MODEL,
                alpha=0.55,
                edgecolor=PAPER,
                linewidth=0.8,
            )
        )
    end, work = length(stages, parts), 1 + BACK
    axes.vlines(end, -0.6, stages - 0.55, color=MODEL, linewidth=1.2)  # not through the words below
    axes.text(0.3, stages - 0.35, "forward", color=OP, size=10, va="center", weight="bold")
    axes.text(2.3, stages - 0.35, "backward", color=MODEL, size=10, va="center", weight="bold")
    axes.set(xlim=(0, stages * work * 1.02), ylim=(stages - 0.1, -0.6), xlabel="time", yticks=range(stages))
    axes.set_yticklabels([f"device {s}" for s in range(stages)])
    plural = "es" * (parts > 1)
    axes.set_title(f"{parts} micro-batch{plural}: done at {end:.3g}, {work / end:.0%} busy")
    return describe(
        figure,
        f"Timetable of {stages} devices, {parts} micro-batch{plural}: the batch is done at {end:.3g}; "
        f"each device works {work / end:.0%} of the time and waits for the rest.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(4, 4))
