"""Data: the digits, MNIST over a real connection with everything that goes wrong, folders, and the check."""

import functools
import gzip
import hashlib
import http.server
import os
import shutil
import struct
import threading

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from minidl.tasks import data
from minidl.tasks.data import Dataset, DataUnavailable, Examples, Split
from minidl.tasks.data.mnist import FILES, cache_folder

RNG = np.random.default_rng(0)


# --------------------------------------------------------------------------------------------- the digits


def test_digits_are_those_of_scikit_learn_split_once_for_all():
    digits = data.digits()
    assert (len(digits.train), len(digits.test)) == (1347, 450) and digits.classes == tuple("0123456789")
    assert digits.train.images.shape == (1347, 1, 8, 8) and digits.train.images.dtype == np.float32
    assert digits.train.labels.dtype == np.int64
    pixels, labels = load_digits(return_X_y=True)
    ours = np.concatenate([digits.train.images, digits.test.images]).reshape(1797, 64) * 16
    names = np.concatenate([digits.train.labels, digits.test.labels])
    want = sorted((tuple(p), n) for p, n in zip(pixels, labels, strict=True))
    assert sorted((tuple(p), n) for p, n in zip(ours, names, strict=True)) == want
    again = data.digits()
    np.testing.assert_array_equal(digits.test.images, again.test.images)
    assert hashlib.sha256(digits.test.images.tobytes()).hexdigest()[:16] == HELD_OUT
    shares = [np.bincount(part.labels) / len(part) for part in (digits.train, digits.test)]
    assert np.abs(shares[0] - shares[1]).max() < 0.005
    other = data.digits(test=0.1, seed=3)
    assert len(other.test) == 180 and not np.array_equal(other.test.labels[:100], digits.test.labels[:100])


HELD_OUT = "bc8819bdde72cd7b"


@pytest.mark.parametrize("test", [0.0, 1.0, -0.5, 2, True, "half", float("nan")])
def test_a_share_that_is_none_is_refused(test):
    with pytest.raises(ValueError, match="test must be a share between 0 and 1"):
        data.digits(test=test)


def test_batches_show_everything_once_in_an_order_that_the_seed_gives():
    split = Examples(np.arange(10)[:, None], np.arange(10))
    plain = list(data.batches(split, 4))
    assert [y.tolist() for _, y in plain] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    shuffled = [y for _, y in data.batches(split, 4, np.random.default_rng(1))]
    assert sorted(np.concatenate(shuffled)) == list(range(10)) != np.concatenate(shuffled).tolist()
    again = [y for _, y in data.batches(split, 4, np.random.default_rng(1))]
    assert all((a == b).all() for a, b in zip(shuffled, again, strict=True))
    with pytest.raises(ValueError, match="size must be at least 1"):
        data.batches(split, 0)


@pytest.mark.parametrize(
    ("images", "labels", "error", "says"),
    [
        (np.zeros((2, 1, 3, 3)), np.zeros(2, int), TypeError, "images must be an array of float32"),
        (np.zeros((2, 9), "f4"), np.zeros(2, int), ValueError, "images must have 4 dimensions"),
        (np.zeros((2, 1, 3, 3), "f4"), np.zeros(2), TypeError, "labels must be an array of int64"),
        (np.zeros((2, 1, 3, 3), "f4"), np.zeros(3, int), ValueError, "got 2 images and 3 labels"),
        (np.full((2, 1, 3, 3), 255, "f4"), np.zeros(2, int), ValueError, "from 0 to 1, got 255"),
        (np.full((2, 1, 3, 3), np.nan, "f4"), np.zeros(2, int), ValueError, "images must be from 0 to 1"),
    ],
)
def test_a_split_takes_nothing_else(images, labels, error, says):
    with pytest.raises(error, match=says):
        Split(images, labels)


def test_parts_of_a_split():
    split = data.digits().train
    part = split[np.array([5, 3])]
    assert isinstance(part, Split) and part.labels.tolist() == split.labels[[5, 3]].tolist()
    with pytest.raises(TypeError, match="by a slice or an array"):
        split[3]
    with pytest.raises(ValueError, match="3 inputs and 2 targets"):
        Examples(np.zeros(3), np.zeros(2))


