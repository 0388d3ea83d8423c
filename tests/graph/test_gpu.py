"""Tensors on the GPU: all that a training step launches there, run by the tracer where there is none."""

import numpy as np
import pytest

from minidl import graph, layers
from minidl.graph import Tensor
from minidl.hardware.device import Device
from minidl.hardware.machine import is_on_gpu
from minidl.instruments.ptx import compile_kernel
from minidl.ops import gpu
from tests.pretended import pretended_gpu

RNG = np.random.default_rng(0)


@pytest.fixture
def pretend():
    with pretended_gpu() as gpu:
        yield gpu


def on_both(function, *arrays):
    """Compute values and gradients on the CPU and on the GPU, and compare them."""
    results = []
    for device in ("cpu", "cuda"):
        leaves = [Tensor(a, requires_grad=a.dtype.kind == "f", device=device if a.dtype.kind == "f" else None)
                  for a in arrays]  # fmt: skip
        y = function(*leaves)
        assert y.device == device
        y.backward(np.linspace(0.5, 1.5, y.size, dtype=np.float32).reshape(y.shape) if y.shape else None)
        results.append([y, *(t for t in leaves if t.requires_grad)])
        for t in leaves:
            assert t.grad is None or is_on_gpu(t.grad) == (device == "cuda")
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-6)
        if one.grad is not None:
            np.testing.assert_allclose(one.grad, np.asarray(other.grad), rtol=1e-4, atol=1e-6)


def draw(*shape):
    return RNG.uniform(0.3, 2, shape).astype(np.float32) * RNG.choice([-1, 1], shape).astype(np.float32)


