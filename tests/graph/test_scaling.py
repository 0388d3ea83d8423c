"""The cost model: rounds as the algorithms make them, the textbook's formulas, fits that find the truth."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from figures import ranks as runs
from minidl.graph import scaling
from minidl.graph.distributed import ring_steps
from minidl.graph.distributed.allreduce import ALGORITHMS
from minidl.graph.links import LINKS, PUBLISHED, RESNET50
from minidl.graph.scaling import Link

SLOW = Link.of("slow", 1e-4, 1e6)


@pytest.mark.parametrize("p", [1, 2, 3, 4, 8, 100, 4096])
@pytest.mark.parametrize("n", [0, 1e3, 1e8])
class TestFormulas:
    def test_ring(self, p, n):
        expected = 2 * (p - 1) * (1e-4 + n / p / 1e6)
        assert scaling.all_reduce_seconds(SLOW, "ring", p, n) == pytest.approx(expected)

    def test_tree(self, p, n):
        expected = 2 * math.ceil(math.log2(p)) * (1e-4 + n / 1e6)
        assert scaling.all_reduce_seconds(SLOW, "tree", p, n) == pytest.approx(expected)

    def test_server(self, p, n):
        expected = 2 * (p - 1) * (1e-4 + n / 1e6)
        assert scaling.all_reduce_seconds(SLOW, "server", p, n) == pytest.approx(expected)


class TestModel:
    @pytest.mark.parametrize("p", [2, 3, 7])
    def test_the_rounds_are_the_ring_s(self, p):
        ((count, senders, receivers, each),) = scaling.rounds("ring", p, 700.0)
        assert count == len(list(ring_steps(0, p))) and each == 700 / p
        assert [(rank + 1) % p for rank in senders] == list(receivers)

    @pytest.mark.parametrize("p", [1, 2, 3, 4, 6, 9])
    @pytest.mark.parametrize("algorithm", ["ring", "tree", "server"])
    def test_the_messages_are_those_that_are_sent(self, algorithm, p):
        """Of every rank's program, run without any other, what it sends is written down."""
        sent = []
        for rank in range(p):
            comm = SimpleNamespace(rank=rank, size=p, Irecv=lambda *_: None)
            comm.Isend = lambda array, to, tag, rank=rank: sent.append((rank, to))
            world = SimpleNamespace(comm=comm, rank=rank, size=p, scratch=lambda size, *_: np.zeros(size))
            list(ALGORITHMS[algorithm](world, np.zeros(64)))
        expected = []
        for count, senders, receivers, _ in scaling.rounds(algorithm, p, 1.0):
            there = list(zip(senders, receivers, strict=True))
            back = there if algorithm == "ring" else [(b, a) for a, b in there]
            expected += count // 2 * (there + back)
        assert sorted(sent) == sorted(expected)

    def test_those_at_both_ends_of_a_message_take_turns_on_their_core(self):
        """Of four ranks on two cores 1 and 3 send at once, and share one; then 2 sends to 0, on the other."""
        link = Link("shared", ((math.inf, 1e-6, 0.0),), lanes=2)
        expected = {("tree", 2): 2, ("tree", 3): 2 + 4, ("tree", 4): 4 + 4, ("server", 4): 2 + 4 + 2}
        for (algorithm, p), turns in expected.items():
            assert scaling.all_reduce_seconds(link, algorithm, p, 100) == pytest.approx(turns * 1e-6)

    def test_the_best_depends_on_the_size(self):
        """Few bytes: fewest rounds. Many: least traffic."""
        small, large = ({a: scaling.all_reduce_seconds(SLOW, a, 64, n) for a in ("ring", "tree", "server")}
                        for n in (10, 1e8))  # fmt: skip
        assert min(small, key=small.get) == "tree"
        assert min(large, key=large.get) == "ring"
        assert max(large, key=large.get) == "server"

    def test_ring_traffic_hardly_grows_with_the_devices(self):
        network = Link.of("no latency", 0.0, 1e9)
        times = [scaling.all_reduce_seconds(network, "ring", p, 1e9) for p in (2, 10, 1000)]
        assert times == pytest.approx([1.0, 1.8, 1.998])

    def test_shared_cores_slow_it_down(self):
        """Three ranks on two cores are no quicker than four: one of the cores has two."""
        shared = Link("shared", SLOW.lines, lanes=2)
        for p, factor in ((2, 1), (3, 2), (4, 2), (5, 3)):
            assert scaling.all_reduce_seconds(shared, "ring", p, 1e6) == pytest.approx(
                factor * scaling.all_reduce_seconds(SLOW, "ring", p, 1e6)
            )

    def test_who_shares_a_core_makes_messages_dearer_and_large_arrays_leave_the_caches(self):
        lines = ((1000, 1e-6, 1e-9), (math.inf, 2e-6, 1e-9), (math.inf, 0.0, 4e-9))
        link = Link("ours", lines, 2, crowd=((5e-6, 0.0), (0.0, 1e-9), (0.0, 0.0)), cache=1e6)
        assert link.seconds(1000) == pytest.approx(2e-6)
        assert link.seconds(1000, devices=2) == pytest.approx(2e-6)
        assert link.seconds(1000, devices=3) == link.seconds(1000, devices=4) == pytest.approx(7e-6)
        assert link.seconds(2000, devices=5) == pytest.approx(2e-6 + 2000 * 3e-9)
        near, far = 6e-6 + 500e-9, 500 * 4e-9
        assert link.seconds(500, devices=4, whole=1e6) == pytest.approx(near)
        assert link.seconds(500, devices=4, whole=2e6) == pytest.approx(near / 2 + far / 2)
        assert link.seconds(500, devices=4, whole=1e12) == pytest.approx(far, rel=1e-4)
        with pytest.raises(ValueError, match="size must be a number of bytes, got nan"):
            link.seconds(math.nan)

    def test_bad_arguments(self):
        for call, message in (
            (lambda: scaling.rounds("star", 2, 1), "algorithm must be one of ring, tree, server, got 'star'"),
            (lambda: scaling.rounds("ring", 0, 1), "devices must be at least 1, got 0"),
            (lambda: scaling.rounds("ring", 2, -1), "size must be at least 0 bytes, got -1"),
            (lambda: Link.of("x", 0, 0), "bandwidth above 0"),
            (lambda: scaling.step(1, 1, 2), "overlap must be from 0 to 1, got 2"),
            (lambda: scaling.steps_needed(0, 1), "must be above 0"),
            (lambda: scaling.fit([], 2), "got none"),
        ):
            with pytest.raises(ValueError, match=message):
                call()


