"""The grader: right answers get their points, and nothing else does, whatever a notebook tries."""

import contextlib
import csv
import multiprocessing
import os
import re
import time
from types import SimpleNamespace

import nbformat
import numpy as np
import psutil
import pytest

from lessons import checks, grade, hand_in, judge
from lessons.checks import Elsewhere
from lessons.comparison import CheckFailed
from tests.lessons.notebooks import ATTEMPTS, LESSONS, code_cells, filled_in, read, tasks

FIRST = "2_sliding_average"
MASTERS = grade.masters()
grade.load(MASTERS)


def judged(name, cells, seconds=90):
    """Run cells as a notebook's process does, but without nbval, and return {task: (passed, words)}.

    Cells that fail are passed over, as nbval does. A fork of a server that has imported all takes the place
    of a kernel, so that many can be tried.
    """
    lesson = MASTERS[name].lesson
    context = multiprocessing.get_context("forkserver")
    bench = grade._Bench
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_folder())
        bench = stack.enter_context(grade._Bench(f"{folder}/judge", lesson, cells, 2**32))
        script = ["import linecache, os, sys", f"os.environ[{hand_in.ADDRESS!r}] = {folder + '/judge'!r}"]
        script += ["sys.stdout = sys.stderr = open(os.devnull, 'w')", "_cells = {}"]
        for number, cell in enumerate(cells):
            if "frames(" in cell.source:
                continue  # pictures take a second, and answers do without
            source, file = cell.source, f"<cell {number}>"
            if cell.get("check"):
                source = f"__import__('lessons.hand_in').hand_in.serve({cell.id!r})"
            script.append(
                f"_s = {source!r}\nlinecache.cache[{file!r}] = len(_s), None, _s.splitlines(True), {file!r}\n"
                f"try: exec(compile(_s, {file!r}, 'exec'), globals())\nexcept Exception: pass"
            )
        path = f"{folder}/notebook.py"
        with open(path, "w") as file:
            file.write("\n".join(script))
        student = context.Process(target=__import__("runpy").run_path, args=(path,), daemon=True)
        student.start()
        end = time.monotonic() + seconds
        while student.is_alive() and time.monotonic() < end:
            bench.listen(until=time.monotonic() + 0.02)
        student.kill()
        student.join()
        bench.listen(until=time.monotonic() + 0.05)
    names = {task.cell: re.search(r"check\.(\w+)", task.source)[1] for task in lesson.tasks}
    return {names[cell]: verdict for cell, verdict in bench.verdicts.items()}


@contextlib.contextmanager
def _folder():
    import tempfile

    with tempfile.TemporaryDirectory(prefix="judged-") as folder:
        yield folder


def restored(notebook, name=FIRST):
    cells = [grade._cell(cell) for cell in notebook.cells]
    for plain, cell in zip(cells, notebook.cells, strict=True):
        plain.names = {cell.id}
    return grade.restore(cells, MASTERS[name])[0]


# ---- the judge says what the checks say in a notebook


@pytest.mark.parametrize("name", LESSONS)
def test_solved_in_another_way(name):
    notebook, _ = filled_in(name, right=True)
    verdicts = judged(name, [cell for cell in restored(notebook, name) if cell.cell_type == "code"])
    assert verdicts.keys() == tasks(notebook).keys()
    for passed, words in verdicts.values():
        assert passed, words


@pytest.mark.parametrize("name", LESSONS)
def test_wrong_at_every_task(name):
    notebook, words = filled_in(name, right=False)
    verdicts = judged(name, [cell for cell in restored(notebook, name) if cell.cell_type == "code"])
    assert verdicts.keys() == words.keys()
    for task, (passed, said) in verdicts.items():
        assert not passed and words[task] in said


# ---- tampering, in the notebook's process

