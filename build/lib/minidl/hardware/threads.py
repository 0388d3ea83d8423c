"""CPU threads: numba and the BLAS library share the cores without fighting over them.

Each keeps a pool of threads, one per core. A pool's thread that has run out of work does not sleep at once:
it spins, asking again and again for more. OpenBLAS politely lets others go first while it asks; GNU OpenMP,
on which numba runs its `prange`, asks 300,000 times and gives way to nobody, so a matrix product that comes
right after a `prange` finds a core occupied until the operating system steps in.

One step of four products (64, 512) @ (512, 512) with a small `prange` after each, two cores, medians:

    how long an idle OpenMP thread spins           products alone   prange alone   in alternation
    as libgomp comes, 300,000 turns                        0.66 ms       0.009 ms          32 ms
    GOMP_SPINCOUNT=10000                                   0.65 ms       0.009 ms         2.7 ms
    GOMP_SPINCOUNT=1000                                    0.66 ms       0.009 ms        0.85 ms
    OMP_WAIT_POLICY=passive, no turn                       0.66 ms        0.15 ms        0.75 ms
    100 turns, because threads outnumber cores             0.70 ms       0.055 ms        0.76 ms
    (BLAS kept to one thread                               1.20 ms       0.009 ms         1.2 ms)

1000 turns, some 20 µs, keep small kernels fast and let the others in. libgomp reads the setting once, when it
is loaded, and `share_cores` is there first unless a `prange` has run already or PyTorch (which brings
a libgomp of its own, then used by numba too) was imported before minidl. In that case the fifth line helps:
libgomp cuts the spinning to 100 turns when it manages more threads than there are cores, so one more
thread, asleep, is enough. It costs PyTorch about a third of its speed on products as small as the above;
import minidl first where PyTorch is to be timed.
"""

from __future__ import annotations

import ctypes
import importlib
import operator
import os
import sys
import threading
from contextlib import contextmanager

import numba
from threadpoolctl import threadpool_limits

SPINS = 1000


def share_cores() -> str:
    """Make idle OpenMP threads fall asleep soon. Runs once, when `minidl.hardware` is imported.

    Returns
    -------
    str
        What was done: "spins 1000", "spins 100", or "unchanged" where there is no GNU OpenMP or where
        OMP_WAIT_POLICY or GOMP_SPINCOUNT says what the user wants.
    """
    if sys.platform != "linux" or {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return "unchanged"
    with open("/proc/self/maps") as libraries:
        late = "libgomp" in libraries.read()
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
