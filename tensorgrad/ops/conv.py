"""Convolution and pooling of images, (n, channels, height, width).

The three products of a convolution (of an image, for an image, for the weights) are linear in each
operand, and each is the derivative of the other two. So are the pairs of pooling and its adjoint.
The references walk over the places in the window, not over the image: a few large slices.
"""

from itertools import product

from ..backend import is_floating, namespace
from ..core import op
from .matmul import ACTIVATIONS
from .reduce import narrow, sum_, widened
from .samples import Sample, draw, integers


def _check(x, **sizes):
    if len(x.shape) != 4:
        raise ValueError(
            f"an array of shape {tuple(x.shape)}: images are (n, channels, height, width); "
            "x[None] adds a missing n, x[:, None] a missing channel"
        )
    for name, pair in sizes.items():
        least = 0 if name == "padding" else 1
        if len(pair) != 2 or min(pair) < least:
            raise ValueError(f"{name}={pair}: it is a pair of whole numbers from {least} on")


def _counts(plane, size, stride, padding, dilation=(1, 1)):
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


def _views(x, size, counts, stride, dilation=(1, 1)):
    """For each place (i, j) in the window, what lies there in all windows of the padded x."""
    for place in product(*map(range, size)):
        ends = zip(place, counts, stride, dilation, strict=True)
        at = [slice(i * d, i * d + (n - 1) * s + 1, s) for i, n, s, d in ends]
        yield place, x[(..., *at)]


def _padded(x, padding, value=0.0):
    if not any(padding):
        return x
    around = ((0, 0), (0, 0), *[(p, p) for p in padding])
    return namespace(x).pad(x, around, mode="constant", constant_values=value)


def _cropped(x, padding):
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
    counts = _counts(x[2:], w[2:], o["stride"], o["padding"], o["dilation"])
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
    for (i, j), view in _views(_padded(x, padding), size, counts, stride, dilation):
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
    return _counts(plane, (kh, kw), stride, padding, dilation)


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
    _check(x, stride=stride, padding=padding, dilation=dilation)
    _check(w)
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
    _check(z, stride=stride, padding=padding, dilation=dilation)
    _check(w)
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
    for (i, j), view in _views(x, size, counts, stride, dilation):
        view += parts[:, :, i, j]
    return narrow(_cropped(x, padding), z)


def _weight_x(g, x_shape, z, stride, padding, dilation, groups):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_input(z, g, plane=x_shape[2:], **how)


def _weight_z(g, x, stride, padding, dilation, groups):
    return conv2d(x, g, stride=stride, padding=padding, dilation=dilation, groups=groups)


@op(x=_weight_x, z=_weight_z, samples=_weight_samples, kind="contract")
def conv2d_weight(x, z, *, kernel, stride, padding, dilation, groups):
    """The gradient of conv2d for weights of height and width `kernel`, from x and that of its
    output, z (n, out, oh, ow)."""
    _check(x, stride=stride, padding=padding, dilation=dilation)
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


# --- pooling ------------------------------------------------------------------------------------


def _pool_cases():
    """The shape of x, and how it is pooled."""
    return (
        ((2, 3, 4, 6), {"size": (2, 2)}),
        ((1, 2, 5, 4), {"size": (3, 2), "stride": (1, 2), "padding": (1, 1)}),
        ((2, 1, 5, 7), {"size": (2, 3), "stride": (3, 2)}),
        ((0, 2, 4, 4), {"size": (2, 2)}),
        ((3, 2, 1, 1), {"size": (1, 1)}),
    )


def _pool_samples():
    return [Sample((draw(shape),), params) for shape, params in _pool_cases()]


def _average_grad_samples():
    made = []
    for shape, params in _pool_cases():
        how = {"stride": params["size"], "padding": (0, 0), **params}
        counts = _counts(shape[2:], *[how[k] for k in ("size", "stride", "padding")])
        made.append(Sample((draw((*shape[:2], *counts)),), {"plane": shape[2:], **how}))
    return made


def _positions(shape, plane):
    """A place in the plane for each number, some of them twice."""
    return integers(shape, plane[0] * plane[1]).astype("int32")


def _scatter_samples():
    shapes = (((2, 3, 2, 2), (4, 3)), ((1, 1, 3, 4), (2, 2)), ((0, 2, 2, 2), (4, 4)))
    return [Sample((draw(s), _positions(s, plane)), {"plane": plane}) for s, plane in shapes]


def _gather_samples():
    shapes = (((2, 3, 4, 3), (2, 2)), ((1, 1, 2, 2), (3, 4)), ((0, 2, 4, 4), (2, 2)))
    return [Sample((draw(s), _positions((*s[:2], *to), s[2:]))) for s, to in shapes]


