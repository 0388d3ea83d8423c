"""Optimisers: step for step those of PyTorch, on one flat array, on the CPU and on the GPU."""

import copy

import numpy as np
import pytest

from minidl import layers
from minidl.graph import Tensor
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels import optimiser as kernels
from minidl.tasks import SGD, Adam, Momentum, cross_entropy
from minidl.tasks.optim import clip_gradients

SHAPES = [(3, 4), (), (5,), (2, 1, 3)]
RULES = {
    "sgd": (SGD, {"lr": 0.1}, "SGD", {}),
    "sgd, decay": (SGD, {"lr": 0.1, "weight_decay": 0.05}, "SGD", {}),
    "momentum": (Momentum, {"lr": 0.02}, "SGD", {"momentum": 0.9}),
    "nesterov": (Momentum, {"lr": 0.02, "nesterov": True, "weight_decay": 0.1}, "SGD", {"momentum": 0.9}),
    "adam": (Adam, {}, "Adam", {}),
    "adam, all": (
        Adam, {"lr": 0.03, "betas": (0.5, 0.9), "eps": 1e-4, "weight_decay": 0.2}, "Adam", {},
    ),
}  # fmt: skip
each = pytest.mark.parametrize("name", RULES)


def parameters(dtype=np.float64, seed=0):
    random = np.random.default_rng(seed)
    return [Tensor(random.normal(size=shape).astype(dtype), requires_grad=True) for shape in SHAPES]


def gradients(steps, dtype=np.float64, missing=0.0, seed=1):
    random = np.random.default_rng(seed)
    return [
        [None if random.random() < missing else random.normal(size=shape).astype(dtype) for shape in SHAPES]
        for _ in range(steps)
    ]


def walk(params, optimiser, steps):
    for given in steps:
        for parameter, gradient in zip(params, given, strict=True):
            parameter.grad = gradient
        optimiser.step()
    return [p.numpy().copy() for p in params]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("missing", [0.0, 0.4])
@each
def test_agrees_with_pytorch_over_fifty_steps(name, missing, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    rule, rates, theirs, more = RULES[name]
    steps = gradients(50, dtype, missing)
    ours = parameters(dtype)
    others = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in ours]
    known = {**rates, **more}
    reference = getattr(torch.optim, theirs)(others, **known)
    for given in steps:
        for parameter, gradient in zip(others, given, strict=True):
            parameter.grad = None if gradient is None else torch.tensor(gradient)
        reference.step()
    got = walk(ours, rule(ours, **rates), steps)
    close = {"rtol": 1e-12, "atol": 1e-13} if dtype == np.float64 else {"rtol": 2e-5, "atol": 2e-6}
    for one, other in zip(got, others, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, other.detach().numpy(), **close)


@each
def test_agrees_with_the_specification_parameter_by_parameter(name):
    rule, rates, *_ = RULES[name]
    ours, expected = parameters(), [p.numpy().reshape(-1).copy() for p in parameters()]
    steps = gradients(7)
    got = walk(ours, rule(ours, **rates), steps)
    memory = [[np.zeros_like(p), np.zeros_like(p)] for p in expected]
    for t, given in enumerate(steps, start=1):
        for p, g, (m, v) in zip(expected, given, memory, strict=True):
            g = g.reshape(-1)
            if rule is SGD:
                kernels.sgd_reference(p, g, **rates)
            elif rule is Momentum:
                kernels.momentum_reference(p, g, m, **rates)
            else:
                kernels.adam_reference(p, g, m, v, t, **rates)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one.reshape(-1), other, rtol=1e-12, atol=1e-14)


def test_a_step_is_one_kernel_over_one_array(monkeypatch):
    calls = []
    real = kernels.adam
    monkeypatch.setattr("minidl.tasks.optim._adam", lambda *a, **k: calls.append(a) or real(*a, **k))
    params = parameters()
    optimiser = Adam(params)
    walk(params, optimiser, gradients(3))
    assert [call[0].size for call in calls] == [sum(p.size for p in params)] * 3
    base = params[0].data.base
    assert all(p.data.base is base for p in params) and base.size == sum(p.size for p in params)


