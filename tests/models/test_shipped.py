"""The weights that come with the package, held to what the book promises of them."""

import subprocess
import sys
import warnings
from importlib.resources import files

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from minidl.models import began, gan, lenet, shipped
from minidl.models.quantized import float_bytes, quantize


@pytest.fixture(scope="module")
def digits():
    """Training images, their labels, test images, their labels; cut as `tasks.data.digits` cuts them."""
    pixels, labels = load_digits(return_X_y=True)
    learned, kept = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=0, stratify=labels)
    images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return images[learned], labels[learned], images[kept], labels[kept]


def classifiers(images, labels):
    """Support vector machines with probabilities, of both kinds that scikit-learn has."""
    yield CalibratedClassifierCV(SVC(gamma=0.001), ensemble=False).fit(images, labels)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The `probability` parameter was deprecated", FutureWarning)
        yield SVC(gamma=0.001, probability=True, random_state=0).fit(images, labels)


DRAWERS = {"gan": gan.pretrained, "conv_gan": gan.pretrained_conv, "began": began.pretrained}


@pytest.mark.parametrize("name", DRAWERS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_stranger_reads_all_ten_digits_among_the_drawings(name, seed, digits):
    images, labels, *_ = digits
    drawn = DRAWERS[name]().sample(1000, seed=seed)
    flat = 16 * drawn.reshape(1000, 64)
    for classifier in classifiers(16 * images.reshape(-1, 64), labels):
        probabilities = classifier.predict_proba(flat)
        shares = np.bincount(probabilities.argmax(axis=1), minlength=10) / 1000
        assert shares.min() >= 0.04, shares
        assert np.median(probabilities.max(axis=1)) >= (0.85 if name == "conv_gan" else 0.9)


@pytest.mark.parametrize("name", DRAWERS)
def test_the_drawings_are_no_copies(name, digits):
    images, _, kept, _ = digits

    def nearest(pictures):
        difference = pictures.reshape(-1, 1, 64) - images.reshape(1, -1, 64)
        return np.sqrt((difference**2).sum(axis=2)).min(axis=1)

    drawn, real = nearest(DRAWERS[name]().sample(1000, seed=0)), nearest(kept)
    assert drawn.min() > 0.5 * real.min()  # a copy would be at 0
    assert np.quantile(drawn, 0.01) > 0.75 * np.quantile(real, 0.01)


def test_the_lenet_reads_the_digits_in_floats_and_in_bytes(digits):
    images, _, kept, labels = digits
    model = lenet.pretrained()
    right = np.mean(model(kept).numpy().argmax(axis=1) == labels)
    small = quantize(model, images)
    assert right >= 0.985
    assert np.mean(small(kept).argmax(axis=1) == labels) >= right - 0.005
    assert float_bytes(model) / small.nbytes > 3.85


def test_the_files_are_small_and_say_where_they_are_from():
    folder = files("minidl.models") / "weights"
    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{n}.safetensors" for n in shipped.NAMES)
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) < 1_000_000
    for name in shipped.NAMES:
        about = shipped.about(name)
        assert about["model"] == name
        assert {"seed", "epochs", "date", "minidl", "numpy", "python"} <= about.keys()


def test_loading_needs_no_floor_above():
    code = (
        "import sys; from minidl.models import gan, began, lenet\n"
        "gan.pretrained(), gan.pretrained_conv(), began.pretrained(), lenet.pretrained()\n"
        "assert not any(name.startswith('minidl.tasks') for name in sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="name must be one of gan, conv_gan, began, lenet, got 'vgg'"):
        shipped.about("vgg")
