"""fit, evaluate and predict over data of every kind, several inputs and outputs, weights, the
options of the loop, callbacks and metrics."""

import csv
import io
import itertools
import re
import sys
import tracemalloc
import types

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, train
from tensorgrad.data import DataLoader

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4))
Y = X @ rng.normal(size=(4, 1))
LABELS = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def linear(loss="mse", units=1, **options):
    tg.seed(0)
    model = nn.Sequential(nn.Dense(units, dtype="float64"))
    model(X)  # the weights are drawn now
    return model.compile(options.pop("optimizer", "sgd"), loss, **options)


def weights(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


def batches(n=8):
    for i in range(0, len(X), n):
        yield X[i : i + n], Y[i : i + n]


class Samples:
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], Y[i]


class PerEpoch:
    def __iter__(self):
        return batches()


# --- what is read -------------------------------------------------------------------------------

READ = {
    "arrays": lambda: (X, Y),
    "a loader": lambda: (DataLoader((X, Y), batch_size=8),),
    "a loader with workers": lambda: (DataLoader(Samples(), batch_size=8, workers=1),),
    "a data set": lambda: (Samples(),),
    "a list of samples": lambda: ([(x, y) for x, y in zip(X, Y, strict=True)],),
    "an iterable of batches": lambda: (PerEpoch(),),
    "a function": lambda: (batches,),
    "a generator": lambda: (itertools.chain(batches(), batches(), batches()),),
    "rows in a list": lambda: (list(X), list(Y)),
}


def test_an_error_of_validation_says_so():
    with pytest.raises(tg.ShapeError) as caught:
        linear().fit(X, Y, validation_data=(X[:, :3], Y))
    assert caught.value.__notes__[-1] == "  in the first batch of the validation data"


@pytest.mark.parametrize("kind", READ)
def test_everything_that_has_the_batches_trains_alike(kind):
    expected = linear()
    past = expected.fit(X, Y, epochs=3, batch_size=8, shuffle=False, validation_data=(X, Y))
    tested = expected.evaluate(X, Y)
    model, validation = linear(), READ[kind]()
    how = {"steps_per_epoch": 5, "validation_steps": 5} if kind == "a generator" else {}
    how["validation_data"] = validation if len(validation) == 2 else validation[0]
    found = model.fit(*READ[kind](), epochs=3, batch_size=8, shuffle=False, **how)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(found.history[name], past.history[name], rtol=1e-12)
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-12)
    how = {"steps": 5} if kind == "a generator" else {}
    scores = model.evaluate(*READ[kind](), batch_size=8, **how)
    assert scores["loss"] == pytest.approx(tested["loss"], rel=1e-12)
    given = READ[kind]()[0]
    if kind not in ("a list of samples", "rows in a list"):
        np.testing.assert_allclose(model.predict(given, **how), model.predict(X), rtol=1e-12)


def test_loaders_of_pytorch():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader as Theirs
    from torch.utils.data import TensorDataset

    loader = Theirs(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=8)
    expected, model = linear(), linear()
    expected.fit(X, Y, batch_size=8, shuffle=False)
    model.fit(loader, validation_data=loader)
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-12)


def test_a_generator_that_runs_dry_ends_training_with_a_warning():
    model = linear()
    with pytest.warns(UserWarning, match="ran out in epoch 2, after 2 of 3 batches"):
        past = model.fit(batches(), epochs=5, steps_per_epoch=3)
    assert past.epochs == 2
    again = linear().fit(PerEpoch(), epochs=4, steps_per_epoch=3)  # begins anew
    assert again.epochs == 4
    with pytest.warns(UserWarning, match="ran out in epoch 1, after 5 batches: .* read once"):
        assert linear().fit(batches(), epochs=3).epochs == 1
    assert linear().fit(batches()).epochs == 1  # with no warning


def test_endless_data_has_epochs_by_steps():
    def endless():
        while True:
            yield from batches()

    past = linear().fit(
        endless(), epochs=2, steps_per_epoch=7, validation_data=endless, validation_steps=2
    )
    assert past.epochs == 2
    assert len(past.history["val_loss"]) == 2


