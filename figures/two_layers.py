"""The two-layer ReLU net of a lecture in several styles: how equal its losses are, and how fast a step is.

    torch = live_or_recorded("PyTorch")   # where it is installed; otherwise as it was recorded
    draw({"by hand": losses, "PyTorch": torch["losses"]})

`python -m figures.two_layers record` records the libraries anew, into figures/records/two_layers.json.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module, metadata, resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minidl.hardware.device import Device
from minidl.hardware.threads import use_threads
from minidl.instruments.stopwatch import provenance
from minidl.instruments.style import INK, SERIES, describe, drawing, new_figure

N, D, H = 64, 1000, 100
STEPS, RATE = 50, 1e-5
RECORD = "two_layers.json"


def data(seed: int = 0) -> dict:
    """Return the float32 arrays x, y (64, 1000), w1 (1000, 100) and w2 (100, 1000), all drawn at random."""
    random = np.random.default_rng(seed)
    shapes = {"x": (N, D), "y": (N, D), "w1": (D, H), "w2": (H, D)}
    return {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def in_pytorch(x, y, w1, w2):
    """Yield the loss of each step."""
    import torch

    x, y = torch.tensor(x), torch.tensor(y)
    w1 = torch.tensor(w1, requires_grad=True)
    w2 = torch.tensor(w2, requires_grad=True)
    for _ in range(STEPS):
        h = (x @ w1).relu()
        loss = ((h @ w2 - y) ** 2).sum(dim=1).mean()
        loss.backward()
        with torch.no_grad():
            for w in (w1, w2):
                w -= RATE * w.grad
                w.grad = None
        yield loss.item()


def in_jax(x, y, w1, w2):
    """Yield the loss of each step."""
    import jax
    import jax.numpy as jnp

    def loss_of(weights, x, y):
        w1, w2 = weights
        h = jnp.maximum(x @ w1, 0)
        return ((h @ w2 - y) ** 2).sum(axis=1).mean()

    @jax.jit
    def step(weights, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
        return loss, [w - RATE * g for w, g in zip(weights, gradients, strict=True)]

    weights = [jnp.array(w1), jnp.array(w2)]
    for _ in range(STEPS):
        loss, weights = step(weights, x, y)
        yield float(loss)


#: Name → (the package that is needed, how it is done there).
LIBRARIES = {"PyTorch": ("torch", in_pytorch), "JAX": ("jax", in_jax)}


def run(style, arrays, repeat: int = 3) -> dict:
    """Train on one core, and return {"losses", "seconds"}.

    One, because libraries whose threads wait for each other in different ways would spoil each other's times;
    JAX alone does not let itself be told.

    Parameters
    ----------
    style : callable
        style(x, y, w1, w2) → a generator that takes a step and yields its loss, again and again.
    arrays : dict
        As `data` returns it; the style must leave it as it is, which is checked.
    repeat : int
        How many trainings. "seconds" is the time of the quickest of all their steps: other programs may be
        running, and nothing makes a step quicker than it can be.
    """
    before, times = {name: array.copy() for name, array in arrays.items()}, []
    for _ in range(repeat):
        losses, ends = [], []
        with use_threads(1):
            for loss in style(*arrays.values()):
                losses.append(float(loss))
                ends.append(time.perf_counter())
        times += np.diff(ends).tolist()
    changed = [name for name, array in arrays.items() if not np.array_equal(array, before[name])]
    if changed:
        raise ValueError(f"style must not change the arrays it is given, it changed {', '.join(changed)}")
    return {"losses": losses, "seconds": min(times)}


def live_or_recorded(name: str) -> dict:
    """Return {"losses", "seconds", "source"} of a library: live where it is installed, else as recorded."""
    if name not in LIBRARIES:
        raise ValueError(f"name must be one of {', '.join(LIBRARIES)}, got {name!r}")
    package, style = LIBRARIES[name]
    if find_spec(package) is None:
        return recorded(name)
    import_module(package)  # its threads are counted only when they are there
    source = f"live, {name} {metadata.version(package)} on {Device('cpu').name}"
    return {**run(style, data()), "source": source}


def recorded(name: str) -> dict:
    """Return the same from the record that the book brings along; "source" says where it is from."""
    text = resources.files("figures").joinpath("records", RECORD).read_text("utf-8")
    record = json.loads(text)
    about = record["about"]
    source = (
        f"{name} is not installed here: recorded with {name} {about['versions'][LIBRARIES[name][0]]} on "
        f"{about['devices']['cpu']}, {about['cores']} cores, {about['date']}"
    )
    return {**record["runs"][name], "source": source}


def make() -> dict:
    """Run the libraries here and return the record, which JSON can hold."""
    runs = {}
    for name, (package, style) in LIBRARIES.items():
        import_module(package)
        runs[name] = run(style, data(), repeat=20)
    about = provenance()
    about["method"] = "the quickest step of 20 trainings of 50, on one core but for JAX"
    return {"about": about, "runs": runs}


@drawing
def draw(losses: dict):
    """Return two panels: the losses, step by step, and how far each style is from the first one.

    Parameters
    ----------
    losses : dict of str to sequence of float
        Of each style, of equal length; the first is what the others are compared with.
    """
    names, first = list(losses), np.array(next(iter(losses.values())), float)
    away = {name: np.abs(np.array(losses[name], float) / first - 1) for name in names[1:]}
    figure, (left, right) = new_figure(6.4, 3.2, ncols=2)
    steps = np.arange(1, len(first) + 1)
    left.plot(steps, first, color=INK, linewidth=4, alpha=0.25, label=names[0])
    for name, color in zip(names[1:], SERIES, strict=False):
        left.plot(steps, losses[name], color=color, linewidth=1.1)
        right.plot(steps, np.maximum(away[name], 1e-9), color=color, label=name)
    left.set(yscale="log", xlabel="step", title="loss")
    left.legend(loc="upper right")
    right.set(yscale="log", ylim=(5e-10, 1), xlabel="step", title="difference, as a share")
    right.legend(loc="upper left", ncols=2)
    for axes in (left, right):
        axes.tick_params(which="minor", length=0)
    says = ", ".join(f"{name} {values.max():.0e}" for name, values in away.items())
    return describe(
        figure,
        f"Loss against step for {', '.join(names)}: from {first[0]:.3g} to {first[-1]:.3g}. "
        f"Largest relative difference from {names[0]}: {says}.",
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["record"]:
        file = Path(__file__).parent / "records" / RECORD
        file.write_text(json.dumps(make(), separators=(",", ":"), ensure_ascii=False) + "\n", "utf-8")
        print(file)
    else:
        from figures.write import write

        write(__file__, draw({name: recorded(name)["losses"] for name in LIBRARIES}))
