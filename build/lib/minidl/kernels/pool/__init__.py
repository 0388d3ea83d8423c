"""Pooling: each window of an image becomes one number, its largest (`maximum`) or its mean (`average`).

Windows may overlap, and then the same element is fetched again and again: by a CPU from its cache, by a GPU
from shared memory, if a block has put it there. `gpu` has both on the GPU, `windows` what they share.
"""

from functools import partial

import numpy as np

from minidl.kernels.ladder import Ladder, Rung
from minidl.kernels.pool.average import (
    avg_pool2d,
    avg_pool2d_backward,
    avg_pool2d_backward_reference,
    avg_pool2d_direct,
    avg_pool2d_numpy,
    avg_pool2d_python,
    avg_pool2d_reference,
    avg_pool2d_rows,
)
from minidl.kernels.pool.gpu import (
    THREADS,
    avg_pool2d_backward_cuda,
    avg_pool2d_cuda,
    avg_pool2d_direct_kernel,
    avg_pool2d_shared_kernel,
    max_pool2d_backward_cuda,
    max_pool2d_cuda,
    max_pool2d_direct_kernel,
    max_pool2d_shared_kernel,
)
from minidl.kernels.pool.maximum import (
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_backward_reference,
    max_pool2d_direct,
    max_pool2d_numpy,
    max_pool2d_python,
    max_pool2d_reference,
    max_pool2d_rows,
)
from minidl.kernels.pool.windows import inside, place_windows

__all__ = [
    "AVG_LADDER",
    "MAX_LADDER",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool2d_backward_cuda",
    "avg_pool2d_backward_reference",
    "avg_pool2d_cuda",
    "avg_pool2d_reference",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_backward_cuda",
    "max_pool2d_backward_reference",
    "max_pool2d_cuda",
    "max_pool2d_reference",
]


# -------------------------------------------------------------------- what the rungs move and do


def _shape(x, size, stride=None, padding=0, *_):
    """The image's shape, the result's rows and columns, and the six numbers of the `Windows`."""
    windows, pooled = place_windows(np.shape(x), size, stride, padding)
    return (*np.shape(x), *pooled[2:], *windows)


def _covered(n, outputs, size, step, rim):
    """Elements of an axis under all its windows, those that several cover counted several times."""
    counts = (inside(k - rim, step, n, outputs)[0] for k in range(size))
    return sum(where.stop - where.start for where in counts)


def _cells(n, c, height, width, p, q, rows, columns, down, right, top, left):
    """Elements of x in all windows."""
    return n * c * _covered(height, p, rows, down, top) * _covered(width, q, columns, right, left)


def _direct_bytes(*shape, itemsize=4, index=0):
    n, c, _, _, p, q, *_ = shape
    return _cells(*shape) * itemsize + n * c * p * q * (itemsize + index)


def _shared_bytes(*shape, itemsize=4, index=0):
    """Of every row that a block of outputs touches, the columns from its first window to its last."""
    n, c, height, width, p, q, rows, columns, down, right, top, left = shape
    fetched = 0
    for first in range(0, q, THREADS):
        last = min(first + THREADS, q) - 1
        fetched += min(last * right - left + columns, width) - max(first * right - left, 0)
    return n * c * (_covered(height, p, rows, down, top) * fetched * itemsize + p * q * (itemsize + index))


def _once(n, c, height, width, p, q, *windows, itemsize=4, index=0):
    """x read once, and the result written: what is read again comes from the cache."""
    return n * c * (height * width * itemsize + p * q * (itemsize + index))


def _every_cell(passes):
    """So many passes over an array with an element for each cell of each window."""
    return lambda *shape, itemsize=4: passes * _cells(*shape) * itemsize


def _none(*shape):
    return 0  # comparisons, but not one operation


def _additions(*shape):
    n, c, _, _, p, q, *_ = shape
    return _cells(*shape) + n * c * p * q  # and a division or multiplication


def _shares(*shape):
    return 2 * _cells(*shape)


