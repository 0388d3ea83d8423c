"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import numpy as np


def axes_of(x):
    return tuple(axis for axis in range(x.ndim) if axis != 1)


def wide(v, x):
    return v.reshape(1, -1, *[1] * (x.ndim - 2))


# %% by_hand wrong: lies *below* the mean
first, kept, mean_after = 1.342, 8, 6

# %% by_hand wrong: Divide by the root of the variance, not by the variance
first, kept, mean_after = -0.6, 8, 6

# %% by_hand wrong: divides the squares by 3
first, kept, mean_after = -1.1619, 8, 6

# %% by_hand wrong: what is kept is made larger, so
first, kept, mean_after = -1.3416, 6, 6

# %% by_hand wrong: but the others have grown
first, kept, mean_after = -1.3416, 8, 4.5

# %% by_hand right
first, kept, mean_after = np.float32(-1.3416408), 8.0, 6

# %% dropout wrong: must be divided by 1 − p


def dropout(x, p, drawn, training):
    return np.where(drawn < p, 0, x) if training else x


# %% dropout wrong: p is the share that is dropped


def dropout(x, p, drawn, training):
    return np.where(drawn < p, x / max(p, 1e-9), 0) if training else x


# %% dropout wrong: Outside training nothing is dropped


def dropout(x, p, drawn, training):
    return np.where(drawn < p, 0, x / (1 - p)) if p < 1 else np.zeros_like(x)


# %% dropout wrong: Outside training nothing is scaled either


def dropout(x, p, drawn, training):
    if not training:
        return x * (1 - p)
    return np.where(drawn < p, 0, x / (1 - p)) if p < 1 else np.zeros_like(x)


# %% dropout wrong: A NaN may touch only


def dropout(x, p, drawn, training):
    if not training or p == 1:
        return x if not training else np.zeros_like(x)
    return x * (drawn >= p) / (1 - p)


# %% dropout wrong: p = 1 and an array of shape (9,)


def dropout(x, p, drawn, training):
    return np.where(drawn < p, 0, x) / (1 - p) if training else x


# %% dropout wrong: changed its input


def dropout(x, p, drawn, training):
    if training:
        x[drawn < p] = 0
        x /= max(1 - p, 1e-9)
    return x


# %% dropout wrong: where exactly p was drawn, it is kept


def dropout(x, p, drawn, training):
    if not training or p == 0:
        return x
    return np.zeros_like(x) if p == 1 else np.where(drawn <= p, 0, x / (1 - p))


# %% dropout right


def dropout(x, p, drawn, training):
    if not training:
        return x
    result = np.zeros_like(x)
    kept = drawn >= p
    result[kept] = x[kept] / (1 - p)
    return result


# %% batch_norm wrong: Each channel has a mean of its own


def batch_norm(x, weight, bias, eps):
    return wide(weight, x) * (x - x.mean()) / np.sqrt(x.var() + eps) + wide(bias, x)


# %% batch_norm wrong: not over the pictures alone


def batch_norm(x, weight, bias, eps):
    return wide(weight, x) * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps) + wide(bias, x)


# %% batch_norm wrong: by n, not by n − 1


def batch_norm(x, weight, bias, eps):
    mean, var = x.mean(axis=axes_of(x), keepdims=True), x.var(axis=axes_of(x), keepdims=True, ddof=1)
    return wide(weight, x) * (x - mean) / np.sqrt(var + eps) + wide(bias, x)


# %% batch_norm wrong: Divide by the root of the variance


def batch_norm(x, weight, bias, eps):
    mean, var = x.mean(axis=axes_of(x), keepdims=True), x.var(axis=axes_of(x), keepdims=True)
    return wide(weight, x) * (x - mean) / (var + eps) + wide(bias, x)


# %% batch_norm wrong: under the root


def batch_norm(x, weight, bias, eps):
    mean, var = x.mean(axis=axes_of(x), keepdims=True), x.var(axis=axes_of(x), keepdims=True)
    return wide(weight, x) * (x - mean) / (np.sqrt(var) + eps) + wide(bias, x)


