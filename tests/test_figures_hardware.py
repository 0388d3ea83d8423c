"""The drawings of 1 Hardware compute what they show, and every frame of them can be read."""

import re

import pytest

from figures import (
    card_history,
    chips,
    few_and_many,
    generations,
    links,
    promise,
    roofs,
    staircase,
    training_bills,
)
from tests.drawings import Widgets

TASKS = (1, 4, 8, 16, 28, 32, 48, 64, 128, 256)
MACHINES = {"slow": (1e11, 5e10), "H100": (67e12, 3.35e12)}
KERNELS = {"poor": (1e6, 4e6), "rich": (1e9, 1e6)}

#: Name → the frames of one widget, as the page shows them.
FRAMES = {
    "few_and_many": [few_and_many.draw(n) for n in TASKS],
    "generations": [generations.draw(chips.GPUS[1:], i) for i in range(6)],
    "roofs": [roofs.draw(MACHINES, KERNELS, m, k) for m in MACHINES for k in KERNELS],
    "staircase": [staircase.draw([4096, 2**20, 2**27], [6e10, 3e10, 1e10], i) for i in range(3)],
    "promise": [promise.draw([1, 8, 64], [1e-4, 1e-4, 5e-4], [9e-5, 2e-4, 6e-4], i) for i in range(3)],
    "links": [links.draw(links.LINKS, "it", size) for size in (4e3, 2.2e6, 140e9)],
    "card_history": [card_history.draw()],
    "training_bills": [training_bills.draw({"small": 256, "large": 30.84e6})],
}


class TestDrawings(Widgets):
    drawings = FRAMES


class TestFewAndMany:
    @pytest.mark.parametrize("tasks", TASKS)
    def test_takes_as_long_as_a_queue(self, tasks):
        """Hand the tasks out one by one, each to the worker who is free first."""
        for _, workers, _, _, each, _ in few_and_many.MACHINES:
            free = [0] * workers
            for _ in range(tasks):
                first = free.index(min(free))
                free[first] += each
            assert few_and_many.ticks(tasks, workers, each) == max(free)

    def test_the_many_lose_at_first_and_draw_level_at_32(self):
        labels = {n: figure.get_label() for n, figure in zip(TASKS, FRAMES["few_and_many"], strict=True)}
        assert ": 1 ticks" in labels[1] and ": 8 ticks" in labels[1]
        assert labels[32].count(": 8 ticks") == 2
        assert ": 16 ticks" in labels[64] and ": 8 ticks" in labels[64]


class TestRoofs:
    @pytest.mark.parametrize(
        "machine, work, seconds",
        [((2.0, 1.0), (10, 1), 5), ((2.0, 1.0), (1, 10), 10), ((2.0, 1.0), (4, 2), 2)],
    )
    def test_the_slower_of_two_decides(self, machine, work, seconds):
        assert roofs.least_seconds(machine, work) == seconds

    def test_says_what_a_kernel_waits_for(self):
        poor, rich = (roofs.draw(MACHINES, KERNELS, "H100", kernel).get_label() for kernel in KERNELS)
        assert "waits for memory" in poor and "1.2% of the peak" in poor and "1.19 µs" in poor
        assert "waits for arithmetic" in rich and "100.0% of the peak" in rich and "14.9 µs" in rich

    def test_the_point_lies_on_the_lit_roof(self):
        figure = roofs.draw(MACHINES, KERNELS, "H100", "poor")
        points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
        assert [float(p.get_ydata()[0]) for p in points] == pytest.approx([0.25 * 3.35e12])


