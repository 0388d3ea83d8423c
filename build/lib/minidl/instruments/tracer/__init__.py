"""The tracer runs a `@cuda.jit` kernel thread by thread on the CPU, with real values, and sees everything.

Read in this order: `trace` (the front door), `rewrite` (a kernel becomes a generator), `schedule` (who goes
next), `memory` (what an access does), `judge` (what is wrong), `warps` (what 32 threads ask for at once).
"""

from minidl.instruments.tracer.arrays import UnsupportedKernel
from minidl.instruments.tracer.findings import Finding, ThreadId
from minidl.instruments.tracer.machine import TracedGpu
from minidl.instruments.tracer.record import Count, Trace
from minidl.instruments.tracer.schedule import LimitReached
from minidl.instruments.tracer.trace import trace
from minidl.instruments.tracer.warps import WarpRequest

__all__ = [
    "Count",
    "Finding",
    "LimitReached",
    "ThreadId",
    "Trace",
    "TracedGpu",
    "UnsupportedKernel",
    "WarpRequest",
    "trace",
]
