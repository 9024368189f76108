"""Losses beside their formulas in NumPy, on each backend; and what their mistakes are told."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn
from tensorgrad.testing import tolerance

from . import loss_cases

rng = np.random.default_rng(0)
X, T, W = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.uniform(0.5, 2, (5, 3))
P, Q = rng.uniform(0.05, 0.95, (5, 3)), rng.uniform(0, 1, (5, 3))
S, IDS, V = np.sign(T), np.array([0, 2, 1, 1, 0]), rng.uniform(0.5, 2, 3)
ONE, A = S[:, 0], np.arange(5)
LOG = X - np.log(np.exp(X).sum(1, keepdims=True))
SIGMOID = 1 / (1 + np.exp(-X))
BITS = Q.round()


def cosines(a, b):
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b)]
    return unit[0] @ unit[1].T


def log_softmax(x):
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def ranked(x, ids, margin=1.0):
    short = np.maximum(margin - x[A, ids][:, None] + x, 0)
    short[A, ids] = 0
    return short


far = lambda a, b: np.sqrt(((a - b) ** 2).sum(1))  # noqa: E731

# name: (inputs, options, the losses without a reduction)
FORMULAS = {
    "smooth_l1": (
        (X, T, 0.5),
        {},
        np.where((d := abs(X - T)) < 0.5, d * d, d - 0.25),
    ),
    "log_cosh": ((X * 3, T), {}, np.log(np.cosh(X * 3 - T))),
    "poisson_nll": ((X, BITS), {}, np.exp(X) - BITS * X),
    "gaussian_nll": (
        (X, T, W),
        {"full": True},
        0.5 * (np.log(2 * np.pi * W) + (X - T) ** 2 / W),
    ),
    "binary_cross_entropy_with_logits": (
        (X, Q),
        {"pos_weight": V},
        -V * Q * np.log(SIGMOID) - (1 - Q) * np.log(1 - SIGMOID),
    ),
    "cross_entropy": (
        (X, IDS),
        {"label_smoothing": 0.1},
        -0.9 * LOG[A, IDS] - 0.1 * LOG.mean(1),
    ),
    "nll": ((LOG, IDS), {}, -LOG[A, IDS]),
    "focal": (
        (X, BITS),
        {"gamma": 1.5},
        np.where(
            BITS,
            -0.25 * (1 - SIGMOID) ** 1.5 * np.log(SIGMOID),
            -0.75 * SIGMOID**1.5 * np.log(1 - SIGMOID),
        ),
    ),
    "softmax_focal": ((X, IDS), {}, -((1 - np.exp(LOG[A, IDS])) ** 2) * LOG[A, IDS]),
    "dice": ((P, BITS), {}, 1 - (2 * (P * BITS).sum(1) + 1) / ((P + BITS).sum(1) + 1)),
    "kl_divergence": ((LOG, P), {}, (P * (np.log(P) - LOG)).sum(1)),
    "kl_normal": ((X, T), {}, 0.5 * (np.exp(T) + X * X - 1 - T).sum(1)),
    "kl_normal of another": (
        (X, T, 0.5, np.log(2.0)),
        {},
        0.5 * (np.log(2) - T + (np.exp(T) + (X - 0.5) ** 2) / 2 - 1).sum(1),
    ),
    "hinge": ((X, S), {}, np.maximum(0, 1 - S * X)),
    "squared_hinge": ((X, S), {}, np.maximum(0, 1 - S * X) ** 2),
    "soft_margin": ((X, S), {}, np.log1p(np.exp(-S * X))),
    "multi_margin": ((X, IDS), {"p": 2}, (ranked(X, IDS) ** 2).mean(1)),
    "multilabel_margin": ((X, np.stack([IDS, -1 + 0 * IDS, IDS], 1)), {}, ranked(X, IDS).mean(1)),
    "multilabel_soft_margin": ((X, Q), {}, (np.logaddexp(0, X) - X * Q).mean(1)),
    "hinge_embedding": ((X, S), {}, np.where(S > 0, X, np.maximum(0, 1 - X))),
    "margin_ranking": ((X, T, S, 0.5), {}, np.maximum(0, 0.5 - S * (X - T))),
    "cosine_embedding": (
        (X, T, ONE, 0.2),
        {},
        np.where(ONE > 0, 1 - np.diag(cosines(X, T)), np.maximum(0, np.diag(cosines(X, T)) - 0.2)),
    ),
    "triplet_margin": (
        (X, T, W),
        {"eps": 0.0},
        np.maximum(0, far(X, T) - far(X, W) + 1),
    ),
    "contrastive": (
        (X, T, ONE, 2.0),
        {},
        0.5 * np.where(ONE > 0, far(X, T) ** 2, np.maximum(0, 2 - far(X, T)) ** 2),
    ),
    "info_nce": ((X, T, 0.5), {}, -np.diag(log_softmax(cosines(X, T) / 0.5))),
    "info_nce both ways": (
        (X, T, 0.5, True),
        {},
        -0.5 * np.diag(log_softmax(c := cosines(X, T) / 0.5) + log_softmax(c.T).T),
    ),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FORMULAS)
def test_a_loss_is_its_formula(name, dtype, backend):
    (x, *rest), options, expected = FORMULAS[name]
    loss = getattr(losses, name.split()[0])
    p = tg.tensor(x.astype(dtype), requires_grad=True)
    rtol, atol = tolerance(dtype, 9)
    for reduction, value in (
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.mean()),
    ):
        y = loss(p, *rest, reduction=reduction, **options)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), value, rtol=4 * rtol, atol=4 * atol)
    y = loss(p, *rest, sample_weight=A, **options)
    wide = A if expected.ndim == 1 else A[:, None] + 0 * expected
    np.testing.assert_allclose(y.item(), (wide * expected).sum() / wide.sum(), rtol=8 * rtol)
    y.backward()
    assert np.isfinite(p.grad.numpy()).all()


@pytest.mark.parametrize("name", [n for n in FORMULAS if "margin" not in n and "hinge" not in n])
def test_gradients_of_a_loss_are_of_any_order(name):
    (x, *rest), options, _ = FORMULAS[name]
    loss = getattr(losses, name.split()[0])
    tg.gradcheck(lambda x: loss(x, *rest, **options), [x], order=2)


def test_images_have_their_classes_where_axis_says(backend):
    images, labels = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    last = np.moveaxis(images, 1, -1).copy()
    for name in ("cross_entropy", "softmax_focal", "nll"):
        x, y = (-abs(images), -abs(last)) if name == "nll" else (images, last)
        loss = getattr(losses, name)
        a = loss(x, labels, axis=1, weight=V, reduction="none")
        b = loss(y, labels, weight=V, reduction="none")
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
        assert a.shape == labels.shape


def test_ignored_labels_count_for_nothing_whatever_stands_there(backend):
    x = tg.tensor(np.where(A[:, None] == 1, np.nan, X), requires_grad=True)
    some = np.where(A == 1, -1, IDS)
    for options in ({}, {"weight": V}, {"label_smoothing": 0.1}):
        loss = losses.cross_entropy(x, some, ignore_index=-1, **options)
        wanted = losses.cross_entropy(X[A != 1], IDS[A != 1], **options)
        np.testing.assert_allclose(loss.item(), wanted.item(), rtol=1e-12)
    loss = losses.cross_entropy(X, 0 * IDS - 1, ignore_index=-1)
    assert np.isnan(loss.item())  # a mean of none, as NumPy's and PyTorch's


def test_float16_means_of_many_weighted_examples_do_not_overflow():
    x, w = np.full(100_000, 3.0, np.float16), np.ones(100_000, np.float16)
    assert losses.mean_squared_error(x, 0 * x, sample_weight=w).item() == 9.0


def leaf(a=X):
    return tg.tensor(a, requires_grad=True)


MISTAKES = {
    "logits for log-probabilities": (lambda: losses.nll(X, IDS), "by log_softmax"),
    "softmax for log-probabilities": (
        lambda: losses.nll(tg.softmax(leaf()), IDS),
        "output of a softmax: make them by log_softmax",
    ),
    "the same of KL": (lambda: losses.kl_divergence(tg.softmax(leaf()), P), "by log_softmax"),
    "logarithms for probabilities": (lambda: losses.kl_divergence(LOG, LOG), "log_target=True"),
    "signs": (lambda: losses.hinge(X, BITS), r"-1 or 1, got numbers from 0 to 1; .*2 \* y - 1"),
    "weights of examples": (lambda: losses.cross_entropy(X, IDS, weight=A), "sample_weight="),
    "images": (
        lambda: losses.cross_entropy(np.ones((2, 3, 4, 5)), np.ones((2, 4, 5), int)),
        "give axis=1",
    ),
    "no such axis": (lambda: losses.cross_entropy(X, IDS, axis=3), "axis 3"),
    "a label of nll": (lambda: losses.nll(LOG, IDS + 1), r"outside the classes 0\.\.2"),
    "ignored probabilities": (
        lambda: losses.cross_entropy(X, P, ignore_index=1),
        "give sample_weight=",
    ),
    "a variance": (lambda: losses.gaussian_nll(X, T, -W), r"tg.exp\(log_variance\)"),
    "shapes of triplets": (lambda: losses.triplet_margin(X, T, W[:3]), "differ in shape"),
    "a power": (lambda: losses.multi_margin(X, IDS, 3), "p=3 must be 1 or 2"),
    "dice of logits": (lambda: losses.dice(X * 5, BITS), "end with a sigmoid or a softmax"),
    "focal of probabilities": (lambda: losses.focal(tg.sigmoid(leaf()), BITS), "takes logits"),
    "by name": (lambda: losses.get("triplet_margin"), "more than a prediction and a target"),
    "class": (lambda: losses.get(nn.MSELoss), "give an object of it"),
    "option of a module": (lambda: nn.HuberLoss(delta=0.0), "delta=0.0 must be a number above 0"),
    "reduction of a module": (
        lambda: nn.MSELoss(reduction="avg"),
        "mean or sum or none|mean, none",
    ),
    "size_average": (lambda: nn.MSELoss(size_average=True), "here it is reduction="),
}


@pytest.mark.host
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_an_error_that_says_what_to_write(name):
    call, message = MISTAKES[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call()


@pytest.mark.parametrize("loss", ["cross_entropy", "softmax_focal", "module"])
def test_fit_notices_a_softmax_before_the_loss(loss):
    """`fit`, which is what compiles steps, runs the step's Python on a tape."""
    loss = nn.CrossEntropyLoss() if loss == "module" else loss
    model = nn.Sequential([nn.Dense(3, 3, activation="softmax")]).compile("sgd", loss)
    with pytest.raises(tg.ArgumentError, match=r"leave out (the|its) final softmax"):
        model.fit(X, IDS, verbose=0)


