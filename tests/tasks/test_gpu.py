"""Whole trainings on the GPU come to the losses and parameters of the CPU; the tracer runs the kernels."""

from types import SimpleNamespace

import numpy as np
import pytest

from minidl import layers
from minidl.hardware.device import Device
from minidl.hardware.machine import is_on_gpu
from minidl.tasks import SGD, fit, fit_gan
from minidl.tasks.data import Examples
from tests.pretended import pretended_gpu

RNG = np.random.default_rng(3)
PICTURES = Examples(RNG.uniform(0, 1, (6, 1, 4, 4)).astype(np.float32), np.array([0, 1, 2, 1, 0, 2]))


def dense_gan():
    generator = layers.Sequential(
        layers.Dense(3, 8), layers.ReLU(), layers.Dense(8, 16), layers.Tanh(), layers.Reshape(1, 4, 4)
    )
    judge = layers.Sequential(
        layers.Flatten(), layers.Dense(16, 8), layers.LeakyReLU(0.2), layers.Dropout(0.3), layers.Dense(8, 1)
    )
    return SimpleNamespace(generator=generator, discriminator=judge, latent=3)


def conv_gan():
    generator = layers.Sequential(
        layers.Dense(3, 8), layers.ReLU(), layers.Reshape(2, 2, 2), layers.BatchNorm2d(2),
        layers.ConvTranspose2d(2, 1, 3, stride=2, padding=1, output_padding=1), layers.Tanh(),
    )  # fmt: skip
    judge = layers.Sequential(
        layers.Conv2d(1, 2, 3, stride=2, padding=1), layers.LeakyReLU(0.2), layers.Dropout(0.3),
        layers.Flatten(), layers.Dense(8, 1),
    )  # fmt: skip
    return SimpleNamespace(generator=generator, discriminator=judge, latent=3)


def lenet():
    return layers.Sequential(
        layers.Conv2d(1, 3, 3, padding=1), layers.ReLU(), layers.MaxPool2d(2), layers.Upsample(2),
        layers.Conv2d(3, 2, 3, bias=False), layers.BatchNorm2d(2), layers.ReLU(), layers.AvgPool2d(2),
        layers.Flatten(), layers.Dropout(0.2), layers.Dense(2, 3),
    )  # fmt: skip


def descent(parameters):
    """Steps as long as the gradient; Adam's first ones are as long where it is 0 but for rounding."""
    return SGD(parameters, 0.2)


def train_gan(make, device):
    gan = make()
    optimisers = (descent, descent)
    history = fit_gan(
        gan, PICTURES, 1, batch_size=3, optimisers=optimisers, clip=5.0, progress=False, device=device
    )
    return history, gan.generator, gan.discriminator


def train_lenet(make, device):
    model = make()
    history = fit(model, PICTURES, 1, batch_size=3, optimiser=descent, progress=False, device=device)
    return history, model


TRAININGS = {"dense GAN": (train_gan, dense_gan), "convolutional GAN": (train_gan, conv_gan),
             "LeNet": (train_lenet, lenet)}  # fmt: skip


def compare(train, make):
    results = []
    for device in ("cpu", "cuda"):
        layers.seed(0)
        history, *networks = train(make, device)
        if device == "cuda":
            assert all(is_on_gpu(p.data) for network in networks for p in network.parameters())
        state = [value for network in networks for value in network.state_dict().values()]
        results.append(([{k: v for k, v in row.items() if k != "seconds"} for row in history.rows], state))
    (rows, state), (rows_there, state_there) = results
    for one, other in zip(rows, rows_there, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    for one, other in zip(state, state_there, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", TRAININGS)
def test_trainings_come_to_the_same(name):
    with pretended_gpu() as gpu:
        compare(*TRAININGS[name])
    assert "sgd_fused_kernel" in {kernel.py_func.__name__ for kernel, _ in gpu.launched}


@pytest.mark.gpu
def test_on_a_real_gpu():
    if not Device("cuda").available:
        pytest.skip("this machine has no CUDA GPU")
    for train, make in TRAININGS.values():
        compare(train, make)
