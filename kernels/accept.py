"""`@accepts`: which arrays a kernel takes. All others go to the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FLOATS = ("float32", "float64")
HALVES = ("float16", "bfloat16")
NUMBERS = (bool, int, float)


def is_number(a: Any) -> bool:
    """Whether that is a Python number, or one number in an array of any shape."""
    return type(a) in NUMBERS or not any(a.strides)


def like(number: Any, a: Any) -> bool:
    """Whether a number goes with an array, whose shape and dtype the result will have."""
    if type(number) in NUMBERS:
        return True
    fits = number.shape in ((), a.shape) and number.size and type(number) is type(a)
    return bool(fits) and number.dtype == a.dtype


def alike(a: Any, b: Any) -> bool:
    """Two contiguous arrays of one kind, shape and dtype, which are more than a number."""
    return (
        type(a) is type(b)
        and type(a) not in NUMBERS
        and a.size > 1
        and a.shape == b.shape
        and a.dtype == b.dtype
        and a.flags.c_contiguous
        and b.flags.c_contiguous
    )


def accepts(
    *,
    dtypes: tuple[str, ...] = FLOATS,
    contiguous: bool = True,
    same_shape: bool = False,
    min_size: int = 0,
    size_of: str | Callable[..., int] | None = None,
    least: int = 0,
    others: tuple[str, ...] = (),
    strided: tuple[str, ...] = (),
    broadcast: bool = False,
    when: Callable[..., bool] | None = None,
) -> Callable[[Callable], Callable]:
    """Mark a function as the kernel of the op of its name, and say which arrays it takes.

    The floating arrays must share one dtype of `dtypes`, be C-contiguous if asked, have one shape
    if asked (`same_shape`), and the first (or the one named by `size_of`) must hold `min_size`
    numbers: below that the array library's own call is faster than ours. (`size_of` may also be a
    function that measures the inputs; a first array of less than `least` is not even measured.)
    Inputs named in `others` (labels, random state, hyper-parameters) may have any dtype and shape
    but must be contiguous too; those in `strided` need not be. With `broadcast` all inputs but one
    may be Python numbers, one number broadcast to that one's shape, or its rows' shape. `when` is
    asked last, with all inputs and parameters: it compares shapes, so that a kernel never sees a
    call that the reference would refuse. Inputs left out are None.
    """

    def mark(kernel: Callable) -> Callable:
        code = kernel.__code__
        names = code.co_varnames[: code.co_argcount]
        free = frozenset(i for i, name in enumerate(names) if name in others)
        loose = frozenset(i for i, name in enumerate(names) if name in strided or not contiguous)
        measure = size_of if callable(size_of) else None
        sized_by = names.index(size_of) if isinstance(size_of, str) else 0
        lead = min(i for i in range(len(names) + 1) if i not in free)  # it says the dtype
        allowed: dict[Any, bool] = {}
        kernel.accepts = dtypes  # type: ignore[attr-defined]
        kernel.smallest = (sized_by, least if measure else min_size)  # type: ignore[attr-defined]
        kernel.strided = [names[i] for i in loose]  # type: ignore[attr-defined]
        kernel.broadcast = broadcast  # type: ignore[attr-defined]

        def known(dtype: Any) -> bool:
            ok = allowed.get(dtype)
            if ok is None:
                ok = allowed[dtype] = dtype.name in dtypes
            return ok

        def guard(sized: bool) -> Callable[..., bool]:
            smallest = min_size if sized else 0

            def accept(arrays: tuple, params: dict[str, Any]) -> bool:
                try:
                    if broadcast and alike(*arrays):  # mostly, and it takes a third of the time
                        return arrays[0].size >= smallest and known(arrays[0].dtype)
                    if broadcast:
                        first = max([a for a in arrays if not is_number(a)], key=lambda a: a.size)
                        if not all(like(a, first) for a in arrays if is_number(a)):
                            return False
                        size = first.size
                    else:
                        first = arrays[lead]
                        size = measure(*arrays) if measure else arrays[sized_by].size
                    if size < smallest:
                        return False
                    kind, dtype, shape = type(first), first.dtype, first.shape
                    if not known(dtype):
                        return False
                    for i, a in enumerate(arrays):
                        if a is None or (broadcast and is_number(a)):
                            continue
                        if type(a) is not kind or (i not in loose and not a.flags.c_contiguous):
                            return False
                        if i not in free and (
                            a.dtype != dtype
                            or (same_shape and a.shape != shape)
                            or (broadcast and a.shape != shape[-a.ndim :])
                        ):
                            return False
                except (AttributeError, IndexError, ValueError):  # no arrays
                    return False
                return when is None or when(*arrays, **params)

            return accept

        kernel.guard = guard  # type: ignore[attr-defined]
        return kernel

    return mark
