"""What the tests of distributed training run on every rank: small functions, by their names."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from minidl import layers
from minidl.graph import Tensor, distributed
from minidl.graph.distributed import Downpour, DataParallel, Pipeline, World
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
    return Examples(
        random.normal(size=(count, features)).astype(np.float32), random.integers(0, 5, count)
    )


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
