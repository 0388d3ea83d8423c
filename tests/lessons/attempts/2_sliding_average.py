"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import numpy as np

from minidl.hardware.cuda import cuda

THREADS, TILE, LONG_TILE = 32, 64, 160

# %% by_hand wrong: one that begins at the 8th does not
how_many, first, last = 8, 4, 5

# %% by_hand wrong: Count the first place and the last
how_many, first, last = 5, 4, 5

# %% by_hand wrong: first is not 12. That is the sum
how_many, first, last = 6, 12, 15

# %% by_hand wrong: That window holds two numbers only
how_many, first, last = 6, 4.0, (8 + 6) / 2

# %% by_hand wrong: first must be a number
how_many, first, last = 6, "4", 5

# %% by_hand wrong: first is not nan
how_many, first, last = 6, float("nan"), 5

# %% by_hand right
how_many, first, last = np.int64(6), 4, np.float32(5.0)

# %% specification wrong: sum of the window, not its average


def specification(a, window):
    return np.convolve(a, np.ones(window), "valid")


# %% specification wrong: There are n - window + 1 averages


def specification(a, window):
    return np.convolve(a, np.full(window, 1 / window), "same")


# %% specification wrong: expected (5,)


def specification(a, window):
    return np.array([a[i : i + window].mean() for i in range(len(a) - window)])


# %% specification wrong: A NaN may touch only those outputs that are computed from it


def specification(a, window):
    totals = np.concatenate([[0.0], np.cumsum(a.astype(np.float64))])
    return (totals[window:] - totals[:-window]) / window


# %% specification wrong: is there a `return` at its end?


def specification(a, window):
    np.convolve(a, np.full(window, 1 / window), "valid")


# %% specification wrong: The window begins one place too late


def specification(a, window):
    longer = np.append(a, 0)
    return np.array([longer[i + 1 : i + 1 + window].mean() for i in range(len(a) - window + 1)])


# %% specification wrong: The last number of each window is missing


def specification(a, window):
    return np.array([a[i : i + window - 1].sum() / window for i in range(len(a) - window + 1)])


# %% specification wrong: changed its input


def specification(a, window):
    averages = np.array([a[i : i + window].mean() for i in range(len(a) - window + 1)])
    a[: averages.size] = averages
    return averages


# %% specification wrong: still running after


def specification(a, window):
    i = 0
    while i < len(a):
        pass


# %% specification wrong: it stopped with IndexError: index 7 is out of bounds


def specification(a, window):
    out = []
    for i in range(len(a)):
        out.append(sum(a[i + j] for j in range(window)) / window)
    return out


# %% specification wrong: still open
specification = ...

# %% specification right


def specification(a, window):
    return np.lib.stride_tricks.sliding_window_view(a, window).mean(axis=1)


# %% specification right


def specification(a, window):
    print("a print does no harm")
    out = []
    for i in range(len(a) - window + 1):
        total = 0.0
        for j in range(window):
            total += a[i + j]
        out.append(total / window)
    return out


# %% specification right


def specification(a, window):
    return np.convolve(a, np.ones(window) / window, "valid")


# %% grey wrong: out of bounds: threads 7, 8, 9, 10 and 21 more


@cuda.jit
def grey(out, a):
    i = cuda.grid(1)
    out[i] = (a[i] + 1) / 2


# %% grey wrong: out[6], the last output, was never written


@cuda.jit
def grey(out, a):
    i = cuda.grid(1)
    if i < out.size - 1:
        out[i] = (a[i] + 1) / 2


# %% grey wrong: a[7]


@cuda.jit
def grey(out, a):
    i = cuda.grid(1)
    if i <= out.size:
        out[i] = (a[i] + 1) / 2


# %% grey wrong: Is the number of the block part of the index?


@cuda.jit
def grey(out, a):
    i = cuda.threadIdx.x
    if i < out.size:
        out[i] = (a[i] + 1) / 2


# %% grey wrong: Only the 1 was divided


@cuda.jit
def grey(out, a):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = a[i] + 1 / 2


# %% grey wrong: write @cuda.jit on the line above


def grey(out, a):
    for i in range(out.size):
        out[i] = (a[i] + 1) / 2