@pytest.mark.parametrize("name", loss_cases.NAMES)
def test_a_model_is_compiled_with_each_loss_by_name(name):
    _, target = loss_cases.case(name, 5, 3)
    last = {"nll": tg.nn.Activation(tg.log_softmax), "kl_divergence": nn.Activation(tg.log_softmax)}
    tg.seed(0)
    end = [last[name]] if name in last else []
    end += [nn.Sigmoid()] if name in ("dice", "binary_cross_entropy") else []
    model = nn.Sequential([nn.Dense(3, 3), *end]).compile(tg.optim.Adam(lr=0.05), name)
    history = model.fit(X, target, epochs=12, verbose=0).losses
    assert history[-1] < history[0]


def test_a_module_is_a_loss_of_compile_and_holds_its_weights():
    loss = nn.CrossEntropyLoss(weight=V, label_smoothing=0.1)
    assert list(loss.state_dict()) == ["weight"]
    assert "label_smoothing=0.1" in repr(loss)
    model = nn.Sequential([nn.Dense(3, 3)]).compile("sgd", loss, metrics=["accuracy"])
    assert model.fit(X, IDS, epochs=2, verbose=0).epochs == 2


def test_accuracy_takes_each_loss_at_its_threshold():
    for loss in ("hinge", nn.BCEWithLogitsLoss(), losses.focal):
        model = nn.Sequential([nn.Dense(1, 3)]).compile("sgd", loss, metrics=["accuracy"])
        model.layers[0].weight.data = np.float32([[-1.0], [0.0], [0.0]])
        y = np.where(X[:, :1] < 0, 1.0, -1.0 if loss == "hinge" else 0.0)
        assert model.evaluate(X, y)["accuracy"] == 1.0
