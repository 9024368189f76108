"""Networks as estimators of scikit-learn."""

import importlib.util
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.train import TensorgradClassifier, TensorgradRegressor

pytestmark = pytest.mark.host
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
LABELS = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
HOW = {"hidden": 8, "lr": 0.05, "epochs": 12, "random_state": 0}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TensorgradClassifier, TensorgradRegressor])
def test_the_checks_of_scikit_learn(kind):
    made = kind(epochs=25, lr=0.02, hidden=16, random_state=0)
    found = check_estimator(made, on_fail=None, on_skip=None)
    bad = {c["check_name"]: c["exception"] for c in found if c["status"] != "passed"}
    bad.pop("check_array_api_input", None)  # skipped, unless an environment variable is set
    if importlib.util.find_spec("pandas") is None:
        bad = {name: why for name, why in bad.items() if "pandas is not" not in str(why)}
    assert not bad
    assert len(found) > 50


@pytest.mark.slow
def test_a_search_with_processes_in_a_pipeline():
    pipe = make_pipeline(StandardScaler(), TensorgradClassifier(**HOW))
    grid = {"tensorgradclassifier__lr": [1e-9, 0.05]}
    search = GridSearchCV(pipe, grid, cv=2, n_jobs=2, error_score="raise").fit(X * 9 + 5, LABELS)
    assert search.best_params_ == {"tensorgradclassifier__lr": 0.05}
    again = clone(search.best_estimator_).fit(X * 9 + 5, LABELS)  # the same bits in any process
    np.testing.assert_array_equal(again.predict_proba(X), search.best_estimator_.predict_proba(X))


@pytest.mark.slow
def test_scikit_learn_is_imported_when_an_estimator_is_named():
    program = "import sys, tensorgrad as tg; tg.train.fit; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_labels_of_strings_probabilities_and_scores():
    net = TensorgradClassifier(**HOW)
    with pytest.raises(NotFittedError):
        net.predict(X)
    assert net.fit(X, LABELS) is net
    assert net.classes_.tolist() == ["no", "yes"]
    made = net.predict_proba(X)
    assert made.dtype == np.float64  # of X
    np.testing.assert_allclose(made.sum(1), 1, rtol=1e-6)
    assert (net.predict(X) == net.classes_[made.argmax(1)]).all()
    assert net.score(X, LABELS) == accuracy_score(LABELS, net.predict(X)) > 0.9
    assert net.n_iter_ == net.history_.epochs == 12
    assert net.predict_proba(X.astype("float32")).shape == (60, 2)
    assert cross_val_score(net, X, LABELS, cv=2).mean() > 0.8


def test_copies_and_pickles_are_alike(tmp_path):
    net = TensorgradClassifier(**HOW).fit(X, LABELS)
    other = clone(net)
    assert not hasattr(other, "model_")
    joblib.dump(net, tmp_path / "net")
    for made in (
        other.fit(X, LABELS),
        pickle.loads(pickle.dumps(net)),
        joblib.load(tmp_path / "net"),
    ):
        np.testing.assert_array_equal(made.predict_proba(X), net.predict_proba(X))
    tg.seed(1)
    before = tg.randn(2).tolist()
    tg.seed(1)
    net.fit(X, LABELS)
    assert tg.randn(2).tolist() == before  # its random numbers are its own


def test_weights_of_examples():
    first = (X[:, 0] > 0).astype(int)
    both, labels = np.concatenate([X, X]), np.concatenate([first, 1 - first])  # contradictions
    weight = np.repeat([1.0, 0.0], 60)
    net = TensorgradClassifier(**HOW)
    assert net.fit(both, labels, sample_weight=weight).score(X, first) > 0.9
    assert net.fit(both, labels, sample_weight=1 - weight).score(X, first) < 0.1


def test_several_targets_and_one():
    y = X @ RNG.normal(size=(3, 2))
    net = TensorgradRegressor(**{**HOW, "epochs": 40}).fit(X, y)
    assert net.predict(X).shape == (60, 2)
    assert net.score(X, y) > 0.8
    assert net.fit(X, y[:, 0]).predict(X).shape == (60,)


def test_an_epoch_more():
    net, whole = (TensorgradClassifier(**{**HOW, "epochs": 3}) for _ in range(2))
    whole.fit(X, LABELS)
    net.partial_fit(X[:1], LABELS[:1], classes=["no", "yes"])
    for _ in range(8):
        net.partial_fit(X, LABELS)
    assert net.n_iter_ == 9
    assert net.score(X, LABELS) > 0.8
    with pytest.raises(tg.ArgumentError, match=r"\['maybe'\] are not among the classes"):
        net.partial_fit(X[:1], ["maybe"])
    line = TensorgradRegressor(**HOW)
    for _ in range(3):
        line.partial_fit(X, X[:, 0])
    assert line.n_iter_ == 3
    with pytest.raises(tg.ShapeError, match="after others"):
        line.partial_fit(X, X[:, :2])


def convolutional(inputs, outputs, width=2):
    return nn.Sequential(nn.Conv2d(inputs, width, 3), nn.Flatten(), nn.Dense(outputs))


def test_models_of_ones_own():
    images, y = RNG.normal(size=(20, 1, 4, 4)).astype("float32"), np.arange(20) % 3
    net = TensorgradClassifier(convolutional, model_options={"width": 5}, epochs=1).fit(images, y)
    assert net.model_[0].weight.shape == (5, 1, 3, 3)
    assert net.predict(images).shape == (20,)
    given = nn.Sequential(nn.Dense(2, 3))
    before = given.get_weights()
    net = TensorgradClassifier(given, epochs=1, lr=0.1).fit(X, LABELS)
    assert not (net.model_.get_weights()[0] == before[0]).any()
    assert (given.get_weights()[0] == before[0]).all()  # a copy was trained
    tokens = np.arange(40).reshape(20, 2) % 7
    net = TensorgradClassifier(
        nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Dense(3)), epochs=1
    )
    assert net.fit(tokens, y).predict(tokens).shape == (20,)
    assert TensorgradClassifier(**{**HOW, "epochs": 1}).fit(tokens, y).predict(tokens).shape == (
        20,
    )


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"model": "mlp"}, "model must be a module, or a function"),
        ({"model": lambda a, b: None}, "which made None"),
        (
            {"model": nn.Sequential(nn.Dense(5))},
            r"the model gives \(60, 5\), and is to give \(n, 2",
        ),
        ({"hidden": 0}, "hidden=0 must be a whole number of 1 or more"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"lr": -1}, "lr=-1"),
        ({"fit_options": {"ephocs": 1}}, "ephocs"),
        ({"optimizer": "adan"}, "optimizer 'adan' is unknown"),
    ],
)
def test_settings_that_are_none(how, says):
    net = TensorgradClassifier(**{"epochs": 1, **how})  # as scikit-learn wants it, no error here
    with pytest.raises((tg.TensorgradError, TypeError), match=says):
        net.fit(X, LABELS).predict(X)


def test_callbacks_and_a_validation_split():
    stop = tg.train.EarlyStopping("val_loss", patience=1)
    how = {"validation_split": 0.25, "callbacks": stop, "fit_options": {"clip_norm": 1.0}}
    net = TensorgradClassifier(**{**HOW, **how, "lr": 5.0, "epochs": 50}).fit(X, LABELS)
    assert sorted(net.history_.history) == ["loss", "val_loss"]
    assert net.n_iter_ < 50
    assert stop.best is None  # a copy was called
