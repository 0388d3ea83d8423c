"""Layer 7, Task: what a network is for: data to learn from, a loss to learn by, and the learning itself."""

from minidl.tasks import average, data, dates, losses, metrics, optim, schedules, train, tune, weights
from minidl.tasks.losses import bce_with_logits, cross_entropy, mse
from minidl.tasks.optim import SGD, Adam, Momentum
from minidl.tasks.train import evaluate, fit, fit_began, fit_gan, predict

__all__ = [
    "SGD",
    "Adam",
    "Momentum",
    "average",
    "bce_with_logits",
    "cross_entropy",
    "data",
    "dates",
    "evaluate",
    "fit",
    "fit_began",
    "fit_gan",
    "losses",
    "metrics",
    "mse",
    "optim",
    "predict",
    "schedules",
    "train",
    "tune",
    "weights",
]
