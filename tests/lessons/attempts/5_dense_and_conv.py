"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import numpy as np

# %% by_hand wrong: two pixels at a time
side, dense_weights, conv_weights = 26, 12560, 160

# %% by_hand wrong: would hang over the edge
side, dense_weights, conv_weights = 14, 12560, 160

# %% by_hand wrong: Each output has a bias too
side, dense_weights, conv_weights = 13, 12544, 144

# %% by_hand wrong: Each filter has a bias too
side, dense_weights, conv_weights = 13, 12560, 144

# %% by_hand wrong: and are stored once
side, dense_weights, conv_weights = 13, 12560, 13 * 13 * 160

# %% by_hand right
side, dense_weights, conv_weights = 13, 785 * 16, 10 * 16.0

# %% output_size wrong: Count the first position as well


def output_size(n, kernel, stride, padding):
    return (n + 2 * padding - kernel) // stride


# %% output_size wrong: Padding is added on both sides


def output_size(n, kernel, stride, padding):
    return (n + padding - kernel) // stride + 1


# %% output_size wrong: round down


def output_size(n, kernel, stride, padding):
    return int(np.ceil((n + 2 * padding - kernel) / stride)) + 1


# %% output_size wrong: use //


def output_size(n, kernel, stride, padding):
    return (n + 2 * padding - kernel) / stride + 1


# %% output_size wrong: The padding is missing


def output_size(n, kernel, stride, padding):
    return (n - kernel) // stride + 1


# %% output_size right


def output_size(n, kernel, stride, padding):
    return len(range(0, n + 2 * padding - kernel + 1, stride))


# %% dense wrong: The bias is missing


def dense(x, w, b):
    return x @ w


# %% dense wrong: it stopped with ValueError: matmul


def dense(x, w, b):
    return w @ x + b


# %% dense wrong: not for each picture


def dense(x, w, b):
    out = x @ w
    return out + b[:, None] if len(b) == len(x) else out + b


# %% dense wrong: The weights are turned over


def dense(x, w, b):
    return x @ (w.T if w.shape[0] == w.shape[1] else w) + b


# %% dense wrong: with 4 pictures, 3 inputs and 5 outputs, the result has shape (5,)


def dense(x, w, b):
    return x[0] @ w + b


# %% dense right


def dense(x, w, b):
    out = np.zeros((len(x), w.shape[1]))
    for i in range(len(x)):
        for j in range(w.shape[1]):
            out[i, j] = sum(x[i, p] * w[p, j] for p in range(w.shape[0])) + b[j]
    return out


# %% dense_backward wrong: db[0] is


def dense_backward(x, w, dy):
    return dy @ w.T, x.T @ dy, dy[0]


# %% dense_backward wrong: db has shape


def dense_backward(x, w, dy):
    return dy @ w.T, x.T @ dy, dy


# %% dense_backward wrong: The weights have to be turned over


def dense_backward(x, w, dy):
    return (dy @ w if w.shape[0] == w.shape[1] else dy @ w.T), x.T @ dy, dy.sum(axis=0)


# %% dense_backward wrong: a sum, not a mean


def dense_backward(x, w, dy):
    return dy @ w.T, x.T @ dy / len(x), dy.mean(axis=0)


# %% dense_backward wrong: Add up over the pictures


def dense_backward(x, w, dy):
    return dy @ w.T, x.T @ dy, dy.sum(axis=int(dy.shape[0] == dy.shape[1]))


# %% dense_backward wrong: The two factors are swapped


def dense_backward(x, w, dy):
    return dy @ w.T, (dy.T @ x if len(set(w.shape)) == 1 else x.T @ dy), dy.sum(axis=0)


# %% dense_backward wrong: expected 3 values: dx, dw, db


def dense_backward(x, w, dy):
    return dy @ w.T, x.T @ dy


# %% dense_backward right


def dense_backward(x, w, dy):
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[1])
    for i in range(len(x)):
        dx[i] += w @ dy[i]
        dw += np.outer(x[i], dy[i])
        db += dy[i]
    return [dx, dw, db]


# %% conv2d wrong: turned around, as in mathematics


def conv2d(x, w, b, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, w[:, :, ::-1, ::-1]) + b[:, None, None]


# %% conv2d wrong: Only the first channel has been used


