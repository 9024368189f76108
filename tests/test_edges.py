"""The table of conventions at edges, docs/edges.md: each row is computed, in all four dtypes, by
references and by kernels, and beside PyTorch where that is installed.

`python -m tests.test_edges` computes all figures of the table anew and writes them there.
"""

import importlib
import itertools
import math
import pkgutil
import re
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.ops
from tensorgrad import backend as backends
from tensorgrad.core import OPS, Tensor
from tensorgrad.dispatch import watched

try:
    import torch
except ImportError:
    torch = None

PAGE = Path(__file__).parent.parent / "docs" / "edges.md"
DTYPES = ("float64", "float32", "float16", "bfloat16")
CLOSE = {"float64": (1e-3, 1e-12), "float32": (1e-3, 1e-12)}  # the table has 4 digits
CLOSE |= {"float16": (1e-2, 1e-6), "bfloat16": (5e-2, 1e-6)}
PARTS = ("value", "gradient", "second")
ROUTES = [("numpy", "reference", d) for d in DTYPES]
ROUTES += [pytest.param("numpy", "always", d, marks=pytest.mark.slow) for d in DTYPES]  # compiles
ROUTES += [("cudasim", "auto", d) for d in ("float32", "float16")]


def constants(dtype):
    info = (ml_dtypes.finfo if dtype == "bfloat16" else np.finfo)(dtype)
    return {
        "nan": math.nan,
        "inf": math.inf,
        "largest": float(info.max),
        "tiny": float(info.smallest_normal),
        "least": float(info.smallest_subnormal),
    }


# --- the functions of the table, ours and PyTorch's ---------------------------------------------


@cache
def ours():
    losses = "huber mean_squared_error mean_absolute_error binary_cross_entropy".split()
    losses += ["binary_cross_entropy_with_logits", "log_cosh"]
    cross = partial(tg.losses.cross_entropy, reduction="none")
    return {
        **{n: getattr(tg, n) for n in tg.__all__ if callable(getattr(tg, n))},
        **{n: getattr(tg.linalg, n) for n in _MATRICES.split()},
        "repeat": lambda x, n: tg.repeat(x, n, axis=0),
        "solve_triangular": partial(tg.linalg.solve_triangular, upper=True),
        "lu_factor": tg.linalg.lu_factor,
        "segment_max": lambda x, ids: tg.segment_max(x, np.array(ids), 1),
        "propagate": lambda x, w: tg.nn.propagate(x, [[0, 1], [0, 0]], w),
        "cumsum": lambda x: tg.cumsum(x, 0),
        "cumprod": lambda x: tg.cumprod(x, 0),
        "cummax": lambda x: tg.cummax(x, 0)[0],
        **{n: _each(getattr(tg.losses, n)) for n in losses},
        "cross_entropy": lambda x, label: cross(x[None], [label])[0],
        "soft_cross_entropy": lambda x, t: cross(x[None], t[None])[0],
        "max_pool": lambda x: tg.max_pool2d(_image(x), (1, 2))[0, 0, 0],
        "avg_pool": lambda x: tg.avg_pool2d(_image(x), (1, 2))[0, 0, 0],
        "conv": lambda x, w: tg.conv2d(_image(x), _image(w))[0, 0, 0],
        "batch_norm": lambda x: tg.batch_norm(x[:, None])[:, 0],
        "group_norm": lambda x: tg.group_norm(x[None], groups=1)[0],
        "attend": lambda x, keep: tg.scaled_dot_product_attention(
            *[x[None, None, :, None]] * 3, mask=np.array(keep)
        )[0, 0, :, 0],
        "unit_norm": lambda x: x / tg.sqrt(tg.sum(x * x)),
        "mse": tg.losses.mean_squared_error,
        "ctc": lambda x, label=(1,): tg.losses.ctc(x[:, None], [label], [len(x)], [len(label)]),
        "transducer": lambda x: tg.losses.transducer(x[None, None], [[1]], [1], [1]),
        "channel": lambda x, scale: tg.channel_affine(x[None], np.full(x.shape, scale))[0],
        "rnn_relu": lambda x: _recur(tg.rnn, x, 1, activation="relu"),
        "rnn": lambda x: _recur(tg.rnn, x, 1),
        "lstm": lambda x: _recur(tg.lstm, x, 4),
        "gru": lambda x: _recur(tg.gru, x, 3),
        "dense": lambda x, activation: tg.dense(
            x[:, None], np.ones((1, 1)), np.zeros(1), activation=activation
        )[:, 0],
    }


