"""NumPy's call forms. Each row is one call, evaluated on arrays by NumPy, on Tensors by NumPy's
function and on Tensors by ours, with the same numbers, shape and kind of dtype as the result."""

import numpy as np
import pytest

import tensorgrad as tg

from .rows import of_each

pytestmark = pytest.mark.host

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 3, 4))  # no ties, nor among means: equal steps would have some
ARRAYS = {
    "x": X,
    "m": rng.random((2, 3, 4)) > 0.4,
    "i": rng.integers(-5, 6, (2, 3, 4)),
    "row": np.array([-1.0, -0.5, 0.0, 0.5]),
}

FUNCTIONS = """
np.sum(x)
np.sum(x, 0)
np.sum(x, axis=-1)
np.sum(x, (0, 2))
np.sum(x, axis=(0, -1))
np.sum(x, axis=1, keepdims=True)
np.sum(x, axis=())
np.sum(x, axis=1, dtype="float32")
np.sum(x, dtype="float64")
np.sum(i, dtype=float)
np.sum(m)
np.sum(m, axis=0, dtype="int32")
np.sum(x, where=m)
np.sum(x, axis=0, where=m[0, :1])
np.sum(x, initial=10.0)
np.sum(x, axis=1, where=m, initial=-1.0, keepdims=True)
np.mean(x)
np.mean(x, 1)
np.mean(x, axis=(-1, 0), keepdims=True)
np.mean(x, dtype="float32")
np.mean(x, where=m)
np.prod(x, axis=2)
np.prod(x, axis=(0, 1), keepdims=True)
np.prod(i, dtype="float64")
np.prod(x, axis=1, where=m, initial=2.0)
np.max(x)
np.max(x, axis=(0, -1))
np.max(x, 1, keepdims=True)
np.max(x, axis=0, initial=1.0)
np.max(x, axis=0, where=m, initial=-9.0)
np.amax(x, axis=0)
np.min(x, axis=-1)
np.min(x, where=m, initial=9.0)
np.amin(x)
np.any(m)
np.any(m, axis=(0, 1), keepdims=True)
np.any(x > 2, axis=-1, where=m)
np.all(m, axis=1)
np.all(x > -1, where=m)
np.argmax(x)
np.argmax(x, 1)
np.argmax(x, axis=-1, keepdims=True)
np.argmax(m, axis=0)
np.argmin(x)
np.argmin(x, axis=0, keepdims=True)
np.argmin(x, keepdims=True)
np.var(x)
np.var(x, axis=(0, 2), ddof=1)
np.var(x, 1, keepdims=True, correction=1)
np.var(x, where=m)
np.std(x)
np.std(x, 0)
np.std(x, axis=(0, -1), ddof=1, keepdims=True)
np.std(x, correction=1)
np.std(x, axis=1, correction=0.5)
np.std(x, axis=1, dtype="float32")
np.std(x, axis=(0, 1), where=m | (x > 0))
np.std(i)
np.clip(x, -1, 1)
np.clip(x, -1, None)
np.clip(x, None, 1)
np.clip(x, a_min=0, a_max=2)
np.clip(x, a_min=None, a_max=row)
np.clip(x, min=0)
np.clip(x, max=0.5)
np.clip(x, row, row + 1)
np.clip(x, x - 0.1, 1.0)
np.clip(x, 1, -1)
np.clip(i, -1, 2)
np.round(x)
np.round(x, 1)
np.round(x, decimals=2)
np.round(i, -1)
np.around(x, 1)
np.flip(x)
np.flip(x, 0)
np.flip(x, axis=(0, -1))
np.moveaxis(x, 0, -1)
np.moveaxis(x, [0, 1], [-1, 0])
np.moveaxis(x, source=1, destination=0)
np.swapaxes(x, 0, -1)
np.swapaxes(x, axis1=0, axis2=1)
np.transpose(x)
np.transpose(x, (1, 0, 2))
np.transpose(x, axes=[2, -3, 1])
np.permute_dims(x, (2, 0, 1))
np.squeeze(x[:, :1])
np.squeeze(x[:, :1], axis=1)
np.squeeze(x[:1, :1], axis=(0, -2))
np.expand_dims(x, 0)
np.expand_dims(x, axis=(0, -1))
np.reshape(x, -1)
np.reshape(x, (4, -1))
np.reshape(x, [6, 4])
np.reshape(x, shape=(3, 8))
np.broadcast_to(row, (2, 3, 4))
np.broadcast_to(x[0, 0, 0], 3)
np.split(x, 2)
np.split(x, 2, axis=-1)
np.split(x, [1, 3], axis=2)
np.split(x, indices_or_sections=3, axis=1)
np.array_split(x, 3, axis=2)
np.stack([x, x + 1])
np.stack((x, -x), axis=-1)
np.concatenate([x, x])
np.concatenate((x, i), axis=-1)
np.concatenate([x, row], axis=None)
np.concat([x, x], axis=1)
np.where(m, x, 0.0)
np.where(m, 0, x)
np.where(x > 0, x, i)
np.where([True, False, True, True], x, -x)
np.maximum(x, 0)
np.minimum(1.0, x)
np.power(x, 2)
np.pow(2.0, x)
np.abs(x)
np.absolute(i)
np.negative(x)
np.positive(x)
np.square(i)
np.floor_divide(x, 0.7)
np.remainder(x, 0.7)
np.mod(i, 3)
np.divmod(x, 0.7)
np.bitwise_and(i, 3)
np.bitwise_or(m, m[0])
np.bitwise_xor(i, i + 1)
np.invert(m)
np.left_shift(i + 5, 2)
np.right_shift(i, 1)
np.add(1, x)
np.subtract(x, row)
np.multiply(i, i)
np.divide(i, 2)
np.matmul(x, np.swapaxes(x, -1, -2))
np.exp(x)
np.log(np.abs(x))
np.isnan(x)
np.logical_and(m, x > 0)
np.greater_equal(x, row)
np.pad(x, 1)
np.pad(x, (1, 2))
np.pad(x, ((0, 1), (2, 0), (1, 1)))
np.pad(x, [[1, 1]])
np.pad(x, 1, constant_values=3.5)
np.pad(x, pad_width=1, mode="constant", constant_values=(1, 2))
np.pad(x, 1, constant_values=((1, 2), (3, 4), (5, 6)))
np.pad(x, 1, "edge")
np.pad(x, ((1, 1), (2, 2), (3, 0)), mode="reflect")
np.pad(x, 1, mode="reflect", reflect_type="odd")
np.pad(x, (2, 1), mode="symmetric")
np.pad(x, ((1, 1), (2, 5), (3, 4)), mode="wrap")
np.pad(x, 2, mode="linear_ramp", end_values=4.0)
np.pad(x, 1, mode="maximum")
np.pad(x, 1, mode="minimum", stat_length=2)
np.pad(x, (1, 2), mode="mean")
np.pad(x, 1, mode="median")
np.pad(i, 1, mode="edge")
""".strip().splitlines()

