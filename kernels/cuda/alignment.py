"""CTC and RNN-T: a block a sequence. The lattice of an RNN-T is made of the logits by a launch that
reads them once, and their gradient by one that reads them once more."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..aligned import ctc_fits, ctc_grad_fits, transducer_fits, transducer_grad_fits
from ..shapes import flat_rows
from .device import (
    DTYPES,
    MOST_BLOCKS,
    PACKED,
    TYPES,
    Source,
    ctype,
    device,
    packs,
    row_launch,
    sizes,
    wide,
)

SOURCE = Source(
    "alignment",
    [
        f"{name}<{t}>"
        for name in ("ctc", "ctc_grad", "transducer", "transducer_grad")
        for t in TYPES.values()
    ]
    + [f"transducer_{name}<{t}, {v}>" for name in ("arcs", "spread") for t, v in PACKED],
)
_OTHERS = ("targets", "input_lengths", "target_lengths")


def _whole(*arrays):
    return [device(a).xp.ascontiguousarray(a.astype(np.int64, copy=False)) for a in arrays]


def _teams(n, states):
    """Grid and block: a block for each of n sequences of so many states."""
    return (max(1, min(n, MOST_BLOCKS)),), (min(256, 32 * math.ceil(states / 32)),)


@accepts(dtypes=DTYPES, others=_OTHERS, when=ctc_fits)
def ctc(log_probs, targets, input_lengths, target_lengths, *, blank):
    xp, launch, _ = device(log_probs)
    (n, most), x = targets.shape, log_probs
    work, losses = xp.empty((n, 2, 2 * most + 1), wide(x)), xp.empty((n,), x.dtype)
    args = (x, *_whole(targets, input_lengths, target_lengths), work, losses)
    numbers = sizes(*x.shape, most, blank)
    launch(SOURCE, f"ctc<{ctype(x)}>", *_teams(n, 2 * most + 1), (*args, *numbers))
    return losses


@accepts(dtypes=DTYPES, others=_OTHERS, strided=("g",), when=ctc_grad_fits)
def ctc_grad(g, log_probs, targets, input_lengths, target_lengths, *, blank):
    xp, launch, _ = device(log_probs)
    (n, most), x = targets.shape, log_probs
    width, out = 2 * most + 1, xp.empty(x.shape, x.dtype)
    alphas, work = [xp.empty((n, k, width), wide(x)) for k in (len(x), 2)]
    links = xp.empty((n, 2, width), np.int64)
    args = (x, *_whole(targets, input_lengths, target_lengths), xp.ascontiguousarray(g))
    args = (*args, alphas, work, links, out, *sizes(*x.shape, most, blank))
    launch(SOURCE, f"ctc_grad<{ctype(x)}>", *_teams(n, width), args)
    return out


def _arcs(logits, targets, lengths, blank):
    """Each node's maximum and logarithm of its sum, and its arcs', (n, t, u + 1, ...)."""
    xp, launch, _ = device(logits)
    x, nodes = flat_rows(logits), logits.shape[1] * logits.shape[2]
    made = [xp.empty((*logits.shape[:3], k), wide(x)) for k in (2, 1, 1)]
    v = packs(x.shape[1], x)
    numbers = sizes(len(x), nodes, x.shape[1], targets.shape[1], blank)
    launch(
        SOURCE,
        f"transducer_arcs<{ctype(x)}, {v}>",
        *row_launch(*x.shape, v),
        (x, targets, lengths, *made, *numbers),
    )
    return made


@accepts(dtypes=DTYPES, others=_OTHERS, when=transducer_fits)
def transducer(logits, targets, input_lengths, target_lengths, *, blank):
    xp, launch, _ = device(logits)
    targets, lengths, of = _whole(targets, input_lengths, target_lengths)
    _, blanks, labels = _arcs(logits, targets, of, blank)
    n, steps, across, classes = logits.shape
    losses = xp.empty((n,), logits.dtype)
    args = (blanks, labels, targets, lengths, of, xp.empty(blanks.shape, blanks.dtype), losses)
    numbers = sizes(n, steps, across - 1, classes, blank)
    launch(SOURCE, f"transducer<{ctype(logits)}>", *_teams(n, across), (*args, *numbers))
    return losses


@accepts(dtypes=DTYPES, others=_OTHERS, strided=("g",), when=transducer_grad_fits)
def transducer_grad(g, logits, targets, input_lengths, target_lengths, *, blank):
    xp, launch, _ = device(logits)
    targets, lengths, of = _whole(targets, input_lengths, target_lengths)
    norms, blanks, labels = _arcs(logits, targets, of, blank)
    n, steps, across, classes = logits.shape
    memory = [xp.empty(blanks.shape, blanks.dtype) for _ in range(2)]
    args = (blanks, labels, targets, lengths, of, xp.ascontiguousarray(g), *memory)
    numbers = sizes(n, steps, across - 1, classes, blank)
    launch(SOURCE, f"transducer_grad<{ctype(logits)}>", *_teams(n, across), (*args, *numbers))
    x, out = flat_rows(logits), xp.empty(logits.shape, logits.dtype)
    v = packs(classes, x, out)
    numbers = sizes(len(x), steps * across, classes, across - 1, blank)
    launch(
        SOURCE,
        f"transducer_spread<{ctype(x)}, {v}>",
        *row_launch(*x.shape, v),
        (x, norms, targets, blanks, labels, out, *numbers),
    )
    return out
