"""Gradients that are not there: zeros where mathematics says zero, one clear error or warning where
the program cannot have meant it. Never a plain number, a wrong shape or a silent None."""

import re
import warnings

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn

from . import loss_cases
from .rows import of_each

pytestmark = pytest.mark.host

A = np.array([-1.75, -0.25, 0.5, 2.25])

# --- zero by mathematics --------------------------------------------------------------------------

FLAT = {
    "sign": lambda x: tg.sign(x),
    "floor": lambda x: tg.floor(x),
    "ceil": lambda x: tg.ceil(x),
    "round": lambda x: tg.round(x),
    "x // 0.3": lambda x: x // 0.3,
    "3.0 // x": lambda x: 3.0 // x,
    "np.sign": lambda x: np.sign(x),
    "np.rint": lambda x: np.rint(x),
    "x.round()": lambda x: x.round(),
    "round to a digit": lambda x: tg.round(x * 1.0),
    "x * 0": lambda x: x * 0.0,
    "x ** 0": lambda x: x**0,
    "x - x": lambda x: x - x,
    "clip outside": lambda x: tg.clip(x, 5.0, 6.0),
    "max with more": lambda x: tg.maximum(x, 9.0),
    "where elsewhere": lambda x: tg.where(np.zeros(4, bool), x, 1.0),
    "x[:0]": lambda x: x[:0],
    "relu below": lambda x: tg.relu(x - 10.0),
}
PLAIN = {
    "a constant": lambda x: tg.tensor(3.0),
    "another tensor": lambda x: tg.tensor(A).sum(),
    "another leaf": lambda x: tg.tensor(A, requires_grad=True).sum(),
    "detach": lambda x: (x * x).detach().sum(),
    "zeros_like": lambda x: tg.zeros_like(x).sum(),
    "no_grad": lambda x: computed_under_no_grad(x),
    "a comparison": lambda x: tg.where(x > 0, 1.0, 2.0).sum(),
    "argmax": lambda x: x.argmax() * 1.0,
    "the shape": lambda x: tg.tensor(float(x.shape[0])),
}


def computed_under_no_grad(x):
    with tg.no_grad():
        return (x * x).sum()


@of_each("name", FLAT)
def test_a_flat_function_has_a_gradient_of_zeros(name):
    x = tg.tensor(A, requires_grad=True)
    y = FLAT[name](x)
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0.0] * 4
    x.grad = None
    (FLAT[name](x).sum() + (x * x).sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * A)


@of_each("name", [*FLAT, *PLAIN])
def test_derivatives_of_what_ignores_its_argument_are_zeros(name):
    f = FLAT.get(name) or PLAIN[name]
    total = lambda x: f(x).sum()  # noqa: E731
    assert tg.grad(total)(A).tolist() == [0.0] * 4
    value, g = tg.value_and_grad(total)(A)
    assert (value.shape, g.shape) == ((), (4,))
    _, pull = tg.vjp(total, A)
    assert pull(1.0)[0].tolist() == [0.0] * 4
    assert tg.jvp(total, [A], [np.ones(4)])[1].item() == 0.0
    assert not tg.jacobian(lambda x: tg.stack([total(x), x[0]]))(A)[0].numpy().any()
    assert not tg.hessian(total)(A).numpy().any()
    assert not tg.grad(lambda x: tg.grad(total)(x).sum())(A).numpy().any()


def test_an_argument_that_is_not_used_gets_zeros_of_its_shape_and_dtype():
    used, not_used = np.ones(2), {"w": np.float32([[1.0, 2.0]]), "b": [np.float64(3.0)]}
    g, zero = tg.grad(lambda a, b: (a * a).sum(), argnums=(0, 1))(used, not_used)
    assert g.tolist() == [2.0, 2.0]
    assert (zero["w"].tolist(), zero["w"].dtype) == ([[0.0, 0.0]], np.float32)
    assert zero["b"][0].item() == 0.0


