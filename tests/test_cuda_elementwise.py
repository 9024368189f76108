"""Arithmetic and sums on CUDA: scalars and rows with arrays, alignment, partial sums, dtypes."""

import ml_dtypes  # noqa: F401  (makes bfloat16 a dtype NumPy knows)
import numpy as np
import pytest
from tensorgrad.kernels.cuda import device

from tensorgrad import backend as backends
from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw

from .test_kernels import CUDA, check, run

pytestmark = pytest.mark.slow  # minutes on the simulator

ARITHMETIC = [name for name in CUDA if CUDA[name].broadcast]
UNARY = ["negative", "sqrt", "square", "tanh", "gelu"]


def on(gpu, a, dtype="float32"):
    """The array on the device; a number as it is."""
    return gpu.from_host(a.astype(backends.dtype_of(dtype))) if isinstance(a, np.ndarray) else a


@pytest.mark.parametrize("name", ARITHMETIC)
def test_one_number_for_an_array(name, gpu):
    """Python scalars, or 0-d arrays on the device, on either side."""
    op, accept, x = OPS[name], CUDA[name].guard(sized=False), draw((3, 5, 8), 0.5, 2.0)
    for dtype in device.DTYPES:
        here = on(gpu, x, dtype)
        zero = on(gpu, np.array(2.5), dtype)
        for number, exact in ((2, 2), (2.5, 2.5), (True, 1), (zero, 2.5),
                              (gpu.xp.broadcast_to(zero, x.shape), 2.5)):  # fmt: skip
            for args, plain in (((here, number), (x, exact)), ((number, here), (exact, x))):
                assert accept(args, {})
                exact_x = [gpu.to_host(here).astype(float) if a is x else a for a in plain]
                y = gpu.to_host(CUDA[name](*args))
                assert y.dtype == here.dtype
                check(name, y, op.ref(*exact_x), dtype, 1)
        for args in ((zero, zero), (zero, 2.0), (here, None), (here, np.float32(2))):
            assert not accept(args, {})
    empty = on(gpu, np.zeros((0, 5)))
    for args in ((empty, 2.0), (2.0, empty), (empty, empty)):
        assert not accept(args, {}) or CUDA[name](*args).shape == (0, 5)


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize(
    ("shape", "row"),
    [((3, 5), (5,)), ((3, 8), (8,)), ((2, 3, 4), (3, 4)), ((1, 5), (5,)), ((700, 304), (304,)),
     ((3, 70_001), (70_001,)), ((40_000, 16), (16,)), ((5, 1), (1,))],
)  # fmt: skip
def test_a_row_for_every_row(name, shape, row, gpu):
    """Short, long, and many more elements than threads; with and without vectorised loads."""
    op, accept = OPS[name], CUDA[name].guard(sized=False)
    x, r = draw(shape, 0.5, 2.0), draw(row, 0.5, 2.0, 1)
    for dtype in ("float32", "float16") if x.size < 9999 else ("bfloat16",):
        for args in ((x, r), (r, x)):
            given = [on(gpu, a, dtype) for a in args]
            if not accept(tuple(given), {}):  # which of two is the row, when there is but one?
                assert shape[0] == 1
                continue
            exact = [gpu.to_host(a).astype(float) for a in given]
            check(name, gpu.to_host(CUDA[name](*given)), op.ref(*exact), dtype, 1)


@pytest.mark.parametrize("name", [*ARITHMETIC, *UNARY])
@pytest.mark.parametrize("start", [0, 1, 4])
def test_views_that_begin_anywhere(name, start, gpu):
    op = OPS[name]
    whole = [draw((3 * 64 + 8,), 0.5, 2.0, i) for i in range(len(op.inputs))]
    for dtype in ("float32", "float16", "float64"):
        args = [on(gpu, a, dtype)[start : start + 192].reshape(3, 64) for a in whole]
        exact = [gpu.to_host(a).astype(float) for a in args]
        check(name, gpu.to_host(CUDA[name](*args)), op.ref(*exact), dtype, 1)
        if name in ARITHMETIC:
            got = gpu.to_host(CUDA[name](args[0], args[1][1]))
            check(name, got, op.ref(exact[0], exact[1][1]), dtype, 1)


def test_shapes_that_do_not_go_together_reach_the_reference(gpu):
    x, column = on(gpu, draw((3, 4))), on(gpu, draw((3, 1)))
    for name in ARITHMETIC:
        assert not CUDA[name].guard(sized=False)((x, column), {})
        assert not CUDA[name].guard(sized=False)((x, on(gpu, draw((3, 4)), "float16")), {})


SHAPES = [
    ((3, 4, 5), (0, 1), False), ((3, 4, 5), 1, True), ((3, 4, 5), (), False), ((1, 1), 0, False),
    ((70_000,), None, False), ((1 << 17,), 0, True), ((2, 70_001), -1, False),
    ((5000, 8), 1, False), ((3, 2000, 33), 1, False), ((9000, 16), 0, False), ((9001, 1), 0, False),
    ((2, 3, 40_000), (0, 1), False), ((300, 1, 7), (0, 1), True), ((140_000, 3), None, False),
    ((66_000, 1, 1), 1, False),
]  # fmt: skip


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize(("shape", "axis", "keepdims"), SHAPES)
def test_sums_over_axes_of_any_length(name, shape, axis, keepdims, gpu):
    sample = Sample((draw(shape, 0.0, 1.0),), {"axis": axis, "keepdims": keepdims})
    for dtype in device.DTYPES if np.prod(shape) < 70_000 else ("float32", "float16"):
        if dtype == "float16" and name == "sum":  # the sum itself may be too large
            sample = sample._replace(args=(sample.args[0] * 0.1,))
        assert run(OPS[name], CUDA[name], sample, dtype, gpu)


@pytest.mark.parametrize(("shape", "to"), [((6, 5), (5,)), ((9000, 8), (8,)), ((3, 4, 5), (4, 5)),
                                           ((70_000,), ()), ((2, 3), ())])  # fmt: skip
def test_sum_to_a_wider_dtype_rounds_once(shape, to, gpu):
    """The gradient of a float32 weight that was cast to halves."""
    x = draw(shape, 0.0, 0.5)
    for given, wanted in (("bfloat16", "float32"), ("float16", "float32"), ("float32", "float64"),
                          ("float64", "float32"), ("float16", "float16")):  # fmt: skip
        here = on(gpu, x, given)
        params = {"shape": to, "dtype": np.dtype(wanted)}
        assert CUDA["sum_to"].guard(sized=False)((here,), params)
        y = gpu.to_host(CUDA["sum_to"](here, **params))
        assert (y.dtype, y.shape) == (np.dtype(wanted), to)
        axes = tuple(range(len(shape) - len(to)))
        exact = gpu.to_host(here).astype(float).sum(axis=axes)
        rounded = "float16" if wanted == "float16" else "float32"
        check("sum_to", y, exact, rounded, np.prod(shape))


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_sums_of_odd_numbers(name, axis, gpu):
    for odd in (np.nan, np.inf, -np.inf):
        x = draw((600, 300)).astype(np.float32)
        x[7, 3] = odd
        got = gpu.to_host(CUDA[name](gpu.from_host(x), axis=axis))
        wanted = OPS[name].ref(x, axis=axis)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
