"""tg.compile: a replayed step gives the bits of the eager one, or is refused with line and remedy."""

import pickle
import random
import threading
import warnings

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn, optim

pytestmark = pytest.mark.host
rng = np.random.default_rng(0)
STEPS = 7
CE = losses.cross_entropy


def mlp():
    return nn.Sequential([nn.Dense(6, activation="relu"), nn.Dropout(0.5), nn.Dense(4)])


def rows(n=8):
    return tg.tensor(rng.standard_normal((n, 5)).astype("f")), tg.tensor(rng.integers(0, 4, n))


def images():
    return tg.tensor(rng.standard_normal((4, 1, 8, 8)).astype("f")), tg.tensor(rng.integers(0, 4, 4))


def words():
    return tg.tensor(rng.integers(0, 9, (4, 6))), tg.tensor(rng.integers(0, 4, 4))


def targets():
    return tuple(tg.tensor(rng.standard_normal((8, n)).astype("f")) for n in (5, 4))


def training(model, loss=CE, opt=lambda p: optim.Adam(p, lr=1e-2), before=None, after=None):
    """A maker of (what holds parameters, optimizer, step)."""

    def make(batch):
        m = model()
        m(batch[0])
        o = opt(m.parameters())

        def step(x, y):
            value = loss(m(x), y)
            o.zero_grad()
            value.backward()
            if before:
                before(m, o, value)
            o.step()
            return after(m, o, value) if after else value

        return m, o, step

    return make


def agree(make, batch=rows, between=None, steps=STEPS, plans=1, strict=True):
    """Eager and compiled steps on the same batches, to the last bit; returns the compiled one."""
    batches, seen = [batch() for _ in range(steps)], []
    for compiled in (False, True):
        tg.seed(1)
        m, o, step = make(batches[0])
        tg.seed(3)
        run = tg.compile(step, strict=strict) if compiled else step
        seen.append([])
        for i, b in enumerate(batches):
            if between:
                between(i, m, o)
            y = run(*b)
            values = [a.numpy() for a in (y if isinstance(y, tuple) else (y,))]
            state = [p.numpy().copy() for _, p in m.named_state()] if hasattr(m, "modules") else []
            grads = [p.grad for p in m.parameters()] if hasattr(m, "modules") else []
            seen[-1].append([*values, *state, *[g.numpy().copy() for g in grads if g is not None]])
    for i, (want, got) in enumerate(zip(*seen, strict=True)):
        assert len(want) == len(got), i
        for a, b in zip(want, got, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, f"in step {i}")
    if plans is not None:
        assert run.eager is None
        assert sum(len(p) for p in run.plans.values()) == plans
    return run


