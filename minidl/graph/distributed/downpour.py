"""Downpour SGD: a parameter server, and workers that do not wait for each other (J. Dean et al., NIPS 2012).

Rank 0, the *server*, holds the parameters. Every other rank, a *worker*, has some of them by heart, finds a
gradient on its own batch, sends it, and gets new parameters back. Meanwhile others' gradients have moved the
server's parameters on: a gradient is *stale* by as many steps as were taken since its worker was served.
"""

from __future__ import annotations

import collections

import numpy as np

from minidl.graph.distributed.parallel import Spread
from minidl.kernels.arguments import check_integer

_GRADIENT, _WEIGHTS = 1, 2  # tags


class Downpour(Spread):
    """Train with a server and workers: `fit(..., parallel=Downpour())`, on at least two ranks.

    Parameters
    ----------
    staleness : int, optional
        By how many steps every gradient shall be late: the gradient of step t is that at the parameters of
        step t - `staleness` (or the first of the epoch), and steps are taken in order, so that a training can
        be repeated; 0 is plain descent. By default gradients are used as they come, as in the paper, and are
        about as late as there are other workers.
    world, threads : as for `Spread`

    Attributes
    ----------
    late : list of int
        On the server, how late each gradient of the last epoch was.

    Notes
    -----
    The workers exchange gradient for parameters at every step (the paper's n_push = n_fetch = 1), and an
    epoch ends when all its gradients have been used.
    """

    several_networks = False

    def __init__(self, staleness=None, world=None, threads=None):
        self.staleness = None if staleness is None else check_integer("staleness", staleness, 0)
        super().__init__(world, threads)
        if self.size < 2:
            raise ValueError(
                "Downpour needs a server and at least one worker: start it with `mpiexec -n 2` or more"
            )
        self.workers, self.late = self.size - 1, []

    def __repr__(self):
        return f"Downpour({self.workers} workers, staleness={self.staleness})"

    def worker_of(self, step):
        """Return the rank that finds the gradient of a step."""
        return 1 + step % self.workers

    def start_epoch(self, networks, steps):
        """Serve the parameters that the first steps start from."""
        (network,) = networks.values()
        self.params, self.steps, self.now = network.parameters(), steps, 0
        self.flat = np.zeros(sum(p.size for p in self.params) + 2, np.float64)
        self.flat = self.flat.astype(self.params[0].dtype)  # the parameters or gradients; step; loss
        self.served, self.sending, self.late = collections.Counter(), [], []
        if self.rank == 0:
            ahead = self.workers if self.staleness is None else self.staleness + 1
            for step in range(min(ahead, steps)):
                self._serve(self.worker_of(step), 0)

    def _serve(self, worker, version):
        packed = self._packed([p.data for p in self.params], version, 0.0)
        self.sending.append(self.world.comm.Isend(packed, worker, _WEIGHTS))
        self.sending = [request for request in self.sending if not request.Test()]

    def _packed(self, arrays, number, value):
        flat = np.empty_like(self.flat)
        np.concatenate([a.reshape(-1) for a in arrays], out=flat[:-2])
        flat[-2:] = number, value
        return flat

    def _unpacked(self, flat):
        """Views of an array that was packed, in the parameters' shapes."""
        start = 0
        for parameter in self.params:
            yield parameter, flat[start : start + parameter.size].reshape(parameter.shape)
            start += parameter.size

    def step(self, take, optimisers):
        """A worker whose turn it is finds a gradient; the server uses one."""
        step, self.now = self.now, self.now + 1
        if self.rank == 0:
            return self._use_one(step, *optimisers.values())
        if self.rank == self.worker_of(step):
            with self.world.span("wait", "parameters"):
                self._receive(0, _WEIGHTS)
            for parameter, values in self._unpacked(self.flat):
                parameter.data[...] = values
            self._version, self._loss = float(self.flat[-2]), np.nan
            with self.world.span("compute", f"step {step + 1}"):
                take()
            if self._version is not None:  # no step was taken: the server has to hear of the loss
                self.descend(None)
        return {}

    def _receive(self, source, tag):
        self.world.wait([self.world.comm.Irecv(self.flat, source, tag)], f"rank {source}")

    def _use_one(self, step, optimiser):
        fixed = self.staleness is not None
        source = self.worker_of(step)
        with self.world.span("wait", "a gradient"):
            if fixed:
                self._receive(source, _GRADIENT)
            else:
                status = self.world.mpi.Status()
                any_rank = self.world.mpi.ANY_SOURCE
                request = self.world.comm.Irecv(self.flat, any_rank, _GRADIENT)
                self.world.wait_until(lambda: request.Test(status), "a gradient of any worker")
                source = status.Get_source()
        with self.world.span("compute", f"update {step + 1}"):
            for parameter, values in self._unpacked(self.flat):
                parameter.grad = values
            self.late.append(step - round(float(self.flat[-2])))
            value = float(self.flat[-1])
            if np.isfinite(value):
                optimiser.step()
        with self.world.span("send", "parameters"):
            self.served[source] += 1
            if fixed and step + 1 + self.staleness < self.steps:
                self._serve(self.worker_of(step + 1 + self.staleness), step + 1)
            elif not fixed and self.served[source] < self._share(source):
                self._serve(source, step + 1)
        return {"loss": value}

    def _share(self, worker):
        """How many of the epoch's steps are a worker's."""
        return len(range(worker - 1, self.steps, self.workers))

    def gradients(self, model, loss, inputs, targets, params):
        """Find the gradients of the worker's batch."""
        value = loss(model(inputs), targets)
        value.backward()
        self._loss = value.item()
        return self._loss

    def descend(self, optimiser):
        """Send the gradients to the server."""
        gradients = [np.zeros_like(p.data) if p.grad is None else p.grad for p in self.params]
        packed = self._packed(gradients, self._version, self._loss)
        self._version = None
        with self.world.span("send", "gradient"):
            self.sending.append(self.world.comm.Isend(packed, 0, _GRADIENT))
            self.sending = [request for request in self.sending if not request.Test()]

    def any(self, flag, epoch_over=False):
        """Whether any rank wants it; workers ask nobody before an epoch is over."""
        return epoch_over and self.world.any(flag)

    def end_epoch(self, networks):
        """All workers get the server's parameters."""
        with self.world.span("wait", "the others"):
            self.world.wait(self.sending, "those it has sent something")
            self.sending = []
            self.share_state(networks)
