"""One rank does what it should not: `launch -n 3 tests/ranks/failing.py WHAT RANK`."""

import os
import signal
import sys
import time

import numpy as np

import tensorgrad as tg
from tensorgrad import nn

what, rank = sys.argv[1], int(sys.argv[2])
world = tg.distributed.init()
tg.seed(0)
mine = world.rank == rank
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))


def boom():
    raise ValueError("boom")


LEAVES = {
    "raises": boom,
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hangs": lambda: time.sleep(600),
    "exits with 0": lambda: sys.exit(0),
    "exits with 3": lambda: sys.exit(3),
    "leaves at once": lambda: os._exit(0),
}


class Leave(tg.train.Callback):
    def batch_end(self, model, batch, loss):
        if mine and batch == 1 and what in LEAVES:
            LEAVES[what]()


def other(name, usual, unusual):
    return unusual if mine and what == name else usual


model = nn.Sequential(nn.Dense(other("layer", 4, 5), 3), nn.Dense(1, other("layer", 4, 5)))
model.astype(other("dtype", "float32", "float64"))
model.compile(other("optimizer", "adam", "sgd"), "mse", metrics=[other("metric", "mae", "mse")])
options = {"epochs": other("epochs", 2, 3), "batch_size": other("batch size", 5, 6), "verbose": 0}
if what == "batches":

    def batches():
        for i in range(0, other("batches", 30, 20), 5):
            yield X[i : i + 5], Y[i : i + 5]

    model.fit(batches, epochs=2)
elif what == "drift":

    class Own(tg.train.Trainer):
        def step(self, x, y, weight):
            loss = self.loss(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()  # with this rank's gradients
            return {"loss": loss}

    Own(model).fit(X, Y, epochs=2)
elif what == "lengths":
    sgd = tg.optim.SGD([tg.Parameter(np.ones(other("lengths", 4, 5)))])
    sgd.params()[0].sum().backward()
    tg.distributed.average(sgd)
elif what == "alone":
    model.evaluate(X, Y) if mine else model.fit(X, Y, **options)
else:
    data = X + other("data", 0, 1), Y
    model.fit(*[a[: other("examples", 30, 25)] for a in data], callbacks=Leave(), **options)
print(f"rank {world.rank} is through")
