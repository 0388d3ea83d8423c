"""The tasks of the lesson `4_static_graph`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

from collections import Counter

import numpy as np

from lessons.checks import Lesson, check_function, check_is_function, check_value, running
from lessons.comparison import Case, Slip, compare, failure
from minidl import graph
from minidl.graph import static
from minidl.graph.building import CONSTANT, PLACEHOLDER, VARIABLE
from minidl.graph.passes import keep, nodes_below, rewrite

lesson = Lesson("4_static_graph")


@lesson.task("Task 1, by hand", points=1)
def by_hand(needed, folded, shared):
    """Check the number of nodes before and after each pass over the graph in the notebook."""
    check_value(
        "needed",
        needed,
        7,
        {
            8: "That is all of them; `c` is computed for nobody.",
            6: "Constants and the placeholder are nodes too.",
            4: "Constants and the placeholder are nodes too.",
        },
    )
    check_value(
        "folded",
        folded,
        5,
        {
            6: "When the product is known, the constants themselves are needed by nobody.",
            4: "The folded product is still a node, a constant.",
        },
    )
    check_value(
        "shared",
        shared,
        4,
        {
            3: "The sum still adds two things, even if both are the same node.",
            5: "`a` and `b` are the same operation on the same inputs.",
        },
    )


# ---- What is needed


def _two_layers():
    """Make a small network, and a node that nobody needs."""
    with static.Graph() as g:
        x = static.placeholder((None, 3), name="x")
        w = static.variable(np.arange(6).reshape(3, 2) / 4 - 0.5, dtype="float32", name="w")
        hidden = static.tanh(static.matmul(x, w))
        unused = static.exp(hidden)
        out = static.reduce_sum(hidden * hidden, axis=1)
    return g, [out], {"unused": unused}


def _two_fetches():
    with static.Graph() as g:
        x = static.placeholder((4,), name="x")
        early = x * 2.0
        late = static.exp(early) + x
        static.log(x)
    return g, [late, early], {}


def _doublings():
    with static.Graph() as g:
        y = static.placeholder((), name="x")
        for _ in range(60):
            y = y + y
    return g, [y], {}


def _nothing_to_do():
    with static.Graph() as g:
        x = static.placeholder((2,), name="x")
        static.relu(x)
    return g, [x], {}


@lesson.task("Task 2, what is needed", points=1)
def needed(function):
    """Check a function of a list of nodes that returns all nodes they need, inputs first."""
    check_is_function(function)
    for words, build in {
        "two layers, one fetch": _two_layers,
        "two fetches, one below the other": _two_fetches,
        "sixty sums of a node with itself": _doublings,
        "a placeholder that is fetched itself": _nothing_to_do,
    }.items():
        _, fetches, _ = build()
        case = Case(words, ())
        with running(function, case):
            got = function(list(fetches))
        if got is None:
            raise failure(case, "the function returned nothing: is there a `return` at its end?")
        if not isinstance(got, (list, tuple)) or not all(isinstance(node, static.Node) for node in got):
            raise failure(case, f"expected a list of nodes, got {type(got).__name__} {got!r:.60}.")
        names, right = [node.name for node in got], [node.name for node in nodes_below(fetches)]
        listed = f"Yours: {', '.join(names[:10])}{' …' if len(names) > 10 else ''}."
        twice = next((name for name, times in Counter(names).items() if times > 1), None)
        if twice:
            raise failure(case, f"{twice} comes {Counter(names)[twice]} times, once is enough. {listed}")
        if set(right) - set(names):
            missing = next(name for name in right if name not in names)
            raise failure(case, f"{missing} is missing, and it is needed. {listed}")
        if set(names) - set(right):
            extra = next(name for name in names if name not in right)
            raise failure(case, f"{extra} is listed, but no fetch needs it. {listed}")
        for node in got:
            for parent in node.inputs:
                if names.index(parent.name) > names.index(node.name):
                    raise failure(case, f"{parent.name} comes after {node.name}, which needs it. {listed}")


# ---- Passes: the same values, less work


def _feeds(fetches):
    """Return values for the placeholders below `fetches`, holes among them."""
    random, feeds = np.random.default_rng(8), {}
    for node in nodes_below(fetches):
        if node.op is PLACEHOLDER:
            value = random.integers(1, 9, [5 if n is None else n for n in node.shape]) / 4
            if value.size > 3:
                value.flat[1], value.flat[2] = np.nan, np.inf
            feeds[node] = value.astype(np.float32)
    return feeds


def _after(rule, fetches, case):
    """Rewrite by a student's rule; return the new fetches when they are nodes that give the same values."""

    def checked(node, inputs, graph):
        try:
            new = rule(node, inputs, graph)
        except NotImplementedError as error:
            if "no forward pass" not in str(error):
                raise
            raise failure(
                case,
                f"{node.name} cannot be computed now. It has no inputs, and of no inputs everything is true.",
            ) from None
        if not isinstance(new, static.Node):
            raise failure(case, f"for {node.name} the rule returned {new!r:.60}; a rule returns a node.")
        return new

    with running(rule, case):
        new = rewrite(fetches, checked)
    for old, node in zip(fetches, new, strict=True):
        if node.shape != old.shape or node.dtype != old.dtype:
            what = f"{node.dtype} of shape {node.shape}, expected {old.dtype} of shape {old.shape}"
            raise failure(case, f"{old.name} became {what}.")
    _compare_values(rule, fetches, new, case)
    variables = [node for node in nodes_below(fetches) if node.op is VARIABLE]
    for node in variables:
        node.value = node.value + 1
    if variables:
        words = f"{case.words}, when its variable has changed"
        _compare_values(rule, fetches, new, Case(words, ()), "A variable is no constant.")
    return new


