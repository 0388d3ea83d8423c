"""Checks what a kernel is launched with, and turns it into what the traced kernel sees."""

from __future__ import annotations

import operator

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.instruments.tracer.arrays import GLOBAL, first_byte
from minidl.instruments.tracer.schedule import Dim3
from minidl.instruments.tracer.values import number


def check_dim(name, value) -> Dim3:
    """Return a grid or block size given as an int or as one to three ints."""
    sizes = value if isinstance(value, (tuple, list)) else (value,)
    try:
        if any(isinstance(size, (bool, np.bool_)) for size in sizes):
            raise TypeError
        sizes = [operator.index(size) for size in sizes]
    except TypeError:
        raise TypeError(f"{name} must be an int or a tuple of up to three, got {value!r}") from None
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"{name} must have one to three dimensions, got {value!r}")
    if min(sizes) < 1:
        raise ValueError(f"{name} must be at least 1 along every axis, got {value!r}")
    most = (1024, 1024, 64) if name == "block" else (2**31 - 1, 65535, 65535)
    if any(size > limit for size, limit in zip(sizes, most, strict=False)):
        raise ValueError(f"{name} must be at most {most} along x, y, z, got {value!r}")
    dim = Dim3(*sizes)
    if name == "block" and dim.size > 1024:
        raise ValueError(f"block must have at most 1024 threads, got {value!r}, which is {dim.size}")
    return dim


def check_whole(name, value) -> int:
    """Return a number that counts something."""
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value}")
    return value


def check_arguments(function, args) -> tuple:
    """Check a launch's arguments against a kernel's parameters; returns them with defaults filled in."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    if not len(names) - len(defaults) <= len(args) <= len(names):
        raise TypeError(
            f"{function.__name__} takes {len(names)} argument{'s' * (len(names) != 1)} ({', '.join(names)}), "
            f"got {len(args)}"
        )
    args = args + defaults[len(defaults) - (len(names) - len(args)) :] if len(args) < len(names) else args
    for name, value in zip(names, args, strict=True):
        _check_argument(name, value)
    return args


def _check_argument(name, value):
    if isinstance(value, tuple):
        for i, item in enumerate(value):
            _check_argument(f"{name}[{i}]", item)
    elif isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                f"{name} must be a plain array, got a masked array; fill it first: {name}.filled(...)"
            )
        if value.dtype.kind not in "fiubc" or value.dtype.itemsize > 16 or not value.dtype.isnative:
            raise TypeError(f"{name} must be an array of numbers that a GPU knows, got dtype {value.dtype}")
    elif is_on_gpu(value):
        raise TypeError(f"{name} lives in GPU memory; give the tracer a host copy: {name}.copy_to_host()")
    elif not isinstance(value, (bool, int, float, complex, np.number, np.bool_)):
        raise TypeError(f"{name} must be a NumPy array or a number, got {type(value).__name__} {value!r:.40}")


def arrays_in(names, args) -> list[tuple[str, np.ndarray]]:
    """Return (name, array) for every array among a launch's arguments, those inside tuples too."""
    found = []
    for name, value in zip(names, args, strict=True):
        if isinstance(value, tuple):
            found += arrays_in([f"{name}[{i}]" for i in range(len(value))], value)
        elif isinstance(value, np.ndarray):
            found.append((name, value))
    return found


def copies(args) -> tuple:
    """Return the arguments with every array copied; arrays that share memory still do."""
    roots: dict[int, tuple] = {}

    def copy(value):
        if isinstance(value, tuple):
            return tuple(map(copy, value))
        if not isinstance(value, np.ndarray):
            return value
        root = value
        while isinstance(root.base, np.ndarray):
            root = root.base
        low, high = np.lib.array_utils.byte_bounds(root)
        if id(root) not in roots:
            roots[id(root)] = root, np.empty(high - low, np.uint8)
            np.ndarray(root.shape, root.dtype, roots[id(root)][1], first_byte(root) - low, root.strides)[
                ...
            ] = root
        made = np.ndarray(
            value.shape, value.dtype, roots[id(root)][1], first_byte(value) - low, value.strides
        )
        made.flags.writeable = value.flags.writeable
        return made

    return tuple(map(copy, args))


def bind(memory, names, args) -> tuple:
    """Return the arguments as the kernel sees them; arrays that overlap in memory share a region."""
    flat = arrays_in(names, args)
    bounds = [np.lib.array_utils.byte_bounds(array) for _, array in flat]
    regions, region, end = {}, -1, -1
    for i in sorted(range(len(flat)), key=lambda i: bounds[i]):
        if bounds[i][0] >= end:
            region = i
        regions[i], end = region, max(end, bounds[i][1])
    made = iter([memory.add(array, name, GLOBAL, regions[i]) for i, (name, array) in enumerate(flat)])

    def see(value):
        if isinstance(value, tuple):
            return tuple(map(see, value))
        return next(made) if isinstance(value, np.ndarray) else number(value)

    return tuple(map(see, args))
