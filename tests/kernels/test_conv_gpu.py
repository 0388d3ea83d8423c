"""Convolution on the GPU: every rung in the tracer, against the definition, and what it compiles to."""

import numpy as np
import pytest

from minidl.hardware.device import Device, DeviceUnavailable
from minidl.hardware.machine import GPU
from minidl.instruments.ptx import compile_kernel
from minidl.instruments.tracer import TracedGpu
from minidl.kernels import conv
from minidl.kernels.conv import BACKWARD_LADDER, LADDER, gpu
from tests.kernels.test_conv import CLOSE, arrays, by_hand, gradients_by_hand
from tests.pretended import pretended_gpu

CASES = [  # shape of x, shape of w, stride, padding
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0),
    ((2, 3, 6, 5), (5, 3, 3, 3), 1, 1),
    ((2, 3, 7, 9), (4, 3, 3, 2), (2, 3), (1, 2)),  # groups of pixels of different sizes
    ((1, 2, 5, 6), (3, 2, 1, 1), 2, 0),  # pixels that no tap met
    ((1, 1, 5, 9), (2, 1, 2, 5), (1, 2), (0, 4)),
    ((3, 5, 6, 4), (2, 5, 2, 3), 3, 2),
    ((1, 3, 2, 11), (3, 3, 2, 4), (1, 4), (0, 1)),  # a stride as large as the kernel
    ((2, 1, 2, 2), (1, 1, 6, 6), 2, 2),  # one output, of a kernel larger than the image
    ((1, 2, 2, 150), (3, 2, 2, 2), 1, 0),  # more outputs than a tile has columns
]
WIDE = [
    ((1, 2, 2, 3), (35, 2, 2, 2), 1, 1),  # more filters than the narrow tile has rows, twice over
    ((1, 1, 2, 2), (66, 1, 1, 2), 1, (0, 1)),  # enough for the wide tile
    ((1, 66, 2, 2), (2, 66, 1, 1), 1, 0),  # enough channels for it, on the way back
]
FORWARD, BACKWARD = LADDER.on("cuda"), BACKWARD_LADDER.on("cuda")
each_forward = pytest.mark.parametrize("rung", FORWARD, ids=lambda rung: rung.name)
each_backward = pytest.mark.parametrize("rung", BACKWARD, ids=lambda rung: rung.name)


def backward_arrays(x_shape, w_shape, stride, padding, dtype=np.float32):
    x, w, _ = arrays(x_shape, w_shape, dtype)
    shape = by_hand(x, w, None, stride, padding).shape
    return np.random.default_rng(1).standard_normal(shape).astype(dtype), x, w


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding"), CASES + WIDE)
@each_forward
def test_every_forward_rung(rung, x_shape, w_shape, stride, padding, traced):
    x, w, bias = arrays(x_shape, w_shape)
    y = traced(rung.callable, x, w, bias, stride, padding)
    np.testing.assert_allclose(y, by_hand(x, w, bias, stride, padding), **CLOSE[np.float32])
    sizes = LADDER.shape(x, w, bias, stride, padding)
    assert sum(trace.bytes for trace in traced.traces) == rung.bytes(*sizes)
    assert sum(trace.flops for trace in traced.traces) == rung.flops(*sizes)
    assert traced.traces[0].kernel == rung.kernel.py_func.__name__


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding"), CASES + WIDE)
@each_backward
def test_every_backward_rung(rung, x_shape, w_shape, stride, padding, traced):
    g, x, w = backward_arrays(x_shape, w_shape, stride, padding)
    results = traced(rung.callable, g, x, w, stride, padding)
    for got, want in zip(results, gradients_by_hand(g, x, w, stride, padding), strict=True):
        np.testing.assert_allclose(got, want, **CLOSE[np.float32])
    sizes = BACKWARD_LADDER.shape(g, x, w, stride, padding)
    assert sum(trace.bytes for trace in traced.traces) == rung.bytes(*sizes)
    assert sum(trace.flops for trace in traced.traces) == rung.flops(*sizes)


