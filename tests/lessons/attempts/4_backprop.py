"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811, F821, B905

import math

import numpy as np

# %% by_hand wrong: a is used twice
to_a, to_b, to_c = 4, 4, 3

# %% by_hand wrong: That is the way past the product
to_a, to_b, to_c = 1, 4, 3

# %% by_hand wrong: multiplied by c
to_a, to_b, to_c = 5, 1, 3

# %% by_hand wrong: the other factor, a + b
to_a, to_b, to_c = 5, 4, 4

# %% by_hand wrong: still open: to_c
to_a, to_b, to_c = 5, 4, ...

# %% by_hand right
to_a, to_b, to_c = np.float64(5), 4.0, 3

# %% operations wrong: they are swapped


def add(a, b):
    return Value(a.number + b.number, (a, b), (1, 1))


def multiply(a, b):
    return Value(a.number * b.number, (a, b), (a.number, b.number))


def divide(a, b):
    return Value(a.number / b.number, (a, b), (1 / b.number, -a.number / b.number**2))


def tanh(a):
    t = math.tanh(a.number)
    return Value(t, (a,), (1 - t * t,))


# %% operations wrong: the sign is missing


def add(a, b):
    return Value(a.number + b.number, (a, b), (1, 1))


def multiply(a, b):
    return Value(a.number * b.number, (a, b), (b.number, a.number))


def divide(a, b):
    return Value(a.number / b.number, (a, b), (1 / b.number, a.number / b.number**2))


def tanh(a):
    t = math.tanh(a.number)
    return Value(t, (a,), (1 - t * t,))


# %% operations wrong: the square is missing


def add(a, b):
    return Value(a.number + b.number, (a, b), (1, 1))


def multiply(a, b):
    return Value(a.number * b.number, (a, b), (b.number, a.number))


def divide(a, b):
    return Value(a.number / b.number, (a, b), (1 / b.number, -a.number / b.number**2))


def tanh(a):
    t = math.tanh(a.number)
    return Value(t, (a,), (1 - t,))


# %% operations wrong: its parents must be the 2 value(s)


def add(a, b):
    return Value(a.number + b.number, (a.number, b.number), (1, 1))


def multiply(a, b):
    return Value(a.number * b.number, (a, b), (b.number, a.number))


divide = tanh = multiply

# %% operations wrong: expected a Value


def add(a, b):
    return a.number + b.number


multiply = divide = tanh = add

# %% operations wrong: slopes and 2 parents: one for each


def add(a, b):
    return Value(a.number + b.number, (a, b))


multiply = divide = tanh = add

# %% operations right


def add(a, b):
    return Value(b.number + a.number, [a, b], [1, 1])


def multiply(a, b):
    return Value(a.number * b.number, (a, b), (np.float64(b.number), a.number))


def divide(a, b):
    quotient = a.number / b.number
    return Value(quotient, (a, b), (1 / b.number, -quotient / b.number))


def tanh(a):
    return Value(np.tanh(a.number), (a,), (1 / np.cosh(a.number) ** 2,))


# %% order wrong: once is enough, however often it is used


def order(last):
    return [value for parent in last.parents for value in order(parent)] + [last]


# %% order wrong: The whole list is the wrong way round


def order(last):
    found = []

    def visit(value):
        if value not in found:
            for parent in value.parents:
                visit(parent)
            found.insert(0, value)

    visit(last)
    return found


# %% order wrong: only when all of its parents are


def order(last):
    """Breadth first, each where it was first met."""
    found, waiting = [], [last]
    while waiting:
        value = waiting.pop(0)
        if value not in found:
            found.append(value)
            waiting.extend(value.parents)
    return found[::-1]


# %% order wrong: with a sum of y and y, sixty times, it was still running


def order(last):
    found = []

    def visit(value):
        for parent in value.parents:
            visit(parent)
        if value not in found:
            found.append(value)

    visit(last)
    return found


# %% order wrong: is missing


def order(last):
    found = []

    def visit(value):
        for parent in value.parents:
            if parent not in found:
                visit(parent)
                found.append(parent)

    visit(last)
    return found


# %% order wrong: expected a list of Values


def order(last):
    return [last.number]


# %% order wrong: asked a second time, z is missing


def order(last, seen=set()):  # noqa: B006
    if last in seen:
        return []
    seen.add(last)
    return [value for parent in last.parents for value in order(parent)] + [last]


# %% order right


def order(last):
    """By the number of users that are still to come."""
    below, waiting = [], [last]
    while waiting:
        value = waiting.pop()
        if value not in below:
            below.append(value)
            waiting += value.parents
    users = {value: sum(user.parents.count(value) for user in below) for value in below}
    backwards, ready = [], [last]
    while ready:
        value = ready.pop()
        backwards.append(value)
        for parent in value.parents:
            users[parent] -= 1
            if users[parent] == 0:
                ready.append(parent)
    return list(reversed(backwards))


# %% backward wrong: += instead of =


def backward(last, order):
    for value in order:
        value.gradient = 0.0
    last.gradient = 1.0
    for value in reversed(order):
        for parent, slope in zip(value.parents, value.slopes):
            parent.gradient = slope * value.gradient


# %% backward wrong: begin with 0 everywhere


def backward(last, order):
    last.gradient = 1.0
    for value in reversed(order):
        for parent, slope in zip(value.parents, value.slopes):
            parent.gradient += slope * value.gradient


