"""Layer 1, Hardware: the devices of this machine, their limits, and how to run something on them."""

# From here on numba and BLAS share the cores, and freed memory is kept.
from minidl.hardware import memory, threads  # noqa: F401
