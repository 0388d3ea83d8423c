"""Layers without a weight: activations, pooling, and those that only change the shape."""

from __future__ import annotations

from minidl import graph
from minidl.kernels.arguments import check_integer
from minidl.layers.layer import Layer
from minidl.ops.windows import pair, short


class ReLU(Layer):
    """max(x, 0)."""

    def forward(self, x):
        """Cut off what is negative."""
        return x.relu()


class ReLU6(Layer):
    """max(x, 0), but never more than 6, so that a few bits suffice for it."""

    def forward(self, x):
        """Cut off at both ends."""
        return graph.relu6(x)


class SiLU(Layer):
    """x · sigmoid(x): like max(x, 0), but smooth (also called swish)."""

    def forward(self, x):
        """One operation."""
        return graph.silu(x)


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
    """The largest element of each window: (N, C, H, W) → (N, C, P, Q). The stride is by default the size.

    Parameters
    ----------
    size, stride, padding : int or pair of int
    ceil_mode : bool
        Whether a last window may hang over the bottom or right edge, if it starts inside the image, instead
        of being left out: P is then rounded up. Caffe always did so, and networks born there need it.
    """

    def __init__(self, size, stride=None, padding=0, ceil_mode=False):
        super().__init__(size, stride, padding)
        self.ceil_mode = bool(ceil_mode)

    def forward(self, x):
        """One operation; before it, one that adds what a last window would be missing."""
        hanging = self._hanging(x.shape[2:]) if self.ceil_mode and x.ndim == 4 else (0, 0)
        if any(hanging):
            x = graph.pad(x, ((0, 0), (0, 0), *((0, n) for n in hanging)), -float("inf"))
        return graph.max_pool2d(x, self.size, self.stride, self.padding)

    def _hanging(self, image):
        """Return by how much the last windows stick out of an image (H, W)."""
        if None in image:
            raise ValueError("with ceil_mode, the height and width must be known")
        extra = []
        for n, size, stride, padding in zip(image, self.size, self.stride, self.padding, strict=True):
            left_over = (n + 2 * padding - size) % stride
            start = n + 2 * padding - size - left_over + stride
            extra.append(stride - left_over if left_over and start < n + padding else 0)
        return tuple(extra)

    def _arguments(self):
        return super()._arguments() + ", ceil_mode=True" * self.ceil_mode


class AvgPool2d(_Pool):
    """The mean of each window, padding counted as zeros: (N, C, H, W) → (N, C, P, Q)."""

    def forward(self, x):
        """One operation."""
        return graph.avg_pool2d(x, self.size, self.stride, self.padding)


class GlobalAvgPool2d(Layer):
    """The mean of each channel, whatever the size: (N, C, H, W) → (N, C), or with `keepdims` (N, C, 1, 1)."""

    def __init__(self, keepdims=False):
        self.keepdims = bool(keepdims)

    def forward(self, x):
        """One operation."""
        if x.ndim != 4:
            raise ValueError(f"input must have shape (N, C, H, W), got {tuple(x.shape)}")
        return x.mean(axis=(2, 3), keepdims=self.keepdims)

    def _arguments(self):
        return "keepdims=True" * self.keepdims


class LocalResponseNorm(Layer):
    """Divide each element by how strongly its neighbours in other channels respond at the same place.

    y = x / (k + α · mean of x² over `size` neighbouring channels)^β, channels that do not exist counted as 0
    (Krizhevsky et al., 2012, section 3.3, whose α is this one divided by `size`).

    Parameters
    ----------
    size : odd int
    alpha, beta, k : float
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        self.size = check_integer("size", size, 1)
        if self.size % 2 == 0:
            raise ValueError(f"size must be odd, so that a channel is in the middle, got {size}")
        self.alpha, self.beta, self.k = float(alpha), float(beta), float(k)

    def forward(self, x):
        """A mean over a window, sliding over channels instead of pixels."""
        if x.ndim != 4:
            raise ValueError(f"input must have shape (N, C, H, W), got {tuple(x.shape)}")
        n, c, h, w = (-1 if i == 0 and size is None else size for i, size in enumerate(x.shape))
        squares = (x * x).reshape((n, 1, c, h * w))
        mean = graph.avg_pool2d(squares, (self.size, 1), 1, (self.size // 2, 0)).reshape((n, c, h, w))
        return x * (self.k + self.alpha * mean) ** -self.beta

    def _arguments(self):
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


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
