"""Checks of what a caller hands to a kernel: each returns the value ready for use, or says what is wrong."""

from __future__ import annotations

import operator

import numpy as np

from minidl.hardware.machine import is_on_gpu

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def check_floats(name, value, ndim=None):
    """Return `value` as an array of float32 or float64, without a copy where it is one already.

    Parameters
    ----------
    name : str
        What the caller calls this argument; it opens every message.
    value : array_like
        A NumPy array, a (nested) list of floats, or an array in GPU memory.
    ndim : int, optional
        The number of dimensions it must have.

    Raises
    ------
    TypeError
        If it holds anything but float32 or float64.
    ValueError
        If it has another number of dimensions, or no elements.
    """
    if is_on_gpu(value):
        array = value
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be a plain array, got a masked array; fill it first: {name}.filled(...)"
        )
    else:
        try:
            array = np.asarray(value)
        except ValueError as ragged:
            raise ValueError(f"{name} must be an array of numbers: {ragged}") from None
    if np.dtype(array.dtype) not in FLOATS:
        raise TypeError(
            f"{name} must hold float32 or float64, got {array.dtype}; "
            f"convert it first, for instance {name}.astype('float32')"
        )
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim != 1)}, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array


def check_integer(name, value, low, high=None, high_is=None):
    """Return `value` as an int from `low` to `high`, both included.

    `high_is` names the upper bound in the message, for instance "a.size".
    """
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < low or (high is not None and number > high):
        top = f"{high_is} = {high}" if high_is else f"{high}"
        span = f"at least {low}" if high is None else f"from {low} to {top}"
        raise ValueError(f"{name} must be {span}, got {number}")
    return number


def check_out(name, out, shape, dtype, **inputs):
    """Return `out`, checked to be an array that such a result can be written to; None passes.

    Parameters
    ----------
    inputs : arrays by name
        Arrays that `out` must not share memory with, because they are still read while it is written.

    Raises
    ------
    TypeError
        If it is no array or has another dtype.
    ValueError
        If it has another shape, cannot be written to, or shares memory with an input.
    """
    if out is None:
        return None
    if not isinstance(out, np.ndarray) and not is_on_gpu(out):
        raise TypeError(f"{name} must be a NumPy array, got {type(out).__name__}")
    if np.dtype(out.dtype) != np.dtype(dtype):
        raise TypeError(f"{name} must have dtype {np.dtype(dtype)}, got {out.dtype}")
    if tuple(out.shape) != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(out.shape)}")
    if isinstance(out, np.ndarray):
        if not out.flags.writeable:
            raise ValueError(f"{name} must be writable, got a read-only array")
        for other, array in inputs.items():
            if isinstance(array, np.ndarray) and np.may_share_memory(out, array):
                raise ValueError(
                    f"{name} must not share memory with {other}, which is read while {name} is written"
                )
    return out
