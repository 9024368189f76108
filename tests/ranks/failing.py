"""One rank leaves, `launch -n 3 tests/ranks/failing.py WHAT RANK`; or has something else than the
others, `failing.py OUT.json`: of each case rank 0 writes what the ranks say."""

import json
import os
import signal
import sys
import time

import numpy as np

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.distributed import mpi

if len(sys.argv) > 2 and sys.argv[1] == "does not start" and os.environ[sys.argv[3]] == sys.argv[2]:
    sys.exit(0)
world = tg.distributed.init()
world.timeout = 5.0  # once all have started, which takes what it takes
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
    def __init__(self, leave):
        self.leave = leave

    def batch_end(self, model, batch, loss):
        if batch == 1 and self.leave is not None:
            print(f"leaves at {time.time()}", flush=True)
            self.leave()


class Own(tg.train.Trainer):
    """A step by this rank's gradients."""

    def step(self, x, y, weight):
        loss = self.loss(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}


def different(what, mine):
    """What all do, where one has or does something else."""

    def other(name, usual, unusual):
        return unusual if mine and what == name else usual

    tg.seed(0)
    width = other("layer", 4, 5)
    model = nn.Sequential(nn.Dense(width, 3), nn.Dense(1, width))
    model.astype(other("dtype", "float32", "float64"))
    optimizer = other("optimizer", "adam", "sgd")
    if what in ("rate", "option"):
        optimizer = tg.optim.Adam(lr=other("rate", 0.1, 0.2), eps=other("option", 1e-8, 1e-6))
    loss, metric = other("loss", "mse", "mae"), other("metric", "mae", "mse")
    if what == "loss option":
        loss = nn.HuberLoss(delta=other(what, 1.0, 2.0))
    model.compile(optimizer, loss, metrics=[metric])
    if what == "batches":

        def batches():
            for i in range(0, other("batches", 30, 20), 5):
                yield X[i : i + 5], Y[i : i + 5]

        model.fit(batches, epochs=2)
    elif what == "drift":
        Own(model).fit(X, Y, epochs=2)
    elif what == "lengths":
        sgd = tg.optim.SGD([tg.Parameter(np.ones(other("lengths", 4, 5)))])
        sgd.params()[0].sum().backward()
        tg.distributed.average(sgd)
    elif what == "alone" and mine:
        model.evaluate(X, Y)
    else:
        data = [a[: other("examples", 30, 25)] for a in (X + other("data", 0, 1), Y)]
        options = {
            "epochs": other("epochs", 2, 3),
            "batch_size": other("batch size", 5, 6),
            "shuffle": other("shuffle", True, False),
            "accumulate": other("accumulate", 1, 2),
            "clip_norm": other("clip_norm", None, 1.0),
            "clip_value": other("clip_value", None, 1.0),
            "precision": other("precision", None, "bfloat16"),
            "callbacks": other("callbacks", [], [tg.train.EarlyStopping("loss")]),
            "verbose": 0,
        }
        if what in LEAVES:
            options["callbacks"] = Leave(LEAVES[what] if mine else None)
        model.fit(*data, **options)


CASES = """layer dtype optimizer rate option loss loss_option metric batch_size examples epochs data
shuffle accumulate clip_norm clip_value precision callbacks batches alone lengths drift"""


def all_cases(out):
    mpi._QUIET, found = 0.0, {}
    for name in CASES.split():
        what = name if name.startswith("clip") else name.replace("_", " ")
        said = "nothing"
        try:
            different(what, world.rank == 1)
        except tg.DistributedError as error:
            said = str(error)
        found[what] = world.gather(said, "what is said")
    if not world.rank:
        with open(out, "w") as file:
            json.dump(found, file)


if len(sys.argv) == 2:
    all_cases(sys.argv[1])
else:
    different(sys.argv[1], world.rank == int(sys.argv[2]))
    print(f"rank {world.rank} is through")