FORGED = "Task 1, by hand: passed, 1 point."
TAMPERING = {
    "prints what a passed check prints": f"print({FORGED!r})",
    "redefines the name of the checks": f"""
class check:
    by_hand = specification = grey = staticmethod(lambda *a: print({FORGED!r}))
""",
    "patches the checks": """
import lessons.checks, lessons.sliding_average as check
for name in ("check_value", "check_function", "check_kernel", "call", "run"):
    setattr(lessons.checks, name, lambda *a, **k: None)
    setattr(check, name, lambda *a, **k: None)
""",
    "patches the comparison": """
import lessons.comparison, lessons.checks
lessons.comparison.compare = lessons.checks.compare = lambda *a, **k: None
""",
    "replaces the tasks": """
from lessons import sliding_average as check
for name in ("by_hand", "specification", "grey", "obvious", "prediction", "fetched_once", "largest"):
    setattr(check, name, lambda *a: check.lesson.passed.add(name))
""",
    "fills in the list of what was passed": """
from lessons import sliding_average as check
check.lesson.passed.update(check.lesson.points)
check.lesson.passed.discard = lambda title: None
""",
    "replaces modules": """
import sys, types
for name in list(sys.modules):
    if name.startswith("lessons"):
        sys.modules[name] = types.ModuleType(name)
""",
    "serves something else": """
import lessons.hand_in as h
h.serve = lambda cell: print("passed")
""",
    "says itself that it has passed": """
import lessons.hand_in as h, os
from multiprocessing.connection import Client
def serve(cell):
    with Client(os.environ["LESSONS_HAND_IN"], "AF_UNIX") as judge:
        h.send(judge, ["verdict", cell, True, "passed"])
    with Client(os.environ["LESSONS_HAND_IN"], "AF_UNIX") as judge:
        h.send(judge, ["check", cell])
        h.send(judge, ["verdict", True, "passed"])
        for _ in range(9):
            h.send(judge, ["value", True])
h.serve = serve
""",
    "sends nonsense": """
import lessons.hand_in as h, os
from multiprocessing.connection import Client
def serve(cell):
    for data in (b"", b"[", b"{}", b"[1, 2]", b"null", b"x" * 99, b'["check"]', b'["check", {}]'):
        with Client(os.environ["LESSONS_HAND_IN"], "AF_UNIX") as judge:
            judge.send_bytes(data)
    with Client(os.environ["LESSONS_HAND_IN"], "AF_UNIX") as judge:
        h.send(judge, ["check", cell])
        judge.send_bytes(b'["value", {"array": "AAAA"}]')
h.serve = serve
""",
    "hands in values that are equal to all": """
class Same(float):
    def __eq__(self, other): return True
    def __float__(self): return 4.0
    __sub__ = __rsub__ = lambda self, other: 0.0
    __hash__ = float.__hash__
how_many = first = last = reads_of_a_thread = reads_together = different_numbers = Same(77)
""",
    "returns arrays that are equal to all": """
import numpy as np
class Same(np.ndarray):
    def __array_ufunc__(self, *a, **k): return np.True_
    def __array_function__(self, *a, **k): return np.True_
def specification(a, window):
    return np.zeros(a.size - window + 1).view(Same)
""",
    "looks for the right values in the frames below": """
import sys
def specification(a, window):
    frame = sys._getframe()
    while frame:
        if "expected" in frame.f_locals:
            return frame.f_locals["expected"]
        frame = frame.f_back
    return a[window - 1:]
""",
    "patches NumPy and math": """
import numpy as np, math
np.isclose = np.allclose = np.array_equal = lambda *a, **k: np.True_
math.isclose = lambda *a, **k: True
""",
    "patches the builtins": """
import builtins
builtins.isinstance = lambda *a: True
builtins.abs = builtins.max = lambda *a, **k: 0
""",
    "patches the tracer": """
import minidl.instruments.tracer as t, minidl.instruments.tracer.record as r, lessons.checks as c
t.trace = c.trace = lambda *a, **k: None
r.Trace.errors = r.Trace.findings = property(lambda self: [])
c._judge_findings = c._judge_counts = lambda *a, **k: None
""",
    "takes the book's own kernel": """
from minidl.kernels.sliding_average import sliding_average_naive_kernel as obvious
from minidl.kernels.sliding_average import sliding_average_naive_kernel as fetched_once
""",
    "takes a kernel from a file": """
import linecache, numpy as np
from minidl.hardware.cuda import cuda
source = '''@cuda.''' + '''jit
def grey(out, a):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = (a[i] + np.float32(1)) * np.float32(0.5)
'''
linecache.cache["elsewhere"] = len(source), None, source.splitlines(True), "elsewhere"
exec(compile(source, "elsewhere", "exec"))
""",
    "writes another source into its kernel's": """
import lessons.hand_in as h
known = h.describe_kernel
def describe(kernel, seen=None):
    data = known(kernel, seen)
    data["source"] = "def grey(out, a):\\n    i = cuda.grid(1)\\n    if i < out.size: out[i] = (a[i] + 1) / 2"
    return data
h.describe_kernel = describe
""",
    "answers with what is no message": """
import lessons.hand_in as h
h._run = lambda *a: ["returned", {"code": "x"}, {"tuple": []}]
""",
    "catches the failure": """
import lessons.comparison as c, lessons.checks
class CheckFailed(Exception):
    def __new__(cls, *a): return None
c.CheckFailed = lessons.checks.CheckFailed = CheckFailed
""",
    "tries all numbers": """
import lessons.hand_in as h
ask = h.serve
def serve(cell):
    global how_many, first, last
    for how_many in range(7):
        for first in range(5):
            for last in range(6):
                try: ask(cell)
                except Exception: pass
h.serve = serve
""",
    "leaves at once": "import os\nos._exit(0)",
    "leaves when it is asked": "import os\ndef specification(a, window):\n    os._exit(0)",
}


