"""What the cost of many devices is: how long an all-reduce takes, and with it a step, on two or on thousands.

The model is Hockney's (Parallel Computing 20, 1994): a message of m bytes takes α + β·m, its latency and
its bytes over the bandwidth. An all-reduce is a list of rounds, each some messages at once; so

    ring     2 (p - 1) rounds of messages of n / p bytes      2 (p - 1) (α + β n / p)
    tree     2 ⌈log₂ p⌉ rounds of n bytes                     2 ⌈log₂ p⌉ (α + β n)
    server   2 (p - 1) messages of n bytes, one at a time     2 (p - 1) (α + β n)

(R. Thakur et al., Int. J. High Performance Computing Applications 19, 2005). One line is not enough for a
real machine: libraries send short messages in another way than long ones, and very long ones leave the
caches. So a `Link` may have several lines, each for a range of sizes. And processes that share a machine
share its cores: of k messages at once no more than `lanes` proceed at full speed.

Then there is a limit that no network lifts. More devices at the same share each make a larger batch, and
beyond some size a larger batch is hardly better than a smaller one (`steps_needed`).
"""

from __future__ import annotations

import itertools
import math
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
        How many messages proceed at once at full speed; infinite where every device has a link of its own.
    source : str
        Where the numbers are from.
    """

    name: str
    lines: tuple
    lanes: float = math.inf
    source: str = ""

    @classmethod
    def of(cls, name, latency, bandwidth, source=""):
        """Return a link of one line, from its latency (seconds) and its bandwidth one way (bytes/s)."""
        if not (latency >= 0 and bandwidth > 0):
            raise ValueError(f"latency must be at least 0 and bandwidth above 0, got {latency}, {bandwidth}")
        return cls(name, ((math.inf, float(latency), 1 / bandwidth),), math.inf, source)

    def seconds(self, size):
        """Return how long a message of `size` bytes takes that is alone on its way."""
        for end, latency, per_byte in self.lines:
            if size <= end:
                return latency + per_byte * size
        raise ValueError(f"size must be a number of bytes, got {size!r}")


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
        count * link.seconds(each) * max(1.0, at_once / link.lanes)
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


def measure(sizes, algorithms=("ring", "tree", "server"), repeat=30, ranks=None, seconds=0.5):
    """Time all-reduces of this job's ranks, with nothing to compute between them. Called on every rank.

    Parameters
    ----------
    sizes : sequence of int
        Bytes, multiples of 4.
    algorithms : sequence of str
    repeat : int
        Rounds, after two to warm up, unless a size needs more than `seconds` for them; at least 5.
    ranks : sequence of int, optional
        With so many ranks each, the others resting; by default with all.

    Returns
    -------
    list of dict
        On all ranks: "ranks", "algorithm", "bytes", and "seconds", the median over the rounds of the time
        from the start of the last rank to the end of the last rank, and its "quartiles".
    """
    everyone, found = World(), []
    for count in ranks or (everyone.size,):
        check_integer("ranks", count, 1, everyone.size, "the ranks of this job")
        part = everyone.comm.Split(int(everyone.rank < count), everyone.rank)
        if everyone.rank < count:
            world = World(part)
            for algorithm, size in itertools.product(algorithms, sizes):
                array = np.ones(check_integer("sizes", size, 4) // 4, np.float32)
                times = np.array(world.comm.allgather(_times(world, array, algorithm, repeat, seconds)))
                slowest = times[:, 1].max(axis=0) - times[:, 0].max(axis=0)
                found.append(
                    {
                        "ranks": count,
                        "algorithm": algorithm,
                        "bytes": size,
                        "seconds": float(np.median(slowest)),
                        "quartiles": np.percentile(slowest, (25, 75)).tolist(),
                    }
                )
        found = everyone.from_first(found)
    return found


def _times(world, array, algorithm, repeat, seconds):
    """Return the times of all starts, and of all ends, by rank 0's clock."""
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
    return starts, ends


def fit(measured, lanes, pieces=2, name="measured here"):
    """Return the `Link` whose times come closest to measured ones.

    Parameters
    ----------
    measured : list of dict
        As `measure` returns them; of one algorithm or several.
    lanes : float
        How many messages can proceed at once: on one machine, its cores.
    pieces : int
        How many lines it may have at most. Where one ends and the next begins is tried out.

    Notes
    -----
    The lines minimise the squares of *relative* errors: a microsecond matters where all takes three.
    """
    rows = [row for row in measured if row["algorithm"] in ("ring", "tree", "server")]
    if not rows:
        raise ValueError("measured must have rows of ring, tree or server, got none")
    parts = []  # of each row: (message size, by what it is multiplied) of its rounds, which have one size
    for row in rows:
        shape = rounds(row["algorithm"], row["ranks"], row["bytes"])
        each = shape[0][2]
        weight = sum(count * max(1.0, at_once / lanes) for count, at_once, _ in shape)
        parts.append((each, weight, row["seconds"]))
    sizes = np.array([p[0] for p in parts])
    costs = np.array([p[2] / p[1] for p in parts])  # what one message has cost
    distinct = np.unique(sizes)
    best = None
    for count in range(min(check_integer("pieces", pieces, 1), max(1, len(distinct) // 3)), 0, -1):
        for chosen in itertools.combinations(range(2, len(distinct) - 2), count - 1):
            ends = [*distinct[list(chosen)], math.inf]
            lines, error = _lines(sizes, costs, ends)
            if lines and (best is None or error < best[0]):
                best = error, lines
    return Link(name, best[1], float(lanes), "fitted to all-reduces of this machine's processes")


def _lines(sizes, costs, ends):
    """Fit a line to each range; return (lines, sum of squares of relative errors), or (None, inf)."""
    lines, error, start = [], 0.0, -1.0
    for end in ends:
        inside = (sizes > start) & (sizes <= end)
        if len(np.unique(sizes[inside])) < 2:
            return None, math.inf
        m, t = sizes[inside], costs[inside]
        system = np.stack([1 / t, m / t], axis=1)
        (latency, per_byte), *_ = np.linalg.lstsq(system, np.ones_like(t), rcond=None)
        if latency < 0 or per_byte < 0:  # then the better of the two lines that remain
            by_size = max(0.0, float((m / t).sum() / ((m / t) ** 2).sum()))
            flat = max(0.0, float((1 / t).sum() / ((1 / t) ** 2).sum()))
            options = [(flat, 0.0), (0.0, by_size)]
            latency, per_byte = min(options, key=lambda o: (((o[0] + o[1] * m) / t - 1) ** 2).sum())
        error += float((((latency + per_byte * m) / t - 1) ** 2).sum())
        lines.append((float(end), float(latency), float(per_byte)))
        start = end
    return tuple(lines), error


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
