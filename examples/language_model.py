"""A language model of characters reads the manual that comes with Python, and then writes on.

A decoder (Vaswani et al. 2017; Radford et al. 2018): each place sees those before it, by causal
attention with rotary positions (Su et al. 2021), and predicts the next character. `nn.generate`
draws one character after the other; keys and values of those before are kept, so each costs the
work of one. It is measured in bits per character of a part of the manual that it has not read,
beside n-grams: counts of all pairs, triples, ..., each smoothed by the one below.
"""

from collections.abc import Iterator
from pydoc_data.topics import topics

import numpy as np

from tensorgrad import nn, optim, train

TEXT = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore")
LETTERS = bytes(sorted(set(TEXT)))
IDS = np.searchsorted(np.frombuffer(LETTERS, "uint8"), np.frombuffer(TEXT, "uint8"))
KNOWN, HELD_OUT = IDS[:-40_000], IDS[-40_000:]


def gpt(width: int = 96, heads: int = 4, layers: int = 2) -> nn.Sequential:
    """Characters (n, T) -> logits of the next ones (n, T, classes)."""
    return nn.Sequential(
        nn.Embedding(len(LETTERS), width),
        *[
            nn.TransformerBlock(heads, width, causal=True, positions="rotary", norm="rms")
            for _ in range(layers)
        ],
        nn.RMSNorm(width),
        nn.Dense(len(LETTERS)),
    )


def batches(rng: np.random.Generator, n: int = 24, length: int = 64) -> Iterator:
    """Pieces of the text without end, and the same one character further on."""
    while True:
        start = rng.integers(len(KNOWN) - length, size=(n, 1))
        piece = KNOWN[start + np.arange(length + 1)]
        yield piece[:, :-1], piece[:, 1:]


def ngram_bits(order: int, strength: float = 4.0) -> float:
    """Bits per character of the n-grams up to `order`: p_n = (count + s p_(n-1)) / (total + s)."""
    p = np.full(len(LETTERS), 1 / len(LETTERS))
    for n in range(1, order + 1):
        count = np.zeros((len(LETTERS),) * n)
        np.add.at(count, tuple(KNOWN[i : len(KNOWN) - n + 1 + i] for i in range(n)), 1)
        p = (count + strength * p) / (count.sum(-1, keepdims=True) + strength)
    at = tuple(HELD_OUT[i : len(HELD_OUT) - order + 1 + i] for i in range(order))
    return float(-np.log2(p[at]).mean())


def run(epochs: int = 12, steps: int = 100, seed: int = 0, picture: str | None = None) -> dict:
    model = gpt()
    rate = optim.schedules.one_cycle(6e-3, epochs * steps)
    model.compile(optim.AdamW(lr=rate, weight_decay=0.1), loss="cross_entropy")
    rows = HELD_OUT[: len(HELD_OUT) // 129 * 129].reshape(-1, 129)
    past = model.fit(
        batches(np.random.default_rng(seed)),
        steps_per_epoch=steps,
        epochs=epochs,
        validation_data=(rows[:, :-1], rows[:, 1:]),
        validation_freq=max(1, epochs // 5),
        clip_norm=1.0,
    )
    bits = [loss / np.log(2) for loss in past.history["val_loss"]]
    prompt = np.frombuffer(b"The value of the ", "uint8")
    ids = np.searchsorted(np.frombuffer(LETTERS, "uint8"), prompt)
    written = nn.generate(model, ids, 500, temperature=0.7).numpy()
    print(bytes(LETTERS[i] for i in written).decode())
    if picture:
        draw(picture, past)
    return {"bits": bits[-1], **{f"gram_{n}": ngram_bits(n) for n in (1, 2, 3)}}


def draw(path: str, past: train.History) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, label in (("loss", "in training"), ("val_loss", "text not read")):
        at = [epoch + 1 for epoch in past.places[name]]
        axes.plot(at, np.array(past.history[name]) / np.log(2), label=label)
    for n in (1, 2, 3):
        axes.axhline(ngram_bits(n), color="gray", lw=0.8, ls=":")
        axes.text(1, ngram_bits(n), f"{n}-grams", va="bottom", fontsize=8, color="gray")
    axes.set(xlabel="epoch", ylabel="bits per character")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 1, "steps": 40})
