"""`trace` runs a `@cuda.jit` kernel thread by thread on the CPU, and tells what every thread did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.instruments.tracer import villain
from minidl.instruments.tracer.arguments import (
    arrays_in,
    bind,
    check_arguments,
    check_dim,
    check_whole,
    copies,
)
from minidl.instruments.tracer.arrays import GLOBAL
from minidl.instruments.tracer.findings import Finding, seen_while_running
from minidl.instruments.tracer.judge import Judge
from minidl.instruments.tracer.memory import Memory
from minidl.instruments.tracer.program import Program, kernel_function
from minidl.instruments.tracer.record import Trace
from minidl.instruments.tracer.schedule import WARP_SIZE, Dim3, InOrder, Launch, Villain
from minidl.instruments.tracer.values import Arithmetic
from minidl.instruments.tracer.warps import advice, warp_requests

LIMIT = 5_000_000  # accesses: some 15 s and 0.5 GB


def trace(
    kernel,
    grid,
    block,
    *args,
    schedule="in-order",
    seed=0,
    copy=False,
    shared=0,
    limit=LIMIT,
    without_barriers=(),
    blocks=None,
    warps=None,
) -> Trace:
    """Run a CUDA kernel on the CPU, thread by thread, with real values, and record every access.

    Like a launch it changes the arrays it is given. It needs no GPU, and uses none where there is one.

    Parameters
    ----------
    kernel : `@cuda.jit` function
    grid, block : int or tuple of up to three int
        Blocks in the grid; threads in a block, at most 1,024.
    *args
        What the kernel takes: NumPy arrays, numbers, tuples of those.
    schedule : {"in-order", "adversarial"}
        Which thread goes next. "in-order": thread 0 until it has to wait, then thread 1, …, block after
        block. "adversarial": if the kernel has a race, the first order from `seed` on that makes its answer
        wrong, if one is found (`Trace.seed`, `Trace.harm`).
    seed : int
    copy : bool
        Work on copies; the caller's arrays stay as they were.
    shared : int
        Bytes of dynamic shared memory.
    limit : int
        Stop after this many accesses.
    without_barriers : iterable of int, or True
        Source lines whose `syncthreads()` is left out, to see what it is for; True leaves out all.
    blocks : iterable of int, optional
        Run only these blocks of the grid, by their numbers: a look at one block of a large launch. What the
        others would have written is not missed.
    warps : iterable of int, optional
        Run only these warps of each block, by their numbers: for kernels without barriers.

    Returns
    -------
    Trace

    Raises
    ------
    TypeError, ValueError
        If something cannot be launched with; the message names the argument.
    UnsupportedKernel
        If the kernel uses something that the tracer does not know; the message names it, and the line.
    LimitReached
        If the launch makes more accesses than `limit`.
    """
    function = kernel_function(kernel)
    grid, block = check_dim("grid", grid), check_dim("block", block)
    if schedule not in ("in-order", "adversarial"):
        raise ValueError(f"schedule must be 'in-order' or 'adversarial', got {schedule!r}")
    seed, shared, limit = (
        check_whole("seed", seed),
        check_whole("shared", shared),
        check_whole("limit", limit),
    )
    args = check_arguments(function, args)
    without_barriers = _check_lines(kernel, without_barriers)
    some = _check_some("blocks", blocks, grid.size), _check_some("warps", warps, -(-block.size // WARP_SIZE))
    if copy:
        args = copies(args)
    run = _Run(kernel, grid, block, shared, limit, without_barriers, some)
    policy, harm = InOrder(), ""
    if schedule == "adversarial":
        rehearsal = run(policy, copies(args))
        if rehearsal.complete:
            if rehearsal.judge.races():
                names = function.__code__.co_varnames[: len(args)]

                def attempt(policy):
                    twins = copies(args)
                    return dict(arrays_in(names, twins)), run(policy, twins).steps

                seed, harm = villain.find_bad_order(attempt, rehearsal.judge.writers_collide, seed, limit)
            policy = Villain(seed)
    result = run(policy, args)
    return Trace(
        kernel=function.__name__,
        file=result.program.file,
        source=result.program.source,
        grid=grid,
        block=block,
        schedule=schedule,
        seed=seed,
        harm=harm,
        flops=result.flops,
        complete=result.complete,
        findings=result.findings(args),
        columns=result.columns,
        arrays=result.arrays,
        sites=result.program.sites,
    )


@dataclass(frozen=True)
class _Run:
    """Runs one launch in the order of a policy, as often as it is called."""

    kernel: object
    grid: Dim3
    block: Dim3
    shared: int
    limit: int
    without_barriers: tuple
    some: tuple  # blocks and warps, None for all

    def __call__(self, policy, args) -> _Result:
        arithmetic = Arithmetic()
        memory = Memory(arithmetic)
        program = Program(self.kernel, arithmetic, self.without_barriers)
        names = program.function.__code__.co_varnames[: len(args)]
        seen = bind(memory, names, args)
        launch = Launch(
            program, memory, self.grid, self.block, seen, policy, self.shared, self.limit, self.some
        )
        with np.errstate(all="ignore"):
            launch.run()
        columns = memory.accesses.columns()
        judge = Judge(columns, memory.arrays, program.sites, self.grid, self.block)
        return _Result(program, memory, arithmetic, launch, columns, judge)


@dataclass(frozen=True)
class _Result:
    """What one run left behind."""

    program: Program
    memory: Memory
    arithmetic: Arithmetic
    launch: Launch
    columns: dict
    judge: Judge

    arrays = property(lambda self: self.memory.arrays)
    flops = property(lambda self: self.arithmetic.flops)
    steps = property(lambda self: self.launch.steps)
    complete = property(lambda self: self.launch.complete)
    whole = property(
        lambda self: self.launch.warps is None and self.launch.chosen == range(self.launch.grid.size)
    )

    def findings(self, args) -> list[Finding]:
        """Return everything that is wrong, then everything that is slow."""
        judge, program = self.judge, self.program
        findings = seen_while_running(self.memory.problems, program, judge.words)
        findings += judge.races() + judge.uninitialised()
        if self.complete and not any(finding.kind == "exception" for finding in findings):
            known = {finding.array for finding in findings if finding.kind in ("race", "writes-input")}
            findings += judge.unwritten() if self.whole else []
            findings += [finding for finding in judge.overwritten_inputs() if finding.array not in known]
        findings += [
            _non_constant_shape(program.sites[site], shape) for site, shape in program.dynamic_shapes
        ]
        findings += advice(warp_requests(self.columns, self.arrays, program.sites, judge.block.size))
        if not any(row.dtype[1:] in ("f8", "c16") for row in self.arrays if row.space == GLOBAL):
            sites = [program.sites[site] for site in self.arithmetic.widened if site]
            findings += {site.line: _float64(site) for site in reversed(sites)}.values()
        return list(dict.fromkeys(findings))


def _non_constant_shape(site, shape) -> Finding:
    message = (
        f"the shape {shape} of cuda.{site.what}.array on line {site.line} does not compile: it "
        "must be a number or the name of a constant: memory is reserved before anything is computed"
    )
    return Finding("non-constant-shape", site.text, None, (), site.line, message, (site.line,))


def _float64(site) -> Finding:
    message = (
        f"on line {site.line} a float32 meets a float64 or an integer at {site.text!r} and becomes float64, "
        "which a GPU computes at 1/2 to 1/64 of the speed: write float32(2) for 2.0 and for 2"
    )
    return Finding("float64", "", None, (), site.line, message, (site.line,))


def _check_some(name, numbers, count) -> tuple[int, ...] | None:
    if numbers is None:
        return None
    numbers = tuple(dict.fromkeys(check_whole(name, number) for number in numbers))
    for number in numbers:
        if number >= count:
            raise ValueError(f"{name} must be numbers from 0 to {count - 1}, got {number}")
    if not numbers:
        raise ValueError(f"{name} must hold at least one number, got none")
    return numbers


def _check_lines(kernel, lines) -> tuple[int, ...]:
    if lines is False or lines == ():
        return ()
    sites = Program(kernel, Arithmetic()).sites
    known = sorted({site.line for site in sites if site.what == "barrier"})
    if lines is True:
        return tuple(known)
    lines = tuple(check_whole("without_barriers", line) for line in lines)
    for line in lines:
        if line not in known:
            raise ValueError(f"without_barriers must name lines with a barrier ({known}), got {line}")
    return lines
