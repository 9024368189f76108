"""A Transformer block's step by the formulas, a row and a head at a time."""

import math

import numpy as np


def _norm(x, weight, shift, eps):
    return (x - x.mean()) / math.sqrt(x.var() + eps) * weight + shift


def _block_step(x, keys, values, *weights, start, eps):
    n1, c1, w_in, b_in, w_out, b_out, n2, c2, w_up, b_up, w_down, b_down = weights
    keys, values, rows = keys.copy(), values.copy(), []
    for i, row in enumerate(x):
        q, k, v = np.split(_norm(row, n1, c1, eps) @ w_in + b_in, 3)
        heads = []
        for h in range(keys.shape[1]):
            at = slice(h * keys.shape[3], (h + 1) * keys.shape[3])
            keys[i, h, start], values[i, h, start] = k[at], v[at]
            scores = keys[i, h, : start + 1] @ q[at] / math.sqrt(keys.shape[3])
            p = np.exp(scores - np.logaddexp.reduce(scores))
            heads.append(p @ values[i, h, : start + 1])
        row = row + np.concatenate(heads) @ w_out + b_out
        z = _norm(row, n2, c2, eps) @ w_up + b_up
        inner = np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))
        rows.append(row + 0.5 * z * (1 + inner) @ w_down + b_down)
    return [x, keys, values, *weights], np.array(rows)


WRITES = {"block_step": _block_step}
