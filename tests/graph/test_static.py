"""The static graph: shapes are checked as it is built, and sessions compute it."""

import gc

import numpy as np
import pytest

from minidl import graph
from minidl.graph import Tensor, static

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def new_graph():
    with static.Graph("default") as g:
        yield g


@pytest.fixture
def session():
    with static.Session() as session:
        yield session


# ----------------------------------------------------------------------------------------------- building


def test_nodes_know_their_shapes_and_names():
    with static.Graph() as g:
        x = static.placeholder((None, 3), name="x")
        y = static.matmul(x, np.ones((3, 2), np.float32))
        z = (y + 1).relu()
    assert (y.shape, y.dtype, y.name) == ((None, 2), np.float32, "matmul")
    assert [node.name for node in g.nodes] == ["x", "constant", "matmul", "constant_1", "add", "relu"]
    assert "relu(add) float32 (None, 2)" in repr(z)


def test_the_default_graph_takes_what_is_built_outside_any_other():
    x = static.placeholder((2,))
    assert x.graph is static.default_graph() and x in static.default_graph().nodes
    with static.Graph() as g:
        assert static.default_graph() is g
        y = static.placeholder((2,))
    assert (y + 1).graph is g


def test_shapes_are_checked_when_the_graph_is_built_and_the_node_is_named():
    with static.Graph():
        x = static.placeholder((None, 3), name="x")
        w = static.variable(np.zeros((4, 2)), name="w")
        with pytest.raises(
            ValueError, match=r"node 'matmul', matmul of x \(None, 3\), w \(4, 2\): inner.* 3 and 4"
        ):
            static.matmul(x, w)
        with pytest.raises(ValueError, match=r"'add'.*x \(None, 3\)"):
            x + np.zeros(4)
        with pytest.raises(ValueError, match=r"'sum'.*axis 2"):
            static.reduce_sum(x, axis=2)
        with pytest.raises(ValueError, match="'conv2d'"):
            static.conv2d(x, w)


@pytest.mark.parametrize(
    "shape, error", [(3, TypeError), ((2.5,), TypeError), ((-1,), ValueError), ("ab", TypeError)]
)
def test_wrong_shapes_of_placeholders(shape, error):
    with pytest.raises(error, match="shape must"):
        static.placeholder(shape)


def test_wrong_dtypes():
    with pytest.raises(TypeError):
        static.placeholder((2,), dtype="no such type")
    with pytest.raises(TypeError, match="object"):
        static.placeholder((2,), dtype=object)
    with pytest.raises(TypeError, match="constant"):
        static.constant("text")


def test_nodes_of_two_graphs_do_not_mix():
    with static.Graph("first"):
        x = static.placeholder((2,), name="x")
    with static.Graph("second"):
        y = static.placeholder((2,), name="y")
        with pytest.raises(ValueError, match=r"'x' belongs to .*'first'"):
            y + x


def test_a_node_has_no_value_before_it_runs():
    x = static.placeholder((), name="x")
    for use in (bool, float, np.asarray):
        with pytest.raises(TypeError, match="'x' has no value yet"):
            use(x)
    with pytest.raises(TypeError, match=r"static\.cond"):
        if x > 0:
            pass
    with pytest.raises(ValueError, match="only a variable"):
        x.value  # noqa: B018


def test_bare_numbers_are_float32_and_take_the_dtype_beside_them():
    assert static.constant(1.5).dtype == np.float32 and static.constant(np.float64(1)).dtype == np.float64
    assert (static.placeholder((2,), "float64") * 2).dtype == np.float64


# ------------------------------------------------------------------------------------------------ running


def test_fetches_come_back_in_the_structure_they_were_asked_for(session):
    x = static.placeholder((2,))
    double, total = x * 2, static.reduce_sum(x)
    feed = {x: [1, 2]}
    np.testing.assert_array_equal(session.run(double, feed), [2, 4])
    _, b = session.run([double, total], feed)
    assert b == 3 and b.shape == () and isinstance(session.run((total,), feed), tuple)
    assert session.run({"t": total}, feed) == {"t": 3}
    np.testing.assert_array_equal(session.run(x, feed), [1, 2])