@pytest.mark.parametrize("what", ["fit", "evaluate", "predict"])
def test_no_more_is_kept_than_must_be(what, reference):
    def large():  # 60 batches of a MB
        for i in range(60):
            yield np.full((32, 4096), i / 60), np.zeros((32, 1))

    model = nn.Sequential(nn.Dense(1, 4096, dtype="float64")).compile(tg.optim.SGD(lr=1e-6), "mae")
    getattr(model, what)(large)
    tracemalloc.start()
    try:
        getattr(model, what)(large)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


class TwoInTwoOut(nn.Module):
    def __init__(self, named):
        super().__init__()
        self.a, self.b = nn.Dense(1, dtype="float64"), nn.Dense(3, dtype="float64")
        self.named = named

    def forward(self, x, z):
        out = self.a(x + z), self.b(x * z)
        return {"value": out[0], "kind": out[1]} if self.named else out


@pytest.mark.parametrize("named", [False, True])
def test_several_inputs_and_outputs(named):
    tg.seed(0)
    model = TwoInTwoOut(named)
    if named:
        x, y = {"x": X, "z": X[::-1].copy()}, {"value": Y, "kind": LABELS}
        losses, metrics = {"value": "mse", "kind": "cross_entropy"}, {"kind": ["accuracy"]}
        keys = ["value", "kind"]
    else:
        x, y = (X, X[::-1].copy()), (Y, LABELS)
        losses, metrics = ["mse", "cross_entropy"], [[], ["accuracy"]]
        keys = [0, 1]
    weights_ = dict(zip(keys, (2.0, 0.5), strict=True)) if named else [2.0, 0.5]
    model.compile("adam", losses, metrics=metrics, loss_weights=weights_)
    past = model.fit(x, y, epochs=2, validation_split=0.25, batch_size=10)
    own = [f"{keys[0]}_loss", f"{keys[1]}_loss", f"{keys[1]}_accuracy"]
    names = ["loss", *own]
    assert set(past.history) == {*names, *[f"val_{n}" for n in names]}
    scores = model.evaluate(x, y)
    assert scores["loss"] == pytest.approx(2 * scores[own[0]] + 0.5 * scores[own[1]], rel=1e-12)
    outputs = model.predict(x, batch_size=7)
    values, kinds = (outputs["value"], outputs["kind"]) if named else outputs
    assert (values.shape, kinds.shape) == ((40, 1), (40, 3))
    assert scores[own[0]] == pytest.approx(((values - Y) ** 2).mean(), rel=1e-12)


def test_a_loss_of_ones_own_gets_all_outputs():
    def loss(outputs, target):
        value, kind = outputs
        return ((value - target) ** 2).mean() + 0.1 * (kind**2).sum() / len(kind)

    def size(outputs, target):
        return (outputs[1] ** 2).mean()

    model = TwoInTwoOut(False).compile("sgd", loss, metrics=[size])
    past = model.fit((X, X), Y, epochs=2, batch_size=8, validation_data=((X, X), Y))
    assert past.losses[1] < past.losses[0]
    value, kind = model.predict((X, X))
    expected = ((value - Y) ** 2).mean() + 0.1 * (kind**2).sum() / len(kind)
    scores = model.evaluate((X, X), Y, batch_size=8)
    assert scores["loss"] == pytest.approx(expected, rel=1e-12)
    assert scores["size"] == pytest.approx((kind**2).mean(), rel=1e-12)
    for metric in ("mae", train.R2()):
        model.compile("sgd", loss, metrics=[metric])
        with pytest.raises(tg.ArgumentError, match="takes one tensor"):
            model.fit((X, X), Y)


def test_a_validation_split_is_the_end_of_the_arrays():
    model, expected = linear(), linear()
    past = model.fit(X, Y, validation_split=0.25, shuffle=False, epochs=2)
    both = expected.fit(X[:30], Y[:30], validation_data=(X[30:], Y[30:]), shuffle=False, epochs=2)
    assert past.history == both.history


def test_validation_every_other_epoch_and_a_first_epoch():
    past = linear().fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=2, initial_epoch=1)
    assert len(past.losses) == 4
    assert len(past.history["val_loss"]) == 2
    assert past.places["val_loss"] == [1, 3]


# --- weights ------------------------------------------------------------------------------------


