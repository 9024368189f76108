"""`x[i] = v` under the rule of in-place words, for every kind of key and value, and what follows
from in-place words in whole programs: loops that train, counters, masks."""

import types

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

from .rows import of_each

pytestmark = pytest.mark.host

A = np.float32(np.arange(12).reshape(3, 4) / 2)
KEYS = {
    "int": 0,
    "negative": -1,
    "slice": slice(1, None),
    "steps": (slice(None, None, 2), slice(None, None, -1)),
    "pair": (1, 2),
    "column": (slice(None), 1),
    "ellipsis": ...,
    "None": (None, 0),
    "list": [0, 2],
    "index array": np.array([2, 0]),
    "pairs of indices": (np.array([0, 2]), np.array([1, 3])),
    "mask": A > 2,
    "mask of rows": np.array([True, False, True]),
    "Tensor of indices": "tg.tensor([2, 0])",
    "Tensor mask": "tg.tensor(A) > 2",
    "Tensor index": "tg.tensor(1)",
    "numpy integer": np.int64(1),
}
VALUES = {
    "number": 7,
    "float": 2.5,
    "bool": True,
    "numpy scalar": np.float64(1.25),
    "0-d Tensor": "tg.tensor(2.5)",
    "array": "like * 10",
    "float64 array": "(like * 10).astype('float64')",
    "integers": "(like * 10).astype('int64')",
    "list": "(like * 10).tolist()",
    "Tensor": "tg.tensor(like * 10)",
}


def made(word, **names):
    return eval(word, {"tg": tg, "np": np, "A": A, **names}) if isinstance(word, str) else word


WRITABLE = {
    "off the tape": (lambda: tg.tensor(A), tg.enable_grad),
    "leaf, no_grad": (lambda: tg.tensor(A, requires_grad=True), tg.no_grad),
    "Parameter, no_grad": (lambda: nn.Parameter(A), tg.no_grad),
    "Buffer": (lambda: nn.Buffer(A), tg.enable_grad),
}


@of_each("state", WRITABLE)
@of_each("key", KEYS)
def test_assignment_does_what_numpys_does(state, key):
    make, recording = WRITABLE[state]
    i = made(KEYS[key])
    plain = i.numpy() if isinstance(i, tg.Tensor) else i
    for word in VALUES.values():
        x, want, w = make(), A.copy(), tg.tensor(np.ones_like(A), requires_grad=True)
        value = made(word, like=want[plain] + 1)
        want[plain] = value.numpy() if isinstance(value, tg.Tensor) else value
        before = (w * x).sum() if not x.requires_grad else None
        facts = type(x), x.requires_grad, x.dtype
        with recording():
            x[i] = value
        np.testing.assert_array_equal(x.numpy(), want)
        assert (type(x), x.requires_grad, x.dtype) == facts
        if before is not None:  # what was recorded keeps its numbers
            before.backward()
            np.testing.assert_array_equal(w.grad.numpy(), A)
        w.grad = None
        (w * x).sum().backward()
        np.testing.assert_array_equal(w.grad.numpy(), want)
        if x.requires_grad:
            np.testing.assert_array_equal(x.grad.numpy(), np.ones_like(A))


@of_each("kind", ["leaf", "Parameter"])
@of_each("key", KEYS)
def test_a_leaf_is_not_assigned_into_while_recording(kind, key):
    x = tg.tensor(A, requires_grad=True) if kind == "leaf" else nn.Parameter(A)
    with pytest.raises(tg.GraphError, match="no_grad"):
        x[made(KEYS[key])] = 0.0
    np.testing.assert_array_equal(x.numpy(), A)


@of_each("no_grad", [False, True])
@of_each("key", KEYS)
def test_a_recorded_tensor_is_not_assigned_into(no_grad, key):
    w = tg.tensor(A, requires_grad=True)
    x = w * 1.0
    with (
        tg.no_grad() if no_grad else tg.enable_grad(),
        pytest.raises(tg.GraphError, match=r"tg\.where"),
    ):
        x[made(KEYS[key])] = 0.0
    np.testing.assert_array_equal(x.numpy(), A)
    x.sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), np.ones_like(A))


@of_each("key", ["int", "pair", "slice", "mask"])
def test_a_tracked_value_is_not_cut_by_an_assignment(key):
    w, x = tg.tensor(2.0, requires_grad=True), tg.zeros((3, 4))
    with pytest.raises(tg.GraphError, match=r"detach|where|stack"):
        x[KEYS[key]] = w * 3.0
    assert not np.any(x.numpy())
    x[KEYS[key]] = (w * 3.0).detach()
    assert np.any(x.numpy() == 6.0)
    with tg.no_grad():
        x[KEYS[key]] = w * 4.0
    assert np.any(x.numpy() == 8.0)


WRONG = {
    "a row too long": (0, np.ones(5), tg.ShapeError),
    "two rows for three": (slice(None), np.ones((2, 4)), tg.ShapeError),
    "several for one": ((0, 0), np.ones(2), tg.ShapeError),
    "outside": (3, 0.0, IndexError),
    "outside in a list": ([0, 5], 0.0, IndexError),
    "too many indices": ((0, 0, 0), 0.0, IndexError),
    "a mask of another shape": (np.ones((2, 4), bool), 0.0, IndexError),
    "a float index": (1.0, 0.0, (IndexError, TypeError)),
    "text as index": ("a", 0.0, (IndexError, TypeError)),
    "text": (0, "a", TypeError),
    "none": (0, None, TypeError),
    "complex": (0, 1j, TypeError),
}


