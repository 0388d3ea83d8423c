"""Convolution on the GPU: a thread per output, a matrix product of copied columns, and one without copies.

In all three directions a convolution is a matrix product whose right-hand matrix is x or the gradient, each
value of which stands in it several times:

    forward               y  (filters × pixels)  = w (filters × taps)    · the pixels under each tap
    gradient to x         gx (channels × pixels) = w (channels × taps)   · the gradients above each tap
    gradient to w         gw (filters × taps)    = gradient (filters × pixels) · the pixels under each tap

A tap is one cell of the kernel, in one channel. "im2col" writes that matrix out and multiplies. "implicit"
never does: a block fetches the tiles of it that it needs straight from the image into shared memory, working
out where each value lies (S. Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning",
arXiv:1410.0759, section 3). Every sum is taken in the same order each time, so results do not vary.
"""

from __future__ import annotations

import math

from numpy import int32, uint32

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels.arguments import check_floats
from minidl.kernels.conv.geometry import check_backward_input, check_backward_weight, check_forward
from minidl.kernels.matmul.gpu import has_aligned_rows, load4, matmul_cuda
from minidl.kernels.reduce.sum_cuda import reduce_sum_columns_kernel, reduce_sum_cuda

THREADS = 256  # per block, where a thread has one output
COLUMN_BYTES = 256 << 20  # most GPU memory for columns, unless one image needs more

# -------------------------------------------------------------------------------- one thread, one output


@cuda.jit
def conv2d_direct_kernel(x, w, bias, biased, down, across, above, before, y):
    """Each thread walks over all channels and taps; its neighbours fetch the same weights as it does."""
    t = cuda.grid(1)
    if t < y.size:
        j, rest = t % y.shape[3], t // y.shape[3]
        i, rest = rest % y.shape[2], rest // y.shape[2]
        o, n = rest % y.shape[1], rest // y.shape[1]
        top, left = i * down - above, j * across - before
        total = y.dtype.type(0)  # a plain 0.0 would be float64, slow on a GPU
        for c in range(w.shape[1]):
            for kh in range(max(-top, 0), min(w.shape[2], x.shape[2] - top)):
                for kw in range(max(-left, 0), min(w.shape[3], x.shape[3] - left)):
                    total += w[o, c, kh, kw] * x[n, c, top + kh, left + kw]
        if biased:
            total += bias[o]
        y[n, o, i, j] = total


