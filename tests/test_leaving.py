"""Leaving a loop, by an error or by Ctrl-C, and modes, which belong to the thread that runs."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from tensorgrad.kernels.interrupts import uninterrupted

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.train import Callback, EarlyStopping

X, Y = np.linspace(0, 1, 24).reshape(12, 2).astype("float32"), np.ones((12, 1), "float32")


class Spy(nn.Module):
    """Notes its mode, and calls something."""

    def __init__(self, call=lambda: None):
        self.seen, self.call = [], call

    def forward(self, x):
        self.seen.append(self.training)
        self.call()
        return x


class Noted(Callback):
    """Notes its hooks; one of them may raise something."""

    def __init__(self, calls, name="", **errors):
        self.calls, self.name, self.errors = calls, name, errors

    def note(self, hook):
        self.calls.append(self.name + hook)
        if hook in self.errors:
            raise self.errors[hook]

    def train_begin(self, model, names):
        self.note("begin")

    def epoch_end(self, model, epoch, scores):
        self.note("epoch")

    def train_end(self, model):
        self.note("end")


def model_with(*layers):
    return nn.Sequential(nn.Dense(1, 2), *layers).compile("adam", "mse")


# --- modes --------------------------------------------------------------------------------------


def test_predict_leaves_the_modes_of_other_threads_alone():
    inside, over = threading.Event(), threading.Event()

    def wait():
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            assert over.wait(60)

    spy = Spy(wait)
    model = model_with(spy, nn.Dropout(0.5))
    thread = threading.Thread(target=model.predict, args=(X,))
    thread.start()
    assert inside.wait(60)
    assert spy.seen == [False]
    assert model.training
    assert len(np.unique((model(X) == 0).numpy())) == 2  # drops
    model.fit(X, Y, verbose=0)
    assert spy.seen[1] is True
    assert spy.seen[-1] is True
    over.set()
    thread.join()
    assert model.training


def test_fit_has_a_mode_of_its_own():
    there, elsewhere = Spy(), []

    class Freeze(Callback):
        def train_begin(self, model, names):
            model.stack[1].training = False

        def epoch_end(self, model, epoch, scores):
            thread = threading.Thread(target=lambda: elsewhere.append(there.training))
            thread.start(), thread.join()
            assert model.predict(X).shape == (12, 1)

    model = model_with(nn.BatchNorm1d(1), there).eval()
    teacher = nn.Dropout(0.5).eval()
    model.stack.append(lambda x: [x, assert_evaluating(teacher)][0])
    model.fit(X, Y, epochs=2, batch_size=12, callbacks=Freeze(), verbose=0)
    assert there.seen == [False, True, False, True, False]  # a dry run, then steps and predictions
    assert elsewhere == [False, False]
    assert not model.training
    np.testing.assert_array_equal(model.stack[1].running_mean.numpy(), 0)  # was frozen


def assert_evaluating(module):
    assert not module.training


def test_a_mode_that_forward_sets_is_for_the_rest_of_the_block():
    class Always(nn.Dropout):
        def forward(self, x):
            self.training = True
            return super().forward(x)

    model = model_with(Always(0.5)).eval()
    assert len(np.unique(model.predict(X) == 0)) == 2
    assert not model.stack[1].training


def test_a_mode_of_a_class():
    class Noise(nn.Module):
        training = False

    assert not Noise().training
    assert Noise().train().training
    model = model_with(Noise())
    assert not model.eval().stack[1].training


def test_a_checkpoint_recomputes_in_the_mode_that_it_was_called_in():
    class Scaled(nn.Module):
        def forward(self, x):
            return x * (2.0 if self.training else 3.0)

    layer, gradients = Scaled(), []
    for inner in (layer, lambda x: tg.checkpoint(layer, x), model_with(layer, nn.Dropout(0.5))):
        for change in (None, False):
            x = tg.tensor(X, requires_grad=True)
            tg.seed(1), layer.train()
            if isinstance(inner, nn.Module):
                inner.train()
            y = tg.checkpoint(inner, x).sum()
            if change is not None:
                layer.eval()
                if isinstance(inner, nn.Module):
                    inner.eval()
            y.backward()
            gradients.append(x.grad.numpy())
            assert layer.training is (change is None)
    for a, b in zip(gradients[::2], gradients[1::2], strict=True):
        np.testing.assert_array_equal(a, b)


# --- leaving ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("where", ["epoch", "forward", "validation"])
def test_train_end_is_called_when_training_is_left(error, where):
    calls, steps = [], iter(range(99))

    def fail():
        if where != "epoch" and next(steps) == (7 if where == "forward" else 10):
            raise error

    model = model_with(Spy(fail))
    stop = EarlyStopping("loss")
    given = {"epoch": error} if where == "epoch" else {}
    broken = Noted(calls, "b.", end=OSError("disk full"))
    with pytest.raises(type(error)) as caught:
        model.fit(
            X, Y, epochs=5, batch_size=3, verbose=0, validation_data=(X, Y),
            callbacks=[stop, broken, Noted(calls, "c.", **given)],
        )  # fmt: skip
    assert caught.value is error
    assert calls == [
        "b.begin",
        "c.begin",
        *["b.epoch", "c.epoch"] * (len(calls) // 2 - 2),
        "b.end",
        "c.end",
    ]
    assert "Noted.train_end then raised OSError('disk full')" in error.__notes__
    error.__notes__.clear()
    assert model.training
    assert tg.core.switches.recording
    assert model(tg.ones((1, 2))).node is not None
    if stop.weights is not None:
        np.testing.assert_array_equal(model.get_weights()[0], stop.weights[0])
    model.fit(X, Y, verbose=0)
    assert np.isfinite(model.predict(X)).all()


def test_only_what_had_begun_ends_and_an_error_of_train_end_is_raised():
    calls = []
    with pytest.raises(ValueError, match="first") as caught:
        model_with().fit(
            X,
            Y,
            verbose=0,
            callbacks=[Noted(calls, "a."), Noted(calls, "b.", begin=ValueError("first"))],
        )
    assert calls == ["a.begin", "b.begin", "a.end"]
    assert not hasattr(caught.value, "__notes__")
    calls.clear()
    errors = [Noted(calls, n, end=ValueError(n)) for n in "ab"]
    with pytest.raises(ValueError, match="a") as caught:
        model_with().fit(X, Y, verbose=0, callbacks=[*errors, Noted(calls, "c")])
    assert calls[-3:] == ["aend", "bend", "cend"]
    assert caught.value.__notes__ == ["Noted.train_end then raised ValueError('b')"]


def test_the_progress_bar_is_closed(capsys):
    import tqdm

    def fail():
        if next(calls):
            raise ValueError("mine")

    before, calls = len(tqdm.tqdm._instances), iter([0, 0, 1])
    with pytest.raises(ValueError, match="mine") as kept:
        model_with(Spy(fail)).fit(X, Y, batch_size=4, verbose=1)
    assert kept
    assert len(tqdm.tqdm._instances) == before


def test_weights_are_loaded_whole_or_not_at_all():
    model = nn.Sequential(nn.Dense(2, 2), nn.Dense(2, 2))
    before, given = model.get_weights(), [w + 1 for w in model.get_weights()]
    with pytest.raises(tg.DTypeError):
        model.set_weights([*given[:3], np.array(["a", "b"])])
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_ctrl_c_waits_for_the_end_of_an_update():
    def interrupt(times):
        with uninterrupted():
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
            with uninterrupted():
                steps.append(times)
            steps.append(times)

    before, steps = signal.getsignal(signal.SIGINT), []
    for times in (1, 2):  # the second does not wait
        with pytest.raises(KeyboardInterrupt):
            interrupt(times)
        assert signal.getsignal(signal.SIGINT) is before
    assert steps == [1, 1]

    class Interrupted(tg.optim.SGD):
        def update(self, params, grads, states, group):
            signal.raise_signal(signal.SIGINT)
            super().update(params, grads, states, group)

    p = nn.Parameter([1.0])
    (p * 2).sum().backward()
    with pytest.raises(KeyboardInterrupt):
        Interrupted([p], lr=0.25).step()
    assert p.tolist() == [0.5]
    assert signal.getsignal(signal.SIGINT) is before


def test_ops_are_registered_again_when_an_import_is_tried_again():
    """Ctrl-C in an import leaves the ops that it had made; others of their names are mistakes."""
    code = (
        "import sys, tensorgrad as tg; from tensorgrad import nn; from tensorgrad.core import op;"
        "del sys.modules['tensorgrad.ops.recurrent']; import tensorgrad.ops.recurrent;"
        "exec('@op()\\ndef exp(x): return 1')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1] == "TypeError: op exp is registered twice"
