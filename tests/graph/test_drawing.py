"""Graphs are laid out and drawn with what they are said to show, and the way back can be watched."""

import subprocess
import sys

import numpy as np
import pytest

from figures import graph as picture
from figures import way_back
from minidl.graph import Tensor, static
from minidl.graph.drawing import diagram, moments
from minidl.graph.dynamic import steps_back
from minidl.instruments.style import to_svg


def apart(d):
    """No two boxes overlap, and all lie on the sheet."""
    boxes, slack = list(d.boxes.values()), 0.03  # Graphviz rounds
    for i, a in enumerate(boxes):
        assert a.width / 2 - slack <= a.x <= d.width - a.width / 2 + slack
        assert a.height / 2 - slack <= a.y <= d.height - a.height / 2 + slack
        for b in boxes[:i]:
            assert abs(a.x - b.x) >= (a.width + b.width) / 2 or abs(a.y - b.y) >= (a.height + b.height) / 2


def test_a_dynamic_graph_is_drawn_from_its_leaves_down():
    x = Tensor(np.ones((4, 3)), requires_grad=True)
    w = Tensor(np.ones((3, 2)), requires_grad=True)
    loss = ((x @ w).tanh() ** 2).sum()
    d = diagram(loss, names={"x": x, "w": w})
    apart(d)
    assert [box.lines[0] for box in d.boxes.values()][-4:] == ["matmul", "tanh", "square", "sum"]
    assert {box.lines[0] for box in d.boxes.values() if box.kind == "input"} == {"x", "w"}
    assert all(d.boxes[a].y < d.boxes[b].y for a, b in d.arrows)
    assert d.boxes[loss.step].lines == ["sum", "()"]
    svg = to_svg(picture.draw(d, lit=[loss.step]))
    assert "matmul" in svg and "keeps 144 B" in svg
    with pytest.raises(ValueError, match="no graph"):
        diagram(Tensor(1.0))


def test_a_program_is_drawn_with_shapes_bytes_and_times():
    with static.Graph():
        x, w = static.placeholder((64, 100), name="x"), static.placeholder((100, 10), name="w")
        loss = (static.matmul(x, w).relu() ** 2).mean()
        slope = static.gradients(loss, w)
    feed = {x: np.ones((64, 100)), w: np.ones((100, 10))}
    with static.Session() as session:
        program = session.program([loss, slope], feed)
        d = diagram(program, session.time([loss, slope], feed, repeat=3))
    apart(d)
    text = {box.lines[0]: box for box in d.boxes.values()}
    assert text["x"].lines == ["x", "(64, 100) 25 KiB"] and text["x"].kind == "input"
    assert text["matmul"].kind == "forward" and text["matmul"].lines[2].endswith("µs")
    assert text["matmul_backward"].kind == "backward"
    assert "part" not in text
    assert "matmul_backward" in picture.draw(d).get_label()
    assert len(diagram([loss]).boxes) < len(d.boxes)


def test_the_way_back_is_watched_and_leaves_no_trace():
    x = Tensor(3.0, requires_grad=True)
    x.grad = 7.0
    y = x * x
    loss = y * y + y
    stops = moments(loss)
    assert [stop.step.op.name for stop in stops] == ["add", "multiply", "multiply"]
    assert stops[-1].waiting[x.step] == 4 * 27 + 6 and x.grad == 7
    early = [stops[0].step, y.step, stops[1].step]
    assert moments(loss, order=early)[-1].waiting[y.step] == 18, "it comes too late to be passed on"
    assert moments(loss, order=early)[1].waiting[x.step] == 6
    assert steps_back(loss.step)[0] == [stop.step for stop in stops]
    drawing = way_back.draw(diagram(loss, names={"x": x}), stops, 2)
    assert "passes on 19" in to_svg(drawing) and "∂ = 114" in to_svg(drawing)
    with pytest.raises(ValueError, match="leaf"):
        moments(x)


def test_without_pygraphviz_everything_else_works_and_drawing_says_what_is_missing():
    code = (
        "import sys; sys.modules['pygraphviz'] = None\n"
        "from minidl.graph import Tensor\n"
        "from minidl.graph.drawing import diagram\n"
        "x = Tensor(1.0, requires_grad=True)\n"
        "try: diagram(x * 2)\n"
        "except ImportError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install pygraphviz" in result.stdout
