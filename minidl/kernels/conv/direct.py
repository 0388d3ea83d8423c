"""Direct convolution on the CPU, a few filters at a time: the fastest rung, forward and backward.

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

from minidl.kernels.compiling import PARALLEL, SERIAL
from minidl.kernels.conv import lowering
from minidl.kernels.conv.lowering import fetch
from minidl.kernels.conv.reference import (
    checked_backward_input,
    checked_backward_weight,
    checked_forward,
)
from minidl.kernels.registers import (
    ROWS,
    VECTORS,
    add_dot_products,
    add_products,
    aligned_empty,
    tile_width,
)

PIXELS = 1024  # most outputs in a tile: a row of them for each of `ROWS` filters stays in the L1 cache
WIDEST = 512  # most of them in one row
BLOCK = 1 << 16  # values gathered at a time, unless one channel alone has more: they stay in the L2 cache
WIDTH = tile_width(4)  # most outputs that are computed at once

# ------------------------------------------------------------------------------------------- what one calls


def conv2d_direct(x, w, bias=None, stride=1, padding=0, out=None):
    """Rung 8: no columns, but shifted views, and a tile of the output in registers."""
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
    offsets: np.ndarray  # for each tap of a block, int64

    @property
    def values(self):
        """Values of a block, and zeros behind them, for taps that fill a group up and for whole vectors."""
        return self.channels * self.planes_down * self.planes_across * self.plane + PIXELS + WIDTH


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
    offsets = np.full(_up(taps, VECTORS), at_a_time * per_channel, np.int64)  # where the zeros are
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


def _scratch(tiling, dtype, images=1):
    """Return, for each thread and image, room for the planes of a block and for a few rows of outputs."""
    threads = get_num_threads()
    planes = aligned_empty((threads, images, _up(tiling.values, WIDTH)), dtype)
    planes[..., tiling.values - PIXELS - WIDTH :] = 0
    return planes, aligned_empty((threads, images, ROWS, _up(PIXELS, WIDTH)), dtype)


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
    packed = np.zeros((tiling.blocks, -(-filters // ROWS), tiling.offsets.size, ROWS), w.dtype)
    for block in range(tiling.blocks):
        part = w[:, block * tiling.channels : (block + 1) * tiling.channels].reshape(filters, -1)
        for group in range(packed.shape[1]):
            some = part[group * ROWS : (group + 1) * ROWS].T
            packed[block, group, : len(some), : some.shape[1]] = some
    bias = np.zeros(filters, w.dtype) if bias is None else bias
    planes, sums = _scratch(tiling, x.dtype)
    _correlate(x, packed, np.ascontiguousarray(bias), tiling, planes[:, 0], sums[:, 0], result)
    if result is not out:
        out[...] = result
    return out


@njit(**PARALLEL)
def _correlate(x, weights, bias, tiling, planes, sums, out):
    images, _, height, width = out.shape
    threads, groups = len(planes), weights.shape[1]
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
    width = tile_width(values.itemsize)
    for block in range(tiling.blocks):
        _gather(image, block, top, left, tiling, values)
        for group in range(groups[0], groups[1]):
            first, last = group * ROWS, min((group + 1) * ROWS, len(out))
            for o in range(first, last):
                row = sums[o - first]
                if block == 0:
                    row[:pixels] = bias[o]
                else:
                    for i in range(rows):
                        _copy(out[o, top + i, left : left + columns], row[i * tiling.pitch :])
            for p in range(0, pixels, width):
                tile = sums[:, p : p + width]
                add_products(weights[block, group], values[p:], tiling.offsets, tile, True)
            for o in range(first, last):
                row = sums[o - first]
                for i in range(rows):
                    _copy(row[i * tiling.pitch : i * tiling.pitch + columns], out[o, top + i, left:])


# --------------------------------------------------------------------------- the gradient to the weights


def correlate_backward_weight(gradient, x, stride, origin, out):
    """out[o, c, kh, kw] = Σ gradient[n, o, i, j]·x[n, c, i·stride + kh + origin, j·stride + kw + origin].

    The same matrix product with other roles: now the pixels are summed over. A NaN or an infinity in x may
    spoil more weights than it meets: the outputs that mix two rows have gradient 0, and 0·NaN is NaN.
    """
    gradient, x = np.require(gradient, requirements="CA"), np.require(x, requirements="CA")
    filters, channels, *kernel = out.shape
    tiling = plan(channels, x.shape[3], tuple(kernel), stride, origin, gradient.shape[2:])
    images = max(1, min(PIXELS // (tiling.rows * tiling.pitch), BLOCK // tiling.values))
    planes, rows = _scratch(tiling, x.dtype, images)
    taps = tiling.offsets.size
    partial = np.zeros((len(planes), tiling.blocks, -(-filters // ROWS), ROWS, taps), x.dtype)
    _backward_weight(gradient, x, tiling, planes, rows, partial)
    with np.errstate(all="ignore"):
        total = partial.sum(axis=0).reshape(tiling.blocks, -1, taps)  # each thread summed over its images
    for block in range(tiling.blocks):
        part = out[:, block * tiling.channels : (block + 1) * tiling.channels]
        part[...] = total[block, :filters, : part[0].size].reshape(part.shape)


@njit(**PARALLEL)
def _backward_weight(gradient, x, tiling, planes, gradient_rows, partial):
    tiles = -(-gradient.shape[2] // tiling.rows) * -(-gradient.shape[3] // tiling.columns)
    threads, at_a_time = planes.shape[:2]
    steps = -(-len(x) // at_a_time)
    for thread in prange(threads):
        for task in range(thread, steps * tiles, threads):
            first, tile = task // tiles * at_a_time, task % tiles
            last = min(first + at_a_time, len(x))
            some = planes[thread, : last - first], gradient_rows[thread, : last - first]
            _some_gradient_tiles(gradient[first:last], x[first:last], tiling, tile, *some, partial[thread])


@njit(**SERIAL)
def _some_gradient_tiles(gradient, x, tiling, tile, planes, gradient_rows, weights):
    """Add to the weights' gradients what the same tile of a few images gives."""
    images, filters, height, width = gradient.shape
    across = -(-width // tiling.columns)
    top, left = tile // across * tiling.rows, tile % across * tiling.columns
    rows, columns = min(tiling.rows, height - top), min(tiling.columns, width - left)
    pixels = (rows - 1) * tiling.pitch + columns
    for block in range(tiling.blocks):
        for n in range(images):
            _gather(x[n], block, top, left, tiling, planes[n])
        for group in range(weights.shape[1]):
            gradient_rows[:, :, : pixels + WIDTH] = 0
            for n in range(images):
                for o in range(group * ROWS, min((group + 1) * ROWS, filters)):
                    row = gradient_rows[n, o - group * ROWS]
                    for i in range(rows):
                        _copy(gradient[n, o, top + i, left : left + columns], row[i * tiling.pitch :])
            for k in range(0, tiling.offsets.size, VECTORS):
                add_dot_products(gradient_rows, planes, tiling.offsets, k, pixels, weights[block, group])
