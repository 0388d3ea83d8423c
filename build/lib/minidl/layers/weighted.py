"""Layers with a weight: dense, embedding, convolution and its transpose."""

from __future__ import annotations

import numpy as np

from minidl import graph
from minidl.graph import Tensor
from minidl.kernels.arguments import check_integer
from minidl.layers import initialisers
from minidl.layers.layer import Layer
from minidl.ops.windows import pair, short


def _bias(bias, size):
    return Tensor(np.zeros(size, np.float32), requires_grad=True) if bias else None


class Dense(Layer):
    """Every output is a weighted sum of every input: x (…, in) → x·weightᵀ + bias (…, out).

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Whether a number of its own is added to each output.
    init : callable
        `init(shape, generator)` → the first weight; see `minidl.layers.initialisers`. The bias starts at 0.
    generator : numpy.random.Generator, optional
        Where `init` draws from, instead of all layers' common one.
    """

    def __init__(
        self, in_features, out_features, bias=True, init=initialisers.glorot_uniform, generator=None
    ):
        self.in_features = check_integer("in_features", in_features, 1)
        self.out_features = check_integer("out_features", out_features, 1)
        self.weight = Tensor(init((self.out_features, self.in_features), generator), requires_grad=True)
        self.bias = _bias(bias, self.out_features)

    def forward(self, x):
        """One operation."""
        return graph.dense(x, self.weight, self.bias)

    def _arguments(self):
        return f"{self.in_features}, {self.out_features}" + ", bias=False" * (self.bias is None)


class Embedding(Layer):
    """A row of numbers to learn for each of `count` things: integers (…) → (…, features)."""

    def __init__(self, count, features, generator=None):
        self.count = check_integer("count", count, 1)
        self.features = check_integer("features", features, 1)
        rows = (generator or initialisers.generator()).normal(size=(self.count, self.features))
        self.weight = Tensor(rows.astype(np.float32), requires_grad=True)

    def forward(self, x):
        """Look the rows up."""
        return graph.embedding(self.weight, x)

    def _arguments(self):
        return f"{self.count}, {self.features}"


class _Conv(Layer):
    """What both convolutions share."""

    def _make(self, in_channels, out_channels, kernel_size, stride, padding):
        self.in_channels = check_integer("in_channels", in_channels, 1)
        self.out_channels = check_integer("out_channels", out_channels, 1)
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride, self.padding = pair("stride", stride, 1), pair("padding", padding, 0)

    def _arguments(self):
        text = f"{self.in_channels}, {self.out_channels}, {short(self.kernel_size)}"
        text += f", stride={short(self.stride)}" * (self.stride != (1, 1))
        text += f", padding={short(self.padding)}" * (self.padding != (0, 0))
        return text + ", bias=False" * (self.bias is None)


class Conv2d(_Conv):
    """Slide small weights over an image: x (N, in, H, W) → (N, out, P, Q), P = (H + 2·padding - K) // stride
    + 1.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding : int or pair of int
        A pair is (height, width).
    bias, init, generator : as for `Dense`
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        bias=True,
        init=initialisers.he_uniform,
        generator=None,
    ):
        self._make(in_channels, out_channels, kernel_size, stride, padding)
        shape = (self.out_channels, self.in_channels, *self.kernel_size)
        self.weight = Tensor(init(shape, generator), requires_grad=True)
        self.bias = _bias(bias, self.out_channels)

    def forward(self, x):
        """One operation."""
        return graph.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class ConvTranspose2d(_Conv):
    """Paint small weights onto a larger image: (N, in, H, W) → (N, out, P, Q), P = (H - 1)·stride - 2·padding
    + K + extra.

    Parameters
    ----------
    output_padding : int or pair of int
        The extra rows and columns; each less than the stride.
    in_channels, out_channels, kernel_size, stride, padding, bias, init, generator : as for `Conv2d`
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        bias=True,
        init=initialisers.he_uniform,
        generator=None,
    ):
        self._make(in_channels, out_channels, kernel_size, stride, padding)
        self.output_padding = pair("output_padding", output_padding, 0)
        shape = (self.in_channels, self.out_channels, *self.kernel_size)
        self.weight = Tensor(init(shape, generator), requires_grad=True)
        self.bias = _bias(bias, self.out_channels)

    def forward(self, x):
        """One operation."""
        return graph.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding
        )
