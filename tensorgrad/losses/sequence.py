"""Losses of sequences whose labels are shorter, and not aligned: CTC and RNN-T."""

from __future__ import annotations

import math

from ..core import Tensor
from ..creation import beside
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops import alignment, elementwise, reduce
from ..settings import gate
from ..typing import ArrayLike, Natural
from .common import Reduction, Weights, alike, floating, given, maker, reduced

__all__ = ["ctc", "transducer"]


@gate
def ctc(
    prediction: ArrayLike,
    target: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    blank: Natural = 0,
    zero_infinity: bool = False,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """Connectionist temporal classification (Graves et al. 2006): -log of the probability that the
    steps emit the labels, in order, with repetitions and blanks between them. -> (), or (n,).

    Args:
        prediction: logits (t, n, classes), the steps first; log-probabilities are logits, too.
        target: labels (n, s), of each sequence in the first of its columns; or all in one row.
        input_lengths, target_lengths: (n,), of each sequence.
        blank: the class that is no label.
        zero_infinity: 0 in the place of infinity, the loss where a sequence has fewer steps than
            its labels take; its gradient is 0 in any case.
        reduction: "mean" is over the sequences, each divided by the length of its target, as in
            PyTorch.
        sample_weight: (n,), of each sequence: "mean" is then sum(w * loss) / sum(w).
    Raises: ShapeError for shapes, lengths and labels, on the host, that do not fit; DTypeError for
        labels and lengths that are no integers; ArgumentError for a prediction that is the output
        of a softmax.

    >>> loss = ctc([[[0.0, 0.0, 0.0]]] * 3, [[1, 2]], [3], [2])
    >>> round(loss.item(), 4)  # log(27 / 5) / 2: 5 of 27 paths spell 1, 2
    0.8432
    """
    x, t, lengths, of = _sequences("ctc", prediction, target, input_lengths, target_lengths)
    if t.ndim == 1 and x.ndim == 3 and of.ndim == 1 and t.backend == "numpy":
        t = _rows(t, of)
    _fits("ctc", x, t, 3, "logits (t, n, classes) and labels (n, s)", 1)
    values = alignment.ctc(reduce.log_softmax(x, axis=-1), t, lengths, of, blank=blank)
    if zero_infinity:
        values = elementwise.where(values == math.inf, 0.0, values)
    if reduction == "mean":
        values = values / elementwise.maximum(of, 1).astype(values.dtype)
    return reduced("ctc", values, reduction, sample_weight)


@gate
def transducer(
    prediction: ArrayLike,
    target: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    blank: Natural = 0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The loss of a recurrent neural network transducer (RNN-T, Graves 2012): -log of the
    probability that a lattice emits the labels, where a blank goes on to the next step, and a label
    to the next output. -> (), or (n,).

    Args:
        prediction: logits (n, t, u + 1, classes), of the joint network for each step and each
            number of labels before.
        target: labels (n, u), of each sequence in the first of its columns.
        input_lengths, target_lengths: (n,), of each sequence.
        blank: the class that is no label.
        sample_weight: as in `ctc`.
    Raises: as `ctc`.

    >>> loss = transducer([[[[0.0, 0.0]] * 2] * 2], [[1]], [2], [1])
    >>> round(loss.item(), 4)  # two paths of three arcs: log(8 / 2)
    1.3863
    """
    name = "transducer"
    x, t, lengths, of = _sequences(name, prediction, target, input_lengths, target_lengths)
    _fits(name, x, t, 4, "logits (n, t, u + 1, classes) and labels (n, u)", 0)
    values = alignment.transducer(x, t, lengths, of, blank=blank)
    return reduced(name, values, reduction, sample_weight)


def _sequences(
    name: str, prediction: ArrayLike, *integers: ArrayLike
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = floating(prediction)
    if (made_by := maker(x)) in ("softmax", "sigmoid"):
        raise ArgumentError(f"{name} takes logits, {given(made_by)}")
    words = ("target", "input_lengths", "target_lengths")
    made = [beside(a, x) for a in integers]
    for word, a in zip(words, made, strict=True):
        if a.dtype.kind not in "iu":
            raise DTypeError(f"{name}: {word} are integers, got {a.dtype}")
    return x, *made  # type: ignore[return-value]


def _fits(name: str, x: Tensor, t: Tensor, ndim: int, said: str, batch: int) -> None:
    if x.ndim != ndim or t.ndim != 2 or x.shape[batch] != t.shape[0]:
        raise ShapeError(f"{name} takes {said}, got {x.shape} and {t.shape}")


def _rows(t: Tensor, lengths: Tensor) -> Tensor:
    """Labels that follow each other in one row, (n, s)."""
    sizes = lengths._data
    if sizes.min(initial=0) < 0 or sizes.sum() != len(t):
        raise ShapeError(f"ctc: target_lengths that sum to {sizes.sum()} for {len(t)} labels")
    rows = alike([[0] * int(sizes.max(initial=0))] * len(sizes), t)
    within = alike(range(rows.shape[1]), t)._data < sizes[:, None]
    rows._data[within] = t._data
    return rows
