"""The filters of a first convolution, side by side, at one moment of the training."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import canvas, label, shades
from minidl.instruments.style import KERNEL, MODEL, MUTED, describe, drawing
from minidl.instruments.widgets import frames as behind_a_slider


@drawing
def draw(filters, title: str, columns: int = 8):
    """Return all filters as small pictures: what adds and what subtracts, on one scale for all of them.

    Parameters
    ----------
    filters : (n, K, K) array
    title : str
        The moment, and how good the network is by then.
    columns : int
        Filters in one row.
    """
    filters = np.asarray(filters, dtype=np.float64)
    size, pitch = filters.shape[1], filters.shape[1] + 1.2
    rows = -(-len(filters) // columns)
    figure, axes = canvas(columns * pitch + 0.2, rows * pitch + 5.2, unit=5.4 / (columns * pitch + 0.2))
    label(axes, 0.6, 1.2, title, align="left", bold=True, size=10.5)
    limit = np.percentile(np.abs(filters), 99)
    for i, kernel in enumerate(filters):
        at = 0.6 + pitch * (i % columns), 2.6 + pitch * (i // columns)
        shades(axes, *at, kernel, limit=limit, positive=MODEL, negative=KERNEL)
    bottom = rows * pitch + 3.6
    label(axes, 0.6, bottom, "adds", align="left", size=9.5, color=MODEL)
    label(axes, 6, bottom, "subtracts", align="left", size=9.5, color=KERNEL)
    label(axes, 16, bottom, f"strongest: ±{limit:.2f}", align="left", size=9.5, color=MUTED)
    return describe(
        figure,
        f"{title}: {len(filters)} filters of {size} by {size} weights, the strongest about {limit:.2f}.",
    )


def frames(watch, name: str, columns: int = 8):
    """Return the filters that a `Watch(keep=name)` kept, behind a slider, the last moment first.

    Of a weight (O, C, K, K) with several channels, the first channel of each filter is drawn.
    """
    moments = [moment for moment in watch.moments if name in moment.arrays]
    if not moments or moments[0].arrays[name].ndim != 4:
        raise ValueError(f"watch has kept no convolution's weight called {name!r}: give it keep={name!r}")
    pictures = [draw(m.arrays[name][:, 0], f"after epoch {m.epoch}", columns) for m in moments]
    return behind_a_slider(pictures, "epoch", names=[str(m.epoch) for m in moments], start=len(pictures) - 1)


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(np.random.default_rng(0).normal(size=(16, 5, 5)), "before training"))
