"""A rehearsal of Colab: its Python, its versions, one notebook alone in an empty folder, and no file of ours.

What the CPU image ships stands in `tests/colab/stock.txt`, what the GPU image has beside that in `gpu.txt`;
there every kernel is compiled and a few notebooks run, without a GPU. Notebooks fetch the package themselves,
in their first cell, from the address in MINIDL_SOURCE, which here is this checkout; nothing that the image
ships may change.
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
GPU = STOCK.with_name("gpu.txt")
#: Run on the GPU image too, which differs from the other in its CUDA target only: those that meet it most.
MEET_CUDA = [
    ROOT / "book/2_kernel/up.ipynb",
    ROOT / "lessons/solutions/2_tiled_matmul.ipynb",
    ROOT / "lessons/solutions/2_find_the_race.ipynb",
]
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


def environment(folder, *lists) -> Path:
    """Return an environment with what Colab ships, without minidl; made once, then kept in `_build`."""
    wanted = hashlib.sha256(b"".join(listed.read_bytes() for listed in lists)).hexdigest()
    stamp = folder / "made-from"
    python = folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        run(python_313(), "-m", "venv", folder)
        run(python, "-m", "pip", "install", "--quiet", *(part for listed in lists for part in ("-r", listed)))
        stamp.write_text(wanted)
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
def image() -> Path:
    """Colab's CPU image."""
    return environment(build.BUILD / "colab", STOCK)


@pytest.fixture(scope="module")
def gpu_image() -> Path:
    """Colab's GPU image, without the GPU."""
    return environment(build.BUILD / "colab-gpu", STOCK, GPU)


def alone(image) -> dict[str, str]:
    """Return the variables of a process that knows the image only."""
    # The environment of the tests must not leak into the image's.
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL", "PYTEST"))
    }
    return kept | {"MINIDL_SOURCE": str(ROOT), "PATH": f"{image / 'bin'}:{os.environ['PATH']}"}


def rehearsal(image, tmp_path_factory):
    """Return `rehearse(path, allow_errors=False)`, which runs a notebook alone in an empty folder."""

    def run_notebook(path, allow_errors=False):
        folder = tmp_path_factory.mktemp("content")
        shutil.copy(path, folder / "page.ipynb")
        command = [image / "bin" / "python", "-m", "nbconvert", "--to", "notebook", "--execute", "page.ipynb"]
        command += ["--output", "done.ipynb", f"--ExecutePreprocessor.timeout={SECONDS}"]
        run(*command, *["--allow-errors"] * allow_errors, cwd=folder, env=alone(image))
        return nbformat.read(folder / "done.ipynb", as_version=4)

    return run_notebook


@pytest.fixture(scope="module")
def rehearse(image, tmp_path_factory):
    return rehearsal(image, tmp_path_factory)


@pytest.fixture(scope="module")
def rehearse_on_gpu_image(gpu_image, tmp_path_factory):
    return rehearsal(gpu_image, tmp_path_factory)


def fetched(image, rehearse):
    """Run the front page, which has to fetch the package; return the versions before and after, and it."""
    before = packages(image / "bin" / "python")
    notebook = rehearse(ROOT / "book" / "index.ipynb")
    return before, packages(image / "bin" / "python"), notebook


@pytest.fixture(scope="module")
def first(image, rehearse):
    return fetched(image, rehearse)


@pytest.fixture(scope="module")
def first_on_gpu_image(gpu_image, rehearse_on_gpu_image):
    return fetched(gpu_image, rehearse_on_gpu_image)


def outputs(notebook) -> str:
    """Return everything that a notebook printed."""
    return "".join(
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )


@pytest.mark.parametrize("one", ["first", "first_on_gpu_image"])
def test_the_first_cell_fetches_the_package_and_changes_nothing_that_was_there(one, request):
    before, after, notebook = request.getfixturevalue(one)
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


COMPILE_ALL = """
from numba import cuda
from minidl.instruments.gpu import inventory

compiled = list(inventory.compile_all(inventory.launches(), capabilities=[(7, 5)]))
print(*(f"{kernel.launch.name}: {kernel.problem}" for kernel in compiled if kernel.problem), sep="\\n")
print(cuda.__file__, len({kernel.launch.name for kernel in compiled}))
"""


def test_every_kernel_compiles_on_the_gpu_image_for_its_t4(gpu_image, first_on_gpu_image, tmp_path):
    """With the numba-cuda that is there, not with the target inside numba."""
    python = gpu_image / "bin" / "python"
    said = run(python, "-W", "ignore", "-c", COMPILE_ALL, cwd=tmp_path, env=alone(gpu_image))
    *problems, last = said.strip().splitlines()
    target, count = last.split()
    assert problems == [] and "numba_cuda" in target and int(count) > 60


@pytest.mark.parametrize("path", MEET_CUDA, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_notebook_runs_to_its_end_on_the_gpu_image(path, first_on_gpu_image, rehearse_on_gpu_image):
    assert "Warning" not in outputs(rehearse_on_gpu_image(path))
