"""The command line."""

import json

import pytest

from minidl.__main__ import ladders, main
from minidl.instruments.stopwatch import Timings


def test_info_names_the_devices_and_the_ladders(capsys):
    main(["info"])
    said = capsys.readouterr().out
    assert "CPU:" in said and "GPU:" in said
    assert "sliding average" in ladders() and all(name in said for name in ladders())


def test_bench_prints_every_rung_and_records_it(capsys, tmp_path):
    record = tmp_path / "here.json"
    main(["bench", "sliding average", "--size", "1000", "--budget", "0.05", "--record", str(record)])
    said = capsys.readouterr().out
    (content,) = json.loads(record.read_text())
    timings = Timings.from_json(json.dumps(content))
    names = ladders()["sliding average"].names
    assert [timing.rung for timing in timings.of("1,000 elements")] == names
    assert all(name in said for name in names)
    assert timings["numba naive", "1,000 elements"].median > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bench", "no such"], "there is no ladder 'no such'"),
        (["bench", "sum", "--size", "0"], "--size must be"),
    ],
)
def test_bench_says_what_it_cannot_do(arguments, says):
    with pytest.raises(SystemExit, match=says):
        main(arguments)
