"""Generated from the op table: every op x sample x dtype x backend. A new op cannot escape."""

import inspect

import ml_dtypes  # noqa: F401  (makes bfloat16 a dtype NumPy knows)
import numpy as np
import pytest
from scipy import special

import tensorgrad as tg
from tensorgrad import backend as backends
from tensorgrad.core import OPS, Leaf, Tensor
from tensorgrad.testing import gradcheck, tolerance

from .conftest import slow_on_cudasim
from .oracles import ORACLES, WRITES
from .oracles.linalg import gauged
from .rows import of_each

DTYPES = ("float64", "float32", "float16", "bfloat16")
WRITING = [op for op in OPS.values() if op.inplace]
PURE = [op for op in OPS.values() if not op.inplace]
SMOOTH = [op for op in PURE if op.differentiable and op.name not in ("move", "gamma_path")]
VECTORS = ("hyper", "apply_if", "scaling", "finite", "by")  # of optimizers: always float64
FIXED_DTYPE = {"cast", "cast_all", "sum_to"}  # the dtype of the result is a parameter
SYMMETRIC = {"cholesky", "eigh", "eigvalsh"}  # of such matrices, and so are their gradients
ROUNDS = {"round", "floor", "ceil", "sign", "equal", "not_equal", "argmax", "argmin"}


def floating(a):
    return isinstance(a, np.ndarray) and backends.is_floating(a.dtype)


def place(args, dtype="float64", backend="numpy"):
    """A sample's arrays on a backend, floating ones cast to a dtype."""
    home = backends.get(backend)
    out = []
    for a in args:
        if floating(a):
            a = a.astype(backends.dtype_of(dtype))
        out.append(home.from_host(a.copy()) if isinstance(a, np.ndarray) else a)
    return out


def host(a):
    """A result as float64 NumPy; None and tuples pass through."""
    if a is None or isinstance(a, (tuple, list)):
        return a if a is None else tuple([host(x) for x in a])
    a = a._data if isinstance(a, Tensor) else a
    a = backends.BY_TYPE[type(a)].to_host(a)
    a = np.asarray(a)
    wide = backends.fitting(np.dtype("float64"), a.dtype)
    return a.astype(wide) if backends.is_floating(a.dtype) else a


def close(actual, expected, dtype, n, name=""):
    """Equal up to the tolerance of the dtype, relative to the magnitude of the values."""
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            close(a, e, dtype, n, name)
        return
    if expected is None:
        assert actual is None
        return
    actual, expected = host(actual), np.asarray(expected)
    assert actual.shape == expected.shape, name
    if actual.dtype.kind in "biu":
        np.testing.assert_array_equal(actual, expected)
        return
    rtol, atol = tolerance(dtype, n)
    size = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol * size, err_msg=name)


def length(args):
    """An upper bound of the number of terms summed in a result."""
    return max([a.size for a in args if isinstance(a, np.ndarray)], default=1)


def magnitude(op, args):
    """By how much more than the results what cancels in them is, where that is no sum of n."""
    if op.name.endswith("norm_grad"):  # 1 / sqrt(var + eps), of a group of one number
        return max(1.0, np.abs(args[-1]).max(initial=1.0))
    return 1.0


def rounded(args, dtype):
    """The arguments rounded to the dtype, in float64: the inputs of an exact op."""
    return [
        a.astype(backends.dtype_of(dtype)).astype(np.float64) if floating(a) else a for a in args
    ]


def each(ops):
    """A test of an op and a sample as one test for each op, which goes through its samples."""

    def decorate(test):
        def run(op, **given):
            done, skipped = 0, None
            for i, sample in enumerate((op.samples or list)()):
                try:
                    test(op, sample, **given)
                    done += 1
                except pytest.skip.Exception as reason:
                    skipped = reason
                except BaseException as error:
                    error.add_note(f"sample {i} of {op.name}, {sample.params}")
                    raise
            if skipped is not None and not done:
                raise skipped

        names = [p for n, p in inspect.signature(test).parameters.items() if n != "sample"]
        run.__signature__ = inspect.Signature(names)
        run.__name__ = test.__name__
        return pytest.mark.parametrize("op", ops, ids=lambda op: op.name)(run)

    return decorate


