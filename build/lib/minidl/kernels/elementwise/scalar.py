"""The functions of this folder, one value at a time, as lines of Python that numba compiles into loops.

Comparisons are written so that a NaN, of which no comparison is true, passes through. A slope takes the
gradient of the output and what the forward pass leaves behind: x, or y where the derivative is simpler in
y.
"""

import math

from numba import njit

from minidl.kernels.compiling import ARITHMETIC, ONE, TWO, ZERO
from minidl.kernels.exponential import exp, expm1


@njit(**ARITHMETIC)
def relu_of(x):
    """Max(x, 0)."""
    return ZERO if x < ZERO else x


@njit(**ARITHMETIC)
def relu_slope(gradient, x):
    """1 where x > 0; at 0 itself, 0."""
    return ZERO if x <= ZERO else gradient


@njit(**ARITHMETIC)
def leaky_relu_of(x, slope):
    """Like relu, but a negative x leaks through, made smaller."""
    return x * slope if x < ZERO else x


@njit(**ARITHMETIC)
def leaky_relu_slope(gradient, x, slope):
    """1 where x > 0, else `slope`."""
    return gradient if x > ZERO else gradient * slope


@njit(**ARITHMETIC)
def sigmoid_of(x):
    """1 / (1 + e⁻ˣ), without ever taking e to a positive power, which could overflow."""
    e = exp(-abs(x))
    return (e if x < ZERO else ONE) / (ONE + e)


@njit(**ARITHMETIC)
def sigmoid_slope(gradient, y):
    """y·(1 - y), of the output y."""
    return gradient * (y * (ONE - y))


@njit(**ARITHMETIC)
def tanh_of(x):
    """(1 - e⁻²ˣ) / (1 + e⁻²ˣ) for x ≥ 0, mirrored for x < 0; expm1 keeps the digits of a small x."""
    e = expm1(-TWO * abs(x))
    return math.copysign(e / (TWO + e), x)


@njit(**ARITHMETIC)
def tanh_slope(gradient, y):
    """1 - y², of the output y."""
    return gradient * (ONE - y * y)
