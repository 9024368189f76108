"""A classifier written with `GradientTape`: two half moons, your own class, your own loop.

The article's listing never makes its model or data, and its loss is a vector, one number for each
example, whose gradient is that of a sum: a larger batch takes larger steps. Losses here are one
number, the mean, unless they are told otherwise; and a gradient is taken of one number.
"""

import numpy as np
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split

import tensorgrad as tg


class NeuralNetwork(tg.nn.Module):
    """Two dense layers; the last gives a probability."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.fc1 = tg.nn.Dense(units, activation="tanh")
        self.fc2 = tg.nn.Dense(1, activation="sigmoid")

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.fc2(self.fc1(x))


def train_step(
    model: NeuralNetwork, optimizer: tg.optim.Optimizer, x: tg.Tensor, y: tg.Tensor
) -> tg.Tensor:
    """One update; returns the loss before it."""
    with tg.GradientTape() as tape:
        loss = tg.losses.binary_cross_entropy(model(x), y)
    grads = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
    return loss


def run(epochs: int = 80) -> dict:
    x, y = make_moons(1000, noise=0.1, random_state=0)
    x_train, x_test, y_train, y_test = train_test_split(
        x.astype(np.float32), y[:, None].astype(np.float32), test_size=200, random_state=0
    )
    model = NeuralNetwork(32)
    optimizer = tg.optim.Adam(lr=0.02)
    model(x_train[:1])  # builds the layers: their input size is known now
    with tg.GradientTape() as tape:
        each = tg.losses.binary_cross_entropy(model(x_test), y_test, reduction="none")
    try:
        tape.gradient(each, model.trainable_variables)
    except tg.ShapeError as error:
        print(error)  # of the article's loss: 200 numbers are no loss
    for _ in range(epochs):
        for xb, yb in tg.data.DataLoader((x_train, y_train), batch_size=32, shuffle=True):
            train_step(model, optimizer, xb, yb)
    with tg.no_grad():
        p = model(x_test)
        loss = tg.losses.binary_cross_entropy(p, y_test)
    return {"loss": loss.item(), "accuracy": np.mean((p.numpy() > 0.5) == y_test)}


if __name__ == "__main__":
    tg.train.experiment(run, quick={"epochs": 40})
