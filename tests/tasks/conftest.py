"""What the tests of tasks share: small networks and small sets of examples."""

from types import SimpleNamespace

import numpy as np
import pytest

from minidl import layers
from minidl.graph import dynamic
from minidl.hardware.machine import Gpu
from minidl.instruments.tracer import TracedGpu
from minidl.tasks.data import Examples


def small_network(seed=0, dropout=0.2):
    layers.seed(seed)
    return layers.Sequential(
        layers.Dense(6, 12, bias=False), layers.BatchNorm1d(12), layers.Tanh(), layers.Dropout(dropout),
        layers.Dense(12, 3),
    )  # fmt: skip


def small_gan(seed=0, began=False):
    layers.seed(seed)
    generator = layers.Sequential(layers.Dense(4, 16), layers.ReLU(), layers.Dense(16, 6), layers.Tanh())
    judge = layers.Sequential(layers.Dense(6, 16), layers.LeakyReLU(0.2), layers.Dense(16, 6 if began else 1))
    return SimpleNamespace(generator=generator, discriminator=judge, latent=4)


@pytest.fixture
def examples():
    """Three classes that a line tells apart, nearly."""
    random = np.random.default_rng(7)
    x = random.uniform(0, 1, (150, 6)).astype(np.float32)
    return Examples(x, (x[:, :3] + random.normal(0, 0.05, (150, 3))).argmax(axis=1))


class OnGpu(np.ndarray):
    """An array that says it is in GPU memory."""

    @property
    def __cuda_array_interface__(self):
        return {}


@pytest.fixture
def pretend(monkeypatch):
    """Let arrays pretend to be in GPU memory, and the tracer run what is launched there."""
    machine, launched = TracedGpu(), []

    def launch(self, kernel, grid, block, *args, shared=0):
        launched.append(kernel.py_func.__name__)
        machine.launch(kernel, grid, block, *args, shared=shared)

    def upload(self, array):
        return array if isinstance(array, OnGpu) else np.array(array, order="C").view(OnGpu)

    monkeypatch.setattr(Gpu, "upload", upload)
    monkeypatch.setattr(Gpu, "empty", lambda self, *a: machine.empty(*a).view(OnGpu))
    monkeypatch.setattr(Gpu, "launch", launch)
    monkeypatch.setattr(Gpu, "download", lambda self, array, out=None: np.array(array))
    monkeypatch.setattr(dynamic, "_gpu_in_use", False)
    return launched
