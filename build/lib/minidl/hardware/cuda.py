"""The one place that imports numba's CUDA target, so that moving to another one is a change of one line."""

from numba import cuda

__all__ = ["cuda"]