def test_feeds_are_converted_to_the_dtype_of_the_placeholder(session):
    x = static.placeholder((2,), dtype="float32")
    assert session.run(x * 1.5, {x: np.array([1.0, 2.0])}).dtype == np.float32
    assert session.run(x * 1.5, {x: Tensor([1, 2])}).dtype == np.float32
    i = static.placeholder((2,), dtype="int64")
    with pytest.raises(TypeError, match="takes int64, got float64"):
        session.run(i, {i: [0.5, 1]})
    with pytest.raises(TypeError):
        session.run(x, {x: ["a", "b"]})


def test_what_is_fed_must_fit(session):
    x = static.placeholder((None, 3), name="x")
    y = x.sum(axis=0)
    with pytest.raises(ValueError, match=r"'x' must have shape \(None, 3\), got \(2, 4\)"):
        session.run(y, {x: np.ones((2, 4))})
    with pytest.raises(ValueError, match=r"'x' must have shape \(None, 3\), got \(3,\)"):
        session.run(y, {x: np.ones(3)})
    with pytest.raises(ValueError, match=r"placeholder 'x' .* needs a value"):
        session.run(y)
    with pytest.raises(TypeError, match="key"):
        session.run(y, {"x": np.ones((2, 3))})
    with pytest.raises(TypeError, match="fetches"):
        session.run([y, None], {x: np.ones((2, 3))})
    with pytest.raises(TypeError, match="fetches"):
        session.run(3, {x: np.ones((2, 3))})
    with pytest.raises(TypeError, match="value already"):
        session.run(y, {x: x})


def test_unknown_dimensions_are_checked_when_they_are_known_and_the_node_is_named(session):
    x, y = static.placeholder((None, 3)), static.placeholder((None, 3))
    z = x + y
    assert session.run(z, {x: np.ones((2, 3)), y: np.ones((2, 3))}).shape == (2, 3)
    assert session.run(z, {x: np.ones((1, 3)), y: np.ones((5, 3))}).shape == (5, 3)
    with pytest.raises(ValueError, match=r"node 'add\w*': shapes \(2, 3\) and \(4, 3\)"):
        session.run(z, {x: np.ones((2, 3)), y: np.ones((4, 3))})


def test_errors_while_running_name_the_node(session):
    table = static.variable(np.ones((3, 2)))
    index = static.placeholder((2,), "int64")
    with pytest.raises(ValueError, match=r"node 'embedding\w*': indices must be from 0 to 2"):
        session.run(static.embedding(table, index) * 2, {index: [0, 3]})


def test_any_node_can_be_fed_in_place_of_its_value(session):
    x = static.placeholder((2,))
    h = x * 2
    assert session.run(h.sum(), {h: [5, 6]}) == 11


def test_results_do_not_change_afterwards(session):
    x = static.placeholder((3,))
    y = (x * 2).relu() + 1
    first = session.run(y, {x: [1, 2, 3]})
    session.run(y, {x: [7, 8, 9]})
    np.testing.assert_array_equal(first, [3, 5, 7])
    fed = np.ones(3, np.float32)
    session.run([x, y], {x: fed})[0][:] = 5
    np.testing.assert_array_equal(fed, 1)


def test_variables_keep_their_value_and_assignments_take_effect_at_the_end(session):
    w = static.variable([1.0, 2.0], name="w")
    step = static.assign(w, w * 10)
    np.testing.assert_array_equal(session.run([w, step, w + 0])[0], [1, 2])
    np.testing.assert_array_equal(w.value, [10, 20])
    a, b = static.variable(np.zeros(2)), static.variable(np.ones(2))
    session.run([static.assign(a, b), static.assign(b, a)])
    assert a.value.tolist() == [1, 1] and b.value.tolist() == [0, 0]
    w.value = [0, 0]
    assert session.run(w).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"shape \(2,\) cannot take"):
        static.assign(w, np.zeros(3))
    with pytest.raises(TypeError, match="only a variable"):
        static.assign(w + 1, w)


def test_a_tensor_in_a_static_graph_is_read_when_the_graph_runs(session):
    weight = Tensor(np.ones(2, np.float32))
    x = static.placeholder((2,))
    y = graph.maximum(x * weight, 0)
    assert session.run(y, {x: [1, 2]}).tolist() == [1, 2]
    weight.data *= 3
    assert session.run(y, {x: [1, 2]}).tolist() == [3, 6]