def test_a_model_learns_and_lr_can_be_assigned():
    layers.seed(0)
    model = layers.Sequential(layers.Dense(4, 8), layers.Tanh(), layers.Dense(8, 3))
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    labels = np.argmax(x[:, :3], axis=1)
    optimiser = Adam(model.parameters(), lr=0.05)
    losses = []
    for step in range(60):
        optimiser.lr = 0.05 / (1 + step / 30)
        loss = cross_entropy(model(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    optimiser.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    before = model.state_dict()
    optimiser.step()  # nothing to step along
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@each
def test_goes_on_from_a_saved_state_as_if_nothing_had_happened(name):
    rule, rates, *_ = RULES[name]
    steps = gradients(10, missing=0.3)
    straight = parameters()
    whole = walk(straight, rule(straight, **rates), steps)
    first = parameters()
    optimiser = rule(first, **rates)
    walk(first, optimiser, steps[:5])
    state = optimiser.state_dict()
    kept = copy.deepcopy(state)
    second = [Tensor(p.numpy().copy(), requires_grad=True) for p in first]
    other = rule(second, lr=0.7)
    other.load_state_dict(state)
    assert other.lr == optimiser.lr
    for one, expected in zip(walk(second, other, steps[5:]), whole, strict=True):
        np.testing.assert_array_equal(one, expected)
    walk(first, optimiser, steps[5:])
    for key, value in kept.items():  # the state is a copy: neither walk has changed it
        np.testing.assert_array_equal(state[key], value)


def test_values_given_to_a_parameter_afterwards_are_used():
    model = layers.Dense(3, 2)
    optimiser = SGD(model.parameters(), lr=1.0)
    model.weight.data = np.full((2, 3), 5, np.float32)  # as loading on the GPU does
    model.weight.grad, model.bias.grad = np.ones((2, 3)), np.ones(2)
    optimiser.step()
    assert (model.weight.numpy() == 4).all() and (model.bias.numpy() == -1).all()
    model.load_state_dict({"weight": np.zeros((2, 3)), "bias": np.ones(2)})
    optimiser.step()
    assert (model.weight.numpy() == -1).all() and (model.bias.numpy() == 0).all()


def test_two_optimisers_may_share_parameters_and_a_copy_is_a_copy():
    params = parameters()
    one, other = SGD(params, lr=1.0), SGD(params[:2], lr=1.0)
    start = params[0].numpy().copy()
    for parameter in params:
        parameter.grad = np.ones(parameter.shape)
    one.step()
    other.step()
    one.step()
    np.testing.assert_allclose(params[0].numpy(), start - 3)
    twin_params, twin = copy.deepcopy((params, one))
    twin.step()
    np.testing.assert_allclose(twin_params[0].numpy(), start - 4)
    np.testing.assert_allclose(params[0].numpy(), start - 3)
    one.step()
    np.testing.assert_allclose(params[0].numpy(), start - 4)


def test_moved_or_converted_afterwards_it_says_so():
    model = layers.Dense(3, 2)
    optimiser = Adam(model.parameters())
    model.astype(np.float64)
    model.weight.grad = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"parameter 0 was float32.*before its optimiser is made"):
        optimiser.step()


def a_leaf(shape=(2,), dtype=np.float32):
    return Tensor(np.ones(shape, dtype), requires_grad=True)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: SGD([], 0.1), ValueError, "params must not be empty"),
        (lambda: SGD(a_leaf(), 0.1), TypeError, "must be a list of tensors"),
        (lambda: SGD(None, 0.1), TypeError, "must be a list of tensors"),
        (lambda: SGD([np.ones(3)], 0.1), TypeError, "parameter 0 must be a Tensor, got ndarray"),
        (lambda: SGD([Tensor(np.ones(3))], 0.1), TypeError, "requires no gradient"),
        (lambda: SGD([a_leaf() * 2], 0.1), TypeError, "computed from others"),
        (lambda: SGD([a_leaf((0,))], 0.1), ValueError, "no elements"),
        (lambda: SGD([a_leaf(), a_leaf(dtype=np.float64)], 0.1), TypeError, "parameter 1 must be float32"),
        (lambda: SGD([a_leaf()] * 2 + [a_leaf()], 0.1), ValueError, "a tensor twice"),
        (lambda: SGD([a_leaf()], -0.1), ValueError, "lr must be"),
        (lambda: SGD([a_leaf()], float("nan")), ValueError, "lr must be"),
        (lambda: SGD([a_leaf()], "fast"), TypeError, "lr must be a number"),
        (lambda: Adam([a_leaf()], betas=(0.9, 1.0)), ValueError, "betas"),
        (lambda: Adam([a_leaf()], betas=0.9), ValueError, "betas must be a pair"),
        (lambda: Adam([a_leaf()], weight_decay=-1), ValueError, "weight_decay"),
        (lambda: Momentum([a_leaf()], 0.1, momentum=None), TypeError, "momentum must be a number"),
    ],
)
def test_what_cannot_be_optimised_is_said(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_a_bad_lr_later_is_refused_and_the_old_one_kept():
    optimiser = SGD([a_leaf()], 0.1)
    with pytest.raises(ValueError, match="lr must be"):
        optimiser.lr = -1
    assert optimiser.lr == 0.1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rule": "SGD"}, "that of SGD, this is Adam"),
        ({"mean": np.zeros(3)}, "mean must be float64 of shape"),
        ({"square": np.zeros(21, np.float32)}, "square must be float64"),
        ({"steps": np.array([1, 2])}, "steps must be 4 counts"),
        ({"steps": np.array([1, 2, -1, 0])}, "steps must be 4 counts"),
        ({"lr": -2.0}, "lr must be"),
        ({"extra": 1}, "state must have"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, says):
    params = parameters()
    optimiser = Adam(params)
    walk(params, optimiser, gradients(2))
    before = optimiser.state_dict()
    with pytest.raises(ValueError, match=says):
        optimiser.load_state_dict({**before, **change})
    for key, value in optimiser.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("scale", [0.01, 10.0])
def test_clipping_agrees_with_pytorch(scale):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    params, (given,) = parameters(), gradients(1, missing=0.3)
    given = [None if g is None else g * scale for g in given]
    others = [torch.tensor(p.numpy(), requires_grad=True) for p in params]
    for p, q, g in zip(params, others, given, strict=True):
        p.grad, q.grad = g, None if g is None else torch.tensor(g)
    expected = torch.nn.utils.clip_grad_norm_(others, 1.5).item()
    assert clip_gradients(params, 1.5) == pytest.approx(expected, rel=1e-12)
    for p, q in zip(params, others, strict=True):
        if q.grad is not None:
            np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-5)