def test_derivatives_beyond_the_last_are_zeros():
    f = lambda x: x * 3.0  # noqa: E731
    assert tg.grad(tg.grad(f))(2.0).item() == 0.0
    assert tg.grad(tg.grad(tg.grad(f)))(2.0).item() == 0.0
    assert tg.hessian(lambda x: x.sum())(A).tolist() == np.zeros((4, 4)).tolist()


# --- nothing to differentiate ---------------------------------------------------------------------


def leaf():
    return tg.tensor(A, requires_grad=True)


NOTHING = {
    "no leaf": lambda: tg.tensor(A).sum(),
    "no_grad": lambda: computed_under_no_grad(leaf()),
    "detach": lambda: leaf().detach().sum(),
    "detached prediction": lambda: losses.mean_squared_error((leaf() * 2.0).detach(), A),
    "a comparison": lambda: (leaf() > 0).sum(),
    "mean of truths": lambda: (leaf() > 0).mean(),
    "argmax": lambda: leaf().argmax(),
    "whole numbers": lambda: leaf().astype("int64").sum(),
    "frozen": lambda: frozen(nn.Linear(4, 1))(A.astype("float32")).sum(),
    "copy": lambda: leaf().copy().sum(),
    "tensor of numpy": lambda: tg.tensor(leaf().numpy()).sum(),
}


def frozen(layer):
    for p in layer.parameters():
        p.requires_grad = False
    return layer


@of_each("name", NOTHING)
def test_a_backward_through_nothing_is_an_error_that_says_why(name):
    with pytest.raises(tg.GraphError, match=r"requires_grad"):
        NOTHING[name]().backward()


def test_an_optimizer_without_gradients_or_with_results_says_so():
    w = nn.Parameter(A)
    with pytest.raises(tg.GraphError, match=r"backward\(\)"):
        tg.optim.SGD([w], lr=0.1).step()
    for wrong in (w * 1.0, tg.tensor(A), w.detach(), A):
        with pytest.raises(TypeError) as caught:
            tg.optim.SGD([wrong], lr=0.1)
        assert isinstance(caught.value, tg.TensorgradError)


def test_a_tape_names_what_was_not_watched():
    x, w = tg.tensor(A), leaf()
    with tg.GradientTape() as tape:
        y = (x * w).sum()
    with pytest.raises(tg.GraphError, match="watch"):
        tape.gradient(y, x)
    with tg.GradientTape() as tape:
        constant = tg.tensor(A).sum()
    with pytest.raises(tg.GraphError, match=r"requires_grad|watch"):
        tape.gradient(constant, w)


# --- .grad of what is no leaf ---------------------------------------------------------------------


