"""Layer 5, Layer: the building blocks of networks, each an operation with numbers of its own to learn."""

from minidl.layers.initialisers import glorot_normal, glorot_uniform, he_normal, he_uniform, seed
from minidl.layers.layer import Layer, Sequential, observe
from minidl.layers.plain import (
    AvgPool2d,
    Flatten,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
    Tanh,
    Upsample,
)
from minidl.layers.training import BatchNorm1d, BatchNorm2d, Dropout
from minidl.layers.weighted import Conv2d, ConvTranspose2d, Dense, Embedding

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Layer",
    "LeakyReLU",
    "MaxPool2d",
    "ReLU",
    "Reshape",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Upsample",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "observe",
    "seed",
]