# %% grey wrong: never written


@cuda.jit
def grey(out, a):
    i = cuda.grid(1)
    if cuda.blockIdx.x < out.size // 32:
        out[i] = (a[i] + 1) / 2


# %% grey wrong: Only block 0 has written


@cuda.jit
def grey(out, a):
    i = cuda.threadIdx.x
    if cuda.blockIdx.x == 0 and i < out.size:
        out[i] = (a[i] + 1) / 2


# %% grey wrong: the kernel takes (a), expected (out, a)


@cuda.jit
def grey(a):
    i = cuda.grid(1)
    if i < a.size:
        a[i] = (a[i] + 1) / 2


# %% grey wrong: A kernel must only read its inputs


@cuda.jit
def grey(out, a):
    i = cuda.grid(1)
    if i < out.size:
        a[i] = (a[i] + 1) / 2
        out[i] = a[i]


# %% grey right


@cuda.jit
def grey(out, a):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i >= out.size:
        return
    out[i] = np.float32(0.5) * a[i] + np.float32(0.5)


# %% grey right


@cuda.jit
def grey(out, a):
    for i in range(cuda.grid(1), a.size, cuda.gridsize(1)):
        out[i] = a[i] / 2 + 0.5


# %% obvious wrong: This is the sum of the window, not its average


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += a[i + j]
        out[i] = total


# %% obvious wrong: The last number of each window is missing


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        total = np.float32(0)
        for j in range(window - 1):
            total += a[i + j]
        out[i] = total / window


# %% obvious wrong: The first number of each window is missing


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        total = np.float32(0)
        for j in range(1, window):
            total += a[i + j]
        out[i] = total / window


# %% obvious wrong: What `out` held before has got into the result


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        for j in range(window):
            out[i] += a[i + j] / window


# %% obvious wrong: too many global reads: got 7 per thread, 3 are enough


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = 0
        for j in range(window):
            out[i] += a[i + j]
        out[i] /= window


# %% obvious wrong: too many global writes: got 4 per thread, 1 is enough


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        total = np.float32(0)
        out[i] = 0
        for j in range(window):
            total += a[i + j]
            out[i] = total / window


# %% obvious wrong: out of bounds: threads 5, 6


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < a.size:
        total = np.float32(0)
        for j in range(window):
            total += a[i + j]
        out[i] = total / window


# %% obvious wrong: out[4], the last output, was never written


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i + window < a.size:
        total = np.float32(0)
        for j in range(window):
            total += a[i + j]
        out[i] = total / window


# %% obvious wrong: endless loop: thread 0 is on line


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        total = np.float32(0)
        j = 0
        while j < window:
            total += a[i + j]
        out[i] = total / window


# %% obvious wrong: endless loop: thread 0 is on line


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    while True:
        i += 1


# %% obvious wrong: 'totl'


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        for j in range(window):
            totl += a[i + j]  # noqa: F821
        out[i] = totl / window


# %% obvious right


