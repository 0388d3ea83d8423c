"""What the checks do that no single lesson shows: odd answers, quietness, time, the GPU, the points."""

import contextlib
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit

from lessons import checks, conftest
from lessons.checks import Lesson, call, check_choice, check_function, check_kernel, check_value, running
from lessons.comparison import Case, CheckFailed, Slip
from minidl.hardware.cuda import cuda
from minidl.instruments.tracer import TracedGpu

A = np.array([4, 2, 5, 6, 2, 4, 7, 1, 3, 5], np.float32)
CASES = [Case("ten numbers", (A,)), Case("three numbers", (A[:3],))]


def double(a):
    return 2 * a


@cuda.jit
def double_kernel(out, a):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = 2 * a[i]


def check(kernel, **named):
    check_kernel(kernel, double, CASES, 4, "out, a", **named)


# ---- numbers


@pytest.mark.parametrize("got", [4, 4.0, np.float32(4), np.int64(4), 4.001])
def test_numbers_may_be_of_any_kind_and_rounded(got):
    check_value("x", got, 4)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (..., "still open: x wants a number"),
        (None, "still open: x wants a number"),
        (True, "x must be a number, got bool True"),
        ("4", "x must be a number, got str '4'"),
        ([4], "x must be a number, got list"),
        (np.array([4.0]), "x must be a number, got ndarray"),
        (4j, "x must be a number, got complex"),
        (8, "x is not 8. Twice too much."),
        (5, "x is not 5.$"),
        (np.nan, "x is not nan.$"),
        (np.inf, "x is not inf.$"),
    ],
)
def test_wrong_numbers(got, words):
    with pytest.raises(CheckFailed, match=words):
        check_value("x", got, 4, {8: "Twice too much."})


# ---- functions


@pytest.mark.parametrize(
    "function",
    [
        double,
        lambda a: list(a + a),
        lambda a: tuple(float(x) * 2 for x in a),
        lambda a: (a * 2).astype(np.float64),
    ],
)
def test_right_functions(function):
    check_function(function, double, CASES)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (None, "still open"),
        (3, "expected a Python function, got int 3"),
        (np.sum, "expected a Python function"),
        (lambda a: "no numbers", "returned str 'no numbers', expected an array of numbers"),
        (lambda a: [[1, 2], [3]], "returned list .*, expected an array"),
        (lambda a: 2 * a[:-1], r"shape \(9,\), expected \(10,\). Ten!"),
        (lambda a: float(a[0]), r"shape \(\), expected \(10,\)"),
        (lambda a: a, r"result\[0\] is 4, expected 8; 10 of 10 values are wrong. That is a itself."),
        (lambda a: np.roll(2 * a, -1), r"result\[0\] is 4, expected 8"),
        (lambda a: np.append(2 * a[1:], 0), "one place too far to the left"),
        (lambda a: np.append(0, 2 * a[:-1]), "one place too far to the right"),
        (lambda a: np.append(2 * a[:-1], 0), "Only the last value is wrong"),
        (lambda a: [None] * 10, "returned list .*, expected an array of numbers"),
        (lambda a: -2 * a, "All signs are the wrong way round"),
        (lambda a: 3 * a, "Every value is 1.5 times what it should be"),
        (lambda a: 2 * a * np.nan, "NaN comes of 0 / 0"),
        (lambda a: 2 * a + np.where(a == a[3], np.inf, 0), "Infinity comes of"),
        (lambda a: 1 / 0, "stopped with ZeroDivisionError: division by zero\n    line .*1 / 0"),
        (lambda a: sys.exit("bye"), "stopped with SystemExit: bye"),
        (lambda a, b: a, "stopped with TypeError: .*missing 1 required positional argument"),
    ],
)
def test_wrong_functions(function, words):
    with pytest.raises(CheckFailed, match=words):
        check_function(function, double, CASES, [Slip("That is a itself.", lambda a: a)], shape_hint="Ten!")


