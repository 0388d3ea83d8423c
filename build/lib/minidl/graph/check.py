"""Check a gradient against its definition: nudge one number at a time and see how the result moves."""

from __future__ import annotations

import numpy as np

from minidl.graph.dynamic import Tensor, no_grad


def check_gradients(function, *inputs, step=1e-6, rtol=1e-4, atol=1e-6, seed=0):
    """Compare the gradients of a function with central differences, (f(x + h) - f(x - h)) / 2h.

    All is done in float64: in float32 a difference of two nearly equal results has few digits left, and right
    gradients look wrong. A result that is no single number is weighed with random numbers and summed.

    Parameters
    ----------
    function : callable
        Takes as many tensors as there are inputs and returns a tensor. It must be smooth where it is tried
        (not on the kink of a relu) and give the same result each time.
    inputs : array_like or Tensor
        Where to try it; copied to float64, except integers and booleans, which have no gradient.
    step : float
        h.
    rtol, atol : float
        How far apart the two may be.

    Returns
    -------
    bool
        True.

    Raises
    ------
    AssertionError
        If they differ; the message says for which input, at which index, and by how much.
    """
    arrays = [np.array(x.data if isinstance(x, Tensor) else x) for x in inputs]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    tensors = [Tensor(a.copy(), requires_grad=a.dtype.kind == "f") for a in arrays]
    result = function(*tensors)
    if result.dtype != np.float64:
        raise TypeError(
            f"the function turned float64 into {result.dtype}: what else it uses must be float64 as well"
        )
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, result.shape)
    result.backward(weights)

    def total(changed):
        with no_grad():
            return float(np.sum(function(*map(Tensor, changed)).numpy() * weights))

    for position, (tensor, array) in enumerate(zip(tensors, arrays, strict=True)):
        if array.dtype.kind != "f":
            continue
        found = np.zeros_like(array) if tensor.grad is None else tensor.grad
        for index in np.ndindex(array.shape):
            there = array[index]
            array[index] = there + step
            above = total(arrays)
            array[index] = there - step
            below = total(arrays)
            array[index] = there
            expected = (above - below) / (2 * step)
            if not np.isclose(found[index], expected, rtol=rtol, atol=atol):
                raise AssertionError(
                    f"input {position} at {index}: the gradient is {found[index]:.8g}, "
                    f"the difference quotient {expected:.8g}"
                )
    return True
