"""Tiles of sums in registers against NumPy, what may not be passed, and that they do stay in registers."""

import re

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from minidl.kernels.registers import (
    ROWS,
    VECTOR,
    VECTORS,
    add_dot_products,
    add_products,
    aligned_empty,
    tile_width,
)


@njit
def products(a, b, offsets, c, add):
    """Call the intrinsic as a kernel would."""
    add_products(a, b, offsets, c, add)


@njit
def dot_products(a, b, offsets, first, columns, c):
    """Call the other one."""
    add_dot_products(a, b, offsets, first, columns, c)


def random(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def tolerance(dtype):
    return {"rtol": 0, "atol": 200 * np.finfo(dtype).eps}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_tile_is_begun_or_added_to(dtype, count):
    width = tile_width(np.dtype(dtype).itemsize)
    a, b = random(6, ROWS, dtype=dtype), random(3 * width, dtype=dtype, seed=1)
    c = random(ROWS, width + 3, dtype=dtype, seed=2)
    before, offsets = c.copy(), np.array([7, 0, 2 * width, 8, 7])[:count]
    shifted = np.array([b[k : k + width] for k in offsets]).reshape(count, width)
    expected = a[:count].T @ shifted
    products(a, b, offsets, c[:, 2:-1], True)
    np.testing.assert_allclose(c[:, 2:-1], before[:, 2:-1] + expected, **tolerance(dtype))
    products(a, b, offsets, c[:, 2:-1], False)
    np.testing.assert_allclose(c[:, 2:-1], expected, **tolerance(dtype))
    assert np.array_equal(c[:, :2], before[:, :2]) and np.array_equal(c[:, -1], before[:, -1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [0, 1, 16, 40])
@pytest.mark.parametrize("images", [0, 1, 3])
def test_dot_products_over_several_images(dtype, columns, images):
    a, b = np.zeros((images, ROWS, 64), dtype), random(images, 100, dtype=dtype, seed=1)
    a[..., :columns] = random(images, ROWS, columns, dtype=dtype)
    offsets, c = np.array([0, 1, 2, 30, 3, 36]), random(ROWS, 7, dtype=dtype, seed=2)
    before = c.copy()
    dot_products(a, b, offsets, 3, columns, c)
    shifted = [b[:, k : k + columns] for k in offsets[3:]]
    sums = [np.einsum("nij,nj->i", a[..., :columns], row) for row in shifted]
    expected = before.copy()
    expected[:, 3 : 3 + VECTORS] += np.transpose(sums)
    np.testing.assert_allclose(c, expected, **tolerance(dtype))


GOOD = {
    "a": random(5, ROWS),
    "b": random(300),
    "offsets": np.arange(5),
    "c": random(ROWS, tile_width(4)),
}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"a": random(5, ROWS, dtype=np.float64)}, "the same floating type"),
        ({name: GOOD[name].astype(int) for name in "abc"}, "the same floating type"),
        ({"a": random(5)}, "a must be an array of 2 dimensions"),
        ({"b": random(600)[::2]}, "b must be an array of 1 dimensions without gaps"),
        ({"offsets": 3}, "offsets must be an array"),
        ({"c": random(tile_width(4), ROWS).T}, "c must be an array of 2 dimensions"),
    ],
)
def test_what_cannot_be_passed(bad, message):
    with pytest.raises(TypingError, match=message):
        products(*{**GOOD, **bad}.values(), True)


def test_dot_products_want_everything_without_gaps():
    with pytest.raises(TypingError, match="a must be an array of 3 dimensions without gaps"):
        dot_products(random(2, ROWS, 8)[..., ::2], random(2, 20), np.arange(3), 0, 4, random(ROWS, 3))


@pytest.mark.parametrize("which", ["products", "dot products"])
def test_the_sums_stay_in_registers(which):
    """Otherwise each product costs a load and a store more, and nothing but the clock would tell."""
    if which == "products":
        products(*GOOD.values(), False)
        compiled = products
    else:
        dot_products(random(1, ROWS, 64), random(1, 100), np.arange(3), 0, 64, random(ROWS, 3))
        compiled = dot_products
    assembly = next(code for types, code in compiled.inspect_asm().items() if "float32" in str(types))
    multiplications = re.findall(r"v?(?:fmadd\d+|mul)ps\s.*", assembly)
    if not multiplications:
        pytest.skip("this is no x86 processor, whose vector instructions the test knows")
    assert len(multiplications) >= VECTORS * ROWS
    vector = {64: "zmm", 32: "ymm"}.get(VECTOR, "xmm")
    on_the_stack = re.findall(rf".*\(%rsp.*%{vector}\d+", assembly)  # fetched from there, sooner or later
    assert on_the_stack == []


def test_scratch_memory_begins_at_a_cache_line():
    for shape in ((1, 1), (3, 5), (2, 1000)):
        for dtype in (np.float32, np.float64):
            array = aligned_empty(shape, dtype)
            assert array.ctypes.data % 64 == 0 and array.shape == shape and array.dtype == dtype
