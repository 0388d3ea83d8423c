"""Watching a training: the numbers in a network, epoch after epoch, kept to be looked at later.

watch = Watch(inputs=data.test.inputs[:200])
tasks.fit(model, data, 20, callbacks=[watch])
figures.distributions.frames(watch, "gradient")      # to and fro through the training
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from minidl.graph import Tensor, no_grad
from minidl.kernels.arguments import check_integer
from minidl.layers import observe

KINDS = ("weight", "bias", "gradient", "activation")
SAMPLE = 1000  # numbers kept of each array


@dataclass(frozen=True)
class Numbers:
    """What is kept of an array: exact figures, and some of its values.

    Attributes
    ----------
    mean, std : float
    smallest, largest : float
    zeros : float
        The share of values that are exactly 0.
    size : int
    values : float32 array
        At most a thousand of them, taken at even distances.
    """

    mean: float
    std: float
    smallest: float
    largest: float
    zeros: float
    size: int
    values: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, array):
        """Return what is kept of an array."""
        flat = np.ravel(array)
        wide = flat.astype(np.float64)
        return cls(
            float(wide.mean()),
            float(wide.std()),
            float(wide.min()),
            float(wide.max()),
            float(np.mean(flat == 0)),
            flat.size,
            flat[:: -(-flat.size // SAMPLE)].astype(np.float32),
        )


@dataclass(frozen=True)
class Moment:
    """A training at the end of an epoch.

    Attributes
    ----------
    epoch : int
        0 is before the first step.
    numbers : dict
        `numbers["gradient"]["0.weight"]` is a `Numbers`; the kinds are those of `KINDS`.
    arrays : dict of str to array
        The whole weights that were asked for, copied.
    samples : array or None
        What the function `samples` returned.
    row : dict
        That of the history.
    """

    epoch: int
    numbers: dict
    arrays: dict
    samples: np.ndarray | None
    row: dict


class Watch:
    """A callback for `tasks.fit`, `fit_gan` and `fit_began` that keeps a `Moment` of some epochs.

    Parameters
    ----------
    inputs : array, or dict of str to array, optional
        Examples to see activations of; for several networks, by the network's name ("generator", …).
    samples : callable, optional
        samples() → pictures (N, …): what a generator draws, for instance `lambda: gan.sample(16, seed=0)`.
    keep : sequence of str, optional
        Names of weights that are kept whole, for instance "0.weight", the filters of a first convolution.
    every : int or sequence of int
        Keep one epoch in so many, and the last where the training ends as planned; or keep just these.

    Attributes
    ----------
    moments : list of Moment
    history : History or None
    """

    def __init__(self, inputs=None, samples=None, keep=(), every=1):
        if samples is not None and not callable(samples):
            raise TypeError(f"samples must be a function without arguments, got {samples!r}")
        self.inputs, self.samples = inputs, samples
        self.keep = tuple([keep] if isinstance(keep, str) else keep)
        self.every = (
            {check_integer("every", epoch, 0) for epoch in every}
            if np.ndim(every) == 1
            else check_integer("every", every, 1)
        )
        self.moments, self.history, self._gradients = [], None, {}

    def on_batch(self, training):
        """Keep the gradients of an epoch's last batch, before the next step forgets them."""
        if training.batch == training.batches and self._due(training.epoch + 1, training):
            self._gradients = {
                name: Numbers.of(_array(parameter.grad))
                for name, parameter in self._parameters(training.networks)
                if parameter.grad is not None
            }

    def __call__(self, training):
        """Keep a moment, if it is time for one."""
        self.history = training.history
        if self._due(training.epoch, training):
            self._keep(training.networks, training.epoch, training.history[-1])

    def before(self, model):
        """Keep what a model is before its training, as epoch 0. Returns the watch."""
        networks = {"model": model} if not hasattr(model, "generator") else {
            "generator": model.generator, "discriminator": model.discriminator
        }  # fmt: skip
        self._keep(networks, 0, {})
        return self

    def _due(self, epoch, training):
        if isinstance(self.every, set):
            return epoch in self.every
        return epoch % self.every == 0 or epoch == training.epochs

    def _keep(self, networks, epoch, row):
        numbers, arrays = {kind: {} for kind in KINDS}, {}
        for name, parameter in self._parameters(networks):
            value = _array(parameter.data)
            numbers["bias" if parameter.ndim < 2 else "weight"][name] = Numbers.of(value)
            if name in self.keep:
                arrays[name] = np.array(value)
        unknown = [name for name in self.keep if name not in arrays]
        if unknown:
            known = ", ".join(name for name, _ in self._parameters(networks))
            raise ValueError(f"keep names {', '.join(map(repr, unknown))}, there are {known}")
        numbers["gradient"], self._gradients = self._gradients, {}
        numbers["activation"] = self._activations(networks)
        samples = None if self.samples is None else np.array(self.samples())
        self.moments.append(Moment(epoch, numbers, arrays, samples, dict(row)))

    def _parameters(self, networks):
        for network, layer in networks.items():
            for name, parameter in layer.named_parameters().items():
                yield (name if len(networks) == 1 else f"{network}.{name}"), parameter

    def _activations(self, networks):
        if self.inputs is None:
            return {}
        given = self.inputs if isinstance(self.inputs, Mapping) else {next(iter(networks)): self.inputs}
        if given.keys() - networks.keys():
            raise ValueError(f"inputs are for {', '.join(given)}, the networks are {', '.join(networks)}")
        found = {}
        for network, inputs in given.items():
            found |= activations(networks[network], inputs, "" if len(networks) == 1 else f"{network}.")
        return found

    def __len__(self):
        return len(self.moments)

    def __getitem__(self, index):
        return self.moments[index]

    def __repr__(self):
        return f"Watch({len(self)} moments of {len(self.history or ())} epochs)"


