"""Kernels can be imported and run where nothing beside the package, and no home, can be written to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import minidl

PROGRAM = """
import os, sys, numba, numpy as np
import minidl
assert minidl.__file__.startswith(sys.argv[1]), minidl.__file__
from minidl.kernels.sliding_average import sliding_average
assert sliding_average(np.float32([1, 3, 5]), 2).tolist() == [2, 4]
print(numba.config.CACHE_DIR, os.path.isdir(numba.config.CACHE_DIR))
"""


def run(folder, **environment):
    kept = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    result = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, str(folder)],
        env={**kept, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.rsplit(maxsplit=1)


def test_a_package_and_a_home_that_cannot_be_written_to(tmp_path):
    here = Path(minidl.__file__).parent
    shutil.copytree(here, tmp_path / "minidl", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [tmp_path / "minidl", *(tmp_path / "minidl").rglob("*/")]:
        if folder.is_dir():
            (folder / "__pycache__").write_text(
                "a file, so that no folder can be made here, not even by root"
            )
    home = tmp_path / "home"
    home.write_text("a file as well")
    folder, was_there = run(tmp_path, HOME=str(home), XDG_CACHE_HOME=str(home))
    assert "minidl-kernels-" in folder and was_there == "True"
    assert not Path(folder).exists()  # it went with the process

    mine = tmp_path / "mine"
    folder, _ = run(tmp_path, HOME=str(home), XDG_CACHE_HOME=str(home), NUMBA_CACHE_DIR=str(mine))
    assert folder == str(mine) and any(mine.rglob("*.nbc"))
