"""Every layer: its outputs, gradients and names are PyTorch's, its gradients those of finite differences."""

import copy

import numpy as np
import pytest

from minidl import graph, layers
from minidl.graph import Tensor
from minidl.layers import initialisers

RNG = np.random.default_rng(0)

# name: (the layer, how PyTorch calls it, shape of the input)
CASES = {
    "dense": (lambda: layers.Dense(5, 3), "Linear(5, 3)", (4, 5)),
    "dense, no bias": (lambda: layers.Dense(5, 3, bias=False), "Linear(5, 3, bias=False)", (2, 4, 5)),
    "conv": (lambda: layers.Conv2d(3, 4, 3), "Conv2d(3, 4, 3)", (2, 3, 6, 7)),
    "conv, stride": (
        lambda: layers.Conv2d(3, 4, (3, 2), stride=2, padding=(1, 0)),
        "Conv2d(3, 4, (3, 2), stride=2, padding=(1, 0))",
        (2, 3, 7, 6),
    ),
    "conv, groups": (
        lambda: layers.Conv2d(4, 6, 3, padding=1, groups=2), "Conv2d(4, 6, 3, padding=1, groups=2)",
        (2, 4, 5, 6),
    ),
    "conv, depthwise": (
        lambda: layers.Conv2d(3, 3, 5, stride=2, padding=2, bias=False, groups=3),
        "Conv2d(3, 3, 5, stride=2, padding=2, bias=False, groups=3)",
        (2, 3, 7, 6),
    ),
    "conv, two for each channel": (
        lambda: layers.Conv2d(3, 6, (3, 1), stride=(1, 2), groups=3),
        "Conv2d(3, 6, (3, 1), stride=(1, 2), groups=3)",
        (1, 3, 4, 5),
    ),
    "transposed conv": (
        lambda: layers.ConvTranspose2d(3, 4, 4, stride=2, padding=1, output_padding=1),
        "ConvTranspose2d(3, 4, 4, stride=2, padding=1, output_padding=1)",
        (2, 3, 4, 5),
    ),
    "upsample": (lambda: layers.Upsample(2), "Upsample(scale_factor=2)", (2, 3, 4, 3)),
    "max pool": (lambda: layers.MaxPool2d(2), "MaxPool2d(2)", (2, 3, 7, 6)),
    "max pool, overlapping": (lambda: layers.MaxPool2d(3, 2, 1), "MaxPool2d(3, 2, 1)", (2, 3, 7, 6)),
    "max pool, ceil": (
        lambda: layers.MaxPool2d(3, 2, ceil_mode=True), "MaxPool2d(3, 2, ceil_mode=True)", (2, 3, 8, 6),
    ),
    "max pool, ceil, padded": (
        lambda: layers.MaxPool2d(2, 3, 1, ceil_mode=True), "MaxPool2d(2, 3, 1, ceil_mode=True)", (2, 2, 6, 8),
    ),
    "global average pool": (
        lambda: layers.GlobalAvgPool2d(), "Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())", (2, 3, 4, 5),
    ),
    "global average pool, kept": (
        lambda: layers.GlobalAvgPool2d(keepdims=True), "AdaptiveAvgPool2d(1)", (2, 3, 4, 5),
    ),
    "local response": (
        lambda: layers.LocalResponseNorm(3, 0.5, 0.6, 2.0), "LocalResponseNorm(3, 0.5, 0.6, 2.0)",
        (2, 5, 3, 2),
    ),
    "average pool": (lambda: layers.AvgPool2d(3, 2, 1), "AvgPool2d(3, 2, 1)", (2, 3, 7, 6)),
    "flatten": (lambda: layers.Flatten(), "Flatten()", (2, 3, 4)),
    "reshape": (lambda: layers.Reshape(3, 4), "Unflatten(1, (3, 4))", (2, 12)),
    "relu": (lambda: layers.ReLU(), "ReLU()", (4, 5)),
    "relu6": (lambda: layers.ReLU6(), "ReLU6()", (4, 5)),
    "silu": (lambda: layers.SiLU(), "SiLU()", (4, 5)),
    "leaky relu": (lambda: layers.LeakyReLU(0.2), "LeakyReLU(0.2)", (4, 5)),
    "sigmoid": (lambda: layers.Sigmoid(), "Sigmoid()", (4, 5)),
    "tanh": (lambda: layers.Tanh(), "Tanh()", (4, 5)),
    "softmax": (lambda: layers.Softmax(1), "Softmax(1)", (4, 5)),
    "dropout, off": (lambda: layers.Dropout(0.0), "Dropout(0.0)", (4, 5)),
    "batch norm 1d": (lambda: layers.BatchNorm1d(5), "BatchNorm1d(5)", (4, 5)),
    "batch norm 1d, long": (lambda: layers.BatchNorm1d(3), "BatchNorm1d(3)", (4, 3, 5)),
    "batch norm 2d": (lambda: layers.BatchNorm2d(3), "BatchNorm2d(3)", (4, 3, 5, 2)),
    "embedding": (lambda: layers.Embedding(6, 4), "Embedding(6, 4)", None),
    "sequential": (
        lambda: layers.Sequential(
            layers.Conv2d(1, 3, 3), layers.BatchNorm2d(3), layers.Tanh(),
            layers.Sequential(layers.Flatten(), layers.Dense(48, 2)),
        ),
        "Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(),"
        " nn.Sequential(nn.Flatten(), nn.Linear(48, 2)))",
        (3, 1, 6, 6),
    ),
}  # fmt: skip
each = pytest.mark.parametrize("name", CASES)


