"""CTC and RNN-T: the forward and backward variables of a sequence on one thread, in float64."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..aligned import ctc_fits, ctc_grad_fits, transducer_fits, transducer_grad_fits
from ..shapes import flat_rows
from . import scalars as s
from .buffers import empty_like
from .jit import jit, prange
from .reduce import PARALLEL, as_bits, largest

SMALL = 1024
NEVER, INFEASIBLE = -1e30, 1e29
_OTHERS = ("targets", "input_lengths", "target_lengths")


@s.scalar
def _sum2(a, b):
    """log(exp(a) + exp(b))."""
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


@s.scalar
def _sum3(a, b, c):
    top = max(a, max(b, c))
    return top + math.log(math.exp(a - top) + math.exp(b - top) + math.exp(c - top))


# --- CTC ----------------------------------------------------------------------------------------


@s.scalar
def _bounded(logarithm):
    """NEVER in the place of -inf; NaN stays."""
    wide = np.float64(logarithm)
    return NEVER if wide < NEVER else wide


@s.scalar
def _emission(row, labels, j, blank):
    """The log-probability of state j: a blank where j is even."""
    return _bounded(row[labels[j // 2] if j % 2 else blank])


@s.scalar
def _skips(labels, j):
    """Whether state j is reached from the one two below."""
    return j % 2 == 1 and j > 1 and labels[j // 2] != labels[j // 2 - 1]


@s.scalar
def _forward(a, before, row, labels, blank):
    """The forward variables of the next step, from the last state on: `before` may be `a`."""
    for step in range(len(a)):
        j = len(a) - 1 - step
        one = before[j - 1] if j else NEVER
        two = before[j - 2] if _skips(labels, j) else NEVER
        a[j] = _sum3(before[j], one, two) + _emission(row, labels, j, blank)


@s.scalar
def _begin(a, row, labels, blank):
    for j in range(len(a)):
        a[j] = _emission(row, labels, j, blank) if j < 2 else NEVER


@s.scalar
def _total(a):
    """The log-probability of ending in the last label or the last blank."""
    return _sum2(a[len(a) - 1], a[len(a) - 2]) if len(a) > 1 else a[0]


@jit(parallel_from=PARALLEL)
def _ctc(x, targets, lengths, sizes, losses, blank, share):
    for i in prange(x.shape[1], share):
        labels, a = targets[i], np.empty(2 * sizes[i] + 1, np.float64)
        _begin(a, x[0, i], labels, blank)
        for k in range(1, lengths[i]):
            _forward(a, a, x[k, i], labels, blank)
        loss = -_total(a)
        losses[i] = np.inf if loss >= INFEASIBLE else loss


@jit(parallel_from=PARALLEL)
def _ctc_grad(x, targets, lengths, sizes, g, out, blank, share):
    for i in prange(x.shape[1], share):
        labels, steps, states = targets[i], lengths[i], 2 * sizes[i] + 1
        a, b = np.empty((steps, states), np.float64), np.empty(states, np.float64)
        _begin(a[0], x[0, i], labels, blank)
        for k in range(1, steps):
            _forward(a[k], a[k - 1], x[k, i], labels, blank)
        loss = -_total(a[steps - 1])
        none = g[i] * 0  # NaN of NaN
        for k in range(x.shape[0]):
            start = none * loss if (k < steps and loss < INFEASIBLE) or loss != loss else none
            for c in range(x.shape[2]):
                out[k, i, c] = start
        if loss >= INFEASIBLE:
            continue
        for j in range(states):
            b[j] = 0.0 if j >= states - 2 else NEVER
        for step in range(steps):
            k = steps - 1 - step
            if step:
                row = x[k + 1, i]
                for j in range(states):
                    b[j] += _emission(row, labels, j, blank)
                for j in range(states):
                    one = b[j + 1] if j + 1 < states else NEVER
                    two = b[j + 2] if j + 2 < states and _skips(labels, j + 2) else NEVER
                    b[j] = _sum3(b[j], one, two)
            for j in range(states):
                c = labels[j // 2] if j % 2 else blank
                out[k, i, c] -= g[i] * math.exp(a[k, j] + b[j] + loss)


def _whole(*arrays):
    return [np.ascontiguousarray(a, np.int64) for a in arrays]


@accepts(min_size=SMALL, others=_OTHERS, when=ctc_fits)
def ctc(log_probs, targets, input_lengths, target_lengths, *, blank):
    losses = np.empty(len(targets), log_probs.dtype)
    _ctc(log_probs, *_whole(targets, input_lengths, target_lengths), losses, blank)
    return losses


@accepts(min_size=SMALL, size_of="log_probs", others=_OTHERS, strided=("g",), when=ctc_grad_fits)
def ctc_grad(g, log_probs, targets, input_lengths, target_lengths, *, blank):
    out, g = empty_like(log_probs), np.ascontiguousarray(g)
    _ctc_grad(log_probs, *_whole(targets, input_lengths, target_lengths), g, out, blank)
    return out


# --- RNN-T --------------------------------------------------------------------------------------


@jit(parallel_from=PARALLEL, reassociate=True)
def _arcs(x, bits, targets, sizes, norms, blanks, labels, blank, share):
    """The logarithms of each node's sum, and of its two arcs; NEVER where there is no label."""
    nodes = x.shape[0] // max(1, len(sizes))
    across = targets.shape[1] + 1
    for r in prange(x.shape[0], share):
        top = largest(bits, r, x)
        total = x.dtype.type(0)
        for c in range(x.shape[1]):
            total += s.exp(x[r, c] - top)
        norm = np.float64(top) + np.float64(np.log(total))  # which large logits would round
        i, j = r // nodes, r % across
        norms[r] = norm
        blanks[r] = _bounded(x[r, blank] - norm)
        labels[r] = _bounded(x[r, targets[i, j]] - norm) if j < sizes[i] else NEVER


