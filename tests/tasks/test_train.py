"""Training: it learns, it is the same every time, it stops when told, and it can be taken up again."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from minidl import graph, layers
from minidl.hardware.device import Device, DeviceUnavailable
from minidl.tasks import SGD, Adam, checkpoint, evaluate, fit, fit_began, fit_gan, mse, predict, schedules
from minidl.tasks.data import Dataset, Examples
from tests.tasks.conftest import small_gan, small_network

QUIET = {"progress": False}


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


# ---------------------------------------------------------------------------------------------- it learns


def test_it_learns_and_says_what_happened(examples):
    model = small_network(dropout=0.0)
    data = Dataset("lines", examples[:100], examples[100:])
    history = fit(model, data, 40, batch_size=20, optimiser=lambda p: Adam(p, lr=0.01), **QUIET)
    assert len(history) == 40 and history["epoch"] == list(range(1, 41)) and history.stopped == "epochs"
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["test_accuracy"][-1] > 0.75
    found = evaluate(model, examples[100:])
    assert found["loss"] == history["test_loss"][-1] and found["accuracy"] == history["test_accuracy"][-1]
    assert not model.training
    assert "40 epochs, epochs" in repr(history) and "<td>" in history._repr_html_()
    with pytest.raises(KeyError, match="'fun' was not measured; there are"):
        history["fun"]


def test_the_steps_are_those_of_pytorch(examples):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    model = small_network(dropout=0.0)
    twin = torch.nn.Sequential(
        torch.nn.Linear(6, 12, bias=False), torch.nn.BatchNorm1d(12), torch.nn.Tanh(), torch.nn.Identity(),
        torch.nn.Linear(12, 3),
    )  # fmt: skip
    twin.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
    optimiser = torch.optim.Adam(twin.parameters(), lr=0.01)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 5 * 8)
    losses = []
    for epoch in range(5):
        order = np.random.default_rng([3, 2, epoch]).permutation(150)
        total = 0.0
        for start in range(0, 150, 20):
            part = order[start : start + 20]
            x, y = torch.tensor(examples.inputs[part]), torch.tensor(examples.targets[part])
            loss = torch.nn.functional.cross_entropy(twin(x), y)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
            optimiser.step()
            rates.step()
            total += loss.item() * len(part)
        losses.append(total / 150)
    history = fit(
        model, examples, 5, batch_size=20, seed=3, clip=0.5, schedule=schedules.Cosine(),
        optimiser=lambda params: Adam(params, lr=0.01), **QUIET,
    )  # fmt: skip
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-3)
    for name, value in twin.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], value.numpy(), rtol=5e-3, atol=5e-4)


def test_the_same_seed_gives_the_same_parameters_and_another_others(examples):
    states = []
    for seed in (1, 1, 2):
        model = small_network()
        np.random.default_rng().normal()  # what else is drawn does not matter
        fit(
            model,
            examples,
            3,
            seed=seed,
            augment=lambda x, g: x + g.normal(0, 0.01, x.shape).astype("f4"),
            **QUIET,
        )
        states.append(model.state_dict())
    same(states[0], states[1])
    assert (states[0]["0.weight"] != states[2]["0.weight"]).any()


def test_a_regression_with_metrics_of_its_own(examples):
    data = Examples(examples.inputs, examples.inputs @ np.ones((6, 1), np.float32))
    layers.seed(0)
    history = fit(
        layers.Dense(6, 1), data, 100, loss=mse, batch_size=10, optimiser=lambda p: Adam(p, 0.05),
        validation=0.2, metrics={"worst": lambda out, y: np.abs(out - y).max()}, **QUIET,
    )  # fmt: skip
    assert history["validation_worst"][-1] < 0.05 and "validation_accuracy" not in history.names


def test_predict_leaves_the_mode_and_records_nothing(examples):
    model = small_network()
    model.train()
    model[3].training = False
    out = predict(model, examples.inputs, batch_size=7)
    assert [layer.training for _, layer in model.layers()] == [True, True, True, True, False, True]
    np.testing.assert_allclose(out, predict(model, examples.inputs), rtol=1e-5, atol=1e-6)
    assert isinstance(out, np.ndarray) and out.shape == (150, 3)
    with pytest.raises(ValueError, match="inputs are empty"):
        predict(model, examples.inputs[:0])


# ------------------------------------------------------------------------------------------- when it stops


def test_patience_keeps_the_best_epoch(examples):
    model = small_network(dropout=0.0)
    seen = []
    history = fit(
        model, examples[:30], 300, validation=examples[100:], patience=4,
        optimiser=lambda p: Adam(p, lr=0.1), callbacks=[lambda t: seen.append(t.model.state_dict())], **QUIET,
    )  # fmt: skip
    losses = history["validation_loss"]
    assert history.stopped == "patience" and len(history) < 300
    assert history.best == int(np.argmin(losses)) + 1 == len(history) - 4
    same(model.state_dict(), seen[history.best - 1])


def test_a_callback_can_stop_it_after_a_batch_or_an_epoch(examples):
    class After:
        def on_batch(self, training):
            training.stop = (training.epoch, training.batch) == (1, 2)

    history = fit(small_network(), examples, 9, batch_size=50, callbacks=[After()], **QUIET)
    assert history.stopped == "callback" and len(history) == 1

    def stop(training):
        training.stop = training.epoch == 2

    assert len(fit(small_network(), examples, 9, callbacks=[stop], **QUIET)) == 2


def test_a_loss_that_is_no_number_is_said_where_and_changes_nothing(examples):
    model = small_network()
    before = model.state_dict()
    bad = Examples(np.full((10, 6), np.nan, np.float32), np.zeros(10, int))
    with pytest.raises(FloatingPointError, match="loss became nan in epoch 1, batch 1: try a smaller"):
        fit(model, bad, 2, **QUIET)
    np.testing.assert_array_equal(model.state_dict()["0.weight"], before["0.weight"])


def test_no_epochs_is_no_training(examples):
    model = small_network()
    before = model.state_dict()
    assert len(fit(model, examples, 0, **QUIET)) == 0
    same(model.state_dict(), before)


def test_the_learning_rate_follows_the_schedule_and_comes_back(examples):
    model = small_network()
    optimiser = SGD(model.parameters(), lr=0.5)
    history = fit(model, examples, 4, optimiser=optimiser, schedule=schedules.Steps(2, 0.1), **QUIET)
    np.testing.assert_allclose(history["lr"], [0.5, 0.5, 0.05, 0.05])
    assert optimiser.lr == 0.5


@pytest.mark.parametrize("theirs, ours", [
    ("StepLR(o, 3, 0.5)", schedules.Steps(3, 0.5)),
    ("ExponentialLR(o, 0.9)", schedules.Exponential(0.9)),
    ("CosineAnnealingLR(o, 10, eta_min=0.2)", schedules.Cosine(floor=0.2)),
])  # fmt: skip
def test_schedules_are_those_of_pytorch(theirs, ours):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    o = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = eval(f"torch.optim.lr_scheduler.{theirs}", {"torch": torch, "o": o})
    for epoch in range(10):
        assert ours(epoch, 10) == pytest.approx(schedule.get_last_lr()[0])
        o.step()
        schedule.step()


def test_warm_up_begins_at_nothing():
    schedule = schedules.Cosine(warmup=2)
    assert [schedule(t, 10) for t in (0, 1, 2, 10)] == [0, 0.5, 1, 0]
    with pytest.raises(ValueError, match="every must be above 0"):
        schedules.Steps(0)


# ------------------------------------------------------------------------------------------ GANs


def test_a_gan_learns_where_the_data_is(examples):
    gan = small_gan()
    data = Examples((0.2 + 0.1 * examples.inputs), examples.targets)  # from 0.2 to 0.3
    fast = (lambda p: Adam(p, lr=3e-3, betas=(0.5, 0.999)),) * 2
    history = fit_gan(gan, data, 60, batch_size=50, optimisers=fast, **QUIET)
    z = np.random.default_rng(0).standard_normal((200, 4), dtype=np.float32)
    drawn = (predict(gan.generator, z) + 1) / 2
    assert drawn.shape == (200, 6) and abs(drawn.mean() - 0.25) < 0.08
    assert {"generator_loss", "discriminator_loss", "for_data", "for_drawings"} <= set(history.names)
    assert all(0 < p < 1 for p in history["for_data"] + history["for_drawings"])


def test_a_began_steers_k_as_the_paper_says(examples):
    gan, seen = small_gan(began=True), []

    class Note:
        def on_batch(self, training):
            seen.append((dict(training.latest), training.recipe.numbers["k"]))

    history = fit_began(gan, examples, 20, batch_size=50, gamma=1.0, rate=0.5, callbacks=[Note()], **QUIET)
    for now, k in seen:
        balance = 1.0 * now["data_loss"] - now["generator_loss"]
        assert k == pytest.approx(min(max(now["k"] + 0.5 * balance, 0), 1))
        assert now["measure"] == pytest.approx(now["data_loss"] + abs(balance))
    assert seen[0][0]["k"] == 0 and max(k for _, k in seen) > 0
    assert history["data_loss"][-1] < history["data_loss"][0]


def test_only_one_of_the_two_learns_in_each_half_step(examples):
    gan = small_gan()
    optimisers = (lambda p: SGD(p, lr=0.0), lambda p: SGD(p, lr=0.5))
    before = gan.generator.state_dict()
    fit_gan(gan, examples, 1, optimisers=optimisers, **QUIET)
    same(gan.generator.state_dict(), before)
    judge = gan.discriminator.state_dict()
    fit_gan(gan, examples, 1, optimisers=optimisers[::-1], **QUIET)
    same(gan.discriminator.state_dict(), judge)


# --------------------------------------------------------------------------------------------- checkpoints


def train_part(kind, epochs, examples, **options):
    """Train one of the three kinds; return all parameters, by name."""
    if kind == "fit":
        model = small_network()
        model[3].generator = np.random.default_rng(5)  # a layer with random numbers of its own
        history = fit(
            model, examples[:100], epochs, batch_size=30, validation=0.2, patience=50, seed=4, clip=1.0,
            **options, **QUIET,
        )  # fmt: skip
        return model.state_dict(), history
    gan = small_gan(began=kind == "began")
    history = (fit_began if kind == "began" else fit_gan)(
        gan, examples, epochs, batch_size=30, **options, **QUIET
    )
    return {**gan.generator.state_dict(), "judge": gan.discriminator.state_dict()["0.weight"]}, history


class Stop:
    def __init__(self, epoch, batch):
        self.at = epoch, batch

    def on_batch(self, training):
        training.stop = (training.epoch, training.batch) == self.at


@pytest.mark.parametrize("kind", ["fit", "gan", "began"])
def test_stopped_anywhere_and_taken_up_it_ends_in_the_same_place(kind, examples, tmp_path):
    straight, history = train_part(kind, 5, examples)
    file = tmp_path / "new folder" / "run.safetensors"
    for stop in (Stop(1, 2), Stop(2, 1), Stop(3, 2)):
        train_part(kind, 5, examples, checkpoint=file, callbacks=[stop])
    state, taken_up = train_part(kind, 5, examples, checkpoint=file)
    same(state, straight)
    for row, other in zip(history.rows, taken_up.rows, strict=True):
        assert {k: v for k, v in row.items() if k != "seconds"} == {
            k: v for k, v in other.items() if k != "seconds"
        }
    again, _ = train_part(kind, 5, examples, checkpoint=file)  # nothing left to do
    same(again, straight)
    longer, _ = train_part(kind, 7, examples, checkpoint=file)
    same(longer, train_part(kind, 7, examples)[0])
    assert os.listdir(file.parent) == [file.name]


SCRIPT = """
    import sys, time
    import numpy as np
    from minidl import layers
    from minidl.tasks import fit
    from minidl.tasks.data import Examples
    x = np.random.default_rng(0).uniform(0, 1, (64, 6)).astype(np.float32)
    layers.seed(0)
    model = layers.Sequential(layers.Dense(6, 16), layers.ReLU(), layers.Dropout(0.3), layers.Dense(16, 3))
    class Slow:
        def on_batch(self, training):
            print(training.epoch, training.batch, flush=True)
            time.sleep(float(sys.argv[2]))
    history = fit(model, Examples(x, x[:, :3].argmax(1)), 30, batch_size=16, progress=False,
                  checkpoint=sys.argv[1], callbacks=[Slow()])
    print("END", history.stopped, len(history), repr(float(model[0].weight.numpy().sum())), flush=True)
