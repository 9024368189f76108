"""Losses over all alignments of a sequence with its labels, by forward and backward variables in
log space: one operation over the batch for each step.

States that are out of reach have the logarithm NEVER and not -inf, whose differences are NaN. The
gradients are made of ops, and so are differentiable to any order.
"""

import numpy as np

from ..backend import namespace
from ..core import op
from .analytic import logaddexp
from .elementwise import exp, maximum, where
from .matmul import matmul
from .reduce import log_softmax, narrow, widened
from .samples import calls, draw
from .shape import concat, expand_dims, full_like, stack, swapaxes

NEVER, INFEASIBLE = -1e30, 1e29
_FIXED = ("targets", "input_lengths", "target_lengths")


def check(steps, classes, blank, targets, input_lengths, target_lengths):
    """An error for labels and lengths on the host that do not fit. On a GPU they are not looked at:
    kernels give NaN there."""
    n, most = targets.shape
    for name, lengths, least, limit in (
        ("input", input_lengths, 1, steps),
        ("target", target_lengths, 0, most),
    ):
        if lengths.shape != (n,) or lengths.dtype.kind not in "iu":
            given = f"{lengths.dtype} {lengths.shape}"
            raise ValueError(f"{name}_lengths are integers ({n},), got {given}")
        if type(lengths) is np.ndarray and n:
            low, high = lengths.min(), lengths.max()
            if low < least or high > limit:
                raise ValueError(f"{name}_lengths are {least} to {limit}, got {low} to {high}")
    if targets.dtype.kind not in "iu":
        raise TypeError(f"targets are integer labels, got dtype {targets.dtype}")
    if not 0 <= blank < classes:
        raise ValueError(f"blank={blank} is none of the classes 0..{classes - 1}")
    if type(targets) is np.ndarray and targets.size:
        used = targets[np.arange(most) < target_lengths[:, None]]
        if used.size and (used.min() < 0 or used.max() >= classes or (used == blank).any()):
            raise ValueError(
                f"the labels are {used.min()} to {used.max()}; they are of the classes "
                f"0..{classes - 1} without the blank, {blank}"
            )


def _raw(x):
    return getattr(x, "_data", x)


def _shifted(a, by):
    """The states of a (n, states) moved up by 1 or 2, or down, with NEVER behind them."""
    size = min(abs(by), a.shape[1])
    behind = full_like(a[:, :size], value=NEVER)
    if by > 0:
        return concat(behind, a[:, : a.shape[1] - size], axis=1)
    return concat(a[:, size:], behind, axis=1)


def _one_hot(labels, classes, like):
    """(..., classes) with a 1 at each label, an array of the dtype of `like`."""
    return (labels[..., None] == namespace(labels).arange(classes)).astype(like.dtype)


def _of_total(total):
    """The loss of a log-probability, infinite where there is no alignment; whether there is one;
    and the loss with 0 in the place of infinity."""
    there = ~(_raw(total) <= -INFEASIBLE)  # NaN stays
    finite = where(there, 0 - total, 0.0)
    return where(there, finite, np.inf), there, finite


# --- CTC ------------------------------------------------------------------------------------------


