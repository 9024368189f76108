"""Memory goes by reference count the moment a graph dies, and does not grow."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
from tensorgrad.kernels.cpu import buffers

import tensorgrad as tg
from tensorgrad.core import Node


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def live_nodes():
    return sum(issubclass(type(o), Node) for o in gc.get_objects())


def test_graph_is_freed_without_the_garbage_collector(no_collector):
    w = tg.tensor(np.ones((50, 50)), requires_grad=True)
    before = live_nodes()
    for create_graph in (False, True):
        hidden = tg.tanh(tg.matmul(np.ones((4, 50)), w))
        watch = weakref.ref(hidden)
        a, b = tg.split(hidden, 2)
        (a * b).sum().backward(create_graph=create_graph)
        w.grad = None
        del hidden, a, b
        assert watch() is None
        assert live_nodes() == before
    assert gc.collect() == 0 or live_nodes() == before


def test_saved_arrays_are_dropped_as_backward_passes():
    x = tg.tensor(np.ones(1000), requires_grad=True)
    y = tg.exp(x)
    array = weakref.ref(y.data)
    loss = y.sum()
    del y
    assert array() is not None  # exp's rule needs its output
    loss.backward()
    assert array() is None


def test_a_rule_keeps_alive_only_what_it_names():
    x = tg.tensor(np.ones(1000), requires_grad=True)
    y = x * 2.0
    held = weakref.ref(y.data)
    z = y + 1.0  # addition names nothing
    del y
    assert held() is None
    z.sum().backward()


def test_a_chain_of_300_000_ops_differentiates_and_frees():
    x = tg.tensor(np.ones(()), requires_grad=True)
    y = x
    for _ in range(300_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1
    del y


def test_200_training_steps_have_flat_memory():
    rng = np.random.default_rng(0)
    w = tg.tensor(rng.normal(size=(64, 64)), requires_grad=True)
    sizes, nodes = [], []
    tracemalloc.start()
    for step in range(200):
        w.grad = None
        x = rng.normal(size=(32, 64))
        tg.tanh(tg.matmul(tg.relu(tg.matmul(x, w)), w)).sum().backward()
        w.data = w.data - 1e-3 * w.grad.data
        if step in (20, 199):
            sizes.append(tracemalloc.get_traced_memory()[0])
            nodes.append(live_nodes())
    tracemalloc.stop()
    assert nodes[0] == nodes[1]
    assert sizes[1] - sizes[0] < 20_000, f"grew from {sizes[0]} to {sizes[1]} bytes"


@pytest.mark.parametrize("mode", ["always", "reference"])
def test_sums_of_gradients_are_formed_in_place_and_hurt_nobody(mode):
    """Every use of x gives it the same cotangent: the first two make a new array, the rest are
    added to that one."""
    seed = tg.tensor(np.arange(6.0).reshape(2, 3))
    with tg.use_kernels(mode):
        x, z = (tg.tensor(np.ones((2, 3)), requires_grad=True) for _ in range(2))
        y = x + x + z + x + (x + x)
        y.backward(seed)
        y = x * z + x
        y.backward(seed)
    np.testing.assert_array_equal(seed.data, np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(x.grad.data, 7 * seed.data)
    np.testing.assert_array_equal(z.grad.data, 2 * seed.data)


def test_one_sum_holds_all_gradients_of_a_large_tensor():
    """However often it is used: the result, the sum and two that are on their way into it."""
    n = 1 << 18
    x = tg.tensor(np.ones(n, "float32"), requires_grad=True)
    seed = tg.asarray(np.ones(n, "float32"))
    y = x * 2.0
    for _ in range(20):
        y = y + x * 2.0
    with tg.use_kernels("always"):
        buffers.trim()
        before = buffers.facts()["used"] - y.data.nbytes
        y.backward(seed)
        assert buffers.facts()["most used"] - before <= 4 * y.data.nbytes
    np.testing.assert_array_equal(x.grad.data, np.full(n, 42, "float32"))
