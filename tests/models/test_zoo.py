"""The zoo: its counts are the published ones, its layers PyTorch's and Keras's, and every network runs."""

import tracemalloc

import numpy as np
import pytest

from minidl import graph, layers
from minidl.models.zoo import ARCHITECTURES
from minidl.models.zoo.plain import SEEN, digit_codes, vgg
from minidl.models.zoo.shortcuts import resnet

each = pytest.mark.parametrize("key", ARCHITECTURES)

# What torchvision's sources say of its first weights: num_params, and _ops in 10⁹ multiply-adds
# (github.com/pytorch/vision, torchvision/models/*.py).
TORCHVISION = {
    "alexnet": (61_100_840, 0.714),
    "vgg_a": (132_863_336, 7.609),
    "vgg_b": (133_047_848, 11.308),
    "vgg_d": (138_357_544, 15.47),
    "vgg_e": (143_667_240, 19.632),
    "googlenet": (6_624_904, 1.498),
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801),
    "resnet152": (60_192_808, 11.514),
    "densenet121": (7_978_856, 2.834),
    "squeezenet": (1_248_424, 0.819),
    "mobilenet_v2": (3_504_872, 0.301),
    "efficientnet_b0": (5_288_548, 0.386),
}

# The longest way through, in layers with weights, as the papers (or the names) count it.
DEPTH = {
    "alexnet": 8, "alexnet_two_towers": 8, "zfnet": 8, "vgg_a": 11, "vgg_a_lrn": 11, "vgg_b": 13,
    "vgg_c": 16, "vgg_d": 16, "vgg_e": 19, "nin": 12, "googlenet": 22, "resnet18": 18, "resnet34": 34,
    "resnet50": 50, "resnet101": 101, "resnet152": 152, "densenet121": 121, "squeezenet": 18,
    "mobilenet_v1": 28, "mobilenet_v2": 53,
}  # fmt: skip


# ---------------------------------------------------------------------------------------- what is published


@pytest.mark.parametrize("key", TORCHVISION)
def test_parameters_and_multiply_adds_are_torchvisions(key):
    parameters, billions = TORCHVISION[key]
    assert ARCHITECTURES[key].parameters == parameters
    assert round(ARCHITECTURES[key].flops / 1e9, 3) == billions


@each
def test_counts_fit_everything_that_each_entry_cites(key):
    """Papers round: to two digits mostly. ResNet's bottlenecks had their stride elsewhere: up to 8% less."""
    entry = ARCHITECTURES[key]
    for published in entry.published:
        assert published.source.startswith("https://")
        if published.parameters:
            assert entry.parameters == pytest.approx(published.parameters, rel=0.035)
        if published.flops:
            assert entry.flops == pytest.approx(
                published.flops, rel=0.08 if "stride" in published.note else 0.03
            )
        for accuracy in (published.top1, published.top5):
            assert accuracy is None or 50 < accuracy < 100


def test_vggs_table_2_in_millions():
    """Simonyan & Zisserman, arXiv:1409.1556, table 2."""
    found = [round(ARCHITECTURES[f"vgg_{c}"].parameters / 1e6) for c in ("a", "a_lrn", "b", "c", "d", "e")]
    assert found == [133, 133, 133, 134, 138, 144]


def test_lenet5_is_counted_as_the_paper_counts_it():
    """LeCun et al., 1998, section II.B: trainable parameters layer by layer, and 340,908 connections."""
    entry = ARCHITECTURES["lenet5"]
    network = entry.build()
    learned = {name: sum(p.size for p in getattr(network, name).parameters()) for name in network.parts()}
    assert {name: n for name, n in learned.items() if n} == {
        "c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164,
    }  # fmt: skip
    assert entry.parameters == 60_000
    biases = 6 * 28 * 28 + 16 * 10 * 10 + 120 + 84
    subsampling = (4 + 1) * (6 * 14 * 14 + 16 * 5 * 5)  # four pixels and a bias for each output
    assert entry.flops + biases + subsampling == 340_908
    assert sum(map(len, SEEN)) == 60
    assert len({tuple(code) for code in digit_codes()}) == 10 and set(np.unique(digit_codes())) == {-1, 1}


