"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811

import math

import numpy as np

from minidl.graph import Tensor, bce_with_logits
from minidl.layers import Dense, LeakyReLU, ReLU, Sequential, Sigmoid, Tanh

# %% by_hand wrong: its probability is 1 − 0.3
judge, forger, undecided = -math.log(0.8) - math.log(0.3), -math.log(0.3), 2 * math.log(2)

# %% by_hand wrong: here they are not averaged
judge, forger, undecided = 0.28991, 1.20397, 1.38629

# %% by_hand wrong: The forger wants *yes*
judge, forger, undecided = 0.57982, -math.log(0.7), 1.38629

# %% by_hand wrong: There are two pictures to judge
judge, forger, undecided = 0.57982, 1.20397, 0.69315

# %% by_hand right
judge, forger, undecided = 0.57982, np.float32(1.20397), 1.38629

# %% generator wrong: What ends there?


def generator(noise, hidden, pixels):
    return Sequential(Dense(noise, hidden), ReLU(), Dense(hidden, pixels))


# %% generator wrong: a tanh, not a sigmoid


def generator(noise, hidden, pixels):
    return Sequential(Dense(noise, hidden), ReLU(), Dense(hidden, pixels), Sigmoid())


# %% generator wrong: nothing bends


def generator(noise, hidden, pixels):
    return Sequential(Dense(noise, hidden), Dense(hidden, pixels), Tanh())


# %% generator wrong: Two dense layers, with biases


def generator(noise, hidden, pixels):
    return Sequential(Dense(noise, pixels), Tanh())


# %% generator wrong: expected (9, 36)


def generator(noise, hidden, pixels):
    return Sequential(Dense(noise, pixels), ReLU(), Dense(pixels, hidden), Tanh())


# %% generator wrong: expected a network


def generator(noise, hidden, pixels):
    return [Dense(noise, hidden), ReLU(), Dense(hidden, pixels), Tanh()]


# %% generator right


def generator(noise, hidden, pixels):
    return Sequential(first=Dense(noise, hidden), bend=Tanh(), last=Dense(hidden, pixels), end=Tanh())


# %% discriminator wrong: a *score* is wanted


def discriminator(pixels, hidden):
    return Sequential(Dense(pixels, hidden), LeakyReLU(0.2), Dense(hidden, 1), Sigmoid())


# %% discriminator wrong: no tanh at the end


def discriminator(pixels, hidden):
    return Sequential(Dense(pixels, hidden), LeakyReLU(0.2), Dense(hidden, 1), Tanh())


# %% discriminator wrong: nothing bends


def discriminator(pixels, hidden):
    return Sequential(Dense(pixels, hidden), Dense(hidden, 1))


# %% discriminator wrong: expected (30, 1)


def discriminator(pixels, hidden):
    return Sequential(Dense(pixels, hidden), LeakyReLU(0.2), Dense(hidden, 2))


# %% discriminator wrong: no ReLU at the end


def discriminator(pixels, hidden):
    return Sequential(Dense(pixels, hidden), LeakyReLU(0.2), Dense(hidden, 1), ReLU())


# %% discriminator right


def discriminator(pixels, hidden):
    return Sequential(Dense(pixels, hidden), Tanh(), Dense(hidden, 1))


# %% losses wrong: Real and drawn are swapped


def losses(real, fake):
    return np.logaddexp(0, real).mean() + np.logaddexp(0, -fake).mean(), np.logaddexp(0, -fake).mean()


# %% losses wrong: and scores up to 900


def losses(real, fake):
    one, two = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    return -np.log(one).mean() - np.log(1 - two).mean(), -np.log(two).mean()


# %% losses wrong: when it needs a slope most


def losses(real, fake):
    judge = np.logaddexp(0, -real).mean() + np.logaddexp(0, fake).mean()
    return judge, -np.logaddexp(0, fake).mean()


# %% losses wrong: do not average them


def losses(real, fake):
    judge = (np.logaddexp(0, -real).mean() + np.logaddexp(0, fake).mean()) / 2
    return judge, np.logaddexp(0, -fake).mean()


# %% losses wrong: not the sum


def losses(real, fake):
    return np.logaddexp(0, -real).sum() + np.logaddexp(0, fake).sum(), np.logaddexp(0, -fake).sum()


# %% losses wrong: when the forgery is found out


def losses(real, fake):
    return np.logaddexp(0, -real).mean() + np.logaddexp(0, fake).mean(), np.logaddexp(0, fake).mean()


# %% losses right


def losses(real, fake):
    def softplus(x):
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    return np.mean(softplus(-real)) + np.mean(softplus(fake)), np.mean(softplus(-fake))


# %% judge_step wrong: the targets are swapped


def judge_step(forger, judge, optimiser, images, z):
    real, fake = judge(Tensor(images)), judge(forger(Tensor(z)).detach())
    loss = bce_with_logits(real, np.zeros(real.shape, np.float32))
    loss = loss + bce_with_logits(fake, np.ones(fake.shape, np.float32))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


# %% judge_step wrong: Cut the drawings off with .detach()


def judge_step(forger, judge, optimiser, images, z):
    real, fake = judge(Tensor(images)), judge(forger(Tensor(z)))
    loss = bce_with_logits(real, np.ones(real.shape, np.float32))
    loss = loss + bce_with_logits(fake, np.zeros(fake.shape, np.float32))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


