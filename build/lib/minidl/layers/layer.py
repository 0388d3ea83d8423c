"""What a layer is: a function with numbers of its own, which can be listed, saved, loaded and moved."""

from __future__ import annotations

import contextlib

import numpy as np

from minidl.graph import Tensor
from minidl.graph.node import Value
from minidl.hardware.machine import GPU, is_on_gpu

_observers = []


@contextlib.contextmanager
def observe(observer):
    """In this context, call `observer(layer, inputs, output)` after each call of a layer, parts first."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


class Layer:
    """A part of a network. Write `forward`, and keep what belongs to the layer in attributes.

    An attribute that is a `Tensor` is a parameter, to be learned. One that is a NumPy array is state that is
    kept but not learned. One that is a `Layer` is a part, whose parameters and state belong to the whole.
    Their names, joined by dots, are those of `state_dict`, and the same as PyTorch's for the same network.
    """

    training = True

    def forward(self, x):
        """Compute the output; x is a tensor, or a node of a static graph."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs):
        """Compute the output of tensors, arrays, or nodes; say which layer it was if they do not fit."""
        inputs = [x if isinstance(x, Value) else Tensor(x) for x in inputs]
        try:
            output = self.forward(*inputs)
        except (ValueError, TypeError) as error:
            if self.parts():
                raise  # the part has said who it is
            shapes = " and ".join(str(tuple(x.shape)) for x in inputs)
            raise type(error)(f"{self!r}, given {shapes}: {error}") from None
        for observer in _observers:
            observer(self, inputs, output)
        return output

    # ------------------------------------------------------------------------------------ what belongs to it

    def parts(self):
        """Return the layers this one is made of, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Layer)}

    def layers(self, prefix=""):
        """Yield (name, layer) for this layer and, after it, each of its parts and theirs."""
        yield prefix, self
        for name, part in self.parts().items():
            yield from part.layers(f"{prefix}.{name}" if prefix else name)

    def _own(self):
        for prefix, layer in self.layers():
            for name, value in vars(layer).items():
                if isinstance(value, (Tensor, np.ndarray)):
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_parameters(self):
        """Return the parameters by name; one that is shared appears once."""
        found = {}
        for name, value in self._own():
            if isinstance(value, Tensor) and not any(value is other for other in found.values()):
                found[name] = value
        return found

    def parameters(self):
        """Return the list of parameters."""
        return list(self.named_parameters().values())

    def state_dict(self):
        """Return a copy of every parameter and piece of state, by name."""
        return {
            name: np.array(value.numpy() if isinstance(value, Tensor) else value)
            for name, value in self._own()
        }

    def load_state_dict(self, state):
        """Copy values in, by name; nothing is changed unless every name and shape fits.

        Raises
        ------
        ValueError
            If a name is missing or is not known here, or a shape differs.
        """
        own = dict(self._own())
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(f"state does not fit: missing {missing}, not known here {unknown}")
        arrays = {name: np.asarray(value) for name, value in state.items()}
        for name, array in arrays.items():
            if array.shape != own[name].shape:
                raise ValueError(f"{name} must have shape {own[name].shape}, got {array.shape}")
            if array.dtype.kind not in "biuf":
                raise TypeError(f"{name} must hold numbers, got {array.dtype}")
        for name, array in arrays.items():
            if isinstance(own[name], Tensor) and is_on_gpu(own[name].data):
                own[name].data = GPU.upload(array.astype(own[name].dtype))
            else:
                target = own[name].data if isinstance(own[name], Tensor) else own[name]
                target[...] = array

    # -------------------------------------------------------------------------------------- what it is set to

    def train(self, training=True):
        """Behave as in training: dropout drops, batch normalisation uses the batch. Returns the layer."""
        for _, layer in self.layers():
            layer.training = bool(training)
        return self

    def eval(self):
        """Behave as after training. Returns the layer."""
        return self.train(False)

    def zero_grad(self):
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self, dtype):
        """Convert all floats to float32 or float64, in place. Returns the layer."""
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, got {dtype}")
        for _, layer in self.layers():
            for name, value in vars(layer).items():
                if isinstance(value, Tensor) and value.dtype.kind == "f":
                    _replace(value, value.numpy().astype(dtype))
                elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    setattr(layer, name, value.astype(dtype))
        return self

    def to(self, device):
        """Move all parameters to "cpu" or "cuda", in place. Returns the layer."""
        for parameter in self.parameters():
            _replace(parameter, Tensor(parameter.data, device=device).data)
        return self

    def summary(self, input_shape):
        """Return a `Summary` of what each layer makes of an input of this shape, and what it costs."""
        from minidl.layers.summary import Summary  # which needs layers itself

        return Summary(self, input_shape)

    def __repr__(self):
        return f"{type(self).__name__}({self._arguments()})"

    def _arguments(self):
        return ""


def _replace(parameter, data):
    """Give a parameter other data; what it was a gradient of before is forgotten."""
    learned = parameter.requires_grad
    parameter.requires_grad = False
    parameter.data, parameter.grad = data, None
    parameter.requires_grad = learned


class Sequential(Layer):
    """Layers one after the other: Sequential(Dense(784, 100), ReLU(), Dense(100, 10))."""

    def __init__(self, *layers):
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {i} must be a Layer, got {layer!r}")
            setattr(self, str(i), layer)

    def forward(self, x):
        """Pass x through each."""
        for name, layer in self.parts().items():
            try:
                x = layer(x)
            except (ValueError, TypeError) as error:
                raise type(error)(f"layer {name}, {error}") from None
        return x

    def __getitem__(self, index):
        layers = list(self.parts().values())[index]
        return Sequential(*layers) if isinstance(index, slice) else layers

    def __len__(self):
        return len(self.parts())

    def __iter__(self):
        return iter(self.parts().values())

    def __repr__(self):
        lines = "".join(f"\n  {name}: {part!r}".replace("\n", "\n  ") for name, part in self.parts().items())
        return f"Sequential({lines}\n)"
