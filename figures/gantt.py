"""What every rank did when: compute, send, wait, from real clocks; and what was under way meanwhile."""

from __future__ import annotations

from matplotlib.patches import Patch, Rectangle

from minidl.graph.distributed.timeline import KINDS, shares
from minidl.instruments.style import GRAPH, KERNEL, MODEL, RULE, describe, drawing, new_figure

COLORS = {"compute": GRAPH, "send": KERNEL, "wait": RULE, "transfer": MODEL}


@drawing
def draw(spans, title: str = "", start: float = 0.0, stop: float | None = None):
    """Return a row for each rank, and below it a thin one of the all-reduces that are under way.

    Parameters
    ----------
    spans : list of Span
        As `distributed.merged` gives them, times in seconds.
    title : str
    start, stop : float
        Which stretch of time to show, in seconds; by default all.
    """
    stop = max(span.stop for span in spans) if stop is None else stop
    if not stop > start:
        raise ValueError(f"stop must be after start, got {start} to {stop}")
    shown = [span for span in spans if span.stop > start and span.start < stop]
    ranks = sorted({span.rank for span in spans})
    figure, axes = new_figure(6.4, 0.9 + 0.55 * len(ranks))
    for span in shown:
        left, right = max(span.start, start), min(span.stop, stop)
        row = ranks.index(span.rank)
        thin = span.kind == "transfer"
        axes.add_patch(
            Rectangle(
                ((left - start) * 1e3, row + 0.33 if thin else row - 0.3),
                (right - left) * 1e3,
                0.12 if thin else 0.6,
                facecolor=COLORS[span.kind],
                linewidth=0,
            )
        )
    axes.set(xlim=(0, (stop - start) * 1e3), ylim=(len(ranks) - 0.4, -0.5), yticks=range(len(ranks)))
    axes.set(yticklabels=[f"rank {rank}" for rank in ranks], xlabel="milliseconds", title=title)
    axes.tick_params(axis="y", length=0)
    kinds = [kind for kind in COLORS if any(span.kind == kind for span in shown)]
    axes.legend(
        handles=[Patch(facecolor=COLORS[kind], label=kind) for kind in kinds],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(kinds),
        handlelength=1,
        columnspacing=1,
    )
    words = "; ".join(
        f"rank {rank}: " + ", ".join(f"{kind} {share[kind]:.0%}" for kind in KINDS)
        for rank, share in shares(shown).items()
    )
    return describe(figure, f"{title or 'Timeline'}, {(stop - start) * 1e3:.1f} ms. {words}.")


if __name__ == "__main__":
    from figures.ranks import recorded
    from figures.write import write

    write(__file__, draw(recorded("data parallel")["spans"]))