def an_input(shape):
    return RNG.integers(0, 6, (3, 4)) if shape is None else RNG.normal(size=shape)


@each
def test_it_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: finite differences judge alone")
    make, spelled, shape = CASES[name]
    ours = make().astype(np.float64)
    theirs = eval(f"nn.{spelled}", {"nn": torch.nn}).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    for training in (True, False, True):
        ours.train(training)
        theirs.train(training)
        x = an_input(shape)
        our_x, their_x = (
            Tensor(x, requires_grad=shape is not None),
            torch.tensor(x, requires_grad=shape is not None),
        )
        y, expected = ours(our_x), theirs(their_x)
        np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=1e-9, atol=1e-12)
        g = RNG.normal(size=y.shape)
        if y.requires_grad:
            y.backward(g)
            expected.backward(torch.tensor(g))
        if shape is not None:
            np.testing.assert_allclose(our_x.grad, their_x.grad.numpy(), rtol=1e-8, atol=1e-10)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-8, atol=1e-10)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), rtol=1e-9)


@each
def test_its_gradients_are_those_of_finite_differences(name):
    make, _, shape = CASES[name]
    layer = make().astype(np.float64)
    parameters = list(layer.named_parameters())

    def function(x, *weights):
        own = copy.copy(layer)
        result = with_weights(own, dict(zip(parameters, weights, strict=True)))(x)
        return result

    weights = [RNG.normal(size=p.shape) for p in layer.parameters()]
    assert graph.check_gradients(function, an_input(shape), *weights)


def with_weights(layer, weights):
    """The layer with tensors in place of its parameters, by name."""
    own = copy.copy(layer)
    for name, part in own.parts().items():
        inner = {key.removeprefix(f"{name}."): w for key, w in weights.items() if key.startswith(f"{name}.")}
        setattr(own, name, with_weights(part, inner))
    for name, weight in weights.items():
        if "." not in name:
            setattr(own, name, weight)
    return own


@each
def test_it_keeps_float32_and_foretells_its_shape(name):
    make, _, shape = CASES[name]
    layer = make()
    x = an_input(shape)
    y = layer(x.astype(np.float32) if shape else x)
    assert y.dtype == np.float32
    if shape:
        assert layer.summary(shape).rows[-1].shape == y.shape


