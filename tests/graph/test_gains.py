"""Each pass is measured with those before it, and drawn."""

import numpy as np

from figures import passes
from minidl.graph import static
from minidl.graph.gains import gains


def test_gains_are_measured_pass_by_pass():
    with static.Graph():
        x, w = static.placeholder((40, 50), name="x"), static.placeholder((50, 30), name="w")
        h = ((x * 1 @ w).tanh() + (x * 1 @ w).tanh()) * 2 + static.constant(1.0).exp()
        loss = ((h - 0.5) ** 2).mean()
        slope = static.gradients(loss, w)
    found = gains([loss, slope], {x: np.ones((40, 50)), w: np.ones((50, 30))}, repeat=3)
    assert [gain.name for gain in found] == ["none", "fold", "share", "fuse", "plan"]
    nodes = [gain.nodes for gain in found]
    assert nodes[0] > nodes[1] > nodes[2] > nodes[3] == nodes[4]
    assert found[-1].bytes < found[0].bytes == found[3].bytes
    assert found[0].ratio == 1 and all(gain.seconds > 0 for gain in found)
    figure = passes.draw(found)
    assert f"fuse loops: {nodes[3]} nodes" in figure.get_label()
