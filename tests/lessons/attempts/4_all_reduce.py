"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811, B905

import numpy as np

from lessons.all_reduce import bounds

# %% by_hand wrong: to three others as well
busiest, ring, steps = 300, 150, 6

# %% by_hand wrong: 3 blocks of 25 MB, not 4
busiest, ring, steps = 600, 200, 8

# %% by_hand wrong: the first half
busiest, ring, steps = 600, 75, 3

# %% by_hand wrong: A block that has gone three steps
busiest, ring, steps = 600, 150, 8

# %% by_hand right
busiest, ring, steps = 600.0, 2 * 3 / 4 * 100, 6

# %% share_out wrong: Some numbers belong to nobody


def share_out(block, ranks, n):
    return block * (n // ranks), (block + 1) * (n // ranks)


# %% share_out wrong: they may differ by one at most


def share_out(block, ranks, n):
    size = n // ranks
    return block * size, n if block == ranks - 1 else (block + 1) * size


# %% share_out wrong: expected two whole numbers


def share_out(block, ranks, n):
    return block * n / ranks, (block + 1) * n / ranks


# %% share_out wrong: it begins at 1, but the numbers begin at 0


def share_out(block, ranks, n):
    return block * n // ranks + 1, (block + 1) * n // ranks


# %% share_out wrong: ends at


def share_out(block, ranks, n):
    size = -(-n // ranks)
    return block * size, (block + 1) * size


# %% share_out wrong: expected (begin, end)


def share_out(block, ranks, n):
    return range(block * n // ranks, (block + 1) * n // ranks)


# %% share_out right


def share_out(block, ranks, n):
    """The first blocks have one more."""
    size, more = divmod(n, ranks)
    begin = block * size + min(block, more)
    return begin, begin + size + (block < more)


# %% reduce_scatter wrong: It was replaced, not added to


def reduce_scatter(rank, ranks, mine):
    for step in range(ranks - 1):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        mine[begin:end] = arrived
    return mine


# %% reduce_scatter wrong: Some rank's share is missing or there twice


def reduce_scatter(rank, ranks, mine):
    for step in range(ranks - 1):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        mine[begin:end] += 2 * arrived
    return mine


# %% reduce_scatter wrong: numbers, 9 are enough. Send one block in each step


def reduce_scatter(rank, ranks, mine):
    passing, total = mine.copy(), mine.copy()
    for _ in range(ranks - 1):
        passing = yield passing
        total += passing
    return total


# %% reduce_scatter wrong: rank 0 has the sum of block 0, expected block 1


def reduce_scatter(rank, ranks, mine):
    for step in range(ranks - 1):
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 2) % ranks, ranks, mine.size)
        mine[begin:end] += arrived
    return mine


# %% reduce_scatter wrong: are there ranks − 1 steps?


def reduce_scatter(rank, ranks, mine):
    for step in range(ranks - 2):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        mine[begin:end] += arrived
    return mine


# %% reduce_scatter wrong: it stopped with ValueError: operands could not be broadcast


def reduce_scatter(rank, ranks, mine):
    size = mine.size // ranks
    for step in range(ranks - 1):
        block = (rank - step) % ranks
        arrived = yield mine[block * size : (block + 1) * size if block < ranks - 1 else mine.size]
        block = (block - 1) % ranks
        mine[block * size : (block + 1) * size] += arrived
    return mine


# %% reduce_scatter wrong: has finished after 0 steps, but rank 1 wants to send


def reduce_scatter(rank, ranks, mine):
    for step in range(rank):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        mine[begin:end] += arrived
    return mine


# %% reduce_scatter wrong: has no `yield`


def reduce_scatter(rank, ranks, mine):
    return mine * ranks


# %% reduce_scatter wrong: rank 0 returned nothing


def reduce_scatter(rank, ranks, mine):
    for step in range(ranks - 1):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        mine[begin:end] += arrived


# %% reduce_scatter wrong: send an array


def reduce_scatter(rank, ranks, mine):
    for step in range(ranks - 1):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        yield mine[begin:end].sum().item()
    return mine


# %% reduce_scatter wrong: went on for 1000 steps, and nobody has finished


def reduce_scatter(rank, ranks, mine):
    while True:
        yield mine[:1]


# %% reduce_scatter wrong: it was still running


def reduce_scatter(rank, ranks, mine):
    yield mine[:1]
    while True:
        pass


# %% reduce_scatter right


def reduce_scatter(rank, ranks, mine):
    """Keep the block that travels apart from the array."""
    block = rank
    begin, end = bounds(block, ranks, mine.size)
    travelling = mine[begin:end]
    for _ in range(ranks - 1):
        travelling = yield travelling
        block = (block - 1) % ranks
        begin, end = bounds(block, ranks, len(mine))
        travelling = travelling + mine[begin:end]
    result = np.zeros_like(mine)
    begin, end = bounds(block, ranks, len(mine))
    result[begin:end] = travelling
    return result


# %% all_gather wrong: replace, do not add


def all_gather(rank, ranks, mine):
    for step in range(ranks - 1):
        begin, end = bounds((rank + 1 - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        mine[begin:end] += arrived
    return mine


# %% all_gather wrong: That is no sum yet


def all_gather(rank, ranks, mine):
    for step in range(ranks - 1):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        mine[begin:end] = arrived
    return mine


# %% all_gather wrong: is no sum yet


def all_gather(rank, ranks, mine):
    for step in range(ranks - 2):
        begin, end = bounds((rank + 1 - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        mine[begin:end] = arrived
    return mine


# %% all_gather wrong: numbers, 9 are enough


def all_gather(rank, ranks, mine):
    done = np.zeros(mine.size, bool)
    begin, end = bounds((rank + 1) % ranks, ranks, mine.size)
    done[begin:end] = True
    passing = np.stack([mine, done])
    for _ in range(ranks - 1):
        arrived = yield passing
        passing = np.where(passing[1] > 0, passing, arrived)
    return passing[0]


# %% all_gather wrong: it took 4 steps, and 3 would do


def all_gather(rank, ranks, mine):
    for step in range(ranks - 1):
        begin, end = bounds((rank + 1 - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        mine[begin:end] = arrived
    yield mine[:0]
    return mine


# %% all_gather right


def all_gather(rank, ranks, mine):
    block = (rank + 1) % ranks
    for _ in range(1, ranks):
        arrived = yield mine[slice(*bounds(block, ranks, len(mine)))].copy()
        block = (block - 1) % ranks
        mine[slice(*bounds(block, ranks, len(mine)))] = arrived
    return list(mine)


# %% all_reduce wrong: That is the sum


def all_reduce(rank, ranks, mine):
    for step in range(2 * (ranks - 1)):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        mine[begin:end] = arrived + mine[begin:end] if step < ranks - 1 else arrived
    return mine


# %% all_reduce wrong: 18 are enough. Send one block in each step


def all_reduce(rank, ranks, mine):
    """All gradients go around whole."""
    total, passing = mine.copy(), mine
    for _ in range(ranks - 1):
        passing = yield passing
        total += passing
    return total / ranks


# %% all_reduce wrong: of 12 values are wrong


def all_reduce(rank, ranks, mine):
    for step in range(ranks - 1):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        mine[begin:end] += arrived
    return mine / ranks


# %% all_reduce wrong: divided twice


def all_reduce(rank, ranks, mine):
    mine /= ranks
    for step in range(2 * (ranks - 1)):
        begin, end = bounds((rank - step) % ranks, ranks, mine.size)
        arrived = yield mine[begin:end]
        begin, end = bounds((rank - step - 1) % ranks, ranks, mine.size)
        mine[begin:end] = arrived + mine[begin:end] if step < ranks - 1 else arrived
    return mine / ranks


# %% all_reduce right


def all_reduce(rank, ranks, mine):
    mine = mine / ranks

    def where(block):
        return slice(*bounds(block % ranks, ranks, mine.size))

    for step in range(ranks - 1):
        arrived = yield mine[where(rank - step)]
        mine[where(rank - step - 1)] += arrived
    for step in range(ranks - 1):
        mine[where(rank - step)] = yield mine[where(rank + 1 - step)]
    return mine


# %% seconds wrong: There are two halves


def seconds(moved, ranks, latency, bandwidth):
    return (ranks - 1) * (latency + moved / ranks / bandwidth)


# %% seconds wrong: In a step goes one block


def seconds(moved, ranks, latency, bandwidth):
    return 2 * (ranks - 1) * (latency + moved / bandwidth)


# %% seconds wrong: Each step waits for the latency


def seconds(moved, ranks, latency, bandwidth):
    return latency + 2 * (ranks - 1) * moved / ranks / bandwidth


# %% seconds wrong: Each half has ranks − 1 steps


def seconds(moved, ranks, latency, bandwidth):
    return 2 * ranks * (latency + moved / ranks / bandwidth)


# %% seconds right


def seconds(moved, ranks, latency, bandwidth):
    return sum(latency + moved / bandwidth / ranks for _ in range(2 * ranks - 2))


# %% uneven wrong: Every *example* counts the same


def combined(gradients, examples):
    return sum(gradients) / len(gradients)


# %% uneven wrong: Divide by the number of all examples


def combined(gradients, examples):
    return sum(n * gradient for gradient, n in zip(gradients, examples))


# %% uneven wrong: A NaN may touch only


def combined(gradients, examples):
    return sum(n * gradient for gradient, n in zip(gradients, examples)) / sum(examples)


# %% uneven wrong: changed its input


def combined(gradients, examples):
    total = gradients[0]
    total *= examples[0]
    for gradient, n in zip(gradients[1:], examples[1:]):
        if n:
            total += n * gradient
    return total / sum(examples)


# %% uneven right


def combined(gradients, examples):
    return np.average(np.nan_to_num(gradients), axis=0, weights=examples)
