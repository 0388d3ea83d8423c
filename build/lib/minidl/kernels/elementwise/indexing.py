"""An array is a flat store of numbers and a stride per axis: the way from one neighbour to the next."""

import numpy as np


def storage(x, shape):
    """The store of `x`, and the stride of each axis of `shape` in it.

    An axis that broadcasts has stride 0: its neighbours are one and the same number.

    >>> storage(np.float32([[1, 2, 3], [4, 5, 6]]).T, (3, 2))
    (array([1., 2., 3., 4., 5., 6.], dtype=float32), (1, 3))
    """
    if any(stride < 0 or stride % x.itemsize for stride in x.strides):
        x = np.ascontiguousarray(x)
    span = sum((n - 1) * stride for n, stride in zip(x.shape, x.strides, strict=True)) // x.itemsize + 1
    store = np.lib.stride_tricks.as_strided(x, (span,), (x.itemsize,))
    return store, tuple(stride // x.itemsize for stride in np.broadcast_to(x, shape).strides)


def merge_axes(shape, *strides):
    """Merge neighbouring axes wherever, in every array, one row ends just where the next begins.

    Returns the merged shape and each array's merged strides.

    >>> merge_axes((8, 16, 28, 28), (12544, 784, 28, 1), (0, 1, 0, 0))  # images plus a bias per channel
    ((8, 16, 784), (12544, 784, 1), (0, 1, 0))
    """
    merged = []
    for n, *steps in zip(shape, *strides, strict=True):
        if n == 1:
            continue
        if merged and all(outer == n * inner for outer, inner in zip(merged[-1][1:], steps, strict=True)):
            merged[-1] = (merged[-1][0] * n, *steps)
        else:
            merged.append((n, *steps))
    return tuple(zip(*(merged or [(1,) * (1 + len(strides))]), strict=True))


def dense_strides(own, shape):
    """The strides with which an array of shape `own`, without gaps, broadcasts to `shape`.

    >>> dense_strides((16, 1, 5), (8, 16, 28, 5))
    (0, 5, 0, 1)
    """
    strides, step = [], 1
    for n in reversed(own):
        strides.insert(0, 0 if n == 1 else step)
        step *= n
    return (0,) * (len(shape) - len(own)) + tuple(strides)
