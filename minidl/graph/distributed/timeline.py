"""Timelines: what each rank did when, from real clocks."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

KINDS = ("compute", "send", "wait")


@dataclass(frozen=True)
class Span:
    """Something a rank did from `start` to `stop`, in seconds of rank 0's clock.

    Attributes
    ----------
    rank : int
    kind : {"compute", "send", "wait", "transfer"}
        "send" is time of this rank's own spent on handing numbers over and adding up what came in; "wait" is
        time it could do nothing; a "transfer" is under way while the rank does something else.
    name : str
    start, stop : float
    """

    rank: int
    kind: str
    name: str
    start: float
    stop: float

    @property
    def seconds(self):
        """How long it took."""
        return self.stop - self.start


class Timeline:
    """What one rank notes down. Spans within spans cut these short: every moment belongs to one kind.

    Parameters
    ----------
    rank : int
    offset : float
        How far this rank's clock is ahead of rank 0's, in seconds.
    """

    def __init__(self, rank=0, offset=0.0):
        self.rank, self.offset, self.spans, self._open = rank, offset, [], []

    @contextlib.contextmanager
    def span(self, kind, name=""):
        """Note what is done in this context; what was going on before pauses."""
        now = time.perf_counter()
        if self._open:
            self._close(now)
        self._open.append([kind, name, now])
        try:
            yield
        finally:
            now = time.perf_counter()
            self._close(now)
            self._open.pop()
            if self._open:
                self._open[-1][2] = now

    def _close(self, now):
        kind, name, start = self._open[-1]
        if now > start:
            self.add(kind, name, start, now)

    def add(self, kind, name, start, stop):
        """Note a span by its times on this rank's clock (`time.perf_counter`)."""
        self.spans.append(Span(self.rank, kind, name, start - self.offset, stop - self.offset))


def merged(timelines):
    """Return all spans of several ranks, in order of time, which starts at 0 with the first of them.

    Parameters
    ----------
    timelines : sequence of Timeline, or of sequences of Span

    Returns
    -------
    list of Span
    """
    spans = [span for timeline in timelines for span in getattr(timeline, "spans", timeline)]
    if not spans:
        return []
    begin = min(span.start for span in spans)
    return sorted(
        (Span(s.rank, s.kind, s.name, s.start - begin, s.stop - begin) for s in spans),
        key=lambda span: (span.start, span.rank),
    )


def shares(spans):
    """Return {rank: {kind: share of the time from its first span to its last}}; transfers are left out."""
    found = {}
    for rank in sorted({span.rank for span in spans}):
        own = [span for span in spans if span.rank == rank and span.kind != "transfer"]
        if not own:
            continue
        whole = max(span.stop for span in own) - min(span.start for span in own)
        found[rank] = {
            kind: sum(span.seconds for span in own if span.kind == kind) / whole if whole else 0.0
            for kind in KINDS
        }
    return found


def to_rows(spans):
    """Return spans as lists that JSON can hold, times in microseconds."""
    return [[s.rank, s.kind, s.name, round(s.start * 1e6, 1), round(s.stop * 1e6, 1)] for s in spans]


def from_rows(rows):
    """Return the spans of `to_rows`."""
    return [Span(rank, kind, name, start / 1e6, stop / 1e6) for rank, kind, name, start, stop in rows]
