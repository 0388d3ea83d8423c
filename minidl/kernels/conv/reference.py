"""What convolution and its three gradients are: the specification in NumPy, and the loops behind it.

Forward, for every image n, filter o and output pixel (i, j), and with zeros where x is padded:

    y[n, o, i, j] = bias[o] + Σ w[o, c, kh, kw] · x[n, c, i·stride + kh - padding, j·stride + kw - padding]

(Mathematicians call this cross-correlation, and turn the kernel round for a convolution.) y is linear in x,
in w and in bias. So each gradient is a sum over the same products, with the two other factors in them.
"""

from __future__ import annotations

import numpy as np

from minidl.kernels.conv.geometry import (
    check_backward_input,
    check_backward_weight,
    check_floats,
    check_forward,
    check_on_cpu,
    check_out,
)


def conv2d_reference(x, w, bias=None, stride=1, padding=0, out=None):
    """Return the convolution of images with filters, summed in float64.

    Every forward rung takes these arguments and raises these errors, before it writes anything.

    Parameters
    ----------
    x : array_like of shape (N, C, H, W), float32 or float64
    w : array_like of shape (O, C, KH, KW) and x's dtype
    bias : array_like of shape (O,) and x's dtype, optional
        Added to every pixel of the output.
    stride : int or pair of int
        Step of the kernel from one output to the next; a pair is (vertical, horizontal).
    padding : int or pair of int
        Rows and columns of zeros added on each side of x.
    out : array of shape (N, O, OH, OW) and x's dtype, optional
        Receives the result. It must not share memory with an input.

    Returns
    -------
    array of shape (N, O, OH, OW) and x's dtype
        With OH = (H + 2·padding - KH) // stride + 1, and OW likewise. `out` if it was given.

    Raises
    ------
    TypeError
        If an array holds anything but float32 or float64, if dtypes differ, or if stride or padding is no
        integer.
    ValueError
        If an array is empty or has another number of dimensions, if shapes do not fit together, if the kernel
        is larger than the padded input, if stride < 1 or padding < 0, or if `out` has another shape, is
        read-only, or shares memory with an input.
    """
    x, w, bias, geometry, out = checked_forward(x, w, bias, stride, padding, out)
    with np.errstate(all="ignore"):  # inf - inf is NaN, and that is the right answer
        w = w.astype(np.float64)
        for image, y in zip(x, out, strict=True):
            met = taps(padded(image[None].astype(np.float64), geometry), geometry)
            total = sum(np.tensordot(w[:, :, kh, kw], pixels[0], 1) for kh, kw, pixels in met)
            y[...] = total if bias is None else total + bias[:, None, None]
    return out


def conv2d_backward_input_reference(gradient, w, shape, stride=1, padding=0, out=None):
    """Return the gradient to x, given the gradient to the output.

    Each output pixel hands its gradient back to the pixels that it was computed from, weighted as they were.

    Parameters
    ----------
    gradient : array_like of shape (N, O, OH, OW), float32 or float64
    w : array_like of shape (O, C, KH, KW) and the same dtype
    shape : tuple of int
        Shape (N, C, H, W) of x. (With a stride, several sizes of x have the same size of output.)
    stride, padding : int or pair of int
        As in the forward direction.
    out : array of shape `shape` and the same dtype, optional

    Returns
    -------
    array of shape (N, C, H, W) and the same dtype

    Raises
    ------
    TypeError, ValueError
        As `conv2d_reference`, and ValueError if the gradient has not the output's shape.
    """
    gradient, w, geometry, out = checked_backward_input(gradient, w, shape, stride, padding, out)
    with np.errstate(all="ignore"):
        w = w.astype(np.float64)
        for g, x in zip(gradient.astype(np.float64), out, strict=True):
            total = padded(np.zeros((1, *x.shape)), geometry)
            for kh, kw, pixels in taps(total, geometry):
                pixels[0] += np.tensordot(w[:, :, kh, kw], g, (0, 0))
            x[...] = without_padding(total, geometry)[0]
    return out