def test_nudges_move_half_of_the_images_and_leave_the_others():
    images = np.zeros((400, 1, 5, 5), np.float32)
    images[:, :, 2, 2] = 1
    moved = data.nudges(images, np.random.default_rng(0))
    assert images[:, :, 2, 2].all(), "what was given is not changed"
    assert np.array_equal(moved.sum(axis=(1, 2, 3)), np.ones(400))
    assert moved[:, :, 1:4, 1:4].sum() == 400
    left = moved[:, 0, 2, 2].mean()
    assert abs(left - (0.5 + 0.5 / 9)) < 0.1
    one = data.nudges(images[:1], np.random.default_rng(3))
    assert one.shape == (1, 1, 5, 5) and one.sum() == 1


def test_shifts_move_each_image_by_its_own_way_and_lose_only_the_edge():
    image = np.zeros((200, 1, 5, 5), np.float32)
    image[:, 0, 2, 2] = 1
    moved = data.shifts(image, np.random.default_rng(0), by=2)
    assert moved.shape == image.shape and moved.dtype == np.float32 and (moved.sum(axis=(1, 2, 3)) == 1).all()
    assert len({tuple(np.argwhere(m[0])[0]) for m in moved}) == 25
    np.testing.assert_array_equal(data.shifts(image, np.random.default_rng(0), by=0), image)


# ------------------------------------------------------------------------------------------------ IDX


