"""The roofline is where the formula puts it, and every rung is under it in the picture and in words."""

import numpy as np
import pytest

from minidl.hardware.device import Device, DeviceUnavailable
from minidl.hardware.limits import Limits
from minidl.instruments.roofline import predict, roofline
from minidl.instruments.stopwatch import Timing, Timings
from minidl.instruments.style import MUTED
from minidl.kernels.ladder import Ladder, Rung

ROOFS = Limits("a machine", copy_bandwidth=10e9, flops=100e9)  # corner at 10 operations per byte


def rung(name, bytes, flops, device="cpu"):
    return Rung(name, device, lambda a: a, "", lambda n, itemsize=4: n * bytes, lambda n: n * flops)


LADDER = Ladder(
    "toy",
    (
        rung("memory bound", 8, 4),
        rung("compute bound", 1, 100),
        rung("no arithmetic", 8, 0),
        rung("gpu", 4, 4, "cuda"),
    ),
    shape=lambda a: (a.size,),
)
A = np.ones(1000, np.float32)


def measured(**seconds):
    results = tuple(Timing(name.replace("_", " "), "cpu", "w", (s,)) for name, s in seconds.items())
    return Timings("toy", results, {"limits": {"cpu": vars(ROOFS)}, "date": "then", "method": "stopwatch"})


def test_predictions_are_the_nearer_roof():
    assert predict(LADDER, (A,), "cpu", ROOFS) == [
        ("memory bound", 0.5, 8000 / 10e9, 4000),
        ("compute bound", 100.0, 100_000 / 100e9, 100_000),
    ]
    assert predict(LADDER, (A,), "cuda", ROOFS) == [("gpu", 1.0, 4000 / 10e9, 4000)]


def test_wider_values_are_more_bytes():
    by_itemsize = Ladder("d", (Rung("r", "cpu", abs, "", lambda n, itemsize=4: n * itemsize, lambda n: n),),
                         shape=lambda a: (a.size,))  # fmt: skip
    assert predict(by_itemsize, (A.astype(np.float64),), "cpu", ROOFS)[0][1] == 1 / 8


def test_points_stand_where_the_numbers_say():
    figure = roofline(LADDER, (A,), measured(memory_bound=1.6e-6), roofs=ROOFS)
    (axes,) = figure.axes
    points = {tuple(np.float64(line.get_xydata()[0])) for line in axes.lines if len(line.get_xdata()) == 1}
    assert {(0.5, 5.0), (0.5, 2.5), (100.0, 100.0)} == {(x, round(y, 6)) for x, y in points}
    roof = axes.lines[0].get_xydata()
    np.testing.assert_allclose(roof[:, 1], np.minimum(roof[:, 0] * 10, 100))


def test_only_what_was_timed_has_a_colour():
    (axes,) = roofline(LADDER, (A,), measured(memory_bound=1.6e-6), roofs=ROOFS).axes
    colors = {line.get_label(): line.get_color() for line in axes.lines}
    assert colors["compute bound: at least 1 µs, not timed"] == MUTED
    assert colors["memory bound: at least 800 ns, took 1.6 µs"] != MUTED


def test_the_picture_is_told_in_words():
    words = roofline(LADDER, (A,), measured(memory_bound=1.6e-6), roofs=ROOFS).get_label()
    assert "memory bound: at least 800 ns, took 1.6 µs" in words
    assert "compute bound: at least 1 µs, not timed" in words
    assert "recorded" in words or "live" in words
    assert "not timed" not in roofline(LADDER, (A,), roofs=ROOFS).get_label()


def test_roofs_come_with_a_record():
    assert "a machine" in roofline(LADDER, (A,), measured(memory_bound=1.0)).get_label()


def test_without_roofs_those_of_this_machine():
    assert Device("cpu").name in roofline(LADDER, (A,)).get_label()


@pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
def test_no_gpu_no_roofs():
    with pytest.raises(DeviceUnavailable, match="no CUDA GPU"):
        roofline(LADDER, (A,), device="cuda")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ladder": "toy"}, TypeError, "ladder must be a Ladder, got str"),
        ({"device": "tpu", "roofs": None}, ValueError, "kind must be 'cpu' or 'cuda', got 'tpu'"),
        ({"timings": Timings("other", ())}, ValueError, "timings must be of 'toy', got those of 'other'"),
        ({"ladder": Ladder("idle", (rung("r", 1, 0),), shape=lambda a: (a.size,))}, ValueError, "no rung"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        roofline(**{"ladder": LADDER, "arguments": (A,), "roofs": ROOFS, **arguments})
