"""All-reduces that were measured, and what a model fitted to fewer ranks says of them."""

from __future__ import annotations

from minidl.graph import scaling
from minidl.instruments.style import SERIES, describe, drawing, new_figure


@drawing
def draw(measured, link, algorithm: str = "ring"):
    """Return time against size for every number of ranks: points measured, lines from the model.

    Parameters
    ----------
    measured : list of dict
        As `distributed.timing.measure` returns them.
    link : scaling.Link
        Fitted to some of them.
    algorithm : str
    """
    rows = [row for row in scaling.compare(link, measured) if row["algorithm"] == algorithm]
    if not rows:
        raise ValueError(f"measured has no row of {algorithm!r}")
    figure, axes = new_figure(6.2, 3.2)
    worst = {}
    for color, ranks in zip(SERIES, sorted({row["ranks"] for row in rows}), strict=False):
        own = sorted((row for row in rows if row["ranks"] == ranks), key=lambda row: row["bytes"])
        sizes = [row["bytes"] for row in own]
        axes.plot(sizes, [row["seconds"] * 1e6 for row in own], "o", color=color, markersize=4)
        axes.plot(sizes, [row["predicted"] * 1e6 for row in own], color=color, label=f"{ranks} ranks")
        worst[ranks] = max(abs(row["error"]) for row in own)
    axes.set(
        xscale="log", yscale="log", xlabel="bytes", ylabel="microseconds", title=f"all-reduce, {algorithm}"
    )
    axes.legend(loc="upper left")
    axes.tick_params(which="minor", length=0)
    words = ", ".join(f"{ranks} ranks {error:.0%}" for ranks, error in worst.items())
    return describe(
        figure,
        f"All-reduce by {algorithm}, time against size: points measured, lines from the model. "
        f"Largest error: {words}.",
    )


if __name__ == "__main__":
    from figures.ranks import record_of_all
    from figures.write import write

    rows = [row for row in record_of_all()["all-reduce"] if row["algorithm"] == "ring"]
    write(__file__, draw(rows, scaling.fit([row for row in rows if row["ranks"] < 4], lanes=2)))
