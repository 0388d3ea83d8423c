"""The mean and the spread of each layer's numbers over a training, one line a layer."""

from __future__ import annotations

import numpy as np

from figures.distributions import evenly
from minidl.instruments.style import MUTED, RULE, SERIES, describe, drawing, new_figure

DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))


@drawing
def draw(watch, kind: str, most: int = 6):
    """Return two panels, means and standard deviations, one line a layer.

    Parameters
    ----------
    watch : Watch
    kind : {"weight", "bias", "gradient", "activation"}
    most : int
        How many layers are drawn.
    """
    moments = [moment for moment in watch.moments if moment.numbers[kind]]
    if not moments:
        raise ValueError(f"watch has no moment with a {kind}: activations need inputs=, and gradients a step")
    names = evenly(list(moments[0].numbers[kind]), most)
    epochs = [moment.epoch for moment in moments]
    figure, (left, right) = new_figure(5.6, 3.4, ncols=2)
    for i, name in enumerate(names):
        held = [moment.numbers[kind][name] for moment in moments]
        style = {
            "color": SERIES[i % len(SERIES)],
            "linestyle": DASHES[i % 3],
            "marker": "o",
            "markersize": 2.5,
        }
        left.plot(epochs, [h.mean for h in held], label=name, **style)
        right.plot(epochs, [h.std for h in held], **style)
    left.axhline(0, color=MUTED, linewidth=0.8)
    left.set(title=f"mean {kind}", xlabel="epoch")
    right.set(title="standard deviation", xlabel="epoch", ylim=(0, None))
    for axes in (left, right):
        axes.grid(color=RULE, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.locator_params(axis="y", nbins=5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.get_major_formatter().set_powerlimits((-3, 4))
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    last = moments[-1].numbers[kind]
    said = "; ".join(f"{name} mean {last[name].mean:.2g}, spread {last[name].std:.2g}" for name in names)
    return describe(
        figure, f"{kind.capitalize()} of {len(names)} layers over {len(moments)} moments. At the end: {said}."
    )


if __name__ == "__main__":
    from figures.write import write
    from minidl.instruments.watch import Moment, Numbers, Watch

    watch = Watch()
    for epoch in range(5):
        held = {
            f"{i}.weight": Numbers.of(np.random.default_rng(epoch).normal(i * epoch / 9, 0.2, 99))
            for i in range(3)
        }
        watch.moments.append(Moment(epoch, {"weight": held}, {}, None, {}))
    write(__file__, draw(watch, "weight"))
