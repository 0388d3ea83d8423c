"""Times minidl's CUDA rungs beside the vendor's libraries, on sizes far beyond what a GPU's caches hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np

from minidl.hardware.limits import limits
from minidl.instruments import bench
from minidl.instruments.stopwatch import Timings, compare, time_text

NUMBERS = 100_000_000  # of the largest array: 400 MB, where an H200 has 50 MB of second-level cache
PRODUCT = 4096  # rows and columns of the matrices


@dataclass(frozen=True)
class Bar:
    """What a rung shall reach: a share of the copy bandwidth, or of the fastest peer's speed."""

    rung: str
    against: str
    least: float


@dataclass(frozen=True)
class Race:
    """One ladder on one workload.

    Attributes
    ----------
    ladder, workload : str
    arguments : tuple
    peers : dict of str to callable
    bars : tuple of Bar
    least_bytes : int
        What any program has to move for this, everything read once and written once.
    """

    ladder: str
    workload: str
    arguments: tuple
    peers: dict[str, Callable] = field(default_factory=dict)
    bars: tuple[Bar, ...] = ()
    least_bytes: int = 0


@dataclass(frozen=True)
class Score:
    """How a bar was met; `share` is None where there was nothing to compare with."""

    what: str
    against: str
    share: float | None
    least: float

    @property
    def passed(self) -> bool | None:
        """Whether the bar was reached; None where that is not known."""
        return None if self.share is None else self.share >= self.least


def run(race: Race, rounds=15, budget=0.4) -> Timings:
    """Time the CUDA rungs of a race and its peers in turns."""
    ladder = bench.ladders()[race.ladder]
    rungs = [rung.name for rung in ladder.on("cuda")]
    peers = {name: lambda *_, call=call: call() for name, call in race.peers.items()}
    workload = {race.workload: race.arguments}
    return compare(ladder, workload, rungs, rounds, peers=peers, budget=budget)


def scores(race: Race, timings: Timings) -> list[Score]:
    """Return how a race's bars were met."""
    found = []
    timed = {t.rung: t.median for t in timings.of(race.workload) if t.seconds}
    peers = {name: timed[name] for name in race.peers if name in timed}
    for bar in race.bars:
        share, against = None, bar.against
        if bar.rung in timed and bar.against == "copy":
            share = race.least_bytes / timed[bar.rung] / limits("cuda").copy_bandwidth
        elif bar.rung in timed and peers:
            best = min(peers, key=peers.get)
            share, against = peers[best] / timed[bar.rung], f"{best}, {time_text(peers[best])}"
        found.append(Score(f"{race.ladder}, {bar.rung}: {race.workload}", against, share, bar.least))
    return found


def races(numbers=NUMBERS, product=PRODUCT) -> Iterator[Race]:
    """Yield what is to be timed, made one after the other."""
    flat = np.random.default_rng(0).random(numbers, dtype=np.float32)
    yield from _small(flat)
    yield from _products(product)
    yield from _convolutions(numbers)


def _peers(function, *arrays):
    """Return `function(library, *arrays)` by torch and cupy, on the GPU."""
    named = [*bench._torch(lambda torch, *t: function(torch, *t), *arrays)]
    named += bench._cupy(lambda cupy, *t: function(cupy, *t), *arrays)
    return {name: call for name, call in named if name.endswith(" cuda")}


def _by_torch(function, *arrays):
    return {name: call for name, call in bench._torch(function, *arrays) if name.endswith(" cuda")}


def _bars(rungs, least, against="copy"):
    return tuple(Bar(rung, against, least) for rung in rungs)


