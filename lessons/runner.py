"""Runs a notebook under nbval, in processes of its own, within limits, while a judge looks at its answers."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import re
import resource
import shutil
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import psutil

from lessons import checks, judge
from lessons.hand_in import ADDRESS
from lessons.handout import CHECK

CELL_SECONDS = 120  # for one cell of it
JUDGE_SECONDS = 180  # for one check
ALONE_SECONDS = 10  # that nbval may be without a kernel, once it has had one
PROCESSES = 64  # that a notebook may have at a time; nbval, its kernel and their helpers are about five
FILE_BYTES, FOLDER_BYTES = 256 * 2**20, 2**30  # that a notebook may write: one file, all files
REPORT_BYTES = 20 * 2**20  # that nbval's report on a run may have

# What a notebook's process gets of the environment. The rest may hold passwords.
ENVIRONMENT = re.compile(
    r"PATH|LANG|LC_.*|TZ|LD_LIBRARY_PATH|DYLD_.*|VIRTUAL_ENV|CONDA_.*|CUDA.*|NVIDIA_.*|NUMBA_.*|(OMP|MKL|"
    r"OPENBLAS|BLIS)_.*"
)


def load(lessons: Iterable[judge.Lesson]) -> None:
    """Have the judges' modules loaded once and for all, before the first notebook runs."""
    modules = {lesson.module for lesson in lessons}
    _Bench.context.set_forkserver_preload(["lessons.judge", *sorted(modules)])


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
        if report.stat().st_size > REPORT_BYTES:
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
