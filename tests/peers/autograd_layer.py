"""HIPS autograd's names on tensorgrad, for its public tests: a pytest plugin that puts modules
called `autograd` in their place before a test imports them.

Its functions of arrays are NumPy's own: on tensors they come back here by NumPy's protocols. Its
gradients of complex numbers are the conjugates of ours.
"""

import builtins
import importlib
import sys
from functools import partial
from types import ModuleType

import numpy as np

import tensorgrad as tg
from tensorgrad.testing import draw, gradcheck
from tensorgrad.trees import leaves, refill

# --- values: numbers and arrays outside, tensors within a derivative ------------------------------


def mapped(f, tree):
    return refill(tree, iter([f(leaf) for leaf in leaves(tree)]))


def lifted(tree):
    """Numbers as arrays in double precision, so that lists of them are trees."""

    def lift(x):
        if isinstance(x, tg.Tensor):
            return x
        x = np.asarray(x)
        return x.astype(float) if x.dtype.kind in "biu" else x

    return mapped(lift, tree)


def lowered(tree):
    """Tensors that are off the tape as arrays and NumPy's numbers."""
    return mapped(lambda t: t.numpy()[()] if is_tensor(t) and t.node is None else t, tree)


def conjugated(tree):
    return mapped(lambda t: t.conj() if hasattr(t, "dtype") and t.dtype.kind == "c" else t, tree)


def is_tensor(x):
    return isinstance(x, tg.Tensor)


def as_tensors(f):
    """f, which gives tensors even where it returns constants."""
    return lambda *xs: mapped(tg.asarray, f(*xs))


# --- operators ------------------------------------------------------------------------------------


def operator(make):
    """From a function of (f, x) one of (f, argnum) which gives a function of all arguments."""

    def of(fun, argnum=0, *options, **keywords):
        def derivative(*args, **kwargs):
            one = isinstance(argnum, int)

            def f(x):
                full = [*args]
                for i, part in [(argnum, x)] if one else zip(argnum, x, strict=True):
                    full[i] = part
                return fun(*full, **kwargs)

            x = args[argnum] if one else tuple(args[i] for i in argnum)
            return make(f, x, *options, **keywords)

        return derivative

    return of


def _vjp(f, x):
    y, pull = tg.vjp(as_tensors(f), lifted(x))
    return lambda g: lowered(conjugated(pull(conjugated(g))[0])), lowered(y)


def _jvp(f, x):
    y, push = tg.linearize(as_tensors(f), lifted(x))
    return lambda t: (lowered(y), lowered(push(lifted(t))))


def _value_and_grad(f, x):
    value, g = tg.value_and_grad(as_tensors(f))(lifted(x))
    return lowered(value), lowered(conjugated(g))


def _jacobian(f, x):
    return lowered(tg.jacobian(as_tensors(f))(lifted(x)))


def _grad_and_aux(f, x):
    g, aux = tg.grad(f, has_aux=True)(lifted(x))
    return lowered(g), lowered(aux)


def _ones(x):
    return mapped(tg.ones_like, lifted(x))


def _elementwise_grad(f, x):
    pull, y = _vjp(f, x)
    return pull(_ones(y))


make_vjp, make_jvp = operator(_vjp), operator(_jvp)
value_and_grad, jacobian = operator(_value_and_grad), operator(_jacobian)
grad = operator(lambda f, x: _value_and_grad(f, x)[1])
grad_and_aux = operator(_grad_and_aux)
elementwise_grad = operator(_elementwise_grad)
deriv = operator(lambda f, x: _jvp(f, x)(_ones(x))[1])
holomorphic_grad = operator(lambda f, x: grad(lambda x: tg.real(f(x)))(x))
hessian = operator(lambda f, x: jacobian(jacobian(f))(x))
make_hvp = operator(lambda f, x: _vjp(grad(f), x))


def hessian_tensor_product(f, argnum=0):
    return lambda x, v: lowered(tg.hvp(f, [x], [v])[0])


def tensor_jacobian_product(f, argnum=0):
    return lambda x, v: jacobian(lambda x: np.tensordot(v, f(x), np.ndim(v)))(x)


def make_ggnvp(f, g=lambda x: (x * x).sum() / 2, f_argnum=0):
    def at(x):
        y, push = tg.linearize(f, x)
        return lambda v: lowered(tg.vjp(f, x)[1](tg.hvp(g, [y], [push(v)])[0])[0])

    return at


def checkpoint(f):
    return partial(tg.checkpoint, f)


# --- own rules ------------------------------------------------------------------------------------


