"""The exponential in plain arithmetic, against NumPy's in extended precision."""

import numpy as np
import pytest
from numba import njit

from minidl.kernels.exponential import exp, expm1

DTYPES = [np.float32, np.float64]


@njit
def exp_of(x):
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = exp(x[i])
    return y


@njit
def expm1_of(x):
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = expm1(x[i])
    return y


def ulps(got, exact):
    """How many representable numbers the result is away from the exact one."""
    return np.max(np.abs(got - exact) / np.spacing(np.abs(exact).astype(got.dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_is_exact_to_the_last_places(dtype):
    info = np.finfo(dtype)
    x = np.linspace(np.log(info.tiny), np.log(info.max), 200_001)[1:-1].astype(dtype)
    got = exp_of(x)
    assert got.dtype == dtype
    assert ulps(got, np.exp(x.astype(np.longdouble))) < 1.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_of_what_is_out_of_range(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 800, -800, 1e30, -1e30], dtype)
    np.testing.assert_array_equal(exp_of(x), np.array([np.nan, np.inf, 0, 1, 1, np.inf, 0, np.inf, 0], dtype))


def test_exp_goes_down_through_the_subnormal_numbers():
    x = np.array([-87.5, -95, -103], np.float32)
    np.testing.assert_allclose(exp_of(x), np.exp(x.astype(np.float64)).astype(np.float32), atol=2e-45, rtol=0)
    assert exp_of(x).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_expm1_keeps_the_digits_of_small_numbers(dtype):
    x = -np.concatenate([np.geomspace(1e-12, 1, 5001), np.linspace(0.9, 120, 5001)]).astype(dtype)
    assert ulps(expm1_of(x), np.expm1(x.astype(np.longdouble))) < 2
    np.testing.assert_array_equal(expm1_of(np.array([0, -np.inf, np.nan], dtype)), [0, -1, np.nan])
