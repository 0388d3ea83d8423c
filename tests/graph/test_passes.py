"""Each pass leaves the values as they are and does the less work it promises; programs can be read."""

import numpy as np
import pytest

from minidl import graph
from minidl.graph import Tensor, passes, static
from minidl.graph.building import nodes_below
from minidl.graph.fusion import Fused
from minidl.ops.formula import for_one_number

RNG = np.random.default_rng(0)


def names(fetches):
    return [node.op.name for node in nodes_below(fetches)]


def run(fetches, feed, which):
    with static.Session(which) as session:
        return session.run(fetches, feed)


def test_an_unknown_pass_is_refused():
    with pytest.raises(ValueError, match="polish"):
        static.Session(["fold", "polish"])


def test_dead_code_is_found():
    with static.Graph() as g:
        x = static.placeholder((2,), name="x")
        used, unused = x * 2, (x + 1).exp()
        alive, dead = passes.dead_code(g.nodes, [used])
    assert used in alive and unused in dead and len(alive) + len(dead) == len(g.nodes)


def test_constants_are_folded_and_neutral_steps_dropped():
    with static.Graph():
        x = static.placeholder((2,))
        y = x * 1 / 1 - 0 + (static.constant([1.0, 2.0]).exp() + 1) * 2
    (folded,) = passes.fold_constants([y])
    assert names([folded]) == ["placeholder", "constant", "add"]
    np.testing.assert_allclose(
        run(y, {x: [0, 1]}, ["fold"]), [2 * (np.e + 1), 2 * (np.e**2 + 1) + 1], rtol=1e-6
    )


def test_neutral_steps_that_change_the_shape_or_the_dtype_stay():
    with static.Graph():
        x = static.placeholder((2,))
        wide = x * np.ones((3, 1), np.float32)
        double = x * np.ones(2)
    assert names(passes.fold_constants([wide]))[-1] == "multiply"
    assert run(wide, {x: [1, 2]}, ["fold"]).shape == (3, 2)
    assert run(double, {x: [1, 2]}, ["fold"]).dtype == np.float64


def test_common_subexpressions_are_computed_once_but_random_numbers_are_not():
    with static.Graph():
        x = static.placeholder((3, 4))
        y = (x * 2).exp().sum(axis=0) + (x * 2).exp().sum(axis=0) + (x * 2).exp().sum(axis=1).sum()
        generator = np.random.default_rng(0)
        drawn = graph.dropout(x, 0.5, generator) - graph.dropout(x, 0.5, generator)
    shared = names(passes.share_common([y]))
    assert shared.count("exp") == 1 and shared.count("multiply") == 1 and shared.count("sum") == 3
    assert names(passes.share_common([drawn])).count("dropout") == 2
    assert run(drawn, {x: np.ones((3, 4))}, ["share"]).any()


def test_slices_are_shared_only_if_they_are_the_same():
    with static.Graph():
        x = static.placeholder((4,))
        same = x[1:3] + x[1:3]
        different = x[1:3] + x[2:4]
        by_array = x[np.array([0, 1])] + x[np.array([2, 3])]
    assert names(passes.share_common([same])).count("slice") == 1
    assert names(passes.share_common([different])).count("slice") == 2
    assert run(by_array, {x: [1, 2, 3, 4]}, ["share"]).tolist() == [4, 6]


def test_elementwise_neighbours_are_fused_and_only_those():
    with static.Graph():
        x = static.placeholder((4, 5))
        h = (x * 2 + 1).tanh()  # used twice: it must exist
        y = ((h - x).exp() * h).sum()
    fused = [node for node in nodes_below(passes.fuse([y])) if isinstance(node.op, Fused)]
    assert [node.op.names for node in fused] == [("multiply", "add", "tanh"), ("subtract", "exp", "multiply")]
    data = RNG.normal(size=(4, 5))
    np.testing.assert_allclose(run(y, {x: data}, ["fuse"]), run(y, {x: data}, []), rtol=1e-5)


