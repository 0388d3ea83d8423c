"""Every lesson: its solution passes, its handout fails at its checks, attempts get what they deserve."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from lessons import checks, handout
from lessons.comparison import CheckFailed

HERE = Path(__file__).parent
LESSONS = [path.stem for path in handout.find([])]


def attempts():
    """List (lesson, task, words or None, source): words for a wrong attempt, None for a right one."""
    found = []
    for path in sorted((HERE / "attempts").glob("*.py")):
        preamble, *cells = re.split(r"^# %% ", path.read_text("utf-8"), flags=re.M)
        for cell in cells:
            head, _, body = cell.partition("\n")
            task, verdict, words = re.fullmatch(r"(\w+) (right|wrong)(?:: (.+))?", head).groups()
            assert (verdict == "wrong") == bool(words), head
            found.append((path.stem, task, words, preamble + body))
    return found


ATTEMPTS = attempts()


class Session:
    """Runs cells one after the other, as a kernel does; each is a file, so that it has a source."""

    def __init__(self, folder):
        self.folder = folder
        self.names = {"__name__": "session"}

    def run(self, source):
        path = self.folder / f"cell_{len(list(self.folder.iterdir()))}.py"
        path.write_text(source, encoding="utf-8")
        with warnings.catch_warnings():  # a kernel prints warnings, where pytest raises them
            warnings.simplefilter("ignore")
            exec(compile(source, str(path), "exec"), self.names)


def read(name, solved=True):
    return nbformat.read(handout.LESSONS / ("solutions" if solved else "") / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tasks(notebook):
    """Return {task: (position of the cell to be filled, position of its check)}, counted as nbval does."""
    cells = code_cells(notebook)
    return {
        re.search(r"check\.(\w+)\(", cell.source)[1]: (i - 1, i)
        for i, cell in enumerate(cells)
        if handout.is_check(cell)
    }


# ---- one attempt at one task


@pytest.mark.parametrize(
    ("name", "task", "words", "source"),
    [pytest.param(*attempt, id="-".join(map(str, attempt[:3]))) for attempt in ATTEMPTS],
)
def test_attempt(name, task, words, source, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checks, "SECONDS", 0.3)
    notebook, session = read(name), Session(tmp_path)
    cells = code_cells(notebook)
    check = cells[tasks(notebook)[task][1]]
    session.run(next(cell.source for cell in cells if "as check" in cell.source))
    session.run(source)
    capsys.readouterr()
    if words is None:
        session.run(check.source)
        assert capsys.readouterr().out == "".join(output.text for output in check.outputs)
        return
    with pytest.raises(CheckFailed) as failed:
        session.run(check.source)
    assert words in str(failed.value)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", LESSONS)
def test_every_task_has_wrong_and_right_attempts(name):
    for task in tasks(read(name)):
        mine = [words for lesson, which, words, _ in ATTEMPTS if (lesson, which) == (name, task)]
        assert sum(words is not None for words in mine) >= 3, task
        assert None in mine, task


@pytest.mark.parametrize("name", LESSONS)
def test_an_empty_answer_fails(name, tmp_path):
    """A stub replaced by `pass`, and the one that is handed out."""
    block = re.compile(rf"^( *){handout.BEGIN}.*?{handout.END}$", re.S | re.M)
    solved, session = read(name), Session(tmp_path)
    cells, given = code_cells(solved), code_cells(read(name, solved=False))
    places = tasks(solved)
    for i, cell in enumerate(cells[1:], 1):  # the setup cell aside
        if i not in [place for pair in places.values() for place in pair]:
            session.run(cell.source)
    for fill, check in places.values():
        assert handout.BEGIN in cells[fill].source
        for source in (block.sub(r"\1pass", cells[fill].source), given[fill].source):
            known = set(session.names)
            session.run(source)
            with pytest.raises((CheckFailed, NameError)):
                session.run(cells[check].source)
            for left in set(session.names) - known:
                del session.names[left]


# ---- whole notebooks


def nbval(notebook, folder):
    """Run a notebook; return the positions of the code cells that failed, and what nbval said."""
    path = folder / "lesson.ipynb"
    nbformat.write(notebook, path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=60",
    ]
    command += ["-p", "no:cacheprovider", "--color=no", "--junitxml=report.xml", path.name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    cases = list(ElementTree.parse(folder / "report.xml").iter("testcase"))
    assert len(cases) == len(code_cells(notebook)), run.stdout + run.stderr
    failed = [int(case.get("name").removeprefix("Cell ")) for case in cases if len(case)]
    assert run.returncode == bool(failed)
    return failed, run.stdout


@pytest.mark.parametrize("name", LESSONS)
def test_the_solution_passes(name, tmp_path):
    assert nbval(read(name), tmp_path)[0] == []


@pytest.mark.parametrize("name", LESSONS)
def test_the_handout_fails_exactly_at_its_checks(name, tmp_path):
    notebook = read(name, solved=False)
    failed, text = nbval(notebook, tmp_path)
    assert failed == [check for _, check in tasks(notebook).values()]
    assert "still open" in text and "Error" not in re.sub(r'raise NotImplementedError\(".*"\)', "", text)


@pytest.mark.parametrize("name", LESSONS)
@pytest.mark.parametrize("verdict", ["right", "wrong"])
def test_a_handout_that_a_student_filled_in(name, verdict, tmp_path):
    """The first attempt of the kind at every task: all checks pass, or each fails with the words for it."""
    notebook, expected = read(name, solved=False), []
    for task, (fill, check) in tasks(notebook).items():
        mine = [attempt for attempt in ATTEMPTS if attempt[:2] == (name, task)]
        _, _, words, source = next(
            attempt for attempt in mine if (attempt[2] is None) == (verdict == "right")
        )
        code_cells(notebook)[fill].source = source
        expected += [] if words is None else [(check, words)]
    failed, text = nbval(notebook, tmp_path)
    assert failed == [check for check, _ in expected]
    assert all(words in text for _, words in expected)


# ---- the files


def test_handouts_are_what_their_solutions_give(capsys):
    assert handout.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", LESSONS)
@pytest.mark.parametrize("solved", [True, False], ids=["solution", "handout"])
def test_a_lesson_is_plain_and_complete(name, solved):
    notebook = read(name, solved)
    nbformat.validate(notebook)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(re.findall(r"^# ", text, re.M)) == 1 and text.startswith("# ")
    for promised in (
        "**What you will learn**",
        "**Read first**",
        "**Time needed**",
        "<details><summary>Hint",
    ):
        assert promised in text
    assert text.count("<details>") == text.count("</details>")
    assert not re.search(r"^(:::|```\{|\{\w+\}`)|!\[|<img", text, re.M), "MyST or a picture by path"
    cells = code_cells(notebook)
    assert cells[0].source.startswith("# Colab has only this page") and "sum_up()" in cells[-1].source
    for cell in cells:
        assert bool(cell.outputs) == bool(cell.execution_count) == handout.is_check(cell)
        assert (handout.BEGIN in cell.source) <= solved
    if not solved:
        assert not re.search(r"SOLUTION", "\n".join(cell.source for cell in notebook.cells))
