"""Regression: a convolution that is shown what a sliding average makes of signals, and finds out how.

Nobody tells it to weigh every value alike. That is the answer all the same, and here it can be read off: the
weights of a trained one are 1 / window, the bias 0.
"""

from __future__ import annotations

import numpy as np

from minidl import layers
from minidl.kernels.arguments import check_integer
from minidl.kernels.sliding_average import sliding_average
from minidl.tasks.data import Dataset, Examples
from minidl.tasks.losses import mse
from minidl.tasks.optim import Adam
from minidl.tasks.schedules import Cosine
from minidl.tasks.train import fit


def signals(window=5, length=64, train=512, test=128, seed=0):
    """Return noise (float32, shape (N, 1, 1, length)) and its sliding averages, (N, 1, 1, length - window +
    1).
    """
    length = check_integer("length", length, 1)
    window = check_integer("window", window, 1, length, "length")
    counts = check_integer("train", train, 1), check_integer("test", test, 1)
    generator = np.random.default_rng(check_integer("seed", seed, 0))
    parts = []
    for count in counts:
        x = generator.standard_normal((count, length), dtype=np.float32)
        y = np.stack([sliding_average(row, window) for row in x])
        parts.append(Examples(x[:, None, None], y[:, None, None]))
    return Dataset(f"sliding average over {window}", *parts)


def model(window=5):
    """Return a convolution with one filter, `window` wide."""
    return layers.Conv2d(1, 1, (1, check_integer("window", window, 1)))


def train(epochs=20, seed=0, window=5, data=None, **options):
    """Train it; return (model, history). What else can be given is what `fit` takes."""
    layers.seed(seed)
    convolution = model(window)
    defaults = {
        "optimiser": lambda params: Adam(params, lr=0.03),
        "schedule": Cosine(),
        "batch_size": 32,
        "loss": mse,
    }
    data = data or signals(window, seed=seed)
    return convolution, fit(convolution, data, epochs, seed=seed, **{**defaults, **options})
