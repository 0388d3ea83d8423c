"""The benchmark: minidl's ladders on this machine, beside the libraries that people use, in one process.

To add a kernel: give its `Ladder` an `example`, and it is timed. To time it on workloads of its own, or
beside other libraries, write a function below that yields `(workload, arguments, peers)` and decorate it with
the ladder's name. A peer is called without arguments, on data that was prepared outside the timing.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minidl import kernels
from minidl.hardware.device import Device
from minidl.instruments.stopwatch import Table, Timings, compare, time_text
from minidl.kernels.ladder import Ladder

PACKAGES = ("bottleneck", "scipy", "torch", "jax", "cupy")


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes
    ----------
    ladder : Ladder
    workload : str
    arguments : tuple
        Of the ladder's rungs.
    peers : dict of str to callable
        Other implementations of the same thing on the same data; those on a GPU end in " cuda".
    """

    ladder: Ladder
    workload: str
    arguments: tuple
    peers: dict[str, Callable] = field(default_factory=dict)


def ladders() -> dict[str, Ladder]:
    """Return every ladder of `minidl.kernels` that brings an example to be timed on, by its name."""
    found = {}
    for module in pkgutil.walk_packages(kernels.__path__, "minidl.kernels."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Ladder) and value.example is not None:
                found[value.name] = value
    return dict(sorted(found.items()))


def cases(names=(), quick=False, size=None) -> Iterator[Case]:
    """Yield what is to be timed: made one after the other, so that only one workload is in memory at a time.

    Parameters
    ----------
    names : sequence of str
        Which ladders; all by default.
    quick : bool
        Small workloads.
    size : int, optional
        Use the ladder's example with about `size` elements instead of the workloads below.

    Raises
    ------
    ValueError
        If there is no such ladder, before anything is yielded.
    """
    known = ladders()
    for name in names:
        if name not in known:
            raise ValueError(f"there is no ladder {name!r}; there are: {', '.join(known)}")

    def generate():
        for name in dict.fromkeys(names or known):
            ladder = known[name]
            if size is None and name in _WORKLOADS:
                for workload, arguments, peers in _WORKLOADS[name](quick):
                    yield Case(ladder, workload, arguments, dict(peers))
            else:
                elements = size or (100_000 if quick else 1_000_000)
                yield Case(ladder, f"{elements:,} elements", ladder.example(elements))

    return generate()


def run(names=(), *, quick=False, size=None, budget=None, progress=False) -> Iterator[Timings]:
    """Time case after case, every rung and peer of a case in turns; stop after one that was interrupted."""
    if budget is None:
        budget = 0.1 if quick else 1.0
    for case in cases(names, quick, size):
        timings = compare(
            case.ladder,
            {case.workload: case.arguments},
            repeat=5 if quick else 15,
            peers={name: lambda *_, call=call: call() for name, call in case.peers.items()},
            budget=budget,
            progress=progress,
        )
        yield timings
        if timings.interrupted:
            return


# ----------------------------------------------------------------------------------------- minidl or the peer


def summary(measured: list[Timings]) -> Table:
    """Return one row for each peer: how many times as fast minidl's fastest rung is, taken round by round.

    Peers on the processor stand beside the fastest rung in pure numba, peers on a GPU beside the fastest CUDA
    rung, kernels beside kernels. For recorded measurements the caption says where they are from.
    """
    rows = []
    for timings in measured:
        for workload in timings.workloads:
            timed = [timing for timing in timings.of(workload) if timing.seconds]
            for peer in (timing for timing in timed if timing.device == "peer"):
                best = _rival(timings.ladder, timed, "cuda" if peer.rung.endswith(" cuda") else "cpu")
                if best is None:
                    continue
                ratio = statistics.median(b / a for a, b in zip(best.seconds, peer.seconds, strict=False))
                us, them = time_text(best.median), time_text(peer.median)
                rows.append((timings.ladder, workload, best.rung, us, peer.rung, them, f"{ratio:.2f}"))
    caption = "ratio above 1: minidl is faster; medians of the ratios of interleaved runs."
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing and any(timings.live for timings in measured):
        caption += f" Not installed here, so not compared: {', '.join(missing)}."
    for source in dict.fromkeys(timings.source() for timings in measured if not timings.live):
        caption += f"\n{source}"
    return Table(("ladder", "workload", "minidl", "time", "peer", "time", "ratio"), tuple(rows), caption)


def _rival(ladder, timed, device):
    rungs = ladders()[ladder]
    ours = [t for t in timed if t.device == device]
    pure = [t for t in ours if rungs[t.rung].pure_numba]
    return min(pure or ours, key=lambda timing: timing.median, default=None)


# ------------------------------------------------------------------------------------------------- records


