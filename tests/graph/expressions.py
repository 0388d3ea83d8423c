"""Random expressions, written once and computed by any library that has the functions in `Library`."""

import numpy as np

from minidl import graph
from minidl.graph import Tensor, static


class Library:
    """The functions of the expressions, in minidl's dynamic graph."""

    def constant(self, x):
        return x

    exp, log, sqrt = staticmethod(graph.exp), staticmethod(graph.log), staticmethod(graph.sqrt)
    tanh, sigmoid, softmax = (
        staticmethod(graph.tanh),
        staticmethod(graph.sigmoid),
        staticmethod(graph.softmax),
    )
    relu, leaky_relu, where = (
        staticmethod(graph.relu),
        staticmethod(graph.leaky_relu),
        staticmethod(graph.where),
    )
    maximum, minimum = staticmethod(graph.maximum), staticmethod(graph.minimum)

    def concatenate(self, values, axis):
        return graph.concatenate(values, axis)

    def max(self, x, axis):
        return x.max(axis=axis)

    def transpose(self, x):
        return x.T

    def gradients(self, expression, arrays):
        """Return the value of an expression of some arrays, and its gradients."""
        leaves = [Tensor(a, requires_grad=True) for a in arrays]
        loss = expression(self, leaves)
        loss.backward()
        return loss.item(), [
            np.zeros_like(a) if x.grad is None else x.grad for a, x in zip(arrays, leaves, strict=True)
        ]


class Static(Library):
    """The static graph."""

    def gradients(self, expression, arrays):
        with static.Graph():
            leaves = [static.placeholder(a.shape, a.dtype) for a in arrays]
            loss = expression(self, leaves)
            found = static.gradients(loss, leaves)
        with static.Session(self.passes) as session:
            value, *rest = session.run(
                [loss, *[g for g in found if g is not None]], dict(zip(leaves, arrays, strict=True))
            )
        rest = iter(rest)
        return float(value), [
            np.zeros_like(a) if g is None else next(rest) for g, a in zip(found, arrays, strict=True)
        ]

    def __init__(self, passes=("fold", "share", "plan")):
        self.passes = passes


class Compiled(Library):
    """A dynamic function, compiled."""

    def gradients(self, expression, arrays):
        leaves = [Tensor(a, requires_grad=True) for a in arrays]
        graph.compile(lambda *xs: expression(self, xs), passes=("fold", "share", "plan"))(*leaves).backward()
        value = expression(self, [Tensor(a) for a in arrays]).item()
        return value, [x.grad for x in leaves]


class Torch(Library):
    """PyTorch."""

    def __init__(self, torch):
        self.torch = torch
        self.exp, self.log, self.sqrt, self.tanh = torch.exp, torch.log, torch.sqrt, torch.tanh
        self.sigmoid, self.relu, self.where = torch.sigmoid, torch.relu, torch.where
        self.maximum, self.minimum = torch.maximum, torch.minimum

    def constant(self, x):
        return self.torch.tensor(x)

    def softmax(self, x, axis):
        return self.torch.softmax(x, axis)

    def leaky_relu(self, x, slope):
        return self.torch.nn.functional.leaky_relu(x, slope)

    def concatenate(self, values, axis):
        return self.torch.cat(values, axis)

    def max(self, x, axis):
        return x.amax(axis)

    def transpose(self, x):
        return x.permute(*reversed(range(x.ndim)))

    def gradients(self, expression, arrays):
        leaves = [self.torch.tensor(a, requires_grad=True) for a in arrays]
        loss = expression(self, leaves)
        loss.backward()
        return loss.item(), [
            np.zeros_like(a) if x.grad is None else x.grad.numpy()
            for a, x in zip(arrays, leaves, strict=True)
        ]


def random_expression(seed, steps=12):
    """Return (expression, arrays): a function of a library and its leaves, and where to try it.

    Values stay near 1, so that nothing overflows, and shapes broadcast.
    """
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(2, 5, 2)
    shapes = [(rows, columns), (columns,), (rows, 1), ()]
    arrays = [rng.normal(size=shape) for shape in shapes]
    noise = rng.normal(size=(rows, columns))
    plan = [(rng.integers(len(STEPS)), *rng.integers(0, 1 << 30, 2)) for _ in range(steps)]

    def expression(library, leaves):
        values = list(leaves)
        for kind, first, second in plan:
            a, b = values[first % len(values)], values[second % len(values)]
            values.append(library.tanh(STEPS[kind](library, a, b, library.constant(noise))))
        total = values[-1].sum()
        for value in values[len(leaves) : -1]:
            total = total + value.mean()
        return total

    return expression, arrays


def _matrix(x, like):
    """Broadcast to two dimensions."""
    return x + like * 0


STEPS = [
    lambda m, a, b, like: a + b,
    lambda m, a, b, like: a - b * 2.0,
    lambda m, a, b, like: a * b,
    lambda m, a, b, like: a / (abs(b) + 1.0),
    lambda m, a, b, like: 1.0 / (m.exp(a) + 1.0) - b,
    lambda m, a, b, like: -a + m.sigmoid(b),
    lambda m, a, b, like: m.log(abs(a) + 0.5),
    lambda m, a, b, like: m.sqrt(a * a + 0.5) * b,
    lambda m, a, b, like: a**3 + b**2,
    lambda m, a, b, like: (abs(a) + 0.5) ** -0.5,
    lambda m, a, b, like: m.relu(a) + m.leaky_relu(b, 0.1),
    lambda m, a, b, like: m.maximum(_matrix(a, like), _matrix(b, like)),
    lambda m, a, b, like: m.minimum(a, b) if a.shape == b.shape else a * b,
    lambda m, a, b, like: m.where(
        _matrix(a, like) > _matrix(b, like), _matrix(a, like), _matrix(b, like) * 0.5
    ),
    lambda m, a, b, like: m.softmax(_matrix(a, like), 1) * b,
    lambda m, a, b, like: _matrix(a, like).sum(0) + _matrix(b, like).mean(0),
    lambda m, a, b, like: m.max(_matrix(a, like), 0),
    lambda m, a, b, like: (_matrix(a, like) @ m.transpose(_matrix(b, like))).mean(1).reshape(-1, 1),
    lambda m, a, b, like: _matrix(a, like)[:, 0].reshape(-1, 1) * b,
    lambda m, a, b, like: m.concatenate([_matrix(a, like)[1:], _matrix(b, like)[:1]], 0),
    lambda m, a, b, like: _matrix(a, like)[0] * _matrix(b, like)[-1],
    lambda m, a, b, like: m.transpose(m.transpose(_matrix(a, like)) * 2.0) - b,
]
