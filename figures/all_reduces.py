"""How long an all-reduce of each size took on real processes, one curve for each algorithm."""

from __future__ import annotations

from figures.staircase import bytes_text
from minidl.instruments.stopwatch import time_text
from minidl.instruments.style import SERIES, describe, drawing, new_figure

MARKS = "os^Dv"


@drawing
def draw(rows, ranks: int):
    """Return the curves for so many ranks, medians with quartiles.

    Parameters
    ----------
    rows : sequence of dict
        As `distributed.timing.measure` gives them: "ranks", "algorithm", "bytes", "seconds", "quartiles".
    ranks : int
        How many processes took part.

    Raises
    ------
    ValueError
        If there is no row for so many ranks.
    """
    chosen = [row for row in rows if row["ranks"] == ranks]
    if not chosen:
        raise ValueError(f"ranks must be one of {sorted({row['ranks'] for row in rows})}, got {ranks!r}")
    figure, axes = new_figure(5.4, 3.2)
    says = []
    for i, algorithm in enumerate(dict.fromkeys(row["algorithm"] for row in chosen)):
        curve = sorted((row for row in chosen if row["algorithm"] == algorithm), key=lambda row: row["bytes"])
        sizes, seconds = [row["bytes"] for row in curve], [row["seconds"] for row in curve]
        color, mark = SERIES[i % len(SERIES)], MARKS[i % len(MARKS)]
        low, high = zip(*(row["quartiles"] for row in curve), strict=True)
        axes.fill_between(sizes, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(sizes, seconds, mark + "-", color=color, markersize=4, linewidth=1.3, label=algorithm)
        says.append(
            f"{algorithm} {time_text(seconds[0])} for {bytes_text(sizes[0])} and {time_text(seconds[-1])} "
            f"for {bytes_text(sizes[-1])}"
        )
    low, high = min(row["seconds"] for row in rows), max(row["seconds"] for row in rows)
    axes.set(xscale="log", yscale="log", ylim=(low / 2, high * 2), xlabel="bytes", ylabel="seconds")
    powers = [2**n for n in range(0, 41, 4)]
    ticks = [p for p in powers if min(r["bytes"] for r in chosen) <= p <= max(r["bytes"] for r in chosen)]
    axes.set_xticks(ticks, [bytes_text(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend(loc="upper left")
    axes.set_title(f"all-reduce on {ranks} ranks")
    return describe(figure, f"All-reduce on {ranks} ranks: {'; '.join(says)}.")


if __name__ == "__main__":
    from figures import ranks
    from figures.write import write

    write(__file__, draw(ranks.record_of_all()["all-reduce"], 2))
