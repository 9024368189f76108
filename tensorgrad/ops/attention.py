"""Attention. No (T, S) matrix is saved for backward, which recomputes the probabilities from the
log-sum-exp of each row (Dao et al. 2022)."""

import math

import numpy as np

from ..backend import is_floating, namespace
from ..core import op
from .elementwise import equal, exp, where
from .matmul import matmul, transposed
from .reduce import narrow, sum_, widened
from .samples import Sample, draw
from .shape import concat, expand_dims, full_like


def _visible(*shape):
    """A random mask in which no row is fully masked."""
    return (draw(shape, seed=5) > 0) | np.eye(*shape[-2:], dtype=bool) | (np.arange(shape[-1]) == 0)


def _samples():
    def call(q, keys, columns, mask=None, **params):
        k, v = (*q[:-2], keys, q[-1]), (*q[:-2], keys, columns)
        return Sample((draw(q), draw(k, seed=1), draw(v, seed=2), mask), params)

    return [
        call((2, 3, 4), 5, 2),
        call((4, 3), 4, 3, causal=True),
        call((2, 2, 5), 4, 5, causal=True),
        call((2, 4, 2), 2, 3, _visible(4, 2), scale=0.3),
        call((2, 1, 3, 4), 3, 4, draw((2, 1, 1, 3), seed=3)),
        call((3, 2), 4, 1, draw((3, 4), seed=4), causal=True, scale=1.5),
        call((0, 3, 4), 2, 2),
        call((2, 0, 4), 2, 2),
        call((1, 1), 1, 1),
        Sample((draw((2, 3, 4)), draw((1, 5, 4), seed=1), draw((3, 1, 5, 4), seed=2), None)),
    ]


def _grad_samples():
    made = []
    for (q, k, v, mask), params in _samples():
        y, lse = scaled_dot_product_attention(q, k, v, mask, **params)
        needs = (True, True, True, mask is not None and mask.dtype == np.float64)
        params = {"causal": False, "scale": None, **params, "needs": needs}
        made.append(Sample((draw(y.shape, seed=6), q, k, v, mask, y, lse), params))
    only = {**made[0].params, "needs": (False, False, True, False)}
    return [*made, made[0]._replace(params=only)]


def _scores(q, k, mask, causal, scale):
    """q @ k^T * scale, masked: -inf where a row may not attend; the scale; and where it may, None
    if everywhere. Works on arrays and Tensors."""
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = matmul(widened(q), transposed(widened(k))) * scale
    visible, xp = None, namespace(getattr(q, "_data", q))
    if mask is not None:
        raw = getattr(mask, "_data", mask)
        visible = raw = xp.asarray(raw) if type(raw) is np.ndarray else raw  # it may be elsewhere
        if mask.dtype.kind != "b":
            scores, visible = scores + widened(mask), raw != -math.inf
    if causal:
        rows, columns = scores.shape[-2:]
        earlier = xp.arange(columns) <= xp.arange(rows)[:, None]
        visible = earlier if visible is None else visible & earlier
    return scores if visible is None else where(visible, scores, -math.inf), scale, visible


def _apart(p, x, visible):
    """p @ x for p that is 0 where not `visible`: there x counts as nothing, even NaN."""
    if visible is None:
        return matmul(p, x)
    raw = getattr(x, "_data", x)
    xp = namespace(raw)
    fine = xp.isfinite(raw)
    if type(raw) is np.ndarray and fine.all():
        return matmul(p, x)
    own = namespace(visible)  # it may be batched where x is not
    visible = own.broadcast_to(visible, p.shape).astype(raw.dtype)
    spoilt = matmul(visible, (~fine).astype(raw.dtype)) > 0
    return where(spoilt, matmul(p, x), matmul(p, where(fine, x, 0.0)))


def _check(q, k, v, mask):
    """ValueError and TypeError for inputs that do not fit."""
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ValueError("q, k and v have two axes or more: (..., T, D), (..., S, D), (..., S, E)")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"q {q.shape} and k {k.shape} must agree in the last axis, k and v {v.shape} in the "
            "one before it"
        )
    if mask is None:
        return
    if mask.dtype.kind != "b" and not is_floating(mask.dtype):
        raise TypeError(
            f"a mask of dtype {mask.dtype}: give bool, True where a row attends (mask == 1), or "
            "floating numbers that are added to the scores"
        )
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2])
    shape = (*batch, q.shape[-2], k.shape[-2])
    sizes = zip(mask.shape[::-1], shape[::-1], strict=False)
    if mask.ndim > len(shape) or any(m not in (1, n) for m, n in sizes):
        raise ValueError(f"mask {mask.shape} does not broadcast to the scores, {shape}")