def _compare_values(function, old, new, case, why=""):
    feeds = _feeds(old)
    if any(not node.op.pure and node.op.name == "dropout" for node in nodes_below(old)):
        return  # by chance
    with static.Session(passes=()) as session:
        right = session.run(old, feeds)
        with running(function, case):
            got = session.run(new, feeds)
    for node, value, expected in zip(old, got, right, strict=True):
        compare(
            node.name,
            np.asarray(value, np.float64),
            np.asarray(expected, np.float64),
            case,
            [Slip(why, lambda value=value: np.asarray(value))] if why else (),
        )


def _names(fetches):
    return Counter(node.op.name for node in nodes_below(fetches))


def _folding_cases():
    generator = np.random.default_rng(0)
    with static.Graph():
        x = static.placeholder((None, 3), name="x")
        yield "a product of two constants", [x * (static.constant(2.0) * static.constant(3.0))]

        inner = static.exp(static.constant(0.5) + 1.0) / static.constant([1.0, 2.0, 4.0])
        yield "constants of constants of constants", [x - inner]

        table = static.constant(np.arange(12.0).reshape(4, 3), dtype="float32")
        yield "a sum along one axis of a constant", [x * static.reduce_sum(table, axis=0)]
        yield "a constant that is turned over", [static.matmul(x, static.transpose(table))]

        w = static.variable(np.array([1.0, 2.0, 3.0]), dtype="float32", name="w")
        yield "a variable times a constant", [x + w * static.constant(2.0)]
        yield "a placeholder alone", [x]
        noise = graph.dropout(static.constant(np.ones(8), dtype="float32"), 0.5, generator)
        yield "noise on a constant", [noise * 2.0]


@lesson.task("Task 3, fold constants", points=2)
def fold(rule):
    """Check a rule (node, inputs, graph) that computes now what depends on constants only."""
    check_is_function(rule)
    for words, fetches in _folding_cases():
        case = Case(words, ())
        new = _after(rule, fetches, case)
        if _names(fetches)["dropout"] != _names(new)["dropout"]:
            raise failure(
                case,
                "the noise has been frozen: an operation that is not `pure` gives something "
                "else in every run.",
            )
        foldable = [
            node.name
            for node in nodes_below(new)
            if node.inputs and node.op.pure and all(parent.op is CONSTANT for parent in node.inputs)
        ]
        if foldable:
            some = len(_names(new)) < len(_names(fetches))
            why = "Look at `inputs`, the rebuilt ones: what was folded before is a constant by now."
            raise failure(case, f"{foldable[0]} could be folded: all its inputs are constants. {why * some}")


