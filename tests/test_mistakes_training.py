"""Mistakes in layers, losses, optimizers and training, by kind: each is one error that says what to
write, or one warning where the program may be right; and what looks like one and must work."""

import concurrent.futures
import copy
import multiprocessing
import pickle
import warnings

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn, optim
from tensorgrad.train import Callback, EarlyStopping

from .rows import of_each

pytestmark = pytest.mark.host
rng = np.random.default_rng(0)
X = rng.normal(size=(12, 4)).astype(np.float32)
Y = X[:, :1].copy()
LABELS = np.arange(12) % 3
LOGITS = rng.normal(size=(12, 3)).astype(np.float32)
YES = (X[:, :1] > 0).astype(np.float32)
IMAGES = rng.integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)


def leaf(a=LOGITS):
    return tg.tensor(a, requires_grad=True)


def net():
    tg.seed(0)
    return nn.Sequential(nn.Dense(5, 4, activation="tanh"), nn.Dense(3, 5))


def compiled(model=None, optimizer="sgd", loss="cross_entropy", **options):
    return (model or net()).compile(optimizer, loss, **options)


def fitted(**options):
    return compiled().fit(X, LABELS, **{"verbose": 0, **options})


def subclass(base, **body):
    return type("Mine", (base,), body)


def replaced():
    """An optimizer of parameters, one of which the model has replaced since."""
    model = net()
    sgd = optim.SGD(model.parameters(), lr=0.1)
    model.layers[0].weight = nn.Parameter(np.ones((4, 5), np.float32))
    losses.cross_entropy(model(X), LABELS).backward()
    return model, sgd


def replaced_layer():
    model = nn.Module()
    model.body, model.head = nn.Dense(5, 4), nn.Dense(2, 5)
    sgd = optim.SGD(model.parameters(), lr=0.1)
    model.head = nn.Dense(3, 5)
    losses.cross_entropy(model.head(model.body(X)), LABELS).backward()
    return sgd


def frozen_alone():
    model = net()
    model.trainable = False
    return optim.SGD(model.parameters())


dense = lambda activation, units=3: nn.Dense(units, 4, activation=activation)(X)  # noqa: E731
bce, bcl, ce = (
    losses.binary_cross_entropy,
    losses.binary_cross_entropy_with_logits,
    losses.cross_entropy,
)

