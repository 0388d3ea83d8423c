"""The drawings of many processes compute what they show, and every frame of them can be read."""

import itertools

import numpy as np
import pytest

from figures import fitted, gantt, many_devices, ranks, ring, staleness
from minidl.graph import distributed, scaling
from minidl.graph.distributed import shares
from tests.drawings import Widgets

RECORD = ranks.record_of_all()
ROWS = RECORD["all-reduce"]

#: Name → the frames of one widget, as the page may show them.
FRAMES = {
    "ring": [ring.draw(step) for step in range(7)],
    "staleness": [staleness.draw(late, rate, 40) for rate in (0.1, 1.0) for late in (0, 7)],
    "many_devices": [many_devices.draw(p, size) for size in (10, 100, 1000) for p in (8, 256, 8192)],
}
SINGLE = {
    **{f"gantt {name}": gantt.draw(ranks.recorded(name)["spans"], name) for name in ranks.RUNS},
    **{
        f"fitted {name}": fitted.draw(
            own := [row for row in ROWS if row["algorithm"] == name],
            scaling.fit([row for row in own if row["ranks"] < 4], lanes=2),
            name,
        )
        for name in ("ring", "tree")
    },
}


class TestDrawings(Widgets):
    drawings = FRAMES | SINGLE


class TestRing:
    @pytest.mark.parametrize("size", [2, 3, 5])
    def test_ends_with_the_sum_everywhere(self, size):
        values = np.random.default_rng(size).integers(0, 100, (size, size))
        states = ring.states(values)
        assert len(states) == 2 * (size - 1) + 1
        np.testing.assert_array_equal(states[-1][0], np.tile(values.sum(axis=0), (size, 1)))

    def test_half_way_every_rank_has_one_whole_sum(self):
        held, _ = ring.states(ring.NUMBERS)[3]
        whole = held == np.sum(ring.NUMBERS, axis=0)
        assert whole.sum(axis=1).tolist() == [1, 1, 1, 1]

    def test_one_rank_is_no_ring(self):
        with pytest.raises(ValueError, match="as many numbers for each rank"):
            ring.states([[1]])


