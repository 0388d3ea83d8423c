"""Initialisers: the random numbers that weights start from, scaled so that signals neither fade nor explode.

A layer with n inputs adds n products up. If its weights have variance v, the variance of its outputs is n·v
times that of its inputs: v = 1/n keeps it. Glorot & Bengio (2010) take the mean of what the way forward (n
inputs) and the way back (m outputs) ask for, v = 2/(n + m). A relu throws half of its input away, so He et
al. (2015) take v = 2/n.
"""

from __future__ import annotations

import numpy as np

_generator = np.random.default_rng()


def seed(value):
    """Start the random numbers of all layers, initial weights and dropout, from `value`."""
    _generator.bit_generator.state = np.random.default_rng(value).bit_generator.state


def generator():
    """Return the generator that layers draw from."""
    return _generator


def fans(shape):
    """Return (inputs per output, outputs per input) of a weight (out, in) or (out, in, K, L)."""
    if len(shape) < 2:
        raise ValueError(f"a weight must have at least two dimensions, got shape {shape}")
    window = int(np.prod(shape[2:]))
    return shape[1] * window, shape[0] * window


def glorot_uniform(shape, generator=None):
    """Uniform with variance 2 / (fan in + fan out) (Glorot & Bengio, AISTATS 2010, eq. 16), float32."""
    return _uniform(shape, 2 / sum(fans(shape)), generator)


def glorot_normal(shape, generator=None):
    """Normal with variance 2 / (fan in + fan out), float32."""
    return _normal(shape, 2 / sum(fans(shape)), generator)


def he_uniform(shape, generator=None):
    """Uniform with variance 2 / fan in, float32."""
    return _uniform(shape, 2 / fans(shape)[0], generator)


def he_normal(shape, generator=None):
    """Normal with variance 2 / fan in (He et al., arXiv:1502.01852, eq. 10), float32."""
    return _normal(shape, 2 / fans(shape)[0], generator)


def _uniform(shape, variance, own):
    bound = (3 * variance) ** 0.5  # a uniform distribution on ±b has variance b²/3
    return (own or _generator).uniform(-bound, bound, shape).astype(np.float32)


def _normal(shape, variance, own):
    return (own or _generator).normal(0, variance**0.5, shape).astype(np.float32)
