"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import numpy as np
from numba import float32

from minidl.hardware.cuda import cuda

TILE = 8

# %% prediction wrong: That would be each number read once
reads_obvious, reads_tiled, times_fewer_with_16 = 2 * 64 * 64, 65536, 16

# %% prediction wrong: it serves 8 outputs in a row, not 64
reads_obvious, reads_tiled, times_fewer_with_16 = 2 * 64**3, 2 * 64**3 // 64, 16

# %% prediction wrong: each is used for the 16 outputs of a row or column
reads_obvious, reads_tiled, times_fewer_with_16 = 2 * 64**3, 2 * 64**3 // 8, 256

# %% prediction right
reads_obvious, reads_tiled, times_fewer_with_16 = 524_288, np.int32(65_536), 16.0

# %% who_fetches wrong: The row comes from blockIdx.y
row_in_a, column_in_a, row_in_b, column_in_b = 21, 19, 21, 19

# %% who_fetches wrong: Counting begins with 0
row_in_a, column_in_a, row_in_b, column_in_b = 13, 27, 21, 19

# %% who_fetches wrong: Down b the block walks with its steps
row_in_a, column_in_a, row_in_b, column_in_b = 13, 19, 13, 19

# %% who_fetches wrong: The column comes from blockIdx.x
row_in_a, column_in_a, row_in_b, column_in_b = 13, 19, 21, 11

# %% who_fetches right
row_in_a, column_in_a = 8 + 5, np.float64(19)
row_in_b, column_in_b = 21.0, 16 + 3


# %% obvious wrong: out of bounds


@cuda.jit
def obvious(out, a, b):
    column, row = cuda.grid(2)
    if row < out.shape[0]:
        total = float32(0)
        for i in range(a.shape[1]):
            total += a[row, i] * b[i, column]
        out[row, column] = total


# %% obvious wrong: The last product of each sum is missing


@cuda.jit
def obvious(out, a, b):
    column, row = cuda.grid(2)
    if row < out.shape[0] and column < out.shape[1]:
        total = float32(0)
        for i in range(a.shape[1] - 1):
            total += a[row, i] * b[i, column]
        out[row, column] = total


# %% obvious wrong: too many global reads


@cuda.jit
def obvious(out, a, b):
    column, row = cuda.grid(2)
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = float32(0)
        for i in range(a.shape[1]):
            out[row, column] += a[row, i] * b[i, column]


# %% obvious wrong: were never written


@cuda.jit
def obvious(out, a, b):
    row, column = cuda.grid(2)
    if row < out.shape[0] and column < out.shape[1]:
        total = float32(0)
        for i in range(a.shape[1]):
            total += a[row, i] * b[i, column]
        out[row, column] = total


# %% obvious wrong: out of bounds


@cuda.jit
def obvious(out, a, b):
    column, row = cuda.grid(2)
    if row < out.shape[0] and column < out.shape[1]:
        total = float32(0)
        for i in range(b.shape[1]):
            total += a[row, i] * b[i, column]
        out[row, column] = total


# %% obvious right


@cuda.jit
def obvious(out, a, b):
    j, i = cuda.grid(2)
    row, column = i, j
    if not (row >= a.shape[0] or column >= b.shape[1]):
        total = float32(0)
        for i in range(b.shape[0] - 1, -1, -1):
            total += a[row, i] * b[i, column]
        out[row, column] = total


# %% tiled wrong: There are two barriers in each step


