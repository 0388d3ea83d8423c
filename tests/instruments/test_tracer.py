"""What the tracer counts, reports, accepts and refuses: its conventions, one small kernel each."""

import linecache
import math

import numpy as np
import pytest
from numba import float32, int32

from minidl.hardware.cuda import cuda
from minidl.instruments.tracer import LimitReached, Trace, TracedGpu, UnsupportedKernel, trace

TPB = 32


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def ramp(n):
    return np.arange(n, dtype=np.float32)


def kinds(traced):
    return sorted({finding.kind for finding in traced.errors})


def written(text, **names):
    """Compile a kernel from source, as a notebook cell does: only `linecache` knows its text."""
    file = f"<cell {written.count}>"
    written.count += 1
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope = {"cuda": cuda, "np": np, "math": math, "float32": float32, "int32": int32, **names}
    exec(compile(text, file, "exec"), scope)
    return scope["kernel"]


written.count = 0


def body(*lines, parameters="out, a", **names):
    """A kernel with these lines as its body."""
    return written("@cuda.jit\ndef kernel({}):\n    {}\n".format(parameters, "\n    ".join(lines)), **names)


# -- counts --------------------------------------------------------------------------------------------------


@cuda.jit
def window_kernel(out, a, window):
    s = cuda.shared.array(40, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    if i < a.size:
        s[t] = a[i]
    if t < window - 1 and i + TPB < a.size:
        s[t + TPB] = a[i + TPB]
    cuda.syncthreads()
    if i < out.size:
        total = float32(0)
        for j in range(window):
            total += s[t + j]
        out[i] = total / float32(window)


def test_counts_of_a_sliding_average():
    n, window = 100, 4
    a, out = ramp(n), zeros(n - window + 1)
    traced = trace(window_kernel, 4, TPB, out, a, np.int32(window))
    np.testing.assert_allclose(out, np.convolve(a, np.full(window, 1 / window), "valid"), rtol=1e-6)
    counts = traced.counts()
    halo = 3 * 3 + 0  # three blocks have a right neighbour with at least three elements
    assert counts["global_reads"] == (n + halo, 2)
    assert counts["global_reads"].total == n + halo and counts["global_reads"].max_per_thread == 2
    assert counts["global_writes"] == (97, 1)
    assert counts["shared_writes"] == (n + halo, 2)
    assert counts["shared_reads"] == (97 * window, window)
    assert counts["atomics"] == (0, 0)
    assert counts["barriers"] == (128, 1)
    assert traced.flops == 97 * (window + 1)
    assert traced.bytes == 4 * (n + halo + 97)
    assert traced.intensity == traced.flops / traced.bytes


@cuda.jit
def one_of_each_kernel(x, total):
    i = cuda.grid(1)
    mine = cuda.local.array(2, float32)
    mine[0] = 1
    x[i] += mine[0]
    cuda.atomic.add(total, 0, x[i])
    cuda.syncthreads()


def test_augmented_assignment_is_a_read_and_a_write_and_an_atomic_is_neither():
    counts = trace(one_of_each_kernel, 3, 32, zeros(96), zeros(1)).counts()
    assert counts["global_reads"] == (192, 2)
    assert counts["global_writes"] == (96, 1)
    assert counts["atomics"] == (96, 1)
    assert counts["barriers"] == (96, 1)
    assert counts["shared_reads"].total == counts["shared_writes"].total == 0  # local arrays do not count


def test_flops():
    def flops(expression):
        kernel = body("i = cuda.grid(1)", f"out[i] = {expression}")
        return trace(kernel, 1, 1, zeros(1), ramp(1) + 2).flops

    assert flops("a[i]") == 0
    assert flops("a[i] + a[i] * a[i]") == 2
    assert flops("cuda.fma(a[i], a[i], a[i])") == 2
    assert flops("math.exp(a[i]) / a[i]") == 2
    assert flops("-a[i] if a[i] > 1 else abs(a[i])") == 0
    assert flops("float32(i + 3 * 4 - 1)") == 0  # integers are no floating-point work


def test_a_launch_that_does_nothing():
    traced = trace(body("i = cuda.grid(1)"), 2, 5, zeros(3), zeros(3))
    assert len(traced) == 0 and traced.findings == [] and traced.warps() == []
    assert traced.counts()["global_reads"] == (0, 0)
    assert traced.bytes == 0 and traced.intensity == math.inf


# -- the arrays of the caller --------------------------------------------------------------------------------


def test_a_trace_changes_its_arrays_like_a_launch_unless_told_not_to():
    kernel = body("i = cuda.grid(1)", "out[i] = a[i]")
    out, a = zeros(8), ramp(8)
    trace(kernel, 1, 8, out, a, copy=True)
    assert not out.any()
    trace(kernel, 1, 8, out, a)
    np.testing.assert_array_equal(out, a)


def test_copies_of_arrays_that_share_memory_share_memory():
    kernel = body("i = cuda.grid(1)", "out[i] = a[i + 1]")
    base = ramp(9)
    traced = trace(kernel, 1, 8, base[:8], base, copy=True)
    assert "race" in kinds(traced)
    np.testing.assert_array_equal(base, ramp(9))


def test_one_array_given_twice_is_one_array():
    kernel = body("i = cuda.grid(1)", "out[i] = a[(i + 1) % a.size]")
    a = ramp(8)
    traced = trace(kernel, 1, 8, a, a)
    assert kinds(traced) == ["race"]
    assert not trace(kernel, 1, 8, zeros(8), ramp(8)).findings


def test_views_of_one_memory_with_other_element_sizes_race():
    kernel = body("i = cuda.grid(1)", "if i == 0:", "    out[0] = 1", "else:", "    a[1] = 2")
    memory = np.zeros(4, np.int32)
    assert kinds(trace(kernel, 1, 2, memory.view(np.int64), memory))[0] == "race"
    assert "race" not in kinds(trace(kernel, 1, 2, memory.view(np.int64), memory[2:]))


def test_rows_and_slices_are_views():
    kernel = body("row = a[cuda.threadIdx.x]", "left = row[1:3]", "out[cuda.threadIdx.x] = left[0] + left[1]")
    a, out = np.arange(12, dtype=np.float32).reshape(3, 4), zeros(3)
    traced = trace(kernel, 1, 3, out, a)
    np.testing.assert_array_equal(out, a[:, 1] + a[:, 2])
    assert traced.counts()["global_reads"] == (6, 2)
    assert traced.findings == []


def test_a_slice_is_filled_cell_by_cell():
    kernel = body("out[:] = 3", "out[1:3] = a[:2]")
    out = zeros(4)
    traced = trace(kernel, 1, 1, out, ramp(4) + 5)
    np.testing.assert_array_equal(out, [3, 5, 6, 3])
    assert traced.counts()["global_writes"].total == 6


def test_empty_arrays():
    traced = trace(body("if cuda.grid(1) < a.size:", "    out[0] = a[0]"), 1, 4, zeros(0), zeros(0))
    assert traced.findings == []


# -- values as on the GPU ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a[0] / 0", math.inf),
        ("0.0 / a[1]", math.nan),
        ("math.log(a[0] - 5)", math.nan),
        ("math.exp(a[0] * 1000)", math.inf),
        ("math.sqrt(a[0])", np.sqrt(np.float32(2))),
        ("float32(1) / float32(3)", np.float32(1) / np.float32(3)),
        ("cuda.float32(1) / cuda.float32(3)", np.float32(1) / np.float32(3)),
        ("np.int8(200)", -56),
        ("np.uint8(-1)", 255),
        ("int32(2**31)", -(2**31)),
        ("int(a[0] * 1.75)", 3),
        ("7 // 2 + (-7) // 2 + 7 % 3 + (-7) % 3", 3 - 4 + 1 + 2),
        ("1 / 4", 0.25),
        ("(5 ^ 3) | (1 << 4) & 16", 22),
        ("min(3, 4) + max(a[0], a[1]) + abs(-2)", 7),
        ("cuda.popc(255) + cuda.clz(1) + cuda.ffs(8) + cuda.selp(True, 1, 2)", 8 + 31 + 4 + 1),
        ("cuda.brev(1) == -2147483648 or cuda.brev(1) == 2147483648", 1),
        ("round(2.5) + round(3.5) + math.floor(-0.5) + math.ceil(0.5)", 2 + 4 - 1 + 1),
        ("True + True", 2),
        ("2 if not a[1] else 3", 2),
    ],
)
def test_expressions(expression, expected):
    out = zeros(1, dtype=np.float64)
    a = np.array([2, 0], np.float32)
    traced = trace(body(f"out[0] = {expression}"), 1, 1, out, a)
    assert traced.errors == []
    np.testing.assert_array_equal(out[0], expected)


