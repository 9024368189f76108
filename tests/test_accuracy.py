"""Generated from the op table: how exact kernels are away from zero.

Every kernel is run on numbers of any offset and scale, on constant rows, and with a NaN or an
infinity among them. The truth is the reference in float64 on the very numbers that the kernel was
given, and the reference in the kernel's dtype says how close one can come: a kernel's error is at
most four times as large.
"""

import itertools

import numpy as np
import pytest
from tensorgrad.kernels.cuda.device import HALVES

from tensorgrad import backend as backends
from tensorgrad.core import OPS
from tensorgrad.ops.samples import draw

from .sized import SIZED
from .test_kernels import CPU, CUDA, NUMPY, VECTORS, exact_args, placed

pytestmark = pytest.mark.slow  # compiles every kernel, on its own rows

EPS = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
# Kernels may take subnormal numbers as 0, but for those of half precision.
TINY = {"float32": 1.2e-38, "float16": 4 * 2.0**-24, "bfloat16": 1.2e-38}
OVERFLOW = [f"{how}, all" for how in ("-1e+04", "+1e+06", "*1e+06", "rows of 1e4")]  # in halves
# Results of a forward pass, which are in its range.
RESULTS = {"recurrent": ("y", "gates", "cells", "products"), "attention": ("y", "lse")}


def rows_alike(a):
    return np.broadcast_to(a[..., :1], a.shape).copy()


