"""The world: the processes of one job, how they wait for each other, and what happens when one of them fails.

MPI (https://www.mpi-forum.org) starts the same program several times and numbers the processes, its *ranks*,
from 0. They share nothing: what one knows, another knows only if it was sent; unless they are on one machine
and ask for memory that all of them see (`World.shared`).
"""

from __future__ import annotations

import contextlib
import importlib
import mmap
import os
import socket
import sys
import tempfile
import time
import traceback

import numpy as np

from minidl.graph.distributed.timeline import Timeline
from minidl.hardware.threads import use_threads
from minidl.kernels.arguments import check_integer

ADVICE = (
    "Several processes need MPI and mpi4py: `pip install mpi4py mpich` brings both (Linux and macOS), then "
    "start the program with `mpiexec -n 2 python …`. One process needs neither."
)
PATIENCE = 120.0  # seconds that a rank waits for another before it gives the job up

_TURNS = 2000  # how often a waiting rank looks before it starts to sleep in between
_yield = getattr(os, "sched_yield", lambda: time.sleep(0))


class MpiUnavailable(RuntimeError):
    """Raised where several processes are asked for and MPI is not installed; the message says what to do."""


class Waited(RuntimeError):
    """Raised by a rank that has waited too long for another."""


class Mismatch(ValueError):
    """Raised by every rank if one of them has another model, batch or setting than rank 0."""


def mpi():
    """Return mpi4py's module `MPI`; importing it starts MPI. Raises `MpiUnavailable` where there is none."""
    try:
        return importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:  # not installed; or installed without a library of MPI
        raise MpiUnavailable(f"{ADVICE} ({error})") from None