class TestChips:
    @pytest.mark.parametrize("chip", [*chips.GPUS, *chips.TPUS], ids=lambda chip: chip.name)
    def test_every_chip_has_sources_and_sane_figures(self, chip):
        assert chip.sources and all(url.startswith("http") for _, url in chip.sources)
        assert chip.float32 or chip.low
        for value in (chip.float32, chip.low, chip.bandwidth, chip.memory, chip.watts):
            assert value is None or value > 0

    def test_ridge_is_the_better_rate_over_bandwidth(self):
        ridges = {chip.name: chip.ridge for chip in (*chips.GPUS, *chips.TPUS)}
        assert ridges["H100"] == pytest.approx(989e12 / 3.35e12)
        assert ridges["Titan X"] == pytest.approx(11e12 / 480e9)
        assert ridges["TPU v1"] == pytest.approx(2706, abs=1)

    def test_table_has_a_row_for_each_chip_and_a_dash_where_nothing_is_known(self):
        table = chips.table(chips.TPUS)._repr_html_()
        assert table.count("<tr>") == 1 + len(chips.TPUS)
        assert "<td>–</td>" in table and "None" not in table and "float32" not in table
        assert "<th>float32</th>" in chips.table(chips.GPUS)._repr_html_()
        assert table.count("<a href=") == sum(len(chip.sources) for chip in chips.TPUS)

    def test_data_sheet_rates_are_units_times_clock(self):
        rates = {chip.name: chip for chip in (*chips.GPUS, *chips.TPUS)}
        assert rates["P100"].float32 == pytest.approx(3584 * 2 * 1.48e-3, rel=0.01)
        assert rates["H100"].float32 == pytest.approx(16_896 * 2 * 1.98e-3, rel=0.01)
        assert rates["TPU v1"].low == pytest.approx(256**2 * 2 * 0.7e-3, rel=0.01)


class TestGenerations:
    def test_tells_growth_and_what_each_chip_needs(self):
        label = FRAMES["generations"][-1].get_label()
        assert "16-bit rate 106 times" in label and "bandwidth 10.7 times" in label
        assert "float32 rate 7.08 times" in label and "10 in float32 and 292 in 16-bit" in label

    def test_the_first_chip_is_the_measure(self):
        assert (
            "16-bit rate 1 times, bandwidth 1 times, float32 rate 1 times"
            in FRAMES["generations"][0].get_label()
        )


def test_training_bills_name_their_hours():
    assert "large 30,840,000" in FRAMES["training_bills"][0].get_label()


def test_the_history_of_cards_keeps_the_years_and_the_sides():
    axes = card_history.draw([(1990, "a", True), (1995, "b", False)]).axes[0]
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert places["a  1990"][0] < 0 < places["1995  b"][0] and places["1995  b"][1] == 1995
    years = [year for year, _, _ in card_history.EVENTS]
    assert years == sorted(years)
    assert len({(year, side) for year, _, side in card_history.EVENTS}) == len(years)


class TestStaircase:
    def test_a_copy_takes_its_bytes_over_the_rate(self):
        label = staircase.draw([4096, 2**20], [6e10, 2**20 * 1e4], 1).get_label()
        assert label.startswith("Copying 1 MiB runs at 10 GB/s and takes 100 µs;")

    @pytest.mark.parametrize(
        ("count", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (2**31, "2 GiB")]
    )
    def test_bytes_are_told_in_the_unit_they_fill(self, count, text):
        assert staircase.bytes_text(count) == text


class TestLinks:
    def test_the_fastest_comes_first(self):
        rates = [link.rate for link in links.LINKS]
        assert rates == sorted(rates, reverse=True)

    def test_time_is_size_over_rate(self):
        label = links.draw(links.LINKS, "ten gigabytes", 1e10).get_label()
        assert "ten gigabytes, 10 GB, takes at least" in label
        for link in links.LINKS:
            seconds = float(re.search(rf"{re.escape(link.name)} ([\d.]+) ms", label)[1]) / 1e3
            assert seconds == pytest.approx(1e10 / link.rate, rel=0.01)

    @pytest.mark.parametrize("link", links.LINKS, ids=lambda link: link.name)
    def test_every_rate_has_a_source(self, link):
        assert link.source[1].startswith("http")
