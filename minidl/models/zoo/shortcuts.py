"""Networks with short cuts: ResNet adds what came before, DenseNet keeps it."""

from __future__ import annotations

from minidl import graph
from minidl.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dense,
    GlobalAvgPool2d,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
)

# ------------------------------------------------------------------------------------------------- ResNet


def _conv(inputs, outputs, size, stride=1):
    return Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class Block(Layer):
    """What both blocks share: a short cut, through a 1×1 convolution where the shape changes."""

    widening = 1

    def _shortcut(self, inputs, width, stride):
        outputs = width * self.widening
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = Sequential(_conv(inputs, outputs, 1, stride), BatchNorm2d(outputs))

    def forward(self, x):
        """The layers learn what to add."""
        return (self.change(x) + (self.downsample(x) if self.downsample else x)).relu()


class BasicBlock(Block):
    """Two 3×3 convolutions."""

    def __init__(self, inputs, width, stride):
        self.conv1, self.bn1 = _conv(inputs, width, 3, stride), BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), BatchNorm2d(width)
        self._shortcut(inputs, width, stride)

    def change(self, x):
        """What is added."""
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))


class Bottleneck(Block):
    """A 3×3 convolution between two 1×1 ones, which make it narrow and wide again."""

    widening = 4

    def __init__(self, inputs, width, stride):
        self.conv1, self.bn1 = _conv(inputs, width, 1), BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), BatchNorm2d(4 * width)
        self._shortcut(inputs, width, stride)

    def change(self, x):
        """What is added."""
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.bn3(self.conv3(x))


RESNET = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def resnet(depth, classes=1000):
    """ResNet with 18, 34, 50, 101 or 152 layers, as in torchvision: the 3×3 convolution has the stride."""
    if depth not in RESNET:
        raise ValueError(f"depth must be one of {', '.join(map(str, RESNET))}, got {depth!r}")
    block, counts = RESNET[depth]
    stages, inputs = {}, 64
    for stage, count in enumerate(counts):
        width, blocks = 64 << stage, []
        for i in range(count):
            blocks.append(block(inputs, width, stride=2 if stage and not i else 1))
            inputs = width * block.widening
        stages[f"layer{stage + 1}"] = Sequential(*blocks)
    return Sequential(
        conv1=_conv(3, 64, 7, 2), bn1=BatchNorm2d(64), relu=ReLU(), maxpool=MaxPool2d(3, 2, padding=1),
        **stages,
        avgpool=GlobalAvgPool2d(), fc=Dense(inputs, classes),
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------- DenseNet


class Growing(Sequential):
    """Layers whose result is laid beside their input."""

    def forward(self, x):
        """Concatenate along the channels."""
        return graph.concatenate([x, super().forward(x)], axis=1)


def _dense_layer(inputs, growth):
    return Growing(
        norm1=BatchNorm2d(inputs), relu1=ReLU(), conv1=_conv(inputs, 4 * growth, 1),
        norm2=BatchNorm2d(4 * growth), relu2=ReLU(), conv2=_conv(4 * growth, growth, 3),
    )  # fmt: skip


def densenet(counts=(6, 12, 24, 16), growth=32, classes=1000):
    """DenseNet-BC: so many layers in each block, each adding `growth` channels; by default DenseNet-121."""
    channels = 2 * growth
    stages = {}
    for stage, count in enumerate(counts, 1):
        stages[f"denseblock{stage}"] = Sequential(
            **{f"denselayer{i + 1}": _dense_layer(channels + i * growth, growth) for i in range(count)}
        )
        channels += count * growth
        if stage < len(counts):
            stages[f"transition{stage}"] = Sequential(
                norm=BatchNorm2d(channels), relu=ReLU(), conv=_conv(channels, channels // 2, 1),
                pool=AvgPool2d(2),
            )  # fmt: skip
            channels //= 2
    return Sequential(
        features=Sequential(
            conv0=_conv(3, 2 * growth, 7, 2), norm0=BatchNorm2d(2 * growth), relu0=ReLU(),
            pool0=MaxPool2d(3, 2, padding=1),
            **stages,
            norm5=BatchNorm2d(channels), relu5=ReLU(),
        ),
        avgpool=GlobalAvgPool2d(),
        classifier=Dense(channels, classes),
    )  # fmt: skip
