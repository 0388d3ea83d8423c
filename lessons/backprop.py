"""The tasks of the lesson `4_backprop`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from lessons.checks import Lesson, check_function, check_is_function, check_value, running
from lessons.comparison import Case, CheckFailed, Slip, compare, failure

DEPTH = 5_000  # values one after the other in the deepest graph

lesson = Lesson("4_backprop")


@lesson.task("Task 1, by hand", points=1)
def by_hand(to_a, to_b, to_c):
    """Check the gradients of (a + b) · c + a at a, b, c = 2, 1, 4."""
    check_value(
        "to_a",
        to_a,
        5,
        {
            4: "a is used twice: the way through the sum brings 4, and another way brings more.",
            1: "That is the way past the product; a also goes into the sum.",
            6: "The slope of a product towards one factor is the *other* factor, here c.",
        },
    )
    check_value(
        "to_b",
        to_b,
        4,
        {
            1: "A step of 1 in b changes a + b by 1, and that is multiplied by c.",
            3: "That is a + b, the slope towards c.",
        },
    )
    check_value(
        "to_c",
        to_c,
        3,
        {
            4: "That is c itself; the slope towards c is the other factor, a + b.",
            2: "The other factor is a + b, not a alone.",
            5: "Only the product holds c.",
        },
    )


# ---- The student's own Value


def _value_class(function):
    Value = function.__globals__.get("Value")
    if not isinstance(Value, type):
        raise CheckFailed(
            "the class Value is missing: run the cell at the top of the notebook that makes it."
        )
    return Value


OPERATIONS = {
    "add": (2, lambda a, b: a + b, lambda a, b: (1.0, 1.0)),
    "multiply": (2, lambda a, b: a * b, lambda a, b: (b, a)),
    "divide": (2, lambda a, b: a / b, lambda a, b: (1 / b, -a / b**2)),
    "tanh": (1, math.tanh, lambda a: (1 - math.tanh(a) ** 2,)),
}
SLOPE_SLIPS = {
    "multiply": [
        ((lambda a, b: (a, b)), "The slope towards one factor is the *other* factor: they are swapped.")
    ],
    "divide": [
        ((lambda a, b: (1 / b, a / b**2)), "A larger divisor makes a quotient smaller: the sign is missing."),
        ((lambda a, b: (1 / b, -1 / b**2)), "The numerator belongs into the slope towards b: −a / b²."),
        ((lambda a, b: (1 / b, -a / b)), "The divisor stands squared in the slope towards b: −a / b²."),
    ],
    "tanh": [
        ((lambda a: (1 - math.tanh(a),)), "The slope is 1 − tanh², the square is missing."),
        ((lambda a: (1 - a**2,)), "It is 1 − tanh(a)², with the *result* squared, not the input."),
    ],
}


@lesson.task("Task 2, values with slopes", points=1)
def operations(add, multiply, divide, tanh):
    """Check four functions that make a Value, its parents and its slopes."""
    functions = {"add": add, "multiply": multiply, "divide": divide, "tanh": tanh}
    for function in functions.values():
        check_is_function(function)
    for name, function in functions.items():
        count, result, slopes = OPERATIONS[name]
        Value = _value_class(function)
        for numbers in ((3.0, -2.5), (0.5, 4.0), (-1.25, 0.75)):
            numbers = numbers[:count]
            case = Case(f"{name}({', '.join(map(str, numbers))})", numbers)
            parents = tuple(Value(number) for number in numbers)
            with running(function, case):
                made = function(*parents)
            if not isinstance(made, Value):
                raise failure(case, f"the result is {made!r:.60}, expected a Value.")
            _compare_number("its number", made.number, result(*numbers), case)
            if len(made.parents) != count or any(
                a is not b for a, b in zip(made.parents, parents, strict=True)
            ):
                raise failure(
                    case, f"its parents must be the {count} value(s) it was computed from, in order."
                )
            if len(made.slopes) != count:
                raise failure(case, f"it has {len(made.slopes)} slopes and {count} parents: one for each.")
            known = SLOPE_SLIPS.get(name, ())
            slips = [Slip(words, lambda *numbers, f=wrong: np.array(f(*numbers))) for wrong, words in known]
            got = np.array([_number(slope, case) for slope in made.slopes])
            compare("slopes", got, np.array(slopes(*numbers)), case, slips)


def _number(got, case):
    try:
        return float(got)
    except (TypeError, ValueError):
        raise failure(case, f"expected a plain number, got {type(got).__name__} {got!r:.40}.") from None


def _compare_number(name, got, expected, case, slips=()):
    compare(name, np.array(_number(got, case)), np.array(float(expected)), case, slips)


# ---- Graphs to be walked


class _Maker:
    """Makes graphs of the student's Value class, with names that messages can use."""

    def __init__(self, Value):
        self.Value, self.names = Value, {}

    def __call__(self, name, number, parents=(), slopes=()):
        value = self.Value(number, parents, slopes)
        self.names[id(value)] = name
        return value

    def leaf(self, name, number):
        return self(name, number)

    def sum(self, name, a, b):
        return self(name, a.number + b.number, (a, b), (1.0, 1.0))

    def product(self, name, a, b):
        return self(name, a.number * b.number, (a, b), (b.number, a.number))


