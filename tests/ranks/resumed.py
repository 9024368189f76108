"""A run that is stopped, and goes on with another number of ranks:
`resumed.py FOLDER STEPS SHARDED OUT`, STEPS after which it is stopped, 0 for never."""

import pickle
import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train

folder, steps, sharded, out = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4]
world = tg.distributed.init()
tg.seed(0)
rng = np.random.default_rng(0)
X = rng.normal(size=(45, 3))
Y = np.sin(X[:, :1]) + X[:, 1:2]


class Stop(train.Callback):
    def __init__(self):
        self.done = 0

    def batch_end(self, model, batch, loss):
        self.done += 1
        if self.done == steps:
            sys.exit(9)


model = nn.Sequential(nn.Dense(6, 3, activation="tanh"), nn.Dense(1, 6)).astype("float64")
adam = optim.Adam(lr=optim.schedules.cosine(0.05, 30))
model.compile(tg.distributed.Sharded(adam) if sharded else adam, "mse", metrics=["r2", "mae"])
calls = [train.Checkpoint(folder, every=2), train.EarlyStopping("loss"), Stop()]
calls.append(train.CSVLogger(f"{folder}.csv"))
past = model.fit(X, Y, epochs=3, batch_size=8, callbacks=calls, resume="auto", verbose=0)
if world.rank == 0:
    found = {**past.history, **{name: t.numpy() for name, t in model.named_state()}}
    with open(out, "wb") as file:
        pickle.dump({k: np.asarray(v) for k, v in found.items()}, file)
