"""Optimisers: one step of SGD, momentum or Adam over all parameters of a network at once.

The parameters lie one behind the other in a flat buffer, their gradients in a second, what the optimiser
remembers in others. A step reads each number once and writes it once; written as array operations, Adam takes
a dozen passes. All buffers are changed in place, and the rules are PyTorch's to the letter (torch.optim.SGD
and torch.optim.Adam; D. Kingma & J. Ba, Adam, arXiv:1412.6980, algorithm 1).
"""

from minidl.kernels.optimiser.adam import ADAM_LADDER, adam, adam_cuda, adam_reference
from minidl.kernels.optimiser.descent import (
    momentum,
    momentum_cuda,
    momentum_reference,
    sgd,
    sgd_cuda,
    sgd_reference,
)

LADDER = ADAM_LADDER

__all__ = [
    "ADAM_LADDER",
    "LADDER",
    "adam",
    "adam_cuda",
    "adam_reference",
    "momentum",
    "momentum_cuda",
    "momentum_reference",
    "sgd",
    "sgd_cuda",
    "sgd_reference",
]
