"""The command line: `python -m minidl info` says what is here, `bench` times the kernels, `train` trains a
model, `gpu` puts a GPU to the test.
"""

from __future__ import annotations

import argparse
import platform
import sys
from importlib import metadata
from pathlib import Path

from minidl import __version__

MODELS = ("gan", "began", "lenet", "autoencoder", "date", "average")


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m minidl", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    about = commands.add_parser("info", help="devices, what they reach, and versions")
    about.set_defaults(run=info)
    timing = commands.add_parser("bench", help="time minidl's kernels beside the libraries that people use")
    timing.add_argument("ladder", nargs="*", help='which, for instance "sliding average"; all by default')
    timing.add_argument("--quick", action="store_true", help="small workloads and few rounds")
    timing.add_argument("--size", type=_positive(int), help="elements of the largest array, for every ladder")
    timing.add_argument("--budget", type=_positive(float), help="seconds for each rung (1; with --quick 0.1)")
    timing.add_argument(
        "--record",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="also write the measurements as JSON, by default to figures/records/<device>.json",
    )
    timing.set_defaults(run=bench)
    stepping = commands.add_parser("steps", help="time whole training steps beside PyTorch's")
    stepping.add_argument("step", nargs="*", help='which, for instance "dense GAN"; all by default')
    stepping.add_argument("--rounds", type=_positive(int), default=20, help="of each step (20)")
    stepping.add_argument("--memory", action="store_true", help="measure the memory they take instead")
    stepping.set_defaults(run=steps)
    training = commands.add_parser("train", help="train a model, with a checkpoint that survives Ctrl-C")
    training.add_argument("model", choices=MODELS)
    training.add_argument("--epochs", type=_positive(int), help="by default, enough for a good result")
    training.add_argument("--seed", type=_natural, default=0, help="the same seed, the same weights (0)")
    training.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    training.add_argument("--batch-size", type=_positive(int), metavar="N")
    training.add_argument("--lr", type=_positive(float), help="the learning rate")
    training.add_argument(
        "--data",
        metavar="PATH",
        help="digits (the default), mnist, or a folder of your own images, a folder in it for each class",
    )
    training.add_argument("--size", type=_positive(int), help="bring images of a folder to this side (8)")
    training.add_argument("--invert", action="store_true", help="your images are dark on bright")
    training.add_argument("--save", type=Path, metavar="FILE", help="write the weights there (safetensors)")
    training.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="keep the training there and go on from it; by default minidl-MODEL.checkpoint until it is done",
    )
    training.add_argument(
        "--data-parallel",
        nargs="?",
        const="mpi",
        choices=("mpi", "ring", "tree", "server", "shared"),
        metavar="HOW",
        help="share every batch among the processes of `mpiexec -n 4 python -m minidl train …`; gradients "
        "are added up by mpi (as the library does it, the default), ring, tree, server, or shared (in memory "
        "that all see, on one machine)",
    )
    training.set_defaults(run=train)
    real = commands.add_parser(
        "gpu", help="check and time every CUDA kernel; without a GPU, compile and trace"
    )
    real.add_argument("--minutes", type=_positive(float), default=8.0, help="how long it may take (8)")
    real.add_argument("--record", type=Path, metavar="FILE", help="by default figures/records/<device>.json")
    real.add_argument(
        "--stages",
        nargs="+",
        choices=("checks", "operations", "training", "race", "sanitizer"),
        help="some of them; all by default",
    )
    real.set_defaults(run=gpu)
    chosen = parser.parse_args(arguments)
    chosen.run(chosen)


def info(_=None) -> None:
    """Print the version, the devices and their limits, the ladders, and the versions of other packages."""
    from minidl.hardware import threads
    from minidl.hardware.device import ADVICE, Device
    from minidl.hardware.limits import limits
    from minidl.instruments.bench import PACKAGES, ladders

    print(
        f"minidl {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    for kind in ("cpu", "cuda"):
        device = Device(kind)
        if not device.available:
            print(f"{kind}: none found. {ADVICE}")
            continue
        roofs = limits(kind)
        print(
            f"{kind}: {device.name}, {device.cores} {'cores' if kind == 'cpu' else 'multiprocessors'}, "
            f"{device.memory / 2**30:.0f} GiB; copies {roofs.copy_bandwidth / 1e9:.0f} GB/s (both ways), "
            f"computes {roofs.flops / 1e9:,.0f} GFLOP/s in float32"
        )
    print(f"threads: numba's OpenMP {threads.SHARING}")
    packages = ("numpy", "numba", "numba-cuda", "matplotlib", "ipywidgets", *PACKAGES)
    print("packages:", ", ".join(f"{package} {_version(package)}" for package in packages))
    print("ladders:", ", ".join(ladders()))


def bench(chosen) -> None:
    """Time ladders and peers, print a table for each, and how minidl compares; record it if asked to."""
    from minidl.instruments.bench import default_record, run, save, summary

    measured = []
    try:
        for timings in run(
            chosen.ladder,
            quick=chosen.quick,
            size=chosen.size,
            budget=chosen.budget,
            progress=sys.stderr.isatty(),
        ):
            print(f"{timings}\n", flush=True)
            measured.append(timings)
    except ValueError as unknown:
        sys.exit(f"bench: {unknown}")
    print(summary(measured))
    if measured[-1].interrupted:
        print("Interrupted: the last comparison is incomplete and will not be recorded.")
    if chosen.record is not None:
        file = default_record() if chosen.record == Path() else chosen.record
        save(measured, file)
        print(f"Recorded in {file}.")


def train(chosen) -> None:
    """Train a model, and say what came of it."""
    from minidl.tasks import command

    command.train(chosen)


def _natural(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, got {text!r}")
    return int(text)


def gpu(chosen) -> None:
    """Check and measure the GPU; the exit code says whether something wrong was found."""
    from minidl.instruments.gpu.command import run

    sys.exit(run(chosen.minutes, chosen.record, chosen.stages))


def steps(chosen) -> None:
    """Time training steps, or measure their memory, and print a table."""
    from minidl.instruments.steps import measure, measure_memory, memory_table, table

    try:
        if chosen.memory:
            print(memory_table(measure_memory(chosen.step, progress=sys.stderr.isatty())))
        else:
            print(table(measure(chosen.step, chosen.rounds, progress=sys.stderr.isatty())))
    except ValueError as unknown:
        sys.exit(f"steps: {unknown}")


def _positive(kind):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not value > 0:
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"must be a {what} above 0, got {text!r}")
        return value

    return parse


def _version(package) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
