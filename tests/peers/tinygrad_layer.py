"""tinygrad's Tensor on tensorgrad, for its public test of ops, which compares with PyTorch: a
pytest plugin that puts modules called `tinygrad` in their place before the test imports them.

Every floating tensor is a leaf or on the tape, integers are int32 by default, and what is refused
is refused by an error of every class that the tests name.
"""

import contextlib
import functools
import math
import sys
from types import ModuleType, SimpleNamespace

import numpy as np

import tensorgrad as tg
from tensorgrad.trees import leaves, refill


class Refused(
    NotImplementedError,
    ValueError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    AssertionError,
):
    """A TensorgradError, as tinygrad or PyTorch may have it."""


def unwrapped(tree):
    found = [a.t if isinstance(a, Tensor) else a for a in leaves(tree)]
    return refill(tree, iter(found))


def wrapped(y):
    if isinstance(y, tg.Tensor):
        return Tensor(y.astype("int32") if y.dtype == "int64" else y)
    return tuple(map(wrapped, y)) if isinstance(y, (tuple, list)) else y


def refusing(f):
    @functools.wraps(f)
    def call(*args, **kwargs):
        try:
            return f(*args, **kwargs)
        except (tg.TensorgradError, TypeError) as error:
            raise Refused(str(error)) from error

    return call


def through(f):
    """A function of tg's tensors as one of these."""

    def call(*args, **kwargs):
        args = [a if isinstance(a, slice) else unwrapped(a) for a in args]
        return wrapped(f(*args, **{k: unwrapped(v) for k, v in kwargs.items()}))

    return refusing(call)


class Named(type):
    """`Tensor.exp(x)` and `x.exp()`, of METHODS or of tg under the same name."""

    def __getattr__(cls, name):
        f = METHODS.get(name) or getattr(tg, name, None)
        if f is None or name.startswith("__"):
            raise AttributeError(name)
        return through(f)


class Tensor(metaclass=Named):
    def __init__(self, data, dtype=None):
        if not isinstance(data, tg.Tensor):
            a = np.asarray(data)
            own = dtype or (a.dtype if isinstance(data, (np.ndarray, np.generic)) else None)
            data = tg.tensor(a, own or {"f": "float32", "i": "int32"}.get(a.dtype.kind, a.dtype))
            if data.dtype.kind == "f":
                data = tg.tensor(data.numpy(), requires_grad=True)
        self.t = data

    def __getattr__(self, name):
        if name in ("shape", "dtype", "ndim", "grad"):
            return getattr(self.t, name)
        return functools.partial(getattr(Tensor, name), self)

    def numpy(self):
        return self.t.numpy()

    def item(self):
        return self.t.item()

    def realize(self, *others):
        return self

    contiguous = clone = realize

    def gradient(self, *xs):
        tape = {id(x): x.t for x in xs}
        if not self.t.requires_grad:
            return [Tensor(tg.zeros_like(t.detach())) for t in tape.values()]
        for t in tape.values():
            t.grad = None
        self.t.backward()
        grads = [x.t.grad for x in xs]
        zeros = [tg.zeros_like(x.t.detach()) for x in xs]
        return [Tensor(z if g is None else g) for g, z in zip(grads, zeros, strict=True)]

    def backward(self):
        self.t.backward()

    @property
    def T(self):
        return Tensor(self.t.T)

    @refusing
    def __getitem__(self, key):
        def plain(k):
            if isinstance(k, Tensor):
                return k.t.detach()
            return list(map(plain, k)) if isinstance(k, (tuple, list)) else k

        return wrapped(self.t[tuple(map(plain, key)) if isinstance(key, tuple) else plain(key)])

    @classmethod
    def stack(cls, *xs, dim=0):
        if len(xs) == 1 and isinstance(xs[0], (tuple, list)):
            xs = xs[0]
        return through(tg.stack)(list(xs), axis=dim)

    @classmethod
    def einsum(cls, formula, *xs):
        xs = xs[0] if len(xs) == 1 and isinstance(xs[0], (tuple, list)) else xs
        return through(tg.einsum)(formula, *xs)


