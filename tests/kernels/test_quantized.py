"""Bytes for numbers: exact integers, gemmlowp's rounding in C's own words, and close to the floats."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.kernels import quantized
from minidl.kernels.quantized import LADDER
from minidl.kernels.quantized.affine import fixed_point, requantize, requantize_one

SHAPES = [(1, 1, 1), (5, 7, 3), (17, 30, 18), (2, 100, 1), (34, 16, 17)]


def matrices(m, k, n, seed=0):
    random = np.random.default_rng(seed)
    a = random.integers(0, 256, size=(m, k), dtype=np.uint8)
    b = random.integers(0, 256, size=(k, n), dtype=np.uint8)
    bias = random.integers(-5000, 5000, size=n, dtype=np.int32)
    return a, b, bias


def run(rung, traced, *args, **params):
    return traced(rung.callable, *args, **params) if rung.device == "cuda" else rung(*args, **params)


# -------------------------------------------------------------------------------------- numbers and bytes


@given(
    hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=60, deadline=None)
def test_a_byte_is_off_by_half_a_step_at_most(x, dtype):
    x = x.astype(dtype)
    quantization = quantized.choose_quantization(x.min(), x.max())
    q = quantized.quantize(x, quantization)
    assert q.dtype == np.uint8
    np.testing.assert_array_equal(q, quantized.quantize_reference(x, quantization))
    back = quantized.dequantize(q, quantization, dtype)
    assert back.dtype == dtype
    assert np.abs(back - x).max() <= quantization.scale * (
        1 + 1e-3
    )  # half, and half where the zero point moved
    inside = (q > 0) & (q < 255)
    assert np.abs(back - x)[inside].max(initial=0) <= quantization.scale * (0.5 + 1e-3)


def test_zero_is_exact():
    for low, high in ((-1.0, 2.0), (0.5, 3.0), (-3.0, -1.0), (0.0, 0.0), (-1e-30, 1e30)):
        quantization = quantized.choose_quantization(low, high)
        zero = quantized.quantize(np.zeros(1), quantization)
        assert quantized.dequantize(zero, quantization)[0] == 0


def test_out_of_range_saturates_and_halves_go_to_even():
    x = np.float32([-np.inf, -1000, 1000, np.inf, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(quantized.quantize(x, (1.0, 10)), [0, 0, 255, 255, 10, 12, 12])


def c_requantize(total, mantissa, shift):
    """gemmlowp's two functions in Python's unbounded integers, with C's division towards 0."""
    total *= 2 ** max(-shift, 0)
    product = total * mantissa
    nudge = 2**30 if product >= 0 else 1 - 2**30
    high = int(Fraction(product + nudge, 2**31))  # int() truncates, like C
    shift = max(shift, 0)
    remainder = high & (2**shift - 1)
    threshold = ((2**shift - 1) >> 1) + (high < 0)
    return (high >> shift) + (remainder > threshold)


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-9, 0.999))
@example(-(2**31), 0.5)
@example(2**31 - 1, 0.999)
@example(-3, 0.5)
@example(3, 0.5)
@settings(max_examples=300, deadline=None)
def test_requantising_is_gemmlowps(total, multiplier):
    mantissa, shift = fixed_point(multiplier)
    assert 2**30 <= mantissa < 2**31
    expected = c_requantize(total, mantissa, shift)
    assert requantize(np.array([total]), mantissa, shift)[0] == expected
    assert requantize_one(total, mantissa, shift) == expected
    assert abs(expected - total * multiplier) <= 1.01


def test_a_multiplier_above_one_shifts_left():
    mantissa, shift = fixed_point(12.0)
    assert shift < 0
    assert requantize(np.array([7, -7, 2**31 - 1]), mantissa, shift).tolist()[:2] == [84, -84]
    assert requantize_one(-7, mantissa, shift) == -84


