"""Softmax: exp(x[i]) / Σ exp(x[j]) along an axis, which turns any numbers into probabilities.

exp(89) is more than a float32 can hold, so the largest x is subtracted first, which changes nothing:
exp(x[i] - m) / Σ exp(x[j] - m). That makes three passes over a row: its maximum, the sum, the division.
Milakov and Gimelshein (Online normalizer calculation for softmax, arXiv:1805.02867, algorithm 3) do the
first two in one, correcting the sum whenever a larger maximum turns up:

    m' = max(m, x[j])        d' = d · exp(m - m') + exp(x[j] - m')

That pays where fetching x is what takes the time: on a GPU, for rows that fit into no cache. It does not pay
where the row stays in the L1 cache meanwhile and the exponentials take the time, as on a CPU.
"""

import math
from functools import partial

import numpy as np

from minidl.kernels.ladder import Ladder, Rung
from minidl.kernels.softmax.cpu import (
    softmax,
    softmax_backward,
    softmax_backward_reference,
    softmax_numpy,
    softmax_online,
    softmax_python,
    softmax_reference,
    softmax_three_passes,
    softmax_vector,
)
from minidl.kernels.softmax.gpu import (
    THREADS,
    softmax_backward_cuda,
    softmax_cuda,
    softmax_online_kernel,
    softmax_row_per_block_kernel,
    softmax_row_per_thread_kernel,
)
from minidl.kernels.softmax.log import (
    log_softmax,
    log_softmax_backward,
    log_softmax_backward_cuda,
    log_softmax_backward_reference,
    log_softmax_cuda,
    log_softmax_reference,
)

__all__ = [
    "LADDER",
    "log_softmax",
    "log_softmax_backward",
    "log_softmax_backward_cuda",
    "log_softmax_backward_reference",
    "log_softmax_cuda",
    "log_softmax_reference",
    "softmax",
    "softmax_backward",
    "softmax_backward_cuda",
    "softmax_backward_reference",
    "softmax_cuda",
    "softmax_reference",
]


def _row_passes(count):
    """So many passes over x, and one to write y."""
    return lambda rows, n, itemsize=4: (count + 1) * rows * n * itemsize


def _block_passes(count):
    """The same, where every thread of a block starts from the row's first element."""
    return lambda rows, n, itemsize=4: rows * ((count + 1) * n + THREADS) * itemsize


def _twice(rows, n):
    """Per element: two times a subtraction and exp, an addition, a division."""
    return rows * n * 6


def _once(rows, n):
    """Per element: a subtraction, exp, an addition, a multiplication; per row a division."""
    return rows * (4 * n + 1)


def _online_flops(rows, n):
    """As `_twice`, with three operations more where the maximum grows: ln n times or so."""
    return rows * int(n * 6 + 3 * (math.log(n) + 0.58))


def _shape(x, axis=-1, out=None):
    n = np.shape(x)[axis]
    return int(np.size(x)) // n, n


def _example(size):
    rows = max(1, size // 1024)
    return (np.random.default_rng(0).normal(size=(rows, max(1, size // rows))).astype(np.float32),)


LADDER = Ladder(
    name="softmax",
    shape=_shape,
    example=_example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=softmax_reference,
            lesson="The specification: the maximum subtracted first, everything in float64.",
            bytes=lambda rows, n, itemsize=4: rows * n * (2 * itemsize + 9 * 8),
            flops=_once,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=softmax_python,
            lesson="Three loops over each row: its maximum, the sum, the division.",
            bytes=_row_passes(1),
            flops=_twice,
        ),
        Rung(
            name="numpy",
            device="cpu",
            callable=softmax_numpy,
            lesson="The same three as whole-array steps, each of them a pass over all of memory.",
            bytes=_row_passes(7),
            flops=_once,
        ),
        Rung(
            name="numba three passes",
            device="cpu",
            callable=softmax_three_passes,
            lesson="Row by row, so that a row is fetched once and found in the cache twice. Now two "
            "exponentials per element, from the C library, take the time.",
            bytes=_row_passes(1),
            flops=_twice,
            pure_numba=True,
        ),
        Rung(
            name="numba online",
            device="cpu",
            callable=softmax_online,
            lesson="One pass fewer over the row, and hardly faster, if at all: what it saves came from the "
            "cache, and each step now waits for the maximum so far.",
            bytes=_row_passes(1),
            flops=_online_flops,
            pure_numba=True,
        ),
        Rung(
            name="numba vector",
            device="cpu",
            callable=softmax_vector,
            lesson="Keep the exponentials instead of computing them twice, as polynomials, a register full "
            "at a time.",
            bytes=_row_passes(1),
            flops=_once,
            pure_numba=True,
        ),
        Rung(
            name="numba threads",
            device="cpu",
            callable=softmax,
            lesson="Rows do not depend on each other, so every core takes a share.",
            bytes=_row_passes(1),
            flops=_once,
            pure_numba=True,
        ),
        Rung(
            name="cuda row per thread",
            device="cuda",
            callable=partial(softmax_cuda, rung="row per thread"),
            lesson="Threads of a warp read a row apart from each other: every read fetches 32 bytes and "
            "uses 4.",
            bytes=_row_passes(3),
            flops=_twice,
            kernel=softmax_row_per_thread_kernel,
        ),
        Rung(
            name="cuda row per block",
            device="cuda",
            callable=partial(softmax_cuda, rung="row per block"),
            lesson="Threads side by side along the row, joined by a tree for the maximum and one for the "
            "sum.",
            bytes=_block_passes(3),
            flops=lambda rows, n: _twice(rows, n) + rows * (THREADS - 1),
            kernel=softmax_row_per_block_kernel,
        ),
        Rung(
            name="cuda online",
            device="cuda",
            callable=partial(softmax_cuda, rung="online"),
            lesson="Maximum and sum in one pass and one tree: two reads of x instead of three, which is "
            "what a GPU waits for.",
            bytes=_block_passes(2),
            flops=lambda rows, n: _twice(rows, n) + rows * 6 * THREADS,
            kernel=softmax_online_kernel,
        ),
    ),
)