def test_integers_wrap_where_they_are_stored():
    out = zeros(3, dtype=np.int8)
    trace(body("out[0] = 130", "out[1] = -129", "out[2] = 3.9"), 1, 1, out, out.copy())
    assert out.tolist() == [-126, 127, 3]


@pytest.mark.parametrize(
    ("expression", "wide"),
    [
        ("a[0] * 2 + a[1]", True),
        ("a[0] * 0.1", True),
        ("a[0] + cuda.threadIdx.x", True),
        ("a[0] * 2.0", False),  # the compiler narrows it, since 2 is exact in float32
        ("a[0] * float32(0.1)", False),
        ("a[0] ** 2", False),
        ("math.exp(a[0])", False),
    ],
)
def test_float64_creeping_in(expression, wide):
    traced = trace(body(f"out[0] = {expression}"), 1, 1, zeros(1), ramp(2))
    assert [finding.kind for finding in traced.findings] == ["float64"] * wide
    if wide:
        (finding,) = traced.findings
        assert finding.line == 3 and not finding.is_error and "float32" in finding.message


def test_float64_is_welcome_where_an_array_has_it():
    traced = trace(body("out[0] = a[0] * 0.1"), 1, 1, zeros(1, dtype=np.float64), ramp(2))
    assert traced.findings == []