# Of these the judge hears nothing, or not of every task.
UNHEARD = [
    *("replaces modules", "serves something else", "patches the builtins", "leaves at once"),
    "leaves when it is asked",
]


@pytest.mark.parametrize("attempt", TAMPERING)
def test_tampering_gives_no_points(attempt):
    notebook = read(FIRST, solved=False)
    cells = restored(notebook)
    check = next(i for i, cell in enumerate(cells) if cell.get("check"))
    cell = nbformat.v4.new_code_cell(TAMPERING[attempt])
    verdicts = judged(
        FIRST, [*cells[:check], cell, *(c for c in cells[check:] if not c.source.startswith("def"))]
    )
    assert not [task for task, (passed, _) in verdicts.items() if passed]
    assert len(verdicts) >= 7 or attempt in UNHEARD


# The same for checks that run in one process with the answers.
INSIDE = {
    "patches the comparison": """
from lessons import backprop as check
check.compare = check.failure = lambda *a, **k: None
check._judge_order = check._judge_gradients = lambda *a, **k: None
""",
    "patches it with setattr, under another name": """
from lessons import backprop as check
m = check
for name in ("compare", "failure", "_judge_order", "_judge_gradients"):
    setattr(m, name, lambda *a, **k: None)
""",
    "patches NumPy": """
import numpy as np
np.isclose = np.allclose = lambda *a, **k: np.True_
np.flatnonzero = lambda a: np.zeros(0)
""",
    "patches itself away": """
import builtins, sys, gc, inspect
for module in sys.modules.values():
    module.isinstance = lambda *a: True
""",
    "looks for frames": """
def order(value):
    try: 1 / 0
    except Exception as e: return e.__traceback__.tb_frame.f_back.f_locals["below"]
""",
    "ends the process": """
def order(value):
    import os
    os._exit(0)
def backward(value, order):
    raise SystemExit
""",
    "reads a file": """
order = open("/etc/hostname").read
exec(open("lessons/solutions/4_backprop.ipynb").read())
""",
    "goes round by names": """
import operator, functools
order = operator.attrgetter("__class__.__base__.__subclasses__")(())()
getattr((), "__class__")
""",
    "is equal to all": """
class Value:
    def __init__(self, *numbers): self.number = self.parents = self.slopes = self
    def __eq__(self, other): return True
    def __float__(self): return 1.0
    def __len__(self): return 2
    def __iter__(self): return iter((self, self))
    __hash__ = object.__hash__
add = multiply = divide = tanh = lambda *parents: parents[0]
order = lambda value: [value]
""",
}


