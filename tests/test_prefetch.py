"""Prefetched batches are complete and in order, although copies overlap with the step: cudasim
delays a copy until something waits for it."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.data import prefetch
from tensorgrad.data.loader import DataLoader

X = np.arange(11 * 6, dtype=np.float32).reshape(11, 2, 3)
Y = np.arange(11)


@pytest.fixture
def there(gpu):
    tg.set_backend(gpu.name)
    yield gpu
    tg.set_backend("numpy")
    gc.collect()
    assert not getattr(gpu.xp.cuda, "in_flight", ())  # cudasim keeps a list


def batches(data, **how):
    tg.seed(5)
    return [[t.numpy() for t in b] for b in DataLoader(data, **how)]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [1, 3, 4, 11, 20])
def test_batches_are_as_on_the_host(size, shuffle, drop_last, there):
    how = {"batch_size": size, "shuffle": shuffle, "drop_last": drop_last}
    got = batches((X, Y), **how)
    for b in DataLoader((X, Y), **how):
        assert [t.backend for t in b] == [there.name] * 2
    tg.set_backend("numpy")
    wanted = batches((X, Y), **how)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
            assert x.dtype == y.dtype


def test_batches_stay_what_they_are_while_later_ones_are_copied(there):
    kept = list(DataLoader((X, Y), batch_size=2))
    for i, (x, y) in enumerate(kept):
        np.testing.assert_array_equal(x.numpy(), X[2 * i : 2 * i + 2])
        np.testing.assert_array_equal(y.numpy(), Y[2 * i : 2 * i + 2])


KINDS = {
    "by columns": np.asfortranarray(X),
    "reversed": X[:, ::-1],
    "bfloat16": X.astype(tg.backend.dtype_of("bfloat16")),
    "empty": np.zeros((11, 0)),
    "bool": X > 30,
}


@pytest.mark.parametrize("name", KINDS)
def test_all_kinds_of_arrays(name, there):
    for shuffle in (False, True):
        got = batches((KINDS[name],), batch_size=4, shuffle=shuffle)
        tg.set_backend("numpy")
        for (x,), (y,) in zip(
            got, batches((KINDS[name],), batch_size=4, shuffle=shuffle), strict=True
        ):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        tg.set_backend(there.name)


def test_what_is_on_the_device_stays_there(there):
    x = tg.asarray(X, backend=there.name)
    for shuffle in (False, True):
        for part, y in DataLoader((x, Y), 4, shuffle):
            np.testing.assert_array_equal(part.numpy(), X[y.numpy()])


def test_a_shuffled_order_is_copied_to_the_device_once(there):
    """The indices of each batch would be a copy per array and step."""
    if there.name != "cudasim":
        pytest.skip("only cudasim sees copies")
    from .cudasim.cuda import no_transfers

    data = tuple([tg.asarray(a, backend=there.name) for a in (X, Y)])
    batches = iter(DataLoader(data, 4, shuffle=True))
    parts = [next(batches)]
    with no_transfers():
        parts += list(batches)
    x, y = (np.concatenate([b[i].numpy() for b in parts]) for i in (0, 1))
    assert sorted(y) == list(Y)
    np.testing.assert_array_equal(x, X[y])


@pytest.mark.parametrize("error", [MemoryError("full"), RuntimeError("cudaErrorMemoryAllocation")])
def test_without_pinned_memory_batches_come_all_the_same(error, there, monkeypatch):
    def refuses(size):
        raise error

    monkeypatch.setattr(there.xp.cuda, "alloc_pinned_memory", refuses)
    with pytest.warns(UserWarning, match="bytes of pinned host memory"):
        got = batches((X, Y), batch_size=4, shuffle=True)
    for x, y in got:
        np.testing.assert_array_equal(x, X[y])
    assert sorted(np.concatenate([y for _, y in got])) == list(Y)


def test_a_loop_left_early_ends_the_copies(there):
    for _ in range(3):
        for x, _ in DataLoader((X, Y), 2):
            np.testing.assert_array_equal(x.numpy(), X[:2])
            break
        gc.collect()
    loader = iter(DataLoader((X, Y), 2))
    next(loader)
    loader.close()


def test_the_next_batch_is_under_way(there, monkeypatch):
    sent = []
    send = prefetch._Slot.send
    monkeypatch.setattr(prefetch._Slot, "send", lambda *a: sent.append(1) or send(*a))
    for i, _ in enumerate(DataLoader(Y, 3)):
        assert len(sent) == min(i + 2, 4)


def test_on_numpy_nothing_is_copied():
    for x in DataLoader(X, 4):
        assert np.shares_memory(x.numpy(), X)


def test_graphed_steps_over_a_loader(there):
    def losses(graph):
        tg.seed(1)
        model = tg.nn.Sequential([tg.nn.Flatten(), tg.nn.Dense(3, 6)])
        adam = tg.optim.Adam(model.parameters(), lr=0.1)

        def step(x, y):
            loss = tg.losses.cross_entropy(model(x), y)
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss

        sample = tg.asarray(X[:4], backend=there.name), tg.asarray(Y[:4], backend=there.name)
        run = tg.cuda.graphed(step, sample, 2) if graph else step
        loader = DataLoader((X, Y % 3), 4, shuffle=True)
        return [run(*batch).item() for _ in range(4) for batch in loader]

    assert losses(False) == losses(True)
