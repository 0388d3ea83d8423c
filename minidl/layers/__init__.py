"""Layer 5, Layer: the building blocks of networks, each an operation with numbers of its own to learn."""

from minidl.layers.initialisers import glorot_normal, glorot_uniform, he_normal, he_uniform, seed, shapes_only
from minidl.layers.layer import Layer, Parallel, Sequential, observe
from minidl.layers.plain import (
    AvgPool2d,
    Flatten,
    GlobalAvgPool2d,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    ReLU6,
    Reshape,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
    Upsample,
)
from minidl.layers.training import BatchNorm1d, BatchNorm2d, Dropout, StochasticDepth
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
    "GlobalAvgPool2d",
    "Layer",
    "LeakyReLU",
    "LocalResponseNorm",
    "MaxPool2d",
    "Parallel",
    "ReLU",
    "ReLU6",
    "Reshape",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "StochasticDepth",
    "Tanh",
    "Upsample",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "observe",
    "seed",
    "shapes_only",
]
