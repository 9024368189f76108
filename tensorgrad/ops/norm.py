"""Layer, RMS, batch and group normalisation.

They share one forward and one backward computation, and differ in the axes of the statistics and
in the axis of weight and bias. Statistics of half-precision inputs are computed in float32; those
of an empty batch are as of zeros.
"""

import math

from ..backend import namespace
from ..core import op
from .reduce import narrow, sum_, widened
from .samples import Sample, draw
from .shape import broadcast_to, reshape

# --- shared -------------------------------------------------------------------------------------


def _mean(x, axes):
    n = math.prod([x.shape[a] for a in axes])
    return sum_(x, axis=axes, keepdims=True) * (1.0 / max(1, n))


def _as(x, shape):
    return x if x.shape == shape else reshape(x, shape=shape)


def _across(x, axis):
    """All axes but one."""
    return tuple([a for a in range(len(x.shape)) if a != axis % len(x.shape)])


def _channels(x):
    if len(x.shape) < 2:
        raise ValueError(f"x has shape {x.shape}; the channels are axis 1: (batch, channels, ...)")
    return x.shape[1]


def _along(name, a, x, axis):
    """A weight or bias along `axis`, reshaped so that it broadcasts against x."""
    if a.shape != (x.shape[axis],):
        raise ValueError(f"{name} has shape {a.shape}; x needs {(x.shape[axis],)}")
    return a if axis == -1 else reshape(a, shape=(x.shape[axis], *(1,) * (len(x.shape) - axis - 1)))


def _affine(y, weight, bias, x, axis):
    """y * weight + bias, in x's shape and dtype."""
    y = _as(y, x.shape)
    y = y if weight is None else y * _along("weight", weight, x, axis)
    y = y if bias is None else y + _along("bias", bias, x, axis)
    return narrow(y, x)


def _normalise(x, axes, eps):
    """(x - mean) / sqrt(var + eps), mean and 1 / sqrt(var + eps) over the axes."""
    mean = _mean(x, axes)
    centred = x - mean
    rstd = 1 / namespace(x).sqrt(_mean(centred * centred, axes) + eps)
    return centred * rstd, mean, rstd


def _backward(g, x, weight, mean, rstd, needs, axis, axes, shape):
    """Gradients for x, weight and bias (along `axis` of x), from the statistics over `axes` of x
    reshaped to `shape`. `mean` is None where x was not centred (RMS)."""
    half, g, wide = x, widened(g), _as(widened(x), shape)
    normal = (wide if mean is None else wide - mean) * rstd
    across, like_g = _across(x, axis), _as(normal, x.shape)
    gweight = narrow(sum_(g * like_g, axis=across), half) if needs[1] else None
    gbias = narrow(sum_(g, axis=across), half) if needs[2] else None
    gx = None
    if needs[0]:
        gn = _as(g if weight is None else g * _along("weight", weight, x, axis), shape)
        gx = gn - normal * _mean(gn * normal, axes)
        gx = rstd * (gx if mean is None else gx - _mean(gn, axes))
        gx = narrow(_as(gx, x.shape), half)
    return gx, gweight, gbias


def _gradients(gradient, g, x, weight, mean, rstd, needs, axes, shape):
    """The gradients by the op `gradient`, plus for x those from the cotangents of the statistics:
    d mean / dx = 1 / n and d rstd / dx = -rstd^3 (x - mean) / n."""
    gy, gmean, grstd = g
    statistics = (rstd,) if mean is None else (mean, rstd)
    parts = [None] * len(needs)
    if gy is not None:
        parts = list(gradient(gy, x, weight, *statistics, needs=needs))
    if needs[0] and not (gmean is None and grstd is None):
        gx = 0.0
        if grstd is not None:
            wide = _as(widened(x), shape)
            gx = grstd * rstd * rstd * rstd * (mean - wide if mean is not None else -wide)
        if gmean is not None:
            gx = gx + broadcast_to(gmean, shape=shape)
        n = math.prod([shape[a] for a in axes])
        gx = narrow(_as(gx * (1.0 / max(1, n)), x.shape), x)
        parts[0] = gx if parts[0] is None else parts[0] + gx
    return tuple(parts)