def _small(flat):
    """One pass over memory each, more or less."""
    n = flat.size
    for window in (2, 16, 64, 256):
        yield Race(
            "sliding average",
            f"{n:,}, window {window}",
            (flat, min(window, n)),
            _by_torch(
                lambda torch, x, window=window: torch.nn.functional.avg_pool1d(x, min(window, n), 1),
                flat.reshape(1, 1, -1),
            ),
            _bars(["cuda doubling"], 0.85),
            8 * n,
        )
    rows = n // 1000
    x = flat[: rows * 1000].reshape(rows, 1000)
    sigmoid = _by_torch(lambda torch, x: torch.sigmoid(x), x)
    yield Race("sigmoid", f"{rows:,} × 1000", (x,), sigmoid, _bars(["cuda flat"], 0.9), 8 * x.size)
    half = rows // 2
    a, b = x[:half], x[half : 2 * half]
    yield Race(
        "relu(a + b)",
        f"{half:,} × 1000",
        (a, b),
        _by_torch(lambda torch, a, b: torch.relu_(a + b), a, b),
        _bars(["cuda flat"], 0.9),
        12 * a.size,
    )
    for name in ("sum", "maximum"):
        function = {"sum": "sum", "maximum": "max"}[name]
        peers = _peers(lambda library, x, f=function: getattr(library, f)(x), flat)
        best = "cuda warp" if name == "sum" else "cuda strided"
        yield Race(name, f"{n:,}", (flat,), peers, _bars([best], 0.85), 4 * n)
    rows = max(1, n // 1024)
    x = flat[: rows * 1024].reshape(rows, -1)
    softmax = _by_torch(lambda torch, x: torch.softmax(x, -1), x)
    bars = (*_bars(["cuda online"], 0.85), *_bars(["cuda online"], 0.85, "peer"))
    yield Race("softmax", f"{rows:,} × {x.shape[1]}", (x,), softmax, bars, 8 * x.size)
    images = max(1, n // (16 * 28 * 28))
    x = np.resize(flat, (images, 16, 28, 28))
    for name, function in (("max pooling", "max_pool2d"), ("average pooling", "avg_pool2d")):
        peers = _by_torch(lambda torch, x, f=function: getattr(torch.nn.functional, f)(x, 2), x)
        yield Race(name, f"{images:,} × 16 × 28 × 28, 2 × 2", (x, 2), peers, (), 5 * x.size)
    quarter = max(1, n // 4)
    buffers = [flat[i * quarter : (i + 1) * quarter] for i in range(4)]
    yield Race(
        "Adam", f"{quarter:,}", (*buffers, 1), _torch_adam(buffers), _bars(["cuda fused"], 0.9), 28 * quarter
    )


def _torch_adam(buffers):
    if find_spec("torch") is None:
        return {}
    import torch

    if not torch.cuda.is_available():
        return {}
    weights = torch.nn.Parameter(torch.from_numpy(buffers[0].copy()).cuda())
    weights.grad = torch.from_numpy(buffers[1].copy()).cuda()
    return {"torch cuda": torch.optim.Adam([weights], lr=1e-3, fused=True).step}


def _products(product):
    for n in sorted({min(1024, product), product}):
        a, b = (np.random.default_rng(seed).standard_normal((n, n), dtype=np.float32) for seed in (0, 1))
        bars = (
            Bar("cuda register 2d", "cuBLAS", 0.65),
            Bar("cuda vector", "cuBLAS", 0.75),
        )
        peers = _peers(lambda library, a, b: a @ b, a, b)
        yield Race("matmul", f"{n} × {n}", (a, b), peers, bars * (n == product), 12 * n * n)


def _convolutions(numbers):
    """The layer that the CPU's bar is about, and one that fills a large GPU."""
    sizes = [(32, 16, 28, 32), (max(1, min(128, numbers // 200_704)), 64, 56, 64)]
    if numbers < NUMBERS // 100:
        sizes = [(1, 2, 5, 3)]
    for images, channels, side, filters in sizes:
        random = np.random.default_rng(0)
        x = random.standard_normal((images, channels, side, side), dtype=np.float32)
        w = random.standard_normal((filters, channels, 3, 3), dtype=np.float32)
        bias = random.standard_normal(filters, dtype=np.float32)
        g = random.standard_normal((images, filters, side, side), dtype=np.float32)
        name = f"{images} × {channels} × {side} × {side}, {filters} filters 3 × 3"
        yield Race(
            "convolution",
            name,
            (x, w, bias, 1, 1),
            _by_torch(lambda torch, x, w, b: torch.nn.functional.conv2d(x, w, b, 1, 1), x, w, bias),
            _bars(["cuda implicit"], 0.4, "cuDNN"),
        )

        def backward(torch, g, x, w):
            pair, both = [1, 1], [True, True, True]
            sizes = [len(w)]
            return torch.ops.aten.convolution_backward(
                g, x, w, sizes, pair, pair, pair, False, [0, 0], 1, both
            )

        yield Race("convolution backward", name, (g, x, w, 1, 1), _by_torch(backward, g, x, w))
