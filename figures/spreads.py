"""What a training is seen by: how a layer's weights and gradients are spread, and where their means lie."""

from __future__ import annotations

import numpy as np

from minidl.instruments.style import INK, KERNEL, MUTED, TASK, describe, drawing, new_figure

BINS = 31


@drawing
def draw(title: str, layers, limits):
    """Return one row of two panels for each layer: its weights, and their gradients.

    Parameters
    ----------
    title : str
    layers : dict of str to (array, array)
        Weights and their gradients by the layer's name, of any shape.
    limits : dict of str to (float, float)
        How far both axes go, from minus that to that; what lies beyond is counted in the last bar.

    Each histogram is as high as its fullest bar; the line is the mean, and the share that is exactly 0 is
    written where there is one.
    """
    figure, rows = new_figure(5.6, 0.75 + 1.05 * len(layers), nrows=len(layers), ncols=2, squeeze=False)
    said = []
    for i, (name, pair) in enumerate(layers.items()):
        words = []
        for axes, values, limit, color, kind in zip(
            rows[i], pair, limits[name], (KERNEL, TASK), ("weights", "gradient"), strict=True
        ):
            values = np.ravel(np.asarray(values, np.float64))
            mean, spread, zeros = values.mean(), values.std(), np.mean(values == 0)
            counts, edges = np.histogram(np.clip(values, -limit, limit), BINS, (-limit, limit))
            axes.bar(edges[:-1], counts / counts.max(), np.diff(edges), align="edge", color=color, alpha=0.55)
            axes.plot([np.clip(mean, -limit, limit)] * 2, (0, 1.08), color=INK, linewidth=1.2)
            axes.set(xlim=(-limit, limit), ylim=(0, 1.45), yticks=[], xticks=(-limit, 0, limit))
            axes.set_xticklabels((f"-{_short(limit)}", "0", _short(limit)))
            note = f"spread {_short(spread)}" + (f", {zeros:.0%} are 0" if zeros >= 0.005 else "")
            axes.text(-limit, 1.4, note, fontsize=8.5, color=MUTED, va="top")
            words.append(f"{kind} mean {_short(mean)}, {note}")
        rows[i][0].set_ylabel(name, fontsize=9)
        said.append(f"{name}: {'; '.join(words)}")
    rows[0][0].set_title(f"{title}: weights", fontsize=10)
    rows[0][1].set_title("gradient", fontsize=10)
    return describe(figure, f"{title}. {'. '.join(said)}.")


def _short(value):
    """Two digits, and never three decimals, which the SVG would round away."""
    return f"{value:.2g}" if value == 0 or abs(value) >= 0.1 else f"{value:.1e}"


def limits_of(moments):
    """Return limits that several moments of one training can share: what holds 99.5 per cent of each layer.

    Parameters
    ----------
    moments : list of dict, as `draw` takes them
    """
    return {
        name: tuple(
            max(float(np.quantile(np.abs(moment[name][side]), 0.995)) for moment in moments) or 1.0
            for side in (0, 1)
        )
        for name in moments[0]
    }


if __name__ == "__main__":
    from figures.write import write

    values = np.linspace(-1, 1, 200) ** 3
    example = {"first": (values, values / 100), "second": (values / 2, values / 50)}
    write(__file__, draw("epoch 1", example, limits_of([example])))