# -- findings: what, who, where ------------------------------------------------------------------------------


def test_a_finding_says_it_all():
    kernel = body("i = cuda.grid(1)", "out[i] = 1", "if i == 5:", "    a[i, 7] = 2")
    traced = trace(kernel, 2, 4, zeros(8), zeros(8, 4))
    (finding,) = traced.errors
    assert (finding.kind, finding.array, finding.index, finding.line) == ("out-of-bounds", "a", (5, 7), 6)
    assert finding.threads == ((1, 1),)
    assert finding.threads[0].block == 1 and finding.threads[0].thread == 1
    assert finding.message == "thread 1 of block 1 writes a[5, 7] on line 6, outside the array's shape (8, 4)"


def test_threads_of_a_two_dimensional_block_are_named_by_coordinates():
    kernel = body("x, y = cuda.grid(2)", "out[x, y] = a[y, x]")
    traced = trace(kernel, 1, (3, 2), zeros(3, 2), zeros(2, 2))
    assert "threads (2, 0), (2, 1) read a[0, 2]" in traced.errors[0].message


def test_the_same_thing_at_the_same_place_is_told_once():
    traced = trace(body("out[cuda.grid(1) + 100] = 1"), 4, 32, zeros(16), zeros(1))
    (finding,) = traced.errors
    assert finding.count == 128 and 0 < len(finding.threads) <= 64


def test_out_of_bounds_never_raises_drops_writes_and_poisons_reads():
    out, a = np.full(4, 9, np.float32), ramp(4)
    kernel = body("out[-1] = 1", "out[4] = 2", "out[0] = a[4]", "out[1] = a[-1]", "out[2] = 3")
    traced = trace(kernel, 1, 1, out, a)
    np.testing.assert_array_equal(out, [np.nan, np.nan, 3, 9])
    assert {(f.index, f.line) for f in traced.errors if f.kind == "out-of-bounds"} == {
        (-1, 3),
        (4, 4),
        (4, 5),
        (-1, 6),
    }
    assert traced.counts()["global_writes"].total == 5  # a write that is lost was still asked for


def test_poisoned_integers_do_not_make_endless_loops():
    kernel = body("for i in range(a[99]):", "    out[0] = i", "out[0] = a[98] + 1")
    out = zeros(1, dtype=np.int64)
    traced = trace(kernel, 1, 1, out, zeros(3, dtype=np.int32))
    assert kinds(traced) == ["out-of-bounds"] and out[0] == -559038737 + 1


def test_two_accesses_on_one_line_are_told_apart():
    kernel = body("s = cuda.shared.array(4, float32)", "s[0] = s[1] + a[9] + a[8]", "out[0] = s[0]")
    traced = trace(kernel, 1, 1, zeros(1), ramp(4))
    assert [(f.kind, f.index) for f in traced.errors] == [
        ("out-of-bounds", 9),
        ("out-of-bounds", 8),
        ("uninitialised-read", 1),
    ]


def test_a_race_is_found_in_any_order():
    lines = ("s = cuda.shared.array(8, float32)", "t = cuda.threadIdx.x", "s[t] = a[t]", "out[t] = s[7 - t]")
    kernel = body(*lines)
    for schedule, seed in [("in-order", 0)] + [("adversarial", seed) for seed in range(8)]:
        (finding,) = trace(kernel, 1, 8, zeros(8), ramp(8), schedule=schedule, seed=seed).errors
        assert (finding.kind, finding.array, finding.lines) == ("race", "s", (5, 6))
        assert "no barrier" in finding.message


