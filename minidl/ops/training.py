"""Operations that behave one way in training and another afterwards: dropout and batch normalisation."""

from __future__ import annotations

import numpy as np

from minidl.hardware.machine import GPU, is_on_gpu
from minidl.ops import gpu
from minidl.ops.arithmetic import multiply
from minidl.ops.op import Op, size
from minidl.ops.reduction import reduce_mean


class Dropout(Op):
    """Set each element to zero with probability p, and scale the rest by 1 / (1 - p), so that the mean stays.

    (Srivastava et al., Dropout, JMLR 15, 2014; the scaling in training is the "inverted" form of section 10.)
    """

    name = "dropout"
    runs_on_gpu = True
    pure = False

    def forward(self, x, p, generator, per_example=False):
        """Keep the mask that was drawn, already scaled: per element, or one number for each example."""
        drawn = x.shape[:1] + (1,) * (x.ndim - 1) if per_example else x.shape
        keep = generator.random(drawn, dtype=np.float32) >= p
        mask = np.multiply(keep, 1 / (1 - p) if p < 1 else 0, dtype=x.dtype)
        mask = GPU.upload(mask) if is_on_gpu(x) else mask
        return multiply.forward(x, mask)[0], (mask,)

    def vjp(self, g, saved, needs, p, generator, per_example=False):
        """What was dropped did not matter: its gradient is zero."""
        return (multiply.forward(g, saved[0])[0],)

    def flops(self, x, p, generator, per_example=False):
        """One multiplication each."""
        return size(x)


def _mean_per_channel(x):
    """Average over all axes but the second."""
    return reduce_mean.forward(x, axis=tuple(i for i in range(x.ndim) if i != 1))[0]


def _per_channel(v, x):
    return v.reshape((1, -1) + (1,) * (len(x) - 2))


class BatchNorm(Op):
    """Normalise each channel over the batch, then scale and shift: x (N, C, …), weight (C,), bias (C,).

    y = weight · (x - mean) / √(variance + ε) + bias (Ioffe & Szegedy, arXiv:1502.03167, algorithm 1).

    In training, mean and variance are the batch's, and those kept in the arrays `running_mean` and
    `running_var` follow: running += momentum · (batch - running), with the unbiased variance, as in PyTorch;
    `batches` counts. Otherwise they are the running ones.
    """

    name = "batch_norm"
    runs_on_gpu = True
    pure = False

    def forward(
        self, x, weight, bias, running_mean, running_var, batches, training=True, momentum=0.1, eps=1e-5
    ):
        """Keep the normalised x, and by how much it was divided."""
        n = x.size // x.shape[1]
        if training and n < 2:
            raise ValueError(f"training needs more than one value per channel, got input {x.shape}")
        if is_on_gpu(x):
            return self._on_gpu(
                x, weight, bias, running_mean, running_var, batches, training, momentum, x.dtype.type(eps)
            )
        if training:
            mean = _mean_per_channel(x)
            normal = x - _per_channel(mean, x.shape)
            variance = _mean_per_channel(np.square(normal))
            running_mean += momentum * (mean - running_mean)
            running_var += momentum * (variance * (n / (n - 1)) - running_var)
            batches += 1
        else:
            normal = x - _per_channel(running_mean.astype(x.dtype, copy=False), x.shape)
            variance = running_var.astype(x.dtype, copy=False)
        scale = 1 / np.sqrt(variance + x.dtype.type(eps))
        normal *= _per_channel(scale, x.shape)
        y = normal * _per_channel(weight, x.shape)
        y += _per_channel(bias, x.shape)
        return y, (normal, scale, weight)

    def _on_gpu(self, x, weight, bias, running_mean, running_var, batches, training, momentum, eps):
        """The same with formulas; what is kept over batches stays in host memory."""
        if training:
            n = x.size // x.shape[1]
            mean = _mean_per_channel(x)
            squares = gpu.elementwise("squares", "(a - b) * (a - b)", "ab", (x, _per_channel(mean, x.shape)))
            variance = _mean_per_channel(squares)
            running_mean += momentum * (GPU.download(mean) - running_mean)
            running_var += momentum * (GPU.download(variance) * (n / (n - 1)) - running_var)
            batches += 1
        else:
            mean = GPU.upload(running_mean.astype(x.dtype, copy=False))
            variance = GPU.upload(running_var.astype(x.dtype, copy=False))
        scale = gpu.elementwise("scale", "1 / sqrt(a + eps)", "a", (variance,), {"eps": float(eps)})
        center, spread, w, b = (_per_channel(v, x.shape) for v in (mean, scale, weight, bias))
        normal = gpu.elementwise("normalise", "(a - b) * c", "abc", (x, center, spread))
        y = gpu.elementwise("scale_and_shift", "a * b + c", "abc", (normal, w, b))
        return y, (normal, scale, weight)

    def _vjp_on_gpu(self, g, normal, scale, weight, needs, training):
        n = g.dtype.type(g.size // g.shape[1])
        mean = _mean_per_channel(g)
        along = _mean_per_channel(multiply.forward(g, normal)[0])
        gx = None
        if needs[0]:
            s, w, m, a = (_per_channel(v, g.shape) for v in (scale, weight, mean, along))
            if training:
                values = (g, m, normal, a, s, w)
                gx = gpu.elementwise("batch_norm_vjp", "(g - m - x * a) * s * w", "gmxasw", values)
            else:
                gx = gpu.elementwise("batch_norm_vjp", "g * s * w", "gsw", (g, s, w))
        return gx, multiply.forward(along, n)[0], multiply.forward(mean, n)[0]

    def vjp(self, g, saved, needs, training=True, **params):
        """In training, mean and variance depend on every x, so two sums come out of its gradient."""
        normal, scale, weight = saved
        if is_on_gpu(g):
            return self._vjp_on_gpu(g, normal, scale, weight, needs, training)
        n = g.size // g.shape[1]
        gx = g * normal
        to_bias, to_weight = n * _mean_per_channel(g), n * _mean_per_channel(gx)
        if not needs[0]:
            gx = None
        elif training:
            np.multiply(normal, _per_channel(-to_weight / n, g.shape), out=gx)
            gx += g
            gx -= _per_channel(to_bias / n, g.shape)
            gx *= _per_channel(scale * weight, g.shape)
        else:
            gx = g * _per_channel(scale * weight, g.shape)
        return gx, to_weight, to_bias

    def shape(self, x, weight, bias, **params):
        """The same."""
        if len(x) < 2 or weight != x[1:2] or bias != x[1:2]:
            raise ValueError(f"input {x} must have channels second, as many as weight {weight}, bias {bias}")
        return x

    def flops(self, x, weight, bias, **params):
        """Two sums, a square, and four steps to normalise, scale and shift."""
        return 7 * size(x)


dropout = Dropout()
batch_norm = BatchNorm()