METHODS = """
x.sum()
x.sum(0)
x.sum((0, 1))
x.sum(axis=np.int64(1))
x.sum(axis=-1, keepdims=True)
x.sum(dtype="float32")
x.sum(where=m)
x.sum(axis=1, initial=2.0, where=m)
i.sum(dtype=float)
m.sum()
x.mean()
x.mean(1)
x.mean(axis=(0, -1), where=m)
i.mean()
x.prod(2)
x.max()
x.max(-1, keepdims=True)
x.max(axis=(0, 1), initial=0.0)
x.min(axis=0, where=m, initial=5.0)
m.any(axis=0)
m.all(axis=(0, 1), keepdims=True)
x.argmax()
x.argmax(1)
x.argmin(axis=-1, keepdims=True)
x.var(ddof=1)
x.std(0)
x.std(axis=0, ddof=1)
x.std(axis=(0, 2), ddof=1, keepdims=True)
x.clip(-1, 1)
x.clip(0)
x.clip(max=1)
x.clip(min=row)
x.clip(row, row + 0.25)
x.clip(0.5, -0.5)
x.round()
x.round(1)
x.round(decimals=2)
x.reshape(4, 6)
x.reshape((4, 6))
x.reshape(-1)
x.reshape([2, -1])
x.transpose()
x.transpose(2, 0, 1)
x.transpose((2, 0, 1))
x.swapaxes(0, -1)
x[:, :1].squeeze()
x[:, :1].squeeze(1)
x.T
x.mT
x.astype("float32")
x.astype(np.float32)
x.astype(int)
i.astype(float)
x.astype(x.dtype)
x.copy()
x.tolist()
x[..., None]
x[:, [0, 2]]
x[m]
x[x > 0]
x[0, ::2, ::-1]
x[i % 2]
""".strip().splitlines()


def arrays(value):
    """Tensors as arrays, also in lists and tuples."""
    if isinstance(value, (list, tuple)):
        return [arrays(v) for v in value]
    return value.numpy() if isinstance(value, tg.Tensor) else value


