"""PyTorch's own op tests: the samples of its `op_db` in float64, values and gradients beside ours.

A function is ours by name, as in `tg.linalg.svd` for `linalg.svd`, or by the table below, which
puts PyTorch's forms of arguments into ours. Samples with options that ours does not have are
refused, and count for neither side; docs/beside_pytorch.md says where values differ, and why.
"""

import collections
import itertools
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg

from .of_pytorch import of_pytorch

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.host]
PAGE = Path(__file__).parent.parent / "docs" / "beside_pytorch.md"
SAMPLES = 8  # of each op
WORDS = {"dim": "axis", "keepdim": "keepdims", "dims": "axis", "interpolation": "method"}
WORDS |= {"kernel_size": "size", "is_causal": "causal", "unbiased": "correction"}
IGNORED = {"device", "requires_grad", "layout", "memory_format", "pin_memory", "driver"}
REFUSALS = (tg.TensorgradError, TypeError, ValueError, AttributeError, IndexError)


def reduced(f):
    """PyTorch's reductions over an axis, which give indices, too."""
    indices = {"max": tg.argmax, "min": tg.argmin}[f.__name__]

    def call(x, axis=None, keepdims=False):
        if isinstance(axis, tg.Tensor):
            return {"max": tg.maximum, "min": tg.minimum}[f.__name__](x, axis)
        if axis is None:
            return f(x)
        return f(x, axis, keepdims=keepdims), indices(x, axis, keepdims=keepdims)

    return call


def spread(f):
    """std and var, which divide by n - 1 there."""

    def call(x, axis=None, correction=1, keepdims=False):
        if isinstance(axis, bool):
            axis, correction = None, axis
        return f(x, axis, ddof=1 if correction is None else correction + 0, keepdims=keepdims)

    return call


def padded(mode):
    def call(x, pad, mode=mode, value=0.0):
        pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + [*zip(pad[::2], pad[1::2], strict=True)][::-1]
        if mode == "constant":
            return tg.pad(x, pairs, mode, constant_values=value or 0.0)
        return tg.pad(x, pairs, mode)

    return call


def pooled(f):
    def call(x, size, stride=None, padding=0, *args, **options):
        options = {k: v for k, v in options.items() if k != "return_indices" or v}
        return f(x, size, stride or None, padding, *args, **options)

    return call


def sort(x, axis=-1, descending=False, stable=None):
    return tg.sort(x, axis, descending=descending), tg.argsort(x, axis, descending=descending)


def kept(f):
    return lambda x, axis=None, keepdims=False, **o: f(x, axis, keepdims=keepdims, **o)


