"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import numpy as np
from numba import float32, int32

from minidl.hardware.cuda import cuda

THREADS = 32


# %% turned wrong: between the two stands a barrier


@cuda.jit
def turned(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    cuda.syncthreads()
    tile[t] = a[i] if i < a.size else float32(0)
    if i < out.size:
        out[i] = tile[31 - t]


# %% turned wrong: divergent barrier


@cuda.jit
def turned(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
        cuda.syncthreads()
        out[i] = tile[31 - t]


# %% turned wrong: out of bounds


@cuda.jit
def turned(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    if i < out.size:
        out[i] = tile[32 - t]


# %% turned wrong: uninitialised read


@cuda.jit
def turned(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    cuda.syncthreads()
    if i < out.size:
        out[i] = tile[31 - t]


# %% turned right


@cuda.jit
def turned(out, a):
    """The other way round: turned when it is filled."""
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[31 - t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    if i < out.size:
        out[i] = tile[t]


# %% count_votes wrong: a vote is lost in between


@cuda.jit
def count_votes(out, votes):
    i = cuda.grid(1)
    if i < votes.size:
        old = out[votes[i]]
        out[votes[i]] = old + 1


# %% count_votes wrong: a vote is lost in between


@cuda.jit
def count_votes(out, votes):
    i = cuda.grid(1)
    cuda.syncthreads()
    if i < votes.size:
        out[votes[i]] += 1
    cuda.syncthreads()


# %% count_votes wrong: values are wrong


@cuda.jit
def count_votes(out, votes):
    i = cuda.grid(1)
    if i < votes.size:
        cuda.atomic.max(out, votes[i], 1)


# %% count_votes wrong: out of bounds


@cuda.jit
def count_votes(out, votes):
    i = cuda.grid(1)
    cuda.atomic.add(out, votes[i], 1)


# %% count_votes right


@cuda.jit
def count_votes(out, votes):
    """Each block counts by itself first."""
    mine = cuda.shared.array(10, int32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if t < 10:
        mine[t] = 0
    cuda.syncthreads()
    if i < votes.size:
        cuda.atomic.add(mine, votes[i], 1)
    cuda.syncthreads()
    if t < 10:
        cuda.atomic.add(out, t, mine[t])


# %% running_totals wrong: Read, wait, write, wait


@cuda.jit
def running_totals(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    step = 1
    while step < THREADS:
        cuda.syncthreads()
        more = tile[t - step] if t >= step else float32(0)
        tile[t] += more
        cuda.syncthreads()
        step *= 2
    if i < out.size:
        out[i] = tile[t]


# %% running_totals wrong: divergent barrier


@cuda.jit
def running_totals(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = 1
    while step < THREADS:
        if t >= step:
            more = tile[t - step]
            cuda.syncthreads()
            tile[t] += more
        cuda.syncthreads()
        step *= 2
    if i < out.size:
        out[i] = tile[t]


# %% running_totals wrong: The number itself is missing


@cuda.jit
def running_totals(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = 1
    while step < THREADS:
        more = tile[t - step] if t >= step else float32(0)
        cuda.syncthreads()
        tile[t] += more
        cuda.syncthreads()
        step *= 2
    if i < out.size:
        out[i] = tile[t - 1] if t > 0 else float32(0)


# %% running_totals wrong: Five steps are enough


@cuda.jit
def running_totals(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    total = float32(0)
    for cell in range(t + 1):
        total += tile[cell]
    if i < out.size:
        out[i] = total


# %% running_totals wrong: race


@cuda.jit
def running_totals(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = 1
    while step < THREADS:
        more = tile[t - step] if t >= step else float32(0)
        cuda.syncthreads()
        tile[t] += more
        step *= 2
    if i < out.size:
        out[i] = tile[t]


# %% running_totals right


@cuda.jit
def running_totals(out, a):
    """Two tiles in turn."""
    tile = cuda.shared.array((2, THREADS), "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    side = 0
    tile[0, t] = a[i] if i < a.size else float32(0)
    for level in range(5):
        cuda.syncthreads()
        step = 1 << level
        total = tile[side, t]
        if t >= step:
            total += tile[side, t - step]
        side = 1 - side
        tile[side, t] = total
    if i < out.size:
        out[i] = tile[side, t]


# %% edges wrong: divergent barrier


@cuda.jit
def edges(out, a):
    tile = cuda.shared.array(33, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t + 1] = a[i]
        if t == 0:
            tile[0] = a[i - 1] if i > 0 else float32(0)
        cuda.syncthreads()
        out[i] = tile[t + 1] - tile[t]


# %% edges wrong: race


@cuda.jit
def edges(out, a):
    tile = cuda.shared.array(33, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i >= out.size:
        return
    tile[t + 1] = a[i]
    if t == 0:
        tile[0] = a[i - 1] if i > 0 else float32(0)
    out[i] = tile[t + 1] - tile[t]


# %% edges wrong: has a left neighbour too


@cuda.jit
def edges(out, a):
    tile = cuda.shared.array(33, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t + 1] = a[i]
    if t == 0:
        tile[0] = 0
    cuda.syncthreads()
    if i < out.size:
        out[i] = tile[t + 1] - tile[t]


# %% edges wrong: out of bounds


@cuda.jit
def edges(out, a):
    tile = cuda.shared.array(33, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t + 1] = a[i]
    if t == 0:
        tile[0] = a[i - 1]
    cuda.syncthreads()
    if i < out.size:
        out[i] = tile[t + 1] - tile[t]


# %% edges right


@cuda.jit
def edges(out, a):
    """Without shared memory: two reads do it."""
    i = cuda.grid(1)
    if i < out.size:
        left = a[i - 1] if i > 0 else float32(0)
        out[i] = a[i] - left


# %% brightest wrong: All blocks write to one cell


@cuda.jit
def brightest(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(-np.inf)
    cuda.syncthreads()
    step = 16
    while step > 0:
        if t < step:
            tile[t] = max(tile[t], tile[t + step])
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[0] = tile[0]


# %% brightest wrong: divergent barrier


@cuda.jit
def brightest(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(-np.inf)
    cuda.syncthreads()
    step = 16
    while step > 0:
        if t < step:
            tile[t] = max(tile[t], tile[t + step])
            cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


# %% brightest wrong: race


@cuda.jit
def brightest(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(-np.inf)
    cuda.syncthreads()
    step = 16
    while step > 0:
        if t < step:
            tile[t] = max(tile[t], tile[t + step])
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


# %% brightest wrong: expected -


@cuda.jit
def brightest(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = 16
    while step > 0:
        if t < step:
            tile[t] = max(tile[t], tile[t + step])
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


# %% brightest right


@cuda.jit
def brightest(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(-np.inf)
    for level in (1, 2, 4, 8, 16):
        cuda.syncthreads()
        if t % (2 * level) == 0 and tile[t + level] > tile[t]:
            tile[t] = tile[t + level]
    if t == 0:
        out[i // THREADS] = tile[t]


# %% smoothed wrong: in the same round


@cuda.jit
def smoothed(out, a, rounds):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    for _ in range(rounds):
        cuda.syncthreads()
        if t < 31:
            tile[t] = (tile[t] + tile[t + 1]) * float32(0.5)
        cuda.syncthreads()
    if i < out.size:
        out[i] = tile[t]


# %% smoothed wrong: divergent barrier


@cuda.jit
def smoothed(out, a, rounds):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    for _ in range(rounds):
        if t < 31:
            mean = (tile[t] + tile[t + 1]) * float32(0.5)
            cuda.syncthreads()
            tile[t] = mean
        cuda.syncthreads()
    if i < out.size:
        out[i] = tile[t]


# %% smoothed wrong: race


@cuda.jit
def smoothed(out, a, rounds):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    mean = tile[t]
    for _ in range(rounds):
        if t < 31:
            mean = (tile[t] + tile[t + 1]) * float32(0.5)
        cuda.syncthreads()
        tile[t] = mean
    if i < out.size:
        out[i] = tile[t]


# %% smoothed wrong: Only one round was made


@cuda.jit
def smoothed(out, a, rounds):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    mean = tile[t]
    if t < 31:
        mean = (tile[t] + tile[t + 1]) * float32(0.5)
    if i < out.size:
        out[i] = mean


# %% smoothed right


@cuda.jit
def smoothed(out, a, rounds):
    """One tile and two barriers."""
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    for _ in range(rounds):
        mean = tile[t]
        if t + 1 < THREADS:
            mean = (mean + tile[t + 1]) * float32(0.5)
        cuda.syncthreads()
        tile[t] = mean
        cuda.syncthreads()
    if i < out.size:
        out[i] = tile[t]


# %% find_the_input wrong: Only thread 31 writes
breaking = np.arange(32)

# %% find_the_input wrong: its shape is (33,)
breaking = np.ones(33)

# %% find_the_input wrong: With NaN in it nobody
breaking = np.full(32, np.nan)

# %% find_the_input wrong: must be an array of 32 numbers
breaking = "two equal numbers"

# %% find_the_input right
breaking = [*range(31), 30]

# %% find_the_order wrong: this order leaves 2
order = [1, 1, 0, 0]

# %% find_the_order wrong: in this order it gets 3 turns
order = [0, 1, 0, 0]

# %% find_the_order wrong: threads have the numbers 0 to 1
order = [1, 2, 1, 2]

# %% find_the_order wrong: an order is a list of thread numbers
order = "first 0, then 1"

# %% find_the_order right
order = (1, 0, 0, 1)

# %% find_the_worst_order wrong: this order leaves 9
worst_order = [0] * 6 + [1] * 6 + [2] * 6

# %% find_the_worst_order wrong: this order leaves 3
worst_order = [0, 1, 2] * 6

# %% find_the_worst_order wrong: in this order it gets 2 turns
worst_order = [0, 1, 0, 1]

# %% find_the_worst_order right
worst_order = np.array([2, *[1] * 6, 0, 0, 0, 0, 2, 0, 2, 2, 2, 2, 0])
