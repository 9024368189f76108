"""Runs that are stopped and go on: bit for bit as if they had not been."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.data import DataLoader
from tensorgrad.train import Callback, Checkpoint, EarlyStopping

ROOT = Path(__file__).parent.parent
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 1))
OPTIMIZERS = {
    "adam": lambda: "adam",
    "schedule": lambda: tg.optim.SGD(lr=tg.optim.schedules.cosine(0.01, 30), momentum=0.9),
}


class Stop(Exception):
    pass


class StopAt(Callback):
    """Raises after so many calls of the model."""

    def __init__(self, steps):
        self.steps = steps

    def train_begin(self, model, names):
        def count(module, inputs):
            if model.training:
                self.steps -= 1
            if self.steps < 0:
                raise Stop

        self.handle = model.register_forward_pre_hook(count)

    def train_end(self, model):
        self.handle.remove()


class Halve(Callback):
    """Sets the learning rate by what it has counted, and freezes a layer."""

    def train_begin(self, model, names):
        self.seen = 0

    def epoch_end(self, model, epoch, scores):
        self.seen += 1
        if self.seen == 2:
            model.plan.optimizer.lr = 0.01
            model[0].trainable = False

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def program(folder, optimizer="adam", stop=None, epochs=4, every=None, seed=3, later=False):
    """The user's program: the same text each time."""
    tg.seed(seed)
    model = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Dropout(0.3), nn.Dense(1))
    model.compile(OPTIMIZERS[optimizer](), "mse", metrics=["mae"])
    callbacks = [Halve(), EarlyStopping("loss", patience=9)]
    if folder is not None:
        callbacks.insert(0, Checkpoint(folder, keep=2, every=every, asynchronous=later))
    if stop is not None:
        callbacks.append(StopAt(stop))
    else:
        callbacks.append(StopAt(10**9))
    resume = "auto" if folder is not None else False
    past = model.fit(X, Y, epochs=epochs, batch_size=5, callbacks=callbacks, resume=resume)
    state = model.state_dict()
    return state, past.history, tg.randn(3).numpy(), model.plan.optimizer.state_dict()


