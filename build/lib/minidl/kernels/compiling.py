"""How numba compiles the kernels of this layer for the CPU, and constants that do not widen float32."""

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

    def run(*args):
        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            return kernel(*args)
        finally:
            numba.set_num_threads(threads)

    return run


def sized(kernel, elements, few=1_000_000):
    """Return the way to run a parallel kernel on so many elements: on one thread where they are few.

    Waking a thread that fell asleep takes some 50 µs on a small virtual machine. That is what a simple kernel
    needs for half a million elements, and a single thread has done them by then. `few` is the number that one
    thread does in 100 µs or so.
    """
    return kernel if elements >= few else on_one_thread(kernel)