def test_weights_of_examples_and_of_classes():
    repeated = np.repeat(np.arange(40), np.where(LABELS == 2, 3, 1))
    expected = linear("cross_entropy", units=3)
    expected.fit(X[repeated], LABELS[repeated], batch_size=200, shuffle=False)
    model = linear("cross_entropy", units=3)
    model.fit(X, LABELS, batch_size=200, class_weight={2: 3.0}, shuffle=False)
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-6)
    model = linear("cross_entropy", units=3)
    model.fit(
        X, LABELS, batch_size=200, sample_weight=np.where(LABELS == 2, 3.0, 1.0), shuffle=False
    )
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-6)
    model = linear("cross_entropy", units=3)
    w = np.where(LABELS == 2, 3.0, 1.0).astype(np.float32)
    model.fit(DataLoader((X, LABELS, w), batch_size=200))
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-6)
    for data in (X, LABELS), (X, LABELS, np.sqrt(w)):
        model = linear("cross_entropy", units=3)
        by_class = {2: 3.0 if len(data) == 2 else 3.0**0.5}
        model.fit(DataLoader(data, batch_size=200), class_weight=by_class)
        np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-6)


# --- the update ---------------------------------------------------------------------------------


def test_accumulated_gradients_are_those_of_a_larger_batch():
    expected, model = linear(), linear()
    expected.fit(X[:32], Y[:32], batch_size=16, shuffle=False, epochs=2)
    model.fit(X[:32], Y[:32], batch_size=4, accumulate=4, shuffle=False, epochs=2)
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-12)
    model = linear()
    model.fit(X[:32], Y[:32], batch_size=16, accumulate=5, shuffle=False)  # 2 of 5, at the end
    expected = linear()
    expected.fit(X[:32], Y[:32], batch_size=32, shuffle=False)
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-12)


def test_clipping():
    before = weights(linear_built())
    for how, bound in (({"clip_norm": 1e-3}, 1e-3), ({"clip_value": 1e-3}, 1e-3)):
        model = linear_built()
        model.fit(X, 100 * Y, batch_size=40, **how)
        moved = abs(weights(model) - before) / 0.01
        size = np.linalg.norm(moved) if "clip_norm" in how else moved.max()
        assert size == pytest.approx(bound, rel=1e-2)


def linear_built():
    return linear(optimizer=tg.optim.SGD(lr=0.01))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision(precision):
    tg.seed(0)
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    seen = []

    class Look(nn.Module):
        def forward(self, x):
            seen.append(str(x.dtype))
            return x

    model = nn.Sequential(nn.Dense(8), Look(), nn.Dense(1)).compile("adam", "mse")
    past = model.fit(X, Y, epochs=3, precision=precision, batch_size=10)
    assert past.losses[-1] < past.losses[0]
    assert precision in seen
    assert all(w.dtype == np.float32 for w in model.get_weights())


def test_a_last_batch_of_one_joins_the_one_before_for_batch_norm():
    tg.seed(0)
    model = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Dense(1)).compile("sgd", "mse")
    model.fit(X[:33], Y[:33], batch_size=8)
    sizes = [len(x) for x, _ in DataLoader((X[:33], Y[:33]), 8)]
    assert sizes == [8, 8, 8, 8, 1]


def test_a_step_of_ones_own():
    class Twice(train.Trainer):
        def step(self, x, y, weight):
            for _ in range(2):
                loss = self.loss(self.model(x), y, weight)
                self.update(loss)
            return {"loss": loss, "twice": 2 * loss, "one": 1.0}

    model = linear()
    past = Twice(model).fit(X, Y, epochs=2, batch_size=40, shuffle=False)
    assert past.history["twice"] == pytest.approx([2 * v for v in past.losses])
    assert past.history["one"] == [1.0, 1.0]
    expected = linear()
    expected.fit(X, Y, epochs=4, batch_size=40, shuffle=False)
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-12)


def test_train_on_batch():
    model, expected = linear(), linear()
    scores = [model.train_on_batch(X, Y)["loss"] for _ in range(2)]
    past = expected.fit(X, Y, batch_size=40, epochs=2, shuffle=False)
    assert scores == past.losses
    assert not model.training or model._training


# --- what people meet first -----------------------------------------------------------------------


def test_warnings_about_the_data():
    with pytest.warns(UserWarning, match=r"inputs reach 9e\+04: .*scale them"):
        linear(optimizer=tg.optim.SGD(lr=1e-12)).fit(np.full((4, 4), 9e4), np.zeros((4, 1)))
    with pytest.warns(UserWarning, match="all 4 targets are 1: there is nothing to learn"):
        linear("cross_entropy", units=2).fit(X[:4], np.ones(4, np.int64))


