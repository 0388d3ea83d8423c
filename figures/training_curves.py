"""What a training measures, epoch after epoch: losses, and everything else; live or afterwards."""

from __future__ import annotations

import math
import time

from minidl.instruments.style import RULE, SERIES, describe, drawing, new_figure
from minidl.instruments.widgets import frames as behind_a_slider
from minidl.instruments.widgets import picture

ASIDE = ("epoch", "lr", "seconds")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))


@drawing
def draw(history, until: int | None = None):
    """Return the curves of a history.

    Parameters
    ----------
    history : History
        What `tasks.fit`, `fit_gan` or `fit_began` returned, or a training's `history`.
    until : int, optional
        Draw only so many epochs, on the axes of all of them.
    """
    names = [name for name in history.names if name not in ASIDE]
    losses = [name for name in names if "loss" in name]
    others = [name for name in names if name not in losses]
    panels = [group for group in (losses, others) if group]
    if not len(history) or not panels:
        raise ValueError("history has no epoch yet that measured something")
    until = len(history) if until is None else until
    if not 1 <= until <= len(history):
        raise ValueError(f"until must be from 1 to {len(history)}, got {until}")
    epochs = history["epoch"]
    figure, axes = new_figure(5.6, 2.9, ncols=len(panels), squeeze=False)
    for panel, group in zip(axes[0], panels, strict=True):
        for i, name in enumerate(group):
            values = [math.nan if v is None else v for v in history[name]]
            style = {"color": SERIES[i % len(SERIES)], "linestyle": DASHES[i % len(DASHES)]}
            panel.plot(epochs[:until], values[:until], label=name.replace("_", " "), **style)
            panel.plot(epochs[until - 1], values[until - 1], "o", markersize=4, color=style["color"])
        shown = [v for name in group for v in history[name] if v is not None and math.isfinite(v)]
        low, high = min(shown, default=0.0), max(shown, default=1.0)
        room = 0.06 * (high - low) or 0.5
        panel.set(xlim=(epochs[0] - 0.5, epochs[-1] + 0.5), ylim=(low - room, high + room), xlabel="epoch")
        panel.set_title("losses" if group is losses else "metrics")
        panel.grid(color=RULE, linewidth=0.5)
        panel.set_axisbelow(True)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.legend(loc="best", fontsize=8)
    row = history[until - 1]
    said = ", ".join(
        f"{name.replace('_', ' ')} {row[name]:.3g}" for name in names if row.get(name) is not None
    )
    return describe(figure, f"After epoch {row['epoch']} of {epochs[-1]}: {said}.")


def frames(history, count: int = 20):
    """Return the curves as they grew, behind a slider: at most `count` epochs, the last one first."""
    total = len(history)
    chosen = sorted({round(total * i / min(count, total)) for i in range(1, min(count, total) + 1)})
    pictures = [draw(history, n) for n in chosen]
    names = [str(history["epoch"][n - 1]) for n in chosen]
    return behind_a_slider(pictures, "epoch", names=names, start=len(chosen) - 1)


class Live:
    """A callback that draws the curves while a network trains in a notebook, in one place, again and again.

        tasks.fit(model, data, 20, callbacks=[training_curves.Live()])

    Parameters
    ----------
    seconds : float
        At least between two drawings, so that the training is not slowed down; the last is always drawn.
    """

    def __init__(self, seconds: float = 1.0):
        self.seconds, self.handle, self._drawn, self._cost = float(seconds), None, -math.inf, 0.0

    def __call__(self, training):
        """Draw, if it is time."""
        began = time.monotonic()
        last = training.epoch >= training.epochs or training.stop
        # and at most a tenth of the time goes into drawing
        if not last and began - self._drawn < max(self.seconds, 10 * self._cost):
            return
        from IPython.display import display

        drawn = picture(draw(training.history))
        if self.handle is None:
            self.handle = display(drawn, display_id=True)  # None where there is nobody to show it to
        else:
            self.handle.update(drawn)
        self._drawn = time.monotonic()
        self._cost = self._drawn - began


if __name__ == "__main__":
    from figures.write import write
    from minidl.tasks.train import History

    rows = [
        {"epoch": n, "loss": 2 / n, "test_loss": 2 / n + 0.1, "test_accuracy": 1 - 0.5 / n}
        for n in range(1, 9)
    ]
    write(__file__, draw(History(rows)))
