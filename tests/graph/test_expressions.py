"""200 random expressions: both graphs agree with PyTorch, with each other, and with finite differences."""

import numpy as np
import pytest

from minidl.graph import check_gradients

from .expressions import Compiled, Library, Static, Torch, random_expression

SEEDS = range(200)


def agree(one, other, tolerance=1e-9):
    assert one[0] == pytest.approx(other[0], rel=tolerance)
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_dynamic_graph_against_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: finite differences judge alone")
    for seed in SEEDS:
        expression, arrays = random_expression(seed)
        agree(Library().gradients(expression, arrays), Torch(torch).gradients(expression, arrays))


@pytest.mark.parametrize("part", range(4))
def test_dynamic_graph_against_finite_differences(part):
    for seed in SEEDS[part::4]:
        expression, arrays = random_expression(seed)
        check_gradients(lambda *leaves, e=expression: e(Library(), leaves), *arrays)


def test_static_graph_and_compiled_functions_against_the_dynamic_graph():
    for seed in SEEDS:
        expression, arrays = random_expression(seed)
        expected = Library().gradients(expression, arrays)
        agree(Static().gradients(expression, arrays), expected)
        agree(Compiled().gradients(expression, arrays), expected)


def test_fused_expressions():
    for seed in SEEDS[:3]:  # each has loops of its own to compile
        expression, arrays = random_expression(seed, steps=5)
        agree(Static(("fuse",)).gradients(expression, arrays), Library().gradients(expression, arrays))
