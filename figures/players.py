"""A GAN and a BEGAN as a game: two networks, and whose turn it is to learn."""

from __future__ import annotations

from minidl.instruments.drawing import arrow, box, canvas, label, shades
from minidl.instruments.style import KERNEL, MODEL, MUTED, RULE, TASK, describe, drawing

TURNS = ("discriminator", "generator")


@drawing
def draw(turn: str, real, drawn, said, copies=None):
    """Return the two networks and what each of the two pictures goes through.

    Parameters
    ----------
    turn : {"discriminator", "generator"}
        Who learns.
    real, drawn : array_like of shape (8, 8), from 0 to 1
        A picture from the data, and one by the generator.
    said : pair of str
        What comes out for each of them.
    copies : pair of array_like, optional
        What the discriminator makes of each, if it is an autoencoder (BEGAN).
    """
    learns = turn == "discriminator"
    name = "BEGAN" if copies is not None else "GAN"
    figure, axes = canvas(15.6, 8.8, unit=0.365)
    label(axes, 0.3, 0.6, f"{name}: the {turn} learns", align="left", size=11.5, bold=True)
    top, bottom = 1.7, 5.2
    if learns:
        shades(axes, 5.9, top, real, size=0.25)
        label(axes, 6.9, top + 2.35, "from the data", size=9, color=MUTED)
        arrow(axes, (8.1, top + 1), (9.1, top + 1))
        arrow(axes, (12.2, top + 1), (12.9, top + 1))
    shades(axes, 5.9, bottom, drawn, size=0.25)
    label(axes, 6.9, bottom + 2.35, "drawn", size=9, color=MUTED)
    box(axes, 0.3, bottom + 0.4, 1.7, 1.2, "noise", size=9.5, edge=RULE)
    arrow(axes, (2.0, bottom + 1), (2.5, bottom + 1))
    box(axes, 2.5, bottom + 0.2, 2.8, 1.6, "generator", size=9.5, fill=MODEL, strength=0.1 if learns else 0.5)
    arrow(axes, (5.3, bottom + 1), (5.9, bottom + 1))
    arrow(axes, (8.1, bottom + 1), (9.1, bottom + 1))
    box(
        axes, 9.1, top, 3.1, bottom + 2 - top, "discriminator", size=9.5, fill=KERNEL,
        strength=0.4 if learns else 0.08,
    )  # fmt: skip
    arrow(axes, (12.2, bottom + 1), (12.9, bottom + 1))
    rows = [(top, 0), (bottom, 1)] if learns else [(bottom, 1)]
    for y, i in rows:
        if copies is not None:
            shades(axes, 12.9, y, copies[i], size=0.25)
            label(axes, 13.9, y + 2.35, said[i], size=9)
        else:
            label(axes, 13.0, y + 1, said[i], align="left", size=10.5)
    # The way back: down from the answer, left, and up to the one who learns.
    low, target = bottom + 3.2, 10.65 if learns else 3.9
    foot = bottom + (2.75 if copies is not None else 1.5)
    axes.plot((13.9, 13.9, target), (foot, low, low), color=TASK, linewidth=1.5, linestyle=(0, (3, 2)))
    arrow(axes, (target, low), (target, bottom + (2.0 if learns else 1.8)), color=TASK, width=1.5)
    label(axes, 0.3, 4.0, "dashed: the error goes back", align="left", size=9, color=TASK)
    pictures = "a picture from the data and a drawn one" if learns else "a drawn picture"
    says = " and ".join(said[i] for _, i in rows)
    return describe(figure, f"{name}, the {turn}'s turn: {pictures}; the discriminator's answer: {says}.")


if __name__ == "__main__":
    import numpy as np

    from figures.write import write

    write(__file__, draw("discriminator", np.eye(8), np.eye(8)[::-1], ("real: 0.9", "real: 0.2")))
