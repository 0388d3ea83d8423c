"""What the tests of tasks share: small networks and small sets of examples."""

from types import SimpleNamespace

import numpy as np
import pytest

from minidl import layers
from minidl.tasks.data import Examples
from tests.pretended import pretended_gpu


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


@pytest.fixture
def pretend():
    """A GPU whose launches the tracer runs."""
    with pretended_gpu() as gpu:
        yield gpu
