"""Training: show a network examples, see how wrong it is, and change it so that it is less wrong."""

from __future__ import annotations

import math

import numpy as np

from minidl.graph import Tensor, no_grad
from minidl.graph.distributed import choose
from minidl.kernels.arguments import check_integer
from minidl.layers import Layer
from minidl.tasks.adversarial import fit_began, fit_gan
from minidl.tasks.data import Dataset, Examples
from minidl.tasks.loop import History, Recipe, Training, run, training_split
from minidl.tasks.losses import cross_entropy
from minidl.tasks.metrics import accuracy
from minidl.tasks.optim import Adam, clip_gradients

__all__ = ["History", "Training", "evaluate", "fit", "fit_began", "fit_gan", "predict"]


def fit(
    model,
    data,
    epochs,
    *,
    batch_size=64,
    loss=cross_entropy,
    optimiser=None,
    validation=None,
    metrics=None,
    augment=None,
    seed=0,
    schedule=None,
    clip=None,
    checkpoint=None,
    patience=None,
    callbacks=(),
    progress=True,
    device="cpu",
    parallel=None,
):
    """Train a model, in place.

        history = fit(model, digits(), epochs=20)
        history["loss"], history["test_accuracy"]

    Parameters
    ----------
    model : Layer
        Left on `device`, and set to `eval()`.
    data : Dataset, Split or Examples
        Of a data set, the training part is learned from. The test part is only watched: its loss after each
        epoch is in the history, and decides nothing.
    epochs : int
        How many times every example is seen.
    batch_size : int
        How many examples one step averages over.
    loss : callable
        loss(output, targets) → a tensor of one number.
    optimiser : Optimiser or callable, optional
        One that was made with the model's parameters, or a function that makes it from them; by default
        `Adam`.
    validation : Split, Examples or float, optional
        Other examples to watch; or the share of the training examples to keep out and watch. What is decided
        while training (when to stop) is decided on these, so that the test stays a test.
    metrics : dict of str to callable, optional
        What else to measure on the examples that are watched: metric(outputs, targets) → float. By default
        the accuracy, if the loss is `cross_entropy`.
    augment : callable, optional
        augment(inputs, generator) → inputs, applied to every batch that is learned from.
    seed : int
        Where the order of the examples, dropout and `augment` start from: the same seed on the same machine
        gives the same parameters. (The initial parameters are the model's: `layers.seed` before making it.)
    schedule : callable, optional
        schedule(epoch, epochs) → what the learning rate is multiplied by; see `minidl.tasks.schedules`.
    clip : float, optional
        The largest length of the gradient.
    checkpoint : str or Path, optional
        A file that is rewritten after an epoch, once a second at most, and when Ctrl-C is pressed. If it is
        there already, the training goes on from it, to the result it would have had without the interruption.
    patience : int, optional
        Stop when the validation loss has not improved for so many epochs; then, and if the epochs run out,
        the model has the parameters of its best epoch.
    callbacks : sequence of callables
        Called with the `Training` after each epoch; and one that has a method `on_batch`, with it after each
        batch.
    progress : bool
        Whether to show a bar.
    device : {"cpu", "cuda"}
    parallel : {None, "data", "downpour", "pipeline"}, or one of `minidl.graph.distributed`
        How the processes that `mpiexec` has started share the work; by default there is one. All of them call
        `fit` with the same arguments, and end with the same parameters. Rank 0 shows the bar, watches, and
        writes the checkpoint; callbacks are called on every rank.

    Returns
    -------
    History
        Its rows have "loss" (the mean over the epoch, while it changed) and, for what is watched,
        "validation_loss" or "test_loss", and the metrics. After Ctrl-C, `history.interrupted` is True.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, or the checkpoint is that of another training.
    FloatingPointError
        If the loss is no longer a number.
    MpiUnavailable
        If several processes are asked for and MPI is not installed.
    Mismatch
        If the processes have different models, batches or settings; both are in the message.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a Layer, got {model!r}")
    split = training_split(data)
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip!r}")
    if isinstance(validation, (int, float)) and not isinstance(validation, bool):
        split, validation = _hold_out(split, validation, seed)
    if patience is not None and validation is None:
        raise ValueError(
            "patience needs validation=, a share of the training examples or others: "
            "when to stop must not be decided on the test examples"
        )
    watched, name = validation, "validation"
    if validation is None and isinstance(data, Dataset):
        watched, name = data.test, "test"
    if watched is not None and not (hasattr(watched, "inputs") and hasattr(watched, "targets")):
        raise TypeError(f"validation must be a share, a Split or Examples, got {watched!r}")
    if metrics is None:
        metrics = {"accuracy": accuracy} if loss is cross_entropy else {}
    parallel = choose(parallel)
    if clip is not None and not parallel.whole:
        raise ValueError(f"clip needs all gradients in one place, and {parallel!r} has no such place")
    recipe = Supervised(model, optimiser or Adam, loss, augment, clip, device, watched, name, metrics)
    return run(
        recipe,
        split,
        epochs,
        batch_size,
        seed=seed,
        schedule=schedule,
        checkpoint=checkpoint,
        patience=patience,
        callbacks=callbacks,
        progress=progress,
        parallel=parallel,
    )


class Supervised(Recipe):
    """One network, a loss, and examples with the right answers."""

    def __init__(self, model, optimiser, loss, augment, clip, device, watched, name, metrics):
        super().__init__({"model": model}, {"model": optimiser}, device)
        self.model, self.optimiser = self.networks["model"], self.optimisers["model"]
        self.loss, self.augment, self.clip = loss, augment, clip
        self.watched, self.name, self.metrics = watched, name, metrics
        self.settings = {"loss": name_of(loss), "augment": name_of(augment), "clip": clip}

    def step(self, inputs, targets, generator):
        """Forward, backward, and a step down."""
        if self.augment is not None:
            inputs = self.augment(inputs, generator)
        self.optimiser.zero_grad()
        inputs = Tensor(inputs, device=self._place(inputs))
        value = self.parallel.gradients(self.model, self.loss, inputs, targets, self.optimiser.params)
        if self.clip is not None:
            clip_gradients(self.optimiser.params, self.clip)
        if math.isfinite(value):  # a step along a NaN would leave nothing to look at
            self.parallel.descend(self.optimiser)
        return {"loss": value}

    def watch(self):
        """Measure what is watched."""
        if self.watched is None or len(self.watched) == 0:
            return {}
        found = evaluate(self.model, self.watched, self.loss, self.metrics, device=self.device)
        return {f"{self.name}_{key}": value for key, value in found.items()}

    def _place(self, inputs):
        return self.device if inputs.dtype.kind == "f" else None  # integers are indices, and stay


def name_of(function):
    """Return what to call a function in a checkpoint."""
    return None if function is None else getattr(function, "__qualname__", None) or repr(function)


def _hold_out(split, share, seed):
    """Return (what is left, what is kept out): as much of every class, where the targets are classes."""
    if not 0 < share < 1:
        raise ValueError(f"validation must be a share between 0 and 1, got {share!r}")
    generator = np.random.default_rng([seed, 0])
    targets = np.asarray(split.targets)
    groups = [np.arange(len(split))]
    if targets.ndim == 1 and targets.dtype.kind in "iu":
        groups = [np.flatnonzero(targets == label) for label in np.unique(targets)]
    kept = np.zeros(len(split), bool)
    for group in groups:
        kept[generator.permutation(group)[: round(share * len(group))]] = True
    if kept.all() or not kept.any():
        raise ValueError(f"validation={share} of {len(split)} examples leaves one of the two sets empty")
    return split[np.flatnonzero(~kept)], split[np.flatnonzero(kept)]


def predict(model, inputs, batch_size=256, device="cpu"):
    """Return what a model answers, in `eval` mode, without recording a graph.

    Parameters
    ----------
    model : Layer
        Its mode afterwards is what it was before.
    inputs : array, shape (N, …)
    batch_size : int
        How many at a time: bounds the memory.
    device : {"cpu", "cuda"}
        Where the model is.

    Returns
    -------
    array, shape (N, …)
    """
    inputs = np.asarray(inputs)
    batch_size = check_integer("batch_size", batch_size, 1)
    if len(inputs) == 0:
        raise ValueError("inputs are empty")
    place = device if inputs.dtype.kind == "f" else None
    modes = [(layer, layer.training) for _, layer in model.layers()]
    model.eval()
    try:
        with no_grad():
            parts = [
                model(Tensor(inputs[i : i + batch_size], device=place)).numpy()
                for i in range(0, len(inputs), batch_size)
            ]
    finally:
        for layer, mode in modes:
            layer.training = mode
    return np.concatenate(parts)


def evaluate(model, split, loss=cross_entropy, metrics=None, batch_size=256, device="cpu"):
    """Return {"loss": …} and the metrics of a model on examples; with `cross_entropy`, the accuracy too."""
    if metrics is None:
        metrics = {"accuracy": accuracy} if loss is cross_entropy else {}
    split = Examples(split.inputs, split.targets)
    outputs = predict(model, split.inputs, batch_size, device)
    with no_grad():
        found = {"loss": loss(Tensor(outputs), split.targets).item()}
    return found | {name: float(metric(outputs, split.targets)) for name, metric in metrics.items()}
