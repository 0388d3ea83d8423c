"""Metrics: the numbers of scikit-learn and SciPy, and a judge who is not taken in."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from minidl.tasks import data, metrics

RNG = np.random.default_rng(0)
SCORES, LABELS = RNG.normal(size=(200, 5)), RNG.integers(0, 5, 200)
SAID = SCORES.argmax(axis=1)


@pytest.mark.parametrize("outputs", [SCORES, SAID])
def test_counts_are_those_of_scikit_learn(outputs):
    assert metrics.accuracy(outputs, LABELS) == np.mean(SAID == LABELS)
    np.testing.assert_array_equal(metrics.confusion_matrix(outputs, LABELS), confusion_matrix(LABELS, SAID))
    expected = precision_recall_fscore_support(LABELS, SAID)
    for name, theirs in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(metrics.per_class(outputs, LABELS)[name], theirs)


def test_a_class_that_is_never_called_has_no_precision():
    found = metrics.per_class([0, 0, 1], [0, 0, 2], classes=4)
    np.testing.assert_array_equal(found["precision"], [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(found["recall"], [1, np.nan, 0, np.nan])
    assert found["support"].tolist() == [2, 0, 1, 0]


def test_the_worst_mistakes_come_first():
    scores = np.array([[5, 0.0], [1, 0], [0, 3], [9, 0], [0.2, 0]])
    assert metrics.worst(scores, [1, 0, 1, 1, 1]).tolist() == [3, 0, 4]
    assert metrics.worst(scores, [1, 0, 1, 1, 1], count=1).tolist() == [3]
    with pytest.raises(ValueError, match="how sure it was"):
        metrics.worst([0, 1], [1, 1])


@pytest.mark.parametrize(
    ("outputs", "labels", "says"),
    [
        (np.zeros((3, 2)), [0, 1], r"labels must be integers of shape \(3,\)"),
        (np.zeros((2, 2)), [0.0, 1.0], "labels must be integers"),
        (np.full((1, 2), np.nan), [0], "outputs hold NaN"),
        (np.zeros(3), [0, 0, 0], "outputs must be scores"),
        (np.zeros((0, 2)), np.zeros(0, int), "nothing to judge"),
    ],
)
def test_what_cannot_be_counted_is_said(outputs, labels, says):
    with pytest.raises(ValueError, match=says):
        metrics.accuracy(outputs, labels)
    with pytest.raises(ValueError, match=says):
        metrics.confusion_matrix(outputs, labels)


def test_classes_out_of_range():
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        metrics.confusion_matrix([0, 2], [0, 1], classes=2)


@pytest.mark.parametrize("features", [1, 2, 6])
def test_the_frechet_distance_by_its_definition(features):
    a = RNG.normal(size=(300, features)) @ RNG.normal(size=(features, features)) + 1
    b = RNG.normal(size=(200, features)) @ RNG.normal(size=(features, features))
    c, d = (np.atleast_2d(np.cov(x.T)) for x in (a, b))
    shift = a.mean(axis=0) - b.mean(axis=0)
    expected = shift @ shift + np.trace(c + d - 2 * np.real(sqrtm(c @ d)))
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(a, b) == pytest.approx(metrics.frechet_distance(b, a), rel=1e-9)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    flat = np.zeros((10, features))  # a cloud without extent
    assert metrics.frechet_distance(flat, flat + 2) == pytest.approx(4 * features)


def test_clouds_that_are_none():
    with pytest.raises(ValueError, match="two clouds of at least two points"):
        metrics.frechet_distance(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="two clouds"):
        metrics.frechet_distance(np.zeros((1, 2)), np.zeros((5, 2)))


def test_nearest_is_the_nearest():
    a, b = RNG.normal(size=(20, 1, 3, 3)), RNG.normal(size=(30, 1, 3, 3))
    apart = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=(2, 3, 4)))
    distances, indices = metrics.nearest(a, b)
    np.testing.assert_allclose(distances, apart.min(axis=1))
    np.testing.assert_array_equal(indices, apart.argmin(axis=1))
    with pytest.raises(ValueError, match="must be of one kind"):
        metrics.nearest(a, b[..., :2])


def test_a_judge_knows_digits_from_noise_and_copies_from_drawings():
    digits = data.digits()
    judge = metrics.Judge(digits.train)
    shown, sure = judge.classify(digits.test.images)
    assert np.mean(shown == digits.test.labels) > 0.98 and np.median(sure) > 0.9
    copies = digits.train.images[:200]
    found = judge.verdict(copies, digits.test)
    assert found["drawings"]["closest"] == found["drawings"]["nearest"] == 0
    assert found["held out"]["closest"] > 0.3
    assert found["drawings"]["frechet"] < 0.3 < 2 < found["noise"]["frechet"]
    assert found["held out"]["frechet"] < 0.2
    assert found["drawings"]["shares"].sum() == pytest.approx(1) and len(found["drawings"]["shares"]) == 10
    assert found["noise"]["nearest"] > 2 * found["held out"]["nearest"]
    assert "held out" not in judge.verdict(copies)
