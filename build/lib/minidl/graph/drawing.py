"""A graph as a picture: what stands in its boxes, and where Graphviz puts them. `figures.graph` draws it.

Graphviz comes with the package pygraphviz, which is imported only when something is laid out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minidl.graph.building import Node, Source, nodes_below
from minidl.graph.dynamic import Leaf, Step, Tensor, steps_back, walk_back
from minidl.graph.program import Program
from minidl.graph.symbolic import Backward, Part, SumTo

INCH = 72  # Graphviz's points


@dataclass
class Box:
    """One box: `lines` of text; `kind`: input, forward or backward; middle and size in inches, y down."""

    lines: list[str]
    kind: str
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclass
class Diagram:
    """Boxes by key and arrows between them, laid out.

    Attributes
    ----------
    boxes : dict of key: Box
        A key is what the box stands for: a `Step` or `Leaf`, or a static `Node`.
    arrows : dict of (key, key): list of (x, y)
        The points of a cubic Bézier curve, in inches.
    width, height : float
        Of the whole, in inches.
    """

    boxes: dict
    arrows: dict = field(default_factory=dict)
    width: float = 0.0
    height: float = 0.0


def diagram(of, times=None, names=None):
    """Lay out a graph.

    Parameters
    ----------
    of : Tensor, Program, Node, or list of Node
        A tensor's way back to its leaves; or what a static graph computes (see `Session.program`), its
        gradients included if they are fetched.
    times : dict of Node: float, optional
        Seconds, from `Session.time` or `Program.time`, to be shown in the boxes.
    names : dict of str: Tensor, optional
        What to call the leaves.

    Returns
    -------
    Diagram

    Raises
    ------
    ImportError
        If pygraphviz is not installed; the message says how to.
    """
    if isinstance(of, Tensor):
        boxes, arrows = _of_tensor(of, names or {})
    else:
        nodes = of.nodes if isinstance(of, Program) else nodes_below([of] if isinstance(of, Node) else of)
        boxes, arrows = _of_nodes(nodes, times or {})
    return _laid_out(boxes, arrows)


def _of_tensor(tensor, names):
    if not tensor.requires_grad:
        raise ValueError("nothing that this tensor was made from requires a gradient: it has no graph")
    called = {id(named.step): name for name, named in names.items()}
    steps, uses = steps_back(tensor.step) if isinstance(tensor.step, Step) else ([], {tensor.step: 1})
    boxes, arrows = {}, []
    for leaf in uses:
        tensor = leaf.tensor()
        boxes[leaf] = Box(
            [called.get(id(leaf), "leaf"), "" if tensor is None else str(tensor.shape)], "input"
        )
    for step in reversed(steps):
        kept = sum(a.nbytes for a in step.saved if isinstance(a, np.ndarray))
        lines = [step.op.name, str(step.shape)] + [f"keeps {_bytes(kept)}"] * (kept > 0)
        boxes[step] = Box(lines, "forward")
        arrows += [(parent, step) for parent in dict.fromkeys(step.parents) if parent is not None]
    return boxes, arrows


def _of_nodes(nodes, times):
    """Leave out what is only bookkeeping: a `Part` is the same box as the node it is a part of."""
    place, boxes, arrows = {}, {}, []
    below_gradient = set()
    for node in nodes:
        if isinstance(node.op, Part):
            place[node] = place[node.inputs[0]]
            continue
        place[node] = node
        backward = isinstance(node.op, (Backward, SumTo)) or node.op.name.endswith("_backward")
        if backward or any(place[p] in below_gradient for p in node.inputs):
            below_gradient.add(node)
        kind = "input" if isinstance(node.op, Source) else "backward" if node in below_gradient else "forward"
        lines = [node.name if isinstance(node.op, Source) else node.op.name]
        if not isinstance(node.op, Backward):
            lines.append(f"{node.shape} {_bytes(_nbytes(node))}")
        if times.get(node, 0) and kind != "input":
            lines.append(f"{times[node] * 1e6:.0f} µs")
        boxes[node] = Box(lines, kind)
        arrows += [(place[p], node) for p in dict.fromkeys(node.inputs)]
    return boxes, list(dict.fromkeys(arrows))


def _nbytes(node):
    return int(np.prod([n or 1 for n in node.shape])) * node.dtype.itemsize


def _bytes(n):
    for unit in ("B", "KiB", "MiB"):
        if n < 1024 or unit == "MiB":
            return f"{n:.3g} {unit}"
        n /= 1024
    return ""


def _laid_out(boxes, arrows):
    try:
        import pygraphviz
    except ImportError:
        raise ImportError("laying out a graph needs Graphviz: pip install pygraphviz") from None
    layout = pygraphviz.AGraph(directed=True, strict=False)
    layout.graph_attr.update(nodesep="0.25", ranksep="0.35")
    layout.node_attr.update(shape="box", fixedsize="true", label="")  # without text, it looks for no fonts
    numbers = {key: str(i) for i, key in enumerate(boxes)}
    for key, box in boxes.items():
        box.width = round(18 + 5.6 * max(map(len, box.lines))) / INCH  # whole points, as Graphviz rounds them
        box.height = (10 + 12 * len(box.lines)) / INCH
        layout.add_node(numbers[key], width=box.width, height=box.height)
    for start, end in arrows:
        layout.add_edge(numbers[start], numbers[end])
    layout.layout(prog="dot")
    _, _, width, height = (float(n) / INCH for n in layout.graph_attr["bb"].split(","))
    for key, box in boxes.items():
        x, y = (float(n) / INCH for n in layout.get_node(numbers[key]).attr["pos"].split(","))
        box.x, box.y = x, height - y
    curves = {}
    for start, end in arrows:
        curve = layout.get_edge(numbers[start], numbers[end]).attr["pos"].replace("\\\n", "")
        tip, *points = [tuple(float(n) / INCH for n in p.split(",")[-2:]) for p in curve.split()]
        curves[start, end] = [(x, height - y) for x, y in (*points, tip)]
    layout.close()
    return Diagram(boxes, curves, width, height)


@dataclass(frozen=True)
class Moment:
    """One stop of the way back: a step passes its gradient on.

    Attributes
    ----------
    step : Step
    gradient : array
        What has arrived at it, and is passed on.
    waiting : dict of Step or Leaf: array
        The gradients that have arrived elsewhere so far.
    """

    step: Step
    gradient: np.ndarray
    waiting: dict


def moments(tensor, order=None):
    """Go the way back from a tensor of one element, perhaps in an order of one's own, and note every stop.

    The gradients are not added to the leaves; the last moment's `waiting` has those that arrived there.

    Parameters
    ----------
    order : list of Step, optional
        By default the right one, `steps_back(tensor.step)[0]`.

    Returns
    -------
    list of Moment
    """
    from minidl.ops import unbroadcast

    if not isinstance(tensor.step, Step):
        raise ValueError("a leaf has no way back to go")
    stops, waiting = [], {}

    def note(step, gradient, gradients):
        waiting.pop(step, None)
        for parent, g in zip(step.parents, gradients, strict=False):
            made = parent.tensor() if isinstance(parent, Leaf) else parent
            if made is not None and g is not None:
                g = unbroadcast(np.asarray(g), made.shape)
                waiting[parent] = waiting[parent] + g if parent in waiting else g
        stops.append(Moment(step, gradient, dict(waiting)))

    _, leaves = steps_back(tensor.step)
    before = [(leaf.tensor(), leaf.tensor() is not None and leaf.tensor().grad) for leaf in leaves]
    for leaf, _ in before:
        if leaf is not None:
            leaf.grad = None
    try:
        walk_back(tensor.step, np.ones(tensor.shape, tensor.dtype), order, on_step=note)
    finally:
        for leaf, grad in before:
            if leaf is not None:
                leaf.grad = grad
    return stops


__all__ = ["Box", "Diagram", "Leaf", "Moment", "diagram", "moments"]
