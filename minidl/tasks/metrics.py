"""Metrics: what a trained network is judged by, in numbers that people understand."""

from __future__ import annotations

import numpy as np


def predictions(outputs):
    """Return the class with the highest score: (N, K) → (N,); what is (N,) already is taken as classes."""
    outputs = np.asarray(outputs)
    if outputs.ndim == 2:
        if np.isnan(outputs).any():
            raise ValueError("outputs hold NaN, which is the highest score of no class")
        return outputs.argmax(axis=1)
    if outputs.ndim == 1 and outputs.dtype.kind in "biu":
        return outputs
    raise ValueError(
        f"outputs must be scores of shape (N, K) or integer classes of shape (N,), got {outputs.dtype} "
        f"of shape {outputs.shape}"
    )


def accuracy(outputs, labels):
    """The share that is right.

    Parameters
    ----------
    outputs : array_like, scores (N, K) or classes (N,)
    labels : array_like of int, shape (N,)
    """
    said, labels = _pair(outputs, labels)
    return float(np.mean(said == labels))


def _pair(outputs, labels):
    said, labels = predictions(outputs), np.asarray(labels)
    if labels.shape != said.shape or labels.dtype.kind not in "biu":
        raise ValueError(
            f"labels must be integers of shape {said.shape}, got {labels.dtype} of shape {labels.shape}"
        )
    if labels.size == 0:
        raise ValueError("there is nothing to judge: no examples")
    return said, labels


# ----------------------------------------------------------------------------------- where it is wrong


def confusion_matrix(outputs, labels, classes=None):
    """Count what was taken for what: row i, column j is how often an i was called a j.

    Parameters
    ----------
    outputs, labels : as for `accuracy`
    classes : int, optional
        How many classes there are; by default as many scores as an output has.

    Returns
    -------
    int64 array, shape (classes, classes)
    """
    said, labels = _pair(outputs, labels)
    highest = int(max(said.max(), labels.max())) + 1
    if classes is None:
        classes = max(highest, np.shape(outputs)[1] if np.ndim(outputs) == 2 else 0)
    if min(said.min(), labels.min()) < 0 or highest > classes:
        raise ValueError(f"labels and outputs must be from 0 to {classes - 1}")
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels.astype(np.int64), said), 1)
    return counts


def per_class(outputs, labels, classes=None):
    """Return precision, recall, F1 and support of each class, a dict of arrays of shape (classes,).

    Precision: of those called so, how many were. Recall: of those that were, how many were called so. F1 is
    their harmonic mean. NaN where a class was never called, or never there.
    """
    counts = confusion_matrix(outputs, labels, classes)
    right = np.diag(counts).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = right / counts.sum(axis=0), right / counts.sum(axis=1)
        f1 = 2 * right / (counts.sum(axis=0) + counts.sum(axis=1))
    return {"precision": precision, "recall": recall, "f1": f1, "support": counts.sum(axis=1)}


def worst(outputs, labels, count=10):
    """Return the positions of the worst mistakes, the surest first.

    Parameters
    ----------
    outputs : array_like, scores (N, K)
    labels : array_like of int, shape (N,)
    count : int
        How many; fewer come back if there are fewer mistakes.
    """
    said, labels = _pair(outputs, labels)
    outputs = np.asarray(outputs, np.float64)
    if outputs.ndim != 2:
        raise ValueError("outputs must be scores of shape (N, K): classes alone do not say how sure it was")
    margin = outputs[np.arange(len(said)), said] - outputs[np.arange(len(said)), labels]
    wrong = np.flatnonzero(said != labels)
    return wrong[np.argsort(-margin[wrong], kind="stable")][:count]


# ------------------------------------------------------------------------------- how good drawings are


