"""Numbers in 8 bits: real = scale · (q - zero_point), with q from 0 to 255.

The zero point is the q that stands for 0 exactly, which padding and relu make the most frequent number of
all. (B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference, arXiv:1712.05877, equation 1; gemmlowp's doc/quantization.md.)
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from minidl.hardware.machine import is_on_gpu
from minidl.kernels.arguments import check_floats, check_out
from minidl.kernels.compiling import PARALLEL, sized


class Quantization(NamedTuple):
    """What a byte stands for: scale · (q - zero_point)."""

    scale: float
    zero_point: int


def choose_quantization(low, high):
    """Return the `Quantization` that covers the numbers from `low` to `high`, and 0.

    Parameters
    ----------
    low, high : float
        For instance `x.min()` and `x.max()`.

    Raises
    ------
    ValueError
        If one is not finite, or `low` is greater than `high`.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"low and high must be finite, got {low} and {high}")
    if low > high:
        raise ValueError(f"low must be at most high = {high}, got {low}")
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = high / 255 - low / 255 or 1.0  # divided first: the difference could overflow
    return Quantization(scale, int(np.clip(round(-low / scale), 0, 255)))


def check_quantization(name, value):
    """Return a `Quantization`, from one or from a pair (scale, zero_point)."""
    try:
        scale, zero_point = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a pair (scale, zero_point), got {value!r}") from None
    if isinstance(scale, bool) or not isinstance(scale, (int, float, np.floating, np.integer)):
        raise TypeError(f"{name} must have a number for its scale, got {scale!r}")
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"{name} must have a positive, finite scale, got {scale}")
    if isinstance(zero_point, (bool, np.bool_)) or not isinstance(zero_point, (int, np.integer)):
        raise TypeError(f"{name} must have an integer for its zero point, got {zero_point!r}")
    if not 0 <= zero_point <= 255:
        raise ValueError(f"{name} must have a zero point from 0 to 255, got {zero_point}")
    return Quantization(float(scale), int(zero_point))


def check_bytes(name, value, ndim=None, on_gpu=False):
    """Return an array of uint8."""
    if is_on_gpu(value):
        if not on_gpu:
            raise TypeError(f"{name} is in GPU memory: copy it to the host first")
    else:
        value = np.asarray(value)
    if value.dtype != np.uint8:
        raise TypeError(f"{name} must hold uint8, got {value.dtype}")
    if ndim is not None and value.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {value.shape}")
    if value.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {value.shape}")
    return value


def quantize_reference(x, quantization, out=None):
    """Return the nearest byte for every number, halves to even; what is out of range becomes 0 or 255.

    Parameters
    ----------
    x : array_like, float32 or float64, without NaN
    quantization : Quantization, or a pair (scale, zero_point)
    out : array of x's shape, uint8, optional

    Raises
    ------
    TypeError, ValueError
        If `x` does not hold floats, is empty or holds NaN, `quantization` is none, or `out` does not fit.
    """
    x, (scale, zero_point), out = _check_quantize(x, quantization, out)
    out[...] = np.clip(np.rint(x.astype(np.float64) / scale) + zero_point, 0, 255)
    return out


@njit(**PARALLEL)
def _quantize(x, scale, zero_point, q):
    for i in prange(x.size):
        nearest = np.rint(x[i] / scale) + zero_point
        nearest = 0.0 if nearest < 0.0 else nearest
        q[i] = np.uint8(255.0 if nearest > 255.0 else nearest)


def quantize(x, quantization, out=None):
    """Return the nearest byte for every number; arguments and errors as for `quantize_reference`."""
    x, (scale, zero_point), out = _check_quantize(x, quantization, out)
    result = np.empty(x.shape, np.uint8)
    sized(_quantize, x.size)(np.ravel(x), scale, float(zero_point), result.reshape(-1))
    out[...] = result
    return out


def _check_quantize(x, quantization, out):
    x = check_floats("x", x)
    if is_on_gpu(x):
        raise TypeError("x is in GPU memory: copy it to the host first")
    quantization = check_quantization("quantization", quantization)
    if np.isnan(x).any():
        raise ValueError("x must not hold NaN, which no byte stands for")
    check_out("out", out, x.shape, np.uint8, x=x)
    return x, quantization, np.empty(x.shape, np.uint8) if out is None else out


def dequantize(q, quantization, dtype=np.float32, out=None):
    """Return scale · (q - zero_point) for every byte.

    Parameters
    ----------
    q : array of uint8
    quantization : Quantization, or a pair (scale, zero_point)
    dtype : float32 or float64
    out : array of q's shape and that dtype, optional
    """
    q = check_bytes("q", q)
    scale, zero_point = check_quantization("quantization", quantization)
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {dtype}")
    check_out("out", out, q.shape, dtype, q=q)
    table = (scale * (np.arange(256) - zero_point)).astype(dtype)  # there are only 256 results
    return np.take(table, q, out=out)


# ---------------------------------------------------- from a 32-bit sum back to a byte, by integers only


def fixed_point(multiplier):
    """Write a positive number as mantissa · 2^(-31 - shift), the mantissa from 2³⁰ to less than 2³¹.

    Returns (mantissa, shift) with shift from -31 to 31. A `shift` below 0 multiplies.
    """
    mantissa, exponent = math.frexp(multiplier)
    mantissa = round(mantissa * 2**31)
    if mantissa == 2**31:  # rounded up to the next power of two
        mantissa, exponent = 2**30, exponent + 1
    if not -31 <= -exponent <= 31:
        raise ValueError(f"the scales multiply to {multiplier}, which is out of the range from 2⁻³¹ to 2³¹")
    return mantissa, -exponent


def requantize(total, mantissa, shift):
    """Multiply integer sums by mantissa · 2^(-31 - shift) and round, in integers, as gemmlowp does.

    A number's upper half after doubling, rounded (`SaturatingRoundingDoublingHighMul`), then a division by a
    power of two, rounded (`RoundingDivideByPOT`); gemmlowp, fixedpoint/fixedpoint.h.

    Parameters
    ----------
    total : array of int64, with values that fit into 32 bits
    """
    total = np.clip(total * 2 ** max(-shift, 0), -(2**31), 2**31 - 1)
    product = total * mantissa
    nudge = np.where(product >= 0, 2**30, 1 - 2**30)
    high = np.sign(product + nudge) * (np.abs(product + nudge) >> 31)  # towards 0, like C's division
    shift = max(shift, 0)
    mask = 2**shift - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> shift) + ((high & mask) > threshold)


@njit
def requantize_one(total, mantissa, shift):
    """`requantize` for one number of int64, inside numba functions."""
    if shift < 0:
        total = min(max(total << -shift, -(1 << 31)), (1 << 31) - 1)
        shift = 0
    product = total * mantissa
    high = (product + (1 << 30)) >> 31 if product >= 0 else -((-product + (1 << 30) - 1) >> 31)
    mask = (1 << shift) - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> shift) + (1 if (high & mask) > threshold else 0)
