"""What cross-entropy charges for the share that was given to the right answer."""

from __future__ import annotations

import numpy as np

from minidl.instruments.style import INK, MUTED, TASK, describe, drawing, new_figure


@drawing
def draw(share: float):
    """Return the curve -log(share), with the point at `share` and the slope there.

    Parameters
    ----------
    share : float
        From 0.01 to 1: what the network gave to the right answer.
    """
    figure, axes = new_figure(5.4, 3.0)
    line = np.linspace(0.008, 1, 400)
    axes.plot(line, -np.log(line), color=MUTED)
    loss, slope = -np.log(share), -1 / share
    reach = np.array([max(0.0, share - 0.12), min(1.0, share + 0.12)])
    axes.plot(reach, loss + slope * (reach - share), color=TASK, linewidth=1.6)
    axes.plot(share, loss, "o", color=TASK, markersize=9)
    axes.set(xlim=(0, 1.02), ylim=(0, 5), xlabel="share given to the right answer", ylabel="loss")
    axes.set_title(f"share {share:.0%}: loss {abs(loss):.2f}, slope {slope:.3g}".replace("-", "−"), color=INK)
    return describe(
        figure,
        f"A share of {share:.0%} for the right answer costs {abs(loss):.2f}; the slope there is {slope:.3g}.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(0.5))
