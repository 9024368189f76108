"""BERT: what a network learns from text without labels helps where labels are few.

A small grammar makes sentences such as "the w17 w03 w88 a w41 w09": articles, adjectives, nouns and
a verb, most of them words of the sentence's topic. Nobody says which words belong to a topic. First
an encoder reads sentences in which some words are masked, and predicts these (Devlin et al. 2019):
it can do so only by what words go together. Then it gets a new head, and a few dozen sentences with
their topics. The same network that begins with these alone has never seen most of the words.
"""

from collections.abc import Iterator

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train

MASK, ARTICLES, WORDS, TOPICS = 0, (1, 2), 240, 4  # words 3, 4, ...: each of one kind, one topic
KINDS = {"adjective": 0, "noun": 1, "verb": 2}
ORDER = ["article", "adjective", "noun", "verb", "article", "adjective", "noun"]
CLASSES = 3 + WORDS


def sentences(rng: np.random.Generator, n: int, own: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Sentences (n, 7) and their topics (n,): a word is of the topic in 4 cases of 5."""
    topic = rng.integers(TOPICS, size=n)
    columns = []
    for kind in ORDER:
        if kind == "article":
            columns.append(rng.choice(ARTICLES, n))
            continue
        of = np.where(rng.random(n) < own, topic, rng.integers(TOPICS, size=n))
        each = WORDS // TOPICS // len(KINDS)
        rank = np.minimum(rng.geometric(0.1, n) - 1, each - 1)  # some words are rarer
        columns.append(3 + (of * len(KINDS) + KINDS[kind]) * each + rank)
    return np.stack(columns, axis=1), topic


class Bert(nn.Module):
    """Words (n, T) -> a vector for each, (n, T, width)."""

    def __init__(self, width: int = 48, heads: int = 4, layers: int = 2) -> None:
        self.words = nn.Embedding(CLASSES, width)
        self.places = nn.PositionalEmbedding(len(ORDER), width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.encoder(self.places(self.words(x)))


def masked(rng: np.random.Generator, n: int = 64) -> Iterator:
    """Sentences without end, some words of which are masked; and the words that were there, -1
    where nothing is asked. Of those that are asked for one in ten stays, as in the paper."""
    while True:
        words, _ = sentences(rng, n)
        asked = rng.random(words.shape) < 0.25
        shown = np.where(asked & (rng.random(words.shape) < 0.9), MASK, words)
        yield shown, np.where(asked, words, -1)


def classify(encoder: Bert, labelled: tuple, test: tuple, epochs: int) -> float:
    """Train encoder and a new head on sentences and topics; the accuracy of other sentences."""
    model = nn.Sequential(encoder, nn.Lambda(lambda h: h.mean(axis=1)), nn.Linear(48, TOPICS))
    model.compile(optim.AdamW(lr=1e-3), loss="cross_entropy", metrics=["accuracy"])
    model.fit(*labelled, epochs=epochs, batch_size=16)
    return model.evaluate(*test)["accuracy"]


def asked_only(logits: tg.Tensor, words: tg.Tensor) -> tg.Tensor:
    return tg.cross_entropy(logits, words, ignore_index=-1)


def run(epochs: int = 12, steps: int = 100, seed: int = 0, picture: str | None = None) -> dict:
    rng = np.random.default_rng(seed)
    encoder = Bert()
    model = nn.Sequential(encoder, nn.Linear(48, CLASSES))
    model.compile(optim.AdamW(lr=optim.schedules.one_cycle(4e-3, epochs * steps)), loss=asked_only)
    past = model.fit(masked(rng), epochs=epochs, steps_per_epoch=steps)
    labelled, test, fresh = sentences(rng, 32), sentences(rng, 2000), Bert()
    if picture:
        draw(picture, test, {"before": fresh, "after pre-training": encoder})
    return {
        "masked_loss": past.losses[-1],
        "unigram_entropy": entropy(sentences(rng, 20_000)[0]),
        "fine_tuned": classify(encoder, labelled, test, epochs=30),
        "from_scratch": classify(fresh, labelled, test, epochs=30),
    }


def entropy(words: np.ndarray) -> float:
    """Of the frequencies of words, in nats: the loss of who knows them alone."""
    p = np.bincount(words.ravel()) / words.size
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def draw(path: str, test: tuple[np.ndarray, np.ndarray], encoders: dict[str, Bert]) -> None:
    """Sentences by the mean of their words' vectors, in the plane of most variance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    words, topic = (a[:600] for a in test)
    for axes, (name, encoder) in zip(figure.subplots(1, 2), encoders.items(), strict=True):
        vectors = encoder.predict(words).mean(axis=1)
        vectors -= vectors.mean(axis=0)
        plane = vectors @ np.linalg.svd(vectors, full_matrices=False)[2][:2].T
        for t in range(TOPICS):
            axes.plot(*plane[topic == t].T, ".", label=f"topic {t}")
        axes.set(title=name, xticks=[], yticks=[])
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 3, "steps": 100})