for _name in """add sub mul truediv floordiv mod pow matmul and or xor lshift rshift lt le gt ge eq
ne""".split():
    for _method in (f"__{_name}__", f"__r{_name}__"):
        if hasattr(tg.Tensor, _method):
            setattr(Tensor, _method, through(getattr(tg.Tensor, _method)))
for _method in ("__neg__", "__invert__"):
    setattr(Tensor, _method, through(getattr(tg.Tensor, _method)))
Tensor.__hash__ = object.__hash__


# --- what has another name, or other arguments ----------------------------------------------------


def shape_of(args):
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args


def filled(make):
    def of(*shape, dtype=None, **options):
        return make(shape_of(shape), **({"dtype": dtype} if dtype else {}), **options)

    return of


def drawn(f, shape):
    return tg.tensor(f(size=shape_of(shape)).numpy(), requires_grad=True)


def reduced(f, **defaults):
    def call(x, axis=None, keepdim=False, dim=None, **options):
        axis = dim if axis is None else axis
        axis = tuple(axis) if isinstance(axis, list) else axis
        if x.ndim == 0 and isinstance(axis, int) and axis in (0, -1):
            axis = None
        return f(x, axis=axis, keepdims=keepdim, **{**defaults, **options})

    return call


def along(f, axis):
    def call(x, dim=axis, **options):
        dim = options.pop("axis", dim)
        if x.ndim == 0 and dim in (0, -1):
            y = f(x.reshape(1), axis=0, **options)
            return tuple(p[0] for p in y) if isinstance(y, tuple) else y[0]
        return f(x, axis=dim, **options)

    return call


def sums(f):
    def call(x, axis=None, keepdim=False, dtype=None):
        y = reduced(f)(x, axis, keepdim, **({} if dtype is None else {"dtype": dtype}))
        return y.astype(x.dtype) if x.dtype.kind == "i" and dtype is None else y

    return call


def pad(x, padding, mode="constant", value=0.0):
    padding = tuple(padding)
    if all(p is None or isinstance(p, (tuple, list)) for p in padding):
        pairs = [(0, 0) if p is None else tuple(p) for p in padding]
        if len(pairs) != x.ndim:
            raise tg.ShapeError("a pair for each axis")
    else:
        if len(padding) % 2 or len(padding) > 2 * x.ndim:
            raise tg.ShapeError("pairs")
        pairs = [(padding[i], padding[i + 1]) for i in range(0, len(padding), 2)][::-1]
        pairs = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    if mode == "circular":  # of what is left
        x = x[
            tuple(
                slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, x.shape, strict=True)
            )
        ]
        pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, x.shape, strict=True))
    added = [(max(a, 0), max(b, 0)) for a, b in pairs]
    limit = {"reflect": -1, "circular": 0}.get(mode)
    for (a, b), n in zip(added, x.shape, strict=True):
        if limit is not None and max(a, b) > n + limit:
            raise tg.ShapeError("larger than the axis")
    if mode == "constant":
        return tg.pad(x[cut], added, constant_values=value)
    padded = tg.pad(x, added, mode=mode)
    return padded[
        tuple(
            slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, padded.shape, strict=True)
        )
    ]


def windows(name):
    """conv2d and the like of tinygrad, whose number of axes is that of the kernel, and whose
    padding may be of each side."""

    def call(x, w, *rest, padding=0, **options):
        kernel = (
            w.shape[2:] if isinstance(w, tg.Tensor) else (w if isinstance(w, tuple) else (w, w))
        )
        n = len(kernel)
        if isinstance(padding, (tuple, list)) and len(padding) == 2 * n:
            value = -math.inf if name == "max_pool" else 0.0
            x, padding = pad(x, padding, value=value), 0
        elif np.min(padding) < 0:
            x, padding = (
                pad(x, [p for q in np.broadcast_to(padding, n)[::-1] for p in (int(q),) * 2]),
                0,
            )
        f = getattr(tg, f"{name}{n}d")
        return f(
            x, w, *rest, padding=tuple(padding) if isinstance(padding, list) else padding, **options
        )

    return call


