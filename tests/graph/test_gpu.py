"""Tensors on the GPU: all that a training step launches there, run by the tracer where there is none."""

import numpy as np
import pytest

from minidl import graph, layers
from minidl.graph import Tensor, dynamic
from minidl.hardware.device import Device
from minidl.hardware.machine import Gpu, is_on_gpu
from minidl.instruments.ptx import compile_kernel
from minidl.instruments.tracer import TracedGpu
from minidl.ops import gpu

RNG = np.random.default_rng(0)


class OnGpu(np.ndarray):
    """An array that says it is in GPU memory."""

    @property
    def __cuda_array_interface__(self):
        return {}


class Pretended:
    """The methods of `Gpu`, which put arrays nowhere and let the tracer run the kernels."""

    def __init__(self):
        self.machine, self.launched = TracedGpu(), []

    def upload(self, array):
        return array if isinstance(array, OnGpu) else np.array(array, order="C").view(OnGpu)

    def empty(self, shape, dtype):
        return self.machine.empty(shape, dtype).view(OnGpu)

    def launch(self, kernel, grid, block, *args, shared=0):
        self.launched.append((kernel, args))
        self.machine.launch(kernel, grid, block, *args, shared=shared)
        wrong = [
            f for f in self.machine.traces[-1].findings if f.kind not in ("bank-conflict", "uncoalesced")
        ]
        assert not wrong, wrong[0].message

    def download(self, array, out=None):
        return self.machine.download(np.asarray(array), out)


@pytest.fixture
def pretend(monkeypatch):
    pretended = Pretended()
    for name in ("upload", "empty", "launch", "download"):
        monkeypatch.setattr(
            Gpu, name, lambda self, *args, name=name, **kw: getattr(pretended, name)(*args, **kw)
        )
    monkeypatch.setattr(dynamic, "_gpu_in_use", False)
    return pretended


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
    "pooling": (lambda a: graph.max_pool2d(a, 2) + graph.avg_pool2d(a, 2), (draw(2, 2, 6, 4),)),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_gradients_are_those_of_the_cpu(pretend, name):
    function, arrays = FORMULAS[name]
    on_both(function, *arrays)
    assert pretend.launched


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
