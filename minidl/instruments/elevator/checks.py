"""Two floors agree if they have the same number, up to what rounding may do to it."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Check:
    """One comparison between two floors.

    A sum of float32 numbers is rounded at every addition, in proportion to what has been added so far, not to
    what remains in the end: 1000 - 999.9 cannot be had more exactly than 1000 can. So the difference is
    measured against the sizes of what was added.

    Attributes
    ----------
    floors : pair of int
        The upper and the lower floor.
    what : str
        What is compared, in words.
    above, here : float
        The number on each.
    size : float
        What a difference is measured against: the sum of the absolute values of all terms, or of the number
        itself where nothing is added.
    """

    floors: tuple[int, int]
    what: str
    above: float
    here: float
    size: float

    @property
    def error(self) -> float:
        """The difference, relative to `size`."""
        return _relative(self.above, self.here, self.size)

    @property
    def relative(self) -> float:
        """The difference, relative to the number itself: large where terms cancel and little is left."""
        return _relative(self.above, self.here, abs(self.above))

    @property
    def agrees(self) -> bool:
        """Whether the error is at most `TOLERANCE`; never for a NaN."""
        return self.error <= TOLERANCE

    def __str__(self):
        sign = "=" if self.agrees else "≠"
        return f"{self.floors[0]} → {self.floors[1]}  {self.what}: {self.above:.7g} {sign} {self.here:.7g}"


def _relative(above, here, size):
    if above == here:
        return 0.0
    return abs(above - here) / size if size else float("inf")
