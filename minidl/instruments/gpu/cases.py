"""Every CUDA function of minidl with arguments, at odd sizes, beside what it must return."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minidl.hardware import limits
from minidl.hardware.machine import GPU, is_on_gpu
from minidl.instruments import stopwatch
from minidl.kernels import conv, elementwise, optimiser, pool, reduce, softmax
from minidl.kernels.reduce.mean import scale_kernel
from minidl.ops import gpu as formulas


@dataclass(frozen=True)
class Case:
    """One call of one CUDA function.

    Attributes
    ----------
    name : str
        The function, its rung, and the shapes of its arguments.
    run : callable
        `run(machine)` → tuple of arrays in host memory: results, and arguments that were changed in place.
    want : callable
        `want()` → what they must be.
    traceable : bool
        Whether it is small enough for the tracer.
    """

    name: str
    run: Callable
    want: Callable
    traceable: bool = True

    def check(self, machine=GPU) -> str:
        """Return "" if the machine's results are right, and else what is wrong."""
        for got, want in zip(self.run(machine), self.want(), strict=True):
            wrong = _difference(np.asarray(got), np.asarray(want))
            if wrong:
                return wrong
        return ""


def _difference(got, want) -> str:
    """Compare with what was computed in another order, or in float64."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype} of shape {got.shape} instead of {want.dtype} of shape {want.shape}"
    if want.dtype.kind != "f":
        return "" if np.array_equal(got, want) else f"{np.sum(got != want)} of {want.size} values differ"
    finite = np.isfinite(want)
    largest = np.abs(want[finite]).max(initial=0)
    with np.errstate(invalid="ignore"):
        right = np.isclose(got, want, rtol=1e-3, atol=1e-5 * largest + 1e-30, equal_nan=True)
    if right.all():
        return ""
    place = tuple(int(i) for i in np.argwhere(~right)[0])
    return f"{np.sum(~right)} of {want.size} values differ; {got[place]} instead of {want[place]} at {place}"


# ---------------------------------------------------------------------------------------------- arguments
# Two lists for each function: small ones, which the tracer and the sanitizer take, and larger ones that only
# a GPU does in no time. All sizes are odd where they can be.


def _normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape, dtype=np.float32)


def _with_nan(array):
    array[(0,) * array.ndim] = np.nan
    return array


def _windows(n, *windows):
    return [(_normal(n), window) for window in windows if window <= n]


def _products(*sizes):
    return [(_normal(m, k), _normal(k, n, seed=1)) for m, k, n in sizes]


def _matvecs(*sizes):
    return [(_normal(b, m, k), _normal(b, k, seed=1)) for b, m, k in sizes]


def _images(*cases):
    return [(_normal(*shape), *window) for shape, *window in cases]


CONVOLUTIONS = [  # shapes of x and w, stride, padding
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0),
    ((2, 3, 6, 5), (5, 3, 3, 3), 1, 1),
    ((2, 3, 7, 9), (4, 3, 3, 2), (2, 3), (1, 2)),
    ((1, 2, 5, 6), (3, 2, 1, 1), 2, 0),
    ((1, 1, 2, 2), (66, 1, 1, 2), 1, (0, 1)),
    ((1, 66, 2, 2), (2, 66, 1, 1), 1, 0),
]
LARGE_CONVOLUTIONS = [
    ((32, 16, 28, 28), (32, 16, 3, 3), 1, 1),
    ((7, 65, 15, 13), (129, 65, 3, 3), 1, 1),
    ((5, 130, 14, 9), (70, 130, 5, 4), (2, 3), (2, 1)),
    ((64, 1, 28, 28), (64, 1, 5, 5), 2, 2),
    ((33, 3, 31, 31), (17, 3, 7, 7), 2, 3),
    ((3, 64, 1, 1), (300, 64, 1, 1), 1, 0),
]


def _convolutions(cases):
    return [(_normal(*x), _normal(*w, seed=1), _normal(w[0], seed=2), *steps) for x, w, *steps in cases]


def _backward(cases):
    found = []
    for x_shape, w_shape, *steps in cases:
        y_shape = conv.geometry.geometry_of(x_shape, w_shape, *steps).y_shape
        found.append((_normal(*y_shape, seed=3), _normal(*x_shape), _normal(*w_shape, seed=1), *steps))
    return found


def _reductions(*shapes):
    return [(_normal(*shape), axis) for shape, *axes in shapes for axis in axes]


def _buffers(count, *sizes):
    return [tuple(np.abs(_normal(n, seed=i)) for i in range(count)) for n in sizes]


def _adam_buffers(*sizes):
    return [(*buffers, step) for step, buffers in enumerate(_buffers(4, *sizes), 1)]


def _quantized(*sizes):
    found = []
    for m, k, n in sizes:
        random = np.random.default_rng((m, k, n))
        a, b = (random.integers(0, 256, shape, dtype=np.uint8) for shape in ((m, k), (k, n)))
        found.append((a, b, (0.02, 7), (0.013, 130), (0.3, 99)))
    return found


ARGUMENTS = {  # by ladder: small arguments, larger ones
    "sliding average": (_windows(600, 1, 2, 13, 257, 600), _windows(1_000_003, 1, 2, 16, 255, 257, 1000)),
    "matmul": (
        _products((1, 1, 1), (5, 7, 3), (33, 12, 36)),
        _products((129, 65, 131), (257, 1023, 509), (1000, 4, 2000), (513, 512, 1024)),
    ),
    "batch matrix-vector product": (
        _matvecs((1, 1, 1), (3, 5, 37)),
        _matvecs((33, 65, 129), (100, 257, 1001)),
    ),
    "quantized matmul": (
        _quantized((1, 1, 1), (5, 33, 19)),
        _quantized((129, 1023, 65), (257, 64, 1000)),
    ),
    "sum": (
        _reductions(((1,), None), ((4099,), None), ((3, 5, 7), 1, (0, 2))),
        _reductions(((1_000_003,), None), ((257, 129, 65), 0, 1, 2, (0, 2))),
    ),
    "maximum": (
        _reductions(((1,), None), ((4099,), None), ((3, 5, 7), 1, (0, 2))),
        _reductions(((1_000_003,), None), ((257, 129, 65), 0, 1, 2, (0, 2))),
    ),
    "softmax": (
        [(_normal(1, 1),), (_normal(3, 150),), (_with_nan(_normal(5, 7)),)],
        [(100 * _normal(130, 1023),), (_normal(4099, 10),), (_normal(3, 100_003),)],
    ),
    "sigmoid": ([(_normal(5, 53),), (_normal(1),)], [(30 * _normal(1001, 1003),)]),
    "relu(a + b)": (
        [(_normal(5, 53), _normal(5, 53, seed=1)), (_normal(3, 1, 4), _normal(5, 1))],
        [(_normal(1001, 1003), _normal(1003)), (_normal(257, 1, 65), _normal(129, 1))],
    ),
    "max pooling": (
        _images(((1, 1, 1, 1), 1), ((2, 3, 7, 9), 3, 2, 1), ((1, 2, 4, 9), (2, 3))),
        _images(((7, 5, 65, 301), 3, 2, 1), ((32, 16, 28, 28), 2), ((1, 1, 5, 3001), (2, 2), (1, 9))),
    ),
    "average pooling": (
        _images(((1, 1, 1, 1), 1), ((2, 3, 7, 9), 3, 2, 1), ((1, 2, 4, 9), (2, 3))),
        _images(((7, 5, 65, 301), 3, 2, 1), ((32, 16, 28, 28), 2), ((1, 1, 5, 3001), (2, 2), (1, 9))),
    ),
    "convolution": (_convolutions(CONVOLUTIONS), _convolutions(LARGE_CONVOLUTIONS)),
    "convolution backward": (_backward(CONVOLUTIONS), _backward(LARGE_CONVOLUTIONS)),
    "Adam": (_adam_buffers(1, 301), _adam_buffers(1_000_003)),
}


def _max_indices(shape, *window):
    return pool.max_pool2d(_normal(*shape), *window, return_indices=True)


def _max_backward(shape, *window):
    y, indices = _max_indices(shape, *window)
    return _normal(*y.shape, seed=1), indices, shape


def _avg_backward(shape, *window):
    return _normal(*pool.avg_pool2d(_normal(*shape), *window).shape, seed=1), shape, *window


def _pairs_of(*shapes):
    return [(_normal(*shape), _normal(*shape, seed=1)) for shape in shapes]


def _probabilities(function, *shapes):
    return [(_normal(*shape), function(_normal(*shape, seed=1))) for shape in shapes]


def others():
    """Return the CUDA functions that are no rung of a ladder: each with its reference and its arguments."""
    e, small, large = elementwise, ((5, 53),), ((1001, 1003),)
    return [
        (e.relu_cuda, e.relu_reference, ([(_normal(5, 53),)], [(_normal(1001, 1003),)])),
        (e.relu_backward_cuda, e.relu_backward_reference, (_pairs_of(*small), _pairs_of(*large))),
        (e.leaky_relu_cuda, e.leaky_relu_reference, ([(_normal(53), 0.2)], [(_normal(10_007), 0.2)])),
        (e.leaky_relu_backward_cuda, e.leaky_relu_backward_reference, (_pairs_of(*small), _pairs_of(*large))),
        (e.sigmoid_backward_cuda, e.sigmoid_backward_reference, (_pairs_of(*small), _pairs_of(*large))),
        (e.tanh_cuda, e.tanh_reference, ([(_normal(5, 53),)], [(9 * _normal(1001, 1003),)])),
        (e.tanh_backward_cuda, e.tanh_backward_reference, (_pairs_of(*small), _pairs_of(*large))),
        (
            reduce.reduce_mean_cuda,
            reduce.reduce_mean_reference,
            (_reductions(((3, 5, 7), 1, None)), _reductions(((257, 129, 65), 0, (0, 2), None))),
        ),
        (
            softmax.log_softmax_cuda,
            softmax.log_softmax_reference,
            ([(_normal(3, 150),)], [(_normal(99, 1001),)]),
        ),
        (
            softmax.softmax_backward_cuda,
            softmax.softmax_backward,
            (_probabilities(softmax.softmax, (3, 150)), _probabilities(softmax.softmax, (99, 1001))),
        ),
        (
            softmax.log_softmax_backward_cuda,
            softmax.log_softmax_backward,
            (_probabilities(softmax.log_softmax, (3, 150)), _probabilities(softmax.log_softmax, (99, 1001))),
        ),
        (
            pool.max_pool2d_backward_cuda,
            pool.max_pool2d_backward_reference,
            ([_max_backward((2, 3, 7, 9), 2)], [_max_backward((7, 5, 65, 301), 3, 2, 1)]),
        ),
        (
            pool.avg_pool2d_backward_cuda,
            pool.avg_pool2d_backward_reference,
            ([_avg_backward((2, 3, 7, 9), 3, 2, 1)], [_avg_backward((7, 5, 65, 301), 3, 2, 1)]),
        ),
        (optimiser.sgd_cuda, optimiser.sgd_reference, _with_rate(_buffers(2, 301), _buffers(2, 10_007))),
        (
            optimiser.momentum_cuda,
            optimiser.momentum_reference,
            _with_rate(_buffers(3, 301), _buffers(3, 10_007)),
        ),
    ]


def _with_rate(*lists):
    return tuple([(*buffers, 0.1) for buffers in buffer_list] for buffer_list in lists)


# -------------------------------------------------------------------------------------------------- cases


def cases(large=False) -> Iterator[Case]:
    """Yield a case for every CUDA rung and function, and for kernels that are made of formulas."""
    for name, ladder in ladders().items():
        if name in ARGUMENTS:
            arguments = ARGUMENTS[name][large]
        else:  # a ladder that is newer than the table above
            arguments = [ladder.example(size) for size in ((101, 3001) if not large else (100_003,))]
        for rung in ladder.on("cuda"):
            for given in arguments:
                yield _case(f"{name}, {rung.name}", rung.callable, ladder.reference.callable, given)
    for function, reference, arguments in others():
        for given in arguments[large]:
            yield _case(function.__name__, function, reference, given)
    yield from _others_still(large)


def ladders():
    """Return the ladders that have CUDA rungs."""
    from minidl.instruments.bench import ladders

    return {name: ladder for name, ladder in ladders().items() if ladder.on("cuda")}


def _case(name, function, reference, arguments) -> Case:
    def run(machine):
        given = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        result = function(*given, machine=machine)
        return _results(result, given, arguments, machine)

    def want():
        given = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        return _results(reference(*given), given, arguments, None)

    shapes = ", ".join(str(a.shape) if isinstance(a, np.ndarray) else str(a) for a in arguments)
    return Case(f"{name}: {shapes}", run, want)


def _results(result, given, arguments, machine):
    """What came back, and what was changed."""
    results = result if isinstance(result, tuple) else (result,)
    results = tuple(machine.download(array) if is_on_gpu(array) else array for array in results)
    for array, before in zip(given, arguments, strict=True):
        if isinstance(array, np.ndarray) and array.tobytes() != before.tobytes():
            results += (array,)
    return results


def _others_still(large):
    """Kernels without a function of their own in `minidl.kernels`."""

    def transposed(machine, x):
        there, (rows, columns) = machine.upload(x), x.shape
        result = machine.empty((columns, rows), x.dtype)
        blocks = -(-x.size // formulas.THREADS)
        flat = there.reshape(x.size), rows, columns, result.reshape(x.size)
        machine.launch(formulas.transpose_kernel, blocks, formulas.THREADS, *flat)
        return (machine.download(result),)

    def scaled(machine, x):
        there = machine.upload(x)
        machine.launch(scale_kernel, -(-x.size // 256), 256, there, np.float32(0.5))
        return (machine.download(there),)

    def multiplied_and_added(machine, trips):
        sums = machine.empty(128, np.float32)
        machine.launch(limits._multiply_and_add_kernel, 2, 64, sums, np.float32(0.999))
        return (machine.download(sums)[:0],)

    def kept_busy(machine, trips):
        out = machine.empty(1, np.float32)
        machine.launch(stopwatch.keep_busy_kernel, 1, 1, trips, out)
        return (machine.download(out),)

    for shape in ((33, 129), (1, 7)) if not large else ((1003, 2001),):
        x = _normal(*shape)
        yield Case(
            f"transpose: {shape}", lambda machine, x=x: transposed(machine, x), lambda x=x: (x.T.copy(),)
        )
    x = _normal(301)
    yield Case("scale: 301", lambda machine, x=x: scaled(machine, x), lambda x=x: (x * np.float32(0.5),))
    trips = 5
    busy = np.float32(1)
    for _ in range(trips):
        busy = busy * np.float32(0.999) + np.float32(0.999)
    yield Case("keep busy", lambda machine: kept_busy(machine, trips), lambda: (np.array([busy]),))
    yield Case(
        "multiply and add",
        lambda machine: multiplied_and_added(machine, trips),
        lambda: (np.empty(0, np.float32),),  # it has no answer, only a time
        traceable=False,
    )
