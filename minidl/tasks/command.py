"""What `python -m minidl train NAME` does: data, a model, its training, and a line on what came of it."""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
from pathlib import Path

import numpy as np

from minidl import __version__, layers
from minidl.graph.distributed import DataParallel
from minidl.graph.distributed.world import end_job
from minidl.tasks import average, dates, weights
from minidl.tasks.data import Dataset, DataUnavailable, Examples, check, digits, folder, mnist, nudges
from minidl.tasks.losses import mse
from minidl.tasks.metrics import Judge, accuracy, nearest
from minidl.tasks.optim import Adam
from minidl.tasks.schedules import Cosine
from minidl.tasks.train import fit, fit_began, fit_gan, predict

EPOCHS = {"gan": 800, "began": 300, "lenet": 60, "autoencoder": 100, "date": 10, "average": 20}
RATES = {"gan": 1e-3, "began": 1e-3, "lenet": 2e-3, "autoencoder": 2e-3, "date": 2e-3, "average": 0.03}


def train(chosen):
    """Train what the command line asks for; `chosen` are its arguments."""
    parallel = None
    try:
        if chosen.data_parallel is not None:
            parallel = DataParallel(chosen.data_parallel)
        with contextlib.ExitStack() as quietly:
            if parallel is not None and parallel.rank > 0:  # one of them is enough to listen to
                nowhere = quietly.enter_context(open(os.devnull, "w"))
                quietly.enter_context(contextlib.redirect_stdout(nowhere))
            _train(chosen, parallel)
    except (ValueError, OSError, DataUnavailable, RuntimeError, FloatingPointError) as error:
        if isinstance(error, RuntimeError) and type(error).__name__ == "RuntimeError":
            raise
        if parallel is not None and parallel.size > 1:
            end_job(error, f"train: {error}")
        sys.exit(f"train: {error}")


def _train(chosen, parallel):
    name = chosen.model
    if name in ("date", "average") and (chosen.data or chosen.size or chosen.invert):
        raise ValueError(f"{name} makes its own data: --data, --size and --invert are for images")
    _check_writable("--save", chosen.save)
    _check_writable("--checkpoint", chosen.checkpoint)
    if chosen.save and chosen.checkpoint and chosen.save.resolve() == chosen.checkpoint.resolve():
        raise ValueError("--save and --checkpoint must be two files")
    checkpoint = chosen.checkpoint or Path(f"minidl-{name}.checkpoint")
    if checkpoint.exists():
        print(f"Going on from {checkpoint}.")
    visible = sys.stderr.isatty()
    options = {
        "seed": chosen.seed,
        "device": chosen.device,
        "checkpoint": checkpoint,
        "progress": visible,
        "callbacks": () if visible else (_say,),
        "parallel": parallel,
    }
    first = parallel is None or parallel.rank == 0
    if chosen.batch_size:
        options["batch_size"] = chosen.batch_size
    chosen.lr = chosen.lr or RATES[name]
    epochs = EPOCHS[name] if chosen.epochs is None else chosen.epochs
    model, history, result = RECIPES[name](chosen, epochs, options)
    if history.interrupted:
        print(
            f"Stopped after {len(history)} of {epochs} epochs. {checkpoint} has everything: "
            "the same command goes on from there."
        )
        sys.exit(130)
    if chosen.checkpoint is None and first:
        checkpoint.unlink(missing_ok=True)
    print(f"{len(history)} epochs, {sum(history['seconds']):.1f} s. {result(model)}" if len(history) else "")
    if chosen.save and first:
        weights.save(
            model,
            chosen.save,
            model=name,
            epochs=len(history),
            seed=chosen.seed,
            data=chosen.data or "default",
            date=datetime.date.today().isoformat(),
            minidl=__version__,
            numpy=np.__version__,
        )
        print(f"Weights are in {chosen.save}.")


def _check_writable(option, path):
    """Find out before a long training, not after it, that its result cannot be written."""
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option} must name a file, {path} is a folder")
    parent = path.resolve().parent
    if not parent.is_dir():
        raise ValueError(f"{option}: there is no folder {parent}")
    if not os.access(parent, os.W_OK):
        raise ValueError(f"{option}: the folder {parent} cannot be written to")


def _say(training):
    """Print a line now and then, where there is no screen for a bar."""
    row = training.history[-1]
    if row["epoch"] in (1, training.epochs) or row["epoch"] % max(1, training.epochs // 10) == 0:
        numbers = ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("epoch", "seconds"))
        print(f"epoch {row['epoch']} of {training.epochs}: {numbers}", flush=True)


