"""Attention on the GPU: what the samples of test_kernels.py do not reach."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tensorgrad.kernels.cuda import attention as cuda

from tensorgrad import backend as backends
from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw

from .test_kernels import CUDA, check, orders, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_kernels")]  # minutes on the simulator

FORWARD, BACKWARD = OPS["scaled_dot_product_attention"], OPS["attention_grad"]
ALL = (True, True, True, False)


def attends(q, k, v, mask=None, **params):
    """A sample of the forward pass, and one of the backward pass."""
    y, lse = FORWARD.ref(q, k, v, mask, **params)
    how = {"causal": False, "scale": None, "needs": ALL, **params}
    return Sample((q, k, v, mask), params), Sample((draw(y.shape, seed=9), q, k, v, mask, y, lse),
                                                   how)  # fmt: skip


def both(gpu, dtype, *arrays, **params):
    forward, backward = attends(*arrays, **params)
    assert run(FORWARD, CUDA[FORWARD.name], forward, dtype, gpu)
    assert run(BACKWARD, CUDA[BACKWARD.name], backward, dtype, gpu)


def qkv(lead, rows, keys, depth, columns):
    shapes = (*lead, rows, depth), (*lead, keys, depth), (*lead, keys, columns)
    return [draw(s, seed=i) for i, s in enumerate(shapes)]


@pytest.mark.parametrize(
    ("depth", "columns"),
    [(8, 8), (24, 40), (33, 32), (64, 64), (65, 7), (96, 72), (127, 128), (128, 128)],
)
def test_heads_of_any_width(depth, columns, gpu):
    """Widths with and without vectorised loads, up to the widest kernel, across tile edges."""
    for dtype, (rows, keys) in itertools.product(
        ("float32", "float16", "bfloat16", "float64"), ((67, 130), (128, 64))
    ):
        both(gpu, dtype, *qkv((2,), rows, keys, depth, columns), causal=keys == 130)


def test_wider_heads_are_left_to_the_reference(gpu):
    for depth, columns in ((129, 8), (8, 129)):
        for op, sample in zip(
            (FORWARD, BACKWARD), attends(*qkv((1,), 2, 3, depth, columns)), strict=True
        ):
            assert not run(op, CUDA[op.name], sample, "float32", gpu)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("rows", "keys"), [(1, 1), (1, 200), (200, 1), (65, 64), (64, 65), (31, 97)]
)
def test_rows_and_keys_of_any_number(rows, keys, causal, gpu):
    both(gpu, "float32", *qkv((2, 3), rows, keys, 5, 4), causal=causal)


@pytest.mark.parametrize("shape", [(70, 90), (1, 90), (70, 1), (3, 1, 1, 90), (1, 2, 70, 90), ()])
@pytest.mark.parametrize("kind", [bool, float])
def test_masks_that_broadcast(kind, shape, gpu):
    mask = draw(shape, seed=5) > -1 if kind is bool else draw(shape, seed=5)
    for causal, dtype in ((False, "float32"), (True, "float16")):
        both(gpu, dtype, *qkv((3, 2), 70, 90, 8, 8), np.asarray(mask), causal=causal)


def test_batches_of_any_dimension(gpu):
    for lead in ((), (2,), (2, 1, 3)):
        both(gpu, "float32", *qkv(lead, 5, 7, 4, 3), draw((5, 7), seed=3) > 0)
    both(gpu, "float32", *qkv((2, 2, 2), 5, 7, 4, 3), draw((2, 1, 2, 1, 7), seed=3))


def test_rows_that_see_nothing(gpu):
    mask = draw((70, 80), seed=3) > 0
    mask[[0, 3, 69]] = False
    mask[5, :64] = False  # nothing in the first tile
    both(gpu, "float32", *qkv((2,), 70, 80, 8, 8), mask)
    added = np.where(mask, draw((70, 80), seed=4), -np.inf)
    both(gpu, "float32", *qkv((2,), 70, 80, 8, 8), added)
    q, k, v = [gpu.from_host(x.astype(np.float32)) for x in qkv((2,), 70, 80, 8, 8)]
    y, lse = CUDA[FORWARD.name](q, k, v, gpu.from_host(mask))
    assert (gpu.to_host(y)[:, 3] == 0).all()
    assert (gpu.to_host(lse)[:, 3] == -np.inf).all()


@pytest.mark.parametrize("needs", list(itertools.product((True, False), repeat=3)))
def test_attention_grad_gives_what_is_needed(needs, gpu):
    _, (args, params) = attends(*qkv((2,), 66, 70, 8, 12), causal=True)
    sample = Sample(args, {**params, "needs": (*needs, False)})
    assert run(BACKWARD, CUDA[BACKWARD.name], sample, "float32", gpu)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", range(3))
def test_odd_numbers_in_attention(which, bad, gpu):
    """Results are NaN or infinite exactly where the reference's are, and right elsewhere."""
    arrays = [x.astype(np.float32) for x in qkv((1,), 70, 80, 8, 8)]
    arrays[which][0, 66, 3] = bad
    y, lse = FORWARD.ref(*[a.astype(np.float64) for a in arrays])
    got = CUDA[FORWARD.name](*[gpu.from_host(a) for a in arrays])
    for a, wanted in zip(got, (y, lse), strict=True):
        np.testing.assert_allclose(gpu.to_host(a), wanted, rtol=1e-4, atol=1e-5)
    g, how = draw(y.shape, seed=4), {"causal": False, "scale": None, "needs": ALL}
    wanted = BACKWARD.ref(g, *[a.astype(np.float64) for a in arrays], None, y, lse, **how)
    given = [gpu.from_host(a.astype(np.float32)) for a in (g, *arrays, y, lse)]
    got = CUDA[BACKWARD.name](*given[:4], None, *given[4:], **how)
    for a, b in zip(got[:3], wanted[:3], strict=True):
        np.testing.assert_allclose(gpu.to_host(a), b, rtol=1e-3, atol=1e-4)