TABLE = {
    **dict(zip(
        "mul sub neg eq ne lt le gt ge true_divide clamp_max clamp_min bitwise_not".split(),
        [tg.multiply, tg.subtract, tg.negative, tg.equal, tg.not_equal, tg.less, tg.less_equal,
         tg.greater, tg.greater_equal, tg.divide, tg.minimum, tg.maximum, tg.invert], strict=True)),
    **dict.fromkeys(("mm", "bmm", "mv"), tg.matmul),
    "igamma": tg.gammainc, "igammac": tg.gammaincc,
    "max": reduced(tg.max), "min": reduced(tg.min), "std": spread(tg.std), "var": spread(tg.var),
    "sort": sort, "cat": lambda xs, axis=0: tg.concat(list(xs), axis),
    "where": lambda x, condition, y: tg.where(condition, x, y),
    "nn.functional.pad": padded("constant"), "movedim": tg.moveaxis,
    "unsqueeze": tg.expand_dims, "repeat": lambda x, *n: tg.tile(x, n[0] if len(n) == 1 else n),
    "take_along_dim": lambda x, i, axis=None: tg.take_along_axis(x, i, axis),
    "transpose": tg.swapaxes, "chunk": None, "clone": lambda x, **o: +x, "svd": None, "qr": None,
    "linalg.svd": lambda x, full_matrices=True:
        tuple(tg.linalg.svd(x, full_matrices=full_matrices)),
    "linalg.matrix_norm": lambda x, ord="fro", axis=(-2, -1), keepdims=False, dtype=None:
        tg.linalg.norm(x, ord, axis, keepdims=keepdims),
    "matrix_exp": tg.linalg.matrix_exp, "cholesky": lambda x, upper=False:
        tg.linalg.cholesky(x, upper=upper), "pinverse": tg.linalg.pinv,
    "logdet": None, "linalg.pinv.singular": None, "linalg.lstsq": None, "linalg.eig": None,
    "trapz": tg.trapezoid,
    "split": lambda x, n, axis=0: tg.split(x, [*range(n, x.shape[axis], n)], axis)
        if isinstance(n, int) else tg.split(x, [*np.cumsum(n)[:-1].tolist()], axis),
    "logsumexp": kept(tg.logsumexp), "mode": kept(tg.mode), "median": None, "nanmedian": None,
    "kthvalue": lambda x, k, axis=-1, keepdims=False: tg.kthvalue(x, k, axis, keepdims=keepdims),
    "topk": lambda x, k, axis=-1, largest=True, sorted=True: tg.topk(x, k, axis, largest=largest),
    "einsum": lambda xs, rule: tg.einsum(rule, *xs), "unfold": None, "equal": None,
    "polygamma": lambda x, n: tg.polygamma(n, x), "special.polygamma": None, "histc": None,
    "tensordot": lambda a, b, axis=2: tg.tensordot(a, b, axis), "rsub": None,
    "ldexp": None, "nn.functional.rrelu": None,
    **{f"nn.functional.fractional_max_pool{d}d": None for d in (2, 3)},
    "empty_like": None, "empty": None,
    "nn.functional.linear": None, "linalg.tensorsolve": lambda a, b, axis=None:
        tg.linalg.tensorsolve(a, b, axis),
    "diagflat": lambda x, offset=0: tg.diagflat(x, offset), "normal": None, "randn": None,
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0: tg.hardtanh(x, min_val, max_val),
    "ravel": lambda x: tg.reshape(x, -1), "select": None, "nonzero": None, "unique": None,
    "nn.functional.dropout": None, "gradient": lambda x, spacing=None, axis=None, edge_order=1:
        tg.gradient(x, axis=axis, edge_order=edge_order) if spacing is None else refuse(),
    "broadcast_tensors": None, "expand": lambda x, *shape: tg.broadcast_to(x, shape[0]),
    **{f"nn.functional.{n}_pool{d}d": pooled(getattr(tg, f"{n}_pool{d}d"))
       for n in ("max", "avg") for d in (1, 2, 3)},
    **{f"nn.functional.max_unpool{d}d": pooled(getattr(tg, f"max_unpool{d}d")) for d in (1, 2, 3)},
    **{f"nn.functional.adaptive_max_pool{d}d": (lambda f: lambda x, size, return_indices=False:
        f(x, size, return_indices=return_indices))(getattr(tg, f"adaptive_max_pool{d}d"))
       for d in (1, 2, 3)},
    **{f"fft.{n}": (lambda f: lambda *a, axis=None, **o:
        f(*a, **o) if axis is None else f(*a, axes=axis, **o))(getattr(tg.fft, n))
       for n in "fft2 fftn ifft2 ifftn rfft2 rfftn irfft2 irfftn fftshift ifftshift".split()},
}  # fmt: skip


def refuse():
    raise tg.ArgumentError("an option that ours does not have")


def ours(name):
    """Our function for one of PyTorch's, or None."""
    if name in TABLE:
        return TABLE[name]
    short = re.sub(r"^(nn\.functional|special)\.", "", name)
    found = tg
    for part in short.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            return None
    return found if callable(found) and not isinstance(found, type) else None


def converted(v):
    if isinstance(v, torch.Tensor):
        return tg.tensor(host(v).copy(), requires_grad=v.requires_grad)
    if isinstance(v, (list, tuple)):
        return [converted(x) for x in v] if type(v) is list else tuple([converted(x) for x in v])
    return str(v).split(".")[1] if isinstance(v, torch.dtype) else v


def host(t):
    return t.detach().resolve_conj().resolve_neg().numpy() if isinstance(t, torch.Tensor) else (
        t.detach().numpy() if isinstance(t, tg.Tensor) else np.asarray(t)
    )  # fmt: skip


