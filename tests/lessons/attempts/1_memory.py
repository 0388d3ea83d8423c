"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811, B905

from collections import OrderedDict

import numpy as np

# %% by_hand wrong: each takes 4 bytes
place, step_down, lines = 19, 8, 3

# %% by_hand wrong: A row has 8 numbers, not 6
place, step_down, lines = 60, 24, 3

# %% by_hand wrong: That is one step to the right
place, step_down, lines = 76, 4, 3

# %% by_hand wrong: neighbours in a column share one
place, step_down, lines = 76, 32, 6

# %% by_hand right
place, step_down, lines = np.arange(48).reshape(6, 8)[2, 3] * 4, 32.0, 3

# %% address wrong: That counts numbers


def address(index, shape, itemsize):
    return np.ravel_multi_index(index, shape) if index else 0


# %% address wrong: lets the *first* index run fastest


def address(index, shape, itemsize):
    place, step = 0, itemsize
    for i, n in zip(index, shape):
        place, step = place + i * step, step * n
    return place


# %% address wrong: in the axes *after* it


def address(index, shape, itemsize):
    place, step = 0, itemsize
    for i, n in zip(reversed(index), shape):
        place, step = place + i * step, step * n
    return place


# %% address wrong: with a[5], shape (9,)


def address(index, shape, itemsize):
    return (index[0] * shape[1] + index[1]) * itemsize


# %% address wrong: is there a `return` at its end?


def address(index, shape, itemsize):
    place = 0
    for i, n in zip(index, shape):
        place = place * n + i


# %% address right


