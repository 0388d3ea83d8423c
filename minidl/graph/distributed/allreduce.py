"""All-reduce: every rank has an array, and all of them end up with the sum.

Five ways, written as generators: each hands out the messages it waits for, and goes on when they are there.
So the same lines serve a caller who waits (`all_reduce`) and one who computes meanwhile (`Exchange`).

    ring    2 (p - 1) rounds; in each, every rank sends n / p values to its neighbour: the least traffic there
            can be, spread evenly over the links (Patarasuk & Yuan, J. Parallel Distrib. Comput. 69, 2009)
    tree    pairs add up, pairs of pairs, …; then the sum goes back down: few rounds, all n values in each
    server  rank 0 gets all arrays, one after the other, and sends the sum to each
    shared  ranks of one machine need not send: each adds up one part of everybody's array, where it lies
    mpi     what the MPI library thinks best
"""

from __future__ import annotations

import time

import numpy as np

from minidl.kernels.arguments import check_floats


def ring_steps(rank, size):
    """Yield (part to send, part to receive, whether to add it), round by round, for one rank of a ring.

    Every rank sends to the next and receives from the one before. First each part travels round the ring
    and is added to on its way (*reduce-scatter*): after `size` - 1 rounds, rank r has the whole sum of part
    r + 1. Then the sums travel round, and replace what is there (*all-gather*).
    """
    for turn in range(size - 1):
        yield (rank - turn) % size, (rank - turn - 1) % size, True
    for turn in range(size - 1):
        yield (rank + 1 - turn) % size, (rank - turn) % size, False


def parts_of(array, count):
    """Return views of `count` stretches of a flat array, as equal as can be."""
    return [array[i * array.size // count : (i + 1) * array.size // count] for i in range(count)]


def ring(world, array, tag=0):
    """Sum round a ring; see `ring_steps`."""
    comm, rank, size = world.comm, world.rank, world.size
    parts = parts_of(array, size)
    came = world.scratch(max(part.size for part in parts), array.dtype, tag)
    for send, receive, add in ring_steps(rank, size):
        part = parts[receive]
        target = came[: part.size] if add else part
        yield [
            comm.Irecv(target, (rank - 1) % size, tag),
            comm.Isend(parts[send], (rank + 1) % size, tag),
        ]
        if add:
            part += target


def tree(world, array, tag=0):
    """Sum up a binomial tree towards rank 0, and send the sum down again."""
    comm, rank, size = world.comm, world.rank, world.size
    came = world.scratch(array.size, array.dtype, tag)
    far = 1
    while far < size:
        if rank % (2 * far) == far:
            yield [comm.Isend(array, rank - far, tag)]
        elif rank % (2 * far) == 0 and rank + far < size:
            yield [comm.Irecv(came, rank + far, tag)]
            array += came
        far *= 2
    while far > 1:
        far //= 2
        if rank % (2 * far) == far:
            yield [comm.Irecv(array, rank - far, tag)]
        elif rank % (2 * far) == 0 and rank + far < size:
            yield [comm.Isend(array, rank + far, tag)]


def server(world, array, tag=0):
    """Send everything to rank 0, and get the sum back."""
    comm = world.comm
    if world.rank:
        yield [comm.Isend(array, 0, tag)]
        yield [comm.Irecv(array, 0, tag)]
        return
    came = world.scratch(array.size, array.dtype, tag)
    for other in range(1, world.size):
        yield [comm.Irecv(came, other, tag)]
        array += came
    for other in range(1, world.size):
        yield [comm.Isend(array, other, tag)]


def shared(world, array, tag=0):
    """Add up in memory that all ranks see (`World.shared`); an array that is elsewhere is copied there."""
    everyone = world.views(array)
    copied = everyone is None
    if copied:
        everyone = world.shared(array.size, array.dtype, tag)
        everyone[world.rank][:] = array
    yield world.signals(tag)  # all have come here: their arrays are complete
    parts = [parts_of(other, world.size)[world.rank] for other in everyone]  # nobody else touches these
    mine = parts[world.rank]
    for rank, part in enumerate(parts):
        if rank != world.rank:
            mine += part
    for rank, part in enumerate(parts):
        if rank != world.rank:
            part[:] = mine
    yield world.signals(tag)
    if copied:
        array[:] = everyone[world.rank]


def library(world, array, tag=0):
    """Leave it to MPI. All ranks must start such sums in the same order."""
    yield [world.comm.Iallreduce(world.mpi.IN_PLACE, array)]


ALGORITHMS = {"ring": ring, "tree": tree, "server": server, "shared": shared, "mpi": library}


def check_algorithm(name):
    """Return the name of an algorithm, or raise ValueError."""
    if name not in ALGORITHMS:
        raise ValueError(f"all_reduce must be one of {', '.join(ALGORITHMS)}, got {name!r}")
    return name


def all_reduce(array, world, how="mpi"):
    """Replace an array by its sum over all ranks, in place.

    Parameters
    ----------
    array : float32 or float64 array without gaps
        Of the same shape on every rank.
    world : World
    how : {"ring", "tree", "server", "shared", "mpi"}

    Returns
    -------
    The array.

    Raises
    ------
    TypeError, ValueError
        If it is anything else.
    Waited
        If another rank does not answer.
    """
    exchange = Exchange(world, array, how)
    exchange.wait()
    return array


class Exchange:
    """An all-reduce that is under way while its rank does something else, a little at each `poke`.

    Two that are under way at once need different tags.
    """

    def __init__(self, world, array, how="mpi", tag=0, name=""):
        check_algorithm(how)
        if not isinstance(array, np.ndarray):
            raise TypeError(f"array must be a NumPy array, got {type(array).__name__}")
        check_floats("array", array)
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError("array must be writable and lie in memory without gaps")
        self.world, self.name, self.start = world, name, time.perf_counter()
        self._rounds = iter(()) if world.size == 1 else ALGORITHMS[how](world, array.reshape(-1), tag)
        self._requests = []
        self.done = False
        self._next()

    def _next(self):
        with self.world.span("send", self.name):
            self._requests = next(self._rounds, None)
        if self._requests is None:
            self.done = True
            if self.world.timeline is not None and self.world.size > 1:
                self.world.timeline.add("transfer", self.name, self.start, time.perf_counter())

    def poke(self):
        """Do what can be done without waiting; return whether all is done."""
        while not self.done and self.world.mpi.Request.Testall(self._requests):
            self._next()
        return self.done

    def wait(self):
        """Wait for what is left."""
        while not self.done:
            with self.world.span("wait", self.name):
                self.world.wait(self._requests, f"its part of {self.name or 'a sum'}")
            self._next()
