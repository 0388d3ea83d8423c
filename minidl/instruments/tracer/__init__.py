"""The tracer runs the very `@cuda.jit` function that runs on a GPU, thread by thread on the CPU, and sees everything.

Read in this order: `rewrite` (a kernel becomes a generator), `schedule` (who goes next), `memory` (what an access
does), `findings` (what is wrong), `warps` (what 32 threads ask for at once), `trace` (the front door).
"""

from minidl.instruments.tracer.findings import Finding, ThreadId
from minidl.instruments.tracer.machine import TracedGpu
from minidl.instruments.tracer.memory import UnsupportedKernel
from minidl.instruments.tracer.schedule import LimitReached
from minidl.instruments.tracer.trace import Count, Trace, trace

__all__ = ["Count", "Finding", "LimitReached", "ThreadId", "Trace", "TracedGpu", "UnsupportedKernel", "trace"]
