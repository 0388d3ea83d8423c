"""Every rung of the matmul ladder against NumPy in float64, and what it does with bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.hardware.cuda import cuda
from minidl.hardware.device import DeviceUnavailable
from minidl.kernels import matmul as mm
from minidl.kernels.matmul import packed
from minidl.kernels.matmul.cpu import TILE_WIDTH
from minidl.kernels.matmul.matvec import batch_matvec_blas
from minidl.kernels.matmul.packed import DEPTH, HEIGHT
from minidl.kernels.registers import ROWS, tile_width

CPU = [rung.name for rung in mm.LADDER.on("cpu")]
FAST = [name for name in CPU if name != "python loops"]
WIDTH = tile_width(4)


def random(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_product(c, a, b):
    """The product, to within what k float32 (float64) additions may lose."""
    exact = np.einsum("...ik,...kj->...ij", a, b, dtype=np.float64, casting="same_kind")
    scale = np.einsum("...ik,...kj->...ij", abs(a), abs(b), dtype=np.float64, casting="same_kind")
    assert c.dtype == a.dtype and c.shape == exact.shape
    tolerance = 2 * a.shape[-1] * np.finfo(a.dtype).eps
    assert np.all(abs(c - exact) <= tolerance * scale)


# ------------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize("name", CPU)
def test_small_integers_come_out_exactly(name):
    a, b = np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(20, dtype=np.float32).reshape(4, 5)
    expected = [[70, 76, 82, 88, 94], [190, 212, 234, 256, 278], [310, 348, 386, 424, 462]]
    assert mm.LADDER[name](a, b).tolist() == expected


@pytest.mark.parametrize("name", CPU)
@settings(max_examples=25, deadline=None)
@given(
    m=st.integers(1, 30),
    k=st.integers(1, 30),
    n=st.integers(1, 30),
    dtype=st.sampled_from([np.float32, np.float64]),
    view=st.sampled_from(["plain", "transposed", "strided", "reversed", "read-only"]),
    seed=st.integers(0, 999),
)
def test_any_shape_and_memory_layout(name, m, k, n, dtype, view, seed):
    a, b = random(m, k, dtype=dtype, seed=seed), random(k, n, dtype=dtype, seed=seed + 1)
    if view == "transposed":
        a, b = np.asfortranarray(a), np.asfortranarray(b)
    elif view == "strided":
        a, b = random(2 * m, 3 * k, dtype=dtype)[::2, ::3], random(k, 2 * n, dtype=dtype)[:, 1::2]
    elif view == "reversed":
        a, b = a[::-1, ::-1], b[::-1]
    elif view == "read-only":
        a.flags.writeable = b.flags.writeable = False
    before = a.copy(), b.copy()
    assert_product(mm.LADDER[name](a, b), a, b)
    assert np.array_equal(a, before[0]) and np.array_equal(b, before[1])


EDGES = [
    (1, 1, 1),
    (1, 300, 1),
    (HEIGHT, 64, 256),
    (HEIGHT + 1, 65, 257),
    (2 * HEIGHT + 5, 63, 255),
    (ROWS, DEPTH, WIDTH),
    (ROWS + 1, DEPTH + 1, WIDTH + 1),
    (2 * ROWS - 1, 2 * DEPTH - 1, 2 * WIDTH - 1),
    (385, 129, TILE_WIDTH + 3),
    (7, 1000, 530),
]


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("shape", EDGES)
def test_around_the_edges_of_tiles(name, shape):
    m, k, n = shape
    a, b = random(m, k), random(k, n, seed=1)
    assert_product(mm.LADDER[name](a, b), a, b)


@pytest.mark.parametrize("name", CPU)
def test_a_nan_or_infinity_touches_its_row_or_column_only(name):
    a, b = random(13, 11), random(11, 19, seed=1)
    a[3, 4], b[10, 7], a[8, 0] = np.nan, np.nan, np.inf
    c = mm.LADDER[name](a, b)
    expected = np.isnan(np.full((13, 19), False))
    expected[3], expected[:, 7] = True, True
    assert np.array_equal(np.isnan(c), expected)
    assert np.array_equal(np.isinf(c), (np.arange(13) == 8)[:, None] & ~expected)
    assert np.all(np.sign(c[8, :7]) == np.sign(b[0, :7]))


@pytest.mark.parametrize("name", CPU)
def test_infinity_minus_infinity_and_overflow_give_no_warning(name):
    a, b = np.float32([[np.inf, 1], [3e38, 3e38]]), np.float32([[1, 1], [-np.inf, 1]])
    c = mm.LADDER[name](a, b)
    assert np.isnan(c[0, 0]) and c[0, 1] == np.inf and c[1, 0] == -np.inf and c[1, 1] == np.inf


@pytest.mark.parametrize("name", FAST)
def test_zeros_that_fill_up_a_tile_meet_no_infinity(name):
    """A tile of 8 products is filled up with zeros; 0·inf would be NaN."""
    a, b = np.full((4, 3), np.inf, np.float32), np.full((3, 5), 2, np.float32)
    for _ in range(2):  # scratch memory may hold what a call before left there
        assert np.array_equal(mm.LADDER[name](a, b), np.full((4, 5), np.inf, np.float32))


def test_python_lists_of_floats_are_taken_as_float64():
    assert mm.matmul([[1.0, 2.0]], [[3.0], [4.0]]).dtype == np.float64


# -------------------------------------------------------------------------------------- batches and out

BATCHES = [
    ((4, 3, 5), (5, 2)),
    ((3, 5), (4, 5, 2)),
    ((4, 3, 5), (4, 5, 2)),
    ((2, 1, 3, 5), (1, 3, 5, 2)),
    ((2, 1, 1, 3, 5), (3, 5, 2)),
    ((1, 3, 5), (5, 2)),
]


@pytest.mark.parametrize("name", CPU)
@pytest.mark.parametrize(("left", "right"), BATCHES)
def test_leading_dimensions_are_broadcast(name, left, right):
    a, b = random(*left), random(*right, seed=1)
    assert_product(mm.LADDER[name](a, b), a, b)


@pytest.mark.parametrize("name", CPU)
def test_out_receives_the_result_whatever_its_layout(name):
    a, b = random(2, 5, 6), random(6, 7, seed=1)
    for out in (
        np.full((2, 5, 7), 9, np.float32),
        np.full((2, 7, 5), 9, np.float32).transpose(0, 2, 1),
        np.full((4, 10, 14), 9, np.float32)[::2, ::2, ::2],
    ):
        assert mm.LADDER[name](a, b, out=out) is out
        assert_product(out, a, b)


# --------------------------------------------------------------------------------------------- bad input

BAD = [
    ("integers", (np.ones((2, 2), int), np.ones((2, 2), np.float32)), TypeError, "a must hold float32"),
    ("half", (np.ones((2, 2), np.float32), np.ones((2, 2), np.float16)), TypeError, "b must hold"),
    ("objects", (np.ones((2, 2), object), np.ones((2, 2))), TypeError, "a must hold"),
    ("complex", (np.ones((2, 2), complex), np.ones((2, 2))), TypeError, "a must hold"),
    ("None", (None, np.ones((2, 2))), TypeError, "a must hold"),
    ("ragged", ([[1.0], [1.0, 2.0]], np.ones((2, 2))), ValueError, "a must be an array of numbers"),
    ("mixed", (np.ones((2, 2), np.float32), np.ones((2, 2))), TypeError, "float32 and float64"),
    ("1-D", (np.ones(2), np.ones((2, 2))), ValueError, r"a must have at least 2 dimensions, .*\(2,\)"),
    ("scalar", (np.ones((2, 2)), np.float64(3)), ValueError, "b must have at least 2 dimensions"),
    ("empty", (np.ones((2, 0)), np.ones((0, 2))), ValueError, r"a must not be empty, got shape \(2, 0\)"),
    ("inner", (np.ones((2, 3)), np.ones((4, 5))), ValueError, r"\(2, 3\) and \(4, 5\)"),
    ("batch", (np.ones((2, 3, 4)), np.ones((3, 4, 5))), ValueError, r"\(2, 3, 4\) and \(3, 4, 5\)"),
]  # fmt: skip


@pytest.mark.parametrize("name", mm.LADDER.names)
@pytest.mark.parametrize(("case", "arguments", "error", "message"), BAD, ids=[row[0] for row in BAD])
def test_bad_input_is_named(name, case, arguments, error, message):
    with pytest.raises(error, match=message):
        mm.LADDER[name](*arguments)


@pytest.mark.parametrize("name", mm.LADDER.names)
def test_out_is_checked_like_an_input(name):
    a, b = random(4, 4), random(4, 4, seed=1)
    locked = np.empty((4, 4), np.float32)
    locked.flags.writeable = False
    for out, error, message in (
        (np.empty((4, 5), np.float32), ValueError, r"out must have shape \(4, 4\), got \(4, 5\)"),
        (np.empty((4, 4)), TypeError, "out must have dtype float32"),
        ([[0.0] * 4] * 4, TypeError, "out must be a NumPy array"),
        (locked, ValueError, "out must be writable"),
        (a, ValueError, "out must not share memory with a"),
        (b.T, ValueError, "out must not share memory with b"),
    ):
        before = a.copy(), b.copy()
        with pytest.raises(error, match=message):
            mm.LADDER[name](a, b, out=out)
        assert np.array_equal(a, before[0]) and np.array_equal(b, before[1])


class FakeGpuArray:
    """What an array in GPU memory looks like from outside."""

    dtype, shape, ndim, size = np.dtype(np.float32), (2, 2), 2, 4
    __cuda_array_interface__ = {"shape": (2, 2), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012


@pytest.mark.parametrize("name", CPU)
def test_a_cpu_rung_sends_gpu_arrays_to_the_gpu(name):
    with pytest.raises(TypeError, match="b is in GPU memory: use matmul_cuda"):
        mm.LADDER[name](random(2, 2), FakeGpuArray())


# -------------------------------------------------------------------------------------------- on the GPU

CUDA = mm.LADDER.on("cuda")


@pytest.mark.parametrize("rung", CUDA, ids=lambda rung: rung.name)
@pytest.mark.parametrize("shape", [(5, 7, 3), (33, 9, 18), (6, 12, 20), (1, 1, 1)])
def test_every_rung_on_the_gpu(rung, shape, traced):
    m, k, n = shape
    a, b = random(m, k), random(k, n, seed=1)
    assert_product(traced(rung.callable, a, b), a, b)


@pytest.mark.parametrize("rung", CUDA[3:], ids=lambda rung: rung.name)
def test_more_than_one_tile_on_the_gpu(rung, traced):
    a, b = random(132, 4), random(4, 136, seed=1)
    assert_product(traced(rung.callable, a, b), a, b)


@pytest.mark.parametrize("rung", CUDA, ids=lambda rung: rung.name)
def test_gpu_rungs_compile_and_account_for_what_they_do(rung, compiled, traced):
    a, b = random(20, 12), random(12, 36, seed=1)
    assert {ptx.kernel for ptx in compiled(rung.callable, a, b)} == {rung.kernel.py_func.__name__}
    assert_product(traced(rung.callable, a, b), a, b)
    assert sum(trace.bytes for trace in traced.traces) == rung.bytes(20, 12, 36)
    assert sum(trace.flops for trace in traced.traces) == rung.flops(20, 12, 36)


def test_sixteen_byte_loads_reach_the_machine_code(compiled):
    for ptx in compiled(mm.matmul_cuda, random(8, 8), random(8, 8), rung="vector"):
        kinds = ("ld.global.v4", "ld.shared.v4", "st.shared.v4", "st.global.v4", "ld.global.f32")
        assert [ptx.text.count(kind) for kind in kinds] == [2, 4, 1, 16, 0]


def test_matrices_that_are_not_aligned_take_the_rung_below(traced):
    for a, b in ((random(4, 6), random(6, 8)), (random(4, 8), random(8, 6))):
        assert_product(traced(mm.matmul_cuda, a, b, rung="vector"), a, b)
        assert traced.traces[0].kernel == "matmul_register_2d_kernel"


def test_float64_batches_and_out_on_the_gpu(traced):
    a, b = random(2, 1, 5, 4, dtype=np.float64), random(2, 4, 8, dtype=np.float64, seed=1)
    out = np.empty((2, 2, 5, 8))
    assert traced(mm.matmul_cuda, a, b, out=out) is out
    assert_product(out, a, b)
    assert len(traced.traces) == 4


def test_a_nan_on_the_gpu_touches_its_row_only(traced):
    for rung in CUDA:
        a, b = random(6, 12), random(12, 8, seed=1)
        a[2, 11] = np.nan
        assert np.array_equal(np.isnan(traced(rung.callable, a, b)).all(axis=1), np.arange(6) == 2)


def test_what_the_gpu_cannot_do_is_said():
    with pytest.raises(ValueError, match="rung must be one of naive, coalesced"):
        mm.matmul_cuda(random(2, 2), random(2, 2), rung="fastest")
    with pytest.raises(ValueError, match=r"takes 75000 blocks .* CUDA allows 65535"):
        mm.matmul_cuda(random(600_000, 1), random(1, 1), rung="coalesced")
    if not cuda.is_available():
        with pytest.raises(DeviceUnavailable, match="no CUDA GPU"):
            mm.matmul_cuda(random(2, 2), random(2, 2))


# ----------------------------------------------------------------------------------- the matrix-vector case


@pytest.mark.parametrize("rung", mm.MATVEC_LADDER.on("cpu"), ids=lambda rung: rung.name)
@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 6),
    m=st.integers(1, 20),
    k=st.integers(1, 70),
    dtype=st.sampled_from([np.float32, np.float64]),
    strided=st.booleans(),
)
def test_batch_matvec(rung, batch, m, k, dtype, strided):
    a, x = random(batch, m, k, dtype=dtype), random(batch, k, dtype=dtype, seed=1)
    if strided:
        a, x = random(batch, k, m, dtype=dtype).transpose(0, 2, 1), random(batch, 2 * k, dtype=dtype)[:, ::2]
    assert_product(rung(a, x)[..., None], a, x[..., None])


def test_batch_matvec_bad_input():
    for rung in mm.MATVEC_LADDER:
        with pytest.raises(ValueError, match=r"got \(2, 3, 4\) and \(2, 3\)"):
            rung(random(2, 3, 4), random(2, 3))
        with pytest.raises(ValueError, match=r"a must have 3 dimensions, got shape \(3, 4\)"):
            rung(random(3, 4), random(2, 4))
        with pytest.raises(TypeError, match="same dtype"):
            rung(random(2, 3, 4), random(2, 4, dtype=np.float64))
        with pytest.raises(ValueError, match="out must have shape"):
            rung(random(2, 3, 4), random(2, 4), out=np.empty((2, 4), np.float32))


def test_batch_matvec_nan_and_out():
    a, x = random(3, 5, 33), random(3, 33, seed=1)
    a[1, 2, 32] = np.nan
    out = np.empty((5, 3), np.float32).T
    assert mm.batch_matvec(a, x, out=out) is out
    assert np.argwhere(np.isnan(out)).tolist() == [[1, 2]]
    assert np.allclose(out, batch_matvec_blas(a, x), rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("rung", mm.MATVEC_LADDER.on("cuda"), ids=lambda rung: rung.name)
def test_batch_matvec_on_the_gpu(rung, compiled, traced):
    a, x = random(3, 5, 37), random(3, 37, seed=1)
    assert {ptx.kernel for ptx in compiled(rung.callable, a, x)} == {rung.kernel.py_func.__name__}
    assert_product(traced(rung.callable, a, x)[..., None], a, x[..., None])
    assert traced.traces[0].bytes == rung.bytes(3, 5, 37)
    assert traced.traces[0].flops == rung.flops(3, 5, 37)


# ------------------------------------------------------------------------------------------- the ladder


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_b_is_packed_slab_by_slab(dtype, monkeypatch):
    monkeypatch.setattr(packed, "SLAB", 20_000)
    a, b = random(20, 70, dtype=dtype), random(70, 333, dtype=dtype, seed=1)
    assert_product(packed.matmul_packed(a, b), a, b)


@pytest.mark.parametrize("ladder", [mm.LADDER, mm.MATVEC_LADDER], ids=lambda ladder: ladder.name)
def test_rungs_declare_what_they_do(ladder):
    shape = ladder.shape(*ladder.example(10_000))
    for rung in ladder:
        assert rung.lesson.endswith(".")
        assert rung.bytes(*shape) > 0 and rung.flops(*shape) >= ladder.reference.flops(*shape)
        assert rung.bytes(*shape, itemsize=8) > rung.bytes(*shape)
    assert ladder.example(10_000)[0].size in range(5_000, 10_001)


def test_shape_of_the_work():
    assert mm.LADDER.shape(random(4, 3, 5), random(5, 2)) == (3, 5, 2, 4)
    assert mm.LADDER["blas"].flops(3, 5, 2) == 60
    assert mm.LADDER["blas"].bytes(3, 5, 2) == 4 * (15 + 10 + 6)
    assert [rung.name for rung in mm.LADDER if rung.pure_numba] == CPU[2:-1]
