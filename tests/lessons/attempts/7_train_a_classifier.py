"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import math

import numpy as np

from minidl.graph import Tensor, cross_entropy

# %% by_hand wrong: minus its logarithm
clueless, steps, weight = 0.1, 23, 1.95

# %% by_hand wrong: the loss takes the natural one
clueless, steps, weight = 1.0, 23, 1.95

# %% by_hand wrong: make a batch as well
clueless, steps, weight = 2.3026, 22, 1.95

# %% by_hand wrong: against the slope
clueless, steps, weight = 2.3026, 23, 2.05

# %% by_hand right
clueless, steps, weight = math.log(10), 23.0, 1.95

# %% split wrong: lies side by side


def split(n, share, random):
    held = int(n * share)
    return list(range(held, n)), list(range(held))


# %% split wrong: is in both


def split(n, share, random):
    return random.permutation(n), random.permutation(n)[: int(n * share)]


# %% split wrong: Are the two swapped?


def split(n, share, random):
    order = random.permutation(n)
    return order[: int(n * share)], order[int(n * share) :]


# %% split wrong: two different random generators hold out the same


def split(n, share, random):
    order = np.random.default_rng(0).permutation(n)
    return order[int(n * share) :], order[: int(n * share)]


# %% split wrong: is in neither


def split(n, share, random):
    order = random.permutation(n)
    return order[int(n * share) + 1 :], order[: int(n * share)]


# %% split wrong: comes twice


def split(n, share, random):
    drawn = random.integers(0, n, int(n * share))
    return [i for i in range(n) if i not in drawn], np.append(drawn[:-1], drawn[0])


# %% split wrong: Is there a slice from -0


def split(n, share, random):
    order, held = random.permutation(n), int(n * share)
    return order[:-held], order[-held:]


# %% split right


def split(n, share, random):
    """Held out is what a list of candidates gives, in order."""
    held = set(random.choice(n, int(n * share), replace=False).tolist())
    return [i for i in range(n) if i not in held], sorted(held)


# %% split right


def split(n, share, random):
    test = random.choice(n, int(n * share), replace=False)
    return np.setdiff1d(np.arange(n), test), sorted(test)


# %% batches wrong: it must not be left out


