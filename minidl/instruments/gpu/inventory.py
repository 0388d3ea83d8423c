"""Looks at every CUDA kernel where there is no GPU: does it compile, what does it need, and is it right?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from minidl.instruments.gpu.cases import Case, cases
from minidl.instruments.ptx import CompilerUnavailable, Ptx, compile_kernel
from minidl.instruments.stopwatch import Table
from minidl.instruments.tracer import LimitReached, TracedGpu, UnsupportedKernel

CAPABILITIES = ((7, 5), (8, 0), (9, 0))  # a T4, an A100, an H100 or H200
SLOW_NOT_WRONG = {"bank-conflict", "uncoalesced"}


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel, with arguments to compile it for."""

    kernel: object
    block: object
    arguments: tuple

    @property
    def name(self) -> str:
        """The kernel's name, without the ending that all of them have."""
        return self.kernel.py_func.__name__.removesuffix("_kernel").lstrip("_")

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return int(np.prod(self.block))


class Collector:
    """Looks like a GPU to a launcher, runs nothing, and keeps the first launch of every kernel."""

    def __init__(self):
        self.launches: dict[int, Launch] = {}

    def upload(self, array):
        """Copy an array, as if to a device."""
        return np.array(array, order="C")

    def empty(self, shape, dtype):
        """Make an array of zeros."""
        return np.zeros(shape, dtype)

    def launch(self, kernel, grid, block, *args, shared=0):
        """Keep what would have been launched."""
        self.launches.setdefault(id(kernel), Launch(kernel, block, args))

    def download(self, array, out=None):
        """Return the array itself."""
        return array


def launches(some: Iterable[Case] | None = None) -> list[Launch]:
    """Return one launch of every kernel that the cases launch, by name."""
    collector = Collector()
    for case in cases() if some is None else some:
        case.run(collector)
    return sorted(collector.launches.values(), key=lambda launch: (launch.name, launch.threads))


@dataclass(frozen=True)
class Compiled:
    """A kernel, compiled for several GPUs; `problem` says what is wrong with it, or is ""."""

    launch: Launch
    ptx: tuple[Ptx, ...] = ()
    problem: str = ""


def compile_all(some: Iterable[Launch], capabilities=CAPABILITIES) -> Iterator[Compiled]:
    """Compile kernels, one after the other.

    Raises
    ------
    CompilerUnavailable
        If there is no compiler here.
    """
    for launch in some:
        try:
            made = tuple(compile_kernel(launch.kernel, *launch.arguments, cc=cc) for cc in capabilities)
        except CompilerUnavailable:
            raise
        except Exception as error:  # whatever it is, the other kernels are still to be looked at
            yield Compiled(launch, problem=f"{type(error).__name__}: {error}")
            continue
        yield Compiled(launch, made, "; ".join(filter(None, map(_complaint, made))))


def _complaint(ptx) -> str:
    counts, where = ptx.counts(), f"compute capability {ptx.cc[0]}.{ptx.cc[1]}"
    said = []
    if ptx.spills:
        said.append(f"{ptx.spills} bytes spilled")
    if counts["f64"]:
        said.append(f"{counts['f64']} instructions in float64")
    if counts["ld.local"] or counts["st.local"]:
        said.append("arrays in local memory")
    return f"{', '.join(said)} ({where})" if said else ""


def table(compiled: list[Compiled]) -> Table:
    """Return what each kernel needs: registers, shared memory, spills, and how full it keeps a GPU."""
    capabilities = next((tuple(p.cc for p in kernel.ptx) for kernel in compiled if kernel.ptx), ())
    rows = []
    for kernel in compiled:
        if not kernel.ptx:
            rows.append((kernel.launch.name, kernel.launch.threads, *["-"] * (len(capabilities) + 3)))
            continue
        last = kernel.ptx[-1]
        registers = [ptx.registers if ptx.registers is not None else "?" for ptx in kernel.ptx]
        spills = [ptx.spills for ptx in kernel.ptx]
        share = "?" if last.registers is None else f"{last.occupancy(kernel.launch.threads).share:.0%}"
        spilled = "?" if None in spills else max(spills)
        rows.append((kernel.launch.name, kernel.launch.threads, *registers, last.shared, spilled, share))
    names = [f"registers {major}.{minor}" for major, minor in capabilities]
    full = f"occupancy {capabilities[-1][0]}.{capabilities[-1][1]}" if capabilities else "occupancy"
    head = ("kernel", "threads", *names, "shared bytes", "spilled bytes", full)
    reasons = {ptx.reason for kernel in compiled for ptx in kernel.ptx if ptx.reason}
    return Table(head, tuple(rows), "\n".join(sorted(reasons)))


def trace_case(case: Case) -> str:
    """Run a case in the tracer; return "" or what is wrong: a value, a race, an access."""
    machine = TracedGpu()
    try:
        wrong = case.check(machine)
    except (LimitReached, UnsupportedKernel) as error:
        return str(error)
    for trace in machine.traces:
        for finding in trace.findings:
            if finding.kind not in SLOW_NOT_WRONG:
                return f"{trace.kernel}: {finding.message}"
    return wrong
