"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import math

import numpy as np

# %% by_hand wrong: bytes per operation; the corner
ridge, intensity, rate = 0.04, 1 / 12, 20e9 / 12

# %% by_hand wrong: writing moves bytes too
ridge, intensity, rate = 25, 1 / 8, 20e9 / 8

# %% by_hand wrong: each of the three numbers has 4 bytes
ridge, intensity, rate = 25, 1 / 3, 20e9 / 3

# %% by_hand wrong: but in GFLOP/s
ridge, intensity, rate = 25, 1 / 12, 1.667

# %% by_hand wrong: That is the ceiling
ridge, intensity, rate = 25, 1 / 12, 500e9

# %% by_hand right
ridge, intensity, rate = np.float32(25), 0.08333, 1_666_666_667

# %% product_costs wrong: multiplies *and* adds


def product_costs(n, k, m, itemsize):
    return n * k * m, itemsize * (n * k + k * m + n * m)


# %% product_costs wrong: The result has to be written as well


def product_costs(n, k, m, itemsize):
    return 2 * n * k * m, itemsize * (n * k + k * m)


# %% product_costs wrong: each has `itemsize` bytes


def product_costs(n, k, m, itemsize):
    return 2 * n * k * m, n * k + k * m + n * m


# %% product_costs wrong: whatever `itemsize` says


def product_costs(n, k, m, itemsize):
    return 2 * n * k * m, 4 * (n * k + k * m + n * m)


# %% product_costs wrong: used from close by


def product_costs(n, k, m, itemsize):
    return 2 * n * k * m, itemsize * (2 * n * k * m + n * m)


# %% product_costs wrong: expected 2 values: operations, bytes


def product_costs(n, k, m, itemsize):
    return 2 * n * k * m / (itemsize * (n * k + k * m + n * m))


# %% product_costs right


def product_costs(n, k, m, itemsize):
    numbers = np.prod([n, k]) + np.prod([k, m]) + np.prod([n, m])
    return [n * m * (k + k), numbers * itemsize]


# %% roof wrong: take the smaller


def roof(intensity, bandwidth, peak):
    return np.maximum(intensity * bandwidth, peak)


# %% roof wrong: it must end at the ceiling


def roof(intensity, bandwidth, peak):
    return intensity * bandwidth


# %% roof wrong: multiply by the intensity


def roof(intensity, bandwidth, peak):
    return np.minimum(bandwidth / intensity, peak)


# %% roof wrong: The truth value of an array


def roof(intensity, bandwidth, peak):
    return min(intensity * bandwidth, peak)


# %% roof wrong: There is one rate for each intensity


def roof(intensity, bandwidth, peak):
    return np.min(np.minimum(intensity * bandwidth, peak))


# %% roof wrong: has shape (4,), expected (2, 2)


def roof(intensity, bandwidth, peak):
    return np.array([min(i * bandwidth, peak) for i in intensity.ravel()])


# %% roof wrong: changed its input


def roof(intensity, bandwidth, peak):
    intensity *= bandwidth
    intensity[intensity > peak] = peak
    return intensity


# %% roof right


def roof(intensity, bandwidth, peak):
    return np.where(intensity < peak / bandwidth, intensity * bandwidth, peak)


# %% least_time wrong: the longer of the two counts, not the sum


def least_time(flops, moved, bandwidth, peak):
    return moved / bandwidth + flops / peak


# %% least_time wrong: That is the shorter of the two


def least_time(flops, moved, bandwidth, peak):
    return min(moved / bandwidth, flops / peak)


# %% least_time wrong: with all numbers in registers, no byte to move, it stopped with ZeroDivisionError


def least_time(flops, moved, bandwidth, peak):
    rate = min(flops / moved * bandwidth, peak)
    return flops / rate if flops else moved / bandwidth


# %% least_time wrong: with no operation at all, a copy of 64 MB


def least_time(flops, moved, bandwidth, peak):
    if not flops or not moved:
        return 0.0
    return flops / min(flops / moved * bandwidth, peak)


# %% least_time wrong: they are swapped


def least_time(flops, moved, bandwidth, peak):
    return max(moved / peak, flops / bandwidth)


# %% least_time right


def least_time(flops, moved, bandwidth, peak):
    if moved * peak > flops * bandwidth:
        return moved / bandwidth
    return flops / peak


# %% which_roof wrong: It does 0.0833 operations per byte
addition, one_picture, many_pictures = "arithmetic", "memory", "arithmetic"

