"""The sliding average: out[i] is the mean of a[i], a[i + 1], …, a[i + window - 1], for every full window.

An array of n values has n - window + 1 full windows. Neighbouring windows share all values but two, and the
ladder is about using that: first to add less, then to fetch less.

    reference → Python loops → cumulative sum → numba naive → numba doubling      on the CPU
                               CUDA naive → CUDA shared memory → CUDA doubling    on the GPU

A NaN or an infinity touches only the windows that hold it, on every rung but the cumulative sum, which is
here to show why.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels.arguments import check_floats, check_integer, check_out
from minidl.kernels.compiling import ONE, PARALLEL, REORDER, SERIAL
from minidl.kernels.ladder import Ladder, Rung

# ------------------------------------------------------------------------------------ the specification


def sliding_average_reference(a, window, out=None):
    """Return the mean of every full window of `a`, each summed anew in float64.

    Every rung below takes these arguments and raises these errors, before it writes anything.

    Parameters
    ----------
    a : array_like of shape (n,), float32 or float64
    window : int
        From 1 to n.
    out : array of shape (n - window + 1,) and a's dtype, optional
        Receives the result. It must not share memory with `a`.

    Returns
    -------
    array of shape (n - window + 1,) and a's dtype
        `out` if it was given.

    Raises
    ------
    TypeError
        If `a` or `out` holds anything but float32 or float64, their dtypes differ, or `window` is no integer.
    ValueError
        If `a` is empty or not one-dimensional, `window` is not from 1 to n, or `out` has another shape,
        is read-only, or shares memory with `a`.
    """
    a, window, out = _checked(a, window, out)
    windows = np.lib.stride_tricks.sliding_window_view(a, window)  # (n - window + 1, window), no copy
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, and that is the right answer
        out[...] = windows.mean(axis=1, dtype=np.float64)
    return out


# ------------------------------------------------------------------------------------------ on the CPU


def sliding_average_loops(a, window, out=None):
    """Rung 2: the two loops of the definition, in Python."""
    a, window, out = _checked(a, window, out)
    values = a.tolist()  # Python's own floats are float64, and quicker to reach than NumPy's
    for i in range(out.size):
        total = 0.0
        for k in range(window):
            total += values[i + k]
        out[i] = total / window
    return out


def sliding_average_cumulative(a, window, out=None):
    """Rung 3: a window's sum is the difference of two running sums.

    The classic shortcut, and wrong in float32: the running sum of 10 million values from 0 to 1 grows to
    5 million, where neighbouring float32 numbers lie 1/2 apart. So values are added as 0, 1/2 or 1, and with
    window 2 the averages are off by up to 0.25. A NaN stays in the running sum for good.
    """
    a, window, out = _checked(a, window, out)
    with np.errstate(invalid="ignore", over="ignore"):
        running = np.cumsum(a, dtype=a.dtype)  # (n,)
        out[0] = running[window - 1]
        np.subtract(running[window:], running[:-window], out=out[1:])
        out /= window
    return out


def sliding_average_naive(a, window, out=None):
    """Rung 4: the two loops of the definition, compiled, the outer one shared by all cores."""
    a, window, out = _checked(a, window, out)
    _naive(a, window, out)
    return out


@njit(**PARALLEL)
def _naive(a, window, out):
    for i in prange(out.size):
        total = 0.0  # float64, which is no slower here: the loop waits for each addition, not for memory
        for k in range(window):
            total += a[i + k]
        out[i] = total / window


def sliding_average(a, window, out=None):
    """Return the mean of every full window of `a`: the best rung on the CPU.

    Narrow windows are summed by doubling (`_double`), wide ones from the blocks they cover (`_wide`). No sum
    is ever corrected by subtracting, so no rounding error and no NaN outlives the window it belongs to.

    Parameters, result and errors are those of `sliding_average_reference`. The result is within a few units
    in the last place of the largest value in the window.

    Example
    -------
    >>> sliding_average(np.float32([1, 2, 3, 4, 8]), 3)
    array([2., 3., 5.], dtype=float32)
    """
    a, window, out = _checked(a, window, out)
    values = np.require(a, requirements="CA")  # compiled once, for arrays without gaps; others are copied
    result = out if out.flags.c_contiguous else np.empty_like(out, order="C")
    if window > WIDEST_DOUBLED:
        _wide(values, window, result)
    elif window > 1:
        _double(values, window, values.dtype.type(1 / window), result)
    else:
        result[...] = values
    if result is not out:
        out[...] = result
    return out


TILE = 4096  # outputs summed at a time: two rows of float32 take 32 KiB, about an L1 cache
CHUNK = 16 * TILE  # outputs handed to a core at a time
WIDEST_DOUBLED = 2048  # beyond, a tile's halo outweighs it, and `_wide` is faster


@njit(**PARALLEL)
def _double(a, window, weight, out):
    """Sum by doubling: two sums, side by side, make one that is twice as long.

    Write S(m)[i] for the sum of the m values from i on. Then

        S(2m)[i]     = S(m)[i] + S(m)[i + m]
        S(2m + 1)[i] = S(m)[i] + S(m)[i + m] + a[i + 2m]

    The binary digits of the window, from the left, say which of the two comes next: 13 = 1101₂ is reached as
    1 → 3 → 6 → 13. That is about log₂(window) passes over the data, so the data is cut into tiles that stay
    in the L1 cache meanwhile. Every value enters multiplied by `weight`, 1/window, so that no sum overflows.
    """
    digits = 0
    while window >> digits > 1:
        digits += 1
    tile = TILE if digits > 1 else CHUNK  # a single pass has nothing to come back to
    for chunk in prange((out.size + CHUNK - 1) // CHUNK):
        rows = _two_rows(tile + window, a)  # the sums so far, and those being made of them
        for start in range(chunk * CHUNK, min(chunk * CHUNK + CHUNK, out.size), tile):
            stop = min(start + tile, out.size)
            values = a[start : stop + window - 1]  # the tile and its halo
            sums, scale, size = values, weight, 1
            for digit in range(digits - 1, -1, -1):
                half, odd = size, window >> digit & 1
                size = 2 * half + odd
                wider = rows[digit % 2, : values.size - size + 1] if digit > 0 else out[start:stop]
                if odd:
                    _pair_odd(sums, np.uint64(half), scale, values, weight, wider)
                else:
                    _pair(sums, np.uint64(half), scale, wider)
                sums, scale = wider, ONE  # from the second pass on the weight is in the sums already


@njit(**SERIAL)
def _two_rows(length, a):
    """Two rows of a's dtype that begin at cache lines: a load that straddles two lines costs two loads."""
    line = 64 // a.itemsize
    length = (length + line - 1) // line * line
    memory = np.empty(2 * length + line, a.dtype)
    first = -memory.ctypes.data % 64 // a.itemsize
    return memory[first : first + 2 * length].reshape(2, length)