def cnn():
    return nn.Sequential(
        [nn.Conv(4, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Dense(4)]  # fmt: skip
    )


class Last(nn.Module):
    def __init__(self, cell):
        self.embed, self.cell, self.out = nn.Embedding(9, 5), cell, nn.Dense(4)

    def forward(self, x):
        y = self.cell(self.embed(x))
        y = y[0] if isinstance(y, tuple) else y
        return self.out(y[:, -1] if y.ndim == 3 else y)


def attention():
    return nn.Sequential([nn.Embedding(9, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Dense(4)])  # fmt: skip


def sgd(**options):
    return lambda p: optim.SGD(p, lr=0.1, **options)


def functional(m, o):
    params = list(m.parameters())

    def step(x, y):
        def loss(a, b, c, d):
            return CE(tg.tanh(x @ a + b) @ c + d, y)

        value, grads = tg.value_and_grad(loss, argnums=(0, 1, 2, 3))(*params)
        o.apply_gradients(zip(grads, params, strict=True))
        return value

    return step


def taped(m, o):
    def step(x, y):
        with tg.GradientTape() as tape:
            value = CE(m(x), y)
        params = list(m.parameters())
        o.apply_gradients(zip(tape.gradient(value, params), params, strict=True))
        return value

    return step


def penalty(m, o):
    def step(x, y):
        o.zero_grad()
        slope = tg.grad(lambda t: (m(t) ** 2).sum())(x)
        value = CE(m(x), y) + (slope * slope).mean() * 0.01
        value.backward()
        o.step()
        return value

    return step


def by_hand(m, o):
    def step(x, y):
        m.zero_grad()
        value = CE(m(x), y)
        value.backward()
        with tg.no_grad():
            for p in m.parameters():
                p -= 0.1 * p.grad
        return value

    return step


def scaled(m, o):
    scale = optim.LossScale(start=8.0, interval=3)

    def step(x, y):
        o.zero_grad()
        value = CE(m(x), y)
        scale(value).backward()
        applied = scale.step(o)
        return value, applied

    return step


def twice(m, o):
    def step(x, y):
        o.zero_grad()
        a = CE(m(x), y)
        a.backward()
        b = (m(x) ** 2).mean()
        b.backward()
        o.step()
        return a + b.detach(), (m(x).argmax(axis=-1) == y).astype("float32").mean()

    return step


def autocast(m, o):
    def step(x, y):
        o.zero_grad()
        with tg.autocast("float16"):
            value = CE(m(x), y)
        value.backward()
        o.step()
        return value

    return step


def checkpointed(m, o):
    def step(x, y):
        o.zero_grad()
        value = CE(tg.checkpoint(m, x), y)
        value.backward()
        o.step()
        return value

    return step


def accumulating(m, o):
    def step(x, y):
        value = CE(m(x), y)
        value.backward()
        return value

    return step


def plain(step_of, model=lambda: nn.Sequential([nn.Dense(6, activation="tanh"), nn.Dense(4)])):
    def make(batch):
        m = model()
        m(batch[0])
        o = optim.SGD(m.parameters(), lr=0.1)
        return m, o, step_of(m, o)

    return make


def infinite(batches=iter(range(99))):
    x, y = rows()
    return (x * float("inf") if next(batches) in (4, 5) else x), y


CASES = {
    "mlp with dropout": (training(mlp), rows),
    "cnn": (training(cnn), images),
    "lstm": (training(lambda: Last(nn.LSTM(5, 6, batch_first=True))), words),
    "gru": (training(lambda: Last(nn.SimpleGRU(6))), words),
    "rnn": (training(lambda: Last(nn.SimpleRNN(6))), words),
    "attention": (training(attention), words),
    "huber, gelu, silu, elu": (
        training(
            lambda: nn.Sequential([nn.Dense(6, activation="gelu"), nn.SiLU(), nn.ELU(), nn.Dense(4)]),
            losses.huber,
        ),
        targets,
    ),
    "momentum": (training(mlp, opt=sgd(momentum=0.9, nesterov=True, weight_decay=0.01)), rows),
    "schedule": (training(mlp, opt=lambda p: optim.Adam(p, lr=optim.schedules.cosine(0.1, 10))), rows),  # fmt: skip
    "clip by norm": (training(mlp, before=lambda m, o, v: o.clip_grad_norm(0.1)), rows),
    "clip by value": (training(mlp, before=lambda m, o, v: o.clip_grad_value(0.01)), rows),
    "statistics": (
        training(mlp, lambda o, y: (tg.std(o, axis=-1) + tg.logsumexp(o, axis=-1)).mean() + o.var()),  # fmt: skip
        rows,
    ),
    "indexing": (training(mlp, lambda o, y: (o[y, 0] * o[:, 1:3].sum(axis=1)).mean()), rows),
    "where, clip, power, max": (
        training(
            mlp,
            lambda o, y: (tg.where(o > 0, o, o * 0.1).clip(-1, 1) ** 2).max(axis=1).mean()
            + tg.maximum(o, 0).min(),
        ),
        rows,
    ),
    "float64": (
        training(lambda: nn.Sequential([nn.Dense(4, dtype="float64")])),
        lambda: (tg.tensor(rng.standard_normal((8, 5))), rows()[1]),
    ),
    "value_and_grad": (plain(functional), rows),
    "tape": (plain(taped), rows),
    "second order": (plain(penalty), rows),
    "by hand": (plain(by_hand), rows),
    "loss scale": (plain(scaled), rows),
    "two backwards": (plain(twice), rows),
    "autocast": (plain(autocast), rows),
    "checkpoint": (plain(checkpointed, mlp), rows),
    "accumulating": (plain(accumulating), rows),
}
for _name in "AdamW NAdam RAdam Adagrad Adadelta RMSprop Adamax Lion Muon Shampoo Lamb".split():
    if hasattr(optim, _name):
        CASES[_name] = training(mlp, opt=lambda p, k=getattr(optim, _name): k(p, lr=0.01)), rows


@pytest.mark.parametrize("name", CASES)
def test_a_replay_gives_the_bits_of_the_eager_step(name):
    make, batch = CASES[name]
    plans = 2 if name == "accumulating" else 1
    agree(make, batch, plans=None if plans > 1 else 1)
