"""Layer 3, Op: array in, array out. Each operation's forward pass stands beside its vector-Jacobian product.

An operation (`Op`) knows nothing of graphs. It answers five questions about itself: what it computes, what
must be kept for the way back, how a gradient passes back through it, what shape comes out, and what it costs.
The device of the input chooses the kernel. Both graphs of layer 4 are built on these same objects:

    ops.matmul(a, b)                              # just the result
    c, saved = ops.matmul.forward(a, b)           # the result, and what the way back needs
    ga, gb = ops.matmul.vjp(gc, saved, (True, True))
"""

from minidl.ops.arithmetic import (
    Elementwise,
    absolute,
    add,
    divide,
    equal,
    exp,
    greater,
    greater_equal,
    leaky_relu,
    less,
    less_equal,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    power_of,
    relu,
    sigmoid,
    sqrt,
    square,
    subtract,
    tanh,
    where,
)
from minidl.ops.convolution import conv2d, conv_transpose2d
from minidl.ops.linear import dense, matmul
from minidl.ops.op import Op, broadcast, unbroadcast
from minidl.ops.pooling import avg_pool2d, max_pool2d, upsample
from minidl.ops.probability import bce_with_logits, cross_entropy, log_softmax, softmax
from minidl.ops.reduction import reduce_max, reduce_mean, reduce_min, reduce_sum
from minidl.ops.shaping import broadcast_to, concatenate, embedding, getitem, reshape, transpose
from minidl.ops.training import batch_norm, dropout

__all__ = [
    "Elementwise",
    "Op",
    "absolute",
    "add",
    "avg_pool2d",
    "batch_norm",
    "bce_with_logits",
    "broadcast",
    "broadcast_to",
    "concatenate",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dense",
    "divide",
    "dropout",
    "embedding",
    "equal",
    "exp",
    "getitem",
    "greater",
    "greater_equal",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log_softmax",
    "matmul",
    "max_pool2d",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "power",
    "power_of",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_sum",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "square",
    "subtract",
    "tanh",
    "transpose",
    "unbroadcast",
    "upsample",
    "where",
]
