"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import numpy as np

from minidl.graph import Tensor, no_grad

# %% symptoms wrong: here it explodes
first, second, third, fourth, fifth = "no gradient", "rate too high", "overfitting", "leak", "training mode"

# %% symptoms wrong: the test would look good as well
first, second, third, fourth, fifth = "rate too high", "no gradient", "leak", "overfitting", "training mode"

# %% symptoms wrong: Why did the test not show it?
first, second, third, fourth, fifth = "rate too high", "no gradient", "overfitting", "overfitting", "leak"

# %% symptoms wrong: must be one of
first, second, third, fourth, fifth = "too fast", "no gradient", "overfitting", "leak", "training mode"

# %% symptoms right
first, second, third, fourth, fifth = "Rate too high", "no gradient", "overfitting ", "leak", "training mode"

# %% descend wrong: the gradients of earlier batches are still in the sum


def descend(w, x, y, size, lr):
    w = w.copy()
    gradient = np.zeros_like(w)
    for start in range(0, len(x), size):
        xs, ys = x[start : start + size], y[start : start + size]
        gradient += 2 * xs.T @ (xs @ w - ys) / len(xs)
        w -= lr * gradient
    return w


# %% descend wrong: up instead of down


def descend(w, x, y, size, lr):
    w = w.copy()
    for start in range(0, len(x), size):
        xs, ys = x[start : start + size], y[start : start + size]
        w += lr * 2 * xs.T @ (xs @ w - ys) / len(xs)
    return w


# %% descend wrong: there is a step for each batch


def descend(w, x, y, size, lr):
    return w - lr * 2 * x.T @ (x @ w - y) / len(x)


# %% descend wrong: with 10 examples of 2 numbers in batches of 4


def descend(w, x, y, size, lr):
    w = w.copy()
    for start in range(0, len(x), size):
        xs, ys = x[start : start + size], y[start : start + size]
        w -= lr * 2 * xs.T @ (xs @ w - ys) / size
    return w


# %% descend wrong: changed its input


def descend(w, x, y, size, lr):
    for start in range(0, len(x), size):
        xs, ys = x[start : start + size], y[start : start + size]
        w -= lr * 2 * xs.T @ (xs @ w - ys) / len(xs)
    return w


# %% descend right


def descend(w, x, y, size, lr):
    if len(x) == 0:
        return w
    xs, ys = x[:size], y[:size]
    error = ys - xs @ w
    return descend(w + lr * 2 * np.mean(xs * error[:, None], axis=0), x[size:], y[size:], size, lr)


# %% loss wrong: Softmax is applied twice


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def loss(logits, labels):
    return -log_softmax(np.exp(log_softmax(logits)))[np.arange(len(labels)), labels].mean()


# %% loss wrong: with 6 × 4 scores


def loss(logits, labels):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels]).mean()


# %% loss wrong: not a sum


def loss(logits, labels):
    z = logits - logits.max(axis=1, keepdims=True)
    z = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -sum(z[i, label] for i, label in enumerate(labels))


# %% loss wrong: the scores are no logarithms yet


def loss(logits, labels):
    return -logits[np.arange(len(labels)), labels].mean()


# %% loss right


def loss(logits, labels):
    rows = np.arange(len(labels))
    return np.mean(np.logaddexp.reduce(logits, axis=1) - logits[rows, labels])


# %% prepare wrong: The test examples have gone into the mean


def prepare(training, test):
    everything = np.concatenate([training, test])
    mean, spread = everything.mean(axis=0), everything.std(axis=0)
    return (training - mean) / spread, (test - mean) / spread


# %% prepare wrong: with the *training's* mean and spread


def prepare(training, test):
    return tuple((part - part.mean(axis=0)) / (part.std(axis=0) + 1e-12) for part in (training, test))


# %% prepare wrong: The test has not been touched


def prepare(training, test):
    return (training - training.mean(axis=0)) / training.std(axis=0), test


# %% prepare wrong: Each column has its own


def prepare(training, test):
    return (training - training.mean()) / training.std(), (test - training.mean()) / training.std()


# %% prepare right


def prepare(training, test):
    scale = 1 / np.sqrt(np.var(training, 0))
    return (training - np.mean(training, 0)) * scale, (test - np.mean(training, 0)) * scale


