"""ONNX's operators, done with ours. What each means: https://onnx.ai/onnx/operators.

A reader is a function of a `Step`, with the operator's attributes, and of values: tensors, nodes of a static
graph, or None for an input that is left out. It returns a value, or a tuple of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from minidl import ops
from minidl.graph import Tensor
from minidl.graph.building import CONSTANT
from minidl.graph.dynamic import apply, cast
from minidl.kernels.arguments import check_integer

READERS = {}
SETTINGS = {  # inputs that say how, and are no weights
    "Clip": (1, 2), "ConstantOfShape": (0,), "Expand": (1,), "Gather": (1,), "Pad": (1, 2, 3),
    "ReduceMax": (1,), "ReduceMean": (1,), "ReduceMin": (1,), "ReduceSum": (1,), "Reshape": (1,),
    "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,),
    "Unsqueeze": (1,), "Upsample": (1,), "Where": (0,),
}  # fmt: skip


@dataclass
class Step:
    """One node of a file, ready to run.

    Attributes
    ----------
    name, operator : str
    inputs, outputs : tuple of str
        Names of values; "" for an input that is left out.
    attributes : dict
    opset : int
        Which version of the operator is meant.
    limit : int
        The largest result, in bytes.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict = field(repr=False)
    opset: int = field(repr=False)
    limit: int = field(repr=False)

    @property
    def settings(self):
        """The positions of inputs that say how, and are no weights."""
        return SETTINGS.get(self.operator, ())

    def run(self, *values):
        """Do it."""
        return READERS[self.operator](self, *values)

    def do(self, op, *inputs, **params):
        """Do one of our operations, unless what comes out would be larger than the limit."""
        shape = op.shape(*[x.shape for x in inputs], **params)
        self.allow(shape, op.dtype(*[x.dtype for x in inputs]).itemsize if op is not cast else 8)
        return apply(op, *inputs, **params)

    def allow(self, shape, itemsize=4):
        """Raise ValueError if an array of this shape is larger than the limit."""
        size = itemsize * math.prod(1 if n is None else int(n) for n in shape)
        if size > self.limit:
            raise ValueError(
                f"a result of shape {tuple(shape)} has {size:,} bytes, the limit is {self.limit:,}"
            )

    def get(self, name, default=None):
        """Return an attribute."""
        return self.attributes.get(name, default)

    def refuse(self, name, *allowed):
        """Raise ValueError unless an attribute is left out or is one of these."""
        value = self.attributes.get(name)
        if value is not None and value not in allowed:
            raise ValueError(f"{name}={value!r} is not known here, only {' or '.join(map(repr, allowed))}")


def reads(*operators):
    """Register a function as the one that does these operators."""

    def register(function):
        READERS.update(dict.fromkeys(operators, function))
        return function

    return register


def numbers(value, name="an input"):
    """Return the numbers of a value that have to be known now; raise ValueError if they are not."""
    if isinstance(value, Tensor):
        return value.numpy()
    if value.op is CONSTANT:
        return value.params["value"]
    raise ValueError(f"{name} must be known when the network is read, and is computed while it runs")


def integers(value, name):
    """Return a list of int."""
    array = numbers(value, name)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise ValueError(f"{name} must be a row of integers, got {array.dtype} of shape {array.shape}")
    return [int(n) for n in array.ravel()]


def like(number, x):
    """Return a number as a constant of the dtype of x."""
    return Tensor(np.array(number, x.dtype))


def _axes(step, value, ndim):
    """Return axes from an input or, as they were written earlier, from an attribute; None if left out."""
    axes = step.get("axes") if value is None else integers(value, "axes")
    return None if axes is None else tuple(_axis(a, ndim) for a in axes)


def _axis(axis, ndim):
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim


# ---------------------------------------------------------------------------------------------- elementwise


def _one_to_one(op):
    return lambda step, *values: step.do(op, *values)


READERS |= {
    operator: _one_to_one(op)
    for operator, op in (
        ("Sub", ops.subtract), ("Mul", ops.multiply), ("Add", ops.add), ("Neg", ops.negative),
        ("Abs", ops.absolute), ("Exp", ops.exp), ("Log", ops.log), ("Sqrt", ops.sqrt), ("Relu", ops.relu),
        ("Sigmoid", ops.sigmoid), ("Tanh", ops.tanh), ("MatMul", ops.matmul), ("Less", ops.less),
        ("LessOrEqual", ops.less_equal), ("Greater", ops.greater), ("GreaterOrEqual", ops.greater_equal),
        ("Equal", ops.equal), ("Where", ops.where),
    )
}  # fmt: skip


