"""Weights on disk: a model's parameters and state in the safetensors format, with a note of where they are
from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from minidl.tasks.checkpoint import write_atomically


def save(model, path, /, **about):
    """Write a model's `state_dict` to a file, whole or not at all.

    Parameters
    ----------
    model : Layer
    path : str or Path
    about : str
        What to note with it, for instance seed="0".
    """
    arrays = {name: np.array(value, order="C") for name, value in model.state_dict().items()}
    write_atomically(path, to_bytes(arrays, {name: str(value) for name, value in about.items()}))


def load(path, model):
    """Give a model the weights of a file, and return what is noted with them, a dict of str.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no safetensors file, is damaged, or is that of another model; the model is left as it was.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, TypeError) as error:
        raise ValueError(f"{path} holds no weights, or is damaged: {error}") from None
    model.load_state_dict(state)
    return about