def test_a_barrier_orders_global_memory_within_a_block_but_not_between_blocks():
    lines = ("i = cuda.grid(1)", "out[i] = a[i]", "cuda.syncthreads()", "other[i] = out[(i + 1) % a.size]")
    kernel = body(*lines, parameters="out, a, other")
    assert trace(kernel, 1, 8, zeros(8), ramp(8), zeros(8)).errors == []
    (finding,) = trace(kernel, 2, 4, zeros(8), ramp(8), zeros(8)).errors
    assert finding.kind == "race" and "nothing orders two blocks" in finding.message
    assert {thread.block for thread in finding.threads} == {0, 1}
    assert finding.lines == (4, 6)


def test_a_plain_access_races_with_an_atomic_but_atomics_do_not_race():
    kernel = body("cuda.atomic.add(out, 0, 1)", "if cuda.grid(1) == 3:", "    a[0] = out[0]")
    assert kinds(trace(kernel, 1, 8, zeros(1), zeros(1))) == ["race"]
    assert trace(body("cuda.atomic.add(out, 0, 1)"), 4, 8, zeros(1), zeros(1)).findings == []


def test_threads_of_one_warp_race_and_syncwarp_orders_them():
    def kernel(between):
        lines = ("s = cuda.shared.array(64, float32)", "t = cuda.threadIdx.x", "s[t] = a[t]")
        return body(*lines, between, "out[t] = s[t ^ 1]")

    assert kinds(trace(kernel("pass"), 1, 64, zeros(64), ramp(64))) == ["race"]
    assert trace(kernel("cuda.syncwarp()"), 1, 64, zeros(64), ramp(64)).errors == []


def test_syncwarp_does_not_order_two_warps():
    lines = ("s = cuda.shared.array(64, float32)", "t = cuda.threadIdx.x", "s[t] = a[t]", "cuda.syncwarp()")
    traced = trace(body(*lines, "out[t] = s[t ^ 32]"), 1, 64, zeros(64), ramp(64))
    assert kinds(traced) == ["race"]


def test_shared_memory_is_fresh_in_every_block():
    lines = (
        "s = cuda.shared.array(1, float32)",
        "if cuda.blockIdx.x == 0:",
        "    s[0] = 1",
        "out[cuda.grid(1)] = s[0]",
    )
    traced = trace(body(*lines), 2, 1, zeros(2), zeros(1))
    (finding,) = traced.errors
    assert finding.kind == "uninitialised-read" and finding.threads == ((1, 0),)


def test_global_memory_is_never_uninitialised_but_local_memory_is():
    traced = trace(
        body("mine = cuda.local.array(2, float32)", "out[0] = a[0] + mine[1]"), 1, 1, zeros(1), ramp(1)
    )
    (finding,) = traced.errors
    assert (finding.kind, finding.array, finding.index) == ("uninitialised-read", "mine", 1)


def test_unwritten_is_only_what_somebody_writes():
    assert trace(body("cuda.atomic.add(out, 1, 1)"), 1, 4, zeros(3), ramp(1)).findings == []
    (finding,) = trace(body("out[1, 0] = 1"), 1, 1, zeros(2, 2), ramp(1)).findings
    assert (finding.kind, finding.index, finding.count) == ("unwritten-output", (0, 0), 3)


def test_an_output_with_gaps_is_judged_by_its_elements():
    memory = zeros(10)
    kernel = body("out[cuda.grid(1)] = 1")
    assert trace(kernel, 1, 5, memory[::2], ramp(1)).findings == []
    (finding,) = trace(kernel, 1, 4, memory[::-2], ramp(1)).findings
    assert (finding.kind, finding.index) == ("unwritten-output", 4)


def test_the_threads_that_are_missing_at_a_barrier():
    kernel = body("if cuda.threadIdx.x > 4:", "    return", "cuda.syncthreads()", "out[cuda.threadIdx.x] = 1")
    traced = trace(kernel, 1, 8, zeros(5), ramp(1))
    (finding,) = traced.errors
    assert (finding.kind, finding.line, finding.threads) == ("divergent-barrier", 5, ((0, 5), (0, 6), (0, 7)))
    assert "5 threads wait" in finding.message and "returned" in finding.message


def test_after_a_divergent_barrier_the_waiting_threads_go_on():
    out = zeros(8)
    kernel = body("if cuda.threadIdx.x < 4:", "    cuda.syncthreads()", "out[cuda.threadIdx.x] = 1")
    trace(kernel, 1, 8, out, ramp(1))
    assert out.all()


def test_a_block_that_leaves_as_a_whole_misses_no_barrier():
    lines = ("if cuda.blockIdx.x == 1:", "    return", "cuda.syncthreads()", "out[cuda.threadIdx.x] = 1")
    assert trace(body(*lines), 2, 8, zeros(8), ramp(1)).findings == []


