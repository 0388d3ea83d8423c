"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import math

import numpy as np
from numba import float32

from minidl.hardware.cuda import cuda

THREADS = 32

# %% by_hand wrong: it has to be brought to 3 first
d_after_second, d_after_third = 2, 2 + math.exp(-1)

# %% by_hand wrong: the old maximum minus the new one
d_after_second, d_after_third = math.exp(2) + 1, 1.503

# %% by_hand wrong: it adds exp(2 − 3)
d_after_second, d_after_third = 1.1353, 2.1353

# %% by_hand wrong: The maximum stays 3
d_after_second, d_after_third = 1.135335, (1 + math.exp(-2)) * math.exp(-1) + 1

# %% by_hand right
d_after_second = sum(math.exp(x - 3) for x in (1, 3))
d_after_third = np.exp(np.array([1, 3, 2.0]) - 3).sum()

# %% softmax wrong: near 10,000, result[0, 0] is nan


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


# %% softmax wrong: That is the softmax of the columns


def softmax(x):
    powers = np.exp(x - x.max(axis=0))
    return powers / powers.sum(axis=0)


# %% softmax wrong: The whole table adds up to 1


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


# %% softmax wrong: stopped with ValueError


def softmax(x):
    powers = np.exp(x - x.max(axis=1))
    return powers / powers.sum(axis=1)


# %% softmax wrong: the function changed its input


def softmax(x):
    x -= x.max(axis=1, keepdims=True)
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


# %% softmax wrong: one near -1,000, result[1, 0] is nan, expected 0.98


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum(axis=1, keepdims=True)


# %% softmax right


def softmax(x):
    """By logarithms."""
    m = np.max(x, 1)[:, None]
    return np.exp((x - m) - np.log(np.exp(x - m).sum(1))[:, None])


# %% one_pass wrong: The sum is not brought to the new maximum


def one_pass(scores):
    m, d = -math.inf, 0.0
    for x in scores:
        m = max(m, x)
        d += math.exp(x - m) if x > -math.inf else 0
    return m, d


# %% one_pass wrong: there is no second time


def one_pass(scores):
    m = max(scores)
    return m, sum(math.exp(x - m) for x in scores)


# %% one_pass wrong: d is nan, expected


def one_pass(scores):
    m, d = -np.inf, 0.0
    for x in scores:
        new = max(m, x)
        d = d * np.exp(m - new) + np.exp(x - new)
        m = new
    return m, d


# %% one_pass wrong: The largest score itself is missing


def one_pass(scores):
    m, d = -math.inf, 0.0
    for x in scores:
        if x > m:
            d, m = (d + 1) * math.exp(m - x) if m > -math.inf else 0.0, x
        else:
            d += math.exp(x - m) if x > -math.inf else 0
    return m, d


# %% one_pass right


def one_pass(scores):
    """Only when the maximum moves is there something to bring to it."""
    m, d = float("-inf"), 0
    for x in scores:
        if x > m:
            d, m = d * math.exp(m - x) + 1, x
        elif x > float("-inf"):
            d += math.exp(x - m)
    return np.array([m, d])[0], d


# %% merge wrong: bring both to the larger one before you add


def merge(m1, d1, m2, d2):
    return max(m1, m2), d1 + d2


# %% merge wrong: d is nan, expected 0


def merge(m1, d1, m2, d2):
    m = max(m1, m2)
    return m, d1 * np.exp(m1 - m) + d2 * np.exp(m2 - m)


# %% merge wrong: The sign of an exponent is wrong


def merge(m1, d1, m2, d2):
    m = max(m1, m2)
    return m, d1 * np.exp(m - m1) + d2 * np.exp(m - m2)


# %% merge wrong: expected 2 values: m, d


def merge(m1, d1, m2, d2):
    return math.log(d1 * math.exp(m1) + d2 * math.exp(m2))


# %% merge right


def merge(m1, d1, m2, d2):
    if m1 < m2:
        m1, d1, m2, d2 = m2, d2, m1, d1
    return [m1, d1 if d2 == 0 else d1 + d2 * math.exp(m2 - m1)]


