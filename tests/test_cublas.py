"""Products by cuBLASLt: all layouts, dtypes and epilogues, on a stand-in and on a GPU."""

from __future__ import annotations

import ctypes
import functools
import gc
import itertools
import threading
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from tensorgrad.kernels.cuda import cublas, device

import tensorgrad as tg
from tensorgrad import backend as backends
from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw

from .conftest import _missing
from .cudasim import cublaslt
from .sized import SIZED
from .test_kernels import CUDA, check, run

pytestmark = pytest.mark.slow  # minutes on the simulator

SUMS = ("float32", "float64")


class Home(NamedTuple):
    """Products, and copies to and from the device. Only the stand-in has the record of calls."""

    blas: cublas.CublasLt
    xp: object
    put: object
    get: object
    record: cublaslt.Record | None


def stand_in():
    blas = cublas.CublasLt(cublaslt.Cupy())
    library, record = cublaslt.library()
    blas.library = cublas.with_signatures(library)
    ctypes.memset(ctypes.byref(record), 0, ctypes.sizeof(record))
    return blas, record


@functools.cache
def on_gpu():
    """An instance apart from the one that kernels use, with plans of its own."""
    return cublas.CublasLt(backends.get("cupy").xp)


@pytest.fixture(params=["stand-in", pytest.param("cupy", marks=pytest.mark.gpu)])
def home(request, monkeypatch):
    monkeypatch.setattr(cublas, "FILLING", 0)
    where = "cudasim" if request.param == "stand-in" else "cupy"
    if reason := _missing(where):
        pytest.skip(f"{request.param}: {reason}")
    there = backends.get(where)
    blas, record = stand_in() if where == "cudasim" else (on_gpu(), None)
    return Home(blas, there.xp, there.from_host, there.to_host, record)


@pytest.fixture
def lt(home):
    """Only on the stand-in."""
    if home.record is None:
        pytest.skip("asks what the library was told")
    return home


def numbers(shape, dtype, seed=0):
    return draw(shape, seed=seed).astype(backends.dtype_of(dtype))


def agree(home, y, a, b, dtype):
    """y is a @ b, of NumPy arrays."""
    assert y.dtype == backends.dtype_of(dtype)
    wanted = a.astype(float) @ b.astype(float)
    check(f"{dtype} {a.shape} @ {b.shape}", home.get(y), wanted, dtype, max(a.shape[-1], 1))


# Views of equal elements with different strides.
LAYOUTS = {
    "rows": lambda xp, x: x,
    "columns": lambda xp, x: xp.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2),
    "wider rows": lambda xp, x: xp.concatenate([x, x], axis=-1)[..., : x.shape[-1]],
    "second column": lambda xp, x: xp.concatenate([x * 0, x], axis=-1)[..., x.shape[-1] :],
    "longer columns": lambda xp, x: LAYOUTS["wider rows"](xp, x.swapaxes(-1, -2)).swapaxes(-1, -2),
    "every other row": lambda xp, x: xp.repeat(x, 2, axis=-2)[..., ::2, :],
    "every other number": lambda xp, x: xp.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda xp, x: xp.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1],
}
SIDES = [
    (3, 4, 5),
    (1, 4, 5),
    (3, 1, 5),
    (3, 4, 1),
    (1, 1, 1),
    (1, 7, 1),
    (64, 8, 16),
    (33, 65, 17),
]


# --- plain products -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", device.DTYPES)
@pytest.mark.parametrize("sides", SIDES)
def test_matrices_that_lie_in_any_way(sides, dtype, home):
    m, k, n = sides
    a, b = numbers((m, k), dtype), numbers((k, n), dtype, 1)
    for left, right in itertools.product(LAYOUTS.values(), repeat=2):
        y = home.blas.matmul(left(home.xp, home.put(a)), right(home.xp, home.put(b)))
        assert y.flags.c_contiguous
        agree(home, y, a, b, dtype)


