"""A ladder finds its rungs by name, place and device, and refuses two of one name."""

import pytest

from minidl.kernels.ladder import Ladder, Rung


def rung(name, device="cpu"):
    return Rung(name, device, lambda x: (name, x), "lesson", lambda n, itemsize=4: n * itemsize, lambda n: n)


LADDER = Ladder("test", (rung("reference"), rung("fast"), rung("naive", "cuda")), shape=lambda x: (x,))


def test_rungs_are_found_by_name_place_and_device():
    assert LADDER["fast"] is LADDER[1]
    assert LADDER.reference.name == "reference"
    assert [r.name for r in LADDER.on("cuda")] == ["naive"]
    assert [r.name for r in LADDER] == LADDER.names and len(LADDER) == 3


def test_a_rung_runs_and_accounts():
    assert LADDER["fast"](7) == ("fast", 7)
    assert LADDER["fast"].bytes(10) == 40 and LADDER["fast"].bytes(10, itemsize=8) == 80


def test_an_unknown_rung_is_named_with_those_there_are():
    with pytest.raises(KeyError, match="no rung 'slow'; its rungs are reference, fast, naive"):
        LADDER["slow"]


def test_two_rungs_of_one_name_are_refused():
    with pytest.raises(ValueError, match="different names"):
        Ladder("test", (rung("a"), rung("a")), shape=lambda x: (x,))


def test_a_ladder_shows_itself_as_a_table():
    page = Ladder("t", (rung("a <b>"),), shape=lambda x: (x,))._repr_html_()
    assert "<td>a &lt;b&gt;</td><td>cpu</td><td>lesson</td>" in page
