"""einsum beside NumPy's over equations at random, the plans that it makes, and its errors."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import tensorgrad as tg
from tensorgrad.core import OPS
from tensorgrad.dispatch import watched

pytestmark = pytest.mark.host


@st.composite
def equations(draw):
    """(subscripts, shapes): repeated letters, ellipses, axes of length 0 and 1, any output."""
    size = {label: draw(st.integers(0, 3)) for label in "aBcdE"}
    dots = draw(st.lists(st.integers(1, 3), max_size=2))
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 4))):
        names = draw(st.lists(st.sampled_from("aBcdE"), max_size=4))
        alone = [names.count(label) == 1 and draw(st.booleans()) for label in names]
        shape = [1 if one else size[x] for x, one in zip(names, alone, strict=True)]
        if dots:
            place, kept = draw(st.integers(0, len(names))), draw(st.integers(0, len(dots)))
            shape[place:place] = [draw(st.sampled_from([1, n])) for n in dots[len(dots) - kept :]]
            names.insert(place, "...")
        terms.append("".join(names))
        shapes.append(tuple(shape))
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        present = sorted({x for x in subscripts if x.isalpha()})
        output = draw(st.permutations(present))[: draw(st.integers(0, 3))]
        output.insert(draw(st.integers(0, len(output))), "..." if dots else "")
        subscripts += "->" + "".join(output)
    return subscripts, shapes


@settings(max_examples=150, deadline=None, derandomize=True)
@given(equations(), st.sampled_from([True, False, "optimal"]))
def test_einsum_is_numpys(equation, optimize):
    subscripts, shapes = equation
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=shape) for shape in shapes]
    want = np.einsum(subscripts, *xs)
    leaves = [tg.tensor(x, requires_grad=True) for x in xs]
    y = tg.einsum(subscripts, *leaves, optimize=optimize)
    assert y.shape == want.shape, equation
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-10, atol=1e-10, err_msg=str(equation))
    w = rng.normal(size=want.shape)
    (y * w).sum().backward()
    total = float((want * w).sum())
    for x, leaf in zip(xs, leaves, strict=True):  # an einsum is linear in each operand
        assert np.sum(x * leaf.grad.numpy()) == pytest.approx(total, rel=1e-8, abs=1e-8), equation


@pytest.mark.parametrize(
    ("subscripts", "shapes", "ops"),
    [
        ("ij,jk->ik", [(4, 5), (5, 6)], ["matmul"]),
        ("ij,jk->ki", [(4, 5), (5, 6)], ["transpose", "transpose", "matmul"]),
        ("bij,jk->bik", [(2, 4, 5), (5, 6)], ["matmul"]),
        ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)], ["transpose", "matmul"]),
        ("ijk,jkl->il", [(2, 3, 4), (3, 4, 5)], ["reshape", "reshape", "matmul"]),
        ("i,i", [(3,), (3,)], ["matmul"]),
        ("i,j->ij", [(3,), (4,)], ["reshape", "multiply"]),
        ("ii->", [(3, 3)], ["moveaxis", "reshape", "getitem", "sum"]),
        ("ab,bc,c->a", [(40, 50), (50, 60), (60,)], ["matmul", "matmul"]),
    ],
)
def test_the_ops_of_an_equation(subscripts, shapes, ops):
    """Each is one product of matrices, with views around it and no more of those than needed."""
    seen = []

    def watcher(op, run):
        def noted(*arrays, **params):
            seen.append(op.name)
            return run(*arrays, **params)

        return noted

    with watched(watcher):
        tg.einsum(subscripts, *[tg.ones(s) for s in shapes])
    assert [name for name in seen if name in OPS] == ops


def test_operands_of_one_dtype_law():
    x = tg.ones((2, 3))
    for other in (np.ones(3), [1, 1, 1], np.float64(1.0), 1):
        label = "j" if np.ndim(other) else ""
        y = tg.einsum(f"ij,{label}->i", x, other)
        assert (y.dtype, y.tolist()) == (np.float32, [3.0, 3.0])
    assert np.einsum("ij->j", x).tolist() == [2.0] * 3  # by NumPy's protocol
    half = tg.full((1, 4096), 1.0, dtype="float16")
    assert tg.einsum("ij,kj->ik", half, half).item() == 4096  # summed in float32
    raw = np.ones(3, "float32")
    w = tg.tensor(np.ones((2, 3), "float32"), requires_grad=True)
    y = tg.einsum("ij,j->i", w, raw)
    raw[:] = 7  # the caller's memory
    y.sum().backward()
    assert w.grad.tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (("ij,jk", "x", "x"), tg.ShapeError, r"einsum.*\(2, 3\), \(2, 3\): 'j' has the lengths 3"),
        (("ii", [[1.0, 2.0]]), tg.ShapeError, r"\(1, 2\): 'i' has the lengths 1 and 2"),
        (("ij->ik", "x"), tg.ArgumentError, "'k', which no operand has"),
        (("ij->ii", "x"), tg.ArgumentError, "'i' twice"),
        (("i->i", "x"), tg.ArgumentError, "1 labels for an operand of 2 axes"),
        (("...i->i", "x"), tg.ArgumentError, "no `...`"),
        (("i1", "x"), tg.ArgumentError, "'1'"),
        (("ij,jk", "x"), tg.ArgumentError, "2 terms for 1 operands"),
        (("ij",), tg.ArgumentError, "no operands"),
        (("x", 3), tg.ArgumentError, "no list of numbers"),
        ((), tg.ArgumentError, "give subscripts"),
    ],
)
def test_what_is_wrong_with_a_call(call, kind, says):
    args = [tg.ones((2, 3)) if isinstance(a, str) and a == "x" else a for a in call]
    with pytest.raises(kind, match=says):
        tg.einsum(*args)


def test_wrong_orders_and_axes():
    x = tg.ones((2, 2))
    for order, says in (([(0, 3), (0, 1)], "no places"), ([(0, 1)], "leaves 2"), ([(0,)], "(0,)")):
        with pytest.raises(tg.ShapeError, match=says):
            tg.einsum("ij,jk,kl", x, x, x, optimize=order)
    with pytest.raises(tg.ShapeError, match=r"tensordot.*\(2, 2\).*same length"):
        tg.tensordot(x, tg.ones((1, 2)), 1)
    with pytest.raises(tg.ArgumentError, match="defined for three"):
        tg.cross(x, x)
    with pytest.raises(tg.ShapeError, match="two axes"):
        tg.matrix_transpose([1.0])
