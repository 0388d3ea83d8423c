"""`python -m minidl gpu`: everything there is to check and to measure on a GPU, in a few minutes.

Without a GPU it does what can be done: it compiles every kernel, says what each needs, and lets the tracer
look for wrong values, races and accesses out of bounds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm.auto import tqdm

from minidl.hardware.device import Device
from minidl.hardware.limits import limits
from minidl.instruments import bench
from minidl.instruments.gpu import cases, inventory, race, training
from minidl.instruments.ptx import CompilerUnavailable
from minidl.instruments.stopwatch import Table, Timings, provenance

SANITIZER_SECONDS = 75  # for each of its tools


def run(minutes=8.0, record: Path | None = None, stages=None, **sizes) -> int:
    """Check and measure; return the exit code: 0 if nothing wrong was found, 1 if something was.

    Parameters
    ----------
    minutes : float
        When time is up, what is left is left out; what was measured is on record by then.
    record : Path, optional
        By default `figures/records/<device>.json`.
    stages : sequence of str, optional
        Some of "operations", "training", "checks", "race", "sanitizer"; all by default.
    sizes : int
        To make less of it: `numbers` and `product` of the race, `rounds`, `side` and `batch` of the training,
        `m`, `n` and `side` of the operations.
    """
    if not Device("cuda").available:
        return without_gpu()
    return WithGpu(minutes, record or bench.default_record(), sizes).run(stages)


# --------------------------------------------------------------------------------------------- without one


def without_gpu(some=None) -> int:
    """Compile and trace every kernel; return 1 if something is wrong with one, else 0."""
    print("No CUDA GPU was found on this machine, so nothing is timed. What can be looked at without one:")
    problems = []
    some = list(cases.cases()) if some is None else list(some)
    kernels = inventory.launches(some)
    compiled = []
    try:
        made = inventory.compile_all(kernels)
        compiled += _progress(made, "compiling", len(kernels))
        print(f"\n{inventory.table(compiled)}\n")
        problems += [f"{kernel.launch.name}: {kernel.problem}" for kernel in compiled if kernel.problem]
    except CompilerUnavailable as missing:
        print(f"\nNot compiled: {missing}")
    except KeyboardInterrupt:
        print("\nInterrupted.")
        return 130
    traced = [case for case in some if case.traceable]
    try:
        for case in _progress(traced, "tracing", len(traced)):
            wrong = inventory.trace_case(case)
            if wrong:
                problems.append(f"{case.name}: {wrong}")
    except KeyboardInterrupt:
        print("\nInterrupted.")
        return 130
    for problem in problems:
        print(f"WRONG  {problem}")
    gpus = ", ".join(f"{major}.{minor}" for major, minor in inventory.CAPABILITIES)
    print(
        f"{len(compiled)} kernels compiled for compute capability {gpus}; {len(traced)} calls traced thread "
        f"by thread: {len(problems) or 'no'} problem{'s' * (len(problems) != 1)} found."
    )
    return 1 if problems else 0


def _progress(items, what, total):
    return tqdm(items, desc=what, total=total, disable=not sys.stderr.isatty(), leave=False)


# ------------------------------------------------------------------------------------------------ with one


@dataclass
class WithGpu:
    """One visit to a GPU: stage after stage, each recorded when it is done."""

    minutes: float
    record: Path
    sizes: dict

    def __post_init__(self):
        self.start = time.monotonic()
        self.wrong: list[str] = []
        self.scores: list[race.Score] = []
        self.notes: dict[str, str] = {}
        self.left_out: list[str] = []

    def run(self, stages=None) -> int:
        """Go through the stages; an error in one is a finding, and the next one follows."""
        names = stages or ("checks", "operations", "training", "race", "sanitizer")
        self.say(f"{Device('cuda').name}, {Device('cuda').memory / 2**30:.0f} GiB")
        try:
            for name in names:
                self.say(f"— {name} —")
                try:
                    getattr(self, name)()
                except KeyboardInterrupt:
                    raise
                except Exception:  # one stage that fails shall not cost the others their turn
                    self.found(name, traceback.format_exc(limit=8))
                self.save([])
        except KeyboardInterrupt:
            self.left_out.append("interrupted")
            self.save([])
        return self.report()

    # -- time, words, records ----------------------------------------------------------------------------

    @property
    def left(self) -> float:
        """Seconds until time is up."""
        return self.minutes * 60 - (time.monotonic() - self.start)

    def say(self, text):
        """Print with the time since the start, at once: the output may be all that is left of a run."""
        print(f"[{time.monotonic() - self.start:5.0f} s] {text}", flush=True)

    def found(self, what, wrong):
        """Note a finding."""
        self.wrong.append(f"{what}: {wrong.strip().splitlines()[-1]}")
        self.say(f"WRONG  {what}: {wrong}")

    def out_of_time(self, what, needs=0.0) -> bool:
        """Whether less than `needs` seconds are left; then it is said what is left out."""
        if self.left > needs:
            return False
        self.left_out.append(what)
        self.say(f"no time left for {what}")
        return True

    def save(self, measured: list[Timings]):
        """Add measurements to the record, and how the checks stand."""
        about = provenance(("cpu", "cuda"))
        about["checks"] = {
            "wrong": self.wrong,
            "left out": self.left_out,
            **self.notes,
            "bars": [vars(replace(score)) for score in self.scores],
        }
        bench.save([*measured, Timings("GPU checks", (), about)], self.record)

    # -- the stages --------------------------------------------------------------------------------------

    def checks(self):
        """Every CUDA function, at odd sizes, against its reference."""
        count = 0
        for case in (*cases.cases(), *cases.cases(large=True)):
            if self.out_of_time(f"the checks from {case.name} on", 60):
                break
            try:
                wrong = case.check()
            except Exception:
                wrong = traceback.format_exc(limit=8)
            count += 1
            if wrong:
                self.found(case.name, wrong)
        self.notes["calls checked"] = count
        self.say(f"{count} calls of CUDA functions checked")

    def operations(self):
        """Every operation, forward and backward, against the CPU."""
        count = 0
        sizes = {key: value for key, value in self.sizes.items() if key in ("m", "n", "side")}
        for name, wrong in training.check_operations(**sizes):
            count += 1
            if wrong:
                self.found(name, wrong)
        self.notes["operations checked"] = count
        self.say(f"{count} operations checked, forward and backward")

    def training(self):
        """The networks: same losses as on the CPU; then timed beside PyTorch."""
        measured = []
        sizes = {key: value for key, value in self.sizes.items() if key in ("side", "batch")}
        for name in training.NETWORKS:
            if self.out_of_time(f"the training of a {name}", 60):
                return
            wrong = training.same_losses(name, **self._rounds(steps=3), **sizes)
            if wrong:
                self.found(f"training of a {name}", wrong)
            timings = training.time_steps(name, **self._rounds(rounds=30, warm=5), **sizes)
            with training.counted_launches() as launched:
                training.OurTraining(name, "cuda", **sizes).step()
            self.notes[f"launches per step, {name}"] = len(launched)
            measured.append(timings)
            self.say(f"{timings}\n{len(launched)} launches per step")
            self._compare_steps(name, timings)
        merged = tuple(timing for timings in measured for timing in timings.results)
        self.save([Timings("training step", merged, measured[0].provenance)])

    def _compare_steps(self, name, timings):
        (workload,) = timings.workloads
        theirs = [t.median for t in timings.of(workload) if t.rung == "torch cuda"]
        share = theirs[0] / timings["minidl", workload].median if theirs else None
        self.scores.append(race.Score(f"training step: {workload}", "torch eager", share, 0.5))

    def race(self):
        """Every ladder beside the vendor's libraries."""
        roofs = limits("cuda")
        self.say(
            f"roofs: device-to-device copy {roofs.copy_bandwidth / 1e9:,.0f} GB/s (read and written), "
            f"float32 multiply-adds {roofs.flops / 1e12:.1f} TFLOP/s"
        )
        measured: dict[str, list[Timings]] = {}
        sizes = {key: value for key, value in self.sizes.items() if key in ("numbers", "product")}
        for entry in race.races(**sizes):
            if self.out_of_time(f"the race of {entry.ladder}: {entry.workload}", 30):
                continue
            try:
                timings = race.run(entry, **self._rounds(rounds=15))
            except Exception:
                self.found(f"race of {entry.ladder}: {entry.workload}", traceback.format_exc(limit=8))
                continue
            self.say(f"\n{timings}\n")
            if timings.interrupted:
                raise KeyboardInterrupt
            self.scores += race.scores(entry, timings)
            measured.setdefault(entry.ladder, []).append(timings)
            self.save([_merged(measured[entry.ladder])])

    def _rounds(self, **most):
        """Fewer rounds where the caller asks for a short visit."""
        return {key: min(value, self.sizes.get("rounds", value)) for key, value in most.items()}

    def sanitizer(self):
        """NVIDIA's own checker watches the small cases run: accesses first, then races."""
        program = find_sanitizer()
        if program is None:
            self.notes["sanitizer"] = "compute-sanitizer was not found"
            self.say(self.notes["sanitizer"])
            return
        for tool in ("memcheck", "racecheck"):
            if self.out_of_time(tool, 20):
                return
            said = sanitize(program, tool, min(SANITIZER_SECONDS, self.left))
            self.notes[tool] = said
            self.say(f"{tool}: {said}")
            if not said.startswith(("0 errors", "stopped", "could not")):
                self.found(tool, said)

    # -- the end -----------------------------------------------------------------------------------------

    def report(self) -> int:
        """Print how the bars were met and what is wrong; return the exit code."""
        rows = []
        for score in self.scores:
            share = "-" if score.share is None else f"{score.share:.2f}"
            verdict = {True: "pass", False: "BELOW", None: "nothing to compare with"}[score.passed]
            rows.append((score.what, score.against, share, f"{score.least:.2f}", verdict))
        print(Table(("what", "against", "share", "at least", ""), tuple(rows)))
        for wrong in self.wrong:
            print(f"WRONG  {wrong}")
        for what in self.left_out:
            print(f"left out: {what}")
        below = sum(score.passed is False for score in self.scores)
        self.say(f"{len(self.wrong)} wrong, {below} below the bar. Recorded in {self.record}.")
        return 1 if self.wrong else 0


