"""The command line."""

import json
import re
import subprocess
import sys

import pytest

from minidl.__main__ import main
from minidl.hardware.device import Device
from minidl.instruments import bench
from minidl.instruments.stopwatch import Timings


def test_info_names_devices_limits_versions_and_ladders(capsys):
    main(["info"])
    said = capsys.readouterr().out
    assert f"cpu: {Device('cpu').name}" in said and "cuda: " in said
    assert "GB/s" in said and "GFLOP/s" in said
    assert "numba 0." in said and "threads:" in said
    assert all(name in said for name in bench.ladders())


def test_bench_prints_every_rung_and_records_it(capsys, tmp_path):
    record = tmp_path / "records" / "here.json"
    main(["bench", "sliding average", "--size", "1000", "--budget", "0.05", "--record", str(record)])
    said = capsys.readouterr().out
    (content,) = json.loads(record.read_text("utf-8"))
    timings = Timings.from_json(json.dumps(content))
    names = bench.ladders()["sliding average"].names
    assert [timing.rung for timing in timings.of("1,000 elements")] == names
    assert all(name in said for name in names)
    assert timings["numba naive", "1,000 elements"].median > 0


def test_bench_compares_with_peers(capsys):
    pytest.importorskip("bottleneck")
    main(["bench", "sliding average", "--quick", "--budget", "0.001"])
    said = capsys.readouterr().out
    for part in ("bottleneck", "scipy", "numpy copy", "window 2", "window 16", "window 256", "ratio"):
        assert part in said
    assert ("Not installed here" in said) == any(bench.find_spec(name) is None for name in bench.PACKAGES)


def test_recorded_by_default_beside_the_other_records(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench.resources, "files", lambda package: tmp_path / package)
    main(["bench", "sum", "--size", "100", "--budget", "0.001", "--record"])
    (file,) = (tmp_path / "figures" / "records").iterdir()
    device = Device("cuda" if Device("cuda").available else "cpu").name
    assert file.stem == "-".join("".join(c if c.isalnum() else " " for c in device.lower()).split())
    assert f"Recorded in {file}" in capsys.readouterr().out


def test_interrupted_it_prints_what_it_has_and_records_only_what_is_complete(monkeypatch, tmp_path, capsys):
    calls = []

    def compare(ladder, workloads, **options):
        calls.append(ladder.name)
        if len(calls) < 3:
            return real(ladder, workloads, **{**options, "budget": 0.001})
        return Timings(ladder.name, (), {}, interrupted=True)

    real = bench.compare
    monkeypatch.setattr(bench, "compare", compare)
    record = tmp_path / "here.json"
    main(["bench", "--size", "100", "--record", str(record)])
    assert len(calls) == 3  # nothing is begun after the interruption
    assert sorted(content["ladder"] for content in json.loads(record.read_text("utf-8"))) == sorted(calls[:2])
    assert "Interrupted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bench", "no such"], "there is no ladder 'no such'; there are: .*sliding average"),
        (["bench", "sum", "--size", "0"], "argument --size: must be a whole number above 0, got '0'"),
        (["bench", "sum", "--size", "1.5"], "argument --size: must be a whole number above 0, got '1.5'"),
        (["bench", "sum", "--budget", "-1"], "argument --budget: must be a number above 0, got '-1'"),
        (["bench", "sum", "--budget", "nan"], "argument --budget: must be a number above 0, got 'nan'"),
        ([], "the following arguments are required: command"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_what_it_cannot_do_is_said(arguments, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code != 0
    said = capsys.readouterr().err + str(stopped.value)
    assert re.search(says, said), said


def test_help_runs_as_a_module():
    for command in ([], ["bench"], ["info"]):
        run = [sys.executable, "-m", "minidl", *command, "--help"]
        assert (
            "usage: python -m minidl"
            in subprocess.run(run, capture_output=True, text=True, check=True).stdout
        )
