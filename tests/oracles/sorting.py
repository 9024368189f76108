"""Oracles of scans, sorting, and reductions by an id: loops over Python's own numbers."""

import functools
import math

import numpy as np


def _running(step):
    """step(before, element) from the first element of each line on."""

    def scan(x, axis, reverse=False):
        lines = np.moveaxis(x, axis, -1)[..., :: -1 if reverse else 1].copy()
        for line in lines.reshape(-1, lines.shape[-1]) if lines.size else ():
            for i in range(1, len(line)):
                line[i] = step(line[i - 1], line[i])
        return np.moveaxis(lines[..., :: -1 if reverse else 1], -1, axis)

    return scan


def _linear_scan(a, b, axis, reverse=False):
    if reverse:
        return np.flip(_linear_scan(np.flip(a, axis), np.flip(b, axis), axis), axis)
    y, before = np.empty_like(b), 0.0
    for i in range(b.shape[axis]):
        at = (slice(None),) * (axis % b.ndim) + (i,)
        y[at] = before = a[at] * before + b[at]
    return y


def _lines(f):
    """A function of a list of numbers, along an axis."""
    return lambda x, axis=-1, **options: np.apply_along_axis(
        lambda line: np.array(f(list(line), **options)), axis, x
    )


def _running_index(line, largest):
    best, found = 0, []
    for i, v in enumerate(line):
        if v >= line[best] if largest else v <= line[best]:
            best = i
        found.append(best)
    return found


def _key(v):
    return (1, 0.0) if math.isnan(v) else (0, v)


def _order(line, descending=False):
    return np.array(sorted(range(len(line)), key=lambda i: _key(line[i]), reverse=descending), int)


def _argsort(x, axis=-1, descending=False):
    return np.zeros(x.shape, int) if not x.size else _lines(_order)(x, axis, descending=descending)


def _sort(x, axis=-1, descending=False):
    return np.take_along_axis(x, _argsort(x, axis, descending), axis)


def _top(line, k, largest=True):
    return _order(line, largest)[:k]


def _segment_extreme(x, ids, count, largest):
    pick = max if largest else min
    y = np.full((count, *x.shape[1:]), -np.inf if largest else np.inf)
    for row, i in zip(x, ids, strict=True):
        y[i] = np.vectorize(pick)(y[i], row)
    return y


ORACLES = {
    "cumsum": _running(lambda a, b: a + b),
    "cumprod": _running(lambda a, b: a * b),
    "linear_scan": _linear_scan,
    "running_extreme": lambda x, axis, largest: (
        _running(max if largest else min)(x, axis),
        _lines(_running_index)(x, axis, largest=largest),
    ),
    "argsort": _argsort,
    "sort": _sort,
    "argpartition": lambda x, kth, axis=-1: np.argpartition(x, kth, axis),
    "top_indices": lambda x, k, axis=-1, largest=True: _lines(functools.partial(_top, k=k))(
        x, axis, largest=largest
    ),
    "searchsorted": lambda sequence, values, side="left": np.searchsorted(sequence, values, side),
    "correlate_valid": lambda x, v: np.array(
        [sum(x[i : i + len(v)] * v) for i in range(len(x) - len(v) + 1)]
    ),
    "repeat_each": lambda x, repeats, axis: np.take(
        x, [i for i in range(x.shape[axis]) for _ in range(repeats)], axis
    ).reshape(*x.shape[:axis], -1 if x.size * repeats else 0, *x.shape[axis + 1 :]),
    "segment_extreme": _segment_extreme,
}
