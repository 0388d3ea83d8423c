"""How well a network does on what it was taught and on what it never saw, by how much it was taught."""

from __future__ import annotations

from minidl.instruments.style import GRAPH, INK, TASK, describe, drawing, new_figure


@drawing
def draw(counts, taught, fresh, chosen: int):
    """Return both accuracies against the number of training examples, one number lit.

    Parameters
    ----------
    counts : sequence of int
    taught, fresh : sequence of float
        Accuracy, from 0 to 1, on the training and on the test examples.
    chosen : int
        Which of the counts.
    """
    figure, axes = new_figure(5.4, 3.1)
    axes.plot(counts, taught, "s--", color=TASK, markersize=4, label="on what it was taught")
    axes.plot(counts, fresh, "o-", color=GRAPH, markersize=4, label="on what it never saw")
    count, high, low = counts[chosen], taught[chosen], fresh[chosen]
    axes.plot((count, count), (low, high), color=INK, linewidth=1)
    axes.plot(count, high, "s", color=TASK, markersize=8)
    axes.plot(count, low, "o", color=GRAPH, markersize=9)
    axes.set(xscale="log", ylim=(0, 1.05), xlabel="training examples")
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.set_yticks((0, 0.5, 1), ("0%", "50%", "100%"))
    axes.minorticks_off()
    axes.legend(loc="lower right")
    axes.set_title(f"{count} examples: {high:.0%} of them, {low:.0%} of the fresh ones")
    return describe(
        figure,
        f"Taught {count} examples, it gets {high:.0%} of them right and {low:.0%} of those it never saw.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([10, 100, 1000], [1, 1, 1], [0.4, 0.8, 0.95], 1))
