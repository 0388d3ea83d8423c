"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import math

import numpy as np
from numba import float32

from minidl.hardware.cuda import cuda

THREADS = 32

# %% by_hand wrong: Cell 0 gets cell 4, four places further on
after_first, after_second, after_third, steps_for_1024 = 4, 14, 31, 10

# %% by_hand wrong: Cell 2 is no longer 4
after_first, after_second, after_third, steps_for_1024 = 8, 12, 31, 10

# %% by_hand wrong: That is a loop's way
after_first, after_second, after_third, steps_for_1024 = 8, 14, 31, 1023

# %% by_hand wrong: That is how many threads work in the first step
after_first, after_second, after_third, steps_for_1024 = 8, 14, 31, 512

# %% by_hand right
after_first, after_second, after_third, steps_for_1024 = 8.0, np.int64(14), 31, math.log2(1024)

# %% leaky wrong: That is the plain ReLU


@cuda.jit
def leaky(out, a):
    i = cuda.grid(1)
    if i < a.size:
        x = a[i]
        out[i] = x if x > 0 else float32(0)


# %% leaky wrong: out of bounds


@cuda.jit
def leaky(out, a):
    i = cuda.grid(1)
    x = a[i]
    out[i] = x if x > 0 else float32(0.2) * x


# %% leaky wrong: too many global reads: got 2 per thread, 1 is enough


@cuda.jit
def leaky(out, a):
    i = cuda.grid(1)
    if i < a.size:
        out[i] = a[i] if a[i] > 0 else float32(0.2) * a[i]


# %% leaky wrong: expected nan


@cuda.jit
def leaky(out, a):
    i = cuda.grid(1)
    if i < a.size:
        x = a[i]
        if x > 0:
            out[i] = x
        elif x < 0:
            out[i] = float32(0.2) * x
        else:
            out[i] = 0


# %% leaky right


@cuda.jit
def leaky(out, a):
    for i in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        x = a[i]
        if not x > 0:
            x *= float32(0.2)
        out[i] = x


# %% blend wrong: a and b are exchanged


@cuda.jit
def blend(out, a, b, t):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = t * a[i] + (1 - t) * b[i]


# %% blend wrong: That is a + t b


@cuda.jit
def blend(out, a, b, t):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = a[i] + t * b[i]


# %% blend wrong: too many global reads: got 3


@cuda.jit
def blend(out, a, b, t):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = a[i] + t * (b[i] - a[i])


# %% blend wrong: race


@cuda.jit
def blend(out, a, b, t):
    i = cuda.threadIdx.x
    if i < out.size:
        out[i] = (1 - t) * a[i] + t * b[i]


# %% blend right


@cuda.jit
def blend(out, a, b, t):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i >= b.size:
        return
    out[i] = (1 - t) * a[i] + t * b[i]


# %% add_bias wrong: out of bounds


@cuda.jit
def add_bias(out, a, bias):
    column, row = cuda.grid(2)
    if row < out.shape[0]:
        out[row, column] = a[row, column] + bias[column]


# %% add_bias wrong: were never written


@cuda.jit
def add_bias(out, a, bias):
    row, column = cuda.grid(2)
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = a[row, column] + bias[column]


# %% add_bias wrong: The bias belongs to the columns


@cuda.jit
def add_bias(out, a, bias):
    column, row = cuda.grid(2)
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = a[row, column] + bias[row]


# %% add_bias wrong: were never written


@cuda.jit
def add_bias(out, a, bias):
    column, row = cuda.threadIdx.x, cuda.threadIdx.y
    if row < out.shape[0] and column < out.shape[1] and cuda.blockIdx.x + cuda.blockIdx.y == 0:
        out[row, column] = a[row, column] + bias[column]


# %% add_bias right


@cuda.jit
def add_bias(out, a, bias):
    j = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    i = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    m, n = a.shape
    if i >= m or j >= n:
        return
    out[i, j] = bias[j] + a[i, j]


# %% block_sums wrong: too many shared reads


