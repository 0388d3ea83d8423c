"""A student's side of the grader: hands answers to the judge, and runs them when the judge asks.

The grader puts `serve(…)` where a notebook has a check cell. The notebook's process then hands over what the
answers *are* (numbers, words, the source of kernels), calls its functions on the inputs that the judge sends,
and sends back what they return. The right values never come here. Whatever a student's code does to this
module, it can only change an answer.

Messages are JSON, with arrays as base64: nothing in them can be executed, unlike a pickle.
"""

from __future__ import annotations

import ast
import base64
import importlib
import inspect
import io
import itertools
import json
import math
import os
import sys
import textwrap
from collections import deque
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from multiprocessing.connection import Client

import numba
import numpy as np
from numba.core import types

from lessons import checks
from lessons.comparison import Case, CheckFailed
from minidl.hardware.cuda import cuda

ADDRESS = "LESSONS_HAND_IN"  # the environment variable that says where the judge listens
LARGEST = 64 * 2**20  # bytes of one message
MOST = 1_000_000  # values of an iterator
MODULES = {"numpy": np, "math": math, "numba": numba, "numba.cuda": cuda, "numba.types": types}


# ---- what crosses


class Foreign:
    """Stands on the judge's side for a value that cannot cross: what messages say of it."""

    def __init__(self, shown: str):
        self.shown = shown

    def __repr__(self):
        return self.shown


def encode(value):
    """Return a value as JSON knows it; anything but numbers and words is only named."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if value is ...:
        return {"dots": 0}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufcU":
        file = io.BytesIO()
        np.save(file, np.asarray(value), allow_pickle=False)
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return {kind: base64.b64encode(file.getvalue()).decode()}
    if isinstance(value, int):
        return {"int": str(int(value))}
    if isinstance(value, float):
        return float(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, (list, tuple, set, frozenset)):
        kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind)).__name__
        return {kind: [encode(item) for item in value]}
    if isinstance(value, (Iterator, range, deque, KeysView, ValuesView, ItemsView)):
        return {"list": [encode(item) for item in itertools.islice(value, MOST)]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    return {"foreign": shown(value)}


def decode(value):
    """Return what `encode` was given.

    Raises
    ------
    ValueError
        If it is nothing that `encode` makes.
    """
    if value is None or isinstance(value, (bool, str, float)):
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"not a message: {value!r:.60}")
    [(kind, content)] = value.items()
    if kind == "dots":
        return ...
    if kind in ("array", "scalar"):
        array = np.load(io.BytesIO(base64.b64decode(content)), allow_pickle=False)
        return array if kind == "array" else array[()]
    if kind == "int":
        return int(content)
    if kind == "complex":
        return complex(*content)
    if kind in ("list", "tuple", "set", "frozenset"):
        return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(decode, content))
    if kind == "dict":
        return {decode(key): decode(item) for key, item in content}
    if kind == "foreign":
        return Foreign(str(content)[:200])
    raise ValueError(f"not a message: {value!r:.60}")


def send(connection, message) -> None:
    """Send a message; `ValueError` if it is too long."""
    text = json.dumps(message).encode()
    if len(text) > LARGEST:
        raise ValueError(f"{len(text) // 2**20} MB are too much for an answer")
    connection.send_bytes(text)


def receive(connection):
    """Wait for a message; `EOFError` or `OSError` if the other side is gone."""
    return json.loads(connection.recv_bytes(LARGEST))


def shown(value) -> str:
    """Return what messages call a value: its type and the beginning of its repr."""
    try:
        return f"{type(value).__name__} {value!r:.60}"
    except Exception:  # a repr of the student's own that fails
        return type(value).__name__


# ---- kernels, which cross as source


def describe_kernel(kernel, seen: dict | None = None) -> dict:
    """Return a kernel as data: its source, and what the names in it stand for.

    Parameters
    ----------
    seen : dict
        Device functions that have been described, by identity.
    """
    seen = {} if seen is None else seen
    function = kernel.py_func
    names = function.__globals__ | inspect.getclosurevars(function).nonlocals
    source = textwrap.dedent(inspect.getsource(function))
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    described = {
        "name": function.__name__,
        "source": source,
        "line": function.__code__.co_firstlineno,
        "device": bool(kernel.targetoptions.get("device")),
        "fastmath": bool(kernel.targetoptions.get("fastmath")),
        "defaults": encode(function.__defaults__ or ()),
        "names": {},
    }
    seen[id(kernel)] = described["name"]
    for name in used & names.keys():
        described["names"][name] = _describe_name(names[name], seen)
    return described


def _describe_name(value, seen):
    if isinstance(value, checks.CudaKernel):
        return {"same": seen[id(value)]} if id(value) in seen else {"kernel": describe_kernel(value, seen)}
    for module, content in MODULES.items():
        if value is content:
            return {"module": module}
    if not isinstance(value, (int, float, complex, str, tuple, np.ndarray, np.generic)):
        for module, content in MODULES.items():
            for name, known in vars(content).items():
                if known is value:
                    return {"from": [module, name]}
    return {"value": encode(value)}


# ---- the notebook's part of the conversation


def serve(cell: str) -> None:
    """Hand in the answers that a check cell asks for; print what the judge says, or raise it."""
    names, objects = sys._getframe(1).f_globals, {}
    with Client(os.environ[ADDRESS], "AF_UNIX") as judge:
        send(judge, ["check", cell])
        while True:
            request, *content = receive(judge)
            if request == "fetch":
                reply = _fetch(names, objects, *content)
            elif request == "run":
                reply = _run(objects, *content)
            else:
                break
            try:
                send(judge, reply)
            except ValueError as error:
                send(judge, ["failed", str(error)])
    passed, words = content
    if not passed:
        raise CheckFailed(words)
    print(words, end="")


def _fetch(names, objects, name):
    if name not in names:
        return ["missing"]
    value = names[name]
    try:
        if isinstance(value, checks.CudaKernel) and not value.targetoptions.get("device"):
            return ["kernel", describe_kernel(value)]
        plain = encode(value)
    except Exception as error:  # a source that cannot be found, a list that holds itself
        return ["failed", f"{name} cannot be handed in: {type(error).__name__}: {error}"]
    if isinstance(plain, dict) and "foreign" in plain:
        objects[name] = value
        return ["object", type(value).__name__, shown(value)]
    return ["value", plain]


def _run(objects, name, words, inputs, probe):
    case = Case(words, decode(inputs))
    if probe is not None:
        module, _, function = probe.partition(":")
        probe = getattr(importlib.import_module(module), function)
    try:
        got, inputs = checks.run(objects[name], case, probe)
        return ["returned", encode(got), encode(inputs)]
    except CheckFailed as failed:
        return ["failed", str(failed)]
    except RecursionError:
        return ["failed", "the answer returned something that holds itself."]
    except Exception as error:  # while a generator of the student's runs
        return ["failed", f"with {words}, it stopped with {type(error).__name__}: {error}"]
