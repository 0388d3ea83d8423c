"""From scores to probabilities to losses: softmax, its logarithm, and the cross-entropies."""

from __future__ import annotations

import numpy as np

from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels import softmax as kernels
from minidl.ops import gpu
from minidl.ops.arithmetic import Elementwise, multiply
from minidl.ops.op import Op, by_device, normalise_axis, size
from minidl.ops.reduction import reduce_mean, reduce_sum

_softmax = by_device(kernels.softmax, kernels.softmax_cuda)
_softmax_backward = by_device(kernels.softmax_backward, kernels.softmax_backward_cuda)
_log_softmax = by_device(kernels.log_softmax, kernels.log_softmax_cuda)
_log_softmax_backward = by_device(kernels.log_softmax_backward, kernels.log_softmax_backward_cuda)


class Softmax(Op):
    """y = exp(x) / Σ exp(x) along an axis."""

    name = "softmax"
    writes_out = True
    runs_on_gpu = True

    def forward(self, x, axis=-1, out=None):
        """Keep the result: the derivative is written in it."""
        y = _softmax(x, axis, out=out)
        return y, (y,)

    def vjp(self, g, saved, needs, axis=-1):
        """Jacobian: yᵢ(δᵢⱼ - yⱼ)."""
        return (_softmax_backward(g, saved[0], axis),)

    def shape(self, x, axis=-1):
        """The same."""
        normalise_axis(axis, len(x))
        return x

    def flops(self, x, axis=-1):
        """Subtract, exponential, add, divide, and a comparison for the maximum."""
        return 5 * size(x)


class LogSoftmax(Softmax):
    """y = x - log Σ exp(x): the logarithm of softmax, without ever taking the logarithm of a tiny number."""

    name = "log_softmax"

    def forward(self, x, axis=-1, out=None):
        """Keep the result."""
        y = _log_softmax(x, axis, out=out)
        return y, (y,)

    def vjp(self, g, saved, needs, axis=-1):
        """Jacobian: δᵢⱼ - softmaxⱼ."""
        return (_log_softmax_backward(g, saved[0], axis),)


class CrossEntropy(Op):
    """Mean over a batch of -log softmax(logits)[label]: logits (N, K), labels (N,) integers → ().

    One operation, because its gradient is far simpler than its parts': the probabilities, minus one at the
    label.
    """

    name = "cross_entropy"
    runs_on_gpu = True

    def forward(self, logits, labels):
        """Keep the logarithms of the probabilities, and the labels."""
        if logits.shape[:1] != labels.shape or logits.ndim != 2:
            raise ValueError(
                f"logits must have shape (N, K) and labels (N,), got {logits.shape} and {labels.shape}"
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise TypeError(f"labels must be integers, got {labels.dtype}")
        if labels.size == 0:
            raise ValueError("cross-entropy of an empty batch")
        if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
            raise ValueError(
                f"labels must be from 0 to {logits.shape[1] - 1}, got {labels.min()} to {labels.max()}"
            )
        log_p = _log_softmax(logits, 1)
        if is_on_gpu(log_p):
            chosen = np.zeros(logits.shape, log_p.dtype)
            chosen[np.arange(len(labels)), labels] = -1 / len(labels)
            chosen = GPU.upload(chosen)
            loss, _ = reduce_sum.forward(multiply.forward(log_p, chosen)[0])
            return loss, (log_p, chosen)
        return -np.mean(log_p[np.arange(len(labels)), labels]), (log_p, labels)

    def vjp(self, g, saved, needs):
        """(softmax - one hot) / N."""
        log_p, labels = saved
        if is_on_gpu(g):  # where the labels are an array already, of -1 / N and zeros
            share = log_p.dtype.type(1 / len(log_p))
            formula = "(exp(a) * b + c) * g"
            return gpu.elementwise("cross_entropy_vjp", formula, "abcg", (log_p, share, labels, g)), None
        gradient = np.exp(log_p)
        gradient[np.arange(len(labels)), labels] -= 1
        gradient *= g / len(labels)
        return gradient, None

    def shape(self, logits, labels):
        """One number."""
        if (
            len(logits) != 2
            or len(labels) != 1
            or (None not in (logits[0], labels[0]) and logits[0] != labels[0])
        ):
            raise ValueError(f"logits must have shape (N, K) and labels (N,), got {logits} and {labels}")
        return ()

    def dtype(self, logits, labels):
        """That of the logits."""
        return logits

    def flops(self, logits, labels):
        """As for softmax."""
        return 5 * size(logits)


_bce = Elementwise("bce", "maximum(a, 0) - a * b + log(1 + exp(-abs(a)))", "g * (sigmoid(a) - b)", "-g * a")


class BCEWithLogits(Op):
    """Mean binary cross-entropy of sigmoid(logits) against targets from 0 to 1, both of one shape → ().

    With z the logit and t the target, -t·log σ(z) - (1 - t)·log(1 - σ(z)) = max(z, 0) - z·t + log(1 +
    exp(-|z|)), which neither overflows nor takes the logarithm of zero.
    """

    name = "bce_with_logits"
    runs_on_gpu = True

    def forward(self, logits, targets):
        """Keep both."""
        if logits.shape != targets.shape:
            raise ValueError(
                f"logits and targets must have one shape, got {logits.shape} and {targets.shape}"
            )
        if logits.size == 0:
            raise ValueError("binary cross-entropy of nothing")
        return reduce_mean.forward(_bce.forward(logits, targets)[0])[0], (logits, targets)

    def vjp(self, g, saved, needs):
        """(σ(z) - t) / n, and -z / n."""
        logits, _ = saved
        share, _ = multiply.forward(g, logits.dtype.type(1 / logits.size))
        return _bce.vjp(share, saved, needs)

    def shape(self, logits, targets):
        """One number."""
        if len(logits) != len(targets) or any(
            None not in (n, m) and n != m for n, m in zip(logits, targets, strict=True)
        ):
            raise ValueError(f"logits and targets must have one shape, got {logits} and {targets}")
        return ()

    def flops(self, logits, targets):
        """Eight steps for each."""
        return 8 * size(logits)


softmax = Softmax()
log_softmax = LogSoftmax()
cross_entropy = CrossEntropy()
bce_with_logits = BCEWithLogits()