def default_record() -> Path:
    """Return `figures/records/<device>.json`: of the GPU if there is one, else of the processor."""
    name = Device("cuda" if Device("cuda").available else "cpu").name
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return Path(str(resources.files("figures").joinpath("records", f"{slug}.json")))


def save(measured: list[Timings], path: Path) -> None:
    """Write measurements as JSON, whole or not at all. Ladders that were not measured keep their record."""
    new = [timings for timings in measured if not timings.interrupted]
    replaced = {timings.ladder for timings in new}
    old = json.loads(path.read_text("utf-8")) if path.exists() else []
    contents = [content for content in old if content["ladder"] not in replaced]
    contents += [json.loads(timings.to_json()) for timings in new]
    contents.sort(key=lambda content: content["ladder"])
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


# --------------------------------------------------------------------------------------- workloads and peers

_WORKLOADS: dict[str, Callable] = {}


def _workloads(ladder: str):
    """Decorate a function that yields a ladder's workloads: `(name, arguments, peers)`."""

    def register(function):
        _WORKLOADS[ladder] = function
        return function

    return register


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _torch(function, *arrays):
    """Yield `function(torch, *tensors)` as a peer, on the processor and where there is a GPU on it too."""
    if find_spec("torch") is None:
        return
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32, as ours is
    tensors = [torch.from_numpy(array) for array in arrays]
    no_gradients = torch.no_grad()
    yield "torch", no_gradients(lambda: function(torch, *tensors))
    if torch.cuda.is_available():
        there = [tensor.cuda() for tensor in tensors]
        yield "torch cuda", no_gradients(lambda: function(torch, *there))


def _jax(function, *arrays):
    """Yield `function(jax, *arrays)` as a peer, compiled, on the processor."""
    if find_spec("jax") is None:
        return
    import jax

    there = [jax.device_put(array, jax.devices("cpu")[0]) for array in arrays]
    compiled = jax.jit(lambda *values: function(jax, *values))
    yield "jax", lambda: jax.block_until_ready(compiled(*there))


def _cupy(function, *arrays):
    """Yield `function(cupy, *arrays)` as a peer on the GPU."""
    if find_spec("cupy") is None or not Device("cuda").available:
        return
    import cupy

    there = [cupy.asarray(array) for array in arrays]
    yield "cupy cuda", lambda: function(cupy, *there)


@_workloads("sliding average")
def _sliding_average(quick):
    n = 1_000_000 if quick else 10_000_000
    a = np.random.default_rng(0).random(n, dtype=np.float32)
    copy = np.empty_like(a)

    def peers(window):
        if find_spec("bottleneck"):
            import bottleneck

            yield "bottleneck", lambda: bottleneck.move_mean(a, window)
        if find_spec("scipy"):
            from scipy.ndimage import uniform_filter1d

            yield "scipy", lambda: uniform_filter1d(a, window, output=copy)
        yield "numpy copy", lambda: np.copyto(copy, a)
        yield from _torch(lambda torch, x: torch.nn.functional.avg_pool1d(x, window, 1), a.reshape(1, 1, -1))

    for window in (2, 16, 256):
        yield f"{n:,}, window {window}", (a, window), peers(window)


@_workloads("matmul")
def _matmul(quick):
    for n in (256,) if quick else (1024, 2048):
        a, b, out = _normal(n, n), _normal(n, n, seed=1), np.empty((n, n), np.float32)

        def peers(a=a, b=b, out=out):
            yield "numpy", lambda: np.matmul(a, b, out=out)
            yield from _torch(lambda torch, a, b: a @ b, a, b)
            yield from _jax(lambda jax, a, b: a @ b, a, b)
            yield from _cupy(lambda cupy, a, b: a @ b, a, b)

        yield f"{n} × {n}", (a, b), peers()


@_workloads("softmax")
def _softmax(quick):
    x = _normal(256 if quick else 4096, 1024)

    def peers():
        if find_spec("scipy"):
            from scipy.special import softmax

            yield "scipy", lambda: softmax(x, axis=-1)
        yield from _torch(lambda torch, x: torch.softmax(x, -1), x)
        yield from _jax(lambda jax, x: jax.nn.softmax(x, -1), x)

    yield f"{x.shape[0]} × {x.shape[1]}", (x,), peers()


@_workloads("sigmoid")
def _sigmoid(quick):
    x = _normal(100 if quick else 4000, 1000)

    def peers():
        if find_spec("scipy"):
            from scipy.special import expit

            out = np.empty_like(x)
            yield "scipy", lambda: expit(x, out=out)
        yield from _torch(lambda torch, x: torch.sigmoid(x), x)
        yield from _jax(lambda jax, x: jax.nn.sigmoid(x), x)

    yield f"{x.shape[0]} × {x.shape[1]}", (x,), peers()


