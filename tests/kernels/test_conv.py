"""Convolution: every rung against loops over the definition, gradients against slopes and PyTorch."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.kernels import conv
from minidl.kernels.conv import BACKWARD_LADDER, LADDER, lowering

CASES = [  # shape of x, shape of w, stride, padding
    ((2, 3, 6, 8), (4, 3, 3, 3), 1, 1),
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0),
    ((2, 2, 9, 7), (5, 2, 3, 2), (3, 2), (0, 2)),
    ((1, 5, 8, 8), (3, 5, 4, 4), 2, 1),
    ((3, 1, 5, 12), (2, 1, 1, 5), (1, 2), (0, 4)),
    ((1, 2, 4, 3), (7, 2, 2, 2), 3, (2, 3)),
    ((1, 9, 3, 40), (9, 9, 3, 3), 1, (1, 1)),
    ((2, 1, 2, 2), (1, 1, 6, 6), 2, 2),
]
CPU = LADDER.on("cpu")
EXACT = [rung for rung in CPU if rung.name not in ("fft", "winograd")]  # a NaN stays where it belongs
BACKWARD = BACKWARD_LADDER.on("cpu")
CLOSE = {np.float32: {"rtol": 1e-4, "atol": 2e-4}, np.float64: {"rtol": 1e-9, "atol": 1e-9}}


def arrays(x_shape, w_shape, dtype=np.float32, seed=0):
    random = np.random.default_rng(seed)
    shapes = x_shape, w_shape, w_shape[:1]
    return tuple(random.standard_normal(shape).astype(dtype) for shape in shapes)


def pairs(*values):
    return tuple(value if isinstance(value, tuple) else (value, value) for value in values)


def by_hand(x, w, bias, stride, padding):
    """The definition, one output after the other, in float64."""
    (down, across), (above, before) = pairs(stride, padding)
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (above, above), (before, before)))
    p, q = (x.shape[2] - w.shape[2]) // down + 1, (x.shape[3] - w.shape[3]) // across + 1
    y = np.empty((len(x), len(w), p, q))
    with np.errstate(all="ignore"):
        for n, o, i, j in np.ndindex(*y.shape):
            top, left = i * down, j * across
            window = x[n, :, top : top + w.shape[2], left : left + w.shape[3]]
            y[n, o, i, j] = (window * w[o]).sum() + (0 if bias is None else bias[o])
    return y


def gradients_by_hand(g, x, w, stride, padding, rim=0):
    """What each product of the definition adds to the gradients of its factors."""
    (down, across), (above, before) = pairs(stride, padding)
    sides = ((0, 0), (0, 0), (above, above), (before, before))
    padded = np.pad(x.astype(np.float64), sides, constant_values=rim)
    gx, gw = np.zeros_like(padded), np.zeros(w.shape)
    with np.errstate(all="ignore"):
        for n, o, i, j in np.ndindex(*g.shape):
            place = (n, slice(None), slice(i * down, i * down + w.shape[2]))
            place += (slice(j * across, j * across + w.shape[3]),)
            gx[place] += float(g[n, o, i, j]) * w[o]
            gw[o] += float(g[n, o, i, j]) * padded[place]
    return gx[:, :, above : above + x.shape[2], before : before + x.shape[3]], gw, g.sum(axis=(0, 2, 3))


def takes(rung, w_shape, stride):
    return rung.name != "winograd" or (w_shape[2:] == (3, 3) and pairs(stride) == ((1, 1),))


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding"), CASES)
@pytest.mark.parametrize("rung", CPU, ids=lambda rung: rung.name)
def test_every_forward_rung(rung, x_shape, w_shape, stride, padding):
    if not takes(rung, w_shape, stride):
        with pytest.raises(ValueError, match="takes a 3×3 kernel with stride 1"):
            rung(*arrays(x_shape, w_shape), stride, padding)
        return
    for dtype in CLOSE:
        x, w, bias = arrays(x_shape, w_shape, dtype)
        for b in (None, bias):
            y = rung(x, w, b, stride, padding)
            assert y.dtype == dtype
            np.testing.assert_allclose(y, by_hand(x, w, b, stride, padding), **CLOSE[dtype])


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding"), CASES)
@pytest.mark.parametrize("rung", BACKWARD, ids=lambda rung: rung.name)
def test_every_backward_rung(rung, x_shape, w_shape, stride, padding):
    for dtype in CLOSE:
        x, w, _ = arrays(x_shape, w_shape, dtype)
        y = conv.conv2d_reference(x, w, None, stride, padding)
        g = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
        expected = gradients_by_hand(g, x, w, stride, padding)
        for got, want in zip(rung(g, x, w, stride, padding), expected, strict=True):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, want, **CLOSE[dtype])


# ------------------------------------------------------------------------------------- any sizes, any layout


@st.composite
def convolutions(draw):
    """x, w, bias, stride, padding: of any sizes, with gaps, backwards or broadcast, with NaN and infinity."""
    shape = draw(st.tuples(*(st.integers(1, most) for most in (3, 5, 18, 24))))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    kernel = tuple(draw(st.integers(1, min(6, n + 2 * p))) for n, p in zip(shape[2:], padding, strict=True))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    w_shape = draw(st.integers(1, 6)), shape[1], *kernel
    x, w, bias = arrays(shape, w_shape, draw(st.sampled_from([np.float32, np.float64])))
    if odd := draw(st.sampled_from([None, np.nan, np.inf])):
        x.flat[draw(st.integers(0, x.size - 1))] = odd
    layout = draw(st.sampled_from(["plain", "backwards", "gaps", "broadcast", "columns first"]))
    if layout == "backwards":
        x, w = x[:, :, ::-1, ::-1], w[::-1]
    elif layout == "gaps":
        x, w, bias = (np.repeat(a, 2, axis=-1)[..., ::2] for a in (x, w, bias))
    elif layout == "broadcast":
        x, w = np.broadcast_to(x[:1], x.shape), np.broadcast_to(w[:, :, :1], w.shape)
    elif layout == "columns first":
        x, w = np.asfortranarray(x), np.asfortranarray(w)
    return x, w, draw(st.sampled_from([None, bias])), stride, padding


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_any_convolution(arguments):
    x, w, _, stride, _ = arguments
    expected = by_hand(*arguments)
    close = CLOSE[x.dtype.type]
    for rung in (*EXACT, conv.conv2d):
        np.testing.assert_allclose(rung(*arguments), expected, **close, err_msg=str(rung))
    for rung in CPU:
        if rung not in EXACT and np.isfinite(x).all() and takes(rung, w.shape, stride):
            np.testing.assert_allclose(rung(*arguments), expected, **close, err_msg=rung.name)


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.sampled_from([0, np.nan, np.inf]), st.integers(0, 10**6))
def test_any_way_back(arguments, odd, place):
    x, w, _, stride, padding = arguments
    y = conv.conv2d_reference(x, w, None, stride, padding)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
    g.flat[place % g.size] = odd
    expected = gradients_by_hand(g, x, w, stride, padding)
    # Zeros of the padding times NaN: some BLAS skips them, so nothing is said of weights that met both.
    on_padding = gradients_by_hand(
        np.where(np.isfinite(g), 0, 1), np.zeros_like(x), w, stride, padding, rim=1
    )
    expected[1][on_padding[1] != 0] = 0
    ours = (
        conv.conv2d_backward_input(g, w, x.shape, stride, padding),
        conv.conv2d_backward_weight(g, x, w.shape, stride, padding),
        conv.conv2d_backward_bias(g),
    )
    for rung in (*BACKWARD, lambda *_: ours):
        to_x, to_w, to_bias = rung(g, x, w, stride, padding)
        to_w[on_padding[1] != 0] = 0
        for got, want in zip((to_x, to_w, to_bias), expected, strict=True):
            np.testing.assert_allclose(got, want, **CLOSE[x.dtype.type], err_msg=str(rung))


def test_an_infinite_weight_spoils_only_what_it_meets():
    x, w, _ = arrays((1, 2, 6, 6), (3, 2, 3, 3))
    w[1, 0, 2, 2] = np.inf
    g = np.ones((1, 3, 6, 6), np.float32)
    expected = gradients_by_hand(g, x, w, 1, 1)[0]
    assert np.isfinite(expected).any() and not np.isfinite(expected).all()
    np.testing.assert_allclose(conv.conv2d_backward_input(g, w, x.shape, 1, 1), expected, rtol=1e-5)


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding"), CASES)
def test_gradients_are_the_slopes(x_shape, w_shape, stride, padding):
    x, w, bias = arrays(x_shape, w_shape, np.float64)
    g = np.random.default_rng(1).standard_normal(conv.conv2d(x, w, bias, stride, padding).shape)
    gradients = (
        conv.conv2d_backward_input(g, w, x.shape, stride, padding),
        conv.conv2d_backward_weight(g, x, w.shape, stride, padding),
        conv.conv2d_backward_bias(g),
    )
    for k, gradient in enumerate(gradients):
        for index in list(np.ndindex(gradient.shape))[:40]:
            ends = []
            for step in (1e-3, -1e-3):  # linear in each of them: any step would do
                moved = [x.copy(), w.copy(), bias.copy()]
                moved[k][index] += step
                ends.append((conv.conv2d(*moved, stride, padding) * g).sum())
            np.testing.assert_allclose(gradient[index], (ends[0] - ends[1]) / 2e-3, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding"), CASES)
def test_agrees_with_pytorch(x_shape, w_shape, stride, padding):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is an optional peer")
    x, w, bias = arrays(x_shape, w_shape)
    tensors = [torch.from_numpy(a.copy()).requires_grad_() for a in (x, w, bias)]
    y = torch.nn.functional.conv2d(*tensors, stride=stride, padding=padding)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    y.backward(torch.from_numpy(g))
    ours = conv.conv2d(x, w, bias, stride, padding)
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-4, atol=1e-4)
    gradients = (
        conv.conv2d_backward_input(g, w, x.shape, stride, padding),
        conv.conv2d_backward_weight(g, x, w.shape, stride, padding),
        conv.conv2d_backward_bias(g),
    )
    for got, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(got, tensor.grad.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), [(c[0], c[1][2:], *c[2:]) for c in CASES])
def test_columns_are_windows_and_the_way_back_is_the_transpose(shape, kernel, stride, padding):
    x, *_ = arrays(shape, (1, shape[1], *kernel), np.float64)
    columns = conv.im2col(x, kernel, stride, padding)
    c = np.random.default_rng(2).standard_normal(columns.shape)
    weights = np.random.default_rng(3).standard_normal((2, shape[1], *kernel))
    y = by_hand(x, weights, None, stride, padding)
    np.testing.assert_allclose((weights.reshape(2, -1) @ columns).reshape(y.shape), y, atol=1e-9)
    back = conv.col2im(c, shape, kernel, stride, padding)
    np.testing.assert_allclose((columns * c).sum(), (x * back).sum())  # ⟨Ax, c⟩ = ⟨x, Aᵀc⟩


# --------------------------------------------------------------------------------------------- memory, out


@pytest.mark.parametrize("name", ["im2col numpy", "im2col numba"])
def test_columns_of_a_large_batch_stay_within_their_bound(name):
    x, w, _ = arrays((64, 8, 40, 40), (4, 8, 5, 5))
    out = np.empty((64, 4, 36, 36), np.float32)
    whole = 64 * 8 * 25 * 36 * 36 * 4  # bytes of all columns
    assert whole > 4 * lowering.COLUMN_BYTES
    for rung in (LADDER[name], lambda *a, out: conv.conv2d_backward_weight_im2col(out, *a[:1], w.shape)):
        rung(x[:1], w, out=out[:1])  # compiled, and the pools of threads started
        tracemalloc.start()
        rung(x, w, out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert lowering.COLUMN_BYTES / 2 < peak < 2 * lowering.COLUMN_BYTES, f"{peak:,} bytes"


def test_slices_of_rows_give_the_same(monkeypatch):
    x, w, bias = arrays((2, 3, 9, 11), (4, 3, 3, 3))
    g = np.ones((2, 4, 5, 6), np.float32)
    expected = by_hand(x, w, bias, 2, 1), *gradients_by_hand(g, x, w, 2, 1)
    for size in (1, 2000, 5000):
        monkeypatch.setattr(lowering, "COLUMN_BYTES", size)
        got = LADDER["im2col numpy"](x, w, bias, 2, 1), *BACKWARD_LADDER["im2col"](g, x, w, 2, 1)
        for ours, want in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours, want, **CLOSE[np.float32])
        ours = LADDER["im2col numba"](x, w, bias, 2, 1)
        np.testing.assert_allclose(ours, expected[0], **CLOSE[np.float32])


@pytest.mark.parametrize("rung", CPU, ids=lambda rung: rung.name)
def test_out_is_filled(rung):
    x, w, bias = arrays((2, 2, 5, 6), (3, 2, 3, 3))
    expected = by_hand(x, w, bias, 1, 0)
    for out in (np.empty((2, 3, 3, 4), np.float32), np.empty((2, 3, 3, 8), np.float32)[..., ::2]):
        assert rung(x, w, bias, out=out) is out
        np.testing.assert_allclose(out, expected, **CLOSE[np.float32])


def test_gradients_are_written_to_out():
    x, w, _ = arrays((2, 2, 7, 7), (3, 2, 3, 3))
    g = np.ones((2, 3, 3, 3), np.float32)
    want_x, want_w, want_b = gradients_by_hand(g, x, w, 2, 0)
    for name in ("reference", "numba_loops", "im2col", "direct", None):
        end = f"_{name}" if name else ""
        to_input = getattr(conv, f"conv2d_backward_input{end}")
        to_weight = getattr(conv, f"conv2d_backward_weight{end}")
        for out in (np.empty(x.shape, np.float32), np.empty((2, 2, 7, 14), np.float32)[..., ::2]):
            assert to_input(g, w, x.shape, 2, out=out) is out
            np.testing.assert_allclose(out, want_x, **CLOSE[np.float32])
        for out in (np.empty(w.shape, np.float32), np.empty((3, 2, 3, 6), np.float32)[..., ::2]):
            assert to_weight(g, x, w.shape, 2, out=out) is out
            np.testing.assert_allclose(out, want_w, **CLOSE[np.float32])
    out = np.empty(3, np.float32)
    assert conv.conv2d_backward_bias(g, out=out) is out
    np.testing.assert_allclose(out, want_b)


# ---------------------------------------------------------------------------------------------- bad input

X, W, B = np.ones((1, 2, 4, 6), np.float32), np.ones((3, 2, 3, 3), np.float32), np.ones(3, np.float32)
Y = np.ones((1, 3, 2, 4), np.float32)
BAD = [
    ((X.astype(int), W), {}, TypeError, "x must hold float32 or float64, got int"),
    ((X, W.astype("f8")), {}, TypeError, "x and w must have the same dtype, got float32 and float64"),
    ((X, W, B.astype("f8")), {}, TypeError, "x and bias must have the same dtype"),
    ((X[0], W), {}, ValueError, r"x must have 4 dimensions, got shape \(2, 4, 6\)"),
    ((X, W[0]), {}, ValueError, r"w must have 4 dimensions, got shape \(2, 3, 3\)"),
    ((X[:0], W), {}, ValueError, "x must not be empty"),
    ((X, W[:, :1]), {}, ValueError, r"same number of channels.*x \(1, 2, 4, 6\) and w \(3, 1, 3, 3\)"),
    ((X[:, :, :2], W), {}, ValueError, r"w is more high than x with its padding"),
    ((X[..., :2], W), {}, ValueError, r"w is more wide than x with its padding"),
    ((X, W, B[:2]), {}, ValueError, r"bias must have shape \(3,\).*got \(2,\)"),
    ((X, W, B[None]), {}, ValueError, "bias must have 1 dimension"),
    ((X, W, None, 0), {}, ValueError, "stride must be at least 1, got 0"),
    ((X, W, None, 1.0), {}, TypeError, "stride must be an integer, got 1.0"),
    ((X, W, None, True), {}, TypeError, "stride must be an integer, got True"),
    ((X, W, None, (1, 2, 3)), {}, ValueError, "stride must be an integer or a pair"),
    ((X, W, None, 1, -1), {}, ValueError, "padding must be at least 0, got -1"),
    ((X, W, None, 1, (0, -2)), {}, ValueError, r"padding\[1\] must be at least 0, got -2"),
    ((X, W, None, 1, "same"), {}, TypeError, "padding must be an integer, got 'same'"),
    ((X, W), {"out": Y[..., :2]}, ValueError, r"out must have shape \(1, 3, 2, 4\), got \(1, 3, 2, 2\)"),
    ((X, W), {"out": Y.astype("f8")}, TypeError, "out must have dtype float32"),
    ((X[:, :, :1, :1], W[:2, :, :1, :1]), {"out": X[:, :, :1, :1]}, ValueError, "share memory with x"),
]


@pytest.mark.parametrize(("args", "params", "error", "message"), BAD)
def test_bad_input_is_named_by_every_rung(args, params, error, message):
    for rung in (*CPU, conv.conv2d):
        with pytest.raises(error, match=message):
            rung(*args, **params)


BAD_BACKWARD = [
    (
        lambda f: f[0](Y[:, :2], W, X.shape),
        ValueError,
        r"gradient must have the output's shape \(1, 3, 2, 4\)",
    ),
    (lambda f: f[0](Y.astype("f8"), W, X.shape), TypeError, "gradient and w must have the same dtype"),
    (lambda f: f[0](Y, W, X.shape[1:]), ValueError, "shape must be four integers"),
    (lambda f: f[0](Y, W, (1, 2, 4, 6.0)), TypeError, r"shape\[3\] must be an integer"),
    (lambda f: f[0](Y, W, (1, 5, 4, 6)), ValueError, "same number of channels"),
    (lambda f: f[0](Y, W, X.shape, out=Y), ValueError, "out must have shape"),
    (lambda f: f[1](Y, X[0], W.shape), ValueError, "x must have 4 dimensions"),
    (lambda f: f[1](Y, X, (3, 2, 3)), ValueError, "shape must be four integers"),
    (lambda f: f[1](Y, X, (4, 2, 3, 3)), ValueError, "gradient must have the output's shape"),
    (lambda f: f[1](Y, X, W.shape, 0), ValueError, "stride must be at least 1"),
    (lambda f: f[1](Y, X, W.shape, out=W.astype("f8")), TypeError, "out must have dtype float32"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_BACKWARD)
def test_bad_input_of_the_way_back_is_named(call, error, message):
    for end in ("", "_reference", "_numba_loops", "_im2col", "_direct"):
        both = (getattr(conv, f"conv2d_backward_{to}{end}") for to in ("input", "weight"))
        with pytest.raises(error, match=message):
            call(list(both))


def test_bad_columns_are_named():
    with pytest.raises(ValueError, match="kernel must be at least 1"):
        conv.im2col(X, 0)
    with pytest.raises(ValueError, match=r"columns must have shape \(1, 18, 8\), got \(1, 18, 9\)"):
        conv.col2im(np.ones((1, 18, 9)), X.shape, 3)
    with pytest.raises(ValueError, match="gradient must have 4 dimensions"):
        conv.conv2d_backward_bias(Y[0])


def test_arrays_in_gpu_memory_are_not_for_the_cpu(stays_on_gpu):
    for rung in CPU:
        with pytest.raises(TypeError, match="x is in GPU memory"):
            stays_on_gpu(lambda x, w, machine, rung=rung: rung(x, w), X, W)
    for rung in BACKWARD:
        with pytest.raises(TypeError, match="gradient is in GPU memory"):
            stays_on_gpu(lambda g, machine, rung=rung: rung(g, X, W), Y)


# ------------------------------------------------------------------------------------------ what it costs


def test_rungs_account_for_what_they_do():
    x, w, bias = arrays((2, 3, 6, 8), (4, 3, 3, 3))
    sizes = LADDER.shape(x, w, bias, 1, 1)
    products = 2 * 4 * 6 * 8 * 3 * 9
    assert LADDER["numba direct"].flops(*sizes) == 2 * products + 2 * 4 * 6 * 8
    assert LADDER["numba direct"].bytes(*sizes) == 4 * (x.size + w.size + 2 * 4 * 6 * 8)
    assert LADDER["winograd"].flops(*sizes) < LADDER["numba direct"].flops(*sizes)
    columns = 2 * 27 * 48 * 4
    assert LADDER["im2col numba"].bytes(*sizes) > 2 * columns
    back = BACKWARD_LADDER.shape(np.ones((2, 4, 6, 8), np.float32), x, w, 1, 1)
    assert BACKWARD_LADDER["numba direct"].flops(*back) == 2 * LADDER["numba direct"].flops(*sizes)
    for rung in (*LADDER, *BACKWARD_LADDER):
        assert rung.bytes(*sizes, itemsize=8) > rung.bytes(*sizes) > 0 and rung.flops(*sizes) > 0
