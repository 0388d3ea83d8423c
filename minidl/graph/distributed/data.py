"""Data parallelism: every rank has the whole network and a share of each batch, and all take the same step.

The gradient of a batch's mean loss is the mean of its examples' gradients, so ranks that average those of
their shares get that of the whole batch, and stay the same for ever. The last layer's gradients are ready
first, while the way back goes on: they are sent in *buckets* as soon as one is full, so that most of the
traffic is hidden behind arithmetic (S. Li et al., PyTorch Distributed, VLDB 2020, arXiv:2006.15704).
"""

from __future__ import annotations

import numpy as np

from minidl.graph.distributed.allreduce import Exchange, check_algorithm
from minidl.graph.distributed.parallel import Spread
from minidl.kernels.arguments import check_integer

BUCKET = 1 << 20  # bytes


class DataParallel(Spread):
    """Train as one process would, on several: `fit(..., parallel=DataParallel())`.

    Parameters
    ----------
    all_reduce : {"mpi", "ring", "tree", "server", "shared"}
        How gradients are added up; see `minidl.graph.distributed.allreduce`.
    bucket : int
        Bytes of gradients that travel together, at least: fewer messages, or an earlier start.
    overlap : bool
        Whether buckets are sent while the way back goes on, or all at its end.
    world, threads : as for `Spread`

    Notes
    -----
    Batch normalisation averages over each rank's share, so it differs from one process; what it keeps is
    rank 0's. Dropout draws other numbers for an example than one process would.
    """

    def __init__(self, all_reduce="mpi", bucket=BUCKET, overlap=True, world=None, threads=None):
        self.all_reduce = check_algorithm(all_reduce)
        self.bucket, self.overlap = check_integer("bucket", bucket, 1), bool(overlap)
        super().__init__(world, threads)
        self._plans, self._weight, self._arrays = {}, 1 / self.size, 0
        if self.all_reduce == "shared" and not self.world.one_machine():
            raise ValueError("all_reduce='shared' needs all ranks on one machine, and they are on several")

    def __repr__(self):
        return f"DataParallel({self.size} ranks, all_reduce={self.all_reduce!r})"

    def share(self, array):
        """Return this rank's stretch of a batch; the last shares may be an example larger or smaller."""
        count = len(array)
        first, last = (i * count // self.size for i in (self.rank, self.rank + 1))
        self._weight = (last - first) / count
        return array[first:last]

    def gradients(self, model, loss, inputs, targets, params):
        """Go forward and back with this rank's share."""
        inputs, targets = self.share(inputs), self.share(targets)
        if not len(inputs):  # more ranks than examples: nothing to compute, but the others count on us
            return self.backward(None, params)
        with self.world.span("compute", "forward"):
            value = loss(model(inputs), targets)
        return self.backward(value, params)

    def backward(self, loss, params):
        """Find the gradients of this rank's share, and replace them by those of the whole batch.

        Returns
        -------
        float
            The loss of the whole batch, which travels with the last bucket.
        """
        params = list(params)
        key = tuple(map(id, params))
        if key not in self._plans:
            place = self._in_common if self.all_reduce == "shared" else np.zeros
            self._plans[key] = Buckets(params, self.bucket, place)
        before = [self._plans[key].kept(parameter) for parameter in params]
        for parameter in params:
            parameter.grad = None
        exchanges = self._plans[key].summed(self.world, loss, self._weight, self.all_reduce, self.overlap)
        for exchange in exchanges:
            exchange.wait()
        value = self._plans[key].deliver()
        for parameter, old in zip(params, before, strict=True):
            if old is not None:
                parameter.grad = old if parameter.grad is None else old + parameter.grad
        return value

    def _in_common(self, size, dtype):
        """Return an array of this rank's that the others can see."""
        self._arrays += 1
        return self.world.shared(size, dtype, ("gradients", self._arrays))[self.rank]

    def means(self, *values):
        """Return the means over all shares, each as heavy as it has examples."""
        with self.world.span("wait", "numbers"):
            return self.world.sum(*(self._weight * value if self._weight else 0.0 for value in values))

    def end_epoch(self, networks):
        """The parameters are the same already, which is checked; state that is not learned becomes so."""
        self.check_equal(networks)
        self.share_state(networks)


class Buckets:
    """Flat arrays, each for the gradients of some parameters, the last parameter first.

    Behind the gradients there is a number for each parameter: how many ranks had a gradient for it. One that
    no rank has used gets none, as on a single process. And in the last bucket there is room for the loss.

    Parameters
    ----------
    params : list of Tensor
    size : int
        Bytes of a bucket, at least.
    place : callable
        place(size, dtype) → a flat array.
    """

    def __init__(self, params, size, place=np.zeros):
        self.params, self.place, self.flats = params, {}, []
        groups, bytes_ = [[]], 0
        for parameter in reversed(params):
            if groups[-1] and (bytes_ >= size or parameter.dtype != groups[-1][0].dtype):
                groups.append([])
                bytes_ = 0
            groups[-1].append(parameter)
            bytes_ += parameter.data.nbytes
        for number, group in enumerate(groups):
            ends = np.cumsum([parameter.size for parameter in group]).tolist()
            flat = place(ends[-1] + len(group) + (number == len(groups) - 1), group[0].dtype)
            self.flats.append(flat)
            for i, (parameter, end) in enumerate(zip(group, ends, strict=True)):
                view = flat[end - parameter.size : end].reshape(parameter.shape)
                self.place[id(parameter)] = number, view, flat[ends[-1] + i : ends[-1] + i + 1]
        self.sizes = [len(group) for group in groups]

    def summed(self, world, loss, weight, how, overlap):
        """Go back from a loss; start to sum up the buckets, in order, as they fill; return the exchanges."""
        missing, exchanges = list(self.sizes), []
        for number, flat in enumerate(self.flats):
            flat[-self.sizes[number] - (number == len(self.flats) - 1) :] = 0
        if loss is not None:
            self.flats[-1][-1] = weight * loss.item()

        def start(ready):
            while len(exchanges) < len(self.flats) and ready(len(exchanges)):
                number = len(exchanges)
                name = f"bucket {number + 1}"
                exchanges.append(Exchange(world, self.flats[number], how, number, name))

        def take(parameter):
            if id(parameter) not in self.place:
                return
            number, view, count = self.place[id(parameter)]
            np.multiply(parameter.grad, parameter.dtype.type(weight), out=view)
            count[0] = 1
            missing[number] -= 1
            if overlap:
                start(lambda number: not missing[number])
                for exchange in exchanges:
                    exchange.poke()

        with world.span("compute", "backward"):
            if loss is not None:
                loss.backward(on_leaf=take)
        for number, view, count in self.place.values():
            if number >= len(exchanges) and not count[0]:
                view[...] = 0
        start(lambda number: True)
        return exchanges

    def deliver(self):
        """Hand the sums to the parameters; return the loss."""
        for parameter in self.params:
            _, view, count = self.place[id(parameter)]
            parameter.grad = view if count[0] else None
        return float(self.flats[-1][-1])

    def kept(self, parameter):
        """Return the gradient that a parameter has already, copied if it lies in a bucket."""
        gradient = parameter.grad
        lies_here = gradient is not None and np.may_share_memory(gradient, self.place[id(parameter)][1])
        return gradient.copy() if lies_here else gradient
