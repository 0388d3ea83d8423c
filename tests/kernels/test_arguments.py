"""The argument checks accept what a kernel can use and name what it cannot."""

import numpy as np
import pytest

from minidl.kernels.arguments import check_floats, check_integer, check_out


class TestFloats:
    def test_arrays_pass_without_a_copy(self):
        for dtype in (np.float32, np.float64):
            a = np.ones((2, 3), dtype)[:, ::2]
            assert check_floats("a", a) is a

    def test_lists_become_arrays(self):
        assert check_floats("a", [1.0, 2.0]).dtype == np.float64

    @pytest.mark.parametrize(
        "value",
        [[1, 2], np.arange(3), np.array([True]), np.array([None]), ["x"], np.ones(2, np.float16), 1j, None],
    )
    def test_other_types_are_refused(self, value):
        with pytest.raises(TypeError, match=r"^a must hold float32 or float64, got "):
            check_floats("a", value)

    def test_masked_arrays_are_refused(self):
        with pytest.raises(TypeError, match="masked"):
            check_floats("a", np.ma.masked_array([1.0], [True]))

    @pytest.mark.parametrize("value", [[], np.empty((0, 3))])
    def test_empty_is_refused(self, value):
        with pytest.raises(ValueError, match="a must not be empty"):
            check_floats("a", value)

    def test_ragged_lists_are_refused(self):
        with pytest.raises(ValueError, match="a must be an array of numbers"):
            check_floats("a", [[1.0], [1.0, 2.0]])

    def test_dimensions_are_counted(self):
        with pytest.raises(ValueError, match=r"a must have 1 dimension, got shape \(2, 2\)"):
            check_floats("a", np.ones((2, 2)), ndim=1)


class TestInteger:
    @pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
    def test_integers_of_any_kind_pass(self, value):
        assert check_integer("window", value, 1, 3) == 3

    @pytest.mark.parametrize("value", [3.0, "3", None, True, np.True_, [3]])
    def test_what_is_no_integer_is_refused(self, value):
        with pytest.raises(TypeError, match="window must be an integer, got"):
            check_integer("window", value, 1)

    @pytest.mark.parametrize("value", [0, 7, -1])
    def test_the_bounds_are_named(self, value):
        with pytest.raises(ValueError, match=f"window must be from 1 to a.size = 6, got {value}"):
            check_integer("window", value, 1, 6, high_is="a.size")

    def test_one_bound_only(self):
        with pytest.raises(ValueError, match="repeat must be at least 1, got 0"):
            check_integer("repeat", 0, 1)


class TestOut:
    def test_none_and_the_right_array_pass(self):
        out = np.empty(3, np.float32)
        assert check_out("out", None, (3,), np.float32) is None
        assert check_out("out", out, (3,), np.float32) is out

    @pytest.mark.parametrize(
        ("out", "error", "message"),
        [
            ([0.0] * 3, TypeError, "out must be a NumPy array, got list"),
            (np.empty(3), TypeError, "out must have dtype float32, got float64"),
            (np.empty(4, np.float32), ValueError, r"out must have shape \(3,\), got \(4,\)"),
        ],
    )
    def test_what_a_result_cannot_be_written_to_is_refused(self, out, error, message):
        with pytest.raises(error, match=message):
            check_out("out", out, (3,), np.float32)

    def test_read_only_is_refused(self):
        out = np.empty(3, np.float32)
        out.flags.writeable = False
        with pytest.raises(ValueError, match="writable"):
            check_out("out", out, (3,), np.float32)

    def test_memory_of_an_input_is_refused(self):
        a = np.empty(4, np.float32)
        with pytest.raises(ValueError, match="out must not share memory with a"):
            check_out("out", a[:3], (3,), np.float32, a=a)
