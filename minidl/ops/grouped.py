"""Convolution in groups: the channels are dealt into groups that do not see each other.

With one channel a group it is called depthwise, and there is nothing left to sum over channels: the result is
K² shifted copies of the image, each times a number, added up. That has no matrix product in it.
"""

from __future__ import annotations

import numpy as np

from minidl.kernels.arguments import check_integer
from minidl.ops.convolution import conv2d
from minidl.ops.op import Op, size
from minidl.ops.windows import pair


class GroupedConv2d(Op):
    """x (N, C, H, W), weight (O, C / groups, K, L), bias (O,) → (N, O, P, Q): group by group a convolution.

    (Krizhevsky et al., 2012, had two groups, one a GPU; Howard et al., arXiv:1704.04861, one per channel.)
    """

    name = "grouped_conv2d"

    def forward(self, x, weight, bias=None, groups=1, stride=1, padding=0):
        """Keep what each group keeps; if each has one channel, x and the weight."""
        shape = self.shape(
            x.shape, weight.shape, None if bias is None else bias.shape, groups, stride, padding
        )
        if weight.shape[1] == 1:
            y, saved = _depthwise(x, weight, shape, stride, padding), (x, weight)
        else:
            parts = [
                conv2d.forward(np.ascontiguousarray(a), w, stride=stride, padding=padding)
                for a, w in zip(np.split(x, groups, 1), np.split(weight, groups), strict=True)
            ]
            y, saved = np.concatenate([part for part, _ in parts], axis=1), [kept for _, kept in parts]
        if bias is not None:
            y += bias[:, None, None]
        return y, saved

    def vjp(self, g, saved, needs, groups=1, stride=1, padding=0):
        """To the input, to the weight, to the bias."""
        gb = g.sum(axis=(0, 2, 3)) if len(needs) > 2 and needs[2] else None
        if isinstance(saved, tuple):
            return (*_depthwise_vjp(g, *saved, needs, stride, padding), gb)
        parts = [
            conv2d.vjp(np.ascontiguousarray(part), kept, needs[:2], stride=stride, padding=padding)
            for part, kept in zip(np.split(g, groups, 1), saved, strict=True)
        ]
        gx = np.concatenate([part[0] for part in parts], axis=1) if needs[0] else None
        gw = np.concatenate([part[1] for part in parts]) if needs[1] else None
        return gx, gw, gb

    def shape(self, x, weight, bias=None, groups=1, stride=1, padding=0):
        """(N, C, H, W), (O, C / groups, K, L) → (N, O, P, Q)."""
        groups = check_integer("groups", groups, 1)
        if len(weight) == 4 and weight[0] is not None and weight[0] % groups:
            raise ValueError(f"{groups} groups must share the outputs of weight {weight} evenly")
        if len(weight) == 4 and weight[1] is not None:
            weight = (weight[0], weight[1] * groups, *weight[2:])  # as if there were no groups
        return conv2d.shape(x, weight, bias, stride, padding)

    def flops(self, x, weight, bias=None, groups=1, stride=1, padding=0):
        """A multiply-add for each weight, at each position, and an addition for a bias."""
        y = self.shape(x, weight, bias, groups, stride, padding)
        return size(y) * (2 * size(weight[1:]) + (bias is not None))


def _shifted(x, weight, sides, stride, padding):
    """Yield (i, j, view of x as weight (i, j) meets it), x framed with zeros."""
    (down, right), (top, left) = pair("stride", stride, 1), pair("padding", padding, 0)
    framed = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left))) if top or left else x
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            yield i, j, framed[:, :, i : i + down * sides[0] : down, j : j + right * sides[1] : right]


def _depthwise(x, weight, shape, stride, padding):
    n, c = x.shape[:2]
    y = np.zeros((n, c, shape[1] // c, *shape[2:]), np.result_type(x, weight))
    taps = weight.reshape(c, -1, *weight.shape[2:], 1, 1)
    for i, j, view in _shifted(x, weight, shape[2:], stride, padding):
        y += view[:, :, None] * taps[:, :, i, j]
    return y.reshape(shape)


def _depthwise_vjp(g, x, weight, needs, stride, padding):
    n, c, height, width = x.shape
    top, left = pair("padding", padding, 0)
    g = g.reshape(n, c, -1, *g.shape[2:])
    taps = weight.reshape(c, -1, *weight.shape[2:], 1, 1)
    gw = np.empty(taps.shape[:4], weight.dtype) if needs[1] else None
    framed = np.zeros((n, c, height + 2 * top, width + 2 * left), g.dtype) if needs[0] else None
    # The same walk over x and over its gradient: what met a weight going in meets it coming out.
    for i, j, view in _shifted(x, weight, g.shape[3:], stride, padding):
        if needs[1]:
            gw[:, :, i, j] = np.einsum("ncpq,ncmpq->cm", view, g)
    if needs[0]:
        for i, j, view in _shifted(framed, weight, g.shape[3:], stride, 0):
            view += (g * taps[:, :, i, j]).sum(axis=2)
    gx = None if framed is None else framed[:, :, top : top + height, left : left + width]
    return gx, None if gw is None else gw.reshape(weight.shape)


grouped_conv2d = GroupedConv2d()
