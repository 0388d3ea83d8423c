"""Softmax and its logarithm: every rung against the specification, and gradients against differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.kernels import softmax as kernels
from minidl.kernels.softmax import LADDER

DTYPES = [np.float32, np.float64]
SHAPES = [(5, 7), (1, 1), (3, 1), (4, 130), (2, 3, 17), (9,)]


def tolerance(dtype):
    return {"rtol": 32 * np.finfo(dtype).eps, "atol": np.finfo(dtype).tiny}


def logits(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(scale=4, size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rung", LADDER.on("cpu"), ids=lambda rung: rung.name)
def test_every_rung_on_the_cpu(rung, shape, dtype):
    x = logits(shape, dtype)
    y = rung(x)
    assert y.dtype == dtype and y.shape == shape
    np.testing.assert_allclose(y, LADDER.reference(x), **tolerance(dtype))
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rung", LADDER.on("cuda"), ids=lambda rung: rung.name)
def test_every_rung_on_the_gpu(rung, shape, traced):
    x = logits(shape, np.float32)
    np.testing.assert_allclose(traced(rung.callable, x), LADDER.reference(x), **tolerance(np.float32))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("rung", LADDER.rungs, ids=lambda rung: rung.name)
def test_any_axis_of_any_layout(rung, axis, traced):
    x = logits((4, 3, 10), np.float32)[:, ::-1, ::2].transpose(2, 0, 1)
    y = traced(rung.callable, x, axis) if rung.device == "cuda" else rung(x, axis)
    e = np.exp(x.astype(float))
    np.testing.assert_allclose(y, e / e.sum(axis=axis, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("rung", LADDER.rungs, ids=lambda rung: rung.name)
def test_rows_with_odd_values(rung, traced):
    inf, nan = np.inf, np.nan
    x = np.float32(
        [
            [1000, 0, -1000, 999],
            [-1000, -1000, -1000, -1000],
            [-inf, 0, -inf, 0],
            [0, -inf, -inf, -inf],
            [-inf, -inf, -inf, -inf],
            [inf, 0, 0, 0],
            [0, 0, nan, 0],
            [0, 0, -nan, 3],
            [3.4e38, -3.4e38, 0, 0],
        ]
    )
    expected = np.float32(
        [
            [1 / (1 + np.exp(-1)), 0, 0, 1 / (1 + np.exp(1))],
            [0.25] * 4,
            [0, 0.5, 0, 0.5],
            [1, 0, 0, 0],
            *[[nan] * 4] * 4,
            [1, 0, 0, 0],
        ]
    )
    with np.errstate(over="ignore"):
        y = traced(rung.callable, x) if rung.device == "cuda" else rung(x)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-37)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=1, max_dims=3, max_side=40),
            elements=st.floats(-1e3, 1e3, width=32) | st.just(-np.inf),
        )
    )
)
def test_the_best_rung_for_any_array(x):
    np.testing.assert_allclose(kernels.softmax(x), LADDER.reference(x), **tolerance(x.dtype))
    result, reference = kernels.log_softmax(x), kernels.log_softmax_reference(x)
    np.testing.assert_allclose(result, reference, rtol=32 * np.finfo(x.dtype).eps, atol=1e-5)


# ----------------------------------------------------------------------------------- its logarithm, gradients


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_log_softmax_on_both_devices(shape, dtype, traced):
    x = logits(shape, dtype)
    expected = kernels.log_softmax_reference(x)
    close = {"rtol": 32 * np.finfo(dtype).eps, "atol": 8 * np.finfo(dtype).eps}
    np.testing.assert_allclose(kernels.log_softmax(x), expected, **close)
    np.testing.assert_allclose(traced(kernels.log_softmax_cuda, x), expected, **close)


def test_log_softmax_stays_finite_where_softmax_is_zero(traced):
    x = np.float32([[0, 1000, 500]])
    np.testing.assert_array_equal(kernels.log_softmax(x), [[-1000, 0, -500]])
    np.testing.assert_array_equal(traced(kernels.log_softmax_cuda, x), [[-1000, 0, -500]])


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_gradients_are_the_slopes(name, axis, traced):
    random = np.random.default_rng(2)
    x, g = random.normal(size=(2, 4, 6))
    forward, backward = getattr(kernels, name), getattr(kernels, f"{name}_backward")
    y = forward(x, axis)
    step = 1e-6
    slope = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += step
        up = forward(moved, axis)
        moved[index] -= 2 * step
        slope[index] = ((up - forward(moved, axis)) * g).sum() / (2 * step)
    np.testing.assert_allclose(backward(g, y, axis), slope, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        getattr(kernels, f"{name}_backward_reference")(g, y, axis), slope, rtol=1e-6, atol=1e-8
    )
    gpu = traced(getattr(kernels, f"{name}_backward_cuda"), g, y, axis)
    np.testing.assert_allclose(gpu, slope, rtol=1e-6, atol=1e-8)


def test_values_and_gradients_agree_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is an optional peer")
    x, g = logits((2, 6, 33), np.float32)
    for name in ("softmax", "log_softmax"):
        t = torch.from_numpy(x.copy()).requires_grad_()
        y = getattr(torch, name)(t, dim=1)
        y.backward(torch.from_numpy(g.copy()))
        ours = getattr(kernels, name)(x)
        np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-5, atol=1e-6)
        gradient = getattr(kernels, f"{name}_backward")(g, ours)
        np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-4, atol=1e-6)


# -------------------------------------------------------------------------------------------- out, bad input


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("rung", LADDER.rungs, ids=lambda rung: rung.name)
def test_out_is_filled_and_may_be_the_input(rung, axis, traced):
    x = logits((6, 5), np.float32)
    expected = LADDER.reference(x, axis)

    def run(*args, **params):
        return traced(rung.callable, *args, **params) if rung.device == "cuda" else rung(*args, **params)

    for out in (np.empty_like(x), np.empty((6, 10), np.float32)[:, ::2], x):
        assert run(x, axis, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=1e-5)


X = np.ones((3, 4), np.float32)
BAD = [
    ((np.arange(3),), {}, TypeError, "x must hold float32 or float64, got int64"),
    ((np.float32(1),), {}, ValueError, "x must have at least one dimension"),
    ((X[:, :0],), {}, ValueError, r"x must not be empty, got shape \(3, 0\)"),
    ((X, 2), {}, ValueError, "axis must be from -2 to 1, got 2"),
    ((X, 1.0), {}, TypeError, "axis must be an integer, got 1.0"),
    ((X, None), {}, TypeError, "axis must be an integer"),
    ((X,), {"out": np.zeros((4, 3), np.float32)}, ValueError, r"out must have shape \(3, 4\)"),
    ((X,), {"out": np.zeros((3, 4))}, TypeError, "out must have dtype float32"),
    ((np.ma.masked_array(X),), {}, TypeError, "masked"),
]


@pytest.mark.parametrize(("args", "params", "error", "message"), BAD)
@pytest.mark.parametrize("rung", LADDER.rungs, ids=lambda rung: rung.name)
def test_bad_input_is_named(rung, args, params, error, message):
    with pytest.raises(error, match=message):
        rung(*args, **params)


def test_an_unknown_rung_is_named():
    with pytest.raises(ValueError, match="rung must be one of row per thread"):
        kernels.softmax_cuda(X, rung="fast")


def test_a_result_that_shares_a_part_of_its_input_is_refused():
    x = logits((5, 4), np.float32)
    kept = x.copy()
    with pytest.raises(ValueError, match="out must be x itself"):
        kernels.softmax(x[1:], out=x[:-1])
    np.testing.assert_array_equal(x, kept)


# --------------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize("rung", LADDER.on("cuda"), ids=lambda rung: rung.name)
def test_cuda_rungs_compile_and_account_for_what_they_do(rung, compiled, traced):
    x = logits((3, 300), np.float32)
    compiled(rung.callable, x)
    traced(rung.callable, x)
    (trace,) = traced.traces
    assert trace.bytes == rung.bytes(3, 300)
    assert trace.flops == pytest.approx(rung.flops(3, 300), rel=0.05)  # corrections depend on the values


def test_the_other_kernels_compile(compiled):
    compiled(kernels.log_softmax_cuda, X)
    compiled(kernels.softmax_backward_cuda, X, X)
    compiled(kernels.log_softmax_backward_cuda, X, X)


def test_online_reads_twice_what_three_passes_read_three_times(traced):
    x = logits((2, 64), np.float32)
    reads = {}
    for rung in ("row per block", "online"):
        traced(kernels.softmax_cuda, x, rung=rung)
        reads[rung] = traced.traces[0].counts()["global_reads"].total
    per_thread = 2 * kernels.gpu.THREADS  # each thread also reads the row's first element once
    assert reads == {"row per block": 3 * x.size + per_thread, "online": 2 * x.size + per_thread}


def test_what_is_in_gpu_memory_stays_there(stays_on_gpu):
    x, g = logits((2, 3, 7), np.float32), logits((2, 3, 7), np.float32, seed=1)
    for rung in LADDER.on("cuda"):
        np.testing.assert_allclose(stays_on_gpu(rung.callable, x), LADDER.reference(x), rtol=1e-5)
        with pytest.raises(ValueError, match="axis must be the last one of an array in GPU memory, got 0"):
            stays_on_gpu(rung.callable, x, 0)
    y = stays_on_gpu(kernels.log_softmax_cuda, x)
    np.testing.assert_allclose(y, kernels.log_softmax_reference(x), rtol=1e-5, atol=1e-6)
    for backward in ("softmax_backward", "log_softmax_backward"):
        expected = getattr(kernels, f"{backward}_reference")(g, y)
        gradient = stays_on_gpu(getattr(kernels, f"{backward}_cuda"), g, y)
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_arrays_in_gpu_memory_are_not_for_the_cpu(stays_on_gpu):
    for rung in LADDER.on("cpu"):
        with pytest.raises(TypeError, match="x is in GPU memory"):
            stays_on_gpu(lambda x, machine, rung=rung: rung(x), X)
