"""A tensor that needs no gradient is an array to matplotlib, pandas, scikit-learn, SciPy, PyTorch.
One on the tape is refused with the way out in the message: what they compute has no gradient."""

import warnings

import numpy as np
import pytest

import tensorgrad as tg

pytestmark = pytest.mark.host

V = np.array([3.0, 1.0, 2.0, 2.0, -1.5])
M = np.random.default_rng(0).normal(size=(4, 3))
LABELS = np.array([0, 1, 1, 0, 1])


def plain(value):
    """A Tensor as an array."""
    return value.numpy() if isinstance(value, tg.Tensor) else value


def tracked():
    """The same numbers on the tape; labels never are."""
    v, m = (tg.tensor(a, requires_grad=True) for a in (V, M))
    return {"v": v, "m": m, "k": tg.tensor(LABELS)}


PLOTS = {
    "plot": lambda ax, v, m, k: ax.plot(v),
    "plot of two": lambda ax, v, m, k: ax.plot(v, v, "o-"),
    "plot of columns": lambda ax, v, m, k: ax.plot(m),
    "plot of a list of losses": lambda ax, v, m, k: ax.plot([x for x in v]),  # noqa: C416
    "scatter": lambda ax, v, m, k: ax.scatter(v, v, c=k),
    "scatter in colours": lambda ax, v, m, k: ax.scatter(v, v, c=v, s=abs(v) + 1),
    "hist": lambda ax, v, m, k: ax.hist(v, bins=4),
    "imshow": lambda ax, v, m, k: ax.imshow(m),
    "bar": lambda ax, v, m, k: ax.bar(np.arange(5), v),
    "errorbar": lambda ax, v, m, k: ax.errorbar(np.arange(5), v, yerr=abs(v)),
    "fill_between": lambda ax, v, m, k: ax.fill_between(np.arange(5), v, v + 1),
    "contourf": lambda ax, v, m, k: ax.contourf(m),
    "boxplot": lambda ax, v, m, k: ax.boxplot(v),
    "axhline": lambda ax, v, m, k: ax.axhline(v[0]),
    "set_xlim": lambda ax, v, m, k: ax.set_xlim(v[4], v[0]),
}


@pytest.fixture
def axes():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    yield ax
    pyplot.close(figure)


@pytest.mark.parametrize("name", PLOTS)
def test_matplotlib_draws_tensors(axes, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PLOTS[name](axes, tg.tensor(V), tg.tensor(M), tg.tensor(LABELS))
        lines = [line.get_ydata() for line in axes.lines]
        axes.figure.canvas.draw()
    if name in ("plot", "plot of two", "plot of a list of losses"):
        np.testing.assert_array_equal(lines[0], V)


@pytest.mark.parametrize("name", [n for n in PLOTS if n not in ("axhline", "set_xlim")])
def test_matplotlib_is_not_given_what_is_on_the_tape(axes, name):
    with pytest.raises(tg.GraphError, match=r"\.detach\(\)"):
        PLOTS[name](axes, *tracked().values())


FRAMES = {
    "DataFrame": lambda pd, v, m, k: pd.DataFrame(m, columns=["a", "b", "c"]).to_numpy(),
    "Series": lambda pd, v, m, k: pd.Series(v, name="loss").to_numpy(),
    "columns": lambda pd, v, m, k: pd.DataFrame({"v": v, "v2": v * v}).to_numpy(),
    "assigned": lambda pd, v, m, k: pd.DataFrame({"i": range(5)}).assign(v=v)["v"].to_numpy(),
    "arithmetic": lambda pd, v, m, k: (pd.Series(np.ones(5)) + v).to_numpy(),
    "cut": lambda pd, v, m, k: pd.cut(v, [-2, 0, 4]).codes,
    "get_dummies": lambda pd, v, m, k: pd.get_dummies(pd.Series(v)).to_numpy(),
}


@pytest.mark.parametrize("name", FRAMES)
def test_pandas_takes_tensors(name):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    got = FRAMES[name](pd, tg.tensor(V), tg.tensor(M), tg.tensor(LABELS))
    want = FRAMES[name](pd, V, M, LABELS)
    assert got.dtype == want.dtype != object
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", [n for n in FRAMES if n != "arithmetic"])
def test_pandas_is_not_given_what_is_on_the_tape(name):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    t = tracked()
    with pytest.raises(tg.GraphError, match=r"\.detach\(\)"):
        FRAMES[name](pd, t["v"], t["m"], t["k"])


SCORES = {
    "accuracy": lambda s, k, v: s.metrics.accuracy_score(k, v > 1.5),
    "roc_auc": lambda s, k, v: s.metrics.roc_auc_score(k, v),
    "r2": lambda s, k, v: s.metrics.r2_score(v + 0.1 * k, v),
    "mse": lambda s, k, v: s.metrics.mean_squared_error(v, 0 * v),
    "f1": lambda s, k, v: s.metrics.f1_score(k, v > 0),
    "confusion": lambda s, k, v: s.metrics.confusion_matrix(k, k),
    "scaler": lambda s, k, v: s.preprocessing.StandardScaler().fit_transform(v.reshape(-1, 1)),
    "onehot": lambda s, k, v: s.preprocessing.label_binarize(k, classes=[0, 1, 2]),
    "fit": lambda s, k, v: s.linear_model.LinearRegression().fit(v.reshape(-1, 1), k).coef_,
    "split": lambda s, k, v: s.model_selection.train_test_split(v, k, random_state=0)[0],
}


@pytest.fixture
def sklearn():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    import sklearn.linear_model
    import sklearn.metrics
    import sklearn.model_selection
    import sklearn.preprocessing

    return sklearn


@pytest.mark.parametrize("name", SCORES)
def test_scikit_learn_takes_tensors(sklearn, name):
    got = SCORES[name](sklearn, tg.tensor(LABELS), tg.tensor(V))
    np.testing.assert_allclose(plain(got), SCORES[name](sklearn, LABELS, V))


@pytest.mark.parametrize("name", ["roc_auc", "r2", "mse", "scaler", "fit"])
def test_scikit_learn_is_not_given_what_is_on_the_tape(sklearn, name):
    t = tracked()
    with pytest.raises(tg.GraphError, match=r"\.detach\(\)"):
        SCORES[name](sklearn, t["k"], t["v"])


def test_scipy_takes_tensors_and_not_what_is_tracked():
    scipy = pytest.importorskip("scipy", reason="scipy is not installed")
    stats = pytest.importorskip("scipy.stats")
    assert scipy
    for f in (stats.norm.cdf, stats.zscore, stats.rankdata):
        np.testing.assert_allclose(plain(f(tg.tensor(V))), f(V))
        with pytest.raises(tg.GraphError, match=r"\.detach\(\)"):
            f(tg.tensor(V, requires_grad=True))


def test_torch_takes_tensors_and_not_what_is_tracked():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    t = tg.tensor(V)
    for make in (torch.tensor, torch.as_tensor, torch.from_dlpack, lambda t: torch.asarray(t)):
        assert make(t).tolist() == V.tolist()
    with pytest.raises((tg.GraphError, BufferError), match=r"\.detach\(\)"):
        torch.from_dlpack(tg.tensor(V, requires_grad=True))
