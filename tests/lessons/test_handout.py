import json
import os
import subprocess
import sys

import jsonschema
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lessons import handout

TASK = """def double(x):
    ### BEGIN SOLUTION
    ### raise NotImplementedError("return twice x")
    return 2 * x
    ### END SOLUTION"""
CHECK = """# NBVAL_CHECK_OUTPUT
assert double(4) == 8
print("passed")"""


def lesson(folder, *sources, name="0_small", markdown="# A lesson"):
    """Write lessons-folder/solutions/NAME.ipynb with these code cells."""
    (folder / "solutions").mkdir(exist_ok=True)
    cells = [new_markdown_cell(markdown, id="title")]
    cells += [new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
    path = folder / "solutions" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


# ---- one cell


def test_a_block_becomes_its_own_stub():
    assert handout.strip_solutions(TASK) == (
        'def double(x):\n    raise NotImplementedError("return twice x")'
    )


def test_a_block_without_stub_raises():
    source = "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n"
    assert handout.strip_solutions(source) == f"def f():\n    {handout.DEFAULT_STUB}\n"


def test_stub_lines_keep_their_own_indentation_and_blank_lines():
    source = (
        "if 1 > 0:\n    ### BEGIN SOLUTION\n    ### for i in range(3):\n    ###     x = i\n    ###\n"
        "    ### y = x  # why\n    x = y = 2\n    ### END SOLUTION\n    z = 1"
    )
    assert handout.strip_solutions(source) == (
        "if 1 > 0:\n    for i in range(3):\n        x = i\n\n    y = x  # why\n    z = 1"
    )


def test_several_blocks_and_the_lines_around_them():
    source = (
        "a = 1\n### BEGIN SOLUTION\n### b = ...\nb = 2\n### END SOLUTION\n\n"
        "### BEGIN SOLUTION\n### c = ...\nc = 3\n### END SOLUTION\nd = 4\n"
    )
    assert handout.strip_solutions(source) == "a = 1\nb = ...\n\nc = ...\nd = 4\n"


@pytest.mark.parametrize("source", ["", "x = 1", "x = 1\n\n", "# only a comment\n", "s = '''a\x0cb'''\n"])
def test_a_cell_without_a_block_stays_as_it_is(source):
    assert handout.strip_solutions(source) == source


BEGIN, END = handout.BEGIN, handout.END


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (f"{BEGIN}\nx = 1", "line 1: ### BEGIN SOLUTION without an ### END SOLUTION"),
        (f"x = 1\n{END}", "line 2: ### END SOLUTION without a ### BEGIN SOLUTION"),
        (f"{END}\n{BEGIN}", "line 1: ### END SOLUTION without"),
        (
            f"{BEGIN}\nx = 1\n{BEGIN}\ny = 2\n{END}\n{END}",
            "line 3: ### BEGIN SOLUTION inside the block that line 1",
        ),
        (f"{BEGIN}\n{END}", "line 1: the solution block is empty"),
        (
            f"def f():\n    {BEGIN}\n    ### pass\n    # a thought\n\n    {END}",
            "line 2: the solution block is empty",
        ),
        (f"x = 1  {BEGIN}\nx = 2\n{END}", "line 1: .* looks like a marker"),
        ("# BEGIN SOLUTION\nx = 2\n# END SOLUTION", "line 1: .* looks like a marker"),
        ("### begin solution\nx = 2\n### end solution", "looks like a marker"),
        ("###BEGIN_SOLUTION\nx = 2\n###END_SOLUTION", "looks like a marker"),
        ("#### BEGIN SOLUTION ####\nx = 2\n### END SOLUTION", "looks like a marker"),
        (f"{BEGIN}\nx = 2\n{END}", "would raise at the left margin"),
        (f"{BEGIN}\n### def f(:\nx = 2\n{END}", "no Python"),
        ("%timeit x = 1", "no Python: .*magics"),
        ("!ls", "no Python"),
    ],
)
def test_what_is_not_well_formed_is_refused(source, words):
    with pytest.raises(handout.HandoutError, match=words):
        handout.strip_solutions(source)


# ---- whole notebooks


