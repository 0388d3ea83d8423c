"""A trained network in 8-bit integers: a quarter of the memory, nearly the same answers.

    small = quantize(model, data.digits().train.images)
    small(images)                      # logits, from sums of products of bytes
    small.nbytes, float_bytes(model)

Every weight array and every array between two layers has a scale and a zero point of its own, chosen so that
256 steps cover what occurs: for weights all there are, for the rest what some examples show. Nothing is
trained again (B. Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, arXiv:1712.05877, section 2; "post-training" in its terms).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minidl.graph import no_grad
from minidl.kernels.arguments import check_floats
from minidl.kernels.quantized import Quantization, choose_quantization, dequantize, quantized_matmul
from minidl.kernels.quantized import quantize as to_bytes
from minidl.layers import Conv2d, Dense, Dropout, Flatten, MaxPool2d, ReLU, Sequential


def quantize(model, examples):
    """Return a trained network with 8-bit weights and 8-bit numbers between its layers.

    Parameters
    ----------
    model : Sequential
        Of `Conv2d`, `Dense`, `ReLU`, `MaxPool2d`, `Flatten` and `Dropout`; it is not changed.
    examples : array_like of float32 or float64, shape (N, …)
        Inputs as they will come, a few hundred of those it was trained with: from what is seen of them the
        ranges are taken, and what is beyond is cut off later.

    Raises
    ------
    TypeError
        If the model is something else, or has a layer for which there are no bytes here.
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"model must be a Sequential, got {type(model).__name__}")
    for name, layer in model.parts().items():
        if type(layer) not in _STEPS:
            known = ", ".join(kind.__name__ for kind in _STEPS)
            raise TypeError(f"layer {name}, {layer!r}, cannot be quantized; those that can: {known}")
        if getattr(layer, "groups", 1) != 1:
            raise TypeError(f"layer {name}, {layer!r}, cannot be quantized: its channels are in groups")
        if getattr(layer, "ceil_mode", False):
            raise TypeError(f"layer {name}, {layer!r}, cannot be quantized: its windows hang over the edge")
    examples = check_floats("examples", examples)
    steps, quantization = [], _range(examples)
    first, seen = quantization, examples
    following = [layer for layer in model if type(layer) is not Dropout]
    for layer, after in zip(following, [*following[1:], None], strict=True):
        with no_grad():
            seen = layer(seen).numpy()
        if isinstance(layer, (Conv2d, Dense)):
            # A relu follows: what is below 0 will not be needed, so no byte is spent on it.
            result = _range(np.maximum(seen, 0) if isinstance(after, ReLU) else seen)
            steps.append(_STEPS[type(layer)](layer, quantization, result))
            quantization = result
        else:
            steps.append(_STEPS[type(layer)](layer, quantization))
    return Quantized(steps, first, quantization)


def float_bytes(model):
    """Return how many bytes the parameters of a network take as they are."""
    return sum(parameter.data.nbytes for parameter in model.parameters())


class Quantized:
    """What `quantize` makes: call it with inputs of float32 or float64, (N, …), for logits of float32.

    Attributes
    ----------
    steps : list
        What is done with bytes, in order; those with a weight have `.weight`, uint8, and `.bias`, int32.
    first, last : Quantization
        What bytes stand for at the input and at the output.
    nbytes : int
        What has to be stored: a byte for each weight, 4 for each bias, 5 for each scale and zero point.
    """

    def __init__(self, steps, first, last):
        self.steps, self.first, self.last = steps, first, last

    def __call__(self, x):
        """Turn the input into bytes, compute with bytes, and turn the output into numbers."""
        q = to_bytes(check_floats("x", x), self.first)
        for step in self.steps:
            q = step(q)
        return dequantize(q, self.last)

    @property
    def nbytes(self):
        """Bytes to store."""
        weighted = [step for step in self.steps if isinstance(step, _Weighted)]
        return 5 + sum(step.weight.nbytes + step.bias.nbytes + 2 * 5 for step in weighted)


def _range(x):
    return choose_quantization(float(x.min()), float(x.max()))


class _Weighted:
    """A matrix of bytes, (inputs, outputs), and sums of 32 bits to start from."""

    def __init__(self, layer, given, result):
        matrix = layer.weight.numpy().reshape(len(layer.weight.numpy()), -1).T  # (inputs, outputs)
        self.given, self.result, self.of_weight = given, result, _range(matrix)
        self.weight = to_bytes(np.ascontiguousarray(matrix), self.of_weight)
        bias = np.zeros(matrix.shape[1]) if layer.bias is None else layer.bias.numpy().astype(np.float64)
        unit = given.scale * self.of_weight.scale  # a product of two bytes counts in it
        limit = 2**31 - 1 - 255 * 255 * len(matrix)  # what the products leave of 32 bits
        self.bias = np.clip(np.rint(bias / unit), -limit, limit).astype(np.int32)

    def product(self, rows):
        """(N, inputs) → (N, outputs), bytes both."""
        return quantized_matmul(rows, self.weight, self.given, self.of_weight, self.result, self.bias)


class _Dense(_Weighted):
    def __call__(self, q):
        return self.product(q.reshape(-1, q.shape[-1])).reshape(*q.shape[:-1], -1)


class _Conv2d(_Weighted):
    def __init__(self, layer, given, result):
        super().__init__(layer, given, result)
        self.size, self.stride, self.padding = layer.kernel_size, layer.stride, layer.padding

    def __call__(self, q):
        windows = _windows(q, self.size, self.stride, self.padding, self.given.zero_point)
        n, _, p, r, *_ = windows.shape
        rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * p * r, -1)  # (N·P·Q, C·K·L)
        return self.product(rows).reshape(n, p, r, -1).transpose(0, 3, 1, 2)


class _MaxPool2d:
    """The largest byte stands for the largest number."""

    def __init__(self, layer, quantization):
        self.size, self.stride, self.padding = layer.size, layer.stride, layer.padding

    def __call__(self, q):
        return _windows(q, self.size, self.stride, self.padding, 0).max(axis=(4, 5))


class _ReLU:
    def __init__(self, layer, quantization):
        self.zero_point = np.uint8(quantization.zero_point)

    def __call__(self, q):
        return np.maximum(q, self.zero_point)


class _Flatten:
    def __init__(self, layer, quantization):
        pass

    def __call__(self, q):
        return q.reshape(len(q), -1)


def _windows(q, size, stride, padding, value):
    """Return every window of an image, (N, C, P, Q, K, L), with `value` around the image."""
    sides = [(0, 0), (0, 0), *((p, p) for p in padding)]
    padded = np.pad(q, sides, constant_values=value)
    return sliding_window_view(padded, size, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]


_STEPS = {
    Conv2d: _Conv2d,
    Dense: _Dense,
    ReLU: _ReLU,
    MaxPool2d: _MaxPool2d,
    Flatten: _Flatten,
    Dropout: None,  # does nothing after training
}

__all__ = ["Quantization", "Quantized", "float_bytes", "quantize"]
