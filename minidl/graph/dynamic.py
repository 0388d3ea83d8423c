"""The dynamic graph: computing with tensors records what was done, and `backward` goes the record back.

    a = Tensor([1.0, 2.0], requires_grad=True)
    b = (a * a).sum()        # done at once; b remembers how it was made
    b.backward()
    a.grad                   # [2., 4.]

The graph is nothing but references: a tensor to the `Step` that made it, a step to the steps that made its
inputs. Nothing refers forward, so there are no cycles, and the graph goes when the last tensor that hangs on
it goes.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import operator
import sys
import threading
import weakref

import numpy as np

from minidl import ops
from minidl.graph.node import GradientError, NotANumber, Value
from minidl.hardware.device import Device
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.ops import unbroadcast


class _Mode(threading.local):
    """What each thread is doing: recording steps, and watching for NaN.

    `quietly(f, ...)` calls f so that infinities and NaN pass silently, as in the frameworks (but see
    `detect_nan`). NumPy keeps what it warns of in the current context; in this one, our own, it warns
    of nothing. (`np.errstate` does the same, and takes five times as long.)
    """

    recording = True
    watching = False

    def __init__(self):
        context = contextvars.copy_context()
        context.run(np.seterr, all="ignore")
        self.quietly = context.run


mode = _Mode()


# ------------------------------------------------------------------------------------------------- recording


_numbers = itertools.count()
_new, _ndarray = object.__new__, np.ndarray  # used for every step: shorter ways to them
NONE = {}  # the parameters of operations without any
ALL_OF_IT = 1 << 17  # bytes: to see whether a larger array was changed, only a sample of it is compared


class Leaf:
    """Where gradients end up: what a step knows of a tensor that no step made.

    The tensor is not kept alive by it: nobody could ask for the gradient of a tensor that is gone.
    """

    __slots__ = ("tensor",)

    def __init__(self, tensor):
        self.tensor = weakref.ref(tensor)


class Step:
    """One operation that was done: all that the way back needs to know of it.

    Attributes
    ----------
    op, params : the operation and its keyword arguments
    saved : tuple
        What the operation kept for its gradient.
    parents : list of Step, Leaf or None
        What made each input; None where no gradient is wanted.
    shape, dtype : those of the result
    number : int
        Steps are numbered as they are made.
    print : list of bytes, or None
        What the arrays in `saved` looked like then.
    """

    __slots__ = (
        "dtype", "number", "op", "params", "parents", "place", "print", "retained", "saved", "shape",
    )  # fmt: skip

    def __init__(self, op, params, saved, parents, result):
        self.op = op  # one by one: four at a time would be packed into a tuple first
        self.params = params or NONE
        self.saved = saved
        self.parents = parents
        self.shape, self.dtype = result.shape, result.dtype
        self.number = next(_numbers)
        self.print = _print(saved) if saved else None
        self.retained = self.place = None

    def check_unchanged(self):
        """Raise GradientError if an array that was kept has been written to since."""
        if self.print != _print(self.saved):
            raise GradientError(
                f"{self.describe()} kept an array for the way back, and it has been changed in place since: "
                "compute a new one instead, or call backward first"
            )

    def describe(self):
        """Return, for messages: what was done, to what, and where in the program if that is known."""
        place = f", at {self.place}" if self.place else ""
        return f"{self.op.name} (step {self.number}), shape {self.shape}{place}"


def _print(saved):
    """Return the bytes of all small arrays in a tuple, and a sample of the large ones."""
    return [a.tobytes() if a.nbytes <= ALL_OF_IT else _sample(a) for a in saved if type(a) is _ndarray]


def _sample(array):
    """Return the bytes of about 1024 elements spread over a large array."""
    if array.flags.forc:
        return array.ravel("K")[:: array.size >> 10].tobytes()
    return array[tuple([slice(None, None, -(-n // 16)) for n in array.shape])].tobytes()


def _place():
    """Return "file:line" of the nearest caller outside minidl and NumPy."""
    frame = sys._getframe(1)
    while frame and frame.f_globals.get("__name__", "").startswith(("minidl.", "numpy.")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else None


def apply(op, *inputs, **params):
    """Do an operation on tensors: compute the result, and record the step if a gradient may be asked for."""
    for value in inputs:
        if type(value) is not Tensor:
            for other in inputs:
                if isinstance(other, Value) and type(other) is not Tensor:
                    return other._apply(op, *inputs, **params)  # with a static node, this becomes one too
            inputs = [v if type(v) is Tensor else _constant(v) for v in inputs]
            break
    if _gpu_in_use:
        inputs = _on_one_device(op, inputs)
    try:
        result, saved = mode.quietly(op.forward, *[t.data for t in inputs], **params)
    except (ValueError, TypeError) as error:
        raise _explained(error, op, inputs, params) from None
    if type(result) is not _ndarray and (isinstance(result, np.generic) or not is_on_gpu(result)):
        result = np.asarray(result)  # NumPy makes a bare number of an array without dimensions
    out = _new(Tensor)
    out.data, out._grad, out.step = result, None, None
    if mode.recording:
        parents = [t.step for t in inputs]
        if any(parents) and result.dtype.kind == "f":
            out.step = Step(op, params, saved, parents, result)
    if mode.watching:
        _watch(op, inputs, out)
    return out


def _constant(array):
    """Return data as a tensor, quickly if it is an ordinary array."""
    if type(array) is np.ndarray and array.dtype.kind in "biuf":
        out = Tensor.__new__(Tensor)
        out.data, out._grad, out.step = array, None, None
        return out
    return Tensor(array)


_gpu_in_use = False  # until the first tensor is put there, nobody needs to ask where one is


def _on_one_device(op, inputs):
    """Return the inputs of an operation all on the GPU if one of them is; integers, indices, stay."""
    if not any(is_on_gpu(t.data) for t in inputs):
        return inputs
    if not op.runs_on_gpu:
        raise TypeError(f"{op.name} does not run on the GPU: move its inputs to the CPU first, x.to('cpu')")
    if any(t.requires_grad and not is_on_gpu(t.data) for t in inputs):
        devices = " and ".join(f"{t.shape} on {t.device}" for t in inputs)
        raise ValueError(f"{op.name} needs its inputs on one device, got {devices}: use .to(...)")
    stays = [t.dtype.kind in "iu" or is_on_gpu(t.data) for t in inputs]
    return [t if stay else Tensor(GPU.upload(t.data)) for t, stay in zip(inputs, stays, strict=True)]


def _explained(error, op, inputs, params):
    """Return an error that names the operation and, if shapes are to blame, says which."""
    try:
        op.shape(*[t.shape for t in inputs], **params)
    except (ValueError, TypeError) as better:
        error = better
    return type(error)(f"{op.name}: {error}")


# ------------------------------------------------------------------------------------------------ the tensor


class Tensor(Value):
    """An array that takes part in a graph.

    Parameters
    ----------
    data : array_like or Tensor
        Numbers or booleans. A NumPy array is taken as it is, not copied.
    requires_grad : bool
        Whether `backward` shall find the gradient with respect to it; only for float32 and float64.
    device : {"cpu", "cuda"}, optional
        Where to put it; by default where the data is.

    Attributes
    ----------
    data : ndarray, or array in GPU memory
    grad : array of the same kind, or None until there is one
        Gradients add up here, backward pass after backward pass, until it is set to None.
    requires_grad : bool

    Raises
    ------
    TypeError
        If the data is not numeric, or is not of floats and `requires_grad` is set.
    DeviceUnavailable
        If `device` is "cuda" and there is none.
    """

    __slots__ = ("__weakref__", "_grad", "data", "step")
    _apply = staticmethod(apply)

    def __init__(self, data, requires_grad=False, device=None):
        if isinstance(data, Tensor):
            data = data.data
        if not is_on_gpu(data):
            data = _numeric(data)
        self.data = _placed(data, device)
        self._grad = None
        self.step = None  # the Step that made it; or a Leaf, if it shall have a gradient; or None
        if requires_grad:
            self.requires_grad = True

    # ------------------------------------------------------------------------------------------- the array

    @property
    def shape(self):
        """The size of each dimension."""
        return self.data.shape

    @property
    def dtype(self):
        """The type of the elements."""
        return self.data.dtype

    @property
    def size(self):
        """How many elements there are."""
        return self.data.size

    @property
    def device(self):
        """Where it is: "cpu" or "cuda"."""
        return "cuda" if is_on_gpu(self.data) else "cpu"

    def numpy(self):
        """Return the values as a NumPy array: the tensor's own memory, or a copy of what is on the GPU."""
        return GPU.download(self.data) if is_on_gpu(self.data) else self.data

    def __array__(self, dtype=None, copy=None):
        return np.array(self.numpy(), dtype, copy=copy)

    def item(self):
        """Return the only element as a Python number; raise ValueError if there are more."""
        if self.data.size != 1:
            raise ValueError(f"only a tensor of one element is a number, this has shape {self.shape}")
        return self.numpy().item()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())

    def __format__(self, spec):
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self):
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(")
        made = (
            f", made by {self.step.op.name}"
            if type(self.step) is Step
            else ", requires_grad=True" * self.requires_grad
        )
        place = ', device="cuda"' if self.device == "cuda" else ""
        return f"Tensor({values}, {self.dtype}{made}{place})"

    def __eq__(self, other):
        return NotImplemented if other is None else apply(ops.equal, self, other)

    def __ne__(self, other):
        return NotImplemented if other is None else apply(ops.not_equal, self, other)

    __hash__ = object.__hash__

    def __reduce__(self):
        if type(self.step) is Step:
            raise GradientError("a tensor that a step made cannot be copied or pickled: `detach()` it first")
        return Tensor, (self.data, self.requires_grad), (None, {"grad": self._grad})

    def __setitem__(self, index, value):
        """Write to it in place, where no gradient is recorded."""
        if mode.recording and self.requires_grad:
            raise GradientError(
                "writing to a tensor that requires a gradient would not be recorded; use `with no_grad():`"
            )
        self.data[index] = value.data if isinstance(value, Tensor) else value

    def astype(self, dtype):
        """Return it in another dtype; the gradient comes back in this one."""
        return apply(cast, self, dtype=np.dtype(dtype))

    def to(self, device):
        """Return it on another device, "cpu" or "cuda"; the gradient comes back to this one."""
        return self if device == self.device else apply(move, self, device=device)

    # -------------------------------------------------------------------------------------------- gradient

    @property
    def requires_grad(self):
        """Whether a gradient is recorded for it; can be set for a tensor that no step made."""
        return self.step is not None

    @requires_grad.setter
    def requires_grad(self, value):
        if type(self.step) is Step:
            raise GradientError("it was made by a step, which decides: use `detach()` to cut it off")
        if value and self.dtype.kind != "f":
            raise TypeError(f"only float32 and float64 have gradients, got {self.dtype}")
        if bool(value) != self.requires_grad:
            self.step = Leaf(self) if value else None

    @property
    def grad(self):
        """The gradient, an array, or None until there is one."""
        return self._grad

    @grad.setter
    def grad(self, value):
        if value is not None:
            value = value.data if isinstance(value, Tensor) else value
            if not is_on_gpu(value):
                value = np.asarray(value, self.dtype)
            if value.shape != self.shape:
                raise ValueError(f"grad must have the tensor's shape {self.shape}, got {value.shape}")
        self._grad = value

    def detach(self):
        """Return the same values, in the same memory, cut off from the graph."""
        return Tensor(self.data)

    def retain_grad(self):
        """Have `backward` fill in `grad` although this is not a leaf."""
        if type(self.step) is Step:
            self.step.retained = weakref.ref(self)
        return self

    def backward(self, gradient=None, on_leaf=None):
        """Find the gradient of this with respect to every leaf it was made from, and add it to `leaf.grad`.

        Parameters
        ----------
        gradient : array_like, optional
            The gradient of the loss with respect to this, of its shape. A single number needs none: it is the
            loss, and its gradient is 1.
        on_leaf : callable, optional
            Called with each leaf as soon as its gradient is complete, while others are still to come.

        Raises
        ------
        GradientError
            If nothing here requires a gradient, if `gradient` is missing or has another shape, or if an array
            that was kept for the way back has been changed in place since.
        NotANumber
            Within `detect_nan`, if a step makes a NaN.
        """
        if not self.requires_grad:
            raise GradientError("nothing that this tensor was made from requires a gradient")
        if gradient is None:
            if self.data.size != 1:
                raise GradientError(
                    f"only a single number has a gradient of its own, this has shape {self.shape}: "
                    "give `gradient`"
                )
            gradient = np.ones(self.shape, self.dtype)
        else:
            gradient = gradient.data if isinstance(gradient, Tensor) else gradient
            gradient = gradient if is_on_gpu(gradient) else np.array(gradient, self.dtype)
            if gradient.shape != self.shape:
                raise GradientError(f"gradient must have shape {self.shape}, got {gradient.shape}")
        gradient = GPU.upload(gradient) if is_on_gpu(self.data) else gradient
        walk_back(self.step, gradient, on_leaf=on_leaf)


def _numeric(data):
    """Return data as an array of booleans, integers, float32 or float64, or raise TypeError."""
    if isinstance(data, np.ma.MaskedArray):
        raise TypeError("data must be a plain array, got a masked array; fill it first")
    try:
        array = np.asarray(data)
    except ValueError as ragged:
        raise ValueError(f"data must be an array of numbers: {ragged}") from None
    if (
        array.dtype.kind not in "biuf"
        or array.dtype.itemsize not in (1, 2, 4, 8)
        or array.dtype == np.float16
    ):
        raise TypeError(f"data must hold booleans, integers, float32 or float64, got {array.dtype}")
    return array


def _placed(array, device):
    """Return an array on a device, copied only if it is elsewhere; None leaves it where it is."""
    global _gpu_in_use
    if device is not None and Device(device).kind == "cuda":
        array = GPU.upload(array)
    elif device is not None and is_on_gpu(array):
        array = GPU.download(array)
    _gpu_in_use = _gpu_in_use or is_on_gpu(array)
    return array


class Move(ops.Op):
    """A copy to another device; the gradient travels back."""

    name = "move"
    runs_on_gpu = True

    def forward(self, x, device):
        """Keep where it came from."""
        return _placed(x, device), ("cuda" if is_on_gpu(x) else "cpu",)

    def vjp(self, g, saved, needs, device):
        """Send the gradient there."""
        return (_placed(g, saved[0]),)


class Cast(ops.Op):
    """The same numbers in another dtype."""

    name = "cast"

    def forward(self, x, dtype):
        """Keep the old dtype."""
        return x.astype(dtype), (x.dtype,)

    def vjp(self, g, saved, needs, dtype):
        """Cast back."""
        return (g.astype(saved[0]),)

    def dtype(self, x, dtype):
        """The new one."""
        return dtype


move, cast = Move(), Cast()


# --------------------------------------------------------------------------------------------- the way back


def steps_back(root):
    """Return the steps a gradient passes from `root` on, the newest first, and how often each leaf is used.

    A step is made after the steps that made its inputs. So by falling number, each comes after all that used
    its result: when its turn comes, its gradient is complete.
    """
    steps, uses, seen, waiting = [], {}, {root}, [root]
    while waiting:
        step = waiting.pop()
        steps.append(step)
        for parent in step.parents:
            if type(parent) is Leaf:
                uses[parent] = uses.get(parent, 0) + 1
            elif parent is not None and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    steps.sort(key=operator.attrgetter("number"), reverse=True)
    return steps, uses


@np.errstate(all="ignore")
def walk_back(root, gradient, order=None, on_leaf=None, on_step=None):
    """Carry a gradient from `root`, a step or a leaf, back to the leaves.

    Parameters
    ----------
    order : list of Step, optional
        The order of the steps; by default the right one. Another shows why it is the right one: a step whose
        turn comes too early passes on a part of its gradient, and the rest is lost.
    on_leaf : callable, optional
        `on_leaf(tensor)`, called when the gradient of a leaf is complete.
    on_step : callable, optional
        `on_step(step, gradient, gradients)`, called after each step with what came and what it passed on.
    """
    if type(root) is Leaf:
        _deliver(root.tensor(), gradient, on_leaf)
        return
    steps, uses = steps_back(root)
    pending = {root: gradient}
    watching = mode.watching
    ours = set()  # whose pending gradient is an array that nobody else holds, and that may be written to
    undisturbed = not (watching or on_step)  # nobody looks at a gradient after the step it was for
    for step in steps if order is None else order:
        g = pending.pop(step, None)
        if g is None:
            continue
        if step.saved:
            step.check_unchanged()
        if step.retained and (tensor := step.retained()) is not None:
            tensor.grad = g if tensor.grad is None else tensor.grad + g
        if undisturbed and step.op.overwrites_gradient and step in ours and not step.retained:
            gradients = step.op.vjp(g, step.saved, step.parents, **step.params, out=g)
        else:
            gradients = step.op.vjp(g, step.saved, step.parents, **step.params)
        if watching:
            _watch_backward(step, g, gradients)
        if on_step:
            on_step(step, g, gradients)
        for parent, gradient in zip(step.parents, gradients):  # noqa: B905 (an optional input may be absent)
            made = parent.tensor() if type(parent) is Leaf else parent
            if made is None:
                continue
            if gradient is not None:
                like = parent if made is parent else made.data
                if gradient.shape != like.shape:
                    gradient = unbroadcast(gradient, like.shape)
                if gradient.dtype is not like.dtype:
                    gradient = gradient.astype(like.dtype, copy=False)
                known = pending.get(parent)
                if known is None:
                    pending[parent] = gradient
                    if gradient is not g and type(gradient) is _ndarray and gradient.base is None:
                        ours.add(parent)
                elif parent in ours:
                    pending[parent] = _add_to(known, gradient)
                else:
                    pending[parent] = ops.add.forward(known, gradient)[0] if _gpu_in_use else known + gradient
                    ours.add(parent)
            if made is not parent:
                uses[parent] -= 1
                if not uses[parent] and parent in pending:
                    gradient = pending.pop(parent)
                    _deliver(made, gradient if parent in ours else _own(gradient, g), on_leaf)


def _add_to(total, gradient):
    """Add to a total, in place where it is an ordinary array."""
    if _gpu_in_use and is_on_gpu(total):
        return ops.add.forward(total, gradient)[0]
    total += gradient
    return total


def _own(gradient, g):
    """Return a gradient that nobody else holds: a copy, if it is the one that came in or a view of it.

    Arrays in GPU memory are never added to in place, so that they may be shared.
    """
    if _gpu_in_use and is_on_gpu(gradient):
        return gradient
    shared = gradient is g or (
        getattr(gradient, "base", None) is not None and np.may_share_memory(gradient, g)
    )
    return gradient.copy() if shared else gradient


def _deliver(tensor, gradient, on_leaf):
    """Add a gradient to that of a leaf."""
    if tensor._grad is None:
        tensor._grad = gradient if is_on_gpu(gradient) else np.asarray(gradient)
    else:
        tensor._grad = _add_to(tensor._grad, gradient)
    if on_leaf:
        on_leaf(tensor)


# ------------------------------------------------------------------------------------------- switching modes


class _Switch(contextlib.ContextDecorator):
    """A context manager, or decorator, that sets one attribute of `mode` and sets it back."""

    def __init__(self, attribute, value):
        self._attribute, self._value, self._before = attribute, value, []

    def __enter__(self):
        self._before.append(getattr(mode, self._attribute))
        setattr(mode, self._attribute, self._value)
        return self

    def __exit__(self, *exception):
        setattr(mode, self._attribute, self._before.pop())


def no_grad():
    """Record nothing inside this context, or inside the function it decorates: saves memory and time."""
    return _Switch("recording", False)


def enable_grad():
    """Record again, inside a `no_grad`."""
    return _Switch("recording", True)


def detect_nan():
    """Look at every result and every gradient inside this context; raise `NotANumber` for the first NaN.

    The message names the operation, its input shapes, and the line of the program where it was called. This
    costs a pass over every result, so switch it on for the batch that went wrong.
    """
    return _Switch("watching", True)


def _has_nan(array):
    array = GPU.download(array) if is_on_gpu(array) else array
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def _watch(op, inputs, out):
    place = _place()
    if out.requires_grad:
        out.step.place = place
    if _has_nan(out.data) and not any(_has_nan(t.data) for t in inputs):
        shapes = " and ".join(str(t.shape) for t in inputs)
        raise NotANumber(f"{op.name} made a NaN out of numbers, of shapes {shapes}, at {place}")


def _watch_backward(step, g, gradients):
    if not _has_nan(g) and any(gradient is not None and _has_nan(gradient) for gradient in gradients):
        raise NotANumber(f"the way back through {step.describe()} made a NaN out of numbers")