def pooled(name):
    call = windows(name)

    def pool(x, kernel_size=(2, 2), stride=None, dilation=1, padding=0, **options):
        kernel_size = tuple(kernel_size) if isinstance(kernel_size, (list, tuple)) else kernel_size
        if name == "max_pool":
            options["dilation"] = dilation
            if x.dtype.kind == "i" and np.max(padding) > 0:
                return call(
                    x.astype("float64"), kernel_size, stride, padding=padding, **options
                ).astype(x.dtype)
        return call(x, kernel_size, stride, padding=padding, **options)

    return pool


def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    size = None if output_size is None else tuple(output_size[-2:])
    return tg.max_unpool2d(x, indices, kernel_size, stride, padding, output_size=size)


def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, enable_gqa=False):
    if is_causal and attn_mask is not None:
        raise tg.ArgumentError("one of the two")
    if enable_gqa:
        times = q.shape[-3] // k.shape[-3]
        k, v = tg.repeat(k, times, axis=-3), tg.repeat(v, times, axis=-3)
    return tg.scaled_dot_product_attention(q, k, v, attn_mask, causal=is_causal)


def div(a, b, rounding_mode=None):
    if rounding_mode not in (None, "trunc", "floor"):
        raise tg.ArgumentError(rounding_mode)
    if rounding_mode == "floor":
        return tg.floor_divide(a, b)
    if rounding_mode is None:
        return tg.divide(a, b)
    rest = tg.fmod(a, b)
    return (
        tg.floor_divide(a - rest, b) if "f" not in (rest.dtype.kind) else tg.trunc((a - rest) / b)
    )


def split(x, sizes, dim=0):
    if isinstance(sizes, int):
        return tg.split(x, list(range(sizes, x.shape[dim], sizes)), dim)
    return tg.split(x, np.cumsum(sizes)[:-1].tolist(), dim)


