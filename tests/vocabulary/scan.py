"""Functions along an axis."""

import numpy as np

from tensorgrad.testing import draw, integers

from . import Row


def _up_to(reduce):
    """A reduction of the elements up to each along an axis."""

    def scan(x, axis):
        lines = np.moveaxis(x, axis, 0)
        return np.moveaxis(np.array([reduce(lines[: i + 1]) for i in range(len(lines))]), 0, axis)

    return scan


_logsumexps = _up_to(lambda lines: np.log(np.exp(lines).sum(0)))
_MASKED = np.array([[-np.inf, 1.0], [-np.inf, -np.inf], [0.5, 800.0], [-2.0, 3.0]])
_PLACES = np.array([0.0, 0.5, 2.0, 2.25])


def _last(x, axis, sign):
    """Where the extreme up to each element is."""
    lines, found = sign * np.moveaxis(x, axis, 0), []
    for i in range(len(lines)):
        found.append(i - np.argmax(lines[i::-1], 0))
    return np.moveaxis(np.array(found), 0, axis)


def _discounted(a, x, reverse):
    y, order = np.zeros(x.shape), range(len(x))[:: -1 if reverse else 1]
    before = 0.0
    for i in order:
        y[i] = before = a * before + x[i]
    return y


ROWS = [
    Row("cumsum", np.cumsum, (draw((3, 4)),)),
    Row("cumsum", np.cumsum, (draw((3, 4)),), {"axis": 1}),
    Row("cumsum", np.cumsum, (integers((3, 4), 9).astype("int8"),), {"axis": 0}, order=0),
    Row("cumsum", np.cumsum, (integers((4,), 2) > 0,), order=0),
    Row("cumprod", np.cumprod, (draw((2, 3)),)),
    Row("cumprod", np.cumprod, (np.array([2.0, 0.0, 3.0, 0.0, 1.5]),)),
    Row("cumulative_sum", np.cumulative_sum, (draw((4,)),), {"include_initial": True}),
    Row("cumulative_prod", np.cumulative_prod, (draw((2, 3)),), {"axis": -1}),
    Row(
        "cumulative_prod",
        np.cumulative_prod,
        (draw((2, 0)),),
        {"axis": 1, "include_initial": True},
    ),
    Row("linear_scan", _discounted, (draw(()), draw((5, 2))), {"reverse": True}),
    Row("logcumsumexp", _logsumexps, (draw((3, 4), -9, 9),), {"axis": 1}),
    Row(
        "logcumsumexp",
        lambda x, axis: np.logaddexp.accumulate(x, axis),
        (_MASKED,),
        {"axis": 0},
        order=0,
    ),
    Row(
        "cummax",
        lambda x, axis: (np.maximum.accumulate(x, axis), _last(x, axis, 1)),
        (draw((3, 4)),),
        {"axis": 1},
    ),
    Row(
        "cummin",
        lambda x, axis: (np.minimum.accumulate(x, axis), _last(x, axis, -1)),
        (draw((3, 4)),),
        {"axis": 0},
    ),
    Row("ediff1d", np.ediff1d, (draw((2, 3)), draw((2,))), call=lambda f, x, end: f(x, to_end=end)),
    Row("unwrap", np.unwrap, (draw((2, 6), -9, 9),), {"axis": 1}),
    Row("unwrap", np.unwrap, (draw((6,), -9, 9),), {"period": 3.0, "discont": 4.0}),
    Row("trapezoid", np.trapezoid, (draw((3, 4)),), {"dx": 0.5, "axis": 0}),
    Row("trapezoid", np.trapezoid, (draw((3, 4)), _PLACES)),
    Row("trapezoid", np.trapezoid, (draw((3, 4)), draw((3, 4), seed=1))),
    Row("gradient", np.gradient, (draw((3, 4)),)),
    Row("gradient", np.gradient, (draw((4, 3)), _PLACES), {"axis": 0, "edge_order": 2}),
    Row("gradient", np.gradient, (draw((3, 4)), 0.5, _PLACES), {"edge_order": 2}),
    Row("diff", np.diff, (draw((3, 4)),)),
    Row("diff", np.diff, (draw((3, 4)),), {"n": 2, "axis": 0}),
    Row("diff", np.diff, (draw((4,)),), {"n": 0}),
    Row("diff", np.diff, (draw((0, 3)),), {"axis": 0}),
    Row("diff", np.diff, (integers((3, 4), 9),), order=0),
    Row("diff", np.diff, (integers((3, 4), 2) > 0,), order=0),
    Row(
        "diff",
        lambda x, a, b: np.diff(x, prepend=a, append=b),
        (draw((3, 4)), draw((3, 1)), draw((3, 2))),
        call=lambda f, x, a, b: f(x, prepend=a, append=b),
    ),
]
