"""Translation: dates in English words into ISO 8601, a sequence of words into a sequence of characters.

    "the twenty-first of march, nineteen eighty-four"  →  "1984-03-21"

The words come in many orders and the same word means different things: "twenty" is a century, a decade or a
day. So the network looks at all words at once and, for each character that it writes, decides which of them
to attend to (D. Bahdanau et al., arXiv:1409.0473; as scaled dot products, A. Vaswani et al.,
arXiv:1706.03762, section 3.2.1).
"""

from __future__ import annotations

import datetime
import re

import numpy as np

from minidl import graph, layers
from minidl.graph import Tensor
from minidl.kernels.arguments import check_integer
from minidl.layers import initialisers
from minidl.tasks.data import Dataset, Examples
from minidl.tasks.losses import cross_entropy
from minidl.tasks.train import fit, predict


def _list(words):
    return words.split()


UNITS = _list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS = _list("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
ORDINALS = _list(
    "_ first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
MONTHS = _list("january february march april may june july august september october november december")
OTHERS = _list("thirtieth the of and oh hundred thousand")
WORDS = ("", *UNITS, *TENS[2:], *ORDINALS[1:], *MONTHS, *OTHERS)  # the first fills up what is shorter
NUMBERS = {word: number for number, word in enumerate(WORDS)}
CHARACTERS = "0123456789-"
LONGEST = 12  # words
FIRST, LAST = datetime.date(1700, 1, 1), datetime.date(2099, 12, 31)


def in_words(date, generator):
    """Say a date in one of the ways that English has for it.

    Parameters
    ----------
    date : datetime.date, from 1700 to 2099
    generator : numpy.random.Generator
        Chooses among them.
    """
    if not FIRST <= date <= LAST:
        raise ValueError(f"date must be from {FIRST} to {LAST}, got {date}")
    day, month, year = _ordinal(date.day), MONTHS[date.month - 1], _year(date.year, generator)
    return (
        f"the {day} of {month}, {year}",
        f"{day} of {month} {year}",
        f"{month} {day}, {year}",
        f"{month} the {day}, {year}",
        f"{day} {month} {year}",
        f"{year}, {month} the {day}",
        f"{year}, {month} {day}",
        f"{year}, the {day} of {month}",
    )[generator.integers(8)]


def _cardinal(n):
    tens, unit = divmod(n, 10)
    return UNITS[n] if n < 20 else TENS[tens] + (f"-{UNITS[unit]}" if unit else "")


def _ordinal(n):
    return ORDINALS[n] if n <= 20 else "thirtieth" if n == 30 else f"{TENS[n // 10]}-{ORDINALS[n % 10]}"


def _year(year, generator):
    century, rest = divmod(year, 100)
    if century == 20 and (rest < 10 or generator.random() < 0.5):
        joined = " and " if generator.random() < 0.5 else " "
        return "two thousand" + (f"{joined}{_cardinal(rest)}" if rest else "")
    head = _cardinal(century)
    if rest == 0:
        return f"{head} hundred"
    ways = [f"{head} {'oh-' if rest < 10 else ''}{_cardinal(rest)}", f"{head} hundred and {_cardinal(rest)}"]
    return ways[int(generator.random() < 0.25)]


def encode(text):
    """Return the numbers of the words of a date, an int64 array of shape (12,), filled up with 0.

    Raises
    ------
    ValueError
        If a word is unknown, or there are none, or too many.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {text!r}")
    words = re.findall(r"[^\s,.-]+", text.lower())
    unknown = [word for word in words if word not in NUMBERS]
    if unknown:
        raise ValueError(f"unknown in {text!r}: {', '.join(map(repr, unknown))}; write the date in words")
    if not 0 < len(words) <= LONGEST:
        raise ValueError(f"a date has from 1 to {LONGEST} words, got {len(words)}: {text!r}")
    return np.array([NUMBERS[word] for word in words] + [0] * (LONGEST - len(words)))


def decode(characters):
    """Return the text of character numbers, shape (10,)."""
    return "".join(CHARACTERS[c] for c in characters)


def dates(train=8000, test=1000, seed=0):
    """Return dates in words (int64, shape (N, 12)) and in ISO (int64, shape (N, 10)).

    No date of the test is in the training set, in whatever words.
    """
    train, test = check_integer("train", train, 1), check_integer("test", test, 1)
    days = (LAST - FIRST).days + 1
    if train + test > days:
        raise ValueError(f"there are {days:,} days from {FIRST} to {LAST}, got train={train} and test={test}")
    generator = np.random.default_rng(check_integer("seed", seed, 0))
    chosen = [FIRST + datetime.timedelta(int(n)) for n in generator.choice(days, train + test, replace=False)]
    words = np.stack([encode(in_words(date, generator)) for date in chosen])
    iso = np.array([[CHARACTERS.index(c) for c in date.isoformat()] for date in chosen])
    return Dataset("dates", Examples(words[:train], iso[:train]), Examples(words[train:], iso[train:]))


class Attention(layers.Layer):
    """Let each query gather what it needs from a sequence: softmax(Q·Kᵀ / √d)·V, for several heads at once.

    Parameters
    ----------
    features : int
    heads : int
        Each looks with its own share of the features.
    """

    def __init__(self, features, heads=4):
        self.features = check_integer("features", features, 1)
        self.heads = check_integer("heads", heads, 1)
        if features % heads:
            raise ValueError(f"features must be a multiple of heads, got {features} and {heads}")
        self.query = layers.Dense(features, features)
        self.key = layers.Dense(features, features)
        self.value = layers.Dense(features, features)
        self.out = layers.Dense(features, features)

    def forward(self, queries, sequence, hidden):
        """Queries (N, Q, F), a sequence (N, S, F), and hidden (N, 1, 1, S), large where nothing is to see."""
        q, k, v = (self._split(x) for x in (self.query(queries), self.key(sequence), self.value(sequence)))
        scores = q @ k.transpose(0, 1, 3, 2) * (self.features // self.heads) ** -0.5  # (N, heads, Q, S)
        weights = graph.softmax(scores - hidden)
        self._seen = (weights.detach(),)  # in a tuple, or it would be a parameter
        gathered = (weights @ v).transpose(0, 2, 1, 3)  # (N, Q, heads, F/heads)
        return self.out(gathered.reshape(gathered.shape[0], gathered.shape[1], self.features))

    def _split(self, x):
        n, length, features = x.shape
        return x.reshape(n, length, self.heads, features // self.heads).transpose(0, 2, 1, 3)

    def _arguments(self):
        return f"{self.features}, heads={self.heads}"


class Translator(layers.Layer):
    """Words (N, 12) → scores of characters (N, 10, 11).

    Each word becomes a vector, for what it is plus where it stands; the words look at each other, to find out
    what they mean here; then each of the ten characters to be written looks at the words.
    """

    def __init__(self, features=64, heads=4):
        self.words = layers.Embedding(len(WORDS), features)
        self.places = layers.Embedding(LONGEST, features)
        self.questions = layers.Embedding(10, features)
        self.context, self.reader = Attention(features, heads), Attention(features, heads)
        self.think = layers.Sequential(
            layers.Dense(features, 2 * features), layers.ReLU(), layers.Dense(2 * features, features)
        )
        self.write = layers.Sequential(
            layers.Dense(features, 2 * features), layers.ReLU(), layers.Dense(2 * features, len(CHARACTERS))
        )

    def forward(self, words):
        """One pass: all ten characters at once."""
        hidden = Tensor(np.where(words.numpy() == 0, 1e9, 0).astype(np.float32)[:, None, None, :])
        x = (self.words(words) + self.places(np.arange(LONGEST))) * 0.5  # (N, 12, F)
        x = x + self.context(x, x, hidden)
        x = x + self.think(x)
        queries = self.questions(np.arange(10)).reshape(1, 10, -1)
        queries = queries.broadcast_to(x.shape[0], 10, x.shape[2])
        return self.write(self.reader(queries, x, hidden))

    @property
    def attention(self):
        """Where each character looked in the last call, the mean over the heads: array (N, 10, 12)."""
        return self.reader._seen[0].numpy().mean(axis=1)


def character_loss(scores, characters):
    """Cross-entropy, the mean over all characters: scores (N, 10, 11), characters (N, 10)."""
    return cross_entropy(scores.reshape(-1, len(CHARACTERS)), np.reshape(characters, -1))


def exact(scores, characters):
    """The share of dates of which every character is right."""
    return float((np.argmax(scores, axis=-1) == characters).all(axis=-1).mean())


def train(epochs=12, seed=0, data=None, **options):
    """Train a translator; return (model, history). What else can be given is what `fit` takes."""
    from minidl.tasks.optim import Adam
    from minidl.tasks.schedules import Cosine

    initialisers.seed(seed)
    model = Translator()
    defaults = {
        "optimiser": lambda params: Adam(params, lr=2e-3),
        "schedule": Cosine(warmup=0.5),
        "clip": 1.0,
        "batch_size": 64,
        "loss": character_loss,
        "metrics": {"exact": exact},
    }
    history = fit(model, data or dates(seed=seed), epochs, seed=seed, **{**defaults, **options})
    return model, history


def translate(model, texts):
    """Return the dates that a trained model reads in texts, as strings in ISO 8601."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    scores = predict(model, np.stack([encode(text) for text in texts]))
    return [decode(characters) for characters in scores.argmax(axis=-1)]
