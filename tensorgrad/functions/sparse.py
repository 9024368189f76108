"""Products with sparse matrices, of scipy.sparse or, on a GPU, of cupyx.scipy.sparse."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from ..core import Tensor
from ..creation import beside, owned
from ..errors import ArgumentError, ShapeError
from ..ops.embedding import gather_sum
from ..settings import Own, gate
from ..typing import ArrayLike
from .shape import reshape

__all__ = ["sparse_matmul"]
Sparse: TypeAlias = Annotated[Any, Own("a sparse matrix of SciPy or CuPy")]


@gate
def sparse_matmul(a: Sparse, x: ArrayLike, values: ArrayLike | None = None) -> Tensor:
    """The product a @ x of a sparse matrix (n, m) and x, (m,) or (m, k) -> (n,) or (n, k).

    Args:
        a: a sparse matrix or array of SciPy in any format, or of CuPy for an x on a GPU.
        x: dense; gradients flow back to it.
        values: numbers in place of those stored in `a`, in the order of `a.data` in the formats
            COO, CSR and CSC: a tensor, to be trained, gets gradients. None for those of `a`.
    Raises: ArgumentError for an `a` that is not sparse; ShapeError where m or the number of values
        does not fit.

    Nothing of shape (n, m) is in memory, nor on a CPU what would be k numbers for each stored one.
    The sums are taken in the order of `a`: the same bits every time, on a GPU, too.

    >>> from scipy.sparse import csr_array
    >>> sparse_matmul(csr_array([[0.0, 2.0], [3.0, 0.0]]), [1.0, 10.0]).tolist()
    [20.0, 3.0]
    """
    if not hasattr(a, "tocoo"):
        raise ArgumentError(
            f"sparse_matmul: a is a sparse matrix, as scipy.sparse.csr_array, got "
            f"{type(a).__name__}; a @ x is the product of dense ones"
        )
    x, a = owned(x), a.tocoo()
    if len(a.shape) != 2 or x.ndim not in (1, 2) or x.shape[0] != a.shape[1]:
        raise ShapeError(f"sparse_matmul: a of shape {a.shape} and x of shape {x.shape}")
    stored: Any = beside(a.data if values is None else values, x)
    if stored.shape != a.data.shape:
        raise ShapeError(
            f"sparse_matmul: values of shape {stored.shape}, but a stores {a.data.size} numbers"
        )
    columns, rows, table = beside(a.col, x), beside(a.row, x), reshape(x, (x.shape[0], -1))
    stored = stored._data if values is None else stored  # raw: x decides the dtype
    y: Tensor = gather_sum(table, columns, rows, stored, count=a.shape[0])
    return reshape(y, (a.shape[0], *x.shape[1:]))