# %% backward wrong: as if it depended on its own score alone


def backward(s, g):
    return g * s * (1 - s)


# %% backward wrong: this one goes over columns


def backward(s, g):
    return s * (g - (g * s).sum(axis=0))


# %% backward wrong: The sum is that of g s, not of g


def backward(s, g):
    return s * (g - g.sum(axis=1, keepdims=True))


# %% backward right


def backward(s, g):
    """With the Jacobian, row after row."""
    made = []
    for row, gradient in zip(s.astype(float), g, strict=True):
        jacobian = np.diag(row) - np.outer(row, row)
        made.append(gradient @ jacobian)
    return np.array(made)


# %% softmax_kernel wrong: too many global reads


@cuda.jit
def softmax_kernel(out, x):
    largest = cuda.shared.array(THREADS, "float32")
    total = cuda.shared.array(THREADS, "float32")
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    m, d = float32(-math.inf), float32(0)
    for k in range(thread, x.shape[1], THREADS):
        m = max(m, x[row, k])
    for k in range(thread, x.shape[1], THREADS):
        if m > -math.inf:
            d += math.exp(x[row, k] - m)
    largest[thread], total[thread] = m, d
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if thread < step:
            m1, m2 = largest[thread], largest[thread + step]
            new = max(m1, m2)
            if new > -math.inf:
                largest[thread] = new
                total[thread] = total[thread] * math.exp(m1 - new) + total[thread + step] * math.exp(m2 - new)
        cuda.syncthreads()
        step //= 2
    m, d = largest[0], total[0]
    for k in range(thread, x.shape[1], THREADS):
        out[row, k] = math.exp(x[row, k] - m) / d


# %% softmax_kernel wrong: a barrier stands after every level


@cuda.jit
def softmax_kernel(out, x):
    largest = cuda.shared.array(THREADS, "float32")
    total = cuda.shared.array(THREADS, "float32")
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    m, d = float32(-math.inf), float32(0)
    for k in range(thread, x.shape[1], THREADS):
        score = x[row, k]
        if score > -math.inf:
            new = max(m, score)
            d = d * math.exp(m - new) + math.exp(score - new)
            m = new
    largest[thread], total[thread] = m, d
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if thread < step:
            m1, m2 = largest[thread], largest[thread + step]
            new = max(m1, m2)
            if new > -math.inf:
                largest[thread] = new
                total[thread] = total[thread] * math.exp(m1 - new) + total[thread + step] * math.exp(m2 - new)
        step //= 2
    m, d = largest[0], total[0]
    for k in range(thread, x.shape[1], THREADS):
        out[row, k] = math.exp(x[row, k] - m) / d


# %% softmax_kernel wrong: is nan


@cuda.jit
def softmax_kernel(out, x):
    largest = cuda.shared.array(THREADS, "float32")
    total = cuda.shared.array(THREADS, "float32")
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    m, d = float32(-math.inf), float32(0)
    for k in range(thread, x.shape[1], THREADS):
        score = x[row, k]
        if score > -math.inf:
            new = max(m, score)
            d = d * math.exp(m - new) + math.exp(score - new)
            m = new
    largest[thread], total[thread] = m, d
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if thread < step:
            m1, m2 = largest[thread], largest[thread + step]
            new = max(m1, m2)
            if True:
                largest[thread] = new
                total[thread] = total[thread] * math.exp(m1 - new) + total[thread + step] * math.exp(m2 - new)
        cuda.syncthreads()
        step //= 2
    m, d = largest[0], total[0]
    for k in range(thread, x.shape[1], THREADS):
        out[row, k] = math.exp(x[row, k] - m) / d


# %% softmax_kernel wrong: are wrong


