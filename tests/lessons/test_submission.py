"""What is handed in: notebooks are found and recognised, and their checks put back, whatever was changed."""

from types import SimpleNamespace

import nbformat
import pytest

from lessons import submission
from tests.lessons.notebooks import ATTEMPTS, FIRST, LESSONS, MASTERS, position, read, students, tasks

# ---- finding and recognising


def test_what_is_found(tmp_path):
    for name in ("b/x.ipynb", "a.ipynb", "b/.ipynb_checkpoints/x-checkpoint.ipynb", ".z.ipynb", "c/t.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    found = submission.find([str(tmp_path), str(tmp_path / "a.ipynb")])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.ipynb", "b/x.ipynb"]
    for paths, words in ([[str(tmp_path / "d")], "does not exist"], [[str(tmp_path / "c")], "no notebook"]):
        with pytest.raises(submission.Refused, match=words):
            submission.find(paths)


def test_every_lesson_is_recognised():
    for name in LESSONS:
        for solved in (True, False):
            cells = students(read(name, solved))
            path = SimpleNamespace(stem="homework")
            assert submission.recognise(cells, path, MASTERS).lesson.name == name
    assert {task for lesson, task, _, _ in ATTEMPTS if lesson == FIRST} == set(tasks(read(FIRST)))


# ---- restoring the checks


def shuffled(change):
    """Solve the first lesson, change its cells, and return the cells that would be run, and remarks."""
    notebook = read(FIRST)
    change(notebook.cells)
    return submission.restore(students(notebook), MASTERS[FIRST])


def test_an_untouched_notebook_stays_as_it_is():
    cells, remarks = shuffled(lambda cells: None)
    assert [cell.source for cell in cells] == [cell.source for cell in read(FIRST).cells] and not remarks


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (lambda cells: cells.pop(position(cells, "check-2")), "was missing"),
        (lambda cells: cells.insert(3, cells[position(cells, "check-2")]), "was there 2 times"),
        (
            lambda cells: cells[position(cells, "check-2")].update(source="print('passed')"),
            "had been changed",
        ),
        (lambda cells: cells.insert(3, cells.pop(position(cells, "check-2"))), "stood before its answer"),
    ],
    ids=["deleted", "doubled", "edited", "moved"],
)
def test_checks_are_put_back(change, remark):
    cells, remarks = shuffled(change)
    assert [cell.source for cell in cells] == [cell.source for cell in read(FIRST).cells]
    assert len(remarks) == 1 and remark in remarks[0] and "Task 2, the specification" in remarks[0]


def test_a_copy_of_an_answer_moves_no_check():
    """JupyterLab copies a cell's metadata with it, so the copy goes by the same name."""

    def change(cells):
        copy = nbformat.from_dict(cells[position(cells, "answer-2")])
        copy.id, copy.source = "scratch", "def specification(a, window): pass"
        cells.append(copy)

    cells, remarks = shuffled(change)
    assert [cell.source for cell in cells[:-1]] == [cell.source for cell in read(FIRST).cells] and not remarks
    assert cells[-1].source.endswith("pass")


def test_a_marker_in_a_cell_of_the_students_own_takes_nothing_away():
    extra = nbformat.v4.new_code_cell("# NBVAL_CHECK_OUTPUT\nmore = 1")
    cells, _ = shuffled(lambda cells: cells.insert(4, extra))
    assert cells[4].source == extra.source and not cells[4].get("check")


def test_all_checks_deleted_and_all_names_lost():
    def change(cells):
        cells[:] = [cell for cell in cells if not cell.id.startswith("check")]
        for i, cell in enumerate(cells):
            cell.id, cell.metadata = f"other-{i}", {}

    cells, remarks = shuffled(change)
    checks = [cell.source for cell in cells if cell.get("check")]
    assert checks == [task.source for task in MASTERS[FIRST].lesson.tasks] and len(remarks) == 8


def test_cells_of_the_students_own_stay_in_place():
    extra = nbformat.v4.new_code_cell("more = 1")
    cells, remarks = shuffled(lambda cells: cells.insert(position(cells, "check-3"), extra))
    at = next(i for i, cell in enumerate(cells) if cell.source == "more = 1")
    assert cells[at + 1].get("check") and "check.grey" in cells[at + 1].source and not remarks
