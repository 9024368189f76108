"""Every function of NumPy's namespaces on tensors, with arguments that it takes itself: what comes
out is NumPy's result, or one clear error of ours."""

import itertools
import warnings

import numpy as np
import pytest

import tensorgrad as tg

pytestmark = pytest.mark.host

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "float32")
Y = np.array([[2.0, 1.0, 2.0], [3.0, 2.0, 1.0]], "float32")
V = np.array([3.0, 1.0, 2.0], "float32")
N = np.array([[1, 2, 3], [4, 5, 6]])
SQUARE = np.array([[2.0, 1.0], [1.0, 3.0]], "float32")
ARGS = [
    *[(X,), (X, Y), (X, V), (V,), (SQUARE,), (V, V), (X, 0), (X, -1), (V, 2), (N,), (N, 1)],
    *[([X, Y],), ((X, Y), 0), (X, 0.5), (X, (3, 2)), (X > 2, X, Y), (X, [1, 2], 1), (X, 0, 1)],
    *[(X, 0, None, None, True), (X, None, None, None, True), (X, "F"), (X, (3, 2), "F")],
    *[(SQUARE, SQUARE), (SQUARE[0], SQUARE), (SQUARE, 2), (N[0],), (X, N % 2, 0), (V, V, V)],
    *[(V, V, 1), (X[:, :, None], 1), (N[0], (9, 9))],
]
OPTIONS = [
    *[{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"dtype": "float64"}, {"order": "F"}],
    *[{"ddof": 1}, {"initial": 0.0}, {"axis": (0, 1)}, {"shape": (2, 2)}, {"axis": None}],
]
LEFT_OUT = """save savez savez_compressed savetxt load loadtxt genfromtxt fromfile memmap info
show_config show_runtime test setbufsize seterr seterrcall set_printoptions printoptions errstate
empty empty_like resize lookfor nested_iters vectorize frompyfunc fromregex bmat require frombuffer
isfortran fromiter array_repr array_str array2string mintypecode""".split()
PLACES = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft}
LEFT_OUT += ["interp", "reciprocal"]  # of points that do not increase; 1 / 2 is 0.5 here
NAMES = [
    f"{place}.{name}"
    for place, module in PLACES.items()
    for name in dir(module)
    if not name.startswith("_")
    and name not in LEFT_OUT
    and callable(getattr(module, name))
    and not isinstance(getattr(module, name), type)
]


def converted(value, make):
    if isinstance(value, np.ndarray):
        return make(value)
    if isinstance(value, (list, tuple)):
        return type(value)([converted(v, make) for v in value])
    return value


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.numpy() if isinstance(value, tg.Tensor) else value


def check_same(got, want, call):
    if isinstance(want, (list, tuple)):
        assert len(got) == len(want), call
        for pair in zip(got, want, strict=True):
            check_same(*pair, call)
        return
    if not isinstance(want, (np.ndarray, np.generic)) or want.dtype.kind not in "biufc":
        return
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6, err_msg=call)


def leaf(a):
    return tg.tensor(a, requires_grad=a.dtype.kind == "f")


@pytest.mark.parametrize("name", NAMES)
def test_a_function_of_numpy(name, request):
    place, _, word = name.rpartition(".")
    function = getattr(PLACES[place], word)
    long = request.config.getoption("long")
    options = OPTIONS if long or not isinstance(function, np.ufunc) else OPTIONS[:1]
    compared = 0
    for args, more in itertools.product(ARGS, options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                want = function(*converted(args, np.copy), **more)
            except Exception:
                continue
            call = f"{name}{args}{more}"
            wild = isinstance(function, np.ufunc) and len(args) > function.nin  # its third is out=
            texts = any(isinstance(a, str) for a in args)
            try:
                got = function(*converted(args, tg.tensor), **more)
            except tg.TensorgradError:
                assert wild or texts, f"refused untracked: {call}"
                continue
            if word == "unique_values":  # in any order
                got, want = tg.sort(got), np.sort(want)
            check_same(plain(got), want, call)
            compared += 1
            try:
                got = function(*converted(args, leaf), **more)
            except tg.TensorgradError:
                continue
            got = tg.sort(got) if word == "unique_values" else got
            check_same(plain(got), want, call)
    if not compared:
        pytest.skip("none of the arguments here fits it")


WRITING = {
    "copyto": lambda x: np.copyto(x, 7.0),
    "copyto where": lambda x: np.copyto(x, 7.0, where=np.array([True, False, True])),
    "put": lambda x: np.put(x, [0, 2], [7.0, 8.0]),
    "place": lambda x: np.place(x, np.array([True, False, True]), [7.0, 8.0]),
    "putmask": lambda x: np.putmask(x, np.array([True, False, True]), 7.0),
    "put_along_axis": lambda x: np.put_along_axis(x, np.array([1]), 7.0, axis=0),
    "fill_diagonal": lambda x: np.fill_diagonal(x, 7.0),
    "nan_to_num": lambda x: np.nan_to_num(x, copy=False),
    "add.at": lambda x: np.add.at(x, [0, 0], 1.0),
}


@pytest.mark.parametrize("name", WRITING)
def test_a_function_that_writes(name):
    """It writes, and graphs recorded before keep their numbers; leaves are written to under no_grad
    alone, views never."""
    start = np.diag(V) if name == "fill_diagonal" else np.where(V == 3, np.nan, V)
    want = start.copy()
    WRITING[name](want)
    x, w = tg.tensor(start), tg.tensor(np.ones_like(start), requires_grad=True)
    y = (x * w).sum()
    WRITING[name](x)
    np.testing.assert_array_equal(x.numpy(), want)
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), start)
    p = tg.tensor(start, requires_grad=True)
    with pytest.raises(tg.GraphError, match="no_grad"):
        WRITING[name](p)
    with tg.no_grad():
        WRITING[name](p)
    np.testing.assert_array_equal(p.numpy(), want)
    for other in (x.detach(), p * 1):
        with pytest.raises(tg.GraphError):
            WRITING[name](other)
