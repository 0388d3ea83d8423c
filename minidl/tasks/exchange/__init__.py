"""Networks to and from other programs, as ONNX: a list of nodes, each one operator, with weights and shapes.

    export_onnx(model, "lenet.onnx", example)     # ONNX Runtime, or a phone, can run it
    model = import_onnx("theirs.onnx")            # a layer of ours: run it, look inside, train it on

The operators and what they mean are in https://onnx.ai/onnx/operators. A file has no code in it, only names
of operators, each of which is done with ours: `writing` says ours in their words, `operators` theirs in ours.
"""

from minidl.tasks.exchange.reading import ForeignNetwork, import_onnx
from minidl.tasks.exchange.writing import export_onnx

__all__ = ["ForeignNetwork", "export_onnx", "import_onnx"]
