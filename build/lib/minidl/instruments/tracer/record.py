"""A `Trace` says what every thread of a launch did, and can be kept as JSON."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from minidl.instruments.tracer.arrays import GLOBAL, SHARED, ArrayRow
from minidl.instruments.tracer.findings import Finding, ThreadId
from minidl.instruments.tracer.memory import SITE
from minidl.instruments.tracer.program import Site
from minidl.instruments.tracer.schedule import Dim3
from minidl.instruments.tracer.warps import WarpRequest, warp_requests


class Count(NamedTuple):
    """How often something happened: in all, and for the busiest thread."""

    total: int
    max_per_thread: int


@dataclass(eq=False)
class Trace:
    """What a launch did.

    Attributes
    ----------
    kernel, file : str
        Name of the kernel, and the file it stands in.
    source : dict of int to str
        Line number → text, of the kernel and of the device functions it calls.
    grid, block : Dim3
    schedule : {"in-order", "adversarial"}
    seed : int
        Of the order it ran in: give it to `trace` again to see the same.
    harm : str
        Adversarial: how the answer differs from that of a kinder order; "" if no order tried makes it differ.
    flops : int
        Floating-point operations (what counts is said in `values.Arithmetic`).
    complete : bool
        False if the launch was stopped in an endless loop.
    findings : list of Finding
        What is wrong, and after that what is slow.
    columns, arrays, sites
        The record itself: a row per access, the arrays, and the source positions.
    """

    kernel: str
    file: str
    source: dict[int, str] = field(repr=False)
    grid: Dim3
    block: Dim3
    schedule: str
    seed: int
    harm: str
    flops: int
    complete: bool
    findings: list[Finding]
    columns: dict[str, np.ndarray] = field(repr=False)
    arrays: list[ArrayRow] = field(repr=False)
    sites: list[Site] = field(repr=False)

    @property
    def errors(self) -> list[Finding]:
        """The findings that say the kernel is wrong, without the advice on speed."""
        return [finding for finding in self.findings if finding.is_error]

    def counts(self) -> dict[str, Count]:
        """Count the accesses.

        Returns
        -------
        dict
            "global_reads", "global_writes", "shared_reads", "shared_writes", "atomics" and "barriers", each
            with `.total` and `.max_per_thread`. `x[i] += v` is one read and one write; an atomic is
            neither; a barrier counts once for each thread that reaches it; local arrays do not count.
        """
        what = np.array([site.what for site in self.sites])[self.columns["site"] & SITE]
        space = np.array([row.space for row in self.arrays] + [""])[self.columns["array"]]
        chosen = {
            f"{place}_{verb}s": (what == verb) & (space == place)
            for place in (GLOBAL, SHARED)
            for verb in ("read", "write")
        }
        chosen |= {"atomics": what == "atomic", "barriers": what == "barrier"}
        threads = {name: self.columns["thread"][rows] for name, rows in chosen.items()}
        return {
            name: Count(len(who), int(np.bincount(who).max()) if len(who) else 0)
            for name, who in threads.items()
        }

    @cached_property
    def bytes(self) -> int:
        """Bytes that threads ask of global memory: an element per read and per write, two per atomic."""
        size = np.array([row.itemsize if row.space == GLOBAL else 0 for row in self.arrays] + [0])
        times = np.array([{"read": 1, "write": 1, "atomic": 2}.get(site.what, 0) for site in self.sites])
        return int((size[self.columns["array"]] * times[self.columns["site"] & SITE]).sum())

    @property
    def intensity(self) -> float:
        """Floating-point operations per byte of global memory: where the kernel stands on the roofline."""
        return self.flops / self.bytes if self.bytes else float("inf")

    @cached_property
    def _requests(self):
        return warp_requests(self.columns, self.arrays, self.sites, self.block.size)

    def warps(self) -> list[WarpRequest]:
        """Return what each warp asked of memory, request by request."""
        return list(self._requests)

    def __len__(self):
        """Number of recorded accesses and barriers."""
        return len(self.columns["site"])

    # -- looking at a trace ----------------------------------------------------------------------------------

    def replay(self, block=0, by_thread=None):
        """Show what happens in one block, step by step; see `views.replay`."""
        return _views().replay(self, block, by_thread)

    def heatmap(self):
        """Show how often every cell is read and written; see `views.heatmap`."""
        return _views().heatmap(self)

    def warp_view(self, block=0, warp=0):
        """Show what one warp asks of memory, request by request; see `views.warp_view`."""
        return _views().warp_view(self, block, warp)

    def findings_view(self):
        """Show the findings, one frame each; see `views.findings_view`."""
        return _views().findings_view(self)

    # -- keeping a trace -------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return everything as JSON; `Trace.from_json` brings it back."""
        plain = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        plain["version"] = 1
        plain["grid"], plain["block"] = ([dim.x, dim.y, dim.z] for dim in (self.grid, self.block))
        plain["columns"] = {name: _pack(values) for name, values in self.columns.items()}
        for name in ("findings", "arrays", "sites"):
            plain[name] = [dataclasses.asdict(item) for item in plain[name]]
        return json.dumps(plain, separators=(",", ":"), default=_plain)

    @classmethod
    def from_json(cls, text: str) -> Trace:
        """Return the trace that `to_json` wrote.

        Raises
        ------
        ValueError
            If the text is something else.
        """
        try:
            plain = json.loads(text)
            if plain.pop("version") != 1:
                raise ValueError("another version")
            plain["grid"], plain["block"] = Dim3(*plain["grid"]), Dim3(*plain["block"])
            plain["source"] = {int(line): text for line, text in plain["source"].items()}
            plain["columns"] = {name: _unpack(values) for name, values in plain["columns"].items()}
            plain["arrays"] = [ArrayRow(**_tuples(row)) for row in plain["arrays"]]
            plain["sites"] = [Site(**site) for site in plain["sites"]]
            plain["findings"] = [Finding(**_tuples(finding)) for finding in plain["findings"]]
            for i, finding in enumerate(plain["findings"]):
                threads = tuple(ThreadId(*thread) for thread in finding.threads)
                plain["findings"][i] = dataclasses.replace(finding, threads=threads)
            return cls(**plain)
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
            raise ValueError(
                f"text must be what Trace.to_json returned: {type(error).__name__} {error}"
            ) from None


def _views():
    from minidl.instruments.tracer import views  # it draws, and drawing is slow to import

    return views


def _pack(values) -> list:
    small = values.astype(np.int32) if values.dtype.kind == "i" and _fits(values) else values
    data = base64.b64encode(zlib.compress(small.astype(small.dtype.newbyteorder("<")).tobytes())).decode()
    return [small.dtype.newbyteorder("<").str, values.dtype.str, data]


def _fits(values):
    return not len(values) or (abs(values) < 2**31).all()


def _unpack(packed) -> np.ndarray:
    stored, dtype, data = packed
    return np.frombuffer(zlib.decompress(base64.b64decode(data)), stored).astype(dtype)


def _tuples(plain) -> dict:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
