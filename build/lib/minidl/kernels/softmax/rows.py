"""Arguments of functions along an axis: checked, and laid out as (rows, n) with n along that axis."""

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels.arguments import check_integer
from minidl.kernels.compiling import sized
from minidl.kernels.elementwise.flat import check_inputs, fill, or_new


def on_rows(run, axis, out, few=0, **inputs):
    """Check the arguments, and let `run(*inputs, result)` fill a result; all of them are (rows, n).

    `few`: see `sized`.
    """
    *arrays, out = check_inputs(out, **inputs)
    first, (name, *_) = arrays[0], inputs
    axis = _check_axis(name, first, axis)
    run = sized(run, first.size, few)
    rows = [
        np.ascontiguousarray(np.moveaxis(array, axis, -1)).reshape(-1, first.shape[axis]) for array in arrays
    ]
    if axis == first.ndim - 1:
        return fill(out, first.shape, first.dtype, lambda flat: run(*rows, flat.reshape(rows[0].shape)))
    result = np.empty_like(rows[0])
    run(*rows, result)
    moved = np.moveaxis(first, axis, -1).shape
    out = or_new(out, first.shape, first.dtype)
    out[...] = np.moveaxis(result.reshape(moved), -1, axis)
    return out


def on_rows_of_gpu(run, axis, out, machine, **inputs):
    """The same on the GPU, where `axis` must be the last of an array that is there already."""
    *arrays, out = check_inputs(out, on_gpu=True, **inputs)
    first, (name, *_) = arrays[0], inputs
    axis = _check_axis(name, first, axis)
    last = axis == first.ndim - 1
    if not last and (is_on_gpu(out) or any(is_on_gpu(array) for array in arrays)):
        raise ValueError(
            f"axis must be the last one of an array in GPU memory, got {axis} of shape {first.shape}"
        )
    shape = first.shape[:axis] + first.shape[axis + 1 :] + (first.shape[axis],)
    flat = (first.size // first.shape[axis], first.shape[axis])
    rows = [
        array.reshape(flat)
        if is_on_gpu(array)
        else machine.upload(np.moveaxis(array, axis, -1).reshape(flat))
        for array in arrays
    ]
    result = out if is_on_gpu(out) else machine.empty(shape, first.dtype)
    run(*rows, result.reshape(flat))
    if result is out or (out is None and is_on_gpu(first)):
        return result
    if last:
        return machine.download(result, out)
    out = or_new(out, first.shape, first.dtype)
    out[...] = np.moveaxis(machine.download(result), -1, axis)
    return out


def _check_axis(name, array, axis):
    """The axis counted from the front."""
    if array.ndim == 0:
        raise ValueError(f"{name} must have at least one dimension, got shape ()")
    return check_integer("axis", axis, -array.ndim, array.ndim - 1) % array.ndim
