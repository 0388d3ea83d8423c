"""The two-layer ReLU net of the lecture, 50 steps, in three styles: the losses are equal."""

import numpy as np
import pytest

from minidl import layers
from minidl.graph import Tensor, static

N, D, H, STEPS, RATE = 64, 1000, 100, 50, 1e-5


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape) for name, shape in
            {"x": (N, D), "y": (N, D), "w1": (D, H), "w2": (H, D)}.items()}  # fmt: skip


def first_define_then_run(data):
    """As it stands in the slides, but for the name of the library."""
    with static.Graph():
        x = static.placeholder((N, D))
        y = static.placeholder((N, D))
        w1 = static.placeholder((D, H))
        w2 = static.placeholder((H, D))

        h = static.maximum(static.matmul(x, w1), 0)
        y_pred = static.matmul(h, w2)
        diff = y_pred - y
        loss = static.reduce_mean(static.reduce_sum(diff**2, axis=1))
        grad_w1, grad_w2 = static.gradients(loss, [w1, w2])

    losses = []
    with static.Session() as session:
        values = {x: data["x"], y: data["y"], w1: data["w1"].copy(), w2: data["w2"].copy()}
        for _ in range(STEPS):
            loss_val, grad_w1_val, grad_w2_val = session.run([loss, grad_w1, grad_w2], feed_dict=values)
            values[w1] -= RATE * grad_w1_val
            values[w2] -= RATE * grad_w2_val
            losses.append(loss_val)
    return losses


def define_by_run(data):
    x, y = (Tensor(data[name].astype(np.float32)) for name in "xy")
    w1, w2 = (Tensor(data[name].astype(np.float32), requires_grad=True) for name in ("w1", "w2"))
    losses = []
    for _ in range(STEPS):
        h = (x @ w1).relu()
        loss = ((h @ w2 - y) ** 2).sum(axis=1).mean()
        loss.backward()
        losses.append(loss.item())
        for w in (w1, w2):
            w.data -= RATE * w.grad
            w.grad = None
    return losses


def in_layers(data):
    model = layers.Sequential(layers.Dense(D, H, bias=False), layers.ReLU(), layers.Dense(H, D, bias=False))
    model.load_state_dict({"0.weight": data["w1"].T, "2.weight": data["w2"].T})
    losses = []
    for _ in range(STEPS):
        loss = ((model(data["x"].astype(np.float32)) - data["y"]) ** 2).sum(axis=1).mean()
        model.zero_grad()
        loss.backward()
        losses.append(loss.item())
        for p in model.parameters():
            p.data -= RATE * p.grad
    return losses


def test_three_styles_one_result(data):
    expected = define_by_run(data)
    assert expected[-1] < expected[0] / 1000
    np.testing.assert_allclose(first_define_then_run(data), expected, rtol=2e-4)
    np.testing.assert_allclose(in_layers(data), expected, rtol=2e-4)
