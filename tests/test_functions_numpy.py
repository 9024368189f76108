"""Public functions in the forms in which NumPy's users call them: values against NumPy in float64,
gradients against differences, and what is refused."""

import itertools
import math

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.functions import activation, elementwise, logic, reduce
from tensorgrad.testing import gradcheck, tolerance

from .rows import of_each

FAMILIES = (activation, elementwise, logic, reduce)
X = np.random.default_rng(0).uniform(-2, 2, (2, 3, 4))
POSITIVE = np.abs(X) + 0.25
MASK = np.random.default_rng(1).random((2, 3, 4)) < 0.6
ROW = np.array([True, False, True, True])
AXES = (None, 0, 1, -1, (0,), (0, 2), (-1, 1), (0, 1, 2), (), [0, 1], np.int64(2))


def as_numpy(axis):
    return tuple(axis) if isinstance(axis, list) else axis


def close(actual, expected):
    assert isinstance(actual, tg.Tensor)
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    assert (actual.dtype.kind == "f") == (expected.dtype.kind == "f")
    rtol, atol = tolerance("float64", 24)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=rtol, atol=atol)


# --- reductions ---------------------------------------------------------------------------------

MASKS = ({}, {"where": MASK}, {"where": ROW}, {"where": True})
STARTS = ({}, {"initial": 1.5})
FREEDOM = ({}, {"ddof": 1}, {"correction": 1}, {"ddof": 0.5})
OPTIONS = {
    "sum": [m | i for m in MASKS for i in STARTS] + [{"dtype": "float32"}, {"dtype": np.float64}],
    "prod": [m | i for m in MASKS for i in STARTS] + [{"dtype": "float64"}],
    "max": [*STARTS, {"initial": -9}] + [m | {"initial": -0.5} for m in MASKS],
    "min": [*STARTS, {"initial": 9}] + [m | {"initial": 0.5} for m in MASKS],
    "mean": [*MASKS, {"dtype": "float64"}],
    "var": [m | f for m in MASKS for f in FREEDOM] + [{"dtype": "float64"}],
    "std": [m | f for m in MASKS for f in FREEDOM] + [{"dtype": "float64"}],
    "all": list(MASKS),
    "any": list(MASKS),
}
REDUCTIONS = [
    pytest.param(name, options, id=f"{name}-{i}")
    for name, many in OPTIONS.items()
    for i, options in enumerate(many)
]


@pytest.mark.parametrize(("name", "options"), REDUCTIONS)
def test_reductions_in_numpys_forms(name, options):
    ours, numpys = getattr(reduce, name), getattr(np, name)
    x = X > 0 if name in ("all", "any") else X
    for axis, keepdims in itertools.product(AXES, (False, True)):
        expected = numpys(x, axis=as_numpy(axis), keepdims=keepdims, **options)
        if options.get("dtype") == "float32":
            close(ours(x, axis, keepdims=keepdims, **options).astype("float64"), expected)
            continue
        close(ours(x, axis, keepdims=keepdims, **options), expected)
        close(ours(tg.tensor(x), axis=axis, keepdims=keepdims, **options), expected)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std"])
def test_the_third_argument_is_the_dtype(name):
    y = getattr(reduce, name)(X.astype("float32"), 0, np.float64)
    assert y.dtype == np.float64
    close(y, getattr(np, name)(X.astype("float32"), 0, np.float64))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, np.int32(2)])
def test_arguments_of_extremes(name, axis):
    for keepdims in (False, True):
        expected = getattr(np, name)(X, axis=axis, keepdims=keepdims)
        close(getattr(reduce, name)(X, axis, keepdims=keepdims), expected)


@pytest.mark.parametrize("axis", AXES)
def test_logsumexp_and_softmax_along_any_axes(axis):
    e, along = np.exp(X), as_numpy(axis)
    for keepdims in (False, True):
        expected = np.log(e.sum(along, keepdims=keepdims))
        close(reduce.logsumexp(X, axis, keepdims=keepdims), expected)
    close(reduce.softmax(X, axis), e / e.sum(along, keepdims=True))
    close(reduce.log_softmax(X, axis), X - np.log(e.sum(along, keepdims=True)))