def test_training_by_assignment():
    with static.Graph():
        x, t = static.placeholder((None, 1)), static.placeholder((None, 1))
        w, b = static.variable(np.zeros((1, 1))), static.variable(np.zeros(1))
        loss = static.reduce_mean((static.matmul(x, w) + b - t) ** 2)
        steps = [
            static.assign(v, v - 0.3 * g) for v, g in zip((w, b), static.gradients(loss, [w, b]), strict=True)
        ]
    data = np.linspace(-1, 1, 20)[:, None]
    with static.Session() as session:
        for _ in range(200):
            last, *_ = session.run([loss, *steps], {x: data, t: 3 * data + 1})
    assert (
        last < 1e-6
        and w.value.item() == pytest.approx(3, abs=1e-3)
        and b.value.item() == pytest.approx(1, abs=1e-3)
    )


# ---------------------------------------------------------------------------------------------- gradients


def test_gradients_with_unknown_dimensions(session):
    x, y = static.placeholder((None, 3)), static.placeholder((None, 3))
    gx, gy = static.gradients(static.reduce_sum(x * y), [x, y])
    a, b = np.arange(3.0)[None], np.arange(12.0).reshape(4, 3)
    one, other = session.run([gx, gy], {x: a, y: b})
    np.testing.assert_array_equal(one, b.sum(axis=0, keepdims=True))
    np.testing.assert_array_equal(other, np.broadcast_to(a, (4, 3)))


def test_gradients_of_what_does_not_depend_are_none_and_of_several_are_summed(session):
    x, y = static.placeholder((2,)), static.placeholder((2,))
    assert static.gradients(x * 2, [y]) == [None]
    g = static.gradients(
        [x * 2, x * 3], x, grad_ys=[static.constant([1.0, 1.0]), static.constant([1.0, 0.0])]
    )
    assert session.run(g, {x: [0, 0]}).tolist() == [5, 2]
    i = static.placeholder((2,), "int64")
    with pytest.raises(TypeError, match="int64"):
        static.gradients(x * 2, i)
    with pytest.raises(TypeError, match="nodes"):
        static.gradients(x, ["x"])


def test_gradients_through_layers_agree_with_the_dynamic_graph(session):
    x = RNG.normal(size=(4, 2, 6, 6)).astype(np.float32)
    w = RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)
    labels = np.array([0, 1, 2, 1])

    def loss(x, w):
        h = graph.max_pool2d(graph.leaky_relu(graph.conv2d(x, w, padding=1), 0.1), 2)
        return graph.cross_entropy(graph.softmax(h.reshape(4, -1)[:, 3:9]) * 4, labels)

    node = static.placeholder(x.shape), static.placeholder(w.shape)
    found = session.run(static.gradients(loss(*node), list(node)), dict(zip(node, (x, w), strict=True)))
    tensors = Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)
    loss(*tensors).backward()
    for a, t in zip(found, tensors, strict=True):
        np.testing.assert_allclose(a, t.grad, rtol=1e-5, atol=1e-7)


def test_nan_is_reported_with_the_node_that_made_it_first(session):
    x = static.placeholder((2,), name="x")
    y = ((x - 3).log() * 2).sum()
    with (
        graph.detect_nan(),
        pytest.raises(graph.NotANumber, match=r"node 'log\w*', log of subtract.* made a NaN"),
    ):
        session.run(y, {x: [1, 5]})
    with graph.detect_nan():
        assert session.run(y, {x: [4, 4]}) == 0
        with pytest.raises(graph.NotANumber, match="value of 'x'"):
            session.run(y, {x: [np.nan, 5]})
    assert np.isnan(session.run(y, {x: [1, 5]}))


# ------------------------------------------------------------------------------------ choice and repetition


