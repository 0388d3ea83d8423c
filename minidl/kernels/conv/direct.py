"""Direct convolution on the CPU, a tile of four filters at a time: the fastest rung, forward and backward.

Lay an image out in memory with its padding, row after row, each row `pitch` values long. Then the pixel that
the kernel's tap (kh, kw) meets for output pixel p is p + kh·pitch + kw: the whole image, shifted by
a constant. So

    out[o] = Σ over channels and taps of  w[o, c, kh, kw] · (image c, shifted by kh·pitch + kw)

is a matrix product whose right-hand rows are shifted views of the image. None of them is copied, which is
what im2col spends its time on. At the end of each row come a few outputs that mix two rows; nobody stores
them.

With a stride s the image is first dealt out, like cards, to s×s planes: pixel (i, j) to plane
(i mod s, j mod s). Within a plane, the pixels that one tap meets are neighbours again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange

from minidl.kernels.compiling import PARALLEL, REORDER, SERIAL
from minidl.kernels.conv import lowering
from minidl.kernels.conv.lowering import fetch
from minidl.kernels.conv.reference import (
    checked_backward_input,
    checked_backward_weight,
    checked_forward,
)
from minidl.kernels.matmul.packed import aligned_empty

FILTERS, TAPS = 4, 6  # whose 24 weights are held in registers
PIXELS = 1024  # most outputs in a tile: four rows of them and an image's plane stay in the L1 cache
WIDEST = 512  # most of them in one row
BLOCK = 1 << 16  # values gathered at a time, unless one channel alone has more: they stay in the L2 cache
VECTOR = 16  # loops over pixels run in steps of so many

# ------------------------------------------------------------------------------------------- what one calls


def conv2d_direct(x, w, bias=None, stride=1, padding=0, out=None):
    """Rung 8: no columns, but shifted views, and 24 weights in registers."""
    return forward(*checked_forward(x, w, bias, stride, padding, out))


def conv2d_backward_input_direct(gradient, w, shape, stride=1, padding=0, out=None):
    """The gradient to x is a convolution as well: of the output's gradient, with the kernel turned round."""
    return backward_input(*checked_backward_input(gradient, w, shape, stride, padding, out))


def conv2d_backward_weight_direct(gradient, x, shape, stride=1, padding=0, out=None):
    """The gradient to w is the same matrix product with other roles: pixels are what is summed over."""
    return backward_weight(*checked_backward_weight(gradient, x, shape, stride, padding, out))


def forward(x, w, bias, geometry, out):
    """`conv2d_direct` of arguments that have been checked."""
    above, before = geometry.padding
    return correlate(x, w, bias, geometry.stride, (-above, -before), out)


