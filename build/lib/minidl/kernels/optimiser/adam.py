"""Adam, rung by rung (D. Kingma & J. Ba, arXiv:1412.6980, algorithm 1; torch.optim.Adam)."""

import math
from functools import partial

import numpy as np
from numba import njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU
from minidl.kernels.arguments import check_integer
from minidl.kernels.compiling import PARALLEL, on_one_thread, sized
from minidl.kernels.ladder import Ladder, Rung
from minidl.kernels.optimiser.buffers import THREADS, bring_back, check_buffers, check_number


def adam_reference(
    params, gradients, mean, square, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
):
    """Take one step of Adam, computed in float64 and rounded once at the end.

        g = gradient + weight_decay · param
        mean   = β₁·mean   + (1 - β₁)·g            a running mean of gradients
        square = β₂·square + (1 - β₂)·g²           and of their squares
        param -= lr · (mean / (1 - β₁ᵗ)) / (√(square / (1 - β₂ᵗ)) + ε)

    Both begin at 0, and dividing by 1 - βᵗ takes out what that beginning weighs in step t. Every rung below
    takes these arguments and raises these errors, before it writes anything.

    Parameters
    ----------
    params, gradients, mean, square : arrays of one shape and dtype, float32 or float64, without gaps
        All but `gradients` are changed; `mean` and `square` are zeros before the first step.
    step : int
        t, which counts from 1.
    lr : float
        The learning rate.
    betas : pair of float
        β₁ and β₂, each from 0 to less than 1.
    eps : float
        ε, which keeps the quotient finite.
    weight_decay : float
        Pulls parameters towards 0, as a part of the gradient (the L2 penalty, not AdamW's).

    Returns
    -------
    params

    Raises
    ------
    TypeError
        If an array is not float32 or float64, dtypes differ, or a number is none.
    ValueError
        If shapes differ, a buffer has gaps, is read-only or shares memory with another, or a number is out of
        its range.
    """
    buffers, _ = _check_adam(params, gradients, mean, square, step, lr, betas, eps, weight_decay)
    p, g, m, v = (buffer.astype(np.float64) for buffer in buffers)
    g += weight_decay * p
    m += (1 - betas[0]) * (g - m)
    v = betas[1] * v + (1 - betas[1]) * g * g
    p -= lr / (1 - betas[0] ** step) * m / (np.sqrt(v / (1 - betas[1] ** step)) + eps)
    for buffer, value in zip((params, mean, square), (p, m, v), strict=True):
        buffer[...] = value.reshape(buffer.shape)
    return params


# -------------------------------------------------------------------------------------------- on the CPU


def adam_python(
    params, gradients, mean, square, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
):
    """Rung 2: one parameter after another."""
    buffers, rates = _check_adam(params, gradients, mean, square, step, lr, betas, eps, weight_decay)
    _adam.py_func(*buffers, *rates)
    return params


def adam_numpy(
    params, gradients, mean, square, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
):
    """Rung 3: array operations, in place where they can be."""
    (p, g, m, v), rates = _check_adam(params, gradients, mean, square, step, lr, betas, eps, weight_decay)
    rate, new, keep, add, correction, eps, decay = rates
    if decay:
        g = g + decay * p
    m += new * (g - m)
    v *= keep
    v += add * g * g
    denominator = np.sqrt(v)
    denominator /= correction
    denominator += eps
    p -= rate * m / denominator
    return params


@njit(**PARALLEL)
def _adam(p, g, m, v, rate, new, keep, add, correction, eps, decay):
    for i in prange(p.size):
        gradient = g[i] + decay * p[i]
        m[i] += new * (gradient - m[i])
        v[i] = keep * v[i] + add * (gradient * gradient)
        p[i] -= rate * m[i] / (math.sqrt(v[i]) / correction + eps)


def adam_fused(
    params, gradients, mean, square, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
):
    """Rung 4: one pass, in which everything is read once and written once."""
    buffers, rates = _check_adam(params, gradients, mean, square, step, lr, betas, eps, weight_decay)
    on_one_thread(_adam)(*buffers, *rates)
    return params