# --- samples ------------------------------------------------------------------------------------


def _samples(shapes, axis, biased=True, **params):
    """Calls with weight and bias, without, and with another eps."""

    def build():
        made = []
        for shape in shapes:
            x, n = draw(shape), (shape[axis],)
            affine = (draw(n, 0.5, 2, 1), draw(n, seed=2))
            made.append(Sample((x, *affine[: 1 + biased]), params))
        x, weight, *_ = made[0].args
        made.append(Sample((x, None, None)[: 2 + biased], params))
        return [*made, Sample((x, weight, None)[: 2 + biased], {"eps": 1e-2, **params})]

    return build


def _grad_samples(forward):
    """The calls of a norm turned into those of its gradient."""

    def build():
        made = []
        for (x, weight, *bias), params in forward.samples():
            statistics = forward(x, weight, **params)[1:]
            needs = (True, weight is not None, True)[: 2 + len(bias)]
            made.append(Sample((draw(x.shape, seed=3), x, weight, *statistics), {"needs": needs}))
        return made

    return build


_ROWS = ((4, 5), (5,), (2, 3, 5), (0, 5), (7, 65), (3, 1))
_IMAGES = ((5, 4), (3, 4, 3), (2, 4, 2, 3), (0, 4), (1, 2, 33), (2, 2, 1, 1))

# --- over the last axis -------------------------------------------------------------------------


def _last(x):
    return (len(x.shape) - 1,)


@op(
    joint=lambda g, x, weight, mean, rstd, needs: _gradients(
        layer_norm_grad, g, x, weight, mean, rstd, needs, _last(x), x.shape
    ),
    outputs=("y", "mean", "rstd"),
    samples=_samples(_ROWS, -1),
    precision="single",
)
def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al. 2016), and the
    mean and 1 / sqrt(var + eps) of each row, float32 for halves."""
    y, mean, rstd = _normalise(widened(x), _last(x), eps)
    return _affine(y, weight, bias, x, -1), mean, rstd


@op(samples=_grad_samples(layer_norm), outputs=("gx", "gweight", "gbias"))
def layer_norm_grad(g, x, weight, mean, rstd, *, needs):
    """Gradients of layer_norm for x, weight and bias, from the statistics of the forward pass.
    These are inputs, too, so that second-order gradients flow through them into layer_norm."""
    return _backward(g, x, weight, mean, rstd, needs, -1, _last(x), x.shape)


@op(
    joint=lambda g, x, weight, rstd, needs: _gradients(
        rms_norm_grad, (g[0], None, g[1]), x, weight, None, rstd, needs, _last(x), x.shape
    ),
    outputs=("y", "rstd"),
    samples=_samples(_ROWS, -1, biased=False),
    precision="single",
)
def rms_norm(x, weight=None, *, eps=1e-6):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang & Sennrich 2019), and
    1 / sqrt(mean(x^2) + eps) of each row, float32 for halves."""
    wide = widened(x)
    rstd = 1 / namespace(x).sqrt(_mean(wide * wide, _last(x)) + eps)
    return _affine(wide * rstd, weight, None, x, -1), rstd


@op(samples=_grad_samples(rms_norm), outputs=("gx", "gweight"))
def rms_norm_grad(g, x, weight, rstd, *, needs):
    """Gradients of rms_norm for x and weight."""
    return _backward(g, x, weight, None, rstd, (*needs, False), -1, _last(x), x.shape)[:2]


# --- over the batch, and over groups of channels ------------------------------------------------


