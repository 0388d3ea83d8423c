"""The elevator's drawings show each floor's numbers, can be read on a phone, and move without a kernel."""

import re
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from matplotlib.text import Text

from book.build import ROOT
from figures import elevator, way_up
from minidl import layers
from minidl.instruments.drawing import number
from minidl.instruments.elevator import ride
from minidl.instruments.style import LAYERS, to_svg
from minidl.models import began, gan, lenet
from minidl.tasks import data
from tests.drawings import Figures


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


def read(page):
    return nbformat.read(ROOT / "book" / f"{page}.ipynb", as_version=4).cells


RIDES = _rides()
EXAMPLE = elevator.example(bandwidth=1e10)
FRAMES = {f"{name}-{floor}": elevator.draw(r, floor) for name, r in RIDES.items() for floor in LAYERS}
FRAMES |= {f"{name}-up": way_up.draw(r.up()) for name, r in RIDES.items() if len(r.op.row)}


class TestDrawings(Figures):
    drawings = FRAMES

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
        shown = elevator.numbers(RIDES[name], floor)
        for value in RIDES[name].numbers.values():
            assert f">{value:.6f}".replace("-", "−") in shown
        assert shown.count(">=<") == 6  # all but the first agree with the one above
        assert shown.count('aria-current="true"') == 1


def test_a_floor_that_does_not_agree_says_so():
    good = RIDES["dense GAN"]
    broken = replace(good, checks=[replace(good.checks[0], here=5.0), *good.checks[1:]])
    assert elevator.numbers(broken, 6).count(">≠<") == 1


def test_every_floor_links_to_its_two_pages():
    """The elevator's own page stands in the folder of the appendix, beside the chapters."""
    links = re.findall(r'<a href="(.*?)" aria-label="(.*?)">', elevator.numbers(RIDES["LeNet"], 5))
    assert len(links) == 14 and ("../5_layer/down.html", "5 Layer: ↓ theory") in links
    for address, name in links:
        floor, word, half = re.fullmatch(r"\.\./(\d)_(\w+)/(down|up)\.html", address).groups()
        assert name == f"{floor} {word.title()}: {'↓ theory' if half == 'down' else '↑ code'}"
        assert (ROOT / "book" / f"{floor}_{word}" / f"{half}.ipynb").exists()


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


def test_a_link_to_a_heading_brings_the_elevator_to_its_floor():
    text = "\n".join(cell.source for cell in read("appendix/elevator"))
    titles = re.findall(r"^### (Floor .*)$", text, re.M)
    slugs = [
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles
    ]  # as GitHub makes them
    assert elevator.elevator([EXAMPLE], headings=True).anchors == tuple(slugs)
    assert len(slugs) == 7 and text.count("headings=True") == 1


@pytest.mark.parametrize("floor", LAYERS)
def test_every_way_down_stops_at_the_same_pixel(floor):
    name = LAYERS[floor][0].lower()
    cells = read(f"{floor}_{name}/down")
    (stop,) = [i for i, cell in enumerate(cells) if f"elevator.stop({floor})" in cell.source]
    assert f"(../appendix/elevator.ipynb#{elevator.HEADINGS[floor]})" in cells[stop - 1].source
    shown = elevator.stop(floor)
    assert "pixel (3, 4)" in shown.alt and shown.above.count('class="osi-floor') == min(2, 8 - floor)
    assert "<a " not in shown.above  # the page has the links already
    for at in {floor, min(floor + 1, 7)}:
        assert f">{EXAMPLE.numbers[at]:.6f}" in shown.above
    assert len(shown._repr_html_()) < 60_000


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
    with pytest.raises(ValueError, match="floor must be from 7 to 1, got 0"):
        elevator.stop(0)


def test_the_digits_survive_in_the_page():
    """Coordinates are rounded, numbers that are written are not."""
    drawn = RIDES["dense GAN"]
    assert f">from 0 to {number(drawn.op.total, 6)}<" in to_svg(elevator.draw(drawn, 3))
