"""Layers that behave one way in training and another afterwards: dropout and batch normalisation."""

from __future__ import annotations

import numpy as np

from minidl import graph
from minidl.graph import Tensor
from minidl.graph.building import setting
from minidl.kernels.arguments import check_integer
from minidl.layers import initialisers
from minidl.layers.layer import Layer


class Dropout(Layer):
    """In training, set each element to zero with probability p and scale the others by 1 / (1 - p); then, do
    nothing.

    Parameters
    ----------
    p : float from 0 to 1
    generator : numpy.random.Generator, optional
        Where to draw from, instead of all layers' common one.
    """

    def __init__(self, p=0.5, generator=None):
        if not 0 <= p <= 1:
            raise ValueError(f"p must be from 0 to 1, got {p!r}")
        self.p, self.generator = float(p), generator

    def forward(self, x):
        """Draw, in training."""
        if not setting(self, "training") or self.p == 0:
            return x
        return graph.dropout(x, self.p, self.generator or initialisers.generator())

    def _arguments(self):
        return f"{self.p}"


class _BatchNorm(Layer):
    """What both batch normalisations share.

    Parameters
    ----------
    features : int
        C, the number of channels.
    eps : float
        Added to the variance, so that a channel that never changes is not divided by zero.
    momentum : float
        How far the running mean and variance move towards those of each batch.
    """

    ndims = ()

    def __init__(self, features, eps=1e-5, momentum=0.1):
        self.features = check_integer("features", features, 1)
        self.eps, self.momentum = float(eps), float(momentum)
        self.weight = Tensor(np.ones(self.features, np.float32), requires_grad=True)
        self.bias = Tensor(np.zeros(self.features, np.float32), requires_grad=True)
        self.running_mean = np.zeros(self.features, np.float32)
        self.running_var = np.ones(self.features, np.float32)
        self.num_batches_tracked = np.zeros((), np.int64)  # for PyTorch's sake

    def forward(self, x):
        """With the batch's statistics in training, with the running ones afterwards."""
        if x.ndim not in self.ndims:
            raise ValueError(f"input must have {' or '.join(map(str, self.ndims))} dimensions")
        return graph.batch_norm(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.num_batches_tracked,
            training=setting(self, "training"),
            momentum=self.momentum,
            eps=self.eps,
        )

    def _arguments(self):
        return f"{self.features}"


class BatchNorm1d(_BatchNorm):
    """Normalise each feature of (N, C), or channel of (N, C, L), over the batch, then scale and shift it."""

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalise each channel of (N, C, H, W) over the batch and the image, then scale and shift it."""

    ndims = (4,)
