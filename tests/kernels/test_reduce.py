"""Reductions: every rung against NumPy in float64, over axes, layouts and lengths that no block divides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.kernels import reduce
from minidl.kernels.reduce import MAX_LADDER, SUM_LADDER

DTYPES = [np.float32, np.float64]
CASES = [
    ((1,), None),
    ((), None),
    ((5000,), None),
    ((3, 5, 7), None),
    ((3, 5, 7), 0),
    ((3, 5, 7), 1),
    ((3, 5, 7), -1),
    ((3, 5, 7), (0, 1)),
    ((3, 5, 7), (0, 2)),
    ((3, 5, 7), (2, 1)),
    ((2, 3, 4, 5), (0, 2, 3)),
    ((70, 1030), 0),
    ((130, 3), 0),
    ((3, 4100), 1),
]
LADDERS = [(SUM_LADDER, np.sum), (MAX_LADDER, np.max)]
RUNGS = [(rung, numpy) for ladder, numpy in LADDERS for rung in ladder]
ON_CPU = [pair for pair in RUNGS if pair[0].device == "cpu"]
ON_GPU = [pair for pair in RUNGS if pair[0].device == "cuda"]


def name(value):
    return getattr(value, "name", None) or getattr(value, "__name__", None)


def numbers(shape, dtype):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def assert_close(got, x, numpy, axis, keepdims=False):
    expected = numpy(x.astype(np.float64), axis=axis, keepdims=keepdims)
    assert got.dtype == x.dtype and np.shape(got) == np.shape(expected)
    magnitude = np.abs(x.astype(np.float64)).sum(axis=axis, keepdims=keepdims)
    assert (np.abs(got - expected) <= 30 * np.finfo(x.dtype).eps * magnitude).all()


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize(("rung", "numpy"), ON_CPU, ids=name)
def test_every_rung_on_the_cpu(rung, numpy, shape, axis):
    for dtype in DTYPES:
        x = numbers(shape, dtype)
        for keepdims in (False, True):
            assert_close(rung(x, axis, keepdims), x, numpy, axis, keepdims)


@pytest.mark.parametrize(("shape", "axis"), [case for case in CASES if np.prod(case[0]) < 6000])
@pytest.mark.parametrize(("rung", "numpy"), ON_GPU, ids=name)
def test_every_rung_on_the_gpu(rung, numpy, shape, axis, traced):
    x = numbers(shape, np.float32)
    assert_close(traced(rung.callable, x, axis), x, numpy, axis)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_best_rungs_for_any_array_and_axes(data):
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=9))
    x = numbers(shape, dtype)
    x = data.draw(st.sampled_from([x, x.T, x[::-1], x[..., ::2], np.broadcast_to(x, (2, *shape))]))
    axis = data.draw(st.none() | hnp.valid_tuple_axes(x.ndim, min_size=1))
    assert_close(reduce.reduce_sum(x, axis), x, np.sum, axis)
    assert_close(reduce.reduce_mean(x, axis), x, np.mean, axis)
    np.testing.assert_array_equal(reduce.reduce_max(x, axis), x.max(axis=axis))


@pytest.mark.parametrize(("rung", "numpy"), [pair for pair in RUNGS if pair[1] is np.max], ids=name)
def test_a_maximum_with_nan_in_it_is_nan(rung, numpy, traced):
    x = numbers((6, 70), np.float32)
    x[1, 3], x[2, 0], x[3, 69], x[4, 5], x[5] = np.nan, -np.nan, np.nan, np.inf, -np.inf
    for axis in (0, 1):
        y = traced(rung.callable, x, axis) if rung.device == "cuda" else rung(x, axis)
        np.testing.assert_array_equal(y, x.max(axis=axis))


def test_sums_with_odd_values():
    x = np.float32([[1, np.nan, 2], [np.inf, 1, 1], [np.inf, -np.inf, 0], [3e38, 3e38, 0]])
    for rung in SUM_LADDER.on("cpu"):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(rung(x, 1), [np.nan, np.inf, np.nan, np.inf])


def test_a_tree_keeps_what_a_running_sum_forgets():
    x = np.full(5_000_000, 0.1, np.float32)
    exact = x.sum(dtype=np.float64)
    error = {rung.name: abs(float(rung(x)) / exact - 1) for rung in SUM_LADDER.on("cpu") if rung.pure_numba}
    assert error["numba loop"] > 1e-3
    assert error["numba tree"] < 1e-6


def test_mean_on_both_devices(traced):
    x = numbers((4, 5, 6), np.float32)
    for axis in (None, 0, (1, 2)):
        expected = reduce.reduce_mean_reference(x, axis)
        np.testing.assert_allclose(reduce.reduce_mean(x, axis), expected, rtol=1e-5, atol=1e-7)
        gpu = traced(reduce.reduce_mean_cuda, x, axis)
        np.testing.assert_allclose(gpu, expected, rtol=1e-5, atol=1e-7)


def test_agrees_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is an optional peer")
    x = numbers((30, 40), np.float32)
    t = torch.from_numpy(x)
    for axis in (0, 1):
        np.testing.assert_allclose(reduce.reduce_sum(x, axis), t.sum(axis), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(reduce.reduce_max(x, axis), t.amax(axis))


@pytest.mark.parametrize(("rung", "numpy"), RUNGS, ids=name)
def test_out_is_filled(rung, numpy, traced):
    x = numbers((6, 5), np.float32)
    for out in (np.empty(6, np.float32), np.empty((6, 2), np.float32)[:, 1]):
        result = traced(rung.callable, x, 1, out=out) if rung.device == "cuda" else rung(x, 1, out=out)
        assert result is out
        assert_close(out, x, numpy, 1)


X = np.ones((3, 4), np.float32)
BAD = [
    ((np.arange(3),), {}, TypeError, "x must hold float32 or float64"),
    ((X[:0],), {}, ValueError, "x must not be empty"),
    ((X, 2), {}, ValueError, "axis must be from -2 to 1, got 2"),
    ((X, (0, -2)), {}, ValueError, "axis must not name one axis twice"),
    ((X, ()), {}, ValueError, "axis must name at least one"),
    ((X, 0.5), {}, TypeError, "axis must be an integer"),
    ((X, "0"), {}, TypeError, "axis must be an integer"),
    ((X, True), {}, TypeError, "axis must be an integer"),
    ((np.float32(1), 0), {}, ValueError, "axis must be None"),
    ((X, 0), {"out": np.zeros(3, np.float32)}, ValueError, r"out must have shape \(4,\)"),
    ((X, 0), {"out": np.zeros(4)}, TypeError, "out must have dtype float32"),
    ((X, 0), {"out": X[0]}, ValueError, "out must not share memory with x"),
]


@pytest.mark.parametrize(("args", "params", "error", "message"), BAD)
@pytest.mark.parametrize(("rung", "numpy"), RUNGS, ids=name)
def test_bad_input_is_named(rung, numpy, args, params, error, message):
    with pytest.raises(error, match=message):
        rung(*args, **params)


def test_an_unknown_rung_is_named():
    for launcher in (reduce.reduce_sum_cuda, reduce.reduce_max_cuda):
        with pytest.raises(ValueError, match="rung must be one of"):
            launcher(X, rung="fast")


@pytest.mark.parametrize(("rung", "numpy"), ON_GPU, ids=name)
def test_cuda_rungs_compile_and_account_for_what_they_do(rung, numpy, compiled, traced):
    ladder = SUM_LADDER if numpy is np.sum else MAX_LADDER
    for shape, axis in (((5000,), None), ((7, 300), 1)):
        x = numbers(shape, np.float32)
        compiled(rung.callable, x, axis)
        traced(rung.callable, x, axis)
        assert sum(trace.bytes for trace in traced.traces) == rung.bytes(*ladder.shape(x, axis))
        assert sum(trace.flops for trace in traced.traces) == rung.flops(*ladder.shape(x, axis))


def test_the_other_kernels_compile(compiled):
    compiled(reduce.reduce_sum_cuda, X, 0, rung="columns")
    compiled(reduce.reduce_max_cuda, X, 0)


def test_a_warp_needs_one_barrier_where_a_tree_needs_many(traced):
    barriers = {}
    for rung in ("sequential", "strided", "warp"):
        traced(reduce.reduce_sum_cuda, numbers((4096,), np.float32), rung=rung)
        barriers[rung] = sum(trace.counts()["barriers"].total for trace in traced.traces) // 256
    assert barriers == {"sequential": 9 * 17, "strided": 9, "warp": 1}


@pytest.mark.parametrize(("rung", "numpy"), ON_GPU, ids=name)
def test_what_is_in_gpu_memory_stays_there(rung, numpy, stays_on_gpu):
    x = numbers((3, 4, 5), np.float32)
    for axis in (None, 0, 2, (0, 2)):
        assert_close(stays_on_gpu(rung.callable, x, axis), x, numpy, axis)
        mean = stays_on_gpu(reduce.reduce_mean_cuda, x, axis)
        np.testing.assert_allclose(mean, x.mean(axis=axis), rtol=1e-5, atol=1e-6)


def test_arrays_in_gpu_memory_are_not_for_the_cpu(stays_on_gpu):
    for rung, _ in ON_CPU:
        with pytest.raises(TypeError, match="x is in GPU memory"):
            stays_on_gpu(lambda x, machine, rung=rung: rung(x), X)
