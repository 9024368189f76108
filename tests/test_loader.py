"""DataLoader over arrays, data sets and streams, and its worker processes."""

import errno
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import data
from tensorgrad.data import DataLoader

legacy = np.random  # the global generator, which users draw from


class Set:
    """A data set whose samples draw from each generator that a user may draw from."""

    def __init__(self, n=50, width=3):
        self.n, self.width = n, width

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        x = np.full(self.width, i, np.float32)
        return {"x": x, "y": i, "name": f"s{i}", "drawn": (data.rng().random(), legacy.rand())}


def stream():
    for i in range(21):
        yield i, data.rng().random()


def plain(batch):
    """A batch without arrays, to be compared."""
    if isinstance(batch, dict):
        return {k: plain(v) for k, v in batch.items()}
    if isinstance(batch, tuple):
        return tuple(plain(v) for v in batch)
    return batch.tolist() if isinstance(batch, tg.Tensor) else batch


def epochs(dataset, n=2, **how):
    loader = DataLoader(dataset, **{"seed": 3, "batch_size": 8, **how})
    return [[plain(b) for b in loader] for _ in range(n)]


class Pair(NamedTuple):
    x: object
    y: object


@dataclass
class Record:
    x: object
    y: object


FORMS = {
    "a dict of arrays": ({"x": np.zeros((5, 2)), "y": np.arange(5)}, {"x": (4, 2), "y": (4,)}),
    "nested arrays": (((np.zeros((5, 2)), np.ones(5)), np.arange(5)), (((4, 2), (4,)), (4,))),
    "a list of pairs": ([(np.zeros(2), i) for i in range(5)], ((4, 2), (4,))),
    "a list of pairs of lists": ([([0.0, 1.0], i) for i in range(5)], ((4, 2), (4,))),
    "a list of dicts": ([{"x": 1.0, "n": [1, 2]} for _ in range(5)], {"x": (4,), "n": (4, 2)}),
    "named tuples": ([Pair(np.zeros(2), i) for i in range(5)], Pair((4, 2), (4,))),
    "dataclasses": ([Record(np.zeros(2), i) for i in range(5)], Record((4, 2), (4,))),
    "text": (["a", "b", "c", "d", "e"], "abcd"),
    "rows of numbers": ([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]], (4, 2)),
    "a generator": ((i for i in range(5)), (4,)),
    "a memory map": ("memmap", (4, 3)),
}


def shapes(batch):
    if isinstance(batch, Record):
        return Record(batch.x.shape, batch.y.shape)
    if isinstance(batch, tg.Tensor):
        return batch.shape
    if isinstance(batch, dict):
        return {k: shapes(v) for k, v in batch.items()}
    if isinstance(batch, tuple):
        parts = [shapes(v) for v in batch]
        return type(batch)(*parts) if hasattr(batch, "_make") else tuple(parts)
    return "".join(batch)


@pytest.mark.parametrize("form", FORMS)
def test_batches_have_the_structure_of_the_data(form, tmp_path):
    given, wanted = FORMS[form]
    if isinstance(given, str):
        given = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(5, 3))
    assert shapes(next(iter(DataLoader(given, batch_size=4)))) == wanted


def test_floats_are_float32_and_arrays_keep_their_dtype():
    samples = [{"a": 0.5, "b": np.float64(0.5), "c": np.uint8(3), "d": True, "e": 7}] * 2
    batch = next(iter(DataLoader(samples)))
    found = {k: str(v.dtype) for k, v in batch.items()}
    assert found == {"a": "float32", "b": "float64", "c": "uint8", "d": "bool", "e": "int64"}
    batch = next(iter(DataLoader(samples, dtype="float16")))
    assert [str(batch[k].dtype) for k in "abe"] == ["float16", "float16", "int64"]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("dataset", [Set(), stream], ids=["set", "stream"])
def test_workers_change_nothing(dataset, workers):
    how = {} if dataset is stream else {"shuffle": True}
    assert epochs(dataset, workers=workers, **how) == epochs(dataset, **how)
    first, second = epochs(dataset, **how)
    assert first != second


