"""Every operation: its gradient is that of finite differences, its shape is foretold, its dtype is kept."""

import numpy as np
import pytest

from minidl import ops

RNG = np.random.default_rng(0)


def draw(*shape, away_from=None):
    """Numbers from -2 to 2, none near `away_from`, where a function has a kink."""
    x = RNG.uniform(-2, 2, shape)
    return x if away_from is None else np.where(np.abs(x - away_from) < 0.1, x + 0.3, x)


def positive(*shape):
    return RNG.uniform(0.5, 2, shape)


LABELS = np.array([2, 0, 1, 2])
IMAGES = draw(2, 3, 7, 6)
NEW_STATE = lambda: {  # noqa: E731 (made anew for each call, because it is written to)
    "running_mean": np.zeros(3),
    "running_var": np.ones(3),
    "batches": np.zeros((), np.int64),
}
KEPT = {
    "running_mean": np.array([0.1, -0.2, 0.3]),
    "running_var": np.array([1.0, 2, 3]),
    "batches": np.array(5),
}

# name: (operation, arrays, parameters)
CASES = {
    "add": (ops.add, (draw(3, 4), draw(4)), {}),
    "subtract": (ops.subtract, (draw(3, 1), draw(1, 4)), {}),
    "multiply": (ops.multiply, (draw(2, 3, 4), draw(3, 1)), {}),
    "divide": (ops.divide, (draw(3, 4), positive(4)), {}),
    "negative": (ops.negative, (draw(3),), {}),
    "absolute": (ops.absolute, (draw(3, 4, away_from=0),), {}),
    "exp": (ops.exp, (draw(3, 4),), {}),
    "log": (ops.log, (positive(3, 4),), {}),
    "sqrt": (ops.sqrt, (positive(3, 4),), {}),
    "square": (ops.square, (draw(3, 4),), {}),
    "power 3": (ops.power, (draw(3, 4),), {"exponent": 3}),
    "power -1.5": (ops.power, (positive(3, 4),), {"exponent": -1.5}),
    "power 0": (ops.power, (draw(3),), {"exponent": 0}),
    "power 1": (ops.power, (draw(3),), {"exponent": 1}),
    "power of": (ops.power_of, (positive(3, 4), draw(4)), {}),
    "maximum": (ops.maximum, (draw(3, 4), draw(3, 4)), {}),
    "minimum": (ops.minimum, (draw(3, 4), draw(4)), {}),
    "relu": (ops.relu, (draw(3, 4, away_from=0),), {}),
    "leaky relu": (ops.leaky_relu, (draw(3, 4, away_from=0),), {"slope": 0.2}),
    "relu6": (ops.relu6, (6 * draw(3, 4, away_from=0) + 0.01,), {}),
    "silu": (ops.silu, (4 * draw(3, 4),), {}),
    "silu, many": (ops.silu, (draw(130, 130),), {}),
    "sigmoid": (ops.sigmoid, (draw(3, 4),), {}),
    "tanh": (ops.tanh, (draw(3, 4),), {}),
    "relu, many": (ops.relu, (draw(130, 130, away_from=0),), {}),
    "leaky relu, many": (ops.leaky_relu, (draw(130, 130, away_from=0),), {"slope": 0.2}),
    "sigmoid, many": (ops.sigmoid, (draw(130, 130),), {}),
    "tanh, many": (ops.tanh, (draw(130, 130),), {}),
    "where": (ops.where, (draw(3, 4) > 0, draw(3, 4), draw(4)), {}),
    "sum": (ops.reduce_sum, (draw(3, 4),), {}),
    "sum along": (ops.reduce_sum, (draw(2, 3, 4),), {"axis": (0, -1)}),
    "mean": (ops.reduce_mean, (draw(3, 4),), {"axis": 0, "keepdims": True}),
    "max": (ops.reduce_max, (draw(3, 4),), {"axis": 1}),
    "min": (ops.reduce_min, (draw(3, 4),), {}),
    "reshape": (ops.reshape, (draw(3, 4),), {"shape": (2, -1)}),
    "transpose": (ops.transpose, (draw(2, 3, 4),), {"axes": (2, 0, 1)}),
    "transpose all": (ops.transpose, (draw(2, 3, 4),), {}),
    "broadcast": (ops.broadcast_to, (draw(3, 1),), {"shape": (2, 3, 4)}),
    "slice": (ops.getitem, (draw(5, 6),), {"index": (slice(1, None, 2), -1)}),
    "slice, new axis": (ops.getitem, (draw(5, 6),), {"index": (None, Ellipsis, slice(None, None, -1))}),
    "index twice": (ops.getitem, (draw(5, 2),), {"index": np.array([0, 3, 0])}),
    "mask": (ops.getitem, (draw(5, 2),), {"index": np.array([True, False, True, True, False])}),
    "concatenate": (ops.concatenate, (draw(2, 3), draw(2, 1), draw(2, 2)), {"axis": 1}),
    "pad": (ops.pad, (draw(3, 4),), {"widths": ((0, 2), (1, 0)), "value": 5.0}),
    "embedding": (ops.embedding, (draw(4, 3), np.array([[0, 3], [3, 1]])), {}),
    "matmul": (ops.matmul, (draw(3, 4), draw(4, 5)), {}),
    "matmul, stacks": (ops.matmul, (draw(2, 1, 3, 4), draw(5, 4, 2)), {}),
    "matmul, one for all": (ops.matmul, (draw(2, 3, 4), draw(4, 5)), {}),
    "vector, matrix": (ops.matmul, (draw(4), draw(2, 4, 3)), {}),
    "matrix, vector": (ops.matmul, (draw(2, 3, 4), draw(4)), {}),
    "vector, vector": (ops.matmul, (draw(4), draw(4)), {}),
    "dense": (ops.dense, (draw(3, 4), draw(5, 4), draw(5)), {}),
    "dense, no bias": (ops.dense, (draw(2, 3, 4), draw(5, 4)), {}),
    "conv": (ops.conv2d, (IMAGES, draw(4, 3, 3, 3), draw(4)), {}),
    "conv, stride, padding": (ops.conv2d, (IMAGES, draw(4, 3, 3, 2)), {"stride": 2, "padding": 1}),
    "conv, uneven": (
        ops.conv2d, (IMAGES, draw(2, 3, 2, 3), draw(2)), {"stride": (3, 1), "padding": (0, 2)},
    ),
    "transposed conv": (ops.conv_transpose2d, (draw(2, 3, 4, 3), draw(3, 2, 3, 3), draw(2)), {}),
    "transposed conv, stride": (
        ops.conv_transpose2d, (draw(2, 3, 4, 3), draw(3, 2, 4, 3)),
        {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)},
    ),
    "grouped conv": (ops.grouped_conv2d, (draw(2, 4, 5, 6), draw(6, 2, 3, 3), draw(6)), {"groups": 2}),
    "grouped conv, stride": (
        ops.grouped_conv2d, (draw(2, 6, 7, 6), draw(3, 2, 3, 2)),
        {"groups": 3, "stride": (2, 1), "padding": (1, 0)},
    ),
    "depthwise conv": (
        ops.grouped_conv2d, (draw(2, 3, 7, 6), draw(3, 1, 3, 3), draw(3)),
        {"groups": 3, "stride": 2, "padding": 1},
    ),
    "depthwise conv, two each": (
        ops.grouped_conv2d, (draw(2, 3, 5, 6), draw(6, 1, 5, 2)), {"groups": 3, "padding": (2, 1)},
    ),
    "max pool": (ops.max_pool2d, (IMAGES,), {"size": 2}),
    "max pool, overlapping": (ops.max_pool2d, (IMAGES,), {"size": 3, "stride": 2, "padding": 1}),
    "average pool": (ops.avg_pool2d, (IMAGES,), {"size": (3, 2), "stride": (1, 2), "padding": 1}),
    "upsample": (ops.upsample, (draw(2, 1, 3, 2),), {"scale": (2, 3)}),
    "softmax": (ops.softmax, (draw(3, 4),), {}),
    "softmax, axis 0": (ops.softmax, (draw(3, 4, 2),), {"axis": 0}),
    "log softmax": (ops.log_softmax, (draw(3, 4),), {"axis": 1}),
    "cross entropy": (ops.cross_entropy, (draw(4, 3), LABELS), {}),
    "binary cross entropy": (ops.bce_with_logits, (draw(4, 3), RNG.uniform(0, 1, (4, 3))), {}),
    "batch norm": (ops.batch_norm, (draw(5, 3, 2), positive(3), draw(3)), NEW_STATE),
    "batch norm, used": (ops.batch_norm, (draw(5, 3), positive(3), draw(3)), {**KEPT, "training": False}),
    "dropout": (ops.dropout, (draw(5, 3),), lambda: {"p": 0.4, "generator": np.random.default_rng(1)}),
}  # fmt: skip
each = pytest.mark.parametrize("name", CASES)


