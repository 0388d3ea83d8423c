"""Watching a training: what is kept is what was there, and the training is the same with and without it."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from minidl.graph import Tensor
from minidl.instruments.watch import KINDS, Numbers, TensorBoard, Watch, activations
from minidl.tasks import fit, fit_gan
from minidl.tasks.data import Examples
from tests.tasks.conftest import small_gan, small_network

QUIET = {"progress": False, "batch_size": 50}


@pytest.fixture
def examples():
    random = np.random.default_rng(7)
    x = random.uniform(0, 1, (150, 6)).astype(np.float32)
    return Examples(x, x[:, :3].argmax(axis=1))


def test_numbers_are_those_of_numpy():
    array = np.random.default_rng(0).normal(2, 3, (70, 90)).astype(np.float32)
    array[:7] = 0
    held = Numbers.of(array)
    assert held.mean == pytest.approx(array.mean(dtype=np.float64))
    assert held.std == pytest.approx(array.std(dtype=np.float64))
    assert (held.smallest, held.largest, held.zeros, held.size) == (array.min(), array.max(), 0.1, 6300)
    assert 500 < len(held.values) <= 1000 and np.isin(held.values, array).all()
    assert Numbers.of(np.float32(4)).values.tolist() == [4]


def test_what_is_kept_is_what_was_there(examples):
    model = small_network(dropout=0.0)
    first = model[0].weight.numpy().copy()
    watch = Watch(inputs=examples.inputs[:20], keep="0.weight").before(model)
    gradients = {}

    class Remember:
        def on_batch(self, training):
            gradients[training.epoch + 1] = model[0].weight.grad.copy()

    history = fit(model, examples, 3, callbacks=[Remember(), watch], **QUIET)
    assert [moment.epoch for moment in watch] == [0, 1, 2, 3] and watch.history is history
    np.testing.assert_array_equal(watch[0].arrays["0.weight"], first)
    last = watch[-1]
    np.testing.assert_array_equal(last.arrays["0.weight"], model[0].weight.numpy())
    assert last.numbers["weight"].keys() == {"0.weight", "4.weight"}
    assert last.numbers["bias"].keys() == {"1.weight", "1.bias", "4.bias"}
    assert last.row == history[-1]
    for epoch in (1, 2, 3):
        assert watch[epoch].numbers["gradient"]["0.weight"].mean == pytest.approx(
            gradients[epoch].mean(), rel=1e-5
        )
    assert not watch[0].numbers["gradient"]
    made = model[0](Tensor(examples.inputs[:20])).numpy()
    seen = last.numbers["activation"]
    assert seen["0 Dense"].mean == pytest.approx(made.mean(), rel=1e-5)
    assert list(seen) == ["0 Dense", "1 BatchNorm1d", "2 Tanh", "3 Dropout", "4 Dense"]
    assert "4 moments of 3 epochs" in repr(watch)


def test_just_the_epochs_that_were_asked_for(examples):
    watch = Watch(every=(0, 2, 3, 9))
    model = small_network()
    fit(model, examples, 4, callbacks=[watch.before(model)], **QUIET)
    assert [moment.epoch for moment in watch] == [0, 2, 3]
    assert all(watch[i].numbers["gradient"] for i in (1, 2))


def test_the_training_is_the_same_with_it_and_without(examples):
    plain, watched = small_network(), small_network()
    fit(plain, examples, 3, **QUIET)
    fit(watched, examples, 3, callbacks=[Watch(inputs=examples.inputs).before(watched)], **QUIET)
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(watched.state_dict()[name], value, err_msg=name)


def test_two_networks_and_what_they_draw(examples):
    gan, drawn = small_gan(), []

    def samples():
        drawn.append(1)
        return gan.generator(np.ones((2, 4), np.float32)).numpy().reshape(2, 2, 3)

    watch = Watch(inputs={"generator": np.ones((5, 4), np.float32)}, samples=samples, every=2).before(gan)
    fit_gan(gan, Examples(examples.inputs, examples.targets), 5, callbacks=[watch], **QUIET)
    assert [moment.epoch for moment in watch] == [0, 2, 4, 5] and len(drawn) == 4
    assert "generator.0.weight" in watch[1].numbers["gradient"]
    assert "discriminator.2.bias" in watch[1].numbers["bias"]
    assert next(iter(watch[1].numbers["activation"])) == "generator.0 Dense"
    assert watch[1].samples.shape == (2, 2, 3) and not np.array_equal(watch[0].samples, watch[-1].samples)
    assert set(watch[1].numbers) == set(KINDS)


def test_wrong_wishes_are_refused(examples):
    model = small_network()
    with pytest.raises(ValueError, match=r"keep names '9\.weight', there are 0\.weight"):
        fit(model, examples, 1, callbacks=[Watch(keep=["9.weight"])], **QUIET)
    with pytest.raises(ValueError, match="inputs are for other, the networks are model"):
        fit(model, examples, 1, callbacks=[Watch(inputs={"other": examples.inputs})], **QUIET)
    with pytest.raises(TypeError, match="samples must be a function"):
        Watch(samples=np.ones(3))
    for every in (0, [1, -1]):
        with pytest.raises(ValueError, match="every must be"):
            Watch(every=every)
    with pytest.raises(TypeError, match="every must be"):
        Watch(every=[1, 2.5])


def test_activations_leave_the_model_as_it_was(examples):
    model = small_network().train()
    before = model.state_dict()
    assert activations(model, examples.inputs)["4 Dense"].size == 150 * 3
    assert model[3].training
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_tensorboard_reads_what_is_written(examples, tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX, which writes the files, is not installed")
    from tensorboardX.proto.event_pb2 import Event

    model, watch = small_network(), Watch(samples=lambda: np.zeros((3, 1, 4, 4)))
    board = TensorBoard(tmp_path / "run", watch)
    history = fit(model, examples, 2, callbacks=[watch, board], **QUIET)
    board.close()
    (file,) = (tmp_path / "run").iterdir()
    content, values = file.read_bytes(), {}
    while content:  # length, its checksum, the event, its checksum
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]
        for value in event.summary.value:
            values[value.tag, event.step] = value
    for epoch in (1, 2):
        assert values["loss", epoch].simple_value == pytest.approx(history["loss"][epoch - 1], rel=1e-6)
        assert values["weight/0.weight", epoch].histo.num == 72
        assert values["gradient/4.bias", epoch].histo.num == 3
        assert values["samples", epoch].image.height > 0


def test_without_a_library_there_is_advice():
    code = """
        import sys
        sys.modules["tensorboardX"] = sys.modules["torch"] = None  # as if they were not installed
        from minidl.instruments.watch import TensorBoard
        try:
            TensorBoard("run")
        except ImportError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("writing for TensorBoard needs a library: pip install tensorboardX;")
