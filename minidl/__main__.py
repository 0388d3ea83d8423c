"""The command line: `python -m minidl info` says what is here, `python -m minidl bench` times the kernels."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from pathlib import Path

from minidl import __version__, kernels
from minidl.hardware.device import describe_devices
from minidl.kernels.ladder import Ladder


def ladders() -> dict[str, Ladder]:
    """Return every ladder of `minidl.kernels` that brings an example to be timed on, by its name."""
    found = {}
    for module in pkgutil.walk_packages(kernels.__path__, "minidl.kernels."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Ladder) and value.example is not None:
                found[value.name] = value
    return dict(sorted(found.items()))


def info() -> None:
    """Print the version, the devices, and the ladders that can be timed."""
    print(f"minidl {__version__}")
    print(describe_devices())
    print("ladders:", ", ".join(ladders()))


def bench(names: list[str], size: int, budget: float, record: Path | None) -> None:
    """Time the named ladders, all of them by default; write the measurements as JSON if `record` is given."""
    from minidl.instruments.stopwatch import compare

    known = ladders()
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"there is no ladder {unknown[0]!r}; there are: {', '.join(known)}")
    if size < 1:
        sys.exit(f"--size must be at least 1, got {size}")
    measured = []
    for name in names or known:
        workload = {f"{size:,} elements": known[name].example(size)}
        timings = compare(known[name], workload, budget=budget, progress=sys.stderr.isatty())
        print(f"\n{timings}", flush=True)
        measured.append(json.loads(timings.to_json()))
    if record is not None:
        record.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m minidl", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="what is installed and what it can run on")
    timing = commands.add_parser("bench", help="time kernels on this machine")
    timing.add_argument("ladder", nargs="*", help='which, for instance "sliding average"; all by default')
    timing.add_argument("--size", type=int, default=1_000_000, help="elements of the largest array (1000000)")
    timing.add_argument("--budget", type=float, default=1.0, help="seconds for each rung (1)")
    timing.add_argument("--record", type=Path, help="also write the measurements to this file, as JSON")
    chosen = parser.parse_args(arguments)
    if chosen.command == "info":
        info()
    else:
        bench(chosen.ladder, chosen.size, chosen.budget, chosen.record)


if __name__ == "__main__":
    main()