def _image(x):
    return x[None, None, None]


def _each(loss):
    return partial(loss, reduction="none")


def _recur(f, x, gates, **options):
    """One step for each number of x, with weights of 1 and no bias."""
    ones, states = np.ones((1, gates)), (None, None) if f is tg.lstm else (None,)
    return f(x[:, None, None], *states, ones, ones, **options)[0].reshape(-1)


@cache
def theirs():
    F = torch.nn.functional
    same = "abs sign floor ceil trunc round square exp expm1 log log1p sin cos tanh sigmoid sqrt"
    same += " positive negative maximum minimum clip where"
    return {
        **{n: getattr(torch, n) for n in (same + _ELEMENTARY).split()},
        **{n: getattr(F, n) for n in "relu leaky_relu elu silu softplus".split()},
        "gelu": lambda x, approximate="tanh": F.gelu(x, approximate=approximate),
        "power": torch.pow,
        "sum": lambda x: x.sum(-1),
        "mean": lambda x: x.mean(-1),
        "max": lambda x: torch.amax(x, -1),
        "min": lambda x: torch.amin(x, -1),
        "prod": lambda x: x.prod(-1),
        "var": lambda x, ddof=0: x.var(-1, correction=ddof),
        "std": lambda x, ddof=0: x.std(-1, correction=ddof),
        **{n: (lambda f: lambda x: f(x, -1))(getattr(torch, n)) for n in _SOFT},
        "huber": _each(F.huber_loss),
        "mse": F.mse_loss,
        "channel": lambda x, scale: x * scale,
        "dropout": F.dropout,
        "mean_squared_error": _each(F.mse_loss),
        "mean_absolute_error": _each(F.l1_loss),
        "binary_cross_entropy": _each(F.binary_cross_entropy),
        "binary_cross_entropy_with_logits": _each(F.binary_cross_entropy_with_logits),
        "cross_entropy": lambda x, label: F.cross_entropy(x, torch.tensor(label)),
        "soft_cross_entropy": lambda x, t: F.cross_entropy(x, t),
        "max_pool": lambda x: F.max_pool2d(_image(x), (1, 2))[0, 0, 0],
        "avg_pool": lambda x: F.avg_pool2d(_image(x), (1, 2))[0, 0, 0],
        "conv": lambda x, w: F.conv1d(x[None, None], w[None, None])[0, 0],
        "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]),
        "rms_norm": lambda x: F.rms_norm(x, x.shape[-1:], eps=1e-6),
        "batch_norm": lambda x: F.batch_norm(x[:, None], None, None, training=True)[:, 0],
        "group_norm": lambda x: F.group_norm(x[None], 1)[0],
        **{n: getattr(torch.special, n) for n in _SPECIAL.split()},
        "gammainc": lambda a, x: torch.special.gammainc(torch.full_like(x, a), x),
        "gammaincc": lambda a, x: torch.special.gammaincc(torch.full_like(x, a), x),
        **{n: getattr(torch.linalg, n) for n in _MATRICES.split()},
        "lgamma": torch.lgamma,
        "hardtanh": F.hardtanh,
        "solve_triangular": partial(torch.linalg.solve_triangular, upper=True),
        "lu_factor": torch.linalg.lu_factor,
        "repeat": lambda x, n: torch.repeat_interleave(x, n),
        "cumsum": lambda x: torch.cumsum(x, 0),
        "cumprod": lambda x: torch.cumprod(x, 0),
        "cummax": lambda x: torch.cummax(x, 0)[0],
        "sort": lambda x: torch.sort(x, stable=True)[0],
        "embedding": lambda w, ids: F.embedding(torch.tensor(ids), w),
        "matmul": torch.matmul,
        "unit_norm": lambda x: x / torch.sqrt(torch.sum(x * x)),
    }


