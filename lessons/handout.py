"""Makes every handout from its solution: the same notebook, with stubs where the solution was.

    python -m lessons.handout                         # make all handouts
    python -m lessons.handout 2_sliding_average       # make this one
    python -m lessons.handout --check                 # only say whether they are up to date

A solution, `lessons/solutions/NAME.ipynb`, is the one source. In its code cells, what the student is to write
stands between two marker lines. Lines in between that begin with `### ` are what the student finds instead:

    def count(n):
        ### BEGIN SOLUTION
        ### raise NotImplementedError("return the number of outputs")
        return n + 1
        ### END SOLUTION

A block with no such line leaves a plain NotImplementedError behind. A block at the left margin must have one,
because there a `raise` would stop the cell instead of the check that comes after it.

The solution is run, and what its check cells print (those with `# NBVAL_CHECK_OUTPUT` on a line of its own)
is stored in both notebooks as the reference that nbval compares. No other output is kept. The cells that are
to be filled in and the check cells get the metadata by which nbgrader, and our own grader, know them again.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import tempfile
import warnings
from copy import deepcopy
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

LESSONS = Path(__file__).parent
BEGIN, END, STUB = "### BEGIN SOLUTION", "### END SOLUTION", "###"
DEFAULT_STUB = 'raise NotImplementedError("write your solution here")'
CHECK = "# NBVAL_CHECK_OUTPUT"
CELL_SECONDS = 120  # a cell of a solution that runs longer than this is broken

# What somebody might write who meant a marker. A marker with a slip in it must not hand the solution out.
_MEANT_AS_MARKER = re.compile(r"#\W*(BEGIN|END)[\W_]*SOLUTION", re.IGNORECASE)
_MEANT_AS_CHECK = re.compile(r"#.*NBVAL.?CHECK", re.IGNORECASE)


class HandoutError(ValueError):
    """Raised when a solution cannot be made into a handout; the message says where and why."""


def strip_solutions(source: str) -> str:
    """Return a cell's source with every solution block replaced by its stub.

    Raises
    ------
    HandoutError
        If a marker is unbalanced, nested, misspelt or shares its line; if a block holds no code; if a block
        at the left margin has no stub; if what is left is no Python.
    """
    kept, block, begin = [], None, None  # `block`: the lines since BEGIN, None outside
    for number, line in enumerate(source.split("\n"), 1):
        text = line.strip()
        if text == BEGIN:
            if block is not None:
                raise HandoutError(f"line {number}: {BEGIN} inside the block that line {begin} began")
            block, begin, indent = [], number, line[: len(line) - len(line.lstrip())]
        elif text == END:
            if block is None:
                raise HandoutError(f"line {number}: {END} without a {BEGIN} before it")
            kept += _stub(block, indent, begin)
            block = None
        elif _MEANT_AS_MARKER.search(line):
            raise HandoutError(
                f"line {number}: {text!r} looks like a marker; write {BEGIN} or {END} on a line of its own"
            )
        else:
            (kept if block is None else block).append(line)
    if block is not None:
        raise HandoutError(f"line {begin}: {BEGIN} without an {END} after it")
    stripped = "\n".join(kept)
    try:
        body = ast.parse(stripped).body
    except SyntaxError as problem:
        raise HandoutError(
            f"line {problem.lineno} of the handout's cell is no Python: {problem.msg} "
            "(magics such as %timeit are not allowed: nbval passes a cell that fails in one)"
        ) from None
    if any(isinstance(statement, ast.Raise) for statement in body):
        raise HandoutError(
            "the handout's cell would raise at the left margin and stop before its check; "
            "give the block a stub of its own, in lines that begin with '### '"
        )
    return stripped


def _stub(block: list[str], indent: str, begin: int) -> list[str]:
    """Return the lines that stand in the handout for the lines of one solution block."""
    stub = [line.strip() for line in block if line.strip().startswith(STUB)]
    if not any(line.strip() and not line.strip().startswith("#") for line in block):
        raise HandoutError(f"line {begin}: the solution block is empty")
    if stub:
        return [(indent + line[len(STUB) :].removeprefix(" ")).rstrip() for line in stub]
    return [indent + DEFAULT_STUB]


def is_check(cell) -> bool:
    """Whether nbval compares this cell's output with the stored one."""
    return cell.cell_type == "code" and any(line.strip() == CHECK for line in cell.source.splitlines())


