"""One law of dtypes, as tables over creation, unary functions, binary operators and layers.

Two floating Tensors promote as in NumPy. Between a floating Tensor and anything else (a raw array,
a NumPy scalar, a Python number, a list, an integer Tensor) the floating Tensor's dtype wins.
Integers under a floating function are the default float, float32, which `dtype=None` means
everywhere. What is float64 is computed in float64, constants included.
"""

import itertools

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn

from . import loss_cases
from .rows import of_each

pytestmark = pytest.mark.host

FLOATS = ["float16", "float32", "float64"]
WHOLE = ["bool", "uint8", "int8", "int16", "int32", "int64"]
VALUES = [[1, 0, 1], [1, 1, 0]]


def tensor(dtype):
    return tg.tensor(np.array(VALUES).astype(dtype))


# --- creation -------------------------------------------------------------------------------------

MAKERS = {
    "zeros": lambda **o: tg.zeros((2, 3), **o),
    "ones": lambda **o: tg.ones((2, 3), **o),
    "full": lambda **o: tg.full((2, 3), 1.0, **o),
    "eye": lambda **o: tg.eye(3, **o),
    "rand": lambda **o: tg.rand(2, 3, **o),
    "randn": lambda **o: tg.randn(2, 3, **o),
    "linspace": lambda **o: tg.linspace(0, 1, 5, **o),
    "logspace": lambda **o: tg.logspace(0, 1, 3, **o),
    "geomspace": lambda **o: tg.geomspace(1, 2, 3, **o),
    "arange": lambda **o: tg.arange(0.0, 3.0, **o),
    "tensor": lambda **o: tg.tensor([0.5, 1.5], **o),
    "asarray": lambda **o: tg.asarray([0.5, 1.5], **o),
    "tensor of a number": lambda **o: tg.tensor(0.5, **o),
}


@of_each("maker", MAKERS)
def test_what_is_made_is_of_the_default_float(maker):
    assert MAKERS[maker]().dtype == np.float32
    assert MAKERS[maker](dtype=None).dtype == np.float32


@of_each("form", [str, np.dtype, lambda name: np.dtype(name).type])
@of_each("dtype", [*FLOATS, "int32", "int64", "uint8", "bool"])
@of_each("maker", MAKERS)
def test_what_is_made_is_of_the_dtype_asked_for(maker, dtype, form):
    if maker.startswith("rand") and dtype not in FLOATS:
        return
    made = MAKERS[maker](dtype=form(dtype))
    assert made.dtype == dtype
    assert made.data.dtype == dtype


NOTED = {
    "tg.tensor(2)": "int64",
    "tg.tensor(True)": "bool",
    "tg.tensor([1, 2])": "int64",
    "tg.tensor([1, 2.5])": "float32",
    "tg.tensor([True, False])": "bool",
    "tg.tensor(np.float64(0.5))": "float64",
    "tg.tensor(np.zeros(2))": "float64",
    "tg.tensor([np.zeros(2), np.zeros(2)])": "float64",
    "tg.asarray(np.zeros(2, 'float16'))": "float16",
    "tg.tensor(np.zeros(2), dtype=None)": "float64",
    "tg.full((2,), 7)": "int64",
    "tg.full((2,), True)": "bool",
    "tg.full((2,), 7.0)": "float32",
    "tg.full((2,), 7, dtype='float64')": "float64",
    "tg.arange(3)": "int64",
    "tg.arange(3, dtype=None)": "int64",
    "tg.arange(0, 3, 0.5)": "float32",
    "tg.arange(3, dtype=float)": "float64",
    "tg.arange(np.float64(3))": "float32",
    "tg.linspace(np.float64(0), np.float64(1), 3)": "float32",
    "tg.eye(2, dtype=bool)": "bool",
    "tg.zeros((2,), dtype=int)": "int64",
    "tg.zeros_like(np.zeros(2, 'int8'))": "int8",
    "tg.ones_like(tg.zeros(2, dtype='float16'))": "float16",
    "tg.zeros_like([1.0])": "float32",
    "tg.tensor([1, 2]).astype(None)": "float32",
    "tg.ones(2).astype(int)": "int64",
    "tg.ones(2).astype('bool')": "bool",
    "tg.stack([1.0, 2.0])": "float32",
    "tg.concatenate([[1.0], [2]])": "float32",
    "tg.nn.Parameter([1.0])": "float32",
    "tg.nn.Parameter(np.zeros(2))": "float64",
}


