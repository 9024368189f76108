"""Masks, joining, splitting, repeating, grids."""

import numpy as np

from tensorgrad.testing import draw, integers

from . import Row

X, V, N = draw((3, 4)), draw((4,)), integers((3, 4), 3)
MASK = X > 0


def _filled(x, mask, value):
    return np.where(mask, value, x)


def _placed(x, mask, values):
    y = x.copy()
    np.place(y, mask, values)
    return y


def _hot(x, n=None, axis=-1):
    return np.moveaxis(np.eye(n or x.max() + 1)[x], -1, axis)


def seq(f, *arrays):
    """A call with the arrays as one sequence."""
    return f(list(arrays))


def _sequence(name, *arrays):
    return Row(name, lambda *xs: getattr(np, name)(xs), arrays, call=seq)


COMPLEX, NEARLY = X + 1j * V, X + 1e-20j * V  # at which differences are real, too

ONE, FIVE = np.array(1.0), np.array(5.0)

ROWS = [
    Row("logspace", np.logspace, (ONE, FIVE, 4)),
    Row("logspace", np.logspace, (V[:3], ONE, 3), {"endpoint": False, "base": 2.0}),
    Row("geomspace", np.geomspace, (FIVE, ONE, 4)),
    Row("geomspace", np.geomspace, (X * X + 1, FIVE, 3), {"endpoint": False}),
    Row("real_if_close", np.real_if_close, (COMPLEX,)),
    Row("real_if_close", np.real_if_close, (NEARLY,), order=0),
    Row("linspace", np.linspace, (X, V[:, None].T, 5)),
    Row("linspace", np.linspace, (V, 2.0, 3), {"endpoint": False}),
    Row("linspace", np.linspace, (V, V[0], 1)),
    Row("masked_fill", _filled, (X, MASK, draw(()))),
    Row("masked_fill", _filled, (X, MASK[0], -np.inf), order=0),
    Row("masked_select", lambda x, m: x[m], (X, MASK)),
    Row("masked_select", lambda x, m: x[:, m], (X, np.array([True, False, False, True])),
        call=lambda f, x, m: f(x, m).reshape(3, 2)),
    Row("extract", np.extract, (N, X)),
    Row("compress", np.compress, (np.array([0, 1, 1]), X), {"axis": 0}),
    Row("compress", np.compress, (np.array([True, False]), X)),
    Row("place", _placed, (X, MASK, draw((3,)))),
    Row("select", lambda a, b, x, y: np.select([a, b], [x, y]), (MASK, N > 1, X, V),
        call=lambda f, a, b, x, y: f([a, b], [x, y])),
    Row("choose", lambda i, a, b, c: np.choose(i, [a, b, c]), (N, X, V, draw(())),
        call=lambda f, i, *c: f(i, c)),
    Row("choose", lambda i, a, b: np.choose(i - 1, [a, b], mode="clip"), (N, X, V),
        call=lambda f, i, *c: f(i - 1, c, mode="clip")),
    Row("nonzero", np.nonzero, (N,), order=0),
    Row("argwhere", np.argwhere, (N,), order=0),
    Row("argwhere", np.argwhere, (np.array(3),), order=0),
    Row("flatnonzero", np.flatnonzero, (N,), order=0),
    Row("one_hot", lambda x: _hot(x) > 0, (N,), order=0, call=lambda f, x: f(x, dtype=bool)),
    Row("one_hot", lambda x: _hot(x, 4, 0).astype(int), (N,), order=0,
        call=lambda f, x: f(x, 4, int, 0)),
    Row("atleast_1d", np.atleast_1d, (draw(()), V)),
    Row("atleast_2d", np.atleast_2d, (V,)),
    Row("atleast_3d", np.atleast_3d, (draw(()), V, X)),
    _sequence("vstack", V, X),
    _sequence("hstack", V, V[:1]),
    _sequence("hstack", X, X[:, :1]),
    _sequence("dstack", V, V),
    _sequence("column_stack", V, X.T),
    Row("block", lambda a, b, c: np.block([[a, b], [c]]), (X, X[:, :2], draw((6,))),
        call=lambda f, a, b, c: f([[a, b], [c]])),
    Row("append", np.append, (X, V)),
    Row("append", np.append, (X, X[:, :1]), {"axis": 1}),
    Row("unstack", np.unstack, (X,), {"axis": 1}),
    Row("vsplit", np.vsplit, (X, [1])),
    Row("hsplit", np.hsplit, (X, 2)),
    Row("hsplit", np.hsplit, (V, [1, 3])),
    Row("dsplit", np.dsplit, (draw((2, 1, 4)), 2)),
    Row("delete", np.delete, (X, [0, -1]), {"axis": 1}),
    Row("delete", np.delete, (X, slice(1, 3))),
    Row("delete", np.delete, (X, MASK[0]), {"axis": 1}),
    Row("insert", np.insert, (X, 1, draw(()))),
    Row("insert", np.insert, (X, 1, draw((2, 4))), {"axis": 0}),
    Row("insert", np.insert, (X, 1, draw((3,))), {"axis": 1}),
    Row("insert", np.insert, (X, [0, 3, 3], draw((3,))), {"axis": 1}),
    Row("insert", np.insert, (X, [0, -1], draw((3, 2))), {"axis": 1}),
    Row("repeat", np.repeat, (X, 2)),
    Row("repeat", np.repeat, (X, 3), {"axis": 1}),
    Row("repeat", np.repeat, (X, [1, 0, 2]), {"axis": 0}),
    Row("tile", np.tile, (X, 2)),
    Row("tile", np.tile, (V, (2, 1, 2))),
    Row("resize", np.resize, (X, (3, 5))),
    Row("roll", np.roll, (X, 5)),
    Row("roll", np.roll, (X, -1), {"axis": 1}),
    Row("roll", np.roll, (X, (1, 2)), {"axis": (0, -1)}),
    *[Row("rot90", np.rot90, (X, k)) for k in (1, 2, 3)],
    Row("rot90", np.rot90, (draw((2, 3, 2)),), {"axes": (2, 1)}),
    Row("fliplr", np.fliplr, (X,)),
    Row("flipud", np.flipud, (X,)),
    Row("rollaxis", np.rollaxis, (draw((2, 3, 4)), 0, 2)),
    Row("rollaxis", np.rollaxis, (draw((2, 3, 4)), -1)),
    Row("trim_zeros", np.trim_zeros, (np.array([0.0, 2.0, 0.0, 3.0, 0.0]),), order=0),
    Row("trim_zeros", np.trim_zeros, (np.array([0, 2, 0]), "f"), order=0),
    Row("broadcast_arrays", np.broadcast_arrays, (V, X[:, :1])),
    Row("meshgrid", np.meshgrid, (V, X[:, 0], V[:2])),
    Row("meshgrid", np.meshgrid, (V, X[:, 0]), {"indexing": "ij", "sparse": True}),
    Row("ix_", np.ix_, (np.array([0, 2]), MASK[0]), order=0),
    Row("indices", np.indices, ((2, 3),), order=0),
    Row("indices", np.indices, ((2, 3), int, True), order=0),
    Row("unravel_index", np.unravel_index, (N, (2, 3)), order=0),
    Row("ravel_multi_index", lambda i, j: np.ravel_multi_index((i, j), (3, 4)), (N, N),
        call=lambda f, i, j: f((i, j), (3, 4)), order=0),
    Row("ravel_multi_index", lambda i: np.ravel_multi_index((i + 2, i), (3, 4), "wrap"), (N,),
        call=lambda f, i: f((i + 2, i), (3, 4), "wrap"), order=0),
]  # fmt: skip