def test_a_slip_that_cannot_know_every_value():
    def late(a):
        return 2 * np.append(a[2:], [9, 9])

    slip = Slip("Two too late.", lambda a: 2 * np.append(a[2:].astype(float), [np.nan, np.nan]))
    with pytest.raises(CheckFailed, match="Two too late"):
        check_function(late, double, CASES, [slip])
    with pytest.raises(CheckFailed) as failed:  # right where the slip knows, so it explains nothing
        check_function(
            lambda a: 2 * a + (a == 4), double, CASES, [Slip("No.", lambda a: np.full(a.size, np.nan))]
        )
    assert "No." not in str(failed.value)


@pytest.mark.parametrize("cut", [np.trunc, np.floor, lambda x: x.astype(np.int64)])
def test_a_fraction_that_was_cut_off(cut):
    halves = [Case("halves", (np.array([0.5, 1.25, 3.75, 7.5]),))]
    with pytest.raises(CheckFailed, match="after the point is cut off"):
        check_function(lambda a: cut(a), lambda a: a, halves)


def test_relations_between_a_few_values_explain_nothing():
    with pytest.raises(CheckFailed) as failed:
        check_function(lambda a: 2 * a, lambda a: a, [Case("two", (np.array([1.5, 2.5]),))])
    assert str(failed.value).endswith("2 of 2 values are wrong.")


def test_large_whole_numbers_are_written_out():
    with pytest.raises(CheckFailed, match="result is 3294209, expected 3294109"):
        check_function(lambda n: n + 100, lambda n: n, [Case("bytes", (3294109,))])


def test_a_rounded_number_is_told_from_a_wrong_one():
    with pytest.raises(CheckFailed, match=r"x is not 2\.3\. That is rounded too much"):
        check_value("x", 2.3, np.log(10))
    with pytest.raises(CheckFailed) as failed:
        check_value("x", 2.4, np.log(10))
    assert "rounded" not in str(failed.value)
    with pytest.raises(CheckFailed) as failed:
        check_value("x", 0, 0.04)
    assert "rounded" not in str(failed.value)


def test_nan_and_infinity_are_compared():
    holes = [Case("holes", (np.array([1, np.nan, np.inf, -np.inf], np.float32),))]
    check_function(double, double, holes)
    with pytest.raises(CheckFailed, match=r"result\[1\] is 0, expected nan"):
        check_function(lambda a: np.nan_to_num(2 * a, posinf=np.inf, neginf=-np.inf), double, holes)
    with pytest.raises(CheckFailed, match=r"result\[3\] is inf, expected -inf"):
        check_function(lambda a: np.abs(2 * a), double, holes)


def test_a_function_that_hangs_is_stopped_even_if_it_catches_errors(monkeypatch):
    monkeypatch.setattr(checks, "SECONDS", 0.05)

    def helper():
        while True:
            with contextlib.suppress(Exception):
                pass

    before = sys.gettrace()
    with pytest.raises(CheckFailed, match=r"still running after 0.05 seconds"):
        check_function(lambda a: helper(), double, CASES)
    assert sys.gettrace() is before


@pytest.mark.parametrize("got", ["memory", " Memory "])
def test_a_choice(got):
    check_choice("roof", got, "memory", ("memory", "arithmetic"))


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (..., "still open: roof wants one of 'memory', 'arithmetic' in place of the dots"),
        (None, "still open"),
        ("network", "must be one of 'memory', 'arithmetic', got str 'network'"),
        (3, "must be one of .*, got int 3"),
        ("arithmetic", "roof is not 'arithmetic'. Why?"),
    ],
)
def test_wrong_choices(got, words):
    with pytest.raises(CheckFailed, match=words):
        check_choice("roof", got, "memory", ("memory", "arithmetic"), {"arithmetic": "Why?"})


BOTH = ("total", "doubles")
SLIPS_OF_BOTH = {"total": [Slip("That is the mean.", lambda a: a.mean())]}


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda a: (a.mean(), 2 * a), "total is 3.9, expected 39. That is the mean."),
        (lambda a: (a.sum(), a), r"doubles\[0\] is 4, expected 8"),
        (lambda a: (a.sum(), a[0]), r"doubles has shape \(\), expected \(10,\)"),
        (lambda a: (a.sum(), "x"), "doubles is str 'x', expected an array of numbers"),
        (lambda a: a.sum(), "returned float32 .*, expected 2 values: total, doubles"),
        (lambda a: (a.sum(), 2 * a, a), "expected 2 values"),
    ],
)
def test_a_function_of_several_results(function, words):
    def spec(a):
        return a.sum(), 2 * a

    check_function(spec, spec, CASES, SLIPS_OF_BOTH, results=BOTH)
    with pytest.raises(CheckFailed, match=words):
        check_function(function, spec, CASES, SLIPS_OF_BOTH, results=BOTH)


