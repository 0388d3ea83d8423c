"""The data check, which is neurotic: it counts everything twice, since most disasters begin in the data."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from html import escape

import numpy as np

SIGNS = {"fine": "✓", "look": "?", "wrong": "✗"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    what : str
        For instance "leakage".
    verdict : {"fine", "look", "wrong"}
        "look" is what may be right and should be known.
    says : str
    """

    what: str
    verdict: str
    says: str

    def __str__(self):
        return f"{SIGNS[self.verdict]} {self.what}: {self.says}"


@dataclass(frozen=True)
class Report:
    """All findings; `ok` says whether nothing is wrong."""

    name: str
    findings: tuple

    @property
    def ok(self):
        """Whether nothing is wrong; there may still be something to look at."""
        return not any(finding.verdict == "wrong" for finding in self.findings)

    def __getitem__(self, what):
        """Return the finding of that name."""
        for finding in self.findings:
            if finding.what == what:
                return finding
        raise KeyError(f"nothing was found out about {what!r}; only {[f.what for f in self.findings]}")

    def raise_if_wrong(self):
        """Raise ValueError with all that is wrong; return the report itself if nothing is."""
        if not self.ok:
            wrong = (str(finding) for finding in self.findings if finding.verdict == "wrong")
            raise ValueError(f"{self.name} is not fit to learn from:\n  " + "\n  ".join(wrong))
        return self

    def __str__(self):
        verdicts = Counter(finding.verdict for finding in self.findings)
        end = (
            "I could sleep now. I will check again first."
            if set(verdicts) == {"fine"}
            else f"{verdicts['wrong']} wrong, {verdicts['look']} to look at, {verdicts['fine']} fine."
        )
        return "\n".join([f"{self.name}, checked:", *(f"  {f}" for f in self.findings), end])

    def _repr_html_(self):
        lines = "".join(
            f"<tr><td>{SIGNS[f.verdict]}</td><td>{escape(f.what)}</td>"
            f"<td style='text-align:left'>{escape(f.says)}</td></tr>"
            for f in self.findings
        )
        return f"<table><caption>{escape(self.name)}, checked</caption>{lines}</table>"


def check(dataset):
    """Look at a data set in every way that has ever ruined somebody's results.

    Parameters
    ----------
    dataset : Dataset
        With images (N, C, H, W) and integer labels. It may hold plain `Examples`, which, unlike a `Split`,
        take anything.

    Returns
    -------
    Report
        On shapes, numbers, range, labels, balance, blanks, duplicates, contradictions, leakage, near
        leakage and order.
    """
    findings, parts = [], {"training": dataset.train, "test": dataset.test}

    def found(what, verdict, says):
        findings.append(Finding(what, verdict, says))

    images = {name: np.asarray(part.inputs) for name, part in parts.items()}
    labels = {name: np.asarray(part.targets) for name, part in parts.items()}
    if not _shapes(found, images, labels):
        return Report(dataset.name, tuple(findings))
    finite = _numbers(found, images)
    _labels(found, labels, dataset.classes)
    _copies(found, images, labels)
    if finite:
        _range(found, images)
        _near(found, images)
    _order(found, labels["training"])
    return Report(dataset.name, tuple(findings))


def _shapes(found, images, labels):
    wrong = [
        f"{name} images {images[name].shape} and labels {labels[name].shape}"
        for name in images
        if images[name].ndim != 4 or labels[name].shape != images[name].shape[:1] or not images[name].size
    ]
    if not wrong and images["training"].shape[1:] != images["test"].shape[1:]:
        wrong = [f"images {images['training'].shape[1:]} to train, {images['test'].shape[1:]} to test"]
    numeric = all(array.dtype.kind in "fiub" for array in images.values())
    integers = all(array.dtype.kind in "iu" for array in labels.values())
    if not numeric or not integers:
        wrong.append(f"images of {images['training'].dtype}, labels of {labels['training'].dtype}")
    counts = " and ".join(f"{len(array):,} {name}" for name, array in images.items())
    size = "×".join(map(str, images["training"].shape[1:]))
    found(
        "shapes",
        "wrong" if wrong else "fine",
        "; ".join(wrong) or f"{counts} images of {size}. I counted twice.",
    )
    return not wrong


def _numbers(found, images):
    bad = {name: int((~np.isfinite(array)).any(axis=(1, 2, 3)).sum()) for name, array in images.items()}
    total = sum(bad.values())
    says = (
        f"{total} images hold NaN or infinity ({_each(bad)}): one of them is enough to make every weight NaN."
        if total
        else "no NaN and no infinity, not even a small one."
    )
    found("numbers", "wrong" if total else "fine", says)
    return not total


