"""Correct kernels of many kinds, at sizes that do not divide their blocks: the tracer must not complain.

Each is followed by a function that returns its launch and, from NumPy, what it must compute. `CASES` collects
them.
"""

import math

import numba
import numpy as np
from numba import complex64, float32, int32
from numba import cuda as gpu

from minidl.hardware.cuda import cuda

TPB = 32
TILE = 8
PADDED = 9
BINS = 10
ORDER = (4, 2)
WEIGHTS = np.array([0.25, 0.5, 0.25], np.float32)
FULL = 0xFFFFFFFF

CASES = []


def case(build):
    """Collect `build() → (kernel, grid, block, args, {argument position: expected}[, shared bytes])`."""
    CASES.append(build)
    return build


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def empty(*shape, dtype=np.float32):
    return np.full(shape, 77, dtype)


# -- maps ----------------------------------------------------------------------------------------------------


@cuda.jit
def add_kernel(out, a, b):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = a[i] + b[i]


@case
def add():
    a, b = numbers(1000), numbers(1000, seed=1)
    return add_kernel, 8, 128, (empty(1000), a, b), {0: a + b}


@cuda.jit
def saxpy_kernel(y, x, alpha, n):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i >= n:
        return
    y[i] += alpha * x[i]


@case
def saxpy():
    y, x = numbers(77), numbers(77, seed=1)
    return saxpy_kernel, 3, 32, (y.copy(), x, np.float32(1.5), np.int32(77)), {0: y + np.float32(1.5) * x}


@cuda.jit
def grid_stride_kernel(out, a):
    start = cuda.grid(1)
    for i in range(start, a.size, cuda.gridsize(1)):
        out[i] = math.sqrt(abs(a[i]))


@case
def grid_stride():
    a = numbers(333)
    return grid_stride_kernel, 2, 40, (empty(333), a), {0: np.sqrt(abs(a))}


@cuda.jit
def while_stride_kernel(out, a):
    i = cuda.grid(1)
    while i < a.shape[0]:
        out[i] = math.exp(a[i])
        i += cuda.blockDim.x * cuda.gridDim.x


@case
def while_stride():
    a = numbers(101)
    return while_stride_kernel, 2, 24, (empty(101), a), {0: np.exp(a)}


@cuda.jit
def matrix_add_kernel(out, a, b):
    j, i = cuda.grid(2)
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j] = a[i, j] + b[i, j]


@case
def matrix_add():
    a, b = numbers(37, 53), numbers(37, 53, seed=1)
    return matrix_add_kernel, (4, 5), (16, 8), (empty(37, 53), a, b), {0: a + b}


@cuda.jit
def tensor_scale_kernel(out, a, factor):
    x, y, z = cuda.grid(3)
    if x < a.shape[2] and y < a.shape[1] and z < a.shape[0]:
        out[z][y][x] = a[z][y, x] * factor


@case
def tensor_scale():
    a = numbers(5, 6, 7)
    args = (empty(5, 6, 7), a, np.float32(3))
    return tensor_scale_kernel, (2, 3, 3), (4, 2, 2), args, {0: a * 3}


@cuda.jit
def where_kernel(out, mask, a, b):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = a[i] if mask[i] else b[i]


@case
def where():
    mask, a, b = numbers(50) > 0, numbers(50, seed=1), numbers(50, seed=2)
    return where_kernel, 2, 32, (empty(50), mask, a, b), {0: np.where(mask, a, b)}


@cuda.jit
def half_kernel(out, a):
    i = cuda.grid(1)
    if i < a.size:
        out[i] = a[i] + a[i]


@case
def half():
    a = numbers(45).astype(np.float16)
    return half_kernel, 2, 32, (empty(45, dtype=np.float16), a), {0: a + a}


@cuda.jit
def mandelbrot_kernel(counts, points):
    i = cuda.grid(1)
    if i < points.size:
        c = points[i]
        z = complex64(0)
        n = 0
        while n < 20 and z.real * z.real + z.imag * z.imag < float32(4):
            z = z * z + c
            n += 1
        counts[i] = n