@of_each("program", NOTED)
def test_makers_note_the_kind_of_numbers(program):
    assert eval(program, {"tg": tg, "np": np}).dtype == NOTED[program]


# --- unary functions ------------------------------------------------------------------------------

FLOATING = """exp expm1 log log1p sqrt sin cos tanh sigmoid softplus silu gelu elu leaky_relu
softmax log_softmax logsumexp mean var std tan arctan sinh cosh arcsinh exp2 cbrt reciprocal
rsqrt erf ndtr i0e log2 log10 sinc deg2rad fabs entr""".split()
KEEPING = """abs square sign floor ceil round relu max min flip transpose identity clip reshape pad
squeeze swapaxes broadcast_to""".split()
COUNTING = ["sum", "prod"]
ASKING = ["isnan", "isfinite", "logical_not", "any", "all"]
ARGUMENTS = {
    "clip": (0, 1),
    "reshape": ((3, 2),),
    "pad": (1,),
    "swapaxes": (0, 1),
    "broadcast_to": ((4, 2, 3),),
}


def call(name, x):
    return getattr(tg, name)(x, *ARGUMENTS.get(name, ()))


@of_each("dtype", FLOATS)
@of_each("name", [*FLOATING, *KEEPING, *COUNTING])
def test_floating_dtypes_are_kept(name, dtype):
    for x in (tensor(dtype), tensor(dtype).numpy()):
        assert call(name, x).dtype == dtype
    if hasattr(tg.Tensor, name):
        assert getattr(tensor(dtype), name)(*ARGUMENTS.get(name, ())).dtype == dtype
    leaf = tg.tensor(np.array(VALUES).astype(dtype), requires_grad=True)
    call(name, leaf).sum().backward()
    assert leaf.grad.dtype == dtype


@of_each("dtype", WHOLE)
@of_each("name", FLOATING)
def test_whole_numbers_under_floating_functions_are_the_default_float(name, dtype):
    for x in (tensor(dtype), tensor(dtype).numpy()):
        got = call(name, x)
        assert got.dtype == np.float32
        want = call(name, tensor("float64")).numpy()
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-6)
    assert call(name, [1, 2]).dtype == np.float32


@of_each("dtype", [d for d in WHOLE if d != "bool"])
@of_each("name", KEEPING)
def test_whole_numbers_stay_whole_where_they_can(name, dtype):
    assert call(name, tensor(dtype)).dtype == dtype
    assert call(name, tensor(dtype).numpy()).dtype == dtype


@of_each("dtype", WHOLE)
@of_each("name", COUNTING)
def test_sums_of_whole_numbers_are_wide_as_in_numpy(name, dtype):
    want = getattr(np, name)(tensor(dtype).numpy())
    assert call(name, tensor(dtype)).dtype == want.dtype
    assert call(name, tensor(dtype)).item() == want


@of_each("dtype", [*FLOATS, *WHOLE])
@of_each("name", ASKING)
def test_questions_are_answered_with_truths(name, dtype):
    assert call(name, tensor(dtype)).dtype == bool


@of_each("dtype", [*FLOATS, *WHOLE])
@of_each("name", ["argmax", "argmin"])
def test_places_are_int64(name, dtype):
    assert call(name, tensor(dtype)).dtype == np.int64


# --- binary operators -----------------------------------------------------------------------------

OPERATORS = "+ - * / // % **".split()
FUNCTIONS = ["maximum", "minimum", "where", "concatenate", "stack", "matmul", "add", "power"]
OTHERS = {
    "Python int": 2,
    "Python float": 1.5,
    "Python bool": True,
    **{f"np.{d}": np.dtype(d).type(1) for d in [*FLOATS, "int64", "uint8", "bool"]},
    **{f"array of {d}": np.ones((2, 3), d) for d in [*FLOATS, *WHOLE]},
    "0-d array": np.array(1.5),
    "big-endian array": np.ones((2, 3), ">f8"),
    "list of floats": [1.5, 2.0, 1.0],
    "list of ints": [2, 1, 1],
    "list of rows": [[1.5, 2.0, 1.0]] * 2,
}


def shaped(v):
    return np.shape(v.numpy() if isinstance(v, tg.Tensor) else v) == (2, 3)


