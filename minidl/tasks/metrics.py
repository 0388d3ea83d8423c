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
