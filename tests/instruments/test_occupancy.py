"""Occupancy, against NVIDIA's calculator."""

import pytest

from minidl.instruments.occupancy import Occupancy, occupancy


@pytest.mark.parametrize(
    ("block", "registers", "shared", "cc", "expected"),
    [
        # From NVIDIA's occupancy calculator (CUDA 12).
        (256, 32, 0, (7, 5), Occupancy(4, 32, 1.0, "warps")),
        (32, 16, 0, (7, 5), Occupancy(16, 16, 0.5, "blocks")),
        (256, 128, 0, (7, 5), Occupancy(2, 16, 0.5, "registers")),
        (256, 32, 32 * 1024, (7, 5), Occupancy(2, 16, 0.5, "shared memory")),
        (1024, 64, 0, (9, 0), Occupancy(1, 32, 0.5, "registers")),
        (128, 32, 48 * 1024, (9, 0), Occupancy(4, 16, 0.25, "shared memory")),
        (256, 32, 0, (9, 0), Occupancy(8, 64, 1.0, "warps")),
        (100, 32, 0, (8, 0), Occupancy(16, 64, 1.0, "warps")),
        (256, 32, 65 * 1024, (7, 5), Occupancy(0, 0, 0.0, "shared memory")),
    ],
)
def test_occupancy(block, registers, shared, cc, expected):
    assert occupancy(block, registers, shared, cc) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 32, 0), "block"),
        ((1025, 32, 0), "block"),
        ((32, -1, 0), "registers"),
        ((32, 300, 0), "registers"),
        ((32, 32, -1), "shared"),
        ((32, 32, 0, (1, 0)), "cc must be one of"),
    ],
)
def test_occupancy_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        occupancy(*arguments)
