"""Optimisers: which way the gradients say the parameters should go, and how far.

    optimiser = Adam(model.parameters(), lr=1e-3)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

An optimiser moves all parameters into one flat array, one behind the other, and each parameter's `data`
becomes a view of its part. A step then is one kernel over that array, however many layers there are
(`minidl.kernels.optimiser`, on the CPU or on the GPU). The rules are those of `torch.optim`.
"""

from __future__ import annotations

import itertools

import numpy as np

from minidl.graph import Tensor
from minidl.graph.dynamic import Leaf
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.kernels import optimiser as kernels
from minidl.kernels.optimiser.buffers import check_number
from minidl.ops.op import by_device

_sgd = by_device(kernels.sgd, kernels.sgd_cuda)
_momentum = by_device(kernels.momentum, kernels.momentum_cuda)
_adam = by_device(kernels.adam, kernels.adam_cuda)


class Optimiser:
    """What all three share: the flat arrays, and what is saved.

    Parameters
    ----------
    params : iterable of Tensor
        Leaves that require a gradient, all of one dtype and on one device.
    lr : float
        The learning rate; assign to `.lr` to change it.
    weight_decay : float
        Pulls parameters towards 0: this share of each is added to its gradient.

    Raises
    ------
    TypeError
        If a parameter is no `Tensor`, requires no gradient, or has another dtype than the first.
    ValueError
        If there is no parameter, one is given twice or is on another device, or a number is out of range.
    """

    memories = ()  # the names of the arrays it remembers from step to step
    numbers = ("lr", "weight_decay")  # the names of the numbers that are saved

    def __init__(self, params, lr, weight_decay=0.0):
        self.lr = lr
        self.weight_decay = check_number("weight_decay", weight_decay)
        self.params = _checked(params)
        sizes = [p.data.size for p in self.params]
        self._ends = list(itertools.accumulate(sizes))
        self._starts = [end - size for end, size in zip(self._ends, sizes, strict=True)]
        self._steps = np.zeros(len(sizes), np.int64)  # how many steps each has taken
        first = self.params[0]
        self._on_gpu = is_on_gpu(first.data)
        flat = np.concatenate([p.numpy().reshape(-1) for p in self.params])
        self._params, self._gradients = self._placed(flat), self._placed(np.zeros_like(flat))
        for name in self.memories:
            setattr(self, f"_{name}", self._placed(np.zeros_like(flat)))
        self._views = [None] * len(sizes)
        for i in range(len(sizes)):
            self._take_over(i)

    @property
    def lr(self):
        """The learning rate of the next step."""
        return self._lr

    @lr.setter
    def lr(self, value):
        self._lr = check_number("lr", value)

    def zero_grad(self):
        """Forget all gradients; `backward` would add to them."""
        for parameter in self.params:
            parameter.grad = None

    def step(self):
        """Change every parameter that has a gradient; one without is left as it is, and so is its memory."""
        for i, parameter in enumerate(self.params):
            if parameter.data is not self._views[i] or not (
                self._on_gpu or parameter.data.base is self._params
            ):
                self._collect(i)
        with_gradient = [i for i, parameter in enumerate(self.params) if parameter.grad is not None]
        self._gather(with_gradient)
        self._steps[with_gradient] += 1
        for part, step in self._stretches(with_gradient):
            self._update(part, step)

    def _update(self, part, step):
        """Take one step with a stretch of the flat arrays, the `step`-th one for these parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no rule")

    # --------------------------------------------------------------------------------------- the flat arrays

    def _placed(self, array):
        return GPU.upload(array) if self._on_gpu else array

    def _take_over(self, i):
        """Let a parameter's data be its part of the flat array."""
        parameter = self.params[i]
        view = self._params[self._starts[i] : self._ends[i]].reshape(parameter.shape)
        parameter.data = self._views[i] = view

    def _collect(self, i):
        """Copy in what somebody else has given a parameter as its data: a loaded state, another optimiser."""
        data, before = self.params[i].data, self._views[i]
        if data.shape != before.shape or data.dtype != before.dtype or is_on_gpu(data) != self._on_gpu:
            raise ValueError(
                f"parameter {i} was {before.dtype} {before.shape} on {'cuda' if self._on_gpu else 'cpu'} "
                f"and is now {data.dtype} {data.shape} on {self.params[i].device}: "
                "move and convert a model before its optimiser is made"
            )
        self._put(self._params, i, data)
        self._take_over(i)

    def _put(self, flat, i, values):
        """Write to a parameter's part of a flat array."""
        part = flat[self._starts[i] : self._ends[i]]
        if self._on_gpu:
            part.copy_to_device(values.reshape(values.size))  # `part[:] = …` would wait for the GPU
        else:
            part[:] = values.reshape(-1)

    def _gather(self, indices):
        """Lay the gradients one behind the other."""
        gradients = [self.params[i].grad for i in indices]
        for i, gradient in zip(indices, gradients, strict=True):
            if is_on_gpu(gradient) != self._on_gpu:
                raise ValueError(f"the gradient of parameter {i} is on another device than the parameter")
        if len(gradients) == len(self.params) and not self._on_gpu:
            np.concatenate([g.reshape(-1) for g in gradients], out=self._gradients)
            return
        for i, gradient in zip(indices, gradients, strict=True):
            self._put(self._gradients, i, gradient)

    def _stretches(self, indices):
        """Yield (slice, step) for neighbours with gradients and as many steps; as a rule, all at once."""
        start = 0
        for k, i in enumerate(indices):
            following = indices[k + 1] if k + 1 < len(indices) else None
            if following != i + 1 or self._steps[following] != self._steps[i]:
                yield slice(self._starts[indices[start]], self._ends[i]), int(self._steps[i])
                start = k + 1

    # ------------------------------------------------------------------------------------------------ saving

    def state_dict(self):
        """Return all it takes to go on from here, but not the parameters: numbers, and copies of arrays.

        Its values are the name of the rule, floats, tuples of floats, "steps" (an int64 for each parameter),
        and for each array that the rule remembers one in which all parameters lie one behind the other.
        """
        state = {"rule": type(self).__name__, **{name: getattr(self, name) for name in self.numbers}}
        state["steps"] = self._steps.copy()
        for name in self.memories:
            memory = getattr(self, f"_{name}")
            state[name] = GPU.download(memory) if self._on_gpu else memory.copy()
        return state

    def load_state_dict(self, state):
        """Go on from a `state_dict`; nothing is changed unless all of it fits.

        Raises
        ------
        ValueError
            If it is the state of another rule or of other parameters.
        """
        expected = {"rule", *self.numbers, "steps", *self.memories}
        if set(state) != expected:
            raise ValueError(f"state must have {sorted(expected)}, got {sorted(state)}")
        if state["rule"] != type(self).__name__:
            raise ValueError(f"state is that of {state['rule']}, this is {type(self).__name__}")
        steps = np.asarray(state["steps"])
        if steps.shape != self._steps.shape or steps.dtype.kind not in "iu" or (steps < 0).any():
            raise ValueError(f"steps must be {self._steps.size} counts, got {steps!r}")
        memories = {name: np.asarray(state[name]) for name in self.memories}
        for name, memory in memories.items():
            if memory.shape != self._params.shape or memory.dtype != self._params.dtype:
                raise ValueError(
                    f"{name} must be {self._params.dtype} of shape {self._params.shape}, "
                    f"got {memory.dtype} of shape {memory.shape}"
                )
        trial = type(self)(
            [Tensor(np.zeros(1, self._params.dtype), requires_grad=True)],
            **{name: state[name] for name in self.numbers},
        )  # which raises if a number is out of range
        for name in self.numbers:
            setattr(self, name, getattr(trial, name))
        self._steps[...] = steps
        for name, memory in memories.items():
            setattr(self, f"_{name}", self._placed(np.array(memory)))

    def __repr__(self):
        numbers = ", ".join(f"{name}={getattr(self, name)}" for name in self.numbers)
        return f"{type(self).__name__}({len(self.params)} parameters, {numbers})"


