"""The stopwatch: run the rungs of a ladder in turns, in one process, and keep medians with their spread.

A time is only worth something beside another one taken at the same moment on the same machine. So the rungs
of a comparison are interleaved: every round times each once, and what disturbs the machine disturbs all.
"""

from __future__ import annotations

import datetime
import html
import inspect
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from minidl.hardware.cuda import cuda
from minidl.hardware.device import Device
from minidl.hardware.limits import limits
from minidl.hardware.machine import GPU, Gpu, is_on_gpu
from minidl.kernels.arguments import check_integer
from minidl.kernels.ladder import Ladder, Rung

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHOD = "warmed up, results written into existing arrays, rungs interleaved, medians with quartiles"
GPU_METHOD = (
    "; on the GPU kernels alone, between events, queued behind another kernel so that no launch is waited for"
)

VERSIONED = ("numpy", "numba", "numba-cuda", "scipy", "bottleneck", "torch", "jax")
VERSIONED += ("cupy", "cupy-cuda12x", "cupy-cuda13x")  # it has another name for each CUDA


@dataclass(frozen=True)
class Timing:
    """How long one rung took on one workload.

    Attributes
    ----------
    rung, device, workload : str
    seconds : tuple of float
        One per round. CUDA: the kernels alone, between events on the GPU.
    bytes, flops : int
        What this rung moves and computes, by its own account (a peer's: the least).
    floor : float or None
        Seconds that the task takes at least: the smallest account of any rung, at the measured roofs.
    call : float or None
        CUDA: median seconds of the whole call, launches and waiting for the result included, arrays on the
        GPU already.
    copies : float or None
        CUDA: seconds to copy the arguments there and the result back.
    skipped : str
        Why there are no seconds; "" if there are.
    """

    rung: str
    device: str
    workload: str
    seconds: tuple[float, ...] = ()
    bytes: int = 0
    flops: int = 0
    floor: float | None = None
    call: float | None = None
    copies: float | None = None
    skipped: str = ""

    @property
    def median(self) -> float:
        """Median seconds; NaN if it was skipped."""
        return statistics.median(self.seconds) if self.seconds else float("nan")

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the rounds took less than the first, a quarter more than the second, in seconds."""
        if len(self.seconds) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    @property
    def bandwidth(self) -> float:
        """Bytes per second, by the rung's own account."""
        return self.bytes / self.median

    @property
    def flop_rate(self) -> float:
        """Operations per second, by the rung's own account."""
        return self.flops / self.median

    @property
    def share(self) -> float:
        """Share of the roof: the floor over the time; 1 is as fast as this device can be."""
        return float("nan") if self.floor is None else self.floor / self.median


