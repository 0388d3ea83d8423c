"""Frames hold what they were given, say it in words, and refuse what cannot be shown."""

import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from minidl.hardware.device import Device
from minidl.instruments import style
from minidl.instruments.stopwatch import Timing, Timings
from minidl.instruments.widgets import frames, picture, timing_explorer
from minidl.kernels.ladder import Ladder, Rung


def svg(text):
    return f'<svg viewBox="0 0 10 10">\n<rect/>\n<text>{text}</text>\n</svg>'


def data_of(widget):
    page = widget._repr_html_()
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])


def redrawn(widget):
    """Return every frame as the page's script puts it together."""
    data = data_of(widget)
    return ["\n".join(data["parts"][line] for line in frame) for frame in data["frames"]]


def test_every_frame_comes_out_as_it_went_in():
    drawn = [svg(k) for k in "abc"]
    assert redrawn(frames(drawn, "letter", alts=list("abc"))) == drawn


def test_shared_lines_are_stored_once():
    assert len(data_of(frames([svg(k) for k in range(50)], "k", alts=list(range(50))))["parts"]) == 50 + 3


def test_first_frame_is_shown_without_any_script():
    page = frames([svg(k) for k in "abc"], "letter", alts=list("abc"), start=1)._repr_html_()
    before_script = page.split("<script")[0]
    assert "<text>b</text>" in before_script and "<text>a</text>" not in before_script
    assert 'aria-label="b"' in before_script and 'value="1"' in before_script


def test_what_stands_above_a_frame_changes_with_it():
    links = [f'<p>\n<a href="{k}.html">{k}</a>\n</p>' for k in "abc"]
    widget = frames([svg(k) for k in "abc"], "letter", alts=list("abc"), start=1, above=links)
    data = data_of(widget)
    assert ["\n".join(data["parts"][line] for line in lines) for lines in data["above"]] == links
    stage = widget._repr_html_().split("<script")[0]
    assert stage.index('<a href="b.html">') < stage.index("<text>b</text>") and "a.html" not in stage
    assert "above" not in data_of(frames([svg(1), svg(2)], "k", alts=list("ab")))


def test_headings_belong_to_the_positions_of_the_last_slider():
    rows = [[svg(1), svg(2)], [svg(3), svg(4)], [svg(5), svg(6)]]
    words = [["a", "b"], ["c", "d"], ["e", "f"]]
    assert data_of(frames(rows, ("k", "l"), alts=words, anchors=["one", "two"]))["anchors"] == ["one", "two"]
    with pytest.raises(ValueError, match="anchors must have 2 entries, one per position, got 3"):
        frames(rows, ("k", "l"), alts=words, anchors=list("abc"))
    with pytest.raises(ValueError, match="above must have 6 entries, one per frame, got 4"):
        frames(rows, ("k", "l"), alts=words, above=[["a", "b"], ["c", "d"]])


def test_two_sliders_run_row_after_row():
    widget = frames(
        [[svg(f"{row}{column}") for column in "xyz"] for row in "ab"],
        ("row", "column"),
        names=(list("ab"), list("xyz")),
        alts=[[f"{row}{column}" for column in "xyz"] for row in "ab"],
        start=4,
    )
    page = widget._repr_html_()
    assert len(widget) == 6 and page.count('type="range"') == 2
    assert data_of(widget)["alts"] == ["ax", "ay", "az", "bx", "by", "bz"]
    assert re.findall(r'aria-valuetext="(\w)"', page) == ["b", "y"]  # 4 is row 1, column 1


def test_figures_bring_their_own_words():
    figure, _ = style.new_figure(2, 1)
    style.describe(figure, "nothing at all")
    assert frames([figure, figure], "k").alts == ("nothing at all",) * 2
    assert 'aria-label="nothing at all"' in picture(figure)._repr_html_()


def test_a_notebook_keeps_the_drawings_once():
    drawing = svg("only here")
    assert "only here" not in repr(frames([drawing, drawing], "k", alts=list("ab"))) + repr(
        picture(drawing, "a")
    )


def test_words_and_names_are_escaped():
    page = frames([svg(1), svg(2)], 'a "label" <b>', alts=['"quoted" </script>', "x"])._repr_html_()
    assert page.count("</script>") == 2  # the two that we open ourselves
    assert "&quot;quoted&quot;" in page and "a &quot;label&quot; &lt;b&gt;" in page