def test_dropout_drops_in_training_only():
    layers.seed(0)
    layer = layers.Dropout(0.5)
    x = np.ones((50, 50), np.float32)
    assert 0.4 < (layer(x).data == 0).mean() < 0.6
    assert layer.eval()(x).data is x
    own = layers.Dropout(0.5, generator=np.random.default_rng(3))
    again = layers.Dropout(0.5, generator=np.random.default_rng(3))
    np.testing.assert_array_equal(own(x).data, again(x).data)
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        layers.Dropout(1.5)


def test_stochastic_depth_drops_whole_examples_in_training_only():
    layer = layers.StochasticDepth(0.25, generator=np.random.default_rng(0))
    x = np.ones((400, 3, 2, 2), np.float32)
    y = layer(x).data.reshape(400, -1)
    assert (y == y[:, :1]).all() and set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert 0.18 < (y[:, 0] == 0).mean() < 0.32
    assert layer.eval()(x).data is x


def test_parallel_layers_share_the_input_and_keep_their_names():
    both = layers.Parallel(layers.Conv2d(3, 2, 1), wide=layers.Conv2d(3, 4, 3, padding=1))
    assert list(both.state_dict()) == ["0.weight", "0.bias", "wide.weight", "wide.bias"]
    x = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    y = both(x).data
    np.testing.assert_array_equal(y[:, :2], next(iter(both))(x).data)
    np.testing.assert_array_equal(y[:, 2:], both.wide(x).data)
    with pytest.raises(TypeError, match="layer wide must be a Layer, got 3"):
        layers.Parallel(wide=3)
    with pytest.raises(ValueError, match="differ in more than axis 1"):
        layers.Parallel(layers.Conv2d(3, 2, 1), layers.Conv2d(3, 2, 3))(x)