BATCHES = [((5,), (5,)), ((5,), ()), ((), (5,)), ((5,), (1,)), ((1,), (1,)), ((2, 3), (2, 3))]
BATCHES += [((2, 3), (3,)), ((2, 1), (3,)), ((2, 3), ()), ((4, 1, 2), (1, 3, 2)), ((1, 3), (2, 1))]


@pytest.mark.parametrize("dtype", device.DTYPES)
@pytest.mark.parametrize("batches", BATCHES)
def test_batches(batches, dtype, home):
    a, b = numbers((*batches[0], 6, 4), dtype), numbers((*batches[1], 4, 3), dtype, 1)
    for left, right in itertools.product(("rows", "columns", "wider rows"), repeat=2):
        x, w = LAYOUTS[left](home.xp, home.put(a)), LAYOUTS[right](home.xp, home.put(b))
        y = home.blas.matmul(x, w)
        agree(home, y, a, b, dtype)
        out = home.xp.empty(y.shape, y.dtype)
        assert home.blas.matmul(x, w, out) is out
        agree(home, out, a, b, dtype)


@pytest.mark.parametrize("dtype", SUMS)
def test_batches_that_lie_in_another_order(dtype, home):
    a, b = numbers((4, 2, 3, 5), dtype), numbers((2, 4, 5, 3), dtype, 1)
    x = home.put(a.transpose(1, 2, 0, 3).copy()).transpose(2, 0, 1, 3)  # heads between rows
    w = home.put(b.transpose(1, 0, 2, 3).copy())
    agree(home, home.blas.matmul(x, w), a, b.swapaxes(0, 1), dtype)
    spread = home.xp.broadcast_to(home.put(a[:, :1]), a.shape)
    agree(home, home.blas.matmul(spread, w), a[:, :1], b.swapaxes(0, 1), dtype)
    every = home.put(a)[::2]
    agree(home, home.blas.matmul(every, w[::2]), a[::2], b.swapaxes(0, 1)[::2], dtype)


@pytest.mark.parametrize("dtype", SUMS)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_out_in_any_layout(batch, dtype, home):
    a, b = numbers((*batch, 6, 4), dtype), numbers((*batch, 4, 5), dtype, 1)
    x, w = home.put(a), home.put(b)
    for name, layout in LAYOUTS.items():
        whole = home.xp.zeros((*batch, 6, 5), dtype)
        out = layout(home.xp, whole)
        assert home.blas.matmul(x, w, out) is out
        agree(home, out, a, b, dtype)
        if name == "wider rows":
            assert not home.get(out.base)[..., 5:].any()


def test_empty_sizes(home):
    for (m, k, n), batch in itertools.product(
        [(0, 3, 2), (2, 0, 3), (2, 3, 0), (0, 0, 0)], [(), (2,), (0,)]
    ):
        a, b = np.ones((*batch, m, k), np.float32), np.ones((k, n), np.float32)
        out = home.put(np.full((*batch, m, n), np.nan, np.float32))
        for y in (home.blas.matmul(home.put(a), home.put(b)),
                  home.blas.matmul(home.put(a), home.put(b), out)):  # fmt: skip
            np.testing.assert_array_equal(home.get(y), a @ b)


def test_batches_beyond_what_a_grid_holds(home):
    a, b = numbers((70_000, 2, 3), "float32"), numbers((70_000, 3, 2), "float32", 1)
    x, w = home.put(a), home.put(b)
    agree(home, home.blas.matmul(x, w), a, b, "float32")
    agree(home, home.blas.matmul(x, w[:1]), a, b[:1], "float32")
    out = home.xp.empty((2, 35_000, 2, 2), "float32")
    home.blas.matmul(x.reshape(2, 35_000, 2, 3), w.reshape(2, 35_000, 3, 2), out)
    agree(home, out.reshape(70_000, 2, 2), a, b, "float32")


@pytest.mark.parametrize("dtype", device.DTYPES)
def test_views_that_begin_anywhere(dtype, home):
    a, b = numbers((100,), dtype), numbers((100,), dtype, 1)
    for start in range(5):
        x, w = home.put(a)[start : start + 32].reshape(4, 8), home.put(b)[start:][:64].reshape(8, 8)
        whole = home.xp.empty((100,), x.dtype)
        for out in (None, whole[start : start + 32].reshape(4, 8)):
            y = home.blas.matmul(x, w, out)
            agree(home, y, a[start : start + 32].reshape(4, 8), b[start:][:64].reshape(8, 8), dtype)


