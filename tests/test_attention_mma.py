"""Attention of halves, on tensor cores: the edges of fragments, tiles and blocks."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from tensorgrad.kernels.cuda import device

from tensorgrad import backend as backends
from tensorgrad.ops.samples import Sample, draw

from .test_cuda_attention import ALL, BACKWARD, FORWARD, attends, by_head, qkv
from .test_kernels import CUDA, check, orders, placed, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_kernels")]  # minutes on the simulator

HALVES = ("float16", "bfloat16")
halves = pytest.mark.parametrize("dtype", HALVES)


def agree(gpu, dtype, *arrays, **params):
    """Values and gradients, in each order of threads."""
    forward, backward = attends(*arrays, **params)
    for _ in orders(gpu):
        assert run(FORWARD, CUDA[FORWARD.name], forward, dtype, gpu)
        assert run(BACKWARD, CUDA[BACKWARD.name], backward, dtype, gpu)


@pytest.mark.parametrize("keys", [1, 15, 16, 17, 63, 64, 65, 127, 129])
@pytest.mark.parametrize("rows", [1, 16, 17, 64, 65, 128, 129])
def test_rows_and_keys_of_any_number(rows, keys, gpu):
    """float16 and bfloat16 alternate, and so do all three widths."""
    turn = rows + keys
    depth = (8, 32, 40, 64, 100, 128)[turn % 6]
    agree(gpu, HALVES[turn % 2], *qkv((1,), rows, keys, depth, depth), causal=turn % 4 < 2)


@halves
@pytest.mark.parametrize(("depth", "columns"), [(8, 128), (32, 33), (40, 16), (64, 3), (100, 128)])
def test_heads_of_two_widths(dtype, depth, columns, gpu):
    agree(gpu, dtype, *qkv((2, 1), 33, 66, depth, columns))


@halves
@pytest.mark.parametrize(("rows", "keys"), [(40, 200), (200, 40), (130, 130)])
@pytest.mark.parametrize("depth", [24, 128])
def test_causal_with_unequal_lengths(dtype, depth, rows, keys, gpu):
    """Blocks whose rows attend to few keys, or to none."""
    agree(gpu, dtype, *qkv((1,), rows, keys, depth, depth), causal=True, scale=0.2)


@halves
@pytest.mark.parametrize("kind", ["bool", "added", "holes"])
def test_masks(dtype, kind, gpu):
    rows, keys = 70, 67
    seen = draw((2, 1, rows, keys), seed=3) > 0
    seen[:, :, [0, 9, 69]] = False  # rows that see nothing
    seen[:, :, 20, :64] = False  # nothing in the first tile
    added = draw((1, 2, 1, keys), seed=4)
    mask = {"bool": seen, "added": added, "holes": np.where(seen, added, -np.inf)}[kind]
    agree(gpu, dtype, *qkv((2, 2), rows, keys, 40, 8), mask)
    agree(gpu, dtype, *qkv((2, 2), rows, keys, 6, 5), mask, causal=True)


@halves
def test_rows_that_see_nothing_are_zero(dtype, gpu):
    mask = np.ones((66, 70), bool)
    mask[[3, 65]] = False
    q, k, v = [gpu.from_host(x.astype(backends.dtype_of(dtype))) for x in qkv((1,), 66, 70, 8, 8)]
    y, lse = map(gpu.to_host, CUDA[FORWARD.name](q, k, v, gpu.from_host(mask)))
    assert (y[:, [3, 65]] == 0).all()
    assert (lse[:, [3, 65]] == -np.inf).all()
    assert np.isfinite(np.delete(lse, [3, 65], axis=1)).all()


@halves
def test_masks_of_the_least_number_there_is(dtype, gpu):
    """A row of very low finite scores attends to all keys alike: it is not fully masked."""
    kind = backends.dtype_of(dtype)
    mask = np.zeros((17, 70))
    mask[3], mask[:, 5:9] = np.repeat(float(ml_dtypes.finfo(kind).min), 2)
    forward, _ = attends(*qkv((1,), 17, 70, 8, 8), mask)
    assert np.isfinite(FORWARD.ref(*forward.args)[1]).all()
    assert run(FORWARD, CUDA[FORWARD.name], forward, dtype, gpu)


@halves
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", range(3))
def test_odd_numbers(which, bad, dtype, gpu):
    """Results are NaN or infinite exactly where the reference's are, and right elsewhere."""
    arrays = [
        x.astype(backends.dtype_of(dtype)).astype(np.float64) for x in qkv((1,), 70, 80, 8, 8)
    ]
    arrays[which][0, 66, 3] = bad
    with np.errstate(invalid="ignore"):
        y, lse = FORWARD.ref(*arrays)
        g, how = draw(y.shape, seed=4), {"causal": False, "scale": None, "needs": ALL}
        wanted = BACKWARD.ref(g, *arrays, None, y, lse, **how)
    given = placed(BACKWARD, [g, *arrays, None, y, lse], dtype, gpu.from_host)
    got = CUDA[FORWARD.name](*given[1:4])
    for a, b in zip(got, (y, lse), strict=True):
        check(f"{dtype} {bad}", gpu.to_host(a), b, dtype, 80)
    got = CUDA[BACKWARD.name](*given, **how)
    for a, b in zip(got[:3], wanted[:3], strict=True):
        check(f"{dtype} {bad}", gpu.to_host(a), b, dtype, 80)


