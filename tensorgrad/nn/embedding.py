"""Embedding: a table of learned vectors."""

from __future__ import annotations

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray
from ..errors import DTypeError
from ..ops import embedding
from ..randomness import host_generator
from ..typing import ArrayLike, Count, DType, Initializer
from .init import initial
from .module import Module, Parameter


class Embedding(Module):
    """weight[ids], a learned vector for each integer id in [0, num_embeddings): (...) -> (...,
    embedding_dim). The weight (num_embeddings, embedding_dim) is initialised from the standard
    normal distribution, as in PyTorch.

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
        *,
        weight_init: Initializer | None = None,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        init = host_generator().standard_normal if weight_init is None else weight_init
        self.weight = Parameter(initial(init, (num_embeddings, embedding_dim), dtype))

    def forward(self, ids: ArrayLike) -> Tensor:
        ids = asarray(ids)
        if is_floating(ids.dtype):  # a column of a float table, or shape inference (symbol.py)
            whole = ids.detach().astype("int64")
            if not bool((whole == ids.detach()).all()):
                raise DTypeError(
                    f"Embedding: ids are whole numbers, got fractions of dtype {ids.dtype}"
                )
            ids = whole
        return embedding.embedding(self.weight, ids)

    def describe(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"