def test_every_op_has_samples_and_an_oracle():
    for op in OPS.values():
        assert op.samples, f"op {op.name} has no samples: it would not be tested"
        assert op.samples(), f"op {op.name} has an empty list of samples"
        assert op.name in (WRITES if op.inplace else ORACLES), f"no oracle for {op.name}"
        assert op.__doc__, f"op {op.name} has no docstring"


@each(PURE)
def test_value(op, sample, backend):
    expected = ORACLES[op.name](*sample.args, **sample.params)
    for dtype in DTYPES if backend == "numpy" else ("float64", "float32"):
        if op.name in FIXED_DTYPE and dtype != "float64":
            continue
        exact = rounded(sample.args, dtype)
        if dtype != "float64":
            expected = ORACLES[op.name](*exact, **sample.params)
        args = place(sample.args, dtype, backend)
        before = [host(a) if not np.isscalar(a) else a for a in args if a is not None]
        y = op(*args, **sample.params)
        loosest = "float32" if op.name in FIXED_DTYPE else dtype
        n = length(sample.args) * magnitude(op, sample.args) ** 2
        both = gauged(op.name, host(y)), gauged(op.name, expected)
        close(*both, loosest, n, f"{op.name} {dtype}")
        after = [host(a) if not np.isscalar(a) else a for a in args if a is not None]
        for b, a in zip(before, after, strict=True):
            np.testing.assert_array_equal(b, a, err_msg=f"{op.name} wrote into an input")


@each(WRITING)
def test_written_values(op, sample, backend):
    for dtype in ("float64", "float32"):
        names = op.names(len(sample.args))[: len(sample.args)]
        dtypes = ["float64" if name in VECTORS else dtype for name in names]
        pairs = list(zip(sample.args, dtypes, strict=True))
        args = [place([a], kept, backend)[0] for a, kept in pairs]
        exact = [rounded([a], kept)[0] for a, kept in pairs]
        expected, value = WRITES[op.name](*exact, **sample.params)
        result = op(*args, **sample.params)
        close(result, value, dtype, 1)
        for name, given, start, wanted in zip(names, args, exact, expected, strict=True):
            close(given, wanted, dtype, 1, f"{op.name} {name} {dtype}")
            assert name in op.inplace or np.array_equal(host(given), start)


@each(PURE)
def test_dtype_is_kept(op, sample):
    for dtype in DTYPES:
        if op.name in FIXED_DTYPE | {"random_bits", "sum_of_squares"}:
            continue
        args = place(sample.args, dtype)
        y = op(*args, **sample.params)
        for part in y if isinstance(y, tuple) else (y,):
            if part is None or np.asarray(part).dtype.kind in "biu":
                continue
            stats = dtype in ("float16", "bfloat16") and {"rstd", "lse"} & {*op.outputs}
            if not (stats and part is not y[0]):
                wanted = backends.fitting(backends.dtype_of(dtype), part.dtype)
                assert part.dtype == wanted, (op.name, dtype)


def closure(op, sample, backend="numpy"):
    """The op as a function of its floating arrays, and those arrays."""
    args = place(sample.args, "float64", backend)
    moving = [i for i, a in enumerate(sample.args) if floating(a)]

    def f(*xs):
        full = list(args)
        for i, x in zip(moving, xs, strict=True):
            full[i] = (x + x.mT) / 2 if op.name in SYMMETRIC else x
        return op(*full, **sample.params)

    return f, [args[i] for i in moving]


def held_against_differences(op, sample, backend):
    """First and second order by random projection."""
    if op.name == "sum_to" and sample.params["dtype"] != np.float64:
        pytest.skip("a cast to float32 is not exact enough for differences")
    if op.family == "incomplete" and backend != "numpy":
        pytest.skip("array language alone, in long loops")
    f, xs = closure(op, sample, backend)
    gradcheck(f, xs, order=2 if sample.args[0] is not None else 1)


@slow_on_cudasim
@each([op for op in SMOOTH if op.name != "cast"])
def test_gradients(op, sample, backend):
    """Of references on a CPU, through kernels on a GPU."""
    with tg.use_kernels("reference" if backend == "numpy" else "auto"):
        held_against_differences(op, sample, backend)


@pytest.mark.host
@pytest.mark.slow  # compiles kernels in float64, beside those of float32
@each([op for op in SMOOTH if op.name != "cast"])
def test_gradients_through_kernels(op, sample):
    if op.family == "incomplete":
        pytest.skip("it has none")
    with tg.use_kernels("always"):
        held_against_differences(op, sample, "numpy")