def batches(n, size, random):
    order = random.permutation(n)
    return [order[i * size : (i + 1) * size] for i in range(n // size)]


# %% batches wrong: in their old order


def batches(n, size, random):
    return [np.arange(n)[start : start + size] for start in range(0, n, size)]


# %% batches wrong: do not draw anew for each batch


def batches(n, size, random):
    return [random.integers(0, n, size) for _ in range(0, n, size)]


# %% batches wrong: the same order as the first


def batches(n, size, random):
    order = np.random.default_rng(1).permutation(n)
    return [order[start : start + size] for start in range(0, n, size)]


# %% batches wrong: examples, expected [3, 3, 3, 1]


def batches(n, size, random):
    return np.array_split(random.permutation(n), -(-n // size))


# %% batches wrong: times in one epoch


def batches(n, size, random):
    order = random.permutation(n)
    return [order[start : start + size + 1] for start in range(0, n, size)]


# %% batches right


def batches(n, size, random):
    left = list(range(n))
    random.shuffle(left)
    while left:
        yield left[:size]
        left = left[size:]


# %% cross_entropy wrong: and scores up to 1,000


def loss_and_gradient(logits, labels):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(p[rows, labels]).mean()
    p[rows, labels] -= 1
    return loss, p / len(labels)


# %% cross_entropy wrong: loss is inf, expected


def loss_and_gradient(logits, labels):
    z = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(p[rows, labels]).mean()
    p[rows, labels] -= 1
    return loss, p / len(labels)


# %% cross_entropy wrong: divided by the number of examples too


def loss_and_gradient(logits, labels):
    rows, z = np.arange(len(labels)), logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return -log_p[rows, labels].mean(), gradient


# %% cross_entropy wrong: take 1 off


def loss_and_gradient(logits, labels):
    rows, z = np.arange(len(labels)), logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -log_p[rows, labels].mean(), np.exp(log_p) / len(labels)


# %% cross_entropy wrong: not the sum


def loss_and_gradient(logits, labels):
    rows, z = np.arange(len(labels)), logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return -log_p[rows, labels].sum(), gradient


# %% cross_entropy wrong: loss is


def loss_and_gradient(logits, labels):
    """Over the wrong axis."""
    rows, z = np.arange(len(labels)), logits - logits.max()
    log_p = z - np.log(np.exp(z).sum(axis=0, keepdims=True))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return -log_p[rows, labels].mean(), gradient / len(labels)


# %% cross_entropy wrong: its own label's


def loss_and_gradient(logits, labels):
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    gradient = (np.exp(log_p) - np.eye(z.shape[1])[labels]) / len(labels)
    return -log_p[:, labels].mean(), gradient


# %% cross_entropy right


def loss_and_gradient(logits, labels):
    """Example by example."""
    losses, gradient = [], np.zeros(logits.shape)
    for i, label in enumerate(labels):
        top = max(logits[i])
        total = sum(math.exp(z - top) for z in logits[i])
        losses.append(math.log(total) + top - logits[i][label])
        for j, z in enumerate(logits[i]):
            gradient[i, j] = (math.exp(z - top) / total - (j == label)) / len(labels)
    return sum(losses) / len(losses), gradient


# %% adam wrong: too small at first


def adam(w, g, mean, square, step, lr, betas, eps):
    mean = betas[0] * mean + (1 - betas[0]) * g
    square = betas[1] * square + (1 - betas[1]) * g**2
    return w - lr * mean / (np.sqrt(square) + eps), mean, square


# %% adam wrong: The mean of the squares has to be corrected as well


def adam(w, g, mean, square, step, lr, betas, eps):
    mean = betas[0] * mean + (1 - betas[0]) * g
    square = betas[1] * square + (1 - betas[1]) * g**2
    return w - lr * mean / (1 - betas[0] ** step) / (np.sqrt(square) + eps), mean, square


# %% adam wrong: not under it


def adam(w, g, mean, square, step, lr, betas, eps):
    mean = betas[0] * mean + (1 - betas[0]) * g
    square = betas[1] * square + (1 - betas[1]) * g**2
    root = np.sqrt(square / (1 - betas[1] ** step) + eps)
    return w - lr * mean / (1 - betas[0] ** step) / root, mean, square


# %% adam wrong: the correction is for the step only


def adam(w, g, mean, square, step, lr, betas, eps):
    mean = (betas[0] * mean + (1 - betas[0]) * g) / (1 - betas[0] ** step)
    square = (betas[1] * square + (1 - betas[1]) * g**2) / (1 - betas[1] ** step)
    return w - lr * mean / (np.sqrt(square) + eps), mean, square


# %% adam wrong: changed its input


def adam(w, g, mean, square, step, lr, betas, eps):
    mean *= betas[0]
    mean += (1 - betas[0]) * g
    square *= betas[1]
    square += (1 - betas[1]) * g**2
    w -= lr * mean / (1 - betas[0] ** step) / (np.sqrt(square / (1 - betas[1] ** step)) + eps)
    return w, mean, square


# %% adam wrong: take the step off


def adam(w, g, mean, square, step, lr, betas, eps):
    mean = betas[0] * mean + (1 - betas[0]) * g
    square = betas[1] * square + (1 - betas[1]) * g**2
    change = lr * mean / (1 - betas[0] ** step) / (np.sqrt(square / (1 - betas[1] ** step)) + eps)
    return w + change, mean, square


# %% adam wrong: Divide by the *root*


def adam(w, g, mean, square, step, lr, betas, eps):
    mean = betas[0] * mean + (1 - betas[0]) * g
    square = betas[1] * square + (1 - betas[1]) * g**2
    m, s = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)
    return w - lr * m / (s + eps), mean, square


# %% adam wrong: The learning rate is missing


def adam(w, g, mean, square, step, lr, betas, eps):
    mean = betas[0] * mean + (1 - betas[0]) * g
    square = betas[1] * square + (1 - betas[1]) * g**2
    m, s = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)
    return w - m / (np.sqrt(s) + eps), mean, square


# %% adam right


def adam(w, g, mean, square, step, lr, betas, eps):
    one, two = betas
    m = mean + (1 - one) * (g - mean)
    s = square + (1 - two) * (g * g - square)
    correction = np.sqrt(1 - two**step)
    return w - lr * correction / (1 - one**step) * m / (np.sqrt(s) + eps * correction), m, s


# %% train wrong: call zero_grad() in every step


def train(model, optimiser, images, labels, size, epochs, random):
    losses = []
    for _ in range(epochs):
        order = random.permutation(len(images))
        found = []
        for start in range(0, len(images), size):
            batch = order[start : start + size]
            loss = cross_entropy(model(Tensor(images[batch])), labels[batch])
            loss.backward()
            optimiser.step()
            found.append(loss.item())
        losses.append(np.mean(found))
    return losses


# %% train wrong: call backward() on the loss first


def train(model, optimiser, images, labels, size, epochs, random):
    losses = []
    for _ in range(epochs):
        for start in range(0, len(images), size):
            optimiser.zero_grad()
            loss = cross_entropy(model(Tensor(images[start : start + size])), labels[start : start + size])
            optimiser.step()
        losses.append(loss.item())
    return losses


# %% train wrong: Do images and labels still belong together


def train(model, optimiser, images, labels, size, epochs, random):
    losses = []
    for _ in range(epochs):
        found = []
        images, labels = random.permutation(images), random.permutation(labels)
        for start in range(0, len(images), size):
            optimiser.zero_grad()
            loss = cross_entropy(model(Tensor(images[start : start + size])), labels[start : start + size])
            loss.backward()
            optimiser.step()
            found.append(loss.item())
        losses.append(np.mean(found))
    return losses


# %% train wrong: the optimiser made 6 steps


def train(model, optimiser, images, labels, size, epochs, random):
    losses = []
    for _ in range(epochs):
        optimiser.zero_grad()
        loss = cross_entropy(model(Tensor(images)), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


# %% train wrong: expected one for each of 6 epochs


def train(model, optimiser, images, labels, size, epochs, random):
    losses = []
    for _ in range(epochs):
        order = random.permutation(len(images))
        for start in range(0, len(images), size):
            batch = order[start : start + size]
            optimiser.zero_grad()
            loss = cross_entropy(model(Tensor(images[batch])), labels[batch])
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return losses


# %% train wrong: Each should be the mean over one epoch


def train(model, optimiser, images, labels, size, epochs, random):
    losses = []
    for _ in range(epochs):
        order, total = random.permutation(len(images)), 0
        for start in range(0, len(images), size):
            batch = order[start : start + size]
            optimiser.zero_grad()
            loss = cross_entropy(model(Tensor(images[batch])), labels[batch])
            loss.backward()
            optimiser.step()
            total += loss.item()
        losses.append(total)
    return losses


# %% train wrong: mean over *all* batches


def train(model, optimiser, images, labels, size, epochs, random):
    losses = []
    for _ in range(epochs):
        order = random.permutation(len(images))
        for start in range(0, len(images), size):
            batch = order[start : start + size]
            optimiser.zero_grad()
            loss = cross_entropy(model(Tensor(images[batch])), labels[batch])
            loss.backward()
            optimiser.step()
        losses.append(loss.item())  # of the last batch alone
    return losses


# %% train right


def train(model, optimiser, images, labels, size, epochs, random):
    def one_epoch():
        order = np.arange(len(images))
        random.shuffle(order)
        for batch in np.split(order, range(size, len(order), size)):
            loss = cross_entropy(model(Tensor(images[batch])), labels[batch])
            model.zero_grad()
            loss.backward()
            optimiser.step()
            yield loss.item()

    return [sum(found) / len(found) for found in (list(one_epoch()) for _ in range(epochs))]


# %% stop wrong: There is patience for one more


def stop(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        elif epoch - best >= patience - 1:
            return best, epoch
    return best, len(losses) - 1


# %% stop wrong: Nobody sees what would have come after


def stop(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        elif epoch - best >= patience:
            return int(np.nanargmin(losses)), epoch
    return int(np.nanargmin(losses)), len(losses) - 1


# %% stop wrong: Stop when `patience` epochs have gone by


def stop(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        elif epoch - best > patience:
            return best, epoch
    return best, len(losses) - 1


# %% stop wrong: with losses 3, 2, 2, 2, 1 and a patience of 2


def stop(losses, patience):
    """Equal counts as better."""
    best = 0
    for epoch, loss in enumerate(losses):
        if loss <= losses[best]:
            best = epoch
        elif epoch - best >= patience:
            return best, epoch
    return best, len(losses) - 1


# %% stop wrong: That is the last epoch


def stop(losses, patience):
    lowest, waited = math.inf, 0
    for epoch, loss in enumerate(losses):  # noqa: B007
        waited = 0 if loss < lowest else waited + 1
        lowest = min(lowest, loss)
        if waited == patience:
            break
    return epoch, epoch


# %% stop wrong: last is None, expected a number


def stop(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        elif epoch - best >= patience:
            return best, epoch
    return best, None


# %% stop right


def stop(losses, patience):
    lowest, best, waited = math.inf, 0, 0
    for epoch, loss in enumerate(losses):
        if loss < lowest:
            lowest, best, waited = loss, epoch, 0
            continue
        waited += 1
        if waited == patience:
            break
    return best, epoch