def test_halves_are_summed_in_float32(home):
    for dtype in device.HALVES:
        a = np.ones((16, 4096), backends.dtype_of(dtype))  # beyond 2048 a half cannot count
        y = home.get(home.blas.matmul(home.put(a), home.put(a).T))
        assert (y.astype(float) == 4096).all()


def test_nan_and_infinity(home):
    a = np.array([[np.nan, 1], [np.inf, 1], [0, 1]], np.float32)
    b = np.array([[0, 1], [1, 0]], np.float32)
    np.testing.assert_array_equal(home.get(home.blas.matmul(home.put(a), home.put(b))), a @ b)


# --- epilogues ----------------------------------------------------------------------------------


def gelu(z):
    return z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2


@pytest.mark.parametrize("dtype", device.DTYPES)
@pytest.mark.parametrize("sides", [(5, 7, 16), (1, 8, 8), (64, 32, 24), (6, 3, 9)])
def test_epilogues(sides, dtype, home):
    (m, k, n), half = sides, dtype in device.HALVES
    a, b, bias = (numbers(s, dtype, i) for i, s in enumerate([(m, k), (k, n), (n,)]))
    exact = a.astype(float) @ b.astype(float)
    w, shift = home.put(b), home.put(bias)
    sure = dtype != "float64" and (home.record is not None or not (k % 8 or n % 8))
    for left in ("rows", "columns", "wider rows"):
        x = LAYOUTS[left](home.xp, home.put(a))
        y = home.blas.fused("bias", x, w, shift)
        if y is not None:
            check("bias", home.get(y), exact + bias.astype(float), dtype, k)
        assert y is not None or not sure

        for given in (None, shift):
            z, aux = (
                exact + (0 if given is None else bias.astype(float)),
                home.xp.empty((m, n), x.dtype),
            )
            y = home.blas.fused("gelu", x, w, given, aux)
            assert y is None if not half or n % 8 else y is not None or not sure
            if y is not None:
                check("gelu", home.get(y), gelu(z), dtype, k)
                check("aux", home.get(aux), z, dtype, k)

        sums = home.xp.empty((n,), x.dtype)
        y = home.blas.fused("bias_grad", x, w, sums)
        if y is not None:
            check("product", home.get(y), exact, dtype, k)
            check("bias_grad", home.get(sums), b.astype(float).sum(0), dtype, k)
        assert y is not None or not sure


def test_an_epilogue_keeps_nan(home):
    a, b = np.full((8, 8), np.nan, np.float16), np.eye(8, dtype=np.float16)
    x, w, bias = home.put(a), home.put(b), home.put(b[0])
    assert np.isnan(home.get(home.blas.fused("bias", x, w, bias))).all()
    aux = home.xp.empty((8, 8), "float16")
    assert np.isnan(home.get(home.blas.fused("gelu", x, w, bias, aux))).all()
    assert np.isnan(home.get(aux)).all()


def test_what_is_not_fused(home, monkeypatch):
    x, w = home.put(np.ones((4, 8), np.float32)), home.put(np.ones((8, 8), np.float32))
    home.blas.own.__dict__.clear()
    monkeypatch.setattr(cublas, "FILLING", 1 << 21)
    assert home.blas.fused("bias_grad", x, w, home.xp.empty((8,), "float32")) is None
    for a, b in ((x[:0], w), (x[:, :0], w[:0]), (x[:, ::2], w[::2])):
        assert home.blas.fused("bias", a, b, w[0]) is None


