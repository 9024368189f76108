"""In-place words under one rule. On a tensor off the tape, and on a leaf while nothing is recorded,
`x op= u` writes into x, and graphs recorded before keep their numbers. On a leaf while recording it
is an error with the remedy. A recorded tensor gives a new one. No in-place form changes a shape or
a dtype. (`x[i] = v`: test_assignment.py.)"""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

from .rows import of_each

pytestmark = pytest.mark.host

A = np.float32([[1.5, -2.0, 3.0], [0.5, 4.0, -1.0], [2.0, 1.0, 0.25]])
OPERATORS = "+= -= *= /= //= %= **= @=".split()
BITS = "&= |= ^= <<= >>= += -= *= //= %= **=".split()

OPERANDS = {
    "float": 0.5,
    "int": 2,
    "bool": True,
    "numpy scalar": np.float64(1.5),
    "array": np.float32([[2.0, 1.0, 0.5]] * 3),
    "array64": np.float64([[2.0, 1.0, 0.5]] * 3),
    "integer array": np.int64([[1, 2, 3]] * 3),
    "row": np.float32([0.5, 1.0, 2.0]),
    "list": [0.5, 1.0, 2.0],
    "Tensor": tg.tensor(np.float32([[2.0, 1.0, 0.5]] * 3)),
    "Tensor64": tg.tensor(np.float64([[2.0, 1.0, 0.5]] * 3)),
    "Tensor of a row": tg.tensor(np.float32([0.5, 1.0, 2.0])),
    "0-d Tensor": tg.tensor(1.5),
}


def operands(operator):
    """The names and values that an operator may have on its right."""
    square = ("array", "array64", "integer array", "Tensor", "Tensor64")
    return [(n, u) for n, u in OPERANDS.items() if operator != "@=" or n in square]


def array_of(u):
    return u.detach().numpy() if isinstance(u, tg.Tensor) else u


def after(operator, a, u):
    """What NumPy has after `a op= u`, computed wide and cast once."""
    names = {"a": a.astype(np.float64) if a.dtype.kind == "f" else a, "u": np.asarray(array_of(u))}
    return eval(f"a {operator[:-1]} u", names).astype(a.dtype)


def write(operator, x, u):
    """The value of x after `x op= u`."""
    names = {"x": x, "u": u}
    exec(f"x {operator} u", names)
    return names["x"]


WRITABLE = {
    "off the tape": (lambda: tg.tensor(A), tg.enable_grad),
    "off the tape, no_grad": (lambda: tg.tensor(A), tg.no_grad),
    "leaf, no_grad": (lambda: tg.tensor(A, requires_grad=True), tg.no_grad),
    "Parameter, no_grad": (lambda: nn.Parameter(A), tg.no_grad),
    "frozen Parameter": (lambda: frozen(nn.Parameter(A)), tg.enable_grad),
    "Buffer": (lambda: nn.Buffer(A), tg.enable_grad),
    "asarray of a list": (lambda: tg.asarray(A.tolist(), A.dtype), tg.enable_grad),
    "gradient": (lambda: gradient(), tg.enable_grad),
    "copy": (lambda: (tg.tensor(A, requires_grad=True) * 1.0).detach().copy(), tg.enable_grad),
}


def frozen(p):
    p.requires_grad = False
    return p


def gradient():
    w = tg.tensor(np.ones_like(A), requires_grad=True)
    (w * A).sum().backward()
    return w.grad


@of_each("state", WRITABLE)
@of_each("operator", OPERATORS)
def test_operators_write_into_the_same_tensor(state, operator):
    make, recording = WRITABLE[state]
    for operand, u in operands(operator):
        x = alias = make()
        facts, before = (type(x), x.requires_grad, x.shape, x.dtype), np.copy(array_of(u))
        with recording():
            x = write(operator, x, u)
        assert x is alias, operand
        assert (type(x), x.requires_grad, x.shape, x.dtype) == facts, operand
        np.testing.assert_allclose(x.numpy(), after(operator, A, u), rtol=2e-6, err_msg=operand)
        np.testing.assert_array_equal(array_of(u), before)


