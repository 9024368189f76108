"""Rows for functions/sparse.py."""

import numpy as np
from scipy import sparse

from tensorgrad.testing import draw

from . import Row

SHAPE, PLACES = (4, 3), (np.array([2, 0, 2, 3, 2]), np.array([1, 0, 1, 2, 0]))
STORED = draw((5,), seed=3)


def _dense(values, x):
    a = np.zeros(SHAPE, values.dtype)
    np.add.at(a, PLACES, values)
    return a @ x


def _trained(make):
    """A call with values of its own, beside those of a matrix made from PLACES."""
    a = make(sparse.coo_array((STORED, PLACES), shape=SHAPE))
    return lambda f, values, x: f(a, x, values)


ROWS = [
    Row("sparse_matmul", _dense, (STORED, draw((3, 2))), call=_trained(lambda a: a)),
    Row("sparse_matmul", _dense, (STORED, draw((3,))), call=_trained(lambda a: a)),
    *[
        Row(
            "sparse_matmul",
            lambda x: _dense(STORED, x),
            (draw((3, 2)),),
            call=lambda f, x, kind=kind: f(kind((STORED, PLACES), shape=SHAPE), x),
        )
        for kind in (sparse.coo_matrix, sparse.csr_array, sparse.csc_array)
    ],
    Row(
        "sparse_matmul",
        lambda v, x: np.stack([v[0] * x[0], 0 * x[0], v[1] * x[0] + v[2] * x[1], v[3] * x[2]]),
        (STORED[:4], draw((3, 2))),
        call=_trained(lambda a: sparse.csr_array(a)),
    ),
    Row(
        "sparse_matmul",
        lambda x: np.zeros((4, 2)) @ x,
        (draw((2, 3)),),
        call=lambda f, x: f(sparse.csr_array((4, 2)), x),
    ),
]
