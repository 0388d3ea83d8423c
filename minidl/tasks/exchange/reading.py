"""Reading ONNX: a file that somebody else wrote becomes a layer, if it is what it says and no larger."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path

import numpy as np

from minidl.graph import Tensor
from minidl.graph.node import Value
from minidl.layers import Layer
from minidl.tasks.exchange.operators import READERS, Step
from minidl.tasks.exchange.package import in_words, onnx
from minidl.tasks.weights import diagnosis

OLDEST = 7  # of the operator sets: from there on shapes broadcast as in NumPy
STATE = {"BatchNormalization": (3, 4)}  # inputs that are kept but not learned


def import_onnx(path, *, limit=1 << 30):
    """Return the network in an ONNX file as a layer that runs its nodes with our operations.

    Its parameters are the file's weights: it can be called, looked into, trained on, saved, and written as
    ONNX again. float16 and bfloat16 become float32.

    Parameters
    ----------
    path : str or Path
    limit : int
        The largest file, and the largest array that a node may make, in bytes.

    Returns
    -------
    ForeignNetwork

    Raises
    ------
    ImportError
        Without the package onnx.
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no ONNX file, is damaged, lies about its sizes, names files other than those in its own
        folder, or has an operator that is not known here: the message names it and its node.
    """
    package, path = onnx(), Path(path)
    try:
        return _network(package, path, limit)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is damaged: a name in it is no text") from None
    except ValueError as error:
        raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from None


def _network(package, path, limit):
    proto = _parsed(package, path, limit)
    for tensor in _tensors(proto.graph):
        _bring_in(package, tensor, path, limit)
    try:
        package.checker.check_model(proto)
    except package.checker.ValidationError as error:
        raise ValueError(f"{path} is no valid ONNX: {in_words(error)}") from None
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST:
        raise ValueError(
            f"{path} is written for operator set {opset}, older than {OLDEST}: onnx.version_converter helps"
        )
    _refuse_unknown(path, proto)
    graph = proto.graph
    steps = [_step(package, node, opset, limit) for node in graph.node]
    weights = {tensor.name: _array(package, tensor) for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in weights]
    for info in (*inputs, *graph.output):
        if info.type.WhichOneof("value") != "tensor_type":
            raise ValueError(f"{info.name!r} is no tensor")
    shapes = [(info.name, _shape(info)) for info in inputs]
    return ForeignNetwork(path.name, steps, weights, shapes, [info.name for info in graph.output])


class ForeignNetwork(Layer):
    """A network made elsewhere: nodes in an order in which each has what it needs.

    Attributes
    ----------
    source : str
        The name of the file.
    steps : list of Step
    inputs : list of (str, tuple)
        Names and shapes, None where any size will do.
    outputs : list of str
    """

    def __init__(self, source, steps, weights, inputs, outputs):
        self.source, self.steps, self.inputs, self.outputs = source, steps, inputs, outputs
        self._constants, self._places = {}, {}
        learned, kept = _roles(steps)
        for name, array in weights.items():
            if array.dtype.kind == "f" and (name in learned or name in kept):
                place = name
                while hasattr(self, place):  # a weight called "forward" must not become one
                    place += "_"
                vars(self)[place] = array if name in kept else Tensor(array, requires_grad=True)
                self._places[name] = place
            else:
                self._constants[name] = Tensor(array)
        last = {}
        for i, step in enumerate(steps):
            last |= dict.fromkeys(step.inputs, i)
        self._done = [[] for _ in steps]  # what nobody needs after each step
        for name, i in last.items():
            if name not in outputs:
                self._done[i].append(name)

    def forward(self, *inputs):
        """Do the nodes in turn; returns a tuple if there are several outputs."""
        if len(inputs) != len(self.inputs):
            names = ", ".join(name for name, _ in self.inputs)
            raise ValueError(f"{self.source} takes {len(self.inputs)} inputs ({names}), got {len(inputs)}")
        values = dict(self._constants)
        values |= {name: self._own_value(place) for name, place in self._places.items()}
        for (name, shape), value in zip(self.inputs, inputs, strict=True):
            if shape is not None and not _fits(value.shape, shape):
                raise ValueError(f"{name} must have shape {_written(shape)}, got {tuple(value.shape)}")
            values[name] = value
        for step, done in zip(self.steps, self._done, strict=True):
            try:
                results = step.run(*[values[name] if name else None for name in step.inputs])
            except (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError) as error:
                raise ValueError(f"node {step.name!r}, {step.operator}: {error}") from None
            results = results if isinstance(results, tuple) else (results,)
            values |= zip(step.outputs, results, strict=False)
            for name in done:
                values.pop(name, None)
        found = tuple(values[name] for name in self.outputs)
        return found[0] if len(found) == 1 else found

    def _own_value(self, place):
        value = getattr(self, place)
        return value if isinstance(value, Value) else Tensor(value)

    def _arguments(self):
        inputs = ", ".join(f"{name} {_written(shape)}" for name, shape in self.inputs)
        return f"{self.source}: {len(self.steps)} nodes, takes {inputs}"


def _roles(steps):
    """Return the names of what is learned, and of what is kept but not learned."""
    learned, kept = set(), set()
    for step in steps:
        for i, name in enumerate(step.inputs):
            if i in STATE.get(step.operator, ()):
                kept.add(name)
            elif i not in step.settings:
                learned.add(name)
    return learned - kept, kept


def _fits(shape, wanted):
    return len(shape) == len(wanted) and all(
        w is None or n is None or n == w for n, w in zip(shape, wanted, strict=True)
    )


def _written(shape):
    if shape is None:
        return "of any shape"
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"


# ------------------------------------------------------------------------------------ what is in the file


def _parsed(package, path, limit):
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an ONNX file")
    if not path.exists():
        raise FileNotFoundError(f"there is no ONNX file at {path}")
    if not path.is_file():
        raise ValueError(f"{path} is no ordinary file")
    size = path.stat().st_size
    if size > limit:
        raise ValueError(
            f"{path} has {size:,} bytes, more than the limit of {limit:,}; give limit= if it may"
        )
    from google.protobuf.message import DecodeError

    proto = package.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path} is no ONNX file, or is damaged: {_kind(path) or error}") from None
    if not proto.graph.node and not proto.graph.output:
        raise ValueError(f"{path} is no ONNX file, or is damaged: {_kind(path) or 'there is no graph in it'}")
    return proto


def _kind(path):
    """Say what else it is, if that can be seen (but nothing of a header, which only safetensors have)."""
    found = diagnosis(path)
    return None if found and found.startswith("its header") else found


def _tensors(graph):
    """Yield every tensor that a graph holds: weights, and what nodes carry with them."""
    if graph.sparse_initializer:
        raise ValueError("sparse weights are not known here: write them as dense ones")
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.graphs or attribute.HasField("g"):
                raise ValueError(
                    f"{node.op_type} (node {_called(node)!r}) has a graph inside: not known here"
                )
            if attribute.sparse_tensors or attribute.HasField("sparse_tensor"):
                raise ValueError(
                    f"{node.op_type} (node {_called(node)!r}) has a sparse tensor: not known here"
                )
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _bring_in(package, tensor, path, limit):
    """Check that a tensor holds as many numbers as it says; if they are in another file, read them."""
    name, types = tensor.name or "a constant", package.TensorProto
    if min(tensor.dims, default=0) < 0:
        raise ValueError(f"{path}: {name} has the shape {tuple(tensor.dims)}")
    if tensor.data_type in (types.STRING, types.UNDEFINED) or tensor.data_type not in types.DataType.values():
        raise ValueError(f"{path}: {name} holds no numbers")
    dtype = package.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = math.prod(tensor.dims)
    if count * dtype.itemsize > limit:
        raise ValueError(
            f"{path}: {name} of shape {tuple(tensor.dims)} needs {count * dtype.itemsize:,} bytes, "
            f"more than the limit of {limit:,}"
        )
    if tensor.data_location == types.EXTERNAL:
        tensor.raw_data = _from_beside(tensor, path, name, count * dtype.itemsize)
        tensor.data_location = types.DEFAULT
        del tensor.external_data[:]
    if tensor.HasField("raw_data") and len(tensor.raw_data) != count * dtype.itemsize:
        raise ValueError(
            f"{path}: {name} of shape {tuple(tensor.dims)} needs {count * dtype.itemsize:,} bytes, "
            f"there are {len(tensor.raw_data):,}"
        )


def _from_beside(tensor, path, name, size):
    """Return the bytes of a tensor that are in a file of their own, in the same folder and nowhere else."""
    about = {entry.key: entry.value for entry in tensor.external_data}
    location = about.get("location", "")
    if location in ("", ".", "..") or Path(location).name != location or "\\" in location or "\0" in location:
        raise ValueError(f"{path}: {name} should be in {location!r}, which is not a file beside it: refused")
    try:
        offset, length = int(about.get("offset", 0)), int(about.get("length", size))
    except ValueError:
        raise ValueError(f"{path}: {name} has no place in {location!r} that is a number") from None
    if offset < 0 or length != size:
        raise ValueError(f"{path}: {name} needs {size:,} bytes, {length:,} at {offset} are promised")
    beside = path.parent / location
    try:
        handle = os.open(beside, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        why = "it is a link" if beside.is_symlink() else error.strerror
        raise ValueError(f"{path}: {name} should be in {location!r} beside it: {why}") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(handle)
        raise ValueError(f"{path}: {name} should be in {location!r}, which is no file of its own: refused")
    with open(handle, "rb") as file:
        if status.st_size < offset + size:
            raise ValueError(
                f"{path}: {name} should be at {offset:,} in {location!r}, which ends at {status.st_size:,}"
            )
        file.seek(offset)
        return file.read(size)


def _array(package, tensor):
    try:
        array = package.numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{tensor.name or 'a constant'}: {error}") from None
    if (array.dtype.kind == "f" and array.dtype.itemsize < 4) or array.dtype.kind == "V":
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{tensor.name or 'a constant'} holds {array.dtype}, which is not known here")
    return np.array(array, order="C")


def _shape(info):
    """Return the shape that an input should have, with None for any size; or None, if any will do."""
    if not info.type.tensor_type.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None
                 for d in info.type.tensor_type.shape.dim)  # fmt: skip


def _refuse_unknown(path, proto):
    unknown = [
        f"{'.'.join(filter(None, [node.domain, node.op_type]))} (node {_called(node)!r})"
        for node in proto.graph.node
        if node.domain not in ("", "ai.onnx") or node.op_type not in READERS
    ]
    if unknown:
        more = f" and {len(unknown) - 5} more" * (len(unknown) > 5)
        raise ValueError(f"{path} has operators that are not known here: {', '.join(unknown[:5])}{more}")


def _called(node):
    return node.name or next(iter(node.output), "without a name")


def _step(package, node, opset, limit):
    attributes = {}
    for attribute in node.attribute:
        value = package.helper.get_attribute_value(attribute)
        if isinstance(value, package.TensorProto):
            value = _array(package, value)
        elif isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif not isinstance(value, (int, float)):
            value = list(value)
        attributes[attribute.name] = value
    return Step(_called(node), node.op_type, tuple(node.input), tuple(node.output), attributes, opset, limit)