def make(solution: Path) -> tuple[str, str]:
    """Run a solution and return two files' text: the solution with its reference outputs, and its handout.

    Raises
    ------
    HandoutError
        If it is no valid notebook, a cell fails, a check cell prints nothing or anything but plain text, or
        a solution block is not well formed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # cells without an id would get a new one in every run
            notebook = nbformat.read(solution, as_version=4)
    except Exception as problem:  # broken JSON, another version, a missing id: all end here
        raise HandoutError(f"{solution.name} is not a valid notebook: {problem}") from None
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    handout_sources = []
    for number, cell in enumerate(code):  # nbval counts code cells, from 0
        where = f"{solution.name}, code cell {number}"
        try:
            handout_sources.append(strip_solutions(cell.source))
        except HandoutError as problem:
            raise HandoutError(f"{where}, {problem}") from None
        if not is_check(cell) and _MEANT_AS_CHECK.search(cell.source):
            raise HandoutError(f"{where}: {CHECK} must stand alone on its line")
        if is_check(cell) and handout_sources[-1] != cell.source:
            raise HandoutError(f"{where}: a check cell must not hold a solution block")
    if not any(is_check(cell) for cell in code):
        raise HandoutError(f"{solution.name} has no check cell ({CHECK})")
    if handout_sources == [cell.source for cell in code]:
        raise HandoutError(f"{solution.name} has no solution block ({BEGIN})")

    for number, (cell, outputs) in enumerate(zip(code, _run(notebook, solution.name), strict=True)):
        cell.outputs, cell.execution_count = [], None
        if is_check(cell):
            cell.outputs = [_reference(outputs, f"{solution.name}, code cell {number}")]
            cell.execution_count = number + 1
        cell.metadata.pop("nbgrader", None)
        if is_check(cell) or handout_sources[number] != cell.source:
            cell.metadata["nbgrader"] = _nbgrader(cell, solution.stem)
    solved = nbformat.writes(notebook) + "\n"
    for cell, source in zip(code, handout_sources, strict=True):
        cell.source = source
    return solved, nbformat.writes(notebook) + "\n"


def _nbgrader(cell, lesson: str) -> dict:
    """Return what nbgrader (its metadata schema, version 3) has to know of an answer's or a check's cell."""
    metadata = {
        "schema_version": 3,
        "grade_id": re.sub(r"[^A-Za-z0-9_-]", "-", f"{lesson}-{cell.id}"),
        "grade": is_check(cell),
        "locked": is_check(cell),
        "solution": not is_check(cell),
        "task": False,
    }
    if is_check(cell):  # the line that it prints says what it is worth
        said = re.search(r"passed, (\d+) points?\.", cell.outputs[0].text)
        metadata["points"] = int(said[1]) if said else 1
    return metadata


def _run(notebook, name: str) -> list[list]:
    """Run a copy of the notebook in an empty folder and return the outputs of its code cells."""
    copy = deepcopy(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.execution_count = None  # afterwards, a cell with a count is one that ran
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            copy,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # its advice on transport is not for authors
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as problem:
            ran = sum(cell.get("execution_count") is not None for cell in copy.cells)
            reason = str(problem)
            if isinstance(problem, CellExecutionError):
                reason = f"{problem.ename}: {problem.evalue}"
            raise HandoutError(f"{name}, code cell {max(ran - 1, 0)} fails: {reason}") from None
    return [cell.outputs for cell in copy.cells if cell.cell_type == "code"]


def _reference(outputs: list, where: str):
    """Return a check cell's outputs as the one stream of text that nbval will compare."""
    for output in outputs:
        if output.output_type != "stream" or output.name != "stdout":
            kind = output.get("name", output.output_type)
            raise HandoutError(f"{where}: a check cell must only print, but this one has output {kind!r} too")
    text = "".join(output.text for output in outputs)
    if not text.strip():
        raise HandoutError(f"{where}: the check cell printed nothing, so nbval would have nothing to compare")
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def find(names: list[str], folder: Path = LESSONS) -> list[Path]:
    """Return the solutions of these names, or all there are.

    Raises
    ------
    HandoutError
        If a name is unknown, or no solution exists.
    """
    known = {path.stem: path for path in sorted((folder / "solutions").glob("*.ipynb"))}
    if not known:
        raise HandoutError(f"no solution found in {folder / 'solutions'}")
    unknown = [name for name in names if name.removesuffix(".ipynb") not in known]
    if unknown:
        raise HandoutError(f"no lesson is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name.removesuffix(".ipynb")] for name in dict.fromkeys(names)] or list(known.values())


def _refuse_orphans(folder: Path, made: dict) -> None:
    orphans = [path.name for path in sorted(folder.glob("*.ipynb")) if path not in made]
    if orphans:
        raise HandoutError(f"{', '.join(orphans)} has no solution in {folder.name}/solutions")


def replace(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments: list[str] | None = None, folder: Path = LESSONS) -> int:
    """Run the command line; return 0, or 1 when a handout is not up to date or cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python -m lessons.handout", description="Make the lessons' handouts from their solutions."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a lesson such as 2_sliding_average; else all"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file is not what its solution gives"
    )
    options = parser.parse_args(arguments)
    try:
        files = {}  # every text is made before the first file is written
        for solution in find(options.names, folder):
            files[solution], files[folder / solution.name] = make(solution)
        if not options.names:
            _refuse_orphans(folder, files)
    except HandoutError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    stale = [path for path, text in files.items() if not path.exists() or path.read_bytes() != text.encode()]
    for path in stale:
        shown = path.relative_to(folder)
        if options.check:
            print(f"{shown} is not what its solution gives; run python -m lessons.handout", file=sys.stderr)
        else:
            replace(path, files[path])
            print(f"wrote {shown}")
    if not stale:
        print(f"{len(files) // 2} handout{'s' * (len(files) > 2)} up to date")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