"""


def started(tmp_path, pause):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return subprocess.Popen(
        [sys.executable, script, tmp_path / "run.ckpt", str(pause)], stdout=subprocess.PIPE, text=True
    )


def finished(tmp_path, pause=0):
    out, _ = started(tmp_path, pause).communicate(timeout=120)
    return out.splitlines()[-1]


def wait_for(process, line):
    for said in process.stdout:
        if said.strip() == line:
            return
    pytest.fail(f"it never said {line!r}")


def test_killed_half_way_it_resumes_to_the_same_numbers(tmp_path):
    process = started(tmp_path, 0.02)
    wait_for(process, "3 2")
    process.kill()
    process.communicate()
    _, facts = checkpoint.read(tmp_path / "run.ckpt")
    assert 1 <= facts["epoch"] <= 4
    resumed = finished(tmp_path)
    (tmp_path / "run.ckpt").unlink()
    assert resumed == finished(tmp_path) and resumed.startswith("END epochs 30")


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_leaves_a_checkpoint_in_the_middle_of_an_epoch(tmp_path):
    process = started(tmp_path, 0.02)
    wait_for(process, "2 2")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    said = out.splitlines()[-1]
    assert said.startswith("END interrupted 2")
    _, facts = checkpoint.read(tmp_path / "run.ckpt")
    assert facts["epoch"] == 2 and facts["batch"] >= 2
    resumed = finished(tmp_path)
    (tmp_path / "run.ckpt").unlink()
    assert resumed == finished(tmp_path)


def test_a_second_ctrl_c_interrupts_at_once(examples):
    class Twice:
        def on_batch(self, training):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(small_network(), examples, 2, callbacks=[Twice()], **QUIET)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_checkpoint_of_another_training_is_refused_and_left_alone(examples, tmp_path):
    file = tmp_path / "run"
    fit(small_network(), examples, 2, checkpoint=file, **QUIET)
    content = file.read_bytes()
    for change, says in [
        ({"seed": 5}, "seed was 0 and is 5"),
        ({"batch_size": 3}, "batch_size was 64 and is 3"),
        ({"data": examples[:70]}, "training examples was"),
        ({"optimiser": lambda p: Adam(p, lr=0.5)}, "optimisers was"),
        ({"model": layers.Dense(6, 3)}, "parameters was"),
        ({"loss": lambda a, b: graph.cross_entropy(a, b)}, "loss was"),
        ({"clip": 3.0}, "clip was null and is 3.0"),
    ]:
        given = {"model": small_network(), "data": examples, **change}
        with pytest.raises(ValueError, match=f"checkpoint of another training.*{says}"):
            fit(given.pop("model"), given.pop("data"), 3, checkpoint=file, **given, **QUIET)
        assert file.read_bytes() == content


def test_damaged_or_foreign_files_are_refused(examples, tmp_path):
    file = tmp_path / "run"
    fit(small_network(), examples, 1, checkpoint=file, **QUIET)
    whole = file.read_bytes()
    for content in (b"", b"hello", whole[:100], whole[:-7], b"\xff" * 8 + whole[8:], whole[:8] + b"x" * 500):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="is not a checkpoint of minidl, or is damaged"):
            fit(small_network(), examples, 2, checkpoint=file, **QUIET)
        assert file.read_bytes() == content
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        checkpoint.read(tmp_path / "nothing")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "run"
    checkpoint.write(file, {"a": np.arange(3)}, {"n": 1})
    before = file.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.write(file, {"a": np.zeros(9)}, {"n": 2})
    assert file.read_bytes() == before and os.listdir(tmp_path) == ["run"]
    monkeypatch.undo()
    with pytest.raises(TypeError):
        checkpoint.write(file, {}, {"f": object()})
    arrays, facts = checkpoint.read(file)
    assert arrays["a"].tolist() == [0, 1, 2] and facts == {"n": 1}


def test_what_is_in_a_checkpoint_is_numbers_and_json(examples, tmp_path):
    fit(small_network(), examples, 1, checkpoint=tmp_path / "run", **QUIET)
    content = (tmp_path / "run").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header.pop("__metadata__")["minidl"])["epoch"] == 1
    assert {"network model 0.weight", "optimiser model mean"} <= header.keys()


# ---------------------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"model": None}, TypeError, "model must be a Layer"),
        ({"data": None}, TypeError, "data must be a Dataset"),
        ({"data": Examples(np.zeros((0, 6), "f4"), np.zeros(0, int))}, ValueError, "examples are empty"),
        ({"epochs": -1}, ValueError, "epochs must be at least 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"validation": 1.5}, ValueError, "validation must be a share"),
        ({"validation": "some"}, TypeError, "validation must be a share"),
        ({"validation": 0.001}, ValueError, "leaves one of the two sets empty"),
        ({"patience": 2}, ValueError, "patience needs validation="),
        ({"patience": 0, "validation": 0.5}, ValueError, "patience must be at least 1"),
        ({"clip": 0}, ValueError, "clip must be above 0"),
        ({"schedule": 0.1}, TypeError, "schedule must be a function"),
        ({"callbacks": [3]}, TypeError, "a callback must be a function"),
        ({"device": "tpu"}, ValueError, "kind must be 'cpu' or 'cuda'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(change, error, says, examples):
    given = {"model": small_network(), "data": examples, "epochs": 1, **QUIET, **change}
    with pytest.raises(error, match=says):
        fit(given.pop("model"), given.pop("data"), given.pop("epochs"), **given)


def test_a_gan_that_is_none_is_refused(examples):
    with pytest.raises(TypeError, match=r"must have \.generator, \.discriminator and \.latent"):
        fit_gan(small_network(), examples, 1, **QUIET)
    with pytest.raises(ValueError, match="smooth must be above"):
        fit_gan(small_gan(), examples, 1, smooth=0.2, **QUIET)
    with pytest.raises(ValueError, match="gamma must be from 0 to 1"):
        fit_began(small_gan(began=True), examples, 1, gamma=2, **QUIET)
    with pytest.raises(ValueError, match="discriminator must give images of the shape"):
        fit_began(small_gan(), examples, 1, **QUIET)
    with pytest.raises(ValueError, match="optimisers must be a pair"):
        fit_gan(small_gan(), examples, 1, optimisers=Adam, **QUIET)


def test_without_a_gpu_it_says_what_to_do(examples):
    if Device("cuda").available:
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceUnavailable, match="no CUDA GPU"):
        fit(small_network(), examples, 1, device="cuda", **QUIET)


def test_on_the_gpu_it_is_the_same_training_and_can_be_taken_up(examples, pretend, monkeypatch, tmp_path):
    monkeypatch.setattr(Device, "available", True)
    file, states = tmp_path / "run", []
    for device, callbacks in (("cpu", []), ("cuda", [Stop(0, 1)]), ("cuda", [])):
        layers.seed(0)
        model = layers.Dense(6, 3)
        options = {"checkpoint": file} if device == "cuda" else {}
        history = fit(
            model, examples[:8], 1, batch_size=4, device=device, callbacks=callbacks, **options, **QUIET
        )
        assert model.weight.device == device
        states.append((model.state_dict(), history))
    (expected, straight), (half, _), (found, history) = states
    assert history["loss"] == pytest.approx(straight["loss"], rel=1e-5)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6)
        assert (value != half[name]).any()
