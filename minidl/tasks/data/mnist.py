"""MNIST, 70,000 handwritten digits of 28×28 pixels, fetched once and kept; and the IDX format it comes in.

Y. LeCun, L. Bottou, Y. Bengio & P. Haffner, Gradient-based learning applied to document recognition (1998).
Their own server no longer hands it out; the mirrors here have the same four files, bit for bit.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import math
import os
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from minidl.tasks.checkpoint import write_atomically
from minidl.tasks.data.sets import Dataset, Split

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# name: (bytes, SHA-256)
FILES = {
    "train-images-idx3-ubyte.gz": (
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte.gz": (
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "t10k-images-idx3-ubyte.gz": (
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}
SECONDS = 20  # without a byte, after which a mirror is given up


class DataUnavailable(RuntimeError):
    """Raised when data can be had from nowhere; the message says what was tried, and what can be done."""


def cache_folder():
    """Return where downloads are kept: $MINIDL_CACHE, or a folder `minidl` in the user's cache."""
    if own := os.environ.get("MINIDL_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidl"


def mnist(folder=None, mirrors=MIRRORS, files=None, progress=True):
    """Return MNIST: 60,000 images to train with and 10,000 to test with, (N, 1, 28, 28).

    Parameters
    ----------
    folder : str or Path, optional
        Where the four files are, or are to be kept; by default `cache_folder()`/mnist.
    mirrors : sequence of str
        Addresses of folders that have them, tried one after the other.
    files : dict, optional
        The names, sizes and SHA-256 of the four files, in the order of `FILES`: for another set in the same
        format.
    progress : bool
        Whether to show a bar for each download.

    Raises
    ------
    DataUnavailable
        If a file is neither there nor to be had whole. Nothing of it is left in the folder.
    ValueError
        If a file has the right checksum and yet does not hold what it should (possible with `files` only).
    """
    folder = cache_folder() / "mnist" if folder is None else Path(folder)
    files = FILES if files is None else files
    arrays = []
    for name, (size, digest) in files.items():
        content = fetch(name, size, digest, mirrors, folder, progress)
        arrays.append(read_idx(content, name))
    splits = []
    for (images, labels), (name, _) in zip(
        (arrays[:2], arrays[2:]), (list(files)[:2], list(files)[2:]), strict=True
    ):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise ValueError(
                f"{name} holds an array of shape {images.shape} and its labels one of shape {labels.shape}, "
                "not images and a label for each"
            )
        if images.dtype != np.uint8 or labels.dtype != np.uint8 or (labels > 9).any():
            raise ValueError(f"{name} and its labels must hold bytes, labels from 0 to 9")
        pixels = images[:, None].astype(np.float32)
        pixels /= 255
        splits.append(Split(pixels, labels.astype(np.int64)))
    return Dataset("mnist", *splits, tuple("0123456789"))


def fetch(name, size, digest, mirrors, folder, progress=True):
    """Return the content of a file: from the folder if it is there and whole, or else from a mirror.

    Parameters
    ----------
    size, digest : int, str
        How many bytes it has, and their SHA-256 in hexadecimal.

    Raises
    ------
    DataUnavailable
        If no mirror has it whole.
    """
    folder = Path(folder)
    place, tried = folder / name, []
    if place.is_file():
        content = place.read_bytes()
        if wrong := _what_is_wrong(content, size, digest):
            place.unlink()
            tried.append(f"{place}: {wrong}, so it was removed")
        else:
            return content
    for mirror in mirrors:
        address = mirror.rstrip("/") + "/" + name
        try:
            content = _download(address, size, progress)
        except (OSError, http.client.HTTPException, ValueError) as error:
            tried.append(f"{address}: {error or type(error).__name__}")
            continue
        if wrong := _what_is_wrong(content, size, digest):
            tried.append(f"{address}: {wrong}")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(place, content)
        return content
    raise DataUnavailable(
        f"{name} could not be had:\n  " + "\n  ".join(tried or ["there is no mirror to ask"]) + "\n"
        "Without a network, use tasks.data.digits(), which needs none, or put the file by hand into "
        f"{folder}"
    )


def _download(address, size, progress):
    """Return what is at an address, and a byte more than `size` at most."""
    parts, missing = [], size + 1
    with (
        urllib.request.urlopen(address, timeout=SECONDS) as answer,
        tqdm(
            total=size, unit="B", unit_scale=True, desc=address.rpartition("/")[2], disable=not progress
        ) as bar,
    ):
        while missing and (part := answer.read(min(1 << 16, missing))):
            parts.append(part)
            missing -= len(part)
            bar.update(len(part))
    return b"".join(parts)


def _what_is_wrong(content, size, digest):
    if len(content) < size:
        return f"truncated, {len(content):,} bytes of {size:,}"
    if len(content) > size:
        return f"longer than the {size:,} bytes it should have"
    if hashlib.sha256(content).hexdigest() != digest:
        return "corrupted, its SHA-256 is not the one it should be"
    return None


# ------------------------------------------------------------------------------------------------------- IDX


IDX_TYPES = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
LARGEST = 1 << 31  # bytes: a header that asks for more is not believed


def read_idx(content, name="content"):
    """Return the array that an IDX file holds; it may be compressed with gzip.

    The format: two bytes of zeros, one for the type, one for the number of dimensions; each dimension in four
    bytes; the elements, row by row. All numbers have their highest byte first.

    Parameters
    ----------
    content : bytes, str or Path
        The file's content, or where it is.
    name : str
        What to call it in messages.

    Raises
    ------
    ValueError
        If it is truncated, too long, or no IDX file. No more memory is taken than it has content for.
    """
    if isinstance(content, (str, os.PathLike)):
        name, content = str(content), Path(content).read_bytes()
    header = _unpacked(content, 4, name)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in IDX_TYPES:
        raise ValueError(f"{name} is not an IDX file: it begins with the bytes {header.hex(' ') or '(none)'}")
    dtype, ndim = IDX_TYPES[header[2]], header[3]
    header = _unpacked(content, 4 + 4 * ndim, name)
    if len(header) < 4 + 4 * ndim:
        raise ValueError(f"{name} is truncated: it ends in the middle of its {ndim} dimensions")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4", ndim, 4))
    size = math.prod(shape) * dtype.itemsize
    if size > LARGEST:
        raise ValueError(f"{name} claims {size:,} bytes for shape {shape}, which is not believable")
    body = _unpacked(content, len(header) + size + 1, name)[len(header) :]
    if len(body) != size:
        how = "truncated" if len(body) < size else "too long"
        raise ValueError(
            f"{name} is {how}: shape {shape} needs {size:,} bytes, there are "
            + (f"{len(body):,}" if len(body) < size else "more")
        )
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _unpacked(content, count, name):
    """Return the first `count` bytes, after decompression if it is gzip; fewer if there are no more."""
    if content[:2] != b"\x1f\x8b":
        return content[:count]
    try:
        unpacker = zlib.decompressobj(wbits=31)
        return unpacker.decompress(content, count)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{name} is damaged: it cannot be decompressed ({error})") from None