def test_alexnets_two_towers_are_those_of_caffe():
    """60,965,224 numbers: counted by hand from the paper's figure 2."""
    conv = [(96, 3, 11), (256, 48, 5), (384, 256, 3), (384, 192, 3), (256, 192, 3)]
    dense = [(4096, 9216), (4096, 4096), (1000, 4096)]
    by_hand = sum(o * (i * k * k + 1) for o, i, k in conv) + sum(o * (i + 1) for o, i in dense)
    assert ARCHITECTURES["alexnet_two_towers"].parameters == by_hand == 60_965_224


@pytest.mark.parametrize("key", DEPTH)
def test_the_depth_is_the_one_in_the_name_or_the_paper(key):
    assert ARCHITECTURES[key].depth == DEPTH[key]


def test_one_7x7_layer_against_three_3x3_layers():
    """Simonyan & Zisserman, section 2.3: 49C² against 27C² weights, for one and the same field of view."""
    c = 64

    def stack(*sizes):
        return layers.Sequential(*[layers.Conv2d(c, c, k, bias=False) for k in sizes])

    one, three = stack(7), stack(3, 3, 3)
    assert one.summary((1, c, 7, 7)).parameters == 49 * c**2
    assert three.summary((1, c, 7, 7)).parameters == 27 * c**2
    assert (
        one.summary((1, c, 7, 7)).rows[-1].shape == three.summary((1, c, 7, 7)).rows[-1].shape == (1, c, 1, 1)
    )


# -------------------------------------------------------------------------------------- counting and shapes


def test_counting_them_all_makes_no_weights():
    fresh = [type(entry)(**{f: getattr(entry, f) for f in entry.__dataclass_fields__})
             for entry in ARCHITECTURES.values()]  # fmt: skip
    tracemalloc.start()
    assert sum(entry.parameters for entry in fresh) > 10**9  # 4 GB, if they were made
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


@each
def test_counts_are_those_of_the_network_itself(key):
    entry = ARCHITECTURES[key]
    assert sum(step.parameters for step in entry.steps) == entry.parameters
    assert next(iter(entry.shapes)) == "input" and entry.shapes["input"] == entry.input_shape
    assert len(entry.shapes) == len(entry.steps) + 1
    summary = entry.summary()
    assert summary.parameters == entry.parameters
    assert [row.shape[1:] for row in summary.rows] == [step.shape for step in entry.steps]
    assert str(entry).startswith(f"{entry.name} ({entry.year}): {entry.parameters:,} parameters")


def test_kinds_of_layers_are_told_apart():
    def kinds(key):
        return {step.kind for step in ARCHITECTURES[key].steps if step.flops}

    assert kinds("vgg_d") == {"convolution", "dense"}
    assert kinds("nin") == {"convolution", "1×1"}
    assert kinds("mobilenet_v1") == {"convolution", "1×1", "depthwise", "dense"}
    mobile = ARCHITECTURES["mobilenet_v1"]
    share = sum(step.flops for step in mobile.steps if step.kind == "1×1") / mobile.flops
    assert round(100 * share, 2) == 94.86  # Howard et al., arXiv:1704.04861, table 2