REFUSED = {
    "batches of one": (lambda: linear().fit(iter([X])), r"batches \(x, y\)"),
    "a dict": (lambda: linear().fit(iter([{"a": X}])), r"a dict of \['a'\].*transform"),
    "an empty generator": (lambda: linear().fit(iter([])), "the data is empty"),
    "no targets": (lambda: linear().fit(X), "need targets"),
    "an iterator for validation": (
        lambda: linear().fit(X, Y, validation_data=batches()),
        "validation_steps",
    ),
    "validation of other columns": (
        lambda: linear().fit(X, Y, validation_data=(X[:, :3], Y)),
        r"was made for in_features = 4",
    ),
    "two validations": (
        lambda: linear().fit(X, Y, validation_data=(X, Y), validation_split=0.1),
        "not both",
    ),
    "a split of a loader": (
        lambda: linear().fit(DataLoader((X, Y)), validation_split=0.1),
        "cuts arrays",
    ),
    "class weights of numbers": (
        lambda: linear().fit(X, Y, class_weight={0: 1.0}),
        "integer class labels",
    ),
    "weights of another length": (
        lambda: linear().fit(X, Y, sample_weight=np.ones(3)),
        "differ in length",
    ),
    "a loss without weights": (
        lambda: linear(lambda p, t: (p - t).mean()).fit(X, Y, sample_weight=np.ones(40)),
        "takes no sample_weight=",
    ),
    "two losses, one output": (
        lambda: linear(["mse", "mse"]).fit(X, (Y, Y)),
        "gives one output and was compiled with 2 losses",
    ),
    "one loss, two outputs": (
        lambda: TwoInTwoOut(False).compile("sgd", "mse").fit((X, X), Y),
        "one for each output",
    ),
    "an output that is not there": (
        lambda: TwoInTwoOut(True).compile("sgd", {"vale": "mse"}).fit((X, X), {"vale": Y}),
        "a part 'vale', and the outputs are",
    ),
    "metrics of no output": (
        lambda: linear({"a": "mse"}, metrics={"b": "mae"}),
        r"metrics for \['b'\]",
    ),
    "a metric's class": (lambda: linear(metrics=train.AUC), "make an object of it"),
    "a direction nobody knows": (
        lambda: linear(metrics=[lambda p, t: 1.0]).fit(
            X, Y, callbacks=train.EarlyStopping("<lambda>")
        ),
        "Say mode=",
    ),
    "a file's name": (
        lambda: linear().fit(X, Y, callbacks=train.ModelCheckpoint("{auc}.st", "loss")),
        "cannot be filled in",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_refused(case):
    call, says = REFUSED[case]
    with pytest.raises(tg.TensorgradError, match=says):
        call()


# --- callbacks ----------------------------------------------------------------------------------


def constant(*values):
    """A metric with given values, one a call: a trial and then an epoch each."""
    it = iter([0.0, *values])

    def score(p, t):
        return next(it)

    return score


@pytest.mark.parametrize(("larger", "best"), [(True, 2), (False, 0)])
def test_early_stopping_knows_the_direction(larger, best):
    seen = []
    metric = constant(0.1, 0.2, 0.9, 0.5, 0.4, 0.3)
    metric.higher_is_better = larger
    model = linear(metrics=[metric])

    class Keep(train.Callback):
        def epoch_end(self, model, epoch, scores):
            seen.append(weights(model))

    stop = train.EarlyStopping("score", patience=3)
    past = model.fit(X, Y, epochs=6, batch_size=40, callbacks=[Keep(), stop])
    assert stop.best_epoch == best
    assert past.epochs == best + 4
    assert np.array_equal(weights(model), seen[best])


def test_early_stopping_by_mode_and_baseline():
    stop = train.EarlyStopping("score", patience=2, mode="max", baseline=0.95)
    past = linear(metrics=[constant(0.1, 0.9, 0.5, 0.4)]).fit(
        X, Y, epochs=4, batch_size=40, callbacks=stop
    )
    assert past.epochs == 2
    for name, metric in (("r2", "r2"), ("rmse", "rmse"), ("mae", "mae")):
        stop = train.EarlyStopping(name)
        linear(metrics=[metric]).fit(X, Y, callbacks=stop)
        assert stop._sign == (-1.0 if name == "r2" else 1.0)


def test_functions_are_callbacks():
    seen = []

    def look(epoch, scores):
        seen.append((epoch, sorted(scores)))
        return epoch == 1

    assert linear().fit(X, Y, epochs=5, callbacks=look).epochs == 2
    assert seen == [(0, ["loss"]), (1, ["loss"])]


def test_hooks_of_batches():
    seen = []

    class Look(train.Callback):
        def epoch_begin(self, model, epoch):
            seen.append(f"epoch {epoch}")

        def batch_end(self, model, batch, loss):
            seen.append((batch, loss.shape))

    linear().fit(X, Y, epochs=2, batch_size=20, callbacks=Look())
    assert seen == ["epoch 0", (0, ()), (1, ()), "epoch 1", (0, ()), (1, ())]


def test_files_of_callbacks(tmp_path):
    model = linear(metrics=["mae"])
    past = model.fit(
        X,
        Y,
        epochs=3,
        validation_data=(X, Y),
        validation_freq=2,
        callbacks=[
            train.CSVLogger(tmp_path / "log.csv"),
            train.ModelCheckpoint(tmp_path / "w/{epoch}.safetensors", best_only=False),
            train.ModelCheckpoint(tmp_path / "best.safetensors", monitor="mae"),
        ],
    )
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["loss"]) for r in rows] == past.losses
    assert [r["val_mae"] == "" for r in rows] == [True, False, True]
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == [
        f"{i}.safetensors" for i in (1, 2, 3)
    ]
    before = weights(model)
    model.load_weights(tmp_path / "w/1.safetensors")
    assert not np.array_equal(weights(model), before)
    model.load_weights(tmp_path / "best.safetensors")
    assert np.array_equal(weights(model), before)  # the last was the best
    linear(metrics=["mae"]).fit(
        X, Y, validation_data=(X, Y), callbacks=train.CSVLogger(tmp_path / "log.csv", append=True)
    )
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5
    with pytest.raises(tg.ArgumentError, match="has the columns epoch, loss, mae"):
        linear().fit(X, Y, callbacks=train.CSVLogger(tmp_path / "log.csv", append=True))