def test_shapes_only_makes_weights_of_any_size_without_memory():
    with layers.shapes_only():
        huge = layers.Sequential(layers.Dense(10**6, 10**6), layers.ReLU())
        conv = layers.Conv2d(3, 4, 5)
    assert huge[0].weight.shape == (10**6, 10**6) and huge[0].weight.data.strides == (0, 0)
    assert huge.summary((1, 10**6)).parameters == 10**12 + 10**6
    assert conv.weight.dtype == np.float32 and not conv.weight.data.flags.writeable
    assert layers.Dense(3, 3).weight.data.any()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.Conv2d(4, 6, 3, groups=3), "3 groups do not divide 4 in_channels and 6 out_channels"),
        (lambda: layers.Conv2d(4, 4, 3, groups=0), "groups must be"),
        (lambda: layers.LocalResponseNorm(4), "size must be odd"),
        (lambda: layers.StochasticDepth(2), "p must be from 0 to 1, got 2"),
        (
            lambda: layers.GlobalAvgPool2d()(np.ones((2, 3), np.float32)),
            r"given \(2, 3\): input must have shape",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_seed_gives_the_same_weights():
    def weights():
        layers.seed(7)
        return (
            layers.Dense(4, 3).weight.data,
            layers.Conv2d(1, 2, 3).weight.data,
            layers.Embedding(3, 2).weight.data,
        )

    for a, b in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name, variance", [("glorot", 2 / (300 + 500)), ("he", 2 / 500)])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_initialisers_have_the_variance_they_promise(name, kind, variance):
    w = getattr(initialisers, f"{name}_{kind}")((300, 500), np.random.default_rng(0))
    assert w.dtype == np.float32 and w.var() == pytest.approx(variance, rel=0.02) and abs(w.mean()) < 1e-3
    image = getattr(initialisers, f"{name}_{kind}")((30, 20, 5, 5), np.random.default_rng(0))
    expected = 2 / (20 * 25 + 30 * 25) if name == "glorot" else 2 / (20 * 25)
    assert image.var() == pytest.approx(expected, rel=0.05)
    with pytest.raises(ValueError, match="two dimensions"):
        getattr(initialisers, f"{name}_{kind}")((5,))


# ------------------------------------------------------------------------------------- names, saving, loading


def a_network():
    return layers.Sequential(
        layers.Dense(4, 3), layers.BatchNorm1d(3), layers.ReLU(), layers.Dense(3, 2, bias=False)
    )


def test_state_is_named_copied_and_loaded():
    a, b = a_network(), a_network()
    state = a.state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
                           "1.num_batches_tracked", "3.weight"]  # fmt: skip
    b(RNG.normal(size=(5, 4)).astype(np.float32))
    memory = b[0].weight.data
    b.load_state_dict(state)
    assert b[0].weight.data is memory
    for one, other in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
        np.testing.assert_array_equal(one, other)
    state["0.weight"] += 1
    assert not np.array_equal(a.state_dict()["0.weight"], state["0.weight"])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("0.bias"), r"missing \['0.bias'\]"),
        (lambda s: s.update(extra=np.zeros(1)), r"not known here \['extra'\]"),
        (
            lambda s: s.update({"3.weight": np.zeros((2, 2))}),
            r"3.weight must have shape \(2, 3\), got \(2, 2\)",
        ),
    ],
)
def test_state_that_does_not_fit_changes_nothing(change, message):
    network = a_network()
    before = network.state_dict()
    wrong = {key: value + 1 for key, value in before.items()}
    change(wrong)
    with pytest.raises(ValueError, match=message):
        network.load_state_dict(wrong)
    for one, other in zip(before.values(), network.state_dict().values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_shared_parameters_appear_once_among_the_parameters():
    shared = layers.Dense(3, 3)
    network = layers.Sequential(shared, layers.ReLU(), shared)
    assert len(network.parameters()) == 2 and len(network.state_dict()) == 4


def test_modes_gradients_and_dtypes_reach_every_part():
    network = layers.Sequential(
        layers.Sequential(layers.Dropout(0.5), layers.Dense(2, 2)), layers.BatchNorm1d(2)
    )
    assert not network.eval()[0][0].training and network.train()[1].training
    network(np.ones((3, 2), np.float32)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    network.zero_grad()
    assert all(p.grad is None for p in network.parameters())
    network.astype(np.float64)
    assert network(np.ones((3, 2))).dtype == np.float64 and network[1].running_mean.dtype == np.float64
    assert network.state_dict()["1.num_batches_tracked"].dtype == np.int64
    with pytest.raises(TypeError, match="float16"):
        network.astype(np.float16)


def test_a_network_can_be_taken_apart():
    network = a_network()
    assert len(network) == 4 and isinstance(next(iter(network)), layers.Dense)
    assert isinstance(network[:2], layers.Sequential) and network[:2][0] is network[0]
    assert "1: BatchNorm1d(3)" in repr(network)
    with pytest.raises(TypeError, match="layer 1 must be a Layer"):
        layers.Sequential(layers.ReLU(), "relu")


def test_calls_can_be_observed():
    seen = []
    network = a_network()
    with layers.observe(lambda layer, inputs, output: seen.append((type(layer).__name__, output.shape))):
        network(np.ones((5, 4), np.float32))
    network(np.ones((5, 4), np.float32))
    assert seen == [
        ("Dense", (5, 3)),
        ("BatchNorm1d", (5, 3)),
        ("ReLU", (5, 3)),
        ("Dense", (5, 2)),
        ("Sequential", (5, 2)),
    ]


# --------------------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    "layer, shape, message",
    [
        (layers.Dense(4, 3), (2, 5), r"Dense\(4, 3\), given \(2, 5\).*\(2, 5\).*weight \(3, 4\)"),
        (layers.Conv2d(3, 4, 3), (2, 1, 8, 8), r"Conv2d\(3, 4, 3\), given \(2, 1, 8, 8\).*1 channels.*3"),
        (layers.Conv2d(3, 4, 3), (3, 8, 8), r"Conv2d.*\(3, 8, 8\)"),
        (layers.Conv2d(1, 4, 5), (1, 1, 4, 4), r"Conv2d.*\(5, 5\) does not fit into \(4, 4\)"),
        (layers.MaxPool2d(9), (1, 1, 4, 4), r"MaxPool2d\(9\).*does not fit"),
        (layers.BatchNorm2d(3), (4, 3), r"BatchNorm2d\(3\), given \(4, 3\).*4 dimensions"),
        (layers.BatchNorm1d(3), (4, 2), r"BatchNorm1d\(3\), given \(4, 2\).*weight \(3,\)"),
        (layers.BatchNorm1d(3), (1, 3), r"BatchNorm1d.*more than one value"),
        (layers.Reshape(3, 4), (2, 10), r"Reshape\(3, 4\), given \(2, 10\)"),
        (layers.Sequential(layers.ReLU(), layers.Dense(4, 3)), (2, 5), r"layer 1, Dense.*given \(2, 5\)"),
    ],
)  # fmt: skip
def test_an_input_that_does_not_fit_is_refused_with_the_layer_and_both_shapes(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=message):
        layer.summary(shape) if shape != (1, 3) else layer(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "make, error",
    [
        (lambda: layers.Dense(0, 3), ValueError),
        (lambda: layers.Dense(2.5, 3), TypeError),
        (lambda: layers.Conv2d(1, 1, 0), ValueError),
        (lambda: layers.Conv2d(1, 1, 3, stride=0), ValueError),
        (lambda: layers.Conv2d(1, 1, 3, padding=-1), ValueError),
        (lambda: layers.Conv2d(1, 1, (3, 3, 3)), TypeError),
        (lambda: layers.BatchNorm1d(True), TypeError),
        (lambda: layers.Upsample(0), ValueError),
    ],
)
def test_layers_that_cannot_be_made(make, error):
    with pytest.raises(error):
        make()


def test_indices_that_are_no_integers_are_refused():
    with pytest.raises(TypeError, match=r"Embedding\(3, 2\).*integers"):
        layers.Embedding(3, 2)(np.zeros(2, np.float32))


# ------------------------------------------------------------------------------------------------ compiled


def test_a_compiled_network_trains_like_any_other_and_notices_its_mode():
    layers.seed(0)
    network = layers.Sequential(
        layers.Conv2d(1, 2, 3), layers.BatchNorm2d(2), layers.ReLU(), layers.Flatten(), layers.Dropout(0.5),
        layers.Dense(32, 3),
    )  # fmt: skip
    twin = copy.deepcopy(network)
    x, labels = RNG.normal(size=(5, 1, 6, 6)).astype(np.float32), np.array([0, 1, 2, 1, 0])
    fast = graph.compile(lambda x, labels: graph.cross_entropy(network(x), labels))
    for mode in (True, True, False, True):
        network.train(mode), twin.train(mode)
        layers.seed(1)
        fast(x, labels).backward()
        layers.seed(1)
        graph.cross_entropy(twin(x), labels).backward()
        for p, q in zip(network.parameters(), twin.parameters(), strict=True):
            np.testing.assert_allclose(p.grad, q.grad, rtol=1e-4, atol=1e-6)
    for a, b in zip(network.state_dict().values(), twin.state_dict().values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_summary_adds_up():
    network = layers.Sequential(
        layers.Conv2d(1, 16, 3, padding=1), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(),
        layers.Dense(16 * 196, 10),
    )  # fmt: skip
    summary = network.summary((64, 1, 28, 28))
    assert [row.shape for row in summary.rows][2:] == [(64, 16, 14, 14), (64, 3136), (64, 10)]
    assert summary.parameters == 16 * 9 + 16 + 3136 * 10 + 10
    assert summary.rows[0].flops == 64 * 784 * 16 * (2 * 9 + 1)
    assert summary.rows[0].bytes == 4 * (64 * 16 * 784 + 160)
    assert "Conv2d(1, 16, 3, padding=1)" in str(summary) and "<td>31,370</td>" in summary._repr_html_()
    with pytest.raises(ValueError, match="layer 0, Conv2d"):
        network.summary((64, 3, 28, 28))
