"""The weights that come with the package: small files, each with a note of how it was made.

`python -m minidl.tasks.pretrain` makes them anew.
"""

from __future__ import annotations

from importlib.resources import as_file, files

FOLDER = files("minidl.models") / "weights"
NAMES = ("gan", "conv_gan", "began", "lenet")


def load(name, model):
    """Give a model the weights of this name, and return it, set to `eval()`.

    They are stored in half the precision, float16, and computed with in float32.
    """
    from safetensors.numpy import (
        load as read,  # imported where it is used: without weights, it can be missing
    )

    model.load_state_dict(read((FOLDER / f"{name}.safetensors").read_bytes()))
    return model.eval()


def about(name):
    """Return what is noted about the weights of this name, a dict of str: seed, date, versions, figures."""
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    from safetensors import safe_open

    with as_file(FOLDER / f"{name}.safetensors") as path, safe_open(path, "numpy") as file:
        return file.metadata()
