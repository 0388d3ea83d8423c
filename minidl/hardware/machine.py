"""What the host side of a CUDA kernel asks of a machine: hold arrays, and run a kernel over a grid.

Every launcher in `minidl.kernels` is written against the four methods of `Gpu` and takes the machine as an
argument. The tracer offers the same four (`minidl.instruments.tracer.TracedGpu`), so that the very launch
that runs on a GPU can be watched on a laptop:

    sliding_average_cuda(a, 3)                             # on the GPU
    sliding_average_cuda(a, 3, machine=TracedGpu())        # thread by thread, on the CPU
"""

from __future__ import annotations

import numpy as np

from minidl.hardware.cuda import cuda
from minidl.hardware.device import Device


class Gpu:
    """This machine's CUDA GPU. Each method raises `DeviceUnavailable` where there is none."""

    def upload(self, array):
        """Copy a host array to the device; an array that is there already is returned as it is."""
        Device("cuda").require()
        return array if is_on_gpu(array) else cuda.to_device(np.ascontiguousarray(array))

    def empty(self, shape, dtype):
        """Allocate a device array, its values not set."""
        Device("cuda").require()
        return cuda.device_array(shape, dtype)

    def launch(self, kernel, grid, block, *args, shared=0):
        """Run `kernel` over `grid` blocks of `block` threads; `shared` is bytes of dynamic shared memory."""
        Device("cuda").require()
        kernel[grid, block, 0, shared](*args)

    def download(self, array, out=None):
        """Copy a device array to the host, or into `out` if it is given, wherever that is."""
        if is_on_gpu(out):
            out.copy_to_device(array)
            return out
        if out is None or out.flags.c_contiguous:
            return array.copy_to_host(out)
        out[...] = array.copy_to_host()  # the driver copies into arrays without gaps only
        return out


def is_on_gpu(array) -> bool:
    """Whether `array` lives in GPU memory (ours, CuPy's or PyTorch's: all speak the same protocol)."""
    return hasattr(array, "__cuda_array_interface__")


GPU = Gpu()
