"""Differentiable functions of the user's own: forward and backward on arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .backend import make, namespace
from .core import OPS, Node, Tensor, record
from .creation import asarray, owned
from .errors import DTypeError, GraphError
from .switches import switches


class Function:
    """Base class of custom differentiable functions: `forward` computes on raw arrays, `backward`
    maps the cotangent of the output to the gradients of the inputs.

    `ctx` is an instance per call: `ctx.save(*arrays)` saves inputs or outputs, which `backward`
    finds in `ctx.saved`; `ctx.xp` is the array module, numpy or cupy. `backward` returns one
    gradient per positional input, None for those without; written with tensorgrad's functions it
    can be differentiated again.

    >>> class Double(Function):
    ...     def forward(ctx, x): return 2 * x
    ...     def backward(ctx, g): return 2 * g
    >>> Double.apply(tensor([1.0])).tolist()
    [2.0]
    """

    saved: tuple[Any, ...] = ()
    xp: Any = None

    def save(ctx, *arrays: Any) -> None:
        """Save arrays for `backward`, as `ctx.saved` in this order."""
        ctx.saved = arrays

    def forward(ctx, *args: Any, **params: Any) -> Any:
        """The output array, from raw arrays."""
        raise GraphError(f"{type(ctx).__name__} has no forward(ctx, *arrays)")

    def backward(ctx, g: Any) -> Any:
        """The gradients of the inputs, from the cotangent of the output."""
        raise GraphError(f"{type(ctx).__name__} has no backward(ctx, g)")

    @classmethod
    def apply(cls, *args: Any, **params: Any) -> Tensor:
        """Call the function on tensors, arrays or numbers; the result is on the tape."""
        inputs = [owned(a) for a in args]
        arrays = [t._data for t in inputs]
        for i, a in enumerate(arrays):  # views of an array given twice, to tell what is saved
            if any(a is b for b in arrays[:i]):
                arrays[i] = a.view()
        ctx = cls()
        ctx.xp = namespace(*arrays)
        raw = cls.forward(ctx, *arrays, **params)  # may be a static method, as in PyTorch
        try:
            y = make(raw)
        except DTypeError as error:
            raise DTypeError(f"{cls.__name__}.forward gave no array: {error}") from None
        parents = [t.node for t in inputs]
        if not (switches.recording and any(n is not None for n in parents)):
            return Tensor(y)
        saved, ctx.saved = ctx.saved, ()  # owned by the node, which frees them after backward
        call = _Call(ctx, arrays, raw, saved)
        return Tensor(y, record(Node(), call, parents, saved, params, y.shape, y.dtype))


class _Call:
    """The op of the node of one call of a Function."""

    def __init__(self, ctx: Function, inputs: list, y: Any, saved: tuple):
        self.ctx, self.name = ctx, type(ctx).__name__
        ids = {id(a): i for i, a in enumerate(inputs)}
        self.origins = [-1 if a is y else ids.get(id(a)) for a in saved]

    @property
    def rules(self) -> _Call:
        """Itself; not an attribute, which would be a reference cycle."""
        return self

    def rewrap(self, saved: tuple, node: Node, wrap: Callable, output: Callable) -> tuple:
        """The saved arrays as tensors on the tape, under the nodes they came from."""
        homes = [node if o == -1 else None if o is None else node.parents[o] for o in self.origins]
        return tuple([wrap(a, n) for a, n in zip(saved, homes, strict=True)])

    def vjp(self, g: Any, saved: tuple, params: dict, parents: Sequence) -> tuple:
        """A gradient or None per input; raw arrays for a raw cotangent, else Tensors."""
        self.ctx.saved = saved
        if g.dtype.kind == "c":  # outside of backprop a cotangent is its conjugate
            g = OPS["conj"](g)
        try:
            own = g if isinstance(g, Tensor) else g.copy()  # which it may write to: g is shared
            gs = type(self.ctx).backward(self.ctx, own)
        finally:
            self.ctx.saved = ()  # tensors there refer to this call: a reference cycle
        gs = gs if isinstance(gs, tuple) else (gs,)
        if len(gs) != len(parents):
            raise GraphError(
                f"{self.name}.backward returned {len(gs)} gradients for {len(parents)} inputs"
            )
        for x, p in zip(gs, parents, strict=True):
            if x is not None and not hasattr(x, "dtype"):
                raise DTypeError(
                    f"{self.name}.backward returned {type(x).__name__}; it gives one array or "
                    "None per input, in a tuple when there are several"
                )
            if x is not None and x.dtype.kind == "c" and p is not None and p.dtype.kind != "c":
                raise DTypeError(
                    f"{self.name}.backward gave a complex gradient of {p.dtype} numbers: take .real"
                )
        gs = tuple([OPS["conj"](x) if x is not None and x.dtype.kind == "c" else x for x in gs])
        if isinstance(g, Tensor):
            gs = tuple([None if x is None else asarray(x) for x in gs])
        else:  # views, so that backprop does not write into arrays that the function still holds
            gs = tuple([x._data if isinstance(x, Tensor) else x for x in gs])
            gs = tuple([None if x is None else x[...] for x in gs])
        return tuple([x if n is not None else None for x, n in zip(gs, parents, strict=True)])
