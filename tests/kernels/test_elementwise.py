"""Maps and zips: every rung against the specification, over shapes, layouts and the odd values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.kernels import elementwise
from minidl.kernels.elementwise import MAP_LADDER, ZIP_LADDER
from minidl.kernels.elementwise.indexing import dense_strides, merge_axes, storage

DTYPES = [np.float32, np.float64]
ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 88.0, -88.0, 1e-30, -104.0]
LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.T,
    "reversed": lambda x: x[::-1, ::-1],
    "every second": lambda x: x[:, ::2],
    "one row": lambda x: x[:1],
    "broadcast": lambda x: np.broadcast_to(x[0], x.shape),
    "no axis": lambda x: x[0, 0],
}
FUNCTIONS = ["relu", "leaky_relu", "tanh", "sigmoid"]


def tolerance(dtype):
    return {"rtol": 16 * np.finfo(dtype).eps, "atol": np.finfo(dtype).tiny}


def numbers(shape, dtype, seed=0):
    """Normal numbers with the odd values among them."""
    x = np.random.default_rng(seed).normal(scale=5, size=shape).astype(dtype)
    x.flat[: len(ODD)] = ODD[: x.size]
    return x


arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=4, max_side=7),
        elements=st.floats(-200, 200, width=32) | st.just(np.nan),
    )
)


# ------------------------------------------------------------------------------------------------- map


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rung", MAP_LADDER.on("cpu"), ids=lambda rung: rung.name)
def test_every_map_rung_on_the_cpu(rung, dtype, layout):
    x = LAYOUTS[layout](numbers((9, 14), dtype))
    y = rung(x)
    assert y.dtype == dtype and np.shape(y) == np.shape(x)
    np.testing.assert_allclose(y, MAP_LADDER.reference(x), **tolerance(dtype))


@pytest.mark.parametrize("rung", MAP_LADDER.on("cuda"), ids=lambda rung: rung.name)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_map_rung_on_the_gpu(rung, layout, traced):
    x = LAYOUTS[layout](numbers((9, 14), np.float32))
    y = traced(rung.callable, x)
    assert np.shape(y) == np.shape(x)
    np.testing.assert_allclose(y, MAP_LADDER.reference(x), **tolerance(np.float32))


@settings(max_examples=40, deadline=None)
@given(arrays)
def test_the_best_map_for_any_array(x):
    np.testing.assert_allclose(elementwise.sigmoid(x), MAP_LADDER.reference(x), **tolerance(x.dtype))


# ------------------------------------------------------------------------------------------------- zip

SHAPES = [
    ((7, 5), (7, 5)),
    ((7, 5), (5,)),
    ((5,), (7, 5)),
    ((7, 5), (7, 1)),
    ((7, 1), (1, 5)),
    ((), (3,)),
    ((), ()),
    ((1, 1), (1,)),
    ((2, 3, 4, 5), (3, 1, 1)),
    ((2, 1, 4), (3, 1)),
    ((1, 20_000), (3, 1)),
]


@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize("rung", ZIP_LADDER.on("cpu"), ids=lambda rung: rung.name)
def test_every_zip_rung_broadcasts_on_the_cpu(rung, a, b):
    for dtype in DTYPES:
        x, y = numbers(a, dtype), numbers(b, dtype, seed=1)
        with np.errstate(invalid="ignore"):
            result, expected = rung(x, y), np.maximum(x + y, 0)
        assert result.dtype == dtype and result.shape == expected.shape
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("a", "b"), SHAPES[:-1])
@pytest.mark.parametrize("rung", ZIP_LADDER.on("cuda"), ids=lambda rung: rung.name)
def test_every_zip_rung_broadcasts_on_the_gpu(rung, a, b, traced):
    x, y = numbers(a, np.float32), numbers(b, np.float32, seed=1)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(traced(rung.callable, x, y), np.maximum(x + y, 0))


@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_the_best_zip_for_any_two_layouts(first, second):
    x, y = numbers((14, 14), np.float32), numbers((14, 14), np.float32, seed=1)
    a, b = LAYOUTS[first](x), LAYOUTS[second](y)
    if "every second" in (first, second):
        a, b = a[..., :7] if a.ndim else a, b[..., :7] if b.ndim else b
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(elementwise.add_relu(a, b), np.maximum(a + b, 0))


@settings(max_examples=60, deadline=None)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=6), st.sampled_from(DTYPES))
def test_the_best_zip_for_any_shapes(shapes, dtype):
    a, b = (numbers(shape, dtype, seed) for seed, shape in enumerate(shapes.input_shapes))
    if a.size and b.size:
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(elementwise.add_relu(a, b), np.maximum(a + b, 0))


def test_storage_and_strides_find_every_element():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (x, x.T, x[:, ::2], x[:, 1:, 1:3], x[::-1]):
        store, strides = storage(view, (5, *view.shape))
        for index in np.ndindex(5, *view.shape):
            assert store[sum(i * s for i, s in zip(index, strides, strict=True))] == view[index[1:]]


def test_axes_merge_where_one_row_ends_and_the_next_begins():
    assert merge_axes((8, 16, 28, 28), (12544, 784, 28, 1), (0, 1, 0, 0)) == (
        (8, 16, 784),
        (12544, 784, 1),
        (0, 1, 0),
    )
    assert merge_axes((2, 3), (3, 1), (3, 1)) == ((6,), (1,), (1,))
    assert merge_axes((1, 1), (0, 0)) == ((1,), (1,))
    assert dense_strides((16, 1, 5), (8, 16, 28, 5)) == (0, 5, 0, 1)


# ----------------------------------------------------------------------------------------- activations


def call(function, *args):
    return getattr(elementwise, function)(*args)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_and_their_gradients(name, dtype, traced):
    x = numbers((7, 9), dtype)
    g = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
    y = call(f"{name}_reference", x)
    np.testing.assert_allclose(call(name, x), y, **tolerance(dtype))
    np.testing.assert_allclose(traced(getattr(elementwise, f"{name}_cuda"), x), y, **tolerance(dtype))
    kept = y if name in ("tanh", "sigmoid") else x
    expected = call(f"{name}_backward_reference", g, kept)
    close = {"rtol": 64 * np.finfo(dtype).eps, "atol": np.finfo(dtype).eps}  # 1 - y² has few digits near 1
    got = call(f"{name}_backward", g, kept)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, **close)
    gpu = traced(getattr(elementwise, f"{name}_backward_cuda"), g, kept)
    np.testing.assert_allclose(gpu, expected, **close)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_the_slopes(name):
    x = np.array([-3.0, -1.5, -0.2, 0.1, 0.7, 2.0, 5.0])
    step = 1e-6
    slope = (call(name, x + step) - call(name, x - step)) / (2 * step)
    kept = call(name, x) if name in ("tanh", "sigmoid") else x
    np.testing.assert_allclose(call(f"{name}_backward", np.ones_like(x), kept), slope, rtol=1e-7, atol=1e-9)


def test_activations_agree_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is an optional peer")
    x = numbers((5, 13), np.float32)
    functional = {
        "relu": torch.relu,
        "leaky_relu": torch.nn.functional.leaky_relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
    }
    for name, function in functional.items():
        t = torch.from_numpy(x.copy()).requires_grad_()
        y = function(t)
        y.backward(torch.ones_like(y))
        ours = call(name, x)
        np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-6, atol=1e-37, err_msg=name)
        kept = ours if name in ("tanh", "sigmoid") else x
        backward = call(f"{name}_backward", np.ones_like(x), kept)
        np.testing.assert_allclose(backward, t.grad.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)  # 1 - y²


def test_slope_of_leaky_relu_is_a_parameter():
    x = np.float32([-2, 0, 3])
    np.testing.assert_array_equal(elementwise.leaky_relu(x, 0.2), np.float32([-0.4, 0, 3]))
    np.testing.assert_array_equal(elementwise.leaky_relu_backward(x, x, 0.5), np.float32([-1, 0, 3]))


# ---------------------------------------------------------------------------------------- out, bad input


@pytest.mark.parametrize("name", ["sigmoid", "relu", "tanh", "leaky_relu"])
def test_out_may_be_the_input(name):
    x = numbers((6, 6), np.float32)
    expected = call(name, x)
    out = np.empty_like(x)
    assert getattr(elementwise, name)(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    spread = np.empty((6, 12), np.float32)[:, ::2]
    assert getattr(elementwise, name)(x, out=spread) is spread
    np.testing.assert_array_equal(spread, expected)
    assert getattr(elementwise, name)(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


X = np.ones((3, 4), np.float32)
BAD = [
    (lambda out: elementwise.sigmoid(np.arange(12), out=out), TypeError, "x must hold float32 or float64"),
    (lambda out: elementwise.relu(np.array(["a"]), out=out), TypeError, "x must hold float32 or float64"),
    (lambda out: elementwise.relu(np.ones(3, np.complex64)), TypeError, "x must hold"),
    (lambda out: elementwise.tanh(X[:0]), ValueError, "x must not be empty"),
    (lambda out: elementwise.relu(X, out=X.astype(float)), TypeError, "out must have dtype float32"),
    (lambda out: elementwise.relu(X, out=X[:2].copy()), ValueError, r"out must have shape \(3, 4\)"),
    (lambda out: elementwise.relu(X, out=[0.0]), TypeError, "out must be a NumPy array"),
    (lambda out: elementwise.add_relu(X, X.astype(float), out=out), TypeError, "b must have the dtype of a"),
    (lambda out: elementwise.add_relu(X, X[:2], out=out), ValueError, r"a \(3, 4\) and b \(2, 4\)"),
    (lambda out: elementwise.relu_backward(X[:2], X), ValueError, "x must have the shape of gradient"),
    (
        lambda out: elementwise.relu(out[:2], out=out[1:]),
        ValueError,
        "out must be x itself or share no memory",
    ),
    (lambda out: elementwise.add_relu(out[:1], out, out=out), ValueError, "out must be a itself"),
    (lambda out: elementwise.sigmoid_cuda(X, rung="fast"), ValueError, "rung must be one of"),
    (lambda out: elementwise.add_relu_cuda(X, X, rung="fast"), ValueError, "rung must be one of"),
]


@pytest.mark.parametrize(("run", "error", "message"), BAD)
def test_bad_input_is_named_and_nothing_is_written(run, error, message):
    out = np.full((3, 4), 7, np.float32)
    with pytest.raises(error, match=message):
        run(out)
    assert (out == 7).all()


def test_read_only_results_are_refused():
    out = np.zeros((3, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writable"):
        elementwise.relu(X, out=out)


# ----------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize("rung", MAP_LADDER.on("cuda") + ZIP_LADDER.on("cuda"), ids=lambda rung: rung.name)
def test_cuda_rungs_compile_and_account_for_what_they_do(rung, compiled, traced):
    ladder = MAP_LADDER if rung in MAP_LADDER.rungs else ZIP_LADDER
    args = ladder.example(1500)
    assert {ptx.kernel for ptx in compiled(rung.callable, *args)} == {rung.kernel.py_func.__name__}
    traced(rung.callable, *args)
    shape = ladder.shape(*args)
    assert sum(trace.bytes for trace in traced.traces) == rung.bytes(*shape)
    assert sum(trace.flops for trace in traced.traces) == rung.flops(*shape)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation_kernels_compile(name, compiled):
    compiled(getattr(elementwise, f"{name}_cuda"), X)
    compiled(getattr(elementwise, f"{name}_backward_cuda"), X, X)


def test_what_is_in_gpu_memory_stays_there(stays_on_gpu):
    x = numbers((5, 6), np.float32)
    for rung in MAP_LADDER.on("cuda"):
        np.testing.assert_allclose(stays_on_gpu(rung.callable, x), MAP_LADDER.reference(x), rtol=1e-6)
    for other in (x, x[0].copy(), x[:, :1].copy()):
        for rung in ZIP_LADDER.on("cuda"):
            np.testing.assert_array_equal(
                stays_on_gpu(rung.callable, x, other), ZIP_LADDER.reference(x, other)
            )
    for name in FUNCTIONS:
        y = stays_on_gpu(getattr(elementwise, f"{name}_cuda"), x)
        np.testing.assert_allclose(y, call(name, x), rtol=1e-6)
        gradient = stays_on_gpu(getattr(elementwise, f"{name}_backward_cuda"), np.ones_like(x), y)
        expected = call(f"{name}_backward", np.ones_like(x), y)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_arrays_in_gpu_memory_are_not_for_the_cpu(stays_on_gpu):
    for rung in MAP_LADDER.on("cpu"):
        with pytest.raises(TypeError, match="x is in GPU memory: use the function ending in _cuda"):
            stays_on_gpu(lambda x, machine, rung=rung: rung(x), X)
