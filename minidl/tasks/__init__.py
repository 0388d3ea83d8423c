"""Layer 7, Task: what a network is for: data to learn from, a loss to learn by, and the learning itself."""

from minidl.tasks import data, losses, optim
from minidl.tasks.losses import bce_with_logits, cross_entropy, mse
from minidl.tasks.optim import SGD, Adam, Momentum

__all__ = [
    "SGD",
    "Adam",
    "Momentum",
    "bce_with_logits",
    "cross_entropy",
    "data",
    "losses",
    "mse",
    "optim",
]