FORMULAS = {
    "arithmetic": (lambda a, b: (a + b) * a - b / (a * a) + 2.0 * -a, (draw(3, 4), draw(4))),
    "functions": (lambda a: (a * a).sqrt().log() + abs(a).exp().tanh() + a.sigmoid(), (draw(5, 7),)),
    "powers": (lambda a: a**2 + a**3 + abs(a) ** 0.5 + a**-1, (draw(6),)),
    "kinks": (lambda a, b: graph.maximum(a, b) + graph.minimum(a, 0.1) + graph.leaky_relu(a, 0.2) + b.relu(),
              (draw(2, 3, 4), draw(3, 1))),
    "choice": (lambda a, b: graph.where(a > b, a * 2, b * 3), (draw(3, 4), draw(3, 4))),
    "reductions": (lambda a: a.sum(axis=1) + a.mean(axis=(0, 2)).sum() + a.sum(), (draw(2, 3, 4),)),
    "products": (lambda a, b: (a @ b).T, (draw(5, 4), draw(4, 3))),
    "dense": (lambda x, w, b: graph.dense(x, w, b), (draw(6, 5), draw(4, 5), draw(4))),
    "shapes": (lambda a: a.reshape(3, 8).T.broadcast_to(2, 8, 3) * 2, (draw(2, 3, 4),)),
    "softmax": (lambda a: graph.softmax(a) + graph.log_softmax(a), (draw(4, 6),)),
    "cross entropy": (lambda a, labels: graph.cross_entropy(a, labels), (draw(4, 6), np.array([0, 5, 2, 2]))),
    "binary cross entropy": (lambda a: graph.bce_with_logits(a, np.ones((4, 3)) * 0.3), (draw(4, 3),)),
    "scalars": (lambda a: (a.reshape(6).mean() * 2 + 1).reshape(1, 1), (draw(2, 3),)),
    "convolution": (lambda x, w, b: graph.conv2d(x, w, b, stride=(2, 1), padding=(0, 1)),
                    (draw(2, 2, 5, 4), draw(3, 2, 3, 2), draw(3))),
    "transposed convolution": (lambda x, w, b: graph.conv_transpose2d(x, w, b, 2, 1, output_padding=1),
                               (draw(2, 3, 3, 2), draw(3, 2, 3, 3), draw(2))),
    "transposed without bias": (lambda x, w: graph.conv_transpose2d(x, w),
                                (draw(1, 2, 2, 2), draw(2, 1, 2, 3))),
    "upsampling": (lambda a: graph.upsample(a, (2, 3)), (draw(2, 2, 3, 2),)),
    "mean squares": (lambda a: graph.mse(a, np.ones((3, 2))), (draw(3, 2),)),
    "overlapping windows": (lambda a: graph.max_pool2d(a, 3, 2, 1) + graph.avg_pool2d(a, 3, 2, 1),
                            (draw(1, 2, 6, 5),)),
    "pooling": (lambda a: graph.max_pool2d(a, 2) + graph.avg_pool2d(a, 2), (draw(2, 2, 6, 4),)),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_gradients_are_those_of_the_cpu(pretend, name):
    function, arrays = FORMULAS[name]
    on_both(function, *arrays)
    assert pretend.launched


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (2, 3, 4, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation(pretend, shape, training):
    kept = {}

    def normalise(x, weight, bias):
        mean, variance = np.linspace(-1, 1, shape[1]), np.linspace(0.5, 2, shape[1])
        running = mean.astype(np.float32), variance.astype(np.float32), np.zeros((), np.int64)
        kept[x.device] = running
        return graph.batch_norm(x, weight, bias, *running, training=training)

    on_both(normalise, draw(*shape), draw(shape[1]), draw(shape[1]))
    for one, other in zip(kept["cpu"], kept["cuda"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert int(kept["cuda"][2]) == training


def test_a_network_trains_there(pretend):
    layers.seed(0)
    network = layers.Sequential(
        layers.Dense(6, 5), layers.LeakyReLU(0.2), layers.Dropout(0.0), layers.Dense(5, 3)
    )
    x, labels = draw(4, 6), np.array([0, 1, 2, 1])
    losses = {}
    for device in ("cpu", "cuda"):
        network.to(device)
        loss = graph.cross_entropy(network(Tensor(x, device=device)), labels)
        network.zero_grad()
        loss.backward()
        losses[device] = [loss.item(), *(np.asarray(p.grad) for p in network.parameters())]
        assert all(p.device == device for p in network.parameters())
    for one, other in zip(losses["cpu"], losses["cuda"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    state = network.state_dict()
    network.load_state_dict(state)
    assert network.parameters()[0].device == "cuda"
    network.to("cpu")
    np.testing.assert_array_equal(network.state_dict()["0.weight"], state["0.weight"])


def test_moving_is_a_step_of_the_graph(pretend):
    x = Tensor(draw(3), requires_grad=True)
    y = (x.to("cuda") * 2).to("cpu")
    assert y.device == "cpu" and x.to("cpu") is x
    y.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_what_does_not_run_there_says_so(pretend):
    x = Tensor(draw(3, 4), device="cuda", requires_grad=True)
    with pytest.raises(TypeError, match=r"max does not run on the GPU.*\.to\('cpu'\)"):
        x.max()
    with pytest.raises(ValueError, match=r"one device, got \(3, 4\) on cuda and \(4,\) on cpu"):
        x + Tensor(draw(4), requires_grad=True)
    with pytest.raises(ValueError, match="last two axes"):
        x.reshape(2, 3, 2).transpose(1, 0, 2)


def test_kernels_made_of_formulas_compile_without_float64(pretend):
    for name in ("functions", "kinks", "choice"):
        function, arrays = FORMULAS[name]
        on_both(function, *arrays)
    made = {kernel.py_func.__name__: (kernel, args) for kernel, args in pretend.launched
            if kernel.py_func.__module__ == gpu.__name__}  # fmt: skip
    assert {"exp_kernel", "sigmoid_backward_kernel", "maximum_kernel", "where_kernel"} <= set(made)
    for kernel, args in made.values():
        plain = [np.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
        ptx = compile_kernel(kernel, *plain, cc=(7, 5))
        assert ptx.counts()["f64"] == 0, ptx.kernel


@pytest.mark.gpu
def test_on_a_real_gpu():
    if not Device("cuda").available:
        pytest.skip("this machine has no CUDA GPU")
    for function, arrays in FORMULAS.values():
        on_both(function, *arrays)
