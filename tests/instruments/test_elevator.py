"""Every floor has the same number, the way up finds the graph's gradient, and wrong calls are named."""

import numpy as np
import pytest

from minidl import graph, layers
from minidl.graph import Tensor
from minidl.instruments import elevator
from minidl.instruments.elevator import TOLERANCE, Check
from minidl.models import began, gan, lenet
from minidl.tasks import data

BANDWIDTH = 1e10  # bytes per second: nothing is measured here


def go(model, z, pixel):
    return elevator.ride(model, z, pixel, bandwidth=BANDWIDTH)


def strided():
    """A generator that ends in a convolution with a stride and padding, for three channels."""
    generator = layers.Sequential(
        layers.Dense(5, 2 * 7 * 9),
        layers.Reshape(2, 7, 9),
        layers.LeakyReLU(0.1),
        layers.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 1)),
        layers.Sigmoid(),
    )
    return gan.GAN(generator, layers.Sequential(layers.Flatten(), layers.Dense(3 * 4 * 10, 1)), 5)


def painting():
    """A generator that ends in a transposed convolution without a bias, and nothing after it."""
    generator = layers.Sequential(
        layers.Dense(4, 3 * 3 * 2),
        layers.Reshape(3, 3, 2),
        layers.ConvTranspose2d(
            3, 2, (4, 3), stride=(3, 2), padding=(1, 0), output_padding=(2, 1), bias=False
        ),
    )
    return gan.GAN(generator, layers.Sequential(layers.Flatten(), layers.Dense(2 * 10 * 6, 1)), 4)


def convolved():
    """Scores of a network of convolutions alone."""
    return layers.Sequential(
        layers.Conv2d(1, 4, 3, padding=1),
        layers.BatchNorm2d(4),
        layers.ReLU(),
        layers.AvgPool2d(2),
        layers.Conv2d(4, 2, 2),
    )


@pytest.fixture(scope="module")
def made():
    """Name → a model, and what makes an input for it from a random generator."""
    layers.seed(3)
    models = {
        "dense": gan.dense_gan(side=6, latent=7, hidden=(9, 11)),
        "conv": gan.conv_gan(side=8, latent=6, channels=(3, 5)),
        "trained": gan.pretrained(),
        "began": began.dense_began(side=6, hidden=(8, 12)),
        "strided": strided(),
        "painting": painting(),
    }
    every = {name: (model, lambda g, m=model: m.noise(1, g)) for name, model in models.items()}
    pictures = data.digits().test.images
    every["lenet"] = lenet.pretrained(), lambda g: pictures[g.integers(len(pictures))]
    every["convolved"] = convolved(), lambda g: g.normal(size=(1, 1, 6, 6))
    return every


def random_pixel(model, generator):
    network = getattr(model, "generator", model)
    first = np.zeros((1, getattr(model, "latent", 0)), np.float32)
    small = any(type(part) is layers.BatchNorm2d for part in model.parts().values())
    side = (1, 1, 6, 6) if small else (1, 1, 8, 8)
    with graph.no_grad():
        shape = network(first if hasattr(model, "latent") else np.zeros(side, np.float32)).shape
    place = tuple(int(generator.integers(size)) for size in shape[1:])
    if len(place) == 1:
        return place[0]
    return place[1:] if shape[1] == 1 else place


NAMES = ("dense", "conv", "trained", "began", "strided", "painting", "lenet", "convolved")


# -- down ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(13))  # 104 rides in all
def test_every_floor_agrees_with_the_one_above(made, name, seed):
    generator = np.random.default_rng([seed, NAMES.index(name)])
    model, make = made[name]
    ride = go(model, make(generator), random_pixel(model, generator))
    assert [check.floors for check in ride.checks][:6] == [(7, 6), (6, 5), (5, 4), (4, 3), (3, 2), (2, 1)]
    assert ride.agrees, str(ride)
    assert max(check.error for check in ride.checks) <= TOLERANCE
    assert list(ride.numbers) == [7, 6, 5, 4, 3, 2, 1]
    assert ride.numbers[1] == pytest.approx(ride.numbers[5], abs=TOLERANCE * ride.op.size)
    assert not len(ride.op.row) or ride.up().agrees


