"""What the tests of kernels share: two machines without a GPU, one that watches and one that compiles."""

import numpy as np
import pytest

from minidl.instruments.ptx import compile_kernel
from minidl.instruments.tracer import TracedGpu

SLOW_NOT_WRONG = {"bank-conflict", "uncoalesced"}


class CompilingGpu:
    """Compiles every kernel that is launched on it, for a T4 (7.5) and an H100 (9.0), and runs none."""

    def __init__(self):
        self.compiled = []

    def upload(self, array):
        return np.array(array, order="C")

    def empty(self, shape, dtype):
        return np.zeros(shape, dtype)

    def launch(self, kernel, grid, block, *args, shared=0):
        self.compiled += [compile_kernel(kernel, *args, cc=cc) for cc in ((7, 5), (9, 0))]

    def download(self, array, out=None):
        return array


@pytest.fixture
def compiled():
    """`compiled(launcher, *args)`: the PTX of every kernel it launches, free of float64 and of spills."""

    def run(launcher, *args, **params):
        machine = CompilingGpu()
        launcher(*args, machine=machine, **params)
        assert machine.compiled, "nothing was launched"
        for ptx in machine.compiled:
            assert ptx.counts()["f64"] == 0, f"{ptx.kernel} computes in float64"
            assert ptx.spills in (0, None), f"{ptx.kernel} spills {ptx.spills} bytes"
        return machine.compiled

    return run


@pytest.fixture
def traced():
    """`traced(launcher, *args)`: its result in the tracer, which may find fault with the speed only."""

    def run(launcher, *args, **params):
        machine = TracedGpu()
        result = launcher(*args, machine=machine, **params)
        assert machine.traces, "nothing was launched"
        for trace in machine.traces:
            wrong = [finding for finding in trace.findings if finding.kind not in SLOW_NOT_WRONG]
            assert not wrong, f"{trace.kernel}: {wrong[0].message}"
        run.traces = machine.traces
        return result

    return run


class OnGpu:
    """An array as numba shows one in GPU memory: shape, dtype, `reshape`, and nothing NumPy could read."""

    def __init__(self, values):
        self.values = values
        self.shape, self.dtype, self.size, self.ndim = values.shape, values.dtype, values.size, values.ndim

    @property
    def __cuda_array_interface__(self):
        return self.values.__array_interface__

    def __array__(self, *args, **params):
        raise AssertionError("a launcher read GPU memory from the host")

    def reshape(self, *shape):
        return OnGpu(self.values.reshape(*shape))


class TracedWithMemory(TracedGpu):
    """The tracer, with a memory of its own that has to be uploaded to and downloaded from."""

    downloads = 0

    def upload(self, array):
        return array if isinstance(array, OnGpu) else OnGpu(super().upload(array))

    def empty(self, shape, dtype):
        return OnGpu(super().empty(shape, dtype))

    def launch(self, kernel, grid, block, *args, shared=0):
        args = (arg.values if isinstance(arg, OnGpu) else arg for arg in args)
        return super().launch(kernel, grid, block, *args, shared=shared)

    def download(self, array, out=None):
        self.downloads += 1
        return super().download(array.values, out)


@pytest.fixture
def stays_on_gpu():
    """`stays_on_gpu(launcher, *args)`: its result for arrays in GPU memory, which it must leave there.

    Arrays that the launcher changes in place are changed here as well.
    """

    def run(launcher, *args, **params):
        machine = TracedWithMemory()
        args = [OnGpu(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
        result = launcher(*args, machine=machine, **params)
        assert machine.downloads == 0, "the result was fetched to the host"
        results = result if isinstance(result, tuple) else (result,)
        assert all(isinstance(array, OnGpu) for array in results), "the result is not in GPU memory"
        values = tuple(array.values for array in results)
        return values if isinstance(result, tuple) else values[0]

    return run
