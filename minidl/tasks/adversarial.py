"""Adversarial training: a generator that learns to draw from a judge that learns to tell drawings from data.

A model for it has three attributes: `.generator`, a layer that makes images of noise; `.discriminator`, a
layer that judges images; `.latent`, how many numbers of noise one image is made of. If it has a method
`noise(count, generator)`, its noise comes from there, and else from a normal distribution.

The images of `minidl.tasks.data` go from 0 to 1. For the two networks they go from -1 to 1, with the middle
at 0: the generator ends in a tanh, and what the discriminator is shown of the data is scaled here.
"""

from __future__ import annotations

import contextlib
import math

import numpy as np

from minidl.graph import Tensor, no_grad
from minidl.kernels.arguments import check_integer
from minidl.kernels.optimiser.buffers import check_number
from minidl.tasks.loop import Recipe, run, training_split
from minidl.tasks.losses import bce_with_logits
from minidl.tasks.optim import Adam, clip_gradients


def fit_gan(
    gan,
    data,
    epochs,
    *,
    batch_size=64,
    optimisers=None,
    smooth=0.9,
    seed=0,
    schedule=None,
    clip=None,
    checkpoint=None,
    callbacks=(),
    progress=True,
    device="cpu",
    parallel=None,
):
    """Train a generative adversarial network, in place: I. Goodfellow et al., arXiv:1406.2661.

    In each step the discriminator learns that a batch of data is real and a batch of drawings is not; then
    the generator learns what would have made it say "real" (the loss that does not saturate: their section
    3).

    Parameters
    ----------
    gan : object with .generator, .discriminator and .latent
        The discriminator gives one logit for each image, (N,) or (N, 1).
    data : Dataset, Split or Examples
        Only the images are used: nobody tells what they show.
    optimisers : pair of callables or Optimisers, optional
        For the generator and for the discriminator; by default Adam with lr 1e-3 and betas (0.5, 0.999):
        the short memory of A. Radford et al., arXiv:1511.06434, and larger steps.
    smooth : float
        What the discriminator is told is the probability that data is real: less than 1 keeps it from being
        too sure (T. Salimans et al., arXiv:1606.03498, section 3.4).
    epochs, batch_size, seed, schedule, clip, checkpoint, callbacks, progress, device, parallel :
        as for `fit`.
        A schedule that ends in small steps ends the game in a draw, and not in the middle of a fight.

    Returns
    -------
    History
        Its rows have "generator_loss", "discriminator_loss", and the mean probability that the discriminator
        gives to "real", "for_data" and "for_drawings": both are 1/2 when it can no longer tell.
    """
    if not 0.5 < check_number("smooth", smooth) <= 1:
        raise ValueError(f"smooth must be above 0.5 and at most 1, got {smooth}")
    make = optimisers or (_adam, _adam)
    recipe = Adversarial(gan, make, smooth, clip, device)
    return _run(recipe, data, epochs, batch_size, seed, schedule, checkpoint, callbacks, progress, parallel)


def fit_began(
    gan,
    data,
    epochs,
    *,
    batch_size=64,
    optimisers=None,
    gamma=1.0,
    rate=1.0,
    corruption=0.5,
    seed=0,
    schedule=None,
    clip=None,
    checkpoint=None,
    callbacks=(),
    progress=True,
    device="cpu",
    parallel=None,
):
    """Train a boundary-equilibrium GAN, in place: D. Berthelot et al., arXiv:1703.10717.

    The discriminator is an autoencoder. With L(v) = mean |v - D(v)| how badly it copies v, z noise and x
    data:

        loss of the discriminator   L(x) - k · L(G(z))
        loss of the generator       L(G(z))
        after each step             k += rate · (γ · L(x) - L(G(z))), kept from 0 to 1
        convergence measure         M = L(x) + |γ · L(x) - L(G(z))|

    Parameters
    ----------
    gan : object with .generator, .discriminator and .latent
        The discriminator gives an image for each image.
    gamma : float
        γ, from 0 to 1: the ratio of the two losses that k steers towards. Lower asks for better drawings,
        and gets less variety: at 0.8 and without corruption, a generator of 8×8 digits drew one picture only.
    rate : float
        λ, how fast k follows; 0.001 in the paper, whose trainings are long.
    corruption : float
        The standard deviation of the noise that is added to what the discriminator has to copy, and that it
        has to take away (P. Vincent et al., Extracting and Composing Robust Features with Denoising
        Autoencoders, ICML 2008). Not in the paper, whose images are larger; 0 leaves it out, and then
        some of the 8×8 digits were never drawn.
    optimisers : pair of callables or Optimisers, optional
        By default Adam with lr 1e-3 and betas (0.5, 0.999) (the paper starts at 1e-4, and trains for longer).
    data, epochs, batch_size, seed, schedule, clip, checkpoint, callbacks, progress, device, parallel :
        as for `fit_gan`

    Returns
    -------
    History
        Its rows have "generator_loss", "discriminator_loss", "data_loss" (L(x)), "k" and "measure" (M).
    """
    if not check_number("gamma", gamma) <= 1:
        raise ValueError(f"gamma must be from 0 to 1, got {gamma}")
    check_number("rate", rate)
    check_number("corruption", corruption)
    recipe = Equilibrium(gan, optimisers or (_adam, _adam), gamma, rate, corruption, clip, device)
    return _run(recipe, data, epochs, batch_size, seed, schedule, checkpoint, callbacks, progress, parallel)


def _adam(params):
    return Adam(params, lr=1e-3, betas=(0.5, 0.999))


