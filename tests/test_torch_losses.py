"""Every loss beside PyTorch's: each option, each reduction, values and gradients; the modules of
PyTorch's names by the same calls. In float64 to 1e-10, and in float32 to 1e-5 of the largest, where
PyTorch computes with the same numbers in float64."""

import inspect

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn

torch = pytest.importorskip("torch")
F = torch.nn.functional
rng = np.random.default_rng(0)
X, T = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
P, Q = rng.uniform(0.05, 0.95, (6, 4)), rng.uniform(0.05, 0.95, (6, 4))
SIGNS, IDS = np.sign(rng.normal(size=(6, 4))), np.array([0, 3, 1, 1, 2, 0])
IMAGES, MAP = rng.normal(size=(2, 4, 3, 2)), rng.integers(0, 4, (2, 3, 2))
ROWS = Q / Q.sum(1, keepdims=True)
LOG = np.log(P / P.sum(1, keepdims=True))
SHARES, OF_EACH = rng.uniform(0.2, 2.0, 4), rng.uniform(0.2, 2.0, (6, 4))
LABELS = np.array([[1, 3, -1, 2], [0, -1, -1, -1], [-1, 2, 1, 0], [3, 2, 1, 0], [2, 2, -1, 1]])
ONE = SIGNS[:, 0]


def labelled(ids, at):
    """The labels, but -7 in places, for `ignore_index`."""
    ids = ids.copy()
    ids.flat[at] = -7
    return ids


# module of PyTorch's name: [(inputs, options, how many inputs get gradients)]
MODULES = {
    "MSELoss": [((X, T), {}, 2)],
    "L1Loss": [((X, T), {}, 2)],
    "HuberLoss": [((X, T), {}, 2), ((X * 3, T), {"delta": 0.7}, 2)],
    "SmoothL1Loss": [((X, T), {}, 2), ((X, T), {"beta": 2.5}, 2), ((X, T), {"beta": 0.0}, 2)],
    "BCELoss": [((P, Q), {}, 1), ((P, Q), {"weight": OF_EACH}, 1), ((P, Q), {"weight": SHARES}, 1)],
    "BCEWithLogitsLoss": [
        ((X * 4, Q), {}, 1),
        ((X, Q), {"pos_weight": SHARES}, 1),
        ((X, Q), {"pos_weight": SHARES, "weight": OF_EACH}, 1),
    ],
    "CrossEntropyLoss": [
        ((X, IDS), {}, 1),
        ((X[0], IDS[0]), {}, 1),
        ((X, IDS), {"weight": SHARES}, 1),
        ((X, labelled(IDS, [1, 4])), {"ignore_index": -7}, 1),
        ((X, labelled(IDS, [1])), {"ignore_index": -7, "weight": SHARES}, 1),
        ((X, IDS), {"label_smoothing": 0.2}, 1),
        (
            (X, labelled(IDS, [5])),
            {"label_smoothing": 0.2, "weight": SHARES, "ignore_index": -7},
            1,
        ),
        ((X, ROWS), {}, 2),
        ((X, ROWS), {"weight": SHARES, "label_smoothing": 0.1}, 2),
        ((IMAGES, MAP), {"weight": SHARES}, 1),
        ((IMAGES, labelled(MAP, [0, 3])), {"ignore_index": -7, "label_smoothing": 0.3}, 1),
        ((IMAGES, np.abs(IMAGES)), {"weight": SHARES}, 2),
    ],
    "NLLLoss": [
        ((LOG, IDS), {}, 1),
        ((LOG, labelled(IDS, [1])), {"weight": SHARES, "ignore_index": -7}, 1),
        ((-np.abs(IMAGES), MAP), {"weight": SHARES}, 1),
    ],
    "KLDivLoss": [((LOG, ROWS), {}, 1), ((LOG, np.log(ROWS)), {"log_target": True}, 2)],
    "PoissonNLLLoss": [
        ((X, 3 * Q), {}, 1),
        ((X, 3 * Q), {"full": True}, 1),
        ((P, Q), {"log_input": False, "eps": 1e-3}, 1),
    ],
    "GaussianNLLLoss": [
        ((X, T, P), {}, 3),
        ((X, T, P), {"full": True, "eps": 0.3}, 3),
        ((X, T, P[:, :1]), {}, 2),
        ((X, T, P[:, 0]), {}, 3),
    ],
    "SoftMarginLoss": [((X * 9, SIGNS), {}, 1)],
    "MultiMarginLoss": [
        ((X, IDS), {}, 1),
        ((X, IDS), {"p": 2, "margin": 0.6, "weight": SHARES}, 1),
    ],
    "MultiLabelMarginLoss": [((X[:5], LABELS), {}, 1)],
    "MultiLabelSoftMarginLoss": [((X, P.round()), {}, 1), ((X, P), {"weight": SHARES}, 1)],
    "HingeEmbeddingLoss": [((P, SIGNS), {}, 1), ((X, SIGNS), {"margin": 0.4}, 1)],
    "MarginRankingLoss": [((X, T, SIGNS), {}, 2), ((X, T, SIGNS), {"margin": 0.5}, 2)],
    "CosineEmbeddingLoss": [((X, T, ONE), {}, 2), ((X, T, ONE), {"margin": 0.3}, 2)],
    "TripletMarginLoss": [
        ((X, T, P), {}, 3),
        ((X, T, P), {"margin": 2.0, "p": 1.5, "swap": True, "eps": 1e-3}, 3),
    ],
}
CASES = [
    pytest.param(name, *case, reduction, id=f"{name}-{i}-{reduction}")
    for name, cases in MODULES.items()
    for i, case in enumerate(cases)
    for reduction in (["batchmean"] if name == "KLDivLoss" else []) + ["mean", "sum", "none"]
]


