"""Tools for testing ops and models: gradcheck, tolerances, sample builders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .autograd import inner, vjp
from .backend import dtype_of, fitting, is_floating
from .core import Tensor
from .creation import asarray
from .errors import DTypeError, TensorgradError
from .ops.samples import Sample, binary, calls, draw, integers, same, shaped, unary
from .typing import ArrayLike

__all__ = [
    "GradientError",
    "Sample",
    "binary",
    "calls",
    "compare",
    "draw",
    "gradcheck",
    "integers",
    "same",
    "shaped",
    "tolerance",
    "unary",
]


class GradientError(TensorgradError, AssertionError):
    """The analytic gradient differs from the numerical one."""


_EPS = {"float64": 2.3e-16, "float32": 1.2e-7, "float16": 9.8e-4, "bfloat16": 7.9e-3}


def tolerance(dtype: Any, n: int = 1) -> tuple[float, float]:
    """(rtol, atol) for sums over `n` elements of magnitude 1, in `dtype`: (e, e * sqrt(n)), where e
    is the dtype's epsilon times 32, or 4 for halves.

    Rounding errors of a sum grow like the square root of its length. The factor allows for a few
    more operations; halves are accumulated in float32 and rounded once.

    >>> tolerance("float32")[0] < 1e-5
    True
    """
    name = dtype_of(dtype).name
    name = {"complex64": "float32", "complex128": "float64"}.get(name, name)
    eps = _EPS[name] * (4 if dtype_of(dtype).itemsize == 2 else 32)
    return eps, eps * max(1.0, math.sqrt(n))


def gradcheck(
    f: Callable[..., Any],
    inputs: Sequence[ArrayLike],
    order: int = 1,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    directions: int = 2,
    seed: int = 0,
) -> bool:
    """Check the gradient of f against central differences in float64: along random unit-variance
    directions u, and for a random projection w of the output, g . u should equal
    (w . f(x + eps u) - w . f(x - eps u)) / (2 eps). (The method of HIPS autograd's test_util: two
    evaluations of f per direction, whatever the size.) Complex numbers count as pairs of real ones.

    Args:
        f: a function of tensors that returns one or several.
        inputs: floating ones are cast to float64, or complex128, and differentiated, others passed
            unchanged.
        order: 2 also checks the gradient of the gradient.
        rtol, atol: of the comparison.
        directions: how many random ones; `seed` determines them.
    Returns: True.
    Raises: GradientError with both values; DTypeError where no input is floating.

    >>> gradcheck(lambda x: (x * x).sum(), [[1.0, 2.0]], order=2)
    True
    """
    given = [asarray(x) for x in inputs]
    floating = [i for i, t in enumerate(given) if is_floating(t.dtype)]
    if not floating:
        raise DTypeError("gradcheck: none of the inputs holds floating numbers")
    points = [_double(given[i].detach()) for i in floating]
    rng = np.random.default_rng(seed)

    def outputs(*xs: Tensor) -> list[Tensor]:
        args = list(given)
        for i, t in zip(floating, xs, strict=True):
            args[i] = t
        y = f(*args)
        parts = y if isinstance(y, (tuple, list)) else [y]
        return [p for p in parts if p is not None and is_floating(p.dtype)]

    weights = [_like(p, rng) for p in outputs(*points)]

    def projected(*xs: Tensor) -> Tensor:
        total: Any = None
        for part, w in zip(outputs(*xs), weights, strict=True):
            term = inner(_double(part), w)
            total = term if total is None else total + term
        return total

    y, pull = vjp(projected, *points)
    gs = pull(np.ones_like(y.numpy()) if y.backend == "numpy" else y * 0 + 1)
    for k in range(directions):
        us = [_like(p, rng) for p in points]
        ahead = projected(*[p + eps * u for p, u in zip(points, us, strict=True)])
        behind = projected(*[p - eps * u for p, u in zip(points, us, strict=True)])
        numeric = (ahead.item() - behind.item()) / (2 * eps)
        analytic = sum([inner(g, u).item() for g, u in zip(gs, us, strict=True)])
        if not abs(numeric - analytic) <= atol + rtol * max(abs(numeric), abs(analytic)):
            raise GradientError(
                f"gradcheck (direction {k}): the gradient says {analytic:.9g}, "
                f"differences say {numeric:.9g}"
            )
    if order > 1:

        def first(*xs: Tensor) -> list[Tensor]:
            value, pull = vjp(projected, *xs)
            return list(pull((value.detach() * 0 + 1), create_graph=True))

        gradcheck(first, points, order - 1, eps, rtol, atol, directions, seed + 1)
    return True


def _double(t: Tensor) -> Tensor:
    """t in double precision."""
    return t.astype(fitting(dtype_of("float64"), t.dtype))


def _like(t: Tensor, rng: np.random.Generator) -> Tensor:
    """A standard normal tensor of t's shape, on t's backend; complex numbers for such."""
    made = rng.standard_normal(t.shape)
    if t.dtype.kind == "c":
        made = made + 1j * rng.standard_normal(t.shape)
    return asarray(made, backend=t.backend)


def compare(expected: Sequence[ArrayLike], actual: Sequence[ArrayLike]) -> str:
    """A table that compares two lists of gradients: shapes, largest differences, and a warning
    where one is the transpose of the other.

    >>> print(compare([np.ones((2, 3))], [np.ones((2, 3))]))
    #0  (2, 3)  largest difference 0
    """
    lines = []
    for i, (a, b) in enumerate(zip(expected, actual, strict=True)):
        a, b = asarray(a).numpy(), asarray(b).numpy()
        if a.shape != b.shape:
            hint = ": one is the transpose of the other" if a.shape == b.shape[::-1] else ""
            lines.append(f"#{i}  shapes differ: {a.shape} and {b.shape}{hint}")
            continue
        gap = float(np.abs(a - b).max(initial=0))
        hint = ""
        if a.ndim == 2 and a.shape[0] == a.shape[1] and gap > 1e-6 and np.allclose(a, b.T):
            hint = " - they agree when one is transposed"
        lines.append(f"#{i}  {a.shape}  largest difference {gap:.3g}{hint}")
    return "\n".join(lines)
