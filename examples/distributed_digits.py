"""Handwritten digits by several processes, which share each batch: the figures are those of one.

    python examples/distributed_digits.py                               # one process
    python -m tensorgrad launch -n 2 examples/distributed_digits.py     # the same by two

What makes it distributed is its first line, `init()`: `batch_size` stays that of the whole batch,
one process draws the bar, and scores, early stopping and weights are equal on all. (Dropout would
make a difference: each process draws masks of its own.)
"""

import tensorgrad as tg
from tensorgrad import nn, train


def run(epochs: int = 20, batch_size: int = 64, seed: int = 0, picture: str | None = None) -> dict:
    world = tg.distributed.init()
    tg.seed(seed)
    (x, y), (x_test, y_test) = tg.data.load_digits(seed=seed)
    model = nn.Sequential(nn.Dense(128, activation="relu"), nn.Dense(10))
    model.compile(tg.optim.Adam(lr=2e-3), loss="cross_entropy", metrics=["accuracy"])
    past = model.fit(
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        validation_split=0.1,
        callbacks=train.EarlyStopping("val_loss", patience=5),
    )
    if picture and world.rank == 0:  # what writes a file is for one of them
        past.plot(picture)
    return {"accuracy": model.evaluate(x_test, y_test)["accuracy"], "processes": world.size}


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 4})
