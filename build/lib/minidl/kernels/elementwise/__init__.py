"""Elementwise: a function done to every element (a map) or to every pair of elements (a zip).

Read `map` and `zip`, the two ladders; then `activations`, the functions of a network's layers. `scalar` has
the functions themselves, one value at a time, `indexing` strides and broadcasting, `flat` what all of them
share.
"""

from minidl.kernels.elementwise.activations import (
    leaky_relu,
    leaky_relu_backward,
    leaky_relu_backward_cuda,
    leaky_relu_backward_reference,
    leaky_relu_cuda,
    leaky_relu_reference,
    relu,
    relu_backward,
    relu_backward_cuda,
    relu_backward_reference,
    relu_cuda,
    relu_reference,
    sigmoid_backward,
    sigmoid_backward_cuda,
    sigmoid_backward_reference,
    tanh,
    tanh_backward,
    tanh_backward_cuda,
    tanh_backward_reference,
    tanh_cuda,
    tanh_reference,
)
from minidl.kernels.elementwise.map import MAP_LADDER, sigmoid, sigmoid_cuda, sigmoid_reference
from minidl.kernels.elementwise.zip import ZIP_LADDER, add_relu, add_relu_cuda, add_relu_reference

LADDER = ZIP_LADDER

__all__ = [
    "LADDER",
    "MAP_LADDER",
    "ZIP_LADDER",
    "add_relu",
    "add_relu_cuda",
    "add_relu_reference",
    "leaky_relu",
    "leaky_relu_backward",
    "leaky_relu_backward_cuda",
    "leaky_relu_backward_reference",
    "leaky_relu_cuda",
    "leaky_relu_reference",
    "relu",
    "relu_backward",
    "relu_backward_cuda",
    "relu_backward_reference",
    "relu_cuda",
    "relu_reference",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_backward_cuda",
    "sigmoid_backward_reference",
    "sigmoid_cuda",
    "sigmoid_reference",
    "tanh",
    "tanh_backward",
    "tanh_backward_cuda",
    "tanh_backward_reference",
    "tanh_cuda",
    "tanh_reference",
]
