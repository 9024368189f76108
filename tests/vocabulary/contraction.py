"""Products of several arrays, diagonals and traces."""

import numpy as np

from tensorgrad.testing import draw, integers

from . import Row


def equation(subscripts, *shapes, **options):
    """einsum of arrays of these shapes."""
    return Row(
        "einsum",
        lambda *xs, **_: np.einsum(subscripts, *xs),
        tuple([draw(s, seed=i) for i, s in enumerate(shapes)]),
        options,
        call=lambda f, *xs, **options: f(subscripts, *xs, **options),
    )


def _bilinear(x1, x2, w, b=0.0):
    return np.stack([np.einsum("...i,ij,...j", x1, m, x2) for m in w], axis=-1) + b


A, B, V = draw((2, 3)), draw((3, 4)), draw((3,))

ROWS = [
    equation("ij,jk->ik", (2, 3), (3, 4)),
    equation("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    equation("...ij,kj->k...i", (4, 2, 3), (5, 3)),  # rows of several axes, a result transposed
    equation("abi,bai,ab->ba", (2, 3, 4), (3, 2, 4), (2, 3)),  # two batch axes, one vector each
    equation("aab,bcd,e->cda", (2, 2, 3), (3, 2, 4), (5,), optimize="optimal"),
    equation("ij,ij", (1, 3), (2, 3)),  # axes of length 1 broadcast
    equation("iji", (3, 2, 3)),
    equation("i...,...->i...", (2, 1), (3,)),
    equation("zA,Ab,b", (2, 3), (3, 4), (4,), optimize=False),
    equation("ab,bc,cd,a->d", (2, 3), (3, 4), (4, 5), (2,), optimize=[(1, 2), (0, 1, 2)]),
    equation("ij,jk->ik", (2, 0), (0, 3)),
    Row("einsum", lambda a, b: b.T @ a.T, (A, B),
        call=lambda f, a, b: f(a, [0, 7], b, [7, 3], [3, 0])),
    Row("einsum", lambda x: x.any(1), (integers((3, 4), 2) > 0,), order=0,
        call=lambda f, x: f("ij->i", x)),
    Row("tensordot", np.tensordot, (draw((2, 3, 4)), draw((3, 4, 5)))),
    Row("tensordot", np.tensordot, (draw((2, 3, 4)), draw((4, 5, 2))), {"axes": ((-1, 0), (0, 2))}),
    Row("tensordot", np.tensordot, (A, V), {"axes": 0}),
    Row("dot", np.dot, (A, draw((5, 3, 4)))),
    Row("dot", np.dot, (V, B)),
    Row("dot", np.dot, (A, np.array(3.0))),
    Row("inner", np.inner, (draw((2, 5, 3)), A)),
    Row("inner", np.inner, (np.array(2.0), A)),
    Row("outer", np.outer, (A, V)),
    Row("vdot", np.vdot, (A, draw((3, 2)))),
    Row("vecdot", np.vecdot, (draw((4, 2, 3)), A)),
    Row("vecdot", np.vecdot, (A, draw((2, 1))), {"axis": 0}),
    Row("matvec", np.matvec, (draw((5, 2, 3)), V)),
    Row("vecmat", np.vecmat, (draw((5, 1, 3)), draw((2, 3, 4)))),
    Row("kron", np.kron, (A, draw((2, 1, 2)))),
    Row("cross", np.cross, (draw((4, 3)), V)),
    Row("cross", np.cross, (draw((3, 4)), draw((2, 4, 3))), {"axisa": 0, "axisb": 2, "axisc": 1}),
    Row("bilinear", _bilinear, (draw((5, 2)), draw((5, 3)), draw((4, 2, 3)), draw((4,)))),
    Row("trace", np.trace, (draw((3, 4, 2)),), {"offset": -1, "axis1": 2, "axis2": 0}),
    Row("matrix_transpose", lambda x: x.swapaxes(-1, -2), (draw((2, 3, 4)),)),
    Row("permute", np.transpose, (draw((2, 3, 4)), (2, 0, 1))),
]  # fmt: skip
