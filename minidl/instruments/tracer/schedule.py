"""Runs the threads of a launch one request at a time, in an order that a policy chooses.

Every thread is a generator (see `rewrite`). The scheduler resumes one, answers its requests (a read, a write, …)
until the policy takes the next, and holds a thread back at a barrier until its block has arrived.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from minidl.instruments.tracer.intrinsics import dtype_of
from minidl.instruments.tracer.memory import SHARED, UnsupportedKernel
from minidl.instruments.tracer.rewrite import ALLOCATE, ATOMIC, READ, STEP, WRITE
from minidl.instruments.tracer.values import poison

WARP_SIZE = 32
WARP_EPOCH_BITS = 20  # an epoch counts the barriers of the block; its low bits those of the warp alone


@dataclass(frozen=True, slots=True)
class Dim3:
    """Three coordinates, x fastest."""

    x: int
    y: int
    z: int

    @property
    def size(self):
        """Their product."""
        return self.x * self.y * self.z

    def unravel(self, index) -> Dim3:
        """Return the coordinates of a linear index."""
        return Dim3(index % self.x, index // self.x % self.y, index // (self.x * self.y))


class Thread:
    """One CUDA thread: its coordinates, its generator, and what it waits for."""

    __slots__ = ("block", "blockDim", "blockIdx", "epoch", "finished", "generator", "gridDim", "laneid")
    __slots__ += ("answer", "index", "number", "raised", "request", "steps", "threadIdx")

    def __init__(self, block, index):
        launch = block.launch
        self.block = block
        self.index = index
        self.number = block.index * launch.block.size + index
        self.threadIdx = launch.block.unravel(index)
        self.blockIdx = block.coordinates
        self.blockDim = launch.block
        self.gridDim = launch.grid
        self.laneid = index % WARP_SIZE
        self.epoch = 0
        self.steps = 0
        self.answer = None
        self.request = None
        self.finished = self.raised = False
        self.generator = launch.program.start(self, *launch.args)

    def grid(self, ndim):
        """`cuda.grid(ndim)`."""
        block, thread, dim = self.blockIdx, self.threadIdx, self.blockDim
        x = block.x * dim.x + thread.x
        if ndim == 1:
            return x
        y = block.y * dim.y + thread.y
        return (x, y) if ndim == 2 else (x, y, block.z * dim.z + thread.z)

    def gridsize(self, ndim):
        """`cuda.gridsize(ndim)`."""
        grid, dim = self.gridDim, self.blockDim
        sizes = (grid.x * dim.x, grid.y * dim.y, grid.z * dim.z)
        return sizes[0] if ndim == 1 else sizes[:ndim]


class Block:
    """One block: its threads and its shared memory."""

    def __init__(self, launch, index):
        self.launch = launch
        self.index = index
        self.coordinates = launch.grid.unravel(index)
        self.shared = {}
        self.dynamic = None
        self.epoch = 0
        self.threads = [Thread(self, i) for i in range(launch.block.size)]
        self.running = len(self.threads)

    def waiting(self):
        """Threads held back by a barrier or a warp operation."""
        return [thread for thread in self.threads if thread.request is not None]


class InOrder:
    """Thread 0 runs until it waits, then thread 1, …; block after block."""

    window = 1
    quantum = 100_000

    def choose(self, ready):
        """Return the position of the next thread and how many requests it may make."""
        return 0, self.quantum


class Lockstep(InOrder):
    """Every thread in turn makes one request: the lucky order, in which many a missing barrier does no harm."""

    quantum = 1


class Villain:
    """A random order, drawn from a seed, made to hurt: blocks overlap, threads stop at bad moments."""

    window = 4

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.style = seed % 4

    def choose(self, ready):
        """Return the position of the next thread and how many requests it may make."""
        draw = self.random.random
        position = int(draw() * len(ready))
        if self.style == 0:  # switch after every access
            return position, 1
        if self.style == 1:  # short bursts
            return position, 1 + int(draw() * 4)
        if self.style == 2:  # last thread first, with rare interruptions
            return len(ready) - 1, 1 if draw() < 0.1 else 1000
        return position, 1 if draw() < 0.5 else 1000


class LimitReached(RuntimeError):
    """Raised when a launch makes more accesses than the tracer was told to follow; the message says what to do."""


class Launch:
    """One launch in the tracer: `run()` runs every block to its end."""

    def __init__(self, program, memory, grid, block, args, policy, shared_bytes, limit):
        self.program = program
        self.memory = memory
        self.grid = grid
        self.block = block
        self.args = args
        self.policy = policy
        self.shared_bytes = shared_bytes
        self.limit = limit
        self.steps = 0

    def run(self):
        """Run all blocks; at most `policy.window` of them at a time."""
        policy, total = self.policy, self.grid.size
        started, blocks, ready = 0, [], []
        while True:
            while started < total and len(blocks) < policy.window:
                block = Block(self, started)
                blocks.append(block)
                ready += block.threads
                started += 1
            if not blocks:
                return
            position, quantum = policy.choose(ready)
            thread = ready[position]
            if self._resume(thread, quantum):
                if len(ready) > 1:  # everybody gets a turn
                    ready.append(ready.pop(position))
                continue
            ready.pop(position)
            block = thread.block
            block.running -= 1
            while block.running == 0:
                released = self._settle(block)
                if not released:
                    blocks.remove(block)
                    break
                block.running = len(released)
                ready += released

    # -- one thread ----------------------------------------------------------------------------------------

    def _resume(self, thread, quantum) -> bool:
        """Answer up to `quantum` requests; False when the thread waits or has finished."""
        send, answer, memory = thread.generator.send, thread.answer, self.memory
        read, write = memory.read, memory.write
        if self.steps > self.limit:
            self._stop(thread)
        self.steps += min(quantum, 1)
        try:
            for count in range(quantum):
                request = send(answer)
                operation = request[0]
                if operation == READ:
                    answer = read(thread, request[1], request[2], request[3], request[4])
                elif operation == WRITE:
                    answer = write(thread, *request[1:])
                elif operation == ATOMIC:
                    answer = memory.atomic(thread, *request[1:])
                elif operation == ALLOCATE:
                    answer = self._allocate(thread, *request[1:])
                elif operation == STEP:
                    answer = None
                else:
                    memory.record_barrier(thread, request[1], request[2])
                    thread.request, thread.answer = request, None
                    self.steps += count
                    return False
            thread.answer = answer
            self.steps += quantum
            return True
        except StopIteration:
            self.steps += count
        except UnsupportedKernel as refused:
            line = _line_of(refused)
            raise UnsupportedKernel(f"line {line}: {refused}") from None
        except Exception as error:
            thread.raised = True
            line = _line_of(error)
            memory.problem("exception", "", None, -line, thread, f"{type(error).__name__}: {error}")
        thread.finished = True
        return False

    def _stop(self, thread):
        raise LimitReached(
            f"more than {self.limit:,} accesses: trace a smaller launch (a few blocks show what a thousand do), "
            "or pass a higher limit="
        )

    def _allocate(self, thread, site, trip, space, shape, dtype):
        dtype = dtype_of(dtype)
        name = self.program.site(site).text
        shape = shape if isinstance(shape, tuple) else (shape,)
        if space != SHARED:
            return self.memory.local(shape, dtype, name)
        shared = thread.block.shared
        key = site & 0xFFFF
        if key not in shared:
            shared[key] = self._new_shared(thread.block, shape, dtype, name)
        return shared[key]

    def _new_shared(self, block, shape, dtype, name):
        if shape != (0,):
            return self.memory.add(np.full(shape, poison(dtype), dtype), name, SHARED, block=block.index)
        # Dynamic shared memory: every array of shape 0 is the same bytes, as many as the launch asked for.
        first = block.dynamic is None
        if first:
            block.dynamic = len(self.memory.arrays), np.zeros(self.shared_bytes, np.uint8)
        region, room = block.dynamic
        values = room[: len(room) // dtype.itemsize * dtype.itemsize].view(dtype)
        if first:
            values[:] = poison(dtype)
        return self.memory.add(values, name, SHARED, region, block.index)

    # -- barriers ------------------------------------------------------------------------------------------

    def _settle(self, block):
        """Nobody in the block can run: let those who wait go on, and say so if some are missing."""
        waiting = block.waiting()
        if not waiting:
            return []
        sites = {thread.request[1] for thread in waiting}
        missing = [thread for thread in block.threads if thread.finished and not thread.raised]
        for site in sorted(sites):
            others = [t for t in block.threads if t.request is None and not t.raised] + [
                t for t in waiting if t.request[1] != site
            ]
            if others:
                for thread in others:
                    self.memory.problem("divergent-barrier", "", None, site, thread)
        del missing
        block.epoch += 1
        predicates = [bool(thread.request[4]) for thread in waiting if len(thread.request) > 4]
        for thread in waiting:
            kind = thread.request[3]
            thread.answer = {
                "syncthreads": lambda: None,
                "syncthreads_count": lambda: sum(predicates),
                "syncthreads_and": lambda: int(all(predicates)),
                "syncthreads_or": lambda: int(any(predicates)),
            }[kind]()
            thread.request = None
            thread.epoch = block.epoch << WARP_EPOCH_BITS
        return waiting


def _line_of(error):
    """The last line of the kernel's own source in a traceback."""
    line, traceback = 0, error.__traceback__
    while traceback is not None:
        if "_t" in traceback.tb_frame.f_locals:  # only rewritten functions have it
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