def _checked(params):
    """Return the parameters as a list."""
    if isinstance(params, Tensor) or not hasattr(params, "__iter__"):
        raise TypeError(f"params must be a list of tensors, such as model.parameters(), got {params!r}")
    params = list(params)
    if not params:
        raise ValueError("params must not be empty: a model without parameters has nothing to learn")
    for i, parameter in enumerate(params):
        if not isinstance(parameter, Tensor):
            raise TypeError(f"parameter {i} must be a Tensor, got {type(parameter).__name__}")
        if not parameter.requires_grad:
            raise TypeError(f"parameter {i} requires no gradient, so there is nothing to step along")
        if type(parameter.step) is not Leaf:
            raise TypeError(f"parameter {i} was computed from others; only a leaf can be changed")
        if parameter.size == 0:
            raise ValueError(f"parameter {i} has no elements, its shape is {parameter.shape}")
        if parameter.dtype != params[0].dtype:
            raise TypeError(f"parameter {i} must be {params[0].dtype} like the first, got {parameter.dtype}")
        if parameter.device != params[0].device:
            raise ValueError(
                f"parameter {i} must be on {params[0].device} like the first, got {parameter.device}"
            )
    if len(set(map(id, params))) < len(params):
        raise ValueError("params must not hold a tensor twice: it would take two steps at a time")
    return params


