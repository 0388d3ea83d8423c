"""Grades notebooks: runs each by itself, with the check cells of the master, and writes a table.

    python -m lessons.grade submissions/                       # every notebook below this folder
    python -m lessons.grade anna.ipynb ben.ipynb --csv points.csv
    python -m lessons.grade submissions/ --timeout 120 --memory 2

A notebook runs under nbval, in processes of its own, in an empty folder, with a copy of the book's packages,
and within limits. Points are given by another process, which the notebook's code cannot reach into (see
`lessons.judge`). So nothing that a notebook prints, patches or redefines gives a point. What it could still
do to the machine that it runs on, a container has to prevent: the page for instructors says what.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import csv
import ctypes
import io
import json
import multiprocessing
import os
import re
import resource
import shutil
import site
import stat
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import psutil
from tqdm import tqdm

from lessons import checks, judge
from lessons.hand_in import ADDRESS
from lessons.handout import CHECK, LESSONS, is_check, replace

SECONDS, GIGABYTES = 300, 4.0  # for one notebook
CELL_SECONDS = 120  # for one cell of it
JUDGE_SECONDS = 180  # for one check
ALONE_SECONDS = 10  # that nbval may be without a kernel, once it has had one
PROCESSES = 64  # that a notebook may have at a time; nbval, its kernel and their helpers are about five
FILE_BYTES, FOLDER_BYTES = 256 * 2**20, 2**30  # that a notebook may write: one file, all files
LARGEST = 20 * 2**20  # bytes of a notebook that is handed in; a solved one has some 40,000
WORDS = 300  # characters of one reason in the report

# What a notebook's process gets of the environment. The rest may hold passwords.
ENVIRONMENT = re.compile(
    r"PATH|LANG|LC_.*|TZ|LD_LIBRARY_PATH|DYLD_.*|VIRTUAL_ENV|CONDA_.*|CUDA.*|NVIDIA_.*|NUMBA_.*|(OMP|MKL|"
    r"OPENBLAS|BLIS)_.*"
)


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


def load(known: dict[str, Master]) -> None:
    """Have the judges' modules loaded once and for all, before the first notebook runs."""
    modules = {master.lesson.module for master in known.values()}
    _Bench.context.set_forkserver_preload(["lessons.judge", *sorted(modules)])


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


# ---- running one notebook


@dataclass
class Run:
    """What came of running a notebook."""

    verdicts: dict[str, tuple[bool, str]] = field(default_factory=dict)  # cell → passed, words
    reason: str = ""  # why it was stopped
    failed: list[str] = field(default_factory=list)  # other cells that failed


def run(cells, lesson: judge.Lesson, timeout: float, memory: float) -> Run:
    """Run a restored notebook under nbval, while a judge looks at its answers.

    Parameters
    ----------
    timeout : float
        Seconds, for all of it.
    memory : float
        Gigabytes, for all its processes together.
    """
    with tempfile.TemporaryDirectory(prefix="grade-", ignore_cleanup_errors=True) as folder:
        folder = Path(folder)
        work, command, environment = _prepare(folder, cells, timeout)
        with _Bench(str(folder / "judge"), lesson, cells, int(memory * 2**30)) as bench:
            with open(folder / "said", "wb") as said:
                tree = _Tree()
                process = subprocess.Popen(
                    command, cwd=work, env=environment, start_new_session=True, preexec_fn=_limit,
                    stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                )  # fmt: skip
            try:
                reason = _watch(process, tree, bench, work.parent, timeout, memory * 2**30)
            finally:
                tree.kill()
                process.wait()
            bench.listen(until=time.monotonic() + 5)
            failed = _failed_cells(work / "report.xml", cells)
        return Run(bench.verdicts, reason, failed)