@of_each("state", [s for s in WRITABLE if s not in ("copy", "gradient")])
@of_each("operator", OPERATORS)
def test_graphs_recorded_before_a_write_keep_their_numbers(state, operator):
    """The gradient of what was computed then, or an error that it is out of date; never another."""
    make, recording = WRITABLE[state]
    x, u, w = make(), OPERANDS["array"], tg.tensor(np.ones_like(A), requires_grad=True)
    tracked = x.requires_grad
    loss = (x * x * w).sum()
    with recording():
        x = write(operator, x, u)
    try:
        loss.backward()
    except tg.GraphError as error:
        if not tracked or "updated" not in str(error):
            raise
        return
    np.testing.assert_allclose(w.grad.numpy(), A * A, rtol=1e-6)
    if tracked:
        np.testing.assert_allclose(x.grad.numpy(), 2 * A, rtol=1e-6)


@of_each("state", [s for s in WRITABLE if "no_grad" in s])
@of_each("operator", OPERATORS)
def test_graphs_recorded_after_a_write_see_it(state, operator):
    make, recording = WRITABLE[state]
    x, u = make(), OPERANDS["array"]
    with recording():
        x = write(operator, x, u)
    w = tg.tensor(np.ones_like(A), requires_grad=True)
    (x * x * w).sum().backward()
    new = after(operator, A, u)
    np.testing.assert_allclose(w.grad.numpy(), new * new, rtol=1e-5)
    if x.requires_grad:
        np.testing.assert_allclose(x.grad.numpy(), 2 * new, rtol=1e-5)


LEAVES = {"leaf": lambda: tg.tensor(A, requires_grad=True), "Parameter": lambda: nn.Parameter(A)}


@of_each("kind", LEAVES)
@of_each("operator", OPERATORS)
def test_a_leaf_is_not_written_while_recording(kind, operator):
    for _, u in operands(operator):
        x = LEAVES[kind]()
        loss = (x * x).sum()
        with pytest.raises(tg.GraphError, match="no_grad"):
            write(operator, x, u)
        np.testing.assert_array_equal(x.numpy(), A)
        loss.backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * A)


@of_each("no_grad", [False, True])
@of_each("operator", OPERATORS)
def test_a_recorded_tensor_gives_a_new_one(operator, no_grad):
    for operand, u in operands(operator):
        w = tg.tensor(A, requires_grad=True)
        x = kept = w * 1.0
        loss = (x * x).sum()
        with tg.no_grad() if no_grad else tg.enable_grad():
            x = write(operator, x, u)
        assert x is not kept, operand
        assert x.requires_grad is not no_grad
        assert (x.shape, x.dtype) == (kept.shape, kept.dtype), operand
        np.testing.assert_array_equal(kept.numpy(), A)
        np.testing.assert_allclose(x.numpy(), after(operator, A, u), rtol=2e-6, err_msg=operand)
        loss.backward()
        np.testing.assert_allclose(w.grad.numpy(), 2 * A)


@of_each("operator", OPERATORS)
def test_the_gradient_of_a_recorded_update_is_that_of_the_plain_words(operator):
    u = np.float64([[2.0, 1.0, 0.5]] * 3)
    a = np.abs(A).astype(np.float64)

    def inplace(x):
        x = x * 1.0
        return (write(operator, x, u) * A).sum()

    plain = eval(f"lambda x: (((x * 1.0) {operator[:-1]} u) * A).sum()", {"u": u, "A": A})
    got, want = tg.grad(inplace)(a), tg.grad(plain)(a)
    np.testing.assert_allclose(got.numpy(), want.numpy())
    assert np.any(got.numpy()) or operator == "//="


@of_each("operator", ["+=", "-=", "*="])
def test_a_total_that_begins_as_a_constant_does_not_lose_the_gradient(operator):
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    total = tg.ones(2)
    try:
        total = write(operator, total, w * 3.0)
    except tg.GraphError as error:
        assert "detach" in str(error)  # noqa: PT017
        assert total.tolist() == [1.0, 1.0]
        return
    total.sum().backward()
    assert w.grad.tolist() == [-3.0 if operator == "-=" else 3.0] * 2


@of_each("operator", BITS)
@of_each("u", [3, np.int64([1, 2, 3]), tg.tensor([1, 2, 3])])
def test_whole_numbers_are_written_too(operator, u):
    a = np.int64([[5, 6, 7], [1, 2, 3]])
    x = alias = tg.tensor(a)
    x = write(operator, x, u)
    assert x is alias
    assert x.dtype == np.int64
    np.testing.assert_array_equal(x.numpy(), after(operator, a, u))


