"""Reading PTX: kernels compile with no GPU, instructions stand beside their lines, and they fit somewhere."""

import math
import subprocess

import numba
import numpy as np
import pytest
from numba import float32, float64

from minidl.hardware.cuda import cuda
from minidl.instruments import ptx
from minidl.instruments.occupancy import occupancy
from minidl.instruments.ptx import CompileError, CompilerUnavailable, compile_kernel, find_ptxas

from . import kernels_broken, kernels_right

needs_ptxas = pytest.mark.skipif(
    find_ptxas() is None, reason="ptxas is not installed (pip install nvidia-cuda-nvcc-cu12)"
)
A = np.zeros(64, np.float32)


@cuda.jit(device=True)
def scaled(x, y):
    return x * y + float32(1)


@cuda.jit(device=True)
def swapped(s, t, value):
    s[t] = value
    cuda.syncthreads()
    return scaled(s[63 - t], value)


@cuda.jit
def mirror_kernel(out, a, n):
    s = cuda.shared.array(64, float32)
    i = cuda.grid(1)
    if i < n:
        out[i] = swapped(s, cuda.threadIdx.x, a[i])


LINE = mirror_kernel.py_func.__code__.co_firstlineno


@pytest.mark.parametrize("cc", [(7, 5), (9, 0)])
def test_a_kernel_with_device_functions_compiles_without_a_gpu(cc):
    compiled = compile_kernel(mirror_kernel, A, A, np.int32(3), cc=cc)
    assert f".target sm_{cc[0]}{cc[1]}" in compiled.text
    counts = compiled.counts()
    assert counts["ld.global"] >= 1 and counts["st.global"] == 1
    assert counts["st.shared"] == counts["ld.shared"] == counts["bar.sync"] == 1
    assert counts["fma"] == 1 and counts["f64"] == 0
    assert counts["all"] == len(compiled.instructions) > 20
    assert compiled.shared == 256
    assert (compiled.kernel, compiled.cc) == ("mirror_kernel", cc)


def test_instructions_stand_beside_their_lines():
    compiled = compile_kernel(mirror_kernel, A, A, np.int32(3))
    lines = compiled.lines()
    assert any(text.startswith("ld.global") for text in lines[LINE + 5])
    assert any(text.startswith("st.global") for text in lines[LINE + 5])
    barrier = swapped.py_func.__code__.co_firstlineno + 3
    assert [text.split()[0] for text in lines[barrier]][:1] == ["bar.sync"]
    assert [text.split()[0] for text in lines[scaled.py_func.__code__.co_firstlineno + 2]] == ["fma.rn.f32"]
    assert compiled.source[barrier] == "    cuda.syncthreads()"
    beside = compiled.beside().splitlines()
    at = next(i for i, row in enumerate(beside) if "cuda.syncthreads()" in row)
    assert "bar.sync" in beside[at + 1]
    assert "_ZN" not in compiled.beside()  # the names of parameters are shortened
    page = compiled._repr_html_()
    assert "1 bar.sync" in page and "mirror_kernel for compute capability 7.5" in page


def test_compiling_for_one_gpu_leaves_no_trace_in_device_functions():
    compile_kernel(mirror_kernel, A, A, np.int32(3), cc=(7, 5))
    assert not swapped.overloads and not scaled.overloads
    assert not swapped.targetoptions["lineinfo"]


def test_a_cpu_function_may_be_called():
    @numba.njit
    def half(x):
        return x * float32(0.5)

    @cuda.jit
    def kernel(out, a):
        out[0] = half(a[0])

    assert compile_kernel(kernel, A, A).counts()["mul.f32"] == 1


def test_arguments_may_be_numba_types_and_layout_matters():
    @cuda.jit
    def kernel(out, a):
        i = cuda.grid(1)
        out[i] = a[i]

    by_example = compile_kernel(kernel, A, A)
    assert compile_kernel(kernel, float32[::1], float32[::1]).counts() == by_example.counts()
    strided = compile_kernel(
        kernel, A[::2], A[::2]
    ).counts()  # the strides are parameters, and multiplied with
    assert strided["mul"] + strided["mad"] > by_example.counts()["mul"] + by_example.counts()["mad"]
    assert compile_kernel(kernel, float64[::1], float64[::1]).counts()["ld.global.f64"] == 1


@pytest.mark.parametrize(("literal", "wide"), [("0.1", True), ("float32(0.1)", False)])
def test_float64_creeping_in(literal, wide):
    @cuda.jit
    def wide_kernel(out, a):
        out[0] = a[0] * 0.1

    @cuda.jit
    def narrow_kernel(out, a):
        out[0] = a[0] * float32(0.1)

    assert (compile_kernel(wide_kernel if wide else narrow_kernel, A, A).counts()["f64"] > 0) == wide