def _prepare(folder, cells, timeout):
    """Fill the folder of a run; return where it works, its command and its environment."""
    work, home, packages = folder / "run" / "work", folder / "run" / "home", folder / "run" / "packages"
    for place in (work, home, home / "tmp"):
        place.mkdir(parents=True)
    for package in ("minidl", "figures", "lessons"):
        source = Path(import_module(package).__file__).parent
        shutil.copytree(
            source, packages / package, ignore=shutil.ignore_patterns("solutions", "*.ipynb"), symlinks=True
        )
    import matplotlib

    fonts = list(Path(matplotlib.get_cachedir()).glob("fontlist*.json"))
    for file in fonts:  # finding the fonts again would take seconds
        (home / "matplotlib").mkdir(exist_ok=True)
        shutil.copy2(file, home / "matplotlib")

    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for number, cell in enumerate(cells):
        source = cell.source
        if cell.get("check"):
            source = f"{CHECK}\n__import__('lessons.hand_in').hand_in.serve({cell.id!r})"
        new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        made = new(source, id=f"cell-{number}")
        if cell.get("check"):
            made.outputs, made.execution_count = cell.outputs, number + 1
        notebook.cells.append(made)
    nbformat.write(notebook, work / "notebook.ipynb")
    (work / "pytest.ini").write_text("[pytest]\n")

    command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "-p", "nbval.plugin"]
    command += ["-p", "no:cacheprovider", "--color=no", "-q", "--junitxml=report.xml"]
    command += [
        "--nbval-lax",
        "--nbval-current-env",
        f"--nbval-cell-timeout={min(CELL_SECONDS, timeout):.0f}",
    ]
    environment = {key: value for key, value in os.environ.items() if ENVIRONMENT.fullmatch(key)}
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "PYTHONPATH": str(packages),
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        ADDRESS: str(folder / "judge"),
    }
    return work, [*command, "notebook.ipynb"], environment