def backward_input(gradient, w, geometry, out):
    """`conv2d_backward_input_direct` of arguments that have been checked.

    With a stride s, every s-th pixel of x has met the same taps of the kernel, every s-th of them. So these
    are s×s convolutions with stride 1, each with its share of the taps, each for its share of the pixels.
    """
    if not np.isfinite(w).all():  # around the gradient there are zeros, and 0·inf would be NaN
        return lowering.backward_input(gradient, w, geometry, out)
    (down, across), (above, before) = geometry.stride, geometry.padding
    for a in range(down):
        for b in range(across):
            taps = w[:, :, a::down, b::across]
            y, x = -((a - above) // down), -((b - before) // across)  # what its first pixel met last
            pixels = out[:, :, y * down + a - above :: down, x * across + b - before :: across]
            if pixels.size and taps.size:
                turned = taps[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
                origin = y - taps.shape[2] + 1, x - taps.shape[3] + 1
                correlate(gradient, turned, None, (1, 1), origin, pixels)
            else:
                pixels[...] = 0
    return out


def backward_weight(gradient, x, geometry, out):
    """`conv2d_backward_weight_direct` of arguments that have been checked."""
    above, before = geometry.padding
    correlate_backward_weight(gradient, x, geometry.stride, (-above, -before), out)
    if not np.isfinite(out).all():  # outputs that mix two rows have gradient 0, and 0·inf is NaN
        lowering.backward_weight(gradient, x, geometry, out)
    return out


# -------------------------------------------------------------------------------------------- cutting up


class Tiling(NamedTuple):
    """How the work is cut up, and where in the gathered planes each tap begins."""

    down: int  # the stride
    across: int
    y: int  # the pixel that the first tap meets for the first output: -padding, usually
    x: int
    rows: int  # most rows of the output in a tile
    columns: int
    planes_down: int  # the stride deals each channel out to planes_down × planes_across planes
    planes_across: int
    pitch: int  # from one row of a plane to the next
    plane: int  # values in a plane
    channels: int  # gathered at a time: a block
    blocks: int
    offsets: np.ndarray  # for each tap of a block, uint64

    @property
    def values(self):
        """Values of a block, and zeros behind them for the taps that fill its last group of six up."""
        return self.channels * self.planes_down * self.planes_across * self.plane + PIXELS + VECTOR


@lru_cache(maxsize=256)
def plan(channels, width, kernel, stride, origin, out) -> Tiling:
    """Choose tiles for a convolution of these sizes; `width` is x's, `out` the output's rows and columns."""
    reach = (kernel[0] - 1) // stride[0], (kernel[1] - 1) // stride[1]
    columns = _evenly(out[1], WIDEST)
    pitch = columns + reach[1]
    if columns == out[1] and stride[1] == 1:
        left, right = -origin[1], out[1] + kernel[1] - 1 + origin[1] - width
        pitch = max(columns, pitch - max(0, min(left, right)))  # the padding after a row begins the next
    rows = _evenly(out[0], 1 + (PIXELS - columns) // pitch)
    plane = (rows + reach[0]) * pitch
    planes = min(kernel[0], stride[0]), min(kernel[1], stride[1])
    per_channel = planes[0] * planes[1] * plane
    at_a_time = _evenly(channels, max(1, BLOCK // per_channel))
    taps = at_a_time * kernel[0] * kernel[1]
    offsets = np.full(_up(taps, TAPS), at_a_time * per_channel, np.uint64)  # where the zeros are
    c, kh, kw = np.ogrid[:at_a_time, : kernel[0], : kernel[1]]
    which = (c * planes[0] + kh % stride[0]) * planes[1] + kw % stride[1]
    offsets[:taps] = (which * plane + kh // stride[0] * pitch + kw // stride[1]).ravel()
    blocks = -(-channels // at_a_time)
    return Tiling(*stride, *origin, rows, columns, *planes, pitch, plane, at_a_time, blocks, offsets)


def _evenly(size, most):
    """The size of a part if `size` is cut into equal parts of at most `most`."""
    return -(-size // -(-size // most))


def _up(size, step):
    return -(-size // step) * step


def _scratch(tiling, dtype):
    """Return, for each thread, room for the planes of a block and for four rows of outputs."""
    threads = get_num_threads()
    planes = aligned_empty((threads, _up(tiling.values, VECTOR)), dtype)
    planes[:, tiling.values - PIXELS - VECTOR :] = 0
    return planes, aligned_empty((threads, FILTERS * PIXELS), dtype)


@njit(**SERIAL)
def _gather(image, block, top, left, tiling, values):
    """Deal what a tile needs of an image's channels out to planes, with zeros outside of the image."""
    height, pitch = image.shape[1], tiling.pitch
    down, across = tiling.down, tiling.across
    y0, x0 = top * down + tiling.y, left * across + tiling.x
    start = 0
    for c in range(block * tiling.channels, (block + 1) * tiling.channels):
        for a in range(tiling.planes_down):
            for b in range(tiling.planes_across):
                for y in range(y0 + a, y0 + a + tiling.plane // pitch * down, down):
                    row = values[start : start + pitch]
                    if c < len(image) and 0 <= y < height:
                        fetch(image[c, y], x0 + b, across, row)
                    else:
                        row[:] = 0
                    start += pitch


@njit(**SERIAL)
def _copy(source, target):
    for j in range(np.uint64(source.size)):
        target[j] = source[j]


# ----------------------------------------------------------------------------------------- multiplying


def correlate(x, w, bias, stride, origin, out):
    """out[n, o, i, j] = bias[o] + Σ w[o, c, kh, kw]·x[n, c, i·stride + kh + origin, j·stride + kw + origin].

    Outside of x there are zeros. Convolution is this, with origin = -padding, and so is the gradient to its
    input, with other x and w.
    """
    x, w = np.require(x, requirements="CA"), np.ascontiguousarray(w)
    result = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    filters, channels, *kernel = w.shape
    tiling = plan(channels, x.shape[3], tuple(kernel), stride, origin, out.shape[2:])
    packed = np.zeros((tiling.blocks, _up(filters, FILTERS), tiling.offsets.size), w.dtype)
    for block in range(tiling.blocks):
        part = w[:, block * tiling.channels : (block + 1) * tiling.channels].reshape(filters, -1)
        packed[block, :filters, : part.shape[1]] = part
    bias = np.zeros(filters, w.dtype) if bias is None else bias
    _correlate(x, packed, np.ascontiguousarray(bias), tiling, *_scratch(tiling, x.dtype), result)
    if result is not out:
        out[...] = result
    return out


@njit(**PARALLEL)
def _correlate(x, weights, bias, tiling, planes, sums, out):
    images, _, height, width = out.shape
    threads, groups = len(planes), weights.shape[1] // FILTERS
    rows, columns = tiling.rows, tiling.columns
    down, across = (height + rows - 1) // rows, (width + columns - 1) // columns
    tiles = images * down * across
    parts = 1  # of the filters; with few tiles, the threads share the filters of a tile
    if tiles % threads != 0 and tiles < 4 * threads:
        parts = min(threads, groups)
    for thread in prange(threads):
        for task in range(thread, tiles * parts, threads):
            part, tile = task % parts, task // parts
            n, top, left = tile // (down * across), tile // across % down * rows, tile % across * columns
            some = groups * part // parts, groups * (part + 1) // parts
            _one_tile(x[n], weights, bias, tiling, top, left, some, planes[thread], sums[thread], out[n])


@njit(**SERIAL)
def _one_tile(image, weights, bias, tiling, top, left, groups, values, sums, out):
    rows = min(tiling.rows, out.shape[1] - top)
    columns = min(tiling.columns, out.shape[2] - left)
    pixels = (rows - 1) * tiling.pitch + columns
    taps = tiling.offsets.size
    for block in range(tiling.blocks):
        _gather(image, block, top, left, tiling, values)
        for group in range(groups[0], groups[1]):
            first, last = group * FILTERS, min((group + 1) * FILTERS, len(out))
            for o in range(first, last):
                row = sums[(o - first) * PIXELS : (o - first + 1) * PIXELS]
                if block == 0:
                    row[:pixels] = bias[o]
                else:
                    for i in range(rows):
                        _copy(out[o, top + i, left : left + columns], row[i * tiling.pitch :])
            w = weights[block, first : first + FILTERS].reshape(FILTERS * taps)
            multiply_shifted(values, tiling.offsets, w, sums, pixels)
            for o in range(first, last):
                row = sums[(o - first) * PIXELS : (o - first + 1) * PIXELS]
                for i in range(rows):
                    _copy(row[i * tiling.pitch : i * tiling.pitch + columns], out[o, top + i, left:])


U0, U1, U2, U3, U4, U5, U6 = (np.uint64(i) for i in range(7))
ROW = np.uint64(PIXELS)
WHOLE_VECTORS = ~np.uint64(VECTOR - 1)


@njit(**SERIAL)
def multiply_shifted(x, offsets, w, sums, pixels):
    """sums[r, p] += Σₖ w[r, k]·x[p + offsets[k]] for four rows r of w and of sums, all of them flat.

    24 weights are held in registers during the innermost loop, where each vector of x serves four filters and
    each vector of sums is fetched and stored once for six products. The loop does whole vectors only, up to
    15 pixels too many: the code for a remainder would want the weights in registers a second time.
    """
    taps = np.uint64(offsets.size)
    for k in range(U0, taps, U6):
        q = _six(offsets, k)
        w0, w1, w2, w3 = _six(w, k), _six(w, taps + k), _six(w, U2 * taps + k), _six(w, U3 * taps + k)
        for p in range(U0, np.uint64(pixels + VECTOR - 1) & WHOLE_VECTORS):
            v = _shifted(x, q, p)
            sums[p] = _dot(sums[p], w0, v)
            sums[ROW + p] = _dot(sums[ROW + p], w1, v)
            sums[U2 * ROW + p] = _dot(sums[U2 * ROW + p], w2, v)
            sums[U3 * ROW + p] = _dot(sums[U3 * ROW + p], w3, v)


@njit(**SERIAL)
def _six(x, p):
    return x[p], x[p + U1], x[p + U2], x[p + U3], x[p + U4], x[p + U5]


@njit(**SERIAL)
def _shifted(x, q, p):
    return x[q[0] + p], x[q[1] + p], x[q[2] + p], x[q[3] + p], x[q[4] + p], x[q[5] + p]


@njit(**SERIAL)
def _dot(total, x, y):
    for i in range(TAPS):
        total += x[i] * y[i]
    return total


# --------------------------------------------------------------------------- the gradient to the weights


def correlate_backward_weight(gradient, x, stride, origin, out):
    """out[o, c, kh, kw] = Σ gradient[n, o, i, j]·x[n, c, i·stride + kh + origin, j·stride + kw + origin].

    The same matrix product with other roles: now the pixels are summed over. A NaN or an infinity in x may
    spoil more weights than it meets: the outputs that mix two rows have gradient 0, and 0·NaN is NaN.
    """
    gradient, x = np.require(gradient, requirements="CA"), np.require(x, requirements="CA")
    filters, channels, *kernel = out.shape
    tiling = plan(channels, x.shape[3], tuple(kernel), stride, origin, gradient.shape[2:])
    planes, rows = _scratch(tiling, x.dtype)
    shape = len(planes), tiling.blocks, _up(filters, FILTERS), tiling.offsets.size
    partial = np.zeros(shape, x.dtype)  # each thread sums over its images
    _backward_weight(gradient, x, tiling, planes, rows, partial)
    with np.errstate(all="ignore"):
        total = partial.sum(axis=0)
    for block in range(tiling.blocks):
        part = out[:, block * tiling.channels : (block + 1) * tiling.channels]
        part[...] = total[block, :filters, : part[0].size].reshape(part.shape)


@njit(**PARALLEL)
def _backward_weight(gradient, x, tiling, planes, gradient_rows, partial):
    images, _, height, width = gradient.shape
    threads = len(planes)
    rows, columns = tiling.rows, tiling.columns
    down, across = (height + rows - 1) // rows, (width + columns - 1) // columns
    for thread in prange(threads):
        for tile in range(thread, images * down * across, threads):
            n, top, left = tile // (down * across), tile // across % down * rows, tile % across * columns
            _one_gradient_tile(
                gradient[n], x[n], tiling, top, left, planes[thread], gradient_rows[thread], partial[thread]
            )


@njit(**SERIAL)
def _one_gradient_tile(gradient, image, tiling, top, left, values, gradient_rows, weights):
    rows = min(tiling.rows, gradient.shape[1] - top)
    columns = min(tiling.columns, gradient.shape[2] - left)
    pixels = (rows - 1) * tiling.pitch + columns
    taps = tiling.offsets.size
    for block in range(tiling.blocks):
        _gather(image, block, top, left, tiling, values)
        for first in range(0, len(gradient), FILTERS):
            gradient_rows[:] = 0
            for o in range(first, min(first + FILTERS, len(gradient))):
                row = gradient_rows[(o - first) * PIXELS : (o - first + 1) * PIXELS]
                for i in range(rows):
                    _copy(gradient[o, top + i, left : left + columns], row[i * tiling.pitch :])
            w = weights[block, first : first + FILTERS].reshape(FILTERS * taps)
            sum_products(values, tiling.offsets, gradient_rows, pixels, w)


@njit(**REORDER)
def sum_products(x, offsets, gradient, pixels, w):
    """w[r, k] += Σₚ gradient[r, p]·x[p + offsets[k]] for four rows r of gradient and of w, all of them flat.

    Four rows times three taps are twelve sums, each a vector register, added up in any order.
    """
    taps = np.uint64(offsets.size)
    zero = w.dtype.type(0)
    for k in range(U0, taps, U3):
        q0, q1, q2 = offsets[k], offsets[k + U1], offsets[k + U2]
        a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = zero
        for p in range(U0, np.uint64(pixels + VECTOR - 1) & WHOLE_VECTORS):
            x0, x1, x2 = x[q0 + p], x[q1 + p], x[q2 + p]
            a, b, c, d = gradient[p], gradient[ROW + p], gradient[U2 * ROW + p], gradient[U3 * ROW + p]
            a0, a1, a2 = a0 + a * x0, a1 + a * x1, a2 + a * x2
            b0, b1, b2 = b0 + b * x0, b1 + b * x1, b2 + b * x2
            c0, c1, c2 = c0 + c * x0, c1 + c * x1, c2 + c * x2
            d0, d1, d2 = d0 + d * x0, d1 + d * x1, d2 + d * x2
        _add_three(w, k, a0, a1, a2)
        _add_three(w, taps + k, b0, b1, b2)
        _add_three(w, U2 * taps + k, c0, c1, c2)
        _add_three(w, U3 * taps + k, d0, d1, d2)


@njit(**SERIAL)
def _add_three(w, k, x0, x1, x2):
    w[k] += x0
    w[k + U1] += x1
    w[k + U2] += x2