def _example(size):
    """Images of 28 by 28, in 16 channels, and windows of 2 by 2."""
    images = max(1, size // (16 * 28 * 28))
    return np.random.default_rng(0).normal(size=(images, 16, 28, 28)).astype(np.float32), 2


def _with_index(bytes_of):
    """The same with an index of 8 bytes for every result."""
    return partial(bytes_of, index=8)


MAX_LADDER = Ladder(
    name="max pooling",
    shape=_shape,
    example=_example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=max_pool2d_reference,
            lesson="The specification: the windows cut out, one beside the other, and a maximum over each.",
            bytes=_every_cell(10),
            flops=_none,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=max_pool2d_python,
            lesson="Four loops: over the rows and columns of the result, and of the window.",
            bytes=_with_index(_once),
            flops=_none,
        ),
        Rung(
            name="numpy",
            device="cpu",
            callable=max_pool2d_numpy,
            lesson="The two loops over the window stay, those over the result become array operations.",
            bytes=_every_cell(8),
            flops=_none,
        ),
        Rung(
            name="numba direct",
            device="cpu",
            callable=max_pool2d_direct,
            lesson="The four loops, compiled. Which number is larger is anyone's guess, and each wrong "
            "guess of the processor costs it some twenty cycles.",
            bytes=_with_index(_once),
            flops=_none,
            pure_numba=True,
        ),
        Rung(
            name="numba rows",
            device="cpu",
            callable=max_pool2d_rows,
            lesson="One cell of a whole row of windows at a time, chosen without a branch: now it can be "
            "vectorised. Short rows gain nothing.",
            bytes=_with_index(_once),
            flops=_none,
            pure_numba=True,
        ),
        Rung(
            name="numba threads",
            device="cpu",
            callable=max_pool2d,
            lesson="The common case, two by two, without loops over the window, and every core with images "
            "of its own.",
            bytes=_with_index(_once),
            flops=_none,
            pure_numba=True,
        ),
        Rung(
            name="cuda direct",
            device="cuda",
            callable=partial(max_pool2d_cuda, rung="direct"),
            lesson="A thread per output. Where windows overlap, an element is read once for each that "
            "holds it.",
            bytes=_with_index(_direct_bytes),
            flops=_none,
            kernel=max_pool2d_direct_kernel,
        ),
        Rung(
            name="cuda shared",
            device="cuda",
            callable=partial(max_pool2d_cuda, rung="shared"),
            lesson="A block fetches each row of the image under its windows once, in order, into shared "
            "memory.",
            bytes=_with_index(_shared_bytes),
            flops=_none,
            kernel=max_pool2d_shared_kernel,
        ),
    ),
)

AVG_LADDER = Ladder(
    name="average pooling",
    shape=_shape,
    example=_example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=avg_pool2d_reference,
            lesson="The specification: the windows cut out, one beside the other, and a mean over each, in "
            "float64.",
            bytes=_every_cell(3),
            flops=_additions,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=avg_pool2d_python,
            lesson="Four loops: over the rows and columns of the result, and of the window.",
            bytes=_once,
            flops=_additions,
        ),
        Rung(
            name="numpy",
            device="cpu",
            callable=avg_pool2d_numpy,
            lesson="The two loops over the window stay, those over the result become array operations.",
            bytes=_every_cell(3),
            flops=_additions,
        ),
        Rung(
            name="numba direct",
            device="cpu",
            callable=avg_pool2d_direct,
            lesson="The four loops, compiled; one pass over memory, but one number at a time.",
            bytes=_once,
            flops=_additions,
            pure_numba=True,
        ),
        Rung(
            name="numba rows",
            device="cpu",
            callable=avg_pool2d_rows,
            lesson="One cell of a whole row of windows at a time, so that it can be vectorised. Short rows "
            "gain nothing.",
            bytes=_once,
            flops=_shares,
            pure_numba=True,
        ),
        Rung(
            name="numba threads",
            device="cpu",
            callable=avg_pool2d,
            lesson="The common case, two by two, without loops over the window, and every core with images "
            "of its own.",
            bytes=_once,
            flops=_additions,
            pure_numba=True,
        ),
        Rung(
            name="cuda direct",
            device="cuda",
            callable=partial(avg_pool2d_cuda, rung="direct"),
            lesson="A thread per output. Where windows overlap, an element is read once for each that "
            "holds it.",
            bytes=_direct_bytes,
            flops=_additions,
            kernel=avg_pool2d_direct_kernel,
        ),
        Rung(
            name="cuda shared",
            device="cuda",
            callable=partial(avg_pool2d_cuda, rung="shared"),
            lesson="A block fetches each row of the image under its windows once, in order, into shared "
            "memory.",
            bytes=_shared_bytes,
            flops=_additions,
            kernel=avg_pool2d_shared_kernel,
        ),
    ),
)