def activations(model, inputs, prefix=""):
    """Return the `Numbers` of what each layer makes of some inputs, after training, by name and class.

    Layers that are made of others are left out: what they make, their last part has made.
    """
    names = {id(layer): name for name, layer in model.layers() if not layer.parts()}
    modes = [(layer, layer.training) for _, layer in model.layers()]
    found = {}

    def see(layer, _, output):
        if id(layer) in names and output.dtype.kind == "f":
            name = f"{prefix}{names[id(layer)]} {type(layer).__name__}".strip()
            found[name] = Numbers.of(_array(output.data))

    model.eval()
    try:
        with no_grad(), observe(see):
            inputs = np.asarray(inputs)
            parameters = model.parameters()
            place = parameters[0].device if parameters and inputs.dtype.kind == "f" else None
            model(Tensor(inputs, device=place))
    finally:
        for layer, training in modes:
            layer.training = training
    return found


def _array(data):
    return Tensor(data).numpy()


class TensorBoard:
    """A callback that writes what a training measures as TensorBoard's event files.

    It writes through tensorboardX, or PyTorch's own writer; curves after every epoch and, with a `Watch`,
    histograms and pictures of each moment.

    Parameters
    ----------
    folder : str or Path
        One training, one folder.
    watch : Watch, optional
        Stand it before this one in `callbacks`.

    Raises
    ------
    ImportError
        If neither library is installed.
    """

    def __init__(self, folder, watch=None):
        self.writer, self.watch, self._written = _writer()(str(folder)), watch, 0

    def __call__(self, training):
        """Write one epoch."""
        row = training.history[-1]
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, row["epoch"])
        for moment in [] if self.watch is None else self.watch.moments[self._written :]:
            for kind, arrays in moment.numbers.items():
                for name, numbers in arrays.items():
                    self.writer.add_histogram(f"{kind}/{name}", numbers.values, moment.epoch)
            pictures = moment.samples
            if pictures is not None and pictures.ndim == 4 and pictures.shape[1] in (1, 3):
                self.writer.add_images("samples", np.clip(pictures, 0, 1), moment.epoch)
        self._written = 0 if self.watch is None else len(self.watch)
        self.writer.flush()

    def close(self):
        """Close the file."""
        self.writer.close()


def _writer():
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "writing for TensorBoard needs a library: pip install tensorboardX; to look at it, "
                "pip install tensorboard and run tensorboard --logdir FOLDER"
            ) from error
    return SummaryWriter