@pytest.mark.parametrize("attempt", INSIDE)
def test_tampering_gives_no_points_inside(attempt):
    notebook = read("4_backprop", solved=False)
    cells = restored(notebook, "4_backprop")
    check = next(i for i, cell in enumerate(cells) if "check.operations" in cell.source)
    cell = nbformat.v4.new_code_cell(INSIDE[attempt])
    cells = [*cells[:check], cell, *(c for c in cells[check:] if not c.source.startswith("def"))]
    verdicts = judged("4_backprop", [cell for cell in cells if cell.cell_type == "code"])
    assert not [task for task, (passed, _) in verdicts.items() if passed]
    assert {"operations", "order", "backward"} <= verdicts.keys() or attempt == "patches itself away"


def test_an_answer_is_stopped_and_the_others_are_judged(monkeypatch):
    monkeypatch.setattr(grade._Bench, "patience", 2)
    notebook, _ = filled_in(FIRST, right=True)
    answer = code_cells(notebook)[tasks(notebook)["specification"][0]]
    answer.source = "import time\ndef specification(a, window):\n    time.sleep(3)"
    cells = restored(notebook)
    verdicts = judged(FIRST, cells)
    assert verdicts["specification"] == (
        False,
        "Task 2, the specification: no answer came within 2 seconds.",
    )
    assert sum(passed for passed, _ in verdicts.values()) == len(verdicts) - 1 == 7


# ---- kernels are built from what they need, and from nothing else

PLAIN = {"line": 1, "device": False, "fastmath": False, "defaults": {"tuple": []}}


def built(source, names=(), **changed):
    described = {"name": "k", "source": source, "names": dict(names)} | PLAIN | changed
    return judge.build(described, ["x = 1", source])


@pytest.mark.parametrize(
    "body",
    [
        "open('evil', 'w')",
        "f = lambda open: open\n    open('evil', 'w')",
        "open: float\n    open('evil', 'w')",
        "for f in (open,): f('evil', 'w')",
        "for f in (np.save,): f('evil', out)",
        "out.tofile('evil')",
        "for f in (__import__,): f('os').mkdir('evil')",
        "().__class__.__base__.__subclasses__()",
        "print.__self__.open('evil', 'w')",
        "np.lib.npyio.save('evil', out)",
        "_thread_ = 1",
        "cuda.os.mkdir('evil')",
        "breakpoint()",
        "getattr(np, 'save')('evil', out)",
    ],
)
def test_what_no_kernel_needs_is_refused(body, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"np": {"module": "numpy"}, "cuda": {"module": "numba.cuda"}}
    with pytest.raises(CheckFailed):
        built(f"def k(out):\n    {body}", names)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "more"),
    [
        ("def k(out, a=open('evil', 'w')): pass", {}),
        ("def k(out: open('evil', 'w')): pass", {}),
        ("def k(out, *, a=open('evil', 'w')) -> open('evil', 'w'): pass", {}),
        ("@open('evil', 'w').write\ndef k(out): pass", {}),
    ],
)
def test_defining_a_kernel_runs_nothing(source, more, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    built(source, **more)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "names", "words"),
    [
        ("open('evil', 'w')", {}, "not written as a def"),
        ("def k(out): pass\nopen('evil', 'w')", {}, "not written as a def"),
        ("class k: pass", {}, "not written as a def"),
        ("def k(", {}, "not written as a def"),
        ("def k(out): out[0] = f()", {"f": {"value": {"foreign": "function f"}}}, "uses f, which a kernel"),
        ("def k(out): out[0] = f()", {"f": {"from": ["numpy", "save"]}}, "uses f, which a kernel"),
        ("def k(out): out[0] = f()", {}, "uses f, and there is no such thing"),
    ],
)
def test_what_is_no_kernel_is_not_built(source, names, words):
    with pytest.raises(CheckFailed, match=words):
        built(source, names)


def test_a_kernel_has_to_stand_in_the_notebook():
    described = {"name": "k", "source": "def k(out):\n    out[0] = 1", "names": {}} | PLAIN
    judge.build(described, ["if True:\n    def k(out):\n        out[0] = 1\n"])
    with pytest.raises(CheckFailed, match="does not stand in this notebook"):
        judge.build(described, ["def k(out):\n    out[0] = 2"])


