"""The page of benchmarks copes with any record, shows where each comes from, and leaves none out silently."""

import json
import re

import pytest

from figures import all_reduces, ranks
from figures.recordings import coverage, overview, recordings
from minidl.instruments.stopwatch import Timing, Timings

ABOUT = {
    "devices": {"cpu": "Some <CPU>", "cuda": "Some GPU"},
    "date": "2031-02-03",
    "versions": {"numpy": "9.9"},
    "method": "with a sundial",
    "commit": "abc1234",
    "driver": "1.2",
}


def timing(rung, device, workload="n 10", seconds=(1e-3, 2e-3, 3e-3), **others):
    return Timing(rung, device, workload, seconds, 8, 4, **others)


@pytest.fixture
def folder(tmp_path):
    """Records of every kind that the package writes, and two that are none."""
    ladder = Timings(
        "sliding average",
        (timing("numpy", "cpu", floor=1e-4), timing("shared", "cuda", call=2e-3), timing("torch", "peer")),
        ABOUT,
    )
    skipped = Timings("matmul", (Timing("shared", "cuda", "n 10", skipped="no GPU here"),), ABOUT)
    bar = {"what": "shared", "against": "copy", "share": 0.5, "least": 0.8}
    checks = {"wrong": ["race in <x>"], "left out": ["racecheck"], "memcheck": "0 errors", "bars": [bar]}
    checked = Timings("GPU checks", (), ABOUT | {"checks": checks})
    step = Timings("training step", (Timing("minidl", "cuda", "LeNet", (0.1, 0.2)),), ABOUT)
    every = [json.loads(one.to_json()) for one in (ladder, skipped, checked, step)]
    (tmp_path / "cells.json").write_text(json.dumps({"about": ABOUT, "printed": {"a <cell>": "4 < 5"}}))
    (tmp_path / "some-gpu.json").write_text(json.dumps(every))
    (tmp_path / "damaged.json").write_text("{")
    (tmp_path / "other.json").write_text('{"about": {"date": "2030-01-01"}, "rows": [1]}')
    (tmp_path / "notes.txt").write_text("not a record")
    return tmp_path


def test_nothing_is_left_out(folder):
    found = recordings(folder)
    assert [one.file for one in found] == ["cells.json", "damaged.json", "other.json", *["some-gpu.json"] * 4]
    assert len(overview(found).rows) == 7
    assert "no record" in str(overview(recordings(folder / "nowhere")))


def test_each_says_where_it_comes_from(folder):
    found = recordings(folder)
    for one in found[:1] + found[3:]:
        text = one.show()._repr_html_()
        for fact in ("Some &lt;CPU&gt;", "Some GPU", "2031-02-03", "numpy 9.9", "with a sundial", "abc1234"):
            assert fact in text, (one.what, fact)


def test_a_comparison_is_drawn_with_its_medians_and_says_what_was_skipped(folder):
    shown = {one.what: one.show()._repr_html_() for one in recordings(folder)}
    assert "<svg" in shown["sliding average"] and "2 ms" in shown["sliding average"]
    assert "<svg" in shown["training step"]
    assert "no GPU here" in shown["matmul"] and "<svg" not in shown["matmul"]


def test_the_checks_of_a_gpu_are_told(folder):
    text = next(one for one in recordings(folder) if one.what == "GPU checks").show()._repr_html_()
    for fact in ("race in &lt;x&gt;", "left out: racecheck", "memcheck: 0 errors", "0.50", "<td>no</td>"):
        assert fact in text


@pytest.mark.parametrize("content", ["{", "[3]", "{}", '{"ladder": "x"}', '{"all-reduce": 3}', "null", "[]"])
def test_what_cannot_be_drawn_is_said_and_stops_nothing(tmp_path, content):
    (tmp_path / "odd.json").write_text(content)
    found = recordings(tmp_path)
    assert len(found) == (content != "[]")
    for one in found:
        assert "cannot draw" in one.show()._repr_html_()
        assert one.devices == one.date == "not noted"


def test_coverage_counts_only_what_has_times_from_that_device(folder):
    table = coverage(recordings(folder), ["matmul", "sliding average", "softmax"])
    assert [row[1:] for row in table.rows] == [
        ("missing", "missing"),
        ("Some <CPU>", "Some GPU"),
        ("missing", "missing"),
    ]
    assert "2 of 3 on a processor, 2 of 3 on a GPU" in table.caption


def test_the_books_own_records_can_all_be_drawn():
    found = recordings()
    assert any(one.file == ranks.RECORD for one in found)
    for one in found:
        text = one.show()._repr_html_()
        assert "cannot draw" not in text and one.date in text, one.file


def test_runs_of_libraries_are_drawn_where_they_have_losses_and_listed(tmp_path):
    runs = {"A": {"losses": [8.0, 2.0], "seconds": 0.002}, "B": {"losses": [8.0, 1.5], "right": 0.97}}
    (tmp_path / "runs.json").write_text(json.dumps({"about": ABOUT, "runs": runs}))
    (one,) = recordings(tmp_path)
    text = one.show()._repr_html_()
    assert one.what == "runs of A, B" and "B from 8 to 1.5" in text
    assert {"8 … 2 (2)", "2 ms", "0.97", "–"} <= set(re.findall(r"<td>([^<]*)</td>", text))


def test_a_drawing_alone_has_no_slider_that_would_move_nothing(tmp_path):
    record = ranks.record_of_all()
    record["runs"] = {"downpour": record["runs"]["downpour"]}
    record["all-reduce"] = [row for row in record["all-reduce"] if row["ranks"] == 2]
    (tmp_path / "ranks.json").write_text(json.dumps(record))
    (one,) = recordings(tmp_path)
    text = one.show()._repr_html_()
    assert text.count("<svg") == 2 and 'type="range"' not in text


class TestAllReduces:
    ROWS = ranks.record_of_all()["all-reduce"]

    def test_shows_each_algorithm_with_its_medians(self):
        figure = all_reduces.draw(self.ROWS, 2)
        names = {row["algorithm"] for row in self.ROWS if row["ranks"] == 2}
        lines = {line.get_label(): line for line in figure.axes[0].lines}
        assert set(lines) == names and all(name in figure.get_label() for name in names)
        for name, line in lines.items():
            rows = [row for row in self.ROWS if (row["ranks"], row["algorithm"]) == (2, name)]
            assert sorted(line.get_ydata()) == sorted(row["seconds"] for row in rows)

    def test_refuses_ranks_that_were_not_measured(self):
        with pytest.raises(ValueError, match=r"ranks must be one of \[2, 3, 4\], got 5"):
            all_reduces.draw(self.ROWS, 5)


def test_what_cells_printed_is_folded_under_their_names(folder):
    one = recordings(folder)[0]
    assert one.what == "what cells printed"
    assert "<summary>a &lt;cell&gt;</summary><pre>4 &lt; 5</pre>" in one.show()._repr_html_()
