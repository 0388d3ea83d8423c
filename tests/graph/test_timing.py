"""Timed all-reduces: what comes back is of the sizes and ranks asked for, in memory of one kind."""

import re
from pathlib import Path

import numpy as np
import pytest

from minidl.graph.distributed import JobFailed, available, run, timing

needs_mpi = pytest.mark.skipif(not available(), reason="MPI is not installed (pip install mpi4py mpich)")


def test_all_arrays_lie_in_pages_of_the_usual_size():
    array = timing.small_pages(1 << 24)
    assert array.dtype == np.float32 and array.shape == (1 << 22,) and (array == 1).all()
    if Path("/sys/kernel/mm/transparent_hugepage").exists():
        address = array.__array_interface__["data"][0]
        maps = Path("/proc/self/smaps").read_text()
        flags = re.search(rf"^{address:08x}-.*?^VmFlags: (.*?)$", maps, re.M | re.S)[1]
        assert "nh" in flags.split()  # no huge pages, whatever the system's habit


@needs_mpi
def test_every_size_is_timed_with_every_number_of_ranks():
    sizes, ranks, algorithms = [1024, 1 << 20], (2, 3), ("ring", "tree")
    rows, *others = run(timing.measure, 3, sizes, algorithms, 6, ranks, visits=2, timeout=60)
    assert others == [rows, rows]
    asked = {(count, algorithm, size) for count in ranks for algorithm in algorithms for size in sizes}
    assert {(row["ranks"], row["algorithm"], row["bytes"]) for row in rows} == asked and len(rows) == 8
    for row in rows:
        low, high = row["quartiles"]
        assert 0 < low <= row["seconds"] <= high < 10


@needs_mpi
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": []}, "sizes must be some numbers of bytes, got none"),
        ({"sizes": [10]}, "sizes must be multiples of 4 bytes, got 10"),
        ({"sizes": [1024], "ranks": (3,)}, "ranks must be from 1 to the ranks of this job = 2, got 3"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(JobFailed, match=message):
        run(timing.measure, 2, timeout=60, **options)