def test_a_kernel_that_raises_is_reported_and_the_others_go_on():
    out = zeros(4)
    kernel = body(
        "i = cuda.grid(1)", "if i == 2:", "    raise ValueError('no')", "out[i] = 1", "cuda.syncthreads()"
    )
    traced = trace(kernel, 2, 2, out, ramp(1))
    (finding,) = traced.errors
    assert (finding.kind, finding.line, finding.threads) == ("exception", 5, ((1, 0),))
    assert "ValueError: no" in finding.message
    assert out.tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize(
    "line",
    [
        "x = a[0.5]",
        "x = a[0, 0]",
        "out[0] = (1, 2)",
        "x = a[0] // 0 + 1 // 0",
        "assert a[0] > 5",
        "x = y + 1",
    ],
)
def test_mistakes_that_python_notices(line):
    kernel = body("i = cuda.grid(1)", "if i == 1:", "    y = 1", line)
    (finding,) = trace(kernel, 1, 1, zeros(1), zeros(1)).errors
    assert (finding.kind, finding.line) == ("exception", 6)


def test_writing_to_a_read_only_array_is_reported_and_dropped():
    a = ramp(3)
    a.flags.writeable = False
    (finding,) = trace(body("a[1] = 5", "out[0] = 1"), 1, 1, zeros(1), a).findings[:1]
    assert (finding.kind, finding.array, finding.index, finding.line) == ("writes-input", "a", 1, 3)
    assert a[1] == 1


# -- limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ("while True:", "    pass"),
        ("while a[0] == 0:", "    pass"),
        ("while True:", "    cuda.syncthreads()"),
        ("while cuda.atomic.add(a, 0, 0) == 0:", "    pass"),
        ("i = 0", "while i >= 0:", "    i += 1", "    a[0] = i"),
    ],
)
def test_an_endless_loop_is_reported_with_thread_and_line(lines):
    traced = trace(body(*lines, "out[0] = 1"), 2, 16, zeros(1), zeros(1), limit=400_000)
    finding = next(finding for finding in traced.errors if finding.kind == "endless-loop")
    assert not traced.complete
    assert len(finding.threads) == 1
    assert set(finding.lines) <= {3, 4, 5, 6} and finding.line in finding.lines
    assert "unwritten-output" not in kinds(traced)


def test_a_launch_that_is_too_large_stops_with_advice():
    kernel = body("i = cuda.grid(1)", "out[i % out.size] = a[i % a.size]")
    with pytest.raises(LimitReached, match=r"trace a smaller one.*limit="):
        trace(kernel, 100, 100, zeros(100), ramp(100), limit=5_000)
    with pytest.raises(LimitReached, match="1,024,000,000 threads"):
        trace(kernel, 1_000_000, 1024, zeros(100), ramp(100))


def test_a_thread_may_wait_for_another_block():
    kernel = body(
        "if cuda.blockIdx.x == 0:",
        "    while cuda.atomic.add(a, 0, 0) == 0:",
        "        pass",
        "else:",
        "    cuda.atomic.add(a, 0, 1)",
        "out[cuda.grid(1)] = 1",
    )
    out = zeros(3)
    assert trace(kernel, 3, 1, out, zeros(1)).errors == []
    assert out.all()


# -- what a kernel may look like -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("x = [i for i in range(3)]", "list comprehension"),
        ("x = {1: 2}", "dictionary"),
        ("x = [1, 2]", "list"),
        ("x = a @ a", "@"),
        ("with a:\n        pass", "with"),
        ("try:\n        pass\n    except ValueError:\n        pass", "try"),
        ("import os", "import"),
        ("yield 1", "yield"),
        ("x = sorted((2, 1))", "sorted"),
        ("x = np.zeros(3)", "np.zeros"),
        ("x = plain(3)", "plain"),
        ("x = a.sum()", "a.sum"),
        ("x = cuda.cg.this_grid()", "cuda.cg.this_grid"),
        ("x = nowhere(3)", "nowhere"),
        ("cuda.shared.array(3)", "cuda.shared.array"),
        ("return 3", "return with a value"),
        ("a.x = 3", "a.x"),
        ("x = np", "np"),
        ("del a", "del"),
        ("global g", "global"),
        ("x = cuda.syncthreads_count()", "syncthreads_count"),
    ],
)
def test_what_is_not_supported_is_named_with_its_line(line, name):
    kernel = body("i = cuda.grid(1)", line, plain=lambda x: x)
    with pytest.raises(UnsupportedKernel) as refused:
        trace(kernel, 1, 1, zeros(1), ramp(1))
    assert name in str(refused.value) and "line 4" in str(refused.value)


