"""Convolution, forward and backward: what a network that looks at pictures spends its time on.

Read `reference` for what it is, then the rungs, one file each, and `best` for what one calls. `geometry` has
the sizes and the checks that all of them share.

    reference → Python loops → numba loops → im2col and a BLAS → Fourier → Winograd → direct      on the CPU
    CUDA direct → im2col and our product → implicit product                                       on the GPU
"""

from functools import partial
from math import log2

import numpy as np

from minidl.kernels.conv import accounts
from minidl.kernels.conv.best import conv2d, conv2d_backward_input, conv2d_backward_weight
from minidl.kernels.conv.direct import (
    conv2d_backward_input_direct,
    conv2d_backward_weight_direct,
    conv2d_direct,
)
from minidl.kernels.conv.fourier import conv2d_fft, fast_size
from minidl.kernels.conv.geometry import geometry_of
from minidl.kernels.conv.gpu import (
    conv2d_backward_bias_cuda,
    conv2d_backward_cuda,
    conv2d_backward_input_cuda,
    conv2d_backward_input_direct_kernel,
    conv2d_backward_input_implicit_kernel,
    conv2d_backward_weight_cuda,
    conv2d_cuda,
    conv2d_direct_kernel,
    conv2d_im2col_kernel,
    conv2d_implicit_kernel,
)
from minidl.kernels.conv.loops import (
    conv2d_backward_input_numba_loops,
    conv2d_backward_weight_numba_loops,
    conv2d_numba_loops,
)
from minidl.kernels.conv.lowering import (
    col2im,
    conv2d_backward_input_im2col,
    conv2d_backward_weight_im2col,
    conv2d_im2col_numba,
    conv2d_im2col_numpy,
    im2col,
)
from minidl.kernels.conv.reference import (
    conv2d_backward_bias,
    conv2d_backward_input_reference,
    conv2d_backward_weight_reference,
    conv2d_loops,
    conv2d_reference,
)
from minidl.kernels.conv.winograd import conv2d_winograd
from minidl.kernels.ladder import Ladder, Rung

__all__ = [
    "BACKWARD_LADDER",
    "LADDER",
    "col2im",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_bias_cuda",
    "conv2d_backward_cuda",
    "conv2d_backward_input",
    "conv2d_backward_input_cuda",
    "conv2d_backward_input_direct",
    "conv2d_backward_input_im2col",
    "conv2d_backward_input_numba_loops",
    "conv2d_backward_input_reference",
    "conv2d_backward_weight",
    "conv2d_backward_weight_cuda",
    "conv2d_backward_weight_direct",
    "conv2d_backward_weight_im2col",
    "conv2d_backward_weight_numba_loops",
    "conv2d_backward_weight_reference",
    "conv2d_cuda",
    "conv2d_direct",
    "conv2d_fft",
    "conv2d_im2col_numba",
    "conv2d_im2col_numpy",
    "conv2d_loops",
    "conv2d_numba_loops",
    "conv2d_reference",
    "conv2d_winograd",
    "im2col",
]

# --------------------------------------------------------------------- what the rungs move and compute


def _shape(x, w, bias=None, stride=1, padding=0, *_):
    """x's shape, the number of filters, kernel, output, stride, padding, and 1 if there is a bias."""
    geometry = geometry_of(np.shape(x), np.shape(w), stride, padding)
    sizes = geometry.kernel + geometry.out + geometry.stride + geometry.padding
    return (*geometry.x_shape, geometry.filters, *sizes, int(bias is not None))


def _backward_shape(gradient, x, w, stride=1, padding=0, *_):
    return _shape(x, w, True, stride, padding)


def _counts(n, c, height, width, o, kh, kw, p, q, *_):
    """Values in x, w and y, and in the columns of im2col."""
    return n * c * height * width, o * c * kh * kw, n * o * p * q, n * c * kh * kw * p * q


def _flops(*sizes):
    """A multiplication and an addition for each product of a weight and a pixel, and one for a bias."""
    y, columns = _counts(*sizes)[2:]
    return 2 * columns * sizes[4] + y * sizes[-1]


def _once(*sizes, itemsize=4):
    """Everything read or written once: what is needed again comes from a cache."""
    return sum(_counts(*sizes)[:3]) * itemsize


def _image_by_image(*sizes, itemsize=4):
    """An image passes by once for each filter, and the filters once for each image."""
    x, w, y, _ = _counts(*sizes)
    return (x * sizes[4] + w * sizes[0] + y) * itemsize


def _reference_bytes(*sizes, itemsize=4):
    """For each tap, the pixels it meets are copied and multiplied, and its products added up: in float64."""
    x, w, y, columns = _counts(*sizes)
    return (x + w + y) * itemsize + 8 * (x + 3 * columns + 3 * y * sizes[5] * sizes[6])


