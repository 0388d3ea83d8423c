"""Training steps take turns, and what is not here is said."""

import sys

import numpy as np
import pytest

from minidl.instruments import steps


def test_each_side_takes_its_turns():
    measured = steps.measure(["100 tiny operations"], rounds=2)
    (seconds,) = measured.values()
    assert {"dynamic", "compiled"} <= seconds.keys()
    assert all(len(taken) == 2 and min(taken) > 0 for taken in seconds.values())
    assert steps.table(measured).rows[0][:2] == ("100 tiny operations", "dynamic")


def test_the_table_divides_round_by_round():
    measured = {"CNN": {"dynamic": [1.0, 2.0, 4.0], "compiled": [1.0, 1.0, 1.0], "torch": [2.0, 2.0, 2.0]}}
    rows = steps.table(measured).rows
    assert [row[3] for row in rows] == ["1.00 × torch", "2.00 × torch, 2.00 × dynamic", ""]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc, on Linux")
def test_memory_is_that_of_the_step():
    taken = steps.measure_memory(["CNN"])["CNN"]
    activations = 64 * 28 * 28 * 16 * 4
    assert all(activations / 2 < peak < 40 * activations for peak in taken.values())
    assert steps.memory_table({"CNN": taken}).rows[0][:2] == ("CNN", "dynamic")


def test_unknown_steps_are_named():
    for measure in (steps.measure, steps.measure_memory):
        with pytest.raises(ValueError, match="no step 'x'; there are: CNN, dense GAN"):
            measure(["x"])


@pytest.mark.parametrize("name", steps.GROUPS)
def test_every_step_runs_and_compiled_ones_do_the_same(name):
    made = {side: make() for side, make in steps.GROUPS[name].items() if steps._can_run(side)}
    for step in made.values():
        for _ in range(2):
            step()


def test_tiny_operations_have_the_right_gradient():
    number = steps.graph.Tensor(np.float64(0.5), requires_grad=True)
    y = number
    for _ in range(50):
        y = y * number + number
    y.backward()
    want, slope = 0.5, 1.0
    for _ in range(50):
        want, slope = want * 0.5 + 0.5, slope * 0.5 + want + 1
    np.testing.assert_allclose((y.item(), number.grad), (want, slope))