@pytest.mark.parametrize("fuses", ["everything", "nothing"])
@pytest.mark.parametrize(
    "name", ["matmul", "dense", "dense_gelu", "dense_grad", "lstm", "rnn_grad"]
)
def test_kernels_on_it(name, fuses, home, monkeypatch):
    """Kernels by way of this library, and as they are without any epilogue."""
    kind = type(home.xp.empty(0))
    there = device.device(home.xp.empty(0))
    if fuses == "nothing":
        monkeypatch.setattr(home.blas, "fused", lambda *_: None)
    monkeypatch.setitem(device.DEVICES, kind, there._replace(blas=home.blas))
    op = OPS[name]
    to = SimpleNamespace(from_host=home.put, to_host=home.get)
    for dtype in device.DTYPES:
        samples = [*op.samples(), *SIZED[name](33), *SIZED[name](100)]
        taken = [run(op, CUDA[name], sample, dtype, to) for sample in samples]
        assert any(taken)


def test_dense_layers_of_eights(home, monkeypatch):
    """Sizes that the gelu of the library takes."""
    kind, there = type(home.xp.empty(0)), device.device(home.xp.empty(0))
    monkeypatch.setitem(device.DEVICES, kind, there._replace(blas=home.blas))
    to = SimpleNamespace(from_host=home.put, to_host=home.get)
    x, w, b = draw((3, 4, 24)), draw((24, 16), seed=1), draw((16,), seed=2)
    g, y = draw((3, 4, 16), seed=3), draw((3, 4, 16), seed=4)
    for dtype in device.DTYPES:
        for bias in (b, None):
            assert run(OPS["dense_gelu"], CUDA["dense_gelu"], Sample((x, w, bias)), dtype, to)
        for needs in itertools.product((True, False), repeat=3):
            for activation in ("none", "relu"):
                params = {"activation": activation, "needs": needs}
                sample = Sample((g, x, w, y), params)
                assert run(OPS["dense_grad"], CUDA["dense_grad"], sample, dtype, to)


# --- plans, threads, streams, GPUs --------------------------------------------------------------


def test_a_plan_is_made_once(lt):
    a, b = lt.put(np.ones((8, 8), np.float32)), lt.put(np.ones((8, 8), np.float32))
    for _ in range(3):
        lt.blas.matmul(a, b)
        lt.blas.fused("bias", a, b, b[0])
    assert (lt.record.searches, lt.record.calls) == (2, 6)
    assert lt.record.scheme == cublas.CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
    lt.blas.matmul(a, a.T)
    assert lt.record.searches == 3


def test_plans_without_end_are_forgotten(lt, monkeypatch):
    monkeypatch.setattr(cublas, "MOST_PLANS", 10)
    before = lt.record.live
    for n in range(1, 100):
        lt.blas.matmul(lt.put(np.ones((2, n), np.float32)), lt.put(np.ones((n, 2), np.float32)))
    assert len(lt.blas.own.plans) <= 11
    assert lt.record.live - before <= 11 * 4
    lt.blas.own.plans.clear()
    assert lt.record.live == before


def test_the_stream_of_each_thread_has_memory_of_its_own(lt):
    a, seen = lt.put(np.ones((2, 2), np.float32)), []
    lt.blas.cupy.stream = SimpleNamespace(ptr=cublas.PER_THREAD)

    def work():
        for _ in range(2):
            lt.blas.matmul(a, a)
            seen.append(lt.record.workspace)

    for _ in range(2):
        thread = threading.Thread(target=work)
        work()
        thread.start()
        thread.join()
    assert seen[0] == seen[1] == seen[4]
    assert seen[2] == seen[3] != seen[0]


def test_memory_that_the_pool_holds_and_nobody_uses_is_taken(lt, monkeypatch):
    a, full, refused = lt.put(np.ones((2, 2), np.float32)), [True], []

    def memory(size):
        if full[0]:
            refused.append(size)
            raise RuntimeError("cudaErrorMemoryAllocation: out of memory")
        return cublaslt.Memory(size)

    pool = SimpleNamespace(free_all_blocks=lambda: full.__setitem__(0, False))
    monkeypatch.setattr(lt.blas.cupy.cuda, "Memory", memory)
    monkeypatch.setattr(lt.blas.cupy, "get_default_memory_pool", lambda: pool, raising=False)
    agree(lt, lt.blas.matmul(a, a), np.ones((2, 2)), np.ones((2, 2)), "float32")
    assert refused == [cublas.WORKSPACE]