def test_float64_no_bias_and_out(traced):
    x, w, _ = arrays((2, 2, 5, 4), (3, 2, 3, 3), np.float64)
    expected = by_hand(x, w, None, 1, 1)
    g = np.random.default_rng(1).standard_normal(expected.shape)
    for rung in FORWARD:
        out = np.empty((2, 3, 5, 8))[..., ::2]
        assert traced(rung.callable, x, w, None, 1, 1, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9)
    for rung in BACKWARD:
        for got, want in zip(
            traced(rung.callable, g, x, w, 1, 1), gradients_by_hand(g, x, w, 1, 1), strict=True
        ):
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    bias = np.arange(2.0)
    with_bias = traced(gpu.conv2d_backward_input_cuda, g, w, x.shape, 1, 1, bias=bias)
    np.testing.assert_allclose(with_bias, got_input(g, x, w) + bias[:, None, None], rtol=1e-9, atol=1e-9)


def got_input(g, x, w):
    return gradients_by_hand(g, x, w, 1, 1)[0]


def test_the_weights_gradient_is_summed_in_shares(monkeypatch, traced):
    monkeypatch.setattr(gpu, "SHORTEST", 16)
    g, x, w = backward_arrays((2, 2, 6, 7), (3, 2, 3, 3), 1, 1)
    share, parts = gpu.shares(conv.geometry.geometry_of(x.shape, w.shape, 1, 1))
    assert parts > 2 and share % gpu.STEP == 0 and share * (parts - 1) < 84 <= share * parts
    rung = BACKWARD_LADDER["cuda implicit"]
    results = traced(rung.callable, g, x, w, 1, 1)
    np.testing.assert_allclose(results[1], gradients_by_hand(g, x, w, 1, 1)[1], **CLOSE[np.float32])
    sizes = BACKWARD_LADDER.shape(g, x, w, 1, 1)
    assert sum(trace.bytes for trace in traced.traces) == rung.bytes(*sizes)
    assert sum(trace.flops for trace in traced.traces) == rung.flops(*sizes)


def test_columns_of_a_large_batch_are_made_in_slices(monkeypatch):
    monkeypatch.setattr(gpu, "COLUMN_BYTES", 4 * 18 * 12 * 2)  # for two images
    x, w, bias = arrays((5, 2, 3, 4), (3, 2, 3, 3))
    machine = TracedGpu()  # which finds that no launch alone writes the whole result
    y = gpu.conv2d_cuda(x, w, bias, 1, 1, rung="im2col", machine=machine)
    np.testing.assert_allclose(y, by_hand(x, w, bias, 1, 1), **CLOSE[np.float32])
    kinds = {finding.kind for trace in machine.traces for finding in trace.findings}
    assert kinds <= {"unwritten-output", "bank-conflict", "uncoalesced"}
    assert [trace.kernel for trace in machine.traces].count("conv2d_im2col_kernel") == 3
    sizes = LADDER.shape(x, w, bias, 1, 1)
    assert sum(trace.bytes for trace in machine.traces) == LADDER["cuda im2col"].bytes(*sizes)


@each_forward
def test_a_nan_touches_only_the_outputs_that_see_it(rung, traced):
    x, w, bias = arrays((1, 2, 5, 6), (2, 2, 2, 3))
    x[0, 1, 4, 5] = np.nan
    y = traced(rung.callable, x, w, bias)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 0, 3, 3], [0, 1, 3, 3]]


class Collecting(TracedGpu):
    """Runs nothing."""

    def launch(self, kernel, grid, block, *args, shared=0):
        self.traces.append((kernel, args))


@pytest.mark.parametrize("filters", [4, 128])
def test_kernels_compile_without_float64_spills_or_local_memory(filters):
    """At the sizes of the narrow and of the wide tile; a total in local memory would be a hundred times as
    far away as one in a register."""

    machine = Collecting()
    x, w, bias = arrays((2, filters, 5, 6), (filters, filters, 3, 3))
    g = np.ones((2, filters, 5, 6), np.float32)
    for rung in FORWARD:
        rung(x, w, bias, 1, 1, machine=machine)
    for rung in BACKWARD:
        rung(g, x, w, 1, 1, machine=machine)
    ours = {
        id(kernel): (kernel, args) for kernel, args in machine.traces if "conv2d" in kernel.py_func.__name__
    }
    assert len(ours) == 8
    for kernel, args in ours.values():
        for cc in ((7, 5), (8, 0), (9, 0)):
            ptx = compile_kernel(kernel, *args, cc=cc)
            counts = ptx.counts()
            assert counts["f64"] == counts["ld.local"] == 0, ptx.kernel
            assert ptx.spills in (0, None), ptx.kernel
            assert ptx.registers is None or ptx.registers < 200, ptx.kernel


