"""Pooling: every rung against loops over the definition, for windows of all kinds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.kernels import pool
from minidl.kernels.pool import AVG_LADDER, MAX_LADDER

CASES = [  # shape, size, stride, padding
    ((2, 3, 6, 8), 2, None, 0),
    ((1, 2, 7, 9), 2, None, 0),
    ((1, 2, 5, 40), 3, 1, 1),
    ((1, 1, 9, 43), 3, 2, 1),
    ((2, 1, 9, 7), (3, 2), (1, 3), (1, 0)),
    ((1, 2, 4, 4), 4, None, 0),
    ((1, 1, 1, 1), 1, None, 0),
    ((1, 1, 8, 9), 2, 3, 1),
    ((1, 1, 5, 5), (1, 5), 1, (0, 2)),
    ((3, 1, 2, 3), 2, 1, 1),
]
RUNGS = [*MAX_LADDER, *AVG_LADDER]
DTYPES = [np.float32, np.float64]


def images(shape, dtype=np.float32, odd=True):
    random = np.random.default_rng(0)
    x = random.integers(-4, 5, size=shape).astype(dtype)  # with many ties
    if odd:
        x.flat[random.integers(x.size, size=x.size // 6)] = np.nan
        x.flat[random.integers(x.size, size=x.size // 6)] = -np.inf
        x[:, :, :2] = np.where(np.isnan(x[:, :, :2]), 1, x[:, :, :2])
    return x


def run(rung, traced, *args, **params):
    return traced(rung.callable, *args, **params) if rung.device == "cuda" else rung(*args, **params)


def by_hand(x, size, stride, padding, return_indices=False):
    """Max pooling in the words of its definition: the first of the largest, or the last NaN."""
    size, stride, padding = (v if isinstance(v, tuple) else (v, v) for v in (size, stride or size, padding))
    n, c, height, width = x.shape
    p = (height + 2 * padding[0] - size[0]) // stride[0] + 1
    q = (width + 2 * padding[1] - size[1]) // stride[1] + 1
    y, at = np.empty((n, c, p, q), x.dtype), np.empty((n, c, p, q), np.int64)
    mean = np.empty((n, c, p, q))
    for index in np.ndindex(n, c, p, q):
        top, left = index[2] * stride[0] - padding[0], index[3] * stride[1] - padding[1]
        window = [
            (h, w)
            for h in range(top, top + size[0])
            for w in range(left, left + size[1])
            if 0 <= h < height and 0 <= w < width
        ]
        values = [x[index[0], index[1], h, w] for h, w in window]
        mean[index] = sum(map(float, values)) / (size[0] * size[1])
        nans = [k for k, v in enumerate(values) if v != v]
        k = nans[-1] if nans else values.index(max(values))
        y[index], at[index] = values[k], window[k][0] * width + window[k][1]
    return y, at, mean


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), CASES)
@pytest.mark.parametrize("rung", MAX_LADDER.rungs, ids=lambda rung: rung.name)
def test_every_max_rung(rung, shape, size, stride, padding, traced):
    for dtype in DTYPES:
        for x in (images(shape, dtype), images(shape, dtype, odd=False)):
            y, indices = run(rung, traced, x, size, stride, padding, True)
            expected, at, _ = by_hand(x, size, stride, padding)
            assert y.dtype == dtype and indices.dtype == np.int64
            np.testing.assert_array_equal(y, expected)
            np.testing.assert_array_equal(indices, at)


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), CASES)
@pytest.mark.parametrize("rung", AVG_LADDER.rungs, ids=lambda rung: rung.name)
def test_every_avg_rung(rung, shape, size, stride, padding, traced):
    for dtype in DTYPES:
        for x in (images(shape, dtype), images(shape, dtype, odd=False)):
            y = run(rung, traced, x, size, stride, padding)
            assert y.dtype == dtype
            expected = by_hand(x, size, stride, padding)[2]
            np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_the_best_rungs_for_any_windows(data):
    shape = data.draw(st.tuples(*(st.integers(1, n) for n in (2, 2, 9, 40))))
    size = tuple(data.draw(st.integers(1, min(n, 5))) for n in shape[2:])
    stride = tuple(data.draw(st.integers(1, 4)) for _ in size)
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in size)
    x = images(shape, odd=data.draw(st.booleans()))
    x = data.draw(st.sampled_from([x, x[:, :, ::-1], np.repeat(x, 2, axis=3)[..., ::2]]))
    y, indices = pool.max_pool2d(x, size, stride, padding, return_indices=True)
    expected, at, mean = by_hand(x, size, stride, padding)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, at)
    np.testing.assert_allclose(pool.avg_pool2d(x, size, stride, padding), mean, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------ the way back


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), CASES)
def test_gradients_are_the_slopes(shape, size, stride, padding, traced):
    random = np.random.default_rng(1)
    x = random.permutation(np.prod(shape)).reshape(shape) * 0.1  # all different: a maximum has a slope
    y, indices = pool.max_pool2d(x, size, stride, padding, return_indices=True)
    g = random.normal(size=y.shape)
    step = 1e-4
    slopes = np.empty((2, *shape))
    for index in np.ndindex(shape):
        for slope, function in zip(slopes, (pool.max_pool2d, pool.avg_pool2d), strict=True):
            moved = x.copy()
            moved[index] += step
            up = function(moved, size, stride, padding)
            moved[index] -= 2 * step
            slope[index] = ((up - function(moved, size, stride, padding)) * g).sum() / (2 * step)
    close = {"rtol": 1e-6, "atol": 1e-8}
    for backward in (pool.max_pool2d_backward_reference, pool.max_pool2d_backward):
        np.testing.assert_allclose(backward(g, indices, shape), slopes[0], **close)
    np.testing.assert_allclose(traced(pool.max_pool2d_backward_cuda, g, indices, shape), slopes[0], **close)
    args = (g, shape, size, stride, padding)
    for backward in (pool.avg_pool2d_backward_reference, pool.avg_pool2d_backward):
        np.testing.assert_allclose(backward(*args), slopes[1], **close)
    np.testing.assert_allclose(traced(pool.avg_pool2d_backward_cuda, *args), slopes[1], **close)


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), CASES)
def test_agrees_with_pytorch(shape, size, stride, padding):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is an optional peer")
    functional = torch.nn.functional
    x = images(shape)
    t = torch.from_numpy(x.copy()).requires_grad_()
    y, indices = functional.max_pool2d(t, size, stride, padding, return_indices=True)
    g = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
    y.backward(torch.from_numpy(g))
    ours, at = pool.max_pool2d(x, size, stride, padding, return_indices=True)
    np.testing.assert_array_equal(ours, y.detach().numpy())
    np.testing.assert_array_equal(at, indices.numpy())
    np.testing.assert_allclose(pool.max_pool2d_backward(g, at, shape), t.grad.numpy(), rtol=1e-5, atol=1e-6)
    t = torch.from_numpy(images(shape, odd=False)).requires_grad_()
    y = functional.avg_pool2d(t, size, stride, padding)
    y.backward(torch.from_numpy(g))
    ours = pool.avg_pool2d(images(shape, odd=False), size, stride, padding)
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-5, atol=1e-6)
    gradient = pool.avg_pool2d_backward(g, shape, size, stride, padding)
    np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------- out, bad input


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: f"{rung.callable}{rung.name}")
def test_out_is_filled(rung, traced):
    x = images((1, 2, 6, 6), odd=False)
    expected = run(rung, traced, x, 2)
    for out in (np.empty((1, 2, 3, 3), np.float32), np.empty((1, 2, 3, 6), np.float32)[..., ::2]):
        assert run(rung, traced, x, 2, out=out) is out
        np.testing.assert_array_equal(out, expected)


X = np.ones((1, 2, 4, 6), np.float32)
BAD = [
    ((X.astype(int), 2), {}, TypeError, "x must hold float32 or float64"),
    ((X[0], 2), {}, ValueError, r"x must have 4 dimensions, got shape \(2, 4, 6\)"),
    ((X[:0], 2), {}, ValueError, "x must not be empty"),
    ((X, 0), {}, ValueError, "size must be at least 1, got 0"),
    ((X, 5), {}, ValueError, r"size must fit into x with its padding, got size 5 for shape \(1, 2, 4, 6\)"),
    ((X, 2.0), {}, TypeError, "size must be an integer, got 2.0"),
    ((X, (2, 2, 2)), {}, ValueError, "size must be an integer or a pair of them"),
    ((X, "2"), {}, TypeError, "size must be an integer"),
    ((X, True), {}, TypeError, "size must be an integer"),
    ((X, 2, 0), {}, ValueError, "stride must be at least 1, got 0"),
    ((X, 2, (1, -1)), {}, ValueError, "stride must be at least 1, got -1"),
    ((X, 2, 2, -1), {}, ValueError, "padding must be at least 0, got -1"),
    ((X, 3, 2, 2), {}, ValueError, "padding must be at most half of size = 3, got 2"),
    ((X, 2), {"out": np.zeros((1, 2, 2, 2), np.float32)}, ValueError, r"out must have shape \(1, 2, 2, 3\)"),
    ((X, 2), {"out": np.zeros((1, 2, 2, 3))}, TypeError, "out must have dtype float32"),
    ((X, 1), {"out": X}, ValueError, "out must not share memory with x"),
]


@pytest.mark.parametrize(("args", "params", "error", "message"), BAD)
@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_bad_input_is_named(rung, args, params, error, message):
    with pytest.raises(error, match=message):
        rung(*args, **params)


G, AT = np.ones((1, 2, 2, 3), np.float32), np.zeros((1, 2, 2, 3), np.int64)
BAD_BACKWARD = [
    (lambda: pool.max_pool2d_backward(G, AT.astype(np.int32), X.shape), TypeError, "indices must hold int64"),
    (lambda: pool.max_pool2d_backward(G, [0], X.shape), TypeError, "indices must hold int64, got list"),
    (
        lambda: pool.max_pool2d_backward(G, AT[:, :1], X.shape),
        ValueError,
        r"gradient must have shape \(1, 1, 2, 3\)",
    ),
    (lambda: pool.max_pool2d_backward(G, AT - 1, X.shape), ValueError, "indices must point into images"),
    (lambda: pool.max_pool2d_backward(G, AT + 24, X.shape), ValueError, r"\(4, 6\), got 24 to 24"),
    (lambda: pool.max_pool2d_backward(G, AT, (1, 3, 4, 6)), ValueError, "shape must begin with"),
    (lambda: pool.max_pool2d_backward(G, AT, (4, 6)), ValueError, "shape must be four integers"),
    (lambda: pool.avg_pool2d_backward(G, X.shape, 3), ValueError, r"gradient must have shape \(1, 2, 1, 2\)"),
    (lambda: pool.avg_pool2d_backward(G, X.shape, 2, out=G), ValueError, "out must have shape"),
    (lambda: pool.max_pool2d_cuda(X, 2, rung="fast"), ValueError, "rung must be one of direct, shared"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_BACKWARD)
def test_bad_input_of_the_way_back_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ----------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize(
    ("shape", "size", "stride", "padding"), [CASES[0], CASES[3], ((1, 1, 5, 300), 3, 1, 1)]
)
@pytest.mark.parametrize("ladder", [MAX_LADDER, AVG_LADDER], ids=["max", "avg"])
def test_cuda_rungs_account_for_what_they_do(ladder, shape, size, stride, padding, traced):
    x = images(shape, odd=False)
    for rung in ladder.on("cuda"):
        traced(rung.callable, x, size, stride, padding)
        (trace,) = traced.traces
        sizes = ladder.shape(x, size, stride, padding)
        assert trace.kernel == rung.kernel.py_func.__name__
        assert trace.bytes == rung.bytes(*sizes)
        assert trace.flops == rung.flops(*sizes)


def test_windows_too_far_apart_for_shared_memory_are_read_directly(traced):
    x = images((1, 1, 2, 1300), odd=False)
    for rung in MAX_LADDER.on("cuda"):
        y = traced(rung.callable, x, (2, 2), (1, 9))
        np.testing.assert_array_equal(y, pool.max_pool2d(x, (2, 2), (1, 9)))


def test_every_kernel_compiles(compiled):
    for rung in MAX_LADDER.on("cuda") + AVG_LADDER.on("cuda"):
        compiled(rung.callable, X, 2)
    compiled(pool.max_pool2d_backward_cuda, G, AT, X.shape)
    compiled(pool.avg_pool2d_backward_cuda, G, X.shape, 2)


def test_what_is_in_gpu_memory_stays_there(stays_on_gpu):
    x = images((1, 2, 5, 7))
    for rung in MAX_LADDER.on("cuda"):
        y, indices = stays_on_gpu(rung.callable, x, 3, 2, 1, True)
        expected, at = pool.max_pool2d(x, 3, 2, 1, return_indices=True)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, at)
    g = np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
    gradient = stays_on_gpu(pool.max_pool2d_backward_cuda, g, indices, x.shape)
    np.testing.assert_allclose(gradient, pool.max_pool2d_backward(g, at, x.shape), rtol=1e-5)
    x = images((1, 2, 5, 7), odd=False)
    for rung in AVG_LADDER.on("cuda"):
        y = stays_on_gpu(rung.callable, x, 3, 2, 1)
        np.testing.assert_allclose(y, pool.avg_pool2d(x, 3, 2, 1), rtol=1e-5, atol=1e-6)
    gradient = stays_on_gpu(pool.avg_pool2d_backward_cuda, g, x.shape, 3, 2, 1)
    np.testing.assert_allclose(gradient, pool.avg_pool2d_backward(g, x.shape, 3, 2, 1), rtol=1e-5, atol=1e-6)


def test_arrays_in_gpu_memory_are_not_for_the_cpu(stays_on_gpu):
    for rung in MAX_LADDER.on("cpu") + AVG_LADDER.on("cpu"):
        with pytest.raises(TypeError, match="x is in GPU memory"):
            stays_on_gpu(lambda x, machine, rung=rung: rung(x, 2), X)
    for backward, *args in (
        (pool.max_pool2d_backward, G, AT, X.shape),
        (pool.avg_pool2d_backward, G, X.shape, 2),
    ):
        with pytest.raises(TypeError, match="gradient is in GPU memory"):
            stays_on_gpu(lambda *args, machine, backward=backward: backward(*args), *args)