@each(SMOOTH)
def test_raw_and_recorded_gradients_agree(op, sample):
    f, xs = closure(op, sample)
    ys = []
    for create_graph in (False, True):
        leaves = [tg.tensor(x, requires_grad=True) for x in xs]
        y = f(*leaves)
        parts = [p for p in (y if isinstance(y, tuple) else (y,)) if p is not None]
        total = sum([(p * (1.0 + i)).sum().real for i, p in enumerate(parts) if p.requires_grad])
        total.backward(create_graph=create_graph)
        ys.append([None if t.grad is None else t.grad.numpy() for t in leaves])
    for raw, recorded in zip(*ys, strict=True):
        if raw is not None:
            np.testing.assert_allclose(raw, recorded, rtol=1e-12, atol=1e-12)


@of_each("dtype", ["float32", "float16", "bfloat16"])
@each(SMOOTH)
def test_gradient_has_dtype_and_shape_of_its_input(op, sample, dtype):
    if op.name in FIXED_DTYPE:
        pytest.skip("its dtype is a parameter")
    args = [
        tg.tensor(a, requires_grad=True) if floating(a) else a for a in place(sample.args, dtype)
    ]
    y = op(*args, **sample.params)
    parts = [p for p in (y if isinstance(y, tuple) else (y,)) if p is not None]
    if not (tracked := [p for p in parts if p.requires_grad]):
        pytest.skip("nothing tracked")
    sum([p.real.astype("float32").sum() for p in tracked]).backward()
    seen = set()
    for t in args:
        if isinstance(t, Tensor) and t.grad is not None:
            g = t.grad.data
            assert g.dtype == t.dtype
            assert g.shape == t.shape
            assert g.flags.c_contiguous
            assert g.base is None, "a gradient is a view of someone else's memory"
            assert g.flags.writeable
            assert id(g) not in seen, "two leaves share one gradient buffer"
            seen.add(id(g))


def strided(a, how):
    """The same elements in memory that is not contiguous."""
    if not isinstance(a, np.ndarray) or a.ndim == 0:
        return a
    if how == "step":
        wide = np.zeros((*a.shape[:-1], a.shape[-1] * 2), a.dtype)
        wide[..., ::2] = a
        return wide[..., ::2]
    if how == "reversed":
        return a[..., ::-1].copy()[..., ::-1]
    return np.asfortranarray(a)


@of_each("how", ["step", "reversed", "fortran"])
@each(PURE)
def test_strides_do_not_matter(op, sample, how):
    args = place(sample.args, "float32")
    plain = op(*args, **sample.params)
    with tg.use_kernels("always"):
        other = op(*[strided(a, how) for a in args], **sample.params)
    close(other, host(plain), "float32", length(sample.args), op.name)


@pytest.mark.parametrize("op", [o for o in OPS.values() if o.extreme], ids=lambda o: o.name)
def test_extreme_inputs_stay_finite(op, backend):
    for sample in op.extreme():
        for dtype in ("float64", "float32"):
            args = place(sample.args, dtype, backend)
            leaves = [tg.asarray(a) for a in args]
            for t in leaves:
                if backends.is_floating(t.dtype):
                    t.requires_grad = True
            y = op(*leaves, **sample.params)
            assert np.isfinite(host(y)).all(), f"{op.name} {dtype}"
            y.sum().backward()
            for t in leaves:
                if t.grad is not None:
                    assert np.isfinite(host(t.grad)).all(), f"gradient of {op.name} {dtype}"


BINARY = [o for o in OPS.values() if o.inputs == ("a", "b") and o.differentiable]


@pytest.mark.parametrize("op", BINARY, ids=lambda o: o.name)
def test_same_tensor_twice(op):
    x = np.random.default_rng(0).uniform(0.5, 2, (3, 3))
    if op.name in ("maximum", "minimum"):  # a tie everywhere: the gradient is shared
        t = tg.tensor(x, requires_grad=True)
        op(t, t).sum().backward()
        np.testing.assert_array_equal(t.grad.numpy(), np.ones((3, 3)))
    else:
        gradcheck(lambda t: op(t, t), [x], order=2)


UNARY = [
    o
    for o in OPS.values()
    if o.inputs == ("x",) and o.differentiable and o.kind == "map" and not o.inplace
]


