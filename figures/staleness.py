"""What old gradients do to a training: digits, learned with gradients that are some steps late."""

from __future__ import annotations

import collections

import numpy as np

from minidl import layers
from minidl.graph import Tensor, cross_entropy
from minidl.instruments.style import INK, KERNEL, MUTED, describe, drawing, new_figure
from minidl.kernels.arguments import check_integer

STEPS, BATCH, HIDDEN = 120, 32, 32


def train(staleness: int, rate: float, steps: int = STEPS, seed: int = 0):
    """Return the loss of each batch, when every gradient is that at the weights of `staleness` steps before.

    The rule is that of `distributed.Downpour(staleness)` with plain descent, done in one process: the loss of
    step t is the one the worker of step t has seen.

    Parameters
    ----------
    staleness : int
    rate : float
        The learning rate.
    steps, seed : int

    Returns
    -------
    float64 array, shape (steps,)
        Where it flies apart, infinity.
    """
    from minidl.tasks.data import digits

    check_integer("staleness", staleness, 0)
    split = digits().train
    x, y = split.inputs.reshape(len(split), -1), split.targets
    generator = np.random.default_rng(seed)
    model = layers.Sequential(
        layers.Dense(64, HIDDEN, generator=generator),
        layers.ReLU(),
        layers.Dense(HIDDEN, 10, generator=generator),
    )
    params, losses = model.parameters(), np.full(steps, np.inf)
    old = collections.deque([[p.data.copy() for p in params]], staleness + 1)  # the last versions
    for step in range(steps):
        chosen = generator.integers(0, len(x), BATCH)
        for parameter, data in zip(params, old[0], strict=True):
            parameter.data, parameter.grad = data, None
        loss = cross_entropy(model(Tensor(x[chosen])), y[chosen])
        if not np.isfinite(loss.item()):
            break
        losses[step] = loss.item()
        loss.backward()
        old.append([now - rate * p.grad for now, p in zip(old[-1], params, strict=True)])
    return losses


@drawing
def draw(staleness: int, rate: float, steps: int = STEPS):
    """Return the loss, batch by batch, with the one of fresh gradients behind it."""
    fresh, late = train(0, rate, steps), train(staleness, rate, steps)
    figure, axes = new_figure(6.2, 2.9)
    axes.plot(np.minimum(fresh, 99), color=MUTED, linewidth=1.2, label="fresh")
    axes.plot(np.minimum(late, 99), color=KERNEL, label="late")
    axes.axhline(np.log(10), color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set(xlim=(0, steps - 1), ylim=(0, 5), xlabel="step", ylabel="loss of the batch",
             title=f"rate {rate:g}, gradients {staleness} step{'s' * (staleness != 1)} late")  # fmt: skip
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)  # within, no corner stays free of curves
    ends = [float(np.mean(losses[-20:])) for losses in (fresh, late)]
    says = f"{ends[1]:.2f}" if np.isfinite(ends[1]) else "no longer a number"
    return describe(
        figure,
        f"Digits, learning rate {rate:g}. Mean loss of the last 20 of {steps} steps: {ends[0]:.2f} with "
        f"fresh gradients, {says} with gradients {staleness} steps late. Guessing costs 2.30, the dashed "
        "line.",
    )


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(7, 0.5))