class _Ctc:
    """The states of a batch, (n, 2 s + 1): its labels with blanks before, between and after."""

    def __init__(self, log_probs, targets, input_lengths, target_lengths, blank):
        if log_probs.ndim != 3 or not log_probs.shape[0] or targets.ndim != 2:
            raise ValueError(
                f"log_probs are (t, n, classes) of a step or more, targets (n, s); got "
                f"{log_probs.shape} and {targets.shape}"
            )
        steps, n, self.classes = log_probs.shape
        if targets.shape[0] != n:
            raise ValueError(f"targets {targets.shape} for a batch of {n} in {log_probs.shape}")
        targets, self.lengths, sizes = map(_raw, (targets, input_lengths, target_lengths))
        check(steps, self.classes, blank, targets, self.lengths, sizes)
        xp, self.sizes = namespace(targets), sizes
        within = xp.arange(targets.shape[1]) < sizes[:, None]
        first = (xp.zeros_like(sizes) + blank)[:, None].astype(np.int64)
        inner = xp.where(within, targets, blank).astype(np.int64)
        pairs = xp.stack([inner, xp.zeros_like(inner) + blank], axis=2)
        pairs = pairs.reshape(n, 2 * targets.shape[1])
        self.labels = xp.concatenate([first, pairs], axis=1)
        before = xp.concatenate([first, first, self.labels], axis=1)[:, : self.labels.shape[1]]
        self.skips = (self.labels != blank) & (self.labels != before)  # from two states below
        self.states, self.rows = xp.arange(self.labels.shape[1]), xp.arange(n)[:, None]
        self.emissions = [
            maximum(widened(log_probs[k])[self.rows, self.labels], NEVER) for k in range(steps)
        ]

    def alphas(self):
        """The forward variables of each step; after its last step a sequence keeps its own."""
        made = [where(self.states < 2, self.emissions[0], NEVER)]
        for k, e in enumerate(self.emissions[1:], 1):
            a = made[-1]
            skipped = where(self.skips, _shifted(a, 2), NEVER)
            new = logaddexp(logaddexp(a, _shifted(a, 1)), skipped) + e
            made.append(where((self.lengths > k)[:, None], new, a))
        return made

    def total(self, last):
        """The log-probability of all alignments, which end in the last label or the last blank."""
        end = 2 * self.sizes
        rows = self.rows[:, 0]
        label = where(end > 0, last[rows, namespace(end).maximum(end - 1, 0)], NEVER)
        return logaddexp(last[rows, end], label)

    def betas(self):
        """The backward variables of each step, without its own emission."""
        end = 2 * self.sizes[:, None]
        ends = (self.states == end) | ((self.states == end - 1) & (end > 0))
        start = where(ends, full_like(self.emissions[0], value=0.0), NEVER)
        made = [start]
        for k in range(len(self.emissions) - 2, -1, -1):
            u = made[-1] + self.emissions[k + 1]
            skipped = _shifted(where(self.skips, u, NEVER), -2)
            new = logaddexp(logaddexp(u, _shifted(u, -1)), skipped)
            made.append(where((self.lengths > k + 1)[:, None], new, start))
        return made[::-1]


def _log_probs(shape, seed=0):
    x = draw(shape, seed=seed)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _ctc_calls():
    """(log_probs, targets, lengths, options): repeated labels, none, empty batches."""
    two = np.array([[1, 1, 2], [2, 0, 0]]), np.array([4, 3]), np.array([3, 1])
    return [
        (_log_probs((4, 2, 3)), *two, {"blank": 0}),
        (_log_probs((2, 1, 3)), np.array([[0, 1]]), np.array([2]), np.array([2]), {"blank": 2}),
        (_log_probs((3, 3, 2)), np.array([[1, 1]] * 3), np.array([2, 1, 3]), np.array([0, 1, 2]),
         {"blank": 0}),
        (_log_probs((1, 2, 2)), np.zeros((2, 0), np.int64), np.array([1, 1]), np.zeros(2, np.int64),
         {"blank": 1}),
        (_log_probs((3, 0, 2)), np.zeros((0, 2), np.int64), *[np.zeros(0, np.int64)] * 2,
         {"blank": 0}),
    ]  # fmt: skip


