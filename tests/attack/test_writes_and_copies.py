"""What is written into tensors, gradients and leaves, and copied from them: right, or said."""

import numpy as np
import pytest

import tensorgrad as tg

from ..rows import of_each

pytestmark = pytest.mark.host

WHOLE = ["int8", "uint8", "int16", "int64", "bool"]


@of_each("theirs", [*WHOLE, "python", "list", "float32"])
@of_each("ours", WHOLE)
def test_whole_numbers_are_written_exactly(ours, theirs):
    """`x[0] = v` of any number that x can hold, and of no other; truth values take all, as NumPy's
    do."""
    for v in (0, 1, 7, -1, 200, 300, -300):
        x = tg.tensor(np.ones(3, ours))
        given = {"python": v, "list": [v]}.get(theirs)
        with np.errstate(over="ignore"):
            given = np.array(v).astype(theirs) if given is None else given
        number = v if theirs in ("python", "list") else given.item()
        fits = ours == "bool" or np.array(number).astype(ours) == number
        if fits and (theirs != "float32" or ours == "bool"):
            x[:1] = given
            assert x.tolist() == [bool(number) if ours == "bool" else number, 1, 1]
        else:
            with pytest.raises(tg.DTypeError, match="cannot hold"):
                x[:1] = given
            assert x.tolist() == [1, 1, 1]


def test_an_operator_in_place_wraps_no_number():
    x = tg.tensor([1, 2], dtype="int8")
    with pytest.raises(tg.DTypeError, match="cannot hold"):
        x += np.array([300, 1])
    x += np.array([100, 1])
    assert x.tolist() == [101, 3]


COPIES = {
    "copy": lambda y: y.copy(),
    "tensor": tg.tensor,
    "a leaf of it": lambda y: tg.tensor(y, requires_grad=True),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_cuts_no_gradient_in_silence(how):
    """A result copied within a loss had a gradient of zero, and nothing said so."""
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(tg.GraphError, match="detach"):
        COPIES[how](w * 2)
    with pytest.raises(tg.GraphError, match="detach"):
        tg.grad(lambda x: COPIES[how](x).sum())(w)
    assert COPIES[how](w).tolist() == [1.0, 2.0]  # of a leaf: its numbers, kept for later
    assert COPIES[how]((w * 2).detach()).tolist() == [2.0, 4.0]
    with tg.no_grad():
        assert COPIES[how](w * 2).tolist() == [2.0, 4.0]


@pytest.mark.parametrize("value", [0, 5.0, np.ones(3), tg.ones((1, 2)), [1.0]])
def test_a_gradient_has_the_shape_of_its_tensor(value):
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(tg.ShapeError, match=r"x\.grad = g"):
        w.grad = value
    w.grad = np.ones(2)
    assert isinstance(w.grad, tg.Tensor)
    assert w.grad.dtype == "float32"
    (w * 2).sum().backward()
    assert w.grad.tolist() == [3.0, 3.0]


def test_backward_takes_no_truth_value():
    """`backward(True)` kept no graph, and `backward(False)` made every gradient zero."""
    w = tg.tensor(3.0, requires_grad=True)
    for value in (True, False):
        with pytest.raises(tg.ArgumentError, match="retain_graph"):
            (w * w).backward(value)
    with pytest.raises(tg.ArgumentError, match="cotangent"):
        (w * w).backward(gradient=1.0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.array([0.5, 1.5]), [1, 2], np.float16([1, 2])])
def test_a_leaf_keeps_its_dtype_beside_an_array(dtype, value):
    """`layer.weight.data = np.random.randn(...)` made a float32 model a float64 one."""
    w = tg.tensor(np.ones(2, dtype), requires_grad=True)
    w.data = value
    assert w.dtype == dtype
    w.data = tg.tensor(np.ones(2))
    assert w.dtype == "float64"


def test_huber_takes_no_tensor_on_the_tape_as_delta():
    w = tg.tensor(1.0, requires_grad=True)
    with pytest.raises(tg.GraphError, match="delta takes a plain number"):
        tg.huber(w, 0.0, delta=w * 2)
    assert tg.huber(w, 0.0, delta=np.float64(2.0)).dtype == "float32"