def _merged(measured: list[Timings]) -> Timings:
    """Join a ladder's measurements, which the record keeps together."""
    results = tuple(timing for timings in measured for timing in timings.results)
    return replace(measured[-1], results=results)


def find_sanitizer() -> str | None:
    """Return the path of `compute-sanitizer`, or None."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=f"{home}/bin")


def sanitize(program, tool, seconds) -> str:
    """Run the small cases under one of the sanitizer's tools; return what it says about errors."""
    command = [program, "--tool", tool, sys.executable, "-c"]
    command.append("from minidl.instruments.gpu.command import only_small_cases; only_small_cases()")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(seconds, 1))
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
        said = said.decode(errors="replace") if isinstance(said, bytes) else said
        return f"stopped after {seconds:.0f} s, {len(re.findall('^right: ', said, re.M))} calls were fine"
    except OSError as error:
        return f"could not be run: {error}"
    said = done.stdout + done.stderr
    summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", said)
    if not summary:
        return f"could not be run: {' '.join(said.split())[-300:]}"
    right, count = len(re.findall("^right: ", said, re.M)), re.search(r"\d+", summary[-1])
    first = re.search(r"^=+ ((?:Invalid|Error|Warning|Race).*)", said, re.M)
    if count and int(count[0]) == 0:
        return f"0 errors in {right} calls"
    return f"{summary[-1]}; {first[1] if first else ''}"


def only_small_cases():
    """Run the small cases once each, for whoever watches."""
    for case in cases.cases():
        if case.traceable:
            wrong = case.check()
            print(f"{'wrong' if wrong else 'right'}: {case.name} {wrong}", flush=True)
