"""fit, evaluate, predict, losses, loader: results, repeatability, errors before training."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses
from tensorgrad.train import progress

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4)).astype(np.float32)
Y = (X @ rng.normal(size=(4, 1))).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def classifier(**options):
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(16, activation="tanh"), tg.nn.Dense(3))
    return model.compile(**{"optimizer": "adam", "loss": "cross_entropy", **options})


def test_fit_lowers_the_loss_and_keeps_history():
    model = classifier(optimizer=tg.optim.Adam(lr=0.02), metrics=["accuracy"])
    h = model.fit(X, LABELS, epochs=20, verbose=0, validation_data=(X, LABELS))
    assert h.epochs == 20
    assert set(h.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert h.history["loss"][-1] < 0.3 * h.history["loss"][0]
    scores = model.evaluate(X, LABELS)
    assert scores["loss"] == pytest.approx(h.history["val_loss"][-1], rel=1e-6)
    predicted = model.predict(X)
    assert isinstance(predicted, np.ndarray)
    assert scores["accuracy"] == pytest.approx((predicted.argmax(1) == LABELS).mean())


def test_metrics_may_give_numbers_of_every_kind(backend):
    """Metrics may return Tensors, arrays, and scalars of NumPy and Python, in captured steps,
    too."""
    constant = {
        "float": 0.25,
        "int": 3,
        "bool": True,
        "scalar": np.float32(1.5),
        "0-d": np.ones(()),
    }
    kinds = {name: lambda p, t, value=value: value for name, value in constant.items()}
    kinds["tensor"] = lambda p, t: (p * p).mean()
    kinds["array"] = lambda p, t: (p.data * p.data).mean()
    kinds["one number"] = lambda p, t: (p * p).mean().reshape(1)
    for name, metric in kinds.items():
        metric.__name__ = name
    model = classifier(optimizer=tg.optim.SGD(lr=0.0), metrics=kinds.values(), graphed=True)
    found = model.fit(X, LABELS, epochs=3, batch_size=8, verbose=0, shuffle=False).history
    scores = model.evaluate(X, LABELS)
    for name in kinds:
        assert found[name] == pytest.approx([scores[name]] * 3, rel=1e-6), name
    for name, value in constant.items():
        assert scores[name] == value
    model.compile("sgd", "cross_entropy", metrics=lambda p, t: p.data.mean(0))
    with pytest.raises(tg.ShapeError, match=r"one number for a batch, got shape \(3,\)"):
        model.fit(X, LABELS, verbose=0)


def test_metrics_of_one_name_are_told_apart():
    def loss(p, t):
        return p.max()

    metrics = [lambda p, t: 1.0, "accuracy", lambda p, t: 2.0, "accuracy", loss]
    model = classifier(metrics=metrics)
    scores = model.evaluate(X, LABELS)
    assert list(scores) == ["loss", "<lambda>", "accuracy", "<lambda>_2", "accuracy_2", "loss_2"]
    assert (scores["<lambda>"], scores["<lambda>_2"]) == (1.0, 2.0)
    assert scores["accuracy"] == scores["accuracy_2"] <= 1
    assert scores["loss"] == losses.cross_entropy(model(X), LABELS).item()


def test_the_loss_of_an_epoch_is_the_mean_over_examples():
    model = classifier(optimizer=tg.optim.SGD(lr=0.0))
    h = model.fit(X, LABELS, epochs=1, batch_size=37, verbose=0)
    expected = losses.cross_entropy(model(X), LABELS).item()
    assert h.history["loss"][0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kernels", ["auto", "always"])
def test_a_seed_gives_the_same_run_twice_bit_for_bit(kernels):
    def run():
        tg.seed(5)
        model = tg.nn.Sequential(
            tg.nn.Dense(16, activation="relu"), tg.nn.Dropout(0.3), tg.nn.Dense(3)
        )
        model.compile("adam", "cross_entropy")
        model.fit(X, LABELS, epochs=4, batch_size=16, verbose=0)
        return model.get_weights()

    with tg.use_kernels(kernels):
        for a, b in zip(run(), run(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_training_run_is_the_same_on_every_backend(backend):
    def run(name):
        tg.set_backend(name)
        tg.seed(1)
        model = tg.nn.Sequential(
            tg.nn.Dense(16, activation="gelu"),
            tg.nn.LayerNorm(),
            tg.nn.Dropout(0.2),
            tg.nn.Dense(8, activation="sigmoid"),
            tg.nn.Dense(3),
        )
        model.compile(tg.optim.SGD(lr=0.1, momentum=0.9), "cross_entropy", ["accuracy"])
        h = model.fit(X, LABELS, epochs=3, batch_size=16, verbose=0)
        assert {p.backend for p in model.parameters()} == {name}
        return h.history["loss"], model.get_weights()

    losses_there, weights_there = run(backend)
    losses_here, weights_here = run("numpy")
    np.testing.assert_allclose(losses_there, losses_here, rtol=1e-4)
    for a, b in zip(weights_there, weights_here, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_predict_restores_the_mode_and_records_nothing():
    model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Dropout(0.5))
    np.testing.assert_array_equal(model.predict(X), model.predict(X, batch_size=7))
    assert model.training
    assert model.layers[1].training


def test_data_is_cast_to_the_dtype_of_the_model():
    model = tg.nn.Sequential(tg.nn.Dense(1, 4)).compile("sgd", "mse")
    model.fit(X.astype(np.float64), Y.astype(np.float64), verbose=0)
    assert model.parameters()[0].dtype == np.float32
    assert model.predict(X.astype(np.float64)).dtype == np.float32


@pytest.mark.host
def test_a_promoting_model_is_warned_about():
    model = tg.nn.Sequential(tg.nn.Dense(1, 4), lambda x: x.astype("float64")).compile("sgd", "mse")
    with pytest.warns(UserWarning, match="promotes"):
        model.fit(X, Y, verbose=0)


def test_early_stopping_restores_the_best_weights():
    class Getting(tg.train.Callback):
        def epoch_end(self, model, epoch, scores):
            weights.append(model.get_weights()[0])

    weights = []
    model = tg.nn.Sequential(tg.nn.Dense(1, 4)).compile(tg.optim.SGD(lr=3.0), "mse")
    stop = tg.train.EarlyStopping(monitor="loss", patience=2)
    h = model.fit(X, Y, epochs=50, verbose=0, callbacks=[Getting(), stop])
    assert h.epochs < 50
    np.testing.assert_array_equal(model.get_weights()[0], weights[stop.best_epoch])
    assert h.epochs == stop.best_epoch + 3


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(capsys, monkeypatch):
    classifier().fit(X, LABELS, epochs=2, verbose=1)
    err = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in err] == ["epoch 1/2", "epoch 2/2"]
    assert "loss" in err[0]
    classifier().fit(X, LABELS)
    assert not capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    classifier().fit(X, LABELS)
    err = capsys.readouterr().err
    assert "epoch 1/1" in err
    assert "loss" in err
    assert "examples/s" in err


def test_the_rate_of_a_progress_bar_starts_after_the_first_step(monkeypatch):
    """That one may have compiled for seconds."""
    bars, made = [], progress.Progress.__enter__
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(
        progress.Progress, "__enter__", lambda self: bars.append(self.bar) or made(self)
    )
    classifier().fit(X, LABELS, epochs=1, batch_size=16, verbose=1)
    classifier().fit(X, LABELS, epochs=1, batch_size=len(X), verbose=1)
    assert [bar.initial for bar in bars] == [16, 0]
    assert [bar.n for bar in bars] == [len(X)] * 2


# --- the loader -----------------------------------------------------------------------------------


def test_loader_batches_and_shuffles():
    loader = tg.data.DataLoader((np.arange(10), np.arange(10) * 2), batch_size=4)
    assert len(loader) == 3
    assert [len(x) for x, _ in loader] == [4, 4, 2]
    assert len(tg.data.DataLoader(np.arange(10), batch_size=4, drop_last=True)) == 2
    tg.seed(0)
    shuffled = tg.data.DataLoader((np.arange(10), np.arange(10) * 2), 4, shuffle=True)
    first = [(x.tolist(), y.tolist()) for x, y in shuffled]
    second = [(x.tolist(), y.tolist()) for x, y in shuffled]
    assert first != second
    assert sorted([v for x, _ in first for v in x]) == list(range(10))
    assert all(y == [2 * v for v in x] for x, y in first)
    tg.seed(0)
    assert [(x.tolist(), y.tolist()) for x, y in shuffled] == first


def test_loader_gives_tensors_on_the_default_backend(backend):
    for x in tg.data.DataLoader(X, batch_size=50, shuffle=True, dtype="float64"):
        assert x.backend == backend
        assert x.dtype == np.float64


# --- losses ---------------------------------------------------------------------------------------

P, T = rng.uniform(0.05, 0.95, (5, 3)), rng.uniform(0, 1, (5, 3))
VALUES = {
    "mse": (losses.mean_squared_error, P, T, np.mean((P - T) ** 2)),
    "mae": (losses.mean_absolute_error, P, T, np.mean(np.abs(P - T))),
    "bce": (
        losses.binary_cross_entropy,
        P,
        T,
        -np.mean(T * np.log(P) + (1 - T) * np.log(1 - P)),
    ),
    "logits": (
        losses.binary_cross_entropy_with_logits,
        P,
        T,
        np.mean(np.logaddexp(0, P) - P * T),
    ),
    "huber": (
        losses.huber,
        P * 5,
        T,
        np.mean(np.where((d := np.abs(P * 5 - T)) <= 1, d * d / 2, d - 0.5)),
    ),
    "classes": (
        losses.cross_entropy,
        P,
        np.array([0, 2, 1, 1, 0]),
        np.mean(np.log(np.exp(P).sum(1)) - P[np.arange(5), [0, 2, 1, 1, 0]]),
    ),
    "probabilities": (
        losses.cross_entropy,
        P,
        T,
        np.mean((T * (np.log(np.exp(P).sum(1, keepdims=True)) - P)).sum(1)),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_losses_are_one_number_the_mean(name):
    loss, p, t, expected = VALUES[name]
    value = loss(p, t)
    assert value.shape == ()
    assert value.item() == pytest.approx(expected, rel=1e-12)
    tg.gradcheck(lambda x: loss(x, t), [p], order=2)


# --- bad input ----------------------------------------------------------------------------------

nan = np.where(np.arange(60) == 3, np.nan, Y[:, 0])[:, None]
model_of = lambda loss="mse", out=1: tg.nn.Sequential(tg.nn.Dense(out, 4)).compile("sgd", loss)  # noqa: E731

BAD = {
    "lengths": (lambda: model_of().fit(X, Y[:50]), "differ in length: 60, 50"),
    "empty": (lambda: model_of().fit(X[:0], Y[:0]), "the data is empty"),
    "NaN labels": (lambda: model_of().fit(X, nan), "y holds NaN"),
    "NaN data": (lambda: model_of().fit(np.full((60, 4), np.nan), Y), "x holds NaN"),
    "features": (lambda: model_of().fit(X[:, :3], Y), r"in_features = 4(.|\n)*layers\[0\]"),
    "label too large": (
        lambda: model_of("cross_entropy", 2).fit(X, LABELS),
        "labels run up to 2, the model has 2 classes",
    ),
    "negative label": (
        lambda: model_of("cross_entropy", 3).fit(X, LABELS - 1),
        "labels run from -1",
    ),
    "float labels": (
        lambda: model_of("cross_entropy", 3).fit(X, LABELS.astype(float)),
        "integer class labels",
    ),
    "column against row": (lambda: model_of().fit(X, Y[:, 0]), r"y\[:, None\]"),
    "no targets": (lambda: model_of().fit(X), "need targets"),
    "no compile": (lambda: tg.nn.Sequential(tg.nn.Dense(1)).fit(X, Y), "model.compile"),
    "loss name": (lambda: model_of("msee"), "did you mean 'mse'"),
    "optimizer name": (
        lambda: tg.nn.Sequential(tg.nn.Dense(1)).compile("adm"),
        "did you mean 'adam'",
    ),
    "metric name": (
        lambda: tg.nn.Sequential(tg.nn.Dense(1)).compile(metrics=["acuracy"]),
        "did you mean 'accuracy'",
    ),
    "epochs": (
        lambda: model_of().fit(X, Y, epochs=0),
        "epochs=0 must be a whole number",
    ),
    "batch size": (lambda: model_of().fit(X, Y, batch_size=0), "batch_size=0 must be a whole"),
    "validation": (
        lambda: model_of().fit(X, Y, validation_data=(X, Y[:3])),
        "differ in length: 60, 3",
    ),
    "monitor": (
        lambda: model_of().fit(X, Y, verbose=0, callbacks=[tg.train.EarlyStopping("val_los")]),
        "'val_los': Known: loss|did you mean",
    ),
    "a number as data": (lambda: tg.data.DataLoader(3.0), "first axis"),
    "text as data": (lambda: tg.data.DataLoader(np.array(["a", "b"])), "arrays hold numbers"),
    "integer dtype": (lambda: tg.data.DataLoader(X, dtype="int32"), "for floating arrays"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_before_training(name):
    call, message = BAD[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call()
