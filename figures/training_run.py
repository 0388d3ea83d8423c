"""A GAN's training at one moment: what it draws from always the same noise, and how its two losses stand."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import shades
from minidl.instruments.style import KERNEL, MODEL, MUTED, RULE, describe, drawing, new_figure

COLUMNS = 4


@drawing
def draw(pictures, epochs, generator_loss, discriminator_loss, at: int):
    """Return drawings on the left, the losses up to epoch `at` on the right.

    Parameters
    ----------
    pictures : array, shape (N, H, W), from 0 to 1
        Drawn after epoch `at`; N is a multiple of four.
    epochs : int
        How long the axis is.
    generator_loss, discriminator_loss : sequence of float
        One for each epoch; those after `at` are not drawn, but keep the axis what it is.
    at : int
        From 0, before the first step.
    """
    figure, (left, right) = new_figure(5.6, 3.0, ncols=2, width_ratios=(1, 1.15))
    step = pictures.shape[1] + 1
    rows = -(-len(pictures) // COLUMNS)
    left.set(xlim=(0, COLUMNS * step), ylim=(rows * step, 0), aspect="equal", title=f"after {at} epochs")
    left.axis("off")
    for i, picture in enumerate(np.asarray(pictures, np.float64)):
        shades(left, i % COLUMNS * step, i // COLUMNS * step, picture, limit=1)
    for values, style, color, name in (
        (generator_loss, "-", MODEL, "generator"),
        (discriminator_loss, "--", KERNEL, "discriminator"),
    ):
        right.plot(range(1, at + 1), values[:at], style, color=color, label=name, linewidth=1.4)
    top = 1.08 * max(*generator_loss, *discriminator_loss)
    right.axhline(2 * np.log(2), color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    right.set(xlim=(0, epochs), ylim=(0, top), xlabel="epoch", title="losses")
    right.grid(color=RULE, linewidth=0.5)
    right.set_axisbelow(True)
    right.legend(loc="upper right")
    losses = "nothing has been learned"
    if at:
        ours, theirs = generator_loss[at - 1], discriminator_loss[at - 1]
        losses = f"the generator loses {ours:.2f}, the discriminator {theirs:.2f}"
    return describe(figure, f"After {at} of {epochs} epochs: {len(pictures)} drawings; {losses}.")


if __name__ == "__main__":
    from figures.write import write

    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    write(__file__, draw(np.stack([ramp] * 16), 4, [2.0, 1.5, 1.0, 0.9], [0.9, 1.1, 1.2, 1.3], 3))