@cuda.jit
def conv2d_backward_input_direct_kernel(gradient, w, bias, biased, down, across, above, before, result):
    """A thread per pixel of x, which collects from every output that it had a part in."""
    t = cuda.grid(1)
    if t < result.size:
        j, rest = t % result.shape[3], t // result.shape[3]
        i, rest = rest % result.shape[2], rest // result.shape[2]
        c, n = rest % result.shape[1], rest // result.shape[1]
        i, j = i + above, j + before
        total = result.dtype.type(0)
        for o in range(w.shape[0]):
            # With a stride, every so many taps only have met this pixel.
            for kh in range(i % down, min(w.shape[2], i + 1), down):
                if (i - kh) // down < gradient.shape[2]:
                    for kw in range(j % across, min(w.shape[3], j + 1), across):
                        if (j - kw) // across < gradient.shape[3]:
                            total += w[o, c, kh, kw] * gradient[n, o, (i - kh) // down, (j - kw) // across]
        if biased:
            total += bias[c]
        result[n, c, i - above, j - before] = total


@cuda.jit
def conv2d_backward_weight_direct_kernel(gradient, x, down, across, above, before, result):
    """A thread per weight, which walks over all pixels of all images: few threads with much to do."""
    t = cuda.grid(1)
    if t < result.size:
        kw, rest = t % result.shape[3], t // result.shape[3]
        kh, rest = rest % result.shape[2], rest // result.shape[2]
        c, o = rest % result.shape[1], rest // result.shape[1]
        total = result.dtype.type(0)
        for n in range(x.shape[0]):
            for i in range(gradient.shape[2]):
                y = i * down - above + kh
                if 0 <= y < x.shape[2]:
                    for j in range(gradient.shape[3]):
                        z = j * across - before + kw
                        if 0 <= z < x.shape[3]:
                            total += gradient[n, o, i, j] * x[n, c, y, z]
        result[o, c, kh, kw] = total


# ---------------------------------------------------------------------------------- columns, written out


@cuda.jit
def conv2d_im2col_kernel(x, first, down, across, above, before, columns):
    """Column q of (channels, kernel height, width, pixels of some images): what output q is computed from."""
    t = cuda.grid(1)
    if t < columns.size:
        j, rest = t % columns.shape[5], t // columns.shape[5]
        i, rest = rest % columns.shape[4], rest // columns.shape[4]
        n, rest = rest % columns.shape[3], rest // columns.shape[3]
        kw, rest = rest % columns.shape[2], rest // columns.shape[2]
        kh, c = rest % columns.shape[1], rest // columns.shape[1]
        y, z = i * down - above + kh, j * across - before + kw
        value = x.dtype.type(0)
        if 0 <= y < x.shape[2] and 0 <= z < x.shape[3]:
            value = x[first + n, c, y, z]
        columns[c, kh, kw, n, i, j] = value


@cuda.jit
def conv2d_unfold_kernel(products, bias, biased, first, y):
    """From (filters, images, pixels), as the product has it, to (images, filters, pixels), with the bias."""
    t = cuda.grid(1)
    if t < products.size:
        p, rest = t % products.shape[2], t // products.shape[2]
        n, o = rest % products.shape[1], rest // products.shape[1]
        value = products[o, n, p]
        if biased:
            value += bias[o]
        y[first + n, o, p] = value


# --------------------------------------------------------------------------------- columns, never written

BLOCK = 128  # columns of the product that a block makes
STEP = 8  # products between two barriers
B_TILE = (STEP, BLOCK + 4)  # rows begin 4 banks apart; see `matmul_register_2d_kernel`

# Whole numbers are int32 here wherever that matters: numba makes int64 of every sum and product, which takes
# two registers and, to be divided, dozens of instructions. Indices are uint32, because a signed one might
# count from the end of the array. So arrays of 2³¹ elements and more go to the direct kernels.
#
# Each of the kernels below exists twice. With a tile of 128 rows a thread makes 8×8 results, of two pieces of
# 4 rows and two of 4 columns, 64 apart, as in `matmul_vector_kernel`. Few filters would leave most of such a
# tile empty; for them there are 32 rows, and 4×8 results a thread.


def _make_implicit(rows, each):
    threads = rows // each * 16
    apart = threads // BLOCK  # rows of the tile of pixels that are fetched at a time
    a_tile_shape, totals_shape = (STEP, rows + 4), (each, 8)

    @cuda.jit
    def conv2d_implicit_kernel(
        x, w, bias, biased, aligned, height, width, columns, tall, wide, down, across, above, before, size, y
    ):
        """x and y are flat, w is (filters, taps), the kernel tall × wide; y has `size` pixels per filter."""
        a_tile = cuda.shared.array(a_tile_shape, x.dtype, 16)
        b_tile = cuda.shared.array(B_TILE, x.dtype, 16)
        totals = cuda.local.array(totals_shape, x.dtype)
        column = cuda.local.array(each, x.dtype)
        row = cuda.local.array(8, x.dtype)
        place = cuda.local.array(8, "int32")
        t = cuda.threadIdx.x
        top, left = int32(cuda.blockIdx.y * rows), int32(cuda.blockIdx.x * BLOCK)
        filters, taps = int32(w.shape[0]), int32(w.shape[1])
        pixels = int32(y.size // filters)
        zero = y.dtype.type(0)
        # I always fetch pixels for the same output, whose window begins here,
        output = int32(left + t % BLOCK)
        n, p = int32(output // size), int32(output % size)
        i, j = int32(p // columns * down - above), int32(p % columns * across - before)
        start = int32((n * (taps // (tall * wide)) * height + i) * width + j)
        # under the tap (kh, kw) of one channel after another.
        k = t // BLOCK
        kh, kw = int32(k // wide % tall), int32(k % wide)
        tap = int32((k // (tall * wide) * height + kh) * width + kw)
        for r in range(each):
            for s in range(8):
                totals[r, s] = zero
        for first in range(0, taps, STEP):
            for q in range(t, rows * STEP // 4, threads):
                r, k = q // 2, q % 2 * 4
                values = (zero, zero, zero, zero)
                if top + r < filters and first + k < taps:
                    if aligned:
                        values = load4(w, top + r, first + k)
                    else:
                        values = (
                            w[top + r, first + k],
                            w[top + r, first + k + 1] if first + k + 1 < taps else zero,
                            w[top + r, first + k + 2] if first + k + 2 < taps else zero,
                            w[top + r, first + k + 3] if first + k + 3 < taps else zero,
                        )
                a_tile[k, r], a_tile[k + 1, r], a_tile[k + 2, r], a_tile[k + 3, r] = values
            for k in range(t // BLOCK, STEP, apart):
                value = zero
                inside = 0 <= i + kh < height and 0 <= j + kw < width
                if inside and output < pixels and first + k < taps:
                    value = x[uint32(start + tap)]
                b_tile[k, t % BLOCK] = value
                kw = int32(kw + apart)
                tap = int32(tap + apart)
                while kw >= wide:  # on to the next row of the kernel, and after the last to the next channel
                    kw = int32(kw - wide)
                    kh = int32(kh + 1)
                    tap = int32(tap + width - wide)
                    if kh == tall:
                        kh = int32(0)
                        tap = int32(tap + (height - tall) * width)
            cuda.syncthreads()  # the tiles are complete
            for k in range(STEP):
                for r in range(0, each, 4):
                    column[r], column[r + 1], column[r + 2], column[r + 3] = load4(
                        a_tile, k, t // 16 * 4 + r * 16
                    )
                for s in range(0, 8, 4):
                    row[s], row[s + 1], row[s + 2], row[s + 3] = load4(b_tile, k, t % 16 * 4 + s * 16)
                for r in range(each):
                    for s in range(8):
                        totals[r, s] += column[r] * row[s]
            cuda.syncthreads()  # nobody needs them any more
        for s in range(8):
            output = int32(left + t % 16 * 4 + s % 4 + s // 4 * 64)
            place[s] = output // size * filters * size + output % size if output < pixels else -1
        for r in range(each):
            o = top + t // 16 * 4 + r % 4 + r // 4 * 64
            if o < filters:
                more = bias[o] if biased else zero
                for s in range(8):
                    if place[s] >= 0:
                        y[uint32(place[s] + o * size)] = totals[r, s] + more

    return conv2d_implicit_kernel


conv2d_implicit_kernel = _make_implicit(128, 8)
conv2d_implicit_narrow_kernel = _make_implicit(32, 4)


def _make_backward_input(rows, each):
    threads = rows // each * 16
    apart = threads // BLOCK
    a_tile_shape, totals_shape = (STEP, rows + 4), (each, 8)

    @cuda.jit
    def conv2d_backward_input_implicit_kernel(
        gradient,
        w,
        bias,
        biased,
        filters,
        channels,
        height,
        width,
        tall,
        wide,
        kernel_height,
        kernel_width,
        down,
        across,
        above,
        before,
        result,
    ):
        """All arrays are flat; the gradient is tall × wide pixels large.

        With a stride s only every s-th tap met a pixel: those with the pixel's own remainder modulo s. So the
        pixels go to s×s groups (blockIdx.z), each a product of its own with its share of the taps.
        """
        a_tile = cuda.shared.array(a_tile_shape, w.dtype, 16)
        b_tile = cuda.shared.array(B_TILE, w.dtype, 16)
        totals = cuda.local.array(totals_shape, w.dtype)
        column = cuda.local.array(each, w.dtype)
        row = cuda.local.array(8, w.dtype)
        place = cuda.local.array(8, "int32")
        t = cuda.threadIdx.x
        top, left = int32(cuda.blockIdx.y * rows), int32(cuda.blockIdx.x * BLOCK)
        zero = w.dtype.type(0)
        # My group's taps begin at (a, b), its pixels at (y, x), and both go on in steps of a stride.
        a, b = int32(cuda.blockIdx.z // across), int32(cuda.blockIdx.z % across)
        y, x = int32((a - above) % down), int32((b - before) % across)
        tap_rows = int32((kernel_height - a + down - 1) // down)
        tap_columns = int32((kernel_width - b + across - 1) // across)
        taps = int32(filters * tap_rows * tap_columns)
        if taps == 0:  # nothing met these pixels; the remainders below want a number that is not 0
            tap_rows = tap_columns = int32(1)
        pixel_columns = int32((width - x + across - 1) // across)
        size = int32((height - y + down - 1) // down * pixel_columns)
        pixels = int32(result.size // (channels * height * width) * size)
        if left < pixels:  # other groups may be larger
            # I always fetch gradients for the same pixel. Its first tap belongs to output (i, j), the tap
            # (u, v) to output (i - u, j - v).
            pixel = int32(left + t % BLOCK)
            n, p = int32(pixel // size), int32(pixel % size)
            i = int32((y + above - a) // down + p // pixel_columns)
            j = int32((x + before - b) // across + p % pixel_columns)
            start = int32((n * filters * tall + i) * wide + j)
            k = t // BLOCK
            u, v = int32(k // tap_columns % tap_rows), int32(k % tap_columns)
            tap = int32((k // (tap_rows * tap_columns) * tall - u) * wide - v)
            # And weights under the tap (kh, kw) of filter o.
            k = t % STEP
            o = int32(k // (tap_rows * tap_columns))
            kh, kw = int32(k // tap_columns % tap_rows), int32(k % tap_columns)
            for r in range(each):
                for s in range(8):
                    totals[r, s] = zero
            for first in range(0, taps, STEP):
                q = int32(
                    ((o * channels + top) * kernel_height + a + kh * down) * kernel_width + b + kw * across
                )
                for r in range(t // STEP, rows, threads // STEP):
                    value = zero
                    if top + r < channels and o < filters:
                        value = w[uint32(q + r * kernel_height * kernel_width)]
                    a_tile[t % STEP, r] = value
                kw = int32(kw + STEP)
                while kw >= tap_columns:
                    kw = int32(kw - tap_columns)
                    kh = int32(kh + 1)
                    if kh == tap_rows:
                        kh = int32(0)
                        o = int32(o + 1)
                for k in range(t // BLOCK, STEP, apart):
                    value = zero
                    inside = 0 <= i - u < tall and 0 <= j - v < wide
                    if inside and pixel < pixels and first + k < taps:
                        value = gradient[uint32(start + tap)]
                    b_tile[k, t % BLOCK] = value
                    v = int32(v + apart)
                    tap = int32(tap - apart)
                    while v >= tap_columns:
                        v = int32(v - tap_columns)
                        u = int32(u + 1)
                        tap = int32(tap + tap_columns - wide)
                        if u == tap_rows:
                            u = int32(0)
                            tap = int32(tap + (tall + tap_rows) * wide)
                cuda.syncthreads()
                for k in range(STEP):
                    for r in range(0, each, 4):
                        column[r], column[r + 1], column[r + 2], column[r + 3] = load4(
                            a_tile, k, t // 16 * 4 + r * 16
                        )
                    for s in range(0, 8, 4):
                        row[s], row[s + 1], row[s + 2], row[s + 3] = load4(b_tile, k, t % 16 * 4 + s * 16)
                    for r in range(each):
                        for s in range(8):
                            totals[r, s] += column[r] * row[s]
                cuda.syncthreads()
            for s in range(8):
                pixel = int32(left + t % 16 * 4 + s % 4 + s // 4 * 64)
                n, p = int32(pixel // size), int32(pixel % size)
                i, j = int32(y + p // pixel_columns * down), int32(x + p % pixel_columns * across)
                place[s] = (n * channels * height + i) * width + j if pixel < pixels else -1
            for r in range(each):
                c = top + t // 16 * 4 + r % 4 + r // 4 * 64
                if c < channels:
                    more = bias[c] if biased else zero
                    for s in range(8):
                        if place[s] >= 0:
                            result[uint32(place[s] + c * height * width)] = totals[r, s] + more

    return conv2d_backward_input_implicit_kernel


conv2d_backward_input_implicit_kernel = _make_backward_input(128, 8)
conv2d_backward_input_implicit_narrow_kernel = _make_backward_input(32, 4)


def _make_backward_weight(rows, each):
    threads = rows // each * 16
    apart = threads // STEP  # rows or columns fetched at a time, of eight pixels each
    mine = BLOCK // apart  # columns that a thread fetches
    a_tile_shape, totals_shape = (STEP, rows + 4), (each, 8)

    @cuda.jit
    def conv2d_backward_weight_implicit_kernel(
        gradient, x, size, height, width, columns, tall, wide, down, across, above, before, share, result
    ):
        """x and the gradient, with `size` pixels a filter, are flat, the result (shares, filters, taps).

        There are few weights and many pixels, so that the product has few tiles, each a long sum. To keep
        more blocks busy, the sum is cut into shares (blockIdx.z), which another kernel adds up.
        """
        a_tile = cuda.shared.array(a_tile_shape, x.dtype, 16)
        b_tile = cuda.shared.array(B_TILE, x.dtype, 16)
        totals = cuda.local.array(totals_shape, x.dtype)
        column = cuda.local.array(each, x.dtype)
        row = cuda.local.array(8, x.dtype)
        tap_row = cuda.local.array(mine, "int32")
        tap_column = cuda.local.array(mine, "int32")
        tap = cuda.local.array(mine, "int32")
        t = cuda.threadIdx.x
        top, left = int32(cuda.blockIdx.y * rows), int32(cuda.blockIdx.x * BLOCK)
        filters, taps = int32(result.shape[1]), int32(result.shape[2])
        channels = int32(taps // (tall * wide))
        zero = x.dtype.type(0)
        begin = int32(cuda.blockIdx.z * share)
        end = int32(min(begin + share, gradient.size // filters))
        # I fetch every eighth pixel, now pixel p = (i, j) of image n, under a few taps.
        n, p = int32((begin + t % STEP) // size), int32((begin + t % STEP) % size)
        i, j = int32(p // columns), int32(p % columns)
        for m in range(mine):
            k = int32(left + t // STEP + m * apart)
            tap_row[m], tap_column[m] = k // wide % tall, k % wide
            tap[m] = (k // (tall * wide) * height + tap_row[m]) * width + tap_column[m]
        for r in range(each):
            for s in range(8):
                totals[r, s] = zero
        for first in range(begin, end, STEP):
            inside = first + t % STEP < end
            start = int32((n * filters + top) * size + p)
            for r in range(t // STEP, rows, apart):
                a_tile[t % STEP, r] = (
                    gradient[uint32(start + r * size)] if inside and top + r < filters else zero
                )
            y, z = int32(i * down - above), int32(j * across - before)
            start = int32((n * channels * height + y) * width + z)
            for m in range(mine):
                k = t // STEP + m * apart
                value = zero
                met = 0 <= y + tap_row[m] < height and 0 <= z + tap_column[m] < width
                if met and inside and left + k < taps:
                    value = x[uint32(start + tap[m])]
                b_tile[t % STEP, k] = value
            p = int32(p + STEP)
            j = int32(j + STEP)
            while j >= columns:
                j = int32(j - columns)
                i = int32(i + 1)
                if i * columns == size:
                    i = int32(0)
                    p = int32(p - size)
                    n = int32(n + 1)
            cuda.syncthreads()
            for k in range(STEP):
                for r in range(0, each, 4):
                    column[r], column[r + 1], column[r + 2], column[r + 3] = load4(
                        a_tile, k, t // 16 * 4 + r * 16
                    )
                for s in range(0, 8, 4):
                    row[s], row[s + 1], row[s + 2], row[s + 3] = load4(b_tile, k, t % 16 * 4 + s * 16)
                for r in range(each):
                    for s in range(8):
                        totals[r, s] += column[r] * row[s]
            cuda.syncthreads()
        for r in range(each):
            o = top + t // 16 * 4 + r % 4 + r // 4 * 64
            if o < filters:
                for s in range(8):
                    k = left + t % 16 * 4 + s % 4 + s // 4 * 64
                    if k < taps:
                        result[cuda.blockIdx.z, o, k] = totals[r, s]

    return conv2d_backward_weight_implicit_kernel


conv2d_backward_weight_implicit_kernel = _make_backward_weight(128, 8)
conv2d_backward_weight_implicit_narrow_kernel = _make_backward_weight(32, 4)


# ----------------------------------------------------------------------------------------- the launches

RUNGS = ("direct", "im2col", "implicit")
BACKWARD_RUNGS = ("direct", "implicit")
WIDE, NARROW = (128, 256), (32, 128)  # rows of a tile, and threads of the block that makes it
MOST = 1 << 31  # elements of an array, from which on int32 indices do not do
BUSY = 512  # blocks among which the gradient to the weights is shared out, if there are fewer tiles
SHORTEST = 256  # pixels in a share, at least


def tile(rows):
    """Return (rows, threads) of the blocks that make a product of so many rows.

    The narrow kernel takes about four thirds of the time for one product.
    """
    return NARROW if 4 * up(rows, NARROW[0]) < 3 * up(rows, WIDE[0]) else WIDE


def up(size, step):
    """Round up to a multiple of `step`."""
    return -(-size // step) * step


def shares(geometry):
    """Return how many pixels each share of the gradient to the weights has, and how many shares there are."""
    pixels = geometry.images * math.prod(geometry.out)
    taps = math.prod(geometry.w_shape[1:])
    tiles = -(-geometry.filters // tile(geometry.filters)[0]) * -(-taps // BLOCK)
    parts = max(1, min(BUSY // tiles, pixels // SHORTEST))
    share = up(-(-pixels // parts), STEP)
    return share, -(-pixels // share)


def conv2d_cuda(x, w, bias=None, stride=1, padding=0, out=None, machine=GPU, rung="implicit"):
    """Return the convolution of images with filters, computed on the GPU.

    Parameters, result and errors are those of `conv2d_reference`, and:

    Parameters
    ----------
    x, w, bias, out : arrays
        In host or in GPU memory. The result stays on the GPU if `x` was there and no `out` says otherwise.
    machine : Gpu
        What runs the kernel; `minidl.instruments.tracer.TracedGpu()` runs it on the CPU, thread by thread.
    rung : {"direct", "im2col", "implicit"}

    Raises
    ------
    DeviceUnavailable
        If the machine has no GPU.
    ValueError
        If there are more filters than a grid has blocks for (at least 2,097,120).
    """
    _check_rung(rung, RUNGS)
    x, w, bias, geometry, out = check_forward(x, w, bias, stride, padding, out)
    _check_rows("filters", geometry.filters)
    pixels = math.prod(geometry.out)
    images, weights = machine.upload(x), machine.upload(w)
    add = machine.upload(w.reshape(w.size) if bias is None else bias), bias is not None
    result = out if is_on_gpu(out) else machine.empty(geometry.y_shape, x.dtype)
    steps = *geometry.stride, *geometry.padding
    if rung == "direct" or (rung == "implicit" and _is_huge(geometry)):
        blocks = -(-math.prod(geometry.y_shape) // THREADS)
        machine.launch(conv2d_direct_kernel, blocks, THREADS, images, weights, *add, *steps, result)
    elif rung == "im2col":
        _by_columns(images, weights, add, geometry, machine, result)
    else:
        rows, threads = tile(geometry.filters)
        kernel = conv2d_implicit_kernel if rows == WIDE[0] else conv2d_implicit_narrow_kernel
        weights = weights.reshape((geometry.filters, math.prod(geometry.w_shape[1:])))
        machine.launch(
            kernel,
            (-(-geometry.images * pixels // BLOCK), -(-geometry.filters // rows)),
            threads,
            images.reshape(images.size),
            weights,
            *add,
            has_aligned_rows(weights),
            *map(int32, (geometry.height, geometry.width, geometry.out[1], *geometry.kernel, *steps, pixels)),
            result.reshape(result.size),
        )
    return _bring(result, out, x, machine)


def images_at_a_time(geometry, itemsize):
    """Return for how many images the columns fit into `COLUMN_BYTES`."""
    per_image = math.prod((*geometry.w_shape[1:], *geometry.out)) * itemsize
    return min(geometry.images, max(1, COLUMN_BYTES // per_image))


def _by_columns(x, w, add, geometry, machine, result):
    """Columns, product, and the product's axes put in order, for some images after the other."""
    taps, pixels = math.prod(geometry.w_shape[1:]), math.prod(geometry.out)
    step = images_at_a_time(geometry, x.dtype.itemsize)
    for first in range(0, geometry.images, step):
        count = min(step, geometry.images - first)
        columns = machine.empty((*geometry.w_shape[1:], count, *geometry.out), x.dtype)
        products = machine.empty((geometry.filters, count * pixels), x.dtype)
        blocks = -(-columns.size // THREADS)
        steps = *geometry.stride, *geometry.padding
        machine.launch(conv2d_im2col_kernel, blocks, THREADS, x, first, *steps, columns)
        products = matmul_cuda(
            w.reshape((geometry.filters, taps)),
            columns.reshape((taps, count * pixels)),
            out=products,
            machine=machine,
        )
        machine.launch(
            conv2d_unfold_kernel,
            -(-products.size // THREADS),
            THREADS,
            products.reshape((geometry.filters, count, pixels)),
            *add,
            first,
            result.reshape((geometry.images, geometry.filters, pixels)),
        )


def conv2d_backward_input_cuda(
    gradient, w, shape, stride=1, padding=0, out=None, machine=GPU, rung="implicit", bias=None
):
    """Return the gradient to x, computed on the GPU; forward, this is a transposed convolution.

    Parameters, result and errors are those of `conv2d_backward_input_reference`, and:

    Parameters
    ----------
    gradient, w, out : arrays
        In host or in GPU memory. The result stays on the GPU if the gradient was there and no `out` says
        otherwise.
    machine : Gpu
    rung : {"direct", "implicit"}
    bias : array of shape (C,), optional
        Added to every pixel of the result: what a transposed convolution has use for.

    Raises
    ------
    DeviceUnavailable
        If the machine has no GPU.
    ValueError
        If there are more channels than a grid has blocks for (at least 2,097,120).
    """
    _check_rung(rung, BACKWARD_RUNGS)
    gradient, w, geometry, out = check_backward_input(gradient, w, shape, stride, padding, out)
    _check_rows("channels", geometry.channels)
    if bias is not None and (tuple(bias.shape) != (geometry.channels,) or bias.dtype != w.dtype):
        raise ValueError(
            f"bias must be {w.dtype} of shape {(geometry.channels,)}, got {bias.dtype} of shape {bias.shape}"
        )
    there, weights = machine.upload(gradient), machine.upload(w)
    add = machine.upload(w.reshape(w.size) if bias is None else bias), bias is not None
    result = out if is_on_gpu(out) else machine.empty(geometry.x_shape, w.dtype)
    steps = *geometry.stride, *geometry.padding
    if rung == "direct" or _is_huge(geometry):
        blocks = -(-math.prod(geometry.x_shape) // THREADS)
        kernel = conv2d_backward_input_direct_kernel
        machine.launch(kernel, blocks, THREADS, there, weights, *add, *steps, result)
    else:
        rows, threads = tile(geometry.channels)
        down, across = geometry.stride
        largest = geometry.images * -(-geometry.height // down) * -(-geometry.width // across)
        machine.launch(
            conv2d_backward_input_implicit_kernel
            if rows == WIDE[0]
            else conv2d_backward_input_implicit_narrow_kernel,
            (-(-largest // BLOCK), -(-geometry.channels // rows), down * across),
            threads,
            there.reshape(there.size),
            weights.reshape(weights.size),
            *add,
            *map(
                int32,
                (geometry.filters, *geometry.x_shape[1:], *geometry.out, *geometry.kernel, *steps),
            ),
            result.reshape(result.size),
        )
    return _bring(result, out, gradient, machine)


def conv2d_backward_weight_cuda(
    gradient, x, shape, stride=1, padding=0, out=None, machine=GPU, rung="implicit"
):
    """Return the gradient to w, computed on the GPU.

    Parameters, result and errors are those of `conv2d_backward_weight_reference`, and:

    Parameters
    ----------
    gradient, x, out : arrays
        In host or in GPU memory. The result stays on the GPU if the gradient was there and no `out` says
        otherwise.
    machine : Gpu
    rung : {"direct", "implicit"}

    Raises
    ------
    DeviceUnavailable
        If the machine has no GPU.
    ValueError
        If there are more filters than a grid has blocks for (at least 2,097,120).
    """
    _check_rung(rung, BACKWARD_RUNGS)
    gradient, x, geometry, out = check_backward_weight(gradient, x, shape, stride, padding, out)
    _check_rows("filters", geometry.filters)
    there, images = machine.upload(gradient), machine.upload(x)
    result = out if is_on_gpu(out) else machine.empty(geometry.w_shape, x.dtype)
    steps = *geometry.stride, *geometry.padding
    if rung == "direct" or _is_huge(geometry):
        blocks = -(-math.prod(geometry.w_shape) // THREADS)
        machine.launch(conv2d_backward_weight_direct_kernel, blocks, THREADS, there, images, *steps, result)
    else:
        rows, threads = tile(geometry.filters)
        taps = math.prod(geometry.w_shape[1:])
        share, parts = shares(geometry)
        flat = parts, geometry.filters, taps
        sums = result.reshape(flat) if parts == 1 else machine.empty(flat, x.dtype)
        machine.launch(
            conv2d_backward_weight_implicit_kernel
            if rows == WIDE[0]
            else conv2d_backward_weight_implicit_narrow_kernel,
            (-(-taps // BLOCK), -(-geometry.filters // rows), parts),
            threads,
            there.reshape(there.size),
            images.reshape(images.size),
            *map(
                int32,
                (
                    math.prod(geometry.out),
                    *geometry.x_shape[2:],
                    geometry.out[1],
                    *geometry.kernel,
                    *steps,
                    share,
                ),
            ),
            sums,
        )
        if parts > 1:
            machine.launch(
                reduce_sum_columns_kernel,
                -(-result.size // THREADS),
                THREADS,
                sums.reshape(sums.size),
                parts,
                result.size,
                result.reshape(result.size),
            )
    return _bring(result, out, gradient, machine)


def conv2d_backward_bias_cuda(gradient, out=None, machine=GPU):
    """Return the gradient to bias, computed on the GPU: the sum of the output's gradient per channel.

    Parameters and errors are those of `conv2d_backward_bias`, and `machine`.
    """
    gradient = check_floats("gradient", gradient, ndim=4)
    return reduce_sum_cuda(gradient, axis=(0, 2, 3), out=out, machine=machine)


def conv2d_backward_cuda(gradient, x, w, stride=1, padding=0, machine=GPU, rung="implicit"):
    """Return the gradients to x, w and bias, computed on the GPU."""
    _check_rung(rung, BACKWARD_RUNGS)
    steps = {"stride": stride, "padding": padding, "machine": machine}
    return (
        conv2d_backward_input_cuda(gradient, w, tuple(x.shape), **steps, rung=rung),
        conv2d_backward_weight_cuda(gradient, x, tuple(w.shape), **steps, rung=rung),
        conv2d_backward_bias_cuda(gradient, machine=machine),
    )


def _check_rung(rung, rungs):
    if rung not in rungs:
        raise ValueError(f"rung must be one of {', '.join(rungs)}, got {rung!r}")


def _check_rows(name, count):
    """A grid has at most 65535 blocks along its second axis, each with a tile of some rows."""
    if count > 65535 * NARROW[0]:
        raise ValueError(f"{name} must be at most {65535 * NARROW[0]} on the GPU, got {count}")


def _is_huge(geometry):
    shapes = geometry.x_shape, geometry.w_shape, geometry.y_shape
    return max(map(math.prod, shapes)) > MOST - BLOCK


def _bring(result, out, source, machine):
    """Return the result where it is wanted."""
    if result is out or (out is None and is_on_gpu(source)):
        return result
    return machine.download(result, out)
