"""Generative adversarial networks: one network draws pictures, the other tells them from real ones.

    gan = dense_gan(side=8)
    tasks.fit_gan(gan, data.digits(), epochs=800, schedule=Cosine())
    gan.sample(16)                                       # pictures that nobody has drawn

I. Goodfellow et al., Generative Adversarial Networks, arXiv:1406.2661.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from minidl.graph import Tensor, no_grad
from minidl.kernels.arguments import check_integer
from minidl.layers import (
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
    glorot_uniform,
    he_uniform,
)
from minidl.models import shipped


class GAN(Layer):
    """A generator and a discriminator, and how to have pictures of the first.

    Parameters
    ----------
    generator : Layer
        Makes pictures (N, 1, side, side), from -1, black, to 1, white, of noise (N, latent).
    discriminator : Layer
        Says how real pictures look: a logit for each, (N, 1), above 0 for real.
    latent : int
        How many random numbers one picture is made of.
    """

    def __init__(self, generator, discriminator, latent):
        self.generator, self.discriminator = generator, discriminator
        self.latent = check_integer("latent", latent, 1)

    def forward(self, z):
        """Judge the pictures drawn from noise: (N, latent) → (N, 1)."""
        return self.discriminator(self.generator(z))

    def noise(self, count, generator):
        """Return what `count` pictures are made of: standard normal, float32, shape (count, latent)."""
        return generator.standard_normal((count, self.latent), dtype=np.float32)

    def draw(self, z):
        """Return the pictures made of this noise.

        Parameters
        ----------
        z : array_like of float, shape (N, latent)

        Returns
        -------
        float32 array, shape (N, 1, side, side), from 0 to 1
            Like the images of `tasks.data`: the generator's -1 … 1 is only for the two networks.
        """
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise ValueError(f"z must have shape (N, {self.latent}), got {z.shape}")
        modes = [(layer, layer.training) for _, layer in self.generator.layers()]
        self.generator.eval()
        try:
            with no_grad():
                pictures = self.generator(Tensor(z, device=self.parameters()[0].device)).numpy()
        finally:
            for layer, training in modes:
                layer.training = training
        return (pictures + 1) / 2

    def sample(self, n, seed=None):
        """Return `n` pictures, as `draw` does; the same seed, the same pictures.

        Parameters
        ----------
        n : int
        seed : int or numpy.random.Generator, optional
            By default, other pictures each time.
        """
        return self.draw(self.noise(check_integer("n", n, 1), np.random.default_rng(seed)))

    def interpolate(self, start, end, steps=9):
        """Return the pictures on the way from one noise to another.

        The way is an arc. Normal noise of many numbers has nearly always about the same length, so the
        generator knows a shell; a straight line would cut through the hollow inside it (T. White, Sampling
        Generative Networks, arXiv:1609.04468, section 2.1).

        Parameters
        ----------
        start, end : array_like of shape (latent,), or int
            Noise, or the seed that noise is drawn from.
        steps : int
            How many pictures, both ends included.
        """
        steps = check_integer("steps", steps, 2)
        a, b = self._point("start", start), self._point("end", end)
        t = np.linspace(0, 1, steps)[:, None]
        return self.draw(self._between(a, b, t))

    def _point(self, name, value):
        if np.ndim(value) == 0:
            return self.noise(1, np.random.default_rng(check_integer(name, value, 0)))[0]
        point = np.asarray(value, np.float32)
        if point.shape != (self.latent,):
            raise ValueError(f"{name} must be a seed or have shape ({self.latent},), got {point.shape}")
        return point

    def _between(self, a, b, t):
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        angle = np.arccos(np.clip(a @ b / lengths, -1, 1)) if lengths else 0.0
        if np.sin(angle) < 1e-4:  # as good as one line: there is no arc, or none is the shortest
            return (1 - t) * a + t * b
        return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def dense_gan(side=8, latent=None, hidden=None, dropout=0.3):
    """Return a GAN of dense layers.

    At side 28 it is the one that this book counts: a generator of 100-256-512-784 numbers, a discriminator of
    784-512-256-1. At side 8, the smaller one that every page trains: 32-128-256-64 and 64-256-128-1.

    Parameters
    ----------
    side : int
        Of the pictures, in pixels.
    latent : int, optional
        By default 100, and 32 up to a side of 16.
    hidden : sequence of int, optional
        The generator's sizes between noise and picture; the discriminator has them in reverse. By default
        (256, 512), and (128, 256) up to a side of 16.
    dropout : float
        In the discriminator, where it keeps a few hundred examples from being learned by heart.
    """
    side = check_integer("side", side, 1)
    small = side <= 16
    latent = check_integer("latent", (32 if small else 100) if latent is None else latent, 1)
    hidden = tuple((128, 256) if small else (256, 512)) if hidden is None else tuple(hidden)
    generator = Sequential(*dense_stack([latent, *hidden, side * side], ReLU), Tanh(), Reshape(1, side, side))
    discriminator = Sequential(
        Flatten(), *dense_stack([side * side, *hidden[::-1], 1], lambda: LeakyReLU(0.2), dropout)
    )
    return GAN(generator, discriminator, latent)


def dense_stack(sizes, activation, dropout=0.0):
    """Return the dense layers between these sizes, each but the last followed by what stands between."""
    *first, last = pairwise(sizes)
    made = []
    for pair in first:
        made += [Dense(*pair, init=he_uniform), activation()]
        made += [Dropout(dropout)] if dropout else []
    return [*made, Dense(*last, init=glorot_uniform)]


def conv_gan(side=8, latent=None, channels=None, dropout=0.3):
    """Return a GAN of convolutions, after A. Radford et al. (DCGAN, arXiv:1511.06434).

    Its discriminator halves the side twice with 5×5 convolutions, then has one dense output: at side 28, 64
    kernels (14×14), 128 kernels (7×7), and 6,272 weights. The generator goes the same way back.

    Parameters
    ----------
    side : int
        A multiple of 4.
    latent : int, optional
        By default 100, and 32 up to a side of 16.
    channels : pair of int, optional
        Of the discriminator's convolutions; by default (64, 128), and (16, 32) up to a side of 16.
    dropout : float
        In the discriminator.
    """
    side = check_integer("side", side, 4)
    if side % 4:
        raise ValueError(f"side must be a multiple of 4, to be halved twice, got {side}")
    small = side <= 16
    latent = check_integer("latent", (32 if small else 100) if latent is None else latent, 1)
    few, many = ((16, 32) if small else (64, 128)) if channels is None else channels
    start = (many, side // 4, side // 4)
    double = {"kernel_size": 5, "stride": 2, "padding": 2, "output_padding": 1}
    halve = {"kernel_size": 5, "stride": 2, "padding": 2}
    generator = Sequential(
        Dense(latent, int(np.prod(start)), init=he_uniform),
        ReLU(),
        Reshape(*start),
        ConvTranspose2d(many, few, **double),
        ReLU(),
        ConvTranspose2d(few, 1, **double, init=glorot_uniform),
        Tanh(),
    )
    discriminator = Sequential(
        Conv2d(1, few, **halve),
        LeakyReLU(0.2),
        Dropout(dropout),
        Conv2d(few, many, **halve),
        LeakyReLU(0.2),
        Dropout(dropout),
        Flatten(),
        Dense(int(np.prod(start)), 1),
    )
    return GAN(generator, discriminator, latent)


def pretrained():
    """Return `dense_gan(side=8)` as it has learned to draw digits; `shipped.about("gan")` says how."""
    return shipped.load("gan", dense_gan(side=8))


def pretrained_conv():
    """Return `conv_gan(side=8)` as it has learned to draw digits; `shipped.about("conv_gan")` says how."""
    return shipped.load("conv_gan", conv_gan(side=8))