def same(a, b):
    assert a[0].keys() == b[0].keys()
    for name in a[0]:
        np.testing.assert_array_equal(a[0][name], b[0][name], err_msg=name)
    assert a[1] == b[1]
    np.testing.assert_array_equal(a[2], b[2])
    assert a[3]["steps"] == b[3]["steps"]
    np.testing.assert_array_equal(np.concatenate(a[3]["hyper"]), np.concatenate(b[3]["hyper"]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("every", "stops"), [(None, [7, 9]), (3, [4, 1, 7]), (1, [0, 5, 8])])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(tmp_path, optimizer, every, stops):
    whole = program(None, optimizer)
    for stop in stops:
        seed = 99 if Checkpoint(tmp_path / "run").checkpoints() else 3  # then it is restored
        with pytest.raises(Stop):
            program(tmp_path / "run", optimizer, stop, every=every, seed=seed)
    same(program(tmp_path / "run", optimizer, every=every, seed=11), whole)
    names = sorted(os.listdir(tmp_path / "run"))
    assert len([n for n in names if n.startswith("checkpoint-")]) == 2
    assert [n for n in names if not n.startswith("checkpoint-")] == [".lock"]


class Samples:
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], Y[i]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loader_goes_on_in_the_middle_of_an_epoch(tmp_path, workers):
    def run(folder, stop):
        tg.seed(3)
        model = nn.Sequential(nn.Dense(4), nn.Dropout(0.3), nn.Dense(1)).compile("adam", "mse")
        calls = [StopAt(stop), *([Checkpoint(folder, every=2)] if folder else [])]
        loader = DataLoader(Samples(), 5, shuffle=True, workers=workers)
        model.fit(loader, epochs=3, callbacks=calls, resume="auto" if folder else False)
        return model.get_weights()

    whole = run(None, 10**9)
    for stop in (4, 5):
        with pytest.raises(Stop):
            run(tmp_path / "run", stop)
    for a, b in zip(run(tmp_path / "run", 10**9), whole, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("drawn", ["python", "numpy", "torch"])
def test_what_draws_from_global_generators_goes_on_too(tmp_path, drawn):
    torch = pytest.importorskip("torch") if drawn == "torch" else None
    legacy = np.random

    def batches():
        shuffled = {"python": random.random, "numpy": legacy.rand}[drawn]
        order = sorted(range(len(X)), key=lambda i: shuffled())
        for i in range(0, len(X), 5):
            yield X[order[i : i + 5]], Y[order[i : i + 5]]

    def run(folder, stop, seed=3):
        tg.seed(3), random.seed(seed), legacy.seed(seed)
        given = batches
        if torch:
            torch.manual_seed(seed)
            pairs = [(x, y) for x, y in zip(X, Y, strict=True)]
            given = torch.utils.data.DataLoader(pairs, 5, shuffle=True)
        model = nn.Sequential(nn.Dense(1)).compile("adam", "mse")
        calls = [StopAt(stop), *([Checkpoint(folder)] if folder else [])]
        past = model.fit(given, epochs=4, callbacks=calls, resume="auto" if folder else False)
        return past.losses

    whole = run(None, 10**9)
    with pytest.raises(Stop):
        run(tmp_path, 12)
    assert run(tmp_path, 10**9, seed=11) == whole


def test_a_finished_run_goes_on_for_more_epochs(tmp_path, backend):
    whole = program(None, epochs=3)
    program(tmp_path / "run", epochs=1)
    same(program(tmp_path / "run", epochs=3), whole)
    same(program(tmp_path / "run", epochs=3)[:2] + whole[2:], whole)  # nothing is left to do


def test_early_stopping_stays_stopped(tmp_path):
    def run(epochs):
        model = nn.Sequential(nn.Dense(1, 3)).compile(tg.optim.SGD(lr=0.0), "mse")
        calls = [EarlyStopping("loss", patience=1), Checkpoint(tmp_path / "run")]
        return model.fit(X, Y, epochs=epochs, shuffle=False, callbacks=calls, resume="auto")

    assert run(9).epochs == 2
    assert run(20).epochs == 2


def test_a_loop_of_ones_own(tmp_path):
    def run(folder, stop):
        tg.seed(1)
        model = nn.Dense(1, 3)
        optimizer, scale = tg.optim.Adam(model.parameters()), tg.optim.LossScale(8.0, interval=3)
        loader = DataLoader((X, Y), batch_size=5, shuffle=True)
        parts = {"model": model, "optimizer": optimizer, "scale": scale, "loader": loader}
        checkpoint = Checkpoint(folder, **parts)
        try:
            values = checkpoint.restore() or {"epoch": 0, "steps": 0}
            steps = values["steps"]
            for epoch in range(values["epoch"], 3):
                for x, y in loader:
                    if steps == stop:
                        return None
                    loss = ((model(x.astype("float32")) - y) ** 2).mean()
                    optimizer.zero_grad()
                    scale(loss).backward()
                    scale.step(optimizer)
                    steps += 1
                    checkpoint.save(epoch=epoch, steps=steps)
        finally:
            checkpoint.close()
        return model.weight.numpy(), scale.value, steps

    whole = run(tmp_path / "whole", None)
    for stop in (2, 7, 12):
        assert run(tmp_path / "parts", stop) is None
    again = run(tmp_path / "parts", None)
    np.testing.assert_array_equal(again[0], whole[0])
    assert again[1:] == whole[1:]


# --- asynchronous ---------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [None, 1])
def test_an_asynchronous_one_goes_on_as_well(tmp_path, every):
    whole = program(None)
    for stop in (0, 7, 5):
        with pytest.raises(Stop):
            program(tmp_path, stop=stop, every=every, later=True)
    same(program(tmp_path, every=every, later=True), whole)
    assert len(Checkpoint(tmp_path).checkpoints()) == 2  # older ones are removed


def test_what_is_saved_is_that_of_the_call(tmp_path, monkeypatch):
    """Training goes on while the file is written, and a second save waits."""
    began, go, save = threading.Event(), threading.Event(), tg.files.save

    def slowly(*args):
        began.set()
        assert go.wait(60)
        save(*args)

    monkeypatch.setattr(tg.files, "save", slowly)
    model, seen = nn.Dense(1, 3), [1]
    keep = Checkpoint(tmp_path, asynchronous=True, model=model)
    before = model.weight.numpy().copy()
    path = keep.save(seen=seen)
    assert began.wait(60)
    model.weight.data = model.weight.data * 0
    seen.append(2)
    assert not path.exists()
    threading.Timer(0.05, go.set).start()
    assert keep.save(seen=seen) != path
    assert path.exists()  # the last one was waited for
    keep.close()
    first = tg.load(path)
    np.testing.assert_array_equal(first["parts"]["model"]["weights"]["weight"], before)
    assert first["values"] == {"seen": [1]}
    assert Checkpoint(tmp_path, model=model).restore() == {"seen": [1, 2]}


def test_an_error_of_the_thread_reaches_the_user(tmp_path, monkeypatch):
    def full(*args):
        raise tg.FileError("the disk is full")

    keep = Checkpoint(tmp_path / "mine", asynchronous=True)
    with monkeypatch.context() as patch:
        patch.setattr(tg.files, "save", full)
        for end in (keep.save, keep.checkpoints, keep.close):
            keep.save()
            with pytest.raises(tg.FileError, match="disk is full"):
                end()
        with pytest.raises(tg.FileError, match="disk is full"):  # at the end of training
            program(tmp_path / "run", epochs=1, later=True)
    assert keep.save() in keep.checkpoints()  # and it can be used again
    keep.close()
    whole = program(None)
    same(program(tmp_path / "run", later=True), whole)


# --- what cannot go on ----------------------------------------------------------------------------


def fitted(folder, model=None, resume="auto", x=X, calls=()):
    model = nn.Sequential(nn.Dense(1, 3)) if model is None else model
    model.compile("adam", "mse")
    return model.fit(x, x[:, :1], callbacks=[*calls, Checkpoint(folder)], resume=resume)


WRONG = {
    "of an earlier run": (lambda f: fitted(f, resume=False), tg.FileError, 'resume="auto"'),
    "another model": (
        lambda f: fitted(f, nn.Sequential(nn.Dense(1, 3), nn.Dense(1, 1))),
        tg.FileError,
        r"of another model: .*missing layers\[1\]",
    ),
    "other data": (lambda f: fitted(f, x=X[:7]), tg.FileError, "23 examples"),
    "other callbacks": (
        lambda f: fitted(f, calls=[EarlyStopping("loss")]),
        tg.FileError,
        "give the same",
    ),
    "none there": (lambda f: fitted(f / "x", resume=True), tg.FileError, "no checkpoint"),
    "no callback": (
        lambda f: nn.Sequential(nn.Dense(1, 3)).compile("sgd", "mse").fit(X, Y, resume="auto"),
        tg.ArgumentError,
        "needs a checkpoint",
    ),
    "other parts": (lambda f: Checkpoint(f, model=nn.Dense(1, 3)).restore(), tg.FileError, "to be"),
    "no part": (lambda f: Checkpoint(f, model=3), tg.ArgumentError, "no state_dict"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_go_on_says_why(tmp_path, name):
    fitted(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.glob("check*")}
    call, error, says = WRONG[name]
    with pytest.raises(error, match=says):
        call(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.glob("check*")} == before
    assert fitted(tmp_path).epochs == 1  # the lock is free, and the run as it was


def test_a_checkpoint_that_is_damaged_or_newer(tmp_path):
    fitted(tmp_path)
    path = Checkpoint(tmp_path).checkpoints()[-1]
    saved = tg.load(path, backend="numpy")
    tg.save({**saved, "checkpoint": 99}, path)
    with pytest.raises(tg.FileError, match=r"version 99.*update"):
        fitted(tmp_path)
    tg.save([1], path)
    with pytest.raises(tg.FileError, match="is no checkpoint"):
        fitted(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(tg.FileError, match="no whole"):
        fitted(tmp_path)


def test_a_failed_restore_changes_nothing(tmp_path):
    one, two = nn.Dense(1, 3), nn.Dense(2, 3)
    saver = Checkpoint(tmp_path, a=one, b=two)
    saver.save()
    saver.close()
    other, wrong = nn.Dense(1, 3), nn.Dense(5, 3)
    before, state = other.get_weights(), tg.random.get_state()
    with pytest.raises(tg.FileError, match="another b"):
        Checkpoint(tmp_path, a=other, b=wrong).restore()
    assert all((a == b).all() for a, b in zip(before, other.get_weights(), strict=True))
    assert tg.random.get_state() == state


DISKS = {
    "full": (errno.ENOSPC, "the disk is full"),
    "read-only": (errno.EROFS, "file system is read-only"),
    "another's": (errno.EACCES, "no permission"),
}


@pytest.mark.parametrize(
    ("disk", "later"), [("full", True), ("read-only", False), ("another's", False)]
)
def test_a_disk_that_fails_loses_nothing(tmp_path, monkeypatch, disk, later):
    code, says = DISKS[disk]
    sync, left = os.fsync, iter([True, True])  # of a file and its folder, or so

    def failing(descriptor):
        if not next(left, False):
            raise OSError(code, os.strerror(code))
        return sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(tg.FileError, match=says) as caught:
            program(tmp_path / "run", later=later)
    assert "checkpoint-0000000" in str(caught.value)  # the file
    assert [p.name for p in Checkpoint(tmp_path / "run").checkpoints()]
    same(program(tmp_path / "run", later=later, seed=11), program(None))
    assert not [n for n in os.listdir(tmp_path / "run") if n[:4] not in ("chec", ".loc")]


OTHER = "import sys, tensorgrad as tg; c = tg.train.Checkpoint(sys.argv[1]); c.save(); input()"


def child(program, *args, **options):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.Popen(command, env=env, text=True, **options)


@pytest.mark.slow
@pytest.mark.host
def test_two_processes_cannot_write_one_run(tmp_path):
    with child(OTHER, tmp_path / "run", stdin=subprocess.PIPE) as other:
        while not Checkpoint(tmp_path / "run").checkpoints():
            time.sleep(0.05)
        with pytest.raises(tg.FileError, match=rf"another process \(process {other.pid}"):
            fitted(tmp_path / "run")
        other.kill()
    fitted(tmp_path / "new")
    Checkpoint(tmp_path / "run").save()


@pytest.mark.host
@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    os.chmod(tmp_path, 0o500)
    with pytest.raises(tg.FileError, match="no permission"):
        fitted(tmp_path / "run")


TRAINS = """
import sys, numpy as np, tensorgrad as tg
from tensorgrad import nn
tg.seed(0)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(40, 30)), rng.normal(size=(40, 1))
model = nn.Sequential(nn.Dense(300), nn.Dropout(0.2), nn.Dense(1)).compile("adam", "mse")
print("ready", flush=True)
how = {"keep": 3, "every": 1, "asynchronous": sys.argv[3] == "later"}
calls = [tg.train.Checkpoint(sys.argv[1], **how)] if sys.argv[1] else []
model.fit(x, y, epochs=12, batch_size=10, callbacks=calls, resume="auto" if calls else False)
tg.save(model.state_dict(), sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.host
def test_killed_at_any_moment_it_goes_on(tmp_path):
    run, rng, kills = tmp_path / "run", random.Random(0), 0
    with child(TRAINS, "", tmp_path / "whole", "now"):
        pass
    while kills < 20:
        how = "later" if kills % 2 else "now"  # in a thread, and not
        with child(TRAINS, run, tmp_path / "end", how, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(rng.random() * 0.25)
            process.send_signal(signal.SIGKILL)
        kills += 1
        for path in Checkpoint(run).checkpoints():
            tg.load(path)  # whole
    with child(TRAINS, run, tmp_path / "end", "later"):
        pass
    whole, end = tg.load(tmp_path / "whole"), tg.load(tmp_path / "end")
    assert all((whole[name] == end[name]).all() for name in whole)
    left = [n for n in os.listdir(run) if not n.startswith("checkpoint-")]
    assert left == [".lock"]


class Noisy:
    """Samples that are drawn anew each time."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i] + tg.data.rng().normal(0, 0.1, X[i].shape).astype(X.dtype), Y[i]


@pytest.mark.parametrize(("accumulate", "every"), [(1, 3), (4, 3), (4, 1)])
def test_random_validation_logs_and_accumulated_gradients(tmp_path, accumulate, every):
    def run(name, stop=None):
        tg.seed(3)
        model = nn.Sequential(nn.Dense(4), nn.Dropout(0.3), nn.Dense(1)).compile("adam", "mse")
        loaders = [tg.data.DataLoader(Noisy(), 5, shuffle=True) for _ in range(2)]
        calls = [
            Checkpoint(tmp_path / name, every=every),
            tg.train.CSVLogger(tmp_path / f"{name}.csv"),
            EarlyStopping(patience=9),
            StopAt(10**9 if stop is None else stop),
        ]
        past = model.fit(
            loaders[0],
            epochs=6,
            validation_data=loaders[1],
            validation_freq=2,
            callbacks=calls,
            resume="auto",
            accumulate=accumulate,
        )
        log = (tmp_path / f"{name}.csv").read_text()
        return model.predict(X), past.history, past.places, log

    whole = run("whole")
    assert len(whole[3].splitlines()) == 7
    if every == 1:  # one for each update, of four batches and of the fifth
        last = Checkpoint(tmp_path / "whole").checkpoints()[-1]
        assert last.name == "checkpoint-00000012.safetensors"
    per = -(-len(X) // 5)
    for stop in (per - 1, per, per + 3):  # in the first epoch, after it, after a validation
        with pytest.raises(Stop):
            run("cut", stop)
    again = run("cut")
    np.testing.assert_array_equal(again[0], whole[0])
    assert again[1:] == whole[1:]
