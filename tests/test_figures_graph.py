"""The drawings of 4 Graph compute what they show, and every frame of them can be read."""

import re
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.text import Text

from figures import cuts, downpour, passes, pipeline, two_layers, two_ways
from minidl.graph.gains import Gain
from minidl.instruments.style import to_svg
from tests.drawings import Figures

SIZES = [100, 256, 512, 784]

#: Name → the frames of one widget, as the page shows them.
FRAMES = {
    "two_ways": [two_ways.draw(2, 3, -0.5, stop, order) for order in two_ways.ORDERS for stop in range(10)],
    "cuts": [cuts.draw(SIZES, 64, cut) for cut in cuts.CUTS],
    "pipeline": [pipeline.draw(4, parts) for parts in (1, 2, 4, 8, 16)],
    "two_layers": [
        two_layers.draw({name: two_layers.recorded(name)["losses"] for name in ("JAX", "PyTorch")})
    ],
    "passes": [passes.draw([Gain("none", 81, 8_000_000, 0.06, 1.0), Gain("plan", 38, 5_000_000, 0.04, 0.7)])],
    "downpour": [downpour.draw(workers, rate) for rate in (0.2, 0.5, 0.8) for workers in (1, 2, 3, 4)],
}


class TestDrawings(Figures):
    drawings = FRAMES


@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_one_widget_have_one_size(name):
    assert len({tuple(figure.get_size_inches()) for figure in FRAMES[name]}) == 1


@pytest.mark.parametrize("name", ["cuts", "pipeline", "downpour"])
def test_frames_of_one_widget_differ(name):
    assert len({to_svg(figure) for figure in FRAMES[name]}) == len(FRAMES[name])


class TestTwoWays:
    """The two orders differ in their last two stops only."""

    def test_all_stops_of_the_right_order_differ(self):
        assert len({to_svg(figure) for figure in FRAMES["two_ways"][:10]}) == 10

    def test_a_wrong_order_shows_from_where_it_departs(self):
        right, wrong = ([to_svg(figure) for figure in FRAMES["two_ways"][i : i + 10]] for i in (0, 10))
        assert right[:8] == wrong[:8]
        assert right[8] != wrong[8] and right[9] != wrong[9]

    @pytest.mark.parametrize("leaves", [(2, 3, -0.5), (0.7, -1.2, 2.5)])
    def test_the_right_order_gives_the_slopes_of_the_loss(self, leaves):
        def loss(w, x, v):
            return (w * x + w * x * v - 1) ** 2

        found = two_ways.gradients(*leaves)
        for i, name in enumerate("wxv"):
            ahead, behind = (np.add(leaves, hair * np.eye(3)[i]) for hair in (1e-5, -1e-5))
            assert found[name] == pytest.approx((loss(*ahead) - loss(*behind)) / 2e-5, rel=1e-6)

    def test_too_early_loses_what_comes_through_z(self):
        right, wrong = two_ways.gradients(2, 3, -0.5), two_ways.gradients(2, 3, -0.5, "h too early")
        assert right == {"w": 6, "x": 4, "v": 24}
        assert wrong == {"w": 12, "x": 8, "v": 24}

    def test_the_words_and_the_boxes_agree(self):
        texts = [text.get_text() for text in FRAMES["two_ways"][8].findobj(Text)]
        assert "h has now 4 + (−2) = 2, complete." in texts
        assert "∂ = 2" in texts and "∂ = 24" in texts


class TestCuts:
    @pytest.mark.parametrize(
        ("cut", "expected"),
        [
            ("one device", (558_080, 0, 0)),
            ("data parallel", (558_080, 4 * 558_080, 0)),
            ("model parallel", (401_408, 0, 2 * 64 * 768)),
            ("both", (401_408, 2 * 558_080, 2 * 64 * 768)),
        ],
    )
    def test_traffic(self, cut, expected):
        assert cuts.traffic(SIZES, 64, cut) == expected

    @pytest.mark.parametrize(("cut", "devices"), list(zip(cuts.CUTS, (1, 4, 3, 6), strict=True)))
    def test_every_device_has_a_part_of_the_grid(self, cut, devices):
        texts = {text.get_text() for text in cuts.draw(SIZES, 64, cut).findobj(Text)}
        assert {text for text in texts if re.fullmatch(r"device \d", text)} == {
            f"device {i}" for i in range(devices)
        }


