"""The loop that every training is: epoch after epoch, batch after batch, seen, stopped, saved and taken up.

What one step does is left to a *recipe* (see `Recipe`): `minidl.tasks.train` has the one for a single
network, `minidl.tasks.adversarial` those for two that play against each other.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from functools import partial
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from minidl import layers
from minidl.graph.distributed import Alone, choose
from minidl.hardware.device import Device
from minidl.kernels.arguments import check_integer
from minidl.layers import initialisers
from minidl.tasks import checkpoint as files
from minidl.tasks.data import Dataset
from minidl.tasks.interruption import interruptions
from minidl.tasks.optim import Optimiser

SECONDS = 1.0  # at least between two checkpoints: to write one can take longer than a short epoch


class History:
    """What happened in a training: `history["loss"]` is the list of losses, one for each epoch.

    Attributes
    ----------
    rows : list of dict
        One for each epoch: "epoch" (from 1), "lr", "seconds", "loss", and what else the training measures.
    stopped : str or None
        Why it ended: "epochs" (all done), "patience", "callback", "interrupted"; None while it goes on.
    best : int or None
        The epoch with the smallest validation loss, whose parameters were kept, if there was patience.
    """

    def __init__(self, rows=()):
        self.rows = [dict(row) for row in rows]
        self.stopped = self.best = None

    @property
    def interrupted(self):
        """Whether Ctrl-C ended it."""
        return self.stopped == "interrupted"

    @property
    def names(self):
        """What was measured."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __getitem__(self, name):
        """Return one measurement over all epochs, by its name; or all of one epoch, by its position."""
        if isinstance(name, (int, np.integer)):
            return self.rows[name]
        if name not in self.names:
            raise KeyError(f"{name!r} was not measured; there are {self.names}")
        return [row.get(name) for row in self.rows]

    def __len__(self):
        return len(self.rows)

    def __repr__(self):
        if not self.rows:
            return "History(no epoch yet)"
        last = ", ".join(
            f"{name} {_short(value)}" for name, value in self.rows[-1].items() if name != "epoch"
        )
        return f"History({len(self)} epochs, {self.stopped or 'going on'}; {last})"

    def _repr_html_(self):
        head = "".join(f"<th>{name}</th>" for name in self.names)
        lines = ("".join(f"<td>{_short(row.get(name, ''))}</td>" for name in self.names) for row in self.rows)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"


class Recipe:
    """What a training consists of.

    Attributes
    ----------
    networks : dict of str to Layer
        What is trained.
    optimisers : dict of str to Optimiser
    numbers : dict of str to float
        What else changes from step to step and has to be saved.
    settings : dict
        What has to be the same for a checkpoint to be taken up again, as JSON.
    parallel : Alone
        How the training is spread over processes: asked for shares of a batch, and for gradients.
    """

    parallel = Alone()

    def __init__(self, networks, optimisers, device="cpu"):
        self.device = _ready(device)
        for network in networks.values():
            if not isinstance(network, layers.Layer):
                raise TypeError(f"a model must be a Layer, got {network!r}")
            network.to(device)
        self.networks = networks
        self.optimisers = {
            name: make if isinstance(make, Optimiser) else make(networks[name].parameters())
            for name, make in optimisers.items()
        }
        self.numbers, self.settings = {}, {}

    def step(self, inputs, targets, generator):
        """Do one step with a batch, with random numbers from `generator`; return measurements by name."""
        raise NotImplementedError

    def watch(self):
        """Return measurements by name at the end of an epoch."""
        return {}


def _ready(device):
    Device(device).require()
    return device


