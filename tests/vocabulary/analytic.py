"""Elementary functions and parts of numbers, of NumPy's call forms and at their edges."""

import math

import numpy as np
from scipy import spatial, special

from tensorgrad.testing import draw, integers

from . import Row

INF, NAN = math.inf, math.nan
ODD = np.array([-INF, -2.5, -0.0, 0.0, 1.0, 3.75, INF, NAN])
A, B = np.repeat(ODD, 8).copy(), np.tile(ODD, 8)
X, Y = draw((3, 4), -3, 3), draw((4,), -3, 3, 1)
P = draw((3, 4), 0.05, 0.95)
# away from ties, where differences would see both sides
APART = np.array([1.0, NAN, -0.5, 2.0]), np.array([0.3, 1.5, NAN, 2.7])


def numpys(name, *arrays, order=0, **options):
    return Row(name, getattr(np, name), arrays, options, order)


def _unit(x, p, axis):
    return x / np.linalg.norm(x, p, axis, keepdims=True)


ROWS = [
    # of ops that are tested as such: what NumPy gives at the edges
    *[numpys(n, ODD) for n in "tan arctan arcsinh sinh cosh cbrt exp2 log2 sinc signbit".split()],
    *[numpys(n, np.array([-2.0, -1.0, -0.0, 1.0, NAN])) for n in "arcsin arccos arctanh".split()],
    *[numpys(n, A, B) for n in "arctan2 hypot logaddexp logaddexp2 copysign fmod".split()],
    *[numpys(n, A, B) for n in "fmax fmin heaviside".split()],
    numpys("reciprocal", X, order=2),
    numpys("float_power", P, Y, order=2),
    *[numpys(n, ODD) for n in "rint fix absolute around".split()],
    *[numpys(n, X, order=2) for n in "amax amin ravel".split()],
    numpys("deg2rad", X * 90, order=2),
    numpys("rad2deg", X, order=2),
    numpys("frexp", np.array([-3.0, 0.0, 0.7, 1024.0])),
    Row("modf", lambda x: np.modf(x)[:2], (ODD[:-1],), order=0),
    Row("modf", np.modf, (X,)),
    Row("ldexp", np.ldexp, (np.array([1.0, -3.0, 0.0]), np.array([3, -2, 5])), order=2),
    numpys("gcd", integers((3, 4), 50) - 25, integers((4,), 9)),
    numpys("bitwise_count", np.array([-128, 0, 127], "int8")),
    # made of ops
    Row("fabs", np.abs, (X,)),
    Row("fmax", np.fmax, APART),
    Row("fmin", np.fmin, APART),
    Row("heaviside", np.heaviside, (np.array([-1, 0, 2]), Y[:3])),
    Row("nan_to_num", np.nan_to_num, (ODD[1:-2],), order=2),
    Row("nan_to_num", np.nan_to_num, (ODD,), {"nan": 1.5, "posinf": 3, "neginf": -4}, 0),
    Row("nan_to_num", np.nan_to_num, (integers((3,), 9),), order=0),
    Row("xlogy", special.xlogy, (X, P)),
    Row("xlogy", special.xlogy, (np.abs(A), np.abs(B)), order=0),
    Row("xlog1py", special.xlog1py, (X, P)),
    Row("xlog1py", special.xlog1py, (np.zeros(2), np.array([-1.0, NAN])), order=0),
    Row("entr", special.entr, (ODD,), order=0),
    Row("logit", special.logit, (np.array([0.0, 1e-300, 0.5 + 1e-12, 1.0, 1.5, NAN]),), order=0),
    Row("logit", lambda x, eps: special.logit(np.clip(x, eps, 1 - eps)), (P,), {"eps": 0.2}),
    # comparisons
    *[
        Row("isclose", np.isclose, (A, B + d), {"equal_nan": nan}, 0)
        for d, nan in ((0, False), (1e-6, True), (1e-3, False))
    ],
    Row("isclose", np.isclose, (X, X * 1.02), {"rtol": 0.01, "atol": 0.03}, 0),
    Row("isclose", np.isclose, (integers((3, 4), 3), integers((4,), 3, 1)), order=0),
    Row("allclose", np.allclose, (X, X + 1e-9), order=0),
    Row("allclose", np.allclose, (X, X + Y), order=0),
    Row("array_equal", np.array_equal, (ODD, ODD), {"equal_nan": True}, 0),
    Row("array_equal", np.array_equal, (ODD, ODD), order=0),
    Row("array_equal", np.array_equal, (Y, Y[None]), order=0),
    Row("array_equiv", np.array_equiv, (Y, np.stack([Y, Y])), order=0),
    Row("array_equiv", np.array_equiv, (Y, Y[:3]), order=0),
    numpys("isposinf", ODD),
    numpys("isneginf", ODD),
    # interpolation and polynomials
    Row("lerp", lambda a, b, w: a + w * (b - a), (X, Y, P)),
    Row("lerp", lambda a, b, w: np.where(w > 0, b, a), (X, Y, np.eye(3, 4)), order=0),
    Row("addcmul", lambda x, a, b, value: x + value * a * b, (X, Y, P), {"value": 0.7}),
    Row("addcdiv", lambda x, a, b, value: x + value * a / b, (X, Y, P + 1), {"value": 0.7}),
    Row("vander", np.vander, (Y,)),
    Row("vander", np.vander, (Y,), {"N": 3, "increasing": True}),
    Row("vander", np.vander, (Y,), {"N": 0}, 0),
    Row("polyval", np.polyval, (Y, X)),
    Row("polyval", np.polyval, (Y[:0], X), order=0),
    Row("interp", np.interp, (X, np.array([-2.0, 0.1, 1.7]), Y[:3])),
    Row("interp", np.interp, (X, np.array([-2.0, 0.1, 1.7]), Y[:3]), {"left": 7.0, "right": -7.0}),
    Row("interp", np.interp, (X, np.array([2.3, 0.1, 1.7]), Y[:3]), {"period": 2.5}, 0),
    Row("interp", np.interp, (ODD, np.array([-2.5, 0.0, 1.0]), Y[:3]), order=0),
    Row("interp", np.interp, (X, np.array([0.5]), Y[:1]), order=0),
    # lengths and distances
    *[Row("normalize", _unit, (X,), {"p": p, "axis": 1}) for p in (1, 2, 3.5, INF)],
    Row("normalize", lambda x, axis: np.zeros((2, 3)), (np.zeros((2, 3)),), {"axis": 0}, 0),
    Row(
        "cosine_similarity",
        lambda a, b, axis: 1 - np.array([spatial.distance.cosine(a[i], b) for i in range(3)]),
        (X, Y),
        {"axis": -1},
    ),
    Row(
        "cosine_similarity",
        lambda a, b, axis: (lambda u, v: (u * v).sum(1) / np.sqrt((u * u).sum(1) * (v * v).sum(1)))(
            *np.broadcast_arrays(a, b)
        ),
        (draw((1, 2, 3)), draw((2, 1, 3), seed=1)),
        {"axis": -2},
    ),
    *[
        Row(
            "cdist",
            lambda a, b, p: spatial.distance.cdist(a, b, "minkowski", p=p),
            (X, draw((2, 4), seed=5)),
            {"p": p},
        )
        for p in (1, 2, 3, INF)
    ],
    Row("cdist", lambda a, b: spatial.distance.cdist(a, b), (X, X[:2]), order=0),
]  # fmt: skip
