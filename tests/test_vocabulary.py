"""Every row of tests/vocabulary: values beside NumPy in float64 on both backends, two orders of
gradients, the dtype law, and inputs that are not written to. One test for each function."""

import operator

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.testing import gradcheck, tolerance

from .conftest import slow_on_cudasim
from .oracles.linalg import gauged
from .rows import of_each
from .vocabulary import ROWS

BY_NAME = {}
for row in ROWS:
    BY_NAME.setdefault(row.name, []).append(row)
FUNCTIONS = [pytest.param(name, rows, id=name) for name, rows in BY_NAME.items()]


def parts(y):
    """The arrays of a result: of a tensor, a tuple, or a named tuple of tensors."""
    return [a for part in y for a in parts(part)] if isinstance(y, (tuple, list)) else [y]


def call(row, xs):
    function = operator.attrgetter(row.name)(tg)
    if row.call is None:
        return function(*xs, **row.options)
    return row.call(function, *xs, **row.options)


def is_array(a):
    return isinstance(a, np.ndarray)


def in_dtype(a, dtype):
    """Floating arrays in the dtype, complex ones in the complex dtype of that precision."""
    if not is_array(a) or a.dtype.kind not in "fc":
        return a
    return a.astype(np.result_type(dtype, "complex64") if a.dtype.kind == "c" else dtype)


def close(ours, truth, dtype, row):
    ours, truth = parts(ours), parts(truth)
    assert len(ours) == len(truth)
    rtol, atol = tolerance(dtype, max([a.size for a in row.arrays if is_array(a)], default=1))
    for a in ours:
        assert isinstance(a, tg.Tensor), f"{row.name} returned {type(a).__name__}"
    ours = gauged(row.name, [a.numpy() for a in ours])
    for a, t in zip(ours, gauged(row.name, [np.asarray(t) for t in truth]), strict=True):
        assert a.shape == t.shape, row.name
        assert (a.dtype.kind in "fc") == (t.dtype.kind in "fc"), row.name
        if a.dtype.kind not in "fc":
            np.testing.assert_array_equal(a, t, err_msg=row.name)
            continue
        assert a.dtype.itemsize == np.dtype(dtype).itemsize * (1 + (t.dtype.kind == "c")), row.name
        size = np.abs(t[np.isfinite(t)]).max(initial=1.0) * row.loose
        np.testing.assert_allclose(
            a, t, rtol=rtol * row.loose, atol=atol * size, err_msg=f"{row.name} {row.options}"
        )


@pytest.mark.parametrize(("name", "rows"), FUNCTIONS)
def test_values(name, rows, backend):
    for row in rows:
        for dtype in ("float64", "float32"):
            given = [in_dtype(a, dtype) for a in row.arrays]
            exact = [in_dtype(a, "float64") for a in given]
            truth = row.truth(*exact, **row.options)
            before = [a.copy() for a in given if is_array(a)]
            xs = [tg.tensor(a, backend=backend) if is_array(a) else a for a in given]
            close(call(row, xs), truth, dtype, row)
            for a, x in zip(before, [x for x in xs if isinstance(x, tg.Tensor)], strict=True):
                np.testing.assert_array_equal(a, x.numpy(), err_msg=f"{name} wrote to its input")


@of_each(("name", "rows"), BY_NAME.items())
def test_values_of_strided_arrays(name, rows):
    for row in rows:
        turned = [a.T.copy().T if is_array(a) else a for a in row.arrays]
        xs = [tg.asarray(a) if is_array(a) else a for a in turned]
        close(call(row, xs), row.truth(*row.arrays, **row.options), "float64", row)


@slow_on_cudasim
@pytest.mark.parametrize(("name", "rows"), FUNCTIONS)
def test_gradients(name, rows, backend):
    smooth = [row for row in rows if row.order]
    if not smooth:
        pytest.skip("no gradient")
    for row in smooth:
        moving = [i for i, a in enumerate(row.arrays) if is_array(a) and a.dtype.kind in "fc"]

        def f(*xs, row=row, moving=moving):
            args = [
                tg.asarray(a, backend=backend) if is_array(a) and i not in moving else a
                for i, a in enumerate(row.arrays)
            ]
            for i, x in zip(moving, xs, strict=True):
                args[i] = x
            return tuple([p for p in parts(call(row, args)) if p.dtype.kind in "fc"])

        points = [tg.asarray(row.arrays[i], backend=backend) for i in moving]
        gradcheck(f, points, order=row.order if backend == "numpy" else 1)


@of_each(("name", "rows"), BY_NAME.items())
def test_gradients_have_the_dtype_of_their_input(name, rows):
    for row in [row for row in rows if row.order][:1]:
        xs = [
            tg.tensor(in_dtype(a, "float32"), requires_grad=a.dtype.kind in "fc")
            if is_array(a)
            else a
            for a in row.arrays
        ]
        ys = [p for p in parts(call(row, xs)) if p.requires_grad]
        sum([tg.abs(y).sum() for y in ys]).backward()
        for x in xs:
            if isinstance(x, tg.Tensor) and x.grad is not None:
                assert (x.grad.dtype, x.grad.shape) == (x.dtype, x.shape), name