_ELEMENTARY = """ tan arcsin arccos arctan arctan2 sinc sinh cosh arcsinh arccosh arctanh reciprocal
rsqrt exp2 log2 log10 hypot logaddexp logaddexp2 logit angle copysign fmod"""
_SPECIAL = "erf erfc erfcx erfinv ndtr log_ndtr ndtri digamma polygamma zeta i0 i0e i1 i1e entr"
_MATRICES = (
    "det slogdet inv pinv solve matrix_exp cholesky qr eigvalsh eigh eigvals eig svdvals svd"
)
_SOFT = ("softmax", "log_softmax", "logsumexp")

# --- the table ----------------------------------------------------------------------------------


class Row(NamedTuple):
    """A line of the page: `at` assigns the inputs, ` in float16` says where alone it holds."""

    line: int
    call: str
    at: str
    dtypes: tuple[str, ...]
    figures: tuple[str, str, str]
    theirs: str

    def inputs(self, dtype):
        names = {}
        exec(re.sub(r", (?=\w+=)", "; ", self.at), constants(dtype), names)
        return {k: np.asarray(v, np.float64) for k, v in names.items()}


def read():
    found = []
    for n, line in enumerate(PAGE.read_text().splitlines()):
        cells = [c.strip().strip("`") for c in line.replace(r"\|", "¦").split("|")[1:-1]]
        if len(cells) != 6 or cells[0] in ("call", "---"):
            continue
        at, _, dtypes = cells[1].replace("`", "").partition(" in ")
        dtypes = tuple(dtypes.split(", ")) if dtypes else DTYPES
        found.append(Row(n, cells[0], at, dtypes, tuple(cells[2:5]), cells[5]))
    return found


ROWS = read()


def figures(row, dtype, make, functions, gradients):
    """(value, gradient of each input, gradient of the gradients' sum): sums are weighted 1, 2,
    3, ... so that none cancels."""
    leaves = {k: make(v, dtype) for k, v in row.inputs(dtype).items()}
    y = eval(row.call, {**functions, **constants(dtype)}, leaves)
    firsts = gradients([y], leaves)
    return y, firsts, gradients([firsts[k] for k in leaves], leaves)


def _weights(arrays):
    starts = itertools.accumulate([a.size for a in arrays], initial=1)
    return [np.arange(s, s + a.size).reshape(a.shape) for s, a in zip(starts, arrays, strict=False)]


def our_gradients(ys, leaves, recorded=True):
    total = 0.0
    for y, w in zip(ys, _weights(ys), strict=True):
        if y.requires_grad:
            total = total + (y.astype("float64") * w).sum()
    for t in leaves.values():
        t.grad = None
    if isinstance(total, Tensor):
        total.backward(create_graph=recorded)
    return {k: tg.zeros_like(t) if t.grad is None else t.grad for k, t in leaves.items()}


def their_gradients(ys, leaves):
    total = 0.0
    for y, w in zip(ys, _weights([_plain(y).numpy() for y in ys]), strict=True):
        if y.requires_grad:
            total = total + (y.double() * torch.tensor(w)).sum()
    if isinstance(total, float):
        return {k: torch.zeros_like(t) for k, t in leaves.items()}
    grads = torch.autograd.grad(total, [*leaves.values()], create_graph=True, allow_unused=True)
    zero = [torch.zeros_like(t) for t in leaves.values()]
    return {k: z if g is None else g for k, g, z in zip(leaves, grads, zero, strict=True)}


def _plain(t):
    """A tensor that NumPy takes: PyTorch's zeros of second gradients have no memory."""
    return t.detach().double() + 0.0 if not t._is_zerotensor() else torch.zeros(t.shape)


