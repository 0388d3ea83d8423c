"""How the numbers in a network are spread, layer by layer, at one moment of a training: weights, biases,
gradients or activations.
"""

from __future__ import annotations

import numpy as np

from minidl.instruments.style import GRAPH, INK, KERNEL, MODEL, MUTED, TASK, describe, drawing, new_figure
from minidl.instruments.widgets import frames as behind_a_slider

COLORS = {"weight": MODEL, "bias": GRAPH, "gradient": TASK, "activation": KERNEL}
PLURAL = {"weight": "weights", "bias": "biases", "gradient": "gradients", "activation": "activations"}
BINS = 40


@drawing
def draw(numbers, title: str, limits=None):
    """Return a row of histograms for each layer, one for each kind of its numbers.

    Each is as high as its fullest bar. The dashed line is 0, the dark one the mean; the share that is exactly
    0 is written where there is one.

    Parameters
    ----------
    numbers : dict of str to dict of str to Numbers
        By kind ("weight", "bias", "gradient", "activation"), then by the name of the layer or parameter: a
        `Moment`'s `numbers`, or some of them. All kinds have the names of the first.
    title : str
        The moment.
    limits : dict of str to dict of str to (float, float), optional
        The ends of each axis, so that several moments share them; see `limits_of`. What lies beyond is
        counted in the outermost bar.
    """
    for kind, held in numbers.items():
        if not held:
            raise ValueError(f"there is no {kind} to draw: was it watched?")
    kinds = list(numbers)
    names = list(numbers[kinds[0]])
    limits = limits or limits_of([numbers])
    figure, rows = new_figure(
        5.6,
        0.75 + 0.62 * len(names) + 0.2 * (len(kinds) > 1),
        nrows=len(names),
        ncols=len(kinds),
        squeeze=False,
    )
    said = []
    for row, name in zip(rows, names, strict=True):
        for panel, kind in zip(row, kinds, strict=True):
            held, (low, high) = numbers[kind][name], limits[kind][name]
            counts, edges = np.histogram(np.clip(held.values, low, high), BINS, (low, high))
            panel.stairs(counts / max(counts.max(), 1), edges, fill=True, color=COLORS[kind], alpha=0.6)
            panel.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
            panel.axvline(np.clip(held.mean, low, high), color=INK, linewidth=1.4)
            panel.set(xlim=(low, high), ylim=(0, 1.05), yticks=[])
            panel.locator_params(axis="x", nbins=4)
            panel.tick_params(labelsize=8, length=2, pad=1)
            panel.spines["left"].set_visible(False)
            figures = f"mean {short(held.mean)}, σ {short(held.std)}"
            figures += f", {held.zeros:.0%} are 0" if held.zeros >= 0.005 else ""
            panel.set_title(figures, loc="right", fontsize=8.5, weight="normal", pad=2)
            said.append(f"{name} {kind if len(kinds) > 1 else ''}".strip() + f": {figures}")
        if len(kinds) > 1 and name == names[-1]:
            for panel, kind in zip(row, kinds, strict=True):
                panel.set_xlabel(PLURAL[kind], fontsize=9)
        row[0].set_title(name, loc="left", fontsize=8.5, weight="bold", pad=2)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
    return describe(figure, f"{title}. {'; '.join(said)}.")


def frames(watch, *kinds: str, names=None, most: int = 8, count: int = 20, start: int = -1):
    """Return the histograms of a watched training behind a slider.

    Parameters
    ----------
    watch : Watch
    *kinds : {"weight", "bias", "gradient", "activation"}
        Side by side.
    names : dict of str to str, optional
        Which layers are drawn, and what they are called.
    most : int
        How many layers are drawn; of more, evenly chosen ones, the first and last among them.
    count : int
        How many moments, evenly chosen.
    start : int
        The moment that is shown first; by default the last.
    """
    for kind in kinds:
        if not any(moment.numbers[kind] for moment in watch.moments):
            raise ValueError(
                f"watch has no moment with a {kind}: activations need inputs=, and gradients a step"
            )
    moments = [m for m in watch.moments if all(m.numbers[kind] for kind in kinds)]
    moments = evenly(moments, count)
    names = names or {name: name for name in evenly(list(moments[0].numbers[kinds[0]]), most)}
    shown = [
        {kind: {names[name]: m.numbers[kind][name] for name in names} for kind in kinds} for m in moments
    ]
    limits, what = limits_of(shown), " and ".join(PLURAL[kind] for kind in kinds)
    pictures = [
        draw(numbers, f"{what} after epoch {m.epoch}", limits)
        for numbers, m in zip(shown, moments, strict=True)
    ]
    first = start % len(pictures)
    return behind_a_slider(pictures, "epoch", names=[str(m.epoch) for m in moments], start=first)


def limits_of(several):
    """Return axes that several moments can share: with zero, and all but the outermost values of each layer.

    Parameters
    ----------
    several : list of dict, as `draw` takes them
    """
    return {
        kind: {name: _limits([numbers[kind][name] for numbers in several]) for name in held}
        for kind, held in several[0].items()
    }


def short(value):
    """Write two digits, and never three decimals, which the SVG would round away."""
    return f"{value:.2g}" if value == 0 or abs(value) >= 0.1 else f"{value:.1e}"


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
    write(__file__, draw({"weight": spread}, "weights after epoch 3"))
