"""What the tests of distributed training run on every rank: small functions, by their names."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import numpy as np

from minidl import layers
from minidl.graph import Tensor, distributed
from minidl.graph.distributed import DataParallel, Downpour, Pipeline, World
from minidl.tasks import SGD, Adam, fit
from minidl.tasks.adversarial import fit_gan
from minidl.tasks.data import Examples
from minidl.tasks.losses import cross_entropy


def network(seed=0, hidden=16):
    layers.seed(seed)
    return layers.Sequential(
        layers.Dense(12, hidden), layers.ReLU(), layers.Dense(hidden, 10), layers.Tanh(), layers.Dense(10, 5)
    )


def examples(count=40, features=12, seed=1):
    random = np.random.default_rng(seed)
    return Examples(random.normal(size=(count, features)).astype(np.float32), random.integers(0, 5, count))


def trained(way=None, optimiser="adam", epochs=10, count=40, batch_size=20, **options):
    """Train for 20 steps; return the loss of each epoch, and the parameters end to end."""
    rules = {"adam": lambda params: Adam(params, lr=3e-3), "sgd": lambda params: SGD(params, lr=0.1)}
    model = network()
    history = fit(
        model, examples(count), epochs, batch_size=batch_size, optimiser=rules[optimiser], progress=False,
        parallel=way and way(), **options,
    )  # fmt: skip
    return history["loss"], flat(model)


def flat(model):
    return np.concatenate([p.numpy().reshape(-1) for p in model.parameters()])


def summed(sizes, how, dtype="float32"):
    world = World()
    found = []
    for size in sizes:
        array = np.random.default_rng([world.rank, size]).normal(size=size).astype(dtype)
        found.append(distributed.all_reduce(array, world, how))
    return found


SIZES = ((1, "float32"), (2, "float32"), (7, "float64"), (1000, "float32"), (100_003, "float32"))

#: Name → (ranks, way to train that gives the weights of one process).
WAYS = {
    "mpi of 2": (2, partial(DataParallel)),
    "mpi of 4": (4, partial(DataParallel)),
    "ring of 2": (2, partial(DataParallel, "ring", bucket=300)),
    "ring of 4": (4, partial(DataParallel, "ring", bucket=300)),
    "tree of 3": (3, partial(DataParallel, "tree", bucket=1)),
    "shared of 2": (2, partial(DataParallel, "shared", bucket=300)),
    "shared of 4": (4, partial(DataParallel, "shared")),
    "server of 3, no overlap": (3, partial(DataParallel, "server", overlap=False)),
    "downpour 0 of 3": (3, partial(Downpour, 0)),
    "downpour of 2": (2, partial(Downpour)),
    "pipeline of 2": (2, partial(Pipeline, 3)),
    "pipeline of 4": (4, partial(Pipeline, 7, [1, 2, 4])),
}


def values(rank, size, dtype):
    return np.random.default_rng([rank, size]).normal(size=size).astype(dtype)


def stale(staleness, steps=10):
    """Descend in one process, each gradient that of `staleness` steps before, afresh in each epoch."""
    model, data = network(), examples()
    params = model.parameters()
    for epoch in range(steps // 2):
        order = np.random.default_rng([0, 2, epoch]).permutation(len(data))
        versions = [[p.data.copy() for p in params]]
        for step in range(2):
            chosen = order[20 * step : 20 * step + 20]
            for p, data_then in zip(params, versions[max(0, step - staleness)], strict=True):
                p.data, p.grad = data_then, None
            cross_entropy(model(Tensor(data.inputs[chosen])), data.targets[chosen]).backward()
            versions.append(
                [now - np.float32(0.1) * p.grad for now, p in zip(versions[-1], params, strict=True)]
            )
        for p, now in zip(params, versions[-1], strict=True):
            p.data = now
    return flat(model)


class Gan:
    latent = 3

    def __init__(self):
        layers.seed(4)
        self.generator = layers.Sequential(layers.Dense(3, 8), layers.ReLU(), layers.Dense(8, 12))
        self.discriminator = layers.Sequential(layers.Dense(12, 8), layers.ReLU(), layers.Dense(8, 1))


def gan(way=None):
    model = Gan()
    fit_gan(model, examples(), 10, batch_size=20, progress=False, parallel=way and way())
    return np.concatenate([flat(model.generator), flat(model.discriminator)])


def said(call, *args, **kwargs):
    """Return what a call raises, as "Kind: message"; "" if nothing."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def different(name, rank, way):
    """Train with something that is not the same on rank 1."""
    odd = rank == 1
    try:
        fit(
            network(hidden=16 + (odd and name == "model")),
            examples(features=12 + (odd and name == "examples")),
            1,
            batch_size=10 if odd and name == "batch" else 20,
            optimiser=lambda params: SGD(params, lr=0.2 if odd and name == "rate" else 0.1),
            parallel=way(),
            progress=False,
        )
    except Exception as error:
        return type(error).__name__, str(error)


