"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import numpy as np


def places(n, size, stride, padding):
    return (n + 2 * padding - size) // stride + 1


def windows(x, size, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    seen = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return seen[:, :, ::stride, ::stride].transpose(0, 2, 3, 1, 4, 5)


def im2col(x, size, stride, padding):
    seen = windows(x, size, stride, padding)
    return seen.reshape(seen.shape[0] * seen.shape[1] * seen.shape[2], -1)


def col2im(table, shape, size, stride, padding):
    where = im2col(np.arange(1, 1 + np.prod(shape)).reshape(shape), size, stride, padding)
    sums = np.bincount(where.ravel(), table.ravel(), 1 + np.prod(shape))
    return sums[1:].reshape(shape)


# %% by_hand wrong: Two pixels at a time
places, middle_pixel, second_pixel = 16, 1, 4

# %% by_hand wrong: That is with stride 1
places, middle_pixel, second_pixel = 9, 9, 4

# %% by_hand wrong: That is one direction; in two directions, multiply
places, middle_pixel, second_pixel = 9, 1, 2

# %% by_hand right
places, middle_pixel, second_pixel = 9.0, 1, np.int64(4)

# %% places wrong: Round down


def places(n, size, stride, padding):
    return int(np.ceil((n + 2 * padding - size) / stride)) + 1


# %% places wrong: The first place is missing


def places(n, size, stride, padding):
    return (n + 2 * padding - size) // stride


# %% places wrong: The padding is on both sides


def places(n, size, stride, padding):
    return (n + padding - size) // stride + 1


# %% places right


def places(n, size, stride, padding):
    first, number = -padding, 0
    while first + size <= n + padding:
        first, number = first + stride, number + 1
    return number


# %% im2col wrong: all of channel 0 first


def im2col(x, size, stride, padding):
    seen = windows(x, size, stride, padding)
    n, oh, ow = seen.shape[:3]
    return seen.transpose(0, 1, 2, 4, 5, 3).reshape(n * oh * ow, -1)


# %% im2col wrong: has shape (27, 24), expected (24, 27)


def im2col(x, size, stride, padding):
    seen = windows(x, size, stride, padding)
    return seen.reshape(seen.shape[0] * seen.shape[1] * seen.shape[2], -1).T


# %% im2col wrong: the column changes first


def im2col(x, size, stride, padding):
    seen = windows(x, size, stride, padding)
    n, oh, ow = seen.shape[:3]
    return seen.transpose(0, 2, 1, 3, 4, 5).reshape(n * oh * ow, -1)


# %% im2col wrong: The stride is missing


def im2col(x, size, stride, padding):
    n, _, h, w = x.shape
    oh, ow = (h + 2 * padding - size) // stride + 1, (w + 2 * padding - size) // stride + 1
    return windows(x, size, 1, padding)[:, :oh, :ow].reshape(n * oh * ow, -1)


# %% im2col wrong: the function changed its input


def im2col(x, size, stride, padding):
    x *= 2
    return windows(x / 2, size, stride, padding).reshape(-1, x.shape[1] * size * size)


# %% im2col right


def im2col(x, size, stride, padding):
    """Row by row, pixel by pixel, zeros where there is none."""
    rows = []
    for picture in x:
        for top in range(-padding, x.shape[2] + padding - size + 1, stride):
            for left in range(-padding, x.shape[3] + padding - size + 1, stride):
                row = []
                for channel in picture:
                    for i in range(top, top + size):
                        for j in range(left, left + size):
                            inside = 0 <= i < channel.shape[0] and 0 <= j < channel.shape[1]
                            row.append(channel[i, j] if inside else 0)
                rows.append(row)
    return rows


# %% convolution wrong: The axes were only relabelled


def convolution(x, weights, stride, padding):
    f, _, size, _ = weights.shape
    oh, ow = places(x.shape[2], size, stride, padding), places(x.shape[3], size, stride, padding)
    return (im2col(x, size, stride, padding) @ weights.reshape(f, -1).T).reshape(len(x), f, oh, ow)


# %% convolution wrong: weight (0, 0) meets the upper left pixel


def convolution(x, weights, stride, padding):
    seen = windows(x, weights.shape[-1], stride, padding)
    return np.einsum("nijcab,fcab->nfij", seen, weights[:, :, ::-1, ::-1])


# %% convolution wrong: Wanted are (pictures, kernels, rows, columns)


def convolution(x, weights, stride, padding):
    return np.einsum("nijcab,fcab->nijf", windows(x, weights.shape[-1], stride, padding), weights)


# %% convolution wrong: Rows and columns of the kernels are exchanged


def convolution(x, weights, stride, padding):
    return np.einsum("nijcab,fcba->nfij", windows(x, weights.shape[-1], stride, padding), weights)


# %% convolution right


def convolution(x, weights, stride, padding):
    """A kernel after the other, and a pixel of the window after the other."""
    f, _, size, _ = weights.shape
    oh, ow = places(x.shape[2], size, stride, padding), places(x.shape[3], size, stride, padding)
    framed = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    out = np.zeros((len(x), f, oh, ow))
    for i, j in np.ndindex(size, size):
        seen = framed[:, :, i : i + stride * oh : stride, j : j + stride * ow : stride]
        out += np.tensordot(weights[:, :, i, j], seen, (1, 1)).transpose(1, 0, 2, 3)
    return out


# %% col2im wrong: the last one has overwritten the others


def col2im(table, shape, size, stride, padding):
    n, c, h, w = shape
    oh, ow = places(h, size, stride, padding), places(w, size, stride, padding)
    patches = table.reshape(n, oh, ow, c, size, size)
    framed = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for i, j in np.ndindex(oh, ow):
        framed[:, :, i * stride : i * stride + size, j * stride : j * stride + size] = patches[:, i, j]
    return framed[:, :, padding : padding + h, padding : padding + w]


# %% col2im wrong: That is the mean of the patches


def col2im(table, shape, size, stride, padding):
    where = im2col(np.arange(1, 1 + np.prod(shape)).reshape(shape), size, stride, padding).ravel()
    sums, times = np.bincount(where, table.ravel(), 1 + np.prod(shape)), np.bincount(where)
    times = np.pad(times, (0, sums.size - times.size))
    return (sums / np.maximum(times, 1))[1:].reshape(shape)


# %% col2im wrong: Wanted is the picture's shape, without its frame


def col2im(table, shape, size, stride, padding):
    n, c, h, w = shape
    oh, ow = places(h, size, stride, padding), places(w, size, stride, padding)
    patches = table.reshape(n, oh, ow, c, size, size)
    framed = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for i, j in np.ndindex(oh, ow):
        framed[:, :, i * stride : i * stride + size, j * stride : j * stride + size] += patches[:, i, j]
    return framed


# %% col2im wrong: has shape (2, 3, 0, 0)


def col2im(table, shape, size, stride, padding):
    n, c, h, w = shape
    oh, ow = places(h, size, stride, padding), places(w, size, stride, padding)
    patches = table.reshape(n, oh, ow, c, size, size)
    framed = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for i, j in np.ndindex(oh, ow):
        framed[:, :, i * stride : i * stride + size, j * stride : j * stride + size] += patches[:, i, j]
    return framed[:, :, padding:-padding, padding:-padding]


# %% col2im right


def col2im(table, shape, size, stride, padding):
    """Ask im2col where each number came from."""
    where = im2col(np.arange(1, 1 + np.prod(shape)).reshape(shape), size, stride, padding)
    sums = np.zeros(1 + np.prod(shape))
    np.add.at(sums, where, table)
    return sums[1:].reshape(shape)


# %% backward wrong: wanted is the sum


def backward(gradient, x, weights, stride, padding):
    f, _, size, _ = weights.shape
    g = gradient.transpose(0, 2, 3, 1).reshape(-1, f)
    by_weights = g.T @ im2col(x, size, stride, padding) / len(x)
    by_x = col2im(g @ weights.reshape(f, -1), x.shape, size, stride, padding)
    return by_x, by_weights.reshape(weights.shape)


# %% backward wrong: the gradient by x has shape


def backward(gradient, x, weights, stride, padding):
    f, _, size, _ = weights.shape
    g = gradient.transpose(0, 2, 3, 1).reshape(-1, f)
    by_weights = g.T @ im2col(x, size, stride, padding)
    by_x = col2im(g @ weights.reshape(f, -1), x.shape, size, stride, padding)
    return by_weights.reshape(weights.shape), by_x


# %% backward wrong: The gradient was only relabelled


def backward(gradient, x, weights, stride, padding):
    f, _, size, _ = weights.shape
    g = gradient.reshape(-1, f)
    by_weights = g.T @ im2col(x, size, stride, padding)
    by_x = col2im(g @ weights.reshape(f, -1), x.shape, size, stride, padding)
    return by_x, by_weights.reshape(weights.shape)


# %% backward wrong: The kernels were turned round


def backward(gradient, x, weights, stride, padding):
    f, _, size, _ = weights.shape
    g = gradient.transpose(0, 2, 3, 1).reshape(-1, f)
    by_weights = g.T @ im2col(x, size, stride, padding)
    by_x = col2im(g @ weights[:, :, ::-1, ::-1].reshape(f, -1), x.shape, size, stride, padding)
    return by_x, by_weights.reshape(weights.shape)


# %% backward wrong: expected 2 values


def backward(gradient, x, weights, stride, padding):
    f, _, size, _ = weights.shape
    g = gradient.transpose(0, 2, 3, 1).reshape(-1, f)
    return (g.T @ im2col(x, size, stride, padding)).reshape(weights.shape)


# %% backward right


def backward(gradient, x, weights, stride, padding):
    """Both by tensordot and einsum."""
    size = weights.shape[-1]
    by_weights = np.einsum("nfij,nijcab->fcab", gradient, windows(x, size, stride, padding))
    by_patch = np.tensordot(gradient, weights, (1, 0))
    return col2im(by_patch, x.shape, size, stride, padding), by_weights


# %% patches wrong: the numbers were copied


def patches(x, size, stride):
    return np.ascontiguousarray(windows(x, size, stride, 0))


# %% patches wrong: The places come before the channels


def patches(x, size, stride):
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]


# %% patches wrong: result[0, 0, 0, 0, 0, 1] is


def patches(x, size, stride):
    n, c, h, w = x.shape
    oh, ow = places(h, size, stride, 0), places(w, size, stride, 0)
    a, b, down, right = x.strides
    shape = n, oh, ow, c, size, size
    return np.lib.stride_tricks.as_strided(x, shape, (a, stride * down, stride * right, b, right, down))


# %% patches right


def patches(x, size, stride):
    n, c, h, w = x.shape
    shape = n, (h - size) // stride + 1, (w - size) // stride + 1, c, size, size
    a, b, down, right = x.strides
    return np.lib.stride_tricks.as_strided(x, shape, (a, stride * down, stride * right, b, down, right))
