"""Functional models: arithmetic, methods, NumPy's and our functions on symbols; several outputs."""

import pickle

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

pytestmark = pytest.mark.host
X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
EYE = np.eye(3, dtype="float32")[:, ::-1]
FORMULAS = {
    "arithmetic": lambda x: (2 - x) * x / 3 + x**2 - np.float32([1, 2, 3]) + abs(x) % 2,
    "products": lambda x: x @ EYE,
    "items": lambda x: x[:, 1:] * x[:, :1],
    "methods": lambda x: x.exp().sum(1, keepdims=True) + x.mean(axis=1, keepdims=True),
    "reshaped": lambda x: x.reshape(-1, 3, 1).squeeze(2),
    "options": lambda x: tg.clip(tg.softmax(x, axis=1), 0.1, 0.6),
    "joined": lambda x: tg.concat([x, tg.cumsum(x, 1)], axis=1),
    "joined by NumPy": lambda x: np.concatenate([x, np.exp(x)], axis=1),
    "einsum": lambda x: tg.einsum("ni,ij->nj", x, EYE),
    "compared": lambda x: np.where(x > 0, x, 0.1 * x),
    "over the batch": lambda x: x - x.mean(0),
    "transposed": lambda x: x.transpose(),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_of_a_symbol_is_that_of_its_values(name):
    x = nn.Input((3,))
    y = FORMULAS[name](x)
    model = pickle.loads(pickle.dumps(nn.Model(x, y)))
    given = tg.tensor(X, requires_grad=True)
    found, wanted = model(given), FORMULAS[name](tg.tensor(X))
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-6, atol=1e-7)
    shape = tuple([None if n == 5 else n for n in found.shape])
    assert y.shape == shape
    found.sum().backward()
    assert given.grad is not None


def test_a_layer_of_several_outputs_gives_several_symbols():
    x, other = nn.Input((4, 3)), nn.Input((6,))
    y, (h, c) = nn.LSTM(3, 6, batch_first=True)(x)
    assert (y.shape, h.shape, c.shape) == ((None, 4, 6), (1, None, 6), (1, None, 6))
    model = nn.Model([x, other], [y, h[0] + other, nn.Dense(2)(c.squeeze(0))])
    a, b, d = model(np.ones((2, 4, 3), "float32"), np.zeros((2, 6), "float32"))
    assert (a.shape, b.shape, d.shape) == ((2, 4, 6), (2, 6), (2, 2))
    np.testing.assert_array_equal(a.numpy()[:, -1], b.numpy())


def test_what_takes_no_symbols_says_so():
    x = nn.Input((3,))
    with pytest.raises(tg.DTypeError, match=r"no numbers yet: use operators, methods"):
        tg.exp(x)
    with pytest.raises(AttributeError, match="no attribute 'numpys'"):
        x.numpys()