# Unsigned indices: a signed one could be negative and count from the end of the array, and the test for that
# in every trip keeps the compiler from using vector instructions.


@njit(**SERIAL)
def _pair(sums, half, scale, wider):
    for i in range(np.uint64(wider.size)):
        wider[i] = scale * sums[i] + scale * sums[i + half]


@njit(**SERIAL)
def _pair_odd(sums, half, scale, values, weight, wider):
    for i in range(np.uint64(wider.size)):
        wider[i] = scale * sums[i] + scale * sums[i + half] + weight * values[i + half + half]


BLOCK = 1024


def _wide(a, window, out):
    """Sum wide windows from the blocks they cover, in float64, in a time that does not depend on the window.

    Cut the array into blocks. A window is the end of its first block, some whole blocks, and what is left:

        |.......[######|#############|#############|###]..........|
                 suffix  whole blocks (a sliding average itself)  prefix

    Suffixes and prefixes are running sums that start anew with every block. (M. van Herk, Pattern Recognition
    Letters 13, 1992, does so for the maximum of a window, where nothing can be subtracted either.)
    """
    whole = window // BLOCK - 1  # the blocks that are covered wholly, wherever in a block the window starts
    between = sliding_average(_block_means(a)[1:], whole)
    _suffix_and_prefix(a, window, whole, between, out)


