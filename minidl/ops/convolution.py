"""Convolution and its transpose: each is the other's way back."""

from __future__ import annotations

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.kernels import conv as kernels
from minidl.ops.arithmetic import add
from minidl.ops.op import Op, by_device, size
from minidl.ops.windows import check_images, pair, slid_image

_convolve = by_device(kernels.conv2d, kernels.conv2d_cuda)
_to_input = by_device(kernels.conv2d_backward_input, kernels.conv2d_backward_input_cuda)
_to_weight = by_device(kernels.conv2d_backward_weight, kernels.conv2d_backward_weight_cuda)
_to_bias = by_device(kernels.conv2d_backward_bias, kernels.conv2d_backward_bias_cuda)


def _alike(*arrays):
    """Return arrays in one dtype, the widest of theirs, as NumPy's own operations do; None stays None."""
    dtype = np.result_type(*(a.dtype for a in arrays if a is not None))
    return [a if a is None or a.dtype == dtype else a.astype(dtype) for a in arrays]


class Conv2d(Op):
    """x (N, C, H, W), weight (O, C, K, L), bias (O,) → (N, O, P, Q): cross-correlation, as the frameworks
    have it.

    Linear in x and in the weight, so both gradients are convolutions again: the one to x of g with the weight
    turned round, the one to the weight of x with g.
    """

    name = "conv2d"
    writes_out = True
    runs_on_gpu = True

    def forward(self, x, weight, bias=None, stride=1, padding=0, out=None):
        """Keep x and the weight."""
        return _convolve(*_alike(x, weight, bias), stride, padding, out=out), (x, weight)

    def vjp(self, g, saved, needs, stride=1, padding=0):
        """To the input, to the weight, to the bias."""
        g, x, weight = _alike(g, *saved)
        gx = _to_input(g, weight, x.shape, stride, padding) if needs[0] else None
        gw = _to_weight(g, x, weight.shape, stride, padding) if needs[1] else None
        gb = _to_bias(g) if len(needs) > 2 and needs[2] else None
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
    writes_out = True
    runs_on_gpu = True

    def forward(self, x, weight, bias=None, stride=1, padding=0, output_padding=0, out=None):
        """Keep x and the weight."""
        shapes = x.shape, weight.shape, None if bias is None else bias.shape
        shape = self.shape(*shapes, stride, padding, output_padding)
        x_alike, weight_alike, bias = _alike(x, weight, bias)
        if bias is not None and is_on_gpu(x):  # whose kernel adds it on the way
            return _to_input(x_alike, weight_alike, shape, stride, padding, bias=bias), (x, weight)
        y = _to_input(x_alike, weight_alike, shape, stride, padding, out=out)
        if bias is not None:
            y, _ = add.forward(y, bias.reshape(bias.size, 1, 1), out=y)
        return y, (x, weight)

    def vjp(self, g, saved, needs, stride=1, padding=0, output_padding=0):
        """A convolution's forward pass, and its gradient to the weight with the two images swapped."""
        g, x, weight = _alike(g, *saved)
        gx = _convolve(g, weight, None, stride, padding) if needs[0] else None
        gw = _to_weight(x, g, weight.shape, stride, padding) if needs[1] else None
        gb = _to_bias(g) if len(needs) > 2 and needs[2] else None
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
