"""What the cost of many devices is: how long an all-reduce takes, and with it a step, on two or on thousands.

The model is Hockney's (Parallel Computing 20, 1994): a message of m bytes takes α + β·m, its latency and
its bytes over the bandwidth. An all-reduce is a list of rounds, each some messages at once; so

    ring     2 (p - 1) rounds of messages of n / p bytes      2 (p - 1) (α + β n / p)
    tree     2 ⌈log₂ p⌉ rounds of n bytes                     2 ⌈log₂ p⌉ (α + β n)
    server   2 (p - 1) messages of n bytes, one at a time     2 (p - 1) (α + β n)

(R. Thakur et al., Int. J. High Performance Computing Applications 19, 2005). One line is not enough for a
real machine: libraries send short messages in another way than long ones, and arrays that leave the caches
are slower. So a `Link` may have several lines. And processes that share a machine share its cores, in two
ways. Of k messages at once only as many proceed as there are cores, so that three of them take as long on two
cores as four. And who waits looks again and again whether something has come, in turns with the others on
its core: each of them makes every message dearer (`Link.crowd`).

Then there is a limit that no network lifts. More devices at the same share each make a larger batch, and
beyond some size a larger batch is hardly better than a smaller one (`steps_needed`).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
from dataclasses import dataclass

import numpy as np

from minidl.graph.distributed.allreduce import all_reduce
from minidl.graph.distributed.world import World
from minidl.kernels.arguments import check_integer

# ------------------------------------------------------------------------------------------- communication


@dataclass(frozen=True)
class Link:
    """What a message costs.

    Attributes
    ----------
    name : str
    lines : tuple of (float, float, float)
        For messages of up to so many bytes: (bytes, α in seconds, β in seconds per byte), rising; the last
        one has `inf`.
    lanes : float
        How many messages proceed at once at full speed: the cores of a machine that all devices share, or
        infinite where every device has a link of its own.
    source : str
        Where the numbers are from.
    crowd : tuple of (float, float)
        What every further process on a core adds to α and β of each line; none if empty.
    cache : float
        How many bytes all arrays together may have until the last line holds, whatever the message; the
        lines before it are for smaller ones. If infinite, lines are chosen by the message alone.
    """

    name: str
    lines: tuple
    lanes: float = math.inf
    source: str = ""
    crowd: tuple = ()
    cache: float = math.inf

    @classmethod
    def of(cls, name, latency, bandwidth, source=""):
        """Return a link of one line, from its latency (seconds) and its bandwidth one way (bytes/s)."""
        if not (latency >= 0 and bandwidth > 0):
            raise ValueError(f"latency must be at least 0 and bandwidth above 0, got {latency}, {bandwidth}")
        return cls(name, ((math.inf, float(latency), 1 / bandwidth),), math.inf, source)

    def seconds(self, size, devices=1, whole=0.0):
        """Return how long a message takes that is alone on its way.

        Parameters
        ----------
        size : float
            Bytes.
        devices : int
            How many take part: more than `lanes` share cores.
        whole : float
            Bytes of the arrays of all of them together.
        """
        if not size >= 0:
            raise ValueError(f"size must be a number of bytes, got {size!r}")
        number = len(self.lines) - 1
        if not whole > self.cache:
            number = next(i for i, (end, _, _) in enumerate(self.lines) if size <= end)
        _, latency, per_byte = self.lines[number]
        others = per_lane(devices, self.lanes) - 1
        if self.crowd and others:
            more_latency, more_per_byte = self.crowd[number]
            latency, per_byte = latency + others * more_latency, per_byte + others * more_per_byte
        return latency + per_byte * size


def per_lane(count, lanes):
    """Return how many of `count` the fullest of the lanes has, at least 1."""
    return max(1, math.ceil(count / lanes))


def rounds(algorithm, devices, size):
    """Return [(how often, messages at once, bytes of each)] of an all-reduce of `size` bytes.

    Parameters
    ----------
    algorithm : {"ring", "tree", "server"}
    devices : int
    size : float
    """
    p = check_integer("devices", devices, 1)
    if not size >= 0:
        raise ValueError(f"size must be at least 0 bytes, got {size!r}")
    if algorithm == "ring":
        return [(2 * (p - 1), p, size / p)]
    if algorithm == "server":
        return [(2 * (p - 1), 1, size)]
    if algorithm == "tree":
        found, far = [], 1
        while far < p:  # pairs at this distance, as `distributed.allreduce.tree` has them
            found.append((2, len(range(far, p, 2 * far)), size))
            far *= 2
        return found
    raise ValueError(f"algorithm must be one of ring, tree, server, got {algorithm!r}")


def all_reduce_seconds(link, algorithm, devices, size):
    """Return how long an all-reduce of `size` bytes takes over links of one kind."""
    return sum(
        count * link.seconds(each, devices, devices * size) * per_lane(at_once, link.lanes)
        for count, at_once, each in rounds(algorithm, devices, size)
    )


def hierarchical_seconds(inside, outside, devices, size, node=8):
    """Return how long an all-reduce takes on machines of `node` devices each.

    The devices of a machine add up over `inside` and share the result out again, both as half of a ring;
    between them the machines form a ring over `outside`, whose bandwidth is that of one machine.
    """
    p, node = check_integer("devices", devices, 1), check_integer("node", node, 1)
    local = min(p, node)
    within = all_reduce_seconds(inside, "ring", local, size)
    return within + all_reduce_seconds(outside, "ring", -(-p // node), size)


# ----------------------------------------------------------------------------------------- measuring, fitting


def measure(sizes, algorithms=("ring", "tree", "server"), repeat=30, ranks=None, seconds=0.5, visits=3):
    """Time all-reduces of this job's ranks, with nothing to compute between them. Called on every rank.

    Each rank stays on one core meanwhile (`bound`), and the whole list is gone through several times, so that
    whatever disturbs the machine for a while falls on all sizes and numbers of ranks alike. On hardware that
    is rented it may be somebody else's work. So only the quicker half of the visits counts; which these are
    is decided by the smallest number of ranks alone.

    Parameters
    ----------
    sizes : sequence of int
        Bytes, multiples of 4.
    algorithms : sequence of str
    repeat : int
        Rounds, after two to warm up, unless a size needs more than `seconds` for them; at least 5.
    ranks : sequence of int, optional
        With so many ranks each, the others resting; by default with all.
    visits : int
        How many times the rounds are spread over.

    Returns
    -------
    list of dict
        On all ranks: "ranks", "algorithm", "bytes", and "seconds", the median over the rounds of the time
        from the start of the last rank to the end of the last rank, and its "quartiles".
    """
    everyone, worlds, times, sizes = World(), {}, {}, list(sizes)
    if not sizes:
        raise ValueError("sizes must be some numbers of bytes, got none")
    each = max(5, check_integer("repeat", repeat, 1) // check_integer("visits", visits, 1))
    for count in ranks or (everyone.size,):
        check_integer("ranks", count, 1, everyone.size, "the ranks of this job")
        part = everyone.comm.Split(int(everyone.rank < count), everyone.rank)
        worlds[count] = World(part) if everyone.rank < count else None
    most = max(check_integer("sizes", size, 4) for size in sizes)
    whole = np.ones(most // 4, np.float32)  # all arrays lie here, in pages of one kind
    for _, (count, world) in itertools.product(range(visits), worlds.items()):
        if world:
            world.scratch(whole.size, whole.dtype)
            time.sleep(0.1)  # until those that rest look seldom
            with bound(world.rank):
                for algorithm, size in itertools.product(algorithms, sizes):
                    took = _slowest(world, whole[: size // 4], algorithm, each, seconds / visits)
                    times.setdefault((count, algorithm, size), []).append(took)
        everyone.barrier()
    times = {key: np.concatenate([took[i] for i in _quicker_half(times)]) for key, took in times.items()}
    found = [
        {
            "ranks": count,
            "algorithm": algorithm,
            "bytes": size,
            "seconds": float(np.median(took)),
            "quartiles": np.percentile(took, (25, 75)).tolist(),
        }
        for (count, algorithm, size), took in times.items()
    ]
    return everyone.from_first(sorted(found, key=lambda row: row["ranks"]))


def _quicker_half(times):
    """Return the numbers of the visits in which the fewest ranks were quickest, over all sizes."""
    if not times:
        return []
    fewest = min(count for count, _, _ in times)
    logs = [[np.log(np.median(one)) for one in took] for key, took in times.items() if key[0] == fewest]
    order = np.argsort(np.mean(logs, axis=0))
    return order[: -(-len(order) // 2)].tolist()


@contextlib.contextmanager
def bound(rank):
    """Keep this process on one core, rank after rank on the next, where the system lets it.

    As they do on clusters: a process that moves leaves its caches behind, and where ranks outnumber cores it
    would be a matter of luck which of them share one.
    """
    if not hasattr(os, "sched_setaffinity"):  # macOS
        yield
        return
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _slowest(world, array, algorithm, repeat, seconds):
    """Return how long each round took, from the last start to the last end by rank 0's clock."""
    starts, ends, offset = [], [], world.clock_offset()
    for turn in range(repeat + 2):
        array[...] = 1  # sums of sums would overflow
        world.barrier()
        start = time.perf_counter()
        all_reduce(array, world, algorithm)
        end = time.perf_counter()
        if turn >= 2:
            starts.append(start - offset)
            ends.append(end - offset)
        if turn == 1:
            repeat = min(repeat, max(5, int(seconds / max(world.comm.allgather(end - start)))))
        if len(ends) == repeat:
            break
    times = np.array(world.comm.allgather((starts, ends)))
    return times[:, 1].max(axis=0) - times[:, 0].max(axis=0)


