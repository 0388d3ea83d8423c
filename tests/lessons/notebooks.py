"""Reads the lessons and the attempts at them, as students and as the grader do, for the tests beside it."""

import re
from pathlib import Path

import nbformat

from lessons import handout, submission

HERE = Path(__file__).parent
LESSONS = [path.stem for path in handout.find([])]
MASTERS = submission.masters()
FIRST = "2_sliding_average"  # the lesson for tests that need only one


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


def filled_in(name, right):
    """Return a handout with the first right (or wrong) attempt at every task, and the words for each task."""
    notebook, words = read(name, solved=False), {}
    for task, (fill, _) in tasks(notebook).items():
        mine = [attempt for attempt in ATTEMPTS if attempt[:2] == (name, task)]
        _, _, words[task], source = next(attempt for attempt in mine if (attempt[2] is None) == right)
        code_cells(notebook)[fill].source = source
    return notebook, words


def students(notebook):
    """Return a notebook's cells as the grader reads them."""
    return [submission._cell(cell) for cell in notebook.cells]


def restored(notebook, name=FIRST):
    """Return the cells of a notebook that the grader would run."""
    return submission.restore(students(notebook), MASTERS[name])[0]


def position(cells, name):
    """Return where the cell of this id is."""
    return next(i for i, cell in enumerate(cells) if cell.id == name)
