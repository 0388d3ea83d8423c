"""Layer 2, Kernel: implementations. One file per algorithm, read from top to bottom as a ladder of rungs."""

from minidl.kernels import cache  # noqa: F401  (compiled kernels find a place to be kept)
