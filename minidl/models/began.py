"""Boundary-equilibrium GANs: the discriminator is an autoencoder, and what looks real is what it copies well.

    began = dense_began(side=8)
    tasks.fit_began(began, data.digits(), epochs=300, schedule=Cosine())

D. Berthelot, T. Schumm & L. Metz, BEGAN: Boundary Equilibrium Generative Adversarial Networks,
arXiv:1703.10717. What its training is steered by, γ, λ, k and the measure M, is in `tasks.adversarial`.
"""

from __future__ import annotations

import numpy as np

from minidl.kernels.arguments import check_integer
from minidl.layers import LeakyReLU, Reshape, Sequential, Tanh
from minidl.models import shipped
from minidl.models.autoencoder import dense_autoencoder
from minidl.models.gan import GAN, dense_stack


class BEGAN(GAN):
    """A generator, and an autoencoder in the place of a discriminator.

    Parameters
    ----------
    generator : Layer
        Makes pictures (N, 1, side, side), from -1 to 1, of noise (N, latent).
    discriminator : Autoencoder
        Copies pictures; those that look real, better.
    latent : int
        How many random numbers one picture is made of.
    """

    def noise(self, count, generator):
        """Return what `count` pictures are made of: uniform from -1 to 1, float32, shape (count, latent)."""
        return generator.uniform(-1, 1, (count, self.latent)).astype(np.float32)

    def _between(self, a, b, t):
        return (1 - t) * a + t * b  # a cube is full: the straight line stays in it


def dense_began(side=8, latent=None, code=None, hidden=None):
    """Return a BEGAN of dense layers, whose generator has the form of the decoder, as in the paper.

    Parameters
    ----------
    side : int
        Of the pictures, in pixels.
    latent : int, optional
        How many random numbers a picture is made of; by default 64, as in the paper, and 16 up to a side of
        16.
    code : int, optional
        How many numbers long the autoencoder's code is; by default as `latent`, and 3 up to a side of 16.
        There are no more than 64 pixels in the small ones: with a code that is not much shorter, all sorts of
        pictures are copied well, and the generator need not draw digits.
    hidden : sequence of int, optional
        The generator's sizes between noise and picture; by default (256, 512), and (128, 256) up to a side of
        16.
    """
    side = check_integer("side", side, 1)
    small = side <= 16
    latent = check_integer("latent", (16 if small else 64) if latent is None else latent, 1)
    code = (3 if small else latent) if code is None else code
    hidden = tuple((128, 256) if small else (256, 512)) if hidden is None else tuple(hidden)
    sizes = [latent, *hidden, side * side]
    generator = Sequential(*dense_stack(sizes, lambda: LeakyReLU(0.1)), Tanh(), Reshape(1, side, side))
    return BEGAN(generator, dense_autoencoder(side, code, hidden[::-1], Tanh), latent)


def pretrained():
    """Return `dense_began(side=8)` as it has learned to draw digits; `shipped.about("began")` says how."""
    return shipped.load("began", dense_began(side=8))