@reads("Div")
def _div(step, a, b):
    if a.dtype.kind == "f":
        return step.do(ops.divide, a, b)
    a, b = numbers(a), numbers(b)
    if not np.all(b):
        raise ValueError("an integer is divided by zero")
    return Tensor((np.sign(a) * np.sign(b) * (abs(a) // abs(b))).astype(a.dtype))  # towards zero


@reads("Not")
def _not(step, x):
    return step.do(ops.where, x, Tensor(np.array(False)), Tensor(np.array(True)))


@reads("Pow")
def _pow(step, x, exponent):
    if not isinstance(exponent, Tensor) or exponent.size != 1:
        return step.do(ops.power_of, x, step.do(cast, exponent, dtype=x.dtype))
    power = exponent.item()
    if power == 2:
        return step.do(ops.square, x)
    return step.do(ops.power, x, exponent=int(power) if power == int(power) else power)


@reads("Reciprocal")
def _reciprocal(step, x):
    return step.do(ops.divide, like(1, x), x)


@reads("Max", "Min", "Sum")
def _fold(step, *values):
    op = {"Max": ops.maximum, "Min": ops.minimum, "Sum": ops.add}[step.operator]
    result = values[0]
    for value in values[1:]:
        result = step.do(op, result, value)
    return result


@reads("Clip")
def _clip(step, x, low=None, high=None):
    low = step.get("min") if low is None else numbers(low, "min").item()
    high = step.get("max") if high is None else numbers(high, "max").item()
    if (low, high) == (0, 6):
        return step.do(ops.relu6, x)
    x = x if low is None else step.do(ops.maximum, x, like(low, x))
    return x if high is None else step.do(ops.minimum, x, like(high, x))


@reads("LeakyRelu")
def _leaky_relu(step, x):
    return step.do(ops.leaky_relu, x, slope=step.get("alpha", 0.01))


@reads("PRelu")
def _prelu(step, x, slope):
    return step.do(ops.where, step.do(ops.greater, x, like(0, x)), x, step.do(ops.multiply, x, slope))


@reads("Elu")
def _elu(step, x):
    below = step.do(ops.exp, step.do(ops.minimum, x, like(0, x)))
    below = step.do(ops.multiply, like(step.get("alpha", 1.0), x), step.do(ops.subtract, below, like(1, x)))
    return step.do(ops.where, step.do(ops.greater, x, like(0, x)), x, below)


@reads("Softplus")
def _softplus(step, x):
    """log(1 + exp(x)), without an exp that overflows."""
    small = step.do(ops.exp, step.do(ops.negative, step.do(ops.absolute, x)))
    return step.do(ops.add, step.do(ops.relu, x), step.do(ops.log, step.do(ops.add, like(1, x), small)))


def _hard_sigmoid(step, x, alpha, beta):
    y = step.do(ops.add, step.do(ops.multiply, x, like(alpha, x)), like(beta, x))
    return step.do(ops.minimum, step.do(ops.maximum, y, like(0, x)), like(1, x))


@reads("HardSigmoid")
def _hard_sigmoid_alone(step, x):
    return _hard_sigmoid(step, x, step.get("alpha", 0.2), step.get("beta", 0.5))


@reads("HardSwish")
def _hard_swish(step, x):
    return step.do(ops.multiply, x, _hard_sigmoid(step, x, 1 / 6, 0.5))


@reads("Softmax", "LogSoftmax")
def _softmax(step, x):
    op = ops.softmax if step.operator == "Softmax" else ops.log_softmax
    if step.opset >= 13:
        return step.do(op, x, axis=_axis(step.get("axis", -1), x.ndim))
    axis = _axis(step.get("axis", 1), x.ndim)  # it used to mean all axes from this one on
    if axis == x.ndim - 1:
        return step.do(op, x, axis=axis)
    flat = _reshaped(step, x, (*x.shape[:axis], -1))
    return _reshaped(step, step.do(op, flat, axis=axis), x.shape)


@reads("Identity", "Dropout")
def _identity(step, x, *_):
    return x


TYPES = {1: "f4", 2: "u1", 3: "i1", 4: "u2", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f4", 11: "f8",
         12: "u4", 13: "u8", 16: "f4"}  # fmt: skip


@reads("Cast")
def _cast(step, x):
    if step.get("to") not in TYPES:
        raise ValueError(f"type {step.get('to')} is not known here")
    dtype = np.dtype(TYPES[step.get("to")])
    return x if dtype == x.dtype else step.do(cast, x, dtype=dtype)


# ------------------------------------------------------------------------------------------------- products


@reads("Gemm")
def _gemm(step, a, b, c=None):
    """α·A·B + β·C, either of them transposed."""
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"matrices are needed, got {tuple(a.shape)} and {tuple(b.shape)}")
    alpha, beta = step.get("alpha", 1.0), step.get("beta", 1.0)
    a = step.do(ops.transpose, a) if step.get("transA") else a
    if step.get("transB") and alpha == 1 and beta == 1 and (c is None or tuple(c.shape) == b.shape[:1]):
        return step.do(ops.dense, a, b, *([] if c is None else [c]))
    y = step.do(ops.matmul, a, step.do(ops.transpose, b) if step.get("transB") else b)
    y = y if alpha == 1 else step.do(ops.multiply, y, like(alpha, y))
    if c is None:
        return y
    return step.do(ops.add, y, c if beta == 1 else step.do(ops.multiply, c, like(beta, c)))


def _flat_image(step, x, weight):
    """Return x, weight and whether they were rows: (N, C, L) is an image one pixel high."""
    if x.ndim == 3 and (weight is None or weight.ndim == 3):
        x = _reshaped(step, x, (*_sides(x), 1, x.shape[2]))
        if weight is not None:
            weight = _reshaped(step, weight, (*weight.shape[:2], 1, weight.shape[2]))
        return x, weight, True
    if x.ndim != 4 or (weight is not None and weight.ndim != 4):
        raise ValueError(f"images (N, C, H, W) or rows (N, C, L) are needed, got {tuple(x.shape)}")
    return x, weight, False


def _sides(x):
    return (-1 if x.shape[0] is None else x.shape[0], x.shape[1])


def _row_again(step, y, row):
    return _reshaped(step, y, (*_sides(y), y.shape[3])) if row else y


def _pair(step, name, row, default=1):
    values = step.get(name) or [default] * (1 if row else 2)
    values = [default, *values] if row else values
    if len(values) != 2 or not all(0 <= int(v) < 1 << 31 for v in values):
        raise ValueError(f"{name} must be one number for each side of the image, got {step.get(name)!r}")
    return tuple(int(v) for v in values)


def _pads(step, x, window, stride, row):
    """Return ((top, left), (bottom, right)): how much is added on each side."""
    how = step.get("auto_pad", "NOTSET")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for n, k, s in zip(x.shape[2:], window, stride, strict=True):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            half = total // 2 if how == "SAME_UPPER" else -(-total // 2)
            before.append(half)
            after.append(total - half)
        return tuple(before), tuple(after)
    if how not in ("NOTSET", "VALID"):
        raise ValueError(f"auto_pad={how!r} is not known here")
    pads = (step.get("pads") or [0] * (2 if row else 4)) if how == "NOTSET" else [0] * (2 if row else 4)
    pads = [0, pads[0], 0, pads[1]] if row and len(pads) == 2 else pads
    if len(pads) != 4 or not all(0 <= int(v) < 1 << 31 for v in pads):
        raise ValueError(f"pads must be a number from 0 for each end of each side, got {step.get('pads')!r}")
    return tuple(map(int, pads[:2])), tuple(map(int, pads[2:]))


def _framed(step, x, before, after, value=0.0):
    if not any((*before, *after)):
        return x
    widths = ((0, 0), (0, 0), *zip(before, after, strict=True))
    return step.do(ops.pad, x, widths=widths, value=value)


@reads("Conv")
def _conv(step, x, weight, bias=None):
    x, weight, row = _flat_image(step, x, weight)
    stride, dilation = _pair(step, "strides", row), _pair(step, "dilations", row)
    groups = check_integer("group", step.get("group", 1), 1)
    if dilation != (1, 1):
        weight = _dilated(step, weight, dilation)
    before, after = _pads(step, x, weight.shape[2:], stride, row)
    if before != after:
        x, before = _framed(step, x, before, after), (0, 0)
    inputs = [x, weight, *([] if bias is None else [bias])]
    if groups == 1:
        y = step.do(ops.conv2d, *inputs, stride=stride, padding=before)
    else:
        y = step.do(ops.grouped_conv2d, *inputs, groups=groups, stride=stride, padding=before)
    return _row_again(step, y, row)


def _dilated(step, weight, dilation):
    """Put zeros between the weights, so that they reach further."""
    (o, i, k, w), (d, e) = weight.shape, dilation
    apart = _reshaped(step, weight, (o, i, k, 1, w, 1))
    apart = step.do(ops.pad, apart, widths=((0, 0),) * 3 + ((0, d - 1), (0, 0), (0, e - 1)), value=0.0)
    apart = _reshaped(step, apart, (o, i, k * d, w * e))
    return step.do(ops.getitem, apart, index=(..., slice(k * d - d + 1), slice(w * e - e + 1)))


@reads("ConvTranspose")
def _conv_transpose(step, x, weight, bias=None):
    step.refuse("group", 1)
    x, weight, row = _flat_image(step, x, weight)
    step.refuse("dilations", [1], [1, 1])
    step.refuse("auto_pad", "NOTSET", "VALID")
    if step.get("output_shape"):
        raise ValueError("output_shape is not known here, only pads")
    stride, extra = _pair(step, "strides", row), _pair(step, "output_padding", row, 0)
    before, after = _pads(step, x, weight.shape[2:], stride, row)
    inputs = [x, weight, *([] if bias is None else [bias])]
    if before == after:
        y = step.do(ops.conv_transpose2d, *inputs, stride=stride, padding=before, output_padding=extra)
    else:
        y = step.do(ops.conv_transpose2d, *inputs, stride=stride, padding=0, output_padding=extra)
        inside = (slice(b, n - a) for b, a, n in zip(before, after, y.shape[2:], strict=True))
        y = step.do(ops.getitem, y, index=(..., *inside))
    return _row_again(step, y, row)


# --------------------------------------------------------------------------------- pooling and normalisation


def _window(step, x, row):
    """Return (size, stride, before, after, hanging): how far last windows may stick out, with ceil_mode."""
    size = _pair(step, "kernel_shape", row)
    stride = _pair(step, "strides", row)
    step.refuse("dilations", [1], [1, 1])
    before, after = _pads(step, x, size, stride, row)
    hanging = [0, 0]
    if step.get("ceil_mode"):
        for i, (n, k, s) in enumerate(zip(x.shape[2:], size, stride, strict=True)):
            left = (n + before[i] + after[i] - k) % s
            starts = n + before[i] + after[i] - k - left + s
            hanging[i] = s - left if left and starts < n + before[i] else 0
    return size, stride, before, after, tuple(hanging)


@reads("MaxPool")
def _max_pool(step, x):
    _only_one(step)
    x, _, row = _flat_image(step, x, None)
    size, stride, before, after, hanging = _window(step, x, row)
    after = tuple(a + h for a, h in zip(after, hanging, strict=True))
    if before != after or any(2 * p > k for p, k in zip(before, size, strict=True)):
        x, before = _framed(step, x, before, after, -math.inf), (0, 0)
    return _row_again(step, step.do(ops.max_pool2d, x, size=size, stride=stride, padding=before), row)


@reads("AveragePool")
def _average_pool(step, x):
    """The mean of what counts: always the image, the padding if asked for, never what hangs over."""
    x, _, row = _flat_image(step, x, None)
    size, stride, before, after, hanging = _window(step, x, row)
    counted = np.ones((1, 1, *x.shape[2:]), x.dtype)
    pads = ((0, 0), (0, 0), *zip(before, after, strict=True))
    step.allow([n + sum(p) for n, p in zip(counted.shape, pads, strict=True)])
    counted = np.pad(counted, pads, constant_values=float(bool(step.get("count_include_pad"))))
    counted = np.pad(counted, ((0, 0), (0, 0), *((0, h) for h in hanging)))
    after = tuple(a + h for a, h in zip(after, hanging, strict=True))
    y = step.do(ops.avg_pool2d, _framed(step, x, before, after), size=size, stride=stride, padding=0)
    if not counted.all():
        y = step.do(ops.divide, y, Tensor(ops.avg_pool2d(counted, size=size, stride=stride)))
    return _row_again(step, y, row)


@reads("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(step, x):
    op = ops.reduce_mean if step.operator == "GlobalAveragePool" else ops.reduce_max
    return step.do(op, x, axis=tuple(range(2, x.ndim)), keepdims=True)


@reads("BatchNormalization")
def _batch_norm(step, x, scale, bias, mean, variance):
    """As after training, whatever the mode."""
    step.refuse("training_mode", 0)
    _only_one(step)
    return step.do(
        ops.batch_norm, x, scale, bias,
        running_mean=numbers(mean, "the mean"), running_var=numbers(variance, "the variance"),
        batches=np.zeros((), np.int64), training=False, eps=step.get("epsilon", 1e-5),
    )  # fmt: skip


def _normalised(step, x, axes):
    mean = step.do(ops.reduce_mean, x, axis=axes, keepdims=True)
    centred = step.do(ops.subtract, x, mean)
    variance = step.do(ops.reduce_mean, step.do(ops.square, centred), axis=axes, keepdims=True)
    spread = step.do(ops.sqrt, step.do(ops.add, variance, like(step.get("epsilon", 1e-5), x)))
    return step.do(ops.divide, centred, spread)


@reads("LayerNormalization")
def _layer_norm(step, x, scale, bias=None):
    _only_one(step)
    y = _normalised(step, x, tuple(range(_axis(step.get("axis", -1), x.ndim), x.ndim)))
    y = step.do(ops.multiply, y, scale)
    return y if bias is None else step.do(ops.add, y, bias)


@reads("InstanceNormalization")
def _instance_norm(step, x, scale, bias):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    y = _normalised(step, x, tuple(range(2, x.ndim)))
    y = step.do(ops.multiply, y, _reshaped(step, scale, shape))
    return step.do(ops.add, y, _reshaped(step, bias, shape))


@reads("LRN")
def _lrn(step, x):
    size = check_integer("size", step.get("size"), 1)
    if size % 2 == 0 or x.ndim != 4:
        raise ValueError(f"size must be odd, and x (N, C, H, W), got {size} and {tuple(x.shape)}")
    n, c, h, w = _sides(x) + tuple(x.shape[2:])
    squares = _reshaped(step, step.do(ops.square, x), (n, 1, c, h * w))
    mean = step.do(ops.avg_pool2d, squares, size=(size, 1), stride=1, padding=(size // 2, 0))
    scaled = step.do(ops.multiply, _reshaped(step, mean, (n, c, h, w)), like(step.get("alpha", 1e-4), x))
    base = step.do(ops.add, scaled, like(step.get("bias", 1.0), x))
    return step.do(ops.multiply, x, step.do(ops.power, base, exponent=-step.get("beta", 0.75)))


@reads("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum")
def _reduce(step, x, axes=None):
    op = {"ReduceMean": ops.reduce_mean, "ReduceMax": ops.reduce_max, "ReduceMin": ops.reduce_min,
          "ReduceSum": ops.reduce_sum}[step.operator]  # fmt: skip
    axes = _axes(step, axes, x.ndim)
    if not axes and step.get("noop_with_empty_axes"):
        return x
    return step.do(op, x, axis=axes or None, keepdims=bool(step.get("keepdims", 1)))


def _only_one(step):
    if any(step.outputs[1:]):
        raise ValueError(f"only its first result is known here, not {step.outputs[1]!r} too")


# --------------------------------------------------------------------------------------------------- shapes


def _reshaped(step, x, shape):
    return step.do(ops.reshape, x, shape=tuple(-1 if n is None else int(n) for n in shape))


@reads("Constant")
def _constant(step):
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in step.attributes:
            value = step.attributes[name]
            kind = {"value_f": np.float32, "value_i": np.int64}.get(name[:7])
            return Tensor(np.array(value, kind))
    raise ValueError("it holds no numbers")


@reads("Shape")
def _shape(step, x):
    shape = x.shape[step.get("start", 0) : step.get("end", x.ndim)]
    if None in shape:
        raise ValueError("the shape is needed, and how many examples there will be is not known")
    return Tensor(np.array(shape, np.int64))


@reads("ConstantOfShape")
def _constant_of_shape(step, shape):
    shape, value = integers(shape, "shape"), np.ravel(step.get("value", np.zeros(1, np.float32)))
    if min(shape, default=0) < 0 or value.size != 1:
        raise ValueError(f"one value and a shape are needed, got {value.size} and {tuple(shape)}")
    step.allow(shape, value.itemsize)
    return Tensor(np.full(shape, value[0], value.dtype))


@reads("Reshape")
def _reshape(step, x, shape):
    shape = integers(shape, "shape")
    if not step.get("allowzero"):
        if any(n == 0 and i >= x.ndim for i, n in enumerate(shape)):
            raise ValueError(f"0 means a side as it was, and {tuple(x.shape)} has no {len(shape)}")
        shape = [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return _reshaped(step, x, shape)


@reads("Flatten")
def _flatten(step, x):
    axis = step.get("axis", 1)
    axis = x.ndim if axis == x.ndim else _axis(axis, x.ndim)
    first, rest = x.shape[:axis], x.shape[axis:]
    if None in first:
        return _reshaped(step, x, (-1, math.prod(rest)))
    return _reshaped(step, x, (math.prod(first), -1 if None in rest else math.prod(rest)))


@reads("Squeeze")
def _squeeze(step, x, axes=None):
    axes = _axes(step, axes, x.ndim)
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axes is None else axes
    if any(x.shape[a] not in (1, None) for a in axes):
        raise ValueError(f"axes {tuple(axes)} of {tuple(x.shape)} are not all 1 long")
    return _reshaped(step, x, [n for i, n in enumerate(x.shape) if i not in axes])


@reads("Unsqueeze")
def _unsqueeze(step, x, axes=None):
    axes = step.get("axes") if axes is None else integers(axes, "axes")
    ndim = x.ndim + len(axes)
    axes, sides = {_axis(a, ndim) for a in axes}, iter(x.shape)
    if ndim - len(axes) != x.ndim:
        raise ValueError("axes name one twice")
    return _reshaped(step, x, [1 if i in axes else next(sides) for i in range(ndim)])


@reads("Transpose")
def _transpose(step, x):
    perm = step.get("perm")
    return step.do(ops.transpose, x, axes=tuple(perm) if perm else None)


@reads("Concat")
def _concat(step, *values):
    return step.do(ops.concatenate, *values, axis=_axis(step.get("axis", 1), values[0].ndim))


@reads("Split")
def _split(step, x, sizes=None):
    axis, count = _axis(step.get("axis", 0), x.ndim), len(step.outputs)
    sizes = step.get("split") if sizes is None else integers(sizes, "split")
    if sizes is None:
        part = -(-x.shape[axis] // count)
        sizes = [part] * (count - 1) + [x.shape[axis] - part * (count - 1)]
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != x.shape[axis]:
        raise ValueError(f"{x.shape[axis]} cannot be split into {count} parts of {sizes}")
    ends = np.cumsum(sizes).tolist()
    before = (slice(None),) * axis
    return tuple(
        step.do(ops.getitem, x, index=(*before, slice(end - size, end)))
        for size, end in zip(sizes, ends, strict=True)
    )


@reads("Slice")
def _slice(step, x, starts=None, ends=None, axes=None, steps=None):
    starts = step.get("starts") if starts is None else integers(starts, "starts")
    ends = step.get("ends") if ends is None else integers(ends, "ends")
    axes = _axes(step, axes, x.ndim) or range(len(starts))
    steps = [1] * len(starts) if steps is None else integers(steps, "steps")
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ValueError(
            f"starts {starts}, ends {ends}, axes {list(axes)} and steps {steps} do not go together"
        )
    index = [slice(None)] * x.ndim
    for start, end, axis, stride in zip(starts, ends, axes, steps, strict=True):
        past_the_start = stride < 0 and x.shape[axis] is not None and end < -x.shape[axis]
        index[axis] = slice(start, None if past_the_start else end, stride)
    return step.do(ops.getitem, x, index=tuple(index))


@reads("Gather")
def _gather(step, x, indices):
    axis = _axis(step.get("axis", 0), x.ndim)
    if indices.dtype.kind not in "iu":
        raise ValueError(f"indices must be integers, got {indices.dtype}")
    if isinstance(indices, Tensor):
        size, array = x.shape[axis], indices.numpy()
        if size is not None:
            if array.size and not -size <= array.min() <= array.max() < size:
                raise ValueError(
                    f"indices must be from {-size} to {size - 1}, got {array.min()} to {array.max()}"
                )
            array = np.where(array < 0, array + size, array)
        if axis or x.ndim != 2:
            return step.do(
                ops.getitem, x, index=(*(slice(None),) * axis, array if array.ndim else int(array))
            )
        indices = Tensor(array)
    elif axis or x.ndim != 2:
        raise ValueError(f"rows of a table can be looked up, not axis {axis} of {tuple(x.shape)}")
    return step.do(ops.embedding, x, indices)


@reads("Pad")
def _pad(step, x, pads=None, value=None, axes=None):
    step.refuse("mode", "constant")
    pads = step.get("pads") if pads is None else integers(pads, "pads")
    fill = step.get("value", 0.0) if value is None else numbers(value, "value").item()
    axes = range(x.ndim) if axes is None else _axes(step, axes, x.ndim)
    if len(pads) != 2 * len(axes):
        raise ValueError(f"pads must be two numbers for each of {len(axes)} axes, got {pads}")
    widths, inside = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
    for axis, before, after in zip(axes, pads, pads[len(axes) :], strict=False):
        widths[axis] = max(before, 0), max(after, 0)
        inside[axis] = slice(max(-before, 0), after if after < 0 else None)  # a negative one cuts off
    x = step.do(ops.pad, x, widths=tuple(widths), value=fill) if any(map(any, widths)) else x
    return step.do(ops.getitem, x, index=tuple(inside)) if min(pads, default=0) < 0 else x


@reads("Expand")
def _expand(step, x, shape):
    shape = integers(shape, "shape")
    if min(shape, default=0) < 0:
        raise ValueError(f"shape must not hold negative sizes, got {shape}")
    return step.do(ops.broadcast_to, x, shape=ops.broadcast(tuple(x.shape), tuple(shape)))


@reads("Tile")
def _tile(step, x, repeats):
    repeats = integers(repeats, "repeats")
    if len(repeats) != x.ndim or min(repeats, default=1) < 1:
        raise ValueError(f"repeats must be one number from 1 for each axis, got {repeats}")
    step.allow([n and n * r for n, r in zip(x.shape, repeats, strict=True)])
    for axis, count in enumerate(repeats):
        if count > 1:
            x = step.do(ops.concatenate, *[x] * count, axis=axis)
    return x


@reads("Resize", "Upsample")
def _resize(step, x, *settings):
    """Whole blocks of one pixel: the only way of making an image larger that is known here."""
    if step.get("mode", "nearest") != "nearest" or x.ndim != 4:
        raise ValueError(
            f"only nearest neighbours in images, got mode={step.get('mode')!r}, {tuple(x.shape)}"
        )
    if step.operator == "Resize" and step.opset >= 11:
        _, scales, sizes = (*settings, None, None, None)[:3]
        where = step.get("coordinate_transformation_mode", "half_pixel")
        nearest = step.get("nearest_mode", "round_prefer_floor")
        good = (where == "asymmetric" and nearest == "floor") or (
            where in ("half_pixel", "pytorch_half_pixel") and nearest.startswith("round")
        )
        if not good or step.get("axes"):
            raise ValueError(f"coordinates {where!r} with nearest_mode {nearest!r} are not known here")
    else:
        scales, sizes = (settings[0] if settings else None), None
    if sizes is not None:
        sizes = integers(sizes, "sizes")
        scales = [1.0 if n is None else s / n for s, n in zip(sizes, x.shape, strict=True)]
    else:
        scales = step.get("scales") if scales is None else numbers(scales, "scales").tolist()
    if (
        scales is None
        or len(scales) != 4
        or scales[:2] != [1, 1]
        or any(s != int(s) or s < 1 for s in scales)
    ):
        raise ValueError(f"scales must be 1, 1 and two whole numbers, got {scales}")
    return step.do(ops.upsample, x, scale=(int(scales[2]), int(scales[3])))
