"""Threads that train and predict at once, processes that fork beside them, and Ctrl-C at moments
that are drawn: numbers are those of one thread, and what was left can be used again."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.switches import _NAMES, modes, switches
from tensorgrad.train import Callback

pytestmark = [pytest.mark.host, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def data(seed, n=64):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 8)).astype("float32"), rng.integers(0, 3, n)


def model_of(seed):
    tg.seed(seed)
    layers = [nn.Dense(64, 8, activation="gelu"), nn.LayerNorm(64), nn.BatchNorm1d(64)]
    model = nn.Sequential([*layers, nn.Dense(3, 64)])
    return model.compile(tg.optim.Adam(lr=0.01), "cross_entropy", ["accuracy"])


def fit(model, seed, epochs=3, **options):
    x, y = data(seed)
    options = {"batch_size": 16, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, epochs=epochs, **options)


def own_loop(model, seed):
    """Training with what modes there are: autocast, a checkpoint, a loss scale, no_grad."""
    x, y = data(seed)
    optimizer, scale = tg.optim.AdamW(model.parameters(), lr=0.01), tg.optim.LossScale(2.0**10)
    for i in range(0, 64, 16):
        with tg.autocast("float16"):
            loss = tg.losses.cross_entropy(tg.checkpoint(model, x[i : i + 16]), y[i : i + 16])
        optimizer.zero_grad()
        scale(loss).backward()
        scale.step(optimizer)
        with tg.no_grad():
            model(x)
    tg.grad(lambda x: model(x).sum())(x)


def same(ours, theirs):
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def in_threads(calls):
    """Run the calls at once; the first error is raised."""
    errors, start = [], threading.Barrier(len(calls))

    def run(call):
        try:
            start.wait(60)
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def test_threads_train_to_the_bits_of_one_thread(seeds):
    for seed in seeds(3):
        draw = random.Random(seed)
        jobs = [(draw.choice([fit, own_loop]), draw.randrange(2)) for _ in range(4)]
        alone = [model_of(start) for _, start in jobs]
        for model, (train, start) in zip(alone, jobs, strict=True):
            train(model, start)
        together = [model_of(start) for _, start in jobs]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(draw.choice([1e-6, 1e-4, interval]))
        try:
            in_threads(
                [
                    lambda model=model, job=job: job[0](model, job[1])
                    for model, job in zip(together, jobs, strict=True)
                ]
            )
        finally:
            sys.setswitchinterval(interval)
        for a, b in zip(alone, together, strict=True):
            same(a, b)


def test_others_predict_with_the_model_that_one_thread_trains(seeds):
    class Mode(nn.Module):
        def forward(self, x):
            seen.setdefault(threading.get_ident(), set()).add(self.training)
            return x

    for seed in seeds(2):
        draw, seen, ended = random.Random(seed), {}, threading.Event()
        alone, shared = model_of(seed), model_of(seed)
        fit(alone, seed, epochs=8)
        shared.add(Mode())
        own = draw.choice([True, False])
        shared.train(own)

        def train():
            try:
                fit(shared, seed, epochs=8)
            finally:
                ended.set()

        def use():
            x, y = data(seed)
            while not ended.is_set():
                assert np.isfinite(shared.predict(x)).all()
                shared.evaluate(x, y)

        before = threading.get_ident()
        in_threads([train, use, use])
        assert before not in seen
        assert sorted(map(sorted, seen.values())) == [[False], [False], [False, True]]
        assert {m.training for m in shared.modules()} == {own}
        same(alone, shared)


# --- signals ------------------------------------------------------------------------------------


class Moments:
    """Counts the moments at which CPython raises what a signal's handler raises: where a function
    of Python begins and one of C has ended. At the n-th a real SIGINT comes."""

    def __init__(self, n):
        self.left, self.count = n, 0

    def __call__(self, frame, event, arg):
        if event in ("call", "c_return"):
            self.count += 1
            if self.count == self.left:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)


def interrupted(call, n):
    """Call, with Ctrl-C at its n-th moment: (how many there were, whether it was raised)."""
    moments = Moments(n)
    sys.setprofile(moments)
    try:
        call()
    except KeyboardInterrupt:
        return moments.count, True
    finally:
        sys.setprofile(None)
    return moments.count, False  # in a finalizer, where Python drops it


class Count(Callback):
    def __init__(self):
        self.open = 0

    def train_begin(self, model, names):
        self.open += 1

    def train_end(self, model):
        self.open -= 1


def steps_of(model, seed):
    """The weights after each step of training, with the optimizer's state."""
    states = []

    def note(output, y):
        states.append(state_of(model))
        return output.mean()

    x, y = data(seed)
    model.plan.outputs[0].metrics["note"] = note
    fit(model, seed, validation_data=(x[:8], y[:8]))
    return states