class primitive:
    """A function of arrays with rules of its own: `defvjp`."""

    def __init__(self, f):
        self.f, self.__name__, self.rules = f, f.__name__, {}

    def __call__(self, *args, **kwargs):
        made = self

        class Primitive(tg.Function):
            def forward(ctx, *arrays):
                y = np.asarray(made.f(*arrays, **kwargs))
                ctx.save(y, *arrays)
                return y

            def backward(ctx, g):
                y, *xs = ctx.saved
                rules = [made.rules.get(i) for i in range(len(xs))]
                return tuple(None if r is None else r(y, *xs, **kwargs)(g) for r in rules)

        if any(map(is_tensor, args)):
            return Primitive.apply(*args)
        return self.f(*args, **kwargs)


def defvjp(function, *rules, argnums=None):
    function.rules |= dict(zip(argnums or range(len(rules)), rules, strict=False))


# --- checks ---------------------------------------------------------------------------------------


def _check(f, x, modes=("fwd", "rev"), order=2):
    """The gradients of f at x against differences, and its values against those on plain arrays."""
    x = lifted(x)
    points = leaves(x)

    def flat(*xs):
        return [tg.asarray(y) for y in leaves(f(refill(x, iter(xs))))]

    tensors = [tg.asarray(p) for p in points]
    for ours, theirs in zip(flat(*tensors), leaves(f(x)), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-9, atol=1e-9)
    if not points:
        return
    if "rev" in modes:
        gradcheck(flat, points, order=order, atol=1e-6)
    if "fwd" in modes:
        turns = [1j if p.dtype.kind == "c" else 0.0 for p in points]
        tangents = [
            draw(p.shape) + turn * draw(p.shape, seed=1)
            for p, turn in zip(points, turns, strict=True)
        ]
        push = tg.linearize(flat, *points)[1]
        ahead, behind = (
            flat(*[p + s * t for p, t in zip(points, tangents, strict=True)]) for s in (1e-6, -1e-6)
        )
        for t, a, b in zip(push(*tangents), ahead, behind, strict=True):
            np.testing.assert_allclose(
                t.numpy(), (a - b).numpy() / 2e-6, rtol=1e-6, atol=1e-6, err_msg="jvp"
            )
        if order > 1:
            gradcheck(lambda *xs: tg.linearize(flat, *xs)[1](*tangents), points, atol=1e-6)


check_grads = operator(_check)


def combo_check(fun, *args, **options):
    from itertools import product

    def check(*given, **keywords):
        choices = [[(word, v) for v in values] for word, values in keywords.items()]
        for xs in product(*given):
            for words in product(*choices):
                check_grads(fun, *args, **options)(*xs, **dict(words))

    return check


