"""What one process and several are to give alike: each case trains something and returns arrays.

`python -m tensorgrad launch -n 3 tests/ranks/cases.py OUT.pickle` runs all; rank 0 writes them."""

import os
import pickle
import sys
import warnings

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train
from tensorgrad.data import DataLoader

if "STAND_IN" in os.environ:  # for GPUs and NCCL
    import stand_in

    stand_in.install()
world = tg.distributed.init()
SINGLE = world.size == 1
RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(45, 3)), RNG.integers(0, 2, size=45)
Y = (X[:, :1] * X[:, 1:2] + 0.1 * RNG.normal(size=(45, 1))).astype("float64")
CASES, TOLERANCES = {}, {}


def case(tolerance=1e-12):
    def add(function):
        CASES[function.__name__] = function
        TOLERANCES[function.__name__] = tolerance
        return function

    return add


def mlp(*more, outputs=1, dtype="float64"):
    model = nn.Sequential(nn.Dense(6, 3, activation="tanh"), *more, nn.Dense(outputs, 6))
    return model.astype(dtype)


def fitted(model, *data, optimizer=None, loss="mse", metrics=("mae",), trainer=None, **options):
    if getattr(model, "plan", None) is None:
        model.compile(optimizer or optim.SGD(lr=0.05, momentum=0.9), loss, metrics=list(metrics))
    options = {"epochs": 2, "batch_size": 8, "verbose": 0, **options}
    past = (trainer(model) if trainer else model).fit(*data, **options)
    return {**past.history, **state_of(model)}


def state_of(model):
    return {name: t.numpy() for name, t in model.named_state()}


@case()
def momentum_and_a_tail_of_five():
    model = mlp()
    found = fitted(model, X, Y, validation_data=(X[:7], Y[:7]))
    return {**found, **{f"e_{k}": v for k, v in model.evaluate(X, Y, batch_size=16).items()}}


@case()
def a_tail_of_one():
    return fitted(mlp(), X[:25], Y[:25], optimizer="adam")


@case()
def batches_of_two():
    return fitted(mlp(), X[:9], Y[:9], batch_size=2)


@case(1e-6)
def float32():
    return fitted(mlp(dtype="float32"), X, Y, optimizer="adam", epochs=4)


@case()
def accumulated_and_clipped():
    clip = {"clip_norm": 0.05, "clip_value": 0.02}
    return fitted(mlp(), X[:42], Y[:42], accumulate=4, **clip)


@case(None)  # which steps overflow depends on the examples that a rank has
def halves_with_a_loss_scale():
    return fitted(mlp(dtype="float32"), X, Y, precision="float16")


@case()
def loss_scale_in_a_loop():
    model, scale = mlp(), optim.LossScale(start=2.0**131, interval=2)  # overflows at first
    sgd = optim.SGD(model.parameters(), lr=0.1)
    tg.distributed.broadcast(model)
    loader = DataLoader((X, Y), batch_size=8, shuffle=True, seed=1)
    for _ in range(2):
        for x, y in tg.distributed.shard(loader):
            sgd.zero_grad()
            if len(x):
                scale(tg.mean_squared_error(model(x), y)).astype("float64").backward()
            tg.distributed.average(sgd, examples=len(x))
            scale.step(sgd)
    return {**state_of(model), "scale": scale.value}


@case()
def a_loop_that_adds_up_gradients():
    model = mlp()
    adam = optim.Adam(model.parameters(), lr=0.05)
    tg.distributed.broadcast(model)
    for _ in range(4):
        adam.zero_grad()
        examples = 0
        for part in (slice(0, 24), slice(24, 45)):  # no multiple of the ranks
            for x, y in tg.distributed.shard([(tg.tensor(X[part]), tg.tensor(Y[part]))]):
                if len(x):
                    (((model(x) - y) ** 2).sum() / 45).backward()
                examples += len(x)
        tg.distributed.average(adam)  # a mean over ranks, of sums
        for p in model.parameters():
            p.grad = p.grad * world.size
        adam.step()
    return state_of(model)


class Branches(nn.Module):
    """A layer that is used for some examples only, and one that is never."""

    def __init__(self):
        self.first, self.some, self.never = nn.Dense(1, 3), nn.Dense(1, 3), nn.Dense(1, 3)

    def forward(self, x):
        y, rare = self.first(x), x.numpy()[:, :1] > 1.2
        return y + self.some(x) * rare.astype("float64") if rare.any() else y


