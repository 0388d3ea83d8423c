"""The drawings of a training show what was measured, and every frame can be read."""

import re

import numpy as np
import pytest

from figures import confusion, distributions, layer_means, learned_filters, mistakes, samples, training_curves
from minidl import layers
from minidl.instruments.style import to_svg
from minidl.instruments.watch import Moment, Numbers, Watch
from minidl.tasks import fit
from minidl.tasks.data import Dataset, Examples
from minidl.tasks.metrics import confusion_matrix
from minidl.tasks.train import History
from tests.drawings import Figures, texts

random = np.random.default_rng(0)


def trained(epochs=4):
    layers.seed(0)
    model = layers.Sequential(
        layers.Conv2d(1, 8, 3), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(), layers.Dense(72, 3)
    )
    x = random.uniform(0, 1, (60, 1, 8, 8)).astype(np.float32)
    data = Dataset(
        "noise", Examples(x[:40], random.integers(0, 3, 40)), Examples(x[40:], random.integers(0, 3, 20))
    )
    watch = Watch(inputs=x[:10], keep="0.weight", samples=lambda: x[: len(watch.moments) + 3])
    watch.before(model)
    return watch, fit(model, data, epochs, callbacks=[watch], progress=False)


WATCH, HISTORY = trained()


FIGURES = {
    "curves": training_curves.draw(HISTORY),
    "curves at first": training_curves.draw(HISTORY, 1),
    **{kind: distributions.draw({kind: WATCH[-1].numbers[kind]}, kind) for kind in WATCH[-1].numbers},
    "weights and gradients": distributions.draw(
        {kind: WATCH[-1].numbers[kind] for kind in ("weight", "gradient")}, "both"
    ),
    **{f"means of {kind}": layer_means.draw(WATCH, kind) for kind in WATCH[-1].numbers},
    "samples": samples.draw(random.uniform(size=(16, 1, 8, 8)), "drawn after epoch 3"),
    "one sample": samples.draw(np.eye(8)[None], "drawn"),
    "confusion": confusion.draw(random.integers(0, 150, (10, 10))),
    "confusion of two": confusion.draw(np.array([[3, 1], [0, 999]]), ["cat", "dog"]),
    "mistakes": mistakes.draw(
        random.uniform(size=(7, 1, 8, 8)), range(7), range(1, 8), np.linspace(1, 0.4, 7)
    ),
    "no mistakes": mistakes.draw(np.zeros((0, 8, 8)), [], [], []),
    "filters": learned_filters.draw(WATCH[0].arrays["0.weight"][:, 0], "after epoch 0"),
}


class TestDrawings(Figures):
    drawings = FIGURES


def test_curves_are_the_history():
    figure = FIGURES["curves"]
    drawn = {line.get_label(): line.get_ydata() for axes in figure.axes for line in axes.lines}
    assert list(drawn["loss"]) == HISTORY["loss"] and list(drawn["test accuracy"]) == HISTORY["test_accuracy"]
    assert f"test accuracy {HISTORY['test_accuracy'][-1]:.3g}" in figure.get_label()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["losses", "metrics"]


def test_curves_that_grow_keep_their_axes():
    first, last = FIGURES["curves at first"], FIGURES["curves"]
    for one, other in zip(first.axes, last.axes, strict=True):
        assert one.get_xlim() == other.get_xlim() and one.get_ylim() == other.get_ylim()
    shown = training_curves.frames(HISTORY, 3)
    assert len(shown) == 3 and shown.stops[0][-1] == "4" and shown.start == 2
    assert len(set(shown.svgs)) == 3


@pytest.mark.parametrize("rows", [[], [{"epoch": 1, "lr": 1, "seconds": 1}]])
def test_nothing_is_not_drawn(rows):
    with pytest.raises(ValueError, match="no epoch yet"):
        training_curves.draw(History(rows))


def test_a_loss_that_is_not_always_there_and_does_not_move():
    rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.5, "late": 1.0}]
    assert "late 1" in training_curves.draw(History(rows)).get_label()


@pytest.mark.parametrize("kind", ["weight", "bias", "gradient", "activation"])
def test_distributions_over_a_training_share_their_axes(kind):
    shown = distributions.frames(WATCH, kind)
    moments = [moment for moment in WATCH if moment.numbers[kind]]
    assert len(shown) == len(moments) == (4 if kind == "gradient" else 5)
    last = moments[-1].numbers[kind]
    for name, held in last.items():
        figures = f"mean {distributions.short(held.mean)}, σ {distributions.short(held.std)}"
        assert f"{name}: {figures}" in shown.alts[-1]
    axes = {re.findall(r'viewBox="[^"]*"', svg)[0] for svg in shown.svgs}
    assert len(axes) == 1


def test_several_kinds_stand_side_by_side_under_names_of_ones_own():
    shown = distributions.frames(
        WATCH, "weight", "gradient", names={"4.weight": "dense", "0.weight": "conv"}, start=1
    )
    assert len(shown) == 4 and shown.start == 1  # gradients there are from the first step on
    weights, gradients = (WATCH[2].numbers[kind]["4.weight"] for kind in ("weight", "gradient"))
    assert f"dense weight: mean {distributions.short(weights.mean)}" in shown.alts[1]
    assert f"dense gradient: mean {distributions.short(gradients.mean)}" in shown.alts[1]
    assert "0.weight" not in shown.svgs[1] and shown.svgs[1].index("dense") < shown.svgs[1].index("conv")


