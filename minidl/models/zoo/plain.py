"""Networks in one row: LeNet-5, AlexNet, ZFNet, VGG, and Network in Network."""

from __future__ import annotations

import numpy as np

from minidl import graph
from minidl.graph import Tensor
from minidl.layers import (
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Sequential,
)

# ------------------------------------------------------------------------------------------------- LeNet-5


class Squash(Layer):
    """1.7159 · tanh(2x/3), which is 1 at 1 and still steep there (LeCun et al., 1998, appendix A)."""

    def forward(self, x):
        """Squash."""
        return 1.7159 * (x * (2 / 3)).tanh()


class Subsample(Layer):
    """The sum over 2×2 windows, times one learned number per channel, plus another."""

    def __init__(self, channels):
        self.weight = Tensor(np.full(channels, 0.25, np.float32), requires_grad=True)  # a mean, to begin with
        self.bias = Tensor(np.zeros(channels, np.float32), requires_grad=True)

    def forward(self, x):
        """Pool, scale, shift."""
        return 4 * graph.avg_pool2d(x, 2) * self.weight.reshape((1, -1, 1, 1)) + self.bias.reshape(
            (1, -1, 1, 1)
        )


# Which of the 6 maps of S2 each of the 16 maps of C3 sees (LeCun et al., 1998, table I).
SEEN = (
    *([i, (i + 1) % 6, (i + 2) % 6] for i in range(6)),
    *([i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6] for i in range(6)),
    [0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5],
)  # fmt: skip


class PartlyConnected(Layer):
    """A convolution whose outputs each see some of the inputs only: (N, C, H, W) → (N, len(seen), …)."""

    def __init__(self, seen, kernel_size):
        self.seen = [np.array(channels) for channels in seen]
        for i, channels in enumerate(seen):
            setattr(self, str(i), Conv2d(len(channels), 1, kernel_size))

    def forward(self, x):
        """One small convolution for each output."""
        parts = self.parts().values()
        outputs = [part(x[:, channels]) for part, channels in zip(parts, self.seen, strict=True)]
        return graph.concatenate(outputs, axis=1)