@needs_ptxas
def test_registers_spills_and_occupancy():
    compiled = compile_kernel(mirror_kernel, A, A, np.int32(3))
    assert 8 <= compiled.registers <= 32 and compiled.spills == 0 and compiled.reason == ""
    assert compiled.occupancy(64) == occupancy(64, compiled.registers, 256)
    assert compiled.occupancy(64).share == 1.0
    assert compiled.occupancy(64, shared=32 * 1024 - 256).limit == "shared memory"


@needs_ptxas
def test_too_few_registers_spill():
    def body(out, a):
        i = cuda.grid(1)
        x0, x1, x2, x3, x4, x5, x6, x7 = (
            a[i],
            a[i + 1],
            a[i + 2],
            a[i + 3],
            a[i + 4],
            a[i + 5],
            a[i + 6],
            a[i + 7],
        )
        y0, y1, y2, y3, y4, y5, y6, y7 = (
            a[i + 8],
            a[i + 9],
            a[i + 10],
            a[i + 11],
            a[i + 12],
            a[i + 13],
            a[i + 14],
            a[i],
        )
        for _ in range(1000):
            x0, x1, x2, x3 = x1 * y0 + x2, x2 * y1 + x3, x3 * y2 + x4, x4 * y3 + x5
            x4, x5, x6, x7 = x5 * y4 + x6, x6 * y5 + x7, x7 * y6 + x0, x0 * y7 + x1
            cuda.syncthreads()
        out[i] = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7

    roomy = compile_kernel(cuda.jit(body), A, A)
    tight = compile_kernel(cuda.jit(body, max_registers=16), A, A)
    assert roomy.spills == 0 < tight.spills
    assert tight.registers < roomy.registers


def test_without_ptxas_there_is_a_reason(monkeypatch):
    monkeypatch.setattr(ptx, "find_ptxas", lambda: None)
    compiled = compile_kernel(mirror_kernel, A, A, np.int32(3))
    assert compiled.registers is None and compiled.spills is None
    assert "nvidia-cuda-nvcc-cu12" in compiled.reason
    assert compiled.shared == 256 and compiled.counts()["st.global"] == 1
    assert "nvidia-cuda-nvcc-cu12" in compiled._repr_html_()
    with pytest.raises(ValueError, match="registers of mirror_kernel are not known: ptxas was not found"):
        compiled.occupancy(64)


def test_a_ptxas_that_fails_is_a_reason_too(monkeypatch):
    def fails(*args, **kwargs):
        raise subprocess.TimeoutExpired("ptxas", 1)

    monkeypatch.setattr(ptx, "find_ptxas", lambda: "ptxas")
    monkeypatch.setattr(ptx.subprocess, "run", fails)
    assert "could not be run" in compile_kernel(mirror_kernel, A, A, np.int32(3)).reason


# -- what goes wrong -----------------------------------------------------------------------------------------


def test_the_kernel_of_the_lecture_does_not_compile():
    with pytest.raises(CompileError, match="slide_cuda does not compile"):
        compile_kernel(kernels_broken.slide_cuda, A, A)


def test_without_a_compiler_it_is_not_the_kernels_fault(monkeypatch):
    def missing(*args, **kwargs):
        raise OSError("libnvvm.so.4: cannot open shared object file")

    monkeypatch.setattr(cuda, "compile_ptx", missing)
    with pytest.raises(CompilerUnavailable, match=r"pip install 'numba-cuda\[cu12\]'"):
        compile_kernel(mirror_kernel, A, A, np.int32(3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: compile_kernel(math.sqrt, A), TypeError, "kernel must be a @cuda.jit function, got sqrt"),
        (lambda: compile_kernel(mirror_kernel, A), TypeError, r"takes 3 arguments \(out, a, n\), got 1"),
        (lambda: compile_kernel(mirror_kernel, A, A, object()), TypeError, "n has no numba type"),
        (lambda: compile_kernel(mirror_kernel, A, A, np.int32(1), cc=75), TypeError, "cc must be a pair"),
        (
            lambda: compile_kernel(mirror_kernel, A, A, np.int32(1), cc=(1, 0)),
            ValueError,
            "capability 1.0 is not supported",
        ),
        (lambda: compile_kernel(scaled, float32, float32), TypeError, "device function scaled"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# -- the catalogues ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", kernels_right.CASES, ids=lambda build: build.__name__)
def test_every_correct_kernel_compiles(build):
    kernel, _, _, args, *_ = build()
    counts = compile_kernel(kernel, *args).counts()
    assert counts["st"] + counts["atom"] + counts["red"] > 0