# ---- messages


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, -(10**30), 2.5, "ü", ..., 1j, [1, (2.0, None)], {"a": 1, 2: [3]}, {1, 2}, "", ()),
        *(np.float32(2), np.int64(7), np.array([[1.5, np.nan]], np.float32), np.array(["a", "bc"])),
    ],
)
def test_what_crosses_is_the_same_on_the_other_side(value):
    import json

    there = hand_in.decode(json.loads(json.dumps(hand_in.encode(value))))
    assert type(there) is type(value)
    if isinstance(value, (np.ndarray, np.generic)):
        assert there.dtype == value.dtype
    np.testing.assert_equal(there, value)


def test_what_cannot_cross_is_named():
    there = hand_in.decode(hand_in.encode([print, np.array([None])]))
    assert [repr(item)[:18] for item in there] == ["builtin_function_o", "ndarray array([Non"]
    for message in (3, [], {}, {"a": 1, "b": 2}, {"code": "x"}):
        with pytest.raises(ValueError, match="not a message"):
            hand_in.decode(message)


def test_an_answer_elsewhere_is_no_number():
    answer = Elsewhere("function", "function <lambda>", None)
    with pytest.raises(CheckFailed, match="x must be a number, got function <lambda>"):
        checks.check_value("x", answer, 3)
    with pytest.raises(CheckFailed, match=r"plain Python function; write @cuda\.jit"):
        checks.check_kernel(answer, None, [], 32, "out")


def test_what_a_check_may_not_do_with_an_answer_elsewhere():
    answer = Elsewhere("function", "function f", None)
    for use in (lambda: answer(3), lambda: answer.__code__, lambda: answer.py_func):
        with pytest.raises(checks.NeedsTheAnswer):
            use()
    with pytest.raises(checks.NeedsTheAnswer), checks.running(answer, None):
        pass


# ---- restoring the checks


def shuffled(change):
    """Solve the first lesson, change its cells, and return the sources of what would be run, and remarks."""
    notebook = read(FIRST)
    change(notebook.cells)
    cells = [grade._cell(cell) for cell in notebook.cells]
    for plain, cell in zip(cells, notebook.cells, strict=True):
        plain.names = {cell.id}
    return grade.restore(cells, MASTERS[FIRST])


def position(cells, name):
    return next(i for i, cell in enumerate(cells) if cell.id == name)


def test_an_untouched_notebook_stays_as_it_is():
    cells, remarks = shuffled(lambda cells: None)
    assert [cell.source for cell in cells] == [cell.source for cell in read(FIRST).cells] and not remarks


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (lambda cells: cells.pop(position(cells, "check-2")), "was missing"),
        (lambda cells: cells.insert(3, cells[position(cells, "check-2")]), "was there 2 times"),
        (
            lambda cells: cells[position(cells, "check-2")].update(source="print('passed')"),
            "had been changed",
        ),
        (lambda cells: cells.insert(3, cells.pop(position(cells, "check-2"))), "stood before its answer"),
    ],
    ids=["deleted", "doubled", "edited", "moved"],
)
def test_checks_are_put_back(change, remark):
    cells, remarks = shuffled(change)
    assert [cell.source for cell in cells] == [cell.source for cell in read(FIRST).cells]
    assert len(remarks) == 1 and remark in remarks[0] and "Task 2, the specification" in remarks[0]


def test_a_copy_of_an_answer_moves_no_check():
    """JupyterLab copies a cell's metadata with it, so the copy goes by the same name."""

    def change(cells):
        copy = nbformat.from_dict(cells[position(cells, "answer-2")])
        copy.id, copy.source = "scratch", "def specification(a, window): pass"
        cells.append(copy)

    cells, remarks = shuffled(change)
    assert [cell.source for cell in cells[:-1]] == [cell.source for cell in read(FIRST).cells] and not remarks
    assert cells[-1].source.endswith("pass")


def test_a_marker_in_a_cell_of_the_students_own_takes_nothing_away():
    extra = nbformat.v4.new_code_cell("# NBVAL_CHECK_OUTPUT\nmore = 1")
    cells, _ = shuffled(lambda cells: cells.insert(4, extra))
    assert cells[4].source == extra.source and not cells[4].get("check")


