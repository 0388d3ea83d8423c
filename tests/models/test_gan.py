import numpy as np
import pytest

from minidl import layers
from minidl.graph import Tensor
from minidl.layers import Dense, Dropout
from minidl.models import began, gan
from minidl.models.autoencoder import dense_autoencoder


def sizes(network):
    dense = [layer for layer in network if isinstance(layer, Dense)]
    return [dense[0].in_features, *(layer.out_features for layer in dense)]


def test_the_gan_at_28_is_the_one_that_the_book_counts():
    model = gan.dense_gan(28)
    assert model.latent == 100
    assert sizes(model.generator) == [100, 256, 512, 784]
    assert sizes(model.discriminator) == [784, 512, 256, 1]
    assert sum(p.size for p in model.generator.parameters() if p.data.ndim == 2) == 558_080


def test_the_convolutional_discriminator_at_28_is_the_one_that_the_book_counts():
    model = gan.conv_gan(28)
    rows = [(row.layer.split("(")[0], row.shape) for row in model.discriminator.summary((1, 1, 28, 28)).rows]
    assert [shape for layer, shape in rows if layer == "Conv2d"] == [(1, 64, 14, 14), (1, 128, 7, 7)]
    assert rows[-1] == ("Dense", (1, 1))
    first, second = (layer for layer in model.discriminator if isinstance(layer, layers.Conv2d))
    assert first.kernel_size == second.kernel_size == (5, 5)
    assert model.discriminator[-1].weight.size == 128 * 49


@pytest.mark.parametrize(
    "make", [gan.dense_gan, gan.conv_gan, began.dense_began], ids=["dense", "convolutional", "began"]
)
@pytest.mark.parametrize(("side", "latent"), [(8, None), (28, None), (12, 5)])
def test_pictures_have_the_shape_and_the_range_of_the_data(make, side, latent):
    layers.seed(0)
    model = make(side=side, latent=latent)
    pictures = model.sample(5, seed=1)
    assert pictures.shape == (5, 1, side, side) and pictures.dtype == np.float32
    assert pictures.min() >= 0 and pictures.max() <= 1 and pictures.std() > 0
    judged = model(model.noise(5, np.random.default_rng(0)))
    assert judged.shape == ((5, 1, side, side) if make is began.dense_began else (5, 1))


def test_gradients_reach_every_parameter_of_the_generator():
    for make in (gan.dense_gan, gan.conv_gan, began.dense_began):
        model = make()
        model(model.noise(4, np.random.default_rng(0))).mean().backward()
        assert all(np.any(p.grad) for p in model.generator.parameters())


def test_the_same_seed_draws_the_same_pictures_and_leaves_the_mode_as_it_was():
    model = gan.dense_gan()
    model.generator[0].training = False
    assert np.array_equal(model.sample(3, seed=4), model.sample(3, seed=4))
    assert not np.array_equal(model.sample(3), model.sample(3))
    assert not model.generator[0].training and model.generator[1].training


def test_dropout_is_in_the_discriminator_only_and_can_be_left_out():
    model = gan.dense_gan()
    assert not any(isinstance(layer, Dropout) for layer in model.generator)
    assert any(isinstance(layer, Dropout) for layer in model.discriminator)
    assert not any(isinstance(layer, Dropout) for layer in gan.dense_gan(dropout=0).discriminator)


@pytest.mark.parametrize("make", [gan.dense_gan, began.dense_began])
def test_interpolation_goes_from_one_picture_to_the_other_without_a_jump(make):
    model = make()
    a, b = model.noise(2, np.random.default_rng(3))
    way = model.interpolate(a, b, steps=50)
    assert way.shape == (50, 1, 8, 8)
    ends = model.draw(np.stack([a, b]))
    np.testing.assert_allclose(way[[0, -1]], ends, atol=1e-5)
    steps = np.abs(np.diff(way, axis=0)).max(axis=(1, 2, 3))
    assert steps.max() < 0.2 * np.abs(ends[1] - ends[0]).max()
    np.testing.assert_array_equal(model.interpolate(1, 2, 4), model.interpolate(1, 2, 4))


def test_the_way_between_normal_noise_keeps_its_length_and_that_between_uniform_noise_its_range():
    model, other = gan.dense_gan(), began.dense_began()
    a, b = model.noise(2, np.random.default_rng(0))
    arc = model._between(a, b, np.linspace(0, 1, 9)[:, None])
    lengths = np.linalg.norm(arc, axis=1)
    assert min(map(np.linalg.norm, (a, b))) * 0.98 < lengths.min()
    np.testing.assert_allclose(model._between(a, a, np.array([[0.5]])), a[None], rtol=1e-6)
    np.testing.assert_allclose(model._between(a, -a, np.array([[0.5]])), 0 * a[None], atol=1e-6)
    u, v = other.noise(2, np.random.default_rng(0))
    assert np.abs(other._between(u, v, np.linspace(0, 1, 9)[:, None])).max() <= 1


def test_noise_is_normal_for_a_gan_and_uniform_for_a_began():
    normal = gan.dense_gan().noise(2000, np.random.default_rng(0))
    uniform = began.dense_began().noise(2000, np.random.default_rng(0))
    assert abs(normal.std() - 1) < 0.02 and np.abs(normal).max() > 3
    assert abs(uniform.std() - 3**-0.5) < 0.02 and np.abs(uniform).max() <= 1


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="side must be a multiple of 4"):
        gan.conv_gan(side=10)
    with pytest.raises(ValueError, match="latent must be at least 1, got 0"):
        gan.dense_gan(latent=0)
    model = gan.dense_gan()
    with pytest.raises(ValueError, match=r"z must have shape \(N, 32\), got \(3, 31\)"):
        model.draw(np.zeros((3, 31)))
    with pytest.raises(ValueError, match="n must be at least 1"):
        model.sample(0)
    with pytest.raises(ValueError, match=r"end must be a seed or have shape \(32,\), got \(3,\)"):
        model.interpolate(0, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="steps must be at least 2"):
        model.interpolate(0, 1, steps=1)


def test_a_state_can_be_carried_from_one_gan_to_another():
    layers.seed(1)
    one, other = gan.dense_gan(), gan.dense_gan()
    other.load_state_dict(one.state_dict())
    assert np.array_equal(one.sample(3, seed=0), other.sample(3, seed=0))
    assert {name.split(".")[0] for name in one.state_dict()} == {"generator", "discriminator"}


def test_an_autoencoder_copies_through_its_code():
    model = dense_autoencoder(side=8, code=3)
    images = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    assert model.encoder(images).shape == (4, 3)
    copies = model(Tensor(images))
    assert copies.shape == (4, 1, 8, 8) and copies.numpy().min() >= 0 and copies.numpy().max() <= 1
