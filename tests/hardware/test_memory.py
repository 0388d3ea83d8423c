"""Large arrays that are freed are used again, without page faults; each case has a process of its own."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
IMPORT

def step():
    [np.ones(800_000, np.float32) for _ in range(6)]

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(first):
    """Return the page faults of ten steps that make six arrays of 3.2 MB each, 782 pages of 4 KiB."""
    code = FAULTS.replace("IMPORT", first)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="about glibc")
def test_freed_blocks_are_used_again():
    as_it_comes, ours = faults(""), faults("import minidl.hardware")
    if as_it_comes < 1000:
        pytest.skip(f"this C library keeps its blocks anyway: {as_it_comes} page faults")
    assert ours < as_it_comes / 100
