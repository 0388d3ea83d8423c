"""How long an all-reduce takes: the measurements to which a cost model is fitted (`graph.scaling`)."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import time

import numpy as np

from minidl.graph.distributed.allreduce import all_reduce
from minidl.graph.distributed.world import World
from minidl.kernels.arguments import check_integer


def measure(sizes, algorithms=("ring", "tree", "server"), repeat=30, ranks=None, seconds=0.5, visits=3):
    """Time all-reduces of this job's ranks, with nothing to compute between them. Called on every rank.

    Each rank stays on one core meanwhile (`bound`), all arrays lie in pages of one kind (`small_pages`), and
    the whole list is gone through several times, so that whatever disturbs the machine for a while falls on
    all sizes and numbers of ranks alike.

    Parameters
    ----------
    sizes : sequence of int
        Bytes, multiples of 4.
    algorithms : sequence of str
    repeat : int
        Rounds, after two to warm up, unless a size needs more than `seconds` for them; at least 5.
    ranks : sequence of int, optional
        With so many ranks each, the others resting; by default with all.
    visits : int
        How many times the rounds are spread over.

    Returns
    -------
    list of dict
        On all ranks: "ranks", "algorithm", "bytes", and "seconds", the median over the rounds of the time
        from the start of the last rank to the end of the last rank, and its "quartiles".
    """
    everyone, worlds, times, sizes = World(), {}, {}, list(sizes)
    if not sizes:
        raise ValueError("sizes must be some numbers of bytes, got none")
    each = max(5, check_integer("repeat", repeat, 1) // check_integer("visits", visits, 1))
    for count in ranks or (everyone.size,):
        check_integer("ranks", count, 1, everyone.size, "the ranks of this job")
        part = everyone.comm.Split(int(everyone.rank < count), everyone.rank)
        worlds[count] = World(part) if everyone.rank < count else None
    for size in sizes:
        if check_integer("sizes", size, 4) % 4:
            raise ValueError(f"sizes must be multiples of 4 bytes, got {size}")
    most = max(sizes)
    whole, came = small_pages(most), small_pages(most)
    for _, (count, world) in itertools.product(range(visits), worlds.items()):
        if world:
            world.scratch(came.size, came.dtype, memory=came)
            time.sleep(0.1)  # until those that rest look seldom
            with bound(world.rank):
                for algorithm, size in itertools.product(algorithms, sizes):
                    took = _slowest(world, whole[: size // 4], algorithm, each, seconds / visits)
                    times.setdefault((count, algorithm, size), []).append(took)
        everyone.barrier()
    times = {key: np.concatenate(took) for key, took in times.items()}
    found = [
        {
            "ranks": count,
            "algorithm": algorithm,
            "bytes": size,
            "seconds": float(np.median(took)),
            "quartiles": np.percentile(took, (25, 75)).tolist(),
        }
        for (count, algorithm, size), took in times.items()
    ]
    return everyone.from_first(sorted(found, key=lambda row: row["ranks"]))


def small_pages(size):
    """Return float32 ones of `size` bytes, in pages of the usual size.

    Linux gives an array of 4 MiB or more, for which NumPy asks it to, huge pages if it has some to spare just
    then. With them a sum can be half as fast again: which rank gets some would decide what is measured.
    """
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel that knows no huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    array = np.frombuffer(memory, np.float32)
    array[...] = 1
    return array


@contextlib.contextmanager
def bound(rank):
    """Keep this process on one core, rank after rank on the next, where the system lets it.

    As they do on clusters: a process that moves leaves its caches behind, and where ranks outnumber cores it
    would be a matter of luck which of them share one.
    """
    if not hasattr(os, "sched_setaffinity"):  # macOS
        yield
        return
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _slowest(world, array, algorithm, repeat, seconds):
    """Return how long each round took, from the last start to the last end by rank 0's clock."""
    starts, ends, offset = [], [], world.clock_offset()
    for turn in range(repeat + 2):
        array[...] = 1  # sums of sums would overflow
        world.barrier()
        start = time.perf_counter()
        all_reduce(array, world, algorithm)
        end = time.perf_counter()
        if turn >= 2:
            starts.append(start - offset)
            ends.append(end - offset)
        if turn == 1:
            repeat = min(repeat, max(5, int(seconds / max(world.comm.allgather(end - start)))))
        if len(ends) == repeat:
            break
    times = np.array(world.comm.allgather((starts, ends)))
    return times[:, 1].max(axis=0) - times[:, 0].max(axis=0)
