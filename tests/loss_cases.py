"""A prediction and a target for each loss of `compile`, for tests that go through all of them."""

import numpy as np

from tensorgrad import losses

rng = np.random.default_rng(4)
NAMES = [name for name in losses.LOSSES if name not in ("mse", "mae", "bce")]
OF_LABELS = ("cross_entropy", "multi_margin", "nll", "softmax_focal")
OF_SIGNS = ("hinge", "hinge_embedding", "soft_margin", "squared_hinge")
# A loss is one number for each row, not for each number
OF_ROWS = (*OF_LABELS, "dice", "kl_divergence", "multilabel_margin", "multilabel_soft_margin")


def case(name, rows=6, columns=4):
    """(prediction, target) of shape (rows, columns), in float64, or a target of labels."""
    p = rng.uniform(0.05, 0.95, (rows, columns))
    if name in ("nll", "kl_divergence"):
        p = np.log(p / p.sum(1, keepdims=True))
    if name in OF_LABELS:
        return p, rng.integers(0, columns, rows)
    if name == "multilabel_margin":
        return p, rng.integers(-1, columns, (rows, columns))
    t = rng.uniform(0, 1, (rows, columns)).round()
    return p, 2 * t - 1 if name in OF_SIGNS else t
