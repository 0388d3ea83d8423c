"""Layers without a weight: activations, pooling, and those that only change the shape."""

from __future__ import annotations

from minidl import graph
from minidl.layers.layer import Layer
from minidl.ops.windows import pair, short


class ReLU(Layer):
    """max(x, 0)."""

    def forward(self, x):
        """Cut off what is negative."""
        return x.relu()


class LeakyReLU(Layer):
    """x, or `slope` times x where it is negative, so that some gradient always passes."""

    def __init__(self, slope=0.01):
        self.slope = float(slope)

    def forward(self, x):
        """Make what is negative smaller."""
        return graph.leaky_relu(x, self.slope)

    def _arguments(self):
        return f"{self.slope}"


class Sigmoid(Layer):
    """1 / (1 + exp(-x)): from 0 to 1."""

    def forward(self, x):
        """Squash."""
        return x.sigmoid()


class Tanh(Layer):
    """The hyperbolic tangent: from -1 to 1."""

    def forward(self, x):
        """Squash."""
        return x.tanh()


class Softmax(Layer):
    """exp(x) / Σ exp(x) along an axis: positive numbers that add up to 1."""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        """Turn scores into probabilities."""
        return graph.softmax(x, self.axis)

    def _arguments(self):
        return f"axis={self.axis}"


class _Pool(Layer):
    def __init__(self, size, stride=None, padding=0):
        self.size = pair("size", size, 1)
        self.stride = self.size if stride is None else pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)

    def _arguments(self):
        text = f"{short(self.size)}" + f", stride={short(self.stride)}" * (self.stride != self.size)
        return text + f", padding={short(self.padding)}" * (self.padding != (0, 0))


class MaxPool2d(_Pool):
    """The largest element of each window: (N, C, H, W) → (N, C, P, Q). The stride is by default the size."""

    def forward(self, x):
        """One operation."""
        return graph.max_pool2d(x, self.size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """The mean of each window, padding counted as zeros: (N, C, H, W) → (N, C, P, Q)."""

    def forward(self, x):
        """One operation."""
        return graph.avg_pool2d(x, self.size, self.stride, self.padding)


class Upsample(Layer):
    """Each element becomes a block of `scale` by `scale`: (N, C, H, W) → (N, C, scale·H, scale·W)."""

    def __init__(self, scale):
        self.scale = pair("scale", scale, 1)

    def forward(self, x):
        """One operation."""
        return graph.upsample(x, self.scale)

    def _arguments(self):
        return f"{short(self.scale)}"


class Flatten(Layer):
    """Everything but the batch in one row: (N, …) → (N, features)."""

    def forward(self, x):
        """A view."""
        return x.reshape((x.shape[0], -1) if x.shape[0] is not None else (-1, _product(x.shape[1:])))


class Reshape(Layer):
    """Each example into another shape: Reshape(1, 28, 28) takes (N, 784) to (N, 1, 28, 28)."""

    def __init__(self, *shape):
        self.shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape

    def forward(self, x):
        """A view."""
        return x.reshape((-1 if x.shape[0] is None else x.shape[0], *self.shape))

    def _arguments(self):
        return ", ".join(map(str, self.shape))


def _product(shape):
    result = 1
    for n in shape:
        result *= n
    return result