@dataclass(frozen=True)
class Timings:
    """A comparison: a `Timing` for each rung on each workload, and where the numbers come from.

    Attributes
    ----------
    ladder : str
    results : tuple of Timing
    provenance : dict
        Devices, date, versions, method, and the commit where it is known.
    live : bool
        Measured in this process; False for a record that was read.
    interrupted : bool
        Stopped by Ctrl-C before everything was timed.
    """

    ladder: str
    results: tuple[Timing, ...]
    provenance: dict = field(default_factory=dict)
    live: bool = True
    interrupted: bool = False

    def __getitem__(self, key: tuple[str, str]) -> Timing:
        rung, workload = key
        for timing in self.results:
            if (timing.rung, timing.workload) == (rung, workload):
                return timing
        raise KeyError(f"no timing of rung {rung!r} on workload {workload!r}")

    def __len__(self):
        return len(self.results)

    @property
    def workloads(self) -> list[str]:
        """Names of the workloads, in order."""
        return list(dict.fromkeys(timing.workload for timing in self.results))

    def of(self, workload: str) -> list[Timing]:
        """The timings on one workload, in the ladder's order."""
        return [timing for timing in self.results if timing.workload == workload]

    def source(self) -> str:
        """Return one line that says where the numbers come from."""
        about = self.provenance
        devices = " and ".join(about.get("devices", {}).values())
        line = f"{'live' if self.live else 'recorded'}: {devices}, {about.get('date')}; {about.get('method')}"
        versions = ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items())
        return line if self.live else f"{line}; {versions}"

    def table(self) -> Table:
        """Return one row for each rung and workload; it prints as text and shows as HTML."""
        rows = []
        for workload in self.workloads:
            timed = [timing for timing in self.of(workload) if timing.seconds]
            for row, timing in enumerate(timed):
                low, high = timing.quartiles
                extra = ""
                if timing.call:
                    extra = f" (call {time_text(timing.call)}"
                    extra += f", copies {time_text(timing.copies)})" if timing.copies else ")"
                rows.append(
                    (
                        "" if row else workload,
                        timing.rung,
                        time_text(timing.median) + extra,
                        f"{timing.share:.2f}",
                        f"{time_text(low)} – {time_text(high)}",
                        f"{timing.bandwidth / 1e9:.3g}",
                        f"{timing.flop_rate / 1e9:.3g}",
                    )
                )
        head = (self.ladder, "rung", "median", "share of roof", "quartiles", "GB/s", "GFLOP/s")
        return Table(head, tuple(rows), "\n".join([*self.left_out(), self.source()]))

    def left_out(self) -> list[str]:
        """Return one line for each reason why something was not timed, with what it kept out."""
        reasons: dict[str, list[Timing]] = {}
        for timing in self.results:
            if not timing.seconds:
                reasons.setdefault(timing.skipped, []).append(timing)
        lines = []
        for reason, timings in reasons.items():
            rungs = list(dict.fromkeys(timing.rung for timing in timings))
            where = "" if len(timings) == len(rungs) * len(self.workloads) else f" on {timings[0].workload}"
            lines.append(f"{', '.join(rungs)}{where}: {reason}")
        return lines

    def __str__(self):
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def plot(self) -> Figure:
        """Draw the medians as bars on a logarithmic scale, a panel for each workload, the floor as a line."""
        from minidl.instruments.bars import draw  # and with it matplotlib, which a machine may lack

        return draw(self)

    def to_json(self) -> str:
        """Return everything as JSON."""
        content = {
            "ladder": self.ladder,
            "provenance": self.provenance,
            "results": [asdict(t) for t in self.results],
        }
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Timings:
        """Read what `to_json` wrote; the result says that it is recorded."""
        content = json.loads(text)
        results = tuple(
            Timing(**{**result, "seconds": tuple(result["seconds"])}) for result in content["results"]
        )
        return cls(content["ladder"], results, content["provenance"], live=False)


def recorded(ladder: str) -> list[Timings]:
    """Return the measurements of a ladder that the book brings along, from `figures/records`."""
    folder = resources.files("figures").joinpath("records")
    files = [file for file in folder.iterdir() if file.name.endswith(".json")] if folder.is_dir() else []
    contents = [json.loads(file.read_text("utf-8")) for file in files]
    comparisons = [one for content in contents if isinstance(content, list) for one in content]
    return [Timings.from_json(json.dumps(content)) for content in comparisons if content["ladder"] == ladder]


@dataclass(frozen=True)
class Table:
    """Rows under a heading, with a line below that says where they come from."""

    head: tuple
    rows: tuple[tuple, ...]
    caption: str = ""

    def __str__(self):
        lines = [[str(cell) for cell in line] for line in (self.head, *self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.head))]
        text = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        table = [text[0], "  ".join("-" * w for w in widths), *text[1:]] if self.rows else []
        return "\n".join([*table, self.caption])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in self.head)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        table = f'<table class="osi-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        lines = (f'<p class="osi-caption">{html.escape(line)}</p>' for line in self.caption.splitlines())
        return (table if self.rows else "") + "".join(lines)