# %% backward wrong: until the last value has the gradient 1


def backward(last, order):
    for value in order:
        value.gradient = 0.0
    for value in reversed(order):
        for parent, slope in zip(value.parents, value.slopes):
            parent.gradient += slope * value.gradient


# %% backward wrong: handed on its gradient before it hands on its own


def backward(last, order):
    for value in order:
        value.gradient = 0.0
    last.gradient = 1.0
    waiting = [last]
    while waiting:
        value = waiting.pop(0)
        for parent, slope in zip(value.parents, value.slopes):
            if parent.gradient == 0:
                waiting.append(parent)
            parent.gradient += slope * value.gradient


# %% backward wrong: Only the last value begins with 1


def backward(last, order):
    for value in order:
        value.gradient = 1.0
    for value in reversed(order):
        for parent, slope in zip(value.parents, value.slopes):
            parent.gradient += slope * value.gradient


# %% backward wrong: still running after


def backward(last, order):
    """Every way by itself; there are 2 to the 60 of them."""
    for value in order:
        value.gradient = 0.0

    def hand_on(value, share):
        value.gradient += share
        for parent, slope in zip(value.parents, value.slopes):
            hand_on(parent, slope * share)

    hand_on(last, 1.0)


# %% backward wrong: changed the list `order`


def backward(last, order):
    for value in order:
        value.gradient = 0.0
    last.gradient = 1.0
    order.reverse()
    for value in order:
        for parent, slope in zip(value.parents, value.slopes, strict=True):
            parent.gradient += slope * value.gradient


# %% backward right


def backward(last, order):
    gradient = dict.fromkeys(order, 0.0)
    gradient[last] = 1.0
    for i in range(len(order) - 1, -1, -1):
        value = order[i]
        for k in range(len(value.parents)):
            gradient[value.parents[k]] += gradient[value] * value.slopes[k]
    for value in order:
        value.gradient = gradient[value]


# %% sum_to wrong: a sum, not a mean


def sum_to(gradient, shape):
    while gradient.ndim > len(shape):
        gradient = gradient.mean(axis=0)
    for axis, length in enumerate(shape):
        if length == 1:
            gradient = gradient.mean(axis=axis, keepdims=True)
    return gradient


# %% sum_to wrong: has the value's own shape


def sum_to(gradient, shape):
    while gradient.ndim > len(shape):
        gradient = gradient.sum(axis=0)
    return gradient


# %% sum_to wrong: has shape (4,), expected (1, 4)


def sum_to(gradient, shape):
    while gradient.ndim > len(shape):
        gradient = gradient.sum(axis=0)
    for axis, length in enumerate(shape):
        if length == 1:
            gradient = gradient.sum(axis=axis)
    return gradient


# %% sum_to wrong: sum over the first axis, not the last


def sum_to(gradient, shape):
    for axis in range(gradient.ndim):
        if gradient.ndim > len(shape) and gradient.shape[axis : axis + 1] != shape[:1]:
            gradient = gradient.sum(axis=axis)
            break
    while gradient.ndim > len(shape):
        gradient = gradient.sum(axis=-1)
    for axis, length in enumerate(shape):
        if length == 1:
            gradient = gradient.sum(axis=axis, keepdims=True)
    return gradient


# %% sum_to wrong: That takes the first copy's share


def sum_to(gradient, shape):
    while gradient.ndim > len(shape):
        gradient = gradient[0]
    for axis, length in enumerate(shape):
        if length == 1:
            gradient = gradient.take([0], axis=axis)
    return gradient


# %% sum_to right


def sum_to(gradient, shape):
    size = math.prod(shape)
    source = np.broadcast_to(np.arange(size).reshape(shape), gradient.shape)
    return np.bincount(source.ravel(), gradient.ravel(), size).reshape(shape)


# %% deep wrong: Keep a list of what is waiting instead


def deep_order(last):
    found, seen = [], set()

    def visit(value):
        if value not in seen:
            seen.add(value)
            for parent in value.parents:
                visit(parent)
            found.append(value)

    visit(last)
    return found


# %% deep wrong: comes after


def deep_order(last):
    found, seen, waiting = [], set(), [last]
    while waiting:
        value = waiting.pop()
        if value not in seen:
            seen.add(value)
            found.append(value)
            waiting.extend(value.parents)
    return found[::-1]


# %% deep wrong: still running after


def deep_order(last):
    waiting = [last]
    while waiting:
        value = waiting[-1]
        waiting.extend(value.parents[:0])
    return waiting


# %% deep wrong: comes 2 times


def deep_order(last):
    found, waiting = [], [(last, False)]
    while waiting:
        value, done = waiting.pop()
        if done or value in found:
            found.append(value)
        else:
            waiting.append((value, True))
            waiting.extend((parent, False) for parent in value.parents)
    return found


# %% deep right


def deep_order(last):
    users, seen, waiting = {}, {last}, [last]
    while waiting:
        value = waiting.pop()
        for parent in value.parents:
            users[parent] = users.get(parent, 0) + 1
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    found, ready = [], [last]
    while ready:
        value = ready.pop()
        found.append(value)
        for parent in value.parents:
            users[parent] -= 1
            if not users[parent]:
                ready.append(parent)
    found.reverse()
    return found
