"""Handwritten digits, by a Transformer encoder whose tokens are the rows of an image.

Each row of eight pixels becomes a vector, to which one for its place is added; two layers of
self-attention let the rows look at each other (Vaswani et al. 2017, here with the norms first), and
the mean of what they end as tells the class. The picture shows at which rows each row looks.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim, train


class RowTransformer(nn.Module):
    """Images (n, 64) -> logits (n, 10)."""

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 2) -> None:
        self.embed = nn.Linear(8, width)
        self.positions = nn.PositionalEmbedding(8, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width))
        self.out = nn.Linear(width, 10)

    def rows(self, x: tg.Tensor) -> tg.Tensor:
        return self.positions(self.embed(x.reshape(-1, 8, 8)))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.out(self.encoder(self.rows(x)).mean(axis=1))


def run(epochs: int = 30, seed: int = 0, picture: str | None = None) -> dict:
    (x, y), (x_test, y_test) = data.load_digits(seed=seed)
    model = RowTransformer()
    rate = optim.schedules.one_cycle(2e-3, epochs * 23)
    model.compile(optim.AdamW(lr=rate), loss="cross_entropy", metrics=["accuracy"])
    model.fit(x, y, epochs=epochs, batch_size=64)
    if picture:
        draw(picture, model, x_test[:5])
    return {"accuracy": model.evaluate(x_test, y_test)["accuracy"]}


@tg.no_grad()
def draw(path: str, model: RowTransformer, images: np.ndarray) -> None:
    from matplotlib.figure import Figure

    model.eval()
    layer = model.encoder.layers[0]
    x = layer.norm1(model.rows(tg.tensor(images)))
    _, attention = layer.self_attn(x, x, x, average_attn_weights=False)  # (n, heads, rows, rows)
    columns = 1 + attention.shape[1]
    figure = Figure(figsize=(2 * columns, 2 * len(images)), layout="constrained")
    cells = figure.subplots(len(images), columns)
    for row, image, heads in zip(cells, images, attention.numpy(), strict=True):
        row[0].imshow(image.reshape(8, 8), cmap="gray_r")
        for cell, weights in zip(row[1:], heads, strict=True):
            cell.imshow(weights, vmin=0, vmax=1, cmap="viridis")
    for k, cell in enumerate(cells[0]):
        cell.set_title(f"head {k}" if k else "image")
    for cell in cells.flat:
        cell.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 8})
