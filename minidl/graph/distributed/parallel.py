"""What a training asks of the way it is spread over processes; `Alone` is the answer of a single one.

A training loop calls these methods wherever it matters that there may be others. So the same loop trains on
one process or many, and an argument chooses: `choose("data")`.
"""

from __future__ import annotations

import contextlib
import hashlib

import numpy as np

from minidl.graph.distributed.world import Mismatch, World
from minidl.hardware.machine import is_on_gpu


class Alone:
    """One process.

    Attributes
    ----------
    rank, size : int
    several_networks : bool
        Whether it can train networks that play against each other.
    whole : bool
        Whether rank 0 has all gradients, and all that the optimiser remembers.
    """

    rank, size = 0, 1
    several_networks = whole = True

    def begin(self, networks, **facts):
        """Be sure that all processes start from the same; return a context in which to train.

        Parameters
        ----------
        networks : dict of str to Layer
        facts : by name
            What else has to be the same everywhere; see `World.agree`.
        """
        return contextlib.nullcontext()

    def start_epoch(self, networks, steps):
        """An epoch of so many steps begins."""

    def end_epoch(self, networks):
        """An epoch is over: afterwards every process has the same networks."""

    def step(self, take, optimisers):
        """Do one step of a training, `take()`; return what it has measured."""
        return take()

    def share(self, array):
        """Return this process's part of a batch."""
        return array

    def gradients(self, model, loss, inputs, targets, params):
        """Find the gradients of the whole batch's loss; return the loss."""
        return self.backward(loss(model(inputs), targets), params)

    def backward(self, loss, params):
        """Find the gradients of a loss that was computed from this process's share; return the whole loss."""
        loss.backward()
        return loss.item()

    def descend(self, optimiser):
        """Take a step, with gradients that are those of the whole batch."""
        optimiser.step()

    def means(self, *values):
        """Return the means over the whole batch of numbers that were averaged over this process's share."""
        return list(values)

    def any(self, flag, epoch_over=False):
        """Whether any process wants something; False if they cannot ask before the epoch is over."""
        return bool(flag)

    def from_first(self, find):
        """Return what `find()` gives on rank 0."""
        return find()


class Spread(Alone):
    """What all ways to train on several processes share.

    Parameters
    ----------
    world : World, optional
        Which processes; by default all that `mpiexec` has started.
    threads : int, optional
        How many threads each may use; by default its share of the cores.
    """

    def __init__(self, world=None, threads=None):
        self.world, self.threads = world or World(), threads
        self.rank, self.size = self.world.rank, self.world.size

    def begin(self, networks, **facts):
        """Refuse networks and settings that differ, then copy rank 0's parameters to all."""
        for name, network in networks.items():
            if any(is_on_gpu(p.data) for p in network.parameters()):
                raise TypeError(f"{name} is on the GPU, and the processes exchange arrays in host memory")
        shapes = {name: signature(network) for name, network in networks.items()}
        self.world.agree(**{f"parameters of {name}": shape for name, shape in shapes.items()})
        self.world.agree(**facts)
        self.share_state(networks)
        self.check_equal(networks)
        return self.world.few_threads(self.threads)

    def share_state(self, networks):
        """Copy rank 0's parameters and kept state to all."""
        for network in networks.values():
            self.world.broadcast([p.data for p in network.parameters()])
            state = network.state_dict()  # copies, of which only what is not learned is needed
            for name in network.named_parameters():
                state.pop(name, None)
            self.world.broadcast(list(state.values()))
            if self.rank and state:
                network.load_state_dict({**network.state_dict(), **state})

    def check_equal(self, networks):
        """Raise `Mismatch` unless every rank's parameters are the same, bit for bit."""
        for name, network in networks.items():
            digest = hashlib.blake2b(digest_size=8)
            for parameter in network.parameters():
                digest.update(np.ascontiguousarray(parameter.data).data.cast("B"))
            if len(set(self.world.gather(digest.hexdigest()))) > 1:
                raise Mismatch(
                    f"the ranks no longer have the same parameters of {name}: their steps were not the same"
                )

    def any(self, flag, epoch_over=False):
        """Whether any rank wants it."""
        return self.world.any(flag)

    def from_first(self, find):
        """Let rank 0 find it, the others get it."""
        return self.world.from_first(find() if self.rank == 0 else None)


def signature(network):
    """Return {name: "dtype shape"} of all parameters and state of a network."""
    return {name: f"{array.dtype} {array.shape}" for name, array in network.state_dict().items()}


def choose(parallel):
    """Return a way to train: from None (one process), a name, or an object that is one already.

    Parameters
    ----------
    parallel : None, "data", "downpour", "pipeline", or an object with the methods of `Alone`

    Raises
    ------
    MpiUnavailable
        If several processes are asked for and MPI is not installed.
    TypeError, ValueError
        If it is anything else.
    """
    from minidl.graph.distributed.data import DataParallel
    from minidl.graph.distributed.downpour import Downpour
    from minidl.graph.distributed.pipeline import Pipeline

    ways = {"data": DataParallel, "downpour": Downpour, "pipeline": Pipeline}
    if parallel is None:
        return Alone()
    if isinstance(parallel, str):
        if parallel not in ways:
            raise ValueError(f"parallel must be one of {', '.join(ways)}, got {parallel!r}")
        return ways[parallel]()
    if not isinstance(parallel, Alone):
        raise TypeError(
            f"parallel must be a name or a way to train, such as DataParallel(), got {parallel!r}"
        )
    return parallel
