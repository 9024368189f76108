"""Steps of blocks whose first weight holds about n numbers."""

import numpy as np

from tensorgrad.ops.samples import Sample, draw


def steps(n):
    each = max(1, int((n / 12) ** 0.5))
    width, hidden = 2 * each, 2 * each + 3
    shapes = (width,), (width, 3 * width), (width, width), (width,), (width, hidden)
    weights, at = [], 3
    for shape in (*shapes, (hidden, width)):
        for own in (shape, shape[-1:]):
            weights.append(draw(own, seed=at) / np.sqrt(own[0]) if len(own) > 1 else draw(own))
            at += 1
    kept = [draw((2, 2, 9, each), seed=i) for i in (1, 2)]
    return [Sample((draw((2, width)), *kept, *weights), {"start": 7, "eps": 1e-5})]


SIZED = {"block_step": steps}
