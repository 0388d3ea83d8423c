"""What several test modules share: the built book."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from book import build

pytest.register_assert_rewrite("tests.drawings")  # so that a failure there shows its values


def built(kind: str) -> Path:
    """Build the book as `make` does, in a process of its own; what it prints is shown if it fails."""
    result = subprocess.run(
        [sys.executable, build.__file__, kind], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if result.returncode != 0:
        pytest.fail(f"the book ({kind}) does not build:\n{result.stdout[-8000:]}", pytrace=False)
    return build.BUILD / kind


@pytest.fixture(scope="session")
def html_book() -> Path:
    """The folder of the book that `make book` builds."""
    return built("html")


@pytest.fixture(scope="session")
def offline_book() -> Path:
    """The folder of the book that needs no network."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, and the offline book takes its scripts from npm packages")
    return built("offline")