def _chain(make):
    x = make.leaf("x", 1.5)
    y = make.product("y", x, x)
    return make.sum("z", y, make.leaf("c", 2.0))


def _diamond(make):
    """The late way: a is needed by b and by d, and b by d as well."""
    a = make.leaf("a", 2.0)
    b = make.product("b", a, make.leaf("three", 3.0))
    c = make.sum("c", b, a)
    return make.product("d", b, c)


def _short_and_long(make):
    x = make.leaf("x", 0.5)
    p = make.product("p", x, x)
    q = make.product("q", p, x)
    r = make.product("r", q, q)
    return make.sum("s", x, r)


def _doubling(make, times=60):
    x = make.leaf("x", 1.0)
    y = x
    for i in range(times):
        y = make.sum(f"y{i + 1}", y, y)
    return y


def _alone(make):
    return make.leaf("x", 7.0)


GRAPHS = {
    "z = x · x + c": _chain,
    "b = a · 3, c = b + a, d = b · c": _diamond,
    "s = x + (x · x · x)²": _short_and_long,
    "a value that was computed from nothing": _alone,
    "a sum of y and y, sixty times": _doubling,
}


def _everything_below(value):
    found, waiting = {}, [value]
    while waiting:
        value = waiting.pop()
        if id(value) not in found:
            found[id(value)] = value
            waiting.extend(value.parents)
    return found


@lesson.task("Task 3, the order", points=2)
def order(function):
    """Check a function of a Value that lists everything it was computed from, parents first."""
    _check_order(function)


def _check_order(function):
    check_is_function(function)
    for words, build in GRAPHS.items():
        make = _Maker(_value_class(function))
        last = build(make)
        for run in ("", ", asked a second time"):
            case = Case(f"{words}{run}", ())
            with running(function, case):
                got = function(last)
            _judge_order(got, last, make, case)


def _judge_order(got, last, make, case):
    if got is None:
        raise failure(case, "the function returned nothing: is there a `return` at its end?")
    if not isinstance(got, (list, tuple)) or not all(isinstance(value, make.Value) for value in got):
        raise failure(case, f"expected a list of Values, got {type(got).__name__} {got!r:.60}.")
    below = _everything_below(last)
    names = [make.names.get(id(value), "?") for value in got]
    listed = f"Yours: {', '.join(names[:12]) or 'an empty list'}{' …' if len(names) > 12 else ''}."
    often = Counter(names)
    twice = next((name for name, times in often.items() if times > 1), None)
    if twice:
        raise failure(
            case, f"{twice} comes {often[twice]} times; once is enough, however often it is used. {listed}"
        )
    listed_ids = set(map(id, got))
    missing = [make.names[key] for key in below if key not in listed_ids]
    if missing:
        raise failure(case, f"{missing[0]} is missing. {listed}")
    if len(got) > len(below):
        raise failure(case, f"there are {len(got)} values, expected {len(below)}. {listed}")
    place = {id(value): i for i, value in enumerate(got)}
    for value in got:
        for parent in value.parents:
            if place[id(parent)] > place[id(value)]:
                reverse = all(place[id(p)] > place[id(v)] for v in got for p in v.parents)
                why = (
                    "The whole list is the wrong way round."
                    if reverse
                    else "A value may be listed only when all of its parents are."
                )
                name, of = make.names[id(parent)], make.names[id(value)]
                raise failure(case, f"{name} comes after {of}, which was computed from it. {why} {listed}")


def _gradients(last):
    """Return {id: gradient} by the book: users before what they used, every way added up."""
    below = _everything_below(last)
    users = Counter(id(parent) for value in below.values() for parent in value.parents)
    gradient, ready = dict.fromkeys(below, 0.0), [last]
    gradient[id(last)] = 1.0
    while ready:
        value = ready.pop()
        for parent, slope in zip(value.parents, value.slopes, strict=True):
            gradient[id(parent)] += slope * gradient[id(value)]
            users[id(parent)] -= 1
            if not users[id(parent)]:
                ready.append(parent)
    return gradient


def _last_way_only(last, order):
    gradient = dict.fromkeys(map(id, order), 0.0)
    gradient[id(last)] = 1.0
    for value in reversed(order):
        for parent, slope in zip(value.parents, value.slopes, strict=True):
            gradient[id(parent)] = slope * gradient[id(value)]
    return gradient


