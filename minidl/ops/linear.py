"""Matrix products: the operation that most of a network's time goes into."""

from __future__ import annotations

import numpy as np

from minidl.ops.op import Op, broadcast, size


class MatMul(Op):
    """a @ b, as NumPy has it: vectors, matrices, and stacks of matrices whose leading axes broadcast.

    c = a·b   ⟹   dL/da = dL/dc · bᵀ,   dL/db = aᵀ · dL/dc
    """

    name = "matmul"
    writes_out = True

    def forward(self, a, b, out=None):
        """Keep both."""
        return np.matmul(a, b, out=out), (a, b)

    def vjp(self, g, saved, needs):
        """Two more products, each as large as the first."""
        a, b = saved
        if a.ndim == 1 and b.ndim == 1:
            return g * b if needs[0] else None, g * a if needs[1] else None
        if a.ndim == 1:  # a row
            a, g = a[None, :], np.expand_dims(g, -2)
        if b.ndim == 1:  # a column
            b, g = b[:, None], np.expand_dims(g, -1)
        ga = np.matmul(g, b.swapaxes(-1, -2)) if needs[0] else None
        gb = None
        if needs[1] and b.ndim == 2:  # one b for the whole stack: its gradient is one product over all rows
            gb = np.matmul(a.reshape(-1, a.shape[-1]).T, g.reshape(-1, g.shape[-1]))
        elif needs[1]:
            gb = np.matmul(a.swapaxes(-1, -2), g)
        if saved[0].ndim == 1 and needs[0]:
            ga = ga[..., 0, :]
        if saved[1].ndim == 1 and needs[1]:
            gb = gb[..., 0]
        return ga, gb

    def shape(self, a, b):
        """(…, m, k) @ (…, k, n) → (…, m, n)."""
        if not a or not b:
            raise ValueError(f"a product needs at least one dimension on each side, got {a} @ {b}")
        inner_a, inner_b = a[-1], b[-2] if len(b) > 1 else b[0]
        if None not in (inner_a, inner_b) and inner_a != inner_b:
            raise ValueError(f"inner dimensions {inner_a} and {inner_b} differ in {a} @ {b}")
        lead = broadcast(a[:-2], b[:-2])
        return lead + (a[-2:-1] if len(a) > 1 else ()) + (b[-1:] if len(b) > 1 else ())

    def flops(self, a, b):
        """A multiplication and an addition for each of m·k·n."""
        return 2 * size(self.shape(a, b)) * size(a[-1:])


class Dense(Op):
    """x·weightᵀ + bias for x (…, I), weight (O, I), bias (O,): a whole dense layer in one operation."""

    name = "dense"
    writes_out = True

    def forward(self, x, weight, bias=None, out=None):
        """Keep x and the weight."""
        y = np.matmul(x, weight.T, out=out)
        if bias is not None:
            y += bias
        return y, (x, weight)

    def vjp(self, g, saved, needs):
        """As for a product; the bias was added to every row, so its gradient is the sum over the rows."""
        x, weight = saved
        rows = g.reshape(-1, g.shape[-1])
        gx = np.matmul(g, weight) if needs[0] else None
        gw = np.matmul(rows.T, x.reshape(-1, x.shape[-1])) if needs[1] else None
        gb = np.add.reduce(rows, axis=0) if len(needs) > 2 and needs[2] else None
        return gx, gw, gb

    def shape(self, x, weight, bias=None):
        """(…, I) → (…, O)."""
        if len(weight) != 2:
            raise ValueError(f"weight must have two dimensions (out, in), got shape {weight}")
        if not x or (None not in (x[-1], weight[1]) and x[-1] != weight[1]):
            raise ValueError(f"input {x} does not end in the {weight[1]} inputs of weight {weight}")
        if bias is not None and bias != weight[:1]:
            raise ValueError(f"bias must have shape {weight[:1]}, got {bias}")
        return x[:-1] + weight[:1]

    def flops(self, x, weight, bias=None):
        """A multiply-add for each weight and row, and an addition for each output with a bias."""
        rows = size(x[:-1])
        return rows * (2 * size(weight) + (weight[0] if bias is not None else 0))


matmul = MatMul()
dense = Dense()