SMOOTH = ("sum", "prod", "mean", "var", "std", "max", "min")
GRADIENTS = [p for p in REDUCTIONS if p.values[0] in SMOOTH and "dtype" not in p.values[1]]
FEW = np.ones_like(MASK)  # leaves enough numbers in every row for a deviation
FEW[0, 1, 2] = FEW[1, 2, 0] = FEW[1, 2, 3] = False


@pytest.mark.parametrize(("name", "options"), GRADIENTS)
def test_gradients_of_reductions(name, options):
    if options.get("where") is MASK:
        options = options | {"where": FEW}
    for axis, keepdims in ((None, False), (2, True), ((0, -1), False)):
        f = lambda x: getattr(reduce, name)(x, axis, keepdims=keepdims, **options)  # noqa: E731
        gradcheck(f, [X], order=2)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_a_gradient_reaches_the_initial_value(name):
    f = lambda x, i: getattr(reduce, name)(x, 1, initial=i, where=MASK)  # noqa: E731
    for start in (-0.3, 0.3):
        gradcheck(f, [X, np.array(start)], order=2)
    gradcheck(f, [X, np.array(1.9 if name == "max" else -1.9)])


@pytest.mark.parametrize("name", SMOOTH)
def test_numbers_left_out_have_no_part_even_if_they_are_nan(name):
    x = tg.tensor(np.where(MASK, X, np.nan), requires_grad=True)
    more = {"initial": 0.0} if name in ("max", "min") else {}
    y = getattr(reduce, name)(x, axis=0, where=MASK, **more)
    close(y, getattr(np, name)(X, axis=0, where=MASK, **more))
    kept = MASK.sum(0) > 1  # of one number the deviation has no gradient
    y[kept].sum().backward()
    assert (x.grad.numpy()[~MASK & kept] == 0).all()
    assert np.isfinite(x.grad.numpy()[MASK & kept]).all()


EMPTY = np.zeros((3, 0))


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_reductions_of_no_numbers(axis):
    for name in ("sum", "prod", "all", "any"):
        close(getattr(reduce, name)(EMPTY, axis), getattr(np, name)(EMPTY, axis))
    for name in ("max", "min"):
        y = getattr(reduce, name)(EMPTY, axis, initial=2.5)
        close(y, getattr(np, name)(EMPTY, axis, initial=2.5))
        x = tg.tensor(EMPTY, requires_grad=True)
        getattr(reduce, name)(x, axis, initial=2.5).sum().backward()
        assert x.grad.shape == (3, 0)
    none = reduce.max(np.zeros((0, 2), np.int32), 0, initial=7)
    assert (none.tolist(), none.dtype) == ([7, 7], np.int32)


@pytest.mark.parametrize("name", [*SMOOTH, "logsumexp", "softmax"])
@pytest.mark.parametrize("axis", [None, 0, -1, ()])
def test_a_single_number_has_an_axis_where_it_has_in_numpy(name, axis):
    if name in ("mean", "var", "std") and axis in (0, -1):
        with pytest.raises(tg.IndexingError, match="out of bounds"):
            getattr(reduce, name)(1.5, axis)
        return
    x = tg.tensor(1.5, dtype="float64", requires_grad=True)
    y = getattr(reduce, name)(x, axis)
    assert y.shape == ()
    y.backward()
    assert x.grad.shape == ()


def test_reductions_of_integers_and_truth_values():
    whole, truth = np.arange(6, dtype=np.int32).reshape(2, 3), np.array([[True, False, True]] * 2)
    for name, x in itertools.product(("sum", "prod", "max", "min"), (whole, truth)):
        y = getattr(reduce, name)(x, 1)
        expected = getattr(np, name)(x, 1)
        assert (y.tolist(), y.dtype) == (expected.tolist(), expected.dtype)
    for name, options in (
        ("sum", {}),
        ("prod", {}),
        ("max", {"initial": 1}),
        ("min", {"initial": 1}),
    ):
        y = getattr(reduce, name)(whole, 1, where=truth, **options)
        expected = getattr(np, name)(whole, 1, where=truth, **options)
        assert (y.tolist(), y.dtype) == (expected.tolist(), expected.dtype)
    assert reduce.sum(truth, dtype="float32").dtype == np.float32
    np.testing.assert_allclose(reduce.mean(whole, where=truth).numpy(), whole.mean(where=truth))
    np.testing.assert_allclose(reduce.var(whole, where=truth).numpy(), whole.var(where=truth), 1e-6)


