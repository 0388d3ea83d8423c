"""The tasks of the talk: regression finds the weights of an average, translation reads dates it never saw."""

import datetime

import numpy as np
import pytest

from minidl.graph import check_gradients
from minidl.tasks import average, dates, weights
from minidl.tasks.dates import Attention, Translator, encode, in_words

QUIET = {"progress": False}


@pytest.mark.parametrize("window", [1, 3, 5])
def test_a_convolution_finds_out_how_to_average(window):
    model, history = average.train(window=window, **QUIET)
    np.testing.assert_allclose(model.weight.numpy().ravel(), np.full(window, 1 / window), atol=1e-3)
    assert abs(model.bias.numpy()[0]) < 1e-3 and history["test_loss"][-1] < 1e-6


def test_signals_are_what_numpy_averages():
    data = average.signals(window=4, length=20, train=6, test=3)
    assert data.train.inputs.shape == (6, 1, 1, 20) and data.test.targets.shape == (3, 1, 1, 17)
    for x, y in zip(data.test.inputs, data.test.targets, strict=True):
        np.testing.assert_allclose(
            y.ravel(), np.convolve(x.ravel(), np.ones(4) / 4, "valid"), rtol=1e-4, atol=1e-6
        )
    with pytest.raises(ValueError, match="window must be from 1 to length = 8, got 9"):
        average.signals(window=9, length=8)


def test_every_date_can_be_said_and_read_back_by_a_person():
    random = np.random.default_rng(0)
    day = datetime.date(1700, 1, 1)
    longest = 0
    while day <= datetime.date(2099, 12, 31):
        text = in_words(day, random)
        longest = max(longest, np.count_nonzero(encode(text)))
        day += datetime.timedelta(days=17)
    assert longest <= 12
    said = {in_words(datetime.date(1984, 3, 21), np.random.default_rng(seed)) for seed in range(200)}
    assert "the twenty-first of march, nineteen eighty-four" in said
    assert "nineteen hundred and eighty-four, march the twenty-first" in said and len(said) == 16
    said = {in_words(datetime.date(2005, 10, 30), np.random.default_rng(seed)) for seed in range(300)}
    assert "thirtieth october two thousand and five" in said and not any("twenty" in text for text in said)
    said = {in_words(datetime.date(1900, 1, 2), np.random.default_rng(seed)) for seed in range(300)}
    assert all("nineteen hundred" in text and "and" not in text for text in said)
    assert any("oh-six" in in_words(datetime.date(1806, 1, 1), np.random.default_rng(s)) for s in range(20))


def test_the_data_has_no_date_twice():
    data = dates.dates(train=500, test=100, seed=1)
    texts = [dates.decode(row) for row in np.concatenate([data.train.targets, data.test.targets])]
    assert len(set(texts)) == 600
    assert all(datetime.date.fromisoformat(text) for text in texts)
    with pytest.raises(ValueError, match="there are 146,097 days"):
        dates.dates(train=146_097)


@pytest.mark.parametrize(
    ("text", "says"),
    [("the 3rd of may", "unknown in .*'3rd'"), ("", "from 1 to 12 words, got 0"), ("the " * 13, "got 13"),
     ("mai zwei", "'mai', 'zwei'")],
)  # fmt: skip
def test_words_that_are_no_date(text, says):
    with pytest.raises(ValueError, match=says):
        encode(text)
    with pytest.raises(TypeError, match="must be a string"):
        encode(3)
    with pytest.raises(ValueError, match="date must be from 1700"):
        in_words(datetime.date(1600, 1, 1), np.random.default_rng())


def test_a_translator_reads_dates_it_has_never_seen():
    model, history = dates.train(epochs=5, data=dates.dates(train=6000, test=300), **QUIET)
    assert history["test_exact"][-1] > 0.9
    assert dates.translate(model, "the twenty-first of march, nineteen eighty-four") == ["1984-03-21"]
    assert dates.translate(model, ["July fourth seventeen seventy-six"]) == ["1776-07-04"]
    seen = model.attention  # of the last call: one text of five words
    assert seen.shape == (1, 10, 12)
    np.testing.assert_allclose(seen.sum(axis=-1), 1, rtol=1e-5)
    assert (seen[0, :, 5:] == 0).all()  # nobody looks where nothing is


def test_attention_by_its_definition():
    attention = Attention(8, heads=2).astype(np.float64)
    random = np.random.default_rng(0)
    q, s = random.normal(size=(3, 4, 8)), random.normal(size=(3, 5, 8))
    hidden = np.where(random.random((3, 1, 1, 5)) < 0.3, 1e9, 0)
    out = attention(q, s, hidden).numpy()

    def dense(layer, x):
        return x @ layer.weight.numpy().T + layer.bias.numpy()

    expected = np.zeros((3, 4, 8))
    for n in range(3):
        parts = []
        for h in range(2):
            part = slice(4 * h, 4 * h + 4)
            k, v = dense(attention.key, s[n])[:, part], dense(attention.value, s[n])[:, part]
            scores = dense(attention.query, q[n])[:, part] @ k.T / 2 - hidden[n, 0]
            w = np.exp(scores - scores.max(axis=1, keepdims=True))
            parts.append(w / w.sum(axis=1, keepdims=True) @ v)
        expected[n] = dense(attention.out, np.concatenate(parts, axis=1))
    np.testing.assert_allclose(out, expected, rtol=1e-10)
    check_gradients(lambda a, b: attention(a, b, hidden).sum(), q, s)
    with pytest.raises(ValueError, match="a multiple of heads"):
        Attention(8, heads=3)


def test_what_was_looked_at_is_no_parameter():
    model = Translator(16, heads=2)
    names = set(model.state_dict())
    model(dates.dates(train=4, test=1).train.inputs)
    assert set(model.state_dict()) == names


def test_weights_come_back_with_their_note_and_only_whole(tmp_path):
    model, _ = average.train(1, **QUIET)
    file = tmp_path / "average.safetensors"
    weights.save(model, file, seed=0, model="average")
    other = average.model()
    assert weights.load(file, other) == {"seed": "0", "model": "average"}
    np.testing.assert_array_equal(other.weight.numpy(), model.weight.numpy())
    with pytest.raises(ValueError, match="must have shape"):
        weights.load(file, average.model(3))
    content = file.read_bytes()
    for wrong in (content[:-3], b"", b"PK\x03\x04" + content):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match="holds no weights, or is damaged"):
            weights.load(file, other)
    np.testing.assert_array_equal(other.weight.numpy(), model.weight.numpy())
    with pytest.raises(FileNotFoundError, match="there are no weights at"):
        weights.load(tmp_path / "none", other)
