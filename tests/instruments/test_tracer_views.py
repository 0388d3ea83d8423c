"""The drawings of a trace: numbers in the boxes, words for every frame, colours of the page."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from numba import float32

from minidl.hardware.cuda import cuda
from minidl.instruments.style import PALETTE
from minidl.instruments.tracer import Trace, trace
from minidl.instruments.tracer import views as module

TPB = 8


@cuda.jit
def pairs_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    if i < a.size:
        s[t] = a[i]
    cuda.syncthreads()
    if i < out.size:
        out[i] = s[t] + s[t + 1]


@pytest.fixture
def pairs():
    a = np.arange(13, dtype=np.float32) + 0.5
    return trace(pairs_kernel, 2, TPB, np.zeros(12, np.float32), a)


@cuda.jit
def long_kernel(out, a):
    i = cuda.grid(1)
    for k in range(a.size):
        out[i] += a[k]


def texts(svg):
    """What stands in a drawing, element by element; it must be well-formed."""
    root = ElementTree.fromstring(svg)
    return [element.text for element in root.iter("text") if element.text]


def check(widget):
    """What holds for every drawing of a trace."""
    assert len(widget.svgs) == len(widget.alts) and all(len(alt) > 10 for alt in widget.alts)
    boxes = [tuple(map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', svg).groups())) for svg in widget.svgs]
    assert len({width for width, _ in boxes}) == 1
    for svg, (width, height) in zip(widget.svgs, boxes, strict=True):
        ElementTree.fromstring(svg)
        for color in re.findall(r'(?:fill|stroke)="([^"]*)"', svg):
            name = re.match(r"var\(--osi-(\w+),(#\w{6})\)$|none$", color)
            assert name and (color == "none" or PALETTE[name[1]][0] == name[2])
        for x, y, w, h in re.findall(r'<rect x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', svg):
            assert float(x) + float(w) <= width and float(y) + float(h) <= height
    assert len(widget._repr_html_()) < 1_500_000
    return widget


def test_replay_steps_through_every_thread(pairs):
    widget = check(pairs.replay())
    assert widget.labels == ("thread", "time")
    assert widget.stops[0] == tuple("01234567")
    # Thread 0 of block 0 reads a[0], writes s[0], waits, reads s[0], reads s[1], writes out[0].
    alts = widget.alts[: len(widget.stops[1])]
    assert len(alts) == 6
    line = pairs_kernel.py_func.__code__.co_firstlineno
    assert alts[0] == f"thread 0 of block 0 reads 0.5 from a[0] on line {line + 5}"
    assert alts[1] == f"thread 0 of block 0 writes s[0], now 0.5, on line {line + 5}"
    assert alts[2] == f"thread 0 of block 0 waits at cuda.syncthreads() on line {line + 6}"
    assert alts[5] == f"thread 0 of block 0 writes out[0], now 2, on line {line + 8}"
    assert "0.5" in texts(widget.svgs[0]) and "R" in texts(widget.svgs[0]) and "W" in texts(widget.svgs[1])
    assert any("s[t] = a[i]" in text for text in texts(widget.svgs[0]))


def test_replay_shows_what_memory_holds_at_that_time(pairs):
    widget = pairs.replay(by_thread=False)
    assert widget.labels == ("time",) and len(widget) == 8 * 6
    first, last = texts(widget.svgs[0]), texts(widget.svgs[-1])
    assert first.count("?") == 8 + 8  # nothing in s and out yet
    assert last.count("?") == 0 and last.count("nan") == 1  # thread 7 reads s[8], which is outside
    assert "4" in last and "14" not in first


def test_replay_of_another_block_and_of_finished_threads(pairs):
    widget = check(pairs.replay(block=1))
    assert "thread 7 of block 1 has finished" in widget.alts
    for block in (2, -1):
        with pytest.raises(ValueError, match="block must be from 0 to 1"):
            pairs.replay(block=block)


def test_a_long_replay_is_sampled_and_says_so():
    traced = trace(long_kernel, 1, 4, np.zeros(4, np.float32), np.ones(900, np.float32))
    widget = check(traced.replay())
    assert len(widget) <= module.MOST_FRAMES
    assert "One of every" in widget.svgs[0] and "of 10800" in widget.svgs[0]
    assert "the first 64 cells" in widget.svgs[0]


def test_a_replay_that_is_too_heavy_gets_fewer_frames(pairs, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 50_000)
    widget = pairs.replay(by_thread=False)
    assert len(widget._repr_html_()) <= 50_000 and 1 < len(widget) < 48


def test_heatmap_counts_every_cell(pairs):
    widget = check(pairs.heatmap())
    assert widget.stops[0] == ("out, writes", "a, reads", "s, reads", "s, writes")
    reads = dict(zip(widget.stops[0], widget.alts, strict=True))
    assert reads["a, reads"] == "reads of global a: 13 in all, 13 of 13 elements, once each"
    assert reads["s, writes"] == "writes of shared s: 13 in all, 8 of 8 elements, 1 to 2 times each"
    numbers = [text for text in texts(widget.svgs[1]) if text == "1"]
    assert len(numbers) == 13 + 1  # thirteen counts and one index


def test_heatmap_of_a_large_array_is_cut_and_says_so():
    traced = trace(long_kernel, 1, 1, np.zeros(1, np.float32), np.ones(900, np.float32))
    assert "The first 256 of 900 elements are drawn." in "".join(check(traced.heatmap()).svgs)


@cuda.jit
def strided_kernel(out, a):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    s[2 * t] = a[8 * t]
    cuda.syncthreads()
    out[t] = s[2 * t]


def test_warp_view_shows_sectors_and_banks():
    traced = trace(strided_kernel, 1, 32, np.zeros(32, np.float32), np.zeros(256, np.float32))
    widget = check(traced.warp_view())
    line = strided_kernel.py_func.__code__.co_firstlineno
    assert widget.alts[0] == f"32 lanes read a on line {line + 4}: 32 sectors of 32 bytes, 12% of them wanted"
    assert widget.alts[1] == f"32 lanes write s on line {line + 4}: a 2-way bank conflict"
    assert (
        widget.alts[3] == f"32 lanes write out on line {line + 6}: 4 sectors of 32 bytes, 100% of them wanted"
    )
    assert texts(widget.svgs[1]).count("2") == 16 + 1 + 1 + 1  # 16 banks, element 2, lane 2, bank 2
    with pytest.raises(ValueError, match="warp 1 of block 0 made no request"):
        traced.warp_view(warp=1)


def test_findings_are_drawn_with_their_source_and_place(pairs):
    widget = check(pairs.findings_view())
    assert widget.alts == (f"out-of-bounds: {pairs.findings[0].message}",)
    drawn = texts(widget.svgs[0])
    assert any("▶" in text and "s[t + 1]" in text for text in drawn)
    assert "✕" in drawn and "!" in drawn


def test_no_findings_is_said_too():
    traced = trace(long_kernel, 1, 1, np.zeros(1, np.float32), np.ones(3, np.float32))
    assert check(traced.findings_view()).alts == ("The tracer has nothing against long_kernel.",)


def test_a_trace_can_be_drawn_later(pairs):
    again = Trace.from_json(pairs.to_json())
    for draw in ("replay", "heatmap", "warp_view", "findings_view"):
        assert getattr(again, draw)() == getattr(pairs, draw)()


def test_a_trace_without_accesses_has_nothing_to_draw():
    @cuda.jit
    def idle_kernel(out):
        cuda.grid(1)

    traced = trace(idle_kernel, 1, 4, np.zeros(1))
    for draw in (traced.replay, traced.heatmap, traced.warp_view):
        with pytest.raises(ValueError, match="nothing to draw"):
            draw()


def test_two_and_three_dimensional_arrays_and_blocks():
    @cuda.jit
    def kernel(out):
        x, y = cuda.grid(2)
        out[0, y, x] = x
        if x == 2:
            out[1, y, x] = 3

    traced = trace(kernel, 1, (3, 2), np.zeros((1, 2, 3), np.int32))
    widget = check(traced.replay())
    assert widget.stops[0][4] == "(1, 1)" and "0,1,2" in texts(widget.svgs[-1])
    assert any("outside its bounds" in alt for alt in widget.alts)
    check(traced.findings_view())
    check(traced.heatmap())
    check(traced.warp_view())
