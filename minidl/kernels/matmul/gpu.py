"""Matrix multiplication on the GPU: the same climb, from one thread per element to 64 elements per thread.

The rungs are those of S. Boehm, "How to optimize a CUDA matmul kernel for cuBLAS-like performance", 2022. On
each of them a number that was fetched is used more often: from global memory by one thread, then by the
threads of a block through shared memory, then by one thread many times through its registers.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels.matmul.cpu import check_matrices, matrices

# ----------------------------------------------------------------------------- one thread, one element of c

SIDE = 16  # of a block of threads, and of a tile in shared memory


@cuda.jit
def matmul_naive_kernel(a, b, c):
    """Neighbouring threads have neighbouring rows: a warp's 32 reads of `a` lie a whole row apart."""
    i, j = cuda.grid(2)
    if i < c.shape[0] and j < c.shape[1]:
        total = c.dtype.type(0)  # a plain 0.0 would be float64, slow on a GPU
        for k in range(a.shape[1]):
            total += a[i, k] * b[k, j]
        c[i, j] = total


@cuda.jit
def matmul_coalesced_kernel(a, b, c):
    """Neighbouring threads have neighbouring columns: a warp's reads of `b` are one piece of a row."""
    j, i = cuda.grid(2)
    if i < c.shape[0] and j < c.shape[1]:
        total = c.dtype.type(0)
        for k in range(a.shape[1]):
            total += a[i, k] * b[k, j]
        c[i, j] = total


# -------------------------------------------------------------------------------------- through shared memory

SQUARE = (SIDE, SIDE)


@cuda.jit
def matmul_shared_kernel(a, b, c):
    """The block fetches a square of `a` and one of `b`, and each value fetched is used by 16 threads."""
    a_tile = cuda.shared.array(SQUARE, a.dtype)
    b_tile = cuda.shared.array(SQUARE, a.dtype)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    j, i = cuda.grid(2)
    depth = a.shape[1]
    total = c.dtype.type(0)
    for first in range(0, depth, SIDE):
        a_tile[y, x] = a[i, first + x] if i < c.shape[0] and first + x < depth else c.dtype.type(0)
        b_tile[y, x] = b[first + y, j] if first + y < depth and j < c.shape[1] else c.dtype.type(0)
        cuda.syncthreads()  # the squares are complete
        for k in range(SIDE):
            total += a_tile[y, k] * b_tile[k, x]
        cuda.syncthreads()  # nobody needs them any more
    if i < c.shape[0] and j < c.shape[1]:
        c[i, j] = total


# ------------------------------------------------------------------------- several elements of c in registers

EACH = 8  # elements of c per thread, in one direction
STEP = 8  # products between two barriers

A_COLUMN, B_ROW = (64, STEP), (STEP, 64)  # tiles of the 1-D rung, which makes 64×64 of c with 512 threads


@cuda.jit
def matmul_register_1d_kernel(a, b, c):
    """Each thread makes 8 elements of a column: 9 reads of shared memory for 8 products, not 2 for each."""
    a_tile = cuda.shared.array(A_COLUMN, a.dtype)
    b_tile = cuda.shared.array(B_ROW, a.dtype)
    totals = cuda.local.array(EACH, a.dtype)
    t = cuda.threadIdx.x
    x, y = t % 64, t // 64 * EACH  # in the block's 64×64: my column, the first of my rows
    top, left = cuda.blockIdx.y * 64, cuda.blockIdx.x * 64
    rows, columns, depth = c.shape[0] - top, c.shape[1] - left, a.shape[1]
    for r in range(EACH):
        totals[r] = 0
    for first in range(0, depth, STEP):
        i, k = t // STEP, t % STEP
        a_tile[i, k] = a[top + i, first + k] if i < rows and first + k < depth else c.dtype.type(0)
        i, k = t // 64, t % 64
        b_tile[i, k] = b[first + i, left + k] if first + i < depth and k < columns else c.dtype.type(0)
        cuda.syncthreads()
        for k in range(STEP):
            value = b_tile[k, x]
            for r in range(EACH):
                totals[r] += a_tile[y + r, k] * value
        cuda.syncthreads()
    for r in range(EACH):
        if y + r < rows and x < columns:
            c[top + y + r, left + x] = totals[r]


BLOCK = 128  # the 2-D rungs make 128×128 of c with 256 threads
A_TILE = (STEP, BLOCK + 4)  # a's tile is stored with rows and columns exchanged; why + 4, see below
B_TILE = (STEP, BLOCK)