def _limit():
    """Set what the system itself can enforce, in the new process."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _watch(process, tree, bench, folder, timeout, memory) -> str:
    """Wait for the run to end; return "", or why it has to be ended."""
    begin = looked = together = time.monotonic()
    kernel = False  # whether there has been one
    while process.poll() is None:
        bench.listen(until=time.monotonic() + 0.1)
        now = time.monotonic()
        if now - begin > timeout:
            return f"stopped after {timeout:g} seconds"
        processes = tree.processes()
        kernel = kernel or len(processes) > 1
        if len(processes) != 1 or len(bench.verdicts) == bench.tasks or bench.busy:
            together = now
        if kernel and now - together > ALONE_SECONDS:  # nbval would wait for each of the cells that are left
            return "its kernel died"
        if len(processes) > PROCESSES:
            return f"stopped: it had started {len(processes)} processes"
        if tree.memory(processes) > memory:
            return f"stopped: it took more than {memory / 2**30:g} GB of memory"
        if now - looked > 1:
            looked = now
            if _size(folder) > FOLDER_BYTES:
                return f"stopped: it had written more than {FOLDER_BYTES // 2**20} MB of files"
    return "" if process.returncode in (0, 1) else f"its run was ended from inside ({process.returncode})"


def _size(folder) -> int:
    total = 0
    for number, (path, _, files) in enumerate(os.walk(folder)):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
        total += 4096 * len(files)
        if number > 10_000:
            return FOLDER_BYTES + 1
    return total


class _Tree:
    """All processes that a run has started, those too whose parent is gone: they become ours."""

    def __init__(self):
        with contextlib.suppress(OSError, AttributeError):  # Linux only; elsewhere orphans are init's
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        self.me = psutil.Process()
        self.others = {child.pid for child in self.me.children()}

    def processes(self) -> list:
        found = []
        for child in self.me.children():
            if child.pid not in self.others:
                with contextlib.suppress(psutil.Error):
                    found += [child, *child.children(recursive=True)]
        return [process for process in found if not self._gone(process)]

    @staticmethod
    def _gone(process):
        """Whether a process has ended, and its parent has only not taken notice yet."""
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return True

    @staticmethod
    def memory(processes) -> int:
        total = 0
        for process in processes:
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def kill(self) -> None:
        """End them all; who starts new ones meanwhile is asked again."""
        end = time.monotonic() + 20
        while (processes := self.processes()) and time.monotonic() < end:
            for signal in ("suspend", "kill"):  # stopped first, so that none of them can start another
                for process in processes:
                    with contextlib.suppress(psutil.Error):
                        getattr(process, signal)()
            psutil.wait_procs(processes, timeout=2)
        for child in self.me.children():  # orphans that have become ours
            if child.pid not in self.others:
                with contextlib.suppress(psutil.Error):
                    child.wait(timeout=1)


class _Bench:
    """Where judges sit: if one is lost over a task, the next takes the tasks that are left."""

    context = multiprocessing.get_context("forkserver")
    patience = (
        checks.SECONDS + 5
    )  # for one answer, which is stopped after `checks.SECONDS` in its own process

    def __init__(self, address, lesson, cells, memory):
        self.verdicts: dict[str, tuple[bool, str]] = {}
        self._sources = [cell.source for cell in cells if cell.cell_type == "code"]
        self._given = address, lesson, memory
        self.busy, self._since, self._judge = None, 0.0, None
        self.tasks = len(lesson.tasks)

    def __enter__(self):
        self._seat()
        return self

    def __exit__(self, *_):
        self._judge.kill()
        self._judge.join()

    def _seat(self):
        address, lesson, memory = self._given
        Path(address).unlink(missing_ok=True)
        self._report, theirs = self.context.Pipe(duplex=False)
        self._judge = self.context.Process(
            target=judge.sit,
            args=(address, lesson, self._sources, theirs, list(self.verdicts), memory, self.patience),
            daemon=True,
        )
        self._judge.start()
        theirs.close()
        if not self._report.poll(60) or self._report.recv() != ("ready",):
            raise RuntimeError("the judge's process does not start")

    def listen(self, until: float) -> None:
        """Take in what the judge reports; return at that time, or at once after it if nobody is judged."""
        while True:
            try:
                if self._report.poll(max(0, until - time.monotonic())):
                    kind, cell, *verdict = self._report.recv()
                    if kind == "begin":
                        self.busy, self._since = cell, time.monotonic()
                    else:
                        self.verdicts[cell], self.busy = tuple(verdict), None
                    continue
            except EOFError:
                self._lost("its check ran out of memory or broke down")
            if self.busy and time.monotonic() - self._since > JUDGE_SECONDS:
                self._lost(f"its check was stopped after {JUDGE_SECONDS} seconds")
            if time.monotonic() >= until:
                return

    def _lost(self, words):
        if self.busy:
            self.verdicts[self.busy], self.busy = (False, words), None
        self._judge.kill()
        self._judge.join()
        self._seat()


def _failed_cells(report: Path, cells) -> list[str]:
    """List the cells, checks aside, that nbval saw failing, and how."""
    found = []
    code = [cell for cell in cells if cell.cell_type == "code"]
    with contextlib.suppress(OSError, ElementTree.ParseError, ValueError):
        if report.stat().st_size > LARGEST:
            return ["it printed very much"]
        for case in ElementTree.parse(report).iter("testcase"):
            number = int(case.get("name", "").rpartition(" ")[2])
            for failure in case:
                if number < len(code) and not code[number].get("check"):
                    text = failure.text or failure.get("message") or ""
                    lines = [line.strip() for line in text.splitlines() if line.strip()]
                    errors = [
                        line for line in lines if re.match(r"\w*(Error|Exception|Interrupt|Exit)\b", line)
                    ]
                    found.append(f"code cell {number} fails: {(errors or lines or ['?'])[-1]}")
    return found


# ---- grading


@dataclass
class Result:
    """A row of the report."""

    file: str
    lesson: str = ""
    points: int = 0
    of: int = 0
    extra: int = 0
    seconds: float = 0.0
    tasks: list[tuple[str, int, int]] = field(default_factory=list)  # title, got, of
    reasons: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """Everything that is to be said, in one line."""
        return "; ".join(_plain(reason) for reason in self.reasons)


def _plain(text):
    """Return text in one line, without what a terminal would obey."""
    text = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in " ".join(text.split()))
    return text if len(text) <= WORDS else text[: WORDS - 1] + "…"


def grade(path: Path, known: dict[str, Master], timeout=SECONDS, memory=GIGABYTES) -> Result:
    """Grade one notebook; whatever is wrong with it becomes a reason in the result."""
    result, begin = Result(str(path)), time.monotonic()
    try:
        cells = read(path)
        master = recognise(cells, path, known)
    except Refused as refused:
        result.reasons.append(str(refused))
        return result
    lesson = master.lesson
    result.lesson = lesson.name
    result.of = sum(task.points for task in lesson.tasks if not task.extra)
    cells, remarks = restore(cells, master)
    done = run(cells, lesson, timeout, memory)
    result.reasons += [done.reason] if done.reason else []
    for task in lesson.tasks:
        passed, words = done.verdicts.get(
            task.cell, (False, f"{task.title}: its check was never reached; the kernel was gone or stuck")
        )
        got = task.points if passed else 0
        result.points += 0 if task.extra else got
        result.extra += got if task.extra else 0
        result.tasks.append((task.title, got, task.points))
        if not passed and not (task.extra and "still open" in words):
            result.reasons.append(words if words.startswith(task.title) else f"{task.title}: {words}")
    result.reasons += done.failed + unknown_magics(cells) + remarks
    result.seconds = time.monotonic() - begin
    return result


def as_csv(results: Sequence[Result]) -> str:
    """Return the report as CSV: a row for each notebook, a column for each task's points."""
    most = max((len(result.tasks) for result in results), default=0)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = ["file", "lesson", "points", "of", "extra", "seconds"]
    writer.writerow([*head, *(f"task {n + 1}" for n in range(most)), "reason"])
    for result in results:
        tasks = [got for _, got, _ in result.tasks] + [""] * (most - len(result.tasks))
        row = [result.file, result.lesson, result.points, result.of, result.extra, f"{result.seconds:.1f}"]
        writer.writerow([_cell_of_csv(value) for value in [*row, *tasks, result.reason]])
    return file.getvalue()


