"""Derivatives of functions as whole matrices, and products with the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from .autograd import Primals, as_primals, check_lists, grad, vjp
from .backend import namespace
from .core import Tensor
from .creation import zeros_like
from .errors import DTypeError
from .functions import broadcast_to, stack
from .settings import gate
from .trees import leaves, refill
from .typing import ArrayLike, Result


@overload
def jacobian(f: Callable[..., Tensor], argnums: int = 0) -> Callable[..., Tensor]: ...
@overload
def jacobian(f: Callable[..., Any], argnums: Sequence[int]) -> Callable[..., tuple[Any, ...]]: ...
@overload
def jacobian(
    f: Callable[..., tuple[Any, Result]],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: Literal[True],
) -> Callable[..., tuple[Any, Result]]: ...
@gate
def jacobian(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The Jacobian of a function, as a function of the same arguments:
    J[i, j] = d f(x)[i] / d x[j], of shape f(x).shape + x.shape. One reverse pass for each element
    of f(x). Complex numbers are for holomorphic functions.

    Args:
        f: a function of tensors that returns a tensor, or a tree of them.
        argnums: the position of the argument x, or several; each may be a tree, as in `grad`.
        has_aux: whether f returns (y, aux); the result is then (J, aux).
    Returns: a function; its result has, in place of each tensor of f(x), the structure of x, or a
        tuple of those of several.
    Raises: DTypeError where f makes complex numbers of real ones, or real of complex ones.

    >>> jacobian(lambda x: x * x)(tensor([1.0, 3.0])).tolist()
    [[2.0, 0.0], [0.0, 6.0]]
    >>> jacobian(lambda x, y: x * y.sum(), argnums=(0, 1))(2.0, tensor([1.0, 3.0]))[1].tolist()
    [2.0, 2.0]
    """

    def jac(*args: Any, **kwargs: Any) -> Any:
        primals = Primals("jacobian", as_primals(args), argnums)
        y, aux = primals.value(f, kwargs, has_aux)
        ys = primals.outputs(y)
        create = primals.needs_graph([*ys, *leaves(aux)])
        rows = [primals.filled(_rows(primals, ys, i, create)) for i in range(len(ys))]
        found = refill(y, iter(rows))
        if not has_aux:
            return found
        return found, aux if create else primals.off_tape(aux)

    return jac


def _rows(primals: Primals, ys: list[Tensor], i: int, create: bool) -> list[Tensor]:
    """The Jacobians of result i, one for each primal."""
    y = ys[i]
    for x, _ in primals.flat:
        if (y.dtype.kind == "c") != (x.dtype.kind == "c"):
            raise DTypeError(
                f"jacobian: f maps {x.dtype} to {y.dtype}; give it the real and imaginary parts as "
                "numbers of their own"
            )
    basis = namespace(y._data).eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
    found = []
    for row in basis:
        cotangents = [Tensor(row) if k == i else None for k in range(len(ys))]
        found.append(primals.gradients(ys, cotangents, create, True))
    made = []
    for k, (x, _) in enumerate(primals.flat):
        rows = [row[k].conj() if x.dtype.kind == "c" else row[k] for row in found]
        shape = (*y.shape, *x.shape)  # perhaps of no numbers
        made.append(
            stack(rows).reshape(*shape) if rows else zeros_like(broadcast_to(x.detach(), shape))
        )
    return made


@overload
def hessian(f: Callable[..., Tensor], argnums: int = 0) -> Callable[..., Tensor]: ...
@overload
def hessian(
    f: Callable[..., Tensor], argnums: Sequence[int]
) -> Callable[..., tuple[tuple[Any, ...], ...]]: ...
@overload
def hessian(
    f: Callable[..., tuple[Tensor, Result]],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: Literal[True],
) -> Callable[..., tuple[Any, Result]]: ...
@gate
def hessian(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The Hessian of a scalar function, as a function of the same arguments:
    H[i, j] = d^2 f / d x[i] d x[j], of shape x.shape + x.shape. It is `jacobian(grad(f))`: of
    several arguments, or trees, a tree of trees. `hvp` gives products with it, without the matrix.

    >>> hessian(lambda x: (x ** 3).sum())(tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    slope: Any = grad(f, argnums, has_aux=has_aux)  # type: ignore[call-overload]
    made: Any = jacobian(slope, argnums, has_aux=has_aux)  # type: ignore[call-overload]
    return made  # type: ignore[no-any-return]


@overload
def hvp(
    f: Callable[..., Tensor], primals: Sequence[ArrayLike], tangents: Sequence[ArrayLike]
) -> tuple[Tensor, ...]: ...
@overload
def hvp(
    f: Callable[..., Tensor], primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Any, ...]: ...
@gate
def hvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
    """The Hessian-vector products H t of a scalar function, one for each primal, without H: the
    gradient of the gradient along the tangents, at the cost of a few gradients (Pearlmutter 1994).

    Args:
        f: a real function of the primals, which returns a tensor of one element.
        primals: a list of arguments: tensors, or trees as in `grad`.
        tangents: of the primals' structure and shapes.

    >>> hvp(lambda x: (x ** 3).sum(), [tensor([1.0, 2.0])], [tensor([1.0, 1.0])])[0].tolist()
    [6.0, 12.0]
    """
    check_lists("hvp", primals, tangents)
    slope: Any = grad(f, argnums=range(len(primals)))
    pull = vjp(slope, *primals)[1]  # the Hessian is symmetric
    return pull(tuple(as_primals(tangents)))
