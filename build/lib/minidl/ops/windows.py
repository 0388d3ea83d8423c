"""Sizes of what a window slides over: shared by convolution and pooling."""

from __future__ import annotations


def pair(name, value, low):
    """Return (height, width) from one integer or a pair of them, each at least `low`."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or any(isinstance(v, bool) or not hasattr(v, "__index__") for v in values):
        raise TypeError(f"{name} must be an integer or a pair of them, got {value!r}")
    if min(values) < low:
        raise ValueError(f"{name} must be at least {low}, got {value!r}")
    return tuple(int(v) for v in values)


def short(values):
    """Return a pair as the one number that it repeats, if it does."""
    return values[0] if values[0] == values[1] else values


def slid(n, window, stride, padding):
    """Return how many positions a window takes on n elements; None where n is not known."""
    return None if n is None else (n + 2 * padding - window) // stride + 1


def slid_image(x, window, stride, padding):
    """Return (rows, columns) of positions on an image of shape (…, H, W); raise ValueError if it has none."""
    for n, k, p in zip(x[-2:], window, padding, strict=True):
        if n is not None and n + 2 * p < k:
            raise ValueError(f"a window of {window} does not fit into {x[-2:]} with padding {padding}")
    return tuple(map(slid, x[-2:], window, stride, padding))


def check_images(name, x):
    """Raise ValueError unless a shape is that of a batch of images, (N, C, H, W)."""
    if len(x) != 4:
        raise ValueError(f"{name} must have shape (N, C, H, W), got {x}")
