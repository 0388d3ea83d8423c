"""Sectors and banks, against counts by hand and by brute force; races, against every pair of accesses."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import float32, float64, int8

from minidl.hardware.cuda import cuda
from minidl.instruments.tracer import trace

SMALL = 1024
LARGE = 4096
ROWS = (32, 32)
PADDED = (32, 33)


@cuda.jit
def gather_kernel(out, a, index):
    i = cuda.grid(1)
    if i < index.size:
        out[i] = a[index[i]]


def requests(index, dtype=np.float32, cells=4096):
    """What warps ask of `a` when thread i reads a[index[i]]."""
    a = np.zeros(cells, dtype)
    index = np.asarray(index)
    traced = trace(gather_kernel, -(-len(index) // 64), 64, np.zeros(len(index), dtype), a, index)
    assert traced.errors == []
    return traced, [request for request in traced.warps() if request.array == "a"]


LANES = np.arange(32)


@pytest.mark.parametrize(
    ("index", "dtype", "sectors"),
    [
        (LANES, np.float32, 4),
        (LANES[::-1], np.float32, 4),
        (LANES + 1, np.float32, 5),
        (LANES + 8, np.float32, 4),
        (LANES * 0 + 7, np.float32, 1),
        (LANES * 2, np.float32, 8),
        (LANES * 8, np.float32, 32),
        (LANES * 100, np.float32, 32),
        (LANES // 2, np.float32, 2),
        (LANES, np.float64, 8),
        (LANES, np.complex128, 16),
        (LANES, np.int8, 1),
        (LANES, np.float16, 2),
        (LANES * 4, np.float64, 32),
        (LANES[:5], np.float32, 1),
    ],
)
def test_sectors(index, dtype, sectors):
    traced, (request,) = requests(index, dtype)
    assert (request.sectors, request.lanes, request.ways) == (sectors, len(index), 1)
    assert (request.block, request.warp, request.array, request.space, request.op) == (
        0,
        0,
        "a",
        "global",
        "read",
    )
    assert request.line == gather_kernel.py_func.__code__.co_firstlineno + 4
    assert request.wanted == len(np.unique(index)) * np.dtype(dtype).itemsize
    assert request.efficiency == request.wanted / (32 * sectors)
    uncoalesced = [finding for finding in traced.findings if finding.kind == "uncoalesced"]
    assert len(uncoalesced) == (sectors == 32)
    for finding in uncoalesced:
        assert (finding.array, finding.line, finding.is_error) == ("a", request.line, False)
        assert "1024 bytes move" in finding.message


def test_every_warp_of_every_block_has_its_own_requests():
    _, found = requests(np.arange(150))
    assert [(r.block, r.warp, r.lanes) for r in found] == [
        (0, 0, 32),
        (0, 1, 32),
        (1, 0, 32),
        (1, 1, 32),
        (2, 0, 22),
    ]


@given(
    st.lists(st.integers(0, 4095), min_size=1, max_size=32),
    st.sampled_from([np.int8, np.float32, np.float64]),
)
@settings(max_examples=30, deadline=None)
def test_sectors_by_brute_force(index, dtype):
    _, (request,) = requests(index, dtype)
    size = np.dtype(dtype).itemsize
    assert request.sectors == len({(i * size + byte) // 32 for i in index for byte in range(size)})


def test_an_array_starts_on_a_sector_whatever_its_address_and_strides_count():
    memory = np.zeros(200, np.float32)
    index = np.arange(32)
    for a, sectors in ((memory[1:], 4), (memory[::2], 8), (memory[31::-1], 4), (memory[5:], 4)):
        traced = trace(gather_kernel, 1, 32, np.zeros(32, np.float32), a, index)
        assert [request.sectors for request in traced.warps() if request.array == "a"] == [sectors]


@cuda.jit
def two_reads_kernel(out, a):
    i = cuda.threadIdx.x
    for _ in range(3):
        out[i] = a[i] + a[i * 2]


def test_two_accesses_on_a_line_are_two_requests_and_each_trip_is_its_own():
    traced = trace(two_reads_kernel, 1, 32, np.zeros(32, np.float32), np.zeros(64, np.float32))
    assert [(r.array, r.op, r.sectors) for r in traced.warps()] == [
        ("a", "read", 4),
        ("a", "read", 8),
        ("out", "write", 4),
    ] * 3


@cuda.jit
def ragged_kernel(out, a):
    """Lanes make different numbers of trips, within trips of an outer loop."""
    i = cuda.threadIdx.x
    for row in range(2):
        for k in range(i % 2 + 1):
            out[i] += a[row * 64 + k * 32 + i]


def test_lanes_meet_again_after_an_inner_loop():
    traced = trace(ragged_kernel, 1, 32, np.zeros(32, np.float32), np.zeros(128, np.float32))
    assert sorted(r.lanes for r in traced.warps() if r.array == "a") == [16, 16, 32, 32]


@cuda.jit(device=True)
def pick(a, i):
    return a[i]


@cuda.jit
def calls_kernel(out, a):
    i = cuda.threadIdx.x
    out[i] = pick(a, i) if i % 2 else pick(a, 2 * i)


def test_a_device_function_called_from_two_places_makes_two_requests():
    traced = trace(calls_kernel, 1, 32, np.zeros(32, np.float32), np.zeros(64, np.float32))
    assert [r.lanes for r in traced.warps() if r.array == "a"] == [16, 16]


def test_a_two_dimensional_block_is_cut_into_warps_along_x_first():
    @cuda.jit
    def kernel(out):
        x, y = cuda.grid(2)
        out[y, x] = 1

    traced = trace(kernel, 1, (16, 4), np.zeros((4, 16), np.float32))
    assert [(r.warp, r.lanes, r.sectors) for r in traced.warps()] == [(0, 32, 4), (1, 32, 4)]
    traced = trace(kernel, 1, (4, 16), np.zeros((16, 100), np.float32))
    assert [r.sectors for r in traced.warps()] == [8, 8]


# -- banks ---------------------------------------------------------------------------------------------------


def bank_kernel(dtype):
    @cuda.jit
    def kernel(out, index):
        s = cuda.shared.array(LARGE, dtype)
        t = cuda.threadIdx.x
        for k in range(t, LARGE, cuda.blockDim.x):
            s[k] = 1
        cuda.syncthreads()
        out[t] = s[index[t]]

    return kernel


KERNELS = {np.float32: bank_kernel(float32), np.float64: bank_kernel(float64), np.int8: bank_kernel(int8)}


def ways(index, dtype=np.float32):
    index = np.asarray(index)
    traced = trace(KERNELS[dtype], 1, len(index), np.zeros(len(index), dtype), index)
    assert traced.errors == []
    (request,) = [r for r in traced.warps() if r.space == "shared" and r.op == "read"]
    assert request.sectors == 0
    conflicts = [finding for finding in traced.findings if finding.kind == "bank-conflict"]
    assert len(conflicts) == (request.ways > 1)
    for finding in conflicts:
        assert f"{request.ways}-way" in finding.message and finding.array == "s"
    return request.ways


@pytest.mark.parametrize(
    ("index", "dtype", "expected"),
    [
        (LANES, np.float32, 1),
        (LANES * 0, np.float32, 1),
        (LANES % 2, np.float32, 1),
        (LANES * 2, np.float32, 2),
        (LANES * 32, np.float32, 32),
        (LANES * 33, np.float32, 1),
        (LANES * 3, np.float32, 1),
        (LANES * 16, np.float32, 16),
        (LANES[:7] * 32, np.float32, 7),
        (LANES % 4 * 32, np.float32, 4),
        (LANES, np.float64, 1),
        (LANES * 2, np.float64, 2),
        (LANES * 16, np.float64, 16),
        (LANES, np.int8, 1),
        (LANES * 4, np.int8, 1),
        (LANES * 128, np.int8, 32),
    ],
)
def test_ways(index, dtype, expected):
    assert ways(index, dtype) == expected


@given(st.lists(st.integers(0, 4095), min_size=1, max_size=32))
@settings(max_examples=30, deadline=None)
def test_ways_by_brute_force(index):
    words = set(index)
    assert ways(index) == max(sum(word % 32 == bank for word in words) for bank in range(32))


def transpose_kernel(shape):
    @cuda.jit
    def kernel(out, a):
        s = cuda.shared.array(shape, float32)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        s[y, x] = a[y, x]
        cuda.syncthreads()
        out[y, x] = s[x, y]

    return kernel


@pytest.mark.parametrize(("shape", "expected"), [(ROWS, 32), (PADDED, 1)])
def test_padding_ends_the_conflicts_of_a_transposition(shape, expected):
    a = np.arange(1024, dtype=np.float32).reshape(32, 32)
    out = np.zeros_like(a)
    traced = trace(transpose_kernel(shape), 1, (32, 32), out, a)
    np.testing.assert_array_equal(out, a.T)
    assert {r.ways for r in traced.warps() if r.array == "s" and r.op == "read"} == {expected}
    assert {finding.kind for finding in traced.findings} == ({"bank-conflict"} if expected > 1 else set())


def test_atomics_are_requests_too():
    @cuda.jit
    def kernel(bins):
        cuda.atomic.add(bins, cuda.threadIdx.x // 8, 1)

    (request,) = trace(kernel, 1, 32, np.zeros(4, np.int32)).warps()
    assert (request.op, request.lanes, request.sectors) == ("atomic", 32, 1)


# -- races, by brute force -----------------------------------------------------------------------------------

READ, WRITE, ATOMIC, BARRIER = range(4)


@cuda.jit
def script_kernel(memory, verbs, cells):
    """Every thread plays its own script of reads, writes, atomics and barriers."""
    i = cuda.grid(1)
    for k in range(verbs.shape[1]):
        verb, cell = verbs[i, k], cells[i, k]
        if verb == READ:
            memory[cell]
        elif verb == WRITE:
            memory[cell] = i
        elif verb == ATOMIC:
            cuda.atomic.add(memory, cell, 1)
        else:
            cuda.syncthreads()


def has_race(verbs, cells, block):
    """Every pair of accesses, one by one."""
    epochs = np.cumsum(verbs == BARRIER, axis=1)
    accesses = [(i, k) for i, k in np.ndindex(verbs.shape) if verbs[i, k] != BARRIER]
    for (i, k), (j, m) in itertools.combinations(accesses, 2):
        kinds = {int(verbs[i, k]), int(verbs[j, m])}
        if i == j or cells[i, k] != cells[j, m] or kinds in ({READ}, {ATOMIC}):
            continue
        if i // block != j // block or epochs[i, k] == epochs[j, m]:
            return True
    return False


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3), st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_races_by_brute_force(seed, block, grid, size):
    rng = np.random.default_rng(seed)
    steps = 6
    verbs = rng.choice([READ, WRITE, ATOMIC], (grid * block, steps), p=[0.5, 0.2, 0.3])
    verbs[:, rng.random(steps) < 0.4] = BARRIER
    cells = rng.integers(0, size, (grid * block, steps))
    memory = np.zeros(size, np.int64)
    races = [f for f in trace(script_kernel, grid, block, memory, verbs, cells).findings if f.kind == "race"]
    assert bool(races) == has_race(verbs, cells, block)
    for race in races:
        assert race.array == "memory" and 0 <= race.index < size


@given(st.integers(0, 10**6), st.integers(0, 7))
@settings(max_examples=20, deadline=None)
def test_judgement_does_not_depend_on_the_order(seed, order):
    rng = np.random.default_rng(seed)
    verbs = rng.choice([READ, WRITE, ATOMIC, BARRIER], (1, 5), p=[0.4, 0.2, 0.2, 0.2]).repeat(6, axis=0)
    cells = rng.integers(0, 12, (6, 5))
    found = [
        {
            (f.kind, f.array, f.lines)
            for f in trace(script_kernel, 2, 3, np.zeros(12, int), verbs, cells, **how).errors
        }
        for how in ({}, {"schedule": "adversarial", "seed": order})
    ]
    assert found[0] == found[1]