def test_each_stream_has_memory_of_its_own(lt):
    a = lt.put(np.ones((2, 2), np.float32))
    seen = {}
    for stream, gpu in ((0, 0), (7, 0), (0, 0), (7, 1), (7, 0)):
        lt.blas.cupy.stream, lt.blas.cupy.gpu = SimpleNamespace(ptr=stream), gpu
        lt.blas.matmul(a, a)
        assert (lt.record.stream or 0) == stream
        assert seen.setdefault((stream, gpu), lt.record.workspace) == lt.record.workspace
    assert len(set(seen.values())) == 3
    assert len(lt.blas.contexts) == 2


def test_a_captured_step_that_ends_gives_its_memory_back(lt, monkeypatch):
    """That of its stream; a stream of the same address then gets new memory."""
    kind, there = type(lt.xp.empty(0)), device.device(lt.xp.empty(0))
    monkeypatch.setitem(device.DEVICES, kind, there._replace(blas=lt.blas))
    lt.blas.cupy.cuda.get_current_stream = lt.xp.cuda.get_current_stream
    w, x = tg.ones((4, 4), backend="cudasim"), tg.ones((4, 4), backend="cudasim")
    (w @ x).numpy()

    def kept():
        return set(lt.blas.contexts[0].workspaces)

    for _ in range(3):
        quick = tg.cuda.graphed(lambda x: w @ x, x, 1)
        quick(x)
        quick(x)
        stream = quick.stream.ptr
        assert kept() == {0, stream}
        del quick
        gc.collect()
        assert kept() == {0}
    a, workspaces = lt.put(np.ones((2, 2), np.float32)), lt.blas.contexts[0].workspaces
    lt.blas.cupy.cuda.get_current_stream = lambda: SimpleNamespace(ptr=stream)
    for _ in range(2):  # by the same plan
        lt.blas.matmul(a, a)
        assert lt.record.workspace == workspaces[stream].ptr
        old = workspaces[stream]  # so that its address is not given out again
        lt.blas.release(stream)
        assert kept() == {0}
    del old


def test_threads_do_not_share_pointers(home):
    """Each call adds its own bias, whose address is set in the shared descriptor."""
    a, b = numbers((8, 8), "float32"), numbers((8, 8), "float32", 1)
    x, w, wrong = home.put(a), home.put(b), []

    def work(i):
        bias = home.put(np.full((8,), i, np.float32))
        for _ in range(50):
            y = home.get(home.blas.fused("bias", x, w, bias))
            if not np.allclose(y, a @ b + i, rtol=1e-5, atol=1e-5):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_tf32_is_a_switch_for_float32(home):
    a, b = numbers((256, 256), "float32"), numbers((256, 256), "float32", 1)
    x, w, exact = home.put(a), home.put(b), a.astype(float) @ b
    errors = []
    try:
        for on in (False, True, False):
            tg.set_tf32(on)
            errors.append(np.abs(home.get(home.blas.matmul(x, w)) - exact).max())
            for dtype in ("float16", "float64"):
                y = home.blas.matmul(x[:8].astype(dtype), w.astype(dtype))
                agree(home, y, a[:8].astype(dtype), b.astype(dtype), dtype)
    finally:
        tg.set_tf32(False)
    assert errors[0] == errors[2] < 2e-4 < errors[1] < 0.2