@op(
    samples=lambda: calls(
        *[lambda c=c: (draw(c[0].shape[1:2], seed=3), *c) for c in _ctc_calls()]
    )(),
    fixed=_FIXED,
)
def ctc_grad(g, log_probs, targets, input_lengths, target_lengths, *, blank):
    """Gradient of ctc for the log-probabilities: -g times the probability of each class at each
    step, given the labels; 0 where there is no alignment."""
    of = _Ctc(log_probs, targets, input_lengths, target_lengths, blank)
    alphas, betas = of.alphas(), of.betas()
    _, there, finite = _of_total(of.total(alphas[-1]))
    loss, g = expand_dims(finite, axis=1), widened(g)
    posteriors = [
        where((there & (of.lengths > k))[:, None], exp(a + b + loss), 0.0)
        for k, (a, b) in enumerate(zip(alphas, betas, strict=True))
    ]
    weighted = stack(*posteriors, axis=1) * (0 - expand_dims(expand_dims(g, axis=1), axis=2))
    classes = matmul(weighted, _one_hot(of.labels, of.classes, _raw(weighted)))
    return narrow(swapaxes(classes, axis1=0, axis2=1), log_probs)


@op(
    log_probs=ctc_grad,
    samples=lambda: calls(*[lambda c=c: c for c in _ctc_calls()])(),
    fixed=_FIXED,
    precision="single",
)
def ctc(log_probs, targets, input_lengths, target_lengths, *, blank):
    """Connectionist temporal classification (Graves et al. 2006): -log of the probability that
    log_probs (t, n, classes) emit targets (n, s), with repetitions and blanks between. -> (n,),
    infinity where the steps are too few."""
    of = _Ctc(log_probs, targets, input_lengths, target_lengths, blank)
    return narrow(_of_total(of.total(of.alphas()[-1]))[0], log_probs)


# --- RNN-T ----------------------------------------------------------------------------------------


class _Lattice:
    """The nodes of a batch, (t, u + 1), by their diagonals: node (i, j) is state j of diagonal
    i + j, which a blank leads to from state j of the one before, and a label from state j - 1."""

    def __init__(self, logits, targets, input_lengths, target_lengths, blank):
        n, u = targets.shape if targets.ndim == 2 else (-1, -1)
        if logits.ndim != 4 or logits.shape[::2] != (n, u + 1) or not logits.shape[1]:
            raise ValueError(
                f"logits are (n, t, u + 1, classes) of a step or more, targets (n, u); got "
                f"{logits.shape} and {targets.shape}"
            )
        _, steps, _, self.classes = logits.shape
        self.targets, lengths, self.sizes = map(_raw, (targets, input_lengths, target_lengths))
        check(steps, self.classes, blank, self.targets, lengths, self.sizes)
        xp = namespace(self.targets)
        within = xp.arange(u) < self.sizes[:, None]
        there = (xp.arange(steps) < lengths[:, None])[:, :, None, None]
        there = there & (xp.arange(u + 1) <= self.sizes[:, None])[:, None, :, None]
        self.log_p = where(there, log_softmax(widened(logits), axis=-1), NEVER)
        self.targets = xp.where(within, self.targets, blank)
        self.rows, self.i, self.j = xp.arange(n), xp.arange(steps)[:, None], xp.arange(u + 1)
        places = self.rows[:, None, None], self.i, self.j[:u], self.targets[:, None, :]
        labels = where(within[:, None, :], self.log_p[places], NEVER)
        labels = concat(labels, full_like(self.log_p[:, :, :1, 0], value=NEVER), axis=2)
        at = xp.arange(steps + u)[:, None] - self.j
        self.inside, at = (at >= 0) & (at < steps), xp.clip(at, 0, steps - 1)
        self.blanks, self.labels = [
            [where(self.inside[d], a[:, at[d], self.j], NEVER) for d in range(len(at))]
            for a in (maximum(self.log_p[..., blank], NEVER), maximum(labels, NEVER))
        ]
        self.last, end = lengths - 1 + self.sizes, self.j == self.sizes[:, None]
        self.ends = [end & (self.last == d)[:, None] for d in range(len(at))]

    def alphas(self):
        """The forward variables of each diagonal."""
        made = [where(self.j == 0, full_like(self.blanks[0], value=0.0), NEVER)]
        for blank, label in zip(self.blanks[:-1], self.labels[:-1], strict=True):
            made.append(logaddexp(made[-1] + blank, _shifted(made[-1] + label, 1)))
        return made

    def total(self, alphas):
        """The log-probability of all alignments: that of the last blank."""
        final = full_like(alphas[0], value=NEVER)
        for a, blank, end in zip(alphas, self.blanks, self.ends, strict=True):
            final = where(end, a + blank, final)
        return final[self.rows, self.sizes]

    def arcs(self, alphas, loss):
        """The probabilities of all blanks and labels given the targets, each (n, t, u + 1)."""
        after, made = full_like(alphas[0], value=NEVER), []
        for d in range(len(alphas) - 1, -1, -1):
            blank = self.blanks[d] + where(self.ends[d], 0.0, after)
            label = self.labels[d] + _shifted(after, -1)
            made.append([exp(alphas[d] + arc + loss) for arc in (blank, label)])
            after = where(self.ends[d], blank, logaddexp(blank, label))
        straight = self.rows[:, None, None], self.i + self.j, self.j
        return [stack(*arcs[::-1], axis=1)[straight] for arcs in zip(*made, strict=True)]


