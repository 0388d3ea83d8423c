"""`python -m minidl train`: what it prints, writes, refuses, and what Ctrl-C leaves behind."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from minidl.__main__ import MODELS, main
from minidl.tasks import average, checkpoint, command, weights

needs_models = pytest.mark.skipif(
    find_spec("minidl.models.gan") is None, reason="minidl.models has no GAN yet"
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_trains_says_what_came_of_it_and_saves(capsys, tmp_path):
    main(["train", "average", "--epochs", "12", "--seed", "3", "--save", "average.safetensors"])
    said = capsys.readouterr().out
    assert "epoch 12 of 12" in said
    assert re.search(r"12 epochs, \d+\.\d s\. Weights: 0\.\d{4}, .*; bias -?0\.\d{4}", said), said
    assert os.listdir(tmp_path) == ["average.safetensors"]  # the checkpoint is gone: it is no longer needed
    model = average.model()
    about = weights.load("average.safetensors", model)
    assert about["seed"] == "3" and about["epochs"] == "12" and about["model"] == "average"
    same, _ = average.train(12, seed=3, progress=False)
    np.testing.assert_array_equal(model.weight.numpy(), same.weight.numpy())


def test_a_checkpoint_that_is_named_is_kept_and_gone_on_from(capsys, tmp_path):
    for epochs in ("4", "4", "7"):
        if epochs == "7":
            with pytest.raises(SystemExit, match=r"train: .*another training.*schedule was"):
                main(["train", "average", "--epochs", epochs, "--checkpoint", "run"])
        else:
            main(["train", "average", "--epochs", epochs, "--checkpoint", "run"])
    said = capsys.readouterr().out
    assert said.count("Going on from run.") == 2 and said.count("4 epochs") == 2
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_leaves_a_checkpoint_and_the_same_command_goes_on(tmp_path):
    run = [
        sys.executable,
        "-m",
        "minidl",
        "train",
        "average",
        "--epochs",
        "60",
        "--batch-size",
        "4",
        "--save",
        "w",
    ]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("epoch 1 of 60")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == ""
    assert re.search(r"Stopped after \d+ of 60 epochs. minidl-average.checkpoint has everything", out), out
    assert os.listdir(tmp_path) == ["minidl-average.checkpoint"]
    _, facts = checkpoint.read("minidl-average.checkpoint")
    assert 1 <= facts["epoch"] < 60
    again = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "Going on from minidl-average.checkpoint." in again.stdout and "60 epochs" in again.stdout
    subprocess.run([*run[:-1], "x"], capture_output=True, check=True)
    assert sorted(os.listdir(tmp_path)) == ["w", "x"]
    one, other = (load_file(name) for name in "wx")
    assert all((one[name] == other[name]).all() for name in one)


@needs_models
@pytest.mark.parametrize("name", ["gan", "began", "lenet", "autoencoder"])
def test_each_model_trains_on_digits_and_on_images_of_ones_own(name, capsys, tmp_path):
    main(["train", name, "--epochs", "2", "--save", "w"])
    said = capsys.readouterr().out
    expected = {
        "gan": "Of 1,000 drawings, an SVM",
        "began": "Of 1,000 drawings, an SVM",
        "lenet": "of 450 test images read correctly",
        "autoencoder": "Copies of test images are off by",
    }
    assert expected[name] in said and (tmp_path / "w").exists()
    random = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "mine" / label).mkdir(parents=True)
        for i in range(6):
            pixels = random.integers(0, 128, (20, 30)).astype("u1")
            Image.fromarray(pixels).save(tmp_path / "mine" / label / f"{i}.png")
    main(["train", name, "--epochs", "1", "--data", "mine", "--size", "12"])
    assert "1 epochs" in capsys.readouterr().out


def test_every_model_of_the_command_line_has_a_recipe():
    assert set(MODELS) == set(command.RECIPES) == set(command.EPOCHS) == set(command.RATES)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "invalid choice: 'nothing'"),
        (["average", "--epochs", "0"], "--epochs: must be a whole number above 0"),
        (["average", "--seed", "-1"], "--seed: (must be a whole number from 0|expected one argument)"),
        (["average", "--seed", "1.5"], "--seed: must be a whole number from 0, got '1.5'"),
        (["average", "--lr", "nan"], "--lr: must be a number above 0"),
        (["average", "--device", "tpu"], "invalid choice: 'tpu'"),
        (["average", "--data", "digits"], "average makes its own data"),
        (["average", "--save", "no/such/folder/w"], "--save: there is no folder"),
        (["average", "--save", "."], "--save must name a file"),
        (["average", "--checkpoint", "no/w"], "--checkpoint: there is no folder"),
        (["average", "--checkpoint", "w", "--save", "w"], "must be two files"),
        (["average", "--checkpoint", "rubbish"], "rubbish is not a checkpoint of minidl"),
        (["average", "--lr", "1e30"], "loss became (nan|inf)"),
        pytest.param(["lenet", "--data", "nowhere"], "there is no folder nowhere", marks=needs_models),
        pytest.param(["lenet", "--size", "9"], "--size and --invert are for a folder", marks=needs_models),
    ],
)
def test_what_it_cannot_do_is_said_before_anything_is_done(arguments, says, capsys, tmp_path):
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    with pytest.raises(SystemExit) as stopped:
        main(["train", *arguments])
    assert stopped.value.code not in (0, None)
    said = capsys.readouterr().err + str(stopped.value)
    assert re.search(says, said), said
    assert "w" not in os.listdir(tmp_path)


def test_without_a_gpu_it_says_what_to_do():
    from minidl.hardware.device import Device

    if Device("cuda").available:
        pytest.skip("this machine has a GPU")
    with pytest.raises(SystemExit, match="train: no CUDA GPU was found"):
        main(["train", "average", "--device", "cuda"])
