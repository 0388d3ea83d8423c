"""The drawings of 6 Model show what the zoo counts and the networks say, and every frame can be read."""

import re

import numpy as np
import pytest
from sklearn.datasets import load_digits

from figures import (
    challenge,
    copies,
    efficiency,
    equilibrium,
    layer_shares,
    players,
    receptive_field,
    walk,
)
from minidl.models.zoo import ARCHITECTURES
from tests.drawings import Widgets, texts

DIGITS = load_digits().images / 16
COMPARED = [a for a in ARCHITECTURES.values() if a.top1 and a.key not in ("alexnet_two_towers", "vgg_a_lrn")]
YEARS = sorted({a.year for a in COMPARED})
ENTRIES = [("2010 NEC", 28.2, None), ("2012 AlexNet", 16.4, 8), ("2015 ResNet", 3.57, 152)]


#: Name → the frames of one widget, as the page shows them.
FRAMES = {
    "copies": [copies.draw(DIGITS[:9], DIGITS[:9] * part, code) for part, code in ((0.3, 1), (0.9, 16))],
    "players, GAN": [
        players.draw(t, DIGITS[4], DIGITS[9], ("0.90 real", "0.20 real")) for t in players.TURNS
    ],
    "players, BEGAN": [
        players.draw(t, DIGITS[4], DIGITS[9], ("L = 0.09", "L = 0.05"), (DIGITS[4], DIGITS[9]))
        for t in players.TURNS
    ],
    "walk": [walk.draw(DIGITS[i], DIGITS[i + 1], i, 3) for i in range(3)],
    "equilibrium": [
        equilibrium.draw(g, [0.6, 0.3, 0.2], [0.5, 0.2, 0.2 * g], [0, 0.01, 0.02], 0.7) for g in (0.3, 0.7)
    ],
    "layer_shares": [layer_shares.draw(ARCHITECTURES[key]) for key in ("lenet5", "alexnet", "mobilenet_v1")],
    "receptive_field": [receptive_field.draw(n, 4) for n in range(1, 5)],
    "efficiency": [efficiency.draw(COMPARED, year) for year in YEARS],
    "challenge": [challenge.draw(ENTRIES, 5.1)],
}


class TestDrawings(Widgets):
    drawings = FRAMES


def test_shares_add_up_and_are_those_of_the_zoo():
    """AlexNet's dense layers, by hand: 9216·4096 + 4096·4096 + 4096·1000 weights, and their biases."""
    dense = 9216 * 4096 + 4096**2 + 4096 * 1000 + 2 * 4096 + 1000
    said = layer_shares.draw(ARCHITECTURES["alexnet"]).get_label()
    assert f"parameters: convolution {1 - dense / 61_100_840:.0%}, dense {dense / 61_100_840:.0%}" in said
    shares = [int(share) for share in re.findall(r"(\d+)%", said.split("multiply-adds")[1])]
    assert abs(sum(shares) - 100) <= 1
    bars = [p for p in layer_shares.draw(ARCHITECTURES["vgg_d"]).axes[0].patches if p.get_width()]
    for row in (0, 1):
        ours = [bar for bar in bars if round(bar.get_y() + bar.get_height() / 2) == row]
        assert sum(bar.get_width() for bar in ours) == pytest.approx(1)


@pytest.mark.parametrize("layers, view", [(1, 3), (2, 5), (3, 7), (4, 9)])
def test_what_a_stack_sees_is_what_a_gradient_reaches(layers, view):
    """The label's field of view is the width of the pixels that one output depends on."""
    from minidl.graph import Tensor
    from minidl.layers import Conv2d, Sequential

    stack = Sequential(*[Conv2d(1, 1, 3) for _ in range(layers)])
    side = 15
    x = Tensor(np.ones((1, 1, side, side), np.float32), requires_grad=True)
    y = stack(x)
    middle = y.shape[2] // 2
    y[0, 0, middle, middle].backward()
    reached = np.abs(x.grad[0, 0]).sum(axis=0) > 0
    assert reached.sum() == view
    said = receptive_field.draw(layers, 4).get_label()
    assert f"sees {view} × {view} pixels" in said and f"{view**2}C²" in said and f"{9 * layers}C²" in said


def test_networks_appear_in_their_year():
    names = {year: set(texts(efficiency.draw(COMPARED, year))) for year in YEARS}
    assert "ResNet-50" not in names[2014] and "ResNet-50" in names[2015]
    assert "EfficientNet-B0" in names[2019] - names[2018]
    for year in YEARS:
        assert len(efficiency.draw(COMPARED, year).axes[0].collections) == sum(
            a.year <= year for a in COMPARED
        )


def test_the_balance_is_the_ratio_of_the_losses():
    figure = equilibrium.draw(0.5, [0.8, 0.4, 0.2, 0.2], [0.4, 0.1, 0.12, 0.08], [0, 0, 0.01, 0.02], 1)
    assert "second half: 0.50 on average" in texts(figure) and "L(G(z)) / L(x), γ = 0.5" in texts(figure)


def test_the_copying_error_is_the_mean_square():
    figure = copies.draw(np.ones((2, 4, 4)), np.full((2, 4, 4), 0.5), 3)
    assert "16 pixels through 3 numbers: mean squared error 0.250" in texts(figure)


def test_only_the_discriminators_turn_shows_the_data():
    judge, artist = FRAMES["players, GAN"]
    assert "from the data" in texts(judge) and "from the data" not in texts(artist)
    assert "0.90 real" in texts(judge) and "0.90 real" not in texts(artist)
