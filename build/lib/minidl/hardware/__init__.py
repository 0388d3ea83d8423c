"""Layer 1, Hardware: the devices of this machine, their limits, and how to run something on them."""

from minidl.hardware import threads  # noqa: F401  (numba and BLAS share the cores from here on)
