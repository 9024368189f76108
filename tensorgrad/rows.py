"""Gradients of tables of which a few rows were looked up: those rows alone.

They are arrays of a backend of their own, so that tensors, nodes and optimizers know little of
them: what is no sum and no multiple of them computes with the whole table's, zeros included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import BY_TYPE, RAW, Array, Backend, namespace, within_vmap
from .core import OPS, Leaf, Op, Tensor


class Rows(np.lib.mixins.NDArrayOperatorsMixin):
    """An array (count, features) of zeros but for the rows `ids` (k,), which hold `values` (k,
    features): those of equal ids are added, in their order. `merged`: no two are equal, and they
    are sorted.

    >>> g = rows_of(np.array([2, 0, 2]), np.ones((3, 1)), 4)
    >>> g.copy().ids, g.copy().values.ravel(), g.whole().ravel()
    (array([0, 2]), array([1., 2.]), array([1., 0., 2., 0.]))
    """

    __slots__ = ("ids", "merged", "shape", "values")
    __array_priority__ = 1000  # CuPy's arrays leave `array + rows` to it
    ndim = 2
    dtype = property(lambda self: self.values.dtype)
    size = property(lambda self: self.shape[0] * self.shape[1])
    flags = property(lambda self: self.values.flags)
    base = property(lambda self: self.values)  # memory that is not to be written to

    def __init__(self, ids: Array, values: Array, count: int, merged: bool = False):
        self.ids, self.values, self.merged = ids, values, merged
        self.shape = (count, values.shape[1])

    def like(self, values: Array) -> Any:
        """The same rows with other values."""
        return type(self)(self.ids, values, self.shape[0], self.merged)

    def copy(self) -> Any:
        """With memory of its own, merged: the sum of the values of each id."""
        if self.merged:
            return self.like(self.values.copy())
        ids, count, xp = self.ids, self.shape[0], namespace(self.ids)
        values = self.values
        if xp is not np:  # there no lookup complains of ids that are in no table
            inside = (ids >= 0) & (ids < count)
            ids, values = ids[inside], values[inside]
        found, places = xp.unique(ids, return_inverse=True)
        summed = OPS["embedding_grad"](values, places.reshape(-1), count=len(found))
        return type(self)(found, summed, count, True)

    def whole(self) -> Array:
        """The array with its zeros."""
        return OPS["embedding_grad"](self.values, self.ids, count=self.shape[0])

    def view(self) -> Any:
        """Another object on the same memory."""
        return self.like(self.values)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """In another dtype."""
        return self.like(self.values.astype(dtype, copy=copy))

    def __add__(self, other: Any) -> Any:
        if type(other) is not type(self):
            return self.whole() + other
        join = namespace(self.ids).concatenate
        ids, values = join((self.ids, other.ids)), join((self.values, other.values))
        return type(self)(ids, values, self.shape[0])

    def __getitem__(self, key: Any) -> Any:
        return self.whole()[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.whole(), name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.whole(), dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*map(_whole, args), **options)

    def __array_function__(self, func: Any, types: Any, args: Any, options: Any) -> Any:
        return func(*map(_whole, args), **options)

    def __repr__(self) -> str:
        return f"<{len(self.ids)} rows of an array of shape {self.shape}>"


def _whole(a: Any) -> Any:
    return a.whole() if isinstance(a, Rows) else a


_KEPT = ("multiply", "divide", "cast", "conj", "negative")  # of rows, and of numbers besides


def _computed(op: Op) -> Callable:
    """The function of an op whose first array is one of rows."""

    def run(*arrays: Any, **params: Any) -> Any:
        first = arrays[0]
        if op.name == "add" and type(arrays[1]) is type(first):
            return (first + arrays[1]).copy()
        if op.name in _KEPT and not any(np.ndim(a) or isinstance(a, Rows) for a in arrays[1:]):
            return first.like(op.kernels[type(first.values)](first.values, *arrays[1:], **params))
        given = [_whole(a) for a in arrays]
        return op.kernels[type(given[0])](*given, **params)

    return run


_kinds: dict[type, type] = {}


def rows_of(ids: Array, values: Array, count: int) -> Any:
    """The array of `count` rows that are zeros but for these: ids (k,) and values (k, features)."""
    kind = _kinds.get(type(values))
    if kind is None:
        home = BY_TYPE[type(values)]
        kind = _kinds[type(values)] = type("Rows", (Rows,), {"__slots__": ()})
        to_host = lambda a: home.to_host(a.whole())  # noqa: E731
        BY_TYPE[kind] = Backend(home.name, kind, home.xp, _computed, home.from_host, to_host)
        RAW.add(kind)
    return kind(ids, values, count)


class LookedUp:
    """The op of a lookup's node in place of its own: the table's gradient is of rows. Where it is
    to be differentiated, it is whole."""

    def __init__(self, name: str, values: Callable[..., tuple]):
        self.name, self.values = name, values

    @property
    def rules(self) -> LookedUp:
        """Itself, as `backprop` asks an op for its rules."""
        return self

    def rewrap(self, saved: Any, *how: Any) -> Any:
        """The saved arrays as tensors on the tape."""
        return OPS[self.name].rules.rewrap(saved, *how)

    def vjp(self, g: Any, saved: Any, params: dict[str, Any], parents: Any) -> Any:
        """The gradients of the table and of what it is looked up with."""
        own: Any = OPS[self.name].rules
        if isinstance(g, Tensor):
            return own.vjp(g, saved, params, parents)
        _, *others = own.vjp(g, saved, params, (None, *parents[1:]))
        kept = dict(zip(own.slots, saved, strict=True))
        count, _ = kept[own.signature.inputs[0] + "_shape"]
        ids, values = self.values(g, **kept)
        return rows_of(ids, values, count), *others


def _of_lookup(g: Array, weight_shape: tuple, ids: Array) -> tuple[Array, Array]:
    return ids.reshape(-1), g.reshape(-1, weight_shape[1])


def _of_sums(g: Array, sources: Array, targets: Array, w: Array | None, **_: Any) -> tuple:
    values = OPS["embedding"](g, targets)
    return sources, values if w is None else values * w[:, None]


_looked_up: dict[str, Any] = {
    name: LookedUp(name, values)
    for name, values in (("embedding", _of_lookup), ("gather_sum", _of_sums))
}


def looked_up(y: Tensor, table: Tensor) -> Tensor:
    """The result of a lookup, whose node gives the gradient of a leaf as rows."""
    if type(table.node) is Leaf and y.node is not None and not within_vmap(y._data):
        y.node.op = _looked_up[y.node.op.name]
    return y