def test_clipping_makes_the_length_exactly_that_and_leaves_what_is_not_finite():
    params = parameters()
    for p in params:
        p.grad = np.full(p.shape, 3.0)
    count = sum(p.size for p in params)
    assert clip_gradients(params, 2.0) == pytest.approx(3 * count**0.5)
    assert clip_gradients(params, 1e9) == pytest.approx(2.0)
    params[0].grad = np.full(params[0].shape, np.inf)
    assert clip_gradients(params, 1.0) == np.inf
    assert np.isinf(params[0].grad).all() and np.isfinite(params[2].grad).all()


# ------------------------------------------------------------------------------------------------ the GPU


@pytest.mark.parametrize("missing", [0.0, 0.4])
@each
def test_on_the_gpu_the_same_steps_in_one_launch_each(name, missing, pretend):
    rule, rates, *_ = RULES[name]
    steps = gradients(4, np.float32, missing)
    host = parameters(np.float32)
    expected = walk(host, rule(host, **rates), steps)
    there = [Tensor(p.numpy(), requires_grad=True, device="cuda") for p in parameters(np.float32)]
    optimiser = rule(there, **rates)
    placed = [[None if g is None else GPU.upload(g) for g in given] for given in steps]
    got = walk(there, optimiser, placed)
    assert all(is_on_gpu(p.data) for p in there)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    if not missing:
        assert pretend.launches == len(steps)
    state = optimiser.state_dict()
    assert not any(is_on_gpu(value) for value in state.values())
    optimiser.load_state_dict(state)
    walk(there, optimiser, placed[:1])
