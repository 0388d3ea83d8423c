"""numba and BLAS share the cores, whatever was imported first; each case has a process of its own."""

import json
import os
import subprocess
import sys

import numba
import pytest
from threadpoolctl import threadpool_info

from minidl.hardware import threads

# Small products and a small prange, alone and in alternation: the least of many times, in seconds.
ALTERNATE = """
import json, sys, time
import numpy as np
from numba import njit, prange

@njit(parallel=True)
def relu(x, y):
    for i in prange(x.size):
        y[i] = max(x[i], np.float32(0))

w = np.ones((512, 512), np.float32)
x, y, z = np.ones((3, 64, 512), np.float32)
flat_y, flat_z = y.ravel(), z.ravel()

def products():
    for _ in range(4):
        np.matmul(x, w, out=y)

def loops():
    for _ in range(4):
        relu(flat_y, flat_z)

def both():
    for _ in range(4):
        np.matmul(x, w, out=y)
        relu(flat_y, flat_z)

def least(run):
    run()
    times = []
    for _ in range(40):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)

FIRST
import minidl.hardware.threads as threads
import os
print(json.dumps({"sharing": threads.SHARING, "alone": least(products) + least(loops), "both": least(both),
                  "left behind": [os.environ[name] for name in ("GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")
                                  if name in os.environ]}))
"""


def run(first="", **environment):
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")
    clean = {k: v for k, v in os.environ.items() if k not in ours}
    result = subprocess.run(
        [sys.executable, "-c", ALTERNATE.replace("FIRST", first)],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(result.stdout.splitlines()[-1])


needs_gnu_openmp = pytest.mark.skipif(
    sys.platform != "linux" or os.cpu_count() == 1, reason="about GNU OpenMP on several cores"
)


@needs_gnu_openmp
@pytest.mark.parametrize(
    ("first", "sharing"),
    [
        ("", "spins 1000"),  # numpy and numba were imported, as in a notebook
        ("loops()", "spins 100"),  # a prange has run already
    ],
)
def test_alternation_costs_little(first, sharing):
    """Without sharing it costs some 40 times as much as the parts: every product waits for the spinners."""
    seen = run(first)
    assert seen["sharing"] == sharing
    assert seen["both"] < 8 * seen["alone"]
    assert seen["left behind"] == []  # other libraries read the environment too


@needs_gnu_openmp
@pytest.mark.parametrize("setting", [{"OMP_WAIT_POLICY": "passive"}, {"GOMP_SPINCOUNT": "7"}])
def test_what_the_user_set_is_left_alone(setting):
    seen = run(**setting)
    assert seen["sharing"] == "unchanged"
    assert seen["left behind"] == [v for k, v in setting.items() if k == "GOMP_SPINCOUNT"]


IDLE = """
import time
import numpy as np
import minidl.hardware
w = np.ones((512, 512), np.float32)
for _ in range(20):
    w @ w
before = time.process_time()
time.sleep(0.3)
print(time.process_time() - before)
"""


@needs_gnu_openmp
@pytest.mark.skipif(
    not any(pool["internal_api"] == "openblas" for pool in threadpool_info()), reason="about OpenBLAS"
)
def test_an_idle_blas_sleeps():
    """As it comes, its second thread spins on for 2**28 ticks after a product, some 0.1 s."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_THREAD_TIMEOUT"}
    for patience, least, most in ((None, 0, 0.03), ("30", 0.03, 1)):  # what the user sets is left alone
        setting = {} if patience is None else {"OPENBLAS_THREAD_TIMEOUT": patience}
        result = subprocess.run(
            [sys.executable, "-c", IDLE],
            env={**environment, **setting},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert least <= float(result.stdout) < most


@needs_gnu_openmp
@pytest.mark.parametrize("order", ["import torch, minidl.hardware", "import minidl.hardware, torch"])
def test_with_torch_in_either_order(order):
    pytest.importorskip("torch", reason="torch, an optional peer, is not installed")
    seen = run(f"{order}\nassert torch.ones(3).sum() == 3")
    assert seen["both"] < 8 * seen["alone"]


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_use_threads_limits_both_and_gives_back():
    before = numba.get_num_threads(), blas_threads()
    with threads.use_threads(1):
        assert numba.get_num_threads() == 1 and blas_threads() <= {1}
    assert (numba.get_num_threads(), blas_threads()) == before
    with pytest.raises(ZeroDivisionError), threads.use_threads(1):
        1 / 0  # noqa: B018
    assert (numba.get_num_threads(), blas_threads()) == before


@pytest.mark.parametrize(
    ("count", "error", "message"),
    [
        (0, ValueError, "count must be from 1 to .*, got 0"),
        (10_000, ValueError, "got 10000"),
        (1.5, TypeError, "count must be an integer, got 1.5"),
        (None, TypeError, "count must be an integer, got None"),
    ],
)
def test_use_threads_names_bad_counts(count, error, message):
    with pytest.raises(error, match=message), threads.use_threads(count):
        raise AssertionError("not reached")
