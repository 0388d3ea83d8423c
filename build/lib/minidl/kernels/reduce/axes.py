"""What sum and maximum share: any axes of any array become the middle one of (outer, n, inner)."""

import math

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels.arguments import check_floats, check_integer, check_out
from minidl.kernels.compiling import sized

BLOCK = 4096  # numbers that one CPU task takes: 64 for each of 64 running results
ROWS = 64  # numbers for one running result, where a row of results runs down the columns
TILE = 1024  # columns in such a row: their results stay in the L1 cache
THREADS = 256  # per block, on the GPU
WARPS = THREADS // 32
EACH = 16  # numbers that one GPU thread takes before the tree begins


def reduce_on_cpu(run, x, axis, keepdims, out):
    """Check the arguments, and let `run(x, outer, n, inner)` reduce flat arrays, once per group of axes."""
    x = check_floats("x", x)
    if is_on_gpu(x):
        raise TypeError("x is in GPU memory: use the function ending in _cuda, or copy it to the host first")
    groups, shape = _plan(x.shape, axis, keepdims)
    check_out("out", out, shape, x.dtype, x=x)
    result = np.ravel(x)
    for group in groups:
        result = run(result, *group)
    result = result.reshape(shape)
    if out is None:
        return result
    out[...] = result
    return out


def reduce_on_gpu(run, x, axis, keepdims, out, machine):
    """The same, where `run(x, outer, n, inner, machine)` reduces arrays on the machine."""
    x = check_floats("x", x)
    groups, shape = _plan(x.shape, axis, keepdims)
    check_out("out", out, shape, x.dtype, x=x)
    result = x.reshape(x.size) if is_on_gpu(x) else machine.upload(np.ravel(x))
    for group in groups:
        result = run(result, *group, machine)
    result = result.reshape(shape)
    if out is None and is_on_gpu(x):
        return result
    return machine.download(result, out)


def _plan(shape, axis, keepdims):
    """The steps of a reduction as (outer, n, inner), last axes first, and the shape of its result.

    Axes that are neighbours go in one step: over axes 1, 2 and 4 of (2, 3, 4, 5, 6) it takes two,
    (2·3·4·5, 6, 1) and (2, 3·4, 5).
    """
    axes = check_axes(axis, len(shape))
    kept = tuple(1 if d in axes else n for d, n in enumerate(shape))
    result = kept if keepdims else tuple(n for d, n in enumerate(shape) if d not in axes)
    shape, steps = list(shape) or [1], []
    axes = list(axes) if axes else [0]
    while axes:
        last = first = axes.pop()
        while axes and axes[-1] == first - 1:
            first = axes.pop()
        middle = slice(first, last + 1)
        steps.append((math.prod(shape[:first]), math.prod(shape[middle]), math.prod(shape[last + 1 :])))
        shape[middle] = [1] * (last + 1 - first)
    return steps, result


def check_axes(axis, ndim):
    """Return `axis` as a tuple of axes counted from the front, in order; None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not axes:
        raise ValueError("axis must name at least one axis, got ()")
    if ndim == 0:
        raise ValueError(f"axis must be None for an array without axes, got {axis}")
    axes = sorted(check_integer("axis", a, -ndim, ndim - 1) % ndim for a in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis must not name one axis twice, got {axis}")
    return tuple(axes)


def tree(floor, few=2_000_000):
    """A CPU reduction that climbs floor by floor, a block at a time, until each result is one number."""

    def run(x, outer, n, inner):
        length = BLOCK if inner == 1 else ROWS
        while n > length:
            x, n = sized(floor, x.size, few)(x, outer, n, inner, length), -(-n // length)
        return sized(floor, x.size, few)(x, outer, n, inner, length)

    return run


def launch_tree(kernel, per_block):
    """The same on the GPU: each block of threads leaves one number, until there is one block per result."""

    def run(x, outer, n, inner, machine):
        while True:
            blocks = -(-n // per_block)
            result = machine.empty(outer * inner * blocks, x.dtype)
            machine.launch(kernel, outer * inner * blocks, THREADS, x, n, inner, blocks, result)
            if blocks == 1:
                return result
            x, outer, n, inner = result, outer * inner, blocks, 1

    return run


def launch_columns(kernel):
    """One GPU thread per result."""

    def run(x, outer, n, inner, machine):
        result = machine.empty(outer * inner, x.dtype)
        machine.launch(kernel, -(-outer * inner // THREADS), THREADS, x, n, inner, result)
        return result

    return run


def sizes(x, axis=None, keepdims=False, out=None):
    """A rung's arguments as (how many numbers come in, how many go out)."""
    return int(np.size(x)), math.prod(_plan(np.shape(x), axis, keepdims)[1])


def example(size):
    """An array to be reduced to a single number."""
    return (np.random.default_rng(0).random(size, dtype=np.float32),)
