"""Linear algebra on matrices, which are the last two axes, with batches in front, as np.linalg.

Integers are computed in float32, halves too, and cast back. All functions but `matrix_rank` have
gradients of any order. Where there is none, or no single one:

===============================  ===================================================================
eigenvectors (eigh, eig) of a    NaN or infinite, as in PyTorch and JAX: they are any basis of a
value that occurs twice or more  space. (0 for these pairs would be finite, and wrong for functions
                                 of the matrix, v f(w) v^T, whose gradient has f'(w) there.)
singular vectors (svd), also     the same
where s = 0 if n and m differ
eigenvalues, singular values     finite, as in PyTorch and JAX: exact for what does not depend on
that coincide                    their order (sum, max, logdet), else that of the vectors found
norms at 0                       0, the smallest subgradient (PyTorch: 0, JAX: NaN)
norms 2, -2 of tied values       values that are equally large share it (PyTorch: too)
det of a singular matrix         the cofactors, exact (PyTorch 2.13: 0); of second order NaN or inf
cholesky, eigh, eigvalsh         symmetric, although one triangle is read, as in PyTorch and JAX
lu of a singular matrix,         LinAlgError in backward (PyTorch: any number, NaN or infinite)
slogdet of a singular matrix,
qr: columns that depend
qr, svd: complete or full        GraphError, as in JAX (PyTorch leaves the other columns out)
pinv, lstsq                      the rank is taken as constant
===============================  ===================================================================

A matrix that cannot be factorised is a `LinAlgError`, which is NumPy's, too, and says which of the
batch it is. On a GPU that would wait for the device: there the result is NaN or infinite.
"""

from ..errors import LinAlgError
from ..functions import matmul
from ..functions.contraction import matrix_transpose, tensordot, vecdot
from .decompositions import (
    EighResult,
    EigResult,
    QRResult,
    SVDResult,
    cholesky,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    householder_product,
    qr,
    svd,
    svdvals,
)
from .lu import LUFactorResult, LUResult, lu, lu_factor, lu_solve
from .norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from .products import cross, diagonal, outer, trace
from .solvers import (
    LstsqResult,
    SlogdetResult,
    cholesky_solve,
    det,
    inv,
    lstsq,
    matrix_exp,
    matrix_power,
    multi_dot,
    pinv,
    slogdet,
    solve,
    solve_triangular,
    tensorinv,
    tensorsolve,
)

__all__ = [
    "EigResult",
    "EighResult",
    "LUFactorResult",
    "LUResult",
    "LinAlgError",
    "LstsqResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cholesky",
    "cholesky_solve",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]
