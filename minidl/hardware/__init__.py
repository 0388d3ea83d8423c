"""Layer 1, Hardware: the devices of this machine, their limits, and how to run something on them."""

from minidl.hardware import memory, threads  # with threads, numba and BLAS share the cores from here on

memory.keep_blocks()
__all__ = ["threads"]
