"""Where compiled kernels are kept, so that the next process need not compile them again."""

from __future__ import annotations

import atexit
import shutil
import tempfile

import numba


def find_a_place() -> str:
    """Give `@njit(cache=True)` a folder it can write to. Runs when `minidl.kernels` is imported.

    numba keeps compiled functions in `__pycache__` beside their source, or else in the user's cache folder.
    If it may write to neither (a package installed by an administrator, an account without a home), the
    decorator raises and no kernel could be imported. Then a folder that lives as long as the process serves.

    Returns
    -------
    str
        That folder, or "" if numba has a place of its own (perhaps the one NUMBA_CACHE_DIR names).
    """
    try:
        numba.njit(cache=True)(_probe)
    except RuntimeError:
        folder = tempfile.mkdtemp(prefix="minidl-kernels-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        numba.config.CACHE_DIR = folder
        return folder
    return ""


def _probe():
    """Only decorated, never compiled."""


find_a_place()