MISTAKES = {
    "losses: order": {
        "mse": (lambda: losses.mean_squared_error(Y, leaf(Y)), "prediction first, target second"),
        "huber": (lambda: losses.huber(Y, leaf(Y)), "prediction first, target second"),
        "bce": (lambda: bce(YES, leaf(YES)), "prediction first, target second"),
        "ce": (lambda: ce(LABELS, leaf()), "prediction first, target second"),
        "of a model": (lambda: bcl(YES, nn.Dense(1, 4)(X)), "the target requires a gradient"),
    },
    "losses: probabilities for logits": {
        "softmax": (lambda: ce(tg.softmax(leaf()), LABELS), "leave out the final softmax"),
        "dense softmax": (lambda: ce(dense("softmax"), LABELS), "leave out the final softmax"),
        "layer": (lambda: ce(nn.Softmax()(leaf()), LABELS), "leave out the final softmax"),
        "reshaped": (
            lambda: ce(tg.softmax(leaf()).reshape(4, 3, 3)[0], LABELS[:3]),
            "leave out the final softmax",
        ),
        "clipped": (
            lambda: ce(tg.softmax(leaf()).clip(1e-7, 1.0).astype("float64"), LABELS),
            "leave out the final softmax",
        ),
        "sigmoid": (lambda: bcl(tg.sigmoid(leaf(Y)), YES), "leave out the final sigmoid"),
        "dense sigmoid": (lambda: bcl(dense("sigmoid", 1), YES), "use binary_cross_entropy"),
        "softmax of two": (lambda: bcl(tg.softmax(leaf()), LOGITS > 0), "final softmax"),
    },
    "losses: numbers": {
        "logits for probabilities": (lambda: bce(10 * leaf(Y), YES), "end with a sigmoid"),
        "labels of -1 and 1": (lambda: bcl(leaf(Y), 2 * YES - 1), "target is 0 to 1, got -1 to 1"),
        "class numbers": (lambda: bcl(leaf(Y), LABELS[:, None]), "target is 0 to 1, got 0 to 2"),
        "class too large": (lambda: ce(leaf(), LABELS + 1), "outside the classes 0..2"),
        "negative class": (lambda: ce(leaf(), LABELS - 1), "outside the classes 0..2"),
        "floating classes": (lambda: ce(leaf(), LABELS * 1.0), r"y.astype\('int64'\)"),
        "floating column": (lambda: ce(leaf(), LABELS[:, None] * 1.0), r"y.astype\('int64'\)"),
        "several hot": (lambda: ce(leaf(), np.ones((12, 3), int)), "a single 1 in each row"),
        "one column": (lambda: ce(leaf(Y), YES), "binary_cross_entropy_with_logits"),
        "one column, bool": (lambda: ce(leaf(Y), YES > 0), "binary_cross_entropy_with_logits"),
        "column against row": (lambda: bcl(leaf(Y), YES[:, 0]), r"y\[:, None\], or np.reshape"),
        "reduction": (lambda: ce(leaf(), LABELS, reduction="avg"), "mean, none, sum"),
        "reduction of none": (
            lambda: losses.huber(leaf(Y), Y, reduction=None),
            "mean, none, sum",
        ),
        "delta": (lambda: losses.huber(leaf(Y), Y, 0.0), "delta=0.0 must be a number above 0"),
        "class for object": (lambda: losses.get(subclass(nn.Module)), "give an object of it"),
        "a number": (lambda: ce(tg.tensor(1.0), 0), "got a single number"),
    },
    "attributes": {
        "array": (lambda: setattr(nn.Dense(1, 4), "weight", np.ones((4, 1))), "weight.data ="),
        "tensor": (lambda: setattr(nn.Dense(1, 4), "bias", tg.ones(1)), r"nn.Parameter\(values\)"),
        "list": (lambda: setattr(nn.Dense(1, 4), "bias", [1.0]), "is a Parameter, got list"),
        "buffer": (
            lambda: setattr(nn.BatchNorm1d(4), "running_mean", np.ones(4)),
            r"nn.Buffer\(values\)",
        ),
        "requires_grad": (
            lambda: setattr(net(), "requires_grad", False),
            "trainable = False, or True",
        ),
        "requires_grad_": (lambda: net().requires_grad_(False), "trainable = False, or True"),
        "trainable_weights": (lambda: net().trainable_weights, "it is trainable_variables"),
        "unknown": (lambda: net().trainabel, "Sequential has no attribute 'trainabel'"),
        "trainable of text": (lambda: setattr(net(), "trainable", "no"), "True or False, got 'no'"),
    },
    "optimizers": {
        "all frozen": (frozen_alone, "all parameters are frozen; thaw some"),
        "empty generator": (lambda: optim.Adam(p for p in []), "a generator is used up"),
        "a result": (lambda: optim.SGD([leaf() * 2]), "results of ops"),
        "a module in a list": (lambda: optim.SGD([net()]), r"give model.parameters\(\)"),
        "a module": (lambda: optim.SGD(net()), r"model.parameters\(\)"),
        "untracked": (lambda: optim.SGD([tg.ones(2)]), r"nn.Parameter\(...\)"),
        "two groups": (
            lambda: optim.SGD([{"params": [p := nn.Parameter([1.0])]}, {"params": p}]),
            r"shape \(1,\) is in two groups",
        ),
        "replaced": (lambda: replaced()[1].step(), "Make the optimizer anew"),
        "replaced layer": (lambda: replaced_layer().step(), r"would not train .* \(5, 3\)"),
        "no gradient": (lambda: optim.SGD(net().parameters()).step(), "call backward"),
        "a schedule not made": (
            lambda: optim.SGD(lr=optim.schedules.constant),
            "lr=.* must be a number of 0 or more",
        ),
        "half a schedule": (lambda: optim.SGD(lr=optim.schedules.cosine), "'steps'"),
        "class": (lambda: compiled(optimizer=optim.Adam), "make an object of it"),
        "warmup to a number": (lambda: optim.schedules.warmup(3, 0.1), r"constant\(0.1\)"),
    },
    "callbacks": {
        **{
            name: (
                lambda name=name: subclass(Callback, **{name: lambda self, *a: None}),
                f"Mine.{name} is never called: write ",
            )
            for name in (
                "on_epoch_end",
                "on_train_begin",
                "on_train_end",
                "batch_begin",
                "on_train_batch_end",
                "validation_end",
                "on_validation_epoch_end",
                "train_start",
            )
        },
        "class": (lambda: fitted(callbacks=[EarlyStopping]), r"make an object of it with \(\)"),
        "class alone": (lambda: fitted(callbacks=EarlyStopping), "make an object of it"),
        "no callback": (lambda: fitted(callbacks=[3]), "objects of train.Callback"),
        "arguments of Keras": (
            lambda: fitted(callbacks=subclass(Callback, epoch_end=lambda self, epoch, logs: 0)()),
            r"write epoch_end\(self, model, epoch, scores\)",
        ),
    },
    "words": {
        "Dense out_features": (lambda: nn.Dense(out_features=3), "Dense: .*here it is units="),
        "Linear units": (lambda: nn.Linear(4, units=3), "Linear: .*here it is out_features="),
        "Linear use_bias": (lambda: nn.Linear(4, 3, use_bias=False), "Linear: .* is bias="),
        "input_shape": (lambda: nn.Dense(3, input_shape=(4,)), r"nn.Input\(shape\)"),
        "input_dim": (lambda: nn.Dense(3, input_dim=4), "here it is in_features="),
        "initializer": (lambda: nn.Dense(3, kernel_initializer="zeros"), "is weight_init="),
        "misspelt": (lambda: nn.Dense(3, actvation="relu"), "did you mean 'activation'"),
        "nothing": (lambda: nn.Dense(), r"Dense\(units, .*missing 1 required .*'units'"),
        "out_channels": (lambda: nn.Conv(out_channels=3, kernel_size=3), "is filters="),
        "strides": (lambda: nn.Conv(3, 3, strides=2), "here it is stride="),
        "pool": (lambda: nn.MaxPool2d(pool_size=2), "MaxPool2d: .*here it is kernel_size="),
        "rate": (lambda: nn.Dropout(rate=0.1), "here it is p="),
        "epsilon": (lambda: nn.LayerNorm(3, epsilon=1e-3), "here it is eps="),
        "features": (lambda: nn.LayerNorm(features=3), "here it is normalized_shape="),
        "vocab_size": (lambda: nn.Embedding(vocab_size=3), "here it is num_embeddings="),
        "num_heads": (lambda: nn.MultiHeadAttention(num_heads=3), "here it is heads="),
        "hidden_size": (lambda: nn.SimpleLSTM(hidden_size=3), "SimpleLSTM: .*here it is units="),
        "batch_first": (lambda: nn.SimpleGRU(3, batch_first=True), "the batch is always first"),
        "RNN option": (lambda: nn.SimpleRNN(3, input_size=4), "SimpleRNN: .*is in_features="),
        "beta_1": (lambda: optim.AdamW(beta_1=0.9), "AdamW: .*here it is betas="),
        "fused": (lambda: optim.AdamW(fused=True), "one call for all parameters"),
        "clipnorm": (lambda: optim.SGD(clipnorm=1.0), "optimizer.clip_grad_norm"),
        "gamma": (lambda: optim.schedules.step_decay(1.0, 2, gamma=0.5), "here it is factor="),
        "T_max": (lambda: optim.schedules.cosine(1.0, T_max=3), "here it is steps="),
        "init_scale": (lambda: optim.LossScale(init_scale=2.0), "here it is start="),
        "y_true": (lambda: ce(y_true=LABELS, y_pred=leaf()), "here it is target="),
        "from_logits": (lambda: bce(leaf(), YES, from_logits=True), "binary_cross_entropy_with"),
        "class_weight": (lambda: ce(leaf(), LABELS, class_weight=[1, 2]), "here it is weight="),
        "label_smoothing": (lambda: bce(leaf(), YES, label_smoothing=0.1), "smoothed prob"),
        "num_epochs": (lambda: fitted(num_epochs=3), "fit: .*here it is epochs="),
        "loader": (lambda: fitted(loader=X), r"fit\(loader\)"),
        "fit by place": (lambda: compiled().fit(X, LABELS, 5), r"fit\(x, y\): takes from 2 to 3"),
        "loss_fn": (lambda: net().compile(loss_fn="mse"), "compile: .*here it is loss="),
        "evaluate": (lambda: compiled().evaluate(X, LABELS, weight=X), "evaluate: "),
        "predict": (lambda: compiled().predict(X, batch=3), "predict: .*is batch_size="),
        "data": (lambda: tg.data.DataLoader(data=X), "DataLoader: .*here it is dataset="),
        "num_workers": (lambda: tg.data.DataLoader(X, num_workers=3), "here it is workers="),
        "non_blocking": (lambda: leaf().to("numpy", non_blocking=True), "DataLoader copies"),
        "pinned": (lambda: leaf().pin_memory(), "a DataLoader, which copies"),
        "restore": (lambda: EarlyStopping(restore_best_weights=True), "is restore_best="),
        "loss of PyTorch": (lambda: losses.CrossEntropyLoss, "cross_entropy, which takes logits"),
        "loss of Keras": (lambda: losses.get("binary_crossentropy"), "is binary_cross_entropy"),
        "norm": (lambda: nn.BatchNormalization, "here it is BatchNorm"),
        "loss layer": (lambda: nn.MeanSquaredError(), "tg.losses.mean_squared_error"),
        "scheduler": (lambda: optim.lr_scheduler, "here it is schedules"),
    },
    "names and values": {
        "activation": (lambda: nn.Dense(3, activation="rleu"), "did you mean 'relu'"),
        "initializer": (lambda: nn.Dense(3, 4, weight_init="xaver"), "unknown"),
        "padding": (lambda: nn.Conv(3, 3, padding="full"), "Known: same, valid"),
        "units": (lambda: nn.Dense(2.5), "units=2.5 must be a whole number of 1 or more"),
        "probability": (lambda: nn.Dropout("half"), "p='half' must be a number from 0 to below 1"),
        "metric": (lambda: compiled(metrics=["acc"]), "here it is accuracy"),
        "loss": (lambda: compiled(loss="mes"), "did you mean 'mse'"),
        "optimizer": (lambda: compiled(optimizer="adamm"), "did you mean 'adam'"),
        "fit of inputs": (lambda: compiled().fit(tg.data.DataLoader(X)), r"batches \(x, y\)"),
        "validation of one": (lambda: fitted(validation_data=X), r"two arrays, \(x, y\)"),
        "epochs": (lambda: fitted(epochs=0), "epochs=0 must be a whole number of 1 or more"),
        "batch_size": (lambda: fitted(batch_size=0), "batch_size=0 must be a whole"),
        "graphed": (lambda: tg.cuda.graphed(3, X), "the step is a function, got int"),
        "checkpoint": (lambda: tg.checkpoint(3), "give a function"),
    },
}
OTHERS = {"column against row", "class too large", "negative class", "replaced", "no gradient"}
OTHERS |= {"floating classes", "floating column", "replaced layer", "a number"}
ROWS = [(kind, name) for kind, rows in MISTAKES.items() for name in rows]