def test_shapes_are_those_in_the_papers():
    assert ARCHITECTURES["lenet5"].shapes["c5"] == (120, 1, 1)
    towers = ARCHITECTURES["alexnet_two_towers"].shapes
    assert towers["features.0"] == (96, 55, 55) and towers["features.4"] == (256, 27, 27)
    zfnet = ARCHITECTURES["zfnet"].shapes  # figure 3: 110, 55, 26, 13, 13, 13, 13, 6
    assert [zfnet[f"features.{i}"][1] for i in (0, 2, 4, 6, 8, 10, 12, 14)] == [
        110,
        55,
        26,
        13,
        13,
        13,
        13,
        6,
    ]
    assert ARCHITECTURES["vgg_d"].shapes["features.30"] == (512, 7, 7)
    google = ARCHITECTURES["googlenet"].shapes  # table 1: output sizes
    assert google["maxpool2"] == (192, 28, 28) and google["maxpool3"] == (480, 14, 14)
    assert google["maxpool4"] == (832, 7, 7) and google["inception5b.branch1.relu"] == (384, 7, 7)
    assert ARCHITECTURES["resnet50"].shapes["layer4.2.bn3"] == (2048, 7, 7)
    assert ARCHITECTURES["densenet121"].shapes["features.transition1.conv"] == (128, 56, 56)
    assert ARCHITECTURES["squeezenet"].shapes["features.12.expand3x3"] == (256, 13, 13)  # table 1
    assert ARCHITECTURES["mobilenet_v2"].shapes["features.18.2"] == (1280, 7, 7)


def test_weights_have_torchvisions_names():
    names = ARCHITECTURES["resnet50"].build(classes=2).state_dict()
    for name in ("conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight", "layer4.2.bn3.bias",
                 "layer2.0.conv2.weight", "layer3.5.bn1.num_batches_tracked", "fc.bias"):  # fmt: skip
        assert name in names
    assert len(names) == 320  # of torchvision.models.resnet50().state_dict()
    assert (
        "features.denseblock4.denselayer16.norm2.running_var"
        in ARCHITECTURES["densenet121"].build().state_dict()
    )
    assert "inception4e.branch2.1.bn.weight" in ARCHITECTURES["googlenet"].build().state_dict()
    assert "features.17.conv.1.0.weight" in ARCHITECTURES["mobilenet_v2"].build().state_dict()
    assert "features.6.1.block.2.fc1.bias" in ARCHITECTURES["efficientnet_b0"].build().state_dict()
    assert "features.12.expand3x3.bias" in ARCHITECTURES["squeezenet"].build().state_dict()


# -------------------------------------------------------------------------------------------------- running


@each
def test_it_runs_at_full_size(key):
    entry = ARCHITECTURES[key]
    network = entry.build().eval()
    x = np.random.default_rng(0).normal(size=(1, *entry.input_shape)).astype(np.float32)
    with graph.no_grad():
        y = network(x)
    assert y.shape == (1, 10 if key == "lenet5" else 1000) and y.dtype == np.float32
    assert np.isfinite(y.data).all() and y.data.std() > 0


@pytest.mark.parametrize("key", ["lenet5", "nin", "squeezenet", "mobilenet_v2", "efficientnet_b0"])
def test_it_can_be_trained(key):
    entry = ARCHITECTURES[key]
    layers.seed(0)
    network = entry.build() if key == "lenet5" else entry.build(classes=3)
    x = np.random.default_rng(0).normal(size=(2, *entry.input_shape)).astype(np.float32)
    if key != "lenet5":
        x = x[:, :, :96, :96]
    graph.cross_entropy(network(x), np.array([0, 2])).backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
    assert sum(np.abs(g).max() > 0 for g in gradients) > 0.8 * len(gradients)


