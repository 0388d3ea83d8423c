"""How the numbers in a network are spread, layer by layer, at one moment of a training: weights, biases,
gradients or activations.
"""

from __future__ import annotations

import numpy as np

from minidl.instruments.style import GRAPH, INK, KERNEL, MODEL, MUTED, TASK, describe, drawing, new_figure
from minidl.instruments.widgets import frames as behind_a_slider

COLORS = {"weight": MODEL, "bias": GRAPH, "gradient": TASK, "activation": KERNEL}
BINS = 40


@drawing
def draw(numbers, kind: str, title: str, limits=None):
    """Return one histogram below the other, on an axis each, with zero, the mean and its value.

    Parameters
    ----------
    numbers : dict of str to Numbers
        By the name of the layer or parameter; see `minidl.instruments.watch`.
    kind : str
        "weight", "bias", "gradient" or "activation".
    title : str
        The moment.
    limits : dict of str to (float, float), optional
        The ends of each axis, so that several moments share them.
    """
    if not numbers:
        raise ValueError(f"there is no {kind} to draw: was it watched?")
    figure, axes = new_figure(5.4, 0.75 + 0.62 * len(numbers), nrows=len(numbers), squeeze=False)
    said = []
    for panel, (name, held) in zip(axes[:, 0], numbers.items(), strict=True):
        low, high = limits[name] if limits else _limits([held])
        counts, edges = np.histogram(np.clip(held.values, low, high), BINS, (low, high))
        panel.stairs(counts / max(counts.max(), 1), edges, fill=True, color=COLORS[kind], alpha=0.6)
        panel.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
        panel.axvline(held.mean, color=INK, linewidth=1.4)
        panel.set(xlim=(low, high), ylim=(0, 1.05), yticks=[])
        panel.locator_params(axis="x", nbins=4)
        panel.tick_params(labelsize=8, length=2, pad=1)
        panel.spines["left"].set_visible(False)
        panel.set_title(name, fontsize=8.5, weight="normal", pad=2)
        panel.set_title(
            f"mean {held.mean:.2g}, σ {held.std:.2g}", loc="right", fontsize=8.5, weight="normal", pad=2
        )
        said.append(f"{name} mean {held.mean:.2g} spread {held.std:.2g}")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
    return describe(figure, f"{title}. The dark line is the mean. " + "; ".join(said) + ".")


def frames(watch, kind: str, most: int = 8, count: int = 20):
    """Return the histograms of a watched training behind a slider, the last moment first.

    Parameters
    ----------
    watch : Watch
    kind : {"weight", "bias", "gradient", "activation"}
    most : int
        How many layers are drawn; of more, evenly chosen ones, the first and last among them.
    count : int
        How many moments, evenly chosen.
    """
    moments = [moment for moment in watch.moments if moment.numbers[kind]]
    if not moments:
        raise ValueError(f"watch has no moment with a {kind}: activations need inputs=, and gradients a step")
    moments = evenly(moments, count)
    names = evenly(list(moments[0].numbers[kind]), most)
    limits = {name: _limits([moment.numbers[kind][name] for moment in moments]) for name in names}
    plural = {"bias": "biases"}.get(kind, f"{kind}s")
    pictures = [
        draw({name: m.numbers[kind][name] for name in names}, kind, f"{plural} after epoch {m.epoch}", limits)
        for m in moments
    ]
    return behind_a_slider(pictures, "epoch", names=[str(m.epoch) for m in moments], start=len(pictures) - 1)


def evenly(things, count):
    """Return at most `count` of some things, the first and the last among them."""
    if len(things) <= count:
        return list(things)
    return [things[i] for i in np.unique(np.linspace(0, len(things) - 1, count).round().astype(int))]


def _limits(several):
    """Return where an axis begins and ends: with zero, and all but the outermost hundredth of the values."""
    values = np.concatenate([held.values for held in several])
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (0.5, 99.5)) if values.size else (0.0, 0.0)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


if __name__ == "__main__":
    from figures.write import write
    from minidl.instruments.watch import Numbers

    spread = {f"{i}.weight": Numbers.of(np.random.default_rng(i).normal(i / 9, 0.2, 999)) for i in range(3)}
    write(__file__, draw(spread, "weight", "weights after epoch 3"))
