"""Scans, sorting, indexing and windows: values and gradients beside PyTorch's in float64, ties
included, whose conventions NumPy has none of."""

import numpy as np
import pytest

import tensorgrad as tg

torch = pytest.importorskip("torch")
F = torch.nn.functional
rng = np.random.default_rng(0)
X, S = rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
TIES = rng.integers(0, 3, (4, 6)).astype(float)
AT, FEW = rng.integers(0, 4, (4, 6)), np.array([2, 0, 2])
IMAGE = rng.normal(size=(2, 3, 6, 7))
WINDOW = {"dilation": (2, 1), "padding": (1, 2), "stride": (2, 1)}


def reduced(how, own, theirs):
    return (
        lambda x, s: tg.scatter_reduce(x, 0, AT, s, own, include_self=how),
        lambda x, s: x.scatter_reduce(0, torch.tensor(AT), s, theirs, include_self=how),
        [TIES + 0.5 * (not how), TIES[::-1].copy()],  # whose gradient counts self in any case
    )


PAIRS = {
    "cumsum": (lambda x: tg.cumsum(x, 1), lambda x: x.cumsum(1), [X]),
    "cumprod": (lambda x: tg.cumprod(x, 1), lambda x: x.cumprod(1), [TIES]),
    "logcumsumexp": (lambda x: tg.logcumsumexp(x, 0), lambda x: x.logcumsumexp(0), [9 * X]),
    "cummax": (lambda x: tg.cummax(x, 1), lambda x: x.cummax(1), [TIES]),
    "cummin": (lambda x: tg.cummin(x, 0), lambda x: x.cummin(0), [TIES]),
    "sort": (lambda x: tg.sort(x, 0), lambda x: x.sort(stable=True, dim=0)[0], [TIES]),
    "descending": (
        lambda x: tg.sort(x, descending=True),
        lambda x: x.sort(descending=True, stable=True)[0],
        [TIES],
    ),
    "topk": (lambda x: tg.topk(x, 3), lambda x: x.topk(3), [X]),
    "smallest": (lambda x: tg.topk(x, 2, 0, largest=False), lambda x: x.topk(2, 0, False), [X]),
    "kthvalue": (lambda x: tg.kthvalue(x, 2), lambda x: x.kthvalue(2), [X]),
    "quantile": (
        lambda x: tg.quantile(x, [0.1, 0.7], 1),
        lambda x: x.quantile(torch.tensor([0.1, 0.7], dtype=torch.float64), 1),
        [X],
    ),
    "nanmedian": (
        lambda x: tg.nanquantile(x, 0.5, 1, method="lower"),
        lambda x: x.nanmedian(1)[0],
        [np.where(X > 1, np.nan, X)],
    ),
    "mode": (lambda x: tg.mode(x)[0], lambda x: x.mode()[0], [TIES]),
    "gather": (
        lambda x: tg.gather(x, 0, AT[:2, :3]),
        lambda x: x.gather(0, torch.tensor(AT[:2, :3])),
        [X],
    ),
    "put_along_axis": (
        lambda x, s: tg.put_along_axis(x, AT[:1], s[:1], 0),
        lambda x, s: x.scatter(0, torch.tensor(AT[:1]), s[:1]),
        [X, S],
    ),
    **{f"scatter {n}": reduced(True, n, n) for n in ("sum", "prod", "mean", "amax", "amin")},
    **{f"scatter {n} alone": reduced(False, n, n) for n in ("prod", "mean", "amax", "amin")},
    "index_add": (
        lambda x, s: tg.index_add(x, 0, FEW, s[:3], alpha=3),
        lambda x, s: x.index_add(0, torch.tensor(FEW), s[:3], alpha=3),
        [X, S],
    ),
    "index_put": (
        lambda x, s: tg.index_put(x, (FEW, FEW), s[0, :3], accumulate=True),
        lambda x, s: x.index_put((torch.tensor(FEW), torch.tensor(FEW)), s[0, :3], accumulate=True),
        [X, S],
    ),
    "diag_embed": (lambda x: tg.diag_embed(x, -1, 0, 2), lambda x: x.diag_embed(-1, 0, 2), [X]),
    "unfold": (
        lambda x: tg.unfold(x, (2, 3), **WINDOW),
        lambda x: F.unfold(x, (2, 3), **WINDOW),
        [IMAGE],
    ),
    "fold": (
        lambda x: tg.fold(x, (6, 7), (2, 3), **WINDOW),
        lambda x: F.fold(x, (6, 7), (2, 3), **WINDOW),
        [rng.normal(size=(2, 18, 27))],
    ),
    "trapezoid": (tg.trapezoid, torch.trapezoid, [X, np.sort(S)]),
    "gradient": (
        lambda x: tg.gradient(x, axis=1, edge_order=2),
        lambda x: torch.gradient(x, dim=1, edge_order=2)[0],
        [X],
    ),
    "cov": (tg.cov, torch.cov, [X]),
    "corrcoef": (tg.corrcoef, torch.corrcoef, [X]),
    "rot90": (lambda x: tg.rot90(x, 3), lambda x: x.rot90(3), [X]),
    "roll": (lambda x: tg.roll(x, (1, -2), (0, 1)), lambda x: x.roll((1, -2), (0, 1)), [X]),
}


def parts(y):
    return list(y) if isinstance(y, tuple) else [y]


@pytest.mark.parametrize("name", PAIRS)
def test_beside_pytorch(name):
    ours, theirs, arrays = PAIRS[name]
    a = [tg.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    y, z = parts(ours(*a)), parts(theirs(*b))
    for one, other in zip(y, z, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-9)
    w = rng.normal(size=y[0].shape)
    y[0].backward(w)
    z[0].backward(torch.tensor(w))
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-8, atol=1e-10)