def idx(array, code=8):
    return (
        b"\0\0" + bytes([code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    )


@pytest.mark.parametrize(
    "code, dtype", [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_idx_of_every_type_plain_and_compressed(code, dtype, shape, tmp_path):
    array = RNG.integers(0, 100, shape).astype(dtype)
    content = idx(array, code)
    for packed in (content, gzip.compress(content)):
        got = data.read_idx(packed)
        np.testing.assert_array_equal(got, array)
        assert got.dtype.isnative and got.dtype == np.dtype(dtype).newbyteorder("=") and got.flags.writeable
    (tmp_path / "a").write_bytes(content)
    np.testing.assert_array_equal(data.read_idx(tmp_path / "a"), array)


GOOD = idx(np.arange(24, dtype="u1").reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not an IDX file"),
        (b"<html>not found</html>", "is not an IDX file: it begins with the bytes 3c 68 74 6d"),
        (b"\0\0\x07\x01" + GOOD[4:], "is not an IDX file"),
        (GOOD[:9], "is truncated: it ends in the middle of its 3 dimensions"),
        (GOOD[:-1], r"is truncated: shape \(2, 3, 4\) needs 24 bytes, there are 23"),
        (GOOD + b"x", "is too long"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"abc", r"claims .* bytes for shape .*, which is not believable"),
        (b"\0\0\x08\xff" + b"\0" * 10, "is truncated"),
        (gzip.compress(GOOD)[:-12], "is truncated"),
        (gzip.compress(GOOD)[:-8] + bytes(8), "is damaged: it cannot be decompressed"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x02" + b"\0" * 10_000_000), "is too long"),
    ],
)
def test_idx_that_is_none(content, says):
    with pytest.raises(ValueError, match=f"file.idx {says}"):
        data.read_idx(content, "file.idx")


# ---------------------------------------------------------------------------------------------- MNIST


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; for names in `cut`, it promises more than it sends."""

    cut, asked = set(), []

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.asked.append(self.path)
        if name in self.cut:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"half of it")
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """(address, folder that it serves, handler class)"""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = type("Handler", (Handler,), {"cut": set(), "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as s:
        thread = threading.Thread(target=s.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{s.server_port}", folder, handler
        s.shutdown()
        thread.join()


@pytest.fixture
def small(server):
    """What to pass to `mnist` for a small set in the same format, and its arrays."""
    _, folder, _ = server
    arrays = [
        RNG.integers(0, 256, (6, 5, 5)).astype("u1"), RNG.integers(0, 10, 6).astype("u1"),
        RNG.integers(0, 256, (3, 5, 5)).astype("u1"), RNG.integers(0, 10, 3).astype("u1"),
    ]  # fmt: skip
    files = {}
    for name, array in zip(FILES, arrays, strict=True):
        content = gzip.compress(idx(array), mtime=0)
        (folder / name).write_bytes(content)
        files[name] = (len(content), hashlib.sha256(content).hexdigest())
    return files, arrays


FIRST = next(iter(FILES))


def test_mnist_is_fetched_once_and_kept(server, small, tmp_path, capfd):
    address, served, handler = server
    files, arrays = small
    kept = tmp_path / "cache" / "mnist"
    got = data.mnist(kept, [address], files)
    np.testing.assert_array_equal(got.train.images, arrays[0][:, None].astype("f4") / np.float32(255))
    np.testing.assert_array_equal(got.test.labels, arrays[3])
    assert got.train.images.max() <= 1 and got.name == "mnist" and sorted(os.listdir(kept)) == sorted(files)
    assert FIRST in capfd.readouterr().err  # the bar
    shutil.rmtree(served)
    again = data.mnist(kept, [address], files, progress=False)
    np.testing.assert_array_equal(again.train.images, got.train.images)
    assert len(handler.asked) == 4


def test_a_file_address_is_a_mirror_too_and_the_next_mirror_is_asked(server, small, tmp_path):
    address, served, _ = server
    files, _ = small
    mirrors = ["http://127.0.0.1:9/", f"{address}/nowhere/", served.as_uri()]
    assert len(data.mnist(tmp_path / "kept", mirrors, files, progress=False).train) == 6


@pytest.mark.parametrize("how", ["missing", "cut", "truncated", "corrupted", "longer", "html", "empty"])
def test_what_arrives_broken_is_said_and_not_kept(how, server, small, tmp_path):
    address, served, handler = server
    files, _ = small
    file, content = served / FIRST, (served / FIRST).read_bytes()
    says = {
        "missing": "HTTP Error 404", "cut": "truncated", "truncated": "truncated, .* bytes of",
        "corrupted": "corrupted, its SHA-256", "longer": "longer than the", "html": "truncated",
        "empty": "truncated, 0 bytes",
    }  # fmt: skip
    if how == "missing":
        file.unlink()
    elif how == "cut":
        handler.cut.add(FIRST)
    else:
        file.write_bytes({
            "truncated": content[:-9], "corrupted": content[:-9] + bytes(9), "longer": content + b"!",
            "html": b"<html>Sign in to the hotel network</html>", "empty": b"",
        }[how])  # fmt: skip
    kept = tmp_path / "kept"
    with pytest.raises(
        DataUnavailable, match=f"(?s){FIRST} could not be had.*({says[how]}).*tasks.data.digits"
    ):
        data.mnist(kept, [address], files, progress=False)
    assert not kept.exists() or os.listdir(kept) == []
    handler.cut.clear()
    file.write_bytes(content)
    assert len(data.mnist(kept, [address], files, progress=False).train) == 6


def test_a_kept_file_that_went_bad_is_fetched_again_or_removed(server, small, tmp_path):
    address, _, _ = server
    files, _ = small
    kept = tmp_path / "kept"
    data.mnist(kept, [address], files, progress=False)
    whole = (kept / FIRST).read_bytes()
    (kept / FIRST).write_bytes(whole[:-1])
    assert len(data.mnist(kept, [address], files, progress=False).train) == 6
    assert (kept / FIRST).read_bytes() == whole
    (kept / FIRST).write_bytes(b"rubbish")
    with pytest.raises(
        DataUnavailable, match=r"(?s)truncated, 7 bytes of .*, so it was removed.*refused|Refused"
    ):
        data.mnist(kept, ["http://127.0.0.1:9"], files, progress=False)
    assert FIRST not in os.listdir(kept)


def test_offline_it_says_what_can_be_done_and_keeps_nothing(tmp_path):
    with pytest.raises(DataUnavailable, match=r"(?s)could not be had.*put the file by hand into"):
        data.mnist(tmp_path / "kept", ["http://127.0.0.1:9/"], progress=False)
    assert os.listdir(tmp_path) == []
    with pytest.raises(DataUnavailable, match="there is no mirror to ask"):
        data.mnist(tmp_path / "kept", [], progress=False)


def test_files_that_are_whole_but_no_images_are_refused(server, small, tmp_path):
    address, served, _ = server
    files, _ = small
    for wrong, says in (
        (np.zeros(3, "u1"), "not images and a label"),
        (np.zeros((7, 5, 5), "u1"), "not images"),
    ):
        content = idx(wrong)
        (served / FIRST).write_bytes(content)
        files[FIRST] = (len(content), hashlib.sha256(content).hexdigest())
        with pytest.raises(ValueError, match=says):
            data.mnist(tmp_path / str(wrong.ndim), [address], files, progress=False)


def test_where_downloads_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("MINIDL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "minidl"


# --------------------------------------------------------------------------------------- one's own images


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "mine"
    for name, shade in (("cats", 0), ("dogs", 255)):
        (folder / name).mkdir(parents=True)
        for i in range(5):
            Image.new("L", (12, 10), shade).save(folder / name / f"{i}.png")
    (folder / "cats" / "notes.txt").write_text("not an image")
    (folder / ".hidden").mkdir()
    return folder


def test_a_folder_for_each_class(pictures):
    mine = data.folder(pictures, size=8)
    assert mine.classes == ("cats", "dogs") and mine.name == "mine"
    assert (len(mine.train), len(mine.test)) == (8, 2) and mine.train.images.shape == (8, 1, 8, 8)
    for part in (mine.train, mine.test):
        np.testing.assert_array_equal(part.images.mean(axis=(1, 2, 3)), part.labels)
    flipped = data.folder(pictures, size=8, invert=True)
    np.testing.assert_array_equal(flipped.train.images, 1 - mine.train.images)
    assert data.folder(pictures).train.images.shape == (8, 1, 10, 12)


def test_a_folder_of_images_is_one_class(pictures):
    assert data.folder(pictures / "cats").classes == ("cats",)


@pytest.mark.parametrize("mode, value, expected", [
    ("L", 51, 0.2), ("RGB", (255, 255, 255), 1), ("RGBA", (0, 0, 0, 0), 1), ("RGBA", (0, 0, 0, 255), 0),
    ("1", 1, 1), ("I;16", 13107, 0.2), ("P", 0, 0), ("LA", (0, 0), 1), ("CMYK", (0, 0, 0, 255), 0),
])  # fmt: skip
def test_images_of_every_mode(mode, value, expected, tmp_path):
    kind = "tiff" if mode == "CMYK" else "png"
    for i in range(2):
        Image.new(mode, (4, 4), value).save(tmp_path / f"{i}.{kind}")
    images = data.folder(tmp_path).train.images
    np.testing.assert_allclose(images, expected, atol=0.004)


def test_a_folder_that_will_not_do(pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        data.folder(tmp_path / "no")
    with pytest.raises(NotADirectoryError, match="is a file"):
        data.folder(pictures / "cats" / "0.png")
    with pytest.raises(ValueError, match="there are no images in"):
        data.folder(pictures / ".hidden")
    Image.new("L", (3, 3)).save(pictures / "cats" / "9.png")
    with pytest.raises(ValueError, match=r"give size=\(height, width\)"):
        data.folder(pictures)
    Image.fromarray(RNG.integers(0, 255, (30, 30)).astype("u1")).save(pictures / "cats" / "broken.png")
    whole = (pictures / "cats" / "broken.png").read_bytes()
    (pictures / "cats" / "broken.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        data.folder(pictures, size=4)
    (pictures / "cats" / "broken.png").write_bytes(b"GIF89a rubbish")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        data.folder(pictures, size=4)
    (pictures / "cats" / "broken.png").unlink()
    Image.new("L", (3, 3)).save(pictures / "loose.png")
    with pytest.raises(ValueError, match=r"images beside them, such as loose\.png"):
        data.folder(pictures, size=4)
    (pictures / "loose.png").unlink()
    (pictures / "bats").mkdir()
    Image.new("L", (3, 3)).save(pictures / "bats" / "only.png")
    with pytest.raises(ValueError, match="class 'bats' has one image, and needs two"):
        data.folder(pictures, size=4)


def test_an_image_that_would_fill_the_memory_is_refused(pictures, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="cannot be read as an image"):
        data.folder(pictures)


# --------------------------------------------------------------------------------------------- the check


def raw(train, labels, test, others, classes=()):
    return Dataset("mine", Examples(train, labels), Examples(test, others), classes)


def good():
    random = np.random.default_rng(1)
    images, labels = random.uniform(0, 1, (60, 1, 5, 5)).astype("f4"), np.tile(np.arange(3), 20)
    images[:, :, [0, -1]] = 0
    order = random.permutation(60)
    images, labels = images[order], labels[order]
    part = np.zeros(60, bool)
    for label in range(3):
        part[np.flatnonzero(labels == label)[:5]] = True
    return [images[~part], labels[~part], images[part], labels[part]]


def test_the_digits_pass():
    report = data.check(data.digits())
    assert report.ok and all(f.verdict == "fine" for f in report.findings)
    assert report.raise_if_wrong() is report
    assert "I could sleep now" in str(report) and "1,347 training" in report["shapes"].says
    with pytest.raises(KeyError, match="nothing was found out about 'taste'"):
        report["taste"]


def spoil(how):
    train, labels, test, others = parts = good()
    classes = ()
    if how == "nan":
        train[3, 0, 2, 2] = np.nan
    elif how == "range":
        parts[0] = train * 255
    elif how == "dark":
        parts[0], parts[2] = train / 255, test / 255
    elif how == "bright":
        parts[0], parts[2] = 1 - train, 1 - test
    elif how == "blank":
        train[0] = 0
    elif how == "label":
        labels[0], classes = 7, ("a", "b", "c")
    elif how == "absent":
        others[others == 2] = 1
    elif how == "balance":
        labels[(labels == 2) & (np.arange(45) > 10)] = 1
    elif how == "duplicate":
        train[1], labels[1] = train[0], labels[0]
    elif how == "contradiction":
        train[1], labels[1] = train[0], (labels[0] + 1) % 3
    elif how == "leak":
        test[0], others[0] = train[4], labels[4]
    elif how == "near":
        test[0] = np.clip(train[4] + 0.01, 0, 1)
    elif how == "sorted":
        order = np.argsort(labels)
        parts[0], parts[1] = train[order], labels[order]
    elif how == "shape":
        parts[2] = test[:, :, :4]
    elif how == "kind":
        parts[1] = labels.astype(float)
    elif how == "empty":
        parts[2], parts[3] = test[:0], others[:0]
    return raw(*parts, classes)


@pytest.mark.parametrize(
    ("how", "what", "verdict", "says"),
    [
        ("nan", "numbers", "wrong", "1 images hold NaN or infinity .1 training, 0 test"),
        ("range", "range", "wrong", "divide by 255"),
        ("dark", "range", "look", "Divided by 255 twice"),
        ("bright", "background", "look", "dark on bright"),
        ("blank", "blanks", "look", "1 images have one shade only"),
        ("label", "labels", "wrong", "from 0 to 7, for 3 classes"),
        ("absent", "labels", "wrong", r"no test example of \[2\]"),
        ("balance", "balance", "look", "always saying '1' is right"),
        ("duplicate", "duplicates", "look", "1 images are there again"),
        ("contradiction", "contradictions", "wrong", "two labels each"),
        ("leak", "leakage", "wrong", "1 of 15 test images are in the training set"),
        ("near", "near leakage", "look", "1 test images are suspiciously close"),
        ("sorted", "order", "look", "sorted by class"),
        ("shape", "shapes", "wrong", r"\(1, 5, 5\) to train, \(1, 4, 5\) to test"),
        ("kind", "shapes", "wrong", "labels of float64"),
        ("empty", "shapes", "wrong", "test images"),
    ],
)
def test_each_disaster_is_found(how, what, verdict, says):
    import re

    clean = {f.what: f.verdict for f in data.check(raw(*good())).findings}
    assert set(clean.values()) == {"fine"}
    report = data.check(spoil(how))
    assert report[what].verdict == verdict and re.search(says, report[what].says), str(report)
    assert report.ok == (verdict != "wrong")
    if verdict == "wrong":
        with pytest.raises(ValueError, match="mine is not fit to learn from"):
            report.raise_if_wrong()
    assert "<td>" in report._repr_html_()
