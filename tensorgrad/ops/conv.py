"""Convolution of images, (n, channels, height, width).

The three products of a convolution (of an image, for an image, for the weights) are linear in each
operand, and each is the derivative of the other two. The references walk over the places in the
window, not over the image: a few large slices.
"""

from itertools import product

from ..backend import namespace
from ..core import op
from .matmul import ACTIVATIONS
from .reduce import narrow, sum_, widened
from .samples import Sample, draw


def check(x, **sizes):
    """ValueError unless x are images and the sizes are pairs of possible numbers."""
    if len(x.shape) != 4:
        raise ValueError(
            f"an array of shape {tuple(x.shape)}: images are (n, channels, height, width); "
            "x[None] adds a missing n, x[:, None] a missing channel"
        )
    for name, pair in sizes.items():
        least = 0 if name == "padding" else 1
        if len(pair) != 2 or min(pair) < least:
            raise ValueError(f"{name}={pair}: it is a pair of whole numbers from {least} on")


def counts_of(plane, size, stride, padding, dilation=(1, 1)):
    """How many windows there are along the height and the width."""
    made = []
    for n, k, s, p, d in zip(plane, size, stride, padding, dilation, strict=True):
        if n + 2 * p < d * (k - 1) + 1:
            wide = f"{k} wide" + (f", dilated to {d * (k - 1) + 1}," if d > 1 else "")
            raise ValueError(
                f"a window of {tuple(size)}, {wide} does not fit into images of {tuple(plane)} "
                f"padded by {tuple(padding)}: take smaller windows, larger images or more padding"
            )
        made.append((n + 2 * p - d * (k - 1) - 1) // s + 1)
    return tuple(made)


def views(x, size, counts, stride, dilation=(1, 1)):
    """For each place (i, j) in the window, what lies there in all windows of the padded x."""
    for place in product(*map(range, size)):
        ends = zip(place, counts, stride, dilation, strict=True)
        at = [slice(i * d, i * d + (n - 1) * s + 1, s) for i, n, s, d in ends]
        yield place, x[(..., *at)]


def padded(x, padding, value=0.0):
    """x with that many rows and columns of the value on each side."""
    if not any(padding):
        return x
    around = ((0, 0), (0, 0), *[(p, p) for p in padding])
    return namespace(x).pad(x, around, mode="constant", constant_values=value)


def cropped(x, padding):
    """The inner part of a padded x."""
    if not any(padding):
        return x
    (top, left), (h, w) = padding, x.shape[2:]
    return namespace(x).ascontiguousarray(x[:, :, top : h - top, left : w - left])


# --- convolution --------------------------------------------------------------------------------


def _conv_cases():
    """Shapes of x and w, and how they go together."""
    return (
        ((2, 3, 5, 4), (4, 3, 3, 2), {}),
        ((1, 1, 1, 1), (1, 1, 1, 1), {}),
        ((0, 2, 3, 3), (2, 2, 2, 2), {"padding": (1, 0)}),
        ((2, 4, 6, 5), (6, 2, 2, 3),
         {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}),
        ((1, 3, 4, 4), (3, 1, 3, 3), {"padding": (1, 1), "groups": 3}),
        ((1, 2, 6, 7), (2, 2, 2, 2), {"stride": (3, 2)}),
        ((1, 2, 7, 5), (3, 2, 3, 1), {"stride": (1, 3), "dilation": (2, 1), "padding": (3, 1)}),
    )  # fmt: skip


def _conv_samples():
    made = []
    for i, (x, w, params) in enumerate(_conv_cases()):
        bias = draw(w[:1], seed=2) if i % 2 == 0 else None
        made.append(Sample((draw(x), draw(w, seed=1), bias), params))
    args = made[0].args
    return [*made, *[Sample(args, {"activation": a}) for a in ("relu", "sigmoid", "tanh")]]


def _options(params):
    defaults = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    return {**defaults, **params}


def _out_shape(x, w, params):
    o = _options(params)
    counts = counts_of(x[2:], w[2:], o["stride"], o["padding"], o["dilation"])
    return (x[0], w[0], *counts)


def _input_samples():
    return [
        Sample((draw(_out_shape(x, w, p)), draw(w, seed=1)), {"plane": x[2:], **_options(p)})
        for x, w, p in _conv_cases()
    ]


def _weight_samples():
    return [
        Sample((draw(x), draw(_out_shape(x, w, p), seed=1)), {"kernel": w[2:], **_options(p)})
        for x, w, p in _conv_cases()
    ]


def _conv_grad_samples():
    made = []
    for i, sample in enumerate(_conv_samples()):
        x, w, b = sample.args
        activation = sample.params.get("activation", "none")
        params = {k: v for k, v in sample.params.items() if k != "activation"}
        shape = _out_shape(x.shape, w.shape, params)
        given = {**_options(params), "activation": activation}
        needs = (i != 4, i != 5, b is not None)
        args = (draw(shape, seed=3), x, w, draw(shape, 0.1, 0.9, 4))
        made.append(Sample(args, {**given, "needs": needs}))
    return made


def _columns(x, size, counts, stride, padding, dilation, batch_last=False):
    """All windows of x: (n, c, kh, kw, oh, ow), or (c, kh, kw, n, oh, ow) with `batch_last`."""
    xp, (n, c) = namespace(x), x.shape[:2]
    if batch_last:
        made = xp.empty((c, *size, n, *counts), dtype=x.dtype)
        places = made.transpose(3, 0, 1, 2, 4, 5)
    else:
        made = places = xp.empty((n, c, *size, *counts), dtype=x.dtype)
    for (i, j), view in views(padded(x, padding), size, counts, stride, dilation):
        places[:, :, i, j] = view
    return made


def _conv_counts(plane, w_shape, channels, stride, padding, dilation, groups):
    """The height and width of the output; ValueError where x and w do not go together."""
    out, inner, kh, kw = w_shape
    if groups < 1 or out % groups or channels != inner * groups:
        raise ValueError(
            f"x has {channels} channels and w takes {inner} of them in each of groups={groups}, "
            f"with {out} outputs: x needs {inner * max(groups, 1)} channels, and groups must "
            "divide the outputs"
        )
    return counts_of(plane, (kh, kw), stride, padding, dilation)


def _conv_joint(g, x, w, y, stride, padding, dilation, groups, activation, needs):
    return conv2d_grad(
        g, x, w, y, stride=stride, padding=padding, dilation=dilation, groups=groups,
        activation=activation, needs=needs,
    )  # fmt: skip


@op(joint=_conv_joint, samples=_conv_samples, kind="contract")
def conv2d(
    x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation="none"
):
    """activation(b + sum of w times the windows of x): x (n, c, h, w), w (out, c / groups, kh, kw),
    b (out,) -> (n, out, oh, ow), with oh = (h + 2 padding - dilation (kh - 1) - 1) // stride + 1.

    The window is not turned around (cross-correlation, LeCun et al. 1989), as in PyTorch.
    `activation` is none, relu, sigmoid or tanh. Each group of output channels sees its own group
    of input channels.
    """
    check(x, stride=stride, padding=padding, dilation=dilation)
    check(w)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r}: it is one of {', '.join(ACTIVATIONS)}")
    (n, c), (out, inner, *size) = x.shape[:2], w.shape
    counts = _conv_counts(x.shape[2:], w.shape, c, stride, padding, dilation, groups)
    if b is not None and b.shape != (out,):
        raise ValueError(f"b has shape {b.shape}; the {out} outputs need {(out,)}")
    depth, length = inner * size[0] * size[1], counts[0] * counts[1]
    columns = _columns(widened(x), size, counts, stride, padding, dilation)
    z = namespace(x).matmul(
        widened(w).reshape(groups, out // groups, depth), columns.reshape(n, groups, depth, length)
    )
    z = z.reshape(n, out, *counts)
    z = z if b is None else z + widened(b)[:, None, None]
    return narrow(ACTIVATIONS[activation][0](z), x)


def _input_z(g, w, stride, padding, dilation, groups):
    return conv2d(g, w, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _input_w(g, z, w_shape, stride, padding, dilation, groups):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_weight(g, z, kernel=w_shape[2:], **how)


@op(z=_input_z, w=_input_w, samples=_input_samples, kind="contract")
def conv2d_input(z, w, *, plane, stride, padding, dilation, groups):
    """The gradient of conv2d for an x of height and width `plane`, from that of its output,
    z (n, out, oh, ow): each number spread over its window. Known as transposed convolution."""
    check(z, stride=stride, padding=padding, dilation=dilation)
    check(w)
    xp, (n, out), (_, inner, *size) = namespace(z), z.shape[:2], w.shape
    channels, depth = inner * groups, inner * size[0] * size[1]
    counts = _conv_counts(plane, w.shape, channels, stride, padding, dilation, groups)
    if z.shape[1:] != (w.shape[0], *counts):
        raise ValueError(f"z is {z.shape}; convolving {plane} gives {(n, w.shape[0], *counts)}")
    parts = xp.matmul(
        widened(w).reshape(groups, out // groups, depth).transpose(0, 2, 1),
        widened(z).reshape(n, groups, out // groups, counts[0] * counts[1]),
    ).reshape(n, channels, *size, *counts)
    (h, width), (ph, pw) = plane, padding
    x = xp.zeros((n, channels, h + 2 * ph, width + 2 * pw), dtype=parts.dtype)
    for (i, j), view in views(x, size, counts, stride, dilation):
        view += parts[:, :, i, j]
    return narrow(cropped(x, padding), z)


def _weight_x(g, x_shape, z, stride, padding, dilation, groups):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_input(z, g, plane=x_shape[2:], **how)


def _weight_z(g, x, stride, padding, dilation, groups):
    return conv2d(x, g, stride=stride, padding=padding, dilation=dilation, groups=groups)


@op(x=_weight_x, z=_weight_z, samples=_weight_samples, kind="contract")
def conv2d_weight(x, z, *, kernel, stride, padding, dilation, groups):
    """The gradient of conv2d for weights of height and width `kernel`, from x and that of its
    output, z (n, out, oh, ow)."""
    check(x, stride=stride, padding=padding, dilation=dilation)
    (n, c), (out, *counts) = x.shape[:2], z.shape[1:]
    shape = (out, c // groups, *kernel)
    if (expected := _conv_counts(x.shape[2:], shape, c, stride, padding, dilation, groups)) != (
        *counts,
    ):
        raise ValueError(f"z is {z.shape}; convolving {x.shape} gives {(n, out, *expected)}")
    depth, length = shape[1] * kernel[0] * kernel[1], n * counts[0] * counts[1]
    columns = _columns(widened(x), kernel, counts, stride, padding, dilation, batch_last=True)
    rows = widened(z).transpose(1, 0, 2, 3).reshape(groups, out // groups, length)
    columns = columns.reshape(groups, depth, length).transpose(0, 2, 1)
    return narrow(namespace(x).matmul(rows, columns).reshape(shape), x)


@op(samples=_conv_grad_samples, outputs=("gx", "gw", "gb"), kind="contract")
def conv2d_grad(g, x, w, y, *, stride, padding, dilation, groups, activation, needs):
    """Gradients of conv2d for x, w and b, None where not needed."""
    z = ACTIVATIONS[activation][1](g, y)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    gx = conv2d_input(z, w, plane=x.shape[2:], **how) if needs[0] else None
    gw = conv2d_weight(x, z, kernel=w.shape[2:], **how) if needs[1] else None
    gb = sum_(z, axis=(0, 2, 3)) if needs[2] else None
    return gx, gw, gb