def test_a_pixel_that_nothing_paints_is_the_bias_alone(made):
    """The extra row of `output_padding`, where the stride jumps over it."""
    model, make = made["painting"]
    ride = go(model, make(np.random.default_rng(0)), (1, 6, 5))
    assert ride.agrees and len(ride.op.row) == 0 and ride.numbers[1] == 0
    with pytest.raises(ValueError, match="weight must be given"):
        ride.up()
    assert ride.up((0, 1, 0, 0)).agrees


def test_the_numbers_are_those_of_the_model(made):
    model, make = made["conv"]
    z = make(np.random.default_rng(5))
    ride = go(model, z, (4, 1))
    assert ride.task.number == model.draw(z)[0, 0, 4, 1]
    assert np.array_equal(ride.task.shown, model.draw(z)[0, 0])
    logit = model.eval()(z).item()
    model.train()
    assert ride.task.said["logit"] == pytest.approx(logit, rel=1e-6)
    assert ride.task.said["probability"] == pytest.approx(1 / (1 + np.exp(-logit)))


def test_lenets_answer_is_its_largest_score(made):
    model, make = made["lenet"]
    picture = make(np.random.default_rng(1))
    ride = go(model, picture, 7)
    with graph.no_grad():
        scores = model(picture.reshape(1, 1, 8, 8)).numpy()[0]
    assert np.allclose(ride.task.scores, scores) and ride.task.said["answer"] == scores.argmax()
    assert ride.task.said["probability"] == pytest.approx(np.exp(scores[7]) / np.exp(scores).sum(), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_seen_is_what_a_change_reaches(made, name):
    """Nudge one seen and one unseen number of the last layer's input: only the first changes the output."""
    model, make = made[name]
    generator = np.random.default_rng(2)
    ride = go(model, make(generator), random_pixel(model, generator))
    layer, given, sees = ride.layer.layer, ride.layer.input, ride.layer.sees
    with graph.no_grad():
        before = layer(given).numpy()[ride.layer.index]
        for seen in (True, False):
            places = np.argwhere(sees == seen)
            if len(places):
                nudged = given.copy()
                nudged[tuple(places[len(places) // 2])] += 1000
                changed = layer(nudged).numpy()[ride.layer.index] != before
                assert changed == seen


def test_what_earlier_layers_reach_holds_the_gradient(made):
    """Whatever has a gradient is marked; in LeNet's middle, what is not marked has none."""
    model, make = made["convolved"]
    z = make(np.random.default_rng(3)).astype(np.float32)
    ride = go(model, z, (1, 0, 1))
    x = Tensor(z, requires_grad=True)
    model.eval()(x)[0, 1, 0, 1].backward()
    model.train()
    by_hand = np.zeros((6, 6), bool)
    by_hand[0:5, 1:6] = True  # 2×2 of the pooled, 4×4 of the image, and one more on each side
    assert np.array_equal(x.grad[0, 0] != 0, by_hand & (x.grad[0, 0] != 0))
    pooled = next(stage for stage in ride.path if isinstance(stage.layer, layers.AvgPool2d))
    assert pooled.reached[0, 0].tolist() == [[False, True, True], [False, True, True], [False, False, False]]
    assert ride.path[0].reached[0, 0].sum() == 16


def test_the_row_is_the_one_of_im2col(made):
    from minidl.kernels.conv import im2col

    model, make = made["strided"]
    ride = go(model, make(np.random.default_rng(4)), (2, 3, 7))
    columns = im2col(ride.layer.input, (3, 2), (2, 1), (1, 1))
    assert np.array_equal(ride.op.row, columns[0, :, 3 * 10 + 7])
    assert np.array_equal(ride.op.column, ride.layer.layer.weight.numpy()[2].ravel())


def test_one_thread_has_one_pixel_and_two_reads_for_each_product(made):
    model, make = made["conv"]
    ride = go(model, make(np.random.default_rng(6)), (7, 7))
    work, memory = ride.kernel, ride.hardware
    assert work.kernel == "conv2d_backward_input_direct_kernel"
    number = work.block.x * work.threads.x + work.thread.x
    assert number == 7 * 8 + 7 and (work.warp, work.lane) == divmod(number % work.threads.x, 32)
    assert work.write[:2] == ("result", (0, 0, 7, 7))
    pairs = [name for name, *_ in work.reads if name != "bias"]
    assert len(pairs) == 2 * len(ride.op.row)
    assert memory.asked == 4 * (len(work.reads) + 1)
    assert memory.moved == 32 * memory.sectors and memory.seconds == memory.moved / BANDWIDTH
    assert memory.sectors >= memory.lines and memory.asked <= memory.warp_asked * len(pairs)


def test_addresses_lie_where_the_indices_say(made):
    model, make = made["dense"]
    ride = go(model, make(np.random.default_rng(7)), (2, 5))
    assert ride.kernel.kernel == "matmul_coalesced_kernel"
    of = {}
    for name, index, offset, address in ride.hardware.places:
        of.setdefault(name, set()).add(address - offset)
        width = {"a": 11, "b": 36, "c": 36}[name]
        assert offset == 4 * (index[0] * width + index[1])
    assert all(len(starts) == 1 for starts in of.values()) and set(of) == {"a", "b", "c"}
    # Each row of b is 144 bytes on: a sector of its own for each of the 11 reads. A row of a is 44 bytes.
    assert ride.hardware.sectors == 11 + 2 + 1


def test_nothing_of_the_model_is_changed(made):
    model, make = made["conv"]
    model.train()
    before = model.state_dict()
    ride = go(model, make(np.random.default_rng(8)), (0, 0))
    ride.up(rate=100.0)
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(layer.training for _, layer in model.layers())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_float64_models_ride_too():
    layers.seed(1)
    model = gan.dense_gan(side=4, latent=3, hidden=(5,)).astype(np.float64)
    ride = go(model, np.ones(3), (1, 2))
    assert ride.agrees and ride.op.row.dtype == np.float64 and ride.hardware.asked == 8 * 11


def test_a_number_of_zero_is_no_trouble():
    model = layers.Sequential(layers.Dense(3, 2), layers.ReLU())
    model[0].weight.data[...] = 0
    ride = go(model, [1, 2, 3], 1)
    assert ride.agrees and ride.numbers[1] == 0


def test_a_check_fails_where_numbers_differ():
    assert Check((4, 3), "", 1.0, 1.0 + 2e-5, 1.0).agrees is False
    assert Check((4, 3), "", 1e-9, 2e-9, 1.0).agrees and Check((4, 3), "", 1e-9, 2e-9, 1.0).relative == 1.0
    assert not Check((4, 3), "", float("nan"), 1.0, 1.0).agrees
    assert "≠" in str(Check((4, 3), "", 1.0, 2.0, 1.0))


def test_without_a_bandwidth_this_machine_is_measured(made, monkeypatch):
    import sys

    module = sys.modules["minidl.instruments.elevator.ride"]
    measured = []

    def limits(kind):
        measured.append(kind)
        return type("Limits", (), {"copy_bandwidth": 5e9})

    monkeypatch.setattr(module, "limits", limits)
    model, make = made["dense"]
    ride = elevator.ride(model, make(np.random.default_rng(0)), (0, 0))
    assert measured == ["cpu"] and ride.hardware.bandwidth == 5e9


# -- up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_slope_of_the_loss(made, name):
    """A weight is used once by a dense layer, and at many positions by a convolution."""
    model, make = made[name]
    generator = np.random.default_rng(9)
    ride = go(model, make(generator), random_pixel(model, generator))
    up = ride.up()
    assert up.agrees
    if isinstance(ride.layer.layer, layers.Dense):
        assert len(up.met) == 1
    else:
        assert len(up.met) > 1
    wide = ride.up(rate=1e-3 / max(abs(up.gradient), 1e-12))  # the weight moves by 0.001
    slope = (wide.new_loss - wide.loss) / (wide.new_value - wide.value)
    assert slope == pytest.approx(up.gradient, rel=0.05, abs=2e-3 * max(1.0, up.loss))
    assert up.chain[0][1] == 1.0 and up.chain[-1][0] in ("dense", "conv2d", "conv_transpose2d")


def test_a_weight_of_a_dense_layer_changes_one_pixel_and_one_of_a_convolution_many(made):
    for name, most in (("dense", 1), ("conv", 64)):
        model, make = made[name]
        up = go(model, make(np.random.default_rng(10)), (3, 3)).up(rate=50.0)
        changed = np.count_nonzero(up.change)
        assert 0 < changed <= most and (name == "dense" or changed > 4)


def test_any_weight_can_be_chosen(made):
    model, make = made["painting"]
    ride = go(model, make(np.random.default_rng(11)), (1, 0, 0))
    up = ride.up((2, 0, 3, 1))
    assert up.agrees and up.value == model.generator[2].weight.data[2, 0, 3, 1]


# -- wrong calls ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pixel, error, says",
    [
        ((8, 0), ValueError, "pixel's row must be from 0 to 5, got 8"),
        ((0, -1), ValueError, "pixel's column must be from 0 to 5, got -1"),
        ((0, 1.5), TypeError, "pixel's column must be an integer, got 1.5"),
        (3, ValueError, r"pixel must be \(row, column\), got 3"),
        ((0, 0, 0), ValueError, r"pixel must be \(row, column\)"),
        ("ab", ValueError, r"pixel must be \(row, column\), got 'ab'"),
    ],
)
def test_a_wrong_pixel_is_named(made, pixel, error, says):
    model, make = made["dense"]
    with pytest.raises(error, match=says):
        go(model, make(np.random.default_rng(0)), pixel)


def test_a_wrong_class_or_channel_is_named(made):
    with pytest.raises(ValueError, match="pixel's class must be from 0 to 9, got 10"):
        go(made["lenet"][0], np.zeros((8, 8)), 10)
    with pytest.raises(ValueError, match="pixel must be the number of a class"):
        go(made["lenet"][0], np.zeros((8, 8)), (1, 2))
    with pytest.raises(ValueError, match=r"pixel must be \(channel, row, column\)"):
        go(made["painting"][0], np.zeros(4), (1, 2))


@pytest.mark.parametrize(
    "z, error, says",
    [
        (np.zeros(8), ValueError, r"z must have shape \(7,\) or \(1, 7\), got \(8,\)"),
        (np.zeros((2, 7)), ValueError, r"z must have shape"),
        ([1, 2, 3, 4, 5, 6, float("nan")], ValueError, "z must be finite"),
        (["a"] * 7, TypeError, "z must hold numbers"),
    ],
)
def test_a_wrong_z_is_named(made, z, error, says):
    with pytest.raises(error, match=says):
        go(made["dense"][0], z, (0, 0))


def test_a_wrong_picture_is_named(made):
    with pytest.raises(ValueError, match="z must be one input, got 2 of them"):
        go(made["lenet"][0], np.zeros((2, 1, 8, 8)), 0)
    with pytest.raises(ValueError, match=r"z, of shape \(1, 1, 9, 30\), does not fit the model"):
        go(made["lenet"][0], np.zeros((9, 30)), 0)
    with pytest.raises(ValueError, match="at most 4 dimensions"):
        go(made["lenet"][0], np.zeros((1, 1, 1, 8, 8)), 0)


def test_a_model_that_ends_in_something_else_is_named():
    with pytest.raises(TypeError, match="model must be a Layer, got int"):
        go(3, [1.0], 0)
    with pytest.raises(TypeError, match="it ends in MaxPool2d"):
        go(layers.Sequential(layers.Conv2d(1, 1, 3), layers.MaxPool2d(2)), np.zeros((6, 6)), (0, 0))
    with pytest.raises(TypeError, match=r"it ends in Conv2d.*groups=2"):
        go(layers.Sequential(layers.Conv2d(2, 2, 3, groups=2)), np.zeros((2, 6, 6)), (0, 0, 0))
    with pytest.raises(TypeError, match="model must have weights"):
        go(layers.Sequential(layers.Flatten()), np.zeros((6, 6)), 0)
    with pytest.raises(TypeError, match=r"images .* or scores"):
        go(layers.Sequential(layers.Dense(2, 3), layers.Reshape(3, 1)), np.zeros(2), 0)


def test_a_wrong_weight_or_rate_is_named(made):
    model, make = made["dense"]
    ride = go(model, make(np.random.default_rng(0)), (0, 0))
    with pytest.raises(ValueError, match="weight must be an index into the shape"):
        ride.up(3)
    with pytest.raises(ValueError, match=r"weight\[1\] must be from 0 to 10, got 11"):
        ride.up((0, 11))
    with pytest.raises(ValueError, match="rate must be above 0"):
        ride.up(rate=0)
