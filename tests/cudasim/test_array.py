"""SimArray, its namespace and the BLAS give NumPy's numbers and refuse what CuPy refuses."""

from __future__ import annotations

import operator
import pickle

import numpy as np
import pytest

from . import SimArray, xp
from .backend import Blas
from .namespace import NAMES, Namespace

ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")

A = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + A,
        lambda x: A + x,
        lambda x: x @ A.T,
        lambda x: x == A,
        lambda x: xp.concatenate([x, A]),
        lambda x: np.concatenate([x, A]),
        lambda x: xp.where(x > 1, x, A),
        lambda x: np.maximum(x, A),
        lambda x: x.take(A.astype(int)),
        lambda x: x.__iadd__(A),
        lambda x: x.__setitem__(0, A[0]),
        lambda x: xp.add(x, x, out=A),
        lambda x: xp.sum(A),
        lambda x: xp.einsum("ij,ij", x, A),
        lambda x: xp.add(x, [1.0, 2.0, 3.0]),
    ],
)
def test_mixing_with_numpy_is_refused(mix) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        mix(xp.asarray(A))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # NumPy's, of CuPy too
@pytest.mark.parametrize(
    "convert", [np.asarray, np.array, lambda x: np.stack([A, A])[:] + np.array([x, x]), list]
)
def test_implicit_conversion_is_refused(convert) -> None:
    x = xp.asarray(A)
    if convert is list:
        assert all(isinstance(row, SimArray) for row in convert(x))
        return
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        convert(x)


def test_ways_in_and_out_copy() -> None:
    host = A.copy()
    for make in (xp.asarray, xp.array, xp.ascontiguousarray):
        x = make(host)
        x += 1
        np.testing.assert_array_equal(host, A)
        np.testing.assert_array_equal(xp.asnumpy(x), A + 1)
    assert xp.asarray(x) is x
    assert xp.array(x) is not x
    out = x.get()
    out[...] = 0
    np.testing.assert_array_equal(x.get(), A + 1)
    x.set(A)
    assert x.item if x.size == 1 else x[1, 2].item() == 5 and int(x[1, 2]) == 5
    with pytest.raises(TypeError, match="float64 array cannot be set to float32"):
        x.set(A.astype(np.float64))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(x)).get(), A)


def test_results_of_dimension_0_stay_arrays() -> None:
    x = xp.asarray(A)
    results = [
        x.sum(),
        x[0, 1],
        x.max(),
        xp.dot(x[0], x[0]),
        xp.linalg.norm(x),
        x.mean() * 2,
        -x[0, 0],
    ]
    results += [xp.allclose(x, x), xp.array_equal(x, x), xp.count_nonzero(x), np.exp(x[0, 0])]
    assert all(isinstance(r, SimArray) and r.shape == () for r in results)
    assert all(
        isinstance(r, SimArray) for r in (*xp.modf(x), *xp.split(x, 3, axis=1), *xp.nonzero(x))
    )
    assert x.sum().dtype == np.float32
    assert float(x.sum()) == 15
    with pytest.raises(TypeError):
        range(x[0, 1])


def test_indexing() -> None:
    x = xp.asarray(A)
    x[0, 1][...] = 10  # a single element is a view, as on the device
    expected = A.copy()
    expected[0, 1] = 10
    np.testing.assert_array_equal(x.get(), expected)
    rows, mask = xp.asarray([1, 0, 1]), x > 3
    np.testing.assert_array_equal(x[rows].get(), expected[[1, 0, 1]])
    np.testing.assert_array_equal(x[np.array([1, 0])].get(), expected[[1, 0]])  # as CuPy
    np.testing.assert_array_equal(x[mask].get(), expected[expected > 3])
    np.testing.assert_array_equal(x[None, ..., ::2].get(), expected[None, ..., ::2])
    x[mask] = xp.asarray(0.0)
    assert float(x.max()) == 3
    x.scatter_add((rows, 0), 1.0)
    xp.add.at(x, (rows, 0), 1.0)
    assert x[:, 0].get().tolist() == [2, 7]


def test_names_and_keywords_are_those_of_cupy() -> None:
    x = xp.asarray(A)
    for missing in ("errstate", "unstack", "strings", "nothing"):
        with pytest.raises(AttributeError, match=f"no attribute '{missing}'"):
            getattr(xp, missing)
    for name in ("multi_dot", "vecdot"):
        with pytest.raises(AttributeError, match="no attribute"):
            getattr(xp.linalg, name)
    with pytest.raises(AttributeError, match="Philox"):
        xp.random.normal(3)
    with pytest.raises(AttributeError, match="does not simulate"):
        xp.RawModule("")
    with pytest.raises(AttributeError):
        x.tobytes()
    for call in (
        lambda: xp.sum(x, where=True),
        lambda: xp.add(x, x, where=True),
        lambda: x.sum(where=True),
        lambda: xp.clip(x, min=1),
        lambda: xp.einsum("ij->i", x, order="C"),
        lambda: xp.argmax(x, 1, None),  # the third is dtype in CuPy and out in NumPy
        lambda: xp.zeros((2, x[0, 0])),
        lambda: xp.reshape(x, (3, xp.asarray(2))),
        lambda: x.astype(np.float64, casting="safe"),
        lambda: x.astype(object),
        lambda: xp.asarray(["text"]),
        lambda: hash(x),
        lambda: xp.where(True, x, x),
        lambda: xp.add.at(xp.ones(2, dtype=np.int8), 0, 1),
        lambda: xp.ones(2, dtype=np.int8).scatter_add(0, 1),
        lambda: xp.matmul(*2 * [xp.ones((2, 2, 2), dtype=ml_dtypes.bfloat16)]),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(NotImplementedError):
        xp.maximum.reduce(x)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)


