"""Many processes: data parallelism, Downpour SGD and pipelines, over MPI. One process needs none of it.

    fit(model, data, epochs=10, parallel="data")      # started by: mpiexec -n 4 python …

From a notebook, `run` starts processes and brings back what they return, in a few lines:

    from minidl.graph.distributed import run
    run(my_function, 2)                               # [rank 0's result, rank 1's result]

or with ipyparallel, which keeps them at hand:

    import ipyparallel
    with ipyparallel.Cluster(engines="mpi", n=2) as cluster:
        results = cluster[:].apply_sync(my_function)
"""

from minidl.graph.distributed.allreduce import ALGORITHMS, Exchange, all_reduce, ring_steps
from minidl.graph.distributed.data import DataParallel
from minidl.graph.distributed.downpour import Downpour
from minidl.graph.distributed.launch import JobFailed, available, mpiexec, run
from minidl.graph.distributed.parallel import Alone, choose
from minidl.graph.distributed.pipeline import Pipeline
from minidl.graph.distributed.timeline import Span, Timeline, merged, shares
from minidl.graph.distributed.world import ADVICE, Mismatch, MpiUnavailable, Waited, World

__all__ = [
    "ADVICE",
    "ALGORITHMS",
    "Alone",
    "DataParallel",
    "Downpour",
    "Exchange",
    "JobFailed",
    "Mismatch",
    "MpiUnavailable",
    "Pipeline",
    "Span",
    "Timeline",
    "Waited",
    "World",
    "all_reduce",
    "available",
    "choose",
    "merged",
    "mpiexec",
    "ring_steps",
    "run",
    "shares",
]