@_workloads("relu(a + b)")
def _relu_of_sum(quick):
    a, b = _normal(100 if quick else 4000, 1000), _normal(100 if quick else 4000, 1000, seed=1)

    def peers():
        out = np.empty_like(a)
        yield "numpy", lambda: np.maximum(np.add(a, b, out=out), 0, out=out)
        yield from _torch(lambda torch, a, b: torch.relu_(a + b), a, b)
        yield from _jax(lambda jax, a, b: jax.nn.relu(a + b), a, b)
        yield from _cupy(lambda cupy, a, b: cupy.maximum(a + b, 0), a, b)

    yield f"{a.shape[0]} × {a.shape[1]}", (a, b), peers()


def _reduction(name, along):
    @_workloads(name)
    def workloads(quick):
        x = _normal(100_000 if quick else 10_000_000)

        def peers():
            yield "numpy", lambda: along(np, x)
            yield from _torch(along, x)
            yield from _jax(lambda jax, x: along(jax.numpy, x), x)
            yield from _cupy(along, x)

        yield f"{x.size:,}", (x,), peers()


_reduction("sum", lambda library, x: library.sum(x))
_reduction("maximum", lambda library, x: library.max(x))


def _pooling(name, along, in_torch):
    @_workloads(name)
    def workloads(quick):
        x = _normal(2 if quick else 32, 16, 28, 28)

        def peers():
            yield "numpy", lambda: along(x.reshape(len(x), 16, 14, 2, 14, 2), axis=(3, 5))
            yield from _torch(in_torch, x)

        yield f"{len(x)} × 16 × 28 × 28, 2 × 2", (x, 2), peers()


_pooling("max pooling", np.max, lambda torch, x: torch.nn.functional.max_pool2d(x, 2))
_pooling("average pooling", np.mean, lambda torch, x: torch.nn.functional.avg_pool2d(x, 2))


def _convolved(quick):
    """The images and filters that both directions are timed on."""
    n = 2 if quick else 32
    return _normal(n, 16, 28, 28), _normal(32, 16, 3, 3, seed=1), _normal(32, seed=2)


@_workloads("convolution")
def _convolution(quick):
    x, w, bias = _convolved(quick)

    def peers():
        yield from _torch(lambda torch, *xwb: torch.nn.functional.conv2d(*xwb, padding=1), x, w, bias)
        yield from _jax(
            lambda jax, x, w, b: jax.lax.conv(x, w, (1, 1), "SAME") + b[:, None, None], x, w, bias
        )

    yield f"{len(x)} × 16 × 28 × 28, 32 of 3 × 3", (x, w, bias, 1, 1), peers()


@_workloads("convolution backward")
def _convolution_backward(quick):
    x, w, _ = _convolved(quick)
    gradient = _normal(len(x), 32, 28, 28, seed=3)

    def in_torch(torch, gradient, x, w):
        sizes = [len(w)], (1, 1), (1, 1), (1, 1), False, (0, 0), 1, (True, True, True)
        return torch.ops.aten.convolution_backward(gradient, x, w, *sizes)

    def in_jax(jax, gradient, x, w):
        back = jax.vjp(lambda x, w: jax.lax.conv(x, w, (1, 1), "SAME"), x, w)[1]
        return *back(gradient), gradient.sum((0, 2, 3))

    def peers():
        yield from _torch(in_torch, gradient, x, w)
        yield from _jax(in_jax, gradient, x, w)

    yield f"{len(x)} × 16 × 28 × 28, 32 of 3 × 3", (gradient, x, w, 1, 1), peers()


@_workloads("quantized matmul")
def _quantized(quick):
    n = 256 if quick else 1024
    a, b, *quantizations = ladders()["quantized matmul"].example(n * n)
    (scale_a, zero_a), (scale_b, zero_b), _ = quantizations
    floats = [np.float32(scale_a) * (a - np.float32(zero_a)), np.float32(scale_b) * (b - np.float32(zero_b))]
    out = np.empty((n, n), np.float32)

    def in_floats():
        """The product that the bytes stand for; its values are not bytes, so it returns none to compare."""
        np.matmul(*floats, out=out)

    def peers():
        yield "numpy float32", in_floats

    yield f"{n} × {n}", (a, b, *quantizations), peers()


@_workloads("Adam")
def _adam(quick):
    n = 10_000 if quick else 1_000_000
    params, gradients = _normal(n), _normal(n, seed=1)

    def peers():
        if find_spec("torch") is None:
            return
        import torch

        weights = torch.nn.Parameter(torch.from_numpy(params.copy()))
        weights.grad = torch.from_numpy(gradients.copy())
        yield "torch", torch.optim.Adam([weights], lr=1e-3, fused=True).step

    yield f"{n:,}", (params, gradients, np.zeros_like(params), np.zeros_like(params), 1), peers()
