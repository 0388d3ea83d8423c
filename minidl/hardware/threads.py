"""CPU threads: numba and the BLAS library share the cores without fighting over them.

Each keeps a pool of threads, one per core. A pool's thread that has run out of work does not sleep at once:
it spins, asking again and again for more. GNU OpenMP, on which numba runs its `prange`, asks 300,000 times
and gives way to nobody, so a matrix product that comes right after a `prange` finds a core occupied until the
operating system steps in. OpenBLAS lets others go first while it asks, but it asks for 2²⁸ ticks of the
processor's counter, some 100 ms, and a `prange` that runs meanwhile gets half a core less than there is.

Four products (64, 512) @ (512, 512), alone and with a `prange` over 32,768 numbers after each, and followed
by four of a million numbers; two cores, medians, ms:

    what an idle thread does                       products    prange    in turn    products, long pranges
    as the libraries come                              0.38     0.008      32.0          8.0
    OpenMP turns 1000 times (GOMP_SPINCOUNT)           0.39     0.22        0.66         0.6 to 0.9
    OpenBLAS waits 2¹⁶ ticks, 25 µs                    0.40     0.008       0.60         0.61
    both, which is what `share_cores` sets             0.38     0.008       0.57         0.59
    neither spins (OMP_WAIT_POLICY=passive, 2⁴)        0.43     0.17        0.57         0.77
    both, OpenMP with 100 turns (see below)            0.38     0.17        0.56         0.76
    (BLAS kept to one thread                           0.68     0.008       0.79         0.90)

OpenBLAS reads its setting when it starts its threads, and starts them anew when it is told to. libgomp reads
its own once, when it is loaded, and `share_cores` is there first unless a `prange` has run already or PyTorch
(which brings a libgomp of its own, then used by numba too) was imported before minidl. In that case the line
with 100 turns helps: libgomp cuts the spinning to that when it manages more threads than there are cores, so
one more thread, asleep, is enough. It costs PyTorch about a third of its speed on products as small as the
above; import minidl first where PyTorch is to be timed.
"""

from __future__ import annotations

import ctypes
import importlib
import operator
import os
import re
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numba
from threadpoolctl import threadpool_limits

SPINS = 1000  # turns of an idle OpenMP thread
PATIENCE = 16  # an idle OpenBLAS thread waits 2**16 ticks of the processor's counter


def share_cores() -> str:
    """Make idle threads fall asleep soon. Runs once, when `minidl.hardware` is imported.

    Returns
    -------
    str
        What was done to OpenMP: "spins 1000", "spins 100", or "unchanged" where there is no GNU OpenMP or
        where OMP_WAIT_POLICY or GOMP_SPINCOUNT says what the user wants.
    """
    if sys.platform != "linux":
        return "unchanged"
    libraries = Path("/proc/self/maps").read_text("utf-8", "replace")
    _let_openblas_sleep(libraries)
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return "unchanged"
    late = "libgomp" in libraries
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    try:
        pool = importlib.import_module("numba.np.ufunc.omppool")  # loads libgomp; starts no thread yet
    except ImportError:
        return "unchanged"
    finally:
        del os.environ["GOMP_SPINCOUNT"]  # a libgomp that comes later, PyTorch's own, is not ours to change
    if not late:
        return f"spins {SPINS}"
    everything = ctypes.CDLL(None)  # PyTorch's libgomp is visible to all; otherwise numba uses the system's
    _outnumber_cores(everything if hasattr(everything, "GOMP_parallel") else ctypes.CDLL(pool.__file__))
    return "spins 100"


def _let_openblas_sleep(libraries):
    """Have every OpenBLAS start its threads anew, with our patience, unless the user has set one."""
    if "OPENBLAS_THREAD_TIMEOUT" in os.environ:
        return
    for path in set(re.findall(r"/\S*openblas\S*\.so\S*", libraries)):
        openblas = ctypes.CDLL(path)
        if not all(hasattr(openblas, name) for name in ("openblas_read_env", "blas_thread_shutdown_")):
            continue  # a build that keeps them to itself
        os.environ["OPENBLAS_THREAD_TIMEOUT"] = str(PATIENCE)
        try:
            openblas.openblas_read_env()
        finally:
            del os.environ["OPENBLAS_THREAD_TIMEOUT"]
        openblas.blas_thread_shutdown_()  # the next product starts them


def _outnumber_cores(libgomp):
    """Have libgomp run a team of two threads that do nothing, and keep both for good, asleep."""
    ready = threading.Event()

    def rest():
        free = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
        libgomp.GOMP_parallel(free, None, 2, 0)  # free(NULL) in each thread: the C function that does nothing
        ready.set()
        threading.Event().wait()

    threading.Thread(target=rest, name="minidl: one thread more than cores", daemon=True).start()
    ready.wait()


@contextmanager
def use_threads(count: int):
    """Let numba's kernels and BLAS use `count` threads each inside a `with` block.

    Parameters
    ----------
    count : int
        From 1 to the number of threads that numba has (`numba.config.NUMBA_NUM_THREADS`).

    Raises
    ------
    TypeError, ValueError
        If `count` is no integer, or out of that range.

    Example
    -------
    >>> with use_threads(1):
    ...     one_core = compare(LADDER, workloads)
    """
    most = numba.config.NUMBA_NUM_THREADS
    try:
        count = operator.index(count)
    except TypeError:
        raise TypeError(f"count must be an integer, got {count!r}") from None
    if not 1 <= count <= most:
        raise ValueError(f"count must be from 1 to {most}, the threads numba has, got {count}")
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        with threadpool_limits(count, user_api="blas"):
            yield
    finally:
        numba.set_num_threads(before)


SHARING = share_cores()
