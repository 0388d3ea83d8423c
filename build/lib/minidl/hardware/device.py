"""The devices a kernel can run on: this machine's processor ("cpu") and its NVIDIA GPU ("cuda")."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cached_property

import psutil

from minidl.hardware.cuda import cuda

ADVICE = (
    "On Colab: Runtime → Change runtime type → T4 GPU. "
    "On your own machine: an NVIDIA GPU with its driver (`nvidia-smi` must list it). "
    "Without one, minidl.instruments.tracer runs the same kernel thread by thread on the CPU."
)


class DeviceUnavailable(RuntimeError):
    """Raised when work is sent to a device that this machine does not have; the message says what to do."""


@dataclass(frozen=True)
class Device:
    """One device by its kind.

    Parameters
    ----------
    kind : {"cpu", "cuda"}

    Raises
    ------
    ValueError
        If `kind` is neither.
    """

    kind: str

    def __post_init__(self):
        if self.kind not in ("cpu", "cuda"):
            raise ValueError(f"kind must be 'cpu' or 'cuda', got {self.kind!r}")

    @property
    def available(self) -> bool:
        """Whether this machine has the device."""
        return self.kind == "cpu" or cuda.is_available()

    @cached_property
    def name(self) -> str:
        """What the maker calls it, for instance "NVIDIA H200" or "AMD EPYC"."""
        if self.kind == "cuda":
            self.require()
            name = cuda.get_current_device().name
            return name.decode() if isinstance(name, bytes) else name
        return _cpu_name()

    @property
    def cores(self) -> int:
        """CPU: cores this process may use. CUDA: streaming multiprocessors."""
        if self.kind == "cuda":
            self.require()
            return cuda.get_current_device().MULTIPROCESSOR_COUNT
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @property
    def memory(self) -> int:
        """Bytes of memory the device has in all."""
        if self.kind == "cuda":
            self.require()
            return cuda.current_context().get_memory_info().total
        return psutil.virtual_memory().total

    def require(self) -> Device:
        """Return the device itself, or raise `DeviceUnavailable` with advice."""
        if not self.available:
            raise DeviceUnavailable(f"no CUDA GPU was found on this machine. {ADVICE}")
        return self

    def synchronize(self) -> None:
        """Wait until the device has finished what it was given; a CPU always has."""
        if self.kind == "cuda":
            self.require()
            cuda.synchronize()


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_devices() -> str:
    """Return one line that says what this machine computes on, with advice where it has no GPU."""
    cpu, gpu = Device("cpu"), Device("cuda")
    line = f"This page ran on: CPU {cpu.name}, {cpu.cores} cores; "
    if gpu.available:
        return line + f"GPU {gpu.name}, {gpu.memory / 2**30:.0f} GiB."
    return line + "no GPU (in Colab: Runtime → Change runtime type → T4 GPU)."
