"""The drawings of tiles, trees and small integers compute what they show, and every frame can be read."""

import re

import numpy as np
import pytest

from figures import eight_bits, tiles, tree_sum
from tests.drawings import Widgets

VALUES = [-0.82, -0.35, -0.06, 0.0, 0.11, 0.42, 0.77, 1.31]

#: Name → the frames of one widget, as the page shows them.
FRAMES = {
    "tiles": [tiles.draw(side) for side in (1, 2, 4, 8)],
    "eight_bits": [eight_bits.draw(VALUES, bits) for bits in range(2, 9)],
    "tree_sum": [tree_sum.draw([4, 2, 5, 6, 2, 4, 7, 1], done) for done in range(4)],
}


class TestDrawings(Widgets):
    drawings = FRAMES


@pytest.mark.parametrize(("side", "ratio"), [(1, "0.5"), (2, "1"), (4, "2"), (8, "4")])
def test_a_number_serves_half_the_side_of_a_tile(side, ratio):
    assert f"{ratio} for each number" in tiles.draw(side).get_label()


def test_a_tree_adds_up_what_one_thread_would():
    numbers = [1, -2, 5, 6, 2, 4, 7, 1]
    assert f"After 3 of 3 rounds: {sum(numbers):g}. 1 thread added" in tree_sum.draw(numbers, 3).get_label()
    assert "After 1 of 3 rounds: 3, 2, 12, 7. 4 threads added" in tree_sum.draw(numbers, 1).get_label()


@pytest.mark.parametrize(("numbers", "done"), [([1, 2, 3], 1), ([1, 2], 2), ([1, 2], -1)])
def test_a_tree_needs_a_power_of_two_and_as_many_rounds(numbers, done):
    with pytest.raises(ValueError, match="2\\*\\*n numbers"):
        tree_sum.draw(numbers, done)


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_error_is_at_most_half_a_step_and_a_rounded_zero(bits):
    label = eight_bits.draw(VALUES, bits).get_label()
    step, error = (float(number) for number in re.findall(r"(?:step of|error is) ([\d.e-]+\d)", label))
    assert step == pytest.approx((1.31 + 0.82) / (2**bits - 1), rel=0.01)
    assert error <= step  # half of it, and up to another half where the zero point was rounded at an end


def test_zero_is_kept_exactly():
    assert "error is 0." in eight_bits.draw(np.array([0.0, 1.0]), 8).get_label()
