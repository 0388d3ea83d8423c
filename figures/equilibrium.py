"""A BEGAN's training: both copying losses, and the ratio of them that k steers."""

from __future__ import annotations

from minidl.instruments.style import GRAPH, INK, KERNEL, MODEL, RULE, describe, drawing, new_figure


@drawing
def draw(gamma: float, data_loss, drawn_loss, k, top: float):
    """Return two panels: the losses over the epochs, and their ratio beside the γ that was asked for.

    Parameters
    ----------
    gamma : float
    data_loss, drawn_loss, k : sequence of float
        L(x), L(G(z)) and k, one for each epoch.
    top : float
        The upper end of the losses' axis: several drawings can share one.
    """
    figure, (left, right) = new_figure(5.6, 3.0, ncols=2)
    epochs = range(1, len(k) + 1)
    left.plot(epochs, data_loss, color=KERNEL, label="L(x), data")
    left.plot(epochs, drawn_loss, "--", color=MODEL, label="L(G(z)), drawn")
    left.set(ylim=(0, top), xlabel="epoch", title="copying errors")
    left.legend(loc="upper right")
    ratios = [drawn / data for drawn, data in zip(drawn_loss, data_loss, strict=True)]
    right.axhline(gamma, color=INK, linewidth=1, linestyle=(0, (3, 2)))
    right.plot(epochs, ratios, color=GRAPH)
    right.set(ylim=(0, 1.25), xlabel="epoch", title=f"L(G(z)) / L(x), γ = {gamma}")
    for axes in (left, right):
        axes.set_xticks(range(len(k) // 4 or 1, len(k) + 1, len(k) // 4 or 1))
        axes.grid(color=RULE, linewidth=0.5)
        axes.set_axisbelow(True)
    late = ratios[len(ratios) // 2 :]
    mean = sum(late) / len(late)
    right.text(len(k), 0.04, f"second half: {mean:.2f} on average", ha="right", fontsize=9)
    return describe(
        figure,
        f"γ = {gamma}: in the second half of {len(k)} epochs the ratio of the losses is {mean:.2f} on"
        f" average; k ends at {k[-1]:.3f}.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(0.5, [0.6, 0.3, 0.2], [0.5, 0.2, 0.1], [0, 0.01, 0.02], 0.8))
