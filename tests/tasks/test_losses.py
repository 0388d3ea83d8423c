"""Losses: on tensors and on static graphs, the numbers of PyTorch, at scores where a naive formula breaks."""

import numpy as np
import pytest

from minidl.graph import Tensor, static
from minidl.tasks import bce_with_logits, cross_entropy, mse

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(0, 3, (7, 4)), RNG.integers(0, 4, 7)
TARGETS = RNG.uniform(0, 1, (7, 4))
CASES = {
    "cross entropy": (cross_entropy, LOGITS, LABELS, "cross_entropy"),
    "cross entropy, extreme": (cross_entropy, LOGITS * 1e4, LABELS, "cross_entropy"),
    "bce": (bce_with_logits, LOGITS, TARGETS, "binary_cross_entropy_with_logits"),
    "bce, extreme": (bce_with_logits, LOGITS * 1e4, TARGETS, "binary_cross_entropy_with_logits"),
    "mse": (mse, LOGITS, TARGETS, "mse_loss"),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    loss, x, y, theirs = CASES[name]
    ours, other = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    value = loss(ours, y)
    value.backward()
    expected = getattr(torch.nn.functional, theirs)(other, torch.tensor(y))
    expected.backward()
    assert value.shape == () and value.item() == pytest.approx(expected.item(), rel=1e-10)
    np.testing.assert_allclose(ours.grad, other.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_values_by_their_definitions():
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert cross_entropy(LOGITS, LABELS).item() == pytest.approx(-np.log(p[range(7), LABELS]).mean())
    q = 1 / (1 + np.exp(-LOGITS))
    expected = -(TARGETS * np.log(q) + (1 - TARGETS) * np.log(1 - q)).mean()
    assert bce_with_logits(LOGITS, TARGETS).item() == pytest.approx(expected)
    assert mse(LOGITS, TARGETS).item() == pytest.approx(((LOGITS - TARGETS) ** 2).mean())
    assert cross_entropy(np.zeros((5, 10)), np.arange(5)).item() == pytest.approx(np.log(10))


@pytest.mark.parametrize("name", CASES)
def test_on_a_static_graph_too(name):
    loss, x, y, _ = CASES[name]
    with static.Graph():
        a, b = static.placeholder((None, 4), "float64"), static.placeholder((None, *y.shape[1:]), y.dtype)
        node = loss(a, b)
        (slope,) = static.gradients(node, [a])
        with static.Session() as session:
            value, gradient = session.run([node, slope], {a: x, b: y})
    tensor = Tensor(x, requires_grad=True)
    expected = loss(tensor, y)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-10, atol=1e-14)


def test_float32_stays_and_extremes_stay_finite():
    logits = np.array([[1e30, -1e30], [-1e30, 1e30]], np.float32)
    for loss, target in ((cross_entropy, np.array([0, 1])), (bce_with_logits, np.eye(2, dtype=np.float32))):
        x = Tensor(logits, requires_grad=True)
        value = loss(x, target)
        value.backward()
        assert value.dtype == x.grad.dtype == np.float32
        assert value.item() == 0 and np.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("loss", "x", "y", "error", "says"),
    [
        (cross_entropy, np.ones((2, 3)), [0, 3], ValueError, "labels must be from 0 to 2, got 0 to 3"),
        (cross_entropy, np.ones((2, 3)), [0, -1], ValueError, "labels must be from 0 to 2"),
        (cross_entropy, np.ones((2, 3)), [0.0, 1.0], TypeError, "labels must be integers"),
        (cross_entropy, np.ones((2, 3)), [0, 1, 1], ValueError, r"got \(2, 3\) and \(3,\)"),
        (cross_entropy, np.ones((0, 3)), np.ones(0, int), ValueError, "empty batch"),
        (bce_with_logits, np.ones(2), [0, 2], ValueError, "targets must be from 0 to 1, got 0 to 2"),
        (bce_with_logits, np.ones(2), [0.5, np.nan], ValueError, "targets must be from 0 to 1"),
        (bce_with_logits, np.ones((2, 1)), [0, 1], ValueError, "one shape"),
        (mse, np.ones((3, 1)), np.ones(3), ValueError, "must have one shape"),
    ],
)
def test_what_does_not_fit_is_said(loss, x, y, error, says):
    with pytest.raises(error, match=says):
        loss(Tensor(x), y)
