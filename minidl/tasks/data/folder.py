"""One's own images: a folder of them, or a folder with one folder for each class."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from minidl.kernels.arguments import check_integer
from minidl.tasks.data.sets import Dataset, Split, check_share


def folder(path, size=None, test=0.25, seed=0, invert=False):
    """Return the images in a folder, in shades of grey from 0 (black) to 1 (white).

    Parameters
    ----------
    path : str or Path
        Either images, which then are all of one class; or folders of images, each of which is a class with
        the folder's name. Whatever is no image by its name, or hidden, is passed over.
    size : int or pair of int, optional
        (height, width) to bring all of them to; needed if they differ.
    test : float
        The share of each class that is kept aside, at least one image of each.
    seed : int
        Which ones.
    invert : bool
        Whether black becomes white: for ink on paper, as the digits here are bright on dark.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    ValueError
        If there is no image, a class has fewer than two, one cannot be read, or sizes differ.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no folder {path}")
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; give the folder that it is in")
    check_share("test", test)
    generator = np.random.default_rng(check_integer("seed", seed, 0))
    if size is not None:
        size = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
        size = tuple(check_integer("size", n, 1) for n in size)
    classes = {p.name: _images_in(p) for p in sorted(path.iterdir()) if p.is_dir() and p.name[0] != "."}
    classes = {name: files for name, files in classes.items() if files}
    loose = _images_in(path)
    if classes and loose:
        raise ValueError(
            f"{path} has folders with images ({', '.join(classes)}) and images beside them, such as "
            f"{loose[0].name}: a class each, or one class, but not both"
        )
    classes = classes or ({path.resolve().name: loose} if loose else {})
    if not classes:
        raise ValueError(f"there are no images in {path}; PNG, JPEG and whatever else Pillow reads will do")

    parts = {"train": ([], []), "test": ([], [])}
    for label, (name, files) in enumerate(classes.items()):
        if len(files) < 2:
            raise ValueError(
                f"class {name!r} has one image, and needs two: one to learn from, one to test with"
            )
        kept = set(generator.permutation(len(files))[: max(1, round(test * len(files)))].tolist())
        kept = set(sorted(kept)[: len(files) - 1])
        for i, file in enumerate(files):
            images, labels = parts["test" if i in kept else "train"]
            images.append(_read(file, size, invert))
            labels.append(label)
            if images[-1].shape != (first := next(p[0][0] for p in parts.values() if p[0])).shape:
                raise ValueError(
                    f"{file} has {images[-1].shape} pixels, others have {first.shape}: give size=(height, "
                    "width)"
                )
    splits = (
        Split(np.stack(images)[:, None], np.array(labels, np.int64)) for images, labels in parts.values()
    )
    return Dataset(path.resolve().name, *splits, tuple(classes))


def _images_in(path):
    from PIL import Image

    known = Image.registered_extensions()
    return sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != "." and p.suffix.lower() in known)


def _read(file, size, invert):
    """Return one image as a float32 array, shape (H, W)."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                image = ImageOps.exif_transpose(opened)  # cameras note which way is up
                if image.mode in ("PA", "LA", "RGBA") or "transparency" in image.info:
                    image = image.convert("RGBA")
                    paper = Image.new("RGBA", image.size, "white")
                    image = Image.alpha_composite(paper, image)
                if image.mode.startswith(("I", "F")):  # 16 or 32 bits, which "L" would cut off
                    grey = np.asarray(image, np.float64)
                    if grey.min() < 0 or grey.max() > 65535 or not np.isfinite(grey).all():
                        raise ValueError("its pixels are not from 0 to 65535")
                    image = Image.fromarray((grey / 65535).astype(np.float32), "F")
                else:
                    grey = np.asarray(image.convert("L"), np.float32) / 255
                    image = Image.fromarray(grey)
        if size is not None:
            image = image.resize((size[1], size[0]), Image.Resampling.BOX)
    except (
        UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError,
        Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        raise ValueError(f"{os.fspath(file)} cannot be read as an image: {error}") from None
    pixels = np.clip(np.asarray(image, np.float32), 0, 1)
    return 1 - pixels if invert else pixels
