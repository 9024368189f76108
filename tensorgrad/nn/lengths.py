"""Sequences of several lengths in one batch, padded at their ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor
from ..creation import asarray, beside
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functions import where
from ..ops.shape import expand_dims, full_like
from ..typing import ArrayLike
from .module import Module


class Lengths:
    """The lengths of the sequences of a batch x (n, t, ...): what comes after counts as nothing,
    even NaN. ShapeError, DTypeError or ArgumentError for others than n whole numbers up to t."""

    def __init__(self, name: str, lengths: ArrayLike, x: Tensor):
        n, t = x.shape[:2]
        given = asarray(lengths).numpy()
        if given.shape != (n,):
            raise ShapeError(f"{name}: lengths has shape {given.shape}; one for each of {n} needed")
        if given.dtype.kind not in "iu":
            raise DTypeError(f"{name}: lengths are whole numbers, got dtype {given.dtype}")
        if n and not 0 <= given.min() <= given.max() <= t:
            raise ArgumentError(
                f"{name}: lengths are from 0 to {t}, the steps of the input; got "
                f"{given.min()} to {given.max()}"
            )
        lengths, steps = given.astype("int64")[:, None], np.arange(t)
        within = steps < lengths
        self.within = beside(within, x)
        self.rows = beside(np.arange(n), x)
        self.order = beside(np.where(within, lengths - 1 - steps, steps), x)
        self.ends = beside(np.maximum(lengths[:, 0] - 1, 0), x)
        self.empty = beside(lengths == 0, x) if n and not given.min() else None

    def kept(self, x: Tensor) -> Tensor:
        """x (n, t, features), with zeros past the ends."""
        return where(expand_dims(self.within, axis=-1), x, 0.0)

    def reversed(self, x: Tensor) -> Tensor:
        """Each sequence backwards, within its length."""
        return x[expand_dims(self.rows, axis=1), self.order]

    def last(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """The step at the end of each sequence, (n, features); of an empty one `start`, or 0."""
        end = x[self.rows, self.ends] if x.shape[1] else full_like(x.sum(axis=1), value=0.0)
        if self.empty is None:
            return end
        return where(self.empty, 0.0 if start is None else start, end)


class Last(Module):
    """The last step of a sequence: (n, t, features) -> (n, features), or that at the end of each
    with `lengths` (n,), which `Sequential` hands on: `model(x, lengths=[5, 3])`. Where an RNN reads
    in both directions, its backward half has seen that step alone; take the states instead.

    `batch_first=False`: of sequences (t, n, features).

    >>> Last()([[[1.0], [2.0], [3.0]]]).tolist(), Last()([[[1.0], [2.0]]], lengths=[1]).tolist()
    ([[3.0]], [[1.0]])
    """

    def __init__(self, batch_first: bool = True):
        super().__init__()
        self.batch_first = batch_first

    def forward(self, x: ArrayLike, *, lengths: ArrayLike | None = None) -> Tensor:
        x = asarray(x)
        if x.ndim < 2 or not x.shape[1 if self.batch_first else 0]:
            raise ShapeError(f"Last takes sequences of one step or more; got shape {x.shape}")
        if lengths is None:
            return x[:, -1] if self.batch_first else x[-1]
        x = x if self.batch_first else x.swapaxes(0, 1)
        return Lengths("Last", lengths, x).last(x)

    def describe(self) -> Any:
        return "" if self.batch_first else "batch_first=False"
