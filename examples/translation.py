"""Dates as people write them are translated to ISO's: "tue, 03 mar 1987" to "1987-03-03".

An encoder reads the characters, a decoder writes those of the translation, each looking at those
before and, by attention, at what the encoder made of the input (Vaswani et al. 2017). In training
the decoder is given the right beginning and predicts all next characters at once; afterwards it
reads what it wrote itself. The picture shows where it looked for each character that it wrote.
"""

import datetime
from collections.abc import Iterator

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train

FORMS = "%d %B %Y|%B %d, %Y|%d.%m.%y|%a, %d %b %Y|%d/%m/%Y".split("|")
LETTERS = "\n ,-./0123456789abcdefghijklmnopqrstuvwxyz"  # the first pads and begins
LENGTH, WRITTEN = 18, 10


def encode(texts: list[str], length: int) -> np.ndarray:
    """Texts as rows (n, length) of the places of their letters, 0 after their ends."""
    return np.array([[LETTERS.index(c) for c in text.ljust(length, "\n")] for text in texts])


def dates(rng: np.random.Generator, n: int = 64) -> tuple[list[str], list[str]]:
    """Random days between 1950 and 2049, in a random form and in ISO's."""
    first = datetime.date(1950, 1, 1)
    days = [first + datetime.timedelta(int(k)) for k in rng.integers(36524, size=n)]
    forms = rng.choice(FORMS, n)
    given = [day.strftime(form).lower() for day, form in zip(days, forms, strict=True)]
    return given, [day.isoformat() for day in days]


class Translator(nn.Module):
    """Characters (n, S) and what is written so far (n, T) -> logits of the next (n, T, classes)."""

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        self.read, self.write = nn.Embedding(len(LETTERS), width), nn.Embedding(len(LETTERS), width)
        self.place = nn.SinusoidalPositions(base=100.0)  # as large as the embeddings from the start
        self.transformer = nn.Transformer(
            width, heads, 2, 1, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.out = nn.Linear(width, len(LETTERS))

    def forward(self, given: tg.Tensor, written: tg.Tensor) -> tg.Tensor:
        hidden = given == 0
        y = self.transformer(
            self.place(self.read(given)),
            self.place(self.write(written)),
            src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
            tgt_is_causal=True,
        )
        return self.out(y)


@tg.no_grad()
def translate(model: Translator, given: list[str]) -> list[str]:
    """The most likely character after the other."""
    model.eval()
    source = tg.tensor(encode(given, LENGTH))
    written = np.zeros((len(given), 1), dtype="int64")
    for _ in range(WRITTEN):
        new = model(source, tg.tensor(written))[:, -1:].argmax(axis=-1)
        written = np.concatenate([written, new.numpy()], axis=1)
    return ["".join(LETTERS[i] for i in row[1:]) for row in written]


def batches(rng: np.random.Generator) -> Iterator:
    """Dates without end: what is given and its translation without the last letter, and that
    without the beginning."""
    while True:
        given, iso = dates(rng)
        written = encode(["\n" + text for text in iso], WRITTEN + 1)
        yield (encode(given, LENGTH), written[:, :-1]), written[:, 1:]


def run(epochs: int = 7, steps: int = 100, seed: int = 0, picture: str | None = None) -> dict:
    rng = np.random.default_rng(seed)
    rate = optim.schedules.one_cycle(3e-3, epochs * steps)
    model = Translator().compile(optim.AdamW(lr=rate), loss="cross_entropy", metrics=["accuracy"])
    past = model.fit(batches(rng), epochs=epochs, steps_per_epoch=steps, clip_norm=1.0)
    given, iso = dates(rng, 1000)
    made = translate(model, given)
    for example in range(4):
        print(f"{given[example]:>18} -> {made[example]}")
    if picture:
        draw(picture, model, given[:3])
    exact = np.mean([a == b for a, b in zip(made, iso, strict=True)])
    return {"exact": exact, "letters": past.history["accuracy"][-1]}


@tg.no_grad()
def draw(path: str, model: Translator, given: list[str]) -> None:
    from matplotlib.figure import Figure

    model.eval()
    seen: list[tg.Tensor] = []
    attention = model.transformer.decoder.layers[-1].multihead_attn
    attention.register_forward_pre_hook(lambda m, inputs: (*inputs[:4], True))  # need_weights
    attention.register_forward_hook(lambda m, inputs, output: seen.append(output[1]))
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    for axes, text in zip(figure.subplots(1, len(given)), given, strict=True):
        made = translate(model, [text])[0]
        axes.imshow(seen[-1].numpy()[0, :, : len(text)].T, cmap="viridis", aspect="auto")
        axes.set_xticks(range(WRITTEN), made)
        axes.set_yticks(range(len(text)), text, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 2, "steps": 50})
