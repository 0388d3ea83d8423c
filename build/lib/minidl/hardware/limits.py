"""This machine's roofs, measured: the bytes it copies and the float32 operations it does in a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import get_num_threads, njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.device import Device

COPY_SIZE = 16_000_000  # float32 values, 64 MB: larger than a laptop's last cache
GPU_COPY_SIZE = 256_000_000  # 1 GB: larger than any GPU's L2 cache
MATMUL_SIZE = 768  # long enough to be at full speed, short enough to run undisturbed now and then
FMA_TRIPS = 4096
SECONDS, REPEAT = 0.4, 7  # for this long, and at least so often, is each roof measured


@dataclass(frozen=True)
class Limits:
    """What a device reaches on the two plainest tasks there are. No kernel is expected to do better.

    Attributes
    ----------
    device : str
        Its name.
    copy_bandwidth : float
        Bytes per second while copying a large array with all threads, bytes read plus bytes written.
    flops : float
        float32 operations per second. CPU: in the BLAS library's matrix product, all threads. CUDA: in a
        kernel that does nothing but independent fused multiply-adds.
    """

    device: str
    copy_bandwidth: float
    flops: float

    @property
    def ridge(self) -> float:
        """Operations per byte at which arithmetic takes as long as traffic: the roofline's corner."""
        return self.flops / self.copy_bandwidth

    def share(self, seconds: float, bytes: float, flops: float) -> float:
        """Return the share of the nearer roof that a kernel reached: 1 is as fast as this machine can be.

        Parameters
        ----------
        seconds : float
            Time it took.
        bytes, flops : float
            What it had to move and to compute.
        """
        return max(bytes / self.copy_bandwidth, flops / self.flops) / seconds


@cache
def limits(kind: str = "cpu") -> Limits:
    """Measure a device's roofs in a second or two; further calls return what the first one measured.

    Parameters
    ----------
    kind : {"cpu", "cuda"}

    Raises
    ------
    ValueError
        If `kind` is neither.
    DeviceUnavailable
        If the machine has no such device.
    """
    device = Device(kind).require()
    bandwidth, flops = (_cpu_limits if kind == "cpu" else _cuda_limits)()
    return Limits(device.name, bandwidth, flops)


def _cpu_limits():
    source = np.ones(COPY_SIZE, np.float32)
    target = np.zeros(COPY_SIZE, np.float32)  # written once, so that no page fault falls into the timing
    a = np.ones((MATMUL_SIZE, MATMUL_SIZE), np.float32)
    product = np.empty_like(a)
    copying = _fastest(lambda: _copy(source, target, get_num_threads()))
    multiplying = _fastest(lambda: np.matmul(a, a, out=product))
    return 2 * source.nbytes / copying, 2 * MATMUL_SIZE**3 / multiplying


@njit(parallel=True, cache=True)
def _copy(source, target, threads):
    for t in prange(threads):
        start, stop = t * source.size // threads, (t + 1) * source.size // threads
        target[start:stop] = source[start:stop]


def _fastest(run):
    """Return the least time of several runs: a roof is what the machine can do when nothing disturbs it."""
    run()  # compiles, wakes the threads, touches the pages
    times = []
    while sum(times) < SECONDS or len(times) < REPEAT:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _cuda_limits():
    source = cuda.device_array(GPU_COPY_SIZE, np.float32)
    target = cuda.device_array(GPU_COPY_SIZE, np.float32)
    blocks, threads = 32 * Device("cuda").cores, 256
    sums = cuda.device_array(blocks * threads, np.float32)
    copying = _fastest_on_gpu(lambda: target.copy_to_device(source))
    adding = _fastest_on_gpu(lambda: _multiply_and_add_kernel[blocks, threads](sums, np.float32(0.999)))
    return 2 * source.nbytes / copying, 2 * 8 * FMA_TRIPS * blocks * threads / adding


def _fastest_on_gpu(run):
    run()
    times = []
    for _ in range(REPEAT):
        start, stop = cuda.event(), cuda.event()
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(cuda.event_elapsed_time(start, stop) / 1e3)
    return min(times)


@cuda.jit
def _multiply_and_add_kernel(sums, factor):
    """Eight sums that do not wait for one another, enough to keep the arithmetic units busy."""
    i, one, two = cuda.grid(1), np.float32(1), np.float32(2)
    a = np.float32(i)  # all start differently, or the compiler would compute one of them and copy it
    b, c, d = a + one, a + two, a - one
    e, f, g, h = a - two, b * two, c * two, d * two
    for _ in range(FMA_TRIPS):
        a = a * factor + one
        b = b * factor + one
        c = c * factor + one
        d = d * factor + one
        e = e * factor + one
        f = f * factor + one
        g = g * factor + one
        h = h * factor + one
    sums[i] = a + b + c + d + e + f + g + h
