"""The handwritten digits that come with scikit-learn, which need no network: 1,797 images of 8×8 pixels."""

from __future__ import annotations

import numpy as np

from minidl.kernels.arguments import check_integer
from minidl.tasks.data.sets import Dataset, Split, check_share


def digits(test=0.25, seed=0):
    """Return the 1,797 handwritten digits that come with scikit-learn: 8×8 pixels, in 17 shades of grey.

    Parameters
    ----------
    test : float
        The share that is kept aside, about as large in every class.
    seed : int
        Which ones; the default gives the 450 that every figure in this book is measured with.

    Notes
    -----
    They are the test set of E. Alpaydin & C. Kaynak, Optical Recognition of Handwritten Digits (UCI Machine
    Learning Repository, 1998): each pixel counts the dark points in a block of 4×4.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    check_share("test", test)
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    learned, kept = train_test_split(
        np.arange(len(labels)), test_size=test, random_state=seed, stratify=labels
    )
    labels = labels.astype(np.int64)
    return Dataset(
        "digits",
        Split(images[learned], labels[learned]),
        Split(images[kept], labels[kept]),
        tuple("0123456789"),
    )


def shifts(images, generator, by=1):
    """Move every image by up to `by` pixels in both directions, at random; what comes in is 0.

    A moved digit is the same digit: a classifier that sees them moved needs fewer examples. For `augment` in
    `minidl.tasks.fit`.

    Parameters
    ----------
    images : array, shape (N, C, H, W)
    generator : numpy.random.Generator
    by : int
    """
    by = check_integer("by", by, 0)
    n, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (by, by), (by, by)))
    rows, columns = generator.integers(0, 2 * by + 1, (2, n, 1))
    return padded[
        np.arange(n)[:, None, None],
        :,
        (rows + np.arange(height))[:, :, None],
        (columns + np.arange(width))[:, None, :],
    ].transpose(0, 3, 1, 2)


def nudges(images, generator):
    """Move half of the images by up to one pixel, at random, and leave the others as they are.

    As `shifts` for images that have been centred: most of what is to be read later will not have moved, so it
    would be a pity to learn mainly from what has.
    """
    moved = generator.random(len(images)) < 0.5
    result = images.copy()
    result[moved] = shifts(images[moved], generator)
    return result
