"""Writing ONNX: the model is called once with a node in the place of its input, and each node it makes is
said in ONNX's words.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import ops
from minidl.graph import Tensor, no_grad
from minidl.graph.building import CONSTANT, PLACEHOLDER, VARIABLE, Graph, nodes_below, placeholder
from minidl.graph.dynamic import cast, move
from minidl.graph.node import Value
from minidl.layers import Layer, observe
from minidl.ops.op import normalise_axis
from minidl.ops.windows import pair
from minidl.tasks.checkpoint import write_atomically
from minidl.tasks.exchange.package import IR_VERSION, OPSET, in_words, onnx

LARGEST = 2**31 - 1  # bytes: a protobuf message is not larger
WRITERS = {}


def export_onnx(model, path, example, *, batch=True):
    """Write a model and its weights as ONNX, as it is after training: no dropout, running means.

    Parameters
    ----------
    model : Layer
    path : str or Path
    example : array_like, or a tuple of them
        An input, (N, …), or several, to call the model with: their shapes and types are written down, not
        their numbers.
    batch : bool
        Whether the network that is written takes any number of examples at once. Otherwise, N.

    Returns
    -------
    onnx.ModelProto
        What was written. Its inputs are called "input" (and "input1", …), its outputs "output"; its weights
        have the names of `state_dict`.

    Raises
    ------
    ImportError
        Without the package onnx.
    TypeError, ValueError
        If the model cannot be called with the example, does something ONNX has no operator for, or decides
        what to do by the values it is given. Nothing is written.
    """
    package = onnx()
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a Layer, got {model!r}")
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"path must name a file, {path} is a folder")
    examples = example if isinstance(example, tuple) else (example,)
    examples = [x if isinstance(x, Tensor) else Tensor(x) for x in examples]
    if not examples or any(x.ndim == 0 or x.size == 0 for x in examples):
        raise ValueError("example must be an array (N, …) with something in it, or a tuple of such arrays")
    modes = [(layer, layer.training) for _, layer in model.layers()]
    model.eval()
    try:
        with no_grad():
            answers = _several(model(*examples))
        inputs, outputs, where = _captured(model, examples, batch)
    finally:
        for layer, training in modes:
            layer.training = training
    proto = _Writing(package, model, where).write(inputs, outputs, examples, answers)
    try:
        package.checker.check_model(proto)
    except package.checker.ValidationError as error:  # a mistake of ours
        raise ValueError(f"what was to be written is no valid ONNX: {in_words(error)}") from None
    content = proto.SerializeToString()
    if len(content) > LARGEST:
        raise ValueError(f"one ONNX file holds 2 GiB, the model needs {len(content):,} bytes")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return proto


def _several(values):
    return list(values) if isinstance(values, (tuple, list)) else [values]


def _captured(model, examples, batch):
    """Return (input nodes, output nodes, the path of the layer that made each node)."""
    names = {id(layer): name for name, layer in model.layers()}
    where = {}

    with Graph("export") as graph:
        inputs = [
            placeholder((None, *x.shape[1:]) if batch else x.shape, x.dtype, f"input{i or ''}")
            for i, x in enumerate(examples)
        ]

        def owns(layer, _, __):
            for node in graph.nodes:
                where.setdefault(node, names.get(id(layer), ""))  # parts are called first

        try:
            with observe(owns):
                outputs = _several(model(*inputs))
        except (TypeError, ValueError, AttributeError) as error:
            way_out = "; batch=False writes it for a fixed number of examples" if batch else ""
            raise type(error)(
                "the model does something while it runs that depends on more than the shapes of its parts, "
                f"and an ONNX file holds a fixed list of operators: {error}{way_out}"
            ) from None
    for output in outputs:
        if not isinstance(output, Value):
            raise TypeError(f"the model must return tensors, got {output!r}")
    return inputs, outputs, where


class _Writing:
    """A file that is being written: nodes of ONNX, and the weights they name."""

    def __init__(self, package, model, where):
        self.onnx, self.where = package, where
        self.nodes, self.weights, self.names, self.owners = [], {}, {}, {}
        for name, value in model._own():
            self.owners.setdefault(id(value), name)

    def write(self, inputs, outputs, examples, answers):
        """Return the whole model."""
        helper = self.onnx.helper
        for node in nodes_below([o for o in outputs if not isinstance(o, Tensor)]):
            self.names[node] = self._name(node)
        for i, output in enumerate(outputs):  # a name of its own, whatever it is
            made = self.array(output.numpy()) if isinstance(output, Tensor) else self.names[output]
            self._add("Identity", [made], f"output{i or ''}", {})
        graph = helper.make_graph(
            self.nodes,
            "minidl",
            [
                self._info(node.name, node.dtype, ["batch" if n is None else n for n in node.shape])
                for node in inputs
            ],
            [
                self._info(f"output{i or ''}", output.dtype, _sides(output.shape, answer.shape, examples))
                for i, (output, answer) in enumerate(zip(outputs, answers, strict=True))
            ],
            [self.onnx.numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="minidl")

    def _info(self, name, dtype, shape):
        return self.onnx.helper.make_tensor_value_info(
            name, self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
        )

    def _name(self, node):
        """Write what a node needs; return the name of its result."""
        if node.op is PLACEHOLDER:
            return node.name
        if node.op is VARIABLE:
            return self.weight(node.params["tensor"])
        if node.op is CONSTANT:
            return self.array(node.params["value"])
        self.path = "/".join(["", *filter(None, [self.where.get(node, "").replace(".", "/")]), node.name])
        if node.op not in WRITERS:
            raise ValueError(f"{self.path}: ONNX has no operator that is written here for {node.op.name}")
        return WRITERS[node.op](self, node, *[self.names[i] for i in node.inputs], **node.params)

    def weight(self, value):
        """Return the name of a parameter or a piece of state; of anything else, that of a constant."""
        array = value.numpy() if isinstance(value, Tensor) else value
        name = self.owners.get(id(value))
        if name is None:  # computed from weights alone
            return self.array(array)
        self.weights.setdefault(name, np.array(array, order="C"))
        return name

    def array(self, value, dtype=None):
        """Return the name of a constant, which is nobody's to learn."""
        value = np.array(value, dtype, order="C")
        tensor = self.onnx.numpy_helper.from_array(value)
        return self._add("Constant", [], f"constant{len(self.nodes)}", {"value": tensor})

    def do(self, operator, *inputs, **attributes):
        """Add a node; return the name of its result."""
        inputs = ["" if name is None else name for name in inputs]
        while inputs and not inputs[-1]:
            inputs.pop()
        return self._add(operator, inputs, f"{self.path}/{operator}_{len(self.nodes)}", attributes)

    def _add(self, operator, inputs, output, attributes):
        node = self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes)
        self.nodes.append(node)
        return output


