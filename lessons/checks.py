"""The checks that lesson notebooks call: they run an answer and say in words what is wrong with it.

A lesson has a module of its own (`lessons/sliding_average.py`, …) with one function for each task, made of
checks that know nothing of its topic: `check_value`, `check_choice`, `check_function` and `check_kernel`.
Each of them raises `CheckFailed` or returns in silence; `Lesson.task` then prints the one line that nbval
compares. A lesson that judges in a way of its own does so around `call`, which puts what an answer may do
wrong into words.

The grader (`lessons/grade.py`) runs a student's notebook in one process and these checks in another, where
the student's code cannot reach them. So a check never touches an answer itself: numbers, words and kernels
arrive as they are, and everything else (a function, a class, an object) is only ever given to `call`. What
`call` sends and brings back are numbers, words, arrays, and tuples, lists and dicts of those. Where an answer
has to be handled in another way than to be called with arrays, a *probe* does that on the student's side: a
function of the lesson's module that takes the answer and the inputs, and returns plain values to be judged.
A check that has to handle an answer's objects itself, inside `with running(…)`, is run by `lessons.inside`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import io
import linecache
import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lessons.comparison import UNTOUCHED, Case, CheckFailed, Slip, compare, count, failure, in_digits
from minidl.hardware.cuda import cuda
from minidl.hardware.device import Device
from minidl.hardware.machine import GPU
from minidl.instruments.ptx import CompileError, compile_kernel
from minidl.instruments.tracer import LimitReached, UnsupportedKernel, trace

SECONDS = 10  # for one run of a Python function; a right one takes milliseconds
ACCESSES = 1_000_000  # for one run of a kernel in the tracer; a right one makes thousands
MOST_WORDS = 500  # characters of an error of somebody else's; some of numba's fill pages

CudaKernel = type(cuda.jit(lambda: None))


class NeedsTheAnswer(AttributeError):
    """Raised when a check wants more of an answer in another process than to have it run."""


@dataclass(frozen=True)
class Elsewhere:
    """An answer that lives in another process: what it is, and how to have it run there.

    Attributes
    ----------
    kind : str
        "function" or its type's name.
    shown : str
        What messages call it.
    run : callable
        Takes a case and a probe or None; returns what the answer returned, and the inputs afterwards. Raises
        `CheckFailed` if the answer failed.
    """

    kind: str
    shown: str
    run: Callable

    def __getattr__(self, name):
        raise NeedsTheAnswer(name)

    def __call__(self, *_, **__):
        """Refuse: what is called here is called in no time limit, and not where it lives."""
        raise NeedsTheAnswer("a call")


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

            run.title = title
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
    rounded = any(math.isclose(got, round(expected, digits)) for digits in (1, 2))
    if not words and rounded and math.isclose(got, expected, rel_tol=0.05):
        words = ["That is rounded too much: give four digits, or let Python compute it."]
    raise CheckFailed(" ".join([f"{name} is not {in_digits(got)}.", *words[:1]]))


def check_choice(
    name: str, got, expected: str, choices: Sequence[str], slips: dict[str, str] | None = None
) -> None:
    """Check a word that was chosen from several.

    Parameters
    ----------
    slips : dict
        From a wrong choice to the words that say why it is wrong.
    """
    listed = ", ".join(repr(choice) for choice in choices)
    if got is ... or got is None:
        raise CheckFailed(f"still open: {name} wants one of {listed} in place of the dots.")
    if not isinstance(got, str) or got.strip().lower() not in choices:
        raise CheckFailed(f"{name} must be one of {listed}, got {_shown(got)}.")
    chosen = got.strip().lower()
    if chosen != expected:
        words = (slips or {}).get(chosen, "")
        raise CheckFailed(f"{name} is not {chosen!r}. {words}".strip())


def check_function(
    function,
    spec: Callable,
    cases: Sequence[Case],
    slips: Sequence[Slip] | dict[str, Sequence[Slip]] = (),
    shape_hint: str = "",
    results: Sequence[str] = ("result",),
    probe: Callable | None = None,
) -> None:
    """Check a Python function of arrays and numbers against its specification.

    Parameters
    ----------
    spec : callable
        Takes a case's inputs, returns the right values.
    slips : sequence of Slip, or dict of them
        A dict has the slips of each result under its name.
    shape_hint : str
        What to say when a result has another shape.
    results : sequence of str
        What messages call the values. Of several, the function and its specification return a tuple.
    probe : callable, optional
        Uses the answer on the inputs, see `call`; the answer need not be a function then.
    """
    check_is_function(function, or_else=probe is not None)
    for case in cases:
        expected = spec(*case.inputs)
        got = call(function, case, probe)
        if len(results) == 1:
            got, expected = (got,), (expected,)
        elif not isinstance(got, (tuple, list)) or len(got) != len(results):
            listed = f"{len(results)} values: {', '.join(results)}"
            what = count(len(got), "value") if isinstance(got, (tuple, list)) else _shown(got)
            raise failure(case, f"the function returned {what}, expected {listed}.")
        for name, values, right in zip(results, got, expected, strict=True):
            known = slips.get(name, ()) if isinstance(slips, dict) else slips
            compare_result(name, values, right, case, known, shape_hint)


def compare_result(name, got, expected, case, slips=(), shape_hint="") -> None:
    """Compare what a function returned, whatever it is, with an array or a number."""
    expected = np.asarray(expected, dtype=np.float64)
    try:
        given = np.asarray(got)
        if given.dtype == object and any(value is None for value in given.flat):  # as a float it would be NaN
            raise TypeError
        values = np.asarray(got, dtype=np.float64)
    except (TypeError, ValueError):
        what = "the function returned" if name == "result" else f"{name} is"
        raise failure(
            case, f"{what} {_shown(got)}, expected {'an array of numbers' if expected.ndim else 'a number'}."
        ) from None
    if values.shape != expected.shape:
        what = "the result" if name == "result" else name
        shapes = f"{what} has shape {values.shape}, expected {expected.shape}. {shape_hint}"
        raise failure(case, shapes)
    compare(name, values, expected, case, slips)


def check_is_function(function, or_else: bool = False) -> None:
    """Refuse what is no Python function (`or_else`: or no other object), as the dots of an open task."""
    if function is ... or function is None:
        raise CheckFailed("still open: the function is not written yet.")
    kind = function.kind if isinstance(function, Elsewhere) else type(function).__name__
    if kind != "function" and not or_else:
        raise CheckFailed(f"expected a Python function, got {_shown(function)}.")


def call(function, case: Case, probe: Callable | None = None):
    """Return what an answer returns for a case's inputs; it must return something and change no input.

    Parameters
    ----------
    function : function, class or object
        Where the checks run in a process of their own, an `Elsewhere`.
    case : Case
        With plain inputs: numbers, words, arrays, and tuples, lists and dicts of those.
    probe : callable, optional
        A function of a module, which takes the answer and the inputs, uses the one on the others, and returns
        plain values. Without it the answer itself is called.
    """
    if isinstance(function, Elsewhere):
        got, inputs = function.run(case, probe)
    else:
        got, inputs = run(function, case, probe)
    if got is None:
        raise failure(case, "the function returned nothing: is there a `return` at its end?")
    if not all(_unchanged(given, now) for given, now in zip(case.inputs, inputs, strict=True)):
        raise failure(case, "the function changed its input, which it must only read.")
    return got


def run(function, case: Case, probe: Callable | None = None):
    """Run an answer of this process; return what it returned, and its inputs afterwards."""
    inputs = copy.deepcopy(case.inputs)
    with running(function, case):
        return function(*inputs) if probe is None else probe(function, *inputs), inputs


def _unchanged(given, now):
    if isinstance(given, (list, tuple)):
        return len(given) == len(now) and all(map(_unchanged, given, now))
    if isinstance(given, dict):
        return given.keys() == now.keys() and all(_unchanged(given[key], now[key]) for key in given)
    if isinstance(given, (np.ndarray, np.generic, float)):
        return np.array_equal(given, now, equal_nan=np.asarray(given).dtype.kind in "fc")
    return True  # what else a lesson hands out, the lesson looks after


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
    "race of writes": "Two threads write one cell. Does each of them write only where nobody else does?",
    "race between blocks": "No barrier orders two blocks, so every cell must belong to one block alone. "
    "Is the number of the block part of the index?",
    "out-of-bounds": "Compare an index with the size of the array that it goes into, before you use it.",
    "uninitialised-read": "Do the threads of the block together write every cell that is read later?",
    "writes-input": "A kernel must only read its inputs.",
    "bank-conflict": "32 banks serve the 32 threads of a warp at once, if each of them wants another bank.",
    "uncoalesced": "Neighbouring threads should read neighbouring cells.",
}


def check_kernel(
    kernel,
    spec: Callable,
    cases: Sequence[Case],
    threads: int | tuple[int, int],
    parameters: str,
    slips: Sequence[Slip] = (),
    limits: Callable[..., dict[str, int]] | None = None,
    advice: dict[str, str] | None = None,
    blocks: Callable | None = None,
    start: Callable | None = None,
    refused: Sequence[str] = (),
) -> None:
    """Check a CUDA kernel that writes one array.

    Each case is run in the tracer, in order and in an order that tries to do harm. Then the kernel is
    compiled as for a GPU, where the compiler is installed, and run on the GPU, where there is one.

    Parameters
    ----------
    spec : callable
        Takes a case's inputs, returns the right outputs.
    threads : int or pair of int
        Threads in a block.
    parameters : str
        What the kernel takes, its output first, for instance "out, a, window".
    limits : callable, optional
        Takes a case's inputs, returns the most that a thread may do, and the threads together:
        {"global_reads": 2, "atomics_in_all": 4}.
    advice : dict, optional
        By kind of finding or by limit, what to say about it; instead of `ADVICE`.
    blocks : callable, optional
        Takes a case's inputs, returns the number of blocks. Without it, the grid has one dimension and a
        thread for each output.
    start : callable, optional
        Takes a case's inputs, returns what the output holds before; without it, a value that nobody expects.
    refused : sequence of str
        Kinds of findings about speed that are not accepted: "bank-conflict", "uncoalesced".
    """
    _check_is_kernel(kernel, parameters)
    advice = ADVICE | (advice or {})
    launch = _Launch(kernel, threads, blocks, start)
    for case in cases:
        expected = spec(*case.inputs)
        for schedule in ("in-order", "adversarial"):
            out, inputs = launch.output(case, expected), _copies(case)
            for array in inputs:
                if isinstance(array, np.ndarray):
                    array.flags.writeable = False  # the tracer says which thread writes to it nevertheless
            with _students_code(kernel.py_func, case):
                grid = launch.grid(case, expected)
                seen = trace(kernel, grid, threads, out, *inputs, schedule=schedule, limit=ACCESSES)
            _judge_findings(seen, case, advice)
            compare("out", out, expected, case, slips, launch.one_dimensional)
            if limits:
                _judge_counts(seen.counts(), limits(*case.inputs), case, advice)
            _judge_findings(seen, case, advice, refused)
    _compile(kernel, (launch.output(cases[0], spec(*cases[0].inputs)), *cases[0].inputs))
    if Device("cuda").available:
        _run_on_gpu(launch, spec, cases)


@dataclass(frozen=True)
class _Launch:
    """How a kernel is started."""

    kernel: object
    threads: int | tuple[int, int]
    blocks: Callable | None
    start: Callable | None

    def output(self, case, expected):
        """Make the array that the kernel will write to."""
        if self.start is None:
            return np.full(expected.shape, UNTOUCHED)
        return np.array(self.start(*case.inputs))

    def grid(self, case, expected):
        """Return the number of blocks."""
        return self.blocks(*case.inputs) if self.blocks else -(-expected.size // self.threads)

    @property
    def one_dimensional(self):
        """Threads in a block if thread i of them all has output i, else None."""
        return None if self.blocks else self.threads


def _check_is_kernel(kernel, parameters):
    if kernel is ... or kernel is None:
        raise CheckFailed("still open: the kernel is not written yet.")
    if inspect.isfunction(kernel) or (isinstance(kernel, Elsewhere) and kernel.kind == "function"):
        name = getattr(kernel, "__name__", "this")
        raise CheckFailed(f"{name} is a plain Python function; write @cuda.jit on the line above its def.")
    if not isinstance(kernel, CudaKernel):
        raise CheckFailed(f"expected a kernel, a function under @cuda.jit, got {_shown(kernel)}.")
    if getattr(kernel, "targetoptions", {}).get("device"):
        raise CheckFailed(
            "this is a device function, which only a kernel can call; write @cuda.jit without device."
        )
    if kernel.py_func.__module__.partition(".")[0] in ("minidl", "lessons"):
        raise CheckFailed(f"{kernel.py_func.__name__} is the book's own kernel; write one of your own.")
    names = list(inspect.signature(kernel.py_func).parameters)
    wanted = parameters.split(", ")
    if len(names) != len(wanted):
        raise CheckFailed(f"the kernel takes ({', '.join(names)}), expected ({parameters}).")


def _judge_findings(seen, case, advice, kinds=None):
    """Raise the finding that explains the most, of `kinds` or of all errors."""
    if kinds is None:  # the values show what was not written
        errors = [finding for finding in seen.errors if finding.kind != "unwritten-output"]
    else:
        errors = [finding for finding in seen.findings if finding.kind in kinds]
    if not errors:
        return
    order = list(ADVICE)
    finding = min(errors, key=lambda error: order.index(error.kind) if error.kind in order else len(order))
    kind, stub = finding.kind, "raised NotImplementedError: "
    if kind == "exception" and stub in finding.message:
        raise CheckFailed(f"still open: {finding.message.partition(stub)[2].rpartition(' on line')[0]}.")
    if kind == "race" and len({thread.block for thread in finding.threads}) > 1:
        kind = "race between blocks"
    elif kind == "race" and advice[kind] == ADVICE[kind] and finding.message.count(" writes ") > 1:
        kind = "race of writes"
    lines = [_quote(line, seen.source[line]) for line in finding.lines if line in seen.source]
    raise failure(case, "\n".join([f"{finding.message}.", *lines, advice.get(kind, "")]), finding.kind)


def _judge_counts(counts, limits, case, advice):
    for what, limit in limits.items():
        name, in_all = what.removesuffix("_in_all"), what.endswith("_in_all")
        got = counts[name].total if in_all else counts[name].max_per_thread
        if got > limit:
            enough = f"{limit} {'is' if limit < 3 else 'are'} enough"
            where = "in all" if in_all else "per thread"
            words = f"too many {name.replace('_', ' ')}: got {got} {where}, {enough}."
            raise failure(case, f"{words} {advice.get(what, '')}")


def _compile(kernel, arguments):
    """Compile the kernel as for a GPU: the tracer runs some things that a GPU cannot."""
    if not _can_compile():
        return
    try:
        with _quietly():
            compile_kernel(kernel, *arguments)
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


def _run_on_gpu(launch, spec, cases):
    for case in cases:
        case = Case(f"{case.words}, on the GPU", case.inputs)
        expected = spec(*case.inputs)
        with _students_code(launch.kernel.py_func, case):
            out = GPU.upload(launch.output(case, expected))
            inputs = [GPU.upload(x) if isinstance(x, np.ndarray) else x for x in case.inputs]
            GPU.launch(launch.kernel, launch.grid(case, expected), launch.threads, out, *inputs)
            got = GPU.download(out)
        compare("out", got, expected, case, (), launch.one_dimensional)


# ---- Running somebody else's code


@contextlib.contextmanager
def running(function, case: Case, times: float = 1):
    """Run an answer's code: quietly, for `SECONDS` at most, and with its errors put into words.

    Parameters
    ----------
    function : function
        One of the answer; the clock runs for all code of the notebook that it is from.
    times : float
        As many times `SECONDS` are allowed, for a task that trains.
    """
    if isinstance(function, Elsewhere):
        raise NeedsTheAnswer("running")
    with _students_code(function, case, times), _time_limit(function, times * SECONDS):
        yield


class _TimeUp(BaseException):
    """Raised inside code that has run for too long; no `except Exception` of the student's catches it."""