def address(index, shape, itemsize):
    steps = [itemsize * int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    return sum(i * step for i, step in zip(index, steps))


# %% lines_touched wrong: needed twice counts once


def lines_touched(addresses, itemsize, line):
    return len([a // line for a in addresses])


# %% lines_touched wrong: count the lines that they *lie in*


def lines_touched(addresses, itemsize, line):
    return -(-len(addresses) * itemsize // line)


# %% lines_touched wrong: look at its last byte too


def lines_touched(addresses, itemsize, line):
    return len({a // line for a in addresses})


# %% lines_touched wrong: address + itemsize − 1


def lines_touched(addresses, itemsize, line):
    return len({k for a in addresses for k in (a // line, (a + itemsize) // line)})


# %% lines_touched wrong: one access, longer than a line


def lines_touched(addresses, itemsize, line):
    return len({k for a in addresses for k in (a // line, (a + itemsize - 1) // line)})


# %% lines_touched right


def lines_touched(addresses, itemsize, line):
    touched = np.zeros(int(addresses.max() + itemsize - 1) // line + 1, bool)
    for byte in range(itemsize):
        touched[(addresses + byte) // line] = True
    return np.count_nonzero(touched)


# %% cache wrong: the first access to a line is always a miss


def cache(addresses, lines, line):
    held, hits = [], 0
    for number in addresses // line:
        if number in held:
            held.remove(number)
            hits += 1
        held = [*held, number][-lines:]
    return hits


# %% cache wrong: one that was thrown out must be fetched again


def cache(addresses, lines, line):
    return len(set(addresses // line))


# %% cache wrong: not what was *used* longest ago


def cache(addresses, lines, line):
    held, missed = [], 0
    for number in addresses // line:
        if number not in held:
            missed += 1
            held.append(number)
            if len(held) > lines:
                held.pop(0)
    return missed


# %% cache wrong: holds one line too few


def cache(addresses, lines, line):
    held, missed = [], 0
    for number in addresses // line:
        if number in held:
            held.remove(number)
        else:
            missed += 1
        held.append(number)
        if len(held) >= lines:
            held.pop(0)
    return missed


# %% cache wrong: holds one line too many


def cache(addresses, lines, line):
    held, missed = [], 0
    for number in addresses // line:
        if number in held:
            held.remove(number)
        else:
            missed += 1
        held.append(number)
        if len(held) > lines + 1:
            held.pop(0)
    return missed


# %% cache wrong: throw out what was used longest ago


def cache(addresses, lines, line):
    held, missed = [], 0
    for number in addresses // line:
        if number in held:
            held.remove(number)
        else:
            missed += 1
            if len(held) == lines:
                held.pop()
        held.append(number)
    return missed


# %% cache wrong: which line is that in?


def cache(addresses, lines, line):
    held, missed = OrderedDict(), 0
    for address in addresses:
        missed += address not in held
        held[address] = None
        held.move_to_end(address)
        if len(held) > lines:
            held.popitem(last=False)
    return missed


# %% cache wrong: remembers one line only


def cache(addresses, lines, line):
    missed, before = 0, None
    for number in addresses // line:
        missed += number != before
        before = number
    return missed


# %% cache right


def cache(addresses, lines, line):
    used, missed = {}, 0
    for now, address in enumerate(addresses):
        number = address // line
        if number not in used:
            missed += 1
            if len(used) == lines:
                del used[min(used, key=used.get)]
        used[number] = now
    return missed


# %% prediction wrong: by_rows is not 4096. 16 numbers share a line
by_rows, by_columns, by_columns_64 = 4096, 4096, 256

# %% prediction wrong: A line is thrown out before the next column comes by
by_rows, by_columns, by_columns_64 = 256, 256, 256

# %% prediction wrong: stay until the next column comes by
by_rows, by_columns, by_columns_64 = 256, 4096, 4096

# %% prediction wrong: That is for the first 16 columns
by_rows, by_columns, by_columns_64 = 256, 4096, 64

# %% prediction right
by_rows, by_columns, by_columns_64 = 256.0, 64 * 64, 64 * 4

# %% tiles wrong: This goes through whole rows


def tiles(rows, columns, tile):
    return [(i, j) for i in range(rows) for j in range(columns)]


# %% tiles wrong: keep both of its sides at `tile`


def tiles(rows, columns, tile):
    return [(i, j) for j in range(columns) for i in range(rows)]


# %% tiles wrong: may be a smaller one


def tiles(rows, columns, tile):
    return [
        (top + i, left + j)
        for top in range(0, rows, tile)
        for left in range(0, columns, tile)
        for i in range(tile)
        for j in range(tile)
    ]


# %% tiles wrong: but they must not be left out


def tiles(rows, columns, tile):
    return [
        (top * tile + i, left * tile + j)
        for top in range(rows // tile)
        for left in range(columns // tile)
        for i in range(tile)
        for j in range(tile)
    ]


# %% tiles wrong: Are rows and columns swapped?


def tiles(rows, columns, tile):
    return [
        (j, i)
        for top in range(0, rows, tile)
        for left in range(0, columns, tile)
        for i in range(top, min(top + tile, rows))
        for j in range(left, min(left + tile, columns))
    ]


# %% tiles wrong: Where does the next tile begin?


def tiles(rows, columns, tile):
    return [
        (i, j)
        for top in range(0, rows, tile - 1)
        for left in range(0, columns, tile)
        for i in range(top, min(top + tile, rows))
        for j in range(left, min(left + tile, columns))
    ]


# %% tiles wrong: expected a list of pairs


def tiles(rows, columns, tile):
    return rows * columns


# %% tiles right


def tiles(rows, columns, tile):
    """The tiles column by column, and inside them as well; a generator does."""
    for left in range(0, columns, tile):
        for top in range(0, rows, tile):
            for j in range(left, left + tile):
                for i in range(top, top + tile):
                    if i < rows and j < columns:
                        yield i, j


# %% tiles right


def tiles(rows, columns, tile):
    everything = np.array([(i, j) for i in range(rows) for j in range(columns)])
    return everything[np.lexsort((everything[:, 1] // tile, everything[:, 0] // tile))]


# %% direct wrong: whatever else is free


def direct(addresses, lines, line):
    held, missed = [], 0
    for number in addresses // line:
        if number in held:
            held.remove(number)
        else:
            missed += 1
        held = [*held, number][-lines:]
    return missed


# %% direct wrong: from the number of the *line*


def direct(addresses, lines, line):
    held, missed = {}, 0
    for address in addresses:
        missed += held.get(address % lines) != address
        held[address % lines] = address
    return missed


# %% direct wrong: compare the number before you call it a hit


def direct(addresses, lines, line):
    held, missed = set(), 0
    for number in addresses // line:
        missed += number % lines not in held
        held.add(number % lines)
    return missed


# %% direct right


def direct(addresses, lines, line):
    numbers = addresses // line
    missed = 0
    for place in range(lines):
        mine = numbers[numbers % lines == place]
        if mine.size:
            missed += 1 + np.count_nonzero(mine[1:] != mine[:-1])
    return missed
