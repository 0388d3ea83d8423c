"""The tasks of the lesson `2_tiled_matmul`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

import numpy as np

from lessons.checks import Lesson, check_kernel, check_value
from lessons.comparison import Case, Slip

TILE = 8  # as the notebook says

lesson = Lesson("2_tiled_matmul")


def halves(rows: int, columns: int) -> np.ndarray:
    """Return an uneven matrix of halves from -2 to 2, so that sums of products are exact in any order."""
    numbers = np.random.default_rng([rows, columns]).integers(-4, 5, (rows, columns)) / 2
    return numbers.astype(np.float32)


def _cases(*sizes):
    return [Case(f"{m} × {k} times {k} × {n}", (halves(m, k), halves(k, n))) for m, k, n in sizes]


FULL = _cases((8, 8, 8), (16, 24, 8), (8, 16, 32))
ODD = _cases((5, 7, 11), (9, 8, 17), (1, 20, 3), (16, 9, 8))


def _wrong_product(words, make):
    """Make the slip of another formula; it cannot know where the shapes do not fit it."""

    def values(a, b):
        made = np.full((a.shape[0], b.shape[1]), np.nan)
        try:
            wrong = make(a.astype(np.float64), b.astype(np.float64))
        except ValueError:
            return made
        return wrong if wrong.shape == made.shape else made

    return Slip(words, values)


SLIPS = [
    _wrong_product("The last product of each sum is missing.", lambda a, b: a[:, :-1] @ b[:-1]),
    _wrong_product("The first product of each sum is missing.", lambda a, b: a[:, 1:] @ b[1:]),
    _wrong_product(
        "Only the first step was added: is the sum set back to 0 in each step?",
        lambda a, b: a[:, :TILE] @ b[:TILE] if a.shape[1] > TILE else np.full((1, 1), np.nan),
    ),
    _wrong_product(
        "Only the last step was added: the sum begins at 0 before the loop, not in each step.",
        lambda a, b: (
            a[:, (a.shape[1] - 1) // TILE * TILE :] @ b[(a.shape[1] - 1) // TILE * TILE :]
            if a.shape[1] > TILE
            else np.full((1, 1), np.nan)
        ),
    ),
    _wrong_product(
        "The last step is missing, in which the tiles are not full: round the number of steps up.",
        lambda a, b: a[:, : a.shape[1] // TILE * TILE] @ b[: a.shape[1] // TILE * TILE],
    ),
    _wrong_product("These are single products: where is the sum?", lambda a, b: a * b),
    _wrong_product("b was taken as transposed: a row of a meets a column of b.", lambda a, b: a @ b.T),
    _wrong_product("a was taken as transposed: a row of a meets a column of b.", lambda a, b: a.T @ b),
]
ADVICE = {
    "global_reads": "Each thread fetches one element of each tile, and reads the products' factors from "
    "shared memory.",
    "global_writes": "Add up in a local variable, and write the sum once, after the loop.",
    "race": "There are two barriers in each step. The first stands between fetching and reading; the second "
    "keeps a quick thread from fetching the next tile while a slow one still reads this one.",
    "out-of-bounds": "A tile may hang over the edge in two directions: compare the row with the number of "
    "rows and the column with the number of columns, of that matrix.",
}


@lesson.task("Task 1, predict", points=1)
def prediction(reads_obvious, reads_tiled, times_fewer_with_16):
    """Check predictions for 64 × 64 matrices, written the obvious way and in tiles."""
    check_value(
        "reads_obvious",
        reads_obvious,
        64**3 * 2,
        {
            64**3: "That is one of the two matrices.",
            64**2 * 2: "That would be each number read once. It is read for every output that needs it.",
            128: "That is one thread; there are 64 · 64 of them.",
        },
    )
    check_value(
        "reads_tiled",
        reads_tiled,
        64**3 * 2 / 8,
        {
            64**3 / 8: "That is one of the two matrices.",
            16: "That is one thread; there are 64 · 64 of them.",
            64**3 * 2 / 64: "A tile has 64 elements, but it serves 8 outputs in a row, not 64.",
        },
    )
    check_value(
        "times_fewer_with_16",
        times_fewer_with_16,
        16,
        {
            256: "A tile has 256 elements, but each is used for the 16 outputs of a row or column.",
            8: "That is for tiles of 8 × 8.",
            2: "That compares it with tiles of 8 × 8, not with the obvious way.",
            4: "4 is how many tiles of 16 make 64. How many reads has a thread?",
        },
    )


@lesson.task("Task 2, the obvious way", points=1)
def obvious(kernel):
    """Check a kernel that takes (out, a, b), for any sizes."""
    _check(kernel, ODD, lambda a, b: 2 * a.shape[1])


def _check(kernel, cases, reads, **named):
    check_kernel(
        kernel,
        lambda a, b: a.astype(np.float64) @ b,
        cases,
        (TILE, TILE),
        "out, a, b",
        **{
            "slips": SLIPS,
            "limits": lambda a, b: {"global_reads": reads(a, b), "global_writes": 1},
            "advice": ADVICE,
            "blocks": lambda a, b: (-(-b.shape[1] // TILE), -(-a.shape[0] // TILE)),
        }
        | named,
    )


@lesson.task("Task 3, who fetches what", points=1)
def who_fetches(row_in_a, column_in_a, row_in_b, column_in_b):
    """Check the places of thread (3, 5) of block (2, 1) in step 2."""
    check_value(
        "row_in_a",
        row_in_a,
        13,
        {
            21: "The row comes from blockIdx.y, which is 1; x runs along the columns.",
            11: "Within the block, the row is threadIdx.y.",
            5: "That is the row in the tile; the block begins at row 8.",
            19: "That is a column: the row comes from the y of block and thread.",
        },
    )
    check_value(
        "column_in_a",
        column_in_a,
        19,
        {
            21: "Within the tile, the column is threadIdx.x.",
            3: "Two tiles of eight columns lie behind it.",
            27: "Counting begins with 0: two tiles lie behind step 2.",
            11: "Two tiles lie behind step 2, not one.",
        },
    )
    check_value(
        "row_in_b",
        row_in_b,
        21,
        {
            13: "Down b the block walks with its steps; the block's own row has no part in it.",
            19: "Within the tile, the row is threadIdx.y.",
            5: "Two tiles of eight rows lie behind it.",
        },
    )
    check_value(
        "column_in_b",
        column_in_b,
        19,
        {
            11: "The column comes from blockIdx.x, which is 2.",
            21: "Within the block, the column is threadIdx.x.",
            3: "That is the column in the tile; the block begins at column 16.",
        },
    )


@lesson.task("Task 4, tiles that fit", points=2)
def tiled(kernel):
    """Check a kernel that takes (out, a, b), for multiples of TILE."""
    _check(kernel, FULL, lambda a, b: 2 * a.shape[1] // TILE)


@lesson.task("Task 5, tiles that hang over", points=2)
def any_size(kernel):
    """Check a kernel that takes (out, a, b), for any sizes."""
    _check(kernel, [*ODD, *FULL[1:]], lambda a, b: 2 * -(-a.shape[1] // TILE))


@lesson.task("Task 6, transposed", points=2)
def transposed(kernel):
    """Check a kernel that takes (out, a, b) with b transposed, for multiples of TILE."""
    cases = [
        Case(f"{m} × {k} times {n} × {k} transposed", (halves(m, k), halves(n, k)))
        for m, k, n in ((8, 8, 16), (16, 24, 8))
    ]
    slips = [
        Slip(
            "That is the product with b as it stands, not transposed.",
            lambda a, b: a @ b if a.shape[1] == b.shape[0] else np.full((len(a), len(b)), np.nan),
        ),
        Slip(
            "In each tile of b, rows and columns are exchanged: output column x needs row x of the tile.",
            _tile_turned,
        ),
    ]
    check_kernel(
        kernel,
        lambda a, b: a.astype(np.float64) @ b.T,
        cases,
        (TILE, TILE),
        "out, a, b",
        slips,
        limits=lambda a, b: {"global_reads": 2 * a.shape[1] // TILE, "global_writes": 1},
        advice=ADVICE
        | {"bank-conflict": "Store row y of the tile rotated by y places: element x at (x + y) % TILE."},
        blocks=lambda a, b: (b.shape[0] // TILE, a.shape[0] // TILE),
        refused=["bank-conflict"],
    )


def _tile_turned(a, b):
    """Return the product with each tile of b turned round in its place."""
    n, k = b.shape
    tiles = b.reshape(n // TILE, TILE, k // TILE, TILE)
    return a @ tiles.transpose(0, 3, 2, 1).reshape(n, k).T


@lesson.task("Extra task, two outputs each", points=2, extra=True)
def two_each(kernel):
    """Check a kernel that takes (out, a, b) and has two outputs for each thread, for multiples of 16."""
    check_kernel(
        kernel,
        lambda a, b: a.astype(np.float64) @ b,
        _cases((16, 16, 16), (32, 16, 16), (16, 32, 16)),
        (TILE, TILE),
        "out, a, b",
        SLIPS,
        limits=lambda a, b: {
            "global_reads": 3 * a.shape[1] // TILE,
            "global_writes": 2,
            "shared_reads": 3 * a.shape[1],
        },
        advice=ADVICE
        | {"shared_reads": "One word of b serves both outputs: read it once, into a local variable."},
        blocks=lambda a, b: (b.shape[1] // TILE, a.shape[0] // (2 * TILE)),
    )
