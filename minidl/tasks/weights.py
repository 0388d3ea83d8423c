"""Weights on disk: a model's parameters and state in the safetensors format, with a note of where they are
from; and whole models to and from ONNX.

    weights.save(model, "lenet.safetensors", seed=0, accuracy=0.99)
    weights.load("lenet.safetensors", lenet())           # {"seed": "0", "accuracy": "0.99"}

A safetensors file is a list of names, shapes and places, as JSON, and then nothing but numbers. A pickle,
which is what `torch.save` writes, is a program that runs when it is opened; none is ever opened here.
"""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import numpy as np

from minidl.tasks.checkpoint import write_atomically

# safetensors is imported where it is used: a machine that only computes does without it.
_INTEGERS = ("I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")
TYPES = {
    "f": ("F16", "BF16", "F32", "F64"),
    "i": _INTEGERS,
    "u": _INTEGERS,
    "b": ("BOOL",),
}  # of NumPy's kind


def save(model, path, /, *, dtype=None, **about):
    """Write a model's `state_dict` to a file, whole or not at all.

    Parameters
    ----------
    model : Layer
    path : str or Path
        A folder that is missing is made.
    dtype : {"float16", "float32", "float64"}, optional
        What floats are written as; by default, what they are. In float16 the file is half as large, and keeps
        about three decimal digits; a value beyond ±65504 cannot be written.
    about : str or number
        What to note with it, for instance seed=0.

    Raises
    ------
    ValueError, TypeError
        If an argument is none of these; nothing is written.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"path must name a file, {path} is a folder")
    if dtype is not None and np.dtype(dtype) not in (np.float16, np.float32, np.float64):
        raise TypeError(f"dtype must be float16, float32 or float64, got {dtype!r}")
    arrays = {}
    for name, value in model.state_dict().items():
        array = np.array(value, order="C")
        if dtype is not None and array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(dtype)
            if not np.array_equal(np.isfinite(array), np.isfinite(value)):
                raise ValueError(f"{name} holds {np.abs(value).max():.4g}, too large for {dtype}")
        arrays[name] = array
    path.parent.mkdir(parents=True, exist_ok=True)
    from safetensors.numpy import save as to_bytes

    write_atomically(path, to_bytes(arrays, {name: str(value) for name, value in about.items()}))


def load(path, model):
    """Give a model the weights of a file, and return what is noted with them, a dict of str.

    Numbers of half the precision, float16 or bfloat16, are converted to the model's own type. Nothing of the
    file is read before its names, shapes and types are known to be the model's: a file cannot ask for more
    memory than the model has.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no safetensors file, is damaged, or is that of another model; the model is left as it was.
    """
    own = model.state_dict()
    with _opened(path) as file:
        there = _contents(file)
        _compare(own, there, path)
        state = {name: _numbers(file, path, name, there[name][0]) for name in own}
        about = file.metadata() or {}
    model.load_state_dict(state)
    return about


def contents(path):
    """Return (what is in a file, what is noted with it), without reading the numbers.

    Returns
    -------
    arrays : dict of str to (str, tuple of int)
        Type, such as "F32", and shape, by name.
    about : dict of str
    """
    with _opened(path) as file:
        return _contents(file), file.metadata() or {}


def export_onnx(model, path, example, **options):
    """Write a model and its weights as ONNX, for other programs; see `minidl.tasks.exchange.export_onnx`."""
    from minidl.tasks import exchange

    return exchange.export_onnx(model, path, example, **options)


def import_onnx(path, **options):
    """Return the network in an ONNX file as a layer; see `minidl.tasks.exchange.import_onnx`."""
    from minidl.tasks import exchange

    return exchange.import_onnx(path, **options)


@contextlib.contextmanager
def _opened(path):
    """Give the open file; what goes wrong with it becomes a ValueError that names it."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file of weights")
    if not path.exists():
        raise FileNotFoundError(f"there are no weights at {path}")
    if not path.is_file():  # a pipe would wait forever
        raise ValueError(f"{path} is no ordinary file")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} holds no weights, or is damaged: {diagnosis(path) or error}") from None


def diagnosis(path):
    """Say in words what a file is that is not what it should be, by its first bytes, or return None."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        first = file.read(16)
    for start, kind in (
        (b"PK\x03\x04", "it is a zip archive; PyTorch's .pt and .pth files are, with a pickle inside, {}"),
        (b"\x80", "it looks like a pickle, {}"),
        (b"\x89HDF\r\n\x1a\n", "it is HDF5, as old Keras models are"),
        (b"\x93NUMPY", "it is one NumPy array"),
        (b"version https:", "it is Git LFS's note of where the file is, not the file"),
    ):
        if first.startswith(start):
            return kind.format("which can run code when opened: in PyTorch, safetensors.torch.save_file "
                               "writes the numbers alone")  # fmt: skip
    if not size:
        return "it is empty"
    if size < 8:
        return f"it has only {size} bytes"
    header = int.from_bytes(first[:8], "little")
    if header > size - 8:
        return f"its header should have {header:,} bytes, and the file has {size:,} in all"
    return None


def _contents(file):
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    return {name: (s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}


def _compare(own, there, path):
    """Raise ValueError unless what is there is what the model has."""
    missing, unknown = sorted(own.keys() - there.keys()), sorted(there.keys() - own.keys())
    if missing or unknown:
        raise ValueError(
            f"{path} is of another model: missing {_some(missing)}, not known here {_some(unknown)}"
        )
    for name, value in own.items():
        dtype, shape = there[name]
        if shape != value.shape:
            raise ValueError(f"{path} is of another model: {name} must have shape {value.shape}, got {shape}")
        if dtype not in TYPES[value.dtype.kind]:
            raise ValueError(f"{path}: {name} must hold {value.dtype}, got {dtype}")


def _some(names):
    shown = ", ".join(names[:5]) or "nothing"
    return shown + f" and {len(names) - 5} more" * (len(names) > 5)


def _numbers(file, path, name, dtype):
    if dtype != "BF16":
        return file.get_tensor(name)
    # NumPy has no bfloat16: it is the upper half of a float32
    with open(path, "rb") as raw:
        length = int.from_bytes(raw.read(8), "little")
        entry = json.loads(raw.read(length))[name]
        raw.seek(8 + length + entry["data_offsets"][0])
        upper = np.fromfile(raw, "<u2", math.prod(entry["shape"]))
    return (upper.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])