def test_inputs_of_any_structure_are_only_read():
    case = Case("a list", ([np.array([1.0, np.nan]), np.array([2])], {"n": [3, 4.0]}, "word"))
    assert call(lambda arrays, numbers, word: numbers["n"][0], case) == 3

    def changes(arrays, numbers, word):
        return arrays[1].fill(7) or 1

    def empties(arrays, numbers, word):
        return numbers.popitem()

    for function in (changes, empties, lambda arrays, numbers, word: numbers["n"].pop()):
        with pytest.raises(CheckFailed, match="changed its input"):
            call(function, case)


def test_a_lesson_may_run_an_answer_in_its_own_way(monkeypatch):
    def forever():
        while True:
            pass

    monkeypatch.setattr(checks, "SECONDS", 0.05)
    with (
        pytest.raises(CheckFailed, match="with ten numbers, it was still running"),
        running(forever, CASES[0]),
    ):
        forever()
    with pytest.raises(CheckFailed, match="stopped with KeyError"), running(forever, CASES[0]):
        {}["key"]


def build_and_ask(answer, a):
    """Make an object of the class that is the answer, and say what it computes: a probe."""
    return answer(2).times(a)


def test_a_probe_uses_what_is_no_function(monkeypatch):
    class Times:
        def __init__(self, factor):
            self.factor = factor

        def times(self, a):
            while self.factor == 3:
                pass
            return self.factor * a

    check_function(Times, double, CASES, probe=build_and_ask)
    with pytest.raises(CheckFailed, match="still open"):
        check_function(..., double, CASES, probe=build_and_ask)
    with pytest.raises(CheckFailed, match="stopped with AttributeError: 'str' object has no attribute"):
        check_function(str, double, CASES, probe=build_and_ask)
    monkeypatch.setattr(checks, "SECONDS", 0.05)
    with pytest.raises(CheckFailed, match="still running"):
        check_function(Times, double, CASES, probe=lambda answer, a: answer(3).times(a))

    class Broken(Times):
        def times(self, a):
            return a / "2"

    with pytest.raises(CheckFailed, match=r'line [0-9]+: return a / "2"'):
        check_function(Broken, double, CASES, probe=build_and_ask)


# ---- kernels


def test_a_right_kernel_passes():
    check(double_kernel, limits=lambda a: {"global_reads": 1, "global_writes": 1, "barriers": 0})


@cuda.jit(device=True)
def twice(x):
    return 2 * x


def test_device_functions_can_be_used():
    @cuda.jit
    def kernel(out, a):
        for i in range(cuda.grid(1), a.size, cuda.gridsize(1)):
            out[i] = twice(a[i])

    check(kernel)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (..., "still open"),
        (None, "still open"),
        (double, "double is a plain Python function; write @cuda.jit"),
        (njit(double), "expected a kernel, a function under @cuda.jit, got CPUDispatcher"),
        (double_kernel[1000, 32], "expected a kernel"),
        (twice, "this is a device function"),
        (cuda.jit(lambda out: None), r"the kernel takes \(out\), expected \(out, a\)"),
        (A, "expected a kernel"),
    ],
)
def test_what_is_no_kernel(kernel, words):
    with pytest.raises(CheckFailed, match=words):
        check(kernel)


def test_the_stub_of_a_kernel_is_called_open():
    @cuda.jit
    def stub(out, a):
        raise NotImplementedError("double it")

    with pytest.raises(CheckFailed, match=r"^still open: double it\.$"):
        check(stub)


def test_limits_and_their_advice():
    with pytest.raises(CheckFailed, match=r"got 1 per thread, 0 is enough\. Read less!"):
        check(double_kernel, limits=lambda a: {"global_reads": 0}, advice={"global_reads": "Read less!"})