@of_each("name", WRONG)
def test_an_assignment_that_does_not_fit_changes_nothing(name):
    key, value, error = WRONG[name]
    x = tg.tensor(A)
    with pytest.raises(error) as caught:
        x[key] = value
    assert isinstance(caught.value, tg.TensorgradError)
    np.testing.assert_array_equal(x.numpy(), A)


def test_nothing_is_deleted_from_a_tensor():
    with pytest.raises((TypeError, AttributeError)):
        del tg.tensor(A)[0]


# --- programs -------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
Y = (X @ np.float32([[1.0], [-2.0], [0.5]])).astype(np.float32)
UPDATES = {
    "p -= lr * p.grad": "for p in params: p -= 0.1 * p.grad",
    "p += -lr * p.grad": "for p in params: p += -0.1 * p.grad",
    "p[...] =": "for p in params: p[...] = p - 0.1 * p.grad",
    "p[:] = array": "for p in params: p[:] = p.numpy() - 0.1 * p.grad.numpy()",
    "p -= of arrays": "for p in params: p -= 0.1 * p.grad.numpy()",
    "p.data -=": "for p in params: p.data -= 0.1 * p.grad.data",
    "params[i] -=": "for i in range(len(params)): params[i] -= 0.1 * params[i].grad",
    "w, b": "w, b = params; w -= 0.1 * w.grad; b -= 0.1 * b.grad",
    "model.weight -=": "m.weight -= 0.1 * m.weight.grad; m.bias -= 0.1 * m.bias.grad",
    "grad scaled": "for p in params: p.grad *= 0.1; p -= p.grad",
    "dict": "d = dict(m.named_parameters())\nfor k in d: d[k] -= 0.1 * d[k].grad",
}


@of_each("how", UPDATES)
def test_hand_written_updates_train(how):
    tg.seed(0)
    m = nn.Linear(3, 1)
    params = m.parameters()
    ids = list(map(id, params))
    values = []
    for _ in range(60):
        loss = tg.losses.mean_squared_error(m(X), Y)
        m.zero_grad()
        loss.backward()
        with tg.no_grad():
            exec(UPDATES[how], {"params": params, "m": m})
        values.append(loss.item())
    assert values[-1] < 1e-3 * values[0]
    assert list(map(id, m.parameters())) == ids
    assert all(type(p) is nn.Parameter and p.requires_grad for p in m.parameters())


@of_each("how", [u for u in UPDATES if "data" not in u])
def test_hand_written_updates_without_no_grad_are_an_error(how):
    m = nn.Linear(3, 1)
    before = m.get_weights()
    tg.losses.mean_squared_error(m(X), Y).backward()
    with pytest.raises(tg.GraphError, match="no_grad"):
        exec(UPDATES[how], {"params": m.parameters(), "m": m})
    for a, b in zip(before, m.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_counters_masks_and_running_means():
    count, mean, mask = tg.zeros(()), tg.zeros(3), tg.ones((3, 3))
    seen = []
    for row in X[:4]:
        count += 1
        mean += (row - mean) / count
        seen.append(mean.tolist())
    mask[np.triu_indices(3, 1)] = 0.0
    assert count.item() == 4
    np.testing.assert_allclose(mean.numpy(), X[:4].mean(0), rtol=1e-5)
    assert mask.tolist() == np.tri(3).tolist()
    np.testing.assert_allclose(seen[0], X[0], rtol=1e-6)


def test_a_weight_is_not_grown_by_an_update_of_another_shape():
    w = nn.Parameter(np.ones(3))
    with tg.no_grad(), pytest.raises(tg.ShapeError, match=r"\(3,\).*\(2, 3\)|\(2, 3\).*\(3,\)"):
        w -= tg.ones((2, 3))
    assert w.shape == (3,)


def test_an_array_updated_by_a_tensor():
    """`array += tensor` is up to NumPy: it succeeds, or is refused with the array unchanged."""
    for tracked in (False, True):
        total, t = np.zeros(2), tg.tensor([1.0, 2.0], requires_grad=tracked)
        try:
            total += t
        except tg.TensorgradError as error:
            assert "out" in str(error) or "detach" in str(error)  # noqa: PT017
            assert total.tolist() == [0.0, 0.0]
        else:
            assert not tracked or total.requires_grad
            assert total.tolist() == [1.0, 2.0]


@of_each("sign", ["+", "-", "*", "/", "//", "%", "**"])
@of_each("key", ["0", "1, 2", ":, 1", "[0, 1]", "ROWS", "..."])
def test_an_item_is_updated_in_place_as_in_numpy(sign, key):
    """Python gets x[i], updates that and assigns it to x[i]: a view, but one without a name."""
    a = np.arange(1.0, 7.0).reshape(2, 3)
    x = tg.tensor(a)
    code = compile(f"x[{key}] {sign}= 2.5", "item", "exec")
    for _ in range(3):
        exec(code, {"x": a, "ROWS": np.array([True, False])})
        exec(code, {"x": x, "ROWS": np.array([True, False])})
    np.testing.assert_array_equal(x.numpy(), a)


@of_each("hold", ["variable", "attribute", "list", "loop"])
def test_a_view_with_a_name_is_not_updated_apart_from_what_it_views(hold):
    x = tg.zeros((2, 3))
    names = {"x": x, "v": x[0], "box": types.SimpleNamespace(v=x[0]), "views": [x[0]]}
    code = {"variable": "v += 1", "attribute": "box.v += 1", "list": "views[0] += 1"}
    with pytest.raises(tg.GraphError, match="view"):
        exec(code.get(hold, "for row in x: row += 1"), names)
    assert x.tolist() == [[0.0] * 3] * 2
