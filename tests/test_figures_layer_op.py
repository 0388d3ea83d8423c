"""The drawings of 5 Layer and 3 Op compute what they show, and every frame of them can be read."""

import re

import numpy as np
import pytest
from sklearn.datasets import load_digits

from figures import (
    convolution,
    dense,
    feature_map,
    im2col,
    learned_filters,
    multiplications,
    online_softmax,
    padding,
    pooling,
    scores,
    strides,
    waves,
    winograd,
)
from minidl.instruments.drawing import bracketed, canvas, matrix, number, shades
from minidl.instruments.style import PALETTE, to_svg
from tests.drawings import Widgets, texts

IMAGE = [[0.4, 0.9, 0.1], [0.7, 0.2, 0.6], [0.8, 0.3, 0.5]]
WEIGHTS, BIAS = [[1, -2], [0.5, 1.5], [-1, 0.5]], [0.1, -0.2]
VALUES = [[1, 3, 0, 2], [4, 8, 1, 1], [0, 2, 5, 5], [6, 0, 5, 9]]
SIZES = [3, 5, 7]
COUNTS = {"direct": [9, 25, 49], "other": [4, 9, 16]}


#: Name → the frames of one widget, as the two pages show them.
FRAMES = {
    "dense": [dense.draw(IMAGE, WEIGHTS, BIAS, i, j) for i in range(3) for j in range(2)],
    "convolution": [convolution.draw(IMAGE, [[5.7, 2.4], [3.1, 0.9]], i) for i in range(4)],
    "feature_map": [feature_map.draw(load_digits().images[4], [[0, 0, 0], [-1, 1, 0], [0, 0, 0]], "edges")],
    "strides": [strides.draw(9, 5, i) for i in (0, 8, 9, 24)],
    "padding": [padding.draw(8, 5, s, p, 2) for p in range(3) for s in (1, 2, 3)],
    "pooling": [pooling.draw(VALUES, kind, i) for kind in ("max", "mean") for i in range(4)],
    "scores": [scores.draw(np.eye(8), np.arange(10), 3)],
    "learned_filters": [learned_filters.draw(np.random.default_rng(0).normal(size=(16, 5, 5)), "round 0")],
    "im2col": [im2col.draw(*im2col.example(), i) for i in range(19)],
    "winograd": [winograd.draw([4, 2, 5, 6], [2, 1, 3], i) for i in range(5)],
    "waves": [waves.draw([0.25] * 4, 16, i) for i in range(1, 9)],
    "multiplications": [multiplications.draw(SIZES, COUNTS, i) for i in range(3)],
    "online_softmax": [online_softmax.draw([2, 1, 4, 3, 5], i) for i in range(5)],
}


class TestDrawings(Widgets):
    drawings = FRAMES


class TestDrawing:
    def test_a_matrix_takes_numbers_and_texts(self):
        figure, axes = canvas(3, 3)
        matrix(axes, 0, 0, [[1.50001, -2], ["…", ""]])
        assert texts(figure) == ["1.5", "−2", "…"]

    def test_a_picture_is_one_path_for_each_step(self):
        _, axes = canvas(40, 40)
        shades(axes, 0, 0, np.random.default_rng(0).normal(size=(40, 40)))
        assert len(axes.patches) <= 17

    def test_signs_have_colours_and_nothing_has_none(self):
        figure, axes = canvas(3, 2)
        shades(axes, 0, 0, [[1, 0, -1]], positive=PALETTE["model"][0], negative=PALETTE["op"][0])
        assert f"{PALETTE['model'][0]}" in to_svg(figure) and f"{PALETTE['op'][0]}" in to_svg(figure)
        assert len(axes.patches) == 3  # one positive, one negative, the frame

    def test_a_picture_of_zeros_is_an_empty_frame(self):
        _, axes = canvas(3, 3)
        shades(axes, 0, 0, np.zeros((3, 3)))
        assert len(axes.patches) == 1

    def test_negative_numbers_have_a_minus_sign_and_brackets_where_needed(self):
        assert (number(-0.25), bracketed(-0.25), bracketed(0.25)) == ("−0.25", "(−0.25)", "0.25")


