"""Convolution of images (n, channels, height, width).

Convolution is linear in the images and in the weights. Its two adjoints are ops, too, and the
gradients of each of the three are the others, so derivatives of any order need no more formulas.
"""

from typing import Any

from ..backend import namespace
from ..core import op
from .matmul import ACTIVATIONS, matmul
from .reduce import narrow, sum_, widened
from .samples import Sample, draw

# --- shapes -------------------------------------------------------------------------------------


def extent(size, window, stride, padding, dilation=(1, 1)):
    """The size of the output, the number of windows along height and width; ValueError if 0."""
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"stride {stride} and dilation {dilation} are 1 or more, padding {padding} 0 or more"
        )
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
    found = [
        (n + 2 * p - span) // s + 1
        for n, p, span, s in zip(size, padding, spans, stride, strict=True)
    ]
    if min(found) < 1:
        raise ValueError(
            f"windows of {tuple(spans)} with stride {stride} do not fit into an image of "
            f"{tuple(size)} padded by {padding}"
        )
    return tuple(found)


_KINDS = {
    1: "sequences are (n, channels, length)",
    2: "images are (n, channels, height, width)",
    3: "volumes are (n, channels, depth, height, width)",
}


def check_images(name, x, axes=2):
    """ValueError unless x has the axes of images: examples, channels and `axes` more."""
    if len(x.shape) != axes + 2:
        raise ValueError(f"{name} has shape {x.shape}: {_KINDS[axes]}")


def check_filters(x_shape, w_shape, b, groups):
    """ValueError unless filters (and a bias) fit images, or sequences or volumes."""
    if len(w_shape) != len(x_shape):
        size = ("size",) if len(x_shape) == 3 else ("kd", "kh", "kw")[5 - len(x_shape) :]
        raise ValueError(
            f"w has shape {w_shape}; weights are (out, channels / groups, {', '.join(size)})"
        )
    if x_shape[1] != w_shape[1] * groups or w_shape[0] % groups:
        raise ValueError(
            f"x has {x_shape[1]} channels; weights of shape {w_shape} in {groups} groups take "
            f"{w_shape[1] * groups} and give a multiple of {groups}"
        )
    if b is not None and b.shape != w_shape[:1]:
        raise ValueError(f"b has shape {b.shape}; w has {w_shape[0]} filters")


def padded(x, padding, value=0.0):
    """x padded with `value` along its last axes, by so much on both sides."""
    if not any(padding):
        return x
    before, last = x.shape[: -len(padding)], x.shape[-len(padding) :]
    sides = list(zip(last, padding, strict=True))
    wide = namespace(x).full((*before, *[n + 2 * p for n, p in sides]), value, dtype=x.dtype)
    wide[(..., *[slice(p, p + n) for n, p in sides])] = x
    return wide


def shifts(window, out, stride, dilation=(1, 1)):
    """For each element of a window: its indices, and the slices that select it in all windows."""
    for i in range(window[0]):
        for j in range(window[1]):
            y, x = i * dilation[0], j * dilation[1]
            rows = slice(y, y + stride[0] * (out[0] - 1) + 1, stride[0])
            yield i, j, (..., rows, slice(x, x + stride[1] * (out[1] - 1) + 1, stride[1]))