def test_sixteen_bytes_of_weights_at_a_time_where_they_are_aligned():
    x, w, bias = arrays((1, 4, 3, 3), (2, 4, 3, 3))
    for weights, aligned in ((w, True), (w[:, :1], False)):
        machine = Collecting()
        gpu.conv2d_cuda(x[:, : weights.shape[1]], weights, bias, machine=machine)
        ((_, args),) = machine.traces
        assert args[4] is aligned


def test_what_is_in_gpu_memory_stays_there():
    x, w, bias = arrays((2, 2, 4, 5), (3, 2, 3, 3))
    expected = by_hand(x, w, bias, 2, 1)
    g = np.random.default_rng(1).standard_normal(expected.shape).astype(np.float32)
    with pretended_gpu() as machine:
        there = [GPU.upload(array) for array in (x, w, bias)]
        out, copies = GPU.empty(expected.shape, np.float32), machine.copies
        results = [rung(*there, 2, 1) for rung in FORWARD] + [rung(*there, 2, 1, out=out) for rung in FORWARD]
        assert results[-1] is out
        gradients = [rung(GPU.upload(g), *there[:2], 2, 1) for rung in BACKWARD]
        assert machine.copies == copies + len(BACKWARD)
        for y in results:
            np.testing.assert_allclose(GPU.download(y), expected, **CLOSE[np.float32])
        for found in gradients:
            for got, want in zip(found, gradients_by_hand(g, x, w, 2, 1), strict=True):
                np.testing.assert_allclose(GPU.download(got), want, **CLOSE[np.float32])


def test_arrays_too_large_for_int32_take_the_direct_kernel(monkeypatch, traced):
    monkeypatch.setattr(gpu, "MOST", 150)
    g, x, w = backward_arrays((1, 2, 4, 5), (3, 2, 3, 3), 1, 0)
    y = traced(gpu.conv2d_cuda, x, w)
    assert traced.traces[0].kernel == "conv2d_direct_kernel"
    np.testing.assert_allclose(y, by_hand(x, w, None, 1, 0), **CLOSE[np.float32])
    traced(gpu.conv2d_backward_cuda, g, x, w)
    assert [trace.kernel for trace in traced.traces][:2] == [
        "conv2d_backward_input_direct_kernel",
        "conv2d_backward_weight_direct_kernel",
    ]


X, W = np.ones((1, 2, 4, 6), np.float32), np.ones((3, 2, 3, 3), np.float32)
Y = np.ones((1, 3, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: conv.conv2d_cuda(X, W, rung="fast"), ValueError, "rung must be one of direct, im2col"),
        (lambda: conv.conv2d_backward_cuda(Y, X, W, rung="im2col"), ValueError, "one of direct, implicit"),
        (lambda: conv.conv2d_cuda(X, W[:, :1]), ValueError, "same number of channels"),
        (lambda: conv.conv2d_cuda(X, W, np.ones(2, np.float32)), ValueError, r"bias must have shape \(3,\)"),
        (lambda: conv.conv2d_cuda(X, W, stride=0), ValueError, "stride must be at least 1"),
        (lambda: conv.conv2d_backward_input_cuda(Y, W, (1, 2, 4, 7)), ValueError, "gradient must have"),
        (
            lambda: conv.conv2d_backward_input_cuda(Y, W, X.shape, bias=np.ones(3, np.float32)),
            ValueError,
            r"bias must be float32 of shape \(2,\), got float32 of shape \(3,\)",
        ),
        (lambda: conv.conv2d_backward_weight_cuda(Y, X.astype("f8"), W.shape), TypeError, "same dtype"),
        (lambda: conv.conv2d_backward_bias_cuda(Y[0]), ValueError, "gradient must have 4 dimensions"),
        (
            lambda: conv.conv2d_cuda(np.ones((1, 1, 1, 1), "f4"), np.ones((2_100_000, 1, 1, 1), "f4")),
            ValueError,
            "filters must be at most 2097120 on the GPU",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
def test_without_a_gpu_it_says_so():
    with pytest.raises(DeviceUnavailable, match="no CUDA GPU"):
        conv.conv2d_cuda(X, W)