def test_a_handout_is_its_solution_with_stubs_and_reference_outputs(tmp_path, capsys):
    path = lesson(tmp_path, 'print("no reference")', TASK, CHECK)
    solved = nbformat.read(path, as_version=4)
    solved.cells[1].outputs = [new_output("stream", text="left from somebody's session")]
    solved.cells[1].execution_count = 17
    nbformat.write(solved, path)

    assert handout.main([], tmp_path) == 0
    assert capsys.readouterr().out == "wrote solutions/0_small.ipynb\nwrote 0_small.ipynb\n"
    solution = nbformat.read(path, as_version=4)
    given = nbformat.read(tmp_path / "0_small.ipynb", as_version=4)
    for notebook in (solution, given):
        nbformat.validate(notebook)
        assert [cell.get("outputs") for cell in notebook.cells] == [
            None, [], [], [{"output_type": "stream", "name": "stdout", "text": "passed\n"}]
        ]  # fmt: skip
        assert [cell.get("execution_count") for cell in notebook.cells] == [None, None, None, 3]
    assert solution.cells[2].source == TASK
    assert given.cells[2].source == 'def double(x):\n    raise NotImplementedError("return twice x")'
    for left, right in zip(solution.cells, given.cells, strict=True):
        assert left.id == right.id and (left.source == right.source or left.id == "cell-1")
    assert "SOLUTION" not in (tmp_path / "0_small.ipynb").read_text("utf-8")

    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*.ipynb")}
    assert handout.main([], tmp_path) == handout.main(["--check"], tmp_path) == 0
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}


# nbgrader 0.9's schema of a cell's metadata (nbgraderformat/v3.json), the parts that bind us.
NBGRADER = {
    "type": "object",
    "required": ["schema_version", "grade", "locked", "solution"],
    "additionalProperties": False,
    "properties": {
        "schema_version": {"type": "integer", "minimum": 3, "maximum": 3},
        "grade": {"type": "boolean"},
        "locked": {"type": "boolean"},
        "solution": {"type": "boolean"},
        "task": {"type": "boolean"},
        "grade_id": {"type": "string", "pattern": r"^[a-zA-Z0-9_\-]+$"},
        "points": {"type": "number", "minimum": 0},
    },
}


@pytest.mark.parametrize("path", [path.stem for path in handout.find([])])
@pytest.mark.parametrize("folder", ["", "solutions"])
def test_the_lessons_carry_nbgraders_metadata(path, folder):
    cells = nbformat.read(handout.LESSONS / folder / f"{path}.ipynb", as_version=4).cells
    marked = [cell for cell in cells if "nbgrader" in cell.metadata]
    for cell in marked:
        data = cell.metadata.nbgrader
        jsonschema.validate(json.loads(json.dumps(data)), NBGRADER)
        assert cell.cell_type == "code" and data.grade == data.locked == handout.is_check(cell)
        assert data.solution is not data.grade and ("points" in data) == data.grade
    assert [cell for cell in cells if handout.is_check(cell)] == [
        cell for cell in marked if cell.metadata.nbgrader.grade
    ]
    names = [cell.metadata.nbgrader.grade_id for cell in marked]
    assert len(set(names)) == len(names)
    assert sum(cell.metadata.nbgrader.solution for cell in marked) >= len(marked) / 2