@cuda.jit
def softmax_kernel(out, x):
    largest = cuda.shared.array(THREADS, "float32")
    total = cuda.shared.array(THREADS, "float32")
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    m, d = float32(-math.inf), float32(0)
    for k in range(thread, x.shape[1], THREADS):
        score = x[row, k]
        if score > -math.inf:
            new = max(m, score)
            d = d * math.exp(m - new) + math.exp(score - new)
            m = new
    largest[thread], total[thread] = m, d
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if thread < step:
            m1, m2 = largest[thread], largest[thread + step]
            new = max(m1, m2)
            if new > -math.inf:
                largest[thread] = new
                total[thread] = total[thread] + total[thread + step]
        cuda.syncthreads()
        step //= 2
    m, d = largest[0], total[0]
    for k in range(thread, x.shape[1], THREADS):
        out[row, k] = math.exp(x[row, k] - m) / d


# %% softmax_kernel wrong: divergent barrier


@cuda.jit
def softmax_kernel(out, x):
    largest = cuda.shared.array(THREADS, "float32")
    total = cuda.shared.array(THREADS, "float32")
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    if thread >= x.shape[1]:
        return
    m, d = float32(-math.inf), float32(0)
    for k in range(thread, x.shape[1], THREADS):
        score = x[row, k]
        if score > -math.inf:
            new = max(m, score)
            d = d * math.exp(m - new) + math.exp(score - new)
            m = new
    largest[thread], total[thread] = m, d
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if thread < step:
            m1, m2 = largest[thread], largest[thread + step]
            new = max(m1, m2)
            if new > -math.inf:
                largest[thread] = new
                total[thread] = total[thread] * math.exp(m1 - new) + total[thread + step] * math.exp(m2 - new)
        cuda.syncthreads()
        step //= 2
    m, d = largest[0], total[0]
    for k in range(thread, x.shape[1], THREADS):
        out[row, k] = math.exp(x[row, k] - m) / d


# %% softmax_kernel right


@cuda.jit
def softmax_kernel(out, x):
    """The 32 threads are one warp, which can hand numbers round without memory."""
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    m, d = float32(-math.inf), float32(0)
    for k in range(thread, x.shape[1], THREADS):
        score = x[row, k]
        if score > m:
            d = d * math.exp(m - score) + float32(1)
            m = score
        elif score > -math.inf:
            d += math.exp(score - m)
    for step in (16, 8, 4, 2, 1):
        m2 = cuda.shfl_xor_sync(0xFFFFFFFF, m, step)
        d2 = cuda.shfl_xor_sync(0xFFFFFFFF, d, step)
        new = max(m, m2)
        if new > -math.inf:
            d = d * math.exp(m - new) + d2 * math.exp(m2 - new)
            m = new
    for k in range(thread, x.shape[1], THREADS):
        out[row, k] = math.exp(x[row, k] - m) / d


# %% weighted_mean wrong: a has to be brought to the new one as d is


def weighted_mean(pairs):
    m, d, a = -math.inf, 0.0, 0.0
    for x, value in pairs:
        if x > -math.inf:
            new = max(m, x)
            d = d * math.exp(m - new) + math.exp(x - new)
            a = a + math.exp(x - new) * value
            m = new
    return a / d


# %% weighted_mean wrong: The sum a is still to be divided by d


def weighted_mean(pairs):
    m, a = -math.inf, 0.0
    for x, value in pairs:
        if x > -math.inf:
            new = max(m, x)
            a = a * math.exp(m - new) + math.exp(x - new) * value
            m = new
    return a


# %% weighted_mean wrong: stopped with OverflowError


def weighted_mean(pairs):
    d, a = 0.0, 0.0
    for x, value in pairs:
        d += math.exp(x)
        a += math.exp(x) * value
    return a / d


# %% weighted_mean wrong: stopped with ValueError


def weighted_mean(pairs):
    m = max(x for x, _ in pairs)
    weights, values = zip(*((math.exp(x - m), value) for x, value in pairs), strict=True)
    return np.average(values, axis=0, weights=weights)


# %% weighted_mean right


def weighted_mean(pairs):
    """Keep the mean itself, and move it towards each value by that value's share."""
    m, d, mean = -math.inf, 0.0, 0.0
    for x, value in pairs:
        if x > -math.inf:
            if x > m:
                d, m = d * math.exp(m - x), x
            d += math.exp(x - m)
            mean = mean + (value - mean) * (math.exp(x - m) / d)
    return mean
