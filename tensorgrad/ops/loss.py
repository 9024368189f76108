"""Losses as ops of (prediction, target), elementwise or per row; `losses.py` reduces them."""

import numpy as np

from ..backend import namespace
from ..core import op
from .elementwise import clip, equal, log, maximum, multiply, sigmoid, subtract, tanh, where
from .reduce import log_softmax, narrow, softmax, widened
from .samples import calls, draw, integers
from .shape import expand_dims

_LOGITS = calls(
    lambda: (draw((4, 5), -3, 3), integers((4,), 5)),
    lambda: (draw((2, 3, 5), -3, 3), integers((2, 3), 5)),
    lambda: (draw((0, 5)), integers((0,), 5)),
    lambda: (draw((3, 1)), integers((3,), 1)),
    lambda: (draw((9, 67), -3, 3), integers((9,), 67)),
)
_WILD = calls(lambda: (draw((4, 5), -1e4, 1e4), integers((4,), 5)))


@op(
    samples=calls(
        lambda: (draw((4,)), draw((4, 5), -3, 3), integers((4,), 5)),
        lambda: (draw((2, 3)), draw((2, 3, 5), -3, 3), integers((2, 3), 5)),
        lambda: (draw((0,)), draw((0, 5)), integers((0,), 5)),
        lambda: (draw((9,)), draw((9, 67), -3, 3), integers((9,), 67)),
    ),
    fixed=("labels",),
)
def softmax_cross_entropy_grad(g, logits, labels):
    """Gradient for the logits: g * (softmax(logits) - one_hot(labels))."""
    xp = namespace(getattr(labels, "_data", labels))
    classes = xp.arange(logits.shape[-1])
    p = softmax(widened(logits), axis=-1)
    hit = equal(expand_dims(labels, axis=-1), classes)
    return narrow(expand_dims(g, axis=-1) * where(hit, p - 1, p), logits)


@op(
    logits=softmax_cross_entropy_grad,
    samples=_LOGITS,
    extreme=_WILD,
    fixed=("labels",),
    precision="single",
)
def softmax_cross_entropy(logits, labels):
    """-log softmax(logits)[label] for each example: logits (..., classes) and integer labels
    (...), -> (...). On the GPU a label outside the classes gives NaN."""
    rows = log_softmax(widened(logits), axis=-1)
    check_labels(labels, logits.shape)
    xp, n = namespace(logits), logits.shape[-1]
    flat = rows.reshape(-1, n)
    picked = flat[xp.arange(flat.shape[0]), labels.reshape(-1)]
    return narrow(-picked.reshape(labels.shape), logits)


def check_labels(labels, logits_shape):
    """ValueError unless labels are integers shaped like the logits without their last axis."""
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integer class labels, got dtype {labels.dtype}")
    if labels.shape != logits_shape[:-1]:
        raise ValueError(
            f"labels have shape {labels.shape}, logits {logits_shape}: one label for "
            f"each row of logits is {logits_shape[:-1]}"
        )
    n = logits_shape[-1]
    if type(labels) is np.ndarray and labels.size:  # on a GPU this would synchronise
        low, high = labels.min(), labels.max()
        if low < 0 or high >= n:
            raise ValueError(f"labels run from {low} to {high}, outside the classes 0..{n - 1}")


def _tiny(x):
    """The smallest normal number: keeps the logarithm of a probability of 0 finite."""
    return 6.2e-5 if x.dtype.char == "e" else 1.2e-38  # of float16; of float32 for all others


def _flattest(x):
    """The least p (1 - p) that is divided by. It bounds the gradient, so that in float16 that is
    finite, and elsewhere its square, which Adam averages."""
    return 6.2e-5 if x.dtype.char == "e" else 1e-12


