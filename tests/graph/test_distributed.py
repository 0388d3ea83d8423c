"""Many processes against one: the same sums, the same weights; what goes wrong ends the job and says why."""

import itertools
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from minidl.graph import distributed
from minidl.graph.distributed import (
    Alone,
    JobFailed,
    MpiUnavailable,
    Span,
    Timeline,
    available,
    choose,
    launch,
    merged,
    pipeline,
    ring_steps,
    run,
    shares,
    timeline,
)
from minidl.tasks import fit
from tests.graph import ranks

needs_mpi = pytest.mark.skipif(not available(), reason="MPI is not installed (pip install mpi4py mpich)")


@pytest.fixture(scope="module")
def four():
    """Everything that is asked of four ranks, and of two and three of them, done in one job."""
    return run(ranks.everything, 4, timeout=300)  # some 15 s on two idle cores


@pytest.fixture(scope="module")
def alone():
    return {rule: ranks.trained(None, rule) for rule in ("adam", "sgd")}


def far(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@needs_mpi
class TestAllReduce:
    @pytest.mark.parametrize("count", [2, 3, 4])
    @pytest.mark.parametrize("how", distributed.ALGORITHMS)
    def test_every_rank_gets_the_sum(self, four, how, count):
        for i, (size, dtype) in enumerate(ranks.SIZES):
            parts = [ranks.values(rank, size, dtype).astype(np.float64) for rank in range(count)]
            for rank in range(count):
                got = four[rank]["sums", count, how][i]
                assert got.dtype == dtype
                np.testing.assert_allclose(
                    got, np.sum(parts, axis=0), atol=1e-5 if dtype == "float32" else 1e-13
                )
                np.testing.assert_array_equal(got, four[0]["sums", count, how][i])

    def test_what_comes_in_lies_in_memory_that_was_lent(self, four):
        assert four[0]["lent"] == [True, True, False]  # the last one is larger

    def test_bad_arrays_are_refused(self, four):
        assert four[0]["refused"] == {
            "list": "TypeError: array must be a NumPy array, got list",
            "integers": "TypeError: array must hold float32 or float64, got int64; "
            "convert it first, for instance array.astype('float32')",
            "gaps": "ValueError: array must be writable and lie in memory without gaps",
            "algorithm": "ValueError: all_reduce must be one of ring, tree, server, shared, mpi, got 'rung'",
        }


@needs_mpi
class TestTraining:
    @pytest.mark.parametrize("rule", ["adam", "sgd"])
    @pytest.mark.parametrize("name", ranks.WAYS)
    def test_gives_the_weights_of_one_process(self, four, alone, name, rule):
        count = ranks.WAYS[name][0]
        losses, weights = alone[rule]
        for rank in range(count):
            their_losses, theirs = four[rank]["trained", name, rule]
            assert far(theirs, weights) < 1e-5
            np.testing.assert_allclose(their_losses, losses, rtol=1e-5)
            np.testing.assert_array_equal(theirs, four[0]["trained", name, rule][1])

    def test_ring_and_library_agree(self, four):
        assert (
            far(four[0]["trained", "ring of 4", "adam"][1], four[0]["trained", "mpi of 4", "adam"][1]) < 1e-6
        )

    @pytest.mark.parametrize("rule", ["adam", "sgd"])
    def test_downpour_without_staleness_is_plain_descent(self, four, alone, rule):
        np.testing.assert_array_equal(four[0]["trained", "downpour 0 of 3", rule][1], alone[rule][1])

    @pytest.mark.parametrize("staleness", [1, 5])
    def test_downpour_uses_gradients_as_old_as_it_says(self, four, staleness):
        expected = ranks.stale(staleness)
        for rank in range(3):
            np.testing.assert_allclose(four[rank]["stale", staleness], expected, rtol=1e-5, atol=1e-6)
        assert far(expected, ranks.stale(0)) > 1e-4

    def test_downpour_as_they_come_uses_every_gradient(self, four):
        late = four[0]["free"]
        assert len(late) == 20 and min(late) >= 0 and max(late) <= 19

    def test_a_gan_is_the_same_too(self, four):
        expected = ranks.gan()
        for rank in range(2):
            assert far(four[rank]["gan"], expected) < 1e-5

    def test_more_ranks_than_examples(self, four):
        expected = ranks.trained(None, "sgd", 2, count=9, batch_size=4)[1]
        assert far(four[3]["few"], expected) < 1e-5

    def test_an_unused_parameter_stays_without_gradient(self, four):
        assert four[0]["unused"] == (True, False)

    def test_gradients_add_up_over_passes(self, four):
        for how in ("mpi", "shared"):
            loss, once, twice = four[1]["passes", how]
            assert loss == 12  # the mean over the ranks of 3 · 2 and 3 · 6
            np.testing.assert_array_equal(once, [4, 4, 4])
            np.testing.assert_array_equal(twice, [7, 7, 7])

    def test_the_timeline_is_in_order(self, four):
        spans = merged([result["spans"] for result in four[:2]])
        assert {span.rank for span in spans} == {0, 1}
        assert {"compute", "send", "wait", "transfer"} >= {span.kind for span in spans} >= {"compute", "wait"}
        for rank in (0, 1):
            own = [span for span in spans if span.rank == rank and span.kind != "transfer"]
            for first, second in itertools.pairwise(own):
                assert first.stop <= second.start + 1e-6


@needs_mpi
class TestRefused:
    @pytest.mark.parametrize(
        ("name", "both"),
        [
            ("model", ("0.weight is float32 (16, 12) on rank 0 and float32 (17, 12) on rank 1",)),
            ("examples", ("inputs is float32 (40, 12) on rank 0 and float32 (40, 13) on rank 1",)),
            ("batch", ("batch_size is 20 on rank 0 and 10 on rank 1",)),
            ("rate", ("lr=0.1", "lr=0.2")),
        ],
    )
    def test_ranks_that_differ(self, four, name, both):
        for rank in range(2):
            kind, message = four[rank]["mismatch", name]
            assert kind == "Mismatch"
            assert all(text in message for text in both), message

    def test_an_algorithm_for_one_network_with_two(self, four):
        assert four[0]["two networks"].startswith(
            "ValueError: Downpour(1 workers, staleness=0) trains one network"
        )

    def test_too_few_layers(self, four):
        assert "needs a Sequential of at least as many layers" in four[0]["few layers"]

    def test_clip_in_a_pipeline(self, four):
        assert "clip needs all gradients in one place" in four[0]["clip"]


@needs_mpi
class TestFailure:
    def test_a_killed_rank_ends_the_job(self):
        start = time.monotonic()
        with pytest.raises(JobFailed, match=r"rank 1 of 2 ended the job: Killed \(signal 9\)"):
            run(ranks.dies, 2, timeout=60)
        assert time.monotonic() - start < 50  # and not the minute that rank 0 would have waited

    def test_an_error_on_one_rank_ends_the_job(self):
        with pytest.raises(JobFailed, match=r"rank 1 of 2 failed(.|\n)*ValueError: on purpose"):
            run(ranks.fails, 2, timeout=60)

    def test_a_silent_rank_is_reported(self):
        with pytest.raises(JobFailed, match=r"rank 0 has waited 1 s for (.|\n)*does not answer"):
            run(ranks.sleeps, 2, timeout=60)

    def test_time_that_is_over(self):
        with pytest.raises(JobFailed, match="not done after 4 s"):
            run(time.sleep, 1, 600, timeout=4)

    def test_what_cannot_be_sent(self):
        with pytest.raises(TypeError, match="pickle can send"):
            run(len, 1, (i for i in range(3)))


@needs_mpi
def test_the_command_line(tmp_path):
    program = launch.command(
        2, "-m", "minidl", "train", "average", "--data-parallel", "ring", "--epochs", "1"
    )
    one = launch.command(1, "-m", "minidl", "train", "average", "--epochs", "1")[3:]
    said = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, env=environment())
        for command in (program, one)
    ]
    assert [result.returncode for result in said] == [0, 0], said
    lines = [result.stdout.splitlines() for result in said]
    assert len(lines[0]) == len(lines[1])  # rank 1 says nothing
    assert lines[0][0] == lines[1][0]  # "epoch 1 of 1: loss …", to four digits


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


