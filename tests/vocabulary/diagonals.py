"""Diagonals and triangles."""

import numpy as np

from tensorgrad.testing import draw, integers

from . import Row


def _embedded(x, offset=0, axis1=-2, axis2=-1):
    made = np.array([np.diag(row, offset) for row in x.reshape(-1, x.shape[-1])])
    made = made.reshape(*x.shape[:-1], *made.shape[1:])
    return np.moveaxis(made, (-2, -1), (axis1, axis2))


def _filled(x, value, wrap=False):
    y = x.copy()
    np.fill_diagonal(y, value, wrap)
    return y


ROWS = [
    Row("diagonal", np.diagonal, (draw((3, 4)),)),
    Row("diagonal", np.diagonal, (draw((4, 2, 3)),), {"offset": -1, "axis1": 2, "axis2": 0}),
    Row("diagonal", np.diagonal, (draw((3, 3)),), {"offset": 5}),
    Row("diagonal", np.diagonal, (draw((0, 3)),)),
    Row("diag_embed", _embedded, (draw((2, 3)),)),
    Row("diag_embed", _embedded, (draw((2, 3)),), {"offset": -2, "axis1": 0, "axis2": 2}),
    Row("diag", np.diag, (draw((3,)),), {"k": 1}),
    Row("diag", np.diag, (draw((3, 2)),), {"k": -1}),
    Row("diagflat", np.diagflat, (draw((2, 2)),)),
    Row("fill_diagonal", _filled, (draw((3, 4)), draw((3,)))),
    Row("fill_diagonal", _filled, (draw((7, 2)), 5.0), {"wrap": True}),
    Row("fill_diagonal", _filled, (draw((2, 2, 2)), draw(()))),
    Row("fill_diagonal", _filled, (integers((5, 2), 9), 4), order=0),
    Row("tril", np.tril, (draw((2, 3, 4)),)),
    Row("tril", np.tril, (draw((3,)),)),
    Row("tril", np.tril, (integers((3, 3), 9),), {"k": -1}, order=0),
    Row("triu", np.triu, (draw((3, 4)),), {"k": 1}),
    Row("tril_indices", np.tril_indices, (3,), {"k": 1, "m": 4}, order=0),
    Row("triu_indices", np.triu_indices, (3,), {"k": -1}, order=0),
]