# ------------------------------------------------------------------------------------------ the product


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
@pytest.mark.parametrize("rung", LADDER.rungs, ids=lambda rung: rung.name)
def test_every_rung_gives_the_same_bytes(rung, m, k, n, with_bias, traced):
    a, b, bias = matrices(m, k, n)
    bias = bias if with_bias else None
    for quantizations in (
        ((0.02, 128), (0.01, 120), (0.05 * k**0.5, 128)),
        ((0.5, 0), (0.5, 255), (3.0, 7)),
        ((2.0, 3), (1.0, 4), (0.1, 100)),  # scales that multiply to more than 1
    ):
        y = run(rung, traced, a, b, *quantizations, bias)
        assert y.dtype == np.uint8
        (_, za), (_, zb), (s, z) = quantizations
        total = (a.astype(int) - za) @ (b.astype(int) - zb) + (0 if bias is None else bias)
        mantissa, shift = fixed_point(quantizations[0][0] / s * quantizations[1][0])
        expected = [[c_requantize(int(t), mantissa, shift) + z for t in row] for row in total]
        np.testing.assert_array_equal(y, np.clip(expected, 0, 255))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 70), st.integers(1, 20), st.integers(0, 255), st.integers(0, 255))
def test_the_best_rung_for_any_shape_and_zero_points(m, k, n, za, zb):
    a, b, bias = matrices(m, k, n, seed=k)
    args = (a, b, (0.1, za), (0.2, zb), (5.0, 100), bias)
    np.testing.assert_array_equal(quantized.quantized_matmul(*args), LADDER.reference(*args))
    spread = (np.repeat(a, 2, axis=1)[:, ::2], b[::-1][::-1], *args[2:])
    np.testing.assert_array_equal(quantized.quantized_matmul(*spread), LADDER.reference(*args))


def test_bytes_come_close_to_the_floats():
    random = np.random.default_rng(0)
    x, w = random.normal(size=(30, 64)), random.normal(size=(64, 20))
    exact = x @ w
    qx, qw, qy = (quantized.choose_quantization(v.min(), v.max()) for v in (x, w, exact))
    y = quantized.quantized_matmul(quantized.quantize(x, qx), quantized.quantize(w, qw), qx, qw, qy)
    error = np.abs(quantized.dequantize(y, qy, np.float64) - exact)
    assert error.max() < 0.03 * np.abs(exact).max()


def test_the_largest_sums_fit(traced):
    k = 33025
    a, b = np.full((1, k), 255, np.uint8), np.full((k, 1), 255, np.uint8)
    args = (a, b, (1.0, 0), (1.0, 0), (2.0**24, 3))
    for rung in LADDER.on("cpu"):
        assert rung(*args) == 131
    with pytest.raises(ValueError, match=r"a.shape\[1\] = 33026 products of bytes"):
        quantized.quantized_matmul(np.zeros((1, 33026), np.uint8), np.zeros((33026, 1), np.uint8), *args[2:])


@pytest.mark.parametrize("rung", LADDER.rungs, ids=lambda rung: rung.name)
def test_out_is_filled(rung, traced):
    a, b, bias = matrices(4, 5, 6)
    args = (a, b, (0.1, 3), (0.2, 4), (5.0, 100), bias)
    for out in (np.empty((4, 6), np.uint8), np.empty((4, 12), np.uint8)[:, ::2]):
        assert run(rung, traced, *args, out=out) is out
        np.testing.assert_array_equal(out, LADDER.reference(*args))


