"""A GPU that is not there: numba's own arrays for it, in host memory, and the tracer in place of launches.

`pretended_gpu()` replaces what numba asks of NVIDIA's driver (allocating, copying, launching, events), and
nothing else. So all host code, minidl's and numba's, runs as it would with a GPU, down to which slices and
reshapes of an array in GPU memory exist; only the kernels run elsewhere, thread by thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import time
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from minidl.graph import dynamic
from minidl.hardware.cuda import cuda
from minidl.instruments.tracer import trace
from minidl.kernels.matmul.gpu import KERNELS

SLOW_NOT_WRONG = {"bank-conflict", "uncoalesced"}


class PretendedGpu:
    """What was launched on it, and what the tracer found.

    Attributes
    ----------
    launched : list of (kernel, arguments)
        With arrays in host memory.
    launches, copies : int
    """

    def __init__(self, run=trace):
        self.launched, self.memory, self.launches, self.copies, self.run = [], {}, 0, 0, run

    # -------------------------------------------------------------------------------- what the driver does

    def memalloc(self, size):
        """Allocate; as on a GPU, what was there before is still there, and is no number."""
        from numba.cuda.cudadrv import driver

        memory = np.full(max(size, 1), 0xFF, np.uint8)  # a NaN, in float32 and float64
        address = memory.ctypes.data
        self.memory[address] = memory
        pointer = driver.binding.CUdeviceptr(address)
        return driver.MemoryPointer(self, pointer, size, finalizer=lambda: self.memory.pop(address, None))

    def copy(self, dst, src, size, stream=0):
        self.copies += 1
        ctypes.memmove(_address(dst), _address(src), size)

    def launch(self, kernel, grid, block, shared, args):
        """Run a kernel in the tracer; a finding that says something is wrong fails the test."""
        self.launches += 1
        args = tuple(host_view(arg) if hasattr(arg, "gpu_data") else arg for arg in args)
        assert not any(isinstance(arg, np.ndarray) and arg.base is None for arg in args), "a host array"
        self.launched.append((kernel, args))
        found = self.run(kernel, grid, block, *args, shared=shared)
        for finding in getattr(found, "findings", ()):
            assert finding.kind in SLOW_NOT_WRONG, f"{kernel.py_func.__name__}: {finding.message}"

    def synchronize(self):
        pass

    def defer_cleanup(self):
        return contextlib.nullcontext()

    def get_memory_info(self):
        return SimpleNamespace(free=1 << 30, total=1 << 30)

    device = SimpleNamespace(name=b"Pretended GPU", MULTIPROCESSOR_COUNT=2, compute_capability=(9, 0), id=0)


class Event:
    """Takes the host's time: what is launched here has ended when the launch returns."""

    def record(self, stream=0):
        self.time = time.perf_counter()

    def synchronize(self):
        assert hasattr(self, "time"), "an event that was never recorded"


def _address(array):
    if isinstance(array, np.ndarray):
        return array.ctypes.data
    return getattr(array, "gpu_data", array).device_ctypes_pointer.value


def host_view(array):
    """Return what lies behind a device array, as a NumPy array on the same memory."""
    size = max(array.alloc_size, 1)
    memory = (ctypes.c_byte * size).from_address(array.device_ctypes_pointer.value)
    return np.ndarray(array.shape, array.dtype, memory, strides=array.strides)


class _Configured:
    def __init__(self, gpu, kernel, grid, block, stream=0, shared=0):
        self.gpu, self.kernel, self.grid, self.block, self.shared = gpu, kernel, grid, block, shared

    def __call__(self, *args):
        self.gpu.launch(self.kernel, self.grid, self.block, self.shared, args)


@contextlib.contextmanager
def pretended_gpu(run=trace):
    """Have a GPU inside the `with` block; yields a `PretendedGpu`."""
    try:
        from numba.cuda import api, device_init
        from numba.cuda.cudadrv import devicearray, devices, driver
        from numba.cuda.dispatcher import CUDADispatcher
    except ImportError as missing:
        pytest.skip(f"this numba's CUDA target is built in another way: {missing}")
    gpu = PretendedGpu(run)

    def configured(kernel, parameters):
        grid, block, *rest = parameters
        return _Configured(gpu, kernel, grid, block, *rest)

    def assign(kernel, count, **_):  # `array[…] = …` on the device is a kernel of numba's
        def run(lhs, rhs):
            gpu.launches += 1
            host_view(lhs)[...] = host_view(rhs)

        return run

    patches = [
        mock.patch.object(devices._runtime, "ensure_context", contextlib.nullcontext),
        mock.patch.object(devices, "get_context", lambda devnum=None: gpu),
        mock.patch.object(CUDADispatcher, "__getitem__", configured),
        mock.patch.object(CUDADispatcher, "forall", assign),
        *(
            mock.patch.object(driver, name, gpu.copy)
            for name in ("host_to_device", "device_to_host", "device_to_device")
        ),
        mock.patch.object(gpu, "get_default_stream", lambda: gpu, create=True),
        *(
            mock.patch.object(module, name, value)
            for module in (cuda, api, device_init)
            for name, value in {
                "is_available": lambda: True,
                "current_context": lambda devnum=None: gpu,
                "get_current_device": lambda: gpu.device,
                "synchronize": lambda: None,
                "event": lambda timing=True: Event(),
                "event_elapsed_time": lambda start, stop: (stop.time - start.time) * 1e3,
            }.items()
            if hasattr(module, name)
        ),
        mock.patch.object(dynamic, "_gpu_in_use", False),
        # Products here are tiny: tiles of 16×16 instead of 128×128 save the tracer most of its work.
        mock.patch.dict(KERNELS, {"vector": KERNELS["shared"], "register 2d": KERNELS["shared"]}),
    ]
    assert devicearray._driver is driver
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield gpu