@pytest.mark.parametrize(
    "shapes",
    [((6,), (6,)), ((4, 6), (6,)), ((4, 6), (4, 1)), ((3, 4, 5), (4, 1)), ((2, 3, 4, 5), (3, 1, 1)),
     ((4, 6), ()), ((2, 3, 4), (3, 4)), ((2, 1, 4), (2, 3, 1)), ((300, 500), (500,))],
)  # fmt: skip
def test_fused_loops_broadcast(shapes):
    a, b = (RNG.normal(size=shape).astype(np.float32) for shape in shapes)
    with static.Graph():
        x, y = static.placeholder(a.shape), static.placeholder(b.shape)
        z = (x * y + x).tanh()
    expected = np.tanh(a * b + a)
    np.testing.assert_allclose(run(z, {x: a, y: b}, ["fuse"]), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(z, {x: a, y: b}, ["fuse", "plan"]), expected, rtol=1e-5, atol=1e-6)


def test_fused_formulas_treat_nan_and_kinks_as_numpy_does():
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 1e30, -90], np.float32)
    with static.Graph():
        x = static.placeholder(special.shape)
        results = [
            (graph.maximum(x, 0.5) + 1) * 2,
            graph.minimum(x, 0.5) * 2,
            x.relu() + x.sigmoid(),
            graph.leaky_relu(x, 0.2) * 1.5,
            abs(x).sqrt() + 1,
            graph.where(x > 0, x * 2, x * 3),
            (x**2 + x**3) * x**-1,
        ]
        results += [static.gradients(r.sum(), x) for r in results]
    for node in results:
        one, other = run(node, {x: special}, ["fuse"]), run(node, {x: special}, [])
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_formula_for_one_number():
    text = for_one_number("where(a > 0, g, slope * g)", {"a": "x0", "g": "t1"}, {"slope": 0.2})
    assert text == "t1 if x0 > real(0) else real(0.2) * t1"
    assert for_one_number(
        "g * exponent * a ** (exponent - 1)", {"a": "a", "g": "g"}, {"exponent": 3}
    ).endswith("a ** 2")


def test_fused_loops_can_be_read():
    op = Fused((("t0", "vx0 * vx1"), ("t1", "tanh(t0)")), ("multiply", "tanh"), 2)
    assert "for k in prange(n):" in op.source((5,), (5,))
    assert "for row in prange(n0):" in op.source((4, 5), (5,))


def test_memory_is_planned_so_that_results_share_it():
    with static.Graph():
        x = static.placeholder((100, 100))
        y = x
        for _ in range(10):
            y = static.matmul(y, x)
        total = y.sum()
    data = np.eye(100) * 0.5
    with static.Session(["plan"]) as session:
        assert session.run(total, {x: data}) == session.run(total, {x: data}) == 100 * 0.5**11
        program = session.program(total, {x: data})
    assert program.planned <= 2 * 40_000 + 64 and program.unplanned >= 400_000
    assert "out=" in program.source


def test_planned_memory_respects_views_and_what_is_kept():
    a = RNG.normal(size=(30, 40)).astype(np.float32)

    def expression(x):
        h = graph.softmax(x * 2)
        view = h.T[3:20].reshape(-1, 6)
        return ((view * 3).tanh() @ Tensor(a[:6, :5])).sum() + (h @ Tensor(a.T)).exp().mean() + h.max()

    with static.Graph():
        x = static.placeholder(a.shape)
        loss = expression(x)
        g = static.gradients(loss, x)
    t = Tensor(a, requires_grad=True)
    expression(t).backward()
    with static.Session() as session:
        for _ in range(3):
            np.testing.assert_allclose(session.run([loss, g], {x: a})[1], t.grad, rtol=1e-4, atol=1e-6)


def test_the_time_of_each_node_is_measured():
    with static.Graph():
        x = static.placeholder((200, 200), name="x")
        y = static.matmul(x, x).relu().sum()
    with static.Session() as session:
        times = session.time(y, {x: np.ones((200, 200))}, repeat=3)
        assert {node.op.name for node in times} == {"placeholder", "matmul", "relu", "sum"}
        assert all(0 <= seconds < 1 for seconds in times.values())
        assert session.run(y, {x: np.ones((200, 200))}) == 200**3


def test_a_listing_shows_the_nodes_in_order():
    with static.Graph():
        x = static.placeholder((2, 3), name="x")
        text = passes.listing([x.exp().sum()])
    assert [line.split()[0] for line in text.splitlines()] == ["x", "exp", "sum"]
