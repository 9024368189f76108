"""The dtype law over all pairs of dtypes and of forms: tensors, arrays, NumPy's scalars, Python's
numbers and lists, also of halves; the numbers against NumPy's in float64."""

import itertools
import warnings

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.backend import dtype_of, promoted

pytest.importorskip("ml_dtypes")
pytestmark = pytest.mark.host

FLOATS = ["float16", "bfloat16", "float32", "float64"]
WHOLE = ["int8", "uint8", "int32", "int64", "bool"]
VALUES = np.array([[1, 2], [2, 1]])
MASK = np.array([[True, False], [False, True]])


def forms():
    """(form, dtype, value) of what people write; a Tensor is `tensor`, of one number `number`."""
    for dtype in FLOATS + WHOLE:
        a = VALUES.astype(dtype_of(dtype))
        yield "tensor", dtype, tg.tensor(a)
        yield "number", dtype, tg.tensor(a[0, 1])
        yield "array", dtype, a
        yield "array of one", dtype, np.asarray(a[0, 1])
        if dtype != "bfloat16":
            yield "scalar", dtype, a[0, 1]
    yield from [("python", "int", 2), ("python", "float", 2.0), ("python", "bool", True)]
    yield from [("list", "int", [[1, 2], [2, 1]]), ("list", "float", [[1.0, 2.0], [2.0, 1.0]])]


FORMS = list(forms())
PAIRS = [
    pair
    for pair in itertools.product(FORMS, FORMS)
    if any(form in ("tensor", "number") for form, _, _ in pair)
]
FUNCTIONS = {  # ours, and NumPy's
    "+": (lambda a, b: a + b, np.add),
    "-": (lambda a, b: a - b, np.subtract),
    "/": (lambda a, b: a / b, np.divide),
    "//": (lambda a, b: a // b, np.floor_divide),
    "%": (lambda a, b: a % b, np.remainder),
    "**": (lambda a, b: a**b, np.power),
    "@": (lambda a, b: a @ b, np.matmul),
    "multiply": (tg.multiply, np.multiply),
    "maximum": (tg.maximum, np.maximum),
    "clip above": (lambda a, b: tg.clip(a, max=b), np.minimum),
    "where": (lambda a, b: tg.where(MASK, a, b), lambda a, b: np.where(MASK, a, b)),
    "concatenate": (lambda a, b: tg.concatenate([a, b]), lambda a, b: np.concatenate([a, b])),
    "stack": (lambda a, b: tg.stack([a, b]), lambda a, b: np.stack([a, b])),
    "np.add": (np.add, np.add),
    "np.where": (lambda a, b: np.where(MASK, a, b), lambda a, b: np.where(MASK, a, b)),
}


def lawful(pair):
    """The floating dtype of the law, None for whole numbers."""
    of_tensors = [dtype_of(d) for f, d, _ in pair if f in ("tensor", "number") and d in FLOATS]
    of_arrays = [dtype_of(d) for f, d, _ in pair if f == "array" and d in FLOATS]
    if found := of_tensors or of_arrays:
        return promoted(found[0], found[-1])
    return np.dtype("float32") if any(d in (*FLOATS, "float") for _, d, _ in pair) else None


def wide(value):
    value = value.numpy() if isinstance(value, tg.Tensor) else value
    return np.asarray(value).astype("float64")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_of_two(name):
    ours, theirs = FUNCTIONS[name]
    for pair in PAIRS:
        (first, d1, a), (second, d2, b) = pair
        said = f"{first} of {d1} {name} {second} of {d2}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                want = theirs(wide(a), wide(b))
            except ValueError:  # no such shapes
                continue
            try:
                got = ours(a, b)
            except tg.DTypeError:
                # truth values have no difference; and NumPy has no ufunc of a bfloat16 tensor and
                # of one that it does not promote with it
                tensors = {first, second} <= {"tensor", "number"} and "bfloat16" in (d1, d2)
                assert tensors or (name == "-" and {d1, d2} == {"bool"}), said
                continue
        expected = lawful(pair) or (np.dtype("float32") if name == "/" else None)
        one_number = name == "stack" and "scalar" in (first, second)  # joined as arrays
        if expected is None:
            assert got.dtype.kind in "biu", said
        elif not one_number:
            assert got.dtype == expected, f"{said}: {got.dtype}, not {expected}"
        if {d1, d2} <= {"bool"} or "uint8" in (d1, d2):
            continue
        np.testing.assert_allclose(wide(got), want, rtol=2e-2, err_msg=said)


def test_where_of_numbers_alone():
    """A mask says nothing of the dtype: two floats give the default."""
    for mask in (MASK, tg.tensor(MASK), MASK.tolist(), tg.ones((2, 2)) > 0, tg.ones(2)):
        assert tg.where(mask, 1.0, 0.0).dtype == "float32"
        assert tg.where(mask, 1, 0).dtype == "int64"


def test_filled_in_the_dtype_asked_for():
    assert tg.full_like([1, 2], 0.5, "float64").tolist() == [0.5, 0.5]
    assert np.full_like(tg.tensor([1, 2]), 0.5, dtype="float32").tolist() == [0.5, 0.5]


ERRORS = {
    "too large": (lambda: tg.tensor([1], dtype="int8") + 300, tg.DTypeError),
    "whole to a negative power": (lambda: tg.tensor([2]) ** -1, tg.DTypeError),
    "seterr": (lambda: tg.tensor([1.0]) / 0, tg.AnomalyError),
}


@pytest.mark.parametrize("name", ERRORS)
def test_numbers_are_not_shapes(name):
    call, kind = ERRORS[name]
    with np.errstate(all="raise"), pytest.raises(kind) as caught:
        call()
    assert not isinstance(caught.value, tg.ShapeError)


def test_what_is_no_number_is_in_no_tensor():
    t = tg.ones(3)
    assert None not in t
    assert "a" not in t
    assert 1 in t