@cuda.jit
def block_sums(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    if t == 0:
        total = float32(0)
        for k in range(THREADS):
            total += tile[k]
        out[cuda.blockIdx.x] = total


# %% block_sums wrong: race


@cuda.jit
def block_sums(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
        step //= 2
    cuda.syncthreads()
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


# %% block_sums wrong: divergent barrier


@cuda.jit
def block_sums(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
            cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


# %% block_sums wrong: The last level of the tree is missing


@cuda.jit
def block_sums(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = THREADS // 2
    while step > 1:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


# %% block_sums wrong: out of bounds


@cuda.jit
def block_sums(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i]
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


# %% block_sums wrong: uninitialised read


@cuda.jit
def block_sums(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


# %% block_sums right


@cuda.jit
def block_sums(out, a):
    """Neighbours first, and two numbers for the first level without shared memory's help."""
    tile = cuda.shared.array(32, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = float32(0)
    if i < a.size:
        tile[t] = a[i]
    step = 1
    while step < 32:
        cuda.syncthreads()
        if t % (2 * step) == 0:
            tile[t] += tile[t + step]
        step *= 2
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


# %% block_sums right


@cuda.jit
def block_sums(out, a):
    """The 32 threads of a block are one warp, which can hand numbers on without memory."""
    i = cuda.grid(1)
    mine = a[i] if i < a.size else float32(0)
    for step in (16, 8, 4, 2, 1):
        mine += cuda.shfl_down_sync(0xFFFFFFFF, mine, step)
    if cuda.threadIdx.x == 0:
        out[cuda.blockIdx.x] = mine


# %% total wrong: cuda.atomic.add(out, 0, value) reads, adds and writes as one


@cuda.jit
def total(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t = cuda.threadIdx.x
    mine = float32(0)
    for k in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        mine += a[k]
    tile[t] = mine
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[0] += tile[0]


# %% total wrong: too many atomics: got 128 in all


@cuda.jit
def total(out, a):
    mine = float32(0)
    for k in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        mine += a[k]
    cuda.atomic.add(out, 0, mine)


# %% total wrong: Only the first 128 numbers were added


@cuda.jit
def total(out, a):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        cuda.atomic.add(out, 0, tile[0])


# %% total wrong: too many global reads


@cuda.jit
def total(out, a):
    if cuda.grid(1) == 0:
        mine = float32(0)
        for k in range(a.size):
            mine += a[k]
        cuda.atomic.add(out, 0, mine)


# %% total right


@cuda.jit
def total(out, a):
    """Each thread takes a piece of its own, from one end to the other."""
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    piece = (a.size + 127) // 128
    mine = float32(0)
    for k in range(i * piece, min((i + 1) * piece, a.size)):
        mine += a[k]
    tile[t] = mine
    for level in range(4, -1, -1):
        cuda.syncthreads()
        if t < 1 << level:
            tile[t] += tile[t + (1 << level)]
    if t == 0 and tile[0] != 0:
        cuda.atomic.add(out, 0, tile[0])


# %% squared_error wrong: The differences were not squared


@cuda.jit
def squared_error(out, a, b):
    tile = cuda.shared.array(THREADS, "float32")
    t = cuda.threadIdx.x
    mine = float32(0)
    for k in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        y = b[k]
        if y == y:
            mine += a[k] - y
    tile[t] = mine
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        cuda.atomic.add(out, 0, tile[0])


# %% squared_error wrong: out[0] is nan


@cuda.jit
def squared_error(out, a, b):
    tile = cuda.shared.array(THREADS, "float32")
    t = cuda.threadIdx.x
    mine = float32(0)
    for k in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        mine += (a[k] - b[k]) ** 2
    tile[t] = mine
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        cuda.atomic.add(out, 0, tile[0])


# %% squared_error wrong: too many global reads


@cuda.jit
def squared_error(out, a, b):
    tile = cuda.shared.array(THREADS, "float32")
    t = cuda.threadIdx.x
    mine = float32(0)
    for k in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        if b[k] == b[k]:
            mine += (a[k] - b[k]) * (a[k] - b[k])
    tile[t] = mine
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        cuda.atomic.add(out, 0, tile[0])


# %% squared_error right


@cuda.jit(device=True)
def square(x):
    return x * x


@cuda.jit
def squared_error(out, a, b):
    tile = cuda.shared.array(THREADS, "float32")
    t = cuda.threadIdx.x
    mine = float32(0)
    for k in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        y = b[k]
        if not math.isnan(y):
            mine += square(a[k] - y)
    tile[t] = mine
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        cuda.atomic.add(out, 0, tile[0])
