"""Quantized numbers: bytes in place of floats, a quarter of the memory. Read `affine`, then `matmul`."""

from minidl.kernels.quantized.affine import (
    Quantization,
    choose_quantization,
    dequantize,
    quantize,
    quantize_reference,
    requantize,
)
from minidl.kernels.quantized.matmul import (
    LADDER,
    quantized_matmul,
    quantized_matmul_cuda,
    quantized_matmul_reference,
)

__all__ = [
    "LADDER",
    "Quantization",
    "choose_quantization",
    "dequantize",
    "quantize",
    "quantize_reference",
    "quantized_matmul",
    "quantized_matmul_cuda",
    "quantized_matmul_reference",
    "requantize",
]