def test_rates():
    model = linear(optimizer=tg.optim.SGD(lr=1.0))
    seen = []
    model.fit(
        X,
        Y,
        epochs=3,
        callbacks=[
            train.LearningRateScheduler(lambda epoch, lr: 0.1 / (epoch + 1)),
            lambda epoch, scores: seen.append(model.plan.optimizer.lr),
        ],
    )
    assert seen == pytest.approx([0.1, 0.05, 0.1 / 3])
    model = linear(optimizer=tg.optim.SGD(lr=1e-6), metrics=[constant(*[1.0] * 5)])
    lower = train.ReduceLROnPlateau("score", patience=2, mode="min", least=2e-7)
    model.fit(X, Y, epochs=5, batch_size=40, callbacks=lower)
    assert model.plan.optimizer.lr == pytest.approx(2e-7)


def test_tensorboard_is_read_back(tmp_path):
    pytest.importorskip("tensorboardX")
    pixels = np.arange(48).reshape(3, 4, 4)  # as bytes

    def pictures(model):
        assert not model.training
        return {"one": tg.tensor(pixels / 255), "several": np.stack([pixels] * 3).astype("uint8")}

    board = train.TensorBoard(tmp_path / "tb", histograms=1, every=2, images=pictures)
    model = linear(optimizer=tg.optim.SGD(lr=0.01))
    past = model.fit(X, Y, epochs=2, validation_data=(X, Y), batch_size=10, callbacks=board)
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(tmp_path / "tb"))
    found.Reload()
    assert [e.value for e in found.Scalars("training/loss")] == pytest.approx(past.losses)
    assert [e.step for e in found.Scalars("validation/loss")] == [1, 2]
    assert len(found.Scalars("batch/loss")) == 4
    assert found.Scalars("learning_rate")[0].value == pytest.approx(0.01)
    tags = found.Tags()["histograms"]
    assert any(t.startswith("weights/") for t in tags)
    assert any(t.startswith("gradients/") for t in tags)
    images = pytest.importorskip("PIL.Image")
    assert found.Tags()["images"] == ["one", "several"]
    first, last = found.Images("one")
    assert (first.step, last.step) == (1, 2)
    one = np.asarray(images.open(io.BytesIO(last.encoded_image_string)))
    np.testing.assert_array_equal(np.moveaxis(one, -1, 0), pixels)
    several = np.asarray(images.open(io.BytesIO(found.Images("several")[0].encoded_image_string)))
    np.testing.assert_array_equal(np.moveaxis(several[:4, :4], -1, 0), pixels)
    with pytest.raises(tg.ShapeError, match=r"image 'x' has shape \(2, 4, 4\).*1 or 3 channels"):
        board.add_image("x", pixels[:2], 1)


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_scores_go_to_services(name, ours, monkeypatch):
    """Their packages are stood in for: which of their functions are called, and with what."""
    calls = []

    def noting(name, result=None):
        return lambda *args, **options: calls.append((name, args, options)) or result

    class Run:
        log, finish = map(staticmethod, map(noting, ("log", "finish")))

    package = types.ModuleType(name)
    active = None if ours else Run
    package.run, package.active_run = active, lambda: active
    package.init, package.start_run = noting("begin", Run), noting("begin")
    package.log_metrics, package.end_run = noting("log"), noting("finish")
    monkeypatch.setitem(sys.modules, name, package)
    logger = {"wandb": train.WandB(project="p"), "mlflow": train.MLflow(run_name="p")}[name]
    past = linear().fit(X, Y, epochs=2, callbacks=logger)
    if name == "wandb":
        logs = [("log", ({"epoch": i + 1, "loss": v},), {}) for i, v in enumerate(past.losses)]
    else:
        logs = [("log", ({"loss": v},), {"step": i + 1}) for i, v in enumerate(past.losses)]
    begin = [("begin", (), logger.settings)] if ours else []  # else the run is another's
    assert calls == [*begin, *logs, *([("finish", (), {})] if ours else [])]
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(tg.BackendError, match=f"needs {name}: pip install {name}"):
        linear().fit(X, Y, callbacks=type(logger)())


