"""The elevator's drawings show each floor's numbers, can be read on a phone, and move without a kernel."""

import re

import numpy as np
import pytest
from matplotlib.text import Text

from figures import elevator, way_up
from minidl import layers
from minidl.instruments.elevator import ride
from minidl.instruments.style import LAYERS, to_svg
from minidl.models import began, gan, lenet
from minidl.tasks import data
from tests.drawings import EveryFrame, texts


def _rides():
    layers.seed(2)
    generator = np.random.default_rng(2)
    drawers = {
        "dense GAN": (gan.pretrained(), (3, 4)),
        "convolutional GAN": (gan.conv_gan(side=28), (13, 20)),
        "corner": (gan.conv_gan(side=8), (0, 7)),
        "BEGAN": (began.pretrained(), (7, 7)),
    }
    made = {name: ride(m, m.noise(1, generator), pixel, 1e10) for name, (m, pixel) in drawers.items()}
    made["LeNet"] = ride(lenet.pretrained(), data.digits().test.images[1], 9, 1e10)
    painter = layers.Sequential(
        layers.Dense(2, 4), layers.Reshape(2, 2, 1), layers.ConvTranspose2d(2, 3, 2, stride=3, bias=False)
    )
    made["colours"] = ride(painter, np.ones(2), (1, 2, 0), 1e10)  # a pixel that nothing paints
    return made


RIDES = _rides()
FRAMES = [
    pytest.param(elevator.draw(r, floor), id=f"{name}-{floor}")
    for name, r in RIDES.items()
    for floor in LAYERS
]
FRAMES += [pytest.param(way_up.draw(r.up()), id=f"{name}-up") for name, r in RIDES.items() if len(r.op.row)]


@pytest.mark.parametrize("figure", FRAMES)
class TestEveryFrame(EveryFrame):
    def test_nothing_is_written_outside_the_sheet(self, figure):
        figure.canvas.draw()
        width, height = figure.bbox.width, figure.bbox.height
        for text in figure.findobj(Text):
            if text.get_text().strip():
                extent = text.get_window_extent()
                assert extent.x0 > -1 and extent.y0 > -1, text
                assert extent.x1 < width * 1.01 + 1 and extent.y1 < height + 1, text


@pytest.mark.parametrize("name", RIDES)
def test_every_floor_shows_the_numbers_of_all_seven(name):
    for floor in LAYERS:
        shown = texts(elevator.draw(RIDES[name], floor))
        for value in RIDES[name].numbers.values():
            assert any(text.startswith(f"{value:.6f}".replace("-", "−")) for text in shown)
        assert sum(text.endswith(" =") for text in shown) == 6  # all but the first agree with the one above


def test_a_floor_that_does_not_agree_says_so():
    from dataclasses import replace

    good = RIDES["dense GAN"]
    broken = replace(good, checks=[replace(good.checks[0], here=5.0), *good.checks[1:]])
    assert sum(text.endswith(" ≠") for text in texts(elevator.draw(broken, 6))) == 1


def test_the_floors_name_the_thread_and_the_judge():
    drawn = RIDES["dense GAN"]
    assert f"{drawn.task.said['probability']:.1%} likely" in elevator.draw(drawn, 7).get_label()
    assert "thread (28, 0) of block (0, 0)" in elevator.draw(drawn, 2).get_label()
    assert "256 products and a bias" in elevator.draw(drawn, 3).get_label()
    assert f"{drawn.hardware.moved:,} moved" in elevator.draw(drawn, 1).get_label()


def test_two_sliders_move_number_and_floor():
    shown = elevator.elevator([RIDES["dense GAN"], RIDES["BEGAN"]], start=1)
    assert shown.labels == ("number", "floor") and len(shown) == 14
    assert shown.stops[0] == ("pixel (3, 4)", "pixel (7, 7)") and shown.stops[1][0] == "7 Task"
    assert "pixel (7, 7)" in shown.alts[shown.start]
    assert len(shown._repr_html_()) < 300_000


def test_live_rides_where_the_sliders_say():
    for model, z in ((gan.dense_gan(side=4, latent=3, hidden=(5,)), np.ones(3)), (lenet.lenet(), np.eye(8))):
        box = elevator.live(model, z)
        hint, *places, floor, says, shown = box.children
        assert "rest on the static page" in hint.value
        places[-1].value, floor.value = 2, 3
        assert "Floor 3, Op" in shown.value and re.search(r"2\)|class 2", shown.value)
        assert "ride took" in says.value


def test_there_are_seven_floors():
    with pytest.raises(ValueError, match="floor must be from 7 to 1, got 8"):
        elevator.draw(RIDES["dense GAN"], 8)


def test_the_digits_survive_in_the_page():
    """Coordinates are rounded, numbers that are written are not."""
    number = RIDES["dense GAN"].numbers[1]
    assert to_svg(elevator.draw(RIDES["dense GAN"], 1)).count(f">{number:.6f} =<".replace("-", "−")) >= 1