@cuda.jit
def matmul_register_2d_kernel(a, b, c):
    """Each thread makes 8×8 elements: 16 reads of shared memory for 64 products.

    Its columns lie 16 apart, so that at every moment neighbouring threads have neighbouring columns, which
    keeps shared memory free of bank conflicts and writes of `c` coalesced.
    """
    a_tile = cuda.shared.array(A_TILE, a.dtype)
    b_tile = cuda.shared.array(B_TILE, a.dtype)
    totals = cuda.local.array((EACH, EACH), a.dtype)
    column = cuda.local.array(EACH, a.dtype)
    t = cuda.threadIdx.x
    x, y = t % 16, t // 16 * EACH
    top, left = cuda.blockIdx.y * BLOCK, cuda.blockIdx.x * BLOCK
    rows, columns, depth = c.shape[0] - top, c.shape[1] - left, a.shape[1]
    for r in range(EACH):
        for s in range(EACH):
            totals[r, s] = 0
    for first in range(0, depth, STEP):
        for p in range(t, BLOCK * STEP, 256):
            i, k = p // STEP, p % STEP
            # Eight neighbours write into eight rows of a_tile. Were a row 128 values long, all eight would
            # fall into one bank of shared memory; with 132 each row begins 4 banks further on.
            a_tile[k, i] = a[top + i, first + k] if i < rows and first + k < depth else c.dtype.type(0)
            i, k = p // BLOCK, p % BLOCK
            b_tile[i, k] = b[first + i, left + k] if first + i < depth and k < columns else c.dtype.type(0)
        cuda.syncthreads()
        for k in range(STEP):
            for r in range(EACH):
                column[r] = a_tile[k, y + r]
            for s in range(EACH):
                value = b_tile[k, x + 16 * s]
                for r in range(EACH):
                    totals[r, s] += column[r] * value
        cuda.syncthreads()
    for r in range(EACH):
        for s in range(EACH):
            if y + r < rows and x + 16 * s < columns:
                c[top + y + r, left + x + 16 * s] = totals[r, s]


# ---------------------------------------------------------------------------------- sixteen bytes at a time


def _vector_of_4(context, builder, signature, args):
    """Return a pointer to the four values from array[i, j] on; the arguments begin with array, i and j."""
    array = signature.args[0]
    data = context.make_array(array)(context, builder, args[0])
    place = [context.cast(builder, args[n], signature.args[n], types.intp) for n in (1, 2)]
    pointer = cgutils.get_item_pointer(context, builder, array, data, place)
    vector = ir.VectorType(context.get_value_type(array.dtype), 4)
    return builder.bitcast(pointer, vector.as_pointer())