def _transducer_calls():
    two = np.array([[1, 2], [2, 0]]), np.array([2, 1]), np.array([2, 1])
    one = np.array([[0, 0, 1]]), np.array([1]), np.array([3])
    return [
        (draw((2, 2, 3, 3)), *two, {"blank": 0}),
        (draw((1, 2, 4, 3)), *one, {"blank": 2}),
        (draw((2, 2, 1, 2)), np.zeros((2, 0), np.int64), np.array([2, 1]), np.zeros(2, np.int64),
         {"blank": 0}),
        (draw((0, 2, 2, 2)), np.zeros((0, 1), np.int64), *[np.zeros(0, np.int64)] * 2,
         {"blank": 0}),
    ]  # fmt: skip


@op(
    samples=lambda: calls(
        *[lambda c=c: (draw(c[0].shape[:1], seed=3), *c) for c in _transducer_calls()]
    )(),
    fixed=_FIXED,
)
def transducer_grad(g, logits, targets, input_lengths, target_lengths, *, blank):
    """Gradient of transducer for the logits: of each node softmax times the probability of being
    there, minus those of its arcs."""
    of = _Lattice(logits, targets, input_lengths, target_lengths, blank)
    alphas = of.alphas()
    _, there, finite = _of_total(of.total(alphas))
    blanks, labels = of.arcs(alphas, expand_dims(finite, axis=1))
    scale = where(there, widened(g), 0.0).reshape(-1, 1, 1)
    blanks, labels = blanks * scale, labels * scale
    xp = namespace(of.targets)
    last = xp.zeros_like(of.sizes)[:, None] - 1  # after the targets there is no label
    chosen = xp.concatenate([of.targets.astype(np.int64), last.astype(np.int64)], axis=1)
    hit = _one_hot(chosen[:, None, :], of.classes, _raw(labels))
    none = _one_hot(xp.full((1,), blank), of.classes, _raw(labels))
    blanks, labels = expand_dims(blanks, axis=3), expand_dims(labels, axis=3)
    out = exp(of.log_p) * (blanks + labels) - blanks * none - labels * hit
    return narrow(out, logits)


@op(
    logits=transducer_grad,
    samples=lambda: calls(*[lambda c=c: c for c in _transducer_calls()])(),
    fixed=_FIXED,
    precision="single",
)
def transducer(logits, targets, input_lengths, target_lengths, *, blank):
    """The loss of a recurrent neural network transducer (Graves 2012): -log of the probability that
    the lattice of logits (n, t, u + 1, classes) emits targets (n, u), a blank for each step. ->
    (n,)."""
    of = _Lattice(logits, targets, input_lengths, target_lengths, blank)
    return narrow(_of_total(of.total(of.alphas()))[0], logits)