def test_all_checks_deleted_and_all_names_lost():
    def change(cells):
        cells[:] = [cell for cell in cells if not cell.id.startswith("check")]
        for i, cell in enumerate(cells):
            cell.id, cell.metadata = f"other-{i}", {}

    cells, remarks = shuffled(change)
    checks = [cell.source for cell in cells if cell.get("check")]
    assert checks == [task.source for task in MASTERS[FIRST].lesson.tasks] and len(remarks) == 8


def test_cells_of_the_students_own_stay_in_place():
    extra = nbformat.v4.new_code_cell("more = 1")
    cells, remarks = shuffled(lambda cells: cells.insert(position(cells, "check-3"), extra))
    at = next(i for i, cell in enumerate(cells) if cell.source == "more = 1")
    assert cells[at + 1].get("check") and "check.grey" in cells[at + 1].source and not remarks


# ---- whole runs under nbval


def by_hand(*sources, name=FIRST):
    """Return a handout whose first task is solved, with code cells of one's own before its check."""
    notebook = read(name, solved=False)
    cells = notebook.cells
    cells[position(cells, "answer-1")].source = "how_many, first, last = 6, 4, 5"
    for source in sources:
        cells.insert(position(cells, "answer-1"), nbformat.v4.new_code_cell(source))
    # Only the first three checks, so that a run is short; the grader puts the others back.
    return notebook