@intrinsic
def load4(typing_context, array, i, j):
    """Return array[i, j], …, array[i, j + 3], fetched as 16 bytes of float32 (or twice 16 of float64).

    The row must be contiguous and array[i, j] lie at a multiple of 16 bytes. Nothing checks that.
    """

    def generate(context, builder, signature, args):
        values = builder.load(_vector_of_4(context, builder, signature, args))
        values.align = 16
        parts = [builder.extract_element(values, ir.IntType(32)(n)) for n in range(4)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(array.dtype, 4)(array, i, j), generate


@intrinsic
def store4(typing_context, array, i, j, values):
    """Store a tuple of four values at array[i, j], …, array[i, j + 3]; as `load4`, the other way."""

    def generate(context, builder, signature, args):
        pointer = _vector_of_4(context, builder, signature, args)
        vector = pointer.type.pointee(ir.Undefined)
        for n in range(4):
            value = builder.extract_value(args[3], n)
            vector = builder.insert_element(vector, value, ir.IntType(32)(n))
        builder.store(vector, pointer, align=16)
        return context.get_dummy_value()

    return types.void(array, i, j, types.UniTuple(array.dtype, 4)), generate


# The tracer runs Python, and takes them to mean this. It sees four accesses of 4 bytes where the GPU makes
# one of 16, so it finds bank conflicts among them that the GPU does not have.


def _load4_in_python(array, i, j):
    return array[i, j], array[i, j + 1], array[i, j + 2], array[i, j + 3]


def _store4_in_python(array, i, j, values):
    array[i, j], array[i, j + 1], array[i, j + 2], array[i, j + 3] = values


load4.py_func, store4.py_func = _load4_in_python, _store4_in_python


@cuda.jit
def matmul_vector_kernel(a, b, c):
    """The same with fewer and wider loads and stores. All rows must be contiguous and begin at 16 bytes.

    A thread's 8 rows are two pieces of 4, 64 apart, and so are its 8 columns: that way eight threads, as many
    as shared memory serves at a time with 16 bytes each, fetch from all of its banks.
    """
    a_tile = cuda.shared.array(A_TILE, a.dtype, 16)
    b_tile = cuda.shared.array(B_TILE, a.dtype, 16)
    totals = cuda.local.array((EACH, EACH), a.dtype)
    column = cuda.local.array(EACH, a.dtype)
    row = cuda.local.array(EACH, a.dtype)
    t = cuda.threadIdx.x
    x, y = t % 16 * 4, t // 16 * 4
    top, left = cuda.blockIdx.y * BLOCK, cuda.blockIdx.x * BLOCK
    rows, columns, depth = c.shape[0] - top, c.shape[1] - left, a.shape[1]
    zero = c.dtype.type(0)
    for r in range(EACH):
        for s in range(EACH):
            totals[r, s] = 0
    for first in range(0, depth, STEP):
        i, k = t // 2, t % 2 * 4
        values = (zero, zero, zero, zero)
        if i < rows and first + k < depth:
            values = load4(a, top + i, first + k)
        a_tile[k, i], a_tile[k + 1, i], a_tile[k + 2, i], a_tile[k + 3, i] = values
        i, k = t // 32, t % 32 * 4
        values = (zero, zero, zero, zero)
        if first + i < depth and k < columns:
            values = load4(b, first + i, left + k)
        store4(b_tile, i, k, values)
        cuda.syncthreads()
        for k in range(STEP):
            column[0], column[1], column[2], column[3] = load4(a_tile, k, y)
            column[4], column[5], column[6], column[7] = load4(a_tile, k, y + 64)
            row[0], row[1], row[2], row[3] = load4(b_tile, k, x)
            row[4], row[5], row[6], row[7] = load4(b_tile, k, x + 64)
            for r in range(EACH):
                for s in range(EACH):
                    totals[r, s] += column[r] * row[s]
        cuda.syncthreads()
    for r in range(EACH):
        i = y + r % 4 + r // 4 * 64
        if i < rows and x < columns:
            store4(c, top + i, left + x, (totals[r, 0], totals[r, 1], totals[r, 2], totals[r, 3]))
        if i < rows and x + 64 < columns:
            store4(c, top + i, left + x + 64, (totals[r, 4], totals[r, 5], totals[r, 6], totals[r, 7]))


# ----------------------------------------------------------------------------------------------- the launch

KERNELS = {  # by rung: the kernel, a block's threads, and the rows and columns of c that a block makes
    "naive": (matmul_naive_kernel, (32, 8), (32, 8)),
    "coalesced": (matmul_coalesced_kernel, (32, 8), (8, 32)),
    "shared": (matmul_shared_kernel, (SIDE, SIDE), (SIDE, SIDE)),
    "register 1d": (matmul_register_1d_kernel, 512, (64, 64)),
    "register 2d": (matmul_register_2d_kernel, 256, (BLOCK, BLOCK)),
    "vector": (matmul_vector_kernel, 256, (BLOCK, BLOCK)),
}


def matmul_cuda(a, b, out=None, machine=GPU, rung="vector"):
    """Return the matrix product of `a` and `b`, computed on the GPU; one launch for each matrix of a batch.

    Parameters, result and errors are those of `matmul_reference`, and:

    Parameters
    ----------
    a, b, out : arrays
        In host or in GPU memory. The result stays on the GPU if `a` was there and no `out` says otherwise.
    machine : Gpu
        What runs the kernel; `minidl.instruments.tracer.TracedGpu()` runs it on the CPU, thread by thread.
    rung : {"naive", "coalesced", "shared", "register 1d", "register 2d", "vector"}
        "vector" takes matrices whose rows lie at multiples of 16 bytes; others go to "register 2d".

    Raises
    ------
    DeviceUnavailable
        If the machine has no GPU.
    ValueError
        If a matrix has more rows or columns than a grid of this rung has blocks for (at least 524,280).
    """
    if rung not in KERNELS:
        raise ValueError(f"rung must be one of {', '.join(KERNELS)}, got {rung!r}")
    a, b, out, shape = check_matrices(a, b, out)
    grid = _grid(rung, *shape[-2:])
    left, right = machine.upload(a), machine.upload(b)
    result = out if is_on_gpu(out) else machine.empty(shape, a.dtype)
    batch = shape[:-2]
    for x, y, c in zip(matrices(left, batch), matrices(right, batch), matrices(result, batch), strict=True):
        fitting = rung if rung != "vector" or (has_aligned_rows(x) and has_aligned_rows(y)) else "register 2d"
        kernel, threads, _ = KERNELS[fitting]
        machine.launch(kernel, grid, threads, x, y, c)
    if result is out or (out is None and is_on_gpu(a)):
        return result
    return machine.download(result, out)


def _grid(rung, m, n):
    _, _, (rows, columns) = KERNELS[rung]
    down, across = -(-m // rows), -(-n // columns)
    x, y = (down, across) if rung == "naive" else (across, down)
    if y > 65535:
        raise ValueError(
            f"a product of shape {(m, n)} takes {y} blocks along one side on rung {rung!r}; CUDA allows 65535"
        )
    return x, y


def has_aligned_rows(matrix):
    """Whether every row is contiguous and begins at a multiple of four elements (and of 16 bytes)."""
    interface = getattr(matrix, "__cuda_array_interface__", None) or matrix.__array_interface__
    return interface.get("strides") is None and interface["data"][0] % 16 == 0 and matrix.shape[1] % 4 == 0
