"""TensorFlow's interface to gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from .autograd import differentiating
from .core import Tensor
from .creation import track
from .errors import GraphError
from .hooks import gradients
from .settings import gate
from .switches import switches
from .tensor_methods import seed_cotangent
from .trees import leaves, refill
from .typing import ArrayLike, Tree


class GradientTape:
    """TensorFlow's interface to gradients, on the same tape.

    Parameters and tensors with `requires_grad` are watched automatically; `watch` adds others.
    `gradient` frees the saved arrays unless `persistent`.

    >>> x = tensor([3.0])
    >>> with GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = (x * x).sum()
    >>> tape.gradient(y, x).tolist()
    [6.0]
    """

    @gate
    def __init__(self, persistent: bool = False):
        self.persistent = persistent

    def __enter__(self) -> GradientTape:
        self._block = differentiating(tracing=False)
        self._block.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._block.__exit__(*error)

    def watch(self, *tensors: Tensor | Tree) -> None:
        """Make these tensors, or nested lists and dicts of them, leaves of the tape."""
        for t in leaves(tensors):
            track(t)

    @overload
    def gradient(
        self, target: Tensor, sources: Tensor, cotangent: ArrayLike | None = None
    ) -> Tensor | None: ...
    @overload
    def gradient(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
        self,
        target: Tensor,
        sources: tuple[Tensor, ...],
        cotangent: ArrayLike | None = None,
    ) -> tuple[Tensor | None, ...]: ...
    @overload
    def gradient(
        self,
        target: Tensor,
        sources: Sequence[Tensor],
        cotangent: ArrayLike | None = None,
    ) -> list[Tensor | None]: ...
    @overload
    def gradient(
        self, target: Tensor, sources: Tree, cotangent: ArrayLike | None = None
    ) -> Tree: ...
    def gradient(self, target: Tensor, sources: Any, cotangent: ArrayLike | None = None) -> Any:
        """d(target) / d(source) for each source, in their structure; None where there is no path
        from source to target. Inside another tape or `grad` the result is differentiable.
        """
        create = switches.differentiating > 0
        seed = seed_cotangent(target, cotangent, create)
        given = leaves(sources)
        for source in given:
            if not isinstance(source, Tensor) or source.node is None:
                raise GraphError(f"tape.gradient: {source!r} is not watched; call tape.watch(it)")
        retain = self.persistent or create
        gs = gradients([(target.node, seed)], [s.node for s in given], 0, create, retain)
        return refill(sources, iter([g if g is None or create else Tensor(g) for g in gs]))