@op(
    joint=lambda g, x, weight, mean, rstd, needs: _gradients(
        batch_norm_grad, g, x, weight, mean, rstd, needs, _across(x, 1), x.shape
    ),
    outputs=("y", "mean", "rstd"),
    samples=_samples(_IMAGES, 1),
    precision="single",
)
def batch_norm(x, weight=None, bias=None, *, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of x (batch, channels, ...),
    over all other axes (Ioffe & Szegedy 2015); and the mean and 1 / sqrt(var + eps) of each
    channel, (1, channels, 1, ...), float32 for halves."""
    _channels(x)
    y, mean, rstd = _normalise(widened(x), _across(x, 1), eps)
    return _affine(y, weight, bias, x, 1), mean, rstd


@op(samples=_grad_samples(batch_norm), outputs=("gx", "gweight", "gbias"))
def batch_norm_grad(g, x, weight, mean, rstd, *, needs):
    """Gradients of batch_norm for x, weight and bias."""
    return _backward(g, x, weight, mean, rstd, needs, 1, _across(x, 1), x.shape)


def _grouped(x, groups):
    """The shape (batch, groups, elements of a group)."""
    return (x.shape[0], groups, math.prod(x.shape[1:]) // groups)


@op(
    joint=lambda g, x, weight, mean, rstd, groups, needs: _gradients(
        group_norm_grad, g, x, weight, mean, rstd, needs, (2,), _grouped(x, groups)
    ),
    outputs=("y", "mean", "rstd"),
    samples=_samples(_IMAGES, 1, groups=2),
    precision="single",
)
def group_norm(x, weight=None, bias=None, *, groups, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias, with the statistics of each example's groups
    of neighbouring channels (Wu & He 2018), x (batch, channels, ...); and the mean and
    1 / sqrt(var + eps) of each group, (batch, groups, 1), float32 for halves."""
    if groups < 1 or _channels(x) % groups:
        raise ValueError(f"{x.shape[1]} channels do not divide into {groups} groups of one size")
    y, mean, rstd = _normalise(_as(widened(x), _grouped(x, groups)), (2,), eps)
    return _affine(y, weight, bias, x, 1), mean, rstd


@op(samples=_grad_samples(group_norm), outputs=("gx", "gweight", "gbias"))
def group_norm_grad(g, x, weight, mean, rstd, *, needs):
    """Gradients of group_norm for x, weight and bias."""
    return _backward(g, x, weight, mean, rstd, needs, 1, (2,), _grouped(x, rstd.shape[1]))


# --- running statistics -------------------------------------------------------------------------


def _running_samples():
    made = []
    for shape in ((5, 4), (3, 4, 3), (2, 1)):
        x = draw(shape)
        _, mean, rstd = batch_norm(x)
        args = (draw(shape[1:2]), draw(shape[1:2], 0.5, 2), mean, rstd)
        count = x.size // shape[1]
        made.append(Sample(args, {"count": count, "momentum": 0.1, "eps": 1e-5}))
    return made


@op(inplace=("running_mean", "running_var"), samples=_running_samples)
def update_running(running_mean, running_var, mean, rstd, *, count, momentum, eps):
    """running = (1 - momentum) * running + momentum * batch, in place, for mean and variance
    (channels,), from the outputs of batch_norm. As in PyTorch the batch's variance is the unbiased
    one: `count`, the elements of a channel, is above 1."""
    mean = mean.reshape(running_mean.shape)
    var = (1 / (rstd * rstd) - eps).reshape(running_var.shape) * (count / (count - 1))
    running_mean += (momentum * (mean - running_mean)).astype(running_mean.dtype)
    running_var += (momentum * (var - running_var)).astype(running_var.dtype)


@op(
    x=lambda g, scale: channel_affine(g, scale, None),
    scale=lambda g, x: sum_(widened(g) * widened(x), axis=_across(x, 1)),
    shift=lambda g: sum_(widened(g), axis=_across(g, 1)),
    samples=lambda: [Sample(s.args) for s in batch_norm.samples()[:-1]],
)
def channel_affine(x, scale=None, shift=None):
    """x * scale + shift, per channel (axis 1 of x): batch normalisation in evaluation mode."""
    _channels(x)
    return _affine(widened(x), scale, shift, x, 1)
