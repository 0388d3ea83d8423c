"""The exponential in plain arithmetic, so that a compiler can do a whole vector register at once.

`math.exp` is a call into the C library, one value at a time, and a loop with a call in it is not vectorised.
What follows has no call and no branch. Write x = n·ln 2 + r with an integer n and |r| ≤ ½ ln 2; then

    exp(x) = 2ⁿ · exp(r)

where exp(r) is a short polynomial, and 2ⁿ is n put into the exponent bits of a float. (Cephes, expf.c and
exp.c, S. L. Moshier, 1989, has the float32 coefficients and the split of ln 2.)
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

from minidl.kernels.compiling import ARITHMETIC, ONE


def _make(real, integer, mantissa, lowest, highest, ln2_high, ln2_low, coefficients):
    """Return (exp, expm1) for one floating-point type.

    `mantissa` is its stored mantissa bits; below `lowest` exp is 0, above `highest` it is infinity;
    ln2_high + ln2_low is ln 2, the first part short enough for n·ln2_high to be exact;
    `coefficients` are those of (exp(r) - 1 - r) / r², highest power first.
    """
    log2_e = real(1 / math.log(2))
    round_up = real(1.5 * 2.0**mantissa)  # adding this leaves no room for a fraction: the sum is rounded
    round_up_bits = round_up.view(integer)
    bias = integer(np.finfo(real).maxexp - 1)
    shift, half = integer(mantissa), integer(1)
    lowest, highest = real(lowest), real(highest)
    ln2_high, ln2_low = real(ln2_high), real(ln2_low)
    coefficients = tuple(real(c) for c in coefficients)
    nothing_left = real(-mantissa - 2)  # from here down, exp(x) - 1 rounds to -1

    @njit(**ARITHMETIC)
    def power_of_two(n):
        return integer((n + bias) << shift).view(real)

    @njit(**ARITHMETIC)
    def reduce(x):
        rounded = x * log2_e + round_up
        n = integer(real(rounded).view(integer) - round_up_bits)  # the low bits of the sum are n itself
        times = rounded - round_up  # n again, as a float
        r = x - times * ln2_high - times * ln2_low
        p = coefficients[0]
        for c in coefficients[1:]:
            p = p * r + c
        return n, p * r * r + r  # exp(r) - 1

    def exp(x):
        x = lowest if x < lowest else x  # written so that NaN, of which no comparison is true, passes
        x = highest if x > highest else x
        n, p = reduce(x)
        m = n >> half  # 2ⁿ in two steps: 2¹²⁸ or 2⁻¹⁵⁰ alone would not fit a float32's exponent
        return (p + ONE) * power_of_two(m) * power_of_two(integer(n - m))

    def expm1(x):
        x = nothing_left if x < nothing_left else x
        n, p = reduce(x)
        scale = power_of_two(n)
        return scale * p + (scale - ONE)  # never exp(x) - 1, which has no digits left near x = 0

    return exp, expm1


_exp32, _expm1_32 = _make(
    np.float32, np.int32, 23, -104, 89, 0.693359375, -2.12194440e-4,
    (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
)  # fmt: skip
_exp64, _expm1_64 = _make(
    np.float64, np.int64, 52, -746, 710, 6.93145751953125e-1, 1.42860682030941723212e-6,
    [1 / math.factorial(k) for k in range(13, 1, -1)],  # Taylor's: the next term is below 2⁻⁵³
)  # fmt: skip


def exp(x):
    """e to the power x, inside numba functions: float32 or float64 in, the same out, off by 2 ulp at most.

    exp(-inf) is 0, exp(inf) is inf, NaN gives NaN; results too small for a normal float are subnormal, not 0.
    """
    return np.exp(x)


def expm1(x):
    """e to the power x, minus 1, for x ≤ 0, for use inside numba functions; exact near 0. NaN gives NaN."""
    return np.expm1(x)


@overload(exp, jit_options=ARITHMETIC)
def _choose_exp(x):
    return {types.float32: _exp32, types.float64: _exp64}.get(x)


@overload(expm1, jit_options=ARITHMETIC)
def _choose_expm1(x):
    return {types.float32: _expm1_32, types.float64: _expm1_64}.get(x)
