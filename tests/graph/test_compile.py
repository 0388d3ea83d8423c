"""A compiled function gives the values and gradients of the function it was made from."""

import numpy as np
import pytest

from minidl import graph
from minidl.graph import GradientError, Tensor

RNG = np.random.default_rng(0)
W = Tensor(RNG.normal(size=(5, 3)).astype(np.float32), requires_grad=True)
X = RNG.normal(size=(4, 3)).astype(np.float32)


def loss(x, labels):
    return graph.cross_entropy(graph.dense(x, W).tanh() * 3, labels)


LABELS = np.array([0, 1, 2, 3])


def gradients(function, *inputs):
    x = Tensor(X, requires_grad=True)
    W.grad = None
    result = function(x, *inputs)
    result.backward()
    return result.item(), x.grad, W.grad


def test_a_loss_and_its_gradients():
    fast = graph.compile(loss)
    assert fast.__name__ == "loss"
    for _ in range(3):
        for a, b in zip(gradients(fast, LABELS), gradients(loss, LABELS), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert len(fast.captures) == 1


def test_parameters_are_read_anew_each_time():
    fast = graph.compile(loss)
    before = fast(X, LABELS).item()
    W.data *= 0.5
    try:
        assert fast(X, LABELS).item() == pytest.approx(loss(X, LABELS).item(), rel=1e-5) != before
    finally:
        W.data *= 2


def test_several_results_of_any_shape():
    def several(x):
        h = x @ Tensor(W.data.T)
        return h.tanh(), (h * h).sum(axis=1)

    weights = RNG.normal(size=(4, 5)).astype(np.float32)
    results = []
    for function in (several, graph.compile(several)):
        x = Tensor(X, requires_grad=True)
        a, b = function(x)
        ((a * weights).sum() + b.sum()).backward()
        results.append((a.data, b.data, x.grad))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_two_calls_in_flight_do_not_disturb_each_other():
    fast = graph.compile(lambda x: (x * x).tanh())
    a, b = (Tensor(x, requires_grad=True) for x in (X, X + 1))
    one, other = fast(a), fast(b)
    (one.sum() + other.sum()).backward()
    np.testing.assert_allclose(a.grad, 2 * X * (1 - np.tanh(X * X) ** 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(b.grad, 2 * (X + 1) * (1 - np.tanh((X + 1) ** 2) ** 2), rtol=1e-4, atol=1e-5)


def test_new_shapes_and_other_arguments_are_captured_anew():
    @graph.compile
    def scaled(x, factor, power=False):
        return (x * factor).sum() if not power else (x**factor).sum()

    assert scaled(X, 2).item() == pytest.approx(2 * X.sum(), rel=1e-4)
    assert scaled(X, 3).item() == pytest.approx(3 * X.sum(), rel=1e-4)
    assert scaled(X, 2, True).item() == pytest.approx((X**2).sum(), rel=1e-4)
    assert scaled(X[:2], 2).item() == pytest.approx(2 * X[:2].sum(), rel=1e-4)
    assert len(scaled.captures) == 4


def test_without_recording_no_gradient_is_computed():
    fast = graph.compile(loss)
    with graph.no_grad():
        assert not fast(Tensor(X, requires_grad=True), LABELS).requires_grad
    assert fast(X, LABELS).requires_grad  # because of W


def test_the_way_back_can_be_gone_once():
    result = graph.compile(loss)(X, LABELS)
    result.backward()
    with pytest.raises(GradientError, match="call it again"):
        result.backward()
    W.grad = None


def test_gradients_are_scaled_by_what_follows():
    fast = graph.compile(loss)
    expected = gradients(lambda *inputs: loss(*inputs) * 3, LABELS)
    found = gradients(lambda *inputs: fast(*inputs) * 3, LABELS)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_captured_says_so():
    @graph.compile
    def branches(x):
        return x * 2 if x.sum() > 0 else x

    with pytest.raises(TypeError, match=r"no value yet.*static\.cond"):
        branches(X)
    with pytest.raises(TypeError, match="callable"):
        graph.compile(3)
    assert branches.function(Tensor(X)).shape == (4, 3)
    with pytest.raises(ValueError, match="node 'matmul'"):
        graph.compile(lambda x: x @ x)(X)