@case()
def parameters_that_some_do_not_use():
    model = Branches().astype("float64")
    found = fitted(model, X, Y, optimizer="adam", batch_size=5)
    assert model.never.weight.grad is None
    return found


@case()
def weights_of_classes_and_examples():
    weights = {"class_weight": {0: 0.5, 1: 3.0}, "sample_weight": np.linspace(0, 1, 45)}
    return fitted(mlp(outputs=2), X, LABELS, loss="cross_entropy", metrics=["accuracy"], **weights)


LABELED = np.where(RNG.random((45, 4)) < 0.6, -1, RNG.integers(0, 2, (45, 4)))  # some rows all -1
LABELED[::4] = np.abs(LABELED[::4])


def ignoring(p, t, **more):
    """A loss of two parts, each with a mean of its own: over labels, and over rows."""
    rows = {"weight": [0.3, 2.0], "ignore_index": -1, **more}
    logits = tg.reshape(p, (-1, 4, 2))
    return tg.cross_entropy(logits, t, **rows) + 0.1 * tg.mean_squared_error(p, p * 0)


@case()
def labels_that_are_ignored():
    x, labels = X[:42], LABELED[:42]
    found = fitted(mlp(outputs=8), x, labels, loss=ignoring, metrics=(), accumulate=2)
    model = mlp(outputs=2)
    more = {"sample_weight": np.arange(42) % 3 * 1.0, "batch_size": 4}  # 0 for all of some ranks
    loss = nn.CrossEntropyLoss(weight=[1.0, 3.0])
    other = fitted(model, x, LABELS[:42], loss=loss, metrics=(), **more)
    found |= {f"e_{k}": v for k, v in model.evaluate(x, LABELS[:42], batch_size=5).items()}
    return found | {f"w_{k}": v for k, v in other.items()}


@case()
def labels_that_are_ignored_in_a_loop():
    model = mlp(outputs=2)
    sgd = optim.SGD(model.parameters(), lr=0.1)
    tg.distributed.broadcast(model)
    for x, y in tg.distributed.shard(DataLoader((X, LABELED[:, 0]), batch_size=4)):
        sgd.zero_grad()
        kept = (y.numpy() >= 0).sum() / 2
        if kept:
            tg.cross_entropy(model(x), y, ignore_index=-1).backward()
        tg.distributed.average(sgd, examples=kept)
        sgd.step()
    return state_of(model)


@case()
def sums():
    loss = nn.MSELoss(reduction="sum")
    return fitted(mlp(), X, Y, optimizer=optim.SGD(lr=0.01), loss=loss)


class InOrder(train.Gathered):
    """A metric that depends on the order of the examples."""

    name, higher_is_better = "in_order", True

    def result(self, p, t):
        return float((p.ravel() * np.arange(p.size)).sum())


@case()
def metrics_of_a_whole_epoch():
    metrics = [train.AUC(), train.F1(), InOrder(), "accuracy"]
    model = nn.Sequential(nn.Dense(1, 3, activation="sigmoid")).astype("float64")
    labels = LABELS[:, None].astype("float64")
    options = {"loss": "binary_cross_entropy", "metrics": metrics, "batch_size": 7}
    return fitted(model, X, labels, **options, validation_split=0.25)


class TwoHeads(nn.Module):
    """A model with two outputs."""

    def __init__(self):
        self.a, self.b = nn.Dense(1, 3), nn.Dense(2, 3)

    def forward(self, x):
        return {"a": self.a(x), "b": self.b(x)}


@case()
def several_outputs():
    model = TwoHeads().astype("float64")
    losses = {"a": "mse", "b": "cross_entropy"}
    model.compile("adam", losses, metrics={"a": ["mae"]}, loss_weights={"a": 2.0, "b": 0.5})
    return fitted(model, X, {"a": Y, "b": LABELS})


class Twice(train.Trainer):
    """Two updates for each batch, and scores of its own."""

    def step(self, x, y, weight):
        for _ in range(2):
            loss = self.loss(self.model(x), y, weight)
            self.update(loss)
        return {"loss": loss, "largest": abs(self.model(x)).mean()}


@case()
def a_step_of_ones_own():
    return fitted(mlp(), X[:26], Y[:26], trainer=Twice, metrics=())


