"""Real numbers and the few values that a small integer can stand for: what quantisation rounds away."""

from __future__ import annotations

import numpy as np

from minidl.instruments.style import INK, KERNEL, MODEL, MUTED, describe, drawing, new_figure


@drawing
def draw(values, bits: int):
    """Return the values on a line, above the steps of so many bits, and the largest error.

    Parameters
    ----------
    values : sequence of float
    bits : int
        From 2 to 8.
    """
    values = np.asarray(values, dtype=np.float64)
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    scale = (high - low) / (2**bits - 1)
    zero = round(-low / scale)
    stored = np.clip(np.rint(values / scale) + zero, 0, 2**bits - 1)
    back = scale * (stored - zero)
    figure, axes = new_figure(5.4, 2.3)
    steps = scale * (np.arange(2**bits) - zero)
    axes.plot(steps, np.zeros_like(steps), "|", color=MUTED, markersize=10 if bits < 6 else 6)
    axes.plot(values, np.full_like(values, 0.6), "o", color=KERNEL, markersize=5)
    axes.plot(back, np.zeros_like(back), "o", color=MODEL, markersize=5)
    for value, place in zip(values, back, strict=True):
        axes.plot((value, place), (0.6, 0), color=MUTED, linewidth=0.8)
    error = np.abs(values - back).max()
    axes.set(ylim=(-0.5, 1.0), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.set_title(f"{bits} bits, {2**bits} values: largest error {error:.3g}", color=INK)
    return describe(
        figure,
        f"{len(values)} numbers stored in {bits} bits, {2**bits} values a step of {scale:.3g} apart: "
        f"the largest error is {error:.3g}.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw([-0.8, -0.1, 0.3, 1.4], 4))
