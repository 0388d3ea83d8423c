"""Convolution and its transpose: each is the other's way back."""

from __future__ import annotations

import numpy as np

from minidl.ops.op import Op, size
from minidl.ops.windows import check_images, pair, slid_image


# Plain NumPy, until the kernels stand.
def _windows(x, kernel, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    w = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))
    return w[:, :, :: stride[0], :: stride[1]]


def _forward(x, w, stride, padding):
    return np.einsum("nchwij,ocij->nohw", _windows(x, w.shape[2:], stride, padding), w, optimize=True)


def _to_input(g, w, shape, stride, padding):
    n, c, h, wd = shape
    gx = np.zeros((n, c, h + 2 * padding[0], wd + 2 * padding[1]), g.dtype)
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            rows = slice(i, i + stride[0] * g.shape[2], stride[0])
            cols = slice(j, j + stride[1] * g.shape[3], stride[1])
            gx[:, :, rows, cols] += np.einsum("nohw,oc->nchw", g, w[:, :, i, j], optimize=True)
    return np.ascontiguousarray(gx[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + wd])


def _to_weight(g, x, kernel, stride, padding):
    windows = _windows(x, kernel, stride, padding)[:, :, : g.shape[2], : g.shape[3]]
    return np.einsum("nohw,nchwij->ocij", g, windows, optimize=True)


class Conv2d(Op):
    """x (N, C, H, W), weight (O, C, K, L), bias (O,) → (N, O, P, Q): cross-correlation, as the frameworks
    have it.

    Linear in x and in the weight, so both gradients are convolutions again: the one to x of g with the weight
    turned round, the one to the weight of x with g.
    """

    name = "conv2d"

    def forward(self, x, weight, bias=None, stride=1, padding=0):
        """Keep x and the weight."""
        self.shape(x.shape, weight.shape, None if bias is None else bias.shape, stride, padding)
        y = _forward(x, weight, pair("stride", stride, 1), pair("padding", padding, 0))
        if bias is not None:
            y += bias[:, None, None]
        return y, (x, weight)

    def vjp(self, g, saved, needs, stride=1, padding=0):
        """To the input, to the weight, to the bias."""
        x, weight = saved
        stride, padding = pair("stride", stride, 1), pair("padding", padding, 0)
        gx = _to_input(g, weight, x.shape, stride, padding) if needs[0] else None
        gw = _to_weight(g, x, weight.shape[2:], stride, padding) if needs[1] else None
        gb = g.sum(axis=(0, 2, 3)) if len(needs) > 2 and needs[2] else None
        return gx, gw, gb

    def shape(self, x, weight, bias=None, stride=1, padding=0):
        """(N, C, H, W), (O, C, K, L) → (N, O, P, Q)."""
        check_images("input", x)
        check_images("weight", weight)
        if None not in (x[1], weight[1]) and x[1] != weight[1]:
            raise ValueError(f"input {x} has {x[1]} channels, weight {weight} takes {weight[1]}")
        if bias is not None and bias != weight[:1]:
            raise ValueError(f"bias must have shape {weight[:1]}, got {bias}")
        return (x[0], weight[0]) + slid_image(
            x, weight[2:], pair("stride", stride, 1), pair("padding", padding, 0)
        )

    def flops(self, x, weight, bias=None, stride=1, padding=0):
        """A multiply-add for each weight, at each position, and an addition for a bias."""
        y = self.shape(x, weight, bias, stride, padding)
        return size(y) * (2 * size(weight[1:]) + (bias is not None))


class ConvTranspose2d(Op):
    """x (N, I, H, W), weight (I, O, K, L), bias (O,) → (N, O, P, Q) with P = (H - 1)·stride - 2·padding + K +
    extra.

    Its forward pass is a convolution's gradient to the input: every input element paints its share of the
    weight. `output_padding` is the extra: rows and columns that a strided convolution would have left out.
    """

    name = "conv_transpose2d"

    def forward(self, x, weight, bias=None, stride=1, padding=0, output_padding=0):
        """Keep x and the weight."""
        shape = self.shape(
            x.shape, weight.shape, None if bias is None else bias.shape, stride, padding, output_padding
        )
        y = _to_input(x, weight, shape, pair("stride", stride, 1), pair("padding", padding, 0))
        if bias is not None:
            y += bias[:, None, None]
        return y, (x, weight)

    def vjp(self, g, saved, needs, stride=1, padding=0, output_padding=0):
        """A convolution's forward pass, and its gradient to the weight with the two images swapped."""
        x, weight = saved
        stride, padding = pair("stride", stride, 1), pair("padding", padding, 0)
        gx = gw = gb = None
        if needs[0]:
            gx = _forward(g, weight, stride, padding)[:, :, : x.shape[2], : x.shape[3]]
        if needs[1]:
            gw = _to_weight(x, g, weight.shape[2:], stride, padding)
        if len(needs) > 2 and needs[2]:
            gb = g.sum(axis=(0, 2, 3))
        return gx, gw, gb

    def shape(self, x, weight, bias=None, stride=1, padding=0, output_padding=0):
        """(N, I, H, W), (I, O, K, L) → (N, O, P, Q)."""
        check_images("input", x)
        check_images("weight", weight)
        if None not in (x[1], weight[0]) and x[1] != weight[0]:
            raise ValueError(f"input {x} has {x[1]} channels, weight {weight} takes {weight[0]}")
        if bias is not None and bias != weight[1:2]:
            raise ValueError(f"bias must have shape {weight[1:2]}, got {bias}")
        stride, padding = pair("stride", stride, 1), pair("padding", padding, 0)
        extra = pair("output_padding", output_padding, 0)
        if any(e >= s for e, s in zip(extra, stride, strict=True)):
            raise ValueError(f"output_padding {output_padding} must be less than stride {stride}")
        sides = tuple(
            None if n is None else (n - 1) * s - 2 * p + k + e
            for n, k, s, p, e in zip(x[2:], weight[2:], stride, padding, extra, strict=True)
        )
        if any(n is not None and n < 1 for n in sides):
            raise ValueError(f"nothing is left of input {x} with weight {weight} and padding {padding}")
        return (x[0], weight[1]) + sides

    def flops(self, x, weight, bias=None, stride=1, padding=0, output_padding=0):
        """A multiply-add for each weight and input position, and an addition for a bias."""
        bias_additions = (
            0 if bias is None else size(self.shape(x, weight, None, stride, padding, output_padding))
        )
        return 2 * size(x) * size(weight[1:]) + bias_additions


conv2d = Conv2d()
conv_transpose2d = ConvTranspose2d()
