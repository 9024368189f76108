"""No op uses CuPy's matrix products, whatever its shapes: they go through our own cuBLASLt, since
CuPy's cuBLAS refuses to run while a stream is captured."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.core import OPS

from .test_ops import place

SHAPES = [  # of the operands
    ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)),
    ((0,), (0,)), ((0,), (0, 2)), ((2, 0), (0,)), ((3,), (3, 0)), ((0, 3), (3,)),
]  # fmt: skip


@pytest.fixture
def no_library(gpu, monkeypatch):
    """A backend whose array module has no matrix products."""

    def refuse(*args, **kwargs):
        raise AssertionError("a product by the array module")

    for name in ("matmul", "dot", "einsum", "tensordot", "inner", "vdot"):
        monkeypatch.setattr(gpu.xp, name, refuse)
    monkeypatch.setattr(gpu.array_type, "dot", refuse)
    monkeypatch.setattr(gpu.array_type, "__matmul__", refuse)
    return gpu.name


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_products_of_vectors_are_our_own(left, right, dtype, no_library):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-3, 4, left), rng.integers(-3, 4, right)  # exact in every dtype
    x, w = [
        tg.tensor(v.astype("float32"), dtype=dtype, backend=no_library, requires_grad=True)
        for v in (a, b)
    ]
    y = x @ w
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.astype("float64").numpy(), a @ b)
    y.sum().backward()
    here = [tg.tensor(v.astype("float64"), requires_grad=True, backend="numpy") for v in (a, b)]
    (here[0] @ here[1]).sum().backward()
    for there, wanted in zip((x, w), here, strict=True):
        np.testing.assert_array_equal(there.grad.astype("float64").numpy(), wanted.grad.numpy())


@pytest.mark.parametrize(
    ("left", "right"),
    [("float32", "float64"), ("float64", "float32"), ("float16", "float32"), ("int64", "float32")],
)
def test_products_of_two_dtypes_are_our_own(left, right, no_library):
    """As of data in float64 with weights in float32."""
    a, b = np.arange(6).reshape(2, 3).astype(left), np.arange(12).reshape(3, 4).astype(right)
    y = tg.asarray(a, backend=no_library) @ tg.asarray(b, backend=no_library)
    assert y.dtype == (np.float64 if "float64" in (left, right) else np.float32)
    np.testing.assert_array_equal(y.numpy(), a @ b)


@pytest.mark.parametrize("name", sorted(OPS))
def test_no_op_asks_for_another_library(name, no_library):
    for sample in OPS[name].samples():
        OPS[name](*place(sample.args, backend=no_library), **sample.params)


@pytest.mark.parametrize("layer", ["SimpleLSTM", "SimpleGRU", "SimpleRNN"])
def test_recurrent_layers_of_an_empty_batch_are_our_own(layer, no_library):
    made = getattr(nn, layer)(4, 3).to(no_library)
    assert made(tg.zeros((0, 2, 3), backend=no_library)).shape == (0, 4)
    wide = made(tg.zeros((2, 2, 3), "float64", backend=no_library))
    assert (wide.shape, wide.dtype) == ((2, 4), np.float32)  # the layer's own


def test_products_of_vectors_are_captured(gpu):
    a = tg.tensor(np.ones((2, 3), "float32"), backend=gpu.name)
    v = nn.Parameter(tg.tensor(np.arange(3.0).astype("float32"), backend=gpu.name))

    def step(x):
        v.grad = None
        (loss := (x @ v).sum()).backward()
        return loss

    quick = tg.cuda.graphed(step, a, 1)
    assert [quick(a * k).item() for k in (1.0, 2.0, 3.0)] == [6.0, 12.0, 18.0]
    assert v.grad.tolist() == [6.0, 6.0, 6.0]