def one(value):
    def put(a):
        a = a.copy()
        a.reshape(-1)[a.size // 2] = value
        return a

    return put


MOVED = {
    "plain": lambda a: a,
    **{f"{c:+.0e}": lambda a, c=c: a + c for c in (1e2, -1e4, 1e6)},
    **{f"*{c:.0e}": lambda a, c=c: a * c for c in (1e-30, 1e-6, 1e6, 1e30)},
    "rows of one number": rows_alike,
    "rows of 1e4": lambda a: rows_alike(a) + 1e4,
    "rows of 3e38": lambda a: np.full_like(a, 3e38),
    "nan": one(np.nan),
    "inf": one(np.inf),
    "-inf": one(-np.inf),
}


def moves(op, sample):
    """The sample with each floating input moved, and all of them."""
    sample = sample._replace(args=(*sample.args, *[None] * (len(op.inputs) - len(sample.args))))
    names = op.names(len(sample.args))
    fixed = (*VECTORS, *RESULTS.get(op.family, ()))
    floating = [
        i
        for i, (name, a) in enumerate(zip(names, sample.args, strict=True))
        if isinstance(a, np.ndarray) and a.dtype == np.float64 and a.ndim and a.size
        and name not in fixed
    ]  # fmt: skip
    groups = [[i] for i in floating] + [floating] * (len(floating) > 1)
    for (how, move), which in itertools.product(MOVED.items(), groups):
        if how == "plain" and which != groups[-1]:
            continue
        if "3" in how and (len(which) > 1 or ("38" in how and op.family not in ("reduce", "loss"))):
            continue  # products of such numbers overflow
        if op.family == "lu" and ("rows" in how or how[0] in "+-") and how != "-inf":
            continue  # the order of the rows hangs on the rounding
        if op.name == "attention_grad" and how == "+1e+06" and len(which) > 1:
            continue  # scores without a digit behind the point
        args = [move(a) if i in which else a for i, a in enumerate(sample.args)]
        label = f"{how}, {'all' if len(which) > 1 else names[which[0]]}"
        yield label, sample._replace(args=tuple(args))


def results(function, op, args, params, to_host=np.asarray):
    """What the function returns and what it writes to, as a flat list."""
    made = function(*args, **params)
    made = [*(made if isinstance(made, tuple) else (made,))]
    made += [a for a, name in zip(args, op.names(len(args)), strict=True) if name in op.inplace]
    return [None if a is None else to_host(a) for a in made]


def fault(got, ref, truth, size, floor, tiny, family):
    """What is wrong with a result, or None. Where the reference overflows a kernel may do better,
    or give NaN for infinity. Zeros times NaN may be left out: those around an image by the
    reference, those of a state that was not given by a kernel."""
    if truth is None or truth.dtype.kind != "f":
        return None
    most = float(np.finfo(ref.dtype).max) / 16
    got, ref = got.astype(np.float64), ref.astype(np.float64)
    known = np.isfinite(ref) & np.isfinite(truth) & (np.abs(truth) < most)
    off = np.isfinite(got) & ~np.isfinite(ref) & ~np.isfinite(truth) & (family != "recurrent")
    off |= known & ~np.isfinite(got) & (family != "conv")
    own = np.abs(ref - truth)[known].max(initial=0)
    size = max(size, np.abs(truth[known]).max(initial=0))
    if own >= size > 0:
        return None  # there is nothing to be compared with
    if off.any():
        at = np.argmax(off)
        return (
            f"{off.sum()} of {off.size} are wrong: {got.flat[at]}, the reference gives "
            f"{ref.flat[at]}, the truth is {truth.flat[at]}"
        )
    error, bound = (
        np.abs(got - truth)[known & np.isfinite(got)].max(initial=0),
        max(4 * own, floor * size + tiny),
    )
    if error > bound:
        times = error / bound
        return f"error {error:.2g}, the reference's {own:.2g}, of {size:.2g}: {times:.1f} bounds"
    return None


def with_results(forward, args, params):
    """The arguments of attention_grad, with the results of that very forward pass."""
    q, k, v, mask = args[1:5]
    return [*args[:5], *forward(q, k, v, mask, causal=params["causal"], scale=params["scale"])]


def held(op, kernels, sample, dtype, home):
    """What is wrong with a kernel's results; None where it does not take the sample."""
    kernel = kernels[op.name]
    args = placed(op, exact_args(op, sample, dtype), dtype, NUMPY.from_host)
    here = [home.from_host(a.copy()) if isinstance(a, np.ndarray) else a for a in args]
    if not kernel.guard(sized=False)(tuple(here), sample.params):
        return None
    exact = [
        a.astype(np.float64) if isinstance(a, np.ndarray) and backends.is_floating(a.dtype) else a
        for a in args
    ]
    if op.name == "attention_grad":
        name = "scaled_dot_product_attention"
        here = with_results(kernels[name], here, sample.params)
        args, exact = [with_results(OPS[name].ref, a, sample.params) for a in (args, exact)]
    terms, sizes = 8, {}
    if op.name in ("sum", "mean", "sum_to"):  # of numbers that may cancel
        sizes[0] = np.nanmax(op.ref(np.abs(exact[0]), **sample.params), initial=0)
    if op.name.endswith("_norm"):
        sizes[1] = np.abs(exact[0])[np.isfinite(exact[0])].mean()
    if op.name.endswith("_norm_grad"):
        g = np.abs(exact[0])[np.isfinite(exact[0])]
        sizes[1] = sizes[2] = g.sum() / args[2].size
        rstd = np.abs(exact[-1][np.isfinite(exact[-1])]).max(initial=0)
        sizes[0] = 4 * g.max(initial=0) * np.nanmax(np.abs(exact[2]), initial=0) * rstd  # cancel
    if op.name == "attention_grad":  # gradients of scores, whose sum over the keys is 0
        g, q, k, v = [np.where(np.isfinite(a), a, 0) for a in exact[:4]]
        at_scores = np.abs(g).max() * np.abs(v).max() * v.shape[-1]
        at_scores *= sample.params["scale"] or q.shape[-1] ** -0.5
        sizes[0], sizes[1] = at_scores * k.std(axis=-2).max(), at_scores * np.abs(q).max()
    if op.family in ("conv", "matmul", "recurrent", "attention"):
        terms = 64 * max(max(a.shape) for a in args if isinstance(a, np.ndarray) and a.ndim) ** 0.5
    truth = results(op.ref, op, exact, sample.params)
    own = results(op.ref, op, args, sample.params)
    got = results(kernel, op, here, sample.params, home.to_host)
    return [
        f"output {i}: {why}"
        for i, trio in enumerate(zip(got, own, truth, strict=True))
        if (why := fault(*trio, sizes.get(i, 0), EPS[dtype] * terms, TINY[dtype], op.family))
    ]


def faults(name, kernels, home, n, dtypes):
    op, found = OPS[name], []
    turns = len(dtypes) if op.family == "attention" else 1  # long on the simulator: dtypes by turns
    for (d, dtype), (s, sample) in itertools.product(enumerate(dtypes), enumerate(SIZED[name](n))):
        if dtype not in kernels[name].accepts:
            continue
        for label, moved in itertools.islice(moves(op, sample), (d + s) % turns, None, turns):
            if dtype in HALVES and op.family == "recurrent" and label in OVERFLOW:
                continue
            why = held(op, kernels, moved, dtype, home)
            shapes = [getattr(a, "shape", a) for a in sample.args]
            found += [f"{dtype} {shapes} {label}: {w}" for w in why or ()]
    return found


@pytest.mark.parametrize("name", CPU)
def test_cpu_kernel(name):
    found = faults(name, CPU, NUMPY, 1025, ["float32"])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", CUDA)
def test_cuda_kernel(name, gpu, own_kernels):  # cuDNN takes no zero of a padding times a NaN
    found = faults(name, CUDA, gpu, 67, ["float32", "float16"])
    assert not found, "\n".join(found)


# --- what attention hides -------------------------------------------------------------------------


@pytest.mark.parametrize("hiding", ["bool", "added", "causal"])
def test_what_attention_hides_counts_as_nothing(hiding, gpu):
    """The last keys are hidden from all rows, key 40 from the first 40: as if they were 0."""
    g, q, k, v = [draw((2, n, 8), seed=i) for i, n in enumerate((70, 70, 90, 90))]
    seen = np.tri(70, 90, dtype=bool) if hiding == "causal" else np.ones((70, 90), bool)
    seen[:40, 40], seen[:, 70:] = False, False
    mask = {"bool": seen, "added": np.where(seen, 0.0, -np.inf), "causal": None}[hiding]
    how = {"causal": hiding == "causal", "scale": None}
    tables = [(home, {n: OPS[n].ref for n in CUDA} if refs else t)
              for home, t in ((NUMPY, CPU), (gpu, CUDA)) for refs in (True, False)]  # fmt: skip

    def computed(home, table, dtype, key):
        made = []
        for fill in (np.nan, 0.0):
            a, b = k.copy(), v.copy()
            a[:, key], b[:, key] = fill, fill
            arrays = [x if x is None or x.dtype == bool else x.astype(dtype)
                      for x in (g, q, a, b, mask)]  # fmt: skip
            args = [None if x is None else home.from_host(x) for x in arrays]
            y, lse = table["scaled_dot_product_attention"](*args[1:], **how)
            grads = table["attention_grad"](*args, y, lse, **how, needs=(True, True, True, False))
            made.append([home.to_host(x).astype(float) for x in (y, lse, *grads[:3])])
        return made

    for (home, table), dtype in itertools.product(tables, ("float32", "float16")):
        if dtype == "float16" and table is CPU:
            continue
        off = 1e-2 if dtype == "float16" else 1e-5
        for a, b in zip(*computed(home, table, dtype, slice(70, 90)), strict=True):
            np.testing.assert_allclose(a, b, rtol=off, atol=off)
        dirty, clean = computed(home, table, dtype, 40)
        for a, b in zip(dirty[:3], clean[:3], strict=True):  # of rows
            np.testing.assert_allclose(a[:, :40], b[:, :40], rtol=off, atol=off)
            assert np.isnan(a[:, 40:]).any(axis=tuple(range(2, a.ndim))).all()


# --- long sums ----------------------------------------------------------------------------------

SUMS = [
    ("sum", (9001, 4, 3), {"axis": 0}),
    ("sum", (2, 9001, 3), {"axis": (1, 2), "keepdims": True}),
    ("mean", (9001, 3, 5), {"axis": (0, 2)}),
    ("var", (9001, 3), {"axis": 0, "ddof": 1}),
    ("std", (3, 900), {"axis": 1}),
    ("logsumexp", (9001, 2), {"axis": 1}),
]


def long_rows(shape, c):
    """Numbers that all are rounded alike, and others."""
    rows = draw(shape, 0, 1) + c
    rows[..., 0] = 0.1 + c
    return rows.astype(np.float32)


def far_off(op, y, x, params):
    truth = op.ref(x.astype(np.float64), **params)
    return (np.abs(y - truth) / np.abs(truth).max()).max() / EPS["float32"]


@pytest.mark.parametrize("c", [0, 1e4, 1e6])
@pytest.mark.parametrize(("name", "shape", "params"), SUMS)
def test_the_reference_of_many_numbers(name, shape, params, c):
    x, op = long_rows(shape, c), OPS[name]
    for layout in (x, np.asfortranarray(x)):
        assert far_off(op, op.ref(layout, **params), x, params) < 64


def long_sums(n, home, table):
    for shape, axis in (((n,), None), ((n // 4, 4), 0), ((2, n // 8, 4), 1), ((2, n // 2), 1)):
        x = long_rows(shape, 0)
        for name in ("sum", "mean"):
            y = home.to_host(table[name](home.from_host(x), axis=axis))
            assert far_off(OPS[name], y, x, {"axis": axis}) < 16, (name, shape)


@pytest.mark.parametrize("n", [1_000_000, pytest.param(20_000_000, marks=pytest.mark.slow)])
def test_long_sums(n):
    long_sums(n, NUMPY, CPU)


def test_long_sums_on_the_gpu(gpu):
    long_sums(300_000, gpu, CUDA)
