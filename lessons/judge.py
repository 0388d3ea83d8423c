"""The judge: runs a lesson's checks on answers that live in a student's process, and decides on the points.

It runs in a process of its own, which never executes a student's Python. Of an answer it sees numbers, words
and arrays; a kernel it builds anew from its source, in which nothing may stand that a kernel does not need.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import importlib
import inspect
import io
import itertools
import linecache
import math
import re
import resource
import signal
from dataclasses import dataclass, field
from multiprocessing.connection import Listener

import numpy as np
import psutil

from lessons import checks
from lessons.checks import Elsewhere, NeedsTheAnswer
from lessons.comparison import CheckFailed
from lessons.hand_in import MODULES, Foreign, decode, encode, receive, send
from lessons.inside import Inside
from minidl.hardware.cuda import cuda
from minidl.hardware.device import Device
from minidl.instruments.tracer.intrinsics import CALLS, VALUES

_patience = checks.SECONDS + 5  # seconds for a reply; the answer itself is stopped after `checks.SECONDS`
WORDS = 2000  # characters of what is said about one answer

# The builtins that a kernel may use.
BUILTINS = {
    *("range", "len", "min", "max", "abs", "int", "float", "bool", "complex", "round", "divmod", "pow"),
    *("tuple", "slice", "enumerate", "zip", "print"),
    *(name for name, value in vars(builtins).items() if name.endswith(("Error", "Exception"))),
}
# Names that no kernel needs, not even for a variable of its own.
NEVER = {
    *("open", "exec", "eval", "compile", "getattr", "setattr", "delattr", "globals", "locals", "vars"),
    *("breakpoint", "type", "object", "super", "memoryview", "dir", "help", "exit", "quit", "property"),
}
# Everything that may follow a dot in a kernel.
ATTRIBUTES = {
    *("size", "shape", "ndim", "strides", "itemsize", "nbytes", "dtype", "T", "x", "y", "z", "real", "imag"),
    *("cuda", "types", "libdevice", "literal_unroll", "ndindex", "pi", "e", "inf", "nan", "newaxis", "tau"),
    *(part for path in (*VALUES, *CALLS) for part in path.split(".")),
    *(name for name, value in vars(np).items() if isinstance(value, np.ufunc)),
    *(name for name, value in vars(np).items() if inspect.isclass(value) and issubclass(value, np.generic)),
    *(name for name in vars(math) if not name.startswith("_")),
    *(name for name in dir(getattr(cuda, "libdevice", None)) if not name.startswith("_")),
    *(name for name, value in vars(cuda).items() if isinstance(value, MODULES["numba.types"].Type)),
    *(
        name
        for name, value in vars(MODULES["numba"]).items()
        if isinstance(value, MODULES["numba.types"].Type)
    ),
}


@dataclass(frozen=True)
class Task:
    """A check cell of a lesson, and what it is worth."""

    cell: str
    source: str
    title: str
    points: int
    extra: bool


@dataclass(frozen=True)
class Lesson:
    """What the judge has to know of a lesson: the module of its checks, the name that has in the notebook."""

    name: str
    module: str
    alias: str
    tasks: tuple[Task, ...] = field(repr=False)


def sit(address, lesson: Lesson, cells, report, done, memory: int, patience: float) -> None:
    """Judge every check cell once, as the notebook's process asks for it; never returns.

    Parameters
    ----------
    address : str
        Where to listen.
    cells : list of str
        Source of the notebook's code cells. What is not written there is no answer.
    report : multiprocessing connection
        Gets ("ready",), and for each task ("begin", cell) and ("verdict", cell, passed, words).
    done : collection of str
        Cells that have been judged.
    memory : int
        Bytes that judging may take.
    patience : float
        Seconds that a reply of the notebook's process may take.
    """
    global _patience
    _patience = patience
    if not Device("cuda").available:  # a GPU's driver reserves more addresses than any limit would allow
        used = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (used + memory,) * 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grader
    tasks, done = {task.cell: task for task in lesson.tasks}, set(done)
    inside = Inside(lesson, cells)
    with Listener(address, "AF_UNIX") as door:
        report.send(("ready",))
        while True:
            with contextlib.suppress(OSError, EOFError), door.accept() as student:
                cell = _asked_for(student)
                if cell not in tasks or cell in done:
                    continue
                done.add(cell)
                report.send(("begin", cell))
                passed, words = examine(lesson, tasks[cell], student, cells, inside)
                report.send(("verdict", cell, passed, words))
                send(student, ["verdict", passed, words])


def _asked_for(student):
    """Return the check cell that somebody wants judged; None if they talk nonsense."""
    try:
        request, cell = _hear(student)
        return cell if request == "check" and isinstance(cell, str) else None
    except Exception:  # what was sent is no message, or none came
        return None


def examine(lesson: Lesson, task: Task, student, cells, inside) -> tuple[bool, str]:
    """Run one check on the answers at the other end of a connection; return the verdict and its words."""
    module = importlib.import_module(lesson.module)
    names = {lesson.alias: module}
    said = io.StringIO()
    try:
        for name in _wanted(task.source) - {lesson.alias}:
            names[name] = _fetch(student, name, cells)
        with contextlib.redirect_stdout(said):
            exec(task.source, names)
    except CheckFailed as failed:
        words = str(failed)
        return False, (words if words.startswith(task.title) else f"{task.title}: {words}")[:WORDS]
    except (OSError, EOFError):
        return False, f"{task.title}: the notebook's process ended while it was asked."
    except NeedsTheAnswer:
        return inside(task)
    except Exception as error:  # of the check, for an answer that its author did not think of
        return False, f"{task.title}: the check stopped with {type(error).__name__}: {error}"[:WORDS]
    return task.title in module.lesson.passed, said.getvalue()


def _wanted(source):
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - stored - vars(builtins).keys()


def _fetch(student, name, cells):
    kind, *content = _ask(student, ["fetch", name])
    if kind == "value":
        return decode(content[0])
    if kind == "kernel":
        return build(content[0], cells)
    if kind == "object":
        kind, shown = content
        return Elsewhere(str(kind), str(shown)[:200], lambda *case: _run(student, name, *case))
    if kind == "missing":
        raise CheckFailed(f"there is no {name}. Did its cell run, and without an error?")
    raise CheckFailed(str(content[0])[:WORDS])


def _run(student, name, case, probe):
    probe = probe and f"{probe.__module__}:{probe.__qualname__}"
    kind, *content = _ask(student, ["run", name, case.words, encode(case.inputs), probe])
    if kind != "returned":
        raise CheckFailed(str(content[0])[:WORDS])
    try:
        return decode(content[0]), decode(content[1])
    except Exception as error:  # only a notebook that has its own idea of an answer sends such a thing
        raise CheckFailed(f"the notebook's process sent no answer: {error}.") from None


def _ask(student, request):
    send(student, request)
    try:
        reply = _hear(student)
        if isinstance(reply, list) and reply and (reply[0] == "missing" or len(reply) > 1):
            return reply
        raise ValueError(f"got {reply!r:.60}")
    except ValueError as error:
        raise CheckFailed(f"the notebook's process sent no answer: {error}.") from None


def _hear(student):
    if not student.poll(_patience):
        raise CheckFailed(f"no answer came within {_patience:g} seconds.")
    return receive(student)


# ---- kernels

_numbers = itertools.count()


def build(described: dict, cells, built: dict | None = None):
    """Make a kernel from its description, without running anything that a student wrote.

    Raises
    ------
    CheckFailed
        If its source does not stand in `cells`, or uses what a kernel has no use for.
    """
    built = {} if built is None else built
    source, line = described["source"], min(int(described["line"]), 100_000)
    if not any(_squeezed(source) in _squeezed(cell) for cell in cells):
        raise CheckFailed(f"the source of {described['name']} does not stand in this notebook.")
    try:
        [node] = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):
        node = None
    if not isinstance(node, ast.FunctionDef):
        raise CheckFailed(f"{described['name']} is not written as a def.")
    _keep_the_function_alone(node)
    text = "\n" * (line - 1) + source
    ast.increment_lineno(node, line - 1)
    file = f"<kernel {next(_numbers)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    names = {"__builtins__": {}}
    code = compile(ast.Module([node], []), file, "exec")
    exec(code, names)
    function = names[node.name]
    _refuse_what_no_kernel_needs(node, function, described["names"].keys())
    function.__module__ = "a notebook"
    function.__defaults__ = decode(described["defaults"]) or None
    kernel = cuda.jit(
        function, device=bool(described["device"]), fastmath=bool(described["fastmath"])
    )  # compiled later, if at all
    built[described["name"]] = kernel
    for name, meaning in described["names"].items():
        [(kind, content)] = meaning.items()
        if kind == "kernel":
            names[name] = build(content, cells, built)
        elif kind == "same":
            names[name] = built[content]
        elif kind == "module":
            names[name] = MODULES[content]
        elif kind == "from" and content[1] in ATTRIBUTES:
            names[name] = getattr(MODULES[content[0]], content[1])
        elif kind == "value" and not isinstance(value := decode(content), Foreign):
            names[name] = value
        elif name not in BUILTINS:
            raise CheckFailed(f"{described['name']} uses {name}, which a kernel cannot.")
    return kernel


def _squeezed(text):
    return "\n".join(line.strip() for line in text.splitlines())


def _keep_the_function_alone(node):
    """Remove all that would be executed by the `def` itself."""
    node.decorator_list, node.returns = [], None
    node.args.defaults = []
    node.args.kw_defaults = [None] * len(node.args.kw_defaults)
    if hasattr(node, "type_params"):
        node.type_params = []
    for item in ast.walk(node.args):
        if isinstance(item, ast.arg):
            item.annotation = None


def _refuse_what_no_kernel_needs(node, function, given):
    for item in ast.walk(node):
        name = getattr(item, "id", getattr(item, "arg", None))
        if isinstance(item, ast.Attribute) and item.attr not in ATTRIBUTES:
            raise CheckFailed(f"{node.name}, line {item.lineno}: .{item.attr} cannot be used in a kernel.")
        if isinstance(name, str) and (name in NEVER or re.fullmatch(r"_\w+_", name)):
            raise CheckFailed(f"{node.name}, line {item.lineno}: {name} cannot be used in a kernel.")
        if isinstance(item, ast.AnnAssign) and item.value is None:
            raise CheckFailed(f"{node.name}, line {item.lineno}: an annotation alone does nothing.")
    codes = [function.__code__]
    for code in codes:
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
        for step in dis.get_instructions(code):
            known = given | BUILTINS | {node.name}
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval not in known:
                raise CheckFailed(f"{node.name} uses {step.argval}, and there is no such thing in a kernel.")
