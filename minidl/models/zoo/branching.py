"""Networks whose layers stand side by side: GoogLeNet and SqueezeNet."""

from __future__ import annotations

from minidl.layers import (
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    GlobalAvgPool2d,
    Layer,
    MaxPool2d,
    Parallel,
    ReLU,
    Sequential,
)


def _conv(inputs, outputs, size, stride=1):
    return Sequential(
        conv=Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        bn=BatchNorm2d(outputs, eps=0.001),
        relu=ReLU(),
    )


def _inception(inputs, one, reduced3, three, reduced5, five, pooled):
    """Look at four scales at once; 1×1 convolutions keep the wide ones cheap."""
    return Parallel(
        branch1=_conv(inputs, one, 1),
        branch2=Sequential(_conv(inputs, reduced3, 1), _conv(reduced3, three, 3)),
        branch3=Sequential(_conv(inputs, reduced5, 1), _conv(reduced5, five, 3)),  # 5 in the paper
        branch4=Sequential(MaxPool2d(3, 1, padding=1, ceil_mode=True), _conv(inputs, pooled, 1)),
    )


def googlenet(classes=1000):
    """GoogLeNet with batch normalisation, as in torchvision, without the two classifiers used in training."""
    return Sequential(
        conv1=_conv(3, 64, 7, stride=2), maxpool1=MaxPool2d(3, 2, ceil_mode=True),
        conv2=_conv(64, 64, 1),
        conv3=_conv(64, 192, 3), maxpool2=MaxPool2d(3, 2, ceil_mode=True),
        inception3a=_inception(192, 64, 96, 128, 16, 32, 32),
        inception3b=_inception(256, 128, 128, 192, 32, 96, 64), maxpool3=MaxPool2d(3, 2, ceil_mode=True),
        inception4a=_inception(480, 192, 96, 208, 16, 48, 64),
        inception4b=_inception(512, 160, 112, 224, 24, 64, 64),
        inception4c=_inception(512, 128, 128, 256, 24, 64, 64),
        inception4d=_inception(512, 112, 144, 288, 32, 64, 64),
        inception4e=_inception(528, 256, 160, 320, 32, 128, 128), maxpool4=MaxPool2d(2, 2, ceil_mode=True),
        inception5a=_inception(832, 256, 160, 320, 32, 128, 128),
        inception5b=_inception(832, 384, 192, 384, 48, 128, 128),
        avgpool=GlobalAvgPool2d(), dropout=Dropout(0.2), fc=Dense(1024, classes),
    )  # fmt: skip


class Fire(Layer):
    """Squeeze the channels with 1×1 convolutions, then expand them with 1×1 and 3×3 ones side by side."""

    def __init__(self, inputs, squeezed, expanded):
        self.squeeze = Conv2d(inputs, squeezed, 1)
        self.expand1x1 = Conv2d(squeezed, expanded, 1)
        self.expand3x3 = Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x):
        """A relu after each."""
        x = self.squeeze(x).relu()
        return Parallel(self.expand1x1, self.expand3x3)(x).relu()


def squeezenet(classes=1000):
    """SqueezeNet 1.0."""
    return Sequential(
        features=Sequential(
            Conv2d(3, 96, 7, stride=2), ReLU(), MaxPool2d(3, 2, ceil_mode=True),
            Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), MaxPool2d(3, 2, ceil_mode=True),
            Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256),
            MaxPool2d(3, 2, ceil_mode=True), Fire(512, 64, 256),
        ),
        classifier=Sequential(Dropout(), Conv2d(512, classes, 1), ReLU(), GlobalAvgPool2d()),
    )  # fmt: skip
