"""Optimisers: every rung against the specification, and that against PyTorch, over several steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.kernels import optimiser
from minidl.kernels.optimiser import ADAM_LADDER

DTYPES = [np.float32, np.float64]


def start(size, dtype=np.float32, seed=0):
    """Parameters, and the gradients of five steps."""
    random = np.random.default_rng(seed)
    return random.normal(size=size).astype(dtype), random.normal(size=(5, size)).astype(dtype)


def tolerance(dtype):
    return {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}


def adam_steps(step, params, gradients, **rates):
    p, m, v = params.copy(), np.zeros_like(params), np.zeros_like(params)
    for t, g in enumerate(gradients, start=1):
        kept = g.copy()
        assert step(p, g, m, v, t, **rates) is p
        np.testing.assert_array_equal(g, kept)
    return p, m, v


@pytest.mark.parametrize("rates", [{}, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.2}])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rung", ADAM_LADDER.rungs, ids=lambda rung: rung.name)
def test_every_rung_of_adam(rung, dtype, rates, traced):
    params, gradients = start(301, dtype)

    def step(*args, **params):
        return traced(rung.callable, *args, **params) if rung.device == "cuda" else rung(*args, **params)

    got = adam_steps(step, params, gradients, **rates)
    expected = adam_steps(optimiser.adam_reference, params, gradients, **rates)
    for ours, exact in zip(got, expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, exact, **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_every_rung_of_descent(dtype, decay, traced):
    params, gradients = start(301, dtype)
    expected, ours, gpu = params.copy(), params.copy(), params.copy()
    for g in gradients:
        optimiser.sgd_reference(expected, g, 0.1, decay)
        assert optimiser.sgd(ours, g, 0.1, decay) is ours
        assert traced(optimiser.sgd_cuda, gpu, g, 0.1, decay) is gpu
    np.testing.assert_allclose(ours, expected, **tolerance(dtype))
    np.testing.assert_allclose(gpu, expected, **tolerance(dtype))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_rung_of_momentum(dtype, nesterov, traced):
    params, gradients = start(301, dtype)
    states = [(params.copy(), np.zeros_like(params)) for _ in range(3)]
    for g in gradients:
        optimiser.momentum_reference(states[0][0], g, states[0][1], 0.1, 0.8, 0.05, nesterov)
        optimiser.momentum(states[1][0], g, states[1][1], 0.1, 0.8, 0.05, nesterov)
        traced(optimiser.momentum_cuda, states[2][0], g, states[2][1], 0.1, 0.8, 0.05, nesterov)
    for state in states[1:]:
        for ours, exact in zip(state, states[0], strict=True):
            np.testing.assert_allclose(ours, exact, **tolerance(dtype))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 70),
    st.floats(0, 10),
    st.tuples(st.floats(0, 0.99), st.floats(0, 0.999)),
    st.floats(1e-10, 1),
    st.floats(0, 1),
    st.sampled_from([(), (1,), (2, 3)]),
)
def test_adam_for_any_rates_and_shapes(size, lr, betas, eps, decay, more):
    params, gradients = start(size * int(np.prod(more)), np.float64)
    params, gradients = params.reshape(size, *more), gradients.reshape(5, size, *more)
    rates = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": decay}
    for ours, exact in zip(
        adam_steps(optimiser.adam, params, gradients, **rates),
        adam_steps(optimiser.adam_reference, params, gradients, **rates),
        strict=True,
    ):
        np.testing.assert_allclose(ours, exact, rtol=1e-9, atol=1e-10)


def test_steps_are_those_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is an optional peer")
    params, gradients = start(200)

    def theirs(make):
        p = torch.nn.Parameter(torch.from_numpy(params.copy()))
        optimizer = make([p])
        for g in gradients:
            p.grad = torch.from_numpy(g.copy())
            optimizer.step()
        return p.detach().numpy()

    rates = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    p, *_ = adam_steps(optimiser.adam, params, gradients, **rates)
    np.testing.assert_allclose(p, theirs(lambda p: torch.optim.Adam(p, **rates)), rtol=1e-5, atol=1e-6)
    p = params.copy()
    for g in gradients:
        optimiser.sgd(p, g, 0.1, 0.2)
    expected = theirs(lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.2))
    np.testing.assert_allclose(p, expected, rtol=1e-5, atol=1e-6)
    for nesterov in (False, True):
        p, v = params.copy(), np.zeros_like(params)
        for g in gradients:
            optimiser.momentum(p, g, v, 0.1, 0.7, 0.2, nesterov)
        expected = theirs(
            lambda p, nesterov=nesterov: torch.optim.SGD(p, 0.1, 0.7, weight_decay=0.2, nesterov=nesterov)
        )
        np.testing.assert_allclose(p, expected, rtol=1e-5, atol=1e-6)


# --------------------------------------------------------------------------------------------- bad input


def buffers(**changed):
    made = {name: np.full(6, 2.0, np.float32) for name in ("params", "gradients", "mean", "square")}
    return {**made, "step": 1, **changed}


READ_ONLY = np.ones(6, np.float32)
READ_ONLY.flags.writeable = False
SHARED = np.ones(12, np.float32)
BAD = [
    ({"params": [1.0] * 6}, TypeError, "params must be a NumPy array, got list"),
    ({"params": np.ones(6, int)}, TypeError, "params must hold float32 or float64"),
    ({"gradients": np.ones(6)}, TypeError, "gradients must have the dtype of params, float32, got float64"),
    ({"mean": np.ones(5, np.float32)}, ValueError, r"mean must have the shape of params, \(6,\), got \(5,\)"),
    ({"square": SHARED[::2]}, ValueError, "square must lie in memory without gaps"),
    ({"params": READ_ONLY}, ValueError, "params must be writable"),
    ({"mean": SHARED[:6], "square": SHARED[3:9]}, ValueError, "mean must not share memory with square"),
    (
        {"params": SHARED[:6], "gradients": SHARED[:6]},
        ValueError,
        "params must not share memory with gradients",
    ),
    ({"step": 0}, ValueError, "step must be at least 1, got 0"),
    ({"step": 1.5}, TypeError, "step must be an integer, got 1.5"),
    ({"lr": -1}, ValueError, "lr must be from 0 to less than inf, got -1"),
    ({"lr": float("nan")}, ValueError, "lr must be from 0"),
    ({"lr": "fast"}, TypeError, "lr must be a number, got 'fast'"),
    ({"betas": 0.9}, ValueError, "betas must be a pair of numbers, got 0.9"),
    ({"betas": (0.9, 1.0)}, ValueError, "betas must be from 0 to less than 1, got 1.0"),
    ({"eps": None}, TypeError, "eps must be a number, got None"),
    ({"weight_decay": -0.1}, ValueError, "weight_decay must be from 0"),
]


@pytest.mark.parametrize(("changed", "error", "message"), BAD)
@pytest.mark.parametrize("rung", ADAM_LADDER.rungs, ids=lambda rung: rung.name)
def test_bad_input_is_named_and_nothing_is_written(rung, changed, error, message):
    arguments = buffers(**changed)
    before = {name: np.array(value) for name, value in arguments.items()}
    with pytest.raises(error, match=message):
        rung(**arguments)
    for name, value in arguments.items():
        np.testing.assert_array_equal(value, before[name])


def test_bad_input_of_descent_is_named():
    p, g = np.ones((2, 6), np.float32)
    for call, error, message in [
        (lambda: optimiser.sgd(p, g, -1), ValueError, "lr must be from 0"),
        (lambda: optimiser.sgd(p, p, 1), ValueError, "params must not share memory with gradients"),
        (lambda: optimiser.sgd(p, g[:3], 1), ValueError, "gradients must have the shape of params"),
        (lambda: optimiser.momentum(p, g, p, 1), ValueError, "share memory"),
        (
            lambda: optimiser.momentum(p, g, p.copy(), 1, momentum="0.9"),
            TypeError,
            "momentum must be a number",
        ),
        (
            lambda: optimiser.adam_cuda(*(p.copy() for _ in "pgmv"), 1, rung="x"),
            ValueError,
            "rung must be one of",
        ),
    ]:
        with pytest.raises(error, match=message):
            call()


# ----------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize("rung", ADAM_LADDER.on("cuda"), ids=lambda rung: rung.name)
def test_cuda_rungs_compile_and_account_for_what_they_do(rung, compiled, traced):
    args = ADAM_LADDER.example(300)
    compiled(rung.callable, *args)
    traced(rung.callable, *args)
    assert sum(trace.bytes for trace in traced.traces) == rung.bytes(300)
    assert sum(trace.flops for trace in traced.traces) == rung.flops(300)


def test_the_other_kernels_compile(compiled):
    p, g, v = np.ones((3, 10), np.float32)
    compiled(optimiser.sgd_cuda, p, g, 0.1)
    compiled(optimiser.momentum_cuda, p, g, v, 0.1)


def test_what_is_in_gpu_memory_is_changed_there(stays_on_gpu):
    p, g = start(40)
    for rung in ADAM_LADDER.on("cuda"):
        state = [p.copy(), g[0], np.zeros_like(p), np.zeros_like(p)]
        stays_on_gpu(rung.callable, *state, 1)
        np.testing.assert_allclose(state[0], adam_steps(optimiser.adam, p, g[:1])[0], rtol=1e-5, atol=1e-6)
    ours, theirs = p.copy(), p.copy()
    stays_on_gpu(optimiser.sgd_cuda, ours, g[0], 0.1)
    np.testing.assert_allclose(ours, optimiser.sgd(theirs, g[0], 0.1), rtol=1e-6)
    for rung in ADAM_LADDER.on("cpu"):
        with pytest.raises(TypeError, match="params is in GPU memory"):
            stays_on_gpu(lambda *args, machine, rung=rung: rung(*args), *state, 1)
