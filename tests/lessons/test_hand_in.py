"""Messages between a notebook's process and the judge: what crosses stays the same, and the rest is named."""

import json

import numpy as np
import pytest

from lessons import hand_in


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, -(10**30), 2.5, "ü", ..., 1j, [1, (2.0, None)], {"a": 1, 2: [3]}, {1, 2}, "", ()),
        *(np.float32(2), np.int64(7), np.array([[1.5, np.nan]], np.float32), np.array(["a", "bc"])),
    ],
)
def test_what_crosses_is_the_same_on_the_other_side(value):
    there = hand_in.decode(json.loads(json.dumps(hand_in.encode(value))))
    assert type(there) is type(value)
    if isinstance(value, (np.ndarray, np.generic)):
        assert there.dtype == value.dtype
    np.testing.assert_equal(there, value)


def test_what_cannot_cross_is_named():
    there = hand_in.decode(hand_in.encode([print, np.array([None])]))
    assert [repr(item)[:18] for item in there] == ["builtin_function_o", "ndarray array([Non"]
    for message in (3, [], {}, {"a": 1, "b": 2}, {"code": "x"}):
        with pytest.raises(ValueError, match="not a message"):
            hand_in.decode(message)
