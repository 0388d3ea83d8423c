"""What is recorded of cells is what they printed, and every cell that shows a record has one."""

import json
from pathlib import Path

import pytest

from figures import peers

BOOK = Path(__file__).resolve().parent.parent / "book"
RECORDED = [(path.parent.name, name, packages) for path, _, name, packages in peers.cells(BOOK)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder for records of its own."""
    (tmp_path / "records").mkdir()
    monkeypatch.setattr(peers.resources, "files", lambda _: tmp_path)
    return tmp_path


def notebook(folder, *sources):
    cells = [
        {
            "cell_type": "code",
            "id": f"c{i}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": s,
        }
        for i, s in enumerate(sources)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    folder.mkdir(exist_ok=True)
    (folder / "page.ipynb").write_text(
        json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    )


def asks(name, package="numpy", otherwise=""):
    return f'if True:\n    {otherwise or "pass"}\nelse:\n    peers.recorded("{name}", "{package}")'


@pytest.mark.parametrize(("page", "name", "packages"), RECORDED)
def test_every_cell_of_the_book_that_shows_a_record_has_one(page, name, packages):
    head, *lines = peers.recorded(name, *packages).splitlines()
    assert "ecorded with" in head and head.endswith(":") and any(line.strip() for line in lines)


def test_the_pages_show_records():
    assert {page for page, *_ in RECORDED} >= {"3_op", "4_graph", "5_layer", "6_model", "7_task"}


def test_what_is_missing_is_said_with_where_it_was_recorded(here, monkeypatch):
    about = {
        "devices": {"cpu": "A processor"},
        "cores": 3,
        "date": "then",
        "versions": {"torch": "9", "json": "1"},
    }
    (here / "records" / peers.RECORD).write_text(
        json.dumps({"about": about, "printed": {"it": "one\ntwo\n"}})
    )
    where = "ecorded with PyTorch 9 on A processor, 3 cores, then:\none\ntwo"
    monkeypatch.setattr(peers, "find_spec", lambda package: None)
    assert peers.recorded("it", "torch") == f"PyTorch is not installed here; r{where}"
    assert peers.recorded("it", "torch", "json").startswith("PyTorch and json are not installed here; r")
    monkeypatch.setattr(peers, "find_spec", lambda package: True)
    assert peers.recorded("it", "torch") == f"R{where}"
    with pytest.raises(KeyError, match="no cell was recorded as 'that', only 'it'"):
        peers.recorded("that", "torch")


def test_a_record_is_what_the_cells_print(tmp_path):
    notebook(tmp_path / "book", "x = 41", asks("the answer", otherwise="print(x + 1)"))
    record = peers.make(tmp_path / "book")
    assert record["printed"] == {"the answer": "42\n"}
    assert record["about"]["versions"]["numpy"] and record["about"]["method"] == peers.METHOD


def test_what_cannot_be_recorded_is_said(tmp_path):
    notebook(tmp_path / "twice", asks("a"), asks("a"))
    with pytest.raises(ValueError, match="two cells are called 'a'"):
        peers.make(tmp_path / "twice")
    notebook(tmp_path / "absent", asks("a", "no_such_package"))
    with pytest.raises(ImportError, match="need no_such_package: see"):
        peers.make(tmp_path / "absent")
    notebook(tmp_path / "silent", asks("a"))
    with pytest.raises(ValueError, match="'a' printed nothing"):
        peers.make(tmp_path / "silent")