def _sides(shape, seen, examples):
    """Return an output's shape: "batch" where as many come out as go in, nothing where it is not known."""
    return [
        n if n is not None else "batch" if i == 0 and seen[0] == examples[0].shape[0] else None
        for i, n in enumerate(shape)
    ]


# ---------------------------------------------------------------------------------- what each op is in ONNX


def writes(*operations):
    """Register a function as the one that writes these operations."""

    def register(function):
        WRITERS.update(dict.fromkeys(operations, function))
        return function

    return register


def _same(operator):
    return lambda to, node, *inputs: to.do(operator, *inputs)


WRITERS |= {
    op: _same(operator)
    for op, operator in (
        (ops.add, "Add"), (ops.subtract, "Sub"), (ops.multiply, "Mul"), (ops.divide, "Div"),
        (ops.negative, "Neg"), (ops.absolute, "Abs"), (ops.exp, "Exp"), (ops.log, "Log"),
        (ops.sqrt, "Sqrt"), (ops.power_of, "Pow"), (ops.relu, "Relu"), (ops.sigmoid, "Sigmoid"),
        (ops.tanh, "Tanh"), (ops.maximum, "Max"), (ops.minimum, "Min"), (ops.matmul, "MatMul"),
        (ops.less, "Less"), (ops.less_equal, "LessOrEqual"), (ops.greater, "Greater"),
        (ops.greater_equal, "GreaterOrEqual"), (ops.equal, "Equal"),
    )
}  # fmt: skip


@writes(ops.not_equal)
def _not_equal(to, node, a, b):
    return to.do("Not", to.do("Equal", a, b))