@op(
    p=lambda g, p, t: g * (p - t) / maximum(p * (1 - p), _flattest(p)),
    t=lambda g, p: g * (log(maximum(1 - p, _tiny(p))) - log(maximum(p, _tiny(p)))),
    samples=calls(
        lambda: (draw((4, 3), 0.05, 0.95), draw((4, 3), 0, 1, 1)),
        lambda: (draw((), 0.05, 0.95), draw((), 0, 1, 1)),
        lambda: (draw((0, 1)), draw((0, 1))),
    ),
    extreme=calls(lambda: (np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0]))),
    kind="map",
    precision="single",
)
def binary_cross_entropy(p, t):
    """-(t log p + (1 - t) log(1 - p)) for each probability p and target t in [0, 1]. The
    arguments of the logarithms are clamped to the smallest normal number, so that it is finite;
    the gradient's denominator p (1 - p) to 1e-12, in float16 to that number."""
    xp, tiny = namespace(p), _tiny(p)
    return -(t * xp.log(xp.maximum(p, tiny)) + (1 - t) * xp.log(xp.maximum(1 - p, tiny)))


@op(
    x=lambda g, x, t: g * (sigmoid(x) - t),
    t=lambda g, x: g * -x,
    samples=calls(
        lambda: (draw((4, 3), -4, 4), draw((4, 3), 0, 1, 1)),
        lambda: (draw(()), draw((), 0, 1, 1)),
        lambda: (draw((0, 1)), draw((0, 1))),
    ),
    extreme=calls(lambda: (draw((9,), -300, 300), draw((9,), 0, 1, 1))),
    kind="map",
    precision="single",
)
def binary_cross_entropy_with_logits(x, t):
    """binary_cross_entropy(sigmoid(x), t) for logits x, exact for large ones."""
    xp = namespace(x)
    return xp.maximum(x, 0) - x * t + xp.log1p(xp.exp(-xp.abs(x)))


@op(
    x=lambda g, x, t, delta: g * clip(x - t, -delta, delta),
    t=lambda g, x, t, delta: g * clip(t - x, -delta, delta),
    samples=calls(
        lambda: (draw((4, 3)), draw((4, 3), seed=1), {"delta": 1.0}),
        lambda: (draw(()), draw((), seed=1), {"delta": 0.5}),
        lambda: (draw((0, 1)), draw((0, 1)), {"delta": 1.0}),
    ),
    kind="map",
    precision="single",
)
def huber(x, t, *, delta):
    """d^2 / 2 for d = x - t where |d| <= delta, else delta (|d| - delta / 2) (Huber 1964)."""
    error = subtract(x, t)
    near = clip(error, -delta, delta)
    return multiply(near, subtract(error, multiply(near, 0.5)))


@op(
    x=lambda g, x, t: g * tanh(subtract(x, t)),
    t=lambda g, x, t: g * tanh(subtract(t, x)),
    samples=calls(
        lambda: (draw((4, 3)), draw((4, 3), seed=1)),
        lambda: (draw(()), draw((), seed=1)),
        lambda: (draw((0, 1)), draw((0, 1))),
    ),
    extreme=calls(lambda: (draw((9,), -300, 300), draw((9,), -1, 1, 1))),
    kind="map",
    precision="single",
)
def log_cosh(x, t):
    """log(cosh(x - t)), as |d| + log((1 + exp(-2 |d|)) / 2), which does not overflow."""
    xp = namespace(x)
    size = xp.abs(x - t)
    return size + xp.log1p(0.5 * xp.expm1(-2 * size))


@op(
    x=lambda g, x, t: narrow(widened(g) * (2.0 / max(1, x.size)) * (widened(x) - widened(t)), x),
    t=lambda g, x, t: narrow(widened(g) * (2.0 / max(1, x.size)) * (widened(t) - widened(x)), t),
    samples=calls(
        lambda: (draw((4, 3)), draw((4, 3), seed=1)),
        lambda: (draw(()), draw((), seed=1)),
        lambda: (draw((300,)), draw((300,), seed=1)),
    ),
    precision="single",
)
def mean_squared_error(x, t):
    """The mean of (x - t)^2 over all elements; both have one shape."""
    if x.shape != t.shape:
        raise ValueError(f"prediction {x.shape} and target {t.shape} differ in shape")
    error = widened(x) - widened(t)
    return narrow((error * error).sum() / x.size, x)
