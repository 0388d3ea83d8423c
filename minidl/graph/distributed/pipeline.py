"""Model parallelism in a pipeline: every rank has some of the layers, and parts of a batch follow each other.

With a batch as a whole only one rank would work at a time. So it is cut into *micro-batches*: while one is in
the second stage, the next is in the first. All go forward, then all go back; the gradients add up to those of
the undivided batch (Y. Huang et al., GPipe, arXiv:1811.06965).
"""

from __future__ import annotations

import itertools

import numpy as np

from minidl.graph.distributed.parallel import Spread
from minidl.graph.dynamic import Tensor
from minidl.kernels.arguments import check_integer

_FORWARD, _BACK = 3, 4  # tags; a header travels with ten times the tag
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class Pipeline(Spread):
    """Train a `Sequential` of which every rank works on a stretch: `fit(..., parallel=Pipeline())`.

    Parameters
    ----------
    micro_batches : int
        How many parts a batch is cut into.
    cuts : sequence of int, optional
        The positions in the model at which a new rank begins, one fewer than there are ranks. By default
        every rank gets about as many parameters.
    world, threads : as for `Spread`

    Notes
    -----
    Every rank is given the whole model, and only its own stretch is used and learned; after each epoch all
    ranks get all parameters. Batch normalisation sees one micro-batch at a time. The layers' inputs are kept
    from the way forward (GPipe computes them again, which takes a third more time and less memory).
    """

    several_networks = whole = False

    def __init__(self, micro_batches=4, cuts=None, world=None, threads=None):
        self.micro_batches = check_integer("micro_batches", micro_batches, 1)
        super().__init__(world, threads)
        self.cuts = None if cuts is None else [check_integer("cuts", cut, 1) for cut in cuts]
        if self.cuts is not None and (len(self.cuts) != self.size - 1 or self.cuts != sorted(set(self.cuts))):
            raise ValueError(f"cuts must be {self.size - 1} rising positions, got {cuts!r}")

    def __repr__(self):
        return f"Pipeline({self.size} stages, {self.micro_batches} micro-batches)"

    def begin(self, networks, **facts):
        """As on any number of ranks, and be sure that there are enough layers."""
        for model in networks.values():
            self.stages(model)
        return super().begin(networks, **facts)

    def stages(self, model):
        """Return the layers of each rank, a list of lists."""
        if not hasattr(model, "__iter__") or len(list(model)) < self.size:
            raise ValueError(
                f"a pipeline of {self.size} needs a Sequential of at least as many layers, got {model!r}"
            )
        found = list(model)
        cuts = self.cuts or balanced([sum(p.size for p in layer.parameters()) for layer in found], self.size)
        if cuts and cuts[-1] >= len(found):
            raise ValueError(f"cuts must lie within the {len(found)} layers, got {cuts}")
        return [found[a:b] for a, b in itertools.pairwise([0, *cuts, len(found)])]

    def gradients(self, model, loss, inputs, targets, params):
        """Send the micro-batches through and back; every rank has the gradients of its own layers."""
        mine = self.stages(model)[self.rank]
        first, last = self.rank == 0, self.rank == self.size - 1
        data = inputs.data if isinstance(inputs, Tensor) else np.asarray(inputs)
        parts = [p for p in np.array_split(np.arange(len(data)), self.micro_batches) if len(p)]
        requests, ways, total = [], [], 0.0
        for number, part in enumerate(parts, 1):
            x = Tensor(data[part]) if first else Tensor(self._receive(self.rank - 1, _FORWARD))
            x.requires_grad = not first
            with self.world.span("compute", f"forward {number}"):
                y = x
                for layer in mine:
                    y = layer(y)
                if last:
                    y = loss(y, targets[part]) * (len(part) / len(data))
                    total += y.item()
            if not last:
                requests += self._send(y.data, self.rank + 1, _FORWARD)
            ways.append((x, y))
        for number, (x, y) in enumerate(ways, 1):
            gradient = None if last else self._receive(self.rank + 1, _BACK)
            with self.world.span("compute", f"back {number}"):
                if y.requires_grad:
                    y.backward(gradient)
            if not first:
                requests += self._send(x.grad, self.rank - 1, _BACK)
        with self.world.span("wait", "the next batch"):
            self.world.wait(requests, "a neighbour to take what it was sent")
            return self.world.sum(total)[0]

    def _send(self, array, rank, tag):
        """Start to send an array, after a header that says what it is."""
        with self.world.span("send", "numbers"):
            array = np.ascontiguousarray(array)
            header = np.zeros(10, np.int64)
            header[: array.ndim + 2] = _DTYPES.index(array.dtype), array.ndim, *array.shape
            comm = self.world.comm
            return [comm.Isend(header, rank, 10 * tag), comm.Isend(array, rank, tag)]

    def _receive(self, rank, tag):
        """Wait for an array."""
        comm, header = self.world.comm, np.empty(10, np.int64)
        with self.world.span("wait", "numbers"):
            self.world.wait([comm.Irecv(header, rank, 10 * tag)], f"rank {rank}")
            dtype, ndim = header[:2]
            array = np.empty(header[2 : 2 + ndim].tolist(), _DTYPES[dtype])
            self.world.wait([comm.Irecv(array, rank, tag)], f"rank {rank}")
        return array

    def end_epoch(self, networks):
        """Every rank hands its layers to all."""
        for model in networks.values():
            for root, stage in enumerate(self.stages(model)):
                self.world.broadcast([p.data for layer in stage for p in layer.parameters()], root)
                for layer in stage:
                    state = self.world.comm.bcast(layer.state_dict(), root)
                    if self.rank != root:
                        layer.load_state_dict(state)


def balanced(weights, count):
    """Return where to cut a row of weights into `count` stretches, so that the heaviest is lightest.

    Parameters
    ----------
    weights : sequence of numbers
    count : int
        At most as many as there are weights: every stretch has one at least.

    Returns
    -------
    list of int
        The positions where a new stretch begins.
    """
    n = len(weights)
    sums = [0, *itertools.accumulate(weights)]
    best = {(1, stop): (sums[stop], []) for stop in range(1, n + 1)}
    for parts in range(2, count + 1):
        for stop in range(parts, n + 1):
            best[parts, stop] = min(
                (max(best[parts - 1, cut][0], sums[stop] - sums[cut]), [*best[parts - 1, cut][1], cut])
                for cut in range(parts - 1, stop)
            )
    return best[count, n][1]