def test_large_scores_do_not_overflow(gpu):
    q, k, v = qkv((2,), 65, 130, 8, 8)
    both(gpu, "float32", 4 * q, 5 * k, v, causal=True)  # exp(100) is infinite in float32


# --- views --------------------------------------------------------------------------------------


def by_head(x, heads):
    """(n, t, heads * d) as (n, heads, t, d), a view."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


@pytest.mark.parametrize("depth", [8, 6])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_heads_within_one_projection(dtype, depth, gpu):
    """Inputs are not copied, and the heads of the results are contiguous in memory again."""
    kind, n, t, heads = backends.dtype_of(dtype), 2, 67, 3
    projected = draw((n, t, 3 * heads * depth)).astype(kind)
    there = gpu.from_host(projected)
    width = heads * depth
    parts = [slice(i * width, (i + 1) * width) for i in range(3)]
    given = [by_head(there[..., p], heads) for p in parts]
    exact = [by_head(projected[..., p], heads).astype(np.float64) for p in parts]
    kernel, params = CUDA[FORWARD.name], {"causal": True, "scale": None}
    assert kernel.guard(sized=False)((*given, None), params)
    y, lse = kernel(*given, **params)
    wanted = FORWARD.ref(*exact, **params)
    check(dtype, gpu.to_host(y), wanted[0], dtype, t)
    check(dtype, gpu.to_host(lse), wanted[1], dtype, t)
    assert y.swapaxes(1, 2).flags.c_contiguous
    g = draw((n, t, width)).astype(kind)
    args = (by_head(gpu.from_host(g), heads), *given, None, y, lse)
    params["needs"] = ALL
    assert CUDA[BACKWARD.name].guard(sized=False)(args, params)
    grads = CUDA[BACKWARD.name](*args, **params)
    wanted = BACKWARD.ref(by_head(g, heads).astype(np.float64), *exact, None, *wanted, **params)
    for a, b in zip(grads[:3], wanted[:3], strict=True):
        check(dtype, gpu.to_host(a), b, dtype, t)
        assert a.swapaxes(1, 2).flags.c_contiguous


def test_columns_with_gaps_and_rows_that_repeat(gpu):
    """Rows with a stride of 2 are copied; broadcast rows have a stride of 0."""
    q, k, v = [x.astype(np.float32) for x in qkv((2,), 66, 67, 8, 8)]
    wide = gpu.from_host(np.repeat(q, 2, axis=-1))[..., ::2]
    row = gpu.xp.broadcast_to(gpu.from_host(k[:, :1]), k.shape)
    y, _ = CUDA[FORWARD.name](wide, row, gpu.from_host(v))
    wanted = FORWARD.ref(q.astype(np.float64), np.broadcast_to(k[:, :1], k.shape), v)[0]
    check("views", gpu.to_host(y), wanted, "float32", 67)


def test_arrays_that_are_not_aligned(gpu):
    """Rows of whole vectors, the first of which is not aligned for vectorised loads."""
    whole = draw((3 * 2 * 66 * 8 + 1,)).astype(np.float32)
    for start in (0, 1):
        there = gpu.from_host(whole)[start : start + 3 * 2 * 66 * 8].reshape(3, 2, 66, 8)
        exact = whole[start : start + 3 * 2 * 66 * 8].reshape(3, 2, 66, 8).astype(np.float64)
        assert cuda._packed(there) == (start == 0)
        y, lse = CUDA[FORWARD.name](*there)
        wanted = FORWARD.ref(*exact)
        check("aligned", gpu.to_host(y), wanted[0], "float32", 66)
        check("aligned", gpu.to_host(lse), wanted[1], "float32", 66)


def test_the_same_bits_in_any_order_of_threads(gpu):
    """With several tiles of queries and of keys, wide heads, and halves."""
    for dtype in ("float16", "float32"):
        _, (args, params) = attends(*qkv((2,), 70, 140, 72, 72), causal=True)
        args = [None if a is None else a.astype(dtype) for a in args]
        args[6] = args[6].astype(np.float32)
        seen = set()
        for _ in orders(gpu):
            given = [None if a is None else gpu.from_host(a.copy()) for a in args]
            results = (*CUDA[FORWARD.name](*given[1:4]), *CUDA[BACKWARD.name](*given, **params)[:3])
            seen.add(b"".join(gpu.to_host(a).tobytes() for a in results))
        assert len(seen) == 1


def test_a_statistic_of_another_type_is_refused(gpu):
    _, (args, params) = attends(*qkv((1,), 3, 4, 8, 8))
    args = [None if a is None else gpu.from_host(a.astype(np.float16)) for a in args]
    accept = CUDA[BACKWARD.name].guard(sized=False)
    assert not accept(tuple(args), params)
    args[6] = args[6].astype(np.float32)
    assert accept(tuple(args), params)