@pytest.fixture
def reference():
    with tg.use_kernels("reference"):
        yield


# --- units that learn no more ---------------------------------------------------------------------


def relu_net(kind):
    """A net, where the relu units are, and their outputs of a batch; some get no positive input."""
    tg.seed(0)
    x, f8 = rng.normal(size=(40, 1, 4, 4)), {"dtype": "float64"}
    if kind == "dense":
        net = [nn.Flatten(), nn.Dense(8, 16, activation="relu", **f8), nn.Dense(1, 8, **f8)]
        path, dead = "layers[1]", net[1].bias
    elif kind == "no bias":
        net = [nn.Flatten(), nn.Linear(16, 8, bias=False, **f8), nn.ReLU(), nn.Dense(1, 8, **f8)]
        path, dead, x = "layers[1]", net[1].weight, abs(x)
    elif kind == "norm":
        conv, norm = nn.Conv2d(1, 8, 2, bias=False, **f8), nn.BatchNorm2d(8, **f8)
        net = [conv, norm, nn.ReLU(), nn.Flatten(), nn.Dense(1, 72, **f8)]
        path, dead = "layers[1]", norm.bias
    else:
        net = [nn.Conv(8, 2, activation="relu", **f8), nn.Flatten(), nn.Dense(1, 72, **f8)]
        net[0](x)
        path, dead = "layers[0]", net[0].bias
    dead.data = tg.concatenate([dead.data[..., :5], dead.data[..., 5:] * 0 - 20.0], axis=-1)
    model = nn.Sequential(*net)
    before_last = nn.Sequential(*net[:-1])
    return model, path, before_last, x


@pytest.mark.parametrize("kind", ["dense", "no bias", "norm", "conv"])
def test_dead_units_are_those_that_never_fire(kind, backend, request):
    if backend == "numpy":  # nothing is to be compiled
        request.getfixturevalue("reference")
    model, path, inner, x = relu_net(kind)
    inner.train()
    fired = (inner(x).numpy().reshape(40, 8, -1) > 0).any(axis=(0, 2))
    assert 0 < fired.sum() <= 5
    look = train.DeadUnits(share=0.25)
    model.compile(tg.optim.SGD(lr=1e-9), "mse")
    with pytest.warns(UserWarning, match=rf"{re.escape(path)} .*: {8 - fired.sum()} of 8 ") as said:
        model.fit(x, x[:, 0, :1, 0], epochs=3, batch_size=10, callbacks=look)
    assert len(said) == (2 if kind == "norm" else 1)  # once; and the filters before a norm
    np.testing.assert_array_equal(look.dead[path], ~fired)
    assert not look.dead[list(look.dead)[-1]].any()
    model.fit(x, x[:, 0, :1, 0], callbacks=train.DeadUnits(share=0.9))