class Training:
    """A training as it stands, given to every callback.

    Attributes
    ----------
    recipe : Recipe
    networks, optimisers : dicts
    history : History
    epoch, batch : int
        How many epochs are complete, and how many batches of the next one.
    epochs, batches : int
        How many there will be.
    latest : dict
        What the last step measured.
    stop : bool
        Set it to end the training after this batch.
    """

    def __init__(self, recipe, epochs, batches):
        self.recipe, self.epochs, self.batches = recipe, epochs, batches
        self.networks, self.optimisers = recipe.networks, recipe.optimisers
        self.history, self.latest = History(), {}
        self.epoch = self.batch = 0
        self.seconds = 0.0  # of the epoch that is under way
        self.sums, self.seen = {}, 0
        self.best_loss, self.best_state = math.inf, None
        self.stop = False

    @property
    def model(self):
        """The first of the networks."""
        return next(iter(self.networks.values()))


def run(
    recipe,
    split,
    epochs,
    batch_size,
    *,
    seed=0,
    schedule=None,
    checkpoint=None,
    patience=None,
    callbacks=(),
    progress=True,
    parallel=None,
):
    """Train; the arguments are those of `minidl.tasks.fit`."""
    epochs = check_integer("epochs", epochs, 0)
    batch_size = check_integer("batch_size", batch_size, 1)
    seed = check_integer("seed", seed, 0)
    if patience is not None:
        patience = check_integer("patience", patience, 1)
    if schedule is not None and not callable(schedule):
        raise TypeError(f"schedule must be a function of (epoch, epochs), got {schedule!r}")
    for callback in callbacks:
        if not callable(callback) and not hasattr(callback, "on_batch"):
            raise TypeError(f"a callback must be a function of the training, got {callback!r}")
    if len(split) == 0:
        raise ValueError("there is nothing to train with: the training examples are empty")

    recipe.parallel = parallel = choose(parallel)
    if len(recipe.networks) > 1 and not parallel.several_networks:
        raise ValueError(f"{parallel!r} trains one network, not {' and '.join(recipe.networks)}")
    smallest = len(split) % batch_size or batch_size
    if len(recipe.networks) > 1 and smallest < parallel.size:
        raise ValueError(
            f"the last batch of {smallest} examples cannot be shared by {parallel.size} processes: "
            "choose another batch_size"
        )
    if checkpoint is not None and not parallel.whole:
        raise ValueError(f"{parallel!r} has no process that could write a whole checkpoint")
    training = Training(recipe, epochs, -(-len(split) // batch_size))
    rates = {name: optimiser.lr for name, optimiser in recipe.optimisers.items()}
    layers.seed([seed, 1])  # what dropout draws from
    settings = None
    if checkpoint is not None:
        settings = _settings(recipe, split, batch_size, seed, schedule and (repr(schedule), epochs), patience)
        if Path(checkpoint).exists():
            _restore(training, *files.read(checkpoint), settings, checkpoint)
            training.epochs = max(epochs, training.epoch)

    written = -math.inf

    def save():
        nonlocal written
        if checkpoint is not None and parallel.rank == 0:
            files.write(checkpoint, *_state(training, settings))
            written = time.monotonic()

    context = parallel.begin(
        recipe.networks,
        batches={
            "batch_size": batch_size,
            "inputs": f"{split.inputs.dtype} {split.inputs.shape}",
            "targets": f"{split.targets.dtype} {split.targets.shape}",
        },
        settings={
            "epochs": epochs,
            "epoch": training.epoch,
            "batch": training.batch,
            "seed": seed,
            "optimisers": f"{recipe.optimisers}",
            **recipe.settings,
        },
    )
    for network in recipe.networks.values():
        network.train()
    bar = tqdm(
        total=training.epochs * training.batches,
        initial=training.epoch * training.batches + training.batch,
        unit="batch",
        disable=not progress or parallel.rank > 0,
    )
    reason = _why_it_is_over(training, epochs, patience)
    try:
        with context, bar, interruptions() as interrupted:
            while reason is None:
                _one_epoch(training, split, batch_size, seed, schedule, rates, callbacks, bar, interrupted)
                if training.batch:  # it stopped half way
                    reason = "interrupted" if parallel.any(interrupted, epoch_over=True) else "callback"
                    break
                _remember_the_best(training, patience)
                for callback in callbacks:
                    if callable(callback):
                        callback(training)
                reason = _why_it_is_over(training, epochs, patience)
                if parallel.any(interrupted or training.stop, epoch_over=True) and reason is None:
                    reason = "interrupted" if parallel.any(interrupted, epoch_over=True) else "callback"
                if reason is not None or time.monotonic() - written > SECONDS:
                    save()
            if training.batch:
                save()
    finally:
        for name, optimiser in recipe.optimisers.items():
            optimiser.lr = rates[name]
    training.history.stopped = reason
    if training.best_state is not None and reason != "interrupted":
        for name, network in recipe.networks.items():
            network.load_state_dict(training.best_state[name])
    for network in recipe.networks.values():
        network.eval()
    return training.history


def _one_epoch(training, split, batch_size, seed, schedule, rates, callbacks, bar, interrupted):
    """Go on from `training.batch` to the end of the epoch, or to where it is stopped.

    All that is random in a batch is drawn from numbers that start from (seed, epoch, batch), so that a
    training that is taken up in the middle goes on as it would have.
    """
    recipe, epoch, parallel = training.recipe, training.epoch, training.recipe.parallel
    parallel.start_epoch(recipe.networks, training.batches - training.batch)
    order = np.random.default_rng([seed, 2, epoch]).permutation(len(split))
    for batch in range(training.batch, training.batches):
        began = time.perf_counter()
        chosen = order[batch * batch_size : (batch + 1) * batch_size]
        if schedule is not None:
            factor = float(schedule(epoch + batch / training.batches, training.epochs))
            for name, optimiser in recipe.optimisers.items():
                optimiser.lr = rates[name] * factor
        generator = np.random.default_rng([seed, 3, epoch, batch])
        step = partial(recipe.step, split.inputs[chosen], split.targets[chosen], generator)
        training.latest = parallel.step(step, recipe.optimisers)
        for name, value in training.latest.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name} became {value} in epoch {epoch + 1}, batch {batch + 1}: try a smaller learning "
                    "rate or clip the gradients; `with graph.detect_nan():` names the operation"
                )
            training.sums[name] = training.sums.get(name, 0.0) + value * len(chosen)
        training.seen += len(chosen)
        training.batch = batch + 1
        bar.set_postfix(
            {"epoch": epoch + 1, **{k: _short(v / training.seen) for k, v in training.sums.items()}},
            refresh=False,
        )
        bar.update()
        for callback in callbacks:
            if hasattr(callback, "on_batch"):
                callback.on_batch(training)
        training.seconds += time.perf_counter() - began
        if parallel.any(interrupted or training.stop) and training.batch < training.batches:
            return
    parallel.end_epoch(recipe.networks)
    row = {"epoch": epoch + 1, "lr": next(iter(recipe.optimisers.values())).lr}
    row |= {name: total / training.seen for name, total in training.sums.items()}
    row |= {"seconds": training.seconds}
    training.history.rows.append(parallel.from_first(lambda: _watched(row, recipe)))
    training.epoch, training.batch = epoch + 1, 0
    training.sums, training.seen, training.seconds = {}, 0, 0.0