@case()
def stopped_early():
    seen = []
    calls = [
        train.EarlyStopping("val_loss", patience=2),
        train.ReduceLROnPlateau("loss", patience=1),
        lambda epoch, scores: seen.append(scores["loss"]),
    ]
    optimizer = optim.SGD(lr=1.1)
    model = mlp()
    found = fitted(
        model, X, Y, optimizer=optimizer, epochs=12, callbacks=calls, validation_split=0.2
    )
    return {**found, "rate": model.plan.optimizer.lr, "seen": seen}


def noisy(sample):
    from tensorgrad.data import rng

    x, y = sample
    return x + 0.1 * rng().normal(size=3), y


SAMPLES = list(zip(X, Y, strict=True))


@case()
def samples_that_are_transformed():
    return fitted(mlp(), DataLoader(SAMPLES, 8, shuffle=True, transform=noisy, seed=5))


@case()
def workers():
    return fitted(mlp(), DataLoader(SAMPLES, 8, shuffle=True, transform=noisy, workers=2))


@case()
def a_stream():
    return fitted(mlp(), DataLoader(lambda: iter(SAMPLES), 8, transform=noisy, seed=5))


@case()
def a_generator():
    def batches():
        for i in range(0, 45, 8):
            yield X[i : i + 8], Y[i : i + 8]

    return fitted(mlp(), batches, steps_per_epoch=4, epochs=3)


@case()
def samplers():
    weighted = DataLoader((X, Y), 8, sampler=tg.data.Weighted(np.arange(45.0)))
    model = mlp()
    found = fitted(model, weighted)
    mixed = np.random.default_rng(world.rank).permutation(45)  # another on each rank
    return found | {
        f"b{k}": v for k, v in fitted(model, DataLoader((X, Y), 8, sampler=mixed)).items()
    }


@case()
def single_batches():
    model = mlp()
    model.compile("adam", "mse")
    tg.distributed.broadcast(model)
    scores = [model.train_on_batch(X[:n], Y[:n])["loss"] for n in (1, 5, 8)]
    return {"scores": scores, **state_of(model), "out": model.predict(X)}


def with_state(found, optimizer):
    saved = optimizer.state_dict()
    for i, state in enumerate(saved["state"]):
        found |= {f"state {i} {j}": a for j, a in enumerate(state or ())}
    vectors = [np.broadcast_to(v, (len(saved["state"]), 2)) for v in saved["hyper"]]
    return found | {f"hyper {i}": v for i, v in enumerate(vectors)}


def plain_or_sharded(optimizer):
    return optimizer if SINGLE else tg.distributed.Sharded(optimizer)


@case()
def sharded_states():
    optimizer = plain_or_sharded(optim.Adam(lr=optim.schedules.cosine(0.05, 20)))
    return with_state(fitted(mlp(), X, Y, optimizer=optimizer, clip_norm=0.3), optimizer)


@case()
def sharded_states_of_whole_matrices():
    optimizer = plain_or_sharded(optim.LAMB(lr=0.05))
    options = {"clip_value": 0.02, "accumulate": 2}
    return with_state(fitted(mlp(), X, Y, optimizer=optimizer, **options), optimizer)


@case()
def sharded_states_with_a_loss_scale():
    model, scale = Branches().astype("float64"), optim.LossScale(start=2.0**131, interval=2)
    adam = plain_or_sharded(optim.Adam(model.parameters(), lr=0.1))
    tg.distributed.broadcast(model)
    for x, y in tg.distributed.shard(DataLoader((X, Y), batch_size=5)):
        adam.zero_grad()
        scale(tg.mean_squared_error(model(x), y)).astype("float64").backward()
        tg.distributed.average(adam, examples=len(x))
        scale.step(adam)
    return with_state({**state_of(model), "scale": scale.value}, adam)


@case(None)
def masks_and_norms():
    """Of which each rank has its own, so that one process gives other numbers."""
    model = mlp(nn.BatchNorm1d(6), nn.Dropout(0.3))
    return fitted(model, X, Y, batch_size=11)


def main(out, names):
    found = {}
    for name in names or CASES:
        run = CASES[name]
        tg.seed(7 * world.rank)  # others are to go by rank 0's
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[name] = {k: np.asarray(v) for k, v in run().items()}
        everyone = world.gather(found[name], "the results of a case")
        for rank, theirs in enumerate(everyone):
            for k, v in everyone[0].items():
                assert np.array_equal(v, theirs[k], equal_nan=True), f"{name}: {k} of rank {rank}"
    if world.rank == 0:
        with open(out, "wb") as file:
            pickle.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
