"""How numba compiles the kernels of this layer for the CPU, and constants that do not widen float32."""

import functools

import numba
import numpy as np

# a·b + c may become one fused instruction (more exact, not less), and division by zero gives infinity, as
# IEEE 754 says, where Python's exception would be a branch in every loop and keep it from being vectorised.
ARITHMETIC = {"fastmath": {"contract"}, "error_model": "numpy"}
SERIAL = {"cache": True, **ARITHMETIC}
PARALLEL = {"cache": True, "parallel": True, **ARITHMETIC}
# Additions may change places as well: one running sum becomes many, side by side in a vector register.
REORDER = {"cache": True, "fastmath": {"contract", "reassoc"}, "error_model": "numpy"}

# A bare 1.0 would turn a float32 computation into float64. These leave it alone, and widen in a float64 one.
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)


def on_one_thread(kernel):
    """Return a function that runs a parallel kernel on a single thread, to show what the others add.

    (Compiling the same Python function a second time, without `parallel`, would not do: numba's cache on disk
    takes the two for one.)
    """

    @functools.wraps(kernel)
    def run(*args):
        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            return kernel(*args)
        finally:
            numba.set_num_threads(threads)

    return run