def compare(
    ladder: Ladder,
    workloads: Mapping[str, tuple] | Sequence[tuple],
    rungs: Sequence[str] | None = None,
    repeat: int = 15,
    *,
    peers: Mapping[str, Callable] | None = None,
    budget: float = 3.0,
    progress: bool = False,
) -> Timings:
    """Time the rungs of a ladder, in turns, on one or several workloads.

    A rung that would take too long is left out with its estimate as the reason, and CUDA rungs are left out
    where there is no GPU; nothing is left out silently. Interrupted (Ctrl-C), it returns what it has.

    Parameters
    ----------
    ladder : Ladder
    workloads : mapping of str to tuple, or sequence of tuple
        Arguments of the rungs, by name; without names, their shapes are used.
    rungs : sequence of str, optional
        Which rungs; all of them by default.
    repeat : int
        Rounds. A rung slower than `budget / repeat` gets fewer.
    peers : mapping of str to callable, optional
        Other implementations for comparison, called with the same arguments. One whose name ends in " cuda"
        launches its work on the GPU's default stream and does not wait for it.
    budget : float
        Seconds that one rung may take on one workload, warm-up apart.
    progress : bool
        Show a progress bar.

    Raises
    ------
    TypeError, ValueError, KeyError
        If an argument is of the wrong kind, there is nothing to do, or there is no such rung.
    """
    if not isinstance(ladder, Ladder):
        raise TypeError(f"ladder must be a Ladder, got {type(ladder).__name__}")
    repeat = check_integer("repeat", repeat, 1)
    if not budget > 0:
        raise ValueError(f"budget must be more than 0 seconds, got {budget!r}")
    chosen = (
        [ladder[name] for name in ladder.names] if rungs is None else [ladder[name] for name in _names(rungs)]
    )
    if not isinstance(workloads, Mapping):
        workloads = {" × ".join(map(str, ladder.shape(*arguments))): arguments for arguments in workloads}
    if not workloads or not (chosen or peers):
        raise ValueError("workloads and rungs must not be empty: there is nothing to time")

    results, interrupted = [], False
    runs = len(workloads) * (len(chosen) + len(peers or {})) * (1 + repeat)
    with tqdm(total=runs, disable=not progress, unit="run", desc=ladder.name, leave=False) as bar:
        for name, arguments in workloads.items():
            runners = []
            try:
                for rung in chosen:
                    runners.append(_Runner.of(rung, ladder, name, arguments, budget))
                for peer, function in (peers or {}).items():
                    runners.append(_Runner.of_peer(peer, function, ladder, name, arguments))
                _run_in_turns(runners, repeat, budget, bar)
            except KeyboardInterrupt:
                interrupted = True
                for runner in runners:
                    if not runner.seconds and not runner.skipped:
                        runner.skipped = "interrupted"
            results += [runner.timing() for runner in runners]
            if interrupted:
                break
    kinds = sorted(
        {timing.device for timing in results if timing.seconds and timing.device != "peer"} | {"cpu"}
    )
    return Timings(ladder.name, tuple(results), provenance(kinds), interrupted=interrupted)


def provenance(kinds: Sequence[str] = ("cpu",)) -> dict:
    """Return where and when something was measured: devices, their limits, date, versions, method, commit."""
    versions = {"python": platform.python_version()}
    for package in (
        "numpy",
        "numba",
        "numba-cuda",
        "scipy",
        "bottleneck",
        "torch",
        "jax",
        "cupy",
        "cupy-cuda12x",
        "cupy-cuda13x",
    ):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    return {
        "devices": {kind: Device(kind).name for kind in kinds},
        "limits": {kind: asdict(limits(kind)) for kind in kinds},
        "cores": Device("cpu").cores,
        "date": datetime.date.today().isoformat(),
        "versions": versions,
        "method": METHOD + GPU_METHOD * ("cuda" in kinds),
        "commit": _commit(),
        **({"driver": _driver()} if "cuda" in kinds else {}),
    }


@cache
def _driver() -> str | None:
    """Return the version of NVIDIA's driver, if its own tool is there to be asked."""
    question = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        run = subprocess.run(question, capture_output=True, text=True, check=True, timeout=20)
        return run.stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def _commit() -> str | None:
    try:
        folder = Path(__file__).resolve().parent
        run = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        )
        return run.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed package has no repository around it


def _names(rungs):
    if isinstance(rungs, str):
        raise TypeError(f"rungs must be a sequence of names, got the single name {rungs!r}")
    return list(dict.fromkeys(rungs))