def check_equivalent(x, y):
    xs, ys = leaves(lowered(x)), leaves(lowered(y))
    assert len(xs) == len(ys)
    for a, b in zip(xs, ys, strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def scalar_close(a, b):
    return abs(a - b) < 1e-6 or abs(a - b) / abs(a + b) < 1e-6


# --- containers, and what a box is ----------------------------------------------------------------


def isinstance_(x, kind):
    kinds = kind if type(kind) is tuple else (kind,)
    if is_tensor(x):
        return np.ndarray in kinds or (x.ndim == 0 and float in kinds)
    return builtins.isinstance(x, kind)


def flatten(tree):
    """All numbers of a tree in one array, and the way back; dicts by their sorted keys."""

    def in_order(tree):
        if type(tree) is dict:
            return {k: in_order(tree[k]) for k in sorted(tree)}
        return type(tree)(map(in_order, tree)) if type(tree) in (list, tuple) else tree

    tree = in_order(tree)
    parts = leaves(tree)
    shapes = [np.shape(p) for p in parts]

    def unflatten(flat):
        cut = np.cumsum([int(np.prod(s)) for s in shapes])[:-1]
        split = [p.reshape(s) for p, s in zip(NUMPY.split(flat, cut), shapes, strict=True)]
        return refill(tree, iter([p[()] for p in split]))

    return NUMPY.concatenate([NUMPY.ravel(p) for p in parts]), unflatten


# --- modules --------------------------------------------------------------------------------------

ASIDE = {  # NumPy's functions that no protocol brings here
    "array": lambda x, *a, **k: tg.asarray(x),
    "asarray": lambda x, *a, **k: tg.asarray(x),
    "shape": lambda x: x.shape if is_tensor(x) else np.shape(tg.asarray(x).numpy()),
    "isscalar": lambda x: False,
}
OF_SEQUENCES = set("concatenate stack vstack row_stack hstack dstack column_stack select".split())
OURS = {
    "logsumexp",
    "multigammaln",
    "polygamma",
    "solve_triangular",
}  # SciPy's functions, no ufuncs


def through(name, f):
    """NumPy's function, but for lists that hold tensors, which it does not look into."""

    def call(*args, **kwargs):
        given = leaves([args, list(kwargs.values())])
        if not any(map(is_tensor, given)):
            return f(*args, **kwargs)
        if name in ASIDE:
            return ASIDE[name](*args, **kwargs)
        if name in OURS:
            return getattr(tg.linalg if hasattr(tg.linalg, name) else tg, name)(*args, **kwargs)
        if name not in OF_SEQUENCES:
            args = [
                tg.asarray(a) if type(a) in (list, tuple) and any(map(is_tensor, leaves(a))) else a
                for a in args
            ]
        return f(*args, **kwargs)

    call.__name__ = name
    return call


class Namespace(ModuleType):
    """A module of NumPy's or SciPy's, whose functions take tensors, too."""

    def __init__(self, name, source):
        super().__init__(name)
        self.__path__, self._source = [], source

    def __getattr__(self, name):
        thing = getattr(self._source, name)
        wrap = callable(thing) and not isinstance(thing, type)
        return through(name, thing) if wrap and not isinstance(thing, ModuleType) else thing


def module(name, names=()):
    made = ModuleType(name)
    made.__path__ = []
    vars(made).update({n.rstrip("_"): globals()[n] for n in names})
    return made


OPERATORS = """checkpoint deriv elementwise_grad grad grad_and_aux hessian hessian_tensor_product
holomorphic_grad jacobian make_ggnvp make_hvp make_jvp make_vjp tensor_jacobian_product
value_and_grad""".split()
NUMPY = Namespace("autograd.numpy", np)
MODULES = {
    "autograd": module("autograd", OPERATORS),
    "autograd.differential_operators": module("autograd.differential_operators", OPERATORS),
    "autograd.builtins": module("autograd.builtins", ["isinstance_"]),
    "autograd.core": module("autograd.core", ["primitive", "make_vjp", "make_jvp"]),
    "autograd.extend": module("autograd.extend", ["primitive", "defvjp"]),
    "autograd.misc": module("autograd.misc", ["flatten"]),
    "autograd.test_util": module(
        "autograd.test_util", ["check_grads", "combo_check", "check_equivalent", "scalar_close"]
    ),
    "autograd.tracer": module("autograd.tracer", ["primitive", "is_tensor"]),
    "autograd.util": module("autograd.util"),
    "autograd.wrap_util": module("autograd.wrap_util", ["operator"]),
    "autograd.numpy": NUMPY,
    "autograd.scipy": module("autograd.scipy"),
}
MODULES["autograd.tracer"].isbox = lambda x: is_tensor(x) and x.node is not None
MODULES["autograd.wrap_util"].unary_to_nary = operator
MODULES["autograd.core"].make_vjp = _vjp
MODULES["autograd.core"].vspace = MODULES["autograd.core"].primitive_vjps = None  # internals
MODULES["autograd.misc"].const_graph = None
for kind in (list, dict, tuple):
    setattr(MODULES["autograd.builtins"], kind.__name__, kind)
    setattr(MODULES["autograd"], kind.__name__, kind)
MODULES["autograd"].isinstance = isinstance_
for name in ("linalg", "fft", "random"):
    MODULES[f"autograd.numpy.{name}"] = Namespace(f"autograd.numpy.{name}", getattr(np, name))
NUMPY.make_diagonal = lambda x, offset=0, axis1=-1, axis2=-2: (
    tg.diag_embed(x, offset, axis2, axis1) if is_tensor(x) else tg.diag_embed(x).numpy()
)
MODULES["autograd.numpy.linalg"]._dot = np.matmul
MODULES["autograd.numpy.linalg"].T = lambda x: np.swapaxes(x, -1, -2)
for name in ("special", "stats", "integrate", "linalg", "signal"):
    source = importlib.import_module(f"scipy.{name}")
    MODULES[f"autograd.scipy.{name}"] = Namespace(f"autograd.scipy.{name}", source)
for name in "beta chi2 dirichlet gamma multivariate_normal norm poisson t".split():
    source = getattr(importlib.import_module("scipy.stats"), name)
    MODULES[f"autograd.scipy.stats.{name}"] = Namespace(f"autograd.scipy.stats.{name}", source)
for name, made in MODULES.items():
    sys.modules[name] = made
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(MODULES[parent], last, made)
