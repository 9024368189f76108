"""Ops that rearrange, repeat or cast elements. Several return views of their input."""

import math
from itertools import pairwise

import numpy as np

from ..backend import BACKENDS, get, namespace
from ..backend import cast as cast_array
from ..core import op
from .samples import calls, draw, shaped, unary


@op(
    x=lambda g, x_shape: reshape(g, shape=x_shape),
    samples=shaped(
        ((2, 6), {"shape": (3, 4)}),
        ((2, 6), {"shape": (-1,)}),
        ((), {"shape": (1, 1)}),
        ((0, 3), {"shape": (3, 0)}),
    ),
    kind="shape",
)
def reshape(x, *, shape):
    """The same elements in row-major order under another shape; one entry may be -1."""
    return x.reshape(shape)


def _inverse(axes):
    return None if axes is None else [axes.index(i) for i in range(len(axes))]


@op(
    x=lambda g, axes: transpose(g, axes=_inverse([a % len(axes) for a in axes] if axes else None)),
    samples=shaped(
        ((2, 3), {}),
        ((2, 3, 4), {"axes": (2, 0, 1)}),
        ((2, 3, 4), {"axes": (0, -1, 1)}),
        ((), {}),
        ((0, 2), {}),
    ),
    kind="shape",
)
def transpose(x, *, axes=None):
    """Axes permuted, reversed without `axes`."""
    return x.transpose(axes)


@op(
    x=lambda g, source, destination: moveaxis(g, source=destination, destination=source),
    samples=shaped(
        ((2, 3, 4), {"source": 0, "destination": -1}),
        ((2, 3, 4), {"source": (0, 1), "destination": (2, 0)}),
    ),
    kind="shape",
)
def moveaxis(x, *, source, destination):
    """Axes moved to other places, the rest kept in order."""
    return namespace(x).moveaxis(x, source, destination)


@op(
    x=lambda g, axis1, axis2: swapaxes(g, axis1=axis1, axis2=axis2),
    samples=shaped(((2, 3, 4), {"axis1": 0, "axis2": -1}), ((2, 3), {"axis1": 0, "axis2": 1})),
    kind="shape",
)
def swapaxes(x, *, axis1, axis2):
    """Two axes exchanged."""
    return x.swapaxes(axis1, axis2)


@op(
    x=lambda g: g,  # backprop sums the cotangent back to the input's shape
    samples=shaped(
        ((3,), {"shape": (2, 3)}),
        ((2, 1), {"shape": (2, 3)}),
        ((), {"shape": (2,)}),
        ((1,), {"shape": (0,)}),
    ),
    kind="shape",
)
def broadcast_to(x, *, shape):
    """A read-only view of x broadcast to the shape."""
    return namespace(x).broadcast_to(x, shape)


@op(
    x=lambda g, x_shape: reshape(g, shape=x_shape),
    samples=shaped(((2, 1, 3, 1), {}), ((2, 1, 3), {"axis": 1}), ((1, 1), {"axis": (0, 1)})),
    kind="shape",
)
def squeeze(x, *, axis=None):
    """Axes of length 1 removed: all of them, or those named."""
    return x.squeeze(axis)


@op(
    x=lambda g, x_shape: reshape(g, shape=x_shape),
    samples=shaped(((2, 3), {"axis": 0}), ((2, 3), {"axis": (0, -1)}), ((), {"axis": 0})),
    kind="shape",
)
def expand_dims(x, *, axis):
    """Axes of length 1 inserted where `axis` says."""
    return namespace(x).expand_dims(x, axis)


@op(
    x=lambda g, axis: flip(g, axis=axis),
    samples=shaped(((2, 3), {}), ((2, 3), {"axis": 1}), ((2, 3), {"axis": (0, 1)}), ((0,), {})),
    kind="shape",
)
def flip(x, *, axis=None):
    """The order of the elements reversed along the axes, all of them without `axis`."""
    return namespace(x).flip(x, axis)


@op(
    x=lambda g, x_shape, pad_width: g[
        tuple([slice(a, a + n) for (a, _), n in zip(pad_width, x_shape, strict=True)])
    ],
    samples=shaped(
        ((2, 3), {"pad_width": ((1, 0), (0, 2))}),
        ((2, 3), {"pad_width": ((1, 1), (2, 2)), "value": 3.0}),
        ((0,), {"pad_width": ((1, 1),)}),
    ),
    kind="shape",
)
def pad(x, *, pad_width, value=0.0):
    """x surrounded by a constant: `pad_width` gives (before, after) for each axis."""
    if len(pad_width) != x.ndim or any(len(pair) != 2 for pair in pad_width):
        raise ValueError(f"pad_width is a pair (before, after) for each of the {x.ndim} axes")
    return namespace(x).pad(x, pad_width, mode="constant", constant_values=value)


@op(differentiable=False, samples=unary(-1, 1, {"value": 1.0}), kind="map", complex=True)
def full_like(x, *, value):
    """An array of x's shape and dtype filled with a value."""
    return namespace(x).full_like(x, value)