ENDLESS = "import time\nwhile True:\n    try: time.sleep(0.1)\n    except BaseException: pass"
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        open({file!r}, "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
"""
IPYTHON = """
shell = get_ipython()
shell.events.register("pre_run_cell", lambda info: shell.user_ns.update(how_many=6))
shell.input_transformers_post.append(lambda lines: ["print('passed')\\n"])
"""


def test_a_run_under_nbval_gives_points_and_reasons(tmp_path):
    notebook = by_hand("%no_such_magic\nimport nothing", "import nothing_at_all")
    notebook.cells.append(nbformat.v4.new_code_cell("print('x' * 3_000_000)"))
    path = tmp_path / "renamed by Anna.ipynb"
    nbformat.write(notebook, path)
    result = grade.grade(path, MASTERS)
    assert (result.lesson, result.points, result.of, result.extra) == (FIRST, 1, 10, 0)
    assert [got for _, got, _ in result.tasks] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert "unknown magic %no_such_magic" in result.reason
    assert "No module named 'nothing_at_all'" in result.reason
    assert "Task 2, the specification: still open" in result.reason


@pytest.mark.parametrize(
    ("source", "limits", "words", "points"),
    [
        ("import os\nos._exit(0)", {}, "its kernel died", 0),
        ("import os\nos.kill(os.getppid(), 9)", {}, "its run was ended from inside", 0),
        (ENDLESS, {"timeout": 12}, "stopped after 12 seconds", 0),
        (
            "x = bytearray(b'1') * (2 * 2**30)\nimport time\ntime.sleep(99)",
            {"memory": 1},
            "more than 1 GB",
            0,
        ),
        (
            "import subprocess, time\nfor _ in range(99): subprocess.Popen(['sleep', '9'])\ntime.sleep(99)",
            {},
            "processes",
            0,
        ),
        (DAEMON, {}, "still open", 1),
        (IPYTHON, {}, "its check was never reached", 0),
    ],
    ids=["exit", "kill", "endless", "memory", "processes", "daemon", "IPython"],
)
def test_a_run_that_has_to_be_stopped(source, limits, words, points, tmp_path):
    left = tmp_path / "left"
    path = tmp_path / "ben.ipynb"
    nbformat.write(by_hand(source.replace("{file!r}", repr(str(left)))), path)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    result = grade.grade(path, MASTERS, **limits)
    assert (result.points, result.extra) == (points, 0)
    assert words in result.reason
    started = {child.pid for child in psutil.Process().children(recursive=True)} - before
    assert len(started) <= 1 + 2  # multiprocessing's own: the server that forks judges, and a tracker
    assert not left.exists() or not psutil.pid_exists(int(left.read_text()))


# ---- files that cannot be graded, the table, the command line


def test_files_that_cannot_be_graded(tmp_path):
    bad = {
        "empty": b"",
        "blank": b" \n",
        "broken": b'{"cells": [',
        "list": b"[]",
        "number": b"7",
        "bytes": b"\xff\xfe\x00",
        "deep": b"[" * 100_000,
        "no cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}',
        "old": b'{"nbformat": 2, "worksheets": [3]}',
        "cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [3, null]}',
        "other": nbformat.writes(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('hello')")])
        ).encode(),
    }
    for name, data in bad.items():
        (tmp_path / f"{name}.ipynb").write_bytes(data)
    (tmp_path / "link.ipynb").symlink_to(grade.LESSONS / "solutions" / f"{FIRST}.ipynb")
    (tmp_path / "dangling.ipynb").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")
    with open(tmp_path / "large.ipynb", "wb") as file:
        file.truncate(grade.LARGEST + 1)
    paths = grade.find([str(tmp_path)])
    assert len(paths) == len(bad) + 5
    reasons = {path.stem: grade.grade(path, MASTERS).reason for path in paths}
    expected = {
        "empty": "empty", "blank": "empty", "link": "link", "dangling": "link", "folder": "not a file",
        "pipe": "not a file", "large": "MB", "other": "not one of the lessons", "no cells": "no code cell",
    }  # fmt: skip
    for name, reason in reasons.items():
        assert expected.get(name, "not a notebook") in reason


def test_what_is_found(tmp_path):
    for name in ("b/x.ipynb", "a.ipynb", "b/.ipynb_checkpoints/x-checkpoint.ipynb", ".z.ipynb", "c/t.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    found = grade.find([str(tmp_path), str(tmp_path / "a.ipynb")])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.ipynb", "b/x.ipynb"]
    for paths, words in ([[str(tmp_path / "d")], "does not exist"], [[str(tmp_path / "c")], "no notebook"]):
        with pytest.raises(grade.Refused, match=words):
            grade.find(paths)


def some_result(path, *_, **__):
    if "breaks" in path.name:
        raise RuntimeError("broken")
    if "stops" in path.name:
        raise KeyboardInterrupt
    reasons = ["=1+1 \x1b[31mred\n", "x" * 999]
    return grade.Result(str(path), FIRST, 1, 2, 0, 0.5, [("Task 1", 1, 1), ("Task 2", 0, 1)], reasons)


def test_the_table_and_the_csv(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grade, "grade", some_result)
    for name in ("a", "breaks", "c"):
        (tmp_path / f"{name}.ipynb").touch()
    file = tmp_path / "points.csv"
    assert grade.main([str(tmp_path), "--csv", str(file)]) == 0
    out = capsys.readouterr().out
    assert "3 notebooks, 0 complete" in out and "\x1b" not in out
    assert "the grader stopped with RuntimeError: broken" in out
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["points"] for row in rows] == ["1", "0", "1"]
    assert [rows[0][f"task {n}"] for n in (1, 2)] == ["1", "0"]
    assert rows[0]["reason"].startswith("'=1+1") and len(rows[0]["reason"]) < 400
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".csv", ".ipynb")]


def test_an_interruption_keeps_what_was_graded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grade, "grade", some_result)
    for name in ("a", "b", "stops", "u"):
        (tmp_path / f"{name}.ipynb").touch()
    file = tmp_path / "points.csv"
    assert grade.main([str(tmp_path), "--csv", str(file)]) == 130
    assert "interrupted: 2 of 4 notebooks were graded" in capsys.readouterr().err
    assert len(list(csv.DictReader(file.read_text().splitlines()))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere does not exist"),
        ([".", "--timeout", "0"], "--timeout must be larger than 0, got 0"),
        ([".", "--memory", "-1"], "--memory must be larger than 0, got -1"),
        (["a.ipynb", "--csv", "no/such/folder/x.csv"], "No such file"),
    ],
)
def test_wrong_arguments(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ipynb").touch()
    assert grade.main(arguments) == 1
    assert words in capsys.readouterr().err


def test_every_lesson_is_recognised():
    for name in LESSONS:
        for solved in (True, False):
            cells = [grade._cell(cell) for cell in read(name, solved).cells]
            path = SimpleNamespace(stem="homework")
            assert grade.recognise(cells, path, MASTERS).lesson.name == name
    assert {task for lesson, task, _, _ in ATTEMPTS if lesson == FIRST} == set(tasks(read(FIRST)))