def test_defaults_annotations_docstrings_and_comments():
    kernel = written(
        '''
@cuda.jit
def kernel(out: "array", a, scale: int = 3) -> None:
    """A docstring."""
# a comment at the margin
    i: int = cuda.grid(1)
    bound: int
    if i < out.size:  # another
        out[i] = a[i] * scale; out[i] += 1
'''
    )
    out = zeros(4)
    trace(kernel, 1, 5, out, ramp(4))
    np.testing.assert_array_equal(out, ramp(4) * 3 + 1)


def test_names_that_the_rewriter_could_trip_over():
    kernel = body(
        "_k, _t, _p, yield_, range_, min = 1, 2, 3, 4, 5, 6", "for _ in a:", "    out[0] += _k + _t + min"
    )
    out = zeros(1)
    trace(kernel, 1, 1, out, ramp(4))
    assert out[0] == 4 * 9


def test_a_recursive_device_function_and_one_that_takes_a_function():
    text = """
@cuda.jit(device=True)
def factorial(n):
    if n <= 1:
        return 1
    return n * factorial(n - 1)

@cuda.jit(device=True)
def twice(f, x):
    return f(f(x))

@cuda.jit
def kernel(out, a):
    out[0] = twice(factorial, 3)
"""
    out = zeros(1)
    assert trace(written(text), 1, 1, out, ramp(1)).errors == []
    assert out[0] == 720


def test_swaps_chains_and_unpacking():
    kernel = body(
        "out[0], out[1] = a[1], a[0]",
        "out[2] = out[3] = x = a[2]",
        "(p, q), r = (1, 2), 3",
        "out[4] = p + q * r + x",
    )
    out = zeros(5)
    trace(kernel, 1, 1, out, ramp(3) + 5)
    np.testing.assert_array_equal(out, [6, 5, 7, 7, 14])


def test_loops_with_else_break_continue_and_steps():
    kernel = body(
        "for i in range(10, 0, -3):",
        "    if i == 7:",
        "        continue",
        "    out[0] += i",
        "else:",
        "    out[1] = 1",
        "k = 0",
        "while k < 5:",
        "    k += 1",
        "    if k == 3:",
        "        break",
        "else:",
        "    out[2] = 1",
        "out[3] = k",
    )
    out = zeros(4)
    trace(kernel, 1, 1, out, ramp(1))
    assert out.tolist() == [10 + 4 + 1, 1, 0, 3]


def test_dynamic_shared_memory_is_one_memory_for_all_its_arrays():
    lines = (
        "x = cuda.shared.array(0, float32)",
        "y = cuda.shared.array(0, int32)",
        "x[1] = 1",
        "out[0] = y[1]",
    )
    out = zeros(1)
    traced = trace(body(*lines), 1, 1, out, ramp(1), shared=8)
    assert traced.errors == []
    assert out[0] == np.float32(1).view(np.int32)


def test_a_shared_array_in_a_loop_or_a_device_function_is_one_array():
    text = """
@cuda.jit(device=True)
def buffer():
    s = cuda.shared.array(2, float32)
    return s

@cuda.jit
def kernel(out, a):
    for i in range(2):
        s = buffer()
        if i == 0:
            s[0] = 5
    out[0] = s[0]
"""
    out = zeros(1)
    assert trace(written(text), 1, 1, out, ramp(1)).errors == []
    assert out[0] == 5


@pytest.mark.parametrize(
    ("shape", "constant"),
    [
        ("8", True),
        ("4 + 4", True),
        ("N", True),
        ("(N, 2)", True),
        ("PAIR", True),
        ("PAIR[0]", True),
        ("local", True),
        ("N + 1", False),
        ("(N, N + 1)", False),
        ("a.size", False),
        ("cuda.blockDim.x", False),
        ("computed", False),
    ],
)
def test_a_shape_must_be_a_constant(shape, constant):
    lines = ("local = 3", "computed = 3 + a.size", f"s = cuda.shared.array({shape}, float32)", "out[0] = 1")
    traced = trace(body(*lines, N=8, PAIR=(4, 2)), 1, 1, zeros(1), ramp(1))
    assert kinds(traced) == ([] if constant else ["non-constant-shape"])
    if not constant:
        assert traced.errors[0].line == 5 and traced.errors[0].array == "s"