def _run_in_turns(runners, repeat, budget, bar):
    """Time every runner `repeat` times, round by round."""
    for runner in runners:
        runner.warm_up()
        bar.update()
    for _ in range(repeat):
        for runner in runners:
            if not runner.skipped and sum(runner.seconds) < budget:
                runner.run()
            bar.update()


# ------------------------------------------------------------------------------------ one rung, one workload


class _Runner:
    """Runs one implementation on one workload and collects its seconds."""

    def __init__(self, name, device, workload, function, arguments, bytes, flops, floor):
        self.name, self.device, self.workload = name, device, workload
        self.function, self.arguments = function, arguments
        self.bytes, self.flops, self.floor = bytes, flops, floor
        self.seconds: list[float] = []
        self.skipped = ""

    @classmethod
    def of(cls, rung: Rung, ladder, workload, arguments, budget):
        sizes = ladder.shape(*arguments)
        itemsize = _itemsize(arguments)
        account = rung.bytes(*sizes, itemsize=itemsize), rung.flops(*sizes)
        device = Device(rung.device)
        floor = _floor(ladder, rung.device, sizes, itemsize) if device.available else None
        kind = _CudaRunner if rung.device == "cuda" else cls
        runner = kind(rung.name, rung.device, workload, rung.callable, arguments, *account, floor)
        if not device.available:
            runner.skipped = "not timed: no CUDA GPU on this machine"
        elif rung.device == "cpu":
            seconds = _estimate(rung, ladder, max(account), 3 * budget)
            if seconds > 3 * budget:
                runner.skipped = f"not timed: it would take about {time_text(seconds)}"
        return runner

    @classmethod
    def of_peer(cls, name, function, ladder, workload, arguments):
        sizes, itemsize = ladder.shape(*arguments), _itemsize(arguments)
        device, kind = ("cuda", _CudaPeer) if name.endswith(" cuda") else ("cpu", cls)
        account = *_least(ladder, device, sizes, itemsize), _floor(ladder, device, sizes, itemsize)
        return kind(name, "peer", workload, function, arguments, *account)

    def warm_up(self):
        """Run once: compiles, touches the memory, and gives an array to write further results into."""
        if self.skipped:
            return
        result = self.function(*self.arguments)
        if _accepts(self.function, "out") and isinstance(result, np.ndarray):
            self.call = lambda: self.function(*self.arguments, out=result)
        else:
            self.call = lambda: self.function(*self.arguments)
        self.call()

    def run(self):
        """Time one call."""
        start = time.perf_counter()
        self.call()
        self.seconds.append(time.perf_counter() - start)

    def timing(self) -> Timing:
        """Return what was measured."""
        seconds = tuple(self.seconds)
        return Timing(
            self.name,
            self.device,
            self.workload,
            seconds,
            self.bytes,
            self.flops,
            self.floor,
            skipped=self.skipped,
        )


class _OnGpu(_Runner):
    """Times what runs on the GPU: its kernels by events there, and the whole call by the clock here.

    An event takes the time when its turn comes on the GPU. If the GPU has nothing to do, that of the first
    event is at once, and the time until the kernel comes, which Python takes to launch it, would count as the
    kernel's. So a kernel that takes a millisecond is launched first, and all else waits in line behind it.
    """

    def warm_up(self):
        if self.skipped:
            return
        self.calls, self.busy = [], cuda.device_array(1, np.float32)
        self.prepare()
        for _ in range(2):
            self.run()
        self.calls.clear()
        self.seconds.clear()

    def run(self):
        with cuda.defer_cleanup():  # freeing memory would wait for the GPU
            start = time.perf_counter()
            self.call()
            cuda.synchronize()
            self.calls.append(time.perf_counter() - start)
            keep_busy_kernel[1, 1](BUSY_TRIPS, self.busy)
            self.seconds.append(self.time_kernels())

    def timing(self):
        timing = super().timing()
        if not timing.seconds:
            return timing
        return Timing(**{**vars(timing), "call": statistics.median(self.calls), "copies": self.copies})