def test_wrong_in_one_block_only():
    @cuda.jit
    def kernel(out, a):
        i = cuda.grid(1)
        if i < out.size:
            out[i] = 2 * a[cuda.threadIdx.x]

    with pytest.raises(CheckFailed, match="Block 0 is right, the blocks after it are not"):
        check(kernel)


# ---- kernels of other shapes

TABLE = [Case("a 7 x 5 table", (np.arange(35, dtype=np.float32).reshape(7, 5),))]


def transposed(kernel, **named):
    check_kernel(
        kernel, lambda a: a.T, TABLE, (4, 4), "out, a", blocks=lambda a: (2, 2), **named
    )  # out is 5 x 7


@cuda.jit
def transpose_kernel(out, a):
    i, j = cuda.grid(2)
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j] = a[j, i]


def test_two_dimensions():
    transposed(transpose_kernel)

    @cuda.jit
    def too_few(out, a):
        i, j = cuda.grid(2)
        if i < out.shape[0] and j < out.shape[1] - 1:
            out[i, j] = a[j, i]

    with pytest.raises(CheckFailed, match=r"5 of 35 outputs were never written, out\[0, 6\] is the first"):
        transposed(too_few)

    @cuda.jit
    def other_axis(out, a):
        i, j = cuda.grid(2)
        if i < out.shape[0] and j < out.shape[1]:
            out[i, j] = a[j, 4 - i]

    with pytest.raises(CheckFailed, match=r"out\[0, 0\] is 4, expected 0; 28 of 35"):
        transposed(other_axis)