@case
def mandelbrot():
    points = (numbers(40) * 2 + 1j * numbers(40, seed=1)).astype(np.complex64)
    expected = np.zeros(40, np.int32)
    for i, c in enumerate(points):
        z = np.complex64(0)
        while expected[i] < 20 and z.real * z.real + z.imag * z.imag < 4:
            z, expected[i] = z * z + c, expected[i] + 1
    return mandelbrot_kernel, 2, 32, (empty(40, dtype=np.int32), points), {0: expected}


@cuda.jit
def collatz_kernel(steps, start):
    i = cuda.grid(1)
    if i >= start.size:
        return
    n, count = start[i], 0
    while n != 1:
        if n % 2 == 0:
            n //= 2
        else:
            n = 3 * n + 1
        count += 1
    steps[i] = count


@case
def collatz():
    start = np.arange(1, 60)
    expected = []
    for n in start.tolist():
        count = 0
        while n != 1:
            n, count = (n // 2 if n % 2 == 0 else 3 * n + 1), count + 1
        expected.append(count)
    return collatz_kernel, 2, 32, (empty(59, dtype=np.int64), start), {0: np.array(expected)}


@cuda.jit
def hash_kernel(out, keys):
    i = cuda.grid(1)
    if i < keys.size:
        h = np.uint32(keys[i])
        h = np.uint32(h ^ (h >> 16)) * 2146121005
        h = np.uint32(h)
        h = np.uint32((h ^ (h >> 15)) * 2221713035)
        out[i] = h ^ (h >> 16)


@case
def hash_():
    keys = np.arange(70, dtype=np.uint32)
    h = keys ^ (keys >> np.uint32(16))
    h = (h * np.uint32(2146121005)).astype(np.uint32)
    h = ((h ^ (h >> np.uint32(15))) * np.uint32(2221713035)).astype(np.uint32)
    return hash_kernel, 3, 32, (empty(70, dtype=np.uint32), keys), {0: h ^ (h >> np.uint32(16))}


@cuda.jit
def scatter_kernel(out, a, order):
    i = cuda.grid(1)
    if i < a.size:
        out[order[i]] = a[i]


@case
def scatter():
    a, order = numbers(90), np.random.default_rng(3).permutation(90).astype(np.int32)
    expected = np.empty(90, np.float32)
    expected[order] = a
    return scatter_kernel, 3, 32, (empty(90), a, order), {0: expected}


@cuda.jit
def strided_kernel(out, a, b):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = a[i] - b[i]


@case
def strided():
    a, b = numbers(100)[::-2], numbers(50, 3, seed=1)[:, 1]
    return strided_kernel, 2, 32, (empty(100)[::2], a, b), {0: a - b}


# -- sums and products over rows -----------------------------------------------------------------------------


@cuda.jit
def matmul_kernel(out, a, b):
    i, j = cuda.grid(2)
    if i < out.shape[0] and j < out.shape[1]:
        total = float32(0)
        for k in range(a.shape[1]):
            total += a[i, k] * b[k, j]
        out[i, j] = total


@case
def matmul():
    a, b = numbers(13, 11), numbers(11, 9, seed=1)
    return matmul_kernel, (2, 3), (8, 4), (empty(13, 9), a, b), {0: a @ b}


@cuda.jit
def matmul_tiled_kernel(out, a, b):
    left = cuda.shared.array((TILE, TILE), float32)
    right = cuda.shared.array(shape=(TILE, TILE), dtype=float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    i, j = cuda.blockIdx.y * TILE + y, cuda.blockIdx.x * TILE + x
    total = float32(0)
    for tile in range((a.shape[1] + TILE - 1) // TILE):
        k = tile * TILE
        left[y, x] = a[i, k + x] if i < a.shape[0] and k + x < a.shape[1] else float32(0)
        right[y, x] = b[k + y, j] if k + y < b.shape[0] and j < b.shape[1] else float32(0)
        cuda.syncthreads()
        for n in range(TILE):
            total += left[y, n] * right[n, x]
        cuda.syncthreads()
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j] = total


@case
def matmul_tiled():
    a, b = numbers(19, 21), numbers(21, 13, seed=1)
    return matmul_tiled_kernel, (2, 3), (TILE, TILE), (empty(19, 13), a, b), {0: a @ b}


@cuda.jit
def matmul_double_buffered_kernel(out, a, b):
    left = cuda.shared.array((2, TILE, TILE), float32)
    right = cuda.shared.array((2, TILE, TILE), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    j, i = cuda.grid(2)
    tiles = (a.shape[1] + TILE - 1) // TILE
    total = float32(0)
    for tile in range(tiles + 1):
        if tile < tiles:  # fetch the next tile into one buffer …
            k, to = tile * TILE, tile % 2
            left[to, y, x] = a[i, k + x] if i < a.shape[0] and k + x < a.shape[1] else float32(0)
            right[to, y, x] = b[k + y, j] if k + y < b.shape[0] and j < b.shape[1] else float32(0)
        if tile > 0:  # … while the other is used
            of = (tile - 1) % 2
            for n in range(TILE):
                total += left[of, y, n] * right[of, n, x]
        cuda.syncthreads()
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j] = total


@case
def matmul_double_buffered():
    a, b = numbers(9, 30), numbers(30, 10, seed=1)
    return matmul_double_buffered_kernel, (2, 2), (TILE, TILE), (empty(9, 10), a, b), {0: a @ b}


@cuda.jit
def matvec_warp_kernel(out, a, x):
    row = cuda.grid(1) // 32
    lane = cuda.laneid
    if row < a.shape[0]:
        total = float32(0)
        for k in range(lane, a.shape[1], 32):
            total += a[row, k] * x[k]
        step = 16
        while step > 0:
            total += cuda.shfl_xor_sync(FULL, total, step)
            step //= 2
        if lane == 0:
            out[row] = total


@case
def matvec_warp():
    a, x = numbers(7, 45), numbers(45, seed=1)
    return matvec_warp_kernel, 4, 64, (empty(7), a, x), {0: a @ x}


@cuda.jit
def softmax_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    row, t = cuda.blockIdx.x, cuda.threadIdx.x
    top = float32(-math.inf)
    for j in range(t, a.shape[1], TPB):
        top = max(top, a[row, j])
    s[t] = top
    cuda.syncthreads()
    step = TPB // 2
    while step > 0:
        if t < step:
            s[t] = max(s[t], s[t + step])
        cuda.syncthreads()
        step //= 2
    top = s[0]
    cuda.syncthreads()
    total = float32(0)
    for j in range(t, a.shape[1], TPB):
        total += math.exp(a[row, j] - top)
    s[t] = total
    cuda.syncthreads()
    step = TPB // 2
    while step > 0:
        if t < step:
            s[t] += s[t + step]
        cuda.syncthreads()
        step //= 2
    for j in range(t, a.shape[1], TPB):
        out[row, j] = math.exp(a[row, j] - top) / s[0]


@case
def softmax():
    a = numbers(5, 45) * 4
    e = np.exp(a - a.max(1, keepdims=True))
    return softmax_kernel, 5, TPB, (empty(5, 45), a), {0: e / e.sum(1, keepdims=True)}


# -- reductions ----------------------------------------------------------------------------------------------


@cuda.jit
def block_sum_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    s[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = TPB // 2
    while step:
        if t < step:
            s[t] += s[t + step]
        cuda.syncthreads()
        step >>= 1
    if t == 0:
        out[cuda.blockIdx.x] = s[0]


def block_sums(a):
    return np.array([part.sum() for part in np.split(a, range(TPB, len(a), TPB))])


@case
def block_sum():
    a = numbers(77)
    return block_sum_kernel, 3, TPB, (empty(3), a), {0: block_sums(a)}


@cuda.jit
def block_sum_interleaved_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    s[t] = 0
    if i < a.size:
        s[t] = a[i]
    cuda.syncthreads()
    for k in range(5):
        if t % (2 << k) == 0:
            s[t] += s[t + (1 << k)]
        cuda.syncthreads()
    if t == 0:
        out[cuda.blockIdx.x] = s[t]


@case
def block_sum_interleaved():
    a = numbers(50)
    return block_sum_interleaved_kernel, 2, TPB, (empty(2), a), {0: block_sums(a)}


@cuda.jit
def warp_sum_kernel(out, a):
    sums = cuda.shared.array(2, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    value = a[i] if i < a.size else float32(0)
    for k in (16, 8, 4, 2, 1):
        value += cuda.shfl_down_sync(FULL, value, k)
    if t % 32 == 0:
        sums[t // 32] = value
    cuda.syncthreads()
    if t == 0:
        cuda.atomic.add(out, 0, sums[0] + sums[1])


@case
def warp_sum():
    a = numbers(150)
    return warp_sum_kernel, 3, 64, (np.zeros(1, np.float32), a), {0: a.sum(keepdims=True)}


@cuda.jit
def warp_sum_shared_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]
    cuda.syncwarp()
    step = 16
    while step:
        other = s[t + step] if t + step < TPB else float32(0)
        cuda.syncwarp()
        s[t] += other
        cuda.syncwarp()
        step >>= 1
    if t == 0:
        out[0] = s[0]


@case
def warp_sum_shared():
    a = numbers(32)
    return warp_sum_shared_kernel, 1, TPB, (empty(1), a), {0: a.sum(keepdims=True)}


@cuda.jit
def partial_warp_sum_kernel(out, a):
    t = cuda.threadIdx.x
    value = a[t]
    for k in (16, 8, 4, 2, 1):
        other = cuda.shfl_down_sync(FULL, value, k)
        if t + k < a.size:  # lanes beyond the block bring nothing
            value += other
    if t == 0:
        out[0] = value


@case
def partial_warp_sum():
    a = numbers(21)
    return partial_warp_sum_kernel, 1, 21, (empty(1), a), {0: a.sum(keepdims=True)}


@cuda.jit
def dot_kernel(out, a, b):
    partial = cuda.shared.array(1, float32)
    if cuda.threadIdx.x == 0:
        partial[0] = 0
    cuda.syncthreads()
    for i in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        cuda.atomic.add(partial, 0, a[i] * b[i])
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        cuda.atomic.add(out, 0, partial[0])


@case
def dot():
    a, b = numbers(130), numbers(130, seed=1)
    return dot_kernel, 3, 20, (np.zeros(1, np.float32), a, b), {0: np.array([a @ b])}


@cuda.jit
def extremes_kernel(low, high, a):
    i = cuda.grid(1)
    if i < a.size:
        cuda.atomic.min(low, 0, a[i])
        cuda.atomic.max(high, 0, a[i])


@case
def extremes():
    a = numbers(99)
    low, high = np.full(1, np.inf, np.float32), np.full(1, -np.inf, np.float32)
    return extremes_kernel, 4, 32, (low, high, a), {0: a.min(keepdims=True), 1: a.max(keepdims=True)}


# -- scans and sorts -----------------------------------------------------------------------------------------


@cuda.jit
def scan_kernel(out, a):
    """Hillis and Steele, between two buffers."""
    s = cuda.shared.array((2, TPB), float32)
    t = cuda.threadIdx.x
    now, step = 0, 1
    s[0, t] = a[t]
    cuda.syncthreads()
    while step < a.size:
        if t >= step:
            s[1 - now, t] = s[now, t] + s[now, t - step]
        else:
            s[1 - now, t] = s[now, t]
        now = 1 - now
        step *= 2
        cuda.syncthreads()
    out[t] = s[now, t]


@case
def scan():
    a = numbers(29)
    return scan_kernel, 1, 29, (empty(29), a), {0: np.cumsum(a)}


@cuda.jit
def scan_in_place_kernel(a):
    """One buffer, with a barrier between reading and writing."""
    s = cuda.shared.array(TPB, float32)
    t = cuda.threadIdx.x
    if t < a.size:
        s[t] = a[t]
    cuda.syncthreads()
    step = 1
    while step < a.size:
        value = float32(0)
        if step <= t < a.size:
            value = s[t - step]
        cuda.syncthreads()
        if t < a.size:
            s[t] += value
        cuda.syncthreads()
        step *= 2
    if t < a.size:
        a[t] = s[t]


@case
def scan_in_place():
    a = numbers(27)
    return scan_in_place_kernel, 1, TPB, (a.copy(),), {0: np.cumsum(a)}


@cuda.jit
def bitonic_kernel(a):
    s = cuda.shared.array(TPB, float32)
    t = cuda.threadIdx.x
    s[t] = a[t] if t < a.size else float32(math.inf)
    cuda.syncthreads()
    size = 2
    while size <= TPB:
        step = size // 2
        while step > 0:
            other = t ^ step
            if other > t and (s[t] > s[other]) == ((t & size) == 0):
                s[t], s[other] = s[other], s[t]
            cuda.syncthreads()
            step //= 2
        size *= 2
    if t < a.size:
        a[t] = s[t]


@case
def bitonic():
    a = numbers(27)
    return bitonic_kernel, 1, TPB, (a.copy(),), {0: np.sort(a)}


@cuda.jit
def compact_kernel(kept, count, a):
    """Keep the positive numbers, in order: ballots within a warp, a scan of the warps' counts."""
    counts = cuda.shared.array(2, int32)
    t = cuda.threadIdx.x
    keep = t < a.size and a[t] > 0
    votes = cuda.ballot_sync(FULL, keep)
    before = cuda.popc(votes & ((1 << (t % 32)) - 1))
    if t % 32 == 0:
        counts[t // 32] = cuda.popc(votes)
    cuda.syncthreads()
    if keep:
        kept[before + (counts[0] if t >= 32 else 0)] = a[t]
    if t == 0:
        count[0] = counts[0] + counts[1]


@case
def compact():
    a = numbers(50)
    kept = a[a > 0]
    return (
        compact_kernel,
        1,
        64,
        (empty(len(kept)), empty(1, dtype=np.int32), a),
        {0: kept, 1: np.array([len(kept)])},
    )


@cuda.jit
def small_sort_kernel(out, a):
    row = cuda.grid(1)
    if row >= a.shape[0]:
        return
    mine = cuda.local.array(5, float32)
    for j in range(5):
        mine[j] = a[row, j]
    for j in range(1, 5):
        value, k = mine[j], j - 1
        while k >= 0 and mine[k] > value:
            mine[k + 1] = mine[k]
            k -= 1
        mine[k + 1] = value
    for j in range(5):
        out[row, j] = mine[j]


@case
def small_sort():
    a = numbers(41, 5)
    return small_sort_kernel, 2, 32, (empty(41, 5), a), {0: np.sort(a, axis=1)}


# -- histograms and votes ------------------------------------------------------------------------------------


@cuda.jit
def histogram_kernel(bins, a):
    i = cuda.grid(1)
    if i < a.size:
        cuda.atomic.add(bins, a[i], 1)


@case
def histogram():
    a = np.random.default_rng(0).integers(0, BINS - 2, 100)
    args = (np.zeros(BINS, np.int32), a)
    return histogram_kernel, 4, 32, args, {0: np.bincount(a, minlength=BINS)}


@cuda.jit
def histogram_shared_kernel(bins, a):
    mine = cuda.shared.array(BINS, int32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    if t < BINS:
        mine[t] = 0
    cuda.syncthreads()
    if i < a.size:
        cuda.atomic.add(mine, a[i], 1)
    cuda.syncthreads()
    if t < BINS:
        cuda.atomic.add(bins, t, mine[t])


@case
def histogram_shared():
    a = np.random.default_rng(1).integers(0, BINS, 100)
    args = (np.zeros(BINS, np.int32), a)
    return histogram_shared_kernel, 4, 32, args, {0: np.bincount(a, minlength=BINS)}


@cuda.jit
def histogram_2d_kernel(bins, x, y):
    i = cuda.grid(1)
    if i < x.size:
        old = cuda.atomic.add(bins, (x[i], y[i]), 1)
        if old < 0:
            bins[0, 0] = -1


@case
def histogram_2d():
    x, y = np.random.default_rng(2).integers(0, 4, (2, 60))
    expected = np.zeros((4, 4), np.int64)
    np.add.at(expected, (x, y), 1)
    return histogram_2d_kernel, 2, 32, (np.zeros((4, 4), np.int64), x, y), {0: expected}


@cuda.jit
def votes_kernel(out, a):
    i, t = cuda.grid(1), cuda.threadIdx.x
    positive = int32(i < a.size and a[i] > 0)
    count = cuda.syncthreads_count(positive)
    everybody = cuda.syncthreads_and(positive)
    somebody = cuda.syncthreads_or(positive)
    if t == 0:
        out[cuda.blockIdx.x, 0] = count
        out[cuda.blockIdx.x, 1] = 1 if everybody else 0
        out[cuda.blockIdx.x, 2] = 1 if somebody else 0


@case
def votes():
    a = numbers(60)
    a[:20] = 1
    blocks = [a[i : i + 20] > 0 for i in range(0, 60, 20)]
    expected = np.array([[block.sum(), block.all(), block.any()] for block in blocks])
    return votes_kernel, 3, 20, (empty(3, 3, dtype=np.int32), a), {0: expected}


@cuda.jit
def unique_slots_kernel(slots, counter):
    """The old value that an atomic returns is everybody's own."""
    slot = cuda.atomic.add(counter, 0, 1)
    slots[slot] = slot


@case
def unique_slots():
    args = (empty(45, dtype=np.int64), np.zeros(1, np.int64))
    return unique_slots_kernel, 3, 15, args, {0: np.arange(45), 1: np.array([45])}


# -- windows -------------------------------------------------------------------------------------------------


def window_kernel(window):
    room = TPB + window

    @cuda.jit
    def sliding_kernel(out, a):
        s = cuda.shared.array(room, float32)
        i, t = cuda.grid(1), cuda.threadIdx.x
        if i < a.size:
            s[t] = a[i]
        if t < window - 1 and i + TPB < a.size:
            s[t + TPB] = a[i + TPB]
        cuda.syncthreads()
        if i < out.size:
            total = float32(0)
            for j in range(window):
                total += s[t + j]
            out[i] = total / float32(window)

    return sliding_kernel


@case
def sliding_average():
    a = numbers(101)
    expected = np.convolve(a, np.ones(5) / 5, "valid")
    return window_kernel(5), 4, TPB, (empty(97), a), {0: expected}


@cuda.jit
def const_conv_kernel(out, a):
    w = cuda.const.array_like(WEIGHTS)
    i = cuda.grid(1)
    if 0 < i < a.size - 1:
        total = float32(0)
        for k in range(3):
            total += w[k] * a[i + k - 1]
        out[i] = total
    elif i < a.size:
        out[i] = a[i]


@case
def const_conv():
    a = numbers(70)
    expected = a.copy()
    expected[1:-1] = np.convolve(a, WEIGHTS, "valid")
    return const_conv_kernel, 3, 32, (empty(70), a), {0: expected}


@cuda.jit
def stencil_kernel(out, a):
    """Five-point stencil of 8 × 8 threads with a halo of one, loaded by the threads at the edge."""
    s = cuda.shared.array((10, 10), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    j, i = cuda.grid(2)
    inside = i < a.shape[0] and j < a.shape[1]
    if inside:
        s[y + 1, x + 1] = a[i, j]
        if x == 0 and j > 0:
            s[y + 1, 0] = a[i, j - 1]
        if (x == 7 or j == a.shape[1] - 1) and j + 1 < a.shape[1]:
            s[y + 1, x + 2] = a[i, j + 1]
        if y == 0 and i > 0:
            s[0, x + 1] = a[i - 1, j]
        if (y == 7 or i == a.shape[0] - 1) and i + 1 < a.shape[0]:
            s[y + 2, x + 1] = a[i + 1, j]
    cuda.syncthreads()
    if inside:
        total = s[y + 1, x + 1]
        if j > 0:
            total += s[y + 1, x]
        if j + 1 < a.shape[1]:
            total += s[y + 1, x + 2]
        if i > 0:
            total += s[y, x + 1]
        if i + 1 < a.shape[0]:
            total += s[y + 2, x + 1]
        out[i, j] = total


@case
def stencil():
    a = numbers(13, 19)
    p = np.pad(a, 1)
    expected = a + p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
    return stencil_kernel, (3, 2), (8, 8), (empty(13, 19), a), {0: expected}


@cuda.jit
def pool_kernel(out, a):
    j, i, n = cuda.grid(3)
    if n < out.shape[0] and i < out.shape[1] and j < out.shape[2]:
        top = a[n, 2 * i, 2 * j]
        for di, dj in ((0, 1), (1, 0), (1, 1)):
            top = max(top, a[n, 2 * i + di, 2 * j + dj])
        out[n, i, j] = top


@case
def pool():
    a = numbers(3, 10, 6)
    expected = a.reshape(3, 5, 2, 3, 2).max((2, 4))
    return pool_kernel, (1, 2, 3), (4, 4, 1), (empty(3, 5, 3), a), {0: expected}


@cuda.jit
def transpose_kernel(out, a):
    tile = cuda.shared.array((TILE, PADDED), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    j, i = cuda.grid(2)
    if i < a.shape[0] and j < a.shape[1]:
        tile[y, x] = a[i, j]
    cuda.syncthreads()
    i, j = cuda.blockIdx.x * TILE + y, cuda.blockIdx.y * TILE + x
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j] = tile[x, y]


@case
def transpose():
    a = numbers(21, 13)
    return transpose_kernel, (2, 3), (TILE, TILE), (empty(13, 21), a), {0: a.T}


@cuda.jit
def reverse_kernel(out, a):
    s = cuda.shared.array(0, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]
    cuda.syncthreads()
    out[t] = s[a.size - 1 - t]


@case
def reverse():
    a = numbers(45)
    return reverse_kernel, 1, 45, (empty(45), a), {0: a[::-1]}, 45 * 4


# -- device functions, names and spellings -------------------------------------------------------------------


@cuda.jit(device=True)
def square(x):
    return x * x


@cuda.jit(device=True)
def norm(x, y, power=1):
    total = square(x) + square(y)
    for _ in range(power - 1):
        total *= total
    return math.sqrt(total)


@cuda.jit
def norm_kernel(out, a, b):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = norm(a[i], y=b[i])


@case
def device_functions():
    a, b = numbers(40), numbers(40, seed=1)
    return norm_kernel, 2, 32, (empty(40), a, b), {0: np.hypot(a, b)}


@cuda.jit(device=True)
def share(values, t, value):
    values[t] = value
    cuda.syncthreads()


@cuda.jit(device=True)
def block_maximum(values, t, value):
    share(values, t, value)
    top = values[0]
    for k in range(1, values.shape[0]):
        top = max(top, values[k])
    cuda.syncthreads()
    return top


@cuda.jit
def centred_kernel(out, a):
    """Device functions with barriers inside device functions, called twice on one array."""
    values = cuda.shared.array(20, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    value = a[i] if i < a.size else float32(-1)
    high = block_maximum(values, t, value)
    low = -block_maximum(values, t, -value)
    if i < a.size:
        out[i] = (value - low) / (high - low)


@case
def nested_barriers():
    a = numbers(60)
    blocks = a.reshape(3, 20)
    low, high = blocks.min(1, keepdims=True), blocks.max(1, keepdims=True)
    return centred_kernel, 3, 20, (empty(60), a), {0: ((blocks - low) / (high - low)).ravel()}


@numba.cuda.jit
def full_spelling_kernel(out, a):
    s = numba.cuda.shared.array(TPB, numba.float32)
    i = numba.cuda.blockIdx.x * TPB + numba.cuda.threadIdx.x
    s[numba.cuda.threadIdx.x] = a[i] if i < a.size else numba.float32(0)
    numba.cuda.syncthreads()
    if i < a.size:
        out[i] = s[numba.cuda.threadIdx.x]


@case
def full_spelling():
    a = numbers(50)
    return full_spelling_kernel, 2, TPB, (empty(50), a), {0: a}


@gpu.jit
def other_names_kernel(out, a):
    s = gpu.shared.array(ORDER, float32)
    wait = gpu.syncthreads
    position = gpu.threadIdx
    s[position.y][position.x] = a[position.y][position.x]
    wait()
    out[position.y, position.x] = s[3 - position.y, 1 - position.x]


@case
def other_names():
    a = numbers(4, 2)
    return other_names_kernel, 1, (2, 4), (empty(4, 2), a), {0: a[::-1, ::-1]}


@cuda.jit
def inner_function_kernel(out, a):
    def clipped(k):
        return a[min(max(k, 0), a.size - 1)]

    double = lambda x: x + x  # noqa: E731
    i = cuda.grid(1)
    if i < out.size:
        out[i] = double(clipped(i - 2)) + clipped(i + 2)


@case
def inner_function():
    a = numbers(40)
    i = np.arange(40)
    return (
        inner_function_kernel,
        2,
        32,
        (empty(40), a),
        {0: 2 * a[np.clip(i - 2, 0, 39)] + a[np.clip(i + 2, 0, 39)]},
    )


@cuda.jit
def tuple_arguments_kernel(out, pair, scale):
    i = cuda.grid(1)
    a, b = pair
    if i < out.size:
        out[i] = a[i] * scale[0] + b[i] * scale[1]


@case
def tuple_arguments():
    a, b = numbers(35), numbers(35, seed=1)
    args = (empty(35), (a, b), (np.float32(2), np.float32(3)))
    return tuple_arguments_kernel, 2, 32, args, {0: 2 * a + 3 * b}


@cuda.jit
def loops_over_arrays_kernel(out, a):
    i = cuda.grid(1)
    if i < out.shape[0]:
        total = float32(0)
        for j, value in enumerate(a[i]):
            total += value * float32(j)
        for value, weight in zip(a[i], WEIGHTS):  # noqa: B905
            total += value * weight
        for value in a[i, 1:]:
            total += value
        out[i] = total


@case
def loops_over_arrays():
    a = numbers(33, 4)
    expected = a @ np.arange(4) + a[:, :3] @ WEIGHTS + a[:, 1:].sum(1)
    return loops_over_arrays_kernel, 2, 32, (empty(33), a), {0: expected}


@cuda.jit
def quantized_dot_kernel(out, a, b, scale):
    i = cuda.grid(1)
    if i < a.shape[0]:
        total = int32(0)
        for k in range(a.shape[1]):
            total += int32(a[i, k]) * int32(b[k])
        out[i] = float32(total) * scale


@case
def quantized_dot():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (20, 9), np.int8), rng.integers(-128, 128, 9, np.int8)
    expected = (a.astype(int) @ b.astype(int)).astype(np.float32) * np.float32(0.5)
    return quantized_dot_kernel, 1, 32, (empty(20), a, b, np.float32(0.5)), {0: expected}
