"""Which calls the kernels of CTC and RNN-T take, on every array library."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def ctc_fits(
    log_probs: Array,
    targets: Array,
    input_lengths: Array,
    target_lengths: Array,
    *,
    blank: int,
) -> bool:
    """(t, n, classes) of a step or more, targets (n, s), lengths (n,)."""
    shaped = log_probs.ndim == 3 and targets.ndim == 2 and log_probs.shape[1] == len(targets)
    return shaped and _aligned(
        log_probs, len(log_probs), blank, targets, input_lengths, target_lengths
    )


def ctc_grad_fits(g: Array, log_probs: Array, targets: Array, *lengths: Array, blank: int) -> bool:
    """The same, and a gradient for each sequence."""
    return ctc_fits(log_probs, targets, *lengths, blank=blank) and g.shape == lengths[0].shape


def transducer_fits(
    logits: Array, targets: Array, input_lengths: Array, target_lengths: Array, *, blank: int
) -> bool:
    """(n, t, u + 1, classes) of a step or more, targets (n, u), lengths (n,)."""
    shaped = logits.ndim == 4 and targets.ndim == 2
    shaped = shaped and logits.shape[::2] == (len(targets), targets.shape[1] + 1)
    return shaped and _aligned(
        logits, logits.shape[1], blank, targets, input_lengths, target_lengths
    )


def transducer_grad_fits(
    g: Array, logits: Array, targets: Array, *lengths: Array, blank: int
) -> bool:
    """The same, and a gradient for each sequence."""
    return transducer_fits(logits, targets, *lengths, blank=blank) and g.shape == lengths[0].shape


def _aligned(x: Array, steps: int, blank: int, targets: Array, inputs: Array, sizes: Array) -> bool:
    """Whole numbers, and on the host labels and lengths that do not lead out of the arrays."""
    whole = all(a.dtype.kind == "i" for a in (targets, inputs, sizes))
    lengths = inputs.shape == sizes.shape == (len(targets),)
    if not (whole and lengths and x.size and 0 <= blank < x.shape[-1]):
        return False
    if type(x) is not np.ndarray:
        return True
    most = targets.shape[1]
    if not (0 < inputs.min() <= inputs.max() <= steps and 0 <= sizes.min() <= sizes.max() <= most):
        return False
    used = targets[np.arange(most) < sizes[:, None]]
    low, high = (used.min(), used.max()) if used.size else (0, 0)
    return bool(low >= 0 and high < x.shape[-1] and not (used == blank).any())
