"""Every rung of the sliding average does what its specification says, on the CPU and, traced, on the GPU."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba import njit, types

from minidl.hardware.device import Device, DeviceUnavailable
from minidl.instruments.tracer import TracedGpu
from minidl.kernels import compiling
from minidl.kernels import sliding_average as module
from minidl.kernels.sliding_average import (
    BLOCK,
    CHUNK,
    CUDA_KERNELS,
    LADDER,
    THREADS,
    TILE,
    WIDEST_DOUBLED,
    sliding_average,
    sliding_average_cuda,
    sliding_average_reference,
)

CPU = [rung.name for rung in LADDER.on("cpu")]
EXACT = [name for name in CPU if name != "cumulative sum"]  # that one is there to be wrong
FLOATS = [np.float32, np.float64]


def expected(a, window):
    """The definition in extended precision, one window after the other."""
    with np.errstate(all="ignore"):
        means = [np.longdouble(a[i : i + window]).sum() / window for i in range(len(a) - window + 1)]
    return np.array(means, a.dtype)


def values(n, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=n).astype(dtype)


def agree(got, want, a, ulps=8):
    """Same dtype, NaN and infinity in the same places, the rest within a few units of the largest value."""
    assert got.dtype == want.dtype and got.shape == want.shape
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    largest = np.abs(a[np.isfinite(a)]).max(initial=0)
    tiny = np.finfo(a.dtype).smallest_normal  # a value divided by the window may fall below it
    assert np.all(np.abs(got[finite] - want[finite]) <= ulps * np.finfo(a.dtype).eps * largest + tiny)


@st.composite
def problems(draw, dtype, special=False):
    """An array with a window from 1 to its length."""
    elements = st.floats(-(2.0**99), 2.0**99, width=np.dtype(dtype).itemsize * 8)
    if special:
        elements |= st.sampled_from([np.nan, np.inf, -np.inf])
    a = draw(arrays(dtype, st.integers(1, 60), elements=elements))
    return a, draw(st.integers(1, a.size))


# -- on the CPU --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_values_in_any_window(name, dtype):
    @given(problems(dtype))
    @settings(max_examples=60, deadline=None)
    def check(problem):
        a, window = problem
        agree(LADDER[name](a, window), expected(a, window), a)

    check()


@pytest.mark.parametrize("name", EXACT)
def test_nan_and_infinity_touch_only_the_windows_that_hold_them(name):
    @given(problems(np.float32, special=True))
    @settings(max_examples=60, deadline=None)
    def check(problem):
        a, window = problem
        agree(LADDER[name](a, window), expected(a, window), a)

    check()


@given(n=st.integers(1, 3 * CHUNK), share=st.floats(0, 1), wide=st.booleans(), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_best_rung_at_any_size(n, share, wide, seed):
    window = max(1, int(share * (n if wide else min(n, 300))))
    a = values(n, seed=seed)
    running = np.concatenate([[0], np.cumsum(a, dtype=np.longdouble)])
    agree(sliding_average(a, window), ((running[window:] - running[:-window]) / window).astype(a.dtype), a)


EDGES = [
    (TILE, 2),
    (TILE + 1, 2),
    (CHUNK + 99, 100),
    (CHUNK + 100, 100),
    (2 * CHUNK + TILE, 7),
    (WIDEST_DOUBLED, WIDEST_DOUBLED),
    (WIDEST_DOUBLED + 1, WIDEST_DOUBLED + 1),
    (4 * BLOCK, WIDEST_DOUBLED + 1),
    (5 * BLOCK, 3 * BLOCK),
    (5 * BLOCK + 1, 3 * BLOCK),
    (6 * BLOCK - 1, 3 * BLOCK - 1),
]


@pytest.mark.parametrize(("n", "window"), EDGES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_at_the_edges_of_tiles_chunks_and_blocks(n, window, dtype):
    a = values(n, dtype)
    agree(
        sliding_average(a, window), expected(a, window) if n < 9999 else LADDER["numba naive"](a, window), a
    )


@pytest.mark.parametrize("window", [1, 2, 100, WIDEST_DOUBLED, WIDEST_DOUBLED + 1, 3 * BLOCK])
def test_nan_and_infinity_stay_where_they_are_in_wide_windows_too(window):
    a = values(6 * BLOCK)
    a[[700, 3000]], a[[701, 5000]] = np.nan, (np.inf, -np.inf)
    agree(sliding_average(a, window), LADDER["numba naive"](a, window), a)


@pytest.mark.parametrize("window", [2, 3, 100, WIDEST_DOUBLED + 1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_numbers_do_not_overflow(window, dtype):
    largest = np.finfo(dtype).max * dtype(0.99)
    np.testing.assert_allclose(sliding_average(np.full(3000, largest), window), largest, rtol=1e-6)


@pytest.mark.parametrize("name", CPU)
def test_gaps_odd_addresses_and_read_only_arrays(name):
    a = values(200)
    want = LADDER[name](a, 9)
    spread, locked = np.zeros(600, np.float32), a.copy()
    spread[::3], locked.flags.writeable = a, False
    unaligned = np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(np.float32)
    assert not unaligned.flags.aligned
    for same in (spread[::3], a[::-1].copy()[::-1], locked, unaligned):
        np.testing.assert_array_equal(LADDER[name](same, 9), want)


@pytest.mark.parametrize("name", CPU)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_result_is_written_into_out(name, dtype):
    a = values(100, dtype)
    want = LADDER[name](a, 5)
    for out in (np.zeros(96, dtype), np.zeros(192, dtype)[::2], np.zeros(96, dtype)[::-1]):
        assert LADDER[name](a, 5, out=out) is out
        np.testing.assert_array_equal(out, want)


def test_lists_of_floats_are_float64():
    assert sliding_average([1.0, 2.0, 6.0], 3).tolist() == [3.0]
    assert sliding_average([1.0, 2.0, 6.0], 3).dtype == np.float64


def test_ten_million_values():
    a = np.random.default_rng(0).random(10_000_000, dtype=np.float32)
    running = np.concatenate([[0], np.cumsum(a, dtype=np.longdouble)])
    out = np.empty_like(a)
    for window in (1, 2, 16, 255, 256, 2048, 5000, 5_000_000, 10_000_000):
        got = sliding_average(a, window, out=out[: a.size - window + 1])
        assert np.abs(got - (running[window:] - running[:-window]) / window).max() <= 1e-6
    # The cumulative sum is as wrong as its docstring says, and a NaN in it stays.
    got = LADDER["cumulative sum"](a, 2)
    error = np.abs(got - (running[2:] - running[:-2]) / 2).max()
    assert 0.2 < error <= 0.5
    a[100] = np.nan
    assert np.isnan(LADDER["cumulative sum"](a, 2)[99:]).all()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the instructions of x86-64")
def test_the_inner_loop_is_compiled_to_vector_instructions():
    options = {key: value for key, value in compiling.SERIAL.items() if key != "cache"}
    row = types.float32[::1]
    pair = njit((row, types.uint64, types.float32, row), **options)(module._pair.py_func)
    (assembly,) = pair.inspect_asm().values()
    assert "mulps" in assembly and "mulss" in assembly  # packed, and single for what is left over


# -- on the GPU, thread by thread --------------------------------------------------------------------------

LAUNCHES = [
    (1, 1),
    (5, 5),
    (300, 1),
    (300, 2),
    (THREADS, 13),
    (THREADS + 12, 13),
    (600, 100),
    (520, THREADS + 1),
]
PIECES = [(700, THREADS + 2), (1100, 1000), (900, 900)]


@pytest.mark.parametrize("rung", CUDA_KERNELS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_traced_kernels_give_the_specified_values(rung, dtype, traced):
    for n, window in LAUNCHES + PIECES[: 3 if dtype is np.float32 else 1]:
        a = values(n, dtype)
        got = traced(sliding_average_cuda, a, window, rung=rung)
        agree(got, expected(a, window), a, ulps=8 + window / 8)


@pytest.mark.parametrize("rung", CUDA_KERNELS)
def test_traced_kernels_with_any_values(rung):
    @given(problems(np.float32, special=True))
    @settings(max_examples=25, deadline=None)
    def check(problem):
        a, window = problem
        with np.errstate(all="ignore"):
            got = sliding_average_cuda(a, window, machine=TracedGpu(), rung=rung)
        agree(got, expected(a, window), a, ulps=8 + window / 8)

    check()


@pytest.mark.parametrize("rung", CUDA_KERNELS)
def test_the_order_of_the_threads_does_not_matter(rung):
    a = values(THREADS + 70)
    straight = sliding_average_cuda(a, 21, machine=TracedGpu(), rung=rung)
    for seed in range(3):
        machine = TracedGpu(schedule="adversarial", seed=seed)
        np.testing.assert_array_equal(sliding_average_cuda(a, 21, machine=machine, rung=rung), straight)
        assert not machine.traces[0].findings


@pytest.mark.parametrize("rung", ["shared", "doubling"])
@pytest.mark.parametrize("window", [1, 2, 100, THREADS, THREADS + 1])
def test_two_global_reads_per_thread_are_enough(rung, window, traced):
    traced(sliding_average_cuda, values(2 * THREADS + window), window, rung=rung)
    counts = traced.traces[0].counts()
    assert counts["global_reads"].max_per_thread <= 2
    assert counts["global_writes"].max_per_thread == 1


@pytest.mark.parametrize("rung", CUDA_KERNELS)
@pytest.mark.parametrize(("n", "window"), LAUNCHES + PIECES)
def test_the_account_of_bytes_and_flops_is_what_the_tracer_counts(rung, n, window, traced):
    traced(sliding_average_cuda, values(n), window, rung=rung)
    account = LADDER[f"cuda {rung}"]
    assert account.bytes(n, window) == sum(trace.bytes for trace in traced.traces)
    assert account.flops(n, window) == sum(trace.flops for trace in traced.traces)


@pytest.mark.parametrize("rung", CUDA_KERNELS)
def test_kernels_compile_without_float64(rung, compiled):
    ptx = compiled(sliding_average_cuda, values(2000), 1000, rung=rung)
    assert {kernel.cc for kernel in ptx} == {(7, 5), (9, 0)}
    assert {kernel.kernel for kernel in ptx} >= {CUDA_KERNELS[rung].py_func.__name__}


@pytest.mark.parametrize("rung", CUDA_KERNELS)
def test_traced_out(rung, traced):
    a = values(50)
    for out in (np.zeros(46, np.float32), np.zeros(92, np.float32)[::2]):
        assert traced(sliding_average_cuda, a, 5, out=out, rung=rung) is out
        agree(out, expected(a, 5), a)


SIMULATED = """
import sys
import numpy as np
from minidl.kernels.sliding_average import CUDA_KERNELS, sliding_average_cuda
results = {}
for name, n, window in (("narrow", 300, 7), ("pieces", 300, 270)):
    a = np.random.default_rng(0).normal(size=n).astype(np.float32)
    for rung in CUDA_KERNELS:
        results[f"{name} {rung}"] = sliding_average_cuda(a, window, rung=rung)
