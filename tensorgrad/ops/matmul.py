"""The matrix product, and the dense layer: a product fused with its bias and activation."""

import math

from ..backend import is_half, namespace
from ..core import op
from .elementwise import gelu, gelu_grad, relu, relu_grad, sigmoid, sigmoid_grad, tanh, tanh_grad
from .reduce import narrow, sum_, widened
from .samples import Sample, calls, draw
from .shape import conj, expand_dims, reshape, squeeze, swapaxes


def transposed(x):
    """The last two axes exchanged."""
    return swapaxes(x, axis1=-1, axis2=-2)


def conjugated(x):
    """The complex conjugate; x itself where it is real."""
    return conj(x) if x.dtype.kind == "c" else x


def flat(x):
    """All leading axes as one: (..., n) -> (rows, n)."""
    if x.ndim == 2:
        return x
    rows = math.prod(x.shape[:-1])  # not -1, which is ambiguous with an axis of length 0
    return reshape(x, shape=(rows, x.shape[-1]))


def _matmul_a(g, a_shape, b):
    if len(b.shape) == 1:
        return expand_dims(g, axis=-1) * b
    if len(a_shape) == 1:
        return squeeze(matmul(b, expand_dims(g, axis=-1)), axis=-1)
    return matmul(g, transposed(b))


def _matmul_b(g, a, b_shape):
    if len(a.shape) == 1:
        return g * a if len(b_shape) == 1 else expand_dims(a, axis=-1) * expand_dims(g, axis=-2)
    if len(b_shape) == 1:
        return squeeze(matmul(transposed(a), expand_dims(g, axis=-1)), axis=-1)
    if len(b_shape) == 2:  # one matrix for the whole batch: one product, not a sum of many
        a, g = flat(a), flat(g)
    return matmul(transposed(a), g)


@op(
    a=_matmul_a,
    b=_matmul_b,
    samples=calls(
        lambda: (draw((2, 3)), draw((3, 4))),
        lambda: (draw((3,)), draw((3,))),
        lambda: (draw((3,)), draw((3, 4))),
        lambda: (draw((2, 3)), draw((3,))),
        lambda: (draw((5, 2, 3)), draw((3, 4))),
        lambda: (draw((5, 1, 2, 3)), draw((4, 3, 2))),
        lambda: (draw((5, 2, 3)), draw((3,))),
        lambda: (draw((3,)), draw((5, 3, 2))),
        lambda: (draw((0, 3)), draw((3, 2))),
        lambda: (draw((2, 0)), draw((0, 3))),
        lambda: (draw((65, 33)), draw((33, 17))),
    ),
    precision="half",
    complex=True,
)
def matmul(a, b):
    """Matrix product over the last two axes, batched and broadcast over the others, as NumPy's;
    one-dimensional operands are a row on the left, a column on the right."""
    xp = namespace(a)
    if a.dtype != b.dtype:  # a kernel may take one dtype; CuPy's mixed product is another library's
        wide = xp.result_type(a, b)
        return matmul(a.astype(wide, copy=False), b.astype(wide, copy=False))
    if a.dtype.itemsize == 2 and is_half(a.dtype):
        return xp.matmul(a.astype("float32"), b.astype("float32")).astype(a.dtype)
    if b.ndim == 2 and a.ndim > 1:
        if a.ndim == 2:
            return a.dot(b)  # the same product in half the time of matmul's call, 0.3 us
        if a.flags.c_contiguous:  # one product instead of a batch
            return (
                a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
                .dot(b)
                .reshape(*a.shape[:-1], b.shape[1])
            )
    return xp.matmul(a, b)


# --- dense --------------------------------------------------------------------------------------

ACTIVATIONS = {  # name -> (function of arrays, gradient from the output)
    "none": (lambda z: z, lambda g, y: g),
    "relu": (relu.ref, relu_grad),
    "sigmoid": (sigmoid.ref, sigmoid_grad),
    "tanh": (tanh.ref, tanh_grad),
}


def _dense_samples():
    shapes = (((4, 3), (3, 2)), ((3,), (3, 2)), ((0, 3), (3, 2)), ((37, 70), (70, 33)))
    calls = [(draw(x), draw(w), draw(w[1:])) for x, w in shapes]
    calls.append((draw((2, 5, 3)), draw((3, 4)), None))
    return [Sample(args, {"activation": name}) for args in calls for name in ACTIVATIONS]


def _dense_grad_samples():
    made = []
    for sample in _dense_samples():
        x, w, b = sample.args
        y = draw((*x.shape[:-1], w.shape[1]), 0.1, 0.9)
        needs = (True, True, b is not None)
        made.append(Sample((y * 2 - 1, x, w, y), {**sample.params, "needs": needs}))
    return [*made, made[0]._replace(params={"activation": "relu", "needs": (True, False, False)})]


def _affine(x, w, b):
    if x.shape[-1] != w.shape[0]:
        raise ValueError(f"x has {x.shape[-1]} features, w takes {w.shape[0]}")
    if x.ndim == 2:
        z = matmul.call(x, w)
    else:
        z = matmul(x if x.ndim < 2 else flat(x), w).reshape(*x.shape[:-1], w.shape[1])
    return z if b is None else z + b


@op(samples=_dense_grad_samples, outputs=("gx", "gw", "gb"))
def dense_grad(g, x, w, y, *, activation, needs):
    """Gradients of dense for x, w and b, None where not needed."""
    gz = ACTIVATIONS[activation][1](g, y)
    rows = flat(gz)
    gx = gw = None
    if needs[0]:
        gx = matmul(rows, w.T)
        gx = gx if rows is gz else reshape(gx, shape=x.shape)
    if needs[1]:
        gw = matmul(flat(x).T, rows)
    gb = sum_(rows, axis=0) if needs[2] else None
    return gx, gw, gb


@op(
    joint=dense_grad,
    samples=_dense_samples,
    precision="half",
)
def dense(x, w, b=None, *, activation="none"):
    """activation(x @ w + b): x (..., n_in), w (n_in, n_out), b (n_out,) or None, -> (..., n_out).

    `activation` is none, relu, sigmoid or tanh, whose gradients are functions of the output.
    """
    z = _affine(x, w, b)
    if activation == "none":
        return z
    f = ACTIVATIONS[activation][0]
    return narrow(f(widened(z)), z) if is_half(z.dtype) else f(z)


def _dense_gelu_grad(g, x, w, z, needs):
    gz = g[1] if g[0] is None else gelu_grad(g[0], z)
    gz = gz if g[0] is None or g[1] is None else gz + g[1]
    return dense_grad(gz, x, w, z, activation="none", needs=needs)


@op(
    joint=_dense_gelu_grad,
    outputs=("y", "z"),
    samples=lambda: [s._replace(params={}) for s in _dense_samples()[:: len(ACTIVATIONS)]],
    precision="half",
)
def dense_gelu(x, w, b=None):
    """gelu(x @ w + b), and x @ w + b itself, which the gradient needs."""
    z = _affine(x, w, b)
    return gelu(z), z