def state_of(model):
    optimizer = model.plan.optimizer
    inner = [a for i in sorted(optimizer.state) for a in optimizer.state[i]]
    hyper = [group["hyper"] for group in optimizer.groups]
    return optimizer.steps, [
        np.copy(a) for a in [*(p.data for p in model.parameters()), *inner, *hyper]
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_at_any_moment_of_fit(seeds):
    x, y = data(0)
    wanted = dict(steps_of(model_of(0), 0))
    usual = {name: getattr(switches, name) for name in _NAMES}
    handler, before, count = signal.getsignal(signal.SIGINT), len(modes), Count()
    call = lambda model: fit(model, 0, validation_data=(x[:8], y[:8]), callbacks=count)  # noqa: E731
    call(model_of(0))
    total, _ = interrupted(lambda: call(model_of(0)), -1)
    raised = 0
    for seed in seeds(60):
        model = model_of(0)
        raised += interrupted(
            lambda model=model: call(model), random.Random(seed).randrange(total)
        )[1]
        now = {name: getattr(switches, name) for name in _NAMES}
        assert now == usual
        assert signal.getsignal(signal.SIGINT) is handler
        assert count.open == 0
        steps, arrays = state_of(model)
        if steps:  # whole steps alone
            for ours, theirs in zip(arrays, wanted[steps], strict=True):
                np.testing.assert_array_equal(ours, theirs)
        del modes[before:]  # left by Ctrl-C where a block begins or ends: it costs time alone
        fit(model, 0, epochs=1)
        model.predict(x)
    assert raised > 40


SCRIPT = """
import os, signal
import numpy as np, tensorgrad as tg
rng = np.random.default_rng(0)
x, y = rng.standard_normal((128, 1, 12, 12)).astype("float32"), rng.integers(0, 4, 128)
def run():
    from tensorgrad import nn
    tg.seed(0)
    layers = nn.Conv(8, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Dense(4)
    model = nn.Sequential(*layers).compile("adam", "cross_entropy", ["accuracy"])
    model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y))
    return b"".join([w.tobytes() for w in model.get_weights()])
"""
INTERRUPTED = """
try:
    print("ready", flush=True)
    while True:
        run()
except KeyboardInterrupt:
    pass
first = run()
assert run() == first
print("done", hash(first), flush=True)
"""
FORKED = """
import threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
first, ends = run(), []
def train():
    for _ in range(20):
        run_quietly()
lock = threading.Lock()
def run_quietly():
    from tensorgrad import nn
    layers = nn.Conv(8, 3), nn.Flatten(), nn.Dense(4)
    model = nn.Sequential(*layers).compile("adam", "cross_entropy")
    model.fit(x, y, epochs=1, verbose=0)
thread = threading.Thread(target=train)
thread.start()
for pause in PAUSES:
    time.sleep(pause)
    if not (pid := os.fork()):
        signal.alarm(60)
        os._exit(0 if run() == first else 1)
    ends.append(os.waitpid(pid, 0)[1])
thread.join()
print("done", ends, run() == first, flush=True)
"""


def script(text, **env):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + text],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", **env},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_ctrl_c_in_a_process_that_imports_compiles_and_trains(seeds, cache, tmp_path):
    for seed in seeds(4 if cache == "warm" else 1):
        place = {} if cache == "warm" else {"NUMBA_CACHE_DIR": str(tmp_path / str(seed))}
        process = script(INTERRUPTED, **place)
        try:
            process.stdout.readline()
            most = 2.0 if cache == "warm" else 12.0
            threading.Event().wait(random.Random(seed).uniform(0, most))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=240)
        finally:
            process.kill()
        assert out.startswith("done"), (seed, out, err)
        assert process.returncode == 0, (seed, out, err)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_process_forks_while_a_thread_trains(seeds):
    for seed in seeds(2):
        draw = random.Random(seed)
        pauses = [draw.uniform(0, 0.1) for _ in range(4)]
        process = script(FORKED.replace("PAUSES", repr(pauses)))
        try:
            out, err = process.communicate(timeout=240)
        finally:
            process.kill()
        assert out.splitlines() == ["done [0, 0, 0, 0] True"], (seed, out, err)
