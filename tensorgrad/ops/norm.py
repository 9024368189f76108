"""Normalisation over features. Statistics of half-precision inputs are taken in float32."""

from ..backend import namespace
from ..core import op
from .reduce import mean as average
from .reduce import narrow, sum_, widened
from .samples import Sample, draw


def _samples():
    shapes = ((4, 5), (5,), (2, 3, 5), (0, 5), (7, 65), (3, 1))
    made = [Sample((draw(s), draw(s[-1:], 0.5, 2, 1), draw(s[-1:], seed=2))) for s in shapes]
    x = draw((4, 5))
    return [*made, Sample((x, None, None)), Sample((x, draw((5,)), None), {"eps": 1e-2})]


def _grad_samples():
    made = []
    for (x, weight, _), params in _samples():
        _, mean, rstd = layer_norm(x, weight, None, **params)
        needs = (True, weight is not None, True)
        g = draw(x.shape, seed=3)
        made.append(Sample((g, x, weight, mean, rstd), {"needs": needs}))
    return made


def _gradients(g, x, weight, mean, rstd, needs):
    gy, gmean, grstd = g
    if gy is None:
        parts = [None, None, None]
    else:
        parts = list(layer_norm_grad(gy, x, weight, mean, rstd, needs=needs))
    if needs[0] and not (gmean is None and grstd is None):  # the statistics were used themselves
        centred = widened(x) - mean
        gx = 0.0 if gmean is None else gmean
        gx = gx if grstd is None else gx - grstd * rstd * rstd * rstd * centred
        gx = narrow((centred * 0.0 + gx) * (1.0 / x.shape[-1]), x)
        parts[0] = gx if parts[0] is None else parts[0] + gx
    return tuple(parts)


@op(
    joint=_gradients,
    outputs=("y", "mean", "rstd"),
    samples=_samples,
    kind="reduce",
)
def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al. 2016), and the
    mean and 1 / sqrt(var + eps) of each row, float32 for halves."""
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"weight has shape {weight.shape}; x needs {x.shape[-1:]}")
    xp, wide = namespace(x), widened(x)
    mean = wide.mean(axis=-1, keepdims=True)
    centred = wide - mean
    rstd = 1 / xp.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    y = centred * rstd
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return narrow(y, x), mean, rstd


@op(samples=_grad_samples, outputs=("gx", "gweight", "gbias"), kind="reduce")
def layer_norm_grad(g, x, weight, mean, rstd, *, needs):
    """Gradients of layer_norm for x, weight and bias, from the statistics of the forward pass.
    They are inputs like the others: second order flows through them back into layer_norm."""
    half, g = x, widened(g)
    normal = (widened(x) - mean) * rstd
    rows = tuple(range(len(x.shape) - 1))
    gweight = narrow(sum_(g * normal, axis=rows), half) if needs[1] else None
    gbias = narrow(sum_(g, axis=rows), half) if needs[2] else None
    gx = None
    if needs[0]:
        gn = g if weight is None else g * weight
        along = average(gn * normal, axis=-1, keepdims=True)
        gx = narrow(rstd * (gn - average(gn, axis=-1, keepdims=True) - normal * along), half)
    return gx, gweight, gbias