def case(name, dtype=np.float64):
    op, arrays, params = CASES[name]
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    fresh = params if callable(params) else lambda: dict(params)
    return op, arrays, fresh


@each
def test_the_gradient_is_that_of_finite_differences(name):
    op, arrays, params = case(name)
    y, saved = op.forward(*arrays, **params())
    g = RNG.uniform(0.5, 1.5, np.shape(y))
    needs = [a.dtype.kind == "f" for a in arrays]
    before = [a.copy() for a in arrays], g.copy()
    found = op.vjp(g, saved, needs, **params())
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before[0], strict=True)), "an input was changed"
    assert np.array_equal(g, before[1]), "the incoming gradient was changed"

    for x, gradient, needed in zip(arrays, found, needs, strict=False):
        if not needed:
            assert gradient is None
            continue
        gradient = ops.unbroadcast(np.asarray(gradient), x.shape)
        spots = RNG.choice(x.size, min(x.size, 12), replace=False)
        for spot in spots:
            index = np.unravel_index(spot, x.shape)
            there, h = x[index], 1e-6
            x[index] = there + h
            above = np.sum(op.forward(*arrays, **params())[0] * g)
            x[index] = there - h
            below = np.sum(op.forward(*arrays, **params())[0] * g)
            x[index] = there
            assert gradient[index] == pytest.approx((above - below) / (2 * h), rel=1e-4, abs=1e-6)