def test_cond_computes_one_branch_and_its_gradient(session):
    s, a, b = (static.placeholder((2,)) for _ in range(3))
    condition = static.placeholder((), "bool")
    d = s * a + b
    x = static.cond(condition, lambda: d, lambda: (d * d).exp())
    gradients = static.gradients(x.sum(), [s, b])
    feed = {s: [1, 2], a: [3, 4], b: [0.1, -8]}
    value = np.array([3.1, 0])
    for chosen, y, gb in [(True, value, [1, 1]), (False, np.exp(value**2), 2 * value * np.exp(value**2))]:
        found, gs, g = session.run([x, *gradients], {**feed, condition: chosen})
        np.testing.assert_allclose(found, y, rtol=1e-4)
        np.testing.assert_allclose(g, gb, rtol=1e-4)
        np.testing.assert_allclose(gs, np.array(gb) * [3, 4], rtol=1e-4)


def test_cond_checks_what_it_is_given():
    x = static.placeholder((2,))
    yes = static.reduce_sum(x) > 0
    with pytest.raises(ValueError, match="single value"):
        static.cond(x > 0, lambda: x, lambda: x)
    with pytest.raises(ValueError, match=r"result 0.*\(2,\).*\(\)"):
        static.cond(yes, lambda: x, lambda: x.sum())
    with pytest.raises(ValueError, match="2 nodes and false_fn 1"):
        static.cond(yes, lambda: [x, x], lambda: x)
    with pytest.raises(TypeError, match="true_fn must be a function"):
        static.cond(yes, x, lambda: x)


def test_while_loop_repeats_and_differentiates(session):
    x, w = static.placeholder((2, 2)), static.placeholder((2, 2))
    count = static.placeholder((), "int64")
    _, power = static.while_loop(lambda i, p: i < count, lambda i, p: (i + 1, static.matmul(p, w)), [0, x])
    gx, gw = static.gradients((power * power).sum(), [x, w])
    a, b = RNG.normal(size=(2, 2)), RNG.normal(size=(2, 2))
    for n in (0, 1, 4):
        tx, tw = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
        p = tx
        for _ in range(n):
            p = p @ tw
        (p * p).sum().backward()
        value, one, other = session.run([power, gx, gw], {x: a, w: b, count: n})
        np.testing.assert_allclose(value, p.data, rtol=1e-4)
        np.testing.assert_allclose(one, tx.grad, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(other, 0 if n == 0 else tw.grad, rtol=1e-4, atol=1e-4)


def test_loops_within_loops_and_choices_within_loops(session):
    x = static.placeholder(())

    def body(i, total):
        odd = static.cond(total > 10, lambda: total - x, lambda: total * x)
        _, more = static.while_loop(lambda j, t: j < i, lambda j, t: (j + 1, t + x), [0, odd])
        return i + 1, more

    _, total = static.while_loop(lambda i, t: i < 4, body, [0, 1.0])
    g = static.gradients(total, x)

    def python(x):
        total = Tensor(1.0)
        for i in range(4):
            total = total - x if total.item() > 10 else total * x
            for _ in range(i):
                total = total + x
        return total

    t = Tensor(3.0, requires_grad=True)
    python(t).backward()
    assert session.run([total, g], {x: 3}) == [
        pytest.approx(python(Tensor(3.0)).item()),
        pytest.approx(t.grad.item()),
    ]


def test_while_loop_checks_what_it_is_given():
    x = static.placeholder((2,))
    with pytest.raises(ValueError, match=r"loop variable 0.*\(\).*\(2,\)"):
        static.while_loop(lambda v: v < 3, lambda v: v * x, 1.0)
    with pytest.raises(ValueError, match=r"loop variable 0.*float32.*int64"):
        static.while_loop(lambda v: v < 3, lambda v: static.constant(1), 1.0)
    with pytest.raises(ValueError, match="2 nodes"):
        static.while_loop(lambda a, b: a < 3, lambda a, b: a, [1.0, 2.0])
    with pytest.raises(ValueError, match="single value"):
        static.while_loop(lambda v: v < 3, lambda v: v, x)
    assert isinstance(static.while_loop(lambda v: v < 3, lambda v: v + 1, 1.0), static.Node)
    assert isinstance(static.while_loop(lambda v: v < 3, lambda v: v + 1, [1.0]), list)


def test_a_graph_that_is_not_needed_any_more_goes():
    with static.Graph() as g:
        static.variable(np.zeros(3))
    count = len(gc.get_objects())
    del g
    gc.collect()
    assert len(gc.get_objects()) < count
