"""The roofs are measured, plausible, remembered, and honest about a device that is not there."""

import numpy as np
import pytest

from minidl.hardware import limits as module
from minidl.hardware.device import Device, DeviceUnavailable
from minidl.hardware.limits import Limits, limits
from minidl.instruments.ptx import compile_kernel


def test_a_computer_of_this_century():
    roofs = limits("cpu")
    assert roofs.device == Device("cpu").name
    assert 1e9 < roofs.copy_bandwidth < 1e13
    assert 1e9 < roofs.flops < 1e15
    assert roofs.ridge == roofs.flops / roofs.copy_bandwidth


def test_measured_once():
    assert limits("cpu") is limits("cpu")


def test_the_copy_copies_everything():
    for size in (1, 7, 1001):
        source, target = np.arange(size, dtype=np.float32), np.zeros(size, np.float32)
        module._copy(source, target, 3)
        np.testing.assert_array_equal(target, source)


def test_share_is_of_the_nearer_roof():
    roofs = Limits("test", copy_bandwidth=100, flops=1000)
    assert roofs.share(seconds=2, bytes=100, flops=1) == 0.5
    assert roofs.share(seconds=2, bytes=1, flops=1000) == 0.5


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="kind must be 'cpu' or 'cuda', got 'tpu'"):
        limits("tpu")


@pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
def test_no_gpu_no_limits():
    with pytest.raises(DeviceUnavailable, match="no CUDA GPU"):
        limits("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not Device("cuda").available, reason="no CUDA GPU on this machine")
def test_a_gpu_copies_faster_than_the_cpu():
    assert limits("cuda").copy_bandwidth > limits("cpu").copy_bandwidth


@pytest.mark.parametrize("cc", [(7, 5), (9, 0)])
def test_the_arithmetic_kernel_is_not_optimised_away(cc):
    counts = compile_kernel(
        module._multiply_and_add_kernel, np.empty(1, np.float32), np.float32(1), cc=cc
    ).counts()
    assert counts["fma"] % 8 == 0 and counts["fma"] >= 8
    assert counts["f64"] == 0 and counts["ld.global"] == 0
