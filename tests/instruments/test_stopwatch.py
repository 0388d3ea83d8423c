"""The stopwatch times what it says, in turns, says what it left out, and keeps its records."""

import time

import numpy as np
import pytest

from minidl.hardware.device import Device
from minidl.instruments.stopwatch import Table, Timing, Timings, compare, provenance
from minidl.instruments.style import to_svg
from minidl.kernels.ladder import Ladder, Rung

CALLS = []


def sleeper(name, seconds, device="cpu", work=1):
    def run(a, out=None):
        CALLS.append((name, out is not None))
        time.sleep(seconds * a.size)
        return np.zeros(1, a.dtype) if out is None else out

    account = {"bytes": lambda n, itemsize=4: n * itemsize * work, "flops": lambda n: n * work}
    return Rung(name, device, run, "", **account)


def ladder(*rungs):
    return Ladder("sleeping", rungs, shape=lambda a: (a.size,), example=lambda n: (np.ones(min(n, 10)),))


@pytest.fixture(autouse=True)
def forget_calls():
    CALLS.clear()


ONE = np.ones(1, np.float32)


def test_medians_are_of_what_ran():
    timings = compare(ladder(sleeper("slow", 0.004), sleeper("fast", 0.001)), {"nap": (ONE,)}, repeat=5)
    slow, fast = timings["slow", "nap"], timings["fast", "nap"]
    assert slow.median >= 0.004 and slow.median > fast.median >= 0.001
    assert slow.quartiles[0] <= slow.median <= slow.quartiles[1]
    assert len(slow.seconds) == len(fast.seconds) == 5


def test_rungs_take_turns_and_write_into_what_is_there():
    compare(ladder(sleeper("a", 0), sleeper("b", 0)), {"nap": (ONE,)}, repeat=3)
    assert CALLS[-6:] == [("a", True), ("b", True)] * 3


def test_rates_follow_from_the_account():
    timing = Timing("r", "cpu", "w", (1.0, 2.0, 3.0), bytes=8, flops=6, floor=1.0)
    assert (timing.bandwidth, timing.flop_rate, timing.share) == (4.0, 3.0, 0.5)


def test_too_slow_is_left_out_with_its_estimate():
    rung = sleeper("slow", 1e-4)
    timings = compare(ladder(rung), {"long": (np.ones(1_000_000, np.float32),)}, budget=0.01)
    assert timings["slow", "long"].skipped.startswith("not timed: it would take about")
    assert not timings["slow", "long"].seconds
    assert str(timings).startswith("slow: not timed: it would take about")


def test_a_moment_of_bad_luck_is_not_mistaken_for_slow_work():
    """Another program's turn: the first calls take long, the later ones do not."""
    calls = []

    def run(a, out=None):
        calls.append(1)
        time.sleep(0.05 if len(calls) < 5 else 0)
        return a

    timings = compare(
        ladder(Rung("r", "cpu", run, "", lambda n, itemsize=4: n, lambda n: n)),
        {"w": (np.ones(9_000, np.float32),)},
        budget=1.0,
    )
    assert not timings["r", "w"].skipped


def test_what_was_left_out_is_said_once_for_each_reason():
    left_out = Timing("a", "cpu", "w", skipped="too slow"), Timing("b", "cpu", "w", skipped="too slow")
    timings = Timings("t", (*left_out, Timing("c", "cpu", "w", (1.0,)), Timing("c", "cpu", "v", (1.0,))))
    assert timings.left_out() == ["a, b on w: too slow"]
    assert "a, b on w: too slow" in timings._repr_html_()


def test_a_slow_start_is_not_mistaken_for_slow_work():
    """Ten milliseconds of starting up, whatever the size: the larger workload takes them once, not often."""

    def run(a, out=None):
        time.sleep(0.01)
        return np.zeros(1, a.dtype)

    rung = Rung("starter", "cpu", run, "", lambda n, itemsize=4: n * itemsize, lambda n: n)
    starting = Ladder("starting", (rung,), shape=lambda a: (a.size,), example=lambda n: (np.ones(n),))
    timings = compare(starting, {"long": (np.ones(3_000_000, np.float32),)}, budget=0.1)
    assert timings["starter", "long"].seconds


@pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
def test_no_gpu_is_said():
    timings = compare(ladder(sleeper("gpu", 0, "cuda"), sleeper("cpu", 0)), {"nap": (ONE,)}, repeat=1)
    assert timings["gpu", "nap"].skipped == "not timed: no CUDA GPU on this machine"
    assert timings["cpu", "nap"].seconds


def test_a_budget_means_fewer_rounds():
    timings = compare(ladder(sleeper("slow", 0.02)), {"nap": (ONE,)}, repeat=50, budget=0.05)
    assert 1 <= len(timings["slow", "nap"].seconds) <= 5


def test_peers_run_with_the_same_arguments():
    seen = []
    compare(ladder(sleeper("a", 0)), {"nap": (ONE,)}, repeat=2, peers={"peer": lambda a: seen.append(a)})
    assert len(seen) >= 2 and all(a is ONE for a in seen)


def test_interrupted_it_keeps_what_it_has():
    rounds = []

    def stop(a, out=None):
        rounds.append(1)
        if len(rounds) > 4:
            raise KeyboardInterrupt
        return np.zeros(1, a.dtype)

    stopper = Rung("stopper", "cpu", stop, "", lambda n, itemsize=4: n, lambda n: n)
    quick = Ladder("q", (sleeper("a", 0), stopper), shape=lambda a: (a.size,))
    timings = compare(quick, {"one": (ONE,), "two": (ONE,)}, repeat=9)
    assert timings["a", "one"].seconds and timings.workloads == ["one"]


def test_unnamed_workloads_are_named_by_shape():
    timings = compare(ladder(sleeper("a", 0)), [(ONE,), (np.ones(3, np.float32),)], repeat=1)
    assert timings.workloads == ["1", "3"]


def test_records_come_back_and_say_that_they_are_recorded():
    timings = compare(ladder(sleeper("a", 0)), {"nap": (ONE,)}, repeat=3)
    again = Timings.from_json(timings.to_json())
    assert again.results == timings.results and again.provenance == timings.provenance
    assert timings.source().startswith("live: ") and again.source().startswith("recorded: ")
    assert f"numpy {np.__version__}" in again.source() and "numpy" not in timings.source()


def test_provenance_names_device_date_versions_and_method():
    about = provenance()
    assert about["devices"]["cpu"] == Device("cpu").name
    assert about["date"].startswith("20") and about["versions"]["numpy"] == np.__version__
    assert "medians" in about["method"]


def test_the_picture_shows_every_time_in_words_too():
    timings = compare(ladder(sleeper("a <b>", 0.001)), {"nap": (ONE,)}, repeat=3)
    figure = timings.plot()
    assert "nap: a <b>" in figure.get_label()
    assert "a &lt;b&gt;" in to_svg(figure)


def test_tables_are_text_and_html():
    table = Table(("name", "value"), (("a<", "1"),), "caption")
    assert str(table).splitlines() == ["name  value", "----  -----", "a<    1", "caption"]
    assert "<td>a&lt;</td>" in table._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ladder": "sliding"}, TypeError, "ladder must be a Ladder"),
        ({"repeat": 0}, ValueError, "repeat must be at least 1, got 0"),
        ({"repeat": 1.5}, TypeError, "repeat must be an integer"),
        ({"rungs": ["x"]}, KeyError, "no rung 'x'; its rungs are a"),
        ({"rungs": "a"}, TypeError, "rungs must be a sequence of names"),
        ({"rungs": []}, ValueError, "nothing to time"),
        ({"workloads": {}}, ValueError, "nothing to time"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    good = {"ladder": ladder(sleeper("a", 0)), "workloads": {"nap": (ONE,)}}
    with pytest.raises(error, match=message):
        compare(**{**good, **arguments})