def frechet_distance(one, other):
    """How far apart two clouds of points are, each taken for a Gaussian one (M. Heusel et al.,
    arXiv:1706.08500, eq. 6).

    |m - n|² + Tr(C + D - 2·(C·D)^½), with means m, n and covariances C, D: 0 for the same cloud.

    Parameters
    ----------
    one, other : array_like of floats, shapes (N, F), (M, F)
        With more points than features; with fewer, a covariance is a guess.
    """
    one, other = (np.asarray(x, np.float64) for x in (one, other))
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or min(len(one), len(other)) < 2:
        raise ValueError(
            f"two clouds of at least two points (N, F), (M, F) are needed, got {one.shape} and {other.shape}"
        )
    c, d = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (one, other))
    values, vectors = np.linalg.eigh(c)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # C·D has the eigenvalues of C^½·D·C^½, which is symmetric
    product = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ d @ root), 0)).sum()
    shift = one.mean(axis=0) - other.mean(axis=0)
    return float(max(shift @ shift + np.trace(c) + np.trace(d) - 2 * product, 0.0))


def nearest(points, among):
    """Return, for each point, the distance to the nearest of others, and which that is.

    Parameters
    ----------
    points, among : arrays, shapes (N, …), (M, …)
        Images, for instance; the distance is Euclidean over all pixels.

    Returns
    -------
    distances : float64 array, shape (N,)
    indices : int64 array, shape (N,)
    """
    from sklearn.neighbors import NearestNeighbors

    points, among = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (points, among))
    if not points.size or not among.size or points.shape[1] != among.shape[1]:
        raise ValueError(f"points and among must be of one kind, got {points.shape} and {among.shape}")
    distances, indices = NearestNeighbors(n_neighbors=1).fit(among).kneighbors(points)
    return distances[:, 0], indices[:, 0]


class Judge:
    """Someone who knows real images and has no part in the drawing: scikit-learn's SVM, and its PCA.

    Parameters
    ----------
    real : Split
        The images that both learn from. What shall be judged must not have been used.
    components : int
        How many principal components distances between clouds are measured in.
    """

    def __init__(self, real, components=20, seed=0):
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.decomposition import PCA
        from sklearn.svm import SVC

        self.real, flat = real, _flat(real.inputs)
        self.seed, self.classes = seed, int(real.targets.max()) + 1
        self.pca = PCA(min(components, *flat.shape), random_state=seed).fit(flat)
        self.svm = CalibratedClassifierCV(SVC(C=10, gamma="scale"), ensemble=False, cv=5)
        self.svm.fit(flat, real.targets)

    def classify(self, images):
        """Return (what each image shows, how sure the SVM is): int64 and float64 arrays, shape (N,)."""
        probabilities = self.svm.predict_proba(_flat(images))
        return self.svm.classes_[probabilities.argmax(axis=1)], probabilities.max(axis=1)

    def features(self, images):
        """Return the principal components, shape (N, components)."""
        return self.pca.transform(_flat(images))

    def verdict(self, drawn, held_out=None):
        """Judge drawings, beside real images that were kept aside and beside noise.

        Parameters
        ----------
        drawn : array, shape (N, C, H, W)
        held_out : Split, optional
            Real images that neither the drawing nor the judging has seen.

        Returns
        -------
        dict of str to dict
            For "drawings", "held out" and "noise": "shares" of the classes (an array), "confidence" (the
            median), "frechet" (to the real images, in principal components), "nearest" (the median distance
            to a real image) and "closest" (the smallest: 0 is a copy).
        """
        noise = np.random.default_rng(self.seed).uniform(0, 1, np.shape(drawn)).astype(np.float32)
        groups = {
            "drawings": drawn,
            "held out": None if held_out is None else held_out.inputs,
            "noise": noise,
        }
        result = {}
        for name, images in groups.items():
            if images is None:
                continue
            shown, sure = self.classify(images)
            distances, _ = nearest(images, self.real.inputs)
            result[name] = {
                "shares": np.bincount(shown, minlength=self.classes) / len(shown),
                "confidence": float(np.median(sure)),
                "frechet": frechet_distance(self.features(images), self.features(self.real.inputs)),
                "nearest": float(np.median(distances)),
                "closest": float(distances.min()),
            }
        return result


def _flat(images):
    return np.asarray(images, np.float64).reshape(len(images), -1)
