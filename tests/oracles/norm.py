"""Oracles of the norms: a loop over the rows that share statistics, Jacobians written out."""

import numpy as np


def _rows(x, kind, groups):
    """x with one row per set of statistics, and the inverse of that reshaping."""
    if kind == "batch":
        turned = np.moveaxis(x, 1, 0)
        return turned.reshape(len(turned), x.size // len(turned)), lambda r: np.moveaxis(
            r.reshape(turned.shape), 0, 1
        )
    many = len(x) * groups if kind == "group" else x.size // x.shape[-1]
    return x.reshape(many, x.size // many if many else 0), lambda r: r.reshape(x.shape)


def _spread(a, x, kind, default):
    """Weight or bias as an array like x."""
    if a is None:
        return np.full(x.shape, default)
    letters = "ijklm"[: x.ndim]
    own = letters[-1] if kind in ("layer", "rms") else letters[1]
    return np.einsum(f"{letters},{own}->{letters}", np.ones(x.shape), a)


def _statistics(row, kind, eps):
    mean = 0.0 if kind == "rms" or not row.size else sum(row) / row.size
    square = sum((row - mean) ** 2) / max(1, row.size)
    return mean, 1 / np.sqrt(square + eps)


def _shape(x, kind, groups):
    return {
        "batch": (1, *x.shape[1:2], *[1] * (x.ndim - 2)),
        "group": (*x.shape[:1], groups, 1),
        "rms": (*x.shape[:-1], 1),
    }[kind]


def _norm(kind, least):
    def norm(x, weight=None, bias=None, *, groups=1, eps=least):
        rows, back = _rows(x, kind, groups)
        found = np.array([_statistics(row, kind, eps) for row in rows]).reshape(-1, 2)
        y = back((rows - found[:, :1]) * found[:, 1:])
        y = y * _spread(weight, x, kind, 1) + _spread(bias, x, kind, 0)
        mean, rstd = [a.reshape(_shape(x, kind, groups)) for a in found.T]
        return (y, rstd) if kind == "rms" else (y, mean, rstd)

    return norm


def _norm_grad(kind):
    def grad(g, x, weight, *statistics, needs):
        rstd = statistics[-1]
        groups = rstd.shape[1] if kind == "group" else 1
        mean = statistics[0] if kind != "rms" else np.zeros_like(rstd)
        rows, back = _rows(x, kind, groups)
        gn = _rows(g * _spread(weight, x, kind, 1), kind, groups)[0]
        normal, gx = (rows - mean.reshape(-1, 1)) * rstd.reshape(-1, 1), np.zeros(rows.shape)
        for i, r in enumerate(rstd.ravel()):
            n = max(1, rows.shape[1])
            centring = 0 if kind == "rms" else 1 / n
            gx[i] = gn[i] @ (np.eye(rows.shape[1]) - centring - np.outer(normal[i], normal[i]) / n)
            gx[i] *= r
        letters = "ijklm"[: x.ndim]
        own = letters[-1] if kind == "rms" else letters[1]
        sums = [np.einsum(f"{letters}->{own}", a) for a in (g * back(normal), g)]
        gs = (back(gx), *sums)
        return tuple([v if need else None for v, need in zip(gs, needs, strict=False)])

    return grad


def _channel_affine(x, scale=None, shift=None):
    return x * _spread(scale, x, "batch", 1) + _spread(shift, x, "batch", 0)


ORACLES = {
    "rms_norm": _norm("rms", 1e-6),
    "batch_norm": _norm("batch", 1e-5),
    "group_norm": _norm("group", 1e-5),
    **{f"{kind}_norm_grad": _norm_grad(kind) for kind in ("rms", "batch", "group")},
    "channel_affine": _channel_affine,
}


def _update_running(running_mean, running_var, mean, rstd, count, momentum, eps):
    var = (1 / rstd**2 - eps) * count / (count - 1)
    pairs = zip((running_mean, running_var), (mean.ravel(), var.ravel()), strict=True)
    return [*[(1 - momentum) * old + momentum * new for old, new in pairs], mean, rstd], None


WRITES = {"update_running": _update_running}
