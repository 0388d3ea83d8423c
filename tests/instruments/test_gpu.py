"""`make gpu`, rehearsed: every line of it runs here, on a GPU that is not there and at tiny sizes."""

import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

import minidl.hardware
import minidl.kernels
import minidl.ops
from minidl.__main__ import main
from minidl.hardware import limits
from minidl.hardware.cuda import cuda
from minidl.hardware.device import Device
from minidl.instruments import stopwatch
from minidl.instruments.gpu import cases, command, inventory, race, training
from minidl.instruments.ptx import CompilerUnavailable
from minidl.instruments.stopwatch import Timing, Timings
from minidl.kernels.ladder import Ladder, Rung
from minidl.layers import (
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
)
from tests.pretended import pretended_gpu


def tiny_gan(side, dropout=0.3):
    generator = Sequential(Dense(3, 5), ReLU(), Dense(5, side * side), Tanh(), Reshape(1, side, side))
    judge = Sequential(Flatten(), Dense(side * side, 5), LeakyReLU(0.2), Dropout(dropout), Dense(5, 1))
    return SimpleNamespace(generator=generator, discriminator=judge, latent=3)


def tiny_conv_gan(side):
    generator = Sequential(
        Dense(3, side * side // 2), ReLU(), Reshape(2, side // 2, side // 2),
        ConvTranspose2d(2, 1, 3, stride=2, padding=1, output_padding=1), Tanh(),
    )  # fmt: skip
    judge = Sequential(Conv2d(1, 2, 3, 2, 1), LeakyReLU(0.2), Flatten(), Dense(side * side // 2, 1))
    return SimpleNamespace(generator=generator, discriminator=judge, latent=3)


def tiny_lenet(side, dropout=0.2):
    left = 2 * (side // 2) ** 2
    return Sequential(
        Conv2d(1, 2, 3, padding=1), ReLU(), MaxPool2d(2), Flatten(), Dropout(dropout), Dense(left, 10)
    )


TINY = {"dense GAN": tiny_gan, "LeNet": tiny_lenet}


def names_of_all_kernels():
    found = {}
    for package in (minidl.hardware, minidl.kernels, minidl.ops):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, value in vars(import_module(module.name)).items():
                if type(value).__module__.startswith("numba.cuda") and hasattr(value, "py_func"):
                    found[id(value)] = f"{module.name}.{name}"
    return found


@pytest.fixture(scope="module")
def launches():
    return inventory.launches()


def test_no_kernel_is_forgotten(launches):
    """One that is launched by no case would be neither compiled, nor traced, nor checked on a GPU."""
    seen = {id(launch.kernel) for launch in launches}
    assert [name for key, name in names_of_all_kernels().items() if key not in seen] == []


def test_cases_are_content_with_what_is_right_and_with_nothing_else():
    for case in cases.cases():
        want = case.want()
        assert cases.Case(case.name, lambda machine, w=want: w, lambda w=want: w).check(None) == "", case.name
        for i, array in enumerate(want):
            if array.size:
                other = [w.copy() for w in want]
                other[i].flat[-1] += other[i].dtype.type(1)
                got = cases.Case(case.name, lambda machine, o=other: o, lambda w=want: w).check(None)
                assert "1 of " in got or not np.isfinite(array.flat[-1]), case.name
    for bad in (np.zeros(2, np.float32), np.zeros(3), np.full(3, np.nan, np.float32)):
        case = cases.Case("", lambda machine, bad=bad: (bad,), lambda: (np.ones(3, np.float32),))
        assert case.check(None)


def test_a_kernel_that_needs_too_much_is_found():
    @cuda.jit
    def wide_kernel(x):
        x[0] = x[0] * 0.1

    collector = inventory.Collector()
    collector.launch(wide_kernel, 1, 32, np.ones(1, np.float32))
    (made,) = inventory.compile_all(collector.launches.values(), ((7, 5),))
    assert "in float64 (compute capability 7.5)" in made.problem
    assert made.launch.name == "wide" and made.launch.threads == 32
    assert "wide" in str(inventory.table([made]))

    @cuda.jit
    def broken_kernel(x):
        x[0] = undefined_name  # noqa: F821

    collector = inventory.Collector()
    collector.launch(broken_kernel, 1, (8, 4), np.ones(1, np.float32))
    (made,) = inventory.compile_all(collector.launches.values())
    assert "does not compile" in made.problem and made.launch.threads == 32
    assert "broken" in str(inventory.table([made]))


def racing_case():
    @cuda.jit
    def racing_kernel(x):
        x[0] += 1

    def run(machine):
        x = machine.upload(np.zeros(1, np.float32))
        machine.launch(racing_kernel, 1, 2, x)
        return (machine.download(x),)

    return cases.Case("racing", run, lambda: (np.full(1, 2, np.float32),))


@pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
def test_without_a_gpu_a_finding_fails(capsys):
    fine = next(case for case in cases.cases() if case.name.startswith("Adam, cuda fused"))
    assert command.without_gpu([fine]) == 0
    said = capsys.readouterr().out
    assert "No CUDA GPU" in said and "adam_fused" in said and "no problems found" in said
    assert command.without_gpu([fine, racing_case()]) == 1
    said = capsys.readouterr().out
    assert "WRONG  racing: racing_kernel: " in said and "1 problem found" in said


@pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
def test_without_a_compiler_the_tracer_still_looks(capsys, monkeypatch):
    def compile_all(some):
        raise CompilerUnavailable("no NVVM")
        yield

    monkeypatch.setattr(inventory, "compile_all", compile_all)
    monkeypatch.setattr(cases, "cases", lambda large=False: [racing_case()])
    with pytest.raises(SystemExit) as stopped:
        main(["gpu"])
    assert stopped.value.code == 1
    said = capsys.readouterr().out
    assert "Not compiled: no NVVM" in said and "WRONG  racing" in said


@pytest.mark.skipif(Device("cuda").available, reason="this machine has a GPU")
def test_interrupted_it_says_so(capsys, monkeypatch):
    def interrupt(case):
        raise KeyboardInterrupt

    monkeypatch.setattr(inventory, "trace_case", interrupt)
    assert command.without_gpu([racing_case()]) == 130
    assert "Interrupted." in capsys.readouterr().out


# -------------------------------------------------------------------------------------- with a pretended GPU


@pytest.fixture
def small(monkeypatch):
    """Everything small enough for the tracer."""
    monkeypatch.setattr(limits, "GPU_COPY_SIZE", 1000)
    monkeypatch.setattr(limits, "FMA_TRIPS", 1)
    monkeypatch.setattr(limits, "REPEAT", 1)
    monkeypatch.setattr(stopwatch, "BUSY_TRIPS", 2)
    monkeypatch.setattr(training, "NETWORKS", TINY)
    limits.limits.cache_clear()
    yield
    limits.limits.cache_clear()


def test_the_checks_find_what_is_wrong_and_only_that(small, tmp_path, capsys, monkeypatch):
    some = [
        case
        for case in cases.cases()
        if case.name.startswith(("Adam", "softmax", "transpose", "sum, cuda w"))
    ]
    broken = cases.Case("broken", some[0].run, lambda: (np.zeros(1),) * 4)

    def failing(machine):
        raise RuntimeError("no such kernel")

    some += [broken, cases.Case("failing", failing, lambda: ())]
    monkeypatch.setattr(cases, "cases", lambda large=False: [] if large else some)
    record = tmp_path / "records" / "pretended.json"
    with pretended_gpu():
        code = command.run(8, record, ["checks"])
    said = capsys.readouterr().out
    assert code == 1 and said.count("WRONG  broken") == 2  # when it is found, and at the end
    assert "RuntimeError: no such kernel" in said and f"{len(some)} calls of CUDA functions checked" in said
    (content,) = json.loads(record.read_text("utf-8"))
    about = content["provenance"]
    assert content["ladder"] == "GPU checks" and len(about["checks"]["wrong"]) == 2
    assert about["devices"]["cuda"] == "Pretended GPU" and "driver" in about
    assert "between events" in about["method"]


def test_operations_and_trainings_come_out_right(small, tmp_path, capsys):
    record = tmp_path / "pretended.json"
    with pretended_gpu():
        code = command.run(8, record, ["operations", "training"], side=4, batch=2, rounds=1, m=3, n=5)
    said = capsys.readouterr().out
    assert code == 0, said
    assert "19 operations checked" in said and "launches per step" in said
    contents = {content["ladder"]: content for content in json.loads(record.read_text("utf-8"))}
    steps = Timings.from_json(json.dumps(contents["training step"]))
    assert {timing.workload for timing in steps.results} == {f"{name}, side 4, batch 2" for name in TINY}
    assert all(timing.seconds for timing in steps.results)
    notes = contents["GPU checks"]["provenance"]["checks"]
    assert notes["operations checked"] == 19 and notes["launches per step, LeNet"] > 10
    assert "training step: dense GAN, side 4, batch 2" in said


def test_the_race_times_every_rung_and_is_recorded_as_it_goes(small, tmp_path, capsys):
    record = tmp_path / "pretended.json"
    with pretended_gpu(run=lambda *_, **__: None):  # what the kernels compute is of no matter here
        code = command.run(8, record, ["race"], numbers=8192, product=16, rounds=2)
    said = capsys.readouterr().out
    assert code == 0, said
    contents = {content["ladder"]: content for content in json.loads(record.read_text("utf-8"))}
    for name, ladder in cases.ladders().items():
        if name in ("batch matrix-vector product", "quantized matmul"):
            continue
        timings = Timings.from_json(json.dumps(contents[name]))
        for workload in timings.workloads:
            timed = {timing.rung: timing for timing in timings.of(workload)}
            assert list(timed) == [rung.name for rung in ladder.on("cuda")]
            for timing in timed.values():
                assert len(timing.seconds) == 2 and timing.call > 0 and timing.copies > 0, timing
    assert "roofs: device-to-device copy" in said
    for what in ("sliding average, cuda doubling: 8,192, window 256", "matmul, cuda vector: 16 × 16"):
        assert what in said
    assert "nothing to compare with" in said
    read_by_the_book(record)


def read_by_the_book(record):
    """A page that shows recorded times finds them, and minds no others."""
    folder = record.parent / "figures" / "records"
    folder.mkdir(parents=True)
    (folder / "pretended.json").write_bytes(record.read_bytes())
    with mock.patch.object(stopwatch.resources, "files", lambda package: record.parent / package):
        (matmul,) = stopwatch.recorded("matmul")
        (checks,) = stopwatch.recorded("GPU checks")
        assert stopwatch.recorded("no such") == []
    assert matmul.source().startswith("recorded: ") and "Pretended GPU" in matmul.source()
    assert "cuda vector" in str(matmul.table()) and checks.results == ()
    assert "cuda vector" in matmul.plot().get_label()


def test_time_runs_out_and_what_is_left_out_is_said(small, tmp_path, capsys):
    record = tmp_path / "pretended.json"
    with pretended_gpu():
        stages = ["checks", "training", "race", "sanitizer"]
        assert command.run(1e-6, record, stages, side=4, batch=2, numbers=2048, product=4) == 0
    said = capsys.readouterr().out
    assert "left out: the race of matmul: 4 × 4" in said and "left out: the training of a dense GAN" in said
    assert json.loads(record.read_text("utf-8"))[0]["provenance"]["checks"]["left out"]


def test_interrupted_what_was_measured_is_on_record(small, tmp_path, capsys, monkeypatch):
    ran = []

    def run(entry, **_):
        ran.append(entry)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return Timings(entry.ladder, (Timing("cuda doubling", "cuda", entry.workload, (1.0,)),), {})

    monkeypatch.setattr(race, "run", run)
    record = tmp_path / "pretended.json"
    with pretended_gpu():
        command.run(8, record, ["race", "sanitizer"], numbers=2048, product=4)
    said = capsys.readouterr().out
    assert "left out: interrupted" in said and "sanitizer" not in said
    assert [c["ladder"] for c in json.loads(record.read_text("utf-8"))] == ["GPU checks", "sliding average"]


def test_a_stage_that_fails_does_not_stop_the_next(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command.WithGpu, "operations", lambda self: 1 / 0)
    monkeypatch.setattr(command, "find_sanitizer", lambda: None)
    with pretended_gpu():
        assert command.run(8, tmp_path / "r.json", ["operations", "sanitizer"]) == 1
    said = capsys.readouterr().out
    assert "ZeroDivisionError" in said and "compute-sanitizer was not found" in said


# ---------------------------------------------------------------------------------------------- the scores


def scored(bar, **medians):
    entry = race.Race("sum", "w", (), {name: None for name in medians if name.endswith(" cuda")}, (bar,), 800)
    results = tuple(Timing(name, "cuda", "w", (seconds,)) for name, seconds in medians.items())
    with mock.patch.object(race, "limits", lambda kind: SimpleNamespace(copy_bandwidth=100.0)):
        (score,) = race.scores(entry, Timings("sum", results))
    return score


def test_bars_are_shares_of_the_copy_or_of_the_best_peer():
    score = scored(race.Bar("ours", "copy", 0.85), ours=10.0)
    assert score.share == pytest.approx(0.8) and score.passed is False
    score = scored(race.Bar("ours", "cuBLAS", 0.65), ours=10.0, **{"torch cuda": 9.0, "cupy cuda": 7.0})
    assert score.share == pytest.approx(0.7) and score.passed and score.against == "cupy cuda, 7 s"
    assert scored(race.Bar("ours", "cuBLAS", 0.65), ours=10.0).passed is None
    assert scored(race.Bar("absent", "copy", 0.65), ours=10.0).passed is None


# ------------------------------------------------------------------------------------------- the sanitizer


@pytest.mark.parametrize(
    ("prints", "says"),
    [
        ("right: a\nright: b\n========= ERROR SUMMARY: 0 errors", "0 errors in 2 calls"),
        (
            "right: a\n========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)",
            "0 errors in 1",
        ),
        (
            "========= Invalid __global__ write of size 4 bytes\n========= ERROR SUMMARY: 3 errors",
            "3 errors; Invalid __global__ write of size 4 bytes",
        ),
        ("Device not supported", "could not be run: Device not supported"),
    ],
)
def test_what_the_sanitizer_says(prints, says, tmp_path):
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!{sys.executable}\nprint({prints!r})\n")
    program.chmod(0o755)
    assert command.sanitize(str(program), "memcheck", 20).startswith(says)


def test_a_sanitizer_that_takes_too_long_or_is_not_there(tmp_path, monkeypatch):
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!{sys.executable}\nimport time\nprint('right: a', flush=True)\ntime.sleep(30)\n")
    program.chmod(0o755)
    assert command.sanitize(str(program), "memcheck", 3) == "stopped after 3 s, 1 calls were fine"
    assert command.sanitize(str(tmp_path / "none"), "memcheck", 3).startswith("could not be run: ")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.find_sanitizer() == str(program)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert command.find_sanitizer() is None


def test_what_the_sanitizer_watches(capsys, monkeypatch):
    some = [case for case in cases.cases() if case.name.startswith("Adam")]
    monkeypatch.setattr(cases, "cases", lambda large=False: some)
    with pretended_gpu():
        command.only_small_cases()
    assert capsys.readouterr().out.count("right: ") == len(some)


# ---------------------------------------------------------------------------------------------- PyTorch


def test_pytorchs_step_is_ours(monkeypatch):
    """The same network, weights, pictures and losses; only then it is the same race."""
    torch = pytest.importorskip("torch", reason="PyTorch, the rival, is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    quiet = {
        "dense GAN": lambda side: tiny_gan(side, dropout=0.0),
        "convolutional GAN": tiny_conv_gan,
        "LeNet": lambda side: tiny_lenet(side, dropout=0.0),
    }
    monkeypatch.setattr(training, "NETWORKS", quiet)
    for name in quiet:
        ours, theirs = (
            training.OurTraining(name, "cpu", side=4, batch=3),
            training.torch_step(name, side=4, batch=3),
        )
        for _ in range(3):
            row, other = ours.step(), theirs()
            if name == "LeNet":
                assert row["loss"] == pytest.approx(other, rel=1e-4)
            else:
                keys = ("discriminator_loss", "generator_loss", "for_data", "for_drawings")
                assert [row[key] for key in keys] == pytest.approx(list(other), rel=1e-3)


def test_the_networks_are_the_books(monkeypatch):
    for name in training.NETWORKS:
        ours = training.OurTraining(name, "cpu", side=8, batch=3)
        assert all(np.isfinite(value) for value in ours.step().values())
        assert ours.inputs.min() >= 0 and training.SIDE == 28
    torch = pytest.importorskip("torch", reason="PyTorch, the rival, is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    for name in training.NETWORKS:
        assert np.isfinite(training.torch_step(name, side=8, batch=3)()).all()


# -------------------------------------------------------------------------------------------- what it needs

BLOCKING = """
import sys
missing = "ipywidgets IPython mpi4py matplotlib sklearn scipy pygraphviz safetensors onnx torch jax cupy"
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
import minidl.hardware, minidl.kernels, minidl.ops, minidl.graph, minidl.layers, minidl.models, minidl.tasks
import minidl.models.gan, minidl.models.lenet, minidl.instruments.stopwatch, minidl.instruments.bench
import minidl.instruments.gpu.command
from minidl.instruments import stopwatch
print(stopwatch.provenance()["versions"]["numpy"])
"""


def test_a_machine_for_computing_has_no_notebooks():
    """The layers, the stopwatch and this command import with numpy, numba and three small packages."""
    done = subprocess.run([sys.executable, "-c", BLOCKING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == np.__version__


# --------------------------------------------------------------------------------- the stopwatch on the GPU


def test_kernels_calls_and_copies_are_told_apart(small):
    seen = []

    @cuda.jit
    def twice_kernel(x, y):
        i = cuda.grid(1)
        if i < y.size:
            y[i] = x[i] + x[i]

    def twice(x, out=None, machine=None):
        from minidl.hardware.machine import GPU

        machine = machine or GPU
        result = machine.empty(x.shape, x.dtype) if out is None else out
        machine.launch(twice_kernel, 1, 32, machine.upload(x), result)
        seen.append(out is not None)
        return result

    def both(x, machine=None):
        return twice(x, machine=machine), twice(x, machine=machine)

    account = {"bytes": lambda n, itemsize=4: 8 * n, "flops": lambda n: n}
    rungs = Rung("twice", "cuda", twice, "", **account), Rung("both", "cuda", both, "", **account)
    ladder = Ladder("twice", rungs, shape=lambda x: (x.size,))
    x = np.ones(7, np.float32)
    with pretended_gpu() as gpu:
        timings = stopwatch.compare(
            ladder, {"w": (x,)}, repeat=3, peers={"peer cuda": lambda x: None, "peer": lambda x: None}
        )
    launched = [kernel.py_func.__name__ for kernel, _ in gpu.launched]
    assert "keep_busy_kernel" in launched and True in seen and False in seen
    for name in ("twice", "both"):
        timing = timings[name, "w"]
        assert len(timing.seconds) == 3 and timing.copies > 0 and timing.call > 0 and timing.floor > 0
    peer = timings["peer cuda", "w"]
    assert peer.device == "peer" and len(peer.seconds) == 3 and peer.call > 0 and peer.copies is None
    assert timings["peer", "w"].call is None
    assert "(call " in str(timings)
    assert (
        timings.provenance["method"].startswith(stopwatch.METHOD) and "events" in timings.provenance["method"]
    )
