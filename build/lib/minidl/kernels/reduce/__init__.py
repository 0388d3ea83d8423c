"""Reduce: many numbers become one. Read `sum` and `sum_cuda`, then `max` and `mean`; `axes` they share."""

from minidl.kernels.reduce.max import (
    MAX_LADDER,
    largest,
    reduce_max,
    reduce_max_cuda,
    reduce_max_reference,
)
from minidl.kernels.reduce.mean import reduce_mean, reduce_mean_cuda, reduce_mean_reference
from minidl.kernels.reduce.sum import SUM_LADDER, reduce_sum, reduce_sum_reference
from minidl.kernels.reduce.sum_cuda import reduce_sum_cuda

LADDER = SUM_LADDER

__all__ = [
    "LADDER",
    "MAX_LADDER",
    "SUM_LADDER",
    "largest",
    "reduce_max",
    "reduce_max_cuda",
    "reduce_max_reference",
    "reduce_mean",
    "reduce_mean_cuda",
    "reduce_mean_reference",
    "reduce_sum",
    "reduce_sum_cuda",
    "reduce_sum_reference",
]