def _gradients(g, q, k, v, mask, y, causal, scale, needs):
    (gy, glse), (y, lse) = g, y
    if glse is not None:
        # d lse / d scores = p, as for another column of v that is all ones, if its output counts
        # as 0 in sum(g * y).
        gy = y * 0.0 if gy is None else gy
        gy = concat(gy, expand_dims(glse, axis=-1).astype(gy.dtype), axis=-1)
        v, y = [concat(a, full_like(a[..., :1], value=f), axis=-1) for a, f in ((v, 1.0), (y, 0.0))]
    grads = attention_grad(gy, q, k, v, mask, y, lse, causal=causal, scale=scale, needs=needs)
    if glse is not None and grads[2] is not None:
        return grads[0], grads[1], grads[2][..., :-1], grads[3]
    return grads


@op(
    joint=_gradients,
    outputs=("y", "lse"),
    samples=_samples,
    precision="half",
    fixed=("mask",),
)
def scaled_dot_product_attention(q, k, v, mask=None, *, causal=False, scale=None):
    """softmax(q @ k^T * scale + mask) @ v (Vaswani et al. 2017), and the log-sum-exp of each row.

    q (..., T, D), k (..., S, D), v (..., S, E) and a mask that broadcasts to (..., T, S) or None,
    -> (..., T, E) and (..., T), the latter float32 for halves. A bool mask is True where a row
    attends, a floating one is added. `causal` lets row i attend to the first i + 1 keys. `scale`
    is 1 / sqrt(D) unless given. A fully masked row gives 0, and a log-sum-exp of -inf. A key that a
    row does not see, by a mask that is False or -inf or by `causal`, counts as nothing for it, in
    value and gradients, even if it or its value holds NaN.
    """
    _check(q, k, v, mask)
    xp = namespace(q)
    scores, _, visible = _scores(q, k, mask, causal, scale)
    largest = scores.max if k.shape[-2] else scores.sum  # no keys: 0, the empty sum
    top = largest(axis=-1, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    p = xp.exp(scores - top)
    total = p.sum(axis=-1, keepdims=True)
    some = xp.where(total == 0, 1, total)
    y = _apart(p, widened(v), visible) / some
    lse = xp.where(total == 0, -math.inf, top + xp.log(some))[..., 0]
    if lse.shape != y.shape[:-1]:  # v has a batch of its own
        lse = xp.broadcast_to(lse, y.shape[:-1])
    return narrow(y, q), lse


@op(samples=_grad_samples, outputs=("gq", "gk", "gv", "gmask"))
def attention_grad(g, q, k, v, mask, y, lse, *, causal, scale, needs):
    """Gradients of scaled_dot_product_attention from its results (Dao et al. 2022): with the
    probabilities p = exp(scores - lse), those of the scores are p * (g @ v^T - sum(g * y)).
    Gradients of inputs that were broadcast have the broadcast shape."""
    wide, (scores, scale, visible) = widened(g), _scores(q, k, mask, causal, scale)
    lse = where(equal(lse, -math.inf), 0.0, widened(lse))  # fully masked rows: p is 0
    p = exp(scores - expand_dims(lse, axis=-1))
    p = p if visible is None else where(visible, p, 0.0)  # lse may be NaN
    turned = None
    if visible is not None:
        turned = namespace(visible).broadcast_to(visible, scores.shape).swapaxes(-1, -2)
    gv = narrow(_apart(transposed(p), wide, turned), v) if needs[2] else None
    if not (needs[0] or needs[1] or needs[3]):
        return None, None, gv, None
    along = sum_(wide * widened(y), axis=-1, keepdims=True)
    gs = p * (matmul(wide, transposed(widened(v))) - along)
    gs = gs if visible is None else where(visible, gs, 0.0)
    gq = narrow(_apart(gs, widened(k), visible) * scale, q) if needs[0] else None
    gk = narrow(_apart(transposed(gs), widened(q), turned) * scale, k) if needs[1] else None
    return gq, gk, gv, narrow(gs, mask) if needs[3] else None