def _columns(x, window, out, stride, padding, dilation, groups):
    """im2col, all windows as columns: (n, groups, channels / groups * kh * kw, oh * ow)."""
    n, c, wide = x.shape[0], x.shape[1], padded(x, padding)
    made = namespace(x).empty((n, c, *window, *out), dtype=x.dtype)
    for i, j, places in shifts(window, out, stride, dilation):
        made[:, :, i, j] = wide[places]
    return made.reshape(n, groups, c // groups * window[0] * window[1], out[0] * out[1])


# --- convolution --------------------------------------------------------------------------------

_PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
_CASES: Any = (  # x, w, bias?, geometry
    ((2, 3, 5, 6), (4, 3, 3, 2), True, {}),
    ((1, 1, 4, 4), (2, 1, 1, 1), False, {}),
    ((2, 2, 7, 6), (4, 2, 3, 3), True, {"stride": (2, 1), "padding": (1, 2)}),
    ((1, 4, 6, 7), (6, 2, 2, 3), True, {"groups": 2, "dilation": (2, 1), "padding": (0, 1)}),
    ((2, 3, 5, 5), (3, 1, 3, 3), False, {"groups": 3, "stride": (2, 2), "padding": (1, 1)}),
    ((0, 2, 4, 4), (3, 2, 2, 2), True, {}),
    ((1, 2, 3, 3), (1, 2, 3, 3), True, {}),
)


def _conv_samples():
    made = []
    for x, w, bias, geometry in _CASES:
        args = (draw(x), draw(w, seed=1), draw(w[:1], seed=2) if bias else None)
        made.append(Sample(args, {**_PLAIN, **geometry}))
    return made


def _active_samples():
    args, params = _conv_samples()[0]
    active = [Sample(args, {**params, "activation": a}) for a in ACTIVATIONS if a != "none"]
    return _conv_samples() + active


def _result(sample):
    """A cotangent for a sample of conv2d."""
    (x, w, _), g = sample.args, sample.params
    out = extent(x.shape[2:], w.shape[2:], g["stride"], g["padding"], g["dilation"])
    return draw((len(x), len(w), *out), seed=3)


def _input_samples():
    return [
        Sample((_result(s), s.args[1]), {"size": s.args[0].shape[2:], **s.params})
        for s in _conv_samples()
    ]


def _weight_samples():
    return [
        Sample((s.args[0], _result(s)), {"window": s.args[1].shape[2:], **s.params})
        for s in _conv_samples()
    ]


def _grad_samples():
    made = []
    for i, sample in enumerate(_active_samples()):
        (x, w, b), g = sample.args, _result(sample)
        params = {"activation": "none", **sample.params, "needs": (i != 2, i != 3, b is not None)}
        made.append(Sample((g, x, w, draw(g.shape, 0.1, 0.9, 4)), params))
    return made


@op(
    joint=lambda g, x, w, y, stride, padding, dilation, groups, activation, needs: conv2d_grad(
        g,
        x,
        w,
        y,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        activation=activation,
        needs=needs,
    ),
    samples=_active_samples,
    precision="half",
)
def conv2d(
    x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation="none"
):
    """activation(cross-correlation of images x (n, c, h, w) with filters w (out, c / groups, kh,
    kw), plus b (out,) or None) -> (n, out, oh, ow), oh = (h + 2 ph - dh (kh - 1) - 1) // sh + 1.

    `stride`, `padding` (zeros on both sides) and `dilation` are (height, width). `activation` is
    none, relu, sigmoid or tanh, whose gradients are functions of the output.
    """
    check_images("x", x)
    check_filters(x.shape, w.shape, b, groups)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")
    out = extent(x.shape[2:], w.shape[2:], stride, padding, dilation)
    columns = _columns(widened(x), w.shape[2:], out, stride, padding, dilation, groups)
    filters = widened(w).reshape(1, groups, w.shape[0] // groups, columns.shape[2])
    y = matmul(filters, columns).reshape(x.shape[0], w.shape[0], *out)
    y = y if b is None else y + widened(b).reshape(-1, 1, 1)
    return narrow(ACTIVATIONS[activation][0](y), x)


@op(
    dy=lambda g, w, stride, padding, dilation, groups: conv2d(
        g, w, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    w=lambda g, dy, w_shape, stride, padding, dilation, groups: conv2d_weight(
        g, dy, window=w_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    samples=_input_samples,
    precision="half",
)
def conv2d_input(dy, w, *, size, stride, padding, dilation, groups):
    """The adjoint of conv2d in x, the transposed convolution of dy (n, out, oh, ow) with
    w (out, c / groups, kh, kw) -> (n, c, *size)."""
    xp, (n, window) = namespace(dy), (dy.shape[0], w.shape[2:])
    c, out = w.shape[1] * groups, extent(size, window, stride, padding, dilation)
    if dy.shape != (n, w.shape[0], *out):
        raise ValueError(f"dy has shape {dy.shape}; images of {size} give {(n, w.shape[0], *out)}")
    filters = widened(w).reshape(1, groups, w.shape[0] // groups, -1)
    rows = widened(dy).reshape(n, groups, w.shape[0] // groups, out[0] * out[1])
    columns = matmul(filters.swapaxes(-1, -2), rows).reshape(n, c, *window, *out)
    (ph, pw), (h, wide) = padding, size
    x = xp.zeros((n, c, h + 2 * ph, wide + 2 * pw), dtype=columns.dtype)
    for i, j, places in shifts(window, out, stride, dilation):
        x[places] += columns[:, :, i, j]
    return narrow(x[:, :, ph : ph + h, pw : pw + wide], dy)


@op(
    x=lambda g, x_shape, dy, stride, padding, dilation, groups: conv2d_input(
        dy, g, size=x_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    dy=lambda g, x, stride, padding, dilation, groups: conv2d(
        x, g, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    samples=_weight_samples,
)
def conv2d_weight(x, dy, *, window, stride, padding, dilation, groups):
    """The adjoint of conv2d in w: x (n, c, h, w) with dy (n, out, oh, ow) ->
    (out, c / groups, *window)."""
    out = extent(x.shape[2:], window, stride, padding, dilation)
    (n, c), o = x.shape[:2], dy.shape[1]
    if dy.shape != (n, o, *out):
        raise ValueError(f"dy has shape {dy.shape}; x of shape {x.shape} gives {(n, o, *out)}")
    columns = _columns(widened(x), window, out, stride, padding, dilation, groups)
    rows = widened(dy).reshape(n, groups, o // groups, out[0] * out[1])
    inside = n * out[0] * out[1]
    rows = rows.transpose(1, 2, 0, 3).reshape(groups, o // groups, inside)
    columns = columns.transpose(1, 0, 3, 2).reshape(groups, inside, columns.shape[2])
    return narrow(matmul(rows, columns).reshape(o, c // groups, *window), x)


@op(samples=_grad_samples, outputs=("gx", "gw", "gb"))
def conv2d_grad(g, x, w, y, *, stride, padding, dilation, groups, activation, needs):
    """Gradients of conv2d for x, w and b, None where not needed."""
    dy = ACTIVATIONS[activation][1](g, y)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    gx = conv2d_input(dy, w, size=x.shape[2:], **how) if needs[0] else None
    gw = conv2d_weight(x, dy, window=w.shape[2:], **how) if needs[1] else None
    return gx, gw, sum_(dy, axis=(0, 2, 3)) if needs[2] else None
