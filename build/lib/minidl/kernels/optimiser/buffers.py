"""What every optimiser checks: flat buffers that are changed in place, and the numbers that say how."""

import math
from numbers import Real

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels.arguments import check_floats

THREADS = 256  # per block, on the GPU


def check_buffers(on_gpu, **buffers):
    """Return the buffers, flat; all but the one called gradients must be writable."""
    arrays = {}
    for name, buffer in buffers.items():
        if is_on_gpu(buffer):
            if not on_gpu:
                raise TypeError(
                    f"{name} is in GPU memory: use the function ending in _cuda, or copy it to the host first"
                )
        elif not isinstance(buffer, np.ndarray):
            raise TypeError(f"{name} must be a NumPy array, got {type(buffer).__name__}")
        arrays[name] = check_floats(name, buffer)
    (first_name, first), *_ = arrays.items()
    for name, array in arrays.items():
        if array.dtype != first.dtype:
            raise TypeError(f"{name} must have the dtype of {first_name}, {first.dtype}, got {array.dtype}")
        if array.shape != first.shape:
            raise ValueError(f"{name} must have the shape of {first_name}, {first.shape}, got {array.shape}")
        if isinstance(array, np.ndarray):
            _check_memory(name, array, arrays)
    return [array.reshape(array.size) for array in arrays.values()]


def _check_memory(name, array, arrays):
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must lie in memory without gaps, got strides {array.strides}")
    if name != "gradients" and not array.flags.writeable:
        raise ValueError(f"{name} must be writable, got a read-only array")
    for other, second in arrays.items():
        if other != name and isinstance(second, np.ndarray) and np.may_share_memory(array, second):
            raise ValueError(f"{name} must not share memory with {other}")


def check_number(name, value, below=math.inf):
    """Return a number as a float, from 0 to less than `below`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (Real, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 <= value < below:
        raise ValueError(f"{name} must be from 0 to less than {below}, got {value}")
    return float(value)


def bring_back(machine, *pairs):
    """Copy what the GPU changed into host buffers; one that is in GPU memory was changed where it is."""
    for buffer, changed in pairs:
        if not is_on_gpu(buffer):
            machine.download(changed, buffer.reshape(-1))