def law(how, a, b):
    """What both orders give, where the call makes sense for these shapes."""
    for x, y in ((a, b), (b, a)):
        names = {"x": x, "y": y, "tg": tg}
        if how in OPERATORS:
            yield eval(f"x {how} y", names)
        elif how == "where":
            yield tg.where([True, False, True], x, y)
        elif how not in ("concatenate", "stack", "matmul"):
            yield getattr(tg, how)(x, y)
        elif shaped(x) and shaped(y) and not isinstance(y, list):
            yield tg.matmul(x, y.T) if how == "matmul" else getattr(tg, how)([x, y])


@of_each("dtype", FLOATS)
@of_each("how", [*OPERATORS, *FUNCTIONS])
def test_a_floating_tensor_keeps_its_dtype_beside_anything_else(how, dtype):
    x = tg.tensor(np.ones((2, 3), dtype))
    for name, other in OTHERS.items():
        for got in law(how, x, other):
            assert isinstance(got, tg.Tensor), (name, type(got))
            assert got.dtype == dtype, name
    for whole in WHOLE:
        other = tg.ones((2, 3), dtype=whole)
        for got in law(how, x, other):
            assert got.dtype == dtype, f"Tensor of {whole}"


@of_each(("one", "two"), list(itertools.product(FLOATS, FLOATS)))
@of_each("how", [*OPERATORS, *FUNCTIONS])
def test_two_floating_tensors_promote_as_in_numpy(how, one, two):
    a = tg.tensor(np.ones((2, 3), one), requires_grad=True)
    b = tg.tensor(np.ones((2, 3), two), requires_grad=True)
    for got in law(how, a, b):
        assert got.dtype == np.promote_types(one, two)
        a.grad = b.grad = None
        got.sum().backward()
        assert (a.grad.dtype, b.grad.dtype) == (one, two)


@of_each("dtype", [d for d in WHOLE if d != "bool"])
@of_each("how", [o for o in OPERATORS if o != "/"])
def test_an_integer_tensor_beside_python_numbers(how, dtype):
    x = tg.tensor(np.ones((2, 3), dtype))
    for got in law(how, x, 1.5):
        assert got.dtype == np.float32
    for other in (2, True):
        for got in law(how, x, other):
            assert got.dtype == dtype
    for got in law(how, x, [1.5, 2.0, 1.0]):
        assert got.dtype == np.float32


@of_each(("one", "two"), list(itertools.product(WHOLE[1:], WHOLE[1:])))
@of_each("how", OPERATORS)
def test_integers_promote_as_in_numpy_and_divide_to_the_default_float(how, one, two):
    a, b = tg.tensor(np.ones((2, 3), one)), np.ones((2, 3), two)
    want = np.float32 if how == "/" else np.promote_types(one, two)
    for other in (b, tg.tensor(b)):
        assert [g.dtype for g in law(how, a, other)] == [want] * 2


@of_each("float_", FLOATS)
@of_each("whole", WHOLE)
@of_each("how", OPERATORS)
def test_an_integer_tensor_does_not_widen_a_floating_array(how, whole, float_):
    if how == "-" and whole == "bool":
        return
    a, b = tg.tensor(np.ones((2, 3), whole)), np.ones((2, 3), float_)
    assert [g.dtype for g in law(how, a, b)] == [float_] * 2


@of_each("dtype", [*FLOATS, "int64"])
@of_each("sign", "== != < <= > >=".split())
def test_comparisons_are_truths(sign, dtype):
    x = tensor(dtype)
    for other in (1, 1.5, np.float64(1), np.ones(3), [1, 2, 3], tensor("int8")):
        assert eval(f"x {sign} other", {"x": x, "other": other}).dtype == bool


# --- models ---------------------------------------------------------------------------------------

LAYERS = {
    "Dense": (lambda: nn.Dense(2, 3), (4, 3)),
    "Linear": (lambda: nn.Linear(3, 2), (4, 3)),
    "Dense with gelu": (lambda: nn.Dense(2, 3, activation="gelu"), (4, 3)),
    "Conv2d": (lambda: nn.Conv(2, 3), (1, 2, 5, 5)),
    "LayerNorm": (lambda: nn.LayerNorm(), (4, 3)),
    "BatchNorm": (lambda: nn.BatchNorm(), (4, 3)),
    "RMSNorm": (lambda: nn.RMSNorm(), (4, 3)),
    "GroupNorm": (lambda: nn.GroupNorm(1), (4, 3)),
    "SimpleLSTM": (lambda: nn.SimpleLSTM(2), (2, 4, 3)),
    "SimpleGRU": (lambda: nn.SimpleGRU(2), (2, 4, 3)),
    "SimpleRNN": (lambda: nn.SimpleRNN(2), (2, 4, 3)),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(2, 4), (2, 3, 4)),
}


