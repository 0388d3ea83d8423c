"""Matrix multiplication, the algorithm that most of a network's time goes into.

Read `cpu` and `packed`, then `gpu`: each climbs from three loops to registers full of reused numbers.
`matvec` is the special case in which nothing can be reused.

    reference → Python loops → numba ijk → ikj → blocked → packed → BLAS                 on the CPU
    CUDA naive → coalesced → shared → 1-D registers → 2-D registers → 16-byte loads      on the GPU
"""

from functools import partial
from math import isqrt

import numpy as np

from minidl.kernels.ladder import Ladder, Rung
from minidl.kernels.matmul.cpu import (
    TILE_WIDTH,
    matmul,
    matmul_blocked,
    matmul_ijk,
    matmul_ikj,
    matmul_loops,
    matmul_reference,
)
from minidl.kernels.matmul.gpu import KERNELS, STEP, matmul_cuda
from minidl.kernels.matmul.matvec import (
    MATVEC_LADDER,
    batch_matvec,
    batch_matvec_cuda,
    batch_matvec_reference,
)
from minidl.kernels.matmul.packed import DEPTH, HEIGHT, matmul_packed

__all__ = [
    "LADDER",
    "MATVEC_LADDER",
    "batch_matvec",
    "batch_matvec_cuda",
    "batch_matvec_reference",
    "matmul",
    "matmul_blocked",
    "matmul_cuda",
    "matmul_ijk",
    "matmul_ikj",
    "matmul_loops",
    "matmul_packed",
    "matmul_reference",
]

# What a rung moves and computes, for m×k times k×n matrices, of which there are `batch`. How often a matrix
# passes through memory depends on how much of it the rung gets done with what it has at hand.


def _shape(a, b, *_):
    a, b = np.shape(a), np.shape(b)
    return a[-2], a[-1], b[-1], int(np.prod(np.broadcast_shapes(a[:-2], b[:-2])))


def _passes(over_a, over_b, over_c=lambda m, k, n: 1):
    """Bytes, where a and b are read and c is written so many times."""

    def count(m, k, n, batch=1, itemsize=4):
        values = m * k * over_a(m, k, n) + k * n * over_b(m, k, n) + m * n * over_c(m, k, n)
        return batch * values * itemsize

    return count


def _once(m, k, n):
    return 1


def _flops(m, k, n, batch=1):
    """One multiplication and one addition per product."""
    return 2 * m * k * n * batch


def _up(size, step):
    return -(-size // step) * step


def _tile_passes(rung):
    """A block of c of `rows` × `columns` needs these rows of a and these columns of b, whole."""
    rows, columns = KERNELS[rung][2]
    return _passes(lambda m, k, n: -(-n // columns), lambda m, k, n: -(-m // rows))


def _tile_flops(rung, step):
    """Tiles that stick out over the edge are filled with zeros, which are multiplied like anything else."""
    rows, columns = KERNELS[rung][2]
    return lambda m, k, n, batch=1: _flops(_up(m, rows), _up(k, step), _up(n, columns), batch)


def _example(size):
    rng, side = np.random.default_rng(0), max(1, isqrt(size))
    return rng.random((side, side), dtype=np.float32), rng.random((side, side), dtype=np.float32)


def _cuda_rung(rung, lesson, bytes=None, flops=None):
    return Rung(
        name=f"cuda {rung}",
        device="cuda",
        callable=partial(matmul_cuda, rung=rung),
        lesson=lesson,
        bytes=bytes or _tile_passes(rung),
        flops=flops or _tile_flops(rung, STEP),
        kernel=KERNELS[rung][0],
    )


LADDER = Ladder(
    name="matmul",
    shape=_shape,
    example=_example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=matmul_reference,
            lesson="The specification, summed in float64: the inputs copied, and a BLAS at half its speed.",
            bytes=lambda *sizes, itemsize=4: _passes(_once, _once)(*sizes, itemsize=itemsize + 16),
            flops=_flops,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=matmul_loops,
            lesson="Three loops in Python: tens of nanoseconds per product, time enough for a thousand.",
            bytes=_passes(_once, lambda m, k, n: m),
            flops=_flops,
        ),
        Rung(
            name="numba ijk",
            device="cpu",
            callable=matmul_ijk,
            lesson="The same loops, compiled. Walking down a column of b uses 4 bytes of each cache line "
            "of 64, and each addition waits for the one before.",
            bytes=_passes(_once, lambda m, k, n: 16 * m),
            flops=_flops,
            pure_numba=True,
        ),
        Rung(
            name="numba ikj",
            device="cpu",
            callable=matmul_ikj,
            lesson="Exchange two loops: now the innermost walks along rows, with whole cache lines and "
            "vector instructions.",
            bytes=_passes(_once, lambda m, k, n: m),
            flops=_flops,
            pure_numba=True,
        ),
        Rung(
            name="numba blocked",
            device="cpu",
            callable=matmul_blocked,
            lesson="Cut b into tiles that stay in the cache while all rows of a pass by, and do four "
            "products for each value of c fetched.",
            bytes=_passes(lambda m, k, n: -(-n // TILE_WIDTH), _once, lambda m, k, n: 2 * -(-k // 128)),
            flops=_flops,
            pure_numba=True,
        ),
        Rung(
            name="numba packed",
            device="cpu",
            callable=matmul_packed,
            lesson="Copy a and b to panels that are read in order, and hold a tile of c in registers for "
            "hundreds of products: then arithmetic is the limit, not fetching.",
            bytes=_passes(_once, lambda m, k, n: 2 + -(-m // HEIGHT), lambda m, k, n: 2 * -(-k // DEPTH) - 1),
            flops=_flops,
            pure_numba=True,
        ),
        Rung(
            name="blas",
            device="cpu",
            callable=matmul,
            lesson="The same design, its innermost loop written by hand for each processor: decades of "
            "work in one call. Use it, and know why it is fast.",
            bytes=_passes(_once, _once),
            flops=_flops,
        ),
        _cuda_rung(
            "naive",
            "One thread per element of c, neighbours in a column: a warp's reads of a lie a row apart, "
            "each in another sector of memory.",
            bytes=_passes(lambda m, k, n: n, lambda m, k, n: m),
            flops=_flops,
        ),
        _cuda_rung(
            "coalesced",
            "Let neighbouring threads have neighbouring columns, and a warp's reads of b become whole "
            "sectors: the same arithmetic, the same number of reads.",
            bytes=_passes(lambda m, k, n: n, lambda m, k, n: m),
            flops=_flops,
        ),
        _cuda_rung(
            "shared",
            "A block fetches squares of a and b together, with a barrier before and after their use: "
            "global memory is read a sixteenth as often.",
            flops=_tile_flops("shared", 16),
        ),
        _cuda_rung(
            "register 1d",
            "Now shared memory is the limit, with two reads per product. A thread that makes 8 elements "
            "of a column reads 9 values for 8 products.",
        ),
        _cuda_rung(
            "register 2d",
            "A thread that makes 8×8 elements reads 16 values for 64 products, summed in 64 registers.",
        ),
        _cuda_rung(
            "vector",
            "Fetch 16 bytes per instruction: a quarter of the loads, and more room for multiplying.",
        ),
    ),
)
