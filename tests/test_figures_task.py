"""The drawings of 7 Task compute what they show, and every frame of them can be read."""

import numpy as np
import pytest

from figures import (
    data_sizes,
    four_tasks,
    journey,
    lookalikes,
    memorising,
    surprise,
    training_run,
)
from tests.drawings import Widgets

RAMP = np.linspace(0, 1, 64).reshape(8, 8)
COUNTS, TAUGHT, FRESH = (20, 200, 1347), (1, 1, 0.99), (0.4, 0.8, 0.95)

#: Name → the frames of one widget, as the page shows them.
FRAMES = {
    "four_tasks": [
        four_tasks.draw("regression", np.arange(64.0), np.arange(60.0), "numbers", curves=True),
        four_tasks.draw("classification", RAMP, "4", "one of ten names"),
        four_tasks.draw("translation", "the first\nof may", "1900-05-01", "a sequence"),
        four_tasks.draw("synthesis", np.ones(32), RAMP, "something new"),
    ],
    "surprise": [surprise.draw(p) for p in (0.01, 0.5, 0.99, 1.0)],
    "memorising": [memorising.draw(COUNTS, TAUGHT, FRESH, i) for i in range(3)],
    "lookalikes": [lookalikes.draw(RAMP, RAMP * s, 1 - s, 1.2, "a seven") for s in (0.5, 0.8)],
    "training_run": [
        training_run.draw(np.stack([RAMP * s] * 8), 3, [2.0, 1.0, 0.9], [0.5, 1.0, 1.3], at)
        for s, at in ((0.2, 0), (0.5, 1), (1.0, 3))
    ],
    "journey": [journey.draw(RAMP, RAMP * (1 - s), RAMP.T, s, "goal 4") for s in (0, 0.5, 1)],
    "data_sizes": [data_sizes.draw({"few": 1797, "many": 15.6e12})],
}


class TestDrawings(Widgets):
    drawings = FRAMES


@pytest.mark.parametrize(("share", "loss"), [(0.5, "0.69"), (0.01, "4.61"), (1.0, "0.00")])
def test_surprise_is_minus_the_logarithm(share, loss):
    assert f"costs {loss};" in surprise.draw(share).get_label()


def test_a_task_says_both_of_its_sides():
    label = FRAMES["four_tasks"][2].get_label()
    assert label == "translation: given “the first of may”, wanted “1900-05-01”: a sequence."
    label = FRAMES["four_tasks"][0].get_label()
    assert "given a curve of 64 numbers between 0.0 and 63.0, wanted a curve of 60 numbers" in label


def test_both_curves_of_a_task_have_one_scale():
    figure = four_tasks.draw("regression", np.array([2.0, -2.0]), np.array([1.0, -1.0]), "half", curves=True)
    given, wanted = (line.get_ydata() for line in figure.axes[0].lines if line.get_marker() == ".")
    assert np.ptp(given) == pytest.approx(2 * np.ptp(wanted))


def test_every_data_set_has_its_number():
    assert data_sizes.draw({"few": 1797, "many": 2e6}).get_label() == "Examples: few 1,797; many 2,000,000."


def test_a_training_run_says_what_both_lose():
    alt = training_run.draw(np.zeros((4, 8, 8)), 2, [0.25, 9], [1.5, 9], 1).get_label()
    assert "After 1 of 2 epochs" in alt and "generator loses 0.25, the discriminator 1.50" in alt