def conv2d_backward_weight_reference(gradient, x, shape, stride=1, padding=0, out=None):
    """Return the gradient to w, given the gradient to the output.

    Parameters
    ----------
    gradient : array_like of shape (N, O, OH, OW), float32 or float64
    x : array_like of shape (N, C, H, W) and the same dtype
    shape : tuple of int
        Shape (O, C, KH, KW) of w.
    stride, padding : int or pair of int
        As in the forward direction.
    out : array of shape `shape` and the same dtype, optional
        Receives the result. Where a gradient of NaN or infinity meets nothing but padding, it is not said
        whether that is NaN: a BLAS may skip a zero.

    Returns
    -------
    array of shape (O, C, KH, KW) and the same dtype

    Raises
    ------
    TypeError, ValueError
        As `conv2d_reference`, and ValueError if the gradient has not the output's shape.
    """
    gradient, x, geometry, out = checked_backward_weight(gradient, x, shape, stride, padding, out)
    total = np.zeros(out.shape)
    with np.errstate(all="ignore"):
        for g, image in zip(gradient.astype(np.float64), x, strict=True):
            for kh, kw, pixels in taps(padded(image[None].astype(np.float64), geometry), geometry):
                total[:, :, kh, kw] += np.tensordot(g, pixels[0], ((1, 2), (1, 2)))
        out[...] = total
    return out


def conv2d_backward_bias(gradient, out=None):
    """Return the gradient to bias: the sum of the output's gradient over images and pixels.

    Parameters
    ----------
    gradient : array_like of shape (N, O, OH, OW), float32 or float64
    out : array of shape (O,) and the same dtype, optional

    Raises
    ------
    TypeError, ValueError
        As `conv2d_reference`.
    """
    check_on_cpu("conv2d_backward_bias_cuda", gradient=gradient, out=out)
    gradient = check_floats("gradient", gradient, ndim=4)
    out = check_out("out", out, gradient.shape[1:2], gradient.dtype, gradient=gradient)
    with np.errstate(all="ignore"):
        return gradient.sum(axis=(2, 3)).sum(axis=0, out=out)  # rows first: short sums lose less


# ---------------------------------------------------------------------------------------- loops in Python


def conv2d_loops(x, w, bias=None, stride=1, padding=0, out=None):
    """Rung 2: the seven loops of the definition, in Python."""
    x, w, bias, geometry, out = checked_forward(x, w, bias, stride, padding, out)
    images, filters = padded(x, geometry).tolist(), w.tolist()
    (down, across), (height, width) = geometry.stride, geometry.out
    for n, image in enumerate(images):
        for o, channels in enumerate(filters):
            for i in range(height):
                for j in range(width):
                    total = 0.0 if bias is None else float(bias[o])
                    for c, kernel in enumerate(channels):
                        for kh, row in enumerate(kernel):
                            for kw, weight in enumerate(row):
                                total += weight * image[c][i * down + kh][j * across + kw]
                    with np.errstate(over="ignore"):
                        out[n, o, i, j] = total
    return out


# ------------------------------------------------------------------------------------ shared by all rungs


def padded(x, geometry):
    """Return x with its padding: (N, C, H + 2·padding, W + 2·padding)."""
    (down, across) = geometry.padding
    return np.pad(x, ((0, 0), (0, 0), (down, down), (across, across)))


def without_padding(x, geometry):
    """Return the view of a padded x that has x's own shape."""
    (down, across) = geometry.padding
    return x[:, :, down : down + geometry.height, across : across + geometry.width]


def taps(x, geometry):
    """Yield each tap (kh, kw) with the pixels of the padded x that it meets: a view (N, C, OH, OW)."""
    (down, across), (height, width) = geometry.stride, geometry.out
    for kh in range(geometry.kernel[0]):
        for kw in range(geometry.kernel[1]):
            rows = slice(kh, kh + (height - 1) * down + 1, down)
            columns = slice(kw, kw + (width - 1) * across + 1, across)
            yield kh, kw, x[:, :, rows, columns]


def checked_forward(x, w, bias, stride, padding, out):
    """Check the arguments of a forward rung on the CPU, and allocate `out` if there is none."""
    check_on_cpu("conv2d_cuda", x=x, w=w, bias=bias, out=out)
    x, w, bias, geometry, out = check_forward(x, w, bias, stride, padding, out)
    return x, w, bias, geometry, np.empty(geometry.y_shape, x.dtype) if out is None else out


def checked_backward_input(gradient, w, shape, stride, padding, out):
    """Check the arguments of a CPU rung for the input's gradient, and allocate `out` if there is none."""
    check_on_cpu("conv2d_backward_input_cuda", gradient=gradient, w=w, out=out)
    gradient, w, geometry, out = check_backward_input(gradient, w, shape, stride, padding, out)
    return gradient, w, geometry, np.empty(geometry.x_shape, w.dtype) if out is None else out


def checked_backward_weight(gradient, x, shape, stride, padding, out):
    """Check the arguments of a CPU rung for the weights' gradient, and allocate `out` if there is none."""
    check_on_cpu("conv2d_backward_weight_cuda", gradient=gradient, x=x, out=out)
    gradient, x, geometry, out = check_backward_weight(gradient, x, shape, stride, padding, out)
    return gradient, x, geometry, np.empty(geometry.w_shape, x.dtype) if out is None else out
