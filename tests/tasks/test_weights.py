"""Weights on disk: they come back as they were, and no file does anything but be refused."""

import json
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minidl import layers
from minidl.tasks import weights
from tests.tasks.conftest import small_network


@pytest.fixture
def model():
    return small_network()


def wrapped(header, data=b"", length=None):
    """A safetensors file, by hand: eight bytes of length, JSON, numbers."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


class Pair(layers.Layer):
    """Two parameters, one of them float, and a count."""

    def __init__(self):
        self.weight = layers.Dense(2, 1, bias=False).weight
        self.count = np.zeros((), np.int64)


# ------------------------------------------------------------------------------------------- as they were


def test_they_come_back_as_they_were(model, tmp_path):
    for _, value in model.named_parameters().items():
        value.data += 0.25
    path = tmp_path / "new" / "folder" / "w.safetensors"
    weights.save(model, path, seed=3, of="a test: ü")
    other = small_network(seed=1)
    assert weights.load(str(path), other) == {"seed": "3", "of": "a test: ü"}
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
        np.testing.assert_array_equal(load_file(path)[name], value)  # and the library reads the same
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_contents_are_known_without_a_model(model, tmp_path):
    weights.save(model, tmp_path / "w", seed=1)
    arrays, about = weights.contents(tmp_path / "w")
    assert arrays["0.weight"] == ("F32", (12, 6)) and arrays["1.num_batches_tracked"] == ("I64", ())
    assert about == {"seed": "1"}
    assert arrays.keys() == model.state_dict().keys()


@pytest.mark.parametrize("dtype, error", [("float16", 5e-4), ("float32", 0), ("float64", 0)])
def test_floats_of_any_size_load_as_the_models(model, tmp_path, dtype, error):
    weights.save(model, tmp_path / "w", dtype=dtype)
    assert load_file(tmp_path / "w")["0.weight"].dtype == dtype
    assert load_file(tmp_path / "w")["1.num_batches_tracked"].dtype == np.int64
    other = small_network(seed=1)
    weights.load(tmp_path / "w", other)
    assert other.state_dict()["0.weight"].dtype == np.float32
    np.testing.assert_allclose(other.state_dict()["0.weight"], model.state_dict()["0.weight"], rtol=error)


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    values = np.array([[1.0, -3.140625]], np.float32)  # both have no more than 8 significant bits
    upper = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    file = tmp_path / "w"
    file.write_bytes(
        wrapped({"count": entry([], 4, 12, "I64"), "weight": entry([1, 2], 0, 4, "BF16")},
                upper + struct.pack("<q", 7))
    )  # fmt: skip
    model = Pair()
    weights.load(file, model)
    np.testing.assert_array_equal(model.weight.numpy(), values)
    assert model.count == 7 and model.weight.dtype == np.float32


def test_what_float16_cannot_hold_is_refused_before_anything_is_written(model, tmp_path):
    model[0].weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"0\.weight holds 1e\+06, too large for float16"):
        weights.save(model, tmp_path / "w", dtype="float16")
    with pytest.raises(TypeError, match="dtype must be float16, float32 or float64, got 'int8'"):
        weights.save(model, tmp_path / "w", dtype="int8")
    with pytest.raises(ValueError, match="must name a file"):
        weights.save(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(model, tmp_path, monkeypatch):
    weights.save(model, tmp_path / "w", number=1)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        weights.save(model, tmp_path / "w", number=2)
    assert weights.contents(tmp_path / "w")[1] == {"number": "1"}
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_a_file_of_pytorch_is_the_same(model, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    from safetensors.torch import save_file as torch_save

    twin = torch.nn.Sequential(
        torch.nn.Linear(6, 12, bias=False), torch.nn.BatchNorm1d(12), torch.nn.Tanh(), torch.nn.Identity(),
        torch.nn.Linear(12, 3),
    )  # fmt: skip
    torch_save(twin.bfloat16().state_dict(), tmp_path / "w")
    weights.load(tmp_path / "w", model)
    for name, value in twin.float().state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value.numpy())
    torch.save(twin.state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match="zip archive; PyTorch's"):
        weights.load(tmp_path / "w.pt", model)


# --------------------------------------------------------------------------------------------- files that lie


class Bomb:
    def __reduce__(self):
        return (exec, ("import sys; sys.exploded = True",))


EIGHT = b"\0" * 8
WRONG = {
    "empty": (b"", "it is empty"),
    "short": (b"abc", "it has only 3 bytes"),
    "text": (b"these are no weights, it is a letter", "its header should have"),
    "pickle": (pickle.dumps(Bomb()), "it looks like a pickle, which can run code"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + EIGHT, "it is HDF5"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS's note"),
    "header longer than the file": (wrapped(b"{}", length=10**6), r"1,000,000 bytes, and the file has 10"),
    "header of 4 exabytes": (wrapped(b"{}", length=2**62), r"4,611,686,018,427,387,904 bytes"),
    "no JSON": (wrapped(b"{not json"), "invalid JSON"),
    "a list": (wrapped(b"[]"), "invalid JSON"),
    "no UTF-8": (wrapped(b'{"\xff": 1}'), "UTF-8"),
    "truncated": (wrapped({"weight": entry([1, 2], 0, 8)}, EIGHT[:5]), "not fully covered"),
    "something behind": (wrapped({"weight": entry([1, 2], 0, 8)}, EIGHT * 2), "not fully covered"),
    "overlap": (
        wrapped({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, EIGHT + EIGHT[:4]), "invalid offset"
    ),
    "shape larger than the data": (wrapped({"weight": entry([1, 3], 0, 8)}, EIGHT), "invalid shape"),
    "shape beyond counting": (wrapped({"weight": entry([2**40] * 2, 0, 8)}, EIGHT), "overflow"),
    "negative shape": (wrapped({"weight": entry([-2], 0, 8)}, EIGHT), "invalid value"),
    "unheard-of type": (wrapped({"weight": entry([2], 0, 8, "F99")}, EIGHT), "F99"),
    "note that is no text": (wrapped({"__metadata__": {"seed": 1}}), "expected a string"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_lies_is_refused_by_name(case, model, tmp_path):
    before = model.state_dict()
    content, reason = WRONG[case]
    file = tmp_path / "wrong.safetensors"
    file.write_bytes(content)
    for ask in (lambda: weights.load(file, model), lambda: weights.contents(file)):
        with pytest.raises(ValueError, match=rf"wrong.safetensors holds no weights, or is damaged.*{reason}"):
            ask()
    assert not hasattr(sys, "exploded")
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_zip_with_a_pickle_inside_is_refused(model, tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"zip archive; PyTorch's \.pt"):
        weights.load(tmp_path / "w.pt", model)
    assert not hasattr(sys, "exploded")


def test_a_folder_and_a_pipe_are_no_files(model, tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        weights.load(tmp_path, model)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no ordinary file"):
        weights.load(tmp_path / "pipe", model)
    with pytest.raises(FileNotFoundError, match="there are no weights at"):
        weights.load(tmp_path / "none", model)


def test_the_weights_of_another_model_are_refused(tmp_path):
    file, model = tmp_path / "other.safetensors", Pair()
    good = {"weight": np.ones((1, 2), np.float32), "count": np.ones((), np.int64)}
    for name, value, reason in (
        ("weight", np.ones((2, 1), np.float32), r"weight must have shape \(1, 2\), got \(2, 1\)"),
        ("weight", np.ones((1, 2), np.int32), "weight must hold float32, got I32"),
        ("weight", np.ones((1, 2), bool), "weight must hold float32, got BOOL"),
        ("count", np.float32(1), "count must hold int64, got F32"),
        ("more", np.ones(2), "missing nothing, not known here more"),
    ):
        save_file({**good, name: np.asarray(value)}, file)
        with pytest.raises(ValueError, match=rf"other.safetensors.*{reason}"):
            weights.load(file, model)
    save_file({"count": np.zeros((), np.int64)}, file)
    with pytest.raises(ValueError, match="missing weight, not known here nothing"):
        weights.load(file, model)
    file.write_bytes(wrapped({"count": entry([], 2, 10, "I64"), "weight": entry([1, 2], 0, 2, "F8_E4M3")},
                             b"\0" * 10))  # fmt: skip
    with pytest.raises(ValueError, match="weight must hold float32, got F8_E4M3"):
        weights.load(file, model)
    assert model.count == 0


def test_a_file_of_a_terabyte_is_refused_without_reading_it(tmp_path):
    """It is nearly all hole, so it takes no room on the disk either."""
    file, size = tmp_path / "huge", 2**40
    with open(file, "wb") as hole:
        hole.write(wrapped({"weight": entry([size // 4], 0, size)}))
        try:
            hole.truncate(hole.tell() + size)
        except OSError as error:
            pytest.skip(f"this file system has no files of a terabyte ({error})")
    with pytest.raises(ValueError, match=r"weight must have shape \(1, 2\), got \(274877906944,\)"):
        model = Pair()
        del model.count
        weights.load(file, model)


def test_whatever_is_changed_in_a_header_it_is_refused_or_loads(model, tmp_path):
    weights.save(model, tmp_path / "w", seed=0)
    content, random = (tmp_path / "w").read_bytes(), np.random.default_rng(0)
    length = 8 + int.from_bytes(content[:8], "little")
    outcomes = set()
    for _ in range(300):
        changed = bytearray(content)
        changed[random.integers(0, length)] = random.integers(0, 256)
        (tmp_path / "w").write_bytes(changed)
        try:
            weights.load(tmp_path / "w", model)
            outcomes.add("loads")
        except ValueError as error:
            outcomes.add("refused")
            assert str(tmp_path / "w") in str(error)
    assert outcomes == {"loads", "refused"}