def our_figures(row, dtype):
    """As `figures`, and the gradient that is not recorded, which kernels compute."""

    def make(v, dtype):
        return tg.tensor(v.astype(backends.dtype_of(dtype)), requires_grad=True)

    y, *recorded = figures(row, dtype, make, ours(), our_gradients)
    _, raw, _ = figures(row, dtype, make, ours(), partial(our_gradients, recorded=False))
    return [
        {k: t.numpy().astype(np.float64) for k, t in p.items()} for p in ({"": y}, *recorded, raw)
    ]


def their_figures(row, dtype):
    def make(v, dtype):
        return torch.tensor(v).to(getattr(torch, dtype)).requires_grad_()

    y, *recorded = figures(row, dtype, make, theirs(), their_gradients)
    return [{k: _plain(t).numpy() for k, t in part.items()} for part in ({"": y}, *recorded)]


def parsed(text, dtype):
    """{input: array} of a cell: `0.5`, `[1, nan]`, or `a: 1, b: 0`."""
    parts = re.split(r", (?=\w+: )", text)
    pairs = [p.partition(": ") if ": " in p else ("", "", p) for p in parts]
    return {k: np.asarray(eval(v, constants(dtype)), np.float64) for k, _, v in pairs}


def agree(found, cell, dtype):
    want = parsed(cell, dtype)
    if len(found) == 1:
        found, want = {"": next(iter(found.values()))}, {"": next(iter(want.values()))}
    rtol, atol = CLOSE[dtype]
    with np.errstate(all="ignore"):
        return found.keys() == want.keys() and all(
            np.shape(found[k]) == w.shape
            and np.allclose(found[k], w, rtol=rtol, atol=atol, equal_nan=True)
            for k, w in want.items()
        )


def departures(row):
    """{part: cell} of what PyTorch has otherwise; {"raises": ""} where it has nothing."""
    return dict(p.partition(" ")[::2] for p in row.theirs.split("; ") if p)


def name(row):
    return f"{row.call} at {row.at}" + _only(row)


def _only(row):
    return "" if row.dtypes == DTYPES else f" in {', '.join(row.dtypes)}"


