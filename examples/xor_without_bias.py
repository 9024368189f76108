"""XOR without biases, and why it fails.

Without biases every hidden sigmoid unit outputs 0.5 for the input (0, 0), whatever its weights.
Its answer there is then sigmoid(0.5 * sum(w)) of the output weights w: to be near 0 their sum must
be very negative. To give 1 for (0, 1) and (1, 0) the same weights must give a positive sum. Two
hidden units cannot arrange that for most starting points and settle at a compromise; a bias on
each unit, and four of them, solve it from every seed tried.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import train

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
Y = np.array([[0], [1], [1], [0.0]])


def descend(seed: int, hidden: int, bias: bool, steps: int) -> float:
    """Gradient descent on half the summed squared error at rate 1, as the article's update does it
    without naming the loss; returns the mean squared error at the end."""
    rng = np.random.default_rng(seed)
    w0, w1 = 2 * rng.random((2, hidden)) - 1, 2 * rng.random((hidden, 1)) - 1
    weights = [w0, w1] + ([np.zeros(hidden), np.zeros(1)] if bias else [])

    def error(
        w0: tg.Tensor, w1: tg.Tensor, b0: tg.Tensor | float = 0.0, b1: tg.Tensor | float = 0.0
    ) -> tg.Tensor:
        output = tg.sigmoid(tg.sigmoid(X @ w0 + b0) @ w1 + b1)
        return 0.5 * ((output - Y) ** 2).sum()

    step = tg.value_and_grad(error, argnums=tuple(range(len(weights))))
    ws = [tg.asarray(w) for w in weights]
    for _ in range(steps):
        value, gradients = step(*ws)
        ws = [w - g for w, g in zip(ws, gradients, strict=True)]
    return 2 * value.item() / len(X)


def run(steps: int = 10_000, seed: int = 0) -> dict:
    return {
        "articles_loss": descend(seed, hidden=2, bias=False, steps=steps),
        "loss": descend(seed, hidden=4, bias=True, steps=steps),
    }


if __name__ == "__main__":
    train.experiment(run, quick={"steps": 4000})
