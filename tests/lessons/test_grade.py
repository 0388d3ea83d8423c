"""The grader: files that cannot be graded, the table, the command line."""

import csv
import os

import nbformat
import pytest

from lessons import grade, submission
from tests.lessons.notebooks import FIRST, MASTERS


def test_files_that_cannot_be_graded(tmp_path):
    bad = {
        "empty": b"",
        "blank": b" \n",
        "broken": b'{"cells": [',
        "list": b"[]",
        "number": b"7",
        "bytes": b"\xff\xfe\x00",
        "deep": b"[" * 100_000,
        "no cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}',
        "old": b'{"nbformat": 2, "worksheets": [3]}',
        "cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [3, null]}',
        "other": nbformat.writes(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('hello')")])
        ).encode(),
    }
    for name, data in bad.items():
        (tmp_path / f"{name}.ipynb").write_bytes(data)
    (tmp_path / "link.ipynb").symlink_to(grade.LESSONS / "solutions" / f"{FIRST}.ipynb")
    (tmp_path / "dangling.ipynb").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")
    with open(tmp_path / "large.ipynb", "wb") as file:
        file.truncate(submission.LARGEST + 1)
    paths = submission.find([str(tmp_path)])
    assert len(paths) == len(bad) + 5
    reasons = {path.stem: grade.grade(path, MASTERS).reason for path in paths}
    expected = {
        "empty": "empty", "blank": "empty", "link": "link", "dangling": "link", "folder": "not a file",
        "pipe": "not a file", "large": "MB", "other": "not one of the lessons", "no cells": "no code cell",
    }  # fmt: skip
    for name, reason in reasons.items():
        assert expected.get(name, "not a notebook") in reason


def some_result(path, *_, **__):
    if "breaks" in path.name:
        raise RuntimeError("broken")
    if "stops" in path.name:
        raise KeyboardInterrupt
    reasons = ["=1+1 \x1b[31mred\n", "x" * 999]
    return grade.Result(str(path), FIRST, 1, 2, 0, 0.5, [("Task 1", 1, 1), ("Task 2", 0, 1)], reasons)


def test_the_table_and_the_csv(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grade, "grade", some_result)
    for name in ("a", "breaks", "c"):
        (tmp_path / f"{name}.ipynb").touch()
    file = tmp_path / "points.csv"
    assert grade.main([str(tmp_path), "--csv", str(file)]) == 0
    out = capsys.readouterr().out
    assert "3 notebooks, 0 complete" in out and "\x1b" not in out
    assert "the grader stopped with RuntimeError: broken" in out
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["points"] for row in rows] == ["1", "0", "1"]
    assert [rows[0][f"task {n}"] for n in (1, 2)] == ["1", "0"]
    assert rows[0]["reason"].startswith("'=1+1") and len(rows[0]["reason"]) < 400
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".csv", ".ipynb")]


def test_an_interruption_keeps_what_was_graded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grade, "grade", some_result)
    for name in ("a", "b", "stops", "u"):
        (tmp_path / f"{name}.ipynb").touch()
    file = tmp_path / "points.csv"
    assert grade.main([str(tmp_path), "--csv", str(file)]) == 130
    assert "interrupted: 2 of 4 notebooks were graded" in capsys.readouterr().err
    assert len(list(csv.DictReader(file.read_text().splitlines()))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere does not exist"),
        ([".", "--timeout", "0"], "--timeout must be larger than 0, got 0"),
        ([".", "--memory", "-1"], "--memory must be larger than 0, got -1"),
        (["a.ipynb", "--csv", "no/such/folder/x.csv"], "No such file"),
    ],
)
def test_wrong_arguments(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ipynb").touch()
    assert grade.main(arguments) == 1
    assert words in capsys.readouterr().err