def _run(recipe, data, epochs, batch_size, seed, schedule, checkpoint, callbacks, progress, parallel):
    return run(
        recipe,
        training_split(data),
        epochs,
        batch_size,
        seed=seed,
        schedule=schedule,
        checkpoint=checkpoint,
        callbacks=callbacks,
        progress=progress,
        parallel=parallel,
    )


def noise(gan, count, generator):
    """Return noise to draw `count` images from, float32, shape (count, latent)."""
    if hasattr(gan, "noise"):
        return np.asarray(gan.noise(count, generator), np.float32)
    return generator.standard_normal((count, gan.latent), dtype=np.float32)


@contextlib.contextmanager
def judging(network):
    """What a network computes in this context teaches others, not itself: its weights get no gradient."""
    learning = [p for p in network.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad = True


class _Two(Recipe):
    """What both recipes share: a generator, a judge, and an optimiser for each."""

    def __init__(self, gan, optimisers, clip, device):
        for attribute in ("generator", "discriminator", "latent"):
            if not hasattr(gan, attribute):
                raise TypeError(f"a GAN must have .generator, .discriminator and .latent, got {gan!r}")
        if not isinstance(optimisers, (tuple, list)) or len(optimisers) != 2:
            raise ValueError(f"optimisers must be a pair, generator and discriminator, got {optimisers!r}")
        check_integer("latent", gan.latent, 1)
        if clip is not None and not clip > 0:
            raise ValueError(f"clip must be above 0, got {clip!r}")
        super().__init__(
            {"generator": gan.generator, "discriminator": gan.discriminator},
            dict(zip(("generator", "discriminator"), optimisers, strict=True)),
            device,
        )
        self.gan, self.clip = gan, clip
        self.settings = {"clip": clip, "latent": gan.latent}

    def images(self, inputs):
        """This process's share of data as the networks know it, from -1 to 1, on the device."""
        return Tensor(2 * self.parallel.share(inputs) - 1, device=self.device)

    def noise(self, count, generator):
        """For this process's share of `count` drawings, on the device."""
        return Tensor(self.parallel.share(noise(self.gan, count, generator)), device=self.device)

    def down(self, name, loss):
        """Take a step down a loss with one of the two; return the loss."""
        optimiser = self.optimisers[name]
        for other in self.optimisers.values():
            other.zero_grad()
        value = self.parallel.backward(loss, optimiser.params)
        if self.clip is not None:
            clip_gradients(optimiser.params, self.clip)
        if math.isfinite(value):
            optimiser.step()
        return value


class Adversarial(_Two):
    """The discriminator says real or not; the generator learns from what it says."""

    def __init__(self, gan, optimisers, smooth, clip, device):
        super().__init__(gan, optimisers, clip, device)
        self.smooth = smooth
        self.settings |= {"kind": "gan", "smooth": smooth}

    def step(self, inputs, targets, generator):
        """One step of the discriminator, and one of the generator."""
        judge, count = self.networks["discriminator"], len(inputs)
        with no_grad():
            drawings = self.networks["generator"](self.noise(count, generator))
        real = judge(self.images(inputs))
        fake = judge(Tensor(drawings.data))
        yes = np.full(real.shape, self.smooth, real.dtype)
        judged = bce_with_logits(real, yes) + bce_with_logits(fake, np.zeros_like(yes))
        judge_loss = self.down("discriminator", judged)

        with judging(judge):
            said = judge(self.networks["generator"](self.noise(count, generator)))
        draw_loss = self.down("generator", bce_with_logits(said, np.ones_like(yes)))
        shares = (float(logits.detach().sigmoid().numpy().mean()) for logits in (real, fake))
        for_data, for_drawings = self.parallel.means(*shares)
        return {
            "generator_loss": draw_loss,
            "discriminator_loss": judge_loss,
            "for_data": for_data,
            "for_drawings": for_drawings,
        }


class Equilibrium(_Two):
    """The discriminator copies images; the generator makes images that are copied well."""

    def __init__(self, gan, optimisers, gamma, rate, corruption, clip, device):
        super().__init__(gan, optimisers, clip, device)
        self.gamma, self.rate, self.corruption = gamma, rate, corruption
        self.numbers = {"k": 0.0}
        self.settings |= {"kind": "began", "gamma": gamma, "rate": rate, "corruption": corruption}

    def copying_loss(self, images, generator):
        """L(v): how far the copies are from the images, per pixel."""
        shown = images
        if self.corruption:
            noise = generator.standard_normal(images.shape, dtype=np.float32)
            shown = images + Tensor(np.float32(self.corruption) * noise, device=self.device)
        copies = self.networks["discriminator"](shown)
        if copies.shape != images.shape:
            raise ValueError(
                f"a BEGAN's discriminator must give images of the shape {images.shape}, got {copies.shape}"
            )
        return (images - copies).abs().mean()

    def step(self, inputs, targets, generator):
        """One step of the discriminator, one of the generator, and one of k."""
        count, k = len(inputs), self.numbers["k"]
        with no_grad():
            drawings = self.networks["generator"](self.noise(count, generator))
        on_data = self.copying_loss(self.images(inputs), generator)
        on_drawings = self.copying_loss(Tensor(drawings.data), generator)
        judge_loss = self.down("discriminator", on_data - k * on_drawings)
        drawn = self.networks["generator"](self.noise(count, generator))
        with judging(self.networks["discriminator"]):
            said = self.copying_loss(drawn, generator)
        draw_loss = self.down("generator", said)
        (data_loss,) = self.parallel.means(on_data.item())
        balance = self.gamma * data_loss - draw_loss
        self.numbers["k"] = min(max(k + self.rate * balance, 0.0), 1.0)
        return {
            "generator_loss": draw_loss,
            "discriminator_loss": judge_loss,
            "data_loss": data_loss,
            "k": k,
            "measure": data_loss + abs(balance),
        }
