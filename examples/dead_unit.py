"""A functional `Model(inputs, outputs)` fits four points: the small regression of the textbooks.

The version found in articles has one hidden ReLU unit on raw inputs, and targets of shape (4,).
Predictions are (4, 1): their difference would be (4, 4), of every prediction with every target, and
is refused. With the shapes right, about two runs of three find the unit dead, then or soon: it is 0
for every input, no gradient reaches it, and what is predicted is a constant, of loss 0.25. With
standardised inputs and eight units no run was seen that ends above the best straight line's 0.05.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train

X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
Y = np.array([[1.0], [1.0], [2.0], [2.0]])


def network(units: int, rate: float) -> nn.Model:
    inputs = nn.Input((2,))
    hidden = nn.Dense(units, activation="relu")(inputs)
    model = nn.Model(inputs, nn.Dense(1)(hidden))
    return model.compile(optimizer=optim.SGD(lr=rate), loss="mse")


def dead(model: nn.Model, x: np.ndarray) -> float:
    """The share of hidden units that are 0 for every input: nothing can train them any more."""
    return float((model.layers[1](x).numpy() == 0).all(axis=0).mean())


def run(epochs: int = 500, seed: int = 0) -> dict:
    articles = network(units=1, rate=0.01)
    try:
        articles.fit(X, Y[:, 0], epochs=100)
    except tg.ShapeError as error:
        print(error)
    runs = []
    for each in range(20):
        tg.seed(seed + each)
        articles = network(units=1, rate=0.01)
        articles.fit(X, Y, epochs=100)
        runs.append(dead(articles, X))
    tg.seed(seed)
    x = (X - X.mean(axis=0)) / X.std(axis=0)
    model = network(units=8, rate=0.05)
    past = model.fit(x, Y, epochs=epochs)
    for layer in model.layers:  # the input has none
        print([weight.shape for weight in layer.get_weights()])
    return {"loss": past.losses[-1], "dead": dead(model, x), "articles_dead": np.mean(runs)}


if __name__ == "__main__":
    train.experiment(run)
