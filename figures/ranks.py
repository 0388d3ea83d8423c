"""Runs on several processes as the book shows them: live where MPI is installed, otherwise as recorded.

    run = live_or_recorded("data parallel")
    run["source"]                              # "live: 2 ranks …", or why not, and where it was recorded
    gantt.draw(run["spans"], start=…, stop=…)  # figures/gantt.py

`python -m figures.ranks` records all runs anew, into figures/records/ranks.json.
"""

from __future__ import annotations

import itertools
import json
import time
from functools import partial
from importlib import metadata, resources
from pathlib import Path

import numpy as np

from minidl import layers
from minidl.graph import scaling
from minidl.graph.distributed import (
    DataParallel,
    Downpour,
    JobFailed,
    MpiUnavailable,
    Pipeline,
    World,
    available,
    merged,
    run,
    timing,
)
from minidl.graph.distributed.timeline import from_rows, to_rows
from minidl.hardware.threads import use_threads
from minidl.instruments.stopwatch import provenance
from minidl.kernels.arguments import check_integer
from minidl.tasks import SGD, fit, fit_gan
from minidl.tasks.data import Examples, digits

RECORD = "ranks.json"
SIZES = (784, 512, 256, 10)  # the discriminator's, with ten classes in place of one verdict
BATCH, STEPS = 256, 6


def network():
    """Return a dense network of the size of the book's discriminator, the same on every rank."""
    layers.seed(0)
    parts = []
    for inputs, outputs in itertools.pairwise(SIZES):
        parts += [layers.Dense(inputs, outputs), layers.ReLU()]
    return layers.Sequential(*parts[:-1])


def traced_training(way, steps=STEPS):
    """Train for some steps on every rank, and return what this rank did: (spans, loss of each epoch).

    Parameters
    ----------
    way : callable
        way(world=…) → a way to train, such as `DataParallel`.
    steps : int
        After as many to warm up: of fewer, some worker of Downpour might have none.
    """
    random = np.random.default_rng(0)
    examples = Examples(
        random.normal(size=(BATCH, SIZES[0])).astype(np.float32), random.integers(0, SIZES[-1], BATCH)
    )
    model, world = network(), World()
    repeated = Examples(np.tile(examples.inputs, (steps, 1)), np.tile(examples.targets, steps))
    train = partial(
        fit, model, repeated, 1, batch_size=BATCH, optimiser=lambda p: SGD(p, lr=0.1), progress=False
    )
    train(parallel=way(world=world))
    with world.record() as timeline, timeline.span("compute", "the rest"):
        train(parallel=way(world=world))
    return timeline.spans


#: Name → (how many ranks, what each does): what the page can show.
RUNS = {
    "data parallel": (2, partial(DataParallel, "ring", bucket=1 << 18)),
    "data parallel, no overlap": (2, partial(DataParallel, "ring", bucket=1 << 18, overlap=False)),
    "downpour": (3, partial(Downpour)),
    "pipeline, 1 part": (2, partial(Pipeline, 1)),
    "pipeline, 4 parts": (2, partial(Pipeline, 4)),
}


def live(name):
    """Start the processes of one of `RUNS`, and return {"spans", "ranks", "source"}.

    Raises
    ------
    MpiUnavailable, JobFailed
    """
    ranks, way = _known(name)
    spans = merged(run(traced_training, ranks, way, timeout=60))
    return {"spans": spans, "ranks": ranks, "source": f"live: {ranks} ranks on this machine"}


def recorded(name):
    """Return the same from the record that the book brings along."""
    _known(name)
    one = record_of_all()["runs"][name]
    return {"spans": from_rows(one["spans"]), "ranks": one["ranks"], "source": _source(one["ranks"])}


def _source(ranks):
    about = record_of_all()["about"]
    return (
        f"recorded: {ranks} ranks on {about['devices']['cpu']}, {about['cores']} cores, "
        f"{about['date']}, MPICH {about['versions']['mpich']}"
    )


