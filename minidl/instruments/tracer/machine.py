"""A machine that looks like a GPU to a launcher and runs every launch in the tracer."""

from __future__ import annotations

import numpy as np

from minidl.instruments.tracer.record import Trace
from minidl.instruments.tracer.trace import trace
from minidl.instruments.tracer.values import poison


class TracedGpu:
    """The four methods of `minidl.hardware.machine.Gpu`, on the CPU, thread by thread.

    Parameters
    ----------
    schedule, seed, blocks, warps
        Handed to every `trace`.

    Attributes
    ----------
    traces : list of Trace
        One per launch, in order.

    Examples
    --------
    >>> machine = TracedGpu()
    >>> sliding_average_cuda(a, 3, machine=machine)       # doctest: +SKIP
    >>> machine.traces[0].counts()["global_reads"].total  # doctest: +SKIP
    """

    def __init__(self, schedule="in-order", seed=0, blocks=None, warps=None):
        self.schedule = schedule
        self.seed = seed
        self.blocks = blocks
        self.warps = warps
        self.traces: list[Trace] = []

    def upload(self, array):
        """Copy an array, as if to a device."""
        return np.array(array, order="C")

    def empty(self, shape, dtype):
        """Allocate an array whose values say that nobody has set them: NaN, or 0xDEADBEEF."""
        dtype = np.dtype(dtype)
        return np.full(shape, poison(dtype), dtype)

    def launch(self, kernel, grid, block, *args, shared=0):
        """Trace `kernel`, keep the trace in `traces`, and return it."""
        how = {"schedule": self.schedule, "seed": self.seed, "blocks": self.blocks, "warps": self.warps}
        self.traces.append(trace(kernel, grid, block, *args, shared=shared, **how))
        return self.traces[-1]

    def download(self, array, out=None):
        """Copy an array back, into `out` if it is given."""
        if out is None:
            return array.copy()
        np.copyto(out, array)
        return out