# %% judge_step wrong: begin with zero_grad()


def judge_step(forger, judge, optimiser, images, z):
    real, fake = judge(Tensor(images)), judge(forger(Tensor(z)).detach())
    loss = bce_with_logits(real, np.ones(real.shape, np.float32))
    loss = loss + bce_with_logits(fake, np.zeros(fake.shape, np.float32))
    loss.backward()
    optimiser.step()
    return loss.item()


# %% judge_step wrong: has seen real pictures only


def judge_step(forger, judge, optimiser, images, z):
    real = judge(Tensor(images))
    loss = bce_with_logits(real, np.ones(real.shape, np.float32))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


# %% judge_step wrong: the judge has not changed


def judge_step(forger, judge, optimiser, images, z):
    real, fake = judge(Tensor(images)), judge(forger(Tensor(z)).detach())
    loss = bce_with_logits(real, np.ones(real.shape, np.float32))
    loss = loss + bce_with_logits(fake, np.zeros(fake.shape, np.float32))
    loss.backward()
    optimiser.zero_grad()
    return loss.item()


# %% judge_step wrong: return the loss as a number


def judge_step(forger, judge, optimiser, images, z):
    real, fake = judge(Tensor(images)), judge(forger(Tensor(z)).detach())
    loss = bce_with_logits(real, np.ones(real.shape, np.float32))
    loss = loss + bce_with_logits(fake, np.zeros(fake.shape, np.float32))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


# %% judge_step right


def judge_step(forger, judge, optimiser, images, z):
    """Both kinds in one batch when they are as many, else one after the other."""
    drawings = forger(Tensor(z)).numpy()
    judge.zero_grad()
    total = 0.0
    for pictures, target in ((images, 1), (drawings, 0)):
        scores = judge(Tensor(pictures))
        loss = bce_with_logits(scores, np.full(scores.shape, target, np.float32))
        loss.backward()
        total += loss.item()
    optimiser.step()
    return total


# %% forger_step wrong: the target of its drawings is 1


def forger_step(forger, judge, optimiser, z):
    scores = judge(forger(Tensor(z)))
    loss = bce_with_logits(scores, np.zeros(scores.shape, np.float32))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


# %% forger_step wrong: hardly slopes where the forger is bad


def forger_step(forger, judge, optimiser, z):
    scores = judge(forger(Tensor(z)))
    loss = -bce_with_logits(scores, np.zeros(scores.shape, np.float32))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


# %% forger_step wrong: begin with zero_grad()


def forger_step(forger, judge, optimiser, z):
    scores = judge(forger(Tensor(z)))
    loss = bce_with_logits(scores, np.ones(scores.shape, np.float32))
    loss.backward()
    optimiser.step()
    return loss.item()


# %% forger_step wrong: In this step only the forger learns


def forger_step(forger, judge, optimiser, z):
    scores = judge(forger(Tensor(z)))
    loss = bce_with_logits(scores, np.ones(scores.shape, np.float32))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    for p in judge.parameters():
        p.data[...] -= 0.1 * p.grad
    return loss.item()


# %% forger_step wrong: the forger has not changed


def forger_step(forger, judge, optimiser, z):
    scores = judge(forger(Tensor(z)))
    loss = bce_with_logits(scores, np.ones(scores.shape, np.float32))
    optimiser.zero_grad()
    return loss.item()


# %% forger_step right


def forger_step(forger, judge, optimiser, z):
    forger.zero_grad()
    scores = judge(forger(Tensor(z)))
    loss = ((-scores).exp() + 1.0).log().mean()
    loss.backward()
    optimiser.step()
    return loss


# %% walk wrong: That is the straight line


def walk(a, b, steps):
    t = np.linspace(0, 1, steps)[:, None]
    return (1 - t) * a + t * b


# %% walk wrong: The lengths are missing


def walk(a, b, steps):
    t = np.linspace(0, 1, steps)[:, None]
    u, v = a / np.linalg.norm(a), b / np.linalg.norm(b)
    angle = max(np.arccos(np.clip(u @ v, -1, 1)), 1e-9)
    return (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)


# %% walk wrong: not the arc


def walk(a, b, steps):
    t = np.linspace(0, 1, steps)[:, None]
    line = (1 - t) * a / np.linalg.norm(a) + t * b / np.linalg.norm(b)
    lengths = (1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)
    return line / np.linalg.norm(line, axis=1, keepdims=True) * lengths


# %% walk wrong: with two equal points, result[0, 0] is inf


def walk(a, b, steps):
    t = np.linspace(0, 1, steps)[:, None]
    u, v = a / np.linalg.norm(a), b / np.linalg.norm(b)
    angle = np.arccos(min(u @ v, 1.0))
    directions = (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / (
        np.sin(angle) if angle > 1e-6 else 0.0
    )
    return directions * ((1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b))


# %% walk right


def walk(a, b, steps):
    """Turn a towards b, in the plane of both."""
    long, short = np.linalg.norm(a), np.linalg.norm(b)
    u = a / long
    side = b - (b @ u) * u
    if np.linalg.norm(side) > 1e-9:
        side = side / np.linalg.norm(side)
    angle = math.atan2(b @ side, b @ u)
    return np.array(
        [
            (math.cos(s * angle) * u + math.sin(s * angle) * side) * (long + s * (short - long))
            for s in (i / (steps - 1) for i in range(steps))
        ]
    )