def reads(f):
    """The warnings of a call, under Python's usual filter."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        f()
    return [w for w in caught if issubclass(w.category, UserWarning)]


@of_each("kind", ["result", "loss", "view", "cast"])
def test_the_gradient_of_a_result_is_warned_about_once_where_it_is_read(kind):
    w = leaf()
    y = {"result": w * 2.0, "loss": (w * w).sum(), "view": w[0], "cast": w.astype("float32")}[kind]
    y.sum().backward()

    def read():
        for _ in range(3):
            assert y.grad is None

    caught = reads(read)
    assert len(caught) == 1
    assert re.search(r"lea(f|ves)", str(caught[0].message))
    assert caught[0].filename == __file__


def test_nobody_else_is_warned():
    def program():
        w, plain = nn.Parameter(A), tg.tensor(A)
        assert w.grad is None
        assert plain.grad is None
        assert (plain * 2.0).grad is None
        (w * w).sum().backward()
        assert w.grad is not None
        optimizer = tg.optim.Adam([w], lr=0.1)
        optimizer.clip_grad_norm(1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert w.grad is None
        tg.grad(lambda x: (x * x).sum())(A)
        with tg.GradientTape() as tape:
            y = (w * w).sum()
        tape.gradient(y, w)
        model = nn.Sequential([nn.Dense(2, 4), nn.Dense(1)])
        model.compile("adam", "mse")
        model.fit(np.ones((4, 4), np.float32), np.arange(4.0).reshape(4, 1), verbose=0)
        repr(w * 2.0)
        with tg.no_grad():
            w -= 0.1

    assert reads(program) == []


# --- whole numbers --------------------------------------------------------------------------------

WHOLE = {
    "tensor": lambda a: tg.tensor(a, requires_grad=True),
    "requires_grad": lambda a: setattr(tg.tensor(a), "requires_grad", True),
    "Parameter": lambda a: nn.Parameter(a),
    "zeros": lambda a: tg.zeros((2,), dtype=a.dtype, requires_grad=True),
    "full": lambda a: tg.full((2,), 1, dtype=a.dtype, requires_grad=True),
    "watch": lambda a: tg.GradientTape().watch(tg.tensor(a)),
    "grad": lambda a: tg.grad(lambda x: (x * 2.0).sum())(a),
    "grad of a tree": lambda a: tg.grad(lambda d: (d["w"] * 2.0).sum())({"w": a}),
    "value_and_grad": lambda a: tg.value_and_grad(lambda x: (x * 2.0).sum())(a),
    "vjp": lambda a: tg.vjp(lambda x: x * 2.0, a),
    "jvp": lambda a: tg.jvp(lambda x: x * 2.0, [a], [a]),
    "jacobian": lambda a: tg.jacobian(lambda x: x * 2.0)(a),
    "hessian": lambda a: tg.hessian(lambda x: (x * x).sum())(a),
    "gradcheck": lambda a: tg.gradcheck(lambda x: (x * 2.0).sum(), [a]),
}


@of_each("dtype", ["int64", "uint8", "bool"])
@of_each("how", WHOLE)
def test_whole_numbers_have_no_gradient_and_that_is_an_error(how, dtype):
    with pytest.raises(tg.DTypeError, match=r"float|2\.0"):
        WHOLE[how](np.array([1, 0]).astype(dtype))


def test_a_python_whole_number_is_told_of_its_point():
    with pytest.raises(tg.DTypeError, match=r"2\.0"):
        tg.grad(lambda x: x * x)(2)


# --- custom functions -----------------------------------------------------------------------------


def function(backward, forward=lambda ctx, *xs: sum(xs) * 1.0):
    return type("Mine", (tg.Function,), {"forward": forward, "backward": backward})


X3, Y3 = np.ones(3), np.ones((2, 3))
BAD = {
    "one for two": (lambda ctx, g: g, [X3, X3], "1 gradient.*2 input"),
    "two for one": (lambda ctx, g: (g, g), [X3], "2 gradient.*1 input"),
    "three for two": (lambda ctx, g: (g, g, g), [X3, X3], "3 gradient.*2 input"),
    "none at all": (lambda ctx, g: (), [X3], "0 gradient.*1 input"),
    "too short": (lambda ctx, g: g[:2], [X3], r"\(2,\).*\(3,\)"),
    "too long": (lambda ctx, g: ctx.xp.ones(4), [X3], r"\(4,\).*\(3,\)"),
    "one number": (lambda ctx, g: g.sum(), [X3], r"\(\).*\(3,\)"),
    "transposed": (lambda ctx, g: g.T, [Y3], r"\(3, 2\).*\(2, 3\)"),
    "the second wrong": (lambda ctx, g: (g, g[:1]), [X3, X3], r"\(1,\).*\(3,\)"),
    "a number": (lambda ctx, g: 1.0, [X3], "float"),
    "a list": (lambda ctx, g: [1.0, 2.0, 3.0], [X3], "list|gradients"),
    "a dict": (lambda ctx, g: {"x": g}, [X3], "dict"),
    "text": (lambda ctx, g: "g", [X3], "str"),
    "complex": (lambda ctx, g: g * 1j, [X3], "complex"),
}


@of_each("face", ["backward", "grad", "create_graph", "vjp"])
@of_each("name", BAD)
def test_gradients_of_a_custom_function_that_do_not_fit_are_errors(name, face):
    backward, arrays, words = BAD[name]
    mine = function(backward)
    if face == "create_graph" and name in ("complex", "too long", "one number"):
        return  # the cotangent is a Tensor there
    leaves = [tg.tensor(a, requires_grad=True) for a in arrays]

    def differentiate():
        if face == "grad":
            every = tuple(range(len(arrays)))
            tg.grad(lambda *xs: mine.apply(*xs).sum(), argnums=every)(*arrays)
        elif face == "vjp":
            y, pull = tg.vjp(mine.apply, *arrays)
            pull(np.ones(y.shape))
        else:
            mine.apply(*leaves).sum().backward(create_graph=face == "create_graph")

    with pytest.raises(tg.TensorgradError, match="Mine") as caught:
        differentiate()
    assert re.search(words, str(caught.value)), str(caught.value)
    assert all(leaf.grad is None for leaf in leaves)


GOOD = {
    "array": lambda ctx, g: 2.0 * g,
    "tuple": lambda ctx, g: (2.0 * g,),
    "of the broadcast shape": lambda ctx, g: np.ones((2, 3)),
    "another float": lambda ctx, g: (2.0 * g).astype("float32"),
    "Tensor": lambda ctx, g: tg.asarray(g) * 2.0,
    "read-only": lambda ctx, g: np.broadcast_to(np.array(2.0), (3,)),
}


@of_each("name", GOOD)
def test_gradients_of_a_custom_function_in_every_form_that_fits(name):
    x = tg.tensor(X3, requires_grad=True)
    function(GOOD[name]).apply(x).sum().backward()
    assert x.grad.tolist() == [2.0] * 3
    assert x.grad.dtype == x.dtype


def test_none_is_no_gradient_and_there_are_zeros_under_grad():
    mine = function(lambda ctx, g: (None, g))
    x, y = tg.tensor(X3, requires_grad=True), tg.tensor(X3, requires_grad=True)
    mine.apply(x, y).sum().backward()
    assert x.grad is None
    assert y.grad.tolist() == [1.0] * 3
    assert tg.grad(lambda x: mine.apply(x, X3).sum())(X3).tolist() == [0.0] * 3


FORWARD = {
    "nothing": lambda ctx, x: None,
    "text": lambda ctx, x: "x",
    "objects": lambda ctx, x: x.astype(object),
}


@of_each("name", FORWARD)
def test_a_forward_that_gives_no_array_is_an_error_of_that_function(name):
    with pytest.raises(tg.TensorgradError, match="Mine"):
        function(lambda ctx, g: g, FORWARD[name]).apply(tg.tensor(X3, requires_grad=True))


# --- losses ---------------------------------------------------------------------------------------

P = np.float32([[0.2, 0.8], [0.7, 0.3], [0.5, 0.5]])
T = np.float32([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])


@of_each("form", ["array", "Tensor", "list"])
@of_each("name", loss_cases.NAMES)
def test_target_and_prediction_in_another_order_are_an_error(name, form):
    p, t = loss_cases.case(name)
    prediction = tg.tensor(p, requires_grad=True) * 1.0
    target = {"array": t, "Tensor": tg.tensor(t), "list": t.tolist()}[form]
    f = losses.LOSSES[name]
    f(prediction, target).backward()
    with pytest.raises(tg.TensorgradError, match=r"(?s)prediction.*target"):
        f(target, prediction)


OUTPUTS = {
    "softmax": (tg.softmax, "cross_entropy", np.array([0, 1, 0])),
    "sigmoid": (tg.sigmoid, "binary_cross_entropy_with_logits", T[:, :1]),
}


@of_each("name", OUTPUTS)
@of_each("how", ["function", "layer"])
def test_probabilities_into_a_loss_on_logits_are_noticed_in_loops(name, how):
    activation, loss, target = OUTPUTS[name]
    width = 1 if name == "sigmoid" else 2
    model = nn.Sequential([nn.Dense(width, 2, activation=name if how == "layer" else None)])
    y = model(P) if how == "layer" else activation(model(P))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises((tg.TensorgradError, UserWarning), match="logits"):
            losses.LOSSES[loss](y, target)