@of_each(("kind", "name"), ROWS)
def test_a_mistake_is_one_error_that_says_what_to_write(kind, name):
    call, message = MISTAKES[kind][name]
    with pytest.raises((tg.TensorgradError, AttributeError), match=message) as caught:
        call()
    if name not in OTHERS and not isinstance(caught.value, AttributeError):
        assert type(caught.value) is tg.ArgumentError


DOUBTS = {
    "a sigmoid": (lambda: ce(tg.sigmoid(leaf()), LABELS), "use binary_cross_entropy"),
    "a relu": (lambda: bcl(dense("relu", 1), YES), "no probability is below 0.5"),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_what_may_be_right_is_a_warning_at_the_users_line(name):
    call, message = DOUBTS[name]
    with pytest.warns(UserWarning, match=message) as caught:
        call()
    assert [w.filename for w in caught] == [__file__]


ALLOWED = {
    "log_softmax before cross_entropy": lambda: ce(tg.log_softmax(leaf()), LABELS),
    "distillation": lambda: ce(leaf(), tg.softmax(leaf(LOGITS + 1))),
    "both require gradients": lambda: losses.mean_squared_error(leaf(), leaf(LOGITS + 1)),
    "a tracked target in evaluation": lambda: no_grad_loss(),
    "softmax and squared error": lambda: losses.mean_squared_error(tg.softmax(leaf()), LOGITS),
    "whole logits": lambda: ce([[1, 2, 3]] * 12, LABELS),
    "probabilities": lambda: bce(tg.sigmoid(leaf(Y)), YES),
    "probabilities, rounded": lambda: bce(tg.tensor([1.0000001, 0.0]), [1, 0]),
    "the end of a softmax of no classes": lambda: ce(leaf()[:, :2], LABELS % 2),
    "a callback alone": lambda: fitted(callbacks=EarlyStopping("loss")),
    "no callbacks": lambda: fitted(callbacks=None),
    "no metrics": lambda: compiled(metrics=None).fit(X, LABELS, verbose=0),
    "callbacks of a generator": lambda: fitted(callbacks=(Callback() for _ in range(2))),
    "a hook of one's own name": lambda: subclass(Callback, best_epoch=lambda self: 1),
}


def no_grad_loss():
    with tg.no_grad():
        return losses.mean_squared_error(Y, nn.Parameter(Y + 1))


@pytest.mark.parametrize("name", ALLOWED)
def test_what_looks_like_a_mistake_and_is_none(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ALLOWED[name]()


# --- losses ---------------------------------------------------------------------------------------


def of_pandas(make):
    return lambda: make(pytest.importorskip("pandas"))


CLASSES = {
    "int64": lambda: LABELS,
    "uint8": lambda: LABELS.astype(np.uint8),
    "big-endian": lambda: LABELS.astype(">i4"),
    "list": lambda: LABELS.tolist(),
    "tuple": lambda: tuple(LABELS.tolist()),
    "column": lambda: LABELS[:, None],
    "uint8 column": lambda: LABELS[:, None].astype(np.uint8),
    "list of rows": lambda: LABELS[:, None].tolist(),
    "tensor": lambda: tg.tensor(LABELS),
    "one-hot": lambda: np.eye(3, dtype=np.float32)[LABELS],
    "one-hot int": lambda: np.eye(3, dtype=int)[LABELS],
    "one-hot uint8": lambda: np.eye(3, dtype=np.uint8)[LABELS],
    "one-hot bool": lambda: np.eye(3, dtype=bool)[LABELS],
    "one-hot list": lambda: np.eye(3, dtype=int)[LABELS].tolist(),
    "one-hot float64": lambda: np.eye(3)[LABELS],
    "Series": of_pandas(lambda pd: pd.Series(LABELS, index=range(12, 0, -1))),
    "Series uint8": of_pandas(lambda pd: pd.Series(LABELS.astype(np.uint8))),
    "Series Int64": of_pandas(lambda pd: pd.Series(LABELS, dtype="Int64")),
    "categories": of_pandas(lambda pd: pd.Series(LABELS).astype("category")),
    "frame": of_pandas(lambda pd: pd.DataFrame({"label": LABELS})),
    "dummies": of_pandas(lambda pd: pd.get_dummies(pd.Series(LABELS))),
}
ANSWERS = {
    "float32": lambda: YES,
    "float64": lambda: YES.astype(float),
    "bool": lambda: YES > 0,
    "uint8": lambda: YES.astype(np.uint8),
    "list": lambda: YES.astype(int).tolist(),
    "tensor": lambda: tg.tensor(YES > 0),
    "frame": of_pandas(lambda pd: pd.DataFrame(YES > 0)),
}


@pytest.mark.parametrize("form", CLASSES)
def test_class_numbers_come_in_every_form(form):
    target = CLASSES[form]()
    expected = ce(leaf(), LABELS)
    assert ce(leaf(), target).item() == pytest.approx(expected.item(), rel=1e-6)
    model = compiled(metrics=["accuracy"])
    plain = compiled(metrics=["accuracy"])
    for m, y in ((model, target), (plain, LABELS)):
        m.fit(X, y, epochs=2, verbose=0, shuffle=False)
    assert model.evaluate(X, target) == pytest.approx(plain.evaluate(X, LABELS), rel=1e-5)


@pytest.mark.parametrize("form", ANSWERS)
@pytest.mark.parametrize("loss", [bce, bcl], ids=lambda f: f.__name__)
def test_yes_or_no_answers_come_in_every_form(loss, form):
    p = np.linspace(0.1, 0.9, 12, dtype=np.float32)[:, None]
    assert loss(leaf(p), ANSWERS[form]()).item() == pytest.approx(loss(p, YES).item(), rel=1e-6)


P, T = rng.uniform(0.05, 0.95, (5, 3)), rng.uniform(0, 1, (5, 3))
EACH = {
    "mean_squared_error": ((P - T) ** 2, T),
    "mean_absolute_error": (abs(P - T), T),
    "huber": (np.where((d := abs(P - T)) <= 0.3, d * d / 2, 0.3 * (d - 0.15)), T),
    "binary_cross_entropy": (-(T * np.log(P) + (1 - T) * np.log(1 - P)), T),
    "binary_cross_entropy_with_logits": (np.logaddexp(0, P) - P * T, T),
    "cross_entropy": (
        np.log(np.exp(P).sum(1)) - P[np.arange(5), [0, 2, 1, 1, 0]],
        np.array([0, 2, 1, 1, 0]),
    ),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", EACH)
def test_reductions(name, reduction):
    expected, target = EACH[name]
    loss, options = getattr(losses, name), {"delta": 0.3} if name == "huber" else {}
    value = loss(P, target, reduction=reduction, **options)
    numbers = expected if reduction == "none" else getattr(expected, reduction)()
    np.testing.assert_allclose(value.numpy(), numbers, rtol=1e-12)
    whole = lambda x: loss(x, target, reduction=reduction, **options).sum()  # noqa: E731
    tg.gradcheck(whole, [P], order=2)


# --- what trains ----------------------------------------------------------------------------------

FROZEN = {
    "built": lambda: nn.Sequential(nn.Dense(5, 4), nn.BatchNorm1d(5), nn.Dense(3, 5)),
    "not yet built": lambda: nn.Sequential(nn.Dense(5), nn.BatchNorm(), nn.Dense(3)),
    "blocks": lambda: nn.Sequential(nn.TransformerBlock(2), nn.SimpleLSTM(3)),
    "attention": lambda: nn.Sequential(nn.MultiHeadAttention(2), nn.SimpleGRU(3)),
    "half": lambda: nn.Sequential(nn.Dense(5, 4), nn.Dense(3)),
}


@pytest.mark.parametrize("kind", FROZEN)
def test_what_is_frozen_stays_as_it_is_until_it_is_thawed(kind):
    x = X[None] if kind in ("blocks", "attention") else X
    model = FROZEN[kind]()
    first, last = model.layers[0], model.layers[-1]
    assert model.trainable
    first.trainable = False
    assert not first.trainable
    assert model.trainable
    model(x)
    assert not any(p.requires_grad for p in first.parameters())
    sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step():
        before = [w.copy() for w in (first.get_weights()[0], last.get_weights()[0])]
        sgd.zero_grad()
        (model(x) ** 2).mean().backward()
        sgd.step()
        after = first.get_weights()[0], last.get_weights()[0]
        return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]

    assert step() == [False, True]
    first.trainable = True
    assert step() == [True, True]
    last.trainable = False
    assert step() == [True, False]
    last.parameters()[0].requires_grad = True  # what is said last holds
    assert step() == [True, True]


def test_a_gradient_from_before_the_freeze_is_not_applied():
    model = net()
    sgd = optim.SGD(model.parameters(), lr=0.1)
    ce(model(X), LABELS).backward()
    model.layers[0].weight.requires_grad = False
    before = model.get_weights()
    sgd.step()
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [False, True, True, True]


def test_a_thawed_layer_trains_on_in_fit():
    model = compiled()
    model.layers[0].trainable = False
    start = model.get_weights()
    model.fit(X, LABELS, verbose=0)
    middle = model.get_weights()
    model.trainable = True
    model.fit(X, LABELS, verbose=0)
    assert np.array_equal(start[0], middle[0])
    assert not np.array_equal(start[2], middle[2])
    assert not np.array_equal(middle[0], model.get_weights()[0])


GIVEN = {
    "list": lambda m: m.parameters(),
    "generator": lambda m: (p for p in m.parameters()),
    "dict": lambda m: dict(m.named_parameters()),
    "values": lambda m: dict(m.named_parameters()).values(),
    "named": lambda m: m.named_parameters(),
    "twice": lambda m: m.parameters() + m.parameters(),
    "tuple": lambda m: tuple(m.parameters()),
    "a group": lambda m: {"params": m.parameters()},
    "groups": lambda m: [{"params": (p for p in layer.parameters())} for layer in m.layers],
    "groups of one": lambda m: [{"params": p} for p in m.parameters()],
    "groups of dicts": lambda m: [{"params": dict(m.named_parameters())}],
}


@pytest.mark.parametrize("form", GIVEN)
def test_parameters_come_in_every_form(form):
    model, twin = net(), net()
    sgd = optim.SGD(GIVEN[form](model), lr=0.1)
    assert len(sgd.params()) == 4
    plain = optim.SGD(twin.parameters(), lr=0.1)
    for m, opt in ((model, sgd), (twin, plain)):
        ce(m(X), LABELS).backward()
        opt.step()
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_replacing_a_parameter_is_told_from_sharing_and_from_giving_it_back():
    model, sgd = replaced()
    new = optim.SGD(model.parameters(), lr=0.1)
    new.step()  # the optimizer made after
    old = next(p for p in sgd.params() if p.successor is not None)
    model.layers[0].weight = old
    sgd.step()  # it is there again
    tied = net()
    sgd = optim.SGD(tied.parameters(), lr=0.1)
    tied.layers[1].bias = tied.layers[0].weight  # known to the optimizer, too
    ce(tied.layers[0](X)[:, :3], LABELS).backward()
    sgd.step()
    tied.layers[1].bias = None  # is no successor
    sgd.step()


def test_a_property_that_fails_says_why():
    class Net(nn.Module):
        @property
        def depth(self):
            return self.missing_part

    with pytest.raises(AttributeError, match="'missing_part'"):
        Net().depth  # noqa: B018
    assert not hasattr(Net(), "whatever")


def test_a_subclass_may_use_the_names_for_itself():
    class Net(nn.Module):
        requires_grad = True
        weights = ()

    model = Net()
    model.requires_grad, model.weights = False, (1,)
    assert (model.requires_grad, model.weights) == (False, (1,))


# --- dtypes ---------------------------------------------------------------------------------------

LAYERS = {
    "Dense": (lambda: nn.Dense(3), X),
    "Dense gelu": (lambda: nn.Dense(3, activation="gelu"), X),
    "Linear": (lambda: nn.Linear(4, 3), X),
    "Conv2d": (lambda: nn.Conv(2, 3), IMAGES),
    "MaxPool2d": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Dense(2)), IMAGES),
    "AvgPool2d": (lambda: nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Dense(2)), IMAGES),
    "GlobalAvgPool": (lambda: nn.Sequential(nn.GlobalAvgPool(), nn.Dense(2)), IMAGES),
    "Flatten": (lambda: nn.Sequential(nn.Flatten(), nn.Dense(2)), IMAGES),
    "Dropout": (lambda: nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Dense(2)), IMAGES),
    "BatchNorm": (lambda: nn.BatchNorm(), IMAGES),
    "BatchNorm evaluated": (lambda: nn.BatchNorm().eval(), IMAGES),
    "LayerNorm": (lambda: nn.LayerNorm(), IMAGES),
    "RMSNorm": (lambda: nn.RMSNorm(), IMAGES),
    "GroupNorm": (lambda: nn.GroupNorm(3), IMAGES),
    "SimpleLSTM": (lambda: nn.SimpleLSTM(3), IMAGES[0]),
    "SimpleGRU": (lambda: nn.SimpleGRU(3), IMAGES[0]),
    "SimpleRNN": (lambda: nn.SimpleRNN(3), IMAGES[0]),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(2), IMAGES[0]),
    "TransformerBlock": (lambda: nn.TransformerBlock(2), IMAGES[0]),
}