@writes(ops.where)
def _where(to, node, condition, a, b):
    if node.inputs[0].dtype != bool:
        condition = to.do("Cast", condition, to=to.onnx.TensorProto.BOOL)
    return to.do("Where", condition, a, b)


@writes(ops.square)
def _square(to, node, x):
    return to.do("Mul", x, x)


@writes(ops.power)
def _power(to, node, x, exponent):
    return to.do("Pow", x, to.array(exponent, node.dtype))


@writes(ops.relu6)
def _relu6(to, node, x):
    return to.do("Clip", x, to.array(0, node.dtype), to.array(6, node.dtype))


@writes(ops.leaky_relu)
def _leaky_relu(to, node, x, slope):
    return to.do("LeakyRelu", x, alpha=float(slope))


@writes(ops.silu)
def _silu(to, node, x):
    return to.do("Mul", x, to.do("Sigmoid", x))


@writes(ops.softmax)
def _softmax(to, node, x, axis=-1):
    return to.do("Softmax", x, axis=int(axis))


@writes(ops.log_softmax)
def _log_softmax(to, node, x, axis=-1):
    return to.do("LogSoftmax", x, axis=int(axis))


@writes(cast)
def _cast(to, node, x, dtype):
    return to.do("Cast", x, to=to.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


@writes(move)
def _move(to, node, x, device):
    return x


@writes(ops.dropout)
def _dropout(to, node, x, p, generator, per_example=False):
    raise ValueError(f"{to.path}: dropout stays on after training, which ONNX files are for")


@writes(ops.dense)
def _dense(to, node, x, weight, bias=None):
    if len(node.shape) == 2:
        return to.do("Gemm", x, weight, bias, transB=1)
    y = to.do("MatMul", x, to.do("Transpose", weight, perm=[1, 0]))
    return y if bias is None else to.do("Add", y, bias)


def _window(node, stride, padding):
    stride, padding = pair("stride", stride, 1), pair("padding", padding, 0)
    return {"strides": list(stride), "pads": [*padding, *padding]}


@writes(ops.conv2d)
def _conv2d(to, node, x, weight, bias=None, stride=1, padding=0):
    sides = list(node.inputs[1].shape[2:])
    return to.do("Conv", x, weight, bias, kernel_shape=sides, **_window(node, stride, padding))


@writes(ops.grouped_conv2d)
def _grouped_conv2d(to, node, x, weight, bias=None, groups=1, stride=1, padding=0):
    sides = list(node.inputs[1].shape[2:])
    return to.do("Conv", x, weight, bias, kernel_shape=sides, group=groups, **_window(node, stride, padding))


@writes(ops.conv_transpose2d)
def _conv_transpose2d(to, node, x, weight, bias=None, stride=1, padding=0, output_padding=0):
    return to.do(
        "ConvTranspose", x, weight, bias, kernel_shape=list(node.inputs[1].shape[2:]),
        output_padding=list(pair("output_padding", output_padding, 0)), **_window(node, stride, padding),
    )  # fmt: skip


@writes(ops.max_pool2d)
def _max_pool2d(to, node, x, size, stride=None, padding=0):
    stride = size if stride is None else stride
    return to.do("MaxPool", x, kernel_shape=list(pair("size", size, 1)), **_window(node, stride, padding))


@writes(ops.avg_pool2d)
def _avg_pool2d(to, node, x, size, stride=None, padding=0):
    stride = size if stride is None else stride
    return to.do(
        "AveragePool", x, kernel_shape=list(pair("size", size, 1)), count_include_pad=1,
        **_window(node, stride, padding),
    )  # fmt: skip


@writes(ops.upsample)
def _upsample(to, node, x, scale):
    scales = to.array([1, 1, *pair("scale", scale, 1)], np.float32)
    return to.do(
        "Resize", x, None, scales,
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


@writes(ops.embedding)
def _embedding(to, node, weight, indices):
    return to.do("Gather", weight, indices, axis=0)


@writes(ops.batch_norm)
def _batch_norm(
    to, node, x, weight, bias, running_mean, running_var, batches, training=True, momentum=0.1, eps=1e-5
):
    if training:
        raise ValueError(f"{to.path}: batch normalisation stays in training, which ONNX files are not for")
    mean, variance = to.weight(running_mean), to.weight(running_var)
    return to.do("BatchNormalization", x, weight, bias, mean, variance, epsilon=float(eps))


def _reduction(operator, axes_are_an_input=False):
    def write(to, node, x, axis=None, keepdims=False):
        axes = list(normalise_axis(axis, len(node.inputs[0].shape)))
        if axes_are_an_input:
            return to.do(operator, x, to.array(axes, np.int64), keepdims=int(keepdims))
        return to.do(operator, x, axes=axes, keepdims=int(keepdims))

    return write


WRITERS |= {
    ops.reduce_sum: _reduction("ReduceSum", axes_are_an_input=True),
    ops.reduce_mean: _reduction("ReduceMean"),
    ops.reduce_max: _reduction("ReduceMax"),
    ops.reduce_min: _reduction("ReduceMin"),
}


@writes(ops.reshape)
def _reshape(to, node, x, shape):
    shape = [-1 if n is None else n for n in node.shape] if node.shape.count(None) == 1 else list(shape)
    return to.do("Reshape", x, to.array(shape, np.int64))


@writes(ops.transpose)
def _transpose(to, node, x, axes=None):
    count = len(node.shape)
    axes = range(count)[::-1] if axes is None else normalise_axis(axes, count)
    return to.do("Transpose", x, perm=list(axes))


@writes(ops.broadcast_to)
def _broadcast_to(to, node, x, shape):
    return to.do("Expand", x, to.array([1 if n is None else n for n in shape], np.int64))  # 1: as x has it


@writes(ops.concatenate)
def _concatenate(to, node, *inputs, axis=0):
    return to.do("Concat", *inputs, axis=int(axis))


@writes(ops.pad)
def _pad(to, node, x, widths, value=0.0):
    before, after = zip(*widths, strict=True)
    return to.do("Pad", x, to.array([*before, *after], np.int64), to.array(value, node.dtype))


@writes(ops.getitem)
def _getitem(to, node, x, index):
    """Slices first, then the one array, then integers out and new axes in."""
    index, axis, result_axis = index if isinstance(index, tuple) else (index,), 0, 0
    named = sum(part is not None and part is not Ellipsis for part in index)
    slices, chosen, out, new = [], [], [], []
    for part in index:
        if part is None:
            new.append(result_axis)
            result_axis += 1
        elif part is Ellipsis:
            skipped = len(node.inputs[0].shape) - named
            axis, result_axis = axis + skipped, result_axis + skipped
        elif isinstance(part, slice):
            slices.append((axis, part))
            axis, result_axis = axis + 1, result_axis + 1
        elif isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            out.append((axis, int(part)))
            axis += 1
        else:
            part = np.asarray(part)
            if part.dtype == bool and part.ndim == 1:
                part = np.flatnonzero(part)
            if part.ndim != 1 or part.dtype.kind not in "iu" or chosen:
                raise ValueError(f"{to.path}: ONNX has no operator for the index {index!r}")
            chosen.append((axis, part))
            axis, result_axis = axis + 1, result_axis + 1
    if chosen and (out or new):
        raise ValueError(f"{to.path}: ONNX has no operator for the index {index!r}")
    lowest = np.iinfo(np.int64).min
    ranges = [(a, s) for a, s in slices if s != slice(None)]
    if ranges:
        steps = [1 if s.step is None else s.step for _, s in ranges]
        starts = [
            (0 if step > 0 else 2**62) if s.start is None else s.start
            for (_, s), step in zip(ranges, steps, strict=True)
        ]
        ends = [
            (2**62 if step > 0 else lowest) if s.stop is None else s.stop
            for (_, s), step in zip(ranges, steps, strict=True)
        ]
        x = to.do("Slice", x, *(to.array(v, np.int64) for v in (starts, ends, [a for a, _ in ranges], steps)))
    for a, part in chosen:
        x = to.do("Gather", x, to.array(part, np.int64), axis=a)
    for a, part in out:
        x = to.do("Gather", x, to.array([part], np.int64), axis=a)
    if out:
        x = to.do("Squeeze", x, to.array([a for a, _ in out], np.int64))
    return to.do("Unsqueeze", x, to.array(new, np.int64)) if new else x
