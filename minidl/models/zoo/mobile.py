"""Networks for small machines: MobileNet v1 and v2, EfficientNet-B0, all of depthwise convolutions."""

from __future__ import annotations

from minidl.layers import (
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    GlobalAvgPool2d,
    Layer,
    ReLU,
    ReLU6,
    Sequential,
    SiLU,
    StochasticDepth,
)


def _conv(inputs, outputs, size, stride=1, activation=None, groups=1):
    parts = [
        Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False, groups=groups),
        BatchNorm2d(outputs),
    ]
    return Sequential(*parts, activation()) if activation else Sequential(*parts)


def mobilenet_v1(classes=1000):
    """MobileNet: each 3×3 convolution is split into one per channel and a 1×1 one across channels."""
    features, inputs = [_conv(3, 32, 3, 2, ReLU)], 32
    for outputs, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *5 * ((512, 1),), (1024, 2), (1024, 1),
    ):  # fmt: skip
        features.append(_conv(inputs, inputs, 3, stride, ReLU, groups=inputs))
        features.append(_conv(inputs, outputs, 1, 1, ReLU))
        inputs = outputs
    return Sequential(
        features=Sequential(*features), avgpool=GlobalAvgPool2d(), classifier=Dense(1024, classes)
    )


class InvertedResidual(Layer):
    """Widen, filter each channel, narrow; the short cut joins the narrow ends."""

    def __init__(self, inputs, outputs, stride, expansion):
        hidden = inputs * expansion
        self.has_shortcut = stride == 1 and inputs == outputs
        self.conv = Sequential(
            *([_conv(inputs, hidden, 1, 1, ReLU6)] if expansion > 1 else []),
            _conv(hidden, hidden, 3, stride, ReLU6, groups=hidden),
            *_conv(hidden, outputs, 1),
        )

    def forward(self, x):
        """No activation after the last one: what is narrow must not be cut."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


def mobilenet_v2(classes=1000):
    """MobileNet v2, as in torchvision."""
    features, inputs = [_conv(3, 32, 3, 2, ReLU6)], 32
    for expansion, outputs, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for i in range(count):
            features.append(InvertedResidual(inputs, outputs, 1 if i else stride, expansion))
            inputs = outputs
    features.append(_conv(320, 1280, 1, 1, ReLU6))
    return Sequential(
        features=Sequential(*features),
        avgpool=GlobalAvgPool2d(),
        classifier=Sequential(Dropout(0.2), Dense(1280, classes)),
    )


class SqueezeExcitation(Layer):
    """Turn each channel up or down, as a small network says that sees their means (Hu et al., 1709.01507)."""

    def __init__(self, channels, squeezed):
        self.avgpool = GlobalAvgPool2d(keepdims=True)
        self.fc1, self.fc2 = Conv2d(channels, squeezed, 1), Conv2d(squeezed, channels, 1)
        self.activation = SiLU()

    def forward(self, x):
        """A number from 0 to 1 for each channel."""
        return x * self.fc2(self.activation(self.fc1(self.avgpool(x)))).sigmoid()


class MBConv(Layer):
    """An inverted residual with squeeze and excitation, and SiLU in place of ReLU6."""

    def __init__(self, inputs, outputs, size, stride, expansion, skipped):
        hidden = inputs * expansion
        self.block = Sequential(
            *([_conv(inputs, hidden, 1, 1, SiLU)] if expansion > 1 else []),
            _conv(hidden, hidden, size, stride, SiLU, groups=hidden),
            SqueezeExcitation(hidden, inputs // 4),
            _conv(hidden, outputs, 1),
        )
        self.stochastic_depth = StochasticDepth(skipped) if stride == 1 and inputs == outputs else None

    def forward(self, x):
        """In training, the whole block is skipped now and then."""
        return x + self.stochastic_depth(self.block(x)) if self.stochastic_depth else self.block(x)


# expansion, kernel size, stride, outputs, how many
B0 = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip


def efficientnet_b0(classes=1000):
    """EfficientNet-B0, as in torchvision."""
    features, inputs, made, total = [_conv(3, 32, 3, 2, SiLU)], 32, 0, sum(row[-1] for row in B0)
    for expansion, size, stride, outputs, count in B0:
        stage = []
        for i in range(count):
            stage.append(
                MBConv(inputs, outputs, size, 1 if i else stride, expansion, skipped=0.2 * made / total)
            )
            inputs, made = outputs, made + 1
        features.append(Sequential(*stage))
    features.append(_conv(320, 1280, 1, 1, SiLU))
    return Sequential(
        features=Sequential(*features),
        avgpool=GlobalAvgPool2d(),
        classifier=Sequential(Dropout(0.2), Dense(1280, classes)),
    )