def _watched(row, recipe):
    """Return a row with what is watched, its seconds last."""
    seconds = row.pop("seconds")
    return row | recipe.watch() | {"seconds": seconds}


def _remember_the_best(training, patience):
    loss = training.history.rows[-1].get("validation_loss")
    if patience is not None and loss < training.best_loss:
        training.best_loss, training.history.best = loss, training.epoch
        training.best_state = {name: net.state_dict() for name, net in training.networks.items()}


def _why_it_is_over(training, epochs, patience):
    if training.batch:
        return None
    if patience is not None and training.epoch - (training.history.best or training.epoch) >= patience:
        return "patience"
    return "epochs" if training.epoch >= epochs else None


# --------------------------------------------------------------------------------------------- the checkpoint


def _settings(recipe, split, batch_size, seed, schedule, patience):
    """What two trainings must have in common for one to go on where the other has ended."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (split.inputs, split.targets):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    shapes = {
        f"{name}.{key}": list(np.shape(value))
        for name, network in recipe.networks.items()
        for key, value in network.state_dict().items()
    }
    return json.loads(
        json.dumps(
            {
                "parameters": shapes,
                "optimisers": {name: repr(optimiser) for name, optimiser in recipe.optimisers.items()},
                "training examples": digest.hexdigest(),
                "batch_size": batch_size,
                "seed": seed,
                "schedule": schedule,
                "patience": patience,
                **recipe.settings,
            }
        )
    )


def _generators(training):
    """The generators that layers draw from: the common one, and those of layers with their own."""
    found = {"": initialisers.generator()}
    for name, network in training.networks.items():
        for path, layer in network.layers():
            for attribute, value in vars(layer).items():
                if isinstance(value, np.random.Generator):
                    found[f"{name}.{path}.{attribute}"] = value
    return found


def _state(training, settings):
    """All it takes to go on: (arrays, facts)."""
    arrays, optimisers = {}, {}
    for name, network in training.networks.items():
        arrays |= {f"network {name} {key}": value for key, value in network.state_dict().items()}
    for name, optimiser in training.optimisers.items():
        optimisers[name] = {}
        for key, value in optimiser.state_dict().items():
            if isinstance(value, np.ndarray):
                arrays[f"optimiser {name} {key}"] = value
            else:
                optimisers[name][key] = value
    for name, state in (training.best_state or {}).items():
        arrays |= {f"best {name} {key}": value for key, value in state.items()}
    facts = {
        "version": 1,
        "settings": settings,
        "optimisers": optimisers,
        "numbers": training.recipe.numbers,
        "epoch": training.epoch,
        "batch": training.batch,
        "seconds": training.seconds,
        "sums": training.sums,
        "seen": training.seen,
        "rows": training.history.rows,
        "best": training.history.best,
        "best_loss": training.best_loss if math.isfinite(training.best_loss) else None,
        "generators": {name: g.bit_generator.state for name, g in _generators(training).items()},
    }
    return arrays, facts


def _restore(training, arrays, facts, settings, path):
    """Take a training up where a checkpoint has left it."""
    if facts.get("version") != 1:
        raise ValueError(f"{path} is a checkpoint of version {facts.get('version')}, this is version 1")
    theirs = facts["settings"]
    different = [name for name in {**settings, **theirs} if settings.get(name) != theirs.get(name)]
    if different:
        details = "; ".join(
            f"{name} was {_brief(theirs.get(name))} and is {_brief(settings.get(name))}" for name in different
        )
        raise ValueError(
            f"{path} is the checkpoint of another training ({details}): delete it to start afresh, or give "
            "another path"
        )

    def part(prefix):
        return {key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)}

    for name, optimiser in training.optimisers.items():
        state = {**facts["optimisers"][name], **part(f"optimiser {name} ")}
        optimiser.load_state_dict(
            {key: tuple(value) if isinstance(value, list) else value for key, value in state.items()}
        )
    for name, network in training.networks.items():
        network.load_state_dict(part(f"network {name} "))
    best = {name: part(f"best {name} ") for name in training.networks}
    training.best_state = best if any(best.values()) else None
    training.best_loss = math.inf if facts["best_loss"] is None else facts["best_loss"]
    training.recipe.numbers.update(facts["numbers"])
    training.history = History(facts["rows"])
    training.history.best = facts["best"]
    for name in ("epoch", "batch", "seconds", "sums", "seen"):
        setattr(training, name, facts[name])
    for name, generator in _generators(training).items():
        generator.bit_generator.state = facts["generators"][name]


def _brief(value):
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def training_split(data):
    """Return the examples to train with, of a `Dataset` or of a set that is all for training."""
    split = data.train if isinstance(data, Dataset) else data
    if not (hasattr(split, "inputs") and hasattr(split, "targets")):
        raise TypeError(f"data must be a Dataset, a Split or Examples, got {type(data).__name__}")
    return split
