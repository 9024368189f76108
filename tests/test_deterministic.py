"""Gradients of indexing and pooling add duplicates in a fixed order, without atomics."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.core import OPS
from tensorgrad.ops.samples import draw, integers

from .test_kernels import orders


@pytest.fixture(autouse=True)
def no_atomics(monkeypatch):
    """`add.at` and the like, which CuPy does by atomics, in the order in which threads arrive. Sums
    of whole numbers and extremes do not depend on that."""
    from .cudasim import array, namespace

    usual = namespace.Ufunc.at

    def refused(self, a, *args):
        if self.__name__ in ("maximum", "minimum") or a.dtype.kind in "iu":
            return usual(self, a, *args)
        raise AssertionError(f"{self}.at adds by atomics")

    monkeypatch.setattr(namespace.Ufunc, "at", refused)
    for name in ("scatter_add", "scatter_max", "scatter_min"):
        monkeypatch.setattr(array.SimArray, name, refused)


def placed(args, home):
    return [home.from_host(a) if isinstance(a, np.ndarray) else a for a in args]


@pytest.mark.parametrize("mode", ["reference", pytest.param("always", marks=pytest.mark.slow)])
def test_no_op_adds_by_atomics(mode, gpu):
    """All of the table, kernels on and off."""
    with tg.use_kernels(mode):
        for op in OPS.values():
            if op.name == "move":
                continue
            for sample in op.samples():
                op(*placed(sample.args, gpu), **sample.params)


A, B = integers((400,), 9, seed=1), integers((20, 20), 5, seed=2)
KEYS = {  # shape of x, key
    "rows": ((9, 33), A),
    "negative": ((9, 4), A - 9),
    "numbers": ((9,), A),
    "bytes": ((9, 8), A.astype(np.uint8)),
    "a table of ids": ((5, 3), B),
    "pairs": ((9, 5, 2), (A, B.reshape(-1))),
    "pairs that broadcast": ((9, 5), (A[:3, None], B[0])),
    "apart": ((9, 3, 5), (A, slice(None), B.reshape(-1))),
    "a later axis": ((2, 9), (slice(None), A)),
    "the last of four": ((2, 1, 3, 9), (..., A)),
    "in the middle": ((2, 9, 3), (slice(1, None), A, slice(None, None, -2))),
    "beside an integer": ((2, 9, 3), (-1, A)),
    "an integer apart": ((9, 3, 2), (A, slice(None), 1)),
    "new axes": ((9, 4), (None, A, None, slice(0, 3))),
    "an axis without end": ((9, 0), A),
    "no ids": ((9, 4), A[:0]),
    "one id": ((9, 4), A[0]),
}


def gradient(home, shape, key, g, dtype):
    x = tg.tensor(home.from_host(np.zeros(shape, dtype)), requires_grad=True)
    key = tuple(placed(key if isinstance(key, tuple) else (key,), home))
    x[key].backward(home.from_host(g))
    return home.to_host(x.grad.data)


@pytest.mark.parametrize("case", KEYS)
@pytest.mark.parametrize("mode", ["reference", "auto"])
def test_the_gradient_of_indexing(case, mode, gpu):
    """NumPy's, exactly where numbers are whole, and the same bits in any order of threads."""
    (shape, key), numpy = KEYS[case], tg.backend.get("numpy")
    g = draw(np.zeros(shape)[key].shape, -50, 50).astype(np.float32)
    with tg.use_kernels(mode):
        for values in (np.round(g), g):
            seen = {gradient(gpu, shape, key, values, "float32").tobytes() for _ in orders(gpu)}
            assert len(seen) == 1
            got = np.frombuffer(seen.pop(), np.float32).reshape(shape)
            wanted = gradient(numpy, shape, key, values, "float32")
            atol = 0 if values is not g else 1e-3
            np.testing.assert_allclose(got, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_sums_of_any_dtype(dtype, gpu):
    """Integers, which no kernel takes; halves are added in float32."""
    values = (np.arange(400) % 7).astype(dtype)
    got = OPS["scatter_add"](*placed((values, A), gpu), shape=(9,), template=("array",))
    wanted = OPS["scatter_add"](values, A, shape=(9,), template=("array",))
    assert got.dtype == dtype
    np.testing.assert_array_equal(gpu.to_host(got), wanted)


@pytest.mark.parametrize("mode", ["reference", "auto"])
def test_windows_that_overlap(mode, gpu):
    x = np.round(draw((2, 3, 9, 7)) * 3).astype(np.float32)
    _, where = OPS["max_pool2d"].ref(x, size=(3, 3), stride=(1, 1))
    g = np.round(draw(where.shape, -50, 50)).astype(np.float32)
    wanted = OPS["scatter_places"].ref(g, where, size=(9, 7))
    with tg.use_kernels(mode):
        for _ in orders(gpu):
            got = OPS["scatter_places"](*placed((g, where), gpu), size=(9, 7))
            np.testing.assert_array_equal(gpu.to_host(got), wanted)