@op(
    x=lambda g: g,
    samples=shaped(((2, 3), {"dtype": "float32"}), ((), {"dtype": "float64"})),
    fixed=("x",),
    complex=True,
)
def cast(x, *, dtype):
    """x in another floating dtype; backprop casts the gradient back."""
    if x.dtype.kind == "c":
        return cast_array(x, np.dtype(dtype))
    return x.astype(dtype)


@op(x=lambda g: g, samples=shaped(((2, 3), {}), ((), {})), kind="shape")
def identity(x):
    """x itself under a new node, by which `grad` identifies its arguments."""
    return x


@op(
    x=lambda g, backend, source: move(g, backend=source, source=backend),
    samples=calls(lambda: (draw((2, 3)), {"backend": "numpy", "source": "numpy"})),
    fixed=("x",),
    complex=True,
)
def move(x, *, backend, source):
    """x copied to another backend."""
    home = BACKENDS[source]
    return get(backend).from_host(home.to_host(x))


# --- complex numbers ----------------------------------------------------------------------------


@op(x=lambda g: conj(g), samples=unary(), kind="map", complex=True)
def conj(x):
    """The complex conjugate; of real numbers a copy."""
    return namespace(x).conj(x)


@op(x=lambda g: g, samples=unary(), kind="shape")
def real(x):
    """The real part, a view."""
    return x.real


@op(x=lambda g: g * -1j, samples=unary(), kind="shape")
def imag(x):
    """The imaginary part, 0 for real numbers."""
    return x.imag


# --- several arrays -----------------------------------------------------------------------------


def _slices(g, shapes, axis, needs):
    """The parts of a concatenated cotangent."""
    axis = axis % len(g.shape)
    parts, start = [], 0
    for shape, need in zip(shapes, needs, strict=True):
        end = start + shape[axis]
        parts.append(g[(slice(None),) * axis + (slice(start, end),)] if need else None)
        start = end
    return tuple(parts)


@op(
    joint=lambda g, xs_shape, axis, needs: _slices(g, xs_shape, axis, needs),
    samples=calls(
        lambda: (draw((2, 3)), draw((1, 3)), {}),
        lambda: (draw((2, 3)), draw((2, 1)), draw((2, 2)), {"axis": -1}),
        lambda: (draw((0,)), draw((2,)), {}),
        lambda: (draw((4,)), {}),
    ),
    kind="shape",
)
def concat(*xs, axis=0):
    """The arrays joined along an axis they have."""
    if axis is None:
        raise TypeError("axis is None; reshape each to (-1,) first")
    return namespace(*xs).concatenate(xs, axis=axis)


def _unstack(g, axis, needs):
    at = (slice(None),) * (axis % len(g.shape))
    return tuple([g[(*at, i)] if need else None for i, need in enumerate(needs)])


@op(
    joint=_unstack,
    samples=calls(
        lambda: (draw((2, 3)), draw((2, 3), seed=1), {}),
        lambda: (draw((2, 3)), draw((2, 3), seed=1), {"axis": -1}),
        lambda: (draw(()), draw((), seed=1), {}),
        lambda: (draw((0,)), draw((0,)), {"axis": 1}),
    ),
    kind="shape",
)
def stack(*xs, axis=0):
    """The arrays joined along a new axis."""
    return namespace(*xs).stack(xs, axis=axis)


def bounds(n, sections):
    """Where `split` cuts an axis of length n: `sections` equal parts, or before these indices."""
    if isinstance(sections, int):
        if sections < 1 or n % sections:
            raise ValueError(f"an axis of length {n} does not split into {sections} equal parts")
        sections = [n // sections * i for i in range(1, sections)]
    cuts = [0, *[min(max(i + n if i < 0 else i, 0), n) for i in sections], n]
    if any(a > b for a, b in pairwise(cuts)):
        raise ValueError(f"the indices {list(sections)} are not in order, so the parts overlap")
    return cuts


def _joined(g, x_shape, sections, axis):
    """The cotangents of the parts concatenated, zeros for parts that were not used."""
    axis, known = axis % len(x_shape), next(part for part in g if part is not None)
    cuts, parts = bounds(x_shape[axis], sections), []
    for part, (start, end) in zip(g, pairwise(cuts), strict=True):
        if part is None:
            shape = (*x_shape[:axis], max(end - start, 0), *x_shape[axis + 1 :])
            flat = reshape(known, shape=(-1,))
            zeros = pad(flat[:0], pad_width=((0, math.prod(shape)),))
            part = reshape(zeros, shape=shape)
        parts.append(part)
    return concat(*parts, axis=axis)


@op(
    x=_joined,
    outputs=("*",),
    samples=shaped(
        ((4, 3), {"sections": 2}),
        ((2, 5), {"sections": (1, 3), "axis": -1}),
        ((3,), {"sections": 1}),
    ),
    kind="shape",
)
def split(x, *, sections, axis=0):
    """Views of the parts of x: `sections` equal ones, or cut before each index of a list."""
    cuts, at = bounds(x.shape[axis], sections), (slice(None),) * (axis % x.ndim)
    return tuple([x[(*at, slice(a, b))] for a, b in pairwise(cuts)])
