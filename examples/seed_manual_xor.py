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


def largest_difference(seed: int = 0) -> float:
    """Between the gradients by hand and tensorgrad's, over all weights."""
    given = weights(seed)
    ours = tg.grad(loss, argnums=(0, 1, 2, 3))(*given)
    pairs = zip(by_hand(*given)[1], ours, strict=True)
    return max(float(np.abs(a - b.numpy()).max()) for a, b in pairs)


def train(seed: int = 0, steps: int = 10_000, lr: float = 1.0) -> float:
    """Gradient descent with the hand-written gradients; returns the final loss."""
    ws = weights(seed)
    for _ in range(steps):
        value, gs = by_hand(*ws)
        ws = [w - lr * g for w, g in zip(ws, gs, strict=True)]
    return value


if __name__ == "__main__":
    given = weights(0)
    tg.gradcheck(loss, given)
    print("by hand against tensorgrad:")
    hand = by_hand(*given)[1]
    print(tg.compare(hand, tg.grad(loss, argnums=(0, 1, 2, 3))(*given)))
    print("the article's transposed update of a square first layer:")
    square = weights(1, hidden=2)
    hand = by_hand(*square)[1]
    print(tg.compare([hand[0].T], [tg.grad(loss)(*square)]))
    print(f"loss after 10,000 steps: {train():.1e}")