class TestStaleness:
    def test_none_is_plain_descent(self):
        from minidl import layers
        from minidl.graph import Tensor, cross_entropy
        from minidl.tasks import SGD
        from minidl.tasks.data import digits

        split, generator = digits().train, np.random.default_rng(0)
        dense = layers.Dense
        model = layers.Sequential(
            dense(64, staleness.HIDDEN, generator=generator),
            layers.ReLU(),
            dense(staleness.HIDDEN, 10, generator=generator),
        )
        optimiser, losses = SGD(model.parameters(), lr=0.5), []
        for _ in range(10):
            chosen = generator.integers(0, len(split), staleness.BATCH)
            x = Tensor(split.inputs[chosen].reshape(len(chosen), -1))
            loss = cross_entropy(model(x), split.targets[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        np.testing.assert_allclose(staleness.train(0, 0.5, 10), losses, rtol=1e-4)

    def test_old_gradients_cost(self):
        fresh, late = (staleness.train(age, 1.0, 60)[-20:].mean() for age in (0, 15))
        assert late > 1.5 * fresh

    def test_negative_age(self):
        with pytest.raises(ValueError, match="staleness must be at least 0"):
            staleness.train(-1, 0.1)


class TestRanks:
    @pytest.mark.parametrize("name", ranks.RUNS)
    def test_the_record_has_every_run(self, name):
        found = ranks.recorded(name)
        assert found["source"].startswith("recorded: ")
        assert {span.rank for span in found["spans"]} == set(range(found["ranks"]))
        for share in shares(found["spans"]).values():
            assert sum(share.values()) == pytest.approx(1, abs=0.02)  # no moment is missing or counted twice

    def test_the_workers_of_downpour_work_side_by_side_and_the_first_to_end_waits(self):
        spans = [span for span in ranks.recorded("downpour")["spans"] if span.rank]
        steps = [span for span in spans if span.name.startswith("step ") and span.kind == "compute"]
        ends = {rank: max(span.stop for span in steps if span.rank == rank) for rank in (1, 2)}
        took = {  # a step goes on after its gradient was sent, so it may have two spans
            name: sum(span.stop - span.start for span in steps if span.name == name)
            for name in {span.name for span in steps}
        }
        assert len(took) == ranks.STEPS
        slowest, usual = max(took.values()), np.median([*took.values()])
        assert slowest < 4 * usual  # none of them was the first of its process
        early = min(ends, key=ends.get)
        rest = [span for span in spans if span.rank == early and span.start >= ends[early]]
        spent = {kind: sum(s.stop - s.start for s in rest if s.kind == kind) for kind in ("compute", "wait")}
        assert spent["wait"] > spent["compute"]

    def test_without_mpi_the_record_is_shown_and_says_why(self, monkeypatch):
        monkeypatch.setattr(distributed.launch, "find_spec", lambda name: None)
        found = ranks.live_or_recorded("pipeline, 4 parts")
        assert "MPI is not installed here" in found["source"] and found["source"].startswith("recorded")
        assert found["spans"] == ranks.recorded("pipeline, 4 parts")["spans"]

    @pytest.mark.skipif(not distributed.available(), reason="MPI is not installed (pip install mpi4py mpich)")
    def test_a_live_run(self):
        found = ranks.live_or_recorded("data parallel")
        assert found["source"] == "live: 2 ranks on this machine"
        assert {span.kind for span in found["spans"]} == {"compute", "send", "wait", "transfer"}

    @pytest.mark.skipif(not distributed.available(), reason="MPI is not installed (pip install mpi4py mpich)")
    def test_what_a_worker_of_downpour_does_is_called_by_its_name(self):
        found = ranks.live("downpour")
        for rank, steps in {1: (1, 3, 5), 2: (2, 4, 6)}.items():
            own = [span for span in found["spans"] if span.rank == rank]
            computed = [span for span in own if span.kind == "compute" and span.name.startswith("step ")]
            assert {span.name for span in computed} == {f"step {step}" for step in steps}
            after = [span for span in own if span.start >= computed[-1].stop]
            assert {span.name for span in after if span.kind == "wait"} == {"the others"}

    def test_unknown(self):
        with pytest.raises(ValueError, match="name must be one of data parallel"):
            ranks.live_or_recorded("party")

    def test_no_speed_up_beyond_what_the_cores_give_apart(self):
        assert RECORD["throughput"]
        for row in RECORD["throughput"]:
            assert row["alone"] > 0 and row["same batch"] < row["apart"] and row["same share"] < row["apart"]

    def test_two_ranks_are_half_as_quick_again_as_one(self):
        """With a full batch each at all sizes; with one batch between them, where it is large enough."""
        assert min(row["same share"] for row in RECORD["throughput"]) >= 1.5
        assert max(row["same batch"] for row in RECORD["throughput"]) >= 1.5

    def test_how_late_gradients_were(self, monkeypatch):
        monkeypatch.setattr(distributed.launch, "find_spec", lambda name: None)
        found = ranks.late_or_recorded()
        assert found["source"].startswith("recorded: 3 ranks") and "MPI is not installed" in found["source"]
        assert len(found["late"]) == 43  # the batches of the second epoch
        assert min(found["late"]) >= 0 and 0.5 < np.mean(found["late"]) < 1.5

    @pytest.mark.skipif(not distributed.available(), reason="MPI is not installed (pip install mpi4py mpich)")
    def test_how_late_they_are_here(self):
        found = ranks.late_or_recorded()
        assert found["source"] == "live: 3 ranks on this machine" and len(found["late"]) == 43

    def test_passes_are_joined_by_their_medians(self):
        passes = [
            [{"ranks": 2, "algorithm": "ring", "bytes": 4, "seconds": s, "quartiles": [s - 1, s + 2]}]
            for s in (3.0, 9.0, 5.0)
        ]
        (row,) = ranks.joined(passes)
        assert row["seconds"] == 5 and row["quartiles"] == [4, 7] and row["passes"] == [3, 9, 5]
        assert (row["ranks"], row["algorithm"], row["bytes"]) == (2, "ring", 4)

    def test_the_largest_errors_are_those_of_the_most_ranks(self):
        sizes = np.geomspace(1e3, 1e6, 9)
        link = scaling.Link("truth", ((np.inf, 1e-5, 1e-9),), lanes=2)
        rows = []
        for p, n in itertools.product((2, 3, 4), sizes):
            took = scaling.all_reduce_seconds(link, "ring", p, n)
            twice = took if p < 4 else 2 * took  # what the second pass has for four ranks
            rows.append(
                {"ranks": p, "algorithm": "ring", "bytes": n, "seconds": took, "passes": [took, twice]}
            )
        over_all, each = ranks.largest_errors(rows, "ring")
        assert over_all == pytest.approx(0, abs=1e-6) and each == pytest.approx([0, 0.5], abs=1e-6)

    def test_where_it_was_recorded(self):
        about = RECORD["about"]
        assert about["date"] and about["devices"]["cpu"] and about["versions"]["mpich"]


def test_a_window_of_a_timeline():
    spans = ranks.recorded("data parallel")["spans"]
    part = gantt.draw(spans, start=0.0, stop=0.01)
    assert "10.0 ms" in part.get_label()
    with pytest.raises(ValueError, match="stop must be after start"):
        gantt.draw(spans, start=1.0, stop=0.5)