@halves
def test_scores_beyond_the_range_of_halves(dtype, gpu):
    """Sums of 128 products of 60 overflow float16's 65504: scores are not rounded to halves."""
    q, k, v = qkv((1,), 65, 66, 128, 8)
    agree(gpu, dtype, 60 * np.sign(q), 60 * np.sign(k), v, scale=1e-5)


@halves
def test_scores_far_below_zero(dtype, gpu):
    """exp(-score) overflows float32: the rescaling of the first block must not use it."""
    q, k, v = qkv((1,), 17, 130, 8, 8)
    agree(gpu, dtype, 5 + np.abs(q), -10 - np.abs(k), v)


@pytest.mark.parametrize("needs", list(itertools.product((True, False), repeat=3)))
def test_what_is_needed(needs, gpu):
    _, (args, params) = attends(*qkv((1,), 66, 70, 8, 12), causal=True)
    sample = Sample(args, {**params, "needs": (*needs, False)})
    assert run(BACKWARD, CUDA[BACKWARD.name], sample, "bfloat16", gpu)


@halves
@pytest.mark.parametrize("depth", [40, 37])
def test_views(dtype, depth, gpu):
    """Heads as views of a projection, one of them not aligned for vectorised loads."""
    n, t, heads = 2, 66, 3
    kind = backends.dtype_of(dtype)
    for start in (0, 1):
        flat = draw((start + n * t * 3 * heads * depth,)).astype(kind)
        host = flat[start:].reshape(n, t, -1)
        there = gpu.from_host(flat)[start:].reshape(n, t, -1)
        width = heads * depth
        cuts = [slice(i * width, (i + 1) * width) for i in range(3)]
        exact = [by_head(host[..., c], heads).astype(np.float64) for c in cuts]
        given = [by_head(there[..., c], heads) for c in cuts]
        wanted = FORWARD.ref(*exact, causal=True)
        for _ in orders(gpu):
            for a, b in zip(CUDA[FORWARD.name](*given, causal=True), wanted, strict=True):
                check(f"{dtype} from {start}", gpu.to_host(a), b, dtype, t)


@halves
def test_the_same_bits_in_any_order_of_threads(dtype, gpu):
    _, (args, params) = attends(*qkv((1,), 130, 140, 72, 72), causal=True)
    seen = set()
    for _ in orders(gpu):
        given = placed(BACKWARD, list(args), dtype, gpu.from_host)
        results = (*CUDA[FORWARD.name](*given[1:4]), *CUDA[BACKWARD.name](*given, **params)[:3])
        seen.add(b"".join(gpu.to_host(a).tobytes() for a in results))
    assert len(seen) == 1


def test_older_devices_leave_halves_to_the_reference(gpu, monkeypatch):
    (args, params), _ = attends(*qkv((1,), 3, 4, 8, 8))
    for capability, taken in (("75", False), ("80", True), ("120", True)):
        card = SimpleNamespace(compute_capability=capability)
        cuda = SimpleNamespace(Device=lambda gpu, card=card: card)
        xp = type("xp", (), {"cuda": cuda})
        kind = type(gpu.from_host(args[0]))
        monkeypatch.setitem(device.DEVICES, kind, device.Device(xp, None, None))
        for dtype in device.DTYPES:
            given = tuple(placed(FORWARD, list(args), dtype, gpu.from_host))
            accepted = CUDA[FORWARD.name].guard(sized=False)(given, params)
            assert accepted == (taken or dtype not in HALVES)
