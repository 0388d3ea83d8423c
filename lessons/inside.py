"""Runs answers and their check in one process, for checks that have to handle an answer's objects themselves.

Most checks ask the notebook's process for what an answer returns. Some cannot: they walk through graphs
that an answer has made, or hand it nodes to rewrite. For those a fork of the judge runs the notebook's cells
again, with less of Python: no files, no other modules than a lesson needs, no attributes that begin with an
underscore. Afterwards it looks whether anything of the book's, or of NumPy's, was changed. That is a fence,
not a wall.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import json
import linecache
import os
import re
import select
import signal
import sys
import time
import types
import warnings

from lessons.comparison import CheckFailed

SECONDS = 120  # for the cells and the check

MODULES = {
    *("math", "cmath", "numpy", "collections", "itertools", "functools", "heapq", "operator", "random"),
    *("dataclasses", "typing", "abc", "enum", "fractions", "statistics", "time", "copy", "numbers"),
    *("minidl", "figures", "lessons", "numba", "matplotlib", "__future__", "contextlib", "warnings"),
}
# Of `lessons`, what grades: an answer has no need of it, and it works with files and processes.
GRADER = {"grade", "runner", "submission", "hand_in", "handout", "judge", "inside"}
# What many modules have as an attribute, and nobody needs for an answer.
NO_ATTRIBUTES = {
    *("import_module", "find_spec", "Path"),
    *("sys", "os", "posix", "subprocess", "inspect", "importlib", "io", "builtins", "gc", "types", "shutil"),
    *(
        "linecache",
        "tempfile",
        "signal",
        "threading",
        "multiprocessing",
        "pathlib",
        "socket",
        "pickle",
        "ast",
    ),
    *("marshal", "runpy", "pdb", "traceback", "atexit", "asyncio", "concurrent", "dis", "pkgutil", "zipfile"),
    *(
        "http",
        "urllib",
        "pty",
        "resource",
        "fcntl",
        "mmap",
        "select",
        "weakref",
        "site",
        "psutil",
        "asyncore",
    ),
    *("load", "loads", "save", "savez", "savez_compressed", "savetxt", "loadtxt", "genfromtxt", "fromfile"),
    *(
        "tofile",
        "memmap",
        "open_memmap",
        "ctypeslib",
        "ctypes",
        "f_back",
        "f_locals",
        "f_globals",
        "f_builtins",
    ),
    *("attrgetter", "methodcaller", "get_type_hints", "ForwardRef", "testing", "f2py", "*"),
    *("gi_frame", "gi_code", "tb_frame", "tb_next", "cr_frame", "func_globals", "co_code"),
}
ALLOWED = {
    *("__init__", "__name__", "__doc__", "__len__", "__iter__", "__next__", "__eq__", "__hash__", "__repr__"),
    *("__add__", "__mul__", "__sub__", "__truediv__", "__neg__", "__getitem__", "__call__", "__post_init__"),
    *("__future__", "_replace", "_asdict", "_"),
}
SETUP = 'importlib.util.find_spec("minidl")'  # stands in the book's own first cell, which no answer needs
NO_BUILTINS = {
    *("open", "eval", "exec", "compile", "input", "breakpoint", "globals", "locals", "vars", "memoryview"),
    *("exit", "quit", "help", "copyright", "credits", "license", "dir"),
}


WATCHED = ("lessons", "minidl", "numpy", "math", "builtins", "inspect", "copy", "functools", "operator")


class _Closed(types.ModuleType):
    """A module whose names can no longer be set from outside."""

    def __setattr__(self, name, value):
        if isinstance(value, types.ModuleType) and value.__name__ == f"{self.__name__}.{name}":
            return super().__setattr__(name, value)  # a part of it that is imported only now
        raise Forbidden(f"the notebook set {self.__name__}.{name}, which is not its own")

    def __delattr__(self, name):
        raise Forbidden(f"the notebook deleted {self.__name__}.{name}, which is not its own")


class Forbidden(Exception):
    """Raised for code that is not run here; the message says what and where."""


class Inside:
    """Judges inside of forks of a process that has itself computed nothing.

    Some libraries for threads do not survive a fork once they have been used, so the process that is forked
    for each task is set aside before the judge begins to work.

    Parameters
    ----------
    cells : list of str
        Source of the notebook's code cells, the master's check cells among them.
    """

    def __init__(self, lesson, cells):
        tasks = {task.cell: task for task in lesson.tasks}
        asked, self._ask = os.pipe()
        self._reply, replies = os.pipe()
        if os.fork():
            os.close(asked), os.close(replies)
            self._reply = os.fdopen(self._reply, "rb")
            return
        with contextlib.suppress(BaseException):
            os.close(self._ask), os.close(self._reply)
            for line in os.fdopen(asked, "rb"):
                verdict = _in_a_fork(lesson, tasks[json.loads(line)], cells)
                os.write(replies, json.dumps(verdict).encode() + b"\n")
        os._exit(0)

    def __call__(self, task) -> tuple[bool, str]:
        """Run the cells before a check, and the check; return the verdict and its words."""
        os.write(self._ask, json.dumps(task.cell).encode() + b"\n")
        passed, words = json.loads(self._reply.readline())
        return passed is True, words


def _in_a_fork(lesson, task, cells, limit=SECONDS):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.close(read)
            verdict = json.dumps(_verdict(lesson, task, cells)).encode()
            os.write(write, verdict[:60_000])
        os._exit(0)
    os.close(write)
    said, end = b"", time.monotonic() + limit
    with os.fdopen(read, "rb", buffering=0) as pipe:
        while (left := end - time.monotonic()) > 0 and select.select([pipe], [], [], left)[0]:
            piece = pipe.read(65536)
            if not piece:
                break
            said += piece
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if not said:
        why = f"was stopped after {limit} seconds" if time.monotonic() >= end else "ended before it was done"
        return False, f"{task.title}: it {why}."
    return json.loads(said)


def _verdict(lesson, task, cells):
    module = sys.modules[lesson.module]
    checks = {other.source for other in lesson.tasks}
    refused = []
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
    warnings.simplefilter("ignore")
    names = {"__name__": "notebook", "__builtins__": _builtins()}
    before = _belongings()
    for place in {name for name in before if name in sys.modules}:
        sys.modules[place].__class__ = _Closed
    for number, source in enumerate(cells):
        if source == task.source:
            break
        if source in checks or (number == 0 and SETUP in source):
            continue
        try:
            code = _allow(source, number)
        except Forbidden as forbidden:
            refused.append(f"{forbidden}")
            continue
        except SyntaxError:
            continue
        with contextlib.suppress(Exception, SystemExit):
            exec(code, names)
    names[lesson.alias] = module
    failed = None
    try:
        _unchanged(before)
        exec(compile(task.source, "<check>", "exec"), names)
        _unchanged(before)
    except CheckFailed as error:
        failed = str(error)
    except Forbidden as error:
        failed = f"{task.title}: {error}"
    except NameError as error:
        failed = f"{task.title}: {error}. Did its cell run, and without an error?"
    except Exception as error:
        failed = f"{task.title}: the check stopped with {type(error).__name__}: {error}"
    if failed is None:
        return True, f"{task.title}: passed."
    return False, " ".join([failed, *(f"({words})" for words in refused)])[:4000]


def _allow(source, number):
    """Compile a cell; `Forbidden` if it uses what an answer has no use for."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.MatchClass):  # another way to an attribute
            raise Forbidden(f"code cell {number} was left out, for a class pattern in line {node.lineno}")
        for name in _names_in(node):
            own = isinstance(node, (ast.Name, ast.Import)) and not name.startswith("__")  # `_helper`
            hidden = name.startswith("_") and name not in ALLOWED and not own
            attribute = not isinstance(node, ast.Name) and name in NO_ATTRIBUTES
            if hidden or attribute or (isinstance(node, ast.Name) and name in NO_BUILTINS):
                line = getattr(node, "lineno", 0)
                raise Forbidden(f"code cell {number} was left out, for {name} in its line {line}")
    file = f"<cell {number} of a notebook>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    return compile(tree, file, "exec")


