"""Sized samples of CTC and RNN-T: many sequences, long ones, many classes; labels that repeat."""

import numpy as np

from tensorgrad.ops.samples import Sample, draw, integers


def batch(n, steps, size, classes):
    """Labels from 1 on, so that 0 is the blank, and lengths that fit any of them."""
    sizes = integers((n,), size + 1, seed=1)
    lengths = np.minimum(steps, 2 * sizes + 1 + integers((n,), 3, seed=2))
    lengths[: n // 2] = steps
    return 1 + integers((n, size), classes - 1), lengths, sizes


def shapes(k):
    """(n, steps, labels, classes)"""
    yield max(k // 60, min(k, 1)), 5, 2, 4
    if k:
        yield 2, 7 + k // 24, 3, 3
        yield 1, 3, 1, max(2, k // 3)


def ctcs(k):
    for n, steps, size, classes in shapes(k):
        x = draw((steps, n, classes))
        x = x - np.log(np.exp(x).sum(-1, keepdims=True))
        yield x, *batch(n, steps, size, classes)


def transducers(k):
    for n, steps, size, classes in shapes(k // 2):
        yield draw((n, steps, size + 1, classes)), *batch(n, steps, size, classes)


def calls(of, grad=False):
    def made(k):
        return [
            Sample((*([draw((len(a[1]),), seed=3)] if grad else []), *a), {"blank": 0})
            for a in of(k)
        ]

    return made


SIZED = {
    "ctc": calls(ctcs),
    "ctc_grad": calls(ctcs, grad=True),
    "transducer": calls(transducers),
    "transducer_grad": calls(transducers, grad=True),
}
LARGE = dict.fromkeys(SIZED, 20_001)
