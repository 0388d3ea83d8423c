"""What a student hands in: finds notebooks, recognises their lessons, and puts the master's checks back."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import stat
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import nbformat

from lessons import judge
from lessons.handout import LESSONS, is_check

LARGEST = 20 * 2**20  # bytes of a notebook that is handed in; a solved one has some 40,000


class Refused(ValueError):
    """Raised for a file that cannot be graded; the message says why."""


# ---- masters


@dataclass(frozen=True)
class Master:
    """A lesson as it was handed out."""

    lesson: judge.Lesson
    cells: tuple = field(repr=False)

    @property
    def checks(self):
        """The cells that decide on points."""
        return [cell for cell in self.cells if is_check(cell)]


def masters(folder: Path = LESSONS) -> dict[str, Master]:
    """Read all lessons, by name.

    Raises
    ------
    Refused
        If there is none, or one has a check cell that is not understood.
    """
    found = {path.stem: _master(path) for path in sorted(folder.glob("*.ipynb"))}
    if not found:
        raise Refused(f"no lesson found in {folder}")
    return found


def _master(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    imported = re.search(
        r"^from lessons import (\w+) as (\w+)$", "\n".join(cell.source for cell in code), re.M
    )
    if not imported:
        raise Refused(f"{path.name} does not import its checks: from lessons import … as check")
    module, alias = import_module(f"lessons.{imported[1]}"), imported[2]
    tasks = []
    for cell in filter(is_check, code):
        called = [
            node.attr
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == alias
        ]
        if len(called) != 1 or not hasattr(getattr(module, called[0], None), "title"):
            raise Refused(f"{path.name}, cell {cell.id}: a check cell calls one task of {module.__name__}")
        title = getattr(module, called[0]).title
        points, extra = module.lesson.points[title], title in module.lesson.extra
        tasks.append(judge.Task(cell.id, cell.source, title, points, extra))
    return Master(judge.Lesson(path.stem, module.__name__, alias, tuple(tasks)), tuple(notebook.cells))


# ---- submissions


def find(paths: Sequence[str]) -> list[Path]:
    """List the notebooks at these paths and below these folders, without checkpoints and hidden folders.

    Raises
    ------
    Refused
        If a path does not exist, or there is no notebook at all.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            for folder, inner, files in os.walk(path):
                inner[:] = sorted(name for name in inner if not name.startswith((".", "__")))
                names = sorted(name for name in files if name.endswith(".ipynb") and name[0] != ".")
                found += [Path(folder, name) for name in names]
                inner_notebooks = [name for name in inner if name.endswith(".ipynb")]
                found += [Path(folder, name) for name in inner_notebooks]
        elif path.exists() or path.is_symlink():
            found.append(path)
        else:
            raise Refused(f"{path} does not exist")
    if not found:
        raise Refused(f"no notebook found in {', '.join(map(str, paths))}")
    return list(dict.fromkeys(found))


def read(path: Path):
    """Read a submission.

    Raises
    ------
    Refused
        If it is no notebook that could be run.
    """
    try:
        kind = path.lstat()
        if stat.S_ISLNK(kind.st_mode):
            raise Refused("this is a link, not a file")
        if not stat.S_ISREG(kind.st_mode):
            raise Refused("this is not a file")
        if kind.st_size > LARGEST:
            raise Refused(f"the file has {kind.st_size / 2**20:.0f} MB; {LARGEST // 2**20} are allowed")
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Refused("this is not a notebook: it is no text") from None
    if not text.strip():
        raise Refused("the file is empty")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            notebook = nbformat.reads(text, as_version=4)
        cells = [_cell(cell) for cell in notebook.cells]
    except json.JSONDecodeError as error:
        raise Refused(f"this is not a notebook: broken JSON in line {error.lineno}") from None
    except Exception as error:  # nbformat raises whatever its code stumbles over
        words = str(error).strip().splitlines()[:1] or [""]
        raise Refused(f"this is not a notebook: {words[0] or type(error).__name__}") from None
    if not any(cell.cell_type == "code" for cell in cells):
        raise Refused("the notebook has no code cell")
    return cells


