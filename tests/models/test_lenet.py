import numpy as np
import pytest

from minidl import layers
from minidl.kernels.quantized import dequantize
from minidl.layers import Conv2d, Dense, Flatten, MaxPool2d, ReLU, Sequential, Tanh
from minidl.models.lenet import lenet
from minidl.models.quantized import float_bytes, quantize


@pytest.mark.parametrize("side", [4, 8, 13, 16, 17, 20, 28, 32])
def test_a_lenet_takes_pictures_of_any_side(side):
    assert lenet(side, classes=7)(np.zeros((2, 1, side, side), np.float32)).shape == (2, 7)


def test_the_lenet_at_28_has_the_sizes_of_lenet_5():
    model = lenet(28)
    shapes = [row.shape[1:] for row in model.summary((1, 1, 28, 28)).rows]
    for shape in [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (400,), (120,), (84,), (10,)]:
        assert shape in shapes


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="side must be at least 4, got 3"):
        lenet(3)
    with pytest.raises(ValueError, match="classes must be at least 1"):
        lenet(classes=0)


# ------------------------------------------------------------------------------------------ in 8 bits


@pytest.fixture
def network():
    layers.seed(3)
    return Sequential(
        Conv2d(2, 4, 3, padding=1, stride=2), ReLU(), Conv2d(4, 5, (1, 3), bias=False), MaxPool2d(2, 1),
        ReLU(), Flatten(), Dense(20, 30), ReLU(), layers.Dropout(0.5), Dense(30, 6),
    )  # fmt: skip


def test_bytes_give_nearly_the_same_answers(network):
    x = np.random.default_rng(0).uniform(-1, 2, (40, 2, 7, 11)).astype(np.float32)
    network = Sequential(*network[:5], Flatten(), Dense(5 * 3 * 3, 30), *network[7:])
    small = quantize(network, x)
    exact, found = network.eval()(x).numpy(), small(x)
    assert found.shape == exact.shape and found.dtype == np.float32
    assert np.abs(found - exact).max() < 0.03 * np.ptp(exact)
    assert np.abs(found - exact).max() > 0  # it does compute with bytes


def test_every_step_is_a_byte_and_its_first_layer_is_what_its_bytes_stand_for(network):
    """The reference: floats made of the bytes, multiplied as floats, rounded to the result's bytes."""
    dense = Sequential(Dense(20, 8))
    dense[0].bias.data[...] = np.random.default_rng(1).normal(size=8)
    x = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    small = quantize(dense, x)
    (step,) = small.steps
    assert step.weight.dtype == np.uint8 and step.bias.dtype == np.int32
    scale, zero_point = small.first
    rounded = np.clip(np.rint(x / scale) + zero_point, 0, 255) - zero_point
    product = (scale * rounded) @ dequantize(step.weight, step.of_weight, np.float64)
    product += step.bias * scale * step.of_weight.scale
    assert np.abs(small(x) - product).max() <= 0.51 * small.last.scale
    weights = dequantize(step.weight, step.of_weight, np.float64).T
    assert np.abs(weights - dense[0].weight.numpy()).max() <= 0.5 * step.of_weight.scale + 1e-7


def test_size_is_what_has_to_be_stored():
    model = lenet()
    small = quantize(model, np.random.default_rng(0).random((9, 1, 8, 8), dtype=np.float32))
    weights = sum(p.size for p in model.parameters() if p.data.ndim > 1)
    biases = sum(p.size for p in model.parameters() if p.data.ndim == 1)
    assert float_bytes(model) == 4 * (weights + biases)
    assert small.nbytes == weights + 4 * biases + 5 + 4 * 10
    assert float_bytes(model) / small.nbytes > 3.85


def test_inputs_beyond_the_range_that_was_seen_are_cut_off():
    model = lenet()
    x = np.random.default_rng(0).random((9, 1, 8, 8), dtype=np.float32)
    small = quantize(model, x)
    np.testing.assert_array_equal(small(x), small(np.where(x == x.max(), np.float32(1000), x)))


def test_networks_that_have_no_bytes_are_refused():
    x = np.zeros((2, 4, 8, 8), np.float32)
    with pytest.raises(TypeError, match=r"layer 1, Tanh.* cannot be quantized; those that can: Conv2d"):
        quantize(Sequential(Flatten(), Tanh()), x)
    with pytest.raises(TypeError, match="channels are in groups"):
        quantize(Sequential(Conv2d(4, 4, 3, groups=2)), x)
    with pytest.raises(TypeError, match="hang over"):
        quantize(Sequential(MaxPool2d(3, 2, ceil_mode=True)), x)
    with pytest.raises(TypeError, match="model must be a Sequential, got ReLU"):
        quantize(ReLU(), x)
    with pytest.raises(TypeError, match="examples must hold float32"):
        quantize(Sequential(Flatten()), np.zeros((2, 3), np.int64))
