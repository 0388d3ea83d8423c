"""How long something takes to get from one part of a machine to another: one bar for each kind of wire."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.instruments.style import HARDWARE, INK, RULE, describe, drawing, new_figure


@dataclass(frozen=True)
class Link:
    """One way out of a chip.

    Attributes
    ----------
    name : str
    rate : float
        Bytes a second, in one direction, as its maker promises.
    source : tuple of (str, str)
        Name and address.
    """

    name: str
    rate: float
    source: tuple[str, str]


_PCIE = ("table", "https://hpc-notes.pages.dev/reference/pcie")
_MLPERF = (
    "MLPerf",
    "https://raw.githubusercontent.com/mlcommons/inference_results_v4.1/main/closed/NVIDIA/systems/"
    "H200-SXM-141GBx8_TRT_MaxQ.json",
)

LINKS = (
    Link("memory of an H200", 4.8e12, ("data sheet", "https://www.nvidia.com/en-us/data-center/h200/")),
    Link("NVLink 4, GPU to GPU", 450e9, _MLPERF),
    Link("PCIe 5.0, 16 lanes", 63.0e9, _PCIE),
    Link("InfiniBand, 400 Gbit/s", 50e9, _MLPERF),
    Link("PCIe 3.0, 16 lanes", 15.7e9, _PCIE),
)  # fmt: skip


@drawing
def draw(links, what: str, size: float):
    """Return the time that `size` bytes take over each link.

    Parameters
    ----------
    links : sequence of Link
        The fastest first.
    what : str
        What is carried.
    size : float
        Its bytes.
    """
    figure, axes = new_figure(5.4, 3.0)
    seconds = [size / link.rate for link in links]
    fastest, slowest = 1e-7, 1e3
    told = []
    for row, (link, time) in enumerate(zip(links, seconds, strict=True)):
        axes.barh(row, time, left=0, color=HARDWARE, height=0.3)
        axes.barh(row, slowest, color=RULE, height=0.04, zorder=0)
        axes.text(fastest, row - 0.2, f"{link.name}: {_time(time)}", va="bottom", color=INK)
        told.append(f"{link.name} {_time(time)}")
    axes.set(xscale="log", xlim=(fastest, slowest), ylim=(len(links) - 0.6, -0.75), yticks=[])
    axes.set_xticks([1e-6, 1e-3, 1], ["1 µs", "1 ms", "1 s"])
    axes.minorticks_off()
    axes.spines["left"].set_visible(False)
    axes.set_title(f"{what}: {_bytes(size)}")
    return describe(figure, f"{what}, {_bytes(size)}, takes at least: {', '.join(told)}.")


def _time(seconds) -> str:
    for unit, size in (("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:,.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _bytes(count) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


if __name__ == "__main__":
    from figures.write import write

    write(__file__, draw(LINKS, "the generator's weights", 2.2e6))
