"""Mistakes that a type checker must see before the program runs: each line marked `# wrong` is an
error of mypy --strict, and no other line is (tests/test_typing.py)."""

from __future__ import annotations

import numpy as np

import tensorgrad as tg
from tensorgrad import Tensor, losses, nn


def mistakes(x: Tensor, model: nn.Sequential) -> None:
    tg.sum(x, axis="rows")  # wrong
    tg.softmax(x, dim=-1)  # wrong
    x.sum(dim=0)  # wrong
    x.foo()  # wrong
    tg.no_such_function(x)  # wrong
    tg.softmax()  # wrong
    tg.zeros("ab")  # wrong
    tg.conv2d(x, x, stride="two")  # wrong
    n: int = x.sum()  # wrong
    a: np.ndarray = tg.exp(x)  # wrong
    losses.mean_squared_error(x)  # wrong
    losses.mean_squared_error(x, x, reduction="average")  # wrong
    nn.Linear("3", 2)  # wrong
    nn.Linear(3)  # wrong
    tg.optim.Adam(model.parameters(), rate=0.1)  # wrong
    text: str = model(x)  # wrong
    x.grad.numpy()  # wrong
    nn.Dense(4, activation=3)  # wrong
    nn.Linear(3, 2, units=4)  # wrong
    nn.SimpleRNN(4, activation="sigmoid")  # wrong
    nn.SimpleRNN(4, hidden=3)  # wrong
    nn.Conv2d(4)  # wrong
    tg.exp(nn.Input((3,)))  # wrong
    model.fit(x, x, epoch=3)  # wrong
    model.compile(loss=3)  # wrong
    optimizer = tg.optim.SGD(model.parameters(), lr="fast")  # wrong
    print(optimizer.rate)  # wrong
    tg.grad(lambda x: "loss")  # wrong
    tg.grad(tg.exp, argnums="x")  # wrong
    tg.losses.no_such_loss(x, x)  # wrong
    tg.data.DataLoader((x, x), batch=3)  # wrong
    print(n, a, text)