def adam(params, gradients, mean, square, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Take one step of Adam: the best rung on the CPU.

    Parameters, result and errors are those of `adam_reference`.
    """
    buffers, rates = _check_adam(params, gradients, mean, square, step, lr, betas, eps, weight_decay)
    sized(_adam, buffers[0].size, few=200_000)(*buffers, *rates)
    return params


# -------------------------------------------------------------------------------------------- on the GPU


@cuda.jit
def adam_fused_kernel(p, g, m, v, rate, new, keep, add, correction, eps, decay):
    """One thread per parameter."""
    i = cuda.grid(1)
    if i < p.size:
        old = p[i]
        gradient = g[i] + decay * old
        mean = m[i]
        mean += new * (gradient - mean)
        square = keep * v[i] + add * (gradient * gradient)
        m[i] = mean
        v[i] = square
        p[i] = old - rate * mean / (math.sqrt(square) / correction + eps)


@cuda.jit
def adam_moments_kernel(p, g, m, v, new, keep, add, decay):
    """The running means alone: what a framework without fused kernels launches first."""
    i = cuda.grid(1)
    if i < p.size:
        gradient = g[i] + decay * p[i]
        mean = m[i]
        m[i] = mean + new * (gradient - mean)
        v[i] = keep * v[i] + add * (gradient * gradient)


@cuda.jit
def adam_update_kernel(p, m, v, rate, correction, eps):
    """The step alone, which has to fetch again what `adam_moments_kernel` has just written."""
    i = cuda.grid(1)
    if i < p.size:
        p[i] -= rate * m[i] / (math.sqrt(v[i]) / correction + eps)


def adam_cuda(
    params,
    gradients,
    mean,
    square,
    step,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    machine=GPU,
    rung="fused",
):
    """Take one step of Adam on the GPU.

    Parameters, result and errors are those of `adam_reference`; buffers in host memory go to the GPU and come
    back. `rung` is "two kernels" or "fused". Raises `DeviceUnavailable` if the machine has no GPU.
    """
    if rung not in ("two kernels", "fused"):
        raise ValueError(f"rung must be one of two kernels, fused, got {rung!r}")
    given = params, gradients, mean, square
    buffers, rates = _check_adam(*given, step, lr, betas, eps, weight_decay, on_gpu=True)
    rate, new, keep, add, correction, eps, decay = rates
    p, g, m, v = (machine.upload(buffer) for buffer in buffers)
    grid = -(-p.size // THREADS)
    if rung == "fused":
        machine.launch(adam_fused_kernel, grid, THREADS, p, g, m, v, *rates)
    else:
        machine.launch(adam_moments_kernel, grid, THREADS, p, g, m, v, new, keep, add, decay)
        machine.launch(adam_update_kernel, grid, THREADS, p, m, v, rate, correction, eps)
    bring_back(machine, (params, p), (mean, m), (square, v))
    return params


def _check_adam(params, gradients, mean, square, step, lr, betas, eps, weight_decay, on_gpu=False):
    """The four buffers, flat, and the numbers of step t that the kernels take."""
    buffers = check_buffers(on_gpu, params=params, gradients=gradients, mean=mean, square=square)
    step = check_integer("step", step, 1)
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"betas must be a pair of numbers, got {betas!r}")
    beta1, beta2 = (check_number("betas", beta, below=1) for beta in betas)
    rates = (
        check_number("lr", lr) / (1 - beta1**step),
        1 - beta1,
        beta2,
        1 - beta2,
        math.sqrt(1 - beta2**step),
        check_number("eps", eps),
        check_number("weight_decay", weight_decay),
    )
    return buffers, tuple(map(buffers[0].dtype.type, rates))


# -------------------------------------------------------------------------------------------- the ladder


def _once(n, itemsize=4):
    """Four buffers read, three of them written."""
    return 7 * n * itemsize


def _flops(n):
    """For g 2, the mean 3, the square 4, the step 6."""
    return 15 * n


def _example(size):
    p, g = np.random.default_rng(0).normal(size=(2, size)).astype(np.float32)
    return p, g, np.zeros_like(p), np.zeros_like(p), 1


ADAM_LADDER = Ladder(
    name="Adam",
    shape=lambda params, *_: (int(np.size(params)),),
    example=_example,
    rungs=(
        Rung(
            name="reference",
            device="cpu",
            callable=adam_reference,
            lesson="The specification: the formulas in float64, each operation a new array.",
            bytes=lambda n, itemsize=4: n * (7 * itemsize + 45 * 8),
            flops=_flops,
        ),
        Rung(
            name="python loops",
            device="cpu",
            callable=adam_python,
            lesson="The formulas for one parameter after another.",
            bytes=_once,
            flops=_flops,
        ),
        Rung(
            name="numpy",
            device="cpu",
            callable=adam_numpy,
            lesson="A dozen array operations, in place or not, and each of them passes over memory.",
            bytes=lambda n, itemsize=4: 33 * n * itemsize,
            flops=lambda n: 13 * n,
        ),
        Rung(
            name="numba fused",
            device="cpu",
            callable=adam_fused,
            lesson="All of them in one pass: seven numbers through memory for each parameter, and no fewer "
            "can do.",
            bytes=_once,
            flops=_flops,
            pure_numba=True,
        ),
        Rung(
            name="numba threads",
            device="cpu",
            callable=adam,
            lesson="Parameters do not depend on each other, so every core takes a share, until memory is "
            "the limit.",
            bytes=_once,
            flops=_flops,
            pure_numba=True,
        ),
        Rung(
            name="cuda two kernels",
            device="cuda",
            callable=partial(adam_cuda, rung="two kernels"),
            lesson="What one kernel writes the next has to fetch again: nothing stays on the chip between "
            "launches.",
            bytes=lambda n, itemsize=4: 10 * n * itemsize,
            flops=_flops,
            kernel=adam_moments_kernel,
        ),
        Rung(
            name="cuda fused",
            device="cuda",
            callable=partial(adam_cuda, rung="fused"),
            lesson="One kernel: everything is read once and written once.",
            bytes=_once,
            flops=_flops,
            kernel=adam_fused_kernel,
        ),
    ),
)