@cuda.jit
def obvious(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        weight = 1 / window
        total, j = 0.0, 0
        while j < window:
            total += a[i + j] * weight
            j += 1
        out[i] = total


# %% prediction wrong: those without an output stop at the guard
reads_of_a_thread, reads_together, different_numbers = 5, 128 * 5, 36

# %% prediction wrong: count the threads that have an output
reads_of_a_thread, reads_together, different_numbers = 5, 104 * 5, 36

# %% prediction wrong: reach beyond the block's own 32 numbers
reads_of_a_thread, reads_together, different_numbers = 5, 500, 32

# %% prediction wrong: That counts a number as often as it is read
reads_of_a_thread, reads_together, different_numbers = 5, 500, 160

# %% prediction wrong: The write of the average is not a read
reads_of_a_thread, reads_together, different_numbers = 6, 600, 36

# %% prediction right
reads_of_a_thread, reads_together, different_numbers = 5.0, 5 * (104 - 5 + 1), 36

# %% fetched_once wrong: race: thread


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% fetched_once wrong: too many global reads: got 3 per thread, 2 is enough


@cuda.jit
def fetched_once(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += a[i + j]
        out[i] = total / window


# %% fetched_once wrong: too many global reads: got


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j] if t + j < THREADS else a[i + j]
        out[i] = total / window


# %% fetched_once wrong: uninitialised read: thread


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% fetched_once wrong: read tile[35]


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    if t < window - 2 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% fetched_once wrong: first outputs are right and later ones are not


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else 0
    tile[t + THREADS] = a[i + THREADS] if t < window - 2 and i + THREADS < a.size else 0
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% fetched_once wrong: divergent barrier


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
        if t < window - 1 and i + THREADS < a.size:
            tile[t + THREADS] = a[i + THREADS]
        cuda.syncthreads()
        if i < out.size:
            total = np.float32(0)
            for j in range(window):
                total += tile[t + j]
            out[i] = total / window


# %% fetched_once wrong: no `return` before it


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i >= out.size:
        return
    tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    total = np.float32(0)
    for j in range(window):
        total += tile[t + j]
    out[i] = total / window


# %% fetched_once wrong: non-constant shape:


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(THREADS + window, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% fetched_once wrong: non-constant shape:


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(2 * THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% fetched_once wrong: out of bounds: threads


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i]
    if t < window - 1:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% fetched_once wrong: write tile[32]


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(THREADS, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% fetched_once wrong: This is the sum of the window


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total


# %% fetched_once wrong: No barrier orders two blocks


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t = i = cuda.threadIdx.x
    if i < a.size:
        tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% fetched_once wrong: the checks cannot follow this kernel: fetched_once, line 22: np.mean()


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        out[i] = np.mean(tile[t : t + window])


# %% fetched_once wrong: numba cannot compile the kernel for a GPU


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        share = total / window if window > 1 else (total, total)
        out[i] = share[0] if window == 1 else total / window


# %% fetched_once right


@cuda.jit
def fetched_once(out, a, window):
    """The last threads fetch the halo, which lies window - 1 places further on."""
    t, size = cuda.threadIdx.x, cuda.blockDim.x
    tile = cuda.shared.array(shape=TILE, dtype=np.float32)
    i = cuda.blockIdx.x * size + t
    ahead = window - 1
    tile[t] = a[i] if i < a.size else 0
    if t >= size - ahead and i + ahead < a.size and t + ahead >= size:
        tile[t + ahead] = a[i + ahead]
    cuda.syncthreads()
    if i >= out.size:
        return
    total = 0.0
    for j in range(t, t + window):
        total += tile[j]
    out[i] = total / window


# %% fetched_once right


@cuda.jit
def fetched_once(out, a, window):
    tile = cuda.shared.array(63, "float32")
    start = cuda.blockIdx.x * 32
    for cell in range(cuda.threadIdx.x, 32 + window - 1, 32):
        if start + cell < a.size:
            tile[cell] = a[start + cell]
    cuda.syncthreads()
    i = start + cuda.threadIdx.x
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[cuda.threadIdx.x + j] / np.float32(window)
        out[i] = total


# %% largest wrong: no `return` before it


@cuda.jit
def largest(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    thread = cuda.threadIdx.x
    i = cuda.grid(1)
    if i >= out.size:
        return
    tile[thread] = a[i]
    if thread < window - 1 and i + THREADS < a.size:
        tile[thread + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    best = tile[thread]
    for j in range(window):
        best = max(best, tile[thread + j])
    out[i] = best


# %% largest wrong: out of bounds: threads 0, 1 read a[32]


@cuda.jit
def largest(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    thread = cuda.threadIdx.x
    i = cuda.grid(1)
    if i < a.size:
        tile[thread] = a[i]
    if thread < window - 1:
        tile[thread + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        best = tile[thread]
        for j in range(window):
            best = max(best, tile[thread + j])
        out[i] = best


# %% largest wrong: larger than any negative number


@cuda.jit
def largest(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    thread = cuda.threadIdx.x
    i = cuda.grid(1)
    if i < a.size:
        tile[thread] = a[i]
    if thread < window - 1 and i + THREADS < a.size:
        tile[thread + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        best = np.float32(0)
        for j in range(window):
            best = max(best, tile[thread + j])
        out[i] = best


# %% largest wrong: race: thread


@cuda.jit
def largest(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    thread = cuda.threadIdx.x
    i = cuda.grid(1)
    if i < a.size:
        tile[thread] = a[i]
    if thread < window - 1 and i + THREADS < a.size:
        tile[thread + THREADS] = a[i + THREADS]
    if i < out.size:
        best = tile[thread]
        for j in range(window):
            best = max(best, tile[thread + j])
    cuda.syncthreads()
    if i < out.size:
        out[i] = best


# %% largest wrong: 2 is enough


@cuda.jit
def largest(out, a, window):
    i = cuda.grid(1)
    if i < out.size:
        best = a[i]
        for j in range(1, window):
            best = max(best, a[i + j])
        out[i] = best


# %% largest right


@cuda.jit
def largest(out, a, window):
    tile = cuda.shared.array(TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    tile[t] = a[i] if i < a.size else np.float32(-np.inf)
    tile[t + THREADS] = a[i + THREADS] if t < window - 1 and i + THREADS < a.size else np.float32(-np.inf)
    cuda.syncthreads()
    best = np.float32(-np.inf)
    for j in range(window):
        if tile[t + j] > best:
            best = tile[t + j]
    if i < out.size:
        out[i] = best


# %% long_window wrong: uninitialised read


@cuda.jit
def long_window(out, a, window):
    tile = cuda.shared.array(LONG_TILE, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < a.size:
        tile[t] = a[i]
    if t < window - 1 and i + THREADS < a.size:
        tile[t + THREADS] = a[i + THREADS]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% long_window wrong: too many global reads


@cuda.jit
def long_window(out, a, window):
    tile = cuda.shared.array(160, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if t == 0:
        for cell in range(THREADS + window - 1):
            if i + cell < a.size:
                tile[cell] = a[i + cell]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% long_window wrong: race


@cuda.jit
def long_window(out, a, window):
    tile = cuda.shared.array(160, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    for cell in range(t, THREADS + window - 1, THREADS):
        if i - t + cell < a.size:
            tile[cell] = a[i - t + cell]
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% long_window wrong: out of bounds:


@cuda.jit
def long_window(out, a, window):
    tile = cuda.shared.array(160, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    for cell in range(t, THREADS + window - 1, THREADS):
        tile[cell] = a[i - t + cell]
    cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% long_window wrong: divergent barrier


@cuda.jit
def long_window(out, a, window):
    tile = cuda.shared.array(160, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    for cell in range(t, THREADS + window - 1, THREADS):
        if i - t + cell < a.size:
            tile[cell] = a[i - t + cell]
        cuda.syncthreads()
    if i < out.size:
        total = np.float32(0)
        for j in range(window):
            total += tile[t + j]
        out[i] = total / window


# %% long_window right


@cuda.jit
def long_window(out, a, window):
    """Piece by piece: a window of 100 is three of 32 and one of 4."""
    tile = cuda.shared.array(64, "float32")
    t, i = cuda.threadIdx.x, cuda.grid(1)
    total = np.float32(0)
    carry = a[i] if i < a.size else np.float32(0)
    for begin in range(0, window, THREADS):
        ahead = i + begin + THREADS
        tile[t] = carry
        carry = a[ahead] if ahead < a.size and begin + t + THREADS < THREADS + window - 1 else np.float32(0)
        tile[t + THREADS] = carry
        cuda.syncthreads()
        for j in range(min(THREADS, window - begin)):
            total += tile[t + j]
        cuda.syncthreads()
    if i < out.size:
        out[i] = total / window


# %% long_window right


@cuda.jit
def long_window(out, a, window):
    tile = cuda.shared.array(256, np.float32)
    i, cell = cuda.grid(1), cuda.threadIdx.x
    while cell < THREADS + window - 1:
        number = cuda.blockIdx.x * cuda.blockDim.x + cell
        tile[cell] = a[number] if number < a.size else 0
        cell += cuda.blockDim.x
    cuda.syncthreads()
    if i < out.size:
        total = 0.0
        for j in range(window):
            total += tile[cuda.threadIdx.x + j]
        out[i] = total / window
