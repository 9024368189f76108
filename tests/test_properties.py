"""Properties that hold whatever the numbers: derivatives are linear, and forward mode is the
adjoint of reverse mode, for every op; einsum beside NumPy's, scattering beside a loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg

from .test_ops import SMOOTH, floating

pytestmark = pytest.mark.host
OWN = [op for op in SMOOTH if op.name not in ("cast", "sum_to")]
DRAWN = settings(max_examples=25, deadline=None, derandomize=True)


def like(arrays, seed):
    rng = np.random.default_rng(seed)
    return tuple([tg.asarray(rng.normal(size=a.shape)) for a in arrays])


def inner(us, vs):
    return sum(float((u * v).sum()) for u, v in zip(us, vs, strict=True))


@pytest.mark.parametrize("op", OWN, ids=lambda op: op.name)
def test_derivatives_are_linear_and_adjoint(op):
    sample = next(s for s in op.samples() if any(floating(a) and a.size for a in s.args))
    places = [i for i, a in enumerate(sample.args) if floating(a)]
    xs = [tg.asarray(sample.args[i]) for i in places]

    def f(*xs):
        args = list(sample.args)
        for i, x in zip(places, xs, strict=True):
            args[i] = x
        found = op(*args, **sample.params)
        found = found if isinstance(found, tuple) else (found,)
        ys = [y for y in found if y is not None]
        ys = [part for y in ys for part in ((y.real, y.imag) if y.dtype.kind == "c" else (y,))]
        return tuple([y for y in ys if y.dtype == np.float64])

    with tg.use_kernels("reference"):
        ys, pull = tg.vjp(f, *xs)
        u, w, v = like(ys, 0), like(ys, 1), like(xs, 2)
        a, b = pull(u), pull(w)
        both = pull(tuple([2 * p - 3 * q for p, q in zip(u, w, strict=True)]))
        scale = max([1.0, *[float(abs(g).max()) for g in (*a, *b) if g.size]])
        for g, p, q in zip(both, a, b, strict=True):
            np.testing.assert_allclose(g.numpy(), (2 * p - 3 * q).numpy(), atol=1e-11 * scale)
        push = tg.jvp(f, xs, v)[1]
        left, right = inner(u, push), inner(a, v)
        assert left == pytest.approx(right, rel=1e-9, abs=1e-10 * scale)


@DRAWN
@given(data=st.data())
def test_einsum_is_numpys(data):
    sizes = dict(zip("abcd", data.draw(st.tuples(*[st.integers(0, 3)] * 4)), strict=True))
    terms = data.draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=3))
    letters = sorted({*"".join(terms)})
    out = "".join(data.draw(st.permutations(letters))[: data.draw(st.integers(0, 4))])
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=[sizes[c] for c in term]) for term in terms]
    rule = ",".join(terms) + "->" + out
    found, expected = tg.einsum(rule, *arrays), np.einsum(rule, *arrays)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@DRAWN
@given(data=st.data())
def test_scatter_is_a_loop(data):
    n, m, axis = (
        data.draw(st.integers(1, 4)),
        data.draw(st.integers(0, 5)),
        data.draw(st.sampled_from([0, 1])),
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.normal(size=(n, 3) if axis == 0 else (3, n))
    index = rng.integers(0, n, (m, 3) if axis == 0 else (3, m))
    src, expected = rng.normal(size=index.shape), x.copy()
    for at in np.ndindex(*index.shape):
        place = list(at)
        place[axis] = index[at]
        expected[tuple(place)] += src[at]
    found = tg.scatter_reduce(x, axis, index, src, "sum")
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)
