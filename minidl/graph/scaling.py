"""What the cost of many devices is: how long an all-reduce takes, and with it a step, on two or on thousands.

The model is Hockney's (Parallel Computing 20, 1994): a message of m bytes takes α + β·m, its latency and
its bytes over the bandwidth. An all-reduce is a list of rounds, each some messages at once; so

    ring     2 (p - 1) rounds of messages of n / p bytes      2 (p - 1) (α + β n / p)
    tree     2 ⌈log₂ p⌉ rounds of n bytes                     2 ⌈log₂ p⌉ (α + β n)
    server   2 (p - 1) messages of n bytes, one at a time     2 (p - 1) (α + β n)

(R. Thakur et al., Int. J. High Performance Computing Applications 19, 2005). One line is not enough for a
real machine: libraries send short messages in another way than long ones, and arrays that leave the caches
are slower. So a `Link` may have several lines. And processes that share a machine share its cores, in three
ways. Latency is work for the processes at both ends, and those on one core do it in turns. Of k messages at
once the bytes of only as many proceed as there are cores. And who waits looks again and again whether
something has come, in turns with the others on its core: each of them makes every message dearer
(`Link.crowd`).

Then there is a limit that no network lifts. More devices at the same share each make a larger batch, and
beyond some size a larger batch is hardly better than a smaller one (`steps_needed`).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

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
        How many bytes of all arrays together the caches hold. Of larger arrays the rest costs what the last
        line says, whatever the message, and the lines before it are for what is in the caches. If infinite,
        all is, and all lines are chosen by the message.
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
        latency, per_byte = self.line(size, devices, whole)
        return latency + per_byte * size

    def line(self, size, devices=1, whole=0.0):
        """Return α and β of such a message; the arguments are those of `seconds`."""
        if not size >= 0:
            raise ValueError(f"size must be a number of bytes, got {size!r}")
        others = per_lane(devices, self.lanes) - 1
        inside = self.lines[:-1] if math.isfinite(self.cache) else self.lines
        near = self._line(next(i for i, (end, _, _) in enumerate(inside) if size <= end), others)
        if not whole > self.cache:
            return near
        kept, far = self.cache / whole, self._line(-1, others)
        return tuple(kept * one + (1 - kept) * other for one, other in zip(near, far, strict=True))

    def _line(self, number, others):
        _, latency, per_byte = self.lines[number]
        more_latency, more_per_byte = self.crowd[number] if self.crowd else (0.0, 0.0)
        return latency + others * more_latency, per_byte + others * more_per_byte


def per_lane(count, lanes):
    """Return how many of `count` the fullest of the lanes has, at least 1."""
    return max(1, math.ceil(count / lanes))


def rounds(algorithm, devices, size):
    """Return [(how often, senders, receivers, bytes of each message)] of an all-reduce of `size` bytes.

    The first sender sends to the first receiver, at the same time the second to the second, and so on; in
    the second half of a tree or a server's rounds the other way.

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
        return [(2 * (p - 1), range(p), (*range(1, p), 0), size / p)]
    if algorithm == "server":
        return [(2, (other,), (0,), size) for other in range(1, p)]
    if algorithm == "tree":
        found, far = [], 1
        while far < p:  # pairs at this distance, as `distributed.allreduce.tree` has them
            found.append((2, range(far, p, 2 * far), range(0, p - far, 2 * far), size))
            far *= 2
        return found
    raise ValueError(f"algorithm must be one of ring, tree, server, got {algorithm!r}")


def _turns(algorithm, devices, size, lanes):
    """Return how many latencies and how many messages come one after the other, and the bytes of each."""
    latencies, messages = 0, 0
    shape = rounds(algorithm, devices, size)
    for count, senders, receivers, _ in shape:
        messages += count * per_lane(len(senders), lanes)
        at_work = Counter(rank % lanes for rank in {*senders, *receivers}) if lanes < math.inf else {0: 1}
        latencies += count * max(at_work.values())
    return latencies, messages, shape[0][-1] if shape else size


def all_reduce_seconds(link, algorithm, devices, size):
    """Return how long an all-reduce of `size` bytes takes over links of one kind."""
    latencies, messages, each = _turns(algorithm, devices, size, link.lanes)
    latency, per_byte = link.line(each, devices, devices * size)
    return latencies * latency + messages * per_byte * each


def hierarchical_seconds(inside, outside, devices, size, node=8):
    """Return how long an all-reduce takes on machines of `node` devices each.

    The devices of a machine add up over `inside` and share the result out again, both as half of a ring;
    between them the machines form a ring over `outside`, whose bandwidth is that of one machine.
    """
    p, node = check_integer("devices", devices, 1), check_integer("node", node, 1)
    local = min(p, node)
    within = all_reduce_seconds(inside, "ring", local, size)
    return within + all_reduce_seconds(outside, "ring", -(-p // node), size)


# --------------------------------------------------------------------------------------------------- fitting


def fit(measured, lanes, pieces=2, name="measured here"):
    """Return the `Link` whose times come closest to measured ones.

    Parameters
    ----------
    measured : list of dict
        As `distributed.timing.measure` returns them; of one algorithm or several.
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
        latencies, messages, each = _turns(row["algorithm"], row["ranks"], row["bytes"], lanes)
        others = per_lane(row["ranks"], lanes) - 1
        parts.append((each, row["ranks"] * row["bytes"], others, latencies, messages, row["seconds"]))
    parts = np.array(parts)  # bytes of a message, of all arrays; others on its core; turns; what it all took
    sizes, wholes = np.unique(parts[:, 0]), np.unique(parts[:, 1])
    caches = [math.inf, *wholes[4:-2]] if math.isfinite(lanes) else [math.inf]
    best = None
    for count in range(min(check_integer("pieces", pieces, 1), max(1, len(sizes) // 3)), 0, -1):
        for chosen in itertools.combinations(sizes[2:-2], count - 1):
            for cache in caches:
                found = _lines(parts, [*chosen, math.inf], cache)
                if found and (best is None or found[-1] < best[0][-1]):
                    best = found, cache
    if best is None:
        raise ValueError("measured must have at least two sizes, got one")
    (lines, crowd, _), cache = best
    source = "fitted to all-reduces of this machine's processes"
    return Link(name, lines, float(lanes), source, crowd, float(cache))


def _lines(parts, ends, cache):
    """Fit a line to each range; return (lines, crowd, sum of squares of relative errors), or None."""
    from scipy.optimize import nnls

    size, whole, others, latencies, messages, seconds = parts.T
    kept = np.minimum(1, cache / whole)
    shares = [((size > start) & (size <= end)) * kept for start, end in itertools.pairwise([-1.0, *ends])]
    if math.isfinite(cache):
        ends, shares = [*ends, math.inf], [*shares, 1 - kept]
    crowds = np.unique(others)
    for share, crowd in itertools.product(shares, crowds):
        if len(np.unique(size[(share > 0) & (others == crowd)])) < 2:
            return None
    columns = []
    for share in shares:
        columns += [share * latencies, share * messages * size]
        if len(crowds) > 1:
            columns += [share * others * latencies, share * others * messages * size]
    scale = np.array([np.abs(column).max() for column in columns])  # bytes beside ones
    system = np.stack(columns, axis=1) / scale / seconds[:, None]
    found, norm = nnls(system, np.ones_like(seconds))
    numbers = (found / scale).reshape(len(shares), -1).tolist()
    lines = tuple((float(end), *one[:2]) for end, one in zip(ends, numbers, strict=True))
    return lines, tuple(tuple(one[2:]) for one in numbers) if len(crowds) > 1 else (), float(norm) ** 2


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
