"""How many examples there are in the data sets of four decades, on a logarithmic scale."""

from __future__ import annotations

from minidl.instruments.style import INK, RULE, TASK, describe, drawing, new_figure


@drawing
def draw(counts):
    """Return one dot for each data set: on a logarithmic scale the length of a bar would mean nothing.

    Parameters
    ----------
    counts : dict of str to float
        Data set → examples.
    """
    figure, axes = new_figure(5.4, 0.6 * len(counts) + 0.5)
    left = min(counts.values()) / 10
    for row, (name, count) in enumerate(counts.items()):
        axes.plot((left, count), (row, row), color=RULE, linewidth=1)
        axes.plot(count, row, "o", color=TASK, markersize=8)
        axes.text(left, row - 0.18, f"{name}: {count:,.0f}", color=INK, va="bottom")
    axes.set(xscale="log", xlim=(left, max(counts.values()) * 3), yticks=[], xlabel="examples")
    axes.set(ylim=(len(counts) - 0.6, -0.75))
    axes.tick_params(which="minor", length=0)
    told = "; ".join(f"{name} {count:,.0f}" for name, count in counts.items())
    return describe(figure, f"Examples: {told}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw({"few": 1e3, "many": 1e9}))