# %% which_roof wrong: So it stands left of the corner
addition, one_picture, many_pictures = "memory", "arithmetic", "arithmetic"

# %% which_roof wrong: So it stands right of the corner
addition, one_picture, many_pictures = "memory", "memory", "memory"

# %% which_roof wrong: must be one of 'memory', 'arithmetic', got str 'bandwidth'
addition, one_picture, many_pictures = "bandwidth", "memory", "arithmetic"

# %% which_roof wrong: must be one of
addition, one_picture, many_pictures = 0.08, 0.5, 38

# %% which_roof right
addition, one_picture, many_pictures = "Memory", "memory ", "arithmetic"

# %% smallest_batch wrong: still limited by memory


def smallest_batch(k, m, bandwidth, peak, itemsize):
    ridge = peak / bandwidth
    gain = 2 * k * m - ridge * itemsize * (k + m)
    return int(ridge * itemsize * k * m / gain) if gain > 0 else math.inf


# %% smallest_batch wrong: limited by arithmetic already


def smallest_batch(k, m, bandwidth, peak, itemsize):
    ridge = peak / bandwidth
    gain = 2 * k * m - ridge * itemsize * (k + m)
    return int(ridge * itemsize * k * m / gain) + 2 if gain > 0 else math.inf


# %% smallest_batch wrong: the weights' bytes alone


def smallest_batch(k, m, bandwidth, peak, itemsize):
    return math.ceil(peak / bandwidth * itemsize / 2)


# %% smallest_batch wrong: still running after


def smallest_batch(k, m, bandwidth, peak, itemsize):
    n = 1
    while 2 * n * k * m / (itemsize * (n * k + k * m + n * m)) < peak / bandwidth:
        n += 1
    return n


# %% smallest_batch wrong: result is 1000000, expected inf


def smallest_batch(k, m, bandwidth, peak, itemsize):
    for n in range(1, 10_000):
        if 2 * n * k * m / (itemsize * (n * k + k * m + n * m)) >= peak / bandwidth:
            return n
    return 1_000_000


# %% smallest_batch wrong: result is -


def smallest_batch(k, m, bandwidth, peak, itemsize):
    ridge = peak / bandwidth
    return math.ceil(ridge * itemsize * k * m / (2 * k * m - ridge * itemsize * (k + m)))


# %% smallest_batch right


def smallest_batch(k, m, bandwidth, peak, itemsize):
    if 2 * k * m / (itemsize * (k + m)) <= peak / bandwidth:
        return math.inf
    n = 1
    while 2 * n * k * m / peak < itemsize * (n * k + k * m + n * m) / bandwidth:
        n += 1
    return n


# %% prediction wrong: three numbers for each i, not two


def prediction(n, bandwidth, peak):
    return max(8 * n / bandwidth, 2 * n / peak)


# %% prediction wrong: one byte for each number


def prediction(n, bandwidth, peak):
    return max(3 * n / bandwidth, 2 * n / peak)


# %% prediction wrong: Two operations for each i


def prediction(n, bandwidth, peak):
    return max(12 * n / bandwidth, n / peak)


# %% prediction wrong: arithmetic can be what takes longest


def prediction(n, bandwidth, peak):
    return 12 * n / bandwidth


# %% prediction wrong: with 10,000,001 numbers and a slow processor, result is 0.0006


def prediction(n, bandwidth, peak):
    return 0.0006 + 0 * n  # right for the first million


# %% prediction right


def prediction(n, bandwidth, peak):
    intensity = 2 / 12
    return 2 * n / min(peak, intensity * bandwidth)


# %% fusing wrong: the fused loop reaches the ceiling


def fusing(passes, bandwidth, peak):
    return passes


# %% fusing wrong: upside down


def fusing(passes, bandwidth, peak):
    return max(8 / bandwidth, passes / peak) / (passes * max(8 / bandwidth, 1 / peak))


# %% fusing wrong: A single pass, too


def fusing(passes, bandwidth, peak):
    return passes * 8 / bandwidth / max(8 / bandwidth, passes / peak)


# %% fusing wrong: 8 bytes


def fusing(passes, bandwidth, peak):
    return passes * max(4 / bandwidth, 1 / peak) / max(4 / bandwidth, passes / peak)


# %% fusing right


def fusing(passes, bandwidth, peak):
    n = 1000
    roof = min(peak, bandwidth / 8)
    fused_roof = min(peak, bandwidth * passes / 8)
    return (passes * n / roof) / (passes * n / fused_roof)