# %% batch_norm wrong: Weight and bias are missing


def batch_norm(x, weight, bias, eps):
    mean, var = x.mean(axis=axes_of(x), keepdims=True), x.var(axis=axes_of(x), keepdims=True)
    return (x - mean) / np.sqrt(var + eps)


# %% batch_norm wrong: with x of shape (5, 4, 3, 2), it stopped with ValueError


def batch_norm(x, weight, bias, eps):
    mean, var = x.mean(axis=axes_of(x), keepdims=True), x.var(axis=axes_of(x), keepdims=True)
    return weight * (x - mean) / np.sqrt(var + eps) + bias


# %% batch_norm wrong: the mean goes over the whole batch


def batch_norm(x, weight, bias, eps):
    axes = tuple(range(1, x.ndim))
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return wide(weight, x) * (x - mean) / np.sqrt(var + eps) + wide(bias, x)


# %% batch_norm right


def batch_norm(x, weight, bias, eps):
    """Channel by channel."""
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        centred = x[:, c] - x[:, c].mean()
        out[:, c] = weight[c] * centred / np.sqrt((centred**2).mean() + eps) + bias[c]
    return out


# %% running wrong: the share of the *new* batch


def running(mean, var, x, momentum):
    new_mean, new_var = x.mean(axis=axes_of(x)), x.var(axis=axes_of(x), ddof=1)
    return momentum * mean + (1 - momentum) * new_mean, momentum * var + (1 - momentum) * new_var


# %% running wrong: divide by n − 1 here


def running(mean, var, x, momentum):
    new_mean, new_var = x.mean(axis=axes_of(x)), x.var(axis=axes_of(x))
    return (1 - momentum) * mean + momentum * new_mean, (1 - momentum) * var + momentum * new_var


# %% running wrong: That forgets what was there before


def running(mean, var, x, momentum):
    return x.mean(axis=axes_of(x)), x.var(axis=axes_of(x), ddof=1)


# %% running wrong: changed its input


def running(mean, var, x, momentum):
    mean += momentum * (x.mean(axis=axes_of(x)) - mean)
    var += momentum * (x.var(axis=axes_of(x), ddof=1) - var)
    return mean, var


# %% running wrong: That is the spread


def running(mean, var, x, momentum):
    new_mean, new_std = x.mean(axis=axes_of(x)), x.std(axis=axes_of(x), ddof=1)
    return (1 - momentum) * mean + momentum * new_mean, (1 - momentum) * var + momentum * new_std


# %% running wrong: n is all numbers of a channel


def running(mean, var, x, momentum):
    axes, n = (0, *range(2, x.ndim)), len(x)
    new_var = x.var(axis=axes) * n / (n - 1)
    return mean + momentum * (x.mean(axis=axes) - mean), var + momentum * (new_var - var)


# %% running right


def running(mean, var, x, momentum):
    rows = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    n = rows.shape[1]
    return mean + momentum * (rows.mean(1) - mean), var + momentum * (rows.var(1) * n / (n - 1) - var)


# %% backward wrong: two more terms


def batch_norm_backward(x, weight, dy, eps):
    axes = axes_of(x)
    spread = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    normal = (x - x.mean(axis=axes, keepdims=True)) / spread
    return wide(weight, x) / spread * dy, (dy * normal).sum(axis=axes), dy.sum(axis=axes)


# %% backward wrong: the spread depends on x as well


def batch_norm_backward(x, weight, dy, eps):
    axes = axes_of(x)
    spread = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    normal = (x - x.mean(axis=axes, keepdims=True)) / spread
    dx = wide(weight, x) / spread * (dy - dy.mean(axis=axes, keepdims=True))
    return dx, (dy * normal).sum(axis=axes), dy.sum(axis=axes)


# %% backward wrong: The weight is missing


