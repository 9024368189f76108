"""The pool of large results: a block is reused if and only if no array refers to it."""

import gc
import threading

import numpy as np
import pytest
from tensorgrad.kernels.cpu import buffers

import tensorgrad as tg

SHAPE = (600, 1000)  # 2.4 MB of float32


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    pool = buffers._Pool()
    monkeypatch.setattr(buffers, "_pool", pool)
    return pool


def place(a):
    return a.__array_interface__["data"][0]


def test_memory_is_used_again_when_its_array_is_gone():
    a = buffers.empty(SHAPE, "float32")
    first = place(a)
    assert type(a) is np.ndarray
    assert a.flags.c_contiguous
    assert a.flags.writeable
    assert first % 64 == 0
    b = buffers.empty_like(a)
    assert place(b) != first
    del a
    assert place(buffers.empty((599, 1000), "float32")) == first  # a little smaller fits too
    assert place(buffers.empty((300, 1000), "float32")) != first  # half would waste


@pytest.mark.parametrize(
    "view", [lambda a: a[1:], lambda a: a.T, lambda a: a.reshape(-1)[::2].view("int32")]
)
def test_a_view_keeps_the_memory(view):
    a = buffers.empty(SHAPE, "float32")
    v, first = view(a), place(a)
    del a
    assert place(buffers.empty(SHAPE, "float32")) != first
    del v
    assert buffers.facts()["used"] == 0


def test_small_arrays_are_numpys():
    assert buffers.empty((10,), "float32").base is None
    assert buffers.empty((0, 10**9), "float32").shape == (0, 10**9)


def test_free_memory_is_bounded_by_what_was_in_use():
    for n in range(1000, 3000, 100):
        buffers.empty((n, 1000), "float32")
    facts = buffers.facts()
    assert facts["used"] == 0
    assert facts["at hand"] <= 1.25 * facts["most used"]
    buffers.trim()
    assert buffers.facts() == {"used": 0, "at hand": 0, "most used": 0}


def test_from_many_threads():
    wrong = []

    def work(k):
        for i in range(50):
            a = buffers.empty((300 + 10 * k, 1000), "float32")
            a[...] = k * 1000 + i
            gc.collect() if i == k else None
            if not (a == k * 1000 + i).all():
                wrong.append((k, i))

    workers = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    assert not wrong
    assert buffers.facts()["used"] == 0


def test_results_and_gradients_live_there():
    x = tg.tensor(np.linspace(-2, 2, 600_000, dtype="float32"), requires_grad=True)
    y = tg.sigmoid(x)
    assert isinstance(y.data.base, buffers.Lease)
    (y * y).sum().backward()
    assert isinstance(x.grad.data.base, buffers.Lease)  # the very array, not a copy of it
    kept, s = x.grad.numpy().copy(), y.numpy()
    np.testing.assert_allclose(kept, 2 * s * s * (1 - s), rtol=1e-5)
    for _ in range(3):  # others come and go
        tg.tanh(tg.sigmoid(x.detach()))
    np.testing.assert_array_equal(x.grad.numpy(), kept)