def test_large_batches_come_through_shared_memory_and_leave_nothing():
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    wide = Set(6, 40_000)
    kept = list(DataLoader(wide, batch_size=2, workers=2))
    for i, batch in enumerate(kept):  # after the workers have gone
        assert np.array_equal(batch["x"].numpy()[:, 0], [2 * i, 2 * i + 1])
        batch["x"].numpy()[...] = 0  # the caller's own
    assert before == (set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at", [0, 1, 3, 6, 7])
def test_resumes_in_the_middle_of_an_epoch(at, workers):
    def taken(loader, n):
        return [plain(next(loader)) for _ in range(n)]

    how = {"batch_size": 8, "shuffle": True, "workers": workers}
    tg.seed(1)
    whole = DataLoader(Set(), **how)
    first = [plain(b) for b in whole]
    second = [plain(b) for b in whole]
    tg.seed(1)
    loader = DataLoader(Set(), **how)
    running = iter(loader)
    assert taken(running, at) == first[:at]
    state, drawn = loader.state_dict(), tg.random.get_state()
    tg.seed(99)
    resumed = DataLoader(Set(), **how)
    resumed.load_state_dict(state)
    if at:  # else the seed of the epoch is still to be drawn
        assert [plain(b) for b in resumed] == first[at:]
        tg.random.set_state(drawn)
        assert [plain(b) for b in resumed] == second
    else:
        tg.random.set_state(drawn)
        assert [plain(b) for b in resumed] == first


def test_a_stream_is_resumed_by_passing_over_what_came_before():
    loader = DataLoader(stream, batch_size=4, seed=1)
    running = iter(loader)
    next(running), next(running)
    resumed = DataLoader(stream, batch_size=4, seed=1)
    resumed.load_state_dict(loader.state_dict())
    assert [plain(b) for b in resumed] == [plain(b) for b in running]


def test_a_given_seed_does_not_depend_on_the_generator():
    tg.seed(0)
    first = epochs(Set(), shuffle=True)
    tg.seed(1)
    assert epochs(Set(), shuffle=True) == first
    assert epochs(Set(), shuffle=True, seed=4) != first


class Fails(Set):
    def __getitem__(self, i):
        if i == 37:
            self.fail()
        return super().__getitem__(i)

    def fail(self):
        raise KeyError("no file")


class Dies(Fails):
    def fail(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(a)


class FailsOddly(Fails):
    def fail(self):
        raise Unpicklable(1, lambda: 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_names_its_sample(workers):
    with pytest.raises(KeyError, match="no file") as caught:
        epochs(Fails(), workers=workers)
    assert "sample 37 " in caught.value.__notes__[0]
    if workers:
        assert "in fail" in caught.value.__notes__[1]  # the original traceback
        assert "worker" in caught.value.__notes__[1]


def children():
    return [p for p in __import__("multiprocessing").active_children() if "DataLoader" in p.name]


def test_a_worker_that_dies_is_an_error_soon_and_leaves_no_process():
    start = time.monotonic()
    with pytest.raises(tg.WorkerError, match="killed by SIGKILL, as by a system that runs out"):
        epochs(Dies(), workers=2)
    assert time.monotonic() - start < 5
    assert not children()
    with pytest.raises(tg.WorkerError, match="Unpicklable"):
        epochs(FailsOddly(), workers=2)
    assert not children()


def test_too_little_shared_memory_is_an_error_that_says_how_much(monkeypatch):
    def full(descriptor, start, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    says = r"no 320,\d+ bytes of shared memory for a batch .*: fewer workers, a smaller `prefetch`"
    with pytest.raises(tg.WorkerError, match=says):
        list(DataLoader(Set(6, 40_000), batch_size=2, workers=2))
    assert not children()


ORPHANS = """
import os, sys, numpy as np, multiprocessing
from tensorgrad.data import DataLoader
running = iter(DataLoader(np.arange(10**6), batch_size=2, workers=2))
next(running)
print(*[p.pid for p in multiprocessing.active_children()], flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.host
def test_workers_end_with_a_program_that_is_killed():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", ORPHANS], text=True, **pipes) as program:
        workers = [int(pid) for pid in program.stdout.readline().split()]
        assert len(workers) == 2
        program.kill()
    end = time.monotonic() + 5
    while time.monotonic() < end and any(map(alive, workers)):
        time.sleep(0.05)
    assert not any(map(alive, workers))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", str(pid)], capture_output=True, text=True).stdout
    return bool(state.strip()) and state[0] != "Z"


def test_a_loop_that_is_left_ends_the_workers():
    for _ in DataLoader(Set(), batch_size=4, workers=2):
        break
    running = iter(DataLoader(Set(), batch_size=4, workers=2))
    next(running)
    assert len(children()) == 2
    running.close()
    assert not children()


def test_transforms_draw_by_sample():
    x = np.zeros((9, 2), np.float32)

    def noisy(sample):
        return sample + data.rng().standard_normal(2).astype(np.float32)

    plainly = epochs(x, transform=noisy)
    assert plainly == epochs(x, transform=noisy, workers=2)
    flat = [row for batch in plainly[0] for row in batch]
    assert len({tuple(row) for row in flat}) == 9  # each its own
    by_three = epochs(x, transform=noisy, batch_size=3)
    assert [row for batch in by_three[0] for row in batch] == flat  # whatever the batch


DRAWS = {
    "data.rng": lambda: data.rng().random(),
    "tensorgrad": lambda: tg.random.uniform().item(),
    "python": random.random,
    "numpy": legacy.rand,
    "torch": lambda: __import__("torch").rand(()).item(),
}


class Drawn(Set):
    """Samples of one random number. `at`: where they are drawn."""

    def __init__(self, draw, at="sample"):
        super().__init__(9)
        self.draw, self.at = draw, at

    def __getitem__(self, i):
        return self.draw()

    def stream(self):
        order = sorted(range(9), key=lambda i: self.draw())
        for i in order:
            yield i + self.draw() / 2


@pytest.mark.parametrize("how", DRAWS)
def test_seed_epoch_and_index_decide_what_a_sample_draws(how):
    if how == "torch":
        pytest.importorskip("torch")
    draw = DRAWS[how]

    def read(loader):
        return [row for batch in loader for row in batch.tolist()]

    for made in (Drawn(draw), Drawn(draw).stream):
        loader = DataLoader(made, batch_size=4, seed=0)
        expected = [read(loader), read(loader)]
        assert len({*expected[0], *expected[1]}) == 18  # of each sample and epoch its own
        if how != "data.rng":
            draw()  # the program's own numbers change nothing
        for options in ({"workers": 2}, {"batch_size": 2}, {"prefetch": 1, "workers": 1}):
            other = DataLoader(made, **{"batch_size": 4, "seed": 0, **options})
            assert [read(other), read(other)] == expected, options
        for at in (1, 2):
            resumed = DataLoader(made, batch_size=4, seed=0)
            resumed.load_state_dict({"seed": 0, "epoch": 1, "batch": at})
            assert read(resumed) == expected[1][4 * at :]


@pytest.mark.parametrize("how", DRAWS)
def test_generators_of_the_program_go_on_where_they_were(how):
    torch = pytest.importorskip("torch") if how == "torch" else None
    found = []
    for reads in (False, True):
        tg.seed(5), random.seed(5), legacy.seed(5)
        if torch:
            torch.manual_seed(5)
        DRAWS[how]()
        if reads:
            list(DataLoader(Drawn(DRAWS[how]), seed=0))
        found.append(DRAWS[how]())
    assert found[0] == found[1]


def test_a_sampler_that_draws_from_a_global_generator():
    class Shuffled:
        def __iter__(self):
            return iter(sorted(range(50), key=lambda i: legacy.rand()))

        def __len__(self):
            return 50

    first, second = epochs(np.arange(50), sampler=Shuffled(), seed=1)
    legacy.rand()
    assert epochs(np.arange(50), sampler=Shuffled(), seed=1) == [first, second]
    assert first != second


def test_samplers():
    rare = np.array([0] * 90 + [1] * 10)
    even = data.Weighted(np.where(rare == 1, 9.0, 1.0), count=1000)
    drawn = np.concatenate([y.numpy() for y in DataLoader(rare, sampler=even, seed=0)])
    assert 420 < drawn.sum() < 580
    assert len(drawn) == 1000
    strata = [y.numpy().sum() for y in DataLoader(rare, 10, sampler=data.Stratified(rare), seed=0)]
    assert strata == [1] * 10
    lengths = np.random.default_rng(0).integers(1, 100, 64)
    by_length = data.ByLength(lengths, batch_size=8)
    spread = [np.ptp(b.numpy()) for b in DataLoader(lengths, 8, sampler=by_length, seed=0)]
    assert max(spread) < 30
    assert sorted(by_length(np.random.default_rng(0))) == list(range(64))
    parts = [data.Shard(10, rank, 3)(np.random.default_rng(0)) for rank in range(3)]
    assert [len(p) for p in parts] == [4, 4, 4]
    assert {*np.concatenate(parts)} == {*range(10)}
    assert plain(next(iter(DataLoader(np.arange(9), sampler=[3, 1])))) == [3, 1]


def test_padding():
    samples = [(np.ones((n, 2), np.float32), n) for n in (1, 3)]
    (x, n), lengths = next(iter(DataLoader(samples, collate=data.Pad(-1, lengths=True))))
    assert x.shape == (2, 3, 2)
    assert x.numpy()[0, 1:].tolist() == [[-1, -1]] * 2
    assert (n.tolist(), lengths.tolist()) == ([1, 3], [1, 3])
    with pytest.raises(tg.ShapeError, match=r"Pad\(length=2\): sample 1"):
        data.Pad(length=2)([[1], [1, 2, 3]])


REFUSED = {
    "shapes that change": (lambda: [(np.zeros(2), 0), (np.zeros(3), 1)], "sample 1 has shape .3,."),
    "structures that change": (lambda: [{"a": 1}, {"b": 1}], "sample 1 is a dict of 'b'"),
    "no numbers": (lambda: [(np.zeros(2), object())] * 2, "sample 0 at .1.: .*collate"),
    "an empty list": (lambda: [], "the data is empty"),
    "an empty set": (lambda: Set(0), "the data is empty"),
    "an empty stream": (lambda: iter(()), "the data is empty"),
    "a stream shuffled": (lambda: DataLoader(stream, shuffle=True), "its own order"),
    "two orders": (lambda: DataLoader(Set(), shuffle=True, sampler=[1]), "leave out shuffle"),
    "a sampler beyond": (lambda: DataLoader(Set(), sampler=[50]), "from 50 to 50, .* 50 examples"),
    "a sampler of lists": (lambda: DataLoader(Set(), sampler=[[1, 2]]), "one an example"),
    "a sampler without end": (
        lambda: DataLoader(Set(), sampler=itertools.cycle([1, 2])),
        "gives more than 5,000 indices",
    ),
    "a state of another": (lambda: DataLoader(Set()).load_state_dict({"x": 1}), "state_dict"),
    "negative weights": (lambda: data.Weighted([1.0, -1.0]), "numbers >= 0"),
    "rank": (lambda: data.Shard(4, 2, 2), "numbered from 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, monkeypatch):
    made, says = REFUSED[case]
    monkeypatch.setattr(data.sources, "LONGEST", 1000)

    def read():
        found = made()
        list(found if isinstance(found, DataLoader) else DataLoader(found))

    with pytest.raises(tg.TensorgradError, match=says):
        read()


def test_an_iterator_is_read_once():
    loader = DataLoader(iter([1.0, 2.0]))
    assert [b.tolist() for b in loader] == [[1.0, 2.0]]
    with pytest.raises(tg.ShapeError, match="can be read once: give what makes one"):
        list(loader)


def test_data_sets_of_pytorch():
    torch = pytest.importorskip("torch")
    from torch.utils.data import RandomSampler, TensorDataset

    given = TensorDataset(torch.arange(6.0).reshape(3, 2), torch.arange(3))
    x, y = next(iter(DataLoader(given, batch_size=2, workers=1)))
    assert (x.tolist(), y.tolist()) == ([[0, 1], [2, 3]], [0, 1])
    assert len(list(DataLoader(given, batch_size=1, sampler=RandomSampler(given)))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("form", [None, "numpy"])
def test_data_sets_of_hugging_face(form, workers):
    datasets = pytest.importorskip("datasets")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 3)).astype("float32"), rng.integers(0, 2, 10)
    names = [f"n{i}" for i in range(10)]
    given = datasets.Dataset.from_dict({"x": x, "y": y, "name": names}).with_format(form)
    batches = list(DataLoader(given, batch_size=4, workers=workers))
    assert [name for b in batches for name in b["name"]] == names
    assert batches[0]["x"].dtype == "float32"
    assert np.array_equal(np.concatenate([b["x"].numpy() for b in batches]), x)

    def trained(*data, **options):
        tg.seed(0)
        model = tg.nn.Sequential(tg.nn.Dense(2, 3)).compile("adam", "cross_entropy")
        model.fit(*data, epochs=2, **options)
        return model[0].weight.numpy()

    pairs = given.train_test_split(0.2, shuffle=False)["train"]
    loader = DataLoader(pairs, 4, workers=workers, transform=lambda s: (s["x"], s["y"]))
    assert np.array_equal(trained(loader), trained(x[:8], y[:8], batch_size=4, shuffle=False))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_ctrl_c_while_a_worker_is_started():
    armed = [True]
    os.register_at_fork(
        after_in_parent=lambda: armed and armed.pop() and os.kill(os.getpid(), signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        list(DataLoader(Set(), batch_size=4, workers=2))
    assert not children()


def test_a_list_of_lists_of_different_lengths_is_samples():
    (batch,) = DataLoader([[1, 2, 3], [4]], collate=data.Pad())
    assert batch.tolist() == [[1, 2, 3], [4, 0, 0]]
    with pytest.raises(tg.ShapeError, match=r"sample 1 has shape \(1,\).*data\.Pad\(\)"):
        list(DataLoader([[1, 2, 3], [4]]))


def test_a_function_may_choose_a_part():
    loader = DataLoader(np.arange(10), batch_size=3, sampler=lambda rng: rng.permutation(7))
    assert loader.examples == 7
    assert len(loader) == len(list(loader)) == 3