def _sharing_cases():
    """Yield words, fetches, and how many nodes of some operations have to be left."""
    generator = np.random.default_rng(0)
    with static.Graph():
        x = static.placeholder((None, 4), name="x")
        y = static.placeholder((None, 4), name="y")
        yield "x · y + x · y", [x * y + x * y], {"multiply": 1}
        yield (
            "tanh(x · y) + tanh(x · y)",
            [static.tanh(x * y) + static.tanh(x * y)],
            {"multiply": 1, "tanh": 1},
        )
        yield "x · y + (x + y)", [x * y + (x + y)], {"multiply": 1, "add": 2}
        yield "(x - y) · (y - x)", [(x - y) * (y - x)], {"subtract": 2}
        square = static.placeholder((4, 4), name="square")
        both = static.reduce_sum(square, axis=0) + static.reduce_sum(square, axis=1)
        yield "a sum over rows and a sum over columns", [both], {"sum": 2}
        kept = static.reduce_sum(square, axis=0, keepdims=True) - static.reduce_sum(square, axis=0)
        yield "two sums that differ in keepdims", [kept], {"sum": 2}
        again = static.reduce_mean(x, axis=1) * static.reduce_mean(x, axis=1)
        yield "the same mean twice", [again], {"mean": 1}
        yield "two placeholders of one shape", [x + y], {"placeholder": 2}
        noise = graph.dropout(x, 0.5, generator) + graph.dropout(x, 0.5, generator)
        yield "noise on x and noise on x", [noise], {"dropout": 2}
        yield "two fetches", [static.exp(x), static.exp(x) + 1.0], {"exp": 1}


@lesson.task("Task 4, share what is equal", points=2)
def share(key):
    """Check a key (node, inputs): two nodes with one key are computed once."""
    check_is_function(key)
    for words, fetches, expected in _sharing_cases():
        case, seen = Case(words, ()), {}

        def rule(node, inputs, graph, seen=seen, case=case):
            mine = key(node, inputs)
            node = keep(node, inputs, graph)
            try:
                return node if mine is None else seen.setdefault(mine, node)
            except TypeError:
                words = f"the key of {node.name} is {mine!r:.60}, which no dictionary takes: "
                raise failure(case, f"{words}make it of tuples, text and numbers.") from None

        with running(key, case):
            new = rewrite(fetches, rule)
        expected = {"placeholder": _names(fetches)["placeholder"], **expected}
        for name, count in expected.items():
            got = _names(new)[name]
            if got < count:
                words = f"of {count} nodes {name}, only {got} is left, but they are not the same."
                raise failure(case, f"{words} {WHY_NOT_THE_SAME.get(name, '')}")
            if got > count:
                deeper = any(parent.inputs for node in nodes_below(fetches) for parent in node.inputs)
                why = "Two nodes are equal when their *rebuilt* inputs are the same nodes." if deeper else ""
                raise failure(case, f"{name} is computed {got} times, expected {count}. {why}")
        _compare_values(key, fetches, new, case)


WHY_NOT_THE_SAME = {
    "subtract": "x − y is not y − x: the order of the inputs counts.",
    "sum": "They differ in their parameters, `node.params`.",
    "placeholder": "What has no inputs is fed, or a weight: leave it alone.",
    "dropout": "What is not `pure` gives something else each time.",
    "add": "Is the operation part of the key?",
    "multiply": "Is the operation part of the key?",
}


# ---- Memory

