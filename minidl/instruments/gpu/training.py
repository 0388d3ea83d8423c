"""Trains the book's networks on the GPU: to the losses of the CPU, and beside the same in PyTorch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np

from minidl import graph, layers
from minidl.graph import Tensor
from minidl.hardware.machine import GPU
from minidl.instruments.stopwatch import Timing, Timings, provenance
from minidl.tasks import Adam, cross_entropy
from minidl.tasks.adversarial import Adversarial, noise
from minidl.tasks.train import Supervised

BATCH, SIDE = 64, 28


def _gan(kind):
    def make(side):
        from minidl.models import gan

        return getattr(gan, kind)(side=side)

    return make


def _lenet(side):
    from minidl.models.lenet import lenet

    return lenet(side=side)


NETWORKS = {"dense GAN": _gan("dense_gan"), "convolutional GAN": _gan("conv_gan"), "LeNet": _lenet}


def _adam(params):
    return Adam(params, lr=2e-4, betas=(0.5, 0.999))


class OurTraining:
    """A network of the book with its recipe; `step()` takes one step and returns its losses."""

    def __init__(self, name, device, side=SIDE, batch=BATCH):
        layers.seed(0)
        self.network = NETWORKS[name](side)
        if isinstance(self.network, layers.Sequential):
            self.recipe = Supervised(self.network, Adam, cross_entropy, None, None, device, None, "test", {})
        else:
            self.recipe = Adversarial(self.network, (_adam, _adam), 0.9, None, device)
        self.random = np.random.default_rng(1)
        pictures = np.random.default_rng(2)
        self.inputs = pictures.uniform(0, 1, (batch, 1, side, side)).astype(np.float32)
        self.labels = pictures.integers(0, 10, batch)

    def step(self):
        """Take one step, with the same picture each time."""
        return self.recipe.step(self.inputs, self.labels, self.random)


def same_losses(name, steps=3, **sizes) -> str:
    """Return "" if so many steps on the GPU come to the losses of the CPU, and else where they part."""
    there, here = OurTraining(name, "cuda", **sizes), None
    layers.seed(5)
    found = [there.step() for _ in range(steps)]
    here = OurTraining(name, "cpu", **sizes)
    layers.seed(5)
    for i, other in enumerate(found, 1):
        for key, value in here.step().items():
            if not np.isclose(value, other[key], rtol=2e-3, atol=1e-5):
                return f"step {i}: {key} is {other[key]:.6f} on the GPU, {value:.6f} on the CPU"
    return ""


@contextmanager
def counted_launches():
    """Count what is launched inside the `with` block; yields a list that has one entry per launch."""
    launched, launch = [], GPU.launch

    def counting(kernel, *arguments, **named):
        launched.append(kernel)
        return launch(kernel, *arguments, **named)

    GPU.launch = counting
    try:
        yield launched
    finally:
        del GPU.launch  # the method of its class is there again


def time_steps(name, rounds=30, warm=5, **sizes) -> Timings:
    """Time whole training steps, ours and PyTorch's, in turns; each ends with its losses in host memory."""
    rivals = {"minidl": OurTraining(name, "cuda", **sizes).step}
    theirs = torch_step(name, **sizes)
    if theirs:
        rivals["torch cuda"] = theirs
    seconds = {rival: [] for rival in rivals}
    for round in range(warm + rounds):
        for rival, step in rivals.items():
            start = time.perf_counter()
            step()
            if round >= warm:
                seconds[rival].append(time.perf_counter() - start)
    workload = f"{name}, side {sizes.get('side', SIDE)}, batch {sizes.get('batch', BATCH)}"
    results = tuple(
        Timing(rival, "cuda" if rival == "minidl" else "peer", workload, tuple(taken))
        for rival, taken in seconds.items()
    )
    about = provenance(("cpu", "cuda"))
    about["method"] = "whole steps by the host's clock, from pictures to losses in host memory, in turns"
    return Timings("training step", results, about)


# ------------------------------------------------------------------------------------- the same in PyTorch


def torch_step(name, **sizes):
    """Return a function that takes the same step in PyTorch, eagerly; None without PyTorch or its GPU."""
    if find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    ours = OurTraining(name, "cpu", **sizes)
    inputs, labels = torch.from_numpy(ours.inputs), torch.from_numpy(ours.labels)
    if isinstance(ours.network, layers.Sequential):
        model = in_torch(ours.network).cuda()
        optimiser = torch.optim.Adam(model.parameters())

        def step():
            loss = torch.nn.functional.cross_entropy(model(inputs.cuda()), labels.cuda())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            return loss.item()

        return step

    generator, judge = in_torch(ours.network.generator).cuda(), in_torch(ours.network.discriminator).cuda()
    both = [torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (generator, judge)]
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits

    def draw():
        return generator(torch.from_numpy(noise(ours.network, len(inputs), ours.random)).cuda())

    def down(optimiser, loss):
        for other in both:
            other.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    def step():
        with torch.no_grad():
            drawings = draw()
        real, fake = judge(2 * inputs.cuda() - 1), judge(drawings)
        wrong = loss_of(real, torch.full_like(real, 0.9)) + loss_of(fake, torch.zeros_like(fake))
        judge_loss = down(both[1], wrong)
        said = judge(draw())
        draw_loss = down(both[0], loss_of(said, torch.ones_like(said)))
        means = [real.detach().sigmoid().mean().item(), fake.detach().sigmoid().mean().item()]
        return judge_loss, draw_loss, *means

    return step