# The codes: each digit as 12 rows of 7 pixels. (Those of the paper's figure 3 are its authors' own drawing.)
DRAWN = """
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
..###.. ...#... .#####. .#####. .....#. ####### ..####. ####### .#####. .#####.
.#...#. ..##... #.....# #.....# ....##. #...... .#..... ......# #.....# #.....#
#.....# .#.#... ......# ......# ...#.#. #...... #...... .....#. #.....# #.....#
#.....# ...#... ......# ......# ..#..#. #...... #...... .....#. #.....# #.....#
#.....# ...#... .....#. ..####. .#...#. ######. ######. ....#.. .#####. .######
#.....# ...#... ....#.. ......# #....#. ......# #.....# ....#.. #.....# ......#
#.....# ...#... ...#... ......# ####### ......# #.....# ...#... #.....# ......#
#.....# ...#... ..#.... ......# .....#. ......# #.....# ...#... #.....# ......#
.#...#. ...#... .#..... #.....# .....#. #.....# #.....# ..#.... #.....# .....#.
..###.. .#####. ####### .#####. .....#. .#####. .#####. ..#.... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def digit_codes():
    """Return the drawings as numbers, 1 for ink and -1 for paper: (10, 84) float32."""
    rows = np.array([[list(digit) for digit in line.split()] for line in DRAWN.split("\n") if line])
    return np.where(rows == "#", 1, -1).astype(np.float32).transpose(1, 0, 2).reshape(10, 84)


class DistanceToCodes(Layer):
    """The squared distance to each of some fixed codes: (N, features) → (N, codes); the smallest one wins."""

    def __init__(self, codes):
        self.weight = codes  # an array: kept, not learned

    def forward(self, x):
        """Σ (x - code)²."""
        difference = x.reshape((-1, 1, self.weight.shape[1])) - self.weight
        return (difference * difference).sum(axis=2)


def lenet5():
    """LeNet-5 as in the paper: learned subsampling, a partly connected C3, fixed codes at the end."""
    return Sequential(
        c1=Conv2d(1, 6, 5), squash1=Squash(),
        s2=Subsample(6), squash2=Squash(),
        c3=PartlyConnected(SEEN, 5), squash3=Squash(),
        s4=Subsample(16), squash4=Squash(),
        c5=Conv2d(16, 120, 5), squash5=Squash(), flatten=Flatten(),
        f6=Dense(120, 84), squash6=Squash(),
        output=DistanceToCodes(digit_codes()),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ AlexNet and ZFNet


def _conv(inputs, outputs, size, **options):
    return Conv2d(inputs, outputs, size, **options), ReLU()


def _dense(inputs, outputs):
    return Dense(inputs, outputs), ReLU()


def alexnet(classes=1000):
    """AlexNet in one tower, as in torchvision."""
    return Sequential(
        features=Sequential(
            *_conv(3, 64, 11, stride=4, padding=2), MaxPool2d(3, 2),
            *_conv(64, 192, 5, padding=2), MaxPool2d(3, 2),
            *_conv(192, 384, 3, padding=1),
            *_conv(384, 256, 3, padding=1),
            *_conv(256, 256, 3, padding=1), MaxPool2d(3, 2),
        ),
        flatten=Flatten(),
        classifier=Sequential(
            Dropout(), *_dense(256 * 6 * 6, 4096), Dropout(), *_dense(4096, 4096), Dense(4096, classes),
        ),
    )  # fmt: skip


def _responses():
    return LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)  # the paper's α = 10⁻⁴ is for the sum of five


def alexnet_two_towers(classes=1000):
    """AlexNet as in the paper: two towers, one a GPU, that meet in the third layer and in the dense ones."""
    return Sequential(
        features=Sequential(
            *_conv(3, 96, 11, stride=4, padding=2), _responses(), MaxPool2d(3, 2),
            *_conv(96, 256, 5, padding=2, groups=2), _responses(), MaxPool2d(3, 2),
            *_conv(256, 384, 3, padding=1),
            *_conv(384, 384, 3, padding=1, groups=2),
            *_conv(384, 256, 3, padding=1, groups=2), MaxPool2d(3, 2),
        ),
        flatten=Flatten(),
        classifier=Sequential(
            *_dense(256 * 6 * 6, 4096), Dropout(), *_dense(4096, 4096), Dropout(), Dense(4096, classes),
        ),
    )  # fmt: skip


def zfnet(classes=1000):
    """The network of Zeiler & Fergus's figure 3: AlexNet with a finer look at the beginning."""
    return Sequential(
        features=Sequential(
            *_conv(3, 96, 7, stride=2, padding=1), MaxPool2d(3, 2, ceil_mode=True), _responses(),
            *_conv(96, 256, 5, stride=2), MaxPool2d(3, 2, ceil_mode=True), _responses(),
            *_conv(256, 384, 3, padding=1),
            *_conv(384, 384, 3, padding=1),
            *_conv(384, 256, 3, padding=1), MaxPool2d(3, 2),
        ),
        flatten=Flatten(),
        classifier=Sequential(
            *_dense(256 * 6 * 6, 4096), Dropout(), *_dense(4096, 4096), Dropout(), Dense(4096, classes),
        ),
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------- VGG

# A number is a 3×3 convolution with so many outputs, a negative one a 1×1 convolution, a slash a pooling.
VGG = {
    "a": (64, "/", 128, "/", 256, 256, "/", 512, 512, "/", 512, 512, "/"),
    "a_lrn": (64, "lrn", "/", 128, "/", 256, 256, "/", 512, 512, "/", 512, 512, "/"),
    "b": (64, 64, "/", 128, 128, "/", 256, 256, "/", 512, 512, "/", 512, 512, "/"),
    "c": (64, 64, "/", 128, 128, "/", 256, 256, -256, "/", 512, 512, -512, "/", 512, 512, -512, "/"),
    "d": (64, 64, "/", 128, 128, "/", 256, 256, 256, "/", 512, 512, 512, "/", 512, 512, 512, "/"),
    "e": (64, 64, "/", 128, 128, "/", *4 * (256,), "/", *4 * (512,), "/", *4 * (512,), "/"),
}


def vgg(configuration, classes=1000):
    """Return one column of Simonyan & Zisserman's table 1: "a", "a_lrn", "b", "c", "d" or "e"."""
    if configuration not in VGG:
        raise ValueError(f"configuration must be one of {', '.join(VGG)}, got {configuration!r}")
    features, channels = [], 3
    for entry in VGG[configuration]:
        if entry == "/":
            features.append(MaxPool2d(2))
        elif entry == "lrn":
            features.append(_responses())
        else:
            features += _conv(channels, abs(entry), 3, padding=1) if entry > 0 else _conv(channels, -entry, 1)
            channels = abs(entry)
    return Sequential(
        features=Sequential(*features),
        flatten=Flatten(),
        classifier=Sequential(
            *_dense(512 * 7 * 7, 4096), Dropout(), *_dense(4096, 4096), Dropout(), Dense(4096, classes),
        ),
    )  # fmt: skip


# ------------------------------------------------------------------------------------- Network in Network


def _mlpconv(inputs, widths, size, **options):
    """A convolution, then a small network slid over the image: 1×1 convolutions."""
    first, second, third = widths
    return *_conv(inputs, first, size, **options), *_conv(first, second, 1), *_conv(second, third, 1)


def nin(classes=1000):
    """Network in Network for ImageNet, as its authors gave it to Caffe's model zoo; no dense layer at all."""
    return Sequential(
        features=Sequential(
            *_mlpconv(3, (96, 96, 96), 11, stride=4), MaxPool2d(3, 2, ceil_mode=True),
            *_mlpconv(96, (256, 256, 256), 5, padding=2), MaxPool2d(3, 2, ceil_mode=True),
            *_mlpconv(256, (384, 384, 384), 3, padding=1), MaxPool2d(3, 2, ceil_mode=True),
            Dropout(),
            *_mlpconv(384, (1024, 1024, classes), 3, padding=1),
        ),
        average=GlobalAvgPool2d(),
    )  # fmt: skip