class TestLayer:
    def test_dense_is_a_matrix_product(self):
        y = np.array(IMAGE) @ WEIGHTS + BIAS
        for figure, value in zip(FRAMES["dense"], y.flat, strict=True):
            assert f"= {number(value)}." in figure.get_label()

    def test_dense_shows_what_was_computed_so_far(self):
        assert "−1.1" not in texts(FRAMES["dense"][0]) and "−1.1" in texts(FRAMES["dense"][-1])

    def test_convolution_gives_the_four_outputs_and_not_the_misprint(self):
        for figure, value in zip(FRAMES["convolution"], (6.79, 6.53, 7.22, 3.96), strict=True):
            assert f"= {value}." in figure.get_label() and f"{value}" in texts(figure)
        assert not any("7.67" in text for text in texts(FRAMES["convolution"][3]))

    def test_feature_map_finds_the_strongest_place(self):
        image = np.zeros((5, 6))
        image[1:4, 4] = 7
        label = feature_map.draw(image, [[0, 1, 0]] * 3, "strokes").get_label()
        assert "largest, 21, at row 1, column 3" in label

    @pytest.mark.parametrize("size", [8, 9, 11])
    def test_strides_make_the_outputs_that_fit(self, size):
        places = [len(range(0, size - 5 + 1, stride)) ** 2 for stride in (1, 2)]
        label = strides.draw(size, 5, 10**6).get_label()
        assert all(f"{n} of {n} outputs" in label for n in places)

    @pytest.mark.parametrize("pad", [0, 1, 2])
    @pytest.mark.parametrize("stride", [1, 2, 3])
    @pytest.mark.parametrize(("size", "kernel"), [(8, 5), (7, 3), (28, 5)])
    def test_padding_counts_the_places_of_the_kernel(self, size, kernel, stride, pad):
        starts = [i for i in range(0, size + 2 * pad, stride) if i + kernel <= size + 2 * pad]
        figure = padding.draw(size, kernel, stride, pad)
        assert f"output {len(starts)} × {len(starts)}" in texts(figure)
        left_over = size + 2 * pad - (starts[-1] + kernel)
        assert ("it fits exactly" in figure.get_label()) == (left_over == 0)
        assert left_over == 0 or f"below: {left_over}" in figure.get_label()

    def test_pooling_takes_the_largest_or_the_mean(self):
        results = [figure.get_label().split("= ")[1] for figure in FRAMES["pooling"]]
        assert results == ["8.", "2.", "6.", "9.", "4.", "1.", "2.", "6."]

    def test_scores_become_shares_however_large_they_are(self):
        figure = scores.draw(np.eye(8), [1000, 999] + [0] * 8, 1)
        assert "for 0; softmax gives it 73%" in figure.get_label()
        assert {"73%", "27%"} <= set(texts(figure))

    def test_filters_that_are_all_zero_can_be_drawn(self):
        assert "about 0.00" in learned_filters.draw(np.zeros((3, 5, 5)), "blank").get_label()


class TestOp:
    def test_im2col_ends_in_the_convolution(self):
        image, kernels = im2col.example()
        names, frames = im2col.stops(4, 3), FRAMES["im2col"]
        assert len(names) == len(frames) == 4 + 3 + 4 * 3
        last = texts(frames[-1])
        for k, i, j in np.ndindex(3, 2, 2):
            direct = (image[:, i : i + 3, j : j + 3] * kernels[k]).sum()
            figure = frames[names.index(f"p{2 * i + j} × k{k}")]
            assert f"added up: {number(direct)}, pixel {(i, j)} of output channel {k}" in figure.get_label()
            assert number(direct) in last

    def test_im2col_names_both_ends_of_the_27(self):
        shown = texts(FRAMES["im2col"][0])
        assert {"x0", "x2", "x24", "x26", "k0", "k26"} <= set(shown) and "x27" not in shown

    @pytest.mark.parametrize("seed", range(5))
    def test_winograd_agrees_with_the_sliding_window(self, seed):
        random = np.random.default_rng(seed)
        d, g = random.integers(-9, 10, 4), random.integers(-9, 10, 3)
        expected = np.correlate(d, g, "valid")
        *_, last = (winograd.draw(d, g, step) for step in range(5))
        assert f"The outputs are {expected[0]:g} and {expected[1]:g}." in last.get_label()
        says = last.get_label().replace("−", "-")
        first, second = re.search(r"add up: (.*) = \S+ and (.*) = \S+\. The", says).groups()
        assert [eval(first), eval(second)] == list(expected)  # the additions shown, done again

    @pytest.mark.parametrize("cycles", range(1, 9))
    def test_a_wave_is_scaled_as_a_convolution_scales_it(self, cycles):
        taps = np.array([0.25] * 4)
        wave = np.exp(2j * np.pi * cycles * np.arange(16) / 16)
        out = sum(tap * np.roll(wave, -i) for i, tap in enumerate(taps))
        title = waves.draw(taps, 16, cycles).get_label()
        height = np.abs(out).max()
        assert np.ptp(np.abs(out)) < 1e-12  # still one wave
        assert ("wiped out" if height < 1e-9 else f"{height:.2f} times as high") in title

    def test_multiplications_names_every_algorithm_with_its_count(self):
        assert {"direct: 25", "other: 9"} <= set(texts(FRAMES["multiplications"][1]))

    @pytest.mark.parametrize("values", [[2, 1, 4, 3, 5], [5, 4, 3], [-3, -1, -2], [0, 0, 0], [1000, 1001]])
    def test_online_softmax_arrives_at_the_sum_of_powers(self, values):
        for step in range(len(values)):
            seen = np.array(values[: step + 1], dtype=float)
            expected = np.exp(seen - seen.max()).sum()
            label = online_softmax.draw(values, step).get_label()
            assert f"largest {number(seen.max())}, sum {number(expected)}." in label

    def test_online_softmax_says_when_it_corrects(self):
        corrected = ["counts only" in figure.get_label() for figure in FRAMES["online_softmax"]]
        assert corrected == [False, False, True, False, True]