@of_each("dtype", ["float64", "float16", "int64", "uint8", "bool"])
@of_each("name", LAYERS)
def test_layers_compute_in_their_own_dtype(name, dtype):
    make, x = LAYERS[name]
    tg.seed(0)
    layer, given = make(), x.astype(dtype)
    y = layer(given)
    assert y.dtype == np.float32
    tg.seed(0)
    expected = make()(given.astype(np.float32))
    rtol = 2e-2 if dtype == "float16" else 1e-5  # which layers without weights leave as it is
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=rtol, atol=1e-5)
    if dtype.startswith("float"):  # and the gradient flows back, in the dtype of what was given
        leaf = tg.tensor(given, requires_grad=True)
        layer(leaf).sum().backward()
        assert leaf.grad.dtype == dtype


@pytest.mark.parametrize("name", LAYERS)
def test_layers_cast_where_their_weights_are(name, gpu):
    make, x = LAYERS[name]
    tg.set_backend(gpu.name)
    try:
        leaf = tg.tensor(x.astype("float64"), requires_grad=True, backend=gpu.name)
        y = make()(leaf)
        y.sum().backward()
    finally:
        tg.set_backend("numpy")
    assert (y.backend, y.dtype, leaf.grad.dtype) == (gpu.name, np.float32, np.float64)


