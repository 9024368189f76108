"""Python's and NumPy's limits: nesting, axes, and whole numbers that no index is made of."""

import copy
import pickle

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

X = tg.tensor([1.0, 2.0, 3.0])
ONES = (1,) * 64


def nested(depth, inner=1.0):
    for _ in range(depth):
        inner = [inner]
    return inner


def in_itself():
    parts = []
    parts.append(parts)
    return parts


LEAF = tg.ones(1, requires_grad=True)
REFUSED = {
    "a list": lambda: tg.tensor(nested(2000)),
    "a list, off the tape": lambda: tg.no_grad()(tg.asarray)(nested(2000)),
    "a list of tensors": lambda: tg.asarray(nested(2000, LEAF)),
    "an operand": lambda: X + nested(2000),
    "an argument": lambda: tg.sum(nested(100_000)),
    "a list in itself": lambda: tg.tensor(in_itself()),
    "the arguments of a checkpoint": lambda: tg.checkpoint(lambda v: LEAF, nested(2000, LEAF)),
    "arange": lambda: tg.arange(0, 10, 0),
    "arange of floats": lambda: tg.arange(0.0, 10, 0.0),
    "linspace": lambda: tg.linspace(0, 1, 2**63),
    "weights": lambda: nn.Dense(2**62, 1),
    "weights of a constant": lambda: nn.Dense(2**62, 1, init=0.5),
    "reshape": lambda: X.reshape((*ONES, 3)),
    "expand_dims": lambda: tg.expand_dims(tg.ones(ONES), 0),
    "broadcast_to": lambda: tg.broadcast_to(X, (*ONES, 3)),
    "stack": lambda: tg.stack([tg.ones(ONES)] * 2),
    "None": lambda: tg.ones(ONES)[None],
    "zeros": lambda: tg.zeros((1,) * 65),
    "tensordot": lambda: tg.tensordot(tg.ones((1,) * 40), tg.ones((1,) * 40), 0),
    "many indices": lambda: X[(0,) * 100],
}


@pytest.mark.host
@pytest.mark.parametrize("name", REFUSED)
def test_what_no_array_is(name):
    with pytest.raises(tg.TensorgradError) as caught:
        REFUSED[name]()
    assert isinstance(caught.value, (ValueError, TypeError, IndexError))


@pytest.mark.parametrize("index", [3, -4, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**100])
def test_numbers_that_are_no_index(backend, index):
    x = tg.tensor([1.0, 2.0, 3.0])
    with pytest.raises(IndexError):
        x[index]
    with pytest.raises(IndexError):
        x[index] = 1.0
    if 0 <= index < 2**64:
        for whole in (np.uint64(index), np.array([index], "uint64"), [index]):
            with pytest.raises(IndexError):
                x[whole]
        if backend == "numpy":
            with pytest.raises(IndexError):
                tg.take_along_axis(x, np.array([index], "uint64"), 0)
            with pytest.raises(IndexError):
                nn.Embedding(3, 2)(np.array([index], "uint64"))
    for f in (tg.sum, tg.softmax, tg.flip, tg.cumsum, tg.argmax, tg.expand_dims, tg.sort):
        with pytest.raises(tg.TensorgradError) as caught:
            f(x, index)
        assert "dtype holds" not in str(caught.value)
    assert x.tolist() == [1, 2, 3]


@pytest.mark.parametrize("step", [2, -2, 2**31, -(2**31), 2**62, -(2**62), 2**70, -(2**70)])
def test_steps_and_ends_of_any_size(backend, step):
    x, a = tg.tensor(np.arange(5.0), requires_grad=True), np.arange(5.0)
    for key in (
        slice(None, None, step),
        slice(1, step, step),
        slice(step, None),
        slice(step, -step),
    ):
        x.grad = None
        np.testing.assert_array_equal(x[key].numpy(), a[key])
        (x[key] * 2).sum().backward()
        want = np.zeros(5)
        want[key] = 2
        np.testing.assert_array_equal(x.grad.numpy(), want)


def test_modules_in_modules():
    deep, layer = nn.Sequential(nn.Dense(1, 2)), None
    layer = deep
    for _ in range(400):
        deep = nn.Sequential(deep)
    assert len(deep.modules()) == 402
    assert [name.count(".") for name in deep.state_dict()] == [401, 401]
    assert repr(deep).count("\n") == 802
    assert len(deep.eval().trainable_variables) == 2
    with pytest.raises(tg.GraphError, match="setrecursionlimit"):
        deep(tg.ones((1, 2)))
    in_lists = type("InLists", (nn.Module,), {"forward": lambda self, x: layer(x)})()
    in_lists.parts = [nested(2000, layer), {"all": nested(2000, in_itself())}]
    assert len(in_lists.parameters()) == 2
    in_lists.compile("sgd", "mse").fit([[1.0, 2.0]], [[1.0]], verbose=0)


@pytest.mark.parametrize("how", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))])
def test_modules_in_modules_are_copied(how):
    deep = start = nn.Sequential(nn.Dense(1, 2))
    for i in range(250):
        deep = nn.Sequential(deep) if i % 2 else nn.Sequential([deep, start])
    copied = how(deep)
    assert [n for n, _ in copied.named_modules()] == [n for n, _ in deep.named_modules()]
    assert vars(copied).keys() == vars(deep).keys()
    (weight, bias), ours = copied.parameters(), deep.parameters()
    assert weight.tolist() == ours[0].tolist()
    assert (weight is ours[0]) == (how is copy.copy)
    bias.data = [3.0]
    assert copied.stack[0].stack[1](tg.zeros((1, 2))).tolist() == [[3.0]], "it holds one of them"


def test_modules_in_themselves():
    own = nn.Sequential()
    own.add(own)
    assert own.modules() == [own]
    assert repr(own) == "Sequential(\n  layers[0]: Sequential(...)\n)"
    with pytest.raises(tg.GraphError, match="calls itself"):
        own(tg.ones(1))
    many = nn.Sequential([own, *[nn.Sequential() for _ in range(100)]])
    own.add(many)
    copied = copy.deepcopy(many)
    assert copied.stack[0].stack == [copied.stack[0], copied]


def test_long_functional_models_are_copied():
    start = x = nn.Input((1,))
    for _ in range(1500):
        x = x + 1.0
    model = nn.Model(start, nn.Dense(1)(x))
    want = model(tg.zeros((1, 1))).tolist()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied(tg.zeros((1, 1))).tolist() == want
