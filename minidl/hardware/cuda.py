"""The one place that imports numba's CUDA target, so that moving to another one is a change of one line."""

import numba
import numpy as np
from numba import cuda

__all__ = ["cuda"]

# numba-cuda up to 0.30 still names a function that NumPy 2.5 has dropped, and compiles nothing where it is
# missing; mended it will not be (https://github.com/NVIDIA/numba-cuda/issues/907). Nothing here calls it.
if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack  # noqa: NPY201

# A grid of a few blocks is what a lesson launches, and the last floor of a tree: no reason for a warning.
numba.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
