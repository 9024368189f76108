"""Many queries, many keys under a mask, and both, causal, over several blocks of the kernels."""

import numpy as np

from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw


def attentions(n):
    m = n if n < 300 else 260 + n % 3 if n < 10_000 else 600
    shapes = (
        ((2, n, 3), 5, 4, {}),
        ((3, 2), n, 3, {"scale": 0.4}),
        ((2, m, 8), m, 3, {"causal": True}),
    )
    made = []
    for i, (q, keys, columns, params) in enumerate(shapes):
        k, v = (*q[:-2], keys, q[-1]), (*q[:-2], keys, columns)
        mask = draw((q[-2], keys), seed=3) > 0 if i == 1 else None
        made.append(Sample((draw(q), draw(k, seed=1), draw(v, seed=2), mask), params))
    return made


def attention_grads(n):
    made = []
    for (q, k, v, mask), params in attentions(n):
        y, lse = OPS["scaled_dot_product_attention"].ref(q, k, v, mask, **params)
        params = {"causal": False, "scale": None, **params, "needs": (True, True, True, False)}
        made.append(Sample((draw(y.shape, seed=4), q, k, v, mask, np.array(y), lse), params))
    return made


SIZED = {"scaled_dot_product_attention": attentions, "attention_grad": attention_grads}
