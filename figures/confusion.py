"""What was taken for what: the truth down, the answer across, mistakes in a colour of their own."""

from __future__ import annotations

import numpy as np

from minidl.instruments.drawing import box, canvas, label
from minidl.instruments.style import GRAPH, MUTED, TASK, describe, drawing


@drawing
def draw(counts, classes=None, title: str = "what was taken for what"):
    """Return the matrix, stronger where more of the row are.

    Parameters
    ----------
    counts : (K, K) array of int
        Row i, column j: how often an i was called a j; see `tasks.metrics.confusion_matrix`.
    classes : sequence of str, optional
        By default 0, 1, 2, …
    title : str
    """
    counts = np.asarray(counts)
    if (
        counts.ndim != 2
        or counts.shape[0] != counts.shape[1]
        or counts.dtype.kind not in "iu"
        or (counts < 0).any()
    ):
        raise ValueError(f"counts must be whole numbers of shape (K, K), got {counts.dtype} {counts.shape}")
    size = len(counts)
    classes = [str(c) for c in (range(size) if classes is None else classes)]
    if len(classes) != size:
        raise ValueError(f"classes must have {size} names, got {len(classes)}")
    left = 1.2 + 0.35 * max(map(len, classes))
    figure, axes = canvas(left + size + 0.2, size + 3.0, unit=5.4 / (left + size + 0.2))
    text = min(10.0, 58 / size + 4)
    right, total = int(np.trace(counts)), int(counts.sum())
    label(axes, 0.2, 0.5, f"{title}: {right} of {total} right", align="left", size=10.5, bold=True)
    label(axes, left + size / 2, 1.35, "answer", size=9, color=MUTED)
    label(axes, 0.35, 2.4 + size / 2, "truth", size=9, color=MUTED)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for i, name in enumerate(classes):
        label(axes, left + i + 0.5, 2.05, name, size=text)
        label(axes, left - 0.2, 2.4 + i + 0.5, name, size=text, align="right")
        for j in range(size):
            count, good = int(counts[i, j]), i == j
            strength = 0.6 * float(shares[i, j]) ** 0.5
            fill = (GRAPH if good else TASK) if count else None
            box(axes, left + j, 2.4 + i, text=count or "", fill=fill, strength=strength, size=text)
    wrong = counts - np.diag(np.diag(counts))
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    most = (
        f"; most often a {classes[i]} was taken for a {classes[j]}, {wrong[i, j]} times"
        if wrong.any()
        else ""
    )
    return describe(figure, f"{title}: {right} of {total} right{most}.")


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(np.diag([9, 8, 9]) + np.eye(3, k=1, dtype=int)))