def _range(found, images):
    low = min(float(array.min()) for array in images.values())
    high = max(float(array.max()) for array in images.values())
    if low < 0 or high > 1:
        hint = ": divide by 255" if low >= 0 and 1 < high <= 255 else ""
        found("range", "wrong", f"from {low:g} to {high:g}, where 0 to 1 was promised{hint}.")
    elif high < 0.5 or high == low:
        found("range", "look", f"from {low:g} to {high:g}: rather dark for images. Divided by 255 twice?")
    else:
        found("range", "fine", f"from {low:g} to {high:g}, all of it used.")
    border = np.concatenate(
        [array[..., edge, :].ravel() for array in images.values() for edge in (0, -1)]
    ).mean()
    if border > 0.5:
        found(
            "background", "look", f"edges have a mean of {border:.2f}: dark on bright? The digits are bright."
        )
    flat = {name: int((np.ptp(array, axis=(1, 2, 3)) == 0).sum()) for name, array in images.items()}
    blank = sum(flat.values())
    says = f"{blank} images have one shade only ({_each(flat)}): what do they show?"
    found("blanks", "look" if blank else "fine", says if blank else "every image shows something.")


def _labels(found, labels, classes):
    known = max(len(classes), max(int(array.max()) for array in labels.values()) + 1)
    low = min(int(array.min()) for array in labels.values())
    high = max(int(array.max()) for array in labels.values())
    if low < 0 or (classes and high >= len(classes)):
        found("labels", "wrong", f"from {low} to {high}, for {len(classes) or 'unnamed'} classes.")
        return
    counts = {name: np.bincount(array, minlength=known) for name, array in labels.items()}
    absent = {name: np.flatnonzero(count == 0).tolist() for name, count in counts.items()}
    if any(absent.values()):
        says = "; ".join(f"no {name} example of {which}" for name, which in absent.items() if which)
        found("labels", "wrong", f"{says}: what is never seen is not learned, or not tested.")
        return
    found("labels", "fine", f"{known} classes, all of them in both parts.")
    few, many = counts["training"].min(), counts["training"].max()
    rarest, commonest = counts["training"].argmin(), counts["training"].argmax()
    name = [str(c) for c in (classes or range(known))]
    says = f"from {few} ({name[rarest]}) to {many} ({name[commonest]}) examples for each class"
    if many > 3 * few:
        share = many / counts["training"].sum()
        says += f": always saying {name[commonest]!r} is right {share:.0%} of the time. Look at each class."
        found("balance", "look", says)
    else:
        found("balance", "fine", f"{says}. Not equal, I admit, but I have seen worse.")
    shares = [count / count.sum() for count in counts.values()]
    drift = float(np.abs(shares[0] - shares[1]).max())
    if drift > 0.05:
        found("drift", "look", f"a class has another share in the test, by up to {drift:.0%}.")
    else:
        found("drift", "fine", f"each class has the same share in both parts, within {drift:.1%}.")


def _copies(found, images, labels):
    keys = {  # short ones, so that seventy thousand fit; adding 0 makes -0 and 0 the same
        name: [hashlib.blake2b((image + 0.0).tobytes(), digest_size=16).digest() for image in array]
        for name, array in images.items()
    }
    copies = {name: len(which) - len(set(which)) for name, which in keys.items()}
    total = sum(copies.values())
    says = f"{total} images are there again ({_each(copies)})." if total else "no image is there twice."
    found("duplicates", "look" if total else "fine", says)
    called = {}
    for name, which in keys.items():
        for key, label in zip(which, labels[name].tolist(), strict=True):
            called.setdefault(key, set()).add(label)
    torn = sum(len(names) > 1 for names in called.values())
    says = f"{torn} images have two labels each: at most one of them can be right."
    found("contradictions", "wrong" if torn else "fine", says if torn else "no image has two labels.")
    seen = set(keys["training"])
    leaked = sum(key in seen for key in keys["test"])
    says = f"{leaked} of {len(keys['test'])} test images are in the training set: the exam was handed out."
    found(
        "leakage", "wrong" if leaked else "fine", says if leaked else "no test image is in the training set."
    )


def _near(found, images):
    """Find test images that are all but the same as a training image, compared with how alike others are."""
    from sklearn.neighbors import NearestNeighbors

    train, test = (array.reshape(len(array), -1).astype(np.float32) for array in images.values())
    if max(len(train), len(test)) > 20_000:
        found("near leakage", "look", "too many images to compare each with each; not looked at.")
        return
    distances = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(test)[0][:, 0]
    typical = float(np.median(distances))
    near = int(((distances < 0.2 * typical) & (distances > 0)).sum())
    says = f"the nearest training image is {typical:.2f} away, in the median; closest {distances.min():.2f}"
    if near:
        found("near leakage", "look", f"{near} test images are suspiciously close to one: {says}.")
    else:
        found("near leakage", "fine", f"{says}.")


def _order(found, labels):
    changes = np.count_nonzero(np.diff(labels)) + 1
    if len(np.unique(labels)) > 1 and changes <= 2 * len(np.unique(labels)):
        found("order", "look", "the examples are sorted by class: shuffle them, as `fit` does.")
    else:
        found("order", "fine", "the classes come mixed.")


def _each(counts):
    return ", ".join(f"{count} {name}" for name, count in counts.items())