BUSY_TRIPS = 500_000  # of four cycles each: about a millisecond


@cuda.jit
def keep_busy_kernel(trips, out):
    """One thread that multiplies and adds; each time it has to wait for the time before."""
    value, factor = out.dtype.type(1), out.dtype.type(0.999)
    for _ in range(trips):
        value = value * factor + factor
    out[0] = value


class _CudaRunner(_OnGpu):
    """Times a rung, each of its kernels between two events."""

    def prepare(self):
        start = time.perf_counter()
        there = [GPU.upload(value) if isinstance(value, np.ndarray) else value for value in self.arguments]
        cuda.synchronize()
        self.copies = time.perf_counter() - start
        result = self.function(*there)
        cuda.synchronize()
        start = time.perf_counter()
        for array in result if isinstance(result, tuple) else (result,):
            GPU.download(array)
        self.copies += time.perf_counter() - start
        self.machine = TimedGpu()
        # A first argument on the GPU keeps the result there, so nothing is copied while the clock runs.
        into = {"out": result} if is_on_gpu(result) and _accepts(self.function, "out") else {}
        self.call = lambda: self.function(*there, machine=self.machine, **into)

    def time_kernels(self):
        self.machine.pairs.clear()
        self.call()
        return self.machine.seconds()


class _CudaPeer(_OnGpu):
    """Times another library's function, all of its kernels between two events."""

    copies = None

    def prepare(self):
        self.call = lambda: self.function(*self.arguments)

    def time_kernels(self):
        start, stop = cuda.event(), cuda.event()
        start.record()
        self.call()
        stop.record()
        stop.synchronize()
        return cuda.event_elapsed_time(start, stop) / 1e3


class TimedGpu(Gpu):
    """A GPU that puts an event before and after every kernel it launches."""

    def __init__(self):
        self.pairs = []

    def launch(self, kernel, grid, block, *args, shared=0):
        """Run `kernel` and remember the events around it."""
        start, stop = cuda.event(), cuda.event()
        start.record()
        super().launch(kernel, grid, block, *args, shared=shared)
        stop.record()
        self.pairs.append((start, stop))

    def seconds(self) -> float:
        """Return the time the kernels took on the GPU, all launches together."""
        for _, stop in self.pairs:
            stop.synchronize()
        return sum(cuda.event_elapsed_time(start, stop) for start, stop in self.pairs) / 1e3


def _least(ladder, device, sizes, itemsize):
    rungs = [rung for rung in ladder if rung.device == device] or list(ladder)
    return min(rung.bytes(*sizes, itemsize=itemsize) for rung in rungs), min(
        rung.flops(*sizes) for rung in rungs
    )


def _floor(ladder, device, sizes, itemsize):
    roofs = limits(device)
    bytes, flops = _least(ladder, device, sizes, itemsize)
    return max(bytes / roofs.copy_bandwidth, flops / roofs.flops)


def _estimate(rung, ladder, work, limit):
    """Return the seconds a rung will take for `work`, judged by ever larger examples until one takes a while.

    A small example alone would not do: starting threads takes longer than what they have to do in it. And
    nothing is judged too slow by what may have been another program's turn: above `limit` it is asked again.
    """
    if ladder.example is None:
        return 0.0
    size, done = 2_000, 0
    rung(*ladder.example(size))  # compiles
    while True:
        example = ladder.example(size)
        sizes = ladder.shape(*example)
        account = max(rung.bytes(*sizes), rung.flops(*sizes))
        seconds = min(_clock(rung, example) for _ in range(3))
        if seconds > 0.02 or not done < account < work:
            factor = work / max(account, 1)
            for _ in range(2):
                if seconds * factor > limit:
                    time.sleep(0.02)
                    seconds = min(seconds, _clock(rung, example))
            return seconds * factor
        size, done = 8 * size, account


def _clock(function, arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _itemsize(arguments):
    return max((value.dtype.itemsize for value in arguments if hasattr(value, "dtype")), default=4)


def _accepts(function, parameter):
    try:
        return parameter in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def time_text(seconds) -> str:
    """Write seconds with three digits and a fitting unit."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