def in_torch(network):
    """Return a network of ours as a `torch.nn.Sequential` with the same weights."""
    import torch

    nn = torch.nn

    def one(layer):
        if isinstance(layer, layers.Dense):
            return nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        if isinstance(layer, (layers.Conv2d, layers.ConvTranspose2d)):
            kind = type(layer).__name__
            sizes = layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
            extra = (
                {"output_padding": layer.output_padding} if isinstance(layer, layers.ConvTranspose2d) else {}
            )
            return getattr(nn, kind)(*sizes, bias=layer.bias is not None, **extra)
        if isinstance(layer, layers.MaxPool2d):
            return nn.MaxPool2d(layer.size, layer.stride, layer.padding)
        if isinstance(layer, layers.Reshape):
            return nn.Unflatten(1, layer.shape)
        if isinstance(layer, layers.LeakyReLU):
            return nn.LeakyReLU(layer.slope)
        if isinstance(layer, layers.Dropout):
            return nn.Dropout(layer.p)
        return {"ReLU": nn.ReLU, "Tanh": nn.Tanh, "Flatten": nn.Flatten}[type(layer).__name__]()

    twin = nn.Sequential(*map(one, network))
    twin.load_state_dict(
        {name: torch.from_numpy(value.copy()) for name, value in network.state_dict().items()}
    )
    return twin


# --------------------------------------------------------------------------------------------- operations


def _draw(*shape):
    random = np.random.default_rng((1, *shape))
    signs = random.choice(np.float32([-1, 1]), shape)
    return random.uniform(0.3, 2, shape).astype(np.float32) * signs


def operations(m=33, n=65, side=17) -> Iterator[tuple]:
    """Yield (name, function on tensors, arrays) for every operation that runs on the GPU."""
    a, b, row = _draw(m, n), _draw(m, n) + 3, _draw(n)
    labels = np.arange(m) % n
    x, w, bias = _draw(3, 5, side, side - 1), _draw(7, 5, 3, 2), _draw(7)
    up = _draw(5, 4, 3, 3)
    yield "arithmetic", lambda a, b: (a + b) * a - b / (a * a) + 2.0 * -a, (a, row)
    yield "functions", lambda a: (a * a).sqrt().log() + abs(a).exp().tanh() + a.sigmoid(), (a,)
    yield "powers", lambda a: a**2 + a**3 + abs(a) ** 0.5 + a**-1, (a,)
    yield "maximum and minimum", lambda a, b: graph.maximum(a, b) + graph.minimum(a, 0.1), (a, row)
    yield "relu, leaky relu", lambda a: graph.leaky_relu(a, 0.2) + a.relu(), (a,)
    yield "where", lambda a, b: graph.where(a > b, a * 2, b * 3), (a, b)
    yield "sum and mean", lambda a: a.sum(axis=1) + a.mean(axis=1) + a.sum(), (a,)
    yield "matmul", lambda a, b: a @ b.T, (a, b)
    yield "dense", graph.dense, (a, _draw(9, n), _draw(9))
    yield "reshape, transpose, broadcast", lambda a: a.reshape(n, m).T.broadcast_to(2, m, n) * 2, (a,)
    yield "softmax", lambda a: graph.softmax(a) + graph.log_softmax(a), (a,)
    yield "cross entropy", lambda a: graph.cross_entropy(a, labels), (a,)
    yield "binary cross entropy", lambda a: graph.bce_with_logits(a, np.full((m, n), 0.3)), (a,)
    yield "mean squares", lambda a: graph.mse(a, np.full((m, n), 0.3)), (a,)
    yield "pooling", lambda x: graph.max_pool2d(x, 3, 2, 1) + graph.avg_pool2d(x, 3, 2, 1), (x,)
    yield "convolution", lambda x, w, b: graph.conv2d(x, w, b, (2, 1), (0, 1)), (x, w, bias)
    yield "transposed convolution", lambda x, w: graph.conv_transpose2d(x, w, None, 2, 1, 1), (x, up)
    yield "upsample", lambda x: graph.upsample(x, (2, 3)), (x,)

    def normalise(x, weight, bias):
        kept = np.zeros(5, np.float32), np.ones(5, np.float32), np.zeros((), np.int64)
        return graph.batch_norm(x, weight, bias, *kept)

    yield "batch normalisation", normalise, (x, _draw(5), _draw(1, 5).reshape(5))


def check_operation(function, arrays) -> str:
    """Return "" if values and gradients on the GPU are those of the CPU, and else what differs."""
    results = []
    for device in ("cpu", "cuda"):
        leaves = [Tensor(array, requires_grad=True, device=device) for array in arrays]
        y = function(*leaves)
        weights = np.linspace(0.5, 1.5, y.size, dtype=np.float32).reshape(y.shape)
        y.backward(weights if y.shape else None)
        results.append([y.numpy(), *(Tensor(leaf.grad).numpy() for leaf in leaves)])
    for i, (want, got) in enumerate(zip(*results, strict=True)):
        if not np.allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max()):
            largest = np.abs(got - want).max()
            return f"{'the gradient to input ' + str(i) if i else 'the result'} differs by {largest:.2g}"
    return ""


def check_operations(**sizes) -> Iterator[tuple[str, str]]:
    """Yield (name, "" or what is wrong) for every operation."""
    for name, function, arrays in operations(**sizes):
        try:
            yield name, check_operation(function, arrays)
        except Exception as error:  # the others are still to be checked
            yield name, f"{type(error).__name__}: {error}"
