"""Matrix products: the operation that most of a network's time goes into."""

from __future__ import annotations

import numpy as np

from minidl.kernels.matmul import matmul_cuda
from minidl.ops import gpu
from minidl.ops.arithmetic import add
from minidl.ops.op import Op, broadcast, by_device, size
from minidl.ops.reduction import reduce_sum

_product = by_device(np.matmul, matmul_cuda)  # NumPy hands matrices to BLAS, and stacks of them too
_swapped = by_device(lambda a: a.swapaxes(-1, -2), gpu.transpose)


def _rows(x):
    return x if x.ndim == 2 else x.reshape(size(x.shape[:-1]), x.shape[-1])


class MatMul(Op):
    """a @ b, as NumPy has it: vectors, matrices, and stacks of matrices whose leading axes broadcast.

    c = a·b   ⟹   dL/da = dL/dc · bᵀ,   dL/db = aᵀ · dL/dc
    """

    name = "matmul"
    writes_out = True
    runs_on_gpu = True

    def forward(self, a, b, out=None):
        """Keep both."""
        return _product(a, b, out=out), (a, b)

    def vjp(self, g, saved, needs):
        """Two more products, each as large as the first."""
        a, b = saved
        if a.ndim == 1 and b.ndim == 1:
            return g * b if needs[0] else None, g * a if needs[1] else None
        if a.ndim == 1:  # a row
            a, g = a.reshape(1, a.size), g.reshape((*g.shape[:-1], 1, g.shape[-1]))
        if b.ndim == 1:  # a column
            b, g = b.reshape(b.size, 1), g.reshape((*g.shape, 1))
        ga = _product(g, _swapped(b)) if needs[0] else None
        gb = None
        if needs[1] and b.ndim == 2:  # one b for the whole stack: its gradient is one product over all rows
            gb = _product(_swapped(_rows(a)), _rows(g))
        elif needs[1]:
            gb = _product(_swapped(a), g)
        if saved[0].ndim == 1 and needs[0]:
            ga = ga.reshape((*ga.shape[:-2], ga.shape[-1]))
        if saved[1].ndim == 1 and needs[1]:
            gb = gb.reshape(gb.shape[:-1])
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
    runs_on_gpu = True

    def forward(self, x, weight, bias=None, out=None):
        """Keep x and the weight."""
        y = _product(x, _swapped(weight), out=out)
        if bias is not None:
            y, _ = add.forward(y, bias, out=y)
        return y, (x, weight)

    def vjp(self, g, saved, needs):
        """As for a product; the bias was added to every row, so its gradient is the sum over the rows."""
        x, weight = saved
        gx = _product(g, weight) if needs[0] else None
        gw = _product(_swapped(_rows(g)), _rows(x)) if needs[1] else None
        gb = reduce_sum.forward(_rows(g), axis=0)[0] if len(needs) > 2 and needs[2] else None
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
