"""What people meet first with data of their own, in each form that data may have: it is handled, or
one warning or error says what to do, and the model can be trained on."""

import itertools
import re
import warnings

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.data import DataLoader
from tensorgrad.train import feed

rng = np.random.default_rng(0)
X = rng.normal(size=(33, 4))
Y = (X[:, 0] > 0).astype(np.int64)
SIZE = 8


class Samples:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def batches(x, y):
    def made():
        for i in range(0, len(x), SIZE):
            yield x[i : i + SIZE], y[i : i + SIZE]

    return made


FORMS = {
    "arrays": lambda x, y: (x, y),
    "a loader": lambda x, y: (DataLoader((x, y), SIZE),),
    "a loader of samples": lambda x, y: (DataLoader(Samples(x, y), SIZE),),
    "a data set": lambda x, y: (Samples(x, y),),
    "a function": lambda x, y: (batches(x, y),),
}


def dense(units=2, loss="cross_entropy", lr=0.01, norm=False):
    tg.seed(0)
    middle = [nn.BatchNorm(dtype="float64")] if norm else []
    layers = [nn.Flatten(), *middle, nn.Dense(units, dtype="float64")]
    return nn.Sequential(*layers).compile(tg.optim.SGD(lr=lr), loss)


def changed(a, at, value):
    a = a.copy()
    a[at] = value
    return a


def on_host():
    """Whether ops look for labels outside the classes: on a GPU it is detect_anomaly that does."""
    return tg.ones(1).backend == "numpy"


# model, x, y; what is said of arrays, and of what is read batch by batch; None: nothing
LEFT = "batch 5 of epoch 1 is a single example, of which batch norm .* drop_last=True"
OUTSIDE = r"labels run from 0 to 7(?s:.*)batch 3 of epoch 1(, samples 16, 17, .* 23)?$"
SCALE = r"inputs reach \d.*scale them, \(x - x.mean"
PIXELS = rng.integers(0, 256, (33, 1, 2, 2)).astype(np.uint8)
PIXELS[0] = 255
MET = {
    "a last batch of one": (lambda: dense(norm=True), X, Y, None, LEFT),
    "labels outside": (dense, X, changed(Y, 20, 7), "run up to 7, the model has 2", OUTSIDE),
    "labels below": (dense, X, changed(Y, 20, -1), "run from -1: classes", "labels run from -1 to"),
    "equal labels": (dense, X, 0 * Y + 1, *["all 33 targets are 1: there is nothing"] * 2),
    "equal targets": (lambda: dense(1, "mse"), X, 0.0 * X[:, :1], *["all 33 targets are 0"] * 2),
    "large inputs": (dense, 1e3 * X, Y, SCALE, SCALE),
    "pixels": (dense, PIXELS, Y, *["inputs reach 255.*scale them, x / 255"] * 2),
    "floating pixels": (dense, PIXELS.astype("f4"), Y, *["inputs reach 255.*x / 255"] * 2),
    "infinity": (dense, changed(X, 0, np.inf), Y, *["x holds infinity"] * 2),
    "NaN": (dense, changed(X, (0, 0), np.nan), Y, *["x holds NaN"] * 2),
    "NaN later on": (dense, changed(X, 20, np.nan), Y, "x holds NaN", "if the data holds no NaN"),
    "NaN targets": (lambda: dense(1, "mse"), X, X[:, :1] * np.nan, *["y holds NaN"] * 2),
    "a loss of NaN": (
        lambda: dense(1, "mse", lr=1e300),
        X,
        X[:, :1],
        "loss became (nan|inf) in epoch 1: a lower learning rate.*may help$",
        "loss became (nan|inf) in epoch 1: a lower learning rate",
    ),
    "a row of targets": (lambda: dense(1, "mse"), X, X[:, 0], *[r"y\[:, None\]"] * 2),
    "floating labels": (dense, X, Y * 1.0, *["integer class labels"] * 2),
    "no examples": (dense, X[:0], Y[:0], *["the data is empty"] * 2),
    "targets of yes or no": (
        lambda: dense(1, "binary_cross_entropy_with_logits"),
        X,
        2.0 * Y[:, None],
        *["0 to 1, y has 0.0 to 2.0"] * 2,
    ),
}


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MET)
def test_it_is_handled_or_said_once(name, form):
    make, x, y, of_arrays, read = MET[name]
    says = of_arrays if form == "arrays" or (form == "a loader" and of_arrays) else read
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", ".*encountered in", RuntimeWarning)
        model, error = make(), None
        try:
            given = FORMS[form](x, y)
            model.fit(*given, epochs=2, batch_size=SIZE, shuffle=False)
        except tg.TensorgradError as e:
            error = e
    said = [str(w.message) for w in found]
    if error is not None:
        said.append("\n".join([str(error), *getattr(error, "__notes__", [])]))
    if name in ("labels outside", "labels below") and says == read and not on_host():
        says = "if the data holds no NaN and no label outside the classes"
    elif says == OUTSIDE:
        assert (", samples" in said[0]) == (form != "a function")
    assert len(said) == (says is not None), said
    if says is not None:
        assert re.search(says, said[0], re.M), said
        assert all(w.filename == __file__ for w in found)
    if error is not None:
        assert all(np.isfinite(p.numpy()).all() for p in model.parameters())


