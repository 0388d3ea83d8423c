"""The checks that lesson notebooks call: they run an answer and say in words what is wrong with it.

A lesson has a module of its own (`lessons/sliding_average.py`, …) with one function for each task, made of
three checks that know nothing of its topic: `check_value`, `check_function` and `check_kernel`. Each of them
raises `CheckFailed` or returns in silence; `Lesson.task` then prints the one line that nbval compares.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import linecache
import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from lessons.comparison import UNTOUCHED, Case, CheckFailed, Slip, compare, count, failure
from minidl.hardware.cuda import cuda
from minidl.hardware.device import Device
from minidl.hardware.machine import GPU
from minidl.instruments.ptx import CompileError, compile_kernel
from minidl.instruments.tracer import LimitReached, UnsupportedKernel, trace

SECONDS = 10  # for one run of a Python function; a right one takes milliseconds
ACCESSES = 1_000_000  # for one run of a kernel in the tracer; a right one makes thousands
MOST_WORDS = 500  # characters of an error of somebody else's; some of numba's fill pages

CudaKernel = type(cuda.jit(lambda: None))


class Lesson:
    """The tasks of one lesson, the points they give, and which of them have been passed in this session.

    Parameters
    ----------
    name : str
        The notebook's name, for instance "2_sliding_average".
    """

    def __init__(self, name: str):
        self.name = name
        self.points: dict[str, int] = {}
        self.extra: set[str] = set()
        self.passed: set[str] = set()

    def task(self, title: str, points: int, extra: bool = False) -> Callable:
        """Make a function the check of a task: it prints one line, or raises what is wrong.

        `extra` points come on top of those that make the lesson complete.
        """
        self.points[title] = points
        if extra:
            self.extra.add(title)

        def decorate(check):
            @functools.wraps(check)
            def run(*answers):
                self.passed.discard(title)
                try:
                    check(*answers)
                except CheckFailed as failed:
                    raise CheckFailed(f"{title}: {failed}") from None
                self.passed.add(title)
                print(f"{title}: passed, {count(points, 'point')}.")

            return run

        return decorate

    def sum_up(self) -> None:
        """Print the points so far, task by task, and what the kernels ran on."""
        for title, points in self.points.items():
            got = points if title in self.passed else 0
            note = ("" if got else ", open") + (" (extra)" if title in self.extra else "")
            print(f"{title:<42} {got} of {points}{note}")
        total = sum(self.points[title] for title in self.passed)
        complete = sum(points for title, points in self.points.items() if title not in self.extra)
        print(f"\nTogether {count(total, 'point')}; {complete} make the lesson complete.")
        gpu = Device("cuda")
        print(f"Kernels ran in the tracer{f' and on {gpu.name}' if gpu.available else ''}.")


# ---- Numbers and functions


def check_value(name: str, got, expected: float, slips: dict[float, str] | None = None) -> None:
    """Check a number that was worked out by hand.

    Parameters
    ----------
    slips : dict
        From a wrong number to the words that say where it comes from.
    """
    if got is ... or got is None:
        raise CheckFailed(f"still open: {name} wants a number in place of the dots.")
    if isinstance(got, (bool, np.bool_)) or not isinstance(got, (int, float, np.number)):
        raise CheckFailed(f"{name} must be a number, got {_shown(got)}.")
    if math.isclose(got, expected, rel_tol=1e-3):
        return
    words = [words for slip, words in (slips or {}).items() if math.isclose(got, slip, rel_tol=1e-3)]
    raise CheckFailed(" ".join([f"{name} is not {got:g}.", *words[:1]]))


def check_function(
    function, spec: Callable, cases: Sequence[Case], slips: Sequence[Slip] = (), shape_hint: str = ""
) -> None:
    """Check a Python function of arrays and numbers against its specification.

    Parameters
    ----------
    spec : callable
        Takes a case's inputs, returns the right values.
    shape_hint : str
        What to say when the result has another shape.
    """
    if function is ... or function is None:
        raise CheckFailed("still open: the function is not written yet.")
    if not inspect.isfunction(function):
        raise CheckFailed(f"expected a Python function, got {_shown(function)}.")
    for case in cases:
        inputs, expected = _copies(case), spec(*case.inputs)
        with _students_code(function, case), _time_limit(function, SECONDS):
            got = function(*inputs)
        if got is None:
            raise failure(case, "the function returned nothing: is there a `return` at its end?")
        try:
            values = np.asarray(got, dtype=np.float64)
        except (TypeError, ValueError):
            raise failure(
                case, f"the function returned {_shown(got)}, expected an array of numbers."
            ) from None
        if values.shape != expected.shape:
            shapes = f"the result has shape {values.shape}, expected {expected.shape}. {shape_hint}"
            raise failure(case, shapes)
        compare("result", values, expected, case, slips)
        for given, now in zip(case.inputs, inputs, strict=True):
            if not np.array_equal(given, now, equal_nan=True):
                raise failure(case, "the function changed its input, which it must only read.")


# ---- Kernels

# The findings of the tracer that make an answer wrong, the likely cause before its consequences, with advice.
ADVICE = {
    "exception": "",
    "endless-loop": "What makes the loop's condition false in the end?",
    "non-constant-shape": "Write a plain number, or one name that stands for a number.",
    "divergent-barrier": "All threads of a block have to reach the same barrier: "
    "no `return` before it, and no `if` around it that only some of them enter.",
    "race": "Nothing says which of the two is first. "
    "Between a write by one thread and a read by another stands a barrier, cuda.syncthreads().",
    "race between blocks": "No barrier orders two blocks, so every cell must belong to one block alone. "
    "Is the number of the block part of the index?",
    "out-of-bounds": "Compare an index with the size of the array that it goes into, before you use it.",
    "uninitialised-read": "Do the threads of the block together write every cell that is read later?",
    "writes-input": "A kernel must only read its inputs.",
}


def check_kernel(
    kernel,
    spec: Callable,
    cases: Sequence[Case],
    threads: int,
    parameters: str,
    slips: Sequence[Slip] = (),
    limits: Callable[..., dict[str, int]] | None = None,
    advice: dict[str, str] | None = None,
) -> None:
    """Check a CUDA kernel that writes one array, with one thread for each output, in a one-dimensional grid.

    Each case is run in the tracer, in order and in an order that tries to do harm. Then the kernel is
    compiled as for a GPU, where the compiler is installed, and run on the GPU, where there is one.

    Parameters
    ----------
    spec : callable
        Takes a case's inputs, returns the right outputs.
    threads : int
        Threads in a block.
    parameters : str
        What the kernel takes, its output first, for instance "out, a, window".
    limits : callable, optional
        Takes a case's inputs, returns the most that a thread may do: {"global_reads": 2}.
    advice : dict, optional
        By kind of finding or by limit, what to say about it; instead of `ADVICE`.
    """
    _check_is_kernel(kernel, parameters)
    advice = ADVICE | (advice or {})
    for case in cases:
        expected = spec(*case.inputs)
        for schedule in ("in-order", "adversarial"):
            out, inputs = np.full(expected.shape, UNTOUCHED), _copies(case)
            for array in inputs:
                if isinstance(array, np.ndarray):
                    array.flags.writeable = False  # the tracer says which thread writes to it nevertheless
            with _students_code(kernel.py_func, case):
                blocks = -(-out.size // threads)
                seen = trace(kernel, blocks, threads, out, *inputs, schedule=schedule, limit=ACCESSES)
            _judge_findings(seen, case, advice)
            compare("out", out, expected, case, slips, threads)
            if limits:
                _judge_counts(seen.counts(), limits(*case.inputs), case, advice)
    _compile(kernel, cases[0])
    if Device("cuda").available:
        _run_on_gpu(kernel, spec, cases, threads)


def _check_is_kernel(kernel, parameters):
    if kernel is ... or kernel is None:
        raise CheckFailed("still open: the kernel is not written yet.")
    if inspect.isfunction(kernel):
        raise CheckFailed(
            f"{kernel.__name__} is a plain Python function; write @cuda.jit on the line above its def."
        )
    if not isinstance(kernel, CudaKernel):
        raise CheckFailed(f"expected a kernel, a function under @cuda.jit, got {_shown(kernel)}.")
    if getattr(kernel, "targetoptions", {}).get("device"):
        raise CheckFailed(
            "this is a device function, which only a kernel can call; write @cuda.jit without device."
        )
    names = list(inspect.signature(kernel.py_func).parameters)
    wanted = parameters.split(", ")
    if len(names) != len(wanted):
        raise CheckFailed(f"the kernel takes ({', '.join(names)}), expected ({parameters}).")


def _judge_findings(seen, case, advice):
    """Raise the finding that explains the most."""
    errors = [
        finding for finding in seen.errors if finding.kind != "unwritten-output"
    ]  # the values show that
    if not errors:
        return
    order = list(ADVICE)
    finding = min(errors, key=lambda error: order.index(error.kind) if error.kind in order else len(order))
    kind, stub = finding.kind, "raised NotImplementedError: "
    if kind == "exception" and stub in finding.message:
        raise CheckFailed(f"still open: {finding.message.partition(stub)[2].rpartition(' on line')[0]}.")
    if kind == "race" and len({thread.block for thread in finding.threads}) > 1:
        kind = "race between blocks"
    lines = [_quote(line, seen.source[line]) for line in finding.lines if line in seen.source]
    raise failure(case, "\n".join([f"{finding.message}.", *lines, advice.get(kind, "")]), finding.kind)


def _judge_counts(counts, limits, case, advice):
    for what, limit in limits.items():
        got = counts[what].max_per_thread
        if got > limit:
            enough = f"{limit} {'is' if limit < 3 else 'are'} enough"
            words = f"too many {what.replace('_', ' ')}: got {got} per thread, {enough}."
            raise failure(case, f"{words} {advice.get(what, '')}")


def _compile(kernel, case):
    """Compile the kernel as for a GPU: the tracer runs some things that a GPU cannot."""
    if not _can_compile():
        return
    try:
        with _quietly():
            compile_kernel(kernel, *(np.zeros(1, np.float32), *case.inputs))
    except CompileError as error:
        raise CheckFailed(
            f"the values are right, but numba cannot compile the kernel for a GPU. {error}"
        ) from None


@functools.cache
def _can_compile():
    """Whether numba can compile for a GPU here; it needs NVIDIA's NVVM library, though no GPU."""

    @cuda.jit
    def nothing(out):
        out[0] = 0

    try:
        with _quietly():
            compile_kernel(nothing, np.zeros(1, np.float32))
    except Exception:  # each version of numba says in its own way that a part is missing
        return False
    return True