def live_or_recorded(name):
    """Return a live run where MPI is installed; else, or if it fails, the recorded one, which says why."""
    _known(name)
    return _or_else(partial(live, name), partial(recorded, name))


def _or_else(live, recorded):
    """Return what `live` gives, or else `recorded`, whose source then says why."""
    try:
        return live()
    except (MpiUnavailable, JobFailed) as error:
        found = recorded()
        why = "MPI is not installed here" if not available() else str(error).splitlines()[0]
        return {**found, "source": f"{found['source']} ({why})"}


def pour_digits():
    """Train on the digits, and return by how many steps each gradient was late; rank 0 knows."""
    layers.seed(0)
    dense = layers.Dense
    model = layers.Sequential(layers.Flatten(), dense(64, 32), layers.ReLU(), dense(32, 10))
    way = Downpour()
    fit(model, digits().train, 2, batch_size=32, progress=False, parallel=way)
    return way.late


def late_or_recorded():
    """Run `pour_digits` on a server and two workers, live or as recorded; return {"late", "source"}."""
    ranks = 3

    def recorded():
        one = record_of_all()["late"]
        return {"late": one["late"], "source": _source(one["ranks"])}

    return _or_else(
        lambda: {
            "late": run(pour_digits, ranks, timeout=60)[0],
            "source": f"live: {ranks} ranks on this machine",
        },
        recorded,
    )


def _known(name):
    if name not in RUNS:
        raise ValueError(f"name must be one of {', '.join(RUNS)}, got {name!r}")
    return RUNS[name]


def record_of_all():
    """Return the whole record: "about", "runs", "late", "all-reduce" (`joined`), "throughput"."""
    text = resources.files("figures").joinpath("records", RECORD).read_text("utf-8")
    return json.loads(text)


# ------------------------------------------------------------------------------------------ making the record


