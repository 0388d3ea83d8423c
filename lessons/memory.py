"""The tasks of the lesson `1_memory`: what is checked, and what is said about a wrong answer."""

from __future__ import annotations

from collections import Counter, OrderedDict

import numpy as np

from lessons.checks import Lesson, call, check_function, check_is_function, check_value
from lessons.comparison import Case, Slip, failure

LINE, LINES = 64, 80  # bytes in a line and lines in the cache of task 6, as the notebook says
ITEM = 4  # bytes of a float32

lesson = Lesson("1_memory")


def misses(addresses, lines, line):
    """Return how many accesses miss a cache that throws out what was used longest ago."""
    cached, missed = OrderedDict(), 0
    for number in (int(address) // line for address in addresses):
        if number in cached:
            cached.move_to_end(number)
            continue
        missed += 1
        cached[number] = None
        if len(cached) > lines:
            cached.popitem(last=False)
    return missed


def _walk(rows, columns, by_columns=False):
    """Return the addresses of a rows × columns float32 array, in the order of a walk over all of it."""
    addresses = np.arange(rows * columns).reshape(rows, columns) * ITEM
    return (addresses.T if by_columns else addresses).ravel()


@lesson.task("Task 1, by hand", points=1)
def by_hand(place, step_down, lines):
    """Check where the numbers of a 6 × 8 array of float32 are."""
    check_value(
        "place",
        place,
        (2 * 8 + 3) * ITEM,
        {
            19: "That counts numbers; each takes 4 bytes.",
            (2 * 6 + 3) * ITEM: "A row has 8 numbers, not 6.",
            (3 * 6 + 2) * ITEM: "That goes down the columns; the array lies in memory row by row.",
            (3 * 8 + 4) * ITEM: "Count from 0: row 2 has two rows before it.",
        },
    )
    check_value(
        "step_down",
        step_down,
        8 * ITEM,
        {
            4: "That is one step to the right. Down is a whole row further.",
            8: "That counts numbers; each takes 4 bytes.",
            24: "A row has 8 numbers, not 6.",
        },
    )
    check_value(
        "lines",
        lines,
        3,
        {
            6: "Two rows of 32 bytes fit into a line of 64, so that neighbours in a column share one.",
            1: "The six are 32 bytes apart, and a line has 64 bytes.",
            24 / 64: "They do not lie side by side.",
        },
    )


@lesson.task("Task 2, the address", points=1)
def address(function):
    """Check a function of (index, shape, itemsize) that returns a number of bytes."""
    cases = [
        Case(f"a[{', '.join(map(str, index))}], shape {shape}, {size}-byte numbers", (index, shape, size))
        for index, shape, size in [
            ((2, 3), (6, 8), 4),
            ((5,), (9,), 8),
            ((1, 2, 3), (4, 5, 7), 4),
            ((0, 3, 0, 1), (2, 9, 3, 5), 2),
            ((1, 0, 2, 4), (2, 9, 3, 5), 4),
            ((0, 0), (3, 3), 4),
            ((), (), 4),
        ]
    ]

    def right(index, shape, itemsize):
        return itemsize * int(np.ravel_multi_index(index, shape)) if index else 0

    def columns_first(index, shape, itemsize):
        return itemsize * np.ravel_multi_index(index, shape, order="F") if index else 0

    def wrong_length(index, shape, itemsize):
        place, step = 0, itemsize
        for i, n in zip(reversed(index), shape, strict=True):
            place, step = place + i * step, step * n
        return place

    check_function(
        function,
        right,
        cases,
        [
            Slip("That counts numbers; each takes `itemsize` bytes.", lambda i, s, b: right(i, s, b) / b),
            Slip("That lets the *first* index run fastest; in C order it is the last.", columns_first),
            Slip("A step along an axis skips what there is in the axes *after* it.", wrong_length),
        ],
    )


@lesson.task("Task 3, lines", points=1)
def lines_touched(function):
    """Check a function of (addresses, itemsize, line) that counts the lines that are needed."""
    random = np.random.default_rng(3)
    cases = [
        Case("16 numbers side by side", (np.arange(16) * 4, 4, 64)),
        Case("16 numbers that begin 8 bytes before a line ends", (np.arange(16) * 4 + 56, 4, 64)),
        Case("a column of 20 numbers, 96 bytes apart", (np.arange(20) * 96, 4, 64)),
        Case("40 numbers here and there, some of them twice", (random.integers(0, 300, 40) * 4, 4, 32)),
        Case(
            "numbers of 8 bytes that lie across the border of two lines",
            (np.array([60, 300, 300, 560, 560]), 8, 64),
        ),
        Case("one number", (np.array([1000]), 4, 64)),
        Case("one access, longer than a line", (np.array([100]), 96, 32)),
    ]

    def right(addresses, itemsize, line):
        held = set()
        for first in addresses:
            held.update(range(first // line, (first + itemsize - 1) // line + 1))
        return len(held)

    check_function(
        function,
        right,
        cases,
        [
            Slip(
                "That counts accesses; a line that was needed twice counts once.",
                lambda a, size, line: a.size,
            ),
            Slip(
                "That is what the bytes alone would fill; count the lines that they *lie in*.",
                lambda a, size, line: -(-a.size * size // line),
            ),
            Slip(
                "A number that lies across a border needs both lines: look at its last byte too.",
                lambda a, size, line: np.unique(a // line).size,
            ),
            Slip(
                "The last byte of a number is at address + itemsize − 1.",
                lambda a, size, line: right(a, size + 1, line),
            ),
        ],
    )


def _fifo(addresses, lines, line):
    cached, missed = [], 0
    for number in addresses // line:
        if number not in cached:
            missed += 1
            cached = [*cached, number][-lines:]
    return missed


def _adjacent(addresses, lines, line):
    numbers = addresses // line
    return 1 + np.count_nonzero(np.diff(numbers))


def _newest_out(addresses, lines, line):
    cached, missed = [], 0
    for number in addresses // line:
        if number in cached:
            cached.remove(number)
        else:
            missed += 1
            if len(cached) == lines:
                cached.pop()
        cached.append(number)
    return missed


def _reads(words, numbers, lines):
    return Case(f"{words}, a cache of {lines} line{'s' * (lines > 1)}", (np.array(numbers) * 64, lines, 64))


@lesson.task("Task 4, a cache", points=2)
def cache(function):
    """Check a function of (addresses, lines, line) that counts misses."""
    random = np.random.default_rng(4)
    cases = [
        # here each of the slips below gives another number
        _reads("the lines 0 1 3 2 5 0 3 5 3 2 5", [0, 1, 3, 2, 5, 0, 3, 5, 3, 2, 5], 3),
        _reads("the lines 0 1 2 0 1 2", [0, 1, 2, 0, 1, 2], 4),
        _reads("the lines 0 1 0 2 0 3 0", [0, 1, 0, 2, 0, 3, 0], 2),
        _reads("the lines 5 5 5 7", [5, 5, 5, 7], 1),
        Case(
            "300 addresses at random, a cache of 7 lines of 32 bytes", (random.integers(0, 600, 300), 7, 32)
        ),
        Case("a 24 × 24 array by rows, a cache of 8 lines of 64 bytes", (_walk(24, 24), 8, 64)),
        Case("a 24 × 24 array by columns, a cache of 8 lines of 64 bytes", (_walk(24, 24, True), 8, 64)),
        Case("a 24 × 24 array by columns, a cache of 40 lines of 64 bytes", (_walk(24, 24, True), 40, 64)),
    ]
    check_function(
        function,
        misses,
        cases,
        [
            Slip(
                "That counts hits: the first access to a line is always a miss.",
                lambda a, n, line: a.size - misses(a, n, line),
            ),
            Slip(
                "Those are the different lines; one that was thrown out must be fetched again.",
                lambda a, n, line: np.unique(a // line).size,
            ),
            Slip(
                "Each access to a line makes it the newest, also one that hits. "
                "Yours throws out what was *fetched* longest ago, not what was *used* longest ago.",
                _fifo,
            ),
            Slip("Yours throws out what was used last; throw out what was used longest ago.", _newest_out),
            Slip("Your cache holds one line too few.", lambda a, n, line: misses(a, n - 1, line)),
            Slip("Your cache holds one line too many.", lambda a, n, line: misses(a, n + 1, line)),
            Slip("That remembers one line only: the cache holds `lines` of them.", _adjacent),
            Slip(
                "An address is a number of bytes; which line is that in?", lambda a, n, line: misses(a, n, 1)
            ),
        ],
    )


@lesson.task("Task 5, predict", points=1)
def prediction(by_rows, by_columns, by_columns_64):
    """Check predicted misses for a 64 × 64 float32 array."""
    each = "16 numbers share a line. "
    check_value(
        "by_rows",
        by_rows,
        misses(_walk(64, 64), 16, 64),
        {
            4096: f"{each}How many of them miss?",
            64: f"A row of 64 numbers takes more than one line: {each}",
            16: "That is the size of the cache; every line of the array has to come in once.",
            3840: "Those are the hits.",
        },
    )
    check_value(
        "by_columns",
        by_columns,
        misses(_walk(64, 64, True), 16, 64),
        {
            256: "A line is thrown out before the next column comes by: 64 others have come in between.",
            4096
            - 16: "16 lines stay in the cache, but they are never the ones that the next column begins with.",
            64: "That is one column; the next finds nothing of it in the cache any more.",
        },
    )
    check_value(
        "by_columns_64",
        by_columns_64,
        misses(_walk(64, 64, True), 64, 64),
        {
            4096: "Now all 64 lines of a column stay until the next column comes by.",
            64: "That is for the first 16 columns; then they need other lines.",
        },
    )


TILED = [(100, 120, 16), (120, 100, 16), (97, 83, 16), (90, 90, 12), (128, 96, 16), (7, 200, 16)]


def transposed(order, rows, columns):
    """Return the addresses of b[j, i] = a[i, j] for (i, j) in an order; b begins where a ends."""
    for i, j in order:
        yield (i * columns + j) * ITEM
        yield (rows * columns + j * rows + i) * ITEM


def _tiles(rows, columns, tile):
    return [
        (i, j)
        for top in range(0, rows, tile)
        for left in range(0, columns, tile)
        for i in range(top, min(top + tile, rows))
        for j in range(left, min(left + tile, columns))
    ]


@lesson.task("Task 6, tile by tile", points=2)
def tiles(function):
    """Check a function of (rows, columns, tile) that returns pairs (i, j) in an order with few misses."""
    check_is_function(function)
    for rows, columns, tile in TILED:
        case = Case(f"{rows} rows, {columns} columns and tiles of {tile}", (rows, columns, tile))
        order = _as_pairs(call(function, case), case)
        _judge_pairs(order, rows, columns, tile, case)
        got = misses(transposed(order, rows, columns), LINES, LINE)
        limit = int(1.25 * misses(transposed(_tiles(rows, columns, tile), rows, columns), LINES, LINE))
        if got > limit:
            row_by_row = sorted(order) == order
            why = (
                "This goes through whole rows: between two writes to neighbours in b lies a whole row of a."
                if row_by_row
                else "Finish a tile before you begin the next, and keep both of its sides at `tile`."
            )
            raise failure(case, f"{got:,} of {2 * len(order):,} accesses miss, {limit:,} are enough. {why}")


def _as_pairs(order, case):
    try:
        pairs = [(int(i), int(j)) for i, j in order]
    except (TypeError, ValueError):
        raise failure(case, f"expected a list of pairs (i, j), got {type(order).__name__}.") from None
    return pairs


def _judge_pairs(order, rows, columns, tile, case):
    outside = [(i, j) for i, j in order if not (0 <= i < rows and 0 <= j < columns)]
    if outside:
        if max(i for i, j in order) < columns and max(j for i, j in order) < rows:
            why = "Are rows and columns swapped? i is the row of a, j the column."
        else:
            why = "The last tile of a row or column may be a smaller one."
        raise failure(case, f"the pair {outside[0]} is outside the array. {why}")
    often = Counter(order)
    missing = [(i, j) for i in range(rows) for j in range(columns) if (i, j) not in often]
    if missing:
        edge = missing[0][0] >= rows // tile * tile or missing[0][1] >= columns // tile * tile
        why = "The tiles at the edges are smaller, but they must not be left out." if edge else ""
        raise failure(case, f"{len(missing)} pairs are missing, {missing[0]} is the first. {why}")
    pair, times = often.most_common(1)[0]
    if times > 1:
        raise failure(case, f"the pair {pair} comes {times} times. Where does the next tile begin?")


@lesson.task("Extra task, a cache without a choice", points=2, extra=True)
def direct(function):
    """Check a function of (addresses, lines, line): misses of a direct-mapped cache."""

    def right(addresses, lines, line):
        held, missed = {}, 0
        for number in (int(address) // line for address in addresses):
            missed += held.get(number % lines) != number
            held[number % lines] = number
        return missed

    random = np.random.default_rng(7)
    padded = (np.arange(64 * 80).reshape(64, 80)[:, :64] * ITEM).T.ravel()
    check_function(
        function,
        right,
        [
            _reads("the lines 0 4 0 4", [0, 4, 0, 4], 4),
            _reads("the lines 0 3 0 3", [0, 3, 0, 3], 4),
            Case(
                "300 addresses at random, a cache of 7 lines of 32 bytes",
                (random.integers(0, 600, 300), 7, 32),
            ),
            Case(
                "a 64 × 64 array by columns, a cache of 128 lines of 64 bytes", (_walk(64, 64, True), 128, 64)
            ),
            Case("the same with rows of 80, of which 64 are used", (padded, 128, 64)),
        ],
        [
            Slip(
                "A line has one place only, whatever else is free: line number modulo `lines`.",
                lambda a, n, line: misses(a, n, line),
            ),
            Slip(
                "The place follows from the number of the *line*, not from the address.",
                lambda a, n, line: right(a * line, n, line),
            ),
            Slip("That counts hits.", lambda a, n, line: a.size - right(a, n, line)),
            Slip(
                "A place may hold another line: compare the number before you call it a hit.",
                lambda a, n, line: np.unique(a // line % n).size,
            ),
        ],
    )