def _pool_counts(x, size, stride, padding):
    """The height and width of the output, and the stride: where none is given, the size."""
    if not is_floating(x.dtype):
        raise TypeError(f"numbers of dtype {x.dtype} are not pooled; x.astype('float32') are")
    stride = size if stride is None else stride
    _check(x, size=size, stride=stride, padding=padding)
    if any(2 * p > k for p, k in zip(padding, size, strict=True)):
        raise ValueError(f"padding={padding} is more than half of size={size}")
    return _counts(x.shape[2:], size, stride, padding), stride


@op(
    x=lambda g, x_shape, where: max_pool2d_grad(g[0], where, plane=x_shape[2:]),
    outputs=("y", "where"),
    samples=_pool_samples,
    kind="reduce",
)
def max_pool2d(x, *, size, stride=None, padding=(0, 0)):
    """The largest number in each window of x (n, c, h, w), and its place in the plane of
    height and width h, w, counted row by row: the first of equals, the last NaN.

    Windows lie side by side unless a `stride` is given. What is padded is never the largest.
    """
    counts, stride = _pool_counts(x, size, stride, padding)
    xp, width = namespace(x), x.shape[3]
    starts = [xp.arange(n, dtype="int32") * s - p
              for n, s, p in zip(counts, stride, padding, strict=True)]  # fmt: skip
    places = starts[0][:, None] * width + starts[1]
    best = xp.full((*x.shape[:2], *counts), -float("inf"), dtype=widened(x[:0]).dtype)
    first = xp.maximum(starts[0], 0)[:, None] * width + xp.maximum(starts[1], 0)
    where = xp.zeros(best.shape, dtype="int32") + first
    for (i, j), seen in _views(_padded(widened(x), padding, -float("inf")), size, counts, stride):
        better = (seen > best) | (seen != seen)
        best = xp.where(better, seen, best)
        where = xp.where(better, places + (i * width + j), where)
    return narrow(best, x), where.astype("int32")


@op(
    x=lambda g, where: max_pool2d_take(g, where),
    samples=_scatter_samples,
    kind="other",
)
def max_pool2d_grad(x, where, *, plane):
    """Zeros of height and width `plane` with each number of x added in its place of the plane."""
    xp, (n, c) = namespace(x), x.shape[:2]
    size, wide = plane[0] * plane[1], widened(x)
    made = xp.zeros(n * c * size, dtype=wide.dtype)
    index = where.reshape(n * c, where.shape[2] * where.shape[3]).astype("int64")
    index = index + size * xp.arange(n * c)[:, None]
    xp.add.at(made, index.reshape(-1), wide.reshape(-1))
    return narrow(made.reshape(n, c, *plane), x)


@op(
    x=lambda g, x_shape, where: max_pool2d_grad(g, where, plane=x_shape[2:]),
    samples=_gather_samples,
    kind="other",
)
def max_pool2d_take(x, where):
    """The numbers of x (n, c, h, w) that lie in the given places of their planes."""
    (n, c, h, w), (oh, ow) = x.shape, where.shape[2:]
    flat, places = x.reshape(n, c, h * w), where.reshape(n, c, oh * ow).astype("int64")
    return namespace(x).take_along_axis(flat, places, axis=2).reshape(where.shape)


@op(
    x=lambda g, x_shape, size, stride, padding: avg_pool2d_grad(
        g, plane=x_shape[2:], size=size, stride=stride or size, padding=padding
    ),
    samples=_pool_samples,
    kind="reduce",
)
def avg_pool2d(x, *, size, stride=None, padding=(0, 0)):
    """The mean of each window of x (n, c, h, w); what is padded counts as zero.

    Windows lie side by side unless a `stride` is given.
    """
    counts, stride = _pool_counts(x, size, stride, padding)
    views = _views(_padded(widened(x), padding), size, counts, stride)
    total = sum([view for _, view in views])
    return narrow(total * (1.0 / (size[0] * size[1])), x)


@op(
    x=lambda g, size, stride, padding: avg_pool2d(g, size=size, stride=stride, padding=padding),
    samples=_average_grad_samples,
    kind="other",
)
def avg_pool2d_grad(x, *, plane, size, stride, padding):
    """The gradient of avg_pool2d for images of height and width `plane`: each number of x in equal
    parts to all of its window."""
    xp, share = namespace(x), widened(x) * (1.0 / (size[0] * size[1]))
    (h, w), (ph, pw) = plane, padding
    made = xp.zeros((*x.shape[:2], h + 2 * ph, w + 2 * pw), dtype=share.dtype)
    for _, view in _views(made, size, x.shape[2:], stride):
        view += share
    return narrow(_cropped(made, padding), x)