@contextlib.contextmanager
def _time_limit(function, seconds):
    """Stop `function` when the time is up: the clock is looked at before each line of its notebook's code."""
    notebook, deadline = _namespace(function), time.monotonic() + seconds

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
        deadline = math.inf  # a generator that waits may be closed while the next answer is timed


@contextlib.contextmanager
def _quietly():
    """Keep what an answer prints or warns of out of the output that nbval compares."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _students_code(function, case, times=1):
    """Run an answer: quietly, and with its errors put into words."""
    try:
        with _quietly():
            yield
    except _TimeUp:
        raise failure(
            case,
            f"it was still running after {times * SECONDS:g} seconds. "
            "Does a loop never end, or is the same work done again and again?",
        ) from None
    except LimitReached:
        raise failure(case, f"it went on for {ACCESSES:,} accesses. {ADVICE['endless-loop']}") from None
    except UnsupportedKernel as refused:
        raise CheckFailed(f"the checks cannot follow this kernel: {refused}.") from None
    except NotImplementedError as task:
        raise CheckFailed(f"still open: {task}.") from None
    except CheckFailed:
        raise  # by a check that an answer calls back
    except (Exception, SystemExit) as error:
        words = f"it stopped with {type(error).__name__}: {str(error)[:MOST_WORDS]}"
        raise failure(case, "\n".join([words, *_last_line(error, function)])) from None


def _last_line(error, function):
    """Quote the line that an error came from, the last one in `function`'s file or notebook."""
    notebook, code, place = _namespace(function), getattr(function, "__code__", None), None
    file, step = getattr(code, "co_filename", ""), error.__traceback__
    while step is not None:
        frame = step.tb_frame
        if frame.f_code.co_filename == file or (code is None and frame.f_globals is notebook):
            place = step.tb_lineno, frame.f_code.co_filename
        step = step.tb_next
    return [] if place is None else [_quote(place[0], linecache.getline(place[1], place[0]))]


def _namespace(answer):
    """Return the global names of the code of a function, a class or an object; None if that is unknown."""
    if inspect.isfunction(answer):
        return answer.__globals__
    methods = inspect.getmembers(answer if inspect.isclass(answer) else type(answer), inspect.isfunction)
    return methods[0][1].__globals__ if methods else None


def _quote(line, text):
    return f"    line {line}: {text.strip()}"


def _copies(case):
    return [np.copy(value) if isinstance(value, np.ndarray) else value for value in case.inputs]


def _shown(value):
    if isinstance(value, Elsewhere):
        return value.shown
    if value is None:
        return "None"
    return f"{type(value).__name__} {' '.join(repr(value).split()):.60}"