def test_float64_layers_take_float32():
    assert nn.Dense(3, dtype="float64")(X).dtype == np.float64


def test_masks_states_and_positions_do_not_widen():
    x = rng.normal(size=(2, 5, 4))
    attention, lstm = nn.MultiHeadAttention(2), nn.SimpleLSTM(3)
    assert attention(x, mask=np.zeros((5, 5))).dtype == np.float32
    assert lstm(x, (np.zeros((2, 3)), np.zeros((2, 3)))).dtype == np.float32
    assert nn.PositionalEmbedding(8, 4)(x).dtype == np.float32


def test_states_and_masks_go_where_the_input_is(gpu):
    tg.set_backend(gpu.name)
    try:
        x, zeros = rng.normal(size=(2, 5, 4)), np.zeros((2, 3))
        outputs = [
            nn.SimpleLSTM(3)(x, (zeros, zeros)),
            nn.SimpleGRU(3)(x, zeros),
            nn.MultiHeadAttention(2)(x, mask=np.zeros((5, 5))),
        ]
    finally:
        tg.set_backend("numpy")
    assert {(y.backend, y.dtype.name) for y in outputs} == {(gpu.name, "float32")}


def test_autocast_still_chooses():
    layer = nn.Dense(3, 4)
    with tg.autocast("float16"):
        assert layer(layer(X)[:, :1] + X).dtype == np.float16
        assert nn.LayerNorm(4)(X.astype(np.float16)).dtype == np.float32
        assert layer(X.astype(np.float64)).dtype == np.float16


