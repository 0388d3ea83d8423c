"""What the CUDA rungs of convolution move and compute, to the byte: the tracer counts the same.

Every function takes the sizes of the ladders: x's shape, the number of filters, then the kernel, the output,
the stride and the padding as pairs, and 1 if there is a bias.
"""

from math import prod

from minidl.kernels.conv.geometry import Geometry
from minidl.kernels.conv.gpu import BLOCK, STEP, images_at_a_time, shares, tile, up
from minidl.kernels.matmul import LADDER as MATMUL
from minidl.kernels.reduce.sum import SUM_LADDER


def _met(size, kernel, out, step, rim):
    """For how many pairs of a tap and an output, along one axis, the tap meets a pixel of the image."""
    return sum(0 <= i * step + k - rim < size for k in range(kernel) for i in range(out))


def _counts(n, c, height, width, o, kh, kw, p, q, down, across, above, before, _):
    """Values in x, w and y, and pairs of a tap and an output of one filter, in all channels, that met."""
    met = n * c * _met(height, kh, p, down, above) * _met(width, kw, q, across, before)
    return n * c * height * width, o * c * kh * kw, n * o * p * q, met


def _geometry(n, c, height, width, o, kh, kw, p, q, down, across, above, before, _):
    return Geometry(n, c, height, width, o, (kh, kw), (down, across), (above, before))


def _blocks(size, block):
    return -(-size // block)


def _tile_flops(rows, columns, depth):
    """Tiles that stick out over the edge are filled with zeros, which are multiplied like anything else."""
    return 2 * up(rows, tile(rows)[0]) * up(columns, BLOCK) * up(depth, STEP)


# ----------------------------------------------------------------------------------------------- forward


def direct_bytes(*sizes, itemsize=4):
    """A weight and a pixel for every product."""
    _, _, y, met = _counts(*sizes)
    return (2 * met * sizes[4] + y * (1 + sizes[-1])) * itemsize


def direct_flops(*sizes):
    """No product with the padding."""
    _, _, y, met = _counts(*sizes)
    return 2 * met * sizes[4] + y * sizes[-1]


def _slices(sizes, itemsize):
    """Yield the columns of the product that are made at a time."""
    step = images_at_a_time(_geometry(*sizes), itemsize)
    for first in range(0, sizes[0], step):
        yield min(step, sizes[0] - first) * prod(sizes[7:9])


def im2col_bytes(*sizes, itemsize=4):
    """The columns are written and read, and so is the product, which is not in order yet."""
    _, _, y, met = _counts(*sizes)
    taps = prod((sizes[1], *sizes[5:7]))
    products = sum(
        MATMUL["cuda vector"].bytes(sizes[4], taps, columns, itemsize=itemsize)
        for columns in _slices(sizes, itemsize)
    )
    columns = taps * sizes[0] * prod(sizes[7:9])
    return products + (met + columns + (2 + sizes[-1]) * y) * itemsize


def im2col_flops(*sizes):
    """The product's, and the bias."""
    taps = prod((sizes[1], *sizes[5:7]))
    products = sum(
        MATMUL["cuda vector"].flops(sizes[4], taps, columns) for columns in _slices(sizes, itemsize=4)
    )
    return products + _counts(*sizes)[2] * sizes[-1]


def implicit_bytes(*sizes, itemsize=4):
    """The weights once for each block of pixels, with their bias; the pixels once for each of filters."""
    _, w, y, met = _counts(*sizes)
    down, across = _blocks(sizes[4], tile(sizes[4])[0]), _blocks(sizes[0] * prod(sizes[7:9]), BLOCK)
    return (across * (w + 16 * sizes[4] * sizes[-1]) + down * met + y) * itemsize


def implicit_flops(*sizes):
    """Whole tiles; the addition of a bias is done even if it is zero."""
    taps, pixels = prod((sizes[1], *sizes[5:7])), sizes[0] * prod(sizes[7:9])
    return _tile_flops(sizes[4], pixels, taps) + _counts(*sizes)[2]


# ---------------------------------------------------------------------------------------------- backward


def _bias(*sizes, itemsize=4):
    """(bytes, operations) of the gradient to the bias: over pixels, then over images."""
    n, o, size = sizes[0], sizes[4], prod(sizes[7:9])
    warp = SUM_LADDER["cuda warp"]
    moved, added = warp.bytes(n * o * size, n * o, itemsize=itemsize), warp.flops(n * o * size, n * o)
    if o == 1:
        return moved + warp.bytes(n, 1, itemsize=itemsize), added + warp.flops(n, 1)
    return moved + (n * o + o) * itemsize, added + (n - 1) * o


def direct_backward_bytes(*sizes, itemsize=4):
    """A weight and a gradient for every product; and for the other, a pixel and a gradient."""
    x, w, _, met = _counts(*sizes)
    return (4 * met * sizes[4] + x + w) * itemsize + _bias(*sizes, itemsize=itemsize)[0]


def direct_backward_flops(*sizes):
    """Twice the products of the forward direction."""
    return 4 * _counts(*sizes)[3] * sizes[4] + _bias(*sizes)[1]


def _groups(n, c, height, width, o, kh, kw, p, q, down, across, above, before, _):
    """Yield (pixels, taps) of each of the products that make the gradient to x."""
    for a in range(down):
        for b in range(across):
            rows = len(range((a - above) % down, height, down))
            columns = len(range((b - before) % across, width, across))
            yield n * rows * columns, o * len(range(a, kh, down)) * len(range(b, kw, across))


def implicit_backward_bytes(*sizes, itemsize=4):
    """As forward, and the shares of the weights' gradient are written and read."""
    x, w, y, met = _counts(*sizes)
    channels, filters = sizes[1], sizes[4]
    weights = sum(_blocks(pixels, BLOCK) * channels * taps for pixels, taps in _groups(*sizes))
    gradients = _blocks(channels, tile(channels)[0]) * met // channels * filters
    to_input = weights + gradients + x
    _, parts = shares(_geometry(*sizes))
    to_weight = _blocks(filters, tile(filters)[0]) * met + _blocks(w // filters, BLOCK) * y + parts * w
    if parts > 1:
        to_weight += (parts + 1) * w
    return (to_input + to_weight) * itemsize + _bias(*sizes, itemsize=itemsize)[0]


def implicit_backward_flops(*sizes):
    """Whole tiles."""
    x, w, _, _ = _counts(*sizes)
    channels, filters, pixels = sizes[1], sizes[4], sizes[0] * prod(sizes[7:9])
    to_input = sum(_tile_flops(channels, some, taps) for some, taps in _groups(*sizes)) + x
    share, parts = shares(_geometry(*sizes))
    long = sum(up(min(share, pixels - first), STEP) for first in range(0, pixels, share))
    to_weight = _tile_flops(filters, w // filters, STEP) // STEP * long + (parts - 1) * w
    return to_input + to_weight + _bias(*sizes)[1]