@each
def test_the_shape_is_foretold_and_the_dtype_kept(name):
    for dtype in (np.float32, np.float64):
        op, arrays, params = case(name, dtype)
        y, saved = op.forward(*arrays, **params())
        y = np.asarray(y)
        shapes = [a.shape for a in arrays]
        assert op.shape(*shapes, **params()) == y.shape
        assert y.dtype == dtype == op.dtype(*[a.dtype for a in arrays], **params())
        for gradient in op.vjp(np.ones_like(y), saved, [True] * len(arrays), **params()):
            assert gradient is None or np.asarray(gradient).dtype == dtype
        assert op.flops(*shapes, **params()) >= 0


@each
def test_a_result_can_be_written_where_the_caller_says(name):
    op, arrays, params = case(name)
    if not op.writes_out:
        with pytest.raises(TypeError):
            op.forward(*arrays, **params(), out=np.empty(1))
        return
    expected = np.asarray(op.forward(*arrays, **params())[0])
    out = np.full(expected.shape, np.nan)
    y, saved = op.forward(*arrays, **params(), out=out)
    assert y is out
    np.testing.assert_array_equal(out, expected)
    op.vjp(np.ones_like(out), saved, [a.dtype.kind == "f" for a in arrays], **params())


@each
def test_only_the_wanted_gradients_are_computed(name):
    op, arrays, params = case(name)
    if op in (ops.concatenate, ops.batch_norm):  # whose parts are all there at once
        return
    y, saved = op.forward(*arrays, **params())
    for i in [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]:
        needs = [k == i for k in range(len(arrays))]
        found = op.vjp(np.ones_like(y), saved, needs, **params())
        assert all(gradient is None for k, gradient in enumerate(found) if k != i)


def test_arrays_in_array_out():
    np.testing.assert_array_equal(ops.matmul([[1.0, 2]], [[3.0], [4]]), [[11.0]])
    np.testing.assert_array_equal(ops.relu(np.float32([-1, 2])), np.float32([0, 2]))


def test_unknown_dimensions_pass_through_shapes():
    assert ops.add.shape((None, 3), (1, 3)) == (None, 3)
    assert ops.add.shape((None, 3), (5, 1)) == (5, 3)
    assert ops.matmul.shape((None, 4), (4, 5)) == (None, 5)
    assert ops.dense.shape((None, 4), (5, 4), (5,)) == (None, 5)
    assert ops.conv2d.shape((None, 3, None, 8), (4, 3, 3, 3), padding=1) == (None, 4, None, 8)
    assert ops.reduce_sum.shape((None, 3), axis=1) == (None,)
    assert ops.reshape.shape((None, 4, 4), shape=(-1, 16)) == (None, 16)
    assert ops.getitem.shape((None, 6), index=(slice(None), slice(2))) == (None, 2)
    assert ops.concatenate.shape((None, 3), (2, 3), axis=0) == (None, 3)
    assert ops.max_pool2d.shape((None, 3, 8, 8), size=2) == (None, 3, 4, 4)


