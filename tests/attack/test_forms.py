"""What else people write without thinking: a row for each kind of it that was once wrong."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim

pytestmark = pytest.mark.host

F4, F8, F2 = np.float32, np.float64, np.float16
LISTS = {  # what leads in a list is what came with a dtype, wherever it stands
    "tensor first": ([tg.ones(2), [1, 2]], F4),
    "tensor last": ([[1.0, 2.0], tg.ones(2)], F4),
    "single first": ([F4(1), 2.0], F4),
    "double last": ([2.0, F8(1)], F8),
    "half inside": ([[1.0, 2.0], [F2(1), 2.0]], F2),
    "whole beside a fraction": ([np.int64(1), 2.5], F4),
    "two dtypes": ([np.ones(2), np.ones(2, F4)], F8),
    "numbers": ([1, 2.5, True], F4),
    "no numbers": ([], F4),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("make", [tg.tensor, tg.asarray])
def test_the_dtype_of_a_list(make, name):
    value, dtype = LISTS[name]
    assert make(value).dtype == dtype


@pytest.mark.parametrize("name", ["sum", "prod"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float16", "float32", "bool"])
def test_a_sum_is_of_the_dtype_asked_for(name, dtype):
    for x in ([200, 3], [True, True], [0.5, 2.0]):
        want = getattr(np, name)(np.array(x), dtype=dtype)
        got = getattr(tg, name)(x, dtype=dtype)
        assert got.dtype == want.dtype == np.dtype(dtype)
        assert got.item() == want.item()


def test_an_empty_batch_keeps_its_features():
    assert nn.Flatten()(tg.ones((0, 3, 2))).shape == (0, 6)
    assert nn.Flatten()(tg.ones((2, 0, 3))).shape == (2, 0)
    model = nn.Sequential(nn.Flatten(), nn.Dense(2, in_features=6))
    assert model(tg.ones((0, 3, 2))).shape == (0, 2)


def test_a_jacobian_of_no_numbers():
    assert tg.jacobian(lambda x: x * x)(tg.zeros(0)).shape == (0, 0)
    assert tg.jacobian(lambda x: x[:0])(tg.zeros((3, 2))).shape == (0, 2, 3, 2)


REFUSED = {
    "whole random numbers": (lambda: tg.rand(2, dtype="int64"), tg.DTypeError, "fractions"),
    "normal ones": (lambda: tg.randn(2, dtype="bool"), tg.DTypeError, "fractions"),
    "argnums in words": (lambda: tg.grad(abs, "x")(1.0), tg.ArgumentError, "argnums"),
    "arguments by name": (lambda: tg.grad(lambda x: x)(x=1.0), tg.ArgumentError, "by position"),
    "zero_grad": (lambda: sgd().zero_grad(set_to_none=True), tg.ArgumentError, "always"),
    "of a layer": (lambda: nn.Dense(1).zero_grad(set_to_none=True), tg.ArgumentError, "always"),
    "step": (lambda: sgd().step(closure=3), tg.ArgumentError, "a function, or None"),
    "a number for a gradient": (
        lambda: sgd().apply_gradients([(1.0, P)]),
        tg.ShapeError,
        "gradient of shape",
    ),
}
P = nn.Parameter([1.0, 2.0])


def sgd():
    return optim.SGD([P], lr=0.1)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, kind, said = REFUSED[name]
    with pytest.raises(kind, match=said):
        call()