# --- copies ---------------------------------------------------------------------------------------


def functional():
    a, b = nn.Input(4), nn.Input(4)
    return nn.Model([a, b], (nn.Dense(3)(a) * 2.0 - nn.Dense(3)(-b)[:, :3]) @ np.ones((3, 2)))


MODELS = {
    "Linear": lambda: nn.Linear(4, 3),
    "unbuilt": lambda: nn.Dense(3),
    "Sequential": lambda: nn.Sequential(nn.Dense(5), nn.BatchNorm(), nn.Dropout(0.1), nn.ReLU()),
    "functional": lambda: functional(),
    "frozen": lambda: frozen(),
}
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m))}


def frozen():
    model = net()
    model.layers[0].trainable = False
    return model


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", MODELS)
def test_models_are_copied_and_sent(name, how):
    inputs = (X, X + 1) if name == "functional" else (X,)
    model = MODELS[name]()
    if name != "unbuilt":
        model(*inputs)
    twin = COPIES[how](model)
    if name != "unbuilt":
        np.testing.assert_array_equal(twin.eval()(*inputs).numpy(), model.eval()(*inputs).numpy())
    assert [p.requires_grad for p in twin.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert type(other) is nn.Parameter
        assert not np.shares_memory(mine.data, other.data)
    twin(*inputs).sum().backward()
    assert all(p.grad is None for p in model.parameters())


def test_a_shallow_copy_shares_its_parameters():
    model = net()
    twin = copy.copy(model)
    assert twin.parameters()[0] is model.parameters()[0]


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy_with_logits"])
def test_training_goes_on_from_a_copy(loss, how):
    rate = optim.schedules.warmup(2, optim.schedules.cosine(0.1, 9))
    model = compiled(optimizer=optim.Adam(lr=rate), loss=loss, metrics=["accuracy", "mse"])
    y = np.eye(3, dtype=np.float32)[LABELS]
    model.fit(X, y, epochs=2, verbose=0, shuffle=False)
    twin = COPIES[how](model)
    histories = [m.fit(X, y, epochs=2, verbose=0, shuffle=False).history for m in (model, twin)]
    assert histories[0] == histories[1]
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_crosses_into_another_process():
    model = net()
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        answer = pool.submit(model.predict, X).result()
    np.testing.assert_array_equal(answer, model.predict(X))


def test_data_frames_and_images_train():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X.astype(float), columns=list("abcd"))
    model = compiled(metrics=["accuracy"])
    model.fit(frame, pd.Series(LABELS), verbose=0, validation_data=(frame, pd.Series(LABELS)))
    assert model.predict(frame).dtype == np.float32
    images = nn.Sequential(nn.Conv(2, 3), nn.Flatten(), nn.Dense(3))
    compiled(images).fit(IMAGES, LABELS[:2].astype(np.uint8), verbose=0)
