"""What a deep stack of layers does to a signal on its way forward, and to the error on its way back."""

from __future__ import annotations

import numpy as np

from minidl.instruments.style import KERNEL, LAYER, MUTED, RULE, describe, drawing, new_figure

LOW, HIGH = 1e-10, 1e10  # the frame; what leaves it is drawn at its border


@drawing
def draw(signals, errors, name: str):
    """Return both curves over the layers, on a scale on which every tick is a hundredthousandfold.

    Parameters
    ----------
    signals : sequence of float
        How large the outputs of each layer are, from the first to the last.
    errors : sequence of float, as many
        How large the errors are that arrive at each layer.
    name : str
        What the weights were drawn from.

    Raises
    ------
    ValueError
        If there are not as many errors as signals, or fewer than two of them.
    """
    signals, errors = np.asarray(signals, float), np.asarray(errors, float)
    if signals.shape != errors.shape or signals.ndim != 1 or len(signals) < 2:
        raise ValueError(
            f"signals and errors must be as many numbers, two or more, got {signals.shape} and {errors.shape}"
        )
    figure, axes = new_figure(5.4, 3.4)
    axes.axhline(1, color=RULE, linewidth=1)
    layers = np.arange(1, len(signals) + 1)
    for values, style, what, color in (
        (signals, "o-", "signal, on the way forward", LAYER),
        (errors, "s--", "error, on the way back", KERNEL),
    ):
        axes.plot(
            layers, np.clip(values, LOW, HIGH), style, color=color, markersize=4.5, linewidth=1.4, label=what
        )
    axes.set(yscale="log", ylim=(LOW / 5, HIGH * 5), xlim=(0.5, len(signals) + 0.5), xlabel="layer")
    axes.set_xticks([layer for layer in layers if layer == 1 or layer % 5 == 0])
    axes.set_yticks([1e-10, 1e-5, 1, 1e5, 1e10], ["10⁻¹⁰", "10⁻⁵", "1", "10⁵", "10¹⁰"])
    axes.minorticks_off()
    axes.set_ylabel("size (root mean square)", color=MUTED)
    axes.legend(loc="upper left", ncols=1)
    axes.set_title(name)
    kept, back = signals[-1] / signals[0], errors[0] / errors[-1]
    return describe(
        figure,
        f"{name}: from layer 1 to layer {len(signals)} the signal becomes {_times(kept)}; from the last "
        f"layer back to the first the error becomes {_times(back)}.",
    )


def _times(factor):
    return f"{factor:.2g} times as large"


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(0.7 ** np.arange(1, 21), 0.7 ** np.arange(20, 0, -1), "too small"))