def fit(measured, lanes, pieces=2, name="measured here"):
    """Return the `Link` whose times come closest to measured ones.

    Parameters
    ----------
    measured : list of dict
        As `measure` returns them; of one algorithm or several.
    lanes : float
        How many messages can proceed at once: on one machine, its cores.
    pieces : int
        How many lines it may have at most, each for a range of message sizes; one more for arrays that leave
        the caches. Where one ends and the next begins is tried out.

    Notes
    -----
    The lines minimise the squares of *relative* errors: a microsecond matters where all takes three. No
    number of a line is below 0 (C. Lawson & R. Hanson, Solving Least Squares Problems, 1974, chapter 23).
    """
    rows = [row for row in measured if row["algorithm"] in ("ring", "tree", "server")]
    if not rows:
        raise ValueError("measured must have rows of ring, tree or server, got none")
    parts = []
    for row in rows:
        shape = rounds(row["algorithm"], row["ranks"], row["bytes"])
        messages = sum(count * per_lane(at_once, lanes) for count, at_once, _ in shape)
        others = per_lane(row["ranks"], lanes) - 1
        parts.append((shape[0][2], row["ranks"] * row["bytes"], others, row["seconds"] / messages))
    parts = np.array(parts)  # the size of a message, of all arrays, others on its core, what it has cost
    sizes, wholes = np.unique(parts[:, 0]), np.unique(parts[:, 1])
    caches = [math.inf, *wholes[4:-2]] if math.isfinite(lanes) else [math.inf]
    best = None
    for count in range(min(check_integer("pieces", pieces, 1), max(1, len(sizes) // 3)), 0, -1):
        for chosen in itertools.combinations(sizes[2:-2], count - 1):
            for cache in caches:
                lines, crowd, error = _lines(parts, [*chosen, math.inf], cache)
                if lines and (best is None or error < best[0]):
                    best = error, lines, crowd, cache
    if best is None:
        raise ValueError("measured must have at least two sizes, got one")
    _, lines, crowd, cache = best
    return Link(name, lines, float(lanes), "fitted to all-reduces of this machine's processes", crowd, cache)


def _lines(parts, ends, cache):
    """Fit a line to each range; return (lines, crowd, sum of squares of relative errors), if it can."""
    size, whole = parts[:, 0], parts[:, 1]
    inside = whole <= cache
    ranges = [(e, inside & (size > s) & (size <= e)) for s, e in itertools.pairwise([-1.0, *ends])]
    if math.isfinite(cache):
        ranges.append((math.inf, ~inside))
    lines, crowd, error = [], [], 0.0
    for end, chosen in ranges:
        found = _line(parts[chosen])
        if found is None:
            return None, None, math.inf
        (latency, per_byte, *more), squares = found
        lines.append((float(end), latency, per_byte))
        crowd.append(tuple(more))
        error += squares
    return tuple(lines), tuple(crowd) if all(crowd) else (), error


def _line(parts):
    """Return ([α, β, and what another process on the core adds to them], sum of squares), or None."""
    from scipy.optimize import nnls

    size, _, others, seconds = parts.T
    crowds = np.unique(others)
    if not len(crowds) or any(len(np.unique(size[others == crowd])) < 2 for crowd in crowds):
        return None
    columns = [np.ones_like(size), size]
    if len(crowds) > 1:
        columns += [others, others * size]
    scale = np.array([np.abs(column).max() for column in columns])  # bytes beside ones
    system = np.stack(columns, axis=1) / scale / seconds[:, None]
    found, norm = nnls(system, np.ones_like(seconds))
    return (found / scale).tolist(), float(norm) ** 2


def compare(link, measured):
    """Return measured rows with "predicted" seconds, and "error", predicted over measured less 1."""
    found = []
    for row in measured:
        if row["algorithm"] in ("ring", "tree", "server"):
            predicted = all_reduce_seconds(link, row["algorithm"], row["ranks"], row["bytes"])
            found.append({**row, "predicted": predicted, "error": predicted / row["seconds"] - 1})
    return found


# ------------------------------------------------------------------------------------------- a training step


@dataclass(frozen=True)
class Step:
    """One step of data-parallel training, in seconds.

    Attributes
    ----------
    compute : float
        Forward and back through a device's share.
    traffic : float
        Of the all-reduce.
    hidden : float
        How much of the traffic passes while the way back goes on.
    """

    compute: float
    traffic: float
    hidden: float

    @property
    def seconds(self):
        """How long it takes."""
        return self.compute + self.traffic - self.hidden

    @property
    def efficiency(self):
        """The share of the time that is spent on computing: the speed-up over the number of devices."""
        return self.compute / self.seconds


def step(compute, traffic, overlap=0.0, back=2 / 3):
    """Return a step, of which traffic can hide behind `overlap` (0 to 1) of the way back.

    Parameters
    ----------
    compute, traffic : float
        Seconds.
    overlap : float
        0: it starts when all gradients are there. 1: it may fill the whole of the way back.
    back : float
        The share of the computing that is the way back.
    """
    for name, value in {"overlap": overlap, "back": back}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {value!r}")
    return Step(compute, traffic, min(traffic, overlap * back * compute))


def steps_needed(batch, critical):
    """Return how many times the least number of steps a training needs with batches of this size.

    S / S_min = 1 + B_crit / B: with small batches, twice the batch is half the steps; far above the critical
    size, it is nothing (S. McCandlish et al., arXiv:1812.06162, section 2).
    """
    if not (np.all(np.asarray(batch) > 0) and critical > 0):
        raise ValueError(f"batch and critical must be above 0, got {batch!r} and {critical!r}")
    return 1 + critical / np.asarray(batch, float)


def speed_up(devices, share, critical, efficiency=1.0):
    """Return how many times as fast `devices` reach the same loss as one does, each with `share` examples.

    Both limits are in it: what of the time is computing (`efficiency`), and what a larger batch is worth.
    """
    one = steps_needed(share, critical)
    return efficiency * one / steps_needed(np.asarray(devices) * share, critical)


def limit(devices, share, critical, efficiency):
    """Return what costs more: "bandwidth", "batch size", or "nothing" while both cost less than a tenth.

    The loss to bandwidth is 1 - efficiency. The loss to batch size is what of all examples is wasted: at
    the critical size, half.
    """
    of_batch = 1 - float(speed_up(devices, share, critical)) / devices
    of_traffic = 1 - efficiency
    if max(of_batch, of_traffic) < 0.1:
        return "nothing"
    return "batch size" if of_batch >= of_traffic else "bandwidth"