def test_lenet5_answers_with_the_code_that_is_nearest():
    network = ARCHITECTURES["lenet5"].build()
    distances = network.output(digit_codes())
    np.testing.assert_array_equal(distances.data.argmin(axis=1), range(10))
    np.testing.assert_allclose(np.diag(distances.data), 0)
    other = np.random.default_rng(0).normal(size=(3, 84)).astype(np.float32)
    expected = ((other[:, None] - digit_codes()) ** 2).sum(axis=2)
    np.testing.assert_allclose(network.output(other).data, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: vgg("f"), "configuration must be one of a, a_lrn, b, c, d, e, got 'f'"),
        (lambda: resnet(20), "depth must be one of 18, 34, 50, 101, 152, got 20"),
        (lambda: ARCHITECTURES["squeezenet"].build(classes=0), "out_channels must be"),
        (lambda: ARCHITECTURES["vgg_a"].build(classes=2)(np.zeros((1, 3, 32, 32), np.float32)), "25088"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# -------------------------------------------------------------------------- judged by PyTorch and by Keras


def random_state(network, seed):
    """Weights, and running statistics as if something had been learned."""
    rng = np.random.default_rng(seed)
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            state[name] = rng.normal(0, 0.1, value.shape).astype(np.float32)
        elif name.endswith("running_var"):
            state[name] = rng.uniform(0.8, 1.6, value.shape).astype(np.float32)
    network.load_state_dict(state)
    return state


def test_resnet18_is_that_of_pytorchs_operations():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: no reference for a whole ResNet")
    f = torch.nn.functional
    network = ARCHITECTURES["resnet18"].build(classes=7).eval()
    s = {name: torch.tensor(value) for name, value in random_state(network, 1).items()}

    def bn(x, name):
        return f.batch_norm(x, *(s[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))

    x = np.random.default_rng(2).normal(size=(2, 3, 96, 64)).astype(np.float32)
    y = f.conv2d(torch.tensor(x), s["conv1.weight"], stride=2, padding=3)
    y = f.max_pool2d(bn(y, "bn1").relu(), 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            short = y
            if f"{at}.downsample.0.weight" in s:
                short = bn(f.conv2d(y, s[f"{at}.downsample.0.weight"], stride=stride), f"{at}.downsample.1")
            y = bn(f.conv2d(y, s[f"{at}.conv1.weight"], stride=stride, padding=1), f"{at}.bn1").relu()
            y = bn(f.conv2d(y, s[f"{at}.conv2.weight"], padding=1), f"{at}.bn2")
            y = (y + short).relu()
    expected = f.linear(y.mean((2, 3)), s["fc.weight"], s["fc.bias"]).numpy()
    np.testing.assert_allclose(network(x).data, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_mobilenet_v2_is_that_of_pytorchs_operations():
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: no reference for a whole MobileNet"
    )
    f = torch.nn.functional
    network = ARCHITECTURES["mobilenet_v2"].build(classes=7).eval()
    s = {name: torch.tensor(value) for name, value in random_state(network, 3).items()}

    def step(x, conv, norm, active=True, **options):
        x = f.conv2d(x, s[f"{conv}.weight"], padding=s[f"{conv}.weight"].shape[-1] // 2, **options)
        x = f.batch_norm(x, *(s[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))
        return f.relu6(x) if active else x

    x = np.random.default_rng(4).normal(size=(2, 3, 64, 96)).astype(np.float32)
    y = step(torch.tensor(x), "features.0.0", "features.0.1", stride=2)
    strides = {2: 2, 4: 2, 7: 2, 14: 2}
    for i in range(1, 18):
        at, z = f"features.{i}.conv", y
        if i > 1:
            z, at_filter, at_last = step(z, f"{at}.0.0", f"{at}.0.1"), f"{at}.1", 2
        else:
            at_filter, at_last = f"{at}.0", 1
        z = step(z, f"{at_filter}.0", f"{at_filter}.1", stride=strides.get(i, 1), groups=z.shape[1])
        z = step(z, f"{at}.{at_last}", f"{at}.{at_last + 1}", active=False)
        y = y + z if z.shape == y.shape else z
    y = step(y, "features.18.0", "features.18.1").mean((2, 3))
    expected = f.linear(y, s["classifier.1.weight"], s["classifier.1.bias"]).numpy()
    np.testing.assert_allclose(network(x).data, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    "key, name",
    [("mobilenet_v1", "MobileNet"), ("mobilenet_v2", "MobileNetV2"), ("densenet121", "DenseNet121"),
     ("efficientnet_b0", "EfficientNetB0")],
)  # fmt: skip
def test_what_is_learned_is_what_keras_learns(key, name, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch, which Keras is to stand on, is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed: the published counts judge alone")
    theirs = getattr(keras.applications, name)(weights=None)
    learned = sum(int(np.prod(weight.shape)) for weight in theirs.trainable_weights)
    assert ARCHITECTURES[key].parameters == learned