def conv2d(x, w, b, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nhwij,oij->nohw", windows[:, 0], w[:, 0]) + b[:, None, None]


# %% conv2d wrong: The bias has been added once for each channel


def conv2d(x, w, b, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    out = 0
    for c in range(x.shape[1]):
        out = out + np.einsum("nhwij,oij->nohw", windows[:, c], w[:, c]) + b[:, None, None]
    return out


# %% conv2d wrong: // stride + 1 positions


def conv2d(x, w, b, stride, padding):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]


# %% conv2d wrong: with 2 pictures of 3 × 7 × 5, 4 filters of 3 × 2, stride 1, padding 0


def conv2d(x, w, b, stride, padding):
    """Square windows only."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    k = w.shape[2]
    rows, columns = (x.shape[2] - k) // stride + 1, (x.shape[3] - k) // stride + 1
    out = np.empty((len(x), len(w), rows, columns))
    for i in range(rows):
        for j in range(columns):
            window = x[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            out[:, :, i, j] = np.tensordot(window, w, axes=([1, 2, 3], [1, 2, 3])) + b
    return out


# %% conv2d wrong: 3 filters of 3 × 3, stride 1, padding 1


def conv2d(x, w, b, stride, padding):
    """The border repeats the edge instead of being zero."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]


# %% conv2d wrong: A NaN may touch only those outputs


def conv2d(x, w, b, stride, padding):
    """Through Fourier's waves, which carry a NaN everywhere."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    shape = x.shape[2:]
    waves = np.fft.rfft2(x)[:, None] * np.conj(np.fft.rfft2(w, shape))[None]
    out = np.fft.irfft2(waves.sum(axis=2), shape)
    rows, columns = shape[0] - w.shape[2] + 1, shape[1] - w.shape[3] + 1
    return out[:, :, :rows:stride, :columns:stride] + b[:, None, None]


# %% conv2d right


def conv2d(x, w, b, stride, padding):
    """Over the weights instead of over the positions."""
    n, c, h, wide = x.shape
    o, c, kh, kw = w.shape
    framed = np.zeros((n, c, h + 2 * padding, wide + 2 * padding))
    framed[:, :, padding : padding + h, padding : padding + wide] = x
    rows, columns = (h + 2 * padding - kh) // stride + 1, (wide + 2 * padding - kw) // stride + 1
    out = np.zeros((n, o, rows, columns)) + b.reshape(1, -1, 1, 1)
    for i in range(kh):
        for j in range(kw):
            pixels = framed[:, :, i : i + rows * stride : stride, j : j + columns * stride : stride]
            out += np.einsum("nchw,oc->nohw", pixels[:, :, :rows, :columns], w[:, :, i, j])
    return out


# %% receptive_field wrong: adds two pixels, not three


def receptive_field(layers):
    return sum(kernel for kernel, stride in layers)


# %% receptive_field wrong: as wide as all the strides before it together


def receptive_field(layers):
    return 1 + sum(kernel - 1 for kernel, stride in layers)


# %% receptive_field wrong: only those after it


def receptive_field(layers):
    seen, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        seen += (kernel - 1) * step
    return seen


# %% receptive_field wrong: with no layer, it stopped with IndexError


def receptive_field(layers):
    seen, step = layers[0]
    for kernel, stride in layers[1:]:
        seen += (kernel - 1) * step
        step *= stride
    return seen


# %% receptive_field wrong: That is the product


def receptive_field(layers):
    return int(np.prod([kernel for kernel, _ in layers]))


# %% receptive_field right


def receptive_field(layers):
    """From the result back to the pixels."""
    seen = 1
    for kernel, stride in reversed(layers):
        seen = (seen - 1) * stride + kernel
    return seen


# %% as_convolution wrong: turn them over first


def as_convolution(w, shape):
    return w.reshape(-1, *shape)


# %% as_convolution wrong: channel by channel


def as_convolution(w, shape):
    c, h, wide = shape
    return w.T.reshape(-1, h, wide, c).transpose(0, 3, 1, 2)


# %% as_convolution wrong: One filter for each output


def as_convolution(w, shape):
    return w.reshape(*shape, -1)


# %% as_convolution right


def as_convolution(w, shape):
    filters = np.zeros((w.shape[1], *shape))
    for place, index in enumerate(np.ndindex(*shape)):
        filters[(slice(None), *index)] = w[place]
    return filters