@cuda.jit
def tiled(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
    out[row, column] = total


# %% tiled wrong: race


@cuda.jit
def tiled(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% tiled wrong: values are wrong


@cuda.jit
def tiled(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE - 1):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% tiled wrong: too many global reads


@cuda.jit
def tiled(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * b[step * TILE + i, column]
        cuda.syncthreads()
    out[row, column] = total


# %% tiled wrong: values are wrong


@cuda.jit
def tiled(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[i, y] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% tiled wrong: Only the last step was added


@cuda.jit
def tiled(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        total = float32(0)
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% tiled right


@cuda.jit
def tiled(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(b.shape[0] // TILE):
        tile_a[y, x] = a[y + cuda.blockIdx.y * cuda.blockDim.y, x + TILE * step]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% any_size wrong: The last step is missing, in which the tiles are not full


@cuda.jit
def any_size(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = (
            a[row, step * TILE + x] if row < a.shape[0] and step * TILE + x < a.shape[1] else float32(0)
        )
        tile_b[y, x] = (
            b[step * TILE + y, column] if step * TILE + y < b.shape[0] and column < b.shape[1] else float32(0)
        )
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = total


# %% any_size wrong: out of bounds


@cuda.jit
def any_size(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range((a.shape[1] + TILE - 1) // TILE):
        tile_a[y, x] = (
            a[row, step * TILE + x] if row < a.shape[0] and step * TILE + x < a.shape[1] else float32(0)
        )
        tile_b[y, x] = b[step * TILE + y, column] if column < b.shape[1] else float32(0)
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = total


# %% any_size wrong: divergent barrier


@cuda.jit
def any_size(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    if row >= out.shape[0] or column >= out.shape[1]:
        return
    total = float32(0)
    for step in range((a.shape[1] + TILE - 1) // TILE):
        tile_a[y, x] = (
            a[row, step * TILE + x] if row < a.shape[0] and step * TILE + x < a.shape[1] else float32(0)
        )
        tile_b[y, x] = (
            b[step * TILE + y, column] if step * TILE + y < b.shape[0] and column < b.shape[1] else float32(0)
        )
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% any_size wrong: out of bounds


@cuda.jit
def any_size(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range((a.shape[1] + TILE - 1) // TILE):
        tile_a[y, x] = (
            a[row, step * TILE + x] if row < a.shape[0] and step * TILE + x < a.shape[1] else float32(0)
        )
        tile_b[y, x] = (
            b[step * TILE + y, column] if step * TILE + y < b.shape[0] and column < b.shape[1] else float32(0)
        )
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% any_size wrong: uninitialised read


@cuda.jit
def any_size(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range((a.shape[1] + TILE - 1) // TILE):
        if row < a.shape[0] and step * TILE + x < a.shape[1]:
            tile_a[y, x] = a[row, step * TILE + x]
        if step * TILE + y < b.shape[0] and column < b.shape[1]:
            tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = total


# %% any_size right


@cuda.jit
def any_size(out, a, b):
    """No zeros: the last step adds fewer products."""
    tile_a = cuda.shared.array(64, float32)
    tile_b = cuda.shared.array(64, float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    place = 8 * y + x
    total = float32(0)
    first = 0
    while first < a.shape[1]:
        if row < a.shape[0] and first + x < a.shape[1]:
            tile_a[place] = a[row, first + x]
        if column < b.shape[1] and first + y < b.shape[0]:
            tile_b[place] = b[first + y, column]
        cuda.syncthreads()
        if row < out.shape[0] and column < out.shape[1]:
            for i in range(min(TILE, a.shape[1] - first)):
                total += tile_a[8 * y + i] * tile_b[8 * i + x]
        cuda.syncthreads()
        first += TILE
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = total


# %% transposed wrong: bank conflict


@cuda.jit
def transposed(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[cuda.blockIdx.x * TILE + y, step * TILE + x]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[x, i]
        cuda.syncthreads()
    out[row, column] = total


# %% transposed wrong: rows and columns are exchanged


@cuda.jit
def transposed(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[cuda.blockIdx.x * TILE + y, step * TILE + x]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% transposed wrong: out of bounds


@cuda.jit
def transposed(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% transposed wrong: too many global reads


@cuda.jit
def transposed(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[cuda.blockIdx.x * TILE + y, step * TILE + x]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * b[column, step * TILE + i]
        cuda.syncthreads()
    out[row, column] = total


# %% transposed wrong: bank conflict


@cuda.jit
def transposed(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, 9), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x] = b[cuda.blockIdx.x * TILE + y, step * TILE + x]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[x, i]
        cuda.syncthreads()
    out[row, column] = total


# %% transposed right


@cuda.jit
def transposed(out, a, b):
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[y, x ^ y] = b[cuda.blockIdx.x * TILE + y, step * TILE + x]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[x, i ^ x]
        cuda.syncthreads()
    out[row, column] = total


# %% transposed right


@cuda.jit
def transposed(out, a, b):
    """Turned round when it is fetched, into rows of twelve words."""
    tile_a = cuda.shared.array((TILE, TILE), "float32")
    tile_b = cuda.shared.array((TILE, 12), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    total = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_b[x, y] = b[cuda.blockIdx.x * TILE + y, step * TILE + x]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = total


# %% two_each wrong: too many shared reads


@cuda.jit
def two_each(out, a, b):
    tile_a = cuda.shared.array((16, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column = cuda.blockIdx.x * TILE + x
    row = cuda.blockIdx.y * 16 + y
    upper = float32(0)
    lower = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_a[y + TILE, x] = a[row + TILE, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            upper += tile_a[y, i] * tile_b[i, x]
            lower += tile_a[y + TILE, i] * tile_b[i, x]
        cuda.syncthreads()
    out[row, column] = upper
    out[row + TILE, column] = lower


# %% two_each wrong: race


@cuda.jit
def two_each(out, a, b):
    tile_a = cuda.shared.array((16, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column = cuda.blockIdx.x * TILE + x
    row = cuda.blockIdx.y * TILE + y
    upper = float32(0)
    lower = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_a[y + TILE, x] = a[row + TILE, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            shared = tile_b[i, x]
            upper += tile_a[y, i] * shared
            lower += tile_a[y + TILE, i] * shared
        cuda.syncthreads()
    out[row, column] = upper
    out[row + TILE, column] = lower


# %% two_each wrong: race


@cuda.jit
def two_each(out, a, b):
    tile_a = cuda.shared.array((16, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column = cuda.blockIdx.x * TILE + x
    row = cuda.blockIdx.y * 16 + y
    upper = float32(0)
    lower = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_a[y + TILE, x] = a[row + TILE, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            shared = tile_b[i, x]
            upper += tile_a[y, i] * shared
            lower += tile_a[y + TILE, i] * shared
    out[row, column] = upper
    out[row + TILE, column] = lower


# %% two_each wrong: values are wrong


@cuda.jit
def two_each(out, a, b):
    tile_a = cuda.shared.array((16, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column = cuda.blockIdx.x * TILE + x
    row = cuda.blockIdx.y * 16 + y
    upper = float32(0)
    lower = float32(0)
    for step in range(a.shape[1] // TILE):
        tile_a[y, x] = a[row, step * TILE + x]
        tile_a[y + TILE, x] = a[row + TILE, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            shared = tile_b[i, x]
            upper += tile_a[y, i] * shared
            lower += tile_a[y, i] * shared
        cuda.syncthreads()
    out[row, column] = upper
    out[row + TILE, column] = lower


# %% two_each right


@cuda.jit
def two_each(out, a, b):
    """Neighbouring rows: thread y has the rows 2 y and 2 y + 1, kept in a local array."""
    tile_a = cuda.shared.array((16, TILE), "float32")
    tile_b = cuda.shared.array((TILE, TILE), "float32")
    totals = cuda.local.array(2, "float32")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.blockIdx.x * TILE + x, cuda.blockIdx.y * 16 + 2 * y
    for k in range(2):
        totals[k] = 0
    for step in range(a.shape[1] // TILE):
        for k in range(2):
            tile_a[2 * y + k, x] = a[row + k, step * TILE + x]
        tile_b[y, x] = b[step * TILE + y, column]
        cuda.syncthreads()
        for i in range(TILE):
            factor = tile_b[i, x]
            for k in range(2):
                totals[k] += tile_a[2 * y + k, i] * factor
        cuda.syncthreads()
    for k in range(2):
        out[row + k, column] = totals[k]
