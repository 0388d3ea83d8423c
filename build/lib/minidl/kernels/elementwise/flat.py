"""Arguments of elementwise functions: checked, then handed to a kernel as flat arrays of one length."""

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels.arguments import check_floats, check_out
from minidl.kernels.compiling import sized

THREADS = 256  # per block, on the GPU


def check_inputs(out, on_gpu=False, broadcast=False, **inputs):
    """Return the inputs as arrays of one dtype, and where to put the result, made if `out` is None.

    Parameters
    ----------
    out : array or None
        It may be one of the inputs: every element is read before its place is written.
    on_gpu : bool
        Whether a kernel on the GPU takes them; one for the CPU takes no array that is on the GPU.
    broadcast : bool
        Whether shapes need only broadcast (NumPy's rules) instead of being equal.
    inputs : array_like by name
    """
    arrays = {name: check_floats(name, value) for name, value in inputs.items()}
    (first_name, first), *others = arrays.items()
    for name, array in others:
        if array.dtype != first.dtype:
            raise TypeError(f"{name} must have the dtype of {first_name}, {first.dtype}, got {array.dtype}")
        if not broadcast and array.shape != first.shape:
            raise ValueError(f"{name} must have the shape of {first_name}, {first.shape}, got {array.shape}")
    for name, array in arrays.items():
        if is_on_gpu(array) and not on_gpu:
            raise TypeError(
                f"{name} is in GPU memory: use the function ending in _cuda, or copy it to the host first"
            )
    shape = first.shape
    if broadcast:
        try:
            shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
        except ValueError:
            shapes = " and ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise ValueError(f"shapes must broadcast, got {shapes}") from None
    check_out("out", out, shape, first.dtype)
    if isinstance(out, np.ndarray):
        for name, array in arrays.items():
            if isinstance(array, np.ndarray) and np.may_share_memory(out, array) and not _same(out, array):
                raise ValueError(f"out must be {name} itself or share no memory with it; it shares a part")
    return *arrays.values(), out


def _same(a, b):
    return a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.strides == b.strides


def or_new(out, shape, dtype):
    """`out`, or a new array where it is None."""
    return np.empty(shape, dtype) if out is None else out


def fill(out, shape, dtype, run):
    """Call `run(flat)` with the flat memory of `out`, or of a new array where `out` is None or has gaps."""
    if out is not None and out.flags.c_contiguous:
        run(out.reshape(-1))
        return out
    result = np.empty(shape, dtype)
    run(result.reshape(-1))
    if out is None:
        return result
    out[...] = result
    return out


def run_flat(kernel, out, *parameters, few=1_000_000, **inputs):
    """Run a CPU kernel `(*inputs, *parameters, out)` over equal shapes, all flat; `few` as for `sized`."""
    *arrays, out = check_inputs(out, **inputs)
    first = arrays[0]
    flat = [np.ravel(array) for array in arrays]
    parameters = [first.dtype.type(value) for value in parameters]
    kernel = sized(kernel, first.size, few)
    return fill(out, first.shape, first.dtype, lambda result: kernel(*flat, *parameters, result))


def launch_flat(kernel, out, machine, *parameters, **inputs):
    """Run a CUDA kernel `(*inputs, *parameters, out)` over equal shapes, all flat, one thread per element."""
    *arrays, out = check_inputs(out, on_gpu=True, **inputs)
    first = arrays[0]
    flat = [upload_flat(array, machine) for array in arrays]
    parameters = [first.dtype.type(value) for value in parameters]
    result = out if is_on_gpu(out) else machine.empty(first.shape, first.dtype)
    machine.launch(kernel, blocks_for(first.size), THREADS, *flat, *parameters, result.reshape(first.size))
    if result is out or (out is None and is_on_gpu(first)):
        return result
    return machine.download(result, out)


def upload_flat(array, machine):
    """The elements of `array` as one row on the machine."""
    return array.reshape(array.size) if is_on_gpu(array) else machine.upload(np.ravel(array))


def blocks_for(size):
    """Blocks of `THREADS` threads that cover `size` elements."""
    return -(-size // THREADS)
