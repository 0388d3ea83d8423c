"""Every lesson: its solution passes, its handout fails at its checks, attempts get what they deserve."""

import os
import re
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from lessons import checks, handout
from lessons.comparison import CheckFailed
from tests.lessons.notebooks import ATTEMPTS, LESSONS, code_cells, read, tasks


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


def nbval(name):
    """Run a lesson, solved and as handed out; return which code cells failed of both, and what nbval said."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env"]
    command += ["--nbval-cell-timeout=60", "-p", "no:cacheprovider", "--color=no", "--junitxml=report.xml"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("solution", "handout"):
            nbformat.write(read(name, solved=kind == "solution"), Path(folder, f"{kind}.ipynb"))
        run = subprocess.run(
            [*command, "solution.ipynb", "handout.ipynb"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        cases = list(ElementTree.parse(Path(folder, "report.xml")).iter("testcase"))
    failed = {"solution": [], "handout": []}
    for case in cases:
        if len(case):
            failed[Path(case.get("classname")).stem].append(int(case.get("name").removeprefix("Cell ")))
    assert len(cases) == 2 * len(code_cells(read(name))), run.stdout + run.stderr
    return failed, run.stdout


@pytest.fixture(scope="module")
def runs(request):
    """What nbval says of each lesson that is to be tested; two run at a time."""
    tests = (test_the_solution_passes.__name__, test_the_handout_fails_exactly_at_its_checks.__name__)
    wanted = [item.callspec.params["name"] for item in request.session.items if item.originalname in tests]
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(nbval, name) for name in dict.fromkeys(wanted)}


@pytest.mark.parametrize("name", LESSONS)
def test_the_solution_passes(name, runs):
    failed, text = runs[name].result()
    assert failed["solution"] == [], text


@pytest.mark.parametrize("name", LESSONS)
def test_the_handout_fails_exactly_at_its_checks(name, runs):
    failed, text = runs[name].result()
    assert failed["handout"] == [check for _, check in tasks(read(name)).values()]
    assert "still open" in text and "Error" not in re.sub(r'raise NotImplementedError\(".*"\)', "", text)


# ---- the files


def test_handouts_are_what_their_solutions_give(capsys, monkeypatch):
    # What the cells print is in the solutions, and nbval has compared it.
    monkeypatch.setattr(handout, "_run", lambda notebook, _: [cell.outputs for cell in code_cells(notebook)])
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