ENDLESS = {
    "cycle": lambda: itertools.cycle([(X, Y)]),
    "count": lambda: itertools.count(),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_data_without_an_end_is_refused(kind):
    with pytest.raises(tg.ArgumentError, match=f"{kind} has no end: give steps_per_epoch="):
        dense().fit(ENDLESS[kind]())
    with pytest.raises(tg.ArgumentError, match="a single validation would empty"):
        dense().fit(X, Y, validation_data=ENDLESS[kind]())


def test_an_epoch_that_does_not_end_is_warned_of_once(monkeypatch):
    def endless():
        while True:
            yield X[:4], Y[:4]

    monkeypatch.setattr(feed, "LONG", 9)
    seen = []

    def stop(model, inputs):
        seen.append(1)
        if len(seen) > 20:
            raise KeyboardInterrupt

    for call in ("fit", "evaluate"):
        model = dense()
        seen.clear()
        model.register_forward_pre_hook(stop)
        says = "has had 9 batches.*no end: give steps"
        with pytest.warns(UserWarning, match=says) as found, pytest.raises(KeyboardInterrupt):
            getattr(model, call)(endless())
        assert len(found) == 1
    dense().fit(endless(), steps_per_epoch=11)


def test_of_samples_whose_shape_changes_the_first_is_named():
    class Changing(Samples):
        def __getitem__(self, i):
            return self.x[i, : 3 if i == 21 else 4], self.y[i]

    with pytest.raises(tg.ShapeError, match=r"sample 21 has shape \(3,\), sample 16 \(4,\)"):
        dense().fit(DataLoader(Changing(X, Y), SIZE))
    narrow = [(X[:8], Y[:8]), (X[8:16, :3], Y[8:16])]
    with pytest.raises(tg.ShapeError, match="in_features = 4") as caught:
        dense().fit(lambda: iter(narrow))
    assert caught.value.__notes__ == ["  in batch 2 of epoch 1"]
    with pytest.raises(tg.ShapeError, match=r"layers\[1\] \(Dense"):  # of a validation set
        dense().fit(X, Y, validation_data=lambda: iter(narrow))


def test_a_layer_that_is_not_made_yet_decides_the_dtype_too():
    seen = []

    def look(prediction, target):
        seen.append((prediction.dtype.name, target.dtype.name))
        return tg.losses.mean_squared_error(prediction, target)

    dense(1, look).fit(X, X[:, :1])
    assert {*seen} == {("float64", "float64")}