np.savez(sys.argv[1], **results)
"""


def test_tracer_and_simulator_agree(tmp_path):
    file = tmp_path / "simulated.npz"
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    subprocess.run([sys.executable, "-c", SIMULATED, str(file)], env=environment, check=True, timeout=120)
    simulated = np.load(file)
    for name, n, window in (("narrow", 300, 7), ("pieces", 300, 270)):
        for rung in CUDA_KERNELS:
            traced = sliding_average_cuda(values(n), window, machine=TracedGpu(), rung=rung)
            np.testing.assert_allclose(simulated[f"{name} {rung}"], traced, rtol=0, atol=3e-7)


@pytest.mark.gpu
@pytest.mark.skipif(not Device("cuda").available, reason="no CUDA GPU on this machine")
@pytest.mark.parametrize("rung", CUDA_KERNELS)
def test_on_a_gpu(rung):
    for n, window in LAUNCHES + PIECES + [(100_000, 3)]:
        a = values(n)
        agree(sliding_average_cuda(a, window, rung=rung), sliding_average_reference(a, window), a, 8 + window)


# -- what goes wrong ---------------------------------------------------------------------------------------

A = np.ones(10, np.float32)
LOCKED = np.zeros(8, np.float32)
LOCKED.flags.writeable = False
BAD = [
    ("window 0", A, 0, None, ValueError, "window must be from 1 to a.size = 10, got 0"),
    ("negative window", A, -3, None, ValueError, "window must be from 1 to a.size = 10, got -3"),
    ("window larger than n", A, 11, None, ValueError, "window must be from 1 to a.size = 10, got 11"),
    ("window of no integer", A, 2.0, None, TypeError, "window must be an integer, got 2.0"),
    ("window True", A, True, None, TypeError, "window must be an integer, got True"),
    ("window None", A, None, None, TypeError, "window must be an integer, got None"),
    (
        "two dimensions",
        np.ones((2, 5), np.float32),
        2,
        None,
        ValueError,
        r"a must have 1 dimension, .*\(2, 5\)",
    ),
    ("no dimension", np.float32(1), 1, None, ValueError, "a must have 1 dimension"),
    ("empty", A[:0], 1, None, ValueError, "a must not be empty"),
    ("integers", np.arange(10), 2, None, TypeError, "a must hold float32 or float64, got int64"),
    ("objects", np.array([1.0, None] * 5), 2, None, TypeError, "a must hold float32 or float64, got object"),
    ("float16", A.astype(np.float16), 2, None, TypeError, "got float16"),
    ("complex", A.astype(complex), 2, None, TypeError, "got complex128"),
    ("text", "sliding", 2, None, TypeError, "a must hold float32 or float64"),
    ("ragged", [[1.0], [1.0, 2.0]], 1, None, ValueError, "a must be an array of numbers"),
    ("nothing", None, 1, None, TypeError, "a must hold float32 or float64"),
    ("out too long", A, 3, np.zeros(10, np.float32), ValueError, r"out must have shape \(8,\), got \(10,\)"),
    ("out in two dimensions", A, 3, np.zeros((8, 1), np.float32), ValueError, r"got \(8, 1\)"),
    ("out in float64", A, 3, np.zeros(8), TypeError, "out must have dtype float32, got float64"),
    ("out a list", A, 3, [0.0] * 8, TypeError, "out must be a NumPy array, got list"),
    ("out read-only", A, 3, LOCKED, ValueError, "out must be writable"),
    ("out is a", A, 1, A, ValueError, "out must not share memory with a"),
    ("out within a", A, 3, A[2:], ValueError, "out must not share memory with a"),
]


@pytest.mark.parametrize(
    ("a", "window", "out", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
@pytest.mark.parametrize("name", LADDER.names)
def test_bad_input_is_named_and_nothing_is_written(name, a, window, out, error, message):
    before = None if out is None else np.array(out)
    with pytest.raises(error, match=message):
        LADDER[name](a, window, out=out)
    if out is not None:
        np.testing.assert_array_equal(out, before)


@pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
@pytest.mark.parametrize("rung", CUDA_KERNELS)
def test_no_gpu_says_what_to_do(rung):
    out = np.zeros(8, np.float32)
    with pytest.raises(DeviceUnavailable, match="Change runtime type"):
        sliding_average_cuda(A, 3, out=out, rung=rung)
    assert not out.any()


def test_unknown_cuda_rungs_are_named():
    with pytest.raises(ValueError, match="rung must be one of naive, shared, doubling, got 'fast'"):
        sliding_average_cuda(A, 3, rung="fast")


@pytest.mark.parametrize("name", CPU)
def test_an_array_on_the_gpu_is_sent_to_the_gpu_rungs(name):
    class OnGpu:
        __cuda_array_interface__ = None

    with pytest.raises(TypeError, match="a is in GPU memory: use sliding_average_cuda"):
        LADDER[name](OnGpu(), 3)
    with pytest.raises(TypeError, match="out is in GPU memory: use sliding_average_cuda"):
        LADDER[name](A, 3, out=OnGpu())


# -- the ladder --------------------------------------------------------------------------------------------


def test_the_ladder_tells_its_story():
    assert CPU == ["reference", "python loops", "cumulative sum", "numba naive", "numba doubling"]
    assert [rung.name for rung in LADDER.on("cuda")] == ["cuda naive", "cuda shared", "cuda doubling"]
    assert all(rung.kernel for rung in LADDER.on("cuda"))
    assert LADDER["numba doubling"].callable is sliding_average
    for rung in LADDER:
        assert rung.lesson.endswith(".")
        for window in (1, 2, 255, 3000):
            assert rung.bytes(10_000, window) >= 4 * (10_000 + 10_001 - window)
            assert rung.bytes(10_000, window, itemsize=8) > rung.bytes(10_000, window)
            assert rung.flops(10_000, window) >= 0
    a, window = LADDER.example(1000)
    assert LADDER.shape(a, window) == (1000, 16)
