"""Convolution and attention by cuDNN, on a stand-in and on a GPU."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from typing import NamedTuple

import numpy as np
import pytest
from tensorgrad.kernels.cuda import cublas, cudnn

import tensorgrad as tg
from tensorgrad import backend as backends
from tensorgrad import nn
from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw

from .conftest import _missing
from .cudasim import cudnn as stand_in
from .test_cuda_attention import attends, qkv
from .test_cuda_conv import samples
from .test_gpu_parity import trained
from .test_kernels import CUDA, run

pytestmark = pytest.mark.slow  # minutes on the simulator

DTYPES = ("float32", "float16", "bfloat16")


class Home(NamedTuple):
    """A backend, cuDNN there, and the stand-in, or None on a GPU."""

    backend: backends.Backend
    dnn: cudnn.Cudnn
    library: stand_in.Library | None

    def took(self, action):
        """What `action()` gives, and the engines that there are plans for since."""
        before = len(self.dnn.plans)
        result = action()
        return result, [key[0] for key in list(self.dnn.plans)[before:]]


@pytest.fixture(params=["stand-in", pytest.param("cupy", marks=pytest.mark.gpu)])
def home(request, monkeypatch):
    name = "cudasim" if request.param == "stand-in" else "cupy"
    if reason := _missing(name) or (name == "cupy" and cudnn.why_not()):
        pytest.skip(f"{request.param}: {reason}")
    backend = backends.get(name)
    if name == "cupy":
        library, dnn = None, cudnn.Cudnn(backend.xp, cudnn.library())
    else:
        library = stand_in.Library()
        dnn = cudnn.Cudnn(stand_in.Cupy(), library)
    monkeypatch.setitem(cudnn.LIBRARIES, backend.array_type, dnn)
    return Home(backend, dnn, library)


@pytest.fixture
def sim(home):
    """Only on the stand-in."""
    if home.library is None:
        pytest.skip("asks what the library was told")
    return home


def computed(home, name, sample, dtype, by=1):
    """The kernel agrees with the reference, and cuDNN has so many engines for it."""
    ran, plans = home.took(lambda: run(OPS[name], CUDA[name], sample, dtype, home.backend))
    assert ran
    assert len(plans) == by, (name, plans)


# --- convolution --------------------------------------------------------------------------------


def convolved(home, dtype, *shapes, **how):
    home.dnn.plans.clear()
    for name, sample in samples(*shapes, **how).items():
        computed(home, name, sample, dtype, {"conv2d": 1, "conv2d_grad": 2}.get(name, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid", "tanh"])
def test_convolution_and_its_gradients(activation, dtype, home):
    convolved(home, dtype, (2, 3, 6, 7), (5, 3, 3, 2), activation=activation)
    convolved(home, dtype, (2, 8, 9, 9), (16, 8, 3, 3), b=False, activation=activation)


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 2), (4, 4)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
@pytest.mark.parametrize("window", [(1, 1), (3, 3), (2, 5)])
def test_windows_of_any_kind(window, dilation, stride, home):
    for padding, size in (((0, 0), (9, 17)), ((3, 2), (11, 16))):
        how = {"stride": stride, "dilation": dilation, "padding": padding}
        convolved(home, "float32", (2, 3, *size), (5, 3, *window), **how)


@pytest.mark.parametrize("groups", [2, 3, 18])
def test_groups(groups, home):
    for dtype in DTYPES:
        convolved(home, dtype, (3, 18, 6, 6), (36, 18 // groups, 3, 3), groups=groups,
                  padding=(1, 1), stride=(2, 1))  # fmt: skip


@pytest.mark.parametrize("needs", list(itertools.product((True, False), repeat=3)))
def test_only_gradients_that_are_needed(needs, home):
    sample = samples((2, 3, 5, 5), (4, 3, 2, 2))["conv2d_grad"]
    sample = Sample(sample.args, {**sample.params, "needs": needs})
    computed(home, "conv2d_grad", sample, "float32", sum(needs[:2]))


def test_what_cudnn_is_not_asked(home):
    """Float64, and arrays that do not begin at a multiple of 16 bytes."""
    for name, sample in samples((2, 3, 6, 7), (5, 3, 3, 2)).items():
        computed(home, name, sample, "float64", 0)
    x, w = [home.backend.from_host(draw((n,)).astype("float32")) for n in (129, 64)]
    x, w = x[1:].reshape(2, 4, 4, 4), w.reshape(4, 4, 2, 2)
    y, plans = home.took(lambda: CUDA["conv2d"](x, w))
    assert not plans
    wanted = OPS["conv2d"].ref(home.backend.to_host(x), home.backend.to_host(w))
    np.testing.assert_allclose(home.backend.to_host(y), wanted, rtol=1e-5, atol=1e-5)


def test_nan_and_infinity_stay_where_they_are(home):
    x, w = draw((2, 4, 8, 8)), draw((8, 4, 3, 3), seed=1)
    x[0, 1, 2, 3], x[1, 2, 6, 6] = np.nan, np.inf
    for dtype in DTYPES:
        a, b = [home.backend.from_host(n.astype(backends.dtype_of(dtype))) for n in (x, w)]
        y = home.backend.to_host(CUDA["conv2d"](a, b, activation="relu"))
        wanted = OPS["conv2d"].ref(x, w, activation="relu")
        np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
        np.testing.assert_array_equal(np.isinf(y), np.isinf(wanted))


# --- attention ----------------------------------------------------------------------------------


def attended(home, dtype, *arrays, by=1, **params):
    for op, sample in zip(("scaled_dot_product_attention", "attention_grad"),
                          attends(*arrays, **params), strict=True):  # fmt: skip
        computed(home, op, sample, dtype, by)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("depth", "columns"), [(8, 8), (64, 64), (72, 40), (128, 128)])
@pytest.mark.parametrize(("rows", "keys"), [(64, 64), (65, 130), (100, 64)])
def test_attention(rows, keys, depth, columns, dtype, causal, home):
    arrays = qkv((2, 3), rows, keys, depth, columns)
    unseen = causal and keys > rows  # which might be NaN, times 0
    attended(home, dtype, *arrays, causal=causal, by=0 if unseen else 1)


def test_attention_without_a_batch_and_with_a_scale(home):
    for lead in ((), (3,), (2, 1, 2)):
        attended(home, "float16", *qkv(lead, 64, 70, 16, 16), scale=0.7)


def test_heads_that_lie_side_by_side(home):
    """Views of one projection; results have the memory layout of their inputs."""
    three = [draw((2, 70, 3, 4, 16), seed=i).astype("float16") for i in range(2)]
    q, k, v = home.backend.from_host(three[0]).transpose(2, 0, 3, 1, 4)
    g = home.backend.from_host(three[1])[:, :, 0].swapaxes(1, 2)
    (y, lse), first = home.took(lambda: CUDA["scaled_dot_product_attention"](q, k, v))
    assert y.swapaxes(1, 2).flags.c_contiguous
    how = {"causal": False, "scale": None, "needs": (True, True, True, False)}
    grads, second = home.took(lambda: CUDA["attention_grad"](g, q, k, v, None, y, lse, **how))
    assert (first, second) == (["attention"], ["attention_grad"])
    q, k, v = three[0].astype(float).transpose(2, 0, 3, 1, 4)
    wanted = OPS["scaled_dot_product_attention"].ref(q, k, v)
    g = three[1][:, :, 0].swapaxes(1, 2).astype(float)
    exact = OPS["attention_grad"].ref(g, q, k, v, None, *wanted, **how)
    for a, b in zip((y, lse, *grads[:3]), (*wanted, *exact[:3]), strict=True):
        np.testing.assert_allclose(home.backend.to_host(a), b, rtol=0.02, atol=0.02)


def test_what_attention_is_left_to_our_kernels(home):
    arrays = qkv((2,), 64, 64, 16, 16)
    attended(home, "float32", *arrays, by=0)
    attended(home, "float16", *arrays, draw((64, 64)) > -1, by=0)
    attended(home, "float16", *qkv((2,), 63, 64, 16, 16), by=0)
    attended(home, "float16", *qkv((2,), 64, 1, 16, 16), by=0)
    attended(home, "float16", *qkv((2,), 64, 64, 12, 16), by=0)
    attended(home, "float16", *qkv((2,), 64, 64, 16, 7), by=0)
    sample = attends(*arrays)[1]
    only = Sample(sample.args, {**sample.params, "needs": (True, True, False, False)})
    computed(home, "attention_grad", only, "float16", 0)
    g, *others = [home.backend.from_host(a.astype("float16")) for a in sample.args if a is not None]
    lse = home.backend.from_host(sample.args[-1].astype("float32"))
    args = (home.backend.xp.broadcast_to(g[:, :1], g.shape), *others[:3], None, others[3], lse)
    assert not home.took(lambda: CUDA["attention_grad"](*args, **sample.params))[1]


# --- layers, and what is done twice -------------------------------------------------------------

LAYERS = {
    "Conv2d": (lambda: nn.Conv2d(8, 4, 3, stride=2, padding=1, activation="relu"), (2, 8, 9, 9)),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(2, 32, causal=True), (2, 70, 32)),
}


@pytest.mark.parametrize(
    "half", [None, "float16", pytest.param("bfloat16", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, half, home):
    make, shape = LAYERS[name]
    x = draw(shape)
    model = make()
    model(tg.asarray(x.astype("float32")))
    with tg.use_kernels("reference"):  # none are compiled for float64
        wanted = trained(model.astype("float64"), x, "numpy", None)
    got, plans = home.took(
        lambda: trained(model.astype("float32"), x.astype("float32"), home.backend.name, half)
    )
    assert plans or (name != "Conv2d" and half is None)
    for part, value in wanted.items():
        size = max(1.0, np.abs(value).max())
        np.testing.assert_allclose(
            got[part], value, rtol=0, atol=size * (0.06 if half else 2e-5), err_msg=part
        )


def work(home, dtype="float16"):
    """A convolution and attention with all gradients, as a function of nothing. On a GPU they are
    large enough for sums to be cut up."""
    place, large = home.backend.from_host, home.library is None
    n, c, size = (32, 64, 28) if large else (2, 8, 9)
    shapes = [(n, c, size, size), (2 * c, c, 3, 3), (n, 2 * c, size, size)]
    x, w, g = [place(draw(s, seed=i).astype(dtype)) for i, s in enumerate(shapes)]
    shape = (4, 8, 1024, 64) if large else (2, 2, 64, 16)
    q, k, v, dy = [place(draw(shape, seed=i).astype(dtype)) for i in range(4)]
    how = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}

    def act():
        y = CUDA["conv2d"](x, w, **how)
        grads = CUDA["conv2d_grad"](g, x, w, y, **how, activation="none", needs=(True, True, False))
        o, lse = CUDA["scaled_dot_product_attention"](q, k, v, causal=True)
        back = {"causal": True, "scale": None, "needs": (True, True, True, False)}
        more = CUDA["attention_grad"](dy, q, k, v, None, o, lse, **back)
        return [a for a in (y, *grads, o, lse, *more) if a is not None]

    return act


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_same_bits_every_time(dtype, home):
    act = work(home, backends.dtype_of(dtype))
    first = [home.backend.to_host(a) for a in act()]
    for _ in range(5):
        for a, b in zip(first, act(), strict=True):
            assert a.tobytes() == home.backend.to_host(b).tobytes()
    assert len(home.dnn.plans) == 5


def test_a_captured_graph_computes_the_same(home):
    act, cuda = work(home), home.backend.xp.cuda
    pool, stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
    with stream, cuda.using_allocator(pool.malloc):
        eager = [home.backend.to_host(a) for a in act()]
        stream.synchronize()
        made = len(home.dnn.plans)
        stream.begin_capture()
        try:
            results = act()
        finally:
            graph = stream.end_capture()
        for a in results:
            a.fill(0)
        graph.launch(stream)
        stream.synchronize()
        for a, b in zip(eager, results, strict=True):
            assert a.tobytes() == home.backend.to_host(b).tobytes()
    assert made == len(home.dnn.plans) == 5


def test_no_plan_is_made_in_a_capture(home):
    act, cuda = work(home), home.backend.xp.cuda
    pool, stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
    with stream, cuda.using_allocator(pool.malloc):
        cudnn.enabled = False
        try:
            act()  # compiles our kernels
        finally:
            cudnn.enabled = True
        stream.synchronize()
        stream.begin_capture()
        try:
            results = act()
        finally:
            graph = stream.end_capture()
        assert not home.dnn.plans
        graph.launch(stream)
        stream.synchronize()
        captured = [home.backend.to_host(a) for a in results]
        eager = [home.backend.to_host(a) for a in act()]
    for a, b in zip(captured, eager, strict=True):
        np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=0.02, atol=0.1)
    assert len(home.dnn.plans) == 5


def test_a_graphed_step_is_as_eager(home):
    def step(x):
        loss = (model(x) ** 2).sum()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    x = tg.asarray(draw((2, 4, 9, 9)).astype("float32"), backend=home.backend.name)
    seen = []
    for graphed in (False, True):
        tg.seed(0)
        model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 4, 3)).to(x.backend)
        sgd = tg.optim.SGD(model.parameters(), lr=1e-3)
        act = tg.cuda.graphed(step, (x,)) if graphed else step
        seen.append([act(x).numpy().tobytes() for _ in range(6)])
    assert seen[0] == seen[1]
    assert {key[0] for key in home.dnn.plans} == {"conv2d", "conv2d_input", "conv2d_weight"}


# --- plans --------------------------------------------------------------------------------------


def convolve(home, dtype="float32", shape=(2, 4, 8, 8)):
    x, w = [home.backend.from_host(draw(s).astype(dtype)) for s in (shape, (8, shape[1], 3, 3))]
    return CUDA["conv2d"](x, w)


def test_a_plan_is_made_once_for_all_that_lies_alike(sim):
    for _ in range(3):
        convolve(sim)
    assert (len(sim.library.graphs), len(sim.library.calls)) == (1, 3)
    convolve(sim, shape=(3, 4, 8, 8))
    convolve(sim, "float16")
    assert len(sim.library.graphs) == 3
    q = sim.backend.from_host(draw((2, 64, 64, 16)).astype("float16"))
    beside = q.transpose(0, 2, 1, 3).copy().transpose(0, 2, 1, 3)
    for x, causal in ((q, False), (beside, False), (q, True), (q, False)):
        CUDA["scaled_dot_product_attention"](x, x, x, causal=causal)
    assert len(sim.library.graphs) == 6
    sim.dnn.cupy.gpu = 1
    convolve(sim)
    assert (len(sim.library.graphs), sim.library.handles) == (7, 2)


def test_beyond_a_number_of_plans_no_more_are_made(sim, monkeypatch):
    """Plans are never dropped: a captured graph may use their kernels."""
    monkeypatch.setattr(cudnn, "MOST_PLANS", 2)
    for n in (2, 3, 4, 2, 3, 4):
        convolve(sim, shape=(n, 4, 8, 8))
    assert (len(sim.library.graphs), len(sim.library.calls)) == (2, 4)


def test_engines_that_are_left_out(sim, monkeypatch):
    convolve(sim)
    convolve(sim, "float16")
    monkeypatch.setattr(cublas, "tf32", True)
    convolve(sim)
    exact, half, rounded = [set(g.notes) for g in sim.library.graphs]
    assert exact == {*cudnn.UNWANTED, *cudnn.ROUNDING}
    assert half == rounded == set(cudnn.UNWANTED)
    assert {"NONDETERMINISTIC", "WINOGRAD", "FFT"} <= half
    assert {g.limit for g in sim.library.graphs} == {cudnn.WORKSPACE}
    assert {plan.name for plan in sim.dnn.plans.values()} == {"eng2"}


def test_threads_take_turns(home):
    """The handle has one stream at a time."""
    wanted, wrong = home.backend.to_host(convolve(home)), []

    def work():
        try:
            with home.backend.xp.cuda.Stream(non_blocking=True):
                for _ in range(20):
                    y = home.backend.to_host(convolve(home))
                    assert y.tobytes() == wanted.tobytes()
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


# --- errors, and how to do without --------------------------------------------------------------


def test_without_an_engine_our_kernels_compute(sim):
    sim.library.refuse = {"conv_fprop", "conv_dgrad", "conv_wgrad", "sdpa", "sdpa_backward"}
    act = work(sim)
    act(), act()
    assert len(sim.library.graphs) == 5
    assert not sim.library.calls
    assert set(sim.dnn.plans.values()) == {"No valid engine configs"}


def test_a_failure_is_raised_and_named(sim):
    sim.library.fail = {"conv_fprop"}
    x = tg.asarray(draw((2, 4, 8, 8)).astype("float16"), backend="cudasim")
    w = tg.asarray(draw((8, 4, 3, 3)).astype("float16"), backend="cudasim")
    message = r"conv2d\(.*cuDNN: CUDNN_STATUS_EXECUTION_FAILED, conv2d by eng2 of float16 \(2, 4"
    with pytest.raises(tg.BackendError, match=message) as raised:
        tg.conv2d(x, w)
    assert "TENSORGRAD_CUDNN=0" in str(raised.value)


def test_a_switch_turns_it_off(sim, monkeypatch):
    monkeypatch.setattr(cudnn, "enabled", False)
    assert cudnn.why_not() == "TENSORGRAD_CUDNN=0"
    convolve(sim)
    assert not sim.library.graphs


def test_reasons_not_to_use_it(monkeypatch):
    def why(module):
        cudnn.library.cache_clear()
        monkeypatch.setitem(sys.modules, "cudnn", module)
        return cudnn.why_not()

    try:
        assert why(None).startswith("ModuleNotFoundError: ")
        assert why(stand_in.Library()) is None
        monkeypatch.delitem(cudnn.LIBRARIES, np.ndarray, raising=False)
        assert not cudnn.convolved("conv2d", (), np.ones(3, "float32"), (1, 1), (0, 0), (1, 1))
        old, broken = stand_in.Library(), stand_in.Library()
        old.backend_version = lambda: 91500
        assert why(old) == "cuDNN 9.15 is older than 9.16"
        broken.backend_version = lambda: 1 / 0
        assert why(broken) == "ZeroDivisionError: division by zero"
    finally:
        cudnn.library.cache_clear()


@pytest.mark.parametrize("switch", ["0", "1"])
def test_doctor_says_whether_it_is_used(switch):
    said = subprocess.run(
        [sys.executable, "-m", "tensorgrad", "doctor"],
        env={**os.environ, "TENSORGRAD_CUDNN": switch}, capture_output=True, text=True, timeout=300,
    ).stdout  # fmt: skip
    line = next(text for text in said.splitlines() if text.startswith("  cudnn  "))
    reason = "TENSORGRAD_CUDNN=0" if switch == "0" else cudnn.why_not()
    assert (f"not used: {reason}" if reason else "usable, ") in line
    assert f"TENSORGRAD_CUDNN       {switch}" in said