def _cell(cell):
    """Return what counts of a student's cell: its kind, its source and its names."""
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
    names = {cell.get("id"), cell.metadata.get("id")} - {None}
    if cell.cell_type not in ("code", "markdown", "raw") or not isinstance(cell.source, str):
        raise ValueError("a cell is neither code nor text")
    plain = nbformat.from_dict({"cell_type": cell.cell_type, "source": cell.source, "metadata": {}})
    plain.names, plain.grade_id = names, grade_id
    return plain


def recognise(cells, path: Path, known: dict[str, Master]) -> Master:
    """Return the lesson that a notebook was made from: by its cells, then by its file's name.

    Raises
    ------
    Refused
        If nothing in it is from any lesson.
    """

    def likeness(master):
        grade_ids = {_grade_id(master, cell) for cell in master.cells}
        sources = {cell.source.strip() for cell in master.cells if cell.source.strip()}
        same = sum(cell.grade_id in grade_ids for cell in cells)
        same += sum(cell.source.strip() in sources for cell in cells)
        return same, master.lesson.name in path.stem

    best = max(known.values(), key=likeness)
    same, named = likeness(best)
    setup = next((cell.source for cell in best.cells if cell.cell_type == "code"), "")
    if not named and same - any(cell.source.strip() == setup.strip() for cell in cells) < 1:
        raise Refused("this is not one of the lessons")
    return best


def _grade_id(master, cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id") or f"{master.lesson.name}-{cell.id}"


def restore(cells, master: Master) -> tuple[list, list[str]]:
    """Put the master's check cells into a student's notebook; return its cells, and what had been changed.

    A check stays where the student has it, if that is after the cell with its answer; else it comes right
    after that cell, and its copies. All other cells stay as they are, and where they are.
    """
    remarks = []
    originals = {}  # position in the student's notebook → the master's cell
    for i, cell in enumerate(cells):
        for original in master.cells:
            by_name = original.id in cell.names or cell.grade_id == _grade_id(master, original)
            same = is_check(original) and cell.source.strip() == original.source.strip()
            if original.cell_type == cell.cell_type and (by_name or same):
                originals[i] = original
                break
    result = [(i, cell) for i, cell in enumerate(cells) if i not in originals or not is_check(originals[i])]
    for number, check in enumerate(master.checks):
        places = [i for i, original in originals.items() if original is check]
        before = []
        for original in master.cells[: master.cells.index(check)]:
            before += [i for i, known in originals.items() if known is original and not is_check(original)]
        answer = [i for i, known in originals.items() if known is _before(master, check)]
        later = [i for i in places if i > min(answer or before or [-1])]
        title = master.lesson.tasks[number].title
        if not places:
            remarks.append(f"the check of {title!r} was missing")
        elif len(places) > 1:
            remarks.append(f"the check of {title!r} was there {len(places)} times")
        elif cells[places[0]].source.strip() != check.source.strip():
            remarks.append(f"the check of {title!r} had been changed")
        elif not later:
            remarks.append(f"the check of {title!r} stood before its answer")
        place = later[0] if later else max(answer or before or [-1]) + 0.5 + number / 1000
        result.append((place, nbformat.from_dict({**deepcopy(check), "check": True})))
    return [cell for _, cell in sorted(result, key=lambda item: item[0])], remarks


def _before(master, check):
    """Return the last code cell before a check that is none itself: the one with the answer."""
    cells = master.cells[: master.cells.index(check)]
    return next((cell for cell in reversed(cells) if cell.cell_type == "code" and not is_check(cell)), None)


def unknown_magics(cells) -> list[str]:
    """Say which cells use a `%magic` that IPython does not know: there, the rest of the cell does not run."""
    known = _known_magics()
    found = []
    for number, cell in enumerate(cell for cell in cells if cell.cell_type == "code"):
        for percents, name in re.findall(r"^\s*(%%?)([A-Za-z_]\w*)", cell.source, re.M):
            if name not in known:
                found.append(f"code cell {number} uses the unknown magic {percents}{name}")
    return found


def _known_magics():
    from IPython.core import magics

    names = {"matplotlib", "alias_magic", "lsmagic", "autoreload"}
    for value in vars(magics).values():
        table = getattr(value, "magics", None)
        if isinstance(table, dict):
            names |= table.get("line", {}).keys() | table.get("cell", {}).keys()
    return names | {"alias", "cd", "ls", "cat", "bash", "sh", "html", "javascript", "latex", "svg", "python"}
