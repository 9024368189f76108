"""Indexing, and its adjoint: the scatter-add.

An index is split into a *template* of slices, integers, None and Ellipsis, which is metadata, and
the integer arrays that stand at its `ARRAY` places, which are inputs.
"""

from ..backend import is_half, namespace
from ..core import Tensor, op
from ..errors import DTypeError
from .samples import Sample, draw, integers

ARRAY = "array"  # stands in a template where an index array goes


def split_key(key, x):
    """Template and index arrays of any key that NumPy takes; masks become integer arrays."""
    template, arrays = [], []
    for part in key if isinstance(key, tuple) else (key,):
        if part is None or part is ... or (isinstance(part, (int, slice)) and part is not True):
            template.append(_plain_slice(part) if isinstance(part, slice) else part)
            continue
        raw = part._data if isinstance(part, Tensor) else part
        raw = raw if hasattr(raw, "dtype") else namespace(x).asarray(raw, dtype=_index_dtype(raw))
        if raw.dtype.kind == "b":
            found = raw.nonzero()
        elif raw.dtype.kind in "iu":
            found = (raw,)
        else:
            raise DTypeError(
                f"getitem: an index of dtype {raw.dtype}; indices are integers, slices, masks, "
                "None or ..."
            )
        template += [ARRAY] * len(found)
        arrays += found
    return tuple(template), arrays


def _index_dtype(value):
    return None if value else "int64"  # an empty list would become floats


def _plain_slice(s):
    """A slice whose ends may have been Tensors or NumPy integers."""
    return slice(*[None if v is None else v.__index__() for v in (s.start, s.stop, s.step)])


def _key(template, index):
    arrays = iter(index)
    return tuple([next(arrays) if part is ARRAY else part for part in template])


def _cases():
    """Shape of x, index arrays, template."""
    return (
        ((4, 3), (), (slice(1, 3),)),
        ((4, 3), (), (-1, slice(None, None, -2))),
        ((4, 3), (), (..., None, 1)),
        ((4,), (), (2,)),
        ((), (), (None,)),
        ((4, 3), (integers((5,), 4),), (ARRAY,)),
        ((4, 3), (integers((2, 2), 4), integers((2,), 3, 1)), (ARRAY, ARRAY)),
        ((2, 4, 3), (integers((3,), 2), integers((3,), 3, 1)), (ARRAY, slice(1, 4), ARRAY)),
        ((4, 3), (integers((0,), 4),), (ARRAY,)),
    )


def _getitem_samples():
    return [Sample((draw(s), *index), {"template": t}) for s, index, t in _cases()]


def _scatter_samples():
    made = []
    for shape, index, template in _cases():
        values = draw(draw(shape)[_key(template, index)].shape)
        made.append(Sample((values, *index), {"shape": shape, "template": template}))
    return made


@op(
    joint=lambda g, x_shape, index, template, needs: (
        scatter_add(g, *index, shape=x_shape, template=template),
        *[None] * len(index),
    ),
    samples=_getitem_samples,
    kind="shape",
)
def getitem(x, *index, template):
    """x[...]: the template with the index arrays in their places."""
    return x[_key(template, index)]


@op(
    joint=lambda g, index, template, needs: (
        getitem(g, *index, template=template),
        *[None] * len(index),
    ),
    samples=_scatter_samples,
    kind="shape",
)
def scatter_add(values, *index, shape, template):
    """Zeros of the shape with the values added at the indexed places. Repeated places add up, in
    float32 for halves."""
    xp, key = namespace(values), _key(template, index)
    if not index:
        out = xp.zeros(shape, dtype=values.dtype)
        out[key] = values
        return out
    out = xp.zeros(shape, dtype="float32" if is_half(values.dtype) else values.dtype)
    xp.add.at(out, key, values.astype(out.dtype))
    return out.astype(values.dtype)