def test_operators_and_dispatch_agree_with_numpy() -> None:
    x, y = xp.asarray(A), xp.asarray(A + 1)
    for f in (
        lambda m, a, b: a * 2 + 1.5 - b / 3,
        lambda m, a, b: 2 - a**2 // b % 3,
        lambda m, a, b: np.float64(2) * a,
        lambda m, a, b: (a @ b.T, a > 1, a != b, -a, abs(a - 3)),
        lambda m, a, b: divmod(a, b),
        lambda m, a, b: np.exp(a) + np.sum(a, axis=0, keepdims=True),
        lambda m, a, b: np.concatenate([a, b], axis=1),
        lambda m, a, b: a.astype(np.int64) << 2,
        lambda m, a, b: (a.reshape(3, 2), a.T.ravel(), a.transpose(1, 0), a.swapaxes(0, 1)),
        lambda m, a, b: (a.var(axis=0, ddof=1), a.argmax(axis=1), a.clip(1, 2), a.cumsum(axis=1)),
        lambda m, a, b: m.einsum("ij,kj->ik", a, b),
        lambda m, a, b: (m.tril(a), m.stack([a, b]), m.pad(a, ((1, 1), (0, 2)))),
        lambda m, a, b: (
            m.ones(3, dtype=ml_dtypes.bfloat16) * 2 + m.exp(m.ones(3, ml_dtypes.bfloat16))
        ),
    ):
        ours, theirs = f(xp, x, y), f(np, A, A + 1)
        if not isinstance(theirs, tuple):
            ours, theirs = (ours,), (theirs,)
        for our, their in zip(ours, theirs, strict=True):
            assert isinstance(our, SimArray)
            assert our.dtype == their.dtype
            np.testing.assert_array_equal(our.get(), their)
    assert xp.add(x, y, out=y) is y
    assert operator.eq(x, None).get().sum() == 0
    assert x.flags.c_contiguous
    assert not x.T.flags["C_CONTIGUOUS"]
    assert x.data.ptr == x.T.data.ptr
    assert np.isnan(xp.empty(3).get()).all()
    assert np.isnan(xp.empty_like(x).get()).all()


class Wrapper:
    """Something that wants to do the operation itself, as a Tensor does."""

    __array_ufunc__ = None

    def __radd__(self, other: object) -> str:
        return "mine"


def test_reflected_operators() -> None:
    assert xp.ones(2) + Wrapper() == "mine"
    with pytest.raises(TypeError):
        xp.ones(2) + object()


def test_every_recorded_name_exists_or_says_why_not() -> None:
    for path, module in (("cupy", xp), ("cupy.linalg", xp.linalg), ("cupy.fft", xp.fft)):
        for name in NAMES[path]:
            try:
                getattr(module, name)
            except AttributeError as error:
                if "does not simulate" not in str(error) and name != "random":
                    raise
    assert isinstance(xp.linalg, Namespace)
    assert xp.float32 is np.float32
    assert xp.newaxis is None
    assert isinstance(xp.exp(xp.ones(1)), xp.ndarray)
    assert xp.pi == np.pi


def test_record_is_that_of_the_installed_cupy() -> None:
    cupy = pytest.importorskip("cupy")
    if cupy.__version__ != NAMES["version"]:
        pytest.skip(f"CuPy {cupy.__version__} is installed, {NAMES['version']} recorded")
    from .record_cupy_names import record

    assert record() == NAMES


def test_blas() -> None:
    blas = Blas()
    a = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    b = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    out = xp.empty((3, 4, 2), dtype=xp.float32)
    assert blas.matmul(xp.asarray(a), xp.asarray(b), out=out) is out
    np.testing.assert_allclose(out.get(), a @ b, rtol=1e-6)
    ones = xp.ones((1, 4096), dtype=ml_dtypes.bfloat16)
    assert float(blas.matmul(ones, ones.T)) == 4096  # 256 when summed in bfloat16
    with pytest.raises(TypeError, match="one dtype"):
        blas.matmul(xp.asarray(a), xp.asarray(b, dtype=xp.float64))
    with pytest.raises(TypeError, match="Unsupported type"):
        blas.matmul(xp.asarray(a), b)
    with pytest.raises(ValueError, match="takes matrices"):
        blas.matmul(xp.asarray(a), xp.ones(5, dtype=xp.float32))
