"""Sets of examples: inputs and targets side by side, and a data set made of two such sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.kernels.arguments import check_integer


class _Pairs:
    """What all sets of examples can do: tell how many they are, and hand out some of them."""

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        """Return some of the examples, by a slice or an array, as a set of the same kind."""
        if isinstance(index, (int, np.integer)):
            raise TypeError("take examples by a slice or an array, such as split[3:4]")
        return type(self)(self.inputs[index], self.targets[index])


@dataclass(frozen=True, eq=False)
class Examples(_Pairs):
    """Inputs, and for each the target that a network should answer with: any arrays of one length."""

    inputs: np.ndarray
    targets: np.ndarray

    def __post_init__(self):
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"got {len(self.inputs)} inputs and {len(self.targets)} targets")


@dataclass(frozen=True, eq=False)
class Split(_Pairs):
    """Images and what they show.

    Parameters
    ----------
    images : float32 array, shape (N, C, H, W), values from 0 to 1
    labels : int64 array, shape (N,)

    Raises
    ------
    TypeError, ValueError
        If they are anything else.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        for name, array, dtype, ndim in (
            ("images", self.images, np.float32, 4),
            ("labels", self.labels, np.int64, 1),
        ):
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                got = getattr(array, "dtype", type(array).__name__)
                raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, got {got}")
            if array.ndim != ndim:
                raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}, got {array.shape}")
        if len(self.images) != len(self.labels):
            raise ValueError(f"got {len(self.images)} images and {len(self.labels)} labels")
        if self.images.size and not (self.images.min() >= 0 and self.images.max() <= 1):
            raise ValueError(
                f"images must be from 0 to 1, got {self.images.min()} to {self.images.max()}: "
                "divide pixels by their largest possible value"
            )

    @property
    def inputs(self):
        """The images."""
        return self.images

    @property
    def targets(self):
        """The labels."""
        return self.labels


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples to train with and examples to test with, which training never sees.

    Attributes
    ----------
    name : str
    train, test : Split or Examples
    classes : tuple of str
        What the labels 0, 1, 2, … are called; empty if there are none.
    """

    name: str
    train: Split
    test: Split
    classes: tuple = ()


def batches(split, size, generator=None):
    """Yield (inputs, targets) for all examples, `size` at a time, the last batch perhaps fewer.

    Parameters
    ----------
    split : Split or Examples
    size : int
    generator : numpy.random.Generator, optional
        Shuffles them; without one they come as they are.
    """
    size = check_integer("size", size, 1)
    order = np.arange(len(split)) if generator is None else generator.permutation(len(split))
    return ((split.inputs[part], split.targets[part]) for part in _parts(order, size))


def _parts(order, size):
    return (order[start : start + size] for start in range(0, len(order), size))


def check_share(name, value):
    """Return a share of something, more than nothing and less than all."""
    if isinstance(value, bool) or not isinstance(value, float) or not 0 < value < 1:
        raise ValueError(f"{name} must be a share between 0 and 1, got {value!r}")
    return value
