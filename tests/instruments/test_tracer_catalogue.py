"""The tracer against two catalogues: it finds every bug, by kind and line, and lets correct kernels be."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl.instruments.tracer import trace

from . import kernels_broken, kernels_right

ORDERS = [("in-order", 0), *(("adversarial", seed) for seed in range(4))]
SOURCE = inspect.getsource(kernels_broken).splitlines()


def unpack(build):
    kernel, grid, block, args, *shared = build()
    return kernel, grid, block, args, shared[0] if shared else 0


def agree(got, expected):
    half = got.dtype == np.float16
    return np.allclose(got, expected, rtol=2e-3 if half else 1e-4, atol=1e-5)


def test_there_are_enough_of_both():
    assert len(kernels_right.CASES) >= 30
    assert len(kernels_broken.CASES) >= 30


@pytest.mark.parametrize("build", kernels_right.CASES, ids=lambda build: build.__name__)
def test_a_correct_kernel_is_correct_in_any_order(build):
    for schedule, seed in ORDERS:
        kernel, grid, block, args, expected, *shared = build()
        traced = trace(kernel, grid, block, *args, shared=sum(shared), schedule=schedule, seed=seed)
        assert traced.errors == []
        assert not [finding for finding in traced.findings if finding.kind == "float64"]
        assert traced.complete and traced.harm == ""
        for position, values in expected.items():
            assert agree(args[position], values), (schedule, seed)


@pytest.mark.parametrize("build", kernels_broken.CASES, ids=lambda build: build.__name__)
def test_every_bug_is_found_by_kind_and_line(build):
    kernel, grid, block, args, shared = unpack(build)
    traced = trace(kernel, grid, block, *args, shared=shared)
    must, may = set(), set()
    for line in traced.source:
        for kind, maybe in re.findall(r"# bug: ([\w-]+)(\??)", SOURCE[line - 1]):
            (may if maybe else must).add((kind, line))
    reported = [f for f in traced.findings if f.is_error or f.kind == "overwritten-input"]
    found = {(f.kind, line) for f in reported for line in (f.lines if f.kind == "race" else [f.line])}
    assert must, "the catalogue names no bug"
    assert must <= found
    assert found <= must | may
    for finding in traced.errors:
        assert str(finding.line) in finding.message
        if finding.kind == "race":
            assert len(set(finding.threads)) == 2


RACY = [
    build
    for build in kernels_broken.CASES
    if any(finding.kind == "race" for finding in trace(*unpack(build)[:3], *unpack(build)[3]).findings)
]


@pytest.mark.parametrize("build", RACY, ids=lambda build: build.__name__)
def test_the_villain_breaks_racy_kernels_and_does_it_again(build):
    kernel, grid, block, args, shared = unpack(build)
    first = trace(kernel, grid, block, *args, shared=shared, schedule="adversarial")
    if build is not kernels_broken.grid_stride_of_one_block:  # its racing threads write the same values
        assert f"seed {first.seed}" in first.harm
    again = unpack(build)[3]
    second = trace(kernel, grid, block, *again, shared=shared, schedule="adversarial", seed=first.seed)
    assert (second.seed, second.harm) == (first.seed, first.harm)
    for one, two in zip(args, again, strict=True):
        np.testing.assert_array_equal(one, two)


# What numba's simulator lacks, or cannot do with arrays that have gaps.
NOT_SIMULATED = {"strided", "matvec_warp", "warp_sum", "warp_sum_shared", "partial_warp_sum", "compact"}
NOT_SIMULATED |= {"device_functions", "full_spelling"}

SIMULATE = """
import json, sys, warnings
import numpy as np
from minidl.instruments.tracer import trace
from tests.instruments import kernels_right

warnings.simplefilter("ignore")
values = {}
for build in kernels_right.CASES:
    if build.__name__ not in sys.argv[1:]:
        kernel, grid, block, args, expected, *shared = build()
        kernel[grid, block, 0, sum(shared)](*args)
        values[build.__name__] = [args[position].real.tolist() for position in expected]
        kernel, grid, block, args, expected, *shared = build()
        assert not trace(kernel, grid, block, *args, shared=sum(shared)).errors  # there, too
print(json.dumps(values))
"""


def test_the_simulator_gives_the_same_values():
    """numba's simulator replaces the CUDA target when it is imported, so it runs in a process of its own."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", SIMULATE, *NOT_SIMULATED]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    simulated = json.loads(done.stdout.splitlines()[-1])
    assert len(simulated) >= 30
    for build in kernels_right.CASES:
        if build.__name__ in simulated:
            kernel, grid, block, args, expected, *shared = build()
            trace(kernel, grid, block, *args, shared=sum(shared))
            for position, values in zip(expected, simulated[build.__name__], strict=True):
                np.testing.assert_allclose(args[position].real, values, rtol=1e-5, atol=1e-6)
