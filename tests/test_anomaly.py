"""detect_anomaly: the op, line and layer of the first NaN, and of errors in backward."""

import threading
from contextlib import nullcontext

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import dispatch, nn
from tensorgrad.core import OPS

from .steps import training


class Root(nn.Module):
    def forward(self, x):
        return tg.sqrt(x)


def here():
    """A regular expression for `this file:line`."""
    return r"test_anomaly\.py:\d+"


def test_the_op_line_and_layer_of_a_result(backend):
    model = nn.Sequential([nn.Dense(3, 2), nn.Sequential([Root()])]).to(backend)
    x = tg.asarray(-np.ones((2, 2), "float32"), backend=backend)
    model.layers[0].weight.data[...] = 1
    wanted = (
        rf"^sqrt at {here()} gave NaN from x in \[-2, -2\]\n  in layer layers\[1\]\.layers\[0\]"
    )
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match=wanted):
        model(x)
    assert np.isnan(model(x).numpy()).all(), "only within the block"


def test_the_op_line_and_layer_of_a_gradient(backend):
    model = nn.Sequential([nn.Dense(3, 2, activation="relu"), Root(), nn.Dense(1, 3)]).to(backend)
    x = tg.asarray(np.zeros((2, 2), "float32"), backend=backend)
    with tg.detect_anomaly():
        loss = (model(x) * 0).sum()
        with pytest.raises(tg.AnomalyError) as raised:
            loss.backward()
    text = str(raised.value)
    assert text.startswith("backward of sqrt at test_anomaly.py:")
    assert "in layer layers[1] (Root of Sequential) gave NaN for x" in text
    assert "the cotangent in [0, 0]" in text
    assert text.count("backward of") == 1
    assert all(p.grad is None for p in model.parameters())


def test_numbers_that_were_none_before():
    w = tg.tensor([np.nan, 1.0], requires_grad=True)
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match="NaN was in b already"):
        tg.ones(2) * w
    y = (w * 2).sum()
    with (
        tg.detect_anomaly(),
        pytest.raises(tg.AnomalyError, match=r"sum gave NaN.*gent already"),
    ):
        y.backward(np.nan)


class Bad(tg.Function):
    """A function whose gradient is NaN."""

    def forward(ctx, x):
        return x + 1

    def backward(ctx, g):
        return g * np.inf * 0


def test_custom_functions_and_ops_of_several_results():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.detect_anomaly():
        y = Bad.apply(w).sum()
        with pytest.raises(tg.AnomalyError, match="backward of Bad gave NaN"):
            y.backward()
        a, b = tg.split(w - 1, 2)
        with pytest.raises(tg.AnomalyError, match=rf"log at {here()}"):
            tg.log(a - b)


def test_gradients_of_gradients():
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match="NaN"):
        tg.grad(tg.grad(lambda x: tg.sqrt(x) * 0))(0.0)


def test_masked_intermediates_of_our_own_ops_are_no_anomaly():
    """Every op on its own samples: under detect_anomaly it gives the same results."""
    for op in OPS.values():
        if not op.differentiable or op.samples is None:
            continue
        for args, params in op.samples():
            found = []
            for mode in (nullcontext(), tg.detect_anomaly()):
                inputs = [
                    tg.tensor(a, requires_grad=True)
                    if isinstance(a, np.ndarray) and a.dtype.kind == "f"
                    else (tg.asarray(a)._data if isinstance(a, np.ndarray) else a)
                    for a in args
                ]
                tracked = [t for t in inputs if isinstance(t, tg.Tensor)]
                with mode:
                    y = op(*inputs, **params)
                    ys = [t for t in (y if op.outputs else (y,)) if t is not None]
                    for t in ys:
                        if t.requires_grad:
                            t.sum().real.backward(retain_graph=True)
                found.append(
                    [
                        *[t.numpy() for t in ys],
                        *[t.grad.numpy() for t in tracked if t.grad is not None],
                    ]
                )
            for a, b in zip(*found, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=op.name)


def test_the_switch_is_of_the_thread_and_of_the_outermost_block():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(tg.log(tg.asarray([-1.0])).tolist()))
    with tg.detect_anomaly():
        with tg.detect_anomaly():
            tg.exp(tg.ones(2))
        with pytest.raises(tg.AnomalyError):
            tg.log(tg.asarray([-1.0]))
        thread.start()
        thread.join()
    assert np.isnan(seen[0]).all()
    assert np.isnan(tg.log(tg.asarray([-1.0])).tolist()).all()
    decorated = tg.detect_anomaly()(lambda: tg.log(tg.asarray([-1.0])))
    with pytest.raises(tg.AnomalyError):
        decorated()


