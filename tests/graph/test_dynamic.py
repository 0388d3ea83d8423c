"""The dynamic graph: what a tensor is, what backward does with the graph, and what it notices."""

import copy
import gc
import pickle
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from minidl import graph
from minidl.graph import GradientError, NotANumber, Tensor, no_grad
from minidl.graph.dynamic import steps_back, walk_back
from minidl.hardware.device import Device, DeviceUnavailable


def leaf(*values, dtype=np.float32):
    return Tensor(np.array(values, dtype), requires_grad=True)


# ----------------------------------------------------------------------------------------------- what it is


def test_a_tensor_holds_the_array_it_was_given():
    array = np.ones((2, 3), np.float32)
    x = Tensor(array)
    assert x.data is array and x.numpy() is array and x.detach().data is array
    assert (x.shape, x.dtype, x.ndim, x.size, len(x), x.device) == ((2, 3), np.float32, 2, 6, 2, "cpu")
    assert x.grad is None and not x.requires_grad


@pytest.mark.parametrize("data", [object(), "text", [[1], [1, 2]], None, 1j, np.float16([1]), np.ma.ones(2)])
def test_what_is_no_array_of_numbers_is_refused(data):
    with pytest.raises((TypeError, ValueError), match="data must"):
        Tensor(data)


def test_integers_have_no_gradient():
    with pytest.raises(TypeError, match="int64"):
        Tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="int64"):
        Tensor([1, 2]).requires_grad = True


def test_items_and_conversions():
    assert Tensor(2.5).item() == 2.5 and float(Tensor([2.5])) == 2.5 and int(Tensor(3)) == 3
    assert f"{Tensor(2.5):.2f}" == "2.50" and bool(Tensor(0.0)) is False
    with pytest.raises(ValueError, match=r"\(2,\)"):
        Tensor([1.0, 2.0]).item()
    np.testing.assert_array_equal(np.asarray(Tensor([1.0, 2.0])), [1, 2])
    assert "made by add" in repr(leaf(1) + 1)


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="'cpu' or 'cuda'"):
        Tensor(1.0, device="tpu")
    if Device("cuda").available:
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceUnavailable, match="Colab"):
        Tensor(1.0, device="cuda")
    with pytest.raises(DeviceUnavailable):
        Tensor(1.0).to("cuda")


# --------------------------------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_operators_take_numbers_and_arrays_on_either_side_and_keep_the_dtype(dtype):
    a, b = np.array([1, 2, 3], dtype), np.array([4, 5, 6], dtype)
    x = Tensor(a, requires_grad=True)
    for result, expected in [
        (x + 1, a + 1), (1 + x, a + 1), (x - 2.5, a - 2.5), (2.5 - x, 2.5 - a), (x * b, a * b),
        (b * x, a * b),
        (x / 2, a / 2), (2 / x, 2 / a), (x**2, a**2), (x**0.5, a**0.5), (x**-1, 1 / a), (2**x, 2**a),
        (x**b, a**b), (b - x, b - a), (b / x, b / a), (-x, -a), (abs(-x), a), (x @ b, a @ b), (b @ x, a @ b),
        (x * np.arange(3), a * np.arange(3)), (x * np.float64(3), a * 3), (x * True, a),
        (x + [1.0, 2, 3], a + [1, 2, 3]),
        (x * Tensor([1, 2, 3]), a * [1, 2, 3]),
    ]:  # fmt: skip
        assert isinstance(result, Tensor)
        assert result.dtype == dtype
        np.testing.assert_allclose(result.data, expected.astype(dtype), rtol=1e-6)


def test_comparisons_have_no_gradient():
    x = leaf(1, 2, 3)
    for result, expected in [(x > 2, [0, 0, 1]), (x >= 2, [0, 1, 1]), (x < 2, [1, 0, 0]), (x <= 2, [1, 1, 0]),
                             (x == 2, [0, 1, 0]), (x != 2, [1, 0, 1])]:  # fmt: skip
        assert not result.requires_grad and result.dtype == bool
        np.testing.assert_array_equal(result.data, np.array(expected, bool))
    assert x is not None and x in {x} and (x == None) is False  # noqa: E711


