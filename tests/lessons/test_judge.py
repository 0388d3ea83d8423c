"""The judge: right answers get their points, and nothing else does, whatever a notebook tries."""

import contextlib
import multiprocessing
import re
import tempfile
import time

import nbformat
import pytest

from lessons import hand_in, inside, judge, runner
from lessons.comparison import CheckFailed
from tests.lessons.notebooks import FIRST, LESSONS, MASTERS, code_cells, filled_in, read, restored, tasks

runner.load(master.lesson for master in MASTERS.values())


def judged(name, cells, seconds=90):
    """Run cells as a notebook's process does, but without nbval, and return {task: (passed, words)}.

    Cells that fail are passed over, as nbval does. A fork of a server that has imported all takes the place
    of a kernel, so that many can be tried.
    """
    lesson = MASTERS[name].lesson
    context = multiprocessing.get_context("forkserver")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="judged-"))
        bench = stack.enter_context(runner._Bench(f"{folder}/judge", lesson, cells, 2**32))
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


@pytest.mark.parametrize(
    "statement",
    [
        "from lessons.submission import import_module",
        "from lessons.runner import nbformat",
        "from lessons import runner",
        "from lessons import backprop, judge",
        "import lessons",
        "import lessons.grade",
        "import lessons.grade as backprop",
        "from figures.two_layers import import_module",
        "from minidl.hardware.threads import Path",
    ],
)
def test_answers_cannot_import_what_grades_them(statement):
    with pytest.raises(ImportError, match="not for answers"):
        exec(statement, {"__builtins__": inside._builtins()})


@pytest.mark.parametrize(
    "statement",
    ["from lessons import backprop", "from lessons.all_reduce import bounds", "import minidl.ops"],
)
def test_answers_can_import_what_they_need(statement):
    exec(statement, {"__builtins__": inside._builtins()})


def test_answers_may_name_their_own_helpers_with_an_underscore():
    names = {}
    exec(inside._allow("import math as _m\ndef _half(x):\n    return _m.floor(x / 2)", 1), names)
    assert names["_half"](5) == 2


@pytest.mark.parametrize(
    "source",
    ["().__class__", "__builtins__", "import math as __builtins__", "from numpy import _core", "m._x"],
)
def test_answers_cannot_use_what_python_hides(source):
    with pytest.raises(inside.Forbidden, match="code cell 1 was left out"):
        inside._allow(source, 1)


def test_the_books_own_first_cell_is_no_reason():
    notebook = read("4_backprop", solved=False)
    cells = [cell for cell in restored(notebook, "4_backprop") if cell.cell_type == "code"]
    _, words = judged("4_backprop", cells)["order"]
    assert "still open" in words and "left out" not in words


def test_an_answer_is_stopped_and_the_others_are_judged(monkeypatch):
    monkeypatch.setattr(runner._Bench, "patience", 2)
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
