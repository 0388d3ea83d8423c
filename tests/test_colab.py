"""A rehearsal of Colab: its Python, its versions, one notebook alone in an empty folder, and no file of ours.

What the image ships stands in `tests/colab/stock.txt`. Notebooks fetch the package themselves, in their first
cell, from the address in MINIDL_SOURCE, which here is this checkout; nothing that the image ships may change.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from book import build

ROOT = build.ROOT
CHAPTERS = [ROOT / f"{name}.ipynb" for name in build.pages() if name.startswith("book/")]
SOLUTIONS = sorted(ROOT.glob("lessons/solutions/*.ipynb"))
HANDOUTS = sorted(ROOT.glob("lessons/*.ipynb"))
STOCK = ROOT / "tests" / "colab" / "stock.txt"
SECONDS = 300  # for one cell; the machines of continuous integration are slow


def python_313() -> str | None:
    """Return a Python 3.13 that runs, from the search path or from pyenv's folder; or None."""
    places = [shutil.which("python3.13"), *sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python3.13"))]
    if sys.version_info[:2] == (3, 13):
        places.insert(0, sys.executable)
    for place in filter(None, places):
        question = [place, "-c", "import sys; print(sys.version_info[:2] == (3, 13))"]
        if subprocess.run(question, capture_output=True, text=True).stdout.strip() == "True":
            return str(place)
    return None


pytestmark = pytest.mark.skipif(python_313() is None, reason="Colab runs Python 3.13, and none is at hand")


def run(*command, **where):
    """Run a command; fail with what it printed."""
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **where)
    if result.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}:\n{result.stdout[-4000:]}", pytrace=False)
    return result.stdout


def packages(python) -> dict[str, str]:
    """Return the versions of all installed packages but ours."""
    listed = json.loads(run(python, "-m", "pip", "list", "--format=json"))
    return {package["name"]: package["version"] for package in listed if package["name"] != "minidl"}


@pytest.fixture(scope="module")
def image() -> Path:
    """An environment with what Colab ships, and without minidl; made once, then kept in `_build`."""
    folder = build.BUILD / "colab"
    wanted = hashlib.sha256(STOCK.read_bytes()).hexdigest()
    stamp = folder / "made-from"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        run(python_313(), "-m", "venv", folder)
        run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", STOCK)
        stamp.write_text(wanted)
    python = folder / "bin" / "python"
    extra = packages(python).keys() - set(json.loads(_stock_list(folder)))  # fetched in an earlier rehearsal
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "minidl", *sorted(extra))
    for package in ("minidl", "figures", "lessons"):  # what was compiled there pip does not know
        for left in folder.glob(f"lib/python*/site-packages/{package}"):
            shutil.rmtree(left)
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # pip builds here, on top of what it built before
    return folder


def _stock_list(folder) -> str:
    """Return the names of the packages that were there before any notebook ran, as JSON."""
    listed = folder / "stock.json"
    if not listed.exists():
        listed.write_text(json.dumps(sorted(packages(folder / "bin" / "python"))))
    return listed.read_text()


@pytest.fixture(scope="module")
def rehearse(image, tmp_path_factory):
    """`rehearse(path, allow_errors=False)`: the notebook, run by the image alone, in an empty folder."""
    # The environment of the tests must not leak into the image's.
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL", "PYTEST"))
    }
    kept |= {"MINIDL_SOURCE": str(ROOT), "PATH": f"{image / 'bin'}:{os.environ['PATH']}"}

    def run_notebook(path, allow_errors=False):
        folder = tmp_path_factory.mktemp("content")
        shutil.copy(path, folder / "page.ipynb")
        command = [image / "bin" / "python", "-m", "nbconvert", "--to", "notebook", "--execute", "page.ipynb"]
        command += ["--output", "done.ipynb", f"--ExecutePreprocessor.timeout={SECONDS}"]
        run(*command, *["--allow-errors"] * allow_errors, cwd=folder, env=kept)
        return nbformat.read(folder / "done.ipynb", as_version=4)

    return run_notebook


@pytest.fixture(scope="module")
def first(image, rehearse):
    """The front page, run first: it is the notebook that has to fetch the package."""
    before = packages(image / "bin" / "python")
    notebook = rehearse(ROOT / "book" / "index.ipynb")
    return before, packages(image / "bin" / "python"), notebook


def outputs(notebook) -> str:
    """Return everything that a notebook printed."""
    return "".join(
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )


def test_the_first_cell_fetches_the_package_and_changes_nothing_that_was_there(first):
    before, after, notebook = first
    assert before == {name: after.get(name) for name in before}
    said = next(cell for cell in notebook.cells if cell.cell_type == "code").outputs
    lines = "".join(output.text for output in said if output.get("name") == "stdout").splitlines()
    assert len(lines) == 1 and "CPU" in lines[0]


@pytest.mark.parametrize("path", [*CHAPTERS, *SOLUTIONS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_notebook_runs_to_its_end(path, first, rehearse):
    notebook = rehearse(path)
    assert "Warning" not in outputs(notebook)


@pytest.mark.parametrize("path", HANDOUTS, ids=lambda path: path.stem)
def test_in_a_handout_nothing_fails_but_its_checks(path, first, rehearse):
    notebook = rehearse(path, allow_errors=True)
    errors = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert errors and {error.ename for error in errors} == {"CheckFailed"}
    assert any("still open" in error.evalue for error in errors)
