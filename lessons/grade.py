"""Grades notebooks: runs each by itself, with the check cells of the master, and writes a table.

    python -m lessons.grade submissions/                       # every notebook below this folder
    python -m lessons.grade anna.ipynb ben.ipynb --csv points.csv
    python -m lessons.grade submissions/ --timeout 120 --memory 2

A notebook is read and gets its check cells back (see `lessons.submission`). It runs under nbval, in processes
of its own, in an empty folder, with a copy of the book's packages, and within limits (see `lessons.runner`).
Points are given by another process, which the notebook's code cannot reach into (see `lessons.judge`). So
nothing that a notebook prints, patches or redefines gives a point. What it could still do to the machine that
it runs on, a container has to prevent: the page for instructors says what.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from lessons import runner, submission
from lessons.handout import LESSONS, replace
from lessons.submission import Master, Refused

SECONDS, GIGABYTES = 300, 4.0  # for one notebook
WORDS = 300  # characters of one reason in the report


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
        cells = submission.read(path)
        master = submission.recognise(cells, path, known)
    except Refused as refused:
        result.reasons.append(str(refused))
        return result
    lesson = master.lesson
    result.lesson = lesson.name
    result.of = sum(task.points for task in lesson.tasks if not task.extra)
    cells, remarks = submission.restore(cells, master)
    done = runner.run(cells, lesson, timeout, memory)
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
    result.reasons += done.failed + submission.unknown_magics(cells) + remarks
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
        paths, known = submission.find(options.paths), submission.masters(folder)
        if options.csv:
            replace(options.csv, as_csv(results))
    except (Refused, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    runner.load(master.lesson for master in known.values())
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