def test_check_writes_nothing_and_names_what_is_stale(tmp_path, capsys, monkeypatch):
    path = lesson(tmp_path, TASK, CHECK)
    outputs = [[], [new_output("stream", text="passed\n")]]  # no need to start a kernel for each of these
    monkeypatch.setattr(handout, "_run", lambda *_: outputs)
    before = path.read_bytes()
    assert handout.main(["--check"], tmp_path) == 1
    err = capsys.readouterr().err
    assert "0_small.ipynb is not what its solution gives; run python -m lessons.handout" in err
    assert path.read_bytes() == before and not (tmp_path / "0_small.ipynb").exists()

    handout.main([], tmp_path)
    given = tmp_path / "0_small.ipynb"
    made = given.read_bytes()
    for old, new in [
        (b"return twice x", b"return thrice x"),
        (b'"passed\\n"', b'"failed\\n"'),
        (b"\n", b"\r\n"),
    ]:
        assert old in made
        given.write_bytes(made.replace(old, new))
        assert handout.main(["--check"], tmp_path) == 1
    given.write_bytes(b"\xff\xfe no text at all")
    assert handout.main(["--check", "0_small"], tmp_path) == 1
    assert handout.main(["0_small.ipynb", "0_small"], tmp_path) == 0
    assert given.read_bytes() == made


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (
            [TASK, "# NBVAL_CHECK_OUTPUT\nassert double(4) == 8"],
            "code cell 1: the check cell printed nothing",
        ),
        ([TASK, "# NBVAL_CHECK_OUTPUT\nprint()"], "code cell 1: the check cell printed nothing"),
        ([TASK, "# NBVAL_CHECK_OUTPUT\nimport sys\nprint('no', file=sys.stderr)"], "has output 'stderr' too"),
        ([TASK, "# NBVAL_CHECK_OUTPUT\nprint('a')\n8"], "has output 'execute_result' too"),
        ([TASK, "print(1)  # NBVAL_CHECK_OUTPUT"], "code cell 1: # NBVAL_CHECK_OUTPUT must stand alone"),
        ([TASK, "#NBVAL-CHECK-OUTPUT\nprint(1)"], "code cell 1: # NBVAL_CHECK_OUTPUT must stand alone"),
        ([TASK, "print(1)"], "no check cell"),
        (["x = 1", "# NBVAL_CHECK_OUTPUT\nprint(1)"], "no solution block"),
        (
            [TASK + "\n# NBVAL_CHECK_OUTPUT\nprint(1)"],
            "code cell 0: a check cell must not hold a solution block",
        ),
        ([TASK, "x = 1", "x = 1 / 0", CHECK], "code cell 2 fails: ZeroDivisionError: division by zero"),
        # When a kernel dies, its last words may be lost, so the cell named can be an earlier one.
        ([TASK, "import os\nos._exit(3)", CHECK], "fails: Kernel died"),
        ([TASK, BEGIN, CHECK], "code cell 1, line 1: ### BEGIN SOLUTION without"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the kernel that is killed
def test_a_solution_that_cannot_be_a_master_is_refused(tmp_path, capsys, sources, words):
    path = lesson(tmp_path, *sources)
    before = path.read_bytes()
    assert handout.main([], tmp_path) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: 0_small.ipynb") and words in error and "Traceback" not in error
    assert path.read_bytes() == before and not (tmp_path / "0_small.ipynb").exists()


def test_one_bad_solution_leaves_all_files_alone(tmp_path, capsys):
    lesson(tmp_path, TASK, CHECK, name="0_good")
    lesson(tmp_path, TASK, name="1_bad")
    assert handout.main([], tmp_path) == 1
    assert "1_bad.ipynb has no check cell" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.ipynb"))


def test_unknown_names_and_empty_folders(tmp_path, capsys):
    assert handout.main([], tmp_path) == 1
    assert "no solution found" in capsys.readouterr().err
    lesson(tmp_path, TASK, CHECK)
    assert handout.main(["0_smal", "nothing"], tmp_path) == 1
    assert "no lesson is called 0_smal, nothing; there are 0_small" in capsys.readouterr().err


def test_a_handout_without_a_solution_is_noticed(tmp_path, capsys):
    path = lesson(tmp_path, TASK, CHECK)
    handout.main([], tmp_path)
    (tmp_path / "9_old.ipynb").write_bytes(path.read_bytes())
    assert handout.main(["--check"], tmp_path) == 1
    assert "9_old.ipynb has no solution" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"nbformat": 3, "nbformat_minor": 0}'])
def test_a_file_that_is_no_notebook(tmp_path, capsys, text):
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "0_broken.ipynb").write_text(text)
    assert handout.main([], tmp_path) == 1
    assert "0_broken.ipynb is not a valid notebook" in capsys.readouterr().err


def test_cells_need_ids(tmp_path, capsys):
    path = lesson(tmp_path, TASK, CHECK)
    notebook = json.loads(path.read_text())
    del notebook["cells"][1]["id"]
    path.write_text(json.dumps(notebook))
    assert handout.main([], tmp_path) == 1
    assert "not a valid notebook" in capsys.readouterr().err


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    target = tmp_path / "x.ipynb"
    target.write_text("old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        handout.replace(target, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["x.ipynb"] and target.read_text() == "old"


def test_command_line():
    run = subprocess.run(
        [sys.executable, "-m", "lessons.handout", "no_such_lesson"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1 and "no lesson is called no_such_lesson" in run.stderr and not run.stdout
