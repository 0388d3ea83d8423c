"""Convolution through the Fourier transform: there it is one multiplication per frequency.

The transform of a cross-correlation is the transform of the image times the complex conjugate of that of the
kernel. The kernel's size then costs nothing: what counts are the transforms, and a matrix product over
channels for each frequency (M. Mathieu, M. Henaff & Y. LeCun, "Fast training of convolutional networks
through FFTs", ICLR 2014). It pays for large kernels; a NaN or an infinity spoils its whole image.
"""

from __future__ import annotations

import numpy as np

from minidl.kernels.conv.reference import checked_forward, padded

SPECTRUM_BYTES = 32 << 20  # most for the spectra of images, and of filters, unless one alone needs more


def conv2d_fft(x, w, bias=None, stride=1, padding=0, out=None):
    """Rung 6: multiply spectra. With a stride, all outputs are computed and most thrown away.

    Parameters, result and errors are those of `conv2d_reference`. Its error is relative to the largest output
    of an image, not to each.
    """
    x, w, bias, geometry, out = checked_forward(x, w, bias, stride, padding, out)
    padding = geometry.padding
    size = fast_size(geometry.height + 2 * padding[0]), fast_size(geometry.width + 2 * padding[1])
    (height, width), (down, across) = geometry.out, geometry.stride
    rows, columns = slice(0, (height - 1) * down + 1, down), slice(0, (width - 1) * across + 1, across)
    step = max(1, SPECTRUM_BYTES // (geometry.channels * size[0] * (size[1] // 2 + 1) * 2 * x.itemsize))
    with np.errstate(all="ignore"):
        for some in _slices(geometry.filters, step):
            kernels = _by_frequency(w[some], size).conj()  # (frequencies, O, C)
            for images in _slices(geometry.images, step):
                spectra = _by_frequency(padded(x[images], geometry), size)  # (frequencies, N, C)
                products = np.matmul(spectra, kernels.transpose(0, 2, 1))  # (frequencies, N, O)
                products = np.moveaxis(products, 0, 2).reshape(*products.shape[1:], size[0], -1)
                out[images, some] = np.fft.irfft2(products, size)[:, :, rows, columns]
        if bias is not None:
            out += bias[:, None, None]
    return out


def _by_frequency(arrays, size):
    """Return the spectra of (A, B, H, W) arrays as (frequencies, A, B): half of them suffice if real."""
    spectra = np.fft.rfft2(arrays, size)
    return np.ascontiguousarray(spectra.reshape(*arrays.shape[:2], -1).transpose(2, 0, 1))


def _slices(count, step):
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def fast_size(size):
    """Return the smallest even number from `size` on without a prime factor above 5: those are fast."""
    size += size % 2
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2