class World:
    """The ranks of a job, as one of them sees it.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        Which ranks; by default all.
    patience : float
        Seconds after which waiting for another rank raises `Waited`.

    Attributes
    ----------
    rank, size : int
        Which one this is, and how many there are.
    timeline : Timeline or None
        Where it is written down what this rank does, if somebody wants to know: see `record`.
    """

    def __init__(self, comm=None, patience=PATIENCE):
        if not patience > 0:
            raise ValueError(f"patience must be above 0 seconds, got {patience!r}")
        self.mpi = mpi()
        self.comm = (comm or self.mpi.COMM_WORLD).Dup()  # its messages meet nobody else's
        self.rank, self.size, self.patience = self.comm.rank, self.comm.size, float(patience)
        self.timeline, self._kept = None, {}
        if self.size > 1:
            _end_together(self.mpi)

    # ------------------------------------------------------------------------------------------- waiting

    def wait(self, requests, what="another rank"):
        """Wait until all requests are done; `what` names them if that takes too long (see `wait_until`)."""
        self.wait_until(lambda: self.mpi.Request.Testall(requests), what)

    def wait_until(self, done, what):
        """Wait until `done()`, without keeping others from the core.

        MPI's own waiting asks without a pause. Where ranks outnumber cores, the ones that wait would take
        turns with the ones that work: this gives way at every look and, after some milliseconds, sleeps.
        """
        turns, start = 0, time.perf_counter()
        while not done():
            turns += 1
            if turns < _TURNS:
                _yield()
                continue
            waited = time.perf_counter() - start
            time.sleep(min(max(5e-5, waited / 100), 1e-3))  # what took long may take longer
            if waited > self.patience:
                raise Waited(
                    f"rank {self.rank} has waited {self.patience:g} s for {what}, which does not answer: "
                    "it has failed, or does something else than this rank"
                )

    def barrier(self):
        """Go on when all ranks have come here."""
        self.wait([self.comm.Ibarrier()], "the others at a barrier")

    # ---------------------------------------------------------------------------------- small things to all

    def gather(self, value):
        """Return the list of every rank's value, any Python object that can be pickled, on all ranks."""
        self.barrier()  # which sleeps: the exchange below then is short
        return self.comm.allgather(value)

    def from_first(self, value):
        """Return rank 0's value on all ranks; the others' is ignored."""
        self.barrier()
        return self.comm.bcast(value)

    def sum(self, *values):
        """Return the sums of numbers over the ranks, float64."""
        total = np.array(values, np.float64)
        with self.span("wait", "the others"):
            self.wait([self.comm.Iallreduce(self.mpi.IN_PLACE, total)], "the others' numbers")
        return total.tolist()

    def any(self, flag):
        """Whether the flag is set on any rank."""
        return self.sum(float(bool(flag)))[0] > 0

    def agree(self, **facts):
        """Check that every rank says the same; otherwise raise `Mismatch` on all, with both sides.

        Parameters
        ----------
        facts : by name
            Anything that `==` compares and `repr` shows; a dict is compared name by name.
        """
        first, *others = self.gather(facts)
        for rank, theirs in enumerate(others, 1):
            for name, value in first.items():
                if theirs[name] != value:
                    raise Mismatch(f"the {name} differ: {_difference(value, theirs[name], rank)}")

    def broadcast(self, arrays, root=0):
        """Copy one rank's arrays over everybody's, in place."""
        for array in arrays:
            flat = array if array.flags.c_contiguous else np.ascontiguousarray(array)
            self.wait([self.comm.Ibcast(flat, root)], f"rank {root}'s numbers")
            if flat is not array:
                array[...] = flat

    # ------------------------------------------------------------------------------------------------ memory

    def scratch(self, size, dtype, key=0, memory=None):
        """Return an array for what comes in, the same one at the next call: fresh memory is slow at first.

        It lies in `memory`, a flat array, from the call that gives one until that is too small.
        """
        if memory is not None:
            self._kept["scratch", key] = memory.view(np.uint8)
        kept = self._kept.get(("scratch", key))
        if kept is None or kept.nbytes < size * np.dtype(dtype).itemsize:
            kept = self._kept["scratch", key] = np.empty(size * np.dtype(dtype).itemsize, np.uint8)
        return kept[: size * np.dtype(dtype).itemsize].view(dtype)

    def one_machine(self):
        """Whether all ranks are on one machine, and can have memory in common."""
        if "one machine" not in self._kept:
            self.barrier()
            here = self.comm.Split_type(self.mpi.COMM_TYPE_SHARED)
            self._kept["one machine"] = not self.any(here.size < self.size)
            here.Free()
        return self._kept["one machine"]

    def shared(self, size, dtype, key=0):
        """Return a flat array of every rank, by rank, in memory that all of them see and may write to.

        Called on every rank, with the same arguments; the same arguments give the same arrays again. Who
        writes must have said so before another looks: by `signals`.

        Raises
        ------
        ValueError
            If the ranks are on several machines.
        OSError
            If there is not so much memory.
        """
        found = self._kept.get(("shared", key))
        if found is None or (found[0].size, found[0].dtype) != (size, dtype):
            if not self.one_machine():
                raise ValueError("memory can be shared on one machine only, and the ranks are on several")
            whole = -(-size * np.dtype(dtype).itemsize // mmap.PAGESIZE) * mmap.PAGESIZE or mmap.PAGESIZE
            memory = self._map(whole * self.size)
            found = [np.frombuffer(memory, dtype, size, rank * whole) for rank in range(self.size)]
            self._kept["shared", key] = found
        return found

    def _map(self, size):
        """Return bytes that all ranks see: those of a file that has lost its name, and goes with them."""
        name, error = None, None
        if self.rank == 0:
            try:
                name = _file_of(size)
            except OSError as failed:
                error = failed
        name, error = self.from_first((name, error))
        if error is not None:
            raise OSError(error.errno, f"no room for {size} bytes of shared memory: {error.strerror}")
        try:
            with open(name, "r+b") as file:
                return mmap.mmap(file.fileno(), size)
        finally:
            self.barrier()
            if self.rank == 0:
                os.unlink(name)

    def views(self, array):
        """Return every rank's array if this is one of `shared`, else None."""
        for key, found in self._kept.items():
            if key[0] == "shared" and _address(found[self.rank]) == _address(array):
                return found
        return None

    def signals(self, tag=0):
        """Return requests that are done when every rank has come to here: empty messages to and from all."""
        nothing, others = bytearray(0), [rank for rank in range(self.size) if rank != self.rank]
        return [self.comm.Irecv(nothing, other, tag) for other in others] + [
            self.comm.Isend(nothing, other, tag) for other in others
        ]

    # --------------------------------------------------------------------------------------- what it does

    @contextlib.contextmanager
    def record(self):
        """Within this context, note when this rank computes, sends and waits; gives the `Timeline`."""
        before, self.timeline = self.timeline, Timeline(self.rank, self.clock_offset())
        try:
            yield self.timeline
        finally:
            self.timeline = before

    def span(self, kind, name=""):
        """Return a context that is noted in the timeline, if there is one."""
        return contextlib.nullcontext() if self.timeline is None else self.timeline.span(kind, name)

    def clock_offset(self, rounds=20):
        """Return by how many seconds this rank's clock is ahead of rank 0's.

        Ranks on one machine read the same clock. Others ask rank 0 what time it is, several times, and
        believe the answer that came back fastest (F. Cristian, Distributed Computing 3, 1989).
        """
        hosts, offset = self.gather(socket.gethostname()), 0.0
        for rank in range(1, self.size):
            if hosts[rank] == hosts[0]:
                continue
            fastest = np.inf
            for _ in range(rounds):
                if self.rank == 0:
                    self.comm.recv(source=rank)
                    self.comm.send(time.perf_counter(), rank)
                elif self.rank == rank:
                    asked = time.perf_counter()
                    self.comm.send(None, 0)
                    theirs = self.comm.recv(source=0)
                    came = time.perf_counter()
                    if came - asked < fastest:
                        fastest, offset = came - asked, (asked + came) / 2 - theirs
        return offset

    @contextlib.contextmanager
    def few_threads(self, threads=None):
        """Let this rank use its share of the machine's cores, by default cores over ranks, at least 1."""
        import numba

        most = numba.config.NUMBA_NUM_THREADS
        if threads is None:
            here = self.gather(socket.gethostname()).count(socket.gethostname())
            threads = max(1, (os.cpu_count() or 1) // here)
        with use_threads(min(check_integer("threads", threads, 1), most)):
            yield


def _address(array):
    return array.__array_interface__["data"][0], array.nbytes


def _file_of(size):
    """Make a file of so many bytes, in memory where the system has a place for that; return its name."""
    places = [place for place in ("/dev/shm", tempfile.gettempdir()) if os.path.isdir(place)]
    for place in places:
        try:
            number, name = tempfile.mkstemp(prefix="minidl-", dir=place)
            try:
                if hasattr(os, "posix_fallocate"):  # now, and not when it is written to
                    os.posix_fallocate(number, 0, size)
                else:
                    os.truncate(number, size)
            except OSError:
                os.unlink(name)
                raise
            finally:
                os.close(number)
            return name
        except OSError:
            if place == places[-1]:
                raise


def _difference(first, other, rank):
    """Say in what two facts differ, shortly."""
    if isinstance(first, dict) and isinstance(other, dict):
        names = [name for name in {**first, **other} if first.get(name) != other.get(name)]
        parts = [
            f"{name} is {first.get(name, 'absent')} on rank 0 and {other.get(name, 'absent')} on rank {rank}"
            for name in names
        ]
        more = f", and {len(parts) - 3} more" if len(parts) > 3 else ""
        return "; ".join(parts[:3]) + more
    return f"{first} on rank 0 and {other} on rank {rank}"


_watched = []


def _end_together(library):
    """Have an error that nobody catches end all ranks, and not only the one that is in trouble."""
    if not _watched:
        _watched.append(sys.excepthook)
        sys.excepthook = lambda kind, error, trace: end_job(
            error, "".join(traceback.format_exception(kind, error, trace))
        )


def end_job(error, text):
    """Say why, and end all ranks at once.

    Parameters
    ----------
    error : Exception
        Of a `Mismatch` every rank hears: rank 0 alone speaks.
    text : str
        What to say.
    """
    everyone = mpi().COMM_WORLD
    if not isinstance(error, Mismatch):
        text = f"rank {everyone.rank} of {everyone.size} failed, so the job ends:\n{text}"
    elif everyone.rank:
        time.sleep(0.5)
        text = ""
    else:
        text = f"{type(error).__name__}: {error}"
    print(text, file=sys.stderr, flush=True)
    everyone.Abort(1)