def test_a_page_can_be_read_by_keyboard_and_screen_reader():
    page = frames([svg(k) for k in range(3)], "step", alts=list("abc"))._repr_html_()
    assert 'role="img"' in page and 'aria-label="step"' in page and 'aria-label="Play"' in page


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (([], "k"), {}, "at least one"),
        (([svg(1)], ""), {"alts": ["a"]}, "label"),
        (([svg(1)], ("a", "b")), {"alts": ["a"]}, "label must be one name"),
        (([[svg(1)], [svg(2)]], "k"), {"alts": [["a"], ["b"]]}, "label must be a pair"),
        (([[svg(1)], []], ("a", "b")), {}, "rows of one length"),
        (([svg(1), svg(2)], "k"), {"alts": ["a"]}, "alts must have 2"),
        (([svg(1), svg(2)], "k"), {"alts": ["a", "b"], "names": ["x"]}, "names must have"),
        (([svg(1)], "k"), {"alts": ["a"], "start": 1}, "start must be from 0 to 0"),
        (([svg(1)], "k"), {}, r"figures\[0\] has no text alternative"),
        (([Figure()], "k"), {}, r"figures\[0\] has no text alternative"),
    ],
)
def test_bad_values_are_named(arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        frames(*arguments, **keywords)


@pytest.mark.parametrize("frame", ["<p>no svg</p>", 3, None])
def test_what_is_no_drawing_is_refused(frame):
    with pytest.raises(TypeError, match=r"figures\[0\] must be"):
        frames([frame], "k", alts=["a"]) if isinstance(frame, str) else picture(frame, alt="a")


def halving(example=lambda n: (np.ones(n, np.float32),)):
    def half(a, out=None):
        return np.multiply(a, np.float32(0.5), out=out)

    def rung(name, device="cpu"):
        return Rung(name, device, half, "", lambda n, itemsize=4: 2 * n * itemsize, lambda n: n)

    rungs = (rung("numpy"), rung("again"), rung("gpu", "cuda"))
    return Ladder("halving", rungs, shape=lambda a: (a.size,), example=example)


class TestTimingExplorer:
    def parts(self, explorer):
        hint, size, rungs, button, says, chart = explorer.children[:6]
        return hint, size, rungs, button, says, chart

    def test_it_has_measured_before_anybody_presses(self):
        *_, says, chart = self.parts(timing_explorer(halving(), sizes=[100, 200]))
        assert says.value.startswith("live: ") and "100 elements" in chart.value

    def test_pressing_times_what_was_chosen(self):
        _, size, rungs, button, _, chart = self.parts(timing_explorer(halving(), sizes=[100, 200]))
        size.value, rungs.value = 200, ("again",)
        button.click()
        assert "200 elements: again" in chart.value and "numpy" not in chart.value
        assert not button.disabled

    def test_it_says_that_it_needs_a_kernel(self):
        assert "rest on the static page" in self.parts(timing_explorer(halving(), sizes=[100]))[0].value

    def test_nothing_chosen_is_said(self):
        _, _, rungs, button, says, _ = self.parts(timing_explorer(halving(), sizes=[100]))
        rungs.value = ()
        button.click()
        assert "at least one" in says.value

    @pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
    def test_without_a_gpu_its_rungs_cannot_be_chosen(self):
        assert self.parts(timing_explorer(halving(), sizes=[100]))[2].options == ("numpy", "again")

    @pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
    def test_without_a_gpu_what_was_recorded_on_one_stands_below(self, monkeypatch):
        records = [
            Timings("halving", (Timing("there", kind, "w", (1.0,)),), {"devices": {kind: name}}, live=False)
            for kind, name in (("cpu", "A processor"), ("cuda", "A GPU"))
        ]
        monkeypatch.setattr("minidl.instruments.widgets.recorded", lambda name: records)
        *_, last = timing_explorer(halving(), sizes=[100]).children
        assert "A GPU" in last.value and len(timing_explorer(halving(), sizes=[100]).children) == 7

    def test_what_goes_wrong_is_shown(self, monkeypatch):
        def fail(*arguments, **keywords):
            raise RuntimeError("<no>")

        monkeypatch.setattr("minidl.instruments.widgets.compare", fail)
        _, _, _, button, says, _ = self.parts(timing_explorer(halving(), sizes=[100]))
        assert "&lt;no&gt;" in says.value and not button.disabled

    def test_bad_arguments_are_named(self):
        with pytest.raises(ValueError, match="'halving' has no example"):
            timing_explorer(halving(example=None))
        with pytest.raises(ValueError, match="at least one size"):
            timing_explorer(halving(), sizes=[])
        with pytest.raises(ValueError, match="sizes must be at least 1, got 0"):
            timing_explorer(halving(), sizes=[0])
