"""What a reader can drive: frames behind a slider (no kernel needed), and the timing explorer (live)."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources

import ipywidgets
from matplotlib.figure import Figure

from minidl.hardware.device import Device
from minidl.instruments.stopwatch import compare, recorded
from minidl.instruments.style import to_svg
from minidl.kernels.arguments import check_integer
from minidl.kernels.ladder import Ladder

Drawing = Figure | str

_HERE = resources.files("minidl.instruments")
_CSS = f"<style>{_HERE.joinpath('frames.css').read_text('utf-8')}</style>"
_JAVASCRIPT = _HERE.joinpath("frames.js").read_text("utf-8")


@dataclass(frozen=True)
class Frames:
    """Drawn frames behind one or two sliders; shown by Jupyter, Colab and the built book alike.

    Attributes
    ----------
    svgs : tuple of str
        One SVG per frame; with two sliders, row after row.
    alts : tuple of str
        What each frame shows, in words, for those who cannot see it.
    labels : tuple of str
        One name per slider.
    stops : tuple of tuple of str
        The name of every position of every slider.
    start : int
        The frame shown first.
    above : tuple of str
        HTML above each frame, or empty.
    anchors : tuple of str
        For every position of the last slider the id of a heading, or empty.
    """

    svgs: tuple[str, ...] = field(repr=False)
    alts: tuple[str, ...]
    labels: tuple[str, ...]
    stops: tuple[tuple[str, ...], ...]
    start: int = 0
    above: tuple[str, ...] = field(default=(), repr=False)
    anchors: tuple[str, ...] = ()

    def __len__(self):
        return len(self.svgs)

    def _repr_html_(self) -> str:
        parts, frames = _shared_lines(self.svgs + self.above)
        content = {"parts": parts, "frames": frames[: len(self)], "alts": self.alts, "stops": self.stops}
        if self.above:
            content["above"] = frames[len(self) :]
        if self.anchors:
            content["anchors"] = self.anchors
        data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        key = hashlib.sha256(data.encode()).hexdigest()[:12]
        position, sliders = self.start, []
        for axis in reversed(range(len(self.stops))):
            position, at = divmod(position, len(self.stops[axis]))
            sliders.insert(0, _slider(self.labels[axis], self.stops[axis], at))
        play = '<button type="button" class="osi-play" aria-label="Play">▶</button>' if len(self) > 2 else ""
        return (
            f"{_CSS}"
            f'<figure class="osi-frames" data-frames="{key}">'
            f"{_above(self.above[self.start]) if self.above else ''}"
            f"{_stage(self.svgs[self.start], self.alts[self.start])}"
            f'<div class="osi-controls">{play}{"".join(sliders)}</div>'
            f'<script type="application/json">{data}</script>'
            f"<script>{_JAVASCRIPT.replace('KEY', key)}</script>"
            "</figure>"
        )


def frames(
    figures: Sequence[Drawing] | Sequence[Sequence[Drawing]],
    label: str | tuple[str, str],
    *,
    names: Sequence[str] | tuple[Sequence[str], Sequence[str]] | None = None,
    alts: Sequence[str] | Sequence[Sequence[str]] | None = None,
    start: int = 0,
    above: Sequence[str] | Sequence[Sequence[str]] | None = None,
    anchors: Sequence[str] | None = None,
) -> Frames:
    """Put drawn frames behind a slider with a play button, or rows of frames behind two sliders.

    The result is plain HTML with its own few lines of script: it moves in the static book, in Jupyter and in
    Colab, with or without a kernel, by mouse, touch and keyboard. Only the lines in which frames differ are
    stored more than once, so fifty frames of one drawing cost little more than one.

    Parameters
    ----------
    figures : sequence of matplotlib Figures or SVG strings, or a sequence of such sequences
        A nested sequence gets two sliders: the outer position first, the inner second.
    label : str, or a pair of str for two sliders
        What the slider chooses, for instance "window".
    names : sequence of str, optional
        The name of every position, shown beside the slider (a pair of sequences for two sliders);
        by default 1, 2, 3, …
    alts : sequence of str, optional
        What each frame shows, in words. Needed for SVG strings; a Figure brings its own (`style.describe`).
    start : int
        Position of the frame shown first (row after row for two sliders), also the one that is printed.
    above : sequence of str, or sequence of such sequences, optional
        HTML that stands above each frame: what can be read as text, and links.
    anchors : sequence of str, optional
        For every position of the (last) slider the id of a heading on the same page. Whoever follows a link
        to it sees the frames, moved to that position.

    Raises
    ------
    ValueError
        If there are no frames, a frame has no text alternative, or the lengths do not agree.
    TypeError
        If a frame is neither a Figure nor an SVG string.
    """
    figures = list(figures)
    if not figures:
        raise ValueError("figures must hold at least one frame, got none")
    nested = not isinstance(figures[0], (str, Figure))
    labels = tuple(label) if nested and not isinstance(label, str) else (label,)
    if len(labels) != 1 + nested or not all(isinstance(text, str) and text for text in labels):
        raise ValueError(f"label must be {'a pair of names' if nested else 'one name'}, got {label!r}")
    rows = [list(row) for row in figures] if nested else [figures]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"figures must have rows of one length, got lengths {sorted(lengths)}")
    shape = (len(rows), len(rows[0])) if nested else (len(figures),)
    flat = [frame for row in rows for frame in row]

    if names is None:
        stops = tuple(tuple(str(i + 1) for i in range(size)) for size in shape)
    else:
        stops = tuple(tuple(str(n) for n in axis) for axis in (names if nested else [names]))
        if tuple(len(axis) for axis in stops) != shape:
            raise ValueError(f"names must have {shape} entries, got {tuple(len(axis) for axis in stops)}")
    alts = _one_per_frame("alts", alts, nested, len(flat))
    above = _one_per_frame("above", above, nested, len(flat))
    if anchors is not None and len(anchors) != shape[-1]:
        raise ValueError(f"anchors must have {shape[-1]} entries, one per position, got {len(anchors)}")
    if not 0 <= start < len(flat):
        raise ValueError(f"start must be from 0 to {len(flat) - 1}, got {start}")

    words = [alts[i] if alts else _alt_of(frame, i) for i, frame in enumerate(flat)]
    return Frames(
        tuple(_svg_of(frame, i) for i, frame in enumerate(flat)),
        tuple(words),
        labels,
        stops,
        start,
        tuple(above or ()),
        tuple(anchors or ()),
    )


def _one_per_frame(name, texts, nested, count):
    """Return the texts in one list, row after row; None stays None."""
    if texts is None:
        return None
    texts = [str(text) for row in texts for text in row] if nested else [str(text) for text in texts]
    if len(texts) != count:
        raise ValueError(f"{name} must have {count} entries, one per frame, got {len(texts)}")
    return texts


@dataclass(frozen=True)
class Picture:
    """One drawing, shown as SVG that follows the page's light or dark mode."""

    svg: str = field(repr=False)
    alt: str
    above: str = field(default="", repr=False)

    def _repr_html_(self) -> str:
        above = _above(self.above) if self.above else ""
        return f'{_CSS}<figure class="osi-frames">{above}{_stage(self.svg, self.alt)}</figure>'


