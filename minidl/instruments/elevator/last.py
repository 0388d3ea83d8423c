"""Floor 3: the products whose sum is a number of a dense, convolutional or transposed convolutional layer.

All three are one matrix product, so every number they make is a row times a column. What differs is which
inputs stand in the row:

    dense                       all of them
    convolution                 those under the kernel, zeros where it hangs over the edge (a row of im2col)
    transposed convolution      those whose painting reaches the pixel: with a stride, every so many taps
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minidl.kernels.conv import conv2d_backward_input_cuda, conv2d_cuda
from minidl.kernels.conv.gpu import THREADS
from minidl.kernels.matmul import matmul_cuda
from minidl.layers import Conv2d, ConvTranspose2d, Dense


@dataclass(frozen=True, eq=False)
class DotProduct:
    """A row, a column, and what their product adds up to.

    Attributes
    ----------
    inputs : int array of shape (K, ndim)
        Where each number of the row stands in the layer's input; -1 for a zero of the padding.
    weights : int array of shape (K, ndim)
        Where each number of the column stands in the weight.
    row, column : arrays of shape (K,), in the network's dtype
    bias : float
    """

    inputs: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    row: np.ndarray
    column: np.ndarray
    bias: float

    @property
    def products(self) -> np.ndarray:
        """Each number of the row times its number of the column, in float64."""
        return self.row.astype(np.float64) * self.column

    @property
    def total(self) -> float:
        """The number itself: all products and the bias, added in float64."""
        return float(self.products.sum() + self.bias)

    @property
    def size(self) -> float:
        """The sum of the absolute values: what rounding is measured against."""
        return float(np.abs(self.products).sum() + abs(self.bias))

    @property
    def inside(self) -> np.ndarray:
        """Which numbers of the row are inputs, and not padding."""
        return self.inputs[:, 0] >= 0


class _Last:
    """What a number of a layer is made of, and which kernel makes it on a GPU.

    Parameters
    ----------
    layer : Layer
    x : array
        The layer's input, of a batch of one.
    shape : tuple of int
        That of its output.
    """

    #: Parameters of the kernel that hold the row's numbers, the column's, and the result.
    names: tuple[str, str, str]
    adds_bias = True  # whether the kernel adds the bias

    def __init__(self, layer, x, shape):
        self.layer, self.x, self.shape = layer, x, shape
        self.w = layer.weight.numpy()
        self.b = None if layer.bias is None else layer.bias.numpy()

    def dot_product(self, index) -> DotProduct:
        """Return the row and the column of the output at `index`."""
        inputs, weights = self._terms(index)
        row = np.where(inputs[:, 0] >= 0, self.x[tuple(inputs.T)], self.x.dtype.type(0))
        bias = 0.0 if self.b is None else float(self.b[self._channel(index)])
        return DotProduct(inputs, weights, row, self.w[tuple(weights.T)], bias)


class _DenseLast(_Last):
    """x (…, I) times weight (O, I), its rows turned into columns; another kernel adds the bias."""

    names = "a", "b", "c"
    adds_bias = False

    def _channel(self, index):
        return index[-1]

    def _terms(self, index):
        count = self.x.shape[-1]
        inputs = np.tile((*index[:-1], 0), (count, 1))
        inputs[:, -1] = np.arange(count)
        return inputs, np.stack([np.full(count, index[-1]), np.arange(count)], axis=1)

    def warp_of(self, index):
        """8 rows and 32 columns of the product to a block, counted row after row; a row to a warp."""
        row = int(np.ravel_multi_index(index[:-1], self.shape[:-1]))
        return row // 8 * -(-self.shape[-1] // 32) + index[-1] // 32, row % 8

    def launch(self, machine):
        """On the rung with one thread per output."""
        rows = self.x.reshape(-1, self.x.shape[-1])
        matmul_cuda(rows, np.ascontiguousarray(self.w.T), machine=machine, rung="coalesced")

    def uses(self, index):
        """Where the weight at `index` meets which input for which output: one row of each per position."""
        o, i = index
        leads = np.array(list(np.ndindex(self.shape[:-1])), int).reshape(-1, len(self.shape) - 1)
        at = np.full((len(leads), 1), 1)
        return np.hstack([leads, at * i]), np.hstack([leads, at * o])


class _ConvLast(_Last):
    """What both convolutions share: outputs (1, O, P, Q)."""

    def _channel(self, index):
        return index[1]

    def warp_of(self, index):
        """(block, warp): one thread after the other, in the order of the pixels."""
        block, thread = divmod(int(np.ravel_multi_index(index, self.shape)), THREADS)
        return block, thread // 32


class _Conv2dLast(_ConvLast):
    names = "x", "w", "y"

    def _terms(self, index):
        n, o, i, j = index
        c, kh, kw = _grid(*self.w.shape[1:])
        (down, across), (above, before) = self.layer.stride, self.layer.padding
        y, z = i * down - above + kh, j * across - before + kw
        inside = (y >= 0) & (y < self.x.shape[2]) & (z >= 0) & (z < self.x.shape[3])
        inputs = np.stack([np.full_like(c, n), c, y, z], axis=1)
        return np.where(inside[:, None], inputs, -1), np.stack([np.full_like(c, o), c, kh, kw], axis=1)

    def launch(self, machine):
        """On the rung with one thread per output."""
        steps = {"stride": self.layer.stride, "padding": self.layer.padding}
        conv2d_cuda(self.x, self.w, self.b, **steps, machine=machine, rung="direct")

    def uses(self, index):
        """As above: once for every pixel of the output, where the kernel does not hang over the edge."""
        o, c, kh, kw = index
        i, j = _grid(*self.shape[2:])
        (down, across), (above, before) = self.layer.stride, self.layer.padding
        y, z = i * down - above + kh, j * across - before + kw
        inside = (y >= 0) & (y < self.x.shape[2]) & (z >= 0) & (z < self.x.shape[3])
        return _points(c, y[inside], z[inside]), _points(o, i[inside], j[inside])


class _ConvTranspose2dLast(_ConvLast):
    names = "gradient", "w", "result"

    def _terms(self, index):
        n, o, i, j = index
        c, kh, kw = _grid(self.w.shape[0], *self.w.shape[2:])
        (down, across), (above, before) = self.layer.stride, self.layer.padding
        # The input at y paints rows y·down - above … + kernel: so row i has tap kh of the y with
        y, left_y = np.divmod(i + above - kh, down)
        z, left_z = np.divmod(j + before - kw, across)
        painted = (left_y == 0) & (left_z == 0)
        painted &= (y >= 0) & (y < self.x.shape[2]) & (z >= 0) & (z < self.x.shape[3])
        c, kh, kw, y, z = (values[painted] for values in (c, kh, kw, y, z))
        return np.stack([np.full_like(c, n), c, y, z], axis=1), np.stack(
            [c, np.full_like(c, o), kh, kw], axis=1
        )

    def launch(self, machine):
        """On the rung with one thread per output: forward, it is the gradient of a convolution."""
        steps = {"stride": self.layer.stride, "padding": self.layer.padding, "bias": self.b}
        conv2d_backward_input_cuda(self.x, self.w, self.shape, **steps, machine=machine, rung="direct")

    def uses(self, index):
        """As above: once for every pixel of the input, where what it paints is inside."""
        c, o, kh, kw = index
        y, z = _grid(*self.x.shape[2:])
        (down, across), (above, before) = self.layer.stride, self.layer.padding
        i, j = y * down - above + kh, z * across - before + kw
        inside = (i >= 0) & (i < self.shape[2]) & (j >= 0) & (j < self.shape[3])
        return _points(c, y[inside], z[inside]), _points(o, i[inside], j[inside])


def _grid(*sizes):
    """Return the coordinates of all cells of a box, one flat array per axis, the last axis fastest."""
    return [axis.ravel() for axis in np.indices(sizes)]


def _points(channel, rows, columns):
    """Return indices into (1, C, H, W)."""
    return np.stack([np.zeros_like(rows), np.full_like(rows, channel), rows, columns], axis=1)


KINDS = {Dense: _DenseLast, Conv2d: _Conv2dLast, ConvTranspose2d: _ConvTranspose2dLast}


def last(layer, x, shape) -> _Last:
    """Return what there is to know of the numbers that a layer made of `x`."""
    return KINDS[type(layer)](layer, x, shape)
