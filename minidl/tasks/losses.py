"""Losses: one number that says how wrong a network is, small when it is right, with a slope to go down.

Each is a mean over all it is given, so that the size of a batch does not change the size of a step, and each
works on tensors, which compute at once, and on nodes of a static graph. The two that are made of logarithms
take *logits*, the scores before softmax or sigmoid: a probability that has been rounded to 0 has no
logarithm, a score of -200 is a number like any other.
"""

from __future__ import annotations

import numpy as np

from minidl import graph
from minidl.graph import Tensor
from minidl.graph.node import Value
from minidl.hardware.machine import is_on_gpu


def cross_entropy(logits, labels):
    """How surprised the network is by the right answer: the mean of -log softmax(logits)[label].

    Parameters
    ----------
    logits : Tensor, Node or array_like of floats, shape (N, K)
        A score for each of K classes.
    labels : Tensor, Node or array_like of int, shape (N,)
        The right class of each example, from 0 to K - 1.

    Returns
    -------
    Tensor or Node, shape ()
        log K for a network that knows nothing; 0 for one that is right and certain.

    Raises
    ------
    TypeError
        If labels are not integers.
    ValueError
        If shapes do not fit, the batch is empty, or a label is out of range.
    """
    return graph.cross_entropy(logits, labels)


def bce_with_logits(logits, targets):
    """Cross-entropy of a yes-or-no question: the mean of -t·log σ(z) - (1 - t)·log(1 - σ(z)).

    Parameters
    ----------
    logits : Tensor, Node or array_like of floats
        z: a score above 0 for yes, below for no.
    targets : Tensor, Node or array_like of the same shape
        t: 1 for yes, 0 for no, or a probability between them.

    Raises
    ------
    ValueError
        If the shapes differ, the batch is empty, or a target is below 0 or above 1.
    """
    values = targets.data if isinstance(targets, Tensor) else targets
    if not isinstance(values, Value) and not is_on_gpu(values):
        values = np.asarray(values)
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"targets must be from 0 to 1, got {values.min()} to {values.max()}")
    return graph.bce_with_logits(logits, targets)


def mse(prediction, target):
    """The mean of the squared differences: what a network is judged by that answers with numbers.

    Parameters
    ----------
    prediction : Tensor, Node or array_like of floats
    target : Tensor, Node or array_like of the same shape

    Raises
    ------
    ValueError
        If the shapes differ. (Broadcast together, (N, 1) and (N,) would give N² differences and a network
        that learns the mean.)
    """
    return graph.mse(prediction, target)