def flat(y):
    if isinstance(y, (list, tuple)):
        return [t for part in y for t in flat(part)]
    return [] if y is None or isinstance(y, (str, torch.dtype)) else [y]


def leaves(values, kind):
    return [t for t in flat(values) if isinstance(t, kind) and t.requires_grad]


def total(ys):
    """A real number that depends on all parts."""
    parts = []
    for y in ys:
        asked = torch.tensor if isinstance(y, torch.Tensor) else tg.asarray
        weights = asked(np.cos(np.arange(host(y).size)).reshape(host(y).shape))
        z = y.real * weights + y.imag * (2 * weights) if host(y).dtype.kind == "c" else y * weights
        parts.append(z.sum())
    return sum(parts[1:], parts[0])


def compared(op, function, sample):
    """'agree', 'refused', 'skipped', or what is different."""
    given = [sample.input, *sample.args, *sample.kwargs.values()]
    try:
        expected = op(sample.input, *sample.args, **sample.kwargs)
    except Exception:
        return "skipped"
    options = {WORDS.get(k, k): converted(v) for k, v in sample.kwargs.items() if k not in IGNORED}
    args = [converted(a) for a in (sample.input, *sample.args)]
    try:
        found = flat(function(*args, **options))
    except REFUSALS:
        return "refused"
    expected = flat(expected)
    if len(expected) != len(found):
        return f"{len(found)} results instead of {len(expected)}"
    for a, b in zip(found, expected, strict=True):
        if host(a).shape != host(b).shape:
            return f"shape {host(a).shape} instead of {host(b).shape}"
        if not np.allclose(host(a), host(b), rtol=1e-6, atol=1e-8, equal_nan=True):
            return f"value {host(a).ravel()[:2]} instead of {host(b).ravel()[:2]}"
    theirs = [y for y in expected if isinstance(y, torch.Tensor) and y.requires_grad]
    if not theirs:
        return "agree"
    which = [i for i, y in enumerate(expected) if any(y is z for z in theirs)]
    its = leaves(given, torch.Tensor)
    mine = leaves([*args, *[options[WORDS.get(k, k)] for k in sample.kwargs if k not in IGNORED]],
                  tg.Tensor)  # fmt: skip
    try:
        gradients = torch.autograd.grad(total(theirs), its, allow_unused=True)
    except Exception:
        return "skipped"
    if any(not isinstance(found[i], tg.Tensor) or found[i].node is None for i in which):
        return "no gradient"
    total([found[i] for i in which]).backward()
    for leaf, g in zip(mine, gradients, strict=True):
        g = np.zeros(leaf.shape) if g is None else host(g)
        own = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
        if not np.allclose(own, g, rtol=1e-5, atol=1e-7, equal_nan=True):
            return f"gradient {own.ravel()[:2]} instead of {g.ravel()[:2]}"
    return "agree"


def results():
    """{name: outcomes of the samples}, of the ops that both have."""
    found = {}
    for op in of_pytorch("common_methods_invocations").op_db:
        name = f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name
        function = ours(name if name in TABLE else op.name)
        if function is None or torch.float64 not in op.supported_dtypes("cpu"):
            continue
        torch.manual_seed(0)
        samples = op.sample_inputs("cpu", torch.float64, requires_grad=op.supports_autograd)
        taken = [compared(op, function, s) for s in itertools.islice(samples, SAMPLES)]
        if {*taken} - {"refused", "skipped"}:
            found[name] = collections.Counter(taken)
    return found


def explained():
    """The ops in the table of docs/beside_pytorch.md."""
    rows = re.findall(r"^\| `([^`]+)`(.*?) \|", PAGE.read_text(), re.M)
    return {name for row in rows for name in [row[0], *re.findall(r"`([^`]+)`", row[1])]}


def test_pytorchs_op_tests():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = results()
    differ = {name: {*r} - {"agree", "refused", "skipped"} for name, r in found.items()}
    differ = {name: what for name, what in differ.items() if what}
    print(len(found), "ops,", len(differ), "differ:", differ)
    assert len(found) > 280
    assert len(differ) <= 0.02 * len(found)
    assert {*differ} <= explained(), {n: w for n, w in differ.items() if n not in explained()}