def images(chosen):
    """Return the images to train with, checked, and their side."""
    where = chosen.data or "digits"
    if where in ("digits", "mnist") and (chosen.size or chosen.invert):
        raise ValueError("--size and --invert are for a folder of one's own images")
    if where == "digits":
        data = digits()
    elif where == "mnist":
        data = mnist(progress=sys.stderr.isatty())
    else:
        data = folder(where, size=chosen.size or 8, seed=chosen.seed, invert=chosen.invert)
    report = check(data).raise_if_wrong()
    for finding in report.findings:
        if finding.verdict == "look":
            print(finding)
    height, width = data.train.images.shape[2:]
    if height != width:
        raise ValueError(f"images must be square for this model, got {height}×{width}: give --size")
    return data, height


def _rate(chosen):
    return lambda params: Adam(params, lr=chosen.lr)


def _lenet(chosen, epochs, options):
    from minidl.models.lenet import lenet

    data, side = images(chosen)
    layers.seed(chosen.seed)
    model = lenet(side, classes=len(data.classes))
    history = fit(model, data, epochs, optimiser=_rate(chosen), schedule=Cosine(), augment=nudges, **options)

    def result(model):
        right = accuracy(predict(model, data.test.images, device=chosen.device), data.test.labels)
        return f"{right:.2%} of {len(data.test)} test images read correctly."

    return model, history, result


def _autoencoder(chosen, epochs, options):
    from minidl.models.autoencoder import dense_autoencoder

    data, side = images(chosen)
    layers.seed(chosen.seed)
    model = dense_autoencoder(side)
    pairs = Dataset(data.name, *(Examples(part.images, part.images) for part in (data.train, data.test)))
    history = fit(model, pairs, epochs, loss=mse, optimiser=_rate(chosen), schedule=Cosine(), **options)

    def result(model):
        test = data.test.images
        error = np.mean((predict(model, test, device=chosen.device) - test) ** 2)
        same = np.mean((data.train.images.mean(axis=0) - test) ** 2)
        return (
            f"Copies of test images are off by {error:.4f} (mean square); always the mean image, {same:.4f}."
        )

    return model, history, result


def _gan(chosen, epochs, options):
    from minidl.models.gan import dense_gan

    return _play(chosen, epochs, options, dense_gan, fit_gan)


def _began(chosen, epochs, options):
    from minidl.models.began import dense_began

    return _play(chosen, epochs, options, dense_began, fit_began)


def _play(chosen, epochs, options, make, fit_both):
    data, side = images(chosen)
    layers.seed(chosen.seed)
    model = make(side)
    optimisers = (lambda params: Adam(params, lr=chosen.lr, betas=(0.5, 0.999)),) * 2
    history = fit_both(model, data, epochs, optimisers=optimisers, schedule=Cosine(), **options)

    def result(model):
        drawn = model.sample(1000, seed=0)
        if chosen.data not in (None, "digits"):
            distances, _ = nearest(drawn[:200], data.train.images)
            return f"Drawings are {np.median(distances):.2f} from the nearest image (median)."
        found = Judge(data.train).verdict(drawn, data.test)
        ours, theirs = found["drawings"], found["held out"]
        return (
            f"Of 1,000 drawings, an SVM takes {ours['shares'].min():.1%} to {ours['shares'].max():.1%} for "
            f"each digit, with a median confidence of {ours['confidence']:.2f} (real ones "
            f"{theirs['confidence']:.2f}); Fréchet distance {ours['frechet']:.2f} (real ones "
            f"{theirs['frechet']:.2f}, noise {found['noise']['frechet']:.2f}); nearest training image "
            f"{ours['nearest']:.2f} away, the closest {ours['closest']:.2f}."
        )

    return model, history, result


def _date(chosen, epochs, options):
    options["optimiser"] = _rate(chosen)
    data = dates.dates(seed=chosen.seed)
    model, history = dates.train(epochs, data=data, **options)

    def result(model):
        right = dates.exact(predict(model, data.test.inputs), data.test.targets)
        text = "the twenty-first of march, nineteen eighty-four"
        return (
            f"{right:.1%} of {len(data.test):,} new dates right. {text} → {dates.translate(model, text)[0]}"
        )

    return model, history, result


def _average(chosen, epochs, options):
    options["optimiser"] = _rate(chosen)
    model, history = average.train(epochs, **options)

    def result(model):
        weights = ", ".join(f"{w:.4f}" for w in model.weight.numpy().ravel())
        return f"Weights: {weights}; bias {model.bias.numpy()[0]:.4f}."

    return model, history, result


RECIPES = {
    "gan": _gan,
    "began": _began,
    "lenet": _lenet,
    "autoencoder": _autoencoder,
    "date": _date,
    "average": _average,
}