def picture(figure: Drawing, alt: str | None = None, above: str = "") -> Picture:
    """Show one figure as SVG, with its text alternative (by default the one the figure brings).

    `above` is HTML that stands above it.
    """
    return Picture(_svg_of(figure, 0), alt or _alt_of(figure, 0), above)


def timing_explorer(ladder: Ladder, sizes: Sequence[int] = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)):
    """Choose a size and rungs, press *time it*, and see how they compare on the machine that runs this.

    Timing needs a running kernel, and the explorer says so: on a static page it shows what it measured when
    the page was built, and its controls rest. Where the machine has no GPU, the CUDA rungs cannot be chosen;
    recorded measurements of them, if the book has any, stand below the chart with their device and date.

    Parameters
    ----------
    ladder : Ladder
        One with an `example`, which makes the arguments for a size.
    sizes : sequence of int
        Numbers of elements to choose from; the first is measured at once.

    Returns
    -------
    ipywidgets.VBox

    Raises
    ------
    ValueError
        If the ladder has no example, or there are no sizes.
    """
    if ladder.example is None:
        raise ValueError(f"ladder {ladder.name!r} has no example to make arguments with")
    sizes = [check_integer("sizes", size, 1) for size in sizes]
    if not sizes:
        raise ValueError("sizes must hold at least one size, got none")
    gpu = Device("cuda").available
    names = [rung.name for rung in ladder if rung.device == "cpu" or gpu]

    size = ipywidgets.Dropdown(options=[(f"{n:,}", n) for n in sizes], value=sizes[0], description="size")
    tall = {"height": f"{1.5 * len(names) + 0.5}em"}  # ipywidgets 7 takes no notice of `rows`
    rungs = ipywidgets.SelectMultiple(options=names, value=names, description="rungs", layout=tall)
    button = ipywidgets.Button(description="time it", button_style="primary")
    says = ipywidgets.HTML()
    chart = ipywidgets.HTML()

    def measure(_=None):
        if not rungs.value:
            says.value = "Choose at least one rung."
            return
        button.disabled = True
        says.value = f"Timing {len(rungs.value)} rungs on {size.value:,} elements …"
        try:
            workload = {f"{size.value:,} elements": ladder.example(size.value)}
            timings = compare(ladder, workload, rungs=list(rungs.value), budget=1.0)
            chart.value = picture(timings.plot())._repr_html_()
            says.value = html.escape(timings.source())
        except Exception as problem:
            says.value = f"It went wrong: {html.escape(str(problem))}"
        finally:
            button.disabled = False

    button.on_click(measure)
    measure()
    hint = ipywidgets.HTML(
        "<em>These controls time things on the machine that runs this page: they work in Colab and Jupyter, "
        "and rest on the static page.</em>"
    )
    hint.add_class("osi-screen")  # left out on paper
    there = [record for record in recorded(ladder.name) if "cuda" in record.provenance["devices"]]
    records = [ipywidgets.HTML(record._repr_html_()) for record in there if not gpu]
    return ipywidgets.VBox([hint, size, rungs, button, says, chart, *records])


