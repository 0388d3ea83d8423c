"""The benchmark covers every ladder, pairs minidl with its peers, and never leaves half a record."""

import dataclasses
import json

import numpy as np
import pytest

from minidl.instruments import bench
from minidl.instruments.stopwatch import Timing, Timings


def test_every_ladder_has_a_case_whose_arguments_its_rungs_take():
    seen = set()
    for case in bench.cases(quick=True):
        seen.add(case.ladder.name)
        assert case.ladder.shape(*case.arguments)
        arrays = [array for array in case.arguments if isinstance(array, np.ndarray)]
        floats = [array for array in arrays if array.dtype.kind == "f"]  # quantised ones are 8-bit integers
        assert arrays and all(array.dtype == np.float32 for array in floats)
    assert seen == bench.ladders().keys()


@pytest.mark.parametrize("name", sorted(bench._WORKLOADS))
def test_peers_compute_the_same_thing(name):
    """Where a peer's result can be compared with the reference's, value by value, it is."""
    assert name in bench.ladders(), "workloads are registered under the name of a ladder"
    for case in bench.cases([name], quick=True):
        want = case.ladder.reference(*case.arguments)
        want = want[0] if isinstance(want, tuple) else want
        assert case.peers or bench.find_spec("torch") is None
        for peer, call in case.peers.items():
            got = call()
            got = got[0] if isinstance(got, tuple) else got
            got = np.asarray(got) if got is not None else want
            if name == "sliding average":
                continue  # their windows end differently at the edges; see the next test
            np.testing.assert_allclose(got.reshape(np.shape(want)), want, rtol=1e-3, atol=1e-3, err_msg=peer)


def test_sliding_average_peers_agree_away_from_the_edges():
    case = next(iter(bench.cases(["sliding average"], quick=True)))
    want = case.ladder.reference(*case.arguments)
    # Bottleneck corrects one float32 sum all the way through, and drifts: by 3e-5 after a million values.
    np.testing.assert_allclose(case.peers["bottleneck"]()[1:], want, atol=1e-4)
    assert case.peers.keys() >= {"bottleneck", "scipy", "numpy copy"}


def test_unknown_ladders_are_named_before_anything_runs():
    with pytest.raises(ValueError, match="no ladder 'x'"):
        bench.cases(["x"])


def timings(ladder="sliding average", workload="w", interrupted=False):
    results = (
        Timing("reference", "cpu", workload, (9.0,)),
        Timing("numba naive", "cpu", workload, (4.0, 4.0, 4.0)),
        Timing("numba doubling", "cpu", workload, (1.0, 2.0, 1.0)),
        Timing("cuda naive", "cuda", workload, (0.5, 0.5, 0.5), call=0.25),
        Timing("cuda shared", "cuda", workload, skipped="not timed"),
        Timing("peer", "peer", workload, (4.0, 5.0, 3.0)),
        Timing("peer cuda", "peer", workload, (1.0, 1.0, 1.0)),
        Timing("absent", "peer", workload, skipped="interrupted"),
    )
    return Timings(ladder, results, {"date": "then"}, interrupted=interrupted)


def test_the_summary_sets_the_best_rung_of_the_same_kind_beside_each_peer():
    rows = bench.summary([timings()]).rows
    assert rows == (
        ("sliding average", "w", "numba doubling", "1 s", "peer", "4 s", "3.00"),
        ("sliding average", "w", "cuda naive", "500 ms", "peer cuda", "1 s", "2.00"),
    )


def test_the_summary_of_what_was_recorded_says_where():
    about = {"devices": {"cpu": "A processor"}, "date": "then", "method": "m", "versions": {"torch": "9"}}
    recorded = [dataclasses.replace(timings(workload=w), live=False, provenance=about) for w in "ab"]
    caption = bench.summary(recorded).caption.splitlines()
    assert caption[1:] == ["recorded: A processor, then; m; torch 9"] and "Not installed" not in caption[0]


def test_records_are_replaced_ladder_by_ladder_and_whole(tmp_path):
    file = tmp_path / "new folder" / "device.json"
    bench.save([timings("sum"), timings("maximum")], file)
    bench.save([timings("sum", "a"), timings("sum", "b"), timings("softmax", interrupted=True)], file)
    contents = json.loads(file.read_text("utf-8"))
    assert [(c["ladder"], c["results"][0]["workload"]) for c in contents] == [
        ("maximum", "w"),
        ("sum", "a"),
        ("sum", "b"),
    ]
    assert list(file.parent.iterdir()) == [file]


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    file = tmp_path / "device.json"
    bench.save([timings("sum")], file)
    before = file.read_text("utf-8")
    monkeypatch.setattr(bench.Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        bench.save([timings("maximum")], file)
    assert file.read_text("utf-8") == before
    assert list(tmp_path.iterdir()) == [file]


def test_an_interrupted_ladder_keeps_its_old_record(tmp_path):
    file = tmp_path / "device.json"
    bench.save([timings("sum")], file)
    bench.save([timings("sum", interrupted=True)], file)
    assert [content["ladder"] for content in json.loads(file.read_text("utf-8"))] == ["sum"]
