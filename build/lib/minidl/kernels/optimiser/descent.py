"""Gradient descent, plain and with momentum (torch.optim.SGD): in one pass each."""

import numpy as np
from numba import njit, prange

from minidl.hardware.cuda import cuda
from minidl.hardware.machine import GPU
from minidl.kernels.compiling import PARALLEL, sized
from minidl.kernels.optimiser.buffers import THREADS, bring_back, check_buffers, check_number


def sgd_reference(params, gradients, lr, weight_decay=0.0):
    """param -= lr · (gradient + weight_decay · param), in float64; errors as for `adam_reference`."""
    (p, g), _ = _check_sgd(params, gradients, lr, weight_decay)
    wide = p.astype(np.float64)
    p[...] = wide - lr * (g + weight_decay * wide)
    return params


@njit(**PARALLEL)
def _sgd(p, g, rate, decay):
    for i in prange(p.size):
        p[i] -= rate * (g[i] + decay * p[i])


def sgd(params, gradients, lr, weight_decay=0.0):
    """Take one step of gradient descent: the best rung on the CPU."""
    buffers, rates = _check_sgd(params, gradients, lr, weight_decay)
    sized(_sgd, buffers[0].size)(*buffers, *rates)
    return params


@cuda.jit
def sgd_fused_kernel(p, g, rate, decay):
    """One thread per parameter."""
    i = cuda.grid(1)
    if i < p.size:
        old = p[i]
        p[i] = old - rate * (g[i] + decay * old)


def sgd_cuda(params, gradients, lr, weight_decay=0.0, machine=GPU):
    """Take one step of gradient descent on the GPU."""
    buffers, rates = _check_sgd(params, gradients, lr, weight_decay, on_gpu=True)
    p, g = (machine.upload(buffer) for buffer in buffers)
    machine.launch(sgd_fused_kernel, -(-p.size // THREADS), THREADS, p, g, *rates)
    bring_back(machine, (params, p))
    return params


def momentum_reference(params, gradients, velocity, lr, momentum=0.9, weight_decay=0.0, nesterov=False):
    """velocity = momentum · velocity + g; param -= lr · velocity, with g as for SGD, in float64.

    With `nesterov`, param -= lr · (g + momentum · velocity). `velocity` is zeros before the first step.
    """
    (p, g, v), _ = _check_momentum(params, gradients, velocity, lr, momentum, weight_decay)
    wide = p.astype(np.float64)
    gradient = g + weight_decay * wide
    speed = momentum * v.astype(np.float64) + gradient
    p[...] = wide - lr * (gradient + momentum * speed if nesterov else speed)
    v[...] = speed
    return params


@njit(**PARALLEL)
def _momentum(p, g, v, rate, momentum, decay, nesterov):
    for i in prange(p.size):
        gradient = g[i] + decay * p[i]
        v[i] = momentum * v[i] + gradient
        p[i] -= rate * (gradient + momentum * v[i] if nesterov else v[i])


def momentum(params, gradients, velocity, lr, momentum=0.9, weight_decay=0.0, nesterov=False):
    """Take one step of gradient descent with momentum: the best rung on the CPU."""
    buffers, rates = _check_momentum(params, gradients, velocity, lr, momentum, weight_decay)
    sized(_momentum, buffers[0].size, few=500_000)(*buffers, *rates, bool(nesterov))
    return params


@cuda.jit
def momentum_fused_kernel(p, g, v, rate, momentum, decay, nesterov):
    """One thread per parameter."""
    i = cuda.grid(1)
    if i < p.size:
        old = p[i]
        gradient = g[i] + decay * old
        speed = momentum * v[i] + gradient
        v[i] = speed
        p[i] = old - rate * (gradient + momentum * speed if nesterov else speed)


def momentum_cuda(
    params, gradients, velocity, lr, momentum=0.9, weight_decay=0.0, nesterov=False, machine=GPU
):
    """Take one step of gradient descent with momentum on the GPU."""
    given = params, gradients, velocity
    buffers, rates = _check_momentum(*given, lr, momentum, weight_decay, on_gpu=True)
    p, g, v = (machine.upload(buffer) for buffer in buffers)
    machine.launch(momentum_fused_kernel, -(-p.size // THREADS), THREADS, p, g, v, *rates, bool(nesterov))
    bring_back(machine, (params, p), (velocity, v))
    return params


def _check_sgd(params, gradients, lr, weight_decay, on_gpu=False):
    buffers = check_buffers(on_gpu, params=params, gradients=gradients)
    rates = check_number("lr", lr), check_number("weight_decay", weight_decay)
    return buffers, tuple(map(buffers[0].dtype.type, rates))


def _check_momentum(params, gradients, velocity, lr, momentum, weight_decay, on_gpu=False):
    buffers = check_buffers(on_gpu, params=params, gradients=gradients, velocity=velocity)
    rates = (
        check_number("lr", lr),
        check_number("momentum", momentum),
        check_number("weight_decay", weight_decay),
    )
    return buffers, tuple(map(buffers[0].dtype.type, rates))