def everything():
    """All that the tests ask of several ranks, in one job, because to start one takes seconds."""
    everyone, found = World(), {}
    for count in (2, 3, 4):
        part = everyone.comm.Split(int(everyone.rank < count), everyone.rank)
        if everyone.rank < count:
            with_ranks(count, World(part), found)
        everyone.barrier()
    return found


def with_ranks(count, world, found):
    for how in distributed.ALGORITHMS:
        found["sums", count, how] = [
            distributed.all_reduce(values(world.rank, size, dtype), world, how) for size, dtype in SIZES
        ]
    for name, (size, way) in WAYS.items():
        if size == count:
            for rule in ("adam", "sgd"):
                found["trained", name, rule] = trained(partial(way, world=world), rule)
    if count == 2:
        with_two(world, found)
    if count == 3:
        for staleness in (1, 5):
            found["stale", staleness] = trained(partial(Downpour, staleness, world=world), "sgd", 5)[1]
        way = Downpour(world=world)
        trained(lambda: way, "sgd", 1, batch_size=2)
        found["free"] = way.late
    if count == 4:
        few = {"epochs": 2, "count": 9, "batch_size": 4}
        found["few"] = trained(partial(DataParallel, world=world), "sgd", **few)[1]
        found["few layers"] = said(
            fit, layers.Sequential(layers.Dense(12, 5)), examples(), 1, parallel=Pipeline(world=world)
        )


def with_two(world, found):
    data, downpour, pipe = (partial(way, world=world) for way in (DataParallel, Downpour, Pipeline))
    found["gan"] = gan(partial(data, "ring"))
    lent = np.zeros(8, np.float32)
    came = [world.scratch(8, np.float32, "lent", lent)]
    came += [world.scratch(count, np.float32, "lent") for count in (5, 9)]
    found["lent"] = [np.shares_memory(lent, array) for array in came]
    for name in ("model", "examples", "batch", "rate"):
        found["mismatch", name] = different(name, world.rank, data)
    found["two networks"] = said(gan, partial(downpour, 0))
    found["clip"] = said(fit, network(), examples(), 1, clip=1.0, parallel=pipe())
    found["refused"] = {
        "list": said(distributed.all_reduce, [1.0], world),
        "integers": said(distributed.all_reduce, np.arange(3), world),
        "gaps": said(distributed.all_reduce, np.ones(8)[::2], world),
        "algorithm": said(distributed.all_reduce, np.ones(8), world, "rung"),
    }
    used, unused = (Tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(2))
    for how in ("mpi", "shared"):
        way = data(how)
        used.grad = None
        loss = way.backward((used * float(2 + 4 * world.rank)).sum(), [used, unused])
        found["unused"] = unused.grad is None, used.grad is None
        once = used.grad.copy()
        way.backward((used * 3.0).sum(), [used, unused])
        found["passes", how] = loss, once, used.grad.copy()
    with world.record() as timeline:
        trained(data, "sgd", 1)
    found["spans"] = timeline.spans


def dies():
    """Rank 1 is killed in the middle of a training."""
    world = World(patience=60)
    if world.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    world.barrier()


def fails():
    """Rank 1 raises an error, rank 0 waits for it."""
    world = World(patience=60)
    if world.rank == 1:
        raise ValueError("on purpose")
    world.barrier()


def sleeps():
    """Rank 1 does not come to the sum."""
    world = World(patience=1)
    if world.rank == 1:
        time.sleep(30)
    world.sum(1.0)
