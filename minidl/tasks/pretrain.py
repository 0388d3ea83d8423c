"""Make the weights that come with the package: `python -m minidl.tasks.pretrain gan conv_gan began lenet`.

Each recipe here trains one of the book's networks on the digits, in some minutes on two cores; the same
seed on the same machine gives the same weights.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from functools import partial
from pathlib import Path

import numpy as np
import sklearn
from safetensors.numpy import save

from minidl import __version__, layers
from minidl.models import began, gan, lenet, shipped
from minidl.models.quantized import float_bytes, quantize
from minidl.tasks.checkpoint import write_atomically
from minidl.tasks.data import digits, nudges
from minidl.tasks.metrics import Judge, accuracy
from minidl.tasks.optim import Adam
from minidl.tasks.schedules import Cosine
from minidl.tasks.train import fit, fit_began, fit_gan, predict


def train_gan(data, epochs=800, seed=0, **options):
    """Return `dense_gan(side=8)` trained on the images of a data set, and the history.

    `options` are those of `fit_gan`, in the two below those of `fit_began` and `fit`.
    """
    layers.seed(seed)
    model = gan.dense_gan(side=8)
    return model, fit_gan(model, data, epochs, seed=seed, **{"schedule": Cosine(), **options})


def train_conv_gan(data, epochs=800, seed=0, **options):
    """Return `conv_gan(side=8)` trained on the images of a data set, and the history."""
    layers.seed(seed)
    model = gan.conv_gan(side=8)
    return model, fit_gan(model, data, epochs, seed=seed, **{"schedule": Cosine(), **options})


def train_began(data, epochs=300, seed=0, **options):
    """Return `dense_began(side=8)` trained on the images of a data set, and the history."""
    layers.seed(seed)
    model = began.dense_began(side=8)
    return model, fit_began(model, data, epochs, seed=seed, **{"schedule": Cosine(), **options})


def train_lenet(data, epochs=60, seed=0, **options):
    """Return `lenet(side=8)` trained on the images of a data set, moved at random, and the history."""
    layers.seed(seed)
    model = lenet.lenet(side=8)
    settings = {"optimiser": partial(Adam, lr=2e-3), "schedule": Cosine(), "augment": nudges, **options}
    return model, fit(model, data, epochs, seed=seed, **settings)


RECIPES = {"gan": train_gan, "conv_gan": train_conv_gan, "began": train_began, "lenet": train_lenet}


def figures(model, data):
    """Return what a trained network is judged by, a dict of str to float: its drawings, or its accuracy."""
    if isinstance(model, gan.GAN):
        verdict = Judge(data.train).verdict(model.sample(1000, seed=0), data.test)
        drawn, kept, noise = verdict["drawings"], verdict["held out"], verdict["noise"]
        return {
            "rarest": drawn["shares"].min(),
            "confidence": drawn["confidence"],
            "closest": drawn["closest"],
            "closest_held_out": kept["closest"],
            "nearest": drawn["nearest"],
            "nearest_held_out": kept["nearest"],
            "frechet": drawn["frechet"],
            "frechet_held_out": kept["frechet"],
            "frechet_noise": noise["frechet"],
        }
    small = quantize(model, data.train.images)
    return {
        "accuracy": accuracy(predict(model, data.test.images), data.test.labels),
        "accuracy_in_bytes": accuracy(small(data.test.images), data.test.labels),
        "times_smaller": float_bytes(model) / small.nbytes,
    }


def write(name, model, path, **about):
    """Write a model's weights in float16, half of what they take in float32, with a note of their making."""
    state = {key: np.array(value, np.float16 if value.dtype.kind == "f" else None)
             for key, value in model.state_dict().items()}  # fmt: skip
    note = {
        "model": name,
        "date": datetime.date.today().isoformat(),
        "minidl": __version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "python": platform.python_version(),
        **{key: f"{value:.4f}" if isinstance(value, float) else str(value) for key, value in about.items()},
    }
    write_atomically(path, save(state, note))


def main(arguments=None):
    """Train what the command line names, write it, and print what it is worth as it was written."""
    parser = argparse.ArgumentParser(prog="python -m minidl.tasks.pretrain", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="by default those of the recipe")
    parser.add_argument("--out", type=Path, default=Path(str(shipped.FOLDER)), metavar="FOLDER")
    chosen = parser.parse_args(arguments)
    for name in chosen.names:
        if name not in RECIPES:
            parser.error(f"there is no recipe for {name!r}; there are {', '.join(RECIPES)}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    data = digits()
    for name in chosen.names or RECIPES:
        length = {} if chosen.epochs is None else {"epochs": chosen.epochs}
        model, history = RECIPES[name](data, seed=chosen.seed, **length)
        if history.interrupted:
            print(f"{name}: stopped after {len(history)} epochs, nothing is written")
            return
        for parameter in model.parameters():  # as they will be read
            parameter.data[...] = parameter.data.astype(np.float16)
        found = {key: float(value) for key, value in figures(model, data).items()}
        path = chosen.out / f"{name}.safetensors"
        write(name, model, path, seed=chosen.seed, epochs=len(history), **found)
        print(
            f"{path}: {sum(history['seconds']):.0f} s, " + ", ".join(f"{k} {v:.3f}" for k, v in found.items())
        )


if __name__ == "__main__":
    main()