def _column_bytes(passes):
    """Columns are written once, and read by the BLAS; its result is read and written again with the bias."""

    def count(*sizes, itemsize=4):
        x, w, y, columns = _counts(*sizes)
        return (passes * x + w + 3 * y + 2 * columns) * itemsize

    return count


def _fft_sizes(n, c, height, width, o, kh, kw, p, q, down, right, top, left, _):
    rows, columns = fast_size(height + 2 * top), fast_size(width + 2 * left)
    return rows * columns, rows * (columns // 2 + 1), n * c, o * c, n * o


def _fft_bytes(*sizes, itemsize=4):
    """Each spectrum is written and read three times: transformed, put in order of frequency, multiplied."""
    _, frequencies, *transforms = _fft_sizes(*sizes)
    return (sum(_counts(*sizes)[:3]) + 12 * frequencies * sum(transforms)) * itemsize


def _fft_flops(*sizes):
    """2.5·n·log₂ n for a real transform of n values; a complex multiplication and addition are eight."""
    values, frequencies, *transforms = _fft_sizes(*sizes)
    products = 8 * frequencies * sizes[0] * sizes[1] * sizes[4]
    return int(2.5 * values * log2(values) * sum(transforms)) + products


def _tiles(sizes):
    """Tiles of 2×2 outputs."""
    return sizes[0] * -(-sizes[7] // 2) * -(-sizes[8] // 2)


def _winograd_bytes(*sizes, itemsize=4):
    """16 values for each tile and channel, written and read; and 16 for each tile and filter."""
    x, w, y, _ = _counts(*sizes)
    return (3 * x + w + y + 2 * 16 * _tiles(sizes) * (sizes[1] + sizes[4])) * itemsize


def _winograd_flops(*sizes):
    """Lavin & Gray, section 4.1: 32, 28 and 24 operations for pixels, a filter, outputs."""
    tiles, c, o = _tiles(sizes), sizes[1], sizes[4]
    return 2 * 16 * tiles * c * o + 32 * tiles * c + 28 * c * o + (24 + 4 * sizes[-1]) * tiles * o


def _both_ways(forward):
    """Backward there are two products of this size, one for each factor; and the bias is a sum."""
    return lambda *sizes, **itemsize: 2 * forward(*sizes, **itemsize)


def _example(size):
    """Images of 28 by 28 in 16 channels, 32 filters of 3 by 3 with a bias, stride 1, padding 1."""
    images = max(1, size // (16 * 28 * 28))
    normal = np.random.default_rng(0).standard_normal
    x, w = normal((images, 16, 28, 28), dtype=np.float32), normal((32, 16, 3, 3), dtype=np.float32)
    return x, w, normal(32, dtype=np.float32), 1, 1


def _backward_example(size):
    x, w, *_ = _example(size)
    return np.ones((len(x), 32, 28, 28), np.float32), x, w, 1, 1


# ------------------------------------------------------------------------------------------- the ladders

LADDER = Ladder(
    name="convolution",
    shape=_shape,
    example=_example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=conv2d_reference,
            lesson="The specification, in float64: for each tap, a matrix product over channels.",
            bytes=_reference_bytes,
            flops=_flops,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=conv2d_loops,
            lesson="Seven loops in Python: tens of nanoseconds for each product. The reference leaves its "
            "innermost loops to a BLAS.",
            bytes=_image_by_image,
            flops=_flops,
        ),
        Rung(
            name="numba loops",
            device="cpu",
            callable=conv2d_numba_loops,
            lesson="The same loops, compiled: over a hundred times as fast, yet slower than the reference. "
            "Three products in a row are too few for a vector register, and each addition waits for the "
            "one before.",
            bytes=_image_by_image,
            flops=_flops,
            pure_numba=True,
        ),
        Rung(
            name="im2col numpy",
            device="cpu",
            callable=conv2d_im2col_numpy,
            lesson="Copy each pixel to all the places where it is needed, and the loops become one matrix "
            "product, which a BLAS does at full speed.",
            bytes=_column_bytes(3),
            flops=_flops,
        ),
        Rung(
            name="im2col numba",
            device="cpu",
            callable=conv2d_im2col_numba,
            lesson="Copy on all cores. It gains little: half of the copy then lies in another core's cache "
            "when the BLAS comes to read it.",
            bytes=_column_bytes(1),
            flops=_flops,
        ),
        Rung(
            name="fft",
            device="cpu",
            callable=conv2d_fft,
            lesson="Among frequencies, a convolution is a multiplication, however large the kernel. Three by "
            "three is too small for that to pay; from about 11×11 on it beats im2col.",
            bytes=_fft_bytes,
            flops=_fft_flops,
        ),
        Rung(
            name="winograd",
            device="cpu",
            callable=conv2d_winograd,
            lesson="16 multiplications in place of 36, paid for with 16 values written and read for every "
            "four pixels. It pays where multiplying is the limit; here, writing and reading is.",
            bytes=_winograd_bytes,
            flops=_winograd_flops,
        ),
        Rung(
            name="numba direct",
            device="cpu",
            callable=conv2d_direct,
            lesson="Copy nothing: a tap's pixels are the image, shifted. A tile of the result stays in "
            "registers for all products, and the image in the nearest cache.",
            bytes=_once,
            flops=_flops,
            pure_numba=True,
        ),
        Rung(
            name="cuda direct",
            device="cuda",
            callable=partial(conv2d_cuda, rung="direct"),
            lesson="A thread per output: thousands of them fetch the same weights and, nine times each, the "
            "same pixels. The caches bear it.",
            bytes=accounts.direct_bytes,
            flops=accounts.direct_flops,
            kernel=conv2d_direct_kernel,
        ),
        Rung(
            name="cuda im2col",
            device="cuda",
            callable=partial(conv2d_cuda, rung="im2col"),
            lesson="A fast product at the price of columns that are nine times as large as the image, and of "
            "a result in another order. Memory is where the time goes.",
            bytes=accounts.im2col_bytes,
            flops=accounts.im2col_flops,
            kernel=conv2d_im2col_kernel,
        ),
        Rung(
            name="cuda implicit",
            device="cuda",
            callable=partial(conv2d_cuda, rung="implicit"),
            lesson="The same product, its tiles fetched straight from the image: the columns exist in shared "
            "memory only, 128 at a time.",
            bytes=accounts.implicit_bytes,
            flops=accounts.implicit_flops,
            kernel=conv2d_implicit_kernel,
        ),
    ),
)


def _all_gradients(to_input, to_weight):
    """Return a function for all three gradients, from one for each."""

    def conv2d_backward(gradient, x, w, stride=1, padding=0):
        gradient_x = to_input(gradient, w, np.shape(x), stride, padding)
        gradient_w = to_weight(gradient, x, np.shape(w), stride, padding)
        return gradient_x, gradient_w, conv2d_backward_bias(gradient)

    return conv2d_backward


BACKWARD_LADDER = Ladder(
    name="convolution backward",
    shape=_backward_shape,
    example=_backward_example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=_all_gradients(conv2d_backward_input_reference, conv2d_backward_weight_reference),
            lesson="The specification, in float64: each tap hands the gradient back to the pixels it met, "
            "and collects what its weight contributed.",
            bytes=_both_ways(_reference_bytes),
            flops=_both_ways(_flops),
        ),
        Rung(
            name="numba loops",
            device="cpu",
            callable=_all_gradients(conv2d_backward_input_numba_loops, conv2d_backward_weight_numba_loops),
            lesson="The same as compiled loops: slower than the reference, whose inner loops are a BLAS's.",
            bytes=_both_ways(_image_by_image),
            flops=_both_ways(_flops),
            pure_numba=True,
        ),
        Rung(
            name="im2col",
            device="cpu",
            callable=_all_gradients(conv2d_backward_input_im2col, conv2d_backward_weight_im2col),
            lesson="Two matrix products: one with the columns, which are made a second time, and one that "
            "makes the columns' gradient, to be added up to the image's.",
            bytes=_both_ways(_column_bytes(1)),
            flops=_both_ways(_flops),
        ),
        Rung(
            name="numba direct",
            device="cpu",
            callable=_all_gradients(conv2d_backward_input_direct, conv2d_backward_weight_direct),
            lesson="The gradient to the image is a convolution with the kernel turned round; that to the "
            "weights sums the same products over pixels. Both in tiles, without a column.",
            bytes=_both_ways(_once),
            flops=_both_ways(_flops),
            pure_numba=True,
        ),
        Rung(
            name="cuda direct",
            device="cuda",
            callable=partial(conv2d_backward_cuda, rung="direct"),
            lesson="A thread per pixel and a thread per weight: the few thousand weights keep a large GPU "
            "waiting, each thread with all pixels to walk over.",
            bytes=accounts.direct_backward_bytes,
            flops=accounts.direct_backward_flops,
            kernel=conv2d_backward_input_direct_kernel,
        ),
        Rung(
            name="cuda implicit",
            device="cuda",
            callable=partial(conv2d_backward_cuda, rung="implicit"),
            lesson="Two products without columns. That for the weights has few tiles with a long sum each, "
            "so the sum is cut into shares and added up at the end, always in the same order.",
            bytes=accounts.implicit_backward_bytes,
            flops=accounts.implicit_backward_flops,
            kernel=conv2d_backward_input_implicit_kernel,
        ),
    ),
)
