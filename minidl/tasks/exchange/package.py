"""The package `onnx`, which reads and writes the files, if it is there."""

from __future__ import annotations

OPSET, IR_VERSION = 17, 8  # of 2022: what runs networks today knows them


def onnx():
    """Return the package; raise ImportError that says how to install it if it is missing."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError("ONNX files need the package onnx: pip install onnx onnxruntime") from error
    return onnx


def in_words(error):
    """Return the first lines of one of the checker's errors, without its trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]).removesuffix("==> Context:").strip()