@njit(**PARALLEL)
def _block_means(a):
    means = np.empty(a.size // BLOCK)
    for j in prange(means.size):
        means[j] = _total(a[j * BLOCK : j * BLOCK + BLOCK], 1 / BLOCK)
    return means


@njit(**PARALLEL)
def _suffix_and_prefix(a, window, whole, between, out):
    weight = 1 / window
    for j in prange((out.size + BLOCK - 1) // BLOCK):
        start = j * BLOCK
        stop = min(start + BLOCK, out.size)
        suffix = np.empty(BLOCK)
        _running_sums(a[start : start + BLOCK][::-1], weight, 0.0, suffix[::-1])
        prefix = np.empty(BLOCK)
        middle = start + (whole + 1) * BLOCK  # where the whole blocks end
        prefix[0] = between[j] * (whole * BLOCK * weight) + _total(a[middle : start + window], weight)
        _running_sums(a[start + window : stop + window - 1], weight, prefix[0], prefix[1:])
        for i in range(np.uint64(stop - start)):
            out[np.uint64(start) + i] = suffix[i] + prefix[i]


@njit(**REORDER)
def _total(values, weight):
    total = 0.0  # adding in another order is allowed here: several partial sums at a time
    for i in range(np.uint64(values.size)):
        total += weight * values[i]
    return total


@njit(**SERIAL)
def _running_sums(values, weight, before, sums):
    """Set sums[i] = before + weight·(values[0] + … + values[i]).

    Eight at a time: runs of eight do not wait for one another, only their totals add up one by one.
    """
    eights = values.size - values.size % 8
    for start in range(0, eights, 8):
        run = 0.0
        for k in range(8):
            run += weight * values[np.uint64(start + k)]
            sums[np.uint64(start + k)] = before + run
        before += run
    for i in range(eights, values.size):
        before += weight * values[i]
        sums[i] = before


# ------------------------------------------------------------------------------------------ on the GPU

THREADS = 256  # of a block: as many as the outputs of its tile
TILE_AND_HALO = 512  # values in shared memory: two per thread, enough for windows of up to THREADS + 1


@cuda.jit
def sliding_average_naive_kernel(a, window, weight, out):
    """One thread per output, which reads its whole window from global memory."""
    i = cuda.grid(1)
    if i < out.size:
        total = a.dtype.type(0)  # a plain 0.0 would be float64, slow on a GPU
        for k in range(window):
            total += a[i + k] * weight
        out[i] = total


@cuda.jit
def sliding_average_shared_kernel(a, window, weight, out):
    """The block reads its tile and halo once, at most two values per thread, then sums in shared memory.

    A window of more than THREADS + 1 values goes piece by piece, each with a tile of its own.
    """
    tile = cuda.shared.array(TILE_AND_HALO, a.dtype)
    t = cuda.threadIdx.x
    start = cuda.blockIdx.x * THREADS
    outputs = min(THREADS, out.size - start)
    total = a.dtype.type(0)
    for first in range(0, window, THREADS + 1):
        piece = min(window - first, THREADS + 1)
        for p in range(t, outputs + piece - 1, THREADS):
            tile[p] = a[start + first + p] * weight
        cuda.syncthreads()  # nobody sums before the tile is complete
        if t < outputs:
            for k in range(piece):
                total += tile[t + k]
        cuda.syncthreads()  # nobody loads the next piece while another still sums this one
    if t < outputs:
        out[start + t] = total


@cuda.jit
def sliding_average_doubling_kernel(a, window, weight, out):
    """The tile as above, summed by doubling (see `_double`); for windows of up to THREADS + 1 values."""
    values = cuda.shared.array(TILE_AND_HALO, a.dtype)
    sums = cuda.shared.array(TILE_AND_HALO, a.dtype)
    wider = cuda.shared.array(TILE_AND_HALO, a.dtype)
    t = cuda.threadIdx.x
    start = cuda.blockIdx.x * THREADS
    outputs = min(THREADS, out.size - start)
    count = outputs + window - 1
    for p in range(t, count, THREADS):
        values[p] = a[start + p] * weight
        sums[p] = values[p]
    digit = 0
    while window >> digit > 1:
        digit += 1
    size = 1
    while digit > 0:
        digit -= 1
        half = size
        odd = window >> digit & 1
        size = 2 * half + odd
        cuda.syncthreads()  # the sums of the pass before are complete, and nobody reads those before them
        for p in range(t, count - size + 1, THREADS):
            total = sums[p] + sums[p + half]
            if odd:
                total += values[p + 2 * half]
            wider[p] = total
        sums, wider = wider, sums
    if t < outputs:
        out[start + t] = sums[t]


@cuda.jit
def sliding_average_pair_kernel(a, sums, half, odd, weight, out):
    """One more doubling, through global memory: takes windows of `half` to 2·half + odd."""
    i = cuda.grid(1)
    if i < out.size:
        total = sums[i] + sums[i + half]
        if odd:
            total += a[i + 2 * half] * weight
        out[i] = total


CUDA_KERNELS = {
    "naive": sliding_average_naive_kernel,
    "shared": sliding_average_shared_kernel,
    "doubling": sliding_average_doubling_kernel,
}


def sliding_average_cuda(a, window, out=None, machine=GPU, rung="doubling"):
    """Return the mean of every full window of `a`, computed on the GPU.

    Parameters, result and errors are those of `sliding_average_reference`, and:

    Parameters
    ----------
    a, out : arrays
        In host or in GPU memory. The result stays on the GPU if `a` was there and no `out` says otherwise.
    machine : Gpu
        What runs the kernel; `minidl.instruments.tracer.TracedGpu()` runs it on the CPU, thread by thread.
    rung : {"naive", "shared", "doubling"}

    Raises
    ------
    DeviceUnavailable
        If the machine has no GPU.
    """
    if rung not in CUDA_KERNELS:
        raise ValueError(f"rung must be one of {', '.join(CUDA_KERNELS)}, got {rung!r}")
    a, window, out = _checked_arguments(a, window, out)
    weight = np.dtype(a.dtype).type(1 / window)
    values = machine.upload(a)
    result = out if is_on_gpu(out) else machine.empty(a.size - window + 1, a.dtype)

    def launch(kernel, target, *args):
        machine.launch(kernel, (target.size + THREADS - 1) // THREADS, THREADS, *args, target)

    # The leading digits of the window make one that fits a tile; passes through global memory do the rest.
    digits = _digits_left(window) if rung == "doubling" else 0
    size = window >> digits
    sums = result if digits == 0 else machine.empty(a.size - size + 1, a.dtype)
    launch(CUDA_KERNELS[rung], sums, values, size, weight)
    for digit in reversed(range(digits)):
        half, odd = size, window >> digit & 1
        size = 2 * half + odd
        wider = result if digit == 0 else machine.empty(a.size - size + 1, a.dtype)
        launch(sliding_average_pair_kernel, wider, values, sums, half, odd, weight)
        sums = wider
    if result is out or (out is None and is_on_gpu(a)):
        return result
    return machine.download(result, out)


def _digits_left(window):
    """Binary digits to take off the window before it fits into a tile with its halo."""
    digits = 0
    while window >> digits > THREADS + 1:
        digits += 1
    return digits


# ------------------------------------------------------------------------------------ shared by all rungs


def _checked_arguments(a, window, out):
    a = check_floats("a", a, ndim=1)
    window = check_integer("window", window, 1, a.size, "a.size")
    return a, window, check_out("out", out, (a.size - window + 1,), a.dtype, a=a)


def _checked(a, window, out):
    """Check the arguments of a CPU rung, and allocate `out` if there is none."""
    for name, array in (("a", a), ("out", out)):
        if is_on_gpu(array):
            raise TypeError(f"{name} is in GPU memory: use sliding_average_cuda, or copy it to the host")
    a, window, out = _checked_arguments(a, window, out)
    return a, window, np.empty(a.size - window + 1, a.dtype) if out is None else out


# -------------------------------------------------------------------------------------------- the ladder


def _once(n, window, itemsize=4):
    """Every value read once, every result written once: the cache provides what is read again."""
    return (n + (n - window + 1)) * itemsize


def _best_bytes(n, window, itemsize=4):
    """Wide windows read every value three times: for its block's mean, as a suffix, and as a prefix."""
    return _once(n, window, itemsize) + (2 * n * itemsize if window > WIDEST_DOUBLED else 0)


def _best_flops(n, window):
    """Doubling, per output and pass: two multiplications, one addition; one more of each for an odd digit."""
    if window > WIDEST_DOUBLED:
        return 2 * n + (n - window + 1) * (3 + 3 + 1)
    return (n - window + 1) * (3 * (window.bit_length() - 1) + 2 * (window.bit_count() - 1))


def _shared_reads(n, window):
    """Values that the blocks read: a tile and a halo each, for every piece of the window."""
    outputs = n - window + 1
    blocks, pieces = -(-outputs // THREADS), -(-window // (THREADS + 1))
    return pieces * outputs + blocks * (window - pieces)


def _doubling_work(n, window):
    """Values that the doubling kernels move through global memory, and the operations they do."""
    digits = _digits_left(window)
    first = window >> digits
    outputs = n - first + 1
    blocks, reads = -(-outputs // THREADS), _shared_reads(n, first)
    moved, operations = reads + outputs, reads
    size = 1
    for digit in reversed(range(window.bit_length() - 1)):
        odd = window >> digit & 1
        size = 2 * size + odd
        if size <= first:  # in shared memory, halo included
            operations += (outputs + blocks * (first - size)) * (1 + odd)
        else:  # in global memory
            moved += (n - size + 1) * (3 + odd)
            operations += (n - size + 1) * (1 + 2 * odd)
    return moved, operations


LADDER = Ladder(
    name="sliding average",
    shape=lambda a, window, *_: (np.size(a), int(window)),
    example=lambda size: (np.random.default_rng(0).random(size, dtype=np.float32), min(16, size)),
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=sliding_average_reference,
            lesson="The specification: every window summed anew in float64. Slow is fine, wrong is not.",
            bytes=lambda n, window, itemsize=4: _once(n, window, itemsize) + 2 * 8 * (n - window + 1),
            flops=lambda n, window: (n - window + 1) * window,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=sliding_average_loops,
            lesson="The same two loops in Python: an addition takes tens of nanoseconds, nearly all of them "
            "spent on finding out what is to be added.",
            bytes=_once,
            flops=lambda n, window: (n - window + 1) * (window + 1),
        ),
        Rung(
            name="cumulative sum",
            device="cpu",
            callable=sliding_average_cumulative,
            lesson="A window is the difference of two running sums, so its width costs nothing. But the "
            "running sum outgrows float32, the difference keeps its error, and a NaN spoils the rest.",
            bytes=lambda n, window, itemsize=4: (2 * n + 5 * (n - window + 1)) * itemsize,
            flops=lambda n, window: n + 2 * (n - window + 1),
        ),
        Rung(
            name="numba naive",
            device="cpu",
            callable=sliding_average_naive,
            lesson="The two loops, compiled, on all cores: now the additions themselves take the time, as "
            "many per output as the window is wide.",
            bytes=_once,
            flops=lambda n, window: (n - window + 1) * (window + 1),
            pure_numba=True,
        ),
        Rung(
            name="numba doubling",
            device="cpu",
            callable=sliding_average,
            lesson="Sums of 1 make sums of 2, of 4, of 8: about log₂(window) additions per output, and in "
            "tiles that stay in the L1 cache, so that main memory is passed through only once.",
            bytes=_best_bytes,
            flops=_best_flops,
            pure_numba=True,
        ),
        Rung(
            name="cuda naive",
            device="cuda",
            callable=partial(sliding_average_cuda, rung="naive"),
            lesson="One thread per output. Neighbouring threads fetch the same values: window reads of "
            "global memory for one write.",
            bytes=lambda n, window, itemsize=4: (n - window + 1) * (window + 1) * itemsize,
            flops=lambda n, window: (n - window + 1) * 2 * window,
            kernel=sliding_average_naive_kernel,
        ),
        Rung(
            name="cuda shared",
            device="cuda",
            callable=partial(sliding_average_cuda, rung="shared"),
            lesson="The threads of a block fetch a tile and its halo together, at most two values each, meet "
            "at a barrier, and add up in shared memory.",
            bytes=lambda n, window, itemsize=4: (_shared_reads(n, window) + n - window + 1) * itemsize,
            flops=lambda n, window: _shared_reads(n, window) + (n - window + 1) * window,
            kernel=sliding_average_shared_kernel,
        ),
        Rung(
            name="cuda doubling",
            device="cuda",
            callable=partial(sliding_average_cuda, rung="doubling"),
            lesson="Doubling inside the tile, a barrier before every step: about log₂(window) additions per "
            "output instead of window.",
            bytes=lambda n, window, itemsize=4: _doubling_work(n, window)[0] * itemsize,
            flops=lambda n, window: _doubling_work(n, window)[1],
            kernel=sliding_average_doubling_kernel,
        ),
    ),
)