def test_what_looks_like_dead_units_and_is_none():
    model = linear(optimizer=tg.optim.SGD(lr=0.0))
    for p in model.parameters():
        p.data = p.data * 0
    model.fit(X, 0 * X[:, :1] + 1e-300, callbacks=train.DeadUnits())  # all gradients are 0: it fits
    model = nn.Sequential(nn.Dense(4, 4, activation="relu"), nn.Dense(1, 4)).compile("sgd", "mse")
    model[0].trainable = False  # has no gradients
    look = train.DeadUnits()
    model.fit(X, Y, callbacks=look)
    assert list(look.dead) == ["layers[1]"]


def test_a_unit_that_fired_before_a_run_was_stopped_is_alive(tmp_path):
    x = np.ones((4, 1))
    x[0] = -1  # the only example for which the unit fires

    def run(stop):
        model = nn.Sequential(nn.Dense(1, 1, activation="relu"), nn.Dense(1, 1))
        model[0].weight.data, model[1].weight.data = -tg.ones((1, 1)), tg.ones((1, 1))
        look = train.DeadUnits()

        class Stop(train.Callback):
            def batch_end(self, model, batch, loss):
                if batch == stop:
                    raise KeyboardInterrupt

        calls = [look, train.Checkpoint(tmp_path, every=1), Stop()]
        model.compile(tg.optim.SGD(lr=1e-9), "mse")
        model.fit(x, x, shuffle=False, batch_size=1, callbacks=calls, resume="auto")
        return look.dead["layers[0]"].tolist()

    with pytest.raises(KeyboardInterrupt):
        run(2)
    assert run(None) == [False]


def test_history_as_a_table_and_a_picture(tmp_path):
    past = linear(metrics=["mae"]).fit(X, Y, epochs=4, validation_data=(X, Y), validation_freq=2)
    pytest.importorskip("matplotlib")
    assert len(past.plot(tmp_path / "h.png").axes) == 2
    assert (tmp_path / "h.png").stat().st_size > 1000
    pytest.importorskip("pandas")
    table = past.to_pandas()
    assert table.shape == (4, 4)
    assert list(table.index) == [1, 2, 3, 4]
    assert table["val_loss"].isna().tolist() == [True, False, True, False]


# --- metrics ------------------------------------------------------------------------------------

SCORES = rng.random((50, 4))
CLASSES = rng.integers(0, 4, 50)
P1, T1 = np.round(rng.random(60), 1), rng.integers(0, 2, 60)  # with ties
A, B = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))


def _metrics():
    m = pytest.importorskip("sklearn.metrics")
    predicted, hit = SCORES.argmax(1), (P1 > 0.5).astype(int)
    found = {
        "auc": (train.AUC(), P1, T1, m.roc_auc_score(T1, P1)),
        "average precision": (train.AveragePrecision(), P1, T1, m.average_precision_score(T1, P1)),
        "r2": (train.R2(), A[:, 0], B[:, 0], m.r2_score(B[:, 0], A[:, 0])),
        "rmse": (train.RootMeanSquaredError(), A, B, np.sqrt(((A - B) ** 2).mean())),
        "top 2": (train.TopK(2), SCORES, CLASSES, m.top_k_accuracy_score(CLASSES, SCORES, k=2)),
        "cosine": (
            train.CosineSimilarity(),
            A,
            B,
            np.mean(
                [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(A, B, strict=True)]
            ),
        ),
        "perplexity": (
            train.Perplexity(),
            np.log(SCORES),
            CLASSES,
            np.exp(m.log_loss(CLASSES, SCORES / SCORES.sum(1, keepdims=True))),
        ),
    }
    for kind, of in (
        (train.Precision, m.precision_score),
        (train.Recall, m.recall_score),
        (train.F1, m.f1_score),
    ):
        found[f"{kind.name} binary"] = kind(), P1, T1, of(T1, hit)
        for average in ("macro", "micro", "weighted"):
            wanted = of(CLASSES, predicted, average=average, zero_division=0)
            found[f"{kind.name} {average}"] = kind(average), SCORES, CLASSES, wanted
    return found


