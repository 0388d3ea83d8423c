import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from minidl.tasks import pretrain
from minidl.tasks.data import digits
from minidl.tasks.metrics import Judge


def test_a_gan_is_on_its_way_to_digits_after_a_few_epochs():
    """A twelfth of the recipe: not yet digits, but no longer anything like noise, nor one and the same."""
    data = digits()
    model, history = pretrain.train_gan(data, epochs=40, progress=False)
    assert len(history) == 40
    verdict = Judge(data.train).verdict(model.sample(1000, seed=0), data.test)
    assert verdict["drawings"]["frechet"] < 0.5 * verdict["noise"]["frechet"]
    assert np.count_nonzero(verdict["drawings"]["shares"] > 0.02) >= 7


@pytest.mark.parametrize("name", pretrain.RECIPES)
def test_the_same_seed_gives_the_same_weights(name):
    data = digits()
    some = type(data)(data.name, data.train[:200], data.test[:20], data.classes)

    def train(seed):
        model, _ = pretrain.RECIPES[name](some, epochs=2, seed=seed, progress=False)
        return model.state_dict()

    one, again, other = train(3), train(3), train(4)
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert not any(np.array_equal(one[key], other[key]) for key in one if key.endswith("weight"))


def test_what_is_written_can_be_read_and_says_what_it_is(tmp_path, capsys):
    pretrain.main(["lenet", "--epochs", "1", "--seed", "5", "--out", str(tmp_path / "new")])
    path = tmp_path / "new" / "lenet.safetensors"
    assert "accuracy" in capsys.readouterr().out
    state = load_file(path)
    assert {array.dtype for array in state.values()} == {np.dtype(np.float16)}
    with safe_open(path, "numpy") as file:
        about = file.metadata()
    assert about["model"] == "lenet" and about["seed"] == "5" and about["epochs"] == "1"
    model = pretrain.lenet.lenet()
    model.load_state_dict(state)
    data = digits()
    right = np.mean(model.eval()(data.test.images).numpy().argmax(axis=1) == data.test.labels)
    assert f"{right:.4f}" == about["accuracy"]


def test_a_network_without_a_recipe_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        pretrain.main(["vgg", "--out", str(tmp_path)])
    assert "there is no recipe for 'vgg'; there are gan, conv_gan, began, lenet" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