def test_places_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr("tensorgrad.anomaly._MOST", 50)
    w = tg.tensor([1.0], requires_grad=True)
    with tg.detect_anomaly() as mode:
        for _ in range(200):
            y = w * 1.0
        assert len(mode._places) <= 50
        with pytest.raises(tg.AnomalyError, match=rf"multiply at {here()}"):
            y.backward([np.nan])


class Greedy(tg.Function):
    def forward(ctx, x):
        return x + 1

    def backward(ctx, g):
        return np.ones((10**7, 10**7)) * g


class Hungry(nn.Module):
    def forward(self, x):
        return Greedy.apply(x)


def test_no_memory_in_backward_names_the_op_and_here_its_layer():
    model, x = nn.Sequential([Hungry()]), tg.tensor([1.0], requires_grad=True)
    with pytest.raises(tg.OutOfMemoryError, match=r"^backward of Greedy: .*allocate"):
        model(x).backward()
    outer = tg.tensor(np.ones((1, 10**7), "float32"), requires_grad=True)
    with tg.detect_anomaly():
        y = model(x) * 2.0
        with pytest.raises(tg.OutOfMemoryError, match="backward of Greedy"):
            y.backward()
        z = nn.Sequential([Sum()])(outer)
        with pytest.raises(tg.OutOfMemoryError) as raised:
            z.backward(np.ones((1, 10**7), "float32"), create_graph=True)
    assert "in the backward of Pairs" in str(raised.value)


class Pairs(tg.Function):
    """A function whose backward uses our ops, one of which runs out of memory."""

    def forward(ctx, x):
        return x + 1

    def backward(ctx, g):
        return tg.asarray(np.ones((10**7, 1), "float32")) * g


class Sum(nn.Module):
    def forward(self, x):
        return Pairs.apply(x)


@pytest.mark.slow
def test_a_graphed_step_runs_as_it_is(gpu):
    run = training(gpu.name)
    batches = [next(run.batches) for _ in range(4)]
    quick = tg.cuda.graphed(run.step, batches[0], warmup=1)
    for batch in batches[:3]:
        quick(*batch)
    with tg.detect_anomaly():
        assert np.isfinite(quick(*batches[3]).item())


def test_blocks_of_two_threads_end_in_any_order():
    """The blocks of two threads are independent, and leave no watcher behind."""
    entered, left, seen = threading.Event(), threading.Event(), []

    def other():
        with tg.detect_anomaly():
            entered.set()
            left.wait()
            try:
                tg.log(tg.asarray([-1.0]))
            except tg.AnomalyError as error:
                seen.append(str(error))

    thread = threading.Thread(target=other)
    with tg.detect_anomaly():
        thread.start()
        entered.wait()
    left.set()
    thread.join()
    assert len(seen) == 1
    assert not dispatch._watchers


OUTSIDE = {  # what is called with an index out of range, and what the error says
    "x[index]": (lambda x, i: x[i], r"x\[index\] at {}: the indices run from -?\d to \d"),
    "x[:, index]": (lambda x, i: x[:, i], r"x\[index\] at {}: .* axis 1 has 3 positions"),
    "x[index, 0]": (lambda x, i: x[i, 0], r"x\[index\] at {}: .* axis 0 has 3 positions"),
    "x[..., index]": (lambda x, i: x[..., i], r"x\[index\] at {}: .* axis 1 has 3 positions"),
    "embedding": (tg.embedding, r"embedding at {}: ids run from .* outside 0\.\.2"),
    "cross_entropy": (tg.cross_entropy, r"softmax_cross_entropy at {}: labels run"),
}


@pytest.mark.parametrize("index", [[0, 1, 3], [-4, 0, 1]])
@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_out_of_range_is_an_error_on_a_gpu(name, index, gpu):
    (call, wanted), x = OUTSIDE[name], tg.ones((3, 3), backend=gpu.name)
    index = tg.tensor(index, dtype="int64", backend=gpu.name)
    call(x, index)  # outside of the block the host does not wait for the GPU
    with tg.detect_anomaly():
        with pytest.raises(tg.IndexingError, match=wanted.format(here())):
            call(x, index)
        call(x, index * 0 + 2)
        call(x, index[:0] if name != "cross_entropy" else index * 0)


def test_an_assignment_out_of_range_is_an_error_on_a_gpu(gpu):
    x = tg.ones((3, 3), backend=gpu.name)
    index = tg.tensor([0, 3], dtype="int64", backend=gpu.name)
    with tg.detect_anomaly(), pytest.raises(tg.IndexingError, match=rf"at {here()}: .*0 to 3"):
        x[index] = 2.0
    assert (x.numpy() == 1).all()


@pytest.mark.parametrize("index", [[0, 3], np.array([-4]), np.array(3)])
def test_an_index_of_the_host_is_checked_there(index, backend):
    x = tg.ones((3, 3))
    with pytest.raises(tg.IndexingError):
        x[index]
    with pytest.raises(tg.IndexingError):
        x[:, index] = 1.0