def _cell_of_csv(value):
    """Return a value that a spreadsheet will not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


def grade_all(paths: Sequence[Path], known, timeout, memory) -> Iterator[Result]:
    """Grade notebooks one after the other; what breaks the grader itself becomes a reason too."""
    for path in paths:
        try:
            yield grade(path, known, timeout, memory)
        except Exception as error:
            words = f"the grader stopped with {type(error).__name__}: {error}"
            yield Result(str(path), reasons=[words])


def main(arguments: list[str] | None = None, folder: Path = LESSONS) -> int:
    """Run the command line; return 0, 1 for wrong arguments, 130 if it was interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m lessons.grade", description="Grade students' notebooks of the lessons."
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a notebook, or a folder with notebooks")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the report to this file as well")
    parser.add_argument(
        "--timeout", type=float, default=SECONDS, metavar="S", help=f"seconds for a notebook ({SECONDS})"
    )
    parser.add_argument(
        "--memory", type=float, default=GIGABYTES, metavar="GB", help=f"memory for a notebook ({GIGABYTES:g})"
    )
    options = parser.parse_args(arguments)
    results: list[Result] = []
    try:
        for name in ("timeout", "memory"):
            if not getattr(options, name) > 0:
                raise Refused(f"--{name} must be larger than 0, got {getattr(options, name):g}")
        paths, known = find(options.paths), masters(folder)
        if options.csv:
            replace(options.csv, as_csv(results))
    except (Refused, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    load(known)
    width = min(max(len(str(path)) for path in paths), 60)
    print(f"{'notebook':<{width}}  {'lesson':<20} {'points':>8}  reason")
    tqdm.monitor_interval = 0  # no thread beside the one that starts processes
    try:
        for result in tqdm(grade_all(paths, known, options.timeout, options.memory), total=len(paths)):
            results.append(result)
            if options.csv:
                replace(options.csv, as_csv(results))
            tqdm.write(_row(result, width))
    except KeyboardInterrupt:
        print(f"\ninterrupted: {len(results)} of {len(paths)} notebooks were graded", file=sys.stderr)
        return 130
    whole = sum(result.of > 0 and result.points == result.of for result in results)
    print(f"\n{len(results)} notebooks, {whole} complete")
    return 0


def _row(result, width):
    points = f"{result.points}/{result.of}" + (f"+{result.extra}" if result.extra else "")
    file = _plain(result.file)
    file = file if len(file) <= width else "…" + file[1 - width :]
    first, *others = [_plain(reason) for reason in result.reasons] or [""]
    line = f"{file:<{width}}  {result.lesson:<20} {points:>8}  {first}"
    return "\n".join([line.rstrip(), *(f"{'':<{width + 32}}{reason}" for reason in others)])


if __name__ == "__main__":
    sys.exit(main())