def throughput(way, batch=BATCH, steps=16, repeat=9):
    """Measure how many images a second the book's dense GAN learns from, alone and on all ranks, in turns.

    Called on every rank. A round is a training on rank 0 alone, one thread, while the others rest, and one
    with its share of the batch only; then one on all ranks with the same batch, and one in which every rank
    has as many examples as rank 0 had alone. Last, all ranks train at once and by themselves: cores share
    caches, memory and more, so this is the most there is.

    Parameters
    ----------
    way : callable
        As for `traced_training`.
    batch : int
        Examples in a step of rank 0 alone.
    steps, repeat : int
        Steps of a training; rounds, after one to warm up.

    Returns
    -------
    dict of str to float
        Medians: "alone", images a second; "same batch", "same share" and "apart", how many times as many in
        the same round; and "free", how many times as many it would be with the same batch if a step took all
        ranks as long as its share takes one alone. "quartiles" has those of the four.
    """
    check_integer("batch", batch, 1)
    world, random = World(), np.random.default_rng(0)
    images = random.uniform(size=(batch * world.size * steps, 784)).astype(np.float32)
    examples, rows = Examples(images, np.zeros(len(images), np.int64)), []

    def train(size, parallel):
        clock = _Clock()
        fit_gan(dense_gan(), examples[: size * steps], 1, batch_size=size, progress=False, parallel=parallel,
                callbacks=[clock])  # fmt: skip
        return size * (steps - 3) / (clock.ends[-1] - clock.ends[2])

    for turn in range(repeat + 1):
        row = []
        with use_threads(1):
            world.barrier()
            if world.rank == 0:
                row += [train(batch, None), world.size * train(-(-batch // world.size), None)]
            for size in (batch, batch * world.size):
                world.barrier()
                row.append(train(size, way(world=world)))
            world.barrier()
            row.append(world.sum(train(batch, None))[0])
        if turn:
            rows.append(row)
    if world.rank:
        return None
    rates, names = np.array(rows), ("free", "same batch", "same share", "apart")
    ratios = np.percentile(rates[:, 1:] / rates[:, :1], (25, 50, 75), axis=0)
    return {
        "ranks": world.size,
        "batch": batch,
        "alone": float(np.median(rates[:, 0])),
        **dict(zip(names, ratios[1].tolist(), strict=True)),
        "quartiles": dict(zip(names, ratios[[0, 2]].T.tolist(), strict=True)),
    }


class _Clock:
    """A callback that notes when each batch is done, so that starting and ending a training do not count."""

    def __init__(self):
        self.ends = []

    def __call__(self, training):
        """Nothing at the end of an epoch."""

    def on_batch(self, training):
        """Look at the clock."""
        self.ends.append(time.perf_counter())


class dense_gan:
    """The book's GAN on 28 by 28 images: noise 100 → 256 → 512 → 784, and 784 → 512 → 256 → 1."""

    latent = 100

    def __init__(self):
        layers.seed(0)
        dense, relu = layers.Dense, layers.LeakyReLU
        self.generator = layers.Sequential(
            dense(100, 256), relu(0.2), dense(256, 512), relu(0.2), dense(512, 784), layers.Tanh()
        )
        self.discriminator = layers.Sequential(
            dense(784, 512), relu(0.2), dense(512, 256), relu(0.2), dense(256, 1)
        )


def joined(passes):
    """Return the rows of several calls of `timing.measure` as one: medians over them, and "passes", each."""
    found = []
    for rows in zip(*passes, strict=True):
        seconds = [row["seconds"] for row in rows]
        quartiles = np.median([row["quartiles"] for row in rows], axis=0).tolist()
        found.append(
            {**rows[0], "seconds": float(np.median(seconds)), "quartiles": quartiles, "passes": seconds}
        )
    return found


def largest_errors(rows, algorithm, cores=2):
    """Return by what share a model of fewer ranks is off at most for the most: over all passes, in each."""
    own = [row for row in rows if row["algorithm"] == algorithm]
    most = max(row["ranks"] for row in own)

    def largest(rows):
        link = scaling.fit([row for row in rows if row["ranks"] < most], lanes=cores)
        return max(abs(row["error"]) for row in scaling.compare(link, rows) if row["ranks"] == most)

    each = zip(*(row["passes"] for row in own), strict=True)
    return largest(own), [
        largest([{**row, "seconds": took} for row, took in zip(own, one, strict=True)]) for one in each
    ]


def make():
    """Run everything here and return the record, which JSON can hold."""
    about = provenance()
    about["method"] = (
        "ranks of MPICH on one machine, one thread each; times from time.perf_counter; all in one go, with "
        "nothing else running. All-reduces: every rank bound to a core, medians over 8 visits, then over "
        "four passes, minutes apart. Throughput: medians of 9 rounds"
    )
    for package in ("mpi4py", "mpich"):
        about["versions"][package] = metadata.version(package)
    sizes = sorted([1 << power for power in range(10, 25)] + [3 << power for power in range(9, 23)])
    runs = {}
    for name, (ranks, _) in RUNS.items():
        runs[name] = {"ranks": ranks, "spans": to_rows(live(name)["spans"])}
    late = {"ranks": 3, "late": run(pour_digits, 3, timeout=60)[0]}
    passes, rates, way = [], [], partial(DataParallel, "shared")
    often = {"repeat": 160, "seconds": 0.47, "visits": 8}
    for batch in (64, 128, 256, 512):  # the all-reduces in between, so that they are minutes apart
        passes.append(run(timing.measure, 4, sizes, ranks=(2, 3, 4), timeout=120, **often)[0])
        rates.append(run(throughput, 2, way, batch, timeout=120)[0])
    return {
        "about": about,
        "runs": runs,
        "late": late,
        "all-reduce": joined(passes),
        "throughput": rates,
    }


if __name__ == "__main__":
    file = Path(__file__).parent / "records" / RECORD
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(make(), separators=(",", ":"), ensure_ascii=False) + "\n", "utf-8")
    print(file)