def test_means_of_masked_halves_do_not_overflow():
    x = tg.tensor(np.full(70_000, 3.0), dtype="float16", requires_grad=True)
    y = reduce.mean(x, where=True)
    assert (y.item(), y.dtype) == (3.0, np.float16)
    assert reduce.var(x, where=True).dtype == np.float16
    y.backward()
    assert x.grad.dtype == np.float16


# --- what is refused ----------------------------------------------------------------------------

REFUSED = {
    "axis outside": (lambda f: f(X, 3), tg.IndexingError, "axis 3 is out of bounds"),
    "negative axis outside": (lambda f: f(X, axis=-4), tg.IndexingError, "axis -4"),
    "axis of several outside": (lambda f: f(X, axis=(0, 3)), tg.IndexingError, "axis 3"),
    "axis twice": (lambda f: f(X, axis=(0, 0)), tg.ShapeError, "duplicate|repeated"),
    "axis twice, once negative": (
        lambda f: f(X, axis=(0, -3)),
        tg.ShapeError,
        "duplicate|repeated",
    ),
    "axis of text": (lambda f: f(X, axis="1"), tg.TensorgradError, "axis"),
    "axis of floats": (lambda f: f(X, axis=1.0), tg.ArgumentError, "whole number"),
    "dim": (lambda f: f(X, dim=0), tg.ArgumentError, "axis="),
    "keepdim": (lambda f: f(X, keepdim=True), tg.ArgumentError, "keepdims="),
    "out": (lambda f: f(X, out=X), tg.ArgumentError, "write into no array"),
}
ALONG = [n for n in reduce.__dict__ if n in {*OPTIONS, "logsumexp"}]


@of_each("case", REFUSED)
@of_each("name", ALONG)
def test_wrong_arguments_are_told(name, case):
    call, error, words = REFUSED[case]
    for mode in ("reference", "always"):
        with tg.use_kernels(mode), pytest.raises(error, match=words):
            call(getattr(reduce, name))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arguments_of_extremes_take_one_axis(name):
    for axis in ((0, 1), [0], (0,)):
        with pytest.raises(tg.ArgumentError, match=f"{name}: axis=.* must be a whole"):
            getattr(reduce, name)(X, axis=axis)
    with pytest.raises(tg.IndexingError, match="axis 3"):
        getattr(reduce, name)(X, axis=3)
    with pytest.raises(tg.ShapeError, match="empty"):
        getattr(reduce, name)(EMPTY)


