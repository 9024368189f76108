"""Runs that are stopped, and go on with another number of ranks: `resumed.py FOLDER STEPS OUT`,
STEPS after which they are stopped, 0 for never; of a plain optimizer, and of one in shards."""

import pickle
import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train

folder, steps, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
world = tg.distributed.init()
rng = np.random.default_rng(0)
X = rng.normal(size=(45, 3))
Y = np.sin(X[:, :1]) + X[:, 1:2]


class Stopped(Exception):
    pass


class Stop(train.Callback):
    def __init__(self):
        self.done = 0

    def batch_end(self, model, batch, loss):
        self.done += 1
        if self.done == steps:
            raise Stopped


def run(place, sharded):
    tg.seed(0)
    model = nn.Sequential(nn.Dense(6, 3, activation="tanh"), nn.Dense(1, 6)).astype("float64")
    adam = optim.Adam(lr=optim.schedules.cosine(0.05, 30))
    model.compile(tg.distributed.Sharded(adam) if sharded else adam, "mse", metrics=["r2", "mae"])
    calls = [train.Checkpoint(place, every=2), train.EarlyStopping("loss"), Stop()]
    calls.append(train.CSVLogger(f"{place}.csv"))
    past = model.fit(X, Y, epochs=3, batch_size=8, callbacks=calls, resume="auto", verbose=0)
    found = {**past.history, **{name: t.numpy() for name, t in model.named_state()}}
    return {k: np.asarray(v) for k, v in found.items()}


stopped, found = 0, {}
for kind in ("plain", "sharded"):
    try:
        found[kind] = run(f"{folder}-{kind}", kind == "sharded")
    except Stopped:
        stopped = 9
if world.rank == 0 and found:
    with open(out, "wb") as file:
        pickle.dump(found, file)
sys.exit(stopped)