WRONG = {
    "a larger shape": (A[0], "+=", A, tg.ShapeError),
    "another rank": (np.float32(1.0), "*=", A[0], tg.ShapeError),
    "an outer product": (A[:, :1], "-=", A[:1], tg.ShapeError),
    "a product of another width": (A, "@=", A[:, :2], tg.ShapeError),
    "shapes that do not fit": (A, "/=", A[:, :2], tg.ShapeError),
    "a half to whole numbers": (np.int64([1, 2]), "+=", 0.5, TypeError),
    "a quotient to whole numbers": (np.int64([1, 2]), "/=", 2, TypeError),
    "floats to truths": (np.array([True]), "+=", 0.5, TypeError),
    "text": (A, "+=", "x", TypeError),
    "none": (A, "-=", None, TypeError),
}


@of_each("state", ["off the tape", "leaf", "Parameter", "recorded"])
@of_each("name", WRONG)
def test_a_write_that_does_not_fit_is_an_error_and_leaves_all_as_it_was(name, state):
    a, operator, u, error = WRONG[name]
    x = tg.tensor(a)
    if a.dtype.kind == "f" and "Parameter" in state:
        x = nn.Parameter(a)
    elif a.dtype.kind == "f" and state != "off the tape":
        x.requires_grad = True
        x = x * 1.0 if state == "recorded" else x
    with tg.enable_grad() if state == "recorded" else tg.no_grad(), pytest.raises(error):
        write(operator, x, u)
    assert (x.shape, x.dtype) == (a.shape, a.dtype)
    np.testing.assert_array_equal(x.numpy(), a)


# --- views ----------------------------------------------------------------------------------------

VIEWS = {
    "row": lambda t: t[0],
    "slice": lambda t: t[1:],
    "column": lambda t: t[:, 0],
    "T": lambda t: t.T,
    "reshape": lambda t: t.reshape(-1),
    "detach": lambda t: t.detach(),
    "squeeze": lambda t: t[None].squeeze(0),
    "iteration": lambda t: next(iter(t)),
    "split": lambda t: tg.split(t, 3)[0],
    "flip": lambda t: np.flip(t, 0),
    "broadcast_to": lambda t: np.broadcast_to(t[:1], (3, 3)),
    "asarray": tg.asarray,
}


@of_each("how", ["+=", "*=", "[...] ="])
@of_each("view", VIEWS)
@of_each("kind", ["off the tape", "Parameter"])
def test_a_write_into_a_view_is_seen_or_refused(kind, view, how):
    """In NumPy and PyTorch the whole changes with its part. Here it does, or there is an error."""
    t = tg.tensor(A) if kind == "off the tape" else nn.Parameter(A)
    whole = A.copy()
    with tg.no_grad():
        v = VIEWS[view](t)
        if not np.shares_memory(v.numpy(), t.numpy()):
            return
        part = {"split": lambda a: a[:1], "asarray": lambda a: a, "detach": lambda a: a}
        part = part.get(view, lambda a: VIEWS[view](Part(a)))(whole)
        try:
            exec("v[...] = 7.0" if how == "[...] =" else f"v {how} 7.0", {"v": v})
        except tg.TensorgradError:
            np.testing.assert_array_equal(t.numpy(), A)
            return
    assert part.flags.writeable, "NumPy refuses to write there"
    part[...] = 7.0 if how == "[...] =" else part + 7 if how == "+=" else part * 7
    np.testing.assert_array_equal(t.numpy(), whole)


class Part(np.ndarray):
    """An array whose functions are found as a tensor's are."""

    def __new__(cls, a):
        return a.view(cls)


@of_each("key", [0, slice(1), (slice(None), 1), (0, 0)])
def test_an_operator_on_a_part_writes_or_is_refused(key):
    """`t[i] += 1` reads, adds and assigns: what comes of it is never nothing."""
    t, want = tg.tensor(A), A.copy()
    want[key] += 1.0
    try:
        t[key] += 1.0
    except tg.TensorgradError as error:
        assert "[" in str(error)  # noqa: PT017  (what to write instead)
        np.testing.assert_array_equal(t.numpy(), A)
    else:
        np.testing.assert_array_equal(t.numpy(), want)