WRONG = {
    "mask of numbers": (lambda: reduce.sum(X, where=MASK * 1.0), tg.DTypeError, "mask != 0"),
    "mask too large": (lambda: reduce.sum(X[0], where=MASK), tg.ShapeError, r"where= of shape"),
    "mask of other length": (lambda: reduce.mean(X, where=MASK[:, :2]), tg.ShapeError, "where="),
    "mask would widen x": (lambda: reduce.max(X[:, :1], initial=0, where=MASK), tg.ShapeError, "("),
    "mask without initial": (lambda: reduce.max(X, where=MASK), tg.ArgumentError, "-math.inf"),
    "of min": (lambda: reduce.min(X, where=MASK), tg.ArgumentError, "such as math.inf"),
    "initial of many": (lambda: reduce.sum(X, initial=[1.0, 2.0]), tg.ArgumentError, "one number"),
    "initial array": (lambda: reduce.max(X, initial=X[0, 0]), tg.ArgumentError, "one number"),
    "two words": (lambda: reduce.var(X, ddof=1, correction=1), tg.ArgumentError, "two words"),
    "of std": (lambda: reduce.std(X, ddof=1, correction=0), tg.ArgumentError, "std: ddof=1"),
    "ddof of text": (lambda: reduce.var(X, ddof="1"), tg.ArgumentError, "a finite number"),
    "unbiased": (lambda: reduce.var(X, unbiased=True), tg.ArgumentError, "ddof="),
    "keepdims third": (
        lambda: reduce.sum(X, 0, True),
        tg.ArgumentError,
        "x, axis, dtype, .*keepdims",
    ),
    "mean as integers": (lambda: reduce.mean(X, dtype=int), tg.DTypeError, "no fractions"),
    "largest of none": (lambda: reduce.max(EMPTY), tg.ShapeError, "max"),
    "a_min": (lambda: elementwise.clip(X, a_min=0), tg.ArgumentError, "here it is min="),
    "a_max": (lambda: elementwise.clip(X, a_max=0), tg.ArgumentError, "here it is max="),
    "bounds of other shape": (lambda: elementwise.clip(X, np.ones(3)), tg.ShapeError, "clip"),
    "decimals of text": (lambda: elementwise.round(X, "1"), tg.ArgumentError, "whole number"),
    "decimals of floats": (lambda: elementwise.round(X, 1.5), tg.ArgumentError, "whole number"),
    "bits of floats": (lambda: logic.bitwise_and(X, 1), tg.DTypeError, "bitwise_and"),
    "a learnt slope": (
        lambda: activation.leaky_relu(X, tg.tensor(0.1, requires_grad=True)),
        tg.GraphError,
        "no gradient",
    ),
    "slope of text": (lambda: activation.leaky_relu(X, "0.1"), tg.ArgumentError, "a finite number"),
    "PyTorch's slope": (
        lambda: activation.leaky_relu(X, negative_slope=0.1),
        tg.ArgumentError,
        "slope=",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_told(case):
    call, error, words = WRONG[case]
    with pytest.raises(error, match=words.replace("(", r"\(")):
        call()


# --- number by number ---------------------------------------------------------------------------

UNARY = """negative positive abs square sqrt sign floor ceil trunc round exp expm1 log log1p sin cos
tanh isnan isinf isfinite logical_not""".split()
BINARY = """add subtract multiply divide floor_divide remainder mod power pow maximum minimum equal
not_equal less less_equal greater greater_equal logical_and logical_or logical_xor""".split()
BITS = """bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift left_shift
right_shift""".split()
BOTH = {**vars(elementwise), **vars(logic)}
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5])


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_of_each_number(name):
    for x in (POSITIVE, ODD, np.array(0.75), EMPTY):
        expected = getattr(np, name)(x)
        close(BOTH[name](x), expected)
        close(BOTH[name](tg.tensor(x)), expected)
        np.testing.assert_allclose(BOTH[name](x.tolist()).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_of_two_numbers(name):
    f, row = BOTH[name], np.array([0.5, 1.0, 2.0, 3.0])
    for a, b in ((POSITIVE, POSITIVE[::-1]), (X, row), (row, X + 3), (X[:, :1], POSITIVE), (X, 2.0),
                 (2.0, row), (ODD[:, None], ODD)):  # fmt: skip
        expected = getattr(np, name)(a, b)
        close(f(a, b), expected)
        close(f(tg.tensor(a) if isinstance(a, np.ndarray) else a, b), expected)
        close(f(a, tg.tensor(b) if isinstance(b, np.ndarray) else b), expected)


@pytest.mark.parametrize("name", BITS)
def test_bits(name):
    a, b = np.arange(-4, 8).reshape(3, 4), np.array([0, 1, 2, 3])
    for x, y in ((a, b), (a, 2), (5, b), (a.astype(np.uint8), b.astype(np.uint8))):
        got, expected = BOTH[name](x, y), getattr(np, name)(x, y)
        assert (got.tolist(), got.dtype) == (expected.tolist(), expected.dtype)
    for name in ("invert", "bitwise_invert"):
        assert BOTH[name](a).tolist() == (~a).tolist()


def test_divmod():
    for x, y in ((X, POSITIVE), (X, -1.5), (7, np.array([2, -2])), (np.arange(-5, 5), 3)):
        for ours, numpys in zip(elementwise.divmod(x, y), np.divmod(x, y), strict=True):
            close(ours, numpys)


@pytest.mark.parametrize("decimals", [-2, -1, 0, 1, 2])
def test_round(decimals):
    close(elementwise.round(X * 100, decimals), np.round(X * 100, decimals))
    whole = np.array([[-15, 14], [25, 149]])
    for dtype in (np.int8, np.uint16, np.int64):
        x = np.abs(whole).astype(dtype)
        y = elementwise.round(x, decimals=decimals)
        assert (y.tolist(), y.dtype) == (np.round(x, decimals).tolist(), dtype)


@pytest.mark.parametrize("name", ["sign", "floor", "ceil", "trunc", "round", "floor_divide"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32", "float64"])
def test_rounding_keeps_the_dtype_and_has_zero_gradients(name, dtype):
    x = np.array([0, 1, 3, 100], dtype)
    args = (x, x + x.dtype.type(1)) if name == "floor_divide" else (x,)
    y = BOTH[name](*args)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.numpy(), getattr(np, name)(*args))
    assert not np.shares_memory(y.data, x)
    if dtype.startswith("float"):
        leaves = [tg.tensor(a, requires_grad=True) for a in args]
        BOTH[name](*leaves).sum().backward()
        for t in leaves:
            assert (t.grad.tolist(), t.grad.dtype) == ([0.0] * 4, dtype)
        second = tg.grad(lambda t: tg.grad(lambda t: (BOTH[name](t, *args[1:]) * t).sum())(t).sum())
        assert second(x).tolist() == [0.0] * 4  # d(floor(t) t)/dt = floor(t): constant


def test_a_remainder_has_the_gradients_of_its_formula():
    a, b = X * 3, np.where(X > 0, POSITIVE, -POSITIVE)
    gradcheck(elementwise.remainder, [a, b], order=2)
    leaves = [tg.tensor(v, requires_grad=True) for v in (a, b)]
    elementwise.mod(*leaves).sum().backward()
    np.testing.assert_array_equal(leaves[0].grad.numpy(), np.ones_like(a))
    np.testing.assert_array_equal(leaves[1].grad.numpy(), -np.floor(a / b))


# --- clip ---------------------------------------------------------------------------------------

LOW = np.linspace(-1.5, 1.5, 4)
BOUNDS = {
    "low": (-0.5,),
    "both": (-0.5, 0.5),
    "high": (None, 0.5),
    "none": (None, None),
    "crossed": (0.5, -0.5),
    "arrays": (LOW, LOW[::-1].copy()),
    "columns": (-POSITIVE[:, :, :1], POSITIVE[0]),
    "larger than x": (X - 0.1, None),
    "infinite": (-math.inf, math.inf),
    "NaN": (math.nan, 1.0),
}


@pytest.mark.parametrize("case", BOUNDS)
def test_clip_in_numpys_forms(case):
    bounds = BOUNDS[case]
    for x in (X, X[0], X[0, 0, 0]):
        named = dict(zip(("min", "max"), bounds, strict=False))
        expected = np.clip(x, **named)
        close(elementwise.clip(x, *bounds), expected)
        close(elementwise.clip(tg.tensor(x), *bounds), expected)
        close(elementwise.clip(x, **named), expected)
    if case != "NaN":
        moving = [np.asarray(b) for b in bounds if b is not None and np.isfinite(b).all()]

        def f(x, *moved):
            rest = iter(moved)
            given = [next(rest) if b is not None and np.isfinite(b).all() else b for b in bounds]
            return elementwise.clip(x, *given)

        gradcheck(f, [X, *moving], order=2)


@pytest.mark.parametrize(
    ("x", "low", "high", "expected"),
    [
        (0.5, 0.0, 1.0, (1, 0, 0)),
        (0.0, 0.0, 1.0, (1, 0, 0)),  # at a bound it is that of x
        (1.0, 0.0, 1.0, (1, 0, 0)),
        (-1.0, 0.0, 1.0, (0, 1, 0)),
        (2.0, 0.0, 1.0, (0, 0, 1)),
        (-1.0, 0.5, 0.5, (0, 1, 0)),
        (0.5, 0.5, 0.5, (1, 0, 0)),
        (-1.0, 1.0, 0.0, (0, 0, 1)),  # min > max: the result is max
        (0.5, 1.0, 0.0, (0, 0, 1)),
        (2.0, 1.0, 0.0, (0, 0, 1)),
        (0.0, 1.0, 0.0, (0, 0, 1)),
    ],
)
def test_the_gradient_of_clip_goes_to_what_the_result_is(x, low, high, expected):
    leaves = [tg.tensor([v], requires_grad=True) for v in (x, low, high)]
    y = elementwise.clip(*leaves)
    assert y.tolist() == np.clip([x], low, high).tolist()
    y.sum().backward()
    assert tuple(t.grad.item() for t in leaves) == expected


def test_clip_keeps_integers():
    y = elementwise.clip(np.arange(5, dtype=np.int32), 1, 3)
    assert (y.tolist(), y.dtype) == ([1, 1, 2, 3, 3], np.int32)


# --- the face -----------------------------------------------------------------------------------


def test_every_function_is_exported_and_has_an_example():
    for family in FAMILIES:
        for name, value in vars(family).items():
            if name.startswith("_") or getattr(value, "__module__", "") != family.__name__:
                continue
            assert getattr(tg.functions, name) is value
            assert name in tg.functions.__all__
            assert ">>>" in value.__doc__, name
            assert value.__annotations__["return"] in ("Tensor", "tuple[Tensor, Tensor]")


def test_where_and_activations_take_lists_numbers_and_tensors():
    close(elementwise.where(MASK, X, 0.0), np.where(MASK, X, 0.0))
    close(elementwise.where(MASK, 1.0, tg.tensor(X)), np.where(MASK, 1.0, X))
    assert elementwise.where([True, False], [1.0, 2.0], [3.0, 4.0]).tolist() == [1.0, 4.0]
    assert elementwise.where(True, 1.0, 2.0).item() == 1.0
    for name in ("relu", "leaky_relu", "elu", "gelu", "sigmoid", "silu", "softplus"):
        f = getattr(activation, name)
        np.testing.assert_allclose(f(X.tolist()).numpy(), f(tg.tensor(X)).numpy(), 1e-5, 1e-6)
        gradcheck(f, [X], order=2)
    close(activation.leaky_relu(X, 0.3), np.where(X > 0, X, 0.3 * X))
    close(activation.elu(X, alpha=np.float64(0.3)), np.where(X > 0, X, 0.3 * np.expm1(X)))


# --- on every backend ---------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), REDUCTIONS)
def test_reductions_on_every_backend(name, options, backend):
    """Masks and numbers that come from the host go where x is."""
    x = X > 0 if name in ("all", "any") else X.astype("float32")
    here = tg.tensor(x, backend=backend)
    if x.dtype == "float32":
        here.requires_grad = True
    y = getattr(reduce, name)(here, (0, 2), **options)
    assert y.backend == here.backend
    expected = getattr(np, name)(x, (0, 2), **options)
    np.testing.assert_allclose(y.numpy(), expected, 1e-5, 1e-5)
    if name in SMOOTH:
        y.sum().backward()
        assert here.grad.backend == here.backend


def test_clip_and_round_on_every_backend(backend):
    here = tg.tensor(X, backend=backend, requires_grad=True)
    low = tg.tensor(LOW, backend=backend, requires_grad=True)
    high = tg.tensor(-LOW, backend=backend, requires_grad=True)
    for bounds in ((low, high), (low,), (None, 0.5), (0.5, -0.5), ()):
        y = elementwise.clip(here, *bounds)
        plain = [b.numpy() if isinstance(b, tg.Tensor) else b for b in bounds]
        expected = np.clip(X, *plain, *[None] * (2 - len(plain)))
        np.testing.assert_array_equal(y.numpy(), expected)
        y.sum().backward()
    for decimals in (-1, 0, 1):
        y = elementwise.round(here, decimals)
        np.testing.assert_allclose(y.numpy(), np.round(X, decimals), atol=1e-12)


def test_numpys_words_for_what_is_the_default_are_taken():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = np.vstack((x, x), dtype=None, casting="same_kind")
    assert (y.shape, y.requires_grad) == ((2, 2), True)
    with pytest.raises(tg.ArgumentError, match="dtype"):
        np.vstack((x, x), dtype="float64")
    assert np.linspace(x, 3.0, 4).requires_grad