@pytest.mark.parametrize("schedule_sensitive", [False, True])
def test_an_output_that_starts_at_zero(schedule_sensitive):
    @cuda.jit
    def total(out, a):
        i = cuda.grid(1)
        if i < a.size:
            if schedule_sensitive:
                out[0] += a[i]
            else:
                cuda.atomic.add(out, 0, a[i])

    def run():
        check_kernel(
            total, lambda a: a.sum(keepdims=True), CASES, 4, "out, a",
            blocks=lambda a: -(-a.size // 4), start=lambda a: np.zeros(1, np.float32),
        )  # fmt: skip

    if not schedule_sensitive:
        return run()
    with pytest.raises(CheckFailed, match="race"):
        run()


def test_findings_about_speed_can_be_refused():
    @cuda.jit
    def conflicts(out, a):
        tile = cuda.shared.array((32, 32), "float32")
        t = cuda.threadIdx.x
        tile[t, 0] = a[t]
        cuda.syncthreads()
        out[t] = 2 * tile[t, 0]

    cases = [Case("32 numbers", (np.arange(32, dtype=np.float32),))]
    check_kernel(conflicts, double, cases, 32, "out, a")
    with pytest.raises(CheckFailed, match=r"(?s)bank conflict: .*32 banks serve the 32"):
        check_kernel(conflicts, double, cases, 32, "out, a", refused=["bank-conflict"])


def test_the_books_own_kernel_is_no_answer():
    from minidl.kernels.sliding_average import sliding_average_naive_kernel

    with pytest.raises(CheckFailed, match="is the book's own kernel"):
        check(sliding_average_naive_kernel)


def test_holes_between_written_outputs():
    @cuda.jit
    def kernel(out, a):
        i = cuda.grid(1)
        if i % 2 == 0 and i < out.size:
            out[i] = 2 * a[i]

    with pytest.raises(CheckFailed, match=r"5 of 10 outputs were never written, out\[1\] is the first"):
        check(kernel)


# ---- on a GPU: the launches go to a machine that we make up


class WrongGpu(TracedGpu):
    def download(self, array, out=None):
        return super().download(array, out) + 1


@pytest.fixture
def gpu(monkeypatch):
    def use(machine):
        monkeypatch.setattr(checks, "GPU", machine)
        monkeypatch.setattr(checks, "Device", lambda kind: SimpleNamespace(available=True, name="Some GPU"))
        return machine

    return use


def test_where_there_is_a_gpu_the_kernel_runs_there_as_well(gpu):
    machine = gpu(TracedGpu())
    check(double_kernel)
    assert [(trace.grid.x, trace.block.x) for trace in machine.traces] == [(3, 4), (1, 4)]
    gpu(WrongGpu())
    with pytest.raises(CheckFailed, match=r"with ten numbers, on the GPU, out\[0\] is 9, expected 8"):
        check(double_kernel)


def test_a_wrong_kernel_never_reaches_the_gpu(gpu):
    machine = gpu(TracedGpu())

    @cuda.jit
    def unguarded(out, a):
        out[cuda.grid(1)] = 2 * a[cuda.grid(1)]

    with pytest.raises(CheckFailed, match="out of bounds"):
        check(unguarded)
    assert not machine.traces


@pytest.mark.gpu
def test_on_this_machines_gpu(capsys):
    if not cuda.is_available():
        pytest.skip("needs a CUDA GPU, and this machine has none")
    check(double_kernel)
    assert capsys.readouterr() == ("", "")


def test_without_the_compiler_everything_else_is_checked(monkeypatch):
    monkeypatch.setattr(checks, "_can_compile", lambda: False)
    check(double_kernel)


# ---- answers in another process


def test_an_answer_elsewhere_is_no_number():
    answer = checks.Elsewhere("function", "function <lambda>", None)
    with pytest.raises(CheckFailed, match="x must be a number, got function <lambda>"):
        check_value("x", answer, 3)
    with pytest.raises(CheckFailed, match=r"plain Python function; write @cuda\.jit"):
        check_kernel(answer, None, [], 32, "out")


def test_what_a_check_may_not_do_with_an_answer_elsewhere():
    answer = checks.Elsewhere("function", "function f", None)
    for use in (lambda: answer(3), lambda: answer.__code__, lambda: answer.py_func):
        with pytest.raises(checks.NeedsTheAnswer):
            use()
    with pytest.raises(checks.NeedsTheAnswer), running(answer, None):
        pass


# ---- lessons


def small_lesson():
    lesson = Lesson("0_small")

    @lesson.task("Task 1", points=1)
    def one(x):
        check_value("x", x, 4)

    @lesson.task("Task 2", points=2)
    def two(function):
        """Check a function."""
        check_function(function, double, CASES)

    @lesson.task("More", points=3, extra=True)
    def more(x):
        check_value("x", x, 5)

    return lesson, one, two, more


def test_points(capsys):
    lesson, one, two, more = small_lesson()
    one(4), more(5)
    assert capsys.readouterr().out == "Task 1: passed, 1 point.\nMore: passed, 3 points.\n"
    lesson.sum_up()
    out = capsys.readouterr().out
    assert [" ".join(line.split()) for line in out.splitlines()[:5]] == [
        "Task 1 1 of 1",
        "Task 2 0 of 2, open",
        "More 3 of 3 (extra)",
        "",
        "Together 4 points; 3 make the lesson complete.",
    ]
    with pytest.raises(CheckFailed, match=r"^Task 1: x is not 5\.$"):
        one(5)  # broken again: the points are gone
    two(double)
    assert lesson.passed == {"Task 2", "More"}
    assert two.__doc__ == "Check a function."


def test_what_an_answer_prints_or_warns_of_stays_out_of_the_reference_output(capsys):
    _, _, two, _ = small_lesson()

    def noisy(a):
        print("noise")
        print("noise", file=sys.stderr)
        warnings.warn("noise", stacklevel=1)
        return np.log(a * 0) * 0 + 2 * a if a[0] < 0 else 2 * a

    two(noisy)
    assert capsys.readouterr() == ("Task 2: passed, 2 points.\n", "")


def test_jupyter_shows_the_message_and_no_stack():
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    failed = CheckFailed("Task 1: first line\n    line 3: x = 1")
    assert failed._render_traceback_() == ["Task 1: first line", "    line 3: x = 1"]
    assert isinstance(failed, AssertionError)
    assert "_render_traceback_" in __import__("inspect").getsource(shell.showtraceback)


def test_nbval_waits_two_minutes_for_a_lessons_cell():
    for given, then in ((2000, 120), (7, 7)):
        config = SimpleNamespace(option=SimpleNamespace(nbval_cell_timeout=given))
        conftest.pytest_configure(config)
        assert config.option.nbval_cell_timeout == then
    conftest.pytest_configure(SimpleNamespace(option=SimpleNamespace()))  # no nbval