def _run_on_gpu(kernel, spec, cases, threads):
    for case in cases:
        case = Case(f"{case.words}, on the GPU", case.inputs)
        expected = spec(*case.inputs)
        with _students_code(kernel.py_func, case):
            out = GPU.upload(np.full(expected.shape, UNTOUCHED))
            inputs = [GPU.upload(x) if isinstance(x, np.ndarray) else x for x in case.inputs]
            GPU.launch(kernel, -(-expected.size // threads), threads, out, *inputs)
            got = GPU.download(out)
        compare("out", got, expected, case, (), threads)


# ---- Running somebody else's code


class _TimeUp(BaseException):
    """Raised inside code that has run for too long; no `except Exception` of the student's catches it."""


@contextlib.contextmanager
def _time_limit(function, seconds):
    """Stop `function` when the time is up: the clock is looked at before each line of its notebook's code."""
    notebook, deadline = function.__globals__, time.monotonic() + seconds

    def before_line(frame, event, argument):
        if time.monotonic() > deadline:
            raise _TimeUp
        return before_line

    def on_call(frame, event, argument):
        return before_line if frame.f_globals is notebook else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def _quietly():
    """Keep what an answer prints or warns of out of the output that nbval compares."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _students_code(function, case):
    """Run an answer: quietly, and with its errors put into words."""
    try:
        with _quietly():
            yield
    except _TimeUp:
        raise failure(
            case, f"it was still running after {SECONDS} seconds. {ADVICE['endless-loop']}"
        ) from None
    except LimitReached:
        raise failure(case, f"it went on for {ACCESSES:,} accesses. {ADVICE['endless-loop']}") from None
    except UnsupportedKernel as refused:
        raise CheckFailed(f"the checks cannot follow this kernel: {refused}.") from None
    except NotImplementedError as task:
        raise CheckFailed(f"still open: {task}.") from None
    except (Exception, SystemExit) as error:
        words = f"it stopped with {type(error).__name__}: {str(error)[:MOST_WORDS]}"
        raise failure(case, "\n".join([words, *_last_line(error, function)])) from None


def _last_line(error, function):
    """Quote the line of `function`'s file that an error came from, if one did."""
    file, line, step = function.__code__.co_filename, None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == file:
            line = step.tb_lineno
        step = step.tb_next
    return [] if line is None else [_quote(line, linecache.getline(file, line))]


def _quote(line, text):
    return f"    line {line}: {text.strip()}"


def _copies(case):
    return [np.copy(value) if isinstance(value, np.ndarray) else value for value in case.inputs]


def _shown(value):
    return f"{type(value).__name__} {value!r:.60}"