@of_each("name", LAYERS)
def test_layers_take_floating_input_at_their_own_dtype(name):
    make, shape = LAYERS[name]
    x = np.random.default_rng(0).normal(size=shape)
    layer = make()
    layer(x.astype("float32"))
    for dtype in ("float64", "float32", "int64", "uint8"):
        for given in (x.astype(dtype), tg.tensor(x.astype(dtype))):
            y = layer(given)
            y = y[0] if isinstance(y, tuple) else y
            assert y.dtype == np.float32, (dtype, type(given))
    assert {p.dtype for p in layer.parameters()} == {np.dtype("float32")}
    layer.astype("float64")
    y = layer(x.astype("float32"))
    assert (y[0] if isinstance(y, tuple) else y).dtype == np.float64


@of_each("name", loss_cases.NAMES)
@of_each("dtype", FLOATS)
def test_a_loss_is_of_the_predictions_dtype(name, dtype):
    p, target = loss_cases.case(name)
    p = tg.tensor(p.astype(dtype), requires_grad=True)
    narrow = target.astype(np.float32) if target.dtype.kind == "f" else target
    for t in (target, narrow, target.tolist()):
        loss = losses.LOSSES[name](p, t)
        loss.backward()
        assert loss.dtype == p.grad.dtype == dtype


CONSTANTS = {
    "NumPy's pi": lambda x: x * np.pi,
    "a NumPy scalar": lambda x: x * np.sqrt(2.0),
    "a 0-d array": lambda x: x + np.array(0.5),
    "statistics": lambda x: (x - np.float64([0.0, 1.0, 2.0])) / np.float64([1.0, 2.0, 3.0]),
    "a mask": lambda x: x * np.array([True, False, True]),
    "positions": lambda x: x + np.arange(3),
    "a list": lambda x: x * [0.1, 0.2, 0.3],
    "weights of classes": lambda x: (x * np.linspace(0, 1, 3)).sum(-1),
    "a one-hot matrix": lambda x: x @ np.eye(3),
    "on the left": lambda x: np.eye(2) @ x,
    "a function of NumPy": lambda x: np.maximum(np.zeros(3), x),
    "where": lambda x: tg.where(x > 0, x, np.zeros(3)),
    "a Python sum": lambda x: sum([x, np.ones(3)], np.zeros(3)),
    "clip": lambda x: tg.clip(x, np.float64(-1), np.ones(3)),
    "power": lambda x: x ** np.float64(2),
    "matrix of ints": lambda x: x @ tg.tensor([[1], [2], [3]]),
    "linspace": lambda x: x * tg.linspace(0, 1, 3),
    "full": lambda x: x + tg.full((3,), 2.0),
}


@of_each("tracked", [False, True])
@of_each("name", CONSTANTS)
def test_a_float32_program_stays_one_beside_numpys_constants(name, tracked):
    x = tg.tensor(np.float32([[0.5, -1.0, 2.0], [1.0, 0.25, -3.0]]), requires_grad=tracked)
    assert CONSTANTS[name](x).dtype == np.float32


# --- float64 stays exact --------------------------------------------------------------------------

T = np.array([0.1, 0.2, 0.3])
EXACT = {
    "t * 0.1": T * 0.1,
    "0.1 - t": 0.1 - T,
    "t + [0.1, 0.2, 0.3]": T + T,
    "t * np.float64(0.1)": T * 0.1,
    "t / 3": T / 3,
    "t ** 0.1": T**0.1,
    "t * i": T * np.array([1, 2, 3]),
    "tg.maximum(t, 0.15)": np.maximum(T, 0.15),
    "tg.clip(t, 0.15, 0.25)": np.clip(T, 0.15, 0.25),
    "tg.where(t > 0.15, t, 0.7)": np.where(T > 0.15, T, 0.7),
    "tg.where(t > 0.15, 0.7, t)": np.where(T > 0.15, 0.7, T),
    "tg.full((3,), 0.1, dtype='float64')": np.full(3, 0.1),
    "tg.linspace(0, 0.1, 3, dtype='float64')": np.linspace(0, 0.1, 3),
    "tg.arange(0, 0.3, 0.1, dtype='float64')": np.arange(0, 0.3, 0.1),
    "tg.tensor([0.1, 0.2, 0.3], dtype='float64')": T,
    "tg.asarray([0.1, 0.2, 0.3], dtype=np.float64)": T,
    "tg.concatenate([t, [0.1]])": np.append(T, 0.1),
    "tg.stack([t, [0.1, 0.2, 0.3]])": np.stack([T, T]),
    "tg.pad(t, 1, constant_values=0.1)": np.pad(T, 1, constant_values=0.1),
    "t @ [0.1, 0.2, 0.3]": T @ T,
    "t.sum() * 0.1": T.sum() * 0.1,
    "tg.losses.mean_squared_error(t, [0.2, 0.2, 0.2])": np.mean((T - 0.2) ** 2),
    "tg.leaky_relu(-t, 0.1)": -T * 0.1,
}


