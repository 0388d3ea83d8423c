"""Checkpoints: one file that is either the old one or the new one, whatever happens while it is written.

The arrays, and everything else as JSON in the header, are in the safetensors format: a file of numbers, that
cannot bring code along as a pickle can. It is written beside its place, brought to the disk, and only then
renamed, which a file system does at once or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

# safetensors is imported where it is used: training without checkpoints does without it.


def write_atomically(path, content):
    """Write bytes to a file so that, if this is cut short, whatever was there before is still there.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left beside it.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # `mkstemp` gives it to its owner alone
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write(path, arrays, facts):
    """Write arrays by name, and facts that JSON can hold, to one file; its folder is made if it is missing.

    Raises
    ------
    TypeError
        If a fact cannot be written as JSON.
    """
    from safetensors.numpy import save

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.array(array, order="C") for name, array in arrays.items()}
    write_atomically(path, save(arrays, {"minidl": json.dumps(facts)}))


def read(path):
    """Return the (arrays, facts) of a file that `write` has written.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is something else, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["minidl"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is not a checkpoint of minidl, or is damaged ({error}): "
            "delete it to start afresh, or give another path"
        ) from None
    return arrays, facts