@pytest.mark.parametrize("other", ["text", None, object()])
def test_what_is_no_number_is_refused(other):
    for operation in (lambda x: x + other, lambda x: other * x, lambda x: x @ other):
        with pytest.raises(TypeError):
            operation(leaf(1, 2))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"add: shapes \(2,\) and \(3,\) do not broadcast"):
        leaf(1, 2) + leaf(1, 2, 3)
    with pytest.raises(ValueError, match="matmul: inner dimensions 2 and 3"):
        leaf(1, 2) @ np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match="reshape"):
        leaf(1, 2).reshape(3)
    with pytest.raises(ValueError, match="axis 1"):
        leaf(1, 2).sum(axis=1)
    with pytest.raises(IndexError):
        leaf(1, 2)[2]


def test_shapes_slices_and_loops():
    x = Tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
    assert x.T.shape == (4, 3, 2) and x.transpose(0, 2, 1).shape == (2, 4, 3)
    assert x.reshape(6, -1).shape == (6, 4) == x.reshape((6, 4)).shape
    assert x[0, 1:, ::2].shape == (2, 2) and x[..., None].shape == (2, 3, 4, 1)
    assert x[[0, 0, 1]].shape == (3, 3, 4) and x[x > 20].shape == (3,)
    assert [row.shape for row in x] == [(3, 4)] * 2
    assert graph.stack([x, x], axis=1).shape == (2, 2, 3, 4)
    (x[[0, 0]].sum() + x[Tensor([1])].sum()).backward()
    np.testing.assert_array_equal(x.grad[:, 0, 0], [2, 1])


# ----------------------------------------------------------------------------------------------- backward


def test_a_gradient_reaches_every_leaf_by_every_path():
    a, b = leaf(2), leaf(3)
    c = a * b
    (c * c + c + a).sum().backward()
    np.testing.assert_allclose(a.grad, 2 * 6 * 3 + 3 + 1)
    np.testing.assert_allclose(b.grad, 2 * 6 * 2 + 2)
    assert c.grad is None


def test_a_number_is_summed_over_what_it_was_repeated_for():
    x, row, column, scalar = (
        Tensor(np.ones(shape), requires_grad=True) for shape in [(2, 3), (3,), (2, 1), ()]
    )
    (x * row * column * scalar).sum().backward()
    assert [t.grad.shape for t in (x, row, column, scalar)] == [(2, 3), (3,), (2, 1), ()]
    assert (row.grad[0], column.grad[0, 0], scalar.grad) == (2, 3, 6)


def test_gradients_add_up_until_they_are_cleared():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward()
    y.backward()
    (x * 3).sum().backward()
    np.testing.assert_allclose(x.grad, [2 * 2 + 3, 2 * 4 + 3])
    x.grad = None
    y.backward()
    np.testing.assert_allclose(x.grad, [2, 4])


def test_gradients_are_arrays_of_their_own():
    a, b = leaf(1, 2), leaf(3, 4)
    start = np.ones(2, np.float32)
    (a + b).backward(start)
    a.grad += 10
    np.testing.assert_array_equal(b.grad, [1, 1])
    np.testing.assert_array_equal(start, [1, 1])
    x = leaf(1, 2)
    x.reshape(2, 1).T.backward(start[None])
    x.grad[...] = 7
    np.testing.assert_array_equal(start, [1, 1])
    c = leaf(5)
    c.backward()
    np.testing.assert_array_equal(c.grad, [1])


def test_a_gradient_can_be_assigned_if_it_fits():
    x = leaf(1, 2)
    x.grad = [3, 4]
    assert x.grad.dtype == np.float32
    (x * 1).sum().backward()
    np.testing.assert_array_equal(x.grad, [4, 5])
    with pytest.raises(ValueError, match=r"\(2,\), got \(3,\)"):
        x.grad = np.zeros(3)


def test_the_gradient_has_the_dtype_of_its_tensor():
    x, y = leaf(1, 2), leaf(3, 4, dtype=np.float64)
    z = x * y
    assert z.dtype == np.float64
    z.sum().backward()
    assert x.grad.dtype == np.float32 and y.grad.dtype == np.float64