WRONG = {
    "add": (ops.add, ((2, 3), (4,)), {}, r"\(2, 3\) and \(4,\)"),
    "matmul": (ops.matmul, ((2, 3), (4, 5)), {}, "inner dimensions 3 and 4"),
    "matmul, scalar": (ops.matmul, ((), (4, 5)), {}, "at least one dimension"),
    "dense": (ops.dense, ((2, 3), (5, 4)), {}, r"\(2, 3\) does not end in the 4 inputs"),
    "dense, bias": (ops.dense, ((2, 4), (5, 4), (4,)), {}, r"bias must have shape \(5,\)"),
    "conv, channels": (ops.conv2d, ((2, 3, 8, 8), (4, 2, 3, 3)), {}, "3 channels"),
    "conv, too small": (ops.conv2d, ((2, 3, 2, 8), (4, 3, 3, 3)), {}, "does not fit"),
    "conv, no batch": (ops.conv2d, ((3, 8, 8), (4, 3, 3, 3)), {}, r"\(N, C, H, W\)"),
    "conv, stride": (ops.conv2d, ((2, 3, 8, 8), (4, 3, 3, 3)), {"stride": 0}, "stride must be at least 1"),
    "transposed conv": (
        ops.conv_transpose2d, ((2, 3, 4, 4), (3, 2, 3, 3)), {"output_padding": 1}, "less than stride",
    ),
    "pool, padding": (ops.max_pool2d, ((2, 3, 8, 8),), {"size": 2, "padding": 2}, "at most half"),
    "sum, axis": (ops.reduce_sum, ((2, 3),), {"axis": 2}, "axis 2 is out of range"),
    "reshape": (ops.reshape, ((2, 3),), {"shape": (4, -1)}, "6 elements"),
    "transpose": (ops.transpose, ((2, 3),), {"axes": (0, 0)}, "twice"),
    "slice": (ops.getitem, ((2, 3),), {"index": (0, 5)}, "out of bounds"),
    "concatenate": (ops.concatenate, ((2, 3), (3, 3)), {"axis": 1}, "more than axis 1"),
    "broadcast": (ops.broadcast_to, ((2, 3),), {"shape": (2, 4)}, "does not broadcast"),
    "cross entropy": (ops.cross_entropy, ((4, 3), (5,)), {}, r"\(N, K\)"),
    "batch norm": (ops.batch_norm, ((4, 3), (2,), (2,)), {}, "channels second"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_are_refused_with_the_shapes(name):
    op, shapes, params, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        op.shape(*shapes, **params)


@pytest.mark.parametrize(
    "labels, error",
    [(np.array([0, 3]), ValueError), (np.array([-1, 0]), ValueError), (np.array([0.0, 1.0]), TypeError)],
)
def test_labels_that_are_none_are_refused(labels, error):
    with pytest.raises(error, match="labels must be"):
        ops.cross_entropy(np.zeros((2, 3)), labels)


def test_indices_outside_an_embedding_are_refused():
    with pytest.raises(ValueError, match="from 0 to 3, got -1 to 2"):
        ops.embedding(np.zeros((4, 2)), np.array([-1, 2]))


def test_extreme_numbers_give_finite_losses():
    logits = np.float32([[1e4, -1e4, 0]])
    assert ops.cross_entropy(logits, np.array([1])) == pytest.approx(2e4)
    assert ops.bce_with_logits(np.float32([1e4, -1e4]), np.float32([0, 1])) == pytest.approx(1e4)
    assert np.all(ops.softmax(logits) == [[1, 0, 0]])
    assert np.all(np.isfinite(ops.log_softmax(logits)))


def test_equal_maxima_share_the_gradient():
    x = np.array([[1.0, 3, 3], [2, 2, 2]])
    _, saved = ops.reduce_max.forward(x, axis=1)
    (gradient,) = ops.reduce_max.vjp(np.array([1.0, 3.0]), saved, [True], axis=1)
    np.testing.assert_allclose(gradient, [[0, 0.5, 0.5], [1, 1, 1]])
    _, saved = ops.maximum.forward(np.array([2.0]), np.array([2.0]))
    assert ops.maximum.vjp(np.array([1.0]), saved, [True, True]) == ([0.5], [0.5])


def test_dropout_keeps_the_mean_and_its_share():
    x = np.ones((200, 200), np.float32)
    y, (mask,) = ops.dropout.forward(x, p=0.3, generator=np.random.default_rng(0))
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(ops.dropout.vjp(x, (mask,), [True], p=0.3, generator=None)[0], y)
    assert not ops.dropout(x, p=1.0, generator=np.random.default_rng(0)).any()


def test_the_python_of_an_elementwise_operation_can_be_read():
    assert "return (g * b if needs[0] else None, g * a if needs[1] else None, )" in ops.multiply.source
    assert ops.tanh.kept == ("y",) and ops.add.kept == ()
