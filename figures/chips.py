"""What the makers say of their chips: rates, bandwidth, memory and power, each with where it can be read.

Rates are peaks for dense matrices, one multiply-and-add counted as two operations, as data sheets do.
"""

from __future__ import annotations

import html
from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """One accelerator on paper. None where no source was found.

    Attributes
    ----------
    name : str
    year : int or None
        Of the first one sold or announced.
    float32, low : float or None
        10¹² operations a second: in float32, and in 16 bits (bfloat16 or float16; TPU v1: 8-bit integers).
    bandwidth : float or None
        Memory bandwidth, 10⁹ bytes a second.
    memory : float
        GB, or GiB where the maker says so.
    watts : float or None
        The maker's limit; TPU v3 and v4: the most that was measured.
    sources : tuple of (str, str)
        Name and address.
    """

    name: str
    year: int | None
    float32: float | None
    low: float | None
    bandwidth: float | None
    memory: float
    watts: float | None
    sources: tuple[tuple[str, str], ...]

    @property
    def ridge(self) -> float | None:
        """Operations for each byte at which the faster kind of arithmetic takes as long as the traffic."""
        rate = self.low or self.float32
        return rate * 1e3 / self.bandwidth if self.bandwidth else None


_HOPPER = ("Lockwood", "https://glennklockwood.com/garden/processors/h100")
_BLACKWELL = ("Lockwood", "https://glennklockwood.com/garden/processors/B200")
_PASCAL = "https://images.nvidia.com/content/pdf/tesla/whitepaper/pascal-architecture-whitepaper.pdf"
_VOLTA = "https://images.nvidia.com/content/volta-architecture/pdf/volta-architecture-whitepaper.pdf"
_MLPERF = "https://raw.githubusercontent.com/mlcommons/inference_results_"
_CLOUD = "https://docs.cloud.google.com/tpu/docs/"

GPUS = (
    Chip("Titan X", 2016, 11, None, 480, 12, 250, (
        ("rates", "https://gamersnexus.net/news-pc/2523-nvidia-gp102-titan-x-specs-announced"),
        ("power", "https://www.technic3d.com/news/hardware/gehaeuse/11097-nvidia-fuehrt-neue-titan-x-grafikkarte-auf-basis-der-pascal-architektur-ein-update.htm"),
    )),
    Chip("P100", 2016, 10.6, 21.2, 720, 16, 300, (("white paper", _PASCAL),)),
    Chip("V100", 2017, 15.7, 125, 900, 16, 300, (("white paper", _VOLTA),)),
    Chip("A100", 2020, 19.5, 312, 2039, 80, 400, (
        ("Lockwood", "https://glennklockwood.com/garden/processors/A100"),
    )),
    Chip("H100", 2022, 67, 989, 3350, 80, 700, (
        ("data sheet", "https://www.nvidia.com/en-us/data-center/h100/"), _HOPPER,
    )),
    Chip("H200", 2023, 67, 989, 4800, 141, 700, (
        ("data sheet", "https://www.nvidia.com/en-us/data-center/h200/"),
        ("MLPerf", _MLPERF + "v4.1/main/closed/NVIDIA/systems/H200-SXM-141GBx8_TRT_MaxQ.json"),
    )),
    # As sold in servers of eight. Announced were 80 · 10¹²/s, 8,000 GB/s and 192 GB (Lockwood quotes it).
    Chip("B200", 2025, 75, 2250, 7700, 180, 1000, (
        ("data sheet", "https://www.nvidia.com/en-us/data-center/hgx/"), _BLACKWELL,
        ("MLPerf", _MLPERF + "v6.0/main/closed/Nebius/systems/nebius_b200_n1.json"),
    )),
)  # fmt: skip

TPUS = (
    Chip("TPU v1", 2015, None, 92, 34, 8, 75, (("paper", "https://arxiv.org/abs/1704.04760"),)),
    Chip("TPU v3", None, None, 123, 900, 32, 262, (("Google", _CLOUD + "v3"),)),
    Chip("TPU v4", None, None, 275, 1200, 32, 192, (("Google", _CLOUD + "v4"),)),
    Chip("TPU v5e", None, None, 197, 819, 16, None, (("Google", _CLOUD + "v5e"),)),
    Chip("TPU v5p", None, None, 459, 2765, 95, None, (("Google", _CLOUD + "v5p"),)),
    Chip("TPU v6e", None, None, 918, 1638, 32, None, (("Google", _CLOUD + "v6e"),)),
    Chip("TPU7x", 2025, None, 2307, 7380, 192, None, (("Google", _CLOUD + "tpu7x"),)),
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Chips as rows of an HTML table, with links."""

    chips: tuple[Chip, ...]

    def _repr_html_(self) -> str:
        float32 = any(chip.float32 for chip in self.chips)
        years = all(chip.year for chip in self.chips)
        head = ["chip", *(["year"] if years else []), *(["float32"] if float32 else [])]
        head += ["16-bit", "GB/s", "GB", "watts", "ops/byte"]
        rows = []
        for chip in self.chips:
            texts = [chip.name, *([str(chip.year)] if years else [])]
            numbers = [chip.float32] if float32 else []
            texts += map(_text, [*numbers, chip.low, chip.bandwidth, chip.memory, chip.watts, chip.ridge])
            links = ", ".join(f'<a href="{html.escape(url)}">{name}</a>' for name, url in chip.sources)
            rows.append("".join(f"<td>{text}</td>" for text in texts) + f"<td>{links}</td>")
        titles = "".join(f"<th>{title}</th>" for title in [*head, "sources"])
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        table = f'<table class="osi-table"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>'
        return f'<div style="overflow-x: auto; white-space: nowrap">{table}</div>'


def table(chips) -> Table:
    """Return the table of some chips; rates are in 10¹² operations a second."""
    return Table(tuple(chips))


def _text(value) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 30 or value == int(value) else f"{value:.1f}"