A, B, BIAS = matrices(4, 5, 6)
Q = (0.1, 3)
BAD = [
    ((A.astype(np.int8), B, Q, Q, Q), {}, TypeError, "a must hold uint8, got int8"),
    ((A, B.astype(float), Q, Q, Q), {}, TypeError, "b must hold uint8, got float64"),
    ((A[0], B, Q, Q, Q), {}, ValueError, r"a must have 2 dimensions, got shape \(5,\)"),
    ((A, A, Q, Q, Q), {}, ValueError, r"\(M, K\) and \(K, N\), got \(4, 5\) and \(4, 5\)"),
    ((A[:, :0], B[:0], Q, Q, Q), {}, ValueError, "a must not be empty"),
    ((A, B, 0.1, Q, Q), {}, TypeError, "a_quantization must be a pair"),
    ((A, B, Q, (0.0, 3), Q), {}, ValueError, "b_quantization must have a positive, finite scale, got 0.0"),
    ((A, B, Q, Q, (float("nan"), 3)), {}, ValueError, "quantization must have a positive, finite scale"),
    ((A, B, Q, Q, (0.1, 256)), {}, ValueError, "quantization must have a zero point from 0 to 255, got 256"),
    ((A, B, Q, Q, (0.1, 3.0)), {}, TypeError, "quantization must have an integer for its zero point"),
    ((A, B, (1e-20, 0), Q, Q), {}, ValueError, "out of the range"),
    ((A, B, Q, Q, Q, BIAS[:3]), {}, ValueError, r"bias must have shape \(6,\), got \(3,\)"),
    ((A, B, Q, Q, Q, BIAS.astype(float)), {}, TypeError, "bias must hold int32, got float64"),
    ((A, B, Q, Q, Q, np.full(6, 2**31 - 1, np.int32)), {}, ValueError, "could exceed 32 bits"),
    ((A, B, Q, Q, Q), {"out": np.zeros((6, 4), np.uint8)}, ValueError, r"out must have shape \(4, 6\)"),
    ((A, B, Q, Q, Q), {"out": np.zeros((4, 6))}, TypeError, "out must have dtype uint8"),
]


@pytest.mark.parametrize(("args", "params", "error", "message"), BAD)
@pytest.mark.parametrize("rung", LADDER.rungs, ids=lambda rung: rung.name)
def test_bad_input_is_named(rung, args, params, error, message):
    with pytest.raises(error, match=message):
        rung(*args, **params)


def test_bad_numbers_are_named():
    x = np.ones(3, np.float32)
    for call, error, message in [
        (lambda: quantized.quantize(np.float32([1, np.nan]), Q), ValueError, "x must not hold NaN"),
        (lambda: quantized.quantize(np.arange(3), Q), TypeError, "x must hold float32 or float64"),
        (lambda: quantized.quantize(x, (1, 2, 3)), TypeError, "quantization must be a pair"),
        (lambda: quantized.quantize(x, Q, out=np.zeros(3)), TypeError, "out must have dtype uint8"),
        (lambda: quantized.dequantize(x, Q), TypeError, "q must hold uint8"),
        (lambda: quantized.dequantize(A, Q, int), TypeError, "dtype must be float32 or float64"),
        (lambda: quantized.choose_quantization(1, 0), ValueError, "low must be at most high = 0, got 1"),
        (lambda: quantized.choose_quantization(0, np.inf), ValueError, "low and high must be finite"),
        (lambda: quantized.quantized_matmul_cuda(A, B, Q, Q, Q, rung="x"), ValueError, "rung must be one of"),
    ]:
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("rung", LADDER.on("cuda"), ids=lambda rung: rung.name)
def test_cuda_rungs_compile_and_account_for_what_they_do(rung, compiled, traced):
    a, b, _ = matrices(18, 20, 17)
    compiled(rung.callable, a, b, Q, Q, Q)
    traced(rung.callable, a, b, Q, Q, Q)
    (trace,) = traced.traces
    assert trace.bytes == rung.bytes(18, 20, 17)
    assert trace.flops == 0


def test_the_tiled_kernel_multiplies_and_adds_in_32_bits(compiled):
    a, b, _ = matrices(4, 4, 4)
    for ptx in compiled(quantized.quantized_matmul_cuda, a, b, Q, Q, Q, rung="tiled"):
        assert ptx.counts()["mad.lo.s32"] >= 16 and ptx.counts()["mad.lo.s64"] == 0


def test_what_is_in_gpu_memory_stays_there(stays_on_gpu):
    args = (A, B, Q, Q, (5.0, 100))
    for rung in LADDER.on("cuda"):
        np.testing.assert_array_equal(stays_on_gpu(rung.callable, *args), LADDER.reference(*args))
        for rung in LADDER.on("cpu"):
            with pytest.raises(TypeError, match="a is in GPU memory"):
                stays_on_gpu(lambda *args, machine, rung=rung: rung(*args), *args)