def _names_in(node):
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Import):
        return [alias.asname or "" for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [alias.name for alias in node.names]
    return []


def _builtins():
    def get(thing, name, *default):
        if not isinstance(name, str) or (name.startswith("_") and name not in ALLOWED):
            raise Forbidden(f"getattr of {name!r} is not for answers")
        if name in NO_ATTRIBUTES:
            raise Forbidden(f"getattr of {name!r} is not for answers")
        return getattr(thing, name, *default)

    def load(name, names=None, places=None, fromlist=(), level=0):
        root, *inner = name.split(".")
        wanted = set(fromlist or ())
        grader = root == "lessons" and (not wanted or GRADER & {*inner, *wanted})
        if level or root not in MODULES or wanted & NO_ATTRIBUTES or grader:
            raise ImportError(f"{name} is not for answers")
        return __import__(name, names, places, fromlist, level)

    kept = {name: value for name, value in vars(builtins).items() if name not in NO_BUILTINS}
    return kept | {"getattr": get, "__import__": load, "print": lambda *values, **how: None}


def _belongings():
    """Return everything that must not change: what the modules and classes of the book and NumPy hold."""
    held = {}
    for name, module in list(sys.modules.items()):
        root = name.partition(".")[0]
        if module is None or root not in WATCHED:
            continue
        held[name] = dict(vars(module))
        if root in ("lessons", "minidl"):
            for label, value in list(vars(module).items()):
                if inspect.isclass(value) and value.__module__ == name:
                    held[f"{name}.{label}"] = {k: v for k, v in vars(value).items() if not _kept_by_python(k)}
                elif inspect.isfunction(value) and value.__module__ == name:
                    held[f"{name}.{label}"] = {"its code": value.__code__, "its defaults": value.__defaults__}
    return held


def _kept_by_python(name):
    return name in ("__abstractmethods__", "_abc_impl", "__weakref__", "__dict__") or name.startswith(
        "__signature"
    )


def _unchanged(before):
    now = _belongings()
    for place, content in before.items():
        for name, value in content.items():
            if name not in now.get(place, {}) or now[place][name] is not value:
                if re.fullmatch(r"_\w*|\w*lesson", name) and place.count(".") == 1:
                    continue  # a module's own notes
                raise Forbidden(f"the notebook changed {place}.{name}, which is not its own")
