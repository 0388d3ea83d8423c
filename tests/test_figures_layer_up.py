"""The drawing of the layer's second page shows what it is given, and says in words what it shows."""

import numpy as np
import pytest

from figures import fading
from tests.drawings import Widgets

LAYERS = np.arange(20)
FADING = [
    fading.draw(base ** LAYERS.astype(float), base ** LAYERS[::-1].astype(float), f"times {base}")
    for base in (0.5, 1, 2)
]
FRAMES = {"fading": FADING}


class TestDrawings(Widgets):
    drawings = FRAMES


def test_frames_share_their_axes():
    assert len({figure.axes[0].get_ylim() for figure in FADING}) == 1


@pytest.mark.parametrize(("figure", "factor"), list(zip(FADING, ("1.9e-06", "1", "5.2e+05"), strict=True)))
def test_says_what_becomes_of_the_signal_and_of_the_error(figure, factor):
    assert figure.get_label().count(f"becomes {factor} times as large") == 2


def test_curves_are_the_numbers_and_stay_in_the_frame():
    figure = fading.draw([1, 1e-3, 0.0], [1e30, 2.0, 1], "wild")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["signal, on the way forward"], [1, 1e-3, fading.LOW])
    np.testing.assert_allclose(lines["error, on the way back"], [fading.HIGH, 2, 1])


@pytest.mark.parametrize(("signals", "errors"), [([1, 2], [1]), ([1], [1]), ([[1, 2]], [[1, 2]])])
def test_refuses_curves_that_do_not_fit(signals, errors):
    with pytest.raises(ValueError, match="as many numbers"):
        fading.draw(signals, errors, "wrong")
