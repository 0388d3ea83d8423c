"""Learning-rate schedules: large steps while there is far to go, small ones to arrive.

A schedule is a function of (epoch, epochs), the first a float that grows during an epoch, and returns what
the learning rate is multiplied by. Any function will do; these are the usual ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from minidl.kernels.optimiser.buffers import check_number


@dataclass(frozen=True)
class Steps:
    """Multiply by `factor` after every `every` epochs (torch.optim.lr_scheduler.StepLR)."""

    every: float
    factor: float = 0.1

    def __post_init__(self):
        check_number("factor", self.factor)
        if not check_number("every", self.every) > 0:
            raise ValueError(f"every must be above 0, got {self.every}")

    def __call__(self, epoch, epochs):
        """Return the factor."""
        return self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential:
    """Multiply by `factor` every epoch (torch.optim.lr_scheduler.ExponentialLR, but smoothly)."""

    factor: float

    def __post_init__(self):
        check_number("factor", self.factor)

    def __call__(self, epoch, epochs):
        """Return the factor."""
        return self.factor**epoch


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to `floor`, after `warmup` epochs in which the rate grows from 0.

    Notes
    -----
    I. Loshchilov & F. Hutter, SGDR, arXiv:1608.03983, eq. 5, without restarts
    (torch.optim.lr_scheduler.CosineAnnealingLR).
    """

    floor: float = 0.0
    warmup: float = 0.0

    def __post_init__(self):
        check_number("floor", self.floor)
        check_number("warmup", self.warmup)

    def __call__(self, epoch, epochs):
        """Return the factor."""
        if epoch < self.warmup:
            return epoch / self.warmup
        share = min(1.0, (epoch - self.warmup) / max(epochs - self.warmup, 1e-9))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * share)) / 2
