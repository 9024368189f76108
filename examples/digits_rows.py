"""Handwritten digits, read as sequences: a row of eight pixels a step, from the top.

Four recurrent networks of one size: a simple RNN (Elman 1990), an LSTM (Hochreiter & Schmidhuber
1997), a GRU (Cho et al. 2014), and an LSTM that reads in both directions. What they have in mind at
the last row is what the class is told from.
"""

import tensorgrad as tg
from tensorgrad import data, nn, optim, train


class Rows(nn.Module):
    """Images (n, 64) -> logits (n, 10), from the last states of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.drop = nn.Dropout(0.3)
        self.out = nn.Dense(10)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        _, state = self.layer(x.reshape(-1, 8, 8))
        h = state[0] if isinstance(state, tuple) else state  # an LSTM's state is a pair
        return self.out(self.drop(tg.concatenate(list(h), axis=-1)))  # of each direction


def run(epochs: int = 30, units: int = 128, seed: int = 0, picture: str | None = None) -> dict:
    (x, y), test = data.load_digits(seed=seed)
    layers = {
        "rnn": nn.RNN(8, units, batch_first=True),
        "lstm": nn.LSTM(8, units, batch_first=True),
        "gru": nn.GRU(8, units, batch_first=True),
        "both_ways": nn.LSTM(8, units, batch_first=True, bidirectional=True),
    }
    curves, figures = {}, {}
    for name, layer in layers.items():
        model = Rows(layer)
        rate = optim.schedules.one_cycle(5e-3, epochs * 23)
        model.compile(optim.AdamW(lr=rate), loss="cross_entropy", metrics=["accuracy"])
        curves[name] = model.fit(x, y, epochs=epochs, batch_size=64, clip_norm=1.0).losses
        figures[name] = model.evaluate(*test)["accuracy"]
    if picture:
        draw(picture, curves)
    return figures


def draw(path: str, curves: dict[str, list[float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(range(1, len(curve) + 1), curve, label=name.replace("_", " "))
    axes.set(xlabel="epoch", ylabel="loss in training", yscale="log")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 4})
