"""Layer 3, Op: array in, array out. Each operation's forward pass stands beside its vector-Jacobian product.

An operation (`Op`) knows nothing of graphs. It answers five questions about itself: what it computes, what must be
kept for the way back, how a gradient passes back through it, what shape comes out, and what it costs.
The device of the input chooses the kernel. Both graphs of layer 4 are built on these same objects:

    ops.matmul(a, b)                              # just the result
    c, saved = ops.matmul.forward(a, b)           # the result, and what the way back needs
    ga, gb = ops.matmul.vjp(gc, saved, (True, True))
"""

from minidl.ops.op import Op, broadcast, unbroadcast

__all__ = ["Op", "broadcast", "unbroadcast"]
