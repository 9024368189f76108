"""Metrics of a whole epoch that are no mean over its batches.

A `Summed` metric is a function of sums over examples, which are accumulated where the predictions
are, without waiting for the device. A `Gathered` one, such as the area under a curve, needs all
predictions at once.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from ..backend import Array, namespace, on_host
from ..core import Tensor
from ..errors import ArgumentError, DTypeError, ShapeError
from ..losses import cross_entropy
from ..settings import gate
from ..switches import recording
from ..typing import Count

Average = Literal["binary", "macro", "micro", "weighted"]


class Summed:
    """Base of metrics that are a function of sums: `sums` of a batch, `result` of their total.
    Called with a prediction and a target it is the value for those.

    >>> class Bias(Summed):
    ...     name, higher_is_better = "bias", False
    ...     def sums(self, p, t):  # arrays of NumPy or CuPy
    ...         xp = p.__array_namespace__()
    ...         return xp.stack([(p - t).sum(), xp.asarray(float(p.size))])
    ...     def result(self, sums): return abs(sums[0] / sums[1])
    >>> Bias()([1.0, 3.0], [1.0, 1.0])
    1.0
    """

    higher_is_better = True
    name = ""

    def sums(self, p: Array, t: Array) -> Array:
        """float64 numbers of a batch, to be added to those of others, on the device."""
        raise ArgumentError(f"{type(self).__name__} has no sums")

    def result(self, sums: np.ndarray) -> float:
        """The metric, of sums over all batches."""
        raise ArgumentError(f"{type(self).__name__} has no result")

    def __call__(self, prediction: Any, target: Any) -> float:
        p, t = _both(prediction, target)
        return float(self.result(on_host(self.sums(p, t))))


class Gathered:
    """Base of metrics that need all predictions and targets at once, on the host.

    >>> class MedianError(Gathered):
    ...     name, higher_is_better = "median_error", False
    ...     def result(self, p, t): return np.median(abs(p - t))
    >>> MedianError()([1.0, 3.0, 9.0], [1.0, 1.0, 1.0])
    2.0
    """

    higher_is_better = True
    name = ""

    def columns(self, p: Array, t: Array) -> tuple[Array, Array]:
        """What is kept of a batch, on the device."""
        return p, t

    def result(self, p: np.ndarray, t: np.ndarray) -> float:
        """The metric, of what was kept of all batches."""
        raise ArgumentError(f"{type(self).__name__} has no result")

    def __call__(self, prediction: Any, target: Any) -> float:
        return float(self.result(*map(on_host, self.columns(*_both(prediction, target)))))


def _both(prediction: Any, target: Any) -> tuple[Array, Array]:
    p, t = (a._data if isinstance(a, Tensor) else np.asarray(a) for a in (prediction, target))
    return p, t


def _flat(name: str, p: Array, t: Array) -> tuple[Array, Array]:
    """Both as float64 (n,); ShapeError unless they have as many numbers."""
    if p.size != t.size:
        raise ShapeError(f"{name}: targets of shape {t.shape} for predictions of shape {p.shape}")
    return p.reshape(-1).astype("float64"), t.reshape(-1).astype("float64")


# --- regression ---------------------------------------------------------------------------------


class _OfErrors(Summed):
    """A function of the sum of f(prediction - target) and the number of values."""

    higher_is_better = False

    @staticmethod
    def of(d: Any) -> Any:
        """f of an array of errors."""
        return abs(d)

    def sums(self, p: Array, t: Array) -> Array:
        p, t = _flat(self.name, p, t)
        xp = namespace(p)
        return xp.stack([self.of(p - t).sum(), xp.asarray(float(p.size))])

    def result(self, sums: np.ndarray) -> float:
        return float(sums[0] / sums[1]) if sums[1] else math.nan


class RootMeanSquaredError(_OfErrors):
    """sqrt(mean (prediction - target)^2) over all values.

    >>> RootMeanSquaredError()([1.0, 3.0], [1.0, 1.0])
    1.4142135623730951
    """

    name = "rmse"

    @staticmethod
    def of(d: Any) -> Any:
        return d * d

    def result(self, sums: np.ndarray) -> float:
        return math.sqrt(super().result(sums))


class R2(Summed):
    """The coefficient of determination, 1 - sum (t - p)^2 / sum (t - mean t)^2; NaN for equal
    targets. Of several columns all values count as one.

    >>> R2()([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    1.0
    """

    name = "r2"

    def sums(self, p: Array, t: Array) -> Array:
        p, t = _flat(self.name, p, t)
        xp = namespace(p)
        d = p - t
        return xp.stack([(d * d).sum(), t.sum(), (t * t).sum(), xp.asarray(float(t.size))])

    def result(self, sums: np.ndarray) -> float:
        errors, total, squares, n = (float(s) for s in sums)
        spread = squares - total * total / n if n else 0.0
        return 1 - errors / spread if spread > 1e-12 * squares else math.nan


class CosineSimilarity(Summed):
    """The mean over rows of p . t / (|p| |t|), along the last axis.

    >>> CosineSimilarity()([[1.0, 0.0]], [[1.0, 0.0]])
    1.0
    """

    name = "cosine"

    def sums(self, p: Array, t: Array) -> Array:
        if p.shape != t.shape or not p.ndim:
            raise ShapeError(f"cosine: targets of shape {t.shape} for predictions {p.shape}")
        xp, p, t = namespace(p), p.astype("float64"), t.astype("float64")
        norms = xp.sqrt((p * p).sum(-1) * (t * t).sum(-1))
        values = (p * t).sum(-1) / xp.maximum(norms, 1e-12)
        return xp.stack([values.sum(), xp.asarray(float(values.size))])

    def result(self, sums: np.ndarray) -> float:
        return float(sums[0] / sums[1]) if sums[1] else math.nan


# --- classification -----------------------------------------------------------------------------


def _classes(name: str, p: Array, t: Array, threshold: float) -> tuple[Array, Array, int]:
    """Predicted and true classes as (n,), and how many there are."""
    if p.ndim > 1 and p.shape[-1] > 1:
        k = p.shape[-1]
        if t.shape == p.shape:  # one-hot
            t = t.argmax(axis=-1)
        p = p.argmax(axis=-1)
    else:
        k, p = 2, p > threshold
    if p.size != t.size:
        raise ShapeError(f"{name}: targets of shape {t.shape} for predictions of shape {p.shape}")
    return p.reshape(-1).astype("int64"), t.reshape(-1).astype("int64"), k


def _counts(name: str, p: Array, t: Array, threshold: float) -> Array:
    """The confusion matrix (true, predicted), float64 and flat."""
    p, t, k = _classes(name, p, t, threshold)
    xp = namespace(p)
    return xp.bincount(t.clip(0, k - 1) * k + p, minlength=k * k).astype("float64")


@gate
def confusion_matrix(prediction: Tensor, target: Tensor, threshold: float = 0.5) -> np.ndarray:
    """How many examples of each class (rows) were predicted as each (columns), int64.

    Args:
        prediction: scores (n, classes), of which the argmax counts, or probabilities (n,) or
            (n, 1) of class 1.
        target: class labels (n,), or one-hot rows.
        threshold: of probabilities; 0 for logits.

    >>> confusion_matrix(tensor([0.9, 0.2, 0.8]), tensor([1, 0, 0])).tolist()
    [[1, 1], [0, 1]]
    """
    p, t = _both(prediction, target)
    counts = on_host(_counts("confusion_matrix", p, t, threshold))
    k = math.isqrt(len(counts))
    return counts.reshape(k, k).astype(np.int64)


class _OfCounts(Summed):
    """A score of each class, of its hits, how often it was predicted and how often true; averaged.

    Args:
        average: "binary", the score of class 1; "macro", the mean over the classes; "weighted",
            by their numbers; "micro", of all together; None: "binary" for two classes, else
            "macro".
        threshold: of a single column of probabilities; `compile` sets 0 where the loss takes
            logits.
    """

    @gate
    def __init__(self, average: Average | None = None, threshold: float = 0.5):
        self.average, self.threshold = average, threshold

    def sums(self, p: Array, t: Array) -> Array:
        return _counts(self.name, p, t, self.threshold)

    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        """The score of each class."""
        raise ArgumentError(f"{type(self).__name__} has no score")

    def result(self, sums: np.ndarray) -> float:
        k = math.isqrt(len(sums))
        counts = sums.reshape(k, k)
        parts = np.diag(counts), counts.sum(0), counts.sum(1)
        average = self.average or ("binary" if k == 2 else "macro")
        if average == "micro":
            return float(self.score(*[part.sum(keepdims=True) for part in parts])[0])
        scores = self.score(*parts)
        if average == "binary":
            if k != 2:
                raise ArgumentError(f'{self.name}: average="binary" is for two classes, not {k}')
            return float(scores[1])
        weights = parts[2] if average == "weighted" else (parts[1] + parts[2] > 0).astype(float)
        return float((scores * weights).sum() / weights.sum()) if weights.sum() else math.nan


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is 0, as in scikit-learn."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


class Precision(_OfCounts):
    """Of what was predicted as a class, the fraction that is of it.

    >>> Precision()([0.9, 0.8, 0.2], [1, 0, 0])
    0.5
    """

    name = "precision"

    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return _ratio(hits, predicted)


class Recall(_OfCounts):
    """Of what is of a class, the fraction that was predicted as such.

    >>> Recall()([0.9, 0.8, 0.2], [1, 0, 0])
    1.0
    """

    name = "recall"

    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return _ratio(hits, true)


class F1(_OfCounts):
    """The harmonic mean of precision and recall.

    >>> round(F1()([0.9, 0.8, 0.2], [1, 0, 0]), 3)
    0.667
    """

    name = "f1"

    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return _ratio(2 * hits, predicted + true)


class TopK(Summed):
    """The fraction of examples whose class is among the k largest scores.

    >>> TopK(2)([[0.1, 0.5, 0.4]], [2])
    1.0
    """

    @gate
    def __init__(self, k: Count = 5):
        self.k, self.name = k, f"top_{k}"

    def sums(self, p: Array, t: Array) -> Array:
        if p.ndim < 2:
            raise ShapeError(f"{self.name} takes scores (n, classes), got {p.shape}")
        t = t.argmax(axis=-1) if t.shape == p.shape else t
        if t.size != math.prod(p.shape[:-1]):
            raise ShapeError(f"{self.name}: targets of shape {t.shape} for scores {p.shape}")
        p, t = p.reshape(-1, p.shape[-1]), t.reshape(-1).astype("int64")
        xp = namespace(p)
        own = xp.take_along_axis(p, t[:, None], axis=1)
        place = xp.arange(p.shape[1])
        before = (p > own) | ((p == own) & (place < t[:, None]))  # of equal ones the first counts
        return xp.stack(
            [(before.sum(1) < self.k).sum().astype("float64"), xp.asarray(float(len(t)))]
        )

    def result(self, sums: np.ndarray) -> float:
        return float(sums[0] / sums[1]) if sums[1] else math.nan


class Perplexity(Summed):
    """exp of the mean cross-entropy of logits (..., classes) and labels (...).

    >>> round(Perplexity()([[0.0, 0.0]], [1]), 6)
    2.0
    """

    name, higher_is_better = "perplexity", False

    def sums(self, p: Array, t: Array) -> Array:
        with recording(False):
            total = cross_entropy(Tensor(p), Tensor(t), reduction="sum")._data
        xp = namespace(p)
        n = math.prod(p.shape[:-1])
        return xp.stack([total.astype("float64").reshape(()), xp.asarray(float(n))])

    def result(self, sums: np.ndarray) -> float:
        return float(np.exp(sums[0] / sums[1])) if sums[1] else math.nan


class _OfRanks(Gathered):
    """A function of the scores of class 1 and the binary labels."""

    def columns(self, p: Array, t: Array) -> tuple[Array, Array]:
        if p.ndim > 1 and p.shape[-1] == 2:
            t = t.argmax(axis=-1) if t.shape == p.shape else t
            p = p[..., 1] - p[..., 0]
        if p.size != t.size:
            raise ShapeError(f"{self.name}: targets {t.shape} for scores of class 1 {p.shape}")
        return p.reshape(-1), t.reshape(-1)

    def checked(self, t: np.ndarray) -> np.ndarray:
        """The labels as booleans."""
        if t.size and not np.isin(t, (0, 1)).all():
            raise DTypeError(f"{self.name}: labels are 0 and 1, got {t.min()} to {t.max()}")
        return t.astype(bool)


class AUC(_OfRanks):
    """The area under the ROC curve: the chance that an example of class 1 has a larger score than
    one of class 0, ties counted half. Exact; NaN where a class is missing.

    >>> AUC()([0.9, 0.3, 0.6], [1, 0, 0])
    1.0
    """

    name = "auc"

    def result(self, p: np.ndarray, t: np.ndarray) -> float:
        t = self.checked(t)
        _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
        positive, negative = int(t.sum()), int((~t).sum())
        if not positive or not negative:
            return math.nan
        above = ranks[t].sum() - positive * (positive + 1) / 2
        return float(above / (positive * negative))


class AveragePrecision(_OfRanks):
    """The area under the precision-recall curve, sum (r_k - r_(k-1)) p_k over its thresholds.

    >>> AveragePrecision()([0.9, 0.3, 0.6], [1, 0, 0])
    1.0
    """

    name = "average_precision"

    def result(self, p: np.ndarray, t: np.ndarray) -> float:
        t = self.checked(t)
        order = np.argsort(-p, kind="stable")
        hits = np.cumsum(t[order])
        last = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)  # of equal scores
        if not len(p) or not hits[-1]:
            return math.nan
        precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
        return float((np.diff(recall, prepend=0) * precision).sum())