def rounded(x, dtype):
    """The numbers that a dtype holds, in that dtype and in float64."""
    x = np.asarray(x)
    if x.dtype.kind != "f":
        return x, x
    return x.astype(dtype), x.astype(dtype).astype("float64")


def beside(ours, theirs, inputs, count, dtype="float64"):
    """Values and gradients of the first `count` inputs."""
    both = [rounded(x, dtype) for x in inputs]
    a = [tg.tensor(x, requires_grad=i < count) for i, (x, _) in enumerate(both)]
    b = [torch.tensor(x, requires_grad=i < count) for i, (_, x) in enumerate(both)]
    y, z = ours(*a), theirs(*b)
    assert y.dtype == dtype
    near(y, z.detach().numpy())
    own, g = rounded(rng.normal(size=y.shape), dtype)
    y.backward(own)
    z.backward(torch.tensor(g))
    for t, u in list(zip(a, b, strict=True))[:count]:
        near(t.grad, u.grad.numpy())


def near(ours, theirs):
    close = {"rtol": 1e-10, "atol": 1e-13}
    if ours.dtype == np.float32:
        close = {"rtol": 0, "atol": 1e-5 * np.abs(theirs).max(initial=0)}
    np.testing.assert_allclose(ours.numpy(), theirs, **close)


def held(name, inputs, options, count, reduction, dtype="float64"):
    both = {
        k: rounded(v, dtype) if isinstance(v, np.ndarray) else (v, v) for k, v in options.items()
    }
    given = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, (_, v) in both.items()}
    theirs = getattr(torch.nn, name)(**given, reduction=reduction)
    ours = getattr(nn, name)(**{k: v for k, (v, _) in both.items()}, reduction=reduction)
    beside(ours, theirs, inputs, count, dtype)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize(("name", "inputs", "options", "count", "reduction"), CASES)
def test_a_module_is_pytorchs(name, inputs, options, count, reduction):
    held(name, inputs, options, count, reduction)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_pytorchs_in_each_dtype_on_each_backend(name, backend):
    for case in MODULES[name]:
        for reduction in ("mean", "sum", "none"):
            for dtype in ("float64", "float32"):
                held(name, *case, reduction, dtype)


DEPRECATED = ("size_average", "reduce")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_takes_pytorchs_arguments(name):
    """In its order, with its defaults; after those that are deprecated there, by name alone."""
    ours = list(inspect.signature(getattr(nn, name)).parameters.values())
    theirs = list(inspect.signature(getattr(torch.nn, name)).parameters.values())
    kept = [p for p in theirs if p.name not in DEPRECATED]
    assert {p.name: p.default for p in ours} == {p.name: p.default for p in kept}
    placed = [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert placed == [p.name for p in theirs][: len(placed)]


def test_every_option_is_tried():
    """Each option of each module stands in a case above."""
    for name, cases in MODULES.items():
        given = {word for _, options, _ in cases for word in options} | {"reduction"}
        assert given >= set(inspect.signature(getattr(nn, name)).parameters), name


def test_weighted_means_are_pytorchs():
    w = torch.tensor(OF_EACH)
    for ours, theirs in (
        (losses.mean_squared_error, F.mse_loss),
        (losses.mean_absolute_error, F.l1_loss),
    ):
        for reduction in ("mean", "sum", "none"):
            beside(
                lambda x, t, f=ours, r=reduction: f(x, t, sample_weight=OF_EACH, reduction=r),
                lambda x, t, f=theirs, r=reduction: f(x, t, weight=w, reduction=r),
                (X, T),
                2,
            )


# --- sequences ------------------------------------------------------------------------------------

STEPS = rng.normal(size=(7, 3, 4))
SPELT, LENGTHS, SIZES = np.array([[1, 1, 3], [2, 1, 0], [3, 3, 3]]), [7, 6, 4], [3, 2, 3]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_is_pytorchs(reduction, zero_infinity):
    """The third sequence has no alignment: its loss is infinite."""
    held_ctc(reduction, zero_infinity, "float64")
    infinite = losses.ctc(STEPS, SPELT, LENGTHS, SIZES, reduction="none").numpy()
    assert np.isinf(infinite).tolist() == [False, False, True]


@pytest.mark.slow
def test_ctc_is_pytorchs_in_each_dtype_on_each_backend(backend):
    for reduction in ("mean", "sum", "none"):
        for dtype in ("float64", "float32"):
            held_ctc(reduction, True, dtype)


def held_ctc(reduction, zero_infinity, dtype):
    some = slice(None) if zero_infinity else slice(2)
    theirs = torch.nn.CTCLoss(reduction=reduction, zero_infinity=zero_infinity)
    ours = nn.CTCLoss(reduction=reduction, zero_infinity=zero_infinity)
    lengths, sizes = LENGTHS[some], SIZES[some]

    def of_theirs(x):
        log_p = torch.log_softmax(x, -1)
        return theirs(log_p, torch.tensor(SPELT[some]), torch.tensor(lengths), torch.tensor(sizes))

    beside(lambda x: ours(x, SPELT[some], lengths, sizes), of_theirs, (STEPS[:, some],), 1, dtype)


def test_ctc_takes_pytorchs_targets_in_one_row_and_another_blank():
    row = np.concatenate([t[:n] for t, n in zip(SPELT, SIZES, strict=True)])[:5] % 3
    loss = torch.nn.CTCLoss(blank=3, reduction="sum")
    args = row, LENGTHS[:2], SIZES[:2]
    beside(
        lambda x: losses.ctc(x, *args, blank=3, reduction="sum"),
        lambda x: loss(torch.log_softmax(x, -1), *map(torch.tensor, args)),
        (STEPS[:, :2],),
        1,
    )