def agree(got, want):
    for g, w in zip(got, want, strict=True) if isinstance(want, (list, tuple)) else [(got, want)]:
        if isinstance(w, (np.ndarray, np.generic)):
            assert isinstance(g, tg.Tensor), f"a {type(g).__name__}, not a Tensor"
            assert g.shape == w.shape
            assert g.dtype.kind == w.dtype.kind, (g.dtype, w.dtype)
        np.testing.assert_allclose(arrays(g), w, rtol=3e-6)


WORDS = "a_min a_max".split()  # for which the array API has shorter ones
NUMPYS = """amax amin around absolute array_split positive mod divmod invert left_shift right_shift
bitwise_and bitwise_or bitwise_xor""".split()  # names that tg may have, too
OURS = [
    p
    for p in FUNCTIONS
    if (hasattr(tg, n := p[3:].partition("(")[0]) or n not in NUMPYS)
    and not any(word in p for word in WORDS)
]


@pytest.mark.parametrize(
    ("module", "program"),
    [pytest.param(np, p, id=p) for p in FUNCTIONS]
    + [pytest.param(tg, p, id=p.replace("np.", "tg.")) for p in OURS],
)
def test_functions_take_numpys_call_forms(module, program):
    want = eval(program, ARRAYS | {"np": np})
    given = {n: tg.tensor(a) for n, a in ARRAYS.items()}
    agree(eval(program, given | {"np": module}), want)


@of_each("program", METHODS)
def test_methods_take_numpys_call_forms(program):
    want = eval(program, ARRAYS | {"np": np})
    agree(eval(program, {n: tg.tensor(a) for n, a in ARRAYS.items()} | {"np": np}), want)


NO_GRADIENT = """any all argmax argmin isnan logical_and greater_equal bitwise_and bitwise_or
bitwise_xor round around""".split()
TRACKED = [
    p
    for p in FUNCTIONS
    if "x" in p.partition("(")[2].replace("max", "").replace("axis", "")
    and p[3:].partition("(")[0] not in NO_GRADIENT
]


@of_each("program", TRACKED)
def test_call_forms_on_the_tape_stay_on_it_with_the_right_gradient(program):
    """Each against central differences of NumPy's own answer."""
    others = {n: tg.tensor(a) for n, a in ARRAYS.items() if n != "x"}
    x = tg.tensor(X, requires_grad=True)
    y = eval(program, others | {"np": np, "x": x})
    parts = list(y) if isinstance(y, (list, tuple)) else [y]
    weights = [np.cos(np.arange(p.size)).reshape(p.shape) for p in parts]
    assert all(p.requires_grad for p in parts)

    def value(a):
        made = eval(program, ARRAYS | {"np": np, "x": a})
        made = made if isinstance(made, (list, tuple)) else [made]
        return builtin_sum((m.astype(float) * w).sum() for m, w in zip(made, weights, strict=True))

    builtin_sum((p * w).sum() for p, w in zip(parts, weights, strict=True)).backward()
    coarse = "float32" in program
    h = 1e-2 if coarse else 1e-5
    steps = h * np.eye(X.size).reshape(X.size, *X.shape)
    want = np.array([(value(X + s) - value(X - s)) / (2 * h) for s in steps]).reshape(X.shape)
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-4, atol=1e-3 if coarse else 1e-7)


builtin_sum = sum


@pytest.mark.parametrize("module", [np, tg], ids=["numpy", "ours"])
@pytest.mark.parametrize("tracked", [False, True])
def test_what_an_expression_over_a_list_gives_is_what_it_gives_over_an_array(tracked, module):
    a, b = tg.tensor(1.5, requires_grad=tracked), tg.tensor(-2.0, requires_grad=tracked)
    stacked = module.stack([a, b, a])
    assert (stacked.tolist(), stacked.requires_grad) == ([1.5, -2.0, 1.5], tracked)
    joined = module.concatenate([stacked, np.float32([7.0])])
    assert (joined.tolist(), joined.dtype) == ([1.5, -2.0, 1.5, 7.0], np.float32)
    assert module.sum([[1, 2], [3, 4]], axis=0).tolist() == [4, 6]


def test_methods_take_what_only_numpys_functions_take():
    x = tg.tensor(X)
    np.testing.assert_allclose(x.std(0, correction=1).numpy(), X.std(0, ddof=1))
    np.testing.assert_allclose(x.sum(axis=[0, -1]).numpy(), X.sum((0, -1)))
    np.testing.assert_allclose(tg.sum(x, axis=[0, -1]).numpy(), X.sum((0, -1)))
