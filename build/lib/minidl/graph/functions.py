"""Functions on values of either graph: on tensors they compute at once, on static nodes they make the next
node.

Each names an operation of `minidl.ops`, and its arguments; what it computes is written there.
"""

from __future__ import annotations

import numpy as np

from minidl import ops
from minidl.graph.dynamic import Tensor, apply
from minidl.graph.node import Value, alike


def _present(*inputs):
    return [value for value in inputs if value is not None]


def _both(a, b):
    """Return two operands in one dtype, at least one of them a value."""
    if isinstance(a, Value):
        return a, alike(b, a)
    b = b if isinstance(b, Value) else Tensor(b)
    return alike(a, b), b


# --------------------------------------------------------------------------------------------- elementwise


def exp(x):
    """e to the power of every element."""
    return apply(ops.exp, x)


def log(x):
    """The natural logarithm of every element."""
    return apply(ops.log, x)


def sqrt(x):
    """The square root of every element."""
    return apply(ops.sqrt, x)


def tanh(x):
    """The hyperbolic tangent of every element."""
    return apply(ops.tanh, x)


def sigmoid(x):
    """1 / (1 + exp(-x)) of every element."""
    return apply(ops.sigmoid, x)


def relu(x):
    """Every element, or 0 where it is negative."""
    return apply(ops.relu, x)


def leaky_relu(x, slope=0.01):
    """Every element, or `slope` times it where it is negative."""
    return apply(ops.leaky_relu, x, slope=float(slope))


def maximum(a, b):
    """The larger of each two elements; where they are equal, each has half of the gradient."""
    return apply(ops.maximum, *_both(a, b))


def minimum(a, b):
    """The smaller of each two elements; where they are equal, each has half of the gradient."""
    return apply(ops.minimum, *_both(a, b))


def where(condition, a, b):
    """`a` where the condition holds, `b` elsewhere; only what was chosen has a gradient."""
    return apply(ops.where, condition, *_both(a, b))


# -------------------------------------------------------------------------------------- products and layers


def matmul(a, b):
    """The matrix product a @ b, of vectors, matrices, or stacks of matrices."""
    return apply(ops.matmul, a, b)


def dense(x, weight, bias=None):
    """x·weightᵀ + bias: x (…, I), weight (O, I), bias (O,) → (…, O)."""
    return apply(ops.dense, *_present(x, weight, bias))


def conv2d(x, weight, bias=None, stride=1, padding=0):
    """Cross-correlation: x (N, C, H, W), weight (O, C, K, L), bias (O,) → (N, O, P, Q)."""
    return apply(ops.conv2d, *_present(x, weight, bias), stride=stride, padding=padding)


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0):
    """Transposed convolution: x (N, I, H, W), weight (I, O, K, L), bias (O,) → (N, O, P, Q)."""
    return apply(
        ops.conv_transpose2d,
        *_present(x, weight, bias),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
    )


def max_pool2d(x, size, stride=None, padding=0):
    """The largest element of each window: (N, C, H, W) → (N, C, P, Q)."""
    return apply(ops.max_pool2d, x, size=size, stride=stride, padding=padding)


def avg_pool2d(x, size, stride=None, padding=0):
    """The mean of each window, padding counted as zeros: (N, C, H, W) → (N, C, P, Q)."""
    return apply(ops.avg_pool2d, x, size=size, stride=stride, padding=padding)


def upsample(x, scale):
    """Each element becomes a block of them: (N, C, H, W) → (N, C, scale·H, scale·W)."""
    return apply(ops.upsample, x, scale=scale)


def embedding(weight, indices):
    """Rows of a table: weight (V, D), indices (…) → (…, D)."""
    return apply(ops.embedding, weight, indices)


def dropout(x, p, generator):
    """Zero for a share p of the elements, drawn at random, the rest scaled by 1 / (1 - p)."""
    return apply(ops.dropout, x, p=p, generator=generator)


def batch_norm(x, weight, bias, running_mean, running_var, batches, training=True, momentum=0.1, eps=1e-5):
    """Normalise each channel over the batch; in training the running arrays and count follow, in place."""
    return apply(
        ops.batch_norm,
        x,
        weight,
        bias,
        running_mean=running_mean,
        running_var=running_var,
        batches=batches,
        training=training,
        momentum=momentum,
        eps=eps,
    )


# --------------------------------------------------------------------------------------- shapes


def concatenate(values, axis=0):
    """Lay values end to end along an axis."""
    return apply(ops.concatenate, *values, axis=axis)


def stack(values, axis=0):
    """Lay values side by side along a new axis."""
    values = [v if isinstance(v, Value) else Tensor(v) for v in values]
    axis = axis % (values[0].ndim + 1)
    return concatenate([v.reshape(v.shape[:axis] + (1,) + v.shape[axis:]) for v in values], axis)


def _prediction_and_target(prediction, target):
    """Return both as values; a target that is a plain array is taken in the dtype of the prediction."""
    prediction = prediction if isinstance(prediction, Value) else Tensor(prediction)
    return prediction, target if isinstance(target, Value) else np.asarray(target, prediction.dtype)


# --------------------------------------------------------------------------------- probabilities and losses


def softmax(x, axis=-1):
    """exp(x) / Σ exp(x) along an axis."""
    return apply(ops.softmax, x, axis=axis)


def log_softmax(x, axis=-1):
    """x - log Σ exp(x) along an axis."""
    return apply(ops.log_softmax, x, axis=axis)


def cross_entropy(logits, labels):
    """Mean of -log softmax(logits)[label]: logits (N, K), labels (N,) integers."""
    return apply(ops.cross_entropy, logits, labels)


def bce_with_logits(logits, targets):
    """Mean binary cross-entropy of sigmoid(logits) against targets from 0 to 1, of the same shape."""
    return apply(ops.bce_with_logits, *_prediction_and_target(logits, targets))


def mse(prediction, target):
    """Mean of the squared differences; both of one shape."""
    prediction, target = _prediction_and_target(prediction, target)
    if tuple(prediction.shape) != tuple(target.shape):
        raise ValueError(f"prediction {prediction.shape} and target {target.shape} must have one shape")
    return ((prediction - target) ** 2).mean()