@of_each("program", EXACT)
def test_constants_reach_float64_unrounded(program):
    got = eval(program, {"t": tg.tensor(T), "i": tg.tensor([1, 2, 3]), "tg": tg, "np": np})
    assert got.dtype == np.float64
    np.testing.assert_allclose(got.numpy(), EXACT[program], rtol=1e-14, atol=0)


def _assigned(x, v):
    x[0] = v
    return x


GIVEN = {  # functions that put a number into a tensor
    "x[0] = v": _assigned,
    "x[0] = [v]": lambda x, v: _assigned(tg.zeros((2, 1), dtype=x.dtype), [v]),
    "masked_fill": lambda x, v: tg.masked_fill(x, [True, False], v),
    "index_fill": lambda x, v: tg.index_fill(x, 0, [0], v),
    "index_put": lambda x, v: tg.index_put(x, [0], v),
    "put_along_axis": lambda x, v: tg.put_along_axis(x, [0], v, 0),
    "scatter": lambda x, v: tg.scatter(x, 0, [0], v),
    "index_add": lambda x, v: tg.index_add(x, 0, [0], [v]),
    "insert": lambda x, v: tg.insert(x, 0, v),
    "place": lambda x, v: tg.place(x, [True, False], [v]),
    "fill_diagonal": lambda x, v: tg.fill_diagonal(x.reshape(1, 2), v),
    "select": lambda x, v: tg.select([[True, False]], [v], x),
    "pad": lambda x, v: tg.pad(x, (1, 0), constant_values=v),
}


@of_each("dtype", ["float64", "complex128", "float32"])
@of_each("name", GIVEN)
def test_pythons_numbers_keep_their_digits_beside_double_precision(name, dtype):
    v = 0.1j if dtype == "complex128" else 0.1
    x = tg.zeros(2, dtype=dtype)
    y = GIVEN[name](x, v)
    assert y.dtype == dtype
    assert y.numpy().reshape(-1)[0] == np.dtype(dtype).type(v)


A, B = np.array([0.1, 0.2]), np.array([[0.3, 0.7], [1.1, 0.9]])
BESIDE = {  # functions of several arrays, of which one is a tensor in double precision
    "xlogy": lambda x, a, v: tg.xlogy(x, v),
    "cdist": lambda x, a, v: tg.cdist(tg.stack([x, x]), [v, v]),
    "lerp": lambda x, a, v: tg.lerp(x, v, v[0]),
    "addcmul": lambda x, a, v: tg.addcmul(v, x, v),
    "interp": lambda x, a, v: tg.interp(x, v, v),
    "polyval": lambda x, a, v: tg.polyval(v, x),
    "prelu": lambda x, a, v: tg.prelu(-x, v[:1]),
    "append": lambda x, a, v: tg.append(x, v),
    "convolve": lambda x, a, v: tg.convolve(x, v),
    "betaln": lambda x, a, v: tg.betaln(x, v),
    "einsum": lambda x, a, v: tg.einsum("i,ij,j", x, a, v),
    "solve": lambda x, a, v: tg.linalg.solve(tg.tensor(B) * x, v),
    "loss": lambda x, a, v: tg.mean_squared_error(x, v),
    "loss of a list": lambda x, a, v: losses.huber(v, x),
    "ranking": lambda x, a, v: losses.margin_ranking(v, x, [1, -1]),
    "vectors": lambda x, a, v: losses.cosine_embedding([v], x[None], [1]),
    "normal": lambda x, a, v: losses.kl_normal(v, x),
}


@of_each("name", BESIDE)
def test_lists_are_in_double_precision_beside_such_tensors(name):
    x = tg.tensor(A)
    exact = BESIDE[name](x, B, 1 - A)
    found = BESIDE[name](x, B.tolist(), (1 - A).tolist())
    assert found.dtype == "float64"
    np.testing.assert_array_equal(found.numpy(), exact.numpy())