@pytest.mark.parametrize("op", UNARY, ids=lambda o: o.name)
def test_third_derivative_of_a_number(op, backend):
    """0-d arrays must stay arrays: with NumPy's scalars third derivatives went wrong."""
    x, step = 1.731 if op.name == "arccosh" else 0.731, 1e-5
    point = lambda v: tg.tensor(np.array(v), backend=backend)  # noqa: E731
    second = tg.grad(tg.grad(op))
    numeric = (second(point(x + step)).item() - second(point(x - step)).item()) / (2 * step)
    assert tg.grad(second)(point(x)).item() == pytest.approx(numeric, rel=1e-6, abs=1e-6)


SCALAR = [o for o in OPS.values() if o.scalar]
_MATH = {n: getattr(np, n) for n in "exp log sqrt tanh sin cos where maximum minimum".split()}
_MATH |= {n: getattr(np, n) for n in "abs power expm1 log1p tan sinh cosh exp2 log2 log10".split()}
_MATH |= {n: getattr(np, n) for n in "arcsin arccos arctan arcsinh arccosh arctanh".split()}
_MATH |= {n: getattr(np, n) for n in "arctan2 cbrt hypot copysign nextafter fmod".split()}
_MATH |= {n: getattr(special, n) for n in "erf erfc erfcx erfinv ndtri log_ndtr digamma".split()}
_MATH |= {n: getattr(special, n) for n in "polygamma zeta i0 i0e i1 i1e j0 j1 y0 y1 k0 k1".split()}
_MATH["lgamma"] = special.gammaln


@pytest.mark.parametrize("op", SCALAR, ids=lambda o: o.name)
def test_scalar_formula_is_the_op(op):
    """The formula of one element, which fusion uses, agrees with the reference."""
    for sample in op.samples():
        names = dict(zip(op.inputs, sample.args, strict=False))
        params = {**{k: v for k, v in op.params.items() if v is not ...}, **sample.params}
        value = eval(op.scalar, {"__builtins__": {}}, {**_MATH, **params, **names})
        close(op(*sample.args, **sample.params), np.asarray(value), "float64", 1, op.name)


def test_views_of_inputs_do_not_leak_into_gradients():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    y = x.reshape(3, 2)
    assert np.shares_memory(y.numpy(), x.numpy())
    y.sum().backward()
    x.grad.data[...] = 7  # would fail on the read-only view that sum's rule returns
    assert isinstance(x.node, Leaf)


def test_integers_are_never_tracked():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert not x.astype("int64").requires_grad
    assert not (x > 1).requires_grad
    assert not x.argmax().requires_grad
    with pytest.raises(tg.DTypeError, match="int64"):
        tg.tensor([1, 2], requires_grad=True)


def test_gradients_of_calls_at_the_edge():
    def leaf(*shape):
        return tg.tensor(np.ones(shape), requires_grad=True)

    for a, b in (((5, 2, 0), (0, 4)), ((5, 2, 3), (3, 0)), ((0, 2, 3), (3, 4))):
        for call in (tg.matmul, tg.dense, lambda x, w: tg.dense(x, w, activation="gelu")):
            x, w = leaf(*a), leaf(*b)
            call(x, w).sum().backward()
            assert x.grad.shape == a
            assert w.grad.shape == b
    x = leaf(2, 3)
    tg.split(x, [0], axis=1)[0].sum().backward()  # an empty part used, a full one not
    assert x.grad.tolist() == [[0.0] * 3] * 2
    x = leaf(1)
    x.var(ddof=1).backward()  # no degree of freedom: NaN forward and backward
    assert np.isnan(x.grad.numpy()).all()
    for call in (
        lambda: tg.pad(leaf(2, 3), (1, 2, 3)),
        lambda: tg.pad(leaf(2, 3), ((1, 1),) * 3),
        lambda: tg.concat([leaf(2), leaf(2)], axis=1),
        lambda: tg.split(leaf(5), [3, 1]),
    ):
        with pytest.raises(tg.TensorgradError, match=r"pad|concat|split"):
            call()


@pytest.mark.parametrize("f", [tg.mean, lambda x: tg.mean_squared_error(x, x.detach() - 0.5)])
def test_scaled_losses_of_halves_keep_their_small_gradients(f):
    n = 1_000_000  # 1 / n has few digits as a half, 65504 / n has all
    x = tg.tensor(np.ones(n), dtype="float16", requires_grad=True)
    (f(x) * 32768.0).backward()
    assert x.grad.numpy()[0] == pytest.approx(32768.0 / n, rel=1e-3)
