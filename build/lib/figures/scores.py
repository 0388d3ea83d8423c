"""A picture, the ten scores a network gives it, and the shares that softmax makes of them."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import number
from minidl.instruments.style import INK, LAYER, MODEL, RULE, describe, drawing, new_figure


@drawing
def draw(image, scores, truth: int):
    """Return three panels: the picture, one score for each class, and their softmax.

    Parameters
    ----------
    image : (H, W) array
    scores : (classes,) array
    truth : int
        The right class, named in the title.
    """
    scores = np.asarray(scores, dtype=np.float64)
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    best, classes = int(scores.argmax()), range(len(scores))
    figure, (picture, left, right) = new_figure(5.4, 3.3, ncols=3, width_ratios=(1, 1.3, 1.3))
    _show(picture, image)
    picture.set_title(f"a {truth}")
    colors = [MODEL if c == best else LAYER for c in classes]
    for axes, values, title in ((left, scores, "scores"), (right, shares, "softmax")):
        axes.barh(classes, values, color=colors, height=0.7)
        axes.invert_yaxis()
        axes.set(yticks=classes, title=title)
        axes.tick_params(length=0)
        axes.axvline(0, color=RULE, linewidth=0.8)
    left.set_xticks([0])
    right.set(xlim=(0, 1.32), xticks=[0, 1])
    for c in classes:
        if shares[c] >= 0.005:
            right.text(shares[c] + 0.04, c, f"{shares[c]:.0%}", va="center", fontsize=9, color=INK)
    verdict = f"says {best}, {shares[best]:.0%}"
    picture.set_xlabel(verdict, color=INK)
    return describe(
        figure,
        f"A picture of a {truth}. Highest score {number(scores[best])} for {best}; softmax gives it "
        f"{shares[best]:.0%}. The network {verdict}.",
    )


def _show(axes, image):
    """Draw the picture as dots whose area is the grey value: vectors, in the colour of the ink."""
    image = np.asarray(image, dtype=np.float64)
    rows, columns = np.nonzero(image)
    axes.scatter(columns, rows, s=90 * image[rows, columns] / image.max(), c=INK, marker="s", linewidth=0)
    axes.set(
        xlim=(-0.7, image.shape[1] - 0.3),
        ylim=(image.shape[0] - 0.3, -0.7),
        aspect="equal",
        xticks=[],
        yticks=[],
    )
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_color(RULE)


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(np.eye(8), [0.2, 3.1, -1, 0, 2.2, -0.5, 0, 1, 0.3, -2], 1))
