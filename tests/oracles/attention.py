"""Attention by loops over rows: softmax of each row's scores, and its Jacobian."""

import math

import numpy as np


def _rows(q, k, v, mask, causal, scale):
    """The inputs broadcast to one batch, the scores, and the mask."""
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    q, k, v = (np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in (q, k, v))
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = np.einsum("...td,...sd->...ts", q, k) * scale
    allowed = np.ones(scores.shape, bool)
    if mask is not None and mask.dtype == bool:
        allowed &= mask
    elif mask is not None:
        scores = scores + mask
    if causal:
        allowed &= np.tri(*scores.shape[-2:], dtype=bool)
    return q, k, v, scores, allowed, scale


def _attention(q, k, v, mask=None, causal=False, scale=None):
    q, k, v, scores, allowed, _ = _rows(q, k, v, mask, causal, scale)
    y = np.zeros((*scores.shape[:-1], v.shape[-1]))
    lse = np.full(scores.shape[:-1], -np.inf)
    for i in np.ndindex(lse.shape):
        seen = allowed[i]
        if seen.any():
            lse[i] = np.logaddexp.reduce(scores[i][seen])
            y[i] = np.exp(scores[i][seen] - lse[i]) @ v[i[:-1]][seen]
    return y, lse


def _attention_grad(g, q, k, v, mask, y, lse, causal, scale, needs):
    q, k, v, scores, allowed, scale = _rows(q, k, v, mask, causal, scale)
    gq, gk, gv, gs = (np.zeros(a.shape) for a in (q, k, v, scores))
    for i in np.ndindex(lse.shape):
        head, seen = i[:-1], allowed[i]
        p = np.exp(scores[i][seen] - lse[i])
        gs[i][seen] = p * (v[head][seen] @ g[i] - g[i] @ y[i])
        gq[i] = scale * gs[i] @ k[head]
        gk[head] += scale * np.outer(gs[i], q[i])
        gv[head][seen] += np.outer(p, g[i])
    return tuple([a if n else None for a, n in zip((gq, gk, gv, gs), needs, strict=True)])


ORACLES = {"scaled_dot_product_attention": _attention, "attention_grad": _attention_grad}
