"""The rules that tools hold: lint, formatting, and imports that go down the stack only."""

import subprocess
import sys
from pathlib import Path

import pytest

from book import build

BIN = Path(sys.executable).parent  # not resolved: the environment's own programs stand beside its Python


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "lint-imports"])
def test_the_tools_have_no_complaint(command):
    program, *arguments = command.split()
    result = subprocess.run(
        [BIN / program, *arguments],
        cwd=build.ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert result.returncode == 0, result.stdout