def chunk(x, chunks, dim=0):
    return split(x, -(-x.shape[dim] // chunks), dim)


def expand(x, *shape):
    shape = shape_of(shape)
    new = len(shape) - x.ndim
    return tg.broadcast_to(
        x, tuple(x.shape[i - new] if s in (-1, None) else s for i, s in enumerate(shape))
    )


def reshape(x, *shape):
    return tg.reshape(
        x, tuple(x.shape[i] if s is None else s for i, s in enumerate(shape_of(shape)))
    )


def flatten(x, start_dim=0, end_dim=-1):
    if x.ndim == 0:
        return x.reshape(1)
    end_dim %= x.ndim
    return x.reshape((*x.shape[:start_dim], -1, *x.shape[end_dim + 1 :]))


def unflatten(x, dim, sizes):
    dim %= x.ndim
    return x.reshape((*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def squeeze(x, dim=None):
    if dim is None:
        return tg.squeeze(x)
    if x.ndim == 0 and dim in (0, -1):
        return x
    if not -max(x.ndim, 1) <= dim < max(x.ndim, 1):
        raise tg.IndexingError("no such axis")
    return x if x.shape[dim] != 1 else tg.squeeze(x, dim)


def repeat(x, *times):
    times = shape_of(times)
    if len(times) < x.ndim:
        raise tg.ShapeError("repeats for each axis")
    return tg.tile(x, times)


def roll(x, shifts, dims=None):
    shifts = shifts[0] if isinstance(shifts, tuple) and len(shifts) == 1 else shifts
    if (dims is None and not isinstance(shifts, int)) or (
        dims is not None and np.shape(shifts) != np.shape(dims)
    ):
        raise tg.ShapeError("a shift for each axis")
    return tg.roll(x, shifts, dims)


def unfold(x, dim, size, step):
    if step <= 0 or (-x.ndim <= dim < x.ndim and size > x.shape[dim]):
        raise tg.ShapeError("size or step")
    if size == 0:
        dim %= x.ndim
        count = x.shape[dim] // step + 1
        return tg.zeros((*x.shape[:dim], count, *x.shape[dim + 1 :], 0)) + 0 * x.sum()
    if not -x.ndim <= dim < x.ndim:
        raise tg.IndexingError("no such axis")
    dim %= x.ndim
    windows = tg.sliding_window_view(x, size, dim)
    return windows[(slice(None),) * dim + (slice(None, None, step),)]


def gather(x, dim, index):
    return tg.gather(x, dim, index)


def scatter(x, dim, index, src, reduce=None):
    if isinstance(src, tg.Tensor) and src.dtype != x.dtype:
        raise tg.DTypeError("dtypes differ")
    if reduce is None:
        return tg.scatter(x, dim, index, src)
    words = {"add": "sum", "multiply": "prod"}
    if reduce not in words:
        raise TypeError(reduce)
    src = src if isinstance(src, tg.Tensor) else tg.full(index.shape, src, dtype=x.dtype)
    return tg.scatter_reduce(x, dim, index, src, words[reduce])


def scatter_reduce(x, dim, index, src, reduce, include_self=True):
    if x.dtype != src.dtype:
        raise tg.DTypeError("dtypes differ")
    return tg.scatter_reduce(x, dim, index, src, reduce, include_self=include_self)


def ordered(x, dim=-1, descending=False):
    return tg.sort(x, dim, descending=descending), tg.argsort(x, dim, descending=descending)


def topk(x, k, dim=-1, largest=True, sorted_=True):
    return tuple(tg.topk(x, k, dim, largest=largest))


def cross_entropy(
    x, y, reduction="mean", label_smoothing=0.0, ignore_index=-1, weight=None, axis=None
):
    """Of logits with classes on axis 1, by labels or probabilities."""
    axis = (1 if x.ndim > 1 else 0) if axis is None else axis
    return nll_loss(
        tg.log_softmax(x, axis), y, weight, ignore_index, reduction, label_smoothing, axis
    )


def nll_loss(x, y, weight=None, ignore_index=-1, reduction="mean", label_smoothing=0.0, axis=1):
    if reduction not in ("mean", "sum", "none"):
        raise tg.ArgumentError(reduction)
    if y.dtype.kind == "f" and y.shape != x.shape:
        raise tg.ShapeError("shapes")
    n = x.shape[axis]
    labels = y.dtype.kind != "f"
    p = tg.one_hot(tg.clip(y, 0, n - 1), n, axis=axis) if labels else y
    counts = (y != ignore_index).astype("float32") if labels else tg.ones(x.sum(axis).shape)
    if weight is not None:
        counts = counts * weight[tg.clip(y, 0, n - 1)]
    p = (1 - label_smoothing) * p + label_smoothing / n
    loss = -(p * x).sum(axis) * counts
    if reduction == "none":
        return loss
    return loss.sum() / counts.sum() if reduction == "mean" else loss.sum()


def sparse_categorical_crossentropy(x, y, ignore_index=-1, label_smoothing=0.0, reduction="mean"):
    return cross_entropy(x, y, reduction, label_smoothing, ignore_index, axis=-1)


def bce_logits(x, y, reduction="mean", pos_weight=None):
    if pos_weight is None:
        return tg.losses.binary_cross_entropy_with_logits(x, y, reduction=reduction)
    loss = -(pos_weight * y * tg.logsigmoid(x) + (1 - y) * tg.logsigmoid(-x))
    return loss.mean() if reduction == "mean" else loss


def interpolate(x, size, mode="linear", align_corners=False):
    options = {"align_corners": align_corners} if mode == "linear" else {}
    y = tg.interpolate(x, size, mode=mode, **options)
    return tg.round(y).astype(x.dtype) if x.dtype == "uint8" else y


def sized(x, found, size, fill_value):
    """The first `size` rows of what was found, and a number where there are fewer."""
    if size is None:
        return found
    rest = size - found.shape[0]
    fill = tg.full((max(rest, 0), *found.shape[1:]), fill_value).astype(found.dtype)
    return tg.concatenate([found[:size], fill])


METHODS = {
    "sub": tg.subtract,
    "mul": tg.multiply,
    "div": div,
    "neg": tg.negative,
    "pow": tg.power,
    "lshift": tg.left_shift,
    "rshift": tg.right_shift,
    "bitwise_not": tg.bitwise_invert,
    "dot": tg.matmul,
    "cat": lambda x, *others, dim=0: tg.concatenate([x, *others], axis=dim),
    "meshgrid": lambda x, *others, indexing="ij": tg.meshgrid(x, *others, indexing=indexing),
    "where": lambda c, a, b: tg.where(c, a, b),
    "clip": lambda x, a=None, b=None: _clip(x, a, b),
    "cast": lambda x, dtype: x.astype(dtype),
    "float": lambda x: x.astype("float32"),
    "half": lambda x: x.astype("float16"),
    "int": lambda x: x.astype("int32"),
    "bool": lambda x: x.astype("bool"),
    "bitcast": lambda x, dtype: tg.tensor(x.numpy().view(dtype)),
    "detach": lambda x: x.detach(),
    "isinf": lambda x, detect_positive=True, detect_negative=True: (
        (tg.isposinf(x) & detect_positive) | (tg.isneginf(x) & detect_negative)
    ),
    "swish": tg.silu,
    "quick_gelu": lambda x: x * tg.sigmoid(1.702 * x),
    "softplus": lambda x, beta=1.0: tg.softplus(x * beta) / beta,
    "leaky_relu": tg.leaky_relu,
    "relu6": tg.relu6,
    "tril": tg.tril,
    "triu": tg.triu,
    "maximum": tg.maximum,
    "normalize": lambda x, p=2.0, dim=1, eps=1e-12: tg.normalize(x, p, dim, eps=eps),
    "sum": sums(tg.sum),
    "prod": sums(tg.prod),
    "mean": reduced(tg.mean),
    "max": reduced(tg.max),
    "min": reduced(tg.min),
    "all": reduced(tg.all),
    "any": reduced(tg.any),
    "argmax": lambda x, axis=None, keepdim=False: tg.argmax(x, axis, keepdims=keepdim),
    "argmin": lambda x, axis=None, keepdim=False: tg.argmin(x, axis, keepdims=keepdim),
    "logsumexp": reduced(tg.logsumexp),
    "var": reduced(tg.var, correction=1),
    "std": reduced(tg.std, correction=1),
    "std_mean": lambda x, axis=None, keepdim=False, correction=1: (
        reduced(tg.std)(x, axis, keepdim, correction=correction),
        reduced(tg.mean)(x, axis, keepdim),
    ),
    "softmax": along(tg.softmax, -1),
    "log_softmax": along(tg.log_softmax, -1),
    "softmin": along(tg.softmin, -1),
    "cumsum": along(tg.cumsum, 0),
    "cumprod": along(tg.cumprod, 0),
    "cummax": along(tg.cummax, 0),
    "cummin": along(tg.cummin, 0),
    "logcumsumexp": along(tg.logcumsumexp, 0),
    "sort": ordered,
    "argsort": lambda x, dim=-1, descending=False: tg.argsort(x, dim, descending=descending),
    "topk": topk,
    "gather": gather,
    "scatter": scatter,
    "scatter_reduce": scatter_reduce,
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: tg.diagonal(x, offset, dim1, dim2),
    "transpose": lambda x, dim0=1, dim1=0: tg.swapaxes(x, dim0, dim1),
    "permute": lambda x, *order: tg.transpose(x, shape_of(order)),
    "flip": lambda x, *axes: tg.flip(x, shape_of(axes)),
    "unsqueeze": lambda x, dim: tg.expand_dims(x, dim),
    "repeat_interleave": lambda x, n, dim=None: tg.repeat(x, n, axis=dim),
    "pad": pad,
    "split": split,
    "chunk": chunk,
    "expand": expand,
    "reshape": reshape,
    "view": reshape,
    "flatten": flatten,
    "unflatten": unflatten,
    "squeeze": squeeze,
    "repeat": repeat,
    "roll": roll,
    "unfold": unfold,
    "conv2d": windows("conv"),
    "conv_transpose2d": windows("conv_transpose"),
    "max_pool2d": pooled("max_pool"),
    "avg_pool2d": pooled("avg_pool"),
    "max_unpool2d": max_unpool2d,
    "interpolate": interpolate,
    "scaled_dot_product_attention": attention,
    "cross_entropy": cross_entropy,
    "nll_loss": nll_loss,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "binary_crossentropy": tg.losses.binary_cross_entropy,
    "binary_crossentropy_logits": bce_logits,
    "one_hot": lambda x, n: tg.one_hot(x, n, dtype="int32"),
    "masked_select": lambda x, m, size=None, fill_value=0: sized(
        x, tg.masked_select(x, m), size, fill_value
    ),
    "nonzero": lambda x, size=None, fill_value=0: sized(x, tg.argwhere(x), size, fill_value),
    "zeros": filled(tg.zeros),
    "ones": filled(tg.ones),
    "empty": filled(tg.empty),
    "rand": lambda *shape: drawn(tg.random.uniform, shape),
    "randn": lambda *shape: drawn(tg.random.normal, shape),
    "normal": lambda *shape: drawn(tg.random.normal, shape),
    "uniform": lambda *shape: drawn(tg.random.uniform, shape),
    "randint": lambda *shape, low=0, high=10: tg.random.randint(low, high, size=shape_of(shape)),
    "arange": lambda *args, dtype=None: tg.arange(*args, **({"dtype": dtype} if dtype else {})),
}
METHODS |= dict.fromkeys(
    ("scaled_uniform", "glorot_uniform", "kaiming_uniform", "kaiming_normal"), METHODS["uniform"]
)


def _clip(x, a, b):
    if a is None and b is None:
        raise tg.ArgumentError("one bound or both")
    return tg.clip(x, a, b)


# --- modules --------------------------------------------------------------------------------------


def module(name, **contents):
    made = sys.modules[name] = ModuleType(name)
    made.__path__ = []
    vars(made).update(contents)


class Devices(dict):
    DEFAULT = "CPU"

    def __missing__(self, name):
        return SimpleNamespace(renderer=SimpleNamespace(supported_dtypes=lambda: DTYPES))


NAMES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()


class Named32(str):
    """The name of a dtype, with the limits that tinygrad's has."""

    max, min = 2**31 - 1, -(2**31)


dtypes = SimpleNamespace(**{n: np.dtype(n) for n in NAMES})
dtypes.half, dtypes.float, dtypes.double = dtypes.float16, dtypes.float32, dtypes.float64
dtypes.default_float, dtypes.default_int = dtypes.float32, dtypes.int32
dtypes.int = Named32("int32")
DTYPES = [np.dtype(n) for n in NAMES]
module("tinygrad", Tensor=Tensor, Device=Devices(), dtypes=dtypes)
module(
    "tinygrad.helpers",
    getenv=lambda name, default=0: default,
    DEBUG=0,
    DEV=SimpleNamespace(device="CPU", renderer="", interface=""),
    IMAGE=0,
    Context=lambda **options: contextlib.nullcontext(),
)
module("tinygrad.tensor", _to_np_dtype=lambda dtype: dtype)
module("tinygrad.renderer")
module("tinygrad.renderer.nir", NIRRenderer=type("NIRRenderer", (), {}))