@pytest.mark.parametrize("parts", [1, 2, 4, 8, 16])
class TestPipeline:
    def test_no_device_does_two_things_at_once(self, parts):
        for stage in range(4):
            work = sorted((start, takes) for s, start, takes, _ in pipeline.schedule(4, parts) if s == stage)
            for (start, takes), (following, _) in pairwise(work):
                assert start + takes <= following + 1e-9

    def test_nothing_starts_before_what_it_needs(self, parts):
        work = pipeline.schedule(4, parts)
        starts = {(s, ahead): [] for s in range(4) for ahead in (True, False)}
        for stage, start, takes, ahead in work:
            starts[stage, ahead].append((start, start + takes))
        for stage in range(3):
            for (_, end), (start, _) in zip(starts[stage, True], starts[stage + 1, True], strict=True):
                assert end <= start + 1e-9
            for (start, _), (_, end) in zip(starts[stage, False], starts[stage + 1, False], strict=True):
                assert end <= start + 1e-9

    def test_the_bubble_is_as_the_paper_says(self, parts):
        assert 3 / pipeline.length(4, parts) == pytest.approx(parts / (parts + 3))


class TestDownpour:
    def test_one_worker_is_plain_descent(self):
        assert downpour.train(1, 0.2, 5) == pytest.approx([0.8**i for i in range(6)])

    def test_gradients_are_as_old_as_there_are_other_workers(self):
        history = downpour.train(3, 0.5, 20)
        for i in range(20):
            assert history[i + 1] == pytest.approx(history[i] - 0.5 * history[max(i - 2, 0)])

    @pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
    def test_it_flies_apart_where_theory_says(self, workers):
        """w' = w - rate · w, `d` updates late, is stable below 2 sin(π / (4 d + 2))."""
        limit = 2 * np.sin(np.pi / (4 * (workers - 1) + 2))
        assert abs(downpour.train(workers, 0.97 * limit, 3000)[-1]) < 1e-3
        assert max(map(abs, downpour.train(workers, 1.03 * limit, 3000)[-50:])) > 10


def by_hand(x, y, w1, w2):
    for _ in range(two_layers.STEPS):
        h = np.maximum(x @ w1, 0)
        diff = h @ w2 - y
        yield (diff**2).sum(axis=1).mean()
        g = 2 / len(x) * diff
        w1, w2 = (
            w1 - two_layers.RATE * (x.T @ (g @ w2.T * (h > 0))),
            w2 - two_layers.RATE * (h.T @ g),
        )


class TestTwoLayers:
    """What the libraries got was recorded, and is what NumPy gets."""

    @pytest.mark.parametrize("name", two_layers.LIBRARIES)
    def test_recorded_losses_are_those_of_numpy_in_float64(self, name):
        found = two_layers.recorded(name)
        expected = list(by_hand(*(array.astype(np.float64) for array in two_layers.data().values())))
        np.testing.assert_allclose(found["losses"], expected, rtol=1e-4)
        assert found["seconds"] > 0

    @pytest.mark.parametrize("name", two_layers.LIBRARIES)
    def test_without_the_library_the_record_says_where_it_is_from(self, name, monkeypatch):
        monkeypatch.setattr(two_layers, "find_spec", lambda package: None)
        found = two_layers.live_or_recorded(name)
        assert f"{name} is not installed here: recorded with {name}" in found["source"]
        assert re.search(r"on .+, \d+ cores, \d{4}-\d\d-\d\d$", found["source"])

    @pytest.mark.parametrize("name", two_layers.LIBRARIES)
    def test_with_the_library_it_runs(self, name):
        pytest.importorskip(two_layers.LIBRARIES[name][0], reason=f"{name} is not installed")
        found = two_layers.live_or_recorded(name)
        np.testing.assert_allclose(found["losses"], two_layers.recorded(name)["losses"], rtol=1e-4)
        assert found["source"].startswith("live")

    def test_a_name_that_is_none(self):
        with pytest.raises(ValueError, match="'Caffe2'"):
            two_layers.live_or_recorded("Caffe2")

    def test_a_style_that_changes_what_it_is_given_is_told_so(self):
        def careless(x, y, w1, w2):
            for step in range(10):
                w1 += 1
                yield step

        with pytest.raises(ValueError, match="changed w1"):
            two_layers.run(careless, two_layers.data(), repeat=1)
