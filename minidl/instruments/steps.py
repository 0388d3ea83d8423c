"""Whole training steps of minidl beside PyTorch's: of a small CNN, of the dense GAN, and of a single number.

    python -m minidl steps

Each side runs in a process of its own, with the settings that suit it best: in one process they would share
OpenMP, whose idle threads minidl puts to sleep soon, which costs PyTorch a third of its speed. They take
turns, so that what disturbs the machine disturbs all, and ratios are taken round by round. Memory is what a
step takes beyond what is resident between two of them.
"""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from minidl import graph, layers
from minidl.instruments.stopwatch import Table, time_text
from minidl.tasks import losses, optim

BATCH = 64
WARM_UP = 0.2  # seconds of each turn before timing: until its threads are awake, each on a core of its own
STEPS_PER_TURN = 9

# -------------------------------------------------------------------------------------------------- the steps


def _normal(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def cnn(compiled=False) -> Callable:
    """Return a training step of a CNN on 28×28 images: conv 3×3-16, pool, 3×3-32, pool, dense 10; SGD."""
    model = layers.Sequential(
        layers.Conv2d(1, 16, 3, padding=1),
        layers.ReLU(),
        layers.MaxPool2d(2),
        layers.Conv2d(16, 32, 3, padding=1),
        layers.ReLU(),
        layers.MaxPool2d(2),
        layers.Flatten(),
        layers.Dense(32 * 7 * 7, 10),
    )
    optimiser = optim.SGD(model.parameters(), lr=0.01)
    x, labels = _normal(BATCH, 1, 28, 28), np.arange(BATCH) % 10

    def loss_of(x, labels):
        return losses.cross_entropy(model(x), labels)

    loss_of = graph.compile(loss_of) if compiled else loss_of

    def step():
        optimiser.zero_grad()
        loss_of(x, labels).backward()
        optimiser.step()

    return step


def gan(compiled=False) -> Callable:
    """Return one training step of the dense GAN, generator 100-256-512-784 and discriminator back; Adam."""
    generator = layers.Sequential(
        layers.Dense(100, 256),
        layers.LeakyReLU(0.2),
        layers.Dense(256, 512),
        layers.LeakyReLU(0.2),
        layers.Dense(512, 784),
        layers.Tanh(),
    )
    discriminator = layers.Sequential(
        layers.Dense(784, 512),
        layers.LeakyReLU(0.2),
        layers.Dense(512, 256),
        layers.LeakyReLU(0.2),
        layers.Dense(256, 1),
    )
    to_generator = optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    to_discriminator = optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    real, noise = _normal(BATCH, 784), _normal(BATCH, 100)
    yes, no = np.ones((BATCH, 1), np.float32), np.zeros((BATCH, 1), np.float32)

    def draw(noise):
        return generator(noise)

    def told_apart(real, fake):
        right = losses.bce_with_logits(discriminator(real), yes)
        return right + losses.bce_with_logits(discriminator(fake), no)

    def deceived(noise):
        return losses.bce_with_logits(discriminator(generator(noise)), yes)

    if compiled:
        draw, told_apart, deceived = map(graph.compile, (draw, told_apart, deceived))

    def step():
        with graph.no_grad():
            fake = draw(noise)
        to_discriminator.zero_grad()
        told_apart(real, fake).backward()
        to_discriminator.step()
        to_generator.zero_grad()
        deceived(noise).backward()
        to_generator.step()

    return step


def torch_cnn() -> Callable:
    """Return the step of `cnn` in PyTorch."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    x, labels = torch.from_numpy(_normal(BATCH, 1, 28, 28)), torch.arange(BATCH) % 10

    def step():
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimiser.step()

    return step


def torch_gan(**adam) -> Callable:
    """Return the step of `gan` in PyTorch, with options for its Adam."""
    import torch
    from torch import nn

    slope = nn.LeakyReLU(0.2)
    generator = nn.Sequential(
        nn.Linear(100, 256), slope, nn.Linear(256, 512), slope, nn.Linear(512, 784), nn.Tanh()
    )
    discriminator = nn.Sequential(
        nn.Linear(784, 512), slope, nn.Linear(512, 256), slope, nn.Linear(256, 1)
    )  # fmt: skip
    options = {"lr": 2e-4, "betas": (0.5, 0.999), **adam}
    to_generator = torch.optim.Adam(generator.parameters(), **options)
    to_discriminator = torch.optim.Adam(discriminator.parameters(), **options)
    real, noise = torch.from_numpy(_normal(BATCH, 784)), torch.from_numpy(_normal(BATCH, 100))
    yes, no = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    bce = nn.functional.binary_cross_entropy_with_logits

    def step():
        with torch.no_grad():
            fake = generator(noise)
        to_discriminator.zero_grad()
        (bce(discriminator(real), yes) + bce(discriminator(fake), no)).backward()
        to_discriminator.step()
        to_generator.zero_grad()
        bce(discriminator(generator(noise)), yes).backward()
        to_generator.step()

    return step


def tiny(number) -> Callable:
    """Return a run of 100 operations on one number, there and back, in any library: all of it overhead."""

    def run():
        y = number
        for _ in range(50):
            y = y * number + number
        y.backward()
        number.grad = None

    return run


def _tiny(compiled=False):
    def line(number):
        y = number
        for _ in range(50):
            y = y * number + number
        return y

    number = graph.Tensor(np.float32(0.5), requires_grad=True)
    if not compiled:
        return tiny(number)
    line = graph.compile(line)

    def run():
        line(number).backward()
        number.grad = None

    return run


def _torch_tiny():
    import torch

    return tiny(torch.tensor(0.5, requires_grad=True))


GROUPS = {
    "CNN": {"dynamic": cnn, "compiled": lambda: cnn(True), "torch": torch_cnn},
    "dense GAN": {
        "dynamic": gan,
        "compiled": lambda: gan(True),
        "torch": torch_gan,
        "torch, fused Adam": lambda: torch_gan(fused=True),
    },
    "100 tiny operations": {"dynamic": _tiny, "compiled": lambda: _tiny(True), "torch": _torch_tiny},
}

# --------------------------------------------------------------------------------------------------- the time


def measure(names=(), rounds=20, progress=False) -> dict[str, dict[str, list[float]]]:
    """Time steps in turns.

    Parameters
    ----------
    names : sequence of str
        Of `GROUPS`; all by default.
    rounds : int
    progress : bool
        Whether to show a bar.

    Returns
    -------
    dict of str to dict of str to list of float
        For each group and each of its steps the seconds of every round.

    Raises
    ------
    ValueError
        If there is no such group.
    """
    names, measured = _known(names), {}
    with tqdm(total=len(names) * rounds, disable=not progress, unit="round") as bar:
        for name in names:
            bar.set_description(name)
            with ExitStack() as stack:
                sides = {
                    side: stack.enter_context(_Side(name, side)) for side in GROUPS[name] if _can_run(side)
                }
                seconds = {side: [] for side in sides}
                for _ in range(rounds):
                    for side, process in sides.items():
                        seconds[side].append(process.take_turn())
                    bar.update()
            measured[name] = seconds
    return measured


def _known(names):
    for name in names:
        if name not in GROUPS:
            raise ValueError(f"there is no step {name!r}; there are: {', '.join(GROUPS)}")
    return list(names or GROUPS)


def _can_run(side):
    return not side.startswith("torch") or find_spec("torch") is not None


class _Side:
    """A process that makes one step and, whenever it is asked to, runs it a few times."""

    def __init__(self, group, side):
        self._process = _start(f"_serve({group!r}, {side!r})", side)
        self.take_turn()  # compiles, and fills caches

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def take_turn(self):
        """Return the median seconds of a few steps."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def _start(call, side):
    """Start a process that makes a call of this module; PyTorch's OpenMP is left as PyTorch has it."""
    code = f"from minidl.instruments import steps; steps.{call}"
    environment = {**os.environ, "GOMP_SPINCOUNT": "300000"} if side.startswith("torch") else None
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _serve(group, side):
    step = _ready(group, side)
    for _ in sys.stdin:
        start, times = time.perf_counter(), []
        while time.perf_counter() - start < WARM_UP:
            step()
        for _ in range(STEPS_PER_TURN):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(statistics.median(times), flush=True)


def _ready(group, side):
    """Return a step that has run a few times."""
    step = GROUPS[group][side]()
    for _ in range(5):
        step()
    return step


def table(measured) -> Table:
    """Return medians, and how many times as fast as each other step of its group each of ours is."""
    rows = []
    for name, seconds in measured.items():
        peers = [side for side in seconds if side.startswith("torch")]
        for side, ours in seconds.items():
            against = [] if side in peers else peers + (["dynamic"] if side == "compiled" else [])
            ratios = [
                f"{statistics.median(b / a for a, b in zip(ours, seconds[other], strict=True)):.2f} × {other}"
                for other in against
            ]
            rows.append((name, side, time_text(statistics.median(ours)), ", ".join(ratios)))
    caption = "medians; the speed is that of the median round, above 1 means faster."
    if find_spec("torch") is None:
        caption += " PyTorch is not installed here, so there is nothing to compare with."
    return Table(("step", "by", "time", "speed"), tuple(rows), caption)


# ------------------------------------------------------------------------------------------------- the memory


def measure_memory(names=(), progress=False) -> dict[str, dict[str, int]]:
    """Return the bytes that a step takes beyond what is resident between two of them, by group and side.

    On Linux only: the kernel's own high-water mark is reset and read.
    """
    if not sys.platform.startswith("linux"):
        raise ValueError("memory is measured on Linux only")
    taken = {name: {} for name in _known(names)}
    runs = [(name, side) for name in taken for side in GROUPS[name] if _can_run(side)]
    for name, side in tqdm(runs, disable=not progress):
        said, _ = _start(f"_print_peak({name!r}, {side!r})", side).communicate()
        taken[name][side] = int(said)
    return taken


def memory_table(taken) -> Table:
    """Return a row for each step."""
    rows = [
        (name, side, f"{peak / 2**20:.1f} MiB")
        for name, peaks in taken.items()
        for side, peak in peaks.items()
    ]
    return Table(("step", "by", "peak memory"), tuple(rows), "beyond what is resident between two steps.")


def _print_peak(group, side):
    step = _ready(group, side)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark is now what there is
    before = _status("VmRSS")
    for _ in range(3):
        step()
    print(_status("VmHWM") - before)


def _status(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(field))