# %% shuffled wrong: in the *same* order


def shuffled(images, labels, random):
    return random.permutation(images), random.permutation(labels)


# %% shuffled wrong: the order is the old one


def shuffled(images, labels, random):
    return images.copy(), labels.copy()


# %% shuffled wrong: changed its input


def shuffled(images, labels, random):
    random.shuffle(images)
    return images, labels


# %% shuffled wrong: and others come twice


def shuffled(images, labels, random):
    order = random.integers(0, len(images), len(images))
    return images[order], labels[order]


# %% shuffled right


def shuffled(images, labels, random):
    pairs = list(zip(images, labels, strict=True))
    random.shuffle(pairs)
    return np.array([image for image, _ in pairs]), [label for _, label in pairs]


# %% accuracy wrong: Call model.eval() before you judge


def accuracy(model, images, labels, size):
    right = 0
    for start in range(0, len(images), size):
        scores = model(Tensor(images[start : start + size])).numpy()
        right += (scores.argmax(axis=1) == labels[start : start + size]).sum()
    return right / len(images)


# %% accuracy wrong: Put it back as it was


def accuracy(model, images, labels, size):
    model.eval()
    right = 0
    for start in range(0, len(images), size):
        scores = model(Tensor(images[start : start + size])).numpy()
        right += (scores.argmax(axis=1) == labels[start : start + size]).sum()
    return right / len(images)


# %% accuracy wrong: was in evaluation mode


def accuracy(model, images, labels, size):
    model.eval()
    right = (model(Tensor(images)).numpy().argmax(axis=1) == labels).mean()
    model.train()
    return right


# %% accuracy wrong: do not count the same


def accuracy(model, images, labels, size):
    mode, shares = model.training, []
    model.eval()
    for start in range(0, len(images), size):
        scores = model(Tensor(images[start : start + size])).numpy()
        shares.append((scores.argmax(axis=1) == labels[start : start + size]).mean())
    model.train(mode)
    return np.mean(shares)


# %% accuracy wrong: from 0 to 1


def accuracy(model, images, labels, size):
    mode = model.training
    model.eval()
    right = (model(Tensor(images)).numpy().argmax(axis=1) == labels).sum()
    model.train(mode)
    return right


# %% accuracy wrong: The last batch has been left out


def accuracy(model, images, labels, size):
    mode, right, seen = model.training, 0, 0
    model.eval()
    for i in range(max(len(images) // size, 1)):
        batch = slice(i * size, (i + 1) * size)
        right += (model(Tensor(images[batch])).numpy().argmax(axis=1) == labels[batch]).sum()
        seen += len(labels[batch])
    model.train(mode)
    return right / seen


# %% accuracy right


def accuracy(model, images, labels, size):
    mode = model.training
    try:
        model.train(False)
        with no_grad():
            parts = [model(Tensor(images[i : i + size])).numpy() for i in range(0, len(images), size)]
    finally:
        model.train(mode)
    return np.count_nonzero(np.concatenate(parts).argmax(1) == labels) / len(labels)


# %% first_weights wrong: half of them should be negative


def first_weights(inputs, outputs, random):
    return random.random((inputs, outputs))


# %% first_weights wrong: far too large


def first_weights(inputs, outputs, random):
    return random.standard_normal((inputs, outputs))


# %% first_weights wrong: would stay so for ever


def first_weights(inputs, outputs, random):
    return np.zeros((inputs, outputs))


# %% first_weights wrong: its root is the spread


def first_weights(inputs, outputs, random):
    return random.standard_normal((inputs, outputs)) * 2 / inputs


# %% first_weights wrong: It is the number of *inputs*


def first_weights(inputs, outputs, random):
    return random.normal(0, np.sqrt(2 / outputs), (inputs, outputs))


# %% first_weights wrong: Uniform numbers


def first_weights(inputs, outputs, random):
    a = np.sqrt(2 / inputs)
    return random.uniform(-a, a, (inputs, outputs))


# %% first_weights right


def first_weights(inputs, outputs, random):
    a = np.sqrt(6 / inputs)
    return random.uniform(-a, a, (inputs, outputs)).astype(np.float32)