@pytest.mark.gpu
def test_in_a_captured_stream():
    if reason := _missing("cupy"):
        pytest.skip(f"cupy: {reason}")
    import cupy

    blas = cublas.CublasLt(cupy)
    exact = [numbers(s, "float16").astype(float) for s in ((24, 32), (32, 16), (16,))]
    a, b, bias = (cupy.asarray(x.astype("float16")) for x in exact)
    outs = [cupy.empty((24, 16), "float16") for _ in range(3)]
    heads, aux = cupy.stack([a, a]), outs[2]
    made = []

    def work():
        blas.matmul(a, b, outs[0])
        blas.matmul(heads, b)
        outs[1][...] = blas.fused("bias", a, b, bias)
        made.append(blas.fused("gelu", a, b, bias, aux))

    stream = cupy.cuda.Stream(non_blocking=True)
    stream.wait_event(cupy.cuda.get_current_stream().record())  # the operands are written there
    with stream:
        work()
        stream.synchronize()
        stream.begin_capture()
        try:
            work()
        finally:
            graph = stream.end_capture()
        for out in outs:
            out.fill(0)
        a *= 2
        graph.launch(stream)
        stream.synchronize()
    z = 2 * exact[0] @ exact[1]
    for out, wanted in zip(outs, (z, z + exact[2], z + exact[2]), strict=True):
        check("captured", cupy.asnumpy(out), wanted, "float16", 32)


# --- errors -------------------------------------------------------------------------------------


def test_wrong_operands_are_named(home):
    one, other = home.put(np.ones((2, 3), np.float32)), home.put(np.ones((3, 2), np.float64))
    for a, b, out, error, message in [
        (one, other, None, TypeError, r"float32 \(2, 3\) @ float64 \(3, 2\)"),
        (home.put(np.ones((2, 3), np.int32)),) * 2 + (None, TypeError, "int32"),
        (one, one, None, ValueError, r"inner sizes differ: float32 \(2, 3\) @ float32 \(2, 3\)"),
        (one, one.T, one, ValueError, r"out is float32 \(2, 3\), but not float32 \(2, 3\) @"),
        (one, one.T, home.xp.empty((2, 2)), ValueError, "out is float64"),
    ]:
        with pytest.raises(error, match=message):
            home.blas.matmul(a, b, out)


def test_a_status_is_named(lt):
    a = lt.put(np.ones((2, 2), np.float32))
    for refuse in (13, 15):
        lt.record.refuse = refuse
        with pytest.raises(RuntimeError, match=r"CUBLAS_STATUS_\w+ \(.*\), float32 \(2, 2\) @"):
            lt.blas.matmul(a, a)
    lt.record.refuse = 0
    lt.blas.matmul(a, a)


@pytest.mark.parametrize("when", ["search", "launch"])
@pytest.mark.parametrize("epilogue", ["bias", "gelu", "bias_grad"])
def test_an_epilogue_that_fails_is_left_to_the_product_alone(epilogue, when, lt, monkeypatch):
    """Once for each layout, whatever the library answers, and the reason is kept for doctor."""
    x, w = lt.put(np.ones((8, 8), np.float16)), lt.put(np.ones((8, 8), np.float16))
    more = {"gelu": (None, lt.xp.empty((8, 8), "float16"))}.get(epilogue, (w[0] * 1,))
    asked = []
    name = {"search": "cublasLtMatmulAlgoGetHeuristic", "launch": "cublasLtMatmul"}[when]
    with monkeypatch.context() as refusing:
        refusing.setattr(lt.blas.library, name, lambda *_: asked.append(1) or 7)
        for _ in range(2):
            assert lt.blas.fused(epilogue, x, w, *more) is None
    assert len(asked) == 1
    assert lt.blas.fused(epilogue, x, w, *more) is None
    assert list(lt.blas.refused) == [epilogue]
    assert "CUBLAS_STATUS_INVALID_VALUE" in lt.blas.refused[epilogue]
    agree(lt, lt.blas.matmul(x, w), np.ones((8, 8)), np.ones((8, 8)), "float16")


def test_a_missing_library_says_what_to_install(monkeypatch):
    cublas.library.cache_clear()
    pathfinder = SimpleNamespace(load_nvidia_dynamic_lib=lambda name: ctypes.CDLL(f"no {name}"))
    monkeypatch.setitem(__import__("sys").modules, "cuda.pathfinder", pathfinder)
    with pytest.raises(
        RuntimeError, match=r'pip install "cupy-cuda13x\[ctk\]".*OSError: no cublasLt'
    ):
        cublas.library()
    cublas.library.cache_clear()