class TestFit:
    def test_finds_the_lines_it_was_made_from(self):
        truth = Link("truth", ((5000, 3e-6, 1e-9), (math.inf, 9e-6, 2e-10)), lanes=2)
        rows = [
            {"ranks": p, "algorithm": a, "bytes": n, "seconds": scaling.all_reduce_seconds(truth, a, p, n)}
            for p in (2, 3) for a in ("ring", "tree", "server") for n in np.geomspace(1e3, 1e7, 15)
        ]  # fmt: skip
        link = scaling.fit(rows, lanes=2)
        for n in (2e3, 1e5, 1e7):
            assert link.seconds(n) == pytest.approx(truth.seconds(n), rel=1e-3)

    def test_finds_what_sharing_a_core_and_leaving_the_caches_cost(self):
        lines = ((6000, 3e-6, 0.0), (math.inf, 6e-6, 1e-10), (math.inf, 0.0, 4e-10))
        sizes = np.geomspace(1e3, 1.6e7, 29)
        crowd = ((2e-6, 0.0), (4e-6, 3e-11), (0.0, 1e-10))
        truth = Link("truth", lines, 2, crowd=crowd, cache=3 * sizes[25])
        rows = [
            {"ranks": p, "algorithm": a, "bytes": n, "seconds": scaling.all_reduce_seconds(truth, a, p, n)}
            for p in (2, 3, 4) for a in ("ring", "tree") for n in sizes
        ]  # fmt: skip
        link = scaling.fit([row for row in rows if row["ranks"] < 4], lanes=2)
        assert max(abs(row["error"]) for row in scaling.compare(link, rows)) < 1e-3

    def test_one_size_is_too_few(self):
        row = {"ranks": 2, "algorithm": "ring", "bytes": 1000, "seconds": 1e-5}
        with pytest.raises(ValueError, match="at least two sizes"):
            scaling.fit([row], lanes=2)

    @pytest.mark.parametrize("algorithm", ["ring", "tree", "server"])
    def test_recorded_ranks_two_and_three_predict_four(self, algorithm):
        """The record is of one run on one machine; the model has not seen its four ranks."""
        rows = [row for row in runs.record_of_all()["all-reduce"] if row["algorithm"] == algorithm]
        link = scaling.fit([row for row in rows if row["ranks"] < 4], lanes=2)
        errors = [row["error"] for row in scaling.compare(link, rows) if row["ranks"] == 4]
        assert len(errors) == 29 and max(map(abs, errors)) < 0.3


class TestLimits:
    def test_goyal_s_ninety_percent_lies_between_nothing_and_everything_hidden(self):
        from figures.many_devices import relative_efficiency

        published = PUBLISHED[0].efficiency[1]
        least, most = (relative_efficiency(256, RESNET50["bytes"], overlap) for overlap in (0, 1))
        assert least < published < most

    def test_efficiency(self):
        assert scaling.step(3.0, 1.0).efficiency == pytest.approx(0.75)
        assert scaling.step(3.0, 1.0, overlap=1.0).efficiency == 1
        assert scaling.step(3.0, 4.0, overlap=1.0).seconds == pytest.approx(5)  # of 4, 2 are hidden

    def test_steps_at_the_critical_size_are_twice_the_least(self):
        assert scaling.steps_needed(1000, 1000) == 2
        assert scaling.speed_up(1, 32, 1000) == 1
        assert scaling.speed_up(10**9, 32, 1000) == pytest.approx(1 + 1000 / 32, rel=1e-4)

    def test_what_limits(self):
        assert scaling.limit(2, 32, 1e6, 0.99) == "nothing"
        assert scaling.limit(10, 32, 1e9, 0.5) == "bandwidth"
        assert scaling.limit(10_000, 32, 1000, 0.9) == "batch size"

    def test_every_number_has_a_source(self):
        assert all("arXiv" in link.source or "NVIDIA" in link.source for link in LINKS.values())
        assert all(one.source.startswith("https://") for one in PUBLISHED)
