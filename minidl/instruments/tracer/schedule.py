"""Runs the threads of a launch, one request at a time, in an order that a policy chooses.

Every thread is a generator (see `rewrite`). The scheduler resumes one, answers its requests (a read, a write,
…) until the policy takes the next, and holds it back where it has to wait for others (see `barriers`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from minidl.instruments.tracer import barriers
from minidl.instruments.tracer.arrays import SHARED, UnsupportedKernel
from minidl.instruments.tracer.intrinsics import dtype_of
from minidl.instruments.tracer.memory import SITE
from minidl.instruments.tracer.syntax import ALLOCATE, ATOMIC, READ, STEP, TRIPS_PER_STEP, WRITE
from minidl.instruments.tracer.values import poison

WARP_SIZE = 32
MOST_BARRIERS = 10_000  # that a block passes before its loop is called endless
MOST_WAITING = 32  # blocks that are kept waiting for others before their loop is called endless


class LimitReached(RuntimeError):
    """Raised when a launch is larger than the tracer was told to follow; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Dim3:
    """Three sizes or coordinates, x fastest."""

    x: int
    y: int = 1
    z: int = 1

    @property
    def size(self) -> int:
        """Their product."""
        return self.x * self.y * self.z

    def unravel(self, index: int) -> Dim3:
        """Return the coordinates of a linear index."""
        return Dim3(index % self.x, index // self.x % self.y, index // (self.x * self.y))


class Thread:
    """One CUDA thread: where it is, its generator, and what it waits for.

    Attributes
    ----------
    index, number : int
        Its number in its block, and in the launch.
    epoch : int
        Barriers passed; the low bits count those of its warp (see `findings`).
    request : tuple or None
        The barrier or warp operation at which it waits.
    """

    __slots__ = ("answer", "block", "blockDim", "blockIdx", "epoch", "finished", "generator", "gridDim")
    __slots__ += ("index", "laneid", "loop", "number", "raised", "request", "spun_from", "steps", "threadIdx")
    __slots__ += ("warp",)

    def __init__(self, block, warp, index):
        launch = block.launch
        self.block, self.warp, self.index = block, warp, index
        self.number = block.index * launch.block.size + index
        self.threadIdx, self.blockIdx = launch.block.unravel(index), block.coordinates
        self.blockDim, self.gridDim = launch.block, launch.grid
        self.laneid = index % WARP_SIZE
        self.epoch = self.steps = self.loop = 0
        self.spun_from = None  # the row at which it began to run for very long
        self.answer = self.request = None
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

    def lanemask_lt(self):
        """`cuda.lanemask_lt()`."""
        return (1 << self.laneid) - 1


class Group:
    """The threads of a warp or of a block, and how many of them can run."""

    def __init__(self):
        self.threads: list[Thread] = []
        self.running = 0


class Block(Group):
    """One block: its threads, its warps and its shared memory."""

    def __init__(self, launch, index):
        super().__init__()
        self.launch, self.index = launch, index
        self.coordinates = launch.grid.unravel(index)
        self.shared: dict[int, object] = {}  # site → array
        self.dynamic = None  # (region, bytes) of the dynamic shared memory
        self.epoch = 0
        for position in range(launch.block.size):
            if position % WARP_SIZE == 0:
                warp = Group()
            if launch.warps is not None and position // WARP_SIZE not in launch.warps:
                continue
            thread = Thread(self, warp, position)
            self.threads.append(thread)
            warp.threads.append(thread)
            warp.running += 1
        self.running = len(self.threads)


class InOrder:
    """Thread 0 runs until it waits, then thread 1, …; one block after the other."""

    blocks = 1  # at the same time
    quantum = 20_000  # requests at a stretch; after that another thread may have what this one waits for

    def choose(self, ready):
        """Return the position of the next thread and how many requests it may make."""
        return 0, self.quantum


class Lockstep(InOrder):
    """Every thread in turn makes one request: the kind order, where a missing barrier often does no harm."""

    blocks = 8
    quantum = 1


class Villain:
    """A random order drawn from a seed, and meant to hurt: blocks overlap, threads stop at bad moments."""

    blocks = 4

    def __init__(self, seed):
        self.draw = random.Random(seed).random
        self.style = seed % 4

    def choose(self, ready):
        """Return the position of the next thread and how many requests it may make."""
        if self.style == 1:  # the last thread first, now and then interrupted
            return len(ready) - 1, 1 if self.draw() < 0.1 else 1000
        position = int(self.draw() * len(ready))
        if self.style == 0:  # another thread after every access
            return position, 1
        if self.style == 2:  # short bursts
            return position, 1 + int(self.draw() * 4)
        return position, 1 if self.draw() < 0.5 else 1000  # some are held up while others finish


class Launch:
    """One launch: `run()` runs every block to its end, or only some `blocks`, and some `warps` of each.

    Attributes
    ----------
    complete : bool
        False if it was stopped in a loop that does not end.
    """

    def __init__(self, program, memory, grid, block, args, policy, shared_bytes, limit, some=(None, None)):
        self.program, self.memory = program, memory
        self.grid, self.block, self.args = grid, block, args
        self.policy, self.shared_bytes, self.limit = policy, shared_bytes, limit
        blocks, self.warps = some
        self.chosen = range(grid.size) if blocks is None else blocks
        self.steps = 0
        self.busiest: Thread | None = None  # of the threads that have not finished
        self.complete = True

    def run(self):
        """Run all blocks, a few of them at a time."""
        if len(self.chosen) * self.block.size > self.limit:
            raise self._too_large(f"has {len(self.chosen) * self.block.size:,} threads")
        started, blocks, ready, window = 0, [], [], self.policy.blocks
        while self.complete:
            while started < len(self.chosen) and len(blocks) < window:
                blocks.append(Block(self, self.chosen[started]))
                ready += blocks[-1].threads
                started += 1
            if not blocks:
                return
            position, quantum = self.policy.choose(ready)
            thread = ready[position]
            self.busiest = self.busiest or thread
            if self._resume(thread, quantum):
                ready.append(ready.pop(position))  # the others first
                if quantum == InOrder.quantum:
                    window += 1  # it may wait for a block that has not started
                    if (started == len(self.chosen) or window > MOST_WAITING) and self._spinning(
                        thread, ready
                    ):
                        self._give_up(thread, thread.loop)
                continue
            thread.spun_from = None
            ready.pop(position)
            block, warp = thread.block, thread.warp
            warp.running -= 1
            block.running -= 1
            released = [] if warp.running else barriers.settle_warp(warp, self)
            if not released and not block.running:
                released = barriers.settle_block(block, self)
                if not released:
                    blocks.remove(block)
            for thread in released:
                thread.warp.running += 1
                block.running += 1
            ready += released

    def _resume(self, thread, quantum) -> bool:
        """Answer up to `quantum` requests of a thread; False when it waits or has finished."""
        send, answer, request = thread.generator.send, thread.answer, (STEP, 0)
        read, write = self.memory.read, self.memory.write
        try:
            for count in range(1, quantum + 1):  # noqa: B007
                request = send(answer)
                operation = request[0]
                if operation == READ:
                    answer = read(thread, request[1], request[2], request[3], request[4])
                elif operation == WRITE:
                    answer = write(thread, request[1], request[2], request[3], request[4], request[5])
                elif operation == ATOMIC:
                    answer = self.memory.atomic(thread, *request[1:])
                elif operation == ALLOCATE:
                    answer = self._allocate(thread, *request[1:])
                elif operation == STEP:
                    answer, thread.loop = None, request[1]
                    self._count(thread, TRIPS_PER_STEP, request[1])
                    if not self.complete:
                        return False
                else:
                    self.memory.record(thread, request[1], request[2], -1, -1, 0.0)
                    thread.request, thread.answer = request, None
                    return False
            thread.answer = answer
            return True
        except StopIteration:
            pass
        except UnsupportedKernel as refused:
            line = _line_of(refused) or self.program.site(request[1]).line
            raise UnsupportedKernel(f"line {line}: {refused}") from None
        except LimitReached:
            raise
        except Exception as error:
            thread.raised = True
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            site = -_line_of(error) or request[1]  # one raised by an access has left the kernel's own code
            self.memory.problem("exception", "", None, site, [thread.number], (said,))
        finally:
            self._count(thread, count, request[1])
        thread.finished = True
        return False

    def _count(self, thread, steps, site):
        """Stop a launch that is too large, or whose threads do not come to an end."""
        self.steps += steps
        thread.steps += steps
        if thread.steps > self.busiest.steps or self.busiest.finished:
            self.busiest = thread
        if thread.block.epoch > max(self.limit // 500, MOST_BARRIERS):
            self._give_up(thread, site)
        elif self.steps > self.limit:
            looping = self.busiest.steps > min(InOrder.quantum, self.limit // 50)
            looping |= thread.block.epoch * self.block.size > self.limit // 8
            if not looping and not self._repeats(len(self.memory.accesses.site) - InOrder.quantum):
                raise self._too_large(f"makes more than {self.limit:,} accesses")
            thread, site = (self.busiest, self.busiest.loop) if self.busiest.loop else (thread, site)
            self._give_up(thread, site)

    def _too_large(self, how):
        return LimitReached(
            f"the launch {how}, and the tracer's limit is {self.limit:,}: trace a smaller one (a few blocks "
            "show what a thousand do), or pass a higher limit="
        )

    def _give_up(self, thread, site):
        if self.complete:
            lines = (self.program.site(site).line, self.program.site(thread.loop or site).line)
            detail = (thread.steps, thread.block.epoch, lines)
            self.memory.problem("endless-loop", "", None, site, [thread.number], detail)
        self.complete = False

    def _spinning(self, thread, ready) -> bool:
        """Whether all threads that can run have run for long, and only asked the same again and again."""
        rows = len(self.memory.accesses.site)
        thread.spun_from = rows - InOrder.quantum
        if any(other.spun_from is None for other in ready) or not self._repeats(thread.spun_from):
            return False
        return self._repeats(min(other.spun_from for other in ready))

    def _repeats(self, start) -> bool:
        rows = self.memory.accesses
        start = max(start, 0)
        columns = [
            np.frombuffer(column, np.int64)[start:].copy() for column in (rows.site, rows.cell, rows.value)
        ]
        if not len(columns[0]):
            return False
        mixed = columns[0] * 1_000_003 + columns[1] * 10_007 + columns[2]
        return len(np.unique(mixed)) <= 4 * self.block.size

    def _allocate(self, thread, site, trip, space, shape, dtype):
        dtype, name, block = dtype_of(dtype), self.program.site(site).text, thread.block
        shape = shape if isinstance(shape, tuple) else (shape,)
        if space != SHARED:
            return self.memory.local(shape, dtype, name)
        if site & SITE not in block.shared:
            block.shared[site & SITE] = self._allocate_shared(block, shape, dtype, name)
        return block.shared[site & SITE]

    def _allocate_shared(self, block, shape, dtype, name):
        if shape != (0,):
            return self.memory.add(np.full(shape, poison(dtype), dtype), name, SHARED, block=block.index)
        # Dynamic shared memory: every array of shape 0 is the same bytes, as many as the launch asked for.
        room = np.zeros(self.shared_bytes, np.uint8) if block.dynamic is None else block.dynamic[1]
        values = room[: len(room) // dtype.itemsize * dtype.itemsize].view(dtype)
        if block.dynamic is None:
            block.dynamic = len(self.memory.arrays), room
            values[:] = poison(dtype)
        return self.memory.add(values, name, SHARED, block.dynamic[0], block.index)


def _line_of(error) -> int:
    """The last line of the kernel's own source in a traceback; only rewritten functions have a `_thread_`."""
    line, traceback = 0, error.__traceback__
    while traceback is not None:
        if "_thread_" in traceback.tb_frame.f_locals:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