def test_backward_that_cannot_be():
    with pytest.raises(GradientError, match="nothing"):
        Tensor([1.0]).backward()
    with pytest.raises(GradientError, match=r"\(2,\)"):
        (leaf(1, 2) * 2).backward()
    with pytest.raises(GradientError, match=r"must have shape \(2,\), got \(3,\)"):
        (leaf(1, 2) * 2).backward(np.ones(3))


def test_detached_frozen_and_unrecorded_values_pass_no_gradient():
    x = leaf(2, 3)
    (x * x.detach()).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 3])
    with no_grad():
        assert not (x * 2).requires_grad
        with graph.enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad

    @no_grad()
    def double(t):
        return t * 2

    assert not double(x).requires_grad
    x.requires_grad = False
    assert not (x * 2).requires_grad
    y = leaf(1) * 2
    with pytest.raises(GradientError, match="detach"):
        y.requires_grad = False


def test_no_grad_belongs_to_its_thread():
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((leaf(1) * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_gradients_of_what_is_no_leaf_on_request():
    x = leaf(1, 2)
    y = (x * 3).retain_grad()
    (y * y).sum().backward()
    np.testing.assert_array_equal(y.grad, [6, 12])


def test_each_leaf_is_announced_when_its_gradient_is_complete():
    a, b = leaf(1), leaf(2)
    seen = []
    (a * (a * b) * 2).sum().backward(on_leaf=lambda t: seen.append((t, t.grad.item())))
    assert len(seen) == 2 and {id(t): g for t, g in seen} == {id(a): 8, id(b): 2}


def test_a_wrong_order_gives_a_wrong_gradient():
    x = leaf(3)
    y = x * x
    z = y * y + y  # y is used twice: its turn must come after both
    loss = z.sum()
    steps, _ = steps_back(loss.step)
    assert [s.number for s in steps] == sorted((s.number for s in steps), reverse=True)
    walk_back(loss.step, np.float32(1))
    assert x.grad == 4 * 27 + 6
    x.grad = None
    first_y = sorted(steps, key=lambda s: (s is not loss.step, s.op.name != "add", s is not y.step))
    walk_back(loss.step, np.float32(1), order=first_y)
    assert x.grad == 6


def test_data_may_be_replaced_even_by_another_shape_and_dtype():
    x = leaf(1, 2)
    x.data = np.ones((3, 1))
    (x * np.ones(4)).sum().backward()
    assert x.grad.dtype == np.float64 and x.grad.tolist() == [[4], [4], [4]]


def test_the_gradient_of_what_nobody_holds_is_not_missed():
    x = leaf(1, 2)
    y = (leaf(3, 4) * x).sum()
    y.backward()
    assert x.grad.tolist() == [3, 4]


def test_a_copy_has_a_gradient_of_its_own():
    x = leaf(1, 2)
    x.grad = [5, 6]
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        (y * 2).sum().backward()
        assert y.grad.tolist() == [7, 8] and x.grad.tolist() == [5, 6] and y.data is not x.data
    with pytest.raises(GradientError, match="detach"):
        copy.deepcopy(x * 2)


# ------------------------------------------------------------------------------------------ memory and depth


def test_a_graph_dies_with_its_last_reference():
    gc.disable()
    try:
        x = leaf(*range(8))
        y = x * 2
        array, step = weakref.ref(y.data), weakref.ref(y)
        z = (y * y).sum()
        del y
        assert step() is None and array() is not None, "the array is kept for the way back"
        z.backward()
        del z
        assert array() is None
    finally:
        gc.enable()


def test_what_is_not_needed_for_the_way_back_is_not_kept():
    x = Tensor(np.ones(250_000, np.float32), requires_grad=True)
    tracemalloc.start()
    y = x
    for _ in range(20):
        y = y + 1.0
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3e6, f"{held} bytes for 20 additions of a 1 MB array"


def test_five_thousand_operations_deep():
    x = leaf(1)
    y = x
    for _ in range(5000):
        y = y * 1.0001
    y.sum().backward()
    np.testing.assert_allclose(x.grad, 1.0001**5000, rtol=1e-3)
    del y
    for _ in range(30_000):
        x = x * 1.0
    del x


# -------------------------------------------------------------------------------------------- what it notices


@pytest.mark.parametrize("shape", [(3,), (200, 300)])
def test_a_kept_value_that_was_changed_in_place_is_noticed(shape):
    x = Tensor(np.ones(shape), requires_grad=True)
    y = x * x
    x.data += 1
    with pytest.raises(GradientError, match=r"multiply.*changed in place"):
        y.sum().backward()
    a = Tensor(np.ones(shape), requires_grad=True)
    b = a.exp()
    loss = b.sum()
    b.data[...] = 0
    with pytest.raises(GradientError, match="exp"):
        loss.backward()


def test_a_change_of_one_number_in_a_middling_array_is_noticed():
    x = Tensor(np.ones((100, 100)), requires_grad=True)
    y = (x * x).sum()
    x.data[37, 41] = 2
    with pytest.raises(GradientError):
        y.backward()


def test_a_change_that_does_no_harm_is_allowed():
    x = leaf(1, 2)
    y = (x + 1).sum()  # a sum keeps nothing
    x.data += 1
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_writing_to_a_recorded_tensor_is_refused_but_not_without_recording():
    x = leaf(1, 2)
    with pytest.raises(GradientError, match="no_grad"):
        x[0] = 5
    with no_grad():
        x[0] = 5
    assert x.data[0] == 5
    y = Tensor([1.0, 2.0])
    y[1] = Tensor(7.0)
    assert y.data[1] == 7


def test_nan_is_reported_with_the_operation_that_made_it_first():
    x = leaf(-1, 2)
    with graph.detect_nan(), pytest.raises(NotANumber, match=r"log made a NaN.*\(2,\).*test_dynamic.py:\d+"):
        (x.log() * 2).sum()
    y = (leaf(0) ** 0.5).sum()
    with graph.detect_nan(), pytest.raises(NotANumber, match="the way back through"):
        (y * 0).backward()
    bad = Tensor([np.nan], requires_grad=True)
    with graph.detect_nan():
        (bad * 2).sum()  # it was there before
    (x.log() * 2).sum().backward()  # outside, it passes silently, without a warning


# ------------------------------------------------------------------------------------------ gradient checking


def test_check_gradients_accepts_right_and_refuses_wrong_gradients():
    assert graph.check_gradients(lambda a, b: (a @ b).tanh(), np.ones((2, 3)), np.ones((3, 2), np.float32))
    assert graph.check_gradients(lambda x, i: x[i], np.ones(3), np.array([0, 2, 2]))
    with pytest.raises(AssertionError, match=r"input 0 at \(1,\)"):
        graph.check_gradients(lambda x: (x * x.detach())[1:], np.array([1.0, 2.0]))
    with pytest.raises(TypeError, match="float32"):
        graph.check_gradients(lambda x: x.astype(np.float32), np.ones(3))


def test_losses_check_their_arguments():
    with pytest.raises(ValueError, match="labels"):
        graph.cross_entropy(Tensor(np.zeros((2, 3))), np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="one shape"):
        graph.mse(Tensor(np.zeros((2, 1))), np.zeros(2))
    assert graph.mse(np.zeros(2), np.ones(2)).item() == 1
    assert graph.bce_with_logits(Tensor(np.zeros((2, 1), np.float32)), np.ones((2, 1))).dtype == np.float32


def test_gradients_are_written_over_only_where_nobody_looks():
    x = Tensor(np.linspace(-1, 1, 1 << 14, dtype=np.float32), requires_grad=True)
    given = np.ones(x.shape, np.float32)
    graph.relu(x).backward(given)
    np.testing.assert_array_equal(given, 1)  # the caller's own array
    middle = (x * 2).retain_grad()
    y = graph.leaky_relu(graph.relu(middle) * 3, 0.1).retain_grad()
    x.grad = None
    (y * y).sum().backward()
    expected = np.where(x.data > 0, 72 * x.data, 0)  # y = 6x: d(36x²)/dx
    np.testing.assert_allclose(x.grad, expected, rtol=1e-5)
    np.testing.assert_allclose(y.grad, 2 * y.data, rtol=1e-6)
    np.testing.assert_allclose(middle.grad, expected / 2, rtol=1e-5)