@pytest.mark.host
@pytest.mark.parametrize(("backend", "kernels", "dtype"), ROUTES, indirect=["backend"])
def test_the_table_is_what_we_compute(backend, kernels, dtype):
    wrong = []
    with tg.use_kernels(kernels):
        for row in [r for r in ROWS if dtype in r.dtypes]:
            cells = *row.figures, row.figures[1]
            parts = *PARTS, "gradient, not recorded,"
            for part, found, cell in zip(parts, our_figures(row, dtype), cells, strict=True):
                if not agree(found, cell, dtype):
                    wrong.append(f"{name(row)}: {part} {shown(found, dtype)}, the page has {cell}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.host
@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
def test_the_table_is_what_pytorch_computes():
    wrong = []
    for row in ROWS:
        dtype, other = row.dtypes[0], departures(row)
        try:
            found = their_figures(row, dtype)
        except (RuntimeError, ValueError, NameError) as error:
            if "raises" not in other:
                wrong.append(f"{name(row)}: {error!r}")
            continue
        for part, value, cell in zip(PARTS, found, row.figures, strict=True):
            if "raises" in other or not agree(value, other.get(part, cell), dtype):
                wrong.append(f"{name(row)}: PyTorch's {part} is {shown(value, dtype)}")
    assert not wrong, "\n".join(wrong)


LINEAR = """reshape transpose moveaxis swapaxes broadcast_to squeeze expand_dims flip pad cast move
identity concat stack split sum_to gather_places scatter_places scatter_add full_like conj real imag
fftn ifftn rfft irfft ldexp frexp gamma_path pick pick_grad""".split()
LINEAR += ["gammainc_grad", "gamma_path_grad"]  # whose edges are those of gammainc


@pytest.mark.host
def test_every_differentiable_op_is_in_the_table():
    """But for those that move numbers, or scale them, whatever they are."""
    for module in pkgutil.iter_modules(tensorgrad.ops.__path__):
        importlib.import_module(f"tensorgrad.ops.{module.name}")
    seen = set()

    def watcher(op, function):
        seen.add(op.name)
        return function

    with watched(watcher):
        for row in ROWS:
            our_figures(row, row.dtypes[0])
    missing = {op.name for op in OPS.values() if op.differentiable and not op.inplace}
    assert sorted(missing - seen - {*LINEAR}) == []


def test_many_equal_halves_share_the_gradient(backend):
    """Their number, and a sum of their squares, is beyond the largest half."""
    x = tg.tensor(np.ones(70_000, np.float16), requires_grad=True)
    for f in (tg.max, tg.min):
        x.grad = None
        f(x).backward()
        np.testing.assert_allclose(x.grad.numpy().astype(float), 1 / 70_000, rtol=0.01)


# --- what trains through edges ------------------------------------------------------------------


def test_adam_goes_on_from_probabilities_of_exactly_0_and_1(backend):
    """The gradient is finite there and so is its square: no second moment that freezes a weight."""
    w = tg.nn.Parameter(np.array([0.0, 1.0, 0.0, 1.0], np.float32))
    opt = tg.optim.Adam([w], lr=0.05)
    losses = []
    for _ in range(30):
        opt.zero_grad()
        loss = tg.binary_cross_entropy(tg.clip(w, 0, 1), np.array([1, 0, 0, 1.0]))
        loss.backward()
        assert np.isfinite((w.grad * w.grad).numpy()).all()
        opt.step()
        losses.append(loss.item())
    p = w.numpy()
    assert losses[-1] < 0.1 * losses[0] < math.inf
    assert p[0] > 0.2
    assert p[1] < 0.8


@pytest.mark.parametrize("activation", ["sigmoid", "gelu", "tanh", "relu", "silu", "elu"])
def test_a_float16_run_goes_on_from_saturated_activations(activation, backend):
    """Pre-activations of up to 60,000 in both directions: gradients stay finite, the loss falls."""
    x = np.linspace(-4, 4, 32, dtype=np.float16)[:, None]
    t = tg.tensor(np.sign(x))
    first = tg.nn.Parameter(np.array([[15e3, -15e3, 200, 1]], np.float16))
    last = tg.nn.Parameter(np.zeros((4, 1), np.float16))
    size = (
        np.array([60e3, 60e3, 800, 4], np.float16) if activation not in ("sigmoid", "tanh") else 1
    )
    losses = []
    for _ in range(25):
        loss = tg.mean_squared_error(getattr(tg, activation)(tg.tensor(x) @ first) / size @ last, t)
        loss.backward()
        with tg.no_grad():
            for w in (first, last):
                assert np.isfinite(w.grad.numpy()).all()
                w -= 0.1 * w.grad
        first.grad = last.grad = None
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


# --- writing the page ---------------------------------------------------------------------------


def shown(part, dtype):
    words = {v: k for k, v in constants(dtype).items() if k not in ("nan", "inf")}

    def number(v):
        v = float(v)
        if abs(v) in words:
            return ("-" if v < 0 else "") + words[abs(v)]
        return f"{v + 0.0:.4g}" if v else "0"

    def text(a):
        return f"[{', '.join(map(text, a))}]" if np.ndim(a) else number(a)

    parts = {k: text(v) for k, v in part.items()}
    return ", ".join([f"{k}: {v}" for k, v in parts.items()] if len(parts) > 1 else parts.values())


def write():
    lines = PAGE.read_text().splitlines()
    for row in ROWS:
        dtype = row.dtypes[0]
        cells = [shown(part, dtype) for part in our_figures(row, dtype)[:3]]
        try:
            found = their_figures(row, dtype)
            other = "; ".join(
                f"{n} {shown(v, dtype)}"
                for n, v, cell in zip(PARTS, found, cells, strict=True)
                if not agree(v, cell, dtype)
            )
        except (RuntimeError, ValueError, NameError):
            other = "raises"
        at = f"`{row.at}`{_only(row)}"
        lines[row.line] = f"| `{row.call}` | {at} | " + " | ".join([*cells, other]) + " |"
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        write()
