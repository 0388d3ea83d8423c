"""LeNet: convolutions that find strokes, pooling that forgives where they are, dense layers that decide.

After Y. LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proceedings of the IEEE 86
(1998), section II.B, in today's spelling: ReLU, max pooling, and a softmax in the loss. The network of 1998
itself is in `minidl.models.zoo`.
"""

from __future__ import annotations

from minidl.kernels.arguments import check_integer
from minidl.layers import Conv2d, Dense, Dropout, Flatten, MaxPool2d, ReLU, Sequential, he_uniform
from minidl.models import shipped


def lenet(side=8, classes=10, dropout=None):
    """Return a LeNet: pictures (N, 1, side, side) → logits (N, classes).

    Parameters
    ----------
    side : int
        Of the pictures, at least 4. Up to 16 the kernels are 3×3; from there on they are LeNet-5's, 5×5, 6
        and then 16 of them, before 120 and 84 numbers.
    classes : int
    dropout : float, optional
        Before the last layer; by default 0.3 up to a side of 16, where examples are few, and then 0.
    """
    side, classes = check_integer("side", side, 4), check_integer("classes", classes, 1)
    small = side <= 16
    if small:
        kernel, (few, many), dense = 3, (16, 32), (128,)
    else:
        kernel, (few, many), dense = 5, (6, 16), (120, 84)
    left = side // 2 // 2 if small else (side // 2 - kernel + 1) // 2  # what is left of the side at the end
    dropout = 0.3 * small if dropout is None else dropout
    made = [
        Conv2d(1, few, kernel, padding=kernel // 2),
        ReLU(),
        MaxPool2d(2),
        Conv2d(few, many, kernel, padding=kernel // 2 if small else 0),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
    ]
    for a, b in zip([many * left * left, *dense], dense, strict=False):
        made += [Dense(a, b, init=he_uniform), ReLU()]
    made += [Dropout(dropout)] if dropout else []
    return Sequential(*made, Dense(dense[-1], classes))


def pretrained():
    """Return `lenet(side=8)` as it has learned to read digits; `shipped.about("lenet")` says how."""
    return shipped.load("lenet", lenet(side=8))
