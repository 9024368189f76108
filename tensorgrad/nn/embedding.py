"""Embedding: tables of learned vectors, looked up one by one and in bags."""

from __future__ import annotations

from typing import Any, Literal

from .. import functions
from ..backend import is_floating
from ..core import Tensor
from ..creation import beside
from ..errors import ArgumentError, DTypeError
from ..ops import embedding
from ..randomness import host_generator
from ..switches import recording
from ..typing import ArrayLike, Count, DType, Initializer, Positive
from .init import initial
from .module import Module, Parameter


class _Table(Module):
    def _start(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        weight_init: Any,
        dtype: DType,
        **options: Any,
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        vars(self).update(options)
        if self.sparse and self.scale_grad_by_freq:
            raise ArgumentError(
                f"{type(self).__name__}: scale_grad_by_freq makes whole gradients of tables, with "
                "sparse=True they are of rows: leave out one"
            )
        init = host_generator().standard_normal if weight_init is None else weight_init
        values = initial(init, (num_embeddings, embedding_dim), dtype)
        self.padding_idx = padding_idx
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ArgumentError(
                    f"{type(self).__name__}: padding_idx={padding_idx} is no row of "
                    f"{num_embeddings}"
                )
            self.padding_idx = padding_idx % num_embeddings
            if weight_init is None:
                values[self.padding_idx] = 0
        self.weight = Parameter(values)

    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    sparse: bool

    def _ids(self, ids: ArrayLike) -> Tensor:
        ids = beside(ids, self.weight)
        if is_floating(ids.dtype):  # a column of a float table, or shape inference (symbol.py)
            whole = ids.detach().astype("int64")
            if not bool((whole == ids.detach()).all()):
                raise DTypeError(
                    f"{type(self).__name__}: ids are whole numbers, got fractions of dtype "
                    f"{ids.dtype}"
                )
            ids = whole
        if self.max_norm is not None:
            self._shorten(ids)
        return ids

    def _shorten(self, ids: Tensor) -> None:
        """Rows that are looked up and longer than max_norm are divided to that length, in place."""
        with recording(False):
            rows = embedding.embedding(self.weight, ids.reshape(-1))
            sizes = (abs(rows) ** self.norm_type).sum(1, keepdims=True) ** (1 / self.norm_type)
            short = functions.where(
                sizes > self.max_norm, rows * (self.max_norm / (sizes + 1e-7)), rows
            )
            self.weight[ids.reshape(-1)] = short

    def _table(self, ids: Tensor) -> Tensor:
        """The weight, whose gradient is divided by how often each row is looked up if asked."""
        weight = self.weight
        if not self.scale_grad_by_freq:
            return weight
        times = functions.bincount(ids.reshape(-1), minlength=self.num_embeddings)
        share = weight * (1 / functions.maximum(times, 1).astype(weight.dtype))[:, None]
        return weight.detach() + (share - share.detach())  # its value, and that gradient

    def describe(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Embedding(_Table):
    """weight[ids], a learned vector for each integer id in [0, num_embeddings): (...) -> (...,
    embedding_dim). The weight (num_embeddings, embedding_dim) is initialised from the standard
    normal distribution, as in PyTorch.

    Args:
        padding_idx: a row that gets no gradient, and is zeros at first.
        max_norm: rows that are looked up and longer are divided to this length, in place, by their
            `norm_type`-norm.
        scale_grad_by_freq: whether the gradient of a row is divided by how often it is looked up.
        sparse: whether the weight's gradient holds the rows looked up alone, for large tables: see
            `tg.embedding`. SGD, Adagrad and SparseAdam update these.
    Floating ids are accepted where all of them are whole numbers.
    Raises: DTypeError for other ids; IndexingError for ids on the host outside that range, which
        give NaN on a GPU, and the error within `detect_anomaly`.

    >>> Embedding(10, 4)([[1, 2, 3]]).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        num_embeddings: Count,
        embedding_dim: Count,
        padding_idx: int | None = None,
        max_norm: Positive | None = None,
        norm_type: Positive = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        weight_init: Initializer | None = None,
        dtype: DType = "float32",
    ):
        self._start(
            num_embeddings,
            embedding_dim,
            padding_idx,
            weight_init,
            dtype,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
        )

    def forward(self, ids: ArrayLike) -> Tensor:
        ids = self._ids(ids)
        y = functions.embedding(self._table(ids), ids, sparse=self.sparse)
        if self.padding_idx is None:
            return y
        return functions.where((ids == self.padding_idx)[..., None], y.detach(), y)


class EmbeddingBag(_Table):
    """The sum, mean or largest elements of the rows of each bag of ids: (bags, size) ->
    (bags, embedding_dim). Or ids (n,) of bags that follow each other, and `offsets`, where each
    begins.

    Args:
        mode: "mean", "sum" or "max"; an empty bag gives zeros.
        include_last_offset: whether the last offset is the end of the last bag.
        padding_idx: a row that counts in no bag, and gets no gradient.
        Others as those of `Embedding`. Called with `per_sample_weights`, of the shape of ids, rows
        are multiplied by them first; for "sum" alone.
    Raises: as `Embedding`, and as `tg.embedding_bag`.

    >>> EmbeddingBag(10, 4, mode="sum")([0, 1, 2], [0, 2]).shape
    (2, 4)
    """

    def __init__(
        self,
        num_embeddings: Count,
        embedding_dim: Count,
        max_norm: Positive | None = None,
        norm_type: Positive = 2.0,
        scale_grad_by_freq: bool = False,
        mode: Literal["mean", "sum", "max"] = "mean",
        sparse: bool = False,
        *,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        weight_init: Initializer | None = None,
        dtype: DType = "float32",
    ):
        if scale_grad_by_freq and mode == "max":
            raise ArgumentError('EmbeddingBag: scale_grad_by_freq is not for mode "max"')
        self.mode, self.include_last_offset = mode, include_last_offset
        self._start(
            num_embeddings,
            embedding_dim,
            padding_idx,
            weight_init,
            dtype,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
        )

    def forward(
        self,
        ids: ArrayLike,
        offsets: ArrayLike | None = None,
        per_sample_weights: ArrayLike | None = None,
    ) -> Tensor:
        ids = self._ids(ids)
        starts: Any = None if offsets is None else beside(offsets, self.weight)
        if starts is not None and self.include_last_offset:
            starts = starts[:-1]
        table = self._table(ids)
        how = (starts, self.mode, per_sample_weights, self.padding_idx)
        return functions.embedding_bag(table, ids, *how, sparse=self.sparse)
