"""The way back through a graph, step by step, with the gradients that have arrived so far."""

from __future__ import annotations

import numpy as np

from figures import graph
from minidl.instruments.drawing import number


def draw(picture, moments, stop: int):
    """Return the drawing of one stop: the step whose turn it is, and the gradients that wait at others.

    Parameters
    ----------
    picture : Diagram
        From `minidl.graph.drawing.diagram(loss)`.
    moments : list of Moment
        From `minidl.graph.drawing.moments(loss)`.
    """
    moment = moments[stop]
    notes = {key: f"∂ = {_short(g)}" for key, g in moment.waiting.items()}
    notes[moment.step] = f"passes on {_short(moment.gradient)}"
    return graph.draw(picture, lit=[moment.step], notes=notes)


def _short(gradient):
    gradient = np.asarray(gradient)
    return number(gradient.item()) if gradient.size == 1 else f"array {gradient.shape}"


if __name__ == "__main__":
    from figures.write import write
    from minidl.graph import Tensor
    from minidl.graph.drawing import diagram, moments

    x = Tensor(3.0, requires_grad=True)
    y = x * x
    loss = y * y + y
    write(__file__, draw(diagram(loss, names={"x": x}), moments(loss), 2))