class SGD(Optimiser):
    """Gradient descent: parameter -= lr · gradient. *Stochastic* because the gradient is that of a batch."""

    def _update(self, part, step):
        _sgd(self._params[part], self._gradients[part], self.lr, self.weight_decay)


class Momentum(Optimiser):
    """Gradient descent that keeps some of its speed: velocity = momentum · velocity + gradient; parameter -=
    lr · velocity.

    Parameters
    ----------
    momentum : float
        The share of the velocity that is kept.
    nesterov : bool
        Look ahead: the gradient is added once more (torch.optim.SGD with nesterov=True).
    params, lr, weight_decay : as for `Optimiser`
    """

    memories = ("velocity",)
    numbers = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(self, params, lr, momentum=0.9, nesterov=False, weight_decay=0.0):
        super().__init__(params, lr, weight_decay)
        self.momentum, self.nesterov = check_number("momentum", momentum), bool(nesterov)

    def _update(self, part, step):
        _momentum(
            self._params[part],
            self._gradients[part],
            self._velocity[part],
            self.lr,
            self.momentum,
            self.weight_decay,
            self.nesterov,
        )


class Adam(Optimiser):
    """Steps of about one size for every parameter: its mean gradient, divided by how large gradients were.

    Parameters
    ----------
    betas : pair of float
        How much of the running means, of gradients and of their squares, is kept each step.
    eps : float
        Keeps the quotient finite where gradients are 0.
    params, lr, weight_decay : as for `Optimiser`

    Notes
    -----
    D. Kingma & J. Ba, Adam, arXiv:1412.6980, algorithm 1; torch.optim.Adam.
    """

    memories = ("mean", "square")
    numbers = ("lr", "betas", "eps", "weight_decay")

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr, weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas must be a pair of numbers, got {betas!r}")
        self.betas = tuple(check_number("betas", beta, below=1) for beta in betas)
        self.eps = check_number("eps", eps)

    def _update(self, part, step):
        _adam(
            self._params[part],
            self._gradients[part],
            self._mean[part],
            self._square[part],
            step,
            self.lr,
            self.betas,
            self.eps,
            self.weight_decay,
        )


def clip_gradients(params, norm):
    """Scale all gradients together so that the length of the vector they form is at most `norm`.

    Parameters
    ----------
    params : iterable of Tensor
        One without a gradient is passed over.
    norm : float
        The largest length allowed.

    Returns
    -------
    float
        The length before; infinite or NaN if a gradient is, and then nothing is scaled.

    Notes
    -----
    R. Pascanu, T. Mikolov & Y. Bengio, arXiv:1211.5063, algorithm 1; torch.nn.utils.clip_grad_norm_.
    """
    norm = check_number("norm", norm)
    params = [p for p in params if p.grad is not None]
    squares = 0.0
    for parameter in params:
        gradient = Tensor(parameter.grad).numpy().astype(np.float64, copy=False)
        squares += float(np.vdot(gradient, gradient))
    length = squares**0.5
    if norm < length < np.inf:
        share = norm / length
        for parameter in params:
            scaled = Tensor(parameter.grad) * share
            parameter.grad = scaled.data
    return length
