"""Whole runs under nbval: a notebook gets its points, is held to its limits, and leaves no process behind."""

import nbformat
import psutil
import pytest

from lessons import grade, runner
from tests.lessons.notebooks import FIRST, MASTERS, position, read

runner.load(master.lesson for master in MASTERS.values())


def by_hand(*sources, name=FIRST):
    """Return a handout whose first task is solved, with code cells of one's own before its check."""
    notebook = read(name, solved=False)
    cells = notebook.cells
    cells[position(cells, "answer-1")].source = "how_many, first, last = 6, 4, 5"
    for source in sources:
        cells.insert(position(cells, "answer-1"), nbformat.v4.new_code_cell(source))
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
