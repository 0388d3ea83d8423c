"""`trace` runs a `@cuda.jit` kernel thread by thread on the CPU; the `Trace` it returns says what every thread did."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.instruments.tracer.findings import Finding, Judge
from minidl.instruments.tracer.memory import GLOBAL, SHARED, Memory, UnsupportedKernel
from minidl.instruments.tracer.rewrite import Program, kernel_function
from minidl.instruments.tracer.schedule import Dim3, InOrder, Launch, Villain
from minidl.instruments.tracer.values import Arithmetic, number

LIMIT = 5_000_000  # accesses: about 10 s and 0.5 GB


class Count(NamedTuple):
    """How often something happened: in all, and for the busiest thread."""

    total: int
    max_per_thread: int


@dataclass
class Trace:
    """What a launch did, thread by thread.

    Attributes
    ----------
    kernel : str
        The kernel's name.
    file : str
    source : dict
        Line number → text, of the kernel and of the device functions it calls.
    grid, block : Dim3
    schedule, seed : str, int
    flops : int
        Floating-point operations (see `values.Arithmetic`).
    findings : list of Finding
        What is wrong, worst first.
    """

    kernel: str
    file: str
    source: dict
    grid: Dim3
    block: Dim3
    schedule: str
    seed: int
    flops: int
    columns: dict = field(repr=False)
    arrays: list = field(repr=False)
    sites: list = field(repr=False)
    findings: list[Finding]

    def counts(self) -> dict[str, Count]:
        """Return the number of accesses by sort.

        Returns
        -------
        dict
            "global_reads", "global_writes", "shared_reads", "shared_writes", "atomics", "barriers", each with
            `.total` and `.max_per_thread`. `x[i] += v` is one read and one write, an atomic is neither, a
            barrier counts once for each thread that reaches it, and local arrays are not counted.
        """
        whats = np.array([site.what for site in self.sites])
        what = whats[self.columns["site"] & 0xFFFF]
        spaces = np.array([row.space for row in self.arrays] + [""])
        space = spaces[self.columns["array"]]
        wanted = {
            "global_reads": (what == "read") & (space == GLOBAL),
            "global_writes": (what == "write") & (space == GLOBAL),
            "shared_reads": (what == "read") & (space == SHARED),
            "shared_writes": (what == "write") & (space == SHARED),
            "atomics": what == "atomic",
            "barriers": what == "barrier",
        }
        counts = {}
        for name, chosen in wanted.items():
            threads = self.columns["thread"][chosen]
            counts[name] = Count(len(threads), int(np.bincount(threads).max()) if len(threads) else 0)
        return counts

    @cached_property
    def bytes(self) -> int:
        """Bytes that the threads ask of global memory: one element per read or write, two per atomic."""
        sizes = np.array([row.itemsize if row.space == GLOBAL else 0 for row in self.arrays] + [0])
        whats = np.array([{"read": 1, "write": 1, "atomic": 2}.get(site.what, 0) for site in self.sites])
        return int((sizes[self.columns["array"]] * whats[self.columns["site"] & 0xFFFF]).sum())

    @property
    def intensity(self) -> float:
        """Floating-point operations per byte of global memory."""
        return self.flops / self.bytes if self.bytes else float("inf")

    def __len__(self):
        return len(self.columns["site"])


def trace(
    kernel, grid, block, *args, schedule="in-order", seed=0, copy=False, shared=0, limit=LIMIT
) -> Trace:
    """Run a CUDA kernel on the CPU, thread by thread, with real values, and record every access.

    Like a launch it changes the arrays it is given. It needs no GPU and does not use one.

    Parameters
    ----------
    kernel : `@cuda.jit` function
    grid, block : int or tuple of up to three int
        Blocks in the grid; threads in a block (at most 1,024).
    *args
        The kernel's arguments: NumPy arrays, numbers, or tuples of those.
    schedule : {"in-order", "adversarial"}
        Which thread goes next: one after the other, or in an order drawn from `seed` that tries to do harm.
    seed : int
    copy : bool
        Work on copies, and leave the caller's arrays as they were.
    shared : int
        Bytes of dynamic shared memory.
    limit : int
        The most accesses to follow.

    Returns
    -------
    Trace

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be launched with; the message names it.
    UnsupportedKernel
        If the kernel uses something that the tracer does not know; the message names it, and the line.
    LimitReached
        If the launch is larger than `limit`.
    """
    function = kernel_function(kernel)
    grid, block = _dim3("grid", grid), _dim3("block", block)
    if block.size > 1024 or block.z > 64:
        raise ValueError(
            f"block must have at most 1024 threads (64 along z), got {block.x} × {block.y} × {block.z}"
        )
    if grid.y > 65535 or grid.z > 65535:
        raise ValueError(f"grid must have at most 65535 blocks along y and z, got {grid.y} and {grid.z}")
    if schedule not in ("in-order", "adversarial"):
        raise ValueError(f"schedule must be 'in-order' or 'adversarial', got {schedule!r}")
    seed, shared, limit = _whole("seed", seed), _whole("shared", shared), _whole("limit", limit)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    required = len(names) - len(function.__defaults__ or ())
    if not required <= len(args) <= len(names):
        raise TypeError(
            f"{function.__name__} takes {len(names)} arguments ({', '.join(names)}), got {len(args)}"
        )
    _check_arguments(names, args)

    arithmetic = Arithmetic()
    memory = Memory(arithmetic)
    program = Program(kernel, arithmetic, memory)
    if copy:
        args = _copies(args)
    policy = InOrder() if schedule == "in-order" else Villain(seed)
    bound = _bind(memory, names, args)
    with np.errstate(all="ignore"):
        Launch(program, memory, grid, block, bound, policy, shared, limit).run()
    columns = memory.accesses.columns()
    judge = Judge(columns, memory.arrays, program.sites, grid_dim=grid, block_dim=block)
    findings = judge.races() + judge.seen(memory.problems) + judge.uninitialised() + judge.unwritten()
    return Trace(
        function.__name__,
        os.fspath(program.file),
        program.source,
        grid,
        block,
        schedule,
        seed,
        arithmetic.flops,
        columns,
        memory.arrays,
        program.sites,
        findings,
    )


def _dim3(name, value) -> Dim3:
    sizes = value if isinstance(value, (tuple, list)) else (value,)
    try:
        sizes = [operator.index(size) for size in sizes]
    except TypeError:
        raise TypeError(f"{name} must be an int or a tuple of up to three, got {value!r}") from None
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"{name} must have one to three dimensions, got {value!r}")
    if min(sizes) < 1:
        raise ValueError(f"{name} must be at least 1 along every axis, got {value!r}")
    return Dim3(*sizes, *[1] * (3 - len(sizes)))


def _whole(name, value) -> int:
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value}")
    return value


def _check_arguments(names, args):
    for name, value in zip(names, args, strict=False):
        if isinstance(value, tuple):
            _check_arguments([f"{name}[{i}]" for i in range(len(value))], value)
        elif isinstance(value, np.ndarray):
            if value.dtype.kind not in "fiubc" or isinstance(value, np.ma.MaskedArray):
                raise TypeError(
                    f"{name} must be an array of numbers, got {type(value).__name__} of {value.dtype}"
                )
        elif is_on_gpu(value):
            raise TypeError(f"{name} lives in GPU memory; give the tracer a host copy: {name}.copy_to_host()")
        elif not isinstance(value, (bool, int, float, complex, np.number, np.bool_)):
            raise TypeError(
                f"{name} must be a NumPy array or a number, got {type(value).__name__}: {value!r:.40}"
            )


def _copies(args):
    """Copies of the arrays; arrays that are one object, or share memory, still do."""
    made = {}

    def one(value):
        if isinstance(value, tuple):
            return tuple(one(item) for item in value)
        if not isinstance(value, np.ndarray):
            return value
        root = value
        while isinstance(root.base, np.ndarray):
            root = root.base
        if id(root) not in made:
            made[id(root)] = (root, root.copy(order="K"))
        _, twin = made[id(root)]
        if twin.strides != root.strides:  # a gap in the memory: copy the bytes that matter
            return value.copy(order="K")
        offset = value.__array_interface__["data"][0] - root.__array_interface__["data"][0]
        view = np.ndarray(value.shape, value.dtype, twin, offset, value.strides)
        view.flags.writeable = value.flags.writeable
        return view

    return tuple(one(value) for value in args)


def _bind(memory, names, args):
    """Turn launch arguments into what the kernel sees; arrays that overlap share a region."""
    flat = []

    def collect(names, values):
        for name, value in zip(names, values, strict=False):
            if isinstance(value, tuple):
                collect([f"{name}[{i}]" for i in range(len(value))], value)
            elif isinstance(value, np.ndarray):
                flat.append((name, value))

    collect(names, args)
    bounds = [np.lib.array_utils.byte_bounds(value) for _, value in flat]
    region, regions, high = -1, {}, -1
    for i in sorted(range(len(flat)), key=lambda i: bounds[i]):
        if bounds[i][0] >= high:
            region = i
        regions[i], high = region, max(high, bounds[i][1])
    made = iter([memory.add(value, name, GLOBAL, regions[i]) for i, (name, value) in enumerate(flat)])

    def bind(value):
        if isinstance(value, tuple):
            return tuple(bind(item) for item in value)
        return next(made) if isinstance(value, np.ndarray) else number(value)

    return tuple(bind(value) for value in args)


__all__ = ["Count", "Trace", "UnsupportedKernel", "trace"]