class TestWithoutMpi:
    @pytest.fixture(autouse=True)
    def _no_mpi(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
        monkeypatch.setattr(launch, "find_spec", lambda name: None)

    def test_one_process_needs_none(self):
        assert type(choose(None)) is Alone
        assert len(ranks.trained(None, "sgd", 1)[0]) == 1

    @pytest.mark.parametrize("way", ["data", "downpour", "pipeline"])
    def test_asked_for_it_says_what_to_install(self, way):
        with pytest.raises(MpiUnavailable, match="pip install mpi4py mpich"):
            fit(ranks.network(), ranks.examples(), 1, parallel=way, progress=False)

    def test_the_launcher_too(self):
        assert not available()
        with pytest.raises(MpiUnavailable, match="mpiexec -n 2 python"):
            run(len, 2, ())


class TestArguments:
    def test_unknown_way(self):
        with pytest.raises(ValueError, match="parallel must be one of data, downpour, pipeline, got 'date'"):
            choose("date")

    def test_no_way_at_all(self):
        with pytest.raises(TypeError, match="must be a name or a way to train"):
            choose(3)

    def test_no_function(self):
        with pytest.raises(TypeError, match="function must be callable"):
            run(3, 2)


@pytest.mark.parametrize("size", [2, 3, 4, 7])
class TestRing:
    def test_what_one_sends_its_neighbour_expects(self, size):
        steps = [list(ring_steps(rank, size)) for rank in range(size)]
        for rank in range(size):
            for (sent, _, _), (_, expected, _) in zip(steps[rank], steps[(rank + 1) % size], strict=True):
                assert sent == expected

    def test_every_rank_adds_each_other_part_once(self, size):
        for rank in range(size):
            added = [part for _, part, add in ring_steps(rank, size) if add]
            replaced = [part for _, part, add in ring_steps(rank, size) if not add]
            assert sorted(added) == sorted(set(range(size)) - {rank})
            assert sorted(replaced) == sorted(set(range(size)) - {(rank + 1) % size})


class TestPipelineCuts:
    @pytest.mark.parametrize("seed", range(5))
    def test_the_heaviest_stretch_is_as_light_as_can_be(self, seed):
        random = np.random.default_rng(seed)
        weights = random.integers(0, 50, 9).tolist()
        for count in (1, 2, 3, 9):
            cuts = pipeline.balanced(weights, count)
            assert len(cuts) == count - 1 and cuts == sorted(set(cuts))
            assert heaviest(weights, cuts) == min(
                heaviest(weights, other) for other in every_cut(len(weights), count)
            )


def every_cut(n, count):
    return itertools.combinations(range(1, n), count - 1)


def heaviest(weights, cuts):
    edges = [0, *cuts, len(weights)]
    return max(sum(weights[a:b]) for a, b in itertools.pairwise(edges))


class TestTimeline:
    def test_spans_within_spans_cut_them_short(self, monkeypatch):
        clock = iter([0.0, 1.0, 3.0, 6.0])
        monkeypatch.setattr(timeline.time, "perf_counter", lambda: next(clock))
        line = Timeline(rank=2, offset=10.0)
        with line.span("compute", "a"), line.span("wait", "b"):
            pass
        assert line.spans == [
            Span(2, "compute", "a", -10.0, -9.0),
            Span(2, "wait", "b", -9.0, -7.0),
            Span(2, "compute", "a", -7.0, -4.0),
        ]
        assert shares(line.spans) == {
            2: {"compute": pytest.approx(2 / 3), "send": 0.0, "wait": pytest.approx(1 / 3)}
        }

    def test_merged_starts_at_zero_and_survives_json(self):
        lines = [[Span(1, "wait", "", 5.0, 6.0)], [Span(0, "compute", "x", 4.5, 5.5)]]
        spans = merged(lines)
        assert [(span.rank, span.start) for span in spans] == [(0, 0.0), (1, 0.5)]
        assert timeline.from_rows(timeline.to_rows(spans)) == spans

    def test_nothing_recorded(self):
        assert merged([]) == [] and shares([]) == {}