def test_bars_count_the_values():
    values = np.concatenate([np.zeros(300), np.ones(100)]).astype(np.float32)
    figure = distributions.draw({"weight": {"a": Numbers.of(values)}}, "t")
    counts, edges, _ = figure.axes[0].patches[0].get_data()
    assert counts.max() == 1 and sorted(counts[counts > 0]) == [pytest.approx(1 / 3), 1]
    assert edges[0] <= 0 and edges[-1] >= 1
    assert "mean 0.25, σ 0.43, 75% are 0" in " ".join(texts(figure))


def test_what_lies_beyond_the_axis_is_counted_in_the_last_bar():
    held = {"weight": {"a": Numbers.of(np.full(10, 99, np.float32))}}
    figure = distributions.draw(held, "t", {"weight": {"a": (-1.0, 1.0)}})
    counts, _, _ = figure.axes[0].patches[0].get_data()
    assert counts[-1] == 1 and counts.sum() == 1


def test_small_numbers_survive_the_svg():
    """It keeps two decimals of every number, also of those in words."""
    small = Numbers.of(np.array([-0.0013, 0.0013], np.float32))
    assert "σ 1.3e-03" in to_svg(distributions.draw({"gradient": {"a": small}}, "t"))


def test_gradients_that_vanish_are_drawn_too():
    zero = Numbers.of(np.zeros(10, np.float32))
    assert "mean 0, σ 0, 100% are 0" in distributions.draw({"gradient": {"a": zero}}, "t").get_label()
    watch = Watch()
    watch.moments = [Moment(i, {"gradient": {"a": zero}, "bias": {}}, {}, None, {}) for i in range(2)]
    assert "a mean 0" in layer_means.draw(watch, "gradient").get_label()
    for ask in (lambda: layer_means.draw(watch, "bias"), lambda: distributions.frames(watch, "bias")):
        with pytest.raises(ValueError, match="no moment with a bias"):
            ask()
    with pytest.raises(ValueError, match="no bias to draw"):
        distributions.draw({"bias": {}}, "t")


def test_many_layers_are_thinned_out_evenly():
    assert distributions.evenly(list(range(100)), 4) == [0, 33, 66, 99]
    assert distributions.evenly([1, 2], 4) == [1, 2]


def test_samples_and_filters_over_a_training():
    assert len(samples.frames(WATCH)) == 5 and "3 pictures" in samples.frames(WATCH).alts[0]
    shown = learned_filters.frames(WATCH, "0.weight")
    assert len(shown) == 5 and "8 filters of 3 by 3" in shown.alts[0]
    with pytest.raises(ValueError, match="called 'nothing'"):
        learned_filters.frames(WATCH, "nothing")
    with pytest.raises(ValueError, match="kept no pictures"):
        samples.frames(Watch())
    with pytest.raises(ValueError, match="pictures must have shape"):
        samples.draw(np.zeros((2, 3, 4, 4)), "colour")


def test_the_confusion_matrix_is_the_one_of_the_metrics():
    truth = np.array([0, 0, 1, 1, 1, 2])
    counts = confusion_matrix(np.array([0, 1, 1, 0, 0, 2]), truth)
    figure = confusion.draw(counts, ["a", "b", "c"])
    assert "3 of 6 right; most often a b was taken for a a, 2 times" in figure.get_label()
    assert [t for t in texts(figure) if t.isdigit()] == ["1", "1", "2", "1", "1"]
    assert "most often" not in confusion.draw(np.eye(2, dtype=int)).get_label()
    for wrong in (np.ones((2, 3), int), np.ones((2, 2)), -np.eye(2, dtype=int)):
        with pytest.raises(ValueError, match="counts must be whole numbers"):
            confusion.draw(wrong)
    with pytest.raises(ValueError, match="classes must have 2 names, got 3"):
        confusion.draw(np.eye(2, dtype=int), "abc")


def test_mistakes_say_what_was_taken_for_what():
    assert "a 1 taken for a 0, 100% sure" in FIGURES["mistakes"].get_label()
    assert "no mistakes" in texts(FIGURES["no mistakes"])
    with pytest.raises(ValueError, match="must go together"):
        mistakes.draw(np.zeros((2, 8, 8)), [1], [2, 3], [0.5, 0.5])


class TestLive:
    def test_one_picture_is_drawn_again_in_its_place(self, monkeypatch):
        shown = []

        class Handle:
            def update(self, drawn):
                shown.append(drawn)

        def display(drawn, display_id):
            shown.append(drawn)
            return Handle()

        monkeypatch.setattr("IPython.display.display", display)
        live = training_curves.Live(seconds=0)
        live._cost = 0
        layers.seed(0)
        x = random.normal(size=(30, 4)).astype(np.float32)

        class Now(training_curves.Live):
            def __call__(self, training):
                self._drawn = -1e9
                super().__call__(training)

        fit(layers.Dense(4, 2), Examples(x, random.integers(0, 2, 30)), 3, callbacks=[Now()], progress=False)
        assert len(shown) == 3 and "epoch 3 of 3" in shown[-1].alt

    def test_the_last_epoch_is_always_drawn_and_without_a_notebook_nothing_breaks(self, monkeypatch):
        shown = []
        monkeypatch.setattr("IPython.display.display", lambda drawn, display_id: shown.append(drawn))
        x = random.normal(size=(30, 4)).astype(np.float32)
        live = training_curves.Live(seconds=1e9)
        fit(layers.Dense(4, 2), Examples(x, random.integers(0, 2, 30)), 4, callbacks=[live], progress=False)
        assert len(shown) == 2 and "epoch 4 of 4" in shown[-1].alt
