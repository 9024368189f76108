"""Backpropagation by hand in NumPy for a two-layer XOR network, checked against our gradients.

The article's version multiplies shapes that do not fit, and once that is mended updates the first
layer with the *transpose* of its gradient: both weights are 2 x 2, so nothing complains. Comparing
with automatic gradients finds it at once.
"""

import numpy as np
from numpy.typing import NDArray

import tensorgrad as tg

Array = NDArray[np.float64]
X = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
Y = np.array([[0], [1], [1], [0.0]])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def by_hand(W1: Array, b1: Array, W2: Array, b2: Array) -> tuple[float, tuple[Array, ...]]:
    """The loss mean((o - y)^2) and its gradients; the weights are (out, in)."""
    a = sigmoid(X @ W1.T + b1)
    o = sigmoid(a @ W2.T + b2)
    d2 = 2 / len(X) * (o - Y) * o * (1 - o)  # sigmoid's slope from its output
    d1 = (d2 @ W2) * a * (1 - a)
    return float(np.mean((o - Y) ** 2)), (d1.T @ X, d1.sum(0), d2.T @ a, d2.sum(0))


def loss(W1: tg.Tensor, b1: tg.Tensor, W2: tg.Tensor, b2: tg.Tensor) -> tg.Tensor:
    """The same network, whose gradients tensorgrad finds."""
    a = tg.sigmoid(X @ W1.T + b1)
    o = tg.sigmoid(a @ W2.T + b2)
    return ((o - Y) ** 2).mean()


def weights(seed: int, hidden: int = 4) -> list[Array]:
    rng = np.random.default_rng(seed)
    shapes = (hidden, 2), (hidden,), (1, hidden), (1,)
    return [rng.standard_normal(shape) for shape in shapes]


def run(steps: int = 10_000, seed: int = 0) -> dict:
    given = weights(seed)
    tg.gradcheck(loss, given)  # tensorgrad's gradients against differences of the loss
    ours = tg.grad(loss, argnums=(0, 1, 2, 3))(*given)
    _, hand = by_hand(*given)
    print("by hand against tensorgrad:", tg.compare(hand, ours), sep="\n")

    square = weights(seed, hidden=2)
    _, transposed = by_hand(*square)
    print("the article's update of a square first layer:")
    print(tg.compare([transposed[0].T], [tg.grad(loss)(*square)]))
    try:
        tg.sigmoid(X @ square[0].T + square[1]) @ square[2]
    except tg.ShapeError as error:
        print("the article's second layer:", error)

    for _ in range(steps):  # at rate 1, by the gradients written by hand
        value, gradients = by_hand(*given)
        given = [w - g for w, g in zip(given, gradients, strict=True)]
    differences = [np.abs(a - b.numpy()).max() for a, b in zip(hand, ours, strict=True)]
    return {"loss": value, "difference": max(differences)}


if __name__ == "__main__":
    tg.train.experiment(run)