# -- arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grid", "block", "error", "message"),
    [
        (0, 32, ValueError, "grid must be at least 1"),
        (1, 0, ValueError, "block must be at least 1"),
        (1, 1025, ValueError, "block must be at most"),
        (1, (32, 33), ValueError, "at most 1024 threads"),
        (1, (1, 1, 65), ValueError, "block must be at most"),
        ((1, 65536), 1, ValueError, "grid must be at most"),
        ((1, 1, 1, 1), 1, ValueError, "one to three dimensions"),
        ((), 1, ValueError, "one to three dimensions"),
        (1.5, 1, TypeError, "grid must be an int"),
        (1, "32", TypeError, "block must be an int"),
        (True, 1, TypeError, "grid must be an int"),
    ],
)
def test_a_bad_launch_is_refused(grid, block, error, message):
    with pytest.raises(error, match=message):
        trace(body("out[0] = 1"), grid, block, zeros(1), zeros(1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((zeros(1),), TypeError, r"kernel takes 2 arguments \(out, a\), got 1"),
        ((zeros(1), zeros(1), 3), TypeError, "got 3"),
        (([1.0], zeros(1)), TypeError, "out must be a NumPy array or a number, got list"),
        ((zeros(1), None), TypeError, "a must be"),
        ((zeros(1), np.array(["x"])), TypeError, "a must be an array of numbers"),
        ((zeros(1), np.array([None])), TypeError, "a must be an array of numbers"),
        ((zeros(1), np.ma.masked_array([1.0])), TypeError, "masked"),
        ((zeros(1), np.zeros(1, ">f4")), TypeError, "dtype >f4"),
        ((zeros(1), np.zeros(1, [("x", "f4")])), TypeError, "a must be an array of numbers"),
        ((zeros(1), (zeros(1), "x")), TypeError, r"a\[1\] must be"),
    ],
)
def test_bad_arguments_are_named_before_anything_runs(arguments, error, message):
    with pytest.raises(error, match=message):
        trace(body("out[0] = 1"), 1, 1, *arguments)
    if isinstance(arguments[0], np.ndarray):
        assert not arguments[0].any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"schedule": "random"}, ValueError, "schedule must be"),
        ({"seed": 1.5}, TypeError, "seed must be an integer"),
        ({"seed": -1}, ValueError, "seed must not be negative"),
        ({"shared": -4}, ValueError, "shared must not be negative"),
        ({"limit": "many"}, TypeError, "limit must be an integer"),
        ({"without_barriers": (99,)}, ValueError, r"lines with a barrier \(\[\]\), got 99"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        trace(body("out[0] = 1"), 1, 1, zeros(1), zeros(1), **options)


def test_only_kernels_can_be_traced():
    def plain(out):
        out[0] = 1

    with pytest.raises(TypeError, match=r"kernel must be a @cuda.jit function, got plain .*decorate it"):
        trace(plain, 1, 1, zeros(1))
    with pytest.raises(TypeError, match="device function plain"):
        trace(cuda.jit(device=True)(plain), 1, 1, zeros(1))
    with pytest.raises(TypeError, match="kernel must be"):
        trace(None, 1, 1)


def test_a_kernel_must_be_a_def():
    for kernel in [cuda.jit(lambda out: None), cuda.jit(lambda out: cuda.grid(1))]:
        with pytest.raises(UnsupportedKernel, match="not written as a def"):
            trace(kernel, 1, 1, zeros(1))


def test_a_kernel_without_source_says_so():
    scope = {"cuda": cuda}
    exec("@cuda.jit\ndef kernel(out):\n    out[0] = 1", scope)
    with pytest.raises(UnsupportedKernel, match="define it in a file or in a notebook cell"):
        trace(scope["kernel"], 1, 1, zeros(1))


# -- leaving a barrier out -----------------------------------------------------------------------------------


def test_a_barrier_can_be_switched_off():
    line = window_kernel.py_func.__code__.co_firstlineno + 8
    a, out = ramp(70), zeros(67)
    good = trace(window_kernel, 3, TPB, out, a, 4)
    assert good.errors == [] and good.counts()["barriers"].total == 96
    bad = trace(window_kernel, 3, TPB, out, a, 4, without_barriers=[line], schedule="adversarial")
    assert "race" in kinds(bad) and bad.harm and bad.counts()["barriers"].total == 0
    assert not np.allclose(out, np.convolve(a, np.full(4, 0.25), "valid"))
    every = trace(window_kernel, 3, TPB, out, a, 4, without_barriers=True)
    assert "race" in kinds(every) and every.counts()["barriers"].total == 0


# -- keeping a trace -----------------------------------------------------------------------------------------


def test_a_trace_survives_json():
    lines = ("x, y = cuda.grid(2)", "out[x, y] = a[y, 1]", "cuda.syncthreads()", "out[0, 0] = a[9, 9]")
    traced = trace(body(*lines), (2, 1), (2, 2), zeros(4, 2), zeros(2, 2), schedule="adversarial", seed=3)
    again = Trace.from_json(traced.to_json())
    assert again.counts() == traced.counts()
    assert again.findings == traced.findings and again.findings[0].threads[0].block in (0, 1)
    assert again.warps() == traced.warps()
    assert (again.grid, again.block, again.seed, again.flops) == (
        traced.grid,
        traced.block,
        traced.seed,
        traced.flops,
    )
    assert again.source == traced.source and again.to_json() == traced.to_json()
    for name, column in traced.columns.items():
        np.testing.assert_array_equal(again.columns[name], column)
        assert again.columns[name].dtype == column.dtype


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', '{"version": 1}', "null"])
def test_json_of_something_else_is_refused(text):
    with pytest.raises(ValueError, match=r"what Trace.to_json returned"):
        Trace.from_json(text)


# -- the machine ---------------------------------------------------------------------------------------------


def test_the_traced_gpu_runs_a_launcher():
    machine = TracedGpu()
    a = ramp(50)[::2]
    on_device = machine.upload(a)
    assert on_device is not a and on_device.flags.c_contiguous
    out = machine.empty(22, np.float32)
    assert np.isnan(out).all()
    machine.launch(window_kernel, 1, TPB, out, on_device, np.int32(4))
    expected = np.convolve(a, np.full(4, 0.25), "valid")
    np.testing.assert_allclose(machine.download(out), expected)
    kept = zeros(22)
    assert machine.download(out, kept) is kept
    np.testing.assert_allclose(kept, expected)
    assert [traced.kernel for traced in machine.traces] == ["window_kernel"]
    assert machine.traces[0].errors == []


def test_the_traced_gpu_hands_on_its_order_and_dynamic_memory():
    machine = TracedGpu(schedule="adversarial", seed=2)
    kernel = body("s = cuda.shared.array(0, float32)", "s[0] = 1", "out[0] = s[0]")
    machine.launch(kernel, (1, 1), (1,), machine.empty(1, "f4"), machine.upload([1.0]), shared=4)
    assert (machine.traces[0].schedule, machine.traces[0].seed, machine.traces[0].errors) == (
        "adversarial",
        2,
        [],
    )


# -- speed ---------------------------------------------------------------------------------------------------


def test_a_trace_of_a_page_is_quick_and_small():
    import time
    import tracemalloc

    a, out = ramp(1024), zeros(1021)
    trace(window_kernel, 32, TPB, out, a, 4)
    seconds = min(_timed(time, lambda: trace(window_kernel, 32, TPB, out, a, 4)) for _ in range(5))
    assert seconds < 0.1

    kernel = body("i = cuda.grid(1)", "for j in range(100):", "    out[i] += a[j]")
    tracemalloc.start()
    traced = trace(kernel, 4, 100, zeros(400), ramp(100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(traced) == 120_000
    assert peak / len(traced) < 600  # bytes: a million accesses stay below 0.6 GB


def _timed(time, work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# -- a few blocks only ---------------------------------------------------------------------------------------


def test_one_block_of_a_launch_can_be_traced_alone():
    kernel = body("i = cuda.grid(1)", "if i < a.size:", "    out[i] = 2 * a[i]")
    out, a = zeros(100), ramp(100)
    traced = trace(kernel, 4, TPB, out, a, blocks=[2])
    assert traced.counts()["global_writes"].total == TPB
    assert np.array_equal(np.flatnonzero(out), np.arange(64, 96)) and out[70] == 140
    assert kinds(traced) == []  # what the other blocks would have written is not missed
    assert {request.block for request in traced.warps()} == {2}
    halves = trace(kernel, 2, 2 * TPB, zeros(100), a, blocks=[1], warps=[0])
    assert halves.counts() == traced.counts() and [r.sectors for r in halves.warps()] == [4, 4]
    whole = trace(kernel, 4, TPB, zeros(100), a)
    assert [r for r in whole.warps() if r.block == 2] == traced.warps()


@pytest.mark.parametrize(
    "blocks, error", [([4], ValueError), ([], ValueError), ([-1], ValueError), (["a"], TypeError)]
)
def test_blocks_that_are_not_there_are_named(blocks, error):
    kernel = body("out[cuda.grid(1)] = a[0]")
    with pytest.raises(error, match="blocks must"):
        trace(kernel, 4, 1, zeros(4), ramp(1), blocks=blocks)
    with pytest.raises(error, match="warps must"):
        trace(kernel, 1, 4 * TPB, zeros(128), ramp(1), warps=blocks)