STEPS = {
    "a result that is used late": (
        [("x", ()), ("a", ("x",)), ("b", ("a",)), ("c", ("b",)), ("d", ("c", "a"))],
        {"x": 10, "a": 300, "b": 20, "c": 25, "d": 5},
        ("d",),
    ),
    "a chain": (
        [("x", ()), ("a", ("x",)), ("b", ("a",)), ("c", ("b",))],
        {"x": 40, "a": 40, "b": 40, "c": 40},
        ("c",),
    ),
    "a fetch that is used by nobody after it": (
        [("x", ()), ("a", ("x",)), ("b", ("x",)), ("c", ("b",)), ("d", ("c",))],
        {"x": 7, "a": 100, "b": 30, "c": 60, "d": 9},
        ("a", "d"),
    ),
    "a node that uses another twice": (
        [("x", ()), ("a", ("x", "x")), ("b", ("a", "a"))],
        {"x": 11, "a": 6, "b": 30},
        ("b",),
    ),
    "a large result that nobody uses": (
        [("x", ()), ("big", ("x",)), ("a", ("x",)), ("b", ("a",))],
        {"x": 5, "big": 80, "a": 30, "b": 40},
        ("b",),
    ),
    "one node": ([("x", ())], {"x": 12}, ("x",)),
}


def _peak(steps, sizes, fetches, free="after"):
    """Return the most bytes alive; a result is freed "after" its last step, "before" it, or "never"."""
    last = {parent: i for i, (name, inputs) in enumerate(steps) for parent in (name, *inputs)}
    alive, most = {}, 0
    for i, (name, inputs) in enumerate(steps):
        done = [parent for parent in {name, *inputs} if last[parent] == i and parent not in fetches]
        if free == "before":
            for parent in set(done) - {name}:
                del alive[parent]
        alive[name] = sizes[name]
        most = max(most, sum(alive.values()))
        if free != "never":
            for parent in done:
                alive.pop(parent, None)
    return most


@lesson.task("Task 5, plan the memory", points=2)
def peak(function):
    """Check a function of (steps, sizes, fetches) that returns the most bytes alive at once."""
    check_function(
        function,
        _peak,
        [Case(words, inputs) for words, inputs in STEPS.items()],
        [
            Slip(
                "Nothing is ever freed: free a result after the last step that uses it.",
                lambda *case: _peak(*case, free="never"),
            ),
            Slip(
                "While a step runs, its inputs are still needed: free them after it, not before.",
                lambda *case: _peak(*case, free="before"),
            ),
            Slip(
                "Fetches have to stay until the end.", lambda steps, sizes, fetches: _peak(steps, sizes, ())
            ),
            Slip("That is the largest single result.", lambda steps, sizes, fetches: max(sizes.values())),
        ],
    )


# ---- Simplifying


def _simplifying_cases():
    """Yield words, fetches, and how many operations with inputs may be left."""
    with static.Graph():
        x = static.placeholder((None, 3), name="x")
        one, zero = static.constant(1.0), static.constant(0.0)
        yield "x · 1", [x * one], 0
        yield "1 · x", [one * x], 0
        yield "x + 0", [x + zero], 0
        yield "0 + x", [zero + x], 0
        yield "x - 0", [x - zero], 0
        yield "x / 1", [x / one], 0
        yield "(x · 1 + 0) / 1", [(x * one + zero) / one], 0
        yield "0 - x", [zero - x], 1
        yield "1 / x", [one / x], 1
        yield "x + 1", [x + one], 1
        yield "x / 0", [x / zero], 1
        yield "x · 0, where x has holes", [x * zero], 1
        yield "x · (1, 2, 1)", [x * static.constant([1.0, 2.0, 1.0])], 1
        yield "x · (1, 1, 1)", [x * static.constant([1.0, 1.0, 1.0])], 0
        row = static.placeholder((3,), name="row")
        yield "a row of 3, plus 4 rows of 0", [row + static.constant(np.zeros((4, 3)), dtype="float32")], 1
        yield "x and 1, of which the larger", [static.maximum(x, one)], 1


@lesson.task("Extra task, simplify", points=2, extra=True)
def simplify(rule):
    """Check a rule (node, inputs, graph) that drops x · 1, x + 0, x - 0 and x / 1."""
    check_is_function(rule)
    for words, fetches, left in _simplifying_cases():
        case = Case(words, ())
        new = _after(rule, fetches, case)
        got = sum(bool(node.inputs) for node in nodes_below(new))
        if got > left:
            raise failure(case, f"{got} operations are left, {left} are enough.")
