"""Cases of CUDA kernels that the generated tests of test_kernels.py do not cover."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from tensorgrad.kernels.cuda import device

from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw, integers

from .sized import SIZED, recurrent
from .sized.basic import STEPS, H
from .sized.norm import grads
from .sized.recurrent import FAMILY
from .test_kernels import CUDA, check, exact_args, orders, placed, run

pytestmark = pytest.mark.slow  # minutes on the simulator


@pytest.fixture
def launched(gpu, monkeypatch):
    """The names of the kernels launched since."""
    kind, names = type(gpu.xp.empty(0)), []
    there = device.device(gpu.xp.empty(0))

    def launch(source, name, *rest, **more):
        names.append(name)
        there.launch(source, name, *rest, **more)

    monkeypatch.setitem(device.DEVICES, kind, there._replace(launch=launch))
    return names


# --- all of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CUDA)
def test_cuda_kernel_gives_the_same_bits_in_any_order_of_threads(name, gpu):
    op, kernel = OPS[name], CUDA[name]
    for sample in SIZED[name](1025):
        seen = set()
        for _ in (kind for kind in orders(gpu) for _ in range(2)):  # twice in each
            exact = exact_args(op, sample, "float32")
            args = placed(op, exact, "float32", gpu.from_host)
            result = kernel(*args, **sample.params)
            given = [result] if isinstance(result, type(args[0])) else list(result or ())
            seen.add(b"".join(gpu.to_host(a).tobytes() for a in [*given, *args] if a is not None))
        assert len(seen) == 1


# --- norms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch_norm", "group_norm", "channel_affine"])
@pytest.mark.parametrize("shape", [(2, 2, 40_000), (1, 2, 16_389), (300, 2, 66), (70, 4, 8, 8)])
def test_planes_in_several_parts(name, shape, gpu):
    x, groups = draw(shape), {"groups": 2} if name == "group_norm" else {}
    forward = Sample((x, draw(shape[1:2], seed=1), draw(shape[1:2], seed=2)), groups)
    samples = [(name, forward)]
    if name != "channel_affine":
        samples += [(f"{name}_grad", s) for s in grads(name, [x], 1, **groups)]
    for of, sample in samples:
        for dtype in ("float32", "float16"):
            assert run(OPS[of], CUDA[of], sample, dtype, gpu)


@pytest.mark.parametrize("needs", list(itertools.product((True, False), repeat=3)))
@pytest.mark.parametrize("name", ["batch_norm", "group_norm", "rms_norm"])
def test_norm_grads_give_what_is_needed(name, needs, gpu):
    x = draw((5, 4) if name == "rms_norm" else (3, 4, 70))
    groups = {"groups": 2} if name == "group_norm" else {}
    (args, _), of = grads(name, [x], 1, **groups)[0], f"{name}_grad"
    for weight in (args[2], None):
        params = {"needs": needs[: 2 if name == "rms_norm" else 3]}
        sample = Sample((*args[:2], weight, *args[3:]), params)
        assert run(OPS[of], CUDA[of], sample, "float32", gpu)


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm", "channel_affine"])
def test_views_that_are_not_aligned(name, gpu):
    """Rows of whole vectors, but the first element is not aligned for vectorised loads."""
    x = draw((2 * 3 * 64 + 1,)).astype(np.float32)
    for start in (0, 1):
        y = CUDA[name](gpu.from_host(x)[start : start + 384].reshape(2, 3, 64))
        y, wanted = [
            a[0] if isinstance(a, tuple) else a
            for a in (y, OPS[name].ref(x[start : start + 384].reshape(2, 3, 64).astype(np.float64)))
        ]
        check(name, gpu.to_host(y), wanted, "float32", 384)


# --- embedding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [3, 40, 264])
@pytest.mark.parametrize("case", ["rare", "frequent", "one", "mixed"])
def test_gradients_of_many_ids(case, features, gpu):
    """Several sorted chunks; ids of a few places, and of many tiles."""
    ids, count = integers((5003 if features < 200 else 333,), 3000, seed=1), 3000
    if case != "rare":
        ids[(np.arange(len(ids)) % 4 < {"frequent": 3, "one": 4}.get(case, 2))] = 7
    if case == "mixed":
        ids[::3] = ids[::3] % 5 * 599
    sample = Sample((draw((len(ids), features)), ids), {"count": count})
    for dtype in ("float32", "bfloat16"):
        assert run(OPS["embedding_grad"], CUDA["embedding_grad"], sample, dtype, gpu)


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "int16"])
def test_ids_outside_the_table(kind, gpu):
    """They give NaN and get no gradient: an error would require synchronisation with the host."""
    ids = np.array([[0, 4, 3], [200 if kind == "uint8" else -1, 120, 3]], kind)
    inside = np.array([[1, 1, 1], [0, 0, 1]], bool)
    weight, g = draw((5, 8)).astype(np.float32), draw((2, 3, 8), seed=1).astype(np.float32)
    y = gpu.to_host(CUDA["embedding"](gpu.from_host(weight), gpu.from_host(ids)))
    np.testing.assert_array_equal(np.isnan(y), ~inside[..., None] | np.zeros(8, bool))
    np.testing.assert_array_equal(y[inside], weight[ids[inside]])
    grad = CUDA["embedding_grad"](gpu.from_host(g), gpu.from_host(ids), count=5)
    wanted = OPS["embedding_grad"].ref(g[inside], ids[inside], count=5)
    np.testing.assert_allclose(gpu.to_host(grad), wanted, rtol=1e-6)


# --- pooling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (1, 2, 70, 65), (1, 2, 1, 3)])
@pytest.mark.parametrize(
    "how",
    [
        {"size": (3, 3), "stride": (2, 2), "padding": (1, 1)},
        {"size": (1, 3), "stride": (1, 1), "padding": (0, 1)},
        {"size": (2, 3), "stride": (3, 5), "padding": (1, 0)},
        {"size": (1, 1), "stride": (2, 1), "padding": (0, 0)},
    ],
)
def test_pooling_by_windows_of_any_kind(how, shape, gpu):
    """Windows that overlap, touch or leave gaps, on planes of one band and of several."""
    x = np.round(draw(shape) * 2)  # with equal numbers
    assert run(OPS["max_pool2d"], CUDA["max_pool2d"], Sample((x,), how), "float32", gpu)
    assert run(OPS["avg_pool2d"], CUDA["avg_pool2d"], Sample((x,), how), "float32", gpu)
    y, where = OPS["max_pool2d"].ref(x, **how)
    spread, g = Sample((draw(y.shape),), {"plane": shape[2:], **how}), draw(y.shape)
    assert run(OPS["avg_pool2d_grad"], CUDA["avg_pool2d_grad"], spread, "float32", gpu)
    for kind, size in itertools.product(("int32", "int64", "int16"), [{"size": shape[2:]}]):
        places = Sample((g, where.astype(kind)), size)
        assert run(OPS["scatter_places"], CUDA["scatter_places"], places, "float16", gpu)
        places = Sample((x, where.astype(kind)))
        assert run(OPS["gather_places"], CUDA["gather_places"], places, "float16", gpu)


def test_max_pooling_of_odd_numbers(gpu):
    rows = np.array([[np.nan, 1, np.inf, -np.inf], [2, np.nan, -np.inf, -np.inf]] * 2, np.float32)
    for how in ({"size": (2, 2)}, {"size": (2, 1), "padding": (1, 0), "stride": (1, 1)}):
        got = CUDA["max_pool2d"](gpu.from_host(rows.reshape(1, 1, 4, 4)), **how)
        wanted = OPS["max_pool2d"].ref(rows.reshape(1, 1, 4, 4), **how)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(gpu.to_host(a), b)


def test_many_numbers_for_one_place_are_added_in_order(gpu):
    x, where = draw((1, 2, 10, 30)).astype(np.float32), np.full((1, 2, 10, 30), 3)
    where[0, 1, ::2] = 1
    y = CUDA["scatter_places"](gpu.from_host(x), gpu.from_host(where), size=(2, 2))
    wanted = OPS["scatter_places"].ref(x, where, size=(2, 2))
    np.testing.assert_array_equal(gpu.to_host(y), wanted)


# --- recurrent layers ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
def test_a_step_of_a_recurrent_layer_is_one_launch(name, gpu, launched):
    (args, params), *_ = recurrent.layers(500, *FAMILY[name])
    assert run(OPS[name], CUDA[name], Sample(args, params), "float32", gpu)
    assert len(launched) == args[0].shape[1]


@pytest.mark.parametrize("name", FAMILY)
def test_recurrent_grads_give_what_is_needed(name, gpu):
    how, of = {"activation": "relu"} if name == "rnn" else {}, f"{name}_grad"
    for args, params in recurrent.grads(name, 60, *FAMILY[name], **how):
        n = len(params["needs"])
        for out in range(n + 1):
            needs = tuple([out not in (i, n) for i in range(n)])
            sample = Sample(args, {**params, "needs": needs})
            assert run(OPS[of], CUDA[of], sample, "float32", gpu)


@pytest.mark.parametrize("name", FAMILY)
def test_recurrent_grads_take_cotangents_with_strides(name, gpu):
    how, of = {"activation": "tanh"} if name == "rnn" else {}, OPS[f"{name}_grad"]
    (args, params), *_ = recurrent.grads(name, 60, *FAMILY[name], **how)
    exact = exact_args(of, Sample(args, params), "float32")
    given = placed(of, exact, "float32", gpu.from_host)
    wanted = CUDA[of.name](*given, **params)
    for i in [i for i, name in enumerate(of.inputs) if name in ("gy", "gh", "gc")]:
        given[i] = gpu.xp.ascontiguousarray(given[i].T).T
        assert not given[i].flags.c_contiguous
    assert CUDA[of.name].guard(sized=False)(tuple(given), params)
    for a, b in zip(CUDA[of.name](*given, **params), wanted, strict=True):
        np.testing.assert_array_equal(gpu.to_host(a), gpu.to_host(b))


# --- updates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "k"), [("sgd", 3), ("adam", 4)])
@pytest.mark.parametrize(("count", "launches"), [(64, 1), (65, 1), (300, 1), (900, 2)])
def test_one_launch_updates_many_parameters(name, k, count, launches, gpu, launched):
    """Empty ones, ones of several chunks, and views into other arrays, whose numbers do not begin
    at a multiple of 16 bytes."""
    sizes = [(3, 0, 1, 4096, 70, 33, 9000, 16)[i % 8] if i < 99 else i % 5 for i in range(count)]
    exact = [draw((n + 1,), 0.1, 2.0, i)[i % 2 : n + i % 2] for i, n in enumerate(sizes * k)]
    arrays = []
    for i, a in enumerate(exact):
        whole = np.zeros(a.size + 1, np.float32)
        whole[i % 2 : a.size + i % 2] = a
        arrays.append(gpu.from_host(whole)[i % 2 : a.size + i % 2])
    exact = [gpu.to_host(a).astype(np.float64) for a in arrays]
    CUDA["optimizer_step"](gpu.from_host(H), *arrays, **STEPS[name])
    assert len(launched) == launches
    OPS["optimizer_step"].ref(H.copy(), *exact, **STEPS[name])
    for i, (a, wanted) in enumerate(zip(arrays, exact, strict=True)):
        check(f"{name} {i}", gpu.to_host(a), wanted, "float32", 1)


def test_a_list_of_empty_parameters_launches_nothing(gpu, launched):
    empty = [gpu.from_host(np.zeros((0, 3), np.float32)) for _ in range(3)]
    CUDA["optimizer_step"](gpu.from_host(H), *empty, **STEPS["sgd"])
    assert not launched


def test_cupy_launcher_passes_a_struct_as_its_bytes():
    given = []
    kernel = SimpleNamespace(kernel=lambda grid, block, args, smem: given.extend(args))
    function = SimpleNamespace(get_function=lambda name: kernel)
    runtime = SimpleNamespace(getDevice=lambda: 0)
    cupy = SimpleNamespace(
        ndarray=np.ndarray, RawModule=lambda **_: function, cuda=SimpleNamespace(runtime=runtime)
    )
    table = np.zeros((), [("at", np.uint64, 3), ("n", np.int32)])
    table["at"] = 5, 6, 7
    launch = device.CupyLauncher(cupy)
    launch(device.Source("update", ["a"]), "a", (1,), (1,), (table[()], np.int32(2)))
    assert type(given[0]) is np.ndarray
    assert given[0].size == 1  # of more CuPy thinks that an array of its own was meant
    assert given[0].dtype.names is None  # it describes fields anew at each launch
    assert given[0].tobytes() == table.tobytes()
    assert type(given[1]) is np.int32


# --- dense layers -------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "packed"), [(64, True), (24, True), (13, False), (1, False)])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dense_with_an_activation_is_a_product_and_one_pass(width, packed, dtype, gpu, launched):
    """By packs where rows are aligned to 16 bytes; NaN stays NaN; backward likewise."""
    x, w, b = draw((37, 5)), draw((5, width), seed=1), draw((width,), seed=2)
    x[3], x[4] = np.nan, -np.inf
    vector = 16 // np.dtype(dtype).itemsize if packed else 1
    kind = device.TYPES[dtype]
    for activation in ("relu", "tanh"):
        assert run(
            OPS["dense"], CUDA["dense"], Sample((x, w, b), {"activation": activation}), dtype, gpu
        )
        assert launched == [f"activate<f::{activation}, {kind}, {vector}>"]
        launched.clear()
    assert run(OPS["dense_gelu"], CUDA["dense_gelu"], Sample((x, w, None)), "float32", gpu)
    y, params = draw((37, width), 0.1, 0.9), {"activation": "relu", "needs": (True, True, True)}
    y[2] = 0
    launched.clear()
    sample = Sample((draw((37, width)), np.nan_to_num(x, neginf=0), w, y), params)
    assert run(OPS["dense_grad"], CUDA["dense_grad"], sample, dtype, gpu)
    assert launched[0] == f"graded<f::relu_grad, {kind}, {vector}>"


def test_a_bias_that_begins_anywhere(gpu):
    x, w, b = [gpu.from_host(draw(s).astype(np.float32)) for s in ((6, 3), (3, 8), (9,))]
    y = CUDA["dense"](x, w, b[1:], activation="relu")
    x, w, b = [gpu.to_host(a) for a in (x, w, b)]
    np.testing.assert_allclose(gpu.to_host(y), np.maximum(x @ w + b[1:], 0), rtol=1e-6)