def _sorted(last):
    found, waiting, done = [], [(last, False)], set()
    while waiting:
        value, ready = waiting.pop()
        if ready:
            found.append(value)
        elif id(value) not in done:
            done.add(id(value))
            waiting.append((value, True))
            waiting.extend((parent, False) for parent in reversed(value.parents) if id(parent) not in done)
    return found


@lesson.task("Task 4, the way back", points=2)
def backward(function):
    """Check a function of (value, order) that sets `gradient` on every value of the order."""
    check_is_function(function)
    for words, build in GRAPHS.items():
        make = _Maker(_value_class(function))
        last = build(make)
        order, case = _sorted(last), Case(words, ())
        for run in ("", "a second time"):
            given = list(order)
            with running(function, case):
                function(last, given)
            if len(given) != len(order) or any(a is not b for a, b in zip(given, order, strict=True)):
                raise failure(case, "the function changed the list `order`, which it must only read.")
            right = _gradients(last)
            expected = np.array([right[id(value)] for value in order])
            got = np.array([_number(value.gradient, case) for value in order])
            again = Case(f"{words}{', called ' * bool(run)}{run}", ())
            _judge_gradients(got, expected, order, last, make, again, bool(run))


def _judge_gradients(got, expected, order, last, make, case, second):
    wrong = np.flatnonzero(~np.isclose(got, expected, rtol=1e-9, atol=1e-12))
    if not wrong.size:
        return
    first = wrong[-1]  # the one that is nearest to the last value, where the mistake began
    name = make.names[id(order[first])]
    overwritten = np.array([_last_way_only(last, order)[id(value)] for value in order])
    if not got.any():
        why = "Nothing flows back until the last value has the gradient 1."
    elif second:
        why = "Gradients of an earlier call are still there: begin with 0 everywhere."
    elif np.allclose(got, overwritten):
        why = "It is used in more than one place, and every place adds something: += instead of =."
    elif got[-1] != 1:
        why = "The last value changes as much as it changes itself: its gradient is 1."
    elif np.isclose(got[first], expected[first] + 1):
        why = "Only the last value begins with 1, all others with 0."
    else:
        why = "Has everything that uses it handed on its gradient before it hands on its own?"
    raise failure(case, f"the gradient of {name} is {got[first]:.6g}, expected {expected[first]:.6g}. {why}")


@lesson.task("Task 5, arrays", points=2)
def sum_to(function):
    """Check a function of (gradient, shape) that undoes broadcasting."""
    random = np.random.default_rng(5)
    pairs = [
        ((3, 4), (3, 4)),
        ((5, 4), (4,)),
        ((5, 4), (1, 4)),
        ((5, 4), (5, 1)),
        ((2, 5, 4), (5, 1)),
        ((2, 5, 4), (1, 1, 4)),
        ((2, 3, 5, 7), (3, 1, 1)),
        ((3, 3), (3,)),
        ((6,), ()),
        ((1, 4), (4,)),
        ((3, 1), (3, 1)),
        ((3, 1, 2), (1, 1)),
        ((4, 3, 2), ()),
    ]
    cases = [
        Case(
            f"a gradient of shape {made} for a value of shape {shape}",
            (random.integers(-9, 10, made).astype(np.float64), shape),
        )
        for made, shape in pairs
    ]

    def right(gradient, shape):
        extra = gradient.ndim - len(shape)
        axes = [*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1)]
        return gradient.sum(axis=tuple(axes), keepdims=True).reshape(shape)

    def averaged(gradient, shape):
        return right(gradient, shape) * math.prod(shape) / gradient.size

    def first_of(gradient, shape):
        extra = gradient.ndim - len(shape)
        kept = gradient[(0,) * extra]
        return kept[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]

    def other_axis(gradient, shape):
        if len(shape) != 1 or gradient.ndim != 2 or gradient.shape[0] != gradient.shape[1]:
            return np.full(shape, np.nan)
        return gradient.sum(axis=1)

    check_function(
        function,
        right,
        cases,
        [
            Slip("Every copy adds its share: a sum, not a mean.", averaged),
            Slip("That takes the first copy's share; add up those of all copies.", first_of),
            Slip("Broadcasting adds axes in *front*; sum over the first axis, not the last.", other_axis),
        ],
        "The gradient of a value has the value's own shape.",
    )


@lesson.task("Extra task, five thousand deep", points=2, extra=True)
def deep(order):
    """Check that the order of a deep graph is found without recursion."""
    _check_order(order)
    make = _Maker(_value_class(order))
    x = make.leaf("x", 1.0)
    y = x
    for i in range(DEPTH):
        y = make.sum(f"y{i + 1}", y, x)
    case = Case(f"y = y + x, {DEPTH:,} times", ())
    try:
        with running(order, case):
            got = order(y)
    except CheckFailed as failed:
        if "RecursionError" in str(failed):
            raise failure(
                case,
                "Python gives up: a function that calls itself may do so about a thousand "
                "times. Keep a list of what is waiting instead.",
            ) from None
        raise
    _judge_order(got, y, make, case)