def _svg_of(frame, position) -> str:
    if isinstance(frame, Figure):
        return to_svg(frame)
    if isinstance(frame, str) and frame.lstrip().startswith("<svg"):
        return frame
    got = f"{frame[:40]!r}" if isinstance(frame, str) else type(frame).__name__
    raise TypeError(f"figures[{position}] must be a matplotlib Figure or an SVG string, got {got}")


def _alt_of(frame, position) -> str:
    alt = frame.get_label() if isinstance(frame, Figure) else ""
    if not alt:
        raise ValueError(
            f"figures[{position}] has no text alternative: pass alts=, or style.describe(figure, text)"
        )
    return str(alt)


def _shared_lines(svgs):
    """Store every different line once; a frame is then a list of line numbers."""
    numbers: dict[str, int] = {}
    frames = [[numbers.setdefault(line, len(numbers)) for line in svg.split("\n")] for svg in svgs]
    return list(numbers), frames


def _above(content) -> str:
    return f'<div class="osi-above">{content}</div>'


def _stage(svg, alt) -> str:
    return f'<div class="osi-stage" role="img" aria-label="{html.escape(alt)}">{svg}</div>'


def _slider(label, stops, at) -> str:
    name = html.escape(label)
    return (
        f'<label><span class="osi-name">{name}</span>'
        f'<input type="range" min="0" max="{len(stops) - 1}" step="1" value="{at}" aria-label="{name}"'
        f' aria-valuetext="{html.escape(stops[at])}" autocomplete="off">'
        f"<output>{html.escape(stops[at])}</output></label>"
    )