AVERAGES = ("binary", "macro", "micro", "weighted")
METRICS = (
    "auc",
    "average precision",
    "r2",
    "rmse",
    "top 2",
    "cosine",
    "perplexity",
    *[
        f"{k} {a}"
        for k in ("precision", "recall", "f1")
        for a in ("binary", "macro", "micro", "weighted")
    ],
)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_beside_scikit_learn(name, backend):
    metric, p, t, expected = _metrics()[name]
    assert metric(tg.tensor(p), tg.tensor(t)) == pytest.approx(expected, rel=1e-9)
    model = Given().compile("sgd", lambda p, t: p.sum() * 0, [metric])
    scores = model.evaluate(p, t, batch_size=7)  # over batches of an odd size
    assert scores[metric.name] == pytest.approx(expected, rel=1e-5)


class Given(nn.Module):
    def forward(self, x):
        return x


def test_edit_distance():
    def slowly(a, b):
        if not a or not b:
            return len(a) + len(b)
        same = slowly(a[1:], b[1:]) + (a[0] != b[0])
        return min(same, slowly(a[1:], b) + 1, slowly(a, b[1:]) + 1)

    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b = (rng.integers(3, size=n).tolist() for n in rng.integers(6, size=2))
        assert train.metrics.edit_distance(a, b) == slowly(a, b)


def test_confusion_matrix():
    m = pytest.importorskip("sklearn.metrics")
    found = train.metrics.confusion_matrix(tg.tensor(SCORES), tg.tensor(CLASSES))
    assert np.array_equal(found, m.confusion_matrix(CLASSES, SCORES.argmax(1)))


def test_metrics_of_a_resumed_run(tmp_path):
    """A run that is resumed in the middle of an epoch has the metrics of the whole epoch."""

    def fitted(folder, stop=None):
        tg.seed(0)
        model = nn.Sequential(nn.Dense(1, activation="sigmoid", dtype="float64"))
        model.compile("sgd", "bce", metrics=["auc", "f1"])

        class Stop(train.Callback):
            def batch_end(self, model, batch, loss):
                if batch == stop:
                    raise KeyboardInterrupt

        keep = train.Checkpoint(folder, every=1)
        y = (X[:, :1] > 0).astype(float)
        return model.fit(X, y, epochs=2, batch_size=8, callbacks=[keep, Stop()], resume="auto")

    expected = fitted(tmp_path / "a").history
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "b", stop=2)
    assert fitted(tmp_path / "b").history == expected


def test_a_loaders_transform_is_applied_in_the_dry_run():
    square = tg.data.transforms.OnInput(lambda x: x.reshape(1, 4, 4))
    arrays = np.ones((8, 16), np.float32), np.arange(8.0).reshape(8, 1)
    loader = tg.data.DataLoader(arrays, batch_size=4, transform=square)
    model = nn.Sequential(nn.Conv(2, 3), nn.Flatten(), nn.Dense(1)).compile("sgd", "mse")
    assert model.fit(loader, validation_data=loader).epochs == 1


def test_lines_of_epochs_have_the_scores_of_validation(capsys):
    linear().fit(X, Y, epochs=2, validation_data=(X, Y), validation_freq=2, verbose=2)
    assert ["val_loss" in line for line in capsys.readouterr().err.splitlines()] == [False, True]


def test_validation_is_the_same_each_time_and_leaves_its_loader():
    seen = []

    def noisy(sample):
        return sample[0] + tg.data.rng().normal(size=sample[0].shape), sample[1]

    def look(prediction, target):
        seen.append((prediction + target).numpy())
        return 0.0

    loader = tg.data.DataLoader((X, Y), batch_size=10, shuffle=True, transform=noisy)
    place = loader.state_dict()
    model = linear(optimizer=tg.optim.SGD(lr=0.0), metrics=[look])
    model.fit(X, Y, epochs=3, batch_size=40, validation_data=loader, validation_steps=2)
    assert len(seen) == 2 + 3 * 3  # two dry runs, and a step and two batches for each epoch
    for first, later in ((3, 6), (4, 7), (3, 9), (4, 10)):
        np.testing.assert_array_equal(seen[first], seen[later])
    assert loader.state_dict() == place