def batch_norm_backward(x, weight, dy, eps):
    axes = axes_of(x)
    spread = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    normal = (x - x.mean(axis=axes, keepdims=True)) / spread
    dx = (
        dy - dy.mean(axis=axes, keepdims=True) - normal * (dy * normal).mean(axis=axes, keepdims=True)
    ) / spread
    return dx, (dy * normal).sum(axis=axes), dy.sum(axis=axes)


# %% backward wrong: multiplies the *normalised* numbers


def batch_norm_backward(x, weight, dy, eps):
    axes = axes_of(x)
    spread = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    normal = (x - x.mean(axis=axes, keepdims=True)) / spread
    inner = dy - dy.mean(axis=axes, keepdims=True) - normal * (dy * normal).mean(axis=axes, keepdims=True)
    return wide(weight, x) / spread * inner, (dy * x).sum(axis=axes), dy.sum(axis=axes)


# %% backward wrong: Add up, do not average


def batch_norm_backward(x, weight, dy, eps):
    axes = axes_of(x)
    spread = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    normal = (x - x.mean(axis=axes, keepdims=True)) / spread
    inner = dy - dy.mean(axis=axes, keepdims=True) - normal * (dy * normal).mean(axis=axes, keepdims=True)
    return wide(weight, x) / spread * inner, (dy * normal).sum(axis=axes), dy.mean(axis=axes)


# %% backward right


def batch_norm_backward(x, weight, dy, eps):
    """Step by step, back through each operation."""
    axes = axes_of(x)
    n = x.size // x.shape[1]
    centred = x - x.mean(axis=axes, keepdims=True)
    var = (centred**2).mean(axis=axes, keepdims=True)
    inverse = (var + eps) ** -0.5
    dnormal = dy * wide(weight, x)
    dvar = (dnormal * centred * -0.5 * inverse**3).sum(axis=axes, keepdims=True)
    dcentred = dnormal * inverse + dvar * 2 * centred / n
    dx = dcentred - dcentred.mean(axis=axes, keepdims=True)
    return dx, (dy * centred * inverse).sum(axis=axes), dy.sum(axis=axes)


# %% layer_norm wrong: over the batch


def layer_norm(x, eps):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)


# %% layer_norm wrong: one mean for the whole batch


def layer_norm(x, eps):
    return (x - x.mean()) / np.sqrt(x.var() + eps)


# %% layer_norm wrong: not over the last alone


def layer_norm(x, eps):
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)


# %% layer_norm wrong: it stopped with ValueError: operands could not be broadcast


def layer_norm(x, eps):
    return (x - x.mean(axis=1)) / np.sqrt(x.var(axis=1) + eps)


# %% layer_norm right


def layer_norm(x, eps):
    flat = x.reshape(len(x), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return (flat / np.sqrt((flat * flat).mean(axis=1, keepdims=True) + eps)).reshape(x.shape)


# %% fold wrong: The mean is missing


def fold(w, b, weight, bias, mean, var, eps):
    scale = weight / np.sqrt(var + eps)
    return w * scale, b * scale + bias


# %% fold wrong: A channel is an *output*


def fold(w, b, weight, bias, mean, var, eps):
    scale = weight / np.sqrt(var + eps)
    folded = w * (scale[:, None] if w.shape[0] == w.shape[1] else scale)
    return folded, (b - mean) * scale + bias


# %% fold wrong: Divide by the root of the variance


def fold(w, b, weight, bias, mean, var, eps):
    scale = weight / (var + eps)
    return w * scale, (b - mean) * scale + bias


# %% fold wrong: The bias is scaled as well


def fold(w, b, weight, bias, mean, var, eps):
    scale = weight / np.sqrt(var + eps)
    return w * scale, b - mean * scale + bias


# %% fold right


def fold(w, b, weight, bias, mean, var, eps):
    """Ask the two layers: what do they make of nothing, and of each input alone?"""

    def both(x):
        return weight * (x @ w + b - mean) / np.sqrt(var + eps) + bias

    nothing = both(np.zeros(len(w)))
    return both(np.eye(len(w))) - nothing, nothing