@s.scalar
def _through(a, blanks, labels):
    """The forward variables of a lattice (t, u + 1), and its log-probability."""
    steps, across = a.shape
    for i in range(steps):
        for j in range(across):
            up = a[i - 1, j] + blanks[i - 1, j] if i else NEVER
            left = a[i, j - 1] + labels[i, j - 1] if j else NEVER
            a[i, j] = _sum2(up, left) if i + j else 0.0
    return a[steps - 1, across - 1] + blanks[steps - 1, across - 1]


@jit(parallel_from=PARALLEL)
def _transducer(blanks, labels, lengths, sizes, losses, share):
    for i in prange(len(lengths), share):
        a = np.empty((lengths[i], sizes[i] + 1), np.float64)
        loss = -_through(a, blanks[i], labels[i])
        losses[i] = np.inf if loss >= INFEASIBLE else loss


@jit(parallel_from=PARALLEL)
def _transducer_grad(blanks, labels, lengths, sizes, g, share):
    """Puts the probabilities of the arcs, times g, in their places."""
    for n in prange(len(lengths), share):
        steps, across = lengths[n], sizes[n] + 1
        a, b = np.empty((steps, across), np.float64), np.empty(across + 1, np.float64)
        arcs, marks = blanks[n], labels[n]
        loss = -_through(a, arcs, marks)
        scale = 0.0 if loss >= INFEASIBLE else g[n]
        loss = 0.0 if loss >= INFEASIBLE else loss
        none = scale * 0 * loss  # NaN of NaN
        for j in range(across + 1):
            b[j] = NEVER
        for step in range(arcs.shape[0]):
            i = arcs.shape[0] - 1 - step
            for back in range(arcs.shape[1]):
                j = arcs.shape[1] - 1 - back
                if i >= steps or j >= across:
                    arcs[i, j] = marks[i, j] = none
                    continue
                end = i == steps - 1 and j == across - 1
                up, left = arcs[i, j] + (0.0 if end else b[j]), marks[i, j] + b[j + 1]
                b[j] = _sum2(up, left)
                arcs[i, j] = scale * math.exp(a[i, j] + up + loss)
                marks[i, j] = scale * math.exp(a[i, j] + left + loss)


@jit(parallel_from=PARALLEL)
def _spread(x, norms, targets, blanks, labels, out, blank, share):
    nodes, across = x.shape[0] // max(1, len(targets)), targets.shape[1] + 1
    for r in prange(x.shape[0], share):
        here, norm = x.dtype.type(blanks[r] + labels[r]), norms[r]
        for c in range(x.shape[1]):
            out[r, c] = here * s.exp(x.dtype.type(x[r, c] - norm)) if here != 0 else x.dtype.type(0)
        out[r, blank] -= blanks[r]
        if labels[r] != 0 and r % across < across - 1:
            label = targets[r // nodes, r % across]
            if 0 <= label < x.shape[1]:  # what stands behind a sequence's own may be anything
                out[r, label] -= labels[r]


def _prepared(logits, targets, sizes, blank):
    """What _arcs writes: the first flat and in the logits' dtype, the others (n, t, u + 1)."""
    x = flat_rows(logits)
    norms = np.empty(len(x), np.float64)
    blanks, labels = [np.empty(logits.shape[:3], np.float64) for _ in range(2)]
    _arcs(x, as_bits(x), targets, sizes, norms, blanks.reshape(-1), labels.reshape(-1), blank)
    return x, norms, blanks, labels


@accepts(min_size=SMALL, others=_OTHERS, when=transducer_fits)
def transducer(logits, targets, input_lengths, target_lengths, *, blank):
    targets, lengths, sizes = _whole(targets, input_lengths, target_lengths)
    _, _, blanks, labels = _prepared(logits, targets, sizes, blank)
    losses = np.empty(len(targets))  # in float64, as all of it: one compiled loop for all dtypes
    _transducer(blanks, labels, lengths, sizes, losses)
    return losses.astype(logits.dtype, copy=False)


@accepts(
    min_size=SMALL, size_of="logits", others=_OTHERS, strided=("g",), when=transducer_grad_fits
)
def transducer_grad(g, logits, targets, input_lengths, target_lengths, *, blank):
    targets, lengths, sizes = _whole(targets, input_lengths, target_lengths)
    x, norms, blanks, labels = _prepared(logits, targets, sizes, blank)
    _transducer_grad(blanks, labels, lengths, sizes, np.ascontiguousarray(g, np.float64))
    out = empty_like(x)
    _spread(x, norms, targets, blanks.reshape(-1), labels.reshape(-1), out, blank)
    return out.reshape(logits.shape)
